package command

import (
	"bytes"
	"context"
	"errors"
	"fmt"
	"io"
	"os"

	"github.com/spf13/cobra"

	"tidegate.io/tidegate/cmd/tidegate/internal/offline"
	"tidegate.io/tidegate/rollout/simulate"
	"tidegate.io/tidegate/schemas/render"
	"tidegate.io/tidegate/schemas/v1alpha1"
)

type simulateOptions struct {
	*cli
	output, template, values string
	all, update              bool
}

// simulate is what says what would happen, without a cluster.
func (c *cli) simulate() *cobra.Command {
	cmd := group(&cobra.Command{
		Use:   "simulate",
		Short: "Play what would happen, without a cluster",
	})
	cmd.AddCommand(c.simulateRollout())
	return cmd
}

// simulates says whether a command is one of simulate, which have a linter's exit codes.
func simulates(cmd *cobra.Command) bool {
	return cmd.Name() == "simulate" || cmd.HasParent() && cmd.Parent().Name() == "simulate"
}

func (c *cli) simulateRollout() *cobra.Command {
	o := &simulateOptions{cli: c}
	cmd := &cobra.Command{
		Use:   "rollout FILE...",
		Short: "Say what a strategy does in a scenario",
		Long: `Play a scenario: a strategy, a cluster, and what happens when. It shows every decision
that Tidegate would make, since it asks the very code that the manager runs; only the
cluster around it is a model. The same scenario gives the same bytes each time.

FILE is YAML or, where its name ends in .txtar, an archive with a ` + simulate.ScenarioFile + ` and the
output that is expected in ` + simulate.WantFile + `. FILE may be - for YAML on standard input. The format is in
docs/simulate.md.

Exit codes: 0 as expected; 1 not as expected; 2 it could not be read or is malformed.`,
		Example: c.example(`
tidegate simulate rollout bad-analysis.yaml
tidegate simulate rollout scenario.yaml --template templates/web --values values.yaml
tidegate simulate rollout -o json scenario.yaml | jq -r '[.seconds, .phase, .reason] | @tsv'`),
		RunE: func(cmd *cobra.Command, args []string) error {
			if len(args) == 0 {
				return fmt.Errorf("wanted one or more files of scenarios, found none\nUsage: %s", cmd.UseLine())
			}
			return o.run(cmd.Context(), args)
		},
	}
	flags := cmd.Flags()
	flags.StringVarP(&o.output, "output", "o", "", "Output format: json, one decision a line")
	flags.BoolVar(&o.all, "all", false, "Show decisions that do and change nothing too")
	flags.BoolVar(&o.update, "update", false, "Write the output to where an archive expects it")
	flags.StringVar(&o.template, "template", "", "A template whose strategy is played, where the scenario has none")
	flags.StringVar(&o.values, "values", "", "File of the values for --template")
	cobra.CheckErr(cmd.RegisterFlagCompletionFunc("output", cobra.FixedCompletions([]string{"json"}, cobra.ShellCompDirectiveNoFileComp)))
	return cmd
}

func (o *simulateOptions) run(ctx context.Context, files []string) error {
	if o.output != "" && o.output != "json" {
		return fmt.Errorf("wanted json in --output, found %q; leave it out for a text", o.output)
	}
	if o.values != "" && o.template == "" {
		return errors.New("wanted a template in --template beside --values, found none; give its directory")
	}
	strategy, err := o.strategy(ctx)
	if err != nil {
		return err
	}
	code := ExitOK
	for _, file := range files {
		one, err := o.play(file, strategy, len(files) > 1)
		if err != nil {
			return err
		}
		code = max(code, one)
	}
	if code != ExitOK {
		return &exitError{code: code}
	}
	return nil
}

// strategy renders the template that is given and returns its strategy; nil without one.
func (o *simulateOptions) strategy(ctx context.Context) (*v1alpha1.Strategy, error) {
	if o.template == "" {
		return nil, nil //nolint:nilnil // none is asked for
	}
	in, err := offline.Load(offline.Options{File: o.template, Values: o.values, Name: "app"}, o.In)
	if err != nil {
		return nil, err
	}
	result, err := until(ctx, func() (*render.Result, error) { return offline.Render(in) })
	if findings := offline.Findings(err); findings != nil {
		for _, line := range findings {
			o.say("%s", line)
		}
		return nil, &exitError{code: ExitRenderFailed}
	}
	if err != nil {
		return nil, err
	}
	return &result.Strategy, nil
}

// scenario reads a file. Where it has mistakes they are said, and there is no scenario.
func (o *simulateOptions) scenario(file string, strategy *v1alpha1.Strategy) (*simulate.Scenario, []byte, error) {
	data, err := o.read(file)
	if err != nil {
		return nil, nil, err
	}
	if o.update && (file == "-" || !simulate.IsArchive(file, data)) {
		o.say("%s: wanted a txtar archive for --update, found what has no place for the output; nothing is written: put the scenario into a file FILE.txtar, below some sentences and the line -- %s --", file, simulate.ScenarioFile)
		return nil, nil, nil
	}
	sc, err := simulate.Parse(file, data, strategy)
	if wrong, ok := errors.AsType[*simulate.MalformedError](err); ok {
		for _, line := range wrong.Lines {
			o.say("%s", line)
		}
		return nil, nil, nil
	}
	return sc, data, err
}

// play plays one scenario and returns the exit code that it is worth. Of several only what
// is wrong is shown.
func (o *simulateOptions) play(file string, strategy *v1alpha1.Strategy, several bool) (int, error) {
	sc, data, err := o.scenario(file, strategy)
	if err != nil {
		return 0, err
	}
	if sc == nil {
		return ExitRenderFailed, nil
	}
	res := simulate.Run(sc)
	var text bytes.Buffer
	if err := res.Text(&text, false); err != nil {
		return 0, err
	}
	wrong := res.Failures
	diff := sc.Compare(text.String())
	if o.update {
		if err := o.write(file, simulate.WithWant(data, text.String()), sc.HasWant && diff == ""); err != nil {
			return 0, err
		}
	} else if diff != "" {
		wrong = append(wrong, diff)
	}
	if err := o.show(file, res, several, len(wrong) == 0); err != nil {
		return 0, err
	}
	for _, line := range wrong {
		o.say("%s: %s", file, line)
	}
	if len(wrong) > 0 {
		return ExitRenderFindings, nil
	}
	return ExitOK, nil
}

// write puts the output into an archive, unless it is there already, and says so.
func (o *simulateOptions) write(file string, archive []byte, same bool) error {
	if same {
		o.say("%s: the output is as it was expected; nothing is written", file)
		return nil
	}
	if err := os.WriteFile(file, archive, 0o600); err != nil {
		return err
	}
	o.say("%s: the output is written to its %s", file, simulate.WantFile)
	return nil
}

func (o *simulateOptions) show(file string, res simulate.Result, several, good bool) error {
	switch {
	case o.output == "json":
		return res.JSON(o.Out, o.all)
	case !several:
		return res.Text(o.Out, o.all)
	case good:
		_, err := fmt.Fprintf(o.Out, "ok    %s\n", file)
		return err
	}
	_, err := fmt.Fprintf(o.Out, "FAIL  %s\n", file)
	return err
}

func (o *simulateOptions) read(file string) ([]byte, error) {
	if file == "-" {
		return io.ReadAll(o.In)
	}
	return os.ReadFile(file) //nolint:gosec // the user names the file
}
