package controller

import (
	"context"
	"time"

	metav1 "k8s.io/apimachinery/pkg/apis/meta/v1"
	"sigs.k8s.io/controller-runtime/pkg/client"
	"sigs.k8s.io/controller-runtime/pkg/event"
	"sigs.k8s.io/controller-runtime/pkg/reconcile"

	"tidegate.io/tidegate/rollout/plan"
	"tidegate.io/tidegate/schemas/v1alpha1"
)

// toldEvery is how often a Release is brought up to date with a Rollout in which nothing happens that
// somebody waits for.
const toldEvery = 3 * time.Second

// calm enqueues the Release of a Rollout that has changed: at once where the change is one
// of phase, or something that a person waits for, and else after a moment, so that the
// steps of a fast rollout are not as many writes to its Release.
type calm struct{}

func releaseOf(o client.Object) (reconcile.Request, bool) {
	owner := metav1.GetControllerOf(o)
	if owner == nil || owner.Kind != "Release" || owner.APIVersion != v1alpha1.GroupVersion.String() {
		return reconcile.Request{}, false
	}
	return reconcile.Request{NamespacedName: client.ObjectKey{Namespace: o.GetNamespace(), Name: owner.Name}}, true
}

func add(o client.Object, q templateQueue) {
	if request, ok := releaseOf(o); ok {
		q.Add(request)
	}
}

// Create implements handler.EventHandler. When a manager begins, Releases whose Rollouts have ended
// are looked at because they are there themselves, which is soon enough. Of a Rollout that was just
// made its Release is told by who made it.
func (calm) Create(_ context.Context, e event.CreateEvent, q templateQueue) {
	rollout, ok := e.Object.(*v1alpha1.Rollout)
	request, owned := releaseOf(e.Object)
	switch {
	case !owned || ok && e.IsInInitialList && rollout.Status.Phase.Terminal():
	case ok && !e.IsInInitialList && rollout.Status.Phase == "":
		q.AddAfter(request, toldEvery)
	default:
		q.Add(request)
	}
}

// Delete implements handler.EventHandler.
func (calm) Delete(_ context.Context, e event.DeleteEvent, q templateQueue) { add(e.Object, q) }

// Generic implements handler.EventHandler.
func (calm) Generic(_ context.Context, e event.GenericEvent, q templateQueue) { add(e.Object, q) }

// Update implements handler.EventHandler.
func (calm) Update(_ context.Context, e event.UpdateEvent, q templateQueue) {
	was, okWas := e.ObjectOld.(*v1alpha1.Rollout)
	is, okIs := e.ObjectNew.(*v1alpha1.Rollout)
	request, owned := releaseOf(e.ObjectNew)
	switch {
	case !owned:
	case !okWas || !okIs || urgent(was, is):
		q.Add(request)
	default:
		q.AddAfter(request, toldEvery)
	}
}

// urgent says whether a change of a Rollout is to be seen in its Release at once. That it has
// begun is not: the Release has said that it is there when it was made.
func urgent(was, is *v1alpha1.Rollout) bool {
	person := func(r *v1alpha1.Rollout) bool {
		return r.Status.Paused || r.Status.Reason == plan.ReasonHoldApproval
	}
	phase := is.Status.Phase
	quiet := phase == v1alpha1.RolloutPending || phase == v1alpha1.RolloutProgressing || phase == v1alpha1.RolloutPromoting
	return was.Status.Phase != phase && !quiet || person(was) != person(is) ||
		was.Status.Retried == nil && is.Status.Retried != nil ||
		is.Status.Restored != nil && (was.Status.Restored == nil || *was.Status.Restored != *is.Status.Restored) ||
		was.DeletionTimestamp.IsZero() != is.DeletionTimestamp.IsZero()
}
