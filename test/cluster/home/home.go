// Package home gives each running cluster what must be its own: a directory below the user's cache,
// and a slot, a number that no other running cluster of the user has, from which follow its address
// ranges and ports. Both are held by locks that the kernel gives back when the holder dies, so that
// what a crash leaves behind is known to be nobody's and is swept away by the next one to come.
package home

import (
	"context"
	"errors"
	"fmt"
	"os"
	"path/filepath"
	"regexp"
	"strings"
	"time"

	"tidegate.io/tidegate/test/cluster/binaries"
	"tidegate.io/tidegate/test/cluster/flock"
)

// Home is the directory of one cluster and the numbers that are its own.
type Home struct {
	Name string
	Dir  string

	lock *flock.Lock
	slot *slot
}

var validName = regexp.MustCompile(`^[a-z0-9]([a-z0-9-]{0,40}[a-z0-9])?$`)

// Claim makes the home of a new cluster.
func Claim(ctx context.Context, name string) (*Home, error) {
	if !validName.MatchString(name) {
		return nil, fmt.Errorf("cluster name %q: want up to 42 lower case letters, digits and dashes, such as %q", name, "default")
	}
	root, err := clustersDir()
	if err != nil {
		return nil, err
	}
	h := &Home{Name: name, Dir: filepath.Join(root, name)}
	if h.lock, err = claimDir(ctx, h.Dir); err != nil {
		if errors.Is(err, flock.ErrHeld) {
			return nil, fmt.Errorf("cluster %q runs already: use it, choose another name, or end it with "+
				"`go run ./test/cluster down --name %s`", name, name)
		}
		return nil, fmt.Errorf("claiming the directory of cluster %q: %w", name, err)
	}
	if h.slot, err = claimSlot(); err != nil {
		return nil, errors.Join(err, h.Release(ctx))
	}
	return h, nil
}

// claimDir locks a directory and empties it. A sweeper may take the directory away between any two
// steps; then it starts over.
func claimDir(ctx context.Context, dir string) (*flock.Lock, error) {
	for {
		if err := os.MkdirAll(dir, 0o700); err != nil {
			return nil, err
		}
		lock, err := flock.Try(filepath.Join(dir, lockFile))
		if errors.Is(err, os.ErrNotExist) {
			continue
		}
		if err != nil {
			return nil, err
		}
		if _, err := readState(dir); errors.Is(err, os.ErrNotExist) {
			return lock, nil
		}
		err = remove(ctx, dir) // of an owner that died
		lock.Release()
		if err != nil {
			return nil, err
		}
	}
}

// Path returns a path in the directory.
func (h *Home) Path(elem ...string) string {
	return filepath.Join(append([]string{h.Dir}, elem...)...)
}

// Release removes everything and gives the name and the numbers back.
func (h *Home) Release(ctx context.Context) error {
	err := remove(ctx, h.Dir)
	if h.slot != nil {
		h.slot.lock.Release()
	}
	h.lock.Release()
	return err
}

// remove ends what a cluster's state names and removes its directory, whose lock the caller holds.
// The directory is renamed first, so that a new cluster of that name never sees it half gone.
func remove(ctx context.Context, dir string) error {
	s, err := readState(dir)
	if err != nil && !errors.Is(err, os.ErrNotExist) {
		return err
	}
	if s != nil {
		for _, c := range s.Components {
			if err := c.Process.Kill(ctx); err != nil {
				return fmt.Errorf("ending %s of cluster %s: %w", c.Name, s.Name, err)
			}
		}
	}
	gone, err := os.MkdirTemp(filepath.Dir(dir), removedPrefix)
	if err != nil {
		return fmt.Errorf("removing %s: %w", dir, err)
	}
	if err := os.Rename(dir, filepath.Join(gone, filepath.Base(dir))); err != nil {
		return fmt.Errorf("removing %s: %w", dir, errors.Join(err, os.Remove(gone)))
	}
	if err := os.RemoveAll(gone); err != nil {
		return fmt.Errorf("removing %s: %w", dir, err)
	}
	return nil
}

// Sweep ends the processes and removes the files of every cluster whose owner died without
// stopping it. Start does so too.
func Sweep(ctx context.Context) error {
	root, err := clustersDir()
	if err != nil {
		return err
	}
	entries, err := os.ReadDir(root)
	if err != nil && !errors.Is(err, os.ErrNotExist) {
		return fmt.Errorf("listing clusters: %w", err)
	}
	var errs []error
	for _, e := range entries {
		if !e.IsDir() || beingRemoved(e) {
			continue
		}
		dir := filepath.Join(root, e.Name())
		lock, err := flock.Try(filepath.Join(dir, lockFile))
		if err != nil { // it lives, or another process sweeps it
			continue
		}
		errs = append(errs, remove(ctx, dir))
		lock.Release()
	}
	return errors.Join(errs...)
}

const (
	lockFile      = "lock"
	stateFile     = "state.json"
	removedPrefix = ".removed-"
)

// beingRemoved reports whether another process is about to finish removing a directory. One that
// is old was given up.
func beingRemoved(e os.DirEntry) bool {
	fi, err := e.Info()
	return strings.HasPrefix(e.Name(), removedPrefix) && (err != nil || time.Since(fi.ModTime()) < time.Minute)
}

// KeeperLog returns the file for the output of a background owner. It outlives the cluster's
// directory, so that it can tell why a start failed.
func KeeperLog(name string) (string, error) {
	root, err := clustersDir()
	if err != nil {
		return "", err
	}
	if err := os.MkdirAll(root, 0o700); err != nil {
		return "", fmt.Errorf("making a place for the log: %w", err)
	}
	return filepath.Join(root, name+".log"), nil
}

func clustersDir() (string, error) {
	cache, err := binaries.CacheDir()
	if err != nil {
		return "", err
	}
	return filepath.Join(cache, "clusters"), nil
}
