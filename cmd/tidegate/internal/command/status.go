package command

import (
	"bytes"
	"context"
	"encoding/json"
	"fmt"
	"slices"
	"time"

	"github.com/spf13/cobra"
	"sigs.k8s.io/yaml"

	"tidegate.io/tidegate/cmd/tidegate/internal/gather"
	"tidegate.io/tidegate/cmd/tidegate/internal/tree"
	"tidegate.io/tidegate/schemas/v1alpha1"
)

type statusOptions struct {
	watchOptions
	release string
}

func (c *cli) status() *cobra.Command {
	o := &statusOptions{watchOptions: watchOptions{cli: c}}
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
	o.addFlags(cmd, "the release serves or has failed")
	return cmd
}

func (o *statusOptions) run(ctx context.Context) error {
	api, namespace, err := o.connect()
	if err != nil {
		return err
	}
	reader := gather.Reader{Client: api, Namespace: namespace}
	return showing(ctx, &o.watchOptions, subject[tree.View]{
		read: func(ctx context.Context) (tree.View, error) { return reader.View(ctx, o.release) },
		draw: func(v tree.View, options tree.Options, notes ...string) []string {
			v.Notes = slices.Concat(v.Notes, notes)
			return tree.Draw(v, options)
		},
		facts:   tree.Facts,
		done:    func(v tree.View) bool { return v.Outcome != tree.Underway },
		verdict: verdict,
		late: func(v tree.View, after time.Duration) error {
			return exit(ExitTimeout, "Release %s/%s is still %s after %s: %s", namespace, o.release, orElse(string(v.Release.Phase), "not looked at"), after,
				orElse(v.Release.Message, "it has no status; is the manager running?"))
		},
	})
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
