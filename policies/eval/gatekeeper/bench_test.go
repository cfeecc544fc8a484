package gatekeeper

import (
	"context"
	"encoding/json"
	"fmt"
	"os"
	"path/filepath"
	"slices"
	"strings"
	"testing"

	"github.com/open-policy-agent/opa/v1/ast"
	"github.com/open-policy-agent/opa/v1/rego"
	"github.com/open-policy-agent/opa/v1/storage"
	"github.com/open-policy-agent/opa/v1/storage/inmem"
	admissionv1 "k8s.io/api/admission/v1"
	authenticationv1 "k8s.io/api/authentication/v1"
	metav1 "k8s.io/apimachinery/pkg/apis/meta/v1"
	"k8s.io/apimachinery/pkg/apis/meta/v1/unstructured"
	"sigs.k8s.io/yaml"
)

// libraryEnv names a folder with the library of Gatekeeper. Its templates are measured
// where it is set.
const libraryEnv = "TIDEGATE_GATEKEEPER_LIBRARY"

// ownTemplates is how many copies of one template are measured everywhere.
const ownTemplates = 20

func readYAML(t testing.TB, path string) *unstructured.Unstructured {
	t.Helper()
	raw, err := os.ReadFile(path)
	if err != nil {
		t.Fatal(err)
	}
	return parseYAML(t, string(raw))
}

func parseYAML(t testing.TB, text string) *unstructured.Unstructured {
	t.Helper()
	raw, err := yaml.YAMLToJSON([]byte(text))
	if err != nil {
		t.Fatal(err)
	}
	u := &unstructured.Unstructured{}
	if err := u.UnmarshalJSON(raw); err != nil {
		t.Fatal(err)
	}
	return u
}

// ownSet is a set of templates about the images, the labels and the limits of Pods.
func ownSet(t testing.TB) *Set {
	t.Helper()
	var list []*Constraint
	for i := range ownTemplates {
		template, err := CompileTemplate(parseYAML(t, strings.ReplaceAll(`
apiVersion: templates.gatekeeper.sh/v1
kind: ConstraintTemplate
metadata: {name: podruleNN}
spec:
  crd: {spec: {names: {kind: PodRuleNN}, validation: {openAPIV3Schema: {type: object, properties: {repos: {type: array, items: {type: string}}}}}}}
  targets:
  - target: admission.k8s.gatekeeper.sh
    rego: |
      package podrule
      import data.lib.containers
      violation[{"msg": msg}] {
        c := containers.all[_]
        not allowed(c.image)
        msg := sprintf("container %v has image %v", [c.name, c.image])
      }
      violation[{"msg": msg}] {
        c := containers.all[_]
        not c.resources.limits.memory
        msg := sprintf("container %v has no limit", [c.name])
      }
      allowed(image) { startswith(image, input.parameters.repos[_]) }
    libs:
    - |
      package lib.containers
      all[c] { c := input.review.object.spec.containers[_] }
      all[c] { c := input.review.object.spec.initContainers[_] }
`, "NN", fmt.Sprint(i))))
		if err != nil {
			t.Fatal(err)
		}
		c, err := template.Constraint(parseYAML(t, strings.ReplaceAll(`
apiVersion: constraints.gatekeeper.sh/v1beta1
kind: PodRuleNN
metadata: {name: pods}
spec:
  match: {kinds: [{apiGroups: [""], kinds: [Pod]}], excludedNamespaces: [kube-system]}
  parameters: {repos: [registry.example.com/, mirror.example.com/]}
`, "NN", fmt.Sprint(i))))
		if err != nil {
			t.Fatal(err)
		}
		list = append(list, c)
	}
	return NewSet(nil, list...)
}

// librarySet is the library of Gatekeeper, each template with the first of its samples.
func librarySet(t testing.TB, dir string, compiler Compiler) *Set {
	t.Helper()
	templates, err := filepath.Glob(filepath.Join(dir, "*", "*", "template.yaml"))
	if err != nil || len(templates) == 0 {
		t.Fatalf("found no templates in %s: %v", dir, err)
	}
	var list []*Constraint
	for _, path := range templates {
		template, err := compiler.Compile(t.Context(), readYAML(t, path))
		if err != nil {
			t.Fatal(err)
		}
		samples, err := filepath.Glob(filepath.Join(filepath.Dir(path), "samples", "*", "constraint.yaml"))
		if err != nil || len(samples) == 0 {
			t.Fatalf("found no constraint for %s: %v", path, err)
		}
		c, err := template.Constraint(readYAML(t, samples[0]))
		if err != nil {
			t.Fatal(err)
		}
		list = append(list, c)
	}
	return NewSet(nil, list...)
}

func podRequest(t testing.TB) *admissionv1.AdmissionRequest {
	t.Helper()
	container := `{"name": "c%d", "image": "docker.io/library/nginx:1.29", "ports": [{"containerPort": 8080, "protocol": "TCP"}],
		"env": [{"name": "A", "value": "1"}, {"name": "POD", "valueFrom": {"fieldRef": {"fieldPath": "metadata.name"}}}],
		"resources": {"requests": {"cpu": "100m", "memory": "64Mi"}, "limits": {"cpu": "1", "memory": "128Mi"}},
		"volumeMounts": [{"name": "tmp", "mountPath": "/tmp"}], "imagePullPolicy": "IfNotPresent",
		"securityContext": {"allowPrivilegeEscalation": false, "runAsNonRoot": true, "capabilities": {"drop": ["ALL"]}}}`
	pod := fmt.Sprintf(`{"apiVersion": "v1", "kind": "Pod", "metadata": {"name": "web-1", "namespace": "default", "labels": {"app": "web", "owner": "team"}},
		"spec": {"containers": [%s, %s], "volumes": [{"name": "tmp", "emptyDir": {}}], "serviceAccountName": "web", "restartPolicy": "Always"}}`,
		fmt.Sprintf(container, 1), fmt.Sprintf(container, 2))
	var compact json.RawMessage
	if err := json.Unmarshal([]byte(pod), &compact); err != nil {
		t.Fatal(err)
	}
	q := &admissionv1.AdmissionRequest{
		UID: "1", Operation: admissionv1.Create, Name: "web-1", Namespace: "default",
		Kind:     metav1.GroupVersionKind{Version: "v1", Kind: "Pod"},
		Resource: metav1.GroupVersionResource{Version: "v1", Resource: "pods"},
		UserInfo: authenticationv1.UserInfo{Username: "alice", Groups: []string{"system:authenticated"}},
	}
	q.Object.Raw = compact
	return q
}

// baseline does per request what Gatekeeper's framework does: the object is decoded for
// every constraint that has a match, the review goes through JSON, and every template gets
// a query of its own that is parsed and compiled anew, with the review converted anew.
type baseline struct {
	set   *Set
	store storage.Store
}

func newBaseline(t testing.TB, s *Set) *baseline {
	t.Helper()
	data := map[string]any{"inventory": map[string]any{}}
	return &baseline{set: s, store: inmem.NewFromObject(data)}
}

func (b *baseline) judge(ctx context.Context, q *admissionv1.AdmissionRequest) (int, error) {
	var asked []*Constraint
	for _, c := range b.set.all {
		if c.match != nil {
			u := &unstructured.Unstructured{}
			if err := u.UnmarshalJSON(q.Object.Raw); err != nil {
				return 0, err
			}
			facts, err := factsOf(u.Object, q.Object.Raw)
			if err != nil {
				return 0, err
			}
			if ok, err := c.match.matches(facts, nil, SourceOriginal); err != nil || !ok {
				continue
			}
		}
		asked = append(asked, c)
	}
	raw, err := json.Marshal(q)
	if err != nil {
		return 0, err
	}
	var review map[string]any
	if err := json.Unmarshal(raw, &review); err != nil {
		return 0, err
	}
	review["namespaceObject"] = map[string]any{}
	count := 0
	for _, c := range asked {
		input, err := ast.InterfaceToValue(map[string]any{"review": review, "parameters": c.parameters.Value})
		if err != nil {
			return 0, err
		}
		results, err := rego.New(
			rego.Compiler(c.template.rego.compiler), rego.Store(b.store), rego.ParsedInput(input),
			rego.Query(`data.template.violation[r]`), rego.SetRegoVersion(ast.RegoV0),
		).Eval(ctx)
		if err != nil {
			return 0, err
		}
		count += len(results)
	}
	return count, nil
}

// factsOf is readFacts of a decoded object.
func factsOf(object map[string]any, raw []byte) (*reviewed, error) {
	v, err := ast.InterfaceToValue(map[string]any{"apiVersion": object["apiVersion"], "kind": object["kind"], "metadata": object["metadata"]})
	if err != nil {
		return nil, err
	}
	return readFacts(v, raw)
}

func BenchmarkJudge(b *testing.B) {
	sets := map[string]*Set{"own": ownSet(b)}
	if dir := os.Getenv(libraryEnv); dir != "" {
		sets["library"] = librarySet(b, dir, Compiler{PreferRego: true})
		sets["library-cel"] = librarySet(b, dir, Compiler{})
	}
	q := podRequest(b)
	for name, set := range sets {
		b.Run(name+"/tidegate", func(b *testing.B) {
			b.ReportAllocs()
			found := 0
			for b.Loop() {
				review, err := NewReview(q)
				if err != nil {
					b.Fatal(err)
				}
				review.Source = SourceOriginal
				found = len(set.Judge(b.Context(), review))
			}
			b.ReportMetric(float64(found), "violations")
		})
		b.Run(name+"/nomatch", func(b *testing.B) {
			b.ReportAllocs()
			other := *q
			other.Kind.Kind = "Lease"
			for b.Loop() {
				review, err := NewReview(&other)
				if err != nil {
					b.Fatal(err)
				}
				set.Judge(b.Context(), review)
			}
		})
		if slices.ContainsFunc(set.all, func(c *Constraint) bool { return c.template.cel != nil }) {
			continue // the baseline is of Rego
		}
		b.Run(name+"/baseline", func(b *testing.B) {
			b.ReportAllocs()
			base := newBaseline(b, set)
			found := 0
			for b.Loop() {
				n, err := base.judge(b.Context(), q)
				if err != nil {
					b.Fatal(err)
				}
				found = n
			}
			b.ReportMetric(float64(found), "violations")
		})
	}
}
