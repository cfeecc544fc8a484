package main

import (
	"fmt"

	"cuelang.org/go/cue"
	"cuelang.org/go/cue/ast"
	"cuelang.org/go/cue/build"
	"cuelang.org/go/cue/cuecontext"
	"cuelang.org/go/cue/parser"
	"cuelang.org/go/cue/token"
	cuejson "cuelang.org/go/encoding/json"

	"tidegate.io/tidegate/schemas/cue/kit"
)

// bare is the least that the engine can do: what rendering is measured against.
type bare struct {
	ctx  *cue.Context
	root cue.Value
}

// newBare builds a template, which may use the kit.
func newBare(files map[string]string) (*bare, error) {
	var failed error
	var loader *build.Context
	loader = build.NewContext(build.Loader(func(_ token.Pos, path string) *build.Instance {
		if path != kit.ImportPath {
			return nil
		}
		var helpers *build.Instance
		helpers, failed = parsed(loader, path, kit.Files())
		return helpers
	}))
	inst, err := parsed(loader, "", files)
	if err != nil {
		return nil, err
	}
	if failed != nil {
		return nil, failed
	}
	ctx := cuecontext.New()
	b := &bare{ctx: ctx, root: ctx.BuildInstance(inst)}
	return b, b.root.Err()
}

func parsed(loader *build.Context, path string, files map[string]string) (*build.Instance, error) {
	inst := loader.NewInstance(path, nil)
	inst.ImportPath = path
	for name, source := range files {
		f, err := parser.ParseFile(path+"/"+name, source, parser.ParseComments)
		if err != nil {
			return nil, fmt.Errorf("parsing: %w", err)
		}
		if err := inst.AddSyntax(f); err != nil {
			return nil, fmt.Errorf("adding %s: %w", name, err)
		}
	}
	if err := inst.Complete(); err != nil {
		return nil, fmt.Errorf("completing: %w", err)
	}
	return inst, nil
}

// render evaluates once and writes the JSON, without looking at any of it.
func (b *bare) render(values []byte) error {
	given, err := cuejson.Extract("values.json", values)
	if err != nil {
		return fmt.Errorf("reading values: %w", err)
	}
	known := &ast.StructLit{}
	for _, f := range [][2]string{{"name", facts.Name}, {"namespace", facts.Namespace}, {"template", facts.Template}, {"revision", "0123456789"}} {
		known.Elts = append(known.Elts, &ast.Field{Label: ast.NewIdent(f[0]), Value: ast.NewString(f[1])})
	}
	v := b.root.Unify(b.ctx.BuildExpr(&ast.StructLit{Elts: []ast.Decl{
		&ast.Field{Label: ast.NewIdent("values"), Value: given},
		&ast.Field{Label: ast.NewIdent("context"), Value: known},
	}}))
	if err := v.Validate(cue.Concrete(true), cue.Final()); err != nil {
		return fmt.Errorf("evaluating: %w", err)
	}
	for _, path := range []string{"objects", "rollout"} {
		if _, err := v.LookupPath(cue.ParsePath(path)).MarshalJSON(); err != nil {
			return fmt.Errorf("writing: %w", err)
		}
	}
	return nil
}
