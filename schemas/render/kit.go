package render

import (
	"fmt"
	"maps"
	"slices"
	"strings"
	"sync"

	"cuelang.org/go/cue/ast"
	"cuelang.org/go/cue/build"
	"cuelang.org/go/cue/parser"

	"tidegate.io/tidegate/schemas/cue/kit"
)

// kitDigits is how much of the kit's digest the version of the engine has.
const kitDigits = 8

// kitPlace begins the names of the kit's files in errors, which tells them from those of
// the template.
const kitPlace = kit.ImportPath + "/"

// kitInstance parses of the kit what a template that writes names needs. Parsing is most
// of what the kit costs, and no two templates can share what was parsed.
func kitInstance(loader *build.Context, names map[string]bool) (*build.Instance, error) {
	inst := loader.NewInstance(kit.ImportPath, nil)
	inst.ImportPath = kit.ImportPath
	source := kit.Files()
	for _, name := range kitFiles(names) {
		f, err := parser.ParseFile(kitPlace+name, source[name], parser.ParseComments)
		if err != nil {
			return nil, fmt.Errorf("parsing the kit: %w", err)
		}
		if err := inst.AddSyntax(f); err != nil {
			return nil, fmt.Errorf("adding to the kit: %w", err)
		}
	}
	if err := inst.Complete(); err != nil {
		return nil, fmt.Errorf("completing the kit: %w", err)
	}
	return inst, nil
}

// kitFiles returns the files of the kit that declare one of names, and those that these
// need in turn, sorted; never none, since a package has a file.
func kitFiles(names map[string]bool) []string {
	index := kitIndex()
	picked := map[string]bool{index.first: true}
	open := slices.Collect(maps.Keys(names))
	for len(open) > 0 {
		name := open[len(open)-1]
		open = open[:len(open)-1]
		file, ok := index.declares[name]
		if !ok || picked[file] {
			continue
		}
		picked[file] = true
		open = append(open, index.uses[file]...)
	}
	return slices.Sorted(maps.Keys(picked))
}

// kitContents says what is in the files of the kit.
type kitContents struct {
	// first is the file with the package's comment, which needs no other.
	first string
	// declares has the file of each definition, uses the definitions that a file mentions.
	declares map[string]string
	uses     map[string][]string
}

var kitIndex = sync.OnceValue(func() kitContents {
	out := kitContents{first: kit.Main, declares: map[string]string{}, uses: map[string][]string{}}
	for name, source := range kit.Files() {
		f, err := parser.ParseFile(kitPlace+name, source)
		if err != nil {
			panic("render: parsing the kit: " + err.Error())
		}
		for _, d := range f.Decls {
			field, ok := d.(*ast.Field)
			if !ok {
				continue
			}
			if label, ok := field.Label.(*ast.Ident); ok {
				out.declares[label.Name] = name
			}
		}
		out.uses[name] = slices.Sorted(maps.Keys(definitions(f)))
	}
	return out
})

// definitions returns the names such as #Pod that are written in f, whatever they stand
// for.
func definitions(f *ast.File) map[string]bool {
	names := map[string]bool{}
	ast.Walk(f, func(n ast.Node) bool {
		if id, ok := n.(*ast.Ident); ok && strings.HasPrefix(id.Name, "#") {
			names[id.Name] = true
		}
		return true
	}, nil)
	return names
}
