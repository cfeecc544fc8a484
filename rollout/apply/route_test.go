package apply_test

import (
	"context"
	"errors"
	"testing"

	"k8s.io/apimachinery/pkg/api/meta"
	"k8s.io/apimachinery/pkg/apis/meta/v1/unstructured"
	"k8s.io/apimachinery/pkg/runtime"
	"k8s.io/apimachinery/pkg/runtime/schema"
	"sigs.k8s.io/controller-runtime/pkg/client"
	"sigs.k8s.io/controller-runtime/pkg/client/interceptor"

	"tidegate.io/tidegate/rollout/apply"
	"tidegate.io/tidegate/rollout/manifest"
	"tidegate.io/tidegate/rollout/plan"
	"tidegate.io/tidegate/schemas/v1alpha1"
)

func exposure(e plan.Exposure) plan.Action {
	return plan.Action{Kind: plan.ActionSetWeight, Exposure: e}
}

// testingSteps are steps for testers (1), copies (2) and a baseline (3).
func testingSteps() []v1alpha1.Step {
	yes, on := "yes", true
	return []v1alpha1.Step{
		{SetHeaderRoute: &v1alpha1.HeaderRoute{Matches: []v1alpha1.RequestMatch{{Headers: []v1alpha1.ValueMatch{{Name: "x-tester", Exact: &yes}}}}}},
		{SetMirrorRoute: &v1alpha1.MirrorRoute{Percent: 20}},
		{SetBaseline: &on},
	}
}

func (b *bench) exposed() plan.Exposure {
	b.t.Helper()
	e, _ := manifest.Exposure(b.route(), b.target.Rollout.Spec, plan.Exposure{})
	return e
}

func withTesting(t *testing.T) *bench {
	t.Helper()
	b := newBench(t)
	b.target.Rollout.Spec.Replicas, b.target.Rollout.Spec.Stable.Replicas = 4, 4
	b.target.Rollout.Spec.Strategy = v1alpha1.Strategy{Type: v1alpha1.StrategyCanary, Steps: testingSteps()}
	return b
}

func TestExposureIsAppliedWholeAndReadBack(t *testing.T) {
	t.Parallel()
	b := withTesting(t)
	for _, e := range []plan.Exposure{{}, {Header: 1}, {Header: 1, Mirror: 2}, {Weight: 10, Baseline: 10, Header: 1}, {Weight: 60}, {Weight: 100}, {}} {
		b.must(exposure(e))
		if got := b.exposed(); got != e {
			t.Fatalf("applied %+v, read back %+v", e, got)
		}
		b.writes = nil
		b.must(exposure(e))
		b.wantWrites()
	}
}

func TestABaselineSetComesAndGoes(t *testing.T) {
	t.Parallel()
	b := withTesting(t)
	name := "cart-" + oldRevision + manifest.BaselineSuffix
	ensure := plan.Action{Kind: plan.ActionEnsureSet, Role: plan.RoleBaseline, Replicas: 2}
	retire := plan.Action{Kind: plan.ActionRetire, Role: plan.RoleBaseline}
	b.must(ensureStable, ensureCanary)
	b.writes = nil
	b.must(ensure)
	b.wantWrites("apply Service", "apply Deployment")
	d := b.get("apps/v1", "Deployment", name)
	if d == nil {
		t.Fatal("there is no baseline set")
	}
	if n, _, _ := unstructured.NestedInt64(d.Object, "spec", "replicas"); n != 2 {
		t.Errorf("it has %d pods", n)
	}
	b.must(exposure(plan.Exposure{Weight: 10, Baseline: 10}))
	if err := b.do(retire); !errors.Is(err, apply.ErrCarriesTraffic) {
		t.Errorf("with traffic it is retired: %v", err)
	}
	b.must(exposure(plan.Exposure{Weight: 10}), retire)
	if b.get("apps/v1", "Deployment", name) != nil || b.get("v1", "Service", name) != nil {
		t.Error("it is still there")
	}
	if b.get("apps/v1", "Deployment", "cart-"+oldRevision) == nil {
		t.Error("the stable set went with it")
	}
	b.target.Sides.Stable = nil
	if err := b.do(ensure); !errors.Is(err, apply.ErrNotRendered) {
		t.Errorf("without a stable side: %v", err)
	}
}

func TestASetIsNotRetiredWhileRequestsAreCopiedToIt(t *testing.T) {
	t.Parallel()
	for name, e := range map[string]plan.Exposure{"testers": {Header: 1}, "copies": {Mirror: 2}} {
		t.Run(name, func(t *testing.T) {
			t.Parallel()
			b := withTesting(t)
			b.must(ensureStable, ensureCanary, exposure(e))
			if err := b.do(retireCanary); !errors.Is(err, apply.ErrCarriesTraffic) {
				t.Errorf("got %v", err)
			}
		})
	}
}

// answering puts what the API server would make of an apply in the place of the fake's.
func (b *bench) answering(with func(*unstructured.Unstructured) error) {
	inner := b.client.(client.WithWatch)
	b.client = interceptor.NewClient(inner, interceptor.Funcs{
		Apply: func(ctx context.Context, c client.WithWatch, obj runtime.ApplyConfiguration, opts ...client.ApplyOption) error {
			if err := c.Apply(ctx, obj, opts...); err != nil {
				return err
			}
			answer, ok := obj.(interface{ UnstructuredContent() map[string]any })
			if !ok {
				b.t.Fatalf("%T has no content", obj)
			}
			return with(&unstructured.Unstructured{Object: answer.UnstructuredContent()})
		},
	})
}

func TestARouteThatTheServerTakesInPartIsRefused(t *testing.T) {
	t.Parallel()
	b := withTesting(t)
	b.answering(func(live *unstructured.Unstructured) error {
		rules, _, _ := unstructured.NestedSlice(live.Object, "spec", "rules")
		filter := rules[0].(map[string]any)["filters"].([]any)[0].(map[string]any)
		unstructured.RemoveNestedField(filter, "requestMirror", "percent")
		return unstructured.SetNestedSlice(live.Object, rules, "spec", "rules")
	})
	if err := b.do(exposure(plan.Exposure{Mirror: 2})); !errors.Is(err, apply.ErrDropped) {
		t.Errorf("got %v, want that a part was dropped", err)
	}
}

func TestAKindThatTheClusterDoesNotHaveIsSaid(t *testing.T) {
	t.Parallel()
	b := withTesting(t)
	b.fail["apply HTTPRoute"] = &meta.NoKindMatchError{GroupKind: schema.GroupKind{Kind: "HTTPRoute"}}
	if err := b.do(weight(10)); !errors.Is(err, apply.ErrNoRouter) {
		t.Errorf("got %v", err)
	}
}

func TestAPlainServiceIsSelectedFromAndKept(t *testing.T) {
	t.Parallel()
	b := newBench(t)
	b.target.Rollout.Spec.Router = v1alpha1.RouterService
	service := func(revision string) *unstructured.Unstructured {
		return object("v1", "Service", "cart", map[string]any{"spec": map[string]any{
			"ports":    []any{map[string]any{"port": int64(80)}},
			"selector": map[string]any{v1alpha1.LabelRelease: "cart", v1alpha1.LabelRevision: revision},
		}})
	}
	b.target.Sides.Stable.Route, b.target.Sides.Canary.Route = service(oldRevision), service(newRevision)
	selected := func() string {
		revision, _ := manifest.Selected(b.get("v1", "Service", "cart"))
		return revision
	}
	b.must(ensureStable, ensureCanary, weight(0))
	if got := selected(); got != oldRevision {
		t.Errorf("at 0 it selects %q", got)
	}
	b.must(weight(30))
	if got := selected(); got != "" {
		t.Errorf("in between it selects %q", got)
	}
	b.writes = nil
	b.must(weight(40))
	b.wantWrites() // the pods carry it
	for _, role := range []plan.Role{plan.RoleStable, plan.RoleCanary} {
		if err := b.do(plan.Action{Kind: plan.ActionRetire, Role: role}); !errors.Is(err, apply.ErrCarriesTraffic) {
			t.Errorf("the %s set is retired while it is selected: %v", role, err)
		}
	}
	b.must(weight(100))
	if got := selected(); got != newRevision {
		t.Errorf("at 100 it selects %q", got)
	}
	b.must(plan.Action{Kind: plan.ActionRetire, Role: plan.RoleStable})
}
