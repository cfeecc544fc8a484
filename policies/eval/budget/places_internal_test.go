package budget

import (
	"context"
	"errors"
	"sync"
	"testing"
)

func fine(i int, _ *Step) (int, error) { return i, nil }

func TestWhoeverFindsNoPlaceWaitsUntilTheCallerDoesNot(t *testing.T) {
	for range cap(places) {
		places <- struct{}{}
	}
	ctx, cancel := context.WithCancel(t.Context())
	got := make(chan []Outcome[int])
	go func() { got <- Each(ctx, 2, 0, nil, fine) }()
	cancel()
	for _, o := range <-got {
		if e, ok := errors.AsType[*Error](o.Err); !ok || e.Cause != CauseCaller {
			t.Errorf("it was asked: %+v", o)
		}
	}
	go func() { got <- Each(t.Context(), 2, 0, nil, fine) }()
	for range cap(places) {
		<-places
	}
	for i, o := range <-got {
		if o.Err != nil || o.Value != i {
			t.Errorf("it was not asked in its turn: %+v", o)
		}
	}
}

// Without this a few slow policies would stop the gate.
func TestThoseThatAreSlowHoldNobodyUp(t *testing.T) {
	began, release := make(chan struct{}), make(chan struct{})
	var slow sync.WaitGroup
	for range 2 * cap(places) {
		slow.Go(func() {
			_, _ = Once(t.Context(), 0, nil, func(*Step) (int, error) {
				began <- struct{}{}
				<-release
				return 0, nil
			})
		})
	}
	for range 2 * cap(places) {
		<-began
	}
	for range 10 {
		if out := Each(t.Context(), 3, 0, nil, fine); out[2].Err != nil {
			t.Errorf("%+v", out)
		}
	}
	close(release)
	slow.Wait()
	if n := len(places); n != 0 {
		t.Errorf("%d places are taken when nobody evaluates", n)
	}
}
