package apply

import (
	"context"
	"errors"
	"fmt"

	"k8s.io/apimachinery/pkg/api/meta"
	"sigs.k8s.io/controller-runtime/pkg/client"

	"tidegate.io/tidegate/rollout/manifest"
	"tidegate.io/tidegate/rollout/plan"
	"tidegate.io/tidegate/schemas/v1alpha1"
)

var (
	// ErrDropped refuses to go on where the API server did not keep the route as it was
	// applied, so that requests would go elsewhere than was decided.
	ErrDropped = errors.New("the API server dropped a part of the route")
	// ErrNoRouter refuses a route of a kind that the cluster does not have.
	ErrNoRouter = errors.New("the cluster has no such kind of route")
)

// setExposure applies the route. When the revisions cannot be rendered it can still take
// everything from the canary, in the route as it is.
func (a Applier) setExposure(ctx context.Context, t *Target, e plan.Exposure) error {
	if !t.Sides.Complete(t.Rollout.Spec) {
		return a.takeAway(ctx, t, e)
	}
	want, err := manifest.Route(t.Sides, t.Rollout.Spec, t.Phase, t.Release, e)
	if err != nil {
		return fmt.Errorf("routing for Rollout %s: %w", t.Rollout.Name, err)
	}
	if t.Route != nil {
		want.SetResourceVersion(t.Route.GetResourceVersion())
		want.SetUID(t.Route.GetUID())
	}
	asked := want.DeepCopy()
	switch err := a.apply(ctx, t, want); {
	case meta.IsNoMatchError(err):
		return fmt.Errorf("%w: wanted %s in %s, found no such kind; install its CustomResourceDefinition and start the manager anew, or use another route in the template: %w",
			ErrNoRouter, want.GetKind(), want.GetAPIVersion(), err)
	case err != nil:
		return err
	}
	t.Route = want
	if !manifest.SameRoute(want, asked) {
		return fmt.Errorf("%w: wanted %s %s as it was applied, found it without a field, such as the percent of a mirror; install a newer version of the kind's CustomResourceDefinition, or leave the step out",
			ErrDropped, want.GetKind(), want.GetName())
	}
	return nil
}

// takeAway takes everything from the canary in the route that is there.
func (a Applier) takeAway(ctx context.Context, t *Target, e plan.Exposure) error {
	if e != (plan.Exposure{}) || t.Route == nil {
		return fmt.Errorf("setting the weight of Rollout %s to %d: %w", t.Rollout.Name, e.Weight, ErrNotRendered)
	}
	want, err := manifest.WithoutCanary(t.Route, t.Rollout.Spec)
	if err != nil {
		return err //nolint:wrapcheck // says what it did
	}
	if err := a.Writer.Update(ctx, want, client.FieldOwner(v1alpha1.FieldManager)); err != nil {
		return fmt.Errorf("taking all weight from the canary in %s %s/%s: %w", want.GetKind(), want.GetNamespace(), want.GetName(), err)
	}
	t.Route = want
	return nil
}
