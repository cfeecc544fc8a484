package certs

import (
	"context"
	"testing"

	admissionregistrationv1 "k8s.io/api/admissionregistration/v1"
	metav1 "k8s.io/apimachinery/pkg/apis/meta/v1"
	"k8s.io/apimachinery/pkg/apis/meta/v1/unstructured"
	"k8s.io/apimachinery/pkg/runtime"
	clientgoscheme "k8s.io/client-go/kubernetes/scheme"
	"sigs.k8s.io/controller-runtime/pkg/client"
	"sigs.k8s.io/controller-runtime/pkg/client/fake"
	"sigs.k8s.io/controller-runtime/pkg/client/interceptor"
)

func TestAWebhookConfigurationIsWrittenOnlyWhereItChanges(t *testing.T) {
	t.Parallel()
	for name, c := range map[string]struct {
		bundle, uid string
		missing     bool
		writes      int
	}{
		"it has the authority already":         {bundle: "b2xk", uid: "u1", writes: 0},
		"it has another":                       {bundle: "bmV3", uid: "u1", writes: 1},
		"another object of its name was there": {bundle: "b2xk", uid: "u0", writes: 1},
		"it is gone":                           {bundle: "b2xk", uid: "u1", missing: true, writes: 1},
	} {
		t.Run(name, func(t *testing.T) {
			t.Parallel()
			scheme := runtime.NewScheme()
			if err := clientgoscheme.AddToScheme(scheme); err != nil {
				t.Fatal(err)
			}
			there := &admissionregistrationv1.ValidatingWebhookConfiguration{
				ObjectMeta: metav1.ObjectMeta{Name: "tidegate", UID: "u1", ResourceVersion: "7", Generation: 3},
				Webhooks:   []admissionregistrationv1.ValidatingWebhook{{Name: "a.tidegate.io", ClientConfig: admissionregistrationv1.WebhookClientConfig{CABundle: []byte("old")}}},
			}
			build := fake.NewClientBuilder().WithScheme(scheme)
			if !c.missing {
				build = build.WithObjects(there)
			}
			writes := 0
			server := build.WithInterceptorFuncs(interceptor.Funcs{
				Update: func(context.Context, client.WithWatch, client.Object, ...client.UpdateOption) error {
					writes++
					return nil
				},
			}).Build()

			content, err := runtime.DefaultUnstructuredConverter.ToUnstructured(there)
			if err != nil {
				t.Fatal(err)
			}
			wanted := &unstructured.Unstructured{Object: content}
			wanted.SetGroupVersionKind(admissionregistrationv1.SchemeGroupVersion.WithKind("ValidatingWebhookConfiguration"))
			wanted.SetUID("u1")
			wanted.SetResourceVersion("6") // as a cache has it that is behind
			wanted.SetManagedFields([]metav1.ManagedFieldsEntry{{Manager: "tidegate-certs"}})
			if c.uid != "u1" {
				wanted.SetUID("u0")
			}
			hooks, _, err := unstructured.NestedSlice(wanted.Object, "webhooks")
			if err != nil {
				t.Fatal(err)
			}
			hook, _ := hooks[0].(map[string]any)
			if err := unstructured.SetNestedField(hook, c.bundle, "clientConfig", "caBundle"); err != nil {
				t.Fatal(err)
			}
			if err := unstructured.SetNestedSlice(wanted.Object, hooks, "webhooks"); err != nil {
				t.Fatal(err)
			}
			if err := (quietClient{server, server}).Update(t.Context(), wanted); err != nil {
				t.Fatal(err)
			}
			if writes != c.writes {
				t.Errorf("%d writes, want %d", writes, c.writes)
			}
		})
	}
}
