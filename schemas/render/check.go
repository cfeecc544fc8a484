package render

import (
	"encoding/json"
	"errors"
	"fmt"
	"maps"
	"regexp"
	"slices"
	"strings"

	"cuelang.org/go/cue"
	"k8s.io/apimachinery/pkg/apis/meta/v1/unstructured"

	"tidegate.io/tidegate/schemas/render/internal/manifest"
	"tidegate.io/tidegate/schemas/render/internal/values"
)

// sample is the Release that a template's tests are rendered for.
var sample = Context{Name: "demo", Namespace: "default", Template: "demo"}

// TestResult is how one entry of a template's field tests went.
type TestResult struct {
	Name string `json:"name"`
	// Position is file:line:column.
	Position string `json:"position,omitempty"`
	// Problems says what is wrong, one a line; none where the test passes.
	Problems []string `json:"problems,omitempty"`
	// Values is the JSON of the test's values; nil where they are no values.
	Values []byte `json:"-"`
	// Context is the Release that the test is rendered for.
	Context Context `json:"-"`
	// Result is what the values render to; nil where they do not.
	Result *Result `json:"-"`
	// broken is why the template makes nothing of good values; nil otherwise.
	broken *SourceError
}

// Check runs the template's own tests, and finds out of those that render whether the
// template hands the revision on as it is; see RenderTwice. The error is a *SourceError
// with a line for each problem of a test.
func (t *Template) Check() error {
	results, err := t.Test(nil)
	if err != nil {
		return err
	}
	var lines []string
	for _, r := range results {
		for _, p := range r.Problems {
			lines = append(lines, r.line(p))
		}
		if r.Result == nil {
			continue
		}
		if _, err := t.RenderTwice(r.Values, r.Context); err != nil {
			lines = append(lines, r.line(err.Error()))
		}
	}
	if len(lines) > 0 {
		return sourceError(lines...)
	}
	return nil
}

func (r TestResult) line(problem string) string {
	line := "tests." + label(r.Name) + ": " + problem
	if r.Position != "" {
		line = r.Position + ": " + line
	}
	return line
}

// label is a name as CUE writes it in a path.
func label(name string) string { return cue.Str(name).String() }

// Test runs those of the template's own tests that match selects by name, or all if it is
// nil, in the order of the source:
//
//	tests: "a name": {
//		values: {...}
//		context?: {name?: string, namespace?: string}
//		expect?: {objects?: {...}, rollout?: {...}, revision?: string}
//		error?: a regular expression
//	}
//
// A test passes when its values render and everything in expect is found in what they
// render to; or, with error, when they are refused in words that it matches. What expect
// does not mention may be anything; null stands for something that must not be there; a
// list is compared item by item as far as expect goes.
func (t *Template) Test(match func(name string) bool) (results []TestResult, err error) {
	defer recovered(&err)
	tests, err := t.tests()
	if err != nil || !tests.Exists() {
		return nil, err
	}
	it, err := tests.Fields()
	if err != nil {
		return nil, cueError(err)
	}
	for it.Next() {
		name := it.Selector().Unquoted()
		if match != nil && !match(name) {
			continue
		}
		r := TestResult{Name: name, Position: place(it.Value().Pos()), Context: sample}
		t.run(it.Value(), &r)
		results = append(results, r)
	}
	return results, nil
}

// parts are the fields that a test may have.
var parts = []string{"context", "error", "expect", "values"}

// run runs one test into r.
func (t *Template) run(test cue.Value, r *TestResult) {
	fail := func(format string, args ...any) { r.Problems = append(r.Problems, fmt.Sprintf(format, args...)) }
	fields, err := test.Fields()
	if err != nil {
		fail("wanted a struct with values and, where they are wrong, error: %v", err)
		return
	}
	for fields.Next() {
		if name := fields.Selector().Unquoted(); !slices.Contains(parts, name) {
			fail("wanted %s, found the field %s", strings.Join(parts, ", "), name)
			return
		}
	}
	given := test.LookupPath(valuesPath)
	if !given.Exists() {
		fail("wanted values, found none")
		return
	}
	if r.Values, err = given.MarshalJSON(); err != nil {
		fail("wanted concrete values: %v", err)
		return
	}
	if problem := r.context(test.LookupPath(factsPath)); problem != "" {
		fail("%s", problem)
		return
	}
	t.judge(test, r, fail)
}

// judge renders the values of a test and compares.
func (t *Template) judge(test cue.Value, r *TestResult, fail func(string, ...any)) {
	pattern, expect := test.LookupPath(cue.ParsePath("error")), test.LookupPath(cue.ParsePath("expect"))
	if expect.Exists() {
		if err := expect.Validate(cue.Concrete(true)); err != nil {
			fail("wanted concrete expectations: %v", err)
			return
		}
	}
	var renderErr error
	r.Result, renderErr = t.Render(r.Values, r.Context)
	if !pattern.Exists() {
		r.broken, _ = errors.AsType[*SourceError](renderErr)
	}
	switch {
	case pattern.Exists() && expect.Exists():
		fail("wanted expect or error, found both; values that are refused have no objects")
	case pattern.Exists():
		if problem := expectError(pattern, renderErr); problem != "" {
			fail("%s", problem)
		}
	case renderErr != nil:
		fail("wanted objects, found the error: %s", strings.ReplaceAll(renderErr.Error(), "\n", "; "))
	case expect.Exists():
		r.Problems = append(r.Problems, t.expect(expect, r)...)
	}
}

// context takes name and namespace of the Release from a test.
func (r *TestResult) context(v cue.Value) string {
	if !v.Exists() {
		return ""
	}
	it, err := v.Fields()
	if err != nil {
		return fmt.Sprintf("wanted context to be a struct: %v", err)
	}
	for it.Next() {
		text, err := it.Value().String()
		switch name := it.Selector().Unquoted(); {
		case err != nil:
			return fmt.Sprintf("wanted context.%s to be a string: %v", name, err)
		case name == "name":
			r.Context.Name = text
		case name == "namespace":
			r.Context.Namespace = text
		default:
			return fmt.Sprintf("wanted name and namespace in context, found %s", name)
		}
	}
	return ""
}

func expectError(v cue.Value, err error) string {
	pattern, patternErr := v.String()
	if patternErr != nil {
		return "wanted error to be a string: " + patternErr.Error()
	}
	re, patternErr := regexp.Compile(pattern)
	switch {
	case patternErr != nil:
		return "wanted error to be a regular expression: " + patternErr.Error()
	case err == nil:
		return fmt.Sprintf("wanted an error matching %q, found that the values render", pattern)
	case !re.MatchString(err.Error()):
		return fmt.Sprintf("wanted an error matching %q, found: %s", pattern, strings.ReplaceAll(err.Error(), "\n", "; "))
	}
	return ""
}

// expect returns a line for everything in v that differs from what the test rendered.
func (t *Template) expect(v cue.Value, r *TestResult) []string {
	text, err := v.MarshalJSON()
	if err != nil {
		return []string{"wanted concrete expectations: " + err.Error()}
	}
	decoded, err := manifest.Decode(text)
	if err != nil {
		return []string{err.Error()}
	}
	wanted, ok := decoded.(map[string]any)
	if !ok {
		return []string{"wanted expect to be a struct"}
	}
	found, err := t.found(r)
	if err != nil {
		return []string{err.Error()}
	}
	var lines []string
	for _, name := range slices.Sorted(maps.Keys(wanted)) {
		if _, known := found[name]; !known {
			lines = append(lines, fmt.Sprintf("wanted objects, revision or rollout in expect, found %s", name))
			continue
		}
		expectSame("expect."+name, wanted[name], found[name], &lines)
	}
	return lines
}

// found is what a test may expect things of: the objects by the ids that the template
// gives them, finished as they go to the cluster; the strategy as the template wrote it,
// and with the defaults where it says nothing; and the revision.
func (t *Template) found(r *TestResult) (map[string]any, error) {
	byID, rollout, err := t.raw(r.Values, r.Context, r.Result.Revision)
	if err != nil {
		return nil, err
	}
	finished := r.Result.byKey()
	objects := map[string]any{}
	for id, o := range byID {
		objects[id] = o.Object
		if f := finished[key(o)]; f != nil {
			objects[id] = f.Object
		}
	}
	filled, err := json.Marshal(r.Result.Strategy)
	if err != nil {
		return nil, fmt.Errorf("writing the strategy: %w", err)
	}
	strategy, err := manifest.Decode(filled)
	if err != nil {
		return nil, err
	}
	return map[string]any{"objects": objects, "rollout": overlay(strategy, rollout), "revision": r.Result.Revision}, nil
}

// raw is what the template itself says: objects by id, and the field rollout.
func (t *Template) raw(valuesJSON []byte, c Context, revision string) (objects map[string]*unstructured.Unstructured, rollout any, err error) {
	tree, err := t.read(valuesJSON, c)
	if err != nil {
		return nil, nil, err
	}
	out, err := t.evaluate(tree, c, placeholder)
	if err != nil {
		return nil, nil, err
	}
	out = out.replaced(revision)
	decoded, err := manifest.Decode(out.objects)
	if err != nil {
		return nil, nil, err
	}
	objects = map[string]*unstructured.Unstructured{}
	byID, _ := decoded.(map[string]any)
	for id, content := range byID {
		if content, ok := content.(map[string]any); ok {
			objects[id] = &unstructured.Unstructured{Object: content}
		}
	}
	rollout, err = manifest.Decode(out.rollout)
	return objects, rollout, err
}

// key tells the objects of one Release apart.
func key(o *unstructured.Unstructured) string {
	return o.GetAPIVersion() + " " + o.GetKind() + " " + o.GetName()
}

func (r *Result) byKey() map[string]*unstructured.Unstructured {
	out := map[string]*unstructured.Unstructured{}
	for _, o := range r.Objects() {
		out[key(o)] = o
	}
	return out
}

// overlay is base with what over says instead where both are objects, and over otherwise.
func overlay(base, over any) any {
	b, isObject := base.(map[string]any)
	o, areObjects := over.(map[string]any)
	if !isObject || !areObjects {
		return over
	}
	out := maps.Clone(b)
	for name, v := range o {
		out[name] = overlay(b[name], v)
	}
	return out
}

// expectSame adds a line for everything in wanted that found does not have.
func expectSame(path string, wanted, found any, lines *[]string) {
	differs := func() {
		*lines = append(*lines, fmt.Sprintf("%s: wanted %s, found %s", path, brief(wanted), brief(found)))
	}
	switch w := wanted.(type) {
	case map[string]any:
		f, ok := found.(map[string]any)
		if !ok {
			differs()
			return
		}
		for _, name := range slices.Sorted(maps.Keys(w)) {
			expectSame(values.Child(path, name), w[name], f[name], lines)
		}
	case []any:
		f, ok := found.([]any)
		if !ok || len(f) < len(w) {
			differs()
			return
		}
		for i := range w {
			expectSame(values.Index(path, i), w[i], f[i], lines)
		}
	default:
		if !sameScalar(wanted, found) {
			differs()
		}
	}
}

// sameScalar says whether two decoded values are the same; 1 and 1.0 are.
func sameScalar(a, b any) bool {
	number := func(v any) (float64, bool) {
		switch v := v.(type) {
		case int64:
			return float64(v), true
		case float64:
			return v, true
		}
		return 0, false
	}
	x, isNumber := number(a)
	y, areNumbers := number(b)
	if isNumber && areNumbers {
		return x == y
	}
	switch b.(type) {
	case map[string]any, []any:
		return false
	}
	return a == b
}

// maxBrief is how much of a value a message repeats, in characters.
const maxBrief = 200

// brief is a decoded value in few words.
func brief(v any) string {
	if v == nil {
		return "nothing"
	}
	b, err := canonical(v)
	if err != nil {
		return fmt.Sprint(v)
	}
	if text := []rune(string(b)); len(text) > maxBrief {
		return string(text[:maxBrief]) + "..."
	}
	return string(b)
}
