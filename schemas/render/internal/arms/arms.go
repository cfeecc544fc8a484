// Package arms takes an expression of CUE apart into the alternatives that it is a choice
// of. What an alternative is, and what two mean together, is the reader's.
package arms

import (
	"cuelang.org/go/cue/ast"
	"cuelang.org/go/cue/token"
)

// Reader makes alternatives of type A.
type Reader[A any] struct {
	// Leaf reads an expression that is neither a choice nor a conjunction.
	Leaf func(ast.Expr) []A
	// Both are the alternatives of a conjunction.
	Both func(x, y []A) []A
	// Prefer marks an alternative as a default.
	Prefer func(*A)
}

// Of returns the alternatives of e, in the order in which they are written.
func (r Reader[A]) Of(e ast.Expr) []A {
	switch e := e.(type) {
	case *ast.ParenExpr:
		return r.Of(e.X)
	case *ast.BinaryExpr:
		switch {
		case e.Op == token.OR:
			return append(r.Of(e.X), r.Of(e.Y)...)
		case e.Op != token.AND:
		case empty(e.X):
			return r.Of(e.Y)
		case empty(e.Y):
			return r.Of(e.X)
		default:
			return r.Both(r.Of(e.X), r.Of(e.Y))
		}
	case *ast.UnaryExpr:
		if e.Op == token.MUL {
			arms := append([]A(nil), r.Of(e.X)...)
			for i := range arms {
				r.Prefer(&arms[i])
			}
			return arms
		}
	}
	return r.Leaf(e)
}

// empty says whether e is {}. The engine writes a list whose entries have a let as a
// conjunction with it; with a struct it adds nothing.
func empty(e ast.Expr) bool {
	s, ok := e.(*ast.StructLit)
	return ok && len(s.Elts) == 0
}

// Expression is n without its imports; a file of fields is a struct.
func Expression(n ast.Node) ast.Expr {
	switch n := n.(type) {
	case *ast.File:
		var decls []ast.Decl
		for _, d := range n.Decls {
			switch d.(type) {
			case *ast.ImportDecl, *ast.Package:
			default:
				decls = append(decls, d)
			}
		}
		if len(decls) == 1 {
			if e, ok := decls[0].(*ast.EmbedDecl); ok {
				return e.Expr
			}
		}
		return &ast.StructLit{Elts: decls}
	case ast.Expr:
		return n
	}
	return nil
}
