package plan

import (
	"slices"
	"strings"
	"testing"
	"time"

	"tidegate.io/tidegate/schemas/v1alpha1"
)

// openRoute is a Service that selects every pod of the Release.
func openRoute() Traffic {
	return Traffic{Knowledge: Present, Split: true, Settled: true, UpToDate: true}
}

func TestChangeBetweenWaysOfServing(t *testing.T) {
	t.Parallel()
	out, in := outOfPlaceSpec(blueGreenSpec)(), intoPlaceSpec()
	begun := func(spec v1alpha1.RolloutSpec, traffic Traffic) Observation {
		o := stepOf(spec, 0, 0)
		o.Canary, o.Traffic = Set{Knowledge: Absent}, traffic
		return o
	}
	older := func(o *Observation) { o.Stable.Older = 2 }
	pending := func(o *Observation) { o.Status = v1alpha1.RolloutStatus{} }
	narrowed := Action{Kind: ActionSetWeight}
	newSet := Action{Kind: ActionEnsureSet, Role: RoleCanary, Replicas: 8}
	for name, c := range map[string]struct {
		seen    Observation
		phase   v1alpha1.RolloutPhase
		reason  string
		message string
		actions []Action
	}{
		"it begins when all pods of the workload are of its revision": {
			begun(out, openRoute()).with(pending), v1alpha1.RolloutProgressing, ReasonHoldRoute, "", []Action{narrowed},
		},
		"it waits for the pods of another revision": {
			begun(out, openRoute()).with(pending).with(older), v1alpha1.RolloutPending, ReasonHoldStable, "2 are not; see them with: kubectl get pods -l tidegate.io/release=cart", nil,
		},
		"it waits where the workload cannot be read": {
			begun(out, openRoute()).with(pending).with(func(o *Observation) { o.Stable = Set{} }), v1alpha1.RolloutPending, ReasonHoldUnknown, "could not be read", nil,
		},
		"one that was aborted while it waited leaves the Service as it is": {
			begun(out, openRoute()).with(older).with(func(o *Observation) {
				o.Status = v1alpha1.RolloutStatus{Phase: v1alpha1.RolloutAborted, AbortCause: &v1alpha1.Cause{Code: ReasonAbortCommand, Message: "aborted"}}
			}), v1alpha1.RolloutAborted, ReasonAbortCommand, "", nil,
		},
		"no pod of the new set comes up behind a Service that selects every pod": {
			begun(out, openRoute()), v1alpha1.RolloutProgressing, ReasonHoldRoute, "", []Action{narrowed},
		},
		"nor before the Service is seen to select one revision": {
			begun(out, unsettled(0)), v1alpha1.RolloutProgressing, ReasonHoldRoute, "", nil,
		},
		"then the set is made": {
			begun(out, routeAt(0)), v1alpha1.RolloutProgressing, ReasonHoldPods, "comes up without traffic", []Action{newSet},
		},
		"nor one of a canary": {
			begun(outOfPlaceSpec(canarySpec)(), openRoute()), v1alpha1.RolloutProgressing, ReasonHoldRoute, "", []Action{narrowed},
		},
		"then the pods of its first weight come up": {
			begun(outOfPlaceSpec(canarySpec)(), routeAt(0)), v1alpha1.RolloutProgressing, ReasonHoldPods, "2 are needed for 25 %", []Action{
				{Kind: ActionEnsureSet, Role: RoleCanary, Replicas: 2},
			},
		},
		"an abort takes the requests back from whatever the Service selects": {
			begun(out, openRoute()).with(older).with(func(o *Observation) {
				o.Canary = setOf(8, 8)
				o.Status.Phase, o.Status.AbortCause = v1alpha1.RolloutAborting, &v1alpha1.Cause{Code: ReasonAbortCommand, Message: "aborted"}
			}), v1alpha1.RolloutAborting, ReasonAbortCommand, "", []Action{narrowed},
		},
		"a workload in place comes up whole beside the sets": {
			begun(in, routeAt(0)), v1alpha1.RolloutProgressing, ReasonHoldPods, "comes up without traffic", []Action{newSet},
		},
		"the switch to it is one": {
			stepOf(in, 1, time.Minute).with(func(o *Observation) {
				o.Canary = setOf(8, 8)
				o.Status.Approvals = []v1alpha1.Approval{{Step: 1, Actor: "bob", Command: "b"}}
			}), v1alpha1.RolloutProgressing, ReasonHoldRoute, "step 2/3", []Action{{Kind: ActionSetWeight, Exposure: Exposure{Weight: 100}}},
		},
		"the sets are kept for as long as they would have been": {
			stepOf(in, 3, time.Minute).with(func(o *Observation) {
				o.Canary = setOf(8, 8)
				o.Status.Phase, o.Status.DrainStartedAt = v1alpha1.RolloutPromoting, at(-50*time.Second)
			}), v1alpha1.RolloutPromoting, ReasonDraining, "is kept until 12:00:10Z", nil,
		},
	} {
		t.Run(name, func(t *testing.T) {
			t.Parallel()
			d := Next(c.seen, t0)
			work := slices.DeleteFunc(slices.Clone(d.Actions), func(a Action) bool { return a.Kind == ActionMeasure })
			if d.Status.Phase != c.phase || d.Status.Reason != c.reason || !strings.Contains(d.Status.Message, c.message) || !slices.Equal(work, c.actions) {
				t.Errorf("%s %s: %s\n  %v, want %s %s: %s\n  %v", d.Status.Phase, d.Status.Reason, d.Status.Message, work, c.phase, c.reason, c.message, c.actions)
			}
			for _, b := range broken(c.seen, t0, d) {
				t.Error(b)
			}
		})
	}
}

func TestAWorkloadInPlaceIsNotTouchedWhileItsServiceSelectsOneRevision(t *testing.T) {
	t.Parallel()
	spec := rollingSpec()
	o := stepOf(spec, 0, 0)
	o.Stable, o.Canary, o.Traffic = setOf(8, 8), Set{Knowledge: Absent}, Traffic{}
	o.Shared, o.Narrow = Absent, true
	o.Status.Step, o.Status.ApprovedWeight, o.Status.ApprovedAt = 1, 25, at(-time.Second)
	d := Next(o, t0)
	if !slices.Equal(d.Actions, []Action{{Kind: ActionApplyShared}}) || !strings.Contains(d.Status.Message, "a Service selects the pods of one revision alone") {
		t.Errorf("while it does: %v, %s", d.Actions, d.Status.Message)
	}
	if step, weight, rises := Rise(o, t0); rises {
		t.Errorf("the policies are asked about step %d, %d %%, which does not hinge on them", step, weight)
	}
	o.Shared, o.Narrow = Present, false
	if d := Next(o, t0); len(d.Actions) != 1 || d.Actions[0].Kind != ActionEnsureSet || d.Actions[0].Role != RoleCanary {
		t.Errorf("when it selects all: %v, %s", d.Actions, d.Status.Message)
	}
}

func TestAServiceForOneSetThatSelectsAllIsPutRight(t *testing.T) {
	t.Parallel()
	spec := blueGreenSpec()
	spec.Router = v1alpha1.RouterService
	o := stepOf(spec, 0, 0)
	o.Canary, o.Traffic = setOf(8, 8), openRoute()
	if d := Next(o, t0); len(d.Actions) == 0 || d.Actions[0] != (Action{Kind: ActionSetWeight}) {
		t.Errorf("got %v, %s", d.Actions, d.Status.Message)
	}
}
