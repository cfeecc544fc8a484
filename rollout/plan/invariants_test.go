package plan

import (
	"fmt"
	"math"
	"slices"
	"strings"
	"time"

	metav1 "k8s.io/apimachinery/pkg/apis/meta/v1"

	"tidegate.io/tidegate/schemas/v1alpha1"
)

// The checks here are the invariants of the design, written from its words and not from
// the code: what one decision may and must do, given what was seen. Each broken one is
// a sentence that begins with its number.

// podsFor is the pods that a share of the traffic needs (I1), by its definition.
func podsFor(whole, weight int32) int32 {
	if weight <= 0 {
		return 0
	}
	return int32(math.Max(1, math.Ceil(float64(whole)*float64(weight)/100)))
}

func alive(s Set) int32 {
	if s.Knowledge == Present {
		return s.Available
	}
	return 0
}

// facts is what the checks read off an observation.
type facts struct {
	o                  Observation
	now                time.Time
	d                  Decision
	over               string // nothing, itself, another
	whole, stableWhole int32
	floor              int32 // whole without what the load asks for now
	weight             int32 // read back
	known              bool  // whether weight is
	stableDead         bool
	inCharge           bool
	watching           bool // an ended Rollout that nobody has taken over from
}

func factsOf(o Observation, now time.Time, d Decision) facts {
	f := facts{o: o, now: now, d: d, over: "another", whole: max(1, o.Spec.Replicas)}
	switch {
	case o.Spec.Stable == nil:
		f.over = "nothing"
	case o.Spec.Stable.Revision == o.Spec.Revision:
		f.over = "itself"
	}
	if o.Spec.Stable != nil {
		f.stableWhole = max(1, o.Spec.Stable.Replicas)
	}
	f.floor = f.whole
	open := d.Status.Phase == v1alpha1.RolloutProgressing || d.Status.Phase == v1alpha1.RolloutPromoting && (!d.Status.Retiring || !o.Status.Retiring)
	if o.Canary.Autoscaled && f.over == "another" && open {
		f.whole = max(f.whole, o.Status.StableLoad)
		if o.Stable.Knowledge == Present && o.Stable.Autoscaled {
			f.whole = max(f.whole, o.Stable.Desired)
		}
	}
	f.known = o.Traffic.Knowledge != Unknown
	if o.Traffic.Knowledge == Present {
		f.weight = o.Traffic.CanaryWeight
	}
	since := d.Status.StableShortSince // bounded, so that an abort ends
	f.stableDead = (since == nil || now.Sub(since.Time) < o.Spec.Strategy.ProgressDeadline.Duration) && f.over == "another" && o.Stable.Knowledge != Unknown && alive(o.Stable) == 0 && alive(o.Canary) > 0
	f.watching = d.Status.Phase.Terminal() && o.Newer == "" && o.Older == "" && !o.StableMoved
	f.inCharge = f.watching || !d.Status.Phase.Terminal() && d.Status.Phase != v1alpha1.RolloutPending
	return f
}

// warm is how long the old set is owed to be kept. Nobody goes back to it past a newer
// Rollout.
func (f facts) warm() time.Duration {
	s := f.o.Spec.Strategy
	if s.ScaleDownDelay != nil && f.o.Newer == "" {
		return s.ScaleDownDelay.Duration
	}
	return s.DrainDelay.Duration
}

// broken returns the invariants that the decision breaks.
func broken(o Observation, now time.Time, d Decision) []string {
	f := factsOf(o, now, d)
	var all []string
	for _, check := range []func(facts) string{
		i1WeightHasPods, i1PodsOutliveWeight, i1LostPodsLoseWeight, i1DeletedOnlyWithoutTraffic,
		i2OneAtATime, i2ApprovalNeedsGates, i2RaiseNeedsApproval, i3AbortIsObeyed, i3AbortOnlyReturns, i4NoneAboveApproved,
		i5SameFactsSameDecision, i9Explained, commandsAnsweredOnce, quietOutOfCharge,
	} {
		if s := check(f); s != "" {
			all = append(all, s)
		}
	}
	return all
}

func i1WeightHasPods(f facts) string {
	alone := f.over == "itself" || f.d.Status.Phase == v1alpha1.RolloutSucceeded || f.d.Status.Retiring
	returning := f.d.Status.Phase == v1alpha1.RolloutAborting || f.d.Status.Phase == v1alpha1.RolloutAborted
	for _, a := range f.d.Actions {
		switch {
		case a.Kind != ActionSetWeight:
		case a.Weight > f.weight && f.over == "itself" && returning:
		case a.Weight > f.weight && alone:
			if alive(f.o.Canary) == 0 {
				return "I1: weight given to a set without pods"
			}
		case a.Weight > f.weight:
			if n := podsFor(f.whole, a.Weight); alive(f.o.Canary) < n || !f.o.Canary.UpToDate {
				return fmt.Sprintf("I1: weight %d needs %d pods and has %d", a.Weight, n, alive(f.o.Canary))
			}
		case a.Weight < f.weight && f.stableDead && f.weight <= max(f.o.Status.ApprovedWeight, f.d.Status.ApprovedWeight):
			return fmt.Sprintf("I1: weight %d lowered to %d for a stable set without pods", f.weight, a.Weight)
		}
	}
	return ""
}

func i1PodsOutliveWeight(f facts) string {
	for _, a := range f.d.Actions {
		switch {
		case a.Kind != ActionEnsureSet:
		case a.Role == RoleStable && f.o.Stable.Autoscaled && a.Replicas == max(f.stableWhole, f.o.Stable.Desired):
		case a.Role == RoleCanary && f.o.Canary.Autoscaled && a.Replicas == f.o.Canary.Desired: // what its own load asks for
		case a.Role == RoleStable && a.Replicas != f.stableWhole:
			return fmt.Sprintf("I1: stable set scaled to %d", a.Replicas)
		case a.Role == RoleCanary && (a.Replicas < podsFor(f.whole, f.weight) || a.Replicas > f.whole):
			return fmt.Sprintf("I1: canary set scaled to %d at weight %d", a.Replicas, f.weight)
		case a.Role == RoleCanary && a.Replicas < min(f.whole, f.o.Canary.Desired) && (!f.known || f.o.Traffic.Knowledge == Present && !f.o.Traffic.Settled):
			return fmt.Sprintf("I1: canary set scaled down to %d while its traffic is not known", a.Replicas)
		}
	}
	return ""
}

func i1LostPodsLoseWeight(f facts) string {
	phase := f.o.Status.Phase
	if f.over != "another" || f.o.Status.Retiring || f.stableDead || !f.known || f.o.Canary.Knowledge == Unknown ||
		phase != v1alpha1.RolloutProgressing && phase != v1alpha1.RolloutPromoting {
		return ""
	}
	n := podsFor(f.floor, min(f.weight, f.o.Status.ApprovedWeight))
	if n == 0 || alive(f.o.Canary) >= max(1, n-n/4) {
		return ""
	}
	if len(f.d.Actions) == 0 || f.d.Actions[0].Kind != ActionSetWeight || podsFor(f.floor, f.d.Actions[0].Weight) > alive(f.o.Canary) {
		return fmt.Sprintf("I1: %d pods keep weight %d", alive(f.o.Canary), f.weight)
	}
	return ""
}

func i1DeletedOnlyWithoutTraffic(f facts) string {
	for _, a := range f.d.Actions {
		if a.Kind != ActionRetire {
			continue
		}
		switch {
		case f.over == "itself":
			return "I1: the serving set is deleted"
		case a.Role == RoleStable && (f.o.Traffic.Knowledge != Present || f.weight != 100 || !f.o.Traffic.Settled || alive(f.o.Canary) == 0):
			return "I1: stable set deleted while it has traffic"
		case a.Role == RoleStable && !f.d.Status.Retiring:
			return "I3: stable set deleted without a record"
		case a.Role == RoleStable && !f.o.Status.Retiring && alive(f.o.Canary) < f.whole:
			return "I1: stable set deleted while the new one is not whole"
		case a.Role == RoleCanary && (f.d.Status.Phase != v1alpha1.RolloutAborting || !f.known || f.weight != 0 ||
			f.o.Traffic.Knowledge == Present && !f.o.Traffic.Settled || f.o.Traffic.Knowledge == Absent && f.over != "nothing"):
			return "I1: canary set deleted while it has traffic"
		}
	}
	return ""
}

// gates says which gate between the step that the observation is in and the next did
// not let pass; empty if all did.
func gates(f facts) string {
	o, st := f.o, f.o.Status
	steps := o.Spec.Strategy.Steps
	next := steps[min(int(st.Step), len(steps)-1)].Weight
	if o.Spec.Strategy.Type == v1alpha1.StrategyBlueGreen {
		next = 100 // the set is whole before anybody looks at it
	}
	switch {
	case f.d.Status.Paused:
		return "paused"
	case o.Older != "" || o.Newer != "":
		return "another Rollout"
	case o.Canary.Knowledge != Present || o.Traffic.Knowledge != Present || o.Shared == Unknown || o.Stable.Knowledge == Unknown:
		return "a fact is unknown"
	case !o.Traffic.Settled || !o.Traffic.UpToDate || o.Traffic.CanaryWeight != st.ApprovedWeight:
		return "the route has not settled"
	case !o.Canary.UpToDate || o.Canary.Available < podsFor(f.whole, next):
		return "pods are missing"
	case alive(o.Stable) < f.stableWhole && (st.StableShortSince == nil || f.now.Sub(st.StableShortSince.Time) < o.Spec.Strategy.ProgressDeadline.Duration):
		return "the stable set is not whole"
	case st.Step == 0:
		return ""
	}
	step, started := steps[st.Step-1], f.now
	if st.StepStartedAt != nil {
		started = st.StepStartedAt.Time
	}
	if f.now.Sub(started) < step.Hold.Duration {
		return "the hold is not over"
	}
	if step.Approval {
		given := false
		for _, a := range f.d.Status.Approvals {
			given = given || a.Step == st.Step
		}
		if !given {
			return "no approval"
		}
	}
	if step.Analysis {
		an := o.Spec.Strategy.Analysis
		switch a := st.Analysis; {
		case a == nil || a.Verdict != v1alpha1.VerdictPass:
			return "no pass"
		case a.Step != st.Step || a.Digest != o.Spec.Digest || a.TakenAt.Time.Before(started.Add(an.Window.Duration)):
			return "the pass is about something else"
		case f.now.Sub(a.TakenAt.Time) > 2*an.Interval.Duration+10*time.Second:
			return "the pass is stale"
		}
	}
	return ""
}

func i2OneAtATime(f facts) string {
	if f.o.Status.Phase == v1alpha1.RolloutPending && f.d.Status.Phase == v1alpha1.RolloutProgressing &&
		(f.o.Older != "" || f.o.Newer != "" || f.o.StableMoved) {
		return "I2: begins while another Rollout is there, or over what no longer serves"
	}
	if f.o.Newer != "" && f.o.Status.Phase == v1alpha1.RolloutProgressing && f.d.Status.AbortCause == nil {
		return "I2: goes on though it is superseded"
	}
	return ""
}

func i2ApprovalNeedsGates(f facts) string {
	was, is := f.o.Status, f.d.Status
	if f.over == "nothing" {
		if is.ApprovedWeight > was.ApprovedWeight && (alive(f.o.Canary) < f.whole || is.Paused || !f.o.Promotion.Allowed || f.o.Newer != "" || f.o.Older != "") {
			return "I2: first install approved without its pods"
		}
		return ""
	}
	if f.over != "another" {
		return ""
	}
	began := was.Phase != v1alpha1.RolloutPromoting && is.Phase == v1alpha1.RolloutPromoting
	decided := !was.Retiring && is.Retiring
	if is.ApprovedWeight <= was.ApprovedWeight && !began {
		if decided && (is.DrainStartedAt == nil || f.now.Sub(is.DrainStartedAt.Time) < f.warm() || is.Paused) {
			return "I2: retired before it was drained"
		}
		return ""
	}
	if is.Step > was.Step+1 {
		return "I2: a step was left out"
	}
	if began && was.Phase != v1alpha1.RolloutProgressing {
		return "I2: promoted from " + string(was.Phase)
	}
	if !f.o.Promotion.Allowed && is.ApprovedWeight > was.ApprovedWeight {
		return "I2: approved though no policy is known to allow it"
	}
	if g := gates(f); g != "" {
		return fmt.Sprintf("I2: %d %% approved after %d %% though %s", is.ApprovedWeight, was.ApprovedWeight, g)
	}
	return ""
}

func i2RaiseNeedsApproval(f facts) string {
	if f.over != "another" || f.d.Status.Retiring || f.d.Status.Phase == v1alpha1.RolloutSucceeded {
		return ""
	}
	for _, a := range f.d.Actions {
		if a.Kind != ActionSetWeight || a.Weight <= f.weight {
			continue
		}
		st := f.d.Status
		switch {
		case !f.known, f.o.Canary.Knowledge != Present, f.o.Stable.Knowledge == Unknown, f.o.Shared == Unknown:
			return "I2: raised on unknown facts"
		case st.Paused:
			return "I2: raised while paused"
		case !f.o.Promotion.Allowed:
			return "I2: raised though no policy is known to allow it"
		case st.ApprovedAt == nil || f.now.Sub(st.ApprovedAt.Time) > time.Minute:
			return "I2: raised on a stale approval"
		case alive(f.o.Stable) < f.stableWhole && (st.StableShortSince == nil || f.now.Sub(st.StableShortSince.Time) < f.o.Spec.Strategy.ProgressDeadline.Duration):
			return "I2: raised while the stable set is not whole"
		}
	}
	return ""
}

func i3AbortIsObeyed(f facts) string {
	was, is := f.o.Status, f.d.Status
	for _, c := range f.o.Commands {
		if c.Action == v1alpha1.CommandAbort && was.Phase != v1alpha1.RolloutSucceeded && !was.Retiring &&
			is.Phase != v1alpha1.RolloutAborting && is.Phase != v1alpha1.RolloutAborted {
			return "I3: abort not obeyed in phase " + string(was.Phase)
		}
	}
	if (was.Phase == v1alpha1.RolloutAborting || was.Phase == v1alpha1.RolloutAborted) &&
		is.Phase != v1alpha1.RolloutAborting && is.Phase != v1alpha1.RolloutAborted {
		return "I3: an abort was taken back"
	}
	if v := was.Analysis; v != nil && v.Verdict == v1alpha1.VerdictFail && v.Digest == f.o.Spec.Digest && f.over == "another" && !was.Retiring &&
		(is.Phase == v1alpha1.RolloutProgressing || is.Phase == v1alpha1.RolloutPromoting) && was.Phase != v1alpha1.RolloutPending {
		return "I3: a failed analysis did not abort"
	}
	return ""
}

func i3AbortOnlyReturns(f facts) string {
	is := f.d.Status
	if is.Phase != v1alpha1.RolloutAborting && is.Phase != v1alpha1.RolloutAborted {
		return ""
	}
	if is.AbortCause == nil {
		return "I9: aborted without a cause"
	}
	for _, a := range f.d.Actions {
		switch {
		case a.Kind == ActionMeasure, a.Kind == ActionEnsureSet && a.Role == RoleCanary:
			return "I3: an abort works for the canary: " + string(a.Kind)
		case a.Kind == ActionSetWeight && a.Weight != 0 && f.over != "itself":
			return "I3: an abort gives the canary traffic"
		}
	}
	if is.Phase == v1alpha1.RolloutAborting && f.over != "itself" && !f.stableDead &&
		(!f.known || f.weight > 0) && (len(f.d.Actions) == 0 || f.d.Actions[0].Kind != ActionSetWeight) {
		return "I3: an abort does not set the weight to 0 first"
	}
	if f.inCharge && f.over == "another" && f.o.Stable.Knowledge == Present && (f.o.Stable.Desired < f.stableWhole || f.o.Stable.Desired != f.stableWhole && !f.o.Stable.Autoscaled) && !has(f.d, ActionEnsureSet, RoleStable) {
		return "I3: an abort does not make the stable set whole"
	}
	if is.Phase == v1alpha1.RolloutAborted && f.o.Status.Phase == v1alpha1.RolloutAborting && f.over == "another" &&
		(f.weight != 0 || f.o.Traffic.Knowledge != Present || !f.o.Traffic.Settled || f.o.Canary.Knowledge != Absent) {
		return "I3: an abort ended before the traffic was back and the canary gone"
	}
	return ""
}

func has(d Decision, k ActionKind, r Role) bool {
	for _, a := range d.Actions {
		if a.Kind == k && a.Role == r {
			return true
		}
	}
	return false
}

func i4NoneAboveApproved(f facts) string {
	allowed := f.d.Status.ApprovedWeight
	for _, a := range f.d.Actions {
		if a.Kind == ActionSetWeight && a.Weight > allowed {
			return fmt.Sprintf("I4: weight %d set, %d approved", a.Weight, allowed)
		}
	}
	returning := f.d.Status.Phase == v1alpha1.RolloutAborting || f.d.Status.Phase == v1alpha1.RolloutAborted
	if f.inCharge && f.known && f.weight > allowed && (!returning || !f.stableDead) &&
		(len(f.d.Actions) == 0 || f.d.Actions[0].Kind != ActionSetWeight) {
		return fmt.Sprintf("I4: weight %d stays, %d approved", f.weight, allowed)
	}
	return ""
}

// i5SameFactsSameDecision is the heart of I5 and half of I6: who decides again on the
// same facts decides the same, answers aside.
func i5SameFactsSameDecision(f facts) string {
	o := f.o
	o.Status, o.Commands = f.d.Status, nil
	again := Next(o, f.now)
	if !sameStatus(&again.Status, &f.d.Status) {
		return fmt.Sprintf("I5: the same facts give another status: %s %d %q, then %s %d %q", f.d.Status.Phase, f.d.Status.Step, f.d.Status.Message,
			again.Status.Phase, again.Status.Step, again.Status.Message)
	}
	var first []Action
	for _, a := range f.d.Actions {
		if a.Kind != ActionAnswer {
			first = append(first, a)
		}
	}
	if !slices.Equal(again.Actions, first) {
		return fmt.Sprintf("I5: the same facts give other actions: %v, then %v", first, again.Actions)
	}
	return ""
}

// sameStatus compares all that Next may change. It is not reflect.DeepEqual because that
// takes more time than everything else in the enumeration.
func sameStatus(a, b *v1alpha1.RolloutStatus) bool {
	moment := func(x, y *metav1.MicroTime) bool { return (x == nil) == (y == nil) && (x == nil || x.Equal(y)) }
	cause := func(x, y *v1alpha1.Cause) bool { return (x == nil) == (y == nil) && (x == nil || *x == *y) }
	return a.Phase == b.Phase && a.Reason == b.Reason && a.Message == b.Message && a.Step == b.Step && a.Weight == b.Weight &&
		a.ApprovedWeight == b.ApprovedWeight && a.Paused == b.Paused && a.StableLoad == b.StableLoad && a.Retiring == b.Retiring &&
		moment(a.ApprovedAt, b.ApprovedAt) && moment(a.StepStartedAt, b.StepStartedAt) && moment(a.WaitingSince, b.WaitingSince) &&
		moment(a.StableShortSince, b.StableShortSince) && moment(a.DrainStartedAt, b.DrainStartedAt) &&
		cause(a.AbortCause, b.AbortCause) && slices.Equal(a.Approvals, b.Approvals) && slices.Equal(a.History, b.History)
}

func i9Explained(f facts) string {
	st := f.d.Status
	if !strings.HasPrefix(st.Reason, "TG-") || st.Message == "" {
		return fmt.Sprintf("I9: no reason or message in phase %s: %q %q", st.Phase, st.Reason, st.Message)
	}
	if len(st.History) > maxHistory {
		return "I9: the history is not bounded"
	}
	if (st.Phase != f.o.Status.Phase || st.Step != f.o.Status.Step) && len(st.History) == 0 {
		return "I9: a change of phase or step is not in the history"
	}
	return ""
}

func commandsAnsweredOnce(f facts) string {
	n := map[string]int{}
	for _, a := range f.d.Actions {
		if a.Kind == ActionAnswer {
			n[a.Command]++
			if a.Message == "" || a.Outcome == v1alpha1.OutcomeRefused && !strings.HasPrefix(a.Message, "TG-COMMAND-") {
				return "I9: a command is answered without a reason"
			}
		}
	}
	for _, c := range f.o.Commands {
		if n[c.Name] != 1 {
			return fmt.Sprintf("I9: command %s has %d answers", c.Name, n[c.Name])
		}
		delete(n, c.Name)
	}
	if len(n) > 0 {
		return "I9: an answer to nobody"
	}
	return ""
}

func quietOutOfCharge(f facts) string {
	if f.inCharge {
		return ""
	}
	for _, a := range f.d.Actions {
		if a.Kind != ActionAnswer {
			return "I7: a Rollout that is not in charge writes: " + string(a.Kind)
		}
	}
	return ""
}
