package shape

import (
	"slices"

	"cuelang.org/go/cue"
	"cuelang.org/go/cue/ast"
	"cuelang.org/go/cue/token"
)

// A struct with a condition on a variable that must be set, such as
//
//	{kind!: "disk" | "bucket", if kind == "disk" {path!: string}}
//
// is an error to the engine until the variable is set: it has no kind, and seems to accept
// every name. One with a condition on a default is to the engine what the default makes of
// it, which is one of the ways that it can go. What follows is read off the source.

// Conditions returns the names that the conditions and loops in the source of the struct v
// ask about, sorted; none where it has neither.
func Conditions(v cue.Value) []string {
	var names []string
	conditional(v, func(c *ast.Comprehension) {
		for _, clause := range c.Clauses {
			ast.Walk(clause, func(n ast.Node) bool {
				if id, ok := n.(*ast.Ident); ok && !predeclared(id.Name) {
					names = append(names, id.Name)
				}
				return true
			}, nil)
		}
	})
	slices.Sort(names)
	return slices.Compact(names)
}

// Compared are what the conditions in the source of the struct v hold the field called name
// against: the literals, and the expressions that it has to match.
func Compared(v cue.Value, name string) []Arm {
	var out []Arm
	conditional(v, func(c *ast.Comprehension) {
		for _, clause := range c.Clauses {
			ast.Walk(clause, func(n ast.Node) bool {
				b, ok := n.(*ast.BinaryExpr)
				if !ok {
					return true
				}
				id, _ := b.X.(*ast.Ident)
				l, _ := b.Y.(*ast.BasicLit)
				if id == nil || l == nil || id.Name != name {
					return true
				}
				if a, ok := readComparison(&ast.UnaryExpr{Op: b.Op, X: l}); ok && len(a.Patterns) > 0 {
					out = append(out, a)
				} else if a := readLiteral(l, ""); a.Literal != "" {
					out = append(out, a)
				}
				return true
			}, nil)
		}
	})
	return out
}

// Conditional returns the names of the fields that conditions and loops in the source of the
// struct v declare; written is false where there may be others that are not written out.
func Conditional(v cue.Value) (names []string, written bool) {
	written = true
	conditional(v, func(c *ast.Comprehension) {
		body, ok := c.Value.(*ast.StructLit)
		if !ok {
			written = false
			return
		}
		for _, d := range body.Elts {
			switch d := d.(type) {
			case *ast.Field:
				name, _, err := ast.LabelName(d.Label)
				written = written && err == nil
				names = append(names, name)
			case *ast.EmbedDecl, *ast.Ellipsis:
				written = false
			}
		}
	})
	slices.Sort(names)
	return slices.Compact(names), written
}

// conditional calls visit for each condition and loop in the source of the struct v, those
// within others too.
func conditional(v cue.Value, visit func(*ast.Comprehension)) {
	var each func(decls []ast.Decl)
	each = func(decls []ast.Decl) {
		for _, d := range decls {
			c, ok := d.(*ast.Comprehension)
			if !ok {
				continue
			}
			visit(c)
			if body, ok := c.Value.(*ast.StructLit); ok {
				each(body.Elts)
			}
		}
	}
	for _, e := range conjuncts(v) {
		if s, ok := e.(*ast.StructLit); ok {
			each(s.Elts)
		}
	}
}

// Open says whether the struct v, as far as it can be evaluated, accepts a name that it does
// not declare. In what cannot be evaluated only the source tells.
func Open(v cue.Value) bool {
	if v.IncompleteKind() != cue.BottomKind {
		return v.Allows(cue.AnyString)
	}
	return elliptic(v)
}

// elliptic says whether ... stands in the source of the struct v itself.
func elliptic(v cue.Value) bool {
	return slices.ContainsFunc(conjuncts(v), func(e ast.Expr) bool {
		s, ok := e.(*ast.StructLit)
		return ok && slices.ContainsFunc(s.Elts, isEllipsis)
	})
}

func isEllipsis(d ast.Decl) bool {
	_, ok := d.(*ast.Ellipsis)
	return ok
}

// Allows says whether the struct v accepts the name. The engine accepts every name in a
// struct that it cannot evaluate; there the source tells, conditions included.
func Allows(v cue.Value, name string) bool {
	if v.IncompleteKind() != cue.BottomKind {
		return v.Allows(cue.Str(name))
	}
	it, err := v.Fields(cue.Optional(true), cue.Patterns(true))
	for err == nil && it.Next() {
		// Which names a pattern accepts is asked when the rest is right.
		if it.Selector().ConstraintType() == cue.PatternConstraint || it.Selector().Unquoted() == name {
			return true
		}
	}
	names, written := Conditional(v)
	return err != nil || !written || slices.Contains(names, name) || elliptic(v)
}

// Grants says whether the struct v accepts the name with the values that it has or with
// others.
func Grants(v cue.Value, name string) bool {
	names, _ := Conditional(v)
	return slices.Contains(names, name) || Allows(v, name)
}

// demanded returns the names of the fields that the source of the struct v marks with !
// whatever the values are.
func demanded(v cue.Value) []string {
	var out []string
	for _, f := range spelled(v) {
		if f.Constraint == token.NOT {
			out = append(out, f.name)
		}
	}
	return out
}

// spelledField is a field as it stands in the source.
type spelledField struct {
	name string
	*ast.Field
}

// spelled are the fields that the source of the struct v declares by name.
func spelled(v cue.Value) []spelledField {
	var out []spelledField
	for _, e := range conjuncts(v) {
		s, ok := e.(*ast.StructLit)
		if !ok {
			continue
		}
		for _, d := range s.Elts {
			f, ok := d.(*ast.Field)
			if !ok {
				continue
			}
			if name, _, err := ast.LabelName(f.Label); err == nil {
				out = append(out, spelledField{name, f})
			}
		}
	}
	return out
}
