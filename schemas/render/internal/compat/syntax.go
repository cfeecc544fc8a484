package compat

import (
	"slices"
	"strings"

	"cuelang.org/go/cue"
	"cuelang.org/go/cue/ast"
	"cuelang.org/go/cue/token"
)

// This file reads off the syntax what the engine does not tell: whether a struct that was
// taken out of a pattern accepts any name, and what a variable is when it is left out and
// that depends on others.

// armLayout is the layout of an alternative of whole. The syntax of what was evaluated does
// not tell whether it is open.
func (s *side) armLayout(arm, whole cue.Value) *layout {
	l := s.layout(arm)
	l.open = arm.Allows(cue.Str("tidegate_undeclared_name")) && s.opens(written(whole), 0)
	return l
}

// scalar says whether e is no struct, as far as can be read off.
func scalar(e ast.Expr) bool {
	switch e := e.(type) {
	case *ast.ParenExpr:
		return scalar(e.X)
	case *ast.UnaryExpr:
		return e.Op != token.MUL || scalar(e.X)
	case *ast.Ident:
		return e.Name != "_" && predeclared[e.Name]
	case *ast.BasicLit, *ast.ListLit:
		return true
	}
	return false
}

// opens says whether e, a struct within #Variables, accepts any name. Where that cannot be
// read off, the old side counts as open and the new one as closed.
func (s *side) opens(e ast.Expr, depth int) bool {
	if depth > maxDepth {
		return s.wide
	}
	switch e := e.(type) {
	case *ast.ParenExpr:
		return s.opens(e.X, depth+1)
	case *ast.UnaryExpr:
		return e.Op == token.MUL && s.opens(e.X, depth+1)
	case *ast.BinaryExpr:
		return s.bothOpen(e, depth)
	case *ast.BasicLit, *ast.ListLit:
		return false
	case *ast.StructLit:
		return slices.ContainsFunc(e.Elts, func(d ast.Decl) bool {
			embedded, ok := d.(*ast.EmbedDecl)
			_, dots := d.(*ast.Ellipsis)
			return dots || ok && s.opens(embedded.Expr, depth+1)
		})
	case *ast.CallExpr:
		return s.wide && !validates(e)
	case *ast.Ident:
		if h, ok := s.outside(e); ok {
			return s.opens(h, depth+1)
		}
		return e.Name == "_" || s.wide
	}
	return s.wide
}

// validates says whether e only takes from what a struct accepts.
func validates(e *ast.CallExpr) bool {
	name := text(e.Fun)
	return strings.HasPrefix(name, "struct.") || strings.HasPrefix(name, "match")
}

// bothOpen is opens for what both operands must hold, or one of them. Of the new side every
// alternative counts, except those that are no structs.
func (s *side) bothOpen(e *ast.BinaryExpr, depth int) bool {
	if e.Op != token.AND && e.Op != token.OR {
		return s.wide
	}
	x, y := s.opens(e.X, depth+1), s.opens(e.Y, depth+1)
	if s.wide || e.Op == token.OR && (scalar(e.X) || scalar(e.Y)) {
		return x || y
	}
	return x && y
}

// outside is the syntax of a helper that stands beside #Variables alone.
func (s *side) outside(id *ast.Ident) (ast.Expr, bool) {
	if len(s.nested[id.Name]) > 0 {
		return nil, false
	}
	return s.helper(id.Name)
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

// marked is the alternative of e that is marked as the default; nil where none is.
func marked(e ast.Expr) ast.Expr {
	switch e := e.(type) {
	case *ast.ParenExpr:
		return marked(e.X)
	case *ast.UnaryExpr:
		if e.Op == token.MUL {
			return e.X
		}
	case *ast.BinaryExpr:
		if e.Op != token.OR {
			return nil
		}
		if x := marked(e.X); x != nil {
			return x
		}
		return marked(e.Y)
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
	case *ast.Ident:
		if f, ok := l.fields[e.Name]; ok {
			return f.presence != optional && (f.given == nil || s.follows(l, f.given, depth+1))
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

// printable says whether e can be part of a string, if it is a variable.
func (l *layout) printable(e ast.Expr) bool {
	id, ok := e.(*ast.Ident)
	if !ok {
		return true
	}
	f, ok := l.fields[id.Name]
	return ok && kind(f.value)&^(cue.StringKind|cue.NumberKind|cue.BoolKind) == 0
}
