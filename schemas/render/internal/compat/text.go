package compat

import (
	"regexp"
	"slices"
	"strings"

	"cuelang.org/go/cue"
	"cuelang.org/go/cue/ast"
	"cuelang.org/go/cue/format"

	"tidegate.io/tidegate/schemas/render/internal/arms"
)

// written is v as it was written, without comments and attributes. What v is made of more
// than once is joined by &.
func written(v cue.Value) ast.Expr {
	return arms.Expression(v.Syntax(cue.Raw(), cue.Attributes(false), cue.Docs(false)))
}

// evaluated is v with references resolved. It is what v accepts only if v refers to no
// other variable, since their defaults are filled in.
func evaluated(v cue.Value) ast.Expr {
	return arms.Expression(v.Eval().Syntax(cue.Optional(true), cue.Attributes(false), cue.Docs(false)))
}

var space = regexp.MustCompile(`\s+`)

// text is n on one line.
func text(n ast.Node) string {
	if d, ok := n.(*ast.Comprehension); ok {
		n = &ast.StructLit{Elts: []ast.Decl{d}}
	}
	b, err := format.Node(n, format.Simplify())
	if err != nil {
		return "?"
	}
	return strings.TrimSpace(space.ReplaceAllString(string(b), " "))
}

// predeclared are the names that mean the same everywhere.
var predeclared = map[string]bool{
	"bool": true, "bytes": true, "error": true, "false": true, "float": true, "float32": true, "float64": true,
	"int": true, "int8": true, "int16": true, "int32": true, "int64": true, "int128": true, "null": true,
	"number": true, "rune": true, "string": true, "true": true, "uint": true, "uint8": true, "uint16": true,
	"uint32": true, "uint64": true, "uint128": true, "_": true, "_|_": true,
	"and": true, "or": true, "len": true, "close": true, "div": true, "mod": true, "quo": true, "rem": true,
	"matchN": true, "matchIf": true, "self": true,
}

// libraries are the packages of CUE's own library, whose names mean the same everywhere.
var libraries = map[string]bool{
	"base64": true, "bits": true, "csv": true, "hex": true, "hmac": true, "html": true, "json": true, "list": true,
	"math": true, "md5": true, "net": true, "path": true, "regexp": true, "sha1": true, "sha256": true, "sha512": true,
	"strconv": true, "strings": true, "struct": true, "tabwriter": true, "template": true, "time": true, "uuid": true,
	"yaml": true, "kit": true,
}

// entirely marks a reference to all of a variable, not to one part of it: what is looked at
// as a whole changes with each of its parts.
const entirely = ".*"

// references returns the names that n refers to, in order, and those that it selects from
// what it refers to. Where all of a variable is meant, its name comes with entirely too.
func references(n ast.Node) []string {
	var names []string
	add := func(name string, all bool) {
		names = append(names, name)
		if all && !strings.HasPrefix(name, "#") && !strings.HasPrefix(name, "_") {
			names = append(names, name+entirely)
		}
	}
	var visit func(ast.Node) bool
	// selected is visit for what a part is taken of.
	var selected func(e ast.Expr, all bool)
	selected = func(e ast.Expr, all bool) {
		switch e := e.(type) {
		case *ast.SelectorExpr:
			if id, ok := e.X.(*ast.Ident); ok && libraries[id.Name] {
				return
			}
			if name, _, err := ast.LabelName(e.Sel); err == nil {
				add(name, all)
			}
			selected(e.X, false)
		case *ast.Ident:
			if !predeclared[e.Name] {
				add(e.Name, all)
			}
		default:
			ast.Walk(e, visit, nil)
		}
	}
	visit = func(n ast.Node) bool {
		switch n := n.(type) {
		case *ast.Field:
			// A label is a name, not a reference, unless it is computed.
			switch n.Label.(type) {
			case *ast.Ident, *ast.BasicLit:
			default:
				ast.Walk(n.Label, visit, nil)
			}
			ast.Walk(n.Value, visit, nil)
			return false
		case *ast.SelectorExpr:
			selected(n, true)
			return false
		case *ast.Ident:
			selected(n, true)
		}
		return true
	}
	if n != nil {
		ast.Walk(n, visit, nil)
	}
	slices.Sort(names)
	return slices.Compact(names)
}
