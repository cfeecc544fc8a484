// Package templates holds the ReleaseTemplates that Tidegate ships, as CUE source. A
// platform team applies one as it is, or starts its own from it.
//
// The folder is a CUE module, for editors and for cue vet: cue.mod has a generated copy of
// the package tidegate.io/kit. Tidegate itself takes the one that it has built in.
package templates

import (
	"embed"
	"fmt"
	"io/fs"
	"path"
	"slices"
	"strings"
)

// FS has one folder for each template: CUE files, and values that it renders, in
// examples.
//
//go:embed */*.cue */examples/*.yaml
var FS embed.FS

// module is the folder that is no template.
const module = "cue.mod"

// Names returns the names of the templates, sorted.
func Names() []string {
	entries, err := FS.ReadDir(".")
	if err != nil {
		panic("templates: reading the embedded files: " + err.Error())
	}
	var names []string
	for _, e := range entries {
		if e.Name() != module {
			names = append(names, e.Name())
		}
	}
	return names
}

// Files returns the source of the template called name: file name to CUE.
func Files(name string) (map[string]string, error) { return read(name, ".", ".cue") }

// Examples returns values of the template called name: file name to YAML.
func Examples(name string) (map[string]string, error) { return read(name, "examples", ".yaml") }

// read returns the files of one kind in a folder of the template called name.
func read(name, folder, kind string) (map[string]string, error) {
	if !slices.Contains(Names(), name) {
		return nil, fmt.Errorf("reading template %q: wanted one of %s: %w", name, strings.Join(Names(), ", "), fs.ErrNotExist)
	}
	dir := path.Join(name, folder)
	entries, err := FS.ReadDir(dir)
	if err != nil {
		return nil, fmt.Errorf("reading template %q: %w", name, err)
	}
	files := make(map[string]string, len(entries))
	for _, e := range entries {
		if e.IsDir() || path.Ext(e.Name()) != kind {
			continue
		}
		data, err := FS.ReadFile(path.Join(dir, e.Name()))
		if err != nil {
			return nil, fmt.Errorf("reading template %q: %w", name, err)
		}
		files[e.Name()] = string(data)
	}
	return files, nil
}
