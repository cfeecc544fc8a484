package command

import (
	"context"
	"errors"
	"fmt"
	"io"
	"os"
	"slices"
	"strings"
	"sync"
	"text/tabwriter"

	"github.com/spf13/cobra"
	"k8s.io/utils/clock"
	"sigs.k8s.io/controller-runtime/pkg/client"
	"sigs.k8s.io/yaml"

	"tidegate.io/tidegate/rollout/notify"
	"tidegate.io/tidegate/rollout/notify/rules"
	"tidegate.io/tidegate/rollout/notify/send"
)

func (c *cli) notifications() *cobra.Command {
	cmd := group(&cobra.Command{
		Use:   "notifications",
		Short: "Check who is told what of rollouts",
	})
	var o sendOptions
	check := &cobra.Command{
		Use:   "check FILE",
		Short: "Check a file of notifications as the manager does",
		Long: `Checks a file of notifications, or values of the chart that have one under notifications,
as the manager does: its fields, its sinks and its routes; - is standard input. It reads
no Secret and sends nothing, unless --send is given: then each sink, or those of --sink,
get one test message from this machine, with the Secrets of the cluster, which you must be
allowed to get. No value of a Secret is shown. See docs/notifications.md.

Exit codes: 0 it can be used, and each sink took the message; 1 it has mistakes, or a sink
did not take it; 2 it could not be read.`,
		Example: c.example(`tidegate notifications check values.yaml
tidegate notifications check values.yaml --send --sink oncall`),
		Args: one("FILE"),
		RunE: func(cmd *cobra.Command, args []string) error {
			file, err := c.readNotifications(args[0])
			if err != nil {
				return err
			}
			sinks, err := o.chosen(file)
			if err != nil {
				return err
			}
			if _, err := fmt.Fprintf(c.Out, "It can be used: %d sinks, %d routes.\n", len(file.Sinks), len(file.Routes)); err != nil || !o.send {
				return err
			}
			return c.sendTests(cmd.Context(), file.Cluster, sinks, o.namespace)
		},
	}
	check.Flags().BoolVar(&o.send, "send", false, "Send a test message to each sink")
	check.Flags().StringSliceVar(&o.sinks, "sink", nil, "Send to this sink alone; may be repeated")
	check.Flags().StringVar(&o.namespace, "manager-namespace", "tidegate-system", "Namespace that Tidegate is installed in, where the Secrets are")
	cmd.AddCommand(check)
	return cmd
}

// sendOptions are the flags about test messages.
type sendOptions struct {
	send      bool
	sinks     []string
	namespace string
}

// chosen are the sinks that get a test message.
func (o sendOptions) chosen(file *rules.File) ([]rules.Sink, error) {
	if len(o.sinks) == 0 {
		return file.Sinks, nil
	}
	if !o.send {
		return nil, exit(ExitRenderFailed, "wanted --send beside --sink, found --sink alone; without --send nothing is sent")
	}
	var out []rules.Sink
	for _, name := range o.sinks {
		i := slices.IndexFunc(file.Sinks, func(s rules.Sink) bool { return s.Name == name })
		if i < 0 {
			return nil, exit(ExitRenderFailed, "wanted the name of a sink of the file in --sink, found %q; choose one of sinks[].name", name)
		}
		out = append(out, file.Sinks[i])
	}
	return out, nil
}

// sendTests sends a message to each sink and says which arrived.
func (c *cli) sendTests(ctx context.Context, cluster string, sinks []rules.Sink, namespace string) error {
	// Sinks that need no Secret need no cluster either.
	connect := sync.OnceValues(func() (client.Client, error) { return c.Client(c.flags, c.scheme) })
	trial := notify.Trial{Namespace: namespace, Clock: clock.RealClock{}, Secrets: func(name string) send.Secrets {
		return func(ctx context.Context, key string) (string, error) {
			api, err := connect()
			if err != nil {
				return "", fmt.Errorf("the Secret %s/%s could not be read, since no cluster can be reached; see --kubeconfig and --context", namespace, name)
			}
			return notify.SecretsOf(api, namespace, name, "you")(ctx, key)
		}
	}}
	failed := 0
	w := tabwriter.NewWriter(c.Out, 0, 0, 2, ' ', 0)
	lines := []string{"SINK\tKIND\tTEST MESSAGE"}
	for _, a := range trial.Send(ctx, sinks, cluster) {
		said := "arrived"
		if a.Why != "" {
			failed++
			said = "did not arrive: " + a.Why
		}
		lines = append(lines, a.Sink+"\t"+a.Kind+"\t"+said)
	}
	_, err := fmt.Fprintln(w, strings.Join(lines, "\n"))
	if err = errors.Join(err, w.Flush()); err != nil {
		return fmt.Errorf("writing what became of the messages: %w", err)
	}
	if failed > 0 {
		return exit(ExitRenderFindings, "wanted each of %d sinks to take a test message, found %d that did not; correct them, or their Secrets, and send again", len(sinks), failed)
	}
	return nil
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
