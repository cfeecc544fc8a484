package gatekeeper

import (
	"context"
	"errors"
	"fmt"
	"net/http"
	"sync"
	"sync/atomic"
	"time"

	apierrors "k8s.io/apimachinery/pkg/api/errors"
	"k8s.io/apimachinery/pkg/api/meta"
	metav1 "k8s.io/apimachinery/pkg/apis/meta/v1"
	"k8s.io/apimachinery/pkg/apis/meta/v1/unstructured"
	"k8s.io/apimachinery/pkg/runtime"
	"k8s.io/apimachinery/pkg/runtime/schema"
	"k8s.io/apimachinery/pkg/types"
	toolscache "k8s.io/client-go/tools/cache"
	ctrl "sigs.k8s.io/controller-runtime"
	"sigs.k8s.io/controller-runtime/pkg/builder"
	"sigs.k8s.io/controller-runtime/pkg/cache"
	"sigs.k8s.io/controller-runtime/pkg/client"
	"sigs.k8s.io/controller-runtime/pkg/controller"
	"sigs.k8s.io/controller-runtime/pkg/manager"
	"sigs.k8s.io/controller-runtime/pkg/predicate"
	"sigs.k8s.io/controller-runtime/pkg/reconcile"

	"tidegate.io/tidegate/policies/eval/gatekeeper"
)

const (
	// fieldOwner is who owns what is applied.
	fieldOwner = "tidegate-gatekeeper"
	// servedSoon is when a kind that is not served yet is looked for again.
	servedSoon = time.Second
)

var (
	templateKind = schema.GroupVersionKind{Group: gatekeeper.TemplateGroup, Version: gatekeeper.TemplateVersions[0], Kind: gatekeeper.TemplateKind}
	configKind   = schema.GroupVersionKind{Group: "config.gatekeeper.sh", Version: "v1alpha1", Kind: "Config"}
	syncSetKind  = schema.GroupVersionKind{Group: "syncset.gatekeeper.sh", Version: "v1alpha1", Kind: "SyncSet"}
)

// constraintKind is the kind of the constraints of a template, in the version that is
// stored.
func constraintKind(kind string) schema.GroupVersionKind {
	return schema.GroupVersionKind{Group: gatekeeper.ConstraintGroup, Version: "v1beta1", Kind: kind}
}

// SyncOptions are what the loops need.
type SyncOptions struct {
	// Store is what templates, constraints and the inventory are put into. Required.
	Store *gatekeeper.Store
	// Replica is the name of this process in the status of templates and constraints.
	// Required.
	Replica string
	// Replicas returns the names of all replicas that there are. Those of others are taken
	// out of the status. It may be nil, or return nil where it is not known; then nothing is
	// taken out.
	Replicas func(ctx context.Context) ([]string, error)
	// Namespace is the manager's. A Config leaves namespaces out only there, or where
	// Gatekeeper reads it.
	Namespace string
	// SkipNameValidation lets several managers run in one process, as tests do.
	SkipNameValidation bool
}

// Setup adds the loops to mgr: on every replica they load ConstraintTemplates, constraints
// and the kinds that a Config or a SyncSet names; on the leader they make the
// CustomResourceDefinitions of constraints, and the status of templates.
func Setup(mgr manager.Manager, o SyncOptions) (*Loader, error) {
	if o.Store == nil || o.Replica == "" {
		return nil, errors.New("checking the options of the loops for constraints: set Store and Replica")
	}
	// The manager's own cache holds only Tidegate's objects of some kinds; templates read
	// all there are.
	all, err := cache.New(mgr.GetConfig(), cache.Options{
		HTTPClient: mgr.GetHTTPClient(), Scheme: mgr.GetScheme(), Mapper: mgr.GetRESTMapper(), DefaultTransform: cache.TransformStripManagedFields(),
	})
	if err != nil {
		return nil, fmt.Errorf("setting up the cache of what constraints read: %w", err)
	}
	l := &Loader{
		statuses: newStatuses(mgr.GetClient(), o), namespace: o.Namespace,
		client: mgr.GetClient(), templates: mgr.GetCache(), cache: all, store: o.Store, replica: o.Replica, leads: mgr.Elected(),
		kinds: map[string]string{}, watched: map[schema.GroupVersionKind]bool{}, synced: map[string][]schema.GroupVersionKind{}, excluded: map[string][]gatekeeper.Exclusion{},
	}
	everywhere := false
	options := controller.Options{NeedLeaderElection: &everywhere, SkipNameValidation: &o.SkipNameValidation}
	add := func(name string, gvk schema.GroupVersionKind, r reconcile.Func) error {
		err := ctrl.NewControllerManagedBy(mgr).Named(name).
			For(object(gvk), builder.WithPredicates(predicate.GenerationChangedPredicate{})).
			WithOptions(options).Complete(r)
		if err != nil {
			return fmt.Errorf("setting up the loop of %s: %w", gvk.Kind, err)
		}
		return nil
	}
	err = errors.Join(
		mgr.Add(all),
		add("gatekeeper-template", templateKind, l.template),
		add("gatekeeper-config", configKind, l.config),
		add("gatekeeper-syncset", syncSetKind, l.syncSet),
		mgr.Add(l.statuses),
		mgr.Add(&firstLoad{l}),
		mgr.Add(&firstLead{l}),
	)
	if err != nil {
		return nil, err
	}
	return l, nil
}

func object(gvk schema.GroupVersionKind) *unstructured.Unstructured {
	u := &unstructured.Unstructured{}
	u.SetGroupVersionKind(gvk)
	return u
}

// Loader keeps a store as the cluster is.
type Loader struct {
	client client.Client
	// templates is the manager's cache, which the loops run by.
	templates cache.Cache
	// cache is of constraints and of what the inventory has.
	cache    cache.Cache
	store    *gatekeeper.Store
	statuses *statuses
	// namespace is the manager's.
	namespace string
	replica   string
	leads     <-chan struct{}
	ready     atomic.Bool

	// mu is held from reading an object until it is in the store, so that what was read
	// earlier is never put later.
	mu sync.Mutex
	// kinds are the kinds that templates define, by the template's name.
	kinds map[string]string
	// watched are the kinds whose objects are loaded.
	watched map[schema.GroupVersionKind]bool
	// synced are the kinds that each Config and SyncSet names.
	synced map[string][]schema.GroupVersionKind
	// excluded are what Configs leave out, by namespace.
	excluded map[string][]gatekeeper.Exclusion
}

// Ready is a healthz.Checker: nil once everything that there was at the start has been put
// into force.
func (l *Loader) Ready(*http.Request) error {
	if !l.ready.Load() {
		return errors.New("the constraints have not been loaded yet")
	}
	return nil
}

// template loads one ConstraintTemplate and watches its constraints.
func (l *Loader) template(ctx context.Context, r reconcile.Request) (reconcile.Result, error) {
	l.mu.Lock()
	defer l.mu.Unlock()
	u := object(templateKind)
	switch err := l.client.Get(ctx, r.NamespacedName, u); {
	case apierrors.IsNotFound(err):
		l.store.DeleteTemplate(r.Name)
		l.statuses.forget(target{templateKind, r.Name})
		kind, ok := l.kinds[r.Name]
		if delete(l.kinds, r.Name); !ok {
			return reconcile.Result{}, nil
		}
		err := l.forget(ctx, constraintKind(kind))
		// The store has forgotten them; should the template come back, so must they.
		for _, c := range l.statuses.ofKind(constraintKind(kind)) {
			l.statuses.forget(c)
		}
		return reconcile.Result{}, err
	case err != nil:
		return reconcile.Result{}, fmt.Errorf("reading ConstraintTemplate %s: %w", r.Name, err)
	}
	t, err := l.store.PutTemplateContext(ctx, u)
	if err != nil {
		// The status says it to the author; here it is for whoever reads this replica's log.
		ctrl.LoggerFrom(ctx).Error(err, "ConstraintTemplate or a constraint of it does not work", "template", r.Name)
	}
	l.sayTemplate(u, t, err)
	if statusErr := l.lead(ctx, u, t); statusErr != nil {
		return reconcile.Result{}, statusErr
	}
	if t == nil {
		return reconcile.Result{}, nil
	}
	l.kinds[r.Name] = t.Kind()
	switch err := l.watch(ctx, constraintKind(t.Kind()), l.constraints()); {
	case meta.IsNoMatchError(err) || apierrors.IsNotFound(err):
		return reconcile.Result{RequeueAfter: servedSoon}, nil
	case err != nil:
		return reconcile.Result{}, err
	}
	return reconcile.Result{}, nil
}

// lead does what only the leader does.
func (l *Loader) lead(ctx context.Context, u *unstructured.Unstructured, t *gatekeeper.Template) error {
	select {
	case <-l.leads:
	default:
		return nil
	}
	if t != nil {
		if err := l.applyCRD(ctx, u, t); err != nil {
			return err
		}
	}
	status := object(templateKind)
	status.SetName(u.GetName())
	kind, _, _ := unstructured.NestedString(u.Object, "spec", "crd", "spec", "names", "kind")
	status.Object["status"] = map[string]any{"created": t != nil || l.store.TemplateInForce(kind)}
	if err := l.client.Status().Apply(ctx, client.ApplyConfigurationFromUnstructured(status), client.FieldOwner(fieldOwner), client.ForceOwnership); err != nil {
		return fmt.Errorf("recording the status of ConstraintTemplate %s: %w", u.GetName(), err)
	}
	return nil
}

// applyCRD makes the kind of the constraints. It goes when the template goes.
func (l *Loader) applyCRD(ctx context.Context, u *unstructured.Unstructured, t *gatekeeper.Template) error {
	crd := t.CRD()
	crd.OwnerReferences = []metav1.OwnerReference{{APIVersion: templateKind.GroupVersion().String(), Kind: templateKind.Kind, Name: u.GetName(), UID: u.GetUID()}}
	content, err := runtime.DefaultUnstructuredConverter.ToUnstructured(crd)
	if err != nil {
		return fmt.Errorf("writing the CustomResourceDefinition of %s: %w", t.Kind(), err)
	}
	delete(content, "status")
	apply := client.ApplyConfigurationFromUnstructured(&unstructured.Unstructured{Object: content})
	if err := l.client.Apply(ctx, apply, client.FieldOwner(fieldOwner), client.ForceOwnership); err != nil {
		return fmt.Errorf("applying the CustomResourceDefinition of %s: %w", t.Kind(), err)
	}
	return nil
}

func (l *Loader) config(ctx context.Context, r reconcile.Request) (reconcile.Result, error) {
	if err := l.exclude(ctx, r.NamespacedName); err != nil {
		return reconcile.Result{}, err
	}
	return l.inventory(ctx, configKind, r.NamespacedName, "spec", "sync", "syncOnly")
}

func (l *Loader) syncSet(ctx context.Context, r reconcile.Request) (reconcile.Result, error) {
	return l.inventory(ctx, syncSetKind, r.NamespacedName, "spec", "gvks")
}

// inventory loads the kinds that a Config or SyncSet names at a path.
func (l *Loader) inventory(ctx context.Context, gvk schema.GroupVersionKind, name types.NamespacedName, path ...string) (reconcile.Result, error) {
	l.mu.Lock()
	defer l.mu.Unlock()
	key := gvk.Kind + " " + name.String()
	u := object(gvk)
	switch err := l.client.Get(ctx, name, u); {
	case apierrors.IsNotFound(err):
		delete(l.synced, key)
	case err != nil:
		return reconcile.Result{}, fmt.Errorf("reading %s: %w", key, err)
	default:
		kinds, err := listed(u, path...)
		if err != nil {
			return reconcile.Result{}, reconcile.TerminalError(fmt.Errorf("reading %s: %w", key, err))
		}
		l.synced[key] = kinds
	}
	return l.follow(ctx)
}

// follow watches what is named, and forgets what is not any more.
func (l *Loader) follow(ctx context.Context) (reconcile.Result, error) {
	wanted := map[schema.GroupVersionKind]bool{}
	for _, list := range l.synced {
		for _, gvk := range list {
			wanted[gvk] = true
		}
	}
	var result reconcile.Result
	var problems []error
	for gvk := range wanted {
		switch err := l.watch(ctx, gvk, l.objects()); {
		case meta.IsNoMatchError(err):
			result.RequeueAfter = 10 * servedSoon
		case err != nil:
			problems = append(problems, err)
		}
	}
	for gvk := range l.watched {
		if gvk.Group != gatekeeper.ConstraintGroup && !wanted[gvk] {
			problems = append(problems, l.forget(ctx, gvk))
			l.store.Inventory().DeleteKind(gvk)
		}
	}
	return result, errors.Join(problems...)
}

func listed(u *unstructured.Unstructured, path ...string) ([]schema.GroupVersionKind, error) {
	list, _, err := unstructured.NestedSlice(u.Object, path...)
	if err != nil {
		return nil, err
	}
	var out []schema.GroupVersionKind
	for i, one := range list {
		m, ok := one.(map[string]any)
		if !ok {
			return nil, fmt.Errorf("%v[%d]: wanted group, version and kind, found %T", path, i, one)
		}
		group, _ := m["group"].(string)
		version, _ := m["version"].(string)
		kind, _ := m["kind"].(string)
		if version == "" || kind == "" {
			return nil, fmt.Errorf("%v[%d]: wanted group, version and kind, found %v", path, i, m)
		}
		out = append(out, schema.GroupVersionKind{Group: group, Version: version, Kind: kind})
	}
	return out, nil
}

// watch gives what there is of a kind, and every change, to handler. When it returns, what
// there was has been handled.
func (l *Loader) watch(ctx context.Context, gvk schema.GroupVersionKind, handler toolscache.ResourceEventHandler) error {
	if l.watched[gvk] {
		return nil
	}
	informer, err := l.cache.GetInformer(ctx, object(gvk))
	if err != nil {
		return fmt.Errorf("watching %s: %w", gvk.Kind, err)
	}
	registration, err := informer.AddEventHandler(handler)
	if err != nil {
		return fmt.Errorf("watching %s: %w", gvk.Kind, err)
	}
	if !toolscache.WaitForCacheSync(ctx.Done(), registration.HasSynced) {
		return ctx.Err()
	}
	l.watched[gvk] = true
	return nil
}

// forget stops watching a kind.
func (l *Loader) forget(ctx context.Context, gvk schema.GroupVersionKind) error {
	if !l.watched[gvk] {
		return nil
	}
	delete(l.watched, gvk)
	if err := l.cache.RemoveInformer(ctx, object(gvk)); err != nil {
		return fmt.Errorf("ending the watch of %s: %w", gvk.Kind, err)
	}
	return nil
}

// constraints puts constraints into the store.
func (l *Loader) constraints() toolscache.ResourceEventHandler {
	put := func(o any) {
		u, ok := o.(*unstructured.Unstructured)
		if !ok {
			return
		}
		// A change of the status is no change of the constraint.
		if l.statuses.fresh(u) {
			if err := l.store.PutConstraint(u); err != nil {
				ctrl.Log.WithName("gatekeeper").Error(err, "Constraint is not in force as it is written", "kind", u.GetKind(), "name", u.GetName())
			}
		}
		l.sayConstraint(u)
	}
	return handlers(put, func(u *unstructured.Unstructured) {
		l.store.DeleteConstraint(gatekeeper.Key{Kind: u.GetKind(), Name: u.GetName()})
		l.statuses.forget(target{u.GroupVersionKind(), u.GetName()})
	})
}

// objects puts objects into the inventory.
func (l *Loader) objects() toolscache.ResourceEventHandler {
	put := func(o any) {
		u, ok := o.(*unstructured.Unstructured)
		if !ok {
			return
		}
		namespace := u.GetNamespace()
		if u.GroupVersionKind().GroupKind() == (schema.GroupKind{Kind: "Namespace"}) {
			namespace = u.GetName()
		}
		if l.store.Excluded(gatekeeper.ProcessSync, namespace) {
			return
		}
		if err := l.store.Inventory().Put(u); err != nil {
			ctrl.Log.WithName("gatekeeper").Error(err, "Object is not in the inventory", "kind", u.GetKind(), "namespace", u.GetNamespace(), "name", u.GetName())
		}
	}
	return handlers(put, func(u *unstructured.Unstructured) {
		if err := l.store.Inventory().Delete(u); err != nil {
			ctrl.Log.WithName("gatekeeper").Error(err, "Object is still in the inventory", "kind", u.GetKind(), "namespace", u.GetNamespace(), "name", u.GetName())
		}
	})
}

func handlers(put func(any), gone func(*unstructured.Unstructured)) toolscache.ResourceEventHandler {
	return toolscache.ResourceEventHandlerFuncs{
		AddFunc:    put,
		UpdateFunc: func(_, o any) { put(o) },
		DeleteFunc: func(o any) {
			if last, ok := o.(toolscache.DeletedFinalStateUnknown); ok {
				o = last.Obj
			}
			if u, ok := o.(*unstructured.Unstructured); ok {
				gone(u)
			}
		},
	}
}

// firstLoad loads everything as soon as the cache has it. The loops would do it too, but
// cannot say when they are done.
type firstLoad struct{ *Loader }

// NeedLeaderElection says that every replica judges.
func (*firstLoad) NeedLeaderElection() bool { return false }

// Start implements manager.Runnable.
func (f *firstLoad) Start(ctx context.Context) error {
	if !f.templates.WaitForCacheSync(ctx) {
		return ctx.Err() // the manager stops
	}
	for _, of := range []struct {
		gvk  schema.GroupVersionKind
		load reconcile.Func
	}{{templateKind, f.template}, {configKind, f.config}, {syncSetKind, f.syncSet}} {
		if err := f.all(ctx, of.gvk, of.load); err != nil {
			return err
		}
	}
	f.ready.Store(true)
	return nil
}

// all gives each object of a kind to load. One that cannot be loaded is left to its loop.
func (l *Loader) all(ctx context.Context, gvk schema.GroupVersionKind, load reconcile.Func) error {
	list := &unstructured.UnstructuredList{}
	list.SetGroupVersionKind(gvk.GroupVersion().WithKind(gvk.Kind + "List"))
	if err := l.client.List(ctx, list); err != nil {
		return fmt.Errorf("listing %ss: %w", gvk.Kind, err)
	}
	for i := range list.Items {
		name := types.NamespacedName{Namespace: list.Items[i].GetNamespace(), Name: list.Items[i].GetName()}
		if _, err := load(ctx, reconcile.Request{NamespacedName: name}); err != nil {
			ctrl.LoggerFrom(ctx).Error(err, "object of Gatekeeper is not loaded yet", "kind", gvk.Kind, "name", name.Name)
		}
	}
	return nil
}

// firstLead does for all templates what only the leader does, once this replica leads.
type firstLead struct{ *Loader }

// NeedLeaderElection says that only the leader runs it.
func (*firstLead) NeedLeaderElection() bool { return true }

// Start implements manager.Runnable.
func (f *firstLead) Start(ctx context.Context) error {
	select {
	case <-ctx.Done():
		return nil
	case <-f.leads:
	}
	return f.all(ctx, templateKind, f.template)
}
