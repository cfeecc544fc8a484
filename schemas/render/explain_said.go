package render

import (
	"cuelang.org/go/cue"
	"cuelang.org/go/cue/ast"
	"cuelang.org/go/cue/errors"
	"cuelang.org/go/cue/parser"

	"tidegate.io/tidegate/schemas/render/internal/values"
)

// masked stands for a sensitive value in what an author says of it.
const masked = "(sensitive)"

// saying is the name of the field by which an author's words are computed.
const saying = "tidegate_said"

// authored is what the author says with the error() that c comes from, made of the values as
// they are given: where the engine says it, a variable may not be known yet. It is empty where
// that cannot be told.
func (e *explainer) authored(c errors.Error, s scopes) string {
	p := c.Position()
	for _, n := range e.sources.around(p) {
		call, ok := n.(*ast.CallExpr)
		if !ok || call.Pos() != p && call.Pos().Offset() != p.Offset() || len(call.Args) != 1 {
			continue
		}
		if name, ok := call.Fun.(*ast.Ident); ok && name.Name == "error" {
			arg := call.Args[0]
			return e.evaluate(e.sources.text[p.Filename()][arg.Pos().Offset():arg.End().Offset()], s)
		}
	}
	return ""
}

// evaluate is the text that an expression of the template is among the values.
func (e *explainer) evaluate(source string, s scopes) string {
	x, err := parser.ParseExpr("", source)
	if err != nil {
		return ""
	}
	env := environment{explainer: e, scopes: s, bound: map[string]ast.Expr{}}
	if text, ok := x.(*ast.Interpolation); ok {
		for i, part := range text.Elts {
			if i%2 == 1 && env.secret(part) { // text and expressions take turns
				text.Elts[i] = ast.NewString(masked)
			}
		}
	}
	if env.secret(x) {
		return ""
	}
	whole := &ast.StructLit{Elts: []ast.Decl{&ast.Field{Label: ast.NewIdent(saying), Value: x}}}
	for name, value := range env.bound {
		whole.Elts = append(whole.Elts, &ast.Field{Label: ast.NewIdent(name), Value: value})
	}
	said, err := e.ctx.BuildExpr(whole, cue.InferBuiltins(true)).LookupPath(cue.ParsePath(saying)).String()
	if err != nil {
		return ""
	}
	return said
}

// environment is what the names in an expression stand for.
type environment struct {
	*explainer
	scopes scopes
	bound  map[string]ast.Expr
}

// secret says whether x refers to something sensitive, and binds what it refers to.
func (env *environment) secret(x ast.Expr) bool {
	found := false
	for _, name := range mentioned(x) {
		n := env.scopes.given(name)
		switch {
		case n != nil && n.AnyHidden():
			found = true
			continue
		case name[0] == factsPath.String() && n == nil:
			env.bound[name[0]] = env.facts()
			continue
		}
		if n = env.scopes.given(name[:1]); n == nil {
			n = env.scopes.computed(name[0], env.hiding)
			found = found || n != nil && n.Hidden
		}
		if n != nil {
			env.bound[name[0]] = syntax(env.shown(n))
		}
	}
	return found
}

// shown is n without what is hidden in it.
func (env *environment) shown(n *values.Node) *values.Node {
	if n.Hidden {
		return &values.Node{Kind: values.String, Text: masked}
	}
	out := *n
	out.Items, out.Fields = nil, nil
	for _, item := range n.Items {
		out.Items = append(out.Items, env.shown(item))
	}
	for _, f := range n.Fields {
		if !f.Hidden {
			out.Fields = append(out.Fields, values.Field{Name: f.Name, Value: env.shown(f.Value)})
		}
	}
	return &out
}
