package command

import (
	"context"
	"errors"
	"fmt"
	"strings"
	"time"

	"github.com/spf13/cobra"
	"k8s.io/cli-runtime/pkg/genericclioptions"
	"k8s.io/cli-runtime/pkg/printers"
	"sigs.k8s.io/controller-runtime/pkg/client"

	"tidegate.io/tidegate/cmd/tidegate/internal/act"
	"tidegate.io/tidegate/cmd/tidegate/internal/term"
	"tidegate.io/tidegate/schemas/v1alpha1"
)

type actOptions struct {
	answering
	decision act.Decision
	// stepGiven is true where the user named a step.
	stepGiven bool
	// toGiven is true where the user named a rollout to return to, which may have come to nothing: --to "$N".
	toGiven bool
}

// decide makes the command for one kind of decision.
func (c *cli) decide(action v1alpha1.CommandAction, short, long string, examples string) (*cobra.Command, *actOptions) {
	o := &actOptions{answering: newAnswering(c), decision: act.Decision{Action: action}}
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
			o.stepGiven, o.toGiven = cmd.Flags().Changed("step"), cmd.Flags().Changed("to")
			return o.run(cmd.Context())
		},
	}
	cmd.Flags().StringVar(&o.decision.Reason, "reason", "", "Why, for whoever reads the trail later")
	o.addFlags(cmd)
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

func (c *cli) skip() *cobra.Command {
	cmd, o := c.decide(v1alpha1.CommandSkipStep, "Pass over what a step of a rollout waits for",
		"Pass over what a step of a rollout waits for: a pause, an analysis, a job or a hook. Without\n--step it is the step that the rollout stands in. Pods, the route and the policies about\npromotion are waited for all the same.", `
tidegate skip cart --reason "smoke test is broken, 4711"`)
	cmd.Use = "skip RELEASE"
	cmd.Flags().Int32Var(&o.decision.Step, "step", 0, "The step to skip, counted from 1")
	return cmd
}

func (c *cli) promote() *cobra.Command {
	cmd, _ := c.decide(v1alpha1.CommandPromote, "Pass over all steps of a rollout that are left",
		"Pass over all steps of a rollout that are left, analysis included, and bring its revision\ninto service. Pods, the route and the policies about promotion are waited for all the same.", `
tidegate promote cart --reason "fix for the outage, 4711"`)
	return cmd
}

func (c *cli) retry() *cobra.Command {
	cmd, _ := c.decide(v1alpha1.CommandRetry, "Try an aborted rollout again",
		"Try again what the newest rollout was about, which was aborted: a new rollout of the same\nrevision, from the first step.", `
tidegate retry cart --reason "the database is back"`)
	return cmd
}

func (c *cli) undo() *cobra.Command {
	cmd, o := c.decide(v1alpha1.CommandRollBack, "Bring back a revision that was in service before",
		"Bring back a revision that was in service before, exactly as it was judged then: template,\nvalues, ConfigMaps. Without --to it is the one before; after an abort, which has\nreturned to that already, --to is asked for. It is a rollout like others; where\nthe template has a rollbackWindow and the revision is in it, no steps are walked.\n\nThe spec of the release is not changed. It stays undone until somebody applies the release\nwith a change.", `
tidegate undo cart --reason "checkout is slow"
tidegate undo cart --to 7`)
	cmd.Use = "undo RELEASE"
	cmd.Flags().StringVar(&o.decision.To, "to", "", "The number, name or revision of the rollout to return to; see: "+c.Name+" history RELEASE")
	return cmd
}

func (o *actOptions) run(ctx context.Context) error {
	if err := o.validate(); err != nil {
		return err
	}
	if o.stepGiven && o.decision.Step < 1 {
		return fmt.Errorf("wanted a step from 1 up in --step, found %d", o.decision.Step)
	}
	if o.toGiven && strings.TrimSpace(o.decision.To) == "" {
		return fmt.Errorf("wanted the number, name or revision of a rollout in --to, found nothing; see them with: %s history %s, or leave --to out for the one before", o.Name, o.decision.Release)
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
	return conclude(ctx, &o.answering, api, command, conclusion[*v1alpha1.RolloutCommand]{
		what: describe,
		outcome: func(c *v1alpha1.RolloutCommand) (v1alpha1.CommandOutcome, string) {
			return c.Status.Outcome, c.Status.Message
		},
		look: fmt.Sprintf("kubectl get rolloutcommand -n %s %s", namespace, command.Name),
	})
}

// answering is how long a decision waits for its answer, and how that is printed.
type answering struct {
	*cli
	wait   time.Duration
	format *genericclioptions.PrintFlags
}

func newAnswering(c *cli) answering {
	return answering{cli: c, format: genericclioptions.NewPrintFlags("").WithTypeSetter(c.scheme)}
}

func (a *answering) addFlags(cmd *cobra.Command) {
	cmd.Flags().DurationVar(&a.wait, "wait", 10*time.Second, "How long to wait for the answer; 0 does not")
	a.format.AddFlags(cmd)
}

func (a *answering) validate() error {
	if a.wait < 0 {
		return fmt.Errorf("wanted a positive time in --wait, found %s", a.wait)
	}
	// Before anything is decided: what is wrong afterwards reads as if nothing had been.
	_, err := a.printer()
	return err
}

// printer is that of --output, nil without.
func (a *answering) printer() (printers.ResourcePrinter, error) {
	if f := a.format.OutputFormat; f == nil || *f == "" {
		return nil, nil //nolint:nilnil // none is asked for
	}
	printer, err := a.format.ToPrinter()
	if err != nil {
		return nil, fmt.Errorf("wanted a format for --output, found %q: %w", *a.format.OutputFormat, err)
	}
	return printer, nil
}

// conclusion says how one kind of command is worded.
type conclusion[C client.Object] struct {
	what    func(C) string
	outcome func(C) (outcome v1alpha1.CommandOutcome, message string)
	// look is the command line that shows the command.
	look string
}

// conclude waits for the answer to a command, prints it and makes it an exit code.
func conclude[T any, C interface {
	*T
	client.Object
}](ctx context.Context, a *answering, api client.Reader, command C, k conclusion[C]) error {
	answered := false
	if a.wait > 0 {
		var err error
		command, answered, err = act.Await(ctx, api, command, func(c C) v1alpha1.CommandOutcome { o, _ := k.outcome(c); return o }, a.wait)
		if err != nil {
			return err
		}
	}
	outcome, message := k.outcome(command)
	if err := a.print(command, k.what(command), outcome, message); err != nil {
		return err
	}
	switch {
	case outcome == v1alpha1.OutcomeRefused:
		return exit(ExitRefused, "%s was refused: %s", k.what(command), message)
	case !answered && a.wait > 0:
		return exit(ExitTimeout, "no answer to %s after %s; the command stands: look at it with: %s", k.what(command), a.wait, k.look)
	}
	return nil
}

func (a *answering) print(command client.Object, what string, outcome v1alpha1.CommandOutcome, message string) error {
	if printer, err := a.printer(); printer != nil || err != nil {
		if err != nil {
			return err
		}
		return printer.PrintObj(command, a.Out)
	}
	if outcome == "" {
		return nil
	}
	line := fmt.Sprintf("%s: %s", what, outcome)
	if message != "" {
		line += ": " + term.Line(message)
	}
	_, err := fmt.Fprintln(a.Out, line)
	return err
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
