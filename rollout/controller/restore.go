package controller

import (
	"cmp"
	"context"
	"fmt"
	"slices"

	corev1 "k8s.io/api/core/v1"
	apierrors "k8s.io/apimachinery/pkg/api/errors"
	metav1 "k8s.io/apimachinery/pkg/apis/meta/v1"
	"sigs.k8s.io/controller-runtime/pkg/client"

	"tidegate.io/tidegate/rollout/observe"
	"tidegate.io/tidegate/rollout/plan"
	"tidegate.io/tidegate/schemas/render"
	"tidegate.io/tidegate/schemas/v1alpha1"
)

// claim is a Rollout that is to be made of what a former one has pinned, whatever the spec
// of the Release asks for.
type claim struct {
	source   *v1alpha1.Rollout
	restores *v1alpha1.Restoration
	// command is what asks for it; empty where none does.
	command string
}

// claimed returns what is to be tried once more, nil where it is the spec that counts:
//
//   - the revision of a Rollout that a person has brought back, once for each command;
//   - what the newest Rollout was about, once for each retry, which ends with it being the
//     newest; unless the Release was applied anew since, which is another try already;
//   - what was brought back and never begun, since what it was over had changed.
func claimed(rollouts []v1alpha1.Rollout, generation int64) *claim {
	if asked := broughtBackNow(rollouts); len(asked) > 0 {
		return asked[0]
	}
	if len(rollouts) == 0 {
		return nil
	}
	newest := &rollouts[len(rollouts)-1]
	if newest.Status.Phase != v1alpha1.RolloutAborted || generation != newest.AdmittedAt() {
		return nil
	}
	if r := newest.Status.Retried; r != nil {
		return &claim{newest, newest.Spec.Restores, r.Command}
	}
	if cause := newest.Status.AbortCause; newest.Spec.Restores != nil && cause != nil && cause.Code == plan.ReasonAbortOutdated {
		return &claim{source: newest, restores: newest.Spec.Restores}
	}
	return nil
}

// broughtBackNow are the claims of roll-back commands that are not carried out yet, by the numbers of
// the Rollouts that they bring back.
func broughtBackNow(rollouts []v1alpha1.Rollout) []*claim {
	var out []*claim
	for i := range rollouts {
		source := &rollouts[i]
		if r := source.Status.Restored; r != nil && !carriedOut(rollouts, r.Command) {
			out = append(out, &claim{source, &v1alpha1.Restoration{Rollout: source.Name, Command: r.Command, Actor: r.Actor}, r.Command})
		}
	}
	return out
}

// inTurn returns what is to be tried once more: of several roll-back commands, as given while a
// promotion drains, the oldest, so that the last that was given has the last word.
func (l *releaseLoop) inTurn(ctx context.Context, release *v1alpha1.Release, rollouts []v1alpha1.Rollout) (*claim, error) {
	asked := broughtBackNow(rollouts)
	if len(asked) < 2 {
		return claimed(rollouts, release.Generation), nil
	}
	given := map[*claim]metav1.Time{} // one that is gone was given longest ago
	for _, c := range asked {
		var command v1alpha1.RolloutCommand
		key := client.ObjectKey{Namespace: release.Namespace, Name: c.command}
		if err := l.live.Get(ctx, key, &command); client.IgnoreNotFound(err) != nil {
			return nil, fmt.Errorf("reading RolloutCommand %s: %w", key, err)
		}
		given[c] = command.CreationTimestamp
	}
	return slices.MinFunc(asked, func(a, b *claim) int {
		at := given[b]
		return cmp.Or(given[a].Compare(at.Time), cmp.Compare(a.command, b.command))
	}), nil
}

// carriedOut says whether a Rollout was made for a roll-back command.
func carriedOut(rollouts []v1alpha1.Rollout, command string) bool {
	return slices.ContainsFunc(rollouts, func(r v1alpha1.Rollout) bool {
		return r.Spec.Restores != nil && r.Spec.Restores.Command == command
	})
}

// carryOut makes the Rollout that a person's command asks for, and says whether it did. Two
// managers cannot make two: the second finds its number taken, and then the command carried
// out.
func (l *releaseLoop) carryOut(ctx context.Context, release *v1alpha1.Release, rep *report) (bool, error) {
	if claimed(rep.rollouts, release.Generation) == nil {
		return false, nil
	}
	// The cache says so. Before anything is made, ask the API server.
	all, err := observe.Rollouts(ctx, l.live, release.Namespace, release.Name)
	if err != nil {
		return false, err
	}
	rep.rollouts = observe.Controlled(all, release.UID)
	c, err := l.inTurn(ctx, release, rep.rollouts)
	if c == nil || err != nil {
		return false, err
	}
	if newest := rep.rollouts[len(rep.rollouts)-1]; release.Generation < newest.AdmittedAt() {
		return false, fmt.Errorf("reading Release %s: %w: Rollout %s is for a newer generation", release.Name, errOvertaken, newest.Name)
	}
	result, err := renderPinned(ctx, l.renderer, l.live, c.source)
	if cause, _ := causeOf(err); cause != nil {
		return false, l.refuse(ctx, release, c, cause)
	}
	if err != nil {
		return false, err
	}
	w := wish{
		release: release, templateRevision: c.source.Spec.TemplateRevision, result: result, source: c.source, restores: c.restores,
	}
	wanted, err := begin(w, rep.rollouts, nextNumber(release, all))
	if err == nil {
		err = l.fits(ctx, wanted, result, rep.rollouts)
	}
	if cause, stalled := causeOf(err); cause != nil && stalled {
		return false, l.refuse(ctx, release, c, cause)
	}
	if err != nil {
		return false, err
	}
	if err := l.create(ctx, release, wanted); err != nil {
		return false, err
	}
	rep.rollouts = append(rep.rollouts, *wanted)
	return true, nil
}

// refuse takes a decision back that cannot be carried out: its inputs do not render any more
// as they were judged, or cannot follow what serves. The command says so, and the Rollout
// forgets it, so that it does not take effect on a day when nobody thinks of it any more. The
// command is answered first: a manager that dies in between does the same again.
func (l *releaseLoop) refuse(ctx context.Context, release *v1alpha1.Release, c *claim, cause *v1alpha1.Cause) error {
	if c.command == "" {
		// What was brought back already and cannot be made again: nothing is taken back.
		return &terminal{*cause}
	}
	message := fmt.Sprintf("%s: nothing is changed, since Rollout %s cannot be made again: %s", cause.Code, c.source.Name, cause.Message)
	var command v1alpha1.RolloutCommand
	key := client.ObjectKey{Namespace: release.Namespace, Name: c.command}
	switch err := l.live.Get(ctx, key, &command); {
	case apierrors.IsNotFound(err):
	case err != nil:
		return fmt.Errorf("reading RolloutCommand %s: %w", key, err)
	case command.Status.Outcome != v1alpha1.OutcomeRefused:
		command.Status.ObservedGeneration = command.Generation
		command.Status.Outcome, command.Status.Message = v1alpha1.OutcomeRefused, message
		if err := l.client.Status().Update(ctx, &command, client.FieldOwner(v1alpha1.FieldManager)); err != nil {
			return fmt.Errorf("answering RolloutCommand %s: %w", key, err)
		}
	}
	updated := c.source.DeepCopy()
	if r := updated.Status.Restored; r != nil && r.Command == c.command {
		updated.Status.Restored = nil
	}
	if r := updated.Status.Retried; r != nil && r.Command == c.command {
		updated.Status.Retried = nil
	}
	// On the version that was read: a command that came meanwhile is not lost.
	if err := l.client.Status().Update(ctx, updated, client.FieldOwner(v1alpha1.FieldManager)); err != nil {
		return fmt.Errorf("taking back a decision about Rollout %s/%s: %w", updated.Namespace, updated.Name, err)
	}
	l.recorder.Eventf(release, nil, corev1.EventTypeWarning, conditionReason(cause.Code), "Refuse", "%s", clip("RolloutCommand "+c.command+": "+message, maxEventNote))
	return fmt.Errorf("refusing RolloutCommand %s: %w", key, errOvertaken)
}

// restored says whether the newest Rollout has brought another revision back than the one that
// the spec, as it is, asks for.
func restored(release *v1alpha1.Release, newest *v1alpha1.Rollout, wanted *render.Result) bool {
	return newest.Spec.Restores != nil && newest.Status.Phase == v1alpha1.RolloutSucceeded &&
		release.Generation == newest.AdmittedAt() && newest.Spec.Digest != wanted.Digest
}

// known says whether what was rendered was in service lately, and may come back without steps.
func known(result *render.Result, rollouts []v1alpha1.Rollout) bool {
	var served []plan.Served
	for i := range rollouts {
		if r := &rollouts[i]; r.Status.Phase == v1alpha1.RolloutSucceeded {
			served = append(served, plan.Served{Digest: r.Spec.Digest, Known: r.Spec.Known, Restored: r.Spec.Restores != nil})
		}
	}
	return plan.KnownGood(result.Digest, result.Strategy.RollbackWindow, served)
}
