package webhook

import (
	"context"
	"fmt"
	"slices"
	"strings"

	metav1 "k8s.io/apimachinery/pkg/apis/meta/v1"
	"k8s.io/apimachinery/pkg/apis/meta/v1/unstructured"
	"sigs.k8s.io/controller-runtime/pkg/client"
	"sigs.k8s.io/controller-runtime/pkg/webhook/admission"

	"tidegate.io/tidegate/rollout/manifest"
	"tidegate.io/tidegate/rollout/plan"
	"tidegate.io/tidegate/schemas/render"
	"tidegate.io/tidegate/schemas/v1alpha1"
)

// everybody and some are weights that stand for all others: a route is compared without its
// weights, and a plain Service selects the one revision, the other, or both.
const (
	everybody = 100
	some      = 50
)

// formsOfSteps are what the steps of the Release's Rollouts make of an object, beside what the
// templates render: a route with rules for testers, copies or a baseline, a plain Service that
// selects both revisions, the objects of a baseline set, the autoscaler of a set that keeps its pods, and the
// objects of a workload in place while the Release changes to sets or back. They are made as the rollout makes
// them, from what was judged.
func (h *gate) formsOfSteps(ctx context.Context, r admission.Request, release string) ([]map[string]any, error) {
	var list v1alpha1.RolloutList
	if err := h.Reader.List(ctx, &list, client.InNamespace(r.Namespace), client.UnsafeDisableDeepCopy); err != nil {
		return nil, fmt.Errorf("listing Rollouts: %w", err)
	}
	var out []map[string]any
	for i := range list.Items {
		rollout := &list.Items[i]
		if rollout.Spec.Release != release {
			continue
		}
		sides, ok := h.sides(ctx, rollout, list.Items)
		if !ok {
			continue // What is not known permits nothing.
		}
		if strings.Contains(r.Name, manifest.BaselineSuffix) {
			out = append(out, ofBaseline(sides, rollout, r)...)
			continue
		}
		out = append(out, ofPlace(sides, rollout, r)...)
		if r.Kind.Kind == manifest.KindAutoscaler {
			out = append(out, ofScaler(sides, rollout, r)...)
			continue
		}
		out = append(out, ofLevels(sides, rollout, r)...)
	}
	return out, nil
}

// sides renders what a Rollout pins, and what it began over.
func (h *gate) sides(ctx context.Context, rollout *v1alpha1.Rollout, all []v1alpha1.Rollout) (manifest.Sides, bool) {
	canary, err := h.pinned(ctx, rollout)
	if err != nil {
		return manifest.Sides{}, false
	}
	out := manifest.Sides{Canary: canary}
	if rollout.Spec.Stable == nil {
		return out, true
	}
	at := slices.IndexFunc(all, func(o v1alpha1.Rollout) bool { return o.Name == rollout.Spec.Stable.Rollout })
	if at < 0 {
		return out, false
	}
	out.Stable, err = h.pinned(ctx, &all[at])
	return manifest.Apart(out, rollout.Spec), err == nil
}

// ofPlace is an object of a workload in place while its Release changes to sets or back: what selects its pods
// selects those of its revision alone.
func ofPlace(sides manifest.Sides, rollout *v1alpha1.Rollout, r admission.Request) []map[string]any {
	if !rollout.Spec.Changes() {
		return nil
	}
	place := sides.Canary
	if rollout.Spec.Strategy.Type.InSets() {
		place = sides.Stable
	}
	if o := rendering(&render.Result{Set: place.Set}, r); o != nil {
		return []map[string]any{o}
	}
	return nil
}

// ofBaseline is the object of a Rollout's baseline set that a request is about.
func ofBaseline(sides manifest.Sides, rollout *v1alpha1.Rollout, r admission.Request) []map[string]any {
	if sides.Stable == nil || !manifest.WantsBaseline(rollout.Spec) {
		return nil
	}
	if o := rendering(manifest.Baseline(sides.Stable), r); o != nil {
		return []map[string]any{o}
	}
	return nil
}

// ofLevels is what spreads the requests, in each way that a step of the Rollout wants it.
func ofLevels(sides manifest.Sides, rollout *v1alpha1.Rollout, r admission.Request) []map[string]any {
	if !isRoute(sides.Canary, r) && !isRoute(sides.Stable, r) {
		return nil
	}
	owner := &v1alpha1.Release{ObjectMeta: metav1.ObjectMeta{Namespace: rollout.Namespace, Name: rollout.Spec.Release}}
	seen := map[plan.Exposure]bool{}
	var out []map[string]any
	for _, level := range plan.Levels(plan.Walked(rollout.Spec)) {
		e := level.Exposure
		if e.Weight != 0 && e.Weight != everybody {
			e.Weight = some
		}
		if seen[e] {
			continue
		}
		seen[e] = true
		route, err := manifest.Route(sides, rollout.Spec, v1alpha1.RolloutProgressing, owner, e)
		if err == nil {
			out = append(out, route.Object)
		}
	}
	return out
}

func isRoute(side *render.Result, r admission.Request) bool {
	return side != nil && side.Route != nil && rendering(&render.Result{Set: []*unstructured.Unstructured{side.Route}}, r) != nil
}
