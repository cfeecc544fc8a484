package apply_test

import (
	"context"
	"errors"
	"fmt"
	"maps"
	"slices"
	"strings"
	"testing"

	apierrors "k8s.io/apimachinery/pkg/api/errors"
	metav1 "k8s.io/apimachinery/pkg/apis/meta/v1"
	"k8s.io/apimachinery/pkg/apis/meta/v1/unstructured"
	"k8s.io/apimachinery/pkg/runtime"
	"k8s.io/apimachinery/pkg/types"
	clientgoscheme "k8s.io/client-go/kubernetes/scheme"
	"sigs.k8s.io/controller-runtime/pkg/client"
	"sigs.k8s.io/controller-runtime/pkg/client/fake"
	"sigs.k8s.io/controller-runtime/pkg/client/interceptor"
	gatewayv1 "sigs.k8s.io/gateway-api/apis/v1"

	"tidegate.io/tidegate/rollout/apply"
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

func object(apiVersion, kind, name string, fields map[string]any) *unstructured.Unstructured {
	out := &unstructured.Unstructured{Object: map[string]any{
		"apiVersion": apiVersion, "kind": kind,
		"metadata": map[string]any{
			"name": name, "namespace": "shop", "labels": map[string]any{v1alpha1.LabelRelease: "cart"},
		},
	}}
	maps.Copy(out.Object, fields)
	return out
}

func side(revision string) *render.Result {
	name := "cart-" + revision
	labels := map[string]any{"app": name}
	return &render.Result{
		Revision: revision,
		Set: []*unstructured.Unstructured{
			object("apps/v1", "Deployment", name, map[string]any{"spec": map[string]any{
				"replicas": int64(4), "selector": map[string]any{"matchLabels": labels},
				"template": map[string]any{
					"metadata": map[string]any{"labels": labels},
					"spec":     map[string]any{"containers": []any{map[string]any{"name": "web", "image": "web:" + revision}}},
				},
			}}),
			object("v1", "Service", name, map[string]any{"spec": map[string]any{
				"selector": labels, "ports": []any{map[string]any{"port": int64(80)}},
			}}),
		},
		Route: object("gateway.networking.k8s.io/v1", "HTTPRoute", "cart", map[string]any{"spec": map[string]any{
			"parentRefs": []any{map[string]any{"name": "edge"}},
			"rules":      []any{map[string]any{"backendRefs": []any{map[string]any{"name": name, "port": int64(80)}}}},
		}}),
		Shared: []*unstructured.Unstructured{
			object("v1", "ConfigMap", "cart", map[string]any{"data": map[string]any{"revision": revision}}),
		},
	}
}

// bench is a Rollout of newRevision over oldRevision on an empty cluster.
type bench struct {
	t      *testing.T
	client client.Client
	target *apply.Target
	// writes are the verbs and kinds that reached the server.
	writes []string
	// fail makes a write of a kind fail, and tooMany one that tells an autoscaler to leave more pods than was rendered.
	fail    map[string]error
	tooMany error
	// refusals are those that are remembered.
	refusals *apply.Refusals
}

func newBench(t *testing.T, objects ...client.Object) *bench {
	t.Helper()
	b := &bench{t: t, fail: map[string]error{}}
	scheme := runtime.NewScheme()
	for _, add := range []func(*runtime.Scheme) error{clientgoscheme.AddToScheme, v1alpha1.AddToScheme, gatewayv1.Install} {
		if err := add(scheme); err != nil {
			t.Fatal(err)
		}
	}
	b.client = fake.NewClientBuilder().WithScheme(scheme).WithReturnManagedFields().WithObjects(objects...).
		WithStatusSubresource(&v1alpha1.RolloutCommand{}).
		WithIndex(&v1alpha1.Rollout{}, observe.FieldRelease, func(o client.Object) []string {
			return []string{o.(*v1alpha1.Rollout).Spec.Release}
		}).
		WithIndex(&v1alpha1.RolloutCommand{}, observe.FieldRollout, func(o client.Object) []string {
			return []string{o.(*v1alpha1.RolloutCommand).Spec.Rollout}
		}).
		WithInterceptorFuncs(interceptor.Funcs{
			Apply: func(ctx context.Context, c client.WithWatch, obj runtime.ApplyConfiguration, opts ...client.ApplyOption) error {
				kind := obj.(interface{ GetKind() string }).GetKind()
				if err := b.fail["apply "+kind]; err != nil {
					return err
				}
				if told := obj.(interface{ GetAnnotations() map[string]string }).GetAnnotations()["tidegate.io/least"]; told != "" && b.tooMany != nil {
					b.writes = append(b.writes, "refused "+told)
					return b.tooMany
				}
				b.writes = append(b.writes, "apply "+kind)
				return c.Apply(ctx, obj, opts...)
			},
			Delete: func(ctx context.Context, c client.WithWatch, obj client.Object, opts ...client.DeleteOption) error {
				kind := obj.GetObjectKind().GroupVersionKind().Kind
				if err := b.fail["delete "+kind]; err != nil {
					return err
				}
				b.writes = append(b.writes, "delete "+kind)
				return c.Delete(ctx, obj, opts...)
			},
		}).Build()
	b.target = &apply.Target{
		Release: &v1alpha1.Release{ObjectMeta: metav1.ObjectMeta{Name: "cart", Namespace: "shop", UID: "uid-1"}},
		Rollout: &v1alpha1.Rollout{
			ObjectMeta: metav1.ObjectMeta{Name: "cart-2", Namespace: "shop", UID: "uid-2"},
			Spec: v1alpha1.RolloutSpec{
				Release: "cart", Number: 2, Revision: newRevision,
				Stable: &v1alpha1.StableReference{Rollout: "cart-1", Revision: oldRevision},
			},
		},
		Phase: v1alpha1.RolloutProgressing,
		Sides: manifest.Sides{Stable: side(oldRevision), Canary: side(newRevision)},
	}
	b.target.Rollout.OwnerReferences = []metav1.OwnerReference{manifest.Owner(b.target.Release)}
	b.target.Rollout.Status.Phase = b.target.Phase
	if err := b.client.Create(t.Context(), b.target.Rollout.DeepCopy()); err != nil {
		t.Fatal(err)
	}
	return b
}

func (b *bench) do(action plan.Action) error {
	return apply.Applier{Writer: b.client, Live: b.client, Refusals: b.refusals}.Execute(b.t.Context(), b.target, action)
}

func (b *bench) must(actions ...plan.Action) {
	b.t.Helper()
	for _, action := range actions {
		if err := b.do(action); err != nil {
			b.t.Fatal(err)
		}
	}
}

func (b *bench) get(apiVersion, kind, name string) *unstructured.Unstructured {
	b.t.Helper()
	out := object(apiVersion, kind, name, nil)
	err := b.client.Get(b.t.Context(), client.ObjectKeyFromObject(out), out)
	if apierrors.IsNotFound(err) {
		return nil
	}
	if err != nil {
		b.t.Fatal(err)
	}
	return out
}

func (b *bench) route() *unstructured.Unstructured {
	return b.get("gateway.networking.k8s.io/v1", "HTTPRoute", "cart")
}

func (b *bench) wantWrites(want ...string) {
	b.t.Helper()
	if !slices.Equal(b.writes, want) {
		b.t.Errorf("the writes were %v, want %v", b.writes, want)
	}
	b.writes = nil
}

var (
	ensureCanary = plan.Action{Kind: plan.ActionEnsureSet, Role: plan.RoleCanary, Replicas: 1}
	ensureStable = plan.Action{Kind: plan.ActionEnsureSet, Role: plan.RoleStable, Replicas: 4}
	retireCanary = plan.Action{Kind: plan.ActionRetire, Role: plan.RoleCanary}
)

func weight(w int32) plan.Action {
	return plan.Action{Kind: plan.ActionSetWeight, Exposure: plan.Exposure{Weight: w}}
}

func TestEnsureSetAppliesTheWorkloadLast(t *testing.T) {
	t.Parallel()
	b := newBench(t)
	b.must(ensureCanary)
	b.wantWrites("apply Service", "apply Deployment")
	d := b.get("apps/v1", "Deployment", "cart-"+newRevision)
	if replicas, _, _ := unstructured.NestedInt64(d.Object, "spec", "replicas"); replicas != 1 {
		t.Errorf("there are %d replicas, want 1", replicas)
	}
	if !metav1.IsControlledBy(d, b.target.Release) {
		t.Errorf("the owners are %v", d.GetOwnerReferences())
	}
}

func TestEveryActionMayBeRepeated(t *testing.T) {
	t.Parallel()
	b := newBench(t)
	actions := []plan.Action{{Kind: plan.ActionApplyShared}, ensureStable, ensureCanary, weight(25)}
	b.must(actions...)
	b.writes = nil
	b.target.Route = b.route()
	b.must(actions...)
	b.wantWrites()
	bigger := ensureCanary
	bigger.Replicas = 2
	b.must(bigger)
	b.wantWrites("apply Deployment")
	b.must(weight(50))
	b.wantWrites("apply HTTPRoute")
	b.must(weight(0), retireCanary)
	b.wantWrites("apply HTTPRoute", "delete Deployment", "delete Service")
	b.must(retireCanary)
	b.wantWrites()
}

// The cache has the Deployment as it was before somebody else's write, and the API server refuses to delete that. What
// was made anew under the name since is not what was to be deleted.
func TestWhatIsDeletedIsReadAnewWhereTheCacheIsBehind(t *testing.T) {
	t.Parallel()
	for name, c := range map[string]struct {
		now    types.UID
		writes []string
		fails  bool
	}{
		"it was written since":   {"first", []string{"delete Deployment", "delete Deployment", "delete Service"}, false},
		"it was made anew since": {"second", []string{"delete Deployment"}, true},
	} {
		t.Run(name, func(t *testing.T) {
			t.Parallel()
			b := newBench(t)
			b.must(ensureCanary)
			made := b.get("apps/v1", "Deployment", "cart-"+newRevision)
			made.SetUID("first")
			known := fake.NewClientBuilder().WithScheme(b.client.Scheme()).WithObjects(made.DeepCopy(), b.get("v1", "Service", "cart-"+newRevision)).Build()
			made.SetUID(c.now)
			made.SetAnnotations(map[string]string{"by": "another"})
			if err := b.client.Update(t.Context(), made); err != nil {
				t.Fatal(err)
			}
			b.writes = nil
			err := apply.Applier{Writer: b.client, Live: b.client, Known: known}.Execute(t.Context(), b.target, retireCanary)
			if apierrors.IsConflict(err) != c.fails || err != nil && !c.fails {
				t.Fatalf("got %v, want a conflict: %t", err, c.fails)
			}
			b.wantWrites(c.writes...)
			if left := b.get("apps/v1", "Deployment", "cart-"+newRevision); (left != nil) != c.fails {
				t.Errorf("the Deployment is there: %t, want %t", left != nil, c.fails)
			}
		})
	}
}

// What was looked for and was not there is not looked for again: the write is refused where that has changed.
func TestWhatWasNotThereIsMadeAndNeverWrittenOver(t *testing.T) {
	t.Parallel()
	b := newBench(t)
	service := object("v1", "Service", "cart-"+newRevision, nil)
	world, err := observe.Reader{Live: b.client}.Observe(t.Context(), observe.Subject{
		Release: b.target.Release, Rollout: b.target.Rollout, Sides: b.target.Sides,
	})
	if err != nil {
		t.Fatal(err)
	}
	if !world.Seen.Missed(service) {
		t.Fatal("wanted the Service to have been looked for and not found")
	}
	b.target.Seen = world.Seen
	if err := b.client.Create(t.Context(), service); err != nil {
		t.Fatal(err)
	}
	service.SetAnnotations(map[string]string{"by": "another"})
	if err := b.client.Update(t.Context(), service); err != nil { // the first version of an object is another here than on a cluster
		t.Fatal(err)
	}
	if err := b.do(ensureCanary); !apierrors.IsConflict(err) {
		t.Errorf("wanted a conflict with who has made the Service meanwhile, found %v", err)
	}
}

// One row for each write: what fails stops the action there, and doing it again ends well.
func TestAWriteThatFailsIsReportedAndCanBeRepeated(t *testing.T) {
	t.Parallel()
	for write, action := range map[string]plan.Action{
		"apply ConfigMap":   {Kind: plan.ActionApplyShared},
		"apply Service":     ensureCanary,
		"apply Deployment":  ensureCanary,
		"apply HTTPRoute":   weight(25),
		"delete Deployment": retireCanary,
		"delete Service":    retireCanary,
	} {
		t.Run(write, func(t *testing.T) {
			t.Parallel()
			b := newBench(t)
			if strings.HasPrefix(write, "delete") {
				b.must(ensureCanary)
				b.writes = nil
			}
			down := errors.New("connection refused")
			b.fail[write] = down
			if err := b.do(action); !errors.Is(err, down) {
				t.Fatalf("the error is %v, want %v", err, down)
			}
			if slices.Contains(b.writes, write) {
				t.Errorf("the writes were %v", b.writes)
			}
			delete(b.fail, write)
			b.must(action)
			if !slices.Contains(b.writes, write) {
				t.Errorf("the writes were %v, want %s among them", b.writes, write)
			}
		})
	}
}

func TestWeightsRestOnTheRouteThatWasSeen(t *testing.T) {
	t.Parallel()
	b := newBench(t)
	b.must(ensureStable, ensureCanary, weight(5))
	held := *b.target
	held.Route = b.route()

	// Another manager aborts while this one is held up.
	b.must(weight(0))
	b.target = &held
	if err := b.do(weight(25)); !apierrors.IsConflict(err) {
		t.Errorf("a late raise ended with %v, want a conflict", err)
	}
	if got, _ := manifest.Exposure(b.route(), b.target.Rollout.Spec, plan.Exposure{}); got != (plan.Exposure{}) {
		t.Errorf("the canary has %+v of the traffic", got)
	}
}

func TestASetWithTrafficIsNotRetired(t *testing.T) {
	t.Parallel()
	b := newBench(t)
	b.must(ensureStable, ensureCanary, weight(5))
	if err := b.do(retireCanary); !errors.Is(err, apply.ErrCarriesTraffic) {
		t.Errorf("the error is %v", err)
	}
	if err := b.do(plan.Action{Kind: plan.ActionRetire, Role: plan.RoleStable}); !errors.Is(err, apply.ErrCarriesTraffic) {
		t.Errorf("the error is %v", err)
	}
	b.target.Rollout.Spec.Stable.Revision = newRevision
	if err := b.do(retireCanary); !errors.Is(err, apply.ErrServing) {
		t.Errorf("in place the error is %v", err)
	}
	if b.get("apps/v1", "Deployment", "cart-"+newRevision) == nil {
		t.Error("the set is gone")
	}
}

func TestForeignObjectsAreNeitherTakenOverNorDeleted(t *testing.T) {
	t.Parallel()
	theirs := object("v1", "Service", "cart-"+newRevision, map[string]any{"spec": map[string]any{}})
	theirs.SetLabels(nil)
	b := newBench(t, theirs)
	if err := b.do(ensureCanary); !errors.Is(err, apply.ErrForeign) {
		t.Errorf("applying ends with %v", err)
	}
	if err := b.do(retireCanary); !errors.Is(err, apply.ErrForeign) {
		t.Errorf("retiring ends with %v", err)
	}
	b.wantWrites()
}

func TestAnOrphanOfTheReleaseIsAdopted(t *testing.T) {
	t.Parallel()
	b := newBench(t, object("v1", "ConfigMap", "cart", nil))
	b.must(plan.Action{Kind: plan.ActionApplyShared})
	if !metav1.IsControlledBy(b.get("v1", "ConfigMap", "cart"), b.target.Release) {
		t.Error("it has no owner")
	}
}

func TestWithoutARenderOnlyTheTrafficIsTakenAway(t *testing.T) {
	t.Parallel()
	b := newBench(t)
	b.must(ensureStable, ensureCanary, weight(25))
	b.writes = nil
	b.target.Route = b.route()
	b.target.Sides.Canary = nil
	for _, action := range []plan.Action{ensureCanary, retireCanary, weight(50), {Kind: plan.ActionApplyShared}} {
		if err := b.do(action); !errors.Is(err, apply.ErrNotRendered) {
			t.Errorf("%s ends with %v", action.Kind, err)
		}
	}
	b.must(weight(0))
	if manifest.Carries(b.route(), newRevision) || !manifest.Carries(b.route(), oldRevision) {
		t.Errorf("the route is %v", b.route().Object["spec"])
	}
	b.wantWrites()
}

func TestAnAbortPutsTheSharedObjectsBack(t *testing.T) {
	t.Parallel()
	b := newBench(t)
	revision := func() string {
		v, _, _ := unstructured.NestedString(b.get("v1", "ConfigMap", "cart").Object, "data", "revision")
		return v
	}
	b.must(plan.Action{Kind: plan.ActionApplyShared})
	if revision() != newRevision {
		t.Errorf("they are of %s", revision())
	}
	b.target.Phase = v1alpha1.RolloutAborting
	b.must(plan.Action{Kind: plan.ActionApplyShared})
	if revision() != oldRevision {
		t.Errorf("after an abort they are of %s", revision())
	}
}

func TestACommandIsAnsweredOnce(t *testing.T) {
	t.Parallel()
	command := &v1alpha1.RolloutCommand{ObjectMeta: metav1.ObjectMeta{Name: "stop", Namespace: "shop", Generation: 1}}
	b := newBench(t, command)
	answer := func(outcome v1alpha1.CommandOutcome) plan.Action {
		return plan.Action{Kind: plan.ActionAnswer, Command: "stop", Outcome: outcome, Message: fmt.Sprint(outcome)}
	}
	b.must(answer(v1alpha1.OutcomeApplied), answer(v1alpha1.OutcomeRefused))
	if err := b.client.Get(t.Context(), client.ObjectKeyFromObject(command), command); err != nil {
		t.Fatal(err)
	}
	if command.Status.Outcome != v1alpha1.OutcomeApplied || command.Status.Message != "Applied" || command.Status.ObservedGeneration != 1 {
		t.Errorf("the status is %+v", command.Status)
	}
	gone := answer(v1alpha1.OutcomeApplied)
	gone.Command = "gone"
	b.must(gone)
}
