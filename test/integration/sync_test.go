package integration

import (
	"context"
	"encoding/json"
	"fmt"
	"math/rand/v2"
	"net/http"
	"slices"
	"strings"
	"sync"
	"testing"
	"time"

	corev1 "k8s.io/api/core/v1"
	metav1 "k8s.io/apimachinery/pkg/apis/meta/v1"
	"k8s.io/apimachinery/pkg/runtime"
	"k8s.io/client-go/rest"
	"sigs.k8s.io/controller-runtime/pkg/client"
	"sigs.k8s.io/controller-runtime/pkg/config"
	"sigs.k8s.io/controller-runtime/pkg/manager"
	"sigs.k8s.io/controller-runtime/pkg/metrics/server"

	"tidegate.io/tidegate/rollout/controller"
	"tidegate.io/tidegate/schemas/render"
	"tidegate.io/tidegate/schemas/v1alpha1"
)

// TestSync brings twelve Releases, and two that do not follow, from revision to revision of
// one template, on a real control plane. What comes later builds on what was before.
func TestSync(t *testing.T) {
	cluster := controlPlane(t)
	f := newFleet(t, cluster.RESTConfig())
	for _, step := range []struct {
		name string
		run  func(*fleet, *testing.T)
	}{
		{"a first revision serves all", (*fleet).first},
		{"a staged sync ends the same however often its manager is killed", (*fleet).killed},
		{"a paused and a broken Release keep nobody waiting", (*fleet).excused},
		{"a failure halts, a pause holds, a resume goes on", (*fleet).halted},
		{"a rollback brings all back at once", (*fleet).turnedBack},
		{"revisions that nothing uses go", (*fleet).retained},
		{"a sync at rest costs no writes", (*fleet).rests},
	} {
		ok := t.Run(step.name, func(t *testing.T) {
			f.t, f.world.t = t, t
			defer func() {
				if t.Failed() {
					f.tell()
				}
			}()
			step.run(f, t)
		})
		if !ok {
			return
		}
	}
}

// fleet is a template and the Releases that follow it.
type fleet struct {
	t     *testing.T
	world *world
	names []string
	// published is the number of the newest revision.
	published int64
}

// waveOf is the label that says which wave a Release is in.
const waveOf = "wave"

func newFleet(t *testing.T, admin *rest.Config) *fleet {
	t.Helper()
	admin = rest.CopyConfig(admin)
	admin.QPS = -1
	c, err := client.NewWithWatch(admin, client.Options{Scheme: testScheme(t)})
	if err != nil {
		t.Fatal(err)
	}
	w := &world{
		t: t, config: admin, client: c, namespace: "fleet", template: "web", measurer: &scriptedMeasurer{}, stop: func() {},
	}
	w.create(&corev1.Namespace{ObjectMeta: metav1.ObjectMeta{Name: w.namespace}})
	go w.gateway(t.Context())
	t.Cleanup(func() { w.kill() })
	f := &fleet{t: t, world: w}
	for wave, n := range map[string]int{"pilot": 2, "stage": 4, "prod": 6} {
		for i := range n {
			f.names = append(f.names, fmt.Sprintf("%s-%d", wave, i))
		}
	}
	slices.Sort(f.names)
	return f
}

// fleetRenderer renders what the template's file says, for each Release something else.
// Values name a word that they do not fit.
type fleetRenderer struct{ scriptedRenderer }

func (r *fleetRenderer) Render(ctx context.Context, revision *v1alpha1.TemplateRevision, values *runtime.RawExtension, in render.Context) (*render.Result, error) {
	var v struct {
		Unfit string `json:"unfit"`
	}
	if err := json.Unmarshal(values.Raw, &v); err != nil {
		return nil, fmt.Errorf("decoding values: %w", err)
	}
	word := revision.Spec.Files["a.cue"]
	if v.Unfit == word {
		return nil, &render.ValuesError{Problems: []render.Problem{{Path: "values.unfit", Message: "does not fit " + word}}}
	}
	raw := fmt.Appendf(nil, `{"image": %q, "replicas": 1}`, imageOf(word, in.Name))
	return r.scriptedRenderer.Render(ctx, revision, &runtime.RawExtension{Raw: raw}, in)
}

func imageOf(word, release string) string { return word + "-" + release }

// start runs a manager until kill; it dies at its n-th write, unless n is 0.
func (f *fleet) start(n int64, after bool) <-chan struct{} {
	f.t.Helper()
	line := &wire{fatal: n, after: after, dead: make(chan struct{})}
	f.world.wire = line
	cfg := rest.CopyConfig(f.world.config)
	cfg.Wrap(func(next http.RoundTripper) http.RoundTripper { return &wireTripper{wire: line, next: next} })
	brief, yes := 10*time.Millisecond, true
	mgr, err := manager.New(cfg, manager.Options{
		Scheme: testScheme(f.t), Logger: managerLog(f.world.namespace), Metrics: server.Options{BindAddress: "0"},
		GracefulShutdownTimeout: &brief, Controller: config.Controller{SkipNameValidation: &yes},
	})
	if err != nil {
		f.t.Fatal(err)
	}
	// Not the test's context: a cleanup stops the manager, after the test's own is over.
	ctx, cancel := context.WithCancel(context.WithoutCancel(f.t.Context()))
	opts := controller.Options{Renderer: &fleetRenderer{}, Measurer: f.world.measurer, SkipNameValidation: true}
	if err := controller.Setup(ctx, mgr, opts); err != nil {
		f.t.Fatal(err)
	}
	compile := func(context.Context, map[string]string) ([]byte, error) { return []byte(`{"type":"object"}`), nil }
	if err := controller.SetupTemplates(ctx, mgr, controller.TemplateOptions{Compile: compile, SkipNameValidation: true}); err != nil {
		f.t.Fatal(err)
	}
	done := make(chan struct{})
	go func() {
		defer close(done)
		_ = mgr.Start(ctx) // a killed manager complains about what it could not end
	}()
	f.world.stop = sync.OnceFunc(func() {
		line.cut.Store(true)
		cancel()
		<-done
	})
	return line.dead
}

// change edits the template.
func (f *fleet) change(edit func(*v1alpha1.ReleaseTemplate)) {
	f.t.Helper()
	f.world.await("the template is edited", func() bool {
		t := f.template()
		edit(t)
		return f.world.client.Update(f.t.Context(), t) == nil
	})
}

// publish makes the word the next revision.
func (f *fleet) publish(word string) {
	f.t.Helper()
	f.published++
	f.change(func(t *v1alpha1.ReleaseTemplate) { t.Spec.Files = map[string]string{"a.cue": word} })
}

func (f *fleet) template() *v1alpha1.ReleaseTemplate {
	f.t.Helper()
	t := &v1alpha1.ReleaseTemplate{ObjectMeta: metav1.ObjectMeta{Name: f.world.template}}
	f.world.get(t)
	return t
}

func (f *fleet) release(name string) *v1alpha1.Release {
	f.t.Helper()
	r := &v1alpha1.Release{ObjectMeta: metav1.ObjectMeta{Namespace: f.world.namespace, Name: name}}
	f.world.get(r)
	return r
}

// revision is the name of the n-th revision, without its digest.
func (f *fleet) revision(n int64) string { return fmt.Sprintf("%s-%d", f.world.template, n) }

// awaitSync waits until the sync to the newest revision, or a rollback from it, has the
// phase.
func (f *fleet) awaitSync(phase v1alpha1.SyncPhase) *v1alpha1.TemplateSyncStatus {
	f.t.Helper()
	var s *v1alpha1.TemplateSyncStatus
	f.world.await(fmt.Sprintf("the sync is %s", phase), func() bool {
		s = f.template().Status.Sync
		newest := f.revision(f.published)
		return s != nil && (brief(s.Target) == newest || brief(s.RolledBackFrom) == newest) && s.Phase == phase
	})
	return s
}

// wantOn checks that the Releases serve what the word of the n-th revision renders.
func (f *fleet) wantOn(n int64, word string, names ...string) {
	f.t.Helper()
	for _, name := range names {
		r := f.release(name)
		if r.Status.Phase != v1alpha1.ReleaseServing || brief(r.Status.TemplateRevision) != f.revision(n) || r.Status.StableRevision != revisionOf(imageOf(word, name)) {
			f.t.Errorf("%s is %s on %s with %s, want Serving on %s with %s", name, r.Status.Phase, r.Status.TemplateRevision,
				r.Status.StableRevision, f.revision(n), revisionOf(imageOf(word, name)))
		}
	}
}

// waits returns "name State" of the Releases that wait.
func waits(s *v1alpha1.TemplateSyncStatus) []string {
	var out []string
	for _, w := range s.Waiting {
		out = append(out, w.Name+" "+w.State)
	}
	return out
}

// order gives a command, and returns what became of it.
func (f *fleet) order(name string, action v1alpha1.TemplateAction, revision int64) string {
	f.t.Helper()
	c := &v1alpha1.TemplateCommand{
		ObjectMeta: metav1.ObjectMeta{Name: name},
		Spec:       v1alpha1.TemplateCommandSpec{Template: f.world.template, Action: action, Revision: revision, Reason: "test"},
	}
	f.world.create(c)
	f.world.await("command "+name+" is answered", func() bool {
		f.world.get(c)
		return c.Status.Outcome != ""
	})
	return string(c.Status.Outcome)
}

// others are the Releases that are not named.
func (f *fleet) others(names ...string) []string {
	return slices.DeleteFunc(slices.Clone(f.names), func(n string) bool { return slices.Contains(names, n) })
}

func (f *fleet) first(t *testing.T) {
	f.published = 1
	f.world.create(&v1alpha1.ReleaseTemplate{
		ObjectMeta: metav1.ObjectMeta{Name: f.world.template},
		Spec: v1alpha1.ReleaseTemplateSpec{
			Files:    map[string]string{"a.cue": "one"},
			Channels: []v1alpha1.TemplateChannel{{Name: "stable", Revision: 1}},
			Sync: v1alpha1.TemplateSync{Type: v1alpha1.SyncStaged, MaxConcurrent: 4, Waves: []v1alpha1.SyncWave{
				{Name: "pilot", Selector: &metav1.LabelSelector{MatchLabels: map[string]string{waveOf: "pilot"}}, Soak: metav1.Duration{Duration: time.Second}},
				{Name: "stage", Selector: &metav1.LabelSelector{MatchLabels: map[string]string{waveOf: "stage"}}},
			}},
		},
	})
	f.start(0, false)
	f.world.await("the first revision is published", func() bool { return f.template().Status.LatestRevision != "" })
	add := func(name string, template v1alpha1.TemplateReference, values string) {
		wave, _, _ := strings.Cut(name, "-")
		template.Name = f.world.template
		f.world.create(&v1alpha1.Release{
			ObjectMeta: metav1.ObjectMeta{Namespace: f.world.namespace, Name: name, Labels: map[string]string{waveOf: wave}},
			Spec:       v1alpha1.ReleaseSpec{Template: template, Values: &runtime.RawExtension{Raw: []byte(values)}},
		})
	}
	for _, name := range f.names {
		values := `{}`
		if name == "stage-1" {
			values = `{"unfit": "three"}`
		}
		add(name, v1alpha1.TemplateReference{}, values)
	}
	add("pinned", v1alpha1.TemplateReference{Revision: 1}, `{}`)
	add("channelled", v1alpha1.TemplateReference{Channel: "stable"}, `{}`)
	f.world.await("all serve", func() bool {
		var list v1alpha1.ReleaseList
		if err := f.world.client.List(t.Context(), &list, client.InNamespace(f.world.namespace)); err != nil {
			t.Fatal(err)
		}
		return !slices.ContainsFunc(list.Items, func(r v1alpha1.Release) bool { return r.Status.Phase != v1alpha1.ReleaseServing })
	})
	f.awaitSync(v1alpha1.SyncSynced)
	f.wantOn(1, "one", append(f.others(), "pinned", "channelled")...)
	f.world.await("everybody's assignment is recorded", func() bool {
		return !slices.ContainsFunc(f.names, func(n string) bool { return f.release(n).Status.Assigned == nil })
	})
}

func (f *fleet) killed(t *testing.T) {
	f.world.kill()
	const seed = 11
	random := rand.New(rand.NewPCG(seed, seed))
	f.publish("two")
	kills := 0
	for range 25 {
		dead := f.start(random.Int64N(12)+1, random.IntN(2) == 0)
		timer := time.NewTimer(2 * time.Second)
		select {
		case <-dead:
			kills++
		case <-timer.C:
		}
		timer.Stop()
		f.world.kill()
	}
	f.start(0, false)
	f.awaitSync(v1alpha1.SyncSynced)
	t.Logf("the manager was killed %d times (seed %d)", kills, seed)
	if kills < 10 {
		t.Errorf("the manager was killed %d times, too few to tell anything", kills)
	}
	f.wantOn(2, "two", f.others()...)
	f.wantOn(1, "one", "pinned", "channelled")
	// A wave begins when the one before has settled: no assignment is older than that.
	last := map[string]time.Time{}
	begun := map[string]time.Time{}
	for _, name := range f.names {
		wave, _, _ := strings.Cut(name, "-")
		at := f.release(name).Status.Assigned.At.Time
		if begun[wave].IsZero() || at.Before(begun[wave]) {
			begun[wave] = at
		}
		if ended := f.succeeded(name, f.revision(2)); ended.After(last[wave]) {
			last[wave] = ended
		}
	}
	if !begun["stage"].After(last["pilot"]) || !begun["prod"].After(last["stage"]) {
		t.Errorf("the waves began %v and the last Rollouts of each succeeded %v", begun, last)
	}
	for _, name := range append(f.others(), "pinned", "channelled") {
		want := 2
		if name == "pinned" || name == "channelled" {
			want = 1
		}
		if n := f.rollouts(name); n != want {
			t.Errorf("%s has %d Rollouts, want %d", name, n, want)
		}
	}
}

// succeeded is when the Rollout of the Release to the revision succeeded.
func (f *fleet) succeeded(name, revision string) time.Time {
	f.t.Helper()
	for _, r := range f.world.rollouts() {
		if r.Spec.Release != name || brief(r.Spec.TemplateRevision) != revision {
			continue
		}
		for _, h := range r.Status.History {
			if h.Phase == v1alpha1.RolloutSucceeded {
				return h.At.Time
			}
		}
	}
	f.t.Fatalf("%s has no Rollout to %s that succeeded", name, revision)
	return time.Time{}
}

func (f *fleet) rollouts(name string) (n int) {
	for _, r := range f.world.rollouts() {
		if r.Spec.Release == name {
			n++
		}
	}
	return n
}

func (f *fleet) excused(t *testing.T) {
	f.world.measurer.judge(func(revision string, _ int32) v1alpha1.Verdict {
		if revision == revisionOf(imageOf("three", "stage-2")) {
			return v1alpha1.VerdictInconclusive // until its team has paused it
		}
		return v1alpha1.VerdictPass
	})
	f.publish("three")
	f.world.await("stage-2 is under way", func() bool { return brief(f.release("stage-2").Status.TemplateRevision) == f.revision(3) })
	rollout := f.release("stage-2").Status.Rollout
	f.world.create(&v1alpha1.RolloutCommand{
		ObjectMeta: metav1.ObjectMeta{Namespace: f.world.namespace, Name: "hold"},
		Spec:       v1alpha1.RolloutCommandSpec{Rollout: rollout, Action: v1alpha1.CommandPause},
	})
	s := f.awaitSync(v1alpha1.SyncSynced)
	if got, want := waits(s), []string{"stage-2 Paused", "stage-1 Broken"}; !slices.Equal(got, want) {
		t.Errorf("those wait: %q, want %q", got, want)
	}
	f.wantOn(3, "three", f.others("stage-1", "stage-2")...)
	if r := f.release("stage-1"); r.Status.Phase != v1alpha1.ReleaseInvalid || r.Status.StableRevision != revisionOf(imageOf("two", "stage-1")) {
		t.Errorf("stage-1 is %s and serves %s", r.Status.Phase, r.Status.StableRevision)
	}
	f.world.measurer.judge(nil)
	f.world.create(&v1alpha1.RolloutCommand{
		ObjectMeta: metav1.ObjectMeta{Namespace: f.world.namespace, Name: "go"},
		Spec:       v1alpha1.RolloutCommandSpec{Rollout: rollout, Action: v1alpha1.CommandResume},
	})
	f.world.await("stage-2 has settled", func() bool {
		return slices.Equal(waits(f.template().Status.Sync), []string{"stage-1 Broken"})
	})
	f.wantOn(3, "three", "stage-2")
}

func (f *fleet) halted(t *testing.T) {
	f.world.measurer.judge(func(revision string, _ int32) v1alpha1.Verdict {
		if revision == revisionOf(imageOf("bad", "stage-0")) {
			return v1alpha1.VerdictFail
		}
		return v1alpha1.VerdictPass
	})
	f.publish("bad")
	s := f.awaitSync(v1alpha1.SyncHalted)
	if s.Wave != 2 || !strings.Contains(s.Message, f.world.namespace+"/stage-0") || waits(s)[0] != "stage-0 Failed" {
		t.Errorf("it is halted in wave %d, for %q; those wait: %q", s.Wave, s.Message, waits(s))
	}
	f.world.await("stage-0 serves on with what it had", func() bool {
		r := f.release("stage-0")
		return r.Status.Phase == v1alpha1.ReleaseAborted && r.Status.StableRevision == revisionOf(imageOf("three", "stage-0"))
	})
	prod := []string{"prod-0", "prod-1", "prod-2", "prod-3", "prod-4", "prod-5"}
	f.wantOn(3, "three", prod...)
	if got := f.order("stop", v1alpha1.TemplatePause, 0); got != string(v1alpha1.OutcomeApplied) {
		t.Errorf("the pause was %s", got)
	}
	f.awaitSync(v1alpha1.SyncPaused)
	// A resume ends the pause, and shows what there is; another one accepts it.
	f.order("on", v1alpha1.TemplateResume, 0)
	f.awaitSync(v1alpha1.SyncHalted)
	f.wantOn(3, "three", prod...)
	f.order("on-even-so", v1alpha1.TemplateResume, 0)
	s = f.awaitSync(v1alpha1.SyncSynced)
	if got := waits(s); !slices.Equal(got, []string{"stage-0 Failed"}) {
		t.Errorf("those wait: %q", got)
	}
	f.wantOn(4, "bad", f.others("stage-0")...)
	if got := f.order("on-for-nothing", v1alpha1.TemplateResume, 0); got != string(v1alpha1.OutcomeRefused) {
		t.Errorf("a resume of what goes on was %s", got)
	}
}

func (f *fleet) turnedBack(t *testing.T) {
	if got := f.order("back", v1alpha1.TemplateRollback, 2); got != string(v1alpha1.OutcomeApplied) {
		t.Fatalf("the rollback was %s", got)
	}
	s := f.awaitSync(v1alpha1.SyncSynced)
	if brief(s.Target) != f.revision(2) || brief(s.RolledBackFrom) != f.revision(4) || len(s.Waiting) > 0 {
		t.Errorf("the target is %s, turned away from %s; those wait: %q", s.Target, s.RolledBackFrom, waits(s))
	}
	f.wantOn(2, "two", f.others()...)
	f.wantOn(1, "one", "pinned", "channelled")
}

func (f *fleet) retained(t *testing.T) {
	zero := int32(0)
	f.order("hold-on", v1alpha1.TemplatePause, 0)
	f.change(func(t *v1alpha1.ReleaseTemplate) { t.Spec.RevisionHistoryLimit = &zero })
	for _, word := range []string{"five", "six", "seven"} {
		f.publish(word)
		f.awaitSync(v1alpha1.SyncPaused)
	}
	f.world.await("what nothing uses has gone", func() bool {
		var list v1alpha1.TemplateRevisionList
		if err := f.world.client.List(t.Context(), &list); err != nil {
			t.Fatal(err)
		}
		var names []string
		for _, r := range list.Items {
			names = append(names, brief(r.Name))
		}
		// The Rollouts that are kept refer to the first four.
		return slices.Equal(names, []string{"web-1", "web-2", "web-3", "web-4", "web-7"})
	})
	f.wantOn(2, "two", f.others()...)
}

func (f *fleet) rests(t *testing.T) {
	f.world.quiet(2 * time.Second)
	f.world.kill()
	f.start(0, false)
	if n := f.world.writesIn(5 * time.Second); n != 0 {
		t.Errorf("I5: %d writes at rest, want none: %v", n, f.world.wire.lines())
	}
}

// tell logs where a fleet stands whose test has failed.
func (f *fleet) tell() {
	ctx, cancel := context.WithTimeout(context.WithoutCancel(f.t.Context()), 5*time.Second)
	defer cancel()
	var template v1alpha1.ReleaseTemplate
	if err := f.world.client.Get(ctx, client.ObjectKey{Name: f.world.template}, &template); err == nil {
		f.t.Logf("the template says %+v", template.Status)
		if s := template.Status.Sync; s != nil {
			f.t.Logf("the sync says %+v", *s)
		}
	}
	var releases v1alpha1.ReleaseList
	if err := f.world.client.List(ctx, &releases); err == nil {
		for _, r := range releases.Items {
			f.t.Logf("%s: %s on %s (tried %s, assigned %+v): %s", r.Name, r.Status.Phase, r.Status.TemplateRevision, r.Status.Tried, r.Status.Assigned, r.Status.Message)
		}
	}
}
