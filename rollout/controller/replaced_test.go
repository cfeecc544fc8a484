package controller

import (
	"testing"

	metav1 "k8s.io/apimachinery/pkg/apis/meta/v1"

	"tidegate.io/tidegate/rollout/manifest"
	"tidegate.io/tidegate/rollout/observe"
	"tidegate.io/tidegate/rollout/plan"
	"tidegate.io/tidegate/schemas/v1alpha1"
)

func TestARolloutThatWasReplacedRepairsNothing(t *testing.T) {
	t.Parallel()
	release := &v1alpha1.Release{ObjectMeta: metav1.ObjectMeta{Name: "cart", Namespace: "shop", UID: "u"}}
	rollout := func(number int64, phase v1alpha1.RolloutPhase) *v1alpha1.Rollout {
		return &v1alpha1.Rollout{
			ObjectMeta: metav1.ObjectMeta{Name: rolloutName("cart", number), Namespace: "shop", OwnerReferences: []metav1.OwnerReference{manifest.Owner(release)}},
			Spec:       v1alpha1.RolloutSpec{Release: "cart", Number: number},
			Status:     v1alpha1.RolloutStatus{Phase: phase},
		}
	}
	repair := []plan.Action{{Kind: plan.ActionEnsureSet, Role: plan.RoleCanary}}
	for name, c := range map[string]struct {
		phase   v1alpha1.RolloutPhase
		newest  int64
		actions []plan.Action
		want    bool
	}{
		"one that has ended and is the newest puts right what was changed": {v1alpha1.RolloutSucceeded, 1, repair, false},
		"one that another manager has replaced meanwhile does not":         {v1alpha1.RolloutSucceeded, 2, repair, true},
		"nor does one that was aborted":                                    {v1alpha1.RolloutAborted, 2, repair, true},
		"it answers commands all the same": {
			v1alpha1.RolloutSucceeded, 2,
			[]plan.Action{{Kind: plan.ActionAnswer}},
			false,
		},
		"one under way conflicts by itself": {v1alpha1.RolloutProgressing, 2, repair, false},
	} {
		t.Run(name, func(t *testing.T) {
			t.Parallel()
			c1 := newCluster(t, rollout(1, c.phase))
			if c.newest == 2 {
				c1 = newCluster(t, rollout(1, c.phase), rollout(2, v1alpha1.RolloutSucceeded))
			}
			loop := &rolloutLoop{live: observe.Reader{Live: c1}}
			// The cache knows of the first alone.
			subject := &observe.Subject{Release: release, Rollout: rollout(1, c.phase), Siblings: []v1alpha1.Rollout{*rollout(1, c.phase)}}
			got, err := loop.replaced(t.Context(), subject, plan.Decision{Actions: c.actions})
			if err != nil {
				t.Fatal(err)
			}
			if got != c.want {
				t.Errorf("replaced is %t, want %t", got, c.want)
			}
		})
	}
}
