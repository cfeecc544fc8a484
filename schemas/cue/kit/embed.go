// Package kit holds the CUE package tidegate.io/kit, which templates import: names and
// labels of revisions, objects with safe defaults, strategies, metrics and the types of
// variables. It is part of the engine that renders, never fetched: a version of Tidegate
// has one kit.
package kit

import (
	"crypto/sha256"
	"embed"
	"encoding/hex"
	"io"
	"maps"
	"slices"
	"sync"
)

const (
	// ImportPath is what a template imports.
	ImportPath = "tidegate.io/kit"
	// Main is the file that describes the package.
	Main = "kit.cue"
)

//go:embed *.cue
var fsys embed.FS

var load = sync.OnceValue(func() map[string]string {
	entries, err := fsys.ReadDir(".")
	if err != nil {
		panic("kit: reading the embedded files: " + err.Error())
	}
	files := make(map[string]string, len(entries))
	for _, e := range entries {
		data, err := fsys.ReadFile(e.Name())
		if err != nil {
			panic("kit: reading the embedded files: " + err.Error())
		}
		files[e.Name()] = string(data)
	}
	return files
})

// Files returns the source of the package: file name to CUE. An author's editor finds it
// where they are put into cue.mod/pkg/tidegate.io/kit.
func Files() map[string]string { return maps.Clone(load()) }

var digest = sync.OnceValue(func() string {
	sum := sha256.New()
	files := load()
	for _, name := range slices.Sorted(maps.Keys(files)) {
		// A name has no zero byte and neither has CUE source, so no two sets of files
		// write the same.
		_, _ = io.WriteString(sum, name+"\x00"+files[name]+"\x00")
	}
	return hex.EncodeToString(sum.Sum(nil))
})

// Digest returns the hex SHA-256 of the names and the source of the files.
func Digest() string { return digest() }
