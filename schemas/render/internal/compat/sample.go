package compat

import (
	"encoding/json"
	"maps"
	"math/big"
	"slices"
	"strings"

	"cuelang.org/go/cue"
	"cuelang.org/go/cue/ast"

	"tidegate.io/tidegate/schemas/render/internal/language"
)

const (
	// maxSamples is how many values of one variable are tried.
	maxSamples = 8
	// maxConfirmed is how many values that one variable took, and takes no longer, are put to
	// all of #Variables too. That takes longer the more variables there are.
	maxConfirmed = 64
	// maxBeyond is the greatest size of a text or a list that is tried.
	maxBeyond = 10_000
	// maxQuestions is how often the engines are asked in one comparison; more would take
	// the time of whoever waits for the answer.
	maxQuestions = 4000
)

// samples are values that v of side s might accept, the plainest first. Whoever uses them
// asks the engine.
func (c *comparer) samples(s *side, v cue.Value, depth int) []any {
	if depth > maxDepth/2 {
		return nil
	}
	var out []any
	if x, ok := defaultOf(v); ok {
		out = append(out, x)
	}
	if kind(v)&cue.StructKind != 0 {
		for _, a := range alternatives(v) {
			if kind(a) == cue.StructKind {
				out = append(out, c.objects(s, a, depth)...)
			}
		}
	}
	for _, a := range s.arms(v) {
		for _, part := range a.split() {
			switch part.kinds {
			case cue.StructKind:
				// Above.
			case cue.ListKind:
				out = append(out, c.lists(s, v, part, depth)...)
			default:
				out = append(out, part.samples()...)
			}
		}
	}
	return distinct(out)
}

func distinct(all []any) []any {
	var out []any
	seen := map[string]bool{}
	for _, x := range all {
		if k := jsonText(x, true); !seen[k] {
			seen[k] = true
			out = append(out, x)
		}
	}
	return out
}

// samples are scalars that a accepts, its ends among them.
func (a arm) samples() []any {
	if a.exact {
		return []any{a.literal}
	}
	var candidates []any
	switch a.kinds { //nolint:exhaustive // The kinds of scalars.
	case cue.NullKind:
		candidates = []any{nil}
	case cue.BoolKind:
		candidates = []any{true, false}
	case cue.IntKind:
		candidates = a.integers()
	case cue.FloatKind:
		for _, x := range a.integers() {
			n, _ := x.(json.Number)
			candidates = append(candidates, n+".0", n+".5")
		}
	case cue.StringKind:
		for _, x := range []string{"x", "", "a", "example", "1", "1s", "100m", "/", strings.Repeat("x", max(a.minRunes, 1)), strings.Repeat("x", min(max(a.maxRunes, 0), 300))} {
			candidates = append(candidates, x)
		}
		if len(a.patterns)+len(a.anti) > 0 {
			for _, x := range language.Some(a.language(), maxSamples) {
				candidates = append(candidates, x)
			}
		}
	}
	return slices.DeleteFunc(candidates, func(x any) bool { return a.admits(x) == no })
}

// integers are those at and beside the ends, and some plain ones.
func (a arm) integers() []any {
	var out []any
	add := func(n *big.Int, by int64) {
		out = append(out, json.Number(new(big.Int).Add(n, big.NewInt(by)).String()))
	}
	for _, b := range []*bound{whole(a.lo, 1), whole(a.hi, -1)} {
		if b != nil {
			add(b.at.Num(), 0)
			add(b.at.Num(), 1)
			add(b.at.Num(), -1)
		}
	}
	for _, n := range []int64{1, 0, 2, 3, 5, 7, 10, 100, -1, 1000, 65536, 1000003} {
		add(big.NewInt(n), 0)
	}
	return distinct(out)
}

func (c *comparer) lists(s *side, v cue.Value, a arm, depth int) []any {
	if a.exact {
		return []any{a.literal}
	}
	var entries []any
	if e, ok := entry(s, v, a); ok {
		for _, x := range c.samples(s, e, depth+1) {
			if c.accepts(s, e, x) {
				entries = append(entries, x)
			}
			if len(entries) >= maxSamples {
				break
			}
		}
	}
	sizes := []int{0, 1, 2, max(a.minItems, 0), min(max(a.maxItems, 0), 40), 3, 8}
	var out []any
	for _, n := range sizes {
		if n > 0 && len(entries) == 0 {
			continue
		}
		same, mixed := []any{}, []any{}
		for i := range n {
			same = append(same, entries[0])
			mixed = append(mixed, entries[i%len(entries)])
		}
		out = append(out, mixed, same)
	}
	for _, x := range entries {
		out = append(out, []any{x})
	}
	return out
}

// beyond are values that after refuses by what is written of it, and before may accept: those
// that may not be, and sizes above the greatest.
func (c *comparer) beyond(before, after cue.Value) []any {
	var out []any
	for _, a := range c.after.arms(after) {
		out = append(out, a.not...)
		if a.maxRunes != unset && a.maxRunes < maxBeyond {
			out = append(out, strings.Repeat("x", a.maxRunes+1))
		}
		if a.maxItems == unset || a.maxItems >= maxBeyond {
			continue
		}
		for _, b := range c.before.arms(before) {
			out = append(out, c.longer(before, b, a.maxItems+1)...)
		}
	}
	return distinct(out)
}

// longer is a list with n entries, if v, of which b is one alternative, accepts lists.
func (c *comparer) longer(v cue.Value, b arm, n int) []any {
	if b.kinds&cue.ListKind == 0 || b.exact || b.unique {
		return nil
	}
	e, ok := entry(c.before, v, b)
	if !ok {
		return nil
	}
	for _, x := range c.samples(c.before, e, 1) {
		if c.accepts(c.before, e, x) {
			return []any{slices.Repeat([]any{x}, n)}
		}
	}
	return nil
}

// entry is what the entries of the list v must be.
func entry(s *side, v cue.Value, a arm) (cue.Value, bool) {
	n := max(a.minItems, 1)
	if n > 32 {
		return cue.Value{}, false
	}
	some := &ast.ListLit{}
	for range n {
		some.Elts = append(some.Elts, ast.NewIdent("_"))
	}
	if whole, ok := s.unify(v, some); ok {
		if e := whole.LookupPath(cue.MakePath(cue.Index(0))); e.Exists() && e.Err() == nil {
			return e, true
		}
	}
	e := v.LookupPath(cue.MakePath(cue.AnyIndex))
	return e, e.Exists() && e.Err() == nil
}

// objects are structs that v might accept: with what must be set, and with one thing more
// each.
func (c *comparer) objects(s *side, v cue.Value, depth int) []any {
	l := s.layout(v)
	base := map[string]any{}
	all := map[string]any{}
	choices := map[string][]any{}
	for _, name := range l.order {
		f := l.fields[name]
		var good []any
		for _, x := range c.samples(s, f.value, depth+1) {
			if c.accepts(s, f.value, x) || s.relational(written(f.value)) {
				good = append(good, x)
			}
			if len(good) >= maxSamples {
				break
			}
		}
		if len(good) == 0 {
			continue
		}
		choices[name] = good
		all[name] = good[len(good)-1]
		if f.presence == required {
			base[name] = good[0]
		}
	}
	out := append([]any{base, all}, l.withoutGiven(base)...)
	with := func(name string, x any) {
		o := maps.Clone(base)
		o[name] = x
		out = append(out, o)
	}
	for _, name := range l.order {
		for _, x := range choices[name] {
			with(name, x)
		}
	}
	for _, key := range c.keys(s, l) {
		value := any("x")
		for _, p := range l.patterns {
			if c.accepts(s, p.key, key) {
				for _, x := range c.samples(s, p.value, depth+1) {
					if c.accepts(s, p.value, x) {
						with(key, x)
						value = x
					}
				}
			}
		}
		with(key, value)
	}
	return out
}

// withoutGiven is base without each of what is made of other variables when it is left out.
func (l *layout) withoutGiven(base map[string]any) []any {
	var out []any
	for _, name := range l.order {
		if _, is := base[name]; is && l.fields[name].given != nil {
			o := maps.Clone(base)
			delete(o, name)
			out = append(out, o)
		}
	}
	return out
}

// keys are names that a struct might accept besides its own.
func (c *comparer) keys(s *side, l *layout) []string {
	var out []string
	if l.open {
		out = append(out, stray)
	}
	for _, p := range l.patterns {
		for _, x := range c.samples(s, p.key, 0) {
			if k, ok := x.(string); ok && k != "" && c.accepts(s, p.key, k) && !declared(l, k) {
				out = append(out, k)
			}
		}
	}
	return out
}

func declared(l *layout, name string) bool {
	_, ok := l.fields[name]
	return ok
}
