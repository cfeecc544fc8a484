// Package suite reads Gatekeeper's Suite files and runs them: each case reviews one object
// by one constraint, and its assertions say what must come of it.
package suite

import (
	"encoding/json"
	"errors"
	"fmt"
	"io/fs"
	"os"
	"path/filepath"
	"slices"
	"strings"

	"go.yaml.in/yaml/v3"
	"k8s.io/apimachinery/pkg/apis/meta/v1/unstructured"

	"tidegate.io/tidegate/policies/eval/gatekeeper"
)

const (
	suiteGroup = "test.gatekeeper.sh"
	suiteKind  = "Suite"
	recursive  = "/..."
)

// Suite is one file of tests.
type Suite struct {
	// Name is metadata.name, or the path where there is none.
	Name string
	// Path is the file. Paths within are relative to its folder.
	Path  string
	Skip  bool
	Tests []Test
	// Compiler compiles the templates.
	Compiler gatekeeper.Compiler
}

// Test is a template, a constraint of it, and cases for both.
type Test struct {
	Name       string `json:"name"`
	Template   string `json:"template"`
	Constraint string `json:"constraint"`
	// Expansion is a file of ExpansionTemplates.
	Expansion string `json:"expansion"`
	// Invalid is: the constraint must fail the schema of the template.
	Invalid bool   `json:"invalid"`
	Skip    bool   `json:"skip"`
	Cases   []Case `json:"cases"`
}

// Case is one object and what must come of it.
type Case struct {
	Name string `json:"name"`
	// Object is a file with one object, or with an AdmissionReview.
	Object string `json:"object"`
	// Inventory is files of objects that templates may read.
	Inventory  []string    `json:"inventory"`
	Assertions []Assertion `json:"assertions"`
	Skip       bool        `json:"skip"`
}

// suiteDocument is a Suite as written.
type suiteDocument struct {
	Metadata struct {
		Name string `json:"name"`
	} `json:"metadata"`
	Skip  bool   `json:"skip"`
	Tests []Test `json:"tests"`
}

// Find reads the Suites at a path: a file, a folder, or with /... at its end a folder and
// all below it. Files of YAML that hold something else are left out, as long as they are
// not asked for by name.
func Find(path string) ([]Suite, error) {
	root, deep := strings.CutSuffix(path, recursive)
	if path == "..." {
		root, deep = ".", true
	}
	if root == "" {
		root = "/"
	}
	info, err := os.Stat(root)
	if err != nil {
		return nil, fmt.Errorf("reading suites: %w", err)
	}
	if !info.IsDir() {
		if deep {
			return nil, fmt.Errorf("reading suites: wanted a folder before /..., found the file %s", root)
		}
		s, err := read(root)
		if err != nil {
			return nil, err
		}
		if s == nil {
			return nil, fmt.Errorf("reading suites: wanted a %s of %s in %s, found something else", suiteKind, suiteGroup, root)
		}
		return []Suite{*s}, nil
	}
	files, err := files(root, deep)
	if err != nil {
		return nil, err
	}
	var out []Suite
	for _, file := range files {
		s, err := read(file)
		if err != nil {
			return nil, err
		}
		if s != nil {
			out = append(out, *s)
		}
	}
	if len(out) == 0 {
		return nil, fmt.Errorf("reading suites: wanted a %s in %s, found none", suiteKind, path)
	}
	return out, nil
}

func files(root string, deep bool) ([]string, error) {
	var out []string
	err := filepath.WalkDir(root, func(path string, d fs.DirEntry, err error) error {
		switch {
		case err != nil:
			return err
		case d.IsDir() && path != root && !deep:
			return filepath.SkipDir
		case !d.IsDir() && slices.Contains([]string{".yaml", ".yml"}, filepath.Ext(path)):
			out = append(out, path)
		}
		return nil
	})
	if err != nil {
		return nil, fmt.Errorf("reading suites: %w", err)
	}
	slices.Sort(out)
	return out, nil
}

// read returns nil for a file that holds no Suite.
func read(path string) (*Suite, error) {
	raw, err := os.ReadFile(path) //nolint:gosec // the user names the file
	if err != nil {
		return nil, fmt.Errorf("reading suites: %w", err)
	}
	var head struct {
		APIVersion string `yaml:"apiVersion"`
		Kind       string `yaml:"kind"`
	}
	if err := yaml.Unmarshal(raw, &head); err != nil {
		if !strings.Contains(string(raw), suiteGroup) {
			// Not ours to judge: a chart's template, for one.
			return nil, nil
		}
		return nil, fmt.Errorf("reading suite %s: %w", path, err)
	}
	group, _, _ := strings.Cut(head.APIVersion, "/")
	if group != suiteGroup || head.Kind != suiteKind {
		return nil, nil
	}
	var d suiteDocument
	if err := decode(raw, &d); err != nil {
		return nil, fmt.Errorf("reading suite %s: %w", path, err)
	}
	s := &Suite{Name: d.Metadata.Name, Path: path, Skip: d.Skip, Tests: d.Tests}
	if s.Name == "" {
		s.Name = path
	}
	return s, nil
}

// decode reads one YAML document through JSON. Words such as yes and no stay words, since
// this is YAML 1.2, which Gatekeeper reads too.
func decode(raw []byte, into any) error {
	object := map[string]any{}
	if err := yaml.Unmarshal(raw, &object); err != nil {
		return err
	}
	asJSON, err := json.Marshal(object)
	if err != nil {
		return err
	}
	return json.Unmarshal(asJSON, into)
}

// Objects reads the objects in a file of YAML or JSON.
func Objects(path string) ([]*unstructured.Unstructured, error) {
	raw, err := os.ReadFile(path) //nolint:gosec // the suite names the file
	if err != nil {
		return nil, fmt.Errorf("reading objects: %w", err)
	}
	var out []*unstructured.Unstructured
	for document := range strings.SplitSeq(string(raw), "\n---") {
		if blank(document) {
			continue
		}
		u := &unstructured.Unstructured{}
		if err := decode([]byte(document), u); err != nil {
			return nil, fmt.Errorf("reading objects: %s: %w", path, err)
		}
		out = append(out, u)
	}
	if len(out) == 0 {
		return nil, fmt.Errorf("reading objects: wanted at least one in %s, found none", path)
	}
	return out, nil
}

// blank says whether a document is only empty lines, comments and separators.
func blank(document string) bool {
	for line := range strings.Lines(document) {
		line = strings.TrimSpace(line)
		if line != "" && line != "---" && !strings.HasPrefix(line, "#") {
			return false
		}
	}
	return true
}

// one reads a file that must hold exactly one object.
func one(path string) (*unstructured.Unstructured, error) {
	list, err := Objects(path)
	if err != nil {
		return nil, err
	}
	if len(list) != 1 {
		return nil, fmt.Errorf("reading objects: wanted exactly one in %s, found %d", path, len(list))
	}
	return list[0], nil
}

var errNoPath = errors.New("wanted a path, found nothing")
