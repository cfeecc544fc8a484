package compat

import (
	"encoding/json"
	"math/big"
	"strconv"
	"strings"

	"cuelang.org/go/cue"
	"cuelang.org/go/cue/ast"
	"cuelang.org/go/cue/token"

	"tidegate.io/tidegate/schemas/render/internal/arms"
)

// reader reads arms off syntax.
type reader struct {
	side  *side
	depth int
}

func (r reader) rule(e ast.Node, kinds cue.Kind) []arm {
	a := ofKind(kinds)
	whole, names := r.side.closure(e)
	a.rules, a.names = []string{whole}, names
	return []arm{a}
}

func (r reader) read(e ast.Expr) []arm {
	return arms.Reader[arm]{Leaf: r.leaf, Both: r.both, Prefer: func(a *arm) { a.preferred = true }}.Of(e)
}

// leaf reads what is neither a choice nor a conjunction.
func (r reader) leaf(e ast.Expr) []arm {
	switch e := e.(type) {
	case *ast.UnaryExpr:
		return r.unary(e)
	case *ast.BasicLit:
		if x, ok := basic(e); ok {
			return []arm{exactly(x)}
		}
	case *ast.BottomLit:
		return nil
	case *ast.Ident:
		return r.ident(e)
	case *ast.ListLit:
		return r.list(e)
	case *ast.StructLit:
		return r.structure(e)
	case *ast.CallExpr:
		return r.call(e)
	case *ast.Interpolation:
		return r.rule(e, cue.StringKind)
	case *ast.SelectorExpr:
		return r.selector(e)
	case nil:
		return []arm{anything()}
	}
	return r.rule(e, universe)
}

func (r reader) selector(e *ast.SelectorExpr) []arm {
	switch text(e) {
	case "time.Duration":
		return r.rule(e, cue.StringKind)
	case "list.UniqueItems":
		return r.call(&ast.CallExpr{Fun: e})
	}
	return r.rule(e, universe)
}

func (r reader) both(xs, ys []arm) []arm {
	if len(xs)*len(ys) > maxArms {
		a := anything()
		a.rules = []string{"more alternatives than are compared"}
		return []arm{a}
	}
	var out []arm
	for _, x := range xs {
		for _, y := range ys {
			if a := x.and(y); a.kinds != 0 {
				out = append(out, a)
			}
		}
	}
	return out
}

func (r reader) unary(e *ast.UnaryExpr) []arm {
	if e.Op == token.SUB || e.Op == token.ADD {
		if x, ok := constant(e); ok {
			return []arm{exactly(x)}
		}
		return r.rule(e, cue.IntKind|cue.FloatKind)
	}
	x, ok := r.operand(e.X)
	if !ok {
		return r.rule(e, universe)
	}
	if a, ok := comparison(e.Op, x); ok {
		return []arm{a}
	}
	return r.rule(e, universe)
}

func comparison(op token.Token, x any) (arm, bool) {
	a := anything()
	switch x := x.(type) {
	case string:
		a.kinds = cue.StringKind
		switch op {
		case token.MAT:
			a.patterns = []string{x}
		case token.NMAT:
			a.anti = []string{x}
		case token.NEQ:
			a.not = []any{x}
		default:
			return a, false
		}
		return a, true
	case json.Number:
		a.kinds = cue.IntKind | cue.FloatKind
		at, ok := rat(x)
		if !ok {
			return a, false
		}
		switch op {
		case token.GEQ, token.GTR:
			a.lo = &bound{at, op == token.GTR}
		case token.LEQ, token.LSS:
			a.hi = &bound{at, op == token.LSS}
		case token.NEQ:
			a.not = []any{x}
		default:
			return a, false
		}
		return a, true
	}
	return a, false
}

func (r reader) ident(e *ast.Ident) []arm {
	if a, ok := predeclaredArm(e.Name); ok {
		return []arm{a}
	}
	if len(r.side.nested[e.Name]) == 0 && r.depth <= maxDepth {
		if h, ok := r.side.helper(e.Name); ok {
			return reader{r.side, r.depth + 1}.read(h)
		}
	}
	return r.rule(e, universe)
}

func predeclaredArm(name string) (arm, bool) {
	switch name {
	case "_":
		return anything(), true
	case "bool":
		return ofKind(cue.BoolKind), true
	case "string":
		return ofKind(cue.StringKind), true
	case "bytes":
		return ofKind(0), true
	case "number":
		return ofKind(cue.IntKind | cue.FloatKind), true
	case "float":
		return ofKind(cue.FloatKind), true
	case "int":
		return ofKind(cue.IntKind), true
	case "rune":
		return integers("0", "1114111"), true
	case "uint":
		return integers("0", ""), true
	}
	sign, bits, found := strings.Cut(name, "int")
	n, err := strconv.ParseUint(bits, 10, 8)
	if !found || err != nil || sign != "" && sign != "u" {
		return arm{}, false
	}
	one := big.NewInt(1)
	if sign == "u" {
		top := new(big.Int).Sub(new(big.Int).Lsh(one, uint(n)), one)
		return integers("0", top.String()), true
	}
	half := new(big.Int).Lsh(one, uint(n-1))
	return integers(new(big.Int).Neg(half).String(), new(big.Int).Sub(half, one).String()), true
}

// integers are those from lo to hi; "" for no end.
func integers(lo, hi string) arm {
	a := ofKind(cue.IntKind)
	if r, ok := rat(json.Number(lo)); ok {
		a.lo = &bound{at: r}
	}
	if r, ok := rat(json.Number(hi)); ok {
		a.hi = &bound{at: r}
	}
	return a
}

func (r reader) list(e *ast.ListLit) []arm {
	if x, ok := constant(e); ok {
		return []arm{exactly(x)}
	}
	if len(e.Elts) == 1 {
		if dots, ok := e.Elts[0].(*ast.Ellipsis); ok {
			a := ofKind(cue.ListKind)
			if dots.Type != nil && text(dots.Type) != "_" {
				a.entry, a.names = r.side.closure(dots.Type)
			}
			return []arm{a}
		}
	}
	return r.rule(e, cue.ListKind)
}

func (r reader) structure(e *ast.StructLit) []arm {
	all := []arm{anything()}
	for _, d := range e.Elts {
		embedded, ok := d.(*ast.EmbedDecl)
		if !ok || len(e.Elts) == 0 {
			return r.rule(e, cue.StructKind)
		}
		all = r.both(all, r.read(embedded.Expr))
	}
	if len(e.Elts) == 0 {
		return r.rule(e, cue.StructKind)
	}
	return all
}

func (r reader) call(e *ast.CallExpr) []arm {
	name := text(e.Fun)
	if name == "error" {
		// The author's words for what no other alternative takes.
		return nil
	}
	a, size := anything(), unset
	if len(e.Args) == 1 {
		if x, ok := r.operand(e.Args[0]); ok {
			if n, ok := x.(json.Number); ok {
				if i, err := strconv.Atoi(n.String()); err == nil && i >= 0 {
					size = i
				}
			}
		}
	}
	switch name {
	case "time.Duration":
		return r.rule(ast.NewSel(ast.NewIdent("time"), "Duration"), cue.StringKind)
	case "strings.MinRunes":
		a.kinds, a.minRunes = cue.StringKind, size
	case "strings.MaxRunes":
		a.kinds, a.maxRunes = cue.StringKind, size
	case "list.MinItems":
		a.kinds, a.minItems = cue.ListKind, size
	case "list.MaxItems":
		a.kinds, a.maxItems = cue.ListKind, size
	case "list.UniqueItems":
		a.kinds, a.unique = cue.ListKind, true
		return []arm{a}
	default:
		return r.rule(e, kindOfCall(name))
	}
	if size == unset {
		return r.rule(e, a.kinds)
	}
	return []arm{a}
}

// kindOfCall is what a validator of the library accepts at most. The new side is read for
// narrower than it says, by its rule, and the old side for wider.
func kindOfCall(name string) cue.Kind {
	switch {
	case strings.HasPrefix(name, "list."):
		return cue.ListKind
	case strings.HasPrefix(name, "struct."), name == "close":
		return cue.StructKind
	}
	return universe
}
