package exemption_test

import (
	"context"
	"errors"
	"strings"
	"testing"
	"time"

	corev1 "k8s.io/api/core/v1"
	"k8s.io/apimachinery/pkg/api/meta"
	metav1 "k8s.io/apimachinery/pkg/apis/meta/v1"
	"k8s.io/apimachinery/pkg/runtime"
	"k8s.io/apimachinery/pkg/types"
	clientgoscheme "k8s.io/client-go/kubernetes/scheme"
	"k8s.io/client-go/tools/events"
	testclock "k8s.io/utils/clock/testing"
	"sigs.k8s.io/controller-runtime/pkg/client"
	"sigs.k8s.io/controller-runtime/pkg/client/fake"
	"sigs.k8s.io/controller-runtime/pkg/client/interceptor"
	"sigs.k8s.io/controller-runtime/pkg/reconcile"

	"tidegate.io/tidegate/schemas/v1alpha1"
	"tidegate.io/tidegate/webhook/exemption"
)

var three = time.Date(2026, 11, 23, 3, 0, 0, 0, time.UTC)

// night is a BreakGlass of half an hour, and the loop that looks after it.
type night struct {
	*testing.T
	client.Client
	loop   *exemption.Loop
	events *events.FakeRecorder
	clock  *testclock.FakePassiveClock
	writes int
	// refuse is what the API server says to a write of a status.
	refuse error
}

func newNight(t *testing.T, rule *v1alpha1.BreakGlassRule, objects ...client.Object) *night {
	t.Helper()
	scheme := runtime.NewScheme()
	for _, add := range []func(*runtime.Scheme) error{clientgoscheme.AddToScheme, v1alpha1.AddToScheme} {
		if err := add(scheme); err != nil {
			t.Fatal(err)
		}
	}
	n := &night{T: t, events: events.NewFakeRecorder(50), clock: testclock.NewFakePassiveClock(three)}
	objects = append(objects,
		&corev1.Namespace{ObjectMeta: metav1.ObjectMeta{Name: "shop"}},
		&v1alpha1.Gate{ObjectMeta: metav1.ObjectMeta{Name: "production"}, Spec: v1alpha1.GateSpec{
			Namespaces: v1alpha1.NamespaceScope{Names: []string{"shop"}}, BreakGlass: rule,
		}},
		&v1alpha1.BreakGlass{
			ObjectMeta: metav1.ObjectMeta{Namespace: "shop", Name: "night", UID: "uid", Generation: 1, CreationTimestamp: metav1.NewTime(three)},
			Spec: v1alpha1.BreakGlassSpec{
				Objects: []v1alpha1.ObjectName{{Group: "apps", Resource: "deployments", Name: "cart"}}, Reason: "INC-4711", Actor: "dora",
				ExpiresAt: metav1.NewTime(three.Add(30 * time.Minute)),
			},
		})
	n.Client = fake.NewClientBuilder().WithScheme(scheme).WithObjects(objects...).WithStatusSubresource(&v1alpha1.BreakGlass{}).WithInterceptorFuncs(interceptor.Funcs{
		SubResourceUpdate: func(ctx context.Context, c client.Client, sub string, o client.Object, opts ...client.SubResourceUpdateOption) error {
			n.writes++
			if n.refuse != nil {
				return n.refuse
			}
			return c.SubResource(sub).Update(ctx, o, opts...)
		},
	}).Build()
	n.loop = &exemption.Loop{Client: n.Client, Live: n.Client, Recorder: n.events, Clock: n.clock, ManagerNamespace: "tidegate-system"}
	return n
}

func ruleOf(approval v1alpha1.BreakGlassApproval) *v1alpha1.BreakGlassRule {
	return &v1alpha1.BreakGlassRule{Users: []string{"dora"}, Approval: approval}
}

func decision(action v1alpha1.BreakGlassAction, actor string, uid types.UID) *v1alpha1.BreakGlassCommand {
	return &v1alpha1.BreakGlassCommand{
		ObjectMeta: metav1.ObjectMeta{Namespace: "shop", Name: string(action) + "-" + actor, CreationTimestamp: metav1.NewTime(three.Add(time.Minute))},
		Spec:       v1alpha1.BreakGlassCommandSpec{BreakGlass: "night", UID: uid, Action: action, Actor: actor},
	}
}

func (n *night) reconcile() time.Duration {
	n.Helper()
	r, err := n.loop.Reconcile(n.Context(), reconcile.Request{NamespacedName: types.NamespacedName{Namespace: "shop", Name: "night"}})
	if err != nil {
		n.Fatal(err)
	}
	return r.RequeueAfter
}

func (n *night) glass() *v1alpha1.BreakGlass {
	n.Helper()
	var b v1alpha1.BreakGlass
	if err := n.Get(n.Context(), types.NamespacedName{Namespace: "shop", Name: "night"}, &b); err != nil {
		n.Fatal(err)
	}
	if meta.IsStatusConditionTrue(b.Status.Conditions, v1alpha1.ConditionReconciling) && meta.IsStatusConditionTrue(b.Status.Conditions, v1alpha1.ConditionStalled) {
		n.Error("Reconciling and Stalled together")
	}
	return &b
}

func (n *night) wantPhase(want v1alpha1.BreakGlassPhase, message string) {
	n.Helper()
	if s := n.glass().Status; s.Phase != want || !strings.Contains(s.Message, message) {
		n.Errorf("wanted %s: %q, found %s: %q", want, message, s.Phase, s.Message)
	}
}

func (n *night) said() []string {
	var out []string
	for {
		select {
		case e := <-n.events.Events:
			out = append(out, e)
		default:
			return out
		}
	}
}

func (n *night) wantSaid(parts ...string) {
	n.Helper()
	said := n.said()
	if len(said) != len(parts) {
		n.Errorf("wanted %d events, found %q", len(parts), said)
		return
	}
	for i, p := range parts {
		if !strings.Contains(said[i], p) {
			n.Errorf("wanted %q, found %q", p, said[i])
		}
	}
}

func (n *night) make(o client.Object) {
	n.Helper()
	if err := n.Create(n.Context(), o); err != nil {
		n.Fatal(err)
	}
}

func TestAnExemptionIsApprovedAndEndsByItself(t *testing.T) {
	n := newNight(t, ruleOf(v1alpha1.ApprovalSecondPerson))
	if after := n.reconcile(); after != 30*time.Minute {
		t.Errorf("wanted to look again when it ends, in 30m, found %s", after)
	}
	n.wantPhase(v1alpha1.BreakGlassPending, "waits for a second person: tidegate breakglass approve night -n shop")
	n.wantSaid("BreakGlassPending")

	n.make(decision(v1alpha1.BreakGlassApprove, "dora", "uid")) // somehow: the webhook refuses it
	n.make(decision(v1alpha1.BreakGlassApprove, "old", "the UID of the one before"))
	n.reconcile()
	n.wantPhase(v1alpha1.BreakGlassPending, "waits for a second person")
	n.wantSaid()

	n.make(decision(v1alpha1.BreakGlassApprove, "bob", "uid"))
	n.clock.SetTime(three.Add(2 * time.Minute))
	if after := n.reconcile(); after != 28*time.Minute {
		t.Errorf("wanted to look again in 28m, found %s", after)
	}
	n.wantPhase(v1alpha1.BreakGlassLive, "exempts dora until")
	if s := n.glass().Status; s.ApprovedBy != "bob" || s.ApprovedAt == nil || s.EndedAt != nil || !meta.IsStatusConditionTrue(s.Conditions, v1alpha1.ConditionReady) {
		t.Errorf("wanted it approved by bob, found %+v", s)
	}
	n.wantSaid("Warning BreakGlassLive")

	n.clock.SetTime(three.Add(30 * time.Minute))
	if after := n.reconcile(); after != 0 {
		t.Errorf("wanted rest, found %s", after)
	}
	n.wantPhase(v1alpha1.BreakGlassEnded, "expired at 2026-11-23T03:30:00Z")
	if s := n.glass().Status; s.EndedAt == nil || !s.EndedAt.Time.Equal(three.Add(30*time.Minute)) {
		t.Errorf("wanted the time that it ended, found %v", s.EndedAt)
	}
	n.wantSaid("Normal BreakGlassEnded")
}

func TestWhatHasEndedDoesNotBeginAgain(t *testing.T) {
	n := newNight(t, ruleOf(v1alpha1.ApprovalSecondPerson))
	n.clock.SetTime(three.Add(time.Hour))
	n.reconcile()
	n.wantPhase(v1alpha1.BreakGlassEnded, "expired")
	n.make(decision(v1alpha1.BreakGlassApprove, "bob", "uid"))
	n.clock.SetTime(three.Add(time.Minute)) // a clock that was set back
	n.reconcile()
	n.wantPhase(v1alpha1.BreakGlassEnded, "expired")
}

func TestARevocationEndsIt(t *testing.T) {
	n := newNight(t, ruleOf(v1alpha1.ApprovalNone))
	n.reconcile()
	n.wantPhase(v1alpha1.BreakGlassLive, "")
	n.make(decision(v1alpha1.BreakGlassRevoke, "bob", "uid"))
	n.clock.SetTime(three.Add(5 * time.Minute))
	n.reconcile()
	n.wantPhase(v1alpha1.BreakGlassRevoked, "revoked by bob")
	if at := n.glass().Status.EndedAt; at == nil || !at.Time.Equal(three.Add(time.Minute)) {
		t.Errorf("wanted the time of the revocation, found %v", at)
	}
	n.wantSaid("BreakGlassLive", "BreakGlassRevoked")
}

func TestAGateThatNoLongerAllowsItStallsIt(t *testing.T) {
	n := newNight(t, ruleOf(v1alpha1.ApprovalNone))
	n.reconcile()
	var g v1alpha1.Gate
	if err := n.Get(t.Context(), types.NamespacedName{Name: "production"}, &g); err != nil {
		t.Fatal(err)
	}
	g.Spec.BreakGlass.Users = []string{"carol"}
	if err := n.Update(t.Context(), &g); err != nil {
		t.Fatal(err)
	}
	n.reconcile()
	n.wantPhase(v1alpha1.BreakGlassRefused, "wanted a user that spec.breakGlass of Gate \"production\" lists")
	if !meta.IsStatusConditionTrue(n.glass().Status.Conditions, v1alpha1.ConditionStalled) {
		t.Error("wanted it Stalled")
	}
}

func TestEveryUseIsAnEventOnce(t *testing.T) {
	n := newNight(t, ruleOf(v1alpha1.ApprovalNone))
	n.reconcile()
	n.said()
	use := func(operation string) {
		b := n.glass()
		b.Status.UseCount++
		b.Status.Uses = append(b.Status.Uses, v1alpha1.BreakGlassUse{
			Time: metav1.NewTime(three), User: "dora", Operation: operation, Object: b.Spec.Objects[0], Release: "cart", Request: "r-" + types.UID(operation),
		})
		if err := n.Status().Update(t.Context(), b); err != nil {
			t.Fatal(err)
		}
	}
	use("UPDATE")
	use("DELETE")
	n.reconcile()
	n.wantSaid(`Warning BreakGlassUsed dora past the managed flow: UPDATE of deployments "cart" (request r-UPDATE); the reason given: INC-4711`, "DELETE of deployments")
	n.reconcile()
	n.wantSaid()
	use("CREATE")
	n.reconcile()
	n.wantSaid("CREATE of deployments")

	// A write that fails says nothing yet, so that nothing is said twice.
	use("PATCH")
	n.refuse = errors.New("not now")
	if _, err := n.loop.Reconcile(t.Context(), reconcile.Request{NamespacedName: client.ObjectKeyFromObject(n.glass())}); err == nil {
		t.Error("wanted an error, so that it is tried again")
	}
	n.wantSaid()
	n.refuse = nil
	n.reconcile()
	n.wantSaid("PATCH of deployments")
}

func TestInvariantI5RestCostsNoWrites(t *testing.T) {
	n := newNight(t, ruleOf(v1alpha1.ApprovalNone))
	n.reconcile()
	before := n.writes
	for range 3 {
		n.clock.SetTime(n.clock.Now().Add(time.Minute))
		n.reconcile()
	}
	if n.writes != before {
		t.Errorf("wanted no writes at rest, found %d", n.writes-before)
	}
}

func TestWhatIsGoneIsNoError(t *testing.T) {
	n := newNight(t, ruleOf(v1alpha1.ApprovalNone))
	if _, err := n.loop.Reconcile(t.Context(), reconcile.Request{NamespacedName: types.NamespacedName{Namespace: "shop", Name: "day"}}); err != nil {
		t.Error(err)
	}
}

func TestTheLoopSaysWhatItLacks(t *testing.T) {
	if err := new(exemption.Loop).Validate(); err == nil {
		t.Error("wanted an error without anything")
	}
	if err := newNight(t, nil).loop.Validate(); err != nil {
		t.Error(err)
	}
}
