package shape

import (
	"encoding/json"
	"slices"
	"strings"

	"cuelang.org/go/cue"
	"cuelang.org/go/cue/ast"
	"cuelang.org/go/cue/cuecontext"
	"cuelang.org/go/cue/token"
)

// Schema returns the JSON Schema (2020-12) of what v accepts, without "$schema". Where a
// part of v says what JSON Schema cannot, that part of the result accepts more.
func Schema(v cue.Value) map[string]any {
	out := map[string]any{}
	s := Of(v)
	switch {
	case v.IncompleteKind() == cue.StructKind:
		out = object(v)
	case Dependent(v):
		// What it accepts depends on other values: only the type is sure.
		if kinds := s.kinds(); len(kinds) == 1 && kinds[0] != Any {
			out["type"] = string(kinds[0])
		}
	case len(s.Arms) == 1:
		out = s.Arms[0].schema()
		if s.Arms[0].Kind == List {
			addItems(v, out)
		}
	case len(s.Arms) > 1:
		out = choice(s.Arms)
	}
	if d, ok := v.Default(); ok && d.IsConcrete() && (d.Kind() != cue.ListKind || hasDefault(v)) {
		if b, err := d.MarshalJSON(); err == nil {
			out["default"] = json.RawMessage(b)
		}
	}
	return out
}

// Description returns the comment above the field that v is the value of.
func Description(v cue.Value) string {
	var paragraphs []string
	for _, group := range v.Doc() {
		text := strings.TrimSpace(group.Text())
		if text != "" && !slices.Contains(paragraphs, text) {
			paragraphs = append(paragraphs, text)
		}
	}
	return strings.Join(paragraphs, "\n\n")
}

func object(v cue.Value) map[string]any {
	out := map[string]any{"type": string(Object)}
	it, err := v.Fields(cue.Optional(true), cue.Patterns(true))
	if err != nil || len(Alternatives(v)) > 1 {
		// A choice of structs has no one list of fields.
		return out
	}
	properties, patterns := map[string]any{}, map[string]any{}
	var required []string
	open := isOpen(v)
	for it.Next() {
		sel, field := it.Selector(), it.Value()
		if sel.ConstraintType() == cue.PatternConstraint {
			addPattern(patterns, sel.Pattern(), field)
			continue
		}
		if !sel.IsString() && sel.LabelType() != cue.StringLabel {
			continue
		}
		schema := Schema(field)
		if text := Description(field); text != "" {
			schema["description"] = text
		}
		name := sel.Unquoted()
		properties[name] = schema
		if sel.ConstraintType() == cue.RequiredConstraint || sel.ConstraintType() == 0 && NeedsValue(field) {
			required = append(required, name)
		}
	}
	if len(properties) > 0 {
		out["properties"] = properties
	}
	if len(required) > 0 {
		slices.Sort(required)
		out["required"] = required
	}
	switch rest, all := patterns[""]; {
	case all:
		out["additionalProperties"] = rest
	default:
		out["additionalProperties"] = open
	}
	delete(patterns, "")
	if len(patterns) > 0 {
		out["patternProperties"] = patterns
	}
	return out
}

// Alternatives describes the structs that v is a choice between; none if v is one struct.
func Alternatives(v cue.Value) []string {
	if _, ok := v.Default(); ok && v.IncompleteKind() != cue.StructKind {
		return nil
	}
	op, args := v.Eval().Expr()
	if op != cue.OrOp {
		return nil
	}
	var out []string
	for _, arm := range args {
		it, err := arm.Fields(cue.Optional(true))
		if err != nil {
			continue
		}
		var fields []string
		for it.Next() {
			text := it.Selector().Unquoted()
			if b, err := it.Value().MarshalJSON(); err == nil && it.Value().IsConcrete() {
				text += " " + string(b)
			} else if it.Selector().ConstraintType() == cue.OptionalConstraint {
				continue
			}
			fields = append(fields, text)
		}
		out = append(out, "an object with "+strings.Join(fields, " and "))
	}
	return out
}

// Discriminators returns the names of the fields that tell the structs apart that v is a
// choice between: those with one value in an alternative.
func Discriminators(v cue.Value) []string {
	var out []string
	for _, arm := range alternatives(v) {
		for name := range constants(arm) {
			if !slices.Contains(out, name) {
				out = append(out, name)
			}
		}
	}
	slices.Sort(out)
	return out
}

// Discriminator returns the name and the values of the field that has one value, and
// another, in each of the structs that v is a choice between; "" if there is no such field.
func Discriminator(v cue.Value) (name string, literals []Arm) {
	arms := alternatives(v)
	if len(arms) < 2 {
		return "", nil
	}
	for _, name := range Discriminators(v) {
		literals = nil
		for _, arm := range arms {
			a, ok := constants(arm)[name]
			if ok && !slices.ContainsFunc(literals, func(b Arm) bool { return b.Literal == a.Literal }) {
				literals = append(literals, a)
			}
		}
		if len(literals) == len(arms) {
			return name, literals
		}
	}
	return "", nil
}

// alternatives are the structs that v is a choice between; none if there is no choice.
func alternatives(v cue.Value) []cue.Value {
	op, args := v.Eval().Expr()
	if op != cue.OrOp {
		return nil
	}
	var out []cue.Value
	for _, arm := range args {
		if arm.IncompleteKind() != cue.StructKind {
			return nil
		}
		out = append(out, arm)
	}
	return out
}

// constants are the fields of the struct v that have one scalar value.
func constants(v cue.Value) map[string]Arm {
	out := map[string]Arm{}
	it, err := v.Fields()
	for err == nil && it.Next() {
		if s := Of(it.Value()); len(s.Arms) == 1 && s.Arms[0].Literal != "" {
			out[it.Selector().Unquoted()] = s.Arms[0]
		}
	}
	return out
}

// Accepts says whether one of the literals of s is the string or number in text.
func (s Shape) Accepts(text string) bool {
	return slices.ContainsFunc(s.Arms, func(a Arm) bool {
		return a.Literal != "" && (a.Kind == String && a.text() == text || a.Kind != String && a.Literal == text)
	})
}

// Kinds returns the types that v accepts, also where the engine cannot evaluate it for
// want of a value that it depends on.
func Kinds(v cue.Value) cue.Kind {
	if k := v.IncompleteKind(); k != cue.BottomKind {
		return k
	}
	for _, w := range []cue.Value{v, cue.Dereference(v)} {
		switch expression(w.Syntax(cue.Raw())).(type) {
		case *ast.StructLit:
			return cue.StructKind
		case *ast.ListLit:
			return cue.ListKind
		}
	}
	return cue.BottomKind
}

// Required returns the names of the fields that the source of v marks with !, for a v
// that cannot be evaluated.
func Required(v cue.Value) []string {
	var out []string
	for _, w := range []cue.Value{v, cue.Dereference(v)} {
		s, ok := expression(w.Syntax(cue.Raw())).(*ast.StructLit)
		if !ok {
			continue
		}
		for _, d := range s.Elts {
			f, ok := d.(*ast.Field)
			if !ok || f.Constraint != token.NOT {
				continue
			}
			if name, _, err := ast.LabelName(f.Label); err == nil && !slices.Contains(out, name) {
				out = append(out, name)
			}
		}
	}
	return out
}

// isOpen says whether the struct v may have fields that v.Fields does not list: because
// of an ellipsis, or of fields that depend on a condition.
func isOpen(v cue.Value) bool {
	raw := expression(v.Syntax(cue.Raw()))
	if _, reference := raw.(*ast.StructLit); !reference {
		raw = expression(cue.Dereference(v).Syntax(cue.Raw()))
	}
	s, ok := raw.(*ast.StructLit)
	if !ok {
		return v.Allows(cue.AnyString)
	}
	for _, d := range s.Elts {
		switch d.(type) {
		case *ast.Ellipsis, *ast.Comprehension, *ast.EmbedDecl:
			return true
		}
	}
	return false
}

// hasDefault says whether a default is written in v itself.
func hasDefault(v cue.Value) bool {
	found := false
	walk(v, func(n ast.Node) bool {
		if u, ok := n.(*ast.UnaryExpr); ok && u.Op == token.MUL {
			found = true
		}
		_, list := n.(*ast.ListLit)
		return !list
	})
	return found
}

// Dependent says whether v refers to a field beside it, so that what it accepts depends
// on other values.
func Dependent(v cue.Value) bool {
	found := false
	walk(v, func(n ast.Node) bool {
		switch n := n.(type) {
		case *ast.StructLit, *ast.ListLit, *ast.BasicLit:
			return false
		case *ast.CallExpr:
			name, args := call(n)
			for _, a := range args {
				if id, ok := a.(*ast.Ident); ok && !predeclared(id.Name) {
					found = true
				}
			}
			return name == ""
		case *ast.SelectorExpr:
			// A definition, a package's member such as time.Duration, or else a field of
			// another struct.
			if sel, ok := n.Sel.(*ast.Ident); ok && strings.HasPrefix(sel.Name, "#") {
				return false
			}
			id, ok := n.X.(*ast.Ident)
			found = found || !ok || !packageName(id.Name)
			return false
		case *ast.Ident:
			found = found || !predeclared(n.Name)
		}
		return true
	})
	return found
}

func predeclared(name string) bool {
	return strings.HasPrefix(name, "#") || name == "_" || len(readIdent(name).Rules) == 0
}

// packageName says whether name is one of a package of the standard library with
// validators.
func packageName(name string) bool {
	return slices.Contains([]string{"list", "math", "net", "regexp", "strconv", "strings", "struct", "time", "uuid"}, name)
}

func walk(v cue.Value, visit func(ast.Node) bool) {
	if e := expression(v.Syntax(cue.Raw())); e != nil {
		ast.Walk(e, visit, nil)
	}
}

func (s Shape) kinds() []Kind {
	var out []Kind
	for _, a := range s.Arms {
		if !slices.Contains(out, a.Kind) {
			out = append(out, a.Kind)
		}
	}
	return out
}

// addPattern records the schema of the fields whose names pattern accepts; under "" where
// it accepts all.
func addPattern(patterns map[string]any, pattern, field cue.Value) {
	for _, a := range Of(pattern).Arms {
		switch {
		case len(a.Patterns) == 1:
			patterns[a.Patterns[0]] = Schema(field)
		case len(a.Patterns) == 0 && a.Literal == "":
			patterns[""] = Schema(field)
		}
	}
}

// NeedsValue says whether a regular field must be set, having no default and no value.
func NeedsValue(field cue.Value) bool {
	if d, ok := field.Default(); ok {
		field = d
	}
	switch field.IncompleteKind() {
	case cue.StructKind:
		it, err := field.Fields(cue.Optional(true))
		for err == nil && it.Next() {
			t := it.Selector().ConstraintType()
			if t == cue.RequiredConstraint || t == 0 && NeedsValue(it.Value()) {
				return true
			}
		}
		return false
	case cue.ListKind:
		return false
	default:
		return !field.IsConcrete()
	}
}

// Element returns what the entries of the list v must be.
func Element(v cue.Value) (cue.Value, bool) {
	e := v.LookupPath(cue.MakePath(cue.AnyIndex))
	if e.Exists() && e.Err() == nil {
		return e, true
	}
	one := v.Unify(cuecontext.New().BuildExpr(&ast.ListLit{Elts: []ast.Expr{ast.NewIdent("_")}}))
	e = one.LookupPath(cue.MakePath(cue.Index(0)))
	return e, one.Err() == nil && e.Exists() && e.Err() == nil
}

func addItems(v cue.Value, out map[string]any) {
	if e, ok := Element(v); ok {
		if items := Schema(e); len(items) > 0 {
			out["items"] = items
		}
	}
}

func choice(arms []Arm) map[string]any {
	var literals []json.RawMessage
	var others []any
	for _, a := range arms {
		if a.Literal != "" && a.Kind != Null {
			literals = append(literals, json.RawMessage(a.Literal))
			continue
		}
		others = append(others, a.schema())
	}
	if len(literals) > 0 {
		others = append(others, map[string]any{"enum": literals})
	}
	if len(others) == 1 {
		return others[0].(map[string]any)
	}
	return map[string]any{"anyOf": others}
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
	if len(a.Patterns) > 0 {
		out["pattern"] = a.Patterns[0]
	}
	sizes := map[Kind][2]string{String: {"minLength", "maxLength"}, List: {"minItems", "maxItems"}}
	if names, ok := sizes[a.Kind]; ok {
		if a.MinSize != nil {
			out[names[0]] = *a.MinSize
		}
		if a.MaxSize != nil {
			out[names[1]] = *a.MaxSize
		}
	}
	if slices.Contains(a.Rules, "no item twice") {
		out["uniqueItems"] = true
	}
	if len(a.Not) > 0 {
		not := make([]json.RawMessage, len(a.Not))
		for i, n := range a.Not {
			not[i] = json.RawMessage(n)
		}
		out["not"] = map[string]any{"enum": not}
	}
	if len(a.Patterns) > 1 {
		var all []any
		for _, p := range a.Patterns[1:] {
			all = append(all, map[string]any{"pattern": p})
		}
		out["allOf"] = all
	}
	return out
}
