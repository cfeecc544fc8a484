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
	"sigs.k8s.io/yaml"

	"tidegate.io/tidegate/policies/eval"
	"tidegate.io/tidegate/schemas/render"
	"tidegate.io/tidegate/schemas/v1alpha1"
	"tidegate.io/tidegate/webhook"
)

func parsed(t *testing.T, text string) *unstructured.Unstructured {
	t.Helper()
	raw, err := yaml.YAMLToJSON([]byte(text))
	if err != nil {
		t.Fatal(err)
	}
	u := &unstructured.Unstructured{}
	if err := json.Unmarshal(raw, &u.Object); err != nil {
		t.Fatal(err)
	}
	return u
}

// The objects of Release cart; REV is the revision.
const (
	cartService = `{apiVersion: v1, kind: Service, metadata: {name: cart-REV, labels: {tidegate.io/release: cart}},
  spec: {selector: {tidegate.io/release: cart, tidegate.io/revision: REV}, ports: [{port: 80, name: http}]}}`
	cartConfig = `{apiVersion: v1, kind: ConfigMap, metadata: {name: cart, labels: {tidegate.io/release: cart}}, data: {mode: safe, empty: ""}}`
	cartRoute  = `{apiVersion: gateway.networking.k8s.io/v1, kind: HTTPRoute, metadata: {name: cart, labels: {tidegate.io/release: cart}},
  spec: {parentRefs: [{name: main}], hostnames: [cart.example], rules: [{backendRefs: [{name: cart-REV, port: 80}]}]}}`
	cartBudget = `{apiVersion: policy/v1, kind: PodDisruptionBudget, metadata: {name: cart, labels: {tidegate.io/release: cart}}, spec: {minAvailable: 1, selector: {matchLabels: {a: b}}}}`
	cartScaler = `{apiVersion: autoscaling/v2, kind: HorizontalPodAutoscaler, metadata: {name: cart-REV, labels: {tidegate.io/release: cart}},
  spec: {maxReplicas: 5, scaleTargetRef: {apiVersion: apps/v1, kind: Deployment, name: cart-REV}}}`
)

// cartRenderer renders two revisions of Release cart. The values of a Rollout say which.
type cartRenderer struct {
	renderer
	t     *testing.T
	calls *int
}

func (c cartRenderer) Render(_ context.Context, _ webhook.Source, values []byte, _ render.Context) (*render.Result, error) {
	*c.calls++
	revision := strings.Trim(string(values), `"`)
	of := func(text string) *unstructured.Unstructured {
		text = strings.ReplaceAll(text, "REV", revision)
		if revision == "bbbbbbbbbb" {
			text = strings.ReplaceAll(text, "mode: safe", "mode: new")
		}
		return parsed(c.t, text)
	}
	return &render.Result{
		Revision: revision, Digest: "sha256:" + revision, Route: of(cartRoute),
		Set: []*unstructured.Unstructured{of(cartService), of(cartScaler)}, Shared: []*unstructured.Unstructured{of(cartConfig), of(cartBudget)},
	}, nil
}

// TestWhatIsBesideThePodsIsComparedToo has somebody change Services, routes and others on
// their way in.
func TestWhatIsBesideThePodsIsComparedToo(t *testing.T) {
	rollout := func(number int64, revision string) *v1alpha1.Rollout {
		return &v1alpha1.Rollout{
			ObjectMeta: metav1.ObjectMeta{Namespace: "shop", Name: "cart-" + revision},
			Spec: v1alpha1.RolloutSpec{
				Release: "cart", Number: number, Revision: revision, TemplateRevision: "web-1", Digest: "sha256:" + revision,
				Values: &runtime.RawExtension{Raw: []byte(`"` + revision + `"`)},
			},
		}
	}
	calls := 0
	handlers, err := webhook.New(webhook.Config{
		Reader: fake.NewClientBuilder().WithScheme(newScheme(t)).WithObjects(
			&corev1.Namespace{ObjectMeta: metav1.ObjectMeta{Name: "shop"}},
			&v1alpha1.Release{ObjectMeta: metav1.ObjectMeta{Namespace: "shop", Name: "cart"}},
			&v1alpha1.TemplateRevision{ObjectMeta: metav1.ObjectMeta{Name: "web-1"}, Spec: v1alpha1.TemplateRevisionSpec{Template: "web", Number: 1}},
			rollout(1, "aaaaaaaaaa"), rollout(2, "bbbbbbbbbb"),
			&v1alpha1.Gate{ObjectMeta: metav1.ObjectMeta{Name: "a"}, Spec: v1alpha1.GateSpec{
				Namespaces: v1alpha1.NamespaceScope{Names: []string{"shop"}},
				Mutators:   []v1alpha1.Mutator{{Kind: "Service", Paths: []string{"spec.sessionAffinity"}}},
			}},
		).Build(),
		Policies: eval.NewStore(), Renderer: cartRenderer{t: t, calls: &calls}, Authorizer: rbac{}, Identity: manager, ManagerNamespace: "tidegate-system",
		Clock: testclock.NewFakePassiveClock(time.Unix(1e9, 0)), Metrics: webhook.NewMetrics(),
	})
	if err != nil {
		t.Fatal(err)
	}
	const services, configs, routes = "/services", "/configmaps", "gateway.networking.k8s.io/httproutes"
	for name, tc := range map[string]struct {
		resource, object string
		from, to         string
		code             int32
		want             []string
	}{
		"a Service as it was rendered": {services, cartService, "", "", 200, nil},
		"a Service with what the API server fills in": {
			services, cartService, "ports: [{port: 80, name: http}]",
			"ports: [{port: 80, name: http, protocol: TCP, targetPort: 80, nodePort: 31000}], type: ClusterIP, clusterIP: 10.0.0.1, clusterIPs: [10.0.0.1], ipFamilies: [IPv4], ipFamilyPolicy: SingleStack, internalTrafficPolicy: Cluster", 200, nil,
		},
		"a Service that selects other pods":  {services, cartService, "tidegate.io/revision: REV", "app: evil", 403, []string{"TG-GATE-MUTATED", "spec.selector"}},
		"a Service with one more selector":   {services, cartService, "tidegate.io/revision: REV", "tidegate.io/revision: REV, x: y", 403, []string{"spec.selector.x"}},
		"a Service that is headless now":     {services, cartService, "spec: {", "spec: {clusterIP: None, ", 403, []string{"spec.clusterIP"}},
		"a Service with foreign addresses":   {services, cartService, "spec: {", "spec: {externalIPs: [10.1.1.1], ", 403, []string{"spec.externalIPs"}},
		"a Service of pods that are unready": {services, cartService, "spec: {", "spec: {publishNotReadyAddresses: true, ", 403, []string{"spec.publishNotReadyAddresses"}},
		"a Service that leads elsewhere":     {services, cartService, "port: 80", "port: 80, targetPort: 9999", 403, []string{"targetPort"}},
		"a Service with what a Gate lists":   {services, cartService, "spec: {", "spec: {sessionAffinity: ClientIP, ", 200, nil},

		"a ConfigMap as it was rendered":                      {configs, cartConfig, "", "", 200, nil},
		"a ConfigMap as the other revision has it":            {configs, cartConfig, "mode: safe", "mode: new", 200, nil},
		"a ConfigMap with another value":                      {configs, cartConfig, "mode: safe", "mode: evil", 403, []string{"data.mode"}},
		"a ConfigMap with one more value":                     {configs, cartConfig, "mode: safe", "mode: safe, x: y", 403, []string{"data.x"}},
		"a ConfigMap with a value taken away":                 {configs, cartConfig, "mode: safe, ", "", 403, []string{"data.mode"}},
		"a ConfigMap that is empty":                           {configs, cartConfig, `data: {mode: safe, empty: ""}`, "x: y", 403, []string{"data: rendered an object"}},
		"a ConfigMap that no revision has":                    {configs, strings.Replace(cartConfig, "name: cart", "name: cart-other", 1), "", "", 500, []string{"no Rollout is known"}},
		"a ConfigMap of nobody, such as that of a controller": {configs, `{apiVersion: v1, kind: ConfigMap, metadata: {name: other}, data: {a: b}}`, "", "", 200, nil},

		"a route with the weights of a step": {
			routes, cartRoute, "backendRefs: [{name: cart-REV, port: 80}]",
			"matches: [{path: {type: PathPrefix, value: /}}], backendRefs: [{name: cart-aaaaaaaaaa, port: 80, weight: 75, kind: Service, group: \"\"}, {name: cart-bbbbbbbbbb, port: 80, weight: 25}]", 200, nil,
		},
		"a route with nothing behind it":       {routes, cartRoute, "backendRefs: [{name: cart-REV, port: 80}]", "matches: [{path: {type: PathPrefix, value: /}}]", 200, nil},
		"a route to somebody else's Service":   {routes, cartRoute, "name: cart-REV", "name: evil", 403, []string{"TG-GATE-MUTATED", `no revision of the Release leads to "evil"`}},
		"a route to the same name elsewhere":   {routes, cartRoute, "name: cart-REV", "name: cart-REV, namespace: evil", 403, []string{`"evil/cart-bbbbbbbbbb"`}},
		"a route that copies requests":         {routes, cartRoute, "rules: [{", "rules: [{filters: [{type: RequestMirror, requestMirror: {backendRef: {name: evil}}}], ", 403, []string{"spec.rules[0].filters"}},
		"a route of other hosts":               {routes, cartRoute, "cart.example", "evil.example", 403, []string{"spec.hostnames[0]"}},
		"a route of one more rule":             {routes, cartRoute, "rules: [", "rules: [{matches: [{path: {type: Exact, value: /evil}}]}, ", 403, []string{"spec.rules[1]"}},
		"a budget as it was rendered":          {"policy/poddisruptionbudgets", cartBudget, "", "", 200, nil},
		"a budget that holds up every drain":   {"policy/poddisruptionbudgets", cartBudget, "minAvailable: 1", `minAvailable: "100%"`, 403, []string{"spec.minAvailable"}},
		"an autoscaler with what is filled in": {"autoscaling/horizontalpodautoscalers", cartScaler, "maxReplicas: 5", "maxReplicas: 5, minReplicas: 1, metrics: [{type: Resource}]", 200, nil},
		"an autoscaler with another most":      {"autoscaling/horizontalpodautoscalers", cartScaler, "maxReplicas: 5", "maxReplicas: 500", 403, []string{"spec.maxReplicas"}},
		"an autoscaler of another workload":    {"autoscaling/horizontalpodautoscalers", cartScaler, "kind: Deployment, name: cart-REV", "kind: Deployment, name: other", 403, []string{"spec.scaleTargetRef.name"}},
	} {
		t.Run(name, func(t *testing.T) {
			text := tc.object
			if tc.from != "" {
				if text = strings.Replace(tc.object, tc.from, tc.to, 1); text == tc.object {
					t.Fatalf("%q is not in the object", tc.from)
				}
			}
			u := parsed(t, strings.ReplaceAll(text, "REV", "bbbbbbbbbb"))
			u.SetNamespace("shop")
			raw, err := json.Marshal(u.Object)
			if err != nil {
				t.Fatal(err)
			}
			r := request{op: admissionv1.Create, resource: tc.resource, namespace: "shop", name: u.GetName(), user: manager, object: string(raw)}.admission()
			r.Kind.Kind = u.GetKind()
			check(t, handlers.Gate.Handle(t.Context(), r), tc.code, tc.want...)
		})
	}
	if calls > 2 {
		t.Errorf("two revisions were rendered %d times", calls)
	}
}
