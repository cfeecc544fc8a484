package main

import (
	"runtime/debug"
	"strconv"
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
