package hook_test

import (
	"context"
	"encoding/json"
	"fmt"
	"io"
	"net/http"
	"net/http/httptest"
	"slices"
	"strings"
	"sync"
	"sync/atomic"
	"testing"
	"time"

	"github.com/cloudevents/sdk-go/v2/event"
	"github.com/prometheus/client_golang/prometheus"
	"github.com/prometheus/client_golang/prometheus/testutil"
	"k8s.io/apimachinery/pkg/types"
	testingclock "k8s.io/utils/clock/testing"
	"sigs.k8s.io/controller-runtime/pkg/client"

	"tidegate.io/tidegate/rollout/hook"
	"tidegate.io/tidegate/rollout/plan"
	"tidegate.io/tidegate/schemas/v1alpha1"
)

// seen is what a server was sent.
type seen struct{ id, kind, body string }

// recording is a server that keeps what it was sent.
func (w *world) recording() (v1alpha1.Hook, func() []seen) {
	var mu sync.Mutex
	var all []seen
	s := w.serve(func(_ http.ResponseWriter, r *http.Request) {
		body, _ := io.ReadAll(r.Body)
		mu.Lock()
		defer mu.Unlock()
		all = append(all, seen{r.Header.Get("webhook-id"), r.Method + " " + r.Header.Get("Content-Type"), string(body)})
	})
	return trusted(s), func() []seen {
		mu.Lock()
		defer mu.Unlock()
		return slices.Clone(all)
	}
}

func TestMessage(t *testing.T) {
	t.Parallel()
	w := newWorld(t)
	h, sent := w.recording()
	rollback := plan.Call{Hook: "smoke", Event: v1alpha1.HookRollback, Step: 1, Falls: 2, Try: 3}
	w.ask(calling(h), check)
	w.ask(calling(h), plan.Call{Hook: "smoke", Step: 2, Try: 1})
	w.ask(calling(h, func(r *v1alpha1.Rollout) {
		r.Status.Phase = v1alpha1.RolloutAborting
		r.Status.AbortCause = &v1alpha1.Cause{Code: "TG-ANALYSIS-FAIL", Message: "errors 4 %"}
		r.Status.Checks = []v1alpha1.Check{pending(rollback)}
	}), rollback)
	const uid = "0b64c3f0-1111-4222-8333-944455556666"
	const head = `"namespace":"shop","release":"cart","rollout":"cart-7","uid":"` + uid + `","number":7,"revision":"bbbbbbbbbb",` +
		`"stableRevision":"aaaaaaaaaa","digest":"sha256:b2","templateRevision":"web-3-abc","hook":"smoke"`
	want := []struct{ id, kind, data string }{
		{uid + "-smoke-step-1-0-1", "io.tidegate.rollout.step", `{` + head + `,"event":"step","step":1,"steps":2,"weight":5,"call":"` + uid + `-smoke-step-1-0","try":1}`},
		{uid + "-smoke-check-2-0-1", "io.tidegate.rollout.check", `{` + head + `,"event":"check","step":2,"steps":2,"weight":100,"call":"` + uid + `-smoke-check-2-0","try":1}`},
		{uid + "-smoke-rollback-1-2-3", "io.tidegate.rollout.rollback", `{` + head + `,"event":"rollback","step":1,"steps":2,"weight":5,"call":"` + uid +
			`-smoke-rollback-1-2","try":3,"reason":"TG-ANALYSIS-FAIL","message":"errors 4 %"}`},
	}
	for i, got := range sent() {
		var e event.Event
		if err := json.Unmarshal([]byte(got.body), &e); err != nil || e.Validate() != nil {
			t.Fatalf("%v, %v: %s", err, e.Validate(), got.body)
		}
		if e.ID() != want[i].id || got.id != want[i].id || e.Type() != want[i].kind || string(e.Data()) != want[i].data {
			t.Errorf("wanted %+v\nfound %s %s %s", want[i], e.ID(), e.Type(), e.Data())
		}
		if e.SpecVersion() != "1.0" || e.Source() != "/namespaces/shop/releases/cart" || e.Subject() != "shop/cart" || e.DataContentType() != "application/json" {
			t.Errorf("found %s", e)
		}
		if got.kind != "POST application/cloudevents+json; charset=utf-8" {
			t.Errorf("found %s", got.kind)
		}
		if begun := e.Time(); i != 1 && !begun.Equal(at) {
			t.Errorf("wanted the time of the status, found %s", begun)
		}
	}
	if n := len(sent()); n != len(want) {
		t.Errorf("%d calls", n)
	}
}

// A manager that takes over makes the call that nobody has the answer of again, and the
// server can tell that it is the same.
func TestAnotherManagerCallsWithTheSameID(t *testing.T) {
	t.Parallel()
	first := newWorld(t)
	h, sent := first.recording()
	first.ask(calling(h), check)
	second := newWorld(t, func(o *hook.Options) { o.Secrets = first.secrets })
	if a := second.Answers(calling(h)); len(a) != 0 {
		t.Errorf("the second knows %+v", a)
	}
	second.ask(calling(h), check)
	got := sent()
	if len(got) != 2 || got[0] != got[1] {
		t.Errorf("the calls were %+v", got)
	}
}

func TestCallIsBegunOnce(t *testing.T) {
	t.Parallel()
	w := newWorld(t)
	h, sent := w.recording()
	w.ask(calling(h), check)
	if a := w.ask(calling(h), check); !a.Passed {
		t.Errorf("found %+v", a)
	}
	again := check
	again.Try = 2
	w.ask(calling(h), again)
	if n := len(sent()); n != 2 {
		t.Errorf("wanted one call for each try, found %d", n)
	}
}

func TestUnknownHookIsAnsweredAtOnce(t *testing.T) {
	t.Parallel()
	w := newWorld(t)
	if a := w.ask(calling(v1alpha1.Hook{}), plan.Call{Hook: "other", Try: 1}); !a.Final {
		t.Errorf("found %+v", a)
	}
}

// Nothing is called before this process leads, and what was asked for then is not lost.
func TestNobodyIsCalledBeforeStart(t *testing.T) {
	t.Parallel()
	w := newWorld(t)
	h, sent := w.recording()
	idle, err := hook.New(hook.Options{
		Secrets: w.secrets, Namespace: home, Clock: testingclock.NewFakeClock(at), Metrics: hook.NewMetrics(),
		Addresses: hook.Addresses{Allowed: loopback},
	})
	if err != nil {
		t.Fatal(err)
	}
	rollout := calling(h)
	idle.Call(rollout, check)
	w.ask(calling(h, func(r *v1alpha1.Rollout) { r.Name, r.UID = "other-1", "other" }), check)
	if n := len(sent()); n != 1 {
		t.Errorf("%d calls, wanted that of the other alone", n)
	}
	done := make(chan struct{})
	idle.OnAnswer(func(client.ObjectKey) { close(done) })
	ctx, stop := context.WithCancel(t.Context())
	ended := make(chan struct{})
	go func() { defer close(ended); _ = idle.Start(ctx) }()
	within(t, done)
	stop()
	within(t, ended)
	if a := idle.Answers(rollout); len(a) != 1 || !a[0].Passed {
		t.Errorf("found %+v", a)
	}
}

func within(t *testing.T, done <-chan struct{}) {
	t.Helper()
	select {
	case <-done:
	case <-time.After(limit):
		t.Fatal("nothing happened")
	}
}

// named is a Rollout of its own that calls a hook.
func named(i int, h v1alpha1.Hook) *v1alpha1.Rollout {
	return calling(h, func(r *v1alpha1.Rollout) {
		r.Name = fmt.Sprintf("many-%d", i)
		r.UID = types.UID(r.Name)
	})
}

func TestHooksThatHangHoldUpNobodyElse(t *testing.T) {
	t.Parallel()
	w := newWorld(t)
	var at, most atomic.Int32
	release := make(chan struct{})
	hung := w.serve(func(_ http.ResponseWriter, r *http.Request) {
		n := at.Add(1)
		defer at.Add(-1)
		for m := most.Load(); n > m && !most.CompareAndSwap(m, n); m = most.Load() {
		}
		select {
		case <-release:
		case <-r.Context().Done():
		}
	})
	answer := sync.OnceFunc(func() { close(release) })
	t.Cleanup(answer) // a server that is closed waits for its answers
	slow := trusted(hung)
	authorityOf := authority(hung)
	for i := range 300 {
		own := slow
		own.URL = fmt.Sprintf("%s/%d", hung.URL, i)
		w.Call(named(i, own), check)
	}
	h, _ := w.recording()
	for i := range 20 {
		if a := w.ask(named(1000+i, h), check); !a.Passed {
			t.Fatalf("found %+v", a)
		}
	}
	if n := most.Load(); n > 8 {
		t.Errorf("%d calls of one server at the same time", n)
	}
	if a := w.find(named(299, slow), check); a == nil || a.Done {
		t.Errorf("the last of those that wait: %+v", a)
	}
	// Each gets its turn.
	w.secret("ca", "Opaque", map[string]string{"ca.crt": authorityOf})
	answer()
	for range 300 {
		w.await()
	}
	if a := w.find(named(299, slow), check); a == nil || !a.Passed {
		t.Errorf("the last of those that waited: %+v", a)
	}
}

func TestCallsAreBoundedInAll(t *testing.T) {
	t.Parallel()
	numbers, registry := hook.NewMetrics(), prometheus.NewRegistry()
	if err := numbers.Register(registry); err != nil {
		t.Fatal(err)
	}
	w := newWorld(t, func(o *hook.Options) { o.Metrics = numbers })
	release := make(chan struct{})
	entered := make(chan struct{}, 1000)
	// Each server gets eight at most.
	servers := make([]*httptest.Server, 20)
	for i := range servers {
		servers[i] = w.serve(func(_ http.ResponseWriter, r *http.Request) {
			entered <- struct{}{}
			select {
			case <-release:
			case <-r.Context().Done():
			}
		})
	}
	wanted := func(busy, waiting float64) {
		t.Helper()
		text := fmt.Sprintf("# HELP tidegate_hook_calls Calls of hooks that are under way, and that wait for their turn, by state (busy, waiting).\n"+
			"# TYPE tidegate_hook_calls gauge\ntidegate_hook_calls{state=\"busy\"} %v\ntidegate_hook_calls{state=\"waiting\"} %v\n", busy, waiting)
		if err := testutil.GatherAndCompare(registry, strings.NewReader(text), "tidegate_hook_calls"); err != nil {
			t.Error(err)
		}
	}
	wanted(0, 0)
	w.warm()
	for i := range 160 {
		w.Call(named(i, trusted(servers[i%len(servers)])), check)
	}
	wanted(128, 32)
	for range 128 {
		within(t, entered)
	}
	// One that waits and is forgotten makes room for none, one that is under way for one.
	w.Forget(client.ObjectKeyFromObject(named(159, v1alpha1.Hook{})))
	wanted(128, 31)
	w.Forget(client.ObjectKeyFromObject(named(0, v1alpha1.Hook{})))
	within(t, entered)
	wanted(128, 30)
	close(release)
	for range 158 {
		w.await()
	}
	wanted(0, 0)
}

func TestSettle(t *testing.T) {
	t.Parallel()
	w := newWorld(t)
	entered := make(chan struct{}, 10)
	gone := make(chan struct{}, 10)
	s := w.serve(func(_ http.ResponseWriter, r *http.Request) {
		entered <- struct{}{}
		hang(r)
		gone <- struct{}{}
	})
	rollback := plan.Call{Hook: "smoke", Event: v1alpha1.HookRollback, Step: 1, Try: 1}
	rollout := calling(trusted(s))
	w.Call(rollout, check)
	within(t, entered)
	w.Settle(rollout)
	if len(w.Answers(rollout)) != 1 {
		t.Error("what is waited for was forgotten")
	}
	// It turns back: the step's call is ended, and that about the abort begins.
	rollout.Status.Phase = v1alpha1.RolloutAborting
	rollout.Status.Checks = append(rollout.Status.Checks, pending(rollback))
	w.Settle(rollout)
	within(t, gone)
	w.Call(rollout, rollback)
	within(t, entered)
	rollout.Status.Phase = v1alpha1.RolloutAborted
	w.Settle(rollout)
	if a := w.Answers(rollout); len(a) != 1 || a[0].Call != rollback {
		t.Errorf("found %+v", a)
	}
	// Its name is another's now.
	next := calling(trusted(s), func(r *v1alpha1.Rollout) { r.UID = "next" })
	if a := w.Answers(next); len(a) != 0 {
		t.Errorf("the next one of the name has %+v", a)
	}
	w.Forget(client.ObjectKeyFromObject(rollout))
	within(t, gone)
	if a := w.Answers(rollout); len(a) != 0 {
		t.Errorf("found %+v", a)
	}
	select {
	case key := <-w.answered:
		t.Errorf("told of an answer of %s that nobody waits for", key)
	default:
	}
}

func TestRetryAfter(t *testing.T) {
	t.Parallel()
	for name, c := range map[string]struct {
		header string
		status int
		waits  time.Duration
	}{
		"seconds":            {"30", 429, 30 * time.Second},
		"a date":             {at.Add(time.Minute).Format(http.TimeFormat), 503, time.Minute},
		"a day is too long":  {"86400", 429, 5 * time.Minute},
		"nothing":            {"", 429, 0},
		"a date in the past": {at.Add(-time.Minute).Format(http.TimeFormat), 503, 0},
		"nonsense":           {"soon", 503, 0},
		"a final refusal":    {"30", 403, 0},
		"a pass":             {"30", 200, 0},
	} {
		t.Run(name, func(t *testing.T) {
			t.Parallel()
			clock := testingclock.NewFakeClock(at)
			w := newWorld(t, func(o *hook.Options) { o.Clock = clock })
			s := w.serve(func(w http.ResponseWriter, _ *http.Request) {
				w.Header().Set("Retry-After", c.header)
				w.WriteHeader(c.status)
			})
			rollout := calling(trusted(s))
			w.Call(rollout, check)
			if c.waits > 0 {
				for !clock.HasWaiters() {
					if t.Context().Err() != nil {
						t.Fatal("nobody waits")
					}
					time.Sleep(time.Millisecond)
				}
				clock.Step(c.waits - time.Second)
				if a := w.find(rollout, check); a == nil || a.Done || len(w.answered) > 0 {
					t.Fatalf("found %+v", a)
				}
				clock.Step(time.Second)
			}
			w.await()
			if a := w.find(rollout, check); a == nil || !a.Done {
				t.Errorf("found %+v", a)
			}
		})
	}
}
