package render

import (
	"slices"

	"cuelang.org/go/cue"
	"cuelang.org/go/cue/ast"

	"tidegate.io/tidegate/schemas/render/internal/shape"
	"tidegate.io/tidegate/schemas/render/internal/values"
)

// size is how many values n is made of.
func size(n *values.Node) int {
	total := 1
	for _, item := range n.Items {
		total += size(item)
	}
	for _, f := range n.Fields {
		total += size(f.Value)
	}
	return total
}

// with is schema with the entries of the object set to what value gives for each.
func (e *explainer) with(schema cue.Value, fields []values.Field, value func(values.Field) ast.Expr) cue.Value {
	s := &ast.StructLit{}
	for _, f := range fields {
		s.Elts = append(s.Elts, &ast.Field{Label: ast.NewString(f.Name), Value: value(f)})
	}
	e.spent += e.declared
	for _, f := range fields {
		e.spent += size(f.Value)
	}
	return schema.Unify(e.ctx.BuildExpr(s))
}

func given(f values.Field) ast.Expr { return syntax(f.Value) }

// fit returns schema with those of n's entries that fit it, and the names of the others.
// That resolves what depends on them: conditional fields, choices, bounds. Scalars come
// first, since most depends on them.
func (e *explainer) fit(schema cue.Value, n *values.Node) (base cue.Value, accepted []values.Field, suspects []string) {
	fields := slices.Clone(n.Fields)
	rank := map[values.Kind]int{values.Object: 1, values.List: 2}
	slices.SortStableFunc(fields, func(a, b values.Field) int { return rank[a.Value.Kind] - rank[b.Value.Kind] })
	if all := e.with(schema, fields, given); !wrong(all) {
		return all, fields, nil
	}
	for _, half := range halves(fields) {
		good, bad := e.sift(schema, nil, half)
		accepted = append(accepted, good...)
		for _, f := range bad {
			suspects = append(suspects, f.Name)
		}
	}
	if base = e.with(schema, accepted, given); !wrong(base) {
		return base, accepted, suspects
	}
	// Each fits by itself but not together: the first come is taken for right, before them
	// what names one of several structs, or is asked about by conditions.
	first := append(shape.Discriminators(schema), shape.Conditions(schema)...)
	var telling, others []values.Field
	for _, f := range accepted {
		if slices.Contains(first, f.Name) {
			telling = append(telling, f)
		} else {
			others = append(others, f)
		}
	}
	g := together{explainer: e, schema: schema, base: schema}
	g.add(telling)
	g.add(others)
	for _, f := range g.left {
		suspects = append(suspects, f.Name)
	}
	return g.base, g.accepted, suspects
}

// sift tells the entries that fit one by one, beside what is accepted, from the others.
// Entries that fit together fit one by one, so it asks about many at once, and about halves
// of them where that fails: what is right costs next to nothing.
func (e *explainer) sift(schema cue.Value, accepted, fields []values.Field) (good, bad []values.Field) {
	switch {
	case len(fields) == 0:
	case !wrong(e.with(schema, slices.Concat(accepted, fields), given)):
		return fields, nil
	case len(fields) == 1:
		return nil, fields
	default:
		for _, half := range halves(fields) {
			g, b := e.sift(schema, accepted, half)
			good, bad = append(good, g...), append(bad, b...)
		}
	}
	return good, bad
}

func halves(fields []values.Field) [][]values.Field {
	return [][]values.Field{fields[:len(fields)/2], fields[len(fields)/2:]}
}

// together collects entries that fit schema together: the first come is taken for right.
type together struct {
	*explainer
	schema cue.Value
	// base is schema with what is accepted.
	base           cue.Value
	accepted, left []values.Field
}

// add accepts of fields what goes with what is accepted. What does not go with that alone is
// left out first, while there is little to ask about.
func (g *together) add(fields []values.Field) {
	if len(g.accepted) > 0 {
		good, bad := g.sift(g.schema, g.accepted, fields)
		g.left = append(g.left, bad...)
		fields = good
	}
	g.each(fields)
}

// each accepts of fields what goes with what is accepted. That is unified anew each time,
// since the engine lets more through when a choice that it has made is unified further.
func (g *together) each(fields []values.Field) {
	if len(fields) == 0 {
		return
	}
	try := slices.Concat(g.accepted, fields)
	switch next := g.with(g.schema, try, given); {
	case !wrong(next):
		g.base, g.accepted = next, try
	case len(fields) == 1 || g.exhausted():
		g.left = append(g.left, fields...)
	default:
		for _, half := range halves(fields) {
			g.each(half)
		}
	}
}

// conflict reports the accepted entries that f rules out, where f itself is as wanted: those
// that do not go with it, or with it and all that does.
func (e *explainer) conflict(schema cue.Value, n *values.Node, accepted []values.Field, f values.Field, path string) bool {
	last := slices.Clone(accepted)
	slices.Reverse(last)
	for _, order := range [][]values.Field{last, accepted} {
		if e.exhausted() {
			return true
		}
		g := together{explainer: e, schema: schema, base: schema}
		if g.add([]values.Field{f}); len(g.left) > 0 {
			return false
		}
		g.add(order)
		before := e.found
		w := &wants{explainer: e, schema: g.base}
		for _, other := range g.left {
			if !allows(schema, g.base, other.Name) {
				e.unknown(schema, w, n, other, other.Path(path))
			} else {
				e.value(w.of(other), other.Value, other.Path(path))
			}
		}
		if e.found > before {
			return true
		}
	}
	return false
}
