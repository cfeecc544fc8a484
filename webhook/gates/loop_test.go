package gates_test

import (
	"context"
	"encoding/pem"
	"errors"
	"slices"
	"strings"
	"testing"
	"time"

	admissionregistrationv1 "k8s.io/api/admissionregistration/v1"
	corev1 "k8s.io/api/core/v1"
	"k8s.io/apimachinery/pkg/api/equality"
	apierrors "k8s.io/apimachinery/pkg/api/errors"
	"k8s.io/apimachinery/pkg/api/meta"
	metav1 "k8s.io/apimachinery/pkg/apis/meta/v1"
	"k8s.io/apimachinery/pkg/runtime"
	"k8s.io/apimachinery/pkg/runtime/schema"
	"k8s.io/apimachinery/pkg/types"
	clientgoscheme "k8s.io/client-go/kubernetes/scheme"
	testclock "k8s.io/utils/clock/testing"
	"sigs.k8s.io/controller-runtime/pkg/client"
	"sigs.k8s.io/controller-runtime/pkg/client/fake"
	"sigs.k8s.io/controller-runtime/pkg/client/interceptor"
	"sigs.k8s.io/controller-runtime/pkg/reconcile"

	"tidegate.io/tidegate/schemas/v1alpha1"
	"tidegate.io/tidegate/webhook/gates"
)

// loopWorld is a Loop over a fake API server and a clock that stands still.
type loopWorld struct {
	*testing.T
	client.Client
	clock *testclock.FakePassiveClock
	now   time.Time
	loop  *gates.Loop
}

var secretName = types.NamespacedName{Namespace: "tidegate-system", Name: "cert"}

func newLoopWorld(t *testing.T, objects ...client.Object) *loopWorld {
	t.Helper()
	s := runtime.NewScheme()
	for _, add := range []func(*runtime.Scheme) error{clientgoscheme.AddToScheme, v1alpha1.AddToScheme} {
		if err := add(s); err != nil {
			t.Fatal(err)
		}
	}
	objects = append(objects, namespace("shop", nil), namespace("web", map[string]string{"env": "prod"}))
	c := fake.NewClientBuilder().WithScheme(s).WithStatusSubresource(&v1alpha1.Gate{}).WithObjects(objects...).Build()
	w := &loopWorld{T: t, Client: c, now: time.Unix(1e9, 0)}
	w.clock = testclock.NewFakePassiveClock(w.now)
	w.restart()
	return w
}

// restart is another process with an empty memory.
func (w *loopWorld) restart() {
	o := options()
	o.CABundle = nil
	w.loop = &gates.Loop{Client: w.Client, Live: w.Client, Clock: w.clock, Options: o, CASecret: secretName}
}

func namespace(name string, labels map[string]string) *corev1.Namespace {
	return &corev1.Namespace{ObjectMeta: metav1.ObjectMeta{Name: name, Labels: labels}}
}

func secret() *corev1.Secret {
	return &corev1.Secret{
		ObjectMeta: metav1.ObjectMeta{Namespace: secretName.Namespace, Name: secretName.Name},
		Data:       map[string][]byte{"ca.crt": pem.EncodeToMemory(&pem.Block{Type: "CERTIFICATE", Bytes: []byte("x")})},
	}
}

func production() *v1alpha1.Gate {
	g := named("production", byNames("shop"))
	g.Spec.Namespaces.Selector = &metav1.LabelSelector{MatchLabels: map[string]string{"env": "prod"}}
	return &g
}

func (w *loopWorld) must(err error) {
	w.Helper()
	if err != nil {
		w.Fatal(err)
	}
}

func (w *loopWorld) reconcile() time.Duration {
	w.Helper()
	r, err := w.loop.Reconcile(w.Context(), reconcile.Request{})
	w.must(err)
	return r.RequeueAfter
}

func (w *loopWorld) pass(d time.Duration) {
	w.now = w.now.Add(d)
	w.clock.SetTime(w.now)
}

func (w *loopWorld) gate() *v1alpha1.Gate {
	w.Helper()
	var g v1alpha1.Gate
	w.must(w.Get(w.Context(), types.NamespacedName{Name: "production"}, &g))
	return &g
}

func (w *loopWorld) ready() string {
	w.Helper()
	g := w.gate()
	if meta.IsStatusConditionTrue(g.Status.Conditions, v1alpha1.ConditionReconciling) && meta.IsStatusConditionTrue(g.Status.Conditions, v1alpha1.ConditionStalled) {
		w.Error("Reconciling and Stalled together")
	}
	return meta.FindStatusCondition(g.Status.Conditions, v1alpha1.ConditionReady).Reason
}

func (w *loopWorld) webhooks() []admissionregistrationv1.ValidatingWebhook {
	w.Helper()
	var c admissionregistrationv1.ValidatingWebhookConfiguration
	w.must(w.Get(w.Context(), types.NamespacedName{Name: gates.WebhookName}, &c))
	return c.Webhooks
}

// settled is the list in ring 1 of the namespaces that ring 2 is relied upon for.
func (w *loopWorld) settled() string {
	w.Helper()
	var p admissionregistrationv1.ValidatingAdmissionPolicy
	w.must(w.Get(w.Context(), types.NamespacedName{Name: gates.PolicyName("production")}, &p))
	for _, v := range p.Spec.Variables {
		if v.Name == "settled" {
			return strings.TrimPrefix(v.Expression, "request.namespace in ")
		}
	}
	w.Fatal("no variable settled")
	return ""
}

func (w *loopWorld) want(what, got, want string) {
	w.Helper()
	if got != want {
		w.Errorf("%s: wanted %s, got %s", what, want, got)
	}
}

func TestRing1StandsInForRing2UntilItHasSettled(t *testing.T) {
	w := newLoopWorld(t, production())
	w.reconcile()
	w.want("without a certificate", w.ready(), "NoCertificate")
	w.want("settled", w.settled(), "[]")
	if n := len(w.webhooks()); n != 0 {
		t.Errorf("%d webhooks without an authority", n)
	}

	w.must(w.Create(t.Context(), secret()))
	if after := w.reconcile(); after != gates.DefaultSettle {
		t.Errorf("wanted to come back after %s, got %s", gates.DefaultSettle, after)
	}
	w.want("with a certificate", w.ready(), "Settling")
	w.want("settled", w.settled(), "[]")
	w.reconcile() // The webhook is seen to list them; the time begins.
	w.pass(gates.DefaultSettle - time.Second)
	if after := w.reconcile(); after != time.Second {
		t.Errorf("wanted to come back after 1s, got %s", after)
	}
	w.want("a second too early", w.settled(), "[]")
	w.pass(time.Second)
	if after := w.reconcile(); after != 2*time.Second {
		t.Errorf("wanted to come back when the API servers have taken it up, after 2s, got %s", after)
	}
	w.want("in time", w.settled(), `["shop", "web"]`)
	w.want("while the API servers take it up", w.ready(), "Settling")
	w.pass(2 * time.Second)
	if after := w.reconcile(); after != 0 {
		t.Errorf("wanted rest, got %s", after)
	}
	w.want("at the end", w.ready(), "Enforced")

	w.must(w.Create(t.Context(), namespace("late", map[string]string{"env": "prod"})))
	w.reconcile()
	w.want("with a new namespace", w.settled(), `["shop", "web"]`)
	w.want("with a new namespace", w.ready(), "Settling")

	w.restart()
	w.reconcile()
	w.want("after a restart, what stood before counts", w.settled(), `["late", "shop", "web"]`)

	// An API server may see a changed webhook configuration before a changed policy: were
	// ring 2 taken away with the certificate, nothing would stand for a moment.
	stood := w.webhooks()
	w.must(w.Delete(t.Context(), secret()))
	w.reconcile()
	w.reconcile()
	w.want("when the certificate is gone", w.settled(), `["late", "shop", "web"]`)
	if !equality.Semantic.DeepEqual(stood, w.webhooks()) {
		t.Errorf("when the certificate is gone: wanted ring 2 as it stood, found %+v", w.webhooks())
	}
}

func TestANamespaceThatIsMadeAnewSettlesAnew(t *testing.T) {
	first := namespace("team", map[string]string{"env": "prod"})
	first.CreationTimestamp = metav1.NewTime(time.Unix(1e9, 0))
	w := newLoopWorld(t, production(), secret(), first)
	w.restart()
	w.reconcile()
	w.restart()
	w.reconcile()
	if s := w.settled(); !strings.Contains(s, `"team"`) {
		t.Fatalf("wanted it settled, got %s", s)
	}
	w.must(w.Delete(t.Context(), namespace("team", nil)))
	second := namespace("team", nil)
	second.CreationTimestamp = metav1.NewTime(time.Unix(1e9+5, 0))
	w.must(w.Create(t.Context(), second))
	w.reconcile()
	if s := w.settled(); strings.Contains(s, "team") {
		t.Errorf("wanted ring 1 to refuse in the new one until ring 2 settled, got %s", s)
	}
}

// alter has somebody's mutating policy change ring 2 on its way, or the guards refuse what it
// has become.
func (w *loopWorld) alter(change func(*admissionregistrationv1.ValidatingWebhookConfiguration) error) {
	on := func(o client.Object) error {
		if c, ok := o.(*admissionregistrationv1.ValidatingWebhookConfiguration); ok {
			return change(c)
		}
		return nil
	}
	inner, ok := w.Client.(client.WithWatch)
	if !ok {
		w.Fatal("wanted a client that can be intercepted")
	}
	w.loop.Client = interceptor.NewClient(inner, interceptor.Funcs{
		Create: func(ctx context.Context, c client.WithWatch, o client.Object, opts ...client.CreateOption) error {
			return errors.Join(on(o), c.Create(ctx, o, opts...))
		},
		Update: func(ctx context.Context, c client.WithWatch, o client.Object, opts ...client.UpdateOption) error {
			if err := on(o); err != nil {
				return err
			}
			return c.Update(ctx, o, opts...)
		},
	})
}

func TestRing1StandsInForARing2ThatSomebodyAlters(t *testing.T) {
	type configuration = admissionregistrationv1.ValidatingWebhookConfiguration
	for sentence, tc := range map[string]struct {
		change func(*configuration) error
		// meanwhile are the namespaces in which ring 2 is relied upon.
		meanwhile string
	}{
		"a condition that nothing meets": {func(c *configuration) error {
			c.Webhooks[0].MatchConditions = []admissionregistrationv1.MatchCondition{{Name: "x", Expression: "false"}}
			return nil
		}, "[]"},
		"a rule that leaves Deployments out": {func(c *configuration) error {
			c.Webhooks[0].Rules = c.Webhooks[0].Rules[:1]
			return nil
		}, "[]"},
		"the authority of somebody else": {func(c *configuration) error {
			c.Webhooks[0].ClientConfig.CABundle = []byte("mine")
			return nil
		}, "[]"},
		"what the guards refuse leaves what stood": {func(*configuration) error {
			return apierrors.NewForbidden(schema.GroupResource{}, gates.WebhookName, errors.New(gates.ReasonGuard))
		}, `["shop", "web"]`},
	} {
		t.Run(sentence, func(t *testing.T) {
			w := newLoopWorld(t, production(), secret())
			w.reconcile()
			w.restart()
			w.reconcile()
			w.want("before", w.settled(), `["shop", "web"]`)
			w.alter(tc.change)
			w.must(w.Create(t.Context(), namespace("late", map[string]string{"env": "prod"})))
			if after := w.reconcile(); after != 100*time.Millisecond {
				t.Errorf("wanted ring 1 told at once, got %s", after)
			}
			w.want("when it is seen", w.ready(), "Altered")
			if after := w.reconcile(); after != gates.DefaultSettle {
				t.Errorf("wanted it tried again after %s, got %s", gates.DefaultSettle, after)
			}
			w.want("while it lasts", w.settled(), tc.meanwhile)

			w.alter(func(*admissionregistrationv1.ValidatingWebhookConfiguration) error { return nil })
			w.reconcile()
			w.want("when it is over", w.ready(), "Settling")
			w.reconcile()
			w.pass(gates.DefaultSettle)
			w.reconcile()
			w.want("when it has settled", w.settled(), `["late", "shop", "web"]`)
		})
	}
}

func TestTheChartsPoliciesArePutBack(t *testing.T) {
	const manifest = `
apiVersion: admissionregistration.k8s.io/v1
kind: ValidatingAdmissionPolicyBinding
metadata: {name: tidegate-guard-x}
spec: {policyName: tidegate-guard-x, validationActions: [Deny]}
`
	chart := &corev1.ConfigMap{
		ObjectMeta: metav1.ObjectMeta{Namespace: "tidegate-system", Name: gates.DefaultChart, Annotations: map[string]string{"meta.helm.sh/release-name": "t"}},
		Data:       map[string]string{"standing.yaml": manifest},
	}
	w := newLoopWorld(t, chart)
	w.loop.Chart = types.NamespacedName{Namespace: chart.Namespace, Name: chart.Name}
	name := types.NamespacedName{Name: "tidegate-guard-x"}
	var b admissionregistrationv1.ValidatingAdmissionPolicyBinding
	w.reconcile()
	w.must(w.Get(t.Context(), name, &b))
	w.want("what Helm knows it by", b.Annotations["meta.helm.sh/release-name"], "t")
	b.Spec.ValidationActions = []admissionregistrationv1.ValidationAction{admissionregistrationv1.Audit}
	w.must(w.Update(t.Context(), &b))
	w.reconcile()
	w.must(w.Get(t.Context(), name, &b))
	w.want("edited", string(b.Spec.ValidationActions[0]), "Deny")
	w.must(w.Delete(t.Context(), chart))
	w.must(w.Delete(t.Context(), &b))
	w.reconcile()
	if err := w.Get(t.Context(), name, &b); !apierrors.IsNotFound(err) {
		t.Errorf("uninstalled: wanted nothing to come back, got %v", err)
	}
	foreign := &corev1.ConfigMap{ObjectMeta: metav1.ObjectMeta{Namespace: chart.Namespace, Name: chart.Name}, Data: map[string]string{
		"standing.yaml": strings.ReplaceAll(manifest, "tidegate-guard-x", "somebody-elses"),
	}}
	w.must(w.Create(t.Context(), foreign))
	if _, err := gates.ChartObjects(foreign); err == nil {
		t.Error("wanted the manager to write nobody else's policies")
	}
}

func TestControllersThatShareAnIdentityAreToldOf(t *testing.T) {
	w := newLoopWorld(t, production(), secret())
	shared := true
	w.loop.Shared = func(context.Context) (bool, error) { return shared, nil }
	w.reconcile()
	told := func() bool {
		return slices.ContainsFunc(w.gate().Status.Conditions, func(c metav1.Condition) bool { return strings.HasPrefix(c.Message, gates.ReasonShared) })
	}
	if !told() {
		t.Error("wanted a condition, found none")
	}
	shared = false
	w.pass(time.Hour)
	w.reconcile()
	if told() {
		t.Error("wanted no condition any more")
	}
}

func TestWhatASelectorChoseStays(t *testing.T) {
	w := newLoopWorld(t, production(), secret())
	w.reconcile()
	w.must(w.Update(t.Context(), namespace("web", nil)))
	w.restart()
	w.reconcile()
	w.want("selected", strings.Join(w.gate().Status.Selected, " "), "web")
	if ns := w.webhooks()[0].NamespaceSelector.MatchExpressions[0].Values; strings.Join(ns, " ") != "shop web" {
		t.Errorf("ring 2 lists %v", ns)
	}
	w.must(w.Delete(t.Context(), namespace("web", nil)))
	w.reconcile()
	w.want("selected, once it is deleted", strings.Join(w.gate().Status.Selected, " "), "web")
	w.want("governed, once it is deleted", strings.Join(w.gate().Status.Namespaces, " "), "shop")
	w.must(w.Create(t.Context(), namespace("web", nil)))
	w.reconcile()
	w.want("governed, made anew without the label", strings.Join(w.gate().Status.Namespaces, " "), "shop web")
	g := w.gate()
	g.Spec.Namespaces.Forget = []string{"web"}
	w.must(w.Update(t.Context(), g))
	w.reconcile()
	w.want("selected, once it is to be forgotten", strings.Join(w.gate().Status.Selected, " "), "")
}

func TestAGateThatBreaksKeepsWhatStood(t *testing.T) {
	w := newLoopWorld(t, production(), secret())
	w.reconcile()
	g := w.gate()
	g.Spec.Namespaces.Selector.MatchExpressions = []metav1.LabelSelectorRequirement{{Key: "a", Operator: "Near"}}
	w.must(w.Update(t.Context(), g))
	w.reconcile()
	w.want("ready", w.ready(), "Invalid")
	w.must(w.Get(t.Context(), types.NamespacedName{Name: gates.PolicyName("production")}, &admissionregistrationv1.ValidatingAdmissionPolicy{}))
	if ns := w.webhooks()[0].NamespaceSelector.MatchExpressions[0].Values; strings.Join(ns, " ") != "shop web" {
		t.Errorf("ring 2 lists %v", ns)
	}
}

func TestADeletedGateIsPruned(t *testing.T) {
	w := newLoopWorld(t, production(), secret())
	w.reconcile()
	if len(w.webhooks()) == 0 {
		t.Fatal("wanted webhooks while there is a Gate, found none")
	}
	w.must(w.Delete(t.Context(), production()))
	w.reconcile()
	for _, o := range []client.Object{&admissionregistrationv1.ValidatingAdmissionPolicy{}, &admissionregistrationv1.ValidatingAdmissionPolicyBinding{}} {
		if err := w.Get(t.Context(), types.NamespacedName{Name: gates.PolicyName("production")}, o); !apierrors.IsNotFound(err) {
			t.Errorf("%T: wanted it gone, got %v", o, err)
		}
	}
	w.reconcile() // and again, with nothing to do
	var c admissionregistrationv1.ValidatingWebhookConfiguration
	if err := w.Get(t.Context(), types.NamespacedName{Name: gates.WebhookName}, &c); !apierrors.IsNotFound(err) {
		t.Errorf("wanted no webhook configuration without a Gate, since an uninstall leaves nothing behind, found %v, %v", c.Webhooks, err)
	}
}

func TestAConflictIsTriedAgainAndIsNoError(t *testing.T) {
	gr := schema.GroupResource{Group: "tidegate.io", Resource: "gates"}
	for name, tc := range map[string]struct {
		err  error
		want bool // an error
	}{
		"somebody else wrote meanwhile": {apierrors.NewConflict(gr, "production", nil), false},
		"a write that is refused":       {apierrors.NewForbidden(gr, "production", nil), true},
	} {
		t.Run(name, func(t *testing.T) {
			w := newLoopWorld(t, production(), secret())
			c, ok := w.Client.(client.WithWatch)
			if !ok {
				t.Fatal("the fake client cannot be intercepted")
			}
			w.loop.Client = interceptor.NewClient(c, interceptor.Funcs{
				SubResourceUpdate: func(context.Context, client.Client, string, client.Object, ...client.SubResourceUpdateOption) error {
					return tc.err
				},
			})
			r, err := w.loop.Reconcile(t.Context(), reconcile.Request{})
			if (err != nil) != tc.want || (r.RequeueAfter > 0) == tc.want {
				t.Errorf("got %+v, %v", r, err)
			}
		})
	}
}

func TestInvariantI5RestCostsNoWrites(t *testing.T) {
	w := newLoopWorld(t, production(), secret())
	versions := func() string {
		var hook admissionregistrationv1.ValidatingWebhookConfiguration
		var policy admissionregistrationv1.ValidatingAdmissionPolicy
		w.must(w.Get(t.Context(), types.NamespacedName{Name: gates.WebhookName}, &hook))
		w.must(w.Get(t.Context(), types.NamespacedName{Name: gates.PolicyName("production")}, &policy))
		return strings.Join([]string{hook.ResourceVersion, policy.ResourceVersion, w.gate().ResourceVersion}, " ")
	}
	w.reconcile()
	w.reconcile()
	for range 2 { // Ring 2 has settled, then the API servers have taken up that ring 1 relies on it.
		w.pass(time.Minute)
		w.reconcile()
	}
	before := versions()
	for range 5 {
		w.pass(time.Hour)
		w.reconcile()
	}
	w.want("resource versions", versions(), before)
}
