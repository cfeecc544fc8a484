package compat

import (
	"slices"
	"strings"

	"cuelang.org/go/cue/ast"
	"cuelang.org/go/cue/token"
)

// firm says whether e, what a variable is written as, has a value whatever a team sets
// elsewhere. The engine has seen that it has one by the defaults there are; what is left to
// look at is what depends on other variables. Those named in local cannot be set by anybody
// who does not set this one.
func (s *side) firm(l *layout, e ast.Expr, local []string, depth int) bool {
	if depth > maxDepth {
		return false
	}
	if !s.free(e, local) {
		return true
	}
	switch e := e.(type) {
	case *ast.ParenExpr:
		return s.firm(l, e.X, local, depth+1)
	case *ast.UnaryExpr:
		return e.Op == token.MUL && s.firm(l, e.X, local, depth+1)
	case *ast.BinaryExpr:
		return s.firmBoth(l, e, local, depth+1)
	case *ast.StructLit:
		local = s.locals(e, local)
		return !slices.ContainsFunc(e.Elts, func(d ast.Decl) bool { return !s.firmDecl(l, d, local, depth+1) })
	case *ast.ListLit:
		return !slices.ContainsFunc(e.Elts, func(x ast.Expr) bool {
			_, dots := x.(*ast.Ellipsis)
			return !dots && !s.firm(l, x, local, depth+1)
		})
	case *ast.Ident:
		if h, ok := s.outside(e); ok {
			return s.firm(l, h, local, depth+1)
		}
	}
	return s.follows(l, e, 0)
}

// firmBoth is firm for a choice or a conjunction.
func (s *side) firmBoth(l *layout, e *ast.BinaryExpr, local []string, depth int) bool {
	if e.Op == token.AND {
		return isString(e.X) && s.printed(l, e.Y) || isString(e.Y) && s.printed(l, e.X)
	}
	// Two defaults are none, unless they are the same.
	all := marks(e)
	return e.Op == token.OR && len(all) == 1 && s.firm(l, all[0], local, depth)
}

// firmDecl is firm for one declaration of a struct.
func (s *side) firmDecl(l *layout, d ast.Decl, local []string, depth int) bool {
	switch d := d.(type) {
	case *ast.Field:
		_, isPattern := d.Label.(*ast.ListLit)
		return isPattern || d.Constraint == token.OPTION || s.firm(l, d.Value, local, depth)
	case *ast.EmbedDecl:
		return s.firm(l, d.Expr, local, depth)
	case *ast.Comprehension:
		return !s.free(d, local)
	}
	return true
}

// free says whether n depends on a variable that is not local.
func (s *side) free(n ast.Node, local []string) bool {
	_, names := s.closure(n)
	return slices.ContainsFunc(names, func(name string) bool {
		return !slices.Contains(local, strings.TrimSuffix(name, entirely)) && s.varies(name)
	})
}

// locals adds to local the names that the struct e declares and that depend on nothing
// beyond it.
func (s *side) locals(e *ast.StructLit, local []string) []string {
	own := map[string]ast.Expr{}
	for _, d := range e.Elts {
		switch d := d.(type) {
		case *ast.Field:
			if name, _, err := ast.LabelName(d.Label); err == nil {
				own[name] = d.Value
			}
		case *ast.LetClause:
			own[d.Ident.Name] = d.Expr
		}
	}
	for dropped := true; dropped; {
		dropped = false
		known := slices.Clone(local)
		for name := range own {
			known = append(known, name)
		}
		for name, value := range own {
			if s.free(value, known) {
				delete(own, name)
				dropped = true
			}
		}
		if !dropped {
			return known
		}
	}
	return local
}

func isString(e ast.Expr) bool {
	id, ok := e.(*ast.Ident)
	return ok && id.Name == "string"
}

// printed says whether e is a text made of variables that are always there, or has one as
// its default.
func (s *side) printed(l *layout, e ast.Expr) bool {
	for p, ok := e.(*ast.ParenExpr); ok; p, ok = e.(*ast.ParenExpr) {
		e = p.X
	}
	if all := marks(e); len(all) == 1 {
		e = all[0]
	}
	_, ok := e.(*ast.Interpolation)
	return ok && s.follows(l, e, 0)
}
