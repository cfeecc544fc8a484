package controller

import (
	"context"
	"fmt"
	"time"

	apierrors "k8s.io/apimachinery/pkg/api/errors"
	metav1 "k8s.io/apimachinery/pkg/apis/meta/v1"
	"k8s.io/apimachinery/pkg/apis/meta/v1/unstructured"
	"sigs.k8s.io/controller-runtime/pkg/client"
	"sigs.k8s.io/controller-runtime/pkg/log"

	"tidegate.io/tidegate/rollout/observe"
	"tidegate.io/tidegate/schemas/v1alpha1"
)

// decided records a status that rests on a world. Where it allows less than before, what carries the exposure is
// turned back first.
func (l *rolloutLoop) decided(ctx context.Context, rollout *v1alpha1.Rollout, status v1alpha1.RolloutStatus, world *observe.World, now time.Time) (*v1alpha1.Rollout, error) {
	if err := l.turnBack(ctx, rollout, status, world); err != nil {
		return nil, err
	}
	return l.record(ctx, rollout, status, now)
}

// turnBack makes what carries the exposure another version before it is recorded that less is allowed than before. Another
// manager may have been held up at the write of what was allowed, and nothing else makes that write fail: the
// exposure that it would raise is not there yet, so that there is none to take away.
//
// A conflict says that it was written meanwhile, such as by that manager, or that the cache is behind. A fall to a step before
// is decided anew then. An abort waits for nothing: it is turned back as the API server has it, and whatever
// comes of that, the abort is recorded; an exposure that comes late is taken away when it is seen.
func (l *rolloutLoop) turnBack(ctx context.Context, rollout *v1alpha1.Rollout, status v1alpha1.RolloutStatus, world *observe.World) error {
	if !allowsLess(rollout.Status, status) {
		return nil
	}
	for _, carrier := range []**unstructured.Unstructured{&world.Route, &world.Workload} {
		if *carrier == nil || !belongs(*carrier, rollout) {
			continue
		}
		renewed, err := l.applier.Renew(ctx, *carrier, rollout)
		if apierrors.IsConflict(err) && aborts(status) {
			renewed, err = l.renewLive(ctx, *carrier, rollout)
		}
		switch {
		case err == nil:
			world.Seen.Renewed(renewed)
			*carrier = renewed
		case aborts(status):
			log.FromContext(ctx).Error(err, "Less is allowed all the same")
		case apierrors.IsNotFound(err):
			return fmt.Errorf("acting for Rollout %s/%s: %w: %w", rollout.Namespace, rollout.Name, errOvertaken, err)
		case apierrors.IsConflict(err):
			return err //nolint:wrapcheck // says what it did
		default:
			log.FromContext(ctx).Error(err, "Less is allowed all the same")
		}
	}
	return nil
}

// renewLive turns back a carrier as the API server has it, once.
func (l *rolloutLoop) renewLive(ctx context.Context, carrier *unstructured.Unstructured, rollout *v1alpha1.Rollout) (*unstructured.Unstructured, error) {
	live := &unstructured.Unstructured{}
	live.SetGroupVersionKind(carrier.GroupVersionKind())
	if err := l.live.Live.Get(ctx, client.ObjectKeyFromObject(carrier), live); err != nil {
		return nil, fmt.Errorf("reading %s %s/%s: %w", carrier.GetKind(), carrier.GetNamespace(), carrier.GetName(), err)
	}
	if live.GetUID() != carrier.GetUID() {
		return nil, fmt.Errorf("turning back %s %s/%s: %w", carrier.GetKind(), carrier.GetNamespace(), carrier.GetName(), errOvertaken)
	}
	return l.applier.Renew(ctx, live, rollout) //nolint:wrapcheck // says what it did
}

// belongs says whether an object is of the Release of a Rollout: what somebody else has made under the name is left alone.
func belongs(obj *unstructured.Unstructured, rollout *v1alpha1.Rollout) bool {
	owner, release := metav1.GetControllerOf(obj), metav1.GetControllerOf(rollout)
	if owner == nil || release == nil {
		return obj.GetLabels()[v1alpha1.LabelRelease] == rollout.Spec.Release
	}
	return owner.UID == release.UID
}

func aborts(is v1alpha1.RolloutStatus) bool {
	return is.Phase == v1alpha1.RolloutAborting || is.Phase == v1alpha1.RolloutAborted
}

// allowsLess says whether a Rollout that has been allowed some exposure is allowed less of it. Where none
// was allowed there is no write that could raise it.
func allowsLess(was, is v1alpha1.RolloutStatus) bool {
	open := was.Phase == v1alpha1.RolloutProgressing || was.Phase == v1alpha1.RolloutPromoting
	return open && was.ApprovedAt != nil && (aborts(is) || is.ApprovedWeight < was.ApprovedWeight || is.Step < was.Step)
}
