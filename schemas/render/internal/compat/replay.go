package compat

import (
	"maps"
	"slices"

	"cuelang.org/go/cue"

	"tidegate.io/tidegate/schemas/render/internal/values"
)

const (
	// maxReplayed is how many made-up Releases are put to both sides.
	maxReplayed = 80
	// maxPaired is how many of them are two in one.
	maxPaired = 60
)

// replay puts made-up values to both sides, as a second look that shares nothing with the
// walk but the engine: what was right before and is wrong now, and not reported yet, is a
// breaking change, whatever the walk thought of it.
func (c *comparer) replay() {
	made := c.objects(c.before, c.before.Variables, 0)
	if len(made) > maxReplayed {
		made = made[:maxReplayed]
	}
	for i := range made {
		made[i] = c.whole(made[i], i%3)
	}
	// Rules between two variables show only when both are set. The multipliers spread the
	// pairs; they are the same every time.
	for i := range min(maxPaired, len(made)*len(made)) {
		a, b := made[i*7%len(made)].(map[string]any), made[i*31%len(made)].(map[string]any)
		both := maps.Clone(a)
		maps.Copy(both, b)
		made = append(made, c.whole(both, i%3))
	}
	if c.before.conditional {
		for _, x := range made {
			made = append(made, c.grown(c.before.Variables, x, 0)...)
		}
	}
	for _, x := range made {
		if !c.accepts(c.before, c.before.Variables, x) {
			continue
		}
		if asked, err := c.ask(c.after, c.after.Variables, x); asked && err != nil {
			for _, way := range errorWays(err) {
				c.explain(way, x)
			}
		}
	}
}

// whole is given, completed where something is missing.
func (c *comparer) whole(given any, pick int) any {
	if c.accepts(c.before, c.before.Variables, given) {
		return given
	}
	return c.complete(c.before, c.before.Variables, given, pick, 0)
}

// grown are given with another value each for a variable that is there only because of
// what else is given.
func (c *comparer) grown(v cue.Value, given any, depth int) []any {
	object, ok := given.(map[string]any)
	if !ok || depth > maxDepth/2 || c.questions > maxQuestions {
		return nil
	}
	var out []any
	add := func(name string, x any) {
		o := maps.Clone(object)
		o[name] = x
		out = append(out, o)
	}
	without := c.before.layout(v)
	stripped := maps.Clone(object)
	maps.DeleteFunc(stripped, func(name string, _ any) bool { return !declared(without, name) })
	with, ok := c.before.unify(v, build(stripped))
	if !ok {
		return nil
	}
	l := c.before.layout(with)
	for _, name := range l.order {
		value := l.fields[name].value
		if declared(without, name) {
			if x, is := object[name]; is {
				for _, more := range c.grown(without.fields[name].value, x, depth+1) {
					add(name, more)
				}
			}
			continue
		}
		for _, x := range c.samples(c.before, value, depth+1) {
			if c.accepts(c.before, value, x) || c.before.relational(written(value)) {
				add(name, x)
			}
		}
	}
	return out
}

// explain finds the change that a mistake at way in x comes of.
func (c *comparer) explain(way []string, x any) {
	if slices.ContainsFunc(c.changes, func(ch Change) bool { return ch.Verdict == Breaking && leads(way, ch.way) }) {
		return
	}
	best := -1
	for i, ch := range c.changes {
		if ch.Verdict == Unknown && begins(way, ch.way) && (best < 0 || len(ch.way) > len(c.changes[best].way)) {
			best = i
		}
	}
	if best >= 0 {
		c.changes[best].Verdict = Breaking
		c.changes[best].Why = "values were accepted that are refused now; such as " + show(x)
		return
	}
	at := place{path: values.Root}
	for _, name := range way {
		at = at.child(name)
	}
	c.refused(at, "the values are refused now", x, "they were accepted")
}

// begins says whether way is the beginning of selectors.
func begins(selectors []string, way []step) bool {
	return len(way) <= len(selectors) && leads(selectors[:len(way)], way)
}
