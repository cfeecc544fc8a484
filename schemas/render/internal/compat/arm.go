package compat

import (
	"encoding/json"
	"math/big"
	"reflect"
	"slices"
	"strconv"
	"strings"
	"unicode/utf8"

	"cuelang.org/go/cue"
	"cuelang.org/go/cue/ast"
	"cuelang.org/go/cue/literal"
	"cuelang.org/go/cue/token"

	"tidegate.io/tidegate/schemas/render/internal/language"
)

// universe are the types that JSON has; CUE's int and float are two.
const universe = cue.NullKind | cue.BoolKind | cue.IntKind | cue.FloatKind | cue.StringKind | cue.ListKind | cue.StructKind

// maxArms bounds the alternatives of one variable; beyond, it is not understood.
const maxArms = 256

// unset is a size that is not bounded.
const unset = language.Unset

// bound is one end of a range.
type bound struct {
	at *big.Rat
	// open is true where the end itself is outside.
	open bool
}

// arm is one alternative of what a variable accepts: everything in it must hold.
type arm struct {
	kinds cue.Kind
	// literal is the one value accepted, where exact is true.
	literal any
	exact   bool
	lo, hi  *bound
	// not are values that are refused.
	not []any
	// patterns must match, anti must not.
	patterns, anti     []string
	minRunes, maxRunes int
	minItems, maxItems int
	unique             bool
	// entry is the text of what the entries of a list must be; "" for anything.
	entry string
	// rules are the texts of what else must hold, which is understood no further. A rule
	// implies itself, and nothing else.
	rules []string
	// names are what the rules refer to.
	names []string
	// preferred marks a default.
	preferred bool
}

func anything() arm {
	return arm{kinds: universe, minRunes: unset, maxRunes: unset, minItems: unset, maxItems: unset}
}

func ofKind(k cue.Kind) arm {
	a := anything()
	a.kinds = k
	return a
}

func exactly(x any) arm {
	a := ofKind(kindOf(x))
	a.literal, a.exact = x, true
	return a
}

// kindOf is the type of a JSON value.
func kindOf(x any) cue.Kind {
	switch x := x.(type) {
	case nil:
		return cue.NullKind
	case bool:
		return cue.BoolKind
	case json.Number:
		if strings.Contains(x.String(), ".") {
			return cue.FloatKind
		}
		return cue.IntKind
	case string:
		return cue.StringKind
	case []any:
		return cue.ListKind
	}
	return cue.StructKind
}

// arms returns the alternatives of v. Read from the evaluated syntax they are merged; where
// v depends on another variable, whose default evaluation would fill in, they are read from
// what is written.
func (s *side) arms(v cue.Value) []arm {
	w := written(v)
	r := reader{side: s}
	if s.relational(w) {
		return named(r.read(w))
	}
	e := r.read(evaluated(v))
	// Evaluation drops the bounds of lists.
	if slices.ContainsFunc(e, func(a arm) bool { return a.kinds&cue.ListKind != 0 }) || kind(v) == cue.BottomKind {
		e = reader{side: s}.read(w)
	}
	// What is understood no further has the types that the engine knows of it.
	if kinds := v.IncompleteKind(); kinds != cue.BottomKind {
		for i := range e {
			e[i].kinds &= kinds
		}
	}
	return named(e)
}

// named drops arms that are there only to name a default among others.
func named(arms []arm) []arm {
	if len(arms) > maxArms {
		a := anything()
		a.rules = []string{"more alternatives than are compared"}
		return []arm{a}
	}
	return slices.DeleteFunc(slices.Clone(arms), func(a arm) bool {
		return a.kinds == 0 || a.preferred && a.exact && slices.ContainsFunc(arms, func(b arm) bool {
			return !b.preferred && b.admits(a.literal) == yes
		})
	})
}

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
	switch e := e.(type) {
	case *ast.ParenExpr:
		return r.read(e.X)
	case *ast.BinaryExpr:
		return r.binary(e)
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

func (r reader) binary(e *ast.BinaryExpr) []arm {
	switch e.Op {
	case token.OR:
		return append(r.read(e.X), r.read(e.Y)...)
	case token.AND:
		return r.both(r.read(e.X), r.read(e.Y))
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
	if e.Op == token.MUL {
		arms := slices.Clone(r.read(e.X))
		for i := range arms {
			arms[i].preferred = true
		}
		return arms
	}
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
	arms := []arm{anything()}
	for _, d := range e.Elts {
		embedded, ok := d.(*ast.EmbedDecl)
		if !ok || len(e.Elts) == 0 {
			return r.rule(e, cue.StructKind)
		}
		arms = r.both(arms, r.read(embedded.Expr))
	}
	if len(e.Elts) == 0 {
		return r.rule(e, cue.StructKind)
	}
	return arms
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

func (a arm) and(b arm) arm {
	a.kinds &= b.kinds
	a.preferred = a.preferred || b.preferred
	if b.exact {
		if a.exact && !reflect.DeepEqual(a.literal, b.literal) {
			a.kinds = 0
		}
		a.literal, a.exact = b.literal, true
	}
	a.lo, a.hi = tighter(a.lo, b.lo, 1), tighter(a.hi, b.hi, -1)
	a.not = append(slices.Clone(a.not), b.not...)
	a.patterns = union(a.patterns, b.patterns)
	a.anti = union(a.anti, b.anti)
	a.minRunes, a.maxRunes = max(a.minRunes, b.minRunes), least(a.maxRunes, b.maxRunes)
	a.minItems, a.maxItems = max(a.minItems, b.minItems), least(a.maxItems, b.maxItems)
	a.unique = a.unique || b.unique
	a.rules, a.names = union(a.rules, b.rules), union(a.names, b.names)
	switch {
	case a.entry == "":
		a.entry = b.entry
	case b.entry != "" && b.entry != a.entry:
		a.rules = union(a.rules, []string{"entries " + b.entry})
	}
	if a.exact && a.kinds != 0 && a.admits(a.literal) == no {
		a.kinds = 0
	}
	return a
}

// least is the smaller of two upper sizes.
func least(a, b int) int {
	if a == unset || b != unset && b < a {
		return b
	}
	return a
}

func tighter(a, b *bound, sign int) *bound {
	switch {
	case a == nil:
		return b
	case b == nil:
		return a
	}
	if c := b.at.Cmp(a.at) * sign; c > 0 || c == 0 && b.open {
		return b
	}
	return a
}

func union(a, b []string) []string {
	out := slices.Clone(a)
	for _, s := range b {
		if !slices.Contains(out, s) {
			out = append(out, s)
		}
	}
	slices.Sort(out)
	return out
}

// answer is yes, no, or that it cannot be told.
type answer int

const (
	no answer = iota
	perhaps
	yes
)

// admits says whether x is accepted.
func (a arm) admits(x any) answer {
	if a.kinds&kindOf(x) == 0 || a.exact && !equal(a.literal, x) || slices.ContainsFunc(a.not, func(n any) bool { return unequals(n, x) }) {
		return no
	}
	ok := yes
	switch x := x.(type) {
	case json.Number:
		ok = a.admitsNumber(x)
	case string:
		ok = a.admitsString(x)
	case []any:
		ok = a.admitsList(x)
	}
	if ok == yes && len(a.rules) > 0 {
		return perhaps
	}
	return ok
}

func (a arm) admitsNumber(x json.Number) answer {
	if r, read := rat(x); read && !within(r, a.lo, a.hi) {
		return no
	}
	return yes
}

func (a arm) admitsString(x string) answer {
	if !sized(utf8.RuneCountInString(x), a.minRunes, a.maxRunes) || !language.Matches(x, a.patterns, a.anti) {
		return no
	}
	return yes
}

func (a arm) admitsList(x []any) answer {
	switch {
	case !sized(len(x), a.minItems, a.maxItems):
		return no
	case len(x) > 0 && (a.entry != "" || a.unique):
		return perhaps
	}
	return yes
}

func sized(n, least, most int) bool {
	return (least == unset || n >= least) && (most == unset || n <= most)
}

func within(r *big.Rat, lo, hi *bound) bool {
	beyond := func(b *bound, sign int) bool {
		if b == nil {
			return false
		}
		c := r.Cmp(b.at) * sign
		return c < 0 || c == 0 && b.open
	}
	return !beyond(lo, 1) && !beyond(hi, -1)
}

// unequals says whether != n refuses x: of numbers the type does not matter.
func unequals(n, x any) bool {
	p, isNumber := n.(json.Number)
	q, both := x.(json.Number)
	if isNumber && both {
		a, okA := rat(p)
		b, okB := rat(q)
		return okA && okB && a.Cmp(b) == 0
	}
	return equal(n, x)
}

// equal compares JSON values; 1 and 1.0 are two, as in CUE.
func equal(a, b any) bool {
	x, isX := a.(json.Number)
	y, isY := b.(json.Number)
	if isX && isY && kindOf(x) == kindOf(y) {
		p, okP := rat(x)
		q, okQ := rat(y)
		return okP && okQ && p.Cmp(q) == 0
	}
	return reflect.DeepEqual(a, b)
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
