package webhook_test

import (
	"bytes"
	"context"
	"encoding/json"
	"fmt"
	"io"
	"net/http"
	"net/http/httptest"
	"testing"

	admissionv1 "k8s.io/api/admission/v1"
	corev1 "k8s.io/api/core/v1"
	apierrors "k8s.io/apimachinery/pkg/api/errors"
	metav1 "k8s.io/apimachinery/pkg/apis/meta/v1"
	"k8s.io/apimachinery/pkg/runtime"
	"k8s.io/apimachinery/pkg/runtime/schema"
	"k8s.io/utils/clock"
	"sigs.k8s.io/controller-runtime/pkg/client"
	"sigs.k8s.io/controller-runtime/pkg/webhook/admission"

	"tidegate.io/tidegate/policies/eval"
	"tidegate.io/tidegate/schemas/v1alpha1"
	"tidegate.io/tidegate/webhook"
)

// cached reads as an informer's cache does that hands out what it holds.
type cached struct {
	namespace corev1.Namespace
	gates     []v1alpha1.Gate
}

func (c *cached) Get(_ context.Context, key client.ObjectKey, into client.Object, _ ...client.GetOption) error {
	if ns, ok := into.(*corev1.Namespace); ok && key.Name == c.namespace.Name {
		*ns = c.namespace
		return nil
	}
	return apierrors.NewNotFound(schema.GroupResource{}, key.Name)
}

func (c *cached) List(_ context.Context, into client.ObjectList, _ ...client.ListOption) error {
	if list, ok := into.(*v1alpha1.GateList); ok {
		list.Items = c.gates
	}
	return nil
}

// BenchmarkOverHTTPS compares what the gate answers without asking a policy to a webhook on
// the same server code that does nothing. No more than a quarter may come on top.
func BenchmarkOverHTTPS(b *testing.B) {
	store := eval.NewStore()
	for i := range 200 {
		if err := store.Put(eval.Source{
			Name: fmt.Sprintf("p%03d", i), Rego: "package p\ndeny contains \"x\" if input.object.spec.nothing",
			Match: v1alpha1.PolicyMatch{Kinds: []v1alpha1.KindMatch{{Group: "apps", Kinds: []string{"StatefulSet"}}}},
		}); err != nil {
			b.Fatal(err)
		}
	}
	handlers, err := webhook.New(webhook.Config{
		Reader: &cached{
			namespace: corev1.Namespace{ObjectMeta: metav1.ObjectMeta{Name: "shop", Labels: map[string]string{"kubernetes.io/metadata.name": "shop"}}},
			gates: []v1alpha1.Gate{{
				ObjectMeta: metav1.ObjectMeta{Name: "production"},
				Spec:       v1alpha1.GateSpec{Namespaces: v1alpha1.NamespaceScope{Names: []string{"shop"}}, Writers: []string{"writer"}},
			}},
		},
		Policies: store, Renderer: renderer{}, Authorizer: rbac{}, Identity: manager, ManagerNamespace: "tidegate-system",
		Clock: clock.RealClock{}, Metrics: webhook.NewMetrics(),
	})
	if err != nil {
		b.Fatal(err)
	}
	nothing := admission.HandlerFunc(func(context.Context, admission.Request) admission.Response { return admission.Allowed("") })
	for _, tc := range []struct {
		name, user string
		operation  admissionv1.Operation
		handler    admission.Handler
	}{
		{"no-op", manager, admissionv1.Update, nothing},
		{"managed flow", manager, admissionv1.Update, handlers.Gate},
		{"no match", "writer", admissionv1.Update, handlers.Gate},
	} {
		b.Run(tc.name, func(b *testing.B) {
			server := httptest.NewTLSServer(&admission.Webhook{Handler: tc.handler})
			defer server.Close()
			r := request{op: tc.operation, resource: "apps/deployments", namespace: "shop", name: "cart-0a1b2c3d4e", user: tc.user, object: bigDeployment, old: bigDeployment}.admission()
			review, err := json.Marshal(admissionv1.AdmissionReview{
				TypeMeta: metav1.TypeMeta{APIVersion: "admission.k8s.io/v1", Kind: "AdmissionReview"}, Request: &r.AdmissionRequest,
			})
			if err != nil {
				b.Fatal(err)
			}
			b.ReportAllocs()
			for b.Loop() {
				post(b, server, review)
			}
		})
	}
}

func post(b *testing.B, server *httptest.Server, review []byte) {
	b.Helper()
	request, err := http.NewRequestWithContext(b.Context(), http.MethodPost, server.URL, bytes.NewReader(review))
	if err != nil {
		b.Fatal(err)
	}
	request.Header.Set("Content-Type", "application/json")
	response, err := server.Client().Do(request)
	if err != nil {
		b.Fatal(err)
	}
	raw, err := io.ReadAll(response.Body)
	if err != nil {
		b.Fatal(err)
	}
	_ = response.Body.Close()
	if !bytes.Contains(raw, []byte(`"allowed":true`)) {
		b.Fatalf("%s", raw)
	}
}

// BenchmarkGate is the same without the server.
func BenchmarkGate(b *testing.B) {
	store := eval.NewStore()
	handlers, err := webhook.New(webhook.Config{
		Reader: &cached{
			namespace: corev1.Namespace{ObjectMeta: metav1.ObjectMeta{Name: "shop"}},
			gates:     []v1alpha1.Gate{{Spec: v1alpha1.GateSpec{Namespaces: v1alpha1.NamespaceScope{Names: []string{"shop"}}}}},
		},
		Policies: store, Renderer: renderer{}, Authorizer: rbac{}, Identity: manager, ManagerNamespace: "tidegate-system",
		Clock: clock.RealClock{}, Metrics: webhook.NewMetrics(),
	})
	if err != nil {
		b.Fatal(err)
	}
	r := request{op: admissionv1.Update, resource: "apps/deployments", namespace: "shop", name: "cart-0a1b2c3d4e", user: manager, object: bigDeployment, old: bigDeployment}.admission()
	r.Options = runtime.RawExtension{}
	b.ReportAllocs()
	for b.Loop() {
		if got := handlers.Gate.Handle(b.Context(), r); !got.Allowed {
			b.Fatal(got.Result.Message)
		}
	}
}
