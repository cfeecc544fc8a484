package fault

import (
	"flag"
	"fmt"
	"strings"
	"sync"
	"sync/atomic"
	"testing"
	"time"
)

var everything = flag.Bool("everything", false, "disturb each request in every way; see make fault")

// TestFaults plays each scenario once undisturbed, and then once more for each of the requests of that
// run and each fault. Every run must end as the undisturbed one did, and keep to the invariants
// at each write.
//
// The manager is killed after each write, which leaves what a kill before the next one does; with
// -everything all else is done to each request too.
func TestFaults(t *testing.T) {
	l := newLab(t)
	for _, play := range scenarios() {
		l.publish(play.name, play.template)
		t.Run(play.name, func(t *testing.T) {
			t.Parallel()
			r := undisturbed(t, l, play)
			t.Run(killedAfter.name, func(t *testing.T) { r.enumerate(t, l, killedAfter, write) })
			if play.rise != "" {
				t.Run("a rise after an abort", func(t *testing.T) { newWorld(t, l, play.unseen()).abortedUnseen() })
			}
			if *everything {
				r.disturbAll(t, l)
			}
		})
	}
}

// disturbAll is what is done to a scenario besides killing its manager. All faults of it are played at the same
// time, so that no seat is empty while the slowest world of one of them ends.
func (r *record) disturbAll(t *testing.T, l *lab) {
	every := func(name string, f fault, of sort) {
		t.Run(name, func(t *testing.T) {
			t.Parallel()
			r.enumerate(t, l, f, of)
		})
	}
	every(killedBefore.name, killedBefore, write)
	for _, f := range []fault{conflicts, fails, unavailable, tooMany, timesOut, timesOutDone, resets, drops, silences} {
		every("a write, "+f.name, f, write)
	}
	for _, f := range []fault{fails, tooMany, timesOut, resets} {
		every("a read, "+f.name, f, read)
	}
	every("an event, "+timesOut.name, timesOut, event)
	t.Run("two managers", func(t *testing.T) {
		t.Parallel()
		r.each(t, l, write, func(w *world, at int) bool { return w.twofold(r, at) })
	})
	for _, by := range []time.Duration{3 * time.Hour, -3 * time.Hour} {
		t.Run("the clock jumps by "+by.String(), func(t *testing.T) {
			t.Parallel()
			r.each(t, l, write, func(w *world, at int) bool { return w.disturbed(r, w.jumps(by), write, at) })
		})
	}
}

// record is what an undisturbed run has left.
type record struct {
	play *scenario
	end  state
	// requests are what the manager sent, by sort.
	requests map[sort][]string
}

// undisturbed plays a scenario without any fault.
func undisturbed(t *testing.T, l *lab, play *scenario) *record {
	t.Helper()
	w := newWorld(t, l, play)
	m := w.prepare()
	play.begin(w)
	if !await(t.Context(), within, w.over) || !w.quiet(settled) {
		t.Fatalf("the undisturbed run does not end:%s", w.explain())
	}
	end, err := stateOf(l.journal.now(w.namespace), w.namespace)
	must(t, err)
	w.verify()
	r := &record{play: play, end: end, requests: map[sort][]string{}}
	for _, of := range []sort{write, event, read} {
		r.requests[of] = m.list(of)
	}
	r.requests[query], r.requests[call] = make([]string, w.measurer.counted()), make([]string, w.hooks.counted())
	t.Logf("%d writes, %d events, %d reads:\n\t%s", len(r.requests[write]), len(r.requests[event]), len(r.requests[read]),
		strings.Join(r.requests[write], "\n\t"))
	if len(r.requests[write]) < 5 {
		t.Fatalf("%d writes are too few to tell anything", len(r.requests[write]))
	}
	return r
}

// prepare starts a manager, lets it bring into service what is there before, and counts from there.
func (w *world) prepare() *running {
	w.t.Helper()
	m := w.start()
	if w.play.before != "" {
		w.apply(w.play.before, w.play.pods)
		if !await(w.t.Context(), within, w.over) || !w.rests() {
			w.t.Fatalf("%s does not come into service:%s", w.play.before, w.explain())
		}
	}
	w.person()
	w.measurer.set(0, nil)
	w.hooks.set(0, nil)
	m.arm()
	return m
}

// rests waits until nothing was written in the namespace for a while.
func (w *world) rests() bool {
	return w.stays(paused, func() int { return w.lab.journal.length(w.namespace) })
}

// enumerate disturbs each request of a sort, one in each run.
func (r *record) enumerate(t *testing.T, l *lab, f fault, of sort) {
	t.Helper()
	r.each(t, l, of, func(w *world, at int) bool { return w.disturbed(r, f, of, at) })
}

// each plays the scenario once for each request of a sort. play says whether the request was
// there.
func (r *record) each(t *testing.T, l *lab, of sort, play func(w *world, at int) bool) {
	t.Helper()
	var wg sync.WaitGroup
	var missed atomic.Int32
	for at := 1; at <= len(r.requests[of]); at++ {
		l.seats <- struct{}{}
		wg.Go(func() {
			defer func() { <-l.seats }()
			w := newWorld(t, l, r.play)
			defer w.killAll()
			if !play(w, at) {
				missed.Add(1)
			}
		})
	}
	wg.Wait()
	t.Logf("%d requests of %d were disturbed", len(r.requests[of])-int(missed.Load()), len(r.requests[of]))
	// How words are gathered into writes differs by some from run to run.
	if allowed := 2 + len(r.requests[of])/5; int(missed.Load()) > allowed {
		t.Errorf("%d of %d requests were not there to be disturbed, want %d at most", missed.Load(), len(r.requests[of]), allowed)
	}
}

// disturbed plays the scenario with a fault at one request, and says whether there was one.
func (w *world) disturbed(r *record, f fault, of sort, at int) bool {
	m := w.prepare()
	m.disturb(f, of, at)
	w.play.begin(w)
	fired := w.awaitFault(m, r)
	if fired && f.kills {
		m.kill()
		w.start().arm()
	}
	w.conclude(r, fmt.Sprintf("%s, %s %d", f.name, sorts[of], at))
	return fired
}

// awaitFault waits until the fault of a manager has come to pass, or everything has ended.
func (w *world) awaitFault(m *running, r *record) bool {
	fired := false
	await(w.t.Context(), within, func() bool {
		select {
		case <-m.fired:
			fired = true
		default:
		}
		return fired || w.over() && w.same(r.end) == ""
	})
	return fired
}

var sorts = map[sort]string{write: "write", read: "read", event: "event", lease: "lease"}

// same says in what the world differs from a state.
func (w *world) same(end state) string {
	is, err := stateOf(w.lab.journal.now(w.namespace), w.namespace)
	if err != nil {
		return err.Error()
	}
	return end.diff(is)
}

// conclude waits for the end, which must be that of the undisturbed run (I6) and stay (I5). Words that were
// put off may come late.
func (w *world) conclude(r *record, what string) {
	w.t.Helper()
	if !w.comesToRest(r.end) && w.t.Context().Err() == nil {
		w.t.Errorf("I5, I6: %s: wanted the end of the undisturbed run and then no write for %s, found in the end:\n%s%s",
			what, paused, w.same(r.end), w.explain())
		return
	}
	w.verify(what)
}

// comesToRest waits until the world is in a state and nothing has been written for a while.
func (w *world) comesToRest(end state) bool {
	count, since := -1, time.Now()
	return await(w.t.Context(), within, func() bool {
		if n := w.lab.journal.length(w.namespace); n != count {
			count, since = n, time.Now()
		}
		return time.Since(since) >= paused && w.over() && w.same(end) == ""
	})
}

// verify holds every write against the invariants.
func (w *world) verify(what ...string) {
	c := check(w.lab.journal.of(w.namespace))
	for _, v := range c.violations {
		w.t.Errorf("%s %s", what, v)
	}
	if len(c.violations) > 0 {
		w.t.Log(w.explain())
	}
	for image, share := range w.play.shown {
		if got := c.shown[c.revision(image)]; got != share {
			w.t.Errorf("%s: %s has had %d %% at most, want %d:%s", what, image, got, share, w.explain())
		}
	}
}
