package render

import (
	"encoding/json"
	"fmt"
	"slices"
	"strings"

	"cuelang.org/go/cue"

	"tidegate.io/tidegate/schemas/render/internal/values"
)

// Immutable returns a *ValuesError for each variable marked @immutable() whose value, the
// default filled in, differs between was and now, the JSON of the values of one Release.
// Values that do not fit #Variables are not its business.
//
// What is marked stands for all below it. The entries of lists are compared by index and
// those of maps by name; an entry that only one side has is a change only where the list
// or map itself is marked.
func (t *Template) Immutable(was, now []byte) (err error) {
	defer recovered(&err)
	before, ok := t.filled(was)
	if !ok {
		return nil
	}
	after, ok := t.filled(now)
	if !ok {
		return nil
	}
	// One side may set a variable that the other leaves out, so both trees are hidden by
	// what either says.
	t.conceal(before.tree)
	t.conceal(after.tree)
	c := comparison{}
	c.object(before, after, values.Root)
	if len(c.problems) > 0 {
		return valuesError(c.problems)
	}
	return nil
}

// filled is one value of a Release with its defaults: what the engine makes of it, and
// what was written, nil where nothing was.
type filled struct {
	value cue.Value
	tree  *values.Node
}

func (t *Template) filled(valuesJSON []byte) (filled, bool) {
	tree, mistakes := values.Parse(valuesJSON)
	if len(mistakes) > 0 {
		return filled{}, false
	}
	v := t.variables.Unify(t.ctx.BuildExpr(syntax(tree)))
	return filled{v, tree}, v.Validate(cue.Concrete(true), cue.Final()) == nil
}

func (f filled) entry(name string) filled {
	out := filled{value: entry(f.value, name)}
	if f.tree != nil && f.tree.Kind == values.Object {
		out.tree = f.tree.Field(name)
	}
	return out
}

func (f filled) item(i int) filled {
	out := filled{value: f.value.LookupPath(cue.MakePath(cue.Index(i)))}
	if f.tree != nil && f.tree.Kind == values.List && i < len(f.tree.Items) {
		out.tree = f.tree.Items[i]
	}
	return out
}

// json is the value as JSON, "" where there is none. The engine writes fields in the
// order that they were declared in, so the text is read and written anew.
func (f filled) json() string {
	if !f.value.Exists() {
		return ""
	}
	text, err := f.value.MarshalJSON()
	if err != nil {
		return ""
	}
	tree, mistakes := values.Parse([]byte(`{"v":` + string(text) + `}`))
	if len(mistakes) > 0 {
		return string(text)
	}
	return plain(tree.Fields[0].Value)
}

// plain writes n as JSON.
func plain(n *values.Node) string {
	var parts []string
	switch n.Kind {
	case values.List:
		for _, item := range n.Items {
			parts = append(parts, plain(item))
		}
		return "[" + strings.Join(parts, ",") + "]"
	case values.Object:
		for _, f := range n.Fields {
			parts = append(parts, jsonText(f.Name)+":"+plain(f.Value))
		}
		return "{" + strings.Join(parts, ",") + "}"
	case values.String:
		return jsonText(n.Text)
	default:
		return n.Describe()
	}
}

func jsonText(s string) string {
	b, err := json.Marshal(s)
	if err != nil {
		return fmt.Sprintf("%q", s)
	}
	return string(b)
}

// comparison finds the immutable variables that differ.
type comparison struct{ problems []Problem }

// value compares what stands at path; schema is where the mark would be.
func (c *comparison) value(before, after filled, path string) {
	if before.value.Exists() != after.value.Exists() && before.tree == nil && after.tree == nil {
		// Nobody has set it: a condition of the template brings its default or takes it away.
		return
	}
	if marked(before.value, immutableMark) || marked(after.value, immutableMark) {
		if a, b := before.json(), after.json(); a != b {
			c.report(before, after, path)
		}
		return
	}
	kinds := before.value.IncompleteKind() & after.value.IncompleteKind()
	switch {
	case !before.value.Exists() || !after.value.Exists():
	case kinds&cue.StructKind != 0:
		c.object(before, after, path)
	case kinds&cue.ListKind != 0:
		c.list(before, after, path)
	}
}

func (c *comparison) object(before, after filled, path string) {
	for _, name := range fieldNames(before.value, after.value) {
		b, a := before.entry(name), after.entry(name)
		where := values.Child(path, name)
		if hiddenName(before.tree, name) || hiddenName(after.tree, name) {
			where = path + "[*]"
		}
		c.value(b, a, where)
	}
}

func hiddenName(tree *values.Node, name string) bool {
	return tree != nil && slices.ContainsFunc(tree.Fields, func(f values.Field) bool { return f.Hidden && f.Name == name })
}

// fieldNames are the names of the fields that one of the structs has, sorted.
func fieldNames(structs ...cue.Value) []string {
	var out []string
	for _, v := range structs {
		it, err := v.Fields()
		for err == nil && it.Next() {
			out = append(out, it.Selector().Unquoted())
		}
	}
	slices.Sort(out)
	return slices.Compact(out)
}

func (c *comparison) list(before, after filled, path string) {
	// A list that is not marked may grow and shrink.
	for i := range maxItems(before.value, after.value) {
		c.value(before.item(i), after.item(i), values.Index(path, i))
	}
}

func maxItems(lists ...cue.Value) int {
	n := values.MaxEntries
	for _, v := range lists {
		if l, err := v.Len().Int64(); err == nil {
			n = min(n, int(l))
		}
	}
	return n
}

func (c *comparison) report(before, after filled, path string) {
	was, hidden := describe(before)
	now, alsoHidden := describe(after)
	hidden = hidden || alsoHidden || marked(before.value, sensitiveMark) || marked(after.value, sensitiveMark)
	message := fmt.Sprintf("wanted %s as before, since the variable cannot be changed, found %s", was, now)
	if hidden {
		message = "wanted the value that there was before, since the variable cannot be changed, found another, not shown because the variable is sensitive"
	}
	c.problems = append(c.problems, Problem{
		Path: path, Message: message, Hidden: hidden,
		Hint: "set it back, or make a new Release",
	})
}

// describe says what f is, and whether it may not be repeated.
func describe(f filled) (text string, hidden bool) {
	if f.tree != nil && f.tree.AnyHidden() {
		return "", true
	}
	text = f.json()
	if text == "" {
		return "nothing", false
	}
	tree, mistakes := values.Parse([]byte(`{"v":` + text + `}`))
	if len(mistakes) > 0 {
		return "a value", false
	}
	return tree.Fields[0].Value.Describe(), false
}
