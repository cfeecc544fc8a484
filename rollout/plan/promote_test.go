package plan_test

import (
	"testing"
	"time"

	"tidegate.io/tidegate/rollout/plan"
	"tidegate.io/tidegate/schemas/v1alpha1"
)

// A policy may want another person than the one who promoted the Rollout first; after that no
// step is left in which somebody could approve it.
func TestASecondPersonWhoPromotesCountsAsOneWhoApproves(t *testing.T) {
	t.Parallel()
	for name, c := range map[string]struct {
		actor string
		want  int
	}{
		"another person counts":                {"bob", 1},
		"who promoted it first counts no more": {"alice", 0},
	} {
		t.Run(name, func(t *testing.T) {
			t.Parallel()
			o := plan.Observation{
				Spec: v1alpha1.RolloutSpec{
					Revision: "bbbbbbbbbb", Replicas: 1, Stable: &v1alpha1.StableReference{Revision: "aaaaaaaaaa", Replicas: 1},
					Strategy: v1alpha1.Strategy{Type: v1alpha1.StrategyCanary, Steps: []v1alpha1.Step{{Pause: &v1alpha1.Pause{Approval: true}}}},
				},
				Status: v1alpha1.RolloutStatus{
					Phase: v1alpha1.RolloutProgressing, Step: 1, Promoted: &v1alpha1.Approval{Step: 1, Actor: "alice", Command: "first"},
				},
				Commands: []plan.Command{{Name: "second", Action: v1alpha1.CommandPromote, Actor: c.actor}},
			}
			d := plan.Next(o, time.Unix(100, 0))
			if got := len(d.Status.Approvals); got != c.want {
				t.Errorf("%d approvals, want %d: %+v", got, c.want, d.Status.Approvals)
			}
			if d.Status.Promoted == nil || d.Status.Promoted.Actor != "alice" {
				t.Errorf("promoted by %+v", d.Status.Promoted)
			}
		})
	}
}
