package manifest

import (
	"strings"
	"testing"

	"github.com/google/go-cmp/cmp"
	"k8s.io/apimachinery/pkg/apis/meta/v1/unstructured"

	"tidegate.io/tidegate/rollout/plan"
	"tidegate.io/tidegate/schemas/render"
	"tidegate.io/tidegate/schemas/v1alpha1"
)

const podsOfCart = "{tidegate.io/release: cart, tidegate.io/revision: REVISION, app: cart}"

// deploymentNamed is a Deployment whose pods have labels.
func deploymentNamed(t *testing.T, name, revision, labels string) *unstructured.Unstructured {
	t.Helper()
	return object(t, "apiVersion: apps/v1\nkind: Deployment\nmetadata: {name: "+name+", namespace: shop}\n"+
		"spec: {template: {metadata: {labels: "+strings.ReplaceAll(labels, "REVISION", revision)+"}}}\n")
}

func serviceNamed(t *testing.T, name, spec string) *unstructured.Unstructured {
	t.Helper()
	return object(t, "apiVersion: v1\nkind: Service\nmetadata: {name: "+name+", namespace: shop}\nspec: "+spec+"\n")
}

// inPlaceSide is what a workload that is changed in place renders to.
func inPlaceSide(t *testing.T, revision string) *render.Result {
	t.Helper()
	return &render.Result{
		Revision: revision,
		Set: []*unstructured.Unstructured{
			deploymentNamed(t, "cart", revision, podsOfCart),
			object(t, "apiVersion: v1\nkind: ConfigMap\nmetadata: {name: cart-"+revision+", namespace: shop}\n"),
		},
		Shared: []*unstructured.Unstructured{
			serviceNamed(t, "cart", "{selector: {tidegate.io/release: cart}, ports: [{port: 80, targetPort: http}]}"),
			serviceNamed(t, "cart-peers", "{clusterIP: None, selector: {tidegate.io/release: cart}}"),
			serviceNamed(t, "cart-outside", "{ports: [{port: 80}]}"),
			object(t, "apiVersion: policy/v1\nkind: PodDisruptionBudget\nmetadata: {name: cart, namespace: shop}\nspec: {selector: {matchLabels: {tidegate.io/release: cart}}}\n"),
			object(t, "apiVersion: autoscaling/v2\nkind: HorizontalPodAutoscaler\nmetadata: {name: cart, namespace: shop}\n"),
			object(t, "apiVersion: v1\nkind: ServiceAccount\nmetadata: {name: cart, namespace: shop}\n"),
		},
	}
}

// ofSets is what a revision that is a set of its own behind a plain Service renders to.
func ofSets(t *testing.T, revision string) *render.Result {
	t.Helper()
	return &render.Result{
		Revision: revision,
		Set:      []*unstructured.Unstructured{deploymentNamed(t, "cart-"+revision, revision, podsOfCart)},
		Route: serviceNamed(t, "cart",
			"{selector: {tidegate.io/release: cart, tidegate.io/revision: "+revision+"}, ports: [{port: 80, targetPort: http, protocol: TCP}]}"),
		Router: v1alpha1.RouterService,
		Shared: []*unstructured.Unstructured{object(t, "apiVersion: v1\nkind: ServiceAccount\nmetadata: {name: cart, namespace: shop}\n")},
	}
}

// changeTo is a Rollout of the type over a revision that came by the other.
func changeTo(is, was v1alpha1.StrategyType) v1alpha1.RolloutSpec {
	return v1alpha1.RolloutSpec{
		Release: "cart", Revision: newRevision, Strategy: v1alpha1.Strategy{Type: is}, Router: v1alpha1.RouterService,
		Stable: &v1alpha1.StableReference{Rollout: "cart-1", Revision: oldRevision, Replicas: 3, Strategy: was},
	}
}

var (
	toSets  = changeTo(v1alpha1.StrategyBlueGreen, v1alpha1.StrategyRolling)
	toPlace = changeTo(v1alpha1.StrategyRolling, v1alpha1.StrategyCanary)
)

func identities(list []*unstructured.Unstructured) []string {
	out := []string{}
	for _, o := range list {
		out = append(out, o.GetKind()+" "+o.GetName())
	}
	return out
}

func TestAWorkloadInPlaceIsASetWhileAReleaseChanges(t *testing.T) {
	t.Parallel()
	for name, c := range map[string]struct {
		spec  v1alpha1.RolloutSpec
		sides func(*testing.T) Sides
		place func(Sides) *render.Result
	}{
		"on the way to sets it is the stable one": {
			toSets, func(t *testing.T) Sides {
				return Sides{Stable: inPlaceSide(t, oldRevision), Canary: ofSets(t, newRevision)}
			}, func(s Sides) *render.Result { return s.Stable },
		},
		"on the way back it is the new one": {
			toPlace, func(t *testing.T) Sides {
				return Sides{Stable: ofSets(t, oldRevision), Canary: inPlaceSide(t, newRevision)}
			}, func(s Sides) *render.Result { return s.Canary },
		},
	} {
		t.Run(name, func(t *testing.T) {
			t.Parallel()
			if Rolling(c.spec) {
				t.Error("the revisions are said to share a workload")
			}
			raw := c.sides(t)
			got := c.place(Apart(raw, c.spec))
			want := []string{"Deployment cart", "ConfigMap cart-" + got.Revision, "Service cart-peers", "PodDisruptionBudget cart", "HorizontalPodAutoscaler cart"}
			if diff := cmp.Diff(want, identities(got.Set)); diff != "" {
				t.Errorf("the set (-want +got):\n%s", diff)
			}
			if diff := cmp.Diff([]string{"Service cart-outside", "ServiceAccount cart"}, identities(got.Shared)); diff != "" {
				t.Errorf("what is shared (-want +got):\n%s", diff)
			}
			for _, o := range got.Set {
				path := podSelector(o)
				if path == nil {
					continue
				}
				if labels, _, _ := unstructured.NestedStringMap(o.Object, path...); labels[v1alpha1.LabelRevision] != got.Revision {
					t.Errorf("%s selects %v, want its revision alone", described(o), labels)
				}
			}
			if diff := cmp.Diff(c.sides(t), raw); diff != "" {
				t.Errorf("what was rendered is changed (-want +got):\n%s", diff)
			}
		})
	}
	sides := Sides{Stable: inPlaceSide(t, oldRevision), Canary: inPlaceSide(t, newRevision)}
	if got := Apart(sides, changeTo(v1alpha1.StrategyRolling, "")); got != sides {
		t.Error("a Rollout that keeps to its way of serving has other sides")
	}
}

func TestTheServiceSelectsOneRevisionWhileAReleaseChanges(t *testing.T) {
	t.Parallel()
	for name, c := range map[string]struct {
		spec  v1alpha1.RolloutSpec
		sides Sides
	}{
		"to sets": {toSets, Sides{Stable: inPlaceSide(t, oldRevision), Canary: ofSets(t, newRevision)}},
		"back":    {toPlace, Sides{Stable: ofSets(t, oldRevision), Canary: inPlaceSide(t, newRevision)}},
	} {
		t.Run(name, func(t *testing.T) {
			t.Parallel()
			for weight, want := range map[int32]string{0: oldRevision, 100: newRevision} {
				for _, phase := range []v1alpha1.RolloutPhase{v1alpha1.RolloutProgressing, v1alpha1.RolloutPromoting, v1alpha1.RolloutAborting} {
					route, err := Route(Apart(c.sides, c.spec), c.spec, phase, testRelease(), plan.Exposure{Weight: weight})
					if err != nil {
						t.Fatal(err)
					}
					if got, _ := Selected(route); got != want {
						t.Errorf("%s at %d %% selects %q, want %q", phase, weight, got, want)
					}
				}
			}
		})
	}
}

func TestFit(t *testing.T) {
	t.Parallel()
	const other = "{tidegate.io/release: cart, tidegate.io/revision: REVISION, app: other}"
	for name, c := range map[string]struct {
		change func(t *testing.T, place, sets *render.Result)
		want   string
	}{
		"both are behind one Service": {func(*testing.T, *render.Result, *render.Result) {}, ""},
		"each selects by a label more that all pods have": {func(t *testing.T, place, sets *render.Result) {
			place.Shared[0] = serviceNamed(t, "cart", "{selector: {tidegate.io/release: cart, app: cart}, ports: [{port: 80, targetPort: http}]}")
		}, ""},
		"the workload in place is a StatefulSet": {func(_ *testing.T, place, _ *render.Result) { place.Set[0].SetKind("StatefulSet") }, "wanted a Deployment on either side, found a StatefulSet"},
		"the workload in place has no Service":   {func(_ *testing.T, place, _ *render.Result) { place.Shared = place.Shared[1:] }, "wanted a Service named cart on either side"},
		"the sets are behind a route": {func(t *testing.T, _, sets *render.Result) {
			sets.Route = side(t, sets.Revision, "shop.example").Route
		}, "wanted a Service named cart on either side"},
		"the Service in place selects what pods of sets do not have": {func(t *testing.T, place, sets *render.Result) {
			place.Shared[0] = serviceNamed(t, "cart", "{selector: {tidegate.io/release: cart, app: cart}, ports: [{port: 80, targetPort: http}]}")
			sets.Set[0] = deploymentNamed(t, "cart-x", sets.Revision, other)
		}, "wanted Service cart to select by labels that the pods of revision"},
		"the Service of sets selects what pods in place do not have": {func(t *testing.T, place, sets *render.Result) {
			place.Set[0] = deploymentNamed(t, "cart", place.Revision, other)
			if err := unstructured.SetNestedField(sets.Route.Object, "cart", "spec", "selector", "app"); err != nil {
				t.Fatal(err)
			}
		}, "wanted Service cart to select by labels that the pods of revision"},
		"the ports are others": {func(t *testing.T, place, _ *render.Result) {
			place.Shared[0] = serviceNamed(t, "cart", "{selector: {tidegate.io/release: cart}, ports: [{port: 80, targetPort: 8080}]}")
		}, "wanted the Service cart with the same ports on either side, found [80 to 8080 of TCP] in place and [80 to http of TCP] for sets"},
		"one has no address": {func(t *testing.T, place, _ *render.Result) {
			place.Shared[0] = serviceNamed(t, "cart", "{clusterIP: None, selector: {tidegate.io/release: cart}, ports: [{port: 80, targetPort: http}]}")
		}, "found [80 to http of TCP no address] in place"},
		"another Service is on either side": {func(t *testing.T, _, sets *render.Result) {
			sets.Shared = append(sets.Shared, serviceNamed(t, "cart-peers", "{ports: [{port: 80}]}"))
		}, "wanted Service cart-peers on one side alone"},
	} {
		t.Run(name, func(t *testing.T) {
			t.Parallel()
			for _, spec := range []v1alpha1.RolloutSpec{toSets, toPlace} {
				place, sets := inPlaceSide(t, oldRevision), ofSets(t, newRevision)
				c.change(t, place, sets)
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

func TestNarrow(t *testing.T) {
	t.Parallel()
	wide := serviceNamed(t, "cart", "{selector: {tidegate.io/release: cart}}")
	one := serviceNamed(t, "cart", "{selector: {tidegate.io/release: cart, tidegate.io/revision: "+oldRevision+"}}")
	for name, c := range map[string]struct {
		live, want *unstructured.Unstructured
		narrow     bool
	}{
		"a Service that selects one revision and is to select all": {one, wide, true},
		"a Service that selects all":                               {wide, wide, false},
		"no Service":                                               {deploymentNamed(t, "cart", oldRevision, podsOfCart), deploymentNamed(t, "cart", oldRevision, podsOfCart), false},
	} {
		t.Run(name, func(t *testing.T) {
			t.Parallel()
			if got := Narrow(c.live, c.want); got != c.narrow {
				t.Errorf("got %t, want %t", got, c.narrow)
			}
		})
	}
}
