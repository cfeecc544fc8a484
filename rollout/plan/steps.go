package plan

import (
	"fmt"
	"slices"
	"time"

	"tidegate.io/tidegate/schemas/v1alpha1"
)

// Exposure is what of the requests the new revision gets.
type Exposure struct {
	// Weight is its percentage of all requests, 0 to 100.
	Weight int32
	// Baseline is the percentage that the baseline set gets. The stable set has the rest.
	Baseline int32
	// Header is the number of the step whose header route is in force, Mirror that of the step
	// whose mirror route is; 0 for none.
	Header, Mirror int32
}

// above says whether e gives the new revision anything that o does not.
func (e Exposure) above(o Exposure) bool {
	return e.Weight > o.Weight || e.Baseline > o.Baseline ||
		e.Header != 0 && e.Header != o.Header || e.Mirror != 0 && e.Mirror != o.Mirror
}

// seen says whether any request or a copy of it reaches the new revision.
func (e Exposure) seen() bool { return e.Weight > 0 || e.Header != 0 || e.Mirror != 0 }

// text says for whom pods are needed.
func (e Exposure) text() string {
	said := fmt.Sprintf("%d %%", e.Weight)
	switch {
	case e.Weight > 0:
		return said
	case e.Header != 0 && e.Mirror != 0:
		return "the header and the mirror route"
	case e.Header != 0:
		return "the header route"
	case e.Mirror != 0:
		return "the mirror route"
	}
	return said
}

// Level is what holds after a step: all that the steps up to it have set.
type Level struct {
	Exposure
	// Start is the first step with this exposure; 0 before any is set.
	Start int32
	// Scale is the size that a step has set; nil where the weight decides.
	Scale *v1alpha1.Scale
	// Kept is the size that a step has set before one that went back to the weight: pods that a
	// higher weight takes, which is Toward, are not deleted to be made anew. Nil where none are.
	Kept   *v1alpha1.Scale
	Toward int32
	// WithBaseline is true while a baseline set is wanted.
	WithBaseline bool
}

// Levels returns what holds before the first step and after each one. The last has a weight of 100:
// Steps without one get it.
func Levels(steps []v1alpha1.Step) []Level {
	out := make([]Level, 1, len(steps)+1)
	for i := range steps {
		at := int32(len(out)) //nolint:gosec // a strategy has at most 50 steps
		out = append(out, out[i].after(&steps[i], at))
	}
	for i := range steps {
		if s := steps[i].SetScale; s != nil && s.MatchWeight {
			keepScale(out, steps, i)
		}
	}
	return out
}

// keepScale finds what is kept of a size from the step at i on, which goes back to what the weight needs:
// what the next weight takes, which is more than the present one does only if that is higher.
func keepScale(levels []Level, steps []v1alpha1.Step, i int) {
	scale, weight := levels[i].Scale, levels[i].Weight
	next := i + 1
	for next < len(steps) && steps[next].SetScale == nil && levels[next+1].Weight == weight {
		next++
	}
	if scale == nil || next < len(steps) && steps[next].SetScale != nil {
		return
	}
	toward := int32(full) // which comes last, where no step says so
	if next < len(steps) {
		toward = levels[next+1].Weight
	}
	for j := i + 1; j <= next; j++ {
		levels[j].Kept, levels[j].Toward = scale, toward
	}
}

func (l Level) after(s *v1alpha1.Step, number int32) Level {
	before := l.Exposure
	switch {
	case s.SetWeight != nil:
		l.Weight = *s.SetWeight
	case s.SetScale != nil:
		l.Scale = s.SetScale
		if s.SetScale.MatchWeight {
			l.Scale = nil
		}
	case s.SetHeaderRoute != nil:
		l.Header = 0
		if len(s.SetHeaderRoute.Matches) > 0 {
			l.Header = number
		}
	case s.SetMirrorRoute != nil:
		l.Mirror = 0
		if s.SetMirrorRoute.Percent > 0 {
			l.Mirror = number
		}
	case s.SetBaseline != nil:
		l.WithBaseline = *s.SetBaseline
	}
	l.Baseline = 0
	if l.WithBaseline && 2*l.Weight <= full {
		l.Baseline = l.Weight
	}
	if l.Weight == full {
		// There is nothing left to tell apart.
		l.Header, l.Mirror = 0, 0
	}
	if l.Exposure != before {
		l.Start = number
	}
	return l
}

// full is all of the requests, in percent.
const full = 100

// Walked returns the steps that a Rollout walks: those of its strategy and, where none of
// them is the last of the traffic, a weight of 100. A revision that is known to be good walks
// none but that, and neither does one where nothing serves or is to serve.
func Walked(spec v1alpha1.RolloutSpec) []v1alpha1.Step {
	all := int32(full)
	last := v1alpha1.Step{SetWeight: &all}
	if spec.Stable != nil && (spec.Known || sizedByReplicas(spec) && (spec.Replicas == 0 || spec.Stable.Replicas == 0)) {
		return []v1alpha1.Step{last}
	}
	steps := spec.Strategy.Steps
	levels := Levels(steps)
	if levels[len(levels)-1].Weight != full {
		steps = append(slices.Clip(steps), last)
	}
	return steps
}

// sizedByReplicas says whether no replicas mean no pods: a DaemonSet has as many as there are nodes, and
// a CronJob's jobs are waited for by nobody.
func sizedByReplicas(spec v1alpha1.RolloutSpec) bool {
	return spec.Strategy.Type.InSets() || spec.Workload == "Deployment" || spec.Workload == "StatefulSet"
}

// allOrNothing are the levels of a first install, where any weight is all of the traffic.
func allOrNothing(levels []Level) []Level {
	for i := range levels {
		l := &levels[i]
		if l.Weight > 0 {
			l.Exposure = Exposure{Weight: full}
		}
		if i > 0 && l.Exposure == levels[i-1].Exposure {
			l.Start = levels[i-1].Start
		}
	}
	return levels
}

// level is what holds after a step.
func (t *turn) level(step int32) Level {
	return t.levels[min(max(step, 0), t.last())]
}

// allowed is the exposure that is approved now.
func (t *turn) allowed() Exposure {
	switch t.st.Phase {
	case v1alpha1.RolloutProgressing:
		if t.walks() {
			e := t.level(t.st.Step).Exposure
			e.Weight = t.st.ApprovedWeight
			return e
		}
	case v1alpha1.RolloutAborting, v1alpha1.RolloutAborted:
		return Exposure{Weight: t.restWeight()}
	case v1alpha1.RolloutPending, v1alpha1.RolloutPromoting, v1alpha1.RolloutSucceeded:
	}
	return Exposure{Weight: t.st.ApprovedWeight}
}

// step is the step that the Rollout is in, nil before the first.
func (t *turn) step() *v1alpha1.Step {
	if t.st.Step == 0 {
		return nil
	}
	return &t.steps[t.st.Step-1]
}

// skipped says whether a person has passed over a step, or over all that are left.
func (t *turn) skipped(step int32) bool {
	return t.st.Promoted != nil ||
		slices.ContainsFunc(t.st.Skips, func(s v1alpha1.Approval) bool { return s.Step == step })
}

// judged says whether exposure rises from the present step only on a fresh Pass: an analysis
// was begun at the present exposure, or in the background before.
func (t *turn) judged() bool {
	k := t.st.Step
	start := t.level(k).Start
	for j := int32(1); j <= k; j++ {
		a := t.steps[j-1].Analyze
		if a != nil && !t.skipped(j) && (j >= start || a.Background && t.level(k).seen()) {
			return true
		}
	}
	return false
}

// passable says whether nothing but an analysis may hold the Rollout in a step. It is asked
// to know which pods are to come up already, so once true it stays so while the step lasts.
func (t *turn) passable(step int32) bool {
	if step > t.st.Step {
		s := t.steps[step-1]
		return s.Analyze != nil || s.Notify != nil
	}
	return t.gatePassed()
}

// asked is the step whose pods are to be there: the present one, and the next that exposes
// or sizes anything where nothing but an analysis is in between.
func (t *turn) asked() int32 {
	k := t.st.Step
	if t.st.Promoted != nil && (k > 0 || t.gatePassed()) {
		return t.last()
	}
	for k < t.last() && t.passable(k) {
		k++
		s := t.steps[k-1]
		if s.SetScale != nil || t.level(k).above(t.level(k-1).Exposure) {
			break
		}
	}
	return k
}

// wait is how long the present step waits by itself, once it has begun.
func (t *turn) wait() time.Duration {
	if s := t.step(); s != nil && s.Pause != nil && s.Pause.Duration != nil {
		return s.Pause.Duration.Duration
	}
	return 0
}
