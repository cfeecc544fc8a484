package controller

import (
	"cmp"
	"context"
	"fmt"
	"maps"
	"slices"
	"strings"
	"time"

	corev1 "k8s.io/api/core/v1"
	apierrors "k8s.io/apimachinery/pkg/api/errors"
	"k8s.io/apimachinery/pkg/api/meta"
	metav1 "k8s.io/apimachinery/pkg/apis/meta/v1"
	"k8s.io/apimachinery/pkg/apis/meta/v1/unstructured"
	"sigs.k8s.io/controller-runtime/pkg/client"
	"sigs.k8s.io/controller-runtime/pkg/log"

	"tidegate.io/tidegate/rollout/observe"
	"tidegate.io/tidegate/schemas/render"
	"tidegate.io/tidegate/schemas/v1alpha1"
)

// conditionCleared is True on a Rollout once everything is deleted that it and those before it
// have made and what served then did not have. It is there where something was to be deleted.
const conditionCleared = "Cleared"

// maxObjects is how many objects a Rollout lists. One with more lists none, and nothing is
// deleted for it.
const maxObjects = 200

// objectsOf lists what a revision renders to, sorted.
func objectsOf(r *render.Result) []v1alpha1.RenderedObject {
	var out []v1alpha1.RenderedObject
	for _, list := range [][]*unstructured.Unstructured{r.Set, {r.Route}, r.Shared} {
		for _, obj := range list {
			if obj != nil {
				out = append(out, v1alpha1.RenderedObject{APIVersion: obj.GetAPIVersion(), Kind: obj.GetKind(), Name: obj.GetName()})
			}
		}
	}
	slices.SortFunc(out, byIdentity)
	out = slices.Compact(out)
	if len(out) > maxObjects {
		return nil
	}
	return out
}

func byIdentity(a, b v1alpha1.RenderedObject) int {
	return cmp.Or(cmp.Compare(a.APIVersion, b.APIVersion), cmp.Compare(a.Kind, b.Kind), cmp.Compare(a.Name, b.Name))
}

// leftover is an object that a Rollout has made and that what serves does not have.
type leftover struct {
	v1alpha1.RenderedObject
	// rollout is the last that has it.
	rollout string
}

// identity is an object without the version of its group: in another version it is the same.
type identity struct{ group, kind, name string }

func identityOf(o v1alpha1.RenderedObject) identity {
	group, _, found := strings.Cut(o.APIVersion, "/")
	if !found {
		group = ""
	}
	return identity{group, o.Kind, o.Name}
}

// leftovers returns what may be left of former Rollouts of a Release beside their sets, which
// are retired as such: shared objects that the template does not render any more, or that an
// aborted Rollout brought. What a Rollout that has not ended renders to is not among them.
func leftovers(rollouts []v1alpha1.Rollout) []leftover {
	made := map[identity]leftover{}
	add := func(r *v1alpha1.Rollout) {
		for _, o := range r.Spec.Objects {
			if !strings.HasSuffix(o.Name, "-"+r.Spec.Revision) {
				made[identityOf(o)] = leftover{o, r.Name}
			}
		}
	}
	var serves *v1alpha1.Rollout
	for i := range rollouts {
		r := &rollouts[i]
		if r.Status.Phase == v1alpha1.RolloutSucceeded {
			serves = r
		}
		add(r)
		if serves != nil && isCleared(r) {
			clear(made)
			add(serves)
		}
	}
	if serves == nil || serves.Spec.Objects == nil {
		return nil
	}
	for i := range rollouts {
		if r := &rollouts[i]; r == serves || !r.Status.Phase.Terminal() {
			for _, o := range r.Spec.Objects {
				delete(made, identityOf(o))
			}
		}
	}
	return slices.SortedFunc(maps.Values(made), func(a, b leftover) int { return byIdentity(a.RenderedObject, b.RenderedObject) })
}

func isCleared(r *v1alpha1.Rollout) bool {
	return meta.IsStatusConditionTrue(r.Status.Conditions, conditionCleared)
}

// unlisted returns the places of the Rollouts that do not say what they render to, being older
// than that field, and after which nothing was cleared yet.
func unlisted(rollouts []v1alpha1.Rollout) []int {
	if serves := newestSucceeded(rollouts); serves == nil || serves.Spec.Objects == nil {
		return nil
	}
	var out []int
	for i := range rollouts {
		switch {
		case isCleared(&rollouts[i]):
			out = nil
		case rollouts[i].Spec.Objects == nil:
			out = append(out, i)
		}
	}
	return out
}

// list finds out what Rollouts render to that do not say it. Of one that does not render any
// more nothing is known, and nothing is deleted for it.
func (l *releaseLoop) list(ctx context.Context, rollouts []v1alpha1.Rollout) error {
	for _, i := range unlisted(rollouts) {
		result, err := renderPinned(ctx, l.renderer, l.client, &rollouts[i])
		switch cause, _ := causeOf(err); {
		case cause != nil:
			log.FromContext(ctx).Info("Cannot tell what an old Rollout has made", "rollout", rollouts[i].Name, "why", cause.Message)
		case err != nil:
			return err
		default:
			rollouts[i].Spec.Objects = objectsOf(result)
		}
	}
	return nil
}

// clearLeft deletes what is left of former Rollouts once the newest has ended. It returns when
// to look again; 0 is never.
func (l *releaseLoop) clearLeft(ctx context.Context, release *v1alpha1.Release, rollouts []v1alpha1.Rollout) (time.Duration, error) {
	if !settledHistory(rollouts) || len(leftovers(rollouts))+len(unlisted(rollouts)) == 0 {
		return 0, nil
	}
	live, err := observe.Rollouts(ctx, l.live, release.Namespace, release.Name)
	if err != nil {
		return 0, err
	}
	live = observe.Controlled(live, release.UID)
	if !settledHistory(live) {
		return 0, nil
	}
	newest := live[len(live)-1].DeepCopy()
	if err := l.list(ctx, live); err != nil {
		return 0, err
	}
	spared, err := exempted(ctx, l.live, newest, l.clock.Now())
	if err != nil {
		return 0, err
	}
	for _, left := range leftovers(live) {
		if err := l.remove(ctx, release, newest, left, spared); err != nil {
			return 0, err
		}
	}
	if spared.spared {
		return spared.delay(l.clock.Now()), nil
	}
	return 0, l.cleared(ctx, newest)
}

// settledHistory says whether no Rollout is under way and one serves.
func settledHistory(rollouts []v1alpha1.Rollout) bool {
	return newestSucceeded(rollouts) != nil &&
		!slices.ContainsFunc(rollouts, func(r v1alpha1.Rollout) bool { return !r.Status.Phase.Terminal() })
}

// remove deletes one object that is left. What belongs to somebody else stays, whatever it is
// called.
func (l *releaseLoop) remove(ctx context.Context, release *v1alpha1.Release, newest *v1alpha1.Rollout, left leftover, spared *sparing) error {
	live := &unstructured.Unstructured{}
	live.SetAPIVersion(left.APIVersion)
	live.SetKind(left.Kind)
	key := client.ObjectKey{Namespace: release.Namespace, Name: left.Name}
	switch err := l.live.Get(ctx, key, live); {
	case apierrors.IsNotFound(err), meta.IsNoMatchError(err):
		return nil
	case err != nil:
		return fmt.Errorf("reading %s %s: %w", left.Kind, key, err)
	case !metav1.IsControlledBy(live, release), live.GetDeletionTimestamp() != nil:
		return nil
	case spared.spare(live):
		return nil
	}
	uid := live.GetUID()
	err := l.client.Delete(ctx, live, client.Preconditions{UID: &uid}, client.PropagationPolicy(metav1.DeletePropagationBackground))
	if client.IgnoreNotFound(err) != nil {
		return fmt.Errorf("deleting %s %s: %w", left.Kind, key, err)
	}
	log.FromContext(ctx).Info("Deleted what is not rendered any more", "kind", left.Kind, "name", left.Name)
	l.recorder.Eventf(release, nil, corev1.EventTypeNormal, conditionReason(ReasonCleared), "Delete",
		"%s %s, which Rollout %s has made, is deleted: what serves after Rollout %s does not have it", left.Kind, left.Name, left.rollout, newest.Name)
	return nil
}

// cleared records that nothing is left, so that it need not be looked for again.
func (l *releaseLoop) cleared(ctx context.Context, newest *v1alpha1.Rollout) error {
	updated := newest.DeepCopy()
	c := conditions{&updated.Status.Conditions, newest.Generation, l.clock.Now()}
	c.set(conditionCleared, metav1.ConditionTrue, conditionReason(ReasonCleared), "what earlier Rollouts have made and what serves does not have is deleted")
	if err := l.client.Status().Update(ctx, updated, client.FieldOwner(v1alpha1.FieldManager)); err != nil {
		return fmt.Errorf("writing the conditions of Rollout %s/%s: %w", newest.Namespace, newest.Name, err)
	}
	return nil
}
