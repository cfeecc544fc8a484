package command

import (
	"context"
	"errors"
	"fmt"
	"strings"
	"time"

	"github.com/spf13/cobra"
	"k8s.io/cli-runtime/pkg/genericclioptions"

	"tidegate.io/tidegate/cmd/tidegate/internal/act"
	"tidegate.io/tidegate/schemas/v1alpha1"
)

type actOptions struct {
	*cli
	decision act.Decision
	// stepGiven is true where the user named a step.
	stepGiven bool
	wait      time.Duration
	format    *genericclioptions.PrintFlags
}

// decide makes the command for one kind of decision.
func (c *cli) decide(action v1alpha1.CommandAction, short, long string, examples string) (*cobra.Command, *actOptions) {
	o := &actOptions{cli: c, decision: act.Decision{Action: action}, format: genericclioptions.NewPrintFlags("").WithTypeSetter(c.scheme)}
	cmd := &cobra.Command{
		Use:   string(action) + " RELEASE",
		Short: short,
		Long: long + `

It creates a RolloutCommand for the release's newest rollout, stamped with your name, and
waits until Tidegate has answered it.

Exit codes: 0 applied; 2 refused; 3 no answer within --wait; 1 it could not be created.`,
		Example:           c.example(examples),
		Args:              one("RELEASE"),
		ValidArgsFunction: c.completeRelease,
		RunE: func(cmd *cobra.Command, args []string) error {
			o.decision.Release = args[0]
			o.stepGiven = cmd.Flags().Changed("step")
			return o.run(cmd.Context())
		},
	}
	cmd.Flags().StringVar(&o.decision.Reason, "reason", "", "Why, for whoever reads the trail later")
	cmd.Flags().DurationVar(&o.wait, "wait", 10*time.Second, "How long to wait for the answer; 0 does not")
	o.format.AddFlags(cmd)
	return cmd, o
}

func (c *cli) approve() *cobra.Command {
	cmd, o := c.decide(v1alpha1.CommandApprove, "Let a step of a rollout pass its approval gate",
		"Let a step of a rollout pass its approval gate. Without --step it is the step that the\nrollout stands in. What else the step asks for must hold all the same.", `
tidegate approve cart
tidegate approve cart --step 2 --reason "numbers look right, 4711"`)
	cmd.Flags().Int32Var(&o.decision.Step, "step", 0, "The step to approve, counted from 1")
	return cmd
}

func (c *cli) abort() *cobra.Command {
	cmd, _ := c.decide(v1alpha1.CommandAbort, "Return all traffic to the stable revision",
		"Return all traffic to the stable revision and end the rollout. A reason is asked for.", `
tidegate abort cart --reason "checkout fails for half of the users"`)
	cobra.CheckErr(cmd.MarkFlagRequired("reason"))
	return cmd
}

func (c *cli) pause() *cobra.Command {
	cmd, _ := c.decide(v1alpha1.CommandPause, "Hold a rollout where it is",
		"Hold a rollout where it is: its weight does not rise. An abort still works.", `
tidegate pause cart --reason "looking into the logs"`)
	return cmd
}

func (c *cli) resume() *cobra.Command {
	cmd, _ := c.decide(v1alpha1.CommandResume, "End a pause", "End a pause. The rollout goes on from where it was held.", `
tidegate resume cart`)
	return cmd
}

func (o *actOptions) run(ctx context.Context) error {
	if o.wait < 0 {
		return fmt.Errorf("wanted a positive time in --wait, found %s", o.wait)
	}
	if o.stepGiven && o.decision.Step < 1 {
		return fmt.Errorf("wanted a step from 1 up in --step, found %d", o.decision.Step)
	}
	if o.decision.Action == v1alpha1.CommandAbort && strings.TrimSpace(o.decision.Reason) == "" {
		return errors.New("wanted a reason in --reason, found none; it is for whoever reads the trail later")
	}
	api, namespace, err := o.connect()
	if err != nil {
		return err
	}
	command, err := act.Create(ctx, api, namespace, o.decision)
	if err != nil {
		return refusal(err)
	}
	o.say("Created RolloutCommand %s/%s.", namespace, command.Name)
	answered := false
	if o.wait > 0 {
		if command, answered, err = act.Await(ctx, api, command, o.wait); err != nil {
			return err
		}
	}
	if err := o.print(command); err != nil {
		return err
	}
	switch {
	case command.Status.Outcome == v1alpha1.OutcomeRefused:
		return exit(ExitRefused, "%s was refused: %s", describe(command), command.Status.Message)
	case !answered && o.wait > 0:
		return exit(ExitTimeout, "no answer to %s after %s; the command stands: look at it with: kubectl get rolloutcommand -n %s %s",
			describe(command), o.wait, namespace, command.Name)
	}
	return nil
}

// refusal gives a "no" its exit code and leaves its words alone.
func refusal(err error) error {
	var misfit *act.MisfitError
	var refused *act.RefusedError
	if errors.As(err, &misfit) || errors.As(err, &refused) {
		return &exitError{code: ExitRefused, err: err}
	}
	return err
}

func describe(c *v1alpha1.RolloutCommand) string {
	if c.Spec.Step > 0 {
		return fmt.Sprintf("%s of step %d of %s", c.Spec.Action, c.Spec.Step, c.Spec.Rollout)
	}
	return fmt.Sprintf("%s of %s", c.Spec.Action, c.Spec.Rollout)
}

func (o *actOptions) print(c *v1alpha1.RolloutCommand) error {
	if f := o.format.OutputFormat; f != nil && *f != "" {
		printer, err := o.format.ToPrinter()
		if err != nil {
			return fmt.Errorf("output format: %w", err)
		}
		return printer.PrintObj(c, o.Out)
	}
	if c.Status.Outcome == "" {
		return nil
	}
	line := fmt.Sprintf("%s: %s", describe(c), c.Status.Outcome)
	if c.Status.Message != "" {
		line += ": " + c.Status.Message
	}
	_, err := fmt.Fprintln(o.Out, line)
	return err
}
