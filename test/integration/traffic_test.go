package integration

import (
	"bufio"
	"context"
	"fmt"
	"maps"
	"net/http"
	"slices"
	"strconv"
	"strings"
	"testing"
	"time"

	corev1 "k8s.io/api/core/v1"
	metav1 "k8s.io/apimachinery/pkg/apis/meta/v1"
	"k8s.io/apimachinery/pkg/runtime"
	"k8s.io/client-go/util/retry"
	"sigs.k8s.io/controller-runtime/pkg/client"
	gatewayv1 "sigs.k8s.io/gateway-api/apis/v1"

	"tidegate.io/tidegate/rollout/manifest"
	"tidegate.io/tidegate/rollout/plan"
	"tidegate.io/tidegate/schemas/render"
	"tidegate.io/tidegate/schemas/v1alpha1"
	"tidegate.io/tidegate/test/cluster/traffic/gateway"
)

// TestTraffic rolls out with real requests: pods answer, and a gateway and a mesh that know
// nothing of Tidegate spread requests over them by the route alone.
func TestTraffic(t *testing.T) {
	r := newRoads(t)
	for name, run := range map[string]func(*testing.T, *roads){
		"an HTTPRoute with testers, copies and a baseline": alongHTTPRoute,
		"a GRPCRoute, of the shipped template":             alongGRPCRoute,
		"a VirtualService of Istio":                        alongVirtualService,
		"an HTTPRoute of a mesh":                           alongMeshRoute,
	} {
		t.Run(name, func(t *testing.T) {
			t.Parallel()
			run(t, r)
		})
	}
}

func alongHTTPRoute(t *testing.T, r *roads) {
	w := newTraffic(t, r)
	w.strategy.Steps = []v1alpha1.Step{
		{SetHeaderRoute: &v1alpha1.HeaderRoute{Matches: []v1alpha1.RequestMatch{
			{Headers: []v1alpha1.ValueMatch{{Name: "X-Tester", Exact: new("yes")}, {Name: "X-Team", Prefix: new("shop.")}}},
			{Cookies: []v1alpha1.ValueMatch{{Name: "tester", Regex: new("beta-[0-9]+")}}},
		}}},
		{Pause: &v1alpha1.Pause{Approval: true}},
		{SetMirrorRoute: &v1alpha1.MirrorRoute{Percent: 25}},
		{Pause: &v1alpha1.Pause{Approval: true}},
		{SetMirrorRoute: &v1alpha1.MirrorRoute{}},
		{SetBaseline: new(true)},
		{SetWeight: new(int32(20))},
		{Pause: &v1alpha1.Pause{Approval: true}},
	}
	w.start()
	w.apply("shop/cart:v1", 3)
	w.awaitPhase(v1alpha1.ReleaseServing)
	w.serves("shop/cart:v1")
	w.apply("shop/cart:v2", 3)
	w.awaitStep(2, 3, 1)

	stable, canary := w.revision("shop/cart:v1"), w.revision("shop/cart:v2")
	for name, c := range map[string]struct {
		header http.Header
		want   string
	}{
		"others reach the old revision alone":            {http.Header{}, stable},
		"both headers make a tester":                     {http.Header{"X-Tester": {"yes"}, "X-Team": {"shop.cart"}}, canary},
		"one of them does not":                           {http.Header{"X-Tester": {"yes"}}, stable},
		"the dot of a prefix is a dot":                   {http.Header{"X-Tester": {"yes"}, "X-Team": {"shopxcart"}}, stable},
		"a prefix does not begin in the middle":          {http.Header{"X-Tester": {"yes"}, "X-Team": {"my-shop.cart"}}, stable},
		"an exact value is the whole value":              {http.Header{"X-Tester": {"yes!"}, "X-Team": {"shop.cart"}}, stable},
		"a cookie makes a tester":                        {http.Header{"Cookie": {"lang=en; tester=beta-7; theme=dark"}}, canary},
		"a cookie whose name ends like it does not":      {http.Header{"Cookie": {"lang=en; nottester=beta-7"}}, stable},
		"a value that goes on does not":                  {http.Header{"Cookie": {"tester=beta-7x"}}, stable},
		"the text within another cookie's value is none": {http.Header{"Cookie": {"lang=tester=beta-7"}}, stable},
	} {
		if got := w.ask(c.header, 20); !maps.Equal(got, map[string]int{c.want: 20}) {
			t.Errorf("%s: answers came from %v, want %s", name, got, c.want)
		}
	}

	w.command(2, v1alpha1.CommandApprove, 2)
	w.awaitStep(4, 3, 2)
	before := w.answered(canary)
	if got := w.ask(http.Header{}, 100); got[stable] != 100 {
		t.Errorf("while requests are copied the answers come from %v", got)
	}
	w.await("25 of 100 requests were copied", func() bool { return w.answered(canary) == before+25 })

	w.command(2, v1alpha1.CommandApprove, 4)
	w.awaitStep(8, 3, 3)
	want := map[string]int{stable: 600, canary: 200, manifest.BaselineRevision(stable): 200}
	if got := w.ask(http.Header{}, 1000); !maps.Equal(got, want) {
		t.Errorf("of 1000 requests the answers came from %v, want %v", got, want)
	}
	if got := w.ask(http.Header{"Cookie": {"tester=beta-7"}}, 20); got[canary] != 20 {
		t.Errorf("testers got answers from %v", got)
	}
	w.repairsAtOnce()
	w.labels()

	w.command(2, v1alpha1.CommandAbort, 0)
	w.awaitPhase(v1alpha1.ReleaseAborted)
	w.awaitGone(w.name("shop/cart:v2"))
	w.awaitGone(w.name("shop/cart:v1") + manifest.BaselineSuffix)
	if got := w.ask(http.Header{"Cookie": {"tester=beta-7"}}, 20); got[stable] != 20 {
		t.Errorf("after the abort testers got answers from %v", got)
	}
	if route := w.route(); route.Labels["team"] != "ours" || route.Annotations["note"] != "kept" {
		t.Errorf("what others wrote beside was lost: %v, %v", route.Labels, route.Annotations)
	}
}

// repairsAtOnce lets somebody edit the route, and sees it put right from the news of that
// alone: nothing else is due while a person is waited for.
func (w *traffic) repairsAtOnce() {
	w.t.Helper()
	want := w.route().Spec.Rules
	for name, edit := range map[string]func(*gatewayv1.HTTPRoute){
		"a weight":         func(r *gatewayv1.HTTPRoute) { r.Spec.Rules[1].BackendRefs[0].Weight = new(int32(1)) },
		"no testers":       func(r *gatewayv1.HTTPRoute) { r.Spec.Rules = r.Spec.Rules[1:] },
		"testers for all":  func(r *gatewayv1.HTTPRoute) { r.Spec.Rules[0].Matches = nil },
		"another hostname": func(r *gatewayv1.HTTPRoute) { r.Spec.Hostnames = []gatewayv1.Hostname{"other.example"} },
	} {
		err := retry.RetryOnConflict(retry.DefaultRetry, func() error { // the gateway writes its status
			route := w.route()
			edit(route)
			return w.client.Update(w.t.Context(), route)
		})
		if err != nil {
			w.t.Fatal(err)
		}
		edited := time.Now()
		w.await("the route is put right after an edit of "+name, func() bool {
			now := w.route()
			return slices.Equal(now.Spec.Hostnames, []gatewayv1.Hostname{"shop.example"}) && fmt.Sprint(lines(now.Spec.Rules)) == fmt.Sprint(lines(want))
		})
		w.t.Logf("an edit of %s was undone after %s", name, time.Since(edited).Round(time.Millisecond))
	}
}

// labels puts something of others on the route.
func (w *traffic) labels() {
	w.t.Helper()
	err := retry.RetryOnConflict(retry.DefaultRetry, func() error {
		route := w.route()
		route.Labels["team"], route.Annotations["note"] = "ours", "kept"
		return w.client.Update(w.t.Context(), route)
	})
	if err != nil {
		w.t.Fatal(err)
	}
}

// lines prints what rules lead to.
func lines(rules []gatewayv1.HTTPRouteRule) []string {
	var out []string
	for _, r := range rules {
		line := fmt.Sprint(len(r.Matches), " matches:")
		for _, m := range r.Matches {
			for _, h := range m.Headers {
				line += fmt.Sprint(" ", h.Name, "=", h.Value)
			}
		}
		for _, ref := range r.BackendRefs {
			line += fmt.Sprint(" ", ref.Name, "=", *ref.Weight)
		}
		out = append(out, line)
	}
	return out
}

// traffic is a world on the roads.
type traffic struct {
	*world
	strategy v1alpha1.Strategy
	proxy    *gateway.Gateway
}

func newTraffic(t *testing.T, r *roads) *traffic {
	t.Helper()
	w := &traffic{world: ungatedWorld(t, r.cluster.RESTConfig()), proxy: r.proxy, strategy: v1alpha1.Strategy{
		Type:             v1alpha1.StrategyCanary,
		DrainDelay:       metav1.Duration{Duration: 200 * time.Millisecond},
		ProgressDeadline: metav1.Duration{Duration: time.Minute},
	}}
	w.renders = w
	w.create(gate("edge", w.namespace))
	return w
}

// Render implements controller.Renderer with the strategy of the case.
func (w *traffic) Render(ctx context.Context, revision *v1alpha1.TemplateRevision, values *runtime.RawExtension, in render.Context) (*render.Result, error) {
	out, err := w.renderer.Render(ctx, revision, values, in)
	if err != nil {
		return nil, err
	}
	out.Strategy, out.Router = w.strategy, v1alpha1.RouterHTTPRoute
	return out, nil
}

// ask sends n requests and counts which revision answered.
func (w *traffic) ask(header http.Header, n int) map[string]int {
	w.t.Helper()
	got := map[string]int{}
	for range n {
		req, err := http.NewRequestWithContext(w.t.Context(), http.MethodGet, w.proxy.URL+"/", http.NoBody)
		if err != nil {
			w.t.Fatal(err)
		}
		req.Host, req.Header = "shop.example", header.Clone()
		res, err := http.DefaultClient.Do(req)
		if err != nil {
			w.t.Fatal(err)
		}
		_ = res.Body.Close()
		if reason := res.Header.Get(gateway.ErrorHeader); reason != "" {
			w.t.Errorf("a request was lost: %s", reason)
		}
		got[res.Header.Get("X-Revision")]++
	}
	return got
}

// answered is how many requests the pods of a revision have answered by their own count, copies
// among them.
func (w *traffic) answered(revision string) int {
	w.t.Helper()
	return w.counted(revision, 8080, `http_requests_total{code="200"}`)
}

// counted is the sum of a metric over the pods of a revision.
func (w *world) counted(revision string, port int, metric string) int {
	w.t.Helper()
	var list corev1.PodList
	if err := w.client.List(w.t.Context(), &list, client.InNamespace(w.namespace), client.MatchingLabels{v1alpha1.LabelRevision: revision}); err != nil {
		w.t.Fatal(err)
	}
	total := 0
	for i := range list.Items {
		address, ok := strings.CutPrefix(list.Items[i].Status.PodIP, "10.")
		if !ok {
			continue
		}
		req, err := http.NewRequestWithContext(w.t.Context(), http.MethodGet, fmt.Sprintf("http://127.%s:%d/metrics", address, port), http.NoBody)
		if err != nil {
			w.t.Fatal(err)
		}
		res, err := http.DefaultClient.Do(req)
		if err != nil {
			w.t.Fatal(err)
		}
		lines := bufio.NewScanner(res.Body)
		for lines.Scan() {
			if count, ok := strings.CutPrefix(lines.Text(), metric+" "); ok {
				n, err := strconv.Atoi(count)
				if err != nil {
					w.t.Fatal(err)
				}
				total += n
			}
		}
		_ = res.Body.Close()
	}
	return total
}

// serves waits until requests are answered by an image.
func (w *traffic) serves(image string) {
	w.t.Helper()
	w.await("the gateway serves "+image, func() bool {
		routes := w.served()
		return len(routes) == 1 && len(routes[0].Backends) == 1 && len(routes[0].Backends[0].Endpoints) > 0
	})
}

// awaitStep waits until the second Rollout waits for the approval of a step, and the gateway
// serves what it has set: so many rules, each match of a rule being one there, of which that for
// everybody has so many backends.
func (w *traffic) awaitStep(step int32, rules, backends int) {
	w.t.Helper()
	w.await(fmt.Sprintf("step %d waits for an approval", step), func() bool {
		if len(w.rollouts()) < 2 {
			return false
		}
		r := w.rollout(2)
		return r.Status.Step == step && r.Status.Reason == plan.ReasonHoldApproval
	})
	// The route is accepted before the gateway's data plane has it, and pods are available before
	// it has heard of them.
	w.await("the gateway serves the route", func() bool {
		routes := w.served()
		return len(routes) == rules && !slices.ContainsFunc(routes, func(r gateway.Route) bool {
			return len(r.Backends) != backendsOf(r.Rule, backends) || slices.ContainsFunc(r.Backends, func(b gateway.Backend) bool { return len(b.Endpoints) == 0 })
		})
	})
}

// served is what the gateway serves of this world.
func (w *traffic) served() []gateway.Route {
	w.t.Helper()
	stats, err := w.proxy.Stats(w.t.Context())
	if err != nil {
		w.t.Fatal(err)
	}
	return slices.DeleteFunc(stats.Routes, func(r gateway.Route) bool { return !strings.Contains(r.Rule, "shop.example") })
}

// backendsOf is how many backends a rule has: testers' have one.
func backendsOf(rule string, everybody int) int {
	if strings.Contains(rule, "Header") {
		return 1
	}
	return everybody
}
