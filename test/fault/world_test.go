package fault

import (
	"context"
	"encoding/json"
	"fmt"
	"log/slog"
	"net/http"
	"os"
	"strings"
	"sync"
	"sync/atomic"
	"testing"
	"time"

	"github.com/go-logr/logr"
	appsv1 "k8s.io/api/apps/v1"
	batchv1 "k8s.io/api/batch/v1"
	corev1 "k8s.io/api/core/v1"
	discoveryv1 "k8s.io/api/discovery/v1"
	policyv1 "k8s.io/api/policy/v1"
	apierrors "k8s.io/apimachinery/pkg/api/errors"
	"k8s.io/apimachinery/pkg/api/meta"
	metav1 "k8s.io/apimachinery/pkg/apis/meta/v1"
	"k8s.io/apimachinery/pkg/labels"
	"k8s.io/apimachinery/pkg/runtime"
	"k8s.io/client-go/rest"
	"sigs.k8s.io/controller-runtime/pkg/cache"
	"sigs.k8s.io/controller-runtime/pkg/client"
	"sigs.k8s.io/controller-runtime/pkg/config"
	"sigs.k8s.io/controller-runtime/pkg/manager"
	"sigs.k8s.io/controller-runtime/pkg/metrics/server"
	gatewayv1 "sigs.k8s.io/gateway-api/apis/v1"

	"tidegate.io/tidegate/rollout/controller"
	"tidegate.io/tidegate/rollout/fence"
	"tidegate.io/tidegate/schemas/v1alpha1"
)

const (
	// release is the name of the one Release of a world.
	release = "cart"
	// within bounds every wait for a world, on a machine that is busy.
	within = 2 * time.Minute
	// settled is how long nothing is written by managers that have nothing to do. It is longer
	// than what words of a status may be put off by.
	settled = 6 * time.Second
	// paused is how long nothing is written before the disturbed part begins.
	paused = 1500 * time.Millisecond
)

// world is a namespace with a Release, and the managers that look after it.
type world struct {
	t         *testing.T
	lab       *lab
	play      *scenario
	namespace string
	clock     *skewed
	measurer  *measurer
	hooks     *hooks
	managers  []*running
}

// newWorld makes a namespace in which a scenario is played.
func newWorld(t *testing.T, l *lab, play *scenario) *world {
	t.Helper()
	w := &world{
		t: t, lab: l, play: play, namespace: fmt.Sprintf("w-%d", l.worlds.Add(1)),
		clock: &skewed{}, measurer: &measurer{judge: play.judge}, hooks: newHooks(),
	}
	must(t, l.client.Create(t.Context(), namespace(w.namespace)))
	t.Cleanup(w.killAll)
	return w
}

func (w *world) killAll() {
	for _, m := range w.managers {
		m.kill()
	}
}

// running is one manager.
type running struct {
	*wire
	kill func()
}

// start starts a manager.
func (w *world) start() *running {
	w.t.Helper()
	line := newWire(w.lab.wired)
	yes, brief := true, 10*time.Millisecond
	mgr, err := manager.New(&rest.Config{Host: w.lab.config.Host, Transport: line, QPS: -1}, manager.Options{
		Scheme: w.lab.scheme, Logger: w.log(), Metrics: server.Options{BindAddress: "0"},
		MapperProvider:          func(*rest.Config, *http.Client) (meta.RESTMapper, error) { return w.lab.mapper, nil },
		Cache:                   w.cached(),
		GracefulShutdownTimeout: &brief,
		Controller:              config.Controller{SkipNameValidation: &yes},
	})
	must(w.t, err)
	must(w.t, controller.Setup(w.t.Context(), mgr, controller.Options{
		Renderer: w.lab.renderer, Measurer: w.measurer, Hooks: w.hooks.of(), Clock: w.clock, SkipNameValidation: true,
	}))
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
	m := &running{wire: line, kill: sync.OnceFunc(func() {
		line.cut.Store(true)
		cancel()
		<-done
	})}
	w.managers = append(w.managers, m)
	return m
}

// cached is what the manager keeps of this namespace, as the product has it.
func (w *world) cached() cache.Options {
	own := cache.ByObject{
		Label:     labels.SelectorFromSet(labels.Set{v1alpha1.LabelManagedBy: v1alpha1.ManagedBy}),
		Transform: fence.KeepFields(v1alpha1.FieldManager),
	}
	listed := own
	listed.Transform = fence.KeepReady
	return cache.Options{
		DefaultNamespaces: map[string]cache.Config{w.namespace: {}},
		DefaultTransform:  cache.TransformStripManagedFields(),
		ByObject: map[client.Object]cache.ByObject{
			&appsv1.Deployment{}: own, &appsv1.StatefulSet{}: own, &appsv1.DaemonSet{}: own, &corev1.Service{}: own,
			&discoveryv1.EndpointSlice{}: listed,
			&corev1.ConfigMap{}:          own, &batchv1.CronJob{}: own, &batchv1.Job{}: own,
			&policyv1.PodDisruptionBudget{}: own, &gatewayv1.HTTPRoute{}: own, &gatewayv1.GRPCRoute{}: own,
		},
	}
}

// log is where managers log to: nowhere, unless FAULT_TEST_LOG is set.
func (w *world) log() logr.Logger {
	if os.Getenv("FAULT_TEST_LOG") == "" {
		return logr.Discard()
	}
	return logr.FromSlogHandler(slog.NewTextHandler(os.Stderr, nil)).WithValues("world", w.namespace)
}

// skewed is the real clock, set forward or back.
type skewed struct{ by atomic.Int64 }

// Now implements clock.PassiveClock.
func (c *skewed) Now() time.Time { return time.Now().Add(time.Duration(c.by.Load())) }

// Since implements clock.PassiveClock.
func (c *skewed) Since(t time.Time) time.Duration { return c.Now().Sub(t) }

// measurer gives the verdicts of the scenario.
type measurer struct {
	judge func(*v1alpha1.Rollout) v1alpha1.Verdict
	interrupted
}

// interrupted counts what is done, and does something else in the midst of one of them.
type interrupted struct {
	mu     sync.Mutex
	count  int
	at     int
	during func()
}

// set interrupts number at, counted from here on.
func (i *interrupted) set(at int, during func()) {
	i.mu.Lock()
	defer i.mu.Unlock()
	i.count, i.at, i.during = 0, at, during
}

func (i *interrupted) done() {
	i.mu.Lock()
	i.count++
	hit := i.count == i.at
	i.mu.Unlock()
	if hit {
		i.during()
	}
}

func (i *interrupted) counted() int {
	i.mu.Lock()
	defer i.mu.Unlock()
	return i.count
}

// Measure implements controller.Measurer.
func (m *measurer) Measure(_ context.Context, r *v1alpha1.Rollout, now time.Time) (v1alpha1.AnalysisRound, error) {
	m.done()
	verdict := v1alpha1.VerdictPass
	if m.judge != nil {
		verdict = m.judge(r)
	}
	return v1alpha1.AnalysisRound{
		Verdict: verdict, TakenAt: metav1.NewMicroTime(now.Truncate(time.Microsecond)), Step: r.Status.Step,
		Digest: r.Spec.Digest, Message: "a verdict of the test",
	}, nil
}

// apply makes the Release ask for an image with so many pods.
func (w *world) apply(image string, replicas int32) {
	values, err := json.Marshal(map[string]any{"image": image, "replicas": replicas})
	if err != nil {
		w.t.Error(err)
		return
	}
	want := v1alpha1.ReleaseSpec{Template: v1alpha1.TemplateReference{Name: w.play.name}, Values: &runtime.RawExtension{Raw: values}}
	w.persist("applying "+image, func(ctx context.Context) error {
		r := &v1alpha1.Release{ObjectMeta: metav1.ObjectMeta{Name: release, Namespace: w.namespace}}
		err := w.lab.client.Get(ctx, client.ObjectKeyFromObject(r), r)
		r.Spec = want
		if apierrors.IsNotFound(err) {
			return w.lab.client.Create(ctx, r)
		} else if err != nil {
			return err
		}
		return w.lab.client.Update(ctx, r)
	})
}

// command is what a person asks of a Rollout.
func (w *world) command(name, rollout string, action v1alpha1.CommandAction, step int32) {
	w.persist(name, func(ctx context.Context) error {
		return w.lab.client.Create(ctx, &v1alpha1.RolloutCommand{
			ObjectMeta: metav1.ObjectMeta{Name: name, Namespace: w.namespace},
			Spec:       v1alpha1.RolloutCommandSpec{Rollout: rollout, Action: action, Step: step, Reason: "the test"},
		})
	})
}

// persist does something until it succeeds.
func (w *world) persist(what string, do func(context.Context) error) {
	var err error
	if !await(w.t.Context(), 10*time.Second, func() bool { err = do(w.t.Context()); return err == nil }) && w.t.Context().Err() == nil {
		w.t.Errorf("%s: %v", what, err)
	}
}

// person does what the scenario says once the time has come for it.
func (w *world) person() {
	todo, told := append([]reaction(nil), w.play.react...), w.lab.journal.follow(w.t.Context(), w.namespace)
	go func() {
		for e := range told {
			for i := range todo {
				if !todo[i].done && !e.deleted && todo[i].when(e.object) {
					todo[i].done = true
					todo[i].do(w)
				}
			}
		}
	}()
}

// over says whether everything that was asked for has ended.
func (w *world) over() bool {
	r := last[*v1alpha1.Release](w.lab.journal, w.namespace, release)
	if r == nil || r.Status.ObservedGeneration != r.Generation {
		return false
	}
	for _, o := range w.lab.journal.now(w.namespace) {
		if rollout, ok := o.(*v1alpha1.Rollout); ok && !rollout.Status.Phase.Terminal() {
			return false
		}
	}
	return r.Status.Phase == v1alpha1.ReleaseServing || r.Status.Phase == v1alpha1.ReleaseAborted
}

// quiet waits until managers have written nothing for d, events included.
func (w *world) quiet(d time.Duration) bool {
	return w.stays(d, func() int {
		n := 0
		for _, m := range w.managers {
			n += m.written()
		}
		return n
	})
}

// stays waits until a number has not changed for d.
func (w *world) stays(d time.Duration, number func() int) bool {
	count, since := -1, time.Now()
	return await(w.t.Context(), within, func() bool {
		if n := number(); n != count {
			count, since = n, time.Now()
		}
		return time.Since(since) >= d
	})
}

// explain tells what was written, for a world that failed.
func (w *world) explain() string {
	var b strings.Builder
	for _, e := range w.lab.journal.of(w.namespace) {
		fmt.Fprintf(&b, "\n  %s", e)
		switch o := e.object.(type) {
		case *v1alpha1.Rollout:
			s := o.Status
			fmt.Fprintf(&b, ": %s step %d, weight %d of %d, %s %q", s.Phase, s.Step, s.Weight, s.ApprovedWeight, s.Reason, s.Message)
		case *v1alpha1.Release:
			fmt.Fprintf(&b, ": %s asked for, %s %q", imageOf(o.Spec.Values), o.Status.Phase, o.Status.Message)
		case *gatewayv1.HTTPRoute:
			fmt.Fprintf(&b, ": %v", weights(o))
		case *appsv1.Deployment:
			fmt.Fprintf(&b, ": %d wanted, %d available", *o.Spec.Replicas, o.Status.AvailableReplicas)
		}
	}
	for i, m := range w.managers {
		fmt.Fprintf(&b, "\n  manager %d hit %q and wrote %q", i+1, m.hit(), m.list(write))
	}
	return b.String()
}
