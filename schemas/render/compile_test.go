package render

import (
	"errors"
	"fmt"
	"slices"
	"strings"
	"sync"
	"testing"
)

// edit is the template plain.cue with pairs of texts replaced; each has to be there.
func edit(t testing.TB, pairs ...string) string {
	t.Helper()
	return edited(t, "plain.cue", pairs)
}

// edited is a template of testdata with pairs of texts replaced; each has to be there.
func edited(t testing.TB, name string, pairs []string) string {
	t.Helper()
	source := testdata(t, name)
	for i := 0; i < len(pairs); i += 2 {
		if !strings.Contains(source, pairs[i]) {
			t.Fatalf("%s does not have %q", name, pairs[i])
		}
		source = strings.Replace(source, pairs[i], pairs[i+1], 1)
	}
	return source
}

func wantSourceError(t *testing.T, err error, want string) {
	t.Helper()
	var source *SourceError
	if !errors.As(err, &source) {
		t.Fatalf("wanted a SourceError with %q, got %v", want, err)
	}
	if !slices.ContainsFunc(source.Lines, func(l string) bool { return strings.Contains(l, want) }) {
		t.Errorf("wanted a line with %q, got:\n%s", want, err)
	}
}

func TestCompileRefuses(t *testing.T) {
	for name, c := range map[string]struct {
		edits []string
		want  string
	}{
		"a syntax error":                      {[]string{"replicas: int | *2", "replicas: int |"}, "t.cue:6:5: missing"},
		"a reference to nothing":              {[]string{"image: values.image", "image: valeus.image"}, `t.cue:28:12: objects.deployment.spec.template.spec.containers.image: reference "valeus" not found`},
		"a conflict":                          {[]string{`type: "canary"`, "type: \"canary\"\n\ttype: \"rolling\""}, "rollout.type: conflicting values"},
		"an import of another module":         {[]string{"package plain", "package plain\nimport \"example.com/x\""}, `t.cue:2:8: wanted an import of crypto/hmac`},
		"an import of a tool":                 {[]string{"package plain", "package plain\nimport \"tool/exec\"\n_x: exec"}, `found "tool/exec"`},
		"an embedded file":                    {[]string{"_set:", "@extern(embed)\n_secret: _ @embed(file=x.json)\n_set:"}, "found the attribute @embed"},
		"no #Variables":                       {[]string{"#Variables: {", "#Variabels: {", "values:  #Variables", "values:  #Variabels"}, "wanted #Variables, the closed struct of what a team may set, found none"},
		"open #Variables":                     {[]string{"env: [string]: string", "env: [string]: string\n\t..."}, "t.cue:3:1: wanted #Variables to be closed"},
		"#Variables that are no struct":       {[]string{"values:  #Variables", "values: #V\n#V: {image!: string, replicas: int, env: {}}", "#Variables: {", "#Variables: [string]\n_old: {"}, "wanted #Variables to be a struct, found list"},
		"no #Context":                         {[]string{"#Context: {", "#Contxt: {", "context: #Context", "context: #Contxt"}, "wanted #Context, the facts that Tidegate fills in, found none"},
		"a #Context that asks for more":       {[]string{"name: string,", "name: string, team!: string,"}, "wanted #Context to accept what Tidegate fills in (name, namespace, revision, template"},
		"a #Context of another type":          {[]string{"name: string,", "name: int,"}, "wanted #Context to accept what Tidegate fills in"},
		"values that are open":                {[]string{"values:  #Variables", "values: {#Variables, ...}"}, "wanted values: #Variables, found something that accepts more names"},
		"no objects":                          {[]string{"objects: deployment:", "_a: deployment:", "objects: service:", "_a: service:", "objects: route:", "_a: route:"}, "wanted objects, the Kubernetes objects"},
		"objects in a list":                   {[]string{"objects: deployment:", "objects: []\n_a: deployment:", "objects: service:", "_a: service:", "objects: route:", "_a: route:"}, "wanted objects to be a struct"},
		"no rollout":                          {[]string{"rollout: {", "_rollout: {"}, "wanted rollout, the strategy, found none"},
		"a misspelt section":                  {[]string{"rollout: {", "rolout: {"}, "did you mean rollout?"},
		"source that is nested too deep":      {[]string{"_set:", "_deep: " + strings.Repeat("[", 600) + strings.Repeat("]", 600) + "\n_set:"}, "wanted source nested at most 500 levels deep, found more"},
		"a long chain of operators":           {[]string{"_set:", "_sum: " + strings.Repeat("1+", 600) + "1\n_set:"}, "wanted source nested at most 500 levels deep, found more"},
		"a default outside of its bounds":     {[]string{"replicas: int | *2", "replicas: int & <=50 | *200"}, "values.replicas: wanted a default that is an integer of at most 50, found 200"},
		"a default that its pattern excludes": {[]string{"image!:   string", "image: =~\"^a\" | *\"b\""}, `values.image: wanted a default that is a string matching ^a, found "b"`},
		"a structural cycle":                  {[]string{"_set:", "_loop: {a: _loop}\n_set:"}, "structural cycle"},
	} {
		t.Run(name, func(t *testing.T) {
			_, err := Compile(map[string]string{"t.cue": edit(t, c.edits...)})
			wantSourceError(t, err, c.want)
		})
	}
}

func TestCompileRefusesFiles(t *testing.T) {
	plain := testdata(t, "plain.cue")
	many := map[string]string{}
	for i := range MaxSourceFiles + 1 {
		many[fmt.Sprintf("f%d.cue", i)] = "package plain"
	}
	for name, c := range map[string]struct {
		files map[string]string
		want  string
	}{
		"none":                 {nil, "wanted at least one CUE file"},
		"in folders":           {map[string]string{"a/t.cue": plain}, `found "a/t.cue"`},
		"of another kind":      {map[string]string{"t.cue": plain, "t.json": "{}"}, `found "t.json"`},
		"without a name":       {map[string]string{".cue": plain}, `found ".cue"`},
		"of two packages":      {map[string]string{"t.cue": plain, "u.cue": "package other"}, "u.cue:1:"},
		"too many":             {many, "wanted at most 32 files, found 33"},
		"too large":            {map[string]string{"t.cue": plain + strings.Repeat("// x\n", MaxSourceBytes/5)}, "wanted at most 262144 bytes"},
		"two with mistakes, 1": {map[string]string{"a.cue": "package plain\na: {", "b.cue": "package plain\nb: ["}, "a.cue:"},
		"two with mistakes, 2": {map[string]string{"a.cue": "package plain\na: {", "b.cue": "package plain\nb: ["}, "b.cue:"},
	} {
		t.Run(name, func(t *testing.T) {
			_, err := Compile(c.files)
			wantSourceError(t, err, c.want)
		})
	}
}

func TestCompileTakesFilesOfOnePackage(t *testing.T) {
	source, rollout, found := strings.Cut(testdata(t, "plain.cue"), "rollout: {")
	if !found {
		t.Fatal("plain.cue has no rollout")
	}
	tpl, err := Compile(map[string]string{"objects.cue": source, "rollout.cue": "package plain\n\nrollout: {" + rollout})
	if err != nil {
		t.Fatal(err)
	}
	if _, err := tpl.Render([]byte(`{"image": "a"}`), cart); err != nil {
		t.Error(err)
	}
}

func TestAContextMayLeaveFactsOut(t *testing.T) {
	tpl := compile(t, edit(t, "namespace: string, template: string, ", ""))
	if _, err := tpl.Render([]byte(`{"image": "a"}`), cart); err != nil {
		t.Error(err)
	}
}

func TestEngineIsAVersion(t *testing.T) {
	if !strings.HasPrefix(Engine(), "v0.") {
		t.Errorf("wanted a version such as v0.17.1, found %q", Engine())
	}
}

func TestDigestIsOfNamesAndSource(t *testing.T) {
	a := Digest(map[string]string{"a.cue": "x", "b.cue": "y"})
	if b := Digest(map[string]string{"b.cue": "y", "a.cue": "x"}); a != b {
		t.Errorf("wanted the same digest for the same files, found %s and %s", a, b)
	}
	if b := Digest(map[string]string{"a.cue": "y", "b.cue": "x"}); a == b {
		t.Error("wanted another digest for other files")
	}
	if len(a) != len("sha256:")+64 {
		t.Errorf("wanted sha256: and 64 hex digits, found %s", a)
	}
}

func TestCheckRunsTheTemplatesTests(t *testing.T) {
	for name, c := range map[string]struct{ tests, want string }{
		"none":                            {"", ""},
		"one that renders":                {`tests: a: values: image: "a"`, ""},
		"one that fails as it says":       {`tests: a: {values: {}, error: "^values.image"}`, ""},
		"one that fails and should not":   {`tests: a: values: {}`, "tests.a: wanted objects, found the error: values.image"},
		"one that should fail":            {`tests: a: {values: image: "a", error: "x"}`, `wanted an error matching "x", found that the values render`},
		"one that fails in another way":   {`tests: a: {values: {}, error: "port"}`, `wanted an error matching "port", found: values.image`},
		"one with a broken expression":    {`tests: a: {values: {}, error: "("}`, "wanted error to be a regular expression"},
		"one without values":              {`tests: a: {error: "x"}`, "wanted values, found none"},
		"one with values that are open":   {`tests: a: values: image: string`, "wanted concrete values"},
		"one with a field of its own":     {`tests: a: {values: image: "a", errors: "x"}`, "found the field errors"},
		"one that is no struct":           {`tests: a: 3`, "wanted a struct with values"},
		"two, of which the second is bad": {"tests: a: values: image: \"a\"\ntests: b: values: {}", "tests.b: "},
		"no struct of tests":              {`tests: [1]`, "wanted tests to be a struct"},
		"one that refers to nothing":      {`tests: a: values: image: _nobody`, `reference "_nobody" not found`},
		"one that contradicts itself":     {`tests: a: values: image: "a" & "b"`, "conflicting values"},
	} {
		t.Run(name, func(t *testing.T) {
			err := compile(t, testdata(t, "plain.cue")+"\n"+c.tests).Check()
			if c.want == "" {
				if err != nil {
					t.Errorf("wanted the tests to pass: %v", err)
				}
				return
			}
			wantSourceError(t, err, c.want)
		})
	}
}

// What is wrong with a test must not stop the Releases that use the template.
func TestWrongTestsKeepNoReleaseFromRendering(t *testing.T) {
	plain := testdata(t, "plain.cue")
	render := func(source string) *Result {
		t.Helper()
		res, err := compile(t, source).Render([]byte(`{"image":"shop/cart:1"}`), sample)
		if err != nil {
			t.Fatal(err)
		}
		return res
	}
	want := render(plain).Digest
	for name, tests := range map[string]string{
		"values that are open":       `tests: a: values: image: string`,
		"expectations that are open": `tests: a: {values: image: "a", expect: objects: deployment: spec: replicas: >1}`,
		"a reference to the values":  `tests: a: {"values": image: "a", expect: "objects": deployment: spec: replicas: values.replicas & 77}`,
		"a reference to nothing":     `tests: a: values: image: _nobody`,
		"a conflict":                 `tests: a: values: image: "a" & "b"`,
		"no struct":                  `tests: [1]`,
	} {
		t.Run(name, func(t *testing.T) {
			if got := render(plain + "\n" + tests).Digest; got != want {
				t.Errorf("wanted the objects of the same template without tests, found others: %s", got)
			}
		})
	}
}

// The engine refuses what is imported or bound and not used, and without the tests some is not.
func TestTestsMayUseWhatNothingElseDoes(t *testing.T) {
	const tests = `
let one = "shop/\(two)"
let two = strings.ToLower("CART:1")
tests: a: {values: image: one, expect: objects: deployment: spec: template: spec: containers: [{image: L.Join(["shop", "cart:1"], "/")}]}
`
	source := strings.Replace(testdata(t, "plain.cue"), "package plain\n", "package plain\n\nimport (\n\tL \"strings\"\n\t\"strings\"\n)\n", 1) + tests
	tpl := compile(t, source)
	if _, err := tpl.Render([]byte(`{"image":"a:1"}`), sample); err != nil {
		t.Errorf("wanted it to render without its tests: %v", err)
	}
	if err := tpl.Check(); err != nil {
		t.Errorf("wanted the test to pass: %v", err)
	}
	unused := strings.Replace(source, "\"strings\"\n)", "\"strings\"\n\t\"list\"\n)", 1)
	if _, err := Compile(map[string]string{"t.cue": unused}); err == nil || !strings.Contains(err.Error(), `imported and not used: "list"`) {
		t.Errorf("wanted an import that nothing uses to be refused, found %v", err)
	}
}

func TestCacheCompilesOnceAndForgetsTheOldest(t *testing.T) {
	var c Cache
	files := func(i int) map[string]string {
		return map[string]string{"t.cue": fmt.Sprintf("%s\n_n: %d\n", testdata(t, "plain.cue"), i)}
	}
	get := func(i int) *Template {
		t.Helper()
		tpl, err := c.Get(files(i))
		if err != nil {
			t.Fatal(err)
		}
		return tpl
	}
	first := get(0)
	var wait sync.WaitGroup
	for range 8 {
		wait.Go(func() {
			if tpl, err := c.Get(files(0)); err != nil || tpl != first {
				t.Errorf("wanted the template compiled before, got another or %v", err)
			}
		})
	}
	wait.Wait()
	for i := 1; i < CacheSize; i++ {
		get(i)
	}
	if get(0) != first {
		t.Error("wanted the template to be kept while there is room")
	}
	get(CacheSize) // drops 1, since 0 was just used
	if c.Len() != CacheSize {
		t.Errorf("wanted %d templates, found %d", CacheSize, c.Len())
	}
	if get(0) != first {
		t.Error("wanted the template that was used last to be kept")
	}
	if _, err := c.Get(map[string]string{"t.cue": "x:"}); err == nil {
		t.Error("wanted an error for source that does not compile")
	}
	if _, err := c.Get(nil); err == nil {
		t.Error("wanted an error for no source")
	}
}
