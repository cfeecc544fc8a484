// Package ask asks for the values of a Release on a terminal: the questions are those of
// the JSON Schema of a template, in its order and groups, and each answer is judged by
// the caller at once, so that a person reads there what the gate would say.
package ask

import (
	"bufio"
	"fmt"
	"io"
	"maps"
	"reflect"
	"slices"
	"strconv"
	"strings"
)

// Asker asks. All fields but All and Secret are needed.
type Asker struct {
	// In has the answers, one a line.
	In *bufio.Reader
	// Out shows the questions.
	Out io.Writer
	// Secret reads a line without showing it; nil reads it from In.
	Secret func() (string, error)
	// Check returns what is wrong with the variable at path, and below, one mistake a
	// line; values are those answered so far.
	Check func(values map[string]any, path string) []string
	// Entry and Item make paths.
	Entry func(path, name string) string
	Item  func(path string, i int) string
	// All asks for what has a default and is marked as advanced too.
	All bool

	root map[string]any
	// lines counts the answers, wrong those that were wrong since the last right one.
	lines, wrong int
}

// spot is where an answer goes.
type spot struct {
	path string
	// whole returns all values, with v at the spot.
	whole func(v any) map[string]any
}

// Values asks for all that given leaves open, and returns both. Answers that are the
// default are left out.
func (a *Asker) Values(root map[string]any, path string, given map[string]any) (map[string]any, error) {
	a.root = root
	at := spot{path, func(v any) map[string]any { return v.(map[string]any) }}
	return a.object(root, at, given)
}

// Again asks once more for the variable at the names, which lead through objects from
// the root; values are changed.
func (a *Asker) Again(path string, names []string, values map[string]any) error {
	s, parent := a.resolve(a.root), values
	for i, name := range names {
		properties, _ := s["properties"].(map[string]any)
		s = a.resolve(asSchema(properties[name]))
		if i == len(names)-1 {
			break
		}
		next, ok := parent[name].(map[string]any)
		if !ok {
			next = map[string]any{}
			parent[name] = next
		}
		parent = next
	}
	name := names[len(names)-1]
	at := spot{path, func(v any) map[string]any {
		parent[name] = v
		return values
	}}
	v, set, err := a.value(s, name, at, true)
	if set {
		parent[name] = v
	} else {
		delete(parent, name)
	}
	return err
}

// value asks for one variable until the answer is right. Set is false where it is left
// to its default.
func (a *Asker) value(s schema, name string, at spot, required bool) (v any, set bool, err error) {
	s = a.resolve(s)
	a.introduce(s, name, at.path)
	if arms := structs(a, s); len(arms) > 0 {
		return a.oneOf(arms, at, required)
	}
	switch s["type"] {
	case "object":
		return a.objectOrMap(s, at, required)
	case "array":
		return a.list(s, at, required)
	default:
		return a.scalar(s, at, required)
	}
}

// scalar asks for text, a number or a boolean.
func (a *Asker) scalar(s schema, at spot, required bool) (any, bool, error) {
	def, hasDefault := s["default"]
	prompt := "  " + Words(s)
	if hasDefault {
		prompt += " [" + short(def) + "]"
	} else if !required {
		prompt += " [leave out]"
	}
	for {
		a.say("%s: ", prompt)
		text, err := a.answer(s)
		if err != nil {
			return nil, false, err
		}
		if text == "" && (hasDefault || !required) {
			return nil, false, nil
		}
		v, ok := a.read(s, text, at)
		if !ok {
			continue
		}
		if hasDefault && reflect.DeepEqual(v, def) {
			return nil, false, nil
		}
		return v, true, nil
	}
}

// object asks for the fields of an object that given leaves open.
func (a *Asker) object(s schema, at spot, given map[string]any) (map[string]any, error) {
	out := maps.Clone(given)
	if out == nil {
		out = map[string]any{}
	}
	properties, _ := s["properties"].(map[string]any)
	group := ""
	for _, name := range a.order(s) {
		field := a.resolve(asSchema(properties[name]))
		required := slices.Contains(texts(s["required"]), name)
		child := spot{a.Entry(at.path, name), func(v any) map[string]any {
			with := maps.Clone(out)
			with[name] = v
			return at.whole(with)
		}}
		if before, isSet := out[name]; isSet {
			v, err := a.complete(field, child, before)
			if err != nil {
				return nil, err
			}
			out[name] = v
			continue
		}
		if !required && (field["x-advanced"] == true && !a.All || conditional(field)) {
			continue
		}
		if g, _ := field["x-group"].(string); g != group {
			if group = g; g != "" {
				a.say("\n== %s\n", g)
			}
		}
		v, set, err := a.value(field, name, child, required)
		if err != nil {
			return nil, err
		}
		if set {
			out[name] = v
		}
	}
	return out, nil
}

// complete asks for what a value that is given leaves open, where it is an object.
func (a *Asker) complete(s schema, at spot, given any) (any, error) {
	inner, ok := given.(map[string]any)
	if !ok || asSchema(s["properties"]) == nil || s["anyOf"] != nil {
		return given, nil
	}
	return a.object(s, at, inner)
}

func (a *Asker) objectOrMap(s schema, at spot, required bool) (any, bool, error) {
	if asSchema(s["properties"]) == nil {
		return a.entries(s, at)
	}
	if !required {
		if set, err := a.yes("Set it?"); err != nil || !set {
			return nil, false, err
		}
	}
	for {
		v, err := a.object(s, at, nil)
		if err != nil {
			return nil, false, err
		}
		if !a.mistakes(at, v) {
			return v, len(v) > 0 || required, nil
		}
		// All that is wrong may be what is not asked for.
		if err := a.bounded(); err != nil {
			return nil, false, err
		}
	}
}

// entries asks for the entries of a map.
func (a *Asker) entries(s schema, at spot) (any, bool, error) {
	out := map[string]any{}
	for {
		a.say("  a name (empty to end): ")
		name, err := a.line()
		if err != nil {
			return nil, false, err
		}
		if name == "" {
			return out, len(out) > 0, nil
		}
		field := a.resolve(entrySchema(s, name))
		child := spot{a.Entry(at.path, name), func(v any) map[string]any {
			with := maps.Clone(out)
			with[name] = v
			return at.whole(with)
		}}
		if field == nil {
			// The gate says which names there may be.
			a.mistakes(child, "")
			continue
		}
		v, _, err := a.value(field, name, child, true)
		if err != nil {
			return nil, false, err
		}
		out[name] = v
	}
}

// list asks for the items of a list.
func (a *Asker) list(s schema, at spot, required bool) (any, bool, error) {
	for {
		items, err := a.items(s, at)
		if err != nil {
			return nil, false, err
		}
		if len(items) == 0 && !required {
			return nil, false, nil
		}
		if !a.mistakes(at, items) {
			return items, !reflect.DeepEqual(any(items), s["default"]), nil
		}
	}
}

func (a *Asker) items(s schema, at spot) ([]any, error) {
	fixed, _ := s["prefixItems"].([]any)
	out := []any{}
	for {
		item := a.resolve(asSchema(s["items"]))
		needed := len(out) < len(fixed)
		if needed {
			item = a.resolve(asSchema(fixed[len(out)]))
		}
		if s["items"] == false && !needed {
			return out, nil
		}
		child := spot{a.Item(at.path, len(out)), func(v any) map[string]any { return at.whole(append(slices.Clone(out), v)) }}
		if simple(a, item) && !needed {
			a.say("  item %d, %s (empty to end): ", len(out)+1, Words(item))
			text, err := a.answer(item)
			if err != nil || text == "" {
				return out, err
			}
			if v, ok := a.read(item, text, child); ok {
				out = append(out, v)
			}
			continue
		}
		if !needed {
			if more, err := a.yes(fmt.Sprintf("Add item %d?", len(out)+1)); err != nil || !more {
				return out, err
			}
		}
		v, _, err := a.value(item, "", child, true)
		if err != nil {
			return nil, err
		}
		out = append(out, v)
	}
}

// oneOf asks which of several objects is meant, and for its fields.
func (a *Asker) oneOf(arms []schema, at spot, required bool) (any, bool, error) {
	for i, arm := range arms {
		a.say("  %d: %s\n", i+1, strings.Join(texts(arm["propertyOrder"]), ", ")+constants(arm))
	}
	for {
		prompt := fmt.Sprintf("  a number from 1 to %d", len(arms))
		if !required {
			prompt += " [leave out]"
		}
		a.say("%s: ", prompt)
		text, err := a.line()
		if err != nil {
			return nil, false, err
		}
		if text == "" && !required {
			return nil, false, nil
		}
		i, err := strconv.Atoi(strings.TrimSpace(text))
		if err != nil || i < 1 || i > len(arms) {
			a.wrong++
			a.say("  wanted a number from 1 to %d, found %q\n", len(arms), text)
			continue
		}
		arm := arms[i-1]
		v, err := a.object(arm, at, fixedFields(arm))
		if err != nil {
			return nil, false, err
		}
		if !a.mistakes(at, v) {
			return v, true, nil
		}
	}
}
