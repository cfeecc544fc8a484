package controller

import (
	"context"

	apierrors "k8s.io/apimachinery/pkg/api/errors"
	metav1 "k8s.io/apimachinery/pkg/apis/meta/v1"
	"k8s.io/apimachinery/pkg/types"
	"sigs.k8s.io/controller-runtime/pkg/client"
	"sigs.k8s.io/controller-runtime/pkg/event"
	"sigs.k8s.io/controller-runtime/pkg/log"
	"sigs.k8s.io/controller-runtime/pkg/predicate"
	"sigs.k8s.io/controller-runtime/pkg/reconcile"

	"tidegate.io/tidegate/rollout/observe"
	"tidegate.io/tidegate/schemas/v1alpha1"
)

// ofCommand finds the Rollout that is to obey a command, or that was to and is gone.
func (l *rolloutLoop) ofCommand(ctx context.Context, obj client.Object) []reconcile.Request {
	command, ok := obj.(*v1alpha1.RolloutCommand)
	if !ok {
		return nil
	}
	if command.Status.Outcome != "" {
		key := client.ObjectKey{Namespace: command.Namespace, Name: command.Spec.Rollout}
		if err := l.client.Get(ctx, key, &v1alpha1.Rollout{}, client.UnsafeDisableDeepCopy); !apierrors.IsNotFound(err) {
			return nil
		}
	}
	return []reconcile.Request{{NamespacedName: client.ObjectKey{Namespace: command.Namespace, Name: command.Spec.Rollout}}}
}

func (l *rolloutLoop) ofSibling(ctx context.Context, obj client.Object) []reconcile.Request {
	rollout, ok := obj.(*v1alpha1.Rollout)
	if !ok {
		return nil
	}
	owner := metav1.GetControllerOf(rollout)
	if owner == nil {
		return nil
	}
	return l.awake(ctx, rollout.Namespace, rollout.Spec.Release, owner.UID)
}

// ofOwned finds the Rollouts that an object of a Release matters to.
func (l *rolloutLoop) ofOwned(ctx context.Context, obj client.Object) []reconcile.Request {
	owner := metav1.GetControllerOf(obj)
	if owner == nil || owner.Kind != "Release" || owner.APIVersion != v1alpha1.GroupVersion.String() {
		return nil
	}
	return l.awake(ctx, obj.GetNamespace(), owner.Name, owner.UID)
}

// ofListed finds the Rollouts of the Release whose pods an EndpointSlice lists.
func (l *rolloutLoop) ofListed(ctx context.Context, obj client.Object) []reconcile.Request {
	var release v1alpha1.Release
	key := client.ObjectKey{Namespace: obj.GetNamespace(), Name: obj.GetLabels()[v1alpha1.LabelRelease]}
	if err := l.client.Get(ctx, key, &release); err != nil {
		return nil // It is gone, or not told of yet; then its Rollout will be.
	}
	return l.awake(ctx, release.Namespace, release.Name, release.UID)
}

// listing leaves out what is there when a manager begins: the Rollouts are looked at as it is.
func listing() predicate.Predicate {
	return predicate.Funcs{CreateFunc: func(e event.CreateEvent) bool { return !e.IsInInitialList }}
}

// awake returns the Rollouts of a Release that may have something to do: those that have
// not ended, and the newest.
func (l *rolloutLoop) awake(ctx context.Context, namespace, release string, uid types.UID) []reconcile.Request {
	all, err := observe.Rollouts(ctx, l.client, namespace, release)
	if err != nil {
		log.FromContext(ctx).Error(err, "Cannot list the Rollouts of a Release", "release", release)
		return nil
	}
	rollouts := observe.Controlled(all, uid)
	var out []reconcile.Request
	for i := range rollouts {
		if i == len(rollouts)-1 || !rollouts[i].Status.Phase.Terminal() {
			out = append(out, reconcile.Request{NamespacedName: client.ObjectKeyFromObject(&rollouts[i])})
		}
	}
	return out
}
