package main

import (
	"context"
	"errors"
	"fmt"
	"net/http"
	"sync/atomic"

	"github.com/go-logr/logr"
	"k8s.io/apimachinery/pkg/runtime"
	"k8s.io/apimachinery/pkg/types"
	"sigs.k8s.io/controller-runtime/pkg/cache"
	"sigs.k8s.io/controller-runtime/pkg/client"

	"tidegate.io/tidegate/schemas/render"
	"tidegate.io/tidegate/schemas/v1alpha1"
)

// renderer renders with compiled templates that it shares with the webhook.
type renderer struct{ compiled *render.Cache }

// Render implements controller.Renderer.
func (r renderer) Render(ctx context.Context, revision *v1alpha1.TemplateRevision, values *runtime.RawExtension, in render.Context) (*render.Result, error) {
	if err := ctx.Err(); err != nil {
		return nil, fmt.Errorf("rendering with %s: %w", revision.Name, err)
	}
	template, err := r.compiled.Get(revision.Spec.Files)
	if err != nil {
		return nil, err
	}
	var raw []byte
	if values != nil {
		raw = values.Raw
	}
	return template.Render(raw, in)
}

// templateLoader compiles the newest revision of every template when this replica starts,
// so that the first request does not wait for it.
type templateLoader struct {
	client   client.Reader
	cache    cache.Cache
	compiled *render.Cache
	log      logr.Logger
	done     atomic.Bool
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
		// What serves does not depend on it, and its Releases say what is wrong; so a
		// revision that this engine refuses does not keep the replica from serving.
		if _, err := l.compiled.Get(revision.Spec.Files); err != nil {
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
