package main

import (
	"context"
	"encoding/json"
	"errors"
	"fmt"
	"io"
	"net"
	"net/http"
	"net/http/httptest"
	"strings"
	"sync"
	"sync/atomic"
	"syscall"
	"testing"
	"time"

	"github.com/traefik/traefik/v3/pkg/config/dynamic"
	"github.com/traefik/traefik/v3/pkg/safe"
)

// pod is a real server on a loopback address that a pod address 10.254.0.n stands for.
type pod struct {
	url   string // http://10.254.0.n:port, as an EndpointSlice names it.
	name  string
	count atomic.Int64
}

func newPod(t *testing.T, n int, name string, handler http.HandlerFunc) *pod {
	t.Helper()
	l, err := (&net.ListenConfig{}).Listen(t.Context(), "tcp", fmt.Sprintf("127.254.0.%d:0", n))
	if err != nil {
		t.Fatal(err)
	}
	p := &pod{name: name, url: "http://10." + strings.TrimPrefix(l.Addr().String(), "127.")}
	protocols := new(http.Protocols)
	protocols.SetHTTP1(true)
	protocols.SetUnencryptedHTTP2(true)
	s := &httptest.Server{Listener: l, Config: &http.Server{Protocols: protocols, Handler: http.HandlerFunc(func(w http.ResponseWriter, r *http.Request) {
		p.count.Add(1)
		w.Header().Set("X-Pod", name)
		if handler != nil {
			handler(w, r)
		}
	})}}
	s.Start()
	t.Cleanup(s.Close)
	return p
}

// gone returns the address of a pod on which nothing listens.
func gone(t *testing.T, n int) *pod {
	t.Helper()
	l, err := (&net.ListenConfig{}).Listen(t.Context(), "tcp", fmt.Sprintf("127.254.0.%d:0", n))
	if err != nil {
		t.Fatal(err)
	}
	if err := l.Close(); err != nil {
		t.Fatal(err)
	}
	return &pod{url: "http://10." + strings.TrimPrefix(l.Addr().String(), "127.")}
}

// config is a route for cart.test to weighted backends, each with the given pods.
type config struct {
	*dynamic.HTTPConfiguration
}

func route() config {
	return config{&dynamic.HTTPConfiguration{
		Routers:     map[string]*dynamic.Router{"cart": {Rule: "Host(`cart.test`) && PathPrefix(`/`)", RuleSyntax: "default", Service: "cart-wrr"}},
		Middlewares: map[string]*dynamic.Middleware{},
		Services:    map[string]*dynamic.Service{"cart-wrr": {Weighted: &dynamic.WeightedRoundRobin{}}},
	}}
}

func (c config) backend(name string, weight int, pods ...*pod) config {
	lb := &dynamic.ServersLoadBalancer{}
	for _, p := range pods {
		lb.Servers = append(lb.Servers, dynamic.Server{URL: p.url})
	}
	c.Services[name] = &dynamic.Service{LoadBalancer: lb}
	c.entry(dynamic.WRRService{Name: name, Weight: &weight})
	return c
}

func (c config) entry(s dynamic.WRRService) {
	w := c.Services["cart-wrr"].Weighted
	w.Services = append(w.Services, s)
}

func testPlane(t *testing.T) *plane {
	t.Helper()
	transport := newTransport()
	t.Cleanup(transport.http1.CloseIdleConnections)
	t.Cleanup(transport.h2c.CloseIdleConnections)
	p, err := newPlane(transport, &stats{}, safe.NewPool(t.Context()))
	if err != nil {
		t.Fatal(err)
	}
	return p
}

func (p *plane) mustApply(t *testing.T, c config) {
	t.Helper()
	if err := p.apply(t.Context(), c.HTTPConfiguration); err != nil {
		t.Fatal(err)
	}
}

func (p *plane) do(ctx context.Context, method, host string, body io.Reader) *http.Response {
	req := httptest.NewRequestWithContext(ctx, method, "http://"+host+"/", body)
	rec := httptest.NewRecorder()
	p.ServeHTTP(rec, req)
	return rec.Result()
}

func (p *plane) get(t *testing.T) *http.Response {
	t.Helper()
	return p.do(t.Context(), http.MethodGet, "cart.test", nil)
}

func TestWeightsAreExact(t *testing.T) {
	stable, canary := newPod(t, 1, "stable", nil), newPod(t, 2, "canary", nil)
	for _, weight := range []int{0, 5, 10, 50, 100} {
		t.Run(fmt.Sprintf("%d of 100", weight), func(t *testing.T) {
			p := testPlane(t)
			p.mustApply(t, route().backend("stable", 100-weight, stable).backend("canary", weight, canary))
			before := canary.count.Load()
			for range 1000 {
				if res := p.get(t); res.StatusCode != http.StatusOK || res.Header.Get(errorHeader) != "" {
					t.Fatalf("status %d, %q", res.StatusCode, res.Header.Get(errorHeader))
				}
			}
			if got := canary.count.Load() - before; got != int64(10*weight) {
				t.Errorf("canary got %d of 1000, want %d", got, 10*weight)
			}
		})
	}
}

// Endpoints come and go more often than a canary's turn comes.
func TestWeightsHoldWhileEndpointsChange(t *testing.T) {
	stable, canary := newPod(t, 1, "stable", nil), newPod(t, 2, "canary", nil)
	other := newPod(t, 3, "other", nil)
	p := testPlane(t)
	for i := range 1000 {
		if i%7 == 0 {
			c := route().backend("stable", 95, stable).backend("canary", 5, canary)
			if i%2 == 0 {
				c = route().backend("stable", 95, stable, other).backend("canary", 5, canary)
			}
			p.mustApply(t, c)
		}
		p.get(t)
	}
	if got := canary.count.Load(); got != 50 {
		t.Errorf("canary got %d of 1000 at weight 5, want 50", got)
	}
	if other.count.Load() == 0 {
		t.Error("an endpoint that was added got no request")
	}
}

func TestGatewayAnswersInItsOwnName(t *testing.T) {
	up := newPod(t, 1, "up", nil)
	weight := 1
	failed := http.StatusInternalServerError
	unresolved := route()
	unresolved.entry(dynamic.WRRService{Name: "missing", Weight: &weight, Status: &failed})
	unknownFilter := route().backend("a", 1, up)
	unknownFilter.Routers["cart"].Middlewares = []string{"absent"}

	for name, tc := range map[string]struct {
		config config
		host   string
		status int
		reason string
	}{
		"no endpoint is 503":                {route().backend("a", 1), "cart.test", 503, "no ready endpoint for a"},
		"no connection is 502":              {route().backend("a", 1, gone(t, 9)), "cart.test", 502, "connection refused"},
		"no weight above 0 is 503":          {route().backend("a", 0, up), "cart.test", 503, "no backend has a weight above 0"},
		"a reference that misses is 500":    {unresolved, "cart.test", 500, "does not resolve: missing"},
		"a host without a route is 404":     {route().backend("a", 1, up), "other.test", 404, `no route for host "other.test"`},
		"a route that cannot be built: 500": {unknownFilter, "cart.test", 500, "invalid route"},
	} {
		t.Run(name, func(t *testing.T) {
			p := testPlane(t)
			err := p.apply(t.Context(), tc.config.HTTPConfiguration)
			if (err != nil) != strings.Contains(tc.reason, "invalid") {
				t.Errorf("apply: %v", err)
			}
			res := p.do(t.Context(), http.MethodGet, tc.host, nil)
			if got := res.Header.Get(errorHeader); res.StatusCode != tc.status || !strings.Contains(got, tc.reason) {
				t.Errorf("got %d and reason %q, want %d and %q", res.StatusCode, got, tc.status, tc.reason)
			}
			if n := p.stats.failed.Load(); n != 1 {
				t.Errorf("%d failures counted, want 1", n)
			}
		})
	}
}

func TestNoConfigurationYetIs503(t *testing.T) {
	res := testPlane(t).get(t)
	if res.StatusCode != http.StatusServiceUnavailable || res.Header.Get(errorHeader) == "" {
		t.Errorf("got %d, %q", res.StatusCode, res.Header.Get(errorHeader))
	}
}

func TestApplicationErrorIsNotTheGateways(t *testing.T) {
	bad := newPod(t, 1, "bad", func(w http.ResponseWriter, _ *http.Request) {
		w.Header().Set(errorHeader, "pretended")
		w.WriteHeader(http.StatusServiceUnavailable)
	})
	p := testPlane(t)
	p.mustApply(t, route().backend("a", 1, bad))
	res := p.get(t)
	if res.StatusCode != http.StatusServiceUnavailable || len(res.Header.Values(errorHeader)) > 0 || p.stats.failed.Load() != 0 {
		t.Errorf("got %d, %q, %d failures counted", res.StatusCode, res.Header.Values(errorHeader), p.stats.failed.Load())
	}
}

func TestRefusedConnectionsAreRetriedWhereSafe(t *testing.T) {
	up := newPod(t, 1, "up", nil)
	for name, tc := range map[string]struct {
		method string
		body   io.Reader
		ok     bool
	}{
		"GET is tried on the next endpoint":           {http.MethodGet, nil, true},
		"DELETE is tried on the next endpoint":        {http.MethodDelete, nil, true},
		"POST is not":                                 {http.MethodPost, nil, false},
		"PUT with a body that may be consumed is not": {http.MethodPut, strings.NewReader("x"), false},
	} {
		t.Run(name, func(t *testing.T) {
			p := testPlane(t)
			p.mustApply(t, route().backend("a", 1, gone(t, 8), up))
			res := p.do(t.Context(), tc.method, "cart.test", tc.body)
			if ok := res.StatusCode == http.StatusOK; ok != tc.ok {
				t.Errorf("status %d, %q", res.StatusCode, res.Header.Get(errorHeader))
			}
			if got := p.stats.retried.Load() == 1; got != tc.ok {
				t.Errorf("%d retries counted", p.stats.retried.Load())
			}
		})
	}
}

func TestRetryNeverLeavesItsBackend(t *testing.T) {
	stable := newPod(t, 1, "stable", nil)
	p := testPlane(t)
	p.mustApply(t, route().backend("canary", 1, gone(t, 8)).backend("stable", 0, stable))
	if res := p.get(t); res.StatusCode != http.StatusBadGateway || stable.count.Load() != 0 {
		t.Errorf("status %d, stable got %d requests", res.StatusCode, stable.count.Load())
	}
}

// A request that was sent may have had its effect, whatever became of the answer.
func TestRequestThatWasSentIsNotRetried(t *testing.T) {
	hangUp := func(w http.ResponseWriter, _ *http.Request) {
		conn, _, err := http.NewResponseController(w).Hijack()
		if err == nil {
			_ = conn.Close()
		}
	}
	one, two := newPod(t, 1, "one", hangUp), newPod(t, 2, "two", hangUp)
	p := testPlane(t)
	p.mustApply(t, route().backend("a", 1, one, two))
	if res := p.get(t); res.StatusCode != http.StatusBadGateway {
		t.Errorf("status %d", res.StatusCode)
	}
	if n := one.count.Load() + two.count.Load(); n != 1 {
		t.Errorf("%d pods got the request, want 1", n)
	}
}

// What a request that is under way sees must not depend on the configuration that comes after it;
// what comes after the change must not see the configuration before.
func TestChangeLetsRequestsInFlightEnd(t *testing.T) {
	entered, release := make(chan struct{}), make(chan struct{})
	old := newPod(t, 1, "old", func(http.ResponseWriter, *http.Request) {
		entered <- struct{}{}
		<-release
	})
	next := newPod(t, 2, "next", nil)
	p := testPlane(t)
	p.mustApply(t, route().backend("old", 100, old).backend("next", 0, next))

	answered := make(chan *http.Response, 1)
	go func() { answered <- p.do(context.WithoutCancel(t.Context()), http.MethodGet, "cart.test", nil) }()
	<-entered
	p.mustApply(t, route().backend("next", 100, next))
	for range 50 {
		if res := p.get(t); res.Header.Get("X-Pod") != "next" {
			t.Fatalf("after the change %q answers", res.Header.Get("X-Pod"))
		}
	}
	close(release)
	if res := <-answered; res.StatusCode != http.StatusOK || res.Header.Get("X-Pod") != "old" {
		t.Errorf("the request in flight got %d from %q", res.StatusCode, res.Header.Get("X-Pod"))
	}
}

func TestNoRequestFailsInAStormOfChanges(t *testing.T) {
	a, b := newPod(t, 1, "a", nil), newPod(t, 2, "b", nil)
	p := testPlane(t)
	p.mustApply(t, route().backend("a", 100, a).backend("b", 0, b))

	ctx, stop := context.WithCancel(t.Context())
	var clients sync.WaitGroup
	for range 4 {
		clients.Go(func() {
			for ctx.Err() == nil {
				res := p.do(context.WithoutCancel(ctx), http.MethodGet, "cart.test", nil)
				if res.StatusCode != http.StatusOK {
					t.Errorf("status %d, %q", res.StatusCode, res.Header.Get(errorHeader))
					return
				}
			}
		})
	}
	for i := range 500 {
		w := i % 101
		c := route().backend("a", 100-w, a).backend("b", w, b)
		if i%2 == 0 { // The same by other names: balancers and backends are made anew.
			c = route().backend("c", 100-w, a).backend("d", w, b)
		}
		p.mustApply(t, c)
	}
	stop()
	clients.Wait()
}

func TestEndpointThatLeftGetsNothingMore(t *testing.T) {
	stays, leaves := newPod(t, 1, "stays", nil), newPod(t, 2, "leaves", nil)
	p := testPlane(t)
	p.mustApply(t, route().backend("a", 1, stays, leaves))
	for range 10 {
		p.get(t)
	}
	if stays.count.Load() != 5 || leaves.count.Load() != 5 {
		t.Errorf("two endpoints got %d and %d of 10", stays.count.Load(), leaves.count.Load())
	}
	p.mustApply(t, route().backend("a", 1, stays))
	for range 10 {
		p.get(t)
	}
	if leaves.count.Load() != 5 {
		t.Errorf("the endpoint that left got %d more", leaves.count.Load()-5)
	}
}

func TestFiltersApply(t *testing.T) {
	echo := newPod(t, 1, "a", func(w http.ResponseWriter, r *http.Request) {
		w.Header().Set("X-Seen", r.Header.Get("X-Added"))
		w.Header().Set("X-Host", r.Host)
	})
	p := testPlane(t)
	c := route().backend("a", 1, echo)
	c.Routers["cart"].Middlewares = []string{"request", "response"}
	c.Middlewares["request"] = &dynamic.Middleware{RequestHeaderModifier: &dynamic.HeaderModifier{Set: map[string]string{"X-Added": "yes"}}}
	c.Middlewares["response"] = &dynamic.Middleware{ResponseHeaderModifier: &dynamic.HeaderModifier{Set: map[string]string{"X-Out": "yes"}}}
	p.mustApply(t, c)
	res := p.get(t)
	if res.Header.Get("X-Seen") != "yes" || res.Header.Get("X-Out") != "yes" || res.Header.Get("X-Host") != "cart.test" {
		t.Errorf("headers are %v", res.Header)
	}
}

func TestStatsSayWhatIsServed(t *testing.T) {
	a := newPod(t, 1, "a", nil)
	p := testPlane(t)
	p.mustApply(t, route().backend("a", 95, a).backend("b", 5))
	p.get(t)

	rec := httptest.NewRecorder()
	handler(p, p.stats).ServeHTTP(rec, httptest.NewRequestWithContext(t.Context(), http.MethodGet, "http://any"+statsPath, nil))
	var got struct {
		Requests, Configurations int
		Routes                   []routeStats
	}
	if err := json.NewDecoder(rec.Body).Decode(&got); err != nil {
		t.Fatal(err)
	}
	if got.Requests != 1 || got.Configurations != 1 || len(got.Routes) != 1 || len(got.Routes[0].Backends) != 2 {
		t.Fatalf("stats are %+v", got)
	}
	be := got.Routes[0].Backends[0]
	if be.Name != "a" || be.Weight != 95 || len(be.Endpoints) != 1 || "http://"+be.Endpoints[0] != a.url {
		t.Errorf("first backend is %+v", be)
	}
}

func TestLoopback(t *testing.T) {
	for name, tc := range map[string]struct{ in, want string }{
		"a pod address is mapped":    {"10.64.1.7:8080", "127.64.1.7:8080"},
		"only the first number is":   {"10.10.10.10:8080", "127.10.10.10:8080"},
		"another address stays":      {"192.168.1.7:80", "192.168.1.7:80"},
		"a longer first number also": {"100.64.1.7:80", "100.64.1.7:80"},
	} {
		t.Run(name, func(t *testing.T) {
			if got := loopback(tc.in); got != tc.want {
				t.Errorf("got %s, want %s", got, tc.want)
			}
		})
	}
}

func TestParseFlags(t *testing.T) {
	if _, err := parseFlags(nil); err == nil || !strings.Contains(err.Error(), "--kubeconfig is required") {
		t.Errorf("without a kubeconfig: %v", err)
	}
	if _, err := parseFlags([]string{"--kubeconfig", "k", "--log-level", "loud"}); err == nil || !strings.Contains(err.Error(), `"loud"`) {
		t.Errorf("with a wrong level: %v", err)
	}
	o, err := parseFlags([]string{"--kubeconfig", "k"})
	if err != nil || o.listen != "127.0.0.1:0" || o.listenerPort != 80 || o.drain != 10*time.Second {
		t.Errorf("defaults are %+v, %v", o, err)
	}
}

func TestClientThatLeavesIsNotAFailure(t *testing.T) {
	ctx, leave := context.WithCancel(t.Context())
	stuck := newPod(t, 1, "stuck", func(_ http.ResponseWriter, r *http.Request) {
		leave()
		<-r.Context().Done()
	})
	p := testPlane(t)
	p.mustApply(t, route().backend("a", 1, stuck))
	p.do(ctx, http.MethodGet, "cart.test", nil)
	if p.stats.abandoned.Load() != 1 || p.stats.failed.Load() != 0 {
		t.Errorf("abandoned %d, failed %d", p.stats.abandoned.Load(), p.stats.failed.Load())
	}
}

func TestNeverSent(t *testing.T) {
	for name, tc := range map[string]struct {
		err  error
		want bool
	}{
		"a refused connection":  {fmt.Errorf("x: %w", &net.OpError{Op: "dial", Err: syscall.ECONNREFUSED}), true},
		"a reset while reading": {&net.OpError{Op: "read", Err: syscall.ECONNRESET}, false},
		"anything else":         {errors.New("EOF"), false},
	} {
		t.Run(name, func(t *testing.T) {
			if got := neverSent(tc.err); got != tc.want {
				t.Errorf("got %v", got)
			}
		})
	}
}
