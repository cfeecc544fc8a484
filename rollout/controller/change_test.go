package controller

import (
	"cmp"
	"context"
	"errors"
	"fmt"
	"slices"
	"strings"
	"testing"
	"time"

	metav1 "k8s.io/apimachinery/pkg/apis/meta/v1"
	"k8s.io/apimachinery/pkg/apis/meta/v1/unstructured"
	"k8s.io/apimachinery/pkg/runtime"
	"sigs.k8s.io/controller-runtime/pkg/client"

	"tidegate.io/tidegate/rollout/manifest"
	"tidegate.io/tidegate/schemas/render"
	"tidegate.io/tidegate/schemas/v1alpha1"
)

// cartBehind is a Service of the Release's name.
func cartBehind(port int64) *unstructured.Unstructured {
	return &unstructured.Unstructured{Object: map[string]any{
		"apiVersion": "v1", "kind": "Service", "metadata": map[string]any{"name": "cart"},
		"spec": map[string]any{
			"selector": map[string]any{v1alpha1.LabelRelease: "cart"}, "ports": []any{map[string]any{"port": port}},
		},
	}}
}

// behindAService is a revision by the strategy behind a plain Service on the port.
func behindAService(word string, strategy v1alpha1.StrategyType, port int64) *render.Result {
	out := rendersA(manifest.KindDeployment, strategy)
	out.Revision, out.Digest = "rev-"+word, "sha256:"+word
	labels := map[string]any{v1alpha1.LabelRelease: "cart", v1alpha1.LabelRevision: out.Revision}
	out.Set[0].Object["spec"] = map[string]any{"template": map[string]any{"metadata": map[string]any{"labels": labels}}}
	if strategy.InSets() {
		out.Router, out.Route = v1alpha1.RouterService, cartBehind(port)
	} else {
		out.Shared = []*unstructured.Unstructured{cartBehind(port)}
	}
	return out
}

func TestAReleaseChangesBetweenSetsAndAWorkloadInPlace(t *testing.T) {
	t.Parallel()
	by := func(strategy v1alpha1.StrategyType, workload string, router v1alpha1.Router) func(*v1alpha1.Rollout) {
		return func(r *v1alpha1.Rollout) {
			r.Spec.Strategy = v1alpha1.Strategy{Type: strategy}
			r.Spec.Workload, r.Spec.Router = workload, router
			if strategy.InSets() {
				r.Spec.Strategy.DrainDelay.Duration = 20 * time.Second
			}
			if strategy == v1alpha1.StrategyBlueGreen {
				r.Spec.Strategy.ScaleDownDelay = &metav1.Duration{Duration: time.Minute}
			}
		}
	}
	for name, c := range map[string]struct {
		served func(*v1alpha1.Rollout)
		is     v1alpha1.StrategyType
		kind   string
		router v1alpha1.Router
		// by is the router that the Rollout has; the plain Service if empty.
		by     v1alpha1.Router
		refuse string
		drain  time.Duration
		warm   time.Duration
	}{
		"from a workload in place to sets behind a Service": {
			served: by(v1alpha1.StrategyRolling, "Deployment", ""), is: v1alpha1.StrategyBlueGreen,
		},
		"from sets behind a Service to a workload in place, with the drain of the sets": {
			served: by(v1alpha1.StrategyCanary, "Deployment", v1alpha1.RouterService), is: v1alpha1.StrategyRolling, drain: 20 * time.Second, warm: 20 * time.Second,
		},
		"from blueGreen, with its warmth": {
			served: by(v1alpha1.StrategyBlueGreen, "Deployment", v1alpha1.RouterService), is: v1alpha1.StrategyRolling, drain: 20 * time.Second, warm: time.Minute,
		},
		"a StatefulSet does not become sets": {
			served: by(v1alpha1.StrategyRolling, "StatefulSet", ""), is: v1alpha1.StrategyCanary, refuse: "only a Deployment can change, found a StatefulSet",
		},
		"nor sets a DaemonSet": {
			served: by(v1alpha1.StrategyCanary, "Deployment", v1alpha1.RouterService), is: v1alpha1.StrategyRolling, kind: "DaemonSet", refuse: "only a Deployment can change, found a DaemonSet",
		},
		"sets behind a route become a workload in place, which keeps the route meanwhile": {
			served: by(v1alpha1.StrategyCanary, "Deployment", v1alpha1.RouterGRPCRoute), is: v1alpha1.StrategyRolling, by: v1alpha1.RouterGRPCRoute, drain: 20 * time.Second, warm: 20 * time.Second,
		},
		"so do sets of before Rollouts said what spreads the requests": {
			served: by(v1alpha1.StrategyCanary, "Deployment", ""), is: v1alpha1.StrategyRolling, by: v1alpha1.RouterHTTPRoute, drain: 20 * time.Second, warm: 20 * time.Second,
		},
		"and a workload in place sets behind a route": {
			served: by(v1alpha1.StrategyRolling, "Deployment", ""), is: v1alpha1.StrategyCanary, router: v1alpha1.RouterGRPCRoute, by: v1alpha1.RouterGRPCRoute,
		},
	} {
		t.Run(name, func(t *testing.T) {
			t.Parallel()
			served := attempt(1, "one", v1alpha1.RolloutSucceeded, c.served)
			w := asked(2, "two", "web-2")
			w.result = behindAService("two", c.is, 80)
			if c.kind != "" {
				w.result.Set[0].SetKind(c.kind)
			}
			if c.router != "" {
				w.result.Router = c.router
			}
			next, err := nextRollout(w, []v1alpha1.Rollout{served}, 2)
			if c.refuse != "" {
				cause, stalled := causeOf(err)
				if next != nil || cause == nil || !stalled || cause.Code != ReasonStrategyChange || !strings.Contains(cause.Message, c.refuse) {
					t.Errorf("got %+v, %v", next, err)
				}
				return
			}
			if err != nil || next == nil {
				t.Fatalf("got %+v, %v", next, err)
			}
			s := next.Spec
			if !s.Changes() || !s.InSets() || s.Router != cmp.Or(c.by, v1alpha1.RouterService) || s.Stable.Strategy != served.Spec.Strategy.Type {
				t.Errorf("it is over %+v, by the router %q", s.Stable, s.Router)
			}
			if !c.is.InSets() && (s.Strategy.DrainDelay.Duration != c.drain || s.Strategy.Warm() != c.warm) {
				t.Errorf("it drains for %s and keeps the old set for %s", s.Strategy.DrainDelay.Duration, s.Strategy.Warm())
			}
		})
	}
}

func TestAnUndoInPlaceForgetsWhatAChangeHasPinned(t *testing.T) {
	t.Parallel()
	served := attempt(3, "three", v1alpha1.RolloutSucceeded, func(r *v1alpha1.Rollout) {
		r.Spec.Strategy.Type, r.Spec.Workload = v1alpha1.StrategyRolling, manifest.KindDeployment
	})
	source := attempt(2, "two", v1alpha1.RolloutSucceeded, func(r *v1alpha1.Rollout) {
		r.Spec.Strategy = v1alpha1.Strategy{
			Type: v1alpha1.StrategyRolling, DrainDelay: metav1.Duration{Duration: time.Minute}, ScaleDownDelay: &metav1.Duration{Duration: time.Hour},
		}
	})
	w := asked(4, "two", "web-2")
	w.result, w.source = behindAService("two", v1alpha1.StrategyRolling, 80), &source
	next, err := nextRollout(w, []v1alpha1.Rollout{source, served}, 4)
	if err != nil {
		t.Fatal(err)
	}
	if s := next.Spec; s.Changes() || s.Stable.Strategy != "" || s.Router != "" || s.Strategy.DrainDelay.Duration != 0 || s.Strategy.ScaleDownDelay != nil {
		t.Errorf("it is %+v over %+v", s.Strategy, s.Stable)
	}
}

func TestTheWarmSetsOfAChangeAreNotWaitedFor(t *testing.T) {
	t.Parallel()
	warm := attempt(2, "two", v1alpha1.RolloutPromoting, func(r *v1alpha1.Rollout) {
		r.Spec.Strategy.Type = v1alpha1.StrategyRolling
		r.Spec.Stable = &v1alpha1.StableReference{Rollout: "cart-1", Revision: "rev-one", Strategy: v1alpha1.StrategyCanary}
		r.Status.Weight = 100
	})
	if aboutToEnd(&warm) {
		t.Error("they are")
	}
	warm.Status.Retiring = true
	if !aboutToEnd(&warm) {
		t.Error("those that are going are not")
	}
}

func TestAChangeThatWouldLoseRequestsIsRefused(t *testing.T) {
	t.Parallel()
	for name, c := range map[string]struct {
		is     v1alpha1.StrategyType
		port   int64
		refuse string
	}{
		"behind the same Service it is made":  {v1alpha1.StrategyCanary, 80, ""},
		"a Service with other ports stops it": {v1alpha1.StrategyCanary, 81, "requests could be lost in between, so nothing is changed: wanted the Service cart with the same ports on either side"},
		"what keeps its way is not looked at": {v1alpha1.StrategyRolling, 81, ""},
	} {
		t.Run(name, func(t *testing.T) {
			t.Parallel()
			served := attempt(1, "one", v1alpha1.RolloutSucceeded, func(r *v1alpha1.Rollout) {
				r.Spec.Strategy.Type, r.Spec.Workload = v1alpha1.StrategyRolling, manifest.KindDeployment
			})
			w := asked(2, "two", "web-2")
			w.result = behindAService("two", c.is, c.port)
			rollouts := []v1alpha1.Rollout{served}
			wanted, err := nextRollout(w, rollouts, 2)
			if err != nil {
				t.Fatal(err)
			}
			cluster := newCluster(t, aNewCart()...)
			loop := &releaseLoop{client: cluster, live: cluster, renderer: always(*behindAService("one", v1alpha1.StrategyRolling, 80))}
			err = loop.fits(t.Context(), wanted, w.result, rollouts)
			cause, stalled := causeOf(err)
			switch {
			case c.refuse == "" && err != nil:
				t.Error(err)
			case c.refuse != "" && (cause == nil || !stalled || cause.Code != ReasonStrategyChange || !strings.Contains(cause.Message, c.refuse)):
				t.Errorf("got %v", err)
			}
		})
	}
}

// byWord renders what the values name.
type byWord map[string]*render.Result

func (b byWord) Render(_ context.Context, _ *v1alpha1.TemplateRevision, values *runtime.RawExtension, _ render.Context) (*render.Result, error) {
	for word, result := range b {
		if strings.Contains(string(values.Raw), `"`+word+`"`) {
			return result, nil
		}
	}
	return nil, fmt.Errorf("nothing is known of %s", values.Raw)
}

// The Release is at "two", by canary; "one" is in place.
func TestAChangeIsMadeOrRefusedByWhateverAsksForIt(t *testing.T) {
	t.Parallel()
	in := func(strategy v1alpha1.StrategyType) func(*v1alpha1.Rollout) {
		return func(r *v1alpha1.Rollout) {
			r.Spec.Strategy.Type, r.Spec.Workload = strategy, manifest.KindDeployment
			if strategy.InSets() {
				r.Spec.Router = v1alpha1.RouterService
			}
		}
	}
	for name, c := range map[string]struct {
		rollouts []v1alpha1.Rollout
		made     string
	}{
		"an applied Release": {
			[]v1alpha1.Rollout{attempt(1, "one", v1alpha1.RolloutSucceeded, in(v1alpha1.StrategyRolling))}, "cart-2 rev-two",
		},
		"an undo": {
			[]v1alpha1.Rollout{
				attempt(1, "one", v1alpha1.RolloutSucceeded, in(v1alpha1.StrategyRolling), broughtBack("c")),
				attempt(2, "two", v1alpha1.RolloutSucceeded, in(v1alpha1.StrategyCanary)),
			}, "cart-3 rev-one",
		},
	} {
		for port, fits := range map[int64]bool{80: true, 81: false} {
			t.Run(fmt.Sprintf("%s, the Service on port %d", name, port), func(t *testing.T) {
				t.Parallel()
				command := &v1alpha1.RolloutCommand{ObjectMeta: metav1.ObjectMeta{Namespace: "shop", Name: "c"}, Spec: v1alpha1.RolloutCommandSpec{Rollout: "cart-1"}}
				command.Status.Outcome = v1alpha1.OutcomeApplied
				k := newKeeper(t, slices.Clone(c.rollouts), command)
				k.loop.renderer = byWord{
					"one": behindAService("one", v1alpha1.StrategyRolling, 80), "two": behindAService("two", v1alpha1.StrategyCanary, port),
				}
				for range 3 {
					k.reconcile()
				}
				names := k.names()
				made := len(names) == len(c.rollouts)+1
				if made != fits || made && names[len(c.rollouts)] != c.made {
					t.Errorf("the Rollouts are %v, want a change: %t", names, fits)
				}
				var release v1alpha1.Release
				var said v1alpha1.RolloutCommand
				if err := errors.Join(k.Get(t.Context(), k.key, &release), k.Get(t.Context(), client.ObjectKeyFromObject(command), &said)); err != nil {
					t.Fatal(err)
				}
				if all := release.Status.Message + said.Status.Message; !fits && !strings.Contains(all, "requests could be lost in between, so nothing is changed") {
					t.Errorf("it is told %q", all)
				}
			})
		}
	}
}
