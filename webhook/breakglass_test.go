package webhook_test

import (
	"context"
	"encoding/json"
	"strings"
	"testing"
	"time"

	"github.com/prometheus/client_golang/prometheus"
	"github.com/prometheus/client_golang/prometheus/testutil"
	admissionv1 "k8s.io/api/admission/v1"
	authenticationv1 "k8s.io/api/authentication/v1"
	authorizationv1 "k8s.io/api/authorization/v1"
	corev1 "k8s.io/api/core/v1"
	metav1 "k8s.io/apimachinery/pkg/apis/meta/v1"
	"k8s.io/apimachinery/pkg/types"
	testclock "k8s.io/utils/clock/testing"
	"sigs.k8s.io/controller-runtime/pkg/client"
	"sigs.k8s.io/controller-runtime/pkg/client/fake"
	"sigs.k8s.io/controller-runtime/pkg/webhook/admission"

	"tidegate.io/tidegate/policies/eval"
	"tidegate.io/tidegate/schemas/v1alpha1"
	"tidegate.io/tidegate/webhook"
)

var glassStart = time.Date(2026, 11, 23, 3, 0, 0, 0, time.UTC)

// everybodyMay is RBAC without limits, mallory aside.
type everybodyMay struct{}

func (everybodyMay) Allowed(_ context.Context, user authenticationv1.UserInfo, _ authorizationv1.ResourceAttributes) (bool, error) {
	return user.Username != "mallory", nil
}

// glass is a webhook in front of a world with a Gate that allows exemptions in "shop" and
// one that allows none in "strict".
type glass struct {
	*webhook.Handlers
	world    client.Client
	policies *eval.Store
	metrics  *webhook.Metrics
	clock    *testclock.FakePassiveClock
}

func newGlass(t *testing.T, rule *v1alpha1.BreakGlassRule, extra ...client.Object) glass {
	t.Helper()
	gate := func(name, namespace string, rule *v1alpha1.BreakGlassRule) *v1alpha1.Gate {
		return &v1alpha1.Gate{ObjectMeta: metav1.ObjectMeta{Name: name}, Spec: v1alpha1.GateSpec{
			Namespaces: v1alpha1.NamespaceScope{Names: []string{namespace}}, BreakGlass: rule,
		}}
	}
	objects := []client.Object{
		gate("production", "shop", rule), gate("bank", "strict", nil),
		&corev1.Namespace{ObjectMeta: metav1.ObjectMeta{Name: "shop"}},
		&corev1.Namespace{ObjectMeta: metav1.ObjectMeta{Name: "strict"}},
		&corev1.Namespace{ObjectMeta: metav1.ObjectMeta{Name: "playground"}},
		&v1alpha1.Release{ObjectMeta: metav1.ObjectMeta{Namespace: "shop", Name: "cart"}},
	}
	g := glass{
		policies: eval.NewStore(), metrics: webhook.NewMetrics(), clock: testclock.NewFakePassiveClock(glassStart),
		world: fake.NewClientBuilder().WithScheme(newScheme(t)).WithObjects(append(objects, extra...)...).WithStatusSubresource(&v1alpha1.BreakGlass{}).Build(),
	}
	handlers, err := webhook.New(webhook.Config{
		Reader: g.world, Policies: g.policies, Renderer: renderer{}, Authorizer: everybodyMay{}, Identity: manager, ManagerNamespace: "tidegate-system",
		Exemptions: webhook.Exemptions{Live: g.world, Writer: g.world, Clock: g.clock}, Clock: g.clock, Metrics: g.metrics,
	})
	if err != nil {
		t.Fatal(err)
	}
	g.Handlers = handlers
	return g
}

func oncallRule(approval v1alpha1.BreakGlassApproval) *v1alpha1.BreakGlassRule {
	return &v1alpha1.BreakGlassRule{
		MaxDuration: metav1.Duration{Duration: time.Hour}, Approval: approval, Users: []string{"oncall", "mallory"}, Groups: []string{"sre"},
	}
}

func named(group, resource, name string) v1alpha1.ObjectName {
	return v1alpha1.ObjectName{Group: group, Resource: resource, Name: name}
}

// made is a BreakGlass as it was admitted.
func made(name, actor string, lasting time.Duration, objects ...v1alpha1.ObjectName) *v1alpha1.BreakGlass {
	if len(objects) == 0 {
		objects = []v1alpha1.ObjectName{named("apps", "deployments", "cart-0a1b2c3d4e"), named("", "pods", "cart-1")}
	}
	return &v1alpha1.BreakGlass{
		ObjectMeta: metav1.ObjectMeta{Namespace: "shop", Name: name, UID: types.UID("uid-of-" + name), CreationTimestamp: metav1.NewTime(glassStart)},
		Spec: v1alpha1.BreakGlassSpec{
			Objects: objects, Reason: "the database is down, INC-4711", ExpiresAt: metav1.NewTime(glassStart.Add(lasting)), Actor: actor,
		},
	}
}

func decided(action v1alpha1.BreakGlassAction, actor, glass string, uid types.UID) *v1alpha1.BreakGlassCommand {
	return &v1alpha1.BreakGlassCommand{
		ObjectMeta: metav1.ObjectMeta{Namespace: "shop", Name: glass + "-" + string(action) + "-" + actor, CreationTimestamp: metav1.NewTime(glassStart)},
		Spec:       v1alpha1.BreakGlassCommandSpec{BreakGlass: glass, UID: uid, Action: action, Actor: actor},
	}
}

func asked(t *testing.T, op admissionv1.Operation, resource, namespace, user string, groups []string, object, old any) admission.Request {
	t.Helper()
	encode := func(o any) string {
		if o == nil {
			return ""
		}
		raw, err := json.Marshal(o)
		if err != nil {
			t.Fatal(err)
		}
		return string(raw)
	}
	r := request{op: op, resource: group + resource, namespace: namespace, name: "night", user: user, object: encode(object), old: encode(old)}.admission()
	r.UserInfo.Groups = groups
	return r
}

func TestBreakGlassIsMadeByWhoMayForWhatIsGoverned(t *testing.T) {
	const create = admissionv1.Create
	for name, tc := range map[string]struct {
		namespace string
		user      string
		groups    []string
		edit      func(*v1alpha1.BreakGlass)
		code      int32
		want      string
	}{
		"a user that the Gate lists":                  {user: "oncall", code: 200},
		"a member of a group that the Gate lists":     {user: "dora", groups: []string{"sre"}, code: 200},
		"somebody whom the Gate does not list":        {user: "alice", groups: []string{"dev"}, code: 403, want: "TG-BREAKGLASS-FORBIDDEN: BreakGlass in namespace \"shop\": wanted a user that spec.breakGlass of Gate \"production\" lists"},
		"a cluster-admin whom the Gate does not list": {user: "root", groups: []string{"system:masters"}, code: 403, want: "TG-BREAKGLASS-FORBIDDEN"},
		"who may not by RBAC":                         {user: "mallory", code: 403, want: "TG-COMMAND-FORBIDDEN"},
		"an actor who is not who asks":                {user: "oncall", edit: func(b *v1alpha1.BreakGlass) { b.Spec.Actor = "bob" }, code: 403, want: "TG-COMMAND-ACTOR"},
		"a namespace whose Gate allows none":          {namespace: "strict", user: "oncall", code: 403, want: `spec.breakGlass of Gate "bank" is not set`},
		"a namespace that nothing governs":            {namespace: "playground", user: "oncall", code: 403, want: "which none does"},
		"an expiry in the past":                       {user: "oncall", edit: expiring(-time.Second), code: 403, want: "TG-BREAKGLASS-INVALID: BreakGlass in namespace \"shop\": spec.expiresAt: wanted a time after now"},
		"an expiry of now":                            {user: "oncall", edit: expiring(0), code: 403, want: "TG-BREAKGLASS-INVALID"},
		"an expiry too far off":                       {user: "oncall", edit: expiring(time.Hour + time.Minute), code: 403, want: "wanted at most 1h from its creation, as Gate \"production\" says"},
		"an expiry too far off with a creation that it claims": {user: "oncall", edit: func(b *v1alpha1.BreakGlass) {
			b.CreationTimestamp = metav1.NewTime(glassStart.Add(24 * time.Hour))
			b.Spec.ExpiresAt = metav1.NewTime(glassStart.Add(24 * time.Hour))
		}, code: 403, want: "wanted at most 1h"},
		"no expiry":                   {user: "oncall", edit: func(b *v1alpha1.BreakGlass) { b.Spec.ExpiresAt = metav1.Time{} }, code: 403, want: "TG-BREAKGLASS-INVALID"},
		"a pattern of names":          {user: "oncall", edit: about(named("apps", "deployments", "*")), code: 403, want: "there are no patterns"},
		"a pattern within a name":     {user: "oncall", edit: about(named("apps", "deployments", "cart-*")), code: 403, want: "there are no patterns"},
		"a pattern of resources":      {user: "oncall", edit: about(named("apps", "*", "cart")), code: 403, want: "there are no patterns"},
		"a subresource":               {user: "oncall", edit: about(named("", "pods/exec", "cart")), code: 403, want: "there are no patterns"},
		"no name":                     {user: "oncall", edit: about(named("apps", "deployments", "")), code: 403, want: "there are no patterns"},
		"an object of Tidegate's own": {user: "oncall", edit: about(named("tidegate.io", "rollouts", "cart-2")), code: 403, want: "Tidegate's own kinds have their commands"},
		"a Gate":                      {user: "oncall", edit: about(named("tidegate.io", "gates", "production")), code: 403, want: "TG-BREAKGLASS-INVALID"},
		"what controllers write":      {user: "oncall", edit: about(named("apps", "replicasets", "cart")), code: 403, want: "TG-BREAKGLASS-INVALID"},
		"a webhook configuration":     {user: "oncall", edit: about(named("admissionregistration.k8s.io", "validatingwebhookconfigurations", "tidegate-gates")), code: 403, want: "TG-BREAKGLASS-INVALID"},
		"one bad object among good": {user: "oncall", edit: func(b *v1alpha1.BreakGlass) {
			b.Spec.Objects = append(b.Spec.Objects, named("apps", "deployments", "*"))
		}, code: 403, want: "spec.objects[2]"},
		"another namespace's, claimed": {namespace: "strict", user: "oncall", edit: func(b *v1alpha1.BreakGlass) { b.Namespace = "shop" }, code: 403, want: `Gate "bank"`},
	} {
		t.Run(name, func(t *testing.T) {
			b := made("night", tc.user, 30*time.Minute)
			b.CreationTimestamp, b.UID = metav1.Time{}, ""
			if tc.edit != nil {
				tc.edit(b)
			}
			namespace := tc.namespace
			if namespace == "" {
				namespace = "shop"
			}
			g := newGlass(t, oncallRule(v1alpha1.ApprovalSecondPerson))
			check(t, g.Tidegate.Handle(t.Context(), asked(t, create, "breakglasses", namespace, tc.user, tc.groups, b, nil)), tc.code, tc.want)
		})
	}
}

func expiring(in time.Duration) func(*v1alpha1.BreakGlass) {
	return func(b *v1alpha1.BreakGlass) { b.Spec.ExpiresAt = metav1.NewTime(glassStart.Add(in)) }
}

func about(objects ...v1alpha1.ObjectName) func(*v1alpha1.BreakGlass) {
	return func(b *v1alpha1.BreakGlass) { b.Spec.Objects = objects }
}

func TestBreakGlassNeverChangesAndIsKeptWhileItIsOpen(t *testing.T) {
	const update, del = admissionv1.Update, admissionv1.Delete
	was, longer, labelled := made("night", "oncall", time.Hour), made("night", "oncall", 2*time.Hour), made("night", "oncall", time.Hour)
	labelled.Labels = map[string]string{"ticket": "4711"}
	ended, revoked := made("night", "oncall", -time.Hour), made("night", "oncall", time.Hour)
	revoked.Status.Phase = v1alpha1.BreakGlassRevoked
	command := decided(v1alpha1.BreakGlassApprove, "bob", "night", was.UID)
	doomed := made("night", "oncall", time.Hour)
	doomed.OwnerReferences = []metav1.OwnerReference{{APIVersion: "v1", Kind: "ConfigMap", Name: "gone", UID: "1"}}
	for name, tc := range map[string]struct {
		op       admissionv1.Operation
		resource string
		user     string
		is, was  any
		code     int32
		want     string
	}{
		"a longer one":                       {update, "breakglasses", "oncall", longer, was, 403, "TG-BREAKGLASS-INVALID: spec: wanted no change"},
		"an owner that is not there":         {update, "breakglasses", "oncall", doomed, was, 403, "TG-BREAKGLASS-INVALID: metadata.ownerReferences"},
		"a label":                            {update, "breakglasses", "oncall", labelled, was, 200, ""},
		"deleting it while it exempts":       {del, "breakglasses", "oncall", nil, was, 403, "tidegate breakglass revoke night -n shop"},
		"deleting it when it has ended":      {del, "breakglasses", "oncall", nil, ended, 200, ""},
		"deleting it when it was revoked":    {del, "breakglasses", "oncall", nil, revoked, 200, ""},
		"the garbage collector deletes it":   {del, "breakglasses", gc, nil, was, 200, ""},
		"its status":                         {update, "breakglasses/status", "oncall", was, was, 403, "TG-KIND-READONLY"},
		"a decision, changed":                {update, "breakglasscommands", "bob", command, command, 403, "TG-KIND-READONLY"},
		"a decision, deleted":                {del, "breakglasscommands", "bob", nil, command, 403, "TG-KIND-READONLY"},
		"a decision that the manager clears": {del, "breakglasscommands", manager, nil, command, 200, ""},
	} {
		t.Run(name, func(t *testing.T) {
			g := newGlass(t, oncallRule(v1alpha1.ApprovalNone))
			check(t, g.Tidegate.Handle(t.Context(), asked(t, tc.op, tc.resource, "shop", tc.user, nil, tc.is, tc.was)), tc.code, tc.want)
		})
	}
}

func TestBreakGlassIsApprovedByASecondPerson(t *testing.T) {
	open, ended := made("night", "oncall", time.Hour), made("over", "oncall", -time.Minute)
	owning := func(name string, uid types.UID) *v1alpha1.BreakGlassCommand {
		c := decided(v1alpha1.BreakGlassApprove, "bob", "night", open.UID)
		c.OwnerReferences = []metav1.OwnerReference{{APIVersion: "tidegate.io/v1alpha1", Kind: "BreakGlass", Name: name, UID: uid}}
		return c
	}
	for name, tc := range map[string]struct {
		user    string
		command *v1alpha1.BreakGlassCommand
		code    int32
		want    string
	}{
		"a second person":                  {"bob", decided(v1alpha1.BreakGlassApprove, "bob", "night", open.UID), 200, ""},
		"one that goes with what it is of": {"bob", owning("night", open.UID), 200, ""},
		"one that goes with another":       {"bob", owning("over", ended.UID), 403, "metadata.ownerReferences of breakglasscommands"},
		"its author":                       {"oncall", decided(v1alpha1.BreakGlassApprove, "oncall", "night", open.UID), 403, "TG-BREAKGLASS-SELF"},
		"its author in another's name":     {"oncall", decided(v1alpha1.BreakGlassApprove, "bob", "night", open.UID), 403, "TG-COMMAND-ACTOR"},
		"who may not":                      {"mallory", decided(v1alpha1.BreakGlassApprove, "mallory", "night", open.UID), 403, "TG-COMMAND-FORBIDDEN"},
		"the one that had its name":        {"bob", decided(v1alpha1.BreakGlassApprove, "bob", "night", "an-older-uid"), 403, "another one had its name before"},
		"none in particular":               {"bob", decided(v1alpha1.BreakGlassApprove, "bob", "night", ""), 403, "spec.uid: wanted"},
		"one that is not there":            {"bob", decided(v1alpha1.BreakGlassApprove, "bob", "day", open.UID), 403, "found none called \"day\""},
		"one that has ended":               {"bob", decided(v1alpha1.BreakGlassApprove, "bob", "over", ended.UID), 403, "has not ended"},
		"something else than a decision":   {"bob", decided("prolong", "bob", "night", open.UID), 403, "spec.action: wanted approve or revoke"},
		"its author gives it up":           {"oncall", decided(v1alpha1.BreakGlassRevoke, "oncall", "night", open.UID), 200, ""},
		"another one takes it":             {"bob", decided(v1alpha1.BreakGlassRevoke, "bob", "night", open.UID), 200, ""},
		"who may not takes it":             {"mallory", decided(v1alpha1.BreakGlassRevoke, "mallory", "night", open.UID), 403, "TG-COMMAND-FORBIDDEN"},
	} {
		t.Run(name, func(t *testing.T) {
			g := newGlass(t, oncallRule(v1alpha1.ApprovalSecondPerson), open.DeepCopy(), ended.DeepCopy())
			check(t, g.Tidegate.Handle(t.Context(), asked(t, admissionv1.Create, "breakglasscommands", "shop", tc.user, nil, tc.command, nil)), tc.code, tc.want)
		})
	}
}

// TestInvariantI7AnExemptionLetsPastWhatItNamesAlone is the hostile side of it.
func TestInvariantI7AnExemptionLetsPastWhatItNamesAlone(t *testing.T) {
	const update, create, del = admissionv1.Update, admissionv1.Create, admissionv1.Delete
	image := request{op: update, resource: "apps/deployments", namespace: "shop", name: "cart-0a1b2c3d4e", user: "oncall", object: managed, old: managed}
	exec := request{op: admissionv1.Connect, resource: "/pods/exec", namespace: "shop", name: "cart-1", user: "oncall", object: `{}`}
	with := func(r request, edit func(*request)) request { edit(&r); return r }
	approved := decided(v1alpha1.BreakGlassApprove, "bob", "night", "uid-of-night")
	for name, tc := range map[string]struct {
		request
		approval v1alpha1.BreakGlassApproval
		after    time.Duration
		have     []client.Object
		rule     func(*v1alpha1.BreakGlassRule)
		code     int32
		want     string
		uses     int64
	}{
		"what it names, by whom it names": {request: image, code: 200, uses: 1},
		"a subresource of what it names":  {request: with(image, func(r *request) { r.resource += "/scale"; r.object, r.old = scaled, scaled }), code: 200, uses: 1},
		"deleting what it names":          {request: with(image, func(r *request) { r.op, r.object = del, "" }), code: 200, uses: 1},
		"somebody else":                   {request: with(image, func(r *request) { r.user = "alice" }), code: 403, want: "TG-GATE-BYPASS"},
		"who approved it":                 {request: with(image, func(r *request) { r.user = "bob" }), code: 403, want: "TG-GATE-BYPASS"},
		"another object":                  {request: with(image, func(r *request) { r.name = "cart-ffffffffff" }), code: 403, want: "TG-GATE-BYPASS"},
		"another resource of the name":    {request: with(image, func(r *request) { r.resource = "apps/statefulsets" }), code: 403, want: "TG-GATE-BYPASS"},
		"another group of the name":       {request: with(image, func(r *request) { r.resource = "batch/deployments" }), code: 403, want: "TG-GATE-BYPASS"},
		"another namespace":               {request: with(image, func(r *request) { r.namespace = "strict" }), code: 403, want: "TG-GATE-BYPASS"},
		"a collection":                    {request: with(image, func(r *request) { r.op, r.name, r.object = del, "", "" }), code: 403, want: "TG-GATE-BYPASS"},
		"a generated name": {request: with(image, func(r *request) {
			r.op, r.name, r.object, r.old = create, "", `{"metadata": {"generateName": "cart-"}}`, ""
		}), code: 403, want: "TG-GATE-BYPASS"},
		"a dry run uses nothing":              {request: with(image, func(r *request) { r.dryRun = true }), code: 200, uses: 0},
		"the last second":                     {request: image, after: 30*time.Minute - time.Nanosecond, code: 200, uses: 1},
		"its expiry":                          {request: image, after: 30 * time.Minute, code: 403, want: "TG-GATE-BYPASS"},
		"before it is approved":               {request: image, approval: v1alpha1.ApprovalSecondPerson, code: 403, want: "TG-GATE-BYPASS"},
		"approved":                            {request: image, approval: v1alpha1.ApprovalSecondPerson, have: []client.Object{approved}, code: 200, uses: 1},
		"approved, another of the name":       {request: image, approval: v1alpha1.ApprovalSecondPerson, have: []client.Object{decided(v1alpha1.BreakGlassApprove, "bob", "night", "an-older-uid")}, code: 403, want: "TG-GATE-BYPASS"},
		"approved by its author, somehow":     {request: image, approval: v1alpha1.ApprovalSecondPerson, have: []client.Object{decided(v1alpha1.BreakGlassApprove, "oncall", "night", "uid-of-night")}, code: 403, want: "TG-GATE-BYPASS"},
		"revoked":                             {request: image, have: []client.Object{decided(v1alpha1.BreakGlassRevoke, "bob", "night", "uid-of-night")}, code: 403, want: "TG-GATE-BYPASS"},
		"approved and revoked":                {request: image, approval: v1alpha1.ApprovalSecondPerson, have: []client.Object{approved, decided(v1alpha1.BreakGlassRevoke, "bob", "night", "uid-of-night")}, code: 403, want: "TG-GATE-BYPASS"},
		"a Gate that has become stricter":     {request: image, rule: func(r *v1alpha1.BreakGlassRule) { r.Users = []string{"carol"} }, code: 403, want: "TG-GATE-BYPASS"},
		"a Gate that allows less time by now": {request: image, rule: func(r *v1alpha1.BreakGlassRule) { r.MaxDuration.Duration = 10 * time.Minute }, code: 403, want: "TG-GATE-BYPASS"},
		"exec into a pod that it names":       {request: exec, code: 200, uses: 1},
		"a container for debugging in it":     {request: with(exec, func(r *request) { r.op, r.resource = update, "/pods/ephemeralcontainers" }), code: 200, uses: 1},
		"exec into another pod":               {request: with(exec, func(r *request) { r.name = "cart-2" }), code: 403, want: "TG-BREAKGLASS-OVER"},
		"exec by somebody else":               {request: with(exec, func(r *request) { r.user = "alice" }), code: 403, want: "TG-BREAKGLASS-OVER"},
		"exec after its expiry":               {request: exec, after: 30 * time.Minute, code: 403, want: "TG-BREAKGLASS-OVER"},
		"writing the pod":                     {request: with(exec, func(r *request) { r.op, r.resource = update, "/pods" }), code: 403, want: "TG-BREAKGLASS-OVER"},
		"resizing the pod":                    {request: with(exec, func(r *request) { r.op, r.resource = update, "/pods/resize" }), code: 403, want: "TG-BREAKGLASS-OVER"},
		"the proxy of the pod":                {request: with(exec, func(r *request) { r.resource = "/pods/proxy" }), code: 403, want: "TG-BREAKGLASS-OVER"},
	} {
		t.Run(name, func(t *testing.T) {
			if tc.approval == "" {
				tc.approval = v1alpha1.ApprovalNone
			}
			rule := oncallRule(tc.approval)
			if tc.rule != nil {
				tc.rule(rule)
			}
			g := newGlass(t, rule, append(tc.have, made("night", "oncall", 30*time.Minute))...)
			g.clock.SetTime(glassStart.Add(tc.after))
			r := g.Gate.Handle(t.Context(), tc.admission())
			check(t, r, tc.code, tc.want)
			var b v1alpha1.BreakGlass
			if err := g.world.Get(t.Context(), client.ObjectKey{Namespace: "shop", Name: "night"}, &b); err != nil {
				t.Fatal(err)
			}
			if b.Status.UseCount != tc.uses || int64(len(b.Status.Uses)) != tc.uses {
				t.Errorf("wanted %d uses on record, found %+v", tc.uses, b.Status)
			}
			if tc.code != 200 {
				return
			}
			if r.AuditAnnotations["breakglass"] != "shop/night" || r.AuditAnnotations["breakglass-reason"] == "" || len(r.Warnings) != 1 {
				t.Errorf("wanted it in the audit log and a warning, found %v, %q", r.AuditAnnotations, r.Warnings)
			}
			if tc.uses > 0 && tc.resource != "/pods/exec" && tc.name == "cart-0a1b2c3d4e" && b.Status.Uses[0].Release != "cart" {
				t.Errorf("wanted the Release on record, found %+v", b.Status.Uses[0])
			}
		})
	}
}

func TestAnExemptionIsFromTheManagedFlowAndNotFromPolicies(t *testing.T) {
	g := newGlass(t, oncallRule(v1alpha1.ApprovalNone), made("night", "oncall", time.Hour))
	if err := g.policies.Put(eval.Source{Name: "never", At: []v1alpha1.PolicyMoment{v1alpha1.AtAdmission}, Rego: "package p\ndeny contains \"never\""}); err != nil {
		t.Fatal(err)
	}
	r := g.Gate.Handle(t.Context(), request{op: admissionv1.Update, resource: "apps/deployments", namespace: "shop", name: "cart-0a1b2c3d4e", user: "oncall", object: managed, old: managed}.admission())
	check(t, r, 403, "TG-POLICY-DENY: never")
	var b v1alpha1.BreakGlass
	if err := g.world.Get(t.Context(), client.ObjectKey{Namespace: "shop", Name: "night"}, &b); err != nil || b.Status.UseCount != 0 {
		t.Errorf("wanted no use on record, found %+v, %v", b.Status, err)
	}
}

// What the cache says is old news: the API server is asked before anything is let through.
func TestAUseIsRefusedByWhatStandsNow(t *testing.T) {
	g := newGlass(t, oncallRule(v1alpha1.ApprovalNone), made("night", "oncall", time.Hour))
	cached := made("night", "oncall", time.Hour)
	use := v1alpha1.BreakGlassUse{User: "oncall", Object: named("apps", "deployments", "cart-0a1b2c3d4e")}
	rules := map[string]*v1alpha1.BreakGlassRule{"production": oncallRule(v1alpha1.ApprovalNone)}
	e := webhook.Exemptions{Live: g.world, Writer: g.world, Clock: g.clock}
	refusal := func() string {
		t.Helper()
		text, err := e.Use(t.Context(), cached, rules, nil, use)
		if err != nil {
			t.Fatal(err)
		}
		return text
	}
	if text := refusal(); text != "" {
		t.Fatalf("wanted it to be let through, found %q", text)
	}
	if err := g.world.Create(t.Context(), decided(v1alpha1.BreakGlassRevoke, "bob", "night", "uid-of-night")); err != nil {
		t.Fatal(err)
	}
	if text := refusal(); text != "revoked by bob" {
		t.Errorf("wanted the revocation to count, found %q", text)
	}
	if err := g.world.Delete(t.Context(), cached.DeepCopy()); err != nil {
		t.Fatal(err)
	}
	again := made("night", "oncall", time.Hour)
	again.UID = "another"
	if err := g.world.Create(t.Context(), again); err != nil {
		t.Fatal(err)
	}
	if text := refusal(); text != "it is gone" {
		t.Errorf("wanted another one of its name to be another one, found %q", text)
	}
}

func TestUsesAreCountedByOperation(t *testing.T) {
	g := newGlass(t, oncallRule(v1alpha1.ApprovalNone), made("night", "oncall", time.Hour))
	registry := prometheus.NewRegistry()
	if err := g.metrics.Register(registry); err != nil {
		t.Fatal(err)
	}
	check(t, g.Gate.Handle(t.Context(), request{op: admissionv1.Update, resource: "apps/deployments", namespace: "shop", name: "cart-0a1b2c3d4e", user: "oncall", object: managed, old: managed}.admission()), 200)
	if err := testutil.GatherAndCompare(registry, strings.NewReader(`
# HELP tidegate_breakglass_uses_total Requests that a BreakGlass let past the managed flow, by operation.
# TYPE tidegate_breakglass_uses_total counter
tidegate_breakglass_uses_total{operation="CONNECT"} 0
tidegate_breakglass_uses_total{operation="CREATE"} 0
tidegate_breakglass_uses_total{operation="DELETE"} 0
tidegate_breakglass_uses_total{operation="UPDATE"} 1
`), "tidegate_breakglass_uses_total"); err != nil {
		t.Error(err)
	}
}
