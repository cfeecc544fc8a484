// Package ask asks for the values of a Release on a terminal: the questions are those of
// the JSON Schema of a template, in its order and groups, and each answer is judged by
// the caller at once, so that a person reads there what the gate would say.
package ask

import (
	"bufio"
	"encoding/json"
	"errors"
	"fmt"
	"io"
	"maps"
	"reflect"
	"slices"
	"strconv"
	"strings"
)

// ErrEnded is: the input ended before all questions were answered.
var ErrEnded = errors.New("the input ended before all questions were answered")

// Bounds of a dialogue: whoever exceeds them is no person, and would never end.
const (
	// maxLine is how long an answer may be, in bytes.
	maxLine = 64 << 10
	// maxLines is how many there may be.
	maxLines = 10_000
	// maxWrong is how many wrong ones there may be before a right one.
	maxWrong = 100
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

// schema is one JSON Schema.
type schema = map[string]any

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

func (a *Asker) say(format string, args ...any) { _, _ = fmt.Fprintf(a.Out, format, args...) }

func (a *Asker) line() (string, error) {
	if err := a.bounded(); err != nil {
		return "", err
	}
	return Line(a.In)
}

// bounded counts an answer that is asked for.
func (a *Asker) bounded() error {
	if a.lines++; a.lines > maxLines {
		return fmt.Errorf("wanted at most %d answers, found more", maxLines)
	}
	if a.wrong >= maxWrong {
		return fmt.Errorf("wanted a right answer, found %d wrong ones", a.wrong)
	}
	return nil
}

// Line reads an answer.
func Line(in *bufio.Reader) (string, error) {
	var text []byte
	for {
		part, err := in.ReadSlice('\n')
		text = append(text, part...)
		switch {
		case len(text) > maxLine:
			return "", fmt.Errorf("reading the answer: wanted at most %d bytes, found more", maxLine)
		case errors.Is(err, bufio.ErrBufferFull):
			continue
		case errors.Is(err, io.EOF) && len(text) == 0:
			return "", ErrEnded
		case err != nil && !errors.Is(err, io.EOF):
			return "", fmt.Errorf("reading the answer: %w", err)
		}
		return strings.TrimRight(string(text), "\r\n"), nil
	}
}

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

// conditional says that a variable is there only where others have certain values.
func conditional(s schema) bool {
	return s["x-rules"] != nil && s["type"] == nil && s["anyOf"] == nil && s["enum"] == nil
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

// introduce shows what a variable is.
func (a *Asker) introduce(s schema, name, path string) {
	head := strings.TrimPrefix(strings.TrimPrefix(path, "values"), ".")
	if title, _ := s["title"].(string); title != "" {
		head = title + " (" + head + ")"
	}
	doc, _ := s["description"].(string)
	if doc = strings.Join(strings.Fields(doc), " "); doc != "" {
		head += ": " + doc
	}
	if head == "" {
		head = name
	}
	a.say("\n%s\n", head)
	if s["x-immutable"] == true {
		a.say("  It cannot be changed later.\n")
	}
	if s["x-sensitive"] == true {
		a.say("  Careful: whoever can read the Release can read this. A reference to a Secret is safer.\n")
	}
}

// mistakes shows what is wrong with v at the spot; false where nothing is.
func (a *Asker) mistakes(at spot, v any) bool {
	lines := a.Check(at.whole(v), at.path)
	for _, l := range lines {
		a.say("  %s\n", l)
	}
	if len(lines) == 0 {
		a.wrong = 0
		return false
	}
	a.wrong++
	return true
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

func (a *Asker) answer(s schema) (string, error) {
	if s["x-sensitive"] == true && a.Secret != nil {
		if err := a.bounded(); err != nil {
			return "", err
		}
		return a.Secret()
	}
	return a.line()
}

// read makes a value of text, of the first type that the gate lets pass; where there is
// none it shows what is wrong with the likeliest.
func (a *Asker) read(s schema, text string, at spot) (any, bool) {
	candidates := readings(s, text)
	for _, v := range candidates {
		if len(a.Check(at.whole(v), at.path)) == 0 {
			a.wrong = 0
			return v, true
		}
	}
	a.mistakes(at, candidates[0])
	return nil, false
}

// readings are what text can stand for, the likeliest first.
func readings(s schema, text string) []any {
	options := enum(s)
	var typed []any
	for _, o := range options {
		if fmt.Sprint(o) == text {
			typed = append(typed, o)
		}
	}
	typed = append(typed, literals(s, strings.TrimSpace(text))...)
	if i, err := strconv.Atoi(text); err == nil && i >= 1 && i <= len(options) && len(typed) == 0 {
		typed = append(typed, options[i-1])
	}
	return append(typed, text)
}

// literals are the boolean, null and number that text can stand for.
func literals(s schema, text string) []any {
	var out []any
	switch lower := strings.ToLower(text); {
	case accepts(s, "boolean") && slices.Contains([]string{"y", "yes", "true"}, lower):
		out = append(out, true)
	case accepts(s, "boolean") && slices.Contains([]string{"n", "no", "false"}, lower):
		out = append(out, false)
	case accepts(s, "null") && lower == "null":
		out = append(out, nil)
	}
	if number := json.Number(text); accepts(s, "number") && json.Valid([]byte(text)) {
		if _, err := number.Float64(); err == nil {
			out = append(out, number)
		}
	}
	return out
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

// yes asks a question that is answered by yes or no, no being the default.
func (a *Asker) yes(question string) (bool, error) {
	for {
		a.say("  %s [y/N]: ", question)
		text, err := a.line()
		if err != nil {
			return false, err
		}
		switch strings.ToLower(strings.TrimSpace(text)) {
		case "", "n", "no":
			return false, nil
		case "y", "yes":
			return true, nil
		}
		a.wrong++
		a.say("  wanted y or n, found %q\n", text)
	}
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

func short(v any) string {
	if s, ok := v.(string); ok {
		return s
	}
	b, err := json.Marshal(v)
	if err != nil {
		return fmt.Sprint(v)
	}
	return string(b)
}
