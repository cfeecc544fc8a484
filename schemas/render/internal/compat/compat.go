// Package compat compares what two templates let a team set. It walks both #Variables
// together and proves for each part that what was accepted is accepted still, or shows a
// value that is not. Where it can do neither it says that it does not know.
//
// CUE's own comparison, Subsume, looks at defaults where it should look at bounds, and does
// not see what a struct requires; so the inclusion of one scalar in another is decided here,
// from the syntax, and the engine is asked only about single values.
//
// A proof may take the old side for wider and the new side for narrower than it is, never
// the other way. A witness is always put to both engines before it is shown.
package compat

import (
	"fmt"
	"slices"
	"strings"

	"cuelang.org/go/cue"
	"cuelang.org/go/cue/ast"

	"tidegate.io/tidegate/schemas/render/internal/values"
)

// Verdict is what one change means.
type Verdict int

// The verdicts, from the lightest to the gravest.
const (
	Safe Verdict = iota
	DefaultChanged
	Unknown
	Breaking
)

// Change is one difference.
type Change struct {
	// Path of the variable; [] stands for any entry of a list, <name> for any of a map.
	Path    string
	What    string
	Verdict Verdict
	Why     string
	// way leads to the variable.
	way []step
}

// Side is one of the templates.
type Side struct {
	// Context is where values are built for it.
	Context *cue.Context
	// Root is the template, Variables its #Variables.
	Root, Variables cue.Value
	// Files are the source. The engine prints a name that is made of others as what it is by
	// default, so those are looked for here.
	Files []*ast.File
}

// Compare returns the changes from before to after, sorted by path.
func Compare(before, after Side) []Change {
	c := &comparer{before: newSide(before), after: newSide(after), changed: map[string]bool{}}
	c.before.wide = true
	c.collectChanged()
	top := place{path: values.Root}
	changed := !c.same(c.before.Variables, c.after.Variables)
	if changed {
		c.structs(top, c.before.Variables, c.after.Variables)
		c.replay()
	}
	c.beside(top, changed)
	c.checked(top)
	c.computed(top, changed)
	c.marks(top, c.before.Variables, c.after.Variables, 0)
	slices.SortStableFunc(c.changes, func(a, b Change) int { return strings.Compare(a.Path, b.Path) })
	return slices.CompactFunc(c.changes, func(a, b Change) bool {
		return a.Path == b.Path && a.What == b.What && a.Verdict == b.Verdict
	})
}

// beside compares what is demanded of the values beside #Variables.
func (c *comparer) beside(top place, changed bool) {
	is, names, counts := c.after.demands()
	if is == "#Variables" {
		return
	}
	was, _, _ := c.before.demands()
	if is != was || c.touched(names) || counts && changed {
		c.report(top, Unknown, "more is demanded of the values than #Variables says", "it is not compared; write values: #Variables, and the rest into #Variables")
	}
}

// demands is what the values must be, with all that it rests on except #Variables, and the
// names in it. It counts where it looks at the values as a whole.
func (s *side) demands() (full string, names []string, counts bool) {
	e := written(s.Root.LookupPath(cue.ParsePath(values.Root)))
	full = text(e)
	ast.Walk(e, func(n ast.Node) bool {
		switch n := n.(type) {
		case *ast.CallExpr:
			counts = counts || text(n.Fun) != "close"
		case *ast.Comprehension, *ast.SelectorExpr:
			counts = true
		case *ast.Ident:
			counts = counts || n.Name != "#Variables" && !predeclared[n.Name]
		}
		return true
	}, nil)
	for _, name := range references(e) {
		if name == "#Variables" {
			continue
		}
		names = append(names, name)
		if h, ok := s.helper(name); ok {
			more, others := s.closure(h)
			full += "\n" + more
			names = append(names, others...)
		}
	}
	return full, names, counts
}

// computed reports variables whose names are made of others. They are not followed: such a
// variable may be, and so bound, any other.
func (c *comparer) computed(top place, changed bool) {
	was, is := c.before.computed(), c.after.computed()
	if len(was)+len(is) > 0 && (changed || !slices.Equal(was, is)) {
		c.report(top, Unknown, "names of variables are made of others: "+clipped(strings.Join(append(is, was...), ", ")), "they are not compared; only rendering the Releases tells")
	}
}

// computed are the texts of the fields in #Variables, and in what it rests on, whose names
// are made of others.
func (s *side) computed() []string {
	_, names := s.closure(written(s.Variables))
	names = append(names, "#Variables")
	var out []string
	for _, f := range s.Files {
		for _, d := range f.Decls {
			root, ok := d.(*ast.Field)
			if !ok {
				continue
			}
			if name, _, err := ast.LabelName(root.Label); err != nil || !slices.Contains(names, name) {
				continue
			}
			ast.Walk(root.Value, func(n ast.Node) bool {
				if f, ok := n.(*ast.Field); ok {
					if _, made := f.Label.(*ast.Interpolation); made {
						out = append(out, text(f))
					}
				}
				return true
			}, nil)
		}
	}
	slices.Sort(out)
	return out
}

// maxDepth bounds the walk; a definition may contain itself.
const maxDepth = 16

type comparer struct {
	before, after *side
	// changed are the names of variables and helpers that have another default or another
	// presence, so that what refers to them may mean something else though it reads the same.
	changed map[string]bool
	changes []Change
	depth   int
	// questions is how often the engines were asked.
	questions int
	// confirmed is how many values of single variables were put to all of #Variables.
	confirmed int
	// quiet is above 0 while arms are tried, whose mistakes are not reported.
	quiet int
}

func (c *comparer) report(at place, v Verdict, what, why string, args ...any) {
	c.changes = append(c.changes, Change{Path: at.path, What: what, Verdict: v, Why: fmt.Sprintf(why, args...), way: at.way})
}

// refused reports that x, right before, is wrong now.
func (c *comparer) refused(at place, what string, x any, why string) {
	c.report(at, Breaking, what, "%s; such as %s", why, show(x))
}

// try runs a comparison aside and returns what it found.
func (c *comparer) try(compare func()) []Change {
	kept := c.changes
	c.changes = nil
	c.quiet++
	compare()
	c.quiet--
	found := c.changes
	c.changes = kept
	return found
}

// gravest returns the gravest verdict of changes.
func gravest(changes []Change) Verdict {
	v := Safe
	for _, ch := range changes {
		v = max(v, ch.Verdict)
	}
	return v
}
