package check

import (
	"context"
	"encoding/json"
	"errors"
	"fmt"
	"maps"
	"os"
	"path/filepath"
	"slices"
	"strings"
	"testing"
	"time"

	"github.com/google/go-cmp/cmp"
	admissionv1 "k8s.io/api/admission/v1"
	authenticationv1 "k8s.io/api/authentication/v1"
	authorizationv1 "k8s.io/api/authorization/v1"
	corev1 "k8s.io/api/core/v1"
	metav1 "k8s.io/apimachinery/pkg/apis/meta/v1"
	"k8s.io/apimachinery/pkg/runtime"
	clientgoscheme "k8s.io/client-go/kubernetes/scheme"
	"k8s.io/utils/clock"
	"sigs.k8s.io/controller-runtime/pkg/client/fake"
	"sigs.k8s.io/controller-runtime/pkg/webhook/admission"
	"sigs.k8s.io/yaml"

	"tidegate.io/tidegate/cmd/tidegate/internal/findings"
	"tidegate.io/tidegate/policies/eval"
	"tidegate.io/tidegate/policies/library"
	"tidegate.io/tidegate/schemas/render"
	"tidegate.io/tidegate/schemas/source"
	"tidegate.io/tidegate/schemas/v1alpha1"
	"tidegate.io/tidegate/webhook"
)

const (
	templates = "../../../../schemas/templates"
	shipped   = "../../../../policies/library"
	writer    = "system:own-agent"
)

// engine renders as the manager's workers do, in this process.
type engine struct{}

func (engine) Check(context.Context, map[string]string) error { return errors.New("not asked") }

func (engine) Vet(context.Context, map[string]string) ([]render.Finding, error) {
	return nil, errors.New("not asked")
}

func (engine) Render(_ context.Context, s webhook.Source, values []byte, c render.Context) (*render.Result, error) {
	t, err := render.Compile(s.Files)
	if err != nil {
		return nil, err
	}
	return t.Render(values, c)
}

func (engine) Immutable(context.Context, webhook.Source, []byte, []byte) error {
	return errors.New("not asked")
}

func (engine) Compare(context.Context, map[string]string, map[string]string) (*render.Comparison, error) {
	return nil, errors.New("not asked")
}

func (engine) Allowed(context.Context, authenticationv1.UserInfo, authorizationv1.ResourceAttributes) (bool, error) {
	return false, errors.New("not asked")
}

// echo repeats all that a policy is told, but what differs from request to request, and the
// resource, which is guessed here and there.
var echo = eval.Source{
	Name: "echo", At: []v1alpha1.PolicyMoment{v1alpha1.AtAdmission, v1alpha1.AtRelease},
	Rego: "package echo\nwarn contains json.marshal(json.remove(input, [\"request/uid\", \"request/resource\"]))",
}

// two are the same policies and templates on both sides.
type two struct {
	handlers *webhook.Handlers
	checker  Checker
}

func both(t *testing.T) two {
	t.Helper()
	scheme := runtime.NewScheme()
	for _, add := range []func(*runtime.Scheme) error{clientgoscheme.AddToScheme, v1alpha1.AddToScheme} {
		if err := add(scheme); err != nil {
			t.Fatal(err)
		}
	}
	s, err := source.Read(filepath.Join(templates, "web"))
	if err != nil {
		t.Fatal(err)
	}
	compiled, err := render.Compile(s.Files)
	if err != nil {
		t.Fatal(err)
	}
	schema, err := compiled.Schema()
	if err != nil {
		t.Fatal(err)
	}
	labels := map[string]string{"stage": "production"}
	template := &v1alpha1.ReleaseTemplate{ObjectMeta: metav1.ObjectMeta{Name: "web"}, Spec: v1alpha1.ReleaseTemplateSpec{Files: s.Files}}
	revision := &v1alpha1.TemplateRevision{
		ObjectMeta: metav1.ObjectMeta{Name: "web-1"},
		Spec: v1alpha1.TemplateRevisionSpec{
			Template: "web", Number: 1, Digest: render.Digest(s.Files), Files: s.Files, Schema: &runtime.RawExtension{Raw: schema},
		},
	}
	reader := fake.NewClientBuilder().WithScheme(scheme).WithObjects(
		&corev1.Namespace{ObjectMeta: metav1.ObjectMeta{Name: "shop", Labels: labels}},
		&v1alpha1.Gate{ObjectMeta: metav1.ObjectMeta{Name: "production"}, Spec: v1alpha1.GateSpec{Namespaces: v1alpha1.NamespaceScope{Names: []string{"shop"}}, Writers: []string{writer}}},
		template, revision,
	).Build()
	store := eval.NewStore()
	var policies []*eval.Policy
	for _, name := range library.Names() {
		p, err := library.Get(name)
		if err != nil {
			t.Fatal(err)
		}
		if err := store.Put(eval.FromDeployPolicy(p)); err != nil {
			t.Fatal(err)
		}
		one, err := eval.Compile(eval.FromDeployPolicy(p))
		if err != nil {
			t.Fatal(err)
		}
		policies = append(policies, one)
	}
	one, err := eval.Compile(echo)
	if err == nil {
		err = store.Put(echo)
	}
	if err != nil {
		t.Fatal(err)
	}
	policies = append(policies, one)
	handlers, err := webhook.New(webhook.Config{
		Reader: reader, Policies: store, Renderer: engine{}, Authorizer: engine{}, Identity: "manager", ManagerNamespace: "tidegate-system",
		Clock: clock.RealClock{}, Metrics: webhook.NewMetrics(), Timeout: time.Minute,
	})
	if err != nil {
		t.Fatal(err)
	}
	known := NewTemplates()
	known.AddLive([]v1alpha1.ReleaseTemplate{*template}, []v1alpha1.TemplateRevision{*revision})
	return two{handlers: handlers, checker: Checker{
		Policies: eval.NewSet(policies...), Templates: known, Namespaces: map[string]map[string]string{"shop": labels}, Namespace: "shop", User: eval.UserInfo{Username: writer},
	}}
}

// asked are the denials and warnings of the webhook, a line each.
func (b two) asked(t *testing.T, object map[string]any) (denials, warnings []string) {
	t.Helper()
	var u struct {
		metav1.TypeMeta
		Metadata struct {
			Name string `json:"name"`
		} `json:"metadata"`
	}
	raw, err := json.Marshal(object)
	if err == nil {
		err = json.Unmarshal(raw, &u)
	}
	if err != nil {
		t.Fatal(err)
	}
	gvk := u.GroupVersionKind()
	resource := strings.ToLower(gvk.Kind) + "s"
	if gvk.Kind == "Ingress" {
		resource = "ingresses"
	}
	handler := b.handlers.Gate
	if gvk.Group == v1alpha1.GroupVersion.Group {
		handler = b.handlers.Tidegate
	}
	r := handler.Handle(t.Context(), admission.Request{AdmissionRequest: admissionv1.AdmissionRequest{
		UID: "1", Kind: metav1.GroupVersionKind(gvk), Resource: metav1.GroupVersionResource{Group: gvk.Group, Version: gvk.Version, Resource: resource},
		Namespace: "shop", Name: u.Metadata.Name, Operation: admissionv1.Create, UserInfo: authenticationv1.UserInfo{Username: writer}, Object: runtime.RawExtension{Raw: raw},
	}})
	if r.Result.Code == 500 {
		t.Fatalf("%s", r.Result.Message)
	}
	if !r.Allowed {
		denials = lines(r.Result.Message)
	}
	for _, w := range r.Warnings {
		if !strings.Contains(w, "MetricSource") { // Only a cluster knows which there are.
			warnings = append(warnings, lines(w)...)
		}
	}
	slices.Sort(warnings)
	return denials, warnings
}

func lines(text string) []string {
	out := strings.Split(text, "\n")
	slices.Sort(out)
	return slices.Compact(out)
}

// checked are the same of a check of files.
func (b two) checked(t *testing.T, object map[string]any) (denials, warnings []string) {
	t.Helper()
	raw, err := yaml.Marshal(object)
	if err != nil {
		t.Fatal(err)
	}
	files, err := Read([]string{"-"}, strings.NewReader(string(raw)))
	if err != nil {
		t.Fatal(err)
	}
	c := b.checker
	c.Namespaces = maps.Clone(c.Namespaces)
	found, err := c.Judge(t.Context(), files)
	if err != nil {
		t.Fatal(err)
	}
	for _, o := range found {
		for _, f := range o.Findings {
			line := f.Code + ": " + f.Text()
			switch f.Severity {
			case findings.Error:
				denials = append(denials, strings.Split(line, "\n")...)
			case findings.Warning:
				warnings = append(warnings, strings.Split(line, "\n")...)
			case findings.Note:
			}
		}
	}
	slices.Sort(denials)
	slices.Sort(warnings)
	return slices.Compact(denials), slices.Compact(warnings)
}

func (b two) compare(t *testing.T, object map[string]any) (denied bool) {
	t.Helper()
	wantDenials, wantWarnings := b.asked(t, object)
	denials, warnings := b.checked(t, object)
	// The webhook answers within a screen, and says how many lines it leaves out.
	said, left := denials, 0
	wantDenials = slices.DeleteFunc(wantDenials, func(line string) bool {
		n, _ := fmt.Sscanf(line, "  ... and %d more lines; to see all:", &left)
		return n == 1
	})
	if left > 0 {
		said = slices.DeleteFunc(slices.Clone(denials), func(line string) bool { return !slices.Contains(wantDenials, line) })
		if len(denials) != len(said)+left {
			t.Errorf("wanted %d lines that the webhook leaves out, found %d", left, len(denials)-len(said))
		}
	}
	if d := cmp.Diff(wantDenials, said); d != "" {
		t.Errorf("denials, - the webhook's, + the check's:\n%s", d)
	}
	if d := cmp.Diff(wantWarnings, warnings); d != "" {
		t.Errorf("warnings, - the webhook's, + the check's:\n%s", d)
	}
	return len(denials) > 0
}

func TestVerdictsAreThoseOfTheWebhook(t *testing.T) {
	b := both(t)
	samples, err := filepath.Glob(filepath.Join(shipped, "*", "samples", "*", "*.yaml"))
	if err != nil {
		t.Fatal(err)
	}
	denied, passed := 0, 0
	for i, file := range samples {
		if i%3 != 0 {
			continue // a third is many, and takes seconds
		}
		raw, err := os.ReadFile(file)
		if err != nil {
			t.Fatal(err)
		}
		var object map[string]any
		if err := yaml.Unmarshal(raw, &object); err != nil {
			t.Fatal(err)
		}
		metadata, isMap := object["metadata"].(map[string]any)
		kind, _ := object["kind"].(string)
		name, _ := metadata["name"].(string)
		if !isMap || name == "" || object["apiVersion"] == nil || slices.Contains([]string{"List", "Rollout", "Release", "Pod"}, kind) {
			continue // nothing that the webhook is asked about by itself; Pods are ring 1's
		}
		metadata["namespace"] = "shop"
		t.Run(strings.TrimPrefix(file, shipped), func(t *testing.T) {
			if b.compare(t, object) {
				denied++
			} else {
				passed++
			}
		})
	}
	if denied < 30 || passed < 5 {
		t.Errorf("wanted many objects of either sort, found %d denied and %d passed", denied, passed)
	}
}

func TestVerdictsAboutReleasesAreThoseOfTheWebhook(t *testing.T) {
	b := both(t)
	for name, tc := range map[string]struct {
		spec   string
		denied bool
	}{
		"a tag that moves":  {`{"template": {"name": "web"}, "values": {"image": "ghcr.io/shop/cart:latest"}}`, true},
		"a foreign image":   {`{"template": {"name": "web"}, "values": {"image": "docker.io/evil/cart:1.2.3"}}`, true},
		"a pinned revision": {`{"template": {"name": "web", "revision": 1}, "values": {"image": "ghcr.io/shop/cart:1.2.3"}}`, true},
	} {
		t.Run(name, func(t *testing.T) {
			var spec map[string]any
			if err := json.Unmarshal([]byte(tc.spec), &spec); err != nil {
				t.Fatal(err)
			}
			denied := b.compare(t, map[string]any{
				"apiVersion": "tidegate.io/v1alpha1", "kind": "Release", "metadata": map[string]any{"name": "cart", "namespace": "shop"}, "spec": spec,
			})
			if denied != tc.denied {
				t.Errorf("denied is %v", denied)
			}
		})
	}
}
