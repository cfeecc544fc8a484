package command

import (
	"context"
	"errors"
	"fmt"
	"io/fs"
	"os"
	"path/filepath"
	"slices"
	"strings"

	"github.com/spf13/cobra"
	"k8s.io/apimachinery/pkg/apis/meta/v1/unstructured"

	"tidegate.io/tidegate/cmd/tidegate/internal/check"
	"tidegate.io/tidegate/policies/eval"
	"tidegate.io/tidegate/policies/eval/unit"
	"tidegate.io/tidegate/schemas/v1alpha1"
)

type policyTestFlags struct {
	*cli
	libs   []string
	v0     bool
	least  float64
	output string
}

func (c *cli) policyTest() *cobra.Command {
	o := &policyTestFlags{cli: c}
	cmd := &cobra.Command{
		Use:   "test DIR",
		Short: "Run the tests of policies",
		Long: `Run the tests of policies in DIR and below. All Rego files are compiled together, and their
rules named test_* are run, as opa test does, with what policies may call and nothing else.
Every DeployPolicy is compiled with its own tests, in Rego and as cases, which CUE has too,
and asked about what lies beside it in samples/allowed and samples/denied, with the parameters
of samples/parameters.yaml. Without --lib, a folder lib beside DIR is what policies import.
A file data.json or data.yaml is the document data, at the path of its folder. The coverage is
that of the Rego files.

Exit codes: 0 all pass; 1 some do not, or less is covered than --coverage wants; 2 it could
not run.`,
		Example: c.example(`
tidegate policy test policies/
tidegate policy test policies/images --lib policies/lib --coverage 100`),
		Args:              one("directory of policies"),
		ValidArgsFunction: directories,
		RunE:              func(cmd *cobra.Command, args []string) error { return o.run(cmd.Context(), args[0]) },
	}
	flags := cmd.Flags()
	flags.StringArrayVar(&o.libs, "lib", nil, "Folder of further Rego files that the policies import; may be repeated")
	flags.BoolVar(&o.v0, "v0", false, "Read Rego as it was before OPA 1.0")
	flags.Float64Var(&o.least, "coverage", 0, "Percent of the lines of each file that tests have to evaluate")
	outputFlag(cmd, &o.output)
	return cmd
}

// policyTestReport is what `policy test -o json` prints.
type policyTestReport struct {
	Passed   int                `json:"passed"`
	Failed   int                `json:"failed"`
	Skipped  int                `json:"skipped"`
	Rego     []unit.Result      `json:"rego"`
	Policies []policyTestResult `json:"policies"`
	Coverage []unit.Coverage    `json:"coverage"`
}

// policyTestResult is what came of one DeployPolicy. Tests counts its cases and its modules
// of tests, Samples the objects in the folder samples beside it.
type policyTestResult struct {
	Policy   string   `json:"policy"`
	File     string   `json:"file"`
	Tests    int      `json:"tests"`
	Samples  int      `json:"samples,omitempty"`
	Pass     bool     `json:"pass"`
	Problems []string `json:"problems,omitempty"`
}

func (o *policyTestFlags) run(ctx context.Context, dir string) error {
	if err := checkOutput(o.output); err != nil {
		return err
	}
	if o.least < 0 || o.least > 100 {
		return fmt.Errorf("wanted 0 to 100 percent in --coverage, found %v", o.least)
	}
	r := policyTestReport{Rego: []unit.Result{}, Policies: []policyTestResult{}, Coverage: []unit.Coverage{}}
	if err := o.rego(ctx, dir, &r); err != nil {
		if wrong, ok := errors.AsType[*unit.SourceError](err); ok {
			return o.findings(wrong.Lines)
		}
		return err
	}
	if err := o.deployPolicies(ctx, dir, &r); err != nil {
		return err
	}
	if len(r.Rego) == 0 && len(r.Policies) == 0 {
		return fmt.Errorf("wanted rules test_* in *.rego, or DeployPolicies with tests, in %s, found none", dir)
	}
	var lines []string
	for _, c := range r.Coverage {
		if c.Percent < o.least {
			lines = append(lines, fmt.Sprintf("%s: wanted %v %% of the lines to be evaluated by tests, found %.1f %%; test lines %s", c.File, o.least, c.Percent, strings.Join(c.Missing, ", ")))
		}
	}
	if o.output != "" {
		if err := writeDocument(o.cli, r, o.output); err != nil {
			return err
		}
	} else {
		o.print("%s", r.text())
	}
	if err := o.findings(lines); err != nil {
		return err
	}
	if r.Failed > 0 {
		return &exitError{code: ExitRenderFindings}
	}
	return nil
}

// rego runs the tests in Rego files.
func (o *policyTestFlags) rego(ctx context.Context, dir string, r *policyTestReport) error {
	files := map[string]string{}
	if err := regoFiles(dir, files); err != nil {
		return err
	}
	if len(files) == 0 {
		return nil
	}
	own := map[string]bool{}
	for name := range files {
		own[name] = true
	}
	libs := o.libraries(dir)
	for _, lib := range libs {
		before := len(files)
		if err := regoFiles(lib, files); err != nil {
			return err
		}
		if len(files) == before && len(o.libs) > 0 {
			return fmt.Errorf("wanted Rego files in --lib %s, found none that are not in %s", lib, dir)
		}
	}
	version := v1alpha1.RegoV1
	if o.v0 {
		version = v1alpha1.RegoV0
	}
	data, err := dataFiles(dir)
	if err != nil {
		return err
	}
	results, covered, err := unit.Run(ctx, files, data, version)
	if err != nil || len(results) == 0 {
		return err
	}
	// What libraries cover is for their own tests to say.
	r.Rego, r.Coverage = results, slices.DeleteFunc(covered, func(c unit.Coverage) bool { return !own[c.File] })
	for _, one := range results {
		switch {
		case one.Skipped:
			r.Skipped++
		case one.Pass:
			r.Passed++
		default:
			r.Failed++
		}
	}
	return nil
}

// maxRego is how many bytes of Rego a directory may hold.
const maxRego = 16 << 20

func regoFiles(dir string, into map[string]string) error {
	info, err := os.Stat(dir)
	if err != nil {
		return fmt.Errorf("reading policies: %w", err)
	}
	if !info.IsDir() {
		return fmt.Errorf("wanted a directory of policies, found the file %s; name its directory", dir)
	}
	size := 0
	err = fs.WalkDir(os.DirFS(dir), ".", func(path string, d fs.DirEntry, err error) error {
		if err != nil || d.IsDir() || !d.Type().IsRegular() || filepath.Ext(path) != ".rego" {
			return err
		}
		data, err := fs.ReadFile(os.DirFS(dir), path)
		if err != nil {
			return err
		}
		if size += len(data); size > maxRego {
			return fmt.Errorf("wanted at most %d bytes of Rego in %s, found more", maxRego, dir)
		}
		into[filepath.ToSlash(filepath.Join(dir, path))] = string(data)
		return nil
	})
	if err != nil {
		return fmt.Errorf("reading policies: %w", err)
	}
	return nil
}

// deployPolicies compiles every DeployPolicy, which runs its tests. Where there are none
// among the files, that is no mistake.
func (o *policyTestFlags) deployPolicies(ctx context.Context, dir string, r *policyTestReport) error {
	files, errs := check.Find(dir, "DeployPolicy")
	if errs != nil {
		return errs
	}
	for _, m := range files.Manifests {
		if half(m) {
			if wholeBeside(m, files.Manifests) {
				continue
			}
			if err := o.assemble(m, dir); err != nil {
				o.say("Note: %s has no source of its own and was passed over: %v", m.File, err)
				continue
			}
		}
		list, err := check.Policies(check.Files{Manifests: []check.Manifest{m}})
		result := policyTestResult{Policy: m.Object.GetName(), File: m.File}
		if err != nil {
			result.Problems = []string{err.Error()}
		}
		for i := range list {
			if t := list[i].Spec.Tests; t != nil {
				result.Tests = len(t.Cases) + len(t.Rego)
			}
			_, err := o.compiler().Compile(ctx, eval.FromDeployPolicy(&list[i]))
			if wrong, ok := errors.AsType[*eval.CompileError](err); ok {
				result.Problems = wrong.Lines
				continue
			}
			count, problems, err := o.samples(ctx, &list[i], m.File)
			if err != nil {
				problems = append(problems, err.Error())
			}
			result.Samples, result.Problems = count, problems
		}
		if result.Pass = len(result.Problems) == 0; result.Pass {
			r.Passed++
		} else {
			r.Failed++
		}
		r.Policies = append(r.Policies, result)
	}
	return nil
}

// half says whether a manifest is the frame of a DeployPolicy whose source lies in files
// beside it, for a build to put together.
func half(m check.Manifest) bool {
	for _, source := range []string{"rego", "cue"} {
		if text, _, _ := unstructured.NestedString(m.Object.Object, "spec", source); text != "" {
			return false
		}
	}
	for _, pattern := range []string{"*.rego", "*.cue"} {
		if beside, _ := filepath.Glob(filepath.Join(filepath.Dir(m.File), pattern)); len(beside) > 0 {
			return true
		}
	}
	return false
}

func (r policyTestReport) text() string {
	var b strings.Builder
	for _, t := range r.Rego {
		switch {
		case t.Skipped:
			fmt.Fprintf(&b, "SKIP %s\n", t.Name)
		case t.Pass:
			fmt.Fprintf(&b, "PASS %s\n", t.Name)
		default:
			fmt.Fprintf(&b, "FAIL %s\n  %s:%d: %s\n", t.Name, t.File, t.Line, t.Problem)
			if t.Output != "" {
				fmt.Fprintf(&b, "  %s\n", strings.ReplaceAll(strings.TrimSpace(t.Output), "\n", "\n  "))
			}
		}
	}
	for _, p := range r.Policies {
		word := "PASS"
		if !p.Pass {
			word = "FAIL"
		}
		samples := ""
		if p.Samples > 0 {
			samples = fmt.Sprintf(", %d samples", p.Samples)
		}
		fmt.Fprintf(&b, "%s DeployPolicy %s, %d tests of its own%s\n", word, p.Policy, p.Tests, samples)
		for _, l := range p.Problems {
			fmt.Fprintf(&b, "  %s: %s\n", p.File, l)
		}
	}
	for _, c := range r.Coverage {
		missing := ""
		if len(c.Missing) > 0 {
			missing = "  not evaluated: " + strings.Join(c.Missing, ", ")
		}
		fmt.Fprintf(&b, "%5.1f %%  %s%s\n", c.Percent, c.File, missing)
	}
	fmt.Fprintf(&b, "%d passed, %d failed, %d skipped\n", r.Passed, r.Failed, r.Skipped)
	return b.String()
}
