package observe_test

import (
	"context"
	"errors"
	"slices"
	"testing"
	"time"

	"github.com/google/go-cmp/cmp"
	discoveryv1 "k8s.io/api/discovery/v1"
	metav1 "k8s.io/apimachinery/pkg/apis/meta/v1"
	"k8s.io/apimachinery/pkg/apis/meta/v1/unstructured"
	"k8s.io/apimachinery/pkg/runtime"
	"k8s.io/apimachinery/pkg/types"
	clientgoscheme "k8s.io/client-go/kubernetes/scheme"
	"sigs.k8s.io/controller-runtime/pkg/client"
	"sigs.k8s.io/controller-runtime/pkg/client/fake"
	"sigs.k8s.io/controller-runtime/pkg/client/interceptor"
	gatewayv1 "sigs.k8s.io/gateway-api/apis/v1"

	"tidegate.io/tidegate/rollout/manifest"
	"tidegate.io/tidegate/rollout/observe"
	"tidegate.io/tidegate/rollout/plan"
	"tidegate.io/tidegate/schemas/render"
	"tidegate.io/tidegate/schemas/v1alpha1"
)

const (
	oldRevision = "aaaaaaaaaa"
	newRevision = "bbbbbbbbbb"
)

func side(revision string) *render.Result {
	labels := map[string]any{v1alpha1.LabelRelease: "cart"}
	name := "cart-" + revision
	object := func(apiVersion, kind, name string, spec map[string]any) *unstructured.Unstructured {
		return &unstructured.Unstructured{Object: map[string]any{
			"apiVersion": apiVersion, "kind": kind,
			"metadata": map[string]any{"name": name, "namespace": "shop", "labels": labels}, "spec": spec,
		}}
	}
	return &render.Result{
		Revision: revision,
		Set: []*unstructured.Unstructured{
			object("apps/v1", "Deployment", name, map[string]any{"replicas": int64(4), "template": map[string]any{}}),
			object("v1", "Service", name, map[string]any{"clusterIP": "None"}),
		},
		Route: object("gateway.networking.k8s.io/v1", "HTTPRoute", "cart", map[string]any{
			"parentRefs": []any{map[string]any{"name": "edge"}},
			"rules":      []any{map[string]any{"backendRefs": []any{map[string]any{"name": name, "port": int64(80)}}}},
		}),
	}
}

// scene is a Rollout of newRevision over oldRevision, and what is on the cluster.
type scene struct {
	t       *testing.T
	subject observe.Subject
	live    map[string]*unstructured.Unstructured
	fail    map[string]error
	// failSlices makes reading EndpointSlices fail.
	failSlices error
	extra      []client.Object
}

func newScene(t *testing.T) *scene {
	t.Helper()
	s := &scene{t: t, live: map[string]*unstructured.Unstructured{}, fail: map[string]error{}}
	rollout := v1alpha1.Rollout{
		ObjectMeta: metav1.ObjectMeta{Name: "cart-2", Namespace: "shop"},
		Spec: v1alpha1.RolloutSpec{
			Release: "cart", Number: 2, Revision: newRevision,
			Stable: &v1alpha1.StableReference{Rollout: "cart-1", Revision: oldRevision},
		},
		Status: v1alpha1.RolloutStatus{Phase: v1alpha1.RolloutProgressing},
	}
	first := v1alpha1.Rollout{
		ObjectMeta: metav1.ObjectMeta{Name: "cart-1", Namespace: "shop"},
		Spec:       v1alpha1.RolloutSpec{Release: "cart", Number: 1, Revision: oldRevision},
		Status:     v1alpha1.RolloutStatus{Phase: v1alpha1.RolloutSucceeded},
	}
	s.subject = observe.Subject{
		Release:  &v1alpha1.Release{ObjectMeta: metav1.ObjectMeta{Name: "cart", Namespace: "shop", UID: "uid-1"}},
		Rollout:  &rollout,
		Siblings: []v1alpha1.Rollout{first, rollout},
		Sides:    manifest.Sides{Stable: side(oldRevision), Canary: side(newRevision)},
	}
	for _, r := range []*render.Result{s.subject.Sides.Stable, s.subject.Sides.Canary} {
		for _, obj := range r.Set {
			s.put(obj)
		}
		s.setNumbers(r.Revision, 4, 4, 4, true)
	}
	route, err := manifest.Route(s.subject.Sides, rollout.Spec, rollout.Status.Phase, s.subject.Release, plan.Exposure{Weight: 25})
	if err != nil {
		t.Fatal(err)
	}
	s.live["HTTPRoute cart"] = owned(route)
	return s
}

// put makes obj be as it is applied.
func (s *scene) put(obj *unstructured.Unstructured) {
	want, err := manifest.Wanted(obj, s.subject.Release)
	if err != nil {
		s.t.Fatal(err)
	}
	s.live[obj.GetKind()+" "+obj.GetName()] = owned(want)
}

// owned gives every field of the object to Tidegate's manager, as leaves of a field set.
func owned(obj *unstructured.Unstructured) *unstructured.Unstructured {
	out := obj.DeepCopy()
	out.SetManagedFields([]metav1.ManagedFieldsEntry{{
		Manager: v1alpha1.FieldManager, Operation: metav1.ManagedFieldsOperationApply, APIVersion: obj.GetAPIVersion(),
		FieldsType: "FieldsV1", FieldsV1: metav1.NewFieldsV1(
			`{"f:metadata":{"f:labels":{},"f:annotations":{},"f:ownerReferences":{}},"f:spec":{}}`),
	}})
	return out
}

func (s *scene) setNumbers(revision string, desired, available, updated int64, current bool) {
	d := s.live["Deployment cart-"+revision]
	generation := int64(3)
	d.SetGeneration(generation)
	if !current {
		generation--
	}
	if err := unstructured.SetNestedField(d.Object, desired, "spec", "replicas"); err != nil {
		s.t.Fatal(err)
	}
	d.Object["status"] = map[string]any{
		"observedGeneration": generation, "availableReplicas": available, "updatedReplicas": updated, "replicas": available,
	}
}

func (s *scene) observe() (*observe.World, error) {
	scheme := runtime.NewScheme()
	for _, add := range []func(*runtime.Scheme) error{clientgoscheme.AddToScheme, v1alpha1.AddToScheme, gatewayv1.Install} {
		if err := add(scheme); err != nil {
			s.t.Fatal(err)
		}
	}
	builder := fake.NewClientBuilder().WithScheme(scheme).WithObjects(s.extra...).
		WithIndex(&v1alpha1.RolloutCommand{}, observe.FieldRollout, func(o client.Object) []string {
			return []string{o.(*v1alpha1.RolloutCommand).Spec.Rollout}
		}).
		WithInterceptorFuncs(interceptor.Funcs{
			Get: func(ctx context.Context, c client.WithWatch, key client.ObjectKey, obj client.Object, opts ...client.GetOption) error {
				u, ok := obj.(*unstructured.Unstructured)
				if !ok {
					return c.Get(ctx, key, obj, opts...)
				}
				name := u.GetKind() + " " + key.Name
				if err := s.fail[name]; err != nil {
					return err
				}
				if live := s.live[name]; live != nil {
					live.DeepCopyInto(u)
					return nil
				}
				return c.Get(ctx, key, obj, opts...)
			},
			List: func(ctx context.Context, c client.WithWatch, list client.ObjectList, opts ...client.ListOption) error {
				if err := s.fail["list"]; err != nil {
					return err
				}
				if _, ok := list.(*discoveryv1.EndpointSliceList); ok && s.failSlices != nil {
					return s.failSlices
				}
				return c.List(ctx, list, opts...)
			},
		})
	return observe.Reader{Live: builder.Build()}.Observe(s.t.Context(), s.subject)
}

func TestObserve(t *testing.T) {
	t.Parallel()
	type seen struct {
		Stable, Canary plan.Set
		Traffic        plan.Traffic
		Shared         plan.Knowledge
		Lagging        bool
		Unread         int
	}
	whole := plan.Set{Knowledge: plan.Present, UpToDate: true, Desired: 4, Available: 4}
	normal := seen{
		Stable: whole, Canary: whole, Shared: plan.Present,
		Traffic: plan.Traffic{Knowledge: plan.Present, Exposure: plan.Exposure{Weight: 25}, UpToDate: true},
	}
	with := func(change func(*seen)) seen {
		out := normal
		change(&out)
		return out
	}
	down := errors.New("connection refused")
	for name, c := range map[string]struct {
		change func(*scene)
		want   seen
	}{
		"a world as it was rendered is seen as such": {func(*scene) {}, normal},
		"a set that cannot be read is unknown, and the other facts hold": {
			func(s *scene) { s.fail["Deployment cart-"+newRevision] = down },
			with(func(w *seen) { w.Canary, w.Unread = plan.Set{}, 1 }),
		},
		"a Service that cannot be read makes its set unknown": {
			func(s *scene) { s.fail["Service cart-"+oldRevision] = down },
			with(func(w *seen) { w.Stable, w.Unread = plan.Set{}, 1 }),
		},
		"a route that cannot be read is unknown": {
			func(s *scene) { s.fail["HTTPRoute cart"] = down },
			with(func(w *seen) { w.Traffic, w.Unread = plan.Traffic{}, 1 }),
		},
		"a set of which nothing is there is absent": {
			func(s *scene) {
				delete(s.live, "Deployment cart-"+newRevision)
				delete(s.live, "Service cart-"+newRevision)
			},
			with(func(w *seen) { w.Canary = plan.Set{Knowledge: plan.Absent} }),
		},
		"a set of which a part is missing is there and not up to date": {
			func(s *scene) { delete(s.live, "Service cart-"+newRevision) },
			with(func(w *seen) { w.Canary.UpToDate = false }),
		},
		"a set that has lost its workload has no pods": {
			func(s *scene) { delete(s.live, "Deployment cart-"+newRevision) },
			with(func(w *seen) { w.Canary = plan.Set{Knowledge: plan.Present} }),
		},
		"a status of an older generation says nothing": {
			func(s *scene) { s.setNumbers(newRevision, 4, 4, 4, false) },
			with(func(w *seen) { w.Canary, w.Lagging = plan.Set{}, true }),
		},
		"pods of an older template do not count": {
			func(s *scene) { s.setNumbers(newRevision, 4, 4, 1, true) },
			with(func(w *seen) { w.Canary.Available = 1 }),
		},
		"more pods than asked for do not count": {
			func(s *scene) { s.setNumbers(newRevision, 2, 4, 4, true) },
			with(func(w *seen) { w.Canary.Desired, w.Canary.Available = 2, 2 }),
		},
		"no route is no traffic": {
			func(s *scene) { delete(s.live, "HTTPRoute cart") },
			with(func(w *seen) { w.Traffic = plan.Traffic{Knowledge: plan.Absent} }),
		},
		"a route that names something else beside is not up to date": {
			func(s *scene) {
				s.live["HTTPRoute cart"].Object["spec"].(map[string]any)["rules"] = []any{map[string]any{"backendRefs": []any{
					map[string]any{"name": "cart-" + oldRevision, "port": int64(80), "weight": int64(50)},
					map[string]any{"name": "cart-" + newRevision, "port": int64(80), "weight": int64(25)},
					map[string]any{"name": "other", "port": int64(80), "weight": int64(25)},
				}}}
			},
			// The share among the sets is what counts: 25 of 75, rounded up.
			with(func(w *seen) { w.Traffic.UpToDate, w.Traffic.Weight = false, 34 }),
		},
		"a gateway that has taken the route makes it settled": {
			func(s *scene) {
				accepted := func(kind string) any {
					return map[string]any{"type": kind, "status": "True", "observedGeneration": int64(0)}
				}
				s.live["HTTPRoute cart"].Object["status"] = map[string]any{"parents": []any{map[string]any{
					"parentRef": map[string]any{"name": "edge"}, "conditions": []any{accepted("Accepted"), accepted("ResolvedRefs")},
				}}}
			},
			with(func(w *seen) { w.Traffic.Settled = true }),
		},
		"a side that cannot be rendered is unknown, and its traffic is still seen": {
			func(s *scene) { s.subject.Sides.Stable = nil },
			with(func(w *seen) { w.Stable, w.Shared = plan.Set{}, plan.Unknown }),
		},
		"without a stable revision there is no stable set": {
			func(s *scene) {
				s.subject.Rollout.Spec.Stable, s.subject.Sides.Stable = nil, nil
				route, err := manifest.Route(s.subject.Sides, s.subject.Rollout.Spec, v1alpha1.RolloutProgressing, s.subject.Release, plan.Exposure{Weight: 100})
				if err != nil {
					s.t.Fatal(err)
				}
				s.live["HTTPRoute cart"] = owned(route)
			},
			with(func(w *seen) { w.Stable, w.Traffic.Weight = plan.Set{Knowledge: plan.Absent}, 100 }),
		},
		"of a Rollout that is over and not the newest nothing is read": {
			func(s *scene) {
				s.subject.Rollout.Status.Phase = v1alpha1.RolloutAborted
				s.subject.Siblings = append(s.subject.Siblings, v1alpha1.Rollout{
					ObjectMeta: metav1.ObjectMeta{Name: "cart-3"}, Spec: v1alpha1.RolloutSpec{Number: 3},
				})
			},
			seen{},
		},
	} {
		t.Run(name, func(t *testing.T) {
			t.Parallel()
			s := newScene(t)
			c.change(s)
			world, err := s.observe()
			if err != nil {
				t.Fatal(err)
			}
			got := seen{world.Stable, world.Canary, world.Traffic, world.Shared, world.Lagging, len(world.Unread)}
			if diff := cmp.Diff(c.want, got); diff != "" {
				t.Errorf("(-want +got):\n%s", diff)
			}
		})
	}
}

func TestObserveSeesTheOtherRollouts(t *testing.T) {
	t.Parallel()
	other := func(number int64, name string, phase v1alpha1.RolloutPhase) v1alpha1.Rollout {
		return v1alpha1.Rollout{
			ObjectMeta: metav1.ObjectMeta{Name: name}, Spec: v1alpha1.RolloutSpec{Number: number},
			Status: v1alpha1.RolloutStatus{Phase: phase},
		}
	}
	back := other(4, "cart-4", "")
	back.Spec.Revision = oldRevision
	for name, c := range map[string]struct {
		others       []v1alpha1.Rollout
		older, newer string
		moved        bool
		returns      bool
	}{
		"a stable one alone changes nothing": {},
		"an older one that goes on is waited for": {
			others: []v1alpha1.Rollout{other(1, "cart-1", v1alpha1.RolloutAborting)}, older: "cart-1",
		},
		"the newest of several newer ones is named": {
			others: []v1alpha1.Rollout{other(3, "cart-3", v1alpha1.RolloutAborted), other(4, "cart-4", "")}, newer: "cart-4",
		},
		"a newer one of the stable revision is a return to it": {
			others: []v1alpha1.Rollout{other(3, "cart-3", ""), back}, newer: "cart-4", returns: true,
		},
		"one that is not the newest is none": {
			others: []v1alpha1.Rollout{back, other(5, "cart-5", "")}, newer: "cart-5",
		},
		"a newer one that succeeded has moved the stable revision": {
			others: []v1alpha1.Rollout{other(3, "cart-3", v1alpha1.RolloutSucceeded)}, newer: "cart-3", moved: true,
		},
		"an older one than the pinned one has not": {
			others: []v1alpha1.Rollout{other(0, "cart-0", v1alpha1.RolloutSucceeded)},
		},
	} {
		t.Run(name, func(t *testing.T) {
			t.Parallel()
			s := newScene(t)
			s.subject.Siblings = append(s.subject.Siblings, c.others...)
			world, err := s.observe()
			if err != nil {
				t.Fatal(err)
			}
			if world.Older != c.older || world.Newer != c.newer || world.StableMoved != c.moved || world.Returns != c.returns {
				t.Errorf("older %q, newer %q, moved %t, returns %t", world.Older, world.Newer, world.StableMoved, world.Returns)
			}
		})
	}
}

func TestCommandsAreTakenOldestFirst(t *testing.T) {
	t.Parallel()
	s := newScene(t)
	start := time.Date(2026, 1, 1, 0, 0, 0, 0, time.UTC)
	command := func(name string, after time.Duration, outcome v1alpha1.CommandOutcome, rollout string) client.Object {
		return &v1alpha1.RolloutCommand{
			ObjectMeta: metav1.ObjectMeta{Name: name, Namespace: "shop", CreationTimestamp: metav1.NewTime(start.Add(after))},
			Spec:       v1alpha1.RolloutCommandSpec{Rollout: rollout, Action: v1alpha1.CommandPause},
			Status:     v1alpha1.RolloutCommandStatus{Outcome: outcome},
		}
	}
	s.extra = []client.Object{
		command("b", time.Hour, "", "cart-2"), command("a", time.Hour, "", "cart-2"), command("z", 0, "", "cart-2"),
		command("done", 0, v1alpha1.OutcomeApplied, "cart-2"), command("other", 0, "", "cart-9"),
	}
	world, err := s.observe()
	if err != nil {
		t.Fatal(err)
	}
	var names []string
	for _, c := range world.Commands {
		names = append(names, c.Name)
	}
	if want := []string{"z", "a", "b"}; !slices.Equal(names, want) {
		t.Errorf("the commands are %v, want %v", names, want)
	}
}

func TestCommandsThatCannotBeReadAreNotTakenForNone(t *testing.T) {
	t.Parallel()
	s := newScene(t)
	s.fail["list"] = errors.New("connection refused")
	if world, err := s.observe(); err == nil {
		t.Errorf("there is an observation without commands: %+v", world)
	}
}

// A Release that was deleted and applied again has Rollouts of the same names again.
func TestCommandsOlderThanTheRolloutAreNotObeyed(t *testing.T) {
	t.Parallel()
	s := newScene(t)
	born := time.Date(2026, 1, 1, 0, 0, 0, 0, time.UTC)
	s.subject.Rollout.CreationTimestamp = metav1.NewTime(born)
	for name, after := range map[string]time.Duration{"former": -time.Second, "same": 0, "later": time.Second} {
		s.extra = append(s.extra, &v1alpha1.RolloutCommand{
			ObjectMeta: metav1.ObjectMeta{Name: name, Namespace: "shop", CreationTimestamp: metav1.NewTime(born.Add(after))},
			Spec:       v1alpha1.RolloutCommandSpec{Rollout: "cart-2", Action: v1alpha1.CommandAbort},
		})
	}
	world, err := s.observe()
	if err != nil {
		t.Fatal(err)
	}
	var names []string
	for _, c := range world.Commands {
		names = append(names, c.Name)
	}
	if want := []string{"same", "later"}; !slices.Equal(names, want) {
		t.Errorf("the commands are %v, want %v", names, want)
	}
}

func TestControlled(t *testing.T) {
	t.Parallel()
	rollout := func(name string, uid types.UID) v1alpha1.Rollout {
		r := v1alpha1.Rollout{ObjectMeta: metav1.ObjectMeta{Name: name}}
		if uid != "" {
			owner := &v1alpha1.Release{ObjectMeta: metav1.ObjectMeta{Name: "cart", UID: uid}}
			r.OwnerReferences = []metav1.OwnerReference{manifest.Owner(owner)}
		}
		return r
	}
	mentioned := rollout("cart-4", "uid-1")
	mentioned.OwnerReferences[0].Controller = nil
	got := observe.Controlled([]v1alpha1.Rollout{
		rollout("cart-1", "uid-0"), rollout("cart-2", ""), rollout("cart-3", "uid-1"), mentioned, rollout("cart-5", "uid-1"),
	}, "uid-1")
	if len(got) != 2 || got[0].Name != "cart-3" || got[1].Name != "cart-5" {
		t.Errorf("got %+v", got)
	}
}
