package fault

import (
	"context"
	"encoding/json"
	"flag"
	"fmt"
	"net/http"
	"sync"
	"sync/atomic"
	"testing"
	"time"

	"github.com/go-logr/logr"
	corev1 "k8s.io/api/core/v1"
	"k8s.io/apimachinery/pkg/api/meta"
	metav1 "k8s.io/apimachinery/pkg/apis/meta/v1"
	"k8s.io/apimachinery/pkg/runtime"
	clientgoscheme "k8s.io/client-go/kubernetes/scheme"
	"k8s.io/client-go/rest"
	"sigs.k8s.io/controller-runtime/pkg/client"
	"sigs.k8s.io/controller-runtime/pkg/client/apiutil"
	"sigs.k8s.io/controller-runtime/pkg/log"
	gatewayv1 "sigs.k8s.io/gateway-api/apis/v1"

	"tidegate.io/tidegate/schemas/render"
	"tidegate.io/tidegate/schemas/v1alpha1"
	"tidegate.io/tidegate/test/cluster/local"
)

// lab is an API server with nobody at it but the managers of the tests, who plays the pods and
// the gateway, and who writes down everything that is written.
type lab struct {
	t      *testing.T
	config *rest.Config
	scheme *runtime.Scheme
	mapper meta.RESTMapper
	// wired is one connection that all managers share, each through a wire of its own.
	wired    http.RoundTripper
	client   client.WithWatch
	renderer *renderer
	journal  *journal
	worlds   atomic.Int32
	// seats bounds how many worlds are played at the same time.
	seats chan struct{}
}

// seats is how many worlds are played at the same time: they mostly wait.
var seats = flag.Int("seats", 24, "how many worlds are played at the same time")

func newLab(t *testing.T) *lab {
	t.Helper()
	log.SetLogger(logr.Discard())
	cluster := local.ForTest(t, local.Options{Nodes: 1})
	// What they would do is played, which is faster and always the same.
	for _, name := range []string{local.Kwok, local.Scheduler, local.ControllerManager} {
		if err := cluster.StopComponent(t.Context(), name); err != nil {
			t.Fatal(err)
		}
	}
	if err := cluster.InstallGatewayAPI(t.Context()); err != nil {
		t.Fatal(err)
	}
	if err := cluster.InstallCRDs(t.Context(), "../../charts/tidegate/resources/crds"); err != nil {
		t.Fatal(err)
	}
	l := connect(t, cluster.RESTConfig())
	l.journal = newJournal(l)
	t.Cleanup(l.journal.close)
	go newPlayer(l).play(t.Context())
	return l
}

// connect is a lab without anybody in it.
func connect(t *testing.T, config *rest.Config) *lab {
	t.Helper()
	l := &lab{t: t, config: rest.CopyConfig(config), scheme: runtime.NewScheme(), renderer: newRenderer(), seats: make(chan struct{}, *seats)}
	l.config.QPS = -1
	for _, add := range []func(*runtime.Scheme) error{clientgoscheme.AddToScheme, v1alpha1.AddToScheme, gatewayv1.Install} {
		must(t, add(l.scheme))
	}
	wired, err := rest.TransportFor(l.config)
	must(t, err)
	l.wired = wired
	l.mapper, err = apiutil.NewDynamicRESTMapper(l.config, &http.Client{Transport: wired})
	must(t, err)
	l.client, err = client.NewWithWatch(l.config, client.Options{Scheme: l.scheme, Mapper: l.mapper})
	must(t, err)
	return l
}

func must(t *testing.T, err error) {
	t.Helper()
	if err != nil {
		t.Fatal(err)
	}
}

// publish makes the one revision of a template.
func (l *lab) publish(name, text string) {
	l.t.Helper()
	files := l.know(name, text)
	digest := render.Digest(files)
	must(l.t, l.client.Create(l.t.Context(), &v1alpha1.ReleaseTemplate{
		ObjectMeta: metav1.ObjectMeta{Name: name}, Spec: v1alpha1.ReleaseTemplateSpec{Files: files},
	}))
	must(l.t, l.client.Create(l.t.Context(), &v1alpha1.TemplateRevision{
		ObjectMeta: metav1.ObjectMeta{Name: v1alpha1.RevisionName(name, 1, digest)},
		Spec:       v1alpha1.TemplateRevisionSpec{Template: name, Number: 1, Digest: digest, Engine: "v0", Files: files},
	}))
}

// know lets managers render with a template.
func (l *lab) know(name, text string) map[string]string {
	l.t.Helper()
	files := map[string]string{"t.cue": text}
	template, err := render.Compile(files)
	must(l.t, err)
	l.renderer.add(name, template)
	return files
}

// renderer renders with the templates that were published.
type renderer struct {
	mu        sync.Mutex
	templates map[string]*render.Template
	known     map[string]*render.Result
}

func newRenderer() *renderer {
	return &renderer{templates: map[string]*render.Template{}, known: map[string]*render.Result{}}
}

func (r *renderer) add(name string, t *render.Template) {
	r.mu.Lock()
	defer r.mu.Unlock()
	r.templates[name] = t
}

// Render implements controller.Renderer.
func (r *renderer) Render(_ context.Context, _ *v1alpha1.TemplateRevision, values *runtime.RawExtension, in render.Context) (*render.Result, error) {
	r.mu.Lock()
	defer r.mu.Unlock()
	key := in.Namespace + " " + string(values.Raw)
	if result := r.known[key]; result != nil {
		return result, nil
	}
	result, err := r.templates[in.Template].Render(values.Raw, in)
	if err != nil {
		return nil, fmt.Errorf("rendering: %w", err)
	}
	r.known[key] = result
	return result, nil
}

// imageOf is what the values of a Release or Rollout ask for.
func imageOf(values *runtime.RawExtension) string {
	var v struct {
		Image string `json:"image"`
	}
	if values == nil || json.Unmarshal(values.Raw, &v) != nil {
		return ""
	}
	return v.Image
}

// await waits until something holds, for within at most.
func await(ctx context.Context, within time.Duration, holds func() bool) bool {
	limit := time.NewTimer(within)
	defer limit.Stop()
	ticker := time.NewTicker(25 * time.Millisecond)
	defer ticker.Stop()
	for !holds() {
		select {
		case <-ticker.C:
		case <-limit.C:
			return holds()
		case <-ctx.Done():
			return false
		}
	}
	return true
}

func namespace(name string) *corev1.Namespace {
	return &corev1.Namespace{ObjectMeta: metav1.ObjectMeta{Name: name}}
}
