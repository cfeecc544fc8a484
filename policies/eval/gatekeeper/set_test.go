package gatekeeper

import (
	"context"
	"encoding/json"
	"fmt"
	"slices"
	"strings"
	"sync"
	"testing"
	"time"

	"github.com/google/go-cmp/cmp"
	admissionv1 "k8s.io/api/admission/v1"
	corev1 "k8s.io/api/core/v1"
	metav1 "k8s.io/apimachinery/pkg/apis/meta/v1"
	"k8s.io/apimachinery/pkg/apis/meta/v1/unstructured"
	"k8s.io/apimachinery/pkg/runtime/schema"
)

// templateOf is a template whose violations are the given Rego v0 rules.
func templateOf(t testing.TB, kind, rules string) *unstructured.Unstructured {
	t.Helper()
	return parseYAML(t, fmt.Sprintf(`
apiVersion: templates.gatekeeper.sh/v1
kind: ConstraintTemplate
metadata: {name: %s}
spec:
  crd: {spec: {names: {kind: %s}, validation: {openAPIV3Schema: {type: object, properties: {word: {type: string}}}}}}
  targets:
  - target: admission.k8s.gatekeeper.sh
    rego: |
      package p
      %s
`, strings.ToLower(kind), kind, strings.ReplaceAll(rules, "\n", "\n      ")))
}

func constraintOf(t testing.TB, kind, name, spec string) *unstructured.Unstructured {
	t.Helper()
	return parseYAML(t, fmt.Sprintf(`{apiVersion: constraints.gatekeeper.sh/v1beta1, kind: %s, metadata: {name: %s}, spec: %s}`, kind, name, spec))
}

const always = `violation[{"msg": "no"}] { true }`

func setOf(t testing.TB, rules string, specs ...string) *Set {
	t.Helper()
	template, err := CompileTemplate(templateOf(t, "Rule", rules))
	if err != nil {
		t.Fatal(err)
	}
	var list []*Constraint
	for i, spec := range specs {
		c, err := template.Constraint(constraintOf(t, "Rule", fmt.Sprintf("c%d", i), spec))
		if err != nil {
			t.Fatal(err)
		}
		list = append(list, c)
	}
	return NewSet(nil, list...)
}

func review(t testing.TB, change func(*admissionv1.AdmissionRequest)) *Review {
	t.Helper()
	q := podRequest(t)
	if change != nil {
		change(q)
	}
	r, err := NewReview(q)
	if err != nil {
		t.Fatal(err)
	}
	r.Source = SourceOriginal
	return r
}

func texts(list []Violation) []string {
	out := []string{}
	for _, v := range list {
		out = append(out, v.Constraint.Name+" "+strings.Join(v.Actions, "+")+": "+v.Message)
	}
	return out
}

func TestActionsAreThoseOfThePointOfEnforcement(t *testing.T) {
	set := setOf(t, always,
		`{}`, `{enforcementAction: warn}`, `{enforcementAction: dryrun}`, `{enforcementAction: noted}`,
		`{enforcementAction: scoped, scopedEnforcementActions: [{action: warn, enforcementPoints: [{name: audit.gatekeeper.sh}]}, {action: deny, enforcementPoints: [{name: validation.gatekeeper.sh}]}]}`,
		`{enforcementAction: scoped, scopedEnforcementActions: [{action: warn, enforcementPoints: [{name: "*"}]}, {action: dryrun, enforcementPoints: [{name: vap.k8s.io}, {name: audit.gatekeeper.sh}]}]}`,
		`{enforcementAction: deny, scopedEnforcementActions: [{action: warn, enforcementPoints: [{name: "*"}]}]}`)
	for point, want := range map[string][]string{
		PointWebhook: {"c0 deny: no", "c1 warn: no", "c2 dryrun: no", "c3 noted: no", "c4 deny: no", "c5 warn: no", "c6 deny: no"},
		PointAudit:   {"c0 deny: no", "c1 warn: no", "c2 dryrun: no", "c3 noted: no", "c4 warn: no", "c5 dryrun+warn: no", "c6 deny: no"},
		PointGator:   {"c0 deny: no", "c1 warn: no", "c2 dryrun: no", "c3 noted: no", "c5 warn: no", "c6 deny: no"},
	} {
		r := review(t, nil)
		r.Point = point
		if d := cmp.Diff(want, texts(set.Judge(t.Context(), r))); d != "" {
			t.Errorf("%s (-want +got):\n%s", point, d)
		}
	}
}

func TestScopedNeedsItsList(t *testing.T) {
	template, err := CompileTemplate(templateOf(t, "Rule", always))
	if err != nil {
		t.Fatal(err)
	}
	for spec, want := range map[string]string{
		`{enforcementAction: scoped}`:                                                     "wanted a list",
		`{enforcementAction: scoped, scopedEnforcementActions: {action: deny}}`:           "wanted a list of",
		`{enforcementAction: 7}`:                                                          "wanted a string",
		`{match: {labelSelector: {matchExpressions: [{key: a, operator: Near}]}}}`:        "Near",
		`{match: {namespaceSelector: {matchExpressions: [{key: a, operator: In}]}}}`:      "values",
		`{match: {namespaces: ["Shop!"]}}`:                                                "should match",
		`{match: {source: Elsewhere}}`:                                                    "Unsupported value",
		`{parameters: {word: 7}}`:                                                         "must be of type string",
		`{parameters: {words: []}}`:                                                       "unknown fields: spec.parameters.words",
		`{match: {kinds: Pod}}`:                                                           "cannot unmarshal",
		`{match: {kinds: [{apiGroups: [""], kinds: [Pod], versions: [v1]}]}, matches: 1}`: "unknown fields",
	} {
		if _, err := template.Constraint(constraintOf(t, "Rule", "c", spec)); err == nil || !strings.Contains(err.Error(), want) {
			t.Errorf("%s: wanted %q, found %v", spec, want, err)
		}
	}
}

// The index and the early ways out change nothing about what matches.
func TestTheIndexFindsWhatMatchingFinds(t *testing.T) {
	groups, names := []string{"", "apps", "*"}, []string{"Pod", "Deployment", "Namespace", "*"}
	spaces := []string{"", "namespaces: [default]", "namespaces: [d*]", "excludedNamespaces: [default]", "excludedNamespaces: [kube-*]"}
	var specs []string
	for _, g := range groups {
		for _, n := range names {
			for _, ns := range spaces {
				specs = append(specs, fmt.Sprintf(`{match: {kinds: [{apiGroups: [%q], kinds: [%q]}], %s}}`, g, n, ns))
			}
		}
	}
	specs = append(specs, `{}`, `{match: {}}`, `{match: {kinds: [{apiGroups: [""]}]}}`, `{match: {kinds: [{kinds: [Pod, Namespace]}]}}`)
	set := setOf(t, always, specs...)
	for _, object := range []string{
		`{"apiVersion": "v1", "kind": "Pod", "metadata": {"name": "a", "namespace": "default"}}`,
		`{"apiVersion": "apps/v1", "kind": "Deployment", "metadata": {"name": "a", "namespace": "kube-system"}}`,
		`{"apiVersion": "v1", "kind": "Namespace", "metadata": {"name": "default"}}`,
		`{"apiVersion": "v1", "kind": "Node", "metadata": {"name": "default"}}`,
	} {
		var o map[string]any
		if err := json.Unmarshal([]byte(object), &o); err != nil {
			t.Fatal(err)
		}
		facts, err := factsOf(o, nil)
		if err != nil {
			t.Fatal(err)
		}
		var want []string
		for _, c := range set.all {
			ok := true
			if c.match != nil {
				if ok, err = c.match.matches(facts, nil, SourceOriginal); err != nil {
					t.Fatal(err)
				}
			}
			if ok {
				want = append(want, c.key.Name)
			}
		}
		r := review(t, func(q *admissionv1.AdmissionRequest) {
			q.Object.Raw = []byte(object)
			q.Kind = metav1.GroupVersionKind{Group: facts.group, Version: facts.version, Kind: facts.kind}
			q.Namespace = facts.namespace
			if facts.isNamespace() {
				q.Namespace = facts.name // as the API server says it
			}
		})
		var found []string
		for _, v := range set.Judge(t.Context(), r) {
			found = append(found, v.Constraint.Name)
		}
		slices.Sort(want)
		if d := cmp.Diff(want, found); d != "" {
			t.Errorf("%s (-matching +index):\n%s", object, d)
		}
		if !set.Asks(schema.GroupKind{Group: facts.group, Kind: facts.kind}) {
			t.Errorf("%s: wanted the set to be asked", object)
		}
	}
}

func TestWhatCannotBeJudgedIsAViolation(t *testing.T) {
	endless := `n := numbers.range(1, 400)
violation[{"msg": "x"}] { i := n[_]; j := n[_]; k := n[_]; l := n[_]; ((i + j) + k) + l == 0 }`
	large := `violation[{"msg": "x"}] { count(numbers.range(1, 1000000000)) == 0 }`
	for name, tc := range map[string]struct {
		rules, object, want string
	}{
		"one that does not end":        {endless, "", "longer than its share"},
		"one that makes a large value": {large, "", "too large a value"},
		"a msg that is no string":      {`violation[{"msg": 7}] { true }`, "", "wanted a string as the msg"},
		"an object without a kind":     {always, `{"metadata": {}}`, "unable to match constraints: invalid request object"},
		"an object that is none":       {always, `[]`, "unable to match constraints: invalid request object"},
		"null":                         {always, `null`, "unable to match constraints: invalid request object"},
	} {
		t.Run(name, func(t *testing.T) {
			ctx, cancel := context.WithTimeout(t.Context(), 300*time.Millisecond)
			defer cancel()
			set := setOf(t, tc.rules, `{match: {kinds: [{apiGroups: [""], kinds: [Pod]}]}}`)
			found := set.Judge(ctx, review(t, func(q *admissionv1.AdmissionRequest) {
				if tc.object != "" {
					q.Object.Raw = []byte(tc.object)
				}
			}))
			if len(found) != 1 || !found[0].Failed || !found[0].Is(ActionDeny) || !strings.Contains(found[0].Message, tc.want) {
				t.Errorf("wanted one failure with %q, found %+v", tc.want, found)
			}
		})
	}
}

func TestOperationsOfATemplateNarrowTheWebhookAlone(t *testing.T) {
	u := templateOf(t, "Rule", always)
	targets, _, _ := unstructured.NestedSlice(u.Object, "spec", "targets")
	targets[0].(map[string]any)["operations"] = []any{"DELETE"}
	if err := unstructured.SetNestedSlice(u.Object, targets, "spec", "targets"); err != nil {
		t.Fatal(err)
	}
	template, err := CompileTemplate(u)
	if err != nil {
		t.Fatal(err)
	}
	c, err := template.Constraint(constraintOf(t, "Rule", "c", "{}"))
	if err != nil {
		t.Fatal(err)
	}
	set := NewSet(nil, c)
	audit := review(t, nil)
	audit.Point = PointAudit
	for name, tc := range map[string]struct {
		r    *Review
		want int
	}{
		"a create at the webhook": {review(t, nil), 0},
		"a delete at the webhook": {review(t, func(q *admissionv1.AdmissionRequest) {
			q.Operation, q.OldObject, q.Object.Raw = admissionv1.Delete, q.Object, nil
		}), 1},
		"a create in the audit": {audit, 1},
	} {
		if got := len(set.Judge(t.Context(), tc.r)); got != tc.want {
			t.Errorf("%s: wanted %d violations, found %d", name, tc.want, got)
		}
	}
}

func TestTheNamespaceIsConvertedOnceForEachStateOfIt(t *testing.T) {
	set := setOf(t, `violation[{"msg": m}] { m := input.review.namespaceObject.metadata.labels.stage }`, `{match: {namespaceSelector: {matchExpressions: [{key: stage, operator: Exists}]}}}`)
	for _, tc := range []struct{ version, stage, want string }{{"1", "test", "test"}, {"1", "test", "test"}, {"2", "prod", "prod"}, {"", "none", "none"}} {
		r := review(t, nil)
		r.Namespace = &corev1.Namespace{ObjectMeta: metav1.ObjectMeta{Name: "default", UID: "u", ResourceVersion: tc.version, Labels: map[string]string{"stage": tc.stage}}}
		if d := cmp.Diff([]string{"c0 deny: " + tc.want}, texts(set.Judge(t.Context(), r))); d != "" {
			t.Errorf("version %q (-want +got):\n%s", tc.version, d)
		}
	}
}

func TestTheTimeIsTheReviews(t *testing.T) {
	set := setOf(t, `violation[{"msg": m}] { m := sprintf("%v", [time.date(time.now_ns())]) }`, `{}`)
	r := review(t, nil)
	r.Time = time.Date(2026, 5, 4, 0, 0, 0, 0, time.UTC)
	if d := cmp.Diff([]string{"c0 deny: [2026, 5, 4]"}, texts(set.Judge(t.Context(), r))); d != "" {
		t.Error(d)
	}
}

func TestTheStoreKeepsWhatWorked(t *testing.T) {
	s := NewStore()
	judge := func() []string { return texts(s.Set().Judge(t.Context(), review(t, nil))) }
	want := func(when string, want ...string) {
		t.Helper()
		if d := cmp.Diff(append([]string{}, want...), judge()); d != "" {
			t.Errorf("%s (-want +got):\n%s", when, d)
		}
	}
	if err := s.PutConstraint(constraintOf(t, "Rule", "c", `{parameters: {word: a}}`)); err == nil {
		t.Error("wanted an error, since there is no template yet")
	}
	want("a constraint without a template")
	broken := templateOf(t, "Rule", `violation[{"msg": "no"}] { nothing }`)
	if _, err := s.PutTemplate(broken); err == nil {
		t.Error("wanted an error")
	}
	if got := judge(); len(got) != 1 || !strings.Contains(got[0], "nothing") {
		t.Errorf("a template that never compiled: wanted its error as a violation, found %q", got)
	}
	if _, err := s.PutTemplate(templateOf(t, "Rule", `violation[{"msg": m}] { m := input.parameters.word }`)); err != nil {
		t.Error(err)
	}
	want("the template is mended", "c deny: a")
	if _, err := s.PutTemplate(broken); err == nil {
		t.Error("wanted an error")
	}
	want("the template breaks", "c deny: a")
	if err := s.PutConstraint(constraintOf(t, "Rule", "c", `{parameters: {word: 7}}`)); err == nil {
		t.Error("wanted an error")
	}
	want("the constraint breaks", "c deny: a")
	if err := s.PutConstraint(constraintOf(t, "Rule", "c", `{parameters: {word: b}, enforcementAction: warn}`)); err != nil {
		t.Error(err)
	}
	want("the constraint changes", "c warn: b")
	if c := s.Set().Find(Key{Kind: "Rule", Name: "c"}); c == nil || c.Digest() == "" {
		t.Error("wanted to find the constraint")
	}
	s.DeleteConstraint(Key{Kind: "Rule", Name: "c"})
	want("the constraint is deleted")
	if err := s.PutConstraint(constraintOf(t, "Rule", "c", `{parameters: {word: c}}`)); err != nil {
		t.Error(err)
	}
	want("it comes back", "c deny: c")
	s.DeleteTemplate("rule")
	want("the template is deleted")
}

// A change of the store neither delays nor changes a review that runs.
func TestReviewsGoOnWhileTheStoreChanges(t *testing.T) {
	s := NewStore()
	if _, err := s.PutTemplate(templateOf(t, "Rule", `violation[{"msg": m}] { m := input.parameters.word; count(data.inventory.cluster["v1"].Node) == 1 }`)); err != nil {
		t.Fatal(err)
	}
	node := parseYAML(t, `{apiVersion: v1, kind: Node, metadata: {name: a}}`)
	if err := s.Inventory().Put(node); err != nil {
		t.Fatal(err)
	}
	words := []string{"a", "b"}
	put := func(i int) {
		if err := s.PutConstraint(constraintOf(t, "Rule", "c", fmt.Sprintf(`{parameters: {word: %s}}`, words[i%2]))); err != nil {
			t.Error(err)
		}
	}
	put(0)
	var readers sync.WaitGroup
	for range 4 {
		readers.Go(func() {
			for range 200 {
				got := texts(s.Set().Judge(t.Context(), review(t, nil)))
				if len(got) != 1 || !slices.Contains([]string{"c deny: a", "c deny: b"}, got[0]) {
					t.Errorf("wanted one of two violations, found %q", got)
					return
				}
			}
		})
	}
	for i := range 100 {
		put(i)
		if err := s.Inventory().Put(node); err != nil {
			t.Error(err)
		}
	}
	readers.Wait()
}

func TestTheInventoryIsAsItWasWhenTheReviewBegan(t *testing.T) {
	var i Inventory
	put := func(text string) {
		t.Helper()
		if err := i.Put(parseYAML(t, text)); err != nil {
			t.Fatal(err)
		}
	}
	put(`{apiVersion: apps/v1, kind: Deployment, metadata: {name: a, namespace: shop}}`)
	before := i.snapshot()
	put(`{apiVersion: apps/v1, kind: Deployment, metadata: {name: b, namespace: shop}}`)
	put(`{apiVersion: v1, kind: Namespace, metadata: {name: shop, labels: {a: b}}}`)
	if again := i.snapshot(); again != i.snapshot() {
		t.Error("wanted one snapshot for one state")
	}
	text := func(s *snapshot) string { return s.data.String() }
	if got := text(before); strings.Contains(got, `"b"`) {
		t.Errorf("the snapshot changed: %s", got)
	}
	after := i.snapshot()
	for _, want := range []string{`"namespace": {"shop": {"apps/v1": {"Deployment": {"a": {`, `"cluster": {"v1": {"Namespace": {"shop": {`} {
		if !strings.Contains(text(after), want) {
			t.Errorf("wanted %s in %s", want, text(after))
		}
	}
	if got := after.namespaces["shop"].labels["a"]; got != "b" {
		t.Errorf("wanted the labels of the namespace, found %q", got)
	}
	for _, gone := range []string{
		`{apiVersion: apps/v1, kind: Deployment, metadata: {name: a, namespace: shop}}`,
		`{apiVersion: apps/v1, kind: Deployment, metadata: {name: b, namespace: shop}}`,
		`{apiVersion: apps/v1, kind: Deployment, metadata: {name: never, namespace: shop}}`,
		`{apiVersion: v1, kind: Namespace, metadata: {name: shop}}`,
	} {
		if err := i.Delete(parseYAML(t, gone)); err != nil {
			t.Fatal(err)
		}
	}
	if got := text(i.snapshot()); got != `{"inventory": {}}` {
		t.Errorf("wanted nothing to be left, found %s", got)
	}
	if len(i.snapshot().namespaces) != 0 {
		t.Error("wanted no namespace to be left")
	}
	if err := i.Put(&unstructured.Unstructured{Object: map[string]any{"kind": "A"}}); err == nil {
		t.Error("wanted an error for an object without a version")
	}
}

func TestWhatReachesOutsideIsWithheld(t *testing.T) {
	for call, want := range map[string]string{
		`http.send({"method": "get", "url": "http://127.0.0.1"})`: "no policy may call it",
		`opa.runtime()`:                  "no policy may call it",
		`net.lookup_ip_addr("x")`:        "no policy may call it",
		`json.match_schema({}, {})`:      "no policy may call it",
		`external_data({"provider": 1})`: "external data are not supported",
	} {
		_, err := CompileTemplate(templateOf(t, "Rule", `violation[{"msg": "x"}] { `+call+` }`))
		if err == nil || !strings.Contains(err.Error(), want) {
			t.Errorf("%s: wanted %q, found %v", call, want, err)
		}
	}
}

func TestTheCRDIsServedAsGatekeepersIs(t *testing.T) {
	template, err := CompileTemplate(templateOf(t, "Rule", always))
	if err != nil {
		t.Fatal(err)
	}
	crd := template.CRD()
	if crd.Name != "rule.constraints.gatekeeper.sh" || crd.Labels["gatekeeper.sh/constraint"] != "yes" || crd.Spec.Scope != "Cluster" {
		t.Errorf("found %s %v %s", crd.Name, crd.Labels, crd.Spec.Scope)
	}
	var versions []string
	for _, v := range crd.Spec.Versions {
		versions = append(versions, fmt.Sprintf("%s served %v stored %v", v.Name, v.Served, v.Storage))
		if v.Schema.OpenAPIV3Schema.Properties["spec"].Properties["parameters"].Properties["word"].Type != "string" {
			t.Errorf("%s: wanted the schema of the parameters", v.Name)
		}
	}
	if d := cmp.Diff([]string{"v1beta1 served true stored true", "v1alpha1 served true stored false"}, versions); d != "" {
		t.Error(d)
	}
}
