//go:build !linux

package worker

import (
	"os"
	"syscall"
	"time"
)

// limitMemory does nothing: what a worker holds is bounded on Linux alone, where the
// manager runs; elsewhere the deadline stands.
func limitMemory(int64) error { return nil }

// resident is unknown.
func resident(int) int64 { return 0 }

// processorTime is unknown, so that the deadline alone decides.
func processorTime(int) (time.Duration, bool) { return 0, false }

// peak is unknown.
func peak(*os.ProcessState) int64 { return 0 }

// ownPeak is unknown.
func ownPeak() int64 { return 0 }

// attributes are the defaults: a child ends when its input does.
func attributes() *syscall.SysProcAttr { return nil }

// awaitHangup never returns: the child finds out when it has answered.
func awaitHangup(*os.File) { select {} }
