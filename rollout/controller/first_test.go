package controller

import (
	"context"
	"testing"
	"time"

	appsv1 "k8s.io/api/apps/v1"
	metav1 "k8s.io/apimachinery/pkg/apis/meta/v1"
	"k8s.io/client-go/util/workqueue"
	"sigs.k8s.io/controller-runtime/pkg/client"
	"sigs.k8s.io/controller-runtime/pkg/event"
	"sigs.k8s.io/controller-runtime/pkg/reconcile"

	"tidegate.io/tidegate/schemas/v1alpha1"
)

func TestWhatAManagerThatBeginsLooksAtFirst(t *testing.T) {
	t.Parallel()
	then := metav1.NewTime(time.Unix(100, 0))
	applied := metav1.ManagedFieldsEntry{Manager: v1alpha1.FieldManager, Operation: metav1.ManagedFieldsOperationApply, Time: &then}
	scaled := metav1.ManagedFieldsEntry{Manager: "kubectl", Operation: metav1.ManagedFieldsOperationUpdate, Time: &then}
	deployment := func(entries ...metav1.ManagedFieldsEntry) client.Object {
		return &appsv1.Deployment{ObjectMeta: metav1.ObjectMeta{Name: "cart", ManagedFields: entries}}
	}
	in := func(phase v1alpha1.RolloutPhase) client.Object {
		r := attempt(2, "two", phase, ofRelease("uid-1"))
		return &r
	}
	for name, c := range map[string]struct {
		object client.Object
		later  bool
		// want and release are how many Rollouts, and Releases, are looked at.
		want, release int
	}{
		"a Rollout that moves":                {object: in(v1alpha1.RolloutProgressing), want: 1, release: 1},
		"one that has not begun":              {object: in(""), want: 1, release: 1},
		"not one that has ended":              {object: in(v1alpha1.RolloutSucceeded)},
		"a workload that somebody touched":    {object: deployment(applied, scaled), want: 1},
		"not one that is as it was applied":   {object: deployment(applied)},
		"not what comes to be later, by this": {object: deployment(applied, scaled), later: true},
		"a Rollout that ends later is news":   {object: in(v1alpha1.RolloutSucceeded), later: true, release: 1},
	} {
		t.Run(name, func(t *testing.T) {
			t.Parallel()
			owned := func(context.Context, client.Object) []reconcile.Request { return make([]reconcile.Request, 1) }
			e := event.CreateEvent{Object: c.object, IsInInitialList: !c.later}
			rollouts, releases := emptyQueue(t), emptyQueue(t)
			(first{owned}).Create(t.Context(), e, rollouts)
			if rollouts.Len() != c.want {
				t.Errorf("%d Rollouts are looked at first, want %d", rollouts.Len(), c.want)
			}
			(calm{}).Create(t.Context(), e, releases)
			if releases.Len() != c.release {
				t.Errorf("%d Releases are looked at, want %d", releases.Len(), c.release)
			}
		})
	}
}

func emptyQueue(t *testing.T) templateQueue {
	t.Helper()
	q := workqueue.NewTypedRateLimitingQueue(workqueue.DefaultTypedControllerRateLimiter[reconcile.Request]())
	t.Cleanup(q.ShutDown)
	return q
}
