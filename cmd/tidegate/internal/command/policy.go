package command

import "github.com/spf13/cobra"

// policy is everything about policies that needs no cluster.
func (c *cli) policy() *cobra.Command {
	cmd := group(&cobra.Command{
		Use:   "policy",
		Short: "Test, ask and measure policies, and bring them over from Gatekeeper",
	})
	cmd.AddCommand(c.policyTest(), c.policyEval(), c.policyBench(), c.policyVerify(), c.policyImport(), c.policyServe(), c.policyShow(), c.policyReplay())
	return cmd
}

// underPolicy says whether a command is one of policy, which all have the exit codes of a
// linter.
func underPolicy(cmd *cobra.Command) bool {
	for c := cmd; c != nil; c = c.Parent() {
		if c.Name() == "policy" && c.Parent() != nil && !c.Parent().HasParent() {
			return true
		}
	}
	return false
}
