package managedflow_test

import (
	"slices"
	"strings"
	"testing"

	"tidegate.io/tidegate/policies/eval"
	managedflow "tidegate.io/tidegate/policies/library/managed-flow"
	"tidegate.io/tidegate/webhook/govern"
)

// What goes around the weights is whatever every Gate governs with and without the label, but for
// workloads, which are pods themselves, and disruption budgets, which send no requests.
func TestWhoMakesWhatGoesAroundTheWeightsIsToldSo(t *testing.T) {
	t.Parallel()
	p, err := managedflow.Compile()
	if err != nil {
		t.Fatalf("Compile: %v", err)
	}
	others := []string{"apps", "batch", "policy"}
	around := 0
	for _, kind := range govern.DefaultKinds() {
		if kind.Ring != govern.RingWebhook || strings.Contains(kind.Resource, "/") {
			continue
		}
		scope := managedflow.ScopeAlways
		if kind.Labelled {
			scope = managedflow.ScopeLabelled
		}
		in, err := eval.NewInput(map[string]any{"request": eval.Request{
			Operation: "CREATE", Namespace: "shop", Name: "mine",
			Resource: eval.GroupResource{Group: kind.Group, Version: "v1", Resource: kind.Resource},
			UserInfo: eval.UserInfo{Username: "alice"},
			Object:   []byte(`{"metadata": {"name": "mine", "labels": {"tidegate.io/revision": "1"}}}`),
		}})
		if err != nil {
			t.Fatalf("NewInput: %v", err)
		}
		if in, err = (managedflow.Facts{Scope: scope}).Extend(in); err != nil {
			t.Fatalf("Extend: %v", err)
		}
		got, err := p.Eval(t.Context(), in)
		if err != nil {
			t.Fatalf("Eval: %v", err)
		}
		want := !kind.Labelled && !slices.Contains(others, kind.Group)
		if want {
			around++
		}
		if scope == managedflow.ScopeLabelled {
			if !got.Allow {
				t.Errorf("%s of %q without the label is refused", kind.Resource, kind.Group)
			}
			continue
		}
		if len(got.Denials) != 1 {
			t.Errorf("%s of %q: wanted one denial, found %v", kind.Resource, kind.Group, got.Denials)
			continue
		}
		if said := strings.Contains(got.Denials[0].String(), "go around its weights"); said != want {
			t.Errorf("%s of %q: wanted %t of going around the weights, found %s", kind.Resource, kind.Group, want, got.Denials[0])
		}
	}
	if around < 15 {
		t.Errorf("wanted the kinds that go around the weights, found %d", around)
	}
}
