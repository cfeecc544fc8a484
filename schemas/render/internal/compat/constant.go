package compat

import (
	"encoding/json"
	"math/big"
	"strings"

	"cuelang.org/go/cue/ast"
	"cuelang.org/go/cue/literal"
	"cuelang.org/go/cue/token"
)

// operand is the constant that e stands for, by way of helpers if need be.
func (r reader) operand(e ast.Expr) (any, bool) {
	if x, ok := constant(e); ok {
		return x, true
	}
	if h, ok := r.resolve(e); ok {
		return constant(h)
	}
	return nil, false
}

// resolve is the syntax that e, a helper or a field of one, stands for.
func (r reader) resolve(e ast.Expr) (ast.Expr, bool) {
	if r.depth > maxDepth {
		return nil, false
	}
	deeper := reader{r.side, r.depth + 1}
	switch x := e.(type) {
	case *ast.Ident:
		if h, ok := r.side.outside(x); ok {
			return deeper.resolve(h)
		}
		return e, predeclared[x.Name]
	case *ast.ParenExpr:
		return deeper.resolve(x.X)
	case *ast.SelectorExpr:
		h, ok := deeper.resolve(x.X)
		name, _, err := ast.LabelName(x.Sel)
		if !ok || err != nil {
			return nil, false
		}
		if found := member(h, name); found != nil {
			return deeper.resolve(found)
		}
		return nil, false
	}
	return e, true
}

// member is the one field of e, a struct that is written out, with the name; nil where there
// is none, or it may be spread.
func member(e ast.Expr, name string) ast.Expr {
	s, ok := e.(*ast.StructLit)
	if !ok {
		return nil
	}
	var found ast.Expr
	for _, d := range s.Elts {
		f, isField := d.(*ast.Field)
		if !isField || found != nil && labelled(f, name) {
			return nil
		}
		if labelled(f, name) {
			found = f.Value
		}
	}
	return found
}

func labelled(f *ast.Field, name string) bool {
	label, _, err := ast.LabelName(f.Label)
	return err == nil && label == name
}

func rat(n json.Number) (*big.Rat, bool) {
	if strings.ContainsAny(n.String(), "eE") {
		return nil, false
	}
	return new(big.Rat).SetString(n.String())
}

// constant is the JSON value that e spells out.
func constant(e ast.Expr) (any, bool) {
	switch e := e.(type) {
	case *ast.ParenExpr:
		return constant(e.X)
	case *ast.BasicLit:
		return basic(e)
	case *ast.UnaryExpr:
		x, ok := constant(e.X)
		n, isNumber := x.(json.Number)
		switch {
		case !ok || !isNumber:
			return nil, false
		case e.Op == token.ADD:
			return n, true
		case e.Op == token.SUB && strings.HasPrefix(n.String(), "-"):
			return n[1:], true
		case e.Op == token.SUB:
			return "-" + n, true
		}
	case *ast.ListLit:
		out := []any{}
		for _, x := range e.Elts {
			v, ok := constant(x)
			if !ok {
				return nil, false
			}
			out = append(out, v)
		}
		return out, true
	}
	return nil, false
}

func basic(e *ast.BasicLit) (any, bool) {
	switch e.Kind {
	case token.NULL:
		return nil, true
	case token.TRUE:
		return true, true
	case token.FALSE:
		return false, true
	case token.STRING:
		s, err := literal.Unquote(e.Value)
		return s, err == nil && !strings.HasPrefix(strings.TrimLeft(e.Value, "#"), "'")
	case token.INT, token.FLOAT:
		var info literal.NumInfo
		if literal.ParseNum(e.Value, &info) != nil {
			return nil, false
		}
		n := json.Number(info.String())
		if _, ok := rat(n); !ok {
			return nil, false
		}
		if !info.IsInt() && !strings.Contains(n.String(), ".") {
			n += ".0"
		}
		return n, true
	}
	return nil, false
}
