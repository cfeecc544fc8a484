package render

import (
	"cmp"
	"fmt"
	"maps"
	"regexp"
	"slices"
	"strings"

	"cuelang.org/go/cue/ast"
	"cuelang.org/go/cue/format"
	"cuelang.org/go/cue/parser"
	"k8s.io/apimachinery/pkg/apis/meta/v1/unstructured"
)

// Severity says what becomes of a template with a finding.
type Severity string

const (
	// SeverityError is: the template must not be published.
	SeverityError Severity = "error"
	// SeverityWarning is: it works, and somebody will be sorry.
	SeverityWarning Severity = "warning"
	// SeverityAdvice is: it works, and could be better. It is no finding of a linter.
	SeverityAdvice Severity = "advice"
)

// Codes of findings. Each has an entry in docs/templates.md.
const (
	// CodeBroken is: it does not compile, or breaks the contract.
	CodeBroken = "broken"
	// CodeDefaultOutside is: a default lies outside of its own bounds.
	CodeDefaultOutside = "default-outside-bounds"
	// CodeDefaultIncomplete is: a default of a list or struct lacks its parts' defaults.
	CodeDefaultIncomplete = "default-incomplete"
	// CodeDefaultUnused is: a field that is required or optional never takes its default.
	CodeDefaultUnused = "default-unused"
	// CodeOpenStruct is: a struct with fields of its own lets typos pass.
	CodeOpenStruct = "open-struct"
	// CodeFreeForm is: a variable without any shape.
	CodeFreeForm = "free-form"
	// CodeIncomplete is: a variable that must be set is not marked with !.
	CodeIncomplete = "incomplete-variable"
	// CodeImpossible is: a variable that no value fits.
	CodeImpossible = "impossible-variable"
	// CodeUndocumented is: a variable has no comment.
	CodeUndocumented = "undocumented-variable"
	// CodeUnused is: a variable that nothing refers to.
	CodeUnused = "unused-variable"
	// CodeUntried is: a variable that no value could be made up for.
	CodeUntried = "untried-variable"
	// CodeYAMLName is: a name that YAML takes for something else.
	CodeYAMLName = "yaml-name"
	// CodeSecret is: a variable that seems to hold a secret itself.
	CodeSecret = "secret-in-values"
	// CodeAttribute is: an attribute that Tidegate does not know, or with wrong arguments.
	CodeAttribute = "unknown-attribute"
	// CodeRegex is: a pattern that any text passes which contains a match.
	CodeRegex = "unanchored-pattern"
	// CodePattern is: a pattern that is no regular expression.
	CodePattern = "bad-pattern"
	// CodeFormat is: a file that is not formatted.
	CodeFormat = "not-formatted"
	// CodeNoTests is: the template has no tests.
	CodeNoTests = "no-tests"
	// CodeTestFails is: a test of the template does not pass.
	CodeTestFails = "test-fails"
	// CodeExampleFails is: an example's values are refused.
	CodeExampleFails = "example-fails"
	// CodeNotRendered is: no values are known that render, so the objects were not looked at.
	CodeNotRendered = "not-rendered"
	// CodeObject is: an object that Kubernetes or Tidegate would refuse.
	CodeObject = "bad-object"
	// CodeRollout is: a strategy that cannot be carried out.
	CodeRollout = "bad-rollout"
	// CodePort is: a port that is out of range, or that nothing listens on.
	CodePort = "bad-port"
	// CodeSelector is: a selector that takes in no pods of the template, or another Release's.
	CodeSelector = "bad-selector"
	// CodeLoose is: values that #Variables accepts and the template cannot render.
	CodeLoose = "loose-variable"
	// CodeContext is: something that cannot be of two Releases at once.
	CodeContext = "ignores-context"
	// CodeRevision is: something computed of context.revision.
	CodeRevision = "computed-from-revision"
	// CodeCRD is: an object that the CRD of its kind refuses.
	CodeCRD = "crd-refuses"
	// CodeServer is: an object that the API server refuses.
	CodeServer = "server-refuses"
	// CodeCoverage is: less is tested than was asked for.
	CodeCoverage = "low-coverage"
)

// Codes returns every code that a finding may have, sorted.
func Codes() []string {
	codes := []string{
		CodeBroken, CodeDefaultOutside, CodeDefaultIncomplete, CodeDefaultUnused, CodeOpenStruct, CodeFreeForm,
		CodeIncomplete, CodeImpossible, CodeUntried, CodeYAMLName, CodeUndocumented, CodeUnused, CodeSecret, CodeAttribute, CodeRegex, CodePattern, CodeFormat, CodeNoTests,
		CodeTestFails, CodeExampleFails, CodeNotRendered, CodeObject, CodeRollout, CodePort, CodeSelector, CodeLoose,
		CodeContext, CodeRevision, CodeCRD, CodeServer, CodeCoverage,
	}
	slices.Sort(codes)
	return codes
}

// Finding is one thing that is wrong with a template.
type Finding struct {
	Severity Severity `json:"severity"`
	// Code is stable.
	Code string `json:"code"`
	// Position is file:line:column, or the path of an example; may be empty.
	Position string `json:"position,omitempty"`
	// Message says what was wanted, what was found and what to do.
	Message string `json:"message"`
}

// String is the finding in one line.
func (f Finding) String() string {
	line := fmt.Sprintf("%s: %s (%s)", f.Severity, f.Message, f.Code)
	if f.Position != "" {
		line = f.Position + ": " + line
	}
	return line
}

// ObjectCheck judges rendered objects by something that this package does not know, such
// as a CRD or an API server.
type ObjectCheck struct {
	// Code of the findings, which are errors.
	Code string
	// Check returns a line for each mistake in o. It must not change o.
	Check func(o *unstructured.Unstructured) []string
}

// VetOptions are what Vet takes besides the template. The zero value is good.
type VetOptions struct {
	// Examples maps a name, for messages, to JSON of values that have to render.
	Examples map[string][]byte
	// Checks are made of every object that was rendered.
	Checks []ObjectCheck
	// Context is the Release that examples are rendered for; one called demo if it is zero.
	Context Context
	// Shallow leaves out what renders once for each edge of each variable, which is most of
	// the time that Vet takes. Mistakes that show only there are not found then.
	Shallow bool
}

// Vet finds what the language lets pass and what Kubernetes would refuse. It looks at the
// source, at #Variables, and at what the template makes of its tests, of the examples and of
// values on the edges of what #Variables accepts. The findings are sorted by position.
func Vet(files map[string]string, o VetOptions) []Finding {
	if o.Context == (Context{}) {
		o.Context = sample
	}
	v := &vetter{options: o, files: files, seen: map[Finding]bool{}, known: map[string]bool{}, patterns: map[string]bool{}}
	v.guarded()
	slices.SortStableFunc(v.findings, func(a, b Finding) int {
		return cmp.Or(comparePositions(a.Position, b.Position), cmp.Compare(a.Code, b.Code), cmp.Compare(a.Message, b.Message))
	})
	return v.findings
}

// vetter collects findings about one template.
type vetter struct {
	options  VetOptions
	files    map[string]string
	template *Template
	// syntax are the template's files, parsed for this vetter alone: an AST must never be
	// shared with the engine, which writes into it.
	syntax   []*ast.File
	findings []Finding
	seen     map[Finding]bool
	// known are the kinds of mistakes in objects that were found; see objectMistake.kind.
	known map[string]bool
	// patterns are those that were found to be no regular expressions.
	patterns map[string]bool
}

// add adds a finding, once.
func (v *vetter) add(severity Severity, code, position, format string, args ...any) {
	f := Finding{Severity: severity, Code: code, Position: position, Message: OneLine(fmt.Sprintf(format, args...))}
	if !v.seen[f] {
		v.seen[f] = true
		v.findings = append(v.findings, f)
	}
}

func (v *vetter) fail(code, position, format string, args ...any) {
	v.add(SeverityError, code, position, format, args...)
}

func (v *vetter) warn(code, position, format string, args ...any) {
	v.add(SeverityWarning, code, position, format, args...)
}

func (v *vetter) advise(code, position, format string, args ...any) {
	v.add(SeverityAdvice, code, position, format, args...)
}

var lineEnds = regexp.MustCompile(`\s*[\n\v\f\r\x{85}\x{2028}\x{2029}]\s*`)

// OneLine is s without line ends. Other spaces stay: a value that is repeated may be wrong just
// for its spaces, and a name that is may be another without them.
func OneLine(s string) string { return lineEnds.ReplaceAllLiteralString(strings.TrimSpace(s), " ") }

// guarded vets, and turns a panic of the engine into a finding.
func (v *vetter) guarded() {
	var err error
	defer func() {
		if err != nil {
			v.broken(err)
		}
	}()
	defer recovered(&err)
	v.vet()
}

func (v *vetter) vet() {
	if !v.parse() {
		return
	}
	v.lintAttributes()
	v.lintPatterns()
	v.lintFormat()
	t, err := Compile(v.files)
	if err != nil {
		v.broken(err)
		return
	}
	v.template = t
	v.lintVariables()
	v.lintUnused()
	v.lintObjects()
}

// broken adds what keeps the template from compiling.
func (v *vetter) broken(err error) {
	for line := range strings.SplitSeq(err.Error(), "\n") {
		position, message := cutPosition(line)
		v.fail(v.brokenCode(position), position, "%s", message)
	}
}

// brokenCode tells a default outside of its bounds, which Compile refuses too, from all
// else that keeps a template from compiling.
func (v *vetter) brokenCode(position string) string {
	if position == "" {
		return CodeBroken
	}
	for path := range v.outsideDefaults() {
		if path == position {
			return CodeDefaultOutside
		}
	}
	return CodeBroken
}

// positionPrefix is how lines about a source begin.
var positionPrefix = regexp.MustCompile(`^([^\s:]+\.cue:\d+(?::\d+)?): `)

func cutPosition(line string) (position, message string) {
	if m := positionPrefix.FindStringSubmatch(line); m != nil {
		return m[1], line[len(m[0]):]
	}
	return "", line
}

// comparePositions orders file:line:column, numbers by their size.
func comparePositions(a, b string) int {
	x, y := strings.Split(a, ":"), strings.Split(b, ":")
	for i := range min(len(x), len(y)) {
		if c := cmp.Or(cmp.Compare(len(x[i]), len(y[i]))*min(i, 1), cmp.Compare(x[i], y[i])); c != 0 {
			return c
		}
	}
	return cmp.Compare(len(x), len(y))
}

// parse reads the files' syntax. It returns false where that fails, and says why.
func (v *vetter) parse() bool {
	if lines := checkFiles(v.files); len(lines) > 0 {
		v.broken(sourceError(lines...))
		return false
	}
	for _, name := range slices.Sorted(maps.Keys(v.files)) {
		f, err := parser.ParseFile(name, v.files[name], parser.ParseComments)
		if err != nil {
			// What comes after it is mostly of its making.
			v.broken(sourceError(cueLines(err)[0]))
			continue
		}
		if line := checkNesting(f); line != "" {
			v.broken(sourceError(line))
			continue
		}
		v.syntax = append(v.syntax, f)
	}
	return len(v.findings) == 0
}

// Format returns a CUE file in the one form that all are written in. The error is a
// *SourceError.
func Format(name, source string) (out string, err error) {
	defer recovered(&err)
	f, err := parser.ParseFile(name, source, parser.ParseComments)
	if err != nil {
		return "", cueError(err)
	}
	if line := checkNesting(f); line != "" {
		return "", sourceError(line)
	}
	b, err := format.Node(f)
	if err != nil {
		return "", cueError(err)
	}
	// The formatter leaves no newline behind a file that has none.
	return strings.TrimRight(string(b), "\n") + "\n", nil
}

func (v *vetter) lintFormat() {
	for _, name := range slices.Sorted(maps.Keys(v.files)) {
		formatted, err := Format(name, v.files[name])
		if err != nil || formatted == v.files[name] {
			continue
		}
		v.advise(CodeFormat, name+":"+fmt.Sprint(firstDifference(formatted, v.files[name]))+":1",
			"wanted it formatted, found a line that is not; run: tidegate template fmt DIR")
	}
}

// firstDifference is the number of the first line that differs.
func firstDifference(a, b string) int {
	x, y := strings.Split(a, "\n"), strings.Split(b, "\n")
	for i := range min(len(x), len(y)) {
		if x[i] != y[i] {
			return i + 1
		}
	}
	return min(len(x), len(y))
}
