package controller

import (
	"context"

	"tidegate.io/tidegate/rollout/manifest"
	"tidegate.io/tidegate/schemas/render"
	"tidegate.io/tidegate/schemas/v1alpha1"
)

// fits refuses a Rollout between sets and a workload in place at which requests could be lost, before it is
// made. What serves is rendered for it, which the other Rollouts do not need.
func (l *releaseLoop) fits(ctx context.Context, wanted *v1alpha1.Rollout, result *render.Result, rollouts []v1alpha1.Rollout) error {
	if wanted == nil || !wanted.Spec.Changes() {
		return nil
	}
	serves, err := renderPinned(ctx, l.renderer, l.client, find(rollouts, wanted.Spec.Stable.Rollout))
	if err != nil {
		return err
	}
	if err := manifest.Fit(manifest.Sides{Stable: serves, Canary: result}, wanted.Spec); err != nil {
		return terminalf(ReasonStrategyChange,
			"the template now rolls out by %s, and what serves came by %s; requests could be lost in between, so nothing is changed: %v. Put it right in the template, keep to %s, or make another Release of another name and move over to it",
			wanted.Spec.Strategy.Type, wanted.Spec.Stable.Strategy, err, wanted.Spec.Stable.Strategy)
	}
	return nil
}
