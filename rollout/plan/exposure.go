package plan

import (
	metav1 "k8s.io/apimachinery/pkg/apis/meta/v1"

	"tidegate.io/tidegate/schemas/v1alpha1"
)

// need is how many available pods a set of size whole must have before it is given
// weight percent of the traffic: its share of the pods, rounded up, and at least one.
func need(whole, weight int32) int32 {
	if weight <= 0 {
		return 0
	}
	// whole*weight/100 rounded up, in parts that do not overflow.
	n := whole/100*weight + (whole%100*weight+99)/100
	return max(1, n)
}

// keep is how many available pods a set must have to keep a weight that it has. It is
// less than need, so that one pod that restarts does not move traffic to and fro.
func keep(whole, weight int32) int32 {
	n := need(whole, weight)
	if n == 0 {
		return 0
	}
	return max(1, n-n/4)
}

// available is the number of pods known to be available.
func (s Set) available() int32 {
	if s.Knowledge != Present {
		return 0
	}
	return s.Available
}

// short says whether a set that should have want pods is known to fall short of it.
func (s Set) short(want int32) bool {
	switch s.Knowledge {
	case Absent:
		return true
	case Present:
		return !s.UpToDate || s.Desired < want || s.Available < want
	case Unknown:
	}
	return false
}

// full says whether a set is known to be as rendered with at least want available pods.
func (s Set) full(want int32) bool {
	return s.Knowledge == Present && s.UpToDate && s.Available >= want
}

// sized says whether a set asks for want pods, or for more where an autoscaler wants more.
func (s Set) sized(want int32) bool {
	return s.SelfSized || s.Desired == want || s.Autoscaled && s.Desired > want
}

// sizes finds out how many pods the two sets are to have. What the autoscaler of the
// old set has asked for is the load, and the new set must stand it before it gets all of it.
func (t *turn) sizes() {
	spec := t.o.Spec
	if t.rolling {
		t.whole = t.rollingSize(spec.Replicas, t.o.Canary)
		if spec.Stable != nil {
			t.stableWhole = t.rollingSize(spec.Stable.Replicas, t.o.Stable)
		}
		t.floor = t.whole
		return
	}
	t.floor = max(1, spec.Replicas)
	t.whole = t.floor
	if spec.Stable != nil {
		t.stableWhole = max(1, spec.Stable.Replicas)
	}
	open := t.st.Phase == v1alpha1.RolloutProgressing || t.st.Phase == v1alpha1.RolloutPromoting && !t.st.Retiring
	if !open || t.kind != kindCanary || !t.o.Canary.Autoscaled {
		t.st.StableLoad = 0
		return
	}
	if s := t.o.Stable; s.Knowledge == Present && s.Autoscaled {
		t.st.StableLoad = max(t.st.StableLoad, s.Desired)
	}
	t.whole = max(t.whole, t.st.StableLoad)
}

// carried is the weight that the route is known to give to the canary.
func (t *turn) carried() (weight int32, known bool) {
	switch t.o.Traffic.Knowledge {
	case Present:
		return t.o.Traffic.CanaryWeight, true
	case Absent:
		return 0, true
	case Unknown:
	}
	return 0, false
}

// carries says whether the gateway is known to serve by a route that is as rendered and
// gives the canary exactly weight.
func (t *turn) carries(weight int32) bool {
	tr := t.o.Traffic
	return tr.Knowledge == Present && tr.CanaryWeight == weight && tr.UpToDate && tr.Settled
}

// stableDead says whether the stable set is known to have no available pod while the
// canary has some. Then no more traffic is given to it than it already has: somebody
// answering badly is better than nobody answering. That is so for at most the progress
// deadline, since an abort must end, and a newer Rollout may be the cure.
func (t *turn) stableDead() bool {
	return t.kind == kindCanary && !t.rolling && t.o.Stable.Knowledge != Unknown &&
		t.o.Stable.available() == 0 && t.o.Canary.available() > 0 && !t.stableGivenUp()
}

// stableGivenUp says whether the stable set has been short for the progress deadline.
func (t *turn) stableGivenUp() bool {
	return t.passed(t.st.StableShortSince, t.deadline())
}

// stepFor is the highest step, up to the current one, that fits.
func (t *turn) stepFor(fits func(weight int32) bool) int32 {
	k := t.st.Step
	for k > 0 && !fits(t.weightOf(k)) {
		k--
	}
	return k
}

// approve records that the gates allow the exposure of a step.
func (t *turn) approve(step, weight int32) {
	t.st.Step = step
	t.st.ApprovedWeight = weight
	t.st.ApprovedAt = t.stamp()
	t.st.StepStartedAt = nil
}

// fallBack returns to a lower step; its gates, and those after it, must pass again.
func (t *turn) fallBack(step int32) {
	t.approve(step, t.weightOf(step))
	t.st.Phase = v1alpha1.RolloutProgressing
	t.st.DrainStartedAt = nil
	var kept []v1alpha1.Approval
	for _, a := range t.st.Approvals {
		if a.Step < step {
			kept = append(kept, a)
		}
	}
	t.st.Approvals = kept
}

// holdOver says whether the current step has lasted for its hold.
func (t *turn) holdOver() bool {
	return t.st.Step == 0 || t.passed(t.st.StepStartedAt, t.steps[t.st.Step-1].Hold.Duration)
}

// approval is the approval of the current step, nil if it has none.
func (t *turn) approval(step int32) *v1alpha1.Approval {
	for i := range t.st.Approvals {
		if t.st.Approvals[i].Step == step {
			return &t.st.Approvals[i]
		}
	}
	return nil
}

// approvalGiven says whether the current step has the approval that it asks for.
func (t *turn) approvalGiven() bool {
	k := t.st.Step
	return k == 0 || !t.steps[k-1].Approval || t.approval(k) != nil
}

// canaryWant is the size that the canary set should have now.
func (t *turn) canaryWant() int32 {
	switch {
	case t.rolling:
		return t.share(t.st.ApprovedWeight)
	case t.kind != kindCanary || t.blueGreen || t.st.Phase != v1alpha1.RolloutProgressing:
		return t.whole
	}
	k := t.st.Step
	// Holds and approvals that have passed stay passed, so this never goes to and fro
	// within a step, unlike the analysis, which goes on while the pods come up.
	if k < t.last() && t.holdOver() && t.approvalGiven() {
		k++
	}
	want := need(t.whole, t.weightOf(k))
	// I1: no pod goes before the traffic is seen to have gone.
	if t.o.Traffic.Knowledge == Present {
		want = max(want, need(t.whole, t.o.Traffic.CanaryWeight))
	}
	if t.o.Traffic.Knowledge == Unknown || t.o.Traffic.Knowledge == Present && !t.o.Traffic.Settled {
		want = max(want, min(t.o.Canary.Desired, t.whole))
	}
	return want
}

// clocks keeps the moments since when the two sets have been short of pods, since when
// the old one has been without traffic, and since when the gateway has refused the route.
func (t *turn) clocks() {
	st := &t.st
	open := st.Phase == v1alpha1.RolloutProgressing || st.Phase == v1alpha1.RolloutPromoting && !st.Retiring
	if !t.rolling || st.ApprovedWeight > 0 { // else nothing is asked for, and nothing has come
		st.WaitingSince = t.shortSince(st.WaitingSince, open && !st.Paused, t.o.Canary, t.canaryWant())
	}
	// With rolling the old revision is to have its pods only when it is returned to.
	st.StableShortSince = t.shortSince(st.StableShortSince,
		t.kind == kindCanary && (open && !t.rolling || st.Phase == v1alpha1.RolloutAborting), t.o.Stable, t.stableWhole)
	st.RouteUnsettledSince = t.refusedSince(open)
	if st.StableShortSince != nil {
		t.wake(st.StableShortSince.Add(t.deadline()))
	}
	if carried, known := t.carried(); known && carried < 100 && st.Phase == v1alpha1.RolloutPromoting {
		st.DrainStartedAt = nil
	}
}

// shortSince is since when a set that matters has fallen short of want. A set that is
// unknown leaves the moment as it was.
func (t *turn) shortSince(was *metav1.MicroTime, matters bool, s Set, want int32) *metav1.MicroTime {
	switch {
	case !matters:
		return nil
	case s.Knowledge == Unknown:
		return was
	case !s.short(want):
		return nil
	case was == nil:
		return t.stamp()
	}
	return was
}

// refusedSince is since when the gateway has not accepted the route that carries what is
// approved. What is unknown changes nothing.
func (t *turn) refusedSince(open bool) *metav1.MicroTime {
	since, tr := t.st.RouteUnsettledSince, t.o.Traffic
	switch {
	case !open:
		return nil
	case tr.Knowledge == Unknown:
		return since
	case tr.Knowledge == Absent || tr.Settled || tr.CanaryWeight != t.st.ApprovedWeight:
		return nil
	case since == nil:
		return t.stamp()
	}
	return since
}
