package controller

import (
	"fmt"
	"slices"
	"testing"

	metav1 "k8s.io/apimachinery/pkg/apis/meta/v1"
	"k8s.io/client-go/tools/events"

	"tidegate.io/tidegate/rollout/plan"
	"tidegate.io/tidegate/schemas/v1alpha1"
)

// heard notes what it is told.
type heard struct{ told []string }

func (h *heard) Tell(before *v1alpha1.RolloutStatus, rollout *v1alpha1.Rollout, labels map[string]string) {
	h.told = append(h.told, fmt.Sprintf("%s to %s of %s", before.Reason, rollout.Status.Reason, labels["team"]))
}

func (h *heard) TellStep(_ *v1alpha1.Rollout, labels map[string]string, step int32, text, sink string) {
	h.told = append(h.told, fmt.Sprintf("step %d to %q: %s of %s", step, sink, text, labels["team"]))
}

func TestPeopleAreToldOfWhatWasWritten(t *testing.T) {
	release := &v1alpha1.Release{ObjectMeta: metav1.ObjectMeta{Namespace: "shop", Name: "cart", Labels: map[string]string{"team": "payments"}}}
	half := int32(50)
	steps := []v1alpha1.Step{
		{SetWeight: &half},
		{Notify: &v1alpha1.NotifyStep{Message: "half", Sink: "oncall"}},
		{Notify: &v1alpha1.NotifyStep{Message: "still half"}},
		{Analyze: &v1alpha1.Analyze{}},
	}
	at := func(step int32, reason string) v1alpha1.RolloutStatus {
		return v1alpha1.RolloutStatus{Phase: v1alpha1.RolloutProgressing, Step: step, Reason: reason}
	}
	promoted := at(4, plan.ReasonStepApproved)
	promoted.Promoted = &v1alpha1.Approval{}
	for name, c := range map[string]struct {
		before, after v1alpha1.RolloutStatus
		there         bool
		told          []string
	}{
		"a change, with the labels of the Release":   {at(1, plan.ReasonStepApproved), at(1, plan.ReasonStepBegun), true, []string{"TG-STEP-APPROVED to TG-STEP-BEGUN of payments"}},
		"what only changes its sentence is no news":  {at(1, plan.ReasonHoldPods), at(1, plan.ReasonHoldPods), true, nil},
		"a step that says something":                 {at(1, plan.ReasonStepBegun), at(2, plan.ReasonStepReached), true, []string{"TG-STEP-BEGUN to TG-STEP-REACHED of payments", `step 2 to "oncall": half of payments`}},
		"all steps that were come to":                {at(1, plan.ReasonStepBegun), at(4, plan.ReasonStepReached), true, []string{"TG-STEP-BEGUN to TG-STEP-REACHED of payments", `step 2 to "oncall": half of payments`, `step 3 to "": still half of payments`}},
		"what a promotion passes over says nothing":  {at(1, plan.ReasonStepBegun), promoted, true, []string{"TG-STEP-BEGUN to TG-STEP-APPROVED of payments"}},
		"falling back says nothing of steps":         {at(3, plan.ReasonStepReached), at(2, plan.ReasonFallbackPods), true, []string{"TG-STEP-REACHED to TG-FALLBACK-PODS of payments"}},
		"a Release that is gone has no labels":       {at(1, plan.ReasonStepApproved), at(1, plan.ReasonStepBegun), false, []string{"TG-STEP-APPROVED to TG-STEP-BEGUN of "}},
		"a step that there is not says nothing":      {at(4, plan.ReasonStepBegun), at(5, plan.ReasonStepReached), true, []string{"TG-STEP-BEGUN to TG-STEP-REACHED of payments"}},
		"the first of all changes is of nothing yet": {v1alpha1.RolloutStatus{}, at(0, plan.ReasonBegun), true, []string{" to TG-BEGUN of payments"}},
	} {
		t.Run(name, func(t *testing.T) {
			rollout := &v1alpha1.Rollout{
				ObjectMeta: metav1.ObjectMeta{Namespace: "shop", Name: "cart-1"},
				Spec:       v1alpha1.RolloutSpec{Release: "cart", Strategy: v1alpha1.Strategy{Steps: steps}},
				Status:     c.after,
			}
			cluster := newCluster(t, rollout)
			if c.there {
				cluster = newCluster(t, rollout, release)
			}
			h := &heard{}
			l := &rolloutLoop{client: cluster, recorder: events.NewFakeRecorder(10), notifier: h}
			l.announce(t.Context(), rollout, &c.before)
			if !slices.Equal(h.told, c.told) {
				t.Errorf("wanted %q, got %q", c.told, h.told)
			}
			// Nobody to tell is no trouble.
			(&rolloutLoop{client: cluster, recorder: events.NewFakeRecorder(10)}).announce(t.Context(), rollout, &c.before)
		})
	}
}
