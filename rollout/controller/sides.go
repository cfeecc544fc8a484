package controller

import (
	"context"
	"fmt"

	lru "github.com/hashicorp/golang-lru/v2"
	apierrors "k8s.io/apimachinery/pkg/api/errors"
	"k8s.io/apimachinery/pkg/types"
	"sigs.k8s.io/controller-runtime/pkg/client"

	"tidegate.io/tidegate/rollout/manifest"
	"tidegate.io/tidegate/schemas/render"
	"tidegate.io/tidegate/schemas/v1alpha1"
)

// rememberedRenders bounds the memory of renders: two for each Rollout that moves.
const rememberedRenders = 256

// renders renders Rollouts from what they pin, and remembers. It never gives anything
// that is not exactly what was judged.
type renders struct {
	renderer Renderer
	// reader may be a cache: TemplateRevisions never change.
	reader client.Reader
	known  *lru.Cache[pin, *render.Result]
}

// pin names what one Rollout pins: its digest changes with its size.
type pin struct {
	rollout types.UID
	digest  string
}

func newRenders(renderer Renderer, reader client.Reader) (*renders, error) {
	known, err := lru.New[pin, *render.Result](rememberedRenders)
	if err != nil {
		return nil, fmt.Errorf("making the memory of renders: %w", err)
	}
	return &renders{renderer: renderer, reader: reader, known: known}, nil
}

// sides renders both revisions of a Rollout. The sides that can be had are returned beside
// a terminal or waiting error that says why the other is missing.
func (r *renders) sides(ctx context.Context, rollout *v1alpha1.Rollout, siblings []v1alpha1.Rollout) (manifest.Sides, error) {
	var out manifest.Sides
	var failure error
	canary, err := r.pinned(ctx, rollout)
	if err != nil {
		failure = err
	}
	out.Canary = canary
	if rollout.Spec.Stable == nil {
		return out, failure
	}
	stable := find(siblings, rollout.Spec.Stable.Rollout)
	if stable == nil {
		return out, terminalf(ReasonNotRendered,
			"the stable revision %s cannot be rendered: Rollout %s, which pins its inputs, is not there; apply the Release again to make a new Rollout",
			rollout.Spec.Stable.Revision, rollout.Spec.Stable.Rollout)
	}
	if out.Stable, err = r.pinned(ctx, stable); err != nil {
		failure = err
	}
	return out, failure
}

// pinned renders what one Rollout pins, unless it is remembered.
func (r *renders) pinned(ctx context.Context, rollout *v1alpha1.Rollout) (*render.Result, error) {
	key := pin{rollout.UID, rollout.Spec.Digest}
	if result, ok := r.known.Get(key); ok {
		return result, nil
	}
	result, err := renderPinned(ctx, r.renderer, r.reader, rollout)
	if err != nil {
		return nil, err
	}
	r.known.Add(key, result)
	return result, nil
}

// renderPinned renders what one Rollout pins, and checks that it is what was judged.
func renderPinned(ctx context.Context, renderer Renderer, reader client.Reader, rollout *v1alpha1.Rollout) (*render.Result, error) {
	var revision v1alpha1.TemplateRevision
	switch err := reader.Get(ctx, client.ObjectKey{Name: rollout.Spec.TemplateRevision}, &revision); {
	case apierrors.IsNotFound(err):
		return nil, waitingf(ReasonNotRendered,
			"Rollout %s cannot be rendered: TemplateRevision %s, which it pins, is not there; restore it from a backup, or apply the Release again with another revision",
			rollout.Name, rollout.Spec.TemplateRevision)
	case err != nil:
		return nil, fmt.Errorf("reading TemplateRevision %s: %w", rollout.Spec.TemplateRevision, err)
	}
	result, err := renderer.Render(ctx, &revision, rollout.Spec.Values, render.Context{
		Name: rollout.Spec.Release, Namespace: rollout.Namespace, Template: revision.Spec.Template,
	})
	if err != nil {
		failure := renderFailure(revision.Name, err)
		if cause, _ := causeOf(failure); cause != nil {
			return nil, terminalf(ReasonNotRendered, "Rollout %s could be rendered when it was judged and cannot any more: %s",
				rollout.Name, cause.Message)
		}
		return nil, failure
	}
	if result.Digest != rollout.Spec.Digest || result.Revision != rollout.Spec.Revision {
		return nil, terminalf(ReasonEngineDrift,
			"Rollout %s was judged as %s (revision %s) and its inputs now render to %s (revision %s); nothing is applied. Run the manager version that judged it, or apply the Release again to have the new output judged",
			rollout.Name, rollout.Spec.Digest, rollout.Spec.Revision, result.Digest, result.Revision)
	}
	return result, nil
}

func find(rollouts []v1alpha1.Rollout, name string) *v1alpha1.Rollout {
	for i := range rollouts {
		if rollouts[i].Name == name {
			return &rollouts[i]
		}
	}
	return nil
}
