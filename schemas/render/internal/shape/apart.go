package shape

import (
	"encoding/json"
	"slices"
)

// oneAlone is the rule of alternatives that are not told apart by what has to be given: the
// engine refuses what two of them fit, also where one of the two still lacks something.
const oneAlone = "what no more than one of these fits"

// apart says whether nothing that one of the alternatives accepts fits another. They are
// schemas; it is false where it cannot tell.
func apart(arms []any) bool {
	for i, a := range arms {
		for j, b := range arms {
			if i != j && !refuses(b.(map[string]any), a.(map[string]any)) {
				return false
			}
		}
	}
	return true
}

// refuses says whether the schema b contradicts all that a accepts.
func refuses(b, a map[string]any) bool {
	if either := asList(a["anyOf"]); either != nil {
		return !slices.ContainsFunc(either, func(x any) bool { return !refuses(b, x.(map[string]any)) })
	}
	if either := asList(b["anyOf"]); either != nil {
		return !slices.ContainsFunc(either, func(x any) bool { return !refuses(x.(map[string]any), a) })
	}
	if differ(typesIn(a), typesIn(b)) || differ(literalsIn(a), literalsIn(b)) {
		return true
	}
	required, _ := a["required"].([]string)
	own, _ := a["properties"].(map[string]any)
	others, _ := b["properties"].(map[string]any)
	return slices.ContainsFunc(required, func(name string) bool {
		mine, _ := own[name].(map[string]any)
		theirs, declared := others[name].(map[string]any)
		if !declared {
			return b["additionalProperties"] == false && b["patternProperties"] == nil
		}
		return mine != nil && refuses(theirs, mine)
	})
}

// differ says whether a and b, of which none is all there are, have nothing in common.
func differ(a, b []string) bool {
	return len(a) > 0 && len(b) > 0 && !slices.ContainsFunc(a, func(x string) bool { return slices.Contains(b, x) })
}

// typesIn are the types that a schema names; an integer is a number as well.
func typesIn(s map[string]any) []string {
	var out []string
	switch t := s["type"].(type) {
	case string:
		out = []string{t}
	case []string:
		out = slices.Clone(t)
	}
	for _, text := range literalsIn(s) {
		switch text[0] {
		case '"':
			out = append(out, string(String))
		case 't', 'f':
			out = append(out, string(Bool))
		default:
			out = append(out, string(Number))
		}
	}
	for i, t := range out {
		if t == string(Integer) {
			out[i] = string(Number)
		}
	}
	return out
}

// literalsIn are the only values that a schema accepts, as JSON; none where there are others.
func literalsIn(s map[string]any) []string {
	all, _ := s["enum"].([]json.RawMessage)
	if one, ok := s["const"].(json.RawMessage); ok {
		all = append(all, one)
	}
	var out []string
	for _, text := range all {
		out = append(out, string(text))
	}
	return out
}

func asList(x any) []any {
	list, _ := x.([]any)
	return list
}
