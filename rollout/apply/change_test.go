package apply_test

import (
	"context"
	"errors"
	"maps"
	"testing"

	metav1 "k8s.io/apimachinery/pkg/apis/meta/v1"
	"k8s.io/apimachinery/pkg/apis/meta/v1/unstructured"
	"sigs.k8s.io/controller-runtime/pkg/client"
	"sigs.k8s.io/controller-runtime/pkg/client/interceptor"

	"tidegate.io/tidegate/rollout/apply"
	"tidegate.io/tidegate/rollout/manifest"
	"tidegate.io/tidegate/rollout/plan"
	"tidegate.io/tidegate/schemas/render"
	"tidegate.io/tidegate/schemas/v1alpha1"
)

// behind is a plain Service of the Release's name, with what else it selects by.
func behind(revision string) *unstructured.Unstructured {
	selector := map[string]any{v1alpha1.LabelRelease: "cart"}
	if revision != "" {
		selector[v1alpha1.LabelRevision] = revision
	}
	return object("v1", "Service", "cart", map[string]any{"spec": map[string]any{"selector": selector, "ports": []any{map[string]any{"port": int64(80)}}}})
}

// place is a Deployment that is changed in place, behind a Service.
func place(revision string) *render.Result {
	out := inPlace("Deployment", revision)
	unstructured.RemoveNestedField(out.Set[0].Object, "spec", "serviceName")
	out.Shared = []*unstructured.Unstructured{behind("")}
	return out
}

// newChangeBench goes from a workload in place to sets.
func newChangeBench(t *testing.T) *bench {
	t.Helper()
	b := newBench(t)
	spec := &b.target.Rollout.Spec
	spec.Strategy.Type, spec.Router, spec.Stable.Strategy = v1alpha1.StrategyBlueGreen, v1alpha1.RouterService, v1alpha1.StrategyRolling
	sets := side(newRevision)
	sets.Route, sets.Router = behind(newRevision), v1alpha1.RouterService
	b.target.Sides = manifest.Apart(manifest.Sides{Stable: place(oldRevision), Canary: sets}, *spec)
	return b
}

func (b *bench) selects(want string) {
	b.t.Helper()
	if got, _ := manifest.Selected(b.get("v1", "Service", "cart")); got != want {
		b.t.Errorf("the Service selects %q, want %q", got, want)
	}
}

func TestAServiceSelectsEveryPodAgainBeforeTheNextRolloutInPlace(t *testing.T) {
	t.Parallel()
	b := newChangeBench(t)
	b.must(plan.Action{Kind: plan.ActionSetWeight})
	b.selects(oldRevision)
	b.target.Rollout.Spec.Strategy.Type, b.target.Rollout.Spec.Stable.Strategy = v1alpha1.StrategyRolling, ""
	b.target.Sides = manifest.Sides{Stable: place(oldRevision), Canary: place(newRevision)}
	b.must(plan.Action{Kind: plan.ActionApplyShared})
	b.selects("")
	b.writes = nil
	b.must(plan.Action{Kind: plan.ActionApplyShared})
	b.wantWrites()
}

func TestAWorkloadIsThereUntilItsPodsAreGoneWhileAReleaseChanges(t *testing.T) {
	t.Parallel()
	for name, c := range map[string]struct {
		bench func(*testing.T) *bench
		want  map[string]metav1.DeletionPropagation
	}{
		"from a workload in place to sets": {newChangeBench, map[string]metav1.DeletionPropagation{
			"Deployment": metav1.DeletePropagationForeground, "ConfigMap": metav1.DeletePropagationBackground,
		}},
		"between sets": {func(t *testing.T) *bench { return newBench(t) }, map[string]metav1.DeletionPropagation{
			"Deployment": metav1.DeletePropagationBackground, "Service": metav1.DeletePropagationBackground,
		}},
	} {
		t.Run(name, func(t *testing.T) {
			t.Parallel()
			b := c.bench(t)
			b.must(plan.Action{Kind: plan.ActionEnsureSet, Role: plan.RoleStable, Replicas: 3})
			got := map[string]metav1.DeletionPropagation{}
			inner, ok := b.client.(client.WithWatch)
			if !ok {
				t.Fatal("the client does not watch")
			}
			b.client = interceptor.NewClient(inner, interceptor.Funcs{
				Delete: func(ctx context.Context, c client.WithWatch, obj client.Object, opts ...client.DeleteOption) error {
					o := (&client.DeleteOptions{}).ApplyOptions(opts)
					got[obj.GetObjectKind().GroupVersionKind().Kind] = *o.PropagationPolicy
					return c.Delete(ctx, obj, opts...)
				},
			})
			b.target.Phase = v1alpha1.RolloutPromoting
			b.must(plan.Action{Kind: plan.ActionSetWeight, Exposure: plan.Exposure{Weight: 100}}, plan.Action{Kind: plan.ActionRetire, Role: plan.RoleStable})
			if !maps.Equal(got, c.want) {
				t.Errorf("deleted %v, want %v", got, c.want)
			}
		})
	}
}

func TestASetThatTheServiceSelectsIsNotRetired(t *testing.T) {
	t.Parallel()
	b := newChangeBench(t)
	b.must(plan.Action{Kind: plan.ActionEnsureSet, Role: plan.RoleStable, Replicas: 3}, plan.Action{Kind: plan.ActionSetWeight})
	if err := b.do(plan.Action{Kind: plan.ActionRetire, Role: plan.RoleStable}); !errors.Is(err, apply.ErrCarriesTraffic) {
		t.Errorf("got %v, want %v", err, apply.ErrCarriesTraffic)
	}
}

// The workload in place has one name in every revision.
func TestAWorkloadThatIsAnotherRevisionsByNowIsNotRetired(t *testing.T) {
	t.Parallel()
	b := newChangeBench(t)
	b.target.Sides.Stable.Set[0].SetLabels(map[string]string{v1alpha1.LabelRevision: oldRevision})
	b.must(plan.Action{Kind: plan.ActionEnsureSet, Role: plan.RoleStable, Replicas: 3}, plan.Action{Kind: plan.ActionSetWeight, Exposure: plan.Exposure{Weight: 100}})
	other := place("cccccccccc").Set[0]
	other.SetLabels(map[string]string{v1alpha1.LabelRevision: "cccccccccc"})
	want, err := manifest.Wanted(other, b.target.Release)
	if err != nil {
		t.Fatal(err)
	}
	if err := b.client.Apply(t.Context(), client.ApplyConfigurationFromUnstructured(want), client.FieldOwner(v1alpha1.FieldManager), client.ForceOwnership); err != nil {
		t.Fatal(err)
	}
	b.must(plan.Action{Kind: plan.ActionRetire, Role: plan.RoleStable})
	if live := b.get("apps/v1", "Deployment", "cart"); live == nil || manifest.RevisionOf(live) != "cccccccccc" {
		t.Errorf("the workload is %v", live)
	}
}
