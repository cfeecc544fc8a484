package library_test

import (
	"encoding/json"
	"flag"
	"fmt"
	"maps"
	"os"
	"path"
	"path/filepath"
	"regexp"
	"slices"
	"strings"
	"testing"

	"github.com/google/go-cmp/cmp"
	"k8s.io/apimachinery/pkg/apis/meta/v1/unstructured"
	"sigs.k8s.io/yaml"

	"tidegate.io/tidegate/policies/eval"
	"tidegate.io/tidegate/policies/eval/regotest"
	"tidegate.io/tidegate/policies/library"
	"tidegate.io/tidegate/schemas/v1alpha1"
)

var update = flag.Bool("update", false, "write deploypolicy.yaml, golden.txt, the examples of README.md and the index again")

// index is the page that lists all shipped policies.
const index = "../../docs/policies-library.md"

// secretText is the secret of most samples of plain-secrets, and secretTexts are all: no
// message may have one.
const secretText = "hunter2"

var secretTexts = []string{secretText, "12345678", "AKIAIOSFODNN7EXAMPLE", "q7Zt1LxV9bKd3RfYw0Hc5NsPj8Ug2Ema"}

// shipped is a folder with a policy.yaml: its DeployPolicy is put together from the parts.
type shipped struct {
	name string
	// code is the one of its violations.
	code string
	// file is the policy, in Rego or in CUE; libs are those that it imports.
	file string
	libs []string
	// text is the DeployPolicy in YAML.
	text   string
	source eval.Source
}

func read(t testing.TB, parts ...string) string {
	t.Helper()
	raw, err := os.ReadFile(filepath.Join(parts...))
	if err != nil {
		t.Fatalf("reading a part of a policy: %v", err)
	}
	return string(raw)
}

func indented(text, by string) string {
	lines := strings.Split(strings.TrimRight(text, "\n"), "\n")
	for i, l := range lines {
		if l != "" {
			lines[i] = by + l
		}
	}
	return strings.Join(lines, "\n") + "\n"
}

var (
	codes   = regexp.MustCompile(`"(TG-[A-Z-]+)"`)
	imports = regexp.MustCompile(`(?m)^import data\.lib\.([a-z_]+)$`)
)

// imported are the libs of a module, with those that they import.
func imported(t testing.TB, text string) []string {
	var out []string
	for _, m := range imports.FindAllStringSubmatch(text, -1) {
		lib := filepath.Join("lib", m[1]+".rego")
		for _, l := range append([]string{lib}, imported(t, read(t, lib))...) {
			if !slices.Contains(out, l) {
				out = append(out, l)
			}
		}
	}
	slices.Sort(out)
	return out
}

// assemble puts the parts of a folder together.
func assemble(t testing.TB, name string) shipped {
	t.Helper()
	s := shipped{name: name}
	base := filepath.Join(name, strings.ReplaceAll(name, "-", "_"))
	for _, language := range []string{"rego", "cue"} {
		if _, err := os.Stat(base + "." + language); err != nil {
			continue
		}
		s.file = base + "." + language
		text := read(t, s.file)
		s.code = codes.FindStringSubmatch(text)[1]
		s.text = read(t, name, "policy.yaml") + "  " + language + ": |\n" + indented(text, "    ")
		s.libs = imported(t, text)
	}
	if len(s.libs) > 0 {
		s.text += "  libs:\n"
	}
	for _, lib := range s.libs {
		s.text += "    - |\n" + indented(read(t, lib), "      ")
	}
	var p v1alpha1.DeployPolicy
	if err := yaml.UnmarshalStrict([]byte(s.text), &p); err != nil {
		t.Fatalf("reading the parts of %s: %v", name, err)
	}
	s.source = eval.FromDeployPolicy(&p)
	return s
}

// each runs test for every folder with a policy.yaml.
func each(t *testing.T, test func(t *testing.T, s shipped)) {
	t.Helper()
	files, err := filepath.Glob("*/policy.yaml")
	if err != nil || len(files) < 25 {
		t.Fatalf("wanted at least 25 policies, found %d: %v", len(files), err)
	}
	for _, file := range files {
		t.Run(path.Dir(file), func(t *testing.T) { test(t, assemble(t, path.Dir(file))) })
	}
}

// forSamples is the policy with the parameters of its samples.
func (s shipped) forSamples(t testing.TB) *eval.Policy {
	t.Helper()
	source := s.source
	// Samples show what a policy says at either moment, also where it is asked at one.
	source.At = []v1alpha1.PolicyMoment{v1alpha1.AtAdmission, v1alpha1.AtRelease}
	if raw, err := os.ReadFile(filepath.Join(s.name, "samples", "parameters.yaml")); err == nil {
		if source.Parameters, err = yaml.YAMLToJSON(raw); err != nil {
			t.Fatalf("reading the parameters of samples: %v", err)
		}
	}
	return compile(t, source)
}

func compile(t testing.TB, s eval.Source) *eval.Policy {
	t.Helper()
	p, err := eval.Compile(s)
	if err != nil {
		t.Fatalf("Compile: %v", err)
	}
	return p
}

// samples are the objects of a folder, as JSON, by the name of the file.
func (s shipped) samples(t testing.TB, which string) map[string][]byte {
	t.Helper()
	files, err := filepath.Glob(filepath.Join(s.name, "samples", which, "*.yaml"))
	if err != nil || len(files) == 0 {
		t.Fatalf("wanted samples/%s, found none: %v", which, err)
	}
	out := map[string][]byte{}
	for _, file := range files {
		raw, err := yaml.YAMLToJSON([]byte(read(t, file)))
		if err != nil {
			t.Fatalf("reading a sample: %v", err)
		}
		out[strings.TrimSuffix(filepath.Base(file), ".yaml")] = raw
	}
	return out
}

// ask asks as the webhook does: about what is written, or about what a Release renders.
func ask(t testing.TB, p *eval.Policy, moment v1alpha1.PolicyMoment, object []byte) eval.Verdict {
	t.Helper()
	var u struct {
		APIVersion, Kind string
		Metadata         struct{ Name, Namespace string }
	}
	if err := json.Unmarshal(object, &u); err != nil {
		t.Fatalf("reading an object: %v", err)
	}
	var o unstructured.Unstructured
	o.SetAPIVersion(u.APIVersion)
	gvk := o.GroupVersionKind()
	gvk.Kind = u.Kind
	in, err := eval.SampleInput(moment, object)
	if err != nil {
		t.Fatalf("making the input: %v", err)
	}
	return eval.NewSet(p).Judge(t.Context(), eval.Question{Moment: moment, Group: gvk.Group, Kind: gvk.Kind, Namespace: "shop", Operation: "CREATE", Input: in})
}

func lines(v eval.Verdict) []string {
	var out []string
	for _, d := range v.Denials {
		out = append(out, d.String())
	}
	for _, w := range v.Warnings {
		out = append(out, "warning: "+w.String())
	}
	return out
}

func TestAShippedPolicyIsItsParts(t *testing.T) {
	each(t, func(t *testing.T, s shipped) {
		compile(t, s.source)
		file := filepath.Join(s.name, "deploypolicy.yaml")
		if *update {
			if err := os.WriteFile(file, []byte(s.text), 0o644); err != nil {
				t.Fatal(err)
			}
			return
		}
		if d := cmp.Diff(s.text, read(t, file)); d != "" {
			t.Errorf("%s is not what the parts say; run: go test ./policies/library -update\n%s", file, d)
		}
		p, err := library.Get(s.name)
		if err != nil || p.Name != s.name || p.Annotations[library.AnnotationTitle] == "" {
			t.Errorf("wanted the policy %s with a title, found %+v, %v", s.name, p, err)
		}
	})
}

func TestRegoOfShippedPolicies(t *testing.T) {
	each(t, func(t *testing.T, s shipped) {
		if strings.HasSuffix(s.file, ".rego") {
			regotest.RunWith(t, s.name, s.libs...)
		}
	})
}

func TestSamplesOfShippedPolicies(t *testing.T) {
	each(t, func(t *testing.T, s shipped) {
		p := s.forSamples(t)
		for name, object := range s.samples(t, "allowed") {
			for _, moment := range s.source.At {
				if got := lines(ask(t, p, moment, object)); len(got) > 0 {
					t.Errorf("allowed/%s at %s: %s", name, moment, strings.Join(got, "\n"))
				}
			}
		}
		golden := ""
		denied := s.samples(t, "denied")
		for _, name := range slices.Sorted(maps.Keys(denied)) {
			written, rendered := ask(t, p, v1alpha1.AtAdmission, denied[name]), ask(t, p, v1alpha1.AtRelease, denied[name])
			if len(written.Denials) == 0 && (len(written.Warnings) == 0 || s.name != "single-replica") {
				t.Errorf("denied/%s is not denied", name)
			}
			golden += fmt.Sprintf("== %s\n%s\n", name, strings.Join(lines(written), "\n"))
			s.wellSaid(t, name, written, rendered)
		}
		for _, secret := range secretTexts {
			if strings.Contains(golden, secret) {
				t.Errorf("a message has the secret %s", secret)
			}
		}
		file := filepath.Join(s.name, "golden.txt")
		if *update {
			if err := os.WriteFile(file, []byte(golden), 0o644); err != nil {
				t.Fatal(err)
			}
			return
		}
		if d := cmp.Diff(read(t, file), golden); d != "" {
			t.Errorf("%s (-wanted +found): %s", file, d)
		}
	})
}

var threeParts = regexp.MustCompile(`(?s)^(.+, )?.+: wanted .+, found .+$|\(.+: wanted .+, found .+\)$`)

// wellSaid checks that each violation has the code of its policy and three parts, and that
// the same is said about what a Release renders, with the Release to edit.
func (s shipped) wellSaid(t *testing.T, name string, written, rendered eval.Verdict) {
	t.Helper()
	a, b := slices.Concat(written.Denials, written.Warnings), slices.Concat(rendered.Denials, rendered.Warnings)
	if len(a) != len(b) {
		t.Errorf("denied/%s: wanted the same at admission and release, found %d and %d", name, len(a), len(b))
		return
	}
	for i, v := range a {
		if v.Code != s.code || !threeParts.MatchString(v.Message) || v.Fix == "" {
			t.Errorf("denied/%s: wanted code %s, wanted, found and do; found %s", name, s.code, v)
		}
		if b[i].Message != v.Message {
			t.Errorf("denied/%s: at release: %s", name, b[i])
		}
		if strings.HasSuffix(s.file, ".rego") && len(s.libs) > 0 && !strings.Contains(v.Message, "DeployPolicy") &&
			!strings.Contains(b[i].Fix, "kubectl edit release cart -n shop") {
			t.Errorf("denied/%s: wanted the Release to edit, found %s", name, b[i].Fix)
		}
	}
}

func TestSamplesReachEveryLine(t *testing.T) {
	libs := map[string]*regotest.Coverage{}
	var union []string
	missing := map[string]int{}
	each(t, func(t *testing.T, s shipped) {
		if !strings.HasSuffix(s.file, ".rego") {
			t.Skip("not in Rego")
		}
		c := regotest.NewCoverage(t, append([]string{s.file}, s.libs...)...)
		tests := rawInputs(t, s)
		c.Eval(t, s.file, tests...)
		libs[s.name] = c
		for _, m := range c.Missing() {
			if strings.HasPrefix(m, "lib/") {
				missing[m]++
				continue
			}
			t.Errorf("no sample reaches %s", m)
		}
		union = append(union, s.libs...)
	})
	uses := map[string]int{}
	for _, lib := range union {
		uses[lib]++
	}
	for m, n := range missing {
		if file, _, _ := strings.Cut(m, ":"); n == uses[file] {
			t.Errorf("no sample of any policy reaches %s", m)
		}
	}
}

// rawInputs are the inputs of all samples, as the policy sees them at both moments.
func rawInputs(t testing.TB, s shipped) [][]byte {
	t.Helper()
	p := s.parameters(t)
	var out [][]byte
	for _, which := range []string{"allowed", "denied"} {
		for _, object := range s.samples(t, which) {
			for _, release := range []string{"", `"release": {"name": "cart", "namespace": "shop", "template": "web"}, `} {
				for _, parameters := range p {
					out = append(out, fmt.Appendf(nil, `{%s"request": {"operation": "CREATE", "namespace": "shop"}, "parameters": %s, "object": %s}`, release, parameters, object))
				}
			}
		}
	}
	return out
}

// parameters are those of the samples, and others that samples/parameters-*.yaml have.
func (s shipped) parameters(t testing.TB) [][]byte {
	t.Helper()
	files, err := filepath.Glob(filepath.Join(s.name, "samples", "parameters*.yaml"))
	if err != nil {
		t.Fatal(err)
	}
	own := []string{"{}"}
	for _, file := range files {
		own = append(own, read(t, file))
	}
	var out [][]byte
	for _, text := range own {
		values := s.defaults(t)
		var given map[string]any
		if err := yaml.Unmarshal([]byte(text), &given); err != nil {
			t.Fatalf("reading parameters: %v", err)
		}
		maps.Copy(values, given)
		raw, err := json.Marshal(values)
		if err != nil {
			t.Fatal(err)
		}
		out = append(out, raw)
	}
	return out
}

// defaults are those of the schema.
func (s shipped) defaults(t testing.TB) map[string]any {
	t.Helper()
	out := map[string]any{}
	for name, p := range s.schema(t) {
		out[name] = p["default"]
	}
	return out
}

func (s shipped) schema(t testing.TB) map[string]map[string]any {
	t.Helper()
	var schema struct{ Properties map[string]map[string]any }
	if len(s.source.ParametersSchema) > 0 {
		if err := json.Unmarshal(s.source.ParametersSchema, &schema); err != nil {
			t.Fatalf("reading the schema: %v", err)
		}
	}
	return schema.Properties
}

func TestParametersAreCheckedAndHaveDefaults(t *testing.T) {
	each(t, func(t *testing.T, s shipped) {
		for name, p := range s.schema(t) {
			if p["description"] == nil || p["default"] == nil {
				t.Errorf("parameter %s: wanted a description and a default", name)
			}
			wrong := s.source
			wrong.Parameters = fmt.Appendf(nil, `{%q: {"no": "such"}}`, name)
			if _, err := eval.Compile(wrong); err == nil {
				t.Errorf("parameter %s takes an object", name)
			}
		}
		unknown := s.source
		unknown.Parameters = []byte(`{"misspelt": 1}`)
		if _, err := eval.Compile(unknown); err == nil && len(s.schema(t)) > 0 {
			t.Error("a misspelt parameter is taken")
		}
	})
}

func TestPagesOfShippedPolicies(t *testing.T) {
	var rows strings.Builder
	each(t, func(t *testing.T, s shipped) {
		file := filepath.Join(s.name, "README.md")
		page := read(t, file)
		_, after, _ := strings.Cut(read(t, s.name, "golden.txt"), "\n")
		example, _, _ := strings.Cut(after, "\n")
		example = strings.TrimPrefix(example, "warning: ")
		if *update {
			start, rest, _ := strings.Cut(page, "```\n")
			_, end, _ := strings.Cut(rest, "\n```")
			page = start + "```\n" + example + "\n```" + end
			if err := os.WriteFile(file, []byte(page), 0o644); err != nil {
				t.Fatal(err)
			}
		}
		for _, part := range append([]string{"# " + s.name + "\n", "**Why.**", "**How to fix it.**", "`" + s.code + "`", "```\n" + example + "\n```"}, slices.Collect(maps.Keys(s.schema(t)))...) {
			if !strings.Contains(page, part) {
				t.Errorf("wanted %q in %s; run: go test ./policies/library -update", part, file)
			}
		}
		language := strings.TrimPrefix(filepath.Ext(s.file), ".")
		p, err := library.Get(s.name)
		if err != nil {
			t.Fatal(err)
		}
		fmt.Fprintf(&rows, "| [%s](../policies/library/%s/README.md) | %s | `%s` | %s |\n", s.name, s.name, p.Annotations[library.AnnotationTitle], s.code, map[string]string{"rego": "Rego", "cue": "CUE"}[language])
	})
	const begin, end = "<!-- generated: go test ./policies/library -update -->\n", "<!-- end -->\n"
	page := read(t, index)
	before, rest, ok1 := strings.Cut(page, begin)
	found, after, ok2 := strings.Cut(rest, end)
	if !ok1 || !ok2 {
		t.Fatalf("wanted the marks of the generated part in %s", index)
	}
	want := "| policy | what | code | in |\n|---|---|---|---|\n" + rows.String()
	if *update {
		if err := os.WriteFile(index, []byte(before+begin+want+end+after), 0o644); err != nil {
			t.Fatal(err)
		}
		return
	}
	if d := cmp.Diff(want, found); d != "" {
		t.Errorf("%s is old; run: go test ./policies/library -update\n%s", index, d)
	}
}

// What is denied in a container of a Deployment is denied in every other place where it can
// stand as well.
func TestNoPlaceIsOverlooked(t *testing.T) {
	places := map[string]func(pod map[string]any) map[string]any{
		"Pod": func(p map[string]any) map[string]any {
			return map[string]any{"apiVersion": "v1", "kind": "Pod", "spec": p}
		},
		"PodTemplate": func(p map[string]any) map[string]any {
			return map[string]any{"apiVersion": "v1", "kind": "PodTemplate", "template": map[string]any{"spec": p}}
		},
		"ReplicationController": func(p map[string]any) map[string]any {
			return map[string]any{"apiVersion": "v1", "kind": "ReplicationController", "spec": map[string]any{"template": map[string]any{"spec": p}}}
		},
		"Job": func(p map[string]any) map[string]any {
			return map[string]any{"apiVersion": "batch/v1", "kind": "Job", "spec": map[string]any{"template": map[string]any{"spec": p}}}
		},
		"CronJob": func(p map[string]any) map[string]any {
			return map[string]any{"apiVersion": "batch/v1", "kind": "CronJob", "spec": map[string]any{"jobTemplate": map[string]any{"spec": map[string]any{"template": map[string]any{"spec": p}}}}}
		},
		"List": func(p map[string]any) map[string]any {
			return map[string]any{"apiVersion": "v1", "kind": "List", "items": []any{map[string]any{"apiVersion": "v1", "kind": "Pod", "spec": p}}}
		},
	}
	for _, kind := range []string{"Deployment", "StatefulSet", "DaemonSet", "ReplicaSet"} {
		places[kind] = func(p map[string]any) map[string]any {
			return map[string]any{"apiVersion": "apps/v1", "kind": kind, "spec": map[string]any{"template": map[string]any{"spec": p}}}
		}
	}
	harmless := map[string]any{"name": "a", "image": "ghcr.io/shop/a:1"}
	for name, bad := range map[string]map[string]any{
		"image-tags":              {"image": "a:latest"},
		"image-pull-policy":       {"image": "a:1", "imagePullPolicy": "Never"},
		"privileged":              {"securityContext": map[string]any{"privileged": true, "allowPrivilegeEscalation": false}},
		"pod-security-baseline":   {"securityContext": map[string]any{"privileged": true}},
		"pod-security-restricted": {"securityContext": map[string]any{"runAsUser": 0}},
		"host-access":             {"ports": []any{map[string]any{"hostPort": 80}}},
		"capabilities":            {"securityContext": map[string]any{"capabilities": map[string]any{"add": []any{"SYS_ADMIN"}}}},
		"seccomp":                 {"securityContext": map[string]any{"seccompProfile": map[string]any{"type": "Unconfined"}}},
		"run-as-non-root":         {"securityContext": map[string]any{"runAsUser": 0}},
		"plain-secrets":           {"env": []any{map[string]any{"name": "TOKEN", "value": secretText}}},
		"read-only-root":          {"securityContext": map[string]any{"readOnlyRootFilesystem": false}},
	} {
		p := compile(t, assemble(t, name).source)
		for place, object := range places {
			for _, sort := range []string{"initContainers", "containers", "ephemeralContainers"} {
				t.Run(name+" in "+sort+" of "+place, func(t *testing.T) {
					raw, err := json.Marshal(object(map[string]any{sort: []any{harmless, bad}}))
					if err != nil {
						t.Fatal(err)
					}
					got := ask(t, p, v1alpha1.AtAdmission, raw)
					if !slices.ContainsFunc(got.Denials, func(v eval.Violation) bool { return strings.Contains(v.Message, sort+"[1]") }) {
						t.Errorf("wanted a denial of %s[1], found %q", sort, lines(got))
					}
				})
			}
		}
	}
}

// odd are objects that nobody writes on purpose. A policy has an answer to all of them, and
// none is that it failed.
var odd = []string{
	`{}`, `null`, `{"kind": null}`, `{"kind": 1, "spec": 1}`, `{"kind": "List", "items": null}`, `{"kind": "List", "items": [null, 1, "a", [], {}]}`,
	`{"kind": "List", "items": {"a": 1}}`, `{"kind": "Pod"}`, `{"kind": "Pod", "spec": null}`, `{"kind": "Pod", "spec": []}`, `{"kind": "Pod", "metadata": [], "spec": {}}`,
	`{"kind": "Pod", "spec": {"containers": null, "volumes": null}}`, `{"kind": "Pod", "spec": {"containers": {}, "volumes": {}}}`, `{"kind": "Pod", "spec": {"containers": "a"}}`,
	`{"kind": "Pod", "spec": {"containers": [null, 1, "a", [], {}], "volumes": [null, 1, "a", [], {}]}}`,
	`{"kind": "Pod", "spec": {"securityContext": 1, "containers": [{"securityContext": "a", "image": 1, "env": 1, "ports": [1], "resources": 1, "args": [1], "command": 1, "volumeMounts": [1], "name": 1}]}}`,
	`{"kind": "Pod", "metadata": {"name": 1, "labels": 1, "annotations": {"a": 1}}, "spec": {"containers": [{"resources": {"limits": {"cpu": [], "memory": -1}, "requests": {"cpu": "", "memory": {}}}}], "volumes": [{"hostPath": 1, "projected": {"sources": 1}}]}}`,
	`{"kind": "Deployment", "spec": {"replicas": {}, "template": 1}}`, `{"kind": "Deployment", "spec": {"replicas": "1", "template": {"spec": {"affinity": 1, "topologySpreadConstraints": [1]}}}}`,
	`{"kind": "CronJob", "spec": {"jobTemplate": []}}`, `{"kind": "Job", "spec": {"backoffLimit": "a"}}`, `{"kind": "ConfigMap", "data": {"a": 1, "b": null, "c": []}}`,
	`{"kind": "Service", "spec": {"type": [], "ports": [1, null], "externalIPs": 1}}`, `{"kind": "Ingress", "spec": {"rules": [1, {"host": 1}], "tls": [1]}}`, `{"kind": "HTTPRoute", "spec": {"hostnames": [1, null]}}`,
	`{"kind": "PodDisruptionBudget", "spec": {"minAvailable": "a%", "maxUnavailable": {}, "selector": 1}}`, `{"kind": "HorizontalPodAutoscaler", "spec": 1}`,
}

func TestAnOddObjectIsNoReasonToFail(t *testing.T) {
	each(t, func(t *testing.T, s shipped) {
		s.source.Match = v1alpha1.PolicyMatch{}
		p := s.forSamples(t)
		for _, text := range odd {
			in, err := eval.NewInput(map[string]any{"object": json.RawMessage(text)})
			if err != nil {
				t.Fatal(err)
			}
			if _, err := p.Eval(t.Context(), in); err != nil {
				t.Errorf("%s: %v", text, err)
			}
		}
	})
}

// While Tidegate rolls out, it makes workloads with fewer replicas than are rendered. A policy
// that wants a number must not be asked about those, or it would stop every rollout.
func TestASmallSetIsNoReasonToRefuseARollout(t *testing.T) {
	var deployment map[string]any
	if err := json.Unmarshal(assemble(t, "image-tags").samples(t, "allowed")["deployment"], &deployment); err != nil {
		t.Fatal(err)
	}
	each(t, func(t *testing.T, s shipped) {
		p := compile(t, s.source)
		for _, replicas := range []int{0, 1} {
			if err := unstructured.SetNestedField(deployment, int64(replicas), "spec", "replicas"); err != nil {
				t.Fatal(err)
			}
			raw, err := json.Marshal(deployment)
			if err != nil {
				t.Fatal(err)
			}
			if got := lines(ask(t, p, v1alpha1.AtAdmission, raw)); len(got) > 0 {
				t.Errorf("%d replicas: %q", replicas, got)
			}
		}
	})
}

// What passes one shipped policy as it comes passes all of them.
func TestAGoodWorkloadPassesAllPolicies(t *testing.T) {
	good := assemble(t, "image-tags").samples(t, "allowed")
	each(t, func(t *testing.T, s shipped) {
		p := compile(t, s.source)
		for _, kind := range []string{"deployment", "statefulset", "daemonset", "job", "cronjob"} {
			for _, moment := range s.source.At {
				if got := lines(ask(t, p, moment, good[kind])); len(got) > 0 {
					t.Errorf("%s at %s: %q", kind, moment, got)
				}
			}
		}
	})
}

// BenchmarkAllPolicies is what a Deployment costs that all shipped policies are asked about.
func BenchmarkAllPolicies(b *testing.B) {
	files, err := filepath.Glob("*/policy.yaml")
	if err != nil {
		b.Fatal(err)
	}
	var policies []*eval.Policy
	for _, file := range files {
		policies = append(policies, compile(b, assemble(b, path.Dir(file)).source))
	}
	set := eval.NewSet(policies...)
	object := assemble(b, "image-tags").samples(b, "allowed")["deployment"]
	b.SetBytes(int64(len(object)))
	b.ReportAllocs()
	for b.Loop() {
		in, err := eval.RequestInput(v1alpha1.AtAdmission, eval.Request{Operation: "CREATE", Namespace: "shop", Object: object})
		if err != nil {
			b.Fatal(err)
		}
		v := set.Judge(b.Context(), eval.Question{Moment: v1alpha1.AtAdmission, Group: "apps", Kind: "Deployment", Namespace: "shop", Operation: "CREATE", Input: in})
		if len(v.Denials) > 0 {
			b.Fatal(lines(v))
		}
	}
}

// The pages say which policies the shipped templates do not fit as both come; all others they do.
func TestShippedTemplatesFitAllPoliciesButThese(t *testing.T) {
	unfit := []string{"disruption-budget", "image-pull-policy", "ingress-hosts", "labels", "probes", "service-accounts"}
	files, err := filepath.Glob("../../schemas/templates/testdata/*.example-*.json")
	if err != nil || len(files) < 6 {
		t.Fatalf("wanted examples of the shipped templates, found %d: %v", len(files), err)
	}
	var objects [][]byte
	for _, file := range files {
		var tree any
		if err := json.Unmarshal([]byte(read(t, file)), &tree); err != nil {
			t.Fatal(err)
		}
		objects = appendObjects(t, objects, tree)
	}
	if len(objects) < len(files) {
		t.Fatalf("wanted objects in the examples, found %d", len(objects))
	}
	each(t, func(t *testing.T, s shipped) {
		p, said := compile(t, s.source), []string(nil)
		for _, object := range objects {
			said = append(said, lines(ask(t, p, v1alpha1.AtRelease, object))...)
		}
		if (len(said) > 0) != slices.Contains(unfit, s.name) {
			t.Errorf("found %q; write the list here and in %s again", said, index)
		}
	})
}

// appendObjects appends the objects of Kubernetes that are somewhere in a tree.
func appendObjects(t *testing.T, out [][]byte, tree any) [][]byte {
	t.Helper()
	switch x := tree.(type) {
	case map[string]any:
		if x["apiVersion"] != nil && x["kind"] != nil && x["metadata"] != nil {
			raw, err := json.Marshal(x)
			if err != nil {
				t.Fatal(err)
			}
			return append(out, raw)
		}
		for _, v := range x {
			out = appendObjects(t, out, v)
		}
	case []any:
		for _, v := range x {
			out = appendObjects(t, out, v)
		}
	}
	return out
}
