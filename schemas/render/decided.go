package render

import (
	"slices"
	"strconv"
	"strings"

	"cuelang.org/go/cue"

	"tidegate.io/tidegate/schemas/render/internal/shape"
	"tidegate.io/tidegate/schemas/render/internal/values"
)

const (
	// maxDecided bounds in how many ways the conditions of one struct are decided.
	maxDecided = 32
	// maxCandidates bounds how many values are tried for one variable.
	maxCandidates = 6
)

// decided is a struct with one way that its conditions can go.
type decided struct {
	// value is the struct with choices set.
	value   cue.Value
	choices []choice
	// steps are the struct after each choice. What is chosen later is declared in them as
	// the author wrote it.
	steps []cue.Value
}

// choice is the value of one variable; nil is to leave it out.
type choice struct {
	name  string
	value *values.Node
}

// fields are what is set in d, sorted by name.
func (d decided) fields() []values.Field {
	var out []values.Field
	for _, c := range d.choices {
		if c.value != nil {
			out = append(out, values.Field{Name: c.name, Value: c.value})
		}
	}
	slices.SortFunc(out, func(a, b values.Field) int { return strings.Compare(a.Name, b.Name) })
	return out
}

// isStruct says whether v is a struct, also where the engine cannot evaluate it before what
// its conditions ask about is set.
func isStruct(v cue.Value) bool { return shape.Kinds(v) == cue.StructKind }

// plainlyOpen says whether the struct v accepts names that it does not declare. Conditions
// are decided only where nothing can be said otherwise, since that takes as long as all the
// rest of compiling.
func (t *Template) plainlyOpen(v cue.Value) bool {
	if v.IncompleteKind() == cue.BottomKind {
		return t.open(v)
	}
	return v.Allows(cue.Str(probe))
}

// open says whether the struct v accepts names that it does not declare, whichever way its
// conditions go.
func (t *Template) open(v cue.Value) bool {
	if v.IncompleteKind() == cue.BottomKind && shape.Open(v) || v.IncompleteKind() != cue.BottomKind && v.Allows(cue.Str(probe)) {
		return true
	}
	return slices.ContainsFunc(t.decide(v), func(d decided) bool { return d.value.Allows(cue.Str(probe)) })
}

// decide returns the struct v in the ways that its conditions can go, as far as values could
// be made up that decide them; none where it has no conditions. The first way is the
// plainest; then one variable differs from it, then two, up to a bound.
func (t *Template) decide(v cue.Value) []decided {
	names := shape.Conditions(v)
	if len(names) == 0 {
		return nil
	}
	var out []decided
	queue := [][]choice{nil}
	for i := 0; i < len(queue) && i < maxDecided; i++ {
		d, others := t.complete(v, names, queue[i])
		queue = append(queue, others...)
		if d.value.IncompleteKind() == cue.StructKind {
			out = append(out, d)
		}
	}
	return out
}

// complete is v with the choices made, and with the first that there is for every other of
// names; others are the choices with one of those that it did not take.
func (t *Template) complete(v cue.Value, names []string, made []choice) (d decided, others [][]choice) {
	d = decided{value: t.with(v, made), choices: slices.Clone(made)}
	d.steps = []cue.Value{d.value}
	for {
		name, field := d.undecided(names)
		if name == "" {
			return d, others
		}
		var all []choice
		if !needed(d.value, name, field) {
			all = append(all, choice{name: name})
		}
		for _, n := range t.candidates(v, name, field) {
			all = append(all, choice{name, n})
		}
		if len(all) == 0 {
			// Nobody knows a value of it.
			all = []choice{{name: name}}
		}
		for _, c := range all[1:] {
			others = append(others, append(slices.Clone(made), c))
		}
		d.choices = append(d.choices, all[0])
		d.value = t.with(v, d.choices)
		d.steps = append(d.steps, d.value)
	}
}

// with is v with the choices made. They are always made anew: the engine lets more through
// when a struct that is decided already is unified further.
func (t *Template) with(v cue.Value, choices []choice) cue.Value {
	n := &values.Node{Kind: values.Object, Fields: decided{choices: choices}.fields()}
	return v.Unify(t.ctx.BuildExpr(syntax(n)))
}

// undecided returns the first of names that is a variable of d and was not chosen.
func (d decided) undecided(names []string) (string, cue.Value) {
	for _, name := range names {
		if slices.ContainsFunc(d.choices, func(c choice) bool { return c.name == name }) {
			continue
		}
		if field := declaration(d.value, name); field.Exists() && declares(d.value, name) {
			return name, field
		}
	}
	return "", cue.Value{}
}

// needed says whether the variable called name of the struct in must be set.
func needed(in cue.Value, name string, field cue.Value) bool {
	it, err := in.Fields(cue.Optional(true))
	for err == nil && it.Next() {
		if it.Selector().Unquoted() == name {
			constraint := it.Selector().ConstraintType()
			return constraint == cue.RequiredConstraint || constraint == 0 && shape.NeedsValue(field)
		}
	}
	return false
}

// candidates are different values that field, called name in the struct in, accepts.
func (t *Template) candidates(in cue.Value, name string, field cue.Value) []*values.Node {
	var out []*values.Node
	all, most := scalars(field), maxCandidates
	if len(all) == 0 {
		all = []*values.Node{t.example(field, 0)}
	}
	if field.IncompleteKind()&cue.StringKind != 0 && len(shape.Of(field).Literals()) == 0 {
		most = 1 // Of made-up texts one is like another.
	}
	seen := map[string]bool{}
	add := func(all []*values.Node, most int) {
		for _, n := range all {
			if n == nil || len(out) >= most {
				continue
			}
			if text := jsonOf(n); !seen[text] && t.accepts(field, n) {
				seen[text] = true
				out = append(out, n)
			}
		}
	}
	add(all, most)
	add(decisive(in, name, field), len(out)+maxCandidates)
	return out
}

// decisive are values that decide a condition in the struct in about the field called name.
func decisive(in cue.Value, name string, field cue.Value) []*values.Node {
	var out []*values.Node
	for _, a := range shape.Compared(in, name) {
		if a.Literal != "" {
			out = append(out, literalNode(a.Literal)...)
		}
		if n, err := strconv.Atoi(a.Literal); err == nil {
			out = append(out, numberNode(strconv.Itoa(n+1)), numberNode(strconv.Itoa(n-1)))
		}
		for _, own := range shape.Of(field).Arms {
			own.Patterns = append(slices.Clone(own.Patterns), a.Patterns...)
			for _, s := range matching(own) {
				out = append(out, textNode(s))
			}
		}
	}
	return out
}
