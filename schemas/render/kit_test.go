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
	return edited(t, "kitted.cue", pairs)
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

// docs/kit.md has a table of what Kubernetes takes and the kit's types refuse, with what to
// write instead.
func TestTheKitIsAsNarrowAsItsPageSays(t *testing.T) {
	tpl := compile(t, `package t

import "tidegate.io/kit"

#Variables: {
	memory?: kit.#Memory, disk?: kit.#Disk, cpu?: kit.#CPU
	schedule?: kit.#Schedule, zone?: kit.#TimeZone
	name?: kit.#EnvName, image?: kit.#Image, time?: kit.#Duration
	folder?: kit.#Folder, file?: kit.#FileName
}
#Context: kit.#Context
values:   #Variables
context:  #Context
objects: {}
rollout: {}
`)
	for name, c := range map[string]struct{ refused, accepted []string }{
		"memory":   {[]string{"512M", "1.5Gi", "1048576", "1e9", "0Mi"}, []string{"512Mi", "1536Mi"}},
		"disk":     {[]string{"500G", "1.5Gi", "1048576", "1e9", "0Gi", "500Ki"}, []string{"500Gi"}},
		"cpu":      {[]string{"0.0001", "1000", "0"}, []string{"250m", "1.5"}},
		"schedule": {[]string{"@every 5m", "*/5  * * * *", " */5 * * * *", "*/5 * * * * "}, []string{"*/5 * * * *"}},
		"zone":     {[]string{"Mars/Olympus"}, []string{"Etc/UTC"}},
		"name":     {[]string{"log.level", "log-level", "1ST"}, []string{"LOG_LEVEL"}},
		"image":    {[]string{"shop/cart"}, []string{"shop/cart:1.4.2"}},
		"time":     {[]string{"1.5h", "-1s", "1us"}, []string{"1h30m"}},
		"folder":   {[]string{"/var/a b", "/var/a+b"}, []string{"/var/cache"}},
		"file":     {[]string{"a b", "a+b"}, []string{"app.yaml"}},
	} {
		check := func(text string, wanted bool) {
			err := tpl.checkValues(parsed(map[string]any{name: text}), cart)
			if (err == nil) != wanted {
				t.Errorf("%s %q: wanted accepted to be %v, found %v", name, text, wanted, err)
			}
		}
		for _, text := range c.refused {
			check(text, false)
		}
		for _, text := range c.accepted {
			check(text, true)
		}
	}
}
