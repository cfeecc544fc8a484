package main

import (
	"context"
	"fmt"
	"hash/fnv"
	"maps"
	"sync"
	"time"

	"k8s.io/apimachinery/pkg/types"

	"tidegate.io/tidegate/rollout/plan"
	"tidegate.io/tidegate/schemas/v1alpha1"
)

const (
	// turnGates is how many namespaces may ask at once, as far as their names allow.
	turnGates = 64
	// turnLife is how long it may take until the cache shows what was allowed. What was
	// allowed and not recorded, since the write failed, counts for as long.
	turnLife = 30 * time.Second
)

// turns let one Rollout of a namespace after the other ask to take its first exposure, and
// remember who was let to it until the cache shows it. Policies that count who has begun
// would otherwise count two that ask at once as none.
type turns struct {
	gates [turnGates]chan struct{}

	mu sync.Mutex
	// allowed is when Rollouts were let to begin.
	allowed map[types.NamespacedName]time.Time
}

func newTurns() *turns {
	t := &turns{allowed: map[types.NamespacedName]time.Time{}}
	for i := range t.gates {
		t.gates[i] = make(chan struct{}, 1)
	}
	return t
}

// begins says whether a Rollout asks to take its first exposure from what serves.
func begins(r *v1alpha1.Rollout) bool {
	return r.Spec.Stable != nil && r.Spec.Stable.Revision != r.Spec.Revision && plan.Raised(r).IsZero()
}

// enter waits for the turn of a namespace; leave ends it.
func (t *turns) enter(ctx context.Context, namespace string) (leave func(), err error) {
	h := fnv.New32a()
	_, _ = h.Write([]byte(namespace)) // never fails
	gate := t.gates[h.Sum32()%turnGates]
	select {
	case gate <- struct{}{}:
		return func() { <-gate }, nil
	case <-ctx.Done():
		return nil, fmt.Errorf("waiting until others of namespace %s have asked: %w", namespace, ctx.Err())
	}
}

// allow remembers that a Rollout was let to begin at now.
func (t *turns) allow(r *v1alpha1.Rollout, now time.Time) {
	t.mu.Lock()
	defer t.mu.Unlock()
	maps.DeleteFunc(t.allowed, func(_ types.NamespacedName, at time.Time) bool { return now.Sub(at) >= turnLife })
	t.allowed[types.NamespacedName{Namespace: r.Namespace, Name: r.Name}] = now
}

// raised is when a Rollout, as the cache has it, was first raised, or was let to.
func (t *turns) raised(r *v1alpha1.Rollout, now time.Time) time.Time {
	if at := plan.Raised(r); !at.IsZero() || !begins(r) {
		return at
	}
	switch r.Status.Phase {
	case v1alpha1.RolloutPromoting, v1alpha1.RolloutSucceeded, v1alpha1.RolloutAborting, v1alpha1.RolloutAborted:
		return time.Time{} // it came to nothing
	case v1alpha1.RolloutPending, v1alpha1.RolloutProgressing:
	}
	t.mu.Lock()
	defer t.mu.Unlock()
	at := t.allowed[types.NamespacedName{Namespace: r.Namespace, Name: r.Name}]
	if now.Sub(at) >= turnLife {
		return time.Time{}
	}
	return at
}
