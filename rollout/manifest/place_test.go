package manifest

import (
	"fmt"
	"strings"
	"testing"

	"github.com/google/go-cmp/cmp"
	"k8s.io/apimachinery/pkg/apis/meta/v1/unstructured"

	"tidegate.io/tidegate/rollout/plan"
	"tidegate.io/tidegate/schemas/render"
	"tidegate.io/tidegate/schemas/v1alpha1"
)

// behindRoute is a change between the ways of serving behind an HTTPRoute.
func behindRoute(spec v1alpha1.RolloutSpec) v1alpha1.RolloutSpec {
	spec.Router = v1alpha1.RouterHTTPRoute
	return spec
}

// routedSets is what a revision that is a set of its own behind an HTTPRoute renders to.
func routedSets(t *testing.T, revision string) *render.Result {
	t.Helper()
	out := side(t, revision, "shop.example", "backendRefs: ["+ref("cart", revision)+"]")
	out.Set = []*unstructured.Unstructured{
		deploymentNamed(t, "cart-"+revision, revision, podsOfCart),
		serviceNamed(t, "cart-"+revision, "{selector: {tidegate.io/revision: "+revision+"}, ports: [{port: 80, targetPort: http}]}"),
	}
	out.Router = v1alpha1.RouterHTTPRoute
	return out
}

// routeInPlace is a route beside a workload in place.
func routeInPlace(t *testing.T, service string) *unstructured.Unstructured {
	t.Helper()
	return side(t, newRevision, "shop.example", "backendRefs: [{name: "+service+", port: 80}]").Route
}

func TestTheRouteLeadsToTheServiceOfAWorkloadInPlace(t *testing.T) {
	t.Parallel()
	own := func(t *testing.T, revision string) *render.Result {
		out := inPlaceSide(t, revision)
		out.Shared = append(out.Shared, routeInPlace(t, "cart"))
		return out
	}
	for name, c := range map[string]struct {
		spec  v1alpha1.RolloutSpec
		sides Sides
		lent  bool
		// want are the references at 0, 25 and 100 percent.
		want [3][]string
	}{
		"to sets, with a route of its own": {
			behindRoute(toSets),
			Sides{Stable: own(t, oldRevision), Canary: routedSets(t, newRevision)},
			false,
			[3][]string{{"cart=100"}, {"cart=75", "cart-" + newRevision + "=25"}, {"cart-" + newRevision + "=100"}},
		},
		"to sets, without one": {
			behindRoute(toSets),
			Sides{Stable: inPlaceSide(t, oldRevision), Canary: routedSets(t, newRevision)},
			true,
			[3][]string{{"cart=100"}, {"cart=75", "cart-" + newRevision + "=25"}, {"cart-" + newRevision + "=100"}},
		},
		"back, with a route of its own": {
			behindRoute(toPlace),
			Sides{Stable: routedSets(t, oldRevision), Canary: own(t, newRevision)},
			false,
			[3][]string{{"cart-" + oldRevision + "=100"}, {"cart-" + oldRevision + "=75", "cart=25"}, {"cart=100"}},
		},
		"back, without one": {
			behindRoute(toPlace),
			Sides{Stable: routedSets(t, oldRevision), Canary: inPlaceSide(t, newRevision)},
			true,
			[3][]string{{"cart-" + oldRevision + "=100"}, {"cart-" + oldRevision + "=75", "cart=25"}, {"cart=100"}},
		},
	} {
		t.Run(name, func(t *testing.T) {
			t.Parallel()
			if err := Fit(c.sides, c.spec); err != nil {
				t.Fatal(err)
			}
			sides := Apart(c.sides, c.spec)
			if sides.Lent != c.lent {
				t.Errorf("lent: %t, want %t", sides.Lent, c.lent)
			}
			for i, weight := range []int32{0, 25, 100} {
				for _, phase := range []v1alpha1.RolloutPhase{v1alpha1.RolloutProgressing, v1alpha1.RolloutPromoting, v1alpha1.RolloutAborting} {
					route, err := Route(sides, c.spec, phase, testRelease(), plan.Exposure{Weight: weight})
					if err != nil {
						t.Fatal(err)
					}
					var got []string
					for _, r := range maps(rulesOf(dialectOf(route), route)[0]["backendRefs"]) {
						w, _ := number(r["weight"])
						name, _ := r["name"].(string)
						got = append(got, fmt.Sprintf("%s=%d", name, w))
					}
					if diff := cmp.Diff(c.want[i], got); diff != "" {
						t.Errorf("%s at %d %% (-want +got):\n%s", phase, weight, diff)
					}
					if e, _ := Exposure(route, c.spec, plan.Exposure{Weight: weight}); e != (plan.Exposure{Weight: weight}) {
						t.Errorf("%s at %d %% is read as %+v", phase, weight, e)
					}
					if is, was := LeadsTo(route, c.spec, newRevision), LeadsTo(route, c.spec, oldRevision); is != (weight > 0) || was != (weight < 100) {
						t.Errorf("%s at %d %%: it leads to the new revision %t, to the old one %t", phase, weight, is, was)
					}
					back, err := WithoutCanary(route, c.spec)
					if err != nil || LeadsTo(back, c.spec, newRevision) || !LeadsTo(back, c.spec, oldRevision) {
						t.Errorf("%s at %d %%: without the new revision it is %v, %v", phase, weight, back, err)
					}
				}
			}
			place := sides.Canary
			if c.spec.Strategy.Type.InSets() {
				place = sides.Stable
			}
			for _, obj := range place.Set {
				if isService(obj) && obj.GetName() == "cart" {
					if r, _ := Selected(obj); r != place.Revision || !Wide(serviceNamed(t, "cart", "{selector: {tidegate.io/release: cart}}"), obj) || Wide(obj, obj) {
						t.Errorf("the Service of the workload in place selects %q", r)
					}
					return
				}
			}
			t.Error("the Service does not belong to the workload in place")
		})
	}
}

func TestFitBehindARoute(t *testing.T) {
	t.Parallel()
	baseline := true
	for name, c := range map[string]struct {
		change func(t *testing.T, place, sets *render.Result, spec *v1alpha1.RolloutSpec)
		want   string
	}{
		"the route can lead to either": {func(*testing.T, *render.Result, *render.Result, *v1alpha1.RolloutSpec) {}, ""},
		"so can one beside the workload in place": {func(t *testing.T, place, _ *render.Result, _ *v1alpha1.RolloutSpec) {
			place.Shared = append(place.Shared, routeInPlace(t, "cart"))
		}, ""},
		"there is no Service to lead to": {func(_ *testing.T, place, _ *render.Result, _ *v1alpha1.RolloutSpec) { place.Shared = place.Shared[1:] }, "wanted a Service named cart beside the workload in place"},
		"it has another port": {func(t *testing.T, place, _ *render.Result, _ *v1alpha1.RolloutSpec) {
			place.Shared[0] = serviceNamed(t, "cart", "{selector: {tidegate.io/release: cart}, ports: [{port: 8080}]}")
		}, "wanted Service cart to have the port 80, by which rule 1 of HTTPRoute cart leads to it"},
		"it has no address": {func(t *testing.T, place, _ *render.Result, _ *v1alpha1.RolloutSpec) {
			place.Shared[0] = serviceNamed(t, "cart", "{clusterIP: None, selector: {tidegate.io/release: cart}, ports: [{port: 80}]}")
		}, "found clusterIP None"},
		"it misses the pods": {func(t *testing.T, place, _ *render.Result, _ *v1alpha1.RolloutSpec) {
			place.Shared[0] = serviceNamed(t, "cart", "{selector: {tidegate.io/release: cart, app: other}, ports: [{port: 80}]}")
		}, "wanted Service cart to select by labels that the pods of revision"},
		"the sets have it too": {func(t *testing.T, _, sets *render.Result, _ *v1alpha1.RolloutSpec) {
			sets.Shared = append(sets.Shared, serviceNamed(t, "cart", "{ports: [{port: 80}]}"))
		}, "wanted Service cart in place alone"},
		"a rule leads to another Service of the set": {func(t *testing.T, _, sets *render.Result, _ *v1alpha1.RolloutSpec) {
			sets.Route = side(t, sets.Revision, "shop.example", "backendRefs: ["+ref("cart-admin", sets.Revision)+"]").Route
		}, "wanted rule 1 of HTTPRoute cart to lead to the Service cart-"},
		"the route in place leads elsewhere": {func(t *testing.T, place, _ *render.Result, _ *v1alpha1.RolloutSpec) {
			place.Shared = append(place.Shared, routeInPlace(t, "cart-outside"))
		}, "found cart-outside"},
		"the route in place is of another kind": {func(t *testing.T, place, _ *render.Result, _ *v1alpha1.RolloutSpec) {
			other := routeInPlace(t, "cart")
			other.SetKind("GRPCRoute")
			place.Shared = append(place.Shared, other)
		}, "wanted a HTTPRoute beside the workload in place, as beside the sets, or none, found GRPCRoute cart"},
		"a step compares with fresh pods": {func(_ *testing.T, _, _ *render.Result, spec *v1alpha1.RolloutSpec) {
			spec.Strategy.Steps = []v1alpha1.Step{{SetBaseline: &baseline}}
		}, "wanted no step with setBaseline"},
	} {
		t.Run(name, func(t *testing.T) {
			t.Parallel()
			for _, spec := range []v1alpha1.RolloutSpec{behindRoute(toSets), behindRoute(toPlace)} {
				place, sets := inPlaceSide(t, oldRevision), routedSets(t, newRevision)
				c.change(t, place, sets, &spec)
				sides := Sides{Stable: place, Canary: sets}
				if !spec.Strategy.Type.InSets() {
					sides = Sides{Stable: sets, Canary: place}
				}
				err := Fit(sides, spec)
				if (c.want == "") != (err == nil) || err != nil && !strings.Contains(err.Error(), c.want) {
					t.Errorf("by %s: got %v, want %q", spec.Strategy.Type, err, c.want)
				}
			}
		})
	}
}
