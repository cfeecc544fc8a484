package render

import (
	"fmt"
	"maps"
	"os"
	"path/filepath"
	"regexp"
	"slices"
	"strings"
	"sync"
	"testing"

	"tidegate.io/tidegate/schemas/cue/kit"
)

// kitted is a template that is made of the kit, with pairs of texts replaced.
func kitted(t testing.TB, pairs ...string) string {
	t.Helper()
	source := testdata(t, "kitted.cue")
	for i := 0; i < len(pairs); i += 2 {
		if !strings.Contains(source, pairs[i]) {
			t.Fatalf("kitted.cue does not have %q", pairs[i])
		}
		source = strings.Replace(source, pairs[i], pairs[i+1], 1)
	}
	return source
}

func TestAMistakeInWhatTheKitIsGivenIsShownInTheTemplate(t *testing.T) {
	for name, c := range map[string]struct {
		edits []string
		want  string
	}{
		"a typo in an input":             {[]string{"grace: 30", "grac: 30"}, "t.cue:16:59: _pod.#with.grac: field not allowed"},
		"an input of another type":       {[]string{"grace: 30", `grace: "30"`}, `t.cue:16:59: _pod.#with.grace: conflicting values "30" and int`},
		"an input that is missing":       {[]string{", grace: 30", ""}, "t.cue:16:1: _pod.spec.terminationGracePeriodSeconds: required field missing: grace"},
		"a setting that the kit has":     {[]string{"spec: template: _pod", "spec: {template: _pod, revisionHistoryLimit: 5}"}, "objects.deployment.spec.revisionHistoryLimit: conflicting values 1 and 5"},
		"a definition that it has not":   {[]string{"kit.#PDB", "kit.#PBD"}, "t.cue:24:14: objects.budget: undefined field: #PBD"},
		"a definition without its input": {[]string{" & {#with: app: _app}", ""}, "t.cue:24:10: #PDB.metadata.name: required field missing: app"},
		"a typo of the platform's":       {[]string{"_platform: kit.#Platform", `_platform: kit.#Platform & {pace: widnow: "60s"}`}, "t.cue:13:35: _platform.pace.widnow: field not allowed"},
		"a number for a time":            {[]string{"_platform: kit.#Platform", `_platform: kit.#Platform & {pace: window: 60}`}, `t.cue:13:35: _platform.pace.window: conflicting values 60 and "60s"`},
		"a package of the kit's":         {[]string{"tidegate.io/kit", "tidegate.io/kit/more"}, `t.cue:3:8: wanted an import of`},
		"another version of the kit":     {[]string{"tidegate.io/kit", "tidegate.io/kit@v1"}, `t.cue:3:8: wanted an import of`},
	} {
		t.Run(name, func(t *testing.T) {
			tpl, err := Compile(map[string]string{"t.cue": kitted(t, c.edits...)})
			if err == nil {
				_, err = tpl.Render([]byte(`{"image": "shop/cart:1"}`), cart)
			}
			wantSourceError(t, err, c.want)
			if err != nil && strings.HasPrefix(err.Error(), kitPlace) {
				t.Errorf("wanted no place within the kit, which the author did not write, got\n%v", err)
			}
		})
	}
}

func TestTheKitUnderAnotherName(t *testing.T) {
	source := strings.ReplaceAll(kitted(t), `import "tidegate.io/kit"`, `import helpers "tidegate.io/kit"`)
	tpl := compile(t, strings.ReplaceAll(source, "kit.#", "helpers.#"))
	got, err := tpl.Render([]byte(`{"image": "shop/cart:1"}`), cart)
	if err != nil {
		t.Fatal(err)
	}
	want, err := compile(t, kitted(t)).Render([]byte(`{"image": "shop/cart:1"}`), cart)
	if err != nil {
		t.Fatal(err)
	}
	if got.Digest != want.Digest {
		t.Errorf("wanted the same objects, found the digests %s and %s", got.Digest, want.Digest)
	}
}

// A template gets the files of the kit that it needs. Each definition has to stand with
// those alone that it is written with.
func TestEveryDefinitionOfTheKitStandsByItself(t *testing.T) {
	index := kitIndex()
	if len(index.declares) < 30 {
		t.Fatalf("wanted the definitions of the kit, found %d", len(index.declares))
	}
	for name, file := range index.declares {
		t.Run(name, func(t *testing.T) {
			picked := kitFiles(map[string]bool{name: true})
			if !slices.Contains(picked, file) {
				t.Errorf("wanted %s among the files, found %v", file, picked)
			}
			if all := len(kit.Files()); len(picked) == all {
				t.Errorf("wanted a part of the kit, found all %d files", all)
			}
			compile(t, edit(t, "package plain", "package plain\nimport \"tidegate.io/kit\"")+"\n_it: kit."+name+"\n")
		})
	}
}

// A pattern that is too large for the engine matches nothing, and says so nowhere.
func TestEveryPatternOfTheKitCompiles(t *testing.T) {
	// A =~ after a letter is of PromQL.
	literal := regexp.MustCompile(`(?m)(?:^|[^a-z_])=~#*"(.*?)"`)
	n := 0
	for file, source := range kit.Files() {
		for _, m := range literal.FindAllStringSubmatch(source, -1) {
			n++
			if _, err := regexp.Compile(m[1]); err != nil {
				t.Errorf("%s: %v", file, err)
			}
			if !strings.HasPrefix(m[1], "^") || !strings.HasSuffix(m[1], "$") {
				t.Errorf("%s: wanted a pattern from ^ to $, found %s", file, m[1])
			}
		}
	}
	if n < 15 {
		t.Errorf("wanted the patterns of the kit, found %d", n)
	}
}

func TestTheEngineNamesTheKit(t *testing.T) {
	if !regexp.MustCompile(`^v0\.[0-9]+\.[0-9]+\+kit\.[0-9a-f]{8}$`).MatchString(Engine()) || !strings.HasSuffix(Engine(), kit.Digest()[:kitDigits]) {
		t.Errorf("wanted a version with the digest of the kit, %s, found %s", kit.Digest(), Engine())
	}
	files := kit.Files()
	files["pod.cue"] = "changed"
	if maps.Equal(files, kit.Files()) {
		t.Error("wanted a copy of the kit's files, found that the kit itself was changed")
	}
}

func TestTheKitIsDescribed(t *testing.T) {
	page, err := os.ReadFile(filepath.Join("..", "..", "docs", "kit.md"))
	if err != nil {
		t.Fatal(err)
	}
	for name := range kitIndex().declares {
		if !strings.Contains(string(page), "\n### `"+name+"`\n") && !strings.Contains(string(page), "\n| `"+name+"` |") {
			t.Errorf("docs/kit.md: wanted a section or a row about %s, found none", name)
		}
	}
	_, example, _ := strings.Cut(string(page), "```cue\n")
	example, _, _ = strings.Cut(example, "```")
	if _, err := compile(t, example).RenderTwice([]byte(`{"image": "shop/cart:1"}`), cart); err != nil {
		t.Errorf("docs/kit.md: wanted a template that renders: %v", err)
	}
}

// Contexts must not share syntax; under the race detector this finds them doing it.
func TestTemplatesOfTheKitCompileAtTheSameTime(t *testing.T) {
	var wait sync.WaitGroup
	for i := range 8 {
		wait.Go(func() {
			tpl, err := Compile(map[string]string{"t.cue": kitted(t) + fmt.Sprintf("\n_n: %d\n", i)})
			if err != nil {
				t.Error(err)
				return
			}
			for range 4 {
				if _, err := tpl.Render([]byte(`{"image": "shop/cart:1"}`), cart); err != nil {
					t.Error(err)
				}
			}
		})
	}
	wait.Wait()
}
