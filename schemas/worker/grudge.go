package worker

import (
	"fmt"
	"sync"
	"time"

	lru "github.com/hashicorp/golang-lru/v2/simplelru"
	"k8s.io/utils/clock"
)

const (
	// firstBackOff and maxBackOff are how long an input that cost a worker is answered from
	// memory: doubled each time it costs another.
	firstBackOff = 30 * time.Second
	maxBackOff   = 10 * time.Minute
	// maxGrudges bounds what is remembered; the one that was used least goes first, and is
	// tried again, which costs a worker.
	maxGrudges = 1024
)

// grudges remember what cost workers. They are safe for concurrent use.
type grudges struct {
	clock clock.PassiveClock

	mu sync.Mutex
	// inputs are by owner and input; names are groups and digests of templates.
	inputs *lru.LRU[string, *grudge]
	names  *lru.LRU[string, time.Time]
}

// grudge is what is remembered of one input of one owner.
type grudge struct {
	err   *BombError
	times int
	until time.Time
}

func newGrudges(watch clock.PassiveClock) (*grudges, error) {
	inputs, err := lru.NewLRU[string, *grudge](maxGrudges, nil)
	if err != nil {
		return nil, fmt.Errorf("making the memory of costly inputs: %w", err)
	}
	names, err := lru.NewLRU[string, time.Time](maxGrudges, nil)
	if err != nil {
		return nil, fmt.Errorf("making the memory of costly groups: %w", err)
	}
	return &grudges{clock: watch, inputs: inputs, names: names}, nil
}

func (j *job) key() string { return j.owner.name + "\x00" + j.input }

// hold remembers that a job cost a worker.
func (g *grudges) hold(j *job, err *BombError) {
	g.mu.Lock()
	defer g.mu.Unlock()
	times := 1
	if old, known := g.inputs.Get(j.key()); known {
		times = old.times + 1
	}
	wait := maxBackOff
	if shift := times - 1; shift < 10 {
		wait = min(wait, firstBackOff<<shift)
	}
	now := g.clock.Now()
	g.inputs.Add(j.key(), &grudge{err: err, times: times, until: now.Add(wait)})
	for _, name := range []string{j.owner.group, j.request.Digest} {
		if name == "" {
			continue // what has no digest has nothing in common with others without one
		}
		g.names.Add(name, now.Add(maxBackOff))
	}
}

// doubt holds a group to one worker for a while, since nobody can say what a request of it
// costs.
func (g *grudges) doubt(group string) {
	g.mu.Lock()
	defer g.mu.Unlock()
	g.names.Add(group, g.clock.Now().Add(maxBackOff))
}

// any reports whether anything is remembered at all.
func (g *grudges) any() bool {
	g.mu.Lock()
	defer g.mu.Unlock()
	return g.inputs.Len() > 0
}

// against returns the error to answer a job with, nil when it may be tried.
func (g *grudges) against(j *job) *BombError {
	g.mu.Lock()
	defer g.mu.Unlock()
	old, known := g.inputs.Get(j.key())
	if !known || !g.clock.Now().Before(old.until) {
		return nil
	}
	return old.err
}

// suspect reports whether a group or template cost a worker not long ago.
func (g *grudges) suspect(name string) bool {
	g.mu.Lock()
	defer g.mu.Unlock()
	until, known := g.names.Get(name)
	return known && g.clock.Now().Before(until)
}
