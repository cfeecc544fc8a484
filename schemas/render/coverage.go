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
// source: beside every comprehension stands a hidden list of what its clauses let through.
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
	instrumented, clauses, err := instrument(files)
	if err != nil || len(clauses) == 0 {
		return c, err
	}
	inst, _, err := instance(instrumented)
	if err != nil {
		return nil, fmt.Errorf("preparing the source for coverage: %w", err)
	}
	counting := &Template{ctx: cuecontext.New(), facts: t.facts}
	counting.root = counting.ctx.BuildInstance(inst)
	for _, r := range good {
		counts, err := counting.count(r, len(clauses))
		if err != nil {
			return nil, fmt.Errorf("rendering for coverage: %w", err)
		}
		for i := range clauses {
			clauses[i].see(counts)
		}
	}
	for _, cl := range clauses {
		if cl.branch != nil {
			c.Branches = append(c.Branches, *cl.branch)
		}
	}
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

// counterPrefix begins the hidden fields that count.
const counterPrefix = "_tidegate_count_"

// clause is one clause of a comprehension. Its counter is the number of times that it and
// those before it let something through.
type clause struct {
	// before is the index of the clause before it in the same comprehension, or -1.
	before, index int
	// branch is nil for a clause that decides nothing, such as let.
	branch *BranchCoverage
}

// see takes in what one evaluation counted: for each place where the comprehension stands
// after evaluation, the counters by index.
func (c *clause) see(places []map[int]int) {
	if c.branch == nil {
		return
	}
	for _, counts := range places {
		n, reached := counts[c.index]
		if !reached {
			continue
		}
		times := 1
		if c.before >= 0 {
			times = counts[c.before]
		}
		c.branch.Taken = c.branch.Taken || n > 0
		c.branch.Skipped = c.branch.Skipped || n < times
	}
}

// insertion is text to put into a file.
type insertion struct {
	offset int
	text   string
}

// instrument returns files with counters, and the clauses that they count.
func instrument(files map[string]string) (map[string]string, []clause, error) {
	out := map[string]string{}
	var clauses []clause
	for _, name := range slices.Sorted(maps.Keys(files)) {
		f, err := parser.ParseFile(name, files[name], parser.ParseComments)
		if err != nil {
			return nil, nil, cueError(err)
		}
		i := &instrumenter{source: files[name], end: len(files[name]), clauses: &clauses}
		i.decls(f.Decls)
		out[name] = i.apply()
	}
	return out, clauses, nil
}

// instrumenter walks one file.
type instrumenter struct {
	source string
	// at is where counters go that are found now: behind the opening brace of the
	// innermost struct, where everything is in scope that is in scope in the
	// comprehension. 0 stands for the end of the file.
	at, end    int
	clauses    *[]clause
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

// comprehension adds a counter for each clause: a list with an entry for each time that
// the clauses up to it let something through.
func (i *instrumenter) comprehension(c *ast.Comprehension) {
	before := -1
	start := c.Pos().Offset()
	for _, cl := range c.Clauses {
		end := cl.End().Offset()
		if start < 0 || end <= start || end > i.end {
			return
		}
		next := clause{before: before, index: len(*i.clauses)}
		switch cl.(type) {
		case *ast.IfClause, *ast.ForClause:
			next.branch = &BranchCoverage{Position: place(cl.Pos()), Clause: oneLine(i.source[cl.Pos().Offset():end])}
		}
		text := fmt.Sprintf("%s%d: [%s {true}]", counterPrefix, next.index, i.source[start:end])
		if i.at == 0 {
			i.insertions = append(i.insertions, insertion{offset: i.end, text: "\n" + text + "\n"})
		} else {
			i.insertions = append(i.insertions, insertion{offset: i.at, text: text + ", "})
		}
		*i.clauses = append(*i.clauses, next)
		before = next.index
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

// count evaluates the template with counters and reads them.
func (t *Template) count(r rendered, counters int) ([]map[int]int, error) {
	tree, err := t.read(r.values, r.context)
	if err != nil {
		return nil, err
	}
	var places []map[int]int
	facts, given := &ast.StructLit{}, r.context.facts(placeholder)
	for _, name := range t.facts {
		facts.Elts = append(facts.Elts, &ast.Field{Label: ast.NewString(name), Value: ast.NewString(given[name])})
	}
	filled := t.root.Unify(t.ctx.BuildExpr(&ast.StructLit{Elts: []ast.Decl{
		&ast.Field{Label: ast.NewIdent(valuesPath.String()), Value: syntax(tree)},
		&ast.Field{Label: ast.NewIdent(factsPath.String()), Value: facts},
	}}))
	if err := filled.Err(); err != nil {
		return nil, cueError(err)
	}
	t.counters(filled, 0, counters, &places)
	return places, nil
}

// maxNesting bounds how deep counters are looked for.
const maxNesting = 64

// counters reads the counters of v and of all that is in it.
func (t *Template) counters(v cue.Value, depth, counters int, places *[]map[int]int) {
	if depth > maxNesting {
		return
	}
	if v.IncompleteKind() == cue.ListKind {
		items, err := v.List()
		for err == nil && items.Next() {
			t.counters(items.Value(), depth+1, counters, places)
		}
		return
	}
	it, err := v.Fields(cue.Hidden(true))
	here := map[int]int{}
	for err == nil && it.Next() {
		name := it.Selector().String()
		if depth == 0 && name == testsPath.String() {
			continue
		}
		rest, isCounter := strings.CutPrefix(name, counterPrefix)
		if !isCounter {
			t.counters(it.Value(), depth+1, counters, places)
			continue
		}
		index, err := strconv.Atoi(rest)
		if err != nil || index >= counters {
			continue
		}
		if n, err := it.Value().Len().Int64(); err == nil {
			here[index] = int(n)
		}
	}
	if len(here) > 0 {
		*places = append(*places, here)
	}
}
