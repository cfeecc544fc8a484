package command

import (
	"encoding/json"
	"encoding/xml"
	"os"
	"path/filepath"
	"strings"
	"testing"

	corev1 "k8s.io/api/core/v1"
	metav1 "k8s.io/apimachinery/pkg/apis/meta/v1"
	"sigs.k8s.io/controller-runtime/pkg/client/interceptor"

	"tidegate.io/tidegate/schemas/v1alpha1"
)

const shippedTemplates = "../../../../schemas/templates"

const checkedRelease = `# a comment
apiVersion: tidegate.io/v1alpha1
kind: Release
metadata: {name: cart, namespace: shop}
spec:
  template: {name: web}
  values:
    image: ghcr.io/shop/cart:latest
`

const checkedPlain = `
apiVersion: v1
kind: List
items:
- apiVersion: apps/v1
  kind: Deployment
  metadata: {name: x}
  spec:
    template:
      spec:
        containers:
        - name: a
          image: nginx:latest
`

const goodPlain = "apiVersion: v1\nkind: ConfigMap\nmetadata: {name: x}\n"

// checkPolicy objects to ConfigMaps by one rule and warns by another.
const checkPolicy = `
apiVersion: tidegate.io/v1alpha1
kind: DeployPolicy
metadata: {name: no-x}
spec:
  match: {kinds: [{group: "", kinds: [ConfigMap]}]}
  rego: |
    package no_x
    deny contains "data.bad: wanted nothing, found some" if input.object.data.bad
    warn contains "data.odd: wanted nothing, found some" if input.object.data.odd
`

func written(t *testing.T, files map[string]string) string {
	t.Helper()
	dir := t.TempDir()
	for name, text := range files {
		path := filepath.Join(dir, name)
		if err := os.MkdirAll(filepath.Dir(path), 0o700); err != nil {
			t.Fatal(err)
		}
		if err := os.WriteFile(path, []byte(text), 0o600); err != nil {
			t.Fatal(err)
		}
	}
	return dir
}

func TestCheck(t *testing.T) {
	dir := written(t, map[string]string{
		"release.yaml": checkedRelease, "plain.yaml": checkedPlain, "good.yaml": goodPlain, "policy/p.yaml": checkPolicy, "empty.yaml": "# nothing\n",
		"values.yaml": "image: x\n", "binary.yaml": "a: \x00\x01", "broken.yaml": "kind: ConfigMap\nmetadata:\n\tname: x\n", "twice.yaml": "kind: ConfigMap\nkind: Secret\napiVersion: v1\n",
		"odd.yaml": goodPlain + "data: {odd: a}\n", "bad.yaml": goodPlain + "data:\n  bad: a\n", "foreign.yaml": strings.ReplaceAll(checkedRelease, "name: web", "name: unknown"),
		"invalid.yaml": strings.ReplaceAll(checkedRelease, "    image: ghcr.io/shop/cart:latest", "    imag: ghcr.io/shop/cart:latest"), "unknown.yaml": strings.ReplaceAll(checkedRelease, "  values:", "  valued:"),
		"mixed/good.yaml": goodPlain, "mixed/values.yaml": "image: x\n", "nothing/readme.md": "x",
		"wrong/p.yaml": strings.ReplaceAll(checkPolicy, "package no_x", "package"), "secret.yaml": "apiVersion: v1\nkind: Namespace\nmetadata: {name: x}\n",
		"pair/a.yaml": checkPolicy, "pair/bad.yaml": goodPlain + "data: {bad: a}\n", "docs.yaml": goodPlain + "---\n" + goodPlain + "data: {bad: a}\n---\n",
		"nolist.yaml":  "apiVersion: v1\nkind: List\n",
		"typed.yaml":   "apiVersion: v1\nkind: ConfigMapList\nitems:\n- metadata: {name: x}\n  data: {bad: a}\n- apiVersion: v1\n  kind: ConfigMap\n  metadata: {name: y}\n",
		"several.yaml": goodPlain + "---\n" + goodPlain + "data:\n  bad: a\n",
	})
	policy := filepath.Join(dir, "policy")
	at := func(name string) string { return filepath.Join(dir, name) }
	for name, tc := range map[string]struct {
		args []string
		in   string
		code int
		out  []string
		err  []string
	}{
		"what passes":                      {[]string{"-f", at("good.yaml"), "--policies", policy}, "", 0, []string{"passed   ConfigMap default/x", "1 objects, 1 judged: 0 errors"}, nil},
		"what is refused":                  {[]string{"-f", at("bad.yaml"), "--policies", policy}, "", 1, []string{"bad.yaml:5:3: error: TG-POLICY-DENY\n  data.bad: wanted nothing", "(policy no-x)"}, nil},
		"what passes with a warning":       {[]string{"-f", at("odd.yaml"), "--policies", policy}, "", 0, []string{"warned", "odd.yaml:4:8: warning"}, nil},
		"the second document":              {[]string{"-f", at("docs.yaml"), "--policies", policy}, "", 1, []string{"docs.yaml:8:8: error"}, nil},
		"policies among the files":         {[]string{"-f", at("pair")}, "", 1, []string{"passed   DeployPolicy no-x", "data.bad"}, []string{"judged by the 1 DeployPolicies among the files"}},
		"all that is shipped":              {[]string{"-f", at("plain.yaml")}, "", 1, []string{"plain.yaml:13:11: error: TG-IMAGE-TAG"}, []string{"all policies that Tidegate ships"}},
		"a namespace by the flag":          {[]string{"-f", at("good.yaml"), "--policies", policy, "-n", "other"}, "", 0, []string{"ConfigMap other/x"}, nil},
		"a Release, at the value":          {[]string{"-f", at("release.yaml"), "--templates", shippedTemplates, "--library", "image-tags"}, "", 1, []string{"release.yaml:8:5: error: TG-IMAGE-TAG"}, nil},
		"a template by its own folder":     {[]string{"-f", at("release.yaml"), "--templates", filepath.Join(shippedTemplates, "web"), "--library", "privileged"}, "", 0, []string{"passed"}, nil},
		"a Release with other values":      {[]string{"-f", at("invalid.yaml"), "--templates", shippedTemplates, "--library", "privileged"}, "", 1, []string{"invalid.yaml:8:5: error: TG-VALUES-INVALID", "values.imag"}, nil},
		"a Release with other fields":      {[]string{"-f", at("unknown.yaml"), "--templates", shippedTemplates, "--library", "privileged"}, "", 1, []string{"TG-REQUEST-MALFORMED", "spec.valued"}, nil},
		"a policy that is broken":          {[]string{"-f", at("wrong"), "--library", "privileged"}, "", 1, []string{"TG-POLICY-INVALID"}, nil},
		"a folder with other files":        {[]string{"-f", at("mixed"), "--policies", policy}, "", 0, []string{"1 objects"}, []string{"values.yaml holds no manifest"}},
		"standard input":                   {[]string{"-f", "-", "--policies", policy}, goodPlain, 0, []string{"stdin:1"}, nil},
		"what no policy is asked about":    {[]string{"-f", at("secret.yaml"), "--policies", policy}, "", 0, []string{"not judged  Namespace x"}, nil},
		"a template":                       {[]string{"-f", filepath.Join(shippedTemplates, "web"), "--policies", policy}, "", 0, []string{"Template web"}, nil},
		"no file":                          {nil, "", 2, nil, []string{"wanted --filename"}},
		"a file that is not there":         {[]string{"-f", at("gone.yaml")}, "", 2, nil, []string{"no such file"}},
		"a file with nothing in it":        {[]string{"-f", at("empty.yaml")}, "", 2, nil, []string{"wanted manifests in", "found nothing"}},
		"no input":                         {[]string{"-f", "-"}, "", 2, nil, []string{"wanted manifests in stdin, found nothing"}},
		"a folder with nothing in it":      {[]string{"-f", at("nothing")}, "", 2, nil, []string{"found none"}},
		"a file of bytes":                  {[]string{"-f", at("binary.yaml")}, "", 2, nil, []string{"binary.yaml:1:4: wanted YAML, found bytes that are no text"}},
		"YAML that is broken":              {[]string{"-f", at("broken.yaml")}, "", 2, nil, []string{"broken.yaml:3:1: wanted YAML, found a tab"}},
		"a key that stands twice":          {[]string{"-f", at("twice.yaml")}, "", 2, nil, []string{"twice.yaml:1: wanted a manifest", "already"}},
		"a list of one kind":               {[]string{"-f", at("typed.yaml"), "--policies", at("policy")}, "", 1, []string{"denied   ConfigMap default/x", "TG-POLICY-DENY", "2 objects, 2 judged: 1 errors"}, nil},
		"several documents":                {[]string{"-f", at("several.yaml"), "--policies", at("policy")}, "", 1, []string{"TG-POLICY-DENY", "2 objects, 2 judged: 1 errors"}, nil},
		"a List of nothing":                {[]string{"-f", at("nolist.yaml")}, "", 2, nil, []string{"wanted a List of objects"}},
		"values by name":                   {[]string{"-f", at("values.yaml")}, "", 2, nil, []string{"values.yaml:1: wanted a manifest, with apiVersion and kind"}},
		"an unknown flag":                  {[]string{"-f", at("good.yaml"), "--polices", policy}, "", 2, nil, []string{"found --polices; did you mean --policies"}},
		"an unknown form":                  {[]string{"-f", at("good.yaml"), "-o", "xml"}, "", 2, nil, []string{"wanted one of table, json, junit, sarif, github"}},
		"an argument":                      {[]string{at("good.yaml")}, "", 2, nil, []string{"wanted no arguments"}},
		"policies that are none":           {[]string{"-f", at("good.yaml"), "--policies", at("good.yaml")}, "", 2, nil, []string{"wanted DeployPolicies in"}},
		"policies that are broken":         {[]string{"-f", at("good.yaml"), "--policies", at("wrong")}, "", 2, nil, []string{"compiling"}},
		"a policy twice":                   {[]string{"-f", at("good.yaml"), "--policies", policy, "--policies", policy}, "", 2, nil, []string{`found "no-x" twice`}},
		"a shipped policy that is unknown": {[]string{"-f", at("good.yaml"), "--library", "probe"}, "", 2, nil, []string{`found "probe"`}},
		"a Release without template":       {[]string{"-f", at("foreign.yaml"), "--library", "probes"}, "", 2, nil, []string{"foreign.yaml:2: checking Release shop/cart", "--templates"}},
		"input twice":                      {[]string{"-f", "-", "--policies", "-"}, goodPlain, 2, nil, []string{"standard input can be read once"}},
	} {
		t.Run(name, func(t *testing.T) {
			w := newWorld(t, interceptor.Funcs{})
			w.in = tc.in
			w.wantCode(w.run(t.Context(), append([]string{"check"}, tc.args...)...), tc.code)
			wantPart(t, "out", w.out.String(), tc.out...)
			wantPart(t, "err", w.err.String(), tc.err...)
			if tc.code == 2 && w.out.Len() > 0 {
				t.Errorf("what could not run wrote %s", w.out.String())
			}
		})
	}
}

func TestCheckAsksTheCluster(t *testing.T) {
	dir := written(t, map[string]string{"bad.yaml": goodPlain + "data: {bad: a}\n", "ns.yaml": "apiVersion: v1\nkind: ConfigMap\nmetadata: {name: x, namespace: calm}\ndata: {bad: a}\n"})
	p := &v1alpha1.DeployPolicy{ObjectMeta: metav1.ObjectMeta{Name: "live"}, Spec: v1alpha1.DeployPolicySpec{
		Rego:  "package live\ndeny contains \"data.bad: wanted nothing\" if input.object.data.bad",
		Match: v1alpha1.PolicyMatch{NamespaceSelector: &metav1.LabelSelector{MatchLabels: map[string]string{"stage": "production"}}},
	}}
	ns := func(name, stage string) *corev1.Namespace {
		return &corev1.Namespace{ObjectMeta: metav1.ObjectMeta{Name: name, Labels: map[string]string{"stage": stage}}}
	}
	w := newWorld(t, interceptor.Funcs{}, p, ns("default", "production"), ns("calm", "test"))
	w.wantCode(w.run(t.Context(), "check", "--live", "-f", filepath.Join(dir, "bad.yaml")), 1)
	wantPart(t, "out", w.out.String(), "(policy live)")
	w.wantCode(w.run(t.Context(), "check", "--live", "-f", filepath.Join(dir, "ns.yaml")), 0)
}

// Other tools read these.
func TestFormsOfCheck(t *testing.T) {
	dir := written(t, map[string]string{"a b.yaml": checkedPlain, "p.yaml": checkPolicy})
	t.Chdir(dir)
	out := func(form string) []byte {
		w := newWorld(t, interceptor.Funcs{})
		w.wantCode(w.run(t.Context(), "check", "-f", "a b.yaml", "--library", "image-tags", "-o", form), 1)
		return w.out.Bytes()
	}
	var j struct {
		Summary map[string]int
		Objects []struct {
			Kind, Name, Namespace, File string
			Line                        int
			Findings                    []struct {
				Severity, Code, Policy, Message, Field, File string
				Line, Column                                 int
			}
		}
	}
	if err := json.Unmarshal(out("json"), &j); err != nil {
		t.Fatal(err)
	}
	if len(j.Objects) != 1 || len(j.Objects[0].Findings) != 1 || j.Summary["errors"] != 1 {
		t.Fatalf("found %+v", j)
	}
	f := j.Objects[0].Findings[0]
	if f.File != "a b.yaml" || f.Line != 13 || f.Column != 11 || f.Policy != "image-tags" || f.Severity != "error" || f.Field != "spec.template.spec.containers[0].image" {
		t.Errorf("found %+v", f)
	}
	var s struct {
		Schema  string `json:"$schema"`
		Version string
		Runs    []struct {
			Tool struct {
				Driver struct {
					Name  string
					Rules []struct{ ID string }
				}
			}
			Results []struct {
				RuleID    string
				RuleIndex int
				Level     string
				Message   struct{ Text string }
				Locations []struct {
					PhysicalLocation struct {
						ArtifactLocation struct{ URI string }
						Region           struct{ StartLine, StartColumn int }
					}
				}
				PartialFingerprints map[string]string
			}
		}
	}
	if err := json.Unmarshal(out("sarif"), &s); err != nil {
		t.Fatal(err)
	}
	if s.Version != "2.1.0" || !strings.Contains(s.Schema, "sarif-2.1.0") || len(s.Runs) != 1 || len(s.Runs[0].Results) != 1 {
		t.Fatalf("found %+v", s)
	}
	r := s.Runs[0].Results[0]
	if place := r.Locations[0].PhysicalLocation; place.ArtifactLocation.URI != "a%20b.yaml" || place.Region.StartLine != 13 || place.Region.StartColumn != 11 {
		t.Errorf("found %+v", place)
	}
	if s.Runs[0].Tool.Driver.Rules[r.RuleIndex].ID != r.RuleID || r.Level != "error" || r.Message.Text == "" || len(r.PartialFingerprints) == 0 {
		t.Errorf("found %+v", r)
	}
	var x struct {
		XMLName  xml.Name `xml:"testsuites"`
		Tests    int      `xml:"tests,attr"`
		Failures int      `xml:"failures,attr"`
		Suites   []struct {
			Cases []struct {
				Name    string `xml:"name,attr"`
				Failure []struct {
					Message string `xml:"message,attr"`
					Text    string `xml:",chardata"`
				} `xml:"failure"`
			} `xml:"testcase"`
		} `xml:"testsuite"`
	}
	if err := xml.Unmarshal(out("junit"), &x); err != nil {
		t.Fatal(err)
	}
	if x.Tests != 1 || x.Failures != 1 || len(x.Suites) != 1 || len(x.Suites[0].Cases) != 1 || len(x.Suites[0].Cases[0].Failure) != 1 || !strings.Contains(x.Suites[0].Cases[0].Failure[0].Text, "a b.yaml:13:11") {
		t.Errorf("found %+v", x)
	}
	if line := string(out("github")); !strings.HasPrefix(line, "::error file=a b.yaml,line=13,col=11,title=TG-IMAGE-TAG Deployment default/x::Deployment \"x\"") || strings.Count(line, "\n") != 1 {
		t.Errorf("found %s", line)
	}
}
