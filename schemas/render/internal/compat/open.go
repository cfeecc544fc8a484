package compat

import (
	"slices"
	"strings"

	"cuelang.org/go/cue"
	"cuelang.org/go/cue/ast"
	"cuelang.org/go/cue/token"
)

// Whether a struct that was taken out of a pattern accepts any name the engine does not
// tell; it is read off the syntax.

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
