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
	behindPods,      // a workload in place whose pods are not all of its revision
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
	heldByGrace,
	heldByHooks,
	heldByTime,
	heldByJob,
	heldByHook,
	heldByScale,
	heldByAnalysis,
	heldByApproval,
	heldByPods,
	heldByBaseline,
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
	soloBegins,
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
	if t.o.Returns {
		return t.abort(ReasonAbortSuperseded, "superseded by Rollout %s, which brings back revision %s", t.o.Newer, t.stableName())
	}
	return t.abort(ReasonAbortSuperseded, "superseded by Rollout %s", t.o.Newer)
}

func failedAnalysis(t *turn) ruling {
	a := t.st.Analysis
	if a == nil || a.Verdict != v1alpha1.VerdictFail || !t.o.Spec.Judged(a.Digest) {
		return silence
	}
	return t.abort(ReasonAnalysisFail, "the analysis failed in step %d/%d: %s", a.Step, t.last(), a.Message)
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
	if t.kind != kindCanary || t.split() {
		return silence // no other set can serve, or it does so by itself
	}
	if r := t.baselineLost(); !r.silent {
		return r
	}
	e, _ := t.carriedExposure()
	exposed := min(carried, t.st.ApprovedWeight)
	have, needed := t.o.Canary.available(), t.needs(t.floor, exposed)
	if e.seen() && t.allowed().seen() {
		needed = max(needed, min(1, t.floor))
	}
	if have >= keep(needed) {
		return silence
	}
	lost := e
	lost.Weight = exposed
	t.fallBack(t.stepFor(func(l Level) bool {
		n := t.needs(t.floor, l.Weight)
		return n <= have && (n > 0 || have > 0 || !l.seen())
	}))
	return moved(ReasonFallbackPods, "revision %s has %d pods available, and %d are needed for %s: back to step %d/%d with %d %%",
		t.o.Spec.Revision, have, needed, lost.text(), t.st.Step, t.last(), t.st.ApprovedWeight)
}

// baselineLost takes the traffic from a baseline set that has lost its pods, and from the
// canary that was compared with it.
func (t *turn) baselineLost() ruling {
	e, known := t.carriedExposure()
	s := t.o.Baseline
	exposed := min(e.Baseline, t.allowed().Baseline) // more than that is taken away at once
	if !known || exposed == 0 || s.Knowledge == Unknown || s.available() >= keep(need(t.kept(), exposed)) {
		return silence
	}
	t.fallBack(t.stepFor(func(l Level) bool { return l.Baseline == 0 }))
	return moved(ReasonFallbackPods, "the baseline set has %d pods available, and %d %% of the traffic need %d: back to step %d/%d with %d %%",
		s.available(), exposed, need(t.kept(), exposed), t.st.Step, t.last(), t.st.ApprovedWeight)
}

func blind(t *turn) ruling {
	var what []string
	for _, f := range []struct {
		name    string
		unknown bool
	}{
		{"the new set", t.o.Canary.Knowledge == Unknown},
		{"the stable set", t.o.Stable.Knowledge == Unknown && t.kind == kindCanary},
		{"the baseline set", t.o.Baseline.Knowledge == Unknown && t.kind == kindCanary && t.baselineSize(t.level(t.st.Step)) > 0},
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

func stepBegins(t *turn) ruling {
	switch {
	case t.st.Step == 0 && t.st.ApprovedAt != nil && t.st.ExposedAt == nil:
		t.st.ExposedAt = t.stamp() // the grace of a way back counts from it
		return silence
	case t.st.Step == 0, t.st.StepStartedAt != nil && t.st.ExposedAt != nil:
		return silence
	}
	if t.st.ExposedAt == nil {
		t.st.ExposedAt = t.stamp()
	}
	if t.st.StepStartedAt == nil {
		t.st.StepStartedAt = t.stamp()
	}
	return moved(ReasonStepBegun, "%s is on the route", t.where())
}

// next is the step after the present one: the last where a person has promoted the Rollout.
func (t *turn) next() int32 {
	if t.st.Promoted != nil {
		return t.last()
	}
	return min(t.st.Step+1, t.last())
}

// heldByGrace gives a change of the route time to reach every proxy.
func heldByGrace(t *turn) ruling {
	d := t.o.Spec.Strategy.RouteGrace.Duration
	if d <= 0 || t.st.Step == 0 || t.st.ExposedAt == nil || t.passed(t.st.ExposedAt, d) {
		return silence
	}
	return hold(ReasonHoldGrace, "%s, holding: the route is given until %s to reach every proxy", t.where(), clock(t.st.ExposedAt.Add(d)))
}

// heldByScale waits for the pods that a step has asked for.
func heldByScale(t *turn) ruling {
	s := t.step()
	if s == nil || s.SetScale == nil || t.skipped(t.st.Step) {
		return silence
	}
	if want := t.size(t.whole, t.level(t.st.Step)); !t.o.Canary.full(want) {
		return hold(ReasonHoldPods, "%s, holding: %s pods are available, %d are asked for; %s", t.where(), t.pods(), want, t.podsRemedy())
	}
	return silence
}

// heldByBaseline waits for the pods of the baseline set.
func heldByBaseline(t *turn) ruling {
	s := t.step()
	if !t.rises() && (s == nil || s.SetBaseline == nil) {
		return silence
	}
	want := t.baselineSize(t.level(t.next()))
	if s != nil && s.SetBaseline != nil {
		want = max(want, t.baselineSize(t.level(t.st.Step)))
	}
	if want == 0 || t.o.Baseline.full(want) {
		return silence
	}
	return hold(ReasonHoldBaseline, "%s, holding: the baseline set, of fresh pods of revision %s, has %d of %d pods available%s",
		t.where(), t.stableName(), t.o.Baseline.available(), want, t.orAborts())
}

func heldByPause(t *turn) ruling {
	if !t.st.Paused {
		return silence
	}
	return hold(ReasonHoldPaused, "%s, holding: paused; go on with a RolloutCommand resume", t.where())
}

func heldByTime(t *turn) ruling {
	d := t.wait()
	if d == 0 || t.skipped(t.st.Step) || t.passed(t.st.StepStartedAt, d) {
		return silence
	}
	return hold(ReasonHoldTime, "%s, holding for %s, until %s", t.where(), d, clock(t.st.StepStartedAt.Add(d)))
}

func heldByApproval(t *turn) ruling {
	s := t.step()
	if s == nil || s.Pause == nil || !s.Pause.Approval || t.skipped(t.st.Step) || t.approval(t.st.Step) != nil {
		return silence
	}
	return hold(ReasonHoldApproval, "%s, holding: the step waits for an approval; give it with a RolloutCommand approve for step %d",
		t.where(), t.st.Step)
}

func heldByPods(t *turn) ruling {
	next := t.next()
	want := t.size(t.whole, t.level(next))
	switch {
	case t.o.Canary.full(want), want == 0 && !t.level(next).seen(), t.split(), t.st.Step > 0 && !t.rises():
		return silence
	}
	if t.st.Step == 0 && !t.level(next).seen() || t.blueGreen && t.st.Step == 0 {
		return hold(ReasonHoldPods, "revision %s comes up without traffic, holding: %s pods are available; %s",
			t.o.Spec.Revision, t.pods(), t.podsRemedy())
	}
	return hold(ReasonHoldPods, "%s, holding: %s pods are available, %d are needed for %s; %s",
		t.where(), t.pods(), want, t.level(next).text(), t.podsRemedy())
}

func heldByStable(t *turn) ruling {
	if t.rises() {
		return t.stableShort()
	}
	s, want := t.o.Stable, t.stableWant()
	if t.kind != kindCanary || t.weightOf(t.next()) >= t.weightOf(t.st.Step) || s.full(want) {
		return silence
	}
	// A step back gives the stable set more. There is no deadline to that: nobody needs it to be done.
	return hold(ReasonHoldStable, "%s, holding: the stable revision %s has %d of %d pods available, and is about to get more of the traffic",
		t.where(), t.stableName(), s.available(), want)
}

// rises says whether the next step exposes more, or gives up the old revision.
func (t *turn) rises() bool {
	return t.st.Step == t.last() || t.level(t.next()).above(t.level(t.st.Step).Exposure)
}

// stableShort holds while the old set has not the pods that an abort would need, unless nobody means to
// return to it: a revision that is known to be good comes back, or a person has promoted. What serves may
// be broken, and that is the way out.
func (t *turn) stableShort() ruling {
	if t.o.Stable.Knowledge != Unknown && (t.o.Spec.Known || t.st.Promoted != nil) {
		return silence
	}
	return t.stableMissing()
}

// stableMissing is stableShort whoever vouches for the new revision.
func (t *turn) stableMissing() ruling {
	s := t.o.Stable
	if t.kind != kindCanary || s.full(t.stableWant()) {
		return silence
	}
	if s.Knowledge != Unknown && t.stableGivenUp() {
		return silence
	}
	return hold(ReasonHoldStable, "%s, holding: the stable revision %s has %d of %d pods available, and an abort would need them; going on without them %s, or at once with a RolloutCommand promote",
		t.where(), t.stableName(), s.available(), t.stableWant(), t.stableUntil())
}

func advances(t *turn) ruling {
	k := t.st.Step
	if k == t.last() && t.kind == kindFirst {
		return t.succeed()
	}
	if k == t.last() {
		t.st.Phase = v1alpha1.RolloutPromoting
		if t.rolling {
			return moved(ReasonPromoting, "all %d steps are passed; %s", t.last(), t.successMessage())
		}
		return moved(ReasonPromoting, "all %d steps are passed; revision %s has all of the traffic", t.last(), t.o.Spec.Revision)
	}
	rises := t.rises()
	t.approve(t.next(), t.weightOf(t.next()))
	if !rises {
		return moved(ReasonStepReached, "%s", t.where())
	}
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
		return "its objects are not as they were rendered yet" + t.orAborts()
	}
	return "see them with: kubectl get pods -l " + v1alpha1.LabelRevision + "=" + t.o.Spec.Revision + t.orAborts()
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
