package controller

import (
	"context"
	"time"

	"sigs.k8s.io/controller-runtime/pkg/log"

	"tidegate.io/tidegate/rollout/observe"
	"tidegate.io/tidegate/rollout/plan"
	"tidegate.io/tidegate/schemas/v1alpha1"
)

// permission asks the policies about promotion, if the next decision raises exposure where
// they let it. An answer that cannot be had is Unknown, on which nothing rises.
func (l *rolloutLoop) permission(ctx context.Context, subject *observe.Subject, seen plan.Observation, now time.Time) plan.Promotion {
	step, weight, rises := plan.Rise(seen, now)
	if l.promotion == nil || !rises {
		return plan.Promotion{Knowledge: plan.Present, Allowed: true}
	}
	verdict, err := l.promotion.Allowed(ctx, subject.Rollout, templateName(subject), step, weight, now)
	if err != nil {
		log.FromContext(ctx).Error(err, "Cannot ask the policies about promotion")
		return plan.Promotion{Message: clip(err.Error(), maxConditionMessage)}
	}
	return plan.Promotion{
		Knowledge: plan.Present, Allowed: verdict.Allowed, Code: verdict.Code, Message: verdict.Message, Until: verdict.Until,
	}
}

// templateName is the name of the template that the Rollout was rendered with. The Release
// may name another one by now.
func templateName(subject *observe.Subject) string {
	if side := subject.Sides.Canary; side != nil {
		for _, obj := range side.Set {
			if name := obj.GetLabels()[v1alpha1.LabelTemplate]; name != "" {
				return name
			}
		}
	}
	return subject.Release.Spec.Template.Name
}
