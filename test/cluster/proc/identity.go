package proc

import (
	"context"
	"errors"
	"fmt"
	"syscall"
	"time"
)

// ErrGone says that no such process lives.
var ErrGone = errors.New("no such process")

// Identity names one process for good. The zero value names none.
type Identity struct {
	PID int `json:"pid"`
	// Start is when the process started, in the kernel's own terms: it and PID together are never
	// given out twice, across reboots too.
	Start string `json:"start"`
}

// Identify returns the identity of the process that has this number now, or an error that is
// [ErrGone].
func Identify(pid int) (Identity, error) {
	start, err := startOf(pid)
	if err != nil {
		return Identity{}, err
	}
	return Identity{PID: pid, Start: start}, nil
}

// Alive reports whether the process still runs. A zombie does not.
func (id Identity) Alive() bool {
	if id.PID <= 0 || id.Start == "" {
		return false
	}
	start, err := startOf(id.PID)
	return err == nil && start == id.Start
}

// Terminate asks the process to end and waits until it has, or ctx ends.
func (id Identity) Terminate(ctx context.Context) error { return id.end(ctx, syscall.SIGTERM) }

// Kill ends the process with its group and waits until it is gone, or ctx ends.
func (id Identity) Kill(ctx context.Context) error { return id.end(ctx, syscall.SIGKILL) }

func (id Identity) end(ctx context.Context, sig syscall.Signal) error {
	if !id.Alive() {
		return nil
	}
	// What this package starts leads a group of its own; any other process gets the signal alone.
	err := syscall.Kill(-id.PID, sig)
	if errors.Is(err, syscall.ESRCH) {
		err = syscall.Kill(id.PID, sig)
	}
	if err != nil && !errors.Is(err, syscall.ESRCH) {
		return fmt.Errorf("signalling process %d: %w", id.PID, err)
	}
	tick := time.NewTicker(20 * time.Millisecond)
	defer tick.Stop()
	for id.Alive() {
		select {
		case <-ctx.Done():
			return fmt.Errorf("waiting for process %d to end: %w", id.PID, ctx.Err())
		case <-tick.C:
		}
	}
	return nil
}
