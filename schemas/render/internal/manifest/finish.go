package manifest

import (
	"fmt"
	"maps"
	"slices"
	"strings"

	corev1 "k8s.io/api/core/v1"
	gatewayv1 "sigs.k8s.io/gateway-api/apis/v1"

	"tidegate.io/tidegate/schemas/v1alpha1"
)

// reserved begins the labels and annotations that only Tidegate writes.
const reserved = "tidegate.io/"

// Finish labels the objects, which Write wrote before, and checks that together they can be
// rolled out by the strategy: one workload whose selector tells the revisions apart, or
// lets them share it; and where there are sets, one route to their Services. It returns a
// line for each mistake.
func (r *Rendered) Finish(strategy v1alpha1.Strategy) []string {
	for _, o := range r.objects() {
		for _, line := range decodeStrictly(o) {
			r.failf(o, "%s", line)
		}
	}
	if len(r.lines) > 0 {
		return r.lines
	}
	for _, o := range r.objects() {
		r.label(o)
	}
	if w := r.workload(strategy); w != nil {
		services := r.services(w)
		r.budgets(w)
		r.autoscalers(w)
		if !r.inPlace {
			r.route(services)
			r.previews(services)
		}
	}
	r.externalSecrets()
	return r.lines
}

// label adds the labels that say what an object belongs to.
func (r *Rendered) label(o *Object) {
	metadata := o.Content["metadata"].(map[string]any)
	wanted := map[string]string{
		v1alpha1.LabelRelease:   r.release.Name,
		v1alpha1.LabelTemplate:  r.release.Template,
		v1alpha1.LabelManagedBy: v1alpha1.ManagedBy,
	}
	if slices.Contains(r.Set, o) {
		wanted[v1alpha1.LabelRevision] = r.release.Revision
	}
	r.merge(o, metadata, wanted, "metadata")
	if !kinds[o.APIVersion+" "+o.Kind].workload {
		return
	}
	// Pods carry only what their revision's name says already: nothing else may differ
	// between two objects of the same revision, or the pods would be replaced in place.
	template, path := podTemplate(o)
	if template == nil {
		return
	}
	if template["metadata"] == nil {
		template["metadata"] = map[string]any{}
	}
	r.merge(o, child(template, "metadata"), map[string]string{
		v1alpha1.LabelRelease:  r.release.Name,
		v1alpha1.LabelRevision: r.release.Revision,
	}, path+".metadata")
}

// podTemplate is what the pods of a workload are made of, and its path.
func podTemplate(o *Object) (template map[string]any, path string) {
	spec := child(o.Content, "spec")
	if o.Kind == kindCronJob {
		return child(child(child(spec, "jobTemplate"), "spec"), "template"), "spec.jobTemplate.spec.template"
	}
	return child(spec, "template"), "spec.template"
}

func child(m map[string]any, name string) map[string]any {
	c, _ := m[name].(map[string]any)
	return c
}

func (r *Rendered) merge(o *Object, metadata map[string]any, wanted map[string]string, path string) {
	if metadata["labels"] == nil {
		metadata["labels"] = map[string]any{}
	}
	have := child(metadata, "labels")
	for _, key := range slices.Sorted(maps.Keys(wanted)) {
		if value, set := have[key]; set && value != wanted[key] {
			r.failf(o, "wanted %s.labels[%q] to be %q or left out, found %q", path, key, wanted[key], value)
		}
		have[key] = wanted[key]
	}
	for _, field := range []string{"labels", "annotations"} {
		for _, key := range slices.Sorted(maps.Keys(child(metadata, field))) {
			if _, ours := wanted[key]; strings.HasPrefix(key, reserved) && (field == "annotations" || !ours) {
				r.failf(o, "wanted no names of tidegate.io in %s.%s, found %s", path, field, key)
			}
		}
	}
}

// route checks the one route: every request goes to this revision's Services, so that
// the controller can share it between two revisions.
func (r *Rendered) route(services map[string]*corev1.Service) {
	if len(r.Routes) != 1 {
		r.lines = append(r.lines, fmt.Sprintf("objects: wanted exactly one HTTPRoute, named \\(context.name), found %d", len(r.Routes)))
		return
	}
	r.backends(r.Routes[0], services)
}

// previews checks the routes that show one revision alone, as for testers before a
// blueGreen switch. They are the set's own, so their weights are nobody's concern.
func (r *Rendered) previews(services map[string]*corev1.Service) {
	for _, o := range r.Set {
		if o.Kind == kindRoute {
			r.backends(o, services)
		}
	}
}

func (r *Rendered) backends(o *Object, services map[string]*corev1.Service) {
	route, ok := o.typed.(*gatewayv1.HTTPRoute)
	if !ok {
		return
	}
	if len(route.Spec.ParentRefs) == 0 {
		r.failf(o, "wanted a gateway in spec.parentRefs, found none")
	}
	weighed := 0
	for i, rule := range route.Spec.Rules {
		path := fmt.Sprintf("spec.rules[%d]", i)
		redirects := false
		for _, f := range rule.Filters {
			redirects = redirects || f.Type == gatewayv1.HTTPRouteFilterRequestRedirect
			if f.Type == gatewayv1.HTTPRouteFilterRequestMirror {
				r.failf(o, "wanted no RequestMirror filter in %s, since mirrored requests are not held to the rollout's weights, found one", path)
			}
		}
		switch n := len(rule.BackendRefs); {
		case n == 0 && redirects:
			continue
		case n != 1:
			r.failf(o, "wanted one backend in %s.backendRefs, since the controller adds the other revision's, found %d", path, n)
			continue
		}
		weighed++
		r.backend(o, path+".backendRefs[0]", rule.BackendRefs[0], services)
	}
	if weighed == 0 {
		r.failf(o, "wanted at least one rule with a backend in spec.rules, found none")
	}
}

func (r *Rendered) backend(o *Object, path string, ref gatewayv1.HTTPBackendRef, services map[string]*corev1.Service) {
	set := func(p *string) string {
		if p == nil {
			return ""
		}
		return *p
	}
	group, kind, namespace := set((*string)(ref.Group)), set((*string)(ref.Kind)), set((*string)(ref.Namespace))
	service := services[string(ref.Name)]
	if group != "" || kind != "" && kind != "Service" || namespace != "" && namespace != r.release.Namespace || service == nil {
		r.failf(o, "wanted %s to name a Service of this revision (%s), found %s", path,
			strings.Join(slices.Sorted(maps.Keys(services)), ", "), ref.Name)
		return
	}
	if ref.Weight != nil {
		r.failf(o, "wanted no weight in %s, since weights are the rollout's, found %d", path, *ref.Weight)
	}
	if len(ref.Filters) > 0 {
		r.failf(o, "wanted the filters of the rule, not of its backend, found some in %s", path)
	}
	if ref.Port == nil || !slices.ContainsFunc(service.Spec.Ports, func(p corev1.ServicePort) bool { return p.Port == *ref.Port }) {
		r.failf(o, "wanted %s.port to be a port of the Service %s", path, ref.Name)
	}
}
