package render

import (
	"errors"
	"slices"
	"strconv"
	"strings"
	"unicode"

	"cuelang.org/go/cue"
	"cuelang.org/go/cue/ast"
	"cuelang.org/go/cue/cuecontext"

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

// ownDefault is the default that the author gave v, as opposed to the empty list that every
// open list is by itself.
func ownDefault(v cue.Value) (cue.Value, bool) {
	d, ok := v.Default()
	lost := len(lostArms(v)) > 0
	// Where all others are lost, the engine takes the default for the only alternative.
	if !ok && !lost || !d.IsConcrete() {
		return d, false
	}
	if op, _ := v.Eval().Expr(); op == cue.OrOp || lost || d.IncompleteKind()&(cue.ListKind|cue.StructKind) == 0 {
		return d, true
	}
	// Beside [...] a default is not told from the alternatives.
	if items, err := d.List(); err == nil && items.Next() {
		return d, true
	}
	return d, false
}

// lintVariables finds what the language lets pass in #Variables.
func (v *vetter) lintVariables() {
	if !v.template.linked {
		v.fail(CodeOpenStruct, place(v.template.root.LookupPath(valuesPath).Pos()), "wanted just values: #Variables, found something else, so that a template may read what no team can set; move what is added there into a hidden field")
	}
	for _, d := range v.template.declared() {
		if d.path != values.Root {
			v.lintVariable(d)
		}
		v.lintOpen(d)
		v.lintDefault(d)
		v.lintDependentDefaults(d)
	}
}

func (v *vetter) lintVariable(d declared) {
	if d.kind == fieldOf && shape.Description(d.value) == "" {
		v.warn(CodeUndocumented, d.position, "%s: wanted a comment that says what it is for, found none; write one above it", d.path)
	}
	scalar := d.value.IncompleteKind()&(cue.StructKind|cue.ListKind) == 0
	if d.kind == fieldOf && d.constraint == 0 && scalar && shape.NeedsValue(d.value) {
		v.advise(CodeIncomplete, d.position, "%s: wanted %s!: where a Release must set it, found a field that has no value and no mark; add the ! (or ? where it may be left out, or a default)", d.path, lastName(d.path))
	}
	if _, has := d.value.Default(); has && d.constraint != 0 && d.kind == fieldOf && scalar {
		mark := "!"
		if d.constraint == cue.OptionalConstraint {
			mark = "?"
		}
		v.advise(CodeDefaultUnused, d.position, "%s: wanted a default or the mark %s, found both; a field with %s never takes its default, so remove one", d.path, mark, mark)
	}
	if d.value.IncompleteKind() == cue.TopKind {
		v.advise(CodeFreeForm, d.position, "%s: wanted to know what is accepted, found _, which accepts anything; name a type", d.path)
	}
	v.lintSecret(d)
	v.lintReferredPatterns(d)
}

func lastName(path string) string { return path[strings.LastIndexByte(path, '.')+1:] }

// lintOpen finds structs in which a misspelt name is no error.
func (v *vetter) lintOpen(d declared) {
	if !isStruct(d.value) || !v.template.open(d.value) {
		return
	}
	switch {
	case !d.leaf:
		v.fail(CodeOpenStruct, d.position, "%s: wanted a closed struct, so that a typo is an error, found that it accepts any name beside its fields; remove the ... or the pattern, or move the free names into a map of their own", d.path)
	case !d.isMap:
		v.advise(CodeFreeForm, d.position, "%s: wanted to know what is accepted, found a struct that accepts any name and value; write its fields, or a map such as [string]: string", d.path)
	}
}

// lintDefault finds defaults that the bounds beside them do not hold for: the language
// takes a default as one more alternative.
func (v *vetter) lintDefault(d declared) {
	def, ok := ownDefault(d.value)
	if !ok {
		v.lintDropped(d)
		return
	}
	broad := defaultBounds(d.value, def)
	crowded := !shape.Counts(d.value, def)
	if len(broad) == 0 && !crowded {
		return
	}
	for _, b := range broad {
		if crowded {
			break
		}
		whole, err := v.template.within(b, def)
		if err != nil {
			continue
		}
		if given, err := def.MarshalJSON(); err == nil && def.Kind()&(cue.StructKind|cue.ListKind) != 0 && string(given) != whole {
			v.fail(CodeDefaultIncomplete, d.position, "%s: wanted the default to have the defaults of its parts, %s, found %s; write it as [...#Item] & (*[...] | [...])", d.path, whole, given)
		}
		return
	}
	text := "something else"
	if b, err := def.MarshalJSON(); err == nil && !marked(d.value, sensitiveMark) {
		text = string(b)
	}
	v.fail(CodeDefaultOutside, d.position, "%s: wanted a default within its own bounds, found %s, which a Release could not set; the language does not check a default, so widen the bounds or change it", d.path, text)
}

// lintDropped finds defaults that are gone: a default that what stands beside it with & does
// not hold for is dropped, as are two that differ.
func (v *vetter) lintDropped(d declared) {
	if d.value.IncompleteKind()&(cue.ListKind|cue.StructKind) == 0 && d.value.IsConcrete() {
		return
	}
	op, args := d.value.Expr()
	if op != cue.AndOp {
		return
	}
	for _, arg := range args {
		def, ok := ownDefault(arg)
		if !ok {
			continue
		}
		text := "one"
		if b, err := def.MarshalJSON(); err == nil && !marked(d.value, sensitiveMark) {
			text = string(b)
		}
		v.fail(CodeDefaultOutside, d.position, "%s: wanted a default within the bounds that stand beside it, found %s, which the language drops without a word, so that the variable has no default; widen the bounds or change it", d.path, text)
		return
	}
}

// within returns the JSON of what def is where bound is wanted. A list is taken item by
// item, since the engine does not hold a list against what an alternative says of its rest.
func (t *Template) within(bound, def cue.Value) (string, error) {
	if def.Kind() != cue.ListKind {
		given, err := def.MarshalJSON()
		if err != nil {
			return "", err
		}
		// Written anew: within a definition a default is closed, and would refuse what the
		// bound adds to it.
		n, mistakes := values.Parse([]byte(`{"a":` + string(given) + `}`))
		if len(mistakes) > 0 {
			return "", errors.New("a default that a Release could not write")
		}
		u := bound.Unify(t.ctx.BuildExpr(syntax(n.Field("a"))))
		if err := u.Validate(cue.Concrete(true)); err != nil {
			return "", err
		}
		b, err := u.MarshalJSON()
		return string(b), err
	}
	items, err := def.List()
	if err != nil {
		return "", err
	}
	if bound.IncompleteKind() == cue.BottomKind {
		// Of a list that must have entries the engine tells nothing until it has them.
		bound = bound.Unify(t.ctx.BuildExpr(blanks(def)))
	}
	if given, err := def.MarshalJSON(); err == nil {
		// How many items there are is not asked below.
		n, mistakes := values.Parse([]byte(`{"a":` + string(given) + `}`))
		if len(mistakes) == 0 && bound.Unify(t.ctx.BuildExpr(syntax(n.Field("a")))).Validate() != nil {
			return "", errors.New("a list that the bound refuses")
		}
	}
	var out []string
	for i := 0; items.Next(); i++ {
		want := bound.LookupPath(cue.MakePath(cue.Index(i)))
		if !want.Exists() {
			want = bound.LookupPath(cue.MakePath(cue.AnyIndex))
		}
		if !want.Exists() {
			return "", errors.New("a list of another length")
		}
		item, err := t.within(want, items.Value())
		if err != nil {
			return "", err
		}
		out = append(out, item)
	}
	return "[" + strings.Join(out, ",") + "]", nil
}

// blanks is a list as long as list, of anything.
func blanks(list cue.Value) ast.Expr {
	out := &ast.ListLit{}
	for items, err := list.List(); err == nil && items.Next(); {
		out.Elts = append(out.Elts, ast.NewIdent("_"))
	}
	return out
}

// lintDependentDefaults finds defaults in the struct d that are outside of bounds which other
// variables set, where these are not at their defaults: what stands beside a default with |
// does not hold for it.
func (v *vetter) lintDependentDefaults(d declared) {
	for it := structFields(d.value); it != nil && it.Next(); {
		if it.Selector().ConstraintType() != 0 || marked(it.Value(), sensitiveMark) {
			continue
		}
		name := it.Selector().Unquoted()
		def, ok := ownDefault(it.Value())
		if !ok || !v.template.defaultFits(it.Value(), def) {
			continue
		}
		for _, other := range shape.References(it.Value()) {
			beside := declaration(d.value, other)
			if other == name || !beside.Exists() {
				continue
			}
			if n := v.template.unfit(d.value, name, other, def); n != nil {
				given, shown := jsonOf(n), defaultOf(it.Value())
				if marked(beside, sensitiveMark) {
					given = "another value"
				}
				v.warn(CodeDefaultOutside, place(it.Value().Pos()), "%s: wanted a default within its own bounds whatever %s is, found %s, which stays where %s is %s; put the default in parentheses and the bounds beside them with &, as in (*1 | int) & >=other, so that a Release must set it then", values.Child(d.path, name), other, shown, other, given)
				break
			}
		}
	}
}

// unfit is a value of the variable other in the struct in with which the default def of the
// variable name is outside of its bounds; nil if none was found.
func (t *Template) unfit(in cue.Value, name, other string, def cue.Value) *values.Node {
	beside := declaration(in, other)
	for _, n := range slices.Concat(t.edges(beside), numbersAround(def)) {
		with := in.Unify(t.ctx.BuildExpr(ast.NewStruct(ast.NewString(other), syntax(n))))
		field := entry(with, name)
		if left, ok := ownDefault(field); ok && !wrong(with) && !t.defaultFits(field, left) {
			return n
		}
	}
	return nil
}

// numbersAround are the integers about the integer n, and some far from it.
func numbersAround(n cue.Value) []*values.Node {
	i, err := n.Int64()
	if err != nil {
		return nil
	}
	const far = 1_000_000
	var out []*values.Node
	for _, other := range []int64{i + 1, i - 1, i, far, -far} {
		out = append(out, &values.Node{Kind: values.Number, Text: strconv.FormatInt(other, 10)})
	}
	return out
}

// defaultFits says whether one of the bounds that stand beside the default def of v holds for
// it, or there are none.
func (t *Template) defaultFits(v, def cue.Value) bool {
	broad := defaultBounds(v, def)
	return len(broad) == 0 || slices.ContainsFunc(broad, func(b cue.Value) bool {
		_, err := t.within(b, def)
		return err == nil
	})
}

// outsideDefaults are the positions of defaults that Compile refuses.
func (v *vetter) outsideDefaults() map[string]bool {
	out := map[string]bool{}
	inst, err := instance(v.files)
	if err != nil {
		return out
	}
	t := &Template{ctx: cuecontext.New()}
	t.root = t.ctx.BuildInstance(inst)
	t.variables = t.root.LookupPath(variablesPath)
	probe := &vetter{template: t, seen: map[Finding]bool{}}
	if !isStruct(t.variables) {
		return out
	}
	for _, d := range t.declared() {
		before := len(probe.findings)
		probe.lintDefault(d)
		if len(probe.findings) > before {
			out[d.position] = true
		}
	}
	return out
}

// defaultBounds are the alternatives of v that are more than one value and of the kind of its
// default def: what the author says a value has to be.
func defaultBounds(v, def cue.Value) []cue.Value {
	op, args := v.Eval().Expr()
	lost := lostArms(v)
	if op != cue.OrOp && len(lost) == 0 && (op != cue.NoOp || len(args) != 1 || args[0].Equals(def)) {
		return nil
	}
	return slices.DeleteFunc(slices.Concat(args, lost), func(arm cue.Value) bool { return !bounds(arm, def) })
}

// bounds says whether the alternative arm is more than one value, and of the kind of def.
func bounds(arm, def cue.Value) bool {
	if shape.Kinds(arm)&def.Kind() == 0 || arm.Equals(def) && arm.Validate(cue.Concrete(true)) == nil {
		return false
	}
	switch def.Kind() {
	case cue.ListKind:
		return arm.LookupPath(cue.MakePath(cue.AnyIndex)).Exists() || arm.Validate(cue.Concrete(true)) != nil
	case cue.StructKind:
		return !otherStruct(arm, def)
	default:
		return !arm.IsConcrete()
	}
}

// lostArms are the alternatives of v that the engine drops since it tries them without any
// entry: lists and maps that must have some.
func lostArms(v cue.Value) []cue.Value {
	op, args := cue.Dereference(v).Expr()
	if op != cue.OrOp {
		return nil
	}
	return slices.DeleteFunc(args, func(arm cue.Value) bool {
		return arm.IncompleteKind() != cue.BottomKind || shape.Kinds(arm)&(cue.ListKind|cue.StructKind) == 0
	})
}

// otherStruct says whether the struct arm is meant for something else than def: it lacks
// one of its fields, or has another constant there.
func otherStruct(arm, def cue.Value) bool {
	it, err := def.Fields()
	for err == nil && it.Next() {
		name := it.Selector().Unquoted()
		field := declaration(arm, name)
		if !field.Exists() && !arm.Allows(cue.Str(name)) {
			return true
		}
		op, _ := field.Eval().Expr()
		if field.Exists() && field.IsConcrete() && op != cue.OrOp && field.Kind()&(cue.StructKind|cue.ListKind) == 0 && !field.Equals(it.Value()) {
			return true
		}
	}
	return false
}

// secretWords end the names of variables that hold a secret, referenceWords those of
// variables that say where one is.
var (
	secretWords    = []string{"credential", "credentials", "passphrase", "passwd", "password", "secret", "token"}
	secretKeys     = []string{"access", "api", "encryption", "license", "private", "secret", "signing", "ssh"}
	referenceWords = []string{"ref", "refs", "reference", "references", "from", "secret", "secrets", "vault"}
)

// lintSecret finds variables for a secret itself: values can be read by whoever can read
// the Release, and stand in its history.
func (v *vetter) lintSecret(d declared) {
	if d.value.IncompleteKind() != cue.StringKind || d.kind != fieldOf {
		return
	}
	segments := strings.Split(d.path, ".")
	for _, parent := range segments[:len(segments)-1] {
		if slices.ContainsFunc(nameWords(parent), func(w string) bool { return slices.Contains(referenceWords, w) }) {
			return
		}
	}
	name := nameWords(segments[len(segments)-1])
	last := name[len(name)-1]
	isKey := last == "key" && len(name) > 1 && slices.Contains(secretKeys, name[len(name)-2]) || last == "apikey"
	if !slices.Contains(secretWords, last) && !isKey {
		return
	}
	v.advise(CodeSecret, d.position, "%s: wanted secrets by reference, found a variable that seems to hold one, which everybody could read who can read the Release; take the name of a Secret instead, as in %sSecretName", d.path, lastName(d.path))
}

// nameWords are the parts of a name such as apiKey or DB_PASSWORD, in lower case.
func nameWords(name string) []string {
	var out []string
	var word strings.Builder
	flush := func() {
		if word.Len() > 0 {
			out = append(out, word.String())
			word.Reset()
		}
	}
	upper := true
	for _, r := range name {
		switch {
		case !unicode.IsLetter(r) && !unicode.IsDigit(r):
			flush()
		case unicode.IsUpper(r):
			if !upper {
				flush()
			}
			word.WriteRune(unicode.ToLower(r))
		default:
			word.WriteRune(r)
		}
		upper = unicode.IsUpper(r)
	}
	flush()
	if len(out) == 0 {
		return []string{name}
	}
	return out
}
