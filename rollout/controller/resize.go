package controller

import (
	"context"
	"fmt"
	"slices"

	corev1 "k8s.io/api/core/v1"
	apierrors "k8s.io/apimachinery/pkg/api/errors"
	metav1 "k8s.io/apimachinery/pkg/apis/meta/v1"
	"sigs.k8s.io/controller-runtime/pkg/client"
	"sigs.k8s.io/controller-runtime/pkg/log"

	"tidegate.io/tidegate/rollout/manifest"
	"tidegate.io/tidegate/rollout/observe"
	"tidegate.io/tidegate/rollout/plan"
	"tidegate.io/tidegate/schemas/render"
	"tidegate.io/tidegate/schemas/v1alpha1"
)

// A change of nothing but numbers of pods does not begin a Rollout anew: the one that is under
// way takes the size. That is one write, on the version that was read. A manager that dies before
// it has done nothing, and of two managers the second finds it done.

// perhapsResized says, as far as can be told without rendering, whether the wish is what the newest
// Rollout is about, in another size. An older generation, or the inputs that were judged, ask for
// nothing.
func perhapsResized(w wish, rollouts []v1alpha1.Rollout) bool {
	if len(rollouts) == 0 {
		return false
	}
	newest := &rollouts[len(rollouts)-1]
	spec := newest.Spec
	return newest.Annotations[v1alpha1.AnnotationAdopted] == "" && w.release.Generation > newest.AdmittedAt() &&
		spec.TemplateRevision == w.templateRevision && spec.Revision == w.result.Revision && spec.Digest != w.result.Digest &&
		plan.Resizable(spec, newest.Status, w.result.Replicas)
}

// resize gives the newest Rollout the size that the wish asks for, and says whether it did. It does
// not where anything but a size has changed.
func (l *releaseLoop) resize(ctx context.Context, w wish, rep *report) (bool, error) {
	if !perhapsResized(w, rep.rollouts) {
		return false, nil
	}
	// The cache says so. Before anything is changed, ask the API server.
	all, err := observe.Rollouts(ctx, l.live, w.release.Namespace, w.release.Name)
	if err != nil {
		return false, err
	}
	rep.rollouts = observe.Controlled(all, w.release.UID)
	if !perhapsResized(w, rep.rollouts) {
		return false, nil
	}
	newest := &rep.rollouts[len(rep.rollouts)-1]
	judged, err := renderPinned(ctx, l.renderer, l.client, newest)
	if cause, _ := causeOf(err); cause != nil || err == nil && !render.SameButSizes(judged, w.result) {
		return false, nil
	}
	if err != nil {
		return false, err
	}
	stays, err := l.scalesItself(ctx, newest, judged, rep.rollouts)
	if err != nil {
		return false, err
	}
	updated := newest.DeepCopy()
	updated.Spec = plan.Resized(newest.Spec, plan.Size{
		Generation: w.release.Generation, Values: w.release.Spec.Values, Digest: w.result.Digest, Replicas: w.result.Replicas,
		StableStays: stays, At: metav1.NewTime(l.clock.Now()),
	})
	switch err := l.client.Update(ctx, updated, client.FieldOwner(v1alpha1.FieldManager)); {
	case apierrors.IsInvalid(err):
		// The CustomResourceDefinitions are older than the manager: another Rollout is made, as then.
		log.FromContext(ctx).Error(err, "Cannot change the size of a Rollout", "rollout", newest.Name)
		return false, nil
	case err != nil:
		return false, fmt.Errorf("changing the size of Rollout %s/%s: %w", newest.Namespace, newest.Name, discreet(ctx, l.client, newest, err))
	}
	log.FromContext(ctx).Info("Changed the size of a Rollout", "rollout", newest.Name, "from", newest.Spec.Replicas, "to", updated.Spec.Replicas)
	l.recorder.Eventf(updated, nil, corev1.EventTypeNormal, conditionReason(ReasonRolloutResized), "Resize",
		"the Release asks for another size and nothing else (%d pods, %d before): the Rollout goes on where it is", updated.Spec.Replicas, newest.Spec.Replicas)
	rep.rollouts[len(rep.rollouts)-1] = *updated
	return true, nil
}

// scalesItself says whether an autoscaler looks after one of the sets, so that the size of the new
// one says nothing about that of the old one. What cannot be rendered is taken for such.
func (l *releaseLoop) scalesItself(ctx context.Context, rollout *v1alpha1.Rollout, judged *render.Result, siblings []v1alpha1.Rollout) (bool, error) {
	if rollout.Spec.Stable == nil || manifest.InPlace(rollout.Spec) || manifest.Autoscaled(judged) {
		return true, nil
	}
	stable := find(siblings, rollout.Spec.Stable.Rollout)
	if stable == nil {
		return true, nil
	}
	result, err := renderPinned(ctx, l.renderer, l.client, stable)
	if cause, _ := causeOf(err); cause != nil {
		return true, nil
	}
	return err == nil && manifest.Autoscaled(result), err
}

// stableSize is the size of what serves, which the last Rollout that was over it may have changed.
func stableSize(stable *v1alpha1.Rollout, rollouts []v1alpha1.Rollout) int32 {
	for _, r := range slices.Backward(rollouts) {
		if s := r.Spec.Stable; s != nil && s.Rollout == stable.Name {
			return s.Replicas
		}
	}
	return stable.Spec.Replicas
}

// outgrown says whether a Rollout that would take pods away was given another size since it was
// read, as by another manager. That is rare, and asking the API server first costs one read.
func (l *rolloutLoop) outgrown(ctx context.Context, rollout *v1alpha1.Rollout, seen plan.Observation, actions []plan.Action) (bool, error) {
	if !slices.ContainsFunc(actions, func(a plan.Action) bool {
		return a.Kind == plan.ActionEnsureSet && (a.Role == plan.RoleStable && a.Replicas < seen.Stable.Desired ||
			a.Role == plan.RoleCanary && a.Replicas < seen.Canary.Desired || a.Role == plan.RoleBaseline && a.Replicas < seen.Baseline.Desired)
	}) {
		return false, nil
	}
	var live v1alpha1.Rollout
	if err := l.live.Live.Get(ctx, client.ObjectKeyFromObject(rollout), &live); err != nil {
		return false, fmt.Errorf("reading Rollout %s/%s: %w", rollout.Namespace, rollout.Name, err)
	}
	return live.UID != rollout.UID || live.Generation > rollout.Generation, nil
}
