package controller

import (
	"context"
	"errors"
	"fmt"
	"slices"
	"time"

	appsv1 "k8s.io/api/apps/v1"
	batchv1 "k8s.io/api/batch/v1"
	corev1 "k8s.io/api/core/v1"
	discoveryv1 "k8s.io/api/discovery/v1"
	policyv1 "k8s.io/api/policy/v1"
	"k8s.io/apimachinery/pkg/api/equality"
	apierrors "k8s.io/apimachinery/pkg/api/errors"
	metav1 "k8s.io/apimachinery/pkg/apis/meta/v1"
	"k8s.io/client-go/tools/events"
	"k8s.io/utils/clock"
	"sigs.k8s.io/controller-runtime/pkg/builder"
	"sigs.k8s.io/controller-runtime/pkg/client"
	"sigs.k8s.io/controller-runtime/pkg/controller"
	"sigs.k8s.io/controller-runtime/pkg/handler"
	"sigs.k8s.io/controller-runtime/pkg/log"
	"sigs.k8s.io/controller-runtime/pkg/manager"
	"sigs.k8s.io/controller-runtime/pkg/reconcile"
	gatewayv1 "sigs.k8s.io/gateway-api/apis/v1"

	"tidegate.io/tidegate/rollout/apply"
	"tidegate.io/tidegate/rollout/fence"
	"tidegate.io/tidegate/rollout/manifest"
	"tidegate.io/tidegate/rollout/observe"
	"tidegate.io/tidegate/rollout/plan"
	"tidegate.io/tidegate/schemas/v1alpha1"
)

const (
	// afterActions is when to look again at the latest at what actions have led to. Mostly
	// a watch tells sooner.
	afterActions = time.Second
	// afterMeasure is at once: the verdict is recorded, decide on it.
	afterMeasure = time.Millisecond
)

// rolloutLoop moves one Rollout on: observe, decide, record, act.
type rolloutLoop struct {
	client client.Client
	reader observe.Reader
	// ended reads for Rollouts that have ended, of which there are many and none of which raises
	// anything: what seems to be missing is asked for when it is put right.
	ended observe.Reader
	// live asks the API server.
	live     observe.Reader
	applier  apply.Applier
	renders  *renders
	measurer Measurer
	// promotion is nil where nothing is to be asked.
	promotion Promotion
	// notifier is nil where nobody is to be told.
	notifier Notifier
	// hooks is never nil.
	hooks    Hooks
	recorder events.EventRecorder
	clock    clock.PassiveClock
	lags     lags
	writings writings
}

// kept are the kinds of which the manager's cache is asked. Each is watched, or small.
var kept = []client.Object{
	&v1alpha1.Release{}, &v1alpha1.Rollout{}, &v1alpha1.RolloutCommand{}, &v1alpha1.BreakGlass{},
	&appsv1.Deployment{}, &appsv1.StatefulSet{}, &appsv1.DaemonSet{},
	&corev1.Service{}, &discoveryv1.EndpointSlice{}, &policyv1.PodDisruptionBudget{}, &gatewayv1.HTTPRoute{}, &gatewayv1.GRPCRoute{},
}

func setupRollout(mgr manager.Manager, opts Options) error {
	renders, err := newRenders(opts.Renderer, mgr.GetClient())
	if err != nil {
		return err
	}
	fenced, err := fence.New(mgr.GetClient(), opts.Live, kept...)
	if err != nil {
		return fmt.Errorf("setting up the rollout loop: %w", err)
	}
	refusals, err := apply.NewRefusals(opts.Clock)
	if err != nil {
		return fmt.Errorf("setting up the rollout loop: %w", err)
	}
	loop := &rolloutLoop{
		client:   fenced,
		reader:   observe.Reader{Live: fenced.Reader(fence.OwnDeletions)},
		ended:    observe.Reader{Live: fenced.Reader(fence.Believed)},
		live:     observe.Reader{Live: opts.Live},
		applier:  apply.Applier{Writer: fenced, Live: opts.Live, Known: fenced, Refusals: refusals},
		renders:  renders,
		measurer: opts.Measurer, promotion: opts.Promotion,
		notifier: opts.Notifier,
		hooks:    opts.Hooks,
		recorder: opts.Recorder,
		clock:    opts.Clock,
	}
	routes, err := installedRoutes(mgr.GetRESTMapper(), mgr.GetClient().GroupVersionKindFor)
	if err != nil {
		return fmt.Errorf("setting up the rollout loop: %w", err)
	}
	moves := builder.ControllerManagedBy(mgr).
		Named("rollout").
		For(&v1alpha1.Rollout{}).
		// A Rollout that ends, or begins to exist, is news to the others of its Release.
		Watches(&v1alpha1.Rollout{}, handler.EnqueueRequestsFromMapFunc(loop.ofSibling)).
		Watches(&v1alpha1.Rollout{}, first{loop.ofOwned}).
		Watches(&appsv1.Deployment{}, first{loop.ofOwned}).
		Watches(&appsv1.StatefulSet{}, first{loop.ofOwned}).
		Watches(&appsv1.DaemonSet{}, first{loop.ofOwned}).
		Watches(&corev1.Service{}, first{loop.ofOwned}).
		Watches(&v1alpha1.RolloutCommand{}, handler.EnqueueRequestsFromMapFunc(loop.ofCommand)).
		Watches(&v1alpha1.BreakGlass{}, handler.EnqueueRequestsFromMapFunc(loop.ofBreakGlass)).
		Watches(&appsv1.Deployment{}, handler.EnqueueRequestsFromMapFunc(loop.ofOwned)).
		Watches(&appsv1.StatefulSet{}, handler.EnqueueRequestsFromMapFunc(loop.ofOwned)).
		Watches(&appsv1.DaemonSet{}, handler.EnqueueRequestsFromMapFunc(loop.ofOwned)).
		WatchesMetadata(&batchv1.CronJob{}, handler.EnqueueRequestsFromMapFunc(loop.ofOwned)).
		WatchesMetadata(&batchv1.Job{}, handler.EnqueueRequestsFromMapFunc(loop.ofOwned)).
		WatchesRawSource(answers(opts.Hooks)).
		Watches(&corev1.Service{}, handler.EnqueueRequestsFromMapFunc(loop.ofOwned)).
		Watches(&discoveryv1.EndpointSlice{}, handler.EnqueueRequestsFromMapFunc(loop.ofListed), builder.WithPredicates(listing())).
		WithOptions(controller.Options{
			MaxConcurrentReconciles: opts.MaxConcurrentReconciles, SkipNameValidation: &opts.SkipNameValidation,
		})
	for _, route := range routes {
		moves.Watches(route, handler.EnqueueRequestsFromMapFunc(loop.ofOwned)).Watches(route, first{loop.ofOwned})
	}
	if err := moves.Complete(loop); err != nil {
		return fmt.Errorf("setting up the rollout loop: %w", err)
	}
	return nil
}

// Reconcile takes one decision about a Rollout and carries it out.
func (l *rolloutLoop) Reconcile(ctx context.Context, req reconcile.Request) (reconcile.Result, error) {
	after, err := l.step(ctx, req.NamespacedName)
	return result(after, err)
}

func (l *rolloutLoop) step(ctx context.Context, key client.ObjectKey) (time.Duration, error) {
	subject, again, err := l.subject(ctx, key)
	if subject == nil {
		if err == nil {
			l.lags.forget(key)
			l.writings.forget(key)
			l.hooks.Forget(key)
		}
		return again, err
	}
	var hold error
	if subject.Sides, hold = l.sides(ctx, subject); hold != nil {
		if cause, _ := causeOf(hold); cause == nil {
			return 0, hold
		}
	}
	world, err := l.observe(ctx, *subject)
	if err != nil {
		return 0, err
	}
	now := l.clock.Now()
	if l.lags.wait(key, world, now) {
		return lagDelay, nil
	}
	world.Answers = l.hooks.Answers(subject.Rollout)
	world.Promotion = l.permission(ctx, subject, world.Observation, now)
	decision := plan.Next(world.Observation, now)
	if overtaken, err := l.overtaken(ctx, subject, world.Observation, decision); overtaken || err != nil {
		return lagDelay, err
	}
	explainHold(&decision.Status, hold)
	unsaid := l.unsaid(subject.Rollout, &decision, now)
	rollout, err := l.decided(ctx, subject.Rollout, decision.Status, world, now)
	if err != nil {
		return 0, err
	}
	l.hooks.Settle(rollout)
	if err := l.current(ctx, subject.Rollout, rollout, decision.Actions); err != nil {
		return 0, err
	}
	target := &apply.Target{
		Release: subject.Release, Rollout: rollout, Phase: decision.Status.Phase, Sides: subject.Sides,
		Route: world.Route, Workload: world.Workload, Seen: world.Seen,
	}
	spared, err := l.sparing(ctx, rollout, decision.Status, decision.Actions, now)
	if err != nil {
		return 0, err
	}
	target.Spared = spared.left
	if err := l.act(ctx, target, decision.Actions); err != nil {
		return 0, err
	}
	if hold != nil && decision.Status.Phase.Terminal() {
		// Nothing can be told about what serves, and nothing needs to be done about it.
		return 0, nil
	}
	return sooner(decision.RequeueAfter, next(decision, spared, unsaid, now)), nil
}

// next is when to look again for what was done, or was put off.
func next(decision plan.Decision, spared *sparing, unsaid time.Duration, now time.Time) time.Duration {
	switch {
	case len(decision.Actions) == 0:
		return unsaid
	case spared.spared:
		return spared.delay(now)
	}
	return actionDelay(decision.Actions)
}

// overtaken says whether another manager has gone on from what a decision rests on.
func (l *rolloutLoop) overtaken(ctx context.Context, subject *observe.Subject, seen plan.Observation, decision plan.Decision) (bool, error) {
	if replaced, err := l.replaced(ctx, subject, decision); replaced || err != nil {
		return replaced, err
	}
	return l.outgrown(ctx, subject.Rollout, seen, decision.Actions)
}

// replaced says whether a Rollout that has ended, and would put something right, is no longer
// the newest of its Release. Another manager may have made a newer one and brought it into
// service, of which nothing in this Rollout tells: its status stays as it is, so that no write
// of it would conflict. A repair is rare, and asking the API server first costs it one read.
func (l *rolloutLoop) replaced(ctx context.Context, subject *observe.Subject, decision plan.Decision) (bool, error) {
	repairs := slices.ContainsFunc(decision.Actions, func(a plan.Action) bool { return a.Kind != plan.ActionAnswer })
	if !subject.Rollout.Status.Phase.Terminal() || !repairs {
		return false, nil
	}
	siblings, err := l.live.Siblings(ctx, subject.Release)
	if err != nil {
		return false, err //nolint:wrapcheck // says what it read
	}
	newest := len(siblings) - 1
	return newest >= 0 && siblings[newest].Spec.Number > subject.Rollout.Spec.Number, nil
}

// observe reads the world of a Rollout.
func (l *rolloutLoop) observe(ctx context.Context, subject observe.Subject) (*observe.World, error) {
	reader := l.reader
	if subject.Rollout.Status.Phase.Terminal() {
		reader = l.ended
	}
	world, err := reader.Observe(ctx, subject)
	if err != nil {
		return nil, fmt.Errorf("observing Rollout %s/%s: %w", subject.Rollout.Namespace, subject.Rollout.Name, err)
	}
	for _, unread := range world.Unread {
		log.FromContext(ctx).Error(unread, "Taken as unknown")
	}
	return world, nil
}

// unsaid puts off what the decision says where nothing rests on it and the status was written
// a moment ago, so that every pod that comes up is no write of its own. It returns when to
// say it, 0 where nothing was put off.
func (l *rolloutLoop) unsaid(rollout *v1alpha1.Rollout, decision *plan.Decision, now time.Time) time.Duration {
	status := *decision.Status.DeepCopy()
	status.ObservedGeneration = rollout.Generation
	rolloutConditions(rollout, &status, now)
	wait := l.writings.wait(client.ObjectKeyFromObject(rollout), rollout.Status, status, now)
	if wait > 0 {
		decision.Status = rollout.Status
	}
	return wait
}

// subject reads what a decision is about, or nil where there is nothing to decide.
func (l *rolloutLoop) subject(ctx context.Context, key client.ObjectKey) (*observe.Subject, time.Duration, error) {
	if over, again, err := l.over(ctx, key); over || err != nil {
		return nil, again, err
	}
	subject, err := l.gather(ctx, key)
	return subject, 0, err
}

// over says, from the cache, that a Rollout has ended, is not the newest and has no
// command to answer. None of that can turn back, so that a stale cache does no harm, and
// a manager that starts need not read the whole history of the cluster. Again is when to look
// after what is left of one that is gone.
func (l *rolloutLoop) over(ctx context.Context, key client.ObjectKey) (over bool, again time.Duration, err error) {
	var rollout v1alpha1.Rollout
	switch err := l.client.Get(ctx, key, &rollout); {
	case apierrors.IsNotFound(err):
		again, err = l.forget(ctx, key)
		return true, again, err
	case err != nil:
		return false, 0, fmt.Errorf("reading Rollout %s: %w", key, err)
	}
	if !rollout.Status.Phase.Terminal() || tells(&rollout) {
		return false, 0, nil
	}
	owner := metav1.GetControllerOf(&rollout)
	if owner == nil {
		// Its Release was deleted without it.
		return true, 0, nil
	}
	siblings, err := observe.Rollouts(ctx, l.client, key.Namespace, rollout.Spec.Release)
	siblings = observe.Controlled(siblings, owner.UID)
	if err != nil || len(siblings) == 0 || siblings[len(siblings)-1].Spec.Number <= rollout.Spec.Number {
		return false, 0, err
	}
	unanswered, err := observe.Unanswered(ctx, l.client, &rollout)
	return len(unanswered) == 0, 0, err
}

// gather reads what a decision is about. It returns nil when there is nothing to decide.
func (l *rolloutLoop) gather(ctx context.Context, key client.ObjectKey) (*observe.Subject, error) {
	var rollout v1alpha1.Rollout
	if err := l.reader.Live.Get(ctx, key, &rollout); err != nil {
		return nil, client.IgnoreNotFound(err)
	}
	owner := metav1.GetControllerOf(&rollout)
	if rollout.DeletionTimestamp != nil || owner == nil {
		return nil, nil //nolint:nilnil // nothing to do is an answer
	}
	var release v1alpha1.Release
	err := l.reader.Live.Get(ctx, client.ObjectKey{Namespace: key.Namespace, Name: rollout.Spec.Release}, &release)
	switch {
	case apierrors.IsNotFound(err) || err == nil && (release.UID != owner.UID || release.DeletionTimestamp != nil):
		// The Rollout goes with its Release.
		return nil, nil //nolint:nilnil // nothing to do is an answer
	case err != nil:
		return nil, fmt.Errorf("reading Release %s/%s: %w", key.Namespace, rollout.Spec.Release, err)
	}
	siblings, err := l.reader.Siblings(ctx, &release)
	if err != nil {
		return nil, err
	}
	return &observe.Subject{Release: &release, Rollout: &rollout, Siblings: siblings}, nil
}

// sides renders the revisions, unless the Rollout has ended and is not the newest: then
// the objects that bear its names are another's to look after, and it only answers
// commands.
func (l *rolloutLoop) sides(ctx context.Context, subject *observe.Subject) (manifest.Sides, error) {
	rollout := subject.Rollout
	newest := subject.Siblings[len(subject.Siblings)-1].Name == rollout.Name
	if rollout.Status.Phase.Terminal() && !newest {
		return manifest.Sides{}, nil
	}
	sides, err := l.renders.sides(ctx, rollout, subject.Siblings)
	return manifest.Apart(sides, rollout.Spec), err
}

// explainHold says in the status why nothing rises: the revisions cannot be rendered as
// they were judged. An abort has its own reason.
func explainHold(status *v1alpha1.RolloutStatus, hold error) {
	cause, _ := causeOf(hold)
	if cause == nil || status.AbortCause != nil || status.Phase.Terminal() {
		return
	}
	status.Reason, status.Message = cause.Code, cause.Message
}

// record writes the status, before anything is done, on the version that was read: a
// manager that was overtaken conflicts here and starts again.
func (l *rolloutLoop) record(ctx context.Context, rollout *v1alpha1.Rollout, status v1alpha1.RolloutStatus, now time.Time) (*v1alpha1.Rollout, error) {
	status.ObservedGeneration = rollout.Generation
	rolloutConditions(rollout, &status, now)
	if equality.Semantic.DeepEqual(status, rollout.Status) {
		return rollout, nil
	}
	updated := rollout.DeepCopy()
	updated.Status = status
	if err := l.client.Status().Update(ctx, updated, client.FieldOwner(v1alpha1.FieldManager)); err != nil {
		return nil, fmt.Errorf("writing the status of Rollout %s/%s: %w", rollout.Namespace, rollout.Name, err)
	}
	l.writings.wrote(client.ObjectKeyFromObject(rollout), now)
	l.announce(ctx, updated, &rollout.Status)
	return updated, nil
}

// act executes the actions in order up to the first that fails. What people asked for is in the
// status by then, so that they are answered all the same.
func (l *rolloutLoop) act(ctx context.Context, target *apply.Target, actions []plan.Action) error {
	for i, action := range actions {
		err := l.execute(ctx, target, action)
		countAction(action.Kind, err)
		if err != nil {
			err = discreet(ctx, l.client, target.Rollout, err)
			if answerErr := l.answer(ctx, target, actions[i+1:]); answerErr != nil {
				err = errors.Join(err, answerErr)
			}
			if reportErr := l.reportFailure(ctx, target.Rollout, err); reportErr != nil {
				return errors.Join(err, reportErr)
			}
			return err
		}
	}
	return l.reportFailure(ctx, target.Rollout, nil)
}

func (l *rolloutLoop) execute(ctx context.Context, target *apply.Target, action plan.Action) error {
	if action.Kind == plan.ActionCallHook {
		return l.callHook(target.Rollout, action.Call)
	}
	if action.Kind != plan.ActionMeasure {
		return l.applier.Execute(ctx, target, action) //nolint:wrapcheck // says what it did
	}
	now := l.clock.Now()
	round, err := l.measurer.Measure(ctx, target.Rollout, now)
	if err != nil {
		return fmt.Errorf("measuring Rollout %s: %w", target.Rollout.Name, err)
	}
	countVerdict(round.Verdict)
	status := *target.Rollout.Status.DeepCopy()
	status.Analysis = &round
	updated, err := l.record(ctx, target.Rollout, status, now)
	if err != nil {
		return err
	}
	target.Rollout = updated
	return nil
}

// reportFailure records in the condition Applied whether the actions went through. What
// passes by itself, such as a write that was overtaken, is not reported.
func (l *rolloutLoop) reportFailure(ctx context.Context, rollout *v1alpha1.Rollout, failure error) error {
	if apierrors.IsConflict(failure) || errors.Is(failure, errOvertaken) || errors.Is(failure, context.Canceled) {
		return nil
	}
	updated := rollout.DeepCopy()
	conditions{&updated.Status.Conditions, rollout.Generation, l.clock.Now()}.applied(failure)
	if equality.Semantic.DeepEqual(updated.Status, rollout.Status) {
		return nil
	}
	if failure != nil {
		l.recorder.Eventf(rollout, nil, corev1.EventTypeWarning, conditionReason(ReasonApplyFailed), "Apply", "%s", clip(failure.Error(), maxEventNote))
	}
	if err := l.client.Status().Update(ctx, updated, client.FieldOwner(v1alpha1.FieldManager)); err != nil {
		return fmt.Errorf("writing the conditions of Rollout %s/%s: %w", rollout.Namespace, rollout.Name, err)
	}
	return nil
}

// announce makes events, metrics and a line of log of a change of phase, step or reason.
func (l *rolloutLoop) announce(ctx context.Context, rollout *v1alpha1.Rollout, before *v1alpha1.RolloutStatus) {
	status := &rollout.Status
	if status.Phase == before.Phase && status.Step == before.Step && status.Reason == before.Reason {
		return
	}
	log.FromContext(ctx).Info("Decided", "phase", status.Phase, "step", status.Step,
		"weight", status.ApprovedWeight, "reason", status.Reason, "message", status.Message)
	kind := corev1.EventTypeNormal
	if status.AbortCause != nil {
		kind = corev1.EventTypeWarning
	}
	if newsworthy(before, status) {
		l.recorder.Eventf(rollout, nil, kind, conditionReason(status.Reason), string(status.Phase), "%s", clip(status.Message, maxEventNote))
	}
	l.tell(ctx, rollout, before)
	if status.Phase != before.Phase && status.Phase.Terminal() {
		countEnded(rollout, l.clock.Now())
		figuresOf(rollout, committedAt(l.release(ctx, rollout).Annotations[v1alpha1.AnnotationCommittedAt], rollout)).count()
	}
	countSteps(rollout, before)
}

func actionDelay(actions []plan.Action) time.Duration {
	for _, action := range actions {
		if action.Kind == plan.ActionMeasure {
			return afterMeasure
		}
	}
	return afterActions
}

// sooner returns the lesser of two delays, 0 being never.
func sooner(a, b time.Duration) time.Duration {
	if a == 0 || b == 0 {
		return max(a, b)
	}
	return min(a, b)
}

var _ reconcile.Reconciler = (*rolloutLoop)(nil)
