package arch

import (
	"fmt"
	"io/fs"
	"path"
	"regexp"
	"slices"
	"strings"
)

// ReasonsFile documents the reason codes.
const ReasonsFile = "docs/reasons.md"

// code is a reason code; what follows it must not be a part of one.
var code = regexp.MustCompile(`\bTG-[A-Z0-9]+(?:-[A-Z0-9]+)*\b`)

// sources are the folders that reason codes come from.
var sources = []string{"schemas", "policies", "webhook", "rollout", "cmd", "charts"}

// speaking are the endings of files that may give a reason: Go, Rego, CUE, CEL in
// manifests, and the chart's texts.
var speaking = []string{".go", ".rego", ".cue", ".yaml", ".yml", ".tpl", ".txt"}

// Codes returns where each reason code of the product occurs; tests and their data aside.
func Codes(tree fs.FS) (map[string][]string, error) {
	codes := map[string][]string{}
	for _, dir := range sources {
		err := fs.WalkDir(tree, dir, func(name string, d fs.DirEntry, err error) error {
			switch {
			case err != nil && name == dir:
				return nil // There is no such folder yet.
			case err != nil:
				return err
			case d.IsDir() && skipped(d.Name()):
				return fs.SkipDir
			case d.IsDir() || !speaks(name):
				return nil
			}
			text, err := fs.ReadFile(tree, name)
			if err != nil {
				return fmt.Errorf("reading a source of reasons: %w", err)
			}
			for _, c := range code.FindAllString(string(text), -1) {
				if !slices.Contains(codes[c], name) {
					codes[c] = append(codes[c], name)
				}
			}
			return nil
		})
		if err != nil {
			return nil, err
		}
	}
	return codes, nil
}

func speaks(name string) bool {
	ext := path.Ext(name)
	return slices.Contains(speaking, ext) && !strings.HasSuffix(strings.TrimSuffix(name, ext), "_test")
}

// ReasonsAreDocumented reports codes without an entry, entries that lack a part or stand
// twice, and entries of codes that nothing gives.
func ReasonsAreDocumented(codes map[string][]string, doc string) []string {
	var found []string
	entries := map[string]string{}
	for _, e := range entriesOf(doc) {
		if _, twice := entries[e.code]; twice {
			found = append(found, fmt.Sprintf("%s: %s stands there twice", ReasonsFile, e.code))
		}
		entries[e.code] = e.text
	}
	for _, c := range sortedKeys(codes) {
		if _, ok := entries[c]; !ok {
			found = append(found, fmt.Sprintf("%s is not in %s (it is given in %s): add a heading %q with Meaning and What to do", c, ReasonsFile, strings.Join(codes[c], ", "), "### "+c))
		}
	}
	for _, c := range sortedKeys(entries) {
		if _, ok := codes[c]; !ok {
			found = append(found, fmt.Sprintf("%s documents %s, which nothing gives: remove it", ReasonsFile, c))
		}
		for _, part := range []string{"Meaning", "What to do"} {
			if !regexp.MustCompile(`(?m)^\*\*` + part + `\.\*\* \S`).MatchString(entries[c]) {
				found = append(found, fmt.Sprintf("%s: the entry of %s has no %q", ReasonsFile, c, "**"+part+".** ..."))
			}
		}
	}
	return found
}

type entry struct{ code, text string }

// entriesOf splits the document at the headings that are a code.
func entriesOf(doc string) []entry {
	var entries []entry
	open := false
	for line := range strings.Lines(doc) {
		if strings.HasPrefix(line, "#") {
			title := strings.TrimSpace(strings.TrimLeft(line, "#"))
			open = code.FindString(title) == title && title != ""
			if open {
				entries = append(entries, entry{code: title})
			}
			continue
		}
		if open {
			entries[len(entries)-1].text += line
		}
	}
	return entries
}
