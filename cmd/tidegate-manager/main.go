// Command tidegate-manager is what runs in the cluster: the controllers, on the leader, and
// the webhook, on every replica.
package main

import (
	"context"
	"errors"
	"fmt"
	"os"
	"os/signal"
	"syscall"

	"github.com/spf13/cobra"

	"tidegate.io/tidegate/cmd/internal/version"
	"tidegate.io/tidegate/schemas/worker"
)

// Exit codes.
const (
	exitOK = 0
	// exitFailed is: the manager could not start, or had to stop by itself, as when it lost
	// the lease of the leader.
	exitFailed = 1
	// exitUsage is: the flags are wrong.
	exitUsage = 2
)

// workerCommand makes this binary a worker of another manager, which is for managers only
// and so is no command that the help lists.
const workerCommand = "render-worker"

func main() {
	if len(os.Args) == 2 && os.Args[1] == workerCommand {
		os.Exit(worker.Main())
	}
	ctx, stop := signal.NotifyContext(context.Background(), os.Interrupt, syscall.SIGTERM)
	// After the first signal the usual meaning of the second is restored: to end at once.
	context.AfterFunc(ctx, stop)
	err := command().ExecuteContext(ctx)
	stop()
	os.Exit(exitCode(err))
}

func exitCode(err error) int {
	var usage *usageError
	switch {
	case err == nil:
		return exitOK
	case errors.As(err, &usage):
		fmt.Fprintf(os.Stderr, "tidegate-manager: %v\nRun tidegate-manager --help for the flags.\n", err)
		return exitUsage
	default:
		fmt.Fprintf(os.Stderr, "tidegate-manager: %v\n", err)
		return exitFailed
	}
}

// usageError says that the flags are wrong.
type usageError struct{ err error }

func (e *usageError) Error() string { return e.err.Error() }
func (e *usageError) Unwrap() error { return e.err }

func command() *cobra.Command {
	o := defaults(os.Getenv)
	cmd := &cobra.Command{
		Use:   "tidegate-manager",
		Short: "Runs Tidegate's controllers and its webhook",
		Long: `Runs Tidegate's controllers and its webhook.

Every replica serves the webhook; one, the leader, runs the controllers. /healthz says that
the process lives. /readyz says that the caches are in sync, policies and templates are
loaded, a valid certificate is served and trusted, and the webhook answers. After SIGTERM
readiness fails first, requests are served for --shutdown-delay longer, and the ones under
way are finished.

Exit codes: 0 stopped as asked, 1 failed, 2 wrong flags.`,
		Version:       version.Get().String(),
		Args:          cobra.NoArgs,
		SilenceErrors: true,
		SilenceUsage:  true,
		RunE: func(cmd *cobra.Command, _ []string) error {
			if err := o.validate(); err != nil {
				return &usageError{err}
			}
			return run(cmd.Context(), o, cmd.ErrOrStderr())
		},
	}
	cmd.SetFlagErrorFunc(func(_ *cobra.Command, err error) error { return &usageError{err} })
	o.addTo(cmd.Flags())
	return cmd
}
