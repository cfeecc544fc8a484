package render

import (
	"bytes"
	"fmt"
	"maps"
	"reflect"
	"regexp"
	"slices"
	"strings"

	"cuelang.org/go/cue"
	"cuelang.org/go/cue/ast"
	"k8s.io/apimachinery/pkg/apis/meta/v1/unstructured"

	"tidegate.io/tidegate/schemas/render/internal/manifest"
	"tidegate.io/tidegate/schemas/render/internal/values"
)

const (
	// placeholder stands for the revision while a template is evaluated, since the revision
	// is the digest of what comes out; it has the shape of one. Another one would give
	// every service another revision: it never changes.
	placeholder = "7de0a7e5f0"
	// witness is a second stand-in, for templates that do more with it than hand it on.
	witness = "a91c5b38d2"
	// revisionDigits is the length of a revision.
	revisionDigits = len(placeholder)
	// maxName is the greatest length of a Release's name: a Service is named
	// <release>-<revision>, and has 63 characters at most.
	maxName = 40
)

var releaseName = regexp.MustCompile(`^[a-z]([-a-z0-9]*[a-z0-9])?$`)

// facts are what a template's #Context is filled with.
func (c Context) facts(revision string) map[string]string {
	return map[string]string{
		"name":      c.Name,
		"namespace": c.Namespace,
		"template":  c.Template,
		"revision":  revision,
	}
}

// Render makes objects and strategy of valuesJSON, a JSON object. Mistakes in the values
// are a *ValuesError; values that are right and that the template makes something
// forbidden of are a *SourceError.
func (t *Template) Render(valuesJSON []byte, c Context) (res *Result, err error) {
	var tree *values.Node
	defer func() { err = t.discreet(err, tree) }()
	defer recovered(&err)
	if tree, err = t.read(valuesJSON, c); err != nil {
		return nil, err
	}
	out, err := t.evaluate(tree, c, placeholder)
	if err != nil {
		return nil, err
	}
	return out.result(c)
}

// RenderTwice renders as Render does, and finds out besides whether the template hands
// context.revision on as it is. Render replaces a stand-in in the text that comes out, so
// what a template computes of the revision, such as its length or capital letters, would
// be that of the stand-in: a *SourceError says where.
func (t *Template) RenderTwice(valuesJSON []byte, c Context) (res *Result, err error) {
	var tree *values.Node
	defer func() { err = t.discreet(err, tree) }()
	defer recovered(&err)
	if tree, err = t.read(valuesJSON, c); err != nil {
		return nil, err
	}
	first, err := t.evaluate(tree, c, placeholder)
	if err != nil {
		return nil, err
	}
	if res, err = first.result(c); err != nil {
		return nil, err
	}
	second, err := t.evaluate(tree, c, witness)
	if err != nil {
		return nil, sourceError("wanted objects whatever the revision is, found an error when it is " + witness + ": " + err.Error())
	}
	if path := first.replaced(witness).differs(second); path != "" {
		return nil, sourceError(path + ": wanted context.revision handed on as it is, alone or within a text, found that the template computes something of it, or spells " + placeholder + " out; use it in names and labels only")
	}
	return res, nil
}

// read checks the context and reads the values.
func (t *Template) read(valuesJSON []byte, c Context) (*values.Node, error) {
	if err := c.Check(); err != nil {
		return nil, err
	}
	tree, mistakes := values.Parse(valuesJSON)
	if len(mistakes) == 0 && holds(tree, placeholder) {
		mistakes = append(mistakes, values.Mistake{Wanted: "wanted values without the reserved text " + placeholder + ", found it"})
	}
	if len(mistakes) == 0 {
		return tree, nil
	}
	return nil, t.mistaken(mistakes)
}

// holds reports whether text is within any key or string of n. The text of the JSON would
// not tell: a letter may be written as an escape.
func holds(n *values.Node, text string) bool {
	if n.Kind == values.String && strings.Contains(n.Text, text) {
		return true
	}
	return slices.ContainsFunc(n.Items, func(item *values.Node) bool { return holds(item, text) }) ||
		slices.ContainsFunc(n.Fields, func(f values.Field) bool {
			return strings.Contains(f.Name, text) || holds(f.Value, text)
		})
}

// evaluated is the JSON of what a template made of values, with a stand-in for the
// revision.
type evaluated struct{ objects, rollout []byte }

// replaced is e with another text for the revision. The stand-in is of plain letters and
// digits, so JSON writes it as it is, and it does not overlap with itself.
func (e evaluated) replaced(revision string) evaluated {
	by := func(b []byte) []byte { return bytes.ReplaceAll(b, []byte(placeholder), []byte(revision)) }
	return evaluated{objects: by(e.objects), rollout: by(e.rollout)}
}

// differs returns the path of the first difference, or "".
func (e evaluated) differs(other evaluated) string {
	for _, part := range []struct {
		path string
		a, b []byte
	}{{"objects", e.objects, other.objects}, {"rollout", e.rollout, other.rollout}} {
		if bytes.Equal(part.a, part.b) {
			continue
		}
		a, err := manifest.Decode(part.a)
		if err != nil {
			return part.path
		}
		b, err := manifest.Decode(part.b)
		if err != nil {
			return part.path
		}
		return difference(part.path, a, b)
	}
	return ""
}

// difference returns the path of the first difference between two values that differ.
func difference(path string, a, b any) string {
	switch a := a.(type) {
	case map[string]any:
		b, ok := b.(map[string]any)
		if !ok {
			return path
		}
		for _, key := range slices.Sorted(maps.Keys(a)) {
			if other, ok := b[key]; !ok || !reflect.DeepEqual(a[key], other) {
				return difference(values.Child(path, key), a[key], other)
			}
		}
	case []any:
		b, ok := b.([]any)
		if !ok {
			return path
		}
		for i := range min(len(a), len(b)) {
			if !reflect.DeepEqual(a[i], b[i]) {
				return difference(values.Index(path, i), a[i], b[i])
			}
		}
	}
	return path
}

// result puts the revision in and checks what came out.
func (e evaluated) result(c Context) (*Result, error) {
	read, lines := manifest.Read(e.objects, c.release(placeholder))
	if len(lines) > 0 {
		return nil, sourceError(lines...)
	}
	sum, err := hexDigest(manifest.Identity(read.Set))
	if err != nil {
		return nil, fmt.Errorf("computing the revision: %w", err)
	}
	revision := sum[:revisionDigits]
	read.Revise(revision)
	rollout := bytes.ReplaceAll(e.rollout, []byte(placeholder), []byte(revision))
	strategy, said, lines := manifest.Strategy(rollout)
	if len(lines) > 0 {
		return nil, sourceError(lines...)
	}
	// The digest is of what the template said, so that another version of Tidegate, which
	// may add other labels or defaults, finds the same one.
	written, err := read.Write()
	if err != nil {
		return nil, fmt.Errorf("computing the digest: %w", err)
	}
	whole, err := digest(map[string]any{"objects": written, "rollout": said})
	if err != nil {
		return nil, fmt.Errorf("computing the digest: %w", err)
	}
	if lines := read.Finish(strategy); len(lines) > 0 {
		return nil, sourceError(lines...)
	}
	res := &Result{
		Revision: revision,
		Digest:   whole,
		Replicas: read.Replicas,
		Strategy: strategy,
		Set:      manifest.Objects(read.Set),
		Shared:   manifest.Objects(read.Shared),
	}
	if routes := manifest.Objects(read.Routes); len(routes) > 0 { // none where the workload is changed in place
		res.Route, res.Router = routes[0], read.Router()
	}
	for i, job := range manifest.Objects(read.Jobs) {
		if res.Jobs == nil {
			res.Jobs = map[string]*unstructured.Unstructured{}
		}
		res.Jobs[read.Jobs[i].ID] = job
	}
	return res, nil
}

func (c Context) release(revision string) manifest.Release {
	return manifest.Release{Name: c.Name, Namespace: c.Namespace, Template: c.Template, Revision: revision}
}

// evaluate unifies the template with values and facts. Mistakes in the values are a
// *ValuesError.
func (t *Template) evaluate(tree *values.Node, c Context, revision string) (evaluated, error) {
	if !t.linked {
		if err := t.checkValues(tree, c); err != nil {
			return evaluated{}, err
		}
	}
	out, err := t.unify(tree, c, revision)
	if err != nil && t.linked {
		// The field values is #Variables, so wrong values fail here too. Whose mistake it
		// is, is asked only now, since most values are right.
		if mistake := t.checkValues(tree, c); mistake != nil {
			return evaluated{}, mistake
		}
	}
	return out, err
}

// isLinked reports whether the field values is #Variables itself, so that what fits the
// one fits the other.
func (t *Template) isLinked() bool {
	_, path := t.root.LookupPath(valuesPath).ReferencePath()
	return path.String() == variablesPath.String()
}

// told are the facts of c that the template has room for.
func (t *Template) told(c Context, revision string) ast.Expr {
	facts, given := &ast.StructLit{}, c.facts(revision)
	for _, name := range slices.Sorted(maps.Keys(given)) {
		if slices.Contains(t.facts, name) {
			facts.Elts = append(facts.Elts, &ast.Field{Label: ast.NewString(name), Value: ast.NewString(given[name])})
		}
	}
	return facts
}

func (t *Template) unify(tree *values.Node, c Context, revision string) (out evaluated, err error) {
	filled := t.root.Unify(t.ctx.BuildExpr(&ast.StructLit{Elts: []ast.Decl{
		&ast.Field{Label: ast.NewIdent("values"), Value: syntax(tree)},
		&ast.Field{Label: ast.NewIdent("context"), Value: t.told(c, revision)},
	}}))
	if err := filled.Validate(cue.Concrete(true), cue.Final()); err != nil {
		return out, t.cueError(err)
	}
	if out.objects, err = filled.LookupPath(objectsPath).MarshalJSON(); err != nil {
		return out, t.cueError(err)
	}
	if out.rollout, err = filled.LookupPath(rolloutPath).MarshalJSON(); err != nil {
		return out, t.cueError(err)
	}
	return out, nil
}
