// Package policysync brings DeployPolicies into force. Every replica compiles and tests
// each one into the store that the webhook judges by, and says in the policy's status which
// version it serves; the leader says there whether it took effect. A policy that breaks
// keeps its last good version in force, and one that never took effect refuses what it
// matches, as package eval has it.
package policysync

import (
	"context"
	"errors"
	"fmt"
	"net/http"
	"slices"
	"strings"
	"sync"
	"sync/atomic"
	"time"

	"k8s.io/apimachinery/pkg/api/equality"
	apierrors "k8s.io/apimachinery/pkg/api/errors"
	"k8s.io/apimachinery/pkg/api/meta"
	metav1 "k8s.io/apimachinery/pkg/apis/meta/v1"
	"k8s.io/apimachinery/pkg/types"
	ctrl "sigs.k8s.io/controller-runtime"
	"sigs.k8s.io/controller-runtime/pkg/builder"
	"sigs.k8s.io/controller-runtime/pkg/cache"
	"sigs.k8s.io/controller-runtime/pkg/client"
	"sigs.k8s.io/controller-runtime/pkg/controller"
	"sigs.k8s.io/controller-runtime/pkg/manager"
	"sigs.k8s.io/controller-runtime/pkg/predicate"
	"sigs.k8s.io/controller-runtime/pkg/reconcile"

	"tidegate.io/tidegate/policies/eval"
	"tidegate.io/tidegate/schemas/v1alpha1"
)

// ReasonPolicyBroken is: a DeployPolicy does not compile, or its tests do not pass.
const ReasonPolicyBroken = "TG-POLICY-BROKEN"

const (
	// reasonBroken is ReasonPolicyBroken as conditions spell it.
	reasonBroken = "PolicyBroken"
	reasonReady  = "Ready"
	// maxMessage bounds what is put into a condition, in bytes.
	maxMessage = 4 << 10
)

// Options are what the loops need.
type Options struct {
	// Store is what policies are put into. Required.
	Store *eval.Store
	// Replica is the name of this replica, as status.serving has it. Required.
	Replica string
	// Replicas returns the names of all replicas that there are. Those of others are taken
	// out of status.serving. It may be nil, or return nil where it is not known; then nothing
	// is taken out.
	Replicas func(ctx context.Context) ([]string, error)
	// SkipNameValidation lets several managers run in one process, as tests do.
	SkipNameValidation bool
}

// Setup adds the loops to mgr.
func Setup(mgr manager.Manager, opts Options) (*Loader, error) {
	if opts.Store == nil || opts.Replica == "" {
		return nil, errors.New("checking the options of the policy loops: set Store and Replica")
	}
	loader := newLoader(mgr.GetClient(), opts.Store)
	onEvery, onLeader := false, true
	err := ctrl.NewControllerManagedBy(mgr).
		Named("policy-loader").
		For(&v1alpha1.DeployPolicy{}, builder.WithPredicates(predicate.GenerationChangedPredicate{})).
		WithOptions(controller.Options{NeedLeaderElection: &onEvery, SkipNameValidation: &opts.SkipNameValidation}).
		Complete(loader)
	if err != nil {
		return nil, fmt.Errorf("setting up the policy loader: %w", err)
	}
	err = ctrl.NewControllerManagedBy(mgr).
		Named("policy-status").
		For(&v1alpha1.DeployPolicy{}, builder.WithPredicates(predicate.GenerationChangedPredicate{})).
		WithOptions(controller.Options{NeedLeaderElection: &onLeader, SkipNameValidation: &opts.SkipNameValidation}).
		Complete(&status{client: mgr.GetClient(), loader: loader, replicas: opts.Replicas})
	if err != nil {
		return nil, fmt.Errorf("setting up the policy status controller: %w", err)
	}
	// No predicate: whoever writes over what this replica says must not have the last word.
	err = ctrl.NewControllerManagedBy(mgr).
		Named("policy-serving").
		For(&v1alpha1.DeployPolicy{}).
		WithOptions(controller.Options{NeedLeaderElection: &onEvery, SkipNameValidation: &opts.SkipNameValidation}).
		Complete(&serving{client: mgr.GetClient(), loader: loader, replica: opts.Replica})
	if err != nil {
		return nil, fmt.Errorf("setting up the policy serving controller: %w", err)
	}
	if err := mgr.Add(&firstLoad{loader: loader, cache: mgr.GetCache()}); err != nil {
		return nil, fmt.Errorf("adding the first load of policies: %w", err)
	}
	return loader, nil
}

// Loader keeps a store as the DeployPolicies are.
type Loader struct {
	client client.Reader
	store  *eval.Store
	ready  atomic.Bool

	// mu is held from reading policies until they are in the store, so that what was read
	// earlier is never put later.
	mu sync.Mutex
	// loaded is what was put into the store, so that nothing is compiled twice.
	loaded map[string]outcome
}

type version struct {
	uid        types.UID
	generation int64
}

// outcome is what came of putting a version into force.
type outcome struct {
	seen version
	// err is why it did not take effect, or nil.
	err error
	// served is the generation in force, and digest that of its source; zero where none is.
	served int64
	digest string
	// again is true where it could not be looked at, and another try may go well.
	again bool
}

// tryAgain is after how long that is.
const tryAgain = 5 * time.Second

func newLoader(c client.Reader, store *eval.Store) *Loader {
	return &Loader{client: c, store: store, loaded: map[string]outcome{}}
}

// Ready is a healthz.Checker: nil once every policy that there was at the start has been
// put into force.
func (l *Loader) Ready(*http.Request) error {
	if !l.ready.Load() {
		return errors.New("the policies have not been loaded yet")
	}
	return nil
}

// Reconcile implements reconcile.Reconciler.
func (l *Loader) Reconcile(ctx context.Context, req reconcile.Request) (reconcile.Result, error) {
	l.mu.Lock()
	defer l.mu.Unlock()
	var policy v1alpha1.DeployPolicy
	err := l.client.Get(ctx, req.NamespacedName, &policy)
	switch {
	case apierrors.IsNotFound(err):
		delete(l.loaded, req.Name)
		l.store.Delete(req.Name)
		return reconcile.Result{}, nil
	case err != nil:
		return reconcile.Result{}, fmt.Errorf("reading DeployPolicy %s: %w", req.Name, err)
	}
	if err := l.put(&policy); err != nil {
		// The leader tells the author; here it is for whoever reads this replica's log.
		ctrl.LoggerFrom(ctx).Error(err, "Policy does not compile", "code", ReasonPolicyBroken)
	}
	if l.loaded[req.Name].again {
		return reconcile.Result{RequeueAfter: tryAgain}, nil
	}
	return reconcile.Result{}, nil
}

// all puts every policy into force.
func (l *Loader) all(ctx context.Context) error {
	l.mu.Lock()
	defer l.mu.Unlock()
	var list v1alpha1.DeployPolicyList
	if err := l.client.List(ctx, &list); err != nil {
		return fmt.Errorf("listing DeployPolicies: %w", err)
	}
	log := ctrl.LoggerFrom(ctx)
	for i := range list.Items {
		if err := l.put(&list.Items[i]); err != nil {
			log.Error(err, "Policy does not compile", "code", ReasonPolicyBroken, "policy", list.Items[i].Name)
		}
	}
	l.ready.Store(true)
	return nil
}

// put brings the policy into force unless this state of it was already put. l.mu is held.
func (l *Loader) put(policy *v1alpha1.DeployPolicy) error {
	now, last := version{policy.UID, policy.Generation}, l.loaded[policy.Name]
	if last.seen == now && !last.again {
		return nil
	}
	o, put := outcome{seen: now}, l.store.Put
	if last.seen.uid != now.uid {
		// What another policy of the same name said is no version of this one.
		last, put = outcome{}, l.store.PutNew
	}
	if o.err = put(eval.FromDeployPolicy(policy)); o.err == nil {
		o.served = policy.Generation
	} else {
		o.served = last.served
	}
	if broken, ok := errors.AsType[*eval.CompileError](o.err); ok {
		o.again = broken.Again
	}
	o.digest = l.store.Digest(policy.Name)
	l.loaded[policy.Name] = o
	return o.err
}

// outcome is what came of a policy on this replica. It is brought into force where that has
// not happened yet.
func (l *Loader) outcome(policy *v1alpha1.DeployPolicy) outcome {
	l.mu.Lock()
	defer l.mu.Unlock()
	_ = l.put(policy) // what went wrong is in the outcome
	return l.loaded[policy.Name]
}

// firstLoad loads all policies as soon as the cache has them. A policy's own controller
// would do it too, but cannot say when it is done.
type firstLoad struct {
	loader *Loader
	cache  cache.Cache
}

// NeedLeaderElection says that every replica judges.
func (f *firstLoad) NeedLeaderElection() bool { return false }

// Start implements manager.Runnable.
func (f *firstLoad) Start(ctx context.Context) error {
	if !f.cache.WaitForCacheSync(ctx) {
		return ctx.Err() // the manager stops
	}
	return f.loader.all(ctx)
}

// status tells the author of a policy whether it took effect.
type status struct {
	client   client.Client
	loader   *Loader
	replicas func(ctx context.Context) ([]string, error)
}

// recount is how often the leader looks whether the replicas that serve a policy are there.
const recount = time.Minute

// Reconcile implements reconcile.Reconciler.
func (s *status) Reconcile(ctx context.Context, req reconcile.Request) (reconcile.Result, error) {
	var policy v1alpha1.DeployPolicy
	if err := s.client.Get(ctx, req.NamespacedName, &policy); err != nil {
		return reconcile.Result{}, client.IgnoreNotFound(err)
	}
	wanted := policy.DeepCopy()
	wanted.Status.ObservedGeneration = policy.Generation
	judge(&wanted.Status.Conditions, policy.Generation, s.loader.outcome(&policy).err)
	if s.replicas != nil {
		there, err := s.replicas(ctx)
		if err != nil {
			return reconcile.Result{}, fmt.Errorf("listing the replicas that serve DeployPolicy %s: %w", req.Name, err)
		}
		if there != nil {
			wanted.Status.Serving = slices.DeleteFunc(wanted.Status.Serving, func(p v1alpha1.PolicyServing) bool {
				return !slices.Contains(there, p.Replica)
			})
		}
	}
	result := reconcile.Result{}
	if s.replicas != nil && len(wanted.Status.Serving) > 0 {
		result.RequeueAfter = recount
	}
	return result, record(ctx, s.client, &policy, wanted)
}

// serving tells which version this replica judges by.
type serving struct {
	client  client.Client
	loader  *Loader
	replica string
}

// Reconcile implements reconcile.Reconciler.
func (s *serving) Reconcile(ctx context.Context, req reconcile.Request) (reconcile.Result, error) {
	var policy v1alpha1.DeployPolicy
	if err := s.client.Get(ctx, req.NamespacedName, &policy); err != nil {
		return reconcile.Result{}, client.IgnoreNotFound(err)
	}
	o := s.loader.outcome(&policy)
	mine := v1alpha1.PolicyServing{Replica: s.replica, Generation: o.served, Digest: o.digest, Seen: policy.Generation}
	wanted := policy.DeepCopy()
	list := slices.DeleteFunc(wanted.Status.Serving, func(p v1alpha1.PolicyServing) bool { return p.Replica == s.replica })
	list = append(list, mine)
	slices.SortFunc(list, func(a, b v1alpha1.PolicyServing) int { return strings.Compare(a.Replica, b.Replica) })
	wanted.Status.Serving = list
	return reconcile.Result{}, record(ctx, s.client, &policy, wanted)
}

// record writes a status where it differs. Several write to one status, each its part, so
// who reads late is refused and tries again with what is there.
func record(ctx context.Context, c client.Client, policy, wanted *v1alpha1.DeployPolicy) error {
	if equality.Semantic.DeepEqual(policy.Status, wanted.Status) {
		return nil
	}
	if err := c.Status().Update(ctx, wanted); err != nil {
		return fmt.Errorf("recording the status of DeployPolicy %s: %w", policy.Name, err)
	}
	return nil
}

// judge writes the conditions for the outcome of compiling.
func judge(list *[]metav1.Condition, generation int64, err error) {
	if err == nil {
		meta.SetStatusCondition(list, metav1.Condition{
			Type: v1alpha1.ConditionReady, Status: metav1.ConditionTrue, ObservedGeneration: generation,
			Reason: reasonReady, Message: "The policy is in force.",
		})
		meta.RemoveStatusCondition(list, v1alpha1.ConditionStalled)
		return
	}
	message := err.Error() + "\nThe last version that took effect stays in force; without one, whatever the policy matches is refused. Mend it and apply it again."
	if len(message) > maxMessage {
		message = message[:maxMessage]
	}
	condition := metav1.Condition{ObservedGeneration: generation, Reason: reasonBroken, Message: strings.ToValidUTF8(message, "")}
	condition.Type, condition.Status = v1alpha1.ConditionReady, metav1.ConditionFalse
	meta.SetStatusCondition(list, condition)
	condition.Type, condition.Status = v1alpha1.ConditionStalled, metav1.ConditionTrue
	meta.SetStatusCondition(list, condition)
}
