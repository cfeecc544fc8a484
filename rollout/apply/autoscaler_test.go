package apply_test

import (
	"testing"

	"k8s.io/apimachinery/pkg/apis/meta/v1/unstructured"
	"sigs.k8s.io/controller-runtime/pkg/client"

	"tidegate.io/tidegate/rollout/manifest"
	"tidegate.io/tidegate/rollout/plan"
)

const scalerKind = "HorizontalPodAutoscaler"

// leaves changes what the autoscaler of the old set leaves it at least, as somebody does.
func (b *bench) leaves(least int64) {
	b.t.Helper()
	live := b.get("autoscaling/v2", scalerKind, "cart-"+oldRevision)
	if err := unstructured.SetNestedField(live.Object, least, "spec", "minReplicas"); err != nil {
		b.t.Fatal(err)
	}
	if err := b.client.Update(b.t.Context(), live, client.FieldOwner("somebody")); err != nil {
		b.t.Fatal(err)
	}
}

// The old set of a Rollout keeps its pods: its autoscaler is told so once, and is told what was rendered when that is over.
func TestAnAutoscalerIsToldOnceHowManyPodsToLeave(t *testing.T) {
	t.Parallel()
	b := newBench(t)
	rendered := object("autoscaling/v2", scalerKind, "cart-"+oldRevision, map[string]any{"spec": map[string]any{
		"scaleTargetRef": map[string]any{"apiVersion": "apps/v1", "kind": "Deployment", "name": "cart-" + oldRevision},
		"minReplicas":    int64(4), "maxReplicas": int64(30),
	}})
	b.target.Sides.Stable.Set = append(b.target.Sides.Stable.Set, rendered)
	ensure := func(replicas, least int32) plan.Action {
		return plan.Action{Kind: plan.ActionEnsureSet, Role: plan.RoleStable, Replicas: replicas, Least: least}
	}
	wants := func(what string, want int32) {
		t.Helper()
		live := b.get("autoscaling/v2", scalerKind, "cart-"+oldRevision)
		if got := manifest.Lifted(live); got != want {
			t.Errorf("%s: lifted to %d, want %d", what, got, want)
		}
		full, err := manifest.Wanted(rendered, b.target.Release)
		if err != nil {
			t.Fatal(err)
		}
		if !manifest.UpToDate(live, full) {
			t.Errorf("%s: it is not as rendered", what)
		}
	}
	b.must(ensure(4, 0))
	b.wantWrites("apply Service", "apply "+scalerKind, "apply Deployment")
	wants("when it is made", 0)
	b.must(ensure(20, 20))
	b.wantWrites("apply "+scalerKind, "apply Deployment")
	wants("when a Rollout begins", 20)
	b.must(ensure(20, 20))
	b.wantWrites()
	b.leaves(5)
	b.must(ensure(20, 20))
	b.wantWrites("apply " + scalerKind)
	wants("when somebody has edited it", 20)
	b.must(ensure(20, 40))
	b.wantWrites("apply " + scalerKind)
	wants("when it has grown beyond what it lets the set have", 30)
	b.must(ensure(20, 0))
	b.wantWrites("apply " + scalerKind)
	wants("when the Rollout has ended", 0)
	b.must(ensure(20, 0))
	b.wantWrites()
}
