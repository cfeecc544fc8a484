package render

import (
	"encoding/json"
	"fmt"
	"slices"
	"strings"

	"cuelang.org/go/cue"

	"tidegate.io/tidegate/schemas/render/internal/shape"
	"tidegate.io/tidegate/schemas/render/internal/values"
)

// jsonOf is n as JSON.
func jsonOf(n *values.Node) string {
	b, err := json.Marshal(goValue(n))
	if err != nil {
		return "null"
	}
	return string(b)
}

func goValue(n *values.Node) any {
	switch n.Kind {
	case values.Null:
		return nil
	case values.Bool:
		return n.Bool
	case values.Number:
		return json.Number(n.Text)
	case values.String:
		return n.Text
	case values.List:
		out := make([]any, len(n.Items))
		for i, item := range n.Items {
			out[i] = goValue(item)
		}
		return out
	default:
		out := map[string]any{}
		for _, f := range n.Fields {
			out[f.Name] = goValue(f.Value)
		}
		return out
	}
}

// texts are tried where a string is wanted and only a pattern says which one.
var texts = []string{
	"example", "registry.example.com/shop/example:1.0.0", "example.com", "/example", "100m", "128Mi", "1Gi", "30s", "1m", "1",
	"EXAMPLE", "example-1", "shop/example", "0 * * * *", "1.0.0", "v1", "example@example.com", "https://example.com", "A", "a", "10%", "0.5",
	"sha256:0123456789abcdef0123456789abcdef0123456789abcdef0123456789abcdef",
	"registry.example.com/shop/example@sha256:0123456789abcdef0123456789abcdef0123456789abcdef0123456789abcdef",
}

func textNode(s string) *values.Node   { return &values.Node{Kind: values.String, Text: s} }
func numberNode(s string) *values.Node { return &values.Node{Kind: values.Number, Text: s} }

// accepts says whether n is a value of schema by itself.
func (t *Template) accepts(schema cue.Value, n *values.Node) bool {
	return schema.Unify(t.ctx.BuildExpr(syntax(n))).Validate(cue.Concrete(true), cue.Final()) == nil
}

// first returns the first of candidates that schema accepts, or nil.
func (t *Template) first(schema cue.Value, candidates []*values.Node) *values.Node {
	for _, n := range candidates {
		if t.accepts(schema, n) {
			return n
		}
	}
	return nil
}

// literalNode is the scalar that JSON stands for; none for other JSON.
func literalNode(text string) []*values.Node {
	tree, mistakes := values.Parse([]byte(`{"a":` + text + `}`))
	if len(mistakes) > 0 || tree.Field("a") == nil || !scalar(tree.Field("a")) {
		return nil
	}
	return []*values.Node{tree.Field("a")}
}

// scalars are the values worth trying for a scalar, by what its shape says.
func scalars(schema cue.Value) []*values.Node {
	var out []*values.Node
	kind := schema.IncompleteKind()
	arms := shape.Of(schema).Arms
	for _, a := range arms {
		if a.Literal != "" {
			out = append(out, literalNode(a.Literal)...)
		} else {
			out = append(out, ends(a)...)
		}
	}
	if kind&cue.NumberKind != 0 {
		for _, s := range []string{"1", "2", "10", "0.5", "0"} {
			out = append(out, numberNode(s))
		}
		if slices.ContainsFunc(arms, func(a shape.Arm) bool { return a.Literal == "" && (a.Min == nil || a.Max == nil) }) {
			// No size and no port has them.
			out = append(out, numberNode("-1"), numberNode(fmt.Sprint(maxNumber+1)))
		}
	}
	if kind&cue.BoolKind != 0 {
		out = append(out, &values.Node{Kind: values.Bool, Bool: true}, &values.Node{Kind: values.Bool})
	}
	if kind&cue.StringKind != 0 {
		for _, s := range texts {
			out = append(out, textNode(s))
		}
	}
	return out
}

// ends are the ends of the range of a, as far as they are small integers.
func ends(a shape.Arm) []*values.Node {
	var out []*values.Node
	for _, b := range []*shape.Bound{a.Min, a.Max} {
		if b != nil && b.Value.IsInt() && b.Value.Num().IsInt64() && abs(b.Value.Num().Int64()) <= maxNumber {
			out = append(out, numberNode(b.Value.Num().String()))
		}
	}
	return out
}

func abs(n int64) int64 { return max(n, -n) }

// example makes up a value that schema accepts, its default if it has one; nil where that
// fails.
func (t *Template) example(schema cue.Value, depth int) *values.Node {
	if depth > values.MaxDepth {
		return nil
	}
	if d, ok := ownDefault(schema); ok && d.IncompleteKind()&(cue.StructKind|cue.ListKind) == 0 {
		if b, err := d.MarshalJSON(); err == nil {
			if n, mistakes := values.Parse([]byte(`{"a":` + string(b) + `}`)); len(mistakes) == 0 {
				return n.Field("a")
			}
		}
	}
	switch shape.Kinds(schema) {
	case cue.StructKind:
		n := t.least(schema, depth)
		if n == nil || len(n.Fields) > 0 {
			return n
		}
		if entry := t.entry(schema, depth); entry != nil {
			return entry
		}
		return n
	case cue.ListKind:
		for _, arm := range declaredArms(schema) {
			item := arm.LookupPath(cue.MakePath(cue.AnyIndex))
			if !item.Exists() {
				continue
			}
			if n := t.example(item, depth+1); n != nil {
				if list := (&values.Node{Kind: values.List, Items: []*values.Node{n}}); t.accepts(schema, list) {
					return list
				}
			}
		}
		return t.first(schema, []*values.Node{{Kind: values.List}})
	default:
		return t.first(schema, scalars(schema))
	}
}

// entry is a map with one entry that schema accepts, or nil.
func (t *Template) entry(schema cue.Value, depth int) *values.Node {
	it, err := schema.Fields(cue.Patterns(true))
	for err == nil && it.Next() {
		if it.Selector().ConstraintType() != cue.PatternConstraint {
			continue
		}
		name, value := t.first(it.Selector().Pattern(), scalars(it.Selector().Pattern())), t.example(it.Value(), depth+1)
		if name == nil || value == nil {
			continue
		}
		n := &values.Node{Kind: values.Object, Fields: []values.Field{{Name: name.Text, Value: value}}}
		if t.accepts(schema, n) {
			return n
		}
	}
	return nil
}

// least makes up the least object that schema accepts: only what must be set. It returns nil
// where that fails.
func (t *Template) least(schema cue.Value, depth int) *values.Node {
	if depth > values.MaxDepth {
		return nil
	}
	for _, arm := range declaredArms(schema) {
		ways := []decided{{value: arm}}
		if isStruct(arm) {
			ways = append(ways, t.decide(arm)...)
		}
		for _, d := range ways {
			if n := t.filledIn(d, depth); n != nil && t.accepts(schema, n) {
				return n
			}
		}
	}
	if n := (&values.Node{Kind: values.Object}); t.accepts(schema, n) {
		return n
	}
	return nil
}

// filledIn is what d sets, and what it needs besides; nil where no value of that is known.
func (t *Template) filledIn(d decided, depth int) *values.Node {
	n := &values.Node{Kind: values.Object, Fields: d.fields()}
	it, err := d.value.Fields(cue.Optional(true))
	if err != nil {
		return nil
	}
	for it.Next() {
		name, constraint := it.Selector().Unquoted(), it.Selector().ConstraintType()
		set := slices.ContainsFunc(n.Fields, func(f values.Field) bool { return f.Name == name })
		if set || constraint != cue.RequiredConstraint && (constraint != 0 || !shape.NeedsValue(it.Value())) {
			continue
		}
		value := t.example(it.Value(), depth+1)
		if value == nil {
			return nil
		}
		n.Fields = append(n.Fields, values.Field{Name: name, Value: value})
	}
	slices.SortFunc(n.Fields, func(a, b values.Field) int { return strings.Compare(a.Name, b.Name) })
	return n
}

// edges are values on the edge of what schema accepts: the ends of a range, each of a
// choice, a list and a map with one entry, a text that only a pattern would have kept out.
func (t *Template) edges(schema cue.Value) []*values.Node {
	var out []*values.Node
	add := func(n *values.Node) {
		if n != nil && t.accepts(schema, n) {
			out = append(out, n)
		}
	}
	switch kind := shape.Kinds(schema); {
	case kind == cue.StructKind, kind == cue.ListKind:
		if n := t.example(schema, 0); n != nil && len(n.Fields)+len(n.Items) > 0 {
			add(n)
		}
	case kind&cue.StringKind != 0:
		literals := false
		for _, a := range shape.Of(schema).Arms {
			literals = literals || a.Literal != ""
		}
		for i, n := range scalars(schema) {
			// One made-up text is enough; of a choice every one counts.
			if i == 0 || literals {
				add(n)
			}
		}
		if !literals && len(out) == 0 {
			add(t.first(schema, scalars(schema)))
		}
	default:
		for _, n := range scalars(schema) {
			add(n)
		}
	}
	return out
}
