package compat

import (
	"slices"
	"strings"

	"cuelang.org/go/cue"
	"cuelang.org/go/cue/ast"
	"cuelang.org/go/cue/token"
)

// What a variable is when it is left out and that depends on others the engine does not
// tell; it is read off the syntax.

// marks are the alternatives of e that are marked as the default.
func marks(e ast.Expr) []ast.Expr {
	switch e := e.(type) {
	case *ast.ParenExpr:
		return marks(e.X)
	case *ast.UnaryExpr:
		if e.Op == token.MUL {
			return []ast.Expr{e.X}
		}
	case *ast.BinaryExpr:
		if e.Op == token.OR {
			return append(marks(e.X), marks(e.Y)...)
		}
	}
	return nil
}

// given is the part of e, what a variable is written as, that says what it is when it is
// left out; nil where nothing does.
func (s *side) given(e ast.Expr, depth int) ast.Expr {
	if depth > maxDepth {
		return nil
	}
	switch e := e.(type) {
	case *ast.ParenExpr:
		return s.given(e.X, depth+1)
	case *ast.UnaryExpr:
		return marked(e)
	case *ast.BinaryExpr:
		switch e.Op {
		case token.OR:
			return marked(e)
		case token.AND:
			if x := s.given(e.X, depth+1); x != nil {
				return x
			}
			return s.given(e.Y, depth+1)
		}
		return e
	case *ast.SelectorExpr:
		if !defines(e) {
			return e
		}
	case *ast.Interpolation, *ast.IndexExpr:
		return e
	case *ast.Ident:
		if h, ok := s.outside(e); ok {
			return s.given(h, depth+1)
		}
		if !predeclared[e.Name] {
			return e
		}
	}
	return nil
}

// defines says whether e names a definition, or a part of a library, which says what a
// variable may be and not what it is.
func defines(e *ast.SelectorExpr) bool {
	if id, ok := e.X.(*ast.Ident); ok && libraries[id.Name] {
		return true
	}
	name, _, err := ast.LabelName(e.Sel)
	return err != nil || strings.HasPrefix(name, "#")
}

// marked is the first alternative of e that is marked as the default; nil where none is.
func marked(e ast.Expr) ast.Expr {
	if all := marks(e); len(all) > 0 {
		return all[0]
	}
	return nil
}

// follows says whether e has a value whatever a team sets: it is made of variables of the
// same struct that are always there.
func (s *side) follows(l *layout, e ast.Expr, depth int) bool {
	if depth > maxDepth {
		return false
	}
	switch e := e.(type) {
	case *ast.ParenExpr:
		return s.follows(l, e.X, depth+1)
	case *ast.BasicLit:
		return true
	case *ast.SelectorExpr:
		return s.fact(e) || s.inside(l, e)
	case *ast.Ident:
		if f, ok := l.fields[e.Name]; ok {
			return !s.unsettled(l, e.Name) && f.presence != optional && (f.given == nil || s.follows(l, f.given, depth+1))
		}
		h, ok := s.outside(e)
		return ok && s.follows(l, h, depth+1)
	case *ast.Interpolation:
		return !slices.ContainsFunc(e.Elts, func(part ast.Expr) bool {
			return !l.printable(part) || !s.follows(l, part, depth+1)
		})
	}
	return false
}

// inside says whether e is a variable within a struct of l, and is always there.
func (s *side) inside(l *layout, e *ast.SelectorExpr) bool {
	id, ok := e.X.(*ast.Ident)
	name, _, err := ast.LabelName(e.Sel)
	if !ok || err != nil {
		return false
	}
	outer, ok := l.fields[id.Name]
	if !ok || outer.presence == optional || !plain(outer.value) || s.unsettled(l, id.Name) {
		return false
	}
	inner := s.layout(outer.value)
	f, ok := inner.fields[name]
	return ok && f.presence != optional && !s.unsettled(inner, name)
}

// fact says whether e is a fact of the Release, such as context.name, which is always there.
func (s *side) fact(e *ast.SelectorExpr) bool {
	id, ok := e.X.(*ast.Ident)
	name, _, err := ast.LabelName(e.Sel)
	if !ok || err != nil || id.Name != "context" || s.shadowed {
		return false
	}
	v := s.Root.LookupPath(cue.MakePath(cue.Str("context"), cue.Str(name)))
	return v.Exists() && v.Validate(cue.Concrete(true)) == nil
}

// printable says whether e can be part of a string, if it is a variable.
func (l *layout) printable(e ast.Expr) bool {
	id, ok := e.(*ast.Ident)
	if !ok {
		return true
	}
	f, ok := l.fields[id.Name]
	return ok && kind(f.value)&^(cue.StringKind|cue.NumberKind|cue.BoolKind) == 0
}
