package compat

import (
	"fmt"
	"slices"
	"strings"

	"cuelang.org/go/cue"

	"tidegate.io/tidegate/schemas/render/internal/shape"
	"tidegate.io/tidegate/schemas/render/internal/values"
)

// place is where in the values the walk is.
type place struct {
	path string
	way  []step
}

func (p place) child(name string) place {
	return place{values.Child(p.path, name), append(slices.Clone(p.way), step{name: name})}
}

// entry is any entry of the list at p.
func (p place) entry(least int) place {
	return place{p.path + "[]", append(slices.Clone(p.way), step{list: true, entries: least})}
}

// key is any entry of the map at p, of which name is an example.
func (p place) key(name string) place {
	return place{p.path + ".<name>", append(slices.Clone(p.way), step{name: name})}
}

// maxWords is how much of a constraint is repeated.
const maxWords = 160

func clipped(s string) string {
	if r := []rune(s); len(r) > maxWords {
		return string(r[:maxWords]) + "..."
	}
	return s
}

// words is what v accepts, as CUE.
func (s *side) words(v cue.Value) string {
	if _, sensitive := shape.Mark(v, "sensitive"); sensitive {
		return "other values (sensitive)"
	}
	e := evaluated(v)
	if s.relational(written(v)) || kind(v)&(cue.ListKind|cue.StructKind) != 0 || kind(v) == cue.BottomKind {
		e = written(v)
	}
	return clipped(text(e))
}

// show is x in a message.
func show(x any) string { return clipped(jsonText(x, true)) }

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
		if _, ok := b.fields[name]; ok {
			c.fields(at.child(name), b.fields[name], a.fields[name])
			continue
		}
		added = append(added, name)
		c.added(at, name, b, a)
	}
	for _, name := range removed {
		c.removed(at, name, b, a, c.renamed(b.fields[name].value, added, a))
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

// accepting is what a struct accepts under a name that it does not declare.
func (c *comparer) accepting(s *side, l *layout, name string) (v cue.Value, anything, ok bool) {
	for _, p := range l.patterns {
		if asked, refused := s.refusal(p.key, name); asked && refused == nil {
			return p.value, false, true
		}
	}
	return cue.Value{}, l.open, l.open
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
	if slices.ContainsFunc(a.rules, func(r rule) bool { return r.grants }) {
		c.report(here, Unknown, what, "a condition may declare it still; only rendering the Releases tells")
		return
	}
	c.report(here, Breaking, what, "%s", why)
}

func (c *comparer) added(at place, name string, b, a *layout) {
	is := a.fields[name]
	here := at.child(name)
	what := fmt.Sprintf("a variable was added that %s", is.presence)
	if is.presence == required {
		c.demanded(at, here, is.value, what, "a Release that does not set it is refused")
	}
	v, anything, ok := c.accepting(c.before, b, name)
	switch {
	case ok && anything:
		c.narrowed(here, "the name had no bounds and has now: "+c.after.words(is.value), is.value)
	case ok:
		c.values(here, v, is.value)
	}
	if is.presence != required {
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

// narrowed reports a place that accepted anything and now accepts what v does.
func (c *comparer) narrowed(at place, what string, v cue.Value) {
	if arms := c.after.arms(v); len(arms) == 1 && arms[0].kinds == universe && len(arms[0].rules) == 0 {
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

// fields compares a variable that both declare.
func (c *comparer) fields(at place, b, a field) {
	parent := place{at.path, at.way[:len(at.way)-1]}
	if b.given != nil || a.given != nil {
		c.leftOut(at, parent, b, a)
		c.values(at, b.value, a.value)
		return
	}
	switch {
	case b.presence != required && a.presence == required:
		c.demanded(parent, at, a.value, fmt.Sprintf("the variable %s now; before it %s", a.presence, leftOut(b)), "a Release that does not set it is refused")
	case b.presence == required && a.presence != required:
		c.report(at, Safe, fmt.Sprintf("the variable had to be set; now it %s", leftOut(a)), "every Release sets it already")
	case b.presence != a.presence:
		c.report(at, DefaultChanged, fmt.Sprintf("the variable %s now; before it %s", leftOut(a), leftOut(b)), "a Release that does not set it is rendered otherwise")
	case b.presence == defaulted && (!plain(b.value) || !plain(a.value)):
		was, okWas := defaultOf(b.value)
		is, okIs := defaultOf(a.value)
		if jsonText(was, okWas) != jsonText(is, okIs) {
			c.report(at, DefaultChanged, fmt.Sprintf("the default changed from %s to %s", shown(b.value, was), shown(a.value, is)), "a Release that does not set it is rendered otherwise")
		}
	}
	c.values(at, b.value, a.value)
}

// leftOut compares what a variable is when it is left out, where that depends on others.
func (c *comparer) leftOut(at, parent place, b, a field) {
	was, is, names := "", "", []string(nil)
	if b.given != nil {
		was, _ = c.before.closure(b.given)
	}
	if a.given != nil {
		is, names = c.after.closure(a.given)
	}
	switch {
	case was == is && !c.touched(names):
	case b.given != nil && a.given == nil && a.presence == required:
		c.demanded(parent, at, a.value, "the variable must be set now; before it was made of others: "+clipped(text(b.given)), "a Release that does not set it is refused")
	case b.given == nil && b.presence == required:
		c.report(at, Safe, "the variable had to be set; now it is made of others: "+clipped(text(a.given)), "every Release sets it already")
	case a.given != nil && a.presence == required:
		c.report(at, Unknown, "what the variable is when it is left out changed to "+clipped(text(a.given)), "whether that can be made depends on other variables; only rendering the Releases tells")
	default:
		c.report(at, DefaultChanged, fmt.Sprintf("what the variable is when it is left out changed from %s to %s", without(b), without(a)), "a Release that does not set it is rendered otherwise")
	}
}

// without is what f is when it is left out, in a message.
func without(f field) string {
	if _, sensitive := shape.Mark(f.value, "sensitive"); sensitive {
		return "(sensitive)"
	}
	if f.given != nil {
		return clipped(text(f.given))
	}
	if x, ok := defaultOf(f.value); ok && f.presence == defaulted {
		return show(x)
	}
	return "nothing"
}

func leftOut(f field) string {
	if x, ok := defaultOf(f.value); ok && f.presence == defaulted {
		return "has the default " + shown(f.value, x)
	}
	return f.presence.String()
}

// shown is a value that v has, in a message, unless it is sensitive.
func shown(v cue.Value, x any) string {
	if _, sensitive := shape.Mark(v, "sensitive"); sensitive {
		return "(sensitive)"
	}
	return show(x)
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

// others compares what structs accept under names that they do not declare.
func (c *comparer) others(at place, b, a *layout) {
	switch {
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
		c.narrowed(at.key(stray), "names that are not declared had no bounds and have now", a.patterns[0].value)
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
		for _, q := range slices.Concat(a.patterns, b.patterns) {
			for _, x := range c.samples(c.after, q.key, 0) {
				name, _ := x.(string)
				if v, anything, ok := c.accepting(c.before, b, name); ok && !anything && c.keyRefused(at, name, pattern{value: v}, what) {
					return
				}
			}
		}
		c.report(at, Unknown, what, "a name may have to meet several patterns, which are not compared; only rendering the Releases tells")
	}
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
	if a.entry != b.entry || c.touched(a.names) {
		c.entries(at, before, after, b)
	}
}

func (c *comparer) instead(before, after cue.Value) string {
	return fmt.Sprintf("accepts %s; before %s", c.after.words(after), c.before.words(before))
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
	if verdict == reported && r == yes {
		return
	}
	verdict, witnesses = min(verdict, r), append(witnesses, w...)
	c.decide(at, before, after, verdict, witnesses)
}

// object says whether x accepts structs, which its arm does not tell all about.
func object(x arm) bool { return x.kinds&cue.StructKind != 0 && !x.exact }

// reported is the answer of choices that were compared and whose changes were reported.
const reported answer = yes + 1

// choices says whether each struct that before is a choice of is accepted by one of after.
func (c *comparer) choices(at place, before, after cue.Value) answer {
	if c.before.relational(written(before)) || c.after.relational(written(after)) {
		return perhaps
	}
	only := func(v cue.Value) []cue.Value {
		return slices.DeleteFunc(alternatives(v), func(x cue.Value) bool { return kind(x) != cue.StructKind })
	}
	b, a := only(before), only(after)
	if len(b) == 0 {
		return perhaps
	}
	arms := func(x, y cue.Value) { c.layouts(at, c.before.armLayout(x, before), c.after.armLayout(y, after)) }
	if len(b) == 1 && len(a) == 1 {
		arms(b[0], a[0])
		return reported
	}
	changed := Safe
	for _, x := range b {
		best := Breaking
		for _, y := range a {
			best = min(best, gravest(c.try(func() { arms(x, y) })))
		}
		changed = max(changed, best)
	}
	switch changed {
	case Unknown, Breaking:
	case Safe:
		return yes
	case DefaultChanged:
		c.report(at, DefaultChanged, c.instead(before, after), "a default within one of the alternatives changed")
		return yes
	}
	return perhaps
}

// decide reports what a variable accepts now. A breaking change needs a witness that the
// engines confirm.
func (c *comparer) decide(at place, before, after cue.Value, verdict answer, witnesses []any) {
	what := c.instead(before, after)
	if verdict == yes {
		c.report(at, Safe, what, "every value that was accepted is accepted still")
		return
	}
	if x, ok := c.witness(at, before, &after, witnesses...); ok {
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
		if c.quiet > 0 && free {
			return x, true
		}
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
