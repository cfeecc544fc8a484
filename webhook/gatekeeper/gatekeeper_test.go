package gatekeeper_test

import (
	"context"
	"errors"
	"fmt"
	"strings"
	"testing"
	"time"

	admissionv1 "k8s.io/api/admission/v1"
	corev1 "k8s.io/api/core/v1"
	metav1 "k8s.io/apimachinery/pkg/apis/meta/v1"
	"k8s.io/apimachinery/pkg/apis/meta/v1/unstructured"
	testingclock "k8s.io/utils/clock/testing"
	"sigs.k8s.io/controller-runtime/pkg/client"
	"sigs.k8s.io/controller-runtime/pkg/client/fake"
	"sigs.k8s.io/controller-runtime/pkg/client/interceptor"
	"sigs.k8s.io/controller-runtime/pkg/webhook/admission"
	"sigs.k8s.io/yaml"

	engine "tidegate.io/tidegate/policies/eval/gatekeeper"
	"tidegate.io/tidegate/webhook/gatekeeper"
)

func parse(t *testing.T, text string) *unstructured.Unstructured {
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

// handler judges by a template that says n messages about every ConfigMap in namespaces
// with the label open, in the namespaces there are.
func handler(t *testing.T, action string, n int, get func() error) *gatekeeper.Handler {
	t.Helper()
	store := engine.NewStore()
	if _, err := store.PutTemplate(parse(t, fmt.Sprintf(`
apiVersion: templates.gatekeeper.sh/v1
kind: ConstraintTemplate
metadata: {name: many}
spec:
  crd: {spec: {names: {kind: Many}}}
  targets:
  - target: admission.k8s.gatekeeper.sh
    rego: |
      package many
      violation[{"msg": m}] { i := numbers.range(1, %d)[_]; m := sprintf("message %%02d in %%v at %%v", [i, input.review.namespaceObject.metadata.name, time.now_ns()]) }
`, n))); err != nil {
		t.Fatal(err)
	}
	if err := store.PutConstraint(parse(t, `{apiVersion: constraints.gatekeeper.sh/v1beta1, kind: Many, metadata: {name: all}, spec: {enforcementAction: `+action+`,
  match: {kinds: [{apiGroups: [""], kinds: [ConfigMap]}], namespaceSelector: {matchLabels: {open: "yes"}}}}}`)); err != nil {
		t.Fatal(err)
	}
	reader := fake.NewClientBuilder().WithObjects(
		&corev1.Namespace{ObjectMeta: metav1.ObjectMeta{Name: "shop", Labels: map[string]string{"open": "yes"}}},
		&corev1.Namespace{ObjectMeta: metav1.ObjectMeta{Name: "closed"}},
	).WithInterceptorFuncs(interceptor.Funcs{Get: func(ctx context.Context, c client.WithWatch, key client.ObjectKey, o client.Object, opts ...client.GetOption) error {
		if err := get(); err != nil {
			return err
		}
		return c.Get(ctx, key, o, opts...)
	}}).Build()
	h, err := gatekeeper.New(gatekeeper.Options{Store: store, Reader: reader, Clock: testingclock.NewFakePassiveClock(time.Unix(7, 0))})
	if err != nil {
		t.Fatal(err)
	}
	return h
}

func request(kind, namespace string, operation admissionv1.Operation) admission.Request {
	r := admission.Request{AdmissionRequest: admissionv1.AdmissionRequest{
		UID: "1", Operation: operation, Name: "a", Namespace: namespace, Kind: metav1.GroupVersionKind{Version: "v1", Kind: kind},
	}}
	r.Object.Raw = fmt.Appendf(nil, `{"apiVersion": "v1", "kind": %q, "metadata": {"name": "a", "namespace": %q}}`, kind, namespace)
	return r
}

func TestTheAnswerFollowsTheAction(t *testing.T) {
	fine := func() error { return nil }
	for name, tc := range map[string]struct {
		action   string
		n        int
		get      func() error
		r        admission.Request
		allowed  bool
		warnings int
		message  string // a part of it
		audit    string // a part of the annotation
	}{
		"deny refuses":                        {"deny", 1, fine, request("ConfigMap", "shop", "CREATE"), false, 0, "TG-GATEKEEPER-DENY: [all] message 01 in shop at 7000000000\ndo: change the object; what is wanted says: kubectl get many.constraints.gatekeeper.sh all -o yaml", `"actions":["deny"]`},
		"warn warns":                          {"warn", 2, fine, request("ConfigMap", "shop", "CREATE"), true, 2, "", `"actions":["warn"]`},
		"dryrun is only recorded":             {"dryrun", 2, fine, request("ConfigMap", "shop", "UPDATE"), true, 0, "", `"actions":["dryrun"]`},
		"a screen is enough":                  {"deny", 30, fine, request("ConfigMap", "shop", "CREATE"), false, 0, "and 10 more", "message 30"},
		"another kind is not looked at":       {"deny", 1, fine, request("Secret", "shop", "CREATE"), true, 0, "", ""},
		"another namespace does not match":    {"deny", 1, fine, request("ConfigMap", "closed", "CREATE"), true, 0, "", ""},
		"a namespace that is not there":       {"deny", 1, fine, request("ConfigMap", "gone", "CREATE"), false, 0, "TG-GATEKEEPER-ERROR: [all] unable to match constraints", "missing Namespace"},
		"a namespace that cannot be read":     {"deny", 1, func() error { return errors.New("no answer") }, request("ConfigMap", "shop", "CREATE"), false, 0, "TG-GATEKEEPER-ERROR", ""},
		"a DELETE without the old object":     {"deny", 1, fine, request("ConfigMap", "shop", "DELETE"), false, 0, "TG-GATEKEEPER-ERROR", ""},
		"a warning where nothing can be said": {"warn", 1, fine, request("ConfigMap", "gone", "CREATE"), true, 1, "", "missing Namespace"},
	} {
		t.Run(name, func(t *testing.T) {
			got := handler(t, tc.action, tc.n, tc.get).Handle(t.Context(), tc.r)
			if got.Allowed != tc.allowed || len(got.Warnings) != tc.warnings {
				t.Errorf("found allowed %v, warnings %q", got.Allowed, got.Warnings)
			}
			if got.Result != nil && !strings.Contains(got.Result.Message, tc.message) || got.Result == nil && tc.message != "" {
				t.Errorf("wanted %q in %+v", tc.message, got.Result)
			}
			if annotation := got.AuditAnnotations[engine.AnnotationViolations]; !strings.Contains(annotation, tc.audit) || (annotation == "") != (tc.audit == "") {
				t.Errorf("wanted %q in %q", tc.audit, annotation)
			}
		})
	}
}

func TestAConfigLeavesNamespacesOut(t *testing.T) {
	h := handler(t, "deny", 1, func() error { return nil })
	list, err := engine.Exclusions(parse(t, `{apiVersion: config.gatekeeper.sh/v1alpha1, kind: Config, metadata: {name: config, namespace: gatekeeper-system}, spec: {match: [{excludedNamespaces: ["sh*"], processes: [webhook]}]}}`))
	if err != nil {
		t.Fatal(err)
	}
	if h.Handle(t.Context(), request("ConfigMap", "shop", "CREATE")).Allowed {
		t.Error("wanted a denial before")
	}
	h.Store.Exclude(list)
	if got := h.Handle(t.Context(), request("ConfigMap", "shop", "CREATE")); !got.Allowed {
		t.Errorf("wanted the namespace to be left out, found %+v", got.Result)
	}
	if h.Handle(t.Context(), request("ConfigMap", "gone", "CREATE")).Allowed {
		t.Error("wanted other namespaces to be asked about")
	}
}
