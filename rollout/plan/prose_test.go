package plan

import (
	"fmt"
	"math"
	"slices"
	"time"

	"tidegate.io/tidegate/schemas/v1alpha1"
)

// What is here says once more, from the words of the documentation and as plainly as can be, what a
// step means. The checks of the invariants and the second implementation use it; nothing in it is
// the planner's.

// podsFor is the pods that a share of the traffic needs (I1), by its definition.
func podsFor(whole, weight int32) int32 {
	if weight <= 0 || whole <= 0 {
		return 0
	}
	return int32(math.Max(1, math.Ceil(float64(whole)*float64(weight)/100)))
}

// ofRatio is the pods beside stable others that a plain Service gives weight percent of the requests.
func ofRatio(whole, stable, weight int32) int32 {
	if weight <= 0 || weight >= 100 || whole <= 0 {
		return podsFor(whole, weight)
	}
	n := int32(math.Floor(float64(stable) * float64(weight) / float64(100-weight)))
	return min(whole, max(1, n))
}

// walkedSteps are the steps that a Rollout walks.
func walkedSteps(spec v1alpha1.RolloutSpec) []v1alpha1.Step {
	nobody := spec.Stable != nil && (spec.Replicas == 0 || spec.Stable.Replicas == 0) &&
		spec.Workload != "DaemonSet" && spec.Workload != "CronJob" && (spec.Workload != "" || spec.Strategy.Type != v1alpha1.StrategyRolling)
	if nobody || spec.Stable != nil && spec.Known {
		return []v1alpha1.Step{weigh(100)}
	}
	steps := spec.Strategy.Steps
	for _, s := range slices.Backward(steps) {
		if s.SetWeight != nil {
			if *s.SetWeight == 100 {
				return steps
			}
			break
		}
	}
	return append(slices.Clip(steps), weigh(100))
}

func lastOf(spec v1alpha1.RolloutSpec) int32 { return int32(len(walkedSteps(spec))) }

// exposureAfter is what the steps up to one have set.
func exposureAfter(spec v1alpha1.RolloutSpec, step int32) Exposure {
	var e Exposure
	fresh := false
	for i, s := range walkedSteps(spec)[:step] {
		if s.SetWeight != nil {
			e.Weight = *s.SetWeight
		}
		if s.SetHeaderRoute != nil {
			e.Header = int32(i) + 1
			if len(s.SetHeaderRoute.Matches) == 0 {
				e.Header = 0
			}
		}
		if s.SetMirrorRoute != nil {
			e.Mirror = int32(i) + 1
			if s.SetMirrorRoute.Percent == 0 {
				e.Mirror = 0
			}
		}
		if s.SetBaseline != nil {
			fresh = *s.SetBaseline
		}
		if e.Weight == 100 { // all are the new revision's
			e.Header, e.Mirror = 0, 0
		}
	}
	if fresh && e.Weight <= 50 {
		e.Baseline = e.Weight
	}
	if spec.Stable == nil && e.Weight > 0 {
		return Exposure{Weight: 100}
	}
	return e
}

// sizeAfter is the pods that the new set is to have at least after a step, of size whole.
func sizeAfter(spec v1alpha1.RolloutSpec, whole, step int32) int32 {
	s := spec.Strategy
	if spec.Stable == nil {
		return whole
	}
	if s.Type != v1alpha1.StrategyCanary {
		if exposureAfter(spec, step).Weight == 0 && s.Preview != nil && s.Preview.Replicas != nil {
			return min(whole, *s.Preview.Replicas)
		}
		return whole
	}
	n := podsToShow(spec, whole, exposureAfter(spec, step))
	if spec.Router == v1alpha1.RouterService && n > 0 {
		return n
	}
	var scales []v1alpha1.Scale
	for _, s := range slices.Backward(walkedSteps(spec)[:step]) {
		if s.SetScale != nil {
			scales = append(scales, *s.SetScale)
		}
	}
	switch {
	case len(scales) == 0:
	case !scales[0].MatchWeight:
		n = max(n, podsOf(scales[0], whole))
	case len(scales) > 1:
		n = max(n, min(podsOf(scales[1], whole), podsFor(whole, riseAfter(spec, step))))
	}
	return n
}

func podsOf(s v1alpha1.Scale, whole int32) int32 {
	switch {
	case s.Percent != nil:
		return podsFor(whole, *s.Percent)
	case s.Replicas != nil:
		return min(whole, *s.Replicas)
	}
	return 0
}

// riseAfter is the next weight after a step, if it is higher than that of the step and no size is
// set before it; 0 if not. Where a size was set and the weight has changed since, there is none either.
func riseAfter(spec v1alpha1.RolloutSpec, step int32) int32 {
	steps, weight := walkedSteps(spec), exposureAfter(spec, step).Weight
	for k := step; k > 0 && steps[k-1].SetScale == nil; k-- {
		if exposureAfter(spec, k-1).Weight != weight {
			return 0
		}
	}
	for k := step; int(k) < len(steps) && steps[k].SetScale == nil; k++ {
		switch next := exposureAfter(spec, k+1).Weight; {
		case next > weight:
			return next
		case next < weight:
			return 0
		}
	}
	if weight == 100 {
		return 100
	}
	return 0
}

// podsToShow is the available pods that an exposure takes, of size whole.
func podsToShow(spec v1alpha1.RolloutSpec, whole int32, e Exposure) int32 {
	n := podsFor(whole, e.Weight)
	if spec.Router == v1alpha1.RouterService && spec.Stable != nil {
		n = ofRatio(whole, spec.Stable.Replicas, e.Weight)
	}
	if e != (Exposure{}) && whole > 0 {
		n = max(n, 1)
	}
	return n
}

// shows says whether one exposure gives the new revision, or the baseline, more than another.
func shows(e, other Exposure) bool {
	return e.Weight > other.Weight || e.Baseline > other.Baseline ||
		e.Header > 0 && e.Header != other.Header || e.Mirror > 0 && e.Mirror != other.Mirror
}

// walksSteps says whether a Rollout of sets walks steps.
func walksSteps(spec v1alpha1.RolloutSpec) bool {
	if spec.Stable == nil {
		return spec.Strategy.WalkFirstInstall
	}
	return spec.Stable.Revision != spec.Revision
}

// approvedBy is the exposure that a status approves.
func approvedIn(spec v1alpha1.RolloutSpec, st v1alpha1.RolloutStatus) Exposure {
	switch st.Phase {
	case v1alpha1.RolloutProgressing:
		if walksSteps(spec) {
			return exposureAfter(spec, st.Step)
		}
	case v1alpha1.RolloutAborting, v1alpha1.RolloutAborted:
		if spec.Stable != nil && spec.Stable.Revision == spec.Revision {
			return Exposure{Weight: 100}
		}
		return Exposure{}
	case v1alpha1.RolloutPending, v1alpha1.RolloutPromoting, v1alpha1.RolloutSucceeded:
	}
	return Exposure{Weight: st.ApprovedWeight}
}

// passedOver says whether people let a step be skipped.
func passedOver(st v1alpha1.RolloutStatus, step int32) bool {
	for _, s := range st.Skips {
		if s.Step == step {
			return true
		}
	}
	return st.Promoted != nil
}

// waitsFor says what a step that a Rollout is to leave waits for yet; empty if for nothing. The
// step was entered before the decision, or by it.
func waitsFor(f facts, step int32) string {
	o, st := f.o, f.d.Status
	steps := walkedSteps(o.Spec)
	hooks := func(event v1alpha1.HookEvent) string {
		for _, h := range o.Spec.Strategy.Hooks {
			if slices.Contains(h.On, event) && !letsPass(f, h.Name, event, step) {
				return "the hook " + h.Name + " on " + string(event)
			}
		}
		return ""
	}
	if step == 0 {
		return hooks(v1alpha1.HookBegin) // which nobody passes over
	}
	last := func() string {
		if int(step) == len(steps) {
			return hooks(v1alpha1.HookPromote) // nor over these
		}
		return ""
	}
	if step > o.Status.Step && passedOver(st, step) {
		return last() // and no route ever carried it
	}
	// Nobody passes over the time that proxies take to carry it.
	s := steps[step-1]
	exposed := f.now
	if was := o.Status.ExposedAt; was != nil && step >= o.Status.Step {
		exposed = was.Time
	}
	if f.now.Sub(exposed) < o.Spec.Strategy.RouteGrace.Duration {
		return "the grace of the route"
	}
	if passedOver(st, step) {
		return last()
	}
	if s.SetWeight != nil {
		if h := hooks(v1alpha1.HookStepEvent); h != "" {
			return h
		}
	}
	if h := last(); h != "" {
		return h
	}
	switch {
	case s.Pause != nil && s.Pause.Approval:
		for _, a := range st.Approvals {
			if a.Step == step {
				return ""
			}
		}
		return "an approval"
	case s.Pause != nil:
		started := f.now
		if o.Status.Step == step && o.Status.StepStartedAt != nil {
			started = o.Status.StepStartedAt.Time
		}
		if f.now.Sub(started) < s.Pause.Duration.Duration {
			return "the pause"
		}
	case s.Job != nil:
		for _, c := range st.Checks {
			if c.Job == jobOf(f, step) && c.Outcome == v1alpha1.CheckPassed {
				return ""
			}
		}
		return "the job"
	case s.Hook != nil && !letsPass(f, s.Hook.Name, "", step):
		return "the hook " + s.Hook.Name
	case s.SetScale != nil && (!o.Canary.UpToDate || alive(o.Canary) < sizeAfter(o.Spec, f.whole, step)):
		return "the pods of a setScale"
	case s.Analyze != nil && !s.Analyze.Background:
		return passMissing(f)
	}
	return ""
}

// jobOf is the name of the Job of a step: another one each time that the step is come to.
func jobOf(f facts, step int32) string {
	spec := f.o.Spec
	return fmt.Sprintf("%s-%d-s%d-%d", spec.Release, spec.Number, step, f.d.Status.Falls+1)
}

// letsPass says whether a hook has answered well, or what it says does not count.
func letsPass(f facts, hook string, event v1alpha1.HookEvent, step int32) bool {
	ignored := false
	for _, h := range f.o.Spec.Strategy.Hooks {
		ignored = ignored || h.Name == hook && h.OnFailure == v1alpha1.HookIgnored
	}
	for _, c := range f.d.Status.Checks {
		if c.Hook == hook && c.Event == event && c.Step == step && c.Job == "" {
			return c.Outcome == v1alpha1.CheckPassed || c.Outcome == v1alpha1.CheckFailed && ignored
		}
	}
	return false
}

// asksForPass says whether a rise from a step rests on an analysis: one at the present exposure, or
// one that was begun in the background before.
func asksForPass(f facts, step int32) bool {
	here := exposureAfter(f.o.Spec, step)
	same := true
	for k := step; k > 0; k-- {
		if exposureAfter(f.o.Spec, k) != here {
			same = false
		}
		a := walkedSteps(f.o.Spec)[k-1].Analyze
		shown := here.Weight > 0 || here.Header > 0 || here.Mirror > 0
		if a != nil && !passedOver(f.d.Status, k) && (same || a.Background && shown) {
			return true
		}
	}
	return false
}

// passMissing says why the last round of analysis does not let pass.
func passMissing(f facts) string {
	o, st := f.o, f.o.Status
	an, a := o.Spec.Strategy.Analysis, st.Analysis
	here := st.Step // the first step of the present exposure
	for here > 1 && exposureAfter(o.Spec, here-1) == exposureAfter(o.Spec, st.Step) {
		here--
	}
	switch {
	case an == nil, a == nil, a.Verdict != v1alpha1.VerdictPass:
		return "a pass"
	case st.ExposedAt == nil, a.Step < here, !samePods(o.Spec, a.Digest), a.TakenAt.Time.Before(st.ExposedAt.Add(an.Window.Duration)):
		return "a pass that is about this"
	case f.now.Sub(a.TakenAt.Time).Abs() > 2*an.Interval.Duration+10*time.Second:
		return "a fresh pass"
	}
	return ""
}
