package main

import (
	"encoding/json"
	"errors"
	"fmt"

	"cuelang.org/go/cue"
	"cuelang.org/go/cue/ast"
	"cuelang.org/go/cue/build"
	"cuelang.org/go/cue/cuecontext"
	"cuelang.org/go/cue/parser"
	"cuelang.org/go/cue/token"
	cuejson "cuelang.org/go/encoding/json"
)

// bare is the least that the engine can do: what rendering is measured against.
type bare struct {
	ctx  *cue.Context
	root cue.Value
}

func newBare(files map[string]string) (*bare, error) {
	inst := build.NewContext(build.Loader(func(token.Pos, string) *build.Instance { return nil })).NewInstance("", nil)
	for name, source := range files {
		f, err := parser.ParseFile(name, source, parser.ParseComments)
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
	ctx := cuecontext.New()
	b := &bare{ctx: ctx, root: ctx.BuildInstance(inst)}
	return b, b.root.Err()
}

// render evaluates once and writes the JSON, without looking at any of it.
func (b *bare) render(values []byte) error {
	given, err := cuejson.Extract("values.json", values)
	if err != nil {
		return fmt.Errorf("reading values: %w", err)
	}
	facts := &ast.StructLit{}
	for _, f := range [][2]string{{"name", "cart"}, {"namespace", "shop"}, {"template", "web"}, {"revision", "0123456789"}} {
		facts.Elts = append(facts.Elts, &ast.Field{Label: ast.NewIdent(f[0]), Value: ast.NewString(f[1])})
	}
	v := b.root.Unify(b.ctx.BuildExpr(&ast.StructLit{Elts: []ast.Decl{
		&ast.Field{Label: ast.NewIdent("values"), Value: given},
		&ast.Field{Label: ast.NewIdent("context"), Value: facts},
	}}))
	if err := v.Validate(cue.Concrete(true), cue.Final()); err != nil {
		return fmt.Errorf("evaluating: %w", err)
	}
	for _, path := range []string{"objects", "rollout"} {
		out, err := v.LookupPath(cue.ParsePath(path)).MarshalJSON()
		if err != nil {
			return fmt.Errorf("writing: %w", err)
		}
		if !json.Valid(out) {
			return errors.New("writing: no JSON")
		}
	}
	return nil
}
