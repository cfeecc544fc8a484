package plan

import (
	"tidegate.io/tidegate/schemas/v1alpha1"
)

// Behind a plain Service there is no weight to set: it selects the pods of the stable revision, of the
// new one, or of both, and then each available pod gets its share. So the number of pods that the new
// set asks for is its exposure: it grows only on what is approved, and what is lost takes its traffic
// with it.

// split says whether the pods of both revisions are, or may be, behind one plain Service: what is not
// available gets no request there, so that lost pods take their share of the traffic with them.
func (t *turn) split() bool {
	return t.ratio && t.kind == kindCanary && (t.route.Knowledge == Unknown || t.route.Knowledge == Present && t.route.Split)
}

// ratioPods is how many pods beside stable others make up weight percent of all of them, at
// most, and at least one. weight is below 100.
func ratioPods(stable, weight int32) int32 {
	if weight <= 0 {
		return 0
	}
	return max(1, int32(int64(stable)*int64(weight)/int64(full-weight))) //nolint:gosec // at most 99 times an int32 that counts pods
}

// readRatio makes a weight of the numbers of pods behind a plain Service: the approved one
// where they are as that asks for, else their share of all, rounded up.
func (t *turn) readRatio() {
	tr := &t.o.Traffic
	if tr.Knowledge != Present || !tr.Split {
		return
	}
	canary, stable := t.o.Canary, t.o.Stable
	switch w := t.st.ApprovedWeight; {
	case canary.Knowledge == Unknown || stable.Knowledge == Unknown:
		*tr = Traffic{}
	case canary.Knowledge == Absent || canary.Desired == 0:
		tr.Weight = 0
	case w > 0 && w < full && canary.Desired == t.size(t.whole, t.level(t.st.Step)):
		tr.Weight = w
	default:
		tr.Weight = t.podShare(canary, stable)
	}
	if w := t.st.ApprovedWeight; tr.Weight == w && (w == 0 || w == full) {
		tr.UpToDate = false // by the numbers of pods only: the Service is to select one revision
	}
}

// podShare is the share of the new set's pods of all that are asked for, rounded up. Where an autoscaler
// has more of them than a step asks for, it is the approved one while it is within that.
func (t *turn) podShare(canary, stable Set) int32 {
	if stable.Knowledge == Absent {
		stable.Desired = 0
	}
	all := int64(canary.Desired) + int64(max(0, stable.Desired))
	share := int32((int64(canary.Desired)*full + all - 1) / all) //nolint:gosec // at most 100
	w := t.st.ApprovedWeight
	if canary.Autoscaled && share < w && w < full && canary.Desired > t.size(t.whole, t.level(t.st.Step)) {
		return w
	}
	return share
}

// ratioMayGrow says what forbids more pods of the canary where each pod gets its share of the
// requests at once.
func (t *turn) ratioMayGrow() ruling {
	switch {
	case t.st.Phase != v1alpha1.RolloutProgressing:
		return silence
	case t.st.ExposedAt != nil && t.resized():
		return t.stableMissing() // the old set grows first, so that no share grows
	case t.st.ExposedAt != nil:
		return silence // no more than it has had
	}
	for _, g := range []guard{(*turn).riseForbidden, (*turn).notPromoted, (*turn).stableShort} {
		if r := g(t); !r.silent {
			return r
		}
	}
	return silence
}

// ratioPodsThere holds where a weight is made of pods that are not there yet.
func (t *turn) ratioPodsThere() ruling {
	if !t.split() || t.o.Canary.full(t.needs(t.whole, t.st.ApprovedWeight)) {
		return silence
	}
	return hold(ReasonHoldPods, "%s, waiting: %s pods are available; %s", t.where(), t.pods(), t.podsRemedy())
}
