package shape

import "cuelang.org/go/cue"

// maxVisited bounds how many references and alternatives Mark follows.
const maxVisited = 64

// Mark returns the attribute called name of v: of its field, within its struct, or of a
// definition or field that v is written with, at any remove; the nearest comes first.
func Mark(v cue.Value, name string) (cue.Attribute, bool) {
	visited := 0
	return find(v, name, &visited)
}

func find(v cue.Value, name string, visited *int) (cue.Attribute, bool) {
	for _, a := range v.Attributes(cue.ValueAttr) {
		if a.Name() == name {
			return a, true
		}
	}
	if *visited++; *visited > maxVisited {
		return cue.Attribute{}, false
	}
	if root, path := v.ReferencePath(); root.Exists() && len(path.Selectors()) > 0 {
		if a, ok := find(root.LookupPath(path), name, visited); ok {
			return a, true
		}
	}
	op, parts := v.Expr()
	if op == cue.NoOp && len(parts) == 1 {
		// What is left of a choice once its default is dropped, by reference or not.
		if root, path := parts[0].ReferencePath(); root.Exists() && len(path.Selectors()) > 0 {
			return find(root.LookupPath(path), name, visited)
		}
		op, parts = parts[0].Expr()
	}
	if op != cue.AndOp && op != cue.OrOp {
		return cue.Attribute{}, false
	}
	for _, part := range parts {
		if a, ok := find(part, name, visited); ok {
			return a, true
		}
	}
	return cue.Attribute{}, false
}
