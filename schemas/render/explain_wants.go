package render

import (
	"fmt"
	"slices"

	"cuelang.org/go/cue"
	"cuelang.org/go/cue/ast"

	"tidegate.io/tidegate/schemas/render/internal/shape"
	"tidegate.io/tidegate/schemas/render/internal/values"
)

// allows says whether base, that is schema with values, accepts the name. Where base cannot
// be evaluated for want of a value that it depends on, any name counts that some value of it
// would make right.
func allows(schema, base cue.Value, name string) bool {
	if base.IncompleteKind() == cue.BottomKind {
		return shape.Grants(schema, name)
	}
	return base.Allows(cue.Str(name))
}

// choice reports that n does not say which of several structs it is, or names one that
// there is not, where one field tells them apart.
func (e *explainer) choice(schema cue.Value, n *values.Node, path string) bool {
	name, literals := shape.Discriminator(schema)
	if name == "" {
		return false
	}
	one := shape.Shape{Arms: literals}
	f := values.Field{Name: name, Value: n.Field(name)}
	switch {
	case f.Value == nil && len(n.Fields) > 0:
		// The other fields may tell.
		return false
	case f.Value == nil:
		e.report(f.Path(path), "wanted "+one.Words()+", found nothing", "set "+name, "wanted "+one.Words())
		return true
	case scalar(f.Value) && one.Accepts(f.Value.Text):
		return false
	}
	hint := ""
	if near := values.Nearest(f.Value.Text, one.Literals()); near != "" && !f.Value.Hidden {
		hint = fmt.Sprintf("did you mean %q?", near)
	}
	e.report(f.Path(path), "wanted "+one.Words()+", found "+f.Value.Describe(), hint, "wanted "+one.Words()).Hidden = f.Value.Hidden
	return true
}

// wants tells what schema, which has what fits of an object, wants for the other entries.
type wants struct {
	*explainer
	schema cue.Value
	// known and patterns are what names returns once it was asked.
	known, patterns []string
	asked           bool
}

// of is what schema wants for the entry f.
func (w *wants) of(f values.Field) cue.Value {
	declared := declaration(w.schema, f.Name)
	if f.Value.Kind != values.List && declared.Exists() && declared.Err() == nil {
		return declared
	}
	with := w.with(w.schema, []values.Field{f}, func(f values.Field) ast.Expr { return skeleton(f.Value) })
	if want := entry(with, f.Name); want.Exists() && want.Err() == nil && (!declared.Exists() || declared.Err() != nil || !wrong(with)) {
		return want
	}
	// A constraint that no value of this form meets, such as a least length.
	return declared
}

// declaration is the field called name as schema declares it; it does not exist where
// only a pattern covers it.
func declaration(schema cue.Value, name string) cue.Value {
	sel := cue.Str(name)
	for _, s := range []cue.Selector{sel, sel.Required(), sel.Optional()} {
		if v := schema.LookupPath(cue.MakePath(s)); v.Exists() {
			return v
		}
	}
	return cue.Value{}
}

// skeleton is n with only the lengths of its lists kept: some constraints on lists fail
// as long as nothing is known of the list.
func skeleton(n *values.Node) ast.Expr {
	if n.Kind != values.List {
		return ast.NewIdent("_")
	}
	l := &ast.ListLit{}
	for _, item := range n.Items {
		l.Elts = append(l.Elts, skeleton(item))
	}
	return l
}

// names are the names that n could have where schema wants it, and in words what others.
func (w *wants) names(schema cue.Value, n *values.Node) (known, patterns []string) {
	if w.asked {
		return w.known, w.patterns
	}
	w.asked = true
	w.known, w.patterns = names(w.schema)
	// What n sets is part of w.schema, be it known or not.
	accepting := len(w.patterns) > 0 || w.schema.IncompleteKind() == cue.BottomKind
	w.known = slices.DeleteFunc(w.known, func(k string) bool { return n.Field(k) != nil && !declares(schema, k) && accepting })
	return w.known, w.patterns
}

// names returns the names of the fields of schema, and in words which others it accepts.
func names(schema cue.Value) (known, patterns []string) {
	it, err := schema.Fields(cue.Optional(true), cue.Patterns(true))
	if err != nil {
		return nil, nil
	}
	for it.Next() {
		sel := it.Selector()
		if sel.ConstraintType() == cue.PatternConstraint {
			for _, a := range shape.Of(sel.Pattern()).Arms {
				for _, p := range a.Patterns {
					patterns = append(patterns, "matching "+p)
				}
			}
			continue
		}
		known = append(known, sel.Unquoted())
	}
	slices.Sort(known)
	return known, patterns
}
