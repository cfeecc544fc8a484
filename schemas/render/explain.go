package render

import (
	"fmt"
	"slices"
	"strings"

	"cuelang.org/go/cue"
	"cuelang.org/go/cue/ast"
	"cuelang.org/go/cue/errors"
	"cuelang.org/go/cue/token"

	"tidegate.io/tidegate/schemas/render/internal/shape"
	"tidegate.io/tidegate/schemas/render/internal/values"
)

// syntax is n as CUE. An ast must not be shared, so every use makes its own.
func syntax(n *values.Node) ast.Expr {
	switch n.Kind {
	case values.Null:
		return ast.NewNull()
	case values.Bool:
		return ast.NewBool(n.Bool)
	case values.String:
		return ast.NewString(n.Text)
	case values.Number:
		return number(n.Text)
	case values.List:
		l := &ast.ListLit{}
		for _, item := range n.Items {
			l.Elts = append(l.Elts, syntax(item))
		}
		return l
	default:
		s := &ast.StructLit{}
		for _, f := range n.Fields {
			s.Elts = append(s.Elts, &ast.Field{Label: ast.NewString(f.Name), Value: syntax(f.Value)})
		}
		return s
	}
}

func number(text string) ast.Expr {
	digits := strings.TrimPrefix(text, "-")
	kind := token.INT
	if strings.Contains(digits, ".") {
		kind = token.FLOAT
	}
	var x ast.Expr = ast.NewLit(kind, digits)
	if digits != text {
		x = &ast.UnaryExpr{Op: token.SUB, X: x}
	}
	return x
}

// checkValues returns a *ValuesError unless tree fits #Variables.
func (t *Template) checkValues(tree *values.Node) error {
	err := t.variables.Unify(t.ctx.BuildExpr(syntax(tree))).Validate(cue.Concrete(true), cue.Final())
	if err == nil {
		return nil
	}
	e := explainer{ctx: t.ctx, root: t.root}
	e.object(t.variables, tree, values.Root)
	if len(e.problems) == 0 {
		e.rest(err, tree)
	}
	return valuesError(e.problems)
}

// explainer finds out which of the values are mistakes. It walks schema and values
// together and asks the engine only whether a part fits, since the engine's own account
// mixes the mistake with every alternative and default that it excludes.
type explainer struct {
	ctx *cue.Context
	// root is the template, for the definitions that the schema refers to.
	root     cue.Value
	problems []Problem
}

func (e *explainer) report(path, message, hint string) {
	e.problems = append(e.problems, Problem{Path: path, Message: message, Hint: hint})
}

// with is schema with the entries of the object set to what value gives for each.
func (e *explainer) with(schema cue.Value, fields []values.Field, value func(values.Field) ast.Expr) cue.Value {
	s := &ast.StructLit{}
	for _, f := range fields {
		s.Elts = append(s.Elts, &ast.Field{Label: ast.NewString(f.Name), Value: value(f)})
	}
	return schema.Unify(e.ctx.BuildExpr(s))
}

func given(f values.Field) ast.Expr { return syntax(f.Value) }

func scalar(n *values.Node) bool { return n.Kind != values.List && n.Kind != values.Object }

func entry(v cue.Value, name string) cue.Value { return v.LookupPath(cue.MakePath(cue.Str(name))) }

// wrong says whether anything in v fails, what is merely missing aside.
func wrong(v cue.Value) bool { return v.Validate() != nil }

// object explains what is wrong with the object n where schema is wanted.
func (e *explainer) object(schema cue.Value, n *values.Node, path string) {
	base, accepted, suspects := e.fit(schema, n)
	if alternatives := shape.Alternatives(base); len(alternatives) > 1 {
		// What was set does not say which of several structs is meant.
		e.report(path, "wanted "+strings.Join(alternatives, " or ")+", found "+n.Describe(), "")
		return
	}
	for _, f := range n.Fields {
		suspect := slices.Contains(suspects, f.Name)
		if scalar(f.Value) && !suspect {
			continue
		}
		child := values.Child(path, f.Name)
		if !base.Allows(cue.Str(f.Name)) {
			e.unknown(base, n, f.Name, child)
			continue
		}
		before := len(e.problems)
		e.value(e.wanted(base, f), f.Value, child)
		if suspect && len(e.problems) == before {
			e.conflict(schema, accepted, f, path)
		}
	}
	e.missing(base, n, path)
}

// wanted is what schema wants for the entry f.
func (e *explainer) wanted(schema cue.Value, f values.Field) cue.Value {
	declared := declaration(schema, f.Name)
	if f.Value.Kind != values.List && declared.Exists() && declared.Err() == nil {
		return declared
	}
	with := e.with(schema, []values.Field{f}, func(f values.Field) ast.Expr { return skeleton(f.Value) })
	if want := entry(with, f.Name); want.Exists() && want.Err() == nil {
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

// fit returns schema with those of n's scalars that fit it, and the names of the others.
// That resolves what depends on them: conditional fields, choices, bounds.
func (e *explainer) fit(schema cue.Value, n *values.Node) (base cue.Value, accepted []values.Field, suspects []string) {
	var scalars []values.Field
	for _, f := range n.Fields {
		if scalar(f.Value) {
			scalars = append(scalars, f)
		}
	}
	if all := e.with(schema, scalars, given); !wrong(all) {
		return all, scalars, nil
	}
	for _, f := range scalars {
		if wrong(e.with(schema, []values.Field{f}, given)) {
			suspects = append(suspects, f.Name)
		} else {
			accepted = append(accepted, f)
		}
	}
	if base = e.with(schema, accepted, given); !wrong(base) {
		return base, accepted, suspects
	}
	// Each fits by itself but not together: the first come is taken for right. What is
	// accepted is unified anew each time, since the engine lets more through when a choice
	// that it has made is unified further.
	each := accepted
	base, accepted = schema, nil
	for _, f := range each {
		try := append(slices.Clone(accepted), f)
		if next := e.with(schema, try, given); wrong(next) {
			suspects = append(suspects, f.Name)
		} else {
			base, accepted = next, try
		}
	}
	return base, accepted, suspects
}

// conflict reports the accepted entry that f rules out, where f itself is as wanted.
func (e *explainer) conflict(schema cue.Value, accepted []values.Field, f values.Field, path string) {
	for i, other := range accepted {
		others := append(slices.Delete(slices.Clone(accepted), i, i+1), f)
		base := e.with(schema, others, given)
		if wrong(base) {
			continue
		}
		before := len(e.problems)
		e.value(e.wanted(base, other), other.Value, values.Child(path, other.Name))
		if len(e.problems) > before {
			return
		}
	}
}

// value explains what is wrong with n where schema is wanted.
func (e *explainer) value(schema cue.Value, n *values.Node, path string) {
	kind := schema.IncompleteKind()
	switch {
	case n.Kind == values.Object && kind&cue.StructKind != 0:
		e.object(schema, n, path)
	case n.Kind == values.List && kind&cue.ListKind != 0:
		e.list(schema, n, path)
	default:
		if u := schema.Unify(e.ctx.BuildExpr(syntax(n))); wrong(u) {
			e.mismatch(schema, u, n, path)
		}
	}
}

// list explains what is wrong with the list n where schema is wanted.
func (e *explainer) list(schema cue.Value, n *values.Node, path string) {
	u := schema.Unify(e.ctx.BuildExpr(skeleton(n)))
	if u.Err() != nil {
		e.mismatch(schema, u, n, path)
		return
	}
	before := len(e.problems)
	for i, item := range n.Items {
		if want := u.LookupPath(cue.MakePath(cue.Index(i))); want.Exists() {
			e.value(want, item, values.Index(path, i))
		}
	}
	if len(e.problems) > before {
		return
	}
	if whole := schema.Unify(e.ctx.BuildExpr(syntax(n))); wrong(whole) {
		e.mismatch(schema, whole, n, path)
	}
}

// mismatch reports that n is not what schema wants; failed is the two unified.
func (e *explainer) mismatch(schema, failed cue.Value, n *values.Node, path string) {
	s := shape.Of(schema)
	found := n.Describe()
	if sensitive(schema) {
		found = "something else, not shown because the variable is sensitive"
	}
	wanted := "wanted " + s.Words()
	switch text := e.authors(schema); {
	case text != "":
		wanted = "wanted " + text
	case shape.AuthorsWords(schema) && !sensitive(schema):
		if all := errors.Errors(failed.Err()); len(all) > 0 {
			format, args := all[len(all)-1].Msg()
			wanted = fmt.Sprintf(format, args...)
		}
	}
	hint := ""
	if n.Kind == values.String {
		if near := values.Nearest(n.Text, s.Literals()); near != "" {
			hint = fmt.Sprintf("did you mean %q?", near)
		}
	}
	if n.Kind == values.Number && !wrong(schema.Unify(e.ctx.BuildExpr(ast.NewString(n.Text)))) {
		hint = fmt.Sprintf("put it in quotes: %q", n.Text)
	}
	e.report(path, wanted+", found "+found, hint)
}

func sensitive(schema cue.Value) bool {
	a := schema.Attribute("sensitive")
	return a.Err() == nil
}

// authors returns what the template's author says is wanted where schema stands: the
// attribute @wanted of the field, or of a definition that it refers to.
func (e *explainer) authors(schema cue.Value) string {
	if text := wantedAttribute(schema); text != "" {
		return text
	}
	for _, name := range shape.Definitions(schema) {
		if text := wantedAttribute(e.root.LookupPath(cue.MakePath(cue.Def(name)))); text != "" {
			return text
		}
	}
	return ""
}

func wantedAttribute(v cue.Value) string {
	a := v.Attribute("wanted")
	if a.Err() != nil {
		return ""
	}
	text, err := a.String(0)
	if err != nil {
		return ""
	}
	return text
}

// unknown reports the key name, which schema does not have.
func (e *explainer) unknown(schema cue.Value, n *values.Node, name, path string) {
	known, patterns := names(schema)
	message := fmt.Sprintf("wanted a variable of the template, found the unknown name %q", name)
	if len(patterns) > 0 {
		message = fmt.Sprintf("wanted a name %s, found %q", strings.Join(patterns, " or "), name)
	}
	var hint string
	unset := slices.DeleteFunc(slices.Clone(known), func(k string) bool { return n.Field(k) != nil })
	if near := values.Nearest(name, unset); near != "" {
		hint = fmt.Sprintf("did you mean %q?", near)
	} else if len(known) > 0 {
		hint = "known here: " + listed(known)
	}
	e.report(path, message, hint)
}

// maxListed is how many names a hint repeats.
const maxListed = 15

func listed(names []string) string {
	if len(names) > maxListed {
		return strings.Join(names[:maxListed], ", ") + fmt.Sprintf(" and %d more", len(names)-maxListed)
	}
	return strings.Join(names, ", ")
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

// missing reports the fields of schema that n has to have and has not.
func (e *explainer) missing(schema cue.Value, n *values.Node, path string) {
	it, err := schema.Fields(cue.Optional(true))
	if err != nil {
		return
	}
	for it.Next() {
		sel, field := it.Selector(), it.Value()
		name := sel.Unquoted()
		if n.Field(name) != nil || field.Err() != nil {
			continue
		}
		constraint := sel.ConstraintType()
		if constraint != cue.RequiredConstraint && (constraint != 0 || !shape.NeedsValue(field)) {
			continue
		}
		child := values.Child(path, name)
		if constraint == 0 && field.IncompleteKind() == cue.StructKind {
			e.missing(field, &values.Node{Kind: values.Object}, child)
			continue
		}
		wanted := shape.Of(field).Words()
		if text := e.authors(field); text != "" {
			wanted = text
		}
		hint := "set " + name
		if field.IncompleteKind() == cue.StructKind {
			hint = "set " + name + " and what it needs"
		}
		e.report(child, "wanted "+wanted+", found nothing", hint)
	}
}

// rest reports the engine's own errors, for the walk found none: they are about
// something that it does not see, such as a rule between two objects.
func (e *explainer) rest(err error, tree *values.Node) {
	for _, c := range errors.Errors(err) {
		// The header of a list of failed alternatives has no positions, and says nothing.
		if len(errors.Positions(c)) == 0 {
			continue
		}
		path := pathOf(c.Path(), tree)
		if slices.ContainsFunc(e.problems, func(p Problem) bool { return p.Path == path }) {
			continue
		}
		format, args := c.Msg()
		e.report(path, "wanted what the template allows, found: "+fmt.Sprintf(format, args...), "")
	}
	if len(e.problems) == 0 {
		format, args := errors.Promote(err, "").Msg()
		e.report(values.Root, "wanted what the template allows, found: "+fmt.Sprintf(format, args...), "")
	}
}

// pathOf is the engine's path, which begins at the definition, as a path of values.
func pathOf(selectors []string, tree *values.Node) string {
	path := values.Root
	for _, s := range selectors {
		if s == variablesPath.String() {
			continue
		}
		if tree != nil && tree.Kind == values.List {
			var i int
			if _, err := fmt.Sscanf(s, "%d", &i); err == nil && i < len(tree.Items) {
				path, tree = values.Index(path, i), tree.Items[i]
				continue
			}
		}
		name := strings.Trim(s, `"`)
		path = values.Child(path, name)
		if tree != nil {
			tree = tree.Field(name)
		}
	}
	return path
}
