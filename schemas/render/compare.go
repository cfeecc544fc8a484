package render

import (
	"slices"

	"cuelang.org/go/cue/ast"

	"tidegate.io/tidegate/schemas/render/internal/compat"
)

// Verdict says what a change of #Variables means for the Releases there are.
type Verdict string

const (
	// Safe is: every value that was accepted is accepted still, and means the same.
	Safe Verdict = "safe"
	// DefaultChanged is: every value that was accepted is accepted still, and a variable
	// that is left out has another value.
	DefaultChanged Verdict = "default-changed"
	// Breaking is: some value that was accepted is refused now.
	Breaking Verdict = "breaking"
	// Unknown is: it could not be decided; only rendering the Releases tells.
	Unknown Verdict = "unknown"
)

// Change is one difference between the #Variables of two templates.
type Change struct {
	// Path of the variable, such as values.resources.cpu; [] stands for any entry of a
	// list, <name> for any of a map.
	Path string `json:"path"`
	// Change says in words what was changed, such as "the default changed from 1 to 2".
	Change  string  `json:"change"`
	Verdict Verdict `json:"verdict"`
	// Why gives the reason of the verdict, with an example where there is one.
	Why string `json:"why"`
}

// Comparison is all that two templates differ by in what teams may set.
type Comparison struct {
	// Verdict is the gravest of the changes': breaking, unknown, default-changed, safe.
	Verdict Verdict `json:"verdict"`
	// Changes are sorted by path; never nil.
	Changes []Change `json:"changes"`
}

// verdicts are the words for compat's.
var verdicts = map[compat.Verdict]Verdict{
	compat.Safe: Safe, compat.DefaultChanged: DefaultChanged, compat.Unknown: Unknown, compat.Breaking: Breaking,
}

// Compare says what becomes of values that were right for before under after. It is about
// #Variables alone: whether the template makes objects of the values still, rendering
// tells. What it calls safe is proven; what it calls breaking has an example or follows
// from what must be set.
func Compare(before, after *Template) (c *Comparison, err error) {
	defer recovered(&err)
	side := func(t *Template) compat.Side {
		// What depends on facts of the Release is looked at with some of them.
		root := t.root.FillPath(factsPath, t.ctx.BuildExpr(t.factsOf(someRelease)))
		var files []*ast.File
		if inst := t.root.BuildInstance(); inst != nil {
			files = inst.Files
		}
		return compat.Side{Context: t.ctx, Root: root, Variables: root.LookupPath(variablesPath), Files: files}
	}
	gravest := compat.Safe
	c = &Comparison{Changes: []Change{}}
	for _, ch := range compat.Compare(side(before), side(after)) {
		gravest = max(gravest, ch.Verdict)
		c.Changes = append(c.Changes, Change{Path: ch.Path, Change: ch.What, Verdict: verdicts[ch.Verdict], Why: ch.Why})
	}
	c.Verdict = verdicts[gravest]
	return c, nil
}

// someRelease is made up; each of its facts is another text.
var someRelease = Context{Name: "name", Namespace: "namespace", Template: "template"}

// factsOf are the facts of c that the template has room for.
func (t *Template) factsOf(c Context) ast.Expr {
	facts := &ast.StructLit{}
	given := c.facts(placeholder)
	for _, name := range slices.Sorted(slices.Values(t.facts)) {
		facts.Elts = append(facts.Elts, &ast.Field{Label: ast.NewString(name), Value: ast.NewString(given[name])})
	}
	return facts
}
