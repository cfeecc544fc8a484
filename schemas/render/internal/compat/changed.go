package compat

import (
	"slices"
	"strings"

	"cuelang.org/go/cue"
	"cuelang.org/go/cue/ast"
	"cuelang.org/go/cue/token"

	"tidegate.io/tidegate/schemas/render/internal/values"
)

// touched says whether one of the names has changed.
func (c *comparer) touched(names []string) bool {
	return slices.ContainsFunc(names, func(n string) bool { return c.changed[n] })
}

// collectChanged compares the defaults and the presence of all names.
func (c *comparer) collectChanged() {
	was, is := map[string][]string{}, map[string][]string{}
	c.before.signatures(c.before.Variables, values.Root, 0, was)
	c.after.signatures(c.after.Variables, values.Root, 0, is)
	for s, names := range map[*side]map[string][]string{c.before: was, c.after: is} {
		for name, all := range s.lets {
			for _, e := range all {
				names[name] = append(names[name], text(e))
			}
		}
	}
	c.before.shadowed, c.after.shadowed = len(was["context"]) > 0, len(is["context"]) > 0
	c.before.rootNames(was)
	c.after.rootNames(is)
	for name, sig := range was {
		c.changed[name] = !slices.Equal(sig, is[name])
	}
	for name, sig := range is {
		c.changed[name] = !slices.Equal(sig, was[name])
	}
	// What a let stands for, or a variable is by default, changes with what it refers to.
	for again := true; again; {
		again = false
		for name, names := range c.after.rests {
			if !c.changed[name] && c.touched(names) {
				c.changed[name], again = true, true
			}
		}
		for name, all := range c.after.lets {
			for _, e := range all {
				_, names := c.after.closure(e)
				if !c.changed[name] && c.touched(names) {
					c.changed[name], again = true, true
				}
			}
		}
	}
}

// rootNames adds that a name exists beside #Variables. Helpers count by their text, where
// they are referred to.
func (s *side) rootNames(names map[string][]string) {
	it, err := s.Root.Fields(cue.All())
	for err == nil && it.Next() {
		name := strings.TrimRight(it.Selector().String(), "?!")
		names[name] = append(names[name], "at the top")
	}
}

// signatures collects for each name where it stands, whether it may be left out, and what
// it is then.
func (s *side) signatures(v cue.Value, path string, depth int, out map[string][]string) {
	if depth > maxDepth {
		return
	}
	s.declarations(v, path, out)
	it, err := v.Fields(cue.All())
	if err != nil {
		return
	}
	for it.Next() {
		sel, field := it.Selector(), it.Value()
		name := strings.TrimRight(sel.String(), "?!")
		if sel.IsString() {
			name = sel.Unquoted()
		}
		if sel.IsDefinition() || sel.PkgPath() != "" || strings.HasPrefix(name, "_") {
			e := written(field)
			s.nest(name, e)
			out[name] = append(out[name], path+": "+text(e))
			continue
		}
		sig := path + " " + presenceOf(sel, field).String() + " " + jsonText(defaultOf(field))
		if sel.ConstraintType() == 0 {
			sig += s.rest(name, s.given(written(field), 0), written(field))
		}
		out[name] = append(out[name], sig)
		if kind(field)&(cue.StructKind|cue.ListKind) == 0 {
			continue
		}
		out[name+entirely] = append(out[name+entirely], path+": "+s.rest(name+entirely, nil, written(field)))
		if plain(field) {
			s.signatures(field, path+"."+name, depth+1, out)
		} else {
			s.spelled(written(field), path+"."+name, out)
		}
	}
}

// declarations is signatures for what in v is no variable.
func (s *side) declarations(v cue.Value, path string, out map[string][]string) {
	for _, d := range structDecls(s, written(v), nil) {
		switch d := d.(type) {
		case *ast.LetClause:
			s.let(d)
		case *ast.Field:
			if _, isPattern := d.Label.(*ast.ListLit); isPattern {
				s.spelled(d.Value, path, out)
			}
		}
		if r, ok := s.rule(d); ok && r.grants {
			s.conditional = true
		}
	}
}

// rest is the text of what name is when it is left out, given or all that is written of it,
// with what that rests on. What it refers to is kept, since name changes with it.
func (s *side) rest(name string, given, whole ast.Expr) string {
	if given == nil {
		given = whole
	}
	full, names := s.closure(given)
	s.rests[name] = append(s.rests[name], names...)
	return full
}

// nest keeps a definition or hidden field within #Variables.
func (s *side) nest(name string, e ast.Expr) {
	if full := text(e); !slices.ContainsFunc(s.nested[name], func(o ast.Expr) bool { return text(o) == full }) {
		s.nested[name] = append(s.nested[name], e)
	}
}

func (s *side) let(l *ast.LetClause) {
	s.lets[l.Ident.Name] = append(s.lets[l.Ident.Name], l.Expr)
}

// spelled collects signatures within e, the entries of a list or a map or alternatives,
// which the engine does not list: whether a name must be set, and what it is otherwise, as
// that is written.
func (s *side) spelled(e ast.Expr, path string, out map[string][]string) {
	visit := func(n ast.Node) bool {
		switch n := n.(type) {
		case *ast.LetClause:
			s.let(n)
		case *ast.Field:
			name, _, err := ast.LabelName(n.Label)
			if err != nil || n.Constraint != token.ILLEGAL {
				out[name] = append(out[name], path+" "+n.Constraint.String())
				return true
			}
			_, isStruct := n.Value.(*ast.StructLit)
			if d := marked(n.Value); d != nil || !isStruct {
				out[name] = append(out[name], path+" "+s.rest(name, d, n.Value))
			}
			out[name+entirely] = append(out[name+entirely], path+": "+s.rest(name+entirely, nil, n.Value))
			if strings.HasPrefix(name, "#") || strings.HasPrefix(name, "_") {
				s.nest(name, n.Value)
			}
		}
		return true
	}
	if e == nil {
		return
	}
	ast.Walk(e, visit, nil)
	_, names := s.closure(e)
	for _, name := range names {
		if h, ok := s.helper(name); ok {
			ast.Walk(h, visit, nil)
		}
	}
}
