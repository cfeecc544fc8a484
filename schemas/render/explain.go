package render

import (
	"slices"
	"strings"

	"cuelang.org/go/cue"
	"cuelang.org/go/cue/ast"

	"tidegate.io/tidegate/schemas/render/internal/arms"
	"tidegate.io/tidegate/schemas/render/internal/shape"
	"tidegate.io/tidegate/schemas/render/internal/values"
)

// checkValues returns a *ValuesError unless tree fits #Variables, for the Release of c.
func (t *Template) checkValues(tree *values.Node, c Context) error {
	if !t.linked && t.variables.Unify(t.ctx.BuildExpr(syntax(tree))).Validate(cue.Concrete(true), cue.Final()) == nil {
		return nil // as most values are; what they are held against need not be made
	}
	variables := t.root.FillPath(factsPath, t.ctx.BuildExpr(t.told(c, placeholder))).LookupPath(variablesPath)
	err := variables.Unify(t.ctx.BuildExpr(syntax(tree))).Validate(cue.Concrete(true), cue.Final())
	if err == nil {
		return nil
	}
	e := t.explain(variables, tree, c)
	e.finish(err, tree)
	return valuesError(e.problems)
}

// explain finds the mistakes in tree where variables is wanted, of the Release of c.
func (t *Template) explain(variables cue.Value, tree *values.Node, c Context) *explainer {
	t.conceal(tree)
	secrets := tree.Secrets()
	e := &explainer{ctx: t.ctx, hiding: tree.AnyHidden(), secrets: forms(secrets), variables: variables, reported: map[string]bool{}}
	e.sources, e.facts = &sources{text: t.source}, func() ast.Expr { return t.told(c, placeholder) }
	if len(secrets) > 0 {
		cover([]cue.Value{variables}, tree, secrets)
	}
	e.object(variables, tree, values.Root)
	return e
}

// finish adds that tree is wrong as a whole, of which the engine says err, where nothing else
// was found; and that there may be more.
func (e *explainer) finish(err error, tree *values.Node) {
	switch {
	case len(e.problems) == 0:
		e.rest(err, tree)
	case !e.cut:
		e.rules(tree)
	default:
		e.report(values.Root, "wanted entries that go together, found so many that do not that some may not be listed", "correct these first")
	}
}

// explainer finds out which of the values are mistakes. It walks schema and values
// together and asks the engine only whether a part fits, since the engine's own account
// mixes the mistake with every alternative and default that it excludes.
type explainer struct {
	ctx *cue.Context
	// variables is what the values are to be, facts what the context is.
	variables cue.Value
	facts     func() ast.Expr
	sources   *sources
	// scopes lead to the object that is being explained.
	scopes scopes
	// hiding is true where a sensitive variable is set; no message may then repeat one of
	// secrets, nor what the engine or the template makes of it.
	hiding   bool
	secrets  []string
	problems []Problem
	// reported are the paths of problems; found counts these, and those of a path that has one.
	reported map[string]bool
	found    int
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
	e.found++
	if e.reported[path] && path != values.Root && !strings.HasSuffix(path, "[*]") {
		// Where bounds depend on each other, another line would contradict the first.
		return &p
	}
	e.reported[path] = true
	e.problems = append(e.problems, p)
	return &e.problems[len(e.problems)-1]
}

// exhausted says whether enough was asked, and remembers that something is left open.
func (e *explainer) exhausted() bool {
	e.cut = e.cut || e.spent > maxSpent
	return e.cut
}

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
	e.scopes = append(e.scopes, scope{n, base})
	defer func() { e.scopes = e.scopes[:len(e.scopes)-1] }()
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
		before := e.found
		want := w.of(f)
		if own := declaration(schema, f.Name); want.IncompleteKind() == cue.BottomKind && own.Exists() {
			// What was set is part of base, and to the engine all is right in what it cannot
			// evaluate.
			want = own
		}
		e.value(want, f.Value, child)
		if suspect && e.found == before && !e.conflict(schema, n, accepted, f, path) {
			e.postponed(want, f.Value, child)
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

// postponed is value where the engine puts its judgement off, since the bounds of schema
// depend on another variable whose bounds depend on this one. As far as they are known they
// are held against n.
func (e *explainer) postponed(schema cue.Value, n *values.Node, path string) {
	known := arms.Expression(schema.Eval().Syntax())
	if known == nil || !scalar(n) {
		return
	}
	if u := e.ctx.BuildExpr(known).Unify(e.ctx.BuildExpr(syntax(n))); wrong(u) {
		e.mismatch(schema, u, n, path)
	}
}

// list explains what is wrong with the list n where schema is wanted: its items, or else
// the list as a whole.
func (e *explainer) list(schema cue.Value, n *values.Node, path string) {
	items := schema
	if u := schema.Unify(e.ctx.BuildExpr(skeleton(n))); u.Err() == nil {
		items = u
	}
	before := e.found
	for i, item := range n.Items {
		want := items.LookupPath(cue.MakePath(cue.Index(i)))
		if !want.Exists() {
			want = items.LookupPath(cue.MakePath(cue.AnyIndex))
		}
		if want.Exists() {
			e.value(want, item, values.Index(path, i))
		}
	}
	if e.found > before {
		return
	}
	if whole := schema.Unify(e.ctx.BuildExpr(syntax(n))); wrong(whole) && !ruled(whole) {
		e.mismatch(schema, whole, n, path)
	}
}
