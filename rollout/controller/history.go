package controller

import (
	"context"
	"fmt"
	"slices"
	"strings"
	"time"

	apierrors "k8s.io/apimachinery/pkg/api/errors"
	"sigs.k8s.io/controller-runtime/pkg/client"

	"tidegate.io/tidegate/rollout/apply"
	"tidegate.io/tidegate/rollout/observe"
	"tidegate.io/tidegate/rollout/plan"
	"tidegate.io/tidegate/schemas/v1alpha1"
)

// keptEnded is how many ended Rollouts of a Release are kept for people to look at, where the
// template does not say.
const keptEnded = 10

// prune deletes ended Rollouts that nothing needs any more.
func (l *releaseLoop) prune(ctx context.Context, release *v1alpha1.Release, rollouts []v1alpha1.Rollout) error {
	if len(prunable(rollouts)) == 0 {
		return nil
	}
	live, err := observe.Rollouts(ctx, l.live, release.Namespace, release.Name)
	if err != nil {
		return err
	}
	for _, old := range prunable(observe.Controlled(live, release.UID)) {
		// A command that was not taken yet may be about to ask for its revision.
		commands, err := observe.Unanswered(ctx, l.live, &old)
		if err != nil {
			return err //nolint:wrapcheck // says what it read
		}
		if len(commands) > 0 {
			continue
		}
		err = l.client.Delete(ctx, &old, client.Preconditions{UID: &old.UID, ResourceVersion: &old.ResourceVersion})
		if client.IgnoreNotFound(err) != nil {
			return fmt.Errorf("deleting old Rollout %s/%s: %w", old.Namespace, old.Name, err)
		}
	}
	return nil
}

// prunable returns the ended Rollouts that nothing needs any more, oldest first: all but as many
// of the last as the newest asks for, and what is needed.
func prunable(rollouts []v1alpha1.Rollout) []v1alpha1.Rollout {
	var ended []v1alpha1.Rollout
	for i := range rollouts {
		if rollouts[i].Status.Phase.Terminal() {
			ended = append(ended, rollouts[i])
		}
	}
	limit := keptEnded
	if len(rollouts) > 0 {
		if n := rollouts[len(rollouts)-1].Spec.Strategy.HistoryLimit; n != nil {
			limit = int(*n)
		}
	}
	if len(ended) <= limit {
		return nil
	}
	needed := needs(rollouts)
	return slices.DeleteFunc(ended[:len(ended)-limit], func(r v1alpha1.Rollout) bool { return needed[r.Name] })
}

// needs names the Rollouts that something rests on:
//
//   - what serves, and what one that is kept would return to;
//   - the last of each template that the Release had: its values are those that the template
//     may have fixed for life. The newest is among them, by which it is known what was rejected;
//   - what was in service last, as many as the rollback window has;
//   - what a command brings back, until that is made, and then the proof that it was;
//   - those that made what is yet to be deleted.
func needs(rollouts []v1alpha1.Rollout) map[string]bool {
	needed := map[string]bool{}
	newest := &rollouts[len(rollouts)-1]
	if stable := newestSucceeded(rollouts); stable != nil {
		needed[stable.Name] = true
	}
	last, served := map[string]string{}, map[string]string{}
	var order []string
	for i := range rollouts {
		r := &rollouts[i]
		last[templateNamed(r.Spec.TemplateRevision)] = r.Name
		if r.Spec.Stable != nil && (r == newest || !r.Status.Phase.Terminal()) {
			needed[r.Spec.Stable.Rollout] = true
		}
		if r.Status.Phase == v1alpha1.RolloutSucceeded {
			order = append(order, r.Spec.Digest)
			served[r.Spec.Digest] = r.Name
		}
		if restoring(rollouts, r) {
			needed[r.Name] = true
		}
	}
	for template, name := range last {
		needed[name] = needed[name] || template != ""
	}
	if window := newest.Spec.Strategy.RollbackWindow; window != nil {
		for _, digest := range plan.LastServed(order, window.Revisions) {
			needed[served[digest]] = true
		}
	}
	for _, left := range leftovers(rollouts) {
		needed[left.rollout] = true
	}
	return needed
}

// restoring says whether a command brings back a Rollout and is not carried out yet, or a
// Rollout is the proof that it was.
func restoring(rollouts []v1alpha1.Rollout, r *v1alpha1.Rollout) bool {
	if r.Status.Restored != nil && !carriedOut(rollouts, r.Status.Restored.Command) {
		return true
	}
	if r.Spec.Restores == nil {
		return false
	}
	source := find(rollouts, r.Spec.Restores.Rollout)
	return source != nil && source.Status.Restored != nil && source.Status.Restored.Command == r.Spec.Restores.Command
}

// keptCommand is for how long a command that came too late is kept, so that who gave it reads the answer.
const keptCommand = 10 * time.Minute

// forget deletes the answered commands about a Rollout that is gone: they were its audit trail.
// One without an answer gets one, since nobody else would give it, and is deleted later; again is
// when.
func (l *rolloutLoop) forget(ctx context.Context, key client.ObjectKey) (again time.Duration, err error) {
	var list v1alpha1.RolloutCommandList
	about := []client.ListOption{client.InNamespace(key.Namespace), client.MatchingFields{observe.FieldRollout: key.Name}}
	if err := l.client.List(ctx, &list, about...); err != nil {
		return 0, fmt.Errorf("listing the commands about Rollout %s: %w", key, err)
	}
	list.Items = slices.DeleteFunc(list.Items, func(c v1alpha1.RolloutCommand) bool {
		left := keptCommand - l.clock.Since(c.CreationTimestamp.Time)
		if c.Status.Outcome == "" || !strings.HasPrefix(c.Status.Message, plan.ReasonCommandLate) || left <= 0 {
			return false
		}
		again = max(again, left)
		return true
	})
	if len(list.Items) == 0 {
		return again, nil
	}
	// The cache may be behind, and the Rollout be there already.
	if err := l.reader.Live.Get(ctx, key, &v1alpha1.Rollout{}); !apierrors.IsNotFound(err) {
		if err != nil {
			return 0, fmt.Errorf("reading Rollout %s: %w", key, err)
		}
		return 0, nil
	}
	for i := range list.Items {
		if list.Items[i].Status.Outcome == "" {
			again = keptCommand
		}
		if err := l.tidy(ctx, &list.Items[i]); err != nil {
			return 0, err
		}
	}
	return again, nil
}

// tidy answers a command about a Rollout that is gone, or deletes one that was answered.
func (l *rolloutLoop) tidy(ctx context.Context, command *v1alpha1.RolloutCommand) error {
	if command.Status.Outcome != "" {
		err := l.client.Delete(ctx, command, client.Preconditions{UID: &command.UID})
		if client.IgnoreNotFound(err) != nil {
			return fmt.Errorf("deleting RolloutCommand %s/%s: %w", command.Namespace, command.Name, err)
		}
		return nil
	}
	command = command.DeepCopy()
	command.Status.ObservedGeneration, command.Status.Outcome = command.Generation, v1alpha1.OutcomeRefused
	command.Status.Message = fmt.Sprintf("%s: wanted Rollout %s, found that it is gone, so that nothing is done; look for the one that is meant: kubectl get rollouts -n %s",
		plan.ReasonCommandLate, command.Spec.Rollout, command.Namespace)
	err := l.client.Status().Update(ctx, command, client.FieldOwner(v1alpha1.FieldManager))
	if client.IgnoreNotFound(err) != nil {
		return fmt.Errorf("answering RolloutCommand %s/%s: %w", command.Namespace, command.Name, err)
	}
	return nil
}

// answer executes those of actions that answer commands.
func (l *rolloutLoop) answer(ctx context.Context, target *apply.Target, actions []plan.Action) error {
	for _, action := range actions {
		if action.Kind != plan.ActionAnswer {
			continue
		}
		err := l.execute(ctx, target, action)
		countAction(action.Kind, err)
		if err != nil {
			return err
		}
	}
	return nil
}
