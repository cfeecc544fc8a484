package main

import (
	"context"
	"fmt"
	"slices"
	"sync"
	"time"

	corev1 "k8s.io/api/core/v1"
	"k8s.io/utils/clock"
	"sigs.k8s.io/controller-runtime/pkg/client"
)

// replicasAge is how old the list of replicas may be.
const replicasAge = 30 * time.Second

// replicas knows which replicas of the manager there are.
type replicas struct {
	// reader reads from the API server: the manager's cache holds no pods.
	reader client.Reader
	clock  clock.PassiveClock
	// namespace is the manager's own, and name this replica's.
	namespace, name string

	mu   sync.Mutex
	read time.Time
	list []string
}

// All returns the names of the manager's pods, or nil where this replica is none of them,
// as when it runs outside of the cluster: then it cannot be told who else is there.
func (r *replicas) All(ctx context.Context) ([]string, error) {
	r.mu.Lock()
	defer r.mu.Unlock()
	if !r.read.IsZero() && r.clock.Since(r.read) < replicasAge {
		return r.list, nil
	}
	var pods corev1.PodList
	err := r.reader.List(ctx, &pods, client.InNamespace(r.namespace), client.MatchingLabels{
		"app.kubernetes.io/name": "tidegate", "app.kubernetes.io/component": "manager",
	})
	if err != nil {
		return nil, fmt.Errorf("listing the pods of the manager: %w", err)
	}
	var list []string
	for _, p := range pods.Items {
		list = append(list, p.Name)
	}
	if !slices.Contains(list, r.name) {
		list = nil
	}
	r.list, r.read = list, r.clock.Now()
	return list, nil
}
