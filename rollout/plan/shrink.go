package plan

import (
	"tidegate.io/tidegate/schemas/v1alpha1"
)

// With dynamicStableScale the stable set gives up pods as their traffic goes. Whatever takes traffic back
// then waits for its pods: they are asked for at once, and the weight follows them.

// dynamic says whether the stable set gives up pods as their traffic goes.
func (t *turn) dynamic() bool {
	// Of a workload in place nobody knows how many come by its Service, past the route.
	return t.o.Spec.Strategy.DynamicStableScale && t.kind == kindCanary && !t.rolling && !t.ratio && !t.outOfPlace
}

// stableWant is how many pods the stable set is to have now: all of them until the
// promotion, unless the strategy takes pods away as their traffic goes.
func (t *turn) stableWant() int32 {
	open := t.st.Phase == v1alpha1.RolloutProgressing || t.st.Phase == v1alpha1.RolloutPromoting
	if t.split() && t.resized() && t.o.Canary.available() > t.size(t.whole, t.level(t.st.Step)) {
		return max(t.stableWhole, t.o.Stable.Desired) // the new set shrinks first, so that no share grows
	}
	if !t.dynamic() || !open {
		return t.stableWhole
	}
	// What it is about to get back counts already, and what it is about to lose counts yet.
	weight := int32(0)
	if e, known := t.carriedExposure(); known {
		weight = min(e.Weight, t.st.ApprovedWeight)
	}
	want := max(min(1, t.stableWhole), need(t.stableWhole, full-weight))
	if !t.carries(t.allowed()) || !t.calm() {
		want = max(want, min(t.stableWhole, t.o.Stable.Desired)) // no pod goes before its traffic has gone
	}
	return want
}

// standable is the least weight of the canary at which the stable set has pods for the rest: 0 unless
// it has given up pods. It is no excuse for more than the progress deadline.
func (t *turn) standable() int32 {
	s := t.o.Stable
	if !t.dynamic() || t.stableWhole == 0 || s.Knowledge == Unknown || t.o.Canary.available() == 0 || t.stableGivenUp() {
		return 0
	}
	share := int64(s.available()) * full / int64(t.stableWhole)
	return full - int32(min(full, share)) //nolint:gosec // 0 to 100
}

// back is what the route is to carry in an abort now. Where the stable set has given up pods, the
// traffic comes back as they do, for at most the progress deadline.
func (t *turn) back() Exposure {
	e := Exposure{Weight: t.restWeight()}
	if carried := t.o.Traffic; carried.Knowledge == Present && t.kind == kindCanary {
		e.Weight = min(carried.Weight, t.standable())
	}
	return e
}
