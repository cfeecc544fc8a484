package command

import (
	"encoding/json"
	"fmt"
	"os"
	"path/filepath"
	"strings"
	"testing"

	metav1 "k8s.io/apimachinery/pkg/apis/meta/v1"
	"sigs.k8s.io/controller-runtime/pkg/client/interceptor"
	"sigs.k8s.io/yaml"

	"tidegate.io/tidegate/schemas/v1alpha1"
)

const releaseText = `apiVersion: tidegate.io/v1alpha1
kind: Release
metadata: {name: cart, namespace: shop}
spec:
  template: {name: web}
  values: {image: "shop/cart:1.2", replicas: 3}
`

// file writes a file and returns its path.
func file(t *testing.T, name, text string) string {
	t.Helper()
	path := filepath.Join(t.TempDir(), name)
	if err := os.WriteFile(path, []byte(text), 0o600); err != nil {
		t.Fatal(err)
	}
	return path
}

func templateFiles(t *testing.T) map[string]string {
	t.Helper()
	data, err := os.ReadFile("testdata/web/web.cue")
	if err != nil {
		t.Fatal(err)
	}
	return map[string]string{"web.cue": string(data)}
}

func templateManifest(t *testing.T, name string) string {
	t.Helper()
	data, err := yaml.Marshal(v1alpha1.ReleaseTemplate{
		TypeMeta:   metav1.TypeMeta{APIVersion: "tidegate.io/v1alpha1", Kind: "ReleaseTemplate"},
		ObjectMeta: metav1.ObjectMeta{Name: name},
		Spec:       v1alpha1.ReleaseTemplateSpec{Files: templateFiles(t)},
	})
	if err != nil {
		t.Fatal(err)
	}
	return string(data)
}

func revisionManifest(t *testing.T) string {
	t.Helper()
	data, err := yaml.Marshal(v1alpha1.TemplateRevision{
		TypeMeta:   metav1.TypeMeta{APIVersion: "tidegate.io/v1alpha1", Kind: "TemplateRevision"},
		ObjectMeta: metav1.ObjectMeta{Name: "web-1"},
		Spec:       v1alpha1.TemplateRevisionSpec{Template: "web", Number: 1, Files: templateFiles(t)},
	})
	if err != nil {
		t.Fatal(err)
	}
	return string(data)
}

func TestRenderGivesTheSameObjectsWhateverTheSource(t *testing.T) {
	values := file(t, "values.yaml", "image: shop/cart:1.2\nreplicas: 3\n")
	release := file(t, "release.yaml", releaseText)
	template := file(t, "template.yaml", templateManifest(t, "web"))
	revision := file(t, "revision.yaml", revisionManifest(t))
	var first string
	for _, c := range []struct {
		name, in string
		args     []string
	}{
		{"a directory", "", []string{"-f", "testdata/web", "--values", values, "--name", "cart", "-n", "shop"}},
		{"a template's manifest", "", []string{"-f", template, "--values", values, "--name", "cart", "-n", "shop"}},
		{"a revision's manifest", "", []string{"-f", revision, "--values", values, "--name", "cart", "-n", "shop"}},
		{"a revision from standard input", revisionManifest(t), []string{"-f", "-", "--values", values, "--name", "cart", "-n", "shop"}},
		{"values from standard input, as JSON", `{"replicas": 3, "image": "shop/cart:1.2"}`, []string{"-f", "testdata/web", "--values", "-", "--name", "cart", "-n", "shop"}},
		{"a release and a directory", "", []string{"-f", release, "--template", "testdata/web"}},
		{"a release and a manifest", "", []string{"-f", release, "--template", template, "-n", "shop"}},
		{"a release from standard input", "# a comment\n---\n" + releaseText, []string{"-f", "-", "--template", "testdata/web"}},
	} {
		t.Run(c.name, func(t *testing.T) {
			w := newWorld(t, interceptor.Funcs{})
			w.in = c.in
			w.wantCode(w.run(t.Context(), append([]string{"render"}, c.args...)...), ExitOK)
			if first == "" {
				first = w.out.String()
				wantPart(t, "out", first, "kind: Deployment\n", "kind: Service\n", "kind: HTTPRoute\n", "name: cart\n", "namespace: shop\n", "image: shop/cart:1.2\n", "containerPort: 8080\n", "replicas: 3\n")
			}
			wantText(t, "out", w.out.String(), first)
			wantPart(t, "err", w.err.String(), "revision ", ": 3 objects, 3 replicas, canary 5 -> 50 -> 100 %\n")
		})
	}
}

func TestRenderPrintsOneJSONList(t *testing.T) {
	w := newWorld(t, interceptor.Funcs{})
	w.in = releaseText
	w.wantCode(w.run(t.Context(), "render", "-f", "-", "--template", "testdata/web", "-o", "json"), ExitOK)
	var list struct {
		Kind  string
		Items []struct{ Kind string }
	}
	if err := json.Unmarshal(w.out.Bytes(), &list); err != nil {
		t.Fatal(err)
	}
	if list.Kind != "List" || len(list.Items) != 3 || list.Items[0].Kind != "Deployment" {
		t.Errorf("got %+v", list)
	}
}

func TestRenderReportsMistakesLineByLine(t *testing.T) {
	for name, c := range map[string]struct {
		values string
		// want is how each line begins, in order.
		want []string
	}{
		"a wrong type":              {"image: a:1\nreplicas: many\n", []string{"values.replicas: "}},
		"a port out of range":       {"image: a:1\ncontainerPort: 70000\n", []string{"values.containerPort: "}},
		"a typo in a key":           {"image: a:1\ncontainerProt: 80\n", []string{"values.containerProt: "}},
		"no image":                  {"replicas: 1\n", []string{"values.image: "}},
		"an empty file":             {"# nothing yet\n", []string{"values.image: "}},
		"all of them, each its own": {"replicas: many\ncontainerPort: 70000\nfoo: 1\n", []string{"values.containerPort: ", "values.foo: ", "values.image: ", "values.replicas: "}},
	} {
		t.Run(name, func(t *testing.T) {
			w := newWorld(t, interceptor.Funcs{})
			w.wantCode(w.run(t.Context(), "render", "-f", "testdata/web", "--name", "cart", "--values", file(t, "values.yaml", c.values)), ExitRenderFindings)
			wantText(t, "out", w.out.String(), "")
			lines := strings.Split(strings.TrimSuffix(w.err.String(), "\n"), "\n")
			if len(lines) != len(c.want) {
				t.Fatalf("wanted %d lines, found:\n%s", len(c.want), w.err.String())
			}
			for i, l := range lines {
				if !strings.HasPrefix(l, c.want[i]) || !strings.Contains(l, "wanted") {
					t.Errorf("line %d: got %q, want it to begin with %q and to say what was wanted", i, l, c.want[i])
				}
			}
		})
	}
}

func TestRenderSaysWhereAMistakeIs(t *testing.T) {
	const release = `apiVersion: tidegate.io/v1alpha1
kind: Release
metadata: {name: cart, namespace: shop}
spec:
  template: {name: web}
  values:
`
	for name, c := range map[string]struct {
		in string
		// release is true where in is the values of a Release, indented.
		release bool
		want    string
	}{
		"a wrong value":                 {"image: a:1\nreplicas: many\n", false, `values.replicas: wanted an integer from 0 to 100, found "many" (stdin:2:11)`},
		"an unknown name":               {"image: a:1\n\nreplica:  3\n", false, `values.replica: wanted a variable of the template, found the unknown name "replica"; did you mean "replicas"? (stdin:3:1)`},
		"a missing variable":            {"# none\nreplicas: 1\n", false, "values.image: wanted an image with a tag, such as shop/cart:1.2, found nothing; set image (stdin:2:1)"},
		"nothing at all":                {"", false, "values.image: wanted an image with a tag, such as shop/cart:1.2, found nothing; set image (stdin:1:1)"},
		"an entry of a map":             {"image: a:1\nenv:\n  A: \"1\"\n  B: 2\n", false, `values.env.B: wanted a string, found 2; put it in quotes: "2" (stdin:4:6)`},
		"an entry of flow style":        {"{image: a:1, env: {A: 3}}", false, `values.env.A: wanted a string, found 3; put it in quotes: "3" (stdin:1:23)`},
		"a name twice":                  {"image: a:1\nreplicas: 1\nimage: a:2\n", false, "values.image: wanted the key once, found it twice; remove one of the two (stdin:3:1)"},
		"a list for the values":         {"# x\n- 1\n", false, "values: wanted an object, found a list of 1 item (stdin:2:1)"},
		"two documents":                 {"image: a:1\n---\nimage: a:2\n", false, "values: wanted one document, found another after it; split the file (stdin:3:1)"},
		"a tab":                         {"image: a:1\nenv:\n\tA: x\n", false, "values: wanted YAML, found a tab in the indentation; indent with spaces (stdin:3:1)"},
		"text that is not YAML":         {"image: a:1\nenv: {\n", false, "values: wanted YAML, found something else than a value; look at the commas and brackets (stdin:2:1)"},
		"a yes that is a boolean":       {"image: a:1\nenv:\n  A: yes\n", false, "values.env.A: wanted a string, found true; YAML takes yes for true: put it in quotes if it is text (stdin:3:6)"},
		"an off that is a boolean":      {"image: a:1\nenv: {A: off}\n", false, "values.env.A: wanted a string, found false; YAML takes off for false: put it in quotes if it is text (stdin:2:10)"},
		"a number of octal digits":      {"image: a:1\nenv: {A: 0755}\n", false, "values.env.A: wanted a string, found 493; YAML takes 0755 for 493: put it in quotes if it is text (stdin:2:10)"},
		"a version that is a number":    {"image: a:1\nenv: {A: 1.10}\n", false, "values.env.A: wanted a string, found 1.1; YAML takes 1.10 for 1.1: put it in quotes if it is text (stdin:2:10)"},
		"an exponent":                   {"image: a:1\nreplicas: 1e3\n", false, "values.replicas: wanted a number without an exponent, found 1e3; write the number out (stdin:2:11)"},
		"a number that is too large":    {"image: a:1\nreplicas: 1e10000000\n", false, "values.replicas: wanted a number without an exponent, found 1e10000000; write the number out (stdin:2:11)"},
		"a mistake in the first line":   {"image: a: 1\n", false, `values: wanted YAML, found a second ": " in a line, or a name at a depth that fits nothing above it; put the value in quotes if it is text, or look at the indentation (stdin:1:1)`},
		"JSON without a comma":          {"{\"image\": \"a:1\"\n  \"replicas\": 1}", false, "values: wanted JSON, found invalid character '\"' after object key:value pair (stdin:2:3)"},
		"no text at all":                {"image: a:1\n\x00\x01", false, "values: wanted YAML, found bytes that are no text; give a file of text in UTF-8 (stdin:2:1)"},
		"nothing after a colon":         {"image:\nreplicas: 1\n", false, "values.image: wanted an image with a tag, such as shop/cart:1.2, found null; YAML takes nothing for null"},
		"no number":                     {"image: a:1\nreplicas: .nan\n", false, "values.replicas: wanted a number, found one that JSON does not have; put it in quotes if it is text (stdin:2:11)"},
		"a key that is a boolean":       {"image: a:1\nenv: {on: x}\n", false, "values.env.on: wanted keys that are text, found one that YAML takes for true; put it in quotes (stdin:2:7)"},
		"a tag":                         {"image: !!binary aGk=\n", false, "values.image: wanted plain YAML, found a tag, which begins with !; remove the tag, or put all of it in quotes if it is text (stdin:1:8)"},
		"a password that is a tag":      {"image: !hunter2\n", false, "values.image: wanted plain YAML, found a tag, which begins with !; remove the tag, or put all of it in quotes if it is text (stdin:1:8)"},
		"a password that is an alias":   {"image: *hunter2\n", false, "values: wanted YAML, found an alias, which begins with *, of something that is not there; put it in quotes if it is text"},
		"an alias of itself":            {"image: &a [*a]\n", false, "values.image[0]: wanted values that end, found an alias of what it stands in; write out what is meant (stdin:1:12)"},
		"a wrong value of a release":    {"    image: a:1\n    replicas: many\n", true, `values.replicas: wanted an integer from 0 to 100, found "many" (stdin:8:15)`},
		"a missing value of a release":  {"    replicas: 1\n", true, "values.image: wanted an image with a tag, such as shop/cart:1.2, found nothing; set image (stdin:7:5)"},
		"a name twice in a release":     {"    image: a:1\n    image: a:1\n", true, "values.image: wanted the key once, found it twice; remove one of the two (stdin:8:5)"},
		"a mistake by an alias":         {"image: &a a:1\nreplicas: *a\n", false, `values.replicas: wanted an integer from 0 to 100, found "a:1" (stdin:2:11)`},
		"a mistake by a merge":          {"image: a:1\nenv:\n  <<: &e {A: 1}\n  B: x\n", false, `values.env.A: wanted a string, found 1; put it in quotes: "1" (stdin:3:14)`},
		"a file that is far too long":   {"image: a:1 #" + strings.Repeat("x", 2<<20), false, "values: wanted a file of at most 1048576 bytes, found "},
		"aliases of aliases of aliases": {bomb(), false, "values."},
	} {
		t.Run(name, func(t *testing.T) {
			w := newWorld(t, interceptor.Funcs{})
			w.in = c.in
			args := []string{"render", "-f", "testdata/web", "--values", "-", "--name", "cart"}
			if c.release {
				w.in = release + c.in
				args = []string{"render", "-f", "-", "--template", "testdata/web"}
			}
			w.wantCode(w.run(t.Context(), args...), ExitRenderFindings)
			if !strings.HasPrefix(w.err.String(), c.want) {
				t.Errorf("wanted a line that begins with\n%s\ngot\n%s", c.want, w.err.String())
			}
		})
	}
}

// bomb is YAML of a few hundred bytes that stands for a billion values.
func bomb() string {
	var b strings.Builder
	b.WriteString("a0: &a0 [x, x, x, x, x, x, x, x, x, x]\n")
	for i := range 8 {
		fmt.Fprintf(&b, "a%d: &a%d [%s]\n", i+1, i+1, strings.TrimSuffix(strings.Repeat(fmt.Sprintf("*a%d, ", i), 10), ", "))
	}
	return b.String()
}

func TestRenderReportsMistakesInATemplate(t *testing.T) {
	dir := t.TempDir()
	if err := os.WriteFile(filepath.Join(dir, "bad.cue"), []byte("package web\n#Variables: {image: string\n"), 0o600); err != nil {
		t.Fatal(err)
	}
	w := newWorld(t, interceptor.Funcs{})
	w.wantCode(w.run(t.Context(), "render", "-f", dir, "--name", "cart"), ExitRenderFindings)
	if !strings.HasPrefix(w.err.String(), "bad.cue:") {
		t.Errorf("wanted a line that begins with bad.cue:LINE:COLUMN, found %q", w.err.String())
	}
}

func TestRenderThatCannotRun(t *testing.T) {
	release := file(t, "release.yaml", releaseText)
	for name, c := range map[string]struct {
		in   string
		args []string
		want string
	}{
		"no such file":               {"", []string{"-f", "nowhere"}, "reading what to render: nowhere: no such file"},
		"an empty directory":         {"", []string{"-f", t.TempDir(), "--name", "cart"}, "wanted CUE files (*.cue) in "},
		"no name":                    {"", []string{"-f", "testdata/web"}, "wanted the name of the Release in --name, found none"},
		"no such values":             {"", []string{"-f", "testdata/web", "--name", "cart", "--values", "nowhere"}, "reading nowhere: no such file"},
		"a release without template": {"", []string{"-f", release}, `is a Release: give the template "web" as a directory or manifest in --template`},
		"a release with values":      {"", []string{"-f", release, "--template", "testdata/web", "--values", "x"}, "a Release has its own values"},
		"a release of another name":  {"", []string{"-f", release, "--template", "testdata/web", "--name", "till"}, `--name is "till", but the Release`},
		"of another namespace":       {"", []string{"-f", release, "--template", "testdata/web", "-n", "bank"}, `--namespace is "bank", but the Release`},
		"of another template":        {templateManifest(t, "worker"), []string{"-f", release, "--template", "-"}, `the Release names template "web", but - holds "worker"`},
		"two releases":               {"", []string{"-f", release, "--template", release}, "wanted a template in --template, found a Release"},
		"a template twice":           {"", []string{"-f", "testdata/web", "--template", "testdata/web"}, "--template goes with a Release in --filename"},
		"a misspelt field":           {strings.Replace(releaseText, "values:", "vals:", 1), []string{"-f", "-", "--template", "testdata/web"}, `unknown field "spec.vals"`},
		"a field of another form":    {strings.Replace(releaseText, "template: {name: web}", "template: web", 1), []string{"-f", "-", "--template", "testdata/web"}, "reading the Release in standard input: spec.template: wanted a mapping, found text"},
		"a release that is no YAML":  {"kind: Release\nspec:\n  values: a: b\n", []string{"-f", "-", "--template", "testdata/web"}, `stdin:3:3: wanted YAML, found a second ": " in a line`},
		"a release that is no JSON":  {"{\"kind\": \"Release\",\n\"spec\" {}}", []string{"-f", "-", "--template", "testdata/web"}, "stdin:2:8: wanted JSON, found invalid character '{' after object key"},
		"a key twice in a release":   {strings.Replace(releaseText, "kind: Release", "kind: Release\nkind: Release", 1), []string{"-f", "-", "--template", "testdata/web"}, `line 3: key "kind" already set in map`},
		"a release as values":        {"", []string{"-f", "testdata/web", "--name", "cart", "--values", release}, "wanted the values alone in " + release + ", found a whole Release; give a file of what is in its spec.values, or render the Release itself: tidegate render -f " + release + " --template DIR"},
		"a template as values":       {"", []string{"-f", "testdata/web", "--name", "cart", "--values", file(t, "template.yaml", templateManifest(t, "web"))}, "found a whole ReleaseTemplate"},
		"something else":             {"apiVersion: v1\nkind: Pod\n", []string{"-f", "-"}, `found kind "Pod" of "v1" in standard input`},
		"nothing":                    {"", []string{"-f", "-"}, "wanted a manifest in standard input, found nothing"},
		"standard input twice":       {"", []string{"-f", "-", "--values", "-", "--name", "cart"}, "standard input can be read once"},
		"an unknown format":          {"", []string{"-f", "testdata/web", "--name", "cart", "-o", "xml"}, `wanted json or yaml in --output, found "xml"`},
	} {
		t.Run(name, func(t *testing.T) {
			w := newWorld(t, interceptor.Funcs{})
			w.in = c.in
			w.wantCode(w.run(t.Context(), append([]string{"render"}, c.args...)...), ExitRenderFailed)
			wantPart(t, "err", w.err.String(), "Error: ", c.want)
			wantText(t, "out", w.out.String(), "")
		})
	}
}
