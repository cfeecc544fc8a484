// Package secret keeps the sensitive values of a Release out of texts that others wrote: the
// answers of an API server, the messages of policies, the differences of objects. It is pure.
//
// What this project writes itself leaves them out from the start. What others say may repeat
// whatever they were shown, so it is looked through for the values, as they are and as they
// are commonly written.
package secret

import (
	"bytes"
	"cmp"
	"encoding/base64"
	"encoding/json"
	"fmt"
	"slices"
	"strconv"
	"strings"
)

// Hidden stands for what must not be shown.
const Hidden = "(sensitive)"

const (
	// long is the length, in bytes, from which on a value is hidden wherever it stands. A
	// shorter one is part of many words, and is hidden where it is a whole text or quoted.
	long = 4
	// maxDepth bounds how deep a schema is followed; what is deeper is taken for sensitive.
	maxDepth = 64
)

// mark is the keyword of a schema for what is sensitive.
const mark = "x-sensitive"

// Mask hides values in texts. The zero Mask hides nothing.
type Mask struct {
	// forms are the ways in which the values may be written, the longest first, so that none
	// leaves a part of another.
	forms []string
}

// New is a Mask of the values.
func New(values []string) Mask {
	var forms []string
	for _, v := range values {
		if v == "" {
			continue
		}
		forms = append(forms, v, base64.StdEncoding.EncodeToString([]byte(v)), unquoted(strconv.Quote(v)))
		if text, err := json.Marshal(v); err == nil {
			forms = append(forms, unquoted(string(text)))
		}
	}
	slices.SortFunc(forms, func(a, b string) int { return cmp.Or(cmp.Compare(len(b), len(a)), cmp.Compare(a, b)) })
	return Mask{slices.Compact(forms)}
}

func unquoted(s string) string { return s[1 : len(s)-1] }

// In says whether s is, or has in it, something to be hidden.
func (m Mask) In(s string) bool {
	return slices.ContainsFunc(m.forms, func(form string) bool {
		return s == form || len(form) >= long && strings.Contains(s, form)
	})
}

// Text is s with what is to be hidden replaced.
func (m Mask) Text(s string) string {
	for _, form := range m.forms {
		if len(form) >= long {
			s = strings.ReplaceAll(s, form, Hidden)
			continue
		}
		if s == form {
			return Hidden
		}
		for _, around := range [][2]string{{`"`, `"`}, {"'", "'"}, {"`", "`"}, {"value: ", ""}} {
			s = strings.ReplaceAll(s, around[0]+form+around[1], around[0]+Hidden+around[1])
		}
	}
	return s
}

// Texts is Text of each.
func (m Mask) Texts(texts []string) []string {
	out := make([]string, 0, len(texts))
	for _, s := range texts {
		out = append(out, m.Text(s))
	}
	return out
}

// Values returns the texts in values, the JSON of the values of a Release, that the JSON
// Schema of its template marks as sensitive, each once. Where the schema does not say what
// something is, though it marks other things, that is taken for sensitive too.
func Values(schema, values []byte) []string {
	if !bytes.Contains(schema, []byte(mark)) || len(values) == 0 {
		return nil
	}
	var root map[string]any
	var tree any
	if json.Unmarshal(schema, &root) != nil {
		root = map[string]any{mark: true}
	}
	d := json.NewDecoder(bytes.NewReader(values))
	d.UseNumber()
	if d.Decode(&tree) != nil {
		return nil
	}
	w := walk{root: root}
	w.value(root, tree, 0)
	slices.Sort(w.found)
	return slices.Compact(w.found)
}

// walk follows values along a schema.
type walk struct {
	root  map[string]any
	found []string
}

// vague says whether the schema has nothing to say but rules that are not its own: they may be
// about what is sensitive only under a condition.
func vague(schema map[string]any) bool {
	_, rules := schema["x-rules"]
	return rules && schema["type"] == nil && schema["enum"] == nil && schema["const"] == nil
}

// value looks at one value.
func (w *walk) value(schema map[string]any, v any, depth int) {
	parts := w.parts(schema)
	if schema[mark] == true || depth > maxDepth || vague(schema) && len(parts) == 0 {
		w.all(v)
		return
	}
	for _, part := range parts {
		w.value(part, v, depth+1)
	}
	switch v := v.(type) {
	case map[string]any:
		for name, x := range v {
			w.entry(schema, name, x, depth)
		}
	case []any:
		prefix, _ := schema["prefixItems"].([]any)
		for i, x := range v {
			items := schema["items"]
			if i < len(prefix) {
				items = prefix[i]
			}
			w.under(schema, items, x, depth)
		}
	}
}

// parts are the schemas that hold for the same value.
func (w *walk) parts(schema map[string]any) []map[string]any {
	var out []map[string]any
	for _, keyword := range []string{"allOf", "anyOf", "oneOf"} {
		list, _ := schema[keyword].([]any)
		for _, x := range list {
			if part, ok := x.(map[string]any); ok {
				out = append(out, part)
			}
		}
	}
	if ref, ok := schema["$ref"].(string); ok {
		defs, _ := w.root["$defs"].(map[string]any)
		part, known := defs[strings.TrimPrefix(ref, "#/$defs/")].(map[string]any)
		if !known {
			part = map[string]any{mark: true}
		}
		out = append(out, part)
	}
	return out
}

// entry looks at one field of an object.
func (w *walk) entry(schema map[string]any, name string, v any, depth int) {
	properties, _ := schema["properties"].(map[string]any)
	if property, ok := properties[name]; ok {
		w.under(schema, property, v, depth)
		return
	}
	before := len(w.found)
	patterns, _ := schema["patternProperties"].(map[string]any)
	for _, pattern := range patterns {
		w.under(schema, pattern, v, depth)
	}
	if len(patterns) == 0 || len(w.found) == before {
		w.under(schema, schema["additionalProperties"], v, depth)
	}
}

// under looks at v, below what schema is about, by the schema that is there for it. Where
// there is none and no other part of the schema could have one, nothing is known of v.
func (w *walk) under(schema map[string]any, sub, v any, depth int) {
	switch sub := sub.(type) {
	case map[string]any:
		w.value(sub, v, depth+1)
	case bool: // false is: it is not allowed, or another part is about it
		if sub && len(w.parts(schema)) == 0 {
			w.all(v)
		}
	default:
		if len(w.parts(schema)) == 0 {
			w.all(v)
		}
	}
}

// all takes every text in v, names included.
func (w *walk) all(v any) {
	switch v := v.(type) {
	case map[string]any:
		for name, x := range v {
			w.found = append(w.found, name)
			w.all(x)
		}
	case []any:
		for _, x := range v {
			w.all(x)
		}
	case nil:
	default:
		w.found = append(w.found, fmt.Sprint(v))
	}
}
