package rendered

import (
	"reflect"
	"slices"
	"strings"
)

// defaultsOf are what the API server fills in where nothing is said, by kind and the field's
// name. Those of workloads are in defaults.
var defaultsOf = map[string]map[string][]any{
	"Service": {
		"allocateLoadBalancerNodePorts": {true},
		"externalTrafficPolicy":         {"Cluster"},
		"internalTrafficPolicy":         {"Cluster"},
		"ipFamilyPolicy":                {"SingleStack", "PreferDualStack"},
		"sessionAffinity":               {"None"},
		"type":                          {"ClusterIP"},
	},
	"HorizontalPodAutoscaler": {"minReplicas": {float64(1)}},
	"HTTPRoute":               routeDefaults,
	"GRPCRoute":               routeDefaults,
}

var (
	everyPath     = map[string]any{"type": "PathPrefix", "value": "/"}
	routeDefaults = map[string][]any{
		"group":      {"", "gateway.networking.k8s.io"},
		"kind":       {"Gateway", "Service"},
		"matches":    {[]any{map[string]any{"path": everyPath}}},
		"path":       {everyPath},
		"statusCode": {float64(302)},
		"type":       {"PathPrefix", "Exact", "Cookie"},
		"value":      {"/"},
		"weight":     {float64(1)},
	}
)

// allocated are fields of a Service that the API server gives a value of its own.
var allocated = []string{"clusterIP", "clusterIPs", "healthCheckNodePort", "ipFamilies", "nodePort"}

// ofKind says whether the API server put a field there, as it does with this kind.
func (c *comparison) ofKind(path, name string, want, got map[string]any) bool {
	v := plain(got[name])
	switch {
	case c.kind == "Service" && slices.Contains(allocated, name):
		return v != "None" // headless is another Service
	case c.kind == "Service" && name == "targetPort":
		return reflect.DeepEqual(v, plain(want["port"]))
	case c.kind == "Job" && ofJob(path+"."+name, v):
		return true
	case c.kind == "HorizontalPodAutoscaler" && strings.HasPrefix(path+"."+name, "spec.behavior"):
		return true
	case c.kind == "HorizontalPodAutoscaler" && path == "spec" && name == "metrics":
		return true // the share of the processor, where nothing is said
	}
	return slices.ContainsFunc(defaultsOf[c.kind][name], func(d any) bool { return reflect.DeepEqual(d, normal(v)) })
}

// jobLabels are those by which the API server ties pods to their Job.
var jobLabels = []string{"batch.kubernetes.io/controller-uid", "batch.kubernetes.io/job-name", "controller-uid", "job-name"}

// ofJob says whether the API server put a field of a Job there: what ties it to its pods.
func ofJob(path string, v any) bool {
	const labels = "spec.template.metadata.labels"
	fields, _ := v.(map[string]any)
	switch path {
	case "spec.selector":
		return true
	case "spec.template.metadata", labels:
		for name, inner := range fields {
			if inner != nil && !ofJob(path+"."+name, inner) {
				return false
			}
		}
		return true
	}
	label, ok := strings.CutPrefix(path, labels+".")
	return ok && slices.Contains(jobLabels, label)
}

// normal is a value with all numbers in one type.
func normal(v any) any {
	switch v := v.(type) {
	case map[string]any:
		out := make(map[string]any, len(v))
		for k, f := range v {
			out[k] = normal(f)
		}
		return out
	case []any:
		out := make([]any, len(v))
		for i, e := range v {
			out[i] = normal(e)
		}
		return out
	}
	return plain(v)
}

// kindVirtual is the kind of route that is not of the Gateway API.
const kindVirtual = "VirtualService"

// Rules is the path of the rules of a route.
func Rules(route map[string]any) string {
	if route["kind"] == kindVirtual {
		return "spec.http"
	}
	return "spec.rules"
}

// Backends returns the names of what the rules of a route lead to, sorted.
func Backends(route map[string]any) []string {
	spec, _ := route["spec"].(map[string]any)
	list, references, name := "rules", "backendRefs", backend
	if route["kind"] == kindVirtual {
		list, references, name = "http", "route", destination
	}
	rules, _ := spec[list].([]any)
	var out []string
	for _, rule := range rules {
		fields, _ := rule.(map[string]any)
		all, _ := fields[references].([]any)
		for _, reference := range all {
			fields, _ := reference.(map[string]any)
			out = append(out, name(fields))
		}
	}
	slices.Sort(out)
	return slices.Compact(out)
}

// backend is what a reference of the Gateway API names.
func backend(reference map[string]any) string {
	name, _ := reference["name"].(string)
	if namespace, _ := reference["namespace"].(string); namespace != "" {
		name = namespace + "/" + name
	}
	return name
}

// destination is what a route of Istio names: a host, and perhaps a part of its pods.
func destination(route map[string]any) string {
	to, _ := route["destination"].(map[string]any)
	host, _ := to["host"].(string)
	if subset, _ := to["subset"].(string); subset != "" {
		host += "/" + subset
	}
	return host
}
