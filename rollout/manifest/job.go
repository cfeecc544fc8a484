package manifest

import (
	"errors"
	"fmt"

	metav1 "k8s.io/apimachinery/pkg/apis/meta/v1"
	"k8s.io/apimachinery/pkg/apis/meta/v1/unstructured"

	"tidegate.io/tidegate/schemas/v1alpha1"
)

const (
	// AnnotationRolloutUID is, on a Job, the uid of the Rollout that it was made for. A Job of
	// the same name that is left from another one is no verdict about this one.
	AnnotationRolloutUID = "tidegate.io/rollout-uid"
	// AnnotationJobObject is, on a Job, the name of the template's object that it was made from.
	AnnotationJobObject = "tidegate.io/job-object"

	// JobTTL is how long a Job is kept for people to look at, in seconds, where nothing is said:
	// a day.
	JobTTL = 24 * 60 * 60
	// JobMinTTL is the least, in seconds: its result must be there to be read.
	JobMinTTL = 10 * 60
	// JobDeadline is how long a Job may take, in seconds, where nothing is said: an hour.
	JobDeadline = 60 * 60
)

// errNoSpec is: what was rendered is no Job.
var errNoSpec = errors.New("it has no spec")

// Job returns the Job that a step runs, made from a rendered object under a name of its own.
// The deletion of the Release takes it along, and so does time.
func Job(rendered *unstructured.Unstructured, object, name string, release *v1alpha1.Release, rollout *v1alpha1.Rollout) (*unstructured.Unstructured, error) {
	out := rendered.DeepCopy()
	out.SetName(name)
	out.SetNamespace(rollout.Namespace)
	out.SetOwnerReferences([]metav1.OwnerReference{Owner(release)})
	labels, annotations := out.GetLabels(), out.GetAnnotations()
	if labels == nil {
		labels = map[string]string{}
	}
	if annotations == nil {
		annotations = map[string]string{}
	}
	labels[v1alpha1.LabelManagedBy] = v1alpha1.ManagedBy
	labels[v1alpha1.LabelRelease] = rollout.Spec.Release
	labels[v1alpha1.LabelRollout] = rollout.Name
	labels[v1alpha1.LabelRevision] = rollout.Spec.Revision
	annotations[AnnotationRolloutUID] = string(rollout.UID)
	annotations[AnnotationJobObject] = object
	out.SetLabels(labels)
	out.SetAnnotations(annotations)
	if err := JobBounds(out); err != nil {
		return nil, fmt.Errorf("making Job %s/%s: %w", rollout.Namespace, name, err)
	}
	return out, nil
}

// JobBounds bounds how long a Job runs and how long it is kept, where the template does not
// say. It changes job.
func JobBounds(job *unstructured.Unstructured) error {
	spec, ok := job.Object["spec"].(map[string]any)
	if !ok {
		return errNoSpec
	}
	ttl := int64(JobTTL)
	switch n := spec["ttlSecondsAfterFinished"].(type) {
	case int64:
		ttl = n
	case float64:
		ttl = int64(n)
	}
	spec["ttlSecondsAfterFinished"] = max(ttl, JobMinTTL)
	if spec["activeDeadlineSeconds"] == nil {
		spec["activeDeadlineSeconds"] = int64(JobDeadline)
	}
	return nil
}

// OwnJob says whether a Job was made for a Rollout: it says so, and belongs to nobody but its
// Release, or to nobody where that was deleted without it.
func OwnJob(job metav1.Object, release *v1alpha1.Release, rollout *v1alpha1.Rollout) bool {
	return job.GetAnnotations()[AnnotationRolloutUID] == string(rollout.UID) &&
		(metav1.GetControllerOfNoCopy(job) == nil || metav1.IsControlledBy(job, release))
}
