package manifest

import (
	"fmt"
	"math"

	"k8s.io/apimachinery/pkg/apis/meta/v1/unstructured"

	"tidegate.io/tidegate/schemas/render"
	"tidegate.io/tidegate/schemas/v1alpha1"
)

// The kinds that pods come from.
const (
	KindDeployment  = "Deployment"
	KindStatefulSet = "StatefulSet"
	KindDaemonSet   = "DaemonSet"
	KindCronJob     = "CronJob"
)

// The kinds that size a workload; the second is KEDA's.
const (
	KindAutoscaler = "HorizontalPodAutoscaler"
	kindScaled     = "ScaledObject"
)

// kedaMost is how many pods KEDA lets a workload have where nothing is said.
const kedaMost = 100

var (
	replicasPath  = []string{"spec", "replicas"}
	partitionPath = []string{"spec", "updateStrategy", "rollingUpdate", "partition"}
)

// IsWorkload says whether obj is the kind of object that a set's pods come from.
func IsWorkload(obj *unstructured.Unstructured) bool {
	gvk := obj.GroupVersionKind()
	switch gvk.Kind {
	case KindDeployment, KindStatefulSet, KindDaemonSet:
		return gvk.Group == "apps"
	case KindCronJob:
		return gvk.Group == "batch"
	}
	return false
}

// SelfSized says whether nobody tells the workload how many pods it has.
func SelfSized(workload *unstructured.Unstructured) bool {
	kind := workload.GetKind()
	return kind == KindDaemonSet || kind == KindCronJob
}

// Workload returns the object of the set that pods come from, or nil.
func Workload(r *render.Result) *unstructured.Unstructured {
	if r == nil {
		return nil
	}
	for _, obj := range r.Set {
		if IsWorkload(obj) {
			return obj
		}
	}
	return nil
}

// WorkloadKind returns the kind of the object of the set that pods come from, or "".
func WorkloadKind(r *render.Result) string {
	workload := Workload(r)
	if workload == nil {
		return ""
	}
	return workload.GetKind()
}

// Autoscaled says whether an autoscaler of the Release's own sizes the workload.
func Autoscaled(r *render.Result) bool { return autoscaler(r) != nil }

// autoscaler is what sizes the workload, nil where nothing does.
func autoscaler(r *render.Result) *unstructured.Unstructured {
	for _, list := range [][]*unstructured.Unstructured{r.Set, r.Shared} {
		for _, obj := range list {
			if kind := obj.GetKind(); kind == KindAutoscaler || kind == kindScaled {
				return obj
			}
		}
	}
	return nil
}

// RevisionOf returns the revision of the pods that the workload makes from now on.
func RevisionOf(workload *unstructured.Unstructured) string {
	path := []string{"spec", "template", "metadata", "labels"}
	if workload.GetKind() == KindCronJob {
		path = append([]string{"spec", "jobTemplate"}, path...)
	}
	labels, _, _ := unstructured.NestedStringMap(workload.Object, path...)
	return labels[v1alpha1.LabelRevision]
}

// WithSize sets the number of pods that a wanted workload asks for, and how many of them
// it leaves at the revision that they have. A kind that has no such number is left as it
// is.
func WithSize(obj *unstructured.Unstructured, replicas, held int32) error {
	set := func(value int32, path []string) error {
		if err := unstructured.SetNestedField(obj.Object, int64(value), path...); err != nil {
			return fmt.Errorf("setting the number of pods of %s %s: %w", obj.GetKind(), obj.GetName(), err)
		}
		return nil
	}
	switch obj.GetKind() {
	case KindDeployment:
		return set(replicas, replicasPath)
	case KindStatefulSet:
		if err := set(replicas, replicasPath); err != nil {
			return err
		}
		return set(held, partitionPath)
	}
	return nil
}

// Held returns how many pods a live workload is told to leave at the revision that they
// have.
func Held(workload *unstructured.Unstructured) int32 {
	held, _, _ := unstructured.NestedInt64(workload.Object, partitionPath...)
	return int32(min(max(held, 0), math.MaxInt32))
}

// SameSize compares what UpToDate leaves out of two workloads: their numbers of pods.
func SameSize(live, want *unstructured.Unstructured) bool {
	for _, path := range [][]string{replicasPath, partitionPath} {
		a, _, _ := unstructured.NestedInt64(live.Object, path...)
		b, found, _ := unstructured.NestedInt64(want.Object, path...)
		if found && a != b {
			return false
		}
	}
	return true
}

// withoutNumbers returns the content of obj without the numbers of pods of a workload.
func withoutNumbers(obj *unstructured.Unstructured) map[string]any {
	if !IsWorkload(obj) {
		return obj.Object
	}
	content := obj.DeepCopy().Object
	unstructured.RemoveNestedField(content, replicasPath...)
	unstructured.RemoveNestedField(content, partitionPath...)
	return content
}
