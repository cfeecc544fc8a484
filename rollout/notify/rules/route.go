package rules

import (
	"path"
	"slices"

	"k8s.io/apimachinery/pkg/labels"

	"tidegate.io/tidegate/rollout/notify/news"
)

// Told returns the names of the sinks that are told of an event, each once, in the order
// of the routes. A step that names a sink is taken at its word.
func (f *File) Told(e *news.Event) []string {
	if e.Sink != "" && f.Has(e.Sink) {
		return []string{e.Sink}
	}
	var told []string
	for i := range f.Routes {
		r := &f.Routes[i]
		if !r.takes(e) {
			continue
		}
		for _, name := range r.Sinks {
			if !slices.Contains(told, name) {
				told = append(told, name)
			}
		}
		if !r.Continue {
			break
		}
	}
	return told
}

// Has says whether there is a sink of the name.
func (f *File) Has(name string) bool {
	return slices.ContainsFunc(f.Sinks, func(s Sink) bool { return s.Name == name })
}

// takes says whether a route is about an event.
func (r *Route) takes(e *news.Event) bool {
	switch {
	case !e.Severity.Reaches(r.Severity):
		return false
	case len(r.Events) > 0 && !slices.Contains(r.Events, e.Kind):
		return false
	case len(r.Codes) > 0 && !slices.Contains(r.Codes, e.Code):
		return false
	case len(r.Namespaces) > 0 && !slices.ContainsFunc(r.Namespaces, func(p string) bool { return fits(p, e.Namespace) }):
		return false
	}
	return r.selector.Matches(labels.Set(e.Labels))
}

// fits compares with a pattern that was checked to have no more than *.
func fits(pattern, name string) bool {
	ok, err := path.Match(pattern, name)
	return ok && err == nil
}
