package templatepins_test

import (
	"encoding/json"
	"fmt"
	"os"
	"strings"
	"testing"

	"sigs.k8s.io/yaml"

	"tidegate.io/tidegate/policies/eval"
	"tidegate.io/tidegate/policies/eval/regotest"
	templatepins "tidegate.io/tidegate/policies/library/template-pins"
	"tidegate.io/tidegate/schemas/v1alpha1"
)

func TestRego(t *testing.T) {
	regotest.Run(t, ".")
}

// document reads a YAML document as an input.
func document(t testing.TB, raw []byte) eval.Input {
	t.Helper()
	text, err := yaml.YAMLToJSON(raw)
	if err != nil {
		t.Fatalf("reading a sample: %v", err)
	}
	var parts map[string]json.RawMessage
	if err := json.Unmarshal(text, &parts); err != nil {
		t.Fatalf("reading a sample: %v", err)
	}
	values := map[string]any{}
	for k, v := range parts {
		values[k] = v
	}
	in, err := eval.NewInput(values)
	if err != nil {
		t.Fatalf("NewInput: %v", err)
	}
	return in
}

func example(t testing.TB) eval.Source {
	t.Helper()
	raw, err := os.ReadFile("deploypolicy.yaml")
	if err != nil {
		t.Fatal(err)
	}
	var p v1alpha1.DeployPolicy
	if err := yaml.UnmarshalStrict(raw, &p); err != nil {
		t.Fatalf("reading deploypolicy.yaml: %v", err)
	}
	return eval.FromDeployPolicy(&p)
}

func TestSamples(t *testing.T) {
	p, err := eval.Compile(example(t))
	if err != nil {
		t.Fatalf("Compile: %v", err)
	}
	regotest.Samples(t, p, ".", func(t *testing.T, _ string, raw []byte) eval.Input { return document(t, raw) })
}

func TestTheExampleDeployPolicyIsThePolicy(t *testing.T) {
	got, want := example(t), templatepins.Source(nil)
	if got.Name != want.Name || strings.TrimSpace(got.Rego) != strings.TrimSpace(want.Rego) || fmt.Sprint(got.At) != fmt.Sprint(want.At) {
		t.Error("deploypolicy.yaml is not the policy in template_pins.rego; write it again")
	}
}
