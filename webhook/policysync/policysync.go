// Package policysync brings DeployPolicies into force. On every replica it compiles each
// one into the store that the webhook judges by; on the leader it says in the policy's
// status whether it compiles. A policy that breaks keeps its last good version in force,
// and one that never compiled refuses what it matches, as package eval has it.
package policysync

import (
	"context"
	"errors"
	"fmt"
	"net/http"
	"strings"
	"sync"
	"sync/atomic"

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

// ReasonPolicyBroken is: a DeployPolicy does not compile.
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
	// SkipNameValidation lets several managers run in one process, as tests do.
	SkipNameValidation bool
}

// Setup adds both loops to mgr.
func Setup(mgr manager.Manager, opts Options) (*Loader, error) {
	if opts.Store == nil {
		return nil, errors.New("checking the options of the policy loops: set Store")
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
		Complete(&status{client: mgr.GetClient()})
	if err != nil {
		return nil, fmt.Errorf("setting up the policy status controller: %w", err)
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
	loaded map[string]version
}

type version struct {
	uid        types.UID
	generation int64
}

func newLoader(c client.Reader, store *eval.Store) *Loader {
	return &Loader{client: c, store: store, loaded: map[string]version{}}
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

// put compiles the policy unless this state of it was already put. l.mu is held.
func (l *Loader) put(policy *v1alpha1.DeployPolicy) error {
	now := version{policy.UID, policy.Generation}
	if l.loaded[policy.Name] == now {
		return nil
	}
	l.loaded[policy.Name] = now
	return l.store.Put(eval.FromDeployPolicy(policy))
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

// status tells the author of a policy whether it compiles.
type status struct{ client client.Client }

// Reconcile implements reconcile.Reconciler.
func (s *status) Reconcile(ctx context.Context, req reconcile.Request) (reconcile.Result, error) {
	var policy v1alpha1.DeployPolicy
	if err := s.client.Get(ctx, req.NamespacedName, &policy); err != nil {
		return reconcile.Result{}, client.IgnoreNotFound(err)
	}
	_, err := eval.Compile(eval.FromDeployPolicy(&policy))
	wanted := policy.DeepCopy()
	wanted.Status.ObservedGeneration = policy.Generation
	judge(&wanted.Status.Conditions, policy.Generation, err)
	if equality.Semantic.DeepEqual(policy.Status, wanted.Status) {
		return reconcile.Result{}, nil
	}
	if err := s.client.Status().Update(ctx, wanted); err != nil {
		return reconcile.Result{}, fmt.Errorf("recording the status of DeployPolicy %s: %w", req.Name, err)
	}
	return reconcile.Result{}, nil
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
	message := err.Error() + "\nThe last version that compiled stays in force; without one, whatever the policy matches is refused. Mend it and apply it again."
	if len(message) > maxMessage {
		message = message[:maxMessage]
	}
	condition := metav1.Condition{ObservedGeneration: generation, Reason: reasonBroken, Message: strings.ToValidUTF8(message, "")}
	condition.Type, condition.Status = v1alpha1.ConditionReady, metav1.ConditionFalse
	meta.SetStatusCondition(list, condition)
	condition.Type, condition.Status = v1alpha1.ConditionStalled, metav1.ConditionTrue
	meta.SetStatusCondition(list, condition)
}
