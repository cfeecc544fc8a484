package sandbox

import (
	"fmt"
	"maps"
	"strings"

	"github.com/open-policy-agent/opa/v1/ast"
)

// maxTypes is how many steps comparing types may take while a policy is compiled. A million
// are some 50 milliseconds; a page of constants is some thousands.
const maxTypes = 4 << 20

// BoundTypes has a compiler refuse modules whose types it could not compare in reasonable
// time. The engine infers the type of each rule from those of the rules that it refers to,
// and compares two types twice for each level of them. So a few lines, each of which nests
// the one before, take longer than anybody waits, and nothing can interrupt it.
func BoundTypes(c *ast.Compiler) *ast.Compiler {
	return c.WithStageAfterID(ast.StageCheckRecursion, ast.CompilerStageDefinition{
		Name: "BoundTypes", MetricName: "compile_stage_bound_types",
		Stage: func(c *ast.Compiler) *ast.Error { return newWeigher(c.Modules).all() },
	})
}

// shape is what is known of a type: how many steps it takes to compare it with itself, and a
// name that types which may differ do not share.
type shape struct {
	cost float64
	name string
}

var anything = shape{1, "any"}

// weigher estimates types. It is generous: a part of a value weighs as much as the whole.
type weigher struct {
	// rules are those at a path, and order lists the paths as they were found.
	rules map[string][]*ast.Rule
	order []string
	known map[string]shape
	// total is what all comparisons take.
	total float64
	names map[string]string
}

func newWeigher(modules map[string]*ast.Module) *weigher {
	w := &weigher{rules: map[string][]*ast.Rule{}, known: map[string]shape{}, names: map[string]string{}}
	for _, m := range modules {
		for _, first := range m.Rules {
			for r := first; r != nil; r = r.Else {
				path := r.Ref().GroundPrefix().String()
				if w.rules[path] == nil {
					w.order = append(w.order, path)
				}
				w.rules[path] = append(w.rules[path], r)
			}
		}
	}
	return w
}

func (w *weigher) all() *ast.Error {
	for _, path := range w.order {
		if s := w.path(path); s.cost > maxTypes || w.total > maxTypes {
			return ast.NewError(ast.CompileErr, w.rules[path][0].Location,
				"wanted values that are nested less, found that the types of %s are too large to be compared; nest fewer rules or variables in one another", path)
		}
	}
	return nil
}

// name is a short name for a longer one, since names of nested types would grow as they do.
func (w *weigher) name(long string) string {
	short, ok := w.names[long]
	if !ok {
		short = fmt.Sprint(len(w.names))
		w.names[long] = short
	}
	return short
}

// path is the shape of the rules at a path.
func (w *weigher) path(path string) shape {
	if s, ok := w.known[path]; ok {
		return s
	}
	w.known[path] = anything // recursion was refused before
	list := make([]shape, 0, len(w.rules[path]))
	for _, r := range w.rules[path] {
		list = append(list, w.rule(r))
	}
	s := w.union(list)
	w.known[path] = s
	return s
}

func (w *weigher) rule(r *ast.Rule) shape {
	vars := map[ast.Var]shape{}
	w.body(r.Body, vars)
	parts := []*ast.Term{r.Head.Key, r.Head.Value}
	for _, t := range r.Head.Ref()[1:] {
		if !t.IsGround() {
			parts = append(parts, t)
		}
	}
	out := shape{1, ""}
	for _, t := range parts {
		if t != nil {
			s := w.term(t, vars)
			out.cost += s.cost
			out.name += "/" + s.name
		}
	}
	out.name = w.name("rule" + out.name)
	return out
}

// union is the type that is one of several.
func (w *weigher) union(list []shape) shape {
	seen := map[string]bool{}
	out := shape{0, "union"}
	for _, s := range list {
		if !seen[s.name] {
			seen[s.name] = true
			out.cost += s.cost
			out.name += "," + s.name
		}
	}
	if len(seen) > 1 {
		// Each is compared with each, until one fits.
		out.cost *= float64(len(seen))
	}
	out.name = w.name(out.name)
	return out
}

// of is a value made of others, whose types are compared twice.
func (w *weigher) of(kind string, parts []shape) shape {
	out := shape{1, ""}
	var name strings.Builder
	name.WriteString(kind)
	for _, p := range parts {
		out.cost += 2 * p.cost
		name.WriteString("," + p.name)
	}
	out.name = w.name(name.String())
	return out
}

func (w *weigher) term(t *ast.Term, vars map[ast.Var]shape) shape {
	switch v := t.Value.(type) {
	case ast.Var:
		if s, ok := vars[v]; ok {
			return s
		}
		return anything
	case ast.Ref:
		return w.ref(v, vars)
	case *ast.Array:
		parts := make([]shape, 0, v.Len())
		v.Foreach(func(t *ast.Term) { parts = append(parts, w.term(t, vars)) })
		return w.of("array", parts)
	case ast.Object:
		parts := make([]shape, 0, 2*v.Len())
		v.Foreach(func(key, value *ast.Term) {
			k := w.term(key, vars)
			if _, ok := key.Value.(ast.String); ok {
				k.name = w.name("key " + key.Value.String())
			}
			parts = append(parts, k, w.term(value, vars))
		})
		return w.of("object", parts)
	case ast.Set:
		var parts []shape
		v.Foreach(func(t *ast.Term) { parts = append(parts, w.term(t, vars)) })
		return w.of("set", []shape{w.union(parts)})
	case *ast.ArrayComprehension:
		return w.comprehension("array", v.Body, vars, v.Term)
	case *ast.SetComprehension:
		return w.comprehension("set", v.Body, vars, v.Term)
	case *ast.ObjectComprehension:
		return w.comprehension("object", v.Body, vars, v.Key, v.Value)
	default:
		return shape{1, ast.ValueName(t.Value)}
	}
}

func (w *weigher) comprehension(kind string, body ast.Body, vars map[ast.Var]shape, terms ...*ast.Term) shape {
	inner := maps.Clone(vars)
	w.body(body, inner)
	parts := make([]shape, 0, len(terms))
	for _, t := range terms {
		parts = append(parts, w.term(t, inner))
	}
	return w.of(kind+" of", parts)
}

// ref is the shape of what is referred to, or of the whole that it is a part of.
func (w *weigher) ref(ref ast.Ref, vars map[ast.Var]shape) shape {
	if !ref[0].Equal(ast.DefaultRootDocument) {
		s := w.term(ref[0], vars)
		return shape{s.cost, w.name("part of " + s.name)}
	}
	ground := ref.GroundPrefix()
	for n := len(ground); n > 1; n-- {
		if path := ground[:n].String(); w.rules[path] != nil {
			s := w.path(path)
			if n < len(ref) {
				s.name = w.name("part of " + s.name)
			}
			return s
		}
	}
	// A package, with all its rules, or what is no rule at all.
	var parts []shape
	for _, path := range w.order {
		if w.rules[path][0].Ref().HasPrefix(ground) {
			parts = append(parts, w.path(path))
		}
	}
	if len(parts) == 0 {
		return anything
	}
	return w.of("package", parts)
}

func (w *weigher) body(body ast.Body, vars map[ast.Var]shape) {
	for _, e := range body {
		switch terms := e.Terms.(type) {
		case *ast.Term:
			w.term(terms, vars)
		case *ast.Every:
			domain := w.term(terms.Domain, vars)
			w.bind(terms.Key, domain, vars)
			w.bind(terms.Value, domain, vars)
			w.body(terms.Body, vars)
		case []*ast.Term:
			w.call(e, vars)
		}
		for _, m := range e.With {
			w.term(m.Value, vars)
		}
	}
}

// call weighs an equality, which compares its sides, or a call of a rule, whose last operand
// may be the result. What the engine's own functions take and give is shallow.
func (w *weigher) call(e *ast.Expr, vars map[ast.Var]shape) {
	if e.IsEquality() {
		a, b := w.term(e.Operand(0), vars), w.term(e.Operand(1), vars)
		w.total += min(a.cost, b.cost)
		w.bind(e.Operand(0), b, vars)
		w.bind(e.Operand(1), a, vars)
		return
	}
	operands, own := e.Operands(), w.rules[e.Operator().String()] != nil
	for _, o := range operands {
		if s := w.term(o, vars); own {
			w.total += s.cost
		}
	}
	if own && len(operands) > 0 {
		w.bind(operands[len(operands)-1], w.path(e.Operator().String()), vars)
	}
}

// bind gives the variables of a term that have no shape yet the one of what they are
// compared with.
func (w *weigher) bind(t *ast.Term, s shape, vars map[ast.Var]shape) {
	if t == nil {
		return
	}
	if v, ok := t.Value.(ast.Var); ok {
		if _, known := vars[v]; !known {
			vars[v] = s
		}
		return
	}
	switch t.Value.(type) {
	case *ast.Array, ast.Object:
	default:
		return
	}
	ast.WalkVars(t, func(v ast.Var) bool {
		if _, known := vars[v]; !known {
			vars[v] = shape{s.cost, w.name("part of " + s.name)}
		}
		return false
	})
}
