// Package apply executes the actions of package plan on the cluster. Each is absolute and
// may be repeated: applying what is there already changes nothing, and deleting what is
// gone is done.
//
// Objects are written by server-side apply with the field manager of Tidegate and are
// owned by their Release. Two writes are conditional on what was observed, since they
// cost requests when they come late: weights are applied on the resourceVersion of the
// route that the decision rested on, and objects are deleted as they were seen, after the
// route was read back.
package apply

import (
	"context"
	"errors"
	"fmt"

	apierrors "k8s.io/apimachinery/pkg/api/errors"
	metav1 "k8s.io/apimachinery/pkg/apis/meta/v1"
	"k8s.io/apimachinery/pkg/apis/meta/v1/unstructured"
	"k8s.io/apimachinery/pkg/runtime/schema"
	"k8s.io/apimachinery/pkg/types"
	"sigs.k8s.io/controller-runtime/pkg/client"

	"tidegate.io/tidegate/rollout/manifest"
	"tidegate.io/tidegate/rollout/observe"
	"tidegate.io/tidegate/rollout/plan"
	"tidegate.io/tidegate/schemas/render"
	"tidegate.io/tidegate/schemas/v1alpha1"
)

var (
	// ErrCarriesTraffic refuses to retire a set that the route still sends requests to.
	ErrCarriesTraffic = errors.New("the route still sends requests to the set")
	// ErrServing refuses to retire the set that both sides of a Rollout share.
	ErrServing = errors.New("the set is the one that serves")
	// ErrNotRendered refuses to write what cannot be rendered as it was judged.
	ErrNotRendered = errors.New("the revision could not be rendered as it was judged")
	// ErrForeign refuses to take over or delete an object that belongs to somebody else.
	ErrForeign = errors.New("the object is controlled by another owner")
)

// Target is what the actions of one decision are about.
type Target struct {
	Release *v1alpha1.Release
	Rollout *v1alpha1.Rollout
	// Phase is the one that was decided, and recorded, with the actions.
	Phase v1alpha1.RolloutPhase
	Sides manifest.Sides
	// Route is the route that the decision rested on; nil where there was none.
	Route *unstructured.Unstructured
	// Workload is the workload that the decision rested on where the revisions share it; nil
	// where there was none.
	Workload *unstructured.Unstructured
	// Seen are the objects of the sets that the decision rested on.
	Seen observe.Versions
	// Spared says of an object that it is left as it is, there or not; nil spares none. Touched
	// is true where somebody else may have changed or deleted it: it is not there as it is
	// wanted now.
	Spared func(o *unstructured.Unstructured, touched bool) (bool, error)
}

// Applier executes actions.
type Applier struct {
	// Writer writes to the API server.
	Writer client.Client
	// Live reads from the API server, not from a cache.
	Live client.Reader
	// Known reads what is as wanted already and needs no write: from a cache that knows of
	// Writer's writes. Live if nil.
	Known client.Reader
	// Refusals remembers for a while which autoscalers may not be told to leave more pods than was rendered. Nothing is
	// remembered if nil.
	Refusals *Refusals
}

func (a Applier) known() client.Reader {
	if a.Known == nil {
		return a.Live
	}
	return a.Known
}

// Execute executes one action. Measure and CallHook are not among them: they are the
// caller's.
func (a Applier) Execute(ctx context.Context, t *Target, action plan.Action) error {
	switch action.Kind {
	case plan.ActionApplyShared:
		return a.shared(ctx, t)
	case plan.ActionEnsureSet:
		return a.ensureSet(ctx, t, action)
	case plan.ActionSetWeight:
		return a.setExposure(ctx, t, action.Exposure)
	case plan.ActionRetire:
		return a.retire(ctx, t, action.Role)
	case plan.ActionAnswer:
		return a.answer(ctx, t, action)
	case plan.ActionRunJob:
		return a.runJob(ctx, t, action)
	case plan.ActionStopJob:
		return a.stopJob(ctx, t, action.Job)
	case plan.ActionMeasure, plan.ActionCallHook:
	}
	return fmt.Errorf("executing action %q: not known here", action.Kind)
}

func (t *Target) side(role plan.Role) (*render.Result, error) {
	side := t.Sides.Canary
	switch {
	case role == plan.RoleBaseline:
		side = manifest.Baseline(t.Sides.Stable)
	case role == plan.RoleStable && !manifest.InPlace(t.Rollout.Spec):
		side = t.Sides.Stable
	}
	if side == nil {
		return nil, fmt.Errorf("finding the %s set of Rollout %s: %w", role, t.Rollout.Name, ErrNotRendered)
	}
	return side, nil
}

func (a Applier) shared(ctx context.Context, t *Target) error {
	if !t.Sides.Complete(t.Rollout.Spec) {
		return fmt.Errorf("applying the shared objects of Rollout %s: %w", t.Rollout.Name, ErrNotRendered)
	}
	for _, obj := range manifest.Shared(t.Sides, t.Phase) {
		want, err := manifest.Wanted(obj, t.Release)
		if err != nil {
			return err
		}
		if err := a.apply(ctx, t, want); err != nil {
			return err
		}
	}
	return nil
}

// ensureSet applies the objects of a set, the workload last, so that no pod starts before
// what it depends on.
func (a Applier) ensureSet(ctx context.Context, t *Target, action plan.Action) error {
	side, err := t.side(action.Role)
	if err != nil {
		return err
	}
	workload, made, err := a.before(ctx, t, side, action)
	if err != nil {
		return err
	}
	if workload == nil {
		return fmt.Errorf("applying the %s set of Rollout %s: it has no workload", action.Role, t.Rollout.Name)
	}
	if err := manifest.WithSize(workload, action.Replicas, action.Held); err != nil {
		return err
	}
	if manifest.Rolling(t.Rollout.Spec) && action.Role == plan.RoleCanary && t.Workload != nil {
		// Here the workload is the exposure. A manager that was held up must not bring back
		// what another one has taken away; putting the old revision back is never in doubt.
		workload.SetResourceVersion(t.Workload.GetResourceVersion())
		workload.SetUID(t.Workload.GetUID())
	}
	if made {
		if err := a.stillWanted(ctx, t, action.Role, side); err != nil {
			return err
		}
	}
	made, err = a.put(ctx, t, workload)
	if err != nil || !made {
		return err
	}
	return a.stillWanted(ctx, t, action.Role, side)
}

// before applies all of a set but its workload, which it returns, and says whether something was made. Its
// autoscaler leaves it as many pods as the action says.
func (a Applier) before(ctx context.Context, t *Target, side *render.Result, action plan.Action) (workload *unstructured.Unstructured, made bool, err error) {
	for _, obj := range side.Set {
		want, err := manifest.Wanted(obj, t.Release)
		if err != nil {
			return nil, made, err
		}
		if manifest.IsWorkload(want) {
			workload = want
			continue
		}
		fresh, err := a.putLifted(ctx, t, want, action)
		if err != nil {
			return nil, made, err
		}
		made = made || fresh
	}
	return workload, made, nil
}

// retire deletes the objects of a set. That it gets no traffic was decided on an
// observation; it is read back once more here, since nothing brings back the requests
// that are lost when it is not so.
func (a Applier) retire(ctx context.Context, t *Target, role plan.Role) error {
	spec := t.Rollout.Spec
	if manifest.InPlace(spec) {
		return fmt.Errorf("retiring the %s set of Rollout %s: %w", role, t.Rollout.Name, ErrServing)
	}
	side, err := t.side(role)
	if err != nil {
		return err
	}
	if manifest.Rolling(spec) {
		return a.sweep(ctx, t, role, side)
	}
	route, err := observe.Reader{Live: a.Live}.Route(ctx, t.Sides, t.Rollout)
	if err != nil {
		return err
	}
	if route != nil && manifest.LeadsTo(route, t.Rollout.Spec, side.Revision) {
		return fmt.Errorf("retiring the %s set of Rollout %s: %w: %s %s leads to revision %s",
			role, t.Rollout.Name, ErrCarriesTraffic, route.GetKind(), route.GetName(), side.Revision)
	}
	for _, obj := range side.Set {
		if err := a.remove(ctx, t, obj); err != nil {
			return err
		}
	}
	return nil
}

// propagation is how what depends on an object goes with it. While a Release goes from sets to a workload in
// place or back, a workload is there until its last pod is gone: what follows may select every pod of
// the Release.
func propagation(t *Target, obj *unstructured.Unstructured) metav1.DeletionPropagation {
	if t.Rollout.Spec.Changes() && manifest.IsWorkload(obj) {
		return metav1.DeletePropagationForeground
	}
	return metav1.DeletePropagationBackground
}

// sweep deletes what only one revision of a shared workload needed, and the workload too
// where there is no other revision. That no pod needs it was decided on an observation; it
// is read back once more here.
func (a Applier) sweep(ctx context.Context, t *Target, role plan.Role, side *render.Result) error {
	alone := role == plan.RoleCanary && t.Rollout.Spec.Stable == nil
	for _, obj := range side.Set {
		if !manifest.IsWorkload(obj) || alone {
			continue
		}
		live, err := observe.Reader{Live: a.Live}.Get(ctx, obj)
		if err != nil {
			return err //nolint:wrapcheck // says what it read
		}
		if live != nil && (manifest.RevisionOf(live) == side.Revision || manifest.Held(live) > 0) {
			return fmt.Errorf("retiring the %s set of Rollout %s: %w: %s %s makes or keeps its pods",
				role, t.Rollout.Name, ErrServing, live.GetKind(), live.GetName())
		}
	}
	for _, obj := range side.Set {
		if manifest.IsWorkload(obj) && !alone {
			continue
		}
		if err := a.remove(ctx, t, obj); err != nil {
			return err
		}
	}
	return nil
}

// remove deletes one object of the Release, and whatever depends on it.
func (a Applier) remove(ctx context.Context, t *Target, obj *unstructured.Unstructured) error {
	found, err := a.removeAs(ctx, t, obj, a.known(), "")
	if found != "" && apierrors.IsConflict(err) && a.known() != a.Live {
		_, err = a.removeAs(ctx, t, obj, a.Live, found) // the cache is behind
	}
	return err
}

// removeAs is remove of the object as from has it, which it names; only says which one it is, where that is known. One
// that was made anew since is not what was decided about.
func (a Applier) removeAs(ctx context.Context, t *Target, obj *unstructured.Unstructured, from client.Reader, only types.UID) (types.UID, error) {
	found := &unstructured.Unstructured{}
	found.SetGroupVersionKind(obj.GroupVersionKind())
	switch err := from.Get(ctx, client.ObjectKeyFromObject(obj), found); {
	case apierrors.IsNotFound(err):
		return "", nil
	case err != nil:
		return "", fmt.Errorf("reading %s %s/%s: %w", obj.GetKind(), obj.GetNamespace(), obj.GetName(), err)
	}
	uid, version := found.GetUID(), found.GetResourceVersion()
	switch {
	case only != "" && uid != only:
		return uid, apierrors.NewConflict(schema.GroupResource{Group: obj.GroupVersionKind().Group, Resource: obj.GetKind()}, obj.GetName(), errMovedOn)
	case found.GetDeletionTimestamp() != nil || taken(found, obj):
		return uid, nil
	case foreign(found, t.Release):
		return uid, fmt.Errorf("deleting %s %s/%s: %w than Release %s", obj.GetKind(), obj.GetNamespace(), obj.GetName(), ErrForeign, t.Release.Name)
	}
	err := a.Writer.Delete(ctx, found, client.Preconditions{UID: &uid, ResourceVersion: &version}, client.PropagationPolicy(propagation(t, obj)))
	if client.IgnoreNotFound(err) != nil {
		return uid, fmt.Errorf("deleting %s %s/%s: %w", obj.GetKind(), obj.GetNamespace(), obj.GetName(), err)
	}
	return uid, nil
}

// taken says whether a workload of one name in every revision has been made another revision's since: the object and
// its pods say so.
func taken(live, obj *unstructured.Unstructured) bool {
	return manifest.IsWorkload(obj) && live.GetLabels()[v1alpha1.LabelRevision] != obj.GetLabels()[v1alpha1.LabelRevision] &&
		manifest.RevisionOf(live) != manifest.RevisionOf(obj)
}

// answer records the outcome on a command, once.
func (a Applier) answer(ctx context.Context, t *Target, action plan.Action) error {
	var command v1alpha1.RolloutCommand
	key := client.ObjectKey{Namespace: t.Rollout.Namespace, Name: action.Command}
	switch err := a.Live.Get(ctx, key, &command); {
	case apierrors.IsNotFound(err):
		return nil
	case err != nil:
		return fmt.Errorf("reading RolloutCommand %s: %w", key, err)
	}
	if command.Status.Outcome != "" {
		return nil
	}
	command.Status.ObservedGeneration = command.Generation
	command.Status.Outcome = action.Outcome
	command.Status.Message = action.Message
	if err := a.Writer.Status().Update(ctx, &command, client.FieldOwner(v1alpha1.FieldManager)); err != nil {
		return fmt.Errorf("answering RolloutCommand %s: %w", key, err)
	}
	return nil
}

// apply writes one object, unless it is there as wanted. An object of the same name that
// does not belong to the Release is left alone: taking it over would destroy what somebody
// else made.
func (a Applier) apply(ctx context.Context, t *Target, want *unstructured.Unstructured) error {
	_, err := a.put(ctx, t, want)
	return err
}

// put is apply, and says whether the object was made.
func (a Applier) put(ctx context.Context, t *Target, want *unstructured.Unstructured) (made bool, err error) {
	fail := func(err error) error {
		return fmt.Errorf("applying %s %s/%s for Rollout %s: %w",
			want.GetKind(), want.GetNamespace(), want.GetName(), t.Rollout.Name, err)
	}
	live := &unstructured.Unstructured{}
	live.SetGroupVersionKind(want.GroupVersionKind())
	absent := t.Seen.Missed(want) // then the write is bound to that
	if !absent {
		err = a.known().Get(ctx, client.ObjectKeyFromObject(want), live)
		absent = apierrors.IsNotFound(err)
	}
	if err != nil && !absent {
		return false, fail(err)
	}
	asWanted := !absent && manifest.UpToDate(live, want) && sameNumbers(t, live, want)
	if t.Spared != nil {
		if spared, err := t.Spared(want, !asWanted); spared || err != nil {
			return false, err
		}
	}
	switch {
	case absent:
	case foreign(live, t.Release):
		return false, fail(fmt.Errorf("%w than Release %s", ErrForeign, t.Release.Name))
	case asWanted:
		return false, nil
	}
	if absent {
		live = nil
	}
	t.Seen.Bind(want, live)
	err = a.Writer.Apply(ctx, client.ApplyConfigurationFromUnstructured(want),
		client.FieldOwner(v1alpha1.FieldManager), client.ForceOwnership)
	if err != nil {
		return false, fail(err)
	}
	return absent, nil
}

// foreign says whether live belongs to somebody else than release. An object that was
// orphaned, as by deleting a Release without its dependents, still carries the label.
func foreign(live *unstructured.Unstructured, release *v1alpha1.Release) bool {
	if metav1.GetControllerOf(live) == nil {
		return live.GetLabels()[v1alpha1.LabelRelease] != release.Name
	}
	return !metav1.IsControlledBy(live, release)
}

// sameNumbers compares what the digest leaves out: replicas, and what a route leads to.
func sameNumbers(t *Target, live, want *unstructured.Unstructured) bool {
	key := manifest.RouteKey(t.Sides, t.Rollout)
	switch {
	case manifest.IsWorkload(want):
		return manifest.SameSize(live, want)
	case want.GetName() == key.GetName() && want.GroupVersionKind().GroupKind() == key.GroupVersionKind().GroupKind() && !manifest.Rolling(t.Rollout.Spec):
		return manifest.SameRoute(live, want)
	}
	return !manifest.Narrow(live, want) && manifest.Lifted(live) == manifest.Lifted(want)
}
