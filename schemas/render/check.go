package render

import (
	"encoding/json"
	"fmt"
	"regexp"
	"strings"

	"cuelang.org/go/cue"

	"tidegate.io/tidegate/schemas/render/internal/shape"
)

// sample is the Release that a template's tests are rendered for.
var sample = Context{Name: "demo", Namespace: "default", Template: "demo"}

// Check runs the template's own tests: each of them renders, or fails with an error that
// its regular expression matches. The error is a *SourceError with a line for each test
// that does not.
func (t *Template) Check() (err error) {
	defer recovered(&err)
	tests := t.root.LookupPath(testsPath)
	if !tests.Exists() {
		return nil
	}
	it, err := tests.Fields()
	if err != nil {
		return cueError(err)
	}
	var lines []string
	for it.Next() {
		if line := t.run(it.Value()); line != "" {
			lines = append(lines, at(it.Value(), "tests.%s: %s", it.Selector(), line))
		}
	}
	if len(lines) > 0 {
		return sourceError(lines...)
	}
	return nil
}

// run returns what is wrong with one test, or "".
func (t *Template) run(test cue.Value) string {
	fields, err := test.Fields()
	if err != nil {
		return "wanted a struct with values and, where they are wrong, error: " + err.Error()
	}
	for fields.Next() {
		if name := fields.Selector().Unquoted(); name != "values" && name != "error" {
			return fmt.Sprintf("wanted values and error, found the field %s", name)
		}
	}
	given := test.LookupPath(valuesPath)
	if !given.Exists() {
		return "wanted values, found none"
	}
	text, err := given.MarshalJSON()
	if err != nil {
		return "wanted concrete values: " + err.Error()
	}
	_, err = t.Render(text, sample)
	expected := test.LookupPath(cue.ParsePath("error"))
	if !expected.Exists() {
		if err != nil {
			return "wanted objects, found the error: " + strings.ReplaceAll(err.Error(), "\n", "; ")
		}
		return ""
	}
	pattern, patternErr := expected.String()
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

// schemaDialect is the version of JSON Schema that Schema writes.
const schemaDialect = "https://json-schema.org/draft/2020-12/schema"

// Schema returns the JSON Schema of the values, for editors and forms. Where #Variables
// says what JSON Schema cannot, such as a rule between two values, the schema accepts
// more than Render does; it never accepts less.
func (t *Template) Schema() (out []byte, err error) {
	defer recovered(&err)
	s := shape.Schema(t.variables)
	s["$schema"] = schemaDialect
	if text := shape.Description(t.variables); text != "" {
		s["description"] = text
	}
	out, err = json.Marshal(s)
	if err != nil {
		return nil, fmt.Errorf("writing the schema: %w", err)
	}
	return out, nil
}
