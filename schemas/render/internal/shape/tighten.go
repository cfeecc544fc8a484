package shape

import (
	"regexp"
	"slices"

	"cuelang.org/go/cue"
	"cuelang.org/go/cue/ast"
	"cuelang.org/go/cue/cuecontext"
)

// samples are names for entries of a map, one of which most patterns accept.
var samples = []string{"a", "A", "a-b", "a_b", "/a", "a.b", "a/b", "A_B", "a1", "1", "aaaa", "AAAA", "aaaaaaaa"}

// strange is a name that nobody declares and no pattern means.
const strange = "\u2603 strange"

// tighten closes the objects below a map or a list that the engine closes: what a pattern
// or a list says of its entries is open as long as it stands alone. Each time the engine
// is asked, of v with one such entry; where it does not say, the object stays open.
func tighten(v cue.Value, out map[string]any) {
	t := tightening{ctx: cuecontext.New(), root: v}
	t.object(out, nil)
}

type tightening struct {
	ctx  *cue.Context
	root cue.Value
}

// step leads into the entry called name of an object, or into the first item of a list.
type step struct {
	name string
	item bool
}

// filled is an object in which the steps lead to an object with the fields names.
func filled(steps []step, names ...string) ast.Expr {
	inner := &ast.StructLit{}
	for _, n := range names {
		inner.Elts = append(inner.Elts, &ast.Field{Label: ast.NewString(n), Value: ast.NewIdent("_")})
	}
	var out ast.Expr = inner
	for _, s := range slices.Backward(steps) {
		if s.item {
			out = ast.NewList(out)
		} else {
			out = ast.NewStruct(ast.NewString(s.name), out)
		}
	}
	return out
}

func (t *tightening) accepts(x ast.Expr) bool {
	return t.root.Unify(t.ctx.BuildExpr(x)).Validate() == nil
}

// value looks for objects in the schema s of what steps lead to.
func (t *tightening) value(s map[string]any, steps []step) {
	switch {
	case len(steps) > maxSchemaDepth || s[rulesKey] != nil:
	case s["type"] == string(Object):
		t.object(s, steps)
	case s["type"] == string(List) && s["prefixItems"] == nil:
		if items, ok := s["items"].(map[string]any); ok {
			t.value(items, append(slices.Clone(steps), step{item: true}))
		}
	}
}

func (t *tightening) object(s map[string]any, steps []step) {
	if s[rulesKey] != nil {
		return
	}
	if s["additionalProperties"] == true && len(steps) > 0 && t.accepts(filled(steps)) && !t.accepts(filled(steps, strange)) {
		s["additionalProperties"] = false
	}
	for name, schema := range entries(s) {
		if m, ok := schema.(map[string]any); ok && name != "" {
			t.value(m, append(slices.Clone(steps), step{name: name}))
		}
	}
}

// entries are schemas in the object schema s by a name that each is for. Where a name may
// be declared and meant by patterns too, or by two of them, each speaks of a part of its
// fields only, so there are none.
func entries(s map[string]any) map[string]any {
	properties, _ := s["properties"].(map[string]any)
	patterns, _ := s["patternProperties"].(map[string]any)
	rest, _ := s["additionalProperties"].(map[string]any)
	switch {
	case len(patterns) == 0 && rest == nil:
		return properties
	case len(properties) == 0 && len(patterns) == 0:
		return map[string]any{samples[0]: rest}
	case len(properties) == 0 && len(patterns) == 1 && rest == nil:
		for p, schema := range patterns {
			return map[string]any{sample(p): schema}
		}
	}
	return nil
}

// sample is a name that the pattern accepts, or "".
func sample(pattern string) string {
	r, err := regexp.Compile(pattern)
	if err != nil {
		return ""
	}
	if i := slices.IndexFunc(samples, r.MatchString); i >= 0 {
		return samples[i]
	}
	return ""
}
