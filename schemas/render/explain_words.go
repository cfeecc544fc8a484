package render

import (
	"fmt"
	"maps"
	"slices"
	"strconv"
	"strings"

	"cuelang.org/go/cue"
	"cuelang.org/go/cue/ast"
	"cuelang.org/go/cue/errors"

	"tidegate.io/tidegate/schemas/render/internal/shape"
	"tidegate.io/tidegate/schemas/render/internal/values"
)

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
	if e.hiding && shape.DependentAnywhere(schema) {
		// The bounds may be those of a sensitive variable.
		return "what goes with the other variables"
	}
	return OneLine(shape.Of(schema).Words())
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

// unknown reports the key of f, which schema with what fits of n, that is w, does not have.
func (e *explainer) unknown(schema cue.Value, w *wants, n *values.Node, f values.Field, path string) {
	known, patterns := w.names(schema, n)
	var message string
	switch {
	case f.Hidden:
		message = "wanted the names that the template allows, found another, not shown because it may be sensitive"
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
	root := scopes{{tree, e.variables.Unify(e.ctx.BuildExpr(syntax(tree)))}}
	var others []errors.Error
	for _, c := range errors.Errors(err) {
		if message, own, _ := e.broken(c, root.at(c.Path())); message != "" {
			e.unmet(pathOf(c.Path(), tree), message, own)
		} else if len(errors.Positions(c)) > 0 && !withinNoValue(c.Path()) {
			// The header of a list of failed alternatives has no positions, and says nothing.
			others = append(others, c)
		}
	}
	for _, c := range others {
		path := pathOf(c.Path(), tree)
		if slices.ContainsFunc(e.problems, func(p Problem) bool { return p.Path == path }) {
			continue
		}
		if want, n := wanted(e.variables, c.Path(), tree); want.Exists() && scalar(n) {
			e.mismatch(want, want.Unify(e.ctx.BuildExpr(syntax(n))), n, path)
		} else {
			e.report(path, e.engine(c), "")
		}
	}
	if len(e.problems) == 0 {
		e.report(values.Root, e.engine(errors.Promote(err, "")), "")
	}
}

// unmet reports a rule that is not met at path, once.
func (e *explainer) unmet(path, message, own string) {
	if slices.ContainsFunc(e.problems, func(p Problem) bool { return p.Path == path && p.Message == message }) {
		return
	}
	reported := e.reported[path]
	delete(e.reported, path) // one rule says nothing against another
	e.report(path, message, "", own).Hidden = strings.Contains(message, masked)
	e.reported[path] = e.reported[path] || reported
}

// engine is what the engine says of c.
func (e *explainer) engine(c errors.Error) string {
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

// rules reports the rules that the values do not meet, beside those that are reported already:
// what is not about one of them.
func (e *explainer) rules(tree *values.Node) {
	kept := e.unblamed(tree, values.Root)
	root := scopes{{kept, e.variables.Unify(e.ctx.BuildExpr(syntax(kept)))}}
	blamed := map[string]bool{}
	for path := range e.reported {
		for _, name := range strings.FieldsFunc(path, func(r rune) bool { return strings.ContainsRune(`.[]"`, r) }) {
			blamed[name] = true
		}
	}
	for _, c := range errors.Errors(root[0].made.Validate(cue.Final())) {
		message, own, r := e.broken(c, root.at(c.Path()))
		between := withinNoValue(c.Path()) || reaches(c.Path(), kept) && strings.HasPrefix(r.text, "if ")
		// What a name stands for that is no variable may be made of any of them.
		other := func(step string) bool { return blamed[step] || notValue(step) }
		if between && message != "" && !slices.ContainsFunc(r.names, func(name []string) bool { return slices.ContainsFunc(name, other) }) {
			e.unmet(pathOf(c.Path(), kept), message, own)
		}
	}
}

// unblamed is the object n without what is reported. A list with a mistake in it is left out
// whole: without one of its items the others would be others.
func (e *explainer) unblamed(n *values.Node, path string) *values.Node {
	out := *n
	out.Fields = nil
	for _, f := range n.Fields {
		child := f.Path(path)
		within := func(reported string) bool { return strings.HasPrefix(reported, child+"[") }
		if e.reported[child] || f.Value.Kind == values.List && slices.ContainsFunc(slices.Collect(maps.Keys(e.reported)), within) {
			continue
		}
		f.Value = e.unblamed(f.Value, child)
		out.Fields = append(out.Fields, f)
	}
	return &out
}

// notValue says whether a selector is one of a hidden field or of a definition, which no
// value has.
func notValue(selector string) bool { return selector != "" && strings.ContainsAny(selector[:1], "_#") }

// ruled says whether v fails a rule of the template within it, not what it is to be itself.
func ruled(v cue.Value) bool {
	return slices.ContainsFunc(errors.Errors(v.Validate()), func(c errors.Error) bool { return withinNoValue(c.Path()) })
}

// wanted is what schema declares at the engine's path, and what tree has there. It does not
// exist where a pattern declares it, or nothing does.
func wanted(schema cue.Value, selectors []string, tree *values.Node) (cue.Value, *values.Node) {
	for _, s := range selectors {
		if s == variablesPath.String() {
			continue
		}
		step, ok := stepOf(tree, s)
		if !ok || step.Item {
			return cue.Value{}, tree
		}
		schema, tree = declaration(schema, step.Name), tree.Field(step.Name)
	}
	return schema, tree
}

// reaches says whether tree has the value at the engine's path.
func reaches(selectors []string, tree *values.Node) bool {
	for _, s := range selectors {
		if s == variablesPath.String() {
			continue
		}
		step, ok := stepOf(tree, s)
		if !ok {
			return false
		}
		if step.Item {
			tree = tree.Items[step.Index]
		} else {
			tree = tree.Field(step.Name)
		}
	}
	return true
}

func withinNoValue(selectors []string) bool {
	return slices.ContainsFunc(selectors, func(s string) bool { return s != variablesPath.String() && notValue(s) })
}

// pathOf is the engine's path, which begins at the definition, as a path of values. It
// ends where the values do, since the engine may have made the rest of them.
func pathOf(selectors []string, tree *values.Node) string {
	path := values.Root
	for _, s := range selectors {
		if s == variablesPath.String() {
			continue
		}
		step, ok := stepOf(tree, s)
		switch {
		case ok && step.Item:
			path, tree = values.Index(path, step.Index), tree.Items[step.Index]
			continue
		case ok:
			i := slices.IndexFunc(tree.Fields, func(f values.Field) bool { return f.Name == step.Name })
			path, tree = tree.Fields[i].Path(path), tree.Fields[i].Value
			continue
		case tree.Kind == values.Object && !notValue(s) && !tree.AnyHidden():
			path = values.Child(path, unquoted(s))
		}
		return path
	}
	return path
}

// stepOf is the step from n that the engine's selector stands for; ok is false where n does
// not have it.
func stepOf(n *values.Node, selector string) (step values.Step, ok bool) {
	if n.Kind == values.List {
		i, err := strconv.Atoi(selector)
		return values.Step{Item: true, Index: i}, err == nil && i >= 0 && i < len(n.Items)
	}
	name := unquoted(selector)
	return values.Step{Name: name}, !notValue(selector) && n.Field(name) != nil
}

func unquoted(selector string) string {
	if name, err := strconv.Unquote(selector); err == nil {
		return name
	}
	return selector
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
		problems[i] = Problem{Path: t.PublicPath(steps), Message: message, Hint: m.Hint, Name: m.Name, Hidden: hidden}
	}
	return valuesError(problems)
}
