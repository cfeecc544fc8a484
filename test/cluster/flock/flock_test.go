package flock

import (
	"context"
	"errors"
	"os"
	"path/filepath"
	"testing"
)

func TestOneHolderAtATime(t *testing.T) {
	path := filepath.Join(t.TempDir(), "lock")
	first, err := Try(path)
	if err != nil {
		t.Fatal(err)
	}
	if _, err := Try(path); !errors.Is(err, ErrHeld) {
		t.Errorf("a second holder: %v", err)
	}
	ctx, cancel := context.WithCancel(t.Context())
	waited := 0
	_, err = Wait(ctx, path, func() { waited++; cancel() })
	if !errors.Is(err, context.Canceled) || waited != 1 {
		t.Errorf("waiting ended with %v after %d announcements", err, waited)
	}
	second := make(chan error, 1)
	go func() {
		l, err := Wait(t.Context(), path, func() { first.Release() })
		if err == nil {
			l.Release()
		}
		second <- err
	}()
	if err := <-second; err != nil {
		t.Errorf("waiting for a released lock: %v", err)
	}
}

func TestALockOnARemovedFileLocksNothing(t *testing.T) {
	path := filepath.Join(t.TempDir(), "lock")
	f, err := os.Create(path)
	if err != nil {
		t.Fatal(err)
	}
	defer f.Close()
	if !same(f, path) {
		t.Error("an open file is the file at its path")
	}
	if err := os.Remove(path); err != nil {
		t.Fatal(err)
	}
	if same(f, path) {
		t.Error("a removed file is not")
	}
	l, err := Try(path)
	if err != nil {
		t.Fatal(err)
	}
	defer l.Release()
	if same(f, path) {
		t.Error("a removed file is not the new one at its path")
	}
}
