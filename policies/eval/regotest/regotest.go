// Package regotest runs the tests of a policy of the library from a Go test: its Rego
// unit tests, through the engine's own test runner, its samples, and its DeployPolicy.
package regotest

import (
	"encoding/json"
	"errors"
	"io/fs"
	"os"
	"path"
	"path/filepath"
	"strings"
	"testing"

	"github.com/open-policy-agent/opa/v1/ast"
	"github.com/open-policy-agent/opa/v1/format"
	"github.com/open-policy-agent/opa/v1/tester"
	"sigs.k8s.io/yaml"

	"tidegate.io/tidegate/policies/eval"
	"tidegate.io/tidegate/schemas/v1alpha1"
)

// Folder is a folder of the library, read.
type Folder struct {
	// Rego is the policy, without its tests.
	Rego string
	// Example is what deploypolicy.yaml says; nil where the folder has none, since the policy
	// is not for people to apply.
	Example *eval.Source
}

// Read reads the folder dir.
func Read(t testing.TB, dir string) Folder {
	t.Helper()
	var out Folder
	files, err := filepath.Glob(filepath.Join(dir, "*.rego"))
	if err != nil {
		t.Fatalf("listing %s: %v", dir, err)
	}
	policies := 0
	for _, file := range files {
		if strings.HasSuffix(file, "_test.rego") {
			continue
		}
		raw, err := os.ReadFile(filepath.Clean(file))
		if err != nil {
			t.Fatalf("reading a policy: %v", err)
		}
		policies, out.Rego = policies+1, string(raw)
	}
	if policies != 1 {
		t.Fatalf("%s: wanted one policy, found %d", dir, policies)
	}
	raw, err := os.ReadFile(filepath.Join(filepath.Clean(dir), "deploypolicy.yaml"))
	if errors.Is(err, fs.ErrNotExist) {
		return out
	}
	var p v1alpha1.DeployPolicy
	if err == nil {
		err = yaml.UnmarshalStrict(raw, &p)
	}
	if err != nil {
		t.Fatalf("reading deploypolicy.yaml: %v", err)
	}
	example := eval.FromDeployPolicy(&p)
	out.Example = &example
	return out
}

// Policy is the policy as the example sets it up, or as it is without one.
func (f Folder) Policy(t testing.TB) *eval.Policy {
	t.Helper()
	source := eval.Source{Name: "policy", Rego: f.Rego}
	if f.Example != nil {
		source = *f.Example
	}
	p, err := eval.Compile(source)
	if err != nil {
		t.Fatalf("Compile: %v", err)
	}
	return p
}

// Document reads a sample, in YAML or JSON: an object of Kubernetes, which the policy sees
// as input.object, or else the input itself.
func Document(t testing.TB, raw []byte) eval.Input {
	t.Helper()
	text, err := yaml.YAMLToJSON(raw)
	if err != nil {
		t.Fatalf("reading a sample: %v", err)
	}
	var parts map[string]json.RawMessage
	if err := json.Unmarshal(text, &parts); err != nil {
		t.Fatalf("reading a sample: %v", err)
	}
	document := map[string]any{}
	for k, v := range parts {
		document[k] = v
	}
	if parts["apiVersion"] != nil && parts["kind"] != nil {
		document = map[string]any{"object": json.RawMessage(text)}
	}
	in, err := eval.NewInput(document)
	if err != nil {
		t.Fatalf("NewInput: %v", err)
	}
	return in
}

// Run checks every .rego file of a directory strictly, checks that it is formatted as
// `opa fmt` does, and runs the rules whose names begin with test_. A directory without
// tests fails.
func Run(t *testing.T, dir string) {
	t.Helper()
	RunWith(t, dir)
}

// RunWith is Run for policies that import libs, which are files.
func RunWith(t *testing.T, dir string, libs ...string) {
	t.Helper()
	files, err := filepath.Glob(filepath.Join(dir, "*.rego"))
	if err != nil {
		t.Fatalf("listing %s: %v", dir, err)
	}
	files = append(files, libs...)
	modules := make(map[string]*ast.Module, len(files))
	for _, file := range files {
		raw, err := os.ReadFile(filepath.Clean(file))
		if err != nil {
			t.Fatalf("reading a policy: %v", err)
		}
		module, err := ast.ParseModuleWithOpts(file, string(raw), ast.ParserOptions{
			RegoVersion: ast.RegoV1, ProcessAnnotation: true,
		})
		if err != nil {
			t.Fatalf("parsing a policy: %v", err)
		}
		formatted, err := format.SourceWithOpts(file, raw, format.Opts{RegoVersion: ast.RegoV1})
		if err != nil {
			t.Fatalf("formatting a policy: %v", err)
		}
		if string(formatted) != string(raw) {
			t.Errorf("%s is not formatted; wanted:\n%s", file, formatted)
		}
		modules[file] = module
	}
	compiler := ast.NewCompiler().WithStrict(true).WithEnablePrintStatements(true)
	results, err := tester.NewRunner().
		SetCompiler(compiler).
		SetDefaultRegoVersion(ast.RegoV1).
		RaiseBuiltinErrors(true).
		CapturePrintOutput(true).
		SetModules(modules).
		RunTests(t.Context(), nil)
	if err != nil {
		t.Fatalf("running the tests of %s: %v", dir, err)
	}
	ran := 0
	for r := range results {
		ran++
		t.Run(strings.TrimPrefix(r.Name, "test_"), func(t *testing.T) {
			if !r.Pass() {
				t.Errorf("%s: %v\n%s", r.Location, r, r.Output)
			}
		})
	}
	if ran == 0 {
		t.Errorf("%s has no tests", dir)
	}
}

// Samples evaluates every file below samples/allowed and samples/denied of a policy's
// directory and checks that the policy objects to exactly the latter.
func Samples(t *testing.T, p *eval.Policy, dir string) {
	t.Helper()
	for _, want := range []string{"allowed", "denied"} {
		root := os.DirFS(filepath.Join(dir, "samples", want))
		files, err := fs.Glob(root, "*")
		if err != nil || len(files) == 0 {
			t.Fatalf("wanted files in samples/%s, found none: %v", want, err)
		}
		for _, file := range files {
			t.Run(path.Join(want, file), func(t *testing.T) {
				raw, err := fs.ReadFile(root, file)
				if err != nil {
					t.Fatalf("reading a sample: %v", err)
				}
				got, err := p.Eval(t.Context(), Document(t, raw))
				if err != nil {
					t.Fatalf("Eval: %v", err)
				}
				if objects := len(got.Denials) > 0; objects != (want == "denied") {
					t.Errorf("wanted it %s, got %+v", want, got)
				}
			})
		}
	}
}
