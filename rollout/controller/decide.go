package controller

import (
	"bytes"
	"encoding/json"
	"fmt"

	"k8s.io/apimachinery/pkg/runtime"

	"tidegate.io/tidegate/rollout/plan"
	"tidegate.io/tidegate/schemas/render"
	"tidegate.io/tidegate/schemas/v1alpha1"
)

// keptEnded is how many ended Rollouts of a Release are kept for people to look at.
const keptEnded = 10

// wish is what the spec of a Release asks for.
type wish struct {
	release *v1alpha1.Release
	// templateRevision is the name of the TemplateRevision that was rendered with.
	templateRevision string
	result           *render.Result
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
	case generation < newest.Spec.ReleaseGeneration:
		return nil, fmt.Errorf("reading Release %s: %w: Rollout %s is for a newer generation", w.release.Name, errOvertaken, newest.Name)

	// The newest Rollout is about exactly this, and stands.
	case newest.Spec.Digest == w.result.Digest && !again(newest, generation):
		return nil, nil //nolint:nilnil // nothing to create is an answer

	// Nothing that people or the template's owner write has changed, so the engine has.
	case newest.Spec.Digest != w.result.Digest && generation == newest.Spec.ReleaseGeneration &&
		newest.Spec.TemplateRevision == w.templateRevision && sameValues(newest.Spec.Values, w.release.Spec.Values):
		return nil, waitingf(ReasonEngineDrift,
			"the spec now renders to revision %s, with the inputs that gave %s when Rollout %s was judged; nothing is applied. Apply the Release with a change to have the new output judged",
			w.result.Revision, newest.Spec.Revision, newest.Name)

	// This very revision was rejected, and nobody has applied the Release since. Publishing
	// a template that renders something else around it is no reason to expose it again.
	case rejected(newest) && generation == newest.Spec.ReleaseGeneration && newest.Spec.Revision == w.result.Revision:
		return nil, nil //nolint:nilnil // nothing to create is an answer

	// The old set is going, so that the newest revision is what the next one will be over.
	case aboutToEnd(newest):
		return nil, waitingf(ReasonRolloutQueued, "revision %s waits until the promotion of %s has ended",
			w.result.Revision, newest.Spec.Revision)
	}
	return newRollout(w, rollouts, number), nil
}

// aboutToEnd says whether a promotion will have ended within the drain delay. One that does
// not get there, since it is paused or the gateway does not accept the route, may hang: it
// is not waited for, and a newer Rollout supersedes it.
func aboutToEnd(newest *v1alpha1.Rollout) bool {
	s := newest.Status
	return s.Phase == v1alpha1.RolloutPromoting && !s.Paused && s.Weight == 100 && s.Reason != plan.ReasonHoldRoute
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
	return generation > newest.Spec.ReleaseGeneration || cause != nil && cause.Code == plan.ReasonAbortOutdated
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
		},
	}
	out.Namespace = w.release.Namespace
	out.Name = rolloutName(w.release.Name, number)
	if stable := newestSucceeded(rollouts); stable != nil {
		out.Spec.Stable = &v1alpha1.StableReference{
			Rollout: stable.Name, Revision: stable.Spec.Revision, Replicas: stable.Spec.Replicas,
		}
	}
	return out
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

// prunable returns the ended Rollouts that nothing needs any more, oldest first: all but
// the last ten, what serves, and what a kept one would return to.
func prunable(rollouts []v1alpha1.Rollout) []v1alpha1.Rollout {
	needed := map[string]bool{}
	if stable := newestSucceeded(rollouts); stable != nil {
		needed[stable.Name] = true
	}
	var ended []v1alpha1.Rollout
	for i := range rollouts {
		r := &rollouts[i]
		if r.Status.Phase.Terminal() {
			ended = append(ended, *r)
			continue
		}
		if r.Spec.Stable != nil {
			needed[r.Spec.Stable.Rollout] = true
		}
	}
	if len(ended) <= keptEnded {
		return nil
	}
	// What the newest Rollout returned to is needed as long as it is the newest.
	if newest := rollouts[len(rollouts)-1]; newest.Spec.Stable != nil {
		needed[newest.Spec.Stable.Rollout] = true
	}
	var out []v1alpha1.Rollout
	for _, r := range ended[:len(ended)-keptEnded] {
		if !needed[r.Name] {
			out = append(out, r)
		}
	}
	return out
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
