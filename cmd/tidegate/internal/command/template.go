package command

import (
	"slices"

	"github.com/spf13/cobra"
)

// template is everything about templates: writing them, changing them, bringing them to
// the Releases.
func (c *cli) template() *cobra.Command {
	cmd := group(&cobra.Command{
		Use:   "template",
		Short: "Write, check, compare and roll out templates",
	})
	cmd.AddCommand(slices.Concat(c.templateAuthoring(), c.templateChange(), c.templateOperations())...)
	return cmd
}

// linter says whether a command has the exit codes of a linter: 0 good, 1 findings, 2
// could not run. These are render, check, audit, policy and all that check files; what is about templates in a
// cluster is not.
func linter(cmd *cobra.Command) bool {
	if cmd.Name() == "render" || cmd.Name() == "check" || cmd.Name() == auditCommand || underPolicy(cmd) {
		return true
	}
	for c := cmd; c != nil; c = c.Parent() {
		switch parent := c.Parent(); {
		case c.Name() == "template":
			return true
		case parent != nil && parent.Name() == "template":
			return !slices.Contains(operations, c.Name())
		}
	}
	return false
}
