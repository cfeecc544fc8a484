package manifest

import (
	"strconv"

	"k8s.io/apimachinery/pkg/apis/meta/v1/unstructured"
	gatewayv1 "sigs.k8s.io/gateway-api/apis/v1"
)

// Settled says whether the proxies serve the newest generation of the route.
//
// A route of the Gateway API has at least one parent, be it a Gateway or with a mesh a
// Service, and every parent that it names has accepted that generation and resolved its
// references. A parent that no controller answers for is not settled, for nothing is known
// about what it does. Istio tells of a VirtualService in its status only where it is asked to:
// what is said there must hold of the newest generation, and where nothing is said it is in
// force when it was written. How long the proxies then take is what routeGrace is for. For a
// plain Service see EndpointsSettled.
func Settled(route *unstructured.Unstructured) bool {
	if route.GetKind() == "VirtualService" {
		return istioSettled(route)
	}
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

// istioSettled goes by the generation that the status is of and by the condition Reconciled,
// which says that the proxies have it.
func istioSettled(route *unstructured.Unstructured) bool {
	status, _ := route.Object["status"].(map[string]any)
	if seen, said := generation(status); said && seen < route.GetGeneration() {
		return false
	}
	for _, c := range objects(route, "status", "conditions") {
		seen, said := generation(c)
		if c["type"] == "Reconciled" && (c["status"] != "True" || said && seen < route.GetGeneration()) {
			return false
		}
	}
	for _, m := range objects(route, "status", "validationMessages") {
		if m["level"] == "ERROR" {
			return false
		}
	}
	return true
}

// generation reads an observedGeneration, which Istio writes as text too.
func generation(of map[string]any) (int64, bool) {
	if text, ok := of["observedGeneration"].(string); ok {
		n, err := strconv.ParseInt(text, 10, 64)
		return n, err == nil
	}
	return number(of["observedGeneration"])
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
	return maps(value)
}
