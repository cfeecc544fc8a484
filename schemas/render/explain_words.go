package render

import (
	"fmt"
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
