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
			dir := filepath.Join(docs, "examples", name)
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
			source := read.Files[name+".cue"]
			_, rollout, _ := strings.Cut(source, "\nrollout: ")
			for _, part := range []string{"rollout: " + rollout, "docs/examples/" + name} {
				if rollout == "" || !strings.Contains(string(page), part) {
					t.Errorf("wanted docs/%s.md to have\n%s", name, part)
				}
			}
		})
	}
}
