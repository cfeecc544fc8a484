// Package shape reads what a CUE value accepts off its evaluated syntax and says it in
// words for people and in JSON Schema for tools. It never judges a value: where CUE says
// more than a shape can hold, the shape says less.
package shape

import (
	"math/big"
	"slices"

	"cuelang.org/go/cue"
	"cuelang.org/go/cue/ast"
)

// Shape is a choice of arms; a value that none of them accepts is a mistake.
type Shape struct {
	Arms []Arm
}

// Kind is the type that an Arm accepts.
type Kind string

// The kinds of arms, by their names in JSON Schema; Any has none.
const (
	Any     Kind = ""
	Null    Kind = "null"
	Bool    Kind = "boolean"
	Integer Kind = "integer"
	Number  Kind = "number"
	String  Kind = "string"
	List    Kind = "array"
	Object  Kind = "object"
)

// Bytes is the kind that JSON has no values of.
const Bytes Kind = "bytes"

// Bound is one end of a range of numbers.
type Bound struct {
	Value *big.Rat
	Text  string
	// Open is true where the bound itself is outside.
	Open bool
}

// Arm is one alternative.
type Arm struct {
	Kind Kind
	// Literal is the JSON text of the only value accepted; empty where there are more.
	Literal  string
	Min, Max *Bound
	// Patterns must each match, AntiPatterns must not.
	Patterns, AntiPatterns []string
	// Not lists the JSON texts of values that are not accepted.
	Not []string
	// MinSize and MaxSize bound the runes of a string, the entries of a list or object.
	MinSize, MaxSize *int
	// Rules are constraints in the words of CUE that have no field here.
	Rules []string
	// preferred marks the arm that is the default.
	preferred bool
}

// Of returns the shape of v.
func Of(v cue.Value) Shape {
	if v.IncompleteKind() == cue.StructKind {
		a := Arm{Kind: Object}
		for _, raw := range conjuncts(v) {
			sizes(raw, &a)
		}
		return Shape{Arms: []Arm{a}}
	}
	var arms []Arm
	if op, args := v.Expr(); v.IncompleteKind() == cue.BottomKind && op == cue.AndOp {
		// The engine tries a list that has to have entries without any, and fails.
		arms = []Arm{{}}
		for _, a := range args {
			arms = product(arms, Of(a).Arms)
		}
	} else {
		arms = read(expression(v.Eval().Syntax(cue.Optional(true))))
	}
	s := Shape{Arms: dropDefaults(arms)}
	// Evaluation drops the bounds of a list, which the source still has.
	for i := range s.Arms {
		if s.Arms[i].Kind == List {
			for _, raw := range conjuncts(v) {
				sizes(raw, &s.Arms[i])
			}
		}
	}
	return s
}

// Empty says whether nothing is as a wants it by kind and size.
func (a Arm) Empty() bool {
	return a.unwritable() || a.MinSize != nil && a.MaxSize != nil && *a.MinSize > *a.MaxSize
}

// Refused says whether the author wrote that v, which may be a field, must not be there: _|_.
func Refused(v cue.Value) bool {
	return slices.ContainsFunc(conjuncts(v), func(e ast.Expr) bool {
		_, bottom := e.(*ast.BottomLit)
		return bottom
	})
}

// EmptyChoice says whether v is or([]), a choice of nothing.
func EmptyChoice(v cue.Value) bool {
	return slices.ContainsFunc(conjuncts(v), func(e ast.Expr) bool {
		name, args := call(e)
		if name != "or" || len(args) != 1 {
			return false
		}
		l, ok := args[0].(*ast.ListLit)
		return ok && len(l.Elts) == 0
	})
}

// conjuncts are the expressions that v is the conjunction of, as they are written, with
// references replaced by what they are to.
func conjuncts(v cue.Value) []ast.Expr {
	op, parts := v.Expr()
	if op == cue.AndOp {
		var out []ast.Expr
		for _, p := range parts {
			out = append(out, conjuncts(p)...)
		}
		return out
	}
	e := expression(v.Syntax(cue.Raw()))
	switch e.(type) {
	case *ast.Ident, *ast.SelectorExpr:
		e = expression(cue.Dereference(v).Syntax(cue.Raw()))
	}
	if e == nil {
		return nil
	}
	return []ast.Expr{e}
}

// AuthorsWords reports whether v says with the builtin error() how a mistake in it is to
// be worded.
func AuthorsWords(v cue.Value) bool {
	found := false
	if n := v.Syntax(cue.Raw()); n != nil {
		ast.Walk(n, func(n ast.Node) bool {
			if name, _ := call(n); name == "error" {
				found = true
			}
			return !found
		}, nil)
	}
	return found
}

// FixedWords reports whether what v says with error() is the same whatever the values
// are.
func FixedWords(v cue.Value) bool {
	fixed := true
	if n := v.Syntax(cue.Raw()); n != nil {
		ast.Walk(n, func(n ast.Node) bool {
			if name, args := call(n); name == "error" {
				for _, a := range args {
					_, literal := a.(*ast.BasicLit)
					fixed = fixed && literal
				}
			}
			return fixed
		}, nil)
	}
	return fixed
}

// dropDefaults removes the arms that are there only to name a default.
func dropDefaults(arms []Arm) []Arm {
	var kept []Arm
	for i, a := range arms {
		if !a.preferred || a.Literal == "" && a.Kind != List || !covered(a, i, arms) {
			kept = append(kept, a)
		}
	}
	return kept
}

func covered(a Arm, i int, arms []Arm) bool {
	for j, b := range arms {
		if j == i || b.preferred {
			continue
		}
		sameKind := b.Kind == a.Kind || b.Kind == Any || b.Kind == Number && a.Kind == Integer
		if sameKind && (b.Literal == "" || b.Literal == a.Literal) {
			return true
		}
	}
	return false
}

// DefaultOutside returns the JSON text of a default that lies outside of the bounds that
// stand beside it, as in `int & <=50 | *200`, which CUE accepts; empty if there is none.
func DefaultOutside(v cue.Value) string {
	if v.IncompleteKind()&(cue.NumberKind|cue.StringKind) == 0 {
		return ""
	}
	arms := read(expression(v.Eval().Syntax()))
	for i, a := range arms {
		if !a.preferred || a.Literal == "" || !covered(a, i, arms) {
			continue
		}
		accepted := false
		for j, b := range arms {
			if j != i && b.accepts(a) {
				accepted = true
			}
		}
		if !accepted {
			return a.Literal
		}
	}
	return ""
}

// noItemTwice is the rule of list.UniqueItems.
const noItemTwice = "no item twice"

// Counts says whether the list def has as many items as v, which it is the default of, wants,
// and none of them twice where v wants that. The engine drops what says so where the list
// without any items is right.
func Counts(v, def cue.Value) bool {
	if def.Kind() != cue.ListKind {
		return true
	}
	var lists []Arm
	for _, a := range Of(v).Arms {
		if a.Kind == List {
			lists = append(lists, a)
		}
	}
	if len(lists) != 1 {
		return true
	}
	if slices.Contains(lists[0].Rules, noItemTwice) && repeats(def) {
		return false
	}
	n, err := def.Len().Int64()
	least, most := lists[0].MinSize, lists[0].MaxSize
	return err != nil || (least == nil || int(n) >= *least) && (most == nil || int(n) <= *most)
}

// repeats says whether the list has an item twice.
func repeats(list cue.Value) bool {
	known := map[string]bool{}
	for items, err := list.List(); err == nil && items.Next(); {
		text, err := items.Value().MarshalJSON()
		if err == nil && known[string(text)] {
			return true
		}
		known[string(text)] = true
	}
	return false
}
