package controller

import (
	"context"

	"sigs.k8s.io/controller-runtime/pkg/client"
	"sigs.k8s.io/controller-runtime/pkg/event"
	"sigs.k8s.io/controller-runtime/pkg/reconcile"

	"tidegate.io/tidegate/rollout/fence"
	"tidegate.io/tidegate/schemas/v1alpha1"
)

// first has a manager that begins look first at what cannot wait: Rollouts that move, and those
// of which somebody may have touched an object while there was no manager. All others are looked
// at too, as the other handlers say, but after these: the queue takes what is in the first list
// of a watch last.
type first struct {
	// owned finds the Rollouts that an object matters to.
	owned func(context.Context, client.Object) []reconcile.Request
}

// Create implements handler.EventHandler.
func (f first) Create(ctx context.Context, e event.CreateEvent, q templateQueue) {
	if !e.IsInInitialList {
		return
	}
	if rollout, ok := e.Object.(*v1alpha1.Rollout); ok {
		if !rollout.Status.Phase.Terminal() {
			q.Add(reconcile.Request{NamespacedName: client.ObjectKeyFromObject(rollout)})
		}
		return
	}
	if fence.Touched(e.Object, v1alpha1.FieldManager) {
		for _, request := range f.owned(ctx, e.Object) {
			q.Add(request)
		}
	}
}

// Update implements handler.EventHandler.
func (first) Update(context.Context, event.UpdateEvent, templateQueue) {}

// Delete implements handler.EventHandler.
func (first) Delete(context.Context, event.DeleteEvent, templateQueue) {}

// Generic implements handler.EventHandler.
func (first) Generic(context.Context, event.GenericEvent, templateQueue) {}
