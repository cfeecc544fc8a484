package render

import (
	"fmt"
	"slices"

	"cuelang.org/go/cue"
	"cuelang.org/go/cue/ast"
	"cuelang.org/go/cue/errors"
	"cuelang.org/go/cue/literal"

	"tidegate.io/tidegate/schemas/render/internal/shape"
)

// said is what the author of schema says with error() about failed, which is schema with
// a value; empty where the failure is another one. A text that is computed may repeat a
// sensitive value, and is told from the engine's own words by its place alone: the last.
func (e *explainer) said(schema, failed cue.Value) string {
	if !shape.AuthorsWords(schema) {
		return ""
	}
	fixed := shape.FixedWords(schema)
	if !fixed && authors(schema) != "" {
		return ""
	}
	var texts []string
	for _, c := range errors.Errors(failed.Err()) {
		if text := e.authored(c, e.scopes); text != "" {
			return text
		}
		format, args := c.Msg()
		texts = append(texts, fmt.Sprintf(format, args...))
	}
	if len(texts) == 0 {
		return ""
	}
	if !fixed {
		if e.hiding {
			return ""
		}
		return texts[len(texts)-1]
	}
	written := wordings(schema)
	for _, text := range texts {
		if slices.Contains(written, text) {
			return text
		}
	}
	return ""
}

// wordings are the texts that schema gives to error(), where they are written out.
func wordings(schema cue.Value) []string {
	var out []string
	ast.Walk(schema.Syntax(cue.Raw()), func(n ast.Node) bool {
		c, ok := n.(*ast.CallExpr)
		if !ok || len(c.Args) != 1 {
			return true
		}
		name, isName := c.Fun.(*ast.Ident)
		text, isText := c.Args[0].(*ast.BasicLit)
		if isName && isText && name.Name == "error" {
			if said, err := literal.Unquote(text.Value); err == nil {
				out = append(out, said)
			}
		}
		return true
	}, nil)
	return out
}
