package manifest

import (
	"fmt"
	"math"
	"strconv"

	"k8s.io/apimachinery/pkg/apis/meta/v1/unstructured"

	"tidegate.io/tidegate/schemas/render"
)

// BoundsOf are how many pods the autoscaler of a Release lets its workload have; 0 and 0 without one.
func BoundsOf(r *render.Result) (least, most int32) {
	obj := autoscaler(r)
	if obj == nil {
		return 0, 0
	}
	return leastPods(obj), mostPods(obj)
}

// annotationLeast says, on an autoscaler that was told to leave its workload more pods than was rendered, how many. What
// anybody else has made of the number is not Tidegate's to take back every time it looks.
const annotationLeast = "tidegate.io/least"

// Lifted is how many pods an autoscaler was told to leave its workload at least where these are more than was
// rendered; else 0. While a Rollout goes on the old set keeps its pods: the number alone is another then, and the
// digest stays that of what was rendered.
func Lifted(scaler *unstructured.Unstructured) int32 {
	if !isScaler(scaler) {
		return 0
	}
	least, err := strconv.ParseInt(scaler.GetAnnotations()[annotationLeast], 10, 32)
	if err != nil {
		return 0
	}
	return int32(max(least, 0))
}

// WithLeast lets a wanted autoscaler leave its workload at least so many pods, within its own bounds. Other
// kinds are left as they are.
func WithLeast(obj *unstructured.Unstructured, least int32) error {
	if !isScaler(obj) {
		return nil
	}
	if most := mostPods(obj); most > 0 {
		least = min(least, most)
	}
	if least <= leastPods(obj) {
		return nil
	}
	if err := unstructured.SetNestedField(obj.Object, int64(least), "spec", leastField(obj)); err != nil {
		return fmt.Errorf("setting the least number of pods of %s %s: %w", obj.GetKind(), obj.GetName(), err)
	}
	annotations := obj.GetAnnotations() // a copy
	if annotations == nil {
		annotations = map[string]string{}
	}
	annotations[annotationLeast] = strconv.Itoa(int(least))
	obj.SetAnnotations(annotations)
	return nil
}

func leastField(scaler *unstructured.Unstructured) string {
	if scaler.GetKind() == kindScaled {
		return "minReplicaCount"
	}
	return "minReplicas"
}

// leastPods is the lower bound of an autoscaler: where nothing is said KEDA lets a workload have none, a
// HorizontalPodAutoscaler one.
func leastPods(scaler *unstructured.Unstructured) int32 {
	otherwise := int64(1)
	if scaler.GetKind() == kindScaled {
		otherwise = 0
	}
	return bound(scaler, leastField(scaler), otherwise)
}

// mostPods is the upper bound of an autoscaler; 0 where it says none.
func mostPods(scaler *unstructured.Unstructured) int32 {
	if scaler.GetKind() == kindScaled {
		return bound(scaler, "maxReplicaCount", kedaMost)
	}
	return bound(scaler, "maxReplicas", 0)
}

// bound is one of the two numbers, which JSON that was decoded into nothing in particular has as a float.
func bound(scaler *unstructured.Unstructured, field string, otherwise int64) int32 {
	value, _, _ := unstructured.NestedFieldNoCopy(scaler.Object, "spec", field)
	n := otherwise
	switch v := value.(type) {
	case int64:
		n = v
	case float64:
		n = int64(min(max(v, 0), math.MaxInt32))
	}
	return int32(min(max(n, 0), math.MaxInt32))
}
