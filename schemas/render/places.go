package render

import (
	"cmp"
	"slices"
	"strings"

	"cuelang.org/go/cue/ast"
	"cuelang.org/go/cue/build"
	"cuelang.org/go/cue/errors"
	"cuelang.org/go/cue/token"
)

// places says where in the template's own files a path such as _pod.spec is written, and
// where a definition of the kit, such as #Pod, is named first. Mistakes in what a template
// gives to the kit come to light within the kit, which its author did not write.
type places map[string]token.Pos

// maxPlaces is how deep the fields are that places has.
const maxPlaces = 6

func placesOf(inst *build.Instance) places {
	at := places{}
	for _, f := range inst.Files {
		at.decls(f.Decls, nil)
		ast.Walk(f, func(n ast.Node) bool {
			if s, ok := n.(*ast.SelectorExpr); ok {
				if id, ok := s.Sel.(*ast.Ident); ok && strings.HasPrefix(id.Name, "#") {
					at.add(id.Name, s.Pos())
				}
			}
			return true
		}, nil)
	}
	return at
}

func (at places) add(path string, pos token.Pos) {
	if _, ok := at[path]; !ok && pos.IsValid() {
		at[path] = pos
	}
}

func (at places) decls(decls []ast.Decl, path []string) {
	for _, d := range decls {
		switch d := d.(type) {
		case *ast.Field:
			name, _, err := ast.LabelName(d.Label)
			if err != nil || len(path) >= maxPlaces {
				continue
			}
			child := slices.Concat(path, []string{name})
			at.add(strings.Join(child, "."), d.Pos())
			at.expr(d.Value, child)
		case *ast.EmbedDecl:
			at.expr(d.Expr, path)
		case *ast.Comprehension:
			if value, ok := d.Value.(*ast.StructLit); ok {
				at.decls(value.Elts, path)
			}
		}
	}
}

func (at places) expr(e ast.Expr, path []string) {
	switch e := e.(type) {
	case *ast.StructLit:
		at.decls(e.Elts, path)
	case *ast.BinaryExpr:
		at.expr(e.X, path)
		at.expr(e.Y, path)
	case *ast.ParenExpr:
		at.expr(e.X, path)
	}
}

// position is the place that e is about, or "": as the engine has it, unless the kit is
// part of the matter. Then it is where the field is written, else another place in the
// template's own files, else where the nearest field above is written, else in the kit.
func (at places) position(e errors.Error) string {
	var own, within string
	for _, p := range errors.Positions(e) {
		into := &own
		if strings.HasPrefix(place(p), kitPlace) {
			into = &within
		}
		if *into == "" {
			*into = place(p)
		}
	}
	if within == "" {
		return own
	}
	whole, above := at.written(e.Path())
	return cmp.Or(whole, own, above, within)
}

// written is where the field at path is written, or else the nearest above it.
func (at places) written(path []string) (whole, above string) {
	for n := len(path); n > 0; n-- {
		names := make([]string, n)
		for i := range names {
			names[i] = strings.Trim(path[i], `"`)
		}
		if p, ok := at[strings.Join(names, ".")]; ok {
			if n == len(path) {
				return place(p), ""
			}
			return "", place(p)
		}
	}
	return "", ""
}

// cueError makes a SourceError of an error of the CUE engine.
func (t *Template) cueError(err error) error { return sourceError(t.places.lines(err)...) }

// lines has a line for each mistake that an error of the CUE engine reports.
func (at places) lines(err error) []string {
	var lines, headers []string
	for _, e := range errors.Errors(errors.Sanitize(errors.Promote(err, ""))) {
		line := errors.String(e)
		where := at.position(e)
		if where == "" {
			// A cycle has no place of its own.
			if whole, above := at.written(e.Path()); whole+above != "" {
				line = whole + above + ": " + line
			}
			headers = append(headers, line)
			continue
		}
		if line = where + ": " + line; !slices.Contains(lines, line) {
			lines = append(lines, line)
		}
	}
	// What has no place is a heading above what has, and says nothing where that is there.
	if len(lines) == 0 {
		return headers
	}
	return lines
}
