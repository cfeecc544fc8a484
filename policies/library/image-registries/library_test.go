package imageregistries_test

import (
	"encoding/json"
	"os"
	"strings"
	"testing"

	"sigs.k8s.io/yaml"

	"tidegate.io/tidegate/policies/eval"
	"tidegate.io/tidegate/policies/eval/regotest"
	imageregistries "tidegate.io/tidegate/policies/library/image-registries"
	"tidegate.io/tidegate/schemas/v1alpha1"
)

func TestRego(t *testing.T) {
	regotest.Run(t, ".")
}

func TestSamples(t *testing.T) {
	p, err := eval.Compile(imageregistries.Source([]byte(`{"registries": ["ghcr.io/shop"]}`)))
	if err != nil {
		t.Fatalf("Compile: %v", err)
	}
	regotest.Samples(t, p, ".", func(t *testing.T, _ string, raw []byte) eval.Input {
		t.Helper()
		object, err := yaml.YAMLToJSON(raw)
		if err != nil {
			t.Fatalf("reading a sample: %v", err)
		}
		in, err := eval.NewInput(map[string]any{"object": json.RawMessage(object)})
		if err != nil {
			t.Fatalf("NewInput: %v", err)
		}
		return in
	})
}

func TestTheExampleDeployPolicyIsThePolicy(t *testing.T) {
	raw, err := os.ReadFile("deploypolicy.yaml")
	if err != nil {
		t.Fatal(err)
	}
	var p v1alpha1.DeployPolicy
	if err := yaml.UnmarshalStrict(raw, &p); err != nil {
		t.Fatalf("reading deploypolicy.yaml: %v", err)
	}
	got, want := eval.FromDeployPolicy(&p), imageregistries.Source(nil)
	if got.Name != want.Name || strings.TrimSpace(got.Rego) != strings.TrimSpace(want.Rego) {
		t.Error("deploypolicy.yaml is not the policy in image_registries.rego; write it again")
	}
	if _, err := eval.Compile(got); err != nil {
		t.Errorf("Compile: %v", err)
	}
}
