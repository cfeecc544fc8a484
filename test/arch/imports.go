package arch

import (
	"fmt"
	"slices"
	"strings"
)

// layers are the areas of the house from the ground up. A package may import packages of
// its own area and of lower layers; areas beside each other know nothing of each other.
var layers = [][]string{
	{"schemas/v1alpha1", "schemas/templates", "schemas/cue"},
	{"schemas/follow", "schemas/secret", "schemas/exempt", "schemas/lean"},
	{"schemas/render", "policies/eval", "rollout/plan", "rollout/analysis", "rollout/sync"},
	{"schemas/impact", "schemas/source", "schemas/worker", "policies/library", "policies/audit", "rollout/manifest", "rollout/simulate", "rollout/fence", "rollout/outbound"},
	{"rollout/observe", "rollout/prom", "rollout/notify", "rollout/hook"},
	{"rollout/apply"},
	{"webhook", "rollout/controller"},
	{"cmd"},
	{"test"},
}

// pure are the packages that compute: no client, no clock, no process, no network.
var pure = []string{
	"schemas/follow", "schemas/secret", "schemas/exempt", "schemas/render", "schemas/impact", "policies/eval", "policies/eval/cuepolicy", "policies/eval/sandbox", "policies/eval/gatekeeper", "policies/audit", "rollout/plan", "rollout/analysis", "rollout/sync",
	"rollout/notify/news", "rollout/notify/rules", "rollout/simulate",
}

// harmless is what of the outside only computes.
var harmless = []string{"net/url"}

// impure is what pure packages may not rest on, through whatever they import.
var impure = []string{"k8s.io/client-go", "sigs.k8s.io/controller-runtime"}

// outside is what pure packages may not import themselves. What they rest on is full of
// it, and does not use it for them.
var outside = []string{"math/rand", "net", "os", "syscall", "log", "log/slog", "k8s.io/klog", "k8s.io/utils/clock"}

// engines are the large libraries that have one home each.
var engines = []struct {
	// name is for messages.
	name string
	// paths are the prefixes of the import paths.
	paths []string
	// homes are where product code may import it.
	homes []string
	// files are names of files that may import it anywhere.
	files []string
}{
	{name: "CUE", paths: []string{"cuelang.org/go"}, homes: []string{"schemas/render", "policies/eval/cuepolicy"}},
	{name: "OPA", paths: []string{"github.com/open-policy-agent/opa"}, homes: []string{"policies/eval"}},
	{name: "CloudEvents", paths: []string{"github.com/cloudevents/sdk-go"}, homes: []string{"rollout/notify/send", "rollout/hook"}},
	{name: "the sender library", paths: []string{"github.com/nicholas-fedor/shoutrrr"}, homes: []string{"rollout/notify/send"}},
	{name: "Prometheus", paths: []string{"github.com/prometheus"}, homes: []string{"rollout/prom"}, files: []string{"metrics.go"}},
}

// place returns the layer and area of a package, or ok false where it has none.
func place(within string) (layer int, area string, ok bool) {
	for i, areas := range layers {
		for _, a := range areas {
			if matches(within, a) {
				return i, a, true
			}
		}
	}
	return 0, "", false
}

// ImportsGoDown reports imports that go up or sideways, and packages that have no place
// in the house.
func ImportsGoDown(g Graph) []string {
	var found []string
	for _, p := range g.ours() {
		layer, area, ok := place(p)
		if !ok {
			found = append(found, fmt.Sprintf("%s has no place in the house: wanted a folder of DESIGN's house; put it into one, or give its area a layer in test/arch", p))
			continue
		}
		for _, path := range g.get(p).Imports {
			to, isOurs := inside(path)
			if !isOurs {
				continue
			}
			toLayer, toArea, ok := place(to)
			if ok && area != toArea && toLayer >= layer {
				found = append(found, fmt.Sprintf("%s imports %s: imports go down, and %s is not below %s", p, to, toArea, area))
			}
		}
	}
	return found
}

// GroundImportsNothing reports imports of ours by the API types.
func GroundImportsNothing(g Graph) []string {
	var found []string
	for _, p := range g.ours() {
		if !matches(p, "schemas/v1alpha1") {
			continue
		}
		for _, path := range g.get(p).Imports {
			if to, isOurs := inside(path); isOurs {
				found = append(found, fmt.Sprintf("%s imports %s: the API types import nothing of ours", p, to))
			}
		}
	}
	return found
}

// CommandsAreTheTop reports imports of cmd, by tests too, from anywhere but cmd.
func CommandsAreTheTop(g Graph) []string {
	var found []string
	for _, p := range g.ours() {
		if matches(p, "cmd") {
			continue
		}
		pkg := g.get(p)
		for _, path := range slices.Concat(pkg.Imports, pkg.TestImports, pkg.XTestImports) {
			if to, isOurs := inside(path); isOurs && matches(to, "cmd") {
				found = append(found, fmt.Sprintf("%s imports %s: nothing imports cmd", p, to))
			}
		}
	}
	return found
}

// isPure says whether a package is one of the pure ones or internal to one.
func isPure(within string) bool {
	return slices.ContainsFunc(pure, func(p string) bool {
		return within == p || strings.HasPrefix(within, p+"/internal/")
	})
}

// PureIsPure reports pure packages that rest on a client, or import the world.
func PureIsPure(g Graph) []string {
	var found []string
	for _, p := range g.ours() {
		if !isPure(p) {
			continue
		}
		if via := g.reach(Module+"/"+p, impure); via != nil {
			found = append(found, fmt.Sprintf("%s is pure but rests on a client: %s", p, strings.Join(via, " -> ")))
		}
		for _, path := range g.get(p).Imports {
			if matchesAny(path, outside) && !slices.Contains(harmless, path) {
				found = append(found, fmt.Sprintf("%s is pure but imports %s", p, path))
			}
		}
	}
	return found
}

// EnginesStayHome reports imports of the large libraries outside of their homes. Files
// maps a path within the module to the imports of each of its files, tests aside.
func EnginesStayHome(files map[string]FileImports) []string {
	var found []string
	for _, name := range sortedKeys(files) {
		f := files[name]
		if matches(f.Package, "test") {
			continue
		}
		for _, e := range engines {
			if matchesAny(f.Package, e.homes) || slices.Contains(e.files, f.Name) {
				continue
			}
			for _, path := range f.Imports {
				if matchesAny(path, e.paths) {
					found = append(found, fmt.Sprintf("%s imports %s: %s is imported in %s alone", name, path, e.name, strings.Join(slices.Concat(e.homes, e.files), " and ")))
				}
			}
		}
	}
	return found
}
