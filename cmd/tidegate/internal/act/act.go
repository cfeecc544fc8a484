// Package act turns a person's decision about a Release into a RolloutCommand for its
// newest Rollout, and one about a template into a TemplateCommand, and waits for what
// becomes of it.
package act

import (
	"context"
	"errors"
	"fmt"
	"strings"
	"time"

	apierrors "k8s.io/apimachinery/pkg/api/errors"
	metav1 "k8s.io/apimachinery/pkg/apis/meta/v1"
	"k8s.io/apimachinery/pkg/util/wait"
	"sigs.k8s.io/controller-runtime/pkg/client"

	"tidegate.io/tidegate/cmd/tidegate/internal/gather"
	"tidegate.io/tidegate/rollout/plan"
	"tidegate.io/tidegate/schemas/v1alpha1"
)

// interval is the time between two looks at a command's status.
const interval = 250 * time.Millisecond

// Decision is what a person decided about a Release.
type Decision struct {
	Release string
	Action  v1alpha1.CommandAction
	// Step that is approved or skipped; 0 is the one that the Rollout stands in.
	Step int32
	// To is the number, name or revision of the Rollout that roll-back returns to; empty for
	// what served before.
	To     string
	Reason string
}

// MisfitError says that a decision does not fit where the Rollout stands.
type MisfitError struct{ Message string }

// Error returns the message.
func (e *MisfitError) Error() string { return e.Message }

// RefusedError is the API server's "no" to a command: RBAC's, a schema's or the webhook's.
// Its words are the API server's own, since they name the rule and the remedy.
type RefusedError struct{ Err error }

// Error returns the API server's words.
func (e *RefusedError) Error() string { return e.Err.Error() }

// Unwrap returns the API server's error.
func (e *RefusedError) Unwrap() error { return e.Err }

// Create makes the RolloutCommand. The API server stamps who decided; the webhook
// decides whether they may.
func Create(ctx context.Context, c client.Client, namespace string, d Decision) (*v1alpha1.RolloutCommand, error) {
	reader := gather.Reader{Client: c, Namespace: namespace}
	if _, err := reader.Release(ctx, d.Release); err != nil {
		return nil, err
	}
	rollouts, err := reader.Rollouts(ctx, d.Release)
	if err != nil {
		return nil, err
	}
	command, err := Compose(rollouts, d)
	if err != nil {
		return nil, err
	}
	command.Namespace = namespace
	switch err := c.Create(ctx, command); {
	case apierrors.IsForbidden(err), apierrors.IsInvalid(err):
		return nil, &RefusedError{Err: err}
	case err != nil:
		return nil, fmt.Errorf("creating a RolloutCommand: %w", err)
	}
	return command, nil
}

// Compose makes the command without sending it, given the Rollouts of the Release, the
// newest first. Only what can never fit is refused here.
func Compose(rollouts []v1alpha1.Rollout, d Decision) (*v1alpha1.RolloutCommand, error) {
	if len(rollouts) == 0 {
		return nil, misfit("Release %q has no Rollout yet, so there is nothing to %s; look at it with: tidegate status %s", d.Release, d.Action, d.Release)
	}
	rollout := &rollouts[0]
	phase := rollout.Status.Phase
	switch d.Action {
	case v1alpha1.CommandRetry:
		if phase != v1alpha1.RolloutAborted {
			return nil, misfit("Rollout %s is %s, and only one that was aborted is tried again; look at it with: tidegate status %s", rollout.Name, orPending(phase), d.Release)
		}
	case v1alpha1.CommandRollBack:
		var err error
		if rollout, err = returnTo(rollouts, d); err != nil {
			return nil, err
		}
	case v1alpha1.CommandApprove, v1alpha1.CommandPause, v1alpha1.CommandResume, v1alpha1.CommandAbort,
		v1alpha1.CommandSkipStep, v1alpha1.CommandPromote:
		if phase.Terminal() {
			return nil, misfit("Rollout %s has ended (%s), so there is nothing to %s; a change of the Release begins the next one", rollout.Name, phase, d.Action)
		}
	}
	step, err := stepOf(rollout, d)
	if err != nil {
		return nil, err
	}
	d.Step = step
	return &v1alpha1.RolloutCommand{
		ObjectMeta: metav1.ObjectMeta{
			GenerateName: rollout.Name + "-" + string(d.Action) + "-",
			Labels: map[string]string{
				v1alpha1.LabelRelease: d.Release,
				v1alpha1.LabelRollout: rollout.Name,
			},
		},
		Spec: v1alpha1.RolloutCommandSpec{Rollout: rollout.Name, Action: d.Action, Step: d.Step, Reason: d.Reason},
	}, nil
}

func orPending(p v1alpha1.RolloutPhase) v1alpha1.RolloutPhase {
	if p == "" {
		return v1alpha1.RolloutPending
	}
	return p
}

// stepOf returns the step that a decision is about, 0 where it is about none.
func stepOf(rollout *v1alpha1.Rollout, d Decision) (int32, error) {
	switch {
	case d.Action == v1alpha1.CommandApprove:
		return approvable(rollout, d.Step)
	case d.Action == v1alpha1.CommandSkipStep && d.Step == 0:
		if rollout.Status.Step == 0 {
			return 0, misfit("Rollout %s has not come to a step yet; look at it with: tidegate status %s", rollout.Name, d.Release)
		}
		return rollout.Status.Step, nil
	case d.Action == v1alpha1.CommandSkipStep:
		if n := len(plan.Walked(rollout.Spec)); d.Step < 1 || int(d.Step) > n {
			return 0, misfit("wanted a step from 1 to %d of Rollout %s, found %d", n, rollout.Name, d.Step)
		}
		return d.Step, nil
	case d.Step != 0:
		return 0, misfit("only approve and skip take a step")
	}
	return 0, nil
}

// returnTo returns the Rollout whose revision is to be brought back: the one asked for or,
// where none was, the newest that has been in service with another revision than the one
// that is now, or that is on its way. After an abort that serves which was before it: whether
// it or an older one is meant has to be said.
func returnTo(rollouts []v1alpha1.Rollout, d Decision) (*v1alpha1.Rollout, error) {
	view := tidyNames(rollouts)
	newest := &rollouts[0]
	if d.To != "" {
		return named(rollouts, d, view)
	}
	var now string
	switch newest.Status.Phase {
	case v1alpha1.RolloutAborted:
		return nil, misfit("Rollout %s was aborted, and what served before it serves; name the one to return to with --to: %s", newest.Name, view)
	case v1alpha1.RolloutSucceeded:
		now = newest.Spec.Revision
	case v1alpha1.RolloutPending, v1alpha1.RolloutProgressing, v1alpha1.RolloutPromoting, v1alpha1.RolloutAborting:
	}
	for i := range rollouts {
		if r := &rollouts[i]; r.Status.Phase == v1alpha1.RolloutSucceeded && r.Spec.Revision != now {
			return r, nil
		}
	}
	return nil, misfit("Release %s has no other revision that was in service; see what there was with: tidegate history %s", d.Release, d.Release)
}

// named returns the Rollout that is asked for. Several may have one revision: it is the newest
// that has been in service with it.
func named(rollouts []v1alpha1.Rollout, d Decision, view string) (*v1alpha1.Rollout, error) {
	var found *v1alpha1.Rollout
	for i := range rollouts {
		r := &rollouts[i]
		if d.To != r.Name && d.To != fmt.Sprint(r.Spec.Number) && d.To != r.Spec.Revision {
			continue
		}
		if found = r; r.Status.Phase == v1alpha1.RolloutSucceeded {
			break
		}
	}
	switch {
	case found == nil:
		return nil, misfit("wanted the number, name or revision of a rollout of Release %s, found %q; those to return to are %s", d.Release, d.To, view)
	case found.Status.Phase != v1alpha1.RolloutSucceeded:
		return nil, misfit("Rollout %s has never been in service (%s), so its revision cannot be brought back; those that can are %s", found.Name, orPending(found.Status.Phase), view)
	case found == &rollouts[0]:
		return nil, misfit("Rollout %s is the newest, and its revision serves; those to return to are %s", found.Name, view)
	}
	return found, nil
}

// tidyNames lists the Rollouts that can be returned to.
func tidyNames(rollouts []v1alpha1.Rollout) string {
	var out []string
	for i := range rollouts {
		if r := &rollouts[i]; i > 0 && r.Status.Phase == v1alpha1.RolloutSucceeded {
			out = append(out, fmt.Sprintf("%d (%s)", r.Spec.Number, r.Spec.Revision))
		}
	}
	if len(out) == 0 {
		return "none"
	}
	return strings.Join(out, ", ")
}

// approvable returns the step to approve: the one asked for or, where none was, the one
// that the Rollout stands in.
func approvable(rollout *v1alpha1.Rollout, step int32) (int32, error) {
	steps := plan.Walked(rollout.Spec)
	levels := plan.Levels(steps)
	asks := func(step int32) bool { return steps[step-1].Pause != nil && steps[step-1].Pause.Approval }
	var asking []string
	for i := range steps {
		if asks(int32(i) + 1) {
			asking = append(asking, fmt.Sprintf("%d (at %d %%)", i+1, levels[i+1].Weight))
		}
	}
	if len(asking) == 0 {
		return 0, misfit("no step of Rollout %s asks for an approval", rollout.Name)
	}
	if step == 0 {
		step = rollout.Status.Step
		if step < 1 || int(step) > len(steps) || !asks(step) {
			return 0, misfit("Rollout %s stands in step %d, which asks for no approval; those that do are %s: name one with --step", rollout.Name, step, strings.Join(asking, ", "))
		}
		return step, nil
	}
	if step < 1 || int(step) > len(steps) {
		return 0, misfit("wanted a step from 1 to %d of Rollout %s, found %d", len(steps), rollout.Name, step)
	}
	if !asks(step) {
		return 0, misfit("step %d of Rollout %s asks for no approval; those that do are %s", step, rollout.Name, strings.Join(asking, ", "))
	}
	return step, nil
}

func misfit(format string, args ...any) error {
	return &MisfitError{Message: fmt.Sprintf(format, args...)}
}

// Await returns the command once it has an outcome, or as it is after the given time.
// Answered says which. Outcome reads it off a command.
func Await[T any, C interface {
	*T
	client.Object
}](ctx context.Context, c client.Reader, command C, outcome func(C) v1alpha1.CommandOutcome, limit time.Duration) (_ C, answered bool, _ error) {
	latest := command
	// A request that is under way when the time is over is let end: cut short, it would give
	// an error of its own in place of "no answer yet".
	err := wait.PollUntilContextTimeout(ctx, interval, limit, true, func(context.Context) (bool, error) {
		read := C(new(T))
		if err := c.Get(ctx, client.ObjectKeyFromObject(command), read); err != nil {
			return false, err
		}
		latest = read
		return outcome(read) != "", nil
	})
	switch {
	case err == nil:
		return latest, true, nil
	case ctx.Err() == nil && errors.Is(err, context.DeadlineExceeded):
		return latest, false, nil
	default:
		return latest, false, fmt.Errorf("waiting for the outcome of command %s: %w", command.GetName(), err)
	}
}
