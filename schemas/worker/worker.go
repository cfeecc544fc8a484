// Package worker runs what templates compute in child processes of the manager's own
// binary. The engine can be neither interrupted nor bounded from inside: a template, or
// values, of a few bytes can ask for hours or for all memory there is. A child that takes
// too long or too much is killed, the request that did it is answered with a *BombError,
// and everybody else is served by the next child.
//
// The parent is a Pool; the child is Main, which the program has to call when it is started
// with the Pool's Command:
//
//	pool, err := worker.New(worker.Options{Command: []string{self, "render-worker"}})
//	result, err := pool.Render(ctx, source, values, facts)
//
// A child that dies without its request being to blame is replaced, and the request is
// asked once more. One that has grown is replaced between two requests. What cost a worker
// is remembered by owner and input, and answered from memory for a while.
package worker

import (
	"errors"
	"fmt"
)

// ReasonRenderBudget is the code of a BombError.
const ReasonRenderBudget = "TG-RENDER-BUDGET"

var (
	// ErrClosed is the answer of a pool that was closed.
	ErrClosed = errors.New("rendering in a worker: the pool is closed")
	// ErrBusy is the answer when too many wait; later it may work.
	ErrBusy = errors.New("rendering in a worker: too many requests wait; try again")
	// ErrStarved is the answer when the machine gave a worker so little of its processors
	// that nothing can be said of the request; later it may work.
	ErrStarved = errors.New("rendering in a worker: the machine is too busy; try again")
	// ErrKilled is the answer when somebody else killed one worker and then its replacement,
	// far below what a worker may hold; later it may work.
	ErrKilled = errors.New("rendering in a worker: it was killed from outside, and so was its replacement; try again, and where that does not help let the manager's container hold the manager and all of its workers")
)

// Cause is why a worker died.
type Cause string

// The causes.
const (
	CauseDeadline Cause = "deadline"
	CauseMemory   Cause = "memory"
	// CauseCrash is a panic that ended the process, or anything else that did.
	CauseCrash Cause = "crash"
	// CauseStarved is too little of the processors: nobody's fault, and never in a BombError.
	CauseStarved Cause = "starved"
	// CauseKilled is a kill from outside, such as the system's when a container holds too
	// much: nobody's fault that is known, and never in a BombError.
	CauseKilled Cause = "killed"
)

// BombError says that a request cost a worker. It is nobody's but the owner's.
type BombError struct {
	// Owner is whose request it was, such as "Release shop/cart".
	Owner string
	Cause Cause
	// Limit is what was exceeded, such as "2s"; empty for a crash.
	Limit string
}

// Reason returns the stable code of the error.
func (e *BombError) Reason() string { return ReasonRenderBudget }

func (e *BombError) Error() string {
	wanted, found := "wanted it to be rendered", "the engine crashed"
	switch e.Cause {
	case CauseDeadline:
		wanted, found = "wanted it to be rendered within "+e.Limit, "more time was needed"
	case CauseMemory:
		wanted, found = "wanted it to be rendered within "+e.Limit+" of memory", "more was needed"
	case CauseCrash, CauseStarved, CauseKilled:
	}
	return fmt.Sprintf("%s: %s, found that %s; do: look for long lists, nested loops and alternatives that multiply, in the values first and then in the template; it is tried again when either changes, or after some minutes", e.Owner, wanted, found)
}
