package manifest

import (
	"fmt"
	"maps"
	"slices"
	"strings"

	corev1 "k8s.io/api/core/v1"
	metav1 "k8s.io/apimachinery/pkg/apis/meta/v1"
)

// virtualService is a VirtualService of Istio as far as it is checked here. What is opaque is
// checked by Istio's own webhook, where it is installed.
type virtualService struct {
	metav1.TypeMeta   `json:",inline"`
	metav1.ObjectMeta `json:"metadata"`
	Spec              virtualServiceSpec `json:"spec"`
}

type virtualServiceSpec struct {
	Hosts    []string         `json:"hosts"`
	Gateways []string         `json:"gateways"`
	HTTP     []virtualRule    `json:"http"`
	TLS      []map[string]any `json:"tls"`
	TCP      []map[string]any `json:"tcp"`
	ExportTo []string         `json:"exportTo"`
}

type virtualRule struct {
	Name             string           `json:"name"`
	Match            []map[string]any `json:"match"`
	Route            []virtualTarget  `json:"route"`
	Redirect         map[string]any   `json:"redirect"`
	DirectResponse   map[string]any   `json:"directResponse"`
	Delegate         map[string]any   `json:"delegate"`
	Rewrite          map[string]any   `json:"rewrite"`
	Timeout          string           `json:"timeout"`
	Retries          map[string]any   `json:"retries"`
	Fault            map[string]any   `json:"fault"`
	Mirror           map[string]any   `json:"mirror"`
	Mirrors          []map[string]any `json:"mirrors"`
	MirrorPercentage map[string]any   `json:"mirrorPercentage"`
	CORSPolicy       map[string]any   `json:"corsPolicy"`
	Headers          map[string]any   `json:"headers"`
}

type virtualTarget struct {
	Destination virtualDestination `json:"destination"`
	Weight      *int32             `json:"weight"`
	Headers     map[string]any     `json:"headers"`
}

type virtualDestination struct {
	Host   string `json:"host"`
	Subset string `json:"subset"`
	Port   *struct {
		Number int32 `json:"number"`
	} `json:"port"`
}

// virtual checks a VirtualService: each of its rules for HTTP, gRPC among it, leads to one
// Service of this revision.
func (r *Rendered) virtual(o *Object, spec virtualServiceSpec, services map[string]*corev1.Service) {
	if len(spec.Hosts) == 0 {
		r.failf(o, "wanted at least one host in spec.hosts, found none")
	}
	if len(spec.TLS)+len(spec.TCP) > 0 {
		r.failf(o, "wanted spec.http alone, since the rollout moves the weights of its routes, found spec.tls or spec.tcp too")
	}
	weighed := 0
	for i, rule := range spec.HTTP {
		path := fmt.Sprintf("spec.http[%d]", i)
		if rule.Mirror != nil || len(rule.Mirrors) > 0 {
			r.failf(o, "wanted no mirror in %s, since mirrored requests are not held to the rollout's weights, found one; to mirror use the step setMirrorRoute", path)
		}
		if rule.Delegate != nil {
			r.failf(o, "wanted no delegate in %s, since the rollout moves weights in this object alone, found one", path)
		}
		switch n := len(rule.Route); {
		case n == 0 && (rule.Redirect != nil || rule.DirectResponse != nil || rule.Delegate != nil):
			continue
		case n != 1:
			r.failf(o, "wanted one destination in %s.route, since the controller adds the other revision's, found %d", path, n)
			continue
		}
		weighed++
		r.target(o, path+".route[0]", rule.Route[0], services)
	}
	if weighed == 0 {
		r.failf(o, "wanted at least one rule with a destination in spec.http, found none")
	}
}

func (r *Rendered) target(o *Object, path string, to virtualTarget, services map[string]*corev1.Service) {
	name, domain, qualified := strings.Cut(to.Destination.Host, ".")
	service := services[name]
	if service == nil || qualified && domain != r.release.Namespace && !strings.HasPrefix(domain, r.release.Namespace+".svc") {
		r.failf(o, "wanted %s.destination.host to be a Service of %s (%s), found %q", path, r.whose(),
			strings.Join(slices.Sorted(maps.Keys(services)), ", "), to.Destination.Host)
		return
	}
	if to.Destination.Subset != "" {
		r.failf(o, "wanted no subset in %s.destination, since each revision has a Service of its own, found %s", path, to.Destination.Subset)
	}
	if to.Weight != nil {
		r.failf(o, "wanted no weight in %s, since weights are the rollout's, found %d", path, *to.Weight)
	}
	switch port := to.Destination.Port; {
	case port == nil && len(service.Spec.Ports) > 1:
		r.failf(o, "wanted %s.destination.port.number, since the Service %s has several ports, found none", path, name)
	case port != nil && !hasPort(service, port.Number):
		r.failf(o, "wanted %s.destination.port.number to be a port of the Service %s, found %d", path, name, port.Number)
	}
}
