package budget_test

import (
	"context"
	"errors"
	"runtime"
	"sync/atomic"
	"testing"
	"time"

	"tidegate.io/tidegate/policies/eval/budget"
)

// until runs until its step is ended, as an engine does that heeds it.
func until(s *budget.Step) (int, error) {
	<-s.Done()
	return 0, errors.New("cancelled")
}

func cause(err error) budget.Cause {
	if e, ok := errors.AsType[*budget.Error](err); ok {
		return e.Cause
	}
	return budget.CauseNone
}

func TestOneThatTakesTooLongLeavesTimeForTheOthers(t *testing.T) {
	ctx, cancel := context.WithTimeout(t.Context(), time.Minute)
	defer cancel()
	out := budget.Each(ctx, 3, 30*time.Millisecond, nil, func(i int, s *budget.Step) (int, error) {
		if i == 1 {
			return until(s)
		}
		return i, nil
	})
	if len(out) != 3 || out[0].Err != nil || out[2].Err != nil || out[2].Value != 2 || cause(out[1].Err) != budget.CauseTime {
		t.Errorf("%+v", out)
	}
	if !errors.Is(out[1].Err, context.DeadlineExceeded) {
		t.Errorf("its error is no deadline: %v", out[1].Err)
	}
}

func TestOneThatHeedsNothingIsLeftBehind(t *testing.T) {
	var account budget.Account
	release := make(chan struct{})
	var asked atomic.Int32
	ask := func() []budget.Outcome[int] {
		return budget.Each(t.Context(), 2, 10*time.Millisecond, func(i int) *budget.Account {
			if i == 0 {
				return &account
			}
			return nil
		}, func(i int, _ *budget.Step) (int, error) {
			if i == 0 {
				asked.Add(1)
				<-release
			}
			return i, nil
		})
	}
	for range 2 {
		if out := ask(); cause(out[0].Err) != budget.CauseAbandoned || out[1].Err != nil || out[1].Value != 1 {
			t.Fatalf("%+v", out)
		}
	}
	if out := ask(); cause(out[0].Err) != budget.CauseStuck || out[1].Value != 1 || asked.Load() != 2 {
		t.Fatalf("asked %d times: %+v", asked.Load(), out)
	}
	close(release)
	for account.Abandoned() != 0 {
		runtime.Gosched()
	}
	if out := ask(); out[0].Err != nil {
		t.Errorf("it is not asked again after it recovered: %+v", out)
	}
}

func TestTheCallerIsNotKeptWaiting(t *testing.T) {
	ctx, cancel := context.WithCancel(t.Context())
	release := make(chan struct{})
	defer close(release)
	out := budget.Each(ctx, 2, time.Hour, nil, func(int, *budget.Step) (int, error) {
		cancel()
		<-release
		return 0, nil
	})
	if cause(out[0].Err) != budget.CauseAbandoned || cause(out[1].Err) != budget.CauseCaller {
		t.Errorf("%+v", out)
	}
}

func TestACrashIsAnError(t *testing.T) {
	out := budget.Each(t.Context(), 2, 0, nil, func(i int, _ *budget.Step) (int, error) {
		if i == 0 {
			panic("ouch")
		}
		return i, nil
	})
	if !errors.Is(out[0].Err, budget.ErrPanic) || out[1].Value != 1 {
		t.Errorf("%+v", out)
	}
}

func TestAnErrorOfItsOwnIsKept(t *testing.T) {
	own := errors.New("own")
	if _, err := budget.Once(t.Context(), 0, nil, func(*budget.Step) (int, error) { return 0, own }); !errors.Is(err, own) {
		t.Error(err)
	}
}

func TestOneThatFillsTheMemoryIsEnded(t *testing.T) {
	if testing.Short() {
		t.Skip("takes half a GiB")
	}
	runtime.GC() // what other tests left does not live
	_, err := budget.Once(t.Context(), time.Minute, nil, func(s *budget.Step) (int, error) {
		var kept [][]byte
		for !s.Cancelled() && len(kept) < 1024 {
			block := make([]byte, 1<<20)
			for i := 0; i < len(block); i += 4096 {
				block[i] = 1
			}
			kept = append(kept, block)
		}
		// One that was quicker than the watch is ended while it holds on to what it has.
		<-s.Done()
		t.Logf("ended at %d MiB", len(kept))
		return len(kept), errors.New("cancelled")
	})
	if cause(err) != budget.CauseMemory {
		t.Error(err)
	}
}

func TestDoneIsClosedHoweverEarlyOrLateItIsAskedFor(t *testing.T) {
	_, err := budget.Once(t.Context(), 10*time.Millisecond, nil, func(s *budget.Step) (int, error) {
		<-s.Done()
		<-s.Done()
		return 0, errors.New("ended")
	})
	if cause(err) != budget.CauseTime {
		t.Error(err)
	}
	var s budget.Step
	s.Cancel()
	s.Cancel()
	<-s.Done()
}
