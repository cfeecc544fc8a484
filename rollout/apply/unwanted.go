package apply

import (
	"context"
	"errors"
	"fmt"

	apierrors "k8s.io/apimachinery/pkg/api/errors"
	"k8s.io/apimachinery/pkg/runtime/schema"
	"sigs.k8s.io/controller-runtime/pkg/client"

	"tidegate.io/tidegate/rollout/manifest"
	"tidegate.io/tidegate/rollout/observe"
	"tidegate.io/tidegate/rollout/plan"
	"tidegate.io/tidegate/schemas/render"
	"tidegate.io/tidegate/schemas/v1alpha1"
)

// errMovedOn is what a conflict says where another manager has decided since.
var errMovedOn = errors.New("another manager has moved the Rollout on; what was made is not wanted any more")

// stillWanted asks, after something of a set was made, whether the Rollout as it is now wants that set. No
// write can be made conditional on another object, so that a manager that was held up on the way may
// make anew what another one has retired: who has made it deletes it, unless a Rollout that has
// not ended will, or uses it.
func (a Applier) stillWanted(ctx context.Context, t *Target, role plan.Role, side *render.Result) error {
	live, err := a.rollout(ctx, t)
	if err != nil || live != nil && wants(live.Status, role) {
		return err
	}
	conflict := apierrors.NewConflict(schema.GroupResource{Group: v1alpha1.GroupVersion.Group, Resource: "rollouts"}, t.Rollout.Name, errMovedOn)
	if live != nil && !live.Status.Phase.Terminal() || manifest.Rolling(t.Rollout.Spec) {
		return conflict
	}
	siblings, err := observe.Reader{Live: a.Live}.Siblings(ctx, t.Release)
	if err != nil {
		return err //nolint:wrapcheck // says what it read
	}
	if used(siblings, role, side.Revision) {
		return conflict
	}
	route, err := observe.Reader{Live: a.Live}.Route(ctx, t.Sides, t.Rollout)
	if err != nil {
		return err //nolint:wrapcheck // says what it read
	}
	if route != nil && manifest.LeadsTo(route, t.Rollout.Spec, side.Revision) {
		return conflict
	}
	for _, obj := range side.Set {
		if err := a.remove(ctx, t, obj); err != nil {
			return err
		}
	}
	return conflict
}

// rollout reads the Rollout as the API server has it; nil where it is gone.
func (a Applier) rollout(ctx context.Context, t *Target) (*v1alpha1.Rollout, error) {
	live := &v1alpha1.Rollout{}
	switch err := a.Live.Get(ctx, client.ObjectKeyFromObject(t.Rollout), live); {
	case apierrors.IsNotFound(err), err == nil && live.UID != t.Rollout.UID:
		return nil, nil //nolint:nilnil // gone is a fact, not a failure
	case err != nil:
		return nil, fmt.Errorf("reading Rollout %s/%s: %w", t.Rollout.Namespace, t.Rollout.Name, err)
	}
	return live, nil
}

// wants says whether a Rollout with a status has use for a set.
func wants(status v1alpha1.RolloutStatus, role plan.Role) bool {
	switch role {
	case plan.RoleStable:
		return status.Phase != v1alpha1.RolloutSucceeded && !status.Retiring
	case plan.RoleBaseline:
		return status.Phase == v1alpha1.RolloutProgressing
	case plan.RoleCanary:
	}
	return status.Phase != v1alpha1.RolloutAborting && status.Phase != v1alpha1.RolloutAborted
}

// used says whether a revision serves, or is a side of a Rollout that has not ended.
func used(siblings []v1alpha1.Rollout, role plan.Role, revision string) bool {
	serves := ""
	for i := range siblings {
		spec, phase := siblings[i].Spec, siblings[i].Status.Phase
		if phase == v1alpha1.RolloutSucceeded {
			serves = spec.Revision
		}
		if !phase.Terminal() && (spec.Revision == revision || spec.Stable != nil && spec.Stable.Revision == revision) {
			return true
		}
	}
	return role != plan.RoleBaseline && serves == revision
}
