package controller

import (
	"sync"
	"time"

	"sigs.k8s.io/controller-runtime/pkg/client"

	"tidegate.io/tidegate/rollout/observe"
)

const (
	// lagLimit is how long a decision waits for the deployment controller to look at what
	// was written. Mostly it takes some milliseconds, and a watch tells when it has.
	lagLimit = 2 * time.Second
	// lagDelay is when to look again.
	lagDelay = 250 * time.Millisecond
)

// lags remembers since when workloads lag, so that every write of a size does not make
// the Rollout say for a moment that its pods are unknown. It is no more than a delay:
// when it is over, or forgotten with the process, Unknown is decided on.
type lags struct {
	mu    sync.Mutex
	since map[client.ObjectKey]time.Time
}

// forget is for a Rollout of which nothing is decided any more.
func (l *lags) forget(key client.ObjectKey) {
	l.mu.Lock()
	defer l.mu.Unlock()
	delete(l.since, key)
}

// wait says whether to look again rather than to decide now. What people ask for is
// decided on at once.
func (l *lags) wait(key client.ObjectKey, world *observe.World, now time.Time) bool {
	l.mu.Lock()
	defer l.mu.Unlock()
	if !world.Lagging {
		delete(l.since, key)
		return false
	}
	if len(world.Commands) > 0 || world.Newer != "" || len(world.Unread) > 0 {
		return false
	}
	if l.since == nil {
		l.since = map[client.ObjectKey]time.Time{}
	}
	first, known := l.since[key]
	if !known {
		l.since[key] = now
		return true
	}
	return now.Sub(first) < lagLimit
}
