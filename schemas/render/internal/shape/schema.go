package shape

import (
	"encoding/json"
	"maps"
	"slices"
	"strings"

	"cuelang.org/go/cue"
	"cuelang.org/go/cue/ast"
	"cuelang.org/go/cue/format"
)

// rulesKey is the keyword under which a schema says in words, or in those of CUE, what it
// cannot say otherwise: where it stands, and below, the schema accepts more than CUE does.
const rulesKey = "x-rules"

// maxSchemaDepth is how deep a schema describes what nests without a name.
const maxSchemaDepth = 16

// Schema returns the JSON Schema (2020-12) of what v accepts, without "$schema". It never
// accepts less. Where it accepts more, it has the keyword x-rules. Definitions that refer
// to themselves are in $defs.
func Schema(v cue.Value) map[string]any {
	g := generator{defs: map[string]any{}, recursive: map[string]bool{}, closer: newCloser()}
	out := g.value(v, 0)
	if len(g.defs) > 0 {
		out["$defs"] = g.defs
	}
	return out
}

type generator struct {
	// defs are the definitions that refer to themselves, by name.
	defs      map[string]any
	recursive map[string]bool
	// open are the names of the definitions that are being written.
	open []string
	closer
}

// value is the schema of v, by reference where v is a definition that refers to itself.
func (g *generator) value(v cue.Value, depth int) map[string]any {
	name := definition(v)
	switch {
	case depth > maxSchemaDepth:
		return map[string]any{rulesKey: []string{"what the template allows"}}
	case name == "":
		return g.plain(v, depth)
	}
	ref := map[string]any{"$ref": "#/$defs/" + name}
	if slices.Contains(g.open, name) {
		g.recursive[name] = true
		return ref
	}
	if _, done := g.defs[name]; done {
		return ref
	}
	g.open = append(g.open, name)
	out := g.plain(v, depth)
	g.open = g.open[:len(g.open)-1]
	if g.recursive[name] {
		g.defs[name] = out
		return ref
	}
	return out
}

// definition is a name for the definition that v is nothing but a reference to, or "".
func definition(v cue.Value) string {
	root, path := v.ReferencePath()
	if !root.Exists() || !strings.Contains(path.String(), "#") {
		return ""
	}
	return strings.ReplaceAll(strings.ReplaceAll(path.String(), "#", ""), `"`, "")
}

func (g *generator) plain(v cue.Value, depth int) map[string]any {
	kinds := Kinds(v)
	var out map[string]any
	switch arms := choices(v); {
	case kinds == cue.StructKind && len(arms) > 1, len(arms) > 1 && kinds&cue.StructKind != 0:
		one := make([]any, len(arms))
		for i, arm := range arms {
			one[i] = g.value(arm, depth+1)
		}
		out = map[string]any{"anyOf": one}
		if _, ok := v.Default(); !ok && !apart(one) {
			addRules(out, oneAlone)
		}
	case kinds == cue.StructKind:
		out = g.object(v, depth)
	case Dependent(v):
		// What it accepts depends on other values: only the type is sure.
		out = map[string]any{rulesKey: []string{source(v)}}
		if types := typesOf(kinds); len(types) == 1 {
			out["type"] = types[0]
		} else if len(types) > 1 {
			out["type"] = types
		}
	default:
		out = g.arms(v, depth)
	}
	annotate(v, out)
	return out
}

// choices are the alternatives of v as they are written, so that what they refer to is
// known; none if v has only one.
func choices(v cue.Value) []cue.Value {
	op, args := parts(v)
	if op == cue.OrOp {
		return slices.DeleteFunc(args, func(a cue.Value) bool { return Kinds(a) == cue.BottomKind })
	}
	return alternatives(v)
}

func typesOf(k cue.Kind) []string {
	var out []string
	for _, t := range []struct {
		kind cue.Kind
		name Kind
	}{{cue.NullKind, Null}, {cue.BoolKind, Bool}, {cue.StringKind, String}, {cue.ListKind, List}, {cue.StructKind, Object}} {
		if k&t.kind != 0 {
			out = append(out, string(t.name))
		}
	}
	switch {
	case k&cue.FloatKind != 0:
		out = append(out, string(Number))
	case k&cue.IntKind != 0:
		out = append(out, string(Integer))
	}
	return out
}

// source is v as the template has it, in one line.
func source(v cue.Value) string {
	n := v.Syntax(cue.Raw())
	if n == nil {
		return "what the template allows"
	}
	return oneLine(n)
}

// maxRule is how long the text of a rule may be, in bytes.
const maxRule = 300

func oneLine(n ast.Node) string {
	if d, ok := n.(ast.Decl); ok {
		n = &ast.File{Decls: []ast.Decl{d}}
	}
	// A comment, and the engine adds some, would take in the rest of the line.
	ast.Walk(n, func(n ast.Node) bool {
		ast.SetComments(n, nil)
		return true
	}, nil)
	text, err := format.Node(n)
	if err != nil {
		return "what the template allows"
	}
	line := strings.Join(strings.Fields(string(text)), " ")
	if len(line) > maxRule {
		line = strings.ToValidUTF8(line[:maxRule], "") + "..."
	}
	return line
}

// arms is the schema of a v that is no struct.
func (g *generator) arms(v cue.Value, depth int) map[string]any {
	s := Of(v)
	var literals []json.RawMessage
	var others []any
	for _, a := range s.Arms {
		if a.unwritable() {
			continue
		}
		if a.Literal != "" && a.Kind != Null {
			literals = append(literals, json.RawMessage(a.Literal))
			continue
		}
		schema := a.schema()
		if a.Kind == List {
			g.items(v, schema, depth)
		}
		others = append(others, schema)
	}
	switch {
	case len(literals) == 1:
		others = append(others, map[string]any{"const": literals[0]})
	case len(literals) > 1:
		others = append(others, map[string]any{"enum": literals})
	}
	switch len(others) {
	case 0:
		return map[string]any{"not": map[string]any{}}
	case 1:
		return others[0].(map[string]any)
	}
	return map[string]any{"anyOf": others}
}

// items adds to out what the entries of the list v must be.
func (g *generator) items(v cue.Value, out map[string]any, depth int) {
	var each []any
	for _, part := range listParts(v) {
		fixed, rest, closed := listForm(part)
		schemas := make([]any, len(fixed))
		for i, f := range fixed {
			schemas[i] = g.value(f, depth+1)
		}
		one := map[string]any{}
		if len(schemas) > 0 {
			one["prefixItems"] = schemas
		}
		switch {
		case closed:
			one["items"] = false
		case rest.Exists():
			if items := g.value(rest, depth+1); len(items) > 0 {
				one["items"] = items
			}
		}
		if len(one) > 0 {
			each = append(each, one)
		}
	}
	if len(each) == 1 {
		maps.Copy(out, each[0].(map[string]any))
	} else if len(each) > 1 {
		out["allOf"] = each
	}
	if listChoice(v) {
		addRules(out, source(v))
	}
}

// object is the schema of the struct v.
func (g *generator) object(v cue.Value, depth int) map[string]any {
	out := map[string]any{"type": string(Object)}
	properties, patterns := map[string]any{}, map[string]any{}
	var required []string
	var order []property
	var rest any = g.opens(v)
	conditional, written := Conditional(v)
	var all []any
	for _, f := range fields(v) {
		if f.pattern.Exists() {
			schema := g.value(f.value, depth+1)
			if rest = g.pattern(f, schema, patterns, rest, out); anyName(f.pattern) {
				all = append(all, schema)
			}
			continue
		}
		schema := g.value(f.value, depth+1)
		if !written || slices.Contains(conditional, f.name) {
			// What the engine says of it holds for the defaults, and not for other values.
			maps.DeleteFunc(schema, func(keyword string, _ any) bool { return !describing(keyword) })
			f.required = slices.Contains(demanded(v), f.name)
		}
		order = append(order, property{f.name, uiOrder(f.value, len(order)+1)})
		schema["x-order"] = order[len(order)-1].order
		properties[f.name] = schema
		if f.required {
			required = append(required, f.name)
		}
	}
	for _, c := range conjuncts(v) {
		rest = g.conditions(c, properties, out, rest)
	}
	if written {
		everywhere(v, properties, all)
	}
	if len(properties) > 0 {
		out["properties"] = properties
		out["propertyOrder"] = ordered(order)
	}
	if len(required) > 0 {
		slices.Sort(required)
		out["required"] = required
	}
	out["additionalProperties"] = rest
	if len(patterns) > 0 {
		out["patternProperties"] = patterns
	}
	return out
}

type property struct {
	name  string
	order int
}

// ordered are the names of all in their order.
func ordered(all []property) []string {
	slices.SortStableFunc(all, func(a, b property) int { return a.order - b.order })
	names := make([]string, len(all))
	for i, p := range all {
		names[i] = p.name
	}
	return names
}

// everywhere adds to the properties of the struct v what a pattern says of every name, which
// the engine does not say of the fields with ? or !.
func everywhere(v cue.Value, properties map[string]any, all []any) {
	for _, f := range fields(v) {
		if schema, ok := properties[f.name].(map[string]any); ok && f.marked && len(all) > 0 {
			schema["allOf"] = slices.Concat(all, asList(schema["allOf"]))
		}
	}
}

// pattern adds the fields whose names a pattern accepts, with their schema, and returns what
// the schema says about names that it does not mention.
func (g *generator) pattern(f fieldOf, schema map[string]any, patterns map[string]any, rest any, out map[string]any) any {
	if anyName(f.pattern) {
		return schema
	}
	if a, ok := namePattern(f.pattern); ok && len(a.Patterns) == 1 {
		if p, ok := ecma(a.Patterns[0]); ok {
			if before, twice := patterns[p]; twice {
				schema = map[string]any{"allOf": []any{before, schema}}
			}
			patterns[p] = schema
			return rest
		}
	}
	addRules(out, "names: "+oneLine(f.pattern.Syntax(cue.Raw())))
	return true
}

// namePattern is what names must be, where it is nothing but expressions that they match.
func namePattern(pattern cue.Value) (a Arm, ok bool) {
	arms := Of(pattern).Arms
	if len(arms) != 1 || Dependent(pattern) {
		return Arm{}, false
	}
	a = arms[0]
	return a, len(a.AntiPatterns)+len(a.Not)+len(a.Rules) == 0 && a.MinSize == nil && a.MaxSize == nil && a.Literal == ""
}

// anyName says whether every name matches the pattern.
func anyName(pattern cue.Value) bool {
	a, ok := namePattern(pattern)
	return ok && len(a.Patterns) == 0
}

// conditions adds what conditions in the source of a struct allow, and validators of the
// struct as a whole; it returns what the schema says about other names.
func (g *generator) conditions(c ast.Expr, properties, out map[string]any, rest any) any {
	s, ok := c.(*ast.StructLit)
	if !ok {
		return g.validator(c, out, rest)
	}
	for _, d := range s.Elts {
		switch d := d.(type) {
		case *ast.Comprehension:
			addRules(out, oneLine(d))
			body, ok := d.Value.(*ast.StructLit)
			if !ok || !optionalFields(body, properties, oneLine(d)) {
				rest = true
			}
		case *ast.EmbedDecl:
			// The fields of what is embedded are listed already; its conditions are not.
			if _, call := d.Expr.(*ast.CallExpr); call || rest != true {
				addRules(out, oneLine(d))
				rest = true
			}
		}
	}
	return rest
}

// optionalFields adds the fields of a condition to properties, without a word about their
// values; false where the condition allows names that are not written out.
func optionalFields(body *ast.StructLit, properties map[string]any, rule string) bool {
	for _, d := range body.Elts {
		switch d := d.(type) {
		case *ast.Field:
			name, _, err := ast.LabelName(d.Label)
			if err != nil {
				return false
			}
			// A field that is declared besides is narrower under the condition.
			if p, declared := properties[name].(map[string]any); declared {
				addRules(p, rule)
			} else {
				properties[name] = map[string]any{rulesKey: []string{rule}}
			}
		case *ast.CommentGroup, *ast.Attribute, *ast.LetClause:
		case *ast.Comprehension:
			nested, ok := d.Value.(*ast.StructLit)
			if !ok || !optionalFields(nested, properties, rule) {
				return false
			}
		default:
			return false
		}
	}
	return true
}

// validator adds a constraint on a struct as a whole, such as struct.MaxFields(3).
func (g *generator) validator(e ast.Expr, out map[string]any, rest any) any {
	name, args := call(e)
	if n, ok := count(args); ok && name == "struct.MinFields" {
		out["minProperties"] = n
		return rest
	} else if ok && name == "struct.MaxFields" {
		out["maxProperties"] = n
		return rest
	}
	switch e.(type) {
	case *ast.Ident, *ast.SelectorExpr:
		// A reference to what v is, or a type.
	default:
		addRules(out, oneLine(e))
	}
	return rest
}
