package apply_test

import (
	"testing"

	apierrors "k8s.io/apimachinery/pkg/api/errors"
	metav1 "k8s.io/apimachinery/pkg/apis/meta/v1"
	"k8s.io/apimachinery/pkg/types"
	"sigs.k8s.io/controller-runtime/pkg/client"

	"tidegate.io/tidegate/rollout/manifest"
	"tidegate.io/tidegate/rollout/observe"
	"tidegate.io/tidegate/rollout/plan"
	"tidegate.io/tidegate/schemas/v1alpha1"
)

// sibling is another Rollout of the Release.
func (b *bench) sibling(name, revision, stable string, phase v1alpha1.RolloutPhase) {
	b.t.Helper()
	r := &v1alpha1.Rollout{
		ObjectMeta: metav1.ObjectMeta{Name: name, Namespace: "shop", UID: types.UID(name), OwnerReferences: []metav1.OwnerReference{manifest.Owner(b.target.Release)}},
		Spec:       v1alpha1.RolloutSpec{Release: "cart", Number: int64(name[len(name)-1] - '0'), Revision: revision},
		Status:     v1alpha1.RolloutStatus{Phase: phase},
	}
	if stable != "" {
		r.Spec.Stable = &v1alpha1.StableReference{Revision: stable}
	}
	if err := b.client.Create(b.t.Context(), r); err != nil {
		b.t.Fatal(err)
	}
}

// see is what a manager sees of the sets.
func (b *bench) see() observe.Versions {
	b.t.Helper()
	w, err := observe.Reader{Live: b.client}.Observe(b.t.Context(), observe.Subject{
		Release: b.target.Release, Rollout: b.target.Rollout, Siblings: []v1alpha1.Rollout{*b.target.Rollout}, Sides: b.target.Sides,
	})
	if err != nil {
		b.t.Fatal(err)
	}
	return w.Seen
}

// A manager that was held up before it made a set makes it, whatever has become of the Rollout since.
func TestASetThatIsNotWantedAnyMoreIsTakenBack(t *testing.T) {
	t.Parallel()
	for name, c := range map[string]struct {
		// phase is that of the Rollout by now; empty where it is gone.
		phase    v1alpha1.RolloutPhase
		retiring bool
		others   func(*bench)
		action   plan.Action
		conflict bool
		stays    bool
	}{
		"the new set of a Rollout under way stays":                 {phase: v1alpha1.RolloutProgressing, action: ensureCanary, stays: true},
		"the old set of a Rollout that is being aborted stays":     {phase: v1alpha1.RolloutAborting, action: ensureStable, stays: true},
		"the new set of one that was aborted is deleted":           {phase: v1alpha1.RolloutAborted, action: ensureCanary, conflict: true},
		"the new set of one that is gone is deleted":               {action: ensureCanary, conflict: true},
		"the old set of one that has succeeded is deleted":         {phase: v1alpha1.RolloutSucceeded, action: ensureStable, conflict: true},
		"while it is being aborted, the abort deletes it":          {phase: v1alpha1.RolloutAborting, action: ensureCanary, conflict: true, stays: true},
		"while the old set is being retired, that deletes it":      {phase: v1alpha1.RolloutPromoting, retiring: true, action: ensureStable, conflict: true, stays: true},
		"what a newer Rollout brings into service is left to it":   {phase: v1alpha1.RolloutAborted, others: func(b *bench) { b.sibling("cart-3", newRevision, oldRevision, v1alpha1.RolloutProgressing) }, action: ensureCanary, conflict: true, stays: true},
		"what a newer Rollout may return to is left to it":         {phase: v1alpha1.RolloutSucceeded, others: func(b *bench) { b.sibling("cart-3", "cccccccccc", oldRevision, v1alpha1.RolloutProgressing) }, action: ensureStable, conflict: true, stays: true},
		"what has come into service since is left alone":           {phase: v1alpha1.RolloutAborted, others: func(b *bench) { b.sibling("cart-3", newRevision, oldRevision, v1alpha1.RolloutSucceeded) }, action: ensureCanary, conflict: true, stays: true},
		"what the route leads to is left alone":                    {phase: v1alpha1.RolloutAborted, others: func(b *bench) { b.must(weight(25)) }, action: ensureCanary, conflict: true, stays: true},
		"what another Release's Rollout is called does not matter": {phase: v1alpha1.RolloutAborted, others: func(b *bench) { b.sibling("cart-3", "cccccccccc", "", v1alpha1.RolloutProgressing) }, action: ensureCanary, conflict: true},
	} {
		t.Run(name, func(t *testing.T) {
			t.Parallel()
			b := newBench(t)
			now := b.target.Rollout.DeepCopy()
			if err := b.client.Get(t.Context(), client.ObjectKeyFromObject(now), now); err != nil {
				t.Fatal(err)
			}
			now.Status.Phase, now.Status.Retiring = c.phase, c.retiring
			if c.phase == "" {
				if err := b.client.Delete(t.Context(), now); err != nil {
					t.Fatal(err)
				}
			} else if err := b.client.Update(t.Context(), now); err != nil {
				t.Fatal(err)
			}
			if c.others != nil {
				c.others(b)
			}
			err := b.do(c.action)
			if apierrors.IsConflict(err) != c.conflict || err != nil && !c.conflict {
				t.Errorf("got %v, want a conflict: %t", err, c.conflict)
			}
			revision := newRevision
			if c.action.Role == plan.RoleStable {
				revision = oldRevision
			}
			// A set whose Rollout has moved on is not even begun: its pods do not start.
			if is := b.get("v1", "Service", "cart-"+revision) != nil; is != c.stays {
				t.Errorf("the Service is there: %t, want %t", is, c.stays)
			}
			if is := b.get("apps/v1", "Deployment", "cart-"+revision) != nil; is && c.conflict {
				t.Error("pods were started for a Rollout that has moved on")
			}
		})
	}
}

// Everything of a set rests on what was seen of it.
func TestASetRestsOnWhatWasSeen(t *testing.T) {
	t.Parallel()
	for name, c := range map[string]struct {
		// before is done before this manager looks, since after it.
		before, since func(*bench)
		want          int64
	}{
		"a size that another has raised is not lowered": {
			func(b *bench) { b.must(ensureCanary) }, func(b *bench) { b.must(plan.Action{Kind: plan.ActionEnsureSet, Role: plan.RoleCanary, Replicas: 8}) }, 8,
		},
		"a set that another has made and raised is not made again": {
			nil, func(b *bench) {
				b.must(ensureCanary, plan.Action{Kind: plan.ActionEnsureSet, Role: plan.RoleCanary, Replicas: 8})
			}, 8,
		},
	} {
		t.Run(name, func(t *testing.T) {
			t.Parallel()
			b := newBench(t)
			if c.before != nil {
				c.before(b)
			}
			held := *b.target
			held.Seen = b.see()
			c.since(b)
			b.target = &held
			err := b.do(plan.Action{Kind: plan.ActionEnsureSet, Role: plan.RoleCanary, Replicas: 2})
			if !apierrors.IsConflict(err) {
				t.Errorf("got %v, want a conflict", err)
			}
			size := int64(0)
			if d := b.get("apps/v1", "Deployment", "cart-"+newRevision); d != nil {
				size, _ = d.Object["spec"].(map[string]any)["replicas"].(int64)
			}
			if size != c.want {
				t.Errorf("the set has %d pods, want %d", size, c.want)
			}
		})
	}
}
