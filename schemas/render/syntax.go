package render

import (
	"strings"

	"cuelang.org/go/cue/ast"
	"cuelang.org/go/cue/token"

	"tidegate.io/tidegate/schemas/render/internal/values"
)

// syntax is n as CUE. An ast must not be shared, so every use makes its own.
func syntax(n *values.Node) ast.Expr {
	switch n.Kind {
	case values.Null:
		return ast.NewNull()
	case values.Bool:
		return ast.NewBool(n.Bool)
	case values.String:
		return ast.NewString(n.Text)
	case values.Number:
		return number(n.Text)
	case values.List:
		l := &ast.ListLit{}
		for _, item := range n.Items {
			l.Elts = append(l.Elts, syntax(item))
		}
		return l
	default:
		s := &ast.StructLit{}
		for _, f := range n.Fields {
			s.Elts = append(s.Elts, &ast.Field{Label: ast.NewString(f.Name), Value: syntax(f.Value)})
		}
		return s
	}
}

func number(text string) ast.Expr {
	digits := strings.TrimPrefix(text, "-")
	kind := token.INT
	if strings.Contains(digits, ".") {
		kind = token.FLOAT
	}
	var x ast.Expr = ast.NewLit(kind, digits)
	if digits != text {
		x = &ast.UnaryExpr{Op: token.SUB, X: x}
	}
	return x
}
