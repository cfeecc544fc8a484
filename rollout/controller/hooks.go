package controller

import (
	"context"
	"errors"
	"fmt"

	"k8s.io/client-go/util/workqueue"
	"sigs.k8s.io/controller-runtime/pkg/client"
	"sigs.k8s.io/controller-runtime/pkg/reconcile"
	"sigs.k8s.io/controller-runtime/pkg/source"

	"tidegate.io/tidegate/rollout/plan"
	"tidegate.io/tidegate/schemas/v1alpha1"
)

// Hooks calls the hooks of Rollouts. Its methods return at once.
type Hooks interface {
	// Call begins a call, unless that very call is known already.
	Call(rollout *v1alpha1.Rollout, which plan.Call)
	// Answers are what is known of the calls of a Rollout.
	Answers(rollout *v1alpha1.Rollout) []plan.Answer
	// Settle forgets, and ends, the calls that the status does not wait for any more.
	Settle(rollout *v1alpha1.Rollout)
	// Forget forgets, and ends, all calls of a Rollout that is no more.
	Forget(key client.ObjectKey)
	// OnAnswer sets who is told of each Rollout that has a new answer.
	OnAnswer(tell func(client.ObjectKey))
}

// errNoHooks is: the manager was set up without what calls hooks.
var errNoHooks = errors.New("this manager calls no hooks")

// noHooks calls nobody.
type noHooks struct{}

func (noHooks) Call(*v1alpha1.Rollout, plan.Call)       {}
func (noHooks) Answers(*v1alpha1.Rollout) []plan.Answer { return nil }
func (noHooks) Settle(*v1alpha1.Rollout)                {}
func (noHooks) Forget(client.ObjectKey)                 {}
func (noHooks) OnAnswer(func(client.ObjectKey))         {}

// answers enqueues a Rollout when one of its calls is answered.
func answers(hooks Hooks) source.Source {
	return source.Func(func(_ context.Context, queue workqueue.TypedRateLimitingInterface[reconcile.Request]) error {
		hooks.OnAnswer(func(key client.ObjectKey) { queue.Add(reconcile.Request{NamespacedName: key}) })
		return nil
	})
}

// callHook begins a call.
func (l *rolloutLoop) callHook(rollout *v1alpha1.Rollout, which plan.Call) error {
	if _, none := l.hooks.(noHooks); none {
		return fmt.Errorf("calling the hook %s of Rollout %s: %w", which.Hook, rollout.Name, errNoHooks)
	}
	l.hooks.Call(rollout, which)
	return nil
}

// tells says whether a Rollout has calls to make or to hear of, though it may have ended.
func tells(rollout *v1alpha1.Rollout) bool {
	for i := range rollout.Status.Checks {
		c := &rollout.Status.Checks[i]
		if c.Hook != "" && c.Event == v1alpha1.HookRollback && c.Outcome == v1alpha1.CheckPending {
			return true
		}
	}
	return false
}
