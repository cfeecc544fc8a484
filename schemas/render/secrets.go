package render

import (
	"regexp"
	"slices"
	"strconv"
	"strings"
	"unicode/utf8"

	"cuelang.org/go/cue"
	"cuelang.org/go/cue/ast"
	"cuelang.org/go/cue/build"

	"tidegate.io/tidegate/schemas/render/internal/shape"
	"tidegate.io/tidegate/schemas/render/internal/values"
)

// The attributes that an author may put at a variable, or at a definition that variables
// are written with.
const (
	sensitiveMark = "sensitive"
	immutableMark = "immutable"
	wantedMark    = "wanted"
)

// mentions says whether an attribute called name stands anywhere in the source, or in
// what it imports.
func mentions(inst *build.Instance, name string) bool {
	found := false
	for _, f := range inst.Files {
		ast.Walk(f, func(n ast.Node) bool {
			if a, ok := n.(*ast.Attribute); ok {
				if key, _ := a.Split(); key == name {
					found = true
				}
			}
			return !found
		}, nil)
	}
	return found || slices.ContainsFunc(inst.Imports, func(i *build.Instance) bool { return mentions(i, name) })
}

// mark returns the attribute called name of v: of the field, within its struct, or of
// what v is written with, the nearest first.
func mark(v cue.Value, name string) (cue.Attribute, bool) { return shape.Mark(v, name) }

func marked(v cue.Value, name string) bool {
	_, ok := mark(v, name)
	return ok
}

// conceal hides in tree what #Variables marks as sensitive, and everything below. It
// hides too much rather than too little: a variable of a choice counts as marked if one
// of the alternatives marks it.
func (t *Template) conceal(tree *values.Node) {
	if !t.sensitive {
		return
	}
	whole := t.variables.Unify(t.ctx.BuildExpr(syntax(tree)))
	// Wrong values can keep the engine from saying which variable a value is of; what is
	// known of the names alone is asked as well.
	names := t.variables.Unify(t.ctx.BuildExpr(outline(tree)))
	concealNode([]cue.Value{t.variables}, []cue.Value{whole, names}, tree, false)
}

// outline is n without its scalars.
func outline(n *values.Node) ast.Expr {
	switch n.Kind {
	case values.Object:
		s := &ast.StructLit{}
		for _, f := range n.Fields {
			s.Elts = append(s.Elts, &ast.Field{Label: ast.NewString(f.Name), Value: outline(f.Value)})
		}
		return s
	case values.List:
		l := &ast.ListLit{}
		for _, item := range n.Items {
			l.Elts = append(l.Elts, outline(item))
		}
		return l
	default:
		return ast.NewIdent("_")
	}
}

// concealNode hides n, or what in it is marked. Declared is what the template alone says
// about n, filled what it says together with values.
func concealNode(declared, filled []cue.Value, n *values.Node, above bool) {
	declared, filled = alternatives(declared), alternatives(filled)
	sensitive := func(v cue.Value) bool { return marked(v, sensitiveMark) }
	n.Hidden = above || slices.ContainsFunc(declared, sensitive) || slices.ContainsFunc(filled, sensitive) || instead(declared, n)
	for i, item := range n.Items {
		concealNode(entriesAt(declared, cue.Index(i)), entriesAt(filled, cue.Index(i)), item, n.Hidden)
	}
	for i, f := range n.Fields {
		n.Fields[i].Hidden = n.Hidden && !slices.ContainsFunc(declared, func(v cue.Value) bool { return declares(v, f.Name) })
		concealNode(entriesAt(declared, cue.Str(f.Name)), entriesAt(filled, cue.Str(f.Name)), f.Value, n.Hidden)
	}
}

// instead says whether n stands where an object or list with something sensitive in it is
// wanted, and is neither: it may be just that, as in auth: "password".
func instead(declared []cue.Value, n *values.Node) bool {
	kinds := map[values.Kind]cue.Kind{
		values.Bool: cue.BoolKind, values.Number: cue.NumberKind, values.String: cue.StringKind,
		values.List: cue.ListKind, values.Object: cue.StructKind,
	}
	kind, looked := kinds[n.Kind], 0
	return kind != cue.BottomKind && !slices.ContainsFunc(declared, func(v cue.Value) bool { return shape.Kinds(v)&kind != 0 }) &&
		slices.ContainsFunc(declared, func(v cue.Value) bool { return sensitiveBelow(v, &looked) })
}

// maxBelow is how many parts of what is wanted are looked at: definitions can be recursive.
const maxBelow = 256

// sensitiveBelow says whether v marks something in it as sensitive, or is too large to tell.
func sensitiveBelow(v cue.Value, looked *int) bool {
	if *looked++; *looked > maxBelow || marked(v, sensitiveMark) {
		return true
	}
	parts := []cue.Value{v.LookupPath(cue.MakePath(cue.AnyIndex)), v.LookupPath(cue.MakePath(cue.AnyString))}
	if op, args := v.Expr(); op == cue.OrOp || op == cue.AndOp {
		parts = append(parts, args...)
	}
	it, err := v.Fields(cue.Optional(true))
	for err == nil && it.Next() {
		parts = append(parts, it.Value())
	}
	return slices.ContainsFunc(parts, func(p cue.Value) bool { return p.Exists() && sensitiveBelow(p, looked) })
}

// declares says whether v has a field called name, beside what its patterns accept.
func declares(v cue.Value, name string) bool {
	it, err := v.Fields(cue.Optional(true))
	for err == nil && it.Next() {
		if it.Selector().Unquoted() == name {
			return true
		}
	}
	return false
}

// maxWants is how many alternatives for one value are looked at.
const maxWants = 16

// alternatives are wants and the parts that they are written with.
func alternatives(wants []cue.Value) []cue.Value {
	out := slices.Clone(wants)
	for _, v := range wants {
		if op, args := v.Expr(); op == cue.OrOp || op == cue.AndOp {
			out = append(out, args...)
		}
	}
	return out
}

// entriesAt returns what wants say about the entry at sel.
func entriesAt(wants []cue.Value, sel cue.Selector) []cue.Value {
	selectors := []cue.Selector{sel, cue.AnyIndex}
	if sel.LabelType() != cue.IndexLabel {
		selectors = []cue.Selector{sel, sel.Required(), sel.Optional(), cue.AnyString}
	}
	var out []cue.Value
	for _, v := range wants {
		for _, s := range selectors {
			if e := v.LookupPath(cue.MakePath(s)); e.Exists() && len(out) < maxWants {
				out = append(out, e)
				break
			}
		}
	}
	return out
}

// public says whether the value at steps may be repeated. Nothing may be of which it is
// not known to which variable it belongs.
func (t *Template) public(steps []values.Step) bool {
	known, sensitive := t.reach(steps)
	return known == len(steps) && !sensitive
}

// PublicPath is the path of steps, without names in a map that is sensitive whole.
func (t *Template) PublicPath(steps []values.Step) string {
	known, sensitive := t.reach(steps)
	if !sensitive {
		return values.Path(steps)
	}
	return values.Path(steps[:known])
}

// reach follows steps through #Variables up to what is not known or is sensitive.
func (t *Template) reach(steps []values.Step) (known int, sensitive bool) {
	wants := []cue.Value{t.variables}
	for i, s := range steps {
		sel := cue.Str(s.Name)
		if s.Item {
			sel = cue.Index(s.Index)
		}
		if wants = entriesAt(alternatives(wants), sel); len(wants) == 0 {
			return i, false
		}
		if slices.ContainsFunc(wants, func(v cue.Value) bool { return marked(v, sensitiveMark) }) {
			return i + 1, true
		}
	}
	return len(steps), false
}

var sourcePlace = regexp.MustCompile(`^[^ ]+\.cue:[0-9]+:[0-9]+: `)

// withheld stands for a message that could give a sensitive value away.
const withheld = "found a mistake whose words are not shown, because the values set sensitive variables; to see them, render with made-up values for these"

// discreet is err, an error about the template, without what could give a sensitive value
// away: the engine repeats values, and what a template has computed of them.
func (t *Template) discreet(err error, tree *values.Node) error {
	broken, ok := err.(*SourceError) //nolint:errorlint // Only errors of this package, as they were made.
	if !ok || tree == nil {
		return err
	}
	if t.conceal(tree); !tree.AnyHidden() {
		return err
	}
	var lines []string
	secrets := forms(tree.Secrets())
	for _, line := range broken.Lines {
		if line = t.withhold(line, secrets); !slices.Contains(lines, line) {
			lines = append(lines, line)
		}
	}
	return &SourceError{Lines: lines}
}

// withhold keeps of a line about the template where it is and what was wanted there.
func (t *Template) withhold(line string, secrets []string) string {
	if place := sourcePlace.FindString(line); place != "" {
		return place + "wanted what Kubernetes and the template allow, " + withheld
	}
	if wanted, _, ok := strings.Cut(line, ", found"); ok && !repeats(wanted, secrets) {
		return wanted + ", " + withheld
	}
	// What is in the source is no secret, unless it is spelled like one.
	object, _, _ := strings.Cut(line, " (")
	if _, ok := t.places[object]; ok && !repeats(object, secrets) {
		return object + ": wanted what Kubernetes and the template allow, " + withheld
	}
	return "wanted what Kubernetes and the template allow, " + withheld
}

// forms are the secrets as messages may have them: as they are, quoted, and cut where a message
// cuts them.
func forms(secrets []string) []string {
	var out []string
	for _, s := range secrets {
		quoted := strconv.Quote(s)
		out = append(out, s, quoted[1:len(quoted)-1])
		if runes := []rune(s); len(runes) > values.MaxShown {
			quoted = strconv.Quote(string(runes[:values.MaxShown]))
			out = append(out, string(runes[:values.MaxShown]), quoted[1:len(quoted)-1])
		}
	}
	return out
}

// cover hides in n what is spelled like one of the secrets, though it is no sensitive variable:
// a value, or a name that declared, which is what the template says about n, does not have.
func cover(declared []cue.Value, n *values.Node, secrets []string) {
	declared = alternatives(declared)
	if scalar(n) && !n.Hidden && repeats(n.Text, secrets) {
		n.Hidden, n.Spelled = true, true
	}
	for i, item := range n.Items {
		cover(entriesAt(declared, cue.Index(i)), item, secrets)
	}
	for i, f := range n.Fields {
		if !f.Hidden && repeats(f.Name, secrets) && !slices.ContainsFunc(declared, func(v cue.Value) bool { return declares(v, f.Name) }) {
			n.Fields[i].Hidden = true
		}
		cover(entriesAt(declared, cue.Str(f.Name)), f.Value, secrets)
	}
}

// shortSecret is the length in characters up to which a secret counts as repeated only
// where it stands as a word: too many texts hold a single digit.
const shortSecret = 3

// repeats says whether text holds one of the secrets.
func repeats(text string, secrets []string) bool {
	return slices.ContainsFunc(secrets, func(s string) bool {
		if utf8.RuneCountInString(s) > shortSecret {
			return strings.Contains(text, s)
		}
		for rest := text; ; {
			i := strings.Index(rest, s)
			if i < 0 {
				return false
			}
			before, _ := utf8.DecodeLastRuneInString(rest[:i])
			after, _ := utf8.DecodeRuneInString(rest[i+len(s):])
			if !wordRune(before) && !wordRune(after) {
				return true
			}
			rest = rest[i+len(s):]
		}
	})
}

func wordRune(r rune) bool {
	return r == '_' || r >= '0' && r <= '9' || r >= 'a' && r <= 'z' || r >= 'A' && r <= 'Z'
}
