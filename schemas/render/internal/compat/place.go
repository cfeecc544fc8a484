package compat

import (
	"fmt"
	"slices"
	"strings"

	"cuelang.org/go/cue"

	"tidegate.io/tidegate/schemas/render/internal/shape"
	"tidegate.io/tidegate/schemas/render/internal/values"
)

// step is one part of the way to a variable: a name, or into a list.
type step struct {
	name string
	list bool
	// entries is the least length of the list.
	entries int
}

// wrap is x at the end of the way.
func wrap(way []step, x any) any {
	for _, s := range slices.Backward(way) {
		if s.list {
			l := []any{}
			for range max(s.entries, 1) {
				l = append(l, x)
			}
			x = l
			continue
		}
		x = map[string]any{s.name: x}
	}
	return x
}

func trimmed(selectors []string) []string {
	var out []string
	for _, s := range selectors {
		if s != "#Variables" {
			out = append(out, strings.Trim(s, `"`))
		}
	}
	return out
}

// leads says whether one of the ways is the beginning of the other.
func leads(selectors []string, way []step) bool {
	for i, s := range selectors {
		if i >= len(way) {
			return true
		}
		if !way[i].list && way[i].name != s {
			return false
		}
	}
	return true
}

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

// shown is a value that v has, in a message, unless it is sensitive.
func shown(v cue.Value, x any) string {
	if _, sensitive := shape.Mark(v, "sensitive"); sensitive {
		return "(sensitive)"
	}
	return show(x)
}

func (c *comparer) instead(before, after cue.Value) string {
	return fmt.Sprintf("accepts %s; before %s", c.after.words(after), c.before.words(before))
}
