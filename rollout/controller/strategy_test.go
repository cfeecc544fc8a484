package controller

import (
	"context"
	"errors"
	"strings"
	"testing"
	"time"

	"k8s.io/apimachinery/pkg/apis/meta/v1/unstructured"

	"tidegate.io/tidegate/rollout/manifest"
	"tidegate.io/tidegate/rollout/observe"
	"tidegate.io/tidegate/rollout/plan"
	"tidegate.io/tidegate/schemas/render"
	"tidegate.io/tidegate/schemas/v1alpha1"
)

func rendersA(kind string, strategy v1alpha1.StrategyType) *render.Result {
	apiVersion := "apps/v1"
	if kind == manifest.KindCronJob {
		apiVersion = "batch/v1"
	}
	return &render.Result{
		Revision: "bbbbbbbbbb", Digest: "sha256:b", Strategy: v1alpha1.Strategy{Type: strategy},
		Set: []*unstructured.Unstructured{{Object: map[string]any{
			"apiVersion": apiVersion, "kind": kind,
			"metadata": map[string]any{"name": "cart", "labels": map[string]any{v1alpha1.LabelTemplate: "web"}},
		}}},
	}
}

func TestAReleaseKeepsTheWayInWhichItServes(t *testing.T) {
	t.Parallel()
	for name, c := range map[string]struct {
		was    v1alpha1.StrategyType
		kind   string
		is     v1alpha1.StrategyType
		into   string
		refuse string
	}{
		"blueGreen becomes canary":           {v1alpha1.StrategyBlueGreen, "Deployment", v1alpha1.StrategyCanary, "Deployment", ""},
		"canary becomes blueGreen":           {v1alpha1.StrategyCanary, "Deployment", v1alpha1.StrategyBlueGreen, "Deployment", ""},
		"a worker stays one":                 {v1alpha1.StrategyRolling, "Deployment", v1alpha1.StrategyRolling, "Deployment", ""},
		"sets become a workload in place":    {v1alpha1.StrategyCanary, "Deployment", v1alpha1.StrategyRolling, "Deployment", ""},
		"but no StatefulSet":                 {v1alpha1.StrategyCanary, "Deployment", v1alpha1.StrategyRolling, "StatefulSet", "rolls out by rolling, and what serves came by canary"},
		"a workload in place becomes sets":   {v1alpha1.StrategyRolling, "Deployment", v1alpha1.StrategyBlueGreen, "Deployment", ""},
		"a workload in place keeps its kind": {v1alpha1.StrategyRolling, "Deployment", v1alpha1.StrategyRolling, "CronJob", "now renders a CronJob, and what serves is a Deployment"},
		"a Rollout of before kinds were kept": {
			v1alpha1.StrategyCanary, "", v1alpha1.StrategyCanary, "Deployment", "",
		},
	} {
		t.Run(name, func(t *testing.T) {
			t.Parallel()
			served := v1alpha1.Rollout{Spec: v1alpha1.RolloutSpec{
				Release: "cart", Number: 1, ReleaseGeneration: 1, Revision: "aaaaaaaaaa", Digest: "sha256:a",
				Strategy: v1alpha1.Strategy{Type: c.was}, Workload: c.kind,
			}, Status: v1alpha1.RolloutStatus{Phase: v1alpha1.RolloutSucceeded}}
			release := &v1alpha1.Release{}
			release.Name, release.Generation = "cart", 2
			next, err := nextRollout(wish{release: release, templateRevision: "web-2", result: rendersA(c.into, c.is)}, []v1alpha1.Rollout{served}, 2)
			cause, stalled := causeOf(err)
			switch {
			case c.refuse == "" && (err != nil || next == nil || next.Spec.Workload != c.into):
				t.Errorf("got %+v, %v", next, err)
			case c.refuse != "" && (next != nil || cause == nil || !stalled || cause.Code != ReasonStrategyChange || !strings.Contains(cause.Message, c.refuse)):
				t.Errorf("got %+v, %v", next, err)
			}
		})
	}
}

func TestAReleaseKeepsItsRouter(t *testing.T) {
	t.Parallel()
	for name, c := range map[string]struct {
		was, is v1alpha1.Router
		refuse  string
	}{
		"a route stays one": {v1alpha1.RouterHTTPRoute, v1alpha1.RouterHTTPRoute, ""},
		"a Rollout of before routers were kept had a route": {"", v1alpha1.RouterHTTPRoute, ""},
		"a plain Service stays one":                         {v1alpha1.RouterService, v1alpha1.RouterService, ""},
		"a plain Service does not become a route": {
			v1alpha1.RouterService, v1alpha1.RouterHTTPRoute, "spreads the requests by HTTPRoute, and those of what serves come by Service",
		},
		"a route does not become a VirtualService": {
			"", v1alpha1.RouterVirtualService, "spreads the requests by VirtualService, and those of what serves come by HTTPRoute",
		},
	} {
		t.Run(name, func(t *testing.T) {
			t.Parallel()
			served := attempt(1, "one", v1alpha1.RolloutSucceeded, func(r *v1alpha1.Rollout) {
				r.Spec.Strategy.Type, r.Spec.Router = v1alpha1.StrategyCanary, c.was
			})
			w := asked(2, "two", "web-2")
			w.result.Strategy.Type, w.result.Router = v1alpha1.StrategyBlueGreen, c.is
			next, err := nextRollout(w, []v1alpha1.Rollout{served}, 2)
			cause, stalled := causeOf(err)
			switch {
			case c.refuse == "" && (err != nil || next == nil || next.Spec.Router != c.is):
				t.Errorf("got %+v, %v", next, err)
			case c.refuse != "" && (next != nil || cause == nil || !stalled || cause.Code != ReasonRouterChange || !strings.Contains(cause.Message, c.refuse)):
				t.Errorf("got %+v, %v", next, err)
			}
		})
	}
}

func TestANewSpecDoesNotWaitForAWarmSet(t *testing.T) {
	t.Parallel()
	warm := &v1alpha1.Rollout{
		Spec:   v1alpha1.RolloutSpec{Strategy: v1alpha1.Strategy{Type: v1alpha1.StrategyBlueGreen}},
		Status: v1alpha1.RolloutStatus{Phase: v1alpha1.RolloutPromoting, Weight: 100},
	}
	if aboutToEnd(warm) {
		t.Error("a warm blueGreen set is waited for")
	}
	warm.Status.Retiring = true
	if !aboutToEnd(warm) {
		t.Error("a set that is going is not waited for")
	}
}

type promotionFunc func(template string, step, weight int32) (PromotionVerdict, error)

func (f promotionFunc) Allowed(_ context.Context, _ *v1alpha1.Rollout, template string, step, weight int32, _ time.Time) (PromotionVerdict, error) {
	return f(template, step, weight)
}

func TestPermission(t *testing.T) {
	t.Parallel()
	some, all := int32(10), int32(100)
	rises := plan.Observation{
		Spec: v1alpha1.RolloutSpec{
			Revision: "bbbbbbbbbb", Replicas: 1, Stable: &v1alpha1.StableReference{Revision: "aaaaaaaaaa", Replicas: 1},
			Strategy: v1alpha1.Strategy{Type: v1alpha1.StrategyCanary, Steps: []v1alpha1.Step{{SetWeight: &some}, {SetWeight: &all}}},
		},
		Traffic: plan.Traffic{Knowledge: plan.Present, Settled: true, UpToDate: true}, Shared: plan.Present,
		Stable: plan.Set{Knowledge: plan.Present, UpToDate: true, Desired: 1, Available: 1},
		Canary: plan.Set{Knowledge: plan.Present, UpToDate: true, Desired: 1, Available: 1},
	}
	waits := rises
	waits.Canary.Available = 0
	falls := rises
	falls.Status.Phase = v1alpha1.RolloutAborting
	allowed := plan.Promotion{Knowledge: plan.Present, Allowed: true}
	later := time.Date(2026, 3, 1, 0, 0, 0, 0, time.UTC)
	for name, c := range map[string]struct {
		promotion Promotion
		seen      plan.Observation
		want      plan.Promotion
	}{
		"without policies everything is allowed": {nil, rises, allowed},
		"nothing is asked where nothing rises": {
			promotionFunc(func(string, int32, int32) (PromotionVerdict, error) { return PromotionVerdict{}, errors.New("asked") }), falls, allowed,
		},
		"nothing is asked while pods are waited for": {
			promotionFunc(func(string, int32, int32) (PromotionVerdict, error) { return PromotionVerdict{}, errors.New("asked") }), waits, allowed,
		},
		"a refusal is handed on": {
			promotionFunc(func(template string, step, weight int32) (PromotionVerdict, error) {
				if template != "web" || step != 1 || weight != 10 {
					return PromotionVerdict{}, errors.New("asked about something else")
				}
				return PromotionVerdict{Code: "TG-X", Message: "frozen", Until: later}, nil
			}), rises, plan.Promotion{Knowledge: plan.Present, Code: "TG-X", Message: "frozen", Until: later},
		},
		"a failure is unknown": {
			promotionFunc(func(string, int32, int32) (PromotionVerdict, error) {
				return PromotionVerdict{Allowed: true}, errors.New("no policies read yet")
			}), rises, plan.Promotion{Message: "no policies read yet"},
		},
	} {
		t.Run(name, func(t *testing.T) {
			t.Parallel()
			subject := &observe.Subject{
				Release: &v1alpha1.Release{}, Rollout: &v1alpha1.Rollout{},
				Sides: manifest.Sides{Canary: rendersA("Deployment", v1alpha1.StrategyCanary)},
			}
			l := &rolloutLoop{promotion: c.promotion}
			if got := l.permission(t.Context(), subject, c.seen, later); got != c.want {
				t.Errorf("got %+v, want %+v", got, c.want)
			}
		})
	}
}
