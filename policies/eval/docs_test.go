package eval_test

import (
	"os"
	"strings"
	"testing"

	"sigs.k8s.io/yaml"

	"tidegate.io/tidegate/policies/eval"
	"tidegate.io/tidegate/schemas/v1alpha1"
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

// The manifests of the page, too; of some it shows the spec alone.
func TestTheManifestsOfTheDocsCompile(t *testing.T) {
	page, err := os.ReadFile("../../docs/policies.md")
	if err != nil {
		t.Fatal(err)
	}
	blocks := strings.Split(string(page), "```yaml\n")[1:]
	if len(blocks) < 2 {
		t.Fatalf("found %d manifests", len(blocks))
	}
	for _, block := range blocks {
		text, _, _ := strings.Cut(block, "```")
		var p v1alpha1.DeployPolicy
		if err := yaml.UnmarshalStrict([]byte(text), &p); err != nil {
			t.Errorf("%v in:\n%s", err, text)
			continue
		}
		if _, err := eval.Compile(eval.FromDeployPolicy(&p)); err != nil {
			t.Errorf("%v in:\n%s", err, text)
		}
	}
}
