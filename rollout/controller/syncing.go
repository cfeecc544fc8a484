package controller

import (
	"cmp"
	"context"
	"errors"
	"fmt"
	"slices"
	"time"

	corev1 "k8s.io/api/core/v1"
	"k8s.io/apimachinery/pkg/api/equality"
	apierrors "k8s.io/apimachinery/pkg/api/errors"
	"k8s.io/apimachinery/pkg/api/meta"
	metav1 "k8s.io/apimachinery/pkg/apis/meta/v1"
	"sigs.k8s.io/controller-runtime/pkg/client"
	"sigs.k8s.io/controller-runtime/pkg/log"

	"tidegate.io/tidegate/rollout/plan"
	"tidegate.io/tidegate/rollout/sync"
	"tidegate.io/tidegate/schemas/follow"
	"tidegate.io/tidegate/schemas/v1alpha1"
)

// maxAsked bounds how often the policies are asked in one look: once for each wave.
const maxAsked = 25

// sync takes one decision about who gets which revision, records it and carries it out. It
// returns when to look again. The status is written first, on the version that was read: a
// manager that was overtaken conflicts there and starts again.
func (r *templates) sync(ctx context.Context, template *v1alpha1.ReleaseTemplate, revisions []v1alpha1.TemplateRevision, stands standing) (time.Duration, error) {
	releases, err := releasesOf(ctx, r.client, template.Name)
	if err != nil {
		return 0, err
	}
	seen, err := r.observe(ctx, template, revisions, releases)
	if err != nil {
		return 0, err
	}
	decision := r.decide(ctx, seen)
	written, err := r.record(ctx, template, revisions, len(releases), decision.Status, stands)
	if err != nil {
		return 0, err
	}
	if len(decision.Assign) > 0 && !written {
		if err := r.current(ctx, template); err != nil {
			return 0, err
		}
	}
	assigned := r.assign(ctx, releases, decision.Assign)
	// A Release that cannot be written must not keep people's commands waiting: they are
	// recorded already, and the next is only taken when this one is answered.
	if err := r.answer(ctx, seen.Commands, decision.Answers); err != nil {
		return 0, errors.Join(assigned, err)
	}
	if assigned != nil {
		return 0, assigned
	}
	if err := r.retain(ctx, template.Name, template, revisions, releases); err != nil {
		return 0, err
	}
	return decision.RequeueAfter, nil
}

// decide asks the policies where the decision rests on them.
func (r *templates) decide(ctx context.Context, seen sync.Observation) sync.Decision {
	now := r.opts.Clock.Now()
	decision := sync.Next(seen, now)
	for range maxAsked {
		if decision.Ask == "" {
			break
		}
		seen.Permissions[decision.Ask] = r.permission(ctx, seen.Template, decision.Status.Target, decision.Ask, now)
		decision = sync.Next(seen, now)
	}
	return decision
}

// permission asks about one wave. What cannot be found out is not allowed.
func (r *templates) permission(ctx context.Context, template, revision, wave string, now time.Time) sync.Permission {
	if r.opts.Permit == nil {
		return sync.Permission{Allowed: true}
	}
	allowed, code, message, until, err := r.opts.Permit(ctx, template, revision, wave, now)
	if err != nil {
		log.FromContext(ctx).Error(err, "Cannot ask the policies about a sync", "wave", wave)
		return sync.Permission{Code: sync.ReasonHeld, Message: "the policies could not be asked: " + clip(err.Error(), maxConditionMessage/4)}
	}
	return sync.Permission{Allowed: allowed, Code: code, Message: message, Until: until}
}

// observe gathers what a decision rests on.
func (r *templates) observe(ctx context.Context, template *v1alpha1.ReleaseTemplate, revisions []v1alpha1.TemplateRevision, releases []v1alpha1.Release) (sync.Observation, error) {
	out := sync.Observation{
		Template: template.Name, Spec: template.Spec.Sync, Status: template.Status.Sync, Latest: nameOf(newest(revisions)),
		Permissions: map[string]sync.Permission{},
	}
	for i := range revisions {
		if revisions[i].DeletionTimestamp == nil {
			out.Revisions = append(out.Revisions, sync.Revision{Name: revisions[i].Name, Number: revisions[i].Spec.Number})
		}
	}
	for i := range releases {
		if releases[i].DeletionTimestamp != nil {
			continue
		}
		seen, err := r.sight(ctx, &releases[i])
		if err != nil {
			return out, err
		}
		out.Releases = append(out.Releases, seen)
	}
	var err error
	if out.Commands, err = r.commands(ctx, template); err != nil {
		return out, err
	}
	if out.Status == nil {
		out.Taken, err = r.obeyed(ctx, template)
	}
	return out, err
}

// sight is what the sync has to know of one Release. The Rollouts of one that serves are
// not looked at: there may be thousands.
func (r *templates) sight(ctx context.Context, release *v1alpha1.Release) (sync.Release, error) {
	s := &release.Status
	out := sync.Release{
		Namespace: release.Namespace, Name: release.Name, Labels: release.Labels, Generation: release.Generation,
		Free: follow.Free(release), Assigned: s.Assigned, Has: s.TemplateRevision, Tried: s.Tried,
		Observed: s.ObservedGeneration, Phase: s.Phase, Message: s.Message, Drifted: drifted(release),
	}
	if s.Phase == v1alpha1.ReleaseServing {
		return out, nil
	}
	newest, err := r.rollout(ctx, release, s.Rollout)
	if err != nil || newest == nil {
		return out, err
	}
	out.Restored = newest.Spec.Restores != nil && release.Generation == newest.AdmittedAt()
	cause := newest.Status.AbortCause
	out.Rollout = &sync.Rollout{
		Name: newest.Name, TemplateRevision: newest.Spec.TemplateRevision, Phase: newest.Status.Phase,
		First: newest.Spec.Stable == nil, Paused: newest.Status.Paused, Waits: newest.Status.Reason == plan.ReasonHoldApproval,
		Blameless: cause != nil && (cause.Code == plan.ReasonAbortOutdated || cause.Code == plan.ReasonAbortSuperseded),
	}
	if out.Rollout.Phase == "" {
		out.Rollout.Phase = v1alpha1.RolloutPending
	}
	stable, err := r.rollout(ctx, release, s.StableRollout)
	if err != nil || stable == nil {
		return out, err
	}
	out.Stable = stable.Spec.TemplateRevision
	return out, nil
}

// rollout reads a Rollout of the Release from the cache; nil where there is none.
func (r *templates) rollout(ctx context.Context, release *v1alpha1.Release, name string) (*v1alpha1.Rollout, error) {
	if name == "" {
		return nil, nil //nolint:nilnil // there being none is an answer
	}
	var out v1alpha1.Rollout
	switch err := r.client.Get(ctx, client.ObjectKey{Namespace: release.Namespace, Name: name}, &out, client.UnsafeDisableDeepCopy); {
	case apierrors.IsNotFound(err):
		return nil, nil //nolint:nilnil // there being none is an answer
	case err != nil:
		return nil, fmt.Errorf("reading Rollout %s/%s: %w", release.Namespace, name, err)
	}
	return &out, nil
}

// drifted says whether the Release reports that the engine would render it differently.
func drifted(release *v1alpha1.Release) bool {
	return meta.IsStatusConditionTrue(release.Status.Conditions, conditionDrift)
}

// commands returns the unanswered commands about the template, oldest first. Where the cache
// has any they are read again: one that was answered may not be obeyed again.
func (r *templates) commands(ctx context.Context, template *v1alpha1.ReleaseTemplate) ([]sync.Command, error) {
	known, err := unanswered(ctx, r.client, template)
	if err != nil || len(known) == 0 {
		return nil, err
	}
	return unanswered(ctx, r.opts.Live, template)
}

// unanswered returns the unanswered commands about the template as from has them, oldest
// first. A command that is older than the template is about a former one of its name.
func unanswered(ctx context.Context, from client.Reader, template *v1alpha1.ReleaseTemplate) ([]sync.Command, error) {
	all, err := commandsAbout(ctx, from, template.Name)
	if err != nil {
		return nil, err
	}
	slices.SortFunc(all, func(a, b v1alpha1.TemplateCommand) int {
		return cmp.Or(a.CreationTimestamp.Compare(b.CreationTimestamp.Time), cmp.Compare(a.Name, b.Name))
	})
	var out []sync.Command
	for i := range all {
		c := &all[i]
		if c.Status.Outcome != "" || c.CreationTimestamp.Before(&template.CreationTimestamp) {
			continue
		}
		out = append(out, sync.Command{
			UID: c.UID, Name: c.Name, Action: c.Spec.Action, Revision: c.Spec.Revision, Actor: c.Spec.Actor, Reason: c.Spec.Reason,
		})
	}
	return out, nil
}

// obeyed returns the commands about the template that were obeyed, in that order, as the API
// server has them. A rollback turns away from a revision, which a template that was deleted
// and made anew has still; what else a former template was told ended with it.
func (r *templates) obeyed(ctx context.Context, template *v1alpha1.ReleaseTemplate) ([]sync.Taken, error) {
	all, err := commandsAbout(ctx, r.opts.Live, template.Name)
	if err != nil {
		return nil, err
	}
	all = slices.DeleteFunc(all, func(c v1alpha1.TemplateCommand) bool {
		former := c.CreationTimestamp.Before(&template.CreationTimestamp) && c.Spec.Action != v1alpha1.TemplateRollback
		return c.Status.Outcome != v1alpha1.OutcomeApplied || c.Status.At == nil || former
	})
	slices.SortFunc(all, func(a, b v1alpha1.TemplateCommand) int {
		return cmp.Or(a.Status.At.Compare(b.Status.At.Time), cmp.Compare(a.Name, b.Name))
	})
	out := make([]sync.Taken, 0, len(all))
	for i := range all {
		out = append(out, sync.Taken{Action: all[i].Spec.Action, Revision: all[i].Spec.Revision, RolledBackFrom: all[i].Status.RolledBackFrom})
	}
	return out, nil
}

func commandsAbout(ctx context.Context, from client.Reader, template string) ([]v1alpha1.TemplateCommand, error) {
	var list v1alpha1.TemplateCommandList
	if err := from.List(ctx, &list, client.MatchingFields{fieldCommandTemplate: template}); err != nil {
		return nil, fmt.Errorf("listing the commands about ReleaseTemplate %s: %w", template, err)
	}
	return list.Items, nil
}

// record writes the status of the template if it changed, and says whether it did.
func (r *templates) record(ctx context.Context, template *v1alpha1.ReleaseTemplate, revisions []v1alpha1.TemplateRevision, releases int, status *v1alpha1.TemplateSyncStatus, stands standing) (bool, error) {
	wanted := template.DeepCopy()
	wanted.Status.ObservedGeneration = template.Generation
	wanted.Status.Releases = int32(min(releases, 1<<30)) //nolint:gosec // it is bounded
	if latest := newest(revisions); latest != nil {
		wanted.Status.LatestRevision, wanted.Status.LatestDigest = latest.Name, latest.Spec.Digest
	}
	if status != nil {
		wanted.Status.Sync = status
	}
	stands.conditions(&wanted.Status.Conditions, template.Generation)
	if status != nil && status.Drifted > 0 {
		meta.SetStatusCondition(&wanted.Status.Conditions, metav1.Condition{
			Type: conditionDrift, Status: metav1.ConditionTrue, ObservedGeneration: template.Generation, Reason: conditionReason(ReasonEngineDrift),
			Message: fmt.Sprintf("%s: this version would render %d Releases differently from what was judged; nothing of that is applied. "+
				"Publish a revision, which is judged anew, or have the teams apply their Releases", ReasonEngineDrift, status.Drifted),
		})
	} else {
		meta.RemoveStatusCondition(&wanted.Status.Conditions, conditionDrift)
	}
	if equality.Semantic.DeepEqual(template.Status, wanted.Status) {
		return false, nil
	}
	if err := r.client.Status().Update(ctx, wanted, client.FieldOwner(v1alpha1.FieldManager)); err != nil {
		return false, fmt.Errorf("recording the status of ReleaseTemplate %s: %w", template.Name, err)
	}
	r.announce(ctx, template, &wanted.Status)
	return true, nil
}

// announce makes events and a line of log of what changed.
func (r *templates) announce(ctx context.Context, template *v1alpha1.ReleaseTemplate, status *v1alpha1.ReleaseTemplateStatus) {
	was, is := meta.FindStatusCondition(template.Status.Conditions, v1alpha1.ConditionStalled), meta.FindStatusCondition(status.Conditions, v1alpha1.ConditionStalled)
	if is != nil && (was == nil || was.Message != is.Message) {
		r.opts.Recorder.Eventf(template, nil, corev1.EventTypeWarning, is.Reason, "Publish", "%s", clip(is.Message, maxEventNote))
	}
	before, now := template.Status.Sync, status.Sync
	if now == nil || before == nil || before.Target == now.Target && before.Phase == now.Phase && before.Wave == now.Wave && before.Reason == now.Reason {
		return
	}
	log.FromContext(ctx).Info("Decided about a sync", "target", now.Target, "phase", now.Phase, "wave", now.Wave, "reason", now.Reason, "message", now.Message)
	kind := corev1.EventTypeNormal
	if now.Phase == v1alpha1.SyncHalted || now.Reason == sync.ReasonInvalid {
		kind = corev1.EventTypeWarning
	}
	r.opts.Recorder.Eventf(template, nil, kind, conditionReason(now.Reason), "Sync", "%s", clip(now.Message, maxEventNote))
}

// current makes sure, where no status had to be written, that it is not an old one that is
// about to be carried out.
func (r *templates) current(ctx context.Context, template *v1alpha1.ReleaseTemplate) error {
	var live v1alpha1.ReleaseTemplate
	if err := r.opts.Live.Get(ctx, client.ObjectKeyFromObject(template), &live); err != nil {
		return fmt.Errorf("reading ReleaseTemplate %s: %w", template.Name, err)
	}
	if live.UID != template.UID || live.Generation != template.Generation || !equality.Semantic.DeepEqual(live.Status.Sync, template.Status.Sync) {
		return fmt.Errorf("reading ReleaseTemplate %s: %w", template.Name, errOvertaken)
	}
	return nil
}

// assign writes what the sync gives to Releases: that field alone, each on the version of the
// Release that was looked at. One that was overtaken does not keep others waiting.
func (r *templates) assign(ctx context.Context, releases []v1alpha1.Release, assignments []sync.Assignment) error {
	if len(assignments) == 0 {
		return nil
	}
	known := make(map[client.ObjectKey]*v1alpha1.Release, len(releases))
	for i := range releases {
		known[client.ObjectKeyFromObject(&releases[i])] = &releases[i]
	}
	var errs []error
	for _, a := range assignments {
		release := known[client.ObjectKey{Namespace: a.Namespace, Name: a.Name}]
		before := &v1alpha1.Release{}
		before.Namespace, before.Name, before.ResourceVersion = release.Namespace, release.Name, release.ResourceVersion
		before.Status.Assigned = release.Status.Assigned
		after := before.DeepCopy()
		after.Status.Assigned = a.Assigned
		patch := client.MergeFromWithOptions(before, client.MergeFromWithOptimisticLock{})
		err := r.client.Status().Patch(ctx, after, patch, client.FieldOwner(v1alpha1.FieldManager))
		countAssignment(a, err)
		if client.IgnoreNotFound(err) != nil {
			errs = append(errs, fmt.Errorf("assigning a template revision to Release %s/%s: %w", a.Namespace, a.Name, err))
		}
	}
	return worst(errs)
}

// worst returns an error that does not pass by itself before one that does.
func worst(errs []error) error {
	for _, err := range errs {
		if !apierrors.IsConflict(err) {
			return errors.Join(errs...)
		}
	}
	if len(errs) > 0 {
		return errs[0]
	}
	return nil
}

// answer records the outcomes on the commands.
func (r *templates) answer(ctx context.Context, commands []sync.Command, answers []sync.Answer) error {
	for _, a := range answers {
		var command v1alpha1.TemplateCommand
		switch err := r.opts.Live.Get(ctx, client.ObjectKey{Name: a.Command}, &command); {
		case apierrors.IsNotFound(err):
			continue
		case err != nil:
			return fmt.Errorf("reading TemplateCommand %s: %w", a.Command, err)
		}
		asked := slices.IndexFunc(commands, func(c sync.Command) bool { return c.Name == a.Command })
		if command.Status.Outcome != "" || asked >= 0 && commands[asked].UID != command.UID {
			continue
		}
		command.Status.ObservedGeneration = command.Generation
		command.Status.Outcome, command.Status.Message = a.Outcome, a.Message
		if a.Outcome == v1alpha1.OutcomeApplied {
			now := metav1.NewMicroTime(r.opts.Clock.Now())
			command.Status.At, command.Status.RolledBackFrom = &now, a.RolledBackFrom
		}
		if err := r.client.Status().Update(ctx, &command, client.FieldOwner(v1alpha1.FieldManager)); err != nil {
			return fmt.Errorf("answering TemplateCommand %s: %w", a.Command, err)
		}
		countTemplateCommand(command.Spec.Action, a.Outcome)
	}
	return nil
}
