package render

import (
	"bytes"
	"fmt"
	"maps"
	"regexp"
	"slices"

	"cuelang.org/go/cue"
	"cuelang.org/go/cue/ast"

	"tidegate.io/tidegate/schemas/render/internal/manifest"
	"tidegate.io/tidegate/schemas/render/internal/values"
)

const (
	// placeholder stands for the revision in the first pass. It has the shape of one.
	placeholder = "7de0a7e5f0"
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
	defer recovered(&err)
	if len(c.Name) > maxName || !releaseName.MatchString(c.Name) || c.Namespace == "" || c.Template == "" {
		return nil, fmt.Errorf("rendering: wanted a Release name of at most %d lower case letters, digits and dashes, a namespace and a template, found %+v", maxName, c)
	}
	tree, mistakes := values.Parse(valuesJSON)
	if bytes.Contains(valuesJSON, []byte(placeholder)) {
		mistakes = append(mistakes, values.Mistake{Path: values.Root, Message: "wanted values without the reserved text " + placeholder + ", found it"})
	}
	if len(mistakes) > 0 {
		problems := make([]Problem, len(mistakes))
		for i, m := range mistakes {
			problems[i] = Problem{Path: m.Path, Message: m.Message, Hint: m.Hint}
		}
		return nil, valuesError(problems)
	}
	if err := t.checkValues(tree); err != nil {
		return nil, err
	}
	revision, err := t.revision(tree, c)
	if err != nil {
		return nil, err
	}
	return t.result(tree, c, revision)
}

// revision renders with the placeholder and returns the digest of the set that it gives.
func (t *Template) revision(tree *values.Node, c Context) (string, error) {
	objects, _, err := t.evaluate(tree, c, placeholder)
	if err != nil {
		return "", err
	}
	read, lines := manifest.Read(objects, c.release(placeholder))
	if len(lines) > 0 {
		return "", sourceError(lines...)
	}
	sum, err := hexDigest(manifest.Identity(read.Set))
	if err != nil {
		return "", fmt.Errorf("computing the revision: %w", err)
	}
	return sum[:revisionDigits], nil
}

// result renders with the real revision.
func (t *Template) result(tree *values.Node, c Context, revision string) (*Result, error) {
	objects, rollout, err := t.evaluate(tree, c, revision)
	if err != nil {
		return nil, err
	}
	if bytes.Contains(objects, []byte(placeholder)) || bytes.Contains(rollout, []byte(placeholder)) {
		return nil, sourceError("wanted objects without the reserved text " + placeholder + ", found it; the template must not spell it out")
	}
	read, lines := manifest.Read(objects, c.release(revision))
	strategy, wrong := manifest.Strategy(rollout)
	if lines = append(lines, wrong...); len(lines) > 0 {
		return nil, sourceError(lines...)
	}
	// The digest is of what the template said, so that another version of Tidegate, which
	// may add other labels or defaults, finds the same one.
	said, err := manifest.Decode(rollout)
	if err != nil {
		return nil, fmt.Errorf("reading the rollout field: %w", err)
	}
	sum, err := digest(map[string]any{"objects": read.All(), "rollout": said})
	if err != nil {
		return nil, fmt.Errorf("computing the digest: %w", err)
	}
	if lines := read.Finish(); len(lines) > 0 {
		return nil, sourceError(lines...)
	}
	return &Result{
		Revision: revision,
		Digest:   sum,
		Replicas: read.Replicas,
		Strategy: strategy,
		Set:      manifest.Objects(read.Set),
		Route:    manifest.Objects(read.Routes)[0],
		Shared:   manifest.Objects(read.Shared),
	}, nil
}

func (c Context) release(revision string) manifest.Release {
	return manifest.Release{Name: c.Name, Namespace: c.Namespace, Template: c.Template, Revision: revision}
}

// evaluate unifies the template with values and facts and returns the JSON of the fields
// objects and rollout.
func (t *Template) evaluate(tree *values.Node, c Context, revision string) (objects, rollout []byte, err error) {
	facts, given := &ast.StructLit{}, c.facts(revision)
	for _, name := range slices.Sorted(maps.Keys(given)) {
		if slices.Contains(t.facts, name) {
			facts.Elts = append(facts.Elts, &ast.Field{Label: ast.NewString(name), Value: ast.NewString(given[name])})
		}
	}
	filled := t.root.Unify(t.ctx.BuildExpr(&ast.StructLit{Elts: []ast.Decl{
		&ast.Field{Label: ast.NewIdent("values"), Value: syntax(tree)},
		&ast.Field{Label: ast.NewIdent("context"), Value: facts},
	}}))
	if err := filled.Validate(cue.Concrete(true), cue.Final()); err != nil {
		return nil, nil, cueError(err)
	}
	if objects, err = filled.LookupPath(objectsPath).MarshalJSON(); err != nil {
		return nil, nil, cueError(err)
	}
	if rollout, err = filled.LookupPath(rolloutPath).MarshalJSON(); err != nil {
		return nil, nil, cueError(err)
	}
	return objects, rollout, nil
}
