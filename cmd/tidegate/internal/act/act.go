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
	"tidegate.io/tidegate/schemas/v1alpha1"
)

// interval is the time between two looks at a command's status.
const interval = 250 * time.Millisecond

// Decision is what a person decided about a Release.
type Decision struct {
	Release string
	Action  v1alpha1.CommandAction
	// Step that is approved; 0 is the one that the Rollout stands in.
	Step   int32
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
	rollout, err := reader.NewestRollout(ctx, d.Release)
	if err != nil {
		return nil, err
	}
	command, err := Compose(rollout, d)
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

// Compose makes the command without sending it. Only what can never fit is refused
// here.
func Compose(rollout *v1alpha1.Rollout, d Decision) (*v1alpha1.RolloutCommand, error) {
	if rollout == nil {
		return nil, misfit("Release %q has no Rollout yet, so there is nothing to %s; look at it with: tidegate status %s", d.Release, d.Action, d.Release)
	}
	if rollout.Status.Phase.Terminal() {
		return nil, misfit("Rollout %s has ended (%s), so there is nothing to %s; a change of the Release begins the next one", rollout.Name, rollout.Status.Phase, d.Action)
	}
	if d.Action == v1alpha1.CommandApprove {
		step, err := approvable(rollout, d.Step)
		if err != nil {
			return nil, err
		}
		d.Step = step
	} else if d.Step != 0 {
		return nil, misfit("only approve takes a step")
	}
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

// approvable returns the step to approve: the one asked for or, where none was, the one
// that the Rollout stands in.
func approvable(rollout *v1alpha1.Rollout, step int32) (int32, error) {
	steps := rollout.Spec.Strategy.Steps
	var asking []string
	for i, s := range steps {
		if s.Approval {
			asking = append(asking, fmt.Sprintf("%d (%d %%)", i+1, s.Weight))
		}
	}
	if len(asking) == 0 {
		return 0, misfit("no step of Rollout %s asks for an approval", rollout.Name)
	}
	if step == 0 {
		step = rollout.Status.Step
		if step < 1 || int(step) > len(steps) || !steps[step-1].Approval {
			return 0, misfit("Rollout %s stands in step %d, which asks for no approval; those that do are %s: name one with --step", rollout.Name, step, strings.Join(asking, ", "))
		}
		return step, nil
	}
	if step < 1 || int(step) > len(steps) {
		return 0, misfit("wanted a step from 1 to %d of Rollout %s, found %d", len(steps), rollout.Name, step)
	}
	if !steps[step-1].Approval {
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
