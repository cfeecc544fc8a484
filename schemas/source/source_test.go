package source

import (
	"fmt"
	"maps"
	"os"
	"path/filepath"
	"slices"
	"strings"
	"testing"
	"testing/fstest"

	"k8s.io/apimachinery/pkg/apis/meta/v1/unstructured"
	"sigs.k8s.io/yaml"

	"tidegate.io/tidegate/schemas/render"
	"tidegate.io/tidegate/schemas/v1alpha1"
)

// tree writes files by their paths into a new directory.
func tree(t *testing.T, files map[string]string) string {
	t.Helper()
	dir := filepath.Join(t.TempDir(), "web")
	for name, text := range files {
		at := filepath.Join(dir, filepath.FromSlash(name))
		if err := os.MkdirAll(filepath.Dir(at), 0o750); err != nil {
			t.Fatal(err)
		}
		if err := os.WriteFile(at, []byte(text), 0o600); err != nil {
			t.Fatal(err)
		}
	}
	return dir
}

const crd = `apiVersion: apiextensions.k8s.io/v1
kind: CustomResourceDefinition
metadata: {name: caches.example.com}
spec:
  group: example.com
  names: {kind: Cache, plural: caches}
  scope: Namespaced
  versions:
  - name: v1
    served: true
    storage: true
    schema:
      openAPIV3Schema:
        type: object
        required: [spec]
        properties:
          spec:
            type: object
            required: [size]
            properties:
              size: {type: integer, minimum: 1}
              mode: {type: string, enum: [fast, safe]}
  - name: v1alpha1
    served: false
    storage: false
    schema: {openAPIV3Schema: {type: object}}
`

func TestReadTakesTheTemplateAndWhatLiesBesideIt(t *testing.T) {
	dir := tree(t, map[string]string{
		"web.cue": "package web\n", "tests.cue": "package web\n",
		"nested/other.cue": "package other\n", "cue.mod/module.cue": "module: \"example.com/web\"\n", ".hidden.cue": "package hidden\n", "README.md": "",
		"examples/cart.yaml": "# only what it must\nimage: a:1\n", "examples/none.json": "", "examples/notes.txt": "x",
		"testdata/golden/one.yaml": "a: 1\n",
		"crds/cache.yaml":          "kind: Other\n---\n" + crd,
	})
	s, err := Read(dir)
	if err != nil {
		t.Fatal(err)
	}
	if got := slices.Sorted(maps.Keys(s.Files)); !slices.Equal(got, []string{"tests.cue", "web.cue"}) {
		t.Errorf("wanted only the CUE files beside each other, found %v", got)
	}
	if s.Digest() != render.Digest(map[string]string{"web.cue": "package web\n", "tests.cue": "package web\n"}) {
		t.Error("wanted the digest of the bundle")
	}
	if s.Name != "web" || string(s.Golden["one.yaml"]) != "a: 1\n" || len(s.CRDs) != 1 {
		t.Errorf("wanted name, golden file and CRD, found %+v", s)
	}
	if string(s.Examples["examples/cart.yaml"]) != `{"image":"a:1"}` || string(s.Examples["examples/none.json"]) != "{}" || len(s.Examples) != 2 {
		t.Errorf("wanted the examples as JSON, found %q", s.Examples)
	}
}

func TestReadRefuses(t *testing.T) {
	outside := tree(t, map[string]string{"secret.cue": "package web\n", "secret.yaml": "a: 1\n"})
	good := map[string]string{"web.cue": "package web\n"}
	with := func(name, text string) map[string]string {
		files := maps.Clone(good)
		files[name] = text
		return files
	}
	for name, c := range map[string]struct {
		files map[string]string
		// link is a link to make, and what to.
		link, to string
		want     string
	}{
		"an empty directory":                                 {map[string]string{"README.md": ""}, "", "", "wanted CUE files (*.cue) in "},
		"a link out of the directory":                        {good, "x.cue", filepath.Join(outside, "secret.cue"), "found a link that leads out of it"},
		"a folder that is such a link":                       {good, "examples", outside, "found a link that leads out of it"},
		"an example that is such a link":                     {with("examples/a.yaml", ""), "examples/b.yaml", filepath.Join(outside, "secret.yaml"), "found a link that leads out of it"},
		"a link to nothing":                                  {good, "x.cue", "nowhere.cue", "x.cue: no such file"},
		"a directory called like a file":                     {with("dir.cue/x", ""), "y.cue", "dir.cue", "y.cue: wanted a file, found a d"},
		"an example that is a list":                          {with("examples/a.yaml", "[1]"), "", "", "examples/a.yaml: wanted a mapping of names to values, found [1]"},
		"an example that does not parse":                     {with("examples/a.yaml", "a: [1"), "", "", "examples/a.yaml:1: wanted values as YAML or JSON, found: did not find expected"},
		"an example that does not parse in its third line":   {with("examples/a.yaml", "a: 1\nb: 2\nc: d: 3\n"), "", "", "examples/a.yaml:3: wanted values as YAML or JSON, found: mapping values are not allowed"},
		"an example with a key twice":                        {with("examples/a.yaml", "a: 1\na: 2\n"), "", "", `examples/a.yaml:2: wanted values as YAML or JSON, found: key "a" already set`},
		"a huge file":                                        {with("examples/a.yaml", strings.Repeat("#", MaxFileBytes+1)), "", "", "wanted at most 4194304 bytes"},
		"a CRD of an old version":                            {with("crds/a.yaml", strings.Replace(crd, "k8s.io/v1", "k8s.io/v1beta1", 1)), "", "", "wanted a CustomResourceDefinition of apiextensions.k8s.io/v1, found one of apiextensions.k8s.io/v1beta1"},
		"a CRD that does not parse":                          {with("crds/a.yaml", "kind: [\n"), "", "", "crds/a.yaml:1: wanted a CustomResourceDefinition as YAML or JSON, found: "},
		"a CRD that does not parse, behind another":          {with("crds/a.yaml", crd+"\n---\n# One more.\nkind: A\nb: c: d\n"), "", "", fmt.Sprintf("crds/a.yaml:%d: wanted a CustomResourceDefinition as YAML or JSON, found: mapping values", strings.Count(crd, "\n")+5)},
		"the same with line ends of another system":          {with("crds/a.yaml", strings.ReplaceAll(crd+"\n---\n# One more.\nkind: A\nb: c: d\n", "\n", "\r\n")), "", "", fmt.Sprintf("crds/a.yaml:%d: wanted", strings.Count(crd, "\n")+5)},
		"a CRD with a field of another type, behind another": {with("crds/a.yaml", crd+"\n---\n"+strings.Replace(crd, "spec:", "spec: [1]\nother:", 1)), "", "", fmt.Sprintf("crds/a.yaml:%d: wanted a CustomResourceDefinition as YAML or JSON, found: json: cannot unmarshal", strings.Count(crd, "\n")+3)},
	} {
		t.Run(name, func(t *testing.T) {
			dir := tree(t, c.files)
			if c.link != "" {
				if err := os.Symlink(c.to, filepath.Join(dir, c.link)); err != nil {
					t.Fatal(err)
				}
			}
			if _, err := Read(dir); err == nil || !strings.Contains(err.Error(), c.want) {
				t.Errorf("wanted %q, found %v", c.want, err)
			}
		})
	}
	file := filepath.Join(tree(t, good), "web.cue")
	if _, err := Read(file); err == nil || !strings.Contains(err.Error(), "wanted a directory of CUE files, found the file") {
		t.Errorf("a file: found %v", err)
	}
	if _, err := Read(filepath.Join(file, "x")); err == nil {
		t.Error("wanted an error for a path that leads nowhere")
	}
	many := fstest.MapFS{"web.cue": {Data: []byte("package web\n")}}
	for i := range MaxFiles + 1 {
		many["examples/"+strings.Repeat("a", i+1)+".yaml"] = &fstest.MapFile{}
	}
	if _, err := ReadFS(many, "web", "."); err == nil || !strings.Contains(err.Error(), "wanted at most 500 files") {
		t.Errorf("too many files: found %v", err)
	}
}

func TestALinkWithinTheDirectoryIsFollowed(t *testing.T) {
	dir := tree(t, map[string]string{"web.cue": "package web\n", "shared/more.txt": "package web\n"})
	if err := os.Symlink("shared/more.txt", filepath.Join(dir, "more.cue")); err != nil {
		t.Fatal(err)
	}
	s, err := Read(dir)
	if err != nil || s.Files["more.cue"] != "package web\n" {
		t.Errorf("wanted the linked file, found %v, %v", s, err)
	}
}

func TestNamesOfDirectoriesBecomeNamesOfTemplates(t *testing.T) {
	for base, want := range map[string]string{
		"web": "web", "Web_Service": "web-service", "3-tier": "tier", "--": "template", ".": "template", strings.Repeat("a", 50): strings.Repeat("a", 40),
	} {
		if got := Name(base); got != want {
			t.Errorf("%q: wanted %q, found %q", base, want, got)
		}
	}
}

func TestTheStarterIsAGoodTemplate(t *testing.T) {
	files, err := Start("shop-web")
	if err != nil {
		t.Fatal(err)
	}
	dir := filepath.Join(t.TempDir(), "shop-web")
	if err := WriteNew(dir, files); err != nil {
		t.Fatal(err)
	}
	s, err := Read(dir)
	if err != nil {
		t.Fatal(err)
	}
	for _, f := range render.Vet(s.Files, render.VetOptions{Examples: s.Examples}) {
		t.Error(f)
	}
	c, err := render.Cover(s.Files, s.Examples)
	if err != nil {
		t.Fatal(err)
	}
	if missing := c.Missing(); len(missing) > 0 {
		t.Errorf("wanted tests of everything, found\n%s", strings.Join(missing, "\n"))
	}
	for _, name := range []string{"cue.mod/module.cue", "cue.mod/pkg/tidegate.io/kit/kit.cue"} {
		if files[name] == nil {
			t.Errorf("wanted %s for editors, found none", name)
		}
	}
	for name, text := range files {
		if strings.Contains(string(text), placeholder) {
			t.Errorf("%s: wanted the name in it, found %s", name, placeholder)
		}
	}
}

func TestStartRefusesNamesThatATemplateCannotHave(t *testing.T) {
	for _, name := range []string{"", "Web", "3web", "web-", "a/b", "..", strings.Repeat("a", 41)} {
		if _, err := Start(name); err == nil {
			t.Errorf("wanted %q to be refused", name)
		}
	}
}

func TestWriteNewMixesNoTwoTemplates(t *testing.T) {
	dir := tree(t, map[string]string{"other.cue": "package other\n", "README.md": "read\n"})
	err := WriteNew(dir, map[string][]byte{"web.cue": []byte("package web\n")})
	if err == nil || !strings.Contains(err.Error(), "wanted a directory without a template, found ") {
		t.Errorf("wanted the other template to be told of, found %v", err)
	}
	if _, err := os.Stat(filepath.Join(dir, "web.cue")); err == nil {
		t.Error("wanted nothing written, found the file")
	}
}

func TestWriteNewOverwritesNothing(t *testing.T) {
	dir := tree(t, map[string]string{"b.cue": "mine"})
	err := WriteNew(dir, map[string][]byte{"a.cue": []byte("x"), "b.cue": []byte("y")})
	if err == nil || !strings.Contains(err.Error(), "b.cue, found that it is there already") {
		t.Errorf("found %v", err)
	}
	if _, err := os.Stat(filepath.Join(dir, "a.cue")); err == nil {
		t.Error("wanted nothing to be written")
	}
	if text, err := os.ReadFile(filepath.Join(dir, "b.cue")); err != nil || string(text) != "mine" {
		t.Errorf("wanted the file as it was, found %q, %v", text, err)
	}
}

func TestWriteStaysInTheDirectory(t *testing.T) {
	outside := t.TempDir()
	dir := tree(t, map[string]string{"web.cue": "package web\n"})
	if err := os.Symlink(outside, filepath.Join(dir, "testdata")); err != nil {
		t.Fatal(err)
	}
	if err := Write(dir, map[string][]byte{GoldenDir + "/a.yaml": []byte("x")}, nil); err == nil {
		t.Error("wanted an error for a link that leads out")
	}
	if entries, err := os.ReadDir(outside); err != nil || len(entries) > 0 {
		t.Errorf("wanted nothing outside, found %v, %v", entries, err)
	}
}

func TestABundleIsReadBackAsItWas(t *testing.T) {
	files := map[string]string{
		"plain.cue":  "package web\n\n#V: {\n\ta: 1\n}\n",
		"bare.cue":   "package web",
		"spaces.cue": "  package web  \n\n  x: 1 \n\n\n",
		"odd.cue":    "package web\r\n// \x01 a bell, é, \u2028\n",
		"empty.cue":  "",
		"crlf.cue":   "package web\r\n\r\nx: 1\r\n",
		"true":       "a: |\n  - b\n---\n# c\n",
	}
	data, err := Bundle("shop-web", files)
	if err != nil {
		t.Fatal(err)
	}
	var got v1alpha1.ReleaseTemplate
	if err := yaml.UnmarshalStrict(data, &got); err != nil {
		t.Fatalf("%v in\n%s", err, data)
	}
	if got.Name != "shop-web" || got.Kind != "ReleaseTemplate" || !maps.Equal(got.Spec.Files, files) {
		t.Errorf("wanted %q, found %q", files, got.Spec.Files)
	}
	again, err := Bundle("shop-web", maps.Clone(files))
	if err != nil || string(again) != string(data) {
		t.Errorf("wanted the same bytes, found\n%s\n%v", again, err)
	}
	if !strings.Contains(string(data), "plain.cue: |2\n      package web\n\n      #V: {\n      \ta: 1\n") {
		t.Errorf("wanted source that people can read, found\n%s", data)
	}
	if _, err := Bundle("Shop", files); err == nil {
		t.Error("wanted a name that Kubernetes does not take to be refused")
	}
}

func TestCRDsJudgeObjects(t *testing.T) {
	dir := tree(t, map[string]string{"a.yaml": crd, "b.txt": "no"})
	for _, path := range []string{dir, filepath.Join(dir, "a.yaml")} {
		crds, err := CRDs(path)
		if err != nil {
			t.Fatal(err)
		}
		schemas, err := NewSchemas(crds)
		if err != nil {
			t.Fatal(err)
		}
		for name, c := range map[string]struct {
			object string
			want   []string
		}{
			"a good one":              {`{apiVersion: example.com/v1, kind: Cache, metadata: {name: a}, spec: {size: 1, mode: fast}}`, nil},
			"of another kind":         {`{apiVersion: v1, kind: Service, spec: {size: x}}`, nil},
			"of another group":        {`{apiVersion: example.org/v1, kind: Cache, spec: {size: x}}`, nil},
			"out of range":            {`{apiVersion: example.com/v1, kind: Cache, spec: {size: 0}}`, []string{"spec.size in body should be greater than or equal to 1"}},
			"without what it needs":   {`{apiVersion: example.com/v1, kind: Cache, spec: {mode: fast}}`, []string{"spec.size: Required value"}},
			"with a typo":             {`{apiVersion: example.com/v1, kind: Cache, spec: {size: 1, mod: fast}}`, []string{"found spec.mod, which the API server would drop"}},
			"with two mistakes":       {`{apiVersion: example.com/v1, kind: Cache, spec: {size: "1", mode: slow}}`, []string{`spec.mode: Unsupported value: "slow"`, "spec.size in body must be of type integer"}},
			"of a version not served": {`{apiVersion: example.com/v1alpha1, kind: Cache, spec: {size: 1}}`, []string{"wanted Cache in version v1, as the CRD serves it, found v1alpha1"}},
		} {
			t.Run(name, func(t *testing.T) {
				o := &unstructured.Unstructured{}
				if err := yaml.Unmarshal([]byte(c.object), &o.Object); err != nil {
					t.Fatal(err)
				}
				got := schemas.Check(o)
				slices.Sort(got)
				if len(got) != len(c.want) {
					t.Fatalf("wanted %d lines, found %q", len(c.want), got)
				}
				for _, want := range c.want {
					if !slices.ContainsFunc(got, func(l string) bool { return strings.Contains(l, want) }) {
						t.Errorf("wanted a line with %q, found %q", want, got)
					}
				}
			})
		}
	}
	for _, path := range []string{filepath.Join(dir, "b.txt"), filepath.Join(dir, "none.yaml"), t.TempDir()} {
		if _, err := CRDs(path); err == nil {
			t.Errorf("%s: wanted an error, since there is no CRD", path)
		}
	}
	broken, err := CRDs(filepath.Join(tree(t, map[string]string{"a.yaml": strings.ReplaceAll(crd, "openAPIV3Schema", "other")}), "a.yaml"))
	if err != nil {
		t.Fatal(err)
	}
	if _, err := NewSchemas(broken); err == nil || !strings.Contains(err.Error(), "wanted an openAPIV3Schema, found none") {
		t.Errorf("a CRD without a schema: found %v", err)
	}
}
