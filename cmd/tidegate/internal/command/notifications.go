package command

import (
	"fmt"
	"io"
	"os"

	"github.com/spf13/cobra"
	"sigs.k8s.io/yaml"

	"tidegate.io/tidegate/rollout/notify/rules"
)

func (c *cli) notifications() *cobra.Command {
	cmd := group(&cobra.Command{
		Use:   "notifications",
		Short: "Check who is told what of rollouts",
	})
	cmd.AddCommand(&cobra.Command{
		Use:   "check FILE",
		Short: "Check a file of notifications as the manager does",
		Long: `Checks a file of notifications, or values of the chart that have one under notifications,
as the manager does: its fields, its sinks and its routes. It reads no Secret and sends
nothing; - is standard input. See docs/notifications.md.

Exit codes: 0 it can be used; 1 it has mistakes; 2 it could not be read.`,
		Example: c.example(`tidegate notifications check values.yaml`),
		Args:    one("FILE"),
		RunE: func(_ *cobra.Command, args []string) error {
			file, err := c.readNotifications(args[0])
			if err != nil {
				return err
			}
			_, err = fmt.Fprintf(c.Out, "It can be used: %d sinks, %d routes.\n", len(file.Sinks), len(file.Routes))
			return err
		},
	})
	return cmd
}

// readNotifications reads and checks a file.
func (c *cli) readNotifications(path string) (*rules.File, error) {
	read := func() ([]byte, error) { return os.ReadFile(path) } //nolint:gosec // the file is the one that was asked for
	if path == "-" {
		read = func() ([]byte, error) { return io.ReadAll(c.In) }
	}
	text, err := read()
	if err != nil {
		return nil, fmt.Errorf("reading the file of notifications: %w", err)
	}
	file, err := rules.Parse(ofChart(text))
	if err != nil {
		return nil, &exitError{code: ExitRenderFindings, err: err}
	}
	return file, nil
}

// ofChart takes the notifications out of values of the chart, and leaves anything else as it
// is.
func ofChart(text []byte) []byte {
	var values map[string]any
	if yaml.Unmarshal(text, &values) != nil {
		return text
	}
	inner, ok := values["notifications"]
	if !ok {
		return text
	}
	out, err := yaml.Marshal(inner)
	if err != nil {
		return text
	}
	return out
}
