package manifest

import (
	"fmt"

	"k8s.io/apimachinery/pkg/apis/meta/v1/unstructured"

	"tidegate.io/tidegate/rollout/plan"
	"tidegate.io/tidegate/schemas/v1alpha1"
)

// nobody is the revision in the selector of a Service that is to select no pod. Revisions are
// hexadecimal digits, so none is this.
const nobody = "none"

var selectorPath = []string{"spec", "selector"}

// selectShare makes the selector of a plain Service name whom e asks for: the stable revision
// at a weight of 0, the new one at 100, and in between neither, so that it selects the pods
// of both and each has its share by its number of pods.
func selectShare(service *unstructured.Unstructured, spec v1alpha1.RolloutSpec, e plan.Exposure) error {
	if e.Header != 0 || e.Mirror != 0 || e.Baseline != 0 {
		return fmt.Errorf("routing by %s: wanted weights alone, since a plain Service tells no requests apart and copies none, found a step with a header route, a mirror or a baseline; use a route of the Gateway API or of Istio in the template, or leave the step out",
			described(service))
	}
	selector, _, err := unstructured.NestedStringMap(service.Object, selectorPath...)
	if err != nil {
		return fmt.Errorf("reading the selector of %s: %w", described(service), err)
	}
	if selector == nil {
		selector = map[string]string{}
	}
	switch {
	case e.Weight >= fullWeight || InPlace(spec):
		selector[v1alpha1.LabelRevision] = spec.Revision
	case e.Weight > 0 && spec.Stable != nil:
		delete(selector, v1alpha1.LabelRevision)
	case spec.Stable != nil:
		selector[v1alpha1.LabelRevision] = spec.Stable.Revision
	default:
		selector[v1alpha1.LabelRevision] = nobody
	}
	if len(selector) == 0 {
		return fmt.Errorf("writing the selector of %s: wanted one that tells the Release's pods from others, found none beside the revision; add %s: context.name to it in the template",
			described(service), v1alpha1.LabelRelease)
	}
	if err := unstructured.SetNestedStringMap(service.Object, selector, selectorPath...); err != nil {
		return fmt.Errorf("writing the selector of %s: %w", described(service), err)
	}
	return nil
}

// Selected returns the revision that a live Service selects, and false where its selector
// does not say.
func Selected(service *unstructured.Unstructured) (string, bool) {
	selector, _, _ := unstructured.NestedStringMap(service.Object, selectorPath...)
	revision, said := selector[v1alpha1.LabelRevision]
	return revision, said
}

// selectedShare reads a live Service. One that selects an unknown revision gives the new one
// nothing.
func selectedShare(service *unstructured.Unstructured, spec v1alpha1.RolloutSpec) (e plan.Exposure, split bool) {
	switch revision, said := Selected(service); {
	case !said:
		return plan.Exposure{}, true
	case revision == spec.Revision:
		return plan.Exposure{Weight: fullWeight}, false
	}
	return plan.Exposure{}, false
}

// selects says whether a Service selects the pods of a revision, as one that names none does.
func selects(service *unstructured.Unstructured, revision string) bool {
	selected, said := Selected(service)
	return !said || selected == revision
}

func sameSelector(live, want *unstructured.Unstructured) bool {
	a, saidA := Selected(live)
	b, saidB := Selected(want)
	return saidA == saidB && a == b
}

// Endpoint is a pod that an EndpointSlice of a Service lists.
type Endpoint struct {
	// Revision is that of the pod; empty where the pod is not known.
	Revision string
	// Ready is true where requests are sent to it.
	Ready bool
}

// EndpointsSettled says whether the endpoints of a plain Service are as its selector asks: no
// request goes to a pod of another revision, and all pods that are known to be available get
// their share. A Service has no condition that tells that its controller has seen its newest
// generation; what the slices list does.
func EndpointsSettled(service *unstructured.Unstructured, endpoints []Endpoint, available map[string]int32) bool {
	selected, said := Selected(service)
	ready := map[string]int32{}
	for _, e := range endpoints {
		if !e.Ready {
			continue
		}
		if said && e.Revision != selected {
			return false
		}
		ready[e.Revision]++
	}
	for revision, n := range available {
		if (!said || revision == selected) && ready[revision] < n {
			return false
		}
	}
	return true
}
