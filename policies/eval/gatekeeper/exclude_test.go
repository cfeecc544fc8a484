package gatekeeper

import (
	"strings"
	"testing"

	"k8s.io/apimachinery/pkg/apis/meta/v1/unstructured"
)

func TestAConfigLeavesNamespacesOut(t *testing.T) {
	config := &unstructured.Unstructured{Object: map[string]any{"spec": map[string]any{"match": []any{
		map[string]any{"excludedNamespaces": []any{"kube-*", "build"}, "processes": []any{"*"}},
		map[string]any{"excludedNamespaces": []any{"*-dev"}, "processes": []any{"audit", "mutation-webhook"}},
		map[string]any{"excludedNamespaces": []any{"nobody"}},
	}}}}
	list, err := Exclusions(config)
	if err != nil {
		t.Fatal(err)
	}
	s := NewStore()
	if s.Excluded(ProcessWebhook, "kube-system") {
		t.Error("wanted nothing to be left out before there is a Config")
	}
	s.Exclude(list)
	for _, tc := range []struct {
		process, namespace string
		want               bool
	}{
		{ProcessWebhook, "kube-system", true},
		{ProcessSync, "build", true},
		{ProcessWebhook, "builder", false},
		{ProcessWebhook, "shop-dev", false},
		{ProcessAudit, "shop-dev", true},
		{ProcessWebhook, "nobody", false},
		{ProcessWebhook, "", false},
		{ProcessWebhook, "my-kube-system", false},
	} {
		if got := s.Excluded(tc.process, tc.namespace); got != tc.want {
			t.Errorf("%s of %q: wanted %v, found %v", tc.process, tc.namespace, tc.want, got)
		}
	}
	for name, match := range map[string]any{"a text": "kube-*", "a list of texts": []any{"kube-*"}, "numbers": []any{map[string]any{"excludedNamespaces": []any{int64(1)}}}} {
		config.Object["spec"] = map[string]any{"match": match}
		if _, err := Exclusions(config); err == nil || !strings.Contains(err.Error(), "spec.match") {
			t.Errorf("%s: wanted it to be refused, found %v", name, err)
		}
	}
	config.Object["spec"] = map[string]any{}
	if list, err := Exclusions(config); err != nil || list != nil {
		t.Errorf("found %v, %v", list, err)
	}
}

func TestTheStateOfAConstraintSaysWhetherAVersionOfItIsInForce(t *testing.T) {
	template := func(rego string) *unstructured.Unstructured {
		return &unstructured.Unstructured{Object: map[string]any{
			"apiVersion": "templates.gatekeeper.sh/v1", "kind": "ConstraintTemplate", "metadata": map[string]any{"name": "owned"},
			"spec": map[string]any{
				"crd": map[string]any{"spec": map[string]any{"names": map[string]any{"kind": "Owned"}, "validation": map[string]any{"openAPIV3Schema": map[string]any{
					"type": "object", "properties": map[string]any{"label": map[string]any{"type": "string"}},
				}}}},
				"targets": []any{map[string]any{"target": Target, "rego": "package p\n" + rego}},
			},
		}}
	}
	constraint := func(label any) *unstructured.Unstructured {
		return &unstructured.Unstructured{Object: map[string]any{
			"apiVersion": "constraints.gatekeeper.sh/v1beta1", "kind": "Owned", "metadata": map[string]any{"name": "all"},
			"spec": map[string]any{"parameters": map[string]any{"label": label}},
		}}
	}
	const good, bad = `violation[{"msg": "m"}] { true }`, `violation[{"msg": "m"}] { nonsense(1) }`
	key := Key{Kind: "Owned", Name: "all"}
	s := NewStore()
	step := func(what string, do func(), inForce, template bool, problem string) {
		t.Helper()
		do()
		state, ok := s.State(key)
		if !ok || state.InForce != inForce || s.TemplateInForce("Owned") != template ||
			(state.Problem == nil) != (problem == "") || state.Problem != nil && !strings.Contains(state.Problem.Error(), problem) {
			t.Errorf("%s: found %+v, template in force: %v", what, state, s.TemplateInForce("Owned"))
		}
	}
	if _, ok := s.State(key); ok {
		t.Error("wanted no state of what was never put")
	}
	step("a constraint without a template", func() { _ = s.PutConstraint(constraint("a")) }, false, false, "found none yet")
	step("a template that never worked", func() { _, _ = s.PutTemplate(template(bad)) }, true, false, "nonsense")
	step("one that works", func() { _, _ = s.PutTemplate(template(good)) }, true, true, "")
	step("a constraint that does not fit", func() { _ = s.PutConstraint(constraint(int64(1))) }, true, true, "schema validation failed")
	step("one that fits", func() { _ = s.PutConstraint(constraint("b")) }, true, true, "")
	step("a template that breaks", func() { _, _ = s.PutTemplate(template(bad)) }, true, true, "")
}
