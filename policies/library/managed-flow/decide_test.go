package managedflow_test

import (
	"encoding/json"
	"testing"

	"tidegate.io/tidegate/policies/eval"
	managedflow "tidegate.io/tidegate/policies/library/managed-flow"
)

// TestGoAndRegoAgree puts every combination to both. The policy may fail where Go says no,
// since either refuses the request.
func TestGoAndRegoAgree(t *testing.T) {
	p, err := managedflow.Compile()
	if err != nil {
		t.Fatalf("Compile: %v", err)
	}
	gate := managedflow.Gate{Name: "g", Writers: []string{"writer", ""}, Allow: managedflow.Allow{Autoscalers: []string{"scaler"}}}
	objects := []string{
		"",
		`{}`,
		`null`,
		`[]`,
		`{"metadata": {}}`,
		`{"metadata": null}`,
		`{"metadata": "x"}`,
		`{"metadata": []}`,
		`{"metadata": {"labels": {}}}`,
		`{"metadata": {"labels": null}}`,
		`{"metadata": {"labels": "tidegate.io/release"}}`,
		`{"metadata": {"labels": ["tidegate.io/release"]}}`,
		`{"metadata": {"labels": {"app": "x"}}}`,
		`{"metadata": {"labels": {"tidegate.io/release": "cart"}}}`,
		`{"metadata": {"labels": {"tidegate.io/release": ""}}}`,
		`{"metadata": {"labels": {"tidegate.io/release": null}}}`,
		`{"metadata": {"labels": {"Tidegate.io/release": "cart"}}}`,
		`{"metadata": {"Labels": {"tidegate.io/release": "cart"}}}`,
		`{"Metadata": {"labels": {"tidegate.io/release": "cart"}}}`,
		`{"Metadata": {}}`,
		`{"metadata": {}, "Metadata": {"labels": {"tidegate.io/release": "cart"}}}`,
		`{"metadata": {"labels": {"tidegate.io/release": "cart"}}, "metadata": {}}`,
		`{"metadata": {}, "metadata": {"labels": {"tidegate.io/release": "cart"}}}`,
		`{"metadata": {"labels": {"tidegate.io/release": "cart"}, "labels": {"app": "x"}}}`,
		`{"metadata": {"labels": {"app": "x"}, "labels": {"tidegate.io/release": "cart"}}}`,
		`{"metadata": {"labels": {"tidegate.io\u002frelease": "cart"}}}`,
	}
	n, allowed := 0, 0
	for _, user := range []string{"writer", "controller", "scaler", "alice", "", "Writer", "writer "} {
		for _, operation := range []string{"CREATE", "UPDATE", "DELETE", "CONNECT", "", "create"} {
			for _, sub := range []string{"", "scale", "status", "Scale"} {
				for _, scope := range []managedflow.Scope{managedflow.ScopeAlways, managedflow.ScopeLabelled, ""} {
					for _, object := range objects {
						for _, old := range objects {
							// The objects decide only for a user who is nobody, and beyond
							// that the whole table would take minutes.
							if (user != "alice" || scope != managedflow.ScopeLabelled || sub != "") && object != old {
								continue
							}
							r := eval.Request{
								Operation: operation, SubResource: sub, Namespace: "shop", Name: "x",
								Resource: eval.GroupResource{Version: "v1", Resource: "configmaps"},
								UserInfo: eval.UserInfo{Username: user}, Object: json.RawMessage(object), OldObject: json.RawMessage(old),
							}
							facts := managedflow.Facts{Gate: gate, Controllers: []string{"controller"}, Scope: scope}
							in, err := eval.NewInput(map[string]any{"request": r})
							if err == nil {
								in, err = facts.Extend(in)
							}
							if err != nil {
								t.Fatal(err)
							}
							found, err := p.Eval(t.Context(), in)
							n++
							if rego := err == nil && found.Allow; facts.Allows(r) != rego {
								t.Errorf("user %q, operation %q, subresource %q, scope %q, object %s, old %s: Go says %v, Rego %v (%v)",
									user, operation, sub, scope, object, old, !rego, rego, err)
							} else if rego {
								allowed++
							}
						}
					}
				}
			}
		}
	}
	t.Logf("%d requests, %d allowed", n, allowed)
	if allowed == 0 || allowed == n {
		t.Error("the table shows nothing")
	}
}
