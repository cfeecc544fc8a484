package controller

import (
	"errors"
	"testing"

	"k8s.io/client-go/util/workqueue"
	"sigs.k8s.io/controller-runtime/pkg/client"
	"sigs.k8s.io/controller-runtime/pkg/reconcile"

	"tidegate.io/tidegate/rollout/apply"
	"tidegate.io/tidegate/rollout/plan"
	"tidegate.io/tidegate/schemas/v1alpha1"
)

// heldHooks keeps what it is told.
type heldHooks struct {
	noHooks
	called []plan.Call
	tell   func(client.ObjectKey)
}

func (h *heldHooks) Call(_ *v1alpha1.Rollout, which plan.Call) { h.called = append(h.called, which) }
func (h *heldHooks) OnAnswer(tell func(client.ObjectKey))      { h.tell = tell }

func TestCallHook(t *testing.T) {
	target := &apply.Target{Rollout: &v1alpha1.Rollout{}}
	action := plan.Action{Kind: plan.ActionCallHook, Call: plan.Call{Hook: "smoke", Try: 2}}
	hooks := &heldHooks{}
	if err := (&rolloutLoop{hooks: hooks}).execute(t.Context(), target, action); err != nil || len(hooks.called) != 1 || hooks.called[0] != action.Call {
		t.Errorf("found %v, %v", hooks.called, err)
	}
	if err := (&rolloutLoop{hooks: noHooks{}}).execute(t.Context(), target, action); !errors.Is(err, errNoHooks) {
		t.Errorf("without hooks: %v", err)
	}
}

func TestAnAnswerHasItsRolloutLookedAt(t *testing.T) {
	hooks := &heldHooks{}
	queue := workqueue.NewTypedRateLimitingQueue(workqueue.DefaultTypedControllerRateLimiter[reconcile.Request]())
	defer queue.ShutDown()
	if err := answers(hooks).Start(t.Context(), queue); err != nil {
		t.Fatal(err)
	}
	key := client.ObjectKey{Namespace: "shop", Name: "cart-2"}
	hooks.tell(key)
	if got, _ := queue.Get(); got.NamespacedName != key {
		t.Errorf("found %s", got)
	}
}

func TestARolloutThatHasEndedStillTellsOfItsAbort(t *testing.T) {
	check := func(hook string, event v1alpha1.HookEvent, outcome v1alpha1.CheckOutcome) v1alpha1.Check {
		return v1alpha1.Check{Hook: hook, Event: event, Outcome: outcome}
	}
	for name, c := range map[string]struct {
		check v1alpha1.Check
		want  bool
	}{
		"the hook about the abort is open": {check("desk", v1alpha1.HookRollback, v1alpha1.CheckPending), true},
		"it was answered":                  {check("desk", v1alpha1.HookRollback, v1alpha1.CheckPassed), false},
		"another was open":                 {check("desk", v1alpha1.HookStepEvent, v1alpha1.CheckPending), false},
		"a job was open":                   {v1alpha1.Check{Job: "j", Outcome: v1alpha1.CheckPending}, false},
	} {
		r := &v1alpha1.Rollout{Status: v1alpha1.RolloutStatus{Phase: v1alpha1.RolloutAborted, Checks: []v1alpha1.Check{c.check}}}
		if got := tells(r); got != c.want {
			t.Errorf("%s: %t", name, got)
		}
	}
}
