package render

import (
	"bytes"
	"encoding/json"
	"testing"
)

// written is what encoding/json makes of v, keys sorted and nothing escaped for HTML.
func written(t *testing.T, v any) string {
	t.Helper()
	var b bytes.Buffer
	enc := json.NewEncoder(&b)
	enc.SetEscapeHTML(false)
	if err := enc.Encode(v); err != nil {
		t.Fatal(err)
	}
	return string(bytes.TrimSuffix(b.Bytes(), []byte("\n")))
}

// Digests are stored in clusters: a byte more or less here would start rollouts there.
func TestCanonicalJSONIsThatOfTheStandardLibrary(t *testing.T) {
	for name, v := range map[string]any{
		"null":                     nil,
		"no map":                   map[string]any(nil),
		"no list":                  []any(nil),
		"no list of maps":          []map[string]any(nil),
		"an empty map":             map[string]any{},
		"an empty list":            []any{},
		"keys out of order":        map[string]any{"b": int64(1), "a": int64(2), "B": nil, "": true, "é": false},
		"text for HTML":            "<a href=\"x\">&</a>",
		"control characters":       "a\x00\x1f\x7f\n\t\\",
		"line separators":          "a\u2028b\u2029c",
		"other scripts":            map[string]any{"ключ": "日本語 🎉"},
		"bytes that are no text":   "a\xffb",
		"an escape in a key":       map[string]any{"a\"b": 1.5, "a\\b": []any{}},
		"large and small integers": []any{int64(-9223372036854775808), int64(9223372036854775807), int64(0), 7, uint8(3)},
		"fractions":                []any{0.1, 1e21, 1e-7, -0.5, 123456789.25, float32(0.1)},
		"numbers as written":       []any{json.Number("12345678901234567890"), json.Number("1.50")},
		"nested lists of maps":     map[string]any{"objects": []map[string]any{{"z": []any{map[string]any{"y": "x"}}}, {}}, "rollout": nil},
		"strings by name":          map[string]string{"b.cue": "package b\n", "a.cue": "x: <y>"},
		"a struct":                 Problem{Path: "a", Message: "<b>"},
	} {
		t.Run(name, func(t *testing.T) {
			got, err := canonical(v)
			if err != nil {
				t.Fatal(err)
			}
			if want := written(t, v); string(got) != want {
				t.Errorf("wanted %s, found %s", want, got)
			}
		})
	}
}

func TestCanonicalJSONOfWhatHasNoneIsAnError(t *testing.T) {
	if out, err := canonical(map[string]any{"a": []any{make(chan int)}}); err == nil {
		t.Errorf("wanted an error, found %s", out)
	}
}
