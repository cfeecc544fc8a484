package shape

import (
	"cuelang.org/go/cue"
	"cuelang.org/go/cue/ast"
	"cuelang.org/go/cue/cuecontext"
)

// closer tells which structs are closed. All of #Variables is, however deep, unless the
// author wrote ... there; but an alternative, and what a map or a list says of its entries,
// is open to the engine as long as it is taken out of the definition that it stands in. So
// it is put into one.
type closer struct{ in cue.Value }

var closerPath = cue.ParsePath("#D")

func newCloser() closer {
	return closer{cuecontext.New().BuildExpr(ast.NewStruct(ast.NewIdent("#D"), ast.NewIdent("_")))}
}

// opens says whether the struct v, as a part of a definition, accepts names that it does not
// declare.
func (c closer) opens(v cue.Value) bool {
	if v.IncompleteKind() == cue.BottomKind {
		return elliptic(v)
	}
	return v.Allows(cue.AnyString) && c.in.FillPath(closerPath, v).LookupPath(closerPath).Allows(cue.AnyString)
}
