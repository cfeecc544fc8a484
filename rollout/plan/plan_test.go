package plan

import (
	"fmt"
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
		if n, k := need(c.whole, c.weight), keep(c.whole, c.weight); n != c.need || k != c.keep {
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
	weigh := func(w int32) Action { return Action{Kind: ActionSetWeight, Weight: w} }
	retire := func(r Role) Action { return Action{Kind: ActionRetire, Role: r} }
	measure := Action{Kind: ActionMeasure}
	pending := inStep(0, 0).with(func(o *Observation) {
		o.Status = v1alpha1.RolloutStatus{}
		o.Canary = Set{Knowledge: Absent}
	})
	first := func(available int32, tr Traffic) Observation {
		return Observation{
			Spec: firstSpec(), Stable: Set{Knowledge: Absent}, Canary: setOf(8, available), Shared: Present, Traffic: tr, Promotion: allowed,
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
			phase: v1alpha1.RolloutProgressing, step: 1, reason: ReasonHoldRoute, says: "25 %", actions: []Action{weigh(25)}, after: look,
		},
		"the hold of a step counts from when the route carries it": {
			o:     inStep(1, 0).with(func(o *Observation) { o.Status.StepStartedAt = nil; o.Canary = setOf(2, 2) }),
			phase: v1alpha1.RolloutProgressing, step: 1, reason: ReasonHoldTime, says: "holding for 30s, until 12:00:30Z", after: 30 * second,
		},
		"the pods of the next weight are asked for when the hold is over": {
			o:     inStep(1, 31*second).with(func(o *Observation) { o.Canary = setOf(2, 2) }),
			phase: v1alpha1.RolloutProgressing, step: 1, reason: ReasonHoldPods, says: "2 of 4 pods", actions: []Action{setCanary(4)}, after: look,
		},
		"too long a wait for pods aborts": {
			o: inStep(1, time.Hour).with(func(o *Observation) {
				o.Canary = setOf(4, 2)
				o.Status.WaitingSince = at(-5 * time.Minute)
			}),
			phase: v1alpha1.RolloutAborting, step: 1, reason: ReasonAbortDeadline, says: "2 of 4 pods available 5m0s", actions: []Action{weigh(0)}, after: look,
		},
		"a paused Rollout is not aborted for want of pods": {
			o: inStep(1, time.Hour).with(func(o *Observation) {
				o.Canary, o.Status.Paused = setOf(4, 2), true
				o.Status.WaitingSince = at(-time.Hour)
			}),
			phase: v1alpha1.RolloutProgressing, step: 1, reason: ReasonHoldPaused,
		},
		"an analysis waits for a whole window in the step": {
			o:     inStep(2, 5*second),
			phase: v1alpha1.RolloutProgressing, step: 2, reason: ReasonHoldAnalysis, says: "window of 20s", actions: []Action{setCanary(4)}, after: look,
		},
		"an analysis that is due is taken": {
			o:     inStep(2, 20*second).with(func(o *Observation) { o.Canary = setOf(4, 4) }),
			phase: v1alpha1.RolloutProgressing, step: 2, reason: ReasonHoldAnalysis, actions: []Action{measure}, after: 10 * second,
		},
		"an inconclusive analysis holds, with its numbers, until the next": {
			o: inStep(2, 40*second).with(func(o *Observation) {
				o.Canary = setOf(4, 4)
				o.Status.Analysis = roundOf(v1alpha1.VerdictInconclusive, 2, 4*second)
			}),
			phase: v1alpha1.RolloutProgressing, step: 2, reason: ReasonHoldInconclusive,
			says: "step 2/3: 50 % to revision ab12cd34ef, holding: analysis Inconclusive: 37 of 100 requests", after: 6 * second,
		},
		"an unknown analysis holds": {
			o: inStep(2, 40*second).with(func(o *Observation) {
				o.Canary = setOf(4, 4)
				o.Status.Analysis = roundOf(v1alpha1.VerdictUnknown, 2, 4*second)
			}),
			phase: v1alpha1.RolloutProgressing, step: 2, reason: ReasonHoldNoData, after: 6 * second,
		},
		"a failed analysis aborts": {
			o: inStep(2, 40*second).with(func(o *Observation) {
				o.Status.Analysis = roundOf(v1alpha1.VerdictFail, 2, 4*second)
			}),
			phase: v1alpha1.RolloutAborting, step: 2, reason: ReasonAnalysisFail, says: "step 2/3: 37 of 100 requests", actions: []Action{weigh(0)}, after: look,
		},
		"a Pass waits for the approval": {
			o: inStep(2, 40*second).with(func(o *Observation) {
				o.Canary = setOf(4, 4)
				o.Status.Analysis = roundOf(v1alpha1.VerdictPass, 2, second)
			}),
			phase: v1alpha1.RolloutProgressing, step: 2, reason: ReasonHoldApproval, after: 9 * second,
		},
		"a Pass and an approval go on": {
			o: inStep(2, 40*second).with(func(o *Observation) {
				o.Status.Analysis = roundOf(v1alpha1.VerdictPass, 2, second)
				o.Status.Approvals = []v1alpha1.Approval{{Step: 2, Command: "c"}}
			}),
			phase: v1alpha1.RolloutProgressing, step: 3, reason: ReasonHoldRoute, says: "100 %", actions: []Action{weigh(100)}, after: look,
		},
		"a Pass that grew old is taken again": {
			o: inStep(2, time.Hour).with(func(o *Observation) {
				o.Status.Analysis = roundOf(v1alpha1.VerdictPass, 2, 31*second)
				o.Status.Approvals = []v1alpha1.Approval{{Step: 2, Command: "c"}}
			}),
			phase: v1alpha1.RolloutProgressing, step: 2, reason: ReasonHoldAnalysis, says: "counts for 30s only", actions: []Action{measure}, after: 10 * second,
		},
		"an approved weight that did not reach the route in time is taken back": {
			o: inStep(2, time.Hour).with(func(o *Observation) {
				o.Status.StepStartedAt, o.Status.ApprovedAt = nil, at(-61*second)
				o.Status.Approvals = []v1alpha1.Approval{{Step: 1}, {Step: 2}}
				o.Traffic, o.Canary = routeAt(25), setOf(4, 4)
			}),
			phase: v1alpha1.RolloutProgressing, step: 1, reason: ReasonHoldTime, actions: []Action{setCanary(2)}, after: look,
		},
		"a weight that nobody approved is set back": {
			o:     inStep(1, 10*second).with(func(o *Observation) { o.Traffic = routeAt(100); o.Canary = setOf(2, 2) }),
			phase: v1alpha1.RolloutProgressing, step: 1, reason: ReasonHoldRoute, says: "the route carries 100 %", actions: []Action{weigh(25), setCanary(8)}, after: look,
		},
		"one pod of many lost keeps the weight": {
			o: inStep(3, 40*second).with(func(o *Observation) {
				o.Canary = setOf(8, 7)
				o.Status.Analysis = roundOf(v1alpha1.VerdictPass, 3, second)
			}),
			phase: v1alpha1.RolloutProgressing, step: 3, reason: ReasonHoldPods, says: "7 of 8", after: 9 * second,
		},
		"more pods lost lower the weight before anything else": {
			o: inStep(3, 40*second).with(func(o *Observation) {
				o.Canary = setOf(8, 5)
				o.Stable.UpToDate = false
			}),
			phase: v1alpha1.RolloutProgressing, step: 2, reason: ReasonHoldRoute, actions: []Action{weigh(50), setStable(8)}, after: look,
		},
		"all pods lost take the weight to 0": {
			o:     inStep(2, 40*second).with(func(o *Observation) { o.Canary = setOf(4, 0) }),
			phase: v1alpha1.RolloutProgressing, step: 0, reason: ReasonHoldRoute, actions: []Action{weigh(0)}, after: look,
		},
		"a stable set that is not whole holds the next weight": {
			o: inStep(1, time.Minute).with(func(o *Observation) {
				o.Stable = setOf(8, 7)
				o.Status.StableShortSince = at(-time.Minute)
			}),
			phase: v1alpha1.RolloutProgressing, step: 1, reason: ReasonHoldStable, says: "7 of 8", after: 4 * time.Minute,
		},
		"a stable set that stays broken does not keep its cure out": {
			o: inStep(1, time.Minute).with(func(o *Observation) {
				o.Stable = setOf(8, 0)
				o.Status.StableShortSince = at(-5 * time.Minute)
			}),
			phase: v1alpha1.RolloutProgressing, step: 2, reason: ReasonHoldRoute, actions: []Action{weigh(50)}, after: look,
		},
		"what cannot be read holds": {
			o:     inStep(1, time.Minute).with(func(o *Observation) { o.Traffic = Traffic{} }),
			phase: v1alpha1.RolloutProgressing, step: 1, reason: ReasonHoldUnknown, says: "the route could not be read", after: look,
		},
		"all steps passed begin the drain": {
			o: inStep(3, 40*second).with(func(o *Observation) {
				o.Status.Analysis = roundOf(v1alpha1.VerdictPass, 3, second)
			}),
			phase: v1alpha1.RolloutPromoting, step: 3, reason: ReasonDraining, says: "kept until 12:00:30Z", after: 30 * second,
		},
		"a drained old set is deleted, once that is on record": {
			o:     promoting(30 * second),
			phase: v1alpha1.RolloutPromoting, step: 3, reason: ReasonRetiring, actions: []Action{retire(RoleStable)}, after: look,
		},
		"a new set that is not whole keeps the old one": {
			o:     promoting(time.Hour).with(func(o *Observation) { o.Canary = setOf(8, 7) }),
			phase: v1alpha1.RolloutPromoting, step: 3, reason: ReasonHoldPods, after: 5 * time.Minute,
		},
		"a newer Rollout waits for a promotion that is under way": {
			o:     promoting(10 * second).with(func(o *Observation) { o.Newer = "cart-3" }),
			phase: v1alpha1.RolloutPromoting, step: 3, reason: ReasonDraining, after: 20 * second,
		},
		"a newer Rollout does not wait for a paused promotion": {
			o:     promoting(10 * second).with(func(o *Observation) { o.Newer, o.Status.Paused = "cart-3", true }),
			phase: v1alpha1.RolloutAborting, step: 3, reason: ReasonAbortSuperseded, actions: []Action{weigh(0)}, after: look,
		},
		"a promotion whose traffic was moved goes back to its step": {
			o:     promoting(10 * second).with(func(o *Observation) { o.Traffic = routeAt(25) }),
			phase: v1alpha1.RolloutProgressing, step: 1, reason: ReasonHoldTime, actions: []Action{setCanary(2)}, after: look,
		},
		"the old set gone is success, and quiet": {
			o: promoting(time.Hour).with(func(o *Observation) {
				o.Status.Retiring = true
				o.Stable = Set{Knowledge: Absent}
			}),
			phase: v1alpha1.RolloutSucceeded, step: 3, reason: ReasonSucceeded, says: "with 8 pods",
		},
		"a promotion that no gateway accepts is aborted at the deadline": {
			o: promoting(0).with(func(o *Observation) {
				o.Traffic.Settled = false
				o.Status.RouteUnsettledSince = at(-time.Hour)
			}),
			phase: v1alpha1.RolloutAborting, step: 3, reason: ReasonAbortRoute, says: "kubectl describe httproute", actions: []Action{weigh(0)}, after: look,
		},
		"a promotion that no gateway accepts yet waits": {
			o: promoting(0).with(func(o *Observation) {
				o.Traffic.Settled = false
				o.Status.RouteUnsettledSince = at(-second)
			}),
			phase: v1alpha1.RolloutPromoting, step: 3, reason: ReasonHoldRoute, says: "not accepted", after: look,
		},
		"a promotion that no gateway accepts gives way to a newer Rollout": {
			o: promoting(0).with(func(o *Observation) {
				o.Traffic.Settled = false
				o.Newer = "cart-9"
			}),
			phase: v1alpha1.RolloutAborting, step: 3, reason: ReasonAbortSuperseded, says: "cart-9", actions: []Action{weigh(0)}, after: look,
		},
		"a first install that no gateway accepts is deleted at the deadline": {
			o: first(8, routeAt(100)).with(func(o *Observation) {
				o.Status.ApprovedWeight, o.Status.ApprovedAt = 100, at(-time.Hour)
				o.Traffic.Settled = false
				o.Status.RouteUnsettledSince = at(-time.Hour)
			}),
			phase: v1alpha1.RolloutAborting, reason: ReasonAbortRoute, says: "no gateway has accepted", actions: []Action{weigh(0)}, after: look,
		},
		"an abort waits for the gateway": {
			o:     aborting(0).with(func(o *Observation) { o.Traffic.Settled = false }),
			phase: v1alpha1.RolloutAborting, step: 2, reason: ReasonAnalysisFail, says: "not accepted", after: look,
		},
		"an abort sets the weight even where the route cannot be read": {
			o:     aborting(0).with(func(o *Observation) { o.Traffic, o.Stable, o.Canary = Traffic{}, Set{}, Set{} }),
			phase: v1alpha1.RolloutAborting, step: 2, reason: ReasonAnalysisFail, actions: []Action{weigh(0)}, after: look,
		},
		"an abort makes the stable set whole": {
			o:     aborting(50).with(func(o *Observation) { o.Stable = setOf(3, 3) }),
			phase: v1alpha1.RolloutAborting, step: 2, reason: ReasonAnalysisFail, actions: []Action{weigh(0), setStable(8)}, after: look,
		},
		"an abort leaves traffic where there is a pod for it": {
			o:     aborting(50).with(func(o *Observation) { o.Stable = Set{Knowledge: Absent} }),
			phase: v1alpha1.RolloutAborting, step: 2, reason: ReasonAnalysisFail, says: "until a pod", actions: []Action{setStable(8)}, after: look,
		},
		"an abort lets the canary drain": {
			o:     aborting(0),
			phase: v1alpha1.RolloutAborting, step: 2, reason: ReasonAnalysisFail, says: "kept until 12:00:30Z", after: 30 * second,
		},
		"an abort deletes the drained canary": {
			o:     aborting(0).with(func(o *Observation) { o.Status.DrainStartedAt = at(-30 * second) }),
			phase: v1alpha1.RolloutAborting, step: 2, reason: ReasonAnalysisFail, actions: []Action{retire(RoleCanary)}, after: look,
		},
		"an abort ends when the canary is gone": {
			o: aborting(0).with(func(o *Observation) {
				o.Status.DrainStartedAt = at(-time.Hour)
				o.Canary = Set{Knowledge: Absent}
			}),
			phase: v1alpha1.RolloutAborted, step: 2, reason: ReasonAnalysisFail, says: "revision 0123456789 has all of the traffic",
		},
		"a first install waits until it is whole": {
			o:     first(7, Traffic{Knowledge: Absent}),
			phase: v1alpha1.RolloutProgressing, reason: ReasonHoldPods, says: "7 of 8", after: 5 * time.Minute,
		},
		"a first install that is whole gets all of the traffic": {
			o:     first(8, Traffic{Knowledge: Absent}),
			phase: v1alpha1.RolloutProgressing, reason: ReasonHoldRoute, actions: []Action{weigh(100)}, after: look,
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
			phase: v1alpha1.RolloutSucceeded, step: 3, reason: ReasonRepairing,
			actions: []Action{{Kind: ActionApplyShared}, setCanary(8), weigh(100)}, after: look,
		},
		"what a succeeded Rollout left is another's to put right": {
			o: ended(v1alpha1.RolloutSucceeded).with(func(o *Observation) {
				o.Canary.Desired, o.Newer = 5, "cart-3"
			}),
			phase: v1alpha1.RolloutSucceeded, step: 3, reason: "TG-X",
		},
		"an aborted Rollout watches over the stable set": {
			o:     ended(v1alpha1.RolloutAborted).with(func(o *Observation) { o.Stable.Desired, o.Traffic = 2, routeAt(50) }),
			phase: v1alpha1.RolloutAborted, step: 3, reason: ReasonAnalysisFail, actions: []Action{weigh(0), setStable(8)}, after: look,
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

func TestCommandsAreAnswered(t *testing.T) {
	t.Parallel()
	approve := func(step int32) Command {
		return Command{Name: "c", Action: v1alpha1.CommandApprove, Step: step, Actor: "alice"}
	}
	act := func(a v1alpha1.CommandAction) Command {
		return Command{Name: "c", Action: a, Actor: "alice", Reason: "it leaks"}
	}
	in2 := inStep(2, time.Minute)
	const applied, refused = v1alpha1.OutcomeApplied, v1alpha1.OutcomeRefused
	for name, c := range map[string]struct {
		o       Observation
		command Command
		outcome v1alpha1.CommandOutcome
		says    string
		check   func(v1alpha1.RolloutStatus) bool
	}{
		"an approval of the step is kept": {in2, approve(2), applied, "step 2 is approved", func(st v1alpha1.RolloutStatus) bool {
			return slices.Equal(st.Approvals, []v1alpha1.Approval{{Step: 2, Actor: "alice", Command: "c"}})
		}},
		"an approval that comes again is the same approval": {
			in2.with(func(o *Observation) {
				o.Status.Step = 3
				o.Status.Approvals = []v1alpha1.Approval{{Step: 2, Actor: "alice", Command: "c"}}
			}), approve(2), applied, "step 2 is approved", func(st v1alpha1.RolloutStatus) bool { return len(st.Approvals) == 1 },
		},
		"a second approval of one person counts once": {
			in2.with(func(o *Observation) {
				o.Status.Approvals = []v1alpha1.Approval{{Step: 2, Actor: "alice", Command: "b"}}
			}),
			approve(2), applied, "by alice already", func(st v1alpha1.RolloutStatus) bool { return len(st.Approvals) == 1 },
		},
		"an approval of a second person counts too, as policies may ask": {
			in2.with(func(o *Observation) { o.Status.Approvals = []v1alpha1.Approval{{Step: 2, Actor: "bob", Command: "b"}} }),
			approve(2), applied, "step 2 is approved", func(st v1alpha1.RolloutStatus) bool {
				return slices.Equal(st.Approvals, []v1alpha1.Approval{{Step: 2, Actor: "bob", Command: "b"}, {Step: 2, Actor: "alice", Command: "c"}})
			},
		},
		"approvals of a crowd are bounded": {
			in2.with(func(o *Observation) {
				for i := range maxApprovals {
					o.Status.Approvals = append(o.Status.Approvals, v1alpha1.Approval{Step: 2, Actor: fmt.Sprint("p", i), Command: fmt.Sprint("b", i)})
				}
			}),
			approve(2), applied, "by p0 already", func(st v1alpha1.RolloutStatus) bool { return len(st.Approvals) == maxApprovals },
		},
		"an approval of another step is refused":              {in2, approve(3), refused, "TG-COMMAND-UNFIT: step 3 was approved and the Rollout is in step 2", nil},
		"an approval of a step that asks for none is refused": {inStep(1, 0), approve(1), refused, "step 1 asks for no approval", nil},
		"an approval before the first step is refused":        {inStep(0, 0), approve(1), refused, "no step has begun", nil},
		"an approval where there are no steps is refused":     {inStep(0, 0).with(func(o *Observation) { o.Spec.Stable = nil }), approve(1), refused, "no steps", nil},
		"an approval after the last step is refused":          {promoting(0), approve(3), refused, "TG-COMMAND-LATE", nil},
		"a pause pauses":                 {in2, act(v1alpha1.CommandPause), applied, "paused", func(st v1alpha1.RolloutStatus) bool { return st.Paused }},
		"a resume resumes":               {in2.with(func(o *Observation) { o.Status.Paused = true }), act(v1alpha1.CommandResume), applied, "resumed", func(st v1alpha1.RolloutStatus) bool { return !st.Paused }},
		"a pause of an abort is refused": {aborting(25), act(v1alpha1.CommandPause), refused, "cannot be stopped", nil},
		"an abort aborts, and says who and why": {in2, act(v1alpha1.CommandAbort), applied, "goes back to revision 0123456789", func(st v1alpha1.RolloutStatus) bool {
			return st.Phase == v1alpha1.RolloutAborting && st.AbortCause.Message == "aborted by alice (RolloutCommand c): it leaks"
		}},
		"an abort of a paused promotion aborts":  {promoting(0).with(func(o *Observation) { o.Status.Paused = true }), act(v1alpha1.CommandAbort), applied, "goes back", func(st v1alpha1.RolloutStatus) bool { return st.Phase == v1alpha1.RolloutAborting }},
		"an abort of an abort is obeyed already": {aborting(25), act(v1alpha1.CommandAbort), applied, "the analysis failed", func(st v1alpha1.RolloutStatus) bool { return st.AbortCause.Code == ReasonAnalysisFail }},
		"an abort before the beginning changes nothing": {
			inStep(0, 0).with(func(o *Observation) { o.Status.Phase, o.Older = v1alpha1.RolloutPending, "cart-1" }),
			act(v1alpha1.CommandAbort), applied, "nothing was changed", func(st v1alpha1.RolloutStatus) bool { return st.Phase == v1alpha1.RolloutAborted },
		},
		"an abort after the old set's deletion was decided comes too late": {
			promoting(time.Hour).with(func(o *Observation) { o.Status.Retiring = true }), act(v1alpha1.CommandAbort), refused, "TG-COMMAND-LATE: the old revision 0123456789 is being deleted", nil,
		},
		"an abort of what has succeeded comes too late": {ended(v1alpha1.RolloutSucceeded), act(v1alpha1.CommandAbort), refused, "apply the Release with its values", nil},
		"an abort of what is aborted is obeyed already": {ended(v1alpha1.RolloutAborted), act(v1alpha1.CommandAbort), applied, "the analysis failed", nil},
		"a resume of what is aborted comes too late":    {ended(v1alpha1.RolloutAborted), act(v1alpha1.CommandResume), refused, "TG-COMMAND-LATE", nil},
		"what nobody knows is refused":                  {in2, act("dance"), refused, `"dance" is not known`, nil},
	} {
		t.Run(name, func(t *testing.T) {
			t.Parallel()
			o := c.o.with(func(o *Observation) { o.Commands = []Command{c.command} })
			d := Next(o, t0)
			i := slices.IndexFunc(d.Actions, func(a Action) bool { return a.Kind == ActionAnswer })
			if i < 0 || d.Actions[i].Outcome != c.outcome || !strings.Contains(d.Actions[i].Message, c.says) {
				t.Fatalf("got %v, want %s %q", d.Actions, c.outcome, c.says)
			}
			if c.check != nil && !c.check(d.Status) {
				t.Errorf("status %+v", d.Status)
			}
			for _, b := range broken(o, t0, d) {
				t.Error(b)
			}
		})
	}
}

func TestCommandsAreTakenInOrder(t *testing.T) {
	t.Parallel()
	o := inStep(2, time.Minute).with(func(o *Observation) {
		o.Commands = []Command{
			{Name: "c1", Action: v1alpha1.CommandPause},
			{Name: "c2", Action: v1alpha1.CommandApprove, Step: 2},
			{Name: "c3", Action: v1alpha1.CommandAbort},
			{Name: "c4", Action: v1alpha1.CommandResume},
		}
	})
	d := Next(o, t0)
	var got []string
	for _, a := range d.Actions {
		if a.Kind == ActionAnswer {
			got = append(got, a.Command+" "+string(a.Outcome))
		}
	}
	if want := []string{"c1 Applied", "c2 Applied", "c3 Applied", "c4 Refused"}; !slices.Equal(got, want) {
		t.Errorf("got %v, want %v", got, want)
	}
	if d.Actions[0].Kind != ActionSetWeight || d.Actions[0].Weight != 0 {
		t.Errorf("the traffic does not go first: %v", d.Actions)
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
	want := []string{
		"Progressing " + ReasonBegun, "Progressing " + ReasonStepApproved, "Progressing " + ReasonStepApproved,
		"Progressing " + ReasonStepApproved, "Promoting " + ReasonPromoting, "Succeeded " + ReasonSucceeded,
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
	o := inStep(2, time.Minute).with(func(o *Observation) {
		o.Canary = setOf(4, 4)
		o.Status.Analysis = roundOf(v1alpha1.VerdictPass, 2, -time.Hour)
	})
	if d := Next(o, t0); !slices.Contains(d.Actions, Action{Kind: ActionMeasure}) || d.Status.Reason != ReasonHoldAnalysis {
		t.Errorf("a round of the future counts: %s, %v", d.Status.Message, d.Actions)
	}
}
