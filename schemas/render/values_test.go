package render

import (
	"encoding/json"
	"errors"
	"flag"
	"fmt"
	"maps"
	"os"
	"path/filepath"
	"slices"
	"strings"
	"testing"
)

var update = flag.Bool("update", false, "rewrite the golden files")

var cart = Context{Name: "cart", Namespace: "shop", Template: "kinds"}

// least are the fewest values that the template kinds.cue accepts.
const least = `"image": "a/b:1", "need": {"this": 1, "kind": "x"}`

func testdata(t testing.TB, name string) string {
	t.Helper()
	data, err := os.ReadFile(filepath.Join("testdata", name))
	if err != nil {
		t.Fatal(err)
	}
	return string(data)
}

func compile(t testing.TB, source string) *Template {
	t.Helper()
	tpl, err := Compile(map[string]string{"t.cue": source})
	if err != nil {
		t.Fatalf("compiling: %v", err)
	}
	return tpl
}

// golden compares got with a file, or rewrites it.
func golden(t *testing.T, name, got string) {
	t.Helper()
	path := filepath.Join("testdata", name)
	if *update {
		if err := os.WriteFile(path, []byte(got), 0o600); err != nil {
			t.Fatal(err)
		}
		return
	}
	if want := testdata(t, name); got != want {
		t.Errorf("%s differs; look at the difference, then rewrite it with -update\ngot:\n%s\nwant:\n%s", path, got, want)
	}
}

// corpora are the files of mistakes, each with the template that they are made in and the
// least values that it accepts.
var corpora = []corpusFile{
	{"mistakes.txt", "kinds.cue", least},
	{"mistakes-orders.txt", "orders.cue", `"image": "shop/orders:1.2", "tier": "gold", "team": "orders"`},
}

// corpusOfRules has mistakes that a schema cannot know of: rules between variables, and rules
// that look at the Release.
var corpusOfRules = corpusFile{"mistakes-rules.txt", "rules.cue", `"image": "shop/cart:1"`}

type corpusFile struct{ file, template, least string }

// mistake is one entry of a corpus.
type mistake struct {
	title, written, values string
}

// corpus reads the mistakes of a file, and what stands before them.
func corpus(t testing.TB, file, least string) (head string, all []mistake) {
	t.Helper()
	sections := strings.Split(testdata(t, file), "\n== ")
	for _, section := range sections[1:] {
		lines := strings.Split(section, "\n")
		m := mistake{title: lines[0], written: lines[1], values: lines[1]}
		if rest, ok := strings.CutPrefix(m.values, "+{"); ok {
			// A later key takes the place of one of the least values.
			var base, own map[string]json.RawMessage
			if json.Unmarshal([]byte("{"+least+"}"), &base) == nil && json.Unmarshal([]byte("{"+rest), &own) == nil {
				kept := []string{}
				for _, name := range slices.Sorted(maps.Keys(base)) {
					if _, replaced := own[name]; !replaced {
						kept = append(kept, fmt.Sprintf("%q: %s", name, base[name]))
					}
				}
				least := strings.Join(kept, ", ")
				m.values = "{" + least + ", " + rest
			}
		}
		all = append(all, m)
	}
	return sections[0], all
}

func TestMistakesInValuesAreExplained(t *testing.T) {
	total := 0
	for _, c := range append(slices.Clone(corpora), corpusOfRules) {
		t.Run(c.template, func(t *testing.T) {
			tpl := compile(t, testdata(t, c.template))
			if _, err := tpl.Render([]byte("{"+c.least+"}"), cart); err != nil {
				t.Fatalf("wanted the least values to render: %v", err)
			}
			head, all := corpus(t, c.file, c.least)
			total += len(all)
			var out strings.Builder
			out.WriteString(head)
			for _, m := range all {
				_, err := tpl.Render([]byte(m.values), cart)
				var wrong *ValuesError
				if !errors.As(err, &wrong) {
					t.Errorf("%s: wanted a ValuesError, got %v", m.title, err)
					continue
				}
				fmt.Fprintf(&out, "\n== %s\n%s\n%s\n", m.title, m.written, wrong)
				for i, p := range wrong.Problems {
					if i > 0 && wrong.Problems[i-1].Path > p.Path {
						t.Errorf("%s: wanted problems sorted by path, found %s after %s", m.title, p.Path, wrong.Problems[i-1].Path)
					}
				}
			}
			golden(t, c.file, out.String())
		})
	}
	if total < 130 {
		t.Errorf("wanted a corpus of at least 130 mistakes, found %d", total)
	}
}

func TestRightValuesAreAccepted(t *testing.T) {
	tpl := compile(t, testdata(t, "kinds.cue"))
	for name, values := range map[string]string{
		"the least":                      `{` + least + `}`,
		"the bounds themselves":          `{` + least + `, "port": 65535, "scale": 1.5, "size": 255, "name": "abc"}`,
		"null where it is allowed":       `{` + least + `, "note": null}`,
		"each of two types":              `{` + least + `, "either": "a"}`,
		"one arm of a choice":            `{` + least + `, "store": {"type": "bucket", "bucket": "b"}}`,
		"a conditional field":            `{` + least + `, "auth": "basic", "user": "u"}`,
		"a list with a least length":     `{` + least + `, "hosts": [{"name": "a", "kind": "b"}]}`,
		"keys that look like CUE":        `{` + least + `, "shards": {"#x": {"weight": 1}, "_y": {"weight": 2}, "if": {"weight": 3}}}`,
		"strings that look like CUE":     `{` + least + `, "tags": ["\\(context.name)", "\"", "\u2028"]}`,
		"a negative number":              `{` + least + `, "odd": -7}`,
		"bounds that depend on a value":  `{` + least + `, "low": 5, "high": 5}`,
		"as many entries as are allowed": `{` + least + `, "env": {` + entries(500) + `}}`,
	} {
		t.Run(name, func(t *testing.T) {
			if _, err := tpl.Render([]byte(values), cart); err != nil {
				t.Errorf("wanted %s to render: %v", values, err)
			}
		})
	}
}

// entries returns n entries of an object with names of capital letters.
func entries(n int) string {
	list := make([]string, n)
	for i := range list {
		list[i] = fmt.Sprintf(`"%c%c": "v"`, 'A'+i/26, 'A'+i%26)
	}
	return strings.Join(list, ",")
}

func TestValuesAreBounded(t *testing.T) {
	tpl := compile(t, testdata(t, "kinds.cue"))
	for name, c := range map[string]struct{ values, want string }{
		"bytes":                  {`{` + least + `, "tags": ["` + strings.Repeat("x", 64<<10) + `"]}`, "values: wanted at most 65536 bytes, found 65"},
		"entries":                {`{` + least + `, "env": {` + entries(501) + `}}`, "values.env: wanted at most 500 entries, found 501"},
		"items":                  {`{` + least + `, "tags": [` + strings.Repeat("1,", 500) + `1]}`, "values.tags: wanted at most 500 items, found 501"},
		"bytes that are no text": {`{"image": "` + "\xff" + `"}`, "values: wanted UTF-8 text"},
	} {
		t.Run(name, func(t *testing.T) {
			_, err := tpl.Render([]byte(c.values), cart)
			if err == nil || !strings.HasPrefix(err.Error(), c.want) {
				t.Errorf("wanted an error that begins with %q, got %v", c.want, err)
			}
		})
	}
}

func TestThousandsOfMistakesAreAnsweredInOneError(t *testing.T) {
	tpl := compile(t, testdata(t, "kinds.cue"))
	values := `{` + least + `, "env": {` + strings.ReplaceAll(entries(500), `"v"`, `1`) + `}, "hosts": [` +
		strings.TrimSuffix(strings.Repeat(`{"nam": 1, "port": 0, "kind": "c"},`, 500), ",") + `]}`
	_, err := tpl.Render([]byte(values), cart)
	var wrong *ValuesError
	if !errors.As(err, &wrong) || len(wrong.Problems) != maxProblems+1 {
		t.Fatalf("wanted %d problems, got %.200v", maxProblems+1, err)
	}
	if last := wrong.Problems[maxProblems]; !strings.Contains(last.Message, "found 2400 more") {
		t.Errorf("wanted the last problem to count the rest, found %v", last)
	}
}
