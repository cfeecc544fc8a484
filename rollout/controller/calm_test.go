package controller

import (
	"testing"

	metav1 "k8s.io/apimachinery/pkg/apis/meta/v1"
	"k8s.io/client-go/util/workqueue"
	"sigs.k8s.io/controller-runtime/pkg/event"
	"sigs.k8s.io/controller-runtime/pkg/reconcile"

	"tidegate.io/tidegate/rollout/manifest"
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

func TestWhenAReleaseIsToldOfARolloutThatAppears(t *testing.T) {
	t.Parallel()
	for name, c := range map[string]struct {
		phase   v1alpha1.RolloutPhase
		initial bool
		orphan  bool
		want    int
	}{
		"just made: later, who made it has told":        {"", false, false, 0},
		"with a status, as after a watch that was lost": {v1alpha1.RolloutProgressing, false, false, 1},
		"when a manager begins":                         {v1alpha1.RolloutProgressing, true, false, 1},
		"when a manager begins, not looked at yet":      {"", true, false, 1},
		"when a manager begins and it has ended":        {v1alpha1.RolloutSucceeded, true, false, 0},
		"of no Release":                                 {v1alpha1.RolloutProgressing, true, true, 0},
	} {
		t.Run(name, func(t *testing.T) {
			t.Parallel()
			queue := workqueue.NewTypedRateLimitingQueue(workqueue.DefaultTypedControllerRateLimiter[reconcile.Request]())
			defer queue.ShutDown()
			rollout := &v1alpha1.Rollout{ObjectMeta: metav1.ObjectMeta{Namespace: "shop", Name: "cart-2"}, Status: v1alpha1.RolloutStatus{Phase: c.phase}}
			if !c.orphan {
				rollout.OwnerReferences = []metav1.OwnerReference{manifest.Owner(&v1alpha1.Release{ObjectMeta: metav1.ObjectMeta{Name: "cart"}})}
			}
			calm{}.Create(t.Context(), event.CreateEvent{Object: rollout, IsInInitialList: c.initial}, queue)
			if got := queue.Len(); got != c.want {
				t.Errorf("wanted %d requests at once, found %d", c.want, got)
			}
		})
	}
}
