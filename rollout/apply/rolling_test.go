package apply_test

import (
	"errors"
	"slices"
	"testing"

	apierrors "k8s.io/apimachinery/pkg/api/errors"
	"k8s.io/apimachinery/pkg/apis/meta/v1/unstructured"

	"tidegate.io/tidegate/rollout/apply"
	"tidegate.io/tidegate/rollout/manifest"
	"tidegate.io/tidegate/rollout/plan"
	"tidegate.io/tidegate/schemas/render"
	"tidegate.io/tidegate/schemas/v1alpha1"
)

func inPlace(kind, revision string) *render.Result {
	labels := map[string]any{"app": "cart"}
	return &render.Result{
		Revision: revision,
		Set: []*unstructured.Unstructured{
			object("apps/v1", kind, "cart", map[string]any{"spec": map[string]any{
				"replicas": int64(5), "selector": map[string]any{"matchLabels": labels}, "serviceName": "cart",
				"template": map[string]any{
					"metadata": map[string]any{"labels": map[string]any{"app": "cart", v1alpha1.LabelRevision: revision}},
					"spec":     map[string]any{"containers": []any{map[string]any{"name": "web", "image": "web:" + revision}}},
				},
			}}),
			object("v1", "ConfigMap", "cart-"+revision, map[string]any{"data": map[string]any{"revision": revision}}),
		},
	}
}

func newRollingBench(t *testing.T) *bench {
	t.Helper()
	b := newBench(t)
	b.target.Rollout.Spec.Strategy.Type = v1alpha1.StrategyRolling
	b.target.Sides = manifest.Sides{Stable: inPlace("StatefulSet", oldRevision), Canary: inPlace("StatefulSet", newRevision)}
	return b
}

var (
	putBack    = plan.Action{Kind: plan.ActionEnsureSet, Role: plan.RoleStable, Replicas: 5}
	tellShare  = plan.Action{Kind: plan.ActionEnsureSet, Role: plan.RoleCanary, Replicas: 5, Held: 4}
	tellAll    = plan.Action{Kind: plan.ActionEnsureSet, Role: plan.RoleCanary, Replicas: 5}
	sweepOld   = plan.Action{Kind: plan.ActionRetire, Role: plan.RoleStable}
	sweepNew   = plan.Action{Kind: plan.ActionRetire, Role: plan.RoleCanary}
	partitions = []string{"spec", "updateStrategy", "rollingUpdate", "partition"}
)

func TestAWorkloadInPlaceIsToldItsShare(t *testing.T) {
	t.Parallel()
	b := newRollingBench(t)
	b.must(putBack, tellShare)
	live := b.get("apps/v1", "StatefulSet", "cart")
	if held, _, _ := unstructured.NestedInt64(live.Object, partitions...); held != 4 || manifest.RevisionOf(live) != newRevision {
		t.Errorf("the partition is %d, the revision %s", held, manifest.RevisionOf(live))
	}
	if want := []string{"apply ConfigMap", "apply StatefulSet", "apply ConfigMap", "apply StatefulSet"}; !slices.Equal(b.writes, want) {
		t.Errorf("wrote %v, want %v: pods must find their configuration", b.writes, want)
	}
	b.writes = nil
	b.must(tellShare)
	if len(b.writes) > 0 {
		t.Errorf("what is there was written again: %v", b.writes)
	}
	b.must(tellAll)
	live = b.get("apps/v1", "StatefulSet", "cart")
	if held, _, _ := unstructured.NestedInt64(live.Object, partitions...); held != 0 {
		t.Errorf("the partition is %d, want 0", held)
	}
}

func TestAManagerThatWasHeldUpDoesNotBringARevisionBack(t *testing.T) {
	t.Parallel()
	b := newRollingBench(t)
	b.must(putBack)
	b.target.Workload = b.get("apps/v1", "StatefulSet", "cart")
	slow := *b.target
	b.must(tellShare)
	b.target.Workload = nil
	b.must(putBack) // another manager has aborted
	b.target = &slow
	if err := b.do(tellAll); !apierrors.IsConflict(err) {
		t.Errorf("got %v, want a conflict", err)
	}
	if got := manifest.RevisionOf(b.get("apps/v1", "StatefulSet", "cart")); got != oldRevision {
		t.Errorf("the workload is of %s", got)
	}
	// Putting the old revision back rests on nothing.
	if err := b.do(putBack); err != nil {
		t.Error(err)
	}
}

func TestSweepingLeavesWhatPodsNeed(t *testing.T) {
	t.Parallel()
	b := newRollingBench(t)
	b.must(putBack)
	if err := b.do(sweepOld); !errors.Is(err, apply.ErrServing) {
		t.Errorf("sweeping the revision that serves: %v", err)
	}
	b.must(tellShare)
	for _, action := range []plan.Action{sweepOld, sweepNew} {
		if err := b.do(action); !errors.Is(err, apply.ErrServing) {
			t.Errorf("sweeping the %s revision while pods of both run: %v", action.Role, err)
		}
	}
	b.must(tellAll)
	b.writes = nil
	b.must(sweepOld, sweepOld)
	if want := []string{"delete ConfigMap"}; !slices.Equal(b.writes, want) {
		t.Errorf("wrote %v, want %v", b.writes, want)
	}
	if got := manifest.RevisionOf(b.get("apps/v1", "StatefulSet", "cart")); got != newRevision {
		t.Errorf("the workload is of %q", got)
	}
	b.target.Rollout.Spec.Stable = nil
	b.writes = nil
	b.must(sweepNew)
	if want := []string{"delete StatefulSet", "delete ConfigMap"}; !slices.Equal(b.writes, want) {
		t.Errorf("a first install is taken away by %v, want %v", b.writes, want)
	}
}
