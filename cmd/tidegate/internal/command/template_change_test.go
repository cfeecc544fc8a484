package command

import (
	"encoding/json"
	"fmt"
	"os"
	"path/filepath"
	"slices"
	"strings"
	"testing"

	metav1 "k8s.io/apimachinery/pkg/apis/meta/v1"
	"k8s.io/apimachinery/pkg/runtime"
	"sigs.k8s.io/controller-runtime/pkg/client"
	"sigs.k8s.io/controller-runtime/pkg/client/interceptor"

	"tidegate.io/tidegate/schemas/render"
	"tidegate.io/tidegate/schemas/v1alpha1"
)

// variant writes the template of testdata, edited by pairs of texts, into a directory called
// web.
func variant(t *testing.T, pairs ...string) string {
	t.Helper()
	dir := filepath.Join(t.TempDir(), "web")
	if err := os.Mkdir(dir, 0o700); err != nil {
		t.Fatal(err)
	}
	for name, text := range variantFiles(t, pairs...) {
		if err := os.WriteFile(filepath.Join(dir, name), []byte(text), 0o600); err != nil {
			t.Fatal(err)
		}
	}
	return dir
}

func variantFiles(t *testing.T, pairs ...string) map[string]string {
	t.Helper()
	files := templateFiles(t)
	for i := 0; i < len(pairs); i += 2 {
		if !strings.Contains(files["web.cue"], pairs[i]) {
			t.Fatalf("the template does not have %q", pairs[i])
		}
		files["web.cue"] = strings.Replace(files["web.cue"], pairs[i], pairs[i+1], 1)
	}
	return files
}

const (
	replicasWas = "replicas:      int & >=0 & <=100 | *2"
	stricter    = "replicas:      int & >=0 & <=4 | *2"
)

func TestDiffOfTwoDirectoriesHasTheStatedForm(t *testing.T) {
	for name, c := range map[string]struct {
		edits []string
		code  int
		want  []string // verdict, then path and verdict of each change
	}{
		"nothing":           {nil, ExitOK, []string{"safe"}},
		"a comment":         {[]string{"#Variables: {", "// words\n#Variables: {"}, ExitOK, []string{"safe"}},
		"a default":         {[]string{"<=100 | *2", "<=100 | *3"}, ExitOK, []string{"default-changed", "values.replicas default-changed"}},
		"a narrower bound":  {[]string{replicasWas, stricter}, ExitRenderFindings, []string{"breaking", "values.replicas breaking"}},
		"an added variable": {[]string{"#Variables: {", "#Variables: {\n\tteam?: string"}, ExitOK, []string{"safe", "values.team safe"}},
		"what is not known": {[]string{"#Variables: {", "#Variables: {\n\tif replicas > 3 {team?: string}"}, ExitRenderFindings, []string{"unknown", "values unknown"}},
	} {
		t.Run(name, func(t *testing.T) {
			w := newWorld(t, interceptor.Funcs{})
			w.wantCode(w.run(t.Context(), "template", "diff", "testdata/web", variant(t, c.edits...), "-o", "json"), c.code)
			var whole map[string]json.RawMessage
			var got render.Comparison
			if err := json.Unmarshal(w.out.Bytes(), &whole); err != nil {
				t.Fatalf("%v: %s", err, w.out.String())
			}
			if len(whole) != 2 {
				t.Errorf("wanted verdict and changes alone, found %s", w.out.String())
			}
			if err := json.Unmarshal(w.out.Bytes(), &got); err != nil || got.Changes == nil {
				t.Fatalf("%v: %s", err, w.out.String())
			}
			is := []string{string(got.Verdict)}
			for _, ch := range got.Changes {
				is = append(is, ch.Path+" "+string(ch.Verdict))
			}
			if !slices.Equal(is, c.want) {
				t.Errorf("found %q, wanted %q", is, c.want)
			}
			wantText(t, "err", w.err.String(), "")
		})
	}
}

func TestDiffIsATableForPeople(t *testing.T) {
	w := newWorld(t, interceptor.Funcs{})
	w.wantCode(w.run(t.Context(), "template", "diff", "testdata/web", variant(t, replicasWas, stricter)), ExitRenderFindings)
	wantPart(t, "out", w.out.String(), "VERDICT", "breaking   values.replicas   ", "it was accepted and is refused now; such as ", "#Variables: breaking, 1 changes\n")
}

func exportedReleases(template string) string {
	one := func(name, values, more string) string {
		return fmt.Sprintf("---\napiVersion: tidegate.io/v1alpha1\nkind: Release\nmetadata: {name: %s, namespace: shop}\nspec:\n  template: {name: %s%s}\n  values: %s\n", name, template, more, values)
	}
	return one("small", `{image: "shop/a:1", replicas: 1}`, "") + one("large", `{image: "shop/b:1", replicas: 9}`, "") +
		one("wrong", `{image: 7}`, "") + one("pinned", `{image: "shop/c:1", replicas: 9}`, ", revision: 1") +
		"---\napiVersion: v1\nkind: Namespace\nmetadata: {name: shop, labels: {team: a}}\n"
}

const policyText = `apiVersion: tidegate.io/v1alpha1
kind: DeployPolicy
metadata: {name: ports}
spec:
  at: [release]
  rego: |
    package p
    deny contains msg if {
      input.namespace.labels.team == "a"
      input.object.kind == "Deployment"
      some c in input.object.spec.template.spec.containers
      some p in c.ports
      p.containerPort == 9999
      msg := sprintf("port 9999 of %s is not for you", [input.release.name])
    }
`

func TestDiffRendersExportedReleases(t *testing.T) {
	releases := file(t, "releases.yaml", exportedReleases("web"))
	policy := file(t, "policy.yaml", policyText)
	port := []string{"| *8080", "| *9999"}
	for name, c := range map[string]struct {
		edits, args []string
		code        int
		want        []string
	}{
		"what would break is named with its message": {
			[]string{replicasWas, stricter},
			nil, ExitRenderFindings,
			[]string{
				"broken     shop/large\n    TG-VALUES-INVALID: values.replicas: wanted ", "was-broken shop/wrong\n    TG-VALUES-INVALID: values.image: ",
				"3 Releases: 1 unchanged, 0 change in place, 0 roll, 1 would break, 1 are broken as it is, 0 would be mended; policies would refuse 0; 1 pin a revision or follow a channel and stay\n",
			},
		},
		"what rolls is shown with its objects": {
			port,
			[]string{"--show-objects"},
			ExitOK,
			[]string{"rolls      shop/large\n    changed ", ".containerPort: 8080 -> 9999\n", "2 roll, 0 would break, 1 are broken as it is"},
		},
		"what policies would refuse is a finding": {
			port,
			[]string{"--policies", policy},
			ExitRenderFindings,
			[]string{"rolls      shop/small\n    denied: TG-POLICY-DENY: port 9999 of small is not for you (policy ports)\n", "policies would refuse 2"},
		},
	} {
		t.Run(name, func(t *testing.T) {
			w := newWorld(t, interceptor.Funcs{})
			args := append([]string{"template", "diff", "testdata/web", variant(t, c.edits...), "--releases", releases}, c.args...)
			w.wantCode(w.run(t.Context(), args...), c.code)
			wantPart(t, "out", w.out.String(), c.want...)
		})
	}
	t.Run("as JSON, with the impact beside the changes", func(t *testing.T) {
		for _, edits := range [][]string{{replicasWas, stricter}, nil} {
			w := newWorld(t, interceptor.Funcs{})
			w.in = exportedReleases("web")
			w.run(t.Context(), "template", "diff", "testdata/web", variant(t, edits...), "--releases", "-", "-o", "json")
			var got struct {
				Verdict string
				Impact  struct {
					Releases []struct{ Name, Effect, Code string }
					Summary  map[string]int
				}
			}
			if err := json.Unmarshal(w.out.Bytes(), &got); err != nil {
				t.Fatalf("%v: %s", err, w.out.String())
			}
			broken := len(edits) / 2
			if len(got.Impact.Releases) != 1+broken || got.Impact.Summary["broken"] != broken || got.Impact.Summary["held"] != 1 || got.Impact.Summary["releases"] != 3 {
				t.Errorf("found %+v", got)
			}
		}
	})
}

func TestDiffAgainstTheCluster(t *testing.T) {
	revision := func(number int64, files map[string]string) *v1alpha1.TemplateRevision {
		return &v1alpha1.TemplateRevision{
			ObjectMeta: metav1.ObjectMeta{Name: fmt.Sprintf("web-%d", number)},
			Spec:       v1alpha1.TemplateRevisionSpec{Template: "web", Number: number, Digest: render.Digest(files), Files: files},
		}
	}
	release := func(name, values, on string) *v1alpha1.Release {
		r := newRelease("shop", name, v1alpha1.ReleaseServing)
		r.Spec = v1alpha1.ReleaseSpec{Template: v1alpha1.TemplateReference{Name: "web"}, Values: &runtime.RawExtension{Raw: []byte(values)}}
		r.Status.TemplateRevision, r.Status.Assigned = on, &v1alpha1.AssignedRevision{Name: on}
		return r
	}
	objects := []client.Object{
		&v1alpha1.ReleaseTemplate{ObjectMeta: metav1.ObjectMeta{Name: "web"}, Spec: v1alpha1.ReleaseTemplateSpec{Sync: v1alpha1.TemplateSync{Type: v1alpha1.SyncStaged}}},
		revision(1, variantFiles(t)), revision(2, variantFiles(t, "<=100 | *2", "<=100 | *3")),
		release("old", `{"image": "shop/a:1"}`, "web-1"), release("new", `{"image": "shop/a:1"}`, "web-2"),
		&v1alpha1.DeployPolicy{ObjectMeta: metav1.ObjectMeta{Name: "few"}, Spec: v1alpha1.DeployPolicySpec{
			At: []v1alpha1.PolicyMoment{v1alpha1.AtRelease}, Rego: "package p\ndeny contains \"too many\" if input.object.spec.replicas > 2",
		}},
	}
	w := newWorld(t, interceptor.Funcs{}, objects...)
	w.wantCode(w.run(t.Context(), "template", "diff", variant(t, "<=100 | *2", "<=100 | *3")), ExitRenderFindings)
	wantPart(t, "err", w.err.String(), "compared with web-2, the newest revision\n")
	wantPart(t, "out", w.out.String(), "#Variables: safe, 0 changes\n", "in-place   shop/old (now web-1)\n    denied: TG-POLICY-DENY: too many (policy few)\n", "2 Releases: 1 unchanged, 1 change in place")
	if strings.Contains(w.out.String(), "shop/new") {
		t.Errorf("what stays as it is is listed: %s", w.out.String())
	}
	w.wantCode(w.run(t.Context(), "template", "diff", variant(t), "--template", "wbe"), ExitRenderFailed)
	wantPart(t, "err", w.err.String(), `"wbe"`, "did you mean web?", "--template")
}

func TestDiffSaysWhatItWants(t *testing.T) {
	releases := file(t, "releases.yaml", exportedReleases("web")+strings.ReplaceAll(exportedReleases("other"), "namespace: shop", "namespace: bank"))
	elsewhere := filepath.Join(filepath.Dir(variant(t)), "elsewhere")
	if err := os.CopyFS(elsewhere, os.DirFS("testdata/web")); err != nil {
		t.Fatal(err)
	}
	for name, c := range map[string]struct {
		args []string
		code int
		want string
	}{
		"no directory":                        {nil, ExitRenderFailed, "wanted one or two directories, found 0"},
		"another format":                      {[]string{"testdata/web", "testdata/web", "-o", "xml"}, ExitRenderFailed, `wanted table or json in --output, found "xml"`},
		"Releases with one directory":         {[]string{"testdata/web", "--releases", "x"}, ExitRenderFailed, "--releases goes with two directories"},
		"objects without Releases":            {[]string{"testdata/web", "testdata/web", "--show-objects"}, ExitRenderFailed, "--releases"},
		"a directory that is not there":       {[]string{"testdata/web", "testdata/gone"}, ExitRenderFailed, "testdata/gone"},
		"Releases of several templates":       {[]string{elsewhere, elsewhere, "--releases", releases}, ExitRenderFailed, "found those of other, web; say which are meant with --template"},
		"a template that does not compile":    {[]string{"testdata/web", variant(t, "#Variables: {", "#Variables: {{")}, ExitRenderFailed, "web/web.cue:62:3: "},
		"the same, as JSON":                   {[]string{"testdata/web", variant(t, "#Variables: {", "#Variables: {{"), "-o", "json"}, ExitRenderFailed, "web/web.cue:62:3: "},
		"an old one that does not compile":    {[]string{variant(t, "#Variables: {", "#Variables: {{"), "testdata/web"}, ExitRenderFailed, "web/web.cue:62:3: "},
		"a policy that does not compile":      {[]string{"testdata/web", "testdata/web", "--releases", releases, "--policies", file(t, "p.yaml", strings.Replace(policyText, "some c in", "some c on", 1))}, ExitRenderFailed, "compiling DeployPolicy ports"},
		"Releases that cannot be read at all": {[]string{"testdata/web", "testdata/web", "--releases", "testdata/gone"}, ExitRenderFailed, "testdata/gone"},
	} {
		t.Run(name, func(t *testing.T) {
			w := newWorld(t, interceptor.Funcs{})
			w.wantCode(w.run(t.Context(), append([]string{"template", "diff"}, c.args...)...), c.code)
			wantPart(t, "err", w.err.String(), c.want)
			wantText(t, "out", w.out.String(), "")
		})
	}
}
