package main

import (
	"context"
	"runtime"
	"testing"
	"testing/synctest"
	"time"
)

func TestMemoryIsGivenBackOnceAtRest(t *testing.T) {
	t.Parallel()
	synctest.Test(t, func(t *testing.T) {
		ctx, cancel := context.WithCancel(t.Context())
		var total uint64
		freed := 0
		r := &resting{every: restEvery, allocated: func() uint64 { return total }, free: func() { freed++ }}
		done := make(chan error, 1)
		go func() { done <- r.Start(ctx) }()
		synctest.Wait()
		for i, step := range []struct {
			allocates uint64
			want      int
		}{
			{restBytes, 0}, {restBytes - 1, 1}, {0, 1}, {1000, 1}, {restBytes * 20, 1}, {restBytes, 1}, {0, 2}, {0, 2},
		} {
			total += step.allocates
			time.Sleep(restEvery)
			synctest.Wait()
			if freed != step.want {
				t.Errorf("after look %d: wanted memory given back %d times, found %d", i+1, step.want, freed)
			}
		}
		cancel()
		if err := <-done; err != nil {
			t.Error(err)
		}
	})
}

func TestAllocatedGrows(t *testing.T) {
	t.Parallel()
	before := allocated()
	kept := make([]byte, 1<<22)
	runtime.KeepAlive(kept)
	if after := allocated(); after-before < uint64(len(kept)) {
		t.Errorf("wanted at least %d bytes more, found %d", len(kept), after-before)
	}
}
