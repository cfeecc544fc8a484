package manifest

import (
	"encoding/json"
	"errors"
	"fmt"
	"maps"
	"slices"
	"strings"

	appsv1 "k8s.io/api/apps/v1"
	corev1 "k8s.io/api/core/v1"
	policyv1 "k8s.io/api/policy/v1"
	metav1 "k8s.io/apimachinery/pkg/apis/meta/v1"
	"k8s.io/apimachinery/pkg/labels"
	gatewayv1 "sigs.k8s.io/gateway-api/apis/v1"

	"tidegate.io/tidegate/schemas/v1alpha1"
)

// reserved begins the labels and annotations that only Tidegate writes.
const reserved = "tidegate.io/"

// Finish labels the objects and checks that together they can be rolled out: one
// Deployment, one route to its Service, selectors that tell the revisions apart. It
// returns a line for each mistake.
func (r *Rendered) Finish() []string {
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
	pods := r.deployment()
	if pods != nil {
		services := r.services(pods)
		r.budgets(pods)
		r.route(services)
	}
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
	if o.Kind != "Deployment" {
		return
	}
	// Pods carry only what their revision's name says already: nothing else may differ
	// between two objects of the same revision, or the pods would be replaced in place.
	spec, _ := o.Content["spec"].(map[string]any)
	template := child(spec, "template")
	if template == nil {
		return
	}
	if template["metadata"] == nil {
		template["metadata"] = map[string]any{}
	}
	r.merge(o, child(template, "metadata"), map[string]string{
		v1alpha1.LabelRelease:  r.release.Name,
		v1alpha1.LabelRevision: r.release.Revision,
	}, "spec.template.metadata")
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

// typed decodes o, which was found to decode, into its Go type.
func typed[T any](o *Object) (*T, error) {
	into := new(T)
	data, err := json.Marshal(o.Content)
	if err != nil {
		return nil, fmt.Errorf("encoding: %w", err)
	}
	if err := json.Unmarshal(data, into); err != nil {
		return nil, fmt.Errorf("decoding: %w", err)
	}
	return into, nil
}

// deployment checks the set's one Deployment and returns the labels of its pods.
func (r *Rendered) deployment() labels.Set {
	var deployments []*Object
	for _, o := range r.Set {
		if o.Kind == "Deployment" {
			deployments = append(deployments, o)
		}
	}
	if len(deployments) != 1 {
		r.lines = append(r.lines, fmt.Sprintf("objects: wanted exactly one Deployment, named \\(context.name)-\\(context.revision), found %d", len(deployments)))
		return nil
	}
	o := deployments[0]
	if o.Name != r.release.set() {
		r.failf(o, "wanted the Deployment to be named %s, found %s", r.release.set(), o.Name)
	}
	d, err := typed[appsv1.Deployment](o)
	if err != nil {
		r.failf(o, "%v", err)
		return nil
	}
	r.Replicas = 1
	if d.Spec.Replicas != nil {
		r.Replicas = *d.Spec.Replicas
	}
	if r.Replicas < 0 {
		r.failf(o, "wanted spec.replicas of at least 0, found %d", r.Replicas)
	}
	r.pod(o, d.Spec.Template.Spec)
	pods := labels.Set(d.Spec.Template.Labels)
	r.selects(o, "spec.selector", d.Spec.Selector, pods)
	return pods
}

func (r *Rendered) pod(o *Object, pod corev1.PodSpec) {
	if len(pod.Containers) == 0 {
		r.failf(o, "wanted at least one container in spec.template.spec.containers, found none")
	}
	for i, c := range pod.Containers {
		if c.Name == "" || c.Image == "" {
			r.failf(o, "wanted a name and an image in spec.template.spec.containers[%d], found name %q and image %q", i, c.Name, c.Image)
		}
	}
}

// selects checks that selector takes pods in, and no other revision's.
func (r *Rendered) selects(o *Object, path string, selector *metav1.LabelSelector, pods labels.Set) {
	if selector == nil || selector.MatchLabels[v1alpha1.LabelRevision] != r.release.Revision {
		r.failf(o, "wanted %s.matchLabels to have %q: context.revision, since it must not take in the pods of other revisions, found %s",
			path, v1alpha1.LabelRevision, metav1.FormatLabelSelector(selector))
		return
	}
	s, err := metav1.LabelSelectorAsSelector(selector)
	if err != nil {
		r.failf(o, "wanted %s to be a label selector: %v", path, err)
		return
	}
	if !s.Matches(pods) {
		r.failf(o, "wanted %s to match the labels of the Deployment's pods, %v, found %v", path, pods, s)
	}
}

// services checks the Services and returns those of the set by name.
func (r *Rendered) services(pods labels.Set) map[string]*corev1.Service {
	own := map[string]*corev1.Service{}
	for _, o := range slices.Concat(r.Set, r.Shared) {
		if o.Kind != "Service" {
			continue
		}
		s, err := typed[corev1.Service](o)
		if err != nil {
			r.failf(o, "%v", err)
			continue
		}
		if slices.Contains(r.Set, o) {
			own[o.Name] = s
			r.selects(o, "spec.selector", &metav1.LabelSelector{MatchLabels: s.Spec.Selector}, pods)
			if len(s.Spec.Ports) == 0 {
				r.failf(o, "wanted at least one port in spec.ports, found none")
			}
			continue
		}
		if len(s.Spec.Selector) > 0 && labels.SelectorFromSet(s.Spec.Selector).Matches(pods) {
			r.failf(o, "wanted no Service that takes in the pods of every revision, since it would bring requests to a revision past the weights of the route, found one; name it \\(context.name)-\\(context.revision) and select on %s", v1alpha1.LabelRevision)
		}
	}
	return own
}

func (r *Rendered) budgets(pods labels.Set) {
	for _, o := range r.Set {
		if o.Kind != "PodDisruptionBudget" {
			continue
		}
		b, err := typed[policyv1.PodDisruptionBudget](o)
		if err != nil {
			r.failf(o, "%v", err)
			continue
		}
		r.selects(o, "spec.selector", b.Spec.Selector, pods)
	}
}

// route checks the one route: every request goes to this revision's Services, so that
// the controller can share it between two revisions.
func (r *Rendered) route(services map[string]*corev1.Service) {
	if len(r.Routes) != 1 {
		r.lines = append(r.lines, fmt.Sprintf("objects: wanted exactly one HTTPRoute, named \\(context.name), found %d", len(r.Routes)))
		return
	}
	o := r.Routes[0]
	route, err := typed[gatewayv1.HTTPRoute](o)
	if err != nil {
		r.failf(o, "%v", err)
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

// typeMessage words a decoding error the way people write manifests.
func typeMessage(err error) string {
	wrong, ok := errors.AsType[*json.UnmarshalTypeError](err)
	if !ok {
		return fmt.Sprintf("wanted values that Kubernetes can read: %v", err)
	}
	kind := wrong.Type.Kind().String()
	switch {
	case strings.HasPrefix(kind, "int"), strings.HasPrefix(kind, "uint"):
		kind = "an integer"
	case kind == "struct", kind == "map":
		kind = "an object"
	case kind == "slice":
		kind = "a list"
	case kind == "bool":
		kind = "true or false"
	case strings.HasPrefix(kind, "float"):
		kind = "a number"
	default:
		kind = "a " + kind
	}
	return fmt.Sprintf("%s: wanted %s, found a %s", wrong.Field, kind, wrong.Value)
}
