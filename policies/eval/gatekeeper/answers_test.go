package gatekeeper

import (
	"encoding/json"
	"fmt"
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
		"no message":                       {`violation[{"text": "m"}] { true } violation[{"msg": "n"}] { true }`, 1},
		"no object":                        {`violation[x] { x := ["msg", {"msg"}, ["msg"], 1, null, {"msg": "m"}][_] }`, 1},
		"details":                          {`violation[{"msg": "m", "details": {"n": n}}] { n := [2, 1][_] }`, 2},
		"one of no details and of {}":      {`violation[{"msg": "m"}] { true } violation[{"msg": "m", "details": {}}] { true }`, 1},
		"more than a message":              {`violation[{"msg": "m", "more": n}] { n := [2, 1][_] }`, 1},
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

func TestATemplateThatCannotObjectIsRefused(t *testing.T) {
	for name, tc := range map[string]struct {
		rules   string
		refused bool
	}{
		"texts":                {`violation["hello"] { true }`, true},
		"no msg":               {`violation[{"details": {}}] { true }`, true},
		"a list":               {`violation[["m"]] { true }`, true},
		"numbers":              {`violation[x] { x := 1 }`, true},
		"a msg of some":        {`violation[{"text": "m"}] { true } violation[{"msg": "n"}] { true }`, false},
		"a msg that input has": {`violation[x] { x := input.review.object.metadata }`, false},
		"a msg as it should":   {`violation[{"msg": "m", "details": {}}] { true }`, false},
		"with a trace":         {`violation[{"msg": "m"}] { trace("x") }`, false},
	} {
		t.Run(name, func(t *testing.T) {
			_, err := CompileTemplate(templateOf(t, "Odd", tc.rules))
			if refused := err != nil; refused != tc.refused {
				t.Fatalf("refused: %v", err)
			}
		})
	}
}

// A few lines whose types nest in one another take the engine longer than anybody waits.
func TestATemplateWhoseTypesExplodeIsRefused(t *testing.T) {
	var b strings.Builder
	b.WriteString("a0 := [input.x1, 1]\n")
	for i := 1; i <= 44; i++ {
		fmt.Fprintf(&b, "a%d := [a%d, a%d]\n", i, i-1, i-1)
	}
	b.WriteString(`violation[{"msg": "m"}] { a44 == a44 }`)
	store := NewStore()
	if _, err := store.PutTemplate(templateOf(t, "Bomb", b.String())); err == nil || !strings.Contains(err.Error(), "too large to be compared") {
		t.Errorf("wanted it refused, found: %v", err)
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
