package arch

import (
	"cmp"
	"fmt"
	"go/ast"
	"go/parser"
	"go/token"
	"io/fs"
	"maps"
	"path"
	"slices"
	"strconv"
	"strings"
)

// FileImports is what one file imports.
type FileImports struct {
	// Package is the folder, and Name the file in it.
	Package, Name string
	Imports       []string
}

func sortedKeys[K cmp.Ordered, V any](m map[K]V) []K { return slices.Sorted(maps.Keys(m)) }

// goFiles calls visit for each Go file that is ours to judge: not generated, not a
// fixture.
func goFiles(tree fs.FS, mode parser.Mode, visit func(name string, fset *token.FileSet, f *ast.File)) error {
	return fs.WalkDir(tree, ".", func(name string, d fs.DirEntry, err error) error {
		if err != nil {
			return err
		}
		if d.IsDir() {
			if skipped(d.Name()) {
				return fs.SkipDir
			}
			return nil
		}
		if !strings.HasSuffix(name, ".go") {
			return nil
		}
		src, err := fs.ReadFile(tree, name)
		if err != nil {
			return fmt.Errorf("reading a source file: %w", err)
		}
		fset := token.NewFileSet()
		f, err := parser.ParseFile(fset, name, src, mode|parser.SkipObjectResolution)
		if err != nil {
			return fmt.Errorf("parsing a source file: %w", err)
		}
		visit(name, fset, f)
		return nil
	})
}

// skipped are folders that hold nothing of ours.
func skipped(name string) bool {
	return name == "testdata" || name == "node_modules" || name == "bin" || len(name) > 1 && name[0] == '.'
}

// Imports returns what each file imports, tests aside.
func Imports(tree fs.FS) (map[string]FileImports, error) {
	files := map[string]FileImports{}
	err := goFiles(tree, parser.ImportsOnly, func(name string, _ *token.FileSet, f *ast.File) {
		if strings.HasSuffix(name, "_test.go") {
			return
		}
		imports := FileImports{Package: path.Dir(name), Name: path.Base(name)}
		for _, spec := range f.Imports {
			if p, err := strconv.Unquote(spec.Path.Value); err == nil {
				imports.Imports = append(imports.Imports, p)
			}
		}
		files[name] = imports
	})
	return files, err
}

// clock are the functions of package time that read or wait for the machine's clock.
var clock = []string{"After", "AfterFunc", "NewTicker", "NewTimer", "Now", "Since", "Sleep", "Tick", "Until"}

// PureCodeHasNoClock reports uses of the machine's clock in pure packages.
func PureCodeHasNoClock(tree fs.FS) ([]string, error) {
	var found []string
	err := goFiles(tree, 0, func(name string, fset *token.FileSet, f *ast.File) {
		if strings.HasSuffix(name, "_test.go") || !isPure(path.Dir(name)) {
			return
		}
		local, dotted := timeName(f)
		if dotted {
			found = append(found, fmt.Sprintf("%s imports package time into its own scope, so that a use of the clock cannot be told", name))
		}
		if local == "" {
			return
		}
		ast.Inspect(f, func(n ast.Node) bool {
			s, ok := n.(*ast.SelectorExpr)
			if !ok {
				return true
			}
			if x, ok := s.X.(*ast.Ident); ok && x.Name == local && slices.Contains(clock, s.Sel.Name) {
				found = append(found, fmt.Sprintf("%s uses time.%s: pure code is given the time", fset.Position(s.Pos()), s.Sel.Name))
			}
			return true
		})
	})
	return found, err
}

// timeName returns what a file calls package time; "" where it does not import it.
func timeName(f *ast.File) (local string, dotted bool) {
	for _, spec := range f.Imports {
		if spec.Path.Value != `"time"` {
			continue
		}
		switch {
		case spec.Name == nil:
			local = "time"
		case spec.Name.Name == ".":
			dotted = true
		default:
			local = spec.Name.Name
		}
	}
	return local, dotted
}

// OnePackageComment reports packages that do not have exactly one package comment, and
// comments that do not begin as Go's do. A package of tests alone has it in a test file.
func OnePackageComment(tree fs.FS) ([]string, error) {
	type pkg struct {
		name     string
		comments []string
		texts    []string
	}
	product, tests := map[string]*pkg{}, map[string]*pkg{}
	err := goFiles(tree, parser.PackageClauseOnly|parser.ParseComments, func(name string, _ *token.FileSet, f *ast.File) {
		all := product
		if strings.HasSuffix(name, "_test.go") {
			all = tests
		}
		dir := path.Dir(name)
		p := all[dir]
		if p == nil {
			p = &pkg{name: strings.TrimSuffix(f.Name.Name, "_test")}
			all[dir] = p
		}
		if text := f.Doc.Text(); strings.TrimSpace(text) != "" {
			p.comments = append(p.comments, name)
			p.texts = append(p.texts, text)
		}
	})
	for dir, p := range tests {
		if product[dir] == nil {
			product[dir] = p
		}
	}
	var found []string
	for _, dir := range sortedKeys(product) {
		p := product[dir]
		wanted := "Package " + p.name + " "
		if p.name == "main" {
			wanted = "Command "
		}
		switch {
		case len(p.comments) == 0:
			found = append(found, fmt.Sprintf("%s has no package comment: say in one file what the package is for, beginning with %q", dir, strings.TrimSpace(wanted)))
		case len(p.comments) > 1:
			found = append(found, fmt.Sprintf("%s has %d package comments, in %s: keep one", dir, len(p.comments), strings.Join(p.comments, ", ")))
		case !strings.HasPrefix(p.texts[0], wanted):
			found = append(found, fmt.Sprintf("%s: wanted a package comment that begins with %q, found %q", p.comments[0], strings.TrimSpace(wanted), firstLine(p.texts[0])))
		}
	}
	return found, err
}

func firstLine(text string) string {
	line, _, _ := strings.Cut(text, "\n")
	return line
}
