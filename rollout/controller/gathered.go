package controller

import (
	"context"
	"time"

	"k8s.io/apimachinery/pkg/api/equality"
	"k8s.io/client-go/util/workqueue"
	"sigs.k8s.io/controller-runtime/pkg/client"
	"sigs.k8s.io/controller-runtime/pkg/event"
	"sigs.k8s.io/controller-runtime/pkg/reconcile"

	"tidegate.io/tidegate/schemas/v1alpha1"
)

// gatherDelay is how long news of Releases is gathered before their template is looked at:
// short for a person, long for thousands of Releases that change at once.
const gatherDelay = 50 * time.Millisecond

// gathered enqueues the template of a Release in which something has changed that its sync
// looks at.
type gathered struct{ delay time.Duration }

type templateQueue = workqueue.TypedRateLimitingInterface[reconcile.Request]

func (g gathered) add(ctx context.Context, o client.Object, q templateQueue) {
	for _, request := range templateOf(ctx, o) {
		q.AddAfter(request, g.delay)
	}
}

// Create implements handler.EventHandler.
func (g gathered) Create(ctx context.Context, e event.CreateEvent, q templateQueue) {
	g.add(ctx, e.Object, q)
}

// Delete implements handler.EventHandler.
func (g gathered) Delete(ctx context.Context, e event.DeleteEvent, q templateQueue) {
	g.add(ctx, e.Object, q)
}

// Generic implements handler.EventHandler.
func (g gathered) Generic(ctx context.Context, e event.GenericEvent, q templateQueue) {
	g.add(ctx, e.Object, q)
}

// Update implements handler.EventHandler.
func (g gathered) Update(ctx context.Context, e event.UpdateEvent, q templateQueue) {
	was, okWas := e.ObjectOld.(*v1alpha1.Release)
	is, okIs := e.ObjectNew.(*v1alpha1.Release)
	if !okWas || !okIs || !news(was, is) {
		return
	}
	g.add(ctx, is, q)
	if was.Spec.Template.Name != is.Spec.Template.Name {
		g.add(ctx, was, q)
	}
}

// news says whether something has changed that the sync looks at.
func news(was, is *v1alpha1.Release) bool {
	return !equality.Semantic.DeepEqual(watched(was), watched(is))
}

// watched is what the sync looks at in a Release. Not its step and weight, which change
// often.
func watched(r *v1alpha1.Release) v1alpha1.Release {
	out := v1alpha1.Release{Spec: v1alpha1.ReleaseSpec{Template: r.Spec.Template}}
	out.Generation, out.Labels, out.DeletionTimestamp = r.Generation, r.Labels, r.DeletionTimestamp
	s := &r.Status
	out.Status = v1alpha1.ReleaseStatus{
		ObservedGeneration: s.ObservedGeneration, Phase: s.Phase, Assigned: s.Assigned, TemplateRevision: s.TemplateRevision,
		Tried: s.Tried, StableRollout: s.StableRollout, Rollout: s.Rollout,
	}
	if drifted(r) {
		out.Status.Message = conditionDrift
	}
	return out
}
