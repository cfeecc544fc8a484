package plan

import (
	"fmt"
	"strings"
	"time"

	"tidegate.io/tidegate/schemas/v1alpha1"
)

// pendingGuards keep a Rollout from touching anything before its turn.
var pendingGuards = []guard{
	outdated,        // what it is over has changed: it must be made anew
	supersededEarly, // a newer one is there: this one never begins
	behindOlder,     // one at a time
	begins,
}

// progressingGuards walk the steps. First what ends the walk, then what turns it back,
// then what holds it, then on.
var progressingGuards = []guard{
	superseded,
	failedAnalysis,
	overdue,
	routeRefused,
	podsLost,       // I1: less exposure before anything else
	approvalStale,  // I2: an approval is of its moment
	blind,          // I2: from here on every fact is known
	behindOlder,    // never two at a time, whoever began
	routeAsAllowed, // the route carries what is approved
	stepBegins,
	heldByPause,
	heldByTime,
	heldByAnalysis,
	heldByApproval,
	heldByPods,
	heldByStable,
	heldByPromotion, // last: only what nothing else holds is asked about
	advances,
}

// soloGuards bring one set into service where there is no other to share traffic with.
var soloGuards = []guard{
	superseded,
	overdue,
	routeRefused,
	blind,
	behindOlder,
	soloApproved,
	routeAsAllowed,
	soloWhole,
	heldByPause,
	soloSucceeds,
}

func outdated(t *turn) ruling {
	if !t.o.StableMoved {
		return silence
	}
	return t.end(ReasonAbortOutdated,
		"nothing was changed: another revision has come into service since this Rollout was made over %s; another Rollout takes its place",
		t.stableName())
}

func supersededEarly(t *turn) ruling {
	if t.o.Newer == "" {
		return silence
	}
	return t.end(ReasonAbortSuperseded,
		"nothing was changed: superseded by Rollout %s before it began", t.o.Newer)
}

func behindOlder(t *turn) ruling {
	if t.o.Older == "" {
		return silence
	}
	return hold(ReasonPendingOlder, "waiting for Rollout %s of the same Release to end", t.o.Older)
}

func begins(t *turn) ruling {
	t.st.Phase = v1alpha1.RolloutProgressing
	switch t.kind {
	case kindFirst:
		if t.rolling {
			return moved(ReasonBegun, "first install of revision %s", t.o.Spec.Revision)
		}
		return moved(ReasonBegun, "first install: %d pods of revision %s, then all of the traffic", t.whole, t.o.Spec.Revision)
	case kindInPlace:
		// The revision serves already; it was judged when it came.
		t.approve(0, 100)
		return moved(ReasonBegun, "revision %s stays, with %d pods", t.o.Spec.Revision, t.whole)
	case kindCanary:
	}
	return moved(ReasonBegun, "revision %s over %s in %d steps", t.o.Spec.Revision, t.stableName(), t.last())
}

func superseded(t *turn) ruling {
	if t.o.Newer == "" {
		return silence
	}
	return t.abort(ReasonAbortSuperseded, "superseded by Rollout %s", t.o.Newer)
}

func failedAnalysis(t *turn) ruling {
	a := t.st.Analysis
	if a == nil || a.Verdict != v1alpha1.VerdictFail || a.Digest != t.o.Spec.Digest {
		return silence
	}
	return t.abort(ReasonAnalysisFail, "the analysis failed in step %d/%d: %s", a.Step, t.last(), a.Message)
}

func overdue(t *turn) ruling {
	if t.st.WaitingSince == nil || t.o.Canary.Knowledge == Unknown || !t.passed(t.st.WaitingSince, t.deadline()) {
		return silence
	}
	return t.abort(ReasonAbortDeadline, "revision %s had %s pods available %s after it began to wait for them",
		t.o.Spec.Revision, t.pods(), t.deadline())
}

// routeRefused gives up on a route that the gateway does not accept: what it says of
// parents or hosts is wrong, and the route from before was accepted.
func routeRefused(t *turn) ruling {
	if t.st.RouteUnsettledSince == nil || !t.passed(t.st.RouteUnsettledSince, t.deadline()) {
		return silence
	}
	return t.abort(ReasonAbortRoute, "no gateway has accepted the route with %d %% for revision %s within %s; see why with: kubectl describe httproute %s",
		t.st.ApprovedWeight, t.o.Spec.Revision, t.deadline(), t.o.Spec.Release)
}

func podsLost(t *turn) ruling {
	carried, known := t.carried()
	if !known || t.o.Canary.Knowledge == Unknown || t.stableDead() {
		return silence
	}
	exposed := min(carried, t.st.ApprovedWeight)
	have := t.o.Canary.available()
	if have >= keep(t.floor, exposed) {
		return silence
	}
	t.fallBack(t.stepFor(func(w int32) bool { return need(t.floor, w) <= have }))
	return moved(ReasonFallbackPods, "revision %s has %d pods available, and %d %% of the traffic need %d: back to step %d/%d with %d %%",
		t.o.Spec.Revision, have, exposed, need(t.floor, exposed), t.st.Step, t.last(), t.st.ApprovedWeight)
}

func approvalStale(t *turn) ruling {
	carried, known := t.carried()
	if !known || carried >= t.st.ApprovedWeight || !t.stale() || t.stableDead() {
		return silence
	}
	lost := t.st.ApprovedWeight
	t.fallBack(t.stepFor(func(w int32) bool { return w <= carried }))
	if t.rolling {
		return moved(ReasonFallbackStale, "the workload is told %d %% and %d %% were approved more than %s ago: back to step %d/%d, whose gates must pass again",
			carried, lost, approvalLife, t.st.Step, t.last())
	}
	return moved(ReasonFallbackStale, "the route carries %d %% and %d %% were approved more than %s ago: back to step %d/%d, whose gates must pass again",
		carried, lost, approvalLife, t.st.Step, t.last())
}

// stale says whether the approved exposure is too old to be put on the route.
func (t *turn) stale() bool {
	return t.st.ApprovedAt == nil || t.now.Sub(t.st.ApprovedAt.Time) > approvalLife
}

func blind(t *turn) ruling {
	var what []string
	for _, f := range []struct {
		name    string
		unknown bool
	}{
		{"the new set", t.o.Canary.Knowledge == Unknown},
		{"the stable set", t.o.Stable.Knowledge == Unknown && t.kind == kindCanary},
		{"the route", t.o.Traffic.Knowledge == Unknown && !t.rolling},
		{"the shared objects", t.o.Shared == Unknown},
	} {
		if f.unknown {
			what = append(what, f.name)
		}
	}
	if len(what) == 0 {
		return silence
	}
	t.wake(t.now.Add(look))
	return hold(ReasonHoldUnknown, "%s, holding: %s could not be read; trying again every %s",
		t.where(), strings.Join(what, ", "), look)
}

func routeAsAllowed(t *turn) ruling {
	want := t.st.ApprovedWeight
	if t.carries(want) {
		return silence
	}
	carried, _ := t.carried()
	t.wake(t.now.Add(look))
	if carried < want {
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
	return hold(ReasonHoldRoute, "%s, on the way: the gateway has not accepted the route yet", t.where())
}

// raiseBlocked says what forbids to put the approved exposure on the route where it
// means more traffic for the canary. Nothing that is unknown lets pass.
func (t *turn) raiseBlocked() ruling {
	w := t.st.ApprovedWeight
	switch {
	case t.o.Older != "" && t.st.Phase == v1alpha1.RolloutProgressing:
		return behindOlder(t)
	case t.serving() && t.rolling:
		return silence // the workload is that of both: there is nothing to lose by it
	case t.serving():
		// The set has served, or no other can: some pods are better than none.
		if t.o.Canary.available() == 0 {
			return hold(ReasonHoldPods, "%s, holding: %s pods are available", t.where(), t.pods())
		}
		return silence
	case t.o.Shared == Unknown:
		return blind(t)
	case t.st.Paused:
		return heldByPause(t)
	case t.stale():
		return hold(ReasonHoldRoute, "%s, holding: the approval is more than %s old", t.where(), approvalLife)
	case !t.rolling && !t.o.Canary.full(need(t.whole, w)):
		return hold(ReasonHoldPods, "%s, holding: %s pods are available and up to date, %d are needed",
			t.where(), t.pods(), need(t.whole, w))
	}
	if r := t.notPromoted(); !r.silent || t.rolling {
		return r
	}
	return heldByStable(t)
}

// serving says whether the canary set is the only one that can serve and is entitled to.
func (t *turn) serving() bool {
	return t.kind == kindInPlace || t.st.Phase == v1alpha1.RolloutSucceeded || t.st.Retiring
}

func stepBegins(t *turn) ruling {
	if t.st.Step == 0 || t.st.StepStartedAt != nil {
		return silence
	}
	t.st.StepStartedAt = t.stamp()
	return moved(ReasonStepBegun, "%s is on the route", t.where())
}

func heldByPause(t *turn) ruling {
	if !t.st.Paused {
		return silence
	}
	return hold(ReasonHoldPaused, "%s, holding: paused; go on with a RolloutCommand resume", t.where())
}

func heldByTime(t *turn) ruling {
	if t.holdOver() {
		return silence
	}
	d := t.steps[t.st.Step-1].Hold.Duration
	return hold(ReasonHoldTime, "%s, holding for %s, until %s", t.where(), d, clock(t.st.StepStartedAt.Add(d)))
}

func heldByApproval(t *turn) ruling {
	if t.approvalGiven() {
		return silence
	}
	return hold(ReasonHoldApproval, "%s, holding: the step waits for an approval; give it with a RolloutCommand approve for step %d",
		t.where(), t.st.Step)
}

func heldByPods(t *turn) ruling {
	next := min(t.st.Step+1, t.last())
	want := need(t.whole, t.weightOf(next))
	if t.blueGreen {
		want = t.whole
	}
	if t.o.Canary.full(want) {
		return silence
	}
	if t.blueGreen && t.st.Step == 0 {
		return hold(ReasonHoldPods, "revision %s comes up without traffic, holding: %s pods are available; %s",
			t.o.Spec.Revision, t.pods(), t.podsRemedy())
	}
	return hold(ReasonHoldPods, "%s, holding: %s pods are available, %d are needed for %d %%; %s",
		t.where(), t.pods(), want, t.weightOf(next), t.podsRemedy())
}

func heldByStable(t *turn) ruling {
	s := t.o.Stable
	if t.kind != kindCanary || s.full(t.stableWhole) {
		return silence
	}
	if s.Knowledge != Unknown && t.stableGivenUp() {
		return silence
	}
	return hold(ReasonHoldStable, "%s, holding: the stable revision %s has %d of %d pods available, and an abort would need them; going on without them after %s",
		t.where(), t.stableName(), s.available(), t.stableWhole, t.deadline())
}

func advances(t *turn) ruling {
	k := t.st.Step
	if k == t.last() {
		t.st.Phase = v1alpha1.RolloutPromoting
		if t.rolling {
			return moved(ReasonPromoting, "all %d steps are passed; %s", t.last(), t.successMessage())
		}
		return moved(ReasonPromoting, "all %d steps are passed; revision %s has all of the traffic", t.last(), t.o.Spec.Revision)
	}
	t.approve(k+1, t.weightOf(k+1))
	return moved(ReasonStepApproved, "%s: every gate before it let pass", t.where())
}

func soloApproved(t *turn) ruling {
	carried, _ := t.carried()
	if t.st.ApprovedWeight == 100 && (carried == 100 || !t.stale()) {
		return silence
	}
	if t.kind == kindFirst {
		if t.st.Paused {
			return heldByPause(t)
		}
		if !t.rolling && !t.o.Canary.full(t.whole) {
			return hold(ReasonHoldPods, "first install of revision %s, holding: %s pods are available; %s",
				t.o.Spec.Revision, t.pods(), t.podsRemedy())
		}
		if r := t.notPromoted(); !r.silent {
			return r
		}
	}
	t.approve(0, 100)
	if t.rolling {
		return moved(ReasonStepApproved, "revision %s may be started", t.o.Spec.Revision)
	}
	return moved(ReasonStepApproved, "revision %s is whole: it may have all of the traffic", t.o.Spec.Revision)
}

func soloWhole(t *turn) ruling {
	if t.o.Canary.full(t.whole) && t.o.Canary.sized(t.whole) {
		return silence
	}
	return hold(ReasonHoldPods, "%s, waiting: %s pods are available and up to date", t.where(), t.pods())
}

func soloSucceeds(t *turn) ruling {
	return t.succeed()
}

// pods is "2 of 3".
func (t *turn) pods() string {
	return fmt.Sprintf("%d of %d", t.o.Canary.available(), t.canaryWant())
}

// podsRemedy says what is missing of the canary set, or how to find out.
func (t *turn) podsRemedy() string {
	if s := t.o.Canary; s.Knowledge == Present && !s.UpToDate {
		return "its objects are not as they were rendered yet"
	}
	return "see them with: kubectl get pods -l " + v1alpha1.LabelRevision + "=" + t.o.Spec.Revision
}

// stableName is the revision of the stable set, for messages.
func (t *turn) stableName() string {
	if t.o.Spec.Stable == nil {
		return "nothing"
	}
	return t.o.Spec.Stable.Revision
}

// clock shows a moment in messages.
func clock(at time.Time) string {
	return at.UTC().Format("15:04:05Z")
}
