package controller

import (
	"cmp"
	"context"
	"fmt"
	"slices"
	"time"

	"k8s.io/apimachinery/pkg/api/meta"
	"k8s.io/apimachinery/pkg/apis/meta/v1/unstructured"
	"sigs.k8s.io/controller-runtime/pkg/client"
	"sigs.k8s.io/controller-runtime/pkg/reconcile"

	"tidegate.io/tidegate/rollout/plan"
	"tidegate.io/tidegate/schemas/exempt"
	"tidegate.io/tidegate/schemas/v1alpha1"
)

const (
	// maxBreakGlasses is how many exemptions the status of a Release lists.
	maxBreakGlasses = 10
	// sparedDelay is when to look again at what is left alone for now. That an exemption ends
	// is told by a watch; this is for a watch that is late.
	sparedDelay = 15 * time.Second
)

// sparing are the objects of a Rollout that are left as people made them: those used under
// an exemption that has not ended, or that has and whose Gate says Keep, until the next
// Rollout.
type sparing struct {
	objects []v1alpha1.ObjectName
	// spared is true when one was left alone, and until is when that ends at the earliest;
	// zero where time alone does not end it.
	spared bool
	until  time.Time
	// read reads them, where that has not been done.
	read func() (*sparing, error)
}

// sparing reads the exemptions from the API server where the cache has any, or when it is asked
// about an object that is not as it is wanted: a use is recorded before it is let through, so
// whoever sees what it changed sees it there, which a cache could not promise. What is as it
// is wanted is not written.
func (l *rolloutLoop) sparing(ctx context.Context, rollout *v1alpha1.Rollout, status v1alpha1.RolloutStatus, actions []plan.Action, now time.Time) (*sparing, error) {
	writes := slices.ContainsFunc(actions, func(a plan.Action) bool {
		return a.Kind == plan.ActionApplyShared || a.Kind == plan.ActionEnsureSet || a.Kind == plan.ActionSetWeight
	})
	// I3: an abort wins, over an exemption too.
	if !writes || status.Phase == v1alpha1.RolloutAborting {
		return &sparing{}, nil
	}
	var known v1alpha1.BreakGlassList
	if err := l.client.List(ctx, &known, client.InNamespace(rollout.Namespace), client.UnsafeDisableDeepCopy); err != nil {
		return nil, fmt.Errorf("listing BreakGlasses of namespace %s: %w", rollout.Namespace, err)
	}
	if len(known.Items) > 0 {
		return exempted(ctx, l.live.Live, rollout, now)
	}
	return &sparing{read: func() (*sparing, error) { return exempted(ctx, l.live.Live, rollout, now) }}, nil
}

// exempted reads what people may have made by themselves since the Rollout began, which is to be
// left alone now.
func exempted(ctx context.Context, live client.Reader, rollout *v1alpha1.Rollout, now time.Time) (*sparing, error) {
	s := &sparing{}
	var list v1alpha1.BreakGlassList
	if err := live.List(ctx, &list, client.InNamespace(rollout.Namespace)); err != nil {
		return nil, fmt.Errorf("listing BreakGlasses of namespace %s: %w", rollout.Namespace, err)
	}
	for i := range list.Items {
		b := &list.Items[i]
		if b.Status.UseCount == 0 || !exempt.Stands(b, rollout.CreationTimestamp.Time, now) {
			continue
		}
		if end := exempt.Ends(b); now.Before(end) && (s.until.IsZero() || end.Before(s.until)) {
			s.until = end
		}
		s.objects = append(s.objects, exempt.Written(b)...)
	}
	return s, nil
}

// spare says whether an object is left alone.
func (s *sparing) spare(o *unstructured.Unstructured) bool {
	gvr, _ := meta.UnsafeGuessKindToResource(o.GroupVersionKind())
	if !slices.Contains(s.objects, v1alpha1.ObjectName{Group: gvr.Group, Resource: gvr.Resource, Name: o.GetName()}) {
		return false
	}
	s.spared = true
	return true
}

// left says whether an object that is about to be written is left alone. Touched says that it is
// not there as it was applied.
func (s *sparing) left(o *unstructured.Unstructured, touched bool) (bool, error) {
	if touched && s.read != nil {
		found, err := s.read()
		if err != nil {
			return false, err
		}
		s.objects, s.until, s.read = found.objects, found.until, nil
	}
	return s.spare(o), nil
}

// delay is after how long to look again at what was left alone.
func (s *sparing) delay(now time.Time) time.Duration {
	if s.until.IsZero() {
		return sparedDelay
	}
	return max(min(sparedDelay, s.until.Sub(now)), time.Millisecond)
}

// ofBreakGlass finds the Rollouts whose objects were used under an exemption.
func (l *rolloutLoop) ofBreakGlass(ctx context.Context, obj client.Object) []reconcile.Request {
	var out []reconcile.Request
	for _, name := range releasesUsed(obj) {
		var release v1alpha1.Release
		if err := l.client.Get(ctx, client.ObjectKey{Namespace: obj.GetNamespace(), Name: name}, &release); err != nil {
			continue // It is gone, and what it made with it.
		}
		out = append(out, l.awake(ctx, release.Namespace, release.Name, release.UID)...)
	}
	return out
}

// releasesOfBreakGlass finds the Releases to whose status the uses of an exemption belong.
func releasesOfBreakGlass(_ context.Context, obj client.Object) []reconcile.Request {
	var out []reconcile.Request
	for _, name := range releasesUsed(obj) {
		out = append(out, reconcile.Request{NamespacedName: client.ObjectKey{Namespace: obj.GetNamespace(), Name: name}})
	}
	return out
}

func releasesUsed(obj client.Object) []string {
	b, ok := obj.(*v1alpha1.BreakGlass)
	if !ok {
		return nil
	}
	var out []string
	for _, u := range b.Status.Uses {
		if u.Release != "" && !slices.Contains(out, u.Release) {
			out = append(out, u.Release)
		}
	}
	return out
}

// usesOf lists the exemptions under which a Release was touched, the newest use first. Those
// that the status has and that are gone by now are kept.
func usesOf(release *v1alpha1.Release, all []v1alpha1.BreakGlass) []v1alpha1.ReleaseBreakGlass {
	var out []v1alpha1.ReleaseBreakGlass
	for i := range all {
		b := &all[i]
		line := v1alpha1.ReleaseBreakGlass{Name: b.Name, Actor: b.Spec.Actor, Reason: b.Spec.Reason, Phase: b.Status.Phase}
		for _, u := range b.Status.Uses {
			if u.Release == release.Name {
				line.Uses, line.Last = line.Uses+1, u
			}
		}
		if line.Uses > 0 {
			out = append(out, line)
		}
	}
	for _, old := range release.Status.BreakGlass {
		if !slices.ContainsFunc(out, func(b v1alpha1.ReleaseBreakGlass) bool { return b.Name == old.Name }) {
			out = append(out, old)
		}
	}
	slices.SortFunc(out, func(a, b v1alpha1.ReleaseBreakGlass) int {
		return cmp.Or(b.Last.Time.Compare(a.Last.Time.Time), cmp.Compare(a.Name, b.Name))
	})
	return out[:min(len(out), maxBreakGlasses)]
}

// breakGlasses reads the exemptions of the Release's namespace, as far as they concern it.
func (l *releaseLoop) breakGlasses(ctx context.Context, release *v1alpha1.Release) ([]v1alpha1.ReleaseBreakGlass, error) {
	var list v1alpha1.BreakGlassList
	if err := l.client.List(ctx, &list, client.InNamespace(release.Namespace)); err != nil {
		return nil, fmt.Errorf("listing BreakGlasses of namespace %s: %w", release.Namespace, err)
	}
	return usesOf(release, list.Items), nil
}
