package command

import "github.com/spf13/cobra"

// release is what a service team does to write a Release.
func (c *cli) release() *cobra.Command {
	cmd := group(&cobra.Command{
		Use:   "release",
		Short: "Write a Release",
	})
	cmd.AddCommand(c.releaseCreate())
	return cmd
}
