package ask

import (
	"encoding/json"
	"reflect"
	"strings"
	"testing"
)

func TestWordsOfSchemas(t *testing.T) {
	for text, want := range map[string]string{
		`{"type": "integer", "minimum": 1, "maximum": 9}`:    "an integer from 1 to 9",
		`{"type": "integer", "minimum": 1}`:                  "an integer of at least 1",
		`{"type": "number", "exclusiveMaximum": 2}`:          "a number below 2",
		`{"type": "string", "minLength": 2, "maxLength": 3}`: "text of 2 to 3 characters",
		`{"type": "string", "maxLength": 3}`:                 "text of at most 3 characters",
		`{"type": "string", "pattern": "^a"}`:                "text matching ^a",
		`{"type": "string", "x-wanted": "a path"}`:           "a path",
		`{"enum": ["a", 2, true]}`:                           "one of a, 2, true",
		`{"const": "x"}`:                                     "x",
		`{"anyOf": [{"type": "string"}, {"type": "null"}]}`:  "text or null",
		`{"type": "boolean"}`:                                "yes or no",
		`{}`:                                                 "a value",
	} {
		var s map[string]any
		d := json.NewDecoder(strings.NewReader(text))
		d.UseNumber()
		if err := d.Decode(&s); err != nil {
			t.Fatal(err)
		}
		if got := Words(s); got != want {
			t.Errorf("%s: wanted %q, got %q", text, want, got)
		}
	}
}

func TestSetReadsValuesAsYAMLDoes(t *testing.T) {
	values := map[string]any{"a": map[string]any{"x": "y"}, "s": "text"}
	for _, assignment := range []string{"n=3", "a.b.c=true", "t=a=b", "q=\"3\"", "e=", "l=[1, x]"} {
		if err := Set(values, assignment); err != nil {
			t.Errorf("%s: %v", assignment, err)
		}
	}
	want := map[string]any{
		"a": map[string]any{"x": "y", "b": map[string]any{"c": true}}, "s": "text",
		"n": json.Number("3"), "t": "a=b", "q": "3", "e": nil, "l": []any{json.Number("1"), "x"},
	}
	if !reflect.DeepEqual(values, want) {
		t.Errorf("wanted %v, got %v", want, values)
	}
	for assignment, want := range map[string]string{
		"n":     "wanted PATH=VALUE",
		"=1":    "wanted PATH=VALUE",
		"s.x=1": "wanted an object at s, found a value",
		"n=[":   "wanted a value as in YAML",
	} {
		if err := Set(values, assignment); err == nil || !strings.HasPrefix(err.Error(), want) {
			t.Errorf("%s: wanted an error that begins with %q, got %v", assignment, want, err)
		}
	}
}
