package compat

import (
	"encoding/json"
	"maps"
	"math/big"
	"slices"
	"strings"

	"cuelang.org/go/cue"
	"cuelang.org/go/cue/ast"
	"cuelang.org/go/cue/errors"
	"cuelang.org/go/cue/token"

	"tidegate.io/tidegate/schemas/render/internal/language"
)

const (
	// maxSamples is how many values of one variable are tried.
	maxSamples = 8
	// maxQuestions is how often the engines are asked in one comparison; more would take
	// the time of whoever waits for the answer.
	maxQuestions = 4000
)

// build is x as CUE. The engine writes into syntax, so every use makes its own.
func build(x any) ast.Expr {
	switch x := x.(type) {
	case nil:
		return ast.NewNull()
	case bool:
		return ast.NewBool(x)
	case string:
		return ast.NewString(x)
	case json.Number:
		digits := strings.TrimPrefix(x.String(), "-")
		sort := token.INT
		if strings.Contains(digits, ".") {
			sort = token.FLOAT
		}
		var e ast.Expr = ast.NewLit(sort, digits)
		if digits != x.String() {
			e = &ast.UnaryExpr{Op: token.SUB, X: e}
		}
		return e
	case []any:
		l := &ast.ListLit{}
		for _, item := range x {
			l.Elts = append(l.Elts, build(item))
		}
		return l
	case map[string]any:
		s := &ast.StructLit{}
		for _, name := range slices.Sorted(maps.Keys(x)) {
			s.Elts = append(s.Elts, &ast.Field{Label: ast.NewString(name), Value: build(x[name])})
		}
		return s
	}
	return &ast.BottomLit{}
}

// jsonText is the JSON of x; empty where there is no value.
func jsonText(x any, ok bool) string {
	if !ok {
		return ""
	}
	b, err := json.Marshal(x)
	if err != nil {
		return "?"
	}
	return string(b)
}

// decode reads a concrete value.
func decode(v cue.Value) (any, bool) {
	b, err := v.MarshalJSON()
	if err != nil {
		return nil, false
	}
	d := json.NewDecoder(strings.NewReader(string(b)))
	d.UseNumber()
	var x any
	if d.Decode(&x) != nil {
		return nil, false
	}
	return x, true
}

// defaultOf is what v is when it is left out, where that is one value.
func defaultOf(v cue.Value) (any, bool) {
	d, _ := v.Default()
	if kind(v) == cue.BottomKind || d.Validate(cue.Concrete(true), cue.Final()) != nil {
		return nil, false
	}
	return decode(d)
}

// unify is v with x. The engine panics at some parts of structs that are taken out of their
// whole; ok is false then, and nothing is known.
func (s *side) unify(v cue.Value, x ast.Expr) (whole cue.Value, ok bool) {
	defer func() {
		if recover() != nil {
			whole, ok = cue.Value{}, false
		}
	}()
	return v.Unify(s.Context.BuildExpr(x)), true
}

// refusal is why v does not accept x; nil if it does. This is the very question that
// rendering asks.
func (s *side) refusal(v cue.Value, x any) (asked bool, refused error) {
	defer func() {
		if recover() != nil {
			asked, refused = false, nil
		}
	}()
	whole, ok := s.unify(v, build(x))
	if !ok {
		return false, nil
	}
	return true, whole.Validate(cue.Concrete(true), cue.Final())
}

// ask is refusal within the budget; beyond it the answer is that nothing is known.
func (c *comparer) ask(s *side, v cue.Value, x any) (asked bool, refused error) {
	if c.questions++; c.questions > maxQuestions {
		return false, nil
	}
	return s.refusal(v, x)
}

func (c *comparer) accepts(s *side, v cue.Value, x any) bool {
	asked, err := c.ask(s, v, x)
	return asked && err == nil
}

func (c *comparer) refuses(s *side, v cue.Value, x any) bool {
	asked, err := c.ask(s, v, x)
	return asked && err != nil
}

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

// stray is a name that no template declares.
const stray = "anything"

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

// complete adds to given what v needs besides, as well as it can.
func (c *comparer) complete(s *side, v cue.Value, given any, pick, depth int) any {
	object, ok := given.(map[string]any)
	if !ok || depth > maxDepth/2 || c.questions > maxQuestions {
		return given
	}
	out := maps.Clone(object)
	// What must be set may depend on what was set in the round before.
	for range 3 {
		with, ok := s.unify(v, build(out))
		if !ok {
			return out
		}
		l := s.layout(with)
		added := false
		for _, name := range l.order {
			f := l.fields[name]
			x, is := out[name]
			switch {
			case is:
				if _, isObject := x.(map[string]any); isObject {
					out[name] = c.complete(s, f.value, x, pick, depth+1)
				}
			case f.presence == required:
				if x, ok := c.some(s, f.value, pick, depth+1); ok {
					out[name], added = x, true
				}
			}
		}
		if !added {
			break
		}
	}
	return out
}

// some is a value that v accepts.
func (c *comparer) some(s *side, v cue.Value, pick, depth int) (any, bool) {
	if kind(v) == cue.StructKind && len(alternatives(v)) < 2 {
		return c.complete(s, v, map[string]any{}, pick, depth), true
	}
	var good []any
	for _, x := range c.samples(s, v, depth) {
		if c.accepts(s, v, x) || s.relational(written(v)) {
			good = append(good, x)
		}
		if len(good) > pick {
			break
		}
	}
	if len(good) == 0 {
		return nil, false
	}
	return good[pick%len(good)], true
}

// refuted returns values of a Release in which x stands at the end of the way, which were
// right before and are wrong now, there or below.
func (c *comparer) refuted(way []step, x any) (values any, ok bool) {
	return c.refutation(way, way, x)
}

// refutation is refuted with the mistake at another place than the value.
func (c *comparer) refutation(way, mistake []step, x any) (values any, ok bool) {
	values, refused, _ := c.trial(way, mistake, x)
	return values, refused
}

// trial puts values of a Release in which x stands at the end of the way, and which were
// right before, to the new side. Both answers are false where it could not be asked, or
// the values are refused for something else.
func (c *comparer) trial(way, mistake []step, x any) (values any, refused, accepted bool) {
	for pick := range 3 {
		values = c.complete(c.before, c.before.Variables, wrap(way, x), pick, 0)
		if !c.accepts(c.before, c.before.Variables, values) {
			continue
		}
		asked, err := c.ask(c.after, c.after.Variables, values)
		refused = asked && err != nil && slices.ContainsFunc(errorWays(err), func(w []string) bool { return leads(w, mistake) })
		return values, refused, asked && err == nil
	}
	return nil, false, false
}

// errorWays are the ways to what an error of the engine is about.
func errorWays(err error) [][]string {
	var out [][]string
	for _, e := range errors.Errors(err) {
		out = append(out, trimmed(e.Path()))
	}
	return out
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
