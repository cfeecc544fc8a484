package webhook_test

import (
	"context"
	"encoding/json"
	"strings"
	"testing"
	"time"

	admissionv1 "k8s.io/api/admission/v1"
	corev1 "k8s.io/api/core/v1"
	metav1 "k8s.io/apimachinery/pkg/apis/meta/v1"
	"k8s.io/apimachinery/pkg/apis/meta/v1/unstructured"
	"k8s.io/apimachinery/pkg/runtime"
	testclock "k8s.io/utils/clock/testing"
	"sigs.k8s.io/controller-runtime/pkg/client/fake"

	"tidegate.io/tidegate/policies/eval"
	"tidegate.io/tidegate/rollout/manifest"
	"tidegate.io/tidegate/rollout/plan"
	"tidegate.io/tidegate/schemas/render"
	"tidegate.io/tidegate/schemas/v1alpha1"
	"tidegate.io/tidegate/webhook"
)

// The revisions of Release cart, of which the second is rolled out over the first.
const older, newer = "aaaaaaaaaa", "bbbbbbbbbb"

const (
	cartGRPC    = `{apiVersion: gateway.networking.k8s.io/v1, kind: GRPCRoute, metadata: {name: cart, labels: {tidegate.io/release: cart}}, spec: {parentRefs: [{name: main}], rules: [{backendRefs: [{name: cart-REV, port: 80}]}]}}`
	cartVirtual = `{apiVersion: networking.istio.io/v1, kind: VirtualService, metadata: {name: cart, labels: {tidegate.io/release: cart}},
  spec: {hosts: [cart], http: [{match: [{uri: {exact: /old}}], redirect: {uri: /}}, {timeout: 5s, route: [{destination: {host: cart-REV, port: {number: 80}}}]}]}}`
	cartPlain  = `{apiVersion: v1, kind: Service, metadata: {name: cart, labels: {tidegate.io/release: cart}}, spec: {selector: {tidegate.io/release: cart, tidegate.io/revision: REV}, ports: [{port: 80}]}}`
	cartPodSet = `{apiVersion: apps/v1, kind: Deployment, metadata: {name: cart-REV, labels: {tidegate.io/release: cart, tidegate.io/revision: REV}},
  spec: {replicas: 3, selector: {matchLabels: {tidegate.io/revision: REV}}, template: {metadata: {labels: {tidegate.io/release: cart, tidegate.io/revision: REV}}, spec: {containers: [{name: app, image: "cart:REV"}]}}}}`
)

// steppedRenderer renders two revisions behind a route of any kind.
type steppedRenderer struct {
	renderer
	t     *testing.T
	route string
}

func (s steppedRenderer) of(revision string) *render.Result {
	object := func(text string) *unstructured.Unstructured {
		u := parsed(s.t, strings.ReplaceAll(text, "REV", revision))
		u.SetNamespace("shop")
		return u
	}
	return &render.Result{
		Revision: revision, Digest: "sha256:" + revision, Route: object(s.route),
		Set: []*unstructured.Unstructured{object(cartPodSet), object(cartService)},
	}
}

func (s steppedRenderer) Render(_ context.Context, _ webhook.Source, values []byte, _ render.Context) (*render.Result, error) {
	return s.of(strings.Trim(string(values), `"`)), nil
}

// walk are steps with testers, copies, a baseline and weights; plainWalk are those that a plain
// Service can walk.
var (
	walk = []v1alpha1.Step{
		{SetHeaderRoute: &v1alpha1.HeaderRoute{Matches: []v1alpha1.RequestMatch{{Headers: []v1alpha1.ValueMatch{{Name: "x-tester", Exact: new("yes")}}}}}},
		{SetMirrorRoute: &v1alpha1.MirrorRoute{Percent: 25}},
		{SetBaseline: new(true)},
		{SetWeight: new(int32(20))},
	}
	plainWalk = []v1alpha1.Step{{SetWeight: new(int32(20))}}
)

func walkOf(route string) []v1alpha1.Step {
	if route == cartPlain {
		return plainWalk
	}
	return walk
}

func stepped(number int64, revision string, steps []v1alpha1.Step) *v1alpha1.Rollout {
	out := &v1alpha1.Rollout{
		ObjectMeta: metav1.ObjectMeta{Namespace: "shop", Name: "cart-" + revision},
		Spec: v1alpha1.RolloutSpec{
			Release: "cart", Number: number, Revision: revision, TemplateRevision: "web-1", Digest: "sha256:" + revision, Replicas: 3,
			Values: &runtime.RawExtension{Raw: []byte(`"` + revision + `"`)}, Strategy: v1alpha1.Strategy{Type: v1alpha1.StrategyCanary, Steps: steps},
		},
	}
	if number > 1 {
		out.Spec.Stable = &v1alpha1.StableReference{Rollout: "cart-" + older, Revision: older, Replicas: 3}
	}
	return out
}

// gated are the handlers where Release cart is rendered so and walks these steps.
func gated(t *testing.T, renders webhook.Renderer, rollouts ...*v1alpha1.Rollout) *webhook.Handlers {
	t.Helper()
	objects := fake.NewClientBuilder().WithScheme(newScheme(t)).WithObjects(
		&corev1.Namespace{ObjectMeta: metav1.ObjectMeta{Name: "shop"}},
		&v1alpha1.Release{ObjectMeta: metav1.ObjectMeta{Namespace: "shop", Name: "cart"}},
		&v1alpha1.TemplateRevision{ObjectMeta: metav1.ObjectMeta{Name: "web-1"}, Spec: v1alpha1.TemplateRevisionSpec{Template: "web", Number: 1}},
		&v1alpha1.Gate{ObjectMeta: metav1.ObjectMeta{Name: "a"}, Spec: v1alpha1.GateSpec{Namespaces: v1alpha1.NamespaceScope{Names: []string{"shop"}}}},
	)
	for _, r := range rollouts {
		objects = objects.WithObjects(r)
	}
	handlers, err := webhook.New(webhook.Config{
		Reader: objects.Build(), Policies: eval.NewStore(), Renderer: renders, Authorizer: rbac{}, Identity: manager, ManagerNamespace: "tidegate-system",
		Clock: testclock.NewFakePassiveClock(time.Unix(1e9, 0)), Metrics: webhook.NewMetrics(),
	})
	if err != nil {
		t.Fatal(err)
	}
	return handlers
}

// TestWhatStepsMakeOfARouteIsAsRendered puts to the gate what the rollout itself makes in each step,
// and the same with somebody's change in it.
func TestWhatStepsMakeOfARouteIsAsRendered(t *testing.T) {
	t.Parallel()
	const http, grpc, virtual, plain = "gateway.networking.k8s.io/httproutes", "gateway.networking.k8s.io/grpcroutes", "networking.istio.io/virtualservices", "/services"
	// One for each kind of route, since each has its policies to compile.
	handlers := map[string]*webhook.Handlers{}
	for _, route := range []string{cartRoute, cartGRPC, cartVirtual, cartPlain} {
		handlers[route] = gated(t, steppedRenderer{t: t, route: route}, stepped(1, older, walkOf(route)), stepped(2, newer, walkOf(route)))
	}
	testers, copies, baseline := plan.Exposure{Header: 1}, plan.Exposure{Header: 1, Mirror: 2}, plan.Exposure{Header: 1, Mirror: 2, Weight: 17, Baseline: 17}
	for name, tc := range map[string]struct {
		resource, route string
		exposure        plan.Exposure
		from, to        string // in the JSON of the object
		code            int32
		want            string
	}{
		"testers of an HTTPRoute":                {http, cartRoute, testers, "", "", 200, ""},
		"testers of a GRPCRoute":                 {grpc, cartGRPC, testers, "", "", 200, ""},
		"testers of a VirtualService":            {virtual, cartVirtual, testers, "", "", 200, ""},
		"copies of an HTTPRoute":                 {http, cartRoute, copies, "", "", 200, ""},
		"copies of a GRPCRoute":                  {grpc, cartGRPC, copies, "", "", 200, ""},
		"copies of a VirtualService":             {virtual, cartVirtual, copies, "", "", 200, ""},
		"a baseline of an HTTPRoute":             {http, cartRoute, baseline, "", "", 200, ""},
		"a baseline of a VirtualService":         {virtual, cartVirtual, baseline, "", "", 200, ""},
		"weights alone of a VirtualService":      {virtual, cartVirtual, plan.Exposure{Weight: 20}, "", "", 200, ""},
		"testers by another value":               {http, cartRoute, testers, `"value":"yes"`, `"value":"no"`, 403, "TG-GATE-MUTATED"},
		"testers who are everybody":              {http, cartRoute, testers, `"value":"yes"`, `"value":".*","type":"RegularExpression"`, 403, "TG-GATE-MUTATED"},
		"testers of calls by another value":      {grpc, cartGRPC, testers, `"value":"yes"`, `"value":"no"`, 403, "TG-GATE-MUTATED"},
		"testers who are sent elsewhere":         {http, cartRoute, testers, `"name":"cart-bbbbbbbbbb"`, `"name":"evil"`, 403, `no revision of the Release leads to "evil"`},
		"copies of all requests":                 {http, cartRoute, copies, `"percent":25`, `"percent":100`, 403, "TG-GATE-MUTATED"},
		"copies to somebody else":                {http, cartRoute, copies, `"backendRef":{"name":"cart-bbbbbbbbbb"`, `"backendRef":{"name":"evil"`, 403, "TG-GATE-MUTATED"},
		"copies of a mesh to somebody else":      {virtual, cartVirtual, copies, `"mirrors":[{"destination":{"host":"cart-bbbbbbbbbb"`, `"mirrors":[{"destination":{"host":"evil"`, 403, "TG-GATE-MUTATED"},
		"a VirtualService to somebody else":      {virtual, cartVirtual, testers, `"host":"cart-aaaaaaaaaa"`, `"host":"evil"`, 403, `spec.http: no revision of the Release leads to "evil"`},
		"a VirtualService to a part of the pods": {virtual, cartVirtual, testers, `"host":"cart-aaaaaaaaaa"`, `"host":"cart-aaaaaaaaaa","subset":"v0"`, 403, `no revision of the Release leads to "cart-aaaaaaaaaa/v0"`},
		"a VirtualService of other hosts":        {virtual, cartVirtual, testers, `"hosts":["cart"]`, `"hosts":["evil"]`, 403, "spec.hosts[0]"},
		"a VirtualService that waits longer":     {virtual, cartVirtual, testers, `"timeout":"5s"`, `"timeout":"500s"`, 403, "timeout"},
		"a plain Service of both revisions":      {plain, cartPlain, plan.Exposure{Weight: 20}, "", "", 200, ""},
		"a plain Service of the old one":         {plain, cartPlain, plan.Exposure{}, "", "", 200, ""},
		"a plain Service of the new one":         {plain, cartPlain, plan.Exposure{Weight: 100}, "", "", 200, ""},
		"a plain Service of all pods there are":  {plain, cartPlain, plan.Exposure{Weight: 20}, `"selector":{"tidegate.io/release":"cart"}`, `"selector":{}`, 403, "TG-GATE-MUTATED"},
	} {
		t.Run(name, func(t *testing.T) {
			t.Parallel()
			renders := steppedRenderer{t: t, route: tc.route}
			u, err := manifest.Route(manifest.Sides{Stable: renders.of(older), Canary: renders.of(newer)}, stepped(2, newer, walkOf(tc.route)).Spec, v1alpha1.RolloutProgressing,
				&v1alpha1.Release{ObjectMeta: metav1.ObjectMeta{Namespace: "shop", Name: "cart"}}, tc.exposure)
			if err != nil {
				t.Fatal(err)
			}
			put(t, handlers[tc.route], tc.resource, u, tc.from, tc.to, tc.code, tc.want)
		})
	}
}

// put has the manager create an object, in whose JSON a text was replaced on the way.
func put(t *testing.T, handlers *webhook.Handlers, resource string, u *unstructured.Unstructured, from, to string, code int32, want string) {
	t.Helper()
	raw, err := json.Marshal(u.Object)
	if err != nil {
		t.Fatal(err)
	}
	text := string(raw)
	if from != "" {
		if text = strings.Replace(text, from, to, 1); !strings.Contains(string(raw), from) {
			t.Fatalf("%s is not in the object:\n%s", from, raw)
		}
	}
	r := request{op: admissionv1.Create, resource: resource, namespace: "shop", name: u.GetName(), user: manager, object: text}.admission()
	r.Kind.Kind, r.Kind.Group = u.GetKind(), u.GroupVersionKind().Group
	var parts []string
	if want != "" {
		parts = append(parts, want)
	}
	check(t, handlers.Gate.Handle(t.Context(), r), code, parts...)
}

func TestAPlainServiceOfAFirstInstallSelectsNobodyAtFirst(t *testing.T) {
	t.Parallel()
	renders := steppedRenderer{t: t, route: cartPlain}
	rollout := stepped(1, older, plainWalk)
	u, err := manifest.Route(manifest.Sides{Canary: renders.of(older)}, rollout.Spec, v1alpha1.RolloutProgressing,
		&v1alpha1.Release{ObjectMeta: metav1.ObjectMeta{Namespace: "shop", Name: "cart"}}, plan.Exposure{})
	if err != nil {
		t.Fatal(err)
	}
	handlers := gated(t, renders, rollout)
	put(t, handlers, "/services", u, "", "", 200, "")
	put(t, handlers, "/services", u, `"none"`, `"other"`, 403, "spec.selector")
}

// TestTheSetOfABaselineIsTheOldRevisionAgain puts the objects of a baseline set to the gate.
func TestTheSetOfABaselineIsTheOldRevisionAgain(t *testing.T) {
	t.Parallel()
	renders := steppedRenderer{t: t, route: cartRoute}
	set := manifest.Baseline(renders.of(older)).Set
	wanting := gated(t, renders, stepped(1, older, walk), stepped(2, newer, walk))
	without := gated(t, renders, stepped(1, older, plainWalk), stepped(2, newer, plainWalk))
	for _, u := range set {
		resource := "/services"
		if u.GetKind() == "Deployment" {
			resource = "apps/deployments"
			put(t, wanting, resource, u, "cart:aaaaaaaaaa", "cart:evil", 403, "TG-GATE-MUTATED")
		}
		put(t, wanting, resource, u, "", "", 200, "")
		put(t, without, resource, u, "", "", 500, "no Rollout is known")
	}
	if len(set) != 2 {
		t.Errorf("wanted a Deployment and a Service, found %d objects", len(set))
	}
}
