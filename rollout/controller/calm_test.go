package controller

import (
	"testing"

	"tidegate.io/tidegate/rollout/plan"
	"tidegate.io/tidegate/schemas/v1alpha1"
)

func TestWhatAReleaseIsToShowAtOnce(t *testing.T) {
	t.Parallel()
	began := func(s *v1alpha1.RolloutStatus) { s.Phase = v1alpha1.RolloutProgressing }
	for name, c := range map[string]struct {
		was    v1alpha1.RolloutPhase
		change func(*v1alpha1.RolloutStatus)
		want   bool
	}{
		"another weight can wait":       {"", func(s *v1alpha1.RolloutStatus) { s.Weight, s.Step = 50, 3 }, false},
		"another message can":           {"", func(s *v1alpha1.RolloutStatus) { s.Message = "x" }, false},
		"that it has begun can":         {v1alpha1.RolloutPending, began, false},
		"the last step passed can":      {"", func(s *v1alpha1.RolloutStatus) { s.Phase = v1alpha1.RolloutPromoting }, false},
		"an abort cannot":               {"", func(s *v1alpha1.RolloutStatus) { s.Phase = v1alpha1.RolloutAborting }, true},
		"the end cannot":                {"", func(s *v1alpha1.RolloutStatus) { s.Phase = v1alpha1.RolloutSucceeded }, true},
		"a pause cannot":                {"", func(s *v1alpha1.RolloutStatus) { s.Paused = true }, true},
		"a wait for a person cannot":    {"", func(s *v1alpha1.RolloutStatus) { s.Reason = plan.ReasonHoldApproval }, true},
		"what a person asks for cannot": {"", func(s *v1alpha1.RolloutStatus) { s.Retried = &v1alpha1.Approval{Command: "c"} }, true},
		"neither can a return":          {"", func(s *v1alpha1.RolloutStatus) { s.Restored = &v1alpha1.Approval{Command: "c"} }, true},
	} {
		t.Run(name, func(t *testing.T) {
			t.Parallel()
			was := &v1alpha1.Rollout{Status: holding()}
			if was.Status.Phase = c.was; c.was == "" {
				was.Status.Phase = v1alpha1.RolloutProgressing
			}
			is := was.DeepCopy()
			c.change(&is.Status)
			if got := urgent(was, is); got != c.want {
				t.Errorf("urgent is %t, want %t", got, c.want)
			}
		})
	}
}
