package plan

import (
	"fmt"
	"slices"
	"time"

	"tidegate.io/tidegate/schemas/v1alpha1"
)

// promotingGuards let the old set drain and retire it. Until that is decided the
// Rollout can turn back. A newer Rollout waits for the end, which is near, rather than
// sending all of the traffic back to what was just replaced; unless something is in the
// way of that end.
var promotingGuards = []guard{
	retires,
	supersededLate,
	failedAnalysis,
	overdue,
	routeRefused,
	podsLost,
	approvalStale,
	blind,
	routeAsAllowed,
	heldByPause,
	drains,
	heldByPods,
	retirementDecided,
}

// abortingGuards bring all traffic back, wait for what is under way, and delete the set.
var abortingGuards = []guard{
	tellsOfRollback,
	trafficReturns,
	returnedInPlace,
	jobStops,
	abortDrains,
	abortRetires,
}

// succeededGuards and abortedGuards watch over what a Rollout has left, as long as no
// other Rollout of the Release does.
var (
	succeededGuards = []guard{notInCharge, succeededRepairs, succeededStays}
	abortedGuards   = []guard{tellsOfRollback, notInCharge, abortedRepairs, abortedStays}
)

func retires(t *turn) ruling {
	switch {
	case !t.st.Retiring:
		return silence
	case t.o.Stable.Knowledge == Absent && !t.o.Stable.Leftovers && !t.baselineLeft():
		return t.succeed()
	}
	t.wake(t.now.Add(look))
	if t.rolling {
		return hold(ReasonRetiring, "%s; what only the old revision %s needed is being deleted", t.successMessage(), t.stableName())
	}
	return hold(ReasonRetiring, "revision %s has all of the traffic; the old revision %s is being deleted", t.o.Spec.Revision, t.stableName())
}

// supersededLate lets a promotion end that is nearly done. One that is wanted back is turned back: what
// it would return to is there yet.
func supersededLate(t *turn) ruling {
	carried, known := t.carried()
	refused := t.o.Traffic.Knowledge == Present && !t.o.Traffic.Settled
	if t.o.Newer == "" || !t.o.Returns && !t.st.Paused && !refused && (!known || carried == 100) {
		return silence
	}
	return superseded(t)
}

func drains(t *turn) ruling {
	if t.st.DrainStartedAt == nil {
		t.st.DrainStartedAt = t.stamp()
	}
	d := t.o.Spec.Strategy.Warm()
	if t.o.Newer != "" {
		// What comes next is not judged against the old set: no return to it is wanted.
		d = t.o.Spec.Strategy.DrainDelay.Duration
	}
	if t.passed(t.st.DrainStartedAt, d) {
		return silence
	}
	return hold(ReasonDraining, "revision %s has all of the traffic; the old revision %s is kept until %s",
		t.o.Spec.Revision, t.stableName(), clock(t.st.DrainStartedAt.Add(d)))
}

func retirementDecided(t *turn) ruling {
	t.st.Retiring = true
	if t.rolling {
		return moved(ReasonRetiring, "%s: there is no way back to revision %s from here", t.successMessage(), t.stableName())
	}
	return moved(ReasonRetiring, "the old revision %s is drained and is being deleted", t.stableName())
}

// baselineLeft says whether a baseline set may be there.
func (t *turn) baselineLeft() bool {
	return !t.rolling && t.o.Baseline.Knowledge != Absent &&
		slices.ContainsFunc(t.steps, func(s v1alpha1.Step) bool { return s.SetBaseline != nil })
}

// succeed ends the Rollout well.
func (t *turn) succeed() ruling {
	t.st.StepStartedAt, t.st.ExposedAt, t.st.DrainStartedAt, t.st.Retiring, t.st.Paused = nil, nil, nil, false, false
	said := t.successMessage()
	t.st.Phase = v1alpha1.RolloutSucceeded
	return moved(ReasonSucceeded, "%s", said)
}

func (t *turn) successMessage() string {
	if t.rolling {
		return t.rolledMessage()
	}
	if t.st.Phase == v1alpha1.RolloutSucceeded && t.o.Canary.Autoscaled {
		// Their number is no news later on: each change would be a write of the status.
		return fmt.Sprintf("revision %s has all of the traffic; its autoscaler sizes it, from %d pods up", t.o.Spec.Revision, t.whole)
	}
	return fmt.Sprintf("revision %s has all of the traffic, with %d pods", t.o.Spec.Revision, max(t.whole, t.o.Canary.autoscaled()))
}

// abort begins the way back.
func (t *turn) abort(code, format string, args ...any) ruling {
	t.st.AbortCause = &v1alpha1.Cause{Code: code, Message: fmt.Sprintf(format, args...)}
	t.st.Phase = v1alpha1.RolloutAborting
	t.st.StepStartedAt, t.st.ExposedAt, t.st.DrainStartedAt = nil, nil, nil
	t.st.Paused = false
	if t.kind != kindInPlace {
		t.st.ApprovedWeight = 0
	}
	return moved(code, "%s", t.st.AbortCause.Message)
}

// end ends a Rollout that has not touched anything.
func (t *turn) end(code, format string, args ...any) ruling {
	t.st.AbortCause = &v1alpha1.Cause{Code: code, Message: fmt.Sprintf(format, args...)}
	t.st.Phase = v1alpha1.RolloutAborted
	t.st.Paused = false
	if t.kind == kindInPlace {
		t.st.ApprovedWeight = 100 // the revision serves as it did
	}
	return moved(code, "%s", t.st.AbortCause.Message)
}

// cause is why the Rollout was aborted.
func (t *turn) cause() v1alpha1.Cause {
	if t.st.AbortCause == nil {
		return v1alpha1.Cause{Code: ReasonAbortCommand, Message: "aborted"}
	}
	return *t.st.AbortCause
}

// aborting holds an abort on its way, always with its cause.
func (t *turn) aborting(format string, args ...any) ruling {
	c := t.cause()
	return hold(c.Code, "%s; %s", c.Message, fmt.Sprintf(format, args...))
}

// offRoute says whether the canary is known to get no traffic. Where nothing else serves its requests
// fail without it, whether the gateway has accepted that route or not: a route that no gateway accepts
// must not keep the cure of it waiting.
func (t *turn) offRoute() bool {
	if t.kind != kindFirst {
		return t.untold() || t.carriesWeight(0)
	}
	tr := t.o.Traffic
	return tr.Knowledge == Absent || tr.Knowledge == Present && !tr.seen()
}

func trafficReturns(t *turn) ruling {
	if t.kind == kindInPlace || t.offRoute() {
		return silence
	}
	t.st.DrainStartedAt = nil
	t.wake(t.now.Add(look))
	carried, known := t.carried()
	switch {
	case !known:
		return t.aborting("setting the weight of revision %s to 0 %%; the route cannot be read", t.o.Spec.Revision)
	case carried > 0 && t.stableDead():
		return t.aborting("revision %s keeps %d %% until a pod of the stable revision %s is available, for at most %s; see why its pods are not ready",
			t.o.Spec.Revision, carried, t.stableName(), t.deadline())
	case carried > 0 && t.back().Weight > 0:
		return t.aborting("the route carries %d %% to revision %s, on the way to 0 %% as pods of revision %s come up: %d of %d are available; all of it goes back %s",
			carried, t.o.Spec.Revision, t.stableName(), t.o.Stable.available(), t.stableWhole, t.stableUntil()+" at the latest")
	case carried > 0:
		return t.aborting("the route carries %d %% to revision %s, on the way to 0 %%", carried, t.o.Spec.Revision)
	}
	return t.aborting("the gateway has not accepted the route with 0 %% to revision %s yet", t.o.Spec.Revision)
}

func returnedInPlace(t *turn) ruling {
	if t.kind != kindInPlace {
		return silence
	}
	if t.stableAsked() && t.carriesWeight(full) {
		return t.aborted()
	}
	t.wake(t.now.Add(look))
	return t.aborting("putting revision %s back to %d pods", t.o.Spec.Revision, t.stableWhole)
}

func abortDrains(t *turn) ruling {
	if t.st.ApprovedAt == nil {
		return silence // it was never given traffic: nothing to drain
	}
	if t.st.DrainStartedAt == nil {
		t.st.DrainStartedAt = t.stamp()
	}
	d := t.abortDrain()
	if t.passed(t.st.DrainStartedAt, d) {
		return silence
	}
	return t.aborting("revision %s has no traffic and is kept until %s for what is under way",
		t.o.Spec.Revision, clock(t.st.DrainStartedAt.Add(d)))
}

// abortDrain is how long a set that has lost its traffic is kept in an abort.
func (t *turn) abortDrain() time.Duration {
	s := t.o.Spec.Strategy
	return max(s.DrainDelay.Duration, s.RouteGrace.Duration)
}

func abortRetires(t *turn) ruling {
	t.wake(t.now.Add(look))
	switch {
	case t.o.Canary.Knowledge != Absent:
		return t.aborting("revision %s has no traffic and is being deleted", t.o.Spec.Revision)
	case t.baselineLeft():
		return t.aborting("the baseline set is being deleted")
	case t.kind == kindCanary && !t.stableAsked():
		return t.aborting("the stable revision %s is being put back to %d pods", t.stableName(), t.stableWhole)
	}
	return t.aborted()
}

// stableAsked says whether the stable set is known to be as rendered and to ask for all
// of its pods.
func (t *turn) stableAsked() bool {
	s := t.o.Stable
	return s.Knowledge == Present && s.UpToDate && s.sized(t.stableWhole) && s.Held == 0
}

func (t *turn) aborted() ruling {
	t.st.DrainStartedAt = nil
	t.st.Phase = v1alpha1.RolloutAborted
	return moved(t.cause().Code, "%s", t.abortedMessage())
}

func (t *turn) abortedMessage() string {
	switch t.kind {
	case kindFirst:
		return fmt.Sprintf("%s; nothing serves%s", t.cause().Message, t.remedy())
	case kindInPlace:
		return fmt.Sprintf("%s; revision %s is as before, with %d pods%s", t.cause().Message, t.stableName(), t.stableWhole, t.remedy())
	case kindCanary:
		if t.rolling {
			return fmt.Sprintf("%s; revision %s runs again, in %d of %d pods%s", t.cause().Message, t.stableName(),
				t.o.Stable.available(), t.stableWhole, t.remedy())
		}
	}
	return fmt.Sprintf("%s; revision %s has all of the traffic%s", t.cause().Message, t.stableName(), t.remedy())
}

// remedy says what to do after an abort where somebody has to do something.
func (t *turn) remedy() string {
	switch t.cause().Code {
	case ReasonAbortSuperseded, ReasonAbortOutdated:
		return ""
	}
	return "; apply a corrected Release to try again"
}

// inCharge says whether this Rollout watches over what its Release has in service.
func (t *turn) inCharge() bool {
	if !t.st.Phase.Terminal() {
		return t.st.Phase != v1alpha1.RolloutPending
	}
	return t.o.Newer == "" && t.o.Older == "" && !t.o.StableMoved
}

// notInCharge leaves everything as it is, the message too.
func notInCharge(t *turn) ruling {
	if t.inCharge() {
		return silence
	}
	return hold(t.st.Reason, "%s", t.st.Message)
}

func succeededRepairs(t *turn) ruling {
	if t.rolling {
		return succeededRollingRepairs(t)
	}
	s, tr := t.o.Canary, t.o.Traffic
	if s.Knowledge == Unknown || tr.Knowledge == Unknown || t.o.Shared == Unknown {
		t.wake(t.now.Add(look))
		return hold(t.st.Reason, "%s", t.st.Message)
	}
	led := tr.Knowledge == Present && tr.Exposure == (Exposure{Weight: full}) && tr.UpToDate
	if (led || t.routeGoes()) && t.o.Shared == Present &&
		s.Knowledge == Present && s.UpToDate && s.sized(t.whole) && !t.strayStable() {
		return silence
	}
	carried, _ := t.carried()
	return hold(ReasonRepairing, "putting right what was changed outside of Tidegate: revision %s has %d %% of the traffic and %d of %d pods available",
		t.o.Spec.Revision, carried, s.available(), t.whole)
}

func succeededStays(t *turn) ruling {
	enough := keep(need(t.whole, full))
	if t.rolling {
		enough = t.whole - t.whole/4
	}
	if have := t.o.Canary.Available; have < enough {
		return hold(ReasonHoldPods, "%s, of which %d are available", t.successMessage(), have)
	}
	return hold(ReasonSucceeded, "%s", t.successMessage())
}

func abortedRepairs(t *turn) ruling {
	if t.rolling {
		return abortedRollingRepairs(t)
	}
	if t.kind == kindFirst {
		if carried, _ := t.carried(); carried > 0 {
			return t.aborting("setting the weight of revision %s back to 0 %%", t.o.Spec.Revision)
		}
		if t.strayCanary() {
			return t.aborting("revision %s is there again and is being deleted", t.o.Spec.Revision)
		}
		return silence
	}
	s := t.o.Stable
	if s.Knowledge == Unknown || t.o.Traffic.Knowledge == Unknown || t.o.Shared == Unknown {
		t.wake(t.now.Add(look))
		return hold(t.st.Reason, "%s", t.st.Message)
	}
	tr := t.o.Traffic
	led := tr.Knowledge == Present && tr.Exposure == (Exposure{Weight: t.restWeight()}) && tr.UpToDate
	if (led || t.unneeded()) && t.o.Shared == Present && t.stableAsked() && !t.strayCanary() {
		return silence
	}
	return t.restoring()
}

// restoring says what is put right of the stable set after an abort.
func (t *turn) restoring() ruling {
	s := t.o.Stable
	if len(t.o.Spec.Resized) > 0 && s.UpToDate && !s.sized(t.stableWhole) {
		return t.aborting("the stable revision %s is being scaled to %d pods", t.stableName(), t.stableWhole)
	}
	return t.aborting("putting right what was changed outside of Tidegate: the stable revision %s has %d of %d pods available",
		t.stableName(), s.available(), t.stableWhole)
}

func abortedStays(t *turn) ruling {
	return hold(t.cause().Code, "%s", t.abortedMessage())
}

// restWeight is the canary's weight when an abort is over.
func (t *turn) restWeight() int32 {
	if t.kind == kindInPlace {
		return 100
	}
	return 0
}
