package webhook

import (
	"context"
	"fmt"

	"k8s.io/apimachinery/pkg/types"
	"sigs.k8s.io/controller-runtime/pkg/client"
	"sigs.k8s.io/controller-runtime/pkg/webhook/admission"

	"tidegate.io/tidegate/rollout/manifest"
	"tidegate.io/tidegate/schemas/v1alpha1"
)

// ofSteps are what steps of a rollout run, whose result is the verdict. Each is of one
// Rollout, which it names.
const ofSteps = "batch/jobs"

// wantedJob renders what a Job may be: that of the Rollout and the object that it names.
func (h *gate) wantedJob(ctx context.Context, r admission.Request, release string, object map[string]any) ([]map[string]any, error) {
	var rollout v1alpha1.Rollout
	name := label(object, v1alpha1.LabelRollout, "metadata")
	err := h.Reader.Get(ctx, types.NamespacedName{Namespace: r.Namespace, Name: name}, &rollout, client.UnsafeDisableDeepCopy)
	switch {
	case client.IgnoreNotFound(err) != nil:
		return nil, fmt.Errorf("reading Rollout %s: %w", name, err)
	case err != nil || rollout.Spec.Release != release:
		return nil, errNoRollout
	}
	result, err := h.pinned(ctx, &rollout)
	if err != nil {
		return nil, err
	}
	metadata, _ := object["metadata"].(map[string]any)
	annotations, _ := metadata["annotations"].(map[string]any)
	from, _ := annotations[manifest.AnnotationJobObject].(string)
	job := result.Jobs[from]
	if job == nil {
		return nil, fmt.Errorf("finding the object %q of Rollout %s: it renders no such Job", from, name)
	}
	job = job.DeepCopy()
	if err := manifest.JobBounds(job); err != nil {
		return nil, fmt.Errorf("reading the object %q of Rollout %s: %w", from, name, err)
	}
	return []map[string]any{job.Object}, nil
}
