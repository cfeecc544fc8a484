package integration

import (
	"context"
	"encoding/pem"
	"fmt"
	"io"
	"net/http"
	"net/http/httptest"
	"net/netip"
	"slices"
	"strings"
	"sync"
	"testing"
	"time"

	"github.com/cloudevents/sdk-go/v2/event"
	batchv1 "k8s.io/api/batch/v1"
	corev1 "k8s.io/api/core/v1"
	apierrors "k8s.io/apimachinery/pkg/api/errors"
	metav1 "k8s.io/apimachinery/pkg/apis/meta/v1"
	"k8s.io/apimachinery/pkg/apis/meta/v1/unstructured"
	"k8s.io/apimachinery/pkg/runtime"
	"k8s.io/utils/clock"
	"sigs.k8s.io/controller-runtime/pkg/client"
	"sigs.k8s.io/controller-runtime/pkg/manager"

	"tidegate.io/tidegate/rollout/controller"
	"tidegate.io/tidegate/rollout/hook"
	"tidegate.io/tidegate/rollout/manifest"
	"tidegate.io/tidegate/rollout/outbound"
	"tidegate.io/tidegate/rollout/plan"
	"tidegate.io/tidegate/schemas/render"
	"tidegate.io/tidegate/schemas/v1alpha1"
	compare "tidegate.io/tidegate/webhook/rendered"
)

// TestChecks rolls out with hooks and Jobs, on a real control plane with a real server.
func TestChecks(t *testing.T) {
	cluster := controlPlane(t)
	for name, run := range map[string]func(*testing.T, *checked){
		"hooks and a Job let a release pass":                             checksPass,
		"a Job that fails returns the traffic, and the hook is told":     failedJobAborts,
		"an abort stops the Job that runs":                               abortStopsJob,
		"a hook that refuses at the beginning exposes nothing":           refusedAtBegin,
		"a hook that cannot be reached holds nothing up but itself":      hangingHook,
		"a Job that somebody else made is left alone, and told of":       foreignJob,
		"the next manager makes the same call again and waits for a Job": calledAgain,
	} {
		t.Run(name, func(t *testing.T) {
			t.Parallel()
			run(t, newChecked(t, newWorld(t, cluster.RESTConfig())))
		})
	}
}

const signingKey = "whsec_MfKQ9r8GKYqrTwjUPD8ILPZIo2LaLaSw"

func checksPass(t *testing.T, w *checked) {
	w.start()
	w.apply("v1", 2)
	w.awaitPhase(v1alpha1.ReleaseServing)
	w.heard() // a first install has its own
	seen := w.watchWeights("v2")
	w.apply("v2", 2)
	w.awaitPhase(v1alpha1.ReleaseServing, "v2")
	want := []string{"begin 0 of 4 at 0 %", "step 1 of 4 at 50 %", "check 3 of 4 at 50 %", "step 4 of 4 at 100 %", "promote 4 of 4 at 100 %"}
	if got := w.heard(); !slices.Equal(got, want) {
		t.Errorf("the hook heard %q, want %q", got, want)
	}
	if got, want := seen(), []int32{50, 100}; !slices.Equal(got, want) {
		t.Errorf("the weights were %v, want %v", got, want)
	}
	r := w.rollout(2)
	for _, c := range r.Status.Checks {
		if c.Outcome != v1alpha1.CheckPassed || c.Tries != 1 {
			t.Errorf("the check %+v has not passed at once", c)
		}
	}
	job := w.job(2)
	w.asRendered()
	if job == nil || job.Status.Succeeded != 1 || !metav1.IsControlledBy(job, w.release()) || job.Labels[v1alpha1.LabelRollout] != r.Name {
		t.Errorf("the Job is %+v", job)
	}
}

func failedJobAborts(t *testing.T, w *checked) {
	w.start()
	w.apply("v1", 2)
	w.awaitPhase(v1alpha1.ReleaseServing)
	w.heard()
	w.apply("fail", 2)
	w.awaitPhase(v1alpha1.ReleaseAborted)
	cause := w.rollout(2).Status.AbortCause
	if cause == nil || cause.Code != plan.ReasonJobFailed || !strings.Contains(cause.Message, "BackoffLimitExceeded") ||
		!strings.Contains(cause.Message, "exit code 3: 2 of 40 checks failed") {
		t.Errorf("the cause is %+v", cause)
	}
	w.wantServing("v1", 2)
	w.await("the hook is told", func() bool { return len(w.server.sent()) >= 3 })
	want := []string{"begin 0 of 4 at 0 %", "step 1 of 4 at 50 %", "rollback 2 of 4 at 50 % for TG-JOB-FAILED"}
	if got := w.heard(); !slices.Equal(got, want) {
		t.Errorf("the hook heard %q, want %q", got, want)
	}
}

func abortStopsJob(t *testing.T, w *checked) {
	w.start()
	w.apply("v1", 2)
	w.awaitPhase(v1alpha1.ReleaseServing)
	w.apply("hang", 2)
	w.await("the Job runs", func() bool {
		job := w.job(2)
		return job != nil && job.Status.Active == 1 && w.second().Reason == plan.ReasonHoldJob
	})
	w.create(&v1alpha1.RolloutCommand{
		ObjectMeta: metav1.ObjectMeta{Name: "stop", Namespace: w.namespace},
		Spec:       v1alpha1.RolloutCommandSpec{Rollout: w.rollout(2).Name, Action: v1alpha1.CommandAbort, Reason: "enough"},
	})
	w.awaitPhase(v1alpha1.ReleaseAborted)
	if job := w.job(2); job != nil {
		t.Errorf("the Job is there: %+v", job.Status)
	}
	w.wantServing("v1", 2)
}

func refusedAtBegin(t *testing.T, w *checked) {
	w.start()
	w.apply("v1", 2)
	w.awaitPhase(v1alpha1.ReleaseServing)
	w.server.answer(func(e data) (int, string) {
		if e.Event == "begin" {
			return http.StatusForbidden, "not on a Friday"
		}
		return http.StatusNoContent, ""
	})
	seen := w.watchWeights("v2")
	w.apply("v2", 2)
	w.awaitPhase(v1alpha1.ReleaseAborted)
	cause := w.rollout(2).Status.AbortCause
	if cause == nil || cause.Code != plan.ReasonHookFailed || !strings.Contains(cause.Message, "answered 403: not on a Friday") {
		t.Errorf("the cause is %+v", cause)
	}
	if got := seen(); slices.ContainsFunc(got, func(w int32) bool { return w > 0 }) {
		t.Errorf("the weights were %v", got)
	}
	if strings.Contains(fmt.Sprint(w.rollout(2).Status), strings.TrimPrefix(signingKey, "whsec_")) {
		t.Error("the key is in the status")
	}
}

func hangingHook(t *testing.T, w *checked) {
	w.start()
	w.apply("v1", 2)
	w.awaitPhase(v1alpha1.ReleaseServing)
	release := make(chan struct{})
	w.server.answer(func(e data) (int, string) {
		if e.Event == "begin" {
			<-release
		}
		return http.StatusOK, ""
	})
	w.apply("v2", 2)
	w.await("the hook is being called", func() bool { return w.second().Reason == plan.ReasonHoldHook })
	// The worker is free all the while: a person is heard at once.
	w.create(&v1alpha1.RolloutCommand{
		ObjectMeta: metav1.ObjectMeta{Name: "wait", Namespace: w.namespace},
		Spec:       v1alpha1.RolloutCommandSpec{Rollout: w.rollout(2).Name, Action: v1alpha1.CommandPause, Reason: "looking"},
	})
	w.await("the pause", func() bool { return w.second().Paused })
	if got := w.weight("v2"); got != 0 {
		t.Errorf("the weight is %d", got)
	}
	w.create(&v1alpha1.RolloutCommand{
		ObjectMeta: metav1.ObjectMeta{Name: "on", Namespace: w.namespace},
		Spec:       v1alpha1.RolloutCommandSpec{Rollout: w.rollout(2).Name, Action: v1alpha1.CommandResume},
	})
	close(release)
	w.awaitPhase(v1alpha1.ReleaseServing, "v2")
}

func foreignJob(t *testing.T, w *checked) {
	w.start()
	w.apply("v1", 2)
	w.awaitPhase(v1alpha1.ReleaseServing)
	one := int32(1)
	foreign := &batchv1.Job{
		ObjectMeta: metav1.ObjectMeta{Name: w.releaseName + "-2-s2-1", Namespace: w.namespace},
		Spec: batchv1.JobSpec{BackoffLimit: &one, Template: corev1.PodTemplateSpec{
			Spec: corev1.PodSpec{RestartPolicy: corev1.RestartPolicyNever, Containers: []corev1.Container{{Name: "x", Image: "x"}}},
		}},
	}
	w.create(foreign)
	w.apply("v2", 2)
	w.await("it is told of", func() bool {
		for _, c := range w.second().Conditions {
			if strings.Contains(c.Message, "it was not made for this Rollout; delete it with: kubectl delete job "+foreign.Name) {
				return true
			}
		}
		return false
	})
	if r := w.rollout(2); r.Status.Step != 2 || r.Status.Phase != v1alpha1.RolloutProgressing {
		t.Errorf("the Rollout is %s in step %d", r.Status.Phase, r.Status.Step)
	}
	w.get(foreign)
	if err := w.client.Delete(t.Context(), foreign, client.PropagationPolicy(metav1.DeletePropagationBackground)); err != nil {
		t.Fatal(err)
	}
	w.awaitPhase(v1alpha1.ReleaseServing, "v2")
}

func calledAgain(t *testing.T, w *checked) {
	w.start()
	w.apply("v1", 2)
	w.awaitPhase(v1alpha1.ReleaseServing)
	w.heard()
	hung := make(chan struct{})
	first := sync.OnceFunc(func() { close(hung) })
	var mu sync.Mutex
	held := true
	w.server.answer(func(e data) (int, string) {
		if mu.Lock(); e.Event == "step" && e.Step == 1 && held {
			held = false
			mu.Unlock()
			first()
			<-t.Context().Done() // nobody is there to hear it
			return http.StatusTeapot, ""
		}
		mu.Unlock()
		return http.StatusOK, ""
	})
	w.apply("v2", 2)
	select {
	case <-hung:
	case <-time.After(within):
		t.Fatal("the hook is not called")
	}
	w.kill()
	w.start()
	w.awaitPhase(v1alpha1.ReleaseServing, "v2")
	var ids []string
	for _, e := range w.server.sent() {
		if e.data.Event == "step" && e.data.Step == 1 {
			ids = append(ids, e.id)
		}
	}
	if len(ids) != 2 || ids[0] != ids[1] {
		t.Errorf("the ids of the call were %v, want the same twice", ids)
	}
}

// checked is a world whose template has a hook at every event, a Job and a step with a hook.
// The image says what becomes of the Job: fail and hang, and anything else passes.
type checked struct {
	*world
	server *hookServer
	read   int
}

func newChecked(t *testing.T, w *world) *checked {
	c := &checked{world: w, server: newHookServer(t)}
	data := map[string][]byte{"ca.crt": c.server.authority(), "hmac": []byte(signingKey)}
	w.create(&corev1.Secret{ObjectMeta: metav1.ObjectMeta{Name: "hooks", Namespace: w.namespace}, Data: data})
	w.renders = &checkedRenderer{world: c}
	w.hooks = func(mgr manager.Manager) controller.Hooks {
		caller, err := hook.New(hook.Options{
			Secrets: w.client, Namespace: w.namespace, Clock: clock.RealClock{}, Metrics: hook.NewMetrics(), Log: mgr.GetLogger(),
			Addresses: hook.Addresses{Allowed: []netip.Prefix{netip.MustParsePrefix("127.0.0.0/8")}},
		})
		if err != nil {
			t.Fatal(err)
		}
		if err := mgr.Add(caller); err != nil {
			t.Fatal(err)
		}
		return caller
	}
	return c
}

// heard returns what the hook was told since it was asked last, as sentences.
func (c *checked) heard() []string {
	var out []string
	all := c.server.sent()
	for _, e := range all[c.read:] {
		line := fmt.Sprintf("%s %d of %d at %d %%", e.data.Event, e.data.Step, e.data.Steps, e.data.Weight)
		if e.data.Reason != "" {
			line += " for " + e.data.Reason
		}
		out = append(out, line)
	}
	c.read = len(all)
	return out
}

// job is that of a Rollout, nil for none.
func (c *checked) job(rollout int) *batchv1.Job {
	c.t.Helper()
	var job batchv1.Job
	err := c.client.Get(c.t.Context(), client.ObjectKey{Namespace: c.namespace, Name: fmt.Sprintf("%s-%d-s2-1", c.releaseName, rollout)}, &job)
	if apierrors.IsNotFound(err) {
		return nil
	}
	if err != nil {
		c.t.Fatal(err)
	}
	return &job
}

// second is the status of the second Rollout, empty where there is none yet.
func (c *checked) second() v1alpha1.RolloutStatus {
	c.t.Helper()
	var r v1alpha1.Rollout
	err := c.client.Get(c.t.Context(), client.ObjectKey{Namespace: c.namespace, Name: c.releaseName + "-2"}, &r)
	if client.IgnoreNotFound(err) != nil {
		c.t.Fatal(err)
	}
	return r.Status
}

// checkedRenderer adds the hooks, the steps and the Job to what is rendered.
type checkedRenderer struct{ world *checked }

func (r *checkedRenderer) Render(ctx context.Context, revision *v1alpha1.TemplateRevision, values *runtime.RawExtension, in render.Context) (*render.Result, error) {
	out, err := r.world.renderer.Render(ctx, revision, values, in)
	if err != nil {
		return nil, err
	}
	half, all, retries := int32(50), int32(100), int32(2)
	ref := func(key string) *v1alpha1.KeyReference { return &v1alpha1.KeyReference{Name: "hooks", Key: key} }
	out.Strategy.Analysis = nil
	out.Strategy.ProgressDeadline = metav1.Duration{Duration: time.Minute}
	out.Strategy.Steps = []v1alpha1.Step{
		{SetWeight: &half}, {Job: &v1alpha1.JobStep{Object: "smoke"}}, {Hook: &v1alpha1.HookStep{Name: "gate"}}, {SetWeight: &all},
	}
	out.Strategy.Hooks = []v1alpha1.Hook{{
		Name: "gate", URL: r.world.server.URL + "/gate", SecretRef: ref("hmac"), CASecretRef: ref("ca.crt"), Retries: &retries,
		On:      []v1alpha1.HookEvent{v1alpha1.HookBegin, v1alpha1.HookStepEvent, v1alpha1.HookPromote, v1alpha1.HookRollback},
		Timeout: metav1.Duration{Duration: time.Minute}, Interval: metav1.Duration{Duration: 200 * time.Millisecond}, OnFailure: v1alpha1.HookAborts,
	}}
	smoke := smokeJob(in)
	for _, fate := range []string{"fail", "hang"} {
		if strings.Contains(string(values.Raw), `"`+fate+`"`) {
			pod := smoke.Object["spec"].(map[string]any)["template"].(map[string]any)
			pod["metadata"] = map[string]any{"annotations": map[string]any{"traffic.tidegate.test/job": fate}}
		}
	}
	out.Jobs = map[string]*unstructured.Unstructured{"smoke": smoke}
	return out, nil
}

// smokeJob is the Job as it is rendered.
func smokeJob(in render.Context) *unstructured.Unstructured {
	return &unstructured.Unstructured{Object: map[string]any{
		"apiVersion": "batch/v1", "kind": "Job", "metadata": map[string]any{"name": in.Name, "namespace": in.Namespace},
		"spec": map[string]any{"backoffLimit": int64(0), "template": map[string]any{"spec": map[string]any{
			"restartPolicy": "Never",
			"containers":    []any{map[string]any{"name": "smoke", "image": "smoke:1", "resources": map[string]any{"requests": map[string]any{"cpu": "1m"}}}},
		}}},
	}}
}

// asRendered compares the Job of the second Rollout with what was rendered, as the webhook
// does: what this API server fills in is no difference.
func (c *checked) asRendered() {
	c.t.Helper()
	live := smokeJob(render.Context{Name: c.releaseName + "-2-s2-1", Namespace: c.namespace})
	want := live.DeepCopy()
	c.get(live)
	if err := manifest.JobBounds(want); err != nil {
		c.t.Fatal(err)
	}
	if d := compare.Compare(want.Object, live.Object, nil); len(d) > 0 {
		c.t.Errorf("wanted no difference, found %v", d)
	}
}

// data is what a hook is told.
type data = hook.Data

// delivery is one call as it came.
type delivery struct {
	id   string
	data data
}

// hookServer hears calls and checks their signatures.
type hookServer struct {
	*httptest.Server
	t      *testing.T
	mu     sync.Mutex
	all    []delivery
	decide func(data) (int, string)
}

func newHookServer(t *testing.T) *hookServer {
	s := &hookServer{t: t, decide: func(data) (int, string) { return http.StatusOK, "" }}
	s.Server = httptest.NewTLSServer(s)
	t.Cleanup(s.Close)
	return s
}

func (s *hookServer) authority() []byte {
	return pem.EncodeToMemory(&pem.Block{Type: "CERTIFICATE", Bytes: s.Certificate().Raw})
}

func (s *hookServer) answer(decide func(data) (int, string)) {
	s.mu.Lock()
	defer s.mu.Unlock()
	s.decide = decide
}

func (s *hookServer) sent() []delivery {
	s.mu.Lock()
	defer s.mu.Unlock()
	return slices.Clone(s.all)
}

func (s *hookServer) ServeHTTP(w http.ResponseWriter, r *http.Request) {
	body, err := io.ReadAll(r.Body)
	if err != nil {
		return
	}
	e := event.New()
	var d data
	if err := e.UnmarshalJSON(body); err != nil || e.DataAs(&d) != nil {
		s.t.Errorf("no CloudEvent: %v: %s", err, body)
	}
	if !s.signed(r, e.ID(), body) {
		w.WriteHeader(http.StatusUnauthorized)
		return
	}
	s.mu.Lock()
	s.all = append(s.all, delivery{e.ID(), d})
	decide := s.decide
	s.mu.Unlock()
	status, text := decide(d)
	w.WriteHeader(status)
	_, _ = io.WriteString(w, text)
}

// signed compares with what would be signed at the time that the call says.
func (s *hookServer) signed(r *http.Request, id string, body []byte) bool {
	keys, err := outbound.Keys(signingKey)
	var seconds int64
	if _, scanErr := fmt.Sscan(r.Header.Get("webhook-timestamp"), &seconds); err != nil || scanErr != nil {
		return false
	}
	want := http.Header{}
	outbound.Sign(want, keys, id, time.Unix(seconds, 0), body)
	return want.Get("webhook-signature") == r.Header.Get("webhook-signature")
}
