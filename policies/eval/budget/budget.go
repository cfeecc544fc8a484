// Package budget runs the evaluations of one request within its time, each within a share
// of it, and within the memory of the process. An evaluation that takes more is ended, or,
// where it does not heed, left behind, so that no policy can hold a request up.
//
// It is the one part of judging that looks at a clock, and at the heap, and it does so
// only in order to give up: what a policy says never depends on either.
package budget

import (
	"context"
	"errors"
	"fmt"
	"math"
	"runtime/debug"
	"sync"
	"sync/atomic"
	"time"
)

const (
	// DefaultEach is the most time that one evaluation gets to run. What the machine spends
	// elsewhere does not count.
	DefaultEach = time.Second
	// reserve is the time that is kept for each of those that wait, as long as there is
	// enough. An ordinary evaluation takes a tenth of a millisecond.
	reserve = 10 * time.Millisecond
	// grace is how long an evaluation may take to heed that it was ended.
	grace = 100 * time.Millisecond
	// maxAbandoned is how many evaluations of one policy may be left behind, still running,
	// before it is not asked any more.
	maxAbandoned = 2
)

// Cause is why an evaluation was ended.
type Cause int32

const (
	// CauseNone is: it was not.
	CauseNone Cause = iota
	// CauseTime is: it took longer than its share.
	CauseTime
	// CauseMemory is: the heap grew by too much while it ran.
	CauseMemory
	// CauseAbandoned is: it heeds no end; it runs on, and nobody waits for it.
	CauseAbandoned
	// CauseStuck is: so many of this policy were left behind that it is not asked.
	CauseStuck
	// CauseCaller is: whoever asked waits no more, or the time for all was used up.
	CauseCaller
)

// Error says that an evaluation was ended.
type Error struct {
	Cause Cause
	// Share is the time that it had.
	Share time.Duration
}

func (e *Error) Error() string {
	switch e.Cause {
	case CauseTime:
		return fmt.Sprintf("it took longer than its share of the time, %s", e.Share.Round(time.Millisecond))
	case CauseMemory:
		return "the memory in use grew by more than one evaluation may take"
	case CauseAbandoned:
		return fmt.Sprintf("it took longer than its share of the time, %s, and cannot be interrupted", e.Share.Round(time.Millisecond))
	case CauseStuck:
		return fmt.Sprintf("%d earlier evaluations of it still run and cannot be interrupted, so it is not asked", maxAbandoned)
	case CauseCaller:
		return "the time for all policies was used up before it answered"
	case CauseNone:
	}
	return "it was ended"
}

// Unwrap lets callers ask for the deadline.
func (e *Error) Unwrap() error {
	switch e.Cause {
	case CauseTime, CauseAbandoned, CauseCaller:
		return context.DeadlineExceeded
	case CauseNone, CauseMemory, CauseStuck:
	}
	return nil
}

// ErrPanic is wrapped by the error of an evaluation that panicked.
var ErrPanic = errors.New("the evaluation crashed")

// Account remembers about one policy what was left behind. The zero value is ready.
type Account struct{ abandoned atomic.Int32 }

// Abandoned is how many evaluations were left behind and still run.
func (a *Account) Abandoned() int { return int(a.abandoned.Load()) }

// Step is one evaluation. It is the engine's token of cancellation.
type Step struct {
	cause atomic.Int32
	began time.Time
	share allowance
	// ran is how long it ran as far as can be told from outside, until the watch looked at
	// it last. They are the watch's alone.
	ran    time.Duration
	looked time.Time
	// heap is that of the process when the watch first saw the step, in bytes; 0 before.
	// It is the watch's alone.
	heap uint64

	mu   sync.Mutex
	done chan struct{}
}

// Done is closed when the step is ended.
func (s *Step) Done() <-chan struct{} {
	s.mu.Lock()
	defer s.mu.Unlock()
	if s.done == nil {
		s.done = make(chan struct{})
		if s.Cancelled() {
			close(s.done)
		}
	}
	return s.done
}

// Share is the time that the step may run.
func (s *Step) Share() time.Duration { return s.share.run }

// Cancel ends the step.
func (s *Step) Cancel() { s.end(CauseCaller) }

// Cancelled says whether the step was ended.
func (s *Step) Cancelled() bool { return Cause(s.cause.Load()) != CauseNone }

// Err is why the step was ended, or nil.
func (s *Step) Err() error {
	if c := Cause(s.cause.Load()); c != CauseNone {
		return &Error{Cause: c, Share: s.share.run}
	}
	return nil
}

func (s *Step) end(c Cause) {
	s.mu.Lock()
	defer s.mu.Unlock()
	if s.cause.CompareAndSwap(int32(CauseNone), int32(c)) && s.done != nil {
		close(s.done)
	}
}

// Outcome is what one evaluation came to.
type Outcome[T any] struct {
	Value T
	// Err is an *Error where the evaluation was ended, and else its own.
	Err error
}

// Each runs n evaluations, one after the other, and returns what each came to. All
// together end with ctx, and each gets at most the time each, 0 being DefaultEach: a fair
// share of what is left, with something kept back for those that follow. account says
// whose the evaluation is; it may be nil.
//
// An evaluation that does not heed the end of its step is left behind, and the next one
// goes on without it.
func Each[T any](ctx context.Context, n int, each time.Duration, account func(i int) *Account, evaluate func(i int, s *Step) (T, error)) []Outcome[T] {
	if each <= 0 {
		each = DefaultEach
	}
	out := make([]Outcome[T], 0, n)
	for len(out) < n {
		if !enter(ctx) {
			for range n - len(out) {
				out = append(out, Outcome[T]{Err: &Error{Cause: CauseCaller}})
			}
			break
		}
		b := &batch[T]{
			ctx: ctx, first: len(out), n: n, each: each, account: account, evaluate: evaluate,
			done: make(chan struct{}), left: make(chan struct{}),
		}
		run(b.work)
		select {
		case <-b.done:
		case <-b.left:
		}
		out = append(out, b.take()...)
	}
	return out
}

// batch is what one goroutine does: the evaluations from first on.
type batch[T any] struct {
	ctx      context.Context //nolint:containedctx // it lives as long as the call of Each
	first, n int
	each     time.Duration
	account  func(i int) *Account
	evaluate func(i int, s *Step) (T, error)
	// done is closed when all have been evaluated, left when the one that runs does not
	// heed its end and nobody waits for it any more.
	done, left chan struct{}

	mu  sync.Mutex
	out []Outcome[T]
	// current is the step that runs.
	current   *Step
	abandoned bool
}

func (b *batch[T]) work() {
	defer close(b.done)
	w := watching{ctx: b.ctx, abandon: b.abandon}
	w.inside.Store(true)
	watch.add(&w)
	defer watch.remove(&w)
	defer w.leave()
	for i := b.first; i < b.n; i++ {
		var account *Account
		if b.account != nil {
			account = b.account(i)
		}
		s := &Step{share: b.share(b.n - i)}
		var o Outcome[T]
		switch {
		case account != nil && account.abandoned.Load() >= maxAbandoned:
			o.Err = &Error{Cause: CauseStuck}
		case b.ctx.Err() != nil || s.share.last <= 0:
			o.Err = &Error{Cause: CauseCaller}
		default:
			s.began = now()
			b.begin(s)
			w.step.Store(s)
			o = b.one(i, s)
			w.step.Store(nil)
		}
		if !b.put(o) {
			if account != nil {
				account.abandoned.Add(-1)
			}
			return
		}
	}
}

// one evaluates and survives what the evaluation does.
func (b *batch[T]) one(i int, s *Step) (o Outcome[T]) {
	defer func() {
		if p := recover(); p != nil {
			o = Outcome[T]{Err: fmt.Errorf("%w: %v", ErrPanic, p)}
		}
	}()
	o.Value, o.Err = b.evaluate(i, s)
	// One that was ended and answers all the same was asked in time or was not; its
	// answer stands if it is whole.
	if o.Err != nil {
		if err := s.Err(); err != nil {
			o.Err = err
		}
	}
	return o
}

func (b *batch[T]) begin(s *Step) {
	b.mu.Lock()
	defer b.mu.Unlock()
	b.current = s
}

// put keeps an outcome, unless nobody waits for it.
func (b *batch[T]) put(o Outcome[T]) bool {
	b.mu.Lock()
	defer b.mu.Unlock()
	if b.abandoned {
		return false
	}
	b.out = append(b.out, o)
	b.current = nil
	return true
}

// abandon leaves a step behind, if it still runs.
func (b *batch[T]) abandon(s *Step) {
	b.mu.Lock()
	defer b.mu.Unlock()
	if b.abandoned || b.current != s {
		return
	}
	b.abandoned = true
	if b.account != nil {
		if account := b.account(b.first + len(b.out)); account != nil {
			account.abandoned.Add(1) // the goroutine takes it back when it ends after all
		}
	}
	b.out = append(b.out, Outcome[T]{Err: &Error{Cause: CauseAbandoned, Share: s.share.run}})
	close(b.left)
}

// take returns what there is.
func (b *batch[T]) take() []Outcome[T] {
	b.mu.Lock()
	defer b.mu.Unlock()
	return b.out
}

// allowance is the time of one evaluation: how long it may run, and how long it may last,
// be the machine ever so busy with others, since those that follow need time as well.
type allowance struct{ run, last time.Duration }

// share is the time for the next of so many.
func (b *batch[T]) share(left int) allowance {
	deadline, ok := b.ctx.Deadline()
	if !ok {
		return allowance{run: b.each, last: math.MaxInt64 - grace}
	}
	remaining := time.Until(deadline)
	others := time.Duration(left - 1)
	last := max(remaining/time.Duration(left), remaining-others*reserve)
	run := min(b.each, last)
	// On a busy machine one that runs away must not leave the others the last moments alone.
	return allowance{run: run, last: min(last, max(2*run, remaining/2))}
}

// Once runs one evaluation as Each does.
func Once[T any](ctx context.Context, each time.Duration, account *Account, evaluate func(*Step) (T, error)) (T, error) {
	of := func(int) *Account { return account }
	if account == nil {
		of = nil
	}
	o := Each(ctx, 1, each, of, func(_ int, s *Step) (T, error) { return evaluate(s) })[0]
	return o.Value, o.Err
}

// now is the time, for budgets alone.
func now() time.Time { return time.Now() } //nolint:forbidigo // a budget is of real time

// idle are goroutines that wait for work. They keep their stacks, which evaluations make
// deep and which would be grown anew by each new goroutine.
var idle = make(chan func())

const idleFor = 10 * time.Second

func run(work func()) {
	select {
	case idle <- work:
	default:
		go func() {
			work()
			t := time.NewTimer(idleFor)
			defer t.Stop()
			for {
				select {
				case next := <-idle:
					next()
					t.Reset(idleFor)
				case <-t.C:
					return
				}
			}
		}()
	}
}

// limit is GOMEMLIMIT, in bytes; a large number where there is none.
func limit() uint64 { return uint64(debug.SetMemoryLimit(-1)) } //nolint:gosec // it is never negative

// Share returns ctx with an earlier deadline, which keeps so much of the time that is left
// for each of those that wait, or else an equal part of it. Without a deadline there is
// nothing to share.
func Share(ctx context.Context, waiting int, each time.Duration) (context.Context, context.CancelFunc) {
	deadline, ok := ctx.Deadline()
	if !ok {
		return ctx, func() {}
	}
	left, kept := time.Until(deadline), time.Duration(waiting)
	return context.WithTimeout(ctx, max(left/(kept+1), left-kept*each))
}
