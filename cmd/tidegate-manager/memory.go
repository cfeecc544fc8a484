package main

import (
	"context"
	"runtime/debug"
	"runtime/metrics"
	"strconv"
	"time"
)

const (
	// memoryLimitEnv carries the memory limit of the container in bytes.
	memoryLimitEnv = "TIDEGATE_MEMORY_LIMIT"
	// garbagePercent is how much garbage there may be beside what lives. Most of what lives are
	// caches, so that Go's own 100 is a lot of memory for little time: at rest nothing is collected
	// either way.
	garbagePercent = 50
)

// limitMemory has the collector keep the heap small, unless the environment says otherwise, and
// work harder before the container's limit is reached, of which the workers have their share.
func limitMemory(getenv func(string) string, o *options) {
	if getenv("GOGC") == "" {
		debug.SetGCPercent(garbagePercent)
	}
	limit, err := strconv.ParseInt(getenv(memoryLimitEnv), 10, 64)
	if err != nil || limit <= 0 {
		return
	}
	debug.SetMemoryLimit(ownMemory(limit, o))
}

// ownMemory is what the manager's own collector aims at in a container of so many bytes:
// nine tenths of what workers leave when all of them hold all that they may, and a quarter
// of the container where they would leave less.
func ownMemory(container int64, o *options) int64 {
	each, err := o.workerMemory()
	if err != nil {
		each = 0
	}
	return max((container-each*int64(o.renderWorkers)-judges*judgeMemory)/10*9, container/4)
}

const (
	// restEvery is how often it is looked whether the manager is at rest.
	restEvery = 10 * time.Second
	// restBytes is the most that it allocates in that time at rest: probes, scrapes, the lease.
	restBytes = 8 << 20
)

// resting gives memory back to the system each time that the manager comes to rest. Its caches are
// most of what lives then; what Go keeps for a heap that grows to garbagePercent above it is of no
// use to a manager to which nothing happens for hours.
type resting struct {
	every     time.Duration
	allocated func() uint64
	free      func()
}

func newResting() *resting {
	return &resting{every: restEvery, allocated: allocated, free: func() {
		debug.FreeOSMemory()
		returnProgram()
	}}
}

// allocated is how many bytes were allocated on the heap since the process began.
func allocated() uint64 {
	sample := []metrics.Sample{{Name: "/gc/heap/allocs:bytes"}}
	metrics.Read(sample)
	return sample[0].Value.Uint64()
}

// NeedLeaderElection implements manager.LeaderElectionRunnable: every replica does it.
func (*resting) NeedLeaderElection() bool { return false }

// Start implements manager.Runnable.
func (r *resting) Start(ctx context.Context) error {
	ticker := time.NewTicker(r.every)
	defer ticker.Stop()
	last, given := r.allocated(), false
	for {
		select {
		case <-ctx.Done():
			return nil
		case <-ticker.C:
		}
		quiet := r.allocated()-last < restBytes
		if quiet && !given {
			r.free()
		}
		last, given = r.allocated(), quiet
	}
}
