package command

import (
	"context"
	"encoding/json"
	"maps"
	"os"
	"path/filepath"
	"slices"
	"strings"
	"testing"

	apierrors "k8s.io/apimachinery/pkg/api/errors"
	"k8s.io/apimachinery/pkg/runtime"
	"k8s.io/apimachinery/pkg/runtime/schema"
	"sigs.k8s.io/controller-runtime/pkg/client"
	"sigs.k8s.io/controller-runtime/pkg/client/interceptor"
	"sigs.k8s.io/yaml"

	"tidegate.io/tidegate/schemas/render"
	"tidegate.io/tidegate/schemas/source"
	"tidegate.io/tidegate/schemas/templates"
	"tidegate.io/tidegate/schemas/v1alpha1"
)

// start makes the directory of a new template, with files changed: old text to new.
func start(t *testing.T, changes map[string][2]string) string {
	t.Helper()
	files, err := source.Start("web")
	if err != nil {
		t.Fatal(err)
	}
	for name, c := range changes {
		text := string(files[name])
		if !strings.Contains(text, c[0]) {
			t.Fatalf("%s does not have %q", name, c[0])
		}
		files[name] = []byte(strings.Replace(text, c[0], c[1], 1))
	}
	dir := filepath.Join(t.TempDir(), "web")
	if err := source.WriteNew(dir, files); err != nil {
		t.Fatal(err)
	}
	return dir
}

// add writes a file into a template's directory.
func add(t *testing.T, dir, name, text string) {
	t.Helper()
	path := filepath.Join(dir, filepath.FromSlash(name))
	if err := os.MkdirAll(filepath.Dir(path), 0o750); err != nil {
		t.Fatal(err)
	}
	if err := os.WriteFile(path, []byte(text), 0o600); err != nil {
		t.Fatal(err)
	}
}

func TestAnEndlessTemplateIsGivenUp(t *testing.T) {
	endless := make(chan struct{})
	t.Cleanup(func() { close(endless) })
	work := func() (string, error) {
		<-endless
		return "", nil
	}
	over, cancel := context.WithTimeoutCause(t.Context(), 0, errEndless)
	defer cancel()
	if _, err := unless(over, work); err == nil || !strings.Contains(err.Error(), "wanted the template to be done within 2m0s") {
		t.Errorf("wanted it to say that the template takes too long, found %v", err)
	}
	stopped, stop := context.WithCancel(t.Context())
	stop()
	if _, err := until(stopped, work); err == nil || err.Error() != "interrupted" {
		t.Errorf("wanted it to say that it was interrupted, found %v", err)
	}
	if value, err := until(t.Context(), func() (string, error) { return "done", nil }); value != "done" || err != nil {
		t.Errorf("wanted what the work returns, found %q, %v", value, err)
	}
}

func TestANewTemplateNeedsNoWork(t *testing.T) {
	dir := filepath.Join(t.TempDir(), "templates", "web")
	w := newWorld(t, interceptor.Funcs{})
	w.wantCode(w.run(t.Context(), "template", "init", "web", dir), ExitOK)
	wantPart(t, "out", w.out.String(), filepath.Join(dir, "variables.cue")+"\n", filepath.Join(dir, "cue.mod", "module.cue")+"\n")
	if strings.Contains(w.out.String(), "kit.cue") {
		t.Errorf("wanted the author's files alone to be listed, found\n%s", w.out.String())
	}
	values := file(t, "values.yaml", "image: shop/cart:1.2\n")
	for _, args := range [][]string{
		{"vet", dir},
		{"fmt", dir, "--check"},
		{"test", dir, "--min-coverage", "100"},
		{"schema", dir},
		{"bundle", dir},
		{"explain", dir},
		{"render", dir, "--values", values, "--name", "cart", "--namespace", "shop"},
	} {
		w.wantCode(w.run(t.Context(), append([]string{"template"}, args...)...), ExitOK)
		if args[0] != "render" {
			wantText(t, "err of "+args[0], w.err.String(), "")
		}
	}
	w.wantCode(w.run(t.Context(), "template", "init", "web", dir), ExitRenderFailed)
	wantPart(t, "err", w.err.String(), "found that it is there already")
}

func TestTheShippedTemplatesHaveNoFindings(t *testing.T) {
	for _, name := range templates.Names() {
		files, err := templates.Files(name)
		if err != nil {
			t.Fatal(err)
		}
		for _, f := range render.Vet(files, render.VetOptions{}) {
			t.Errorf("%s: %s", name, f)
		}
	}
}

func TestTemplateCommandsThatCannotRun(t *testing.T) {
	dir := start(t, nil)
	one := file(t, "one.cue", "package one\n")
	for name, c := range map[string]struct {
		args []string
		want string
	}{
		"no directory":             {[]string{"vet"}, "wanted one directory of a template, found 0 arguments"},
		"no such directory":        {[]string{"vet", "nowhere"}, "nowhere: no such file"},
		"a file":                   {[]string{"test", one}, "wanted a directory of CUE files, found the file"},
		"an empty directory":       {[]string{"schema", t.TempDir()}, "wanted CUE files (*.cue)"},
		"no such CRDs":             {[]string{"vet", dir, "--crd", "nowhere"}, "reading CRDs: nowhere"},
		"an unknown format":        {[]string{"vet", dir, "-o", "xml"}, `wanted json or yaml in --output, found "xml"`},
		"a broken expression":      {[]string{"test", dir, "--run", "("}, "wanted a regular expression in --run"},
		"no name":                  {[]string{"init"}, "wanted a name and perhaps a directory"},
		"a name that cannot be":    {[]string{"init", "Web!"}, "wanted a name of at most 40 lower case letters"},
		"a bundle's name":          {[]string{"bundle", dir, "--name", "Web!"}, "wanted a name of at most 40 lower case letters"},
		"an unknown variable":      {[]string{"explain", dir, "prot"}, "wanted a variable of the template (values.image, "},
		"an unknown flag":          {[]string{"fmt", dir, "--chek"}, "found --chek; did you mean --check?"},
		"render without a name":    {[]string{"render", dir}, "wanted the name of the Release in --name"},
		"render without a file":    {[]string{"render", dir, "--name", "a", "--values", "nowhere"}, "reading nowhere"},
		"an example not of values": {[]string{"vet", start(t, map[string][2]string{"examples/least.yaml": {"image: ", "- "}})}, "wanted a mapping of names to values"},
	} {
		t.Run(name, func(t *testing.T) {
			w := newWorld(t, interceptor.Funcs{})
			w.wantCode(w.run(t.Context(), append([]string{"template"}, c.args...)...), ExitRenderFailed)
			wantPart(t, "err", w.err.String(), "Error: ", c.want)
			wantText(t, "out", w.out.String(), "")
		})
	}
}

func TestTemplateCommandsSayWhereASourceIsWrong(t *testing.T) {
	dir := start(t, map[string][2]string{"variables.cue": {"healthPath: *", "healthPath: & *"}})
	for _, args := range [][]string{{"vet", dir}, {"test", dir}, {"schema", dir}, {"bundle", dir}, {"explain", dir}, {"fmt", dir}, {"render", dir, "--name", "a"}} {
		w := newWorld(t, interceptor.Funcs{})
		w.wantCode(w.run(t.Context(), append([]string{"template"}, args...)...), ExitRenderFindings)
		if !strings.HasPrefix(w.err.String(), "variables.cue:18:14: ") {
			t.Errorf("%s: wanted a line that begins with the place, found %q", args[0], w.err.String())
		}
		wantText(t, "out of "+args[0], w.out.String(), "")
	}
}

func TestVetPrintsFindings(t *testing.T) {
	dir := start(t, map[string][2]string{
		"template.cue":  {`to: "http"`, `to: "web"`},
		"variables.cue": {"\t// The port that the container listens on.\n", ""},
	})
	add(t, dir, "examples/bad.yaml", "image: nothing\n")
	w := newWorld(t, interceptor.Funcs{})
	w.wantCode(w.run(t.Context(), "template", "vet", dir), ExitRenderFindings)
	wantText(t, "out", w.out.String(), "")
	wantPart(t, "err", w.err.String(),
		"variables.cue:14:2: warning: values.port: wanted a comment",
		`error: objects.service: spec.ports, targetPort of 80: wanted the name of a container's port ("http"), found "web" (bad-port)`,
		"examples/bad.yaml: error: values.image: wanted an image with a tag")

	w.wantCode(w.run(t.Context(), "template", "vet", dir, "--errors-only", "-o", "json"), ExitRenderFindings)
	var report struct{ Findings []render.Finding }
	if err := json.Unmarshal(w.out.Bytes(), &report); err != nil {
		t.Fatal(err)
	}
	if len(report.Findings) != 2 || strings.Contains(w.err.String(), "warning") {
		t.Errorf("wanted the two errors, found %+v", report.Findings)
	}
}

func TestVetWithoutFindingsPrintsAnEmptyList(t *testing.T) {
	w := newWorld(t, interceptor.Funcs{})
	w.wantCode(w.run(t.Context(), "template", "vet", start(t, nil), "-o", "json"), ExitOK)
	wantText(t, "out", w.out.String(), "{\n  \"findings\": []\n}\n")
}

const routeCRD = `apiVersion: apiextensions.k8s.io/v1
kind: CustomResourceDefinition
metadata: {name: httproutes.gateway.networking.k8s.io}
spec:
  group: gateway.networking.k8s.io
  names: {kind: HTTPRoute, plural: httproutes}
  scope: Namespaced
  versions:
  - name: v1
    served: true
    storage: true
    schema:
      openAPIV3Schema:
        type: object
        properties:
          spec:
            type: object
            x-kubernetes-preserve-unknown-fields: true
            properties:
              hostnames: {type: array, minItems: 2, items: {type: string}}
`

func TestVetHoldsObjectsAgainstCRDs(t *testing.T) {
	for name, args := range map[string][]string{"in a file": {"--crd", file(t, "crd.yaml", routeCRD)}, "in the template's directory": nil} {
		t.Run(name, func(t *testing.T) {
			dir := start(t, nil)
			if args == nil {
				add(t, dir, "crds/route.yaml", routeCRD)
			}
			w := newWorld(t, interceptor.Funcs{})
			w.wantCode(w.run(t.Context(), append([]string{"template", "vet", dir}, args...)...), ExitRenderFindings)
			wantPart(t, "err", w.err.String(), "error: objects.route: wanted what the CRD of HTTPRoute allows, found spec.hostnames", "(crd-refuses)\n")
		})
	}
}

func TestVetAsksTheServer(t *testing.T) {
	applied := map[string]bool{}
	refuse := func(kind string, err error) interceptor.Funcs {
		return interceptor.Funcs{Apply: func(_ context.Context, _ client.WithWatch, o runtime.ApplyConfiguration, options ...client.ApplyOption) error {
			var set client.ApplyOptions
			for _, option := range options {
				option.ApplyToApply(&set)
			}
			if len(set.DryRun) == 0 {
				t.Error("wanted a dry run")
			}
			object := o.(interface {
				GetKind() string
				GetNamespace() string
			})
			applied[object.GetNamespace()+"/"+object.GetKind()] = true
			if object.GetKind() == kind {
				return err
			}
			return nil
		}}
	}
	dir := start(t, nil)
	w := newWorld(t, refuse("", nil))
	w.wantCode(w.run(t.Context(), "template", "vet", dir, "--server", "-n", "sandbox"), ExitOK)
	for _, kind := range []string{"Deployment", "Service", "PodDisruptionBudget", "HTTPRoute"} {
		if !applied["sandbox/"+kind] {
			t.Errorf("wanted the %s to be applied in the namespace of -n, found %v", kind, slices.Sorted(maps.Keys(applied)))
		}
	}
	w = newWorld(t, refuse("Service", apierrors.NewInvalid(schema.GroupKind{Kind: "Service"}, "x", nil)))
	w.wantCode(w.run(t.Context(), "template", "vet", dir, "--server", "-n", "sandbox"), ExitRenderFindings)
	wantPart(t, "err", w.err.String(), "error: objects.service: wanted the API server to take the Service, found that it refuses it in namespace sandbox: ", "is invalid", "(server-refuses)")

	w = newWorld(t, refuse("Service", context.DeadlineExceeded))
	w.wantCode(w.run(t.Context(), "template", "vet", dir, "--server"), ExitRenderFailed)
	wantPart(t, "err", w.err.String(), "Error: asking the cluster: context deadline exceeded")
}

func TestTemplateTestsPassAndFail(t *testing.T) {
	dir := start(t, map[string][2]string{"tests.cue": {"replicas: 2", "replicas: 3"}})
	w := newWorld(t, interceptor.Funcs{})
	w.wantCode(w.run(t.Context(), "template", "test", dir), ExitRenderFindings)
	wantPart(t, "out", w.out.String(), "FAIL  an image is enough\n", "ok    everything is set\n", "coverage: ")
	wantText(t, "err", w.err.String(), "tests.cue:5:2: tests.\"an image is enough\": expect.objects.deployment.spec.replicas: wanted 3, found 2\n")

	w.wantCode(w.run(t.Context(), "template", "test", dir, "--run", "typo"), ExitOK)
	wantText(t, "out", w.out.String(), "ok    a typo is an error\n")
	w.wantCode(w.run(t.Context(), "template", "test", dir, "--run", "nothing at all"), ExitRenderFindings)
	wantPart(t, "err", w.err.String(), `wanted tests whose name matches "nothing at all", found none`)

	w.wantCode(w.run(t.Context(), "template", "test", dir, "-o", "json"), ExitRenderFindings)
	var report struct {
		Tests []struct {
			Name     string
			Passed   bool
			Problems []string
		}
		Coverage struct {
			VariablesPercent, BranchesPercent int
			Variables                         []struct{ Path string }
		}
	}
	if err := json.Unmarshal(w.out.Bytes(), &report); err != nil {
		t.Fatal(err)
	}
	if len(report.Tests) != 4 || report.Tests[0].Passed || len(report.Tests[0].Problems) != 1 || !report.Tests[1].Passed || report.Coverage.VariablesPercent != 100 || len(report.Coverage.Variables) != 8 {
		t.Errorf("found %+v", report)
	}
}

func TestMissingCoverageIsAFinding(t *testing.T) {
	dir := start(t, map[string][2]string{"tests.cue": {"replicas:   6\n", "\n"}})
	w := newWorld(t, interceptor.Funcs{})
	w.wantCode(w.run(t.Context(), "template", "test", dir), ExitOK)
	wantPart(t, "out", w.out.String(), "coverage: 87 % of variables (7 of 8 set to another value than the default)", "variables.cue:21:2: values.replicas is never set to anything but its default\n")
	w.wantCode(w.run(t.Context(), "template", "test", dir, "--min-coverage", "88"), ExitRenderFindings)
	wantPart(t, "err", w.err.String(), "values.replicas is never set", "wanted tests that cover 88 % of the variables, found 87 %", "(low-coverage)")
	if strings.Contains(w.err.String(), "of the branches") {
		t.Errorf("wanted only what is missing, found\n%s", w.err.String())
	}
}

func TestGoldenFilesHoldWhatTestsRender(t *testing.T) {
	dir := start(t, nil)
	golden := filepath.Join(dir, filepath.FromSlash(source.GoldenDir))
	w := newWorld(t, interceptor.Funcs{})
	w.wantCode(w.run(t.Context(), "template", "test", dir, "-update"), ExitOK)
	text, err := os.ReadFile(filepath.Join(golden, "an-image-is-enough.yaml"))
	if err != nil {
		t.Fatal(err)
	}
	wantPart(t, "golden", string(text), "kind: Deployment\n", "  name: cart-REVISION\n", "kind: HTTPRoute\n", "rollout:\n", "type: canary\n")
	entries, err := os.ReadDir(golden)
	if err != nil || len(entries) != 2 {
		t.Errorf("wanted a file for each test that renders, found %v, %v", entries, err)
	}
	w.wantCode(w.run(t.Context(), "template", "test", dir), ExitOK)

	// What changes is reported, and so is what no test renders any more.
	add(t, dir, "more.cue", "package web\n\nobjects: deployment: spec: minReadySeconds: 5\n")
	add(t, dir, source.GoldenDir+"/gone.yaml", "a: 1\n")
	w.wantCode(w.run(t.Context(), "template", "test", dir), ExitRenderFindings)
	wantPart(t, "err", w.err.String(),
		`testdata/golden/an-image-is-enough.yaml:`, `found "minReadySeconds: 5"; look at the difference, then run: tidegate template test `+dir+" -update",
		"testdata/golden/gone.yaml: wanted a test that renders to it, found none")
	w.wantCode(w.run(t.Context(), "template", "test", dir, "--update"), ExitOK)
	wantPart(t, "err", w.err.String(), "wrote testdata/golden/everything-is-set.yaml\n", "removed testdata/golden/gone.yaml\n")
	w.wantCode(w.run(t.Context(), "template", "test", dir), ExitOK)
	wantText(t, "err", w.err.String(), "")

	if err := os.Remove(filepath.Join(golden, "everything-is-set.yaml")); err != nil {
		t.Fatal(err)
	}
	w.wantCode(w.run(t.Context(), "template", "test", dir), ExitRenderFindings)
	wantPart(t, "err", w.err.String(), "testdata/golden/everything-is-set.yaml: wanted a golden file of each test, found none")
	w.wantCode(w.run(t.Context(), "template", "test", dir, "--run", "image is enough"), ExitOK)
}

func TestGoldenFilesOfTestsOfOneNameAreApart(t *testing.T) {
	taken := map[string]bool{}
	for _, c := range []struct{ name, want string }{
		{"An image, no more!", "an-image-no-more.yaml"},
		{"an image: no more", "an-image-no-more-2.yaml"},
		{"...", "test.yaml"},
		{"日本", "test-2.yaml"},
		{strings.Repeat("ab ", 40), strings.TrimSuffix(strings.Repeat("ab-", 20), "-") + ".yaml"},
	} {
		got := slug(c.name, taken)
		taken[got] = true
		if got != c.want {
			t.Errorf("%q: wanted %s, found %s", c.name, c.want, got)
		}
	}
}

func TestFmtRewritesWhatIsNotFormatted(t *testing.T) {
	dir := start(t, map[string][2]string{"template.cue": {"replicas: values.replicas", "replicas:   values.replicas"}})
	w := newWorld(t, interceptor.Funcs{})
	w.wantCode(w.run(t.Context(), "template", "fmt", dir, "--check"), ExitRenderFindings)
	wantPart(t, "err", w.err.String(), "template.cue: wanted it formatted, found that it is not; run: tidegate template fmt ")
	w.wantCode(w.run(t.Context(), "template", "fmt", dir), ExitOK)
	wantText(t, "out", w.out.String(), filepath.Join(dir, "template.cue")+"\n")
	w.wantCode(w.run(t.Context(), "template", "fmt", dir), ExitOK)
	wantText(t, "out", w.out.String(), "")
}

func TestABundleIsAManifestOfTheSameDigest(t *testing.T) {
	dir := start(t, nil)
	s, err := source.Read(dir)
	if err != nil {
		t.Fatal(err)
	}
	for _, args := range [][]string{nil, {"-o", "yaml"}, {"-o", "json", "--name", "web"}} {
		w := newWorld(t, interceptor.Funcs{})
		w.wantCode(w.run(t.Context(), append([]string{"template", "bundle", dir}, args...)...), ExitOK)
		var got v1alpha1.ReleaseTemplate
		if err := yaml.UnmarshalStrict(w.out.Bytes(), &got); err != nil {
			t.Fatal(err)
		}
		if got.Name != "web" || got.Kind != "ReleaseTemplate" || render.Digest(got.Spec.Files) != s.Digest() {
			t.Errorf("%v: wanted the template, found %+v", args, got.ObjectMeta)
		}
	}
	add(t, dir, "tests.cue", "package web\n\ntests: a: values: {}\n")
	w := newWorld(t, interceptor.Funcs{})
	w.wantCode(w.run(t.Context(), "template", "bundle", dir), ExitRenderFindings)
	wantText(t, "out", w.out.String(), "")
	wantPart(t, "err", w.err.String(), "tests.cue:3:8: error: tests.a: wanted objects, found the error: values.image", "(test-fails)")
}

func TestExplainSaysWhatVariablesAre(t *testing.T) {
	dir := start(t, map[string][2]string{"variables.cue": {"replicas: *2 | int & >=0 & <=100", "replicas: *2 | int & >=0 & <=100 @immutable()"}})
	w := newWorld(t, interceptor.Funcs{})
	w.wantCode(w.run(t.Context(), "template", "explain", dir), ExitOK)
	wantPart(t, "out", w.out.String(), "VARIABLE ", "values.image ", " required ", "values.gateway.name ", `"public"`, "values.env.<name> ", "How many pods serve when no rollout is under way\n")
	w.wantCode(w.run(t.Context(), "template", "explain", dir, "replicas"), ExitOK)
	wantText(t, "out", w.out.String(), `values.replicas

  How many pods serve when no rollout is under way.

  wanted:   an integer from 0 to 100
  default:  2
  marks:    immutable
  example:  2
  declared: variables.cue:21:2
`)
	w.wantCode(w.run(t.Context(), "template", "explain", dir, "values.gateway", "-o", "json"), ExitOK)
	var v render.Variable
	if err := json.Unmarshal(w.out.Bytes(), &v); err != nil || v.Path != "values.gateway" {
		t.Errorf("found %+v, %v", v, err)
	}
	w.wantCode(w.run(t.Context(), "template", "explain", dir, "-o", "yaml"), ExitOK)
	wantPart(t, "out", w.out.String(), "path: values.image\n")
}

func TestTemplateRenderReportsMistakesLineByLine(t *testing.T) {
	dir := start(t, nil)
	w := newWorld(t, interceptor.Funcs{})
	w.wantCode(w.run(t.Context(), "template", "render", dir, "--name", "cart", "--namespace", "shop", "--values", file(t, "values.yaml", "replcas: 3\nport: 70000\n")), ExitRenderFindings)
	wantText(t, "out", w.out.String(), "")
	lines := strings.Split(strings.TrimSpace(w.err.String()), "\n")
	if len(lines) != 3 || !strings.HasPrefix(lines[0], "values.image: ") || !strings.HasPrefix(lines[1], "values.port: ") || !strings.HasPrefix(lines[2], "values.replcas: ") {
		t.Errorf("wanted a line for each mistake, found\n%s", w.err.String())
	}
}
