package render

import (
	"errors"
	"maps"
	"slices"
	"strings"

	"cuelang.org/go/cue"

	"tidegate.io/tidegate/schemas/render/internal/shape"
	"tidegate.io/tidegate/schemas/render/internal/values"
)

// prober sets one variable at a time to what lies on the edge of what it accepts, and then
// the choices all at once. What does not render then, #Variables should refuse; or the
// template is wrong, where #Variables offers the value itself, or where nothing at all that
// the variable accepts can be rendered.
type prober struct {
	*vetter
	base rendered
	// tree is the values of base.
	tree *values.Node
	// left is how many more times it may render.
	left int
	// chosen are choices that render by themselves, in the order of the source.
	chosen []probed
	// failed are the paths of structs that nothing renders with, so that what is in them need
	// not be tried.
	failed []string
}

// probed is a variable, and a value that was tried.
type probed struct {
	declared
	value *values.Node
}

func (p probed) path() []string { return strings.Split(p.declared.path, ".")[1:] }

// shown is the value for messages.
func (p probed) shown() string {
	if marked(p.declared.value, sensitiveMark) {
		return "what it accepts"
	}
	return jsonOf(p.value)
}

// unrendered is why values that #Variables accepts do not render.
type unrendered struct {
	message string
	// object says that the template made an object or a strategy that is refused, rather
	// than that a rule of its author failed.
	object bool
	code   string
}

func newProber(v *vetter, base rendered) *prober {
	tree, mistakes := values.Parse(base.values)
	if len(mistakes) > 0 {
		return nil
	}
	return &prober{vetter: v, base: base, tree: tree, left: maxProbes}
}

func (p *prober) run() {
	if p == nil {
		return
	}
	for _, d := range p.template.declared() {
		within := func(path string) bool { return beneath(d.path, path) }
		if d.kind == fieldOf && d.path != values.Root && !strings.ContainsAny(d.path, "[<") && !slices.ContainsFunc(p.failed, within) {
			p.variable(d)
		}
	}
	p.together()
}

// variable tries the edges of one variable.
func (p *prober) variable(d declared) {
	candidates := p.candidates(d)
	if len(candidates) == 0 && p.untried(d) {
		p.advise(CodeUntried, d.position, "%s: wanted to try what it accepts, found that no value could be made up, so nobody looked at what comes of one; add a test that sets it", d.path)
	}
	first, with, renders := p.edges(d, candidates)
	if first == nil {
		return
	}
	_, hasDefault := ownDefault(d.value)
	switch {
	case first.object && offered(d.value):
		p.fail(first.code, d.position, "%s: wanted a template that can render each choice that #Variables offers, found that with %s it fails: %s", d.path, with.shown(), first.message)
	case first.object && !renders && !hasDefault && !p.anyOther(with):
		p.failed = append(p.failed, d.path)
		p.fail(first.code, d.position, "%s: wanted a template that can render what #Variables accepts, found that it fails whatever this is set to, such as %s: %s", d.path, with.shown(), first.message)
	default:
		p.advise(CodeLoose, d.position, "%s: wanted #Variables to accept only what can be rendered, found that with %s the template fails: %s; narrow the variable, or make the template cope", d.path, with.shown(), first.message)
	}
}

// candidates are the values to try for one variable.
func (p *prober) candidates(d declared) []*values.Node {
	candidates := p.template.edges(p.beside(d))
	if len(candidates) == 0 && d.constraint == cue.OptionalConstraint && isStruct(d.value) {
		candidates = []*values.Node{{Kind: values.Object}} // With its defaults it is there all the same.
	}
	return candidates
}

// beside is what #Variables says of d where the others are as in the tree.
func (p *prober) beside(d declared) cue.Value {
	if !shape.DependentAnywhere(d.value) {
		return d.value
	}
	path := probed{declared: d}.path()
	v := p.template.variables.Unify(p.template.ctx.BuildExpr(syntax(without(p.tree, path))))
	for _, name := range path {
		v = declaration(v, name)
	}
	if !v.Exists() {
		return d.value
	}
	return v
}

// untried says whether there should be a value to try for d: it is not set already, and it is
// not a constant, or a struct or list that can be nothing but what it is.
func (p *prober) untried(d declared) bool {
	_, hasDefault := ownDefault(d.value)
	if hasDefault || nodeAt(p.tree, probed{declared: d}.path()) != nil || !possible(d.value) {
		return false
	}
	switch {
	case isStruct(d.value):
		return false // What keeps an entry out may be another variable.
	case shape.Kinds(d.value) == cue.ListKind:
		item := p.template.item(d.value)
		return item.Exists() && possible(item)
	default:
		return !d.value.IsConcrete()
	}
}

// edges tries the edges of one variable. It returns the first that does not render, nil where
// there is none, and whether some do.
func (p *prober) edges(d declared, candidates []*values.Node) (first *unrendered, with probed, renders bool) {
	optional := d.constraint == cue.OptionalConstraint
	choice := offered(d.value)
	for _, candidate := range candidates {
		tried := probed{declared: d, value: candidate}
		accepted, wrong := p.try(p.tree, tried)
		switch {
		case !accepted:
		case wrong != nil:
			if first == nil {
				first, with = wrong, tried
			}
		default:
			renders = true
			if choice && jsonOf(candidate) != defaultOf(d.value) || !choice && optional {
				p.chosen = append(p.chosen, tried)
			}
		}
	}
	return first, with, renders
}

// offered says whether #Variables names each of the few values that v can have.
func offered(v cue.Value) bool {
	if v.IncompleteKind() == cue.BoolKind {
		return true
	}
	arms := shape.Of(v).Arms
	return len(arms) > 0 && !slices.ContainsFunc(arms, func(a shape.Arm) bool { return a.Literal == "" })
}

// defaultOf is the JSON of the default of v, or "".
func defaultOf(v cue.Value) string {
	d, ok := ownDefault(v)
	if !ok {
		return ""
	}
	b, err := d.MarshalJSON()
	if err != nil {
		return ""
	}
	return string(b)
}

// anyOther says whether something else renders than what was tried, with other texts in the
// places of those that were made up.
func (p *prober) anyOther(tried probed) bool {
	var others []*values.Node
	for _, s := range texts[1:] {
		others = append(others, retext(tried.value, s))
	}
	for variant := 1; variant <= maxVariants; variant++ {
		if n := (sampler{Template: p.template, variant: variant}).example(tried.declared.value, 0); n != nil {
			others = append(others, n)
		}
	}
	for _, n := range others {
		other := probed{declared: tried.declared, value: n}
		if jsonOf(n) == jsonOf(tried.value) || !p.template.accepts(other.declared.value, n) {
			continue
		}
		if accepted, wrong := p.try(p.tree, other); accepted && wrong == nil {
			return true
		}
	}
	return false
}

// together sets all choices that render by themselves, one after the other. One that does not
// go with those before it is told, and left out again.
func (p *prober) together() {
	tree := p.tree
	set := map[string]string{} // what is shown, by path
	for _, c := range slices.Backward(p.chosen) {
		// Of a variable's choices the last one is taken that goes with the others.
		if set[c.declared.path] != "" {
			continue
		}
		accepted, wrong := p.try(tree, c)
		switch {
		case accepted && wrong == nil:
			set[c.declared.path] = c.shown()
			tree = with(tree, c.path(), c.value)
		case accepted && wrong.object:
			p.fail(wrong.code, c.position, "%s: wanted a template that can render the choices that #Variables offers together, found that with %s it fails where the others are %s: %s", c.declared.path, c.shown(), settings(set), wrong.message)
		}
	}
}

// settings says in words which choices are made.
func settings(set map[string]string) string {
	var out []string
	for _, path := range slices.Sorted(maps.Keys(set)) {
		out = append(out, path+" "+set[path])
	}
	return strings.Join(out, ", ")
}

// try renders tree with one variable set. It says whether #Variables accepts that, and why it
// does not render; nil where it does.
func (p *prober) try(tree *values.Node, tried probed) (accepted bool, wrong *unrendered) {
	if p.left--; p.left < 0 {
		return false, nil
	}
	text := []byte(jsonOf(with(tree, tried.path(), tried.value)))
	result, err := p.template.Render(text, p.base.context)
	if _, ok := errors.AsType[*ValuesError](err); ok {
		return false, nil
	}
	if err != nil {
		line, _, _ := strings.Cut(err.Error(), "\n")
		position, _ := cutPosition(line)
		wrong = &unrendered{message: anonymous(line), object: position == "", code: CodeObject}
		if strings.HasPrefix(line, "rollout") {
			wrong.code = CodeRollout
		}
		return true, wrong
	}
	set := newObjectSet()
	for _, o := range result.Objects() {
		set.add(o.GetKind()+" "+o.GetName(), o)
	}
	for _, m := range set.lint() {
		if !p.known[m.kind(set)] {
			return true, &unrendered{message: anonymous(m.id + ": " + m.message), object: true, code: m.code}
		}
	}
	return true, nil
}

// retext is n with text in the place of each string.
func retext(n *values.Node, text string) *values.Node {
	switch n.Kind {
	case values.String:
		return textNode(text)
	case values.List:
		out := &values.Node{Kind: values.List}
		for _, item := range n.Items {
			out.Items = append(out.Items, retext(item, text))
		}
		return out
	case values.Object:
		out := &values.Node{Kind: values.Object}
		for _, f := range n.Fields {
			out.Fields = append(out.Fields, values.Field{Name: f.Name, Value: retext(f.Value, text)})
		}
		return out
	default:
		return n
	}
}

// with is tree with the value at path replaced; tree stays as it is.
func with(tree *values.Node, path []string, value *values.Node) *values.Node {
	if len(path) == 0 {
		return value
	}
	out := &values.Node{Kind: values.Object}
	var old *values.Node
	if tree != nil && tree.Kind == values.Object {
		old = tree.Field(path[0])
		for _, f := range tree.Fields {
			if f.Name != path[0] {
				out.Fields = append(out.Fields, f)
			}
		}
	}
	out.Fields = append(out.Fields, values.Field{Name: path[0], Value: with(old, path[1:], value)})
	slices.SortFunc(out.Fields, func(a, b values.Field) int { return strings.Compare(a.Name, b.Name) })
	return out
}

// without is tree with nothing at path; tree stays as it is.
func without(tree *values.Node, path []string) *values.Node {
	if tree == nil || tree.Kind != values.Object {
		return tree
	}
	out := &values.Node{Kind: values.Object}
	for _, f := range tree.Fields {
		if f.Name != path[0] {
			out.Fields = append(out.Fields, f)
		} else if len(path) > 1 {
			out.Fields = append(out.Fields, values.Field{Name: f.Name, Value: without(f.Value, path[1:])})
		}
	}
	return out
}

// nodeAt is what tree has at path, or nil.
func nodeAt(tree *values.Node, path []string) *values.Node {
	for _, name := range path {
		if tree == nil || tree.Kind != values.Object {
			return nil
		}
		tree = tree.Field(name)
	}
	return tree
}
