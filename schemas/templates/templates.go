// Package templates holds the ReleaseTemplates that Tidegate ships, as CUE source. A
// platform team applies one as it is, or starts its own from it.
package templates

import (
	"embed"
	"fmt"
	"io/fs"
	"path"
	"slices"
	"strings"
)

// FS has one folder for each template.
//
//go:embed */*.cue
var FS embed.FS

// Names returns the names of the templates, sorted.
func Names() []string {
	entries, err := FS.ReadDir(".")
	if err != nil {
		panic("templates: reading the embedded files: " + err.Error())
	}
	var names []string
	for _, e := range entries {
		names = append(names, e.Name())
	}
	return names
}

// Files returns the source of the template called name: file name to CUE.
func Files(name string) (map[string]string, error) {
	if !slices.Contains(Names(), name) {
		return nil, fmt.Errorf("reading template %q: wanted one of %s: %w", name, strings.Join(Names(), ", "), fs.ErrNotExist)
	}
	entries, err := FS.ReadDir(name)
	if err != nil {
		return nil, fmt.Errorf("reading template %q: %w", name, err)
	}
	files := make(map[string]string, len(entries))
	for _, e := range entries {
		data, err := FS.ReadFile(path.Join(name, e.Name()))
		if err != nil {
			return nil, fmt.Errorf("reading template %q: %w", name, err)
		}
		files[e.Name()] = string(data)
	}
	return files, nil
}
