package arch

import (
	"io/fs"
	"os"
	"path/filepath"
	"regexp"
	"strings"
	"testing"
)

var (
	// leftOut is a test that short runs leave out altogether.
	leftOut = regexp.MustCompile(`testing\.Short\(\)[^{\n]*\{\n\s*t\.Skip\(`)
	// whole are the variables of the Makefile with packages that are tested whole.
	whole = regexp.MustCompile(`(?m)^(?:LONG_PACKAGES|CLUSTER_PACKAGES|CLUSTER_TESTS) := (.*)$`)
)

// A test that no target of make runs proves nothing.
func TestWhatShortRunsSkipIsRunElsewhere(t *testing.T) {
	makefile, err := os.ReadFile(filepath.Join(root, "Makefile"))
	if err != nil {
		t.Fatal(err)
	}
	var patterns []string
	for _, m := range whole.FindAllStringSubmatch(string(makefile), -1) {
		patterns = append(patterns, strings.Fields(m[1])...)
	}
	found := 0
	err = filepath.WalkDir(root, func(path string, d fs.DirEntry, err error) error {
		if err != nil || d.IsDir() || !strings.HasSuffix(path, "_test.go") {
			return err
		}
		text, err := os.ReadFile(path)
		if err != nil || !leftOut.Match(text) {
			return err
		}
		found++
		dir, err := filepath.Rel(root, filepath.Dir(path))
		if err != nil {
			return err
		}
		for _, p := range patterns {
			prefix, below := strings.CutSuffix(strings.TrimPrefix(p, "./"), "/...")
			if dir == prefix || below && strings.HasPrefix(dir, prefix+"/") {
				return nil
			}
		}
		t.Errorf("%s skips a test in short runs, and its package is in none of LONG_PACKAGES, CLUSTER_PACKAGES and CLUSTER_TESTS of the Makefile", path)
		return nil
	})
	if err != nil {
		t.Fatal(err)
	}
	if found == 0 || len(patterns) == 0 {
		t.Errorf("found %d files with such tests and %d patterns: this test looks for the wrong thing", found, len(patterns))
	}
}
