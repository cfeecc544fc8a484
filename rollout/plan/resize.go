package plan

import (
	"math"
	"slices"

	metav1 "k8s.io/apimachinery/pkg/apis/meta/v1"
	"k8s.io/apimachinery/pkg/runtime"

	"tidegate.io/tidegate/schemas/v1alpha1"
)

// A change of nothing but numbers of pods is no other Rollout: it goes on where it is, and the sets
// take the new size. What was approved, asked and measured is about the pods, and they are the same.

// maxResized is how many former sizes are kept, the first among them.
const maxResized = 20

// Size is a number of pods and what came with it.
type Size struct {
	// Generation of the Release that asks for it.
	Generation int64
	Values     *runtime.RawExtension
	// Digest of what is rendered with it.
	Digest   string
	Replicas int32
	// StableStays is true where the old set keeps its size, since an autoscaler looks after it.
	StableStays bool
	At          metav1.Time
}

// Resizable says whether a Rollout takes another size where it stands. What has not begun loses
// nothing by being made anew, and what is all but over is followed by a Rollout over itself. One
// that was rejected takes it too: another number of pods is no reason to expose that revision again.
func Resizable(spec v1alpha1.RolloutSpec, st v1alpha1.RolloutStatus, replicas int32) bool {
	switch {
	case spec.Restores != nil:
		return false
	case !spec.InSets() && (exposes(spec, st.ApprovedWeight, replicas) || exposes(spec, st.Weight, replicas)):
		return false
	case spec.Replicas <= 0 || replicas <= 0 || spec.Stable != nil && spec.Stable.Replicas <= 0:
		return false // to or from nothing: other steps are walked
	}
	switch st.Phase {
	case v1alpha1.RolloutProgressing:
		return true
	case v1alpha1.RolloutPromoting:
		return !st.Retiring
	case v1alpha1.RolloutAborting, v1alpha1.RolloutAborted:
		return spec.Stable != nil && spec.Stable.Revision != spec.Revision && rejected(st.AbortCause)
	case v1alpha1.RolloutPending, v1alpha1.RolloutSucceeded:
	}
	return false
}

// exposes says whether another size of a workload at a partition is more of the new revision than there is: the pods
// that are added have the highest ordinals, and of few pods the same share may be more.
func exposes(spec v1alpha1.RolloutSpec, weight, replicas int32) bool {
	if weight <= 0 || weight >= full {
		return false
	}
	is, then := int64(need(spec.Replicas, weight)), int64(need(replicas, weight))
	return replicas > spec.Replicas || then*int64(spec.Replicas) > is*int64(replicas)
}

// rejected says whether a Rollout was aborted for what it is: not because another took over, and not
// before it was tried.
func rejected(cause *v1alpha1.Cause) bool {
	return cause == nil || cause.Code != ReasonAbortSuperseded && cause.Code != ReasonAbortOutdated
}

// Resized is a spec in another size. The old set keeps the share of the new one's size that it had
// when the Rollout was made: most often both are equal.
func Resized(spec v1alpha1.RolloutSpec, to Size) v1alpha1.RolloutSpec {
	out := *spec.DeepCopy()
	former := v1alpha1.FormerSize{ReleaseGeneration: spec.ReleaseGeneration, Digest: spec.Digest, Replicas: spec.Replicas, Until: to.At}
	if spec.Stable != nil {
		former.StableReplicas = spec.Stable.Replicas
	}
	if len(out.Resized) >= maxResized {
		out.Resized = slices.Delete(out.Resized, 1, len(out.Resized)-maxResized+2)
	}
	out.Resized = append(out.Resized, former)
	out.ReleaseGeneration, out.Values, out.Digest, out.Replicas = to.Generation, to.Values.DeepCopy(), to.Digest, to.Replicas
	if out.Stable != nil && out.Stable.Revision != out.Revision && !to.StableStays {
		first := out.Resized[0]
		pods := (int64(first.StableReplicas)*int64(to.Replicas) + int64(first.Replicas) - 1) / int64(first.Replicas)
		out.Stable.Replicas = int32(min(pods, math.MaxInt32)) //nolint:gosec // bounded
	}
	return out
}

// grown finds out whether the sets have grown to the size that they are to have. Until then lost
// pods are counted against the size from before: the traffic that they have is no more than it was.
func (t *turn) grown() {
	if !t.resized() {
		t.st.Size = 0
		return
	}
	size := max(0, t.o.Spec.Replicas)
	if t.st.Size == 0 {
		t.st.Size = size
		for _, f := range t.o.Spec.Resized {
			t.st.Size = min(t.st.Size, f.Replicas)
		}
	}
	e := t.allowed()
	pods := t.needs(size, e.Weight)
	if e.seen() {
		pods = max(pods, min(1, size))
	}
	fresh := need(size, e.Baseline)
	if t.st.Size >= size || t.o.Canary.full(pods) && (fresh == 0 || t.o.Baseline.full(fresh)) {
		t.st.Size = size
	}
	t.floor = min(t.floor, t.st.Size)
}

// toldSize is the size against which the pods that a workload in place holds back are counted: while it has a
// former size, that one, so that a change of size is neither more of the new revision nor less.
func (t *turn) toldSize() int32 {
	s := t.o.Canary
	former := func(f v1alpha1.FormerSize) bool { return f.Replicas == s.Desired }
	if s.Knowledge == Present && !s.SelfSized && slices.ContainsFunc(t.o.Spec.Resized, former) {
		return s.Desired
	}
	return t.whole
}

// resized says whether lost pods are counted against a size that is not the wanted one.
func (t *turn) resized() bool {
	open := t.st.Phase == v1alpha1.RolloutProgressing || t.st.Phase == v1alpha1.RolloutPromoting && !t.st.Retiring
	return open && len(t.o.Spec.Resized) > 0 && t.kind == kindCanary && !t.rolling
}

// kept is the size against which the pods of the baseline set are counted.
func (t *turn) kept() int32 {
	if t.resized() {
		return min(t.whole, t.floor)
	}
	return t.whole
}
