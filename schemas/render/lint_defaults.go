package render

import (
	"errors"
	"math/big"
	"slices"
	"strconv"
	"strings"

	"cuelang.org/go/cue"
	"cuelang.org/go/cue/ast"
	"cuelang.org/go/cue/cuecontext"

	"tidegate.io/tidegate/schemas/render/internal/shape"
	"tidegate.io/tidegate/schemas/render/internal/values"
)

// ownDefault is the default that the author gave v, as opposed to the empty list that every
// open list is by itself.
func ownDefault(v cue.Value) (cue.Value, bool) {
	d, ok := v.Default()
	lost := len(lostArms(v)) > 0
	// Where all others are lost, the engine takes the default for the only alternative.
	if !ok && !lost || !d.IsConcrete() {
		return d, false
	}
	if op, _ := v.Eval().Expr(); op == cue.OrOp || lost || d.IncompleteKind()&(cue.ListKind|cue.StructKind) == 0 {
		return d, true
	}
	// Beside [...] a default is not told from the alternatives.
	if items, err := d.List(); err == nil && items.Next() {
		return d, true
	}
	return d, false
}

// lintDefault finds defaults that the bounds beside them do not hold for: the language
// takes a default as one more alternative.
func (v *vetter) lintDefault(d declared) {
	def, ok := ownDefault(d.value)
	if !ok {
		v.lintDropped(d)
		return
	}
	v.lintOtherType(d, def)
	broad := defaultBounds(d.value, def)
	crowded := !shape.Counts(d.value, def)
	if len(broad) == 0 && !crowded {
		return
	}
	for _, b := range broad {
		if crowded {
			break
		}
		whole, err := v.template.within(b, def)
		if err != nil {
			continue
		}
		if given, err := def.MarshalJSON(); err == nil && def.Kind()&(cue.StructKind|cue.ListKind) != 0 && string(given) != whole {
			v.fail(CodeDefaultIncomplete, d.position, "%s: wanted the default to have the defaults of its parts, %s, found %s; write it as [...#Item] & (*[...] | [...])", d.path, whole, given)
		}
		return
	}
	text := "something else"
	if b, err := def.MarshalJSON(); err == nil && !marked(d.value, sensitiveMark) {
		text = string(b)
	}
	v.fail(CodeDefaultOutside, d.position, "%s: wanted a default within its own bounds, found %s, which a Release could not set; the language does not check a default, so widen the bounds or change it", d.path, text)
}

// lintOtherType finds defaults that are nearly of the type that stands beside them: *0.5 | int,
// and text that is meant as a boolean or as a number. Text such as *"auto" | int is a choice.
func (v *vetter) lintOtherType(d declared, def cue.Value) {
	var beside cue.Kind
	_, args := d.value.Eval().Expr()
	for _, arm := range args {
		if !arm.Equals(def) {
			beside |= shape.Kinds(arm)
		}
	}
	text, err := def.String()
	_, number := new(big.Rat).SetString(text)
	word := slices.Contains(yamlWords, strings.ToLower(text))
	switch {
	case beside&def.Kind() != 0:
		return
	case def.Kind()&cue.NumberKind != 0 && beside&cue.NumberKind != 0:
	case err == nil && (number && beside&cue.NumberKind != 0 || word && beside&cue.BoolKind != 0):
	default:
		return
	}
	shown := "another"
	if b, err := def.MarshalJSON(); err == nil && !marked(d.value, sensitiveMark) {
		shown = string(b)
	}
	v.fail(CodeDefaultOutside, d.position, "%s: wanted a default of the type that stands beside it, found %s, which is none; write it as one, or widen the type", d.path, shown)
}

// lintDropped finds defaults that are gone: a default that what stands beside it with & does
// not hold for is dropped, as are two that differ.
func (v *vetter) lintDropped(d declared) {
	if d.value.IncompleteKind()&(cue.ListKind|cue.StructKind) == 0 && d.value.IsConcrete() {
		return
	}
	op, args := d.value.Expr()
	if op != cue.AndOp {
		return
	}
	for _, arg := range args {
		def, ok := ownDefault(arg)
		if !ok {
			continue
		}
		text := "one"
		if b, err := def.MarshalJSON(); err == nil && !marked(d.value, sensitiveMark) {
			text = string(b)
		}
		v.fail(CodeDefaultOutside, d.position, "%s: wanted a default within the bounds that stand beside it, found %s, which the language drops without a word, so that the variable has no default; widen the bounds or change it", d.path, text)
		return
	}
}

// within returns the JSON of what def is where bound is wanted. A list is taken item by
// item, since the engine does not hold a list against what an alternative says of its rest.
func (t *Template) within(bound, def cue.Value) (string, error) {
	if def.Kind() != cue.ListKind {
		given, err := def.MarshalJSON()
		if err != nil {
			return "", err
		}
		// Written anew: within a definition a default is closed, and would refuse what the
		// bound adds to it.
		n, mistakes := values.Parse([]byte(`{"a":` + string(given) + `}`))
		if len(mistakes) > 0 {
			return "", errors.New("a default that a Release could not write")
		}
		u := bound.Unify(t.ctx.BuildExpr(syntax(n.Field("a"))))
		if err := u.Validate(cue.Concrete(true)); err != nil {
			return "", err
		}
		b, err := u.MarshalJSON()
		return string(b), err
	}
	items, err := def.List()
	if err != nil {
		return "", err
	}
	if bound.IncompleteKind() == cue.BottomKind {
		// Of a list that must have entries the engine tells nothing until it has them.
		bound = bound.Unify(t.ctx.BuildExpr(blanks(def)))
	}
	if given, err := def.MarshalJSON(); err == nil {
		// How many items there are is not asked below.
		n, mistakes := values.Parse([]byte(`{"a":` + string(given) + `}`))
		if len(mistakes) == 0 && bound.Unify(t.ctx.BuildExpr(syntax(n.Field("a")))).Validate() != nil {
			return "", errors.New("a list that the bound refuses")
		}
	}
	var out []string
	for i := 0; items.Next(); i++ {
		want := bound.LookupPath(cue.MakePath(cue.Index(i)))
		if !want.Exists() {
			want = bound.LookupPath(cue.MakePath(cue.AnyIndex))
		}
		if !want.Exists() {
			return "", errors.New("a list of another length")
		}
		item, err := t.within(want, items.Value())
		if err != nil {
			return "", err
		}
		out = append(out, item)
	}
	return "[" + strings.Join(out, ",") + "]", nil
}

// blanks is a list as long as list, of anything.
func blanks(list cue.Value) ast.Expr {
	out := &ast.ListLit{}
	for items, err := list.List(); err == nil && items.Next(); {
		out.Elts = append(out.Elts, ast.NewIdent("_"))
	}
	return out
}

// lintDependentDefaults finds defaults in the struct d that are outside of bounds which other
// variables set, where these are not at their defaults: what stands beside a default with |
// does not hold for it.
func (v *vetter) lintDependentDefaults(d declared) {
	for it := structFields(d.value); it != nil && it.Next(); {
		if it.Selector().ConstraintType() != 0 || marked(it.Value(), sensitiveMark) {
			continue
		}
		name := it.Selector().Unquoted()
		def, ok := ownDefault(it.Value())
		if !ok || !v.template.defaultFits(it.Value(), def) {
			continue
		}
		for _, other := range shape.References(it.Value()) {
			beside := declaration(d.value, other)
			if other == name || !beside.Exists() {
				continue
			}
			if n := v.template.unfit(d.value, name, other, def); n != nil {
				given, shown := jsonOf(n), defaultOf(it.Value())
				if marked(beside, sensitiveMark) {
					given = "another value"
				}
				v.warn(CodeDefaultOutside, place(it.Value().Pos()), "%s: wanted a default within its own bounds whatever %s is, found %s, which stays where %s is %s; put the default in parentheses and the bounds beside them with &, as in (*1 | int) & >=other, so that a Release must set it then", values.Child(d.path, name), other, shown, other, given)
				break
			}
		}
	}
}

// unfit is a value of the variable other in the struct in with which the default def of the
// variable name is outside of its bounds; nil if none was found.
func (t *Template) unfit(in cue.Value, name, other string, def cue.Value) *values.Node {
	beside := declaration(in, other)
	for _, n := range slices.Concat(t.edges(beside), numbersAround(def)) {
		with := in.Unify(t.ctx.BuildExpr(ast.NewStruct(ast.NewString(other), syntax(n))))
		field := entry(with, name)
		if left, ok := ownDefault(field); ok && !wrong(with) && !t.defaultFits(field, left) {
			return n
		}
	}
	return nil
}

// numbersAround are the integers about the integer n, and some far from it.
func numbersAround(n cue.Value) []*values.Node {
	i, err := n.Int64()
	if err != nil {
		return nil
	}
	const far = 1_000_000
	var out []*values.Node
	for _, other := range []int64{i + 1, i - 1, i, far, -far} {
		out = append(out, &values.Node{Kind: values.Number, Text: strconv.FormatInt(other, 10)})
	}
	return out
}

// defaultFits says whether one of the bounds that stand beside the default def of v holds for
// it, or there are none.
func (t *Template) defaultFits(v, def cue.Value) bool {
	broad := defaultBounds(v, def)
	return len(broad) == 0 || slices.ContainsFunc(broad, func(b cue.Value) bool {
		_, err := t.within(b, def)
		return err == nil
	})
}

// outsideDefaults are the positions of defaults that Compile refuses.
func (v *vetter) outsideDefaults() map[string]bool {
	out := map[string]bool{}
	inst, err := instance(v.files)
	if err != nil {
		return out
	}
	t := &Template{ctx: cuecontext.New()}
	t.root = t.ctx.BuildInstance(inst)
	t.variables = t.root.LookupPath(variablesPath)
	probe := &vetter{template: t, seen: map[Finding]bool{}}
	if !isStruct(t.variables) {
		return out
	}
	for _, d := range t.declared() {
		before := len(probe.findings)
		probe.lintDefault(d)
		if len(probe.findings) > before {
			out[d.position] = true
		}
	}
	return out
}

// defaultBounds are the alternatives of v that are more than one value and of the kind of its
// default def: what the author says a value has to be.
func defaultBounds(v, def cue.Value) []cue.Value {
	op, args := v.Eval().Expr()
	lost := lostArms(v)
	if op != cue.OrOp && len(lost) == 0 && (op != cue.NoOp || len(args) != 1 || args[0].Equals(def)) {
		return nil
	}
	return slices.DeleteFunc(slices.Concat(args, lost), func(arm cue.Value) bool { return !bounds(arm, def) })
}

// bounds says whether the alternative arm is more than one value, and of the kind of def.
func bounds(arm, def cue.Value) bool {
	if shape.Kinds(arm)&def.Kind() == 0 || arm.Equals(def) && arm.Validate(cue.Concrete(true)) == nil {
		return false
	}
	switch def.Kind() {
	case cue.ListKind:
		return arm.LookupPath(cue.MakePath(cue.AnyIndex)).Exists() || arm.Validate(cue.Concrete(true)) != nil
	case cue.StructKind:
		return !otherStruct(arm, def)
	default:
		return !arm.IsConcrete()
	}
}

// lostArms are the alternatives of v that the engine drops since it tries them without any
// entry: lists and maps that must have some.
func lostArms(v cue.Value) []cue.Value {
	op, args := cue.Dereference(v).Expr()
	if op != cue.OrOp {
		return nil
	}
	return slices.DeleteFunc(args, func(arm cue.Value) bool {
		return arm.IncompleteKind() != cue.BottomKind || shape.Kinds(arm)&(cue.ListKind|cue.StructKind) == 0
	})
}

// otherStruct says whether the struct arm is meant for something else than def: it lacks
// one of its fields, or has another constant there.
func otherStruct(arm, def cue.Value) bool {
	it, err := def.Fields()
	for err == nil && it.Next() {
		name := it.Selector().Unquoted()
		field := declaration(arm, name)
		if !field.Exists() && !arm.Allows(cue.Str(name)) {
			return true
		}
		op, _ := field.Eval().Expr()
		if field.Exists() && field.IsConcrete() && op != cue.OrOp && field.Kind()&(cue.StructKind|cue.ListKind) == 0 && !field.Equals(it.Value()) {
			return true
		}
	}
	return false
}
