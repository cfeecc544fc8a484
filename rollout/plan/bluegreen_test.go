package plan

import (
	"slices"
	"strings"
	"testing"
	"time"

	"tidegate.io/tidegate/schemas/v1alpha1"
)

// Where blueGreenSpec waits: in the pause and for the approval of the preview, and in the analysis
// after the switch.
const looking, lookingApproval, switched = 1, 2, 4

// blueGreenIn is a blueGreen Rollout in a step since ago, all well.
func blueGreenIn(step int32, ago time.Duration) Observation {
	o := stepOf(blueGreenSpec(), step, ago)
	o.Canary = setOf(8, 8)
	if step < 3 {
		o.Status.ApprovedAt = nil // nothing was exposed
	}
	return o
}

func TestBlueGreenAndAutoscaledSets(t *testing.T) {
	t.Parallel()
	const second = time.Second
	setCanary := func(n int32) Action { return Action{Kind: ActionEnsureSet, Role: RoleCanary, Replicas: n} }
	route := func(w int32) Action { return Action{Kind: ActionSetWeight, Exposure: Exposure{Weight: w}} }
	measure := Action{Kind: ActionMeasure}
	approved := func(o *Observation) { o.Status.Approvals = []v1alpha1.Approval{{Step: lookingApproval, Command: "c"}} }
	warm := blueGreenIn(switched, time.Minute).with(func(o *Observation) {
		o.Status.Phase, o.Status.DrainStartedAt = v1alpha1.RolloutPromoting, at(-time.Minute)
		o.Status.Analysis = roundOf(v1alpha1.VerdictPass, switched, 15*second)
	})
	for name, c := range map[string]struct {
		o       Observation
		phase   v1alpha1.RolloutPhase
		step    int32
		reason  string
		says    string
		actions []Action
	}{
		"a blueGreen set comes up whole": {
			o:     blueGreenIn(0, 0).with(func(o *Observation) { o.Canary = Set{Knowledge: Absent} }),
			phase: v1alpha1.RolloutProgressing, reason: ReasonHoldPods, says: "comes up without traffic", actions: []Action{setCanary(8)},
		},
		"nobody looks at a set that is not whole": {
			o:     blueGreenIn(0, 0).with(func(o *Observation) { o.Canary = setOf(8, 7) }),
			phase: v1alpha1.RolloutProgressing, reason: ReasonHoldPods, says: "7 of 8 pods",
		},
		"the preview waits for its hold, then for its approval": {
			o:     blueGreenIn(looking, 31*second),
			phase: v1alpha1.RolloutProgressing, step: lookingApproval, reason: ReasonHoldApproval,
		},
		"an approved preview is switched at once": {
			o:     blueGreenIn(lookingApproval, 31*second).with(approved),
			phase: v1alpha1.RolloutProgressing, step: 3, reason: ReasonHoldRoute, actions: []Action{route(100)},
		},
		"no switch while a policy holds": {
			o: blueGreenIn(lookingApproval, 31*second).with(approved).with(func(o *Observation) {
				o.Promotion = Promotion{Knowledge: Present, Message: "frozen"}
			}),
			phase: v1alpha1.RolloutProgressing, step: lookingApproval, reason: ReasonHoldPolicy, says: "frozen",
		},
		"no switch to a set that has lost a pod": {
			o:     blueGreenIn(lookingApproval, 31*second).with(approved).with(func(o *Observation) { o.Canary = setOf(8, 7) }),
			phase: v1alpha1.RolloutProgressing, step: lookingApproval, reason: ReasonHoldPods,
		},
		"the analysis goes on while the old set is warm": {
			o:     warm,
			phase: v1alpha1.RolloutPromoting, step: switched, reason: ReasonDraining, says: "kept until 12:01:00Z", actions: []Action{measure},
		},
		"a bad round returns to the warm set": {
			o:     warm.with(func(o *Observation) { o.Status.Analysis = roundOf(v1alpha1.VerdictFail, switched, second) }),
			phase: v1alpha1.RolloutAborting, step: switched, reason: ReasonAnalysisFail, actions: []Action{route(0)},
		},
		"a set is not kept warm before a newer Rollout": {
			o:     warm.with(func(o *Observation) { o.Newer = "cart-3"; o.Status.Analysis.TakenAt = *at(0) }),
			phase: v1alpha1.RolloutPromoting, step: switched, reason: ReasonRetiring, actions: []Action{{Kind: ActionRetire, Role: RoleStable}},
		},
		"a newer Rollout that wants the old revision back gets the set that is warm": {
			o:     warm.with(func(o *Observation) { o.Newer, o.Returns = "cart-3", true }),
			phase: v1alpha1.RolloutAborting, step: switched, reason: ReasonAbortSuperseded, says: "Rollout cart-3, which brings back revision ", actions: []Action{route(0)},
		},
		"a return that comes when the old set is being deleted waits": {
			o:     warm.with(func(o *Observation) { o.Newer, o.Returns, o.Status.Retiring = "cart-3", true, true }),
			phase: v1alpha1.RolloutPromoting, step: switched, reason: ReasonRetiring, actions: []Action{{Kind: ActionRetire, Role: RoleStable}},
		},
		"the first share of an autoscaled set is one of the load": {
			o: inStep(0, 0).with(func(o *Observation) {
				o.Stable, o.Canary = scaled(40, 40), Set{Knowledge: Absent, Autoscaled: true}
			}),
			phase: v1alpha1.RolloutProgressing, reason: ReasonHoldPods, says: "0 of 10 pods",
			actions: []Action{
				{Kind: ActionEnsureSet, Role: RoleStable, Replicas: 40, Least: 40},
				{Kind: ActionEnsureSet, Role: RoleCanary, Replicas: 10, Least: 10},
			},
		},
		"a set that asks for more is left alone": {
			o:     inStep(at25, 10*second).with(func(o *Observation) { o.Stable, o.Canary = scaled(8, 8), scaled(30, 30) }),
			phase: v1alpha1.RolloutProgressing, step: at25, reason: ReasonHoldTime,
		},
		"a set that is put right keeps the pods that its load asks for": {
			o: inStep(at25, 10*second).with(func(o *Observation) {
				o.Stable, o.Canary = scaled(8, 8), scaled(30, 30)
				o.Canary.UpToDate = false
			}),
			phase: v1alpha1.RolloutProgressing, step: at25, reason: ReasonHoldTime, actions: []Action{setCanary(30)},
		},
		"what serves alone is sized by its load": {
			o: ended(v1alpha1.RolloutSucceeded).with(func(o *Observation) {
				o.Canary, o.Status.StableLoad = scaled(12, 12), 40
			}),
			phase: v1alpha1.RolloutSucceeded, step: at100, reason: ReasonSucceeded,
		},
	} {
		t.Run(name, func(t *testing.T) {
			t.Parallel()
			d := Next(c.o, t0)
			if d.Status.Phase != c.phase || d.Status.Step != c.step || d.Status.Reason != c.reason || !strings.Contains(d.Status.Message, c.says) {
				t.Errorf("got %s step %d %s: %s", d.Status.Phase, d.Status.Step, d.Status.Reason, d.Status.Message)
			}
			if !slices.Equal(d.Actions, c.actions) {
				t.Errorf("got %v, want %v", d.Actions, c.actions)
			}
			for _, b := range broken(c.o, t0, d) {
				t.Error(b)
			}
		})
	}
}
