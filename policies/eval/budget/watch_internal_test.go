package budget

import (
	"context"
	"errors"
	"runtime"
	"testing"
	"time"
)

// A process that the machine lets wait, and one that is busy with other evaluations, take
// nobody's time away.
func TestOnlyTheTimeCountsInWhichAnEvaluationCanHaveRun(t *testing.T) {
	began := time.Unix(1000, 0)
	procs := runtime.GOMAXPROCS(0)
	for name, c := range map[string]struct {
		gap     time.Duration
		looks   int
		running int
		last    time.Duration
		over    bool
	}{
		"within its share":                   {tick, 9, 1, time.Hour, false},
		"over its share":                     {tick, 11, 1, time.Hour, true},
		"the process waited":                 {time.Minute, 4, 1, time.Hour, false},
		"the process waited again and again": {time.Minute, 6, 1, time.Hour, true},
		"as many run as can":                 {tick, 11, procs, time.Hour, true},
		"four times as many run as can":      {tick, 11, 4 * procs, time.Hour, false},
		"and each has had its part":          {tick, 44, 4 * procs, time.Hour, true},
		"others need time as well":           {time.Minute, 1, 1, time.Second, true},
	} {
		s := &Step{began: began, share: allowance{run: 50 * time.Millisecond, last: c.last}}
		now := began
		for range c.looks {
			now = now.Add(c.gap)
			s.advance(now, c.running)
		}
		if over := s.over(now); over > 0 != c.over {
			t.Errorf("%s: over by %s, after it ran %s", name, over, s.ran)
		}
	}
}

func TestAStarvedWatchEndsNobodyAtItsFirstLook(t *testing.T) {
	began := time.Unix(1000, 0)
	s := &Step{began: began, share: allowance{run: time.Second, last: time.Hour}}
	x := &watching{ctx: t.Context(), abandon: func(*Step) { t.Error("it is left behind") }}
	x.step.Store(s)
	w := &watcher{running: map[*watching]struct{}{x: {}}}
	w.look(began.Add(time.Minute), &heap{})
	if err := s.Err(); err != nil {
		t.Error(err)
	}
	for i := range 200 {
		w.look(began.Add(time.Minute+time.Duration(i)*tick), &heap{})
	}
	if e, ok := errors.AsType[*Error](s.Err()); !ok || e.Cause != CauseTime {
		t.Errorf("after a second of its own: %v", s.Err())
	}
}

func TestAShareLeavesTimeForThoseWhoFollow(t *testing.T) {
	ctx, cancel := context.WithTimeout(t.Context(), time.Minute)
	defer cancel()
	b := &batch[int]{ctx: ctx, each: time.Second}
	if a := b.share(11); a.run != time.Second || a.last > 30*time.Second || a.last < 29*time.Second {
		t.Errorf("of a minute: %+v", a)
	}
	b.each = time.Hour
	if a := b.share(1); a.run != a.last || a.run > time.Minute {
		t.Errorf("of all there is: %+v", a)
	}
	b.ctx = t.Context()
	if a := b.share(3); a.run != time.Hour || a.last < 24*time.Hour {
		t.Errorf("without a deadline: %+v", a)
	}
}
