package controller

import (
	"bytes"
	"cmp"
	"encoding/json"
	"fmt"

	metav1 "k8s.io/apimachinery/pkg/apis/meta/v1"
	"k8s.io/apimachinery/pkg/runtime"
	"k8s.io/apimachinery/pkg/types"

	"tidegate.io/tidegate/rollout/manifest"
	"tidegate.io/tidegate/rollout/plan"
	"tidegate.io/tidegate/schemas/render"
	"tidegate.io/tidegate/schemas/v1alpha1"
)

// wish is what is to be brought into service: what the spec of a Release asks for, or what
// a person's command asks for in its place.
type wish struct {
	release *v1alpha1.Release
	// templateRevision is the name of the TemplateRevision that was rendered with.
	templateRevision string
	result           *render.Result
	// source is the Rollout whose inputs are pinned once more; nil where they are the spec's.
	source *v1alpha1.Rollout
	// restores says whose revision a person has brought back; nil where nobody did.
	restores *v1alpha1.Restoration
}

// nextRollout decides whether the wish needs another Rollout, given those of the Release,
// by number, and the number that another one would have. It returns what to create, or nil
// and nil when the newest Rollout stands, or a waiting error that says why not now.
func nextRollout(w wish, rollouts []v1alpha1.Rollout, number int64) (*v1alpha1.Rollout, error) {
	if len(rollouts) == 0 {
		return newRollout(w, rollouts, number), nil
	}
	newest := &rollouts[len(rollouts)-1]
	generation := w.release.Generation
	switch {
	// The spec that was read is older than one that was rolled out already.
	case generation < newest.AdmittedAt():
		return nil, fmt.Errorf("reading Release %s: %w: Rollout %s is for a newer generation", w.release.Name, errOvertaken, newest.Name)

	// A person has brought another revision back, and nobody has applied the Release since.
	case newest.Spec.Restores != nil && generation == newest.AdmittedAt():
		return nil, nil //nolint:nilnil // nothing to create is an answer

	// The newest Rollout is about exactly this, and stands.
	case newest.Spec.Digest == w.result.Digest && !again(newest, generation):
		return nil, nil //nolint:nilnil // nothing to create is an answer

	// Nothing that people or the template's owner write has changed, so the engine has.
	case newest.Spec.Digest != w.result.Digest && generation == newest.AdmittedAt() &&
		newest.Spec.TemplateRevision == w.templateRevision && sameValues(newest.Spec.Values, w.release.Spec.Values):
		return nil, waitingf(ReasonEngineDrift,
			"the spec now renders to revision %s, with the inputs that gave %s when Rollout %s was judged; nothing is applied. Apply the Release with a change to have the new output judged",
			w.result.Revision, newest.Spec.Revision, newest.Name)

	// This very revision was rejected, and nobody has applied the Release since. Publishing
	// a template that renders something else around it is no reason to expose it again.
	case rejected(newest) && generation == newest.AdmittedAt() && newest.Spec.Revision == w.result.Revision:
		return nil, nil //nolint:nilnil // nothing to create is an answer
	}
	return begin(w, rollouts, number)
}

// begin returns the Rollout of a wish, unless it has to wait or cannot be.
func begin(w wish, rollouts []v1alpha1.Rollout, number int64) (*v1alpha1.Rollout, error) {
	// The old set is going, so that the newest revision is what the next one will be over.
	if newest := &rollouts[len(rollouts)-1]; aboutToEnd(newest) {
		return nil, waitingf(ReasonRolloutQueued, "revision %s waits until the promotion of %s has ended",
			w.result.Revision, newest.Spec.Revision)
	}
	if err := sameServing(w, newestSucceeded(rollouts)); err != nil {
		return nil, err
	}
	return newRollout(w, rollouts, number), nil
}

// sameServing refuses to go from one router to another, and from one kind of workload in place to
// another: there is no step between the two at which both serve. From sets to a workload in place, or
// back, a Release goes with Deployments; see manifest.Fit for the rest.
func sameServing(w wish, stable *v1alpha1.Rollout) error {
	if stable == nil {
		return nil
	}
	is, was := w.result.Strategy.Type, stable.Spec.Strategy.Type
	kind := manifest.WorkloadKind(w.result)
	switch {
	case is.InSets() != was.InSets():
		place := stable.Spec.Workload
		if was.InSets() {
			place = kind
		}
		return betweenWays(is, was, place)
	case !is.InSets() && kind != stable.Spec.Workload:
		return terminalf(ReasonStrategyChange,
			"the template now renders a %s, and what serves is a %s; a workload that is changed in place keeps its kind, so nothing is changed. Keep to %s, or make another Release of another name and move over to it",
			kind, stable.Spec.Workload, stable.Spec.Workload)
	case is.InSets() && routed(routerOf(w.result)) != routed(stable.Spec.Router):
		return terminalf(ReasonRouterChange,
			"the template now spreads the requests by %s, and those of what serves come by %s; no weight can be moved between the two, so nothing is changed. Keep to %s, or make another Release of another name and move over to it",
			routed(routerOf(w.result)), routed(stable.Spec.Router), routed(stable.Spec.Router))
	}
	return nil
}

// betweenWays refuses to change between sets and a workload in place where that is no Deployment.
func betweenWays(is, was v1alpha1.StrategyType, place string) error {
	if place != manifest.KindDeployment {
		return terminalf(ReasonStrategyChange,
			"the template now rolls out by %s, and what serves came by %s; between sets and a workload in place only a Deployment can change, found a %s, so nothing is changed. Keep to %s, or make another Release of another name and move over to it",
			is, was, cmp.Or(place, "workload of unknown kind"), was)
	}
	return nil
}

// routerOf is how a revision's requests are spread; empty with rolling.
func routerOf(r *render.Result) v1alpha1.Router {
	if r.Router == "" && r.Route != nil {
		return v1alpha1.Router(r.Route.GetKind())
	}
	return r.Router
}

// routed is how the requests to sets are spread. Before Rollouts said so, all were behind an
// HTTPRoute.
func routed(r v1alpha1.Router) v1alpha1.Router { return cmp.Or(r, v1alpha1.RouterHTTPRoute) }

// aboutToEnd says whether a promotion will have ended within the drain delay. The long
// warmth of a blueGreen set is no reason to wait: it ends when a newer Rollout is there. One
// that does not get there, since it is paused or the gateway does not accept the route, may hang: it
// is not waited for, and a newer Rollout supersedes it.
func aboutToEnd(newest *v1alpha1.Rollout) bool {
	s := newest.Status
	kept := newest.Spec.Strategy.Type == v1alpha1.StrategyBlueGreen || !newest.Spec.Strategy.Type.InSets() && newest.Spec.Changes()
	warm := kept && !s.Retiring
	return s.Phase == v1alpha1.RolloutPromoting && !s.Paused && !warm && s.Weight == 100 && s.Reason != plan.ReasonHoldRoute
}

// rejected says whether a Rollout was aborted for what it is, by whoever: not because
// another one took over, and not before it was tried.
func rejected(rollout *v1alpha1.Rollout) bool {
	if rollout.Status.Phase != v1alpha1.RolloutAborted {
		return false
	}
	cause := rollout.Status.AbortCause
	return cause == nil || cause.Code != plan.ReasonAbortOutdated && cause.Code != plan.ReasonAbortSuperseded
}

// again says whether another attempt at what the newest Rollout is about is asked for: a
// person applied the Release anew after it was aborted, or it was never tried, since what
// it would have returned to had changed before it began.
func again(newest *v1alpha1.Rollout, generation int64) bool {
	if newest.Status.Phase != v1alpha1.RolloutAborted {
		return false
	}
	cause := newest.Status.AbortCause
	return generation > newest.AdmittedAt() || cause != nil && cause.Code == plan.ReasonAbortOutdated
}

// begun says whether a Release has made a Rollout itself, besides those it took over.
func begun(rollouts []v1alpha1.Rollout, uid types.UID) bool {
	for i := range rollouts {
		owner := metav1.GetControllerOf(&rollouts[i])
		if owner != nil && owner.UID == uid && rollouts[i].Annotations[v1alpha1.AnnotationAdopted] == "" {
			return true
		}
	}
	return false
}

// leftBehind returns what a former Release of the name left: orphans, which nobody owns any
// more, and the first that is about to go with its owner; nil where there is none.
func leftBehind(rollouts []v1alpha1.Rollout, uid types.UID) (orphans []v1alpha1.Rollout, going *v1alpha1.Rollout) {
	for i := range rollouts {
		r := &rollouts[i]
		owner := metav1.GetControllerOf(r)
		switch {
		case owner == nil && r.DeletionTimestamp == nil:
			orphans = append(orphans, *r)
		case going == nil && (owner == nil || owner.UID != uid):
			going = r
		}
	}
	return orphans, going
}

// newRollout pins the wish.
func newRollout(w wish, rollouts []v1alpha1.Rollout, number int64) *v1alpha1.Rollout {
	out := &v1alpha1.Rollout{
		Spec: v1alpha1.RolloutSpec{
			Release:           w.release.Name,
			Number:            number,
			ReleaseGeneration: w.release.Generation,
			TemplateRevision:  w.templateRevision,
			Values:            w.release.Spec.Values.DeepCopy(),
			Revision:          w.result.Revision,
			Digest:            w.result.Digest,
			Replicas:          w.result.Replicas,
			Strategy:          *w.result.Strategy.DeepCopy(),
			Workload:          manifest.WorkloadKind(w.result),
			Router:            routerOf(w.result),
			Known:             known(w.result, rollouts),
			Restores:          w.restores,
			Objects:           objectsOf(w.result),
		},
	}
	if w.source != nil {
		out.Spec.Values = w.source.Spec.Values.DeepCopy()
		out.Spec.Replicas, out.Spec.Strategy = w.source.Spec.Replicas, *w.source.Spec.Strategy.DeepCopy()
	}
	out.Namespace, out.Annotations = w.release.Namespace, authored(w)
	out.Name = rolloutName(w.release.Name, number)
	if stable := newestSucceeded(rollouts); stable != nil {
		out.Spec.Stable = &v1alpha1.StableReference{
			Rollout: stable.Name, Revision: stable.Spec.Revision, Replicas: stableSize(stable, rollouts),
		}
		plan.Follow(&out.Spec, stable.Spec)
	}
	return out
}

// authored pins who made the change that is rolled out: who the API server stamped on the Release
// that was read, or on the one that was when what is made once more was new. What others change of
// the Release later, such as its size, leaves it so.
func authored(w wish) map[string]string {
	from := w.release.Annotations
	if w.source != nil {
		from = w.source.Annotations
	}
	if author := from[v1alpha1.AnnotationAuthor]; author != "" {
		return map[string]string{v1alpha1.AnnotationAuthor: author}
	}
	return nil
}

// newestSucceeded returns the Rollout that brought what serves into service. One that has
// not ended is not it: it either returns to this one or is waited for.
func newestSucceeded(rollouts []v1alpha1.Rollout) *v1alpha1.Rollout {
	for i := len(rollouts) - 1; i >= 0; i-- {
		if rollouts[i].Status.Phase == v1alpha1.RolloutSucceeded {
			return &rollouts[i]
		}
	}
	return nil
}

// sameValues compares values by what they mean.
func sameValues(a, b *runtime.RawExtension) bool {
	x, errX := canonical(a)
	y, errY := canonical(b)
	return errX == nil && errY == nil && bytes.Equal(x, y)
}

func canonical(values *runtime.RawExtension) ([]byte, error) {
	if values == nil || len(values.Raw) == 0 {
		return []byte("{}"), nil
	}
	decoder := json.NewDecoder(bytes.NewReader(values.Raw))
	// Numbers are compared as written: 1 and 1.0 may render differently.
	decoder.UseNumber()
	var out any
	if err := decoder.Decode(&out); err != nil {
		return nil, fmt.Errorf("decoding values: %w", err)
	}
	data, err := json.Marshal(out)
	if err != nil {
		return nil, fmt.Errorf("encoding values: %w", err)
	}
	return data, nil
}
