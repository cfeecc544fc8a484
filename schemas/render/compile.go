package render

import (
	"fmt"
	"maps"
	"path"
	"runtime/debug"
	"slices"
	"strconv"
	"strings"
	"sync"

	"cuelang.org/go/cue"
	"cuelang.org/go/cue/ast"
	"cuelang.org/go/cue/build"
	"cuelang.org/go/cue/cuecontext"
	"cuelang.org/go/cue/parser"
	"cuelang.org/go/cue/token"

	"tidegate.io/tidegate/schemas/cue/kit"
)

// Bounds of the source of one template.
const (
	// MaxSourceBytes is the greatest size of all files together.
	MaxSourceBytes = 256 << 10
	// MaxSourceFiles is the greatest number of files.
	MaxSourceFiles = 32
	// maxSourceDepth is how deep the source may be nested. The engine takes seconds for
	// thousands of brackets in each other, and people get lost much earlier.
	maxSourceDepth = 500
)

// Template is a compiled template. It is safe for concurrent use.
type Template struct {
	digest string
	// ctx is this template's alone: what is built in a context lives as long as it.
	ctx  *cue.Context
	root cue.Value
	// variables is #Variables.
	variables cue.Value
	// facts are the names of the facts that the template's #Context has room for.
	facts  []string
	places places
	// source is the files by name.
	source map[string]string
	// linked says that the field values is #Variables and nothing else.
	linked bool
	// sensitive says that some variable may be marked as sensitive.
	sensitive bool
	// tests compiles the field tests, which is no part of root: a test that is open, or
	// wrong, must not keep a Release from rendering.
	tests func() (cue.Value, error)
}

// packages are the parts of CUE's standard library that a template may import: all that
// compute, none that read the world or stand for something outside of evaluation.
var packages = map[string]bool{
	"crypto/hmac": true, "crypto/md5": true, "crypto/sha1": true, "crypto/sha256": true, "crypto/sha512": true,
	"encoding/base64": true, "encoding/csv": true, "encoding/hex": true, "encoding/json": true, "encoding/yaml": true,
	"html": true, "list": true, "math": true, "math/bits": true, "net": true, "path": true, "regexp": true,
	"strconv": true, "strings": true, "struct": true, "text/tabwriter": true, "text/template": true, "time": true, "uuid": true,
}

// Compile compiles a template from its files, name to CUE source, and checks that it has
// the fields of the contract (see the package comment). The error is a *SourceError.
func Compile(files map[string]string) (t *Template, err error) {
	defer recovered(&err)
	if lines := checkFiles(files); len(lines) > 0 {
		return nil, sourceError(lines...)
	}
	inst, err := instance(files)
	if err != nil {
		return nil, err
	}
	t = &Template{digest: Digest(files), ctx: cuecontext.New(), places: placesOf(inst), source: files}
	t.tests = func() (cue.Value, error) { return compileTests(files) }
	t.root = t.ctx.BuildInstance(inst)
	if err := t.root.Err(); err != nil {
		return nil, t.cueError(err)
	}
	if err := t.root.Validate(); err != nil {
		return nil, t.cueError(err)
	}
	t.variables = t.root.LookupPath(variablesPath)
	if lines := t.checkContract(); len(lines) > 0 {
		return nil, sourceError(lines...)
	}
	t.linked = t.isLinked()
	t.sensitive = mentions(inst, sensitiveMark)
	return t, nil
}

// Digest returns the digest of the template's source.
func (t *Template) Digest() string { return t.digest }

// Digest returns "sha256:" and the hex digest of the canonical JSON of files.
func Digest(files map[string]string) string {
	sum, err := digest(files)
	if err != nil {
		panic("render: strings have a JSON form: " + err.Error())
	}
	return sum
}

const cueModule = "cuelang.org/go"

var engine = sync.OnceValue(func() string {
	return cueVersion() + "+kit." + kit.Digest()[:kitDigits]
})

func cueVersion() string {
	info, ok := debug.ReadBuildInfo()
	if !ok {
		return cue.LanguageVersion()
	}
	for _, m := range info.Deps {
		switch {
		case m.Path != cueModule:
		case m.Replace != nil && m.Replace.Version != "":
			return m.Replace.Version
		case m.Version != "":
			return m.Version
		}
	}
	return cue.LanguageVersion()
}

// Engine returns the version of what evaluates templates, such as v0.17.1+kit.0a1b2c3d:
// the CUE engine, and the digest of the package tidegate.io/kit that it serves. Two
// engines with the same version give the same output. With another version the output may
// be another one, and need not be: only rendering anew tells.
func Engine() string { return engine() }

func checkFiles(files map[string]string) []string {
	if len(files) == 0 {
		return []string{"wanted at least one CUE file, found none"}
	}
	var lines []string
	if len(files) > MaxSourceFiles {
		lines = append(lines, fmt.Sprintf("wanted at most %d files, found %d", MaxSourceFiles, len(files)))
	}
	size := 0
	for _, name := range slices.Sorted(maps.Keys(files)) {
		size += len(files[name])
		if strings.Contains(files[name], placeholder) {
			lines = append(lines, fmt.Sprintf("%s: wanted source without the reserved text %s, found it; the template must not spell it out", name, placeholder))
		}
		if path.Base(name) != name || !strings.HasSuffix(name, ".cue") || len(name) <= len(".cue") {
			lines = append(lines, fmt.Sprintf("wanted file names such as web.cue, without folders, found %q", name))
		}
	}
	if size > MaxSourceBytes {
		lines = append(lines, fmt.Sprintf("wanted at most %d bytes of source, found %d", MaxSourceBytes, size))
	}
	return lines
}

// instance parses files, without the template's own tests, into one build instance; see
// assemble.
func instance(files map[string]string) (*build.Instance, error) { return assemble(files, dropTests) }

// compileTests compiles the template once more, with its own tests, and returns them. The
// value does not exist where there are none. Its context is its own, so that what is built
// for tests, which run when a template is published, does not stay as long as the template.
func compileTests(files map[string]string) (tests cue.Value, err error) {
	defer recovered(&err)
	inst, err := assemble(files, func(*ast.File) {})
	if err != nil {
		return tests, err
	}
	root := cuecontext.New().BuildInstance(inst)
	if err := root.Validate(); err != nil {
		return tests, cueError(err)
	}
	tests = root.LookupPath(testsPath)
	if tests.Exists() && tests.IncompleteKind() != cue.StructKind {
		return tests, sourceError(at(tests, "wanted tests to be a struct of tests by name, found %v", tests.IncompleteKind()))
	}
	return tests, nil
}

// dropTests removes the template's own tests from f, and what is imported or bound by let
// for them alone, which the engine would refuse as unused.
func dropTests(f *ast.File) {
	dropped, kept := map[string]bool{}, map[string]bool{}
	drop := func(d ast.Decl) bool {
		switch d := d.(type) {
		case *ast.Field:
			return fieldName(d) == testsPath.String()
		case *ast.LetClause:
			return dropped[d.Ident.Name] && !kept[d.Ident.Name]
		}
		return false
	}
	// A let may be there for another one, so it takes a round for each that goes.
	for more := true; more; {
		clear(kept)
		for _, d := range f.Decls {
			if !drop(d) {
				identifiers(d, kept)
			}
		}
		before := len(f.Decls)
		f.Decls = slices.DeleteFunc(f.Decls, func(d ast.Decl) bool {
			gone := drop(d)
			if gone {
				identifiers(d, dropped)
			}
			return gone
		})
		more = len(f.Decls) < before
	}
	for _, d := range f.Decls {
		if d, ok := d.(*ast.ImportDecl); ok {
			d.Specs = slices.DeleteFunc(d.Specs, func(s *ast.ImportSpec) bool {
				name := importName(s)
				return dropped[name] && !kept[name]
			})
		}
	}
	f.Decls = slices.DeleteFunc(f.Decls, func(d ast.Decl) bool {
		imports, ok := d.(*ast.ImportDecl)
		return ok && len(imports.Specs) == 0
	})
}

// identifiers adds the names that d refers to. What a let is bound to counts, its own name does
// not.
func identifiers(d ast.Decl, into map[string]bool) {
	var from ast.Node = d
	switch d := d.(type) {
	case *ast.ImportDecl:
		return
	case *ast.LetClause:
		from = d.Expr
	}
	ast.Walk(from, func(n ast.Node) bool {
		if id, ok := n.(*ast.Ident); ok {
			into[id.Name] = true
		}
		return true
	}, nil)
}

// importName is the name that a file uses an import by.
func importName(s *ast.ImportSpec) string {
	if s.Name != nil {
		return s.Name.Name
	}
	name, err := strconv.Unquote(s.Path.Value)
	if err != nil {
		return ""
	}
	name = path.Base(name)
	if _, own, ok := strings.Cut(name, ":"); ok {
		return own
	}
	return name
}

// assemble parses files into one build instance, which has no access to any file system:
// what it may import is CUE's own, and the kit. Each file goes through prepare.
//
// Everything is parsed anew for each template, the kit too: the engine writes into the
// syntax that it builds from, so no two contexts may share one.
func assemble(files map[string]string, prepare func(*ast.File)) (*build.Instance, error) {
	var (
		loader  *build.Context
		helpers *build.Instance
		failed  error
		lines   []string
	)
	wanted := map[string]bool{} // of the kit
	loader = build.NewContext(build.Loader(func(_ token.Pos, path string) *build.Instance {
		if path != kit.ImportPath {
			// nil leaves the import to the engine, which knows only its standard library.
			return nil
		}
		if helpers == nil && failed == nil {
			helpers, failed = kitInstance(loader, wanted)
		}
		return helpers
	}))
	inst := loader.NewInstance("", nil)
	for _, name := range slices.Sorted(maps.Keys(files)) {
		f, err := parser.ParseFile(name, files[name], parser.ParseComments)
		if err != nil {
			lines = append(lines, cueLines(err)...)
			continue
		}
		if refused := checkSyntax(f); len(refused) > 0 {
			lines = append(lines, refused...)
			continue
		}
		prepare(f)
		maps.Copy(wanted, definitions(f))
		if err := inst.AddSyntax(f); err != nil {
			lines = append(lines, cueLines(err)...)
		}
	}
	if len(lines) > 0 {
		return nil, sourceError(lines...)
	}
	err := inst.Complete()
	switch {
	case failed != nil:
		return nil, cueError(failed)
	case err != nil:
		return nil, cueError(err)
	case inst.ResolutionErr != nil:
		return nil, cueError(inst.ResolutionErr)
	}
	return inst, nil
}

// checkSyntax refuses imports that are not allowed, attributes that would make the engine
// look outside of the source, and source that is nested too deep.
func checkSyntax(f *ast.File) []string {
	if line := checkNesting(f); line != "" {
		return []string{line}
	}
	var lines []string
	for spec := range f.ImportSpecs() {
		name, err := strconv.Unquote(spec.Path.Value)
		if err != nil || !packages[name] && name != kit.ImportPath {
			lines = append(lines, fmt.Sprintf("%s: wanted an import of %s or %s, found %s",
				place(spec.Pos()), strings.Join(slices.Sorted(maps.Keys(packages)), ", "), kit.ImportPath, spec.Path.Value))
		}
	}
	ast.Walk(f, func(n ast.Node) bool {
		a, ok := n.(*ast.Attribute)
		if !ok {
			return true
		}
		name, _, _ := strings.Cut(strings.TrimPrefix(a.Text, "@"), "(")
		if slices.Contains([]string{"embed", "extern", "experiment", "if"}, name) {
			lines = append(lines, fmt.Sprintf("%s: wanted source that stands by itself, found the attribute %s", place(a.Pos()), a.Text))
		}
		return true
	}, nil)
	return lines
}

// checkNesting returns what is wrong where f is nested too deep, or "".
func checkNesting(f *ast.File) string {
	depth, line := 0, ""
	ast.Walk(f, func(n ast.Node) bool {
		depth++
		if depth > maxSourceDepth && line == "" {
			line = fmt.Sprintf("%s: wanted source nested at most %d levels deep, found more; give the inner parts names of their own", place(n.Pos()), maxSourceDepth)
		}
		return line == ""
	}, func(ast.Node) { depth-- })
	return line
}
