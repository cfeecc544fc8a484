package gatekeeper

import (
	"encoding/json"
	"strings"
	"testing"
)

// TestAWholeSetIsReadAsItsElementsAre compares the two queries, on whatever a rule may put
// into its set.
func TestAWholeSetIsReadAsItsElementsAre(t *testing.T) {
	for name, tc := range map[string]struct {
		rules string
		want  int
	}{
		"messages":                         {`violation[{"msg": m}] { m := ["b", "a"][_] }`, 2},
		"nothing":                          {`violation[{"msg": "x"}] { false }`, 0},
		"details":                          {`violation[{"msg": "m", "details": {"n": n}}] { n := [2, 1][_] }`, 2},
		"one of no details and of {}":      {`violation[{"msg": "m"}] { true } violation[{"msg": "m", "details": {}}] { true }`, 1},
		"no message":                       {`violation[{"text": "m"}] { true } violation[{"msg": "n"}] { true }`, 1},
		"more than a message":              {`violation[{"msg": "m", "more": n}] { n := [2, 1][_] }`, 1},
		"no object":                        {`violation[x] { x := ["msg", {"msg"}, ["msg"], 1, null, {"msg": "m"}][_] }`, 1},
		"a message that is none":           {`violation[{"msg": x}] { x := [false, null][_] }`, 1},
		"a set in the details":             {`violation[{"msg": "m", "details": {2, 1}}] { true }`, 1},
		"a rule whose function goes amiss": {`violation[{"msg": "m", "details": 1 / 0}] { true } violation[{"msg": "n"}] { true }`, 1},
	} {
		t.Run(name, func(t *testing.T) {
			template, err := CompileTemplate(parseYAML(t, `
apiVersion: templates.gatekeeper.sh/v1
kind: ConstraintTemplate
metadata: {name: odd}
spec:
  crd: {spec: {names: {kind: Odd}}}
  targets:
  - target: admission.k8s.gatekeeper.sh
    rego: |
      package odd
      `+strings.ReplaceAll(tc.rules, "} violation", "}\n      violation")))
			if err != nil {
				t.Fatal(err)
			}
			c, err := template.Constraint(parseYAML(t, `{apiVersion: constraints.gatekeeper.sh/v1beta1, kind: Odd, metadata: {name: odd}}`))
			if err != nil {
				t.Fatal(err)
			}
			if !template.rego.whole {
				t.Fatal("wanted a template whose violations are asked for at once")
			}
			found := judged(t, c)
			each, err := template.rego.queries.Compile(answerQuery())
			if err != nil {
				t.Fatal(err)
			}
			template.rego.query, template.rego.whole = each, false
			if want := judged(t, c); found != want {
				t.Errorf("wanted %s, got %s", want, found)
			}
			if got := strings.Count(found, `"Message"`); got != tc.want {
				t.Errorf("wanted %d violations, got %s", tc.want, found)
			}
		})
	}
}

func judged(t *testing.T, c *Constraint) string {
	t.Helper()
	r, err := NewReview(podRequest(t))
	if err != nil {
		t.Fatal(err)
	}
	raw, err := json.Marshal(NewSet(nil, c).Judge(t.Context(), r))
	if err != nil {
		t.Fatal(err)
	}
	return string(raw)
}
