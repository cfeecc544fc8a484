package act

import (
	"strings"
	"testing"

	"github.com/google/go-cmp/cmp"
	metav1 "k8s.io/apimachinery/pkg/apis/meta/v1"

	"tidegate.io/tidegate/schemas/v1alpha1"
)

// rollout is the Rollout of a number, with the steps weight 20, pause until approved,
// weight 100.
func rollout(number int64, revision string, phase v1alpha1.RolloutPhase, step int32) v1alpha1.Rollout {
	twenty, all := int32(20), int32(100)
	return v1alpha1.Rollout{
		ObjectMeta: metav1.ObjectMeta{Name: "cart-" + string(rune('0'+number))},
		Spec: v1alpha1.RolloutSpec{
			Release: "cart", Number: number, Revision: revision, Replicas: 3,
			Stable: &v1alpha1.StableReference{Rollout: "cart-1", Revision: "0000000000", Replicas: 3},
			Strategy: v1alpha1.Strategy{Type: v1alpha1.StrategyCanary, Steps: []v1alpha1.Step{
				{SetWeight: &twenty}, {Pause: &v1alpha1.Pause{Approval: true}}, {SetWeight: &all},
			}},
		},
		Status: v1alpha1.RolloutStatus{Phase: phase, Step: step},
	}
}

func TestCompose(t *testing.T) {
	t.Parallel()
	const (
		good    = v1alpha1.RolloutSucceeded
		bad     = v1alpha1.RolloutAborted
		walking = v1alpha1.RolloutProgressing
	)
	a, b, c := rollout(1, "aaaaaaaaaa", good, 3), rollout(2, "bbbbbbbbbb", good, 3), rollout(3, "cccccccccc", bad, 1)
	for name, x := range map[string]struct {
		newestFirst []v1alpha1.Rollout
		decision    Decision
		want        v1alpha1.RolloutCommandSpec
		refused     string
	}{
		"without a rollout there is nothing to decide about": {
			decision: Decision{Action: v1alpha1.CommandAbort}, refused: `Release "cart" has no Rollout yet`,
		},
		"skip takes the step that the rollout stands in": {
			[]v1alpha1.Rollout{rollout(4, "dddddddddd", walking, 2), b},
			Decision{Action: v1alpha1.CommandSkipStep},
			v1alpha1.RolloutCommandSpec{Rollout: "cart-4", Action: v1alpha1.CommandSkipStep, Step: 2},
			"",
		},
		"before the first step there is nothing to skip": {
			[]v1alpha1.Rollout{rollout(4, "dddddddddd", walking, 0), b},
			Decision{Action: v1alpha1.CommandSkipStep},
			v1alpha1.RolloutCommandSpec{},
			"has not come to a step yet",
		},
		"a step that is not there cannot be skipped": {
			[]v1alpha1.Rollout{rollout(4, "dddddddddd", walking, 2), b},
			Decision{Action: v1alpha1.CommandSkipStep, Step: 9},
			v1alpha1.RolloutCommandSpec{},
			"wanted a step from 1 to 3 of Rollout cart-4, found 9",
		},
		"what has ended is not promoted": {
			[]v1alpha1.Rollout{b, a}, Decision{Action: v1alpha1.CommandPromote}, v1alpha1.RolloutCommandSpec{}, "has ended (Succeeded)",
		},
		"what was aborted is tried again": {
			[]v1alpha1.Rollout{c, b, a},
			Decision{Action: v1alpha1.CommandRetry, Reason: "the database is back"},
			v1alpha1.RolloutCommandSpec{Rollout: "cart-3", Action: v1alpha1.CommandRetry, Reason: "the database is back"},
			"",
		},
		"what has succeeded is not tried again": {
			[]v1alpha1.Rollout{b, a}, Decision{Action: v1alpha1.CommandRetry}, v1alpha1.RolloutCommandSpec{}, "only one that was aborted is tried again",
		},
		"undo returns to the revision before the one that serves": {
			[]v1alpha1.Rollout{b, a},
			Decision{Action: v1alpha1.CommandRollBack},
			v1alpha1.RolloutCommandSpec{Rollout: "cart-1", Action: v1alpha1.CommandRollBack},
			"",
		},
		"undo passes over an attempt at the revision that serves": {
			[]v1alpha1.Rollout{rollout(3, "bbbbbbbbbb", good, 0), b, a},
			Decision{Action: v1alpha1.CommandRollBack},
			v1alpha1.RolloutCommandSpec{Rollout: "cart-1", Action: v1alpha1.CommandRollBack},
			"",
		},
		"undo of what is under way returns to what serves": {
			[]v1alpha1.Rollout{rollout(4, "dddddddddd", walking, 1), b, a},
			Decision{Action: v1alpha1.CommandRollBack},
			v1alpha1.RolloutCommandSpec{Rollout: "cart-2", Action: v1alpha1.CommandRollBack},
			"",
		},
		"undo of what was aborted asks which is meant, as what was before it serves already": {
			[]v1alpha1.Rollout{c, b, a},
			Decision{Action: v1alpha1.CommandRollBack},
			v1alpha1.RolloutCommandSpec{},
			"Rollout cart-3 was aborted, and what served before it serves; name the one to return to with --to: 2 (bbbbbbbbbb), 1 (aaaaaaaaaa)",
		},
		"undo takes the revision from when it was in service, not from an attempt that was aborted": {
			[]v1alpha1.Rollout{b, rollout(4, "aaaaaaaaaa", bad, 1), a},
			Decision{Action: v1alpha1.CommandRollBack, To: "aaaaaaaaaa"},
			v1alpha1.RolloutCommandSpec{Rollout: "cart-1", Action: v1alpha1.CommandRollBack},
			"",
		},
		"undo does not return to a revision that was never in service": {
			[]v1alpha1.Rollout{b, c, a},
			Decision{Action: v1alpha1.CommandRollBack, To: "cccccccccc"},
			v1alpha1.RolloutCommandSpec{},
			"Rollout cart-3 has never been in service (Aborted)",
		},
		"undo takes a number": {
			[]v1alpha1.Rollout{c, b, a},
			Decision{Action: v1alpha1.CommandRollBack, To: "1"},
			v1alpha1.RolloutCommandSpec{Rollout: "cart-1", Action: v1alpha1.CommandRollBack},
			"",
		},
		"undo takes a revision": {
			[]v1alpha1.Rollout{c, b, a},
			Decision{Action: v1alpha1.CommandRollBack, To: "bbbbbbbbbb"},
			v1alpha1.RolloutCommandSpec{Rollout: "cart-2", Action: v1alpha1.CommandRollBack},
			"",
		},
		"undo does not return to what was aborted": {
			[]v1alpha1.Rollout{b, c, a},
			Decision{Action: v1alpha1.CommandRollBack, To: "3"},
			v1alpha1.RolloutCommandSpec{},
			"Rollout cart-3 has never been in service (Aborted), so its revision cannot be brought back; those that can are 1 (aaaaaaaaaa)",
		},
		"undo does not return to what serves": {
			[]v1alpha1.Rollout{b, a},
			Decision{Action: v1alpha1.CommandRollBack, To: "2"},
			v1alpha1.RolloutCommandSpec{},
			"is the newest, and its revision serves",
		},
		"undo does not know the number": {
			[]v1alpha1.Rollout{b, a},
			Decision{Action: v1alpha1.CommandRollBack, To: "7"},
			v1alpha1.RolloutCommandSpec{},
			`found "7"; those to return to are 1 (aaaaaaaaaa)`,
		},
		"the first rollout has nothing to return to": {
			[]v1alpha1.Rollout{a}, Decision{Action: v1alpha1.CommandRollBack}, v1alpha1.RolloutCommandSpec{}, "has no other revision that was in service",
		},
	} {
		t.Run(name, func(t *testing.T) {
			t.Parallel()
			x.decision.Release = "cart"
			got, err := Compose(x.newestFirst, x.decision)
			if x.refused != "" {
				if err == nil || !strings.Contains(err.Error(), x.refused) {
					t.Fatalf("refused with %v, want %q", err, x.refused)
				}
				return
			}
			if err != nil {
				t.Fatal(err)
			}
			if diff := cmp.Diff(x.want, got.Spec); diff != "" {
				t.Errorf("command (-want +got):\n%s", diff)
			}
		})
	}
}
