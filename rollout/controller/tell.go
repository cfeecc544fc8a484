package controller

import (
	"context"

	"sigs.k8s.io/controller-runtime/pkg/client"
	"sigs.k8s.io/controller-runtime/pkg/log"

	"tidegate.io/tidegate/schemas/v1alpha1"
)

// Notifier tells people what becomes of Rollouts. Its methods return at once, may be told the
// same thing twice, and decide themselves what is worth telling. labels are those of the
// Release.
type Notifier interface {
	// Tell is called with each change of phase, step or reason that was written.
	Tell(before *v1alpha1.RolloutStatus, rollout *v1alpha1.Rollout, labels map[string]string)
	// TellStep is called for a step that has something to say; step counts from 1, and sink
	// names who is told, or is empty.
	TellStep(rollout *v1alpha1.Rollout, labels map[string]string, step int32, text, sink string)
}

// tell tells of a change of status, and what the steps say that were come to, if there is somebody to tell it to.
func (l *rolloutLoop) tell(ctx context.Context, rollout *v1alpha1.Rollout, before *v1alpha1.RolloutStatus) {
	if l.notifier == nil {
		return
	}
	labels := l.release(ctx, rollout).Labels
	l.notifier.Tell(before, rollout, labels)
	for step := before.Step + 1; step <= rollout.Status.Step; step++ {
		if say := said(rollout, step); say != nil {
			l.notifier.TellStep(rollout, labels, step, say.Message, say.Sink)
		}
	}
}

// said is what a step that was come to has to say, nil for nothing. A step that a promotion
// by hand passed over says nothing.
func said(rollout *v1alpha1.Rollout, step int32) *v1alpha1.NotifyStep {
	steps, status := rollout.Spec.Strategy.Steps, &rollout.Status
	if step < 1 || int(step) > len(steps) || status.Promoted != nil && step != status.Step {
		return nil
	}
	return steps[step-1].Notify
}

// release reads, from the cache, the Release of a Rollout; an empty one where it cannot be
// read: people are told all the same.
func (l *rolloutLoop) release(ctx context.Context, rollout *v1alpha1.Rollout) *v1alpha1.Release {
	var release v1alpha1.Release
	if err := l.client.Get(ctx, client.ObjectKey{Namespace: rollout.Namespace, Name: rollout.Spec.Release}, &release); err != nil {
		log.FromContext(ctx).Error(err, "Telling of a Rollout without its Release")
	}
	return &release
}
