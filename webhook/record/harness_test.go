package record

import (
	"bytes"
	"context"
	"encoding/json"
	"errors"
	"net/http"
	"net/http/httptest"
	"os"
	"path/filepath"
	"strings"
	"testing"
	"time"

	"github.com/go-logr/logr"
	admissionv1 "k8s.io/api/admission/v1"
	authenticationv1 "k8s.io/api/authentication/v1"
	authorizationv1 "k8s.io/api/authorization/v1"
	corev1 "k8s.io/api/core/v1"
	metav1 "k8s.io/apimachinery/pkg/apis/meta/v1"
	"k8s.io/apimachinery/pkg/runtime"
	"k8s.io/apimachinery/pkg/types"
	testclock "k8s.io/utils/clock/testing"
	ctrl "sigs.k8s.io/controller-runtime"
	"sigs.k8s.io/controller-runtime/pkg/client"
	"sigs.k8s.io/controller-runtime/pkg/client/fake"
	"sigs.k8s.io/controller-runtime/pkg/client/interceptor"

	"tidegate.io/tidegate/policies/eval"
	"tidegate.io/tidegate/schemas/render"
	"tidegate.io/tidegate/schemas/v1alpha1"
	"tidegate.io/tidegate/webhook"
)

const (
	managerName = "system:serviceaccount:tidegate-system:tidegate-manager"
	writer      = "system:own-agent"
)

func init() { ctrl.SetLogger(logr.Discard()) }

var start = time.Date(2026, 11, 23, 3, 0, 0, 0, time.UTC)

// rbac lets everybody but mallory, and has no answer about eve.
type rbac struct{}

func (rbac) Allowed(_ context.Context, user authenticationv1.UserInfo, _ authorizationv1.ResourceAttributes) (bool, error) {
	if user.Username == "eve" {
		return false, errors.New("no answer")
	}
	return user.Username != "mallory", nil
}

// cluster is a webhook whose refusals are recorded, in front of a world.
type cluster struct {
	paths
	recorder *Recorder
	policies *eval.Store
	renderer webhook.Renderer
	world    client.Client
}

// template is one whose variable token is sensitive.
func template(t testing.TB) []client.Object {
	t.Helper()
	source, err := os.ReadFile("../../schemas/render/testdata/secrets.cue")
	if err != nil {
		t.Fatal(err)
	}
	files := map[string]string{"secrets.cue": string(source)}
	compiled, err := render.Compile(files)
	if err != nil {
		t.Fatal(err)
	}
	schema, err := compiled.Schema()
	if err != nil {
		t.Fatal(err)
	}
	revision := &v1alpha1.TemplateRevision{
		ObjectMeta: metav1.ObjectMeta{Name: "web-1", Labels: map[string]string{v1alpha1.LabelTemplate: "web"}},
		Spec:       v1alpha1.TemplateRevisionSpec{Template: "web", Number: 1, Digest: render.Digest(files), Files: files, Schema: &runtime.RawExtension{Raw: schema}},
	}
	values := []byte(`{"name":"cart","token":"hunterxx"}`)
	result, err := compiled.Render(values, render.Context{Name: "cart", Namespace: "shop", Template: "web"})
	if err != nil {
		t.Fatal(err)
	}
	return []client.Object{
		&v1alpha1.ReleaseTemplate{ObjectMeta: metav1.ObjectMeta{Name: "web"}, Spec: v1alpha1.ReleaseTemplateSpec{Files: files}}, revision,
		&v1alpha1.Release{
			ObjectMeta: metav1.ObjectMeta{Namespace: "shop", Name: "cart", UID: "uid-of-cart"},
			Spec:       v1alpha1.ReleaseSpec{Template: v1alpha1.TemplateReference{Name: "web"}, Values: &runtime.RawExtension{Raw: values}},
		},
		&v1alpha1.Rollout{
			ObjectMeta: metav1.ObjectMeta{Namespace: "shop", Name: "cart-1"},
			Spec: v1alpha1.RolloutSpec{
				Release: "cart", Number: 1, Revision: result.Revision, Digest: result.Digest, TemplateRevision: "web-1", Values: &runtime.RawExtension{Raw: values},
				Strategy: v1alpha1.Strategy{Steps: []v1alpha1.Step{{Pause: &v1alpha1.Pause{Approval: true}}, {SetWeight: new(int32(100))}}},
			},
			Status: v1alpha1.RolloutStatus{Phase: v1alpha1.RolloutProgressing},
		},
	}
}

func newCluster(t testing.TB, funcs interceptor.Funcs, extra ...client.Object) *cluster {
	t.Helper()
	scheme, err := kinds()
	if err != nil {
		t.Fatal(err)
	}
	objects := append(template(t),
		&corev1.Namespace{ObjectMeta: metav1.ObjectMeta{Name: "shop", Labels: map[string]string{"stage": "production"}}},
		&corev1.Namespace{ObjectMeta: metav1.ObjectMeta{Name: "playground"}},
		&v1alpha1.Gate{ObjectMeta: metav1.ObjectMeta{Name: "production"}, Spec: v1alpha1.GateSpec{
			Namespaces: v1alpha1.NamespaceScope{Names: []string{"shop"}}, Writers: []string{writer},
			BreakGlass: &v1alpha1.BreakGlassRule{MaxDuration: metav1.Duration{Duration: time.Hour}, Approval: v1alpha1.ApprovalNone, Users: []string{"oncall"}},
		}},
		&v1alpha1.BreakGlass{
			ObjectMeta: metav1.ObjectMeta{Namespace: "shop", Name: "night", UID: types.UID("uid-of-night"), CreationTimestamp: metav1.NewTime(start)},
			Spec: v1alpha1.BreakGlassSpec{
				Objects: []v1alpha1.ObjectName{{Group: "apps", Resource: "deployments", Name: "cart-0a1b2c3d4e"}}, Reason: "the database is down",
				ExpiresAt: metav1.NewTime(start.Add(30 * time.Minute)), Actor: "oncall",
			},
		})
	world := fake.NewClientBuilder().WithScheme(scheme).WithObjects(append(objects, extra...)...).WithStatusSubresource(&v1alpha1.BreakGlass{}).Build()
	c := &cluster{paths: paths{}, policies: eval.NewStore(), renderer: webhook.TemplateRenderer{Compiled: &render.Cache{}}, world: world}
	clock := testclock.NewFakeClock(start.Add(time.Minute))
	config := webhook.Config{
		Reader: interceptor.NewClient(world, funcs), Policies: c.policies, Renderer: c.renderer, Authorizer: rbac{}, Identity: managerName, ManagerNamespace: "tidegate-system",
		Exemptions: webhook.Exemptions{Live: world, Writer: world, Clock: clock}, Clock: clock, Metrics: webhook.NewMetrics(), Timeout: time.Minute,
	}
	c.recorder, err = New(Config{
		Directory: Directory{Path: filepath.Join(t.TempDir(), "records"), MaxFiles: 1000, MaxBytes: 64 << 20}, Version: "test", Handlers: config,
		Warned: true, Clock: clock, Metrics: NewMetrics(), Log: logr.Discard(),
	})
	if err != nil {
		t.Fatal(err)
	}
	h, err := webhook.New(c.recorder.Webhook(config))
	if err != nil {
		t.Fatal(err)
	}
	h.Register(c.recorder.Server(c.paths))
	return c
}

// review is a request in few words.
type review struct {
	op        admissionv1.Operation
	group     string
	resource  string
	sub       string
	kind      string
	namespace string
	name      string
	user      string
	object    string
	old       string
	dryRun    bool
}

func (r review) json(t testing.TB) []byte {
	t.Helper()
	if r.namespace == "" {
		r.namespace = "shop"
	}
	version := "v1"
	if r.group == v1alpha1.GroupVersion.Group {
		version = v1alpha1.GroupVersion.Version
	}
	raw, err := json.Marshal(admissionv1.AdmissionReview{
		TypeMeta: metav1.TypeMeta{APIVersion: "admission.k8s.io/v1", Kind: "AdmissionReview"},
		Request: &admissionv1.AdmissionRequest{
			UID: "11111111-2222-3333-4444-555555555555", Kind: metav1.GroupVersionKind{Group: r.group, Version: version, Kind: r.kind},
			Resource: metav1.GroupVersionResource{Group: r.group, Version: version, Resource: r.resource}, SubResource: r.sub,
			Namespace: r.namespace, Name: r.name, Operation: r.op, UserInfo: authenticationv1.UserInfo{Username: r.user, Groups: []string{"system:authenticated"}},
			Object: rawOf(r.object), OldObject: rawOf(r.old), DryRun: &r.dryRun,
		},
	})
	if err != nil {
		t.Fatal(err)
	}
	return raw
}

// rawOf is null where there is no text.
func rawOf(text string) runtime.RawExtension {
	if text == "" {
		return runtime.RawExtension{}
	}
	return runtime.RawExtension{Raw: []byte(text)}
}

// ask posts a review.
func (c *cluster) ask(t testing.TB, path string, body []byte) Verdict {
	t.Helper()
	q := httptest.NewRequestWithContext(t.Context(), http.MethodPost, path, bytes.NewReader(body))
	q.Header.Set("Content-Type", "application/json")
	w := httptest.NewRecorder()
	c.paths[path].ServeHTTP(w, q)
	v, ok := verdictOf(w.Body.Bytes())
	if !ok {
		t.Fatalf("wanted a verdict, found %d %s", w.Code, w.Body)
	}
	return v
}

// recorded is what was written of the one answer that waits; nil where none does.
func (c *cluster) recorded(t testing.TB) (*Record, []byte) {
	t.Helper()
	select {
	case j := <-c.recorder.queue:
		c.recorder.reserve(-j.sizeOfReview)
		if _, err := c.recorder.write(t.Context(), j); err != nil {
			t.Fatalf("wanted a record, found %v", err)
		}
	default:
		return nil, nil
	}
	files, err := filepath.Glob(filepath.Join(c.recorder.Directory.Path, "*"))
	if err != nil || len(files) != 1 || !strings.HasSuffix(files[0], Suffix) {
		t.Fatalf("wanted one record, found %q, %v", files, err)
	}
	raw, err := os.ReadFile(files[0])
	if err != nil {
		t.Fatal(err)
	}
	if info, err := os.Stat(files[0]); err != nil || info.Mode().Perm() != 0o600 {
		t.Errorf("wanted mode 0600, found %v, %v", info.Mode(), err)
	}
	if err := os.Remove(files[0]); err != nil {
		t.Fatal(err)
	}
	r, err := Decode(bytes.NewReader(raw))
	if err != nil {
		t.Fatalf("wanted a record that can be read, found %v", err)
	}
	return r, raw
}

// same replays a record as the CLI does and wants the same verdict.
func (c *cluster) same(t testing.TB, r *Record) {
	t.Helper()
	now, err := r.Replay(t.Context(), Options{Renderer: webhook.TemplateRenderer{Compiled: &render.Cache{}}, Timeout: time.Minute})
	if err != nil {
		t.Fatalf("Replay: %v", err)
	}
	if diff := r.Want().Diff(now); len(diff) > 0 {
		t.Errorf("replayed otherwise:\n%s", strings.Join(diff, "\n"))
	}
}
