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
	"sigs.k8s.io/controller-runtime/pkg/event"
	"sigs.k8s.io/controller-runtime/pkg/handler"
	"sigs.k8s.io/controller-runtime/pkg/log"
	"sigs.k8s.io/controller-runtime/pkg/manager"
	"sigs.k8s.io/controller-runtime/pkg/predicate"
	"sigs.k8s.io/controller-runtime/pkg/reconcile"

	"tidegate.io/tidegate/rollout/manifest"
	"tidegate.io/tidegate/rollout/observe"
	"tidegate.io/tidegate/schemas/follow"
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
		For(&v1alpha1.Release{}, builder.WithPredicates(predicate.Or[client.Object](predicate.GenerationChangedPredicate{}, reassigned()))).
		Watches(&v1alpha1.Rollout{}, calm{}).
		Watches(&v1alpha1.TemplateRevision{}, handler.EnqueueRequestsFromMapFunc(loop.ofRevision),
			builder.WithPredicates(predicate.GenerationChangedPredicate{})).
		Watches(&v1alpha1.ReleaseTemplate{}, handler.EnqueueRequestsFromMapFunc(loop.ofTemplate),
			builder.WithPredicates(predicate.GenerationChangedPredicate{})).
		Watches(&v1alpha1.BreakGlass{}, handler.EnqueueRequestsFromMapFunc(releasesOfBreakGlass)).
		WithOptions(controller.Options{
			MaxConcurrentReconciles: opts.MaxConcurrentReconciles, SkipNameValidation: &opts.SkipNameValidation,
		}).
		Complete(loop)
	if err != nil {
		return fmt.Errorf("setting up the release loop: %w", err)
	}
	return nil
}

// ofRevision finds the Releases that may have waited for a template revision, or had it.
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

// using returns the Releases of a template that do not wait for the sync to assign them
// something: those with a pin or a channel, and new ones.
func (l *releaseLoop) using(ctx context.Context, template string) []reconcile.Request {
	releases, err := releasesOf(ctx, l.client, template)
	if err != nil {
		log.FromContext(ctx).Error(err, "Cannot list the Releases of a template", "template", template)
		return nil
	}
	var out []reconcile.Request
	for i := range releases {
		if r := &releases[i]; r.Status.Assigned == nil || !follow.Free(r) {
			out = append(out, reconcile.Request{NamespacedName: client.ObjectKeyFromObject(r)})
		}
	}
	return out
}

// reassigned is true for an update in which the sync gave a Release another revision.
func reassigned() predicate.Predicate {
	return predicate.Funcs{
		CreateFunc:  func(event.CreateEvent) bool { return false },
		DeleteFunc:  func(event.DeleteEvent) bool { return false },
		GenericFunc: func(event.GenericEvent) bool { return false },
		UpdateFunc: func(e event.UpdateEvent) bool {
			was, okWas := e.ObjectOld.(*v1alpha1.Release)
			is, okIs := e.ObjectNew.(*v1alpha1.Release)
			return okWas && okIs && !equality.Semantic.DeepEqual(was.Status.Assigned, is.Status.Assigned)
		},
	}
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
	var readErr error
	if rep.breakGlasses, readErr = l.breakGlasses(ctx, &release); readErr != nil {
		return result(0, readErr)
	}
	if statusErr := l.report(ctx, &release, rep); statusErr != nil {
		return result(0, statusErr)
	}
	again, clearErr := l.clearLeft(ctx, &release, rep.rollouts)
	if clearErr != nil {
		return result(0, clearErr)
	}
	if pruneErr := l.prune(ctx, &release, rep.rollouts); pruneErr != nil {
		return result(0, pruneErr)
	}
	return result(again, err)
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
	if err := l.inherit(ctx, release, all); err != nil {
		return rep, err
	}
	if made, err := l.carryOut(ctx, release, &rep); made || err != nil {
		return rep, err
	}
	revision, err := l.templateRevision(ctx, release)
	if err != nil {
		return rep, err
	}
	rep.tried = revision.Name
	result, err := l.renderer.Render(ctx, revision, release.Spec.Values, render.Context{
		Name: release.Name, Namespace: release.Namespace, Template: release.Spec.Template.Name,
	})
	if err != nil {
		return rep, renderFailure(revision.Name, err)
	}
	rep.revision, rep.templateRevision = result.Revision, revision.Name
	if n := len(rep.rollouts); n > 0 {
		rep.restored = restored(release, &rep.rollouts[n-1], result)
	}
	w := wish{release: release, templateRevision: revision.Name, result: result}
	taken, err := l.resize(ctx, w, &rep)
	if !taken && err == nil {
		err = l.follow(ctx, w, all, &rep)
	}
	return rep, err
}

// follow makes the Rollout that a wish needs besides those that there are.
func (l *releaseLoop) follow(ctx context.Context, w wish, all []v1alpha1.Rollout, rep *report) error {
	release := w.release
	if wanted, err := nextRollout(w, rep.rollouts, nextNumber(release, all)); wanted == nil {
		return err
	}
	// The cache says that one is missing. Before it is made, ask the API server.
	all, err := observe.Rollouts(ctx, l.live, release.Namespace, release.Name)
	if err != nil {
		return err
	}
	rep.rollouts = observe.Controlled(all, release.UID)
	wanted, err := nextRollout(w, rep.rollouts, nextNumber(release, all))
	if err == nil {
		err = l.fits(ctx, wanted, w.result, rep.rollouts)
	}
	if wanted == nil || err != nil {
		return err
	}
	if err := l.inherit(ctx, release, all); err != nil {
		return err
	}
	if err := l.create(ctx, release, wanted); err != nil {
		return err
	}
	rep.rollouts = append(rep.rollouts, *wanted)
	return nil
}

// inherit lets a Release that has made no Rollout begin only where a former one of its name left
// nothing: while something of that serves, this is no first install, which skips the steps and
// what is asked of them. What is going is waited for. What nobody owns any more, since the
// former Release was deleted without it, becomes the history of this one.
func (l *releaseLoop) inherit(ctx context.Context, release *v1alpha1.Release, all []v1alpha1.Rollout) error {
	orphans, going := leftBehind(all, release.UID)
	if begun(all, release.UID) {
		return nil
	}
	if going != nil {
		return waitingf(ReasonReleaseFormer,
			"wanted nothing left of the former Release %s, found Rollout %s, which goes with it; wait, and see what holds it: kubectl get rollout %s -n %s -o yaml",
			release.Name, going.Name, going.Name, release.Namespace)
	}
	if len(orphans) == 0 {
		return nil
	}
	// What is given to a Release that is gone already would go with it.
	var live v1alpha1.Release
	if err := l.live.Get(ctx, client.ObjectKeyFromObject(release), &live); client.IgnoreNotFound(err) != nil {
		return fmt.Errorf("reading Release %s/%s: %w", release.Namespace, release.Name, err)
	}
	overtaken := fmt.Errorf("taking over %d Rollouts of the former Release %s/%s: %w", len(orphans), release.Namespace, release.Name, errOvertaken)
	if live.UID != release.UID || live.DeletionTimestamp != nil {
		return overtaken
	}
	// The newest first: it is the one that looks after what serves, and were an older one the
	// newest for a moment, it would put back what it brought into service.
	for i := len(orphans) - 1; i >= 0; i-- {
		adopted := &orphans[i]
		adopted.OwnerReferences = append(adopted.OwnerReferences, manifest.Owner(release))
		metav1.SetMetaDataAnnotation(&adopted.ObjectMeta, v1alpha1.AnnotationAdopted, string(release.UID))
		// On the version that was read: whoever else changed it was faster.
		if err := l.client.Update(ctx, adopted, client.FieldOwner(v1alpha1.FieldManager)); err != nil {
			return fmt.Errorf("taking over Rollout %s/%s of the former Release: %w", adopted.Namespace, adopted.Name, err)
		}
		log.FromContext(ctx).Info("Took over a Rollout of a former Release of the name", "rollout", adopted.Name)
	}
	return overtaken
}

// templateRevision chooses the revision of the template that the Release is rendered with.
// What it returns is not to be changed.
func (l *releaseLoop) templateRevision(ctx context.Context, release *v1alpha1.Release) (*v1alpha1.TemplateRevision, error) {
	name := release.Spec.Template.Name
	revisions, err := revisionsOf(ctx, l.client, name, cached(fieldRevisionTemplate, name)...)
	if err != nil {
		return nil, err
	}
	var template v1alpha1.ReleaseTemplate
	known := &template
	switch err := l.client.Get(ctx, client.ObjectKey{Name: name}, &template); {
	case apierrors.IsNotFound(err):
		known = nil
	case err != nil:
		return nil, fmt.Errorf("reading ReleaseTemplate %s: %w", name, err)
	}
	choice, err := follow.Choose(release, known, revisions)
	if err != nil {
		return nil, waitingf(ReasonTemplateMissing, "%s", err)
	}
	// Where there were revisions before and nobody says which one is for the Release, what said
	// so was lost: the sync finds it out before the newest is taken for it.
	if known != nil && known.Status.Sync == nil && choice.Why == follow.Latest && choice.Revision.Spec.Number > 1 {
		return nil, waitingf(ReasonTemplateMissing, "wanted the revision of template %q that its sync gives to the Release, found that the sync has not begun; see why with: kubectl describe releasetemplate %s", name, name)
	}
	return choice.Revision, nil
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
			rollout.Spec.TemplateRevision, discreet(ctx, l.client, rollout, err))
	case err != nil:
		return fmt.Errorf("creating Rollout %s/%s: %w", rollout.Namespace, rollout.Name, discreet(ctx, l.client, rollout, err))
	}
	log.FromContext(ctx).Info("Created a Rollout", "rollout", rollout.Name, "revision", rollout.Spec.Revision)
	return nil
}

// report writes the status when it says something new. What the sync has assigned stays as
// it was read: were it assigned anew meanwhile, the write conflicts.
func (l *releaseLoop) report(ctx context.Context, release *v1alpha1.Release, rep report) error {
	status := releaseStatus(release, rep, l.clock.Now())
	if equality.Semantic.DeepEqual(status, release.Status) {
		return nil
	}
	if err := l.older(ctx, release, rep.rollouts); err != nil {
		return err
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

// older refuses to report a Rollout as under way of which the Release says already that it has ended:
// another manager has written that, and the cache of this one has it not yet.
func (l *releaseLoop) older(ctx context.Context, release *v1alpha1.Release, rollouts []v1alpha1.Rollout) error {
	told := release.Status
	if len(rollouts) == 0 || told.Phase != v1alpha1.ReleaseServing && told.Phase != v1alpha1.ReleaseAborted {
		return nil
	}
	newest := &rollouts[len(rollouts)-1]
	if newest.Name != told.Rollout || newest.Status.Phase.Terminal() {
		return nil
	}
	var live v1alpha1.Rollout
	if err := l.live.Get(ctx, client.ObjectKeyFromObject(newest), &live); client.IgnoreNotFound(err) != nil {
		return fmt.Errorf("reading Rollout %s/%s: %w", newest.Namespace, newest.Name, err)
	}
	if live.ResourceVersion == newest.ResourceVersion {
		return nil
	}
	return fmt.Errorf("reporting Rollout %s/%s, which the Release says has ended: %w", newest.Namespace, newest.Name, errOvertaken)
}

// announceRelease makes an event of a change of phase.
func announceRelease(recorder events.EventRecorder, release *v1alpha1.Release, before *v1alpha1.ReleaseStatus) {
	if release.Status.Phase == before.Phase {
		return
	}
	if p := release.Status.Phase; p == v1alpha1.ReleaseProgressing || p == v1alpha1.ReleasePending {
		return // its Rollout tells that it has begun
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
