package render

import (
	"slices"
	"strings"

	"cuelang.org/go/cue"
	"cuelang.org/go/cue/ast"
	"cuelang.org/go/cue/errors"
	"cuelang.org/go/cue/format"
	"cuelang.org/go/cue/parser"
	"cuelang.org/go/cue/token"

	"tidegate.io/tidegate/schemas/render/internal/shape"
	"tidegate.io/tidegate/schemas/render/internal/values"
)

// A rule between variables is nobody's value: it stands in a hidden field, a condition, a
// function. The engine tells what it computed of the values; people want to read the rule as it
// is written, and the values that it is about.

// rule is a part of the template that values do not meet.
type rule struct {
	text string
	// label is the name of the field that it is written for, empty where it has none.
	label string
	// names are what it refers to, such as limits.cpu, by their steps.
	names [][]string
}

// sources are the files of the template, parsed to be looked through: the syntax that the
// engine has may not be shared.
type sources struct {
	text   map[string]string
	parsed map[string]*ast.File
}

func (s *sources) file(name string) *ast.File {
	if f, ok := s.parsed[name]; ok {
		return f
	}
	var f *ast.File
	if text, ok := s.text[name]; ok {
		f, _ = parser.ParseFile(name, text) // it compiled
	}
	if s.parsed == nil {
		s.parsed = map[string]*ast.File{}
	}
	s.parsed[name] = f
	return f
}

// around returns the nodes that p lies in, the outermost first.
func (s *sources) around(p token.Pos) []ast.Node {
	f := s.file(p.Filename())
	if f == nil || !p.IsValid() {
		return nil
	}
	var out []ast.Node
	ast.Walk(f, func(n ast.Node) bool {
		within := n.Pos().IsValid() && n.Pos().Offset() <= p.Offset() && p.Offset() < n.End().Offset()
		if _, file := n.(*ast.File); within && !file {
			out = append(out, n)
		}
		return within || n == ast.Node(f)
	}, nil)
	return out
}

// rule is the rule that c is about: of the parts of the template that it comes from, the one
// that is written for the field that fails, and that refers to something.
func (s *sources) rule(c errors.Error, within scopes) (best rule, ok bool) {
	most := 0
	path := c.Path()
	for _, p := range errors.Positions(c) {
		r := s.at(p)
		score := 0
		if slices.ContainsFunc(r.names, within.knows) {
			score++
		}
		if score > 0 && len(path) > 0 && r.label == path[len(path)-1] {
			score++
		}
		if score > most {
			best, most = r, score
		}
	}
	return best, most > 0
}

// at is the declaration at p, with the conditions that it stands under.
func (s *sources) at(p token.Pos) rule {
	nodes := s.around(p)
	i := len(nodes) - 1
	var value ast.Expr
	var label string
	for ; i >= 0 && value == nil; i-- {
		switch d := nodes[i].(type) {
		case *ast.Field:
			value = d.Value
			label, _, _ = ast.LabelName(d.Label) // a computed label has no name
		case *ast.EmbedDecl:
			value = d.Expr
		}
	}
	if _, whole := value.(*ast.StructLit); whole || value == nil {
		return rule{}
	}
	out := rule{text: inline(value), label: label, names: mentioned(value)}
	if i < 0 {
		return out
	}
	var conditions []string
	for ; i > 0; i -= 2 {
		c, ok := nodes[i-1].(*ast.Comprehension)
		if _, body := nodes[i].(*ast.StructLit); !ok || !body {
			break
		}
		var clauses []string
		for _, clause := range c.Clauses {
			clauses = append(clauses, condition(clause))
			out.names = append(out.names, mentioned(clause)...)
		}
		conditions = append(clauses, conditions...)
	}
	if len(conditions) > 0 {
		if label != "" {
			out.text = label + ": " + out.text
		}
		out.text = strings.Join(conditions, " ") + " {" + out.text + "}"
	}
	return out
}

// condition is a clause as it is written.
func condition(c ast.Clause) string {
	switch c := c.(type) {
	case *ast.IfClause:
		return "if " + inline(c.Condition)
	case *ast.ForClause:
		names := c.Value.Name
		if c.Key != nil {
			names = c.Key.Name + ", " + names
		}
		return "for " + names + " in " + inline(c.Source)
	case *ast.LetClause:
		return "let " + c.Ident.Name + " = " + inline(c.Expr)
	}
	return "..."
}

// inline is x as it is written, in one line.
func inline(x ast.Expr) string {
	ast.Walk(x, func(n ast.Node) bool {
		ast.SetComments(n, nil)
		return true
	}, nil)
	text, err := format.Node(x)
	if err != nil {
		return "what the template allows"
	}
	line := []rune(strings.Join(strings.Fields(string(text)), " "))
	if len(line) > maxFound {
		return string(line[:maxFound]) + "..."
	}
	return string(line)
}

// mentioned is what n refers to, each once.
func mentioned(n ast.Node) [][]string {
	var out [][]string
	ast.Walk(n, func(n ast.Node) bool {
		name := dotted(n)
		if name != nil && !slices.ContainsFunc(out, func(o []string) bool { return slices.Equal(o, name) }) {
			out = append(out, name)
		}
		if f, ok := n.(*ast.Field); ok {
			out = append(out, mentioned(f.Value)...)
			return false
		}
		return name == nil
	}, nil)
	return out
}

// dotted is the name and the selectors that n is, such as limits.cpu, nil where it is another
// expression.
func dotted(n ast.Node) []string {
	switch n := n.(type) {
	case *ast.Ident:
		return []string{n.Name}
	case *ast.SelectorExpr:
		name, _, err := ast.LabelName(n.Sel)
		if x := dotted(n.X); x != nil && err == nil {
			return append(x, name)
		}
	}
	return nil
}

// scope is one object of the values, with what the template makes of it.
type scope struct {
	given *values.Node
	made  cue.Value
}

// scopes are the objects that something stands in, the outermost first.
type scopes []scope

// at leads along the engine's path, which begins at the definition.
func (s scopes) at(selectors []string) scopes {
	here := s[0]
	out := s[:1:1]
	for _, sel := range selectors {
		if sel == variablesPath.String() {
			continue
		}
		step, ok := stepOf(here.given, sel)
		if !ok {
			break
		}
		if step.Item {
			here = scope{here.given.Items[step.Index], here.made.LookupPath(cue.MakePath(cue.Index(step.Index)))}
		} else {
			here = scope{here.given.Field(step.Name), entry(here.made, step.Name)}
		}
		if here.given.Kind == values.Object {
			out = append(out, here)
		}
	}
	return out
}

// given is what the values have by that name, nil where they have nothing.
func (s scopes) given(name []string) *values.Node {
	for _, scope := range slices.Backward(s) {
		n := scope.given.Field(name[0])
		for _, step := range name[1:] {
			if n == nil || n.Kind != values.Object {
				break
			}
			n = n.Field(step)
		}
		if n != nil {
			return n
		}
	}
	return nil
}

// knows says whether the name is one of a variable, or of what is computed of variables.
func (s scopes) knows(name []string) bool {
	return notValue(name[0]) || s.given(name) != nil || s.computed(name[0], false) != nil
}

// computed is what the template makes of the name that nothing was given for, nil where that is
// nothing yet.
//
// It is hidden where it may be made of what is hidden.
func (s scopes) computed(name string, hiding bool) *values.Node {
	for _, scope := range slices.Backward(s) {
		v := entry(scope.made, name)
		made := hiding && v.Exists() && shape.DependentAnywhere(v)
		if d, ok := v.Default(); ok {
			v = d
		}
		if text, err := v.MarshalJSON(); v.Exists() && err == nil {
			if n, mistakes := values.Parse([]byte(`{"x":` + string(text) + `}`)); len(mistakes) == 0 {
				n.Fields[0].Value.Hidden = made
				return n.Fields[0].Value
			}
		}
	}
	return nil
}

// broken is the message about the rule that c is about: what its author says, or the rule and
// what it is about. It is empty where c is not about a rule that the template has.
func (e *explainer) broken(c errors.Error, s scopes) (message, own string, r rule) {
	r, ok := e.sources.rule(c, s)
	if text := e.authored(c, s); text != "" {
		return text, "", r
	}
	if !ok {
		return "", "", r
	}
	own = "wanted the template's rule to hold: " + r.text
	var found []string
	for _, name := range r.names {
		n, as := s.given(name), strings.Join(name, ".")
		if n == nil && len(name) == 1 {
			n = s.computed(name[0], e.hiding)
		}
		switch {
		case n == nil:
		case n.Hidden:
			found = append(found, as+" "+masked)
		default:
			found = append(found, as+" "+n.Describe())
		}
	}
	slices.Sort(found)
	if found = slices.Compact(found); len(found) == 0 {
		return own + ", found values that do not meet it", own, r
	}
	return own + ", found " + strings.Join(found, " and "), own, r
}
