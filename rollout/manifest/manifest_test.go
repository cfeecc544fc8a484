package manifest

import (
	"fmt"
	"testing"

	"github.com/google/go-cmp/cmp"
	metav1 "k8s.io/apimachinery/pkg/apis/meta/v1"
	"k8s.io/apimachinery/pkg/apis/meta/v1/unstructured"
	"sigs.k8s.io/yaml"

	"tidegate.io/tidegate/rollout/plan"
	"tidegate.io/tidegate/schemas/render"
	"tidegate.io/tidegate/schemas/v1alpha1"
)

const (
	oldRevision = "aaaaaaaaaa"
	newRevision = "bbbbbbbbbb"
)

func object(t *testing.T, text string) *unstructured.Unstructured {
	t.Helper()
	data, err := yaml.YAMLToJSON([]byte(text))
	if err != nil {
		t.Fatal(err)
	}
	out := &unstructured.Unstructured{}
	if err := out.UnmarshalJSON(data); err != nil {
		t.Fatal(err)
	}
	return out
}

func testRelease() *v1alpha1.Release {
	return &v1alpha1.Release{ObjectMeta: metav1.ObjectMeta{Name: "cart", Namespace: "shop", UID: "uid-1"}}
}

func side(t *testing.T, revision, hostname string, rules ...string) *render.Result {
	t.Helper()
	text := "apiVersion: gateway.networking.k8s.io/v1\nkind: HTTPRoute\nmetadata: {name: cart, namespace: shop}\n" +
		"spec:\n  hostnames: [" + hostname + "]\n  parentRefs: [{name: edge}]\n  rules:\n"
	for _, rule := range rules {
		text += "  - " + rule + "\n"
	}
	return &render.Result{Revision: revision, Route: object(t, text)}
}

func ref(stem, revision string) string {
	return "{name: " + stem + "-" + revision + ", port: 80}"
}

// backends prints the references of a route as "name=weight", rule by rule.
func backends(t *testing.T, route *unstructured.Unstructured) [][]string {
	t.Helper()
	out := [][]string{}
	d := dialectOf(route)
	for _, each := range rulesOf(d, route) {
		rule := []string{}
		refs := maps(each[d.refsKey()])
		for _, r := range refs {
			rule = append(rule, fmt.Sprintf("%s=%d", d.service(r), d.weight(r, len(refs))))
		}
		out = append(out, rule)
	}
	return out
}

func TestRoute(t *testing.T) {
	t.Parallel()
	stable := side(t, oldRevision, "old.example", "backendRefs: ["+ref("cart", oldRevision)+"]")
	canary := side(t, newRevision, "new.example", "backendRefs: ["+ref("cart", newRevision)+"]")
	over := &v1alpha1.StableReference{Rollout: "cart-1", Revision: oldRevision, Replicas: 3}
	for name, c := range map[string]struct {
		sides    Sides
		stable   *v1alpha1.StableReference
		phase    v1alpha1.RolloutPhase
		weight   int32
		want     [][]string
		hostname string
	}{
		"a canary gets its weight and the stable revision the rest": {
			Sides{Stable: stable, Canary: canary},
			over, v1alpha1.RolloutProgressing, 5,
			[][]string{{"cart-aaaaaaaaaa=95", "cart-bbbbbbbbbb=5"}},
			"old.example",
		},
		"a canary without weight is not named, since its Service may not be there": {
			Sides{Stable: stable, Canary: canary},
			over, v1alpha1.RolloutProgressing, 0,
			[][]string{{"cart-aaaaaaaaaa=100"}},
			"old.example",
		},
		"a stable revision without weight is not named, since its Service will go": {
			Sides{Stable: stable, Canary: canary},
			over, v1alpha1.RolloutProgressing, 100,
			[][]string{{"cart-bbbbbbbbbb=100"}},
			"old.example",
		},
		"the route becomes the new revision's own when it is promoted": {
			Sides{Stable: stable, Canary: canary},
			over, v1alpha1.RolloutPromoting, 100,
			[][]string{{"cart-bbbbbbbbbb=100"}},
			"new.example",
		},
		"the route is the stable revision's again in an abort": {
			Sides{Stable: stable, Canary: canary},
			over, v1alpha1.RolloutAborting, 0,
			[][]string{{"cart-aaaaaaaaaa=100"}},
			"old.example",
		},
		"a first install has all of the traffic": {
			Sides{Stable: nil, Canary: canary},
			nil, v1alpha1.RolloutProgressing, 100,
			[][]string{{"cart-bbbbbbbbbb=100"}},
			"new.example",
		},
		"a first install without weight leaves no backend": {
			Sides{Stable: nil, Canary: canary},
			nil, v1alpha1.RolloutAborting, 0,
			[][]string{{}},
			"new.example",
		},
		"a rollout in place keeps all of the traffic on the one set": {
			Sides{Stable: canary, Canary: canary},
			&v1alpha1.StableReference{Rollout: "cart-1", Revision: newRevision},
			v1alpha1.RolloutProgressing, 100,
			[][]string{{"cart-bbbbbbbbbb=100"}},
			"new.example",
		},
		"each rule is split, and a fixed backend is left alone": {
			Sides{
				Stable: side(t, oldRevision, "old.example",
					"backendRefs: ["+ref("cart", oldRevision)+"]",
					"backendRefs: [{name: docs, port: 8080}]",
					"backendRefs: ["+ref("cart-admin", oldRevision)+"]"),
				Canary: side(t, newRevision, "new.example",
					"backendRefs: ["+ref("cart-admin", newRevision)+"]",
					"backendRefs: ["+ref("cart", newRevision)+"]"),
			},
			over, v1alpha1.RolloutProgressing, 25,
			[][]string{
				{"cart-aaaaaaaaaa=75", "cart-bbbbbbbbbb=25"},
				{"docs=1"},
				{"cart-admin-aaaaaaaaaa=75", "cart-admin-bbbbbbbbbb=25"},
			},
			"old.example",
		},
		"a Service that one revision alone has is not split": {
			Sides{
				Stable: side(t, oldRevision, "old.example", "backendRefs: ["+ref("cart", oldRevision)+"]", "backendRefs: ["+ref("gone", oldRevision)+"]"),
				Canary: canary,
			},
			over, v1alpha1.RolloutProgressing, 50,
			[][]string{{"cart-aaaaaaaaaa=50", "cart-bbbbbbbbbb=50"}, {"gone-aaaaaaaaaa=100"}},
			"old.example",
		},
		"weights that the template gives side by side are kept in proportion": {
			Sides{
				Stable: side(t, oldRevision, "old.example", "backendRefs: [{name: cart-aaaaaaaaaa, port: 80, weight: 3}, {name: docs, port: 80, weight: 100}]"),
				Canary: canary,
			},
			over, v1alpha1.RolloutProgressing, 10,
			[][]string{{"cart-aaaaaaaaaa=270", "cart-bbbbbbbbbb=30", "docs=100"}},
			"old.example",
		},
	} {
		t.Run(name, func(t *testing.T) {
			t.Parallel()
			spec := v1alpha1.RolloutSpec{Revision: newRevision, Stable: c.stable}
			got, err := Route(c.sides, spec, c.phase, testRelease(), plan.Exposure{Weight: c.weight})
			if err != nil {
				t.Fatal(err)
			}
			if diff := cmp.Diff(c.want, backends(t, got)); diff != "" {
				t.Errorf("backends (-want +got):\n%s", diff)
			}
			hostnames, _, _ := unstructured.NestedStringSlice(got.Object, "spec", "hostnames")
			if diff := cmp.Diff([]string{c.hostname}, hostnames); diff != "" {
				t.Errorf("hostnames (-want +got):\n%s", diff)
			}
		})
	}
}

func TestRouteKeepsItsDigestWhileTheWeightChanges(t *testing.T) {
	t.Parallel()
	sides := Sides{
		Stable: side(t, oldRevision, "old.example", "backendRefs: ["+ref("cart", oldRevision)+"]"),
		Canary: side(t, newRevision, "new.example", "backendRefs: ["+ref("cart", newRevision)+"]"),
	}
	spec := v1alpha1.RolloutSpec{Revision: newRevision, Stable: &v1alpha1.StableReference{Revision: oldRevision}}
	digest := func(phase v1alpha1.RolloutPhase, weight int32) string {
		r, err := Route(sides, spec, phase, testRelease(), plan.Exposure{Weight: weight})
		if err != nil {
			t.Fatal(err)
		}
		return r.GetAnnotations()[AnnotationAppliedDigest]
	}
	if a, b := digest(v1alpha1.RolloutProgressing, 5), digest(v1alpha1.RolloutProgressing, 50); a != b {
		t.Errorf("the digest changed with the weight: %s, %s", a, b)
	}
	if a, b := digest(v1alpha1.RolloutProgressing, 100), digest(v1alpha1.RolloutPromoting, 100); a == b {
		t.Error("the digest did not change with the promotion, which changes the hostname")
	}
}

func TestPromotionIsAWriteOnlyWhereTheRoutesDiffer(t *testing.T) {
	t.Parallel()
	spec := v1alpha1.RolloutSpec{Revision: newRevision, Stable: &v1alpha1.StableReference{Revision: oldRevision}}
	for name, c := range map[string]struct {
		hostname string
		phase    v1alpha1.RolloutPhase
		weight   int32
		same     bool
	}{
		"all of the requests on a route that stays as it is": {"old.example", v1alpha1.RolloutProgressing, 100, true},
		"another hostname waits for the promotion":           {"new.example", v1alpha1.RolloutProgressing, 100, false},
		"a part of the requests is no promotion":             {"old.example", v1alpha1.RolloutProgressing, 99, false},
		"on the way back it is the stable revision's":        {"old.example", v1alpha1.RolloutAborting, 100, false},
	} {
		t.Run(name, func(t *testing.T) {
			t.Parallel()
			sides := Sides{
				Stable: side(t, oldRevision, "old.example", "backendRefs: ["+ref("cart", oldRevision)+"]"),
				Canary: side(t, newRevision, c.hostname, "backendRefs: ["+ref("cart", newRevision)+"]"),
			}
			got, err := Route(sides, spec, c.phase, testRelease(), plan.Exposure{Weight: c.weight})
			if err != nil {
				t.Fatal(err)
			}
			promoted, err := Route(sides, spec, v1alpha1.RolloutPromoting, testRelease(), plan.Exposure{Weight: 100})
			if err != nil {
				t.Fatal(err)
			}
			if same := cmp.Equal(got.Object, promoted.Object); same != c.same {
				t.Errorf("it is the promoted route already: %t, want %t", same, c.same)
			}
		})
	}
}

func TestWeightsReadBack(t *testing.T) {
	t.Parallel()
	spec := v1alpha1.RolloutSpec{Revision: newRevision, Stable: &v1alpha1.StableReference{Revision: oldRevision}}
	for name, c := range map[string]struct {
		rules   []string
		want    int32
		carries bool
	}{
		"weights are percentages of their sum": {
			[]string{"backendRefs: [{name: cart-aaaaaaaaaa, weight: 3}, {name: cart-bbbbbbbbbb, weight: 1}]"}, 25, true,
		},
		"a missing weight is 1": {
			[]string{"backendRefs: [{name: cart-aaaaaaaaaa}, {name: cart-bbbbbbbbbb}]"}, 50, true,
		},
		"weight 0 is none": {
			[]string{"backendRefs: [{name: cart-aaaaaaaaaa, weight: 1}, {name: cart-bbbbbbbbbb, weight: 0}]"}, 0, false,
		},
		"an exposure is rounded up, never away": {
			[]string{"backendRefs: [{name: cart-aaaaaaaaaa, weight: 999}, {name: cart-bbbbbbbbbb, weight: 1}]"}, 1, true,
		},
		"rules that do not agree count with the greatest": {
			[]string{
				"backendRefs: [{name: cart-aaaaaaaaaa, weight: 100}]",
				"backendRefs: [{name: cart-aaaaaaaaaa, weight: 60}, {name: cart-bbbbbbbbbb, weight: 40}]",
			}, 40, true,
		},
		"no backend is no weight": {[]string{"matches: []"}, 0, false},
		"another Service that has the name of the Release is not the set's": {
			[]string{"backendRefs: [{name: cart, weight: 1}]"}, 0, false,
		},
	} {
		t.Run(name, func(t *testing.T) {
			t.Parallel()
			route := side(t, oldRevision, "x", c.rules...).Route
			if got, _ := Exposure(route, spec, plan.Exposure{}); got != (plan.Exposure{Weight: c.want}) {
				t.Errorf("exposure is %+v, want a weight of %d alone", got, c.want)
			}
			if got := Carries(route, newRevision); got != c.carries {
				t.Errorf("carries is %t, want %t", got, c.carries)
			}
		})
	}
}

func TestWithoutCanary(t *testing.T) {
	t.Parallel()
	over := &v1alpha1.StableReference{Revision: oldRevision}
	for name, c := range map[string]struct {
		stable *v1alpha1.StableReference
		rule   string
		want   [][]string
	}{
		"the canary's share goes to the stable revision": {
			over, "backendRefs: [{name: cart-aaaaaaaaaa, weight: 75}, {name: cart-bbbbbbbbbb, weight: 25}]",
			[][]string{{"cart-aaaaaaaaaa=75"}},
		},
		"all of the weight goes back to the stable revision": {
			over, "backendRefs: [{name: cart-bbbbbbbbbb, weight: 100}]",
			[][]string{{"cart-aaaaaaaaaa=100"}},
		},
		"without a stable revision nothing is left": {
			nil, "backendRefs: [{name: cart-bbbbbbbbbb, weight: 100}]",
			[][]string{{}},
		},
	} {
		t.Run(name, func(t *testing.T) {
			t.Parallel()
			spec := v1alpha1.RolloutSpec{Revision: newRevision, Stable: c.stable}
			got, err := WithoutCanary(side(t, oldRevision, "x", c.rule).Route, spec)
			if err != nil {
				t.Fatal(err)
			}
			if diff := cmp.Diff(c.want, backends(t, got)); diff != "" {
				t.Errorf("backends (-want +got):\n%s", diff)
			}
		})
	}
}

const deployment = `
apiVersion: apps/v1
kind: Deployment
metadata: {name: cart-aaaaaaaaaa, namespace: shop, labels: {app: cart}}
spec:
  replicas: 3
  selector: {matchLabels: {app: cart}}
  template:
    metadata: {labels: {app: cart}}
    spec:
      containers:
      - name: web
        image: cart:1
        args: [a, b]
        ports: [{containerPort: 8080}]
      volumes: [{name: tmp, emptyDir: {}}]
`

// fields is what a server-side apply of deployment leaves, as an API server wrote it.
const fields = `{
 "f:metadata":{"f:annotations":{"f:tidegate.io/applied-digest":{}},"f:labels":{"f:app":{}},
  "f:ownerReferences":{"k:{\"uid\":\"uid-1\"}":{}}},
 "f:spec":{"f:replicas":{},"f:selector":{},"f:template":{"f:metadata":{"f:labels":{"f:app":{}}},
  "f:spec":{"f:containers":{"k:{\"name\":\"web\"}":{".":{},"f:name":{},"f:image":{},"f:args":{},
   "f:ports":{"k:{\"containerPort\":8080,\"protocol\":\"TCP\"}":{".":{},"f:containerPort":{}}}}},
  "f:volumes":{"k:{\"name\":\"tmp\"}":{".":{},"f:name":{},"f:emptyDir":{}}}}}}}`

func set(t *testing.T, u *unstructured.Unstructured, value any, path ...string) {
	t.Helper()
	if err := unstructured.SetNestedField(u.Object, value, path...); err != nil {
		t.Fatal(err)
	}
}

func TestUpToDate(t *testing.T) {
	t.Parallel()
	for name, c := range map[string]struct {
		fields  string
		manager string
		change  func(*unstructured.Unstructured)
		wanted  func(*unstructured.Unstructured)
		want    bool
	}{
		"an object as it was applied is up to date": {want: true},
		"a workload of another size is up to date": {want: true, change: func(u *unstructured.Unstructured) {
			if err := WithSize(u, 7, 0); err != nil {
				t.Fatal(err)
			}
		}},
		"what others add beside is theirs": {want: true, change: func(u *unstructured.Unstructured) {
			u.SetLabels(map[string]string{"app": "cart", "team": "x"})
		}},
		"an object applied from something else is not": {change: func(u *unstructured.Unstructured) {
			u.SetAnnotations(map[string]string{AnnotationAppliedDigest: "sha256:other"})
		}},
		"an empty list, of which the API server keeps nothing, is no difference": {want: true, wanted: func(u *unstructured.Unstructured) {
			containers, _, err := unstructured.NestedSlice(u.Object, "spec", "template", "spec", "containers")
			if err != nil {
				t.Fatal(err)
			}
			containers[0].(map[string]any)["env"] = []any{}
			if err := unstructured.SetNestedSlice(u.Object, containers, "spec", "template", "spec", "containers"); err != nil {
				t.Fatal(err)
			}
			if err := unstructured.SetNestedMap(u.Object, map[string]any{}, "spec", "strategy"); err != nil {
				t.Fatal(err)
			}
		}},
		"zeros, which the API server drops, are no difference": {want: true, wanted: func(u *unstructured.Unstructured) {
			set(t, u, false, "spec", "template", "spec", "hostNetwork")
			set(t, u, int64(0), "spec", "minReadySeconds")
		}},
		"a zero that it keeps, and somebody else has set, is one": {wanted: func(u *unstructured.Unstructured) {
			set(t, u, false, "spec", "template", "spec", "automountServiceAccountToken")
		}},
		"an object that is being deleted is not": {change: func(u *unstructured.Unstructured) {
			now := metav1.Now()
			u.SetDeletionTimestamp(&now)
		}},
		"an image that somebody else has set is not": {fields: `{
 "f:metadata":{"f:annotations":{"f:tidegate.io/applied-digest":{}},"f:labels":{"f:app":{}},"f:ownerReferences":{"k:{\"uid\":\"uid-1\"}":{}}},
 "f:spec":{"f:selector":{},"f:template":{"f:metadata":{"f:labels":{"f:app":{}}},
  "f:spec":{"f:containers":{"k:{\"name\":\"web\"}":{".":{},"f:name":{},"f:args":{},
   "f:ports":{"k:{\"containerPort\":8080,\"protocol\":\"TCP\"}":{".":{},"f:containerPort":{}}}}},
  "f:volumes":{"k:{\"name\":\"tmp\"}":{".":{},"f:name":{},"f:emptyDir":{}}}}}}}`},
		"a container that somebody else has taken out is not": {fields: `{
 "f:metadata":{"f:annotations":{"f:tidegate.io/applied-digest":{}},"f:labels":{"f:app":{}},"f:ownerReferences":{"k:{\"uid\":\"uid-1\"}":{}}},
 "f:spec":{"f:selector":{},"f:template":{"f:metadata":{"f:labels":{"f:app":{}}},
  "f:spec":{"f:containers":{"k:{\"name\":\"other\"}":{".":{},"f:name":{}}},
  "f:volumes":{"k:{\"name\":\"tmp\"}":{".":{},"f:name":{},"f:emptyDir":{}}}}}}}`},
		"an owner reference that somebody has removed is not": {fields: `{
 "f:metadata":{"f:annotations":{"f:tidegate.io/applied-digest":{}},"f:labels":{"f:app":{}}},
 "f:spec":{"f:selector":{},"f:template":{}}}`},
		"fields that another manager applied are not ours": {manager: "kubectl"},
	} {
		t.Run(name, func(t *testing.T) {
			t.Parallel()
			want, err := Wanted(object(t, deployment), testRelease())
			if err != nil {
				t.Fatal(err)
			}
			live := want.DeepCopy()
			entry := metav1.ManagedFieldsEntry{
				Manager: v1alpha1.FieldManager, Operation: metav1.ManagedFieldsOperationApply, APIVersion: "apps/v1",
				FieldsType: "FieldsV1", FieldsV1: metav1.NewFieldsV1(fields),
			}
			if c.fields != "" {
				entry.FieldsV1 = metav1.NewFieldsV1(c.fields)
			}
			if c.manager != "" {
				entry.Manager = c.manager
			}
			live.SetManagedFields([]metav1.ManagedFieldsEntry{entry})
			if c.change != nil {
				c.change(live)
			}
			if c.wanted != nil {
				c.wanted(want)
			}
			if got := UpToDate(live, want); got != c.want {
				t.Errorf("up to date is %t, want %t", got, c.want)
			}
		})
	}
}
