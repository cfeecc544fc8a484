package main

import (
	"context"
	"errors"
	"os"
	"path/filepath"
	"strings"
	"testing"

	"github.com/go-logr/logr"
	metav1 "k8s.io/apimachinery/pkg/apis/meta/v1"
	"k8s.io/apimachinery/pkg/runtime"
	"sigs.k8s.io/controller-runtime/pkg/client"
	"sigs.k8s.io/controller-runtime/pkg/client/fake"

	"tidegate.io/tidegate/rollout/controller"
	"tidegate.io/tidegate/schemas/render"
	"tidegate.io/tidegate/schemas/templates"
	"tidegate.io/tidegate/schemas/v1alpha1"
	"tidegate.io/tidegate/schemas/worker"
	"tidegate.io/tidegate/webhook"
)

func webFiles(t *testing.T) map[string]string {
	t.Helper()
	files, err := templates.Files("web")
	if err != nil {
		t.Fatal(err)
	}
	return files
}

var facts = render.Context{Name: "cart", Namespace: "shop", Template: "web"}

const values = `{"image": "shop/cart:1", "containerPort": 8080, "replicas": 2, "resources": {"cpu": "100m", "memory": "64Mi"}}`

func TestMain(m *testing.M) {
	if len(os.Args) == 2 && os.Args[1] == workerCommand {
		os.Exit(worker.Main())
	}
	os.Exit(m.Run())
}

// newTestPool returns a pool whose workers are this binary.
func newTestPool(t *testing.T) *worker.Pool {
	t.Helper()
	o := defaults(func(string) string { return "" })
	pool, err := newPool(o, logr.Discard(), worker.NewMetrics())
	if err != nil {
		t.Fatal(err)
	}
	t.Cleanup(pool.Close)
	return pool
}

func TestTheWebhookAndTheControllersRenderTheSame(t *testing.T) {
	t.Parallel()
	files, pool := webFiles(t), newTestPool(t)
	hook, loops := rendering{pool}, renderer{pool}
	if err := hook.Check(t.Context(), files); err != nil {
		t.Fatal(err)
	}
	// By its digest, as a TemplateRevision has it, and by its files alone.
	one, err := hook.Render(t.Context(), webhook.Source{Files: files}, []byte(values), facts)
	if err != nil {
		t.Fatal(err)
	}
	revision := &v1alpha1.TemplateRevision{Spec: v1alpha1.TemplateRevisionSpec{Digest: render.Digest(files), Files: files}}
	other, err := loops.Render(t.Context(), revision, &runtime.RawExtension{Raw: []byte(values)}, facts)
	if err != nil {
		t.Fatal(err)
	}
	here, err := webhook.TemplateRenderer{Compiled: new(render.Cache)}.Render(t.Context(), webhook.Source{Files: files}, []byte(values), facts)
	if err != nil {
		t.Fatal(err)
	}
	if one.Digest != other.Digest || one.Revision != other.Revision || one.Digest != here.Digest {
		t.Errorf("%s, %s, and in this process %s", one.Digest, other.Digest, here.Digest)
	}
	var wrong *render.ValuesError
	if _, err := loops.Render(t.Context(), revision, nil, facts); !errors.As(err, &wrong) {
		t.Errorf("no values at all: %v", err)
	}
	ended, end := context.WithCancel(t.Context())
	end()
	if _, err := loops.Render(ended, revision, nil, facts); !errors.Is(err, context.Canceled) {
		t.Errorf("nobody waits any more: %v", err)
	}
}

func TestTheControllersAndTheWebhookCompileTheSame(t *testing.T) {
	t.Parallel()
	files, pool := webFiles(t), newTestPool(t)
	schema, err := renderer{pool}.compile(t.Context(), files)
	if err != nil {
		t.Fatal(err)
	}
	here, err := controller.CompileTemplate(t.Context(), files)
	if err != nil {
		t.Fatal(err)
	}
	if string(schema) != string(here) {
		t.Errorf("wanted %s, found %s", here, schema)
	}
	if err := (rendering{pool}).Immutable(t.Context(), webhook.Source{Files: files}, []byte(values), []byte(values)); err != nil {
		t.Error(err)
	}
	if _, err := (renderer{pool}).compile(t.Context(), map[string]string{"x.cue": "package x\n}"}); err == nil {
		t.Error("wanted a broken template to be refused")
	}
}

func TestTheManagersMemoryIsWhatWorkersLeave(t *testing.T) {
	t.Parallel()
	const gi = 1 << 30
	o := defaults(func(string) string { return "" }) // two of 256Mi, and as many that judge
	if got := ownMemory(gi/2*3, o); got != (gi/2)/10*9 {
		t.Errorf("wanted nine tenths of what is left, found %d", got)
	}
	if got := ownMemory(gi/2, o); got != gi/8 {
		t.Errorf("wanted a quarter where nothing is left, found %d", got)
	}
}

func TestAReplicaIsReadyOnceTheNewestTemplatesAreCompiled(t *testing.T) {
	t.Parallel()
	template := func(name, latest string) client.Object {
		return &v1alpha1.ReleaseTemplate{ObjectMeta: metav1.ObjectMeta{Name: name}, Status: v1alpha1.ReleaseTemplateStatus{LatestRevision: latest}}
	}
	revision := func(name string, files map[string]string) client.Object {
		return &v1alpha1.TemplateRevision{ObjectMeta: metav1.ObjectMeta{Name: name}, Spec: v1alpha1.TemplateRevisionSpec{Files: files}}
	}
	s, err := scheme()
	if err != nil {
		t.Fatal(err)
	}
	c := fake.NewClientBuilder().WithScheme(s).WithObjects(
		template("web", "web-2"), revision("web-1", map[string]string{"old.cue": "package web"}), revision("web-2", webFiles(t)),
		template("broken", "broken-1"), revision("broken-1", map[string]string{"x.cue": "package x\n}"}),
		template("gone", "gone-1"),
		template("new", ""),
	).Build()
	pool := newTestPool(t)
	l := &templateLoader{client: c, pool: pool, log: logr.Discard()}
	if l.ready(nil) == nil {
		t.Error("ready before anything was loaded")
	}
	if err := l.load(t.Context()); err != nil {
		t.Fatal(err)
	}
	if err := l.ready(nil); err != nil {
		t.Errorf("I8: a template that does not compile keeps the replica from serving: %v", err)
	}
	// A worker that had not been sent the newest files would have to compile these.
	known := worker.Source{Digest: render.Digest(webFiles(t)), Files: map[string]string{"x.cue": "}"}}
	for range 2 {
		if err := pool.Compile(t.Context(), known); err != nil {
			t.Errorf("wanted every worker to know the newest revision: %v", err)
		}
	}
	if err := pool.Compile(t.Context(), worker.Source{Digest: render.Digest(map[string]string{"old.cue": "package web"}), Files: known.Files}); err == nil {
		t.Error("wanted revisions that are not the newest to be left for later")
	}
}

func TestAManagerWhoseWorkersDoNotStartSaysSo(t *testing.T) {
	t.Parallel()
	pool, err := worker.New(worker.Options{Command: []string{filepath.Join(t.TempDir(), "none")}})
	if err != nil {
		t.Fatal(err)
	}
	defer pool.Close()
	l := &templateLoader{pool: pool, log: logr.Discard()}
	if err := l.load(t.Context()); err == nil || !strings.Contains(err.Error(), "starting the render workers") || l.ready(nil) == nil {
		t.Errorf("wanted an error and no readiness, found %v", err)
	}
}
