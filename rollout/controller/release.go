package controller

import (
	"context"
	"fmt"

	corev1 "k8s.io/api/core/v1"
	"k8s.io/apimachinery/pkg/api/equality"
	apierrors "k8s.io/apimachinery/pkg/api/errors"
	metav1 "k8s.io/apimachinery/pkg/apis/meta/v1"
	"k8s.io/client-go/tools/events"
	"k8s.io/utils/clock"
	ctrl "sigs.k8s.io/controller-runtime"
	"sigs.k8s.io/controller-runtime/pkg/builder"
	"sigs.k8s.io/controller-runtime/pkg/client"
	"sigs.k8s.io/controller-runtime/pkg/controller"
	"sigs.k8s.io/controller-runtime/pkg/handler"
	"sigs.k8s.io/controller-runtime/pkg/log"
	"sigs.k8s.io/controller-runtime/pkg/manager"
	"sigs.k8s.io/controller-runtime/pkg/predicate"
	"sigs.k8s.io/controller-runtime/pkg/reconcile"

	"tidegate.io/tidegate/rollout/manifest"
	"tidegate.io/tidegate/rollout/observe"
	"tidegate.io/tidegate/schemas/render"
	"tidegate.io/tidegate/schemas/v1alpha1"
)

// releaseLoop turns the spec of a Release into a Rollout and reports what became of it.
// It never touches what serves.
type releaseLoop struct {
	client   client.Client
	live     client.Reader
	renderer Renderer
	recorder events.EventRecorder
	clock    clock.PassiveClock
}

func setupRelease(mgr manager.Manager, opts Options) error {
	loop := &releaseLoop{
		client: mgr.GetClient(), live: opts.Live, renderer: opts.Renderer, recorder: opts.Recorder, clock: opts.Clock,
	}
	err := builder.ControllerManagedBy(mgr).
		Named("release").
		For(&v1alpha1.Release{}, builder.WithPredicates(predicate.GenerationChangedPredicate{})).
		Owns(&v1alpha1.Rollout{}).
		Watches(&v1alpha1.TemplateRevision{}, handler.EnqueueRequestsFromMapFunc(loop.ofRevision)).
		Watches(&v1alpha1.ReleaseTemplate{}, handler.EnqueueRequestsFromMapFunc(loop.ofTemplate),
			builder.WithPredicates(predicate.GenerationChangedPredicate{})).
		WithOptions(controller.Options{
			MaxConcurrentReconciles: opts.MaxConcurrentReconciles, SkipNameValidation: &opts.SkipNameValidation,
		}).
		Complete(loop)
	if err != nil {
		return fmt.Errorf("setting up the release loop: %w", err)
	}
	return nil
}

// ofRevision finds the Releases of a template revision's template.
func (l *releaseLoop) ofRevision(ctx context.Context, obj client.Object) []reconcile.Request {
	revision, ok := obj.(*v1alpha1.TemplateRevision)
	if !ok {
		return nil
	}
	return l.using(ctx, revision.Spec.Template)
}

func (l *releaseLoop) ofTemplate(ctx context.Context, obj client.Object) []reconcile.Request {
	return l.using(ctx, obj.GetName())
}

func (l *releaseLoop) using(ctx context.Context, template string) []reconcile.Request {
	var list v1alpha1.ReleaseList
	if err := l.client.List(ctx, &list); err != nil {
		log.FromContext(ctx).Error(err, "Cannot list the Releases of a template", "template", template)
		return nil
	}
	var out []reconcile.Request
	for i := range list.Items {
		if list.Items[i].Spec.Template.Name == template {
			out = append(out, reconcile.Request{NamespacedName: client.ObjectKeyFromObject(&list.Items[i])})
		}
	}
	return out
}

// Reconcile brings one Release up to date.
func (l *releaseLoop) Reconcile(ctx context.Context, req reconcile.Request) (reconcile.Result, error) {
	var release v1alpha1.Release
	if err := l.client.Get(ctx, req.NamespacedName, &release); err != nil {
		return ctrl.Result{}, client.IgnoreNotFound(err)
	}
	if release.DeletionTimestamp != nil {
		// What was made for it goes with it, by owner reference.
		return ctrl.Result{}, nil
	}
	rep, err := l.progress(ctx, &release)
	if err != nil {
		cause, stalled := causeOf(err)
		if cause == nil {
			return result(0, err)
		}
		rep.cause, rep.stalled = cause, stalled
	}
	if statusErr := l.report(ctx, &release, rep); statusErr != nil {
		return result(0, statusErr)
	}
	if pruneErr := l.prune(ctx, &release, rep.rollouts); pruneErr != nil {
		return result(0, pruneErr)
	}
	return result(0, err)
}

// progress renders the spec and makes the Rollout that it needs. The report is as complete
// as it could be made when there is an error.
func (l *releaseLoop) progress(ctx context.Context, release *v1alpha1.Release) (report, error) {
	var rep report
	all, err := observe.Rollouts(ctx, l.client, release.Namespace, release.Name)
	if err != nil {
		return rep, err
	}
	rep.rollouts = observe.Controlled(all, release.UID)
	revision, err := l.templateRevision(ctx, release, rep.rollouts)
	if err != nil {
		return rep, err
	}
	result, err := l.renderer.Render(ctx, revision, release.Spec.Values, render.Context{
		Name: release.Name, Namespace: release.Namespace, Template: release.Spec.Template.Name,
	})
	if err != nil {
		return rep, renderFailure(revision.Name, err)
	}
	rep.revision, rep.templateRevision = result.Revision, revision.Name
	w := wish{release: release, templateRevision: revision.Name, result: result}
	if wanted, err := nextRollout(w, rep.rollouts, nextNumber(release, all)); wanted == nil {
		return rep, err
	}
	// The cache says that one is missing. Before it is made, ask the API server.
	if all, err = observe.Rollouts(ctx, l.live, release.Namespace, release.Name); err != nil {
		return rep, err
	}
	rep.rollouts = observe.Controlled(all, release.UID)
	wanted, err := nextRollout(w, rep.rollouts, nextNumber(release, all))
	if wanted == nil {
		return rep, err
	}
	if err := l.create(ctx, release, wanted); err != nil {
		return rep, err
	}
	rep.rollouts = append(rep.rollouts, *wanted)
	return rep, nil
}

// templateRevision chooses the revision of the template that the Release is rendered with.
func (l *releaseLoop) templateRevision(ctx context.Context, release *v1alpha1.Release, rollouts []v1alpha1.Rollout) (*v1alpha1.TemplateRevision, error) {
	ref := release.Spec.Template
	revisions, latest, err := l.templateRevisions(ctx, ref.Name)
	switch {
	case err != nil:
		return nil, err
	case latest == nil:
		return nil, waitingf(ReasonTemplateMissing,
			"the Release wants template %q, which has no revision; see why with: kubectl get releasetemplate %s", ref.Name, ref.Name)
	case ref.Revision != 0 && revisions[revisionName(ref.Name, ref.Revision)] == nil:
		return nil, waitingf(ReasonTemplateMissing,
			"spec.template.revision wants revision %d of template %q, and the latest is %d; set it to one that exists or remove it",
			ref.Revision, ref.Name, latest.Spec.Number)
	case ref.Revision != 0:
		return revisions[revisionName(ref.Name, ref.Revision)], nil
	case len(rollouts) == 0:
		return latest, nil
	}
	newest := &rollouts[len(rollouts)-1]
	used := revisions[newest.Spec.TemplateRevision]
	if used == nil || newest.Spec.ReleaseGeneration != release.Generation {
		// A person has applied the Release since.
		return latest, nil
	}
	stays, err := l.staysBehind(ctx, ref.Name)
	if err != nil {
		return nil, err
	}
	if stays {
		return used, nil
	}
	return latest, nil
}

// templateRevisions returns the revisions of a template by name, and the latest.
func (l *releaseLoop) templateRevisions(ctx context.Context, template string) (map[string]*v1alpha1.TemplateRevision, *v1alpha1.TemplateRevision, error) {
	var list v1alpha1.TemplateRevisionList
	if err := l.client.List(ctx, &list); err != nil {
		return nil, nil, fmt.Errorf("listing the revisions of template %s: %w", template, err)
	}
	var latest *v1alpha1.TemplateRevision
	out := map[string]*v1alpha1.TemplateRevision{}
	for i := range list.Items {
		r := &list.Items[i]
		if r.Spec.Template != template || r.DeletionTimestamp != nil {
			continue
		}
		out[r.Name] = r
		if latest == nil || r.Spec.Number > latest.Spec.Number {
			latest = r
		}
	}
	return out, latest, nil
}

// staysBehind says whether Releases of the template keep the revision that they have. They
// also do when the template is gone: nobody says any more how they follow it.
func (l *releaseLoop) staysBehind(ctx context.Context, template string) (bool, error) {
	var t v1alpha1.ReleaseTemplate
	switch err := l.client.Get(ctx, client.ObjectKey{Name: template}, &t); {
	case apierrors.IsNotFound(err):
		return true, nil
	case err != nil:
		return false, fmt.Errorf("reading ReleaseTemplate %s: %w", template, err)
	}
	return t.Spec.Sync.Type == v1alpha1.SyncManual, nil
}

// create makes the Rollout. When its name is taken, another manager was faster (I6), and
// what it made is read with the next event.
func (l *releaseLoop) create(ctx context.Context, release *v1alpha1.Release, rollout *v1alpha1.Rollout) error {
	rollout.Labels = map[string]string{
		v1alpha1.LabelRelease:   release.Name,
		v1alpha1.LabelTemplate:  release.Spec.Template.Name,
		v1alpha1.LabelManagedBy: v1alpha1.ManagedBy,
	}
	rollout.OwnerReferences = []metav1.OwnerReference{manifest.Owner(release)}
	err := l.client.Create(ctx, rollout, client.FieldOwner(v1alpha1.FieldManager))
	switch {
	case apierrors.IsAlreadyExists(err):
		return fmt.Errorf("creating Rollout %s/%s: %w", rollout.Namespace, rollout.Name, errOvertaken)
	case apierrors.IsInvalid(err):
		return terminalf(ReasonTemplateBroken,
			"template revision %s renders a rollout that the API refuses: %v; ask the template's owner, or pin an earlier revision with spec.template.revision",
			rollout.Spec.TemplateRevision, err)
	case err != nil:
		return fmt.Errorf("creating Rollout %s/%s: %w", rollout.Namespace, rollout.Name, err)
	}
	log.FromContext(ctx).Info("Created a Rollout", "rollout", rollout.Name, "revision", rollout.Spec.Revision)
	return nil
}

// report writes the status when it says something new.
func (l *releaseLoop) report(ctx context.Context, release *v1alpha1.Release, rep report) error {
	status := releaseStatus(release, rep, l.clock.Now())
	if equality.Semantic.DeepEqual(status, release.Status) {
		return nil
	}
	before := release.Status
	updated := release.DeepCopy()
	updated.Status = status
	if err := l.client.Status().Update(ctx, updated, client.FieldOwner(v1alpha1.FieldManager)); err != nil {
		return fmt.Errorf("writing the status of Release %s/%s: %w", release.Namespace, release.Name, err)
	}
	announceRelease(l.recorder, updated, &before)
	return nil
}

// announceRelease makes an event of a change of phase.
func announceRelease(recorder events.EventRecorder, release *v1alpha1.Release, before *v1alpha1.ReleaseStatus) {
	if release.Status.Phase == before.Phase {
		return
	}
	kind, reason := corev1.EventTypeNormal, "Unknown"
	for _, c := range release.Status.Conditions {
		if c.Type == v1alpha1.ConditionReady {
			reason = c.Reason
		}
	}
	switch release.Status.Phase {
	case v1alpha1.ReleaseInvalid, v1alpha1.ReleaseAborting, v1alpha1.ReleaseAborted:
		kind = corev1.EventTypeWarning
	case v1alpha1.ReleasePending, v1alpha1.ReleaseProgressing, v1alpha1.ReleasePaused, v1alpha1.ReleaseServing:
	}
	recorder.Eventf(release, nil, kind, reason, string(release.Status.Phase), "%s", clip(release.Status.Message, maxEventNote))
}

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
		err := l.client.Delete(ctx, &old, client.Preconditions{UID: &old.UID, ResourceVersion: &old.ResourceVersion})
		if client.IgnoreNotFound(err) != nil {
			return fmt.Errorf("deleting old Rollout %s/%s: %w", old.Namespace, old.Name, err)
		}
	}
	return nil
}
