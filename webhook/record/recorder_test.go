package record

import (
	"context"
	"encoding/json"
	"fmt"
	"net/http"
	"os"
	"path/filepath"
	"strings"
	"testing"
	"time"

	"github.com/prometheus/client_golang/prometheus"
	"github.com/prometheus/client_golang/prometheus/testutil"
	corev1 "k8s.io/api/core/v1"
	metav1 "k8s.io/apimachinery/pkg/apis/meta/v1"
	"k8s.io/apimachinery/pkg/apis/meta/v1/unstructured"
	testclock "k8s.io/utils/clock/testing"
	"sigs.k8s.io/controller-runtime/pkg/client"
	"sigs.k8s.io/controller-runtime/pkg/client/interceptor"
	"sigs.k8s.io/yaml"

	engine "tidegate.io/tidegate/policies/eval/gatekeeper"
	"tidegate.io/tidegate/webhook"
	"tidegate.io/tidegate/webhook/gatekeeper"
)

func TestADirectoryKeepsTheNewestWithinItsBounds(t *testing.T) {
	d := Directory{Path: filepath.Join(t.TempDir(), "new"), MaxFiles: 3, MaxBytes: 1 << 20}
	write := func(name string, size int) int {
		t.Helper()
		removed, err := d.write(name, make([]byte, size))
		if err != nil {
			t.Fatal(err)
		}
		return removed
	}
	names := func() string {
		t.Helper()
		entries, err := os.ReadDir(d.Path)
		if err != nil {
			t.Fatal(err)
		}
		var out []string
		for _, e := range entries {
			out = append(out, strings.TrimSuffix(e.Name(), Suffix))
		}
		return strings.Join(out, " ")
	}
	for _, n := range []string{"1", "2", "3", "4"} {
		write(n, 10)
	}
	if got := names(); got != "2 3 4" {
		t.Errorf("wanted the three newest, found %s", got)
	}
	if removed := write("5", 1<<20-15); removed != 2 || names() != "4 5" {
		t.Errorf("wanted room for a large one, found %s after %d were removed", names(), removed)
	}
	if _, err := d.write("6", make([]byte, 1<<20+1)); err == nil || names() != "4 5" {
		t.Errorf("wanted one that never fits to be refused and nothing to go, found %v, %s", err, names())
	}
	// What is not a record is nobody's to remove.
	if err := os.WriteFile(filepath.Join(d.Path, "0-notes.txt"), make([]byte, 2<<20), 0o600); err != nil {
		t.Fatal(err)
	}
	if err := os.WriteFile(filepath.Join(d.Path, unfinished+"x"), nil, 0o600); err != nil {
		t.Fatal(err)
	}
	if err := d.sweep(); err != nil || names() != "0-notes.txt 4 5" {
		t.Errorf("wanted what is half written to go, found %v, %s", err, names())
	}
}

func TestAReplicaThatCannotWriteAnswersAllTheSame(t *testing.T) {
	c := newCluster(t, interceptor.Funcs{})
	// A file stands where the directory should be, which stops root too.
	c.recorder.Directory.Path = filepath.Join(t.TempDir(), "file")
	if err := os.WriteFile(c.recorder.Directory.Path, nil, 0o600); err != nil {
		t.Fatal(err)
	}
	ctx, stop := context.WithCancel(t.Context())
	done := make(chan error)
	go func() { done <- c.recorder.Start(ctx) }()
	body := deployment(review{op: update, user: "alice", object: managed, old: managed}).json(t)
	if v := c.ask(t, webhook.PathGate, body); v.Code != "TG-GATE-BYPASS" {
		t.Errorf("found %+v", v)
	}
	stop()
	if err := <-done; err != nil {
		t.Errorf("wanted it to end well, found %v", err)
	}
	if n := testutil.ToFloat64(c.recorder.Metrics.reviews.WithLabelValues(outcomeFailed)); n != 1 {
		t.Errorf("wanted one failure, found %v", n)
	}
}

func TestAFullQueueDropsAndNobodyWaits(t *testing.T) {
	c := newCluster(t, interceptor.Funcs{}) // Nobody takes from the queue.
	body := deployment(review{op: update, user: "alice", object: managed, old: managed}).json(t)
	for range maxQueued + 3 {
		if v := c.ask(t, webhook.PathGate, body); v.Code != "TG-GATE-BYPASS" {
			t.Fatalf("found %+v", v)
		}
	}
	dropped := c.recorder.Metrics.reviews.WithLabelValues(outcomeDropped)
	if n := testutil.ToFloat64(dropped); n != 3 {
		t.Errorf("wanted 3 to be dropped, found %v", n)
	}
	if want := int64(len(body) * maxQueued); c.recorder.queued != want {
		t.Errorf("wanted %d bytes to wait, found %d", want, c.recorder.queued)
	}
	// Large ones are dropped though there are places.
	for range maxQueued {
		c.recorder.reserve(-(<-c.recorder.queue).sizeOfReview)
	}
	large := strings.Replace(managed, `"labels"`, `"annotations":{"a":"`+strings.Repeat("x", 6<<20)+`"},"labels"`, 1)
	for range 6 {
		c.ask(t, webhook.PathGate, deployment(review{op: create, user: "alice", object: large}).json(t))
	}
	if n := testutil.ToFloat64(dropped); n != 4 || len(c.recorder.queue) != 5 {
		t.Errorf("wanted 5 of 6 MiB to wait and one to be dropped, found %v dropped, %d waiting", n-3, len(c.recorder.queue))
	}
}

func TestAFloodOfRefusalsIsRecordedAtHalfSpeed(t *testing.T) {
	c := newCluster(t, interceptor.Funcs{})
	clock, ok := c.recorder.Clock.(*testclock.FakeClock)
	if !ok {
		t.Fatal("wanted the fake clock")
	}
	c.recorder.Clock = slow{clock}
	body := deployment(review{op: update, user: "alice", object: managed, old: managed}).json(t)
	c.ask(t, webhook.PathGate, body)
	c.ask(t, webhook.PathGate, body)
	ctx, stop := context.WithCancel(t.Context())
	done := make(chan error)
	go func() { done <- c.recorder.Start(ctx) }()
	for range 5000 {
		if clock.HasWaiters() {
			break
		}
		time.Sleep(time.Millisecond)
	}
	if n := len(c.recorder.queue); n != 1 {
		t.Errorf("wanted it to rest after the first, found %d waiting", n)
	}
	stop()
	if err := <-done; err != nil {
		t.Fatal(err)
	}
	// What waits when the manager stops is still written.
	if n := testutil.ToFloat64(c.recorder.Metrics.reviews.WithLabelValues(outcomeWritten)); n != 2 {
		t.Errorf("wanted both to be written in the end, found %v", n)
	}
}

// slow is a clock for which all work takes an hour.
type slow struct{ *testclock.FakeClock }

func (s slow) Since(time.Time) time.Duration { return time.Hour }

func TestConstraintsReplayTheSame(t *testing.T) {
	store := engine.NewStore()
	parse := func(text string) *unstructured.Unstructured {
		t.Helper()
		raw, err := yaml.YAMLToJSON([]byte(text))
		if err != nil {
			t.Fatal(err)
		}
		u := &unstructured.Unstructured{}
		if err := u.UnmarshalJSON(raw); err != nil {
			t.Fatal(err)
		}
		return u
	}
	for kind, rego := range map[string]string{
		"Owned":  `violation[{"msg": m}] { not input.review.object.metadata.labels.owner; m := sprintf("no %v in %v, of %v", [input.parameters.label, input.review.namespaceObject.metadata.labels.stage, input.review.userInfo.username]) }`,
		"Unique": `violation[{"msg": m}] { other := data.inventory.namespace[_]["v1"]["ConfigMap"][_]; other.data.token == input.review.object.data.token; m := sprintf("%v has it already", [other.metadata.name]) }`,
		"Broken": `violation[{"msg": m}] { m := nonsense(1) }`,
	} {
		_, err := store.PutTemplate(parse(fmt.Sprintf(`
apiVersion: templates.gatekeeper.sh/v1
kind: ConstraintTemplate
metadata: {name: %s}
spec:
  crd: {spec: {names: {kind: %s}, validation: {openAPIV3Schema: {type: object, properties: {label: {type: string}}}}}}
  targets:
  - target: admission.k8s.gatekeeper.sh
    rego: |
      package p
      %s
`, strings.ToLower(kind), kind, rego)))
		if (err != nil) != (kind == "Broken") {
			t.Fatal(err)
		}
		if err := store.PutConstraint(parse(fmt.Sprintf(`{apiVersion: constraints.gatekeeper.sh/v1beta1, kind: %s, metadata: {name: all}, spec: {match: {kinds: [{apiGroups: [""], kinds: [ConfigMap]}], namespaceSelector: {matchLabels: {stage: production}}}, parameters: {label: owner}}}`, kind))); err != nil {
			t.Fatal(err)
		}
	}
	if err := store.Inventory().Put(parse(`{apiVersion: v1, kind: ConfigMap, metadata: {name: first, namespace: shop}, data: {token: hunter2-of-two}}`)); err != nil {
		t.Fatal(err)
	}
	c := newCluster(t, interceptor.Funcs{})
	c.recorder.Constrain(store)
	h, err := gatekeeper.New(gatekeeper.Options{Store: store, Reader: c.recorder.Reader(c.world), Clock: c.recorder.Clock})
	if err != nil {
		t.Fatal(err)
	}
	c.recorder.Server(c.paths).Register(engine.WebhookPath, h.HTTP())
	v := c.ask(t, engine.WebhookPath, review{op: create, resource: "configmaps", kind: "ConfigMap", name: "x", user: "alice", object: `{"apiVersion":"v1","kind":"ConfigMap","metadata":{"name":"x","namespace":"shop"},"data":{"token":"hunter2-of-two"}}`}.json(t))
	for _, want := range []string{"no owner in production, of alice", "first has it already", "undefined function nonsense"} {
		if !strings.Contains(v.Message, want) {
			t.Errorf("wanted %q in %s", want, v.Message)
		}
	}
	r, text := c.recorded(t)
	free(t, "constraints", text, "hunter2-of-two")
	if r.RedactedVerdictDiffers || r.Constraints == nil || len(r.Constraints.Templates) != 3 || len(r.Constraints.Inventory) != 1 || r.Constraints.InventoryDigest == "" {
		t.Errorf("found %v, %+v", r.RedactedVerdictDiffers, r.Constraints)
	}
	c.same(t, r)
}

func TestNilRecordsNothing(t *testing.T) {
	var r *Recorder
	r.Constrain(engine.NewStore())
	served := paths{}
	r.Server(served).Register("/x", http.NotFoundHandler())
	if _, wrapped := served["/x"].(http.HandlerFunc); !wrapped || r.Reader(nil) != nil || r.Webhook(webhook.Config{Identity: "m"}).Identity != "m" {
		t.Error("wanted everything to stay as it is")
	}
}

func TestMetricsAreThereFromTheStart(t *testing.T) {
	registry := prometheus.NewPedanticRegistry()
	if err := NewMetrics().Register(registry); err != nil {
		t.Fatal(err)
	}
	if n, err := testutil.GatherAndCount(registry, "tidegate_record_reviews_total", "tidegate_record_removed_total"); err != nil || n != 5 {
		t.Errorf("wanted 5 series, found %d, %v", n, err)
	}
}

// TestTheWorldOfARecordReadsAsACacheDoes has what List and Get of a record must agree with.
func TestTheWorldOfARecordReadsAsACacheDoes(t *testing.T) {
	raw, err := json.Marshal(&corev1.Namespace{TypeMeta: metav1.TypeMeta{APIVersion: "v1", Kind: "Namespace"}, ObjectMeta: metav1.ObjectMeta{Name: "shop"}})
	if err != nil {
		t.Fatal(err)
	}
	w, err := newWorld(&Record{Objects: []json.RawMessage{raw}, Unread: []Unread{{Kind: "/v1, Kind=Namespace", Name: "lost", Error: "no answer"}}})
	if err != nil {
		t.Fatal(err)
	}
	var ns corev1.Namespace
	for name, want := range map[string]string{"shop": "", "lost": "no answer", "gone": `namespaces "gone" not found`} {
		if err := w.Get(t.Context(), client.ObjectKey{Name: name}, &ns); textOf(err) != want {
			t.Errorf("%s: wanted %q, found %v", name, want, err)
		}
	}
	var list corev1.NamespaceList
	if err := w.List(t.Context(), &list); err != nil || len(list.Items) != 1 {
		t.Errorf("wanted one, found %d, %v", len(list.Items), err)
	}
}
