package command

import (
	"fmt"

	"github.com/spf13/cobra"

	"tidegate.io/tidegate/policies/library"
)

func (c *cli) policyShow() *cobra.Command {
	return &cobra.Command{
		Use:   "show [NAME]",
		Short: "List the shipped policies, or print one of them",
		Long: `List the policies that Tidegate ships, or print the DeployPolicy of one, ready to apply. What
they say and take is in docs/policies-library.md.

Exit codes: 0 done; 2 there is no such policy.`,
		Example: c.example(`
tidegate policy show
tidegate policy show probes > probes.yaml`),
		Args: func(cmd *cobra.Command, args []string) error {
			if len(args) > 1 {
				return fmt.Errorf("wanted one name at most, found %d\nUsage: %s", len(args), cmd.UseLine())
			}
			return nil
		},
		RunE: func(_ *cobra.Command, args []string) error { return c.showPolicy(args) },
	}
}

func (c *cli) showPolicy(args []string) error {
	if len(args) == 0 {
		for _, name := range library.Names() {
			p, err := library.Get(name)
			if err != nil {
				return exit(ExitRenderFailed, "%w", err)
			}
			if _, err := fmt.Fprintf(c.Out, "%-26s%s\n", name, p.Annotations[library.AnnotationTitle]); err != nil {
				return fmt.Errorf("writing the list: %w", err)
			}
		}
		return nil
	}
	raw, err := library.Manifest(args[0])
	if err != nil {
		return exit(ExitRenderFailed, "%w", err)
	}
	if _, err := c.Out.Write(raw); err != nil {
		return fmt.Errorf("writing the policy: %w", err)
	}
	return nil
}
