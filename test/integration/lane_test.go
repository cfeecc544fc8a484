package integration

import (
	"context"
	"encoding/json"
	"fmt"
	"maps"
	"net/http"
	"path/filepath"
	"slices"
	"sync"
	"testing"
	"time"

	"k8s.io/apimachinery/pkg/api/equality"
	"k8s.io/apimachinery/pkg/apis/meta/v1/unstructured"
	"k8s.io/apimachinery/pkg/runtime"
	"k8s.io/client-go/util/retry"

	"tidegate.io/tidegate/rollout/manifest"
	"tidegate.io/tidegate/rollout/plan"
	"tidegate.io/tidegate/schemas/render"
	"tidegate.io/tidegate/schemas/source"
	"tidegate.io/tidegate/schemas/v1alpha1"
	"tidegate.io/tidegate/test/cluster/traffic/load"
)

// lane is a world whose Releases a published template renders, with a router of any kind and a
// steady load.
type lane struct {
	*world
	router v1alpha1.Router
	// transport answers as the pod that got the request: X-Revision says of which revision.
	transport http.RoundTripper
	url, host string
	// port and metric are where pods count what they have answered.
	port   int
	metric string

	template *render.Template
	mu       sync.Mutex
	made     map[string]string
}

// The steps of a lane: testers, copies, then weights.
var laneSteps = []v1alpha1.Step{
	{SetHeaderRoute: &v1alpha1.HeaderRoute{Matches: []v1alpha1.RequestMatch{
		{Headers: []v1alpha1.ValueMatch{{Name: "X-Tester", Exact: new("yes")}, {Name: "X-Team", Prefix: new("shop.")}}},
	}}},
	{Pause: &v1alpha1.Pause{Approval: true}},
	{SetMirrorRoute: &v1alpha1.MirrorRoute{Percent: 25}},
	{Pause: &v1alpha1.Pause{Approval: true}},
	{SetMirrorRoute: &v1alpha1.MirrorRoute{}},
	{SetWeight: new(int32(20))},
	{Pause: &v1alpha1.Pause{Approval: true}},
	{SetWeight: new(int32(50))},
	{Analyze: &v1alpha1.Analyze{}},
	{SetWeight: new(int32(100))},
}

const (
	first, second = "shop/cart:v1", "shop/cart:v2"
	perSecond     = 100
)

// newLane publishes the template of a folder, whose platform team has no time to lose.
func newLane(t *testing.T, r *roads, dir, platform string) *lane {
	t.Helper()
	read, err := source.Read(filepath.Join("..", "..", dir))
	if err != nil {
		t.Fatal(err)
	}
	files := maps.Clone(read.Files)
	files["pace.cue"] = fmt.Sprintf("package %s\n_platform: pace: {window: \"300ms\", interval: \"100ms\", drainDelay: \"300ms\"}\n%s", filepath.Base(dir), platform)
	template, err := render.Compile(files)
	if err != nil {
		t.Fatal(err)
	}
	l := &lane{world: ungatedWorld(t, r.cluster.RESTConfig()), template: template, made: map[string]string{}, transport: http.DefaultTransport}
	l.port, l.metric = 8080, `http_requests_total{code="200"}`
	l.renders = l
	return l
}

// Render implements controller.Renderer: the template's own objects, in the steps of a lane.
func (l *lane) Render(_ context.Context, _ *v1alpha1.TemplateRevision, values *runtime.RawExtension, in render.Context) (*render.Result, error) {
	l.mu.Lock()
	defer l.mu.Unlock()
	var v struct {
		Image string `json:"image"`
	}
	if err := json.Unmarshal(values.Raw, &v); err != nil {
		return nil, fmt.Errorf("decoding values: %w", err)
	}
	out, err := l.template.Render(values.Raw, in)
	if err != nil {
		return nil, fmt.Errorf("rendering: %w", err)
	}
	out.Strategy.Steps = laneSteps
	l.made[v.Image], l.router = out.Revision, out.Router
	return out, nil
}

func (l *lane) of(image string) string {
	l.mu.Lock()
	defer l.mu.Unlock()
	return l.made[image]
}

// begin has the first revision serve, and starts the load.
func (l *lane) begin() *load.Recorder {
	l.t.Helper()
	l.start()
	l.apply(first, 3)
	l.await("the first revision serves", func() bool { return l.release().Status.Phase == v1alpha1.ReleaseServing })
	l.await("requests are answered", func() bool { return l.ask(http.Header{}, 1)[l.of(first)] == 1 })
	recorder, err := load.Run(l.t.Context(), load.Options{URL: l.url + "/", Host: l.host, RPS: perSecond, Transport: l.transport})
	if err != nil {
		l.t.Fatal(err)
	}
	return recorder
}

// ask sends n requests and counts which revision answered; "" is nobody.
func (l *lane) ask(header http.Header, n int) map[string]int {
	l.t.Helper()
	got := map[string]int{}
	for range n {
		req, err := http.NewRequestWithContext(l.t.Context(), http.MethodGet, l.url+"/", http.NoBody)
		if err != nil {
			l.t.Fatal(err)
		}
		req.Host, req.Header = l.host, header.Clone()
		res, err := l.transport.RoundTrip(req)
		if err != nil {
			got[""]++
			continue
		}
		_ = res.Body.Close()
		got[res.Header.Get(load.RevisionHeader)]++
	}
	return got
}

// awaitStep waits until the second Rollout waits for the approval of a step.
func (l *lane) awaitStep(step int32) {
	l.t.Helper()
	l.await(fmt.Sprintf("step %d waits for an approval", step), func() bool {
		if len(l.rollouts()) < 2 {
			return false
		}
		r := l.rollout(2)
		return r.Status.Step == step && r.Status.Reason == plan.ReasonHoldApproval
	})
}

// testers are known by all conditions of the step, and nobody else is.
func (l *lane) testers() {
	l.t.Helper()
	both := http.Header{"X-Tester": {"yes"}, "X-Team": {"shop.cart"}}
	l.await("the new route is served", func() bool { return l.ask(both, 1)[l.of(second)] == 1 })
	for name, c := range map[string]struct {
		header http.Header
		want   string
	}{
		"both headers make a tester":            {both, l.of(second)},
		"others reach the old revision alone":   {http.Header{}, l.of(first)},
		"one of them does not":                  {http.Header{"X-Tester": {"yes"}}, l.of(first)},
		"the dot of a prefix is a dot":          {http.Header{"X-Tester": {"yes"}, "X-Team": {"shopxcart"}}, l.of(first)},
		"a prefix does not begin in the middle": {http.Header{"X-Tester": {"yes"}, "X-Team": {"my-shop.cart"}}, l.of(first)},
		"an exact value is the whole value":     {http.Header{"X-Tester": {"yes!"}, "X-Team": {"shop.cart"}}, l.of(first)},
	} {
		if got := l.ask(c.header, 10); !maps.Equal(got, map[string]int{c.want: 10}) {
			l.t.Errorf("%s: answers came from %v, want %s", name, got, c.want)
		}
	}
}

// copies says that a quarter of the load reaches the new revision a second time, unseen.
func (l *lane) copies(recorder *load.Recorder) {
	l.t.Helper()
	at := l.counted(l.of(second), l.port, l.metric)
	l.await("the first copies come", func() bool { return l.counted(l.of(second), l.port, l.metric) > at+3 })
	before, since := l.counted(l.of(second), l.port, l.metric), recorder.Now()
	l.await("requests enough", func() bool { return recorder.Since(since).Sent >= 2*perSecond })
	copied, span := l.counted(l.of(second), l.port, l.metric)-before, recorder.Since(since)
	if share := 100 * copied / span.Sent; share < 20 || share > 30 {
		l.t.Errorf("wanted 25 %% of %d requests to be copied, found %d of them", span.Sent, copied)
	}
	if got := span.Share(l.of(first)); got != 100 {
		l.t.Errorf("while requests are copied the old revision answers %.1f %% of them: %s", got, span)
	}
}

// shared says that the new revision answers so many percent of the load.
func (l *lane) shared(recorder *load.Recorder, percent float64) {
	l.t.Helper()
	begun := recorder.Now()
	l.await("the new weights are served", func() bool { return recorder.Since(begun).Revisions[l.of(second)].Requests > 0 })
	since := recorder.Now()
	l.await("requests enough", func() bool { return recorder.Since(since).Sent >= 2*perSecond })
	if span := recorder.Since(since); span.Share(l.of(second)) < percent-2 || span.Share(l.of(second)) > percent+2 {
		l.t.Errorf("wanted %.0f %% of the answers from %s, found %s", percent, l.of(second), span)
	}
}

// live is the route as it is.
func (l *lane) live() *unstructured.Unstructured {
	l.t.Helper()
	route := &unstructured.Unstructured{}
	route.SetGroupVersionKind(manifest.Kind(l.router))
	route.SetNamespace(l.namespace)
	route.SetName(l.releaseName)
	l.get(route)
	return route
}

// repaired lets somebody edit the route, and sees each edit undone at once. Labels and annotations
// of others stay.
func (l *lane) repaired(edits map[string]func(spec map[string]any)) {
	l.t.Helper()
	want := l.live().Object["spec"]
	l.edit(func(route *unstructured.Unstructured) {
		route.SetLabels(merged(route.GetLabels(), "team", "ours"))
		route.SetAnnotations(merged(route.GetAnnotations(), "note", "kept"))
	})
	for _, name := range slices.Sorted(maps.Keys(edits)) {
		edited := l.edit(func(route *unstructured.Unstructured) {
			spec, _ := route.Object["spec"].(map[string]any)
			edits[name](spec)
		})
		if equality.Semantic.DeepEqual(edited.Object["spec"], want) {
			l.t.Fatalf("the edit of %s changed nothing", name)
		}
		begun := time.Now()
		l.await("the route is put right after an edit of "+name, func() bool { return equality.Semantic.DeepEqual(l.live().Object["spec"], want) })
		l.t.Logf("an edit of %s was undone after %s", name, time.Since(begun).Round(time.Millisecond))
	}
}

// edit changes the live route, whoever else writes its status meanwhile, and returns it.
func (l *lane) edit(change func(*unstructured.Unstructured)) *unstructured.Unstructured {
	l.t.Helper()
	var route *unstructured.Unstructured
	err := retry.RetryOnConflict(retry.DefaultRetry, func() error {
		route = l.live()
		change(route)
		return l.client.Update(l.t.Context(), route)
	})
	if err != nil {
		l.t.Fatal(err)
	}
	return route
}

// promoted approves the last step and checks the end: nothing was lost on the way.
func (l *lane) promoted(recorder *load.Recorder) {
	l.t.Helper()
	l.command(2, v1alpha1.CommandApprove, 7)
	l.await("the second revision serves", func() bool {
		r := l.release()
		return r.Status.Phase == v1alpha1.ReleaseServing && r.Status.StableRevision == l.of(second)
	})
	l.awaitGone(l.releaseName + "-" + l.of(first))
	if got := l.ask(http.Header{}, 20); got[l.of(second)] != 20 {
		l.t.Errorf("in the end the answers come from %v", got)
	}
	var weights []int32
	for _, h := range l.rollout(2).Status.History {
		if len(weights) == 0 || weights[len(weights)-1] != h.Weight {
			weights = append(weights, h.Weight)
		}
	}
	if want := []int32{0, 20, 50, 100}; !slices.Equal(weights, want) {
		l.t.Errorf("the weights were %v, want %v", weights, want)
	}
	if route := l.live(); route.GetLabels()["team"] != "ours" || route.GetAnnotations()["note"] != "kept" {
		l.t.Errorf("what others wrote beside was lost: %v, %v", route.GetLabels(), route.GetAnnotations())
	}
	if whole := recorder.Snapshot(); whole.Lost > 0 || whole.AppErrors > 0 || whole.Sent < perSecond {
		l.t.Errorf("wanted no request lost, found %s", whole)
	} else {
		l.t.Logf("no request was lost: %s", whole)
	}
}

func merged(m map[string]string, key, value string) map[string]string {
	out := maps.Clone(m)
	if out == nil {
		out = map[string]string{}
	}
	out[key] = value
	return out
}

// listOf is a list in an object of JSON, in place.
func listOf(of map[string]any, key string) []any {
	list, _ := of[key].([]any)
	return list
}

// at is an element of a list of objects, in place; from the end where i is below 0.
func at(list []any, i int) map[string]any {
	if i < 0 {
		i += len(list)
	}
	out, _ := list[i].(map[string]any)
	return out
}
