package ask

import (
	"fmt"
	"maps"
	"slices"
	"strings"
)

// schema is one JSON Schema.
type schema = map[string]any

func asSchema(v any) schema {
	s, _ := v.(map[string]any)
	return s
}

// resolve follows references.
func (a *Asker) resolve(s schema) schema {
	for range 10 {
		ref, ok := s["$ref"].(string)
		if !ok {
			return s
		}
		defs, _ := a.root["$defs"].(map[string]any)
		s = asSchema(defs[strings.TrimPrefix(ref, "#/$defs/")])
	}
	return s
}

func texts(v any) []string {
	list, _ := v.([]any)
	var out []string
	for _, item := range list {
		if s, ok := item.(string); ok {
			out = append(out, s)
		}
	}
	return out
}

// order is the order of the questions: what is required first, then the rest by place,
// where a group stands at the place of its first.
func (a *Asker) order(s schema) []string {
	names := texts(s["propertyOrder"])
	properties, _ := s["properties"].(map[string]any)
	required := texts(s["required"])
	group := func(name string) string {
		g, _ := asSchema(properties[name])["x-group"].(string)
		return g
	}
	place := map[string]int{}
	for i, n := range names {
		place[n] = i
		if g := group(n); g != "" {
			place[n] = slices.IndexFunc(names, func(other string) bool { return group(other) == g })
		}
		if !slices.Contains(required, n) {
			place[n] += len(names)
		}
	}
	slices.SortStableFunc(names, func(x, y string) int { return place[x] - place[y] })
	return names
}

// conditional says that a variable is there only where others have certain values.
func conditional(s schema) bool {
	return s["x-rules"] != nil && s["type"] == nil && s["anyOf"] == nil && s["enum"] == nil
}

// accepts says whether a schema names a type, or none.
func accepts(s schema, kind string) bool {
	match := func(t any) bool { return t == kind || kind == "number" && t == "integer" }
	switch t := s["type"].(type) {
	case string:
		return match(t)
	case []any:
		return slices.ContainsFunc(t, match)
	}
	if arms, ok := s["anyOf"].([]any); ok {
		return slices.ContainsFunc(arms, func(arm any) bool { return accepts(asSchema(arm), kind) })
	}
	return s["enum"] == nil && s["const"] == nil
}

func enum(s schema) []any {
	options, _ := s["enum"].([]any)
	arms, _ := s["anyOf"].([]any)
	for _, arm := range arms {
		options = append(slices.Clone(options), enum(asSchema(arm))...)
	}
	return options
}

// entrySchema is the schema of the entry called name of a map; nil where there is none.
func entrySchema(s schema, name string) schema {
	patterns, _ := s["patternProperties"].(map[string]any)
	for _, p := range slices.Sorted(maps.Keys(patterns)) {
		if matches(p, name) {
			return asSchema(patterns[p])
		}
	}
	switch rest := s["additionalProperties"].(type) {
	case map[string]any:
		return rest
	case bool:
		if !rest {
			return nil
		}
	}
	return schema{}
}

// simple says whether an answer of one line can be a value of the schema.
func simple(a *Asker, s schema) bool {
	return s["type"] != "object" && s["type"] != "array" && len(structs(a, s)) == 0
}

// structs are the objects that a schema is a choice of.
func structs(a *Asker, s schema) []schema {
	arms, _ := s["anyOf"].([]any)
	var out []schema
	for _, arm := range arms {
		if r := a.resolve(asSchema(arm)); r["type"] == "object" {
			out = append(out, r)
		}
	}
	return out
}

// fixedFields are the fields of an object that have only one value.
func fixedFields(s schema) map[string]any {
	out := map[string]any{}
	properties, _ := s["properties"].(map[string]any)
	for name, p := range properties {
		if c, ok := asSchema(p)["const"]; ok {
			out[name] = c
		}
	}
	return out
}

func constants(s schema) string {
	fixed := fixedFields(s)
	var parts []string
	for _, name := range slices.Sorted(maps.Keys(fixed)) {
		parts = append(parts, fmt.Sprintf("%s is %v", name, fixed[name]))
	}
	if len(parts) == 0 {
		return ""
	}
	return " (" + strings.Join(parts, ", ") + ")"
}
