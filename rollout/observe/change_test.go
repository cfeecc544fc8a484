package observe_test

import (
	"testing"

	"k8s.io/apimachinery/pkg/apis/meta/v1/unstructured"

	"tidegate.io/tidegate/rollout/manifest"
	"tidegate.io/tidegate/rollout/plan"
	"tidegate.io/tidegate/schemas/render"
	"tidegate.io/tidegate/schemas/v1alpha1"
)

// behind is a plain Service of the Release's name; revision may be empty.
func behind(revision string) *unstructured.Unstructured {
	selector := map[string]any{v1alpha1.LabelRelease: "cart"}
	if revision != "" {
		selector[v1alpha1.LabelRevision] = revision
	}
	return &unstructured.Unstructured{Object: map[string]any{
		"apiVersion": "v1", "kind": "Service", "spec": map[string]any{"selector": selector},
		"metadata": map[string]any{"name": "cart", "namespace": "shop", "labels": map[string]any{v1alpha1.LabelRelease: "cart"}},
	}}
}

func place(revision string) *render.Result {
	out := inPlace("Deployment", revision)
	out.Shared = []*unstructured.Unstructured{behind("")}
	return out
}

// newChangeScene has a workload in place that is to become a set.
func newChangeScene(t *testing.T) *scene {
	t.Helper()
	s := newScene(t)
	spec := &s.subject.Rollout.Spec
	spec.Strategy.Type, spec.Router, spec.Stable.Strategy = v1alpha1.StrategyBlueGreen, v1alpha1.RouterService, v1alpha1.StrategyRolling
	sets := side(newRevision)
	sets.Route, sets.Router = behind(newRevision), v1alpha1.RouterService
	raw := place(oldRevision)
	for _, obj := range append(raw.Set, raw.Shared...) {
		s.put(obj)
	}
	s.subject.Sides = manifest.Apart(manifest.Sides{Stable: raw, Canary: sets}, *spec)
	return s
}

func TestObserveAWorkloadInPlaceThatBecomesASet(t *testing.T) {
	t.Parallel()
	numbers := func(total, updated, available int64) func(*scene) {
		return func(s *scene) {
			s.numbers("Deployment", map[string]any{"replicas": total, "updatedReplicas": updated, "availableReplicas": available})
		}
	}
	for name, c := range map[string]struct {
		change func(*scene)
		stable plan.Set
	}{
		"all of its pods are of its revision": {
			numbers(5, 5, 5), plan.Set{Knowledge: plan.Present, UpToDate: true, Desired: 5, Available: 5},
		},
		"pods of another revision are left, and may be the available ones": {
			numbers(6, 5, 5), plan.Set{Knowledge: plan.Present, UpToDate: true, Desired: 5, Available: 4, Older: 1},
		},
		"somebody has given it another revision's template": {
			func(s *scene) {
				other := place(newRevision)
				s.put(other.Set[0])
				numbers(5, 5, 5)(s)
			}, plan.Set{Knowledge: plan.Present, Desired: 5, Older: 5},
		},
	} {
		t.Run(name, func(t *testing.T) {
			t.Parallel()
			s := newChangeScene(t)
			c.change(s)
			w, err := s.observe()
			if err != nil {
				t.Fatal(err)
			}
			if w.Stable != c.stable {
				t.Errorf("got %+v, want %+v", w.Stable, c.stable)
			}
			if tr := w.Traffic; tr.Knowledge != plan.Present || !tr.Split || tr.Weight != 0 {
				t.Errorf("the Service that selects every pod is seen as %+v", tr)
			}
		})
	}
}

func TestObserveAServiceThatSelectsOneRevision(t *testing.T) {
	t.Parallel()
	for name, c := range map[string]struct {
		live   string
		narrow bool
		shared plan.Knowledge
	}{
		"it selects one revision, as a change has left it": {oldRevision, true, plan.Absent},
		"it selects every pod":                             {"", false, plan.Present},
	} {
		t.Run(name, func(t *testing.T) {
			t.Parallel()
			s := newRollingScene(t, "Deployment")
			s.subject.Sides = manifest.Sides{Stable: place(oldRevision), Canary: place(newRevision)}
			s.put(behind(""))
			if c.live != "" { // by Tidegate's own hand, so that nothing but the selector tells
				if err := unstructured.SetNestedField(s.live["Service cart"].Object, c.live, "spec", "selector", v1alpha1.LabelRevision); err != nil {
					t.Fatal(err)
				}
			}
			s.numbers("Deployment", map[string]any{"replicas": int64(5), "updatedReplicas": int64(5), "availableReplicas": int64(5)})
			w, err := s.observe()
			if err != nil {
				t.Fatal(err)
			}
			if w.Narrow != c.narrow || w.Shared != c.shared {
				t.Errorf("narrow %t, shared %d, want %t, %d", w.Narrow, w.Shared, c.narrow, c.shared)
			}
		})
	}
}
