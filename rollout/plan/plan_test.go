package plan

import (
	"slices"
	"strings"
	"testing"
	"time"

	metav1 "k8s.io/apimachinery/pkg/apis/meta/v1"

	"tidegate.io/tidegate/schemas/v1alpha1"
)

func TestNeed(t *testing.T) {
	t.Parallel()
	for _, c := range []struct{ whole, weight, need, keep int32 }{
		{8, 0, 0, 0},
		{8, 1, 1, 1},
		{8, 25, 2, 2},
		{8, 26, 3, 3},
		{8, 50, 4, 3},
		{8, 100, 8, 6},
		{1, 5, 1, 1},
		{1, 100, 1, 1},
		{3, 33, 1, 1},
		{3, 34, 2, 2},
		{100, 99, 99, 75},
		{2_000_000_000, 100, 2_000_000_000, 1_500_000_000},
	} {
		if n, k := need(c.whole, c.weight), keep(need(c.whole, c.weight)); n != c.need || k != c.keep {
			t.Errorf("%d %% of %d: need %d, keep %d; want %d, %d", c.weight, c.whole, n, k, c.need, c.keep)
		}
	}
	for whole := range int32(200) {
		for weight := range int32(101) {
			if n := need(whole+1, weight); n != podsFor(whole+1, weight) {
				t.Fatalf("need(%d, %d) = %d", whole+1, weight, n)
			}
		}
	}
}

func TestNext(t *testing.T) {
	t.Parallel()
	setCanary := func(n int32) Action { return Action{Kind: ActionEnsureSet, Role: RoleCanary, Replicas: n} }
	setStable := func(n int32) Action { return Action{Kind: ActionEnsureSet, Role: RoleStable, Replicas: n} }
	route := func(w int32) Action { return Action{Kind: ActionSetWeight, Exposure: Exposure{Weight: w}} }
	retire := func(r Role) Action { return Action{Kind: ActionRetire, Role: r} }
	measure := Action{Kind: ActionMeasure}
	pending := inStep(0, 0).with(func(o *Observation) {
		o.Status = v1alpha1.RolloutStatus{}
		o.Canary = Set{Knowledge: Absent}
	})
	first := func(available int32, tr Traffic) Observation {
		return Observation{
			Spec: firstSpec(), Stable: Set{Knowledge: Absent}, Canary: setOf(8, available), Shared: Present, Traffic: tr, Promotion: allowed, Baseline: Set{Knowledge: Absent},
			Status: v1alpha1.RolloutStatus{Phase: v1alpha1.RolloutProgressing},
		}
	}
	inPlace := Observation{
		Spec: inPlaceSpec(), Stable: setOf(4, 4), Canary: setOf(4, 4), Shared: Present, Traffic: routeAt(100), Promotion: allowed,
	}
	const second = time.Second
	for name, c := range map[string]struct {
		o       Observation
		phase   v1alpha1.RolloutPhase
		step    int32
		reason  string
		says    string
		actions []Action
		after   time.Duration
	}{
		"a new Rollout waits for an older one and touches nothing": {
			o:     pending.with(func(o *Observation) { o.Older = "cart-1" }),
			phase: v1alpha1.RolloutPending, reason: ReasonPendingOlder, says: "cart-1",
		},
		"a new Rollout that is superseded never begins": {
			o:     pending.with(func(o *Observation) { o.Older, o.Newer = "cart-1", "cart-3" }),
			phase: v1alpha1.RolloutAborted, reason: ReasonAbortSuperseded, says: "cart-3",
		},
		"a new Rollout over what no longer serves never begins": {
			o:     pending.with(func(o *Observation) { o.StableMoved = true }),
			phase: v1alpha1.RolloutAborted, reason: ReasonAbortOutdated, says: "nothing was changed",
		},
		"a new Rollout asks for the pods of its first step": {
			o:     pending,
			phase: v1alpha1.RolloutProgressing, reason: ReasonHoldPods, says: "0 of 2 pods", actions: []Action{setCanary(2)}, after: look,
		},
		"with its pods there the first weight is approved and set": {
			o:     inStep(0, 0),
			phase: v1alpha1.RolloutProgressing, step: to25, reason: ReasonHoldRoute, says: "25 %", actions: []Action{route(25)}, after: look,
		},
		"the hold of a step counts from when the route carries it": {
			o:     inStep(at25, 0).with(func(o *Observation) { o.Status.StepStartedAt, o.Status.ExposedAt = nil, nil; o.Canary = setOf(2, 2) }),
			phase: v1alpha1.RolloutProgressing, step: at25, reason: ReasonHoldTime, says: "holding for 30s, until 12:00:30Z", after: 30 * second,
		},
		"the pods of the next weight are asked for when the hold is over": {
			o:     inStep(at25, 31*second).with(func(o *Observation) { o.Canary = setOf(2, 2) }),
			phase: v1alpha1.RolloutProgressing, step: at25, reason: ReasonHoldPods, says: "2 of 4 pods", actions: []Action{setCanary(4)}, after: look,
		},
		"too long a wait for pods aborts": {
			o: inStep(at25, time.Hour).with(func(o *Observation) {
				o.Canary = setOf(4, 2)
				o.Status.WaitingSince = at(-5 * time.Minute)
			}),
			phase: v1alpha1.RolloutAborting, step: at25, reason: ReasonAbortDeadline, says: "2 of 4 pods available 5m0s", actions: []Action{route(0)}, after: look,
		},
		"a paused Rollout is not aborted for want of pods": {
			o: inStep(at25, time.Hour).with(func(o *Observation) {
				o.Canary, o.Status.Paused = setOf(4, 2), true
				o.Status.WaitingSince = at(-time.Hour)
			}),
			phase: v1alpha1.RolloutProgressing, step: at25, reason: ReasonHoldPaused,
		},
		"an analysis waits for a whole window in the step": {
			o:     inStep(at50, 5*second),
			phase: v1alpha1.RolloutProgressing, step: at50, reason: ReasonHoldAnalysis, says: "window of 20s", actions: []Action{setCanary(4)}, after: look,
		},
		"an analysis that is due is taken": {
			o:     inStep(at50, 20*second).with(func(o *Observation) { o.Canary = setOf(4, 4) }),
			phase: v1alpha1.RolloutProgressing, step: at50, reason: ReasonHoldAnalysis, actions: []Action{measure}, after: 10 * second,
		},
		"an inconclusive analysis holds, with its numbers, until the next": {
			o: inStep(at50, 40*second).with(func(o *Observation) {
				o.Canary = setOf(4, 4)
				o.Status.Analysis = roundOf(v1alpha1.VerdictInconclusive, at50, 4*second)
			}),
			phase: v1alpha1.RolloutProgressing, step: at50, reason: ReasonHoldInconclusive,
			says: "step 4/7: 50 % to revision ab12cd34ef, holding: analysis Inconclusive: 37 of 100 requests", after: 6 * second,
		},
		"an unknown analysis holds": {
			o: inStep(at50, 40*second).with(func(o *Observation) {
				o.Canary = setOf(4, 4)
				o.Status.Analysis = roundOf(v1alpha1.VerdictUnknown, at50, 4*second)
			}),
			phase: v1alpha1.RolloutProgressing, step: at50, reason: ReasonHoldNoData, after: 6 * second,
		},
		"a failed analysis aborts": {
			o: inStep(at50, 40*second).with(func(o *Observation) {
				o.Status.Analysis = roundOf(v1alpha1.VerdictFail, at50, 4*second)
			}),
			phase: v1alpha1.RolloutAborting, step: at50, reason: ReasonAnalysisFail, says: "step 4/7: 37 of 100 requests", actions: []Action{route(0)}, after: look,
		},
		"a Pass waits for the approval": {
			o: inStep(at50, 40*second).with(func(o *Observation) {
				o.Canary = setOf(4, 4)
				o.Status.Analysis = roundOf(v1alpha1.VerdictPass, at50, second)
			}),
			phase: v1alpha1.RolloutProgressing, step: at50Approval, reason: ReasonHoldApproval, after: 9 * second,
		},
		"a Pass and an approval go on": {
			o: inStep(at50Approval, 40*second).with(func(o *Observation) {
				o.Status.Analysis = roundOf(v1alpha1.VerdictPass, at50, second)
				o.Status.Approvals = []v1alpha1.Approval{{Step: at50Approval, Command: "c"}}
			}),
			phase: v1alpha1.RolloutProgressing, step: to100, reason: ReasonHoldRoute, says: "100 %", actions: []Action{route(100)}, after: look,
		},
		"a Pass that grew old is taken again": {
			o: inStep(at50Approval, time.Hour).with(func(o *Observation) {
				o.Status.Analysis = roundOf(v1alpha1.VerdictPass, at50, 31*second)
				o.Status.Approvals = []v1alpha1.Approval{{Step: at50Approval, Command: "c"}}
			}),
			phase: v1alpha1.RolloutProgressing, step: at50Approval, reason: ReasonHoldAnalysis, says: "counts for 30s only", actions: []Action{measure}, after: 10 * second,
		},
		"an approved weight that did not reach the route in time is taken back": {
			o: inStep(at50, time.Hour).with(func(o *Observation) {
				o.Status.StepStartedAt, o.Status.ExposedAt, o.Status.ApprovedAt = nil, nil, at(-61*second)
				o.Status.Approvals = []v1alpha1.Approval{{Step: at50Approval}}
				o.Traffic, o.Canary = routeAt(25), setOf(4, 4)
			}),
			phase: v1alpha1.RolloutProgressing, step: at25, reason: ReasonHoldTime, actions: []Action{setCanary(2)}, after: look,
		},
		"a weight that nobody approved is set back": {
			o:     inStep(at25, 10*second).with(func(o *Observation) { o.Traffic = routeAt(100); o.Canary = setOf(2, 2) }),
			phase: v1alpha1.RolloutProgressing, step: at25, reason: ReasonHoldRoute, says: "the route carries 100 %", actions: []Action{route(25), setCanary(8)}, after: look,
		},
		"one pod of many lost keeps the weight": {
			o: inStep(at100, 40*second).with(func(o *Observation) {
				o.Canary = setOf(8, 7)
				o.Status.Analysis = roundOf(v1alpha1.VerdictPass, at100, second)
			}),
			phase: v1alpha1.RolloutProgressing, step: at100, reason: ReasonHoldPods, says: "7 of 8", after: 9 * second,
		},
		"more pods lost lower the weight before anything else": {
			o: inStep(at100, 40*second).with(func(o *Observation) {
				o.Canary = setOf(8, 5)
				o.Stable.UpToDate = false
			}),
			phase: v1alpha1.RolloutProgressing, step: to50, reason: ReasonHoldRoute, actions: []Action{route(50), setStable(8)}, after: look,
		},
		"all pods lost take the weight to 0": {
			o:     inStep(at50, 40*second).with(func(o *Observation) { o.Canary = setOf(4, 0) }),
			phase: v1alpha1.RolloutProgressing, step: 0, reason: ReasonHoldRoute, actions: []Action{route(0)}, after: look,
		},
		"a stable set that is not whole holds the next weight": {
			o: inStep(at25, time.Minute).with(func(o *Observation) {
				o.Stable = setOf(8, 7)
				o.Status.StableShortSince = at(-time.Minute)
			}),
			phase: v1alpha1.RolloutProgressing, step: at25, reason: ReasonHoldStable, says: "7 of 8", after: 4 * time.Minute,
		},
		"a stable set that stays broken does not keep its cure out": {
			o: inStep(at25, time.Minute).with(func(o *Observation) {
				o.Stable = setOf(8, 0)
				o.Status.StableShortSince = at(-5 * time.Minute)
			}),
			phase: v1alpha1.RolloutProgressing, step: to50, reason: ReasonHoldRoute, actions: []Action{route(50)}, after: look,
		},
		"what cannot be read holds": {
			o:     inStep(at25, time.Minute).with(func(o *Observation) { o.Traffic = Traffic{} }),
			phase: v1alpha1.RolloutProgressing, step: at25, reason: ReasonHoldUnknown, says: "the route could not be read", after: look,
		},
		"all steps passed begin the drain": {
			o: inStep(at100, 40*second).with(func(o *Observation) {
				o.Status.Analysis = roundOf(v1alpha1.VerdictPass, at100, second)
			}),
			phase: v1alpha1.RolloutPromoting, step: at100, reason: ReasonDraining, says: "kept until 12:00:30Z", after: 30 * second,
		},
		"a drained old set is deleted, once that is on record": {
			o:     promoting(30 * second),
			phase: v1alpha1.RolloutPromoting, step: at100, reason: ReasonRetiring, actions: []Action{retire(RoleStable)}, after: look,
		},
		"a new set that is not whole keeps the old one": {
			o:     promoting(time.Hour).with(func(o *Observation) { o.Canary = setOf(8, 7) }),
			phase: v1alpha1.RolloutPromoting, step: at100, reason: ReasonHoldPods, after: 5 * time.Minute,
		},
		"a newer Rollout waits for a promotion that is under way": {
			o:     promoting(10 * second).with(func(o *Observation) { o.Newer = "cart-3" }),
			phase: v1alpha1.RolloutPromoting, step: at100, reason: ReasonDraining, after: 20 * second,
		},
		"a newer Rollout does not wait for a paused promotion": {
			o:     promoting(10 * second).with(func(o *Observation) { o.Newer, o.Status.Paused = "cart-3", true }),
			phase: v1alpha1.RolloutAborting, step: at100, reason: ReasonAbortSuperseded, actions: []Action{route(0)}, after: look,
		},
		"a promotion whose traffic was moved goes back to its step": {
			o:     promoting(10 * second).with(func(o *Observation) { o.Traffic = routeAt(25) }),
			phase: v1alpha1.RolloutProgressing, step: at25, reason: ReasonHoldTime, actions: []Action{setCanary(2)}, after: look,
		},
		"the old set gone is success, and quiet": {
			o: promoting(time.Hour).with(func(o *Observation) {
				o.Status.Retiring = true
				o.Stable = Set{Knowledge: Absent}
			}),
			phase: v1alpha1.RolloutSucceeded, step: at100, reason: ReasonSucceeded, says: "with 8 pods",
		},
		"a promotion that no gateway accepts is aborted at the deadline": {
			o: promoting(0).with(func(o *Observation) {
				o.Traffic.Settled = false
				o.Status.RouteUnsettledSince = at(-time.Hour)
			}),
			phase: v1alpha1.RolloutAborting, step: at100, reason: ReasonAbortRoute, says: "kubectl describe httproute", actions: []Action{route(0)}, after: look,
		},
		"a promotion that no gateway accepts yet waits": {
			o: promoting(0).with(func(o *Observation) {
				o.Traffic.Settled = false
				o.Status.RouteUnsettledSince = at(-second)
			}),
			phase: v1alpha1.RolloutPromoting, step: at100, reason: ReasonHoldRoute, says: "not accepted", after: look,
		},
		"a promotion that no gateway accepts gives way to a newer Rollout": {
			o: promoting(0).with(func(o *Observation) {
				o.Traffic.Settled = false
				o.Newer = "cart-9"
			}),
			phase: v1alpha1.RolloutAborting, step: at100, reason: ReasonAbortSuperseded, says: "cart-9", actions: []Action{route(0)}, after: look,
		},
		"a first install that no gateway accepts is deleted at the deadline": {
			o: first(8, routeAt(100)).with(func(o *Observation) {
				o.Status.ApprovedWeight, o.Status.ApprovedAt = 100, at(-time.Hour)
				o.Traffic.Settled = false
				o.Status.RouteUnsettledSince = at(-time.Hour)
			}),
			phase: v1alpha1.RolloutAborting, reason: ReasonAbortRoute, says: "no gateway has accepted", actions: []Action{route(0)}, after: look,
		},
		"an abort waits for the gateway": {
			o:     aborting(0).with(func(o *Observation) { o.Traffic.Settled = false }),
			phase: v1alpha1.RolloutAborting, step: at50, reason: ReasonAnalysisFail, says: "not accepted", after: look,
		},
		"an abort sets the weight even where the route cannot be read": {
			o:     aborting(0).with(func(o *Observation) { o.Traffic, o.Stable, o.Canary = Traffic{}, Set{}, Set{} }),
			phase: v1alpha1.RolloutAborting, step: at50, reason: ReasonAnalysisFail, actions: []Action{route(0)}, after: look,
		},
		"an abort makes the stable set whole": {
			o:     aborting(50).with(func(o *Observation) { o.Stable = setOf(3, 3) }),
			phase: v1alpha1.RolloutAborting, step: at50, reason: ReasonAnalysisFail, actions: []Action{route(0), setStable(8)}, after: look,
		},
		"an abort leaves traffic where there is a pod for it": {
			o:     aborting(50).with(func(o *Observation) { o.Stable = Set{Knowledge: Absent} }),
			phase: v1alpha1.RolloutAborting, step: at50, reason: ReasonAnalysisFail, says: "until a pod", actions: []Action{setStable(8)}, after: look,
		},
		"an abort lets the canary drain": {
			o:     aborting(0),
			phase: v1alpha1.RolloutAborting, step: at50, reason: ReasonAnalysisFail, says: "kept until 12:00:30Z", after: 30 * second,
		},
		"an abort deletes the drained canary": {
			o:     aborting(0).with(func(o *Observation) { o.Status.DrainStartedAt = at(-30 * second) }),
			phase: v1alpha1.RolloutAborting, step: at50, reason: ReasonAnalysisFail, actions: []Action{retire(RoleCanary)}, after: look,
		},
		"an abort ends when the canary is gone": {
			o: aborting(0).with(func(o *Observation) {
				o.Status.DrainStartedAt = at(-time.Hour)
				o.Canary = Set{Knowledge: Absent}
			}),
			phase: v1alpha1.RolloutAborted, step: at50, reason: ReasonAnalysisFail, says: "revision 0123456789 has all of the traffic",
		},
		"a first install waits until it is whole": {
			o:     first(7, Traffic{Knowledge: Absent}),
			phase: v1alpha1.RolloutProgressing, reason: ReasonHoldPods, says: "7 of 8", after: 5 * time.Minute,
		},
		"a first install that is whole gets all of the traffic": {
			o:     first(8, Traffic{Knowledge: Absent}),
			phase: v1alpha1.RolloutProgressing, reason: ReasonHoldRoute, actions: []Action{route(100)}, after: look,
		},
		"a first install with all of the traffic has succeeded": {
			o:     first(8, routeAt(100)).with(func(o *Observation) { o.Status.ApprovedWeight, o.Status.ApprovedAt = 100, at(-second) }),
			phase: v1alpha1.RolloutSucceeded, reason: ReasonSucceeded,
		},
		"a first install does not end on facts that cannot be read": {
			o: first(8, routeAt(100)).with(func(o *Observation) {
				o.Status.ApprovedWeight, o.Status.ApprovedAt = 100, at(-second)
				o.Shared = Unknown
			}),
			phase: v1alpha1.RolloutProgressing, reason: ReasonHoldUnknown, says: "the shared objects could not be read", after: look,
		},
		"a first install that does not come up is deleted": {
			o: first(3, Traffic{Knowledge: Absent}).with(func(o *Observation) {
				o.Status.WaitingSince = at(-time.Hour)
			}),
			phase: v1alpha1.RolloutAborting, reason: ReasonAbortDeadline, says: "3 of 8", actions: []Action{retire(RoleCanary)}, after: look,
		},
		"a change in place scales and keeps the traffic": {
			o:     inPlace,
			phase: v1alpha1.RolloutProgressing, reason: ReasonHoldPods, says: "4 of 8", actions: []Action{setCanary(8)}, after: look,
		},
		"a change in place that is aborted returns to the old size": {
			o: inPlace.with(func(o *Observation) {
				o.Status.Phase, o.Status.ApprovedWeight, o.Newer = v1alpha1.RolloutProgressing, 100, "cart-3"
				o.Stable, o.Canary = setOf(8, 4), setOf(8, 4)
			}),
			phase: v1alpha1.RolloutAborting, reason: ReasonAbortSuperseded, actions: []Action{setStable(4)}, after: look,
		},
		"what a succeeded Rollout left is put right": {
			o: ended(v1alpha1.RolloutSucceeded).with(func(o *Observation) {
				o.Canary.Desired, o.Traffic, o.Shared = 5, routeAt(0), Absent
			}),
			phase: v1alpha1.RolloutSucceeded, step: at100, reason: ReasonRepairing,
			actions: []Action{{Kind: ActionApplyShared}, setCanary(8), route(100)}, after: look,
		},
		"what a succeeded Rollout left is another's to put right": {
			o: ended(v1alpha1.RolloutSucceeded).with(func(o *Observation) {
				o.Canary.Desired, o.Newer = 5, "cart-3"
			}),
			phase: v1alpha1.RolloutSucceeded, step: at100, reason: "TG-X",
		},
		"an aborted Rollout watches over the stable set": {
			o:     ended(v1alpha1.RolloutAborted).with(func(o *Observation) { o.Stable.Desired, o.Traffic = 2, routeAt(50) }),
			phase: v1alpha1.RolloutAborted, step: at100, reason: ReasonAnalysisFail, actions: []Action{route(0), setStable(8)}, after: look,
		},
	} {
		t.Run(name, func(t *testing.T) {
			t.Parallel()
			d := Next(c.o, t0)
			if d.Status.Phase != c.phase || d.Status.Step != c.step || d.Status.Reason != c.reason || !strings.Contains(d.Status.Message, c.says) {
				t.Errorf("got %s %d %s %q, want %s %d %s %q", d.Status.Phase, d.Status.Step, d.Status.Reason, d.Status.Message, c.phase, c.step, c.reason, c.says)
			}
			if !slices.Equal(d.Actions, c.actions) {
				t.Errorf("actions %v, want %v", d.Actions, c.actions)
			}
			if d.RequeueAfter != c.after {
				t.Errorf("again after %s, want %s", d.RequeueAfter, c.after)
			}
			for _, b := range broken(c.o, t0, d) {
				t.Error(b)
			}
		})
	}
}

func TestTheHistoryIsBoundedAndTellsTheStory(t *testing.T) {
	t.Parallel()
	w := newWorld(canarySpec())
	w.settle(t, "history")
	var story []string
	for _, h := range w.status.History {
		story = append(story, string(h.Phase)+" "+h.Reason)
		if h.At.IsZero() || h.Message == "" {
			t.Errorf("entry %+v", h)
		}
	}
	const on = "Progressing "
	want := []string{
		on + ReasonBegun,
		on + ReasonStepApproved, on + ReasonStepReached,
		on + ReasonStepApproved, on + ReasonStepReached, on + ReasonStepReached,
		on + ReasonStepApproved, on + ReasonStepReached,
		"Promoting " + ReasonPromoting, "Succeeded " + ReasonSucceeded,
	}
	if !slices.Equal(story, want) {
		t.Errorf("got %v", story)
	}

	o := inStep(0, 0)
	for i := range 80 {
		o.Status.History = append(o.Status.History, v1alpha1.HistoryEntry{At: metav1.NewMicroTime(t0), Step: int32(i)})
	}
	d := Next(o, t0)
	if n := len(d.Status.History); n != maxHistory || d.Status.History[n-1].Reason != ReasonStepApproved {
		t.Errorf("%d entries", n)
	}
	if len(o.Status.History) != 80 || o.Status.History[79].Step != 79 {
		t.Error("the observation was written to")
	}
}

func TestMovingClocksDoNotHoldForever(t *testing.T) {
	t.Parallel()
	o := inStep(at50, time.Minute).with(func(o *Observation) {
		o.Canary = setOf(4, 4)
		o.Status.Analysis = roundOf(v1alpha1.VerdictPass, at50, -time.Hour)
	})
	if d := Next(o, t0); !slices.Contains(d.Actions, Action{Kind: ActionMeasure}) || d.Status.Reason != ReasonHoldAnalysis {
		t.Errorf("a round of the future counts: %s, %v", d.Status.Message, d.Actions)
	}
}
