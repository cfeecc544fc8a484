package observe

import (
	"context"
	"fmt"

	corev1 "k8s.io/api/core/v1"
	"k8s.io/apimachinery/pkg/api/meta"
	metav1 "k8s.io/apimachinery/pkg/apis/meta/v1"
	"k8s.io/apimachinery/pkg/apis/meta/v1/unstructured"
	"k8s.io/apimachinery/pkg/types"
	"sigs.k8s.io/controller-runtime/pkg/client"

	"tidegate.io/tidegate/rollout/manifest"
	"tidegate.io/tidegate/rollout/plan"
	"tidegate.io/tidegate/schemas/v1alpha1"
)

const podKind = "Pod"

var podList = corev1.SchemeGroupVersion.WithKind("PodList")

// baseline compares the baseline set with what is there. It is Absent where no step asks for
// one, and follows the stable side where one does.
func (r Reader) baseline(ctx context.Context, w *World, subject Subject) plan.Set {
	if !manifest.WantsBaseline(subject.Rollout.Spec) {
		return plan.Set{Knowledge: plan.Absent}
	}
	return r.set(ctx, w, subject, manifest.Baseline(subject.Sides.Stable))
}

// traffic reads back whom the route leads to.
func (r Reader) traffic(ctx context.Context, w *World, subject Subject, phase v1alpha1.RolloutPhase) plan.Traffic {
	spec := subject.Rollout.Spec
	if manifest.Rolling(spec) {
		return plan.Traffic{}
	}
	live, err := r.Route(ctx, subject.Sides, subject.Rollout)
	if err != nil {
		w.Unread = append(w.Unread, err)
		return plan.Traffic{Lent: subject.Sides.Lent}
	}
	if live == nil {
		return plan.Traffic{Knowledge: plan.Absent, Lent: subject.Sides.Lent}
	}
	w.Route = live
	out := plan.Traffic{Knowledge: plan.Present, Lent: subject.Sides.Lent}
	if out.Settled, err = r.settled(ctx, w, subject, live); err != nil {
		w.Unread = append(w.Unread, err)
		return plan.Traffic{Lent: out.Lent}
	}
	expected := manifest.Expected(spec, &subject.Rollout.Status)
	out.Exposure, out.Split = manifest.Exposure(live, spec, expected)
	if !subject.Sides.Complete(spec) {
		// Nothing can be said, and nothing could be applied.
		out.UpToDate = true
		return out
	}
	// What is as it should be is what it should be, whatever its rules look like one by one.
	if want, err := manifest.Route(subject.Sides, spec, phase, subject.Release, expected); err == nil && !out.Split &&
		manifest.SameRoute(live, want) {
		out.Exposure, out.UpToDate = expected, manifest.UpToDate(live, want)
		return out
	}
	read := out.Exposure
	if out.Split {
		read = plan.Exposure{Weight: 1} // any between none and all
	}
	if read.Mirror < 0 {
		return out // no step has it, so nothing like it is wanted
	}
	want, err := manifest.Route(subject.Sides, spec, phase, subject.Release, read)
	if err != nil {
		w.Unread = append(w.Unread, err)
		return plan.Traffic{}
	}
	out.UpToDate = manifest.UpToDate(live, want) && manifest.SameRoute(live, want)
	return out
}

// settled says whether what live asks for is in force. Of a plain Service its endpoints tell.
func (r Reader) settled(ctx context.Context, w *World, subject Subject, live *unstructured.Unstructured) (bool, error) {
	spec := subject.Rollout.Spec
	if spec.Router != v1alpha1.RouterService {
		return manifest.Settled(live), nil
	}
	endpoints, err := r.endpoints(ctx, live)
	if err != nil {
		return false, err
	}
	available := map[string]int32{}
	if spec.Stable != nil && w.Stable.Knowledge == plan.Present {
		available[spec.Stable.Revision] = w.Stable.Available
	}
	if w.Canary.Knowledge == plan.Present {
		available[spec.Revision] = w.Canary.Available
	}
	return manifest.EndpointsSettled(live, endpoints, available), nil
}

// endpoints reads the pods that the slices of a Service list, each once, with the revisions
// that their labels name.
func (r Reader) endpoints(ctx context.Context, service *unstructured.Unstructured) ([]manifest.Endpoint, error) {
	slices, err := r.slices(ctx, service)
	if err != nil {
		return nil, err
	}
	pods := &metav1.PartialObjectMetadataList{}
	pods.SetGroupVersionKind(podList)
	if err := r.Live.List(ctx, pods, client.InNamespace(service.GetNamespace()),
		client.MatchingLabels{v1alpha1.LabelRelease: service.GetName()}); err != nil {
		return nil, fmt.Errorf("listing the pods of Release %s/%s: %w", service.GetNamespace(), service.GetName(), err)
	}
	revisions := map[types.UID]string{}
	for i := range pods.Items {
		revisions[pods.Items[i].UID] = pods.Items[i].Labels[v1alpha1.LabelRevision]
	}
	seen := map[types.UID]bool{}
	var out []manifest.Endpoint
	for i := range slices {
		for _, e := range slices[i].Endpoints {
			one := manifest.Endpoint{Ready: e.Conditions.Ready == nil || *e.Conditions.Ready}
			if ref := e.TargetRef; ref != nil && ref.Kind == podKind {
				if seen[ref.UID] {
					continue // of another family of addresses
				}
				seen[ref.UID] = true
				one.Revision = revisions[ref.UID]
			}
			out = append(out, one)
		}
	}
	return out, nil
}

// Route returns the live object that spreads the requests of the Rollout's Release, nil where
// there is none. Where the cluster does not know the kind there is none either; a write of it
// will say so.
func (r Reader) Route(ctx context.Context, sides manifest.Sides, rollout *v1alpha1.Rollout) (*unstructured.Unstructured, error) {
	live, err := r.Get(ctx, manifest.RouteKey(sides, rollout))
	if meta.IsNoMatchError(err) {
		return nil, nil //nolint:nilnil // absent is a fact, not a failure
	}
	return live, err
}
