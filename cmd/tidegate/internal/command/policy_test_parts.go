package command

import (
	"errors"
	"fmt"
	"io/fs"
	"maps"
	"os"
	"path"
	"path/filepath"
	"regexp"
	"slices"
	"strings"

	"k8s.io/apimachinery/pkg/apis/meta/v1/unstructured"
	"sigs.k8s.io/yaml"

	"tidegate.io/tidegate/cmd/tidegate/internal/check"
)

// wholeBeside says whether the same policy lies beside a frame as a whole, as a build leaves
// it.
func wholeBeside(frame check.Manifest, all []check.Manifest) bool {
	return slices.ContainsFunc(all, func(m check.Manifest) bool {
		return filepath.Dir(m.File) == filepath.Dir(frame.File) && m.Object.GetName() == frame.Object.GetName() && !half(m)
	})
}

// libraries are the folders that policies of a directory import from.
func (o *policyTestFlags) libraries(dir string) []string {
	if lib := beside(dir); lib != "" && len(o.libs) == 0 {
		return []string{lib}
	}
	return o.libs
}

// assemble puts the source beside the frame of a DeployPolicy into it, with the libraries
// that it imports.
func (o *policyTestFlags) assemble(m check.Manifest, dir string) error {
	file, language, err := sourceBeside(filepath.Dir(m.File))
	if err != nil {
		return err
	}
	text, err := os.ReadFile(file) //nolint:gosec // The user names the directory.
	if err != nil {
		return fmt.Errorf("reading the source of a policy: %w", err)
	}
	if err := unstructured.SetNestedField(m.Object.Object, string(text), "spec", language); err != nil {
		return fmt.Errorf("reading the frame of a policy: %w", err)
	}
	if language != "rego" {
		return nil
	}
	files := map[string]string{}
	for _, lib := range append(o.libraries(dir), filepath.Join(dir, "lib")) {
		if err := regoFiles(lib, files); err != nil && !errors.Is(err, os.ErrNotExist) {
			return err
		}
	}
	libs := map[string]bool{}
	imported(string(text), files, libs)
	if len(libs) == 0 {
		return nil
	}
	var list []any
	for _, lib := range slices.Sorted(maps.Keys(libs)) {
		list = append(list, files[lib])
	}
	if err := unstructured.SetNestedSlice(m.Object.Object, list, "spec", "libs"); err != nil {
		return fmt.Errorf("reading the frame of a policy: %w", err)
	}
	return nil
}

// sourceBeside is the one file in a folder that is the source of a policy.
func sourceBeside(dir string) (file, language string, err error) {
	var found []string
	for _, pattern := range []string{"*.rego", "*.cue"} {
		files, err := filepath.Glob(filepath.Join(dir, pattern))
		if err != nil {
			return "", "", fmt.Errorf("looking for the source of a policy: %w", err)
		}
		found = append(found, slices.DeleteFunc(files, func(f string) bool { return strings.HasSuffix(f, "_test.rego") })...)
	}
	if len(found) != 1 {
		return "", "", fmt.Errorf("wanted one file *.rego or *.cue beside it, tests aside, found %d", len(found))
	}
	return found[0], strings.TrimPrefix(filepath.Ext(found[0]), "."), nil
}

// dataFiles is the document data that files data.json, data.yaml and data.yml make, each at
// the path of its folder.
func dataFiles(dir string) (map[string]any, error) {
	out := map[string]any{}
	size := 0
	err := fs.WalkDir(os.DirFS(dir), ".", func(name string, d fs.DirEntry, err error) error {
		if err != nil || !d.Type().IsRegular() || !slices.Contains([]string{"data.json", "data.yaml", "data.yml"}, d.Name()) {
			return err
		}
		raw, err := fs.ReadFile(os.DirFS(dir), name)
		if err != nil {
			return err
		}
		if size += len(raw); size > maxRego {
			return fmt.Errorf("wanted at most %d bytes of data, found more", maxRego)
		}
		var document map[string]any
		if err := yaml.Unmarshal(raw, &document); err != nil {
			return fmt.Errorf("%s: wanted an object of data, found: %w", name, err)
		}
		at := out
		if folder := path.Dir(name); folder != "." {
			for key := range strings.SplitSeq(folder, "/") {
				next, ok := at[key].(map[string]any)
				if !ok {
					next = map[string]any{}
					at[key] = next
				}
				at = next
			}
		}
		return merge(at, document, name)
	})
	if err != nil {
		return nil, fmt.Errorf("reading data in %s: %w", dir, err)
	}
	return out, nil
}

// merge adds a document to another, which must not say the same.
func merge(into, from map[string]any, file string) error {
	for key, v := range from {
		old, there := into[key]
		below, ok1 := old.(map[string]any)
		more, ok2 := v.(map[string]any)
		switch {
		case !there:
			into[key] = v
		case ok1 && ok2:
			if err := merge(below, more, file); err != nil {
				return err
			}
		default:
			return fmt.Errorf("%s: wanted data that no other file has, found %q again", file, key)
		}
	}
	return nil
}

var (
	importLines  = regexp.MustCompile(`(?m)^import data\.(lib\.[a-zA-Z0-9_.]+)`)
	packageLines = regexp.MustCompile(`(?m)^package (lib\.[a-zA-Z0-9_.]+)`)
)

// imported adds the files that a module imports, and those that they import. An import may
// name a rule of a package.
func imported(module string, files map[string]string, into map[string]bool) {
	for _, m := range importLines.FindAllStringSubmatch(module, -1) {
		for name, text := range files {
			of := packageLines.FindStringSubmatch(text)
			if of == nil || strings.HasSuffix(name, "_test.rego") || into[name] || (m[1] != of[1] && !strings.HasPrefix(m[1], of[1]+".")) {
				continue
			}
			into[name] = true
			imported(text, files, into)
		}
	}
}
