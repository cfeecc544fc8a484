package play_test

import (
	"context"
	"errors"
	"fmt"
	"io"
	"net/http"
	"net/http/httptest"
	"slices"
	"strings"
	"sync"
	"testing"
	"time"

	"k8s.io/apimachinery/pkg/apis/meta/v1/unstructured"

	"tidegate.io/tidegate/test/attack/internal/attempt"
	"tidegate.io/tidegate/test/attack/internal/play"
	"tidegate.io/tidegate/test/attack/internal/report"
	"tidegate.io/tidegate/test/attack/internal/world"
)

// fake is a world of one API server that answers as a test says.
type fake struct {
	server *httptest.Server
	// guards are what Restore says is other than it was.
	guards []string
	// metric rises with each look at it.
	metric float64
	// posted is what the webhook answers.
	posted string

	mu      sync.Mutex
	objects []unstructured.Unstructured
	// story is what was asked, in order.
	story []string
}

func newFake(t *testing.T, answer func(f *fake, w http.ResponseWriter, r *http.Request)) *fake {
	t.Helper()
	f := &fake{}
	f.server = httptest.NewServer(http.HandlerFunc(func(w http.ResponseWriter, r *http.Request) {
		f.tell(r.Method + " " + r.URL.Path)
		answer(f, w, r)
	}))
	t.Cleanup(f.server.Close)
	return f
}

func (f *fake) tell(what string) {
	f.mu.Lock()
	defer f.mu.Unlock()
	f.story = append(f.story, what)
}

func (f *fake) set(objects ...map[string]any) {
	f.mu.Lock()
	defer f.mu.Unlock()
	f.objects = nil
	for _, o := range objects {
		f.objects = append(f.objects, unstructured.Unstructured{Object: o})
	}
}

func (f *fake) Person(_ context.Context, i *attempt.Identity) (*world.Person, error) {
	return world.NewPerson(world.Describe(i), f.server.URL, f.server.Client()), nil
}

func (f *fake) ApplyAs(_ context.Context, _ *world.Person, o map[string]any) error {
	if o["kind"] == "Impossible" {
		return errors.New("it cannot be made")
	}
	return nil
}

func (f *fake) Serve(_ context.Context, _ string, r attempt.Release) (attempt.Vars, error) {
	if r.Template == "broken" {
		return nil, errors.New("it does not come into service")
	}
	return attempt.Vars{"release": "cart", "set": "cart-0"}, nil
}

func (f *fake) Find(_ context.Context, t attempt.Target, _ string) ([]unstructured.Unstructured, error) {
	f.mu.Lock()
	defer f.mu.Unlock()
	var out []unstructured.Unstructured
	for _, o := range f.objects {
		if t.Name == "" || o.GetName() == t.Name {
			out = append(out, *o.DeepCopy())
		}
	}
	return out, nil
}

func (f *fake) Live(context.Context, string) ([]byte, error) {
	return []byte(`{"spec": {"a": 1}}`), nil
}

func (f *fake) Resource(_, kind string) (string, bool, error) {
	return strings.ToLower(kind) + "s", true, nil
}
func (f *fake) Namespaced(string, string) bool { return true }
func (f *fake) WebhookURL() string             { return "https://localhost:1" }
func (f *fake) Post(ctx context.Context, _ *attempt.Review, body io.Reader, _ int64) (int, []byte, error) {
	if _, err := io.Copy(io.Discard, body); err != nil {
		return 0, nil, err
	}
	if f.posted == "" {
		<-ctx.Done()
		return 0, nil, ctx.Err()
	}
	return http.StatusOK, []byte(f.posted), nil
}

func (f *fake) Metric(context.Context, string, map[string]string) (float64, error) {
	f.metric++
	return f.metric, nil
}
func (f *fake) ManagerReady(context.Context) bool                   { return true }
func (f *fake) ManagerMemory() (int64, error)                       { return 100 << 20, nil }
func (f *fake) StopManager(context.Context) error                   { f.tell("stop"); return nil }
func (f *fake) RestingGuards(context.Context) (world.Guards, error) { return world.Guards{}, nil }
func (f *fake) Restore(context.Context, world.Guards) ([]string, error) {
	return f.guards, nil
}

// status is a failure as the API server words it.
func status(code int, message string) func(*fake, http.ResponseWriter, *http.Request) {
	return func(_ *fake, w http.ResponseWriter, _ *http.Request) {
		w.Header().Set("Content-Type", "application/json")
		w.WriteHeader(code)
		_, _ = fmt.Fprintf(w, `{"kind": "Status", "apiVersion": "v1", "message": %q, "code": %d}`, message, code)
	}
}

const (
	byWebhook = `admission webhook "kinds.gates.tidegate.io" denied the request: TG-GATE-BYPASS: deployments "side" is governed; do: create a Release (policy managed-flow)`
	byRing1   = `deployments "side" is forbidden: ValidatingAdmissionPolicy 'tidegate-gate-production' with binding 'tidegate-gate-production' denied request: TG-GATE-POD: pods`
	byActor   = `rolloutcommands "x" is forbidden: policy 'tidegate-actor' with binding 'tidegate-actor' denied request: no`
	byOther   = `admission webhook "validate.example.com" denied the request: no`
)

func parse(t *testing.T, text string) *attempt.Attempt {
	t.Helper()
	a, err := attempt.Parse("x.yaml", []byte("about: x.\n"+text))
	if err != nil {
		t.Fatal(err)
	}
	a.ID = "x"
	return a
}

const create = "kind: attempt\nrequest: {verb: create, body: {apiVersion: v1, kind: Pod, metadata: {name: bare}}}\n"

// TestExpectations has what is expected and what is found; what differs is red, always.
func TestExpectations(t *testing.T) {
	ok := status(http.StatusCreated, "")
	for sentence, tc := range map[string]struct {
		expect string
		answer func(*fake, http.ResponseWriter, *http.Request)
		// red is in the problems; empty: it passes.
		red string
	}{
		"denied, and it is":                         {"{result: denied}", status(403, byWebhook), ""},
		"denied by the first ring, and it is":       {"{result: denied, code: TG-GATE-POD, policy: tidegate-gate-production}", status(422, byRing1), ""},
		"denied by a mutating policy, and it is":    {"{result: denied, policy: tidegate-actor}", status(403, byActor), ""},
		"denied, and it is allowed":                 {"{result: denied}", ok, "wanted denied, found allowed"},
		"denied, and RBAC refused":                  {"{result: denied}", status(403, `pods is forbidden: User "eve" cannot create`), "wanted denied, found rejected"},
		"denied, and another webhook refused":       {"{result: denied}", status(403, byOther), "wanted denied, found rejected"},
		"denied, and the webhook was not reached":   {"{result: denied}", status(500, `failed calling webhook "kinds.gates.tidegate.io"`), "wanted denied, found rejected"},
		"allowed, and it is denied":                 {"{result: allowed}", status(403, byWebhook), "wanted allowed, found denied"},
		"rejected, and it is allowed":               {"{result: rejected}", ok, "wanted rejected, found allowed"},
		"rejected with a status, and it is another": {"{result: rejected, status: 404}", status(409, "conflict"), "wanted status [404], found 409"},
		"one of two, and it is the other":           {"{result: [denied, rejected]}", status(404, "not found"), ""},
		"one of two, and it is neither":             {"{result: [denied, rejected]}", ok, "wanted denied or rejected, found allowed"},
		"a code, and it is another":                 {"{result: denied, code: TG-GATE-POD}", status(403, byWebhook), `wanted code TG-GATE-POD, found "TG-GATE-BYPASS"`},
		"one of two codes":                          {"{result: denied, code: [TG-GATE-POD, TG-GATE-BYPASS]}", status(403, byWebhook), ""},
		"a code counts for denials alone":           {"{result: [denied, rejected], code: TG-GATE-POD}", status(404, "not found"), ""},
		"a policy in the message":                   {"{result: denied, policy: managed-flow}", status(403, byWebhook), ""},
		"a policy, and it is another":               {"{result: denied, policy: image-registries}", status(403, byWebhook), "wanted policy image-registries"},
		"a message, and it says something else":     {"{result: denied, message: abort}", status(403, byWebhook), `wanted a message that matches "abort"`},
		"a message that must not be, and is":        {"{result: denied, not: governed}", status(403, byWebhook), "wanted no message"},
		"a warning, and there is none":              {"{result: allowed, warning: careful}", ok, "wanted a warning"},
		"a field of the answer, and it is another":  {"{result: allowed, field: {path: .code, equals: 200}}", ok, "wanted .code to be 200, found 201"},
		"admitted, and the node does not answer":    {"{result: admitted}", status(502, "dial tcp"), ""},
		"admitted, and it is denied":                {"{result: admitted}", status(403, byRing1), "wanted admitted, found denied"},
		"admitted, and RBAC refused":                {"{result: admitted}", status(403, "forbidden"), "wanted admitted, found rejected"},
		"admitted, and the webhook was not reached": {"{result: admitted}", status(500, `failed calling webhook "x"`), "wanted admitted"},
		"admitted, and another webhook refused":     {"{result: admitted}", status(400, byOther), "wanted admitted"},
	} {
		t.Run(sentence, func(t *testing.T) {
			red(t, newFake(t, tc.answer), create+"expect: "+tc.expect+"\n", tc.red)
		})
	}
}

// red plays a file and wants it to pass, or to fail with a problem.
func red(t *testing.T, f *fake, text, want string) {
	t.Helper()
	o := one(t, f, text)
	if o.Err != nil {
		t.Fatalf("it could not be carried out: %v", o.Err)
	}
	all := strings.Join(o.Problems, "\n")
	switch code := report.Code([]play.Outcome{o}); {
	case want == "" && (!o.Pass() || code != report.AllAsExpected):
		t.Errorf("wanted a pass, found exit code %d: %s", code, all)
	case want != "" && (o.Pass() || code != report.NotAsExpected || !strings.Contains(all, want)):
		t.Errorf("wanted it red with %q, found exit code %d: %s", want, code, all)
	}
}

func one(t *testing.T, f *fake, text string) play.Outcome {
	t.Helper()
	out, err := play.Play(t.Context(), f, []*attempt.Attempt{parse(t, text)}, play.Options{Parallel: 1})
	if err != nil {
		t.Fatal(err)
	}
	return out[0]
}

func object(name string, replicas int64) map[string]any {
	return map[string]any{
		"apiVersion": "v1", "kind": "Pod", "metadata": map[string]any{"name": name, "resourceVersion": "1"},
		"spec": map[string]any{"replicas": replicas, "list": []any{"a"}}, "status": map[string]any{"seen": replicas},
	}
}

// TestTheWorldAfterwards has checks of the world, with a request that was denied as it should.
func TestTheWorldAfterwards(t *testing.T) {
	before := []map[string]any{object("a", 1)}
	for sentence, tc := range map[string]struct {
		check string
		after []map[string]any
		red   string
	}{
		"it is there":                         {"exists: true", before, ""},
		"it should be there and is gone":      {"exists: true", nil, "to be there"},
		"it should be gone and is there":      {"exists: false", before, "to be absent"},
		"it is unchanged":                     {"unchanged: true", before, ""},
		"it should be unchanged and is not":   {"unchanged: true", []map[string]any{object("a", 2)}, "found another spec"},
		"it should be unchanged and is gone":  {"unchanged: true", nil, `is gone`},
		"a field is as it should be":          {"field: {path: .spec.replicas, equals: 1}", before, ""},
		"a field is another":                  {"field: {path: .spec.replicas, equals: 1}", []map[string]any{object("a", 2)}, "wanted .spec.replicas to be 1, found 2"},
		"a field should be other":             {"field: {path: .spec.replicas, notEquals: 1}", before, "to be other than 1"},
		"a field is not there":                {"field: {path: .spec.nothing, equals: 1}", before, "found nothing"},
		"a field is there and should not":     {"field: {path: .spec.replicas, absent: true}", before, "wanted no .spec.replicas"},
		"a field of a list that is too short": {"field: {path: '.spec.list[3]', absent: true}", before, ""},
		"a field that does not match":         {"field: {path: '.spec.list[0]', matches: ^b}", before, "to match"},
		"a number that is too small":          {"field: {path: .spec.replicas, atLeast: 2}", before, "from 2 to any, found 1"},
		"a number that is too large":          {"field: {path: .spec.replicas, atMost: 0}", before, "from any to 0, found 1"},
		"a field of what is not there":        {"field: {path: .spec.replicas, equals: 1}", nil, "found none"},
		"as many as there should be":          {"count: 1", before, ""},
		"more than there should be":           {"count: 0", before, "wanted 0"},
		"what is waited for never comes":      {"exists: false, within: 300ms", before, "after 300ms"},
	} {
		t.Run(sentence, func(t *testing.T) {
			f := newFake(t, func(f *fake, w http.ResponseWriter, r *http.Request) {
				f.set(tc.after...)
				status(http.StatusForbidden, byWebhook)(f, w, r)
			})
			f.set(before...)
			red(t, f, create+"expect: {result: denied}\nafterwards:\n- {object: {apiVersion: v1, resource: pods, name: a}, "+tc.check+"}\n", tc.red)
		})
	}
	t.Run("what was to stay unchanged and never was there is an error", func(t *testing.T) {
		f := newFake(t, status(http.StatusForbidden, byWebhook))
		o := one(t, f, create+"expect: {result: denied}\nafterwards:\n- {object: {apiVersion: v1, resource: pods, name: a}, unchanged: true}\n")
		if o.Err == nil || o.Pass() {
			t.Errorf("found %+v", o)
		}
	})
	t.Run("a metric that does not rise enough is red", func(t *testing.T) {
		f := newFake(t, status(http.StatusForbidden, byWebhook))
		red(t, f, create+"expect: {result: denied}\nmetrics: [{name: x, rises: 1}]\n", "")
		red(t, f, create+"expect: {result: denied}\nmetrics: [{name: x, rises: 2}]\n", "wanted a rise of 2, found 1")
	})
	t.Run("a manager that takes too much is red", func(t *testing.T) {
		f := newFake(t, status(http.StatusForbidden, byWebhook))
		red(t, f, create+"expect: {result: denied}\nafterwards: [{manager: {ready: true, memoryBelow: 200}}]\n", "")
		red(t, f, create+"expect: {result: denied}\nafterwards: [{manager: {ready: true, memoryBelow: 100}}]\n", "wanted less than 100 MiB")
		red(t, f, create+"expect: {result: denied}\nafterwards: [{manager: {ready: false}}]\n", "wanted ready false")
	})
}

// TestErrorsArePassesNever has everything that keeps an attempt from being carried out.
func TestErrorsArePassesNever(t *testing.T) {
	denied := status(http.StatusForbidden, byWebhook)
	hangs := func(_ *fake, _ http.ResponseWriter, r *http.Request) {
		// That the client is gone is seen only when its body was read.
		_, _ = io.Copy(io.Discard, r.Body)
		<-r.Context().Done()
	}
	for sentence, tc := range map[string]struct {
		text   string
		answer func(*fake, http.ResponseWriter, *http.Request)
		want   string
	}{
		"an object of setup cannot be made":       {create + "setup: [{apply: {apiVersion: v1, kind: Impossible, metadata: {name: x}}}]\n", denied, "setup: step 1: it cannot be made"},
		"a request of setup is refused":           {create + "setup: [{request: {verb: get, apiVersion: v1, resource: pods, name: a}}]\n", denied, "setup: step 1: get pods: wanted allowed, found denied"},
		"a Release does not come into service":    {create + "release: {template: broken}\n", denied, "it does not come into service"},
		"what setup waits for does not come":      {create + "setup: [{wait: {object: {apiVersion: v1, resource: pods, name: a}, exists: true, within: 300ms}}]\n", denied, "to be there"},
		"what setup captures is not there":        {create + "setup: [{capture: {var: a, object: {apiVersion: v1, resource: pods, name: a}, field: .a, within: 300ms}}]\n", denied, "capturing a: no such object"},
		"the server never answers":                {create + "timeout: 400ms\n", hangs, "it took longer than 400ms"},
		"setup never ends":                        {create + "timeout: 400ms\nsetup: [{request: {verb: get, apiVersion: v1, resource: pods, name: a}}]\n", hangs, "setup: step 1"},
		"an edit that does not fit what is there": {"kind: attempt\nrequest: {verb: update, apiVersion: v1, resource: pods, name: a, edit: [{op: remove, path: /nothing}]}\n", denied, "edit"},
	} {
		t.Run(sentence, func(t *testing.T) {
			o := one(t, newFake(t, tc.answer), tc.text+"expect: {result: denied}\n")
			if o.Pass() || o.Err == nil || !strings.Contains(o.Err.Error(), tc.want) {
				t.Errorf("wanted an error with %q, found: %v", tc.want, o.Err)
			}
			if code := report.Code([]play.Outcome{o}); code != report.CouldNotRun {
				t.Errorf("wanted exit code %d, found %d", report.CouldNotRun, code)
			}
		})
	}
}

func TestReviews(t *testing.T) {
	verdict := func(allowed bool, message string) string {
		return fmt.Sprintf(`{"apiVersion": "admission.k8s.io/v1", "kind": "AdmissionReview", "response": {"uid": "1", "allowed": %v, "status": {"code": 403, "message": %q}}}`, allowed, message)
	}
	for sentence, tc := range map[string]struct {
		posted, expect, red string
	}{
		"denied, and it is":                {verdict(false, "TG-REQUEST-MALFORMED: x"), "{result: denied, code: TG-REQUEST-MALFORMED, status: 403}", ""},
		"denied, and it is allowed":        {verdict(true, ""), "{result: [denied, rejected]}", "found allowed"},
		"allowed, and it is denied":        {verdict(false, "no"), "{result: allowed}", "found denied"},
		"no verdict is no consent":         {"ok", "{result: rejected}", ""},
		"a connection that is held is red": {"", "{result: [denied, rejected, allowed]}", "found unanswered"},
	} {
		t.Run(sentence, func(t *testing.T) {
			f := newFake(t, status(200, ""))
			f.posted = tc.posted
			red(t, f, "kind: attempt\ntimeout: 500ms\nreview: {path: /gate, body: {a: b}}\nexpect: "+tc.expect+"\n", tc.red)
		})
	}
	t.Run("a slow body is sent to its end", func(t *testing.T) {
		f := newFake(t, status(200, ""))
		f.posted = verdict(false, "no")
		red(t, f, "kind: attempt\nreview: {path: /gate, body: abc, slow: {every: 5ms}}\nexpect: {result: denied}\n", "")
	})
}

// TestOrder has three attempts; what plays alone comes later, what needs the manager
// stopped comes last, and its setup before.
func TestOrder(t *testing.T) {
	f := newFake(t, func(f *fake, w http.ResponseWriter, r *http.Request) {
		code := http.StatusForbidden
		if r.Method == http.MethodGet {
			code = http.StatusOK
		}
		status(code, byWebhook)(f, w, r)
	})
	file := func(name, more string) *attempt.Attempt {
		return parse(t, "kind: attempt\nrequest: {method: POST, path: /"+name+"}\nexpect: {result: denied}\nsetup: [{request: {method: GET, path: /setup-"+name+"}}]\n"+more)
	}
	all := []*attempt.Attempt{file("stopped", "manager: stopped\n"), file("alone", "alone: true\n"), file("shared", "")}
	told := 0
	out, err := play.Play(t.Context(), f, all, play.Options{Parallel: 3, Done: func(play.Outcome) { told++ }})
	if err != nil {
		t.Fatal(err)
	}
	for i, o := range out {
		if o.Attempt != all[i] || !o.Pass() {
			t.Errorf("outcome %d: %+v", i, o)
		}
	}
	at := func(what string) int { return slices.Index(f.story, what) }
	if told != 3 || at("GET /setup-stopped") > at("POST /alone") || at("POST /shared") > at("POST /alone") ||
		at("POST /alone") > at("stop") || at("stop") > at("POST /stopped") || at("stop") < 0 {
		t.Errorf("told of %d, in the order %q", told, f.story)
	}
	f.story = nil
	if _, err := play.Play(t.Context(), f, all[1:], play.Options{}); err != nil || slices.Contains(f.story, "stop") {
		t.Errorf("the manager is stopped for those alone that ask for it, found %q, %v", f.story, err)
	}
	f.guards = []string{
		"clusterroles tidegate-manager is changed", "validatingwebhookconfigurations other is new",
		"validatingadmissionpolicies tidegate-gate-second is new", "clusterrolebindings other is new",
	}
	out, err = play.Play(t.Context(), f, all[1:2], play.Options{})
	if err != nil || out[0].Pass() || len(out[0].Problems) != 1 || !strings.Contains(out[0].Problems[0], "tidegate-manager") {
		t.Errorf("a guard that is not as it was is red, what others bring is not: %+v, %v", out[0], err)
	}
	f.guards = []string{"clusterrolebindings tidegate-manager-2 is new"}
	if out, err = play.Play(t.Context(), f, all[1:2], play.Options{}); err != nil || out[0].Pass() {
		t.Errorf("a new binding with Tidegate's name is red: %+v, %v", out[0], err)
	}
}

// TestSeed plays in another order, the same for the same seed, and tells the outcomes in the
// order of the files.
func TestSeed(t *testing.T) {
	var all []*attempt.Attempt
	for i := range 20 {
		all = append(all, parse(t, fmt.Sprintf("kind: attempt\nrequest: {method: POST, path: /%d}\nexpect: {result: denied}\n", i)))
	}
	story := func(seed uint64) []string {
		f := newFake(t, status(http.StatusForbidden, byWebhook))
		out, err := play.Play(t.Context(), f, all, play.Options{Parallel: 1, Seed: seed})
		if err != nil {
			t.Fatal(err)
		}
		for i, o := range out {
			if o.Attempt != all[i] || !o.Pass() {
				t.Errorf("outcome %d is of another attempt, or red: %+v", i, o)
			}
		}
		return f.story
	}
	as, one, again, other := story(0), story(1), story(1), story(2)
	if as[0] != "POST /0" || as[19] != "POST /19" {
		t.Errorf("without a seed it is the order of the files, found %q", as)
	}
	if slices.Equal(as, one) || !slices.Equal(one, again) || slices.Equal(one, other) || len(one) != 20 {
		t.Errorf("wanted an order of its own for each seed, found %q, %q and %q", one, again, other)
	}
}

// TestWhatDisturbsPlaysAlone though it does not say so: of an attempt on what others rest on.
func TestWhatDisturbsPlaysAlone(t *testing.T) {
	for request, want := range map[string]bool{
		"{verb: delete, apiVersion: admissionregistration.k8s.io/v1, resource: validatingwebhookconfigurations, name: a}":               true,
		"{verb: create, body: {apiVersion: admissionregistration.k8s.io/v1, kind: ValidatingAdmissionPolicy, metadata: {name: a}}}":     true,
		"{verb: create, body: {apiVersion: tidegate.io/v1alpha1, kind: Gate, metadata: {name: a}}}":                                     true,
		"{verb: delete, dryRun: true, apiVersion: admissionregistration.k8s.io/v1, resource: validatingwebhookconfigurations, name: a}": false,
		"{verb: get, apiVersion: apiextensions.k8s.io/v1, resource: customresourcedefinitions, name: a}":                                false,
		"{verb: create, body: {apiVersion: v1, kind: Pod, metadata: {name: a}}}":                                                        false,
	} {
		a := parse(t, "kind: attempt\nrequest: "+request+"\nexpect: {result: denied}\n")
		if a.Disturbs() != want {
			t.Errorf("%s: wanted %v, found %v", request, want, !want)
		}
	}
}

// TestPreparation makes a request of setup until it is answered as expected, and not longer
// than it says.
func TestPreparation(t *testing.T) {
	n := 0
	later := func(f *fake, w http.ResponseWriter, r *http.Request) {
		f.mu.Lock()
		n++
		seen := n
		f.mu.Unlock()
		if seen < 3 {
			status(http.StatusForbidden, byWebhook)(f, w, r)
			return
		}
		status(201, "")(f, w, r)
	}
	file := "kind: legitimate\nsetup: [{request: {method: POST, path: /probe, within: %s}}]\nrequest: {method: POST, path: /a}\nexpect: allowed\n"
	red(t, newFake(t, later), fmt.Sprintf(file, "30s"), "")
	never := newFake(t, status(http.StatusForbidden, byWebhook))
	out, err := play.Play(t.Context(), never, []*attempt.Attempt{parse(t, fmt.Sprintf(file, "300ms"))}, play.Options{})
	if err != nil || out[0].Err == nil || !strings.Contains(out[0].Err.Error(), "wanted allowed, found denied") {
		t.Errorf("what never comes true is an error: %+v, %v", out, err)
	}
}

// TestPatience gives more time than the file does.
func TestPatience(t *testing.T) {
	slow := func(f *fake, w http.ResponseWriter, r *http.Request) {
		select {
		case <-time.After(400 * time.Millisecond):
		case <-r.Context().Done():
		}
		status(http.StatusForbidden, byWebhook)(f, w, r)
	}
	file := parse(t, "kind: attempt\ntimeout: 100ms\nrequest: {method: POST, path: /a}\nexpect: denied\n")
	for patience, want := range map[float64]bool{1: false, 600: true} {
		out, err := play.Play(t.Context(), newFake(t, slow), []*attempt.Attempt{file}, play.Options{Patience: patience})
		if err != nil || out[0].Pass() != want {
			t.Errorf("patience %v: wanted pass %v, found %+v, %v", patience, want, out, err)
		}
	}
}

// TestRequests looks at what is sent.
func TestRequests(t *testing.T) {
	for sentence, tc := range map[string]struct {
		request string
		want    string
	}{
		"a create goes to the collection":        {"{verb: create, body: {apiVersion: apps/v1, kind: Deployment, metadata: {name: a}}}", `POST /apis/apps/v1/namespaces/gated-x/deployments application/json {"apiVersion":"apps/v1","kind":"Deployment","metadata":{"name":"a"}}`},
		"an apply goes to the object":            {"{verb: apply, force: true, fieldManager: me, body: {apiVersion: v1, kind: Pod, metadata: {name: a}}}", `PATCH /api/v1/namespaces/gated-x/pods/a?fieldManager=me&force=true application/apply-patch+yaml {"apiVersion":"v1","kind":"Pod","metadata":{"name":"a"}}`},
		"a patch has its type":                   {"{verb: patch, patchType: strategic, apiVersion: v1, resource: pods, name: a, subresource: status, namespace: other, dryRun: true, body: {a: 1}}", `PATCH /api/v1/namespaces/other/pods/a/status?dryRun=All application/strategic-merge-patch+json {"a":1}`},
		"a delete has its options":               {"{verb: delete, apiVersion: v1, resource: pods, name: a, propagationPolicy: Orphan, gracePeriodSeconds: 0, preconditions: {uid: u}}", `DELETE /api/v1/namespaces/gated-x/pods/a application/json {"apiVersion":"v1","gracePeriodSeconds":0,"kind":"DeleteOptions","preconditions":{"uid":"u"},"propagationPolicy":"Orphan"}`},
		"an edit sends the whole object back":    {"{verb: update, apiVersion: v1, resource: pods, name: a, edit: [{op: add, path: /spec/b, value: 2}]}", `PUT /api/v1/namespaces/gated-x/pods/a application/json {"spec":{"a":1,"b":2}}`},
		"a raw path is sent as it is":            {"{method: PATCH, path: '/api/v1/x//y?a=b', contentType: a/b, query: {c: [d]}, headers: {X-Mine: e}, body: '{\"a\":1,\"a\":2}'}", `PATCH /api/v1/x//y?a=b&c=d a/b e {"a":1,"a":2}`},
		"raw bytes are sent as they are":         {"{verb: create, apiVersion: v1, resource: pods, contentType: application/vnd.kubernetes.protobuf, bodyBase64: azhzAA==}", "POST /api/v1/namespaces/gated-x/pods application/vnd.kubernetes.protobuf k8s\x00"},
		"a fill makes what is too long to write": {"{verb: create, apiVersion: v1, resource: pods, body: {a: [0], m: {}}, fill: [{at: /a, count: 2, value: {n: 'c${i}'}}, {at: /m, count: 2, key: 'k${i}', value: x}, {at: /n/o, count: 1, value: 7}]}", `POST /api/v1/namespaces/gated-x/pods application/json {"a":[0,{"n":"c0"},{"n":"c1"}],"m":{"k0":"x","k1":"x"},"n":{"o":[7]}}`},
		"a finalize is below the namespace":      {"{verb: update, apiVersion: v1, resource: namespaces, namespace: '', name: a, subresource: finalize, body: {a: 1}}", `PUT /api/v1/namespaces/a/finalize application/json {"a":1}`},
	} {
		t.Run(sentence, func(t *testing.T) {
			got := ""
			f := newFake(t, func(f *fake, w http.ResponseWriter, r *http.Request) {
				body, _ := io.ReadAll(r.Body)
				got = strings.Join(strings.Fields(fmt.Sprintf("%s %s %s %s", r.Method, r.RequestURI, r.Header.Get("Content-Type"), r.Header.Get("X-Mine"))), " ") + " " + string(body)
				status(201, "")(f, w, r)
			})
			red(t, f, "kind: legitimate\nrequest: "+tc.request+"\nexpect: {result: allowed}\n", "")
			if got != tc.want {
				t.Errorf("wanted %s\nfound  %s", tc.want, got)
			}
		})
	}
}

// TestRepetition makes a request often, side by side; one answer that differs is red.
func TestRepetition(t *testing.T) {
	n := 0
	f := newFake(t, func(f *fake, w http.ResponseWriter, r *http.Request) {
		f.mu.Lock()
		n++
		last := n == 20
		f.mu.Unlock()
		if last {
			status(201, "")(f, w, r)
			return
		}
		status(http.StatusForbidden, byWebhook)(f, w, r)
	})
	red(t, f, "kind: attempt\nrequest: {verb: create, repeat: 20, concurrency: 5, body: {apiVersion: v1, kind: Pod, metadata: {name: a}}}\nexpect: {result: denied}\n", "wanted denied, found allowed")
	if n != 20 {
		t.Errorf("wanted 20 requests, found %d", n)
	}
}

// TestCapture hands what one request answered to the next.
func TestCapture(t *testing.T) {
	f := newFake(t, status(201, "secret"))
	red(t, f, "kind: legitimate\nrequests:\n- {method: POST, path: /a, capture: {word: .message}}\n- {method: POST, path: '/b/${word}'}\nexpect: {result: allowed}\n", "")
	if !slices.Contains(f.story, "POST /b/secret") {
		t.Errorf("found %q", f.story)
	}
}
