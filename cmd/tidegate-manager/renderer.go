package main

import (
	"context"
	"errors"
	"fmt"
	"net/http"
	"os"
	"sync/atomic"
	"time"

	"github.com/go-logr/logr"
	"k8s.io/apimachinery/pkg/runtime"
	"k8s.io/apimachinery/pkg/types"
	"sigs.k8s.io/controller-runtime/pkg/cache"
	"sigs.k8s.io/controller-runtime/pkg/client"
	ctrlmetrics "sigs.k8s.io/controller-runtime/pkg/metrics"

	"tidegate.io/tidegate/rollout/controller"
	"tidegate.io/tidegate/schemas/render"
	"tidegate.io/tidegate/schemas/v1alpha1"
	"tidegate.io/tidegate/schemas/worker"
	"tidegate.io/tidegate/webhook"
)

// maxCheckTimeout leaves time to answer: the webhook does so within 4 s.
const maxCheckTimeout = 3500 * time.Millisecond

// newPool makes the pool in which everything is rendered that others wrote.
func newPool(o *options, log logr.Logger, numbers *worker.Metrics) (*worker.Pool, error) {
	self, err := os.Executable()
	if err != nil {
		return nil, fmt.Errorf("finding out which program to start as a render worker: %w", err)
	}
	memory, err := o.workerMemory()
	if err != nil {
		return nil, err
	}
	return worker.New(worker.Options{
		Command:      []string{self, workerCommand},
		Workers:      o.renderWorkers,
		Memory:       memory,
		Timeout:      o.renderTimeout,
		CheckTimeout: min(o.renderTimeout*3/2, maxCheckTimeout),
		Log:          log.WithName("render"),
		Metrics:      numbers,
	})
}

// Bounds of the workers that judge by policies in CUE. There are as many as a policy that
// takes too long needs to leave one for the others.
const (
	judges           = 2
	judgeMemory      = worker.DefaultMemory // a worker without work holds some 90 MiB
	judgeTimeout     = time.Second
	judgeCompileTime = 2500 * time.Millisecond // of the 3 s that a policy has to come into force
)

// newJudges makes the pool in which policies in CUE are asked. It has no process before the
// first of them.
func newJudges(log logr.Logger, numbers *worker.Metrics) (*worker.Pool, error) {
	self, err := os.Executable()
	if err != nil {
		return nil, fmt.Errorf("finding out which program to start as a worker for policies: %w", err)
	}
	return worker.New(worker.Options{
		Command:      []string{self, workerCommand},
		Workers:      judges,
		Memory:       judgeMemory,
		Timeout:      judgeTimeout,
		CheckTimeout: judgeCompileTime,
		Log:          log.WithName("policies"),
		Metrics:      numbers,
	})
}

// pools are the processes in which the manager evaluates what others wrote.
type pools struct {
	// render is for templates.
	render *worker.Pool
	// judge is for policies in CUE.
	judge *worker.Pool
}

// newPools makes both, and registers their metrics.
func newPools(o *options, log logr.Logger, registry ctrlmetrics.RegistererGatherer) (*pools, error) {
	rendering, judging := worker.NewMetrics(), worker.NewPolicyMetrics()
	if err := errors.Join(rendering.Register(registry), judging.Register(registry)); err != nil {
		return nil, err
	}
	render, err := newPool(o, log, rendering)
	if err != nil {
		return nil, err
	}
	judge, err := newJudges(log, judging)
	if err != nil {
		render.Close()
		return nil, err
	}
	return &pools{render: render, judge: judge}, nil
}

func (p *pools) close() {
	p.render.Close()
	p.judge.Close()
}

// rendering is the pool as the webhook asks it.
type rendering struct{ *worker.Pool }

var _ webhook.Renderer = rendering{}

// Check implements webhook.Renderer.
func (r rendering) Check(ctx context.Context, files map[string]string) error {
	_, err := r.Pool.Check(ctx, files)
	return err
}

// Render implements webhook.Renderer.
func (r rendering) Render(ctx context.Context, s webhook.Source, values []byte, c render.Context) (*render.Result, error) {
	return r.Pool.Render(ctx, worker.Source(s), values, c)
}

// Immutable implements webhook.Renderer.
func (r rendering) Immutable(ctx context.Context, s webhook.Source, was, now []byte) error {
	return r.Pool.Immutable(ctx, worker.Source(s), was, now)
}

// renderer is the pool as the controllers ask it.
type renderer struct{ pool *worker.Pool }

var _ controller.Renderer = renderer{}

// Render implements controller.Renderer.
func (r renderer) Render(ctx context.Context, revision *v1alpha1.TemplateRevision, values *runtime.RawExtension, in render.Context) (*render.Result, error) {
	var raw []byte
	if values != nil {
		raw = values.Raw
	}
	return r.pool.Render(ctx, worker.Source{Digest: revision.Spec.Digest, Files: revision.Spec.Files}, raw, in)
}

// compile is a controller.TemplateCompiler.
func (r renderer) compile(ctx context.Context, files map[string]string) ([]byte, error) {
	checked, err := r.pool.Check(ctx, files)
	if err != nil {
		return nil, err
	}
	return checked.Schema, nil
}

// templateLoader compiles the newest revision of every template when this replica starts,
// so that the first request does not wait for it.
type templateLoader struct {
	client client.Reader
	cache  cache.Cache
	pool   *worker.Pool
	log    logr.Logger
	done   atomic.Bool
}

// NeedLeaderElection says that every replica renders.
func (l *templateLoader) NeedLeaderElection() bool { return false }

// Start implements manager.Runnable.
func (l *templateLoader) Start(ctx context.Context) error {
	if !l.cache.WaitForCacheSync(ctx) {
		return ctx.Err() // the manager stops
	}
	return l.load(ctx)
}

func (l *templateLoader) load(ctx context.Context) error {
	// A manager whose workers do not start can judge nothing: better that it says so now.
	if err := l.pool.Ping(ctx); err != nil {
		return fmt.Errorf("starting the render workers: %w", err)
	}
	var list v1alpha1.ReleaseTemplateList
	if err := l.client.List(ctx, &list); err != nil {
		return fmt.Errorf("listing ReleaseTemplates: %w", err)
	}
	for i := range list.Items {
		name := list.Items[i].Status.LatestRevision
		if name == "" {
			continue
		}
		var revision v1alpha1.TemplateRevision
		if err := l.client.Get(ctx, types.NamespacedName{Name: name}, &revision); client.IgnoreNotFound(err) != nil {
			return fmt.Errorf("reading TemplateRevision %s: %w", name, err)
		}
		if len(revision.Spec.Files) == 0 {
			continue
		}
		if err := l.pool.Compile(ctx, worker.Source{Digest: revision.Spec.Digest, Files: revision.Spec.Files}); err != nil {
			// What serves does not depend on it, and its Releases say what is wrong; so a
			// revision that this engine refuses does not keep the replica from serving.
			l.log.Error(err, "Template revision does not compile", "templateRevision", name)
		}
	}
	l.done.Store(true)
	return nil
}

// ready is a healthz.Checker.
func (l *templateLoader) ready(*http.Request) error {
	if !l.done.Load() {
		return errors.New("the templates have not been loaded yet")
	}
	return nil
}
