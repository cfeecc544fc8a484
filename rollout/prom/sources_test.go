package prom_test

import (
	"errors"
	"net/http"
	"net/http/httptest"
	"strings"
	"testing"

	corev1 "k8s.io/api/core/v1"
	metav1 "k8s.io/apimachinery/pkg/apis/meta/v1"
	"k8s.io/apimachinery/pkg/runtime"
	clientgoscheme "k8s.io/client-go/kubernetes/scheme"
	"sigs.k8s.io/controller-runtime/pkg/client/fake"

	"tidegate.io/tidegate/rollout/prom"
	"tidegate.io/tidegate/schemas/v1alpha1"
)

// TestCredentialsAsPeopleWriteThem gives what is in a Secret, and the header that comes of it or what is said.
func TestCredentialsAsPeopleWriteThem(t *testing.T) {
	t.Parallel()
	for name, c := range map[string]struct {
		secret     map[string]string
		want, said string
	}{
		"a token":                                        {map[string]string{"token": "s3cret"}, "Bearer s3cret", ""},
		"one that echo ended with a line":                {map[string]string{"token": "s3cret\n"}, "Bearer s3cret", ""},
		"one of a file of Windows":                       {map[string]string{"token": "s3cret\r\n"}, "Bearer s3cret", ""},
		"a user and a password that end with lines":      {map[string]string{"username": "u\n", "password": "p\n"}, "Basic dTpw", ""},
		"a password that ends with a space, which it is": {map[string]string{"username": "u", "password": "p "}, "Basic dTpwIA==", ""},
		"two lines in a token":                           {map[string]string{"token": "one\ntwo"}, "", "wanted one line of characters that print in the key token of the Secret tidegate-system/metrics, found others"},
		"two lines in a password":                        {map[string]string{"username": "u", "password": "p\nq"}, "", "in the key password of"},
		"a token of nothing but a line":                  {map[string]string{"token": "\n"}, "", "has neither the key token nor the keys username and password"},
	} {
		t.Run(name, func(t *testing.T) {
			t.Parallel()
			var got string
			server := httptest.NewServer(http.HandlerFunc(func(w http.ResponseWriter, r *http.Request) {
				got = r.Header.Get("Authorization")
				w.Header().Set("Content-Type", "application/json")
				_, _ = w.Write([]byte(`{"status":"success","data":{"resultType":"vector","result":[]}}`))
			}))
			t.Cleanup(server.Close)
			scheme := runtime.NewScheme()
			if err := errors.Join(clientgoscheme.AddToScheme(scheme), v1alpha1.AddToScheme(scheme)); err != nil {
				t.Fatal(err)
			}
			secret := &corev1.Secret{ObjectMeta: metav1.ObjectMeta{Namespace: "tidegate-system", Name: "metrics"}, Data: map[string][]byte{}}
			for k, v := range c.secret {
				secret.Data[k] = []byte(v)
			}
			source := &v1alpha1.MetricSource{ObjectMeta: metav1.ObjectMeta{Name: "main"}}
			source.Spec.Prometheus.Address, source.Spec.Prometheus.SecretName = server.URL, secret.Name
			sources := prom.NewSources(fake.NewClientBuilder().WithScheme(scheme).WithObjects(source, secret).Build(), secret.Namespace)
			client, err := sources.Client(t.Context(), source.Name)
			if c.said != "" {
				wrong, ok := errors.AsType[*prom.SourceError](err)
				if !ok || !strings.Contains(wrong.Error(), c.said) || strings.Contains(wrong.Error(), "two") {
					t.Fatalf("wanted %q, found %v", c.said, err)
				}
				return
			}
			if err != nil {
				t.Fatal(err)
			}
			client.Query(t.Context(), "up", at)
			if got != c.want {
				t.Errorf("wanted the header %q, found %q", c.want, got)
			}
		})
	}
}
