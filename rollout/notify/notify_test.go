package notify

import (
	"context"
	"encoding/json"
	"fmt"
	"io"
	"net/http"
	"net/http/httptest"
	"os"
	"path/filepath"
	"slices"
	"strings"
	"sync"
	"sync/atomic"
	"testing"
	"testing/synctest"
	"time"

	"github.com/go-logr/logr"
	"github.com/go-logr/logr/funcr"
	"github.com/prometheus/client_golang/prometheus"
	"github.com/prometheus/client_golang/prometheus/testutil"
	corev1 "k8s.io/api/core/v1"
	metav1 "k8s.io/apimachinery/pkg/apis/meta/v1"
	"k8s.io/apimachinery/pkg/types"
	"k8s.io/utils/clock"
	"sigs.k8s.io/controller-runtime/pkg/client"
	"sigs.k8s.io/controller-runtime/pkg/client/fake"

	"tidegate.io/tidegate/rollout/notify/news"
	"tidegate.io/tidegate/rollout/notify/rules"
	"tidegate.io/tidegate/rollout/notify/send"
	"tidegate.io/tidegate/rollout/plan"
	"tidegate.io/tidegate/schemas/v1alpha1"
)

// world is a Notifier and what is around it.
type world struct {
	*Notifier
	file    string
	metrics *Metrics
	secrets client.Client

	mu   sync.Mutex
	logs []string
}

func newWorld(t *testing.T, text string, secrets ...client.Object) *world {
	t.Helper()
	w := &world{file: filepath.Join(t.TempDir(), "notifications.yaml"), metrics: NewMetrics(), secrets: fake.NewClientBuilder().WithObjects(secrets...).Build()}
	w.write(t, text)
	n, err := New(Options{
		File: w.file, Secrets: w.secrets, Namespace: "tidegate-system", Clock: clock.RealClock{}, Metrics: w.metrics,
		Log: funcr.New(func(prefix, args string) {
			w.mu.Lock()
			defer w.mu.Unlock()
			w.logs = append(w.logs, prefix+" "+args)
		}, funcr.Options{Verbosity: 1}),
	})
	if err != nil {
		t.Fatal(err)
	}
	w.Notifier = n
	return w
}

func (w *world) write(t *testing.T, text string) {
	t.Helper()
	if err := os.WriteFile(w.file, []byte(text), 0o600); err != nil {
		t.Fatal(err)
	}
}

// logged says whether a line of the log has all the parts.
func (w *world) logged(parts ...string) bool {
	w.mu.Lock()
	defer w.mu.Unlock()
	return slices.ContainsFunc(w.logs, func(line string) bool {
		return !slices.ContainsFunc(parts, func(p string) bool { return !strings.Contains(line, p) })
	})
}

// start runs the Notifier until the function returned is called.
func (w *world) start(t *testing.T) (stop func()) {
	t.Helper()
	ctx, cancel := context.WithCancel(t.Context())
	done := make(chan error, 1)
	go func() { done <- w.Start(ctx) }()
	return func() {
		cancel()
		if err := <-done; err != nil {
			t.Error(err)
		}
	}
}

// change is a Rollout that goes to a reason in a step.
func change(release, reason string, step int32) (*v1alpha1.RolloutStatus, *v1alpha1.Rollout) {
	return &v1alpha1.RolloutStatus{}, &v1alpha1.Rollout{
		ObjectMeta: metav1.ObjectMeta{Namespace: "shop", Name: release + "-1", UID: "uid"},
		Spec:       v1alpha1.RolloutSpec{Release: release, Revision: "0123456789"},
		Status:     v1alpha1.RolloutStatus{Phase: v1alpha1.RolloutProgressing, Reason: reason, Step: step},
	}
}

// wait tells that a Release waits for an approval, each time of another Rollout.
func (w *world) wait(release string) {
	before, rollout := change(release, plan.ReasonHoldApproval, 1)
	rollout.UID = types.UID("uid of " + release)
	w.Tell(before, rollout, map[string]string{"team": "payments"})
}

func (w *world) deliveries(sink, outcome string) float64 {
	return testutil.ToFloat64(w.metrics.deliveries.WithLabelValues(sink, outcome))
}

// scripted is a sender that does as it is told.
type scripted struct {
	mu   sync.Mutex
	sent []string
	do   func(ctx context.Context, attempt int) error
}

func (s *scripted) Send(ctx context.Context, e *news.Event, _ send.Secrets) error {
	s.mu.Lock()
	s.sent = append(s.sent, e.Release)
	attempt := len(s.sent)
	s.mu.Unlock()
	if s.do == nil {
		return nil
	}
	return s.do(ctx, attempt)
}

func (s *scripted) got() string {
	s.mu.Lock()
	defer s.mu.Unlock()
	return strings.Join(s.sent, " ")
}

// use puts a scripted sender in the place of a sink's.
func (w *world) use(sink string, s send.Sender) {
	old := w.sinks[sink].settings.Load()
	w.sinks[sink].settings.Store(newSettings(old.config, s, nil))
}

const two = `
secretName: s
sinks:
- {name: a, url: {key: a}, perMinute: 600}
- {name: b, url: {key: b}, perMinute: 600}
routes:
- sinks: [a, b]
`

func TestASinkThatHangsHoldsUpNobody(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		w := newWorld(t, two)
		hangs := &scripted{do: func(ctx context.Context, _ int) error { <-ctx.Done(); return &send.Error{What: "no answer"} }}
		takes := &scripted{}
		w.use("a", hangs)
		w.use("b", takes)
		stop := w.start(t)
		began := time.Now()
		for i := range 1000 {
			w.wait(fmt.Sprintf("r%d", i))
			if i%100 == 99 {
				// The rate of the sink that takes is 600 a minute.
				time.Sleep(10 * time.Second)
			}
		}
		if took := time.Since(began); took != 100*time.Second {
			t.Errorf("telling took %s of its own", took-100*time.Second)
		}
		synctest.Wait()
		if got := w.deliveries("b", outcomeDelivered); got != 1000 {
			t.Errorf("the other sink got %v of 1000", got)
		}
		if got := w.deliveries("a", outcomeDropped); got < 700 || got > 1000-maxQueue {
			t.Errorf("%v were dropped of 1000, with a queue of %d", got, maxQueue)
		}
		if len(w.sinks["a"].queue) != maxQueue || w.sinks["a"].queue[maxQueue-1].Release != "r999" {
			t.Errorf("the queue has %d, the newest must be the last", len(w.sinks["a"].queue))
		}
		began = time.Now()
		stop()
		if took := time.Since(began); took > stopGrace {
			t.Errorf("stopping took %s", took)
		}
	})
}

func TestAnAttemptThatFailsIsMadeAgain(t *testing.T) {
	no, never, slow := &send.Error{What: "no"}, &send.Error{What: "never", Final: true}, &send.Error{What: "slow", After: 40 * time.Second}
	for name, c := range map[string]struct {
		answers  []error
		attempts int
		took     time.Duration
		outcome  string
	}{
		"it is taken at once":                     {nil, 1, 0, outcomeDelivered},
		"it is taken in the end":                  {[]error{no, no}, 3, 3 * time.Second, outcomeDelivered},
		"it is never taken":                       {[]error{no, no, no, no, no, no}, 5, 15 * time.Second, outcomeFailed},
		"there is no sense in another attempt":    {[]error{never}, 1, 0, outcomeFailed},
		"the server asks for some time":           {[]error{slow}, 2, 40 * time.Second, outcomeDelivered},
		"an error of another kind is made again":  {[]error{io.EOF}, 2, time.Second, outcomeDelivered},
		"an end after some hope is still the end": {[]error{no, never}, 2, time.Second, outcomeFailed},
	} {
		t.Run(name, func(t *testing.T) {
			synctest.Test(t, func(t *testing.T) {
				w := newWorld(t, two)
				s := &scripted{do: func(_ context.Context, attempt int) error {
					if attempt <= len(c.answers) {
						return c.answers[attempt-1]
					}
					return nil
				}}
				w.use("a", s)
				w.use("b", &scripted{})
				var ended time.Time
				defer w.start(t)()
				began := time.Now()
				w.wait("cart")
				for ended.IsZero() {
					synctest.Wait()
					if w.deliveries("a", c.outcome) == 1 {
						ended = time.Now()
						break
					}
					time.Sleep(time.Second)
					if time.Since(began) > time.Hour {
						t.Fatal("it never ends")
					}
				}
				if got := len(strings.Fields(s.got())); got != c.attempts || ended.Sub(began) != c.took {
					t.Errorf("wanted %d attempts in %s, got %d in %s", c.attempts, c.took, got, ended.Sub(began))
				}
			})
		})
	}
}

func TestTheSameIsToldOnce(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		w := newWorld(t, two)
		s := &scripted{}
		w.use("a", s)
		w.use("b", &scripted{})
		defer w.start(t)()
		before, rollout := change("cart", plan.ReasonHoldNoData, 1)
		var all sync.WaitGroup
		for range 50 {
			all.Go(func() { w.Tell(before, rollout, nil) })
			all.Go(func() { w.TellStep(rollout, nil, 2, "half", "") })
		}
		all.Wait()
		synctest.Wait()
		if got := s.got(); got != "cart cart" {
			t.Errorf("it was told %q", got)
		}
		if got := testutil.ToFloat64(w.metrics.events.WithLabelValues(string(news.Held))); got != 1 {
			t.Errorf("%v events were counted", got)
		}
	})
}

func TestWhatIsToldGoesOutInOrderAndNotTooFast(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		w := newWorld(t, strings.ReplaceAll(two, "perMinute: 600", "perMinute: 60"))
		s := &scripted{}
		w.use("a", s)
		w.use("b", &scripted{})
		defer w.start(t)()
		var want []string
		for i := range 30 {
			w.wait(fmt.Sprintf("r%d", i))
			want = append(want, fmt.Sprintf("r%d", i))
		}
		synctest.Wait()
		if got := s.got(); got != strings.Join(want[:burst], " ") {
			t.Errorf("at once went %q", got)
		}
		time.Sleep(10*time.Second + time.Millisecond)
		synctest.Wait()
		if got := s.got(); got != strings.Join(want[:burst+10], " ") {
			t.Errorf("after 10s went %q", got)
		}
		time.Sleep(time.Minute)
		synctest.Wait()
		if got := s.got(); got != strings.Join(want, " ") {
			t.Errorf("in the end went %q", got)
		}
	})
}

func TestWhatWaitsIsDeliveredBeforeTheManagerEnds(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		w := newWorld(t, two)
		s := &scripted{do: func(context.Context, int) error { time.Sleep(100 * time.Millisecond); return nil }}
		w.use("a", s)
		w.use("b", &scripted{})
		stop := w.start(t)
		for i := range 30 {
			w.wait(fmt.Sprintf("r%d", i))
		}
		stop()
		if got := w.deliveries("a", outcomeDelivered); got != 30 {
			t.Errorf("%v of 30 were delivered", got)
		}
	})
}

func TestAFileThatBreaksLeavesTheOneBefore(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		w := newWorld(t, two)
		a, b := &scripted{}, &scripted{}
		w.use("a", a)
		w.use("b", b)
		defer w.start(t)()
		valid := func(want float64) {
			t.Helper()
			if got := testutil.ToFloat64(w.metrics.valid); got != want {
				t.Errorf("the file is valid: wanted %v, got %v", want, got)
			}
		}
		later := func() {
			time.Sleep(reloadInterval + time.Millisecond)
			synctest.Wait()
		}
		valid(1)

		w.write(t, strings.Replace(two, "sinks: [a, b]", "sinks: [moon]", 1))
		later()
		valid(0)
		if !w.logged("cannot be used", "names of sinks of this file", "moon") {
			t.Error("the log does not say what is wrong")
		}
		lines := len(w.logs)
		later()
		if len(w.logs) != lines {
			t.Error("the log says it again")
		}
		w.wait("broken")

		if err := os.Remove(w.file); err != nil {
			t.Fatal(err)
		}
		later()
		valid(0)
		w.wait("gone")

		w.write(t, strings.Replace(two, "sinks: [a, b]", "sinks: [a]", 1))
		later()
		valid(1)
		w.wait("mended")
		synctest.Wait()
		if a.got() != "broken gone mended" || b.got() != "broken gone" {
			t.Errorf("a got %q, b got %q", a.got(), b.got())
		}
		if got := testutil.ToFloat64(w.metrics.loads.WithLabelValues("refused")); got != 2 {
			t.Errorf("%v were refused", got)
		}
	})
}

func TestSinksComeAndGoWithTheFile(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		w := newWorld(t, two)
		// The second is under way when the sink goes, and the third waits.
		a := &scripted{do: func(context.Context, int) error { time.Sleep(7 * time.Second); return nil }}
		b := &scripted{}
		w.use("a", a)
		w.use("b", b)
		defer w.start(t)()
		w.wait("first")
		w.wait("second")
		w.wait("third")
		w.write(t, strings.Replace(strings.Replace(two, "sinks: [a, b]", "sinks: [b, c]", 1), "{name: a, url: {key: a}", "{name: c, url: {key: c}", 1))
		time.Sleep(reloadInterval + time.Millisecond)
		synctest.Wait()
		if w.sinks["a"] != nil || w.sinks["c"] == nil {
			t.Fatal("the sinks are not those of the file")
		}
		c := &scripted{}
		w.use("c", c)
		w.wait("fourth")
		time.Sleep(time.Minute)
		synctest.Wait()
		// b was not touched, and what waited for a was still delivered.
		if a.got() != "first second third" || b.got() != "first second third fourth" || c.got() != "fourth" {
			t.Errorf("a got %q, b got %q, c got %q", a.got(), b.got(), c.got())
		}
		names := labels(t, w.metrics.deliveries)
		if slices.Contains(names, "a") || !slices.Contains(names, "c") {
			t.Errorf("the metrics are of %v", names)
		}
	})
}

// labels are the values of the label sink.
func labels(t *testing.T, c prometheus.Collector) []string {
	t.Helper()
	registry := prometheus.NewPedanticRegistry()
	registry.MustRegister(c)
	families, err := registry.Gather()
	if err != nil {
		t.Fatal(err)
	}
	var names []string
	for _, f := range families {
		for _, m := range f.GetMetric() {
			for _, l := range m.GetLabel() {
				if l.GetName() == "sink" {
					names = append(names, l.GetValue())
				}
			}
		}
	}
	return names
}

func TestAFileThatIsBrokenFromTheBeginningTellsNobody(t *testing.T) {
	w := newWorld(t, "sinks: 7")
	if testutil.ToFloat64(w.metrics.valid) != 0 || !w.logged("cannot be used") {
		t.Error("it is not said")
	}
	w.wait("cart")
	if got := testutil.ToFloat64(w.metrics.unrouted); got != 1 {
		t.Errorf("%v events went nowhere", got)
	}
}

func TestASinkThatThereIsNotIsSaid(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		w := newWorld(t, two)
		a, b := &scripted{}, &scripted{}
		w.use("a", a)
		w.use("b", b)
		defer w.start(t)()
		_, rollout := change("cart", plan.ReasonStepBegun, 1)
		w.TellStep(rollout, nil, 1, "to one", "a")
		w.TellStep(rollout, nil, 2, "to the moon", "moon")
		synctest.Wait()
		if a.got() != "cart cart" || b.got() != "cart" || testutil.ToFloat64(w.metrics.unknown) != 1 || !w.logged("asks for a sink", "moon") {
			t.Errorf("a got %q, b got %q, %v unknown", a.got(), b.got(), testutil.ToFloat64(w.metrics.unknown))
		}
	})
}

func TestOnlySecretsThatAreForItAreRead(t *testing.T) {
	secret := func(name string, kind corev1.SecretType, data map[string][]byte) client.Object {
		return &corev1.Secret{ObjectMeta: metav1.ObjectMeta{Namespace: "tidegate-system", Name: name}, Type: kind, Data: data}
	}
	w := newWorld(t, two,
		secret("good", corev1.SecretTypeOpaque, map[string][]byte{"token": []byte("hunter2\n"), "empty": []byte("\n")}),
		secret("account", corev1.SecretTypeServiceAccountToken, map[string][]byte{"token": []byte("hunter2")}),
		secret("chart", "helm.sh/release.v1", map[string][]byte{"release": []byte("hunter2")}),
		&corev1.Secret{ObjectMeta: metav1.ObjectMeta{Namespace: "shop", Name: "elsewhere"}, Data: map[string][]byte{"token": []byte("hunter2")}})
	for name, c := range map[string]struct{ secret, key, value, want string }{
		"a key, without the end of its line": {"good", "token", "hunter2", ""},
		"a key that is empty":                {"good", "empty", "", "wanted the key empty in the Secret tidegate-system/good"},
		"a key that there is not":            {"good", "url", "", "wanted the key url in the Secret tidegate-system/good"},
		"a Secret that there is not":         {"none", "token", "", "there is no Secret tidegate-system/none; create it with the key token"},
		"a Secret of another namespace":      {"elsewhere", "token", "", "there is no Secret tidegate-system/elsewhere"},
		"the token of an account":            {"account", "token", "", "to be of type Opaque, found kubernetes.io/service-account-token"},
		"what Helm keeps":                    {"chart", "release", "", "to be of type Opaque, found helm.sh/release.v1"},
	} {
		t.Run(name, func(t *testing.T) {
			value, err := w.secretsOf(c.secret)(t.Context(), c.key)
			if value != c.value || (err == nil) != (c.want == "") || err != nil && (!strings.Contains(err.Error(), c.want) || strings.Contains(err.Error(), "hunter2")) {
				t.Errorf("got %q, %v", value, err)
			}
		})
	}
}

// From a change of a status to a message at a server, and no secret in any log.
func TestAnEventGoesAllTheWay(t *testing.T) {
	got := make(chan string, 10)
	var answer atomic.Int32
	answer.Store(http.StatusOK)
	slack := httptest.NewServer(http.HandlerFunc(func(rw http.ResponseWriter, r *http.Request) {
		body, _ := io.ReadAll(r.Body)
		var message struct{ Channel, Text string }
		_ = json.Unmarshal(body, &message)
		rw.WriteHeader(int(answer.Load()))
		fmt.Fprint(rw, `{"ok":true}`)
		got <- r.Header.Get("Authorization") + " " + message.Channel + " " + message.Text
	}))
	t.Cleanup(slack.Close)
	w := newWorld(t, fmt.Sprintf("secretName: s\nsinks:\n- {name: slack, retries: 0, slack: {tokenKey: token, channel: '#pay', apiURL: '%s'}}\nroutes:\n- {releases: {matchLabels: {team: payments}}, sinks: [slack]}\n", slack.URL),
		&corev1.Secret{ObjectMeta: metav1.ObjectMeta{Namespace: "tidegate-system", Name: "s"}, Data: map[string][]byte{"token": []byte("xoxb-hunter2")}})
	stop := w.start(t)
	w.wait("cart")
	if want := "Bearer xoxb-hunter2 #pay shop/cart waits for a person at step 1/0"; <-got != want {
		t.Errorf("wanted %q", want)
	}
	before, rollout := change("other", plan.ReasonHoldApproval, 1)
	w.Tell(before, rollout, map[string]string{"team": "shop"})

	// A token that was rotated counts at once, one that is refused is not repeated.
	var secret corev1.Secret
	if err := w.secrets.Get(t.Context(), client.ObjectKey{Namespace: "tidegate-system", Name: "s"}, &secret); err != nil {
		t.Fatal(err)
	}
	secret.Data["token"] = []byte("xoxb-hunter3")
	if err := w.secrets.Update(t.Context(), &secret); err != nil {
		t.Fatal(err)
	}
	answer.Store(http.StatusForbidden)
	w.wait("pay")
	if want := "Bearer xoxb-hunter3 #pay shop/pay waits for a person at step 1/0"; <-got != want {
		t.Errorf("wanted %q", want)
	}
	stop()
	if w.deliveries("slack", outcomeDelivered) != 1 || w.deliveries("slack", outcomeFailed) != 1 || len(got) != 0 {
		t.Errorf("%v were delivered, %v failed, %d more came", w.deliveries("slack", outcomeDelivered), w.deliveries("slack", outcomeFailed), len(got))
	}
	if !w.logged("could not be delivered", "the server answered 403") || w.logged("hunter") {
		t.Errorf("the log is %q", w.logs)
	}
}

func TestEverySinkOfAFileCanBeMade(t *testing.T) {
	f, err := rules.Parse([]byte(two))
	if err != nil {
		t.Fatal(err)
	}
	for i := range f.Sinks {
		if _, err := send.New(&f.Sinks[i], "", clock.RealClock{}); err != nil {
			t.Error(err)
		}
	}
	if err := (Options{Log: logr.Discard()}).Validate(); err == nil {
		t.Error("options without anything were taken")
	}
	if err := NewMetrics().Register(prometheus.NewPedanticRegistry()); err != nil {
		t.Error(err)
	}
}
