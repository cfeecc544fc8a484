package shape

import (
	"slices"
	"strings"

	"cuelang.org/go/cue"
	"cuelang.org/go/cue/ast"
	"cuelang.org/go/cue/token"
)

// Description returns the comment above the field that v is the value of.
func Description(v cue.Value) string {
	var paragraphs []string
	for _, group := range v.Doc() {
		text := strings.TrimSpace(group.Text())
		if text != "" && !slices.Contains(paragraphs, text) {
			paragraphs = append(paragraphs, text)
		}
	}
	return strings.Join(paragraphs, "\n\n")
}

// Alternatives describes the structs that v is a choice between; none if v is one struct.
func Alternatives(v cue.Value) []string {
	if _, ok := v.Default(); ok && v.IncompleteKind() != cue.StructKind {
		return nil
	}
	op, args := v.Eval().Expr()
	if op != cue.OrOp {
		return nil
	}
	var out []string
	for _, arm := range args {
		it, err := arm.Fields(cue.Optional(true))
		if err != nil {
			continue
		}
		var fields []string
		for it.Next() {
			text := it.Selector().Unquoted()
			if b, err := it.Value().MarshalJSON(); err == nil && it.Value().IsConcrete() {
				text += " " + string(b)
			} else if it.Selector().ConstraintType() == cue.OptionalConstraint {
				continue
			}
			fields = append(fields, text)
		}
		out = append(out, "an object with "+strings.Join(fields, " and "))
	}
	return out
}

// Discriminators returns the names of the fields that tell the structs apart that v is a
// choice between: those with one value in an alternative.
func Discriminators(v cue.Value) []string {
	var out []string
	for _, arm := range alternatives(v) {
		for name := range constants(arm) {
			if !slices.Contains(out, name) {
				out = append(out, name)
			}
		}
	}
	slices.Sort(out)
	return out
}

// Discriminator returns the name and the values of the field that has one value, and
// another, in each of the structs that v is a choice between; "" if there is no such field.
func Discriminator(v cue.Value) (name string, literals []Arm) {
	arms := alternatives(v)
	if len(arms) < 2 {
		return "", nil
	}
	for _, name := range Discriminators(v) {
		literals = nil
		for _, arm := range arms {
			a, ok := constants(arm)[name]
			if ok && !slices.ContainsFunc(literals, func(b Arm) bool { return b.Literal == a.Literal }) {
				literals = append(literals, a)
			}
		}
		if len(literals) == len(arms) {
			return name, literals
		}
	}
	return "", nil
}

// alternatives are the structs that v is a choice between; none if there is no choice.
func alternatives(v cue.Value) []cue.Value {
	op, args := v.Eval().Expr()
	if op != cue.OrOp {
		return nil
	}
	var out []cue.Value
	for _, arm := range args {
		if arm.IncompleteKind() != cue.StructKind {
			return nil
		}
		out = append(out, arm)
	}
	return out
}

// constants are the fields of the struct v that have one scalar value.
func constants(v cue.Value) map[string]Arm {
	out := map[string]Arm{}
	it, err := v.Fields()
	for err == nil && it.Next() {
		if s := Of(it.Value()); len(s.Arms) == 1 && s.Arms[0].Literal != "" {
			out[it.Selector().Unquoted()] = s.Arms[0]
		}
	}
	return out
}

// Accepts says whether one of the literals of s is the string or number in text.
func (s Shape) Accepts(text string) bool {
	return slices.ContainsFunc(s.Arms, func(a Arm) bool {
		return a.Literal != "" && (a.Kind == String && a.text() == text || a.Kind != String && a.Literal == text)
	})
}

// Kinds returns the types that v accepts, also where the engine cannot evaluate it for
// want of a value that it depends on.
func Kinds(v cue.Value) cue.Kind {
	if k := v.IncompleteKind(); k != cue.BottomKind {
		return k
	}
	if op, args := v.Expr(); op == cue.AndOp {
		k := cue.TopKind
		for _, a := range args {
			k &= Kinds(a)
		}
		return k
	}
	for _, w := range []cue.Value{v, cue.Dereference(v)} {
		switch expression(w.Syntax(cue.Raw())).(type) {
		case *ast.StructLit:
			return cue.StructKind
		case *ast.ListLit:
			return cue.ListKind
		}
	}
	return cue.BottomKind
}

// Required returns the names of the fields that the source of v marks with !, for a v
// that cannot be evaluated.
func Required(v cue.Value) []string {
	var out []string
	for _, w := range []cue.Value{v, cue.Dereference(v)} {
		s, ok := expression(w.Syntax(cue.Raw())).(*ast.StructLit)
		if !ok {
			continue
		}
		for _, d := range s.Elts {
			f, ok := d.(*ast.Field)
			if !ok || f.Constraint != token.NOT {
				continue
			}
			if name, _, err := ast.LabelName(f.Label); err == nil && !slices.Contains(out, name) {
				out = append(out, name)
			}
		}
	}
	return out
}

// NeedsValue says whether a regular field must be set, having no default and no value.
func NeedsValue(field cue.Value) bool {
	written := field
	if d, ok := field.Default(); ok {
		field = d
	}
	switch field.IncompleteKind() {
	case cue.StructKind:
		if len(alternatives(field)) > 1 {
			return true // Which of them is meant is not known.
		}
		it, err := field.Fields(cue.Optional(true))
		for err == nil && it.Next() {
			t := it.Selector().ConstraintType()
			if t == cue.RequiredConstraint || t == 0 && NeedsValue(it.Value()) {
				return true
			}
		}
		return false
	case cue.ListKind:
		return false
	default:
		// A computed default is one once all is known that it is computed from.
		return !field.IsConcrete() && !computed(written)
	}
}

// computed says whether a default that is written in v is computed from other values, such
// as those of the context, which are not known before a Release is rendered.
func computed(v cue.Value) bool {
	found := false
	for _, e := range conjuncts(v) {
		ast.Walk(e, func(n ast.Node) bool {
			if u, ok := n.(*ast.UnaryExpr); ok && u.Op == token.MUL {
				found = found || refers(u.X)
			}
			switch n.(type) {
			case *ast.StructLit, *ast.ListLit:
				return false
			}
			return true
		}, nil)
	}
	return found
}

// refers says whether e names a field, or calls a function of one.
func refers(e ast.Expr) bool {
	found := false
	ast.Walk(e, func(n ast.Node) bool {
		switch n := n.(type) {
		case *ast.CallExpr:
			found = found || slices.ContainsFunc(n.Args, refers)
			return false
		case *ast.SelectorExpr:
			id, ok := n.X.(*ast.Ident)
			sel, named := n.Sel.(*ast.Ident)
			found = found || (!ok || !packageName(id.Name)) && (!named || !strings.HasPrefix(sel.Name, "#"))
			return false
		case *ast.Ident:
			found = found || !predeclared(n.Name)
		}
		return true
	}, nil)
	return found
}

// hasDefault says whether a default is written in v itself.
func hasDefault(v cue.Value) bool {
	found := false
	walk(v, func(n ast.Node) bool {
		if u, ok := n.(*ast.UnaryExpr); ok && u.Op == token.MUL {
			found = true
		}
		_, list := n.(*ast.ListLit)
		return !list
	})
	return found
}

// Dependent says whether v refers to a field beside it, so that what it accepts depends
// on other values.
func Dependent(v cue.Value) bool {
	found := false
	walk(v, func(n ast.Node) bool {
		switch n := n.(type) {
		case *ast.IndexExpr:
			// A choice by conditions, such as [if a {"x"}, "y"][0].
			if _, choice := n.X.(*ast.ListLit); choice {
				found = true
			}
		case *ast.StructLit, *ast.ListLit, *ast.BasicLit:
			return false
		case *ast.CallExpr:
			name, args := call(n)
			for _, a := range args {
				if id, ok := a.(*ast.Ident); ok && !predeclared(id.Name) {
					found = true
				}
			}
			return name == ""
		case *ast.SelectorExpr:
			// A definition, a package's member such as time.Duration, or else a field of
			// another struct.
			if sel, ok := n.Sel.(*ast.Ident); ok && strings.HasPrefix(sel.Name, "#") {
				return false
			}
			id, ok := n.X.(*ast.Ident)
			found = found || !ok || !packageName(id.Name)
			return false
		case *ast.Ident:
			found = found || !predeclared(n.Name)
		}
		return true
	})
	return found
}

// DependentAnywhere is Dependent for v and for the definitions that it is written with: what
// stands in one of #Variables may refer to a field as well.
func DependentAnywhere(v cue.Value) bool { return dependentWithin(v, maxReferences) }

// maxReferences is how many definitions are followed, each of which stands for the next.
const maxReferences = 16

func dependentWithin(v cue.Value, left int) bool {
	if left == 0 || Dependent(v) {
		return true
	}
	if op, parts := v.Expr(); op == cue.AndOp || op == cue.OrOp {
		return slices.ContainsFunc(parts, func(p cue.Value) bool { return dependentWithin(p, left-1) })
	}
	if _, path := v.ReferencePath(); len(path.Selectors()) > 0 {
		return dependentWithin(cue.Dereference(v), left-1)
	}
	return false
}

// Literal says whether v is written with nothing but literals, types and validators, so that
// what it accepts can depend on nothing. It is no proof of the contrary where it is false.
func Literal(v cue.Value) bool {
	literal := true
	walk(v, func(n ast.Node) bool {
		switch n := n.(type) {
		case *ast.Interpolation, *ast.Comprehension, *ast.LetClause, *ast.Alias:
			literal = false
		case *ast.SelectorExpr:
			id, ok := n.X.(*ast.Ident)
			literal = literal && ok && packageName(id.Name)
			return false
		case *ast.Ident:
			_, builtin := idents[n.Name]
			literal = literal && builtin
		}
		return literal
	})
	return literal
}

// References returns the names of fields that v is written with, in the order of the source.
func References(v cue.Value) []string {
	var out []string
	for _, e := range conjuncts(v) {
		ast.Walk(e, func(n ast.Node) bool {
			switch n := n.(type) {
			case *ast.StructLit, *ast.ListLit:
				return false
			case *ast.Ident:
				if !predeclared(n.Name) && !slices.Contains(out, n.Name) {
					out = append(out, n.Name)
				}
			}
			return true
		}, nil)
	}
	return out
}

func predeclared(name string) bool {
	_, known := idents[name]
	return known || strings.HasPrefix(name, "#")
}

// packageName says whether name is one of a package of the standard library with
// validators.
func packageName(name string) bool {
	return slices.Contains([]string{"list", "math", "net", "regexp", "strconv", "strings", "struct", "time", "uuid"}, name)
}

func walk(v cue.Value, visit func(ast.Node) bool) {
	if e := expression(v.Syntax(cue.Raw())); e != nil {
		ast.Walk(e, visit, nil)
	}
}

// fieldOf is one field of a struct, or a pattern of fields.
type fieldOf struct {
	name string
	// pattern is what names must be; it does not exist for a single field.
	pattern  cue.Value
	value    cue.Value
	required bool
	// marked is true of a field with ? or !: what patterns say of it is not in value.
	marked bool
}

// fields are those of the struct v, in the order of the source.
func fields(v cue.Value) []fieldOf {
	var out []fieldOf
	it, err := v.Fields(cue.Optional(true), cue.Patterns(true))
	if err != nil {
		// The engine gives up where a field that is not set is what others depend on.
		return writtenFields(v)
	}
	for it.Next() {
		sel, value := it.Selector(), it.Value()
		if sel.ConstraintType() == cue.PatternConstraint {
			out = append(out, fieldOf{pattern: sel.Pattern(), value: value})
			continue
		}
		if !sel.IsString() && sel.LabelType() != cue.StringLabel {
			continue
		}
		needed := sel.ConstraintType() == cue.RequiredConstraint || sel.ConstraintType() == 0 && NeedsValue(value)
		out = append(out, fieldOf{name: sel.Unquoted(), value: value, required: needed, marked: sel.ConstraintType() != 0})
	}
	return out
}

// writtenFields are the fields that the source of v names.
func writtenFields(v cue.Value) []fieldOf {
	var out []fieldOf
	for _, f := range spelled(v) {
		if slices.ContainsFunc(out, func(o fieldOf) bool { return o.name == f.name }) {
			continue
		}
		sel := cue.Str(f.name)
		for _, s := range []cue.Selector{sel, sel.Required(), sel.Optional()} {
			if value := v.LookupPath(cue.MakePath(s)); value.Exists() {
				needed := f.Constraint == token.NOT || f.Constraint == token.ILLEGAL && NeedsValue(value)
				out = append(out, fieldOf{name: f.name, value: value, required: needed, marked: f.Constraint != token.ILLEGAL})
				break
			}
		}
	}
	return out
}

// parts is the operation that v is written with and what it is applied to, with
// references followed and defaults dropped that another alternative accepts too.
func parts(v cue.Value) (cue.Op, []cue.Value) {
	v = cue.Dereference(v)
	op, args := v.Expr()
	if op == cue.NoOp && len(args) == 1 {
		if _, ok := v.Default(); ok && !args[0].Equals(v) {
			if inner, innerArgs := args[0].Expr(); inner != cue.NoOp {
				return inner, innerArgs
			}
		}
	}
	return op, args
}

// listParts are the lists that v is the conjunction of, defaults and validators aside.
func listParts(v cue.Value) []cue.Value {
	op, args := parts(v)
	if op == cue.AndOp {
		var out []cue.Value
		for _, a := range args {
			out = append(out, listParts(a)...)
		}
		return out
	}
	if op == cue.NoOp && len(args) == 1 && args[0].IncompleteKind() == cue.ListKind {
		return args
	}
	return nil
}

// listChoice says whether v is a choice of lists that are not the same.
func listChoice(v cue.Value) bool {
	op, args := parts(v)
	lists := 0
	for _, a := range args {
		if op == cue.AndOp && listChoice(a) {
			return true
		}
		if a.IncompleteKind()&cue.ListKind != 0 {
			lists++
		}
	}
	return op == cue.OrOp && lists > 1
}

// listForm is what the list v, which is no choice, says about its entries: the first
// ones, all others, and whether there may be others.
func listForm(v cue.Value) (fixed []cue.Value, rest cue.Value, closed bool) {
	for i := range maxFixed {
		e := v.LookupPath(cue.MakePath(cue.Index(i)))
		if !e.Exists() {
			break
		}
		fixed = append(fixed, e)
	}
	rest = v.LookupPath(cue.MakePath(cue.AnyIndex))
	return fixed, rest, !rest.Exists() && !v.Allows(cue.AnyIndex)
}

// maxFixed is how many entries that a list names are described.
const maxFixed = 64
