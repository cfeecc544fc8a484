// Package exemption keeps the record of BreakGlasses: it writes their phase, makes an event
// of each use, and looks again when one expires. What an exemption lets through is decided
// elsewhere, by package exempt, whether this loop runs or not.
package exemption

import (
	"context"
	"errors"
	"fmt"
	"strings"
	"time"

	corev1 "k8s.io/api/core/v1"
	"k8s.io/apimachinery/pkg/api/equality"
	"k8s.io/apimachinery/pkg/api/meta"
	metav1 "k8s.io/apimachinery/pkg/apis/meta/v1"
	"k8s.io/apimachinery/pkg/runtime"
	"k8s.io/client-go/tools/events"
	"k8s.io/utils/clock"
	ctrl "sigs.k8s.io/controller-runtime"
	"sigs.k8s.io/controller-runtime/pkg/client"
	"sigs.k8s.io/controller-runtime/pkg/handler"
	"sigs.k8s.io/controller-runtime/pkg/reconcile"

	"tidegate.io/tidegate/schemas/exempt"
	"tidegate.io/tidegate/schemas/v1alpha1"
	"tidegate.io/tidegate/webhook/govern"
)

// maxNote is the most that an event may say, in bytes.
const maxNote = 1024

// Loop looks after BreakGlasses, on the leader.
type Loop struct {
	// Client reads from the cache and writes.
	Client client.Client
	// Live reads from the API server: what is known of a BreakGlass is written back, and uses
	// that were recorded a moment ago must not be lost.
	Live     client.Reader
	Recorder events.EventRecorder
	Clock    clock.PassiveClock
	// ManagerNamespace is never governed.
	ManagerNamespace string
}

// Validate says what is missing.
func (l *Loop) Validate() error {
	if l.Client == nil || l.Live == nil || l.Recorder == nil || l.Clock == nil || l.ManagerNamespace == "" {
		return errors.New("setting up the loop about BreakGlasses: wanted Client, Live, Recorder, Clock and ManagerNamespace, found that one is missing")
	}
	return nil
}

// SetupWithManager registers the loop.
func (l *Loop) SetupWithManager(mgr ctrl.Manager) error {
	if err := l.Validate(); err != nil {
		return err
	}
	err := ctrl.NewControllerManagedBy(mgr).Named("breakglass").
		For(&v1alpha1.BreakGlass{}).
		Watches(&v1alpha1.BreakGlassCommand{}, handler.EnqueueRequestsFromMapFunc(ofCommand)).
		Watches(&v1alpha1.Gate{}, handler.EnqueueRequestsFromMapFunc(l.open)).
		Complete(l)
	if err != nil {
		return fmt.Errorf("setting up the loop about BreakGlasses: %w", err)
	}
	return nil
}

func ofCommand(_ context.Context, o client.Object) []reconcile.Request {
	c, ok := o.(*v1alpha1.BreakGlassCommand)
	if !ok {
		return nil
	}
	return []reconcile.Request{{NamespacedName: client.ObjectKey{Namespace: c.Namespace, Name: c.Spec.BreakGlass}}}
}

// open are the BreakGlasses that a change of a Gate may matter to.
func (l *Loop) open(ctx context.Context, _ client.Object) []reconcile.Request {
	var list v1alpha1.BreakGlassList
	if err := l.Client.List(ctx, &list); err != nil {
		ctrl.LoggerFrom(ctx).Error(err, "Cannot list BreakGlasses")
		return nil
	}
	var out []reconcile.Request
	for i := range list.Items {
		if !list.Items[i].Status.Phase.Over() {
			out = append(out, reconcile.Request{NamespacedName: client.ObjectKeyFromObject(&list.Items[i])})
		}
	}
	return out
}

// Reconcile brings the record of one BreakGlass up to date.
func (l *Loop) Reconcile(ctx context.Context, r reconcile.Request) (reconcile.Result, error) {
	var b v1alpha1.BreakGlass
	if err := l.Live.Get(ctx, r.NamespacedName, &b); err != nil {
		return reconcile.Result{}, client.IgnoreNotFound(err) //nolint:wrapcheck // a read that says what it read
	}
	if b.DeletionTimestamp != nil {
		return reconcile.Result{}, nil
	}
	facts, err := l.facts(ctx, &b)
	if err != nil {
		return reconcile.Result{}, err
	}
	status := b.Status.DeepCopy()
	// What has ended does not begin again, whatever becomes of the Gate or of the clock.
	if !b.Status.Phase.Over() {
		settle(status, &b, exempt.Of(facts), facts.Now)
	}
	fresh := unannounced(status)
	status.Announced = status.UseCount
	if !equality.Semantic.DeepEqual(*status, b.Status) {
		before := b.Status.Phase
		b.Status = *status
		if err := l.Client.Status().Update(ctx, &b, client.FieldOwner(v1alpha1.FieldManager)); err != nil {
			return reconcile.Result{}, fmt.Errorf("writing the status of BreakGlass %s: %w", r.NamespacedName, err)
		}
		l.announce(ctx, &b, before, fresh)
	}
	if status.Phase.Over() {
		return reconcile.Result{}, nil
	}
	return reconcile.Result{RequeueAfter: max(b.Spec.ExpiresAt.Sub(l.Clock.Now()), time.Millisecond)}, nil
}

func (l *Loop) facts(ctx context.Context, b *v1alpha1.BreakGlass) (exempt.Facts, error) {
	f := exempt.Facts{BreakGlass: b, Rules: map[string]*v1alpha1.BreakGlassRule{}, Now: l.Clock.Now()}
	var commands v1alpha1.BreakGlassCommandList
	if err := l.Live.List(ctx, &commands, client.InNamespace(b.Namespace)); err != nil {
		return f, fmt.Errorf("listing BreakGlassCommands of namespace %q: %w", b.Namespace, err)
	}
	f.Commands = commands.Items
	var ns corev1.Namespace
	if err := l.Client.Get(ctx, client.ObjectKey{Name: b.Namespace}, &ns); err != nil {
		return f, fmt.Errorf("reading namespace %q: %w", b.Namespace, err)
	}
	var gates v1alpha1.GateList
	if err := l.Client.List(ctx, &gates); err != nil {
		return f, fmt.Errorf("listing gates: %w", err)
	}
	governing, err := govern.Governing(gates.Items, govern.Namespace{Name: ns.Name, Labels: ns.Labels}, l.ManagerNamespace)
	if err != nil {
		return f, err //nolint:wrapcheck // says what it did
	}
	for _, g := range governing {
		f.Rules[g.Name] = g.Spec.BreakGlass
	}
	return f, nil
}

// settle writes a state into a status.
func settle(status *v1alpha1.BreakGlassStatus, b *v1alpha1.BreakGlass, s exempt.State, now time.Time) {
	status.ObservedGeneration = b.Generation
	status.Phase, status.Message = s.Phase, s.Message
	// What the Gate says while the exemption is open is what holds afterwards.
	status.Afterwards = s.Afterwards
	if s.Approval != nil {
		at := s.Approval.CreationTimestamp
		status.ApprovedBy, status.ApprovedAt = s.Approval.Spec.Actor, &at
	}
	switch {
	case s.Revocation != nil:
		at := s.Revocation.CreationTimestamp
		status.EndedAt = &at
	case s.Phase == v1alpha1.BreakGlassEnded:
		at := b.Spec.ExpiresAt
		status.EndedAt = &at
	}
	ready, reconciling, stalled := metav1.ConditionFalse, metav1.ConditionFalse, metav1.ConditionFalse
	switch s.Phase {
	case v1alpha1.BreakGlassPending:
		reconciling = metav1.ConditionTrue
	case v1alpha1.BreakGlassRefused:
		stalled = metav1.ConditionTrue
	case v1alpha1.BreakGlassLive, v1alpha1.BreakGlassEnded, v1alpha1.BreakGlassRevoked:
		// One that has ended is as it should be.
		ready = metav1.ConditionTrue
	}
	for kind, is := range map[string]metav1.ConditionStatus{
		v1alpha1.ConditionReady: ready, v1alpha1.ConditionReconciling: reconciling, v1alpha1.ConditionStalled: stalled,
	} {
		if kind != v1alpha1.ConditionReady && is != metav1.ConditionTrue {
			meta.RemoveStatusCondition(&status.Conditions, kind)
			continue
		}
		meta.SetStatusCondition(&status.Conditions, metav1.Condition{
			Type: kind, Status: is, ObservedGeneration: b.Generation, LastTransitionTime: metav1.NewTime(now),
			Reason: string(s.Phase), Message: s.Message,
		})
	}
}

// unannounced are the uses that no event has been made of, as far as they are kept.
func unannounced(s *v1alpha1.BreakGlassStatus) []v1alpha1.BreakGlassUse {
	n := min(s.UseCount-s.Announced, int64(len(s.Uses)))
	if n <= 0 {
		return nil
	}
	return s.Uses[int64(len(s.Uses))-n:]
}

// announce makes events, and lines of log, of uses and of a change of phase.
func (l *Loop) announce(ctx context.Context, b *v1alpha1.BreakGlass, before v1alpha1.BreakGlassPhase, uses []v1alpha1.BreakGlassUse) {
	for _, u := range uses {
		what := u.Object.Resource
		if u.SubResource != "" {
			what += "/" + u.SubResource
		}
		l.event(b, release(b, u), corev1.EventTypeWarning, "BreakGlassUsed", fmt.Sprintf("%s past the managed flow: %s of %s %q (request %s); the reason given: %s",
			u.User, u.Operation, what, u.Object.Name, u.Request, b.Spec.Reason))
		ctrl.LoggerFrom(ctx).Info("A BreakGlass was used", "user", u.User, "operation", u.Operation, "resource", what, "name", u.Object.Name, "request", u.Request)
	}
	if b.Status.Phase == before {
		return
	}
	kind := corev1.EventTypeNormal
	if b.Status.Phase == v1alpha1.BreakGlassLive {
		kind = corev1.EventTypeWarning
	}
	l.event(b, nil, kind, "BreakGlass"+string(b.Status.Phase), fmt.Sprintf("%s, by %s: %s", b.Status.Message, b.Spec.Actor, b.Spec.Reason))
	ctrl.LoggerFrom(ctx).Info("The phase of a BreakGlass changed", "phase", b.Status.Phase, "message", b.Status.Message)
}

func (l *Loop) event(b *v1alpha1.BreakGlass, related runtime.Object, kind, reason, note string) {
	if len(note) > maxNote {
		note = strings.ToValidUTF8(note[:maxNote-3], "") + "..."
	}
	l.Recorder.Eventf(b, related, kind, reason, "BreakGlass", "%s", note)
}

// release is the Release that a use concerns, as what an event is related to.
func release(b *v1alpha1.BreakGlass, u v1alpha1.BreakGlassUse) runtime.Object {
	if u.Release == "" {
		return nil
	}
	return &v1alpha1.Release{
		TypeMeta:   metav1.TypeMeta{APIVersion: v1alpha1.GroupVersion.String(), Kind: "Release"},
		ObjectMeta: metav1.ObjectMeta{Namespace: b.Namespace, Name: u.Release},
	}
}

var _ reconcile.Reconciler = (*Loop)(nil)
