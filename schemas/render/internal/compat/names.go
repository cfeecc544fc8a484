package compat

import (
	"fmt"
	"slices"
	"strings"

	"cuelang.org/go/cue"
)

// accepting is what a struct accepts under a name that it does not declare.
func (c *comparer) accepting(s *side, l *layout, name string) (v cue.Value, anything, ok bool) {
	for _, p := range l.patterns {
		if asked, refused := s.refusal(p.key, name); asked && refused == nil {
			return p.value, false, true
		}
	}
	return cue.Value{}, l.open, l.open
}

// narrowed reports a place that accepted anything and now accepts what v does.
func (c *comparer) narrowed(at place, what string, v cue.Value) {
	if arms := c.after.arms(v); len(arms) == 1 && unbounded(arms) {
		return
	}
	for _, x := range []any{"anything", true, map[string]any{"x": "y"}, []any{true}, nil} {
		if w, ok := c.refuted(at.way, x); ok {
			c.refused(at, what, w, fmt.Sprintf("%s was accepted here and is refused now", show(x)))
			return
		}
	}
	c.report(at, Unknown, what, "no value was found that is refused now; only rendering the Releases tells")
}

// others compares what structs accept under names that they do not declare.
func (c *comparer) others(at place, b, a *layout) {
	switch {
	case c.before.unsettled(b, "") || c.after.unsettled(a, ""):
		c.unsettledNames(at, b, a)
		return
	case b.open && a.open:
		c.manyPatterns(at, b, a)
		return
	case b.open && len(a.patterns) == 0:
		what := "names that are not declared are refused now"
		if w, ok := c.refuted(append(slices.Clone(at.way), step{name: stray}), "x"); ok {
			c.refused(at, what, w, "a Release that sets one is refused")
			return
		}
		c.report(at, Breaking, what, "a Release that sets one is refused")
		return
	case b.open:
		c.bounded(at, a)
		return
	case a.open:
		c.report(at, Safe, "names that are not declared are accepted now", "more is accepted")
		return
	}
	if len(b.patterns) > 1 || len(a.patterns) > 1 {
		c.manyPatterns(at, b, a)
		return
	}
	for _, p := range b.patterns {
		c.pattern(at, p, a)
	}
	if len(b.patterns) == 0 {
		for _, p := range a.patterns {
			c.report(at, Safe, "names are accepted now that are not declared: "+c.after.words(p.key), "more is accepted")
		}
	}
}

// bounded reports that names which are not declared must meet the patterns of a now.
func (c *comparer) bounded(at place, a *layout) {
	what := "names that are not declared had no bounds and have now"
	var keys []arm
	free := true
	for _, p := range a.patterns {
		keys = append(keys, c.after.arms(p.key)...)
		free = free && unbounded(c.after.arms(p.value))
	}
	every, witnesses := c.allIncluded([]arm{ofKind(cue.StringKind)}, keys, nil)
	switch {
	case every == yes && free:
		return
	case every == yes && len(a.patterns) == 1:
		c.narrowed(at.key(stray), what, a.patterns[0].value)
		return
	}
	for _, x := range append(witnesses, stray) {
		name, _ := x.(string)
		if w, ok := c.refuted(append(slices.Clone(at.way), step{name: name}), "x"); ok {
			c.refused(at.key(name), what, w, fmt.Sprintf("the name %s was accepted and is refused now", show(name)))
			return
		}
	}
	c.report(at.key(stray), Unknown, what, "no name was found that is refused now; only rendering the Releases tells")
}

// unbounded says whether one of arms accepts anything.
func unbounded(arms []arm) bool {
	return slices.ContainsFunc(arms, func(a arm) bool { return a.kinds == universe && len(a.rules) == 0 })
}

// manyPatterns compares structs of which a name may have to meet several patterns.
func (c *comparer) manyPatterns(at place, b, a *layout) {
	texts := func(s *side, l *layout) []string {
		var out []string
		for _, p := range l.patterns {
			key, _ := s.closure(written(p.key))
			value, names := s.closure(written(p.value))
			if c.touched(names) {
				value += " touched on one side"
			}
			out = append(out, key+": "+value)
		}
		slices.Sort(out)
		return out
	}
	was, is := texts(c.before, b), texts(c.after, a)
	touched := slices.ContainsFunc(is, func(s string) bool { return strings.HasSuffix(s, " touched on one side") })
	if a.open && len(is) == 0 {
		return
	}
	if !slices.Equal(was, is) || touched {
		what := "what names may be, or their values, changed"
		if c.patternRefused(at, b, a, what) {
			return
		}
		c.report(at, Unknown, what, "a name may have to meet several patterns, which are not compared; only rendering the Releases tells")
	}
}

// patternRefused reports a name of a pattern that was accepted and is refused now.
func (c *comparer) patternRefused(at place, b, a *layout, what string) bool {
	for _, q := range slices.Concat(a.patterns, b.patterns) {
		for _, x := range c.samples(c.after, q.key, 0) {
			name, _ := x.(string)
			if v, anything, ok := c.accepting(c.before, b, name); ok && !anything && c.keyRefused(at, name, pattern{value: v}, what) {
				return true
			}
		}
	}
	return false
}

// pattern compares what names p accepts with what a accepts of them.
func (c *comparer) pattern(at place, p pattern, a *layout) {
	key := func(q pattern) string { return text(evaluated(q.key)) }
	example := stray
	for _, x := range c.samples(c.before, p.key, 0) {
		if k, ok := x.(string); ok && k != "" && c.accepts(c.before, p.key, k) {
			example = k
			break
		}
	}
	if i := slices.IndexFunc(a.patterns, func(q pattern) bool { return key(q) == key(p) }); i >= 0 {
		c.values(at.key(example), p.value, a.patterns[i].value)
		return
	}
	what := fmt.Sprintf("names %s are no longer declared", c.before.words(p.key))
	if len(a.patterns) == 0 {
		c.noKeys(at, p, what)
		return
	}
	if len(a.patterns) == 1 {
		what = fmt.Sprintf("names must be %s; before %s", c.after.words(a.patterns[0].key), c.before.words(p.key))
		verdict, witnesses := c.allIncluded(c.before.arms(p.key), c.after.arms(a.patterns[0].key), nil)
		if verdict == yes {
			c.report(at, Safe, what, "every name that was accepted is accepted still")
			c.values(at.key(example), p.value, a.patterns[0].value)
			return
		}
		for _, x := range append(witnesses, c.samples(c.before, p.key, 0)...) {
			if k, ok := x.(string); ok && c.keyRefused(at, k, p, what) {
				return
			}
		}
	}
	c.report(at, Unknown, what, "no name was found that is refused now; only rendering the Releases tells")
}

func (c *comparer) noKeys(at place, p pattern, what string) {
	for _, x := range c.samples(c.before, p.key, 0) {
		if k, ok := x.(string); ok && c.keyRefused(at, k, p, what) {
			return
		}
	}
	c.report(at, Breaking, what, "a Release that sets one is refused")
}

func (c *comparer) keyRefused(at place, name string, p pattern, what string) bool {
	for _, x := range c.samples(c.before, p.value, 0) {
		way := append(slices.Clone(at.way), step{name: name})
		if w, ok := c.refuted(way, x); ok {
			c.refused(at, what, w, fmt.Sprintf("the name %s was accepted and is refused now", show(name)))
			return true
		}
	}
	return false
}
