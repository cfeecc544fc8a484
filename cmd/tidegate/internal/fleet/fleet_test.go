package fleet

import (
	"os"
	"path/filepath"
	"strings"
	"testing"
)

const two = `# exported
apiVersion: tidegate.io/v1alpha1
kind: Release
metadata: {name: cart, namespace: shop}
spec: {template: {name: web}, values: {port: 80}}
---
---
apiVersion: v1
kind: Namespace
metadata: {name: shop, labels: {team: a}}
---
apiVersion: v1
kind: ConfigMap
metadata: {name: other}
`

const many = `{"apiVersion": "v1", "kind": "List", "items": [
  {"apiVersion": "tidegate.io/v1alpha1", "kind": "Release", "metadata": {"name": "b"}, "spec": {"template": {"name": "web"}}},
  {"apiVersion": "tidegate.io/v1alpha1", "kind": "DeployPolicy", "metadata": {"name": "p"}, "spec": {"rego": "package p"}}
]}`

const typed = `{"apiVersion": "tidegate.io/v1alpha1", "kind": "ReleaseList", "items": [
  {"metadata": {"name": "a", "namespace": "shop"}, "spec": {"template": {"name": "web"}}}
]}`

func names(f *Fleet) string {
	var out []string
	for _, r := range f.Releases {
		out = append(out, r.Namespace+"/"+r.Name)
	}
	return strings.Join(out, " ")
}

func TestRead(t *testing.T) {
	dir := t.TempDir()
	for name, text := range map[string]string{
		"two.yaml": two, "deeper/many.json": many, "deeper/typed.yml": typed, "notes.txt": "{", ".git/x.yaml": "{",
	} {
		path := filepath.Join(dir, name)
		if err := os.MkdirAll(filepath.Dir(path), 0o700); err != nil {
			t.Fatal(err)
		}
		if err := os.WriteFile(path, []byte(text), 0o600); err != nil {
			t.Fatal(err)
		}
	}
	for name, c := range map[string]struct {
		path, in, want string
	}{
		"a folder and what is below it":   {dir, "", "default/b shop/a shop/cart"},
		"documents of a file":             {filepath.Join(dir, "two.yaml"), "", "shop/cart"},
		"a list from standard input":      {"-", many, "default/b"},
		"a list whose items have no kind": {"-", typed, "shop/a"},
		"a list of nothing":               {"-", `{"apiVersion": "v1", "kind": "List", "items": []}`, ""},
	} {
		t.Run(name, func(t *testing.T) {
			f, err := Read(c.path, strings.NewReader(c.in))
			if err != nil {
				t.Fatal(err)
			}
			if names(f) != c.want {
				t.Errorf("found %s, wanted %s", names(f), c.want)
			}
		})
	}
	f, err := Read(dir, nil)
	if err != nil {
		t.Fatal(err)
	}
	if len(f.Policies) != 1 || f.Labels["shop"]["team"] != "a" || string(f.Releases[2].Spec.Values.Raw) != `{"port":80}` {
		t.Errorf("found %+v", f)
	}
}

func TestReadSaysWhatIsWrong(t *testing.T) {
	for name, c := range map[string]struct{ in, want string }{
		"no YAML":                   {"a: [", "stdin:1:1: wanted YAML, found something else than a value"},
		"no YAML further down":      {two + "---\na: 1\nb: c: d\n", `stdin:17:1: wanted YAML, found a second ": "`},
		"no JSON":                   {"{\"a\": 1,\n \"b\" 2}", "stdin:2:6: wanted JSON, found invalid character '2' after object key"},
		"nothing":                   {"# nothing\n", "wanted objects in standard input, as kubectl get ... -o yaml writes them, found none"},
		"a Release without a name":  {"apiVersion: tidegate.io/v1alpha1\nkind: Release\n", "wanted metadata.name"},
		"a Release twice":           {two + "\n---\n" + two, "found shop/cart twice"},
		"a Release of another form": {`{"apiVersion": "v1", "kind": "List", "items": [{"apiVersion": "tidegate.io/v1alpha1", "kind": "Release", "spec": 1}]}`, "reading the document at stdin:1: items[0]: a Release: spec: wanted a mapping, found a number"},
	} {
		t.Run(name, func(t *testing.T) {
			if _, err := Read("-", strings.NewReader(c.in)); err == nil || !strings.Contains(err.Error(), c.want) {
				t.Errorf("found %v, wanted %q", err, c.want)
			}
		})
	}
	if _, err := Read(filepath.Join(t.TempDir(), "gone"), nil); err == nil {
		t.Error("a folder that is not there was read")
	}
}
