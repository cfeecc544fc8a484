package manifest

import (
	"fmt"
	"maps"
	"slices"
	"strings"

	corev1 "k8s.io/api/core/v1"
	metav1 "k8s.io/apimachinery/pkg/apis/meta/v1"
	gatewayv1 "sigs.k8s.io/gateway-api/apis/v1"

	"tidegate.io/tidegate/schemas/v1alpha1"
)

// routers are the kinds of objects with weights, as the word of each in a Rollout.
var routers = map[string]v1alpha1.Router{
	kindRoute:          v1alpha1.RouterHTTPRoute,
	kindGRPCRoute:      v1alpha1.RouterGRPCRoute,
	kindVirtualService: v1alpha1.RouterVirtualService,
}

// Router is what spreads the requests; empty where the workload is changed in place.
func (r *Rendered) Router() v1alpha1.Router {
	switch {
	case len(r.Routes) == 0:
		return ""
	case r.Routes[0].Kind == kindService:
		return v1alpha1.RouterService
	}
	return routers[r.Routes[0].Kind]
}

// plainRouter makes the Service named like the Release what spreads the requests, where no
// route does.
func (r *Rendered) plainRouter() {
	if r.inPlace || len(r.Routes) > 0 {
		return
	}
	i := slices.IndexFunc(r.Shared, func(o *Object) bool { return o.Kind == kindService && o.Name == r.release.Name })
	if i < 0 {
		return
	}
	r.Routes = append(r.Routes, r.Shared[i])
	r.Shared = slices.Delete(r.Shared, i, i+1)
}

// route checks the one router: every request goes to this revision's Services, or pods, so
// that the controller can share it between two revisions.
func (r *Rendered) route(services map[string]*corev1.Service, w *workload) {
	if len(r.Routes) != 1 {
		r.lines = append(r.lines, fmt.Sprintf(
			"objects: wanted exactly one of HTTPRoute, GRPCRoute and VirtualService, named \\(context.name), or no such and a Service of that name, found %s", names(r.Routes)))
		return
	}
	o := r.Routes[0]
	s, plain := o.typed.(*corev1.Service)
	if !plain {
		r.backends(o, services)
		return
	}
	r.selects(o, &metav1.LabelSelector{MatchLabels: s.Spec.Selector}, w.pods)
	if s.Spec.Selector[v1alpha1.LabelRelease] != r.release.Name {
		r.failf(o, "wanted spec.selector to have %q: context.name beside the revision, since between 0 and 100 percent it takes in the pods of both, found %q",
			v1alpha1.LabelRelease, s.Spec.Selector[v1alpha1.LabelRelease])
	}
	if len(s.Spec.Ports) == 0 && s.Spec.ClusterIP != corev1.ClusterIPNone {
		r.failf(o, "wanted at least one port in spec.ports, found none")
	}
}

// routed refuses what a plain Service cannot do: it has no weights, so that the share of the
// requests is the share of the pods, beside a stable set that stays whole.
func (r *Rendered) routed(s v1alpha1.Strategy) {
	if r.Router() != v1alpha1.RouterService {
		return
	}
	const why = "where a plain Service spreads the requests over pods, found one; render an HTTPRoute, a GRPCRoute or a VirtualService named \\(context.name), or leave it out"
	if s.DynamicStableScale {
		r.lines = append(r.lines, "rollout.dynamicStableScale: wanted none "+why)
	}
	for i, step := range s.Steps {
		for _, kind := range kindsOf(step) {
			if slices.Contains([]string{"setScale", "setHeaderRoute", "setMirrorRoute", "setBaseline"}, kind) {
				r.lines = append(r.lines, fmt.Sprintf("rollout.steps[%d].%s: wanted none %s", i, kind, why))
			}
		}
		if n := step.SetWeight; n != nil && *n > halfExposure && *n < fullExposure {
			r.lines = append(r.lines, fmt.Sprintf(
				"rollout.steps[%d].setWeight: wanted at most %d, or %d, where a plain Service spreads the requests over pods and the stable set stays whole, found %d; render an HTTPRoute, a GRPCRoute or a VirtualService named \\(context.name) for others",
				i, halfExposure, fullExposure, *n))
		}
		if n := step.SetWeight; n != nil && *n > 0 && *n < fullExposure {
			r.unscaled(i, *n)
		}
	}
}

// unscaled refuses an autoscaler where a weight is made of the numbers of pods: it changes these numbers by
// the load of each revision, and with them the weight that was approved.
func (r *Rendered) unscaled(step int, weight int32) {
	for _, o := range r.Set {
		if _, ok := scalerOf(o); ok {
			r.lines = append(r.lines, fmt.Sprintf(
				"rollout.steps[%d].setWeight: wanted %d beside objects.%s (%s) where a plain Service spreads the requests over pods, since each pod that it adds or takes away would change the weight, found %d; render an HTTPRoute, a GRPCRoute or a VirtualService named \\(context.name), use blueGreen, or say spec.replicas and leave the autoscaler out",
				step, fullExposure, o.ID, o.Kind, weight))
		}
	}
}

// previews checks the routes that show one revision alone, as for testers before a
// blueGreen switch. They are the set's own, so their weights are nobody's concern.
func (r *Rendered) previews(services map[string]*corev1.Service) {
	for _, o := range r.Set {
		if routers[o.Kind] != "" {
			r.backends(o, services)
		}
	}
}

// placeRoutes checks the route beside a workload that is changed in place: it leads to Services of the Release, and no
// weight in it is ever moved.
func (r *Rendered) placeRoutes() {
	services, found := map[string]*corev1.Service{}, []*Object{}
	for _, o := range r.Shared {
		if s, ok := o.typed.(*corev1.Service); ok {
			services[o.Name] = s
		}
		if routers[o.Kind] != "" {
			found = append(found, o)
		}
	}
	if len(found) > 1 {
		r.lines = append(r.lines, fmt.Sprintf("objects: wanted at most one of HTTPRoute, GRPCRoute and VirtualService beside a workload that is changed in place, found %s", names(found)))
	}
	for _, o := range found {
		r.backends(o, services)
	}
}

func (r *Rendered) backends(o *Object, services map[string]*corev1.Service) {
	switch route := o.typed.(type) {
	case *gatewayv1.HTTPRoute:
		r.parents(o, route.Spec.ParentRefs)
		rules := make([]routeRule, len(route.Spec.Rules))
		for i, rule := range route.Spec.Rules {
			for _, f := range rule.Filters {
				rules[i].redirects = rules[i].redirects || f.Type == gatewayv1.HTTPRouteFilterRequestRedirect
				rules[i].mirrors = rules[i].mirrors || f.Type == gatewayv1.HTTPRouteFilterRequestMirror
			}
			for _, ref := range rule.BackendRefs {
				rules[i].refs = append(rules[i].refs, routeRef{ref.BackendRef, len(ref.Filters) > 0})
			}
		}
		r.rules(o, rules, services)
	case *gatewayv1.GRPCRoute:
		r.parents(o, route.Spec.ParentRefs)
		rules := make([]routeRule, len(route.Spec.Rules))
		for i, rule := range route.Spec.Rules {
			for _, f := range rule.Filters {
				rules[i].mirrors = rules[i].mirrors || f.Type == gatewayv1.GRPCRouteFilterRequestMirror
			}
			for _, ref := range rule.BackendRefs {
				rules[i].refs = append(rules[i].refs, routeRef{ref.BackendRef, len(ref.Filters) > 0})
			}
		}
		r.rules(o, rules, services)
	case *virtualService:
		r.virtual(o, route.Spec, services)
	}
}

// routeRule is what is checked of a rule of either kind of the Gateway API.
type routeRule struct {
	redirects, mirrors bool
	refs               []routeRef
}

type routeRef struct {
	gatewayv1.BackendRef
	filtered bool
}

// parents checks where requests come from: gateways, or in a mesh a Service of the Release.
func (r *Rendered) parents(o *Object, parents []gatewayv1.ParentReference) {
	if len(parents) == 0 {
		r.failf(o, "wanted a gateway in spec.parentRefs, or a Service where a mesh carries the requests, found none")
	}
	for i, p := range parents {
		if p.Kind == nil || *p.Kind != kindService {
			continue
		}
		at := fmt.Sprintf("spec.parentRefs[%d]", i)
		if p.Group == nil || *p.Group != "" {
			r.failf(o, "wanted %s.group to be \"\" beside kind Service, since it is a Gateway's otherwise, found %q", at, groupOf(p.Group))
		}
		if p.Namespace != nil && string(*p.Namespace) != r.release.Namespace {
			r.failf(o, "wanted %s without a namespace, since the Service is the Release's, found %s", at, *p.Namespace)
		}
		if !slices.ContainsFunc(r.Shared, func(s *Object) bool { return s.Kind == kindService && s.Name == string(p.Name) }) {
			r.failf(o, "wanted %s to name a Service of the template without the revision in its name, found %s; render it without a selector", at, p.Name)
		}
	}
}

// groupOf is the group of a reference, the Gateway API's own where it is left out.
func groupOf(group *gatewayv1.Group) string {
	if group == nil {
		return gatewayv1.GroupName
	}
	return string(*group)
}

func (r *Rendered) rules(o *Object, rules []routeRule, services map[string]*corev1.Service) {
	weighed := 0
	for i, rule := range rules {
		path := fmt.Sprintf("spec.rules[%d]", i)
		if rule.mirrors {
			r.failf(o, "wanted no RequestMirror filter in %s, since mirrored requests are not held to the rollout's weights, found one; to mirror use the step setMirrorRoute", path)
		}
		switch n := len(rule.refs); {
		case n == 0 && rule.redirects:
			continue
		case n != 1:
			r.failf(o, "wanted one backend in %s.backendRefs, since the controller adds the other revision's, found %d", path, n)
			continue
		}
		weighed++
		r.backend(o, path+".backendRefs[0]", rule.refs[0], services)
	}
	if weighed == 0 {
		r.failf(o, "wanted at least one rule with a backend in spec.rules, found none")
	}
}

func (r *Rendered) backend(o *Object, path string, ref routeRef, services map[string]*corev1.Service) {
	set := func(p *string) string {
		if p == nil {
			return ""
		}
		return *p
	}
	group, kind, namespace := set((*string)(ref.Group)), set((*string)(ref.Kind)), set((*string)(ref.Namespace))
	service := services[string(ref.Name)]
	if group != "" || kind != "" && kind != kindService || namespace != "" && namespace != r.release.Namespace || service == nil {
		r.failf(o, "wanted %s to name a Service of %s (%s), found %s", path, r.whose(),
			strings.Join(slices.Sorted(maps.Keys(services)), ", "), ref.Name)
		return
	}
	if ref.Weight != nil {
		r.failf(o, "wanted no weight in %s, since weights are the rollout's, found %d", path, *ref.Weight)
	}
	if ref.filtered {
		r.failf(o, "wanted the filters of the rule, not of its backend, found some in %s", path)
	}
	if ref.Port == nil || !hasPort(service, *ref.Port) {
		r.failf(o, "wanted %s.port to be a port of the Service %s", path, ref.Name)
	}
}

// whose says of what the Services are that a route may lead to.
func (r *Rendered) whose() string {
	if r.inPlace {
		return "all revisions, since the workload is changed in place"
	}
	return "this revision"
}

func hasPort(service *corev1.Service, port int32) bool {
	return slices.ContainsFunc(service.Spec.Ports, func(p corev1.ServicePort) bool { return p.Port == port })
}
