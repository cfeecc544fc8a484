package compat

import (
	"encoding/json"
	"maps"
	"slices"
	"strings"

	"cuelang.org/go/cue"
	"cuelang.org/go/cue/ast"
	"cuelang.org/go/cue/errors"
	"cuelang.org/go/cue/token"
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

// stray is a name that no template declares.
const stray = "anything"

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
		values = wrap(way, x)
		if pick > 0 || !c.accepts(c.before, c.before.Variables, values) {
			values = c.complete(c.before, c.before.Variables, values, pick, 0)
			if !c.accepts(c.before, c.before.Variables, values) {
				continue
			}
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
