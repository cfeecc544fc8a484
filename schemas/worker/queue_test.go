package worker

import (
	"errors"
	"slices"
	"testing"
	"time"

	testingclock "k8s.io/utils/clock/testing"
)

func (q *queue) len() int {
	q.mu.Lock()
	defer q.mu.Unlock()
	return len(q.waiting)
}

// take returns the names of the jobs that run next, without any of them finishing.
func (q *queue) take() []string {
	var names []string
	for {
		q.mu.Lock()
		none := q.choose(1) < 0
		q.mu.Unlock()
		if none {
			return names
		}
		j, _ := q.next(1)
		names = append(names, j.owner.name)
	}
}

func waitingJob(name, group, digest string) *job {
	return &job{owner: owner{name: name, group: group}, request: request{Digest: digest}, input: digest, done: make(chan outcome, 1)}
}

func TestTheOrderOfTheQueue(t *testing.T) {
	for name, c := range map[string]struct {
		suspects []string
		jobs     []*job
		want     []string
	}{
		"first come, first served within a namespace": {
			nil,
			[]*job{waitingJob("a", "shop", "1"), waitingJob("b", "shop", "1"), waitingJob("c", "shop", "1")},
			[]string{"a", "b", "c"},
		},
		"an owner has one running": {
			nil,
			[]*job{waitingJob("a", "shop", "1"), waitingJob("a", "shop", "1"), waitingJob("b", "shop", "1")},
			[]string{"a", "b"},
		},
		"namespaces take turns, however much one asks": {
			nil,
			[]*job{waitingJob("a1", "a", "1"), waitingJob("a2", "a", "1"), waitingJob("a3", "a", "1"), waitingJob("b1", "b", "1"), waitingJob("c1", "c", "1")},
			[]string{"a1", "b1", "c1", "a2", "a3"},
		},
		"a namespace that cost a worker has one running": {
			[]string{"a"},
			[]*job{waitingJob("a1", "a", "1"), waitingJob("a2", "a", "1"), waitingJob("b1", "b", "1"), waitingJob("b2", "b", "1")},
			[]string{"a1", "b1", "b2"},
		},
		"a template that cost a worker has one running": {
			[]string{"bad"},
			[]*job{waitingJob("a1", "a", "bad"), waitingJob("b1", "b", "bad"), waitingJob("c1", "c", "good")},
			[]string{"a1", "c1"},
		},
	} {
		t.Run(name, func(t *testing.T) {
			q := newQueue(10, func(n string) bool { return slices.Contains(c.suspects, n) }, func(int) {})
			for _, j := range c.jobs {
				if err := q.add(j); err != nil {
					t.Fatal(err)
				}
			}
			if got := q.take(); !slices.Equal(got, c.want) {
				t.Errorf("wanted %v, found %v", c.want, got)
			}
		})
	}
}

func TestWhatFinishedMakesRoomForItsOwner(t *testing.T) {
	q := newQueue(10, func(string) bool { return true }, func(int) {})
	first, second := waitingJob("a", "shop", "1"), waitingJob("a", "shop", "1")
	for _, j := range []*job{first, second} {
		if err := q.add(j); err != nil {
			t.Fatal(err)
		}
	}
	if got := q.take(); len(got) != 1 {
		t.Fatalf("wanted one, found %v", got)
	}
	q.finished(first)
	if got := q.take(); len(got) != 1 {
		t.Fatalf("wanted the other, found %v", got)
	}
	q.finished(second)
	if len(q.owners)+len(q.names)+len(q.served) != 0 {
		t.Errorf("wanted nothing to be left, found %v %v %v", q.owners, q.names, q.served)
	}
}

func TestAQueueIsBounded(t *testing.T) {
	q := newQueue(1, func(string) bool { return false }, func(int) {})
	if err := q.add(waitingJob("a", "shop", "1")); err != nil {
		t.Fatal(err)
	}
	if err := q.add(waitingJob("b", "shop", "1")); !errors.Is(err, ErrBusy) {
		t.Errorf("wanted ErrBusy, found %v", err)
	}
	if left := q.close(); len(left) != 1 {
		t.Errorf("wanted the one that waits back, found %v", left)
	}
	if err := q.add(waitingJob("c", "shop", "1")); !errors.Is(err, ErrClosed) {
		t.Errorf("wanted ErrClosed, found %v", err)
	}
	if _, ok := q.next(1); ok {
		t.Error("wanted no work of a closed queue")
	}
}

func TestGrudges(t *testing.T) {
	watch := testingclock.NewFakeClock(time.Unix(0, 0))
	g, err := newGrudges(watch)
	if err != nil {
		t.Fatal(err)
	}
	bad := waitingJob("Release shop/a", "shop", "1")
	if g.against(bad) != nil || g.suspect("shop") || g.suspect("1") {
		t.Fatal("wanted nothing to be held against anybody at first")
	}
	bomb := &BombError{Owner: "Release shop/a", Cause: CauseMemory}
	for i, wait := range []time.Duration{30 * time.Second, time.Minute, 2 * time.Minute, 4 * time.Minute, 8 * time.Minute, maxBackOff, maxBackOff} {
		g.hold(bad, bomb)
		watch.Step(wait - time.Nanosecond)
		if g.against(bad) != bomb {
			t.Errorf("time %d: wanted the error to be remembered for %s", i, wait)
		}
		watch.Step(time.Nanosecond)
		if g.against(bad) != nil {
			t.Errorf("time %d: wanted another try after %s", i, wait)
		}
	}
	g.hold(bad, bomb)
	if other := waitingJob("Release shop/a", "shop", "2"); g.against(other) != nil {
		t.Error("wanted another input of the same owner to be tried")
	}
	if other := waitingJob("Release shop/b", "shop", "1"); g.against(other) != nil {
		t.Error("wanted another owner of the same template to be tried")
	}
	if !g.suspect("shop") || !g.suspect("1") || g.suspect("cafe") {
		t.Error("wanted the namespace and the template, and no others, to be held to one worker")
	}
	watch.Step(maxBackOff)
	if g.suspect("shop") || g.suspect("1") {
		t.Error("wanted the past to be forgotten")
	}
}

func TestAJobForOneSlotIsLeftByTheOthers(t *testing.T) {
	q := newQueue(10, func(string) bool { return false }, func(int) {})
	for only, name := range []string{"any", "first", "second"} {
		if err := q.add(&job{owner: owner{name: name, group: "g"}, only: only}); err != nil {
			t.Fatal(err)
		}
	}
	for _, want := range []struct {
		slot int
		name string
	}{{2, "any"}, {2, "second"}, {1, "first"}} {
		if j, ok := q.next(want.slot); !ok || j.owner.name != want.name {
			t.Errorf("slot %d: wanted the job %q, found %+v", want.slot, want.name, j)
		}
	}
}
