package apply

import (
	"context"
	"fmt"

	batchv1 "k8s.io/api/batch/v1"
	apierrors "k8s.io/apimachinery/pkg/api/errors"
	metav1 "k8s.io/apimachinery/pkg/apis/meta/v1"
	"sigs.k8s.io/controller-runtime/pkg/client"

	"tidegate.io/tidegate/rollout/manifest"
	"tidegate.io/tidegate/rollout/plan"
	"tidegate.io/tidegate/schemas/v1alpha1"
)

// runJob makes the Job of a step, unless it is there. It is made out of what was judged with
// the revision, and never changed.
func (a Applier) runJob(ctx context.Context, t *Target, action plan.Action) error {
	rollout := t.Rollout
	steps := plan.Walked(rollout.Spec)
	if action.Step < 1 || int(action.Step) > len(steps) || steps[action.Step-1].Job == nil {
		return fmt.Errorf("running Job %s of Rollout %s: step %d has none", action.Job, rollout.Name, action.Step)
	}
	object := steps[action.Step-1].Job.Object
	if t.Sides.Canary == nil || t.Sides.Canary.Jobs[object] == nil {
		return fmt.Errorf("running Job %s of Rollout %s: the object %s: %w", action.Job, rollout.Name, object, ErrNotRendered)
	}
	want, err := manifest.Job(t.Sides.Canary.Jobs[object], object, action.Job, t.Release, rollout)
	if err != nil {
		return err //nolint:wrapcheck // says what it made
	}
	err = a.Writer.Create(ctx, want, client.FieldOwner(v1alpha1.FieldManager))
	switch {
	case apierrors.IsAlreadyExists(err):
		_, err = a.ownJob(ctx, t, action.Job)
		return err
	case err != nil:
		return fmt.Errorf("running Job %s/%s of Rollout %s: %w", want.GetNamespace(), want.GetName(), rollout.Name, err)
	}
	return nil
}

// stopJob deletes a Job, and its pods in the background.
func (a Applier) stopJob(ctx context.Context, t *Target, name string) error {
	job, err := a.ownJob(ctx, t, name)
	if job == nil || job.DeletionTimestamp != nil {
		return err
	}
	err = a.Writer.Delete(ctx, job, client.Preconditions{UID: &job.UID}, client.PropagationPolicy(metav1.DeletePropagationBackground))
	if client.IgnoreNotFound(err) != nil {
		return fmt.Errorf("stopping Job %s/%s of Rollout %s: %w", job.Namespace, name, t.Rollout.Name, err)
	}
	return nil
}

// ownJob reads a Job; nil where there is none. One that somebody else made is an error.
func (a Applier) ownJob(ctx context.Context, t *Target, name string) (*batchv1.Job, error) {
	job := &batchv1.Job{}
	key := client.ObjectKey{Namespace: t.Rollout.Namespace, Name: name}
	switch err := a.Live.Get(ctx, key, job); {
	case apierrors.IsNotFound(err):
		return nil, nil //nolint:nilnil // absent is a fact, not a failure
	case err != nil:
		return nil, fmt.Errorf("reading Job %s: %w", key, err)
	case !manifest.OwnJob(job, t.Release, t.Rollout):
		return nil, fmt.Errorf("running Job %s for Rollout %s: %w: it was not made for this Rollout; delete it with: kubectl delete job %s -n %s",
			key, t.Rollout.Name, ErrForeign, name, key.Namespace)
	}
	return job, nil
}
