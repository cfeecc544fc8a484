package shape

import (
	"encoding/json"
	"fmt"
	"slices"
	"strings"

	"cuelang.org/go/cue"
)

// describing says whether a keyword of a schema is for people and refuses nothing.
func describing(keyword string) bool {
	return strings.HasPrefix(keyword, "x-") || slices.Contains([]string{"title", "description", "writeOnly"}, keyword)
}

func addRules(out map[string]any, rules ...string) {
	before, _ := out[rulesKey].([]string)
	out[rulesKey] = union(before, rules)
}

// annotate adds what is for people: documentation, default, and what attributes say.
func annotate(v cue.Value, out map[string]any) {
	if text := Description(v); text != "" {
		out["description"] = text
	}
	if d, ok := v.Default(); ok && d.IsConcrete() && (d.Kind() != cue.ListKind || hasDefault(v)) {
		if b, err := d.MarshalJSON(); err == nil {
			out["default"] = json.RawMessage(b)
		}
	}
	attributes(v, out)
}

// attributes adds what the attributes of v say.
func attributes(v cue.Value, out map[string]any) {
	if _, ok := Mark(v, "sensitive"); ok {
		out["writeOnly"] = true
		out["x-sensitive"] = true
	}
	if _, ok := Mark(v, "immutable"); ok {
		out["x-immutable"] = true
	}
	if a, ok := Mark(v, "wanted"); ok {
		if text, err := a.String(0); err == nil {
			out["x-wanted"] = text
		}
	}
	ui, ok := Mark(v, "ui")
	if !ok {
		return
	}
	for key, keyword := range map[string]string{"title": "title", "group": "x-group", "widget": "x-widget"} {
		if text, found, err := ui.Lookup(0, key); found && err == nil && text != "" {
			out[keyword] = text
		}
	}
	if advanced, err := ui.Flag(0, "advanced"); advanced && err == nil {
		out["x-advanced"] = true
	}
}

// uiOrder is the order that @ui gives a field, or else its place in the source.
func uiOrder(v cue.Value, place int) int {
	if ui, ok := Mark(v, "ui"); ok {
		if n, found, err := ui.Lookup(0, "order"); found && err == nil {
			var order int
			if _, err := fmt.Sscanf(n, "%d", &order); err == nil {
				return order
			}
		}
	}
	return place
}

func (a Arm) schema() map[string]any {
	out := map[string]any{}
	if a.Literal != "" && a.Kind != Null {
		out["const"] = json.RawMessage(a.Literal)
		return out
	}
	if a.Kind != Any {
		out["type"] = string(a.Kind)
	}
	number := func(b *Bound, closed, open string) {
		switch {
		case b == nil:
		case b.Open:
			out[open] = json.Number(b.Text)
		default:
			out[closed] = json.Number(b.Text)
		}
	}
	number(a.Min, "minimum", "exclusiveMinimum")
	number(a.Max, "maximum", "exclusiveMaximum")
	sizes := map[Kind][2]string{String: {"minLength", "maxLength"}, List: {"minItems", "maxItems"}}
	if names, ok := sizes[a.Kind]; ok {
		if a.MinSize != nil {
			out[names[0]] = *a.MinSize
		}
		if a.MaxSize != nil {
			out[names[1]] = *a.MaxSize
		}
	}
	for _, r := range a.Rules {
		if r == noItemTwice {
			out["uniqueItems"] = true
		} else {
			addRules(out, r)
		}
	}
	a.expressions(out)
	if len(a.Not) > 0 {
		not := make([]json.RawMessage, len(a.Not))
		for i, n := range a.Not {
			not[i] = json.RawMessage(n)
		}
		out["not"] = map[string]any{"enum": not}
	}
	return out
}

// expressions adds the regular expressions that a string must match or not.
func (a Arm) expressions(out map[string]any) {
	var all []any
	for i, p := range slices.Concat(a.Patterns, a.AntiPatterns) {
		want := i < len(a.Patterns)
		said, ok := ecma(p)
		switch {
		case !ok && want:
			addRules(out, "matching "+p)
		case !ok:
			addRules(out, "not matching "+p)
		case !want:
			all = append(all, map[string]any{"not": map[string]any{"pattern": said}})
		case out["pattern"] == nil:
			out["pattern"] = said
		default:
			all = append(all, map[string]any{"pattern": said})
		}
	}
	if len(all) > 0 {
		out["allOf"] = all
	}
}
