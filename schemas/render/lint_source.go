package render

import (
	"errors"
	"fmt"
	"iter"
	resyntax "regexp/syntax"
	"slices"
	"strconv"
	"strings"

	"cuelang.org/go/cue"
	"cuelang.org/go/cue/ast"
	"cuelang.org/go/cue/literal"
	"cuelang.org/go/cue/token"

	"tidegate.io/tidegate/schemas/render/internal/values"
)

// attributes are those that mean something to Tidegate, and how they are written.
var attributes = map[string]string{
	"immutable": "@immutable()",
	"sensitive": "@sensitive()",
	"ui":        `@ui(group="Resources")`,
	"wanted":    `@wanted("what is wanted, in your words")`,
}

// knownAttributes are the names of attributes, sorted.
var knownAttributes = []string{"immutable", "sensitive", "ui", "wanted"}

// lintAttributes finds attributes that mean nothing: the language ignores a misspelt one.
func (v *vetter) lintAttributes() {
	for _, f := range v.syntax {
		ast.Walk(f, func(n ast.Node) bool {
			a, ok := n.(*ast.Attribute)
			if !ok {
				return true
			}
			name, body := a.Split()
			at := place(a.Pos())
			switch {
			case attributes[name] == "":
				hint := "known are @" + strings.Join(knownAttributes, ", @") + "; remove it"
				if near := values.Nearest(name, knownAttributes); near != "" {
					hint = "did you mean " + attributes[near] + "?"
				}
				v.fail(CodeAttribute, at, "wanted an attribute that Tidegate knows, found @%s, which does nothing; %s", name, hint)
			case (name == "immutable" || name == "sensitive") && strings.TrimSpace(body) != "":
				v.fail(CodeAttribute, at, "wanted %s without arguments, found %s", attributes[name], a.Text)
			case name == "wanted":
				if text, err := literal.Unquote(strings.TrimSpace(body)); err != nil || strings.TrimSpace(text) == "" {
					v.fail(CodeAttribute, at, "wanted %s, found %s", attributes[name], a.Text)
				}
			case name == "ui" && strings.TrimSpace(body) == "":
				v.fail(CodeAttribute, at, "wanted arguments, as in %s, found none", attributes[name])
			}
			return true
		}, nil)
	}
}

// lintPatterns finds constraints =~"..." that are no regular expressions, and those that
// pass any text which merely contains a match.
func (v *vetter) lintPatterns() {
	for _, f := range v.syntax {
		for _, d := range f.Decls {
			if field, ok := d.(*ast.Field); ok && fieldName(field) == testsPath.String() {
				continue
			}
			ast.Walk(d, func(n ast.Node) bool {
				if u, ok := n.(*ast.UnaryExpr); ok && (u.Op == token.MAT || u.Op == token.NMAT) {
					v.lintPattern(u)
				}
				return true
			}, nil)
		}
	}
}

func (v *vetter) lintPattern(u *ast.UnaryExpr) {
	lit, ok := u.X.(*ast.BasicLit)
	if !ok || lit.Kind != token.STRING {
		return // lintReferredPatterns looks at what is named or put together.
	}
	text, err := literal.Unquote(lit.Value)
	if err != nil {
		return
	}
	re, err := resyntax.Parse(text, resyntax.Perl)
	switch {
	case err != nil:
		v.badPattern(place(lit.Pos()), "", text, err)
	case u.Op == token.MAT && (!anchored(re, true) || !anchored(re, false)):
		v.advise(CodeRegex, place(lit.Pos()), "wanted ^ and $ around the whole pattern, found %q, which any text passes that contains a match; write %s", text, anchor(re, text))
	}
}

// badPattern tells of a pattern that is no regular expression.
func (v *vetter) badPattern(position, prefix, text string, err error) {
	if v.patterns[text] {
		return
	}
	v.patterns[text] = true
	why := err.Error()
	if e, ok := errors.AsType[*resyntax.Error](err); ok {
		why = fmt.Sprintf("%v: %s", e.Code, e.Expr)
	}
	v.fail(CodePattern, position, "%swanted a regular expression (of RE2, whose repetitions, multiplied, stay within 1000), found %q (%s), which matches nothing and is no error to the language; correct it", prefix, text, why)
}

// lintReferredPatterns finds in a variable what lintPattern cannot see: patterns that are
// named, put together, or come from a definition.
func (v *vetter) lintReferredPatterns(d declared) {
	for text := range patternsOf(d.value, 0) {
		if _, err := resyntax.Parse(text, resyntax.Perl); err != nil {
			v.badPattern(d.position, d.path+": ", text, err)
		}
	}
}

// badlyMatched says whether v is held against what is no regular expression.
func badlyMatched(v cue.Value) bool {
	for text := range patternsOf(v, 0) {
		if _, err := resyntax.Parse(text, resyntax.Perl); err != nil {
			return true
		}
	}
	return false
}

// maxOperands is how deep patterns are looked for in an expression.
const maxOperands = 16

// patternsOf are the patterns that v is held against.
func patternsOf(v cue.Value, depth int) iter.Seq[string] {
	return func(yield func(string) bool) {
		op, args := v.Expr()
		switch {
		case depth > maxOperands:
		case op == cue.RegexMatchOp || op == cue.NotRegexMatchOp:
			if text, err := args[len(args)-1].String(); err == nil {
				yield(text)
			}
		case op == cue.AndOp || op == cue.OrOp:
			for _, arg := range args {
				for text := range patternsOf(arg, depth+1) {
					if !yield(text) {
						return
					}
				}
			}
		}
	}
}

// anchored says whether re matches only at the beginning, or the end, of a text.
func anchored(re *resyntax.Regexp, begin bool) bool {
	switch re.Op {
	case resyntax.OpBeginText:
		return begin
	case resyntax.OpEndText:
		return !begin
	case resyntax.OpCapture:
		return anchored(re.Sub[0], begin)
	case resyntax.OpConcat:
		if begin {
			return anchored(re.Sub[0], begin)
		}
		return anchored(re.Sub[len(re.Sub)-1], begin)
	case resyntax.OpAlternate:
		return !slices.ContainsFunc(re.Sub, func(s *resyntax.Regexp) bool { return !anchored(s, begin) })
	default:
		return false
	}
}

// anchor is text with what it lacks, in quotes. Anchors within an alternative stay where they
// are. Where one is there, the other may be missing on purpose.
func anchor(re *resyntax.Regexp, text string) string {
	begins, ends := anchored(re, true), anchored(re, false)
	switch {
	case strings.Contains(text, "|"):
		return strconv.Quote("^(" + text + ")$")
	case begins:
		return fmt.Sprintf("%q, or %q where anything may follow", text+"$", text+".*$")
	case ends:
		return fmt.Sprintf("%q, or %q where anything may come before", "^"+text, "^.*"+text)
	default:
		return strconv.Quote("^" + text + "$")
	}
}

// fieldName is the name of a field that is written as one; "" for others.
func fieldName(f *ast.Field) string {
	name, _, err := ast.LabelName(f.Label)
	if err != nil {
		return ""
	}
	return name
}

// references finds which values the source refers to outside of tests: paths such as
// values.resources.cpu, each with all below it. Within #Variables, where a rule may name
// another variable by itself, it collects bare names.
type references struct {
	paths map[string]bool
	names map[string]bool
}

func (v *vetter) references() references {
	r := references{paths: map[string]bool{}, names: map[string]bool{}}
	for _, f := range v.syntax {
		for _, d := range f.Decls {
			field, ok := d.(*ast.Field)
			switch name := ""; {
			case !ok:
				r.collect(d)
			default:
				name = fieldName(field)
				switch name {
				case "tests":
				case "values", "context":
					// The links of the contract use nothing by themselves.
				case "#Variables":
					r.within(field.Value)
				default:
					r.collect(field)
				}
			}
		}
	}
	return r
}

// within collects the names that the rules of #Variables refer to.
func (r references) within(e ast.Node) {
	ast.Walk(e, func(n ast.Node) bool {
		switch n := n.(type) {
		case *ast.Field:
			if _, plain := n.Label.(*ast.Ident); !plain {
				r.within(n.Label)
			}
			r.within(n.Value)
			return false
		case *ast.Ident:
			r.names[n.Name] = true
		}
		return true
	}, nil)
}

// collect collects the paths that n refers to.
func (r references) collect(n ast.Node) {
	ast.Walk(n, func(n ast.Node) bool {
		switch n := n.(type) {
		case *ast.Field:
			switch n.Label.(type) {
			case *ast.Ident, *ast.BasicLit:
			default:
				r.collect(n.Label)
			}
			r.collect(n.Value)
			return false
		case *ast.SelectorExpr, *ast.IndexExpr, *ast.Ident:
			path, rest := chain(n.(ast.Expr))
			if path != "" {
				r.paths[path] = true
			}
			for _, e := range rest {
				r.collect(e)
			}
			return false
		}
		return true
	}, nil)
}

// chain returns the path of values that e refers to, "" if it is none, and the
// expressions within e that are no part of the path.
func chain(e ast.Expr) (path string, rest []ast.Expr) {
	switch e := e.(type) {
	case *ast.Ident:
		if e.Name == values.Root || e.Name == "#Variables" {
			return values.Root, nil
		}
		return "", nil
	case *ast.SelectorExpr:
		path, rest = chain(e.X)
		if name, _, err := ast.LabelName(e.Sel); err == nil && follows(path) {
			path = values.Child(path, name)
		}
		return path, rest
	case *ast.IndexExpr:
		path, rest = chain(e.X)
		if !follows(path) {
			return path, append(rest, e.Index)
		}
		if lit, ok := e.Index.(*ast.BasicLit); ok && lit.Kind == token.STRING {
			if name, err := literal.Unquote(lit.Value); err == nil {
				return values.Child(path, name), rest
			}
		}
		return path + everything, append(rest, e.Index)
	case nil:
		return "", nil
	default:
		return "", []ast.Expr{e}
	}
}

// follows says whether what is selected of path is a path too.
func follows(path string) bool { return path != "" && !strings.HasSuffix(path, everything) }

// everything ends a path of which an entry is taken that is known only when rendering.
const everything = "[...]"

// uses says whether the variable at path, or anything within it, is referred to.
func (r references) uses(path string) bool {
	for used := range r.paths {
		used = strings.TrimSuffix(used, everything)
		if used == path || beneath(path, used) || beneath(used, path) {
			return true
		}
	}
	return r.names[path[strings.LastIndexByte(path, '.')+1:]]
}

// beneath says whether path lies within parent.
func beneath(path, parent string) bool {
	rest, ok := strings.CutPrefix(path, parent)
	return ok && (strings.HasPrefix(rest, ".") || strings.HasPrefix(rest, "["))
}

// lintUnused finds variables that nothing refers to: setting them changes nothing.
func (v *vetter) lintUnused() {
	refs := v.references()
	var unused []string
	for _, d := range v.template.declared() {
		if d.path == values.Root || d.kind != fieldOf || strings.ContainsAny(d.path, "[<") || refs.uses(d.path) || slices.ContainsFunc(unused, func(p string) bool { return beneath(d.path, p) }) {
			continue
		}
		unused = append(unused, d.path)
		v.advise(CodeUnused, d.position, "%s: wanted every variable to be used, found that nothing refers to it, so setting it changes nothing; use it in objects or rollout, or remove it", d.path)
	}
}

// quoted lists names the way people do.
func quoted(names []string) string {
	out := make([]string, len(names))
	for i, n := range names {
		out[i] = fmt.Sprintf("%q", n)
	}
	return strings.Join(out, ", ")
}
