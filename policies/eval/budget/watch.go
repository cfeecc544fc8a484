package budget

import (
	"context"
	"runtime"
	"runtime/metrics"
	"sync"
	"sync/atomic"
	"time"
)

const (
	// tick is how often running evaluations are looked at.
	tick = 5 * time.Millisecond
	// growth is how much the heap may grow while one evaluation runs, in bytes, beyond what
	// the collector lets it grow anyway.
	growth = 128 << 20
	// stride is the most that counts as time in which an evaluation ran, between one look and
	// the next: where more has gone by, the whole process had to wait.
	stride = 2 * tick
	// young evaluations are not blamed for the memory: whatever is large takes longer.
	young = 2 * tick
	// recheck is how long one that was ended for its memory has to let go of it before the
	// next one is ended too.
	recheck = 4 * tick
)

// watching is a batch of evaluations that runs.
type watching struct {
	ctx     context.Context //nolint:containedctx // it lives as long as the batch
	step    atomic.Pointer[Step]
	abandon func(*Step)
	// inside is whether it takes one of the places.
	inside atomic.Bool
	// looks is how often the watch saw it. It is the watch's alone.
	looks int
	// ended is when the watch first saw that ctx had ended. It is the watch's alone.
	ended time.Time
}

// watcher looks at all evaluations that run. It has a goroutine only while there are some.
type watcher struct {
	mu      sync.Mutex
	running map[*watching]struct{}
	awake   bool
	// spared is until when nobody is ended for memory.
	spared time.Time
}

var watch = &watcher{running: map[*watching]struct{}{}}

func (w *watcher) add(x *watching) {
	w.mu.Lock()
	defer w.mu.Unlock()
	w.running[x] = struct{}{}
	if !w.awake {
		w.awake = true
		go w.loop()
	}
}

func (w *watcher) remove(x *watching) {
	w.mu.Lock()
	defer w.mu.Unlock()
	delete(w.running, x)
}

// rest is how many ticks without work the loop waits before it ends.
const rest = 200

func (w *watcher) loop() {
	t := time.NewTicker(tick)
	defer t.Stop()
	h := heap{}
	for quiet := 0; quiet < rest; quiet++ {
		<-t.C
		if w.look(now(), &h) {
			quiet = 0
		}
	}
	w.mu.Lock()
	defer w.mu.Unlock()
	if len(w.running) > 0 {
		go w.loop()
		return
	}
	w.awake = false
}

// look ends what has to be ended, and says whether anything runs.
func (w *watcher) look(now time.Time, h *heap) bool {
	w.mu.Lock()
	defer w.mu.Unlock()
	if len(w.running) == 0 {
		return false
	}
	used, live := h.read()
	var oldest *Step
	running := 0
	for x := range w.running {
		if x.step.Load() != nil {
			running++
		}
	}
	for x := range w.running {
		if x.looks++; x.looks > patience {
			x.leave()
		}
		s := x.step.Load()
		if s == nil {
			continue
		}
		if s.heap == 0 {
			s.heap = live + 1
		}
		s.advance(now, running)
		x.hurry(s, now)
		if now.Sub(s.began) > young && tooMuch(used, s.heap) && !s.Cancelled() && (oldest == nil || s.began.Before(oldest.began)) {
			oldest = s
		}
	}
	if oldest != nil && now.After(w.spared) {
		oldest.end(CauseMemory)
		w.spared = now.Add(recheck)
	}
	return true
}

// advance adds to the time in which the step ran what has gone by since the last look: the
// part of it that it can have had among so many that run.
func (s *Step) advance(now time.Time, running int) {
	since := s.looked
	if since.IsZero() {
		since = s.began
	}
	s.looked = now
	gone := min(now.Sub(since), stride)
	if procs := runtime.GOMAXPROCS(0); running > procs {
		gone = gone * time.Duration(procs) / time.Duration(running)
	}
	s.ran += gone
}

// over is by how much the step has used up its time; negative while it has not.
func (s *Step) over(now time.Time) time.Duration {
	return max(s.ran-s.share.run, now.Sub(s.began)-s.share.last)
}

// hurry ends a step whose time is up, and leaves one behind that does not heed it.
func (x *watching) hurry(s *Step, now time.Time) {
	if x.ctx.Err() != nil && x.ended.IsZero() {
		x.ended = now
	}
	over := s.over(now)
	switch {
	case over > -tick:
		// Its share may be all the time that there is: then it is the one to name, and
		// not whoever asked.
		s.end(CauseTime)
	case x.ctx.Err() != nil:
		s.end(CauseCaller)
	}
	if over > grace || (!x.ended.IsZero() && now.Sub(x.ended) > grace) {
		x.abandon(s)
	}
}

// tooMuch says whether the heap, used bytes now, has grown by more than one evaluation may
// take since it held live bytes. The collector runs when what lived has doubled, so more
// than that is in use indeed. Where the process has a limit, being near it is enough.
func tooMuch(used, live uint64) bool {
	if used > 2*live+growth {
		return true
	}
	bound := limit()
	return used > live+growth/2 && used > bound-bound/8
}

// heap reads the size of the heap.
type heap struct{ samples []metrics.Sample }

// read returns how many bytes are in use, what the collector has not freed yet among them,
// and how many the last collection left.
func (h *heap) read() (used, live uint64) {
	if h.samples == nil {
		h.samples = []metrics.Sample{{Name: "/memory/classes/heap/objects:bytes"}, {Name: "/gc/heap/live:bytes"}}
	}
	metrics.Read(h.samples)
	return h.samples[0].Value.Uint64(), h.samples[1].Value.Uint64()
}
