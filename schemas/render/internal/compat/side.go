package compat

import (
	"slices"
	"strings"

	"cuelang.org/go/cue"
	"cuelang.org/go/cue/ast"
)

// side is a template with what was read off it.
type side struct {
	Side
	// raw keeps the syntax of root-level helpers, by name.
	raw map[string]ast.Expr
	// nested are the definitions and hidden fields inside of #Variables, by name, each with
	// the syntax of all that have the name.
	nested map[string][]ast.Expr
	// lets are what the let clauses of a name stand for, tops what those beside #Variables do.
	lets, tops map[string][]ast.Expr
	// rests are what a variable refers to in what it is when it is left out, by name.
	rests map[string][]string
	// wide is true for the old side, which may be taken for wider than it is, and never for
	// narrower; the new side the other way round.
	wide bool
	// conditional is true where a variable may be there or not by what others are.
	conditional bool
	// shadowed is true where a variable is called context, as the facts of the Release are.
	shadowed bool
}

func newSide(s Side) *side {
	out := &side{Side: s, raw: map[string]ast.Expr{}, nested: map[string][]ast.Expr{}, lets: map[string][]ast.Expr{}, tops: map[string][]ast.Expr{}, rests: map[string][]string{}}
	for _, f := range s.Files {
		for _, d := range f.Decls {
			if l, ok := d.(*ast.LetClause); ok {
				out.tops[l.Ident.Name] = append(out.tops[l.Ident.Name], l.Expr)
			}
		}
	}
	return out
}

// helper returns the syntax of the root-level definition or hidden field called name.
func (s *side) helper(name string) (ast.Expr, bool) {
	if !strings.HasPrefix(name, "#") && !strings.HasPrefix(name, "_") {
		return nil, false
	}
	if e, ok := s.raw[name]; ok {
		return e, e != nil
	}
	s.raw[name] = nil
	if v := s.named(name); v.Exists() {
		s.raw[name] = written(v)
	}
	return s.raw[name], s.raw[name] != nil
}

// named looks up a root-level definition or hidden field.
func (s *side) named(name string) cue.Value {
	if strings.HasPrefix(name, "#") {
		return s.Root.LookupPath(cue.MakePath(cue.Def(name)))
	}
	it, err := s.Root.Fields(cue.Hidden(true))
	for err == nil && it.Next() {
		if it.Selector().String() == name {
			return it.Value()
		}
	}
	return cue.Value{}
}

// closure is the text of n and of every helper that it rests on. Two parts with the same
// closure, none of whose names changed, accept the same.
func (s *side) closure(n ast.Node) (full string, names []string) {
	var b strings.Builder
	b.WriteString(text(n))
	names = references(n)
	for i := 0; i < len(names); i++ {
		e, ok := s.helper(names[i])
		more := slices.Concat(s.nested[names[i]], s.tops[names[i]])
		if ok {
			more = append(more, e)
		}
		for _, e := range more {
			b.WriteString("\n" + names[i] + ": " + text(e))
			for _, r := range references(e) {
				if !slices.Contains(names, r) {
					names = append(names, r)
				}
			}
		}
	}
	return b.String(), names
}

// relational says whether n depends on the value of another variable.
func (s *side) relational(n ast.Node) bool {
	return s.free(n, nil)
}

// varies says whether name, which is referred to, may stand for something else in another
// Release.
func (s *side) varies(name string) bool {
	switch {
	case strings.HasPrefix(name, "#"):
		return len(s.lets[name])+len(s.tops[name]) > 0
	case strings.HasPrefix(name, "_"):
		return len(s.nested[name])+len(s.lets[name])+len(s.tops[name]) > 0
	}
	return true
}

// same says whether both values accept the same and mean the same, judging by what is
// written.
func (c *comparer) same(before, after cue.Value) bool {
	a, b := written(before), written(after)
	x, names := c.before.closure(a)
	y, _ := c.after.closure(b)
	if x != y || c.touched(names) {
		return false
	}
	// The same name may mean another thing in an imported package.
	return kind(before) == cue.StructKind || text(evaluated(before)) == text(evaluated(after))
}

// outside is the syntax of a helper that stands beside #Variables alone.
func (s *side) outside(id *ast.Ident) (ast.Expr, bool) {
	if len(s.nested[id.Name]) > 0 {
		return nil, false
	}
	return s.helper(id.Name)
}
