package webhook

import (
	"k8s.io/apimachinery/pkg/apis/meta/v1/unstructured"
	"sigs.k8s.io/controller-runtime/pkg/webhook/admission"

	"tidegate.io/tidegate/rollout/manifest"
	"tidegate.io/tidegate/schemas/render"
	"tidegate.io/tidegate/schemas/v1alpha1"
)

// ofScaler is the autoscaler that a request is about as it may be while a set keeps its pods. It leaves the set at least what it was
// told, from as many as was rendered to as many as it lets it have.
func ofScaler(sides manifest.Sides, rollout *v1alpha1.Rollout, r admission.Request) []map[string]any {
	object, refusal := decode[map[string]any]("an object", r.Object.Raw)
	if refusal != nil {
		return nil
	}
	told := manifest.Lifted(&unstructured.Unstructured{Object: *object})
	if told == 0 {
		return nil
	}
	var out []map[string]any
	for _, side := range keeping(sides, rollout) {
		want := rendering(side, r)
		if want == nil {
			continue
		}
		lifted := (&unstructured.Unstructured{Object: want}).DeepCopy()
		if manifest.WithLeast(lifted, told) == nil {
			out = append(out, lifted.Object)
		}
	}
	return out
}

// keeping are the sets that may keep their pods: the new one until its Rollout is over or on its way back, and the old one of a Rollout that
// is not over for good, unless it is to give up pods. The phase may be of a moment ago. A set that serves alone may where its Rollout
// took the place of another.
func keeping(sides manifest.Sides, rollout *v1alpha1.Rollout) []*render.Result {
	spec, phase := rollout.Spec, rollout.Status.Phase
	switch {
	case !spec.InSets() || phase == v1alpha1.RolloutSucceeded && !manifest.InPlace(spec):
		return nil
	case manifest.InPlace(spec):
		return []*render.Result{sides.Canary}
	}
	var out []*render.Result
	if phase != v1alpha1.RolloutAborting && phase != v1alpha1.RolloutAborted {
		out = append(out, sides.Canary)
	}
	if sides.Stable != nil && !spec.Strategy.DynamicStableScale {
		out = append(out, sides.Stable)
	}
	return out
}
