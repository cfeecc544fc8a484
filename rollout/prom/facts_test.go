package prom_test

import (
	"context"
	"errors"
	"maps"
	"net/http"
	"net/http/httptest"
	"strings"
	"sync"
	"testing"
	"time"

	corev1 "k8s.io/api/core/v1"
	metav1 "k8s.io/apimachinery/pkg/apis/meta/v1"
	"sigs.k8s.io/controller-runtime/pkg/client"
	"sigs.k8s.io/controller-runtime/pkg/client/interceptor"

	"tidegate.io/tidegate/rollout/prom"
	"tidegate.io/tidegate/schemas/v1alpha1"
)

// measuring is a source that lists queries.
func measuring(name, address string, queries ...[2]string) *v1alpha1.MetricSource {
	s := source(address)
	s.Name, s.UID = name, ""
	for _, q := range queries {
		s.Spec.Queries = append(s.Spec.Queries, v1alpha1.MetricQuery{Name: q[0], Query: q[1]})
	}
	return s
}

func TestWhatPoliciesAskForIsMeasuredAboutOneRelease(t *testing.T) {
	at := time.Date(2026, 11, 23, 12, 0, 0, 0, time.UTC)
	p := newPrometheus(t, [2]string{"budget", "0.25"}, [2]string{"pages", "3"}, [2]string{"nothing", ""}, [2]string{"odd", "NaN"})
	away := newPrometheus(t)
	away.Close()
	for name, tc := range map[string]struct {
		sources   []client.Object
		namespace string
		want      map[string]float64
	}{
		"no sources":               {want: map[string]float64{}},
		"a source without queries": {sources: []client.Object{measuring("main", p.URL)}, want: map[string]float64{}},
		"each query by source and name": {
			sources: []client.Object{
				measuring("main", p.URL, [2]string{"left", `budget{ns="$namespace",r="$release"}`}, [2]string{"pages", `pages{r="$release"}`}),
				measuring("other", p.URL, [2]string{"left", "budget"}),
			},
			want: map[string]float64{"main/left": 0.25, "main/pages": 3, "other/left": 0.25},
		},
		// A policy that rests on what is left out holds; a number that is made up would not.
		"a query without an answer is left out, and hinders no other": {
			sources: []client.Object{measuring("main", p.URL, [2]string{"none", "nothing"}, [2]string{"bad", "what is that"}, [2]string{"odd", "odd"}, [2]string{"left", "budget"})},
			want:    map[string]float64{"main/left": 0.25},
		},
		"a source that is away is left out, and hinders no other": {
			sources: []client.Object{measuring("away", away.URL, [2]string{"left", "budget"}), measuring("main", p.URL, [2]string{"left", "budget"})},
			want:    map[string]float64{"main/left": 0.25},
		},
		"a source whose Secret is missing is left out": {
			sources: []client.Object{func() client.Object {
				s := measuring("main", p.URL, [2]string{"left", "budget"})
				s.Spec.Prometheus.SecretName = "gone"
				return s
			}()},
			want: map[string]float64{},
		},
		"a name that would break out of the query is not put in": {
			sources:   []client.Object{measuring("main", p.URL, [2]string{"left", `budget{ns="$namespace"}`}, [2]string{"pages", "pages"})},
			namespace: `shop"} or budget{ns="bank`, want: map[string]float64{"main/pages": 3},
		},
	} {
		t.Run(name, func(t *testing.T) {
			namespace := tc.namespace
			if namespace == "" {
				namespace = "shop"
			}
			got, why := prom.NewSources(cluster(t, tc.sources...), ownNamespace).Measured(t.Context(), namespace, "cart", at)
			if !maps.Equal(got, tc.want) {
				t.Errorf("wanted %v, found %v", tc.want, got)
			}
			for _, s := range tc.sources {
				for _, q := range s.(*v1alpha1.MetricSource).Spec.Queries {
					name := s.GetName() + "/" + q.Name
					if _, measured := got[name]; measured == (why[name] != "") {
						t.Errorf("%s: wanted a number or why there is none, found %v and %q", name, got, why[name])
					}
				}
			}
		})
	}
	asked := p.asked()
	if asked[`budget{ns="shop",r="cart"}`] == "" || asked[`pages{r="cart"}`] == "" {
		t.Errorf("wanted the Release in the queries, found %v", asked)
	}
	for query, when := range asked {
		if !strings.HasPrefix(when, "1795435200") {
			t.Errorf("%s: wanted it asked for %d, found %s", query, at.Unix(), when)
		}
	}
}

func TestAnAPIServerThatIsAwayMeasuresNothing(t *testing.T) {
	p := newPrometheus(t, [2]string{"budget", "1"})
	c := interceptor.NewClient(cluster(t, measuring("main", p.URL, [2]string{"left", "budget"})), interceptor.Funcs{
		List: func(context.Context, client.WithWatch, client.ObjectList, ...client.ListOption) error {
			return errors.New("away")
		},
	})
	if got, _ := prom.NewSources(c, ownNamespace).Measured(t.Context(), "shop", "cart", time.Now()); len(got) != 0 {
		t.Errorf("wanted nothing, found %v", got)
	}
	if n := len(p.asked()); n != 0 {
		t.Errorf("wanted nobody asked, found %d queries", n)
	}
}

func TestCredentialsOfASourceAreUsedForFactsToo(t *testing.T) {
	p := newPrometheus(t, [2]string{"budget", "1"})
	s := measuring("main", p.URL, [2]string{"left", "budget"})
	s.Spec.Prometheus.SecretName = "token"
	secret := &corev1.Secret{ObjectMeta: metav1.ObjectMeta{Namespace: ownNamespace, Name: "token"}, Data: map[string][]byte{"token": []byte("t0ken")}}
	if got, why := prom.NewSources(cluster(t, s, secret), ownNamespace).Measured(t.Context(), "shop", "cart", time.Now()); got["main/left"] != 1 {
		t.Fatalf("wanted 1, found %v, %v", got, why)
	}
	if len(p.auth) != 1 || p.auth[0] != "Bearer t0ken" {
		t.Errorf("wanted the token, found %q", p.auth)
	}
}

// TestAllSourcesAreAskedAtOnce has sources that answer nobody until all have been asked, and
// one that never answers.
func TestAllSourcesAreAskedAtOnce(t *testing.T) {
	var all sync.WaitGroup
	all.Add(4)
	waits := httptest.NewServer(http.HandlerFunc(func(w http.ResponseWriter, _ *http.Request) {
		all.Done()
		all.Wait()
		_, _ = w.Write([]byte(vector(series("", "1"))))
	}))
	defer waits.Close()
	over := make(chan struct{})
	hangs := httptest.NewServer(http.HandlerFunc(func(http.ResponseWriter, *http.Request) { <-over }))
	defer hangs.Close()
	defer close(over)
	c := cluster(t, measuring("hangs", hangs.URL, [2]string{"left", "budget"}),
		measuring("main", waits.URL, [2]string{"a", "a"}, [2]string{"b", "b"}), measuring("other", waits.URL, [2]string{"a", "a"}, [2]string{"b", "b"}))
	got, why := prom.NewSources(c, ownNamespace).Measured(t.Context(), "shop", "cart", time.Now())
	if len(got) != 4 {
		t.Errorf("wanted four numbers, found %v", got)
	}
	if len(why) != 1 || !strings.Contains(why["hangs/left"], "asking hangs: ") || !strings.Contains(why["hangs/left"], "no answer within 1s") {
		t.Errorf("wanted the source that hangs named, and no other, found %v", why)
	}
}
