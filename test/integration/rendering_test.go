package integration

import (
	"bytes"
	"encoding/json"
	"fmt"
	"os"
	"os/exec"
	"path/filepath"
	"slices"
	"testing"

	"tidegate.io/tidegate/schemas/render"
	"tidegate.io/tidegate/schemas/templates"
	"tidegate.io/tidegate/schemas/worker"
)

// What a team sees before it commits is what the webhook judges and the controllers apply:
// the CLI and the manager's workers, as the programs that are shipped, and this process
// write the same bytes, whatever the order of the keys.
func TestTheProgramsRenderTheSameBytes(t *testing.T) {
	bin := programs(t)
	pool, err := worker.New(worker.Options{Command: []string{filepath.Join(bin, "tidegate-manager"), "render-worker"}})
	if err != nil {
		t.Fatal(err)
	}
	defer pool.Close()

	files, err := templates.Files("web")
	if err != nil {
		t.Fatal(err)
	}
	folder := filepath.Join(t.TempDir(), "web")
	if err := os.Mkdir(folder, 0o700); err != nil {
		t.Fatal(err)
	}
	for name, source := range files {
		if err := os.WriteFile(filepath.Join(folder, name), []byte(source), 0o600); err != nil {
			t.Fatal(err)
		}
	}
	facts := render.Context{Name: "cart", Namespace: "shop", Template: "web"}
	var seen []string
	for i, values := range []string{
		`{"image": "shop/cart:1", "replicas": 3, "env": {"B": "<2>", "A": "\u00e9\u2028"}, "resources": {"cpu": "100m", "memory": "64Mi"}}`,
		`{"resources": {"memory": "64Mi", "cpu": "100m"}, "env": {"A": "\u00e9\u2028", "B": "<2>"}, "replicas": 3, "image": "shop/cart:1"}`,
	} {
		template, err := render.Compile(files)
		if err != nil {
			t.Fatal(err)
		}
		here, err := template.Render([]byte(values), facts)
		if err != nil {
			t.Fatal(err)
		}
		there, err := pool.Render(t.Context(), worker.Source{Files: files}, []byte(values), facts)
		if err != nil {
			t.Fatal(err)
		}
		if here.Digest != there.Digest {
			t.Errorf("order %d: wanted the digest %s of the manager's worker, found %s", i, here.Digest, there.Digest)
		}
		path := filepath.Join(t.TempDir(), fmt.Sprintf("values%d.json", i))
		if err := os.WriteFile(path, []byte(values), 0o600); err != nil {
			t.Fatal(err)
		}
		cli := exec.CommandContext(t.Context(), filepath.Join(bin, "tidegate"), "render", "-f", folder, "--values", path, "--name", "cart", "--namespace", "shop", "-o", "json")
		out, err := cli.Output()
		if err != nil {
			t.Fatalf("running the CLI: %v", err)
		}
		seen = append(seen, objectsOf(t, here), objectsOf(t, there), listed(t, out))
	}
	if unique := slices.Compact(slices.Clone(seen)); len(unique) != 1 || len(seen[0]) == 0 {
		t.Errorf("wanted the same objects of all, found %d:\n%s", len(unique), unique)
	}
}

// objectsOf is one line of JSON for each object, sorted.
func objectsOf(t *testing.T, r *render.Result) string {
	t.Helper()
	all := slices.Concat(r.Set, r.Shared)
	if r.Route != nil {
		all = append(all, r.Route)
	}
	var items []any
	for _, o := range all {
		items = append(items, o.Object)
	}
	return linesOf(t, items)
}

func listed(t *testing.T, out []byte) string {
	t.Helper()
	var list struct{ Items []any }
	dec := json.NewDecoder(bytes.NewReader(out))
	dec.UseNumber()
	if err := dec.Decode(&list); err != nil {
		t.Fatalf("reading what the CLI wrote: %v\n%s", err, out)
	}
	return linesOf(t, list.Items)
}

func linesOf(t *testing.T, items []any) string {
	t.Helper()
	lines := make([]string, len(items))
	for i, item := range items {
		text, err := json.Marshal(item)
		if err != nil {
			t.Fatal(err)
		}
		lines[i] = string(text)
	}
	slices.Sort(lines)
	return fmt.Sprint(lines)
}
