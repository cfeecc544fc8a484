package budget

import (
	"context"
	"errors"
	"sync"
	"time"
)

// compiling remembers the compilations that were left behind: those of the whole process
// have one account, since each source is compiled anew and nothing else knows of the last.
var compiling = struct {
	account Account
	mu      sync.Mutex
	left    map[string]bool
}{left: map[string]bool{}}

// Compile runs one compilation as Once does. An engine cannot be interrupted while it
// compiles: so a source, by its digest, is not compiled again while a compilation of it that
// nobody waits for still runs, and none is while there are several such.
func Compile[T any](ctx context.Context, each time.Duration, digest string, evaluate func(*Step) (T, error)) (T, error) {
	var none T
	if isLeft(digest) {
		return none, &Error{Cause: CauseStuck}
	}
	ended := make(chan struct{})
	out, err := Once(ctx, each, &compiling.account, func(s *Step) (T, error) {
		defer leave(digest)
		defer close(ended)
		return evaluate(s)
	})
	if why, ok := errors.AsType[*Error](err); ok && why.Cause == CauseAbandoned {
		keep(digest, ended)
	}
	return out, err
}

func isLeft(digest string) bool {
	compiling.mu.Lock()
	defer compiling.mu.Unlock()
	return compiling.left[digest]
}

// keep remembers a compilation that was left behind, unless it has ended by now.
func keep(digest string, ended <-chan struct{}) {
	compiling.mu.Lock()
	defer compiling.mu.Unlock()
	select {
	case <-ended:
	default:
		compiling.left[digest] = true
	}
}

func leave(digest string) {
	compiling.mu.Lock()
	defer compiling.mu.Unlock()
	delete(compiling.left, digest)
}
