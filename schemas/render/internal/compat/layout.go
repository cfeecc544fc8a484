package compat

import (
	"slices"
	"strings"

	"cuelang.org/go/cue"
	"cuelang.org/go/cue/ast"
	"cuelang.org/go/cue/token"
)

// layout is what one struct may hold.
type layout struct {
	fields map[string]field
	order  []string
	// patterns are what other names may be, and what their values.
	patterns []pattern
	// open is true where any other name is accepted.
	open bool
	// rules are what else is written in the struct, such as conditions.
	rules []rule
	// decls are all that is written in the struct.
	decls []ast.Decl
}

type field struct {
	presence presence
	value    cue.Value
	// given is what the variable is when it is left out, where that depends on others; nil
	// where it does not.
	given ast.Expr
	// loose is true where a struct has a value when it is left out, by the defaults there are,
	// and may have none by what a team sets elsewhere.
	loose bool
}

type pattern struct {
	key, value cue.Value
}

// rule is something in a struct that is no variable.
type rule struct {
	// text is the rule with all that it rests on; short is the rule alone.
	text, short string
	names       []string
	// grants is true where without the rule fewer names may be set.
	grants bool
	// counts is true where the rule looks at the struct as a whole.
	counts bool
}

func (s *side) layout(v cue.Value) *layout {
	l := &layout{fields: map[string]field{}}
	it, err := v.Fields(cue.Optional(true), cue.Patterns(true))
	if err == nil {
		for it.Next() {
			sel := it.Selector()
			if sel.ConstraintType() == cue.PatternConstraint {
				l.patterns = append(l.patterns, pattern{sel.Pattern(), it.Value()})
				continue
			}
			if sel.LabelType() != cue.StringLabel {
				continue
			}
			name := sel.Unquoted()
			l.order = append(l.order, name)
			l.fields[name] = s.field(sel, it.Value())
		}
	}
	slices.Sort(l.order)
	l.decls = structDecls(s, written(v), nil)
	for _, d := range l.decls {
		if r, ok := s.rule(d); ok {
			l.rules = append(l.rules, r)
		}
	}
	// The engine alone would say that what is taken out of a pattern is open, that what has a
	// pattern for any name is, and what it cannot evaluate yet.
	l.open = v.Allows(cue.Str("tidegate_undeclared_name")) && s.opens(written(v), 0)
	s.settle(l)
	return l
}

// settle finds out which variables of l have a value whatever a team sets.
func (s *side) settle(l *layout) {
	for name, f := range l.fields {
		always := f.given != nil || f.presence == defaulted
		always = always && s.firm(l, written(f.value), nil, 0)
		switch {
		case f.given != nil && always:
			f.presence = defaulted
		case f.presence != defaulted || always:
			continue
		case plain(f.value):
			f.loose = true
		default:
			f.presence = required
			if f.given == nil {
				f.given = written(f.value)
			}
		}
		l.fields[name] = f
	}
}

// field reads one variable. What it is when it is left out depends on others even if these
// have defaults.
func (s *side) field(sel cue.Selector, v cue.Value) field {
	f := field{presence: presenceOf(sel, v), value: v}
	switch {
	case f.presence == required && sel.ConstraintType() != cue.RequiredConstraint:
		f.given = s.given(written(v), 0)
	case f.presence == defaulted && s.relational(written(v)) && !plain(v):
		if g := s.given(written(v), 0); g != nil && s.relational(g) {
			f.given = g
		}
	}
	return f
}

// rule returns what d demands besides declaring a variable.
func (s *side) rule(d ast.Decl) (rule, bool) {
	r := rule{}
	switch d := d.(type) {
	case *ast.Comprehension:
		r.grants = true
	case *ast.Field:
		switch label := d.Label.(type) {
		case *ast.Ident:
			if !strings.HasPrefix(label.Name, "_") {
				return r, false
			}
		case *ast.BasicLit, *ast.ListLit:
			return r, false
		default:
			r.grants = true
		}
	case *ast.EmbedDecl:
		// A reference to a struct elsewhere grants names; a validator only takes.
		_, isCall := d.Expr.(*ast.CallExpr)
		r.grants = !isCall
		r.counts = true
		if _, ok := predeclaredOnly(d.Expr); ok {
			return r, false
		}
	default:
		return r, false
	}
	r.text, r.names = s.closure(d)
	r.short = text(d)
	return r, true
}

// predeclaredOnly says whether e is a type without more, such as the _ that stands for
// anything.
func predeclaredOnly(e ast.Expr) (string, bool) {
	id, ok := e.(*ast.Ident)
	if !ok {
		return "", false
	}
	return id.Name, predeclared[id.Name]
}

// structDecls are the declarations that make up a struct, those of helpers that it is made
// of among them.
func structDecls(s *side, e ast.Expr, visited []string) []ast.Decl {
	switch e := e.(type) {
	case *ast.ParenExpr:
		return structDecls(s, e.X, visited)
	case *ast.BinaryExpr:
		if e.Op == token.AND {
			return append(structDecls(s, e.X, visited), structDecls(s, e.Y, visited)...)
		}
	case *ast.StructLit:
		var out []ast.Decl
		for _, d := range e.Elts {
			if embedded, ok := d.(*ast.EmbedDecl); ok {
				out = append(out, structDecls(s, embedded.Expr, visited)...)
				continue
			}
			out = append(out, d)
		}
		return out
	case *ast.CallExpr:
		if text(e.Fun) == "close" && len(e.Args) == 1 {
			return structDecls(s, e.Args[0], visited)
		}
	case *ast.Ident:
		if h, ok := s.helper(e.Name); ok && !slices.Contains(visited, e.Name) && len(s.nested[e.Name]) == 0 {
			return structDecls(s, h, append(slices.Clone(visited), e.Name))
		}
	case nil:
		return nil
	}
	return []ast.Decl{&ast.EmbedDecl{Expr: e}}
}

// alternatives are the values that v is a choice of; v alone if it is none.
func alternatives(v cue.Value) []cue.Value {
	op, args := v.Eval().Expr()
	if op != cue.OrOp {
		return []cue.Value{v}
	}
	var out []cue.Value
	for _, a := range args {
		out = append(out, alternatives(a)...)
	}
	return out
}

// plain says whether v is one struct.
func plain(v cue.Value) bool {
	return kind(v) == cue.StructKind && len(alternatives(v)) == 1
}

// kind is the type of v. A struct with a condition on a variable that must be set counts as
// an error to the engine until it is set; it is a struct all the same.
func kind(v cue.Value) cue.Kind {
	k := v.IncompleteKind()
	if k != cue.BottomKind {
		return k
	}
	if declares(written(v)) {
		return cue.StructKind
	}
	return k
}

// declares says whether e spells out fields or conditions.
func declares(e ast.Expr) bool {
	switch e := e.(type) {
	case *ast.ParenExpr:
		return declares(e.X)
	case *ast.BinaryExpr:
		return e.Op == token.AND && (declares(e.X) || declares(e.Y))
	case *ast.StructLit:
		return slices.ContainsFunc(e.Elts, func(d ast.Decl) bool {
			switch d := d.(type) {
			case *ast.Field, *ast.Comprehension:
				return true
			case *ast.EmbedDecl:
				return declares(d.Expr)
			}
			return false
		})
	}
	return false
}
