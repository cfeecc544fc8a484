package gates

import (
	"bytes"
	"context"
	"encoding/pem"
	"errors"
	"fmt"
	"slices"
	"strings"
	"time"

	admissionregistrationv1 "k8s.io/api/admissionregistration/v1"
	corev1 "k8s.io/api/core/v1"
	"k8s.io/apimachinery/pkg/api/equality"
	apierrors "k8s.io/apimachinery/pkg/api/errors"
	"k8s.io/apimachinery/pkg/api/meta"
	metav1 "k8s.io/apimachinery/pkg/apis/meta/v1"
	"k8s.io/apimachinery/pkg/types"
	"k8s.io/utils/clock"
	ctrl "sigs.k8s.io/controller-runtime"
	"sigs.k8s.io/controller-runtime/pkg/builder"
	"sigs.k8s.io/controller-runtime/pkg/client"
	"sigs.k8s.io/controller-runtime/pkg/handler"
	"sigs.k8s.io/controller-runtime/pkg/predicate"
	"sigs.k8s.io/controller-runtime/pkg/reconcile"

	"tidegate.io/tidegate/schemas/v1alpha1"
	"tidegate.io/tidegate/webhook/govern"
)

// Reasons of a Gate's conditions, and the codes that the messages begin with where they
// ask for patience or for somebody to act.
const (
	conditionEnforced      = "Enforced"
	conditionSettling      = "Settling"
	conditionNoCertificate = "NoCertificate"
	conditionInvalid       = "Invalid"
	conditionAltered       = "Altered"
	// conditionShared is there only while it is true.
	conditionShared = "ControllersShareIdentity"

	// ReasonSettling is: ring 1 alone stands for some namespaces, for a moment.
	ReasonSettling = "TG-GATE-SETTLING"
	// ReasonNoCertificate is: there is no certificate of the webhook yet, so ring 1 refuses
	// everything.
	ReasonNoCertificate = "TG-GATE-NOCERT"
	// ReasonAltered is: somebody's mutating policy writes into ring 2, so ring 1 refuses all of
	// its kinds.
	ReasonAltered = "TG-GATE-ALTERED"
	// ReasonInvalid is: the Gate cannot be read; what stood for it still stands.
	ReasonInvalid = "TG-GATE-INVALID"
)

// DefaultSettle is how long every API server is given to take up a changed webhook
// configuration.
const DefaultSettle = 3 * time.Second

// conflictPause is how long the cache is given to see what somebody else wrote, where the
// loop would have written over it.
const conflictPause = 100 * time.Millisecond

// Loop keeps at the API server what Generate says, and writes the status of Gates. It
// looks at all Gates and namespaces at once, since they share one webhook configuration,
// and so must run once: on the leader.
type Loop struct {
	// Client reads from the cache and writes.
	Client client.Client
	// Live reads from the API server; the webhook configuration is read with it before it
	// is relied upon.
	Live client.Reader
	// Clock is looked at for Settle.
	Clock clock.PassiveClock
	// Options is for Generate. CABundle is replaced where CASecret is set.
	Options Options
	// CASecret names the Secret whose key ca.crt is the bundle; empty: Options.CABundle is
	// used as it is.
	CASecret types.NamespacedName
	// Chart names the ConfigMap with the chart's own admission policies, which are put back
	// where somebody removed or edited them; empty: there are none.
	Chart types.NamespacedName
	// Shared says whether the built-in controllers share one identity; nil: nobody asks.
	Shared func(context.Context) (bool, error)
	// Settle is how long a namespace must have been in ring 2 before ring 1 leaves the
	// kinds of ring 2 to it; 0 is DefaultSettle.
	Settle time.Duration

	// since is when each namespace, by name and age, was first seen in ring 2, as it stands at
	// the API server. What stood before this process began has settled long ago.
	since   map[string]time.Time
	started bool
	// told is when ring 1 was told to leave its kinds to ring 2, by namespace and age.
	told map[string]time.Time
	// gone is when each namespace that ring 2 lists was first seen to be no more.
	gone map[string]time.Time
	// shared is what was found at sharedAt.
	shared   bool
	sharedAt time.Time
	// glass is the same for the webhooks about exemptions, by gate/namespace.
	glass map[string]time.Time
	// altered says what somebody did to ring 2 as it was written last, or is nil. No namespace
	// is settled then, but where the guards refused it.
	altered *alteredError
}

// the one request: everything is looked at together.
var everything = reconcile.Request{NamespacedName: types.NamespacedName{Name: "gates"}}

// Validate says which dependency is missing.
func (l *Loop) Validate() error {
	if l.Client == nil || l.Live == nil || l.Clock == nil {
		return errors.New("setting up the gate loop: wanted Client, Live and Clock, found a nil")
	}
	return l.Options.Validate()
}

// SetupWithManager registers the loop, on the leader, with watches of everything that it
// reads and of everything that it writes, so that what somebody else changes there is put
// back at once.
func (l *Loop) SetupWithManager(mgr ctrl.Manager) error {
	if err := l.Validate(); err != nil {
		return err
	}
	all := handler.EnqueueRequestsFromMapFunc(func(context.Context, client.Object) []reconcile.Request {
		return []reconcile.Request{everything}
	})
	mine := predicate.NewPredicateFuncs(func(o client.Object) bool {
		return o.GetName() == WebhookName || o.GetLabels()[LabelGate] != "" || strings.HasPrefix(o.GetName(), chartPrefix)
	})
	b := ctrl.NewControllerManagedBy(mgr).Named("gates").
		Watches(&v1alpha1.Gate{}, all).
		Watches(&v1alpha1.BreakGlass{}, all, builder.WithPredicates(predicate.GenerationChangedPredicate{})).
		Watches(&v1alpha1.BreakGlassCommand{}, all).
		Watches(&corev1.Namespace{}, all).
		WatchesMetadata(&admissionregistrationv1.ValidatingAdmissionPolicy{}, all, builder.WithPredicates(mine)).
		WatchesMetadata(&admissionregistrationv1.ValidatingAdmissionPolicyBinding{}, all, builder.WithPredicates(mine)).
		WatchesMetadata(&admissionregistrationv1.ValidatingWebhookConfiguration{}, all, builder.WithPredicates(mine))
	if l.Chart.Name != "" {
		b = b.WatchesMetadata(&admissionregistrationv1.MutatingAdmissionPolicy{}, all, builder.WithPredicates(mine)).
			WatchesMetadata(&admissionregistrationv1.MutatingAdmissionPolicyBinding{}, all, builder.WithPredicates(mine))
	}
	if l.CASecret.Name != "" {
		b = b.Watches(&corev1.Secret{}, all, builder.WithPredicates(predicate.NewPredicateFuncs(func(o client.Object) bool {
			return o.GetNamespace() == l.CASecret.Namespace && o.GetName() == l.CASecret.Name
		})))
	}
	return b.Complete(l)
}

// Reconcile brings what stands in line with what should. That somebody else wrote
// meanwhile is no error: everything is looked at anew in a moment.
func (l *Loop) Reconcile(ctx context.Context, _ reconcile.Request) (reconcile.Result, error) {
	// First, since they keep people away from the Gates. The rings do not wait for a chart
	// that cannot be read.
	restored := l.restore(ctx)
	result, err := l.align(ctx)
	if err == nil {
		err = restored
	}
	if apierrors.IsConflict(err) {
		return reconcile.Result{RequeueAfter: conflictPause}, nil
	}
	return result, err
}

// align goes in an order that leaves no hole: what a selector chose is recorded, then
// ring 1 is written, then ring 2, and only when ring 2 has settled does ring 1 leave its
// kinds to it.
func (l *Loop) align(ctx context.Context) (reconcile.Result, error) {
	var gates v1alpha1.GateList
	if err := l.Client.List(ctx, &gates); err != nil {
		return reconcile.Result{}, fmt.Errorf("listing gates: %w", err)
	}
	gates.Items = slices.DeleteFunc(gates.Items, func(g v1alpha1.Gate) bool { return g.DeletionTimestamp != nil })
	namespaces, err := l.namespaces(ctx)
	if err != nil {
		return reconcile.Result{}, err
	}
	options := l.Options
	if options.CABundle, err = l.authority(ctx); err != nil {
		return reconcile.Result{}, err
	}
	settled, wait, err := l.settled(ctx, namespaces)
	if err != nil {
		return reconcile.Result{}, err
	}
	exemptions, again, err := l.exemptions(ctx, gates.Items, namespaces)
	if err != nil {
		return reconcile.Result{}, err
	}
	options.Exemptions = exemptions
	if options.Linger, err = l.linger(ctx, namespaces); err != nil {
		return reconcile.Result{}, err
	}
	standing, err := Generate(gates.Items, namespaces, settled, options)
	if err != nil {
		return reconcile.Result{}, err
	}
	if err := l.remember(ctx, gates.Items, standing); err != nil {
		return reconcile.Result{}, err
	}
	if again, err = l.look(ctx, l.stand(ctx, gates.Items, standing), again); err != nil {
		return reconcile.Result{}, err
	}
	if err := l.lookForShared(ctx); err != nil {
		return reconcile.Result{}, err
	}
	effective, later := l.inEffect(settled, namespaces)
	for i := range gates.Items {
		if err := l.report(ctx, &gates.Items[i], standing, effective, options); err != nil {
			return reconcile.Result{}, err
		}
	}
	if l.unsettled(standing, settled) && wait == 0 {
		wait = l.settle()
	}
	return reconcile.Result{RequeueAfter: sooner(sooner(wait, again), later)}, nil
}

// look takes down whether what was written stands as it was written, and says when to look
// again. What was altered is told to ring 1 at once; then it is tried again as often as for
// a ring 2 that has not settled.
func (l *Loop) look(ctx context.Context, stood error, again time.Duration) (time.Duration, error) {
	was := l.altered
	l.altered = nil
	if !errors.As(stood, &l.altered) {
		if stood == nil && was != nil {
			ctrl.LoggerFrom(ctx).Info("ring 2 stands again as it was written")
		}
		return again, stood
	}
	if was != nil {
		// What stands may be what was altered before the guards refused it.
		l.altered.refused = l.altered.refused && was.refused
		return again, nil
	}
	ctrl.LoggerFrom(ctx).Error(stood, "ring 2 was altered", "code", ReasonAltered)
	return sooner(again, conflictPause), nil
}

func (l *Loop) settle() time.Duration {
	if l.Settle > 0 {
		return l.Settle
	}
	return DefaultSettle
}

// created is when a namespace was made, as CEL has it.
func created(ns *corev1.Namespace) string {
	if ns.CreationTimestamp.IsZero() {
		return ""
	}
	return ns.CreationTimestamp.UTC().Format(time.RFC3339)
}

// Namespace is what governing depends on of a namespace.
func Namespace(ns *corev1.Namespace) govern.Namespace {
	return govern.Namespace{Name: ns.Name, Created: created(ns), Labels: ns.Labels}
}

func (l *Loop) namespaces(ctx context.Context) ([]govern.Namespace, error) {
	var list corev1.NamespaceList
	if err := l.Client.List(ctx, &list); err != nil {
		return nil, fmt.Errorf("listing namespaces: %w", err)
	}
	out := make([]govern.Namespace, 0, len(list.Items))
	for i := range list.Items {
		out = append(out, Namespace(&list.Items[i]))
	}
	return out, nil
}

// authority reads the bundle. A Secret that is not there, or is not filled, is no error:
// what stands goes on with the authority that it has, and fails closed where that is of no
// use. Were ring 2 taken away meanwhile, an API server could see that before it sees that
// ring 1 refuses in its place. Where nothing stands yet there is no ring 2, and ring 1
// refuses its kinds.
func (l *Loop) authority(ctx context.Context) ([]byte, error) {
	if l.CASecret.Name == "" {
		return l.Options.CABundle, nil
	}
	var secret corev1.Secret
	if err := l.Client.Get(ctx, l.CASecret, &secret); client.IgnoreNotFound(err) != nil {
		return nil, fmt.Errorf("reading the webhook's authority: %w", err)
	}
	ca := bytes.TrimSpace(secret.Data["ca.crt"])
	if block, _ := pem.Decode(ca); block != nil {
		return ca, nil
	}
	var w admissionregistrationv1.ValidatingWebhookConfiguration
	if err := l.Live.Get(ctx, types.NamespacedName{Name: WebhookName}, &w); client.IgnoreNotFound(err) != nil {
		return nil, fmt.Errorf("reading the webhook configuration: %w", err)
	}
	var standing Options
	standing.From(&w)
	return standing.CABundle, nil
}

// lingering is how long ring 2 lists a namespace that was deleted: much longer than an API
// server takes to see a changed policy.
const lingering = 30 * time.Second

// linger are the namespaces that ring 2 lists and that were deleted a moment ago.
func (l *Loop) linger(ctx context.Context, namespaces []govern.Namespace) ([]string, error) {
	var w admissionregistrationv1.ValidatingWebhookConfiguration
	if err := l.Live.Get(ctx, types.NamespacedName{Name: WebhookName}, &w); client.IgnoreNotFound(err) != nil {
		return nil, fmt.Errorf("reading the webhook configuration: %w", err)
	}
	now, gone := l.Clock.Now(), map[string]time.Time{}
	var out []string
	for _, n := range inWebhook(&w) {
		if len(pinned([]string{n}, namespaces)) > 0 {
			continue
		}
		at, ok := l.gone[n]
		if !ok {
			at = now
		}
		gone[n] = at
		if now.Sub(at) < lingering {
			out = append(out, n)
		}
	}
	l.gone = gone
	return out, nil
}

// settled returns the namespaces for which ring 2 has stood for long enough, and after
// how long there are more, or 0.
func (l *Loop) settled(ctx context.Context, namespaces []govern.Namespace) ([]string, time.Duration, error) {
	var w admissionregistrationv1.ValidatingWebhookConfiguration
	if err := l.Live.Get(ctx, types.NamespacedName{Name: WebhookName}, &w); client.IgnoreNotFound(err) != nil {
		return nil, 0, fmt.Errorf("reading the webhook configuration: %w", err)
	}
	now, standing := l.Clock.Now(), map[string]time.Time{}
	if l.altered != nil && !l.altered.refused {
		w.Webhooks = nil // It counts from when it is as it should be.
	}
	l.sinceGlass(&w, now)
	var out []string
	var wait time.Duration
	for _, n := range inWebhook(&w) {
		key := pinned([]string{n}, namespaces)
		if len(key) == 0 {
			out = append(out, n) // It is not there; when it is, it is a new one.
			continue
		}
		at, ok := l.since[key[0]]
		if !ok && l.started {
			at = now
		}
		standing[key[0]] = at // The zero time for what stood before this process began.
		left := l.settle() - now.Sub(at)
		if left <= 0 {
			out = append(out, n)
		} else if wait == 0 || left < wait {
			wait = left
		}
	}
	l.since, l.started = standing, true
	slices.Sort(out)
	return out, wait, nil
}

// inWebhook are the namespaces for which ring 2 stands as generated: all of its
// catch-all webhooks must list them.
func inWebhook(w *admissionregistrationv1.ValidatingWebhookConfiguration) []string {
	for _, h := range w.Webhooks {
		if h.Name == webhookKinds && h.NamespaceSelector != nil && len(h.NamespaceSelector.MatchExpressions) == 1 {
			return h.NamespaceSelector.MatchExpressions[0].Values
		}
	}
	return nil
}

func (l *Loop) unsettled(s Standing, settled []string) bool {
	return slices.ContainsFunc(inWebhook(s.Webhook), func(n string) bool { return !slices.Contains(settled, n) })
}

// remember records what selectors chose, before anything rests on it.
func (l *Loop) remember(ctx context.Context, gates []v1alpha1.Gate, s Standing) error {
	for i := range gates {
		g := &gates[i]
		if selected := s.Selections[g.Name].Selected; !slices.Equal(selected, g.Status.Selected) {
			g.Status.Selected = selected
			if err := l.Client.Status().Update(ctx, g); err != nil {
				return fmt.Errorf("recording the selection of Gate %q: %w", g.Name, err)
			}
		}
	}
	return nil
}

// sharedEvery is how often it is looked whether controllers share an identity, which
// changes only when the control plane is started otherwise.
const sharedEvery = 10 * time.Minute

func (l *Loop) lookForShared(ctx context.Context) error {
	now := l.Clock.Now()
	if l.Shared == nil || (!l.sharedAt.IsZero() && now.Sub(l.sharedAt) < sharedEvery) {
		return nil
	}
	shared, err := l.Shared(ctx)
	if err != nil {
		return err
	}
	if shared {
		ctrl.LoggerFrom(ctx).Info("built-in controllers share one identity", "code", ReasonShared, "message", SharedMessage)
	}
	l.shared, l.sharedAt = shared, now
	return nil
}

// report writes the status of a Gate where it differs.
func (l *Loop) report(ctx context.Context, g *v1alpha1.Gate, s Standing, settled []string, o Options) error {
	selection := s.Selections[g.Name]
	status := g.Status.DeepCopy()
	status.ObservedGeneration = g.Generation
	status.Namespaces, status.Selected = selection.Namespaces, selection.Selected
	ready := metav1.Condition{Type: v1alpha1.ConditionReady, Status: metav1.ConditionTrue, Reason: conditionEnforced, Message: selection.message()}
	reconciling, stalled := metav1.ConditionFalse, metav1.ConditionFalse
	late := slices.DeleteFunc(slices.Clone(selection.Namespaces), func(n string) bool { return slices.Contains(settled, n) })
	switch {
	case selection.Problem != "":
		ready.Status, ready.Reason, stalled = metav1.ConditionFalse, conditionInvalid, metav1.ConditionTrue
		ready.Message = ReasonInvalid + ": " + selection.Problem + "; what stood for this Gate still stands; do: kubectl edit gate " + g.Name
	case len(o.CABundle) == 0:
		ready.Status, ready.Reason, reconciling = metav1.ConditionFalse, conditionNoCertificate, metav1.ConditionTrue
		ready.Message = ReasonNoCertificate + ": wanted a certificate of the webhook, found none yet; until then every write of governed kinds is refused"
	case l.altered != nil:
		ready.Status, ready.Reason, stalled = metav1.ConditionFalse, conditionAltered, metav1.ConditionTrue
		ready.Message = l.altered.Error()
	case len(late) > 0:
		ready.Status, ready.Reason, reconciling = metav1.ConditionFalse, conditionSettling, metav1.ConditionTrue
		ready.Message = fmt.Sprintf(ReasonSettling+": the webhook is being set up for %d namespaces, the first is %s; until then writes there are refused", len(late), late[0])
	}
	for _, c := range []metav1.Condition{
		ready,
		{Type: v1alpha1.ConditionReconciling, Status: reconciling, Reason: ready.Reason, Message: ready.Message},
		{Type: v1alpha1.ConditionStalled, Status: stalled, Reason: ready.Reason, Message: ready.Message},
	} {
		c.ObservedGeneration = g.Generation
		c.LastTransitionTime = metav1.NewTime(l.Clock.Now())
		meta.SetStatusCondition(&status.Conditions, c)
	}
	if l.shared {
		meta.SetStatusCondition(&status.Conditions, metav1.Condition{
			Type: conditionShared, Status: metav1.ConditionTrue, Reason: conditionShared, Message: ReasonShared + ": " + SharedMessage,
			ObservedGeneration: g.Generation, LastTransitionTime: metav1.NewTime(l.Clock.Now()),
		})
	} else {
		meta.RemoveStatusCondition(&status.Conditions, conditionShared)
	}
	if equality.Semantic.DeepEqual(*status, g.Status) {
		return nil
	}
	g.Status = *status
	if err := l.Client.Status().Update(ctx, g); err != nil {
		return fmt.Errorf("writing the status of Gate %q: %w", g.Name, err)
	}
	return nil
}
