package source

import (
	"embed"
	"errors"
	"fmt"
	"io/fs"
	"maps"
	"os"
	"path"
	"regexp"
	"slices"
	"strings"

	"tidegate.io/tidegate/schemas/cue/kit"
)

//go:embed starter
var starter embed.FS

// placeholder is the package's name in the starter's files.
const placeholder = "NAME"

// languageVersion is what editors are told that the template is written in.
const languageVersion = "v0.17.0"

// MaxName is the greatest length of a template's name.
const MaxName = 40

var templateName = regexp.MustCompile(`^[a-z]([-a-z0-9]*[a-z0-9])?$`)

// Start returns the files of a new template called name, by their paths: a small web
// service that passes vet and its own tests. The kit lies under cue.mod too, for editors and
// for cue vet; Tidegate itself takes the one that it has built in.
func Start(name string) (map[string][]byte, error) {
	if len(name) > MaxName || !templateName.MatchString(name) {
		return nil, fmt.Errorf("wanted a name of at most %d lower case letters, digits and dashes, found %q", MaxName, name)
	}
	files := map[string][]byte{}
	err := fs.WalkDir(starter, "starter", func(p string, e fs.DirEntry, err error) error {
		if err != nil || e.IsDir() {
			return err
		}
		data, err := starter.ReadFile(p)
		if err != nil {
			return err
		}
		text := strings.ReplaceAll(string(data), placeholder, packageName(name))
		files[strings.TrimPrefix(p, "starter/")] = []byte(text)
		return nil
	})
	if err != nil {
		return nil, fmt.Errorf("reading the starter: %w", err)
	}
	files["cue.mod/module.cue"] = fmt.Appendf(nil, "// For editors and cue vet. Tidegate reads only the CUE files beside cue.mod.\nmodule: \"templates.example.com/%s\"\nlanguage: version: %q\n", name, languageVersion)
	maps.Copy(files, Kit())
	return files, nil
}

// Kit returns the files of the package tidegate.io/kit by their paths in a template's
// directory.
func Kit() map[string][]byte {
	files := map[string][]byte{}
	for name, text := range kit.Files() {
		files[path.Join("cue.mod/pkg", kit.ImportPath, name)] = []byte(text)
	}
	return files
}

// packageName is the name of a CUE package, which has no dashes.
func packageName(name string) string { return strings.ReplaceAll(name, "-", "_") }

// WriteNew writes the files of a template by their paths into dir, which it makes. It writes
// nothing where one of them is there already, or another template is.
func WriteNew(dir string, files map[string][]byte) (err error) {
	if err := os.MkdirAll(dir, 0o750); err != nil {
		return fmt.Errorf("making the directory: %w", err)
	}
	root, err := os.OpenRoot(dir)
	if err != nil {
		return fmt.Errorf("opening the directory: %w", err)
	}
	defer func() { err = errors.Join(err, root.Close()) }()
	for _, name := range slices.Sorted(maps.Keys(files)) {
		if _, err := root.Lstat(name); err == nil {
			return fmt.Errorf("wanted to write %s, found that it is there already; choose another directory, or remove it", path.Join(dir, name))
		} else if !errors.Is(err, fs.ErrNotExist) {
			return fmt.Errorf("looking for %s: %w", name, err)
		}
	}
	if others, err := fs.Glob(root.FS(), "*.cue"); err != nil {
		return fmt.Errorf("looking for another template: %w", err)
	} else if len(others) > 0 {
		return fmt.Errorf("wanted a directory without a template, found %s, which would be part of the new one; choose another directory", path.Join(dir, others[0]))
	}
	return write(root, files)
}

// Write writes files by their paths into dir, over those that are there, and removes those
// named in gone.
func Write(dir string, files map[string][]byte, gone []string) (err error) {
	root, err := os.OpenRoot(dir)
	if err != nil {
		return fmt.Errorf("opening the directory: %w", err)
	}
	defer func() { err = errors.Join(err, root.Close()) }()
	if err := write(root, files); err != nil {
		return err
	}
	for _, name := range gone {
		if err := root.Remove(name); err != nil {
			return fmt.Errorf("removing a file: %w", err)
		}
	}
	return nil
}

func write(root *os.Root, files map[string][]byte) error {
	for _, name := range slices.Sorted(maps.Keys(files)) {
		if err := root.MkdirAll(path.Dir(name), 0o750); err != nil {
			return fmt.Errorf("making a directory: %w", err)
		}
		if err := root.WriteFile(name, files[name], 0o600); err != nil {
			return fmt.Errorf("writing a file: %w", err)
		}
	}
	return nil
}
