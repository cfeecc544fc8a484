package render

import (
	"maps"
	"slices"

	"k8s.io/apimachinery/pkg/apis/meta/v1/unstructured"

	"tidegate.io/tidegate/schemas/v1alpha1"
)

// Context is what Tidegate, not the team, tells a template about a Release.
type Context struct {
	// Name of the Release.
	Name string
	// Namespace of the Release.
	Namespace string
	// Template is the name of the ReleaseTemplate.
	Template string
}

// Result is what a template makes of values. Objects are sorted by apiVersion, kind
// and name, and carry namespace and the labels of package v1alpha1.
type Result struct {
	// Revision is the first 10 hex digits of the digest of Set, replicas aside.
	Revision string
	// Digest is "sha256:" and the hex digest of the canonical JSON of all objects and
	// the strategy.
	Digest string
	// Replicas is the wanted size of the set's workload.
	Replicas int32
	// Strategy is the template's rollout field, defaults filled in.
	Strategy v1alpha1.Strategy
	// Set holds the objects that make up the revision; their names end in -<revision>.
	// Exactly one of them is the workload: a Deployment, or with rolling the Deployment,
	// StatefulSet, DaemonSet or CronJob that is named like the Release and changed in place.
	Set []*unstructured.Unstructured
	// Route is what spreads the requests: an HTTPRoute, a GRPCRoute or a VirtualService, whose
	// references name this revision's Service alone, or the Service named like the Release, whose
	// selector names this revision alone. Nil with rolling.
	Route *unstructured.Unstructured
	// Router is the kind of Route. Empty with rolling.
	Router v1alpha1.Router
	// Jobs are the Jobs that steps run, by the name of the object in the template. They are part of
	// neither Set nor Shared.
	Jobs map[string]*unstructured.Unstructured
	// Shared holds the other objects.
	Shared []*unstructured.Unstructured
}

// Objects are all objects: set, shared, the route, and the jobs by their names in the template.
func (r *Result) Objects() []*unstructured.Unstructured {
	all := slices.Concat(r.Set, r.Shared)
	if r.Route != nil {
		all = append(all, r.Route)
	}
	for _, name := range slices.Sorted(maps.Keys(r.Jobs)) {
		all = append(all, r.Jobs[name])
	}
	return all
}

// Problem is one mistake in the values of a Release.
type Problem struct {
	// Path is the value's path, such as values.resources.cpu.
	Path string
	// Message says what was wanted and what was found.
	Message string
	// Hint says what to do, such as the nearest name; may be empty.
	Hint string
	// Name is true where the name at the end of Path is the mistake, not the value.
	Name bool
	// Hidden is true where what was found is sensitive, and is not in Message.
	Hidden bool
	// At is the place in the file that the values come from, as file:line:column; empty
	// where they come from no file.
	At string
}

// ValuesError reports every mistake found in the values of a Release.
type ValuesError struct {
	// Problems has at least one entry, sorted by path.
	Problems []Problem
}

// SourceError reports mistakes in the CUE source of a template, one a line, each with
// file:line:column.
type SourceError struct {
	Lines []string
}
