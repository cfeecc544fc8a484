package compat

import (
	"encoding/json"
	"math/big"
	"slices"
	"strings"

	"cuelang.org/go/cue"

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
	return named(s.widened(e, v))
}

// widened adds to the arms of the old side what the engine knows v to accept and the arms do
// not, since what was not read must not count as refused.
func (s *side) widened(read []arm, v cue.Value) []arm {
	missing := v.IncompleteKind() & universe
	for _, a := range read {
		missing &^= a.kinds
	}
	if !s.wide || missing == 0 {
		return read
	}
	a := ofKind(missing)
	a.rules = []string{"what was not read of " + text(written(v))}
	return append(read, a)
}

// named drops arms that are there only to name a default among others.
func named(all []arm) []arm {
	if len(all) > maxArms {
		a := anything()
		a.rules = []string{"more alternatives than are compared"}
		return []arm{a}
	}
	return slices.DeleteFunc(slices.Clone(all), func(a arm) bool {
		return a.kinds == 0 || a.preferred && a.exact && slices.ContainsFunc(all, func(b arm) bool {
			return !b.preferred && b.admits(a.literal) == yes
		})
	})
}
