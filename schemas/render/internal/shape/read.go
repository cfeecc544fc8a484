package shape

import (
	"encoding/json"
	"math/big"
	"strconv"
	"strings"

	"cuelang.org/go/cue/ast"
	"cuelang.org/go/cue/format"
	"cuelang.org/go/cue/literal"
	"cuelang.org/go/cue/token"

	"tidegate.io/tidegate/schemas/render/internal/arms"
)

func expression(n ast.Node) ast.Expr { return arms.Expression(n) }

func read(e ast.Expr) []Arm {
	return arms.Reader[Arm]{Leaf: readLeaf, Both: product, Prefer: func(a *Arm) { a.preferred = true }}.Of(e)
}

// readLeaf reads what is neither a choice nor a conjunction.
func readLeaf(e ast.Expr) []Arm {
	switch e := e.(type) {
	case *ast.UnaryExpr:
		return readUnary(e)
	case *ast.BasicLit:
		return []Arm{readLiteral(e, "")}
	case *ast.Ident:
		return []Arm{readIdent(e.Name)}
	case *ast.ListLit:
		return []Arm{{Kind: List}}
	case *ast.StructLit:
		return []Arm{{Kind: Object}}
	case *ast.CallExpr:
		return []Arm{readCall(e)}
	}
	return []Arm{opaque(e)}
}

// product are the arms of the conjunction of two shapes.
func product(a, b []Arm) []Arm {
	var both []Arm
	for _, x := range a {
		for _, y := range b {
			both = append(both, x.and(y))
		}
	}
	return both
}

func opaque(e ast.Expr) Arm {
	if e == nil {
		return Arm{}
	}
	text, err := format.Node(e)
	if err != nil {
		return Arm{}
	}
	return Arm{Rules: []string{string(text)}}
}

func readUnary(e *ast.UnaryExpr) []Arm {
	if e.Op == token.SUB {
		if l, ok := e.X.(*ast.BasicLit); ok {
			return []Arm{readLiteral(l, "-")}
		}
		return []Arm{opaque(e)}
	}
	if a, ok := readComparison(e); ok {
		return []Arm{a}
	}
	return []Arm{opaque(e)}
}

// readComparison reads a constraint such as >=1 or =~"^a".
func readComparison(e *ast.UnaryExpr) (Arm, bool) {
	x, sign := e.X, ""
	if neg, ok := x.(*ast.UnaryExpr); ok && neg.Op == token.SUB {
		x, sign = neg.X, "-"
	}
	l, ok := x.(*ast.BasicLit)
	if !ok {
		return Arm{}, false
	}
	if l.Kind == token.STRING {
		s, err := literal.Unquote(l.Value)
		switch {
		case err != nil:
		case e.Op == token.MAT:
			return Arm{Kind: String, Patterns: []string{s}}, true
		case e.Op == token.NMAT:
			return Arm{Kind: String, AntiPatterns: []string{s}}, true
		case e.Op == token.NEQ:
			return Arm{Kind: String, Not: []string{jsonString(s)}}, true
		}
		return Arm{}, false
	}
	b := bound(sign+l.Value, e.Op == token.GTR || e.Op == token.LSS)
	switch {
	case b == nil:
	case e.Op == token.GTR, e.Op == token.GEQ:
		return Arm{Kind: Number, Min: b}, true
	case e.Op == token.LSS, e.Op == token.LEQ:
		return Arm{Kind: Number, Max: b}, true
	case e.Op == token.NEQ:
		return Arm{Kind: Number, Not: []string{b.Text}}, true
	}
	return Arm{}, false
}

func bound(text string, open bool) *Bound {
	sign := strings.HasPrefix(text, "-")
	var n literal.NumInfo
	if err := literal.ParseNum(strings.TrimPrefix(text, "-"), &n); err != nil {
		return nil
	}
	text = n.String()
	if sign {
		text = "-" + text
	}
	r, ok := new(big.Rat).SetString(text)
	if !ok {
		return nil
	}
	return &Bound{Value: r, Text: text, Open: open}
}

func readLiteral(l *ast.BasicLit, sign string) Arm {
	switch l.Kind {
	case token.INT, token.FLOAT:
		if b := bound(sign+l.Value, false); b != nil {
			kind := Number
			if l.Kind == token.INT {
				kind = Integer
			}
			return Arm{Kind: kind, Literal: b.Text}
		}
	case token.STRING:
		if s, err := literal.Unquote(l.Value); err == nil {
			return Arm{Kind: String, Literal: jsonString(s)}
		}
	case token.TRUE, token.FALSE:
		return Arm{Kind: Bool, Literal: l.Value}
	case token.NULL:
		return Arm{Kind: Null, Literal: "null"}
	}
	return opaque(l)
}

func jsonString(s string) string {
	b, err := json.Marshal(s)
	if err != nil {
		return strconv.Quote(s)
	}
	return string(b)
}

// idents are the predeclared types.
var idents = map[string]Arm{
	"_":       {},
	"null":    {Kind: Null, Literal: "null"},
	"true":    {Kind: Bool, Literal: "true"},
	"false":   {Kind: Bool, Literal: "false"},
	"bool":    {Kind: Bool},
	"string":  {Kind: String},
	"bytes":   {Kind: Bytes},
	"number":  {Kind: Number},
	"float":   {Kind: Number, Rules: []string{"a fraction"}},
	"float32": {Kind: Number, Rules: []string{"a fraction"}},
	"float64": {Kind: Number, Rules: []string{"a fraction"}},
	"int":     {Kind: Integer},
	"int8":    integers("-128", "127"),
	"int16":   integers("-32768", "32767"),
	"int32":   integers("-2147483648", "2147483647"),
	"int64":   integers("-9223372036854775808", "9223372036854775807"),
	"int128":  {Kind: Integer},
	"uint":    {Kind: Integer, Min: bound("0", false)},
	"uint8":   integers("0", "255"),
	"uint16":  integers("0", "65535"),
	"uint32":  integers("0", "4294967295"),
	"uint64":  integers("0", "18446744073709551615"),
	"uint128": {Kind: Integer, Min: bound("0", false)},
}

func integers(lo, hi string) Arm {
	return Arm{Kind: Integer, Min: bound(lo, false), Max: bound(hi, false)}
}

func readIdent(name string) Arm {
	if a, ok := idents[name]; ok {
		return a
	}
	return Arm{Rules: []string{name}}
}

// call returns the name of the function that n calls and its arguments.
func call(n ast.Node) (name string, args []ast.Expr) {
	c, ok := n.(*ast.CallExpr)
	if !ok {
		return "", nil
	}
	switch f := c.Fun.(type) {
	case *ast.Ident:
		return f.Name, c.Args
	case *ast.SelectorExpr:
		if pkg, ok := f.X.(*ast.Ident); ok {
			if sel, ok := f.Sel.(*ast.Ident); ok {
				return pkg.Name + "." + sel.Name, c.Args
			}
		}
	}
	return "", nil
}

// count is the one argument of a call that is a number.
func count(args []ast.Expr) (int, bool) {
	if len(args) != 1 {
		return 0, false
	}
	lit, ok := args[0].(*ast.BasicLit)
	if !ok {
		return 0, false
	}
	n, err := strconv.Atoi(lit.Value)
	return n, err == nil
}

func readCall(e *ast.CallExpr) Arm {
	name, args := call(e)
	size := func() *int {
		if n, ok := count(args); ok {
			return &n
		}
		return nil
	}
	a := Arm{}
	switch name {
	case "strings.MinRunes":
		a = Arm{Kind: String, MinSize: size()}
	case "strings.MaxRunes":
		a = Arm{Kind: String, MaxSize: size()}
	case "list.MinItems":
		a = Arm{Kind: List, MinSize: size()}
	case "list.MaxItems":
		a = Arm{Kind: List, MaxSize: size()}
	case "struct.MinFields":
		a = Arm{Kind: Object, MinSize: size()}
	case "struct.MaxFields":
		a = Arm{Kind: Object, MaxSize: size()}
	case "list.UniqueItems":
		return Arm{Kind: List, Rules: []string{noItemTwice}}
	case "time.Duration":
		return Arm{Kind: String, Rules: []string{`a duration such as "30s"`}}
	}
	if a.MinSize == nil && a.MaxSize == nil {
		return opaque(e)
	}
	return a
}

// sizes adds to a, which accepts lists or objects, what calls such as list.MinItems,
// list.UniqueItems and struct.MaxFields in e say. Of objects those within a choice do not
// count: they hold for one alternative.
func sizes(e ast.Expr, a *Arm) {
	for p, ok := e.(*ast.ParenExpr); ok; p, ok = e.(*ast.ParenExpr) {
		e = p.X
	}
	if l, ok := e.(*ast.ListLit); ok && a.Kind == List {
		// A list of this form has these entries at least.
		*a = a.and(listLength(l))
		return
	}
	ast.Walk(e, func(n ast.Node) bool {
		switch n := n.(type) {
		case *ast.ListLit, *ast.StructLit:
			return false
		case *ast.BinaryExpr:
			return n.Op != token.OR || a.Kind != Object
		case *ast.CallExpr:
			if c := readCall(n); c.Kind == a.Kind || c.Kind == Any && a.Kind == List {
				*a = a.and(c)
			}
			return false
		}
		return true
	}, nil)
}

// listLength is what the form of a list says about its length.
func listLength(l *ast.ListLit) Arm {
	a, n := Arm{Kind: List}, len(l.Elts)
	open := false
	for _, e := range l.Elts {
		switch e.(type) {
		case *ast.Ellipsis:
			open = true
			n--
		case *ast.Comprehension:
			// It can be of any length.
			return a
		}
	}
	if n > 0 || !open {
		a.MinSize = &n
	}
	if !open {
		a.MaxSize = &n
	}
	return a
}
