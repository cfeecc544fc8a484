package gatekeeper

import (
	"fmt"
	"strings"
	"testing"
)

// bothEngines is a template with code of both, each of which says which it is.
func bothEngines(validation string) string {
	return fmt.Sprintf(`
apiVersion: templates.gatekeeper.sh/v1
kind: ConstraintTemplate
metadata: {name: both}
spec:
  crd: {spec: {names: {kind: Both}}}
  targets:
  - target: admission.k8s.gatekeeper.sh
    code:
    - engine: K8sNativeValidation
      source: {validations: [%s]}
    - engine: Rego
      source: {rego: "package both\nviolation[{\"msg\": \"in Rego\"}] { true }"}
`, validation)
}

func said(t *testing.T, compiler Compiler, template string) string {
	t.Helper()
	compiled, err := compiler.Compile(t.Context(), parseYAML(t, template))
	if err != nil {
		return "refused: " + err.Error()
	}
	c, err := compiled.Constraint(parseYAML(t, `{apiVersion: constraints.gatekeeper.sh/v1beta1, kind: Both, metadata: {name: c}}`))
	if err != nil {
		t.Fatal(err)
	}
	r, err := NewReview(podRequest(t))
	if err != nil {
		t.Fatal(err)
	}
	var out []string
	for _, v := range NewSet(nil, c).Judge(t.Context(), r) {
		out = append(out, v.Message)
	}
	return strings.Join(out, " && ")
}

func TestCELGoesBeforeRegoAsInGatekeeper(t *testing.T) {
	both := bothEngines(`{expression: "false", message: in CEL}`)
	for engine, want := range map[string]string{PreferCEL: "in CEL", PreferRego: "in Rego"} {
		compiler, err := Preferring(engine)
		if err != nil {
			t.Fatal(err)
		}
		if got := said(t, compiler, both); got != want {
			t.Errorf("%s: wanted %q, found %q", engine, want, got)
		}
	}
	if got := said(t, Compiler{}, both); got != "in CEL" {
		t.Errorf("by default: found %q", got)
	}
	if _, err := Preferring("lua"); err == nil {
		t.Error("wanted another engine refused")
	}
}

// Gatekeeper's own program takes what a cluster should not: the mistake is what its
// constraints say.
func TestMistakesInCELAreWhatConstraintsSay(t *testing.T) {
	for name, tc := range map[string]struct{ validation, want string }{
		"what does not compile":   {`{expression: "object.metadata."}`, "compilation error: "},
		"no boolean":              {`{expression: "1"}`, "compilation error: "},
		"the constraint as it is": {`{expression: "params.spec.x == 1"}`, "compilation error: "},
		"the authorizer":          {`{expression: "authorizer.group(\"\").resource(\"pods\").check(\"get\").allowed()"}`, "compilation error: "},
		"no validations":          {``, ""},
	} {
		t.Run(name, func(t *testing.T) {
			if got := said(t, Compiler{}, bothEngines(tc.validation)); !strings.HasPrefix(got, tc.want) || (tc.want == "") != (got == "") || strings.Contains(got, " && ") {
				t.Errorf("wanted one violation %q, found %q", tc.want, got)
			}
			if _, err := NewStore().PutTemplate(parseYAML(t, bothEngines(tc.validation))); err == nil {
				t.Error("wanted it refused in a cluster")
			}
		})
	}
}
