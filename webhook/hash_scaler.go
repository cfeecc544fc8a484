package webhook

import (
	"k8s.io/apimachinery/pkg/apis/meta/v1/unstructured"
	"sigs.k8s.io/controller-runtime/pkg/webhook/admission"

	"tidegate.io/tidegate/rollout/manifest"
	"tidegate.io/tidegate/schemas/v1alpha1"
)

// ofScaler is the autoscaler that a request is about as it may be while a set keeps its pods: the old one of a Rollout that
// is not over for good, and what serves again after another was aborted for it. It leaves the set at least what it was told, from
// as many as was rendered to as many as it lets it have. An old set that gives up pods keeps none.
func ofScaler(sides manifest.Sides, rollout *v1alpha1.Rollout, r admission.Request) []map[string]any {
	spec, side := rollout.Spec, sides.Stable
	switch {
	case !spec.InSets():
		return nil
	case manifest.InPlace(spec):
		side = sides.Canary
	case spec.Strategy.DynamicStableScale, rollout.Status.Phase == v1alpha1.RolloutSucceeded:
		return nil
	}
	if side == nil {
		return nil
	}
	want := rendering(side, r)
	object, refusal := decode[map[string]any]("an object", r.Object.Raw)
	if want == nil || refusal != nil {
		return nil
	}
	told := manifest.Lifted(&unstructured.Unstructured{Object: *object})
	out := (&unstructured.Unstructured{Object: want}).DeepCopy()
	if told == 0 || manifest.WithLeast(out, told) != nil {
		return nil
	}
	return []map[string]any{out.Object}
}
