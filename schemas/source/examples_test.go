package source

import (
	"os"
	"path/filepath"
	"slices"
	"strings"
	"testing"

	"sigs.k8s.io/yaml"

	"tidegate.io/tidegate/schemas/render"
	"tidegate.io/tidegate/schemas/v1alpha1"
)

// Each way to spread requests that is no HTTPRoute of a gateway has an example that can be
// published as it is, and the page about traffic leads to it.
func TestTheExamplesOfTheRoutersAreGood(t *testing.T) {
	t.Parallel()
	page, err := os.ReadFile(filepath.Join("..", "..", "docs", "traffic.md"))
	if err != nil {
		t.Fatal(err)
	}
	for name, want := range map[string]v1alpha1.Router{
		"istio": v1alpha1.RouterVirtualService,
		"gamma": v1alpha1.RouterHTTPRoute,
		"plain": v1alpha1.RouterService,
	} {
		t.Run(name, func(t *testing.T) {
			t.Parallel()
			if r := published(t, name).result; r.Strategy.Type != v1alpha1.StrategyCanary || r.Router != want {
				t.Errorf("wanted a canary by %s, found %s by %s", want, r.Strategy.Type, r.Router)
			}
			if !strings.Contains(string(page), "](examples/"+name+")") {
				t.Errorf("docs/traffic.md: wanted a link to examples/%s", name)
			}
		})
	}
}

// example is a template of docs/examples, and what its least values render to.
type example struct {
	files  map[string]string
	result *render.Result
}

// published reads the example of a name, which has to be without a finding.
func published(t *testing.T, name string) example {
	t.Helper()
	dir := filepath.Join("..", "..", "docs", "examples", name)
	read, err := Read(dir)
	if err != nil {
		t.Fatal(err)
	}
	for _, f := range render.Vet(read.Files, render.VetOptions{}) {
		t.Error(f)
	}
	text, err := os.ReadFile(filepath.Join(dir, "examples", "least.yaml"))
	if err != nil {
		t.Fatal(err)
	}
	values, err := yaml.YAMLToJSON(text)
	if err != nil {
		t.Fatal(err)
	}
	tpl, err := render.Compile(read.Files)
	if err != nil {
		t.Fatal(err)
	}
	r, err := tpl.Render(values, render.Context{Name: "cart", Namespace: "shop", Template: name})
	if err != nil {
		t.Fatal(err)
	}
	return example{files: read.Files, result: r}
}

// Each page about a strategy has an example that can be published as it is, and shows its
// rollout word for word.
func TestTheExamplesOfTheStrategiesAreGood(t *testing.T) {
	t.Parallel()
	docs := filepath.Join("..", "..", "docs")
	for name, want := range map[string]struct {
		strategy v1alpha1.StrategyType
		router   v1alpha1.Router
		jobs     int
	}{
		"canary":    {v1alpha1.StrategyCanary, v1alpha1.RouterHTTPRoute, 1},
		"bluegreen": {v1alpha1.StrategyBlueGreen, v1alpha1.RouterService, 0},
		"rolling":   {v1alpha1.StrategyRolling, "", 0},
	} {
		t.Run(name, func(t *testing.T) {
			t.Parallel()
			it := published(t, name)
			r := it.result
			if r.Strategy.Type != want.strategy || r.Router != want.router || len(r.Jobs) != want.jobs {
				t.Errorf("wanted %+v, found %s, %q and %d jobs", want, r.Strategy.Type, r.Router, len(r.Jobs))
			}
			if weights := slices.ContainsFunc(r.Strategy.Steps, func(s v1alpha1.Step) bool { return s.SetWeight != nil && *s.SetWeight == 100 }); !weights {
				t.Errorf("wanted all of the traffic in the end, found %v", r.Strategy.Steps)
			}
			page, err := os.ReadFile(filepath.Join(docs, name+".md"))
			if err != nil {
				t.Fatal(err)
			}
			source := it.files[name+".cue"]
			_, rollout, _ := strings.Cut(source, "\nrollout: ")
			for _, part := range []string{"rollout: " + rollout, "docs/examples/" + name} {
				if rollout == "" || !strings.Contains(string(page), part) {
					t.Errorf("wanted docs/%s.md to have\n%s", name, part)
				}
			}
		})
	}
}
