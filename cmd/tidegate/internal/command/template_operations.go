package command

import "github.com/spf13/cobra"

func (c *cli) templateOperations() []*cobra.Command { return nil }
