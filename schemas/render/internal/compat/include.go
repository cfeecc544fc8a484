package compat

import (
	"encoding/json"
	"math/big"
	"regexp"
	"slices"
	"strings"

	"cuelang.org/go/cue"

	"tidegate.io/tidegate/schemas/render/internal/language"
)

// maxEnumerated is how many integers are tried one by one.
const maxEnumerated = 128

// included says whether every value that o accepts is accepted by one of arms. A no comes
// with a value that looks like a witness; the engines must confirm it. Accepts asks the
// engine of the new side about one value; it is nil where that cannot be asked, since the
// answer depends on other variables.
func (c *comparer) included(o arm, arms []arm, accepts func(any) bool) (answer, []any) {
	if o.exact {
		return c.literal(o, arms, accepts)
	}
	for _, n := range arms {
		if c.implies(o, n) {
			return yes, nil
		}
	}
	if accepts != nil && len(o.rules) == 0 {
		if all, ok := o.enumerate(); ok {
			return everyOne(all, accepts)
		}
	}
	// One alternative for each type.
	if parts := o.split(); len(parts) > 1 {
		result, witnesses := yes, []any(nil)
		for _, p := range parts {
			a, w := c.included(p, arms, accepts)
			result, witnesses = min(result, a), append(witnesses, w...)
		}
		return result, witnesses
	}
	if o.kinds == cue.StringKind {
		return c.languages(o, arms)
	}
	return perhaps, nil
}

func everyOne(all []any, accepts func(any) bool) (answer, []any) {
	var refused []any
	for _, x := range all {
		if !accepts(x) {
			refused = append(refused, x)
		}
	}
	if len(refused) > 0 {
		return no, refused
	}
	return yes, nil
}

func (c *comparer) literal(o arm, arms []arm, accepts func(any) bool) (answer, []any) {
	best := no
	for _, n := range arms {
		a := n.admits(o.literal)
		if a == perhaps && n.entry == "" && !n.unique && c.ruled(o, n) {
			a = yes
		}
		best = max(best, a)
	}
	if best == yes {
		return yes, nil
	}
	if accepts != nil && accepts(o.literal) {
		return yes, nil
	}
	return best, []any{o.literal}
}

// ruled says whether each rule of n is a rule of o too, and means there what it means here.
func (c *comparer) ruled(o, n arm) bool {
	for _, r := range n.rules {
		if !slices.Contains(o.rules, r) {
			return false
		}
	}
	return len(n.rules) == 0 && n.entry == "" || !c.touched(n.names)
}

// implies says whether o accepts no more than n, by looking at both.
func (c *comparer) implies(o, n arm) bool {
	switch {
	case n.exact, o.kinds&^n.kinds != 0, !c.ruled(o, n):
		return false
	case o.kinds&(cue.IntKind|cue.FloatKind) != 0 && !o.numbersWithin(n):
		return false
	case o.kinds&cue.ListKind != 0 && !o.listsWithin(n):
		return false
	case slices.ContainsFunc(n.not, o.touches):
		return false
	case o.kinds&cue.StringKind == 0:
		return true
	}
	return textually(o, n) || len(o.rules) == 0 && c.sameLanguage(o, n)
}

// touches says whether o accepts x, or may; of a number also in the other type, since !=
// refuses both.
func (a arm) touches(x any) bool {
	if n, ok := x.(json.Number); ok {
		other := n + ".0"
		if strings.Contains(n.String(), ".") {
			other = n
			if r, ok := rat(n); ok && r.IsInt() {
				other = json.Number(r.Num().String())
			}
		}
		return a.admits(n) != no || a.admits(other) != no
	}
	return a.admits(x) != no
}

// textually says whether o's constraints on strings are n's and more, as they are written.
func textually(o, n arm) bool {
	subset := func(a, b []string) bool {
		return !slices.ContainsFunc(a, func(s string) bool { return !slices.Contains(b, s) })
	}
	return subset(n.patterns, o.patterns) && subset(n.anti, o.anti) && n.minRunes <= o.minRunes &&
		(n.maxRunes == unset || o.maxRunes != unset && o.maxRunes <= n.maxRunes)
}

func (c *comparer) sameLanguage(o, n arm) bool {
	within, _ := language.Within(o.language(), []language.Set{n.language()})
	return within
}

func (a arm) language() language.Set {
	return language.Set{Patterns: a.patterns, Anti: a.anti, Min: a.minRunes, Max: a.maxRunes}
}

// languages decides about strings by all of the arms together.
func (c *comparer) languages(o arm, arms []arm) (answer, []any) {
	var others []language.Set
	for _, n := range arms {
		switch {
		case n.kinds&cue.StringKind == 0, len(n.not) > 0, !c.ruled(o, n):
			// Left out, it only makes the new side narrower.
		case n.exact:
			if s, ok := n.literal.(string); ok {
				others = append(others, language.Set{Patterns: []string{`\A` + regexp.QuoteMeta(s) + `\z`}, Min: unset, Max: unset})
			}
		default:
			others = append(others, n.language())
		}
	}
	var witnesses []any
	whole := language.Search(o.language(), others, func(s string, other []bool) bool {
		if !slices.Contains(other, true) {
			witnesses = append(witnesses, s)
		}
		return len(witnesses) >= maxSamples
	})
	switch {
	case len(witnesses) > 0:
		return no, witnesses
	case whole:
		return yes, nil
	}
	return perhaps, nil
}

func (a arm) numbersWithin(n arm) bool {
	lo, hi, nlo, nhi := a.lo, a.hi, n.lo, n.hi
	if a.kinds&(cue.IntKind|cue.FloatKind) == cue.IntKind {
		lo, hi, nlo, nhi = whole(lo, 1), whole(hi, -1), whole(nlo, 1), whole(nhi, -1)
	}
	return inside(lo, nlo, 1) && inside(hi, nhi, -1)
}

// inside says whether the end a is the same as n, or further inside; sign is 1 for lower
// ends.
func inside(a, n *bound, sign int) bool {
	if n == nil || a == nil {
		return n == nil
	}
	c := a.at.Cmp(n.at) * sign
	return c > 0 || c == 0 && (a.open || !n.open)
}

// whole moves an end to the next integer inside.
func whole(b *bound, sign int) *bound {
	if b == nil {
		return nil
	}
	floor := new(big.Int).Div(b.at.Num(), b.at.Denom())
	at := new(big.Rat).SetInt(floor)
	isWhole := at.Cmp(b.at) == 0
	switch {
	case isWhole && b.open:
		at.Add(at, new(big.Rat).SetInt64(int64(sign)))
	case !isWhole && sign > 0:
		at.Add(at, big.NewRat(1, 1))
	}
	return &bound{at: at}
}

func (a arm) listsWithin(n arm) bool {
	if n.minItems > max(a.minItems, 0) || n.maxItems != unset && (a.maxItems == unset || a.maxItems > n.maxItems) || n.unique && !a.unique {
		return false
	}
	return n.entry == "" || n.entry == a.entry
}

// split has an arm for each type of a.
func (a arm) split() []arm {
	var out []arm
	for k := cue.NullKind; k <= cue.StructKind; k <<= 1 {
		if a.kinds&k&universe != 0 {
			part := a
			part.kinds = k
			out = append(out, part)
		}
	}
	return out
}

// enumerate lists all that a accepts, where these are few.
func (a arm) enumerate() ([]any, bool) {
	switch a.kinds {
	case cue.NullKind:
		return []any{nil}, true
	case cue.BoolKind:
		return []any{true, false}, true
	case cue.IntKind:
	default:
		return nil, false
	}
	lo, hi := whole(a.lo, 1), whole(a.hi, -1)
	if lo == nil || hi == nil {
		return nil, false
	}
	span := new(big.Int).Sub(hi.at.Num(), lo.at.Num())
	if !span.IsInt64() || span.Int64() > maxEnumerated {
		return nil, false
	}
	out := []any{}
	for i := int64(0); i <= span.Int64(); i++ {
		x := json.Number(new(big.Int).Add(lo.at.Num(), big.NewInt(i)).String())
		if a.admits(x) != no {
			out = append(out, x)
		}
	}
	return out, true
}
