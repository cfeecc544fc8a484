package manifest

import (
	"k8s.io/apimachinery/pkg/apis/meta/v1/unstructured"
	gatewayv1 "sigs.k8s.io/gateway-api/apis/v1"
)

// Settled says whether the gateways serve the newest generation of the route: it has at
// least one parent, and every parent that it names has accepted that generation and
// resolved its references. A parent that no controller answers for is not settled, for
// nothing is known about what it does.
func Settled(route *unstructured.Unstructured) bool {
	parents := objects(route, "spec", "parentRefs")
	if len(parents) == 0 {
		return false
	}
	answers := objects(route, "status", "parents")
	for _, parent := range parents {
		answered := false
		for _, answer := range answers {
			ref, _ := answer["parentRef"].(map[string]any)
			if !sameParent(parent, ref, route.GetNamespace()) {
				continue
			}
			if !holds(answer, string(gatewayv1.RouteConditionAccepted), route.GetGeneration()) ||
				!holds(answer, string(gatewayv1.RouteConditionResolvedRefs), route.GetGeneration()) {
				return false
			}
			answered = true
		}
		if !answered {
			return false
		}
	}
	return true
}

// holds says whether the condition is True as of generation.
func holds(answer map[string]any, condition string, generation int64) bool {
	list, _ := answer["conditions"].([]any)
	for _, each := range list {
		c, _ := each.(map[string]any)
		if c["type"] == condition {
			return c["status"] == "True" && equalJSON(c["observedGeneration"], generation)
		}
	}
	return false
}

// sameParent compares parent references after the API's defaults.
func sameParent(a, b map[string]any, namespace string) bool {
	for field, fallback := range map[string]any{
		"group":       gatewayv1.GroupName,
		"kind":        "Gateway",
		"namespace":   namespace,
		"name":        nil,
		"sectionName": nil,
		"port":        nil,
	} {
		x, y := a[field], b[field]
		if x == nil {
			x = fallback
		}
		if y == nil {
			y = fallback
		}
		if !equalJSON(x, y) {
			return false
		}
	}
	return true
}

func objects(obj *unstructured.Unstructured, path ...string) []map[string]any {
	value, _, _ := unstructured.NestedFieldNoCopy(obj.Object, path...)
	list, _ := value.([]any)
	out := make([]map[string]any, 0, len(list))
	for _, each := range list {
		if m, ok := each.(map[string]any); ok {
			out = append(out, m)
		}
	}
	return out
}
