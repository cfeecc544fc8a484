package command

import (
	"context"
	"fmt"
	"strings"

	"github.com/spf13/cobra"

	"tidegate.io/tidegate/cmd/tidegate/internal/gather"
)

type historyOptions struct {
	*cli
	release, rollout string
	output           string
}

func (c *cli) history() *cobra.Command {
	o := &historyOptions{cli: c}
	cmd := &cobra.Command{
		Use:   "history RELEASE [NUMBER]",
		Short: "Show the rollouts of a release, or all of one",
		Long: `Show the rollouts of a release, newest first: what they brought, what became of them and
why. With a number (or the name of a rollout, or a revision): every move, every job and hook,
every decision of a person and the values of that one.

To bring one of them back: tidegate undo RELEASE --to NUMBER.`,
		Example: c.example(`
tidegate history cart
tidegate history cart 7
tidegate history cart -o json`),
		Args: func(_ *cobra.Command, args []string) error {
			if len(args) < 1 || len(args) > 2 {
				return fmt.Errorf("wanted the name of a release and perhaps a number, found %d arguments", len(args))
			}
			return nil
		},
		ValidArgsFunction: c.completeRelease,
		RunE: func(cmd *cobra.Command, args []string) error {
			o.release = args[0]
			if len(args) > 1 {
				o.rollout = args[1]
			}
			if err := checkOutput(o.output); err != nil {
				return err
			}
			return o.run(cmd.Context())
		},
	}
	outputFlag(cmd, &o.output)
	return cmd
}

func (o *historyOptions) run(ctx context.Context) error {
	api, namespace, err := o.connect()
	if err != nil {
		return err
	}
	view, err := gather.Reader{Client: api, Namespace: namespace}.History(ctx, o.release)
	if err != nil {
		return err
	}
	if o.rollout == "" {
		return o.show(view, view.Table(o.style(), o.Now()))
	}
	entry, ok := view.Find(o.rollout)
	if !ok {
		return fmt.Errorf("wanted the number, name or revision of a rollout of Release %s/%s, found %q; see them with: %s history %s", namespace, o.release, o.rollout, o.Name, o.release)
	}
	return o.show(entry, entry.Lines(o.style(), o.Now()))
}

func (o *historyOptions) show(document any, lines []string) error {
	if o.output != "" {
		return writeDocument(o.cli, document, o.output)
	}
	_, err := fmt.Fprintln(o.Out, strings.Join(lines, "\n"))
	return err
}
