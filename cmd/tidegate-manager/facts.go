package main

import (
	"bytes"
	"context"
	"encoding/json"
	"fmt"
	"slices"
	"time"

	corev1 "k8s.io/api/core/v1"
	"k8s.io/apimachinery/pkg/api/meta"
	"k8s.io/apimachinery/pkg/types"
	"sigs.k8s.io/controller-runtime/pkg/client"

	"tidegate.io/tidegate/policies/eval"
	"tidegate.io/tidegate/rollout/observe"
	"tidegate.io/tidegate/rollout/plan"
	"tidegate.io/tidegate/schemas/v1alpha1"
)

// approvals are those of a Rollout, with the groups that the API server stamped. They are
// those of the command that the Rollout names; without it there are none. Who promotes a
// Rollout, or skips a step that asks for an approval, has approved it with that.
func (p *promotions) approvals(ctx context.Context, rollout *v1alpha1.Rollout) ([]eval.Approval, error) {
	var out []eval.Approval
	for _, a := range approving(rollout) {
		approval := eval.Approval{Step: a.Step, Actor: a.Actor}
		var command v1alpha1.RolloutCommand
		if err := p.get(ctx, types.NamespacedName{Namespace: rollout.Namespace, Name: a.Command}, &command); err != nil {
			return nil, err
		}
		if command.Spec.Rollout == rollout.Name && command.Spec.Actor == a.Actor && approves[command.Spec.Action] {
			approval.Groups = command.Spec.Groups
		}
		out = append(out, approval)
	}
	return out, nil
}

// approves are the actions that say yes to what is being rolled out.
var approves = map[v1alpha1.CommandAction]bool{
	v1alpha1.CommandApprove: true, v1alpha1.CommandSkipStep: true, v1alpha1.CommandPromote: true,
}

// approving returns the decisions that count as approvals.
func approving(rollout *v1alpha1.Rollout) []v1alpha1.Approval {
	out := slices.Clone(rollout.Status.Approvals)
	for _, s := range rollout.Status.Skips {
		steps := rollout.Spec.Strategy.Steps
		if s.Step < 1 || int(s.Step) > len(steps) {
			continue
		}
		if pause := steps[s.Step-1].Pause; pause != nil && pause.Approval {
			out = append(out, s)
		}
	}
	if p := rollout.Status.Promoted; p != nil {
		out = append(out, *p)
	}
	return out
}

// author is who made the change that is rolled out, as the Rollout pins it, or who has brought a
// revision back. One that pins nobody was made before that was done: then it is who last changed the
// Release, as the API server stamped it, and nobody knows where it was changed since.
func author(release *v1alpha1.Release, rollout *v1alpha1.Rollout) string {
	if r := rollout.Spec.Restores; r != nil {
		return r.Actor
	}
	if pinned := rollout.Annotations[v1alpha1.AnnotationAuthor]; pinned != "" {
		return pinned
	}
	if release.Generation != rollout.AdmittedAt() || len(rollout.Spec.Resized) > 0 {
		return ""
	}
	return release.Annotations[v1alpha1.AnnotationAuthor]
}

// history has the other Rollouts of the namespace, of whatever Release.
func (p *promotions) history(ctx context.Context, rollout *v1alpha1.Rollout, now time.Time) ([]eval.Past, error) {
	var list v1alpha1.RolloutList
	if err := p.reader.List(ctx, &list, client.InNamespace(rollout.Namespace), client.UnsafeDisableDeepCopy); err != nil {
		return nil, fmt.Errorf("listing the Rollouts of namespace %s: %w", rollout.Namespace, err)
	}
	out := make([]eval.Past, 0, len(list.Items))
	for i := range list.Items {
		r := &list.Items[i]
		if r.Name == rollout.Name {
			continue
		}
		raised := p.turns.raised(r, now)
		out = append(out, eval.Past{
			Release: r.Spec.Release, Rollout: r.Name, Started: eval.Moment(r.CreationTimestamp.Time), Raised: eval.Moment(raised),
			Waits: raised.IsZero() && begins(r) && r.Status.Phase == v1alpha1.RolloutProgressing && r.Status.Reason == plan.ReasonHoldPolicy,
			Phase: string(r.Status.Phase), First: r.Spec.Stable == nil,
		})
	}
	return eval.Newest(out), nil
}

// elsewhere has the newest Rollout of the Releases of the same name in other namespaces.
func (p *promotions) elsewhere(ctx context.Context, rollout *v1alpha1.Rollout) ([]eval.Elsewhere, error) {
	all, err := observe.Rollouts(ctx, p.reader, "", rollout.Spec.Release)
	if err != nil {
		return nil, err //nolint:wrapcheck // says what it did
	}
	newest := map[string]*v1alpha1.Rollout{}
	for i := range all {
		r := &all[i]
		if r.Namespace == rollout.Namespace {
			continue
		}
		if n := newest[r.Namespace]; n == nil || n.Spec.Number < r.Spec.Number {
			newest[r.Namespace] = r
		}
	}
	out := make([]eval.Elsewhere, 0, len(newest))
	for namespace, r := range newest {
		var ns corev1.Namespace
		if err := p.get(ctx, types.NamespacedName{Name: namespace}, &ns); err != nil {
			return nil, err
		}
		values, err := valuesOf(r)
		if err != nil {
			return nil, err
		}
		out = append(out, eval.Elsewhere{
			Namespace: namespace, Labels: ns.Labels, Rollout: r.Name, Phase: string(r.Status.Phase), Template: r.Spec.TemplateRevision,
			Values: values, Succeeded: eval.Moment(succeeded(r)),
		})
	}
	return eval.ByNamespace(out), nil
}

// succeeded is when a Rollout came into service as a whole, or zero.
func succeeded(r *v1alpha1.Rollout) time.Time {
	ready := meta.FindStatusCondition(r.Status.Conditions, v1alpha1.ConditionReady)
	if r.Status.Phase != v1alpha1.RolloutSucceeded || ready == nil || ready.Status != "True" {
		return time.Time{}
	}
	return ready.LastTransitionTime.Time
}

func valuesOf(r *v1alpha1.Rollout) (any, error) {
	if r.Spec.Values == nil || len(r.Spec.Values.Raw) == 0 {
		return nil, nil //nolint:nilnil // no values are values
	}
	decoder := json.NewDecoder(bytes.NewReader(r.Spec.Values.Raw))
	decoder.UseNumber() // policies compare them, also long ones
	var out any
	if err := decoder.Decode(&out); err != nil {
		return nil, fmt.Errorf("reading the values of Rollout %s/%s: %w", r.Namespace, r.Name, err)
	}
	return out, nil
}
