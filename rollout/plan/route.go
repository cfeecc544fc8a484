package plan

import (
	"time"

	"tidegate.io/tidegate/schemas/v1alpha1"
)

func routeAsAllowed(t *turn) ruling {
	allowed, want := t.allowed(), t.st.ApprovedWeight
	if t.carries(allowed) {
		return t.ratioPodsThere()
	}
	e, _ := t.carriedExposure()
	carried := e.Weight
	t.wake(t.now.Add(look))
	if allowed.above(e) {
		if t.st.ApprovedAt != nil {
			t.wake(t.st.ApprovedAt.Add(approvalLife + time.Microsecond))
		}
		if r := t.raiseBlocked(); !r.silent {
			return r
		}
	}
	if carried != want || t.o.Traffic.Knowledge != Present {
		return hold(ReasonHoldRoute, "%s, on the way: the route carries %d %%", t.where(), carried)
	}
	return hold(ReasonHoldRoute, "%s, on the way: the gateway has not accepted the route yet%s", t.where(), t.orRefused())
}

// raiseBlocked says what forbids to put the approved exposure on the route where it
// means more traffic for the canary. Nothing that is unknown lets pass.
func (t *turn) raiseBlocked() ruling {
	switch {
	case t.o.Older != "" && t.st.Phase == v1alpha1.RolloutProgressing:
		return behindOlder(t)
	case t.serving() && t.rolling:
		return silence // the workload is that of both: there is nothing to lose by it
	case t.serving():
		// The set has served, or no other can: some pods are better than none.
		if t.o.Canary.available() == 0 && t.whole > 0 {
			return hold(ReasonHoldPods, "%s, holding: %s pods are available", t.where(), t.pods())
		}
		return silence
	}
	if r := t.riseForbidden(); !r.silent {
		return r
	}
	switch {
	case t.rolling && t.o.Narrow:
		return hold(ReasonHoldRoute, "%s, holding: a Service selects the pods of one revision alone, as it did before; it is made to select those of every revision first", t.where())
	case t.rolling:
		return t.notPromoted()
	}
	for _, g := range []guard{(*turn).newShort, (*turn).notPromoted, (*turn).stableShort} {
		if r := g(t); !r.silent {
			return r
		}
	}
	return silence
}

// riseForbidden says what of the Rollout itself forbids more exposure.
func (t *turn) riseForbidden() ruling {
	switch {
	case t.o.Older != "" && t.st.Phase == v1alpha1.RolloutProgressing:
		return behindOlder(t)
	case t.o.Shared == Unknown:
		return blind(t)
	case t.st.Paused:
		return heldByPause(t)
	case t.stale():
		return hold(ReasonHoldRoute, "%s, holding: the approval is more than %s old", t.where(), approvalLife)
	}
	return silence
}

// newShort holds while pods are missing that what is approved needs.
func (t *turn) newShort() ruling {
	fresh := need(t.whole, t.allowed().Baseline)
	switch {
	case !t.o.Canary.full(t.exposable()):
		return hold(ReasonHoldPods, "%s, holding: %s pods are available and up to date, %d are needed%s",
			t.where(), t.pods(), t.exposable(), t.orAborts())
	case fresh > 0 && !t.o.Baseline.full(fresh):
		return hold(ReasonHoldBaseline, "%s, holding: the baseline set has %d of %d pods available%s",
			t.where(), t.o.Baseline.available(), fresh, t.orAborts())
	}
	return silence
}

// serving says whether the canary set is the only one that can serve and is entitled to.
func (t *turn) serving() bool {
	return t.kind == kindInPlace || t.st.Phase == v1alpha1.RolloutSucceeded || t.st.Retiring
}

// exposable is how many pods of the canary must be there for what is approved.
func (t *turn) exposable() int32 {
	n := t.needs(t.whole, t.st.ApprovedWeight)
	if t.allowed().seen() {
		n = max(n, min(1, t.whole))
	}
	return n
}

// stale says whether the approved exposure is too old to be put on the route.
func (t *turn) stale() bool {
	if t.split() && (t.st.ExposedAt != nil || t.o.Canary.Desired >= t.size(t.whole, t.level(t.st.Step))) {
		return false // its pods were asked for in time
	}
	return t.st.ApprovedAt == nil || t.now.Sub(t.st.ApprovedAt.Time) > approvalLife
}

func approvalStale(t *turn) ruling {
	e, known := t.carriedExposure()
	carried := e.Weight
	if !known || !t.allowed().above(e) || !t.stale() || t.stableDead() {
		return silence
	}
	lost := t.st.ApprovedWeight
	t.fallBack(t.stepFor(func(l Level) bool { return !l.above(e) }))
	if t.rolling {
		return moved(ReasonFallbackStale, "the workload is told %d %% and %d %% were approved more than %s ago: back to step %d/%d, whose gates must pass again",
			carried, lost, approvalLife, t.st.Step, t.last())
	}
	return moved(ReasonFallbackStale, "the route carries %d %% and %d %% were approved more than %s ago: back to step %d/%d, whose gates must pass again",
		carried, lost, approvalLife, t.st.Step, t.last())
}

// weight is the SetWeight action, and whether it is to be done.
func (t *turn) weight() (Action, bool) {
	back := t.st.Phase == v1alpha1.RolloutAborting || t.st.Phase == v1alpha1.RolloutAborted
	switch {
	case !t.inCharge(), !back && t.routeGoes():
		return Action{}, false
	case back:
		return t.returnWeight()
	}
	return t.forthWeight()
}

// forthWeight is the weight of a Rollout that is not aborted.
func (t *turn) forthWeight() (Action, bool) {
	carried, known := t.carriedExposure()
	want := t.allowed()
	switch {
	case !known:
		return Action{}, false
	case t.split() && want.Weight > 0 && want.Weight < full:
		return Action{Kind: ActionSetWeight, Exposure: want}, !t.o.Traffic.UpToDate // the pods carry it
	case carried.above(want): // I4: at once, whatever else holds
		return t.lower(carried, want)
	case t.split() && want.Weight == full && carried == want:
		// No other pod is left behind the Service. That makes it no less of a rise to settle on these.
		return Action{Kind: ActionSetWeight, Exposure: want}, t.raiseBlocked().silent
	case want.above(carried) && t.raiseBlocked().silent:
		return Action{Kind: ActionSetWeight, Exposure: want}, true
	case t.o.Traffic.Knowledge == Present:
		return Action{Kind: ActionSetWeight, Exposure: carried}, !t.o.Traffic.UpToDate
	}
	// There is no route. Where a stable set is, it is put back for it.
	return Action{Kind: ActionSetWeight}, t.kind == kindCanary
}

// lower is the SetWeight action that takes away what is not approved, as far as the stable set has pods
// for it.
func (t *turn) lower(carried, want Exposure) (Action, bool) {
	e := lesser(carried, want)
	e.Weight = max(e.Weight, min(carried.Weight, t.standable()))
	return Action{Kind: ActionSetWeight, Exposure: e}, e != carried || !t.o.Traffic.UpToDate
}

// lesser is what both exposures have, so that what is taken away does not wait for what is
// added.
func lesser(a, b Exposure) Exposure {
	out := Exposure{Weight: min(a.Weight, b.Weight), Baseline: min(a.Baseline, b.Baseline)}
	if a.Header == b.Header {
		out.Header = a.Header
	}
	if a.Mirror == b.Mirror {
		out.Mirror = a.Mirror
	}
	return out
}

// returnWeight is the weight of an abort. It is the one that is also set blindly.
func (t *turn) returnWeight() (Action, bool) {
	rest := Action{Kind: ActionSetWeight, Exposure: t.back()}
	tr := t.o.Traffic
	right := tr.Knowledge == Present && tr.Exposure == rest.Exposure
	switch {
	case t.st.Phase == v1alpha1.RolloutAborted && tr.Knowledge == Unknown:
		return Action{}, false // it was there; nothing is known to have changed
	case t.unneeded():
		return Action{}, false // nothing needs it
	case tr.Knowledge == Unknown && t.standable() > 0:
		return Action{}, false // the stable set has not the pods for all of it yet
	case t.kind == kindFirst:
		return rest, !right && tr.Knowledge != Absent
	case right && tr.UpToDate:
		return Action{}, false
	case t.stableDead() && !right && tr.Knowledge != Absent:
		return Action{}, false
	}
	return rest, true
}
