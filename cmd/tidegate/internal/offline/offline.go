// Package offline renders a Release from files, without a cluster: the same objects and
// the same mistakes that the webhook would see.
package offline

import (
	"bytes"
	"encoding/json"
	"errors"
	"fmt"
	"io"
	"io/fs"
	"os"
	"path/filepath"
	"slices"
	"strings"

	metav1 "k8s.io/apimachinery/pkg/apis/meta/v1"
	"k8s.io/apimachinery/pkg/apis/meta/v1/unstructured"
	kjson "sigs.k8s.io/json"
	"sigs.k8s.io/yaml"

	"tidegate.io/tidegate/cmd/tidegate/internal/syntax"
	"tidegate.io/tidegate/schemas/render"
	"tidegate.io/tidegate/schemas/v1alpha1"
)

// Options say what is rendered. A path may be "-" for standard input.
type Options struct {
	// File is a directory of CUE files, a manifest of a ReleaseTemplate or of a
	// TemplateRevision; or a manifest of a Release, which needs Template besides.
	File string
	// Template is a directory or manifest as above, where File is a Release.
	Template string
	// Values is the file of the values; not with a Release, which has its own.
	Values string
	// Name, Namespace and TemplateName are facts of the context. Empty ones are taken
	// from the manifests, or from the directory's name.
	Name, Namespace, TemplateName string
}

// Input is what Render needs.
type Input struct {
	Files   map[string]string
	Values  []byte
	Context render.Context
	// text says where the values stand in their file; nil where they are of no file.
	text *text
}

// Load reads the files. Its errors are about what could not be read, never about what
// the values or the template say.
func Load(o Options, stdin io.Reader) (Input, error) {
	if err := o.oneStdin(); err != nil {
		return Input{}, err
	}
	first, err := load(o.File, stdin)
	if err != nil {
		return Input{}, err
	}
	if first.release != nil {
		return o.fromRelease(first, stdin)
	}
	if o.Template != "" {
		return Input{}, fmt.Errorf("--template goes with a Release in --filename, found a template in %s", o.File)
	}
	in := Input{Files: first.files, Values: []byte("{}")}
	if o.Values != "" {
		if err := in.ReadValues(o.Values, stdin); err != nil {
			return Input{}, err
		}
	}
	if o.Name == "" {
		return Input{}, errors.New("wanted the name of the Release in --name, found none; it is part of the names of the objects")
	}
	in.Context = render.Context{Name: o.Name, Namespace: orElse(o.Namespace, "default"), Template: orElse(o.TemplateName, first.name)}
	return in, in.Context.Check()
}

func (o Options) oneStdin() error {
	readers := 0
	for _, p := range []string{o.File, o.Template, o.Values} {
		if p == "-" {
			readers++
		}
	}
	if readers > 1 {
		return errors.New("standard input can be read once; give only one file as -")
	}
	return nil
}

func (o Options) fromRelease(first source, stdin io.Reader) (Input, error) {
	release := first.release
	if o.Values != "" {
		return Input{}, fmt.Errorf("a Release has its own values; leave --values away, or edit spec.values in %s", o.File)
	}
	if o.Template == "" {
		return Input{}, fmt.Errorf("%s is a Release: give the template %q as a directory or manifest in --template", o.File, release.Spec.Template.Name)
	}
	t, err := load(o.Template, stdin)
	if err != nil {
		return Input{}, err
	}
	if t.release != nil {
		return Input{}, fmt.Errorf("wanted a template in --template, found a Release in %s", o.Template)
	}
	if t.manifest && t.name != release.Spec.Template.Name {
		return Input{}, fmt.Errorf("the Release names template %q, but %s holds %q", release.Spec.Template.Name, o.Template, t.name)
	}
	if o.Name != "" && o.Name != release.Name {
		return Input{}, fmt.Errorf("--name is %q, but the Release in %s is named %q; leave --name away", o.Name, o.File, release.Name)
	}
	if o.Namespace != "" && release.Namespace != "" && o.Namespace != release.Namespace {
		return Input{}, fmt.Errorf("--namespace is %q, but the Release in %s is of namespace %q", o.Namespace, o.File, release.Namespace)
	}
	in := Input{Files: t.files, Values: first.values.json, text: first.values}
	in.Context = render.Context{
		Name:      release.Name,
		Namespace: orElse(orElse(release.Namespace, o.Namespace), "default"),
		Template:  release.Spec.Template.Name,
	}
	return in, in.Context.Check()
}

// source is what a path holds: a template's files or a Release.
type source struct {
	files    map[string]string
	name     string
	manifest bool
	release  *v1alpha1.Release
	// values are those of the release.
	values *text
}

func load(path string, stdin io.Reader) (source, error) {
	if path != "-" {
		info, err := os.Stat(path)
		if err != nil {
			return source{}, fmt.Errorf("reading what to render: %w", err)
		}
		if info.IsDir() {
			return directory(path)
		}
	}
	data, err := read(path, stdin)
	if err != nil {
		return source{}, err
	}
	if err := syntax.Check(short(path), data); err != nil {
		return source{}, err
	}
	name := path
	if name == "-" {
		name = "standard input"
	}
	doc, err := document(name, data)
	if err != nil {
		return source{}, err
	}
	s, err := manifest(name, doc)
	if s.release != nil {
		s.values = readYAML(path, data, "spec", "values")
	}
	return s, err
}

// short is how a path begins the place of a mistake.
func short(path string) string {
	if path == "-" {
		return "stdin"
	}
	return path
}

func directory(path string) (source, error) {
	names, err := fs.Glob(os.DirFS(path), "*.cue")
	if err != nil {
		return source{}, fmt.Errorf("listing %s: %w", path, err)
	}
	if len(names) == 0 {
		return source{}, fmt.Errorf("wanted CUE files (*.cue) in %s, found none", path)
	}
	whole, err := filepath.Abs(path)
	if err != nil {
		return source{}, fmt.Errorf("finding the name of %s: %w", path, err)
	}
	s := source{files: map[string]string{}, name: filepath.Base(whole)}
	for _, name := range names {
		data, err := fs.ReadFile(os.DirFS(path), name)
		if err != nil {
			return source{}, fmt.Errorf("reading the template: %w", err)
		}
		s.files[name] = string(data)
	}
	return s, nil
}

func manifest(path string, doc []byte) (source, error) {
	var meta metav1.TypeMeta
	if err := yaml.Unmarshal(doc, &meta); err != nil {
		return source{}, fmt.Errorf("wanted a manifest in %s, with apiVersion and kind, found something else", path)
	}
	strict := func(into any) error {
		raw, err := yaml.YAMLToJSONStrict(doc)
		if err != nil {
			return fmt.Errorf("reading the %s in %s: %s", meta.Kind, path, strings.Join(strings.Fields(strings.TrimPrefix(err.Error(), "yaml: unmarshal errors:")), " "))
		}
		wrong, err := kjson.UnmarshalStrict(raw, into)
		if err = errors.Join(append(wrong, err)...); err != nil {
			return fmt.Errorf("reading the %s in %s: %w", meta.Kind, path, syntax.Mismatch(err))
		}
		return nil
	}
	if meta.APIVersion == v1alpha1.GroupVersion.String() {
		switch meta.Kind {
		case "Release":
			release := &v1alpha1.Release{}
			if err := strict(release); err != nil && (!twice(path, doc) || yaml.Unmarshal(doc, release) != nil) {
				return source{}, err
			}
			if release.Name == "" {
				return source{}, fmt.Errorf("wanted metadata.name in the Release in %s, found none", path)
			}
			return source{release: release}, nil
		case "ReleaseTemplate":
			var t v1alpha1.ReleaseTemplate
			err := strict(&t)
			return source{files: t.Spec.Files, name: t.Name, manifest: true}, err
		case "TemplateRevision":
			var t v1alpha1.TemplateRevision
			err := strict(&t)
			return source{files: t.Spec.Files, name: t.Spec.Template, manifest: true}, err
		}
	}
	if meta.Kind == "" || meta.APIVersion == "" {
		return source{}, fmt.Errorf("wanted a manifest in %s, with apiVersion and kind, found none; a file of values goes with --values", path)
	}
	return source{}, fmt.Errorf("wanted a directory of CUE files, or a Release, ReleaseTemplate or TemplateRevision of %s; found kind %q of %q in %s",
		v1alpha1.GroupVersion, meta.Kind, meta.APIVersion, path)
}

// twice says whether the values of the release in doc have a mistake that keeps strict
// reading from going on, and that render is to report: a key that stands twice.
func twice(path string, doc []byte) bool {
	_, err := yaml.YAMLToJSONStrict(readYAML(path, doc, "spec", "values").json)
	return err != nil
}

// maxReadBytes is how large a file of a person may be. The largest that is right, the
// manifest of a template, has a few MiB; a device has no end.
const maxReadBytes = 16 << 20

// read reads a file.
func read(path string, stdin io.Reader) (data []byte, err error) {
	in := stdin
	if path == "-" {
		path = "standard input"
	} else {
		f, err := os.Open(path) //nolint:gosec // The user names the file to read.
		if err != nil {
			return nil, fmt.Errorf("reading %s: %w", path, err)
		}
		defer func() { _ = f.Close() }()
		in = f
	}
	if data, err = io.ReadAll(io.LimitReader(in, maxReadBytes+1)); err != nil {
		return nil, fmt.Errorf("reading %s: %w", path, err)
	}
	if len(data) > maxReadBytes {
		return nil, fmt.Errorf("reading %s: wanted at most %d bytes, found more", path, maxReadBytes)
	}
	return data, nil
}

// document returns the one YAML or JSON document of a file.
func document(path string, data []byte) ([]byte, error) {
	var documents [][]byte
	for doc, err := range syntax.Documents(bytes.NewReader(data)) {
		if err != nil {
			return nil, fmt.Errorf("reading %s: %w", path, err)
		}
		if !doc.Blank() {
			documents = append(documents, doc.Text)
		}
	}
	if len(documents) > 1 {
		return nil, fmt.Errorf("wanted one document in %s, found %d; split the file", path, len(documents))
	}
	if len(documents) == 0 {
		return nil, fmt.Errorf("wanted a manifest in %s, found nothing", path)
	}
	return documents[0], nil
}

// Render compiles the template and renders. The error is a *render.SourceError or a
// *render.ValuesError where the input is at fault.
func Render(in Input) (*render.Result, error) {
	t, err := render.Compile(in.Files)
	if err != nil {
		return nil, fmt.Errorf("compiling the template: %w", err)
	}
	if err := in.Readable(t); err != nil {
		return nil, fmt.Errorf("reading the values: %w", err)
	}
	result, err := t.Render(in.Values, in.Context)
	if err != nil {
		return nil, fmt.Errorf("rendering: %w", in.Locate(err))
	}
	return result, nil
}

// Locate is err with the place in the file of each mistake in the values.
func (in Input) Locate(err error) error {
	wrong, ok := errors.AsType[*render.ValuesError](err)
	if !ok || in.text == nil {
		return err
	}
	return &render.ValuesError{Problems: in.text.locate(wrong.Problems)}
}

// Findings returns the mistakes that err reports, one a line, or nil where err is of
// another kind.
func Findings(err error) []string {
	if wrong, ok := errors.AsType[*render.ValuesError](err); ok {
		lines := make([]string, 0, len(wrong.Problems))
		for _, p := range wrong.Problems {
			lines = append(lines, render.OneLine(p.String()))
		}
		return lines
	}
	if broken, ok := errors.AsType[*render.SourceError](err); ok {
		lines := make([]string, 0, len(broken.Lines))
		for _, l := range broken.Lines {
			lines = append(lines, render.OneLine(l))
		}
		return lines
	}
	return nil
}

// Summary says in a line what was rendered.
func Summary(r *render.Result) string {
	steps := make([]string, 0, len(r.Strategy.Steps))
	for _, s := range r.Strategy.Steps {
		if s.SetWeight != nil {
			steps = append(steps, fmt.Sprint(*s.SetWeight))
		}
	}
	return fmt.Sprintf("revision %s: %d objects, %d replicas, %s %s %%", r.Revision, len(objects(r)), r.Replicas, r.Strategy.Type, strings.Join(steps, " -> "))
}

// Write writes the objects, sorted, as YAML documents or as one JSON List.
func Write(w io.Writer, r *render.Result, format string) error {
	all := objects(r)
	if format == "json" {
		items := make([]any, 0, len(all))
		for _, o := range all {
			items = append(items, o.Object)
		}
		enc := json.NewEncoder(w)
		enc.SetIndent("", "  ")
		enc.SetEscapeHTML(false)
		if err := enc.Encode(map[string]any{"apiVersion": "v1", "kind": "List", "items": items}); err != nil {
			return fmt.Errorf("writing JSON: %w", err)
		}
		return nil
	}
	for _, o := range all {
		data, err := yaml.Marshal(o.Object)
		if err != nil {
			return fmt.Errorf("writing YAML: %w", err)
		}
		if _, err := fmt.Fprintf(w, "---\n%s", data); err != nil {
			return fmt.Errorf("writing YAML: %w", err)
		}
	}
	return nil
}

func objects(r *render.Result) []*unstructured.Unstructured {
	all := r.Objects()
	slices.SortFunc(all, func(a, b *unstructured.Unstructured) int {
		return slices.Compare(
			[]string{a.GetAPIVersion(), a.GetKind(), a.GetName()},
			[]string{b.GetAPIVersion(), b.GetKind(), b.GetName()})
	})
	return all
}

func orElse(s, other string) string {
	if s == "" {
		return other
	}
	return s
}

// Source is the CUE files of a template.
type Source struct {
	// Name of the template: the manifest's, or the directory's.
	Name  string
	Files map[string]string
}

// Template reads a template from a directory or a manifest.
func Template(path string, stdin io.Reader) (Source, error) {
	s, err := load(path, stdin)
	if err != nil {
		return Source{}, err
	}
	if s.release != nil {
		return Source{}, fmt.Errorf("wanted a template, found a Release in %s", path)
	}
	return Source{Name: s.name, Files: s.files}, nil
}

// ReadValues reads a file of values, YAML or JSON. Mistakes in it are for Render to report;
// a whole manifest is an error.
func (in *Input) ReadValues(path string, stdin io.Reader) error {
	data, err := read(path, stdin)
	if err != nil {
		return err
	}
	in.text = readYAML(path, data)
	in.Values = in.text.json
	return in.text.whole(path)
}

// Readable returns a *render.ValuesError where the file of values, for template t, could not
// be read.
func (in Input) Readable(t *render.Template) error {
	if in.text != nil && len(in.text.problems) > 0 {
		return &render.ValuesError{Problems: in.text.public(t)}
	}
	return nil
}
