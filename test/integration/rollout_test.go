package integration

import (
	"cmp"
	"context"
	"crypto/sha256"
	"encoding/hex"
	"encoding/json"
	"errors"
	"fmt"
	"log/slog"
	"maps"
	"math/rand/v2"
	"net/http"
	"os"
	"slices"
	"strings"
	"sync"
	"sync/atomic"
	"testing"
	"time"

	"github.com/go-logr/logr"
	appsv1 "k8s.io/api/apps/v1"
	corev1 "k8s.io/api/core/v1"
	apierrors "k8s.io/apimachinery/pkg/api/errors"
	"k8s.io/apimachinery/pkg/api/meta"
	"k8s.io/apimachinery/pkg/api/resource"
	metav1 "k8s.io/apimachinery/pkg/apis/meta/v1"
	"k8s.io/apimachinery/pkg/apis/meta/v1/unstructured"
	"k8s.io/apimachinery/pkg/runtime"
	clientgoscheme "k8s.io/client-go/kubernetes/scheme"
	"k8s.io/client-go/rest"
	"sigs.k8s.io/controller-runtime/pkg/cache"
	"sigs.k8s.io/controller-runtime/pkg/client"
	"sigs.k8s.io/controller-runtime/pkg/config"
	"sigs.k8s.io/controller-runtime/pkg/manager"
	"sigs.k8s.io/controller-runtime/pkg/metrics/server"
	gatewayv1 "sigs.k8s.io/gateway-api/apis/v1"

	"tidegate.io/tidegate/rollout/controller"
	"tidegate.io/tidegate/rollout/plan"
	"tidegate.io/tidegate/schemas/render"
	"tidegate.io/tidegate/schemas/v1alpha1"
)

// within bounds every wait for the cluster.
const within = 3 * time.Minute

// TestRollout runs the release and the rollout loop against a real control plane. Each
// case has a namespace, a template and managers of its own.
func TestRollout(t *testing.T) {
	cluster := controlPlane(t)
	for name, run := range map[string]func(*testing.T, *world){
		"a first install serves":                                       firstInstallServes,
		"a good release is promoted step by step":                      goodReleaseIsPromoted,
		"a bad verdict takes the traffic back before anything else":    badVerdictAborts,
		"a rollout ends the same however often its manager is killed":  killedManagerEndsTheSame,
		"a Release at rest costs no writes":                            restCostsNoWrites,
		"a newer spec supersedes a canary":                             newerSupersedes,
		"a person's abort wins":                                        abortCommandWins,
		"values put back after an abort serve again":                   valuesPutBack,
		"a change of size alone has no steps":                          sizeAloneHasNoSteps,
		"a change of size under way begins nothing anew":               sizeUnderWay,
		"values that cannot be rendered leave what serves alone":       brokenValuesLeaveServing,
		"an unknown analysis holds and never aborts":                   unknownAnalysisHolds,
		"what was changed outside of Tidegate is put right":            driftIsPutRight,
		"an engine that renders something else applies nothing":        engineDriftAppliesNothing,
		"an object that somebody else made is not taken over":          foreignObjectsAreLeftAlone,
		"pods that never come up abort at the deadline":                deadlineAborts,
		"the deletion of a Release takes along everything made for it": deletionTakesAll,
		"what an orphaned Release left is gone over from step by step": orphanIsTakenOver,
		"a Release that is deleted and made again begins anew":         replacedBeginsAnew,
	} {
		t.Run(name, func(t *testing.T) {
			t.Parallel()
			run(t, newWorld(t, cluster.RESTConfig()))
		})
	}
}

func firstInstallServes(t *testing.T, w *world) {
	w.start()
	w.apply("v1", 2)
	w.awaitPhase(v1alpha1.ReleaseServing)
	w.wantServing("v1", 2)
	release := w.release()
	if !meta.IsStatusConditionTrue(release.Status.Conditions, v1alpha1.ConditionReady) ||
		meta.FindStatusCondition(release.Status.Conditions, v1alpha1.ConditionReconciling) != nil {
		t.Errorf("the conditions are %+v", release.Status.Conditions)
	}
}

func goodReleaseIsPromoted(t *testing.T, w *world) {
	w.start()
	w.apply("v1", 4)
	w.awaitPhase(v1alpha1.ReleaseServing)
	seen := w.watchWeights("v2")
	w.apply("v2", 4)
	w.awaitPhase(v1alpha1.ReleaseServing, "v2")
	w.wantServing("v2", 4)
	if got, want := seen(), []int32{5, 25, 50, 100}; !slices.Equal(got, want) {
		t.Errorf("the weights on the route were %v, want %v", got, want)
	}
	w.awaitGone(w.name("v1"))
	rollout := w.rollout(2)
	if len(rollout.Status.History) < 6 || rollout.Status.Phase != v1alpha1.RolloutSucceeded {
		t.Errorf("the history is %+v", rollout.Status.History)
	}
}

func badVerdictAborts(t *testing.T, w *world) {
	w.start()
	w.apply("v1", 2)
	w.awaitPhase(v1alpha1.ReleaseServing)
	before := w.deployment("v1")
	// From the second weight on the canary is bad.
	w.measurer.judge(func(_ string, step int32) v1alpha1.Verdict {
		if step >= 3 {
			return v1alpha1.VerdictFail
		}
		return v1alpha1.VerdictPass
	})
	seen := w.watchWeights("v2")
	w.apply("v2", 2)
	w.awaitPhase(v1alpha1.ReleaseAborted)
	if got, want := seen(), []int32{5, 25, 0}; !slices.Equal(got, want) {
		t.Errorf("the weights on the route were %v, want %v", got, want)
	}
	w.wantServing("v1", 2)
	w.awaitGone(w.name("v2"))
	if after := w.deployment("v1"); after.UID != before.UID || after.Generation != before.Generation {
		t.Errorf("the stable Deployment was touched: generation %d -> %d", before.Generation, after.Generation)
	}
	release := w.release()
	stalled := meta.FindStatusCondition(release.Status.Conditions, v1alpha1.ConditionStalled)
	if stalled == nil || stalled.Reason != "AnalysisFail" || !strings.Contains(release.Status.Message, "scripted") {
		t.Errorf("the Release says %q, %+v", release.Status.Message, stalled)
	}
}

func killedManagerEndsTheSame(t *testing.T, w *world) {
	w.start()
	w.apply("v1", 3)
	w.awaitPhase(v1alpha1.ReleaseServing)
	w.kill()

	const seed = 7
	random := rand.New(rand.NewPCG(seed, seed))
	seen := w.watchWeights("v2")
	w.apply("v2", 3)
	kills := 0
	for range 40 {
		// The connection dies at one of the next writes: before or after it reaches the server.
		dead := w.startDoomed(random.Int64N(4)+1, random.IntN(2) == 0)
		select {
		case <-dead:
			kills++
		case <-w.reaches(v1alpha1.ReleaseServing, "v2"):
		}
		w.kill()
		if r := w.release(); r.Status.Phase == v1alpha1.ReleaseServing && r.Status.StableRevision == w.revision("v2") {
			break
		}
	}
	w.start()
	w.awaitPhase(v1alpha1.ReleaseServing, "v2")
	w.wantServing("v2", 3)
	w.awaitGone(w.name("v1"))
	t.Logf("the manager was killed %d times (seed %d)", kills, seed)
	if kills < 10 {
		t.Errorf("the manager was killed %d times, too few to tell anything", kills)
	}
	if got, want := seen(), []int32{5, 25, 50, 100}; !slices.Equal(got, want) {
		t.Errorf("the weights on the route were %v, want %v", got, want)
	}
	if n := len(w.rollouts()); n != 2 {
		t.Errorf("there are %d Rollouts, want 2", n)
	}
}

func restCostsNoWrites(t *testing.T, w *world) {
	w.start()
	w.apply("v1", 2)
	w.awaitPhase(v1alpha1.ReleaseServing)
	w.apply("v2", 2)
	w.awaitPhase(v1alpha1.ReleaseServing, "v2")
	w.awaitGone(w.name("v1"))
	// Events are written in the background; the last ones may be on their way.
	w.quiet(3 * time.Second)
	// A manager that starts anew finds everything as it is.
	w.kill()
	w.start()
	if n := w.writesIn(5 * time.Second); n != 0 {
		t.Errorf("%d writes at rest, want none: %v", n, w.wire.lines())
	}
}

func newerSupersedes(t *testing.T, w *world) {
	w.start()
	w.apply("v1", 2)
	w.awaitPhase(v1alpha1.ReleaseServing)
	w.measurer.judge(func(revision string, _ int32) v1alpha1.Verdict {
		if revision == w.revision("v2") {
			return v1alpha1.VerdictInconclusive
		}
		return v1alpha1.VerdictPass
	})
	w.apply("v2", 2)
	w.await("v2 gets its first traffic", func() bool { return w.weight("v2") == 5 })
	third := w.watchWeights("v3")
	w.apply("v3", 2)
	w.awaitPhase(v1alpha1.ReleaseServing, "v3")
	w.wantServing("v3", 2)
	w.awaitGone(w.name("v2"))
	second := w.rollout(2)
	if second.Status.Phase != v1alpha1.RolloutAborted || second.Status.AbortCause.Code != plan.ReasonAbortSuperseded {
		t.Errorf("the second Rollout is %s for %+v", second.Status.Phase, second.Status.AbortCause)
	}
	if got, want := third(), []int32{5, 25, 50, 100}; !slices.Equal(got, want) {
		t.Errorf("the weights of the third were %v, want %v", got, want)
	}
	if r := w.rollout(3); r.Spec.Stable == nil || r.Spec.Stable.Rollout != w.rollout(1).Name {
		t.Errorf("the third Rollout is over %+v, want the first", r.Spec.Stable)
	}
}

func abortCommandWins(t *testing.T, w *world) {
	w.start()
	w.apply("v1", 2)
	w.awaitPhase(v1alpha1.ReleaseServing)
	w.measurer.judge(func(string, int32) v1alpha1.Verdict { return v1alpha1.VerdictInconclusive })
	w.apply("v2", 2)
	w.await("v2 gets its first traffic", func() bool { return w.weight("v2") == 5 })
	command := &v1alpha1.RolloutCommand{
		ObjectMeta: metav1.ObjectMeta{Name: "stop", Namespace: w.namespace},
		Spec:       v1alpha1.RolloutCommandSpec{Rollout: w.rollout(2).Name, Action: v1alpha1.CommandAbort, Reason: "smells"},
	}
	w.create(command)
	w.awaitPhase(v1alpha1.ReleaseAborted)
	w.wantServing("v1", 2)
	w.await("the command is answered", func() bool {
		w.get(command)
		return command.Status.Outcome == v1alpha1.OutcomeApplied
	})
	if cause := w.rollout(2).Status.AbortCause; cause == nil || cause.Code != plan.ReasonAbortCommand || !strings.Contains(cause.Message, "smells") {
		t.Errorf("the cause is %+v", cause)
	}
}

func valuesPutBack(t *testing.T, w *world) {
	w.start()
	w.apply("v1", 2)
	w.awaitPhase(v1alpha1.ReleaseServing)
	w.measurer.judge(func(string, int32) v1alpha1.Verdict { return v1alpha1.VerdictFail })
	w.apply("v2", 2)
	w.awaitPhase(v1alpha1.ReleaseAborted)
	uid := w.deployment("v1").UID
	w.apply("v1", 2)
	w.awaitPhase(v1alpha1.ReleaseServing, "v1")
	w.wantServing("v1", 2)
	if w.deployment("v1").UID != uid {
		t.Error("the Deployment that served was made anew")
	}
	if r := w.rollout(3); r.Spec.Stable == nil || r.Spec.Stable.Revision != r.Spec.Revision {
		t.Errorf("the third Rollout is over %+v, want itself", r.Spec.Stable)
	}
}

func sizeAloneHasNoSteps(t *testing.T, w *world) {
	w.start()
	w.apply("v1", 2)
	w.awaitPhase(v1alpha1.ReleaseServing)
	uid := w.deployment("v1").UID
	w.apply("v1", 4)
	w.await("four pods serve", func() bool {
		return w.release().Status.Phase == v1alpha1.ReleaseServing && w.deployment("v1").Status.AvailableReplicas == 4
	})
	w.wantServing("v1", 4)
	if w.deployment("v1").UID != uid {
		t.Error("the Deployment was made anew")
	}
}

func brokenValuesLeaveServing(t *testing.T, w *world) {
	w.start()
	w.apply("v1", 2)
	w.awaitPhase(v1alpha1.ReleaseServing)
	w.apply("unrenderable", 2)
	w.awaitPhase(v1alpha1.ReleaseInvalid)
	w.wantServing("v1", 2)
	release := w.release()
	if !meta.IsStatusConditionTrue(release.Status.Conditions, v1alpha1.ConditionStalled) ||
		!strings.Contains(release.Status.Message, "values.image") || !strings.Contains(release.Status.Message, "serves on") {
		t.Errorf("the Release says %q", release.Status.Message)
	}
	w.apply("v1", 2)
	w.awaitPhase(v1alpha1.ReleaseServing)
	if n := len(w.rollouts()); n != 1 {
		t.Errorf("there are %d Rollouts, want 1", n)
	}
}

func unknownAnalysisHolds(t *testing.T, w *world) {
	w.start()
	w.apply("v1", 2)
	w.awaitPhase(v1alpha1.ReleaseServing)
	w.measurer.judge(func(string, int32) v1alpha1.Verdict { return v1alpha1.VerdictUnknown })
	w.apply("v2", 2)
	w.await("five rounds are taken", func() bool { return w.measurer.rounds(w.revision("v2")) >= 5 })
	if r := w.rollout(2); r.Status.Phase != v1alpha1.RolloutProgressing || r.Status.Step != 2 || w.weight("v2") != 5 {
		t.Errorf("the Rollout is %s in step %d with %d %%", r.Status.Phase, r.Status.Step, w.weight("v2"))
	}
	w.measurer.judge(func(string, int32) v1alpha1.Verdict { return v1alpha1.VerdictPass })
	w.awaitPhase(v1alpha1.ReleaseServing, "v2")
}

func driftIsPutRight(t *testing.T, w *world) {
	w.start()
	w.apply("v1", 2)
	w.awaitPhase(v1alpha1.ReleaseServing)
	d := w.deployment("v1")
	patch := client.RawPatch("application/json-patch+json",
		[]byte(`[{"op":"replace","path":"/spec/template/spec/containers/0/image","value":"evil:1"}]`))
	if err := w.client.Patch(t.Context(), d, patch); err != nil {
		t.Fatal(err)
	}
	w.await("the image is put back", func() bool {
		return w.deployment("v1").Spec.Template.Spec.Containers[0].Image == "v1"
	})
	route := w.route()
	patch = client.RawPatch("application/json-patch+json",
		[]byte(`[{"op":"replace","path":"/spec/hostnames","value":["evil.example"]}]`))
	if err := w.client.Patch(t.Context(), route, patch); err != nil {
		t.Fatal(err)
	}
	w.await("the hostname is put back", func() bool {
		return fmt.Sprint(w.route().Spec.Hostnames) == "[shop.example]"
	})
	if err := w.client.Delete(t.Context(), &corev1.Service{ObjectMeta: metav1.ObjectMeta{Name: w.name("v1"), Namespace: w.namespace}}); err != nil {
		t.Fatal(err)
	}
	w.await("the Service is back", func() bool {
		err := w.client.Get(t.Context(), client.ObjectKey{Namespace: w.namespace, Name: w.name("v1")}, &corev1.Service{})
		return err == nil
	})
}

func engineDriftAppliesNothing(t *testing.T, w *world) {
	w.start()
	w.apply("v1", 2)
	w.awaitPhase(v1alpha1.ReleaseServing)
	w.measurer.judge(func(string, int32) v1alpha1.Verdict { return v1alpha1.VerdictInconclusive })
	w.apply("v2", 2)
	w.await("v2 gets its first traffic", func() bool { return w.weight("v2") == 5 })
	w.kill()
	before := w.deployment("v2").Generation

	w.renderer.drift.Store(true)
	w.start()
	w.await("the drift is told", func() bool { return w.rollout(2).Status.Reason == controller.ReasonEngineDrift })
	if after := w.deployment("v2").Generation; after != before || w.weight("v2") != 5 {
		t.Errorf("generation %d -> %d, weight %d", before, after, w.weight("v2"))
	}
	// An abort wins even so: the traffic is taken away.
	w.create(&v1alpha1.RolloutCommand{
		ObjectMeta: metav1.ObjectMeta{Name: "stop", Namespace: w.namespace},
		Spec:       v1alpha1.RolloutCommandSpec{Rollout: w.rollout(2).Name, Action: v1alpha1.CommandAbort},
	})
	w.await("the traffic is taken away", func() bool { return w.weight("v2") == 0 && w.weight("v1") == 100 })
}

func foreignObjectsAreLeftAlone(t *testing.T, w *world) {
	theirs := &gatewayv1.HTTPRoute{
		ObjectMeta: metav1.ObjectMeta{Name: w.releaseName, Namespace: w.namespace},
		Spec:       gatewayv1.HTTPRouteSpec{Hostnames: []gatewayv1.Hostname{"theirs.example"}},
	}
	w.create(theirs)
	w.start()
	w.apply("v1", 1)
	w.await("the refusal is told", func() bool {
		return strings.Contains(w.release().Status.Message, controller.ReasonApplyFailed)
	})
	if got := w.route().Spec.Hostnames; len(got) != 1 || got[0] != "theirs.example" {
		t.Errorf("the route was taken over: %v", got)
	}
}

func deadlineAborts(t *testing.T, w *world) {
	w.start()
	w.apply("v1", 2)
	w.awaitPhase(v1alpha1.ReleaseServing)
	seen := w.watchWeights("unschedulable")
	w.apply("unschedulable", 2)
	w.awaitPhase(v1alpha1.ReleaseAborted)
	w.wantServing("v1", 2)
	if got := seen(); len(got) != 0 {
		t.Errorf("a set without pods got the weights %v", got)
	}
	if cause := w.rollout(2).Status.AbortCause; cause == nil || cause.Code != plan.ReasonAbortDeadline {
		t.Errorf("the cause is %+v", cause)
	}
}

func deletionTakesAll(t *testing.T, w *world) {
	w.start()
	w.apply("v1", 1)
	w.awaitPhase(v1alpha1.ReleaseServing)
	deletionTakes(t, w)
}

// deletionTakes deletes the Release and waits until nothing is left of it.
func deletionTakes(t *testing.T, w *world) {
	t.Helper()
	if err := w.client.Delete(t.Context(), w.release()); err != nil {
		t.Fatal(err)
	}
	w.await("everything is gone", func() bool {
		var deployments appsv1.DeploymentList
		var services corev1.ServiceList
		var routes gatewayv1.HTTPRouteList
		var rollouts v1alpha1.RolloutList
		for _, list := range []client.ObjectList{&deployments, &services, &routes, &rollouts} {
			if err := w.client.List(t.Context(), list, client.InNamespace(w.namespace)); err != nil {
				t.Fatal(err)
			}
		}
		return len(deployments.Items)+len(services.Items)+len(routes.Items)+len(rollouts.Items) == 0
	})
}

// world is a namespace with a template, a Release, a gateway and a manager.
type world struct {
	t           *testing.T
	config      *rest.Config
	client      client.WithWatch
	namespace   string
	template    string
	releaseName string
	renderer    *scriptedRenderer
	measurer    *scriptedMeasurer
	// renders takes the place of renderer where it is set; promotion may be nil.
	renders   controller.Renderer
	promotion controller.Promotion
	// hooks, where it is set, makes what calls hooks, anew for each manager.
	hooks func(manager.Manager) controller.Hooks
	wire  *wire
	stop  func()
}

var worlds atomic.Int32

func newWorld(t *testing.T, admin *rest.Config) *world {
	t.Helper()
	w := ungatedWorld(t, admin)
	go w.gateway(t.Context())
	return w
}

// ungatedWorld is one whose routes nobody accepts yet.
func ungatedWorld(t *testing.T, admin *rest.Config) *world {
	t.Helper()
	scheme := testScheme(t)
	admin = rest.CopyConfig(admin)
	admin.QPS = -1
	c, err := client.NewWithWatch(admin, client.Options{Scheme: scheme})
	if err != nil {
		t.Fatal(err)
	}
	n := worlds.Add(1)
	w := &world{
		t: t, config: admin, client: c, namespace: fmt.Sprintf("shop-%d", n), template: fmt.Sprintf("web%d", n),
		releaseName: "cart", renderer: &scriptedRenderer{}, measurer: &scriptedMeasurer{}, stop: func() {},
	}
	w.create(&corev1.Namespace{ObjectMeta: metav1.ObjectMeta{Name: w.namespace}})
	files := map[string]string{"a.cue": "package a"}
	digest := render.Digest(files)
	w.create(&v1alpha1.ReleaseTemplate{
		ObjectMeta: metav1.ObjectMeta{Name: w.template},
		Spec:       v1alpha1.ReleaseTemplateSpec{Files: files},
	})
	w.create(&v1alpha1.TemplateRevision{
		ObjectMeta: metav1.ObjectMeta{Name: v1alpha1.RevisionName(w.template, 1, digest)},
		Spec: v1alpha1.TemplateRevisionSpec{
			Template: w.template, Number: 1, Digest: digest, Engine: "v0", Files: files,
		},
	})
	t.Cleanup(func() {
		w.kill()
		if t.Failed() {
			w.explain()
		}
	})
	return w
}

func testScheme(t *testing.T) *runtime.Scheme {
	t.Helper()
	scheme := runtime.NewScheme()
	for _, add := range []func(*runtime.Scheme) error{clientgoscheme.AddToScheme, v1alpha1.AddToScheme, gatewayv1.Install} {
		if err := add(scheme); err != nil {
			t.Fatal(err)
		}
	}
	return scheme
}

// start runs a manager until kill.
func (w *world) start() { w.run(&wire{}) }

// startDoomed runs a manager whose connection dies at its n-th write. The channel is
// closed when it has.
func (w *world) startDoomed(n int64, after bool) <-chan struct{} {
	doomed := &wire{fatal: n, after: after, dead: make(chan struct{})}
	w.run(doomed)
	return doomed.dead
}

func (w *world) run(line *wire) {
	w.t.Helper()
	w.wire = line
	cfg := rest.CopyConfig(w.config)
	cfg.Wrap(func(next http.RoundTripper) http.RoundTripper {
		line.mu.Lock()
		defer line.mu.Unlock()
		return &wireTripper{wire: line, next: next}
	})
	brief := 10 * time.Millisecond
	yes := true
	mgr, err := manager.New(cfg, manager.Options{
		Scheme:                  testScheme(w.t),
		Logger:                  managerLog(w.namespace),
		Metrics:                 server.Options{BindAddress: "0"},
		Cache:                   cache.Options{DefaultNamespaces: map[string]cache.Config{w.namespace: {}}},
		GracefulShutdownTimeout: &brief,
		Controller:              config.Controller{SkipNameValidation: &yes},
	})
	if err != nil {
		w.t.Fatal(err)
	}
	opts := controller.Options{Renderer: w.renderer, Measurer: w.measurer, Promotion: w.promotion, SkipNameValidation: true}
	if w.renders != nil {
		opts.Renderer = w.renders
	}
	if w.hooks != nil {
		opts.Hooks = w.hooks(mgr)
	}
	if err := controller.Setup(w.t.Context(), mgr, opts); err != nil {
		w.t.Fatal(err)
	}
	// Not the test's context: a cleanup stops the manager, after the test's own is over.
	ctx, cancel := context.WithCancel(context.WithoutCancel(w.t.Context()))
	done := make(chan struct{})
	go func() {
		defer close(done)
		// A killed manager complains about what it could not end.
		if err := mgr.Start(ctx); err != nil && !line.cut.Load() {
			w.t.Errorf("the manager ended by itself: %v", err)
		}
	}()
	w.stop = sync.OnceFunc(func() {
		line.cut.Store(true)
		cancel()
		<-done
	})
}

// managerLog is where managers log to: nowhere, unless ROLLOUT_TEST_LOG is set.
func managerLog(namespace string) logr.Logger {
	if os.Getenv("ROLLOUT_TEST_LOG") == "" {
		return logr.Discard()
	}
	return logr.FromSlogHandler(slog.NewTextHandler(os.Stderr, nil)).WithValues("world", namespace)
}

// kill cuts the manager's connection, then stops it.
func (w *world) kill() { w.stop() }

// wire counts the writes of a manager, and may die.
type wire struct {
	cut    atomic.Bool
	writes atomic.Int64
	// fatal is the write at which it dies; 0 is never.
	fatal int64
	// after lets the fatal write reach the server, and loses the answer.
	after bool
	dead  chan struct{}

	mu  sync.Mutex
	log []string
}

type wireTripper struct {
	wire *wire
	next http.RoundTripper
}

var errCut = errors.New("the connection is cut")

func (l *wireTripper) RoundTrip(r *http.Request) (*http.Response, error) {
	if l.wire.cut.Load() {
		return nil, errCut
	}
	if r.Method == http.MethodGet {
		return l.next.RoundTrip(r)
	}
	n := l.wire.writes.Add(1)
	l.wire.mu.Lock()
	l.wire.log = append(l.wire.log, r.Method+" "+r.URL.Path)
	l.wire.mu.Unlock()
	if n != l.wire.fatal {
		return l.next.RoundTrip(r)
	}
	l.wire.cut.Store(true)
	defer close(l.wire.dead)
	if l.wire.after {
		response, err := l.next.RoundTrip(r)
		if err == nil {
			_ = response.Body.Close()
		}
	}
	return nil, errCut
}

func (l *wire) lines() []string {
	l.mu.Lock()
	defer l.mu.Unlock()
	return slices.Clone(l.log)
}

// quiet waits until the manager has written nothing for d.
func (w *world) quiet(d time.Duration) {
	w.t.Helper()
	last, since := w.wire.writes.Load(), time.Now()
	w.await("the manager is quiet", func() bool {
		if now := w.wire.writes.Load(); now != last {
			last, since = now, time.Now()
		}
		return time.Since(since) >= d
	})
}

// writesIn counts writes for d.
func (w *world) writesIn(d time.Duration) int64 {
	timer := time.NewTimer(d)
	defer timer.Stop()
	select {
	case <-timer.C:
	case <-w.t.Context().Done():
	}
	return w.wire.writes.Load()
}

// apply makes the Release ask for image with replicas pods.
func (w *world) apply(image string, replicas int32) {
	w.t.Helper()
	values, err := json.Marshal(map[string]any{"image": image, "replicas": replicas})
	if err != nil {
		w.t.Fatal(err)
	}
	want := &v1alpha1.Release{
		ObjectMeta: metav1.ObjectMeta{Name: w.releaseName, Namespace: w.namespace},
		Spec: v1alpha1.ReleaseSpec{
			Template: v1alpha1.TemplateReference{Name: w.template}, Values: &runtime.RawExtension{Raw: values},
		},
	}
	w.await("the Release is applied", func() bool {
		var have v1alpha1.Release
		err := w.client.Get(w.t.Context(), client.ObjectKeyFromObject(want), &have)
		if apierrors.IsNotFound(err) {
			return w.client.Create(w.t.Context(), want.DeepCopy()) == nil
		}
		have.Spec = want.Spec
		return err == nil && w.client.Update(w.t.Context(), &have) == nil
	})
}

// await polls until the condition holds.
func (w *world) await(what string, holds func() bool) {
	w.t.Helper()
	ticker := time.NewTicker(20 * time.Millisecond)
	defer ticker.Stop()
	limit := time.NewTimer(within)
	defer limit.Stop()
	for !holds() {
		select {
		case <-ticker.C:
		case <-limit.C:
			w.t.Fatalf("waited %s in vain until %s", within, what)
		case <-w.t.Context().Done():
			w.t.Fatalf("the test ended before %s", what)
		}
	}
}

// awaitPhase waits until the Release has the phase for its newest generation, and, where
// an image is given, until that is what serves.
func (w *world) awaitPhase(phase v1alpha1.ReleasePhase, image ...string) {
	w.t.Helper()
	w.await(fmt.Sprintf("the Release is %s %v", phase, image), func() bool { return w.has(w.release(), phase, image...) })
}

func (w *world) has(r *v1alpha1.Release, phase v1alpha1.ReleasePhase, image ...string) bool {
	if r.Status.ObservedGeneration != r.Generation || r.Status.Phase != phase {
		return false
	}
	return len(image) == 0 || r.Status.Revision == w.revision(image[0]) && r.Status.StableRevision == r.Status.Revision
}

// reaches is closed when the Release has the phase.
func (w *world) reaches(phase v1alpha1.ReleasePhase, image string) <-chan struct{} {
	done := make(chan struct{})
	ctx := w.t.Context()
	go func() {
		defer close(done)
		ticker := time.NewTicker(50 * time.Millisecond)
		defer ticker.Stop()
		limit := time.NewTimer(15 * time.Second)
		defer limit.Stop()
		for {
			var r v1alpha1.Release
			if err := w.client.Get(ctx, client.ObjectKey{Namespace: w.namespace, Name: w.releaseName}, &r); err == nil && w.has(&r, phase, image) {
				return
			}
			select {
			case <-ticker.C:
			case <-limit.C:
				return
			case <-ctx.Done():
				return
			}
		}
	}()
	return done
}

func (w *world) create(obj client.Object) {
	w.t.Helper()
	if err := w.client.Create(w.t.Context(), obj); err != nil {
		w.t.Fatal(err)
	}
}

func (w *world) get(obj client.Object) {
	w.t.Helper()
	if err := w.client.Get(w.t.Context(), client.ObjectKeyFromObject(obj), obj); err != nil {
		w.t.Fatal(err)
	}
}

func (w *world) release() *v1alpha1.Release {
	w.t.Helper()
	r := &v1alpha1.Release{ObjectMeta: metav1.ObjectMeta{Name: w.releaseName, Namespace: w.namespace}}
	w.get(r)
	return r
}

func (w *world) rollout(n int) *v1alpha1.Rollout {
	w.t.Helper()
	r := &v1alpha1.Rollout{ObjectMeta: metav1.ObjectMeta{Name: fmt.Sprintf("%s-%d", w.releaseName, n), Namespace: w.namespace}}
	w.get(r)
	return r
}

func (w *world) rollouts() []v1alpha1.Rollout {
	w.t.Helper()
	var list v1alpha1.RolloutList
	if err := w.client.List(w.t.Context(), &list, client.InNamespace(w.namespace)); err != nil {
		w.t.Fatal(err)
	}
	return list.Items
}

func (w *world) deployment(image string) *appsv1.Deployment {
	w.t.Helper()
	d := &appsv1.Deployment{ObjectMeta: metav1.ObjectMeta{Name: w.name(image), Namespace: w.namespace}}
	w.get(d)
	return d
}

func (w *world) route() *gatewayv1.HTTPRoute {
	w.t.Helper()
	r := &gatewayv1.HTTPRoute{ObjectMeta: metav1.ObjectMeta{Name: w.releaseName, Namespace: w.namespace}}
	w.get(r)
	return r
}

// revision is the one that an image renders to.
func (w *world) revision(image string) string { return revisionOf(image) }

// name is that of the set of an image.
func (w *world) name(image string) string { return w.releaseName + "-" + w.revision(image) }

// weight is the percentage that the route now gives to the image.
func (w *world) weight(image string) int32 {
	w.t.Helper()
	return weightOn(w.route(), w.name(image))
}

func weightOn(route *gatewayv1.HTTPRoute, service string) int32 {
	var mine, total int32
	for _, rule := range route.Spec.Rules {
		for _, ref := range rule.BackendRefs {
			weight := int32(1)
			if ref.Weight != nil {
				weight = *ref.Weight
			}
			total += weight
			if string(ref.Name) == service {
				mine += weight
			}
		}
	}
	if total == 0 {
		return 0
	}
	return mine * 100 / total
}

// wantServing checks that the image has all of the traffic and all of its pods, and that
// no other set is left but what is named.
func (w *world) wantServing(image string, replicas int32) {
	w.t.Helper()
	if got := w.weight(image); got != 100 {
		w.t.Errorf("%s has %d %% of the traffic, want all", image, got)
	}
	if d := w.deployment(image); d.Status.AvailableReplicas != replicas || *d.Spec.Replicas != replicas {
		w.t.Errorf("%s has %d of %d pods, want %d", image, d.Status.AvailableReplicas, *d.Spec.Replicas, replicas)
	}
}

// awaitGone waits until a set has been deleted, its Service too.
func (w *world) awaitGone(name string) {
	w.t.Helper()
	key := client.ObjectKey{Namespace: w.namespace, Name: name}
	w.await(name+" is gone", func() bool {
		return apierrors.IsNotFound(w.client.Get(w.t.Context(), key, &appsv1.Deployment{})) &&
			apierrors.IsNotFound(w.client.Get(w.t.Context(), key, &corev1.Service{}))
	})
}

// watchWeights follows the route and returns the distinct weights that the image had, in
// order, from its first one on. At each it asserts I1 and I4: the pods that the weight
// needs are available, and the exposure was approved, on record, before.
func (w *world) watchWeights(image string) func() []int32 {
	w.t.Helper()
	ctx := w.t.Context()
	watcher, err := w.client.Watch(ctx, &gatewayv1.HTTPRouteList{}, client.InNamespace(w.namespace))
	if err != nil {
		w.t.Fatal(err)
	}
	w.t.Cleanup(watcher.Stop)
	var mu sync.Mutex
	var seen []int32
	var version string
	go func() {
		for event := range watcher.ResultChan() {
			route, ok := event.Object.(*gatewayv1.HTTPRoute)
			if !ok {
				continue
			}
			weight := weightOn(route, w.name(image))
			mu.Lock()
			changed := len(seen) == 0 && weight > 0 || len(seen) > 0 && seen[len(seen)-1] != weight
			if changed {
				seen = append(seen, weight)
			}
			mu.Unlock()
			if changed && weight > 0 {
				w.checkExposure(ctx, image, weight)
			}
			mu.Lock()
			version = route.ResourceVersion
			mu.Unlock()
		}
	}()
	return func() []int32 {
		w.t.Helper()
		w.await("the watch has seen the route as it is", func() bool {
			now := w.route().ResourceVersion
			mu.Lock()
			defer mu.Unlock()
			return version == now
		})
		mu.Lock()
		defer mu.Unlock()
		return slices.Clone(seen)
	}
}

// checkExposure reads what must have been so before the weight was put on the route, and
// in these cases still is.
func (w *world) checkExposure(ctx context.Context, image string, weight int32) {
	var rollouts v1alpha1.RolloutList
	var d appsv1.Deployment
	err := errors.Join(
		w.client.List(ctx, &rollouts, client.InNamespace(w.namespace)),
		w.client.Get(ctx, client.ObjectKey{Namespace: w.namespace, Name: w.name(image)}, &d),
	)
	if err != nil {
		if ctx.Err() == nil {
			w.t.Errorf("reading what stands behind %d %%: %v", weight, err)
		}
		return
	}
	newest := slices.MaxFunc(rollouts.Items, func(a, b v1alpha1.Rollout) int { return cmp.Compare(a.Spec.Number, b.Spec.Number) })
	if newest.Spec.Revision != w.revision(image) {
		return
	}
	if need := (newest.Spec.Replicas*weight + 99) / 100; d.Status.AvailableReplicas < need {
		w.t.Errorf("I1: %d %% on %d available pods, which need %d", weight, d.Status.AvailableReplicas, need)
	}
	if newest.Status.AbortCause == nil && newest.Status.ApprovedWeight < weight {
		w.t.Errorf("I4: %d %% on the route, %d %% approved", weight, newest.Status.ApprovedWeight)
	}
}

// gateway accepts every generation of every route of the namespace.
func (w *world) gateway(ctx context.Context) {
	ticker := time.NewTicker(30 * time.Millisecond)
	defer ticker.Stop()
	for {
		select {
		case <-ctx.Done():
			return
		case <-ticker.C:
		}
		var routes gatewayv1.HTTPRouteList
		if err := w.client.List(ctx, &routes, client.InNamespace(w.namespace)); err != nil {
			continue
		}
		for i := range routes.Items {
			route := &routes.Items[i]
			w.accept(ctx, route, route.Spec.ParentRefs, &route.Status.RouteStatus)
		}
		var calls gatewayv1.GRPCRouteList
		if err := w.client.List(ctx, &calls, client.InNamespace(w.namespace)); err != nil {
			continue
		}
		for i := range calls.Items {
			route := &calls.Items[i]
			w.accept(ctx, route, route.Spec.ParentRefs, &route.Status.RouteStatus)
		}
	}
}

// accept says of a route, where it is not said yet, that its first parent has its newest generation.
func (w *world) accept(ctx context.Context, route client.Object, parents []gatewayv1.ParentReference, status *gatewayv1.RouteStatus) {
	if len(parents) == 0 || answered(route.GetGeneration(), status) {
		return
	}
	condition := func(kind string) metav1.Condition {
		return metav1.Condition{
			Type: kind, Status: metav1.ConditionTrue, Reason: kind,
			ObservedGeneration: route.GetGeneration(), LastTransitionTime: metav1.Now(),
		}
	}
	status.Parents = []gatewayv1.RouteParentStatus{{
		ParentRef:      parents[0],
		ControllerName: "test.tidegate.io/gateway",
		Conditions:     []metav1.Condition{condition("Accepted"), condition("ResolvedRefs")},
	}}
	// A conflict is tried again at the next tick.
	_ = w.client.Status().Update(ctx, route)
}

func answered(generation int64, status *gatewayv1.RouteStatus) bool {
	for _, parent := range status.Parents {
		for _, c := range parent.Conditions {
			if c.ObservedGeneration != generation {
				return false
			}
		}
	}
	return len(status.Parents) > 0
}

// explain logs the state of a world whose test has failed.
func (w *world) explain() {
	ctx, cancel := context.WithTimeout(context.Background(), 5*time.Second)
	defer cancel()
	var release v1alpha1.Release
	if err := w.client.Get(ctx, client.ObjectKey{Namespace: w.namespace, Name: w.releaseName}, &release); err == nil {
		w.t.Logf("Release: %s %q", release.Status.Phase, release.Status.Message)
	}
	var rollouts v1alpha1.RolloutList
	if err := w.client.List(ctx, &rollouts, client.InNamespace(w.namespace)); err != nil {
		return
	}
	for i := range rollouts.Items {
		r := &rollouts.Items[i]
		w.t.Logf("Rollout %s: %s step %d weight %d approved %d %s %q", r.Name, r.Status.Phase, r.Status.Step, r.Status.Weight,
			r.Status.ApprovedWeight, r.Status.Reason, r.Status.Message)
		for _, h := range r.Status.History {
			w.t.Logf("  %s %s %d %d %s %s", h.At.Format("05.000"), h.Phase, h.Step, h.Weight, h.Reason, h.Message)
		}
	}
}

// scriptedMeasurer gives the verdicts that a case asks for.
type scriptedMeasurer struct {
	mu     sync.Mutex
	script func(revision string, step int32) v1alpha1.Verdict
	taken  map[string]int
}

func (m *scriptedMeasurer) judge(script func(revision string, step int32) v1alpha1.Verdict) {
	m.mu.Lock()
	defer m.mu.Unlock()
	m.script = script
}

func (m *scriptedMeasurer) rounds(revision string) int {
	m.mu.Lock()
	defer m.mu.Unlock()
	return m.taken[revision]
}

func (m *scriptedMeasurer) Measure(_ context.Context, rollout *v1alpha1.Rollout, now time.Time) (v1alpha1.AnalysisRound, error) {
	m.mu.Lock()
	defer m.mu.Unlock()
	if m.taken == nil {
		m.taken = map[string]int{}
	}
	m.taken[rollout.Spec.Revision]++
	verdict := v1alpha1.VerdictPass
	if m.script != nil {
		verdict = m.script(rollout.Spec.Revision, rollout.Status.Step)
	}
	return v1alpha1.AnalysisRound{
		Verdict: verdict, TakenAt: metav1.NewMicroTime(now.Truncate(time.Microsecond)), Step: rollout.Status.Step,
		Digest: rollout.Spec.Digest, Message: "scripted verdict",
	}, nil
}

// scriptedRenderer makes a Deployment, a Service and an HTTPRoute of an image.
type scriptedRenderer struct {
	drift atomic.Bool
}

func revisionOf(image string) string {
	sum := sha256.Sum256([]byte(image))
	return hex.EncodeToString(sum[:])[:10]
}

func (r *scriptedRenderer) Render(_ context.Context, _ *v1alpha1.TemplateRevision, values *runtime.RawExtension, in render.Context) (*render.Result, error) {
	var v struct {
		Image    string `json:"image"`
		Replicas int32  `json:"replicas"`
	}
	if err := json.Unmarshal(values.Raw, &v); err != nil {
		return nil, fmt.Errorf("decoding values: %w", err)
	}
	if v.Image == "unrenderable" {
		return nil, &render.ValuesError{Problems: []render.Problem{{Path: "values.image", Message: "want an image, found unrenderable"}}}
	}
	revision := revisionOf(v.Image)
	digest := sha256.Sum256(fmt.Appendf(nil, "%s %d %t", v.Image, v.Replicas, r.drift.Load()))
	name := in.Name + "-" + revision
	labels := map[string]any{
		v1alpha1.LabelRelease: in.Name, v1alpha1.LabelRevision: revision,
		v1alpha1.LabelTemplate: in.Template, v1alpha1.LabelManagedBy: v1alpha1.ManagedBy,
	}
	metadata := func(name string) map[string]any {
		return map[string]any{"name": name, "namespace": in.Namespace, "labels": maps.Clone(labels)}
	}
	selector := map[string]any{v1alpha1.LabelRelease: in.Name, v1alpha1.LabelRevision: revision}
	pod := map[string]any{"containers": []any{map[string]any{
		"name": "web", "image": v.Image, "args": []any{"serve"},
		"ports":     []any{map[string]any{"containerPort": int64(8080), "name": "http"}},
		"env":       []any{map[string]any{"name": "A", "value": "b"}},
		"resources": map[string]any{"requests": map[string]any{"cpu": "0.001", "memory": "1Mi"}},
	}}}
	if v.Image == "unschedulable" {
		pod["nodeSelector"] = map[string]any{"no": "such-node"}
	}
	most := resource.MustParse("0.05")
	interval := metav1.Duration{Duration: 100 * time.Millisecond}
	strategy := v1alpha1.Strategy{
		Type:             v1alpha1.StrategyCanary,
		DrainDelay:       metav1.Duration{Duration: 500 * time.Millisecond},
		ProgressDeadline: metav1.Duration{Duration: 5 * time.Second},
		Analysis: &v1alpha1.Analysis{
			Source: "none", Interval: interval, Window: interval,
			Metrics: []v1alpha1.Metric{{Name: "errors", Query: "1", Samples: "1", Threshold: &v1alpha1.ThresholdJudge{Max: &most}}},
		},
	}
	for _, weight := range []int32{5, 25, 50, 100} {
		strategy.Steps = append(strategy.Steps, v1alpha1.Step{SetWeight: &weight})
		if weight < 100 {
			strategy.Steps = append(strategy.Steps, v1alpha1.Step{Analyze: &v1alpha1.Analyze{}})
		}
	}
	return &render.Result{
		Revision: revision, Digest: "sha256:" + hex.EncodeToString(digest[:]), Replicas: v.Replicas, Strategy: strategy,
		Set: []*unstructured.Unstructured{
			{Object: map[string]any{
				"apiVersion": "apps/v1", "kind": "Deployment", "metadata": metadata(name),
				"spec": map[string]any{
					"replicas": int64(v.Replicas),
					"selector": map[string]any{"matchLabels": selector},
					"template": map[string]any{"metadata": map[string]any{"labels": selector}, "spec": pod},
				},
			}},
			{Object: map[string]any{
				"apiVersion": "v1", "kind": "Service", "metadata": metadata(name),
				"spec": map[string]any{
					"selector": selector,
					"ports":    []any{map[string]any{"port": int64(80), "targetPort": "http", "name": "http"}},
				},
			}},
			{Object: map[string]any{
				"apiVersion": "policy/v1", "kind": "PodDisruptionBudget", "metadata": metadata(name),
				"spec": map[string]any{"maxUnavailable": int64(1), "selector": map[string]any{"matchLabels": selector}},
			}},
		},
		Route: &unstructured.Unstructured{Object: map[string]any{
			"apiVersion": "gateway.networking.k8s.io/v1", "kind": "HTTPRoute", "metadata": metadata(in.Name),
			"spec": map[string]any{
				"hostnames":  []any{"shop.example"},
				"parentRefs": []any{map[string]any{"name": "edge"}},
				"rules": []any{map[string]any{
					"backendRefs": []any{map[string]any{"name": name, "port": int64(80)}},
				}},
			},
		}},
		Shared: []*unstructured.Unstructured{{Object: map[string]any{
			"apiVersion": "v1", "kind": "ConfigMap", "metadata": metadata(in.Name), "data": map[string]any{"a": "b"},
		}}},
	}, nil
}
