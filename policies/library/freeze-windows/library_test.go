package freezewindows_test

import (
	"encoding/json"
	"fmt"
	"os"
	"strings"
	"testing"

	"sigs.k8s.io/yaml"

	"tidegate.io/tidegate/policies/eval"
	"tidegate.io/tidegate/policies/eval/regotest"
	freezewindows "tidegate.io/tidegate/policies/library/freeze-windows"
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
	got, want := example(t), freezewindows.Source(nil)
	if got.Name != want.Name || strings.TrimSpace(got.Rego) != strings.TrimSpace(want.Rego) || fmt.Sprint(got.At) != fmt.Sprint(want.At) {
		t.Error("deploypolicy.yaml is not the policy in freeze_windows.rego; write it again")
	}
}

// A policy that is too slow would be an error, and an error holds: at the most windows that
// it takes, the answer must still be quick.
func BenchmarkMostWindows(b *testing.B) {
	var windows []string
	for i := range 25 {
		windows = append(windows, fmt.Sprintf(`{"from": "%02d:%02d", "to": "%02d:00"}`, i%24, i, (i+2)%24))
	}
	for i := range 4 {
		windows = append(windows, fmt.Sprintf(`{"from": "2026-12-2%dT00:00:00Z", "to": "2027-01-0%dT00:00:00Z"}`, i, i+1))
	}
	p, err := eval.Compile(freezewindows.Source([]byte(`{"zone": "Europe/Berlin", "windows": [` + strings.Join(windows, ",") + `]}`)))
	if err != nil {
		b.Fatal(err)
	}
	in := document(b, []byte(`{"time": "2026-11-21T12:00:00Z", "release": {"name": "cart", "namespace": "shop"}, "rollout": {"weight": 5}}`))
	b.ReportAllocs()
	for b.Loop() {
		f, err := p.Eval(b.Context(), in)
		if err != nil || len(f.Denials) != 1 {
			b.Fatalf("%+v, %v", f, err)
		}
	}
}

func BenchmarkTheExample(b *testing.B) {
	p, err := eval.Compile(example(b))
	if err != nil {
		b.Fatal(err)
	}
	in := document(b, []byte(`{"time": "2026-11-21T12:00:00Z", "release": {"name": "cart", "namespace": "shop"}, "rollout": {"weight": 5}}`))
	b.ReportAllocs()
	for b.Loop() {
		if f, err := p.Eval(b.Context(), in); err != nil || len(f.Denials) != 1 {
			b.Fatalf("%+v, %v", f, err)
		}
	}
}
