package manifest

import (
	"maps"
	"slices"
	"strings"

	"tidegate.io/tidegate/schemas/v1alpha1"
)

// reserved begins the labels and annotations that only Tidegate writes.
const reserved = "tidegate.io/"

// Finish labels the objects, which Write wrote before, and checks that together they can be
// rolled out by the strategy: one workload whose selector tells the revisions apart, or
// lets them share it; and where there are sets, one route to their Services, or one Service.
// It returns a line for each mistake.
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
		if r.inPlace {
			r.placeRoutes()
		} else {
			r.route(services, w)
			r.previews(services)
			r.routed(strategy)
		}
		r.jobs()
	}
	r.jobSteps(strategy)
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
	if slices.Contains(r.Set, o) || slices.Contains(r.Jobs, o) {
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
