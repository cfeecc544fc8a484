package command

import "github.com/spf13/cobra"

func (c *cli) templateChange() []*cobra.Command { return nil }
