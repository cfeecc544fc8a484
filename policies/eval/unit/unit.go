// Package unit runs the unit tests of policies in Rego, as `opa test` does, in the sandbox
// that policies run in: what a test passes with is what there is when the policy is asked.
package unit

import (
	"context"
	"errors"
	"fmt"
	"maps"
	"slices"
	"strings"
	"time"

	"github.com/open-policy-agent/opa/v1/ast"
	"github.com/open-policy-agent/opa/v1/cover"
	"github.com/open-policy-agent/opa/v1/storage/inmem"
	"github.com/open-policy-agent/opa/v1/tester"
	"github.com/open-policy-agent/opa/v1/topdown"

	"tidegate.io/tidegate/policies/eval/sandbox"
	"tidegate.io/tidegate/schemas/v1alpha1"
)

const (
	// perTest is how long one test may take: longer than a policy, since tests repeat it.
	perTest = 5 * time.Second
	// testSuffix ends the names of files that hold tests alone.
	testSuffix = "_test.rego"
)

// Result is what came of one test.
type Result struct {
	// Name is the package and the rule, File and Line where the rule stands.
	Name string `json:"name"`
	File string `json:"file"`
	Line int    `json:"line"`
	Pass bool   `json:"pass"`
	// Skipped is true for a rule named todo_test_*.
	Skipped bool          `json:"skipped,omitempty"`
	Took    time.Duration `json:"took"`
	// Problem says why it did not pass.
	Problem string `json:"problem,omitempty"`
	// Output is what the test printed.
	Output string `json:"output,omitempty"`
}

// Coverage is which lines of a file the tests evaluated.
type Coverage struct {
	File string `json:"file"`
	// Percent is of the lines that can be evaluated.
	Percent float64 `json:"percent"`
	// Missing are lines that no test evaluated, such as 3 or 5-7.
	Missing []string `json:"missing"`
}

// SourceError says what is wrong with modules, a mistake a line, with file:line where there
// is one.
type SourceError struct{ Lines []string }

func (e *SourceError) Error() string { return strings.Join(e.Lines, "\n") }

// Run compiles the files together and runs their tests, in the order of their names. Files
// of tests are no part of the coverage. The error is a *SourceError where the files are at
// fault.
// Data is what they find in data besides their rules.
func Run(ctx context.Context, files map[string]string, data map[string]any, version v1alpha1.RegoVersion) ([]Result, []Coverage, error) {
	v := ast.RegoV1
	if version == v1alpha1.RegoV0 {
		v = ast.RegoV0
	}
	modules := map[string]*ast.Module{}
	var wrong []string
	for _, name := range slices.Sorted(maps.Keys(files)) {
		m, err := ast.ParseModuleWithOpts(name, files[name], ast.ParserOptions{RegoVersion: v, Capabilities: sandbox.Capabilities(v)})
		switch {
		case err != nil:
			wrong = append(wrong, mistakes(err)...)
		case m == nil:
			wrong = append(wrong, name+": wanted a Rego module, found nothing")
		default:
			modules[name] = m
		}
	}
	if len(wrong) > 0 {
		return nil, nil, &SourceError{wrong}
	}
	compiler := sandbox.BoundTypes(ast.NewCompiler()).WithCapabilities(sandbox.Capabilities(v)).WithDefaultRegoVersion(v).WithEnablePrintStatements(true)
	if compiler.Compile(modules); compiler.Failed() {
		return nil, nil, &SourceError{mistakes(compiler.Errors)}
	}
	results, err := run(ctx, modules, data, v, nil)
	if err != nil {
		return nil, nil, err
	}
	tracer := cover.New()
	if _, err := run(ctx, modules, data, v, tracer); err != nil {
		return nil, nil, err
	}
	return results, coverage(tracer, modules), nil
}

// run runs the tests once. A tracer that covers leaves the results without their reasons, so
// they are run once for each.
func run(ctx context.Context, modules map[string]*ast.Module, data map[string]any, v ast.RegoVersion, tracer *cover.Cover) ([]Result, error) {
	fresh := make(map[string]*ast.Module, len(modules))
	for name, m := range modules {
		fresh[name] = m.Copy()
	}
	runner := tester.NewRunner().
		SetCompiler(ast.NewCompiler().WithCapabilities(sandbox.Capabilities(v)).WithEnablePrintStatements(true)).
		SetStore(inmem.NewFromObject(data)).
		SetDefaultRegoVersion(v).RaiseBuiltinErrors(v == ast.RegoV1).CapturePrintOutput(true).SetTimeout(perTest).SetModules(fresh)
	if tracer != nil {
		runner = runner.SetCoverageQueryTracer(topdown.QueryTracer(tracer))
	}
	channel, err := runner.RunTests(ctx, nil)
	if err != nil {
		if found, ok := errors.AsType[ast.Errors](err); ok {
			return nil, &SourceError{mistakes(found)}
		}
		return nil, fmt.Errorf("running the tests: %w", err)
	}
	var out []Result
	for r := range channel {
		one := Result{Name: strings.TrimPrefix(r.Package, "data.") + "." + r.Name, Pass: r.Pass(), Skipped: r.Skip, Took: r.Duration, Output: string(r.Output)}
		if r.Location != nil {
			one.File, one.Line = r.Location.File, r.Location.Row
		}
		switch {
		case r.Error != nil:
			one.Pass, one.Problem = false, fmt.Sprintf("wanted it to pass, found: %v", r.Error)
		case r.Fail:
			one.Problem = "wanted it to be true, found that it is not"
		}
		out = append(out, one)
	}
	if err := ctx.Err(); err != nil {
		return nil, fmt.Errorf("running the tests: %w", err)
	}
	slices.SortFunc(out, func(a, b Result) int { return strings.Compare(a.Name, b.Name) })
	return out, nil
}

func coverage(tracer *cover.Cover, modules map[string]*ast.Module) []Coverage {
	policies := map[string]*ast.Module{}
	for name, m := range modules {
		if !strings.HasSuffix(name, testSuffix) {
			policies[name] = m
		}
	}
	report := tracer.Report(policies)
	out := make([]Coverage, 0, len(policies))
	for _, name := range slices.Sorted(maps.Keys(policies)) {
		c := Coverage{File: name, Percent: 100, Missing: []string{}}
		if f := report.Files[name]; f != nil {
			if f.CoveredLines+f.NotCoveredLines > 0 {
				c.Percent = 100 * float64(f.CoveredLines) / float64(f.CoveredLines+f.NotCoveredLines)
			}
			for _, r := range f.NotCovered {
				text := fmt.Sprint(r.Start.Row)
				if r.End.Row > r.Start.Row {
					text = fmt.Sprintf("%d-%d", r.Start.Row, r.End.Row)
				}
				c.Missing = append(c.Missing, text)
			}
		}
		c.Missing = slices.Compact(c.Missing)
		out = append(out, c)
	}
	return out
}

// mistakes are the errors of the compiler, a line each.
func mistakes(err error) []string {
	if list, ok := errors.AsType[ast.Errors](err); ok {
		out := make([]string, 0, len(list))
		for _, e := range list {
			out = append(out, strings.ReplaceAll(e.Error(), "\n", " "))
		}
		return out
	}
	return []string{strings.ReplaceAll(err.Error(), "\n", " ")}
}
