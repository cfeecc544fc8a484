// Package fleet reads exported Releases, what is on record about them, Namespaces and
// DeployPolicies from files: what
// `kubectl get ... -o yaml` and `-o json` write, many documents in a file, and folders of
// such files. Objects of other kinds are passed over, so that a whole repository can be
// given.
package fleet

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

	corev1 "k8s.io/api/core/v1"
	metav1 "k8s.io/apimachinery/pkg/apis/meta/v1"
	"sigs.k8s.io/yaml"

	"tidegate.io/tidegate/cmd/tidegate/internal/syntax"
	"tidegate.io/tidegate/schemas/v1alpha1"
)

// Fleet is what files hold.
type Fleet struct {
	// Releases are sorted by namespace and name.
	Releases []v1alpha1.Release
	// Labels are those of Namespaces, by name.
	Labels   map[string]map[string]string
	Policies []v1alpha1.DeployPolicy
	// Rollouts are by namespace and name, "shop/cart-3".
	Rollouts map[string]*v1alpha1.Rollout
	// Revisions are the digests of TemplateRevisions, by name.
	Revisions map[string]string
	// objects is true where there was anything of Kubernetes at all.
	objects bool
}

// maxFiles bounds a folder: one that was named by mistake should be noticed.
const maxFiles = 20000

// Read reads a file, a folder and what is below it, or standard input for "-".
func Read(path string, stdin io.Reader) (*Fleet, error) {
	f := &Fleet{Labels: map[string]map[string]string{}, Rollouts: map[string]*v1alpha1.Rollout{}, Revisions: map[string]string{}}
	if path == "-" {
		return f.sorted("standard input", f.documents("stdin", stdin))
	}
	files, err := list(path)
	if err != nil {
		return nil, fmt.Errorf("reading %s: %w", path, err)
	}
	for _, name := range files {
		file, err := os.Open(name) //nolint:gosec // The user names the file to read.
		if err != nil {
			return nil, fmt.Errorf("reading %s: %w", path, err)
		}
		err = f.documents(name, file)
		_ = file.Close() // Nothing was written.
		if err != nil {
			return nil, err
		}
	}
	return f.sorted(path, nil)
}

func list(path string) ([]string, error) {
	var files []string
	err := filepath.WalkDir(path, func(name string, d fs.DirEntry, err error) error {
		if err != nil {
			return err
		}
		if name == path && !d.IsDir() {
			files = append(files, name)
			return nil
		}
		if d.IsDir() && name != path && strings.HasPrefix(d.Name(), ".") {
			return filepath.SkipDir
		}
		if !d.IsDir() && slices.Contains([]string{".yaml", ".yml", ".json"}, filepath.Ext(name)) {
			files = append(files, name)
		}
		if len(files) > maxFiles {
			return fmt.Errorf("wanted at most %d files, found more; name a smaller folder", maxFiles)
		}
		return nil
	})
	return files, err
}

func (f *Fleet) sorted(path string, err error) (*Fleet, error) {
	if err != nil {
		return nil, err
	}
	if !f.objects {
		return nil, fmt.Errorf("wanted objects in %s, as kubectl get ... -o yaml writes them, found none", path)
	}
	slices.SortStableFunc(f.Releases, func(a, b v1alpha1.Release) int {
		return strings.Compare(a.Namespace+"/"+a.Name, b.Namespace+"/"+b.Name)
	})
	for i := 1; i < len(f.Releases); i++ {
		if a, b := f.Releases[i-1], f.Releases[i]; a.Namespace == b.Namespace && a.Name == b.Name {
			return nil, fmt.Errorf("wanted each Release once, found %s/%s twice; export them again into an empty folder", a.Namespace, a.Name)
		}
	}
	return f, nil
}

// documents reads what one file holds.
func (f *Fleet) documents(name string, in io.Reader) error {
	for doc, err := range syntax.Documents(in) {
		if err != nil {
			return fmt.Errorf("reading %s: %w", name, err)
		}
		if err := f.document(doc); err != nil {
			if wrong, ok := errors.AsType[*syntax.Error](err); ok {
				return fmt.Errorf("%s:%w", name, wrong)
			}
			return fmt.Errorf("reading the document at %s:%d: %w", name, doc.Line, syntax.Mismatch(err))
		}
	}
	return nil
}

func (f *Fleet) document(doc syntax.Document) error {
	raw := doc.Text
	if trimmed := bytes.TrimSpace(raw); len(trimmed) == 0 || trimmed[0] != '{' || !json.Valid(raw) {
		var err error
		if raw, err = yaml.YAMLToJSON(doc.Text); err != nil {
			if wrong := doc.Wrong(); wrong != nil {
				return wrong
			}
			return err
		}
	}
	return f.object(raw)
}

// object takes one object, or those of a list.
func (f *Fleet) object(raw []byte) error {
	var o struct {
		metav1.TypeMeta `json:",inline"`
		Items           []json.RawMessage `json:"items"`
	}
	if trimmed := bytes.TrimSpace(raw); len(trimmed) == 0 || trimmed[0] != '{' {
		// A document of comments alone, or one that is no object.
		return nil
	}
	if err := json.Unmarshal(raw, &o); err != nil {
		return err
	}
	f.objects = f.objects || o.Kind != ""
	if strings.HasSuffix(o.Kind, "List") {
		return f.items(o.TypeMeta, o.Items)
	}
	return f.take(o.TypeMeta, raw)
}

func (f *Fleet) items(list metav1.TypeMeta, items []json.RawMessage) error {
	for i, item := range items {
		var t metav1.TypeMeta
		if err := json.Unmarshal(item, &t); err != nil {
			return fmt.Errorf("items[%d]: %w", i, syntax.Mismatch(err))
		}
		// The API server leaves the kind of a list's items out.
		if t.Kind == "" {
			t = metav1.TypeMeta{APIVersion: list.APIVersion, Kind: strings.TrimSuffix(list.Kind, "List")}
		}
		if err := f.take(t, item); err != nil {
			return fmt.Errorf("items[%d]: %w", i, syntax.Mismatch(err))
		}
	}
	return nil
}

func (f *Fleet) take(t metav1.TypeMeta, raw []byte) error {
	switch t.APIVersion + " " + t.Kind {
	case v1alpha1.GroupVersion.String() + " Release":
		var r v1alpha1.Release
		if err := json.Unmarshal(raw, &r); err != nil {
			return fmt.Errorf("a Release: %w", syntax.Mismatch(err))
		}
		if r.Name == "" {
			return errors.New("wanted metadata.name in a Release, found none")
		}
		r.Namespace = orDefault(r.Namespace)
		f.Releases = append(f.Releases, r)
	case v1alpha1.GroupVersion.String() + " DeployPolicy":
		var p v1alpha1.DeployPolicy
		if err := json.Unmarshal(raw, &p); err != nil {
			return fmt.Errorf("a DeployPolicy: %w", syntax.Mismatch(err))
		}
		f.Policies = append(f.Policies, p)
	case v1alpha1.GroupVersion.String() + " Rollout":
		var r v1alpha1.Rollout
		if err := json.Unmarshal(raw, &r); err != nil {
			return fmt.Errorf("a Rollout: %w", syntax.Mismatch(err))
		}
		f.Rollouts[orDefault(r.Namespace)+"/"+r.Name] = &r
	case v1alpha1.GroupVersion.String() + " TemplateRevision":
		var r v1alpha1.TemplateRevision
		if err := json.Unmarshal(raw, &r); err != nil {
			return fmt.Errorf("a TemplateRevision: %w", syntax.Mismatch(err))
		}
		f.Revisions[r.Name] = r.Spec.Digest
	case "v1 Namespace":
		var n corev1.Namespace
		if err := json.Unmarshal(raw, &n); err != nil {
			return fmt.Errorf("a Namespace: %w", syntax.Mismatch(err))
		}
		f.Labels[n.Name] = n.Labels
	}
	return nil
}

func orDefault(namespace string) string {
	if namespace == "" {
		return metav1.NamespaceDefault
	}
	return namespace
}
