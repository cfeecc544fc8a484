package controller

import (
	"context"
	"fmt"
	"slices"

	apierrors "k8s.io/apimachinery/pkg/api/errors"
	"sigs.k8s.io/controller-runtime/pkg/client"

	"tidegate.io/tidegate/rollout/plan"
	"tidegate.io/tidegate/schemas/v1alpha1"
)

// changing are the actions that change what is in the cluster because a status says so. The others rest on
// nothing that another manager may have decided since, or are conditional by themselves.
var changing = []plan.ActionKind{
	plan.ActionApplyShared, plan.ActionEnsureSet, plan.ActionSetWeight, plan.ActionRetire, plan.ActionRunJob, plan.ActionStopJob,
}

// current makes sure that actions are about the Rollout as it is now. Mostly the decision has just been recorded on the
// version that it rested on, and there is nothing to ask. Where nothing had to be recorded, the
// cache may be behind with the Rollout and not with what it moves: another manager has aborted it, say, and
// the route without it is taken for one that is yet to be led to it.
func (l *rolloutLoop) current(ctx context.Context, was, rollout *v1alpha1.Rollout, actions []plan.Action) error {
	recorded := was.ResourceVersion != rollout.ResourceVersion
	changes := slices.ContainsFunc(actions, func(a plan.Action) bool { return slices.Contains(changing, a.Kind) })
	if recorded || !changes || rollout.Status.Phase.Terminal() {
		return nil
	}
	var live v1alpha1.Rollout
	switch err := l.live.Live.Get(ctx, client.ObjectKeyFromObject(rollout), &live); {
	case err != nil && !apierrors.IsNotFound(err):
		return fmt.Errorf("reading Rollout %s/%s: %w", rollout.Namespace, rollout.Name, err)
	case err != nil || live.ResourceVersion != rollout.ResourceVersion:
		return fmt.Errorf("acting for Rollout %s/%s: %w", rollout.Namespace, rollout.Name, errOvertaken)
	}
	return nil
}
