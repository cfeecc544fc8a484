package worker

import (
	"bytes"
	"context"
	"encoding/json"
	"errors"
	"fmt"
	"os"
	"path/filepath"
	"reflect"
	"strings"
	"sync"
	"testing"
	"time"

	"github.com/google/go-cmp/cmp"
	"github.com/prometheus/client_golang/prometheus"
	"github.com/prometheus/client_golang/prometheus/testutil"
	testingclock "k8s.io/utils/clock/testing"

	"tidegate.io/tidegate/schemas/render"
	"tidegate.io/tidegate/schemas/templates"
)

func mustRender(t testing.TB, p *Pool, s Source, values string, c render.Context) *render.Result {
	t.Helper()
	r, err := p.Render(t.Context(), s, []byte(values), c)
	if err != nil {
		t.Fatalf("rendering %s: %v", values, err)
	}
	return r
}

// bytesOf is a result in JSON.
func bytesOf(t testing.TB, r *render.Result) string {
	t.Helper()
	out, err := json.Marshal(r)
	if err != nil {
		t.Fatal(err)
	}
	return string(out)
}

const webValues = `{"image": "shop/cart:1", "replicas": 2, "env": {"B": "<2>", "A": "1\u2028"}, "resources": {"cpu": "100m", "memory": "64Mi"}}`

// The same values with the keys in another order.
const webShuffled = `{"resources": {"memory": "64Mi", "cpu": "100m"}, "env": {"A": "1\u2028", "B": "<2>"}, "replicas": 2, "image": "shop/cart:1"}`

func TestAWorkerRendersTheBytesThatThisProcessRenders(t *testing.T) {
	files, err := templates.Files("web")
	if err != nil {
		t.Fatal(err)
	}
	template, err := render.Compile(files)
	if err != nil {
		t.Fatal(err)
	}
	facts := render.Context{Name: "cart", Namespace: "shop", Template: "web"}
	here, err := template.Render([]byte(webValues), facts)
	if err != nil {
		t.Fatal(err)
	}
	p := newPool(t, Options{})
	for _, values := range []string{webValues, webShuffled} {
		there := mustRender(t, p, Source{Files: files}, values, facts)
		if there.Digest != here.Digest || there.Revision != here.Revision || bytesOf(t, there) != bytesOf(t, here) {
			t.Errorf("wanted the bytes of this process\n%s\nfound\n%s", bytesOf(t, here), bytesOf(t, there))
		}
	}
}

// A field of the result that does not cross the wire would be lost in the manager alone.
func TestEveryFieldOfAResultCrossesTheWire(t *testing.T) {
	files, err := templates.Files("web")
	if err != nil {
		t.Fatal(err)
	}
	template, err := render.Compile(files)
	if err != nil {
		t.Fatal(err)
	}
	want, err := template.Render([]byte(webValues), render.Context{Name: "cart", Namespace: "shop", Template: "web"})
	if err != nil {
		t.Fatal(err)
	}
	// What this template leaves empty is filled, so that nothing is the same by being nothing.
	fill(reflect.ValueOf(want).Elem())
	want.Shared = want.Set[:1]
	var sent reply
	sent.setResult(want)
	var pipe bytes.Buffer
	var got reply
	if err := errors.Join(writeFrame(&pipe, sent), readFrame(&pipe, &got)); err != nil {
		t.Fatal(err)
	}
	if diff := cmp.Diff(want, got.result()); diff != "" {
		t.Errorf("(-sent +received)\n%s", diff)
	}
}

// fill sets the fields of v that are zero and of a simple kind.
func fill(v reflect.Value) {
	for _, f := range v.Fields() {
		if !f.IsZero() {
			continue
		}
		switch f.Kind() { //nolint:exhaustive // the others are objects
		case reflect.String:
			f.SetString("x")
		case reflect.Bool:
			f.SetBool(true)
		case reflect.Int, reflect.Int32, reflect.Int64:
			f.SetInt(7)
		}
	}
}

func TestErrorsPassThroughUnchanged(t *testing.T) {
	p := newPool(t, Options{Workers: 1})
	good := plain(t, "")
	broken := plain(t, "objects: x: 1")
	for name, c := range map[string]struct {
		ask  func() error
		here func() error
	}{
		"values that are wrong": {
			func() error {
				_, err := p.Render(t.Context(), good, []byte(`{"replica": 1}`), release("a"))
				return err
			},
			func() error { return here(good, `{"replica": 1}`, release("a")) },
		},
		"a template that is wrong": {
			func() error {
				_, err := p.Render(t.Context(), broken, []byte(`{"image": "a"}`), release("a"))
				return err
			},
			func() error { return here(broken, `{"image": "a"}`, release("a")) },
		},
		"a name that cannot be": {
			func() error {
				_, err := p.Render(t.Context(), good, []byte(`{"image": "a"}`), release("A"))
				return err
			},
			func() error { return here(good, `{"image": "a"}`, release("A")) },
		},
		"no files": {
			func() error {
				_, err := p.Render(t.Context(), Source{}, []byte(`{"image": "a"}`), release("a"))
				return err
			},
			func() error { return here(Source{}, `{"image": "a"}`, release("a")) },
		},
		"a test of the template that fails": {
			func() error { _, err := p.Check(t.Context(), plain(t, "tests: a: values: {}").Files); return err },
			func() error {
				template, err := render.Compile(plain(t, "tests: a: values: {}").Files)
				if err != nil {
					return err
				}
				return template.Check()
			},
		},
		"a template to compile that is wrong": {
			func() error { return p.Compile(t.Context(), plain(t, "}")) },
			func() error { return here(plain(t, "}"), "", release("a")) },
		},
	} {
		t.Run(name, func(t *testing.T) {
			got, want := c.ask(), c.here()
			if got == nil || want == nil || got.Error() != want.Error() {
				t.Fatalf("wanted %v, found %v", want, got)
			}
			for _, as := range []func(error) bool{isA[*render.ValuesError], isA[*render.SourceError]} {
				if as(got) != as(want) {
					t.Errorf("wanted the type %T, found %T", want, got)
				}
			}
		})
	}
}

func isA[E error](err error) bool {
	var e E
	return errors.As(err, &e)
}

func here(s Source, values string, c render.Context) error {
	template, err := render.Compile(s.Files)
	if err != nil {
		return err
	}
	_, err = template.Render([]byte(values), c)
	return err
}

func TestCheckAnswersWithTheSchemaAndTheCost(t *testing.T) {
	s := plain(t, `tests: a: values: image: "a"`)
	checked, err := newPool(t, Options{Workers: 1}).Check(t.Context(), s.Files)
	if err != nil {
		t.Fatal(err)
	}
	template, err := render.Compile(s.Files)
	if err != nil {
		t.Fatal(err)
	}
	want, err := template.Schema()
	if err != nil {
		t.Fatal(err)
	}
	if string(checked.Schema) != string(want) || checked.Took <= 0 || checked.Allocated == 0 {
		t.Errorf("wanted the schema %s and a cost, found %s, %s, %d bytes", want, checked.Schema, checked.Took, checked.Allocated)
	}
}

func TestFilesAreSentOnceToEachWorker(t *testing.T) {
	p := newPool(t, Options{Workers: 1})
	s := plain(t, "")
	first := mustRender(t, p, s, `{"image": "a"}`, release("a"))
	// A worker that needed them now would find nothing in these.
	again := mustRender(t, p, Source{Digest: s.Digest, Files: map[string]string{"t.cue": "}"}}, `{"image": "a"}`, release("a"))
	if again.Digest != first.Digest {
		t.Errorf("wanted %s, found %s", first.Digest, again.Digest)
	}
}

func TestAWorkerThatForgotATemplateIsSentItAgain(t *testing.T) {
	p := newPool(t, Options{Workers: 1})
	s := plain(t, "")
	mustRender(t, p, s, `{"image": "a"}`, release("a"))
	for i := range render.CacheSize {
		if err := p.Compile(t.Context(), plain(t, fmt.Sprintf("_other: %d", i))); err != nil {
			t.Fatal(err)
		}
	}
	mustRender(t, p, s, `{"image": "a"}`, release("a"))
}

func TestFilesUnderTheDigestOfOthersAreRefused(t *testing.T) {
	p := newPool(t, Options{Workers: 1})
	one, other := plain(t, ""), plain(t, "_other: 1")
	_, err := p.Render(t.Context(), Source{Digest: one.Digest, Files: other.Files}, []byte(`{"image": "a"}`), release("a"))
	if err == nil || !strings.Contains(err.Error(), "wanted files of the digest "+one.Digest) {
		t.Fatalf("wanted a refusal, found %v", err)
	}
	if _, err := p.Render(t.Context(), one, []byte(`{"image": "a"}`), release("a")); err != nil {
		t.Errorf("the refused files took the place of the right ones: %v", err)
	}
}

func TestAWorkerKilledFromOutsideIsReplacedAndAskedOnceMore(t *testing.T) {
	once := t.TempDir()
	if err := os.WriteFile(filepath.Join(once, "second"), nil, 0o600); err != nil {
		t.Fatal(err)
	}
	p := newPool(t, Options{Workers: 1, Command: self(t, asMortal, once)})
	mustRender(t, p, plain(t, ""), `{"image": "a"}`, release("a"))

	p = newPool(t, Options{Workers: 1, Command: self(t, asMortal, t.TempDir())})
	_, err := p.Render(t.Context(), plain(t, ""), []byte(`{"image": "a"}`), release("a"))
	if !errors.Is(err, ErrKilled) || isA[*BombError](err) {
		t.Errorf("wanted two deaths to be the end of it, and nobody's fault, found %v", err)
	}
	mustRender(t, p, plain(t, ""), `{"image": "a"}`, release("a")) // not answered from memory
}

func TestGarbageFromAWorkerIsACrashAndNothingElse(t *testing.T) {
	for seed := range 8 {
		t.Run(fmt.Sprint(seed), func(t *testing.T) {
			t.Parallel()
			p := newPool(t, Options{Workers: 1, Command: self(t, asGarbage, fmt.Sprint(seed))})
			r, err := p.Render(t.Context(), plain(t, ""), []byte(`{"image": "a"}`), release("a"))
			var bomb *BombError
			if !errors.As(err, &bomb) || bomb.Cause != CauseCrash {
				t.Errorf("wanted a crash, found %v and %v", r, err)
			}
		})
	}
}

func TestAWorkerThatCannotBeStartedIsAnErrorThatMayPass(t *testing.T) {
	p := newPool(t, Options{Command: []string{filepath.Join(t.TempDir(), "none")}})
	_, err := p.Render(t.Context(), plain(t, ""), []byte(`{"image": "a"}`), release("a"))
	if err == nil || isA[*BombError](err) || !errors.Is(err, os.ErrNotExist) {
		t.Errorf("wanted an error of the system, found %v", err)
	}
}

func TestWorkersAreReplacedBetweenRequests(t *testing.T) {
	for name, c := range map[string]struct {
		o   Options
		why string
	}{
		"after so many requests": {Options{Workers: 1, MaxRequests: 3}, recycledRequests},
		"when they have grown":   {Options{Workers: 1, MaxIdle: 1}, recycledMemory},
	} {
		t.Run(name, func(t *testing.T) {
			if raceDetector && c.why == recycledMemory {
				t.Skip("the race detector takes its own memory")
			}
			c.o.Metrics = NewMetrics()
			p := newPool(t, c.o)
			for i := range 10 {
				mustRender(t, p, plain(t, ""), fmt.Sprintf(`{"image": "a:%d"}`, i), release("a"))
			}
			if n := testutil.ToFloat64(c.o.Metrics.recycled.WithLabelValues(c.why)); n < 3 {
				t.Errorf("wanted at least 3 workers to be replaced, found %v", n)
			}
			for _, cause := range []Cause{CauseCrash, CauseDeadline, CauseMemory} {
				if n := testutil.ToFloat64(c.o.Metrics.kills.WithLabelValues(string(cause))); n != 0 {
					t.Errorf("wanted no worker to die, found %v by %s", n, cause)
				}
			}
		})
	}
}

func TestWhoeverAskedAndWentIsNotWaitedFor(t *testing.T) {
	watch := testingclock.NewFakeClock(time.Unix(0, 0))
	p := newPool(t, Options{Workers: 1, Clock: watch})
	ctx, leave := context.WithCancel(t.Context())
	held := make(chan error, 1)
	go func() {
		_, err := p.Render(ctx, endless(t), []byte(`{"image": "a"}`), release("held"))
		held <- err
	}()
	until(t, func() bool { return p.queue.runs("Release shop/held") })
	waits := make(chan error, 1)
	go func() {
		_, err := p.Render(ctx, plain(t, ""), []byte(`{"image": "a"}`), release("waits"))
		waits <- err
	}()
	until(t, func() bool { return p.queue.len() == 1 })
	leave()
	for _, got := range []chan error{held, waits} {
		if err := <-got; !errors.Is(err, context.Canceled) {
			t.Errorf("wanted an end with the context, found %v", err)
		}
	}
	if n := p.queue.len(); n != 0 {
		t.Errorf("wanted nobody to wait, found %d", n)
	}
	// What runs goes on until its deadline, and is held against its owner then.
	until(t, watch.HasWaiters)
	watch.Step(time.Hour)
	mustRender(t, p, plain(t, ""), `{"image": "a"}`, release("next"))
	if _, err := p.Render(t.Context(), endless(t), []byte(`{"image": "a"}`), release("held")); err != nil && !isA[*BombError](err) {
		t.Errorf("wanted it to be remembered, found %v", err)
	}
	if _, err := p.Render(ctx, plain(t, ""), nil, release("late")); !errors.Is(err, context.Canceled) {
		t.Errorf("wanted nothing to be begun for somebody who has gone, found %v", err)
	}
}

func TestACloseEndsWhatRunsAndWhatWaits(t *testing.T) {
	p := newPool(t, Options{Workers: 1, Clock: testingclock.NewFakeClock(time.Unix(0, 0))})
	got := make(chan error, 2)
	go func() {
		_, err := p.Render(context.WithoutCancel(t.Context()), endless(t), []byte(`{"image": "a"}`), release("held"))
		got <- err
	}()
	until(t, func() bool { return p.queue.runs("Release shop/held") })
	go func() {
		_, err := p.Render(context.WithoutCancel(t.Context()), plain(t, ""), []byte(`{"image": "a"}`), release("waits"))
		got <- err
	}()
	until(t, func() bool { return p.queue.len() == 1 })
	p.Close()
	for range 2 {
		if err := <-got; !errors.Is(err, ErrClosed) {
			t.Errorf("wanted ErrClosed, found %v", err)
		}
	}
	if _, err := p.Render(t.Context(), plain(t, ""), nil, release("late")); !errors.Is(err, ErrClosed) {
		t.Errorf("wanted ErrClosed, found %v", err)
	}
	if n := testutil.ToFloat64(p.options.Metrics.workers); n != 0 {
		t.Errorf("wanted no worker to be left, found %v", n)
	}
}

func TestManyAtOnceAreAllServed(t *testing.T) {
	p := newPool(t, Options{MaxRequests: 20})
	s := plain(t, "")
	var all sync.WaitGroup
	for i := range 8 {
		all.Go(func() {
			for n := range 25 {
				name := fmt.Sprintf("r%d", (i+n)%5)
				r, err := p.Render(t.Context(), s, fmt.Appendf(nil, `{"image": "a:%d"}`, n), release(name))
				if err != nil || !strings.HasPrefix(r.Set[0].GetName(), name+"-") {
					t.Errorf("%s: %v", name, err)
				}
			}
		})
	}
	all.Wait()
}

func TestMetricsAreRegisteredOnce(t *testing.T) {
	registry := prometheus.NewPedanticRegistry()
	if err := NewMetrics().Register(registry); err != nil {
		t.Fatal(err)
	}
	if err := NewMetrics().Register(registry); err == nil {
		t.Error("wanted the second registration to be refused")
	}
	if problems, err := testutil.GatherAndLint(registry); err != nil || len(problems) > 0 {
		t.Errorf("%v, %v", problems, err)
	}
}

func TestOptionsThatCannotBeAreRefused(t *testing.T) {
	for name, o := range map[string]Options{
		"no command":         {},
		"fewer than no work": {Command: []string{"x"}, Workers: -1},
		"no time":            {Command: []string{"x"}, Timeout: -time.Second},
	} {
		if _, err := New(o); err == nil {
			t.Errorf("%s: wanted a refusal", name)
		}
	}
}

// until waits for what another goroutine is about to bring about.
func until(t *testing.T, what func() bool) {
	t.Helper()
	for range 60_000 {
		if what() {
			return
		}
		time.Sleep(time.Millisecond)
	}
	t.Fatal("it never came about")
}
