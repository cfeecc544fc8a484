package compat

import (
	"fmt"
	"slices"
	"strings"

	"cuelang.org/go/cue"

	"tidegate.io/tidegate/schemas/render/internal/shape"
)

// structs compares two structs.
func (c *comparer) structs(at place, before, after cue.Value) {
	c.layouts(at, c.before.layout(before), c.after.layout(after))
}

func (c *comparer) layouts(at place, b, a *layout) {
	if c.depth++; c.depth > maxDepth {
		c.report(at, Unknown, "the variable is nested deeper than is compared", "only rendering the Releases tells")
		c.depth--
		return
	}
	defer func() { c.depth-- }()
	c.rules(at, b, a)
	c.others(at, b, a)
	var removed, added []string
	for _, name := range b.order {
		if _, ok := a.fields[name]; !ok {
			removed = append(removed, name)
		}
	}
	for _, name := range a.order {
		n := len(c.changes)
		if _, ok := b.fields[name]; ok {
			c.fields(at.child(name), b.fields[name], a.fields[name])
			if !c.holds(name, b, a) {
				c.doubted(at.child(name), n)
			}
			continue
		}
		added = append(added, name)
		c.added(at, name, b, a)
		if c.before.unsettled(b, name) {
			c.doubted(at.child(name), n)
		}
	}
	for _, name := range removed {
		n := len(c.changes)
		c.removed(at, name, b, a, c.renamed(b.fields[name].value, added, a))
		if c.before.unsettled(b, name) || c.after.unsettled(a, name) {
			c.doubted(at.child(name), n)
		}
	}
}

// renamed is the name among added of a variable that reads like v, or "".
func (c *comparer) renamed(v cue.Value, added []string, a *layout) string {
	was, _ := c.before.closure(written(v))
	for _, name := range added {
		if is, _ := c.after.closure(written(a.fields[name].value)); is == was {
			return name
		}
	}
	return ""
}

func (c *comparer) removed(at place, name string, b, a *layout, renamed string) {
	was := b.fields[name]
	here := at.child(name)
	what := "the variable was removed"
	if renamed != "" {
		what += fmt.Sprintf("; renamed to %s?", renamed)
	}
	v, anything, ok := c.accepting(c.after, a, name)
	if ok && was.presence == defaulted {
		c.report(here, DefaultChanged, what, "the name is accepted still; a Release that does not set it is rendered without")
	}
	switch {
	case ok && anything:
		c.report(here, Safe, what, "any name is accepted here still")
		return
	case ok:
		c.values(here, was.value, v)
		return
	case len(c.before.arms(was.value)) == 0:
		c.report(here, Safe, what, "no value could be given to it")
		return
	}
	why := "a Release that sets it is refused"
	if renamed != "" {
		why += "; to rename without breaking, keep the old name beside the new one for a while"
	}
	if x, ok := c.witness(here, was.value, nil); ok {
		c.report(here, Breaking, what, "%s; such as %s", why, shown(was.value, x))
		return
	}
	if slices.ContainsFunc(a.rules, func(r rule) bool { return r.grants }) || c.after.unsettled(a, name) {
		c.report(here, Unknown, what, "a condition may declare it still; only rendering the Releases tells")
		return
	}
	c.report(here, Breaking, what, "%s", why)
}

func (c *comparer) added(at place, name string, b, a *layout) {
	is := a.fields[name]
	here := at.child(name)
	what := fmt.Sprintf("a variable was added that %s", is.presence)
	if is.presence == required || is.loose {
		c.demanded(at, here, is.value, what, "a Release that does not set it is refused")
	}
	v, anything, ok := c.accepting(c.before, b, name)
	switch {
	case ok && anything:
		c.narrowed(here, "the name had no bounds and has now: "+c.after.words(is.value), is.value)
	case ok:
		c.values(here, v, is.value)
	}
	if is.presence != required && !is.loose {
		c.report(here, Safe, what, "no Release has to set it")
	}
}

// demanded reports a variable that must be set now and need not be set before.
func (c *comparer) demanded(at, here place, v cue.Value, what, why string) {
	if x, ok := c.refutation(at.way, here.way, map[string]any{}); ok {
		c.refused(here, what, x, why)
		return
	}
	if c.after.relational(written(v)) || c.conditional(at) {
		c.report(here, Unknown, what, "whether it can be left out depends on other variables; only rendering the Releases tells")
		return
	}
	c.report(here, Breaking, what, "%s", why)
}

// conditional says whether the struct at a place has rules that could set or drop it.
func (c *comparer) conditional(at place) bool {
	v := c.after.Variables
	for _, s := range at.way {
		if s.list {
			return true
		}
		next := v.LookupPath(cue.MakePath(cue.Str(s.name)))
		if !next.Exists() {
			next = v.LookupPath(cue.MakePath(cue.Str(s.name).Optional()))
		}
		if !next.Exists() {
			return true
		}
		v = next
	}
	return slices.ContainsFunc(c.after.layout(v).rules, func(r rule) bool { return r.grants })
}

// marks reports variables that are @immutable now. That is said with an attribute, which
// nothing else looks at, since it refuses no values by themselves.
func (c *comparer) marks(at place, before, after cue.Value, depth int) {
	if depth > maxDepth || kind(before) != cue.StructKind || kind(after) != cue.StructKind {
		return
	}
	b, a := c.before.layout(before), c.after.layout(after)
	for _, name := range b.order {
		was, is := b.fields[name].value, a.fields[name].value
		if !declared(a, name) {
			continue
		}
		_, before := shape.Mark(was, "immutable")
		_, now := shape.Mark(is, "immutable")
		if now && !before {
			c.report(at.child(name), Safe, "the variable was marked @immutable()", "values stay as they are; a team that wants another one is refused from now on")
		}
		c.marks(at.child(name), was, is, depth+1)
	}
}

// rules compares what structs demand besides the variables one by one.
func (c *comparer) rules(at place, b, a *layout) {
	for _, r := range a.rules {
		i := slices.IndexFunc(b.rules, func(o rule) bool { return o.text == r.text })
		switch {
		case i < 0:
			c.report(at, Unknown, "a rule was added: "+clipped(r.short), "it is about several variables at once; only rendering the Releases tells")
		case c.touched(r.names):
			c.report(at, Unknown, "a rule may mean something else now: "+clipped(r.short), "it refers to variables whose defaults or presence changed; only rendering the Releases tells")
		case r.counts && c.before.contents(b, r) != c.after.contents(a, r):
			c.report(at, Unknown, "a rule may mean something else now: "+clipped(r.short), "it is about the struct as a whole, which has other variables now; only rendering the Releases tells")
		}
	}
	for _, r := range b.rules {
		switch {
		case slices.ContainsFunc(a.rules, func(o rule) bool { return o.text == r.text }):
		case r.grants:
			c.report(at, Unknown, "a rule was removed: "+clipped(r.short), "variables that it declared may be refused now; only rendering the Releases tells")
		default:
			c.report(at, Safe, "a rule was removed: "+clipped(r.short), "fewer values are refused")
		}
	}
}

// contents is what r, a rule about a whole struct, can see change although the values stay.
func (s *side) contents(l *layout, r rule) string {
	counter := strings.HasPrefix(r.short, "struct.MaxFields(") || strings.HasPrefix(r.short, "struct.MinFields(")
	var b strings.Builder
	for _, name := range l.order {
		f := l.fields[name]
		switch {
		case !counter:
			full, _ := s.closure(written(f.value))
			fmt.Fprintln(&b, name, f.presence, full)
		case f.presence == defaulted:
			fmt.Fprintln(&b, name)
		}
	}
	if !counter {
		for _, p := range l.patterns {
			full, _ := s.closure(written(p.value))
			fmt.Fprintln(&b, text(written(p.key)), full)
		}
	}
	return b.String()
}
