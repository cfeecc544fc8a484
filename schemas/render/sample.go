package render

import (
	"encoding/json"
	"slices"
	"strconv"
	"strings"

	"cuelang.org/go/cue"
	"cuelang.org/go/cue/ast"

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

func textNode(s string) *values.Node   { return &values.Node{Kind: values.String, Text: s} }
func numberNode(s string) *values.Node { return &values.Node{Kind: values.Number, Text: s} }

// accepts says whether n is a value of schema by itself.
func (t *Template) accepts(schema cue.Value, n *values.Node) bool {
	return schema.Unify(t.ctx.BuildExpr(syntax(n))).Validate(cue.Concrete(true), cue.Final()) == nil
}

// first returns the first of candidates that schema accepts, or nil.
func (t *Template) first(schema cue.Value, candidates []*values.Node) *values.Node {
	return sampler{Template: t}.pick(schema, candidates)
}

// example makes up a value that schema accepts; see sampler.
func (t *Template) example(schema cue.Value, depth int) *values.Node {
	return sampler{Template: t}.example(schema, depth)
}

// sampler makes up values.
type sampler struct {
	*Template
	// variant is how many candidates are passed over where there are others: of made-up texts
	// one may suit an object that another does not.
	variant int
}

// pick returns the one of candidates that schema accepts which the variant says, the last of
// them where there are fewer, or nil.
func (t sampler) pick(schema cue.Value, candidates []*values.Node) *values.Node {
	var last *values.Node
	left := t.variant
	for _, n := range candidates {
		if !t.accepts(schema, n) {
			continue
		}
		if left--; left < 0 {
			return n
		}
		last = n
	}
	return last
}

// example makes up a value that schema accepts, its default if it has one; nil where that
// fails.
func (t sampler) example(schema cue.Value, depth int) *values.Node {
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
			if list := t.list(arm, depth); list != nil && t.accepts(schema, list) {
				return list
			}
		}
		return t.pick(schema, []*values.Node{{Kind: values.List}})
	default:
		return t.pick(schema, scalars(schema))
	}
}

// list is a list with as few items as schema wants, though not none; nil where that fails.
func (t sampler) list(schema cue.Value, depth int) *values.Node {
	n := 1
	for _, a := range shape.Of(schema).Arms {
		if a.MinSize != nil && *a.MinSize <= maxMadeUp {
			n = max(n, *a.MinSize)
		}
	}
	// Of a list that must have items the engine tells nothing until it has them.
	blank := &ast.ListLit{}
	for range n {
		blank.Elts = append(blank.Elts, ast.NewIdent("_"))
	}
	filled := schema.Unify(t.ctx.BuildExpr(blank))
	out := &values.Node{Kind: values.List}
	for i := range n {
		item := schema.LookupPath(cue.MakePath(cue.AnyIndex))
		if !item.Exists() {
			item = filled.LookupPath(cue.MakePath(cue.Index(i)))
		}
		if !item.Exists() {
			return nil
		}
		// None may be there twice.
		value := sampler{t.Template, t.variant + i}.example(item, depth+1)
		if value == nil {
			return nil
		}
		out.Items = append(out.Items, value)
	}
	return out
}

// maxMadeUp is the length of the longest list that is made up.
const maxMadeUp = 20

// entry is a map with one entry that schema accepts, or nil.
func (t sampler) entry(schema cue.Value, depth int) *values.Node {
	it, err := schema.Fields(cue.Patterns(true))
	for err == nil && it.Next() {
		if it.Selector().ConstraintType() != cue.PatternConstraint {
			continue
		}
		name, value := t.pick(it.Selector().Pattern(), scalars(it.Selector().Pattern())), t.example(it.Value(), depth+1)
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
func (t sampler) least(schema cue.Value, depth int) *values.Node {
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
func (t sampler) filledIn(d decided, depth int) *values.Node {
	n := &values.Node{Kind: values.Object, Fields: d.fields()}
	pending, ok := missing(d.value, n)
	if !ok {
		return nil
	}
	for len(pending) > 0 {
		left := slices.DeleteFunc(slices.Clone(pending), func(name string) bool {
			field := t.beside(d.value, n, name)
			value := t.example(field, depth+1)
			if value == nil || !scalar(value) && !t.accepts(field, value) {
				return false
			}
			n.Fields = append(n.Fields, values.Field{Name: name, Value: value})
			return true
		})
		if len(left) == len(pending) {
			return t.stepped(d, n, pending)
		}
		pending = left
	}
	slices.SortFunc(n.Fields, func(a, b values.Field) int { return strings.Compare(a.Name, b.Name) })
	return n
}

// stepped is n with numbers for names, each of which has another of them as a bound; nil
// where none of the numbers that are tried fit.
func (t sampler) stepped(d decided, n *values.Node, names []string) *values.Node {
	for _, start := range []int{1, 10, 100, 1000} {
		for _, step := range []int{0, 1, -1} {
			with := &values.Node{Kind: values.Object, Fields: slices.Clone(n.Fields)}
			for i, name := range names {
				with.Fields = append(with.Fields, values.Field{Name: name, Value: numberNode(strconv.Itoa(start + i*step))})
			}
			slices.SortFunc(with.Fields, func(a, b values.Field) int { return strings.Compare(a.Name, b.Name) })
			if t.accepts(d.value, with) {
				return with
			}
		}
	}
	return nil
}

// missing are the names that the struct v needs besides what n sets.
func missing(v cue.Value, n *values.Node) (names []string, ok bool) {
	it, err := v.Fields(cue.Optional(true))
	for err == nil && it.Next() {
		name, constraint := it.Selector().Unquoted(), it.Selector().ConstraintType()
		set := slices.ContainsFunc(n.Fields, func(f values.Field) bool { return f.Name == name })
		if !set && (constraint == cue.RequiredConstraint || constraint == 0 && shape.NeedsValue(it.Value())) {
			names = append(names, name)
		}
	}
	return names, err == nil
}

// beside is what the struct v says of its variable called name where n is set: a bound may be
// another variable.
func (t *Template) beside(v cue.Value, n *values.Node, name string) cue.Value {
	field := declaration(v, name)
	if len(n.Fields) == 0 || !shape.DependentAnywhere(field) {
		return field
	}
	return declaration(v.Unify(t.ctx.BuildExpr(syntax(n))), name)
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
