package simulate

import (
	"go/ast"
	source "go/parser"
	"go/token"
	"path/filepath"
	"slices"
	"strconv"
	"strings"
	"testing"
)

// TestEveryReasonOfAPlanCanBeSaid finds the reason codes in the source of rollout/plan: each can be waited for.
func TestEveryReasonOfAPlanCanBeSaid(t *testing.T) {
	t.Parallel()
	files, err := filepath.Glob("../plan/*.go")
	if err != nil {
		t.Fatal(err)
	}
	found := 0
	for _, file := range files {
		if strings.HasSuffix(file, "_test.go") {
			continue
		}
		tree, err := source.ParseFile(token.NewFileSet(), file, nil, 0)
		if err != nil {
			t.Fatal(err)
		}
		ast.Inspect(tree, func(n ast.Node) bool {
			spec, ok := n.(*ast.ValueSpec)
			if !ok || !strings.HasPrefix(spec.Names[0].Name, "Reason") || len(spec.Values) == 0 {
				return true
			}
			lit, ok := spec.Values[0].(*ast.BasicLit)
			if !ok {
				return true
			}
			code, err := strconv.Unquote(lit.Value)
			if found++; err != nil || !slices.Contains(codes, code) {
				t.Errorf("%s: %s = %q is not among the codes of a scenario: add it", file, spec.Names[0].Name, code)
			}
			return true
		})
	}
	if found != len(codes) {
		t.Errorf("wanted each of the %d codes in the source, found %d", len(codes), found)
	}
}

// TestAMistakeIsSaidOnce gives scenarios with one mistake: nothing that only follows from it is said.
func TestAMistakeIsSaidOnce(t *testing.T) {
	t.Parallel()
	for name, text := range map[string]string{
		"a time that is none":             goodHead + "timeline:\n- {at: 30, verdict: Fail}\n",
		"a condition that is none":        goodHead + "timeline:\n- {when: weight is 20, verdict: Fail}\n",
		"a size that is none":             "stable: {replicas: many}\n" + goodStrategy,
		"a size of the new revision":      "stable: {replicas: 4}\nreplicas: many\n" + goodStrategy,
		"a number in the place of fields": "stable: 4\n" + goodStrategy,
		"pods in one word":                goodHead + "timeline:\n- {at: 30s, pods: crash}\n",
		"nothing at all":                  "---\n",
		"a list":                          "- a\n",
	} {
		t.Run(name, func(t *testing.T) {
			t.Parallel()
			if said := mistakes(t, "s.yaml", text); strings.Contains(said, "\n") {
				t.Errorf("wanted one mistake, found:\n%s", said)
			}
		})
	}
}

// TestShortForms reads what may be said in one word, and an archive that is known by its first line.
func TestShortForms(t *testing.T) {
	t.Parallel()
	const hooked = "stable: {replicas: 4}\nstrategy: {type: canary, hooks: [{name: ask, url: 'https://x.example.com', on: [begin]}], steps: [{setWeight: 20}, {job: {object: smoke}}]}\n"
	for name, c := range map[string]struct{ file, text, outcome string }{
		"every hook refuses":           {"s.yaml", hooked + "timeline:\n- {at: 0s, hook: refuses}\n", "Aborted"},
		"every job fails":              {"s.yaml", hooked + "timeline:\n- {at: 0s, job: fails}\n", "Aborted"},
		"a release by its revision":    {"s.yaml", hooked + "timeline:\n- {at: 1m, release: v9}\nexpect: {serving: v9}\n", "Succeeded"},
		"an archive of another name":   {"s.yaml", "Prose.\n\n-- scenario.yaml --\n" + hooked, "Succeeded"},
		"an archive on standard input": {"-", "Prose.\n\n-- scenario.yaml --\n" + hooked, "Succeeded"},
		"an archive in capitals":       {"S.TXTAR", "Prose.\n\n-- scenario.yaml --\n" + hooked, "Succeeded"},
	} {
		t.Run(name, func(t *testing.T) {
			t.Parallel()
			sc, err := Parse(c.file, []byte(c.text), nil)
			if err != nil {
				t.Fatal(err)
			}
			if res := Run(sc); string(res.Summary.Outcome) != c.outcome || len(res.Failures) > 0 {
				t.Errorf("wanted %s, found %s: %q", c.outcome, res.Summary.Outcome, res.Failures)
			}
		})
	}
}

// TestACommandAboutNoRolloutIsTold names one that is not there: it is given to no other.
func TestACommandAboutNoRolloutIsTold(t *testing.T) {
	t.Parallel()
	res := play(t, goodHead+"timeline:\n- {at: 1s, command: {action: abort, rollout: app-9}}\n")
	if len(res.Failures) != 1 || !strings.Contains(res.Failures[0], `found "app-9"; the newest is app-2`) || res.Summary.Outcome == "Aborted" {
		t.Errorf("found %s and %q", res.Summary.Outcome, res.Failures)
	}
}
