package regotest

import (
	"encoding/json"
	"fmt"
	"os"
	"path/filepath"
	"testing"

	"github.com/open-policy-agent/opa/v1/ast"
	"github.com/open-policy-agent/opa/v1/cover"
	"github.com/open-policy-agent/opa/v1/rego"
)

// Coverage counts which lines of some modules were evaluated.
type Coverage struct {
	modules map[string]*ast.Module
	tracer  *cover.Cover
}

// NewCoverage is the coverage of the files, with nothing evaluated yet.
func NewCoverage(t testing.TB, files ...string) *Coverage {
	t.Helper()
	c := &Coverage{modules: map[string]*ast.Module{}, tracer: cover.New()}
	for _, file := range files {
		raw, err := os.ReadFile(filepath.Clean(file))
		if err != nil {
			t.Fatalf("reading a policy: %v", err)
		}
		module, err := ast.ParseModuleWithOpts(file, string(raw), ast.ParserOptions{RegoVersion: ast.RegoV1})
		if err != nil {
			t.Fatalf("parsing a policy: %v", err)
		}
		c.modules[file] = module
	}
	return c
}

// Eval evaluates all rules of the first file for each input, in JSON.
func (c *Coverage) Eval(t testing.TB, first string, inputs ...[]byte) {
	t.Helper()
	options := []func(*rego.Rego){
		rego.SetRegoVersion(ast.RegoV1), rego.StrictBuiltinErrors(true), rego.Query(c.modules[first].Package.Path.String()),
	}
	for _, module := range c.modules {
		options = append(options, rego.ParsedModule(module))
	}
	query, err := rego.New(options...).PrepareForEval(t.Context())
	if err != nil {
		t.Fatalf("preparing %s: %v", first, err)
	}
	for _, raw := range inputs {
		var input any
		if err := json.Unmarshal(raw, &input); err != nil {
			t.Fatalf("reading an input: %v", err)
		}
		if _, err := query.Eval(t.Context(), rego.EvalInput(input), rego.EvalQueryTracer(c.tracer)); err != nil {
			t.Errorf("evaluating %s: %v", first, err)
		}
	}
}

// Missing are the lines that nothing evaluated, such as a.rego:3-5.
func (c *Coverage) Missing() []string {
	var out []string
	for file, report := range c.tracer.Report(c.modules).Files {
		for _, r := range report.NotCovered {
			out = append(out, fmt.Sprintf("%s:%d-%d", file, r.Start.Row, r.End.Row))
		}
	}
	return out
}
