package manifest

import (
	"strings"

	"k8s.io/apimachinery/pkg/apis/meta/v1/unstructured"

	"tidegate.io/tidegate/schemas/render"
	"tidegate.io/tidegate/schemas/v1alpha1"
)

// BaselineSuffix is behind the names of a baseline set's objects, and behind the revision in
// its labels.
const BaselineSuffix = "-baseline"

// BaselineRevision is the value of the label by which the pods of a baseline set are told from
// those of the stable set, whose revision they run.
func BaselineRevision(stable string) string {
	if stable == "" {
		return ""
	}
	return stable + BaselineSuffix
}

// WantsBaseline says whether a step asks for a baseline set.
func WantsBaseline(spec v1alpha1.RolloutSpec) bool {
	if spec.Stable == nil || InPlace(spec) || Rolling(spec) {
		return false
	}
	for _, step := range spec.Strategy.Steps {
		if step.SetBaseline != nil && *step.SetBaseline {
			return true
		}
	}
	return false
}

// Baseline returns the set of fresh pods of the stable revision: its Deployment and its
// Services under names and labels of their own, so that nothing of the stable set selects
// these pods. They share the revision's ConfigMaps and whatever else it has, and no
// autoscaler sizes them. Nil where there is no stable side.
func Baseline(stable *render.Result) *render.Result {
	if stable == nil {
		return nil
	}
	out := &render.Result{
		Revision: BaselineRevision(stable.Revision), Digest: stable.Digest,
		Replicas: stable.Replicas, Strategy: stable.Strategy,
	}
	for _, obj := range stable.Set {
		service := obj.GetKind() == "Service" && obj.GroupVersionKind().Group == ""
		if !service && !IsWorkload(obj) {
			continue
		}
		own := obj.DeepCopy()
		if stem, ofSet := strings.CutSuffix(own.GetName(), "-"+stable.Revision); ofSet {
			own.SetName(stem + "-" + out.Revision)
		}
		relabel(own.Object, stable.Revision, out.Revision)
		if service {
			inside(own)
		}
		out.Set = append(out.Set, own)
	}
	return out
}

// relabel puts another revision in, wherever labels or selectors of labels name the old one.
func relabel(value any, revision, other string) {
	switch v := value.(type) {
	case []any:
		for _, each := range v {
			relabel(each, revision, other)
		}
	case map[string]any:
		if v[v1alpha1.LabelRevision] == revision {
			v[v1alpha1.LabelRevision] = other
		}
		if values, ok := v["values"].([]any); ok && v["key"] == v1alpha1.LabelRevision {
			for i := range values {
				if values[i] == revision {
					values[i] = other
				}
			}
		}
		for _, each := range v {
			relabel(each, revision, other)
		}
	}
}

// inside makes a Service one within the cluster: an address or a port of the node is there
// once, and the stable set has it.
func inside(service *unstructured.Unstructured) {
	kind, _, _ := unstructured.NestedString(service.Object, "spec", "type")
	if kind == "NodePort" || kind == "LoadBalancer" {
		unstructured.RemoveNestedField(service.Object, "spec", "type")
	}
	if ip, _, _ := unstructured.NestedString(service.Object, "spec", "clusterIP"); ip != "None" {
		unstructured.RemoveNestedField(service.Object, "spec", "clusterIP")
		unstructured.RemoveNestedField(service.Object, "spec", "clusterIPs")
	}
	for _, field := range []string{
		"externalIPs", "loadBalancerIP", "loadBalancerClass", "loadBalancerSourceRanges", "externalTrafficPolicy",
		"healthCheckNodePort", "allocateLoadBalancerNodePorts",
	} {
		unstructured.RemoveNestedField(service.Object, "spec", field)
	}
	for _, port := range objects(service, "spec", "ports") {
		delete(port, "nodePort")
	}
}
