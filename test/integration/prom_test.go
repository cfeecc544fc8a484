package integration

import (
	"fmt"
	"io"
	"net"
	"net/http"
	"testing"
	"time"

	corev1 "k8s.io/api/core/v1"
	metav1 "k8s.io/apimachinery/pkg/apis/meta/v1"
	"sigs.k8s.io/controller-runtime/pkg/client"

	"tidegate.io/tidegate/rollout/prom"
	"tidegate.io/tidegate/schemas/v1alpha1"
	"tidegate.io/tidegate/test/cluster/local"
)

// TestPrometheusAnswers asks a real Prometheus for each kind of answer there is. up is
// scraped from itself or from a pod; the rest needs no data.
func TestPrometheusAnswers(t *testing.T) {
	cluster := local.ForTest(t, local.Options{Prometheus: true})
	address := cluster.State().PrometheusURL
	c, err := prom.NewClient(prom.Config{Address: address})
	if err != nil {
		t.Fatal(err)
	}
	defer c.Close()
	now := time.Now()
	if err := c.Probe(t.Context(), now); err != nil {
		t.Fatal(err)
	}
	for expr, want := range map[string]v1alpha1.UnknownCause{
		`vector(0.05)`:                     "",
		`1 + 1`:                            "",
		`sum(no_such_metric)`:              v1alpha1.CauseNoData,
		`rate(no_such_metric[1m])`:         v1alpha1.CauseNoData,
		`vector(0) / vector(0)`:            v1alpha1.CauseNotANumber,
		`0 / 0`:                            v1alpha1.CauseNotANumber,
		`vector(1) / vector(0)`:            v1alpha1.CauseInfinite,
		`-1 / 0`:                           v1alpha1.CauseInfinite,
		`histogram_quantile(2, vector(1))`: v1alpha1.CauseQueryError,
		`sum(`:                             v1alpha1.CauseQueryError,
		`rate(up)`:                         v1alpha1.CauseQueryError,
		`no_such_function(up)`:             v1alpha1.CauseQueryError,
		`up[1m]`:                           v1alpha1.CauseQueryError,
		`label_replace(vector(1), "a", "1", "", "") or label_replace(vector(1), "a", "2", "", "")`: v1alpha1.CauseManySeries,
	} {
		t.Run(expr, func(t *testing.T) {
			got := c.Query(t.Context(), expr, now)
			if got.Cause != want {
				t.Errorf("cause %q (%s), wanted %q", got.Cause, got.Detail, want)
			}
		})
	}

	t.Run("one that stopped is down", func(t *testing.T) {
		if err := cluster.StopComponent(t.Context(), "prometheus"); err != nil {
			t.Fatal(err)
		}
		if got := c.Query(t.Context(), `vector(1)`, time.Now()); got.Cause != v1alpha1.CauseSourceDown {
			t.Errorf("%+v", got)
		}
		if err := cluster.StartComponent(t.Context(), "prometheus"); err != nil {
			t.Fatal(err)
		}
		if err := c.Probe(t.Context(), time.Now()); err != nil {
			t.Errorf("after it came back: %v", err)
		}
	})

	t.Run("a MetricSource of the API server is found by name", func(t *testing.T) {
		if err := cluster.InstallCRDs(t.Context(), chartDir+"/resources/crds"); err != nil {
			t.Fatal(err)
		}
		api, err := client.New(cluster.RESTConfig(), client.Options{Scheme: testScheme(t)})
		if err != nil {
			t.Fatal(err)
		}
		var proxied proxy
		proxied.start(t, address)
		for _, o := range []client.Object{
			&corev1.Secret{ObjectMeta: metav1.ObjectMeta{Namespace: "default", Name: "credentials"}, Data: map[string][]byte{"token": []byte("s3cret")}},
			&v1alpha1.MetricSource{
				ObjectMeta: metav1.ObjectMeta{Name: "main"},
				Spec:       v1alpha1.MetricSourceSpec{Prometheus: v1alpha1.PrometheusSource{Address: proxied.url, SecretName: "credentials"}},
			},
		} {
			if err := api.Create(t.Context(), o); err != nil {
				t.Fatal(err)
			}
		}
		sources := prom.NewSources(api, "default")
		if err := sources.Probe(t.Context(), "main", time.Now()); err != nil {
			t.Error(err)
		}
	})
}

// proxy stands before a Prometheus and asks for a token.
type proxy struct{ url string }

func (p *proxy) start(t *testing.T, to string) {
	t.Helper()
	l, err := new(net.ListenConfig).Listen(t.Context(), "tcp", "127.0.0.1:0")
	if err != nil {
		t.Fatal(err)
	}
	srv := &http.Server{ReadHeaderTimeout: time.Second, Handler: http.HandlerFunc(func(w http.ResponseWriter, r *http.Request) {
		if r.Header.Get("Authorization") != "Bearer s3cret" {
			w.WriteHeader(http.StatusUnauthorized)
			return
		}
		req, err := http.NewRequestWithContext(r.Context(), r.Method, to+r.URL.RequestURI(), r.Body)
		if err != nil {
			w.WriteHeader(http.StatusInternalServerError)
			return
		}
		req.Header.Set("Content-Type", r.Header.Get("Content-Type"))
		res, err := http.DefaultClient.Do(req)
		if err != nil {
			w.WriteHeader(http.StatusBadGateway)
			return
		}
		defer func() { _ = res.Body.Close() }()
		w.WriteHeader(res.StatusCode)
		_, _ = io.Copy(w, res.Body)
	})}
	go func() { _ = srv.Serve(l) }()
	t.Cleanup(func() { _ = srv.Close() })
	p.url = fmt.Sprintf("http://%s", l.Addr())
}
