// Package arch holds the rules of the house that the compiler does not know: which way
// imports go, what pure code may touch, that every package says what it is, and that
// every reason code is documented. Its tests apply the rules to the repository, and to
// small fixtures that break them.
package arch

import (
	"bytes"
	"context"
	"encoding/json"
	"errors"
	"fmt"
	"io"
	"os/exec"
	"slices"
	"strings"
)

// Module is the path of the product's module.
const Module = "tidegate.io/tidegate"

// Package is what the rules know of one package.
type Package struct {
	ImportPath string
	// Imports are those of the package's own files.
	Imports []string
	// TestImports and XTestImports are those of its tests.
	TestImports  []string
	XTestImports []string
}

// Graph maps import paths to packages: those of the module and all that they rest on.
type Graph map[string]Package

// Load reads the graph of the module in dir with the go command.
func Load(ctx context.Context, dir string) (Graph, error) {
	cmd := exec.CommandContext(ctx, "go", "list", "-e", "-deps", "-json=ImportPath,Imports,TestImports,XTestImports", "./...")
	cmd.Dir = dir
	var stderr bytes.Buffer
	cmd.Stderr = &stderr
	out, err := cmd.Output()
	if err != nil {
		return nil, fmt.Errorf("listing packages: %w: %s", err, stderr.String())
	}
	graph := Graph{}
	for dec := json.NewDecoder(bytes.NewReader(out)); ; {
		var p Package
		err := dec.Decode(&p)
		if errors.Is(err, io.EOF) {
			return graph, nil
		}
		if err != nil {
			return nil, fmt.Errorf("reading the list of packages: %w", err)
		}
		graph[p.ImportPath] = p
	}
}

// ours returns the packages of the module, sorted, as paths within it.
func (g Graph) ours() []string {
	var paths []string
	for p := range g {
		if within, ok := inside(p); ok {
			paths = append(paths, within)
		}
	}
	slices.Sort(paths)
	return paths
}

// get returns a package of the module by its path within it.
func (g Graph) get(within string) Package { return g[Module+"/"+within] }

// reach returns how a package comes to rest on one whose path has a forbidden prefix:
// the import paths from the first import on; nil where it does not.
func (g Graph) reach(from string, forbidden []string) []string {
	type visit struct {
		path string
		via  []string
	}
	queue := []visit{{path: from}}
	seen := map[string]bool{from: true}
	for len(queue) > 0 {
		v := queue[0]
		queue = queue[1:]
		for _, next := range g[v.path].Imports {
			if seen[next] {
				continue
			}
			seen[next] = true
			via := append(slices.Clone(v.via), next)
			if matchesAny(next, forbidden) {
				return via
			}
			queue = append(queue, visit{next, via})
		}
	}
	return nil
}

// inside cuts the module's path off an import path; ok is false for other modules.
func inside(importPath string) (within string, ok bool) {
	return strings.CutPrefix(importPath, Module+"/")
}

// matches says whether path is prefix or lies below it.
func matches(path, prefix string) bool {
	return path == prefix || strings.HasPrefix(path, prefix+"/")
}

func matchesAny(path string, prefixes []string) bool {
	return slices.ContainsFunc(prefixes, func(p string) bool { return matches(path, p) })
}
