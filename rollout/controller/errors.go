package controller

import (
	"errors"
	"fmt"
	"time"

	apierrors "k8s.io/apimachinery/pkg/api/errors"
	"sigs.k8s.io/controller-runtime/pkg/reconcile"

	"tidegate.io/tidegate/schemas/render"
	"tidegate.io/tidegate/schemas/v1alpha1"
	"tidegate.io/tidegate/schemas/worker"
)

const (
	// conflictDelay lets the other writer finish.
	conflictDelay = 200 * time.Millisecond
	// waitingDelay is a fallback; what is waited for is watched.
	waitingDelay = time.Minute
)

// terminal is an error that stays until a person acts: Stalled, no retry.
type terminal struct{ cause v1alpha1.Cause }

func (e *terminal) Error() string { return e.cause.Code + ": " + e.cause.Message }

// waiting is an error that passes by itself: Reconciling, and another look at the latest
// after the given time.
type waiting struct {
	cause v1alpha1.Cause
	after time.Duration
}

func (e *waiting) Error() string { return e.cause.Code + ": " + e.cause.Message }

// errOvertaken is: what was read was overtaken by another writer; start again.
var errOvertaken = errors.New("overtaken by another writer")

func terminalf(code, format string, args ...any) error {
	return &terminal{v1alpha1.Cause{Code: code, Message: fmt.Sprintf(format, args...)}}
}

func waitingf(code, format string, args ...any) error {
	return &waiting{v1alpha1.Cause{Code: code, Message: fmt.Sprintf(format, args...)}, waitingDelay}
}

// causeOf returns the code and sentence of a terminal or waiting error, and whether
// somebody has to act on it. It returns nil for any other error, which may pass.
func causeOf(err error) (cause *v1alpha1.Cause, stalled bool) {
	if t, ok := errors.AsType[*terminal](err); ok {
		return &t.cause, true
	}
	if w, ok := errors.AsType[*waiting](err); ok {
		return &w.cause, false
	}
	return nil, false
}

// renderFailure makes the error of a failed render one of this package's kinds.
func renderFailure(revision string, err error) error {
	if values, ok := errors.AsType[*render.ValuesError](err); ok {
		return terminalf(values.Reason(), "the values do not fit template revision %s: %s", revision, values.Error())
	}
	if source, ok := errors.AsType[*render.SourceError](err); ok {
		return terminalf(source.Reason(),
			"template revision %s cannot render these values: %s; ask the template's owner, or pin an earlier revision with spec.template.revision",
			revision, source.Error())
	}
	// Not terminal: a slow machine may be to blame, and the pool answers from memory for a
	// while, so that asking again costs nothing.
	if bomb, ok := errors.AsType[*worker.BombError](err); ok {
		return waitingf(bomb.Reason(), "template revision %s: %s", revision, bomb.Error())
	}
	return fmt.Errorf("rendering with TemplateRevision %s: %w", revision, err)
}

// result is the one place where errors become what the queue does next.
func result(requeueAfter time.Duration, err error) (reconcile.Result, error) {
	switch {
	case err == nil:
		return reconcile.Result{RequeueAfter: requeueAfter}, nil
	case apierrors.IsConflict(err), errors.Is(err, errOvertaken):
		return reconcile.Result{RequeueAfter: conflictDelay}, nil
	}
	if w, ok := errors.AsType[*waiting](err); ok {
		return reconcile.Result{RequeueAfter: w.after}, nil
	}
	if _, ok := errors.AsType[*terminal](err); ok {
		return reconcile.Result{}, nil
	}
	return reconcile.Result{}, err
}
