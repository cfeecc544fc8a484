package compat

import (
	"reflect"
	"slices"
)

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
