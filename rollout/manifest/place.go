package manifest

import (
	"fmt"
	"slices"

	"k8s.io/apimachinery/pkg/apis/meta/v1/unstructured"

	"tidegate.io/tidegate/schemas/render"
	"tidegate.io/tidegate/schemas/v1alpha1"
)

// While a Release changes between a workload in place and sets behind a route, one of its two revisions has no
// Service with the revision in its name: the Service of the Release's name leads to it.

// placed is the revision of spec that the Service of the Release's name leads to; empty where there is none.
func placed(spec v1alpha1.RolloutSpec) string {
	switch {
	case !spec.Changes() || !spec.Router.Routes():
		return ""
	case spec.Strategy.Type.InSets():
		return spec.Stable.Revision
	}
	return spec.Revision
}

// stemIn is stemOf where revision may be in place.
func stemIn(spec v1alpha1.RolloutSpec, service, revision string) (string, bool) {
	if revision != "" && revision == placed(spec) {
		return service, service == spec.Release
	}
	return stemOf(service, revision)
}

// serviceIn is the name of the Service of a revision, which may be in place.
func serviceIn(spec v1alpha1.RolloutSpec, stem, revision string) string {
	if revision == placed(spec) {
		return stem
	}
	return stem + "-" + revision
}

// LeadsTo says whether route gives any requests, or copies of them, to a revision of spec.
func LeadsTo(route *unstructured.Unstructured, spec v1alpha1.RolloutSpec, revision string) bool {
	if d := dialectOf(route); d == nil || revision != placed(spec) {
		return Carries(route, revision)
	}
	return carries(route, func(service string) bool { return service == spec.Release })
}

// routes says whether obj is what spreads the requests to the sets of spec.
func routes(obj *unstructured.Unstructured, spec v1alpha1.RolloutSpec) bool {
	return spec.Router.Routes() && obj.GetName() == spec.Release && obj.GroupVersionKind().GroupKind() == Kind(spec.Router).GroupKind()
}

// ledTo is the route of a set with each Service of the set replaced by the one that is not of a revision.
func ledTo(route *unstructured.Unstructured, revision string) *unstructured.Unstructured {
	out := route.DeepCopy()
	d := dialectOf(out)
	for _, rule := range rulesOf(d, out) {
		for _, ref := range maps(rule[d.refsKey()]) {
			if stem, ofSet := stemOf(d.service(ref), revision); ofSet {
				d.rename(ref, stem)
			}
		}
	}
	return out
}

// fitRoute refuses a change behind a route at which a request could be lost. The route leads to the Service of
// the Release's name wherever it leads to a set, so each of its rules must be able to.
func fitRoute(place, sets *render.Result, service *unstructured.Unstructured, spec v1alpha1.RolloutSpec) error {
	switch {
	case has(sets, service):
		return fmt.Errorf("wanted %s in place alone, since it leads to the workload there and to no set, found it beside the sets too", described(service))
	case addressless(service):
		return fmt.Errorf("wanted %s to have an address, since the route leads to it, found clusterIP None", described(service))
	case WantsBaseline(spec):
		return fmt.Errorf("wanted no step with setBaseline for the first revision over a workload in place, which can have no fresh pods of its own beside it, found one; leave it out for this one")
	}
	if err := finds(service, place); err != nil {
		return err
	}
	if err := leads(sets.Route, sets.Revision, spec.Release+"-"+sets.Revision, service); err != nil {
		return err
	}
	for _, obj := range place.Shared {
		switch {
		case routes(obj, spec):
			return leads(obj, "", spec.Release, service)
		case dialectFor(obj) && obj.GetName() == spec.Release:
			return fmt.Errorf("wanted a %s beside the workload in place, as beside the sets, or none, found %s", sets.Route.GetKind(), described(obj))
		}
	}
	return nil
}

// leads says whether each rule of route that has a backend has name alone, by a port that service has.
func leads(route *unstructured.Unstructured, revision, name string, service *unstructured.Unstructured) error {
	d := dialectOf(route)
	for i, rule := range rulesOf(d, route) {
		for _, ref := range maps(rule[d.refsKey()]) {
			found := d.service(ref)
			if _, ofSet := stemOf(found, revision); revision != "" && !ofSet {
				continue
			}
			if found != name {
				return fmt.Errorf("wanted rule %d of %s to lead to the Service %s, in whose place comes %s, found %s", i+1, described(route), name, described(service), found)
			}
			if port, given := portOf(d.port(ref)); given && !offers(service, port) {
				return fmt.Errorf("wanted %s to have the port %d, by which rule %d of %s leads to it, found none in %v", described(service), port, i+1, described(route), ports(service))
			}
		}
	}
	return nil
}

// portOf reads the port of a reference: a number, or with Istio one under that name.
func portOf(value any) (int64, bool) {
	if m, ok := value.(map[string]any); ok {
		value = m["number"]
	}
	return number(value)
}

func offers(service *unstructured.Unstructured, port int64) bool {
	return slices.ContainsFunc(objects(service, "spec", "ports"), func(p map[string]any) bool {
		n, given := number(p["port"])
		return given && n == port
	})
}

func addressless(service *unstructured.Unstructured) bool {
	address, _, _ := unstructured.NestedString(service.Object, "spec", "clusterIP")
	return address == "None"
}

// dialectFor says whether obj is a route of any kind.
func dialectFor(obj *unstructured.Unstructured) bool {
	return slices.ContainsFunc([]v1alpha1.Router{v1alpha1.RouterHTTPRoute, v1alpha1.RouterGRPCRoute, v1alpha1.RouterVirtualService}, func(r v1alpha1.Router) bool {
		return obj.GroupVersionKind().GroupKind() == Kind(r).GroupKind()
	})
}

// Wide says whether a live Service selects the pods of every revision, where it is to select those of one
// alone, as a rollout in place has left it.
func Wide(live, want *unstructured.Unstructured) bool {
	if live == nil || !isService(want) || !isService(live) {
		return false
	}
	_, wanted := Selected(want)
	_, said := Selected(live)
	return wanted && !said
}
