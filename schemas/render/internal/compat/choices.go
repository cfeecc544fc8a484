package compat

import (
	"slices"
	"strings"

	"cuelang.org/go/cue"
	"cuelang.org/go/cue/ast"
	"cuelang.org/go/cue/token"
)

// A value that two alternatives accept, and make different things of, is refused: CUE does
// not choose. So it does not suffice that one alternative of the new side accepts what one
// of the old side did; every other must refuse it.

// alone says whether what is right for x, one of the alternatives b of before, is refused by
// each of the alternatives a of after except for the one that covers it, or yields to it as
// a default.
func (c *comparer) alone(x cue.Value, cover int, before, after cue.Value, b, a []cue.Value) bool {
	shown := func(v cue.Value) string { return text(written(v)) }
	was, sureWas := c.before.marks(before, b)
	is, sureIs := c.after.marks(after, a)
	mark := was[shown(x)]
	if !sureWas || !sureIs || is[shown(a[cover])] != mark {
		return false
	}
	// What is right for x alone does not suit these, or x would not have been chosen.
	rivals := slices.DeleteFunc(slices.Clone(b), func(o cue.Value) bool {
		return shown(o) == shown(x) || mark && !was[shown(o)]
	})
	l := c.before.armLayout(x, before)
	names := c.decided(l, rivals, before)
	for i, z := range a {
		rival := slices.ContainsFunc(rivals, func(o cue.Value) bool { return shown(o) == shown(z) })
		if i == cover || mark && !is[shown(z)] || rival && is[shown(z)] == was[shown(z)] {
			continue
		}
		if !c.excludes(l, z, after, names) {
			return false
		}
	}
	return true
}

// marks are the texts of those of all, the alternatives of v, that are marked as defaults.
// It is not sure where they are not written as alternatives.
func (s *side) marks(v cue.Value, all []cue.Value) (marked map[string]bool, sure bool) {
	e := written(v)
	found := marks(e)
	stars := 0
	marked = map[string]bool{}
	for _, m := range found {
		full := text(m)
		marked[full] = true
		if slices.ContainsFunc(all, func(a cue.Value) bool { return text(written(a)) == full }) || scalar(m) {
			stars++
		}
	}
	return marked, stars == len(found) && stars == s.stars(e, 0)
}

// stars counts the marks in e itself, not in the fields and entries of it.
func (s *side) stars(e ast.Expr, depth int) int {
	n := 0
	if depth > maxDepth || e == nil {
		return n
	}
	ast.Walk(e, func(x ast.Node) bool {
		switch x := x.(type) {
		case *ast.Field, *ast.ListLit:
			return false
		case *ast.UnaryExpr:
			if x.Op == token.MUL {
				n++
			}
		case *ast.Ident:
			if h, ok := s.outside(x); ok {
				n += s.stars(h, depth+1)
			}
		}
		return true
	}, nil)
	return n
}

// decided are the variables that a value has to set that is right for l and for none of its
// rivals: those that must be set, and one that alone tells l from a rival.
func (c *comparer) decided(l *layout, rivals []cue.Value, before cue.Value) []string {
	var out []string
	for _, name := range l.order {
		if f := l.fields[name]; f.presence == required && f.given == nil {
			out = append(out, name)
			continue
		}
		if slices.ContainsFunc(rivals, func(o cue.Value) bool { return c.tells(l, c.before.armLayout(o, before), name) }) {
			out = append(out, name)
		}
	}
	return out
}

// tells says whether w takes all that l does, unless the variable is set: then it does not.
func (c *comparer) tells(l, w *layout, name string) bool {
	f, ok := w.fields[name]
	if !ok || !c.apart(l.fields[name].value, f.value, c.before, c.before) || len(l.patterns) > 0 || l.open {
		return false
	}
	return !slices.ContainsFunc(l.order, func(n string) bool {
		g, ok := w.fields[n]
		return n != name && (!ok || text(evaluated(g.value)) != text(evaluated(l.fields[n].value)))
	})
}

// excludes says whether z refuses one of the names, or what l has there.
func (c *comparer) excludes(l *layout, z, after cue.Value, names []string) bool {
	w := c.after.armLayout(z, after)
	return slices.ContainsFunc(names, func(name string) bool {
		f, ok := w.fields[name]
		if !ok {
			return !w.open && len(w.patterns) == 0 && !slices.ContainsFunc(w.rules, func(r rule) bool { return r.grants })
		}
		return c.apart(l.fields[name].value, f.value, c.before, c.after)
	})
}

// apart says whether x and y have nothing in common.
func (c *comparer) apart(x, y cue.Value, sx, sy *side) bool {
	xs, ys := sx.arms(x), sy.arms(y)
	return !slices.ContainsFunc(xs, func(p arm) bool {
		return slices.ContainsFunc(ys, func(q arm) bool { return p.and(q).kinds != 0 })
	})
}

// validated says whether e, a choice of structs, demands more of one of them than its
// variables do. The engine does not list that by alternative.
func (s *side) validated(e ast.Expr, depth int) bool {
	if depth > maxDepth {
		return true
	}
	switch e := e.(type) {
	case *ast.ParenExpr:
		return s.validated(e.X, depth+1)
	case *ast.UnaryExpr:
		return e.Op == token.MUL && s.validated(e.X, depth+1)
	case *ast.BinaryExpr:
		return s.validated(e.X, depth+1) || s.validated(e.Y, depth+1)
	case *ast.CallExpr:
		name := text(e.Fun)
		if name == "close" && len(e.Args) == 1 {
			return s.validated(e.Args[0], depth+1)
		}
		return name != "error" && kindOfCall(name)&cue.StructKind != 0
	case *ast.StructLit:
		return slices.ContainsFunc(e.Elts, func(d ast.Decl) bool { return s.validatedDecl(d, depth+1) })
	case *ast.Ident:
		h, ok := s.outside(e)
		return ok && s.validated(h, depth+1)
	case *ast.SelectorExpr, *ast.IndexExpr:
		return true
	}
	return false
}

// validatedDecl is validated for one declaration of a struct.
func (s *side) validatedDecl(d ast.Decl, depth int) bool {
	switch d := d.(type) {
	case *ast.EmbedDecl:
		return s.validated(d.Expr, depth)
	case *ast.Field:
		name, _, err := ast.LabelName(d.Label)
		return err == nil && strings.HasPrefix(name, "_")
	case *ast.Comprehension:
		return true
	}
	return false
}

// doubtful says whether lists that one of b accepts may be right for several of a, which
// make different things of their entries. Entries that are scalars are what they are.
func doubtful(b, a []arm) bool {
	list := func(x arm) bool { return x.kinds&cue.ListKind != 0 && !x.exact }
	lists := func(arms []arm) []arm {
		return slices.DeleteFunc(slices.Clone(arms), func(x arm) bool { return !list(x) })
	}
	is := lists(a)
	return slices.ContainsFunc(b, list) && len(is) > 1 && !sameArms(lists(b), is) &&
		slices.ContainsFunc(is, func(x arm) bool { return !predeclared[x.entry] || x.entry == "_" })
}

// reported is the answer of choices that were compared and whose changes were reported.
const reported answer = yes + 1

// choices says whether each struct that before is a choice of is accepted by one of after.
func (c *comparer) choices(at place, before, after cue.Value) answer {
	if c.before.relational(written(before)) || c.after.relational(written(after)) || c.after.validated(written(after), 0) {
		return perhaps
	}
	only := func(v cue.Value) []cue.Value {
		return slices.DeleteFunc(alternatives(v), func(x cue.Value) bool { return kind(x) != cue.StructKind })
	}
	b, a := only(before), only(after)
	if len(b) == 0 {
		return perhaps
	}
	arms := func(x, y cue.Value) { c.layouts(at, c.before.armLayout(x, before), c.after.armLayout(y, after)) }
	if len(b) == 1 && len(a) == 1 {
		arms(b[0], a[0])
		return reported
	}
	changed := Safe
	for _, x := range b {
		best, cover := Breaking, -1
		for i, y := range a {
			if v := gravest(c.try(func() { arms(x, y) })); v < best {
				best, cover = v, i
			}
		}
		changed = max(changed, best)
		if cover >= 0 && !c.alone(x, cover, before, after, b, a) {
			changed = max(changed, Unknown)
		}
	}
	switch changed {
	case Unknown, Breaking:
	case Safe:
		return yes
	case DefaultChanged:
		c.report(at, DefaultChanged, c.instead(before, after), "a default within one of the alternatives changed")
		return yes
	}
	return perhaps
}
