package managedflow_test

import (
	"testing"

	"tidegate.io/tidegate/policies/eval"
	managedflow "tidegate.io/tidegate/policies/library/managed-flow"
)

func TestFactsAreWhatThePolicyReads(t *testing.T) {
	p, err := managedflow.Compile()
	if err != nil {
		t.Fatalf("Compile: %v", err)
	}
	in, err := eval.NewInput(map[string]any{"request": eval.Request{
		Operation: "UPDATE", Namespace: "shop", Name: "cart-0a1b2c3d4e",
		Resource: eval.GroupResource{Group: "apps", Version: "v1", Resource: "deployments"},
		UserInfo: eval.UserInfo{Username: "alice"},
	}})
	if err != nil {
		t.Fatalf("NewInput: %v", err)
	}
	for name, tc := range map[string]struct {
		facts managedflow.Facts
		want  string // empty is allowed
	}{
		"a stranger is refused": {
			managedflow.Facts{Scope: managedflow.ScopeAlways, Release: "cart"},
			`TG-GATE-BYPASS: deployments "cart-0a1b2c3d4e" in namespace "shop" is managed by Release "cart"; wanted: changes through the Release, found: UPDATE by "alice"; do: kubectl edit release cart -n shop`,
		},
		"a writer passes": {
			managedflow.Facts{Scope: managedflow.ScopeAlways, Gate: managedflow.Gate{Writers: []string{"alice"}}}, "",
		},
		"a controller passes": {
			managedflow.Facts{Scope: managedflow.ScopeAlways, Controllers: []string{"alice"}}, "",
		},
	} {
		t.Run(name, func(t *testing.T) {
			in, err := tc.facts.Extend(in)
			if err != nil {
				t.Fatalf("Extend: %v", err)
			}
			got, err := p.Eval(t.Context(), in)
			if err != nil {
				t.Fatalf("Eval: %v", err)
			}
			if got.Allow != (tc.want == "") {
				t.Errorf("allow is %v", got.Allow)
			}
			if tc.want != "" && (len(got.Denials) != 1 || got.Denials[0].String() != tc.want) {
				t.Errorf("wanted\n%s\ngot\n%v", tc.want, got.Denials)
			}
		})
	}
}
