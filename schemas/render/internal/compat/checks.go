package compat

import (
	"slices"
	"strings"

	"cuelang.org/go/cue"
	"cuelang.org/go/cue/ast"
	"cuelang.org/go/cue/token"
)

// A template may bound values beside #Variables, in what it makes of them. Most of what it
// makes is no bound, and is edited at every publish; so only what is written to refuse values
// is looked at: two scalars that must be one, a bound on a variable, an error under a
// condition. Whether objects can be made all the same, rendering tells.

// check is something beside #Variables that values may fail at.
type check struct {
	// text is the check with all that it rests on; short is the check alone.
	text, short string
	names       []string
}

// checked compares what is checked of the values beside #Variables.
func (c *comparer) checked(top place) {
	before := c.before.checks()
	for _, k := range c.after.checks() {
		switch {
		case !slices.ContainsFunc(before, func(o check) bool { return o.text == k.text }):
			c.report(top, Unknown, "a check of the values beside #Variables is new or other: "+clipped(k.short), "it is not compared; write it into #Variables, where it is, or render the Releases")
		case c.touched(k.names):
			c.report(top, Unknown, "a check of the values beside #Variables may mean something else now: "+clipped(k.short), "it refers to variables whose defaults or presence changed; only rendering the Releases tells")
		}
	}
	was, is := c.before.facts(), c.after.facts()
	for name, a := range is {
		// The engine has tried that each is a text.
		if a.text != was[name].text && !slices.ContainsFunc(a.arms, func(x arm) bool { return x.kinds&cue.StringKind != 0 && c.implies(ofKind(cue.StringKind), x) }) {
			c.report(top, Unknown, "what the fact "+name+" of a Release may be changed", "a Release for which it is another one is refused; only rendering the Releases tells")
		}
	}
}

// fact is what one of the facts of a Release may be.
type fact struct {
	text string
	arms []arm
}

// facts are those of #Context, by name, and what else context must be, as "".
func (s *side) facts() map[string]fact {
	out := map[string]fact{}
	if h, ok := s.helper("#Context"); ok {
		for _, d := range structDecls(s, h, nil) {
			full, _ := s.closure(d)
			f, ok := d.(*ast.Field)
			name := full
			if ok {
				if label, _, err := ast.LabelName(f.Label); err == nil {
					name = label
				}
				out[name] = fact{full, reader{side: s}.read(f.Value)}
			} else if _, dots := d.(*ast.Ellipsis); !dots {
				out[name] = fact{text: full}
			}
		}
	}
	_, all := s.topFields()
	if e := all["context"]; e != nil && text(e) != "#Context" {
		full, _ := s.closure(e)
		out["context"] = fact{text: full}
	}
	return out
}

// topFields are the fields beside #Variables by name. What is written more than once is joined.
func (s *side) topFields() (names []string, all map[string]ast.Expr) {
	all = map[string]ast.Expr{}
	for _, f := range s.Files {
		for _, d := range f.Decls {
			name, value := "", ast.Expr(nil)
			switch d := d.(type) {
			case *ast.Field:
				label, _, err := ast.LabelName(d.Label)
				if err != nil {
					continue
				}
				name, value = label, d.Value
			case *ast.LetClause:
				name, value = d.Ident.Name, d.Expr
			default:
				continue
			}
			if was, ok := all[name]; ok {
				all[name] = &ast.BinaryExpr{Op: token.AND, X: was, Y: value}
				continue
			}
			names = append(names, name)
			all[name] = value
		}
	}
	return names, all
}

// checks are all that s checks of the values beside #Variables.
func (s *side) checks() []check {
	names, all := s.topFields()
	w := &checker{side: s, lets: map[string]ast.Expr{}}
	for _, f := range s.Files {
		ast.Walk(f, func(n ast.Node) bool {
			if l, ok := n.(*ast.LetClause); ok {
				w.lets[l.Ident.Name] = l.Expr
			}
			return true
		}, nil)
	}
	for _, name := range names {
		switch name {
		case "#Variables", "#Context", "values", "context", "tests":
		default:
			w.visit(all[name], nil)
		}
	}
	return w.found
}

// checker looks for checks.
type checker struct {
	side *side
	// lets are what every let of the template stands for.
	lets  map[string]ast.Expr
	found []check
}

// visit looks for checks in n, which is there under the conditions and loops of under.
func (w *checker) visit(n ast.Node, under []ast.Node) {
	ast.Walk(n, func(x ast.Node) bool {
		switch x := x.(type) {
		case *ast.Comprehension:
			deeper := slices.Clone(under)
			for _, clause := range x.Clauses {
				deeper = append(deeper, clause)
			}
			w.visit(x.Value, deeper)
			return false
		case *ast.BottomLit:
			w.add(x, under)
		case *ast.CallExpr:
			if text(x.Fun) == "error" {
				w.add(x, under)
			}
		case *ast.BinaryExpr:
			if x.Op != token.AND {
				return true
			}
			operands := conjuncts(x)
			if w.bounds(operands) {
				w.add(x, under)
			}
			for _, o := range operands {
				w.visit(o, under)
			}
			return false
		}
		return true
	}, nil)
}

// conjuncts are what e, a conjunction, is made of.
func conjuncts(e ast.Expr) []ast.Expr {
	switch x := e.(type) {
	case *ast.ParenExpr:
		return conjuncts(x.X)
	case *ast.BinaryExpr:
		if x.Op == token.AND {
			return append(conjuncts(x.X), conjuncts(x.Y)...)
		}
	}
	return []ast.Expr{e}
}

// bounds says whether operands, which must all hold, are more than structs put together.
func (w *checker) bounds(operands []ast.Expr) bool {
	return slices.ContainsFunc(operands, func(o ast.Expr) bool { return w.direct(o, 0) || !w.structish(o, 0) })
}

// direct says whether e is a variable itself, such as values.a.
func (w *checker) direct(e ast.Expr, depth int) bool {
	switch e := e.(type) {
	case *ast.SelectorExpr:
		return w.direct(e.X, depth)
	case *ast.IndexExpr:
		return w.direct(e.X, depth)
	case *ast.Ident:
		if l, ok := w.lets[e.Name]; ok && depth < maxDepth {
			return w.direct(l, depth+1)
		}
		if h, ok := w.side.helper(e.Name); ok && depth < maxDepth {
			return w.direct(h, depth+1)
		}
		return e.Name == "values"
	}
	return false
}

// structish says whether e is a struct, or may be for all that is known of it.
func (w *checker) structish(e ast.Expr, depth int) bool {
	if depth > maxDepth {
		return true
	}
	switch e := e.(type) {
	case *ast.StructLit, *ast.SelectorExpr, *ast.IndexExpr:
		return true
	case *ast.ParenExpr:
		return w.structish(e.X, depth+1)
	case *ast.CallExpr:
		return text(e.Fun) == "close"
	case *ast.BinaryExpr:
		return (e.Op == token.AND || e.Op == token.OR) && (w.structish(e.X, depth+1) || w.structish(e.Y, depth+1))
	case *ast.Ident:
		if h, ok := w.side.helper(e.Name); ok {
			return w.structish(h, depth+1)
		}
		return !predeclared[e.Name]
	}
	return false
}

// add keeps n if it is about values.
func (w *checker) add(n ast.Node, under []ast.Node) {
	k := check{short: text(n)}
	nodes := append(slices.Clone(under), n)
	seen := map[string]bool{}
	for i := 0; i < len(nodes); i++ {
		full, names := w.side.closure(nodes[i])
		k.text += full + "\n"
		k.names = append(k.names, names...)
		for _, name := range names {
			if l, ok := w.lets[name]; ok && !seen[name] {
				seen[name] = true
				nodes = append(nodes, l)
			}
		}
	}
	about := func(name string) bool { return strings.TrimSuffix(name, entirely) == "values" || name == "#Variables" }
	if slices.ContainsFunc(k.names, about) {
		w.found = append(w.found, k)
	}
}
