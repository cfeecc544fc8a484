package worker

import (
	"errors"
	"os"
	"path/filepath"
	"runtime"
	"testing"
	"time"

	testingclock "k8s.io/utils/clock/testing"
)

func TestWhatIsLateOnABusyMachineIsNoBomb(t *testing.T) {
	const timeout = 2 * time.Second
	for name, c := range map[string]struct {
		since, worked time.Duration
		unknown       bool
		want          Cause
	}{
		"it worked all the time":                                {timeout, timeout, false, CauseDeadline},
		"it worked half of the time":                            {timeout, timeout / 2, false, CauseDeadline},
		"it hardly worked: it is given more time":               {timeout, timeout / 10, false, ""},
		"it did not work at all: it is given more time":         {timeout, 0, false, ""},
		"it was given more time and used it":                    {2 * timeout, timeout / 2, false, CauseDeadline},
		"it was given more time and hardly worked":              {2 * timeout, timeout/2 - 1, false, ""},
		"it was given all the time there is and hardly worked":  {patience * timeout, timeout/2 - 1, false, CauseStarved},
		"it was given all the time there is and did not work":   {patience * timeout, 0, false, CauseStarved},
		"nobody can tell how long it worked: the deadline does": {timeout, 0, true, CauseDeadline},
	} {
		if got := overdue(timeout, c.since, c.worked, !c.unknown); got != c.want {
			t.Errorf("%s: wanted %q, found %q", name, c.want, got)
		}
	}
}

// idle is a machine on which a worker that works is seen to have worked for nothing.
func idle(int) (time.Duration, bool) { return 0, true }

// A good Release that a node is too busy for must not be answered with its owner's guilt,
// and not from memory for half a minute.
func TestAWorkerThatIsNotLetWorkIsReplacedAndNobodyIsBlamed(t *testing.T) {
	watch := testingclock.NewFakeClock(time.Unix(0, 0))
	p := newPool(t, Options{Workers: 1, Clock: watch, Timeout: short, worked: idle, Command: self(t, asStopped, t.TempDir())})
	ask := func() error {
		_, err := p.Render(t.Context(), plain(t, ""), []byte(fair), release("good"))
		return err
	}
	err := run(watch, ask)
	if !errors.Is(err, ErrStarved) || isA[*BombError](err) {
		t.Fatalf("wanted %v, found %v", ErrStarved, err)
	}
	if n := count(t, p, CauseStarved); n != 1 || count(t, p, CauseDeadline) != 0 {
		t.Errorf("wanted one worker to be lost to the machine, found %d, and %d bombs", n, count(t, p, CauseDeadline))
	}
	if err := ask(); err != nil {
		t.Errorf("wanted it to be served when asked again, found %v", err)
	}
}

func TestAWorkerThatIsLateGetsTheTimeToFinish(t *testing.T) {
	watch := testingclock.NewFakeClock(time.Unix(0, 0))
	folder := t.TempDir()
	if err := os.WriteFile(filepath.Join(folder, "stopped"), nil, 0o600); err != nil {
		t.Fatal(err)
	}
	p := newPool(t, Options{Workers: 1, Clock: watch, Timeout: short, Command: self(t, asStopped, folder), worked: idle})
	answer := make(chan error, 1)
	go func() {
		_, err := p.Render(t.Context(), plain(t, unions(9)), []byte(fair), release("late"))
		answer <- err
	}()
	until(t, watch.HasWaiters)
	watch.Step(short)
	if err := <-answer; err != nil {
		t.Errorf("wanted it to be served late, found %v", err)
	}
}

// A bomb is one on a machine that shares its processors, too.
func TestABombIsKnownByTheTimeThatItWorked(t *testing.T) {
	if runtime.GOOS != "linux" {
		t.Skip("the system does not tell how long a process worked")
	}
	p := newPool(t, Options{Workers: 1, Timeout: short})
	var (
		bomb *BombError
		err  error
	)
	// A machine that is busy enough lets it work so little that nobody can tell.
	for tries := 0; tries == 0 || tries < 20 && errors.Is(err, ErrStarved); tries++ {
		_, err = p.Render(t.Context(), endless(t), []byte(fair), release("bomb"))
	}
	if !errors.As(err, &bomb) || bomb.Cause != CauseDeadline {
		t.Errorf("wanted a bomb, found %v", err)
	}
	worked, ok := processorTime(os.Getpid())
	if !ok || worked <= 0 {
		t.Errorf("wanted to know how long this process worked, found %s", worked)
	}
	if _, ok := processorTime(-1); ok {
		t.Error("wanted nothing to be known of a process that is not there")
	}
}
