package prom_test

import (
	"context"
	"errors"
	"fmt"
	"maps"
	"net/http"
	"net/http/httptest"
	"strings"
	"sync"
	"testing"
	"time"

	corev1 "k8s.io/api/core/v1"
	"k8s.io/apimachinery/pkg/api/resource"
	metav1 "k8s.io/apimachinery/pkg/apis/meta/v1"
	"k8s.io/apimachinery/pkg/runtime"
	"k8s.io/apimachinery/pkg/types"
	"sigs.k8s.io/controller-runtime/pkg/client"
	"sigs.k8s.io/controller-runtime/pkg/client/fake"
	"sigs.k8s.io/controller-runtime/pkg/client/interceptor"

	"tidegate.io/tidegate/rollout/prom"
	"tidegate.io/tidegate/schemas/v1alpha1"
)

const ownNamespace = "tidegate-system"

// prometheus answers by what is in the query, and remembers what it was asked.
type prometheus struct {
	*httptest.Server
	mu      sync.Mutex
	queries map[string]string // query -> evaluation time
	auth    []string
}

// newPrometheus answers with the first entry of answers whose key is part of the query.
func newPrometheus(t *testing.T, answers ...[2]string) *prometheus {
	t.Helper()
	p := &prometheus{queries: map[string]string{}}
	p.Server = httptest.NewServer(http.HandlerFunc(func(w http.ResponseWriter, r *http.Request) {
		_ = r.ParseForm()
		query := r.Form.Get("query")
		p.mu.Lock()
		p.queries[query] = r.Form.Get("time")
		p.auth = append(p.auth, r.Header.Get("Authorization"))
		p.mu.Unlock()
		for _, a := range answers {
			if strings.Contains(query, a[0]) {
				if a[1] == "" {
					_, _ = w.Write([]byte(vector()))
					return
				}
				_, _ = w.Write([]byte(vector(series(``, a[1]))))
				return
			}
		}
		w.WriteHeader(http.StatusBadRequest)
		_, _ = w.Write([]byte(`{"status":"error","errorType":"bad_data","error":"unexpected query"}`))
	}))
	t.Cleanup(p.Close)
	return p
}

func (p *prometheus) asked() map[string]string {
	p.mu.Lock()
	defer p.mu.Unlock()
	return maps.Clone(p.queries)
}

func source(address string) *v1alpha1.MetricSource {
	return &v1alpha1.MetricSource{
		ObjectMeta: metav1.ObjectMeta{Name: "prometheus", UID: "1", Generation: 1},
		Spec:       v1alpha1.MetricSourceSpec{Prometheus: v1alpha1.PrometheusSource{Address: address, Timeout: metav1.Duration{Duration: time.Second}}},
	}
}

func cluster(t *testing.T, objects ...client.Object) client.WithWatch {
	t.Helper()
	scheme := runtime.NewScheme()
	for _, add := range []func(*runtime.Scheme) error{corev1.AddToScheme, v1alpha1.AddToScheme} {
		if err := add(scheme); err != nil {
			t.Fatal(err)
		}
	}
	return fake.NewClientBuilder().WithScheme(scheme).WithObjects(objects...).Build()
}

// rollout is one in step 2 with an error ratio that may be 1% and twice the stable one's.
func rollout() *v1alpha1.Rollout {
	quantity := func(s string) *resource.Quantity { q := resource.MustParse(s); return &q }
	return &v1alpha1.Rollout{
		ObjectMeta: metav1.ObjectMeta{Namespace: "shop", Name: "cart-2"},
		Spec: v1alpha1.RolloutSpec{
			Release: "cart", Revision: "aaaaaaaaaa", Digest: "sha256:new",
			Stable: &v1alpha1.StableReference{Rollout: "cart-1", Revision: "bbbbbbbbbb"},
			Strategy: v1alpha1.Strategy{Analysis: &v1alpha1.Analysis{
				Source: "prometheus", Window: metav1.Duration{Duration: time.Minute},
				Metrics: []v1alpha1.Metric{{
					Name: "errors", Unit: "%", MinSamples: 100,
					Query:     `ratio{ns="$namespace",r="$release",v="$revision"}[$window]`,
					Samples:   `count{ns="$namespace",r="$release",v="$revision"}[$window]`,
					Threshold: &v1alpha1.ThresholdJudge{Max: quantity("0.01")},
					Ratio:     &v1alpha1.RatioJudge{Max: resource.MustParse("2")},
				}},
			}},
		},
		Status: v1alpha1.RolloutStatus{Step: 2},
	}
}

func TestARoundIsWhatThePrometheusSays(t *testing.T) {
	t.Parallel()
	cases := map[string]struct {
		answers [][2]string
		want    v1alpha1.Verdict
		cause   v1alpha1.UnknownCause
	}{
		"as good as the stable revision passes": {[][2]string{{`ratio`, "0.002"}, {`count`, "500"}}, v1alpha1.VerdictPass, ""},
		"five percent of errors fail":           {[][2]string{{`ratio{ns="shop",r="cart",v="aaaaaaaaaa"`, "0.05"}, {`ratio`, "0.002"}, {`count`, "500"}}, v1alpha1.VerdictFail, ""},
		"three times the stable errors fail":    {[][2]string{{`ratio{ns="shop",r="cart",v="aaaaaaaaaa"`, "0.009"}, {`ratio`, "0.003"}, {`count`, "500"}}, v1alpha1.VerdictFail, ""},
		"little traffic is inconclusive":        {[][2]string{{`ratio`, "0.05"}, {`count{ns="shop",r="cart",v="aaaaaaaaaa"`, "12"}, {`count`, "500"}}, v1alpha1.VerdictInconclusive, ""},
		"no samples are no evidence":            {[][2]string{{`ratio`, "0.002"}, {`count`, ""}}, v1alpha1.VerdictUnknown, v1alpha1.CauseNoData},
		"no ratio with samples is no evidence":  {[][2]string{{`ratio`, "NaN"}, {`count`, "500"}}, v1alpha1.VerdictUnknown, v1alpha1.CauseNotANumber},
		"a refused query is no evidence":        {[][2]string{{`ratio`, "0.002"}}, v1alpha1.VerdictUnknown, v1alpha1.CauseQueryError},
	}
	for name, tc := range cases {
		t.Run(name, func(t *testing.T) {
			t.Parallel()
			p := newPrometheus(t, tc.answers...)
			m := prom.NewMeasurer(prom.NewSources(cluster(t, source(p.URL)), ownNamespace))
			round, err := m.Measure(t.Context(), rollout(), at)
			if err != nil {
				t.Fatal(err)
			}
			if round.Verdict != tc.want {
				t.Fatalf("verdict %s, wanted %s: %+v", round.Verdict, tc.want, round)
			}
			if round.Step != 2 || round.Digest != "sha256:new" || !round.TakenAt.Time.Equal(at) || round.Message == "" {
				t.Errorf("the round is not bound to what was judged: %+v", round)
			}
			if tc.cause != "" && round.Findings[0].Cause != tc.cause {
				t.Errorf("cause %q, wanted %q", round.Findings[0].Cause, tc.cause)
			}
			asked := p.asked()
			if len(asked) != 4 {
				t.Errorf("asked %d queries, wanted value and samples of both revisions: %v", len(asked), asked)
			}
			for q, when := range asked {
				if when != "1760000000.25" {
					t.Errorf("%s was evaluated at %s; both revisions must see the same moment", q, when)
				}
				if strings.Contains(q, "$") || !strings.Contains(q, "[1m]") {
					t.Errorf("not expanded: %s", q)
				}
			}
		})
	}
}

func TestTheFirstRolloutIsMeasuredAlone(t *testing.T) {
	t.Parallel()
	p := newPrometheus(t, [2]string{`ratio`, "0.002"}, [2]string{`count`, "500"})
	ro := rollout()
	ro.Spec.Stable = nil
	ro.Spec.Strategy.Analysis.Metrics[0].Ratio = nil
	round, err := prom.NewMeasurer(prom.NewSources(cluster(t, source(p.URL)), ownNamespace)).Measure(t.Context(), ro, at)
	if err != nil || round.Verdict != v1alpha1.VerdictPass || len(p.asked()) != 2 {
		t.Errorf("%+v, %v after %d queries", round, err, len(p.asked()))
	}
}

func TestASourceThatCannotBeUsedHoldsAndNeverFails(t *testing.T) {
	t.Parallel()
	gone := httptest.NewServer(http.NotFoundHandler())
	gone.Close()
	withSecret := source("http://prometheus")
	withSecret.Spec.Prometheus.SecretName = "credentials"
	empty := &corev1.Secret{ObjectMeta: metav1.ObjectMeta{Namespace: ownNamespace, Name: "credentials"}}
	elsewhere := &corev1.Secret{ObjectMeta: metav1.ObjectMeta{Namespace: "shop", Name: "credentials"}, Data: map[string][]byte{"token": []byte("t")}}
	cases := map[string]struct {
		objects []client.Object
		says    string
	}{
		"it is not there":                    {nil, "no MetricSource of this name"},
		"it does not answer":                 {[]client.Object{source(gone.URL)}, "connect"},
		"its address is none":                {[]client.Object{source("gopher://x")}, "wanted http://HOST"},
		"its Secret is not there":            {[]client.Object{withSecret}, "no Secret tidegate-system/credentials"},
		"its Secret is empty":                {[]client.Object{withSecret, empty}, "has neither the key token"},
		"its Secret is in another namespace": {[]client.Object{withSecret, elsewhere}, "no Secret tidegate-system/credentials"},
	}
	for name, tc := range cases {
		t.Run(name, func(t *testing.T) {
			t.Parallel()
			round, err := prom.NewMeasurer(prom.NewSources(cluster(t, tc.objects...), ownNamespace)).Measure(t.Context(), rollout(), at)
			if err != nil {
				t.Fatalf("an error aborts nothing, but holds nothing either: %v", err)
			}
			if round.Verdict != v1alpha1.VerdictUnknown || round.Findings[0].Cause != v1alpha1.CauseSourceDown || !strings.Contains(round.Message, tc.says) {
				t.Errorf("%+v; wanted Unknown, SourceDown, %q", round, tc.says)
			}
		})
	}
}

func TestAnAPIServerThatIsAwayIsNoVerdict(t *testing.T) {
	t.Parallel()
	away := interceptor.NewClient(cluster(t), interceptor.Funcs{
		Get: func(context.Context, client.WithWatch, client.ObjectKey, client.Object, ...client.GetOption) error {
			return errors.New("away")
		},
	})
	if round, err := prom.NewMeasurer(prom.NewSources(away, ownNamespace)).Measure(t.Context(), rollout(), at); err == nil {
		t.Errorf("%+v", round)
	}
}

func TestAStoppingManagerMakesNoVerdict(t *testing.T) {
	t.Parallel()
	ctx, stop := context.WithCancel(t.Context())
	srv := httptest.NewServer(http.HandlerFunc(func(_ http.ResponseWriter, r *http.Request) {
		_ = r.ParseForm() // only a server that has read the body sees that the client has gone
		stop()
		<-r.Context().Done()
	}))
	defer srv.Close()
	if round, err := prom.NewMeasurer(prom.NewSources(cluster(t, source(srv.URL)), ownNamespace)).Measure(ctx, rollout(), at); !errors.Is(err, context.Canceled) {
		t.Errorf("%+v, %v", round, err)
	}
}

func TestAHangingSourceCostsOneTimeoutAndNotOneForEachQuery(t *testing.T) {
	t.Parallel()
	var mu sync.Mutex
	n := 0
	srv := httptest.NewServer(http.HandlerFunc(func(_ http.ResponseWriter, r *http.Request) {
		_ = r.ParseForm() // as above
		mu.Lock()
		n++
		mu.Unlock()
		<-r.Context().Done()
	}))
	defer srv.Close()
	s := source(srv.URL)
	s.Spec.Prometheus.Timeout.Duration = 50 * time.Millisecond
	ro := rollout()
	one := ro.Spec.Strategy.Analysis.Metrics[0]
	for i := range 19 {
		one.Name = fmt.Sprintf("m%d", i)
		ro.Spec.Strategy.Analysis.Metrics = append(ro.Spec.Strategy.Analysis.Metrics, one)
	}
	round, err := prom.NewMeasurer(prom.NewSources(cluster(t, s), ownNamespace)).Measure(t.Context(), ro, at)
	if err != nil || round.Verdict != v1alpha1.VerdictUnknown {
		t.Fatalf("%+v, %v", round, err)
	}
	mu.Lock()
	defer mu.Unlock()
	if n > 16 {
		t.Errorf("%d of 80 queries were sent to a source that hangs; wanted those of one batch", n)
	}
}

func TestARolloutWithoutAnalysisIsNotMeasured(t *testing.T) {
	t.Parallel()
	ro := rollout()
	ro.Spec.Strategy.Analysis = nil
	if _, err := prom.NewMeasurer(prom.NewSources(cluster(t), ownNamespace)).Measure(t.Context(), ro, at); err == nil {
		t.Error("no error")
	}
}

func TestAClientIsKeptForAsLongAsItsSourceStaysAsItIs(t *testing.T) {
	t.Parallel()
	p := newPrometheus(t, [2]string{"", "1"})
	s := source(p.URL)
	s.Spec.Prometheus.SecretName = "credentials"
	secret := &corev1.Secret{ObjectMeta: metav1.ObjectMeta{Namespace: ownNamespace, Name: "credentials"}, Data: map[string][]byte{"token": []byte("first")}}
	c := cluster(t, s, secret)
	sources := prom.NewSources(c, ownNamespace)
	get := func() *prom.Client {
		t.Helper()
		got, err := sources.Client(t.Context(), "prometheus")
		if err != nil {
			t.Fatal(err)
		}
		return got
	}
	first := get()
	if get() != first {
		t.Error("a client was made anew for an unchanged source")
	}
	var current corev1.Secret
	if err := c.Get(t.Context(), types.NamespacedName{Namespace: ownNamespace, Name: "credentials"}, &current); err != nil {
		t.Fatal(err)
	}
	current.Data["token"] = []byte("second")
	if err := c.Update(t.Context(), &current); err != nil {
		t.Fatal(err)
	}
	if err := sources.Probe(t.Context(), "prometheus", at); err != nil {
		t.Fatal(err)
	}
	if got := p.auth[len(p.auth)-1]; got != "Bearer second" {
		t.Errorf("asked with %q after the token changed", got)
	}
	second := get()
	var now v1alpha1.MetricSource
	if err := c.Get(t.Context(), types.NamespacedName{Name: "prometheus"}, &now); err != nil {
		t.Fatal(err)
	}
	now.Generation++
	if err := c.Update(t.Context(), &now); err != nil {
		t.Fatal(err)
	}
	if get() == second {
		t.Error("a client was kept for a changed source")
	}
	if err := c.Delete(t.Context(), &now); err != nil {
		t.Fatal(err)
	}
	var unusable *prom.SourceError
	if _, err := sources.Client(t.Context(), "prometheus"); !errors.As(err, &unusable) {
		t.Errorf("a source that is gone: %v", err)
	}
}

func TestTheComparisonIsWithTheBaselineWhileItGetsRequests(t *testing.T) {
	t.Parallel()
	weight := func(n int32) v1alpha1.Step { return v1alpha1.Step{SetWeight: &n} }
	baseline := func(on bool) v1alpha1.Step { return v1alpha1.Step{SetBaseline: &on} }
	steps := []v1alpha1.Step{weight(5), baseline(true), weight(20), baseline(false), weight(100)}
	for name, c := range map[string]struct {
		step  int32
		phase v1alpha1.RolloutPhase
		want  string
	}{
		"before the step the stable set is asked about":         {1, v1alpha1.RolloutProgressing, "bbbbbbbbbb"},
		"from the step on the baseline set is":                  {2, v1alpha1.RolloutProgressing, "bbbbbbbbbb-baseline"},
		"at the next weight it still is":                        {3, v1alpha1.RolloutProgressing, "bbbbbbbbbb-baseline"},
		"once it is taken away the stable set is asked again":   {4, v1alpha1.RolloutProgressing, "bbbbbbbbbb"},
		"a Rollout that is being promoted has no baseline":      {3, v1alpha1.RolloutPromoting, "bbbbbbbbbb"},
		"an aborted one neither, whatever step it had come to":  {2, v1alpha1.RolloutAborting, "bbbbbbbbbb"},
		"at all of the requests nothing is there to compare by": {5, v1alpha1.RolloutProgressing, "bbbbbbbbbb"},
	} {
		t.Run(name, func(t *testing.T) {
			t.Parallel()
			p := newPrometheus(t, [2]string{"ratio", "0.002"}, [2]string{"count", "500"})
			ro := rollout()
			ro.Spec.Strategy.Type, ro.Spec.Strategy.Steps = v1alpha1.StrategyCanary, steps
			ro.Spec.Replicas, ro.Spec.Stable.Replicas = 10, 10
			ro.Status.Step, ro.Status.Phase = c.step, c.phase
			if _, err := prom.NewMeasurer(prom.NewSources(cluster(t, source(p.URL)), ownNamespace)).Measure(t.Context(), ro, time.Now()); err != nil {
				t.Fatal(err)
			}
			want := `ratio{ns="shop",r="cart",v="` + c.want + `"}[1m]`
			if _, asked := p.asked()[want]; !asked {
				t.Errorf("wanted the query %s, found %v", want, p.asked())
			}
		})
	}
}
