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
	with := t.variables.Unify(t.ctx.BuildExpr(syntax(tree)))
	err := with.Validate(cue.Concrete(true), cue.Final())
	if err == nil {
		return nil
	}
	e := t.explain(t.variables, tree)
	if len(e.problems) == 0 && !wrong(with) {
		// Nothing is wrong and nothing is missing: something is computed from the context,
		// which is not known here. Another one tells what is wrong whatever it is.
		variables := t.root.FillPath(factsPath, t.ctx.BuildExpr(t.someFacts())).LookupPath(variablesPath)
		if err = variables.Unify(t.ctx.BuildExpr(syntax(tree))).Validate(cue.Final()); err == nil {
			return nil
		}
		e = t.explain(variables, tree)
	}
	e.finish(err, tree)
	return valuesError(e.problems)
}

// explain finds the mistakes in tree where variables is wanted.
func (t *Template) explain(variables cue.Value, tree *values.Node) *explainer {
	t.conceal(tree)
	e := &explainer{ctx: t.ctx, hiding: tree.AnyHidden(), secrets: tree.Secrets()}
	e.object(variables, tree, values.Root)
	return e
}

// finish adds that tree is wrong as a whole, of which the engine says err, where nothing else
// was found; and that there may be more.
func (e *explainer) finish(err error, tree *values.Node) {
	switch {
	case len(e.problems) == 0:
		e.rest(err, tree)
	case e.cut:
		e.report(values.Root, "wanted entries that go together, found so many that do not that some may not be listed", "correct these first")
	}
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
	// spent counts the values that the engine was asked about, and the variables that it held
	// them against; see maxSpent.
	spent int
	// declared is how many fields the object has by its schema that is being explained.
	declared int
	// cut is true where mistakes may be left that were not looked for.
	cut bool
}

// maxSpent bounds how much is asked to find out which entries go together, in values put
// to the engine: a second's work, more or less. A Release has some 10,000 values at most, and
// only those that fit one by one and not together cost more than a few questions each.
const maxSpent = 200_000

// report adds a problem. Own are the parts of the message that are made of no value, so that
// they may be told even if they look like a secret: many hold an "a", or a 1.
func (e *explainer) report(path, message, hint string, own ...string) *Problem {
	p := Problem{Path: path, Message: message, Hint: hint}
	others := message
	for _, part := range own {
		others = strings.Replace(others, part, "", 1)
	}
	if e.hiding && repeats(others+" "+hint, e.secrets) {
		p = Problem{Path: path, Message: "wanted what the template allows, " + withheld, Hidden: true}
	}
	e.problems = append(e.problems, p)
	return &e.problems[len(e.problems)-1]
}

// exhausted says whether enough was asked, and remembers that something is left open.
func (e *explainer) exhausted() bool {
	e.cut = e.cut || e.spent > maxSpent
	return e.cut
}

// size is how many values n is made of.
func size(n *values.Node) int {
	total := 1
	for _, item := range n.Items {
		total += size(item)
	}
	for _, f := range n.Fields {
		total += size(f.Value)
	}
	return total
}

// with is schema with the entries of the object set to what value gives for each.
func (e *explainer) with(schema cue.Value, fields []values.Field, value func(values.Field) ast.Expr) cue.Value {
	s := &ast.StructLit{}
	for _, f := range fields {
		s.Elts = append(s.Elts, &ast.Field{Label: ast.NewString(f.Name), Value: value(f)})
	}
	e.spent += e.declared
	for _, f := range fields {
		e.spent += size(f.Value)
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
	defer func(outer int) { e.declared = outer }(e.declared)
	known, _ := names(schema)
	e.declared = len(known)
	kept := e.sized(schema, n, path)
	base, accepted, suspects := e.fit(schema, kept)
	if alternatives := shape.Alternatives(base); len(alternatives) > 1 {
		// What was set does not say which of several structs is meant.
		if e.hiding {
			alternatives = shape.Alternatives(schema)
		}
		e.report(path, "wanted "+strings.Join(alternatives, " or ")+", found "+n.Describe(), "")
		return
	}
	w := &wants{explainer: e, schema: base}
	for _, f := range n.Fields {
		suspect := slices.Contains(suspects, f.Name)
		if scalar(f.Value) && !suspect && kept.Field(f.Name) != nil && base.IncompleteKind() != cue.BottomKind {
			continue
		}
		child := f.Path(path)
		if !allows(schema, base, f.Name) {
			e.unknown(schema, w, n, f, child)
			continue
		}
		before := len(e.problems)
		want := w.of(f)
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

// sized reports that the object n has fewer entries than schema wants, or more. It returns n
// with no more of them: the first come is taken for right.
func (e *explainer) sized(schema cue.Value, n *values.Node, path string) *values.Node {
	arms := shape.Of(schema).Arms
	if len(arms) != 1 || arms[0].Kind != shape.Object || arms[0].MinSize == nil && arms[0].MaxSize == nil {
		return n
	}
	least, most := arms[0].MinSize, arms[0].MaxSize
	// To the engine what is declared counts, with ? only where it is set.
	count := len(n.Fields)
	for it, err := schema.Fields(); err == nil && it.Next(); {
		if n.Field(it.Selector().Unquoted()) == nil {
			count++
		}
	}
	if (least == nil || count >= *least) && (most == nil || count <= *most) {
		return n
	}
	p := e.report(path, "wanted "+e.words(schema)+", found "+n.Describe(), "", e.own(schema, n)...)
	p.Hidden = p.Hidden || n.Hidden
	if most == nil || count <= *most {
		return n
	}
	return &values.Node{Kind: values.Object, Fields: n.Fields[:max(0, len(n.Fields)-(count-*most))], Hidden: n.Hidden}
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
	for _, half := range halves(fields) {
		good, bad := e.sift(schema, nil, half)
		accepted = append(accepted, good...)
		for _, f := range bad {
			suspects = append(suspects, f.Name)
		}
	}
	if base = e.with(schema, accepted, given); !wrong(base) {
		return base, accepted, suspects
	}
	// Each fits by itself but not together: the first come is taken for right, before them
	// what names one of several structs, or is asked about by conditions.
	first := append(shape.Discriminators(schema), shape.Conditions(schema)...)
	var telling, others []values.Field
	for _, f := range accepted {
		if slices.Contains(first, f.Name) {
			telling = append(telling, f)
		} else {
			others = append(others, f)
		}
	}
	g := together{explainer: e, schema: schema, base: schema}
	g.add(telling)
	g.add(others)
	for _, f := range g.left {
		suspects = append(suspects, f.Name)
	}
	return g.base, g.accepted, suspects
}

// sift tells the entries that fit one by one, beside what is accepted, from the others.
// Entries that fit together fit one by one, so it asks about many at once, and about halves
// of them where that fails: what is right costs next to nothing.
func (e *explainer) sift(schema cue.Value, accepted, fields []values.Field) (good, bad []values.Field) {
	switch {
	case len(fields) == 0:
	case !wrong(e.with(schema, slices.Concat(accepted, fields), given)):
		return fields, nil
	case len(fields) == 1:
		return nil, fields
	default:
		for _, half := range halves(fields) {
			g, b := e.sift(schema, accepted, half)
			good, bad = append(good, g...), append(bad, b...)
		}
	}
	return good, bad
}

func halves(fields []values.Field) [][]values.Field {
	return [][]values.Field{fields[:len(fields)/2], fields[len(fields)/2:]}
}

// together collects entries that fit schema together: the first come is taken for right.
type together struct {
	*explainer
	schema cue.Value
	// base is schema with what is accepted.
	base           cue.Value
	accepted, left []values.Field
}

// add accepts of fields what goes with what is accepted. What does not go with that alone is
// left out first, while there is little to ask about.
func (g *together) add(fields []values.Field) {
	if len(g.accepted) > 0 {
		good, bad := g.sift(g.schema, g.accepted, fields)
		g.left = append(g.left, bad...)
		fields = good
	}
	g.each(fields)
}

// each accepts of fields what goes with what is accepted. That is unified anew each time,
// since the engine lets more through when a choice that it has made is unified further.
func (g *together) each(fields []values.Field) {
	if len(fields) == 0 {
		return
	}
	try := slices.Concat(g.accepted, fields)
	switch next := g.with(g.schema, try, given); {
	case !wrong(next):
		g.base, g.accepted = next, try
	case len(fields) == 1 || g.exhausted():
		g.left = append(g.left, fields...)
	default:
		for _, half := range halves(fields) {
			g.each(half)
		}
	}
}

// conflict reports the accepted entries that f rules out, where f itself is as wanted: those
// that do not go with it, or with it and all that does.
func (e *explainer) conflict(schema cue.Value, n *values.Node, accepted []values.Field, f values.Field, path string) {
	last := slices.Clone(accepted)
	slices.Reverse(last)
	for _, order := range [][]values.Field{last, accepted} {
		if e.exhausted() {
			return
		}
		g := together{explainer: e, schema: schema, base: schema}
		if g.add([]values.Field{f}); len(g.left) > 0 {
			return
		}
		g.add(order)
		before := len(e.problems)
		w := &wants{explainer: e, schema: g.base}
		for _, other := range g.left {
			if !allows(schema, g.base, other.Name) {
				e.unknown(schema, w, n, other, other.Path(path))
			} else {
				e.value(w.of(other), other.Value, other.Path(path))
			}
		}
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
	wanted, own := "wanted "+e.words(schema), e.own(schema, n)
	if said := e.said(schema, failed); said != "" {
		wanted, own = said, nil
	}
	p := e.report(path, wanted+", found "+n.Describe(), e.hint(schema, n), own...)
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

// own are the parts of the message about n, where schema is wanted, that are made of no value:
// what is wanted, unless it depends on other variables, and what is found as far as that is
// just a kind or a number of entries.
func (e *explainer) own(schema cue.Value, n *values.Node) []string {
	var own []string
	if authors(schema) != "" || shape.Literal(schema) {
		own = append(own, "wanted "+e.words(schema))
	}
	if n != nil && (n.Hidden || n.Kind == values.List || n.Kind == values.Object) {
		own = append(own, ", found "+n.Describe())
	}
	return own
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

// unknown reports the key of f, which schema with what fits of n, that is w, does not have.
func (e *explainer) unknown(schema cue.Value, w *wants, n *values.Node, f values.Field, path string) {
	known, patterns := w.names(schema, n)
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
	e.report(path, message, hint, "wanted a variable of the template").Name = true
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
	e.report(values.Child(path, name), "wanted "+e.words(field)+", found nothing", hint, e.own(field, nil)...)
}

// maxFound is how much of the engine's words a message repeats, in characters; what is wrong
// stands at their end.
const maxFound = 300

// rest reports the engine's own errors, for the walk found none: they are about
// something that it does not see, such as a rule between two objects.
func (e *explainer) rest(err error, tree *values.Node) {
	say := func(c errors.Error) string {
		if e.hiding {
			return "wanted what the template allows, " + withheld
		}
		format, args := c.Msg()
		found := []rune(fmt.Sprintf(format, args...))
		if len(found) > maxFound {
			// The engine repeats a value however long it is.
			return "wanted what the template allows, found: ..." + string(found[len(found)-maxFound:])
		}
		return "wanted what the template allows, found: " + string(found)
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
