package render

import (
	"slices"

	"cuelang.org/go/cue"
	"cuelang.org/go/cue/ast"

	"tidegate.io/tidegate/schemas/render/internal/shape"
	"tidegate.io/tidegate/schemas/render/internal/values"
)

// Variable is one thing that a team may set, as its author declared it.
type Variable struct {
	// Path is such as values.resources.cpu; [] stands for each entry of a list, <name> for
	// each entry of a map.
	Path string `json:"path"`
	// Position is file:line:column.
	Position string `json:"position,omitempty"`
	// Type says in words what is accepted.
	Type string `json:"type"`
	// Default is JSON; empty where there is none.
	Default string `json:"default,omitempty"`
	// Required says that a Release must set it.
	Required bool `json:"required,omitempty"`
	// Doc is the author's comment.
	Doc       string `json:"doc,omitempty"`
	Immutable bool   `json:"immutable,omitempty"`
	Sensitive bool   `json:"sensitive,omitempty"`
	// Example is JSON of a value that is accepted; empty where none could be made up.
	Example string `json:"example,omitempty"`
}

// Variables returns what a team may set, in the order of the source; a struct stands before
// what is in it.
func (t *Template) Variables() (out []Variable, err error) {
	defer recovered(&err)
	for _, d := range t.declared() {
		if d.path == values.Root {
			continue
		}
		v := Variable{
			Path: d.path, Position: d.position, Required: d.required(),
			Doc: shape.Description(d.value), Type: shape.Of(d.value).Words(),
			Immutable: marked(d.value, immutableMark), Sensitive: marked(d.value, sensitiveMark),
		}
		if text := authors(d.value); text != "" {
			v.Type = text
		}
		switch {
		case d.isMap:
			v.Type = "a map of names to values"
		case isStruct(d.value):
			v.Type = "an object"
		}
		if v.Sensitive {
			out = append(out, v)
			continue
		}
		if def, ok := ownDefault(d.value); ok && d.kind == fieldOf && !isStruct(d.value) {
			if b, err := def.MarshalJSON(); err == nil {
				v.Default = string(b)
			}
		}
		if n := t.example(d.value, 0); n != nil {
			v.Example = jsonOf(n)
		}
		out = append(out, v)
	}
	return out, nil
}

// place of a declaration within its parent.
type declaredAs int

const (
	fieldOf declaredAs = iota
	// entryOf is what a pattern says of all names.
	entryOf
	// itemOf is an entry of a list.
	itemOf
)

// declared is one part of #Variables.
type declared struct {
	path       string
	position   string
	value      cue.Value
	kind       declaredAs
	constraint cue.SelectorType
	// isMap says that it has entries by pattern and no fields of its own.
	isMap bool
	// leaf says that it has no fields.
	leaf bool
	// conditional says that it is there with some values of other variables only.
	conditional bool
}

// required says whether a Release has to set the variable. What is in a struct, a list or a
// map that is itself left out is not asked for, but then the struct is not leafy either.
func (d declared) required() bool {
	return d.kind == fieldOf && !d.conditional && (d.constraint == cue.RequiredConstraint ||
		d.constraint == 0 && !isStruct(d.value) && shape.NeedsValue(d.value))
}

// maxDeclared bounds how many parts of #Variables are looked at: definitions that refer to
// themselves have no end.
const maxDeclared = 2000

// declared returns #Variables and all its parts, each before what is in it.
func (t *Template) declared() []declared {
	var out []declared
	known := map[string]bool{}
	var visit func(d declared, depth int)
	visit = func(d declared, depth int) {
		if known[d.path] || len(out) == maxDeclared || depth > values.MaxDepth {
			return
		}
		known[d.path] = true
		d.leaf = true
		at := len(out)
		out = append(out, d)
		for _, arm := range t.declaredWays(d.value) {
			fields, entries := false, false
			conditional, written := shape.Conditional(arm)
			for it := structFields(arm); it != nil && it.Next(); {
				sel := it.Selector()
				child := declared{value: it.Value(), constraint: sel.ConstraintType(), position: place(it.Value().Pos())}
				if child.constraint == cue.PatternConstraint {
					entries = true
					child.kind, child.path = entryOf, d.path+".<name>"
					child.value = t.instance(arm, sel.Pattern(), child.value)
				} else {
					fields = true
					child.path = values.Child(d.path, sel.Unquoted())
					child.conditional = !written || slices.Contains(conditional, sel.Unquoted())
				}
				visit(child, depth+1)
			}
			out[at].isMap = entries && !fields
			out[at].leaf = out[at].leaf && !fields
			if item := t.item(arm); arm.IncompleteKind() == cue.ListKind && item.Exists() {
				visit(declared{path: d.path + "[]", value: item, kind: itemOf, position: place(item.Pos())}, depth+1)
			}
		}
	}
	visit(declared{path: values.Root, value: t.variables, position: place(t.variables.Pos())}, 0)
	return out
}

// instance is what the pattern of the struct in accepts under some name. What stands behind
// the pattern itself, which is value, is not closed as its instances are.
func (t *Template) instance(in, pattern, value cue.Value) cue.Value {
	name := t.first(pattern, scalars(pattern))
	if name == nil {
		return value
	}
	with := in.Unify(t.ctx.BuildExpr(&ast.StructLit{Elts: []ast.Decl{&ast.Field{Label: ast.NewString(name.Text), Value: ast.NewIdent("_")}}}))
	if v := with.LookupPath(cue.MakePath(cue.Str(name.Text))); v.Exists() && v.Err() == nil {
		return v
	}
	return value
}

// structFields iterates over the fields and patterns of a struct; nil for other values.
func structFields(v cue.Value) *cue.Iterator {
	if !isStruct(v) {
		return nil
	}
	it, err := v.Fields(cue.Optional(true), cue.Patterns(true))
	if err != nil {
		return nil
	}
	return it
}

// declaredWays are the alternatives of v that have parts, each also in the ways that its
// conditions can go.
func (t *Template) declaredWays(v cue.Value) []cue.Value {
	var out []cue.Value
	for _, arm := range declaredArms(v) {
		out = append(out, arm)
		if !isStruct(arm) {
			continue
		}
		for _, d := range t.decide(arm) {
			out = append(out, d.steps...)
		}
	}
	return out
}

// declaredArms are the alternatives of v that have parts; v itself where it is no choice.
func declaredArms(v cue.Value) []cue.Value {
	if shape.Kinds(v)&(cue.StructKind|cue.ListKind) == 0 {
		return nil
	}
	op, args := v.Eval().Expr()
	if op != cue.OrOp {
		return []cue.Value{v}
	}
	return args
}

// item is what the open list v says of its items; it does not exist where v says nothing.
func (t *Template) item(v cue.Value) cue.Value {
	item := v.LookupPath(cue.MakePath(cue.AnyIndex))
	if item.Exists() {
		return item
	}
	// A list with a default answers as the default does, unless it is of another length.
	d, ok := v.Default()
	if !ok {
		return item // a list of constants
	}
	n := 1
	for items, err := d.List(); err == nil && items.Next(); n++ {
		continue
	}
	list := &ast.ListLit{}
	for range n {
		list.Elts = append(list.Elts, ast.NewIdent("_"))
	}
	if longer := v.Unify(t.ctx.BuildExpr(list)); longer.IncompleteKind() == cue.ListKind {
		return longer.LookupPath(cue.MakePath(cue.Index(0)))
	}
	return item
}
