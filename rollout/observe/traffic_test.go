package observe_test

import (
	"errors"
	"testing"

	"github.com/google/go-cmp/cmp"
	corev1 "k8s.io/api/core/v1"
	discoveryv1 "k8s.io/api/discovery/v1"
	metav1 "k8s.io/apimachinery/pkg/apis/meta/v1"
	"k8s.io/apimachinery/pkg/apis/meta/v1/unstructured"
	"k8s.io/apimachinery/pkg/types"

	"tidegate.io/tidegate/rollout/manifest"
	"tidegate.io/tidegate/rollout/plan"
	"tidegate.io/tidegate/schemas/v1alpha1"
)

// withSteps gives the scene steps for testers (1 and 2), copies (3) and a baseline (4).
func (s *scene) withSteps() {
	yes, on := "yes", true
	testers := &v1alpha1.HeaderRoute{Matches: []v1alpha1.RequestMatch{{Headers: []v1alpha1.ValueMatch{{Name: "x-tester", Exact: &yes}}}}}
	spec := &s.subject.Rollout.Spec
	spec.Replicas, spec.Stable.Replicas = 4, 4
	spec.Strategy = v1alpha1.Strategy{Type: v1alpha1.StrategyCanary, Steps: []v1alpha1.Step{
		{SetHeaderRoute: testers}, {SetHeaderRoute: testers}, {SetMirrorRoute: &v1alpha1.MirrorRoute{Percent: 20}}, {SetBaseline: &on},
	}}
}

// routes makes the live route carry e, as Tidegate applies it.
func (s *scene) routes(e plan.Exposure) {
	s.t.Helper()
	route, err := manifest.Route(s.subject.Sides, s.subject.Rollout.Spec, s.subject.Rollout.Status.Phase, s.subject.Release, e)
	if err != nil {
		s.t.Fatal(err)
	}
	s.live[route.GetKind()+" cart"] = owned(route)
}

func TestObserveReadsTheExposureBack(t *testing.T) {
	t.Parallel()
	present := func(e plan.Exposure, upToDate bool) plan.Traffic {
		return plan.Traffic{Knowledge: plan.Present, Exposure: e, UpToDate: upToDate}
	}
	for name, c := range map[string]struct {
		change func(*scene)
		want   plan.Traffic
	}{
		"testers of the step that the Rollout is in": {
			func(s *scene) {
				s.subject.Rollout.Status.Step = 2
				s.routes(plan.Exposure{Header: 2})
			},
			present(plan.Exposure{Header: 2}, true),
		},
		"testers before they are allowed": {
			func(s *scene) { s.routes(plan.Exposure{Header: 1}) },
			present(plan.Exposure{Header: 1}, true),
		},
		"everything at once": {
			func(s *scene) {
				s.subject.Rollout.Status.Step, s.subject.Rollout.Status.ApprovedWeight = 4, 0
				s.routes(plan.Exposure{Header: 2, Mirror: 3})
			},
			present(plan.Exposure{Header: 2, Mirror: 3}, true),
		},
		"a weight and a baseline that nobody has approved": {
			func(s *scene) { s.routes(plan.Exposure{Weight: 10, Baseline: 10}) },
			present(plan.Exposure{Weight: 10, Baseline: 10}, true),
		},
		"a rule of testers for everybody is a weight": {
			func(s *scene) {
				s.subject.Rollout.Status.Step = 1
				s.routes(plan.Exposure{Header: 1})
				rules := s.live["HTTPRoute cart"].Object["spec"].(map[string]any)["rules"].([]any)
				delete(rules[0].(map[string]any), "matches")
			},
			present(plan.Exposure{Weight: 100}, false),
		},
		"a mirror of another size is none of the steps'": {
			func(s *scene) {
				s.subject.Rollout.Status.Step = 3
				s.routes(plan.Exposure{Header: 2, Mirror: 3})
				rules := s.live["HTTPRoute cart"].Object["spec"].(map[string]any)["rules"].([]any)
				filter := rules[1].(map[string]any)["filters"].([]any)[0].(map[string]any)
				filter["requestMirror"].(map[string]any)["percent"] = int64(90)
			},
			present(plan.Exposure{Header: 2, Mirror: -1}, false),
		},
		"a side that cannot be rendered leaves what is read": {
			func(s *scene) {
				s.routes(plan.Exposure{Header: 1, Weight: 10})
				s.subject.Sides.Canary = nil
			},
			present(plan.Exposure{Header: 1, Weight: 10}, true),
		},
	} {
		t.Run(name, func(t *testing.T) {
			t.Parallel()
			s := newScene(t)
			s.withSteps()
			c.change(s)
			world, err := s.observe()
			if err != nil {
				t.Fatal(err)
			}
			if diff := cmp.Diff(c.want, world.Traffic); diff != "" {
				t.Errorf("(-want +got):\n%s", diff)
			}
		})
	}
}

func TestObserveSeesTheBaseline(t *testing.T) {
	t.Parallel()
	name := "cart-" + oldRevision + manifest.BaselineSuffix
	putSet := func(s *scene) {
		for _, obj := range manifest.Baseline(s.subject.Sides.Stable).Set {
			s.put(obj)
		}
		s.setNumbers(manifest.BaselineRevision(oldRevision), 2, 1, 2, true)
	}
	for label, c := range map[string]struct {
		change func(*scene)
		want   plan.Set
	}{
		"where no step asks for one it is absent, there or not": {
			func(s *scene) { putSet(s); s.subject.Rollout.Spec.Strategy.Steps = nil },
			plan.Set{Knowledge: plan.Absent},
		},
		"one that is not there is absent":   {func(*scene) {}, plan.Set{Knowledge: plan.Absent}},
		"one that is there has its numbers": {putSet, plan.Set{Knowledge: plan.Present, UpToDate: true, Desired: 2, Available: 1}},
		"one that was changed is not up to date": {
			func(s *scene) { putSet(s); s.live["Service "+name].SetManagedFields(nil) },
			plan.Set{Knowledge: plan.Present, Desired: 2, Available: 1},
		},
		"one that cannot be read is unknown": {
			func(s *scene) { s.fail["Deployment "+name] = errors.New("connection refused") }, plan.Set{},
		},
		"without the stable side nothing is known": {func(s *scene) { s.subject.Sides.Stable = nil }, plan.Set{}},
	} {
		t.Run(label, func(t *testing.T) {
			t.Parallel()
			s := newScene(t)
			s.withSteps()
			c.change(s)
			world, err := s.observe()
			if err != nil {
				t.Fatal(err)
			}
			if diff := cmp.Diff(c.want, world.Baseline); diff != "" {
				t.Errorf("(-want +got):\n%s", diff)
			}
		})
	}
}

func TestObserveReadsAPlainService(t *testing.T) {
	t.Parallel()
	const selected, both = 0, 30
	for name, c := range map[string]struct {
		weight   int32
		listed   []string
		fail     bool
		want     plan.Traffic
		unlisted int
	}{
		"the endpoints are as it selects": {
			selected,
			[]string{oldRevision, oldRevision, oldRevision, oldRevision},
			false,
			plan.Traffic{Knowledge: plan.Present, UpToDate: true, Settled: true},
			0,
		},
		"a pod of the other revision is still listed": {
			selected,
			[]string{oldRevision, oldRevision, oldRevision, oldRevision, newRevision},
			false,
			plan.Traffic{Knowledge: plan.Present, UpToDate: true},
			0,
		},
		"a pod of its own is not listed yet": {
			selected,
			[]string{oldRevision, oldRevision, oldRevision},
			false,
			plan.Traffic{Knowledge: plan.Present, UpToDate: true},
			0,
		},
		"both are selected, and the pods say the weight": {
			both,
			[]string{oldRevision, oldRevision, oldRevision, oldRevision, newRevision, newRevision, newRevision, newRevision},
			false,
			plan.Traffic{Knowledge: plan.Present, Split: true, UpToDate: true, Settled: true},
			0,
		},
		"endpoints that cannot be read leave it unknown": {selected, nil, true, plan.Traffic{}, 1},
	} {
		t.Run(name, func(t *testing.T) {
			t.Parallel()
			s := newScene(t)
			s.subject.Rollout.Spec.Router = v1alpha1.RouterService
			for _, side := range []struct {
				revision string
				route    **unstructured.Unstructured
			}{{oldRevision, &s.subject.Sides.Stable.Route}, {newRevision, &s.subject.Sides.Canary.Route}} {
				*side.route = &unstructured.Unstructured{Object: map[string]any{
					"apiVersion": "v1", "kind": "Service", "metadata": map[string]any{"name": "cart", "namespace": "shop"},
					"spec": map[string]any{"selector": map[string]any{v1alpha1.LabelRelease: "cart", v1alpha1.LabelRevision: side.revision}},
				}}
			}
			s.routes(plan.Exposure{Weight: c.weight})
			slice := &discoveryv1.EndpointSlice{ObjectMeta: metav1.ObjectMeta{
				Name: "cart-1", Namespace: "shop", Labels: map[string]string{discoveryv1.LabelServiceName: "cart"},
			}}
			for i, revision := range c.listed {
				id := string(rune('a' + i))
				s.extra = append(s.extra, &corev1.Pod{ObjectMeta: metav1.ObjectMeta{
					Name: "cart-" + id, Namespace: "shop", UID: types.UID(id),
					Labels: map[string]string{v1alpha1.LabelRelease: "cart", v1alpha1.LabelRevision: revision},
				}})
				slice.Endpoints = append(slice.Endpoints, discoveryv1.Endpoint{TargetRef: &corev1.ObjectReference{Kind: "Pod", UID: types.UID(id)}})
			}
			other := slice.DeepCopy() // of the other family of addresses
			other.Name = "cart-2"
			s.extra = append(s.extra, slice, other)
			if c.fail {
				s.failSlices = errors.New("connection refused")
			}
			world, err := s.observe()
			if err != nil {
				t.Fatal(err)
			}
			if diff := cmp.Diff(c.want, world.Traffic); diff != "" || len(world.Unread) != c.unlisted {
				t.Errorf("%d unread, (-want +got):\n%s", len(world.Unread), diff)
			}
		})
	}
}
