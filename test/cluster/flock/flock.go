// Package flock locks files between processes. The kernel gives a lock back when its holder dies,
// however it dies, so that a lock that can be had is proof that its last holder is gone.
package flock

import (
	"context"
	"errors"
	"fmt"
	"os"
	"syscall"
	"time"
)

// ErrHeld says that another holder, in this process or another, has the lock.
var ErrHeld = errors.New("lock is held")

// Lock is a held lock.
type Lock struct{ file *os.File }

// Try takes the lock on path, creating the file if need be, or returns ErrHeld at once.
//
// A holder may remove the locked file, or the directory it is in, before it releases: whoever
// opened the file earlier then finds that its lock is on a file that is no longer there, and starts over.
func Try(path string) (*Lock, error) {
	for {
		f, err := os.OpenFile(path, os.O_CREATE|os.O_RDWR, 0o600)
		if err != nil {
			return nil, fmt.Errorf("opening lock: %w", err)
		}
		if err := syscall.Flock(int(f.Fd()), syscall.LOCK_EX|syscall.LOCK_NB); err != nil {
			_ = f.Close()
			if errors.Is(err, syscall.EWOULDBLOCK) {
				return nil, ErrHeld
			}
			return nil, fmt.Errorf("locking %s: %w", path, err)
		}
		if same(f, path) {
			return &Lock{file: f}, nil
		}
		_ = f.Close()
	}
}

// Wait takes the lock as soon as it can be had. If it cannot be had at once, onWait is called, once.
func Wait(ctx context.Context, path string, onWait func()) (*Lock, error) {
	tick := time.NewTicker(100 * time.Millisecond)
	defer tick.Stop()
	for first := true; ; first = false {
		l, err := Try(path)
		if !errors.Is(err, ErrHeld) {
			return l, err
		}
		if first {
			onWait()
		}
		select {
		case <-ctx.Done():
			return nil, fmt.Errorf("waiting for lock %s: %w", path, ctx.Err())
		case <-tick.C:
		}
	}
}

// Release gives the lock back. It may be called again.
func (l *Lock) Release() { _ = l.file.Close() }

func same(f *os.File, path string) bool {
	held, err := f.Stat()
	if err != nil {
		return false
	}
	there, err := os.Stat(path)
	return err == nil && os.SameFile(held, there)
}
