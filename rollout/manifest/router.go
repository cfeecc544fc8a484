package manifest

import (
	"fmt"

	"k8s.io/apimachinery/pkg/apis/meta/v1/unstructured"
	"k8s.io/apimachinery/pkg/runtime/schema"
	gatewayv1 "sigs.k8s.io/gateway-api/apis/v1"

	"tidegate.io/tidegate/schemas/v1alpha1"
)

// VirtualServiceVersion is the group and version of Istio's VirtualService that is read where
// no render says another.
var VirtualServiceVersion = schema.GroupVersion{Group: "networking.istio.io", Version: "v1"}

// Kind returns the group, version and kind of the object that spreads the requests of a
// Rollout.
func Kind(router v1alpha1.Router) schema.GroupVersionKind {
	gateway := schema.GroupVersion{Group: gatewayv1.GroupName, Version: gatewayv1.GroupVersion.Version}
	switch router {
	case v1alpha1.RouterGRPCRoute:
		return gateway.WithKind("GRPCRoute")
	case v1alpha1.RouterVirtualService:
		return VirtualServiceVersion.WithKind("VirtualService")
	case v1alpha1.RouterService:
		return schema.GroupVersionKind{Version: "v1", Kind: "Service"}
	case v1alpha1.RouterHTTPRoute:
	}
	return gateway.WithKind("HTTPRoute")
}

// RouteKey returns an object with nothing but the identity of the one that spreads the
// requests of the Rollout's Release: of the version that it was rendered in, where that is
// known.
func RouteKey(s Sides, rollout *v1alpha1.Rollout) *unstructured.Unstructured {
	key := &unstructured.Unstructured{}
	key.SetGroupVersionKind(Kind(rollout.Spec.Router))
	if s.Canary != nil && s.Canary.Route != nil {
		key.SetGroupVersionKind(s.Canary.Route.GroupVersionKind())
	}
	key.SetNamespace(rollout.Namespace)
	key.SetName(rollout.Spec.Release)
	return key
}

// dialect is how one kind of route says what all of them say: rules, each of which takes the
// requests that fit one of its matches, and spreads them over Services by weight.
type dialect interface {
	// rulesPath is where the rules are, refsKey and matchKey what the lists in a rule are
	// called.
	rulesPath() []string
	refsKey() string
	matchKey() string
	// service is the name of the Service that a reference names, empty where it names
	// something else; rename makes it name another.
	service(ref map[string]any) string
	rename(ref map[string]any, service string)
	// weight is the share of a reference beside others in its rule.
	weight(ref map[string]any, beside int) int64
	port(ref map[string]any) any
	// conditions are those on headers in a match; require replaces them.
	conditions(match map[string]any) []condition
	require(match map[string]any, all []condition)
	// form is a condition as this kind of route can express it.
	form(c condition) condition
	// mirrors are the copies that a rule makes; mirror adds one.
	mirrors(rule map[string]any) []mirror
	mirror(rule, ref map[string]any, percent int32)
	// unmirror takes away those copies of which drop says so.
	unmirror(rule map[string]any, drop func(mirror) bool)
	// silence makes a rule without references answer with an error.
	silence(rule map[string]any)
	// fits refuses what the API would not take.
	fits(rules []any) error
}

// mirror is a copy of a share of the requests of a rule.
type mirror struct {
	service string
	percent int32
}

// dialectOf returns how route speaks, or nil for a plain Service.
func dialectOf(route *unstructured.Unstructured) dialect {
	switch route.GetKind() {
	case "VirtualService":
		return istio{}
	case "Service":
		return nil
	}
	return gateway{kind: route.GetKind()}
}

// rulesOf returns the rules of route.
func rulesOf(d dialect, route *unstructured.Unstructured) []map[string]any {
	if route == nil {
		return nil
	}
	return objects(route, d.rulesPath()...)
}

func maps(value any) []map[string]any {
	list, _ := value.([]any)
	out := make([]map[string]any, 0, len(list))
	for _, each := range list {
		if m, ok := each.(map[string]any); ok {
			out = append(out, m)
		}
	}
	return out
}

// matchesOf returns the matches of a rule; none at all is one that everything fits.
func matchesOf(d dialect, rule map[string]any) []map[string]any {
	matches := maps(rule[d.matchKey()])
	if len(matches) == 0 {
		return []map[string]any{{}}
	}
	return matches
}

// number reads a number of JSON, or of YAML.
func number(value any) (int64, bool) {
	switch w := value.(type) {
	case int64:
		return w, true
	case int32:
		return int64(w), true
	case int:
		return int64(w), true
	case float64:
		return int64(w), true
	}
	return 0, false
}

func described(route *unstructured.Unstructured) string {
	return fmt.Sprintf("%s %s", route.GetKind(), route.GetName())
}
