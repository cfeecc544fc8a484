package integration

import (
	"fmt"
	"io"
	"net/http"
	"strings"
	"testing"
	"time"

	"google.golang.org/grpc"
	"google.golang.org/grpc/credentials/insecure"
	healthv1 "google.golang.org/grpc/health/grpc_health_v1"
	"google.golang.org/grpc/metadata"
	"k8s.io/apimachinery/pkg/apis/meta/v1/unstructured"

	"tidegate.io/tidegate/rollout/plan"
	"tidegate.io/tidegate/schemas/v1alpha1"
	"tidegate.io/tidegate/test/cluster/traffic/load"
)

// along walks the steps of a lane. What is to be seen while the first step is approved is up to
// approving, which gets the approval to give.
func (l *lane) along(edits map[string]func(spec map[string]any), approving func(approve func())) {
	l.t.Helper()
	recorder := l.begin()
	l.apply(second, 3)
	l.awaitStep(2)
	l.testers()
	approving(func() { l.command(2, v1alpha1.CommandApprove, 2) })
	l.awaitStep(4)
	l.copies(recorder)
	l.command(2, v1alpha1.CommandApprove, 4)
	l.awaitStep(7)
	l.shared(recorder, 20)
	l.repaired(edits)
	l.promoted(recorder)
}

// gatewayEdits are what somebody may do to a route of the Gateway API.
func gatewayEdits() map[string]func(spec map[string]any) {
	rules := func(spec map[string]any) []any { return listOf(spec, "rules") }
	return map[string]func(spec map[string]any){
		"a weight":        func(s map[string]any) { at(listOf(at(rules(s), -1), "backendRefs"), 0)["weight"] = int64(1) },
		"no testers":      func(s map[string]any) { s["rules"] = rules(s)[1:] },
		"testers for all": func(s map[string]any) { delete(at(rules(s), 0), "matches") },
		"another parent": func(s map[string]any) {
			s["parentRefs"] = append(listOf(s, "parentRefs"), map[string]any{"name": "other"})
		},
	}
}

func alongGRPCRoute(t *testing.T, r *roads) {
	l := newLane(t, r, "schemas/templates/grpc", "")
	l.host = "cart." + l.namespace + ".example"
	l.url, l.port, l.metric = r.proxy.URL, 9090, `grpc_server_handled_total{grpc_code="OK"}`
	conn, err := grpc.NewClient("passthrough:///"+strings.TrimPrefix(r.proxy.URL, "http://"),
		grpc.WithTransportCredentials(insecure.NewCredentials()), grpc.WithAuthority(l.host))
	if err != nil {
		t.Fatal(err)
	}
	t.Cleanup(func() { _ = conn.Close() })
	l.transport = caller{client: healthv1.NewHealthClient(conn)}
	l.along(gatewayEdits(), func(approve func()) { approve() })
}

// caller makes calls of gRPC of requests: headers are metadata.
type caller struct{ client healthv1.HealthClient }

// RoundTrip implements http.RoundTripper.
func (c caller) RoundTrip(r *http.Request) (*http.Response, error) {
	headers := metadata.MD{}
	for name, values := range r.Header {
		headers.Append(name, values...)
	}
	var from metadata.MD
	answer, err := c.client.Check(metadata.NewOutgoingContext(r.Context(), headers), &healthv1.HealthCheckRequest{}, grpc.Header(&from))
	if err != nil {
		return nil, fmt.Errorf("calling: %w", err)
	}
	if answer.GetStatus() != healthv1.HealthCheckResponse_SERVING || len(from.Get(load.RevisionHeader)) != 1 {
		return nil, fmt.Errorf("calling: %s from %v", answer.GetStatus(), from)
	}
	return &http.Response{
		StatusCode: http.StatusOK, Body: io.NopCloser(strings.NewReader("")), Request: r,
		Header: http.Header{load.RevisionHeader: from.Get(load.RevisionHeader), load.PodHeader: from.Get(load.PodHeader)},
	}, nil
}

func alongMeshRoute(t *testing.T, r *roads) {
	l := newLane(t, r, "docs/examples/gamma", "")
	l.url, l.host = r.mesh.URL, "cart."+l.namespace
	l.along(gatewayEdits(), func(approve func()) { approve() })
}

func alongVirtualService(t *testing.T, r *roads) {
	l := newLane(t, r, "docs/examples/istio", `_grace: "300ms"`)
	l.url, l.host = r.mesh.URL, "cart."+l.namespace+".svc.cluster.local"
	http := func(s map[string]any) []any { return listOf(s, "http") }
	l.along(map[string]func(spec map[string]any){
		"a weight":        func(s map[string]any) { at(listOf(at(http(s), -1), "route"), 0)["weight"] = int64(1) },
		"no testers":      func(s map[string]any) { s["http"] = append(http(s)[:1:1], http(s)[2:]...) },
		"testers for all": func(s map[string]any) { delete(at(http(s), 1), "match") },
		"another host":    func(s map[string]any) { s["hosts"] = append(listOf(s, "hosts"), "other.example") },
		"a timeout":       func(s map[string]any) { at(http(s), -1)["timeout"] = "1s" },
		"no redirect":     func(s map[string]any) { s["http"] = http(s)[1:] },
	}, l.istioTells)
	l.besideTheWeights()
}

// istioTells turns the status of Istio on for a while. What it says has to hold of the newest
// generation then, before a step is done.
func (l *lane) istioTells(approve func()) {
	l.t.Helper()
	tell := func(status map[string]any) {
		l.await("the status is written", func() bool {
			route := l.live()
			route.Object["status"] = status
			return l.client.Status().Update(l.t.Context(), route) == nil
		})
	}
	reconciled := func(generation int64, status string) map[string]any {
		return map[string]any{
			"observedGeneration": fmt.Sprint(generation),
			"conditions":         []any{map[string]any{"type": "Reconciled", "status": status}},
		}
	}
	// Longer than the grace, after which the step would be done.
	waits := func(why string) {
		var since time.Time
		l.await("the step waits for the proxies where "+why, func() bool {
			r := l.rollout(2)
			if r.Status.Step != 3 || r.Status.Reason != plan.ReasonHoldRoute {
				since = time.Time{}
				return false
			}
			if since.IsZero() {
				since = time.Now()
			}
			return time.Since(since) > time.Second
		})
	}
	before := l.live().GetGeneration()
	tell(reconciled(before, "True"))
	approve()
	l.await("the route has its mirror", func() bool { return l.live().GetGeneration() > before })
	waits("the status is of an older generation")
	tell(reconciled(l.live().GetGeneration(), "False"))
	waits("the proxies do not have it")
	tell(reconciled(l.live().GetGeneration(), "True"))
	l.awaitStep(4)
	tell(map[string]any{})
}

// besideTheWeights says that what the template has in its VirtualService besides destinations holds,
// and that nothing is left of the rollout.
func (l *lane) besideTheWeights() {
	l.t.Helper()
	req, err := http.NewRequestWithContext(l.t.Context(), http.MethodGet, l.url+"/basket", http.NoBody)
	if err != nil {
		l.t.Fatal(err)
	}
	req.Host = l.host
	res, err := l.transport.RoundTrip(req)
	if err != nil {
		l.t.Fatal(err)
	}
	_ = res.Body.Close()
	if res.StatusCode != http.StatusMovedPermanently || res.Header.Get("Location") != "/" {
		l.t.Errorf("wanted the redirect of the template, found %d to %q", res.StatusCode, res.Header.Get("Location"))
	}
	rules, _, err := unstructured.NestedSlice(l.live().Object, "spec", "http")
	if err != nil || len(rules) != 2 {
		l.t.Fatalf("wanted the template's two rules, found %v, %v", rules, err)
	}
	attempts, _, _ := unstructured.NestedInt64(at(rules, 1), "retries", "attempts")
	if timeout := at(rules, 1)["timeout"]; attempts != 2 || timeout != "10s" {
		l.t.Errorf("wanted the template's retries and timeout, found %v", at(rules, 1))
	}
}
