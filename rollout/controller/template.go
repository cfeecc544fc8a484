package controller

import (
	"context"
	"errors"
	"fmt"
	"slices"
	"strings"
	"time"

	lru "github.com/hashicorp/golang-lru/v2"
	corev1 "k8s.io/api/core/v1"
	"k8s.io/apimachinery/pkg/api/equality"
	apierrors "k8s.io/apimachinery/pkg/api/errors"
	metav1 "k8s.io/apimachinery/pkg/apis/meta/v1"
	"k8s.io/apimachinery/pkg/runtime"
	"k8s.io/client-go/tools/events"
	"k8s.io/utils/clock"
	ctrl "sigs.k8s.io/controller-runtime"
	"sigs.k8s.io/controller-runtime/pkg/builder"
	"sigs.k8s.io/controller-runtime/pkg/client"
	"sigs.k8s.io/controller-runtime/pkg/controller"
	"sigs.k8s.io/controller-runtime/pkg/event"
	"sigs.k8s.io/controller-runtime/pkg/handler"
	"sigs.k8s.io/controller-runtime/pkg/manager"
	"sigs.k8s.io/controller-runtime/pkg/predicate"
	"sigs.k8s.io/controller-runtime/pkg/reconcile"

	"tidegate.io/tidegate/schemas/render"
	"tidegate.io/tidegate/schemas/v1alpha1"
	"tidegate.io/tidegate/schemas/worker"
)

const (
	// rememberedTemplates bounds the memory of sources that do not compile.
	rememberedTemplates = 128
	// maxNumberTries bounds how often a number is looked for in one reconcile, in case
	// others create revisions at the same time.
	maxNumberTries = 5
)

// TemplateCompiler compiles the source of a template, runs the template's own tests and
// returns the JSON Schema of its values. Its error is a *render.SourceError when the
// source is at fault; any other may pass.
//
// It does not vet as the webhook does before it stores a template: what is stored already
// must not become unpublishable by what a later version of vet finds.
type TemplateCompiler func(ctx context.Context, files map[string]string) (schema []byte, err error)

// gone passes deletions alone: a Rollout keeps its revision, so its end may be that of the
// revision, and nothing else of it is news to a template.
var gone = predicate.Funcs{
	CreateFunc:  func(event.CreateEvent) bool { return false },
	UpdateFunc:  func(event.UpdateEvent) bool { return false },
	GenericFunc: func(event.GenericEvent) bool { return false },
}

// CompileTemplate is the TemplateCompiler that compiles in this process.
func CompileTemplate(_ context.Context, files map[string]string) ([]byte, error) {
	template, err := render.Compile(files)
	if err != nil {
		return nil, err
	}
	if err := template.Check(); err != nil {
		return nil, err
	}
	return template.Schema()
}

// Permit asks the policies about promotion whether the sync of a template may give a
// revision to the Releases of a wave now. Until is when to ask again, zero where that is
// not known. Nothing is given after an error.
type Permit func(ctx context.Context, template, revision, wave string, now time.Time) (
	allowed bool, code, message string, until time.Time, err error)

// TemplateOptions are what the template loop needs.
type TemplateOptions struct {
	// Compile compiles templates. CompileTemplate if nil.
	Compile TemplateCompiler
	// Permit is asked before Releases are moved. Everything is allowed if nil.
	Permit Permit
	// Live reads from the API server, not from a cache. The manager's API reader if nil.
	Live client.Reader
	// Recorder writes events. The manager's if nil.
	Recorder events.EventRecorder
	// Clock tells the time. The real one if nil.
	Clock clock.PassiveClock
	// SkipNameValidation lets several managers run in one process, as tests do.
	SkipNameValidation bool
}

// SetupTemplates adds the loop that turns every good state of a ReleaseTemplate into a
// TemplateRevision, and brings the Releases to it. Call Setup on the same manager before.
func SetupTemplates(ctx context.Context, mgr manager.Manager, opts TemplateOptions) error {
	if opts.Live == nil {
		opts.Live = mgr.GetAPIReader()
	}
	if opts.Recorder == nil {
		opts.Recorder = mgr.GetEventRecorder("tidegate")
	}
	r, err := newTemplates(mgr.GetClient(), opts)
	if err != nil {
		return err
	}
	if err := addIndexes(ctx, mgr, templateIndexes()); err != nil {
		return err
	}
	registerSyncs(mgr)
	err = ctrl.NewControllerManagedBy(mgr).
		Named("template").
		For(&v1alpha1.ReleaseTemplate{}, builder.WithPredicates(predicate.GenerationChangedPredicate{})).
		Watches(&v1alpha1.TemplateRevision{}, handler.EnqueueRequestsFromMapFunc(templateOf)).
		Watches(&v1alpha1.TemplateCommand{}, handler.EnqueueRequestsFromMapFunc(templateOf)).
		Watches(&v1alpha1.Release{}, gathered{delay: gatherDelay}).
		Watches(&v1alpha1.Rollout{}, handler.EnqueueRequestsFromMapFunc(templateOf), builder.WithPredicates(gone)).
		WithOptions(controller.Options{MaxConcurrentReconciles: 2, SkipNameValidation: &opts.SkipNameValidation}).
		Complete(r)
	if err != nil {
		return fmt.Errorf("setting up the template controller: %w", err)
	}
	return nil
}

type templates struct {
	client  client.Client
	opts    TemplateOptions
	mistake *lru.Cache[string, error] // by digest: sources that do not compile are not compiled again
}

func newTemplates(c client.Client, opts TemplateOptions) (*templates, error) {
	if opts.Compile == nil {
		opts.Compile = CompileTemplate
	}
	if opts.Clock == nil {
		opts.Clock = clock.RealClock{}
	}
	memory, err := lru.New[string, error](rememberedTemplates)
	if err != nil {
		return nil, fmt.Errorf("making the memory of templates: %w", err)
	}
	return &templates{client: c, opts: opts, mistake: memory}, nil
}

// Reconcile implements reconcile.Reconciler.
func (r *templates) Reconcile(ctx context.Context, req reconcile.Request) (reconcile.Result, error) {
	var template v1alpha1.ReleaseTemplate
	if err := r.client.Get(ctx, req.NamespacedName, &template); err != nil {
		if apierrors.IsNotFound(err) {
			return result(0, r.orphaned(ctx, req.Name)) // what serves needs its revisions
		}
		return reconcile.Result{}, fmt.Errorf("reading ReleaseTemplate %s: %w", req.Name, err)
	}
	if !template.DeletionTimestamp.IsZero() {
		return reconcile.Result{}, nil
	}
	revisions, err := r.publish(ctx, &template)
	cause, stalled := causeOf(err)
	if err != nil && cause == nil {
		return result(0, err)
	}
	latest := newest(revisions)
	stands := standing{kind: v1alpha1.ConditionReady, message: "The template is published as " + nameOf(latest) + "."}
	if cause != nil {
		stands = standing{kind: v1alpha1.ConditionReconciling, code: cause.Code, message: cause.Message}
		if stalled {
			stands.kind = v1alpha1.ConditionStalled
		}
	}
	if err := r.settle(ctx, revisions); err != nil {
		return result(0, err)
	}
	after, syncErr := r.sync(ctx, &template, revisions, stands)
	if syncErr != nil {
		return result(0, syncErr)
	}
	// What keeps the source from being published does not keep the sync of the last good
	// revision from going on.
	next, err := result(0, err)
	if after > 0 && (next.RequeueAfter == 0 || after < next.RequeueAfter) {
		next.RequeueAfter = after
	}
	return next, err
}

func nameOf(revision *v1alpha1.TemplateRevision) string {
	if revision == nil {
		return ""
	}
	return revision.Name
}

// publish returns the revisions of the template, and makes the next when the source has
// changed. Beside an error they are what there is.
func (r *templates) publish(ctx context.Context, template *v1alpha1.ReleaseTemplate) ([]v1alpha1.TemplateRevision, error) {
	revisions, err := revisionsOf(ctx, r.client, template.Name, cached(fieldRevisionTemplate, template.Name)...)
	if err != nil {
		return nil, err
	}
	latest := newest(revisions)
	if template.Status.LatestRevision == "" || nextRevision(template, latest) != nextRevision(&v1alpha1.ReleaseTemplate{}, latest) {
		// The status knows of a newer one than the cache, or of none at all.
		if revisions, err = revisionsOf(ctx, r.opts.Live, template.Name); err != nil {
			return nil, err
		}
		latest = newest(revisions)
	}
	digest := render.Digest(template.Spec.Files)
	if latest != nil && latest.Spec.Digest == digest {
		return revisions, nil
	}
	schema, err := r.compile(ctx, digest, template.Spec.Files)
	if err != nil {
		return revisions, r.broken(template, latest, err)
	}
	made, err := r.create(ctx, template, latest, v1alpha1.TemplateRevisionSpec{
		Template: template.Name,
		Digest:   digest,
		Engine:   render.Engine(),
		Files:    template.Spec.Files,
		Schema:   &runtime.RawExtension{Raw: schema},
	})
	if err != nil {
		return revisions, err
	}
	if i := slices.IndexFunc(revisions, func(r v1alpha1.TemplateRevision) bool { return r.Name == made.Name }); i >= 0 {
		revisions[i] = *made
		return revisions, nil
	}
	return append(revisions, *made), nil
}

// compile remembers what it refused, since it is asked again whenever a Release of the
// template changes.
func (r *templates) compile(ctx context.Context, digest string, files map[string]string) ([]byte, error) {
	if err, known := r.mistake.Get(digest); known {
		return nil, err
	}
	schema, err := r.opts.Compile(ctx, files)
	if err != nil {
		if _, ok := errors.AsType[*render.SourceError](err); ok {
			r.mistake.Add(digest, err)
		}
		return nil, err
	}
	return schema, nil
}

// broken makes an error of the source one that a person reads.
func (r *templates) broken(template *v1alpha1.ReleaseTemplate, latest *v1alpha1.TemplateRevision, err error) error {
	serving := "there is no earlier revision"
	if latest != nil {
		serving = "revision " + latest.Name + " stays in force"
	}
	// Not terminal: a slow machine may be to blame. The pool answers from memory, for longer
	// each time, so that asking again costs nothing.
	if bomb, ok := errors.AsType[*worker.BombError](err); ok {
		return waitingf(bomb.Reason(), "the source is not published; %s. %s", serving, bomb.Error())
	}
	source, ok := errors.AsType[*render.SourceError](err)
	if !ok {
		return fmt.Errorf("compiling ReleaseTemplate %s: %w", template.Name, err)
	}
	return terminalf(ReasonTemplateBroken, "the source does not compile or fails its own tests, so it is not published; %s. Mend it and apply it again:\n%s",
		serving, strings.Join(source.Lines, "\n"))
}

// create makes the next revision. Its number is higher than any there is or was, or the one
// that was reserved for it.
func (r *templates) create(ctx context.Context, template *v1alpha1.ReleaseTemplate, latest *v1alpha1.TemplateRevision, spec v1alpha1.TemplateRevisionSpec) (*v1alpha1.TemplateRevision, error) {
	for range maxNumberTries {
		if err := r.reserve(ctx, template, latest, &spec); err != nil {
			return nil, err
		}
		revision := &v1alpha1.TemplateRevision{
			ObjectMeta: metav1.ObjectMeta{
				Name: v1alpha1.RevisionName(template.Name, spec.Number, spec.Digest),
				Labels: map[string]string{
					v1alpha1.LabelTemplate:  template.Name,
					v1alpha1.LabelManagedBy: v1alpha1.ManagedBy,
				},
			},
			Spec: spec,
		}
		err := r.client.Create(ctx, revision, client.FieldOwner(v1alpha1.FieldManager))
		if err == nil {
			r.opts.Recorder.Eventf(template, revision, corev1.EventTypeNormal, "Published", "Publish", "Published as %s", revision.Name)
			return revision, nil
		}
		if !apierrors.IsAlreadyExists(err) {
			return nil, fmt.Errorf("creating TemplateRevision %s: %w", revision.Name, err)
		}
		// The cache was behind, or another manager was quicker: look at the truth.
		revisions, err := revisionsOf(ctx, r.opts.Live, template.Name)
		if err != nil {
			return nil, err
		}
		latest = newest(revisions)
		if latest != nil && latest.Spec.Digest == spec.Digest {
			return latest, nil
		}
	}
	return nil, fmt.Errorf("creating a TemplateRevision of %s: each of %d numbers was taken meanwhile", template.Name, maxNumberTries)
}

// reserve gives the revision its number, and writes its name and the whole digest, of which
// the name has a part that can be hit on purpose, into the status of the template
// on the version that was looked at. Of two managers one is refused there, so that no number
// is given to two sources. What was reserved and not made, since a manager ended in between,
// is made by the next that publishes this source; for another source the number is lost.
func (r *templates) reserve(ctx context.Context, template *v1alpha1.ReleaseTemplate, latest *v1alpha1.TemplateRevision, spec *v1alpha1.TemplateRevisionSpec) error {
	spec.Number = nextRevision(template, latest)
	name := v1alpha1.RevisionName(template.Name, spec.Number-1, spec.Digest)
	if template.Status.LatestRevision == name && template.Status.LatestDigest == spec.Digest {
		spec.Number--
		return nil
	}
	wanted := template.DeepCopy()
	wanted.Status.LatestRevision, wanted.Status.LatestDigest = v1alpha1.RevisionName(template.Name, spec.Number, spec.Digest), spec.Digest
	if err := r.client.Status().Update(ctx, wanted, client.FieldOwner(v1alpha1.FieldManager)); err != nil {
		return fmt.Errorf("reserving revision %d of ReleaseTemplate %s: %w", spec.Number, template.Name, err)
	}
	template.Status, template.ResourceVersion = wanted.Status, wanted.ResourceVersion
	return nil
}

// nextRevision is a number that no revision of the template has had, as far as the newest
// one and the status remember.
func nextRevision(template *v1alpha1.ReleaseTemplate, latest *v1alpha1.TemplateRevision) int64 {
	var last int64
	if latest != nil {
		last = latest.Spec.Number
	}
	if of, n, ok := v1alpha1.ParseRevisionName(template.Status.LatestRevision); ok && of == template.Name {
		last = max(last, n)
	}
	return last + 1
}

// revisionsOf lists the revisions of a template. The API server knows no index, so what
// comes back is narrowed here in any case.
func revisionsOf(ctx context.Context, reader client.Reader, template string, opts ...client.ListOption) ([]v1alpha1.TemplateRevision, error) {
	var list v1alpha1.TemplateRevisionList
	if err := reader.List(ctx, &list, opts...); err != nil {
		return nil, fmt.Errorf("listing the TemplateRevisions of %s: %w", template, err)
	}
	var out []v1alpha1.TemplateRevision
	for i := range list.Items {
		if list.Items[i].Spec.Template == template {
			out = append(out, list.Items[i])
		}
	}
	return out, nil
}

// newest returns the revision with the highest number, or nil.
func newest(revisions []v1alpha1.TemplateRevision) *v1alpha1.TemplateRevision {
	var out *v1alpha1.TemplateRevision
	for i := range revisions {
		if out == nil || revisions[i].Spec.Number > out.Spec.Number {
			out = &revisions[i]
		}
	}
	return out
}

// settle records on the revisions that they are good, for whoever waits for that, and with
// which engine they were found to be.
func (r *templates) settle(ctx context.Context, revisions []v1alpha1.TemplateRevision) error {
	for i := range revisions {
		revision := &revisions[i]
		message := "The revision compiled and passed its tests."
		if engine := render.Engine(); revision.Spec.Engine != engine {
			message = fmt.Sprintf("The revision compiled and passed its tests with engine %s; this version has engine %s. "+
				"A Release that it would render differently from what was judged is left as it is, and says so.", revision.Spec.Engine, engine)
		}
		status := *revision.Status.DeepCopy()
		status.ObservedGeneration = revision.Generation
		standing{kind: v1alpha1.ConditionReady, message: message}.conditions(&status.Conditions, revision.Generation)
		if equality.Semantic.DeepEqual(revision.Status, status) {
			continue
		}
		wanted := revision.DeepCopy()
		wanted.Status = status
		if err := r.client.Status().Update(ctx, wanted); client.IgnoreNotFound(err) != nil {
			return fmt.Errorf("recording the status of TemplateRevision %s: %w", revision.Name, err)
		}
	}
	return nil
}
