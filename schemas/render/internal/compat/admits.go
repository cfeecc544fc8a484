package compat

import (
	"encoding/json"
	"math/big"
	"reflect"
	"slices"
	"unicode/utf8"

	"tidegate.io/tidegate/schemas/render/internal/language"
)

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
