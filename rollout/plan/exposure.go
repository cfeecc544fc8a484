package plan

import (
	"math"
	"slices"

	metav1 "k8s.io/apimachinery/pkg/apis/meta/v1"

	"tidegate.io/tidegate/schemas/v1alpha1"
)

// need is how many available pods a set of size whole must have before it is given
// weight percent of the traffic: its share of the pods, rounded up, and at least one; none
// where nobody wants any.
func need(whole, weight int32) int32 {
	if weight <= 0 || whole <= 0 {
		return 0
	}
	// whole*weight/100 rounded up, in parts that do not overflow.
	n := whole/100*weight + (whole%100*weight+99)/100
	return max(1, n)
}

// keep is how many available pods a set must have to keep a weight that it has, where it
// needed n before it got it. It is less, so that one pod that restarts does not move traffic
// to and fro.
func keep(n int32) int32 {
	if n == 0 {
		return 0
	}
	return max(1, n-n/4)
}

// needs is how many available pods the canary set must have, of size whole, before it is
// given a weight. Behind a plain Service it never has more than it is to have in the end, so
// that a weight which would need more of them beside a whole stable set comes out lower.
func (t *turn) needs(whole, weight int32) int32 {
	if t.ratio && t.kind == kindCanary && weight > 0 && weight < full && whole > 0 {
		return min(whole, ratioPods(t.stableWhole, weight))
	}
	return need(whole, weight)
}

// size is how many pods the canary set is to have at a level, of size whole.
func (t *turn) size(whole int32, l Level) int32 {
	preview := t.o.Spec.Strategy.Preview
	switch {
	case t.kind != kindCanary:
		return whole
	case t.blueGreen && l.Weight == 0 && preview != nil && preview.Replicas != nil:
		return min(whole, *preview.Replicas)
	case t.blueGreen:
		return whole
	}
	n := t.needs(whole, l.Weight)
	if l.seen() {
		n = max(n, min(1, whole))
	}
	if t.ratio && l.seen() {
		return n // the number of pods is the weight
	}
	if l.Kept != nil {
		n = max(n, min(setTo(whole, l.Kept), t.needs(whole, l.Toward)))
	}
	return max(n, setTo(whole, l.Scale))
}

// setTo is the size that a step has set, of size whole; 0 for none.
func setTo(whole int32, s *v1alpha1.Scale) int32 {
	switch {
	case s == nil:
		return 0
	case s.Replicas != nil:
		return min(whole, *s.Replicas)
	case s.Percent != nil:
		return need(whole, *s.Percent)
	}
	return 0
}

// baselineSize is how many pods the baseline set is to have at a level: as many as the
// canary needs for its weight.
func (t *turn) baselineSize(l Level) int32 {
	if !l.WithBaseline || t.kind != kindCanary || 2*l.Weight > full {
		return 0
	}
	return max(min(1, t.whole), need(t.whole, l.Weight))
}

// available is the number of pods known to be available.
func (s Set) available() int32 {
	if s.Knowledge != Present {
		return 0
	}
	return s.Available
}

// autoscaled is the number of pods that an autoscaler of the set's own has asked for; 0 without one.
func (s Set) autoscaled() int32 {
	if s.Knowledge != Present || !s.Autoscaled {
		return 0
	}
	return s.Desired
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
// old set has asked for is the load, and so is what both measure now; the new set must stand
// it before it gets all of it, as far as its own autoscaler lets it grow.
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
	t.floor = max(0, spec.Replicas)
	t.whole = t.floor
	if spec.Stable != nil {
		t.stableWhole = max(0, spec.Stable.Replicas)
	}
	t.remember()
	open := t.st.Phase == v1alpha1.RolloutProgressing || t.st.Phase == v1alpha1.RolloutPromoting && !t.st.Retiring
	if !open || t.kind != kindCanary || !t.o.Canary.Autoscaled {
		return
	}
	t.whole = max(t.whole, t.st.StableLoad, t.measured())
	if most := t.o.Canary.Most; most > 0 {
		t.whole = min(t.whole, max(most, t.floor))
	}
}

// measured is how many pods all of the requests would take as the autoscalers measure them now; 0
// where that is not known. The sizes of the sets tell it late: a set that has lost half of its
// requests keeps its pods for minutes, so that it asks for no more when the load has doubled.
//
// It rests on the old set, whose pods are all warm, and never goes beyond what the sets together
// measure: that may be of a moment before, when the shares were others.
func (t *turn) measured() int32 {
	e, known := exposureOf(t.route)
	stable, canary := t.o.Stable, t.o.Canary
	rest := full - int64(e.Weight) - int64(e.Baseline)
	if !known || !t.route.Settled || t.ratio || stable.Knowledge != Present || stable.Load <= 0 || rest <= 0 {
		return 0
	}
	load := stable.Load * full / rest
	if e.Weight > 0 {
		if canary.Knowledge != Present || canary.Load <= 0 {
			return 0
		}
		all := stable.Load + canary.Load
		if e.Baseline > 0 {
			all += canary.Load // the fresh pods get as much
		}
		load = min(load, all)
	}
	return int32(min((load+999)/1000, math.MaxInt32)) //nolint:gosec // bounded
}

// carried is the weight that the route is known to give to the canary.
func (t *turn) carried() (weight int32, known bool) {
	e, known := t.carriedExposure()
	return e.Weight, known
}

// carriedExposure is the exposure that the route is known to carry.
func (t *turn) carriedExposure() (e Exposure, known bool) {
	return exposureOf(t.o.Traffic)
}

func exposureOf(tr Traffic) (e Exposure, known bool) {
	switch tr.Knowledge {
	case Present:
		return tr.Exposure, true
	case Absent:
		return Exposure{}, true
	case Unknown:
	}
	return Exposure{}, false
}

// carries says whether the gateway is known to serve by a route that is as rendered and
// carries exactly e.
func (t *turn) carries(e Exposure) bool {
	tr := t.o.Traffic
	if t.kind == kindFirst && e == (Exposure{}) && tr.Knowledge == Absent {
		return true // there is nothing that could serve, and nothing that must
	}
	return tr.Knowledge == Present && tr.Exposure == e && tr.UpToDate && tr.Settled
}

// carriesWeight is carries with nothing but a weight.
func (t *turn) carriesWeight(weight int32) bool { return t.carries(Exposure{Weight: weight}) }

// stableDead says whether the stable set is known to have no available pod while the
// canary has some. Then no more traffic is given to it than it already has: somebody
// answering badly is better than nobody answering. That is so for at most the progress
// deadline, since an abort must end, and a newer Rollout may be the cure.
func (t *turn) stableDead() bool {
	return t.kind == kindCanary && !t.rolling && t.stableWhole > 0 && t.o.Stable.Knowledge != Unknown &&
		t.o.Stable.available() == 0 && t.o.Canary.available() > 0 && !t.stableGivenUp()
}

// stableGivenUp says whether the stable set has been short for the progress deadline.
func (t *turn) stableGivenUp() bool {
	return t.passed(t.st.StableShortSince, t.deadline())
}

// stepFor is the first step of the highest level, up to the current one, that fits.
func (t *turn) stepFor(fits func(Level) bool) int32 {
	k := t.st.Step
	for k > 0 && !fits(t.level(k)) {
		k--
	}
	return t.level(k).Start
}

// approve records that the gates allow a step, and the exposure that it comes with.
func (t *turn) approve(step, weight int32) {
	same := t.st.Phase == v1alpha1.RolloutProgressing && t.level(step).Exposure == t.level(t.st.Step).Exposure && t.st.ApprovedWeight == weight
	t.st.Step = step
	t.st.StepStartedAt = nil
	if same && t.walks() {
		return
	}
	t.st.ApprovedWeight = weight
	t.st.ApprovedAt = t.stamp()
	t.st.ExposedAt = nil
}

// fallBack returns to a lower step; its gates, and those after it, must pass again.
func (t *turn) fallBack(step int32) {
	t.approve(step, t.weightOf(step))
	t.st.ApprovedAt, t.st.ExposedAt = t.stamp(), nil
	t.st.Phase = v1alpha1.RolloutProgressing
	t.st.DrainStartedAt = nil
	again := func(a v1alpha1.Approval) bool { return a.Step >= step }
	t.st.Approvals = slices.DeleteFunc(t.st.Approvals, again)
	t.st.Skips = slices.DeleteFunc(t.st.Skips, again)
	t.st.Promoted = nil
	t.forget(step)
	t.st.Falls++
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

// gatePassed says whether the present step waits for nothing but an analysis.
func (t *turn) gatePassed() bool {
	k, s := t.st.Step, t.step()
	switch {
	case s == nil:
		return t.undoes() || t.eventPassed(v1alpha1.HookBegin, 0)
	case t.skipped(k):
		return true
	case s.Pause != nil && s.Pause.Approval:
		return t.approval(k) != nil
	case s.Pause != nil:
		return t.passed(t.st.StepStartedAt, t.wait())
	case s.Job != nil:
		c := t.jobCheck()
		return c != nil && c.Outcome == v1alpha1.CheckPassed
	case s.Hook != nil:
		return t.lets(s.Hook.Name, "", k)
	case s.SetWeight != nil:
		return t.passed(t.st.ExposedAt, t.o.Spec.Strategy.RouteGrace.Duration) && t.eventPassed(v1alpha1.HookStepEvent, k)
	}
	return t.st.StepStartedAt != nil
}

// canaryWant is the size that the canary set should have now.
func (t *turn) canaryWant() int32 {
	want := t.canaryNeed()
	if t.rolling || t.kind != kindCanary || t.st.Phase != v1alpha1.RolloutProgressing || t.split() || t.calm() {
		return want
	}
	return max(want, min(t.o.Canary.Desired, t.whole))
}

// canaryNeed is canaryWant without the pods that wait for every proxy to have left them.
func (t *turn) canaryNeed() int32 {
	switch {
	case t.rolling:
		return t.share(t.st.ApprovedWeight)
	case t.kind != kindCanary || t.st.Phase != v1alpha1.RolloutProgressing:
		return t.whole
	}
	want := t.size(t.whole, t.level(t.st.Step))
	if t.split() {
		// Each pod gets its share at once, so there are never more than are approved, and to have
		// fewer is how the share falls. The last ones go when the Service has left them.
		if want == 0 || t.route.Knowledge == Unknown {
			return min(t.whole, t.o.Canary.Desired)
		}
		return want
	}
	// What has passed stays passed, so this never goes to and fro within a step, unlike the
	// analysis, which goes on while the pods come up.
	want = max(want, t.size(t.whole, t.level(t.asked())))
	// I1: no pod goes before the traffic is seen to have gone.
	if e, known := t.carriedExposure(); known && e.seen() {
		want = max(want, need(t.whole, e.Weight), min(1, t.whole))
	}
	return want
}

// calm says whether every proxy is known to serve by the route as it was read: pods may go that it
// gives nothing to.
func (t *turn) calm() bool {
	tr := t.o.Traffic
	grace := t.o.Spec.Strategy.RouteGrace.Duration
	switch {
	case tr.Knowledge == Unknown || tr.Knowledge == Present && !tr.Settled:
		return false
	case grace <= 0 || t.st.ApprovedAt == nil || t.st.Phase.Terminal():
		return true
	case t.st.Phase == v1alpha1.RolloutAborting:
		return t.passed(t.st.DrainStartedAt, grace)
	}
	return t.passed(t.st.ExposedAt, grace)
}

// clocks keeps the moments since when the two sets have been short of pods, since when
// the old one has been without traffic, and since when the gateway has refused the route.
func (t *turn) clocks() {
	st := &t.st
	open := st.Phase == v1alpha1.RolloutProgressing || st.Phase == v1alpha1.RolloutPromoting && !st.Retiring
	if !t.rolling || st.ApprovedWeight > 0 { // else nothing is asked for, and nothing has come
		st.WaitingSince = t.waitingSince(open && !st.Paused)
	}
	// With rolling the old revision is to have its pods only when it is returned to.
	st.StableShortSince = t.shortSince(st.StableShortSince,
		t.kind == kindCanary && (open && !t.rolling || st.Phase == v1alpha1.RolloutAborting), t.o.Stable, t.stableWant())
	st.RouteUnsettledSince = t.refusedSince(open)
	if st.StableShortSince != nil {
		t.wake(st.StableShortSince.Add(t.deadline()))
	}
	if carried, known := t.carried(); known && carried < 100 && st.Phase == v1alpha1.RolloutPromoting {
		st.DrainStartedAt = nil
	}
}

// canaryAsked says whether the canary set is there, or is to be.
func (t *turn) canaryAsked() bool {
	return t.canaryWant() > 0 || t.whole == 0 || t.o.Canary.Knowledge != Absent
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
	case tr.Knowledge == Absent || tr.Settled || tr.Exposure != t.allowed():
		return nil
	case since == nil:
		return t.stamp()
	}
	return since
}
