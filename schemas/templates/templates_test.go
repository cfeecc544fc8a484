package templates_test

import (
	"encoding/json"
	"errors"
	"flag"
	"io/fs"
	"os"
	"path/filepath"
	"slices"
	"strings"
	"testing"
	"time"

	"cuelang.org/go/cue/format"

	"tidegate.io/tidegate/schemas/render"
	"tidegate.io/tidegate/schemas/templates"
)

var update = flag.Bool("update", false, "rewrite the golden files")

var cart = render.Context{Name: "cart", Namespace: "shop", Template: "web"}

func compile(t testing.TB, name string) *render.Template {
	t.Helper()
	files, err := templates.Files(name)
	if err != nil {
		t.Fatal(err)
	}
	tpl, err := render.Compile(files)
	if err != nil {
		t.Fatalf("compiling %s: %v", name, err)
	}
	return tpl
}

func golden(t *testing.T, name string, value any) {
	t.Helper()
	out, err := json.MarshalIndent(value, "", "  ")
	if err != nil {
		t.Fatal(err)
	}
	out = append(out, '\n')
	path := filepath.Join("testdata", name)
	if *update {
		if err := os.WriteFile(path, out, 0o600); err != nil {
			t.Fatal(err)
		}
		return
	}
	want, err := os.ReadFile(path)
	if err != nil {
		t.Fatal(err)
	}
	if string(want) != string(out) {
		t.Errorf("%s differs; look at the difference, then rewrite it with -update; got:\n%s", path, out)
	}
}

func TestEveryShippedTemplateCompilesAndPassesItsTests(t *testing.T) {
	names := templates.Names()
	if !slices.Contains(names, "web") {
		t.Fatalf("wanted web among the templates, found %v", names)
	}
	for _, name := range names {
		t.Run(name, func(t *testing.T) {
			if err := compile(t, name).Check(); err != nil {
				t.Error(err)
			}
		})
	}
}

func TestEveryVariableIsDescribed(t *testing.T) {
	for _, name := range templates.Names() {
		schema, err := compile(t, name).Schema()
		if err != nil {
			t.Fatal(err)
		}
		var s map[string]any
		if err := json.Unmarshal(schema, &s); err != nil {
			t.Fatal(err)
		}
		described(t, name, s)
	}
}

func described(t *testing.T, path string, schema map[string]any) {
	t.Helper()
	if schema["description"] == nil {
		t.Errorf("wanted a comment above %s, found none", path)
	}
	properties, _ := schema["properties"].(map[string]any)
	for name, p := range properties {
		described(t, path+"."+name, p.(map[string]any))
	}
}

func TestShippedTemplatesAreFormatted(t *testing.T) {
	for _, name := range templates.Names() {
		files, err := templates.Files(name)
		if err != nil {
			t.Fatal(err)
		}
		for file, source := range files {
			want, err := format.Source([]byte(source))
			if err != nil {
				t.Fatal(err)
			}
			if string(want) != source {
				t.Errorf("%s/%s: wanted it formatted; run cue fmt. It should be:\n%s", name, file, want)
			}
		}
	}
}

func TestFilesOfAnUnknownTemplate(t *testing.T) {
	_, err := templates.Files("wbe")
	if !errors.Is(err, fs.ErrNotExist) || !strings.Contains(err.Error(), "wanted one of web") {
		t.Errorf("wanted an error that lists the templates, got %v", err)
	}
}

func TestWebRendersAsBefore(t *testing.T) {
	tpl := compile(t, "web")
	for file, values := range map[string]string{
		"web-least.json": `{"image": "registry.example.com/shop/cart:1.4.2"}`,
		"web-full.json": `{"image": "registry.example.com/shop/cart:1.4.2", "containerPort": 9000, "replicas": 6,
			"resources": {"cpu": "1.5", "memory": "1Gi"}, "env": {"LOG_LEVEL": "debug", "A": "b"},
			"hostnames": ["cart.example.com"], "gateway": {"name": "internal", "namespace": "mesh"}}`,
	} {
		t.Run(file, func(t *testing.T) {
			r, err := tpl.Render([]byte(values), cart)
			if err != nil {
				t.Fatal(err)
			}
			golden(t, file, r)
		})
	}
}

func TestTheSchemaOfWebIsAsBefore(t *testing.T) {
	schema, err := compile(t, "web").Schema()
	if err != nil {
		t.Fatal(err)
	}
	golden(t, "web.schema.json", json.RawMessage(schema))
}

func TestMistakesInTheValuesOfWeb(t *testing.T) {
	tpl := compile(t, "web")
	for name, c := range map[string]struct{ values, want string }{
		"a missing image":       {`{}`, `values.image: wanted an image with a tag or a digest, such as registry.example.com/shop/cart:1.4.2, found nothing; set image`},
		"an image without tag":  {`{"image": "shop/cart"}`, `values.image: wanted an image with a tag or a digest, such as registry.example.com/shop/cart:1.4.2, found "shop/cart"`},
		"a port too far":        {`{"image": "a:1", "containerPort": 70000}`, `values.containerPort: wanted an integer from 1 to 65535, found 70000`},
		"a port in quotes":      {`{"image": "a:1", "containerPort": "8080"}`, `values.containerPort: wanted an integer from 1 to 65535, found "8080"`},
		"a typo":                {`{"image": "a:1", "replica": 3}`, `values.replica: wanted a variable of the template, found the unknown name "replica"; did you mean "replicas"?`},
		"processor time":        {`{"image": "a:1", "resources": {"cpu": 2}}`, `values.resources.cpu: wanted an amount of processor time in quotes, such as "250m" or "2", found 2; put it in quotes: "2"`},
		"memory":                {`{"image": "a:1", "resources": {"memory": "128MB"}}`, `values.resources.memory: wanted an amount of memory such as "256Mi" or "1Gi", found "128MB"`},
		"a number in env":       {`{"image": "a:1", "env": {"PORT": 1}}`, `values.env.PORT: wanted a string, found 1; put it in quotes: "1"`},
		"a host name":           {`{"image": "a:1", "hostnames": ["ok.example.com", "not a host"]}`, `values.hostnames[1]: wanted a host name such as cart.example.com, found "not a host"`},
		"too many replicas":     {`{"image": "a:1", "replicas": 101}`, `values.replicas: wanted an integer from 1 to 100, found 101`},
		"two mistakes":          {`{"replicas": 0}`, "values.image: wanted an image with a tag or a digest, such as registry.example.com/shop/cart:1.4.2, found nothing; set image\nvalues.replicas: wanted an integer from 1 to 100, found 0"},
		"a path without slash":  {`{"image": "a:1", "healthPath": "healthz"}`, `values.healthPath: wanted a path that begins with /, such as /healthz, found "healthz"`},
		"a gateway with spaces": {`{"image": "a:1", "gateway": {"name": "my gateway"}}`, `values.gateway.name: wanted the name of a Gateway, found "my gateway"`},
	} {
		t.Run(name, func(t *testing.T) {
			_, err := tpl.Render([]byte(c.values), cart)
			if err == nil || err.Error() != c.want {
				t.Errorf("wanted\n%s\ngot\n%v", c.want, err)
			}
		})
	}
}

func BenchmarkCompileWeb(b *testing.B) {
	files, err := templates.Files("web")
	if err != nil {
		b.Fatal(err)
	}
	for b.Loop() {
		if _, err := render.Compile(files); err != nil {
			b.Fatal(err)
		}
	}
}

func BenchmarkRenderWeb(b *testing.B) {
	tpl := compile(b, "web")
	for b.Loop() {
		if _, err := tpl.Render([]byte(`{"image": "registry.example.com/shop/cart:1.4.2"}`), cart); err != nil {
			b.Fatal(err)
		}
	}
}

func TestThePlatformSetsThePaceInAFileOfItsOwn(t *testing.T) {
	for name, c := range map[string]struct{ file, refused string }{
		"a pace":              {`_platform: {metricSource: "thanos", pace: {window: "10s", minSamples: 7}}`, ""},
		"a number for a time": {`_platform: pace: window: 60`, "window"},
		"no time at all":      {`_platform: pace: window: "0s"`, "window"},
		"a typo":              {`_platform: pace: windwo: "10s"`, "windwo"},
	} {
		t.Run(name, func(t *testing.T) {
			files, err := templates.Files("web")
			if err != nil {
				t.Fatal(err)
			}
			files["platform.cue"] = "package web\n" + c.file
			tpl, err := render.Compile(files)
			if err == nil {
				err = tpl.Check()
			}
			if c.refused != "" {
				if err == nil || !strings.Contains(err.Error(), c.refused) {
					t.Fatalf("wanted a refusal that names %q, got %v", c.refused, err)
				}
				return
			}
			if err != nil {
				t.Fatal(err)
			}
			r, err := tpl.Render([]byte(`{"image": "shop/cart:1"}`), cart)
			if err != nil {
				t.Fatal(err)
			}
			a := r.Strategy.Analysis
			if a.Source != "thanos" || a.Window.Duration != 10*time.Second || a.Metrics[0].MinSamples != 7 || a.Interval.Duration != 10*time.Second {
				t.Errorf("got %+v", a)
			}
		})
	}
}
