package command

import "github.com/spf13/cobra"

func (c *cli) templateAuthoring() []*cobra.Command { return nil }
