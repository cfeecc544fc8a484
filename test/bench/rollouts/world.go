package main

import (
	"context"
	_ "embed"
	"errors"
	"fmt"
	"io"
	"time"

	"github.com/go-logr/logr"
	corev1 "k8s.io/api/core/v1"
	apierrors "k8s.io/apimachinery/pkg/api/errors"
	metav1 "k8s.io/apimachinery/pkg/apis/meta/v1"
	"k8s.io/apimachinery/pkg/runtime"
	clientgoscheme "k8s.io/client-go/kubernetes/scheme"
	"sigs.k8s.io/controller-runtime/pkg/cache"
	"sigs.k8s.io/controller-runtime/pkg/client"
	ctrllog "sigs.k8s.io/controller-runtime/pkg/log"
	gatewayv1 "sigs.k8s.io/gateway-api/apis/v1"

	"tidegate.io/tidegate/schemas/v1alpha1"
	"tidegate.io/tidegate/test/cluster/binaries"
	"tidegate.io/tidegate/test/cluster/local"
	"tidegate.io/tidegate/test/stage"
)

const (
	namespace = "bench"
	// templateName is the package of canary.cue.
	templateName = "canary"
	// podsOfNode is a little less than a node of the local cluster takes.
	podsOfNode = 900
	// podsOfRelease is what a Release has at most for each pod that it asks for: two revisions.
	podsOfRelease = 2
)

//go:embed canary.cue
var canaryTemplate string

// world is a cluster with nothing in it but Tidegate, and the manager that is measured.
type world struct {
	options options
	log     io.Writer
	audit   *audit
	stage   *stage.Stage
	client  client.Client
	manager *manager
	fleet   *fleet
	bare    *bare
	// pod is the UID of the pod that the manager takes itself to run in.
	pod int
	// ports are those of health, metrics and profiles.
	ports [3]int
	nodes int
}

// open starts everything. What it has started is ended by close, on an error too.
func open(ctx context.Context, o options, log io.Writer) (*world, error) {
	w := &world{options: o, log: log}
	if err := w.open(ctx); err != nil {
		return nil, errors.Join(err, w.close(context.WithoutCancel(ctx)))
	}
	return w, nil
}

func (w *world) open(ctx context.Context) error {
	root, err := binaries.Root()
	if err != nil {
		return err
	}
	if w.audit, err = newAudit(); err != nil {
		return err
	}
	w.stage, err = stage.Up(ctx, stage.Options{Root: root, Bare: true, Progress: w.log, APIServerArgs: append(w.audit.args(), "--profiling=true")})
	if err != nil {
		return err
	}
	// Its manager and its gateway make way for those of the bench.
	if err := errors.Join(w.stage.StopManager(ctx), w.stage.Cluster.StopComponent(ctx, local.Gateway)); err != nil {
		return err
	}
	for i := range w.ports {
		if w.ports[i], err = w.stage.Cluster.FreePort(ctx); err != nil {
			return err
		}
	}
	w.nodes = len(nodesAtFirst)
	if err := w.connect(ctx); err != nil {
		return err
	}
	if _, err := w.startManager(ctx, w.options.bringUp()); err != nil {
		return err
	}
	return w.publish(ctx)
}

// nodesAtFirst are the nodes of a local cluster.
var nodesAtFirst = []string{"node-1", "node-2"}

// connect makes the bench's own clients, which are not throttled.
func (w *world) connect(ctx context.Context) error {
	ctrllog.SetLogger(logr.Discard()) // of the bench's own watches
	scheme := runtime.NewScheme()
	for _, add := range []func(*runtime.Scheme) error{clientgoscheme.AddToScheme, gatewayv1.Install, v1alpha1.AddToScheme} {
		if err := add(scheme); err != nil {
			return fmt.Errorf("making the scheme: %w", err)
		}
	}
	config := w.stage.Cluster.RESTConfig()
	config.UserAgent = "tidegate-bench"
	var err error
	if w.client, err = client.New(config, client.Options{Scheme: scheme}); err != nil {
		return fmt.Errorf("making a client: %w", err)
	}
	informers, err := cache.New(config, cache.Options{Scheme: scheme, DefaultTransform: cache.TransformStripManagedFields()})
	if err != nil {
		return fmt.Errorf("making a cache: %w", err)
	}
	if w.fleet, err = newFleet(ctx, w.client, informers); err != nil {
		return err
	}
	if w.bare, err = newBare(ctx, w.client, informers, w.options.replicas); err != nil {
		return err
	}
	if _, err := startGateway(ctx, w.client, informers, w.log); err != nil {
		return err
	}
	go func() { _ = informers.Start(ctx) }() // it ends with ctx
	if !informers.WaitForCacheSync(ctx) {
		return errors.New("waiting for the bench's own watches: they did not begin")
	}
	return nil
}

// publish makes the namespace and the template, and waits until the template is of use.
func (w *world) publish(ctx context.Context) error {
	if err := w.client.Create(ctx, &corev1.Namespace{ObjectMeta: metav1.ObjectMeta{Name: namespace}}); err != nil {
		return fmt.Errorf("making namespace %s: %w", namespace, err)
	}
	template := &v1alpha1.ReleaseTemplate{
		ObjectMeta: metav1.ObjectMeta{Name: templateName},
		Spec:       v1alpha1.ReleaseTemplateSpec{Files: map[string]string{"canary.cue": canaryTemplate}},
	}
	if err := w.client.Create(ctx, template); err != nil {
		return fmt.Errorf("publishing the template: %w", err)
	}
	return await(ctx, "the template's first revision", time.Minute, func() (bool, error) {
		if err := w.client.Get(ctx, client.ObjectKeyFromObject(template), template); err != nil {
			return false, fmt.Errorf("reading the template: %w", err)
		}
		for _, c := range template.Status.Conditions {
			if c.Type == v1alpha1.ConditionStalled && c.Status == metav1.ConditionTrue {
				return false, fmt.Errorf("the template is refused: %s", c.Message)
			}
		}
		return template.Status.LatestRevision != "" && w.fleet.admitted(ctx), nil
	})
}

// grow makes Releases until there are n, and waits until all of them serve, by a manager that is
// let ask as much as it likes.
func (w *world) grow(ctx context.Context, n int) error {
	have := w.fleet.size()
	if have >= n {
		return nil
	}
	if w.manager == nil {
		if _, err := w.startManager(ctx, w.options.bringUp()); err != nil {
			return err
		}
	}
	if err := w.makeRoom(ctx, n*podsOfRelease*w.options.replicas); err != nil {
		return err
	}
	began := time.Now()
	if err := w.fleet.create(ctx, have, n, w.options.replicas); err != nil {
		return err
	}
	patience := time.Minute + time.Duration(n-have)*slowestInstall
	if err := await(ctx, fmt.Sprintf("%d Releases to serve", n), patience, func() (bool, error) { return w.fleet.settled() >= n, nil }); err != nil {
		return fmt.Errorf("%w (%d serve)", err, w.fleet.settled())
	}
	w.say("%d Releases made in %.0f s", n-have, time.Since(began).Seconds())
	return nil
}

// slowestInstall is how long a first install may take among many.
const slowestInstall = 500 * time.Millisecond

// makeRoom adds nodes until so many pods fit.
func (w *world) makeRoom(ctx context.Context, pods int) error {
	for ; w.nodes*podsOfNode < pods; w.nodes++ {
		name := fmt.Sprintf("node-%d", w.nodes+1)
		node := &corev1.Node{ObjectMeta: metav1.ObjectMeta{Name: name, Labels: map[string]string{
			corev1.LabelHostname: name, corev1.LabelOSStable: "linux", corev1.LabelArchStable: "amd64",
		}}}
		if err := w.client.Create(ctx, node); err != nil && !apierrors.IsAlreadyExists(err) {
			return fmt.Errorf("adding %s: %w", name, err)
		}
	}
	return nil
}

// close ends everything.
func (w *world) close(ctx context.Context) error {
	ctx, cancel := context.WithTimeout(ctx, 2*time.Minute)
	defer cancel()
	var errs []error
	errs = append(errs, w.stopManager(ctx))
	if w.stage != nil {
		if w.options.keep != "" {
			errs = append(errs, w.keepLogs())
		}
		errs = append(errs, w.stage.Down(ctx))
	}
	if w.audit != nil {
		errs = append(errs, w.audit.remove())
	}
	return errors.Join(errs...)
}

func (w *world) say(format string, args ...any) { _, _ = fmt.Fprintf(w.log, format+"\n", args...) }
