// Package source reads the directory that a template is written in:
//
//	*.cue                    the template itself, the files that a ReleaseTemplate carries
//	examples/*.yaml          values that have to render
//	testdata/golden/*.yaml   what the template's tests rendered when somebody last looked
//	crds/*.yaml              CustomResourceDefinitions that its objects have to fit
//	cue.mod/                 for editors; not part of the template
//
// Only *.cue beside each other make up the template, so the digest of a directory is that of
// the bundle made of it. Nothing outside of the directory is read, whatever links say.
package source

import (
	"bytes"
	"errors"
	"fmt"
	"io"
	"io/fs"
	"os"
	"path"
	"path/filepath"
	"slices"
	"strings"

	apiextensionsv1 "k8s.io/apiextensions-apiserver/pkg/apis/apiextensions/v1"
	"sigs.k8s.io/yaml"

	"tidegate.io/tidegate/schemas/render"
)

// Folders of a template's directory.
const (
	ExamplesDir = "examples"
	GoldenDir   = "testdata/golden"
	CRDsDir     = "crds"
)

// Bounds of what is read beside the template itself, whose bounds are package render's.
const (
	// MaxFileBytes is the greatest size of one file.
	MaxFileBytes = 4 << 20
	// MaxFiles is the greatest number of files in one folder.
	MaxFiles = 500
)

// Template is what a directory holds.
type Template struct {
	// Name is that of the directory, where it can be the name of a ReleaseTemplate;
	// "template" otherwise.
	Name string
	// Files maps the name of a CUE file to its source.
	Files map[string]string
	// Examples maps the path of a file within the directory to JSON of values.
	Examples map[string][]byte
	// Golden maps the name of a file in GoldenDir to its text.
	Golden map[string][]byte
	// CRDs are those of CRDsDir, in the order of the files.
	CRDs []*apiextensionsv1.CustomResourceDefinition
}

// Read reads the template in the directory dir. Its errors are about what cannot be read,
// never about what the template says.
func Read(dir string) (*Template, error) {
	t, err := read(dir)
	if err != nil {
		return nil, fmt.Errorf("reading the template: %w", err)
	}
	return t, nil
}

func read(dir string) (*Template, error) {
	info, err := os.Stat(dir)
	if err != nil {
		return nil, err
	}
	if !info.IsDir() {
		return nil, fmt.Errorf("wanted a directory of CUE files, found the file %s; name its directory", dir)
	}
	// A Root refuses links that lead out of it.
	root, err := os.OpenRoot(dir)
	if err != nil {
		return nil, err
	}
	defer func() { _ = root.Close() }() // Nothing was written.
	absolute, err := filepath.Abs(dir)
	if err != nil {
		return nil, err
	}
	return ReadFS(root.FS(), Name(filepath.Base(absolute)), dir)
}

// Name is the name of a ReleaseTemplate made of the name of a directory.
func Name(base string) string {
	name := strings.Trim(strings.Map(func(r rune) rune {
		switch {
		case r >= 'a' && r <= 'z', r >= '0' && r <= '9', r == '-':
			return r
		case r >= 'A' && r <= 'Z':
			return r + ('a' - 'A')
		}
		return '-'
	}, base), "-")
	const most = 40
	name = strings.TrimLeft(name, "0123456789-")
	if name = strings.TrimRight(name[:min(len(name), most)], "-"); name == "" {
		return "template"
	}
	return name
}

// ReadFS reads the template at the root of fsys; where names the root in messages.
func ReadFS(fsys fs.FS, name, where string) (*Template, error) {
	t := &Template{Name: name, Files: map[string]string{}, Examples: map[string][]byte{}, Golden: map[string][]byte{}}
	r := reader{fsys: fsys, where: where}
	sources, err := r.folder(".", ".cue")
	if err != nil {
		return nil, err
	}
	if len(sources) == 0 {
		return nil, fmt.Errorf("wanted CUE files (*.cue) in %s, found none; start one with: tidegate template init NAME", where)
	}
	for name, data := range sources {
		t.Files[name] = string(data)
	}
	examples, err := r.folder(ExamplesDir, ".yaml", ".yml", ".json")
	if err != nil {
		return nil, err
	}
	for file, data := range examples {
		at := path.Join(ExamplesDir, file)
		if t.Examples[at], err = values(r.path(at), data); err != nil {
			return nil, err
		}
	}
	if t.Golden, err = r.folder(GoldenDir, ".yaml"); err != nil {
		return nil, err
	}
	crds, err := r.folder(CRDsDir, ".yaml", ".yml", ".json")
	if err != nil {
		return nil, err
	}
	if t.CRDs, err = parseCRDs(crds, r.path(CRDsDir)); err != nil {
		return nil, err
	}
	return t, nil
}

// reader reads folders of one file system.
type reader struct {
	fsys  fs.FS
	where string
}

func (r reader) path(name string) string { return filepath.Join(r.where, filepath.FromSlash(name)) }

// folder reads the files of one folder whose names end in one of the endings, by name. A
// folder that is not there has none.
func (r reader) folder(dir string, endings ...string) (map[string][]byte, error) {
	entries, err := fs.ReadDir(r.fsys, dir)
	if errors.Is(err, fs.ErrNotExist) && dir != "." {
		return map[string][]byte{}, nil
	}
	if err != nil {
		return nil, fmt.Errorf("%s: %w", r.path(dir), escaped(err))
	}
	files := map[string][]byte{}
	for _, e := range entries {
		if e.IsDir() || strings.HasPrefix(e.Name(), ".") || !slices.ContainsFunc(endings, func(s string) bool { return strings.HasSuffix(e.Name(), s) }) {
			continue
		}
		if len(files) == MaxFiles {
			return nil, fmt.Errorf("%s: wanted at most %d files, found more", r.path(dir), MaxFiles)
		}
		if files[e.Name()], err = r.file(path.Join(dir, e.Name())); err != nil {
			return nil, fmt.Errorf("%s: %w", r.path(path.Join(dir, e.Name())), err)
		}
	}
	return files, nil
}

func (r reader) file(name string) ([]byte, error) {
	// Asked before it is opened: a pipe that nobody writes to would never open.
	info, err := fs.Stat(r.fsys, name)
	if err != nil {
		return nil, escaped(err)
	}
	if !info.Mode().IsRegular() {
		return nil, fmt.Errorf("wanted a file, found a %v", info.Mode().Type())
	}
	f, err := r.fsys.Open(name)
	if err != nil {
		return nil, escaped(err)
	}
	defer func() { _ = f.Close() }() // Nothing was written.
	data, err := io.ReadAll(io.LimitReader(f, MaxFileBytes+1))
	if err != nil {
		return nil, escaped(err)
	}
	if len(data) > MaxFileBytes {
		return nil, fmt.Errorf("wanted at most %d bytes, found more", MaxFileBytes)
	}
	return data, nil
}

// escaped drops the path from an error of the file system, which the caller names whole.
func escaped(err error) error {
	if at, ok := errors.AsType[*fs.PathError](err); ok {
		if strings.Contains(at.Err.Error(), "escapes") {
			return fmt.Errorf("wanted files within the directory, found a link that leads out of it; copy the file: %w", at.Err)
		}
		return at.Err
	}
	return err
}

// values is the JSON of the values in the YAML or JSON document of a file; an empty one sets
// none.
func values(name string, document []byte) ([]byte, error) {
	data, err := yaml.YAMLToJSONStrict(document)
	if err != nil {
		return nil, misread(name, 1, "values as YAML or JSON", err)
	}
	switch trimmed := bytes.TrimSpace(data); {
	case bytes.Equal(trimmed, []byte("null")):
		return []byte("{}"), nil
	case len(trimmed) == 0 || trimmed[0] != '{':
		return nil, fmt.Errorf("%s: wanted a mapping of names to values, found %.40s", name, trimmed)
	}
	return data, nil
}

// Digest is the digest that the TemplateRevision of these files has.
func (t *Template) Digest() string { return render.Digest(t.Files) }
