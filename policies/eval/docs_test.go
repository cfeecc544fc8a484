package eval_test

import (
	"os"
	"strings"
	"testing"

	"tidegate.io/tidegate/policies/eval"
)

// What the page shows must work when it is copied.
func TestThePoliciesOfTheDocsCompile(t *testing.T) {
	page, err := os.ReadFile("../../docs/policies.md")
	if err != nil {
		t.Fatal(err)
	}
	blocks := strings.Split(string(page), "```rego\n")[1:]
	if len(blocks) < 2 {
		t.Fatalf("found %d policies", len(blocks))
	}
	for _, block := range blocks {
		rego, _, _ := strings.Cut(block, "```")
		if !strings.HasPrefix(rego, "package") {
			rego = "package p\n" + rego
		}
		if _, err := eval.Compile(eval.Source{Name: "p", Rego: rego}); err != nil {
			t.Errorf("%v in:\n%s", err, rego)
		}
	}
}
