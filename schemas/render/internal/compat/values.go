package compat

import (
	"fmt"
	"slices"

	"cuelang.org/go/cue"
)

// values compares what a variable accepts.
func (c *comparer) values(at place, before, after cue.Value) {
	if c.same(before, after) {
		return
	}
	if plain(before) && plain(after) {
		c.structs(at, before, after)
		return
	}
	b, a := c.before.arms(before), c.after.arms(after)
	if sameArms(b, a) && !c.anyTouched(a) && !slices.ContainsFunc(b, object) {
		c.insides(at, before, after, b)
		return
	}
	if len(b) == 1 && len(a) == 1 && b[0].kinds == cue.ListKind && a[0].kinds == cue.ListKind && !b[0].exact && !a[0].exact {
		c.listBounds(at, before, after, b[0], a[0])
		return
	}
	c.union(at, before, after, b, a)
}

func (c *comparer) anyTouched(arms []arm) bool {
	return slices.ContainsFunc(arms, func(a arm) bool { return c.touched(a.names) })
}

// insides compares entries and structs of alternatives that read the same.
func (c *comparer) insides(at place, before, after cue.Value, arms []arm) {
	for _, a := range arms {
		if a.kinds == cue.ListKind && !a.exact {
			c.entries(at, before, after, a)
		}
	}
}

// sameArms says whether both accept the same, in whatever order.
func sameArms(b, a []arm) bool {
	key := func(x arm) string {
		x.preferred, x.names = false, nil
		ends := func(b *bound) string {
			if b == nil {
				return "none"
			}
			return fmt.Sprint(b.at.RatString(), b.open)
		}
		lo, hi := ends(x.lo), ends(x.hi)
		x.lo, x.hi = nil, nil
		return fmt.Sprintf("%+v %s %s", x, lo, hi)
	}
	keys := func(arms []arm) []string {
		var out []string
		for _, x := range arms {
			out = append(out, key(x))
		}
		slices.Sort(out)
		return slices.Compact(out)
	}
	return slices.Equal(keys(b), keys(a))
}

func (c *comparer) entries(at place, before, after cue.Value, b arm) {
	x, okX := entry(c.before, before, b)
	y, okY := entry(c.after, after, b)
	if !okX || !okY {
		c.report(at.entry(1), Unknown, "what the entries must be may have changed", "it could not be read; only rendering the Releases tells")
		return
	}
	c.values(at.entry(max(b.minItems, 1)), x, y)
}

// listBounds compares two lists, each with entries of one sort.
func (c *comparer) listBounds(at place, before, after cue.Value, b, a arm) {
	entriesAside := a
	entriesAside.entry = ""
	if len(a.rules) == 0 {
		entriesAside.names = nil // of the entries, which are compared below
	}
	switch {
	case c.implies(b, entriesAside):
		if b.minItems != a.minItems || b.maxItems != a.maxItems || b.unique != a.unique || !slices.Equal(a.rules, b.rules) {
			c.report(at, Safe, c.instead(before, after), "every list that was accepted is accepted still")
		}
	default:
		c.decide(at, before, after, perhaps, nil)
	}
	switch {
	case a.entry == b.entry && !c.touched(a.names):
	case len(b.rules)+len(a.rules) > 0:
		// The first entry, which is looked at, may have bounds of its own.
		c.decide(at.entry(1), before, after, perhaps, nil)
	default:
		c.entries(at, before, after, b)
	}
}

// allIncluded says whether all of b lies within a.
func (c *comparer) allIncluded(b, a []arm, accepts func(any) bool) (answer, []any) {
	result, witnesses := yes, []any(nil)
	for _, o := range b {
		r, w := c.included(o, a, accepts)
		result, witnesses = min(result, r), append(witnesses, w...)
	}
	return result, witnesses
}

// union compares what are, or may be, several alternatives.
func (c *comparer) union(at place, before, after cue.Value, b, a []arm) {
	accepts := func(x any) bool { return c.accepts(c.after, after, x) }
	if c.after.relational(written(after)) {
		accepts = nil
	}
	verdict, witnesses := yes, []any(nil)
	if slices.ContainsFunc(b, object) {
		verdict = c.choices(at, before, after)
		// The struct itself is compared; what else the alternatives accept is left.
		b = slices.Clone(b)
		for i := range b {
			if object(b[i]) {
				b[i].kinds &^= cue.StructKind
				if b[i].kinds == 0 {
					b[i].exact, b[i].literal = false, nil
				}
			}
		}
		b = slices.DeleteFunc(b, func(x arm) bool { return x.kinds == 0 })
	}
	r, w := c.allIncluded(b, a, accepts)
	if r == yes && doubtful(b, a) {
		r = perhaps
	}
	if verdict == reported && r == yes {
		return
	}
	verdict, witnesses = min(verdict, r), append(witnesses, w...)
	c.decide(at, before, after, verdict, witnesses)
}

// object says whether x accepts structs, which its arm does not tell all about.
func object(x arm) bool { return x.kinds&cue.StructKind != 0 && !x.exact }

// decide reports what a variable accepts now. A breaking change needs a witness that the
// engines confirm.
func (c *comparer) decide(at place, before, after cue.Value, verdict answer, witnesses []any) {
	what := c.instead(before, after)
	if verdict == yes {
		c.report(at, Safe, what, "every value that was accepted is accepted still")
		return
	}
	if x, ok := c.witness(at, before, &after, append(witnesses, c.beyond(before, after)...)...); ok {
		c.report(at, Breaking, what, "it was accepted and is refused now; such as %s", shown(before, x))
		return
	}
	c.report(at, Unknown, what, "it could not be shown that every value stays accepted, and no value was found that does not; only rendering the Releases tells")
}

// witness finds a value of the variable that was accepted and is refused now; after is nil
// where the variable is gone.
func (c *comparer) witness(at place, before cue.Value, after *cue.Value, first ...any) (any, bool) {
	free := !c.before.relational(written(before)) && (after == nil || !c.after.relational(written(*after)))
	both := free && after != nil
	var alone any
	found := false
	for _, x := range append(first, c.samples(c.before, before, 0)...) {
		if free && !c.accepts(c.before, before, x) || both && !c.refuses(c.after, *after, x) {
			continue
		}
		if c.enough(free, both) {
			return x, true
		}
		c.confirmed++
		_, refused, accepted := c.trial(at.way, at.way, x)
		if refused {
			return x, true
		}
		if both && !found && !accepted {
			alone, found = x, true
		}
	}
	return alone, found
}

// enough says whether what the variable alone says of a value is enough; free and both are
// true where one side and both sides could be asked so.
func (c *comparer) enough(free, both bool) bool {
	return c.quiet > 0 && free || both && c.confirmed >= maxConfirmed
}
