package command

import "github.com/spf13/cobra"

// release is what a service team does to write a Release.
func (c *cli) release() *cobra.Command {
	cmd := &cobra.Command{
		Use:   "release",
		Short: "Write a Release",
		Args:  none,
		RunE:  func(cmd *cobra.Command, _ []string) error { return cmd.Help() },
	}
	cmd.AddCommand(c.releaseCreate())
	return cmd
}
