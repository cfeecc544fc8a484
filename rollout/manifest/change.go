package manifest

import (
	"fmt"
	stdmaps "maps"
	"slices"

	"k8s.io/apimachinery/pkg/apis/meta/v1/unstructured"
	"k8s.io/apimachinery/pkg/labels"

	"tidegate.io/tidegate/schemas/render"
	"tidegate.io/tidegate/schemas/v1alpha1"
)

// A Release goes from a workload that is changed in place to sets, or back. For that one Rollout the
// workload in place is looked at as a set: what selects its pods selects those of its revision alone.
//
//   - Behind a plain Service, the one that bears the Release's name is switched. It stays so
//     afterwards; the next rollout in place makes it select the pods of every revision again before it
//     touches the workload.
//   - Behind a route, that Service is the one by which the route leads to the workload in place: it has the
//     part that the Service of its own has with a set.

// Apart returns the sides with the one that is in place made a set, where the Rollout goes from the one
// way of serving to the other.
func Apart(s Sides, spec v1alpha1.RolloutSpec) Sides {
	switch {
	case !spec.Changes():
	case spec.Strategy.Type.InSets():
		s.Stable, s.Lent = aside(s.Stable, s.Canary, spec)
	default:
		s.Canary, s.Lent = aside(s.Canary, s.Stable, spec)
	}
	return s
}

// aside makes a set of a revision that is in place: what selects pods belongs to the set, the Service of the
// Release's name among them unless it is what spreads the requests. Lent is true where the route is that of
// the sets.
func aside(r, sets *render.Result, spec v1alpha1.RolloutSpec) (out *render.Result, lent bool) {
	if r == nil {
		return nil, spec.Router.Routes() // as far as is known
	}
	own := *r
	out = &own
	out.Set, out.Shared, out.Router = slices.Clone(r.Set), nil, spec.Router
	for _, obj := range r.Shared {
		switch {
		case spec.Router == v1alpha1.RouterService && isService(obj) && obj.GetName() == spec.Release, routes(obj, spec):
			out.Route = obj
		case selectsPods(obj):
			own := obj.DeepCopy()
			content, _, _ := unstructured.NestedMap(own.Object, podSelector(own)...)
			content[v1alpha1.LabelRevision] = r.Revision
			if err := unstructured.SetNestedMap(own.Object, content, podSelector(own)...); err == nil {
				obj = own
			}
			out.Set = append(out.Set, obj)
		case isScaler(obj):
			out.Set = append(out.Set, obj)
		default:
			out.Shared = append(out.Shared, obj)
		}
	}
	lent = out.Route == nil && spec.Router.Routes()
	if lent && sets != nil && sets.Route != nil {
		out.Route = ledTo(sets.Route, sets.Revision)
	}
	return out, lent
}

// InPlaceWorkload says whether obj is the workload that revisions share, among the objects of a set.
func InPlaceWorkload(obj *unstructured.Unstructured, release string) bool {
	return IsWorkload(obj) && obj.GetName() == release
}

// Fit refuses a change between a workload in place and sets at which a request could be lost: behind a plain
// Service both are behind that of the Release's name, and each Service finds the pods of either; behind a route
// see fitRoute.
func Fit(s Sides, spec v1alpha1.RolloutSpec) error {
	place, sets := s.Canary, s.Stable
	if spec.Strategy.Type.InSets() {
		place, sets = s.Stable, s.Canary
	}
	if kind := WorkloadKind(place); kind != KindDeployment || WorkloadKind(sets) != KindDeployment {
		return fmt.Errorf("wanted a Deployment on either side, found a %s and a %s", kind, WorkloadKind(sets))
	}
	at := slices.IndexFunc(place.Shared, func(o *unstructured.Unstructured) bool {
		return isService(o) && o.GetName() == spec.Release
	})
	switch {
	case at < 0 && spec.Router.Routes():
		return fmt.Errorf("wanted a Service named %s beside the workload in place, to which the route can lead, found none", spec.Release)
	case at < 0 || sets.Route == nil || isService(sets.Route) == spec.Router.Routes():
		return fmt.Errorf("wanted a Service named %s on either side, which the pods of both can be behind, found none in one", spec.Release)
	}
	for _, obj := range place.Shared {
		if obj != place.Shared[at] && selectsPods(obj) && has(sets, obj) {
			return fmt.Errorf("wanted %s on one side alone, since it selects pods, found it on either", described(obj))
		}
	}
	if spec.Router.Routes() {
		return fitRoute(place, sets, place.Shared[at], spec)
	}
	return oneService(place, sets, place.Shared[at], sets.Route)
}

// oneService says whether the Services of both sides can take the place of each other.
func oneService(place, sets *render.Result, one, other *unstructured.Unstructured) error {
	for _, service := range []*unstructured.Unstructured{one, other} {
		for _, side := range []*render.Result{place, sets} {
			if err := finds(service, side); err != nil {
				return err
			}
		}
	}
	if a, b := ports(one), ports(other); !slices.Equal(a, b) {
		return fmt.Errorf("wanted the Service %s with the same ports on either side, found %v in place and %v for sets", one.GetName(), a, b)
	}
	return nil
}

// finds says whether the selector of a Service, the revision aside, takes in the pods of a side.
func finds(service *unstructured.Unstructured, side *render.Result) error {
	selector, _, _ := unstructured.NestedStringMap(service.Object, selectorPath...)
	wants := stdmaps.Clone(selector)
	delete(wants, v1alpha1.LabelRevision)
	pods, _, _ := unstructured.NestedStringMap(Workload(side).Object, "spec", "template", "metadata", "labels")
	if len(wants) == 0 || !labels.SelectorFromSet(wants).Matches(labels.Set(pods)) {
		return fmt.Errorf("wanted %s to select by labels that the pods of revision %s have, found spec.selector %v and pods with %v",
			described(service), side.Revision, wants, pods)
	}
	return nil
}

// ports are those that clients ask for and where they lead, and whether there is an address.
func ports(service *unstructured.Unstructured) []string {
	var out []string
	if addressless(service) {
		out = append(out, "no address")
	}
	for _, p := range objects(service, "spec", "ports") {
		to, protocol := p["targetPort"], p["protocol"]
		if to == nil {
			to = p["port"]
		}
		if protocol == nil {
			protocol = "TCP"
		}
		out = append(out, fmt.Sprintf("%v to %v of %v", p["port"], to, protocol))
	}
	slices.Sort(out)
	return out
}

// has says whether a side has an object of the same kind and name.
func has(side *render.Result, obj *unstructured.Unstructured) bool {
	return slices.ContainsFunc(slices.Concat(side.Set, side.Shared), func(o *unstructured.Unstructured) bool {
		return o.GetName() == obj.GetName() && o.GroupVersionKind().GroupKind() == obj.GroupVersionKind().GroupKind()
	})
}

func isService(obj *unstructured.Unstructured) bool {
	return obj.GetKind() == "Service" && obj.GroupVersionKind().Group == ""
}

// isScaler says whether obj sizes the workload.
func isScaler(obj *unstructured.Unstructured) bool {
	return obj.GetKind() == KindAutoscaler || obj.GetKind() == kindScaled
}

// selectsPods says whether obj is of a kind that must not mix the pods of two sets.
func selectsPods(obj *unstructured.Unstructured) bool {
	path := podSelector(obj)
	if path == nil {
		return false
	}
	selector, _, _ := unstructured.NestedMap(obj.Object, path...)
	return len(selector) > 0
}

// podSelector is where an object has the labels of the pods that it selects.
func podSelector(obj *unstructured.Unstructured) []string {
	switch {
	case isService(obj):
		return selectorPath
	case obj.GetKind() == "PodDisruptionBudget":
		return []string{"spec", "selector", "matchLabels"}
	}
	return nil
}

// Narrow says whether a live Service still selects the pods of one revision alone, as a change of the
// way of serving has left it, where it is wanted to select those of every revision.
func Narrow(live, want *unstructured.Unstructured) bool {
	return isService(want) && isService(live) && !sameSelector(live, want)
}
