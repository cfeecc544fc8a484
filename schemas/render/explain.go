package render

import (
	"fmt"
	"slices"
	"strconv"
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
	t.conceal(tree)
	e := explainer{ctx: t.ctx, hiding: tree.AnyHidden(), secrets: tree.Secrets()}
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
	// hiding is true where a sensitive variable is set; no message may then repeat one of
	// secrets, nor what the engine or the template makes of it.
	hiding   bool
	secrets  []string
	problems []Problem
}

func (e *explainer) report(path, message, hint string) *Problem {
	p := Problem{Path: path, Message: message, Hint: hint}
	if e.hiding && repeats(message+" "+hint, e.secrets) {
		p = Problem{Path: path, Message: "wanted what the template allows, " + withheld, Hidden: true}
	}
	e.problems = append(e.problems, p)
	return &e.problems[len(e.problems)-1]
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
	if e.choice(schema, n, path) {
		return
	}
	base, accepted, suspects := e.fit(schema, n)
	if alternatives := shape.Alternatives(base); len(alternatives) > 1 {
		// What was set does not say which of several structs is meant.
		if e.hiding {
			alternatives = shape.Alternatives(schema)
		}
		e.report(path, "wanted "+strings.Join(alternatives, " or ")+", found "+n.Describe(), "")
		return
	}
	for _, f := range n.Fields {
		suspect := slices.Contains(suspects, f.Name)
		if scalar(f.Value) && !suspect && base.IncompleteKind() != cue.BottomKind {
			continue
		}
		child := f.Path(path)
		if !allows(schema, base, f.Name) {
			e.unknown(schema, base, n, f, child)
			continue
		}
		before := len(e.problems)
		want := e.wanted(base, f)
		if own := declaration(schema, f.Name); want.IncompleteKind() == cue.BottomKind && own.Exists() {
			// What was set is part of base, and to the engine all is right in what it cannot
			// evaluate.
			want = own
		}
		e.value(want, f.Value, child)
		if suspect && len(e.problems) == before {
			e.conflict(schema, n, accepted, f, path)
		}
	}
	e.missing(base, n, path)
}

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
		e.report(f.Path(path), "wanted "+one.Words()+", found nothing", "set "+name)
		return true
	case scalar(f.Value) && one.Accepts(f.Value.Text):
		return false
	}
	hint := ""
	if near := values.Nearest(f.Value.Text, one.Literals()); near != "" && !f.Value.Hidden {
		hint = fmt.Sprintf("did you mean %q?", near)
	}
	e.report(f.Path(path), "wanted "+one.Words()+", found "+f.Value.Describe(), hint).Hidden = f.Value.Hidden
	return true
}

// wanted is what schema wants for the entry f.
func (e *explainer) wanted(schema cue.Value, f values.Field) cue.Value {
	declared := declaration(schema, f.Name)
	if f.Value.Kind != values.List && declared.Exists() && declared.Err() == nil {
		return declared
	}
	with := e.with(schema, []values.Field{f}, func(f values.Field) ast.Expr { return skeleton(f.Value) })
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

// fit returns schema with those of n's entries that fit it, and the names of the others.
// That resolves what depends on them: conditional fields, choices, bounds. Scalars come
// first, since most depends on them.
func (e *explainer) fit(schema cue.Value, n *values.Node) (base cue.Value, accepted []values.Field, suspects []string) {
	fields := slices.Clone(n.Fields)
	rank := map[values.Kind]int{values.Object: 1, values.List: 2}
	slices.SortStableFunc(fields, func(a, b values.Field) int { return rank[a.Value.Kind] - rank[b.Value.Kind] })
	if all := e.with(schema, fields, given); !wrong(all) {
		return all, fields, nil
	}
	for _, f := range fields {
		if wrong(e.with(schema, []values.Field{f}, given)) {
			suspects = append(suspects, f.Name)
		} else {
			accepted = append(accepted, f)
		}
	}
	if base = e.with(schema, accepted, given); !wrong(base) {
		return base, accepted, suspects
	}
	// Each fits by itself but not together: the first come is taken for right, before them
	// what names one of several structs, or is asked about by conditions. What is accepted is
	// unified anew each time, since the engine lets more through when a choice that it has
	// made is unified further.
	first := append(shape.Discriminators(schema), shape.Conditions(schema)...)
	each, others := []values.Field(nil), []values.Field(nil)
	for _, f := range accepted {
		if slices.Contains(first, f.Name) {
			each = append(each, f)
		} else {
			others = append(others, f)
		}
	}
	each = append(each, others...)
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
func (e *explainer) conflict(schema cue.Value, n *values.Node, accepted []values.Field, f values.Field, path string) {
	for i, other := range accepted {
		others := append(slices.Delete(slices.Clone(accepted), i, i+1), f)
		base := e.with(schema, others, given)
		if wrong(base) {
			continue
		}
		before := len(e.problems)
		if !allows(schema, base, other.Name) {
			e.unknown(schema, base, n, other, other.Path(path))
			return
		}
		e.value(e.wanted(base, other), other.Value, other.Path(path))
		if len(e.problems) > before {
			return
		}
	}
}

// value explains what is wrong with n where schema is wanted.
func (e *explainer) value(schema cue.Value, n *values.Node, path string) {
	kind := shape.Kinds(schema)
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

// list explains what is wrong with the list n where schema is wanted: its items, or else
// the list as a whole.
func (e *explainer) list(schema cue.Value, n *values.Node, path string) {
	items := schema
	if u := schema.Unify(e.ctx.BuildExpr(skeleton(n))); u.Err() == nil {
		items = u
	}
	before := len(e.problems)
	for i, item := range n.Items {
		want := items.LookupPath(cue.MakePath(cue.Index(i)))
		if !want.Exists() {
			want = items.LookupPath(cue.MakePath(cue.AnyIndex))
		}
		if want.Exists() {
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
	wanted := "wanted " + e.words(schema)
	if authors(schema) == "" && shape.AuthorsWords(schema) {
		if all := errors.Errors(failed.Err()); len(all) > 0 && (!e.hiding || shape.FixedWords(schema)) {
			format, args := all[len(all)-1].Msg()
			wanted = fmt.Sprintf(format, args...)
		}
	}
	p := e.report(path, wanted+", found "+n.Describe(), e.hint(schema, n))
	p.Hidden = p.Hidden || n.Hidden
}

// words says what schema wants, in the author's words if there are some.
func (e *explainer) words(schema cue.Value) string {
	if text := authors(schema); text != "" {
		return text
	}
	if e.hiding && shape.Dependent(schema) {
		// The bounds may be those of a sensitive variable.
		return "what goes with the other variables"
	}
	return shape.Of(schema).Words()
}

// hint is what to do about n where schema is wanted, or "".
func (e *explainer) hint(schema cue.Value, n *values.Node) string {
	switch {
	case n.Hidden:
	case n.Kind == values.String:
		if near := values.Nearest(n.Text, shape.Of(schema).Literals()); near != "" {
			return fmt.Sprintf("did you mean %q?", near)
		}
		if bare, mistakes := values.Parse([]byte(`{"x":` + n.Text + `}`)); len(mistakes) == 0 && len(bare.Fields) == 1 && scalar(bare.Fields[0].Value) &&
			!wrong(schema.Unify(e.ctx.BuildExpr(syntax(bare.Fields[0].Value)))) {
			return "leave the quotes away: " + n.Text
		}
	case n.Kind == values.Number && !wrong(schema.Unify(e.ctx.BuildExpr(ast.NewString(n.Text)))):
		return fmt.Sprintf("put it in quotes: %q", n.Text)
	}
	return ""
}

// authors returns what the template's author says with @wanted, or "".
func authors(schema cue.Value) string {
	a, ok := mark(schema, wantedMark)
	if !ok {
		return ""
	}
	text, err := a.String(0)
	if err != nil {
		return ""
	}
	return text
}

// unknown reports the key of f, which base, that is schema with what fits of n, does not
// have.
func (e *explainer) unknown(schema, base cue.Value, n *values.Node, f values.Field, path string) {
	known, patterns := names(base)
	// What n sets is part of base, be it known or not.
	accepting := len(patterns) > 0 || base.IncompleteKind() == cue.BottomKind
	known = slices.DeleteFunc(known, func(k string) bool { return n.Field(k) != nil && !declares(schema, k) && accepting })
	var message string
	switch {
	case f.Hidden:
		message = "wanted the names that the template allows, found another, not shown because the variable is sensitive"
	case len(patterns) > 0:
		message = fmt.Sprintf("wanted a name %s, found %q", strings.Join(patterns, " or "), f.Name)
	case shape.Grants(schema, f.Name):
		message = fmt.Sprintf("wanted a variable that goes with the others, found %q, which the template allows only with other values of these", f.Name)
	default:
		message = fmt.Sprintf("wanted a variable of the template, found the unknown name %q", f.Name)
	}
	var hint string
	unset := slices.DeleteFunc(slices.Clone(known), func(k string) bool { return n.Field(k) != nil })
	if near := values.Nearest(f.Name, unset); near != "" && !f.Hidden {
		hint = fmt.Sprintf("did you mean %q?", near)
	} else if len(known) > 0 {
		hint = "known here: " + listed(known)
	}
	e.report(path, message, hint).Name = true
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
		// A field that is not set can be what others depend on, so that the engine gives up.
		for _, name := range shape.Required(schema) {
			if field := declaration(schema, name); field.Exists() && n.Field(name) == nil {
				e.absent(field, name, path)
			}
		}
		return
	}
	for it.Next() {
		sel, field := it.Selector(), it.Value()
		name := sel.Unquoted()
		if n.Field(name) != nil || field.Err() != nil && sel.ConstraintType() != cue.RequiredConstraint {
			continue
		}
		constraint := sel.ConstraintType()
		switch {
		case constraint == cue.RequiredConstraint:
			e.absent(field, name, path)
		case constraint != 0 || !shape.NeedsValue(field):
		case shape.Kinds(field) == cue.StructKind:
			e.missing(field, &values.Node{Kind: values.Object}, values.Child(path, name))
		default:
			e.absent(field, name, path)
		}
	}
}

// absent reports that the field called name of the object at path has to be set.
func (e *explainer) absent(field cue.Value, name, path string) {
	hint := "set " + name
	if shape.Kinds(field) == cue.StructKind {
		hint = "set " + name + " and what it needs"
	}
	e.report(values.Child(path, name), "wanted "+e.words(field)+", found nothing", hint)
}

// rest reports the engine's own errors, for the walk found none: they are about
// something that it does not see, such as a rule between two objects.
func (e *explainer) rest(err error, tree *values.Node) {
	say := func(c errors.Error) string {
		if e.hiding {
			return "wanted what the template allows, " + withheld
		}
		format, args := c.Msg()
		return "wanted what the template allows, found: " + fmt.Sprintf(format, args...)
	}
	for _, c := range errors.Errors(err) {
		// The header of a list of failed alternatives has no positions, and says nothing.
		if len(errors.Positions(c)) == 0 {
			continue
		}
		path := pathOf(c.Path(), tree)
		if slices.ContainsFunc(e.problems, func(p Problem) bool { return p.Path == path }) {
			continue
		}
		e.report(path, say(c), "")
	}
	if len(e.problems) == 0 {
		e.report(values.Root, say(errors.Promote(err, "")), "")
	}
}

// pathOf is the engine's path, which begins at the definition, as a path of values. It
// ends where the values do, since the engine may have made the rest of them.
func pathOf(selectors []string, tree *values.Node) string {
	path := values.Root
	for _, s := range selectors {
		if s == variablesPath.String() {
			continue
		}
		if tree == nil {
			break
		}
		if tree.Kind == values.List {
			i, err := strconv.Atoi(s)
			if err != nil || i < 0 || i >= len(tree.Items) {
				break
			}
			path, tree = values.Index(path, i), tree.Items[i]
			continue
		}
		name := s
		if unquoted, err := strconv.Unquote(s); err == nil {
			name = unquoted
		}
		i := slices.IndexFunc(tree.Fields, func(f values.Field) bool { return f.Name == name })
		if i < 0 {
			if !tree.AnyHidden() {
				path = values.Child(path, name)
			}
			break
		}
		path, tree = tree.Fields[i].Path(path), tree.Fields[i].Value
	}
	return path
}

// mistaken is the error of values that cannot be read.
func (t *Template) mistaken(mistakes []values.Mistake) error {
	problems := make([]Problem, len(mistakes))
	for i, m := range mistakes {
		steps, message, hidden := m.Steps, m.Wanted, !t.public(m.Steps)
		switch {
		case m.Found != "" && hidden:
			message += ", found something that is not shown, because it may be sensitive"
		case m.Found != "":
			message += ", found " + m.Found
		}
		problems[i] = Problem{Path: t.publicPath(steps), Message: message, Hint: m.Hint, Name: m.Name, Hidden: hidden}
	}
	return valuesError(problems)
}
