// Package govern knows what a Gate governs: which namespaces, which kinds and in which
// ring, and which built-in controller does which work there. Both rings are made from
// it, so that they cannot disagree. It is pure.
package govern

import (
	"slices"
	"strings"

	"k8s.io/apimachinery/pkg/runtime/schema"

	"tidegate.io/tidegate/schemas/v1alpha1"
)

// Ring is where writes of a kind are judged.
type Ring int

const (
	// RingServer is ring 1: ValidatingAdmissionPolicies inside of the API server, by
	// identity alone. They stand while nothing of Tidegate runs, so what a cluster needs
	// to start again is judged there: pods and what makes them.
	RingServer Ring = 1
	// RingWebhook is ring 2: the webhook, by policies. It fails closed.
	RingWebhook Ring = 2
)

// Kind is a governed resource. Resource may be "x", "x/sub" or "x/*".
type Kind struct {
	Group    string
	Resource string
	Ring     Ring
	// Labelled is true when only objects with the label tidegate.io/release, before or
	// after, are governed; people have objects of their own of this kind.
	Labelled bool
	// Light is true when only labelled objects are sent to the webhook at all, since
	// there are many of others. DeployPolicies are not asked about the others.
	Light bool
}

// defaultKinds is what every Gate governs.
var defaultKinds = []Kind{
	{Group: "", Resource: "bindings", Ring: RingServer},
	{Group: "", Resource: "endpoints", Ring: RingServer},
	{Group: "", Resource: "pods", Ring: RingServer},
	{Group: "", Resource: "pods/*", Ring: RingServer},
	{Group: "", Resource: "podtemplates", Ring: RingServer},
	{Group: "", Resource: "replicationcontrollers", Ring: RingServer},
	{Group: "", Resource: "replicationcontrollers/*", Ring: RingServer},
	{Group: "", Resource: "services/proxy", Ring: RingServer},
	{Group: "", Resource: "services/status", Ring: RingServer},
	{Group: "apps", Resource: "controllerrevisions", Ring: RingServer},
	{Group: "apps", Resource: "daemonsets/status", Ring: RingServer},
	{Group: "apps", Resource: "deployments/status", Ring: RingServer},
	{Group: "apps", Resource: "replicasets", Ring: RingServer},
	{Group: "apps", Resource: "replicasets/*", Ring: RingServer},
	{Group: "apps", Resource: "statefulsets/status", Ring: RingServer},
	// What is counted and wanted is read from these, and acted upon.
	{Group: "autoscaling", Resource: "horizontalpodautoscalers/status", Ring: RingServer},
	{Group: "batch", Resource: "cronjobs/status", Ring: RingServer},
	{Group: "batch", Resource: "jobs/status", Ring: RingServer},
	{Group: "discovery.k8s.io", Resource: "endpointslices", Ring: RingServer},
	{Group: "policy", Resource: "poddisruptionbudgets/status", Ring: RingServer},

	{Group: "apps", Resource: "daemonsets", Ring: RingWebhook},
	{Group: "apps", Resource: "deployments", Ring: RingWebhook},
	{Group: "apps", Resource: "deployments/scale", Ring: RingWebhook},
	{Group: "apps", Resource: "statefulsets", Ring: RingWebhook},
	{Group: "apps", Resource: "statefulsets/scale", Ring: RingWebhook},
	{Group: "batch", Resource: "cronjobs", Ring: RingWebhook},
	{Group: "batch", Resource: "jobs", Ring: RingWebhook},

	// All pods of a governed namespace are Tidegate's, so whatever chooses, reaches or
	// scales pods there could only go around the weights, whether it is labelled or not.
	{Group: "", Resource: "services", Ring: RingWebhook},
	{Group: "autoscaling", Resource: "horizontalpodautoscalers", Ring: RingWebhook},
	{Group: "autoscaling.k8s.io", Resource: "verticalpodautoscalers", Ring: RingWebhook},
	{Group: "gateway.networking.k8s.io", Resource: "grpcroutes", Ring: RingWebhook},
	{Group: "gateway.networking.k8s.io", Resource: "httproutes", Ring: RingWebhook},
	// A grant lets the routes of other namespaces, which no Gate may govern, reach Services.
	{Group: "gateway.networking.k8s.io", Resource: "referencegrants", Ring: RingWebhook},
	{Group: "gateway.networking.k8s.io", Resource: "tcproutes", Ring: RingWebhook},
	{Group: "gateway.networking.k8s.io", Resource: "tlsroutes", Ring: RingWebhook},
	{Group: "gateway.networking.k8s.io", Resource: "udproutes", Ring: RingWebhook},
	{Group: "networking.istio.io", Resource: "destinationrules", Ring: RingWebhook},
	{Group: "networking.istio.io", Resource: "envoyfilters", Ring: RingWebhook},
	{Group: "networking.istio.io", Resource: "virtualservices", Ring: RingWebhook},
	{Group: "networking.istio.io", Resource: "workloadentries", Ring: RingWebhook},
	{Group: "networking.k8s.io", Resource: "ingresses", Ring: RingWebhook},
	// A budget over pods keeps every node that they run on from being drained.
	{Group: "policy", Resource: "poddisruptionbudgets", Ring: RingWebhook},
	{Group: "projectcontour.io", Resource: "httpproxies", Ring: RingWebhook},
	{Group: "split.smi-spec.io", Resource: "trafficsplits", Ring: RingWebhook},
	{Group: "traefik.io", Resource: "ingressroutes", Ring: RingWebhook},
	{Group: "traefik.io", Resource: "ingressroutetcps", Ring: RingWebhook},
	{Group: "traefik.io", Resource: "ingressrouteudps", Ring: RingWebhook},
	{Group: "traefik.io", Resource: "traefikservices", Ring: RingWebhook},

	{Group: "", Resource: "configmaps", Ring: RingWebhook, Labelled: true, Light: true},
	{Group: "", Resource: "secrets", Ring: RingWebhook, Labelled: true, Light: true},
	{Group: "", Resource: "serviceaccounts", Ring: RingWebhook, Labelled: true, Light: true},
	{Group: "networking.k8s.io", Resource: "networkpolicies", Ring: RingWebhook, Labelled: true, Light: true},
}

// routeStatuses are written by gateway and ingress controllers, whose names Tidegate
// cannot know.
var routeStatuses = []Kind{
	{Group: "gateway.networking.k8s.io", Resource: "grpcroutes/status", Ring: RingServer},
	{Group: "gateway.networking.k8s.io", Resource: "httproutes/status", Ring: RingServer},
	{Group: "gateway.networking.k8s.io", Resource: "tcproutes/status", Ring: RingServer},
	{Group: "gateway.networking.k8s.io", Resource: "tlsroutes/status", Ring: RingServer},
	{Group: "gateway.networking.k8s.io", Resource: "udproutes/status", Ring: RingServer},
	{Group: "networking.k8s.io", Resource: "ingresses/status", Ring: RingServer},
}

// RouteStatuses returns what a Gate governs that says who the gateway controllers are; it
// governs none of it otherwise, since no route would be accepted any more.
func RouteStatuses(g *v1alpha1.Gate) []Kind {
	if len(g.Spec.Allow.Gateways) == 0 {
		return nil
	}
	return slices.Clone(routeStatuses)
}

// DefaultKinds returns what every Gate governs.
func DefaultKinds() []Kind { return slices.Clone(defaultKinds) }

// DefaultGovernedKinds returns what every Gate governs, in the API's own terms, sorted
// by group.
func DefaultGovernedKinds() []v1alpha1.GovernedKind {
	byGroup := map[string][]string{}
	for _, k := range defaultKinds {
		byGroup[k.Group] = append(byGroup[k.Group], k.Resource)
	}
	out := make([]v1alpha1.GovernedKind, 0, len(byGroup))
	for group, resources := range byGroup {
		slices.Sort(resources)
		out = append(out, v1alpha1.GovernedKind{Group: group, Resources: resources})
	}
	slices.SortFunc(out, func(a, b v1alpha1.GovernedKind) int { return strings.Compare(a.Group, b.Group) })
	return out
}

// ExtraKinds returns what a Gate governs besides the default, sorted and without what
// the default has already.
func ExtraKinds(g *v1alpha1.Gate) []Kind {
	var out []Kind
	for _, gk := range g.Spec.Kinds {
		for _, r := range gk.Resources {
			k := Kind{Group: gk.Group, Resource: r, Ring: RingWebhook}
			same := func(o Kind) bool { return o.Group == k.Group && o.Resource == k.Resource && !o.Labelled }
			if !slices.ContainsFunc(defaultKinds, same) && !slices.Contains(out, k) {
				out = append(out, k)
			}
		}
	}
	slices.SortFunc(out, func(a, b Kind) int {
		if c := strings.Compare(a.Group, b.Group); c != 0 {
			return c
		}
		return strings.Compare(a.Resource, b.Resource)
	})
	return out
}

// Labelled says whether, for this Gate, objects of a resource are governed only where
// they carry Tidegate's label. A resource that is not known is governed always.
func Labelled(g *v1alpha1.Gate, gr schema.GroupResource) bool {
	for _, k := range ExtraKinds(g) {
		if k.Group == gr.Group && k.Resource == gr.Resource {
			return false
		}
	}
	for _, k := range defaultKinds {
		if k.Group == gr.Group && k.Resource == gr.Resource {
			return k.Labelled
		}
	}
	return false
}

// ungovernable are groups that a cluster, or Tidegate itself, needs in order to start.
var ungovernable = []string{
	"admissionregistration.k8s.io", "apiextensions.k8s.io", "apiregistration.k8s.io", "authentication.k8s.io",
	"authorization.k8s.io", "certificates.k8s.io", "coordination.k8s.io", "events.k8s.io", v1alpha1.GroupVersion.Group,
}

// KindProblem says why a Gate cannot govern a resource, or is empty.
func KindProblem(gr schema.GroupResource) string {
	resource, _, _ := strings.Cut(gr.Resource, "/")
	switch {
	case gr.Resource == "" || strings.Contains(gr.Group, "*") || strings.HasPrefix(gr.Resource, "*"):
		return "name each resource; a wildcard would govern what the cluster itself needs"
	case slices.Contains(ungovernable, gr.Group):
		return "a cluster could not start while Tidegate is down, or Tidegate itself could not"
	case gr.Group == "" && slices.Contains([]string{"nodes", "events", "namespaces", "persistentvolumes", "serviceaccounts"}, resource):
		return "a cluster could not start while Tidegate is down"
	case gr.Group == "" && slices.Contains([]string{"pods", "replicationcontrollers", "bindings", "endpoints", "podtemplates"}, resource),
		gr.Group == "apps" && slices.Contains([]string{"replicasets", "controllerrevisions"}, resource),
		gr.Group == "discovery.k8s.io":
		return "it is governed already, by the ring inside of the API server; leave it out"
	}
	return ""
}
