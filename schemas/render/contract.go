package render

import (
	"fmt"
	"maps"
	"slices"
	"strings"

	"cuelang.org/go/cue"
	"cuelang.org/go/cue/ast"

	"tidegate.io/tidegate/schemas/render/internal/shape"
	"tidegate.io/tidegate/schemas/render/internal/values"
)

var (
	variablesPath = cue.ParsePath("#Variables")
	contextPath   = cue.ParsePath("#Context")
	valuesPath    = cue.ParsePath("values")
	factsPath     = cue.ParsePath("context")
	objectsPath   = cue.ParsePath("objects")
	rolloutPath   = cue.ParsePath("rollout")
	testsPath     = cue.ParsePath("tests")
)

// sections are the fields that a template may have at its top level, besides definitions
// and hidden fields.
var sections = []string{"context", "objects", "rollout", "tests", "values"}

// probe is a name that no template declares by itself.
const probe = "tidegate_undeclared_name"

// checkContract returns a line for each way in which the template breaks the contract.
func (t *Template) checkContract() []string {
	var lines []string
	missing := func(format string, args ...any) { lines = append(lines, fmt.Sprintf(format, args...)) }

	switch v := t.variables; {
	case !v.Exists():
		missing("wanted #Variables, the closed struct of what a team may set, found none; add #Variables: {...}")
	case !isStruct(v):
		lines = append(lines, at(v, "wanted #Variables to be a struct, found %v", v.IncompleteKind()))
	case t.plainlyOpen(v):
		lines = append(lines, at(v, "wanted #Variables to be closed, so that a typo is an error, found that it accepts any name; remove the ... or the pattern from it"))
	default:
		lines = append(lines, lintDefaults(v, values.Root, 0)...)
	}
	lines = append(lines, t.checkContext()...)
	lines = append(lines, t.checkLink(valuesPath, variablesPath)...)
	lines = append(lines, t.checkLink(factsPath, contextPath)...)

	if v := t.root.LookupPath(objectsPath); !v.Exists() {
		missing("wanted objects, the Kubernetes objects by a name of your choice, found none; add objects: deployment: {...}")
	} else if v.IncompleteKind() != cue.StructKind {
		lines = append(lines, at(v, "wanted objects to be a struct of Kubernetes objects, found %v", v.IncompleteKind()))
	}
	if v := t.root.LookupPath(rolloutPath); !v.Exists() {
		missing(`wanted rollout, the strategy, found none; add rollout: {type: "canary", steps: [{setWeight: 100}]}`)
	} else if v.IncompleteKind() != cue.StructKind {
		lines = append(lines, at(v, "wanted rollout to be a struct, found %v", v.IncompleteKind()))
	}
	return append(lines, t.checkSections()...)
}

// checkLink checks that path holds the definition at def, closed as it is.
func (t *Template) checkLink(path, def cue.Path) []string {
	v := t.root.LookupPath(path)
	switch {
	case !v.Exists():
		return []string{fmt.Sprintf("wanted the field %v: %v, found none; add it", path, def)}
	case !isStruct(v) || !isReference(v, def) && t.plainlyOpen(v):
		return []string{at(v, "wanted %v: %v, found something that accepts more names; write just %v: %v", path, def, path, def)}
	}
	return nil
}

// isReference says whether v is nothing but a reference to def.
func isReference(v cue.Value, def cue.Path) bool {
	_, path := v.ReferencePath()
	return path.String() == def.String()
}

// checkContext finds out which facts #Context has room for, and whether it asks for more.
func (t *Template) checkContext() []string {
	v := t.root.LookupPath(contextPath)
	if !v.Exists() {
		return []string{"wanted #Context, the facts that Tidegate fills in, found none; add #Context: {name: string, namespace: string, template: string, revision: string}"}
	}
	if v.IncompleteKind() != cue.StructKind {
		return []string{at(v, "wanted #Context to be a struct, found %v", v.IncompleteKind())}
	}
	given := Context{Name: "demo", Namespace: "default", Template: "demo"}.facts(placeholder)
	var lines []string
	filled := &ast.StructLit{}
	for _, name := range slices.Sorted(maps.Keys(given)) {
		if !v.Allows(cue.Str(name)) {
			continue
		}
		t.facts = append(t.facts, name)
		filled.Elts = append(filled.Elts, &ast.Field{Label: ast.NewString(name), Value: ast.NewString(given[name])})
	}
	if err := v.Unify(t.ctx.BuildExpr(filled)).Validate(cue.Concrete(true), cue.Final()); err != nil {
		lines = append(lines, at(v, "wanted #Context to accept what Tidegate fills in (%s, each a string), found: %v",
			strings.Join(slices.Sorted(maps.Keys(given)), ", "), err))
	}
	return lines
}

// checkSections refuses regular top-level fields that mean nothing, such as a misspelt
// section.
func (t *Template) checkSections() []string {
	it, err := t.root.Fields(cue.Optional(true))
	if err != nil {
		return cueLines(err)
	}
	var lines []string
	for it.Next() {
		name := it.Selector().Unquoted()
		if slices.Contains(sections, name) {
			continue
		}
		line := fmt.Sprintf("wanted one of %s, found the top-level field %s; hide a helper as _%s",
			strings.Join(sections, ", "), name, name)
		if near := values.Nearest(name, sections); near != "" {
			line += fmt.Sprintf(", or did you mean %s?", near)
		}
		lines = append(lines, at(it.Value(), "%s", line))
	}
	return lines
}

// lintDefaults finds defaults outside of the bounds that stand beside them.
func lintDefaults(v cue.Value, path string, depth int) []string {
	it, err := v.Fields(cue.Optional(true))
	if err != nil || depth > values.MaxDepth {
		return nil
	}
	var lines []string
	for it.Next() {
		field := it.Value()
		child := values.Child(path, it.Selector().Unquoted())
		if isStruct(field) {
			lines = append(lines, lintDefaults(field, child, depth+1)...)
			continue
		}
		if d := shape.DefaultOutside(field); d != "" {
			lines = append(lines, at(field, "%s: wanted a default that is %s, found %s", child, shape.Of(field).Words(), d))
		}
	}
	return lines
}
