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
	"k8s.io/apimachinery/pkg/apis/meta/v1/unstructured"
	"sigs.k8s.io/yaml"

	"tidegate.io/tidegate/schemas/render"
	"tidegate.io/tidegate/schemas/templates"
	"tidegate.io/tidegate/schemas/v1alpha1"
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
	if want := []string{"grpc", "job", "stateful", "web", "web-bluegreen", "worker"}; !slices.Equal(names, want) {
		t.Fatalf("wanted the templates %v, found %v", want, names)
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
	if !errors.Is(err, fs.ErrNotExist) || !strings.Contains(err.Error(), "wanted one of grpc, job, stateful, web, ") {
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

func TestSchemasAreAsBefore(t *testing.T) {
	for _, name := range templates.Names() {
		t.Run(name, func(t *testing.T) {
			schema, err := compile(t, name).Schema()
			if err != nil {
				t.Fatal(err)
			}
			golden(t, name+".schema.json", json.RawMessage(schema))
		})
	}
}

// examples renders the examples of a template.
func examples(t *testing.T, name string) map[string]*render.Result {
	t.Helper()
	files, err := templates.Examples(name)
	if err != nil {
		t.Fatal(err)
	}
	tpl := compile(t, name)
	out := map[string]*render.Result{}
	for file, text := range files {
		values, err := yaml.YAMLToJSON([]byte(text))
		if err != nil {
			t.Fatalf("%s: %v", file, err)
		}
		r, err := tpl.RenderTwice(values, render.Context{Name: "demo", Namespace: "shop", Template: name})
		if err != nil {
			t.Fatalf("%s: %v", file, err)
		}
		out[strings.TrimSuffix(file, ".yaml")] = r
	}
	return out
}

func TestExamplesRenderAsBefore(t *testing.T) {
	for _, name := range templates.Names() {
		rendered := examples(t, name)
		if rendered["least"] == nil || rendered["full"] == nil {
			t.Errorf("%s: wanted examples/least.yaml and examples/full.yaml, found %d examples", name, len(rendered))
		}
		for example, r := range rendered {
			t.Run(name+"/"+example, func(t *testing.T) {
				golden(t, name+".example-"+example+".json", r)
			})
		}
	}
}

// What a pod may do is the same in every template, whatever the values are.
func TestEveryPodIsRestricted(t *testing.T) {
	for _, name := range templates.Names() {
		for example, r := range examples(t, name) {
			for _, o := range r.Set {
				path := []string{"spec", "template", "spec"}
				if o.GetKind() == "CronJob" {
					path = []string{"spec", "jobTemplate", "spec", "template", "spec"}
				}
				pod, found, err := unstructured.NestedMap(o.Object, path...)
				if err != nil || !found {
					continue
				}
				at := name + "/" + example
				if nonRoot, _, _ := unstructured.NestedBool(pod, "securityContext", "runAsNonRoot"); !nonRoot {
					t.Errorf("%s: wanted pods that do not run as root", at)
				}
				if profile, _, _ := unstructured.NestedString(pod, "securityContext", "seccompProfile", "type"); profile != "RuntimeDefault" {
					t.Errorf("%s: wanted the seccomp profile of the runtime, found %q", at, profile)
				}
				containers, _, _ := unstructured.NestedSlice(pod, "containers")
				if len(containers) != 1 {
					t.Fatalf("%s: wanted one container, found %d", at, len(containers))
				}
				c := containers[0].(map[string]any)
				context, _, _ := unstructured.NestedMap(c, "securityContext")
				drop, _, _ := unstructured.NestedStringSlice(context, "capabilities", "drop")
				if context["allowPrivilegeEscalation"] != false || context["readOnlyRootFilesystem"] != true || !slices.Equal(drop, []string{"ALL"}) {
					t.Errorf("%s: wanted a container without privileges, found %v", at, context)
				}
				if limit, _, _ := unstructured.NestedString(c, "resources", "limits", "memory"); limit == "" {
					t.Errorf("%s: wanted a limit of memory, found none", at)
				}
			}
		}
	}
}

// A change of what teams or platform did not ask for must not roll their services.
func TestTheSizeIsNoPartOfTheRevision(t *testing.T) {
	for _, name := range []string{"grpc", "stateful", "web", "web-bluegreen", "worker"} {
		tpl := compile(t, name)
		revision := func(values string) string {
			t.Helper()
			r, err := tpl.Render([]byte(values), cart)
			if err != nil {
				t.Fatal(err)
			}
			return r.Revision
		}
		least := revision(`{"image": "shop/cart:1"}`)
		if more := revision(`{"image": "shop/cart:1", "replicas": 7}`); more != least {
			t.Errorf("%s: wanted the same revision with more replicas, found %s and %s", name, least, more)
		}
		if other := revision(`{"image": "shop/cart:2"}`); other == least {
			t.Errorf("%s: wanted another revision with another image, found the same", name)
		}
		if other := revision(`{"image": "shop/cart:1", "env": {"A": "b"}}`); other == least {
			t.Errorf("%s: wanted another revision with another environment, found the same", name)
		}
	}
}

func TestConfigurationIsPartOfTheRevision(t *testing.T) {
	for _, name := range []string{"job", "stateful", "web-bluegreen", "worker"} {
		tpl := compile(t, name)
		config := func(text string) string {
			t.Helper()
			values := `{"image": "shop/cart:1", "config": {"app.yaml": "` + text + `"}}`
			if name == "job" {
				values = `{"schedule": "@daily", ` + values[1:]
			}
			r, err := tpl.Render([]byte(values), cart)
			if err != nil {
				t.Fatal(err)
			}
			for _, o := range r.Set {
				if o.GetKind() == "ConfigMap" && o.GetName() != "cart-"+r.Revision {
					t.Errorf("%s: wanted the ConfigMap cart-%s, found %s", name, r.Revision, o.GetName())
				}
			}
			return r.Revision
		}
		if one, other := config("a: 1"), config("a: 2"); one == other {
			t.Errorf("%s: wanted another revision with another configuration, found the same", name)
		}
	}
}

func TestEveryTemplateIsDescribed(t *testing.T) {
	for _, name := range templates.Names() {
		page, err := os.ReadFile(filepath.Join("..", "..", "docs", "templates", name+".md"))
		if err != nil {
			t.Error(err)
			continue
		}
		schema, err := compile(t, name).Schema()
		if err != nil {
			t.Fatal(err)
		}
		var s struct{ Properties map[string]any }
		if err := json.Unmarshal(schema, &s); err != nil {
			t.Fatal(err)
		}
		_, text, found := strings.Cut(string(page), "```yaml\n")
		text, _, ended := strings.Cut(text, "```")
		var release v1alpha1.Release
		if err := yaml.UnmarshalStrict([]byte(text), &release); err != nil || !found || !ended || release.Spec.Template.Name != name {
			t.Errorf("docs/templates/%s.md: wanted a Release of the template, found %v %s", name, err, text)
		} else if _, err := compile(t, name).Render(release.Spec.Values.Raw, cart); err != nil {
			t.Errorf("docs/templates/%s.md: wanted values that render: %v", name, err)
		}
		for variable := range s.Properties {
			if !strings.Contains(string(page), "| `"+variable+"`") {
				t.Errorf("docs/templates/%s.md: wanted a row about the variable %s, found none", name, variable)
			}
		}
	}
}

func TestMistakesInTheValuesOfWeb(t *testing.T) {
	tpl := compile(t, "web")
	for name, c := range map[string]struct{ values, want string }{
		"a missing image":       {`{}`, `values.image: wanted an image with a tag or a digest, such as registry.example.com/shop/cart:1.4.2, found nothing; set image`},
		"an image without tag":  {`{"image": "shop/cart"}`, `values.image: wanted an image with a tag or a digest, such as registry.example.com/shop/cart:1.4.2, found "shop/cart"`},
		"a port too far":        {`{"image": "a:1", "containerPort": 70000}`, `values.containerPort: wanted an integer from 1 to 65535, found 70000`},
		"a port in quotes":      {`{"image": "a:1", "containerPort": "8080"}`, `values.containerPort: wanted an integer from 1 to 65535, found "8080"; leave the quotes away: 8080`},
		"a typo":                {`{"image": "a:1", "replica": 3}`, `values.replica: wanted a variable of the template, found the unknown name "replica"; did you mean "replicas"?`},
		"processor time":        {`{"image": "a:1", "resources": {"cpu": 2}}`, `values.resources.cpu: wanted an amount of processor time in quotes, such as "250m" or "2", found 2; put it in quotes: "2"`},
		"memory":                {`{"image": "a:1", "resources": {"memory": "128MB"}}`, `values.resources.memory: wanted an amount of memory such as "256Mi" or "1Gi", found "128MB"`},
		"a number in env":       {`{"image": "a:1", "env": {"PORT": 1}}`, `values.env.PORT: wanted a string, found 1; put it in quotes: "1"`},
		"a host name":           {`{"image": "a:1", "hostnames": ["ok.example.com", "not a host"]}`, `values.hostnames[1]: wanted a host name such as cart.example.com, found "not a host"`},
		"too many replicas":     {`{"image": "a:1", "replicas": 101}`, `values.replicas: wanted an integer from 0 to 100, found 101`},
		"two mistakes":          {`{"replicas": -1}`, "values.image: wanted an image with a tag or a digest, such as registry.example.com/shop/cart:1.4.2, found nothing; set image\nvalues.replicas: wanted an integer from 0 to 100, found -1"},
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

// plain is the template web without the kit.
func plain(t testing.TB) map[string]string {
	t.Helper()
	source, err := os.ReadFile(filepath.Join("testdata", "plain", "web.cue"))
	if err != nil {
		t.Fatal(err)
	}
	return map[string]string{"web.cue": string(source)}
}

func TestTheKitRendersWhatOneWouldWriteByHand(t *testing.T) {
	byHand, err := render.Compile(plain(t))
	if err != nil {
		t.Fatal(err)
	}
	kitted := compile(t, "web")
	for name, values := range map[string]string{
		"least": `{"image": "shop/cart:1"}`,
		"secrets": `{"image": "shop/cart:1", "env": {"A": "b"}, "secrets": {
			"env": {"DB_PASSWORD": {"secret": "cart-db", "key": "password"}}, "files": {"/etc/tls": "cart-tls", "/etc/more": "cart-tls"},
			"external": {"store": "prod", "env": {"KEY": {"key": "shop/cart"}}}, "vault": {"role": "cart", "files": {"db": "secret/db"}}}}`,
	} {
		t.Run(name, func(t *testing.T) {
			want, err := byHand.Render([]byte(values), cart)
			if err != nil {
				t.Fatal(err)
			}
			got, err := kitted.Render([]byte(values), cart)
			if err != nil {
				t.Fatal(err)
			}
			if got.Digest != want.Digest || got.Revision != want.Revision {
				t.Errorf("wanted %s and %s, found %s and %s", want.Revision, want.Digest, got.Revision, got.Digest)
			}
		})
	}
}

// What the kit costs: compare kit with plain, within one run.
func BenchmarkWeb(b *testing.B) {
	kitted, err := templates.Files("web")
	if err != nil {
		b.Fatal(err)
	}
	// The template's own tests are compiled too, and plain has none.
	delete(kitted, "tests.cue")
	for name, files := range map[string]map[string]string{"kit": kitted, "plain": plain(b)} {
		b.Run("compile/"+name, func(b *testing.B) {
			for b.Loop() {
				if _, err := render.Compile(files); err != nil {
					b.Fatal(err)
				}
			}
		})
		b.Run("render/"+name, func(b *testing.B) {
			tpl, err := render.Compile(files)
			if err != nil {
				b.Fatal(err)
			}
			for b.Loop() {
				if _, err := tpl.Render([]byte(`{"image": "registry.example.com/shop/cart:1.4.2"}`), cart); err != nil {
					b.Fatal(err)
				}
			}
		})
	}
}

// A template whose own tests rest on what the platform may set could not be published by a
// platform that sets it.
func TestTemplatesPassTheirTestsWhateverThePlatformSets(t *testing.T) {
	for _, name := range templates.Names() {
		files, err := templates.Files(name)
		if err != nil {
			t.Fatal(err)
		}
		files["platform.cue"] = "package " + strings.ReplaceAll(name, "-", "_") + `
_platform: {
	metricSource: "thanos"
	domain:       "shop.example.org"
	pace: {window: "5m", interval: "30s", hold: "10m", drainDelay: "2m", warm: "1h", minSamples: 7}
}`
		if name == "web-bluegreen" {
			files["platform.cue"] += "\n_approval: false\n"
		}
		tpl, err := render.Compile(files)
		if err == nil {
			err = tpl.Check()
		}
		if err != nil {
			t.Errorf("%s: %v", name, err)
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
