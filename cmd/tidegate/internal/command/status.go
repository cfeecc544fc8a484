package command

import (
	"bytes"
	"context"
	"encoding/json"
	"errors"
	"fmt"
	"time"

	"github.com/spf13/cobra"
	apierrors "k8s.io/apimachinery/pkg/api/errors"
	"k8s.io/apimachinery/pkg/api/meta"
	"sigs.k8s.io/yaml"

	"tidegate.io/tidegate/cmd/tidegate/internal/gather"
	"tidegate.io/tidegate/cmd/tidegate/internal/term"
	"tidegate.io/tidegate/cmd/tidegate/internal/tree"
	"tidegate.io/tidegate/schemas/v1alpha1"
)

const (
	// lookEvery is the time between two looks at a watched Release.
	lookEvery = time.Second
	// lookLimit is how long one look may take before it counts as failed.
	lookLimit = 10 * time.Second
)

type statusOptions struct {
	*cli
	release string
	watch   bool
	timeout time.Duration
	output  string
}

func (c *cli) status() *cobra.Command {
	o := &statusOptions{cli: c}
	cmd := &cobra.Command{
		Use:   "status RELEASE",
		Short: "Show where a release stands: steps, weights, replicas, analysis",
		Long: `Show where a release stands: the steps of its newest rollout, the weights approved
and on the route, the replicas of each revision, and the last analysis with its numbers.

With --watch it goes on until the newest spec serves or has failed. A terminal is redrawn;
elsewhere each change is one line.

Exit codes: 0 serving (or still under way, without --watch); 2 aborted or invalid;
3 still under way after --timeout; 1 it could not be read.`,
		Example: c.example(`
tidegate status cart
tidegate status cart --watch --timeout 10m
tidegate status cart -o json`),
		Args:              one("RELEASE"),
		ValidArgsFunction: c.completeRelease,
		RunE: func(cmd *cobra.Command, args []string) error {
			o.release = args[0]
			if err := o.validate(); err != nil {
				return err
			}
			return o.run(cmd.Context())
		},
	}
	cmd.Flags().BoolVarP(&o.watch, "watch", "w", false, "Go on until the release serves or has failed")
	cmd.Flags().DurationVar(&o.timeout, "timeout", 0, "With --watch: give up after this time; 0 never does")
	outputFlag(cmd, &o.output)
	return cmd
}

// outputFlag adds -o json|yaml.
func outputFlag(cmd *cobra.Command, output *string) {
	cmd.Flags().StringVarP(output, "output", "o", "", "Output format: json or yaml")
	cobra.CheckErr(cmd.RegisterFlagCompletionFunc("output", cobra.FixedCompletions([]string{"json", "yaml"}, cobra.ShellCompDirectiveNoFileComp)))
}

func checkOutput(output string) error {
	switch output {
	case "", "json", "yaml":
		return nil
	}
	return fmt.Errorf("wanted json or yaml in --output, found %q", output)
}

func (o *statusOptions) validate() error {
	if o.timeout < 0 {
		return fmt.Errorf("wanted a positive time in --timeout, found %s", o.timeout)
	}
	if o.timeout > 0 && !o.watch {
		return errors.New("--timeout goes with --watch; without it the status is read once")
	}
	return checkOutput(o.output)
}

func (o *statusOptions) run(ctx context.Context) error {
	api, namespace, err := o.connect()
	if err != nil {
		return err
	}
	reader := gather.Reader{Client: api, Namespace: namespace}
	if !o.watch {
		view, err := reader.View(ctx, o.release)
		if err != nil {
			return err
		}
		if err := o.print(view); err != nil {
			return err
		}
		return verdict(view)
	}
	return o.follow(ctx, reader)
}

// verdict is the error for a view that ends in failure.
func verdict(v tree.View) error {
	if v.Outcome != tree.Failed {
		return nil
	}
	what := "failed"
	switch v.Release.Phase {
	case v1alpha1.ReleaseAborted:
		what = "was aborted"
	case v1alpha1.ReleaseInvalid:
		what = "is invalid"
	default:
	}
	return exit(ExitRefused, "Release %s/%s %s: %s", v.Release.Namespace, v.Release.Name, what, v.Release.Message)
}

// follow shows each change until the Release serves or has failed. Once it was read, an
// API server that does not answer is waited for.
func (o *statusOptions) follow(ctx context.Context, reader gather.Reader) error {
	var expired <-chan time.Time
	if o.timeout > 0 {
		timer := time.NewTimer(o.timeout)
		defer timer.Stop()
		expired = timer.C
	}
	tick := time.NewTicker(lookEvery)
	defer tick.Stop()
	show := o.presenter()
	var last tree.View
	for seen := false; ; {
		view, err := look(ctx, reader, o.release)
		switch {
		case err == nil:
			seen, last = true, view
			if err := show(view, nil); err != nil {
				return err
			}
			if view.Outcome != tree.Underway {
				return verdict(view)
			}
		case ctx.Err() != nil:
			return ctx.Err()
		case !seen || lasting(err):
			return err
		default:
			if err := show(last, err); err != nil {
				return err
			}
		}
		select {
		case <-ctx.Done():
			return ctx.Err()
		case <-expired:
			return exit(ExitTimeout, "Release %s/%s is still %s after %s: %s", reader.Namespace, o.release, orElse(string(last.Release.Phase), "not looked at"), o.timeout,
				orElse(last.Release.Message, "it has no status; is the manager running?"))
		case <-tick.C:
		}
	}
}

func look(ctx context.Context, reader gather.Reader, release string) (tree.View, error) {
	ctx, cancel := context.WithTimeout(ctx, lookLimit)
	defer cancel()
	return reader.View(ctx, release)
}

// lasting says whether an error would be the same a second later.
func lasting(err error) bool {
	var missing *gather.NotFoundError
	return errors.As(err, &missing) || apierrors.IsForbidden(err) || apierrors.IsUnauthorized(err) || meta.IsNoMatchError(err)
}

// presenter returns the function that shows a view, and why it is not newer.
func (o *statusOptions) presenter() func(tree.View, error) error {
	switch {
	case o.output != "":
		return o.documents()
	case o.Terminal:
		screen := &term.Screen{Out: o.Out, Size: o.Size}
		return func(view tree.View, stale error) error {
			if stale != nil {
				view.Notes = append(append([]string{}, view.Notes...), "not up to date: "+stale.Error())
			}
			return screen.Draw(o.draw(view))
		}
	default:
		return o.lines()
	}
}

// lines prints a line for each change.
func (o *statusOptions) lines() func(tree.View, error) error {
	var before []tree.Fact
	var trouble string
	return func(view tree.View, stale error) error {
		if stale != nil {
			if stale.Error() != trouble {
				o.say("Trying again: %v", stale)
			}
			trouble = stale.Error()
			return nil
		}
		trouble = ""
		after := tree.Facts(view)
		for _, f := range tree.Changed(before, after) {
			if _, err := fmt.Fprintf(o.Out, "%s  %s\n", o.Now().Format(time.TimeOnly), f.Text); err != nil {
				return fmt.Errorf("writing: %w", err)
			}
		}
		before = after
		return nil
	}
}

// documents prints a document for each change.
func (o *statusOptions) documents() func(tree.View, error) error {
	var before []byte
	return func(view tree.View, stale error) error {
		if stale != nil {
			o.say("Trying again: %v", stale)
			return nil
		}
		after, err := json.Marshal(view)
		if err != nil {
			return fmt.Errorf("writing JSON: %w", err)
		}
		if bytes.Equal(before, after) {
			return nil
		}
		before = after
		if o.output == "json" {
			_, err = fmt.Fprintf(o.Out, "%s\n", after)
			return err
		}
		return writeDocument(o.cli, view, o.output)
	}
}

// print shows a view once.
func (o *statusOptions) print(view tree.View) error {
	if o.output != "" {
		return writeDocument(o.cli, view, o.output)
	}
	for _, line := range o.draw(view) {
		if _, err := fmt.Fprintln(o.Out, line); err != nil {
			return fmt.Errorf("writing: %w", err)
		}
	}
	return nil
}

func (o *statusOptions) draw(view tree.View) []string {
	options := tree.Options{Style: o.style(), Now: o.Now()}
	if o.Terminal {
		options.Columns, _ = o.Size()
	}
	return tree.Draw(view, options)
}

// writeDocument writes v as indented JSON or as a YAML document.
func writeDocument(c *cli, v any, format string) error {
	data, err := json.MarshalIndent(v, "", "  ")
	if err != nil {
		return fmt.Errorf("writing JSON: %w", err)
	}
	if format == "yaml" {
		if data, err = yaml.JSONToYAML(data); err != nil {
			return fmt.Errorf("writing YAML: %w", err)
		}
		data = append([]byte("---\n"), bytes.TrimSuffix(data, []byte("\n"))...)
	}
	if _, err := fmt.Fprintf(c.Out, "%s\n", data); err != nil {
		return fmt.Errorf("writing: %w", err)
	}
	return nil
}

func orElse(s, other string) string {
	if s == "" {
		return other
	}
	return s
}
