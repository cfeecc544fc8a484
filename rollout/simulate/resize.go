package simulate

import (
	"fmt"

	metav1 "k8s.io/apimachinery/pkg/apis/meta/v1"

	"tidegate.io/tidegate/rollout/plan"
)

// resize gives the newest Rollout another size, where a Release asks for that and nothing else,
// and says whether it did.
func (w *world) resize(revision string, replicas int32) bool {
	r := w.newest()
	if r.spec.Revision != revision || r.spec.Replicas == replicas || !plan.Resizable(r.spec, r.status, replicas) {
		return false
	}
	r.spec = plan.Resized(r.spec, plan.Size{
		Generation: r.spec.ReleaseGeneration + 1, Digest: fmt.Sprintf("sha256:%s of %d", revision, replicas), Replicas: replicas,
		StableStays: w.load > 0, At: metav1.NewTime(w.now),
	})
	r.look = w.now
	return true
}

// size is how many pods all of the traffic needs in the Rollout's own set. What is given another
// size gets no other requests by that.
func (r *rollout) size() int32 {
	n := r.spec.Replicas
	if r.status.Size > 0 {
		return min(n, r.status.Size)
	}
	for _, f := range r.spec.Resized {
		n = min(n, f.Replicas)
	}
	return n
}

// sizeBefore is how many pods all of the traffic needs in what served before the Rollout, whatever
// size it was given meanwhile.
func (r *rollout) sizeBefore() int32 {
	n := r.spec.Stable.Replicas
	for _, f := range r.spec.Resized {
		if f.StableReplicas > 0 {
			n = min(n, f.StableReplicas)
		}
	}
	return n
}

// resizes says whether the Rollout has changed the size of what served before it.
func (r *rollout) resizes(key string) bool {
	s := r.spec.Stable
	return len(r.spec.Resized) > 0 && s != nil && s.Revision == key && r.spec.Revision != key
}
