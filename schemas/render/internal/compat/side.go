package compat

import (
	"regexp"
	"slices"
	"strings"

	"cuelang.org/go/cue"
	"cuelang.org/go/cue/ast"
	"cuelang.org/go/cue/format"

	"tidegate.io/tidegate/schemas/render/internal/values"
)

// side is a template with what was read off it.
type side struct {
	Side
	// raw keeps the syntax of root-level helpers, by name.
	raw map[string]ast.Expr
	// nested are the definitions and hidden fields inside of #Variables, by name, each with
	// the syntax of all that have the name.
	nested map[string][]ast.Expr
	// lets are the texts of let clauses, by name.
	lets map[string][]string
	// wide is true for the old side, which may be taken for wider than it is, and never for
	// narrower; the new side the other way round.
	wide bool
	// conditional is true where a variable may be there or not by what others are.
	conditional bool
}

func newSide(s Side) *side {
	return &side{Side: s, raw: map[string]ast.Expr{}, nested: map[string][]ast.Expr{}, lets: map[string][]string{}}
}

// written is v as it was written, without comments and attributes. What v is made of more
// than once is joined by &.
func written(v cue.Value) ast.Expr {
	return expression(v.Syntax(cue.Raw(), cue.Attributes(false), cue.Docs(false)))
}

// evaluated is v with references resolved. It is what v accepts only if v refers to no
// other variable, since their defaults are filled in.
func evaluated(v cue.Value) ast.Expr {
	return expression(v.Eval().Syntax(cue.Optional(true), cue.Attributes(false), cue.Docs(false)))
}

// expression is n without its imports; a file of fields is a struct.
func expression(n ast.Node) ast.Expr {
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

var space = regexp.MustCompile(`\s+`)

// text is n on one line.
func text(n ast.Node) string {
	if d, ok := n.(*ast.Comprehension); ok {
		n = &ast.StructLit{Elts: []ast.Decl{d}}
	}
	b, err := format.Node(n, format.Simplify())
	if err != nil {
		return "?"
	}
	return strings.TrimSpace(space.ReplaceAllString(string(b), " "))
}

// predeclared are the names that mean the same everywhere.
var predeclared = map[string]bool{
	"bool": true, "bytes": true, "error": true, "false": true, "float": true, "float32": true, "float64": true,
	"int": true, "int8": true, "int16": true, "int32": true, "int64": true, "int128": true, "null": true,
	"number": true, "rune": true, "string": true, "true": true, "uint": true, "uint8": true, "uint16": true,
	"uint32": true, "uint64": true, "uint128": true, "_": true, "_|_": true,
	"and": true, "or": true, "len": true, "close": true, "div": true, "mod": true, "quo": true, "rem": true,
	"matchN": true, "matchIf": true, "self": true,
}

// libraries are the packages of CUE's own library, whose names mean the same everywhere.
var libraries = map[string]bool{
	"base64": true, "bits": true, "csv": true, "hex": true, "hmac": true, "html": true, "json": true, "list": true,
	"math": true, "md5": true, "net": true, "path": true, "regexp": true, "sha1": true, "sha256": true, "sha512": true,
	"strconv": true, "strings": true, "struct": true, "tabwriter": true, "template": true, "time": true, "uuid": true,
	"yaml": true, "kit": true,
}

// references returns the names that n refers to, in order, and those that it selects from
// what it refers to.
func references(n ast.Node) []string {
	var names []string
	var visit func(ast.Node) bool
	visit = func(n ast.Node) bool {
		switch n := n.(type) {
		case *ast.Field:
			// A label is a name, not a reference, unless it is computed.
			switch n.Label.(type) {
			case *ast.Ident, *ast.BasicLit:
			default:
				ast.Walk(n.Label, visit, nil)
			}
			ast.Walk(n.Value, visit, nil)
			return false
		case *ast.SelectorExpr:
			if id, ok := n.X.(*ast.Ident); ok && libraries[id.Name] {
				return false
			}
			if id, ok := n.Sel.(*ast.Ident); ok {
				names = append(names, id.Name)
			}
			ast.Walk(n.X, visit, nil)
			return false
		case *ast.Ident:
			if !predeclared[n.Name] {
				names = append(names, n.Name)
			}
		}
		return true
	}
	if n != nil {
		ast.Walk(n, visit, nil)
	}
	slices.Sort(names)
	return slices.Compact(names)
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
func (s *side) closure(n ast.Node) (whole string, names []string) {
	var b strings.Builder
	b.WriteString(text(n))
	names = references(n)
	for i := 0; i < len(names); i++ {
		e, ok := s.helper(names[i])
		more := s.nested[names[i]]
		if ok {
			more = append(slices.Clone(more), e)
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
	_, names := s.closure(n)
	return slices.ContainsFunc(names, func(name string) bool {
		return !strings.HasPrefix(name, "#") && !strings.HasPrefix(name, "_") || len(s.nested[name]) > 0 && strings.HasPrefix(name, "_")
	})
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
		for name, texts := range s.lets {
			names[name] = append(names[name], texts...)
		}
	}
	c.before.rootNames(was)
	c.after.rootNames(is)
	for name, sig := range was {
		c.changed[name] = !slices.Equal(sig, is[name])
	}
	for name, sig := range is {
		c.changed[name] = !slices.Equal(sig, was[name])
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
	for _, d := range structDecls(s, written(v), nil) {
		if l, ok := d.(*ast.LetClause); ok {
			s.lets[l.Ident.Name] = append(s.lets[l.Ident.Name], text(l.Expr))
		}
		if r, ok := s.rule(d); ok && r.grants {
			s.conditional = true
		}
	}
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
			s.nested[name] = append(s.nested[name], e)
			out[name] = append(out[name], path+": "+text(e))
			continue
		}
		sig := path + " " + presenceOf(sel, field).String() + " " + jsonText(defaultOf(field))
		out[name] = append(out[name], sig)
		if kind(field) == cue.StructKind {
			s.signatures(field, path+"."+name, depth+1, out)
		}
	}
}
