package controller

import (
	"errors"
	"testing"
	"time"

	"github.com/google/go-cmp/cmp"
	metav1 "k8s.io/apimachinery/pkg/apis/meta/v1"
	"k8s.io/client-go/tools/events"
	testclock "k8s.io/utils/clock/testing"
	"sigs.k8s.io/controller-runtime/pkg/client"

	"tidegate.io/tidegate/rollout/apply"
	"tidegate.io/tidegate/rollout/plan"
	"tidegate.io/tidegate/schemas/v1alpha1"
)

// A set that cannot be made, as where a quota is used up, is tried again and again. Whoever pauses
// the Rollout meanwhile is not left without an answer.
func TestPeopleAreAnsweredThoughAnActionFails(t *testing.T) {
	t.Parallel()
	rollout := attempt(1, "one", v1alpha1.RolloutProgressing, ofRelease("uid"))
	command := &v1alpha1.RolloutCommand{
		ObjectMeta: metav1.ObjectMeta{Namespace: "shop", Name: "hold-on"},
		Spec:       v1alpha1.RolloutCommandSpec{Rollout: rollout.Name, Action: v1alpha1.CommandPause},
	}
	c := newCluster(t, &rollout, command)
	loop := &rolloutLoop{
		client: c, applier: apply.Applier{Writer: c, Live: c}, recorder: events.NewFakeRecorder(10), clock: testclock.NewFakePassiveClock(time.Unix(0, 0)),
	}
	target := &apply.Target{Release: &v1alpha1.Release{ObjectMeta: metav1.ObjectMeta{Name: "cart", Namespace: "shop", UID: "uid"}}, Rollout: &rollout}
	err := loop.act(t.Context(), target, []plan.Action{
		{Kind: plan.ActionEnsureSet, Role: plan.RoleCanary}, // there is nothing rendered to make it of
		{Kind: plan.ActionEnsureSet, Role: plan.RoleStable},
		{Kind: plan.ActionAnswer, Command: command.Name, Outcome: v1alpha1.OutcomeApplied, Message: "paused"},
	})
	if !errors.Is(err, apply.ErrNotRendered) {
		t.Errorf("the failure is %v", err)
	}
	if err := c.Get(t.Context(), client.ObjectKeyFromObject(command), command); err != nil {
		t.Fatal(err)
	}
	if command.Status.Outcome != v1alpha1.OutcomeApplied || command.Status.Message != "paused" {
		t.Errorf("the command is answered with %q: %q", command.Status.Outcome, command.Status.Message)
	}
}

// While a promotion drains, a roll-back waits for it, and another one may be given.
func TestOfTwoUndosTheOneThatWasGivenLastStays(t *testing.T) {
	t.Parallel()
	given := func(name, rollout string, second int64) *v1alpha1.RolloutCommand {
		return &v1alpha1.RolloutCommand{
			ObjectMeta: metav1.ObjectMeta{Namespace: "shop", Name: name, CreationTimestamp: metav1.Unix(second, 0)},
			Spec:       v1alpha1.RolloutCommandSpec{Rollout: rollout, Action: v1alpha1.CommandRollBack},
		}
	}
	k := newKeeper(t, []v1alpha1.Rollout{
		attempt(1, "one", v1alpha1.RolloutSucceeded, broughtBack("a-later")),
		attempt(2, "two", v1alpha1.RolloutSucceeded, broughtBack("b-first")),
		attempt(3, "three", v1alpha1.RolloutSucceeded, func(r *v1alpha1.Rollout) { r.Spec.ReleaseGeneration = 2 }),
	}, given("b-first", "cart-2", 10), given("a-later", "cart-1", 20))
	for range 3 {
		k.reconcile()
	}
	k.ends("cart-4", v1alpha1.RolloutSucceeded)
	for range 3 {
		k.reconcile()
	}
	if diff := cmp.Diff([]string{"cart-1 rev-one", "cart-2 rev-two", "cart-3 rev-three", "cart-4 rev-two", "cart-5 rev-one"}, k.names()); diff != "" {
		t.Errorf("the Rollouts (-want +got):\n%s", diff)
	}
}
