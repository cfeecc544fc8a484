// Command chartfiles copies what Tidegate ships (templates, policies) into the chart, which
// can hold nothing outside of its own folder, and the kit into the module of the shipped
// templates, where editors look for it. The originals are in schemas/templates,
// schemas/cue/kit and policies/library; the copies are generated, and a test fails when
// they differ.
//
//	go generate ./test/gen/chartfiles
package main

import (
	"bytes"
	"flag"
	"fmt"
	"io/fs"
	"os"
	"path/filepath"
	"slices"
	"strings"
)

//go:generate go run . -root ../../..

// copies says which originals go where, both from the root of the repository.
var copies = []struct {
	pattern string
	to      string
}{
	{"schemas/templates/grpc/*.cue", "charts/tidegate/files/templates/grpc"},
	{"schemas/templates/job/*.cue", "charts/tidegate/files/templates/job"},
	{"schemas/templates/stateful/*.cue", "charts/tidegate/files/templates/stateful"},
	{"schemas/templates/web/*.cue", "charts/tidegate/files/templates/web"},
	{"schemas/templates/web-bluegreen/*.cue", "charts/tidegate/files/templates/web-bluegreen"},
	{"schemas/templates/worker/*.cue", "charts/tidegate/files/templates/worker"},
	{"schemas/cue/kit/*.cue", "schemas/templates/cue.mod/pkg/tidegate.io/kit"},
	{"policies/library/image-registries/*.rego", "charts/tidegate/files/policies/image-registries"},
	{"policies/library/freeze-windows/*.rego", "charts/tidegate/files/policies/freeze-windows"},
	{"policies/library/template-pins/*.rego", "charts/tidegate/files/policies/template-pins"},
	{"policies/library/*/deploypolicy.yaml", "charts/tidegate/files/library"},
}

// folders are where all copies are; nothing else is.
var folders = []string{"charts/tidegate/files", "schemas/templates/cue.mod/pkg"}

func main() {
	root := flag.String("root", ".", "root of the repository")
	check := flag.Bool("check", false, "change nothing; fail if a copy is not as its original")
	flag.Parse()
	if err := run(*root, *check); err != nil {
		fmt.Fprintln(os.Stderr, "chartfiles:", err)
		os.Exit(1)
	}
}

func run(root string, check bool) error {
	want, err := wanted(root)
	if err != nil {
		return err
	}
	have, err := present(root)
	if err != nil {
		return err
	}
	var differ []string
	for path, content := range want {
		if found, ok := have[path]; !ok || !bytes.Equal(found, content) {
			differ = append(differ, path)
		}
	}
	for path := range have {
		if _, ok := want[path]; !ok {
			differ = append(differ, path)
		}
	}
	slices.Sort(differ)
	if check {
		if len(differ) > 0 {
			return fmt.Errorf("wanted the chart's copies to be as their originals, found that these differ: %s; run: go generate ./test/gen/chartfiles", strings.Join(differ, ", "))
		}
		return nil
	}
	for _, path := range differ {
		if err := bring(root, path, want[path]); err != nil {
			return err
		}
	}
	return nil
}

// bring makes one copy be as wanted; nil content means that it goes.
func bring(root, path string, content []byte) error {
	full := filepath.Join(root, path)
	if content == nil {
		if err := os.Remove(full); err != nil {
			return fmt.Errorf("removing a copy without an original: %w", err)
		}
		return nil
	}
	if err := os.MkdirAll(filepath.Dir(full), 0o755); err != nil {
		return fmt.Errorf("making the folder of a copy: %w", err)
	}
	if err := os.WriteFile(full, content, 0o644); err != nil {
		return fmt.Errorf("writing a copy: %w", err)
	}
	return nil
}

// wanted returns the copies that there should be, by path.
func wanted(root string) (map[string][]byte, error) {
	out := map[string][]byte{}
	for _, c := range copies {
		originals, err := filepath.Glob(filepath.Join(root, filepath.FromSlash(c.pattern)))
		if err != nil {
			return nil, fmt.Errorf("looking for %s: %w", c.pattern, err)
		}
		n := 0
		for _, original := range originals {
			name := filepath.Base(original)
			if strings.Contains(name, "_test.") {
				continue
			}
			content, err := os.ReadFile(original)
			if err != nil {
				return nil, fmt.Errorf("reading an original: %w", err)
			}
			if name == "deploypolicy.yaml" {
				name = filepath.Base(filepath.Dir(original)) + ".yaml" // all of them in one folder
			}
			out[c.to+"/"+name] = content
			n++
		}
		if n == 0 {
			return nil, fmt.Errorf("looking for %s below %s: found none", c.pattern, root)
		}
	}
	return out, nil
}

// present returns the copies that there are, by path.
func present(root string) (map[string][]byte, error) {
	out := map[string][]byte{}
	for _, folder := range folders {
		base := filepath.Join(root, filepath.FromSlash(folder))
		if _, err := os.Stat(base); os.IsNotExist(err) {
			continue
		}
		err := filepath.WalkDir(base, func(path string, d fs.DirEntry, err error) error {
			if err != nil || d.IsDir() {
				return err
			}
			content, err := os.ReadFile(path)
			if err != nil {
				return err
			}
			rel, err := filepath.Rel(root, path)
			if err != nil {
				return err
			}
			out[filepath.ToSlash(rel)] = content
			return nil
		})
		if err != nil {
			return nil, fmt.Errorf("reading the copies: %w", err)
		}
	}
	return out, nil
}
