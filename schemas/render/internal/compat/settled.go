package compat

import (
	"slices"

	"cuelang.org/go/cue"
	"cuelang.org/go/cue/ast"
	"cuelang.org/go/cue/token"
)

// The engine tells what a struct holds by the facts that were made up and by the defaults
// there are. By the facts of another Release, or by other values, a pattern may take other
// names, and a condition bind other variables. So where a struct has such parts, what it says
// of a name is read off the source.

// unsettled says whether l may declare or bind the variable called name otherwise by other
// facts or values; with no name, whether that holds for names that are not declared.
func (s *side) unsettled(l *layout, name string) bool {
	return slices.ContainsFunc(l.decls, func(d ast.Decl) bool { return s.unsettles(d, name, false, 0) })
}

// unsettles is unsettled for one declaration; maybe is true where it does not always hold.
func (s *side) unsettles(d ast.Decl, name string, maybe bool, depth int) bool {
	if depth > maxDepth {
		return true
	}
	switch d := d.(type) {
	case *ast.Comprehension:
		maybe = maybe || slices.ContainsFunc(d.Clauses, func(c ast.Clause) bool { return s.relational(c) })
		return s.unsettles(&ast.EmbedDecl{Expr: d.Value}, name, maybe, depth+1)
	case *ast.Field:
		label, _, err := ast.LabelName(d.Label)
		if err != nil {
			return maybe || s.relational(&ast.ListLit{Elts: labelExpressions(d.Label)})
		}
		return maybe && name != "" && label == name
	case *ast.Ellipsis:
		return maybe
	case *ast.EmbedDecl:
		return s.embeds(d.Expr, name, maybe, depth+1)
	}
	return false
}

// embeds is unsettles for what a struct is made of.
func (s *side) embeds(e ast.Expr, name string, maybe bool, depth int) bool {
	inner := structDecls(s, e, nil)
	if id, ok := e.(*ast.Ident); ok && len(s.nested[id.Name]) == 1 {
		if _, root := s.helper(id.Name); !root {
			inner = structDecls(s, s.nested[id.Name][0], []string{id.Name})
		}
	}
	if len(inner) == 1 {
		if x, ok := inner[0].(*ast.EmbedDecl); ok {
			if call, ok := x.Expr.(*ast.CallExpr); ok && validates(call) {
				return false
			}
			return maybe || s.relational(x.Expr)
		}
	}
	return slices.ContainsFunc(inner, func(d ast.Decl) bool { return s.unsettles(d, name, maybe, depth) })
}

// sources are what is written of the variable called name, whatever the facts are.
func (l *layout) sources(name string) []*ast.Field {
	var out []*ast.Field
	for _, d := range l.decls {
		if f, ok := d.(*ast.Field); ok && labelled(f, name) {
			out = append(out, f)
		}
	}
	return out
}

// patternSources are what is written of names that are not declared.
func (l *layout) patternSources() []*ast.Field {
	var out []*ast.Field
	for _, d := range l.decls {
		if f, ok := d.(*ast.Field); ok {
			if _, isPattern := f.Label.(*ast.ListLit); isPattern {
				out = append(out, f)
			}
		}
	}
	return out
}

// texts are what fields say, with all that it rests on, and the names in that.
func (s *side) texts(fields []*ast.Field) (out, names []string) {
	for _, f := range fields {
		label, _ := s.closure(f.Label)
		value, others := s.closure(f.Value)
		_, more := s.closure(&ast.ListLit{Elts: labelExpressions(f.Label)})
		out = append(out, label+f.Constraint.String()+" "+value)
		names = append(append(names, others...), more...)
	}
	slices.Sort(out)
	return out, names
}

// labelExpressions are the expressions in a label; a plain name has none. What a pattern calls
// the name that it takes refers to nothing.
func labelExpressions(l ast.Label) []ast.Expr {
	var out []ast.Expr
	switch l := l.(type) {
	case *ast.ListLit:
		for _, e := range l.Elts {
			if alias, ok := e.(*ast.Alias); ok {
				e = alias.Expr
			}
			out = append(out, e)
		}
	case *ast.Interpolation:
		out = append(out, l)
	case *ast.ParenExpr:
		out = append(out, l)
	}
	return out
}

// sameSources says whether the same is written on both sides, and means the same.
func (c *comparer) sameSources(b, a []*ast.Field) bool {
	was, _ := c.before.texts(b)
	is, names := c.after.texts(a)
	return slices.Equal(was, is) && !c.touched(names)
}

// holds says whether what the engine tells of a variable that both sides declare is true
// whatever the facts are, or what is written of it proves that it accepts as much as before.
// What a condition adds is the same on both sides, or is reported as a rule.
func (c *comparer) holds(name string, b, a *layout) bool {
	if !c.before.unsettled(b, name) && !c.after.unsettled(a, name) {
		return true
	}
	was, is := b.sources(name), a.sources(name)
	if c.sameSources(was, is) {
		return true
	}
	x, needed := conjunction(was)
	y, needs := conjunction(is)
	switch {
	case x == nil || y == nil || needed != needs && (needed != token.NOT || needs != token.OPTION):
		return false
	case needs == token.ILLEGAL && !c.sameGiven(x, y):
		return false
	}
	before, after := named(reader{side: c.before}.read(x)), named(reader{side: c.after}.read(y))
	verdict, _ := c.allIncluded(before, after, nil)
	return verdict == yes && !doubtful(before, after)
}

// sameGiven says whether a variable is the same on both sides when it is left out.
func (c *comparer) sameGiven(x, y ast.Expr) bool {
	b, a := c.before.given(x, 0), c.after.given(y, 0)
	if b == nil || a == nil {
		return false
	}
	was, _ := c.before.closure(b)
	is, names := c.after.closure(a)
	return was == is && !c.touched(names)
}

// conjunction is what all of fields demand together, and how they mark the variable.
func conjunction(fields []*ast.Field) (all ast.Expr, mark token.Token) {
	mark = token.OPTION
	for _, f := range fields {
		switch {
		case f.Constraint == token.NOT && mark == token.OPTION:
			mark = token.NOT
		case f.Constraint == token.ILLEGAL:
			mark = token.ILLEGAL
		}
		if all == nil {
			all = f.Value
			continue
		}
		all = &ast.BinaryExpr{Op: token.AND, X: all, Y: f.Value}
	}
	return all, mark
}

// doubted reports a change as unknown which the engine tells wrong, since it depends on what
// was made up. What was reported of it from the n-th change on stays, and may be graver.
func (c *comparer) doubted(at place, n int) {
	if gravest(c.changes[n:]) < Unknown {
		c.report(at, Unknown, "what the variable may be depends on facts of the Release or on other variables, and changed", "it is not compared for all of them; only rendering the Releases tells")
	}
}

// unsettledNames compares names that are not declared, where what they may be depends on
// facts of the Release or on other variables.
func (c *comparer) unsettledNames(at place, b, a *layout) {
	settled := !c.after.unsettled(a, "")
	switch {
	case settled && a.open && len(a.patterns) == 0:
		c.report(at, Safe, "names that are not declared are accepted now", "more is accepted")
		return
	case b.open == a.open && c.sameSources(b.patternSources(), a.patternSources()):
		return
	case settled && len(a.patterns) == 1 && c.anyName(a.patterns[0].key) && c.coveredBy(at, b, a.patterns[0].value):
		c.report(at, Safe, "any name is accepted now that is not declared", "more is accepted")
		return
	}
	what := "what names may be, which depends on facts of the Release or on other variables, changed"
	if !c.patternRefused(at, b, a, what) {
		c.report(at, Unknown, what, "it is not compared for all of them; only rendering the Releases tells")
	}
}

// anyName says whether key takes every name.
func (c *comparer) anyName(key cue.Value) bool {
	every, _ := c.allIncluded([]arm{ofKind(cue.StringKind)}, c.after.arms(key), nil)
	return every == yes
}

// coveredBy says whether v accepts what any pattern of b accepts, whichever names it takes.
func (c *comparer) coveredBy(at place, b *layout, v cue.Value) bool {
	conditional := slices.ContainsFunc(b.decls, func(d ast.Decl) bool {
		_, isField := d.(*ast.Field)
		return !isField && c.before.unsettles(d, "", false, 0)
	})
	if b.open || conditional || len(b.patterns) != len(b.patternSources()) {
		return false
	}
	return gravest(c.try(func() {
		for _, p := range b.patterns {
			c.values(at.key(stray), p.value, v)
		}
	})) == Safe
}
