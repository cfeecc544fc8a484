package command

import (
	"bytes"
	"context"
	"fmt"
	"maps"
	"path"
	"regexp"
	"slices"
	"strings"

	"github.com/spf13/cobra"
	"sigs.k8s.io/yaml"

	"tidegate.io/tidegate/cmd/tidegate/internal/offline"
	"tidegate.io/tidegate/schemas/render"
	"tidegate.io/tidegate/schemas/source"
)

type testFlags struct {
	*cli
	update      bool
	run         string
	minCoverage int
	output      string
}

// testReport is what `template test -o json` prints; it only ever gains fields.
type testReport struct {
	Tests  []testOutcome `json:"tests"`
	Golden []string      `json:"golden,omitempty"`
	// Coverage is of all tests and examples; not there with --run.
	Coverage *coverageReport `json:"coverage,omitempty"`
}

type testOutcome struct {
	render.TestResult
	Passed bool `json:"passed"`
}

type coverageReport struct {
	render.Coverage
	VariablesPercent int `json:"variablesPercent"`
	BranchesPercent  int `json:"branchesPercent"`
}

func (c *cli) templateTest() *cobra.Command {
	o := &testFlags{cli: c}
	cmd := &cobra.Command{
		Use:   "test DIR",
		Short: "Run a template's own tests",
		Long: `Run a template's own tests, and say what they and the examples cover: the variables that
were set to something else than their default, and the conditions and loops that were seen
both ways. Publishing runs the tests again.

With -update what each test renders is written into testdata/golden, one file a test. Where
that directory has files, every later run compares.
` + exitCodesOfLinters,
		Example: c.example(`
tidegate template test templates/web
tidegate template test templates/web -update
tidegate template test templates/web --run image --min-coverage 80`),
		Args:              one(directoryArgument),
		ValidArgsFunction: directories,
		RunE:              func(cmd *cobra.Command, args []string) error { return o.test(cmd.Context(), args[0]) },
	}
	flags := cmd.Flags()
	flags.BoolVar(&o.update, "update", false, "Write the golden files; -update does the same")
	flags.StringVar(&o.run, "run", "", "Run only the tests whose name matches this regular expression")
	flags.IntVar(&o.minCoverage, "min-coverage", 0, "Percentage of variables and branches that must be covered")
	outputFlag(cmd, &o.output)
	return cmd
}

// goFlags lets -update be written as Go's own tools have it: it would be five short flags
// otherwise.
func goFlags(args []string) []string {
	out := slices.Clone(args)
	if !slices.Contains(out, "test") {
		return out
	}
	for i, a := range out {
		if a == "-update" {
			out[i] = "--update"
		}
	}
	return out
}

func (o *testFlags) test(ctx context.Context, dir string) error {
	match, err := o.check()
	if err != nil {
		return err
	}
	s, t, err := compiled(ctx, dir)
	if err != nil {
		return o.wrongSource(err)
	}
	results, err := until(ctx, func() ([]render.TestResult, error) { return t.Test(match) })
	if err != nil {
		return o.wrongSource(err)
	}
	var problems []string
	report := testReport{Tests: []testOutcome{}}
	for _, r := range results {
		report.Tests = append(report.Tests, testOutcome{TestResult: r, Passed: len(r.Problems) == 0})
		for _, p := range r.Problems {
			problems = append(problems, strings.TrimPrefix(fmt.Sprintf("%s: tests.%q: %s", r.Position, r.Name, p), ": "))
		}
	}
	if len(results) == 0 {
		problems = append(problems, o.noTests())
	}
	if report.Golden, err = o.golden(dir, s, results); err != nil {
		return err
	}
	problems = append(problems, report.Golden...)
	if match == nil {
		coverage, err := until(ctx, func() (*render.Coverage, error) { return render.Cover(s.Files, s.Examples) })
		if err != nil {
			return o.wrongSource(err)
		}
		report.Coverage = &coverageReport{Coverage: *coverage}
		report.Coverage.VariablesPercent, report.Coverage.BranchesPercent = coverage.Percent()
		problems = append(problems, o.uncovered(report.Coverage)...)
	}
	if o.output != "" {
		if err := writeDocument(o.cli, report, o.output); err != nil {
			return err
		}
	} else {
		o.print("%s", report.text())
	}
	return o.findings(problems)
}

// check checks the flags and returns which tests are to run; nil is all.
func (o *testFlags) check() (match func(string) bool, err error) {
	if err := checkOutput(o.output); err != nil {
		return nil, err
	}
	if o.minCoverage < 0 || o.minCoverage > 100 {
		return nil, fmt.Errorf("wanted a percentage from 0 to 100 in --min-coverage, found %d", o.minCoverage)
	}
	if o.run == "" {
		return nil, nil
	}
	re, err := regexp.Compile(o.run)
	if err != nil {
		return nil, fmt.Errorf("wanted a regular expression in --run: %w", err)
	}
	return re.MatchString, nil
}

func (o *testFlags) noTests() string {
	if o.run != "" {
		return fmt.Sprintf("wanted tests whose name matches %q, found none", o.run)
	}
	return `wanted tests, found none; add tests: "a name": values: {...} (` + render.CodeNoTests + ")"
}

func (o *testFlags) uncovered(c *coverageReport) []string {
	var lines []string
	for _, part := range []struct {
		name    string
		percent int
	}{{"variables", c.VariablesPercent}, {"branches", c.BranchesPercent}} {
		if part.percent < o.minCoverage {
			lines = append(lines, fmt.Sprintf("wanted tests that cover %d %% of the %s, found %d %%; the lines above say what is missing (%s)", o.minCoverage, part.name, part.percent, render.CodeCoverage))
		}
	}
	if len(lines) > 0 {
		lines = append(c.Missing(), lines...)
	}
	return lines
}

// text is the report for people.
func (r testReport) text() string {
	var b strings.Builder
	for _, t := range r.Tests {
		verdict := "ok  "
		if !t.Passed {
			verdict = "FAIL"
		}
		fmt.Fprintf(&b, "%s  %s\n", verdict, t.Name)
	}
	if r.Coverage == nil {
		return b.String()
	}
	set, seen := 0, 0
	for _, v := range r.Coverage.Variables {
		if v.Set {
			set++
		}
	}
	for _, branch := range r.Coverage.Branches {
		if branch.Taken && branch.Skipped {
			seen++
		}
	}
	fmt.Fprintf(&b, "\ncoverage: %d %% of variables (%d of %d set to another value than the default), %d %% of branches (%d of %d seen both ways)\n",
		r.Coverage.VariablesPercent, set, len(r.Coverage.Variables), r.Coverage.BranchesPercent, seen, len(r.Coverage.Branches))
	for _, line := range r.Coverage.Missing() {
		fmt.Fprintf(&b, "  %s\n", line)
	}
	return b.String()
}

// golden compares what the tests rendered with the golden files, or writes these. It
// returns a line for each difference.
func (o *testFlags) golden(dir string, s *source.Template, results []render.TestResult) ([]string, error) {
	rendered := map[string][]byte{}
	known := map[string]bool{}
	for _, r := range results {
		if r.Result == nil {
			continue
		}
		name := slug(r.Name, known)
		known[name] = true
		text, err := goldenText(r)
		if err != nil {
			return nil, err
		}
		rendered[name] = text
	}
	var obsolete []string
	for _, name := range slices.Sorted(maps.Keys(s.Golden)) {
		if !known[name] && o.run == "" {
			obsolete = append(obsolete, name)
		}
	}
	if o.update {
		return nil, o.writeGolden(dir, s, rendered, obsolete)
	}
	if len(s.Golden) == 0 {
		return nil, nil
	}
	hint := fmt.Sprintf("look at the difference, then run: %s template test %s -update", o.Name, dir)
	var lines []string
	for _, name := range slices.Sorted(maps.Keys(rendered)) {
		at := path.Join(source.GoldenDir, name)
		switch want, ok := s.Golden[name]; {
		case !ok && o.run == "":
			lines = append(lines, fmt.Sprintf("%s: wanted a golden file of each test, found none; %s", at, hint))
		case ok && !bytes.Equal(want, rendered[name]):
			line, wanted, found := firstDifferentLine(string(want), string(rendered[name]))
			lines = append(lines, fmt.Sprintf("%s:%d: wanted %q, found %q; %s", at, line, wanted, found, hint))
		}
	}
	for _, name := range obsolete {
		lines = append(lines, fmt.Sprintf("%s: wanted a test that renders to it, found none; to remove it, run: %s template test %s -update", path.Join(source.GoldenDir, name), o.Name, dir))
	}
	return lines, nil
}

func (o *testFlags) writeGolden(dir string, s *source.Template, rendered map[string][]byte, obsolete []string) error {
	changed := map[string][]byte{}
	for name, text := range rendered {
		if !bytes.Equal(s.Golden[name], text) {
			changed[path.Join(source.GoldenDir, name)] = text
		}
	}
	gone := make([]string, len(obsolete))
	for i, name := range obsolete {
		gone[i] = path.Join(source.GoldenDir, name)
	}
	if err := source.Write(dir, changed, gone); err != nil {
		return err
	}
	for _, name := range slices.Sorted(maps.Keys(changed)) {
		o.say("wrote %s", name)
	}
	for _, name := range gone {
		o.say("removed %s", name)
	}
	return nil
}

// goldenText is what a test renders to: the objects, and the strategy, the revision aside.
func goldenText(r render.TestResult) ([]byte, error) {
	var b bytes.Buffer
	fmt.Fprintf(&b, "# What the test %q renders to. Written by: tidegate template test DIR -update\n", r.Name)
	if err := offline.Write(&b, r.Result, "yaml"); err != nil {
		return nil, err
	}
	strategy, err := yaml.Marshal(map[string]any{"rollout": r.Result.Strategy})
	if err != nil {
		return nil, fmt.Errorf("writing the strategy: %w", err)
	}
	b.WriteString("---\n")
	b.Write(strategy)
	// With the revision in it, which any change makes another one, every file would differ
	// in many places that say nothing. YAML puts one of digits alone in quotes.
	return []byte(strings.NewReplacer(`"`+r.Result.Revision+`"`, goldenRevision, r.Result.Revision, goldenRevision).Replace(b.String())), nil
}

// goldenRevision stands for the revision in golden files.
const goldenRevision = "REVISION"

var notInFileNames = regexp.MustCompile(`[^a-z0-9]+`)

// maxSlug is the greatest length of a golden file's name, the ending aside.
const maxSlug = 60

// slug is the name of the golden file of the test called name, which none of taken has.
func slug(name string, taken map[string]bool) string {
	base := strings.Trim(notInFileNames.ReplaceAllString(strings.ToLower(name), "-"), "-")
	base = strings.TrimRight(base[:min(len(base), maxSlug)], "-")
	if base == "" {
		base = "test"
	}
	file := base + ".yaml"
	for i := 2; taken[file]; i++ {
		file = fmt.Sprintf("%s-%d.yaml", base, i)
	}
	return file
}

func firstDifferentLine(want, found string) (line int, wanted, got string) {
	x, y := strings.Split(want, "\n"), strings.Split(found, "\n")
	at := func(lines []string, i int) string {
		if i < len(lines) {
			return strings.TrimSpace(lines[i])
		}
		return ""
	}
	for i := range max(len(x), len(y)) {
		if i >= len(x) || i >= len(y) || x[i] != y[i] {
			return i + 1, at(x, i), at(y, i)
		}
	}
	return 1, "", ""
}
