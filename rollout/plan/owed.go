package plan

import (
	"time"

	"tidegate.io/tidegate/schemas/v1alpha1"
)

// The autoscaler of the stable set would take its pods away as its requests go, and an abort would bring all of
// them back to few. So its least number of pods is raised, while a Rollout goes on, to the most that it has asked
// for since; it may ask for more at any time. What is in force is read off the autoscaler, so that managers that
// come and go, and Rollouts that follow each other, agree on it.

// holdOver is for how long a set that serves again keeps its pods: as long as a HorizontalPodAutoscaler remembers
// by default how little there was to do. What it measures comes later than the requests.
const holdOver = 5 * time.Minute

// holds says whether the stable set keeps its pods whatever its autoscaler measures. It does not where it is to
// give them up, nor where its autoscaler counts the pods of both sets.
func (t *turn) holds() bool {
	return t.kind == kindCanary && !t.rolling && !t.outOfPlace && !t.dynamic() && t.o.Stable.Autoscaled
}

// remember keeps the most pods that the autoscaler of the stable set has asked for since the Rollout began, or
// that an earlier Rollout has kept for it. What cannot be read changes nothing.
func (t *turn) remember() {
	st, s := &t.st, t.o.Stable
	open := st.Phase == v1alpha1.RolloutProgressing || st.Phase == v1alpha1.RolloutPromoting && !st.Retiring
	switch {
	case t.kind != kindCanary || t.rolling:
		st.StableLoad = 0
	case open && s.Knowledge == Present && s.Autoscaled:
		st.StableLoad = max(st.StableLoad, s.Desired, s.Lifted)
	case !open && st.Phase != v1alpha1.RolloutAborting:
		st.StableLoad = 0
	}
}

// owed is how many pods the autoscaler of the stable set is to leave it at least; 0 for as many as was rendered.
func (t *turn) owed() int32 {
	if !t.holds() {
		return 0
	}
	return t.o.Stable.lift(t.st.StableLoad, t.stableWhole)
}

// stableLift is what the autoscaler of the stable set is to leave it at least, as Set.Lifted has it.
func (t *turn) stableLift() int32 {
	switch {
	case t.kind == kindInPlace:
		return t.canaryLift()
	case t.st.Phase == v1alpha1.RolloutAborted && t.holds():
		return t.keptLift(t.o.Stable, t.endedAt())
	}
	return t.owed()
}

// canaryLift is the same of the new set, or of one that serves in its place.
func (t *turn) canaryLift() int32 {
	s := t.o.Canary
	switch {
	case t.rolling || !s.Autoscaled:
		return 0
	case t.kind == kindInPlace && t.st.ApprovedAt != nil:
		return t.keptLift(s, t.st.ApprovedAt.Time)
	case t.kind != kindCanary:
		return 0
	case t.o.Spec.Changes() && !t.outOfPlace && (t.st.Retiring || t.st.Phase.Terminal()):
		return 0 // no Rollout that changes a workload in place would look after it
	case t.st.Phase == v1alpha1.RolloutSucceeded:
		return t.keptLift(s, t.endedAt())
	}
	return t.risingLift()
}

// risingLift is the same while the Rollout goes on. The new set's pods come before its requests, and its autoscaler, which
// measures these alone, would take them away again before they are all available, or while somebody thinks about an
// approval. It only rises. Behind a plain Service the number of pods is the weight.
func (t *turn) risingLift() int32 {
	s := t.o.Canary
	switch {
	case t.st.Retiring || t.split() && t.route.Knowledge == Unknown:
		return s.Lifted
	case t.split() && t.st.ApprovedWeight < full:
		return 0
	}
	return s.lift(max(t.canaryNeed(), s.Lifted), t.floor)
}

// lift is what the autoscaler of a set of n pods is to leave it at least; 0 for as many as was rendered.
func (s Set) lift(n, rendered int32) int32 {
	if s.Most > 0 {
		n = min(n, s.Most)
	}
	if n <= max(rendered, s.Least) {
		return 0
	}
	return n
}

// keptLift is what a set has, as long as it may keep it since a moment.
func (t *turn) keptLift(s Set, since time.Time) int32 {
	until := since.Add(holdOver)
	if s.Lifted == 0 || !t.now.Before(until) || since.Sub(t.now) > clockSlack {
		return 0
	}
	t.wake(until)
	return s.Lifted
}

// endedAt is when the Rollout ended, as its history has it; the beginning of time where it does not.
func (t *turn) endedAt() time.Time {
	if n := len(t.st.History); n > 0 && t.st.History[n-1].Phase == t.st.Phase {
		return t.st.History[n-1].At.Time
	}
	return time.Time{}
}
