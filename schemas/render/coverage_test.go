package render

import (
	"slices"
	"strings"
	"testing"
)

// covered is the base with another deployment and other tests.
func covered(t *testing.T, variables, decls, tests string) map[string]string {
	t.Helper()
	files := base(t)
	files["variables.cue"] = strings.Replace(files["variables.cue"], "\t// Environment variables.\n", variables+"\n\t// Environment variables.\n", 1)
	files["more.cue"] = "package base\n\n" + decls
	files["tests.cue"] = "package base\n\n" + tests
	return files
}

const image = `image: "shop/cart:1.0"`

func TestCoverageSaysWhatTestsNeverReach(t *testing.T) {
	const mode = "\t// A mode.\n\tmode: *\"plain\" | \"spot\"\n\n\t// Hosts.\n\thosts: [...string]\n\n\t// A cache.\n\tcache?: {\n\t\t// Its size.\n\t\tsize!: int\n\t}\n"
	all := []string{"values.port", "values.replicas", "values.env"}
	never := func(paths ...string) (out []string) {
		for _, p := range paths {
			out = append(out, p+" is never set to anything but its default")
		}
		return out
	}
	for name, c := range map[string]struct {
		variables, decls, tests string
		want                    []string
	}{
		"no test at all": {"", "", "", append(never("values.image", "values.port", "values.replicas", "values.env"), "for k, v in values.env is never reached")},
		"one test":       {"", "", `tests: a: values: ` + image, append(never(all...), "for k, v in values.env never holds")},
		"a default that is repeated": {
			"", "", `tests: a: values: {` + image + `, port: 8080, replicas: 2}`,
			append(never(all...), "for k, v in values.env never holds"),
		},
		"a test that fails counts for nothing": {
			"", "", `tests: a: values: {` + image + `, port: 1, env: "a": "x"}`,
			append(never("values.image", "values.port", "values.replicas", "values.env"), "for k, v in values.env is never reached"),
		},
		"a condition that always holds": {
			mode, `objects: deployment: spec: {if values.mode == "plain" {minReadySeconds: 1}}`,
			`tests: a: values: {` + image + `, port: 1, replicas: 1, env: A: "b", hosts: ["a"], cache: size: 1}`,
			[]string{"values.mode is never set to anything but its default", `if values.mode == "plain" always holds`, "for k, v in values.env always holds"},
		},
		"a condition seen both ways": {
			mode, `objects: deployment: spec: {if values.mode == "plain" {minReadySeconds: 1}}`,
			`tests: {a: values: {` + image + `, port: 1, replicas: 1, env: A: "b", hosts: ["a"], cache: size: 1, mode: "spot"}, b: values: ` + image + `}`, nil,
		},
		"a condition on something optional, in a list": {
			mode, `objects: deployment: metadata: annotations: {for h in values.hosts if values.cache != _|_ {"host-\(h)": "x"}}`,
			`tests: {a: values: {` + image + `, port: 1, replicas: 1, env: A: "b", hosts: ["a", "b"], mode: "spot"}, b: values: ` + image + `}`,
			[]string{"values.cache.size is never set to anything but its default", "if values.cache != _|_ never holds"},
		},
		"a condition within a loop that holds for one of two": {
			mode, `objects: deployment: metadata: annotations: {for h in values.hosts let n = len(h) if n > 1 {"host-\(h)": "x"}}`,
			`tests: {a: values: {` + image + `, port: 1, replicas: 1, env: A: "b", hosts: ["a", "bb"], mode: "spot", cache: size: 1}, b: values: ` + image + `}`, nil,
		},
		"a condition in a nested list, and one in a definition that is used twice": {
			mode, `
#Note: {in: string, out: {if in != "x" {note: in}}}
_n: [for h in values.hosts {#Note & {in: h}}]
objects: deployment: metadata: annotations: {for i, n in _n {for k, v in n.out {"n-\(i)": v}}}`,
			`tests: {a: values: {` + image + `, port: 1, replicas: 1, env: A: "b", hosts: ["y", "x"], mode: "spot", cache: size: 1}, b: values: ` + image + `}`, nil,
		},
	} {
		t.Run(name, func(t *testing.T) {
			coverage, err := Cover(covered(t, c.variables, c.decls, c.tests), nil)
			if err != nil {
				t.Fatal(err)
			}
			missing := coverage.Missing()
			for i, line := range missing {
				position, message := cutPosition(line)
				if position == "" {
					t.Errorf("wanted a position in %q", line)
				}
				missing[i] = message
			}
			slices.Sort(missing)
			slices.Sort(c.want)
			if !slices.Equal(missing, c.want) {
				t.Errorf("wanted\n%s\nfound\n%s", strings.Join(c.want, "\n"), strings.Join(missing, "\n"))
			}
		})
	}
}

func TestCoverageCountsExamplesAndPercent(t *testing.T) {
	files := base(t)
	delete(files, "tests.cue")
	c, err := Cover(files, map[string][]byte{"examples/a.yaml": []byte(`{"image": "a:1", "port": 1}`), "examples/bad.yaml": []byte(`{"port": "x"}`)})
	if err != nil {
		t.Fatal(err)
	}
	if variables, branches := c.Percent(); variables != 50 || branches != 50 {
		t.Errorf("wanted 2 of 4 variables and 1 of 2 outcomes, found %d %% and %d %%: %+v", variables, branches, c)
	}
	if variables, branches := (&Coverage{}).Percent(); variables != 100 || branches != 100 {
		t.Errorf("wanted nothing to be covered whole, found %d and %d", variables, branches)
	}
}

// What is counted must not change what is rendered.
func TestCountersChangeNothing(t *testing.T) {
	for name, files := range map[string]map[string]string{"base": base(t), "kinds": {"kinds.cue": testdata(t, "kinds.cue")}} {
		t.Run(name, func(t *testing.T) {
			counted, clauses, err := instrument(files)
			if err != nil {
				t.Fatal(err)
			}
			if len(clauses) == 0 {
				t.Fatal("wanted clauses to count")
			}
			values := []byte(`{"image": "shop/cart:1.0", "env": {"A": "b"}}`)
			if name == "kinds" {
				values = []byte(`{` + least + `, "env": {"A": "b"}}`)
			}
			plain, err := compiledFrom(t, files).Render(values, sample)
			if err != nil {
				t.Fatal(err)
			}
			with, err := compiledFrom(t, counted).Render(values, sample)
			if err != nil {
				t.Fatal(err)
			}
			if plain.Digest != with.Digest {
				t.Errorf("wanted the same objects, found digests %s and %s", plain.Digest, with.Digest)
			}
		})
	}
}

func compiledFrom(t *testing.T, files map[string]string) *Template {
	t.Helper()
	tpl, err := Compile(files)
	if err != nil {
		t.Fatal(err)
	}
	return tpl
}
