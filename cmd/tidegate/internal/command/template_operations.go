package command

import (
	"context"
	"errors"
	"fmt"
	"slices"
	"strings"
	"time"

	"github.com/spf13/cobra"

	"tidegate.io/tidegate/cmd/tidegate/internal/act"
	"tidegate.io/tidegate/cmd/tidegate/internal/gather"
	"tidegate.io/tidegate/cmd/tidegate/internal/synctree"
	"tidegate.io/tidegate/cmd/tidegate/internal/tree"
	"tidegate.io/tidegate/schemas/v1alpha1"
)

// templateOperations are the commands about templates in a cluster. Their exit codes are
// those of status and of decisions.
func (c *cli) templateOperations() []*cobra.Command {
	return []*cobra.Command{c.templateStatus(), c.templateRollback(), c.templateSync()}
}

// operations are the subcommands of template that are no linters.
var operations = []string{"status", "rollback", "sync"}

type templateStatusOptions struct {
	watchOptions
	template string
}

func (c *cli) templateStatus() *cobra.Command {
	o := &templateStatusOptions{watchOptions: watchOptions{cli: c}}
	cmd := &cobra.Command{
		Use:   "status NAME",
		Short: "Show where the sync of a template stands: waves, who waits and why",
		Long: `Show where the sync of a template stands: the revision that Releases are brought to, how
far each wave is, which Releases are not there yet and why, and what people decided.

With --watch it goes on until every wave has been passed or the sync has halted. A
terminal is redrawn; elsewhere each change is one line.

Exit codes: 0 synced (or still under way, without --watch); 2 halted, or the source is
broken; 3 still under way after --timeout; 1 it could not be read.`,
		Example: c.example(`
tidegate template status web
tidegate template status web --watch --timeout 4h
tidegate template status web -o json`),
		Args:              one("NAME"),
		ValidArgsFunction: c.completeTemplate,
		RunE: func(cmd *cobra.Command, args []string) error {
			o.template = args[0]
			if err := o.validate(); err != nil {
				return err
			}
			return o.run(cmd.Context())
		},
	}
	o.addFlags(cmd, "every wave has been passed or the sync has halted")
	return cmd
}

func (o *templateStatusOptions) run(ctx context.Context) error {
	api, _, err := o.connect()
	if err != nil {
		return err
	}
	reader := gather.Reader{Client: api}
	return showing(ctx, &o.watchOptions, subject[synctree.View]{
		read: func(ctx context.Context) (synctree.View, error) { return reader.TemplateView(ctx, o.template) },
		draw: func(v synctree.View, options tree.Options, notes ...string) []string {
			v.Notes = slices.Concat(v.Notes, notes)
			return synctree.Draw(v, options)
		},
		facts:   synctree.Facts,
		done:    func(v synctree.View) bool { return v.Outcome != synctree.Underway },
		verdict: syncVerdict,
		late: func(v synctree.View, after time.Duration) error {
			if v.Sync == nil {
				return exit(ExitTimeout, "template %s is not published after %s; is the manager running?", o.template, after)
			}
			return exit(ExitTimeout, "the sync of template %s is still %s after %s: %s", o.template, v.Sync.Phase, after, orElse(v.Sync.Message, "it says nothing more"))
		},
	})
}

// syncVerdict is the error for a view in which nothing more happens by itself.
func syncVerdict(v synctree.View) error {
	switch {
	case v.Outcome != synctree.Halted:
		return nil
	case v.Template.Broken != "":
		return exit(ExitRefused, "the newest source of template %s is not published: %s", v.Template.Name, v.Template.Broken)
	}
	return exit(ExitRefused, "the sync of template %s to %s has halted: %s\nTo go on: tidegate template sync resume %s --reason ...; to go back: tidegate template rollback %s --to N --reason ...",
		v.Template.Name, v.Sync.Target, v.Sync.Message, v.Template.Name, v.Template.Name)
}

type templateActOptions struct {
	answering
	decision act.TemplateDecision
}

const templateDecisionHelp = `

It creates a TemplateCommand, stamped with your name, and waits until Tidegate has answered
it.

Exit codes: 0 applied; 2 refused; 3 no answer within --wait; 1 it could not be created.`

// decideTemplate makes the command for one kind of decision about a sync.
func (c *cli) decideTemplate(use string, action v1alpha1.TemplateAction, short, long, examples string) (*cobra.Command, *templateActOptions) {
	o := &templateActOptions{answering: newAnswering(c), decision: act.TemplateDecision{Action: action}}
	cmd := &cobra.Command{
		Use:               use + " NAME",
		Short:             short,
		Long:              long + templateDecisionHelp,
		Example:           c.example(examples),
		Args:              one("NAME"),
		ValidArgsFunction: c.completeTemplate,
		RunE: func(cmd *cobra.Command, args []string) error {
			o.decision.Template = args[0]
			return o.run(cmd.Context())
		},
	}
	cmd.Flags().StringVar(&o.decision.Reason, "reason", "", "Why, for whoever reads the trail later")
	o.addFlags(cmd)
	return cmd, o
}

func (c *cli) templateRollback() *cobra.Command {
	cmd, o := c.decideTemplate("rollback", v1alpha1.TemplateRollback, "Bring the Releases of a template back to an earlier revision",
		`Make an earlier revision of a template the target, for all Releases that follow its sync,
at once. Each of them rolls as its own strategy says. The source in the ReleaseTemplate stays
as it is and is not published again until it changes. Releases that pin a revision or follow
a channel stay where they are.`, `
tidegate template rollback web --to 4 --reason "web-5 doubles the memory of every service"`)
	cmd.Flags().Int64Var(&o.decision.Revision, "to", 0, "The number of the revision to return to")
	cobra.CheckErr(cmd.MarkFlagRequired("to"))
	cobra.CheckErr(cmd.MarkFlagRequired("reason"))
	return cmd
}

func (c *cli) templateSync() *cobra.Command {
	cmd := group(&cobra.Command{
		Use:   "sync",
		Short: "Pause and resume the sync of a template",
	})
	pause, _ := c.decideTemplate("pause", v1alpha1.TemplatePause, "Give no further Release the target",
		"Give no further Release the target, or a newer revision, until a resume. Rollouts that are\nunder way go on.", `
tidegate template sync pause web --reason "looking into the memory of the first wave"`)
	resume, _ := c.decideTemplate("resume", v1alpha1.TemplateResume, "End a pause, or accept the failures that halted a wave",
		"End a pause, or accept the failures that halted a wave: the sync goes on without the\nReleases that failed.", `
tidegate template sync resume web --reason "both failures are known, their teams were told"`)
	cmd.AddCommand(pause, resume)
	return cmd
}

func (o *templateActOptions) run(ctx context.Context) error {
	if err := o.validate(); err != nil {
		return err
	}
	if o.decision.Action == v1alpha1.TemplateRollback {
		if o.decision.Revision < 1 {
			return fmt.Errorf("wanted the number of a revision from 1 up in --to, found %d", o.decision.Revision)
		}
		if strings.TrimSpace(o.decision.Reason) == "" {
			return errors.New("wanted a reason in --reason, found none; it is for whoever reads the trail later")
		}
	}
	api, _, err := o.connect()
	if err != nil {
		return err
	}
	command, err := act.CreateTemplate(ctx, api, o.decision)
	if err != nil {
		return refusal(err)
	}
	o.say("Created TemplateCommand %s.", command.Name)
	return conclude(ctx, &o.answering, api, command, conclusion[*v1alpha1.TemplateCommand]{
		what: describeTemplate,
		outcome: func(c *v1alpha1.TemplateCommand) (v1alpha1.CommandOutcome, string) {
			return c.Status.Outcome, c.Status.Message
		},
		look: "kubectl get templatecommand " + command.Name,
	})
}

func describeTemplate(c *v1alpha1.TemplateCommand) string {
	if c.Spec.Action == v1alpha1.TemplateRollback {
		return fmt.Sprintf("rollback of %s to %d", c.Spec.Template, c.Spec.Revision)
	}
	return fmt.Sprintf("%s of the sync of %s", c.Spec.Action, c.Spec.Template)
}

// completeTemplate offers the names of ReleaseTemplates for the first argument.
func (c *cli) completeTemplate(cmd *cobra.Command, args []string, _ string) ([]cobra.Completion, cobra.ShellCompDirective) {
	return c.completeFirst(cmd, args, gather.Reader.TemplateNames)
}
