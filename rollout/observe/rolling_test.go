package observe_test

import (
	"errors"
	"testing"

	"github.com/google/go-cmp/cmp"
	metav1 "k8s.io/apimachinery/pkg/apis/meta/v1"
	"k8s.io/apimachinery/pkg/apis/meta/v1/unstructured"

	"tidegate.io/tidegate/rollout/manifest"
	"tidegate.io/tidegate/rollout/plan"
	"tidegate.io/tidegate/schemas/render"
	"tidegate.io/tidegate/schemas/v1alpha1"
)

// inPlace is a revision of a workload of the kind given, with a ConfigMap of its own.
func inPlace(kind, revision string) *render.Result {
	labels := map[string]any{v1alpha1.LabelRelease: "cart"}
	template := map[string]any{"metadata": map[string]any{"labels": map[string]any{v1alpha1.LabelRevision: revision}}}
	apiVersion, spec := "apps/v1", map[string]any{"replicas": int64(5), "template": template}
	if kind == "CronJob" {
		apiVersion, spec = "batch/v1", map[string]any{"jobTemplate": map[string]any{"spec": map[string]any{"template": template}}}
	}
	return &render.Result{
		Revision: revision, Strategy: v1alpha1.Strategy{Type: v1alpha1.StrategyRolling},
		Set: []*unstructured.Unstructured{
			{Object: map[string]any{
				"apiVersion": apiVersion, "kind": kind, "spec": spec,
				"metadata": map[string]any{"name": "cart", "namespace": "shop", "labels": labels},
			}},
			{Object: map[string]any{
				"apiVersion": "v1", "kind": "ConfigMap", "spec": map[string]any{},
				"metadata": map[string]any{"name": "cart-" + revision, "namespace": "shop", "labels": labels},
			}},
		},
	}
}

// newRollingScene has the workload of newRevision, its partition at 3 of 5 pods, and both
// ConfigMaps.
func newRollingScene(t *testing.T, kind string) *scene {
	t.Helper()
	s := newScene(t)
	s.subject.Rollout.Spec.Strategy.Type = v1alpha1.StrategyRolling
	s.subject.Sides = manifest.Sides{Stable: inPlace(kind, oldRevision), Canary: inPlace(kind, newRevision)}
	s.put(s.subject.Sides.Stable.Set[1])
	for _, obj := range s.subject.Sides.Canary.Set {
		s.put(obj)
	}
	return s
}

// numbers sets what the workload's controller has counted.
func (s *scene) numbers(kind string, status map[string]any) {
	live := s.live[kind+" cart"]
	live.SetGeneration(3)
	status["observedGeneration"] = int64(3)
	live.Object["status"] = status
}

func TestObserveAWorkloadInPlace(t *testing.T) {
	t.Parallel()
	replicas := func(total, updated, available int64) map[string]any {
		return map[string]any{"replicas": total, "updatedReplicas": updated, "availableReplicas": available}
	}
	partition := func(s *scene, held int64) {
		if err := unstructured.SetNestedField(s.live["StatefulSet cart"].Object, held, "spec", "updateStrategy", "rollingUpdate", "partition"); err != nil {
			t.Error(err)
		}
	}
	other := plan.Set{Knowledge: plan.Absent, Leftovers: true}
	set := func(desired, held, available int32) plan.Set {
		return plan.Set{Knowledge: plan.Present, UpToDate: true, Desired: desired, Held: held, Available: available, Leftovers: true}
	}
	for name, c := range map[string]struct {
		kind           string
		change         func(*scene)
		stable, canary plan.Set
		lagging        bool
		unread         int
	}{
		"a share of a StatefulSet is of the new revision": {
			kind: "StatefulSet", stable: other, canary: set(5, 3, 2),
			change: func(s *scene) { partition(s, 3); s.numbers("StatefulSet", replicas(5, 2, 5)) },
		},
		"an available pod may be an old one, so the new one is not counted": {
			kind: "StatefulSet", stable: other, canary: set(5, 3, 1),
			change: func(s *scene) { partition(s, 3); s.numbers("StatefulSet", replicas(5, 2, 4)) },
		},
		"a Deployment that surges": {
			kind: "Deployment", stable: other, canary: set(5, 0, 2),
			change: func(s *scene) { s.numbers("Deployment", replicas(6, 3, 5)) },
		},
		"a workload that is still of the old revision": {
			kind: "Deployment", canary: other, stable: plan.Set{Knowledge: plan.Present, UpToDate: true, Desired: 5, Available: 5, Leftovers: true},
			change: func(s *scene) {
				s.put(s.subject.Sides.Stable.Set[0])
				s.numbers("Deployment", replicas(5, 5, 5))
			},
		},
		"a workload that was edited": {
			kind: "Deployment", stable: other, canary: plan.Set{Knowledge: plan.Present, Desired: 5, Available: 5, Leftovers: true},
			change: func(s *scene) {
				s.numbers("Deployment", replicas(5, 5, 5))
				s.live["Deployment cart"].SetManagedFields([]metav1.ManagedFieldsEntry{})
			},
		},
		"a workload that is not there": {
			kind: "Deployment", stable: other, canary: other,
			change: func(s *scene) { delete(s.live, "Deployment cart") },
		},
		"a revision that has left nothing": {
			kind: "Deployment", stable: plan.Set{Knowledge: plan.Absent}, canary: set(5, 0, 5),
			change: func(s *scene) {
				delete(s.live, "ConfigMap cart-"+oldRevision)
				s.numbers("Deployment", replicas(5, 5, 5))
			},
		},
		"numbers of an older generation are not of this one": {
			kind: "Deployment", stable: other, canary: plan.Set{}, lagging: true,
			change: func(s *scene) {
				s.numbers("Deployment", replicas(5, 5, 5))
				s.live["Deployment cart"].SetGeneration(4)
			},
		},
		"a workload that cannot be read": {
			kind: "Deployment", unread: 2,
			change: func(s *scene) { s.fail["Deployment cart"] = errors.New("connection refused") },
		},
		"a DaemonSet has as many pods as nodes": {
			kind:   "DaemonSet",
			stable: plan.Set{Knowledge: plan.Absent, SelfSized: true, Leftovers: true},
			canary: plan.Set{Knowledge: plan.Present, UpToDate: true, SelfSized: true, Desired: 3, Available: 1, Leftovers: true},
			change: func(s *scene) {
				s.numbers("DaemonSet", map[string]any{
					"desiredNumberScheduled": int64(3), "currentNumberScheduled": int64(3), "updatedNumberScheduled": int64(2), "numberAvailable": int64(2),
				})
			},
		},
		"a CronJob has none to wait for": {
			kind:   "CronJob",
			stable: plan.Set{Knowledge: plan.Absent, SelfSized: true, Leftovers: true},
			canary: plan.Set{Knowledge: plan.Present, UpToDate: true, SelfSized: true, Leftovers: true},
			change: func(*scene) {},
		},
	} {
		t.Run(name, func(t *testing.T) {
			t.Parallel()
			s := newRollingScene(t, c.kind)
			c.change(s)
			w, err := s.observe()
			if err != nil {
				t.Fatal(err)
			}
			if d := cmp.Diff(c.stable, w.Stable); d != "" {
				t.Errorf("stable (-want +got):\n%s", d)
			}
			if d := cmp.Diff(c.canary, w.Canary); d != "" {
				t.Errorf("canary (-want +got):\n%s", d)
			}
			if w.Lagging != c.lagging || len(w.Unread) != c.unread || w.Traffic != (plan.Traffic{}) || w.Route != nil {
				t.Errorf("lagging %t, unread %v, traffic %+v", w.Lagging, w.Unread, w.Traffic)
			}
			if there := s.live[c.kind+" cart"] != nil && c.unread == 0; (w.Workload != nil) != there {
				t.Errorf("the workload is %v", w.Workload)
			}
		})
	}
}

func TestAnAutoscaledSetIsKnownFromItsRender(t *testing.T) {
	t.Parallel()
	s := newScene(t)
	s.subject.Sides.Canary.Set = append(s.subject.Sides.Canary.Set, &unstructured.Unstructured{Object: map[string]any{
		"apiVersion": "autoscaling/v2", "kind": "HorizontalPodAutoscaler",
		"metadata": map[string]any{"name": "cart-" + newRevision, "namespace": "shop"}, "spec": map[string]any{},
	}})
	for name := range s.live {
		if name == "Deployment cart-"+newRevision || name == "Service cart-"+newRevision {
			delete(s.live, name)
		}
	}
	w, err := s.observe()
	if err != nil {
		t.Fatal(err)
	}
	if want := (plan.Set{Knowledge: plan.Absent, Autoscaled: true, Least: 1}); w.Canary != want || w.Stable.Autoscaled {
		t.Errorf("canary %+v, stable %+v", w.Canary, w.Stable)
	}
	s.fail["Deployment cart-"+newRevision] = errors.New("connection refused")
	if w, err = s.observe(); err != nil {
		t.Fatal(err)
	}
	if want := (plan.Set{Autoscaled: true, Least: 1}); w.Canary != want {
		t.Errorf("what cannot be read is %+v, want %+v", w.Canary, want)
	}
}
