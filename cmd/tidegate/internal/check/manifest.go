package check

import (
	"bytes"
	"errors"
	"fmt"
	"io"
	"io/fs"
	"os"
	"path/filepath"
	"slices"
	"strings"

	"go.yaml.in/yaml/v3"
	"k8s.io/apimachinery/pkg/apis/meta/v1/unstructured"
	kyaml "sigs.k8s.io/yaml"

	"tidegate.io/tidegate/cmd/tidegate/internal/syntax"
	"tidegate.io/tidegate/schemas/v1alpha1"
)

const (
	// maxFileBytes is how large a file may be: many times what the API server takes.
	maxFileBytes = 16 << 20
	// maxFiles is how many files and directories one path may hold.
	maxFiles = 20_000
	// maxErrors is how many files that cannot be read are named.
	maxErrors = 20
	// standardInput is how it is named in reports.
	standardInput = "stdin"
)

// Manifest is one object of a file, and where it stands.
type Manifest struct {
	Object *unstructured.Unstructured
	File   string
	// node is the object as it is written, offset the number of lines above its document.
	node   *yaml.Node
	offset int
}

// Files is what some paths hold.
type Files struct {
	Manifests []Manifest
	// Templates are directories of CUE files.
	Templates []string
	// Passed are files that hold no manifest, in directories that were named.
	Passed []string
}

// Read reads files and directories, and what is below them; - is standard input. Its error
// names every file that cannot be read.
func Read(paths []string, stdin io.Reader) (Files, error) {
	r := reader{}
	for _, p := range paths {
		if p == "-" {
			r.file(standardInput, stdin, true)
			stdin = strings.NewReader("")
			continue
		}
		r.path(p)
	}
	if more := len(r.errs) - maxErrors; more > 0 {
		r.errs = append(r.errs[:maxErrors], fmt.Errorf("and %d more", more))
	}
	return r.found, errors.Join(r.errs...)
}

type reader struct {
	found Files
	errs  []error
}

func (r *reader) fail(err error) { r.errs = append(r.errs, err) }

func (r *reader) path(root string) {
	info, err := os.Stat(root)
	if err != nil {
		r.fail(fmt.Errorf("reading what to check: %w", err))
		return
	}
	if !info.IsDir() {
		r.open(root, true)
		return
	}
	seen, before := 0, len(r.found.Manifests)+len(r.found.Templates)+len(r.errs)
	err = filepath.WalkDir(root, func(path string, d fs.DirEntry, err error) error {
		if seen++; seen > maxFiles {
			return fmt.Errorf("wanted at most %d files in %s, found more; name the folders that are meant", maxFiles, root)
		}
		switch {
		case err != nil:
			return err
		case d.IsDir():
			return r.directory(path, path == root)
		case !d.Type().IsRegular() || !slices.Contains([]string{".yaml", ".yml", ".json"}, filepath.Ext(path)):
			return nil
		}
		r.open(path, false)
		return nil
	})
	if err != nil {
		r.fail(fmt.Errorf("reading what to check: %w", err))
	}
	if before == len(r.found.Manifests)+len(r.found.Templates)+len(r.errs) {
		r.fail(fmt.Errorf("wanted manifests (*.yaml, *.yml, *.json) or a template (*.cue) in %s, found none", root))
	}
}

// directory takes a template whole: what lies in its folders are its examples and tests.
func (r *reader) directory(path string, isRoot bool) error {
	if name := filepath.Base(path); !isRoot && (strings.HasPrefix(name, ".") || name == "node_modules" || name == "cue.mod") {
		return filepath.SkipDir
	}
	files, err := fs.Glob(os.DirFS(path), "*.cue")
	if err != nil || len(files) == 0 {
		return err
	}
	r.found.Templates = append(r.found.Templates, path)
	return filepath.SkipDir
}

func (r *reader) open(path string, named bool) {
	f, err := os.Open(path) //nolint:gosec // The user names what to read.
	if err != nil {
		r.fail(fmt.Errorf("reading what to check: %w", err))
		return
	}
	defer func() { _ = f.Close() }() // Nothing was written.
	r.file(filepath.ToSlash(filepath.Clean(path)), f, named)
}

// file reads all documents. Named says that a user named the file, and that there has to be
// something in it.
func (r *reader) file(name string, in io.Reader, named bool) {
	data, err := io.ReadAll(io.LimitReader(in, maxFileBytes+1))
	switch {
	case err != nil:
		r.fail(fmt.Errorf("reading %s: %w", name, err))
		return
	case len(data) > maxFileBytes:
		r.fail(fmt.Errorf("reading %s: wanted at most %d bytes, found more", name, maxFileBytes))
		return
	}
	some := false
	for d, err := range syntax.Documents(bytes.NewReader(data)) {
		if err != nil {
			r.fail(fmt.Errorf("reading %s: %w", name, err))
			return
		}
		if d.Blank() {
			continue
		}
		if wrong := d.Wrong(); wrong != nil {
			r.fail(fmt.Errorf("%s:%w", name, wrong))
			return
		}
		if !r.document(name, d, named) {
			return
		}
		some = true
	}
	if named && !some {
		r.fail(fmt.Errorf("wanted manifests in %s, found nothing", name))
	}
}

// document reads one document, and returns false where the rest of the file says nothing.
func (r *reader) document(name string, d syntax.Document, named bool) bool {
	problem := func(format string, args ...any) bool {
		r.fail(fmt.Errorf("%s:%d: %w", name, d.Line, fmt.Errorf(format, args...)))
		return false
	}
	var node yaml.Node
	if err := yaml.Unmarshal(d.Text, &node); err != nil || len(node.Content) == 0 {
		return problem("wanted a manifest, found something else")
	}
	u := &unstructured.Unstructured{}
	raw, err := kyaml.YAMLToJSONStrict(d.Text)
	if err == nil && step(node.Content[0], segment{name: "apiVersion"}) != nil && step(node.Content[0], segment{name: "kind"}) != nil {
		err = u.UnmarshalJSON(raw)
	}
	switch {
	case err != nil:
		return problem("wanted a manifest, found: %s", strings.Join(strings.Fields(err.Error()), " "))
	case u.GetAPIVersion() == "" || u.GetKind() == "":
		if named {
			return problem("wanted a manifest, with apiVersion and kind, found none")
		}
		r.found.Passed = append(r.found.Passed, name)
		return false
	}
	return r.add(Manifest{Object: u, File: name, node: node.Content[0], offset: d.Line - 1}, 0, problem)
}

// add adds an object, or the items of a List, which is nothing but a way to write several.
func (r *reader) add(m Manifest, depth int, problem func(string, ...any) bool) bool {
	if !isList(m.Object) {
		r.found.Manifests = append(r.found.Manifests, m)
		return true
	}
	items, _ := m.Object.Object["items"].([]any)
	nodes := step(m.node, segment{name: "items"})
	if depth > 1 || nodes == nil || len(nodes.Content) != len(items) || len(items) == 0 {
		return problem("wanted a List of objects, found one without, or Lists in Lists")
	}
	for i, item := range items {
		object, _ := item.(map[string]any)
		inherit(object, m.Object)
		one := Manifest{Object: &unstructured.Unstructured{Object: object}, File: m.File, node: target(nodes.Content[i]), offset: m.offset}
		if object == nil || one.Object.GetAPIVersion() == "" || one.Object.GetKind() == "" {
			return problem("items[%d]: wanted a manifest, with apiVersion and kind, found none", i)
		}
		if !r.add(one, depth+1, problem) {
			return false
		}
	}
	return true
}

// isList says whether an object is a List, or one of a kind, such as a DeploymentList, which
// kubectl takes apart likewise.
func isList(u *unstructured.Unstructured) bool {
	if u.GetAPIVersion() == "v1" && u.GetKind() == "List" {
		return true
	}
	_, items := u.Object["items"].([]any)
	return items && strings.HasSuffix(u.GetKind(), "List")
}

// inherit gives an item of a list of one kind that kind, where it has none of its own.
func inherit(item map[string]any, list *unstructured.Unstructured) {
	kind := strings.TrimSuffix(list.GetKind(), "List")
	if item == nil || kind == "" || item["kind"] != nil || item["apiVersion"] != nil {
		return
	}
	item["kind"], item["apiVersion"] = kind, list.GetAPIVersion()
}

// Find returns the manifests of one kind of Tidegate's in a directory and below. Files that
// hold something else, or nothing that can be read, are passed over, unless they name the
// kind.
func Find(dir, kind string) (Files, error) {
	var out Files
	var errs []error
	seen := 0
	err := filepath.WalkDir(dir, func(path string, d fs.DirEntry, err error) error {
		if seen++; seen > maxFiles {
			return fmt.Errorf("wanted at most %d files in %s, found more", maxFiles, dir)
		}
		if err != nil || !d.Type().IsRegular() || !slices.Contains([]string{".yaml", ".yml", ".json"}, filepath.Ext(path)) {
			return err
		}
		one := reader{}
		one.open(path, false)
		if len(one.errs) > 0 {
			data, err := os.ReadFile(path) //nolint:gosec // The user names the directory.
			if err != nil || strings.Contains(string(data), "kind: "+kind) {
				errs = append(errs, one.errs...)
			}
			return nil
		}
		for _, m := range one.found.Manifests {
			if gvk := m.Object.GroupVersionKind(); gvk.Group == v1alpha1.GroupVersion.Group && gvk.Kind == kind {
				out.Manifests = append(out.Manifests, m)
			}
		}
		return nil
	})
	return out, errors.Join(append(errs, err)...)
}

// Document reads a file, or standard input for -, of one document, and returns it as JSON.
func Document(path string, stdin io.Reader) ([]byte, error) {
	name := standardInput
	if path != "-" {
		name = path
		f, err := os.Open(path) //nolint:gosec // The user names what to read.
		if err != nil {
			return nil, fmt.Errorf("reading the input: %w", err)
		}
		defer func() { _ = f.Close() }() // Nothing was written.
		stdin = f
	}
	data, err := io.ReadAll(io.LimitReader(stdin, maxFileBytes+1))
	switch {
	case err != nil:
		return nil, fmt.Errorf("reading the input: %w", err)
	case len(data) > maxFileBytes:
		return nil, fmt.Errorf("reading the input %s: wanted at most %d bytes, found more", name, maxFileBytes)
	}
	var document []byte
	for d, err := range syntax.Documents(bytes.NewReader(data)) {
		switch {
		case err != nil:
			return nil, fmt.Errorf("reading the input: %w", err)
		case d.Blank():
			continue
		case document != nil:
			return nil, fmt.Errorf("%s:%d: wanted one document, found another after it; split the file", name, d.Line)
		}
		if wrong := d.Wrong(); wrong != nil {
			return nil, fmt.Errorf("%s:%w", name, wrong)
		}
		if document, err = kyaml.YAMLToJSONStrict(d.Text); err != nil {
			return nil, fmt.Errorf("%s:%d: wanted YAML or JSON, found: %s", name, d.Line, strings.Join(strings.Fields(err.Error()), " "))
		}
	}
	if document == nil {
		return nil, fmt.Errorf("wanted an input in %s, found nothing", name)
	}
	return document, nil
}
