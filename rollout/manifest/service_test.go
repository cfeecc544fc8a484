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

func serviceSide(t *testing.T, revision string) *render.Result {
	t.Helper()
	return &render.Result{Revision: revision, Route: object(t, "apiVersion: v1\nkind: Service\nmetadata: {name: cart, namespace: shop}\n"+
		"spec: {ports: [{port: 80}], selector: {tidegate.io/release: cart, tidegate.io/revision: "+revision+"}}")}
}

func serviceSpec() v1alpha1.RolloutSpec {
	spec := walk()
	spec.Router = v1alpha1.RouterService
	return spec
}

func TestAPlainServiceByItsSelector(t *testing.T) {
	t.Parallel()
	for name, c := range map[string]struct {
		change   func(*v1alpha1.RolloutSpec)
		weight   int32
		want     string
		exposure plan.Exposure
		split    bool
	}{
		"at a weight of 0 it selects the stable revision":         {nil, 0, oldRevision, plan.Exposure{}, false},
		"at 100 it selects the new one":                           {nil, 100, newRevision, plan.Exposure{Weight: 100}, false},
		"in between it selects both, and the pods say the rest":   {nil, 40, "", plan.Exposure{}, true},
		"a first install without weight selects nothing":          {func(s *v1alpha1.RolloutSpec) { s.Stable = nil }, 0, nobody, plan.Exposure{}, false},
		"a first install has all":                                 {func(s *v1alpha1.RolloutSpec) { s.Stable = nil }, 100, newRevision, plan.Exposure{Weight: 100}, false},
		"one set in place is selected whatever weight is written": {func(s *v1alpha1.RolloutSpec) { s.Stable.Revision = newRevision }, 0, newRevision, plan.Exposure{Weight: 100}, false},
	} {
		t.Run(name, func(t *testing.T) {
			t.Parallel()
			spec := serviceSpec()
			if c.change != nil {
				c.change(&spec)
			}
			sides := Sides{Stable: serviceSide(t, oldRevision), Canary: serviceSide(t, newRevision)}
			got, err := Route(sides, spec, v1alpha1.RolloutProgressing, testRelease(), plan.Exposure{Weight: c.weight})
			if err != nil {
				t.Fatal(err)
			}
			revision, said := Selected(got)
			if revision != c.want || said != (c.want != "") {
				t.Errorf("it selects %q (%t), want %q", revision, said, c.want)
			}
			selector, _, _ := unstructured.NestedStringMap(got.Object, selectorPath...)
			if selector[v1alpha1.LabelRelease] != "cart" {
				t.Errorf("the rest of the selector is %v", selector)
			}
			if e, split := Exposure(got, spec, plan.Exposure{}); e != c.exposure || split != c.split {
				t.Errorf("read back %+v, split %t; want %+v, %t", e, split, c.exposure, c.split)
			}
			for _, r := range []string{oldRevision, newRevision} {
				if carries := Carries(got, r); carries != (c.split || revision == r) {
					t.Errorf("it carries to %s: %t", r, carries)
				}
			}
			if !SameRoute(got, got.DeepCopy()) {
				t.Error("it is not the same as itself")
			}
		})
	}
}

func TestAPlainServiceIsTakenFromTheCanary(t *testing.T) {
	t.Parallel()
	live, err := Route(Sides{Stable: serviceSide(t, oldRevision)}, serviceSpec(), v1alpha1.RolloutProgressing, testRelease(), plan.Exposure{Weight: 40})
	if err != nil {
		t.Fatal(err)
	}
	got, err := WithoutCanary(live, serviceSpec())
	if err != nil {
		t.Fatal(err)
	}
	if revision, _ := Selected(got); revision != oldRevision || SameRoute(live, got) {
		t.Errorf("it selects %q", revision)
	}
}

func TestASelectorOfNothingElseIsRefused(t *testing.T) {
	t.Parallel()
	side := serviceSide(t, oldRevision)
	unstructured.RemoveNestedField(side.Route.Object, "spec", "selector", v1alpha1.LabelRelease)
	_, err := Route(Sides{Stable: side}, serviceSpec(), v1alpha1.RolloutProgressing, testRelease(), plan.Exposure{Weight: 40})
	if err == nil || !strings.Contains(err.Error(), v1alpha1.LabelRelease) {
		t.Errorf("got %v", err)
	}
}

func TestAPlainServiceTellsNoRequestsApart(t *testing.T) {
	t.Parallel()
	for name, e := range map[string]plan.Exposure{
		"testers are refused":    {Header: 1},
		"a mirror is refused":    {Mirror: 2},
		"a baseline is refused":  {Weight: 10, Baseline: 10},
		"and all of them at 100": {Weight: 100, Header: 1, Mirror: 2},
	} {
		t.Run(name, func(t *testing.T) {
			t.Parallel()
			sides := Sides{Stable: serviceSide(t, oldRevision), Canary: serviceSide(t, newRevision)}
			if _, err := Route(sides, serviceSpec(), v1alpha1.RolloutProgressing, testRelease(), e); err == nil || !strings.Contains(err.Error(), "plain Service") {
				t.Errorf("got %v", err)
			}
		})
	}
}

func TestEndpointsSettled(t *testing.T) {
	t.Parallel()
	pod := func(revision string) Endpoint { return Endpoint{Revision: revision, Ready: true} }
	for name, c := range map[string]struct {
		weight    int32
		endpoints []Endpoint
		available map[string]int32
		want      bool
	}{
		"all available pods of the selected revision are listed": {
			0, []Endpoint{pod(oldRevision), pod(oldRevision)}, map[string]int32{oldRevision: 2, newRevision: 1}, true,
		},
		"one of them is not listed yet": {0, []Endpoint{pod(oldRevision)}, map[string]int32{oldRevision: 2}, false},
		"a pod of the other revision is still listed": {
			100, []Endpoint{pod(oldRevision), pod(newRevision)}, map[string]int32{oldRevision: 1, newRevision: 1}, false,
		},
		"a pod of the other revision that gets no requests does no harm": {
			100, []Endpoint{{Revision: oldRevision}, pod(newRevision)}, map[string]int32{oldRevision: 1, newRevision: 1}, true,
		},
		"a pod that nobody knows is not selected": {100, []Endpoint{pod(""), pod(newRevision)}, map[string]int32{newRevision: 1}, false},
		"both revisions are listed in between": {
			40, []Endpoint{pod(oldRevision), pod(newRevision)}, map[string]int32{oldRevision: 1, newRevision: 1}, true,
		},
		"in between one of them is missing": {40, []Endpoint{pod(oldRevision)}, map[string]int32{oldRevision: 1, newRevision: 1}, false},
		"no pods, no endpoints":             {0, nil, map[string]int32{}, true},
	} {
		t.Run(name, func(t *testing.T) {
			t.Parallel()
			sides := Sides{Stable: serviceSide(t, oldRevision), Canary: serviceSide(t, newRevision)}
			service, err := Route(sides, serviceSpec(), v1alpha1.RolloutProgressing, testRelease(), plan.Exposure{Weight: c.weight})
			if err != nil {
				t.Fatal(err)
			}
			if got := EndpointsSettled(service, c.endpoints, c.available); got != c.want {
				t.Errorf("settled is %t, want %t", got, c.want)
			}
		})
	}
}

func TestBaseline(t *testing.T) {
	t.Parallel()
	deployment := object(t, `
apiVersion: apps/v1
kind: Deployment
metadata: {name: cart-aaaaaaaaaa, namespace: shop, labels: {app: cart, tidegate.io/revision: aaaaaaaaaa}}
spec:
  replicas: 3
  selector: {matchLabels: {app: cart, tidegate.io/revision: aaaaaaaaaa}}
  template:
    metadata: {labels: {app: cart, tidegate.io/revision: aaaaaaaaaa}}
    spec:
      topologySpreadConstraints:
      - labelSelector: {matchExpressions: [{key: tidegate.io/revision, operator: In, values: [aaaaaaaaaa]}]}
      containers:
      - {name: web, image: 'cart:1', envFrom: [{configMapRef: {name: cart-aaaaaaaaaa}}]}
`)
	service := object(t, `
apiVersion: v1
kind: Service
metadata: {name: cart-admin-aaaaaaaaaa, namespace: shop, labels: {tidegate.io/revision: aaaaaaaaaa}}
spec:
  type: LoadBalancer
  clusterIP: 10.0.0.7
  loadBalancerIP: 1.2.3.4
  ports: [{port: 80, nodePort: 30080}]
  selector: {app: cart, tidegate.io/revision: aaaaaaaaaa}
`)
	headless := object(t, "apiVersion: v1\nkind: Service\nmetadata: {name: cart-aaaaaaaaaa, namespace: shop}\n"+
		"spec: {clusterIP: None, ports: [{port: 80}], selector: {tidegate.io/revision: aaaaaaaaaa}}")
	others := []*unstructured.Unstructured{
		object(t, "apiVersion: v1\nkind: ConfigMap\nmetadata: {name: cart-aaaaaaaaaa, namespace: shop}"),
		object(t, "apiVersion: autoscaling/v2\nkind: HorizontalPodAutoscaler\nmetadata: {name: cart-aaaaaaaaaa, namespace: shop}"),
	}
	stable := &render.Result{Revision: oldRevision, Set: append([]*unstructured.Unstructured{deployment, service, headless}, others...)}
	before := deployment.DeepCopy()
	got := Baseline(stable)

	want := []*unstructured.Unstructured{
		object(t, `
apiVersion: apps/v1
kind: Deployment
metadata: {name: cart-aaaaaaaaaa-baseline, namespace: shop, labels: {app: cart, tidegate.io/revision: aaaaaaaaaa-baseline}}
spec:
  replicas: 3
  selector: {matchLabels: {app: cart, tidegate.io/revision: aaaaaaaaaa-baseline}}
  template:
    metadata: {labels: {app: cart, tidegate.io/revision: aaaaaaaaaa-baseline}}
    spec:
      topologySpreadConstraints:
      - labelSelector: {matchExpressions: [{key: tidegate.io/revision, operator: In, values: [aaaaaaaaaa-baseline]}]}
      containers:
      - {name: web, image: 'cart:1', envFrom: [{configMapRef: {name: cart-aaaaaaaaaa}}]}
`),
		object(t, `
apiVersion: v1
kind: Service
metadata: {name: cart-admin-aaaaaaaaaa-baseline, namespace: shop, labels: {tidegate.io/revision: aaaaaaaaaa-baseline}}
spec:
  ports: [{port: 80}]
  selector: {app: cart, tidegate.io/revision: aaaaaaaaaa-baseline}
`),
		object(t, "apiVersion: v1\nkind: Service\nmetadata: {name: cart-aaaaaaaaaa-baseline, namespace: shop}\n"+
			"spec: {clusterIP: None, ports: [{port: 80}], selector: {tidegate.io/revision: aaaaaaaaaa-baseline}}"),
	}
	if diff := cmp.Diff(want, got.Set); diff != "" {
		t.Errorf("objects (-want +got):\n%s", diff)
	}
	if got.Revision != "aaaaaaaaaa-baseline" || Autoscaled(got) || Workload(got) == nil {
		t.Errorf("got revision %s, autoscaled %t", got.Revision, Autoscaled(got))
	}
	if diff := cmp.Diff(before, deployment); diff != "" {
		t.Errorf("the stable set was changed:\n%s", diff)
	}
	if Baseline(nil) != nil {
		t.Error("there is a baseline of nothing")
	}
}

func TestWantsBaseline(t *testing.T) {
	t.Parallel()
	for name, c := range map[string]struct {
		change func(*v1alpha1.RolloutSpec)
		want   bool
	}{
		"a step asks for it":                  {func(*v1alpha1.RolloutSpec) {}, true},
		"no step does":                        {func(s *v1alpha1.RolloutSpec) { s.Strategy.Steps = nil }, false},
		"there is nothing to compare with":    {func(s *v1alpha1.RolloutSpec) { s.Stable = nil }, false},
		"one set in place has none beside it": {func(s *v1alpha1.RolloutSpec) { s.Stable.Revision = newRevision }, false},
	} {
		t.Run(name, func(t *testing.T) {
			t.Parallel()
			spec := walk()
			c.change(&spec)
			if got := WantsBaseline(spec); got != c.want {
				t.Errorf("got %t, want %t", got, c.want)
			}
		})
	}
}
