package webhook_test

import (
	"context"
	"encoding/json"
	"errors"
	"fmt"
	"net/http"
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
	"k8s.io/apimachinery/pkg/apis/meta/v1/unstructured"
	"k8s.io/apimachinery/pkg/runtime"
	"k8s.io/client-go/kubernetes/scheme"
	testclock "k8s.io/utils/clock/testing"
	"sigs.k8s.io/controller-runtime/pkg/client"
	"sigs.k8s.io/controller-runtime/pkg/client/fake"
	"sigs.k8s.io/controller-runtime/pkg/client/interceptor"
	"sigs.k8s.io/controller-runtime/pkg/webhook/admission"

	"tidegate.io/tidegate/policies/eval"
	"tidegate.io/tidegate/schemas/render"
	"tidegate.io/tidegate/schemas/v1alpha1"
	"tidegate.io/tidegate/schemas/worker"
	"tidegate.io/tidegate/webhook"
)

const (
	manager = "system:serviceaccount:tidegate-system:tidegate-manager"
	gc      = "system:serviceaccount:kube-system:generic-garbage-collector"
)

// renderer is scripted: files named by what they do, values that render or do not.
type renderer struct{}

func (renderer) Check(_ context.Context, files map[string]string) error {
	if strings.Contains(files["web.cue"], "broken") {
		return &render.SourceError{Lines: []string{"web.cue:1:1: expected a package", "web.cue:2:1: and more"}}
	}
	if strings.Contains(files["web.cue"], "bomb") {
		return &worker.BombError{Owner: "template source x", Cause: worker.CauseDeadline, Limit: "3s"}
	}
	if strings.Contains(files["web.cue"], "engine") {
		return errors.New("the engine is out of order")
	}
	return nil
}

// Vet finds what the source names.
func (renderer) Vet(ctx context.Context, files map[string]string) ([]render.Finding, error) {
	source := files["web.cue"]
	switch {
	case strings.Contains(source, "slow"):
		<-ctx.Done()
		return nil, fmt.Errorf("rendering in a worker: %w", ctx.Err())
	case strings.Contains(source, "unvetted"):
		return nil, &worker.BombError{Owner: "template source x", Cause: worker.CauseMemory, Limit: "256 MiB"}
	}
	var found []render.Finding
	for word := range strings.FieldsSeq(source) {
		switch s := render.Severity(word); s {
		case render.SeverityError, render.SeverityWarning, render.SeverityAdvice:
			found = append(found, render.Finding{Severity: s, Code: "a-code", Position: fmt.Sprintf("web.cue:%d:1", len(found)+1), Message: "something is wrong"})
		}
	}
	return found, nil
}

func (renderer) Render(_ context.Context, s webhook.Source, values []byte, c render.Context) (*render.Result, error) {
	var v struct {
		Image string `json:"image"`
		Old   bool   `json:"old"`
	}
	if err := json.Unmarshal(values, &v); err != nil {
		return nil, err
	}
	switch {
	case strings.Contains(s.Files["web.cue"], "broken"):
		return nil, &render.SourceError{Lines: []string{"web.cue:1:1: expected a package"}}
	case v.Image == "bomb":
		return nil, &worker.BombError{Owner: "Release shop/cart", Cause: worker.CauseDeadline, Limit: "2s"}
	case v.Image == "engine":
		return nil, errors.New("the engine is out of order")
	case v.Image == "" || (v.Old && strings.Contains(s.Files["web.cue"], "stricter")):
		return nil, &render.ValuesError{Problems: []render.Problem{
			{Path: "values.image", Message: "wanted a string, found nothing", Hint: "set it"},
			{Path: "values.port", Message: "wanted 1 to 65535, found 70000"},
		}}
	}
	revision, digest := "0a1b2c3d4e", "sha256:web"
	if strings.Contains(s.Files["web.cue"], "other") {
		revision, digest = "ffffffffff", "sha256:other"
	}
	deployment := &unstructured.Unstructured{Object: map[string]any{
		"apiVersion": "apps/v1", "kind": "Deployment",
		"metadata": map[string]any{"name": c.Name + "-" + revision, "namespace": c.Namespace},
		"spec":     map[string]any{"template": map[string]any{"spec": map[string]any{"containers": []any{map[string]any{"image": v.Image}}}}},
	}}
	return &render.Result{
		Revision: revision, Digest: digest, Set: []*unstructured.Unstructured{deployment},
		Strategy: v1alpha1.Strategy{Analysis: &v1alpha1.Analysis{Source: "main"}},
	}, nil
}

// Compare finds what the words in the new source say.
func (renderer) Compare(_ context.Context, before, after map[string]string) (*render.Comparison, error) {
	is := after["web.cue"]
	switch {
	case len(before) == 0:
		return nil, errors.New("nothing to compare with")
	case strings.Contains(is, "comparison fails"):
		return nil, errors.New("the engine is out of order")
	case strings.Contains(is, "incomparable"):
		return nil, fmt.Errorf("compiling the template as it was: %w", &render.SourceError{Lines: []string{"web.cue:1:1: it no longer compiles"}})
	}
	c := &render.Comparison{Verdict: render.Safe}
	for word := range strings.FieldsSeq(is) {
		switch v := render.Verdict(word); v {
		case render.Breaking, render.Unknown, render.DefaultChanged, render.Safe:
			c.Changes = append(c.Changes, render.Change{Path: fmt.Sprintf("values.v%d", len(c.Changes)), Change: "something changed", Verdict: v, Why: "because"})
		}
	}
	return c, nil
}

// Immutable fixes the zone.
func (renderer) Immutable(_ context.Context, s webhook.Source, was, now []byte) error {
	type values struct {
		Zone   string `json:"zone"`
		Engine bool   `json:"engine"`
	}
	var a, b values
	if err := errors.Join(json.Unmarshal(was, &a), json.Unmarshal(now, &b)); err != nil {
		return err
	}
	switch {
	case b.Engine:
		return errors.New("the engine is out of order")
	case a.Zone != b.Zone && s.Files["web.cue"] != "":
		return &render.ValuesError{Problems: []render.Problem{{Path: "values.zone", Message: fmt.Sprintf("wanted %q, which it was made with, found %q", a.Zone, b.Zone)}}}
	}
	return nil
}

// rbac gives alice everything, pat what pauses, an error for eve and nothing to others.
type rbac struct{}

func (rbac) Allowed(_ context.Context, user authenticationv1.UserInfo, what authorizationv1.ResourceAttributes) (bool, error) {
	if user.Username == "eve" {
		return false, errors.New("no answer")
	}
	return user.Username == "alice" || (user.Username == "pat" && (what.Verb == "pause" || what.Resource == "releasetemplates" && what.Verb == "sync" && what.Name == "web" && what.Namespace == "")), nil
}

func objects() []client.Object {
	ns := func(name string, labels map[string]string) *corev1.Namespace {
		return &corev1.Namespace{ObjectMeta: metav1.ObjectMeta{Name: name, Labels: labels}}
	}
	template := func(name string) *v1alpha1.ReleaseTemplate {
		return &v1alpha1.ReleaseTemplate{ObjectMeta: metav1.ObjectMeta{Name: name}}
	}
	revision := func(name string, number int64, source string) *v1alpha1.TemplateRevision {
		return &v1alpha1.TemplateRevision{
			ObjectMeta: metav1.ObjectMeta{Name: name, Labels: map[string]string{v1alpha1.LabelTemplate: "web"}},
			Spec:       v1alpha1.TemplateRevisionSpec{Template: "web", Number: number, Files: map[string]string{"web.cue": source}},
		}
	}
	release := func(name, values string, pin int64) *v1alpha1.Release {
		return &v1alpha1.Release{
			ObjectMeta: metav1.ObjectMeta{Namespace: "shop", Name: name},
			Spec:       v1alpha1.ReleaseSpec{Template: v1alpha1.TemplateReference{Name: "web", Revision: pin}, Values: &runtime.RawExtension{Raw: []byte(values)}},
			Status:     v1alpha1.ReleaseStatus{Revision: "0a1b2c3d4e", Rollout: name + "-2"},
		}
	}
	few, all := int32(5), int32(100)
	pins := map[string]string{"cart-1": "web-10", "cart-2": "web-10", "cart-3": "web-2", "cart-4": "box-1", "cart-5": "gone-1"}
	rollout := func(name string, phase v1alpha1.RolloutPhase) *v1alpha1.Rollout {
		return &v1alpha1.Rollout{
			ObjectMeta: metav1.ObjectMeta{Namespace: "shop", Name: name},
			Spec: v1alpha1.RolloutSpec{Release: "cart", Revision: "0a1b2c3d4e", Digest: "sha256:web", TemplateRevision: pins[name], Values: &runtime.RawExtension{Raw: []byte(`{"image": "ghcr.io/shop/cart:1"}`)}, Strategy: v1alpha1.Strategy{
				Steps:         []v1alpha1.Step{{SetWeight: &few}, {Pause: &v1alpha1.Pause{Approval: true}}, {SetWeight: &all}},
				RequireReason: []v1alpha1.CommandAction{v1alpha1.CommandPromote},
			}},
			Status: v1alpha1.RolloutStatus{Phase: phase},
		}
	}
	return []client.Object{
		ns("shop", nil), ns("playground", nil), ns("tidegate-system", nil),
		ns("strict", nil),
		&v1alpha1.Gate{
			ObjectMeta: metav1.ObjectMeta{Name: "production"},
			Spec: v1alpha1.GateSpec{
				Namespaces: v1alpha1.NamespaceScope{Names: []string{"shop", "strict"}},
				Writers:    []string{"system:own-agent"},
				Allow:      v1alpha1.Allowances{Autoscalers: []string{"autoscaler"}},
			},
		},
		&v1alpha1.Gate{
			ObjectMeta: metav1.ObjectMeta{Name: "stricter"},
			Spec:       v1alpha1.GateSpec{Namespaces: v1alpha1.NamespaceScope{Names: []string{"strict"}}},
		},
		template("web"), template("fresh"),
		revision("web-1", 1, "package web"), revision("web-2", 2, "package web"), revision("web-10", 10, "package web"),
		&v1alpha1.TemplateRevision{
			ObjectMeta: metav1.ObjectMeta{Name: "box-1"},
			Spec:       v1alpha1.TemplateRevisionSpec{Template: "box", Number: 1, Files: map[string]string{"web.cue": "package other"}},
		},
		release("cart", `{"image": "ghcr.io/shop/cart:1"}`, 0),
		release("old", `{"image": "ghcr.io/shop/old:1", "old": true}`, 0),
		release("pinned", `{"image": "ghcr.io/shop/pinned:1"}`, 1),
		rollout("cart-1", v1alpha1.RolloutSucceeded), rollout("cart-2", v1alpha1.RolloutProgressing), rollout("cart-3", v1alpha1.RolloutAborted),
		rollout("cart-4", v1alpha1.RolloutSucceeded), rollout("cart-5", v1alpha1.RolloutAborted),
	}
}

type fixture struct {
	*webhook.Handlers
	metrics  *webhook.Metrics
	policies *eval.Store
}

func newScheme(t testing.TB) *runtime.Scheme {
	t.Helper()
	s := runtime.NewScheme()
	for _, add := range []func(*runtime.Scheme) error{scheme.AddToScheme, v1alpha1.AddToScheme} {
		if err := add(s); err != nil {
			t.Fatal(err)
		}
	}
	return s
}

func newFixture(t testing.TB, funcs interceptor.Funcs, extra ...client.Object) fixture {
	t.Helper()
	reader := fake.NewClientBuilder().WithScheme(newScheme(t)).WithObjects(append(objects(), extra...)...).WithInterceptorFuncs(funcs).Build()
	f := fixture{metrics: webhook.NewMetrics(), policies: eval.NewStore()}
	handlers, err := webhook.New(webhook.Config{
		Reader: reader, Policies: f.policies, Renderer: renderer{}, Authorizer: rbac{}, Identity: manager, ManagerNamespace: "tidegate-system",
		Clock: testclock.NewFakePassiveClock(time.Unix(1e9, 0)), Metrics: f.metrics,
	})
	if err != nil {
		t.Fatalf("New: %v", err)
	}
	f.Handlers = handlers
	return f
}

// request is an AdmissionRequest in few words.
type request struct {
	op        admissionv1.Operation
	resource  string // "apps/deployments/scale", group first; "/services" is the core group's
	namespace string
	name      string
	user      string
	object    string
	old       string
	dryRun    bool
}

var kinds = map[string]string{
	"deployments": "Deployment", "services": "Service", "releases": "Release", "releasetemplates": "ReleaseTemplate", "jobs": "Job", "configmaps": "ConfigMap",
}

func (r request) admission() admission.Request {
	part := append(strings.SplitN(r.resource, "/", 3), "", "")
	kind := kinds[part[1]]
	if part[2] == "scale" {
		kind = "Scale"
	}
	return admission.Request{AdmissionRequest: admissionv1.AdmissionRequest{
		UID:         "1",
		Kind:        metav1.GroupVersionKind{Group: part[0], Version: "v1", Kind: kind},
		Resource:    metav1.GroupVersionResource{Group: part[0], Version: "v1", Resource: part[1]},
		SubResource: part[2], Namespace: r.namespace, Name: r.name, Operation: r.op,
		UserInfo:  authenticationv1.UserInfo{Username: r.user, Groups: []string{"system:masters"}},
		Object:    runtime.RawExtension{Raw: []byte(r.object)},
		OldObject: runtime.RawExtension{Raw: []byte(r.old)},
		DryRun:    &r.dryRun,
	}}
}

func check(t *testing.T, r admission.Response, code int32, parts ...string) {
	t.Helper()
	if r.Allowed != (code == http.StatusOK) || r.Result.Code != code {
		t.Fatalf("wanted %d, got %d allowed=%v: %s", code, r.Result.Code, r.Allowed, r.Result.Message)
	}
	for _, p := range parts {
		if !strings.Contains(r.Result.Message, p) {
			t.Errorf("wanted %q in:\n%s", p, r.Result.Message)
		}
	}
}

const (
	managed  = `{"kind": "Deployment", "metadata": {"name": "cart-0a1b2c3d4e", "labels": {"tidegate.io/release": "cart"}}}`
	plain    = `{"kind": "Deployment", "metadata": {"name": "mine"}}`
	scaled   = `{"kind": "Scale", "metadata": {"name": "cart-0a1b2c3d4e"}, "spec": {"replicas": 7}}`
	labelled = `{"kind": "Service", "metadata": {"name": "x", "labels": {"tidegate.io/release": "cart"}}}`
	unmarked = `{"kind": "Service", "metadata": {"name": "x"}}`
	budget   = `{"kind": "PodDisruptionBudget", "metadata": {"name": "x"}}`
)

func TestInvariantI7OnlyTheManagerChangesWhatTidegateManages(t *testing.T) {
	f := newFixture(t, interceptor.Funcs{})
	const update, create, del = admissionv1.Update, admissionv1.Create, admissionv1.Delete
	const deployments = "apps/deployments"
	for name, tc := range map[string]struct {
		request
		code int32
		want []string
	}{
		"set image is refused with the release and the command": {
			request{op: update, resource: deployments, name: "cart-0a1b2c3d4e", object: managed, old: managed},
			403,
			[]string{`TG-GATE-BYPASS: deployments "cart-0a1b2c3d4e" in namespace "shop" is managed by Release "cart"; wanted: changes through the Release, found: UPDATE by "alice"; do: kubectl edit release cart -n shop`},
		},
		"a dry run has the same verdict": {
			request{op: update, resource: deployments, name: "cart-0a1b2c3d4e", object: managed, old: managed, dryRun: true}, 403, []string{"TG-GATE-BYPASS"},
		},
		"scale is told the value to set, though a Scale has no labels": {
			request{op: update, resource: deployments + "/scale", name: "cart-0a1b2c3d4e", object: scaled, old: scaled},
			403,
			[]string{`managed by Release "cart"`, `"replicas":7`},
		},
		"a listed autoscaler may scale": {
			request{op: update, resource: deployments + "/scale", name: "cart-0a1b2c3d4e", user: "autoscaler", object: scaled, old: scaled}, 200, nil,
		},
		"an autoscaler that one of two gates does not list may not": {
			request{op: update, namespace: "strict", resource: deployments + "/scale", name: "cart-0a1b2c3d4e", user: "autoscaler", object: scaled, old: scaled}, 403, nil,
		},
		"a hand-written deployment is refused": {
			request{op: create, resource: deployments, name: "mine", object: plain},
			403,
			[]string{`deployments "mine" in namespace "shop" is governed and no Release manages it`, "create a Release"},
		},
		"a hand-written deployment called as a release names it": {
			request{op: create, resource: deployments, name: "cart", object: `{"metadata": {"name": "cart"}}`}, 403, []string{`managed by Release "cart"`},
		},
		"a label that claims a release that is not there is not believed": {
			request{op: create, resource: deployments, name: "x", object: `{"metadata": {"name": "x", "labels": {"tidegate.io/release": "nothing"}}}`}, 403, []string{"the label tidegate.io/release, which is Tidegate's alone to set", "do: create a Release"},
		},
		"generateName": {
			request{op: create, resource: deployments, object: `{"metadata": {"generateName": "web-"}}`}, 403, []string{`"web-*"`},
		},
		"delete is judged by the old object": {
			request{op: del, resource: deployments, name: "cart-0a1b2c3d4e", old: managed}, 403, []string{`managed by Release "cart"`, "kubectl delete release cart -n shop"},
		},
		"deletecollection has no name": {
			request{op: del, resource: deployments, old: managed}, 403, []string{`deployments "cart-0a1b2c3d4e"`},
		},
		"a job": {
			request{op: create, resource: "batch/jobs", name: "x", object: plain}, 403, nil,
		},
		"the cronjob controller makes jobs": {
			request{op: create, resource: "batch/jobs", name: "x", user: "system:serviceaccount:kube-system:cronjob-controller", object: plain}, 200, nil,
		},
		"the cronjob controller makes no deployments": {
			request{op: create, resource: deployments, name: "x", user: "system:serviceaccount:kube-system:cronjob-controller", object: plain}, 403, nil,
		},
		"the garbage collector deletes": {
			request{op: del, resource: deployments, name: "x", user: gc, old: managed}, 200, nil,
		},
		"the manager writes": {
			request{op: update, resource: deployments, name: "x", user: manager, object: managed, old: managed}, 200, nil,
		},
		"a writer of the gate writes": {
			request{op: create, resource: deployments, name: "x", user: "system:own-agent", object: plain}, 200, nil,
		},
		"a writer of one of two gates does not": {
			request{op: create, resource: deployments, namespace: "strict", name: "x", user: "system:own-agent", object: plain}, 403, nil,
		},
		"an unmarked service could only go around the weights": {
			request{op: create, resource: "/services", name: "x", object: unmarked},
			403,
			[]string{`services "x" in namespace "shop" is governed and no Release manages it; wanted: Services, routes and autoscalers to be made by a Release only`, "or use a namespace that no Gate governs"},
		},
		"an unmarked route could": {
			request{op: create, resource: "gateway.networking.k8s.io/httproutes", name: "x", object: unmarked}, 403, []string{`httproutes "x"`, "to be made by a Release only"},
		},
		"an unmarked autoscaler could": {
			request{op: create, resource: "autoscaling/horizontalpodautoscalers", name: "x", object: unmarked}, 403, []string{`horizontalpodautoscalers "x"`, "to be made by a Release only"},
		},
		"an unmarked service is changed by nobody either": {
			request{op: update, resource: "/services", name: "x", object: unmarked, old: unmarked}, 403, nil,
		},
		"the garbage collector deletes an unmarked service": {
			request{op: del, resource: "/services", name: "x", user: gc, old: unmarked}, 200, nil,
		},
		"the service controller updates an unmarked service": {
			request{op: update, resource: "/services", name: "x", user: "system:serviceaccount:kube-system:service-controller", object: unmarked, old: unmarked}, 200, nil,
		},
		"an unmarked config map is the team's own": {
			request{op: create, resource: "/configmaps", name: "x", object: unmarked}, 200, nil,
		},
		"an unmarked disruption budget may hold up every drain of governed pods": {
			request{op: create, resource: "policy/poddisruptionbudgets", name: "x", object: budget}, 403, []string{"TG-GATE-BYPASS"},
		},
		"a mark on what is made by hand is Tidegate's to set": {
			request{op: create, resource: "/configmaps", name: "x", object: labelled},
			403,
			[]string{`configmaps "x" in namespace "shop" carries the label tidegate.io/release, which is Tidegate's alone to set; wanted: objects with this label to be made by a Release only, found: CREATE by "alice"; do: remove the label tidegate.io/release, or create a Release`},
		},
		"a marked config map is not": {
			request{op: update, resource: "/configmaps", name: "x", object: labelled, old: labelled}, 403, []string{`managed by Release "cart"`},
		},
		"the mark cannot be taken off a config map": {
			request{op: update, resource: "/configmaps", name: "x", object: unmarked, old: labelled}, 403, nil,
		},
		"the mark cannot be put on a config map": {
			request{op: update, resource: "/configmaps", name: "x", object: labelled, old: unmarked}, 403, nil,
		},
		"a marked service is not": {
			request{op: update, resource: "/services", name: "x", object: labelled, old: labelled}, 403, []string{`managed by Release "cart"`},
		},
		"the mark cannot be taken off": {
			request{op: update, resource: "/services", name: "x", object: unmarked, old: labelled}, 403, nil,
		},
		"the mark cannot be put on": {
			request{op: update, resource: "/services", name: "x", object: labelled, old: unmarked}, 403, nil,
		},
		"a marked service cannot be deleted": {
			request{op: del, resource: "/services", name: "x", old: labelled}, 403, nil,
		},
		"an unmarked config map can": {
			request{op: del, resource: "/configmaps", name: "x", old: unmarked}, 200, nil,
		},
		"a delete that brings no old object is refused": {
			request{op: del, resource: "/configmaps", name: "x"}, 403, nil,
		},
		"null is no object": {
			request{op: create, resource: "/configmaps", name: "x", object: "null"}, 403, nil,
		},
		"an object that is no object": {
			request{op: create, resource: "/configmaps", name: "x", object: `[1]`}, 403, nil,
		},
		"labels of another type": {
			request{op: create, resource: "/configmaps", name: "x", object: `{"metadata": {"labels": "tidegate.io/release"}}`}, 500, nil,
		},
		"text that is no JSON": {
			request{op: create, resource: deployments, name: "x", object: `{"a":`}, 403, []string{"TG-REQUEST-MALFORMED"},
		},
		"connect": {
			request{op: admissionv1.Connect, resource: "/services/proxy", name: "x", object: `{"kind": "ServiceProxyOptions"}`}, 403, nil,
		},
		"a kind that no gate lists is governed all the same, once asked about": {
			request{op: create, resource: "example.com/widgets", name: "x", object: plain}, 403, nil,
		},
		"a namespace that is not known yet is refused": {
			request{op: create, resource: deployments, namespace: "new", name: "x", object: plain}, 403, []string{"TG-GATE-UNKNOWN"},
		},
		"a namespace that no gate governs is refused": {
			request{op: create, resource: deployments, namespace: "playground", name: "x", object: plain}, 403, []string{"TG-GATE-UNKNOWN"},
		},
		"even the manager is refused in an unknown namespace": {
			request{op: create, resource: deployments, namespace: "new", name: "x", user: manager, object: plain}, 403, []string{"TG-GATE-UNKNOWN"},
		},
	} {
		t.Run(name, func(t *testing.T) {
			if tc.namespace == "" {
				tc.namespace = "shop"
			}
			if tc.user == "" {
				tc.user = "alice"
			}
			r := f.Gate.Handle(t.Context(), tc.admission())
			check(t, r, tc.code, tc.want...)
			if tc.code == 403 && r.AuditAnnotations["code"] == "" {
				t.Error("wanted an audit annotation with the code")
			}
		})
	}
}

func TestAFactThatCannotBeReadIsAnError(t *testing.T) {
	broken := errors.New("the cache is broken")
	for name, funcs := range map[string]interceptor.Funcs{
		"the namespace": {Get: func(ctx context.Context, c client.WithWatch, key client.ObjectKey, obj client.Object, opts ...client.GetOption) error {
			if _, ok := obj.(*corev1.Namespace); ok {
				return broken
			}
			return c.Get(ctx, key, obj, opts...)
		}},
		"the gates": {List: func(context.Context, client.WithWatch, client.ObjectList, ...client.ListOption) error { return broken }},
	} {
		t.Run(name, func(t *testing.T) {
			f := newFixture(t, funcs)
			r := f.Gate.Handle(t.Context(), request{op: admissionv1.Create, resource: "apps/deployments", namespace: "shop", name: "x", user: manager, object: plain}.admission())
			check(t, r, 500, "TG-WEBHOOK-ERROR", "the cache is broken")
		})
	}
}

func TestDeployPoliciesAreAskedOnAdmission(t *testing.T) {
	f := newFixture(t, interceptor.Funcs{})
	for name, source := range map[string]eval.Source{
		"no-latest": {Rego: `package p
deny contains {"msg": msg, "code": "TG-LATEST", "fix": "pin it"} if { endswith(input.object.spec.image, ":latest"); msg := sprintf("found %s", [input.object.spec.image]) }`},
		"tagged": {Rego: "package p\nwarn contains \"no tag\" if { not contains(input.object.spec.image, \":\") }"},
		"quiet":  {Rego: "package p\ndeny contains \"never seen\" if true", Enforcement: v1alpha1.EnforcementDryrun},
	} {
		source.Name = name
		if err := f.policies.Put(source); err != nil {
			t.Fatal(err)
		}
	}
	object := func(image string) string {
		return `{"kind": "Deployment", "metadata": {"name": "x"}, "spec": {"image": "` + image + `"}}`
	}
	for name, tc := range map[string]struct {
		op       admissionv1.Operation
		user     string
		image    string
		code     int32
		want     string
		warnings int
	}{
		"a writer is judged":                      {admissionv1.Create, "system:own-agent", "a:latest", 403, "TG-LATEST: found a:latest; do: pin it (policy no-latest)", 0},
		"a writer is warned":                      {admissionv1.Create, "system:own-agent", "a", 200, "", 1},
		"the manager is judged when it creates":   {admissionv1.Create, manager, "a:latest", 403, "TG-LATEST", 0},
		"the manager may always change its own":   {admissionv1.Update, manager, "a:latest", 200, "", 0},
		"the garbage collector may always delete": {admissionv1.Delete, gc, "a:latest", 200, "", 0},
		"a stranger is refused by the flow first": {admissionv1.Create, "alice", "a:latest", 403, "TG-GATE-BYPASS", 0},
	} {
		t.Run(name, func(t *testing.T) {
			r := f.Gate.Handle(t.Context(), request{
				op: tc.op, resource: "apps/deployments", namespace: "shop", name: "x", user: tc.user, object: object(tc.image), old: object(tc.image),
			}.admission())
			check(t, r, tc.code, tc.want)
			if len(r.Warnings) != tc.warnings {
				t.Errorf("warnings: %v", r.Warnings)
			}
		})
	}
}

func TestMetricsAreBoundedAndLint(t *testing.T) {
	f := newFixture(t, interceptor.Funcs{})
	registry := prometheus.NewPedanticRegistry()
	if err := f.metrics.Register(registry); err != nil {
		t.Fatal(err)
	}
	if err := f.policies.Put(eval.Source{Name: "p", Rego: `package p
deny contains {"msg": "no", "code": sprintf("TG-%s", [input.object.metadata.name])} if true`}); err != nil {
		t.Fatal(err)
	}
	before, err := testutil.GatherAndCount(registry)
	if err != nil {
		t.Fatal(err)
	}
	for _, name := range []string{"a", "b", "c"} {
		r := f.Gate.Handle(t.Context(), request{
			op: admissionv1.Create, resource: "apps/deployments", namespace: "shop", name: name, user: manager, object: `{"metadata": {"name": "` + name + `"}}`,
		}.admission())
		check(t, r, 403, "TG-"+name)
	}
	after, err := testutil.GatherAndCount(registry)
	if err != nil || after != before {
		t.Errorf("a policy's own codes must make no series: %d before, %d after, %v", before, after, err)
	}
	if problems, err := testutil.GatherAndLint(registry); err != nil || len(problems) > 0 {
		t.Errorf("lint: %v %v", problems, err)
	}
}

func BenchmarkGateDeploymentUpdate(b *testing.B) {
	f := newFixture(b, interceptor.Funcs{})
	for name, user := range map[string]string{"manager": manager, "stranger": "alice"} {
		b.Run(name, func(b *testing.B) {
			r := request{op: admissionv1.Update, resource: "apps/deployments", namespace: "shop", name: "cart-0a1b2c3d4e", user: user, object: bigDeployment, old: bigDeployment}.admission()
			b.ReportAllocs()
			for b.Loop() {
				if got := f.Gate.Handle(b.Context(), r); got.Allowed != (user == manager) {
					b.Fatal(got.Result.Message)
				}
			}
		})
	}
}

const bigDeployment = `{"apiVersion": "apps/v1", "kind": "Deployment",
 "metadata": {"name": "cart-0a1b2c3d4e", "namespace": "shop", "generation": 3, "uid": "c0ffee", "resourceVersion": "12345",
  "labels": {"app.kubernetes.io/managed-by": "tidegate", "app.kubernetes.io/name": "cart", "tidegate.io/release": "cart", "tidegate.io/revision": "0a1b2c3d4e", "tidegate.io/template": "web"},
  "annotations": {"tidegate.io/applied-digest": "sha256:0123456789abcdef"}},
 "spec": {"replicas": 3, "revisionHistoryLimit": 2, "progressDeadlineSeconds": 600,
  "selector": {"matchLabels": {"tidegate.io/release": "cart", "tidegate.io/revision": "0a1b2c3d4e"}},
  "strategy": {"type": "RollingUpdate", "rollingUpdate": {"maxSurge": "25%", "maxUnavailable": "25%"}},
  "template": {"metadata": {"labels": {"tidegate.io/release": "cart", "tidegate.io/revision": "0a1b2c3d4e"}, "annotations": {"prometheus.io/scrape": "true"}},
   "spec": {"containers": [{"name": "main", "image": "ghcr.io/shop/cart:1.2.3", "imagePullPolicy": "IfNotPresent",
     "ports": [{"name": "http", "containerPort": 8080, "protocol": "TCP"}],
     "env": [{"name": "A", "value": "1"}, {"name": "B", "value": "2"}, {"name": "C", "value": "3"}],
     "readinessProbe": {"httpGet": {"path": "/healthz", "port": "http"}, "periodSeconds": 5},
     "resources": {"requests": {"cpu": "100m", "memory": "128Mi"}, "limits": {"memory": "256Mi"}},
     "securityContext": {"allowPrivilegeEscalation": false, "capabilities": {"drop": ["ALL"]}, "runAsNonRoot": true}}],
    "restartPolicy": "Always", "terminationGracePeriodSeconds": 30, "dnsPolicy": "ClusterFirst"}}},
 "status": {"replicas": 3, "readyReplicas": 3, "availableReplicas": 3, "updatedReplicas": 3, "observedGeneration": 3}}`
