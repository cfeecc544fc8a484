package render

import (
	"bytes"
	"cmp"
	"fmt"
	"maps"
	"slices"
	"strconv"
	"strings"

	"cuelang.org/go/cue"
	"cuelang.org/go/cue/ast"
	"cuelang.org/go/cue/cuecontext"
	"cuelang.org/go/cue/parser"

	"tidegate.io/tidegate/schemas/render/internal/values"
)

// Coverage says which parts of a template its tests and examples bring to use.
type Coverage struct {
	Variables []VariableCoverage `json:"variables"`
	Branches  []BranchCoverage   `json:"branches"`
}

// VariableCoverage is about one variable.
type VariableCoverage struct {
	Path     string `json:"path"`
	Position string `json:"position,omitempty"`
	// Set is true where values that rendered set it to something else than its default.
	Set bool `json:"set"`
}

// BranchCoverage is about one clause of a comprehension.
type BranchCoverage struct {
	Position string `json:"position"`
	// Clause is its source, such as "if len(values.hosts) > 0".
	Clause string `json:"clause"`
	// Taken is true where a condition held, or a source had entries; Skipped where it did
	// not, or had none.
	Taken   bool `json:"taken"`
	Skipped bool `json:"skipped"`
}

// Percent returns which share of the variables was set, and of the outcomes of branches
// seen, from 0 to 100; 100 where there are none.
func (c *Coverage) Percent() (variables, branches int) {
	set, seen := 0, 0
	for _, v := range c.Variables {
		if v.Set {
			set++
		}
	}
	for _, b := range c.Branches {
		for _, outcome := range []bool{b.Taken, b.Skipped} {
			if outcome {
				seen++
			}
		}
	}
	return percent(set, len(c.Variables)), percent(seen, 2*len(c.Branches)) //nolint:mnd // Two outcomes each.
}

func percent(n, of int) int {
	const whole = 100
	if of == 0 {
		return whole
	}
	return n * whole / of
}

// Missing returns a line for everything that is not covered.
func (c *Coverage) Missing() []string {
	var lines []string
	for _, v := range c.Variables {
		if !v.Set {
			lines = append(lines, fmt.Sprintf("%s: %s is never set to anything but its default", v.Position, v.Path))
		}
	}
	for _, b := range c.Branches {
		switch {
		case !b.Taken && !b.Skipped:
			lines = append(lines, fmt.Sprintf("%s: %s is never reached", b.Position, b.Clause))
		case !b.Taken:
			lines = append(lines, fmt.Sprintf("%s: %s never holds", b.Position, b.Clause))
		case !b.Skipped:
			lines = append(lines, fmt.Sprintf("%s: %s always holds", b.Position, b.Clause))
		}
	}
	return lines
}

// Cover renders the tests of a template and the examples, and says what they cover.
//
// To see which branches are taken it renders another template, which is made of the same
// source: beside every comprehension stands a hidden field that says which way it went.
// What is published never has them.
func Cover(files map[string]string, examples map[string][]byte) (c *Coverage, err error) {
	defer recovered(&err)
	t, err := Compile(files)
	if err != nil {
		return nil, err
	}
	results, err := t.Test(nil)
	if err != nil {
		return nil, err
	}
	var good []rendered
	for _, r := range results {
		if r.Result != nil && len(r.Problems) == 0 {
			good = append(good, rendered{values: r.Values, context: r.Context})
		}
	}
	for _, name := range slices.Sorted(maps.Keys(examples)) {
		if _, err := t.Render(examples[name], sample); err == nil {
			good = append(good, rendered{values: examples[name], context: sample})
		}
	}
	c = &Coverage{Variables: t.coverVariables(good), Branches: []BranchCoverage{}}
	instrumented, branches, err := instrument(files)
	if err != nil || len(branches) == 0 {
		return c, err
	}
	inst, err := instance(instrumented)
	if err != nil {
		return nil, fmt.Errorf("preparing the source for coverage: %w", err)
	}
	counting := &Template{ctx: cuecontext.New(), facts: t.facts}
	counting.root = counting.ctx.BuildInstance(inst)
	for _, r := range good {
		if err := counting.watch(r, branches); err != nil {
			return nil, fmt.Errorf("rendering for coverage: %w", err)
		}
	}
	c.Branches = branches
	slices.SortFunc(c.Branches, func(a, b BranchCoverage) int { return comparePositions(a.Position, b.Position) })
	return c, nil
}

// coverVariables says which variables without parts of their own the values set to
// something else than the default.
func (t *Template) coverVariables(good []rendered) []VariableCoverage {
	set := map[string]bool{}
	for _, r := range good {
		if tree, mistakes := values.Parse(r.values); len(mistakes) == 0 {
			setPaths(tree, values.Root, set)
		}
	}
	out := []VariableCoverage{}
	for _, d := range t.declared() {
		if d.path == values.Root || d.kind != fieldOf || !d.leaf || strings.ContainsAny(d.path, "[<") {
			continue
		}
		plain := ""
		if def, ok := d.value.Default(); ok {
			if b, err := def.MarshalJSON(); err == nil {
				plain = string(b)
			}
		}
		covered := slices.ContainsFunc(slices.Collect(maps.Keys(set)), func(s string) bool {
			path, value, _ := strings.Cut(s, "=")
			return path == d.path && value != plain
		})
		out = append(out, VariableCoverage{Path: d.path, Position: d.position, Set: covered})
	}
	return out
}

// setPaths adds path=JSON for n and all entries of objects in it.
func setPaths(n *values.Node, path string, set map[string]bool) {
	set[path+"="+jsonOf(n)] = true
	if n.Kind == values.Object {
		for _, f := range n.Fields {
			setPaths(f.Value, values.Child(path, f.Name), set)
		}
	}
}

// The names of hidden fields that tell which way a clause went. A field takenName or
// skippedName is true or is not there, so that those of several rounds of a loop agree.
const (
	counterPrefix = "_tidegate_clause_"
	takenName     = "_tidegate_taken"
	skippedName   = "_tidegate_skipped"
)

// insertion is text to put into a file.
type insertion struct {
	offset int
	text   string
}

// instrument returns files with counters, and the clauses that they watch, by the numbers
// in the counters' names.
func instrument(files map[string]string) (map[string]string, []BranchCoverage, error) {
	out := map[string]string{}
	var branches []BranchCoverage
	for _, name := range slices.Sorted(maps.Keys(files)) {
		f, err := parser.ParseFile(name, files[name], parser.ParseComments)
		if err != nil {
			return nil, nil, cueError(err)
		}
		i := &instrumenter{source: files[name], branches: &branches}
		i.decls(f.Decls)
		out[name] = i.apply()
	}
	return out, branches, nil
}

// instrumenter walks one file.
type instrumenter struct {
	source string
	// at is where counters go that are found now: behind the opening brace of the
	// innermost struct, where everything is in scope that is in scope in the
	// comprehension. 0 stands for the end of the file.
	at         int
	branches   *[]BranchCoverage
	insertions []insertion
}

func (i *instrumenter) decls(decls []ast.Decl) {
	for _, d := range decls {
		if f, ok := d.(*ast.Field); ok && fieldName(f) == "tests" {
			continue
		}
		i.walk(d)
	}
}

func (i *instrumenter) walk(n ast.Node) {
	ast.Walk(n, func(n ast.Node) bool {
		switch n := n.(type) {
		case *ast.StructLit:
			outer := i.at
			if n.Lbrace.IsValid() {
				i.at = n.Lbrace.Offset() + 1
			}
			i.decls(n.Elts)
			i.at = outer
			return false
		case *ast.Comprehension:
			i.comprehension(n)
		}
		return true
	}, nil)
}

// comprehension adds a counter for each clause that decides something.
func (i *instrumenter) comprehension(c *ast.Comprehension) {
	start := c.Pos().Offset()
	for n, cl := range c.Clauses {
		// Up to what follows: the end of a clause that ends in _|_ is given too early.
		at, end := cl.Pos().Offset(), c.Value.Pos().Offset()
		if n+1 < len(c.Clauses) {
			end = c.Clauses[n+1].Pos().Offset()
		}
		if start < 0 || at < start || end <= at || end > len(i.source) {
			return
		}
		before, text := i.source[start:at], strings.TrimSpace(i.source[at:end])
		if strings.Contains(before+text, "//") {
			// A comment would swallow what is put behind it.
			return
		}
		var otherwise string
		switch cl.(type) {
		case *ast.IfClause:
			otherwise = "if !(" + strings.TrimSpace(strings.TrimPrefix(text, "if")) + ")"
		case *ast.ForClause:
			otherwise = "if __len([" + text + " {true}]) == 0"
		default:
			continue
		}
		counter := fmt.Sprintf("%s%d: {%s%s {%s: true}, %s%s {%s: true}}", counterPrefix, len(*i.branches),
			before, text, takenName, before, otherwise, skippedName)
		if i.at == 0 {
			i.insertions = append(i.insertions, insertion{offset: len(i.source), text: "\n" + counter + "\n"})
		} else {
			i.insertions = append(i.insertions, insertion{offset: i.at, text: counter + ", "})
		}
		*i.branches = append(*i.branches, BranchCoverage{Position: place(cl.Pos()), Clause: OneLine(text)})
	}
}

func (i *instrumenter) apply() string {
	slices.SortStableFunc(i.insertions, func(a, b insertion) int { return cmp.Compare(a.offset, b.offset) })
	var b bytes.Buffer
	at := 0
	for _, in := range i.insertions {
		b.WriteString(i.source[at:in.offset])
		b.WriteString(in.text)
		at = in.offset
	}
	b.WriteString(i.source[at:])
	return b.String()
}

// watch evaluates the template with counters and reads them into branches.
func (t *Template) watch(r rendered, branches []BranchCoverage) error {
	tree, err := t.read(r.values, r.context)
	if err != nil {
		return err
	}
	facts, given := &ast.StructLit{}, r.context.facts(placeholder)
	for _, name := range t.facts {
		facts.Elts = append(facts.Elts, &ast.Field{Label: ast.NewString(name), Value: ast.NewString(given[name])})
	}
	filled := t.root.Unify(t.ctx.BuildExpr(&ast.StructLit{Elts: []ast.Decl{
		&ast.Field{Label: ast.NewIdent(valuesPath.String()), Value: syntax(tree)},
		&ast.Field{Label: ast.NewIdent(factsPath.String()), Value: facts},
	}}))
	if err := filled.Err(); err != nil {
		return cueError(err)
	}
	see(filled, 0, branches)
	return nil
}

// maxNesting bounds how deep counters are looked for.
const maxNesting = 64

// see reads the counters of v and of all that is in it.
func see(v cue.Value, depth int, branches []BranchCoverage) {
	if depth > maxNesting {
		return
	}
	if v.IncompleteKind() == cue.ListKind {
		items, err := v.List()
		for err == nil && items.Next() {
			see(items.Value(), depth+1, branches)
		}
		return
	}
	it, err := v.Fields(cue.Hidden(true))
	for err == nil && it.Next() {
		name := it.Selector().String()
		number, isCounter := strings.CutPrefix(name, counterPrefix)
		if !isCounter {
			see(it.Value(), depth+1, branches)
			continue
		}
		if n, err := strconv.Atoi(number); err == nil && n < len(branches) {
			branches[n].Taken = branches[n].Taken || has(it.Value(), takenName)
			branches[n].Skipped = branches[n].Skipped || has(it.Value(), skippedName)
		}
	}
}

// has says whether the counter v has the field called name.
func has(v cue.Value, name string) bool {
	it, err := v.Fields(cue.Hidden(true))
	for err == nil && it.Next() {
		if it.Selector().String() == name {
			return true
		}
	}
	return false
}
