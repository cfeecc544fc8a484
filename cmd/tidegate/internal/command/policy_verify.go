package command

import (
	"context"
	"encoding/json"
	"errors"
	"fmt"
	"text/tabwriter"

	"github.com/spf13/cobra"

	"tidegate.io/tidegate/cmd/tidegate/internal/suite"
	"tidegate.io/tidegate/policies/eval/gatekeeper"
)

type verifyFlags struct {
	*cli
	server, ca, engine, output string
}

func (c *cli) policyVerify() *cobra.Command {
	o := &verifyFlags{cli: c}
	cmd := &cobra.Command{
		Use:   "verify PATH...",
		Short: "Run Gatekeeper's Suite files",
		Long: `Run the Suite files (test.gatekeeper.sh) of ConstraintTemplates and Constraints. A PATH is a
file, a folder, or with /... at its end a folder and all below it.

With --server every case is also sent through a running webhook, as a full AdmissionReview,
once as CREATE and once as UPDATE, and must be answered in the same words as here.
docs/gatekeeper.md says how.

With -o json there is one object a case, one a line.

Exit codes: 0 all pass; 1 some do not; 2 it could not run.`,
		Example: c.example(`
tidegate policy verify policies/...
tidegate policy verify policies/suite.yaml -o json
tidegate policy verify policies/... --server https://127.0.0.1:9443/gatekeeper --ca ca.crt`),
		Args: func(cmd *cobra.Command, args []string) error {
			if len(args) == 0 {
				return fmt.Errorf("wanted at least one path, found none\nUsage: %s", cmd.UseLine())
			}
			return nil
		},
		RunE: func(cmd *cobra.Command, args []string) error { return o.run(cmd.Context(), args) },
	}
	flags := cmd.Flags()
	flags.StringVar(&o.server, "server", "", "URL of a webhook that every case is sent through")
	flags.StringVar(&o.ca, "ca", "", "File with the certificates that the webhook's is checked with")
	engineFlag(cmd, &o.engine)
	outputFlag(cmd, &o.output)
	return cmd
}

func engineFlag(cmd *cobra.Command, engine *string) {
	cmd.Flags().StringVar(engine, "engine", gatekeeper.PreferCEL, "cel or rego: which code of a template is run where it has both; Gatekeeper takes CEL")
}

func (o *verifyFlags) run(ctx context.Context, paths []string) error {
	if err := checkOutput(o.output); err != nil {
		return exit(ExitRenderFailed, "%w", err)
	}
	compiler, err := gatekeeper.Preferring(o.engine)
	if err != nil {
		return exit(ExitRenderFailed, "--engine: %w", err)
	}
	var suites []suite.Suite
	for _, path := range paths {
		found, err := suite.Find(path)
		if err != nil {
			return exit(ExitRenderFailed, "%w", err)
		}
		suites = append(suites, found...)
	}
	var judge suite.Judge = suite.Here{}
	switch {
	case o.server != "":
		remote, err := suite.NewRemote(o.server, o.ca)
		if err != nil {
			return exit(ExitRenderFailed, "%w", err)
		}
		judge = remote
	case o.ca != "":
		return exit(ExitRenderFailed, "%w", errors.New("wanted --server with --ca, found only --ca"))
	}
	report := o.table()
	if o.output == "json" {
		report = o.lines()
	}
	failed := 0
	for i := range suites {
		suites[i].Compiler = compiler
		err := suites[i].Run(ctx, judge, func(r suite.Result) {
			if !r.Pass {
				failed++
			}
			report.add(r)
		})
		if err != nil {
			return exit(ExitRenderFailed, "%w", err)
		}
	}
	if err := report.end(); err != nil {
		return exit(ExitRenderFailed, "writing the results: %w", err)
	}
	if failed > 0 {
		return &exitError{code: ExitRenderFindings}
	}
	return nil
}

// verifyReport is one form of output.
type verifyReport struct {
	add func(suite.Result)
	end func() error
}

// lines writes each result as soon as there is one.
func (o *verifyFlags) lines() verifyReport {
	var failed error
	encoder := json.NewEncoder(o.Out)
	encoder.SetEscapeHTML(false)
	return verifyReport{
		add: func(r suite.Result) { failed = errors.Join(failed, encoder.Encode(r)) },
		end: func() error { return failed },
	}
}

// table writes one line for each test, the cases that fail below it, and a sum.
func (o *verifyFlags) table() verifyReport {
	type row struct {
		file, suite, test       string
		passed, failed, skipped int
	}
	var rows []row
	var wrong []suite.Result
	var sum row
	add := func(r suite.Result) {
		if n := len(rows); n == 0 || rows[n-1].file != r.File || rows[n-1].test != r.Test {
			rows = append(rows, row{file: r.File, suite: r.Suite, test: r.Test})
		}
		for _, count := range []*row{&rows[len(rows)-1], &sum} {
			switch {
			case r.Skipped:
				count.skipped++
			case r.Pass:
				count.passed++
			default:
				count.failed++
			}
		}
		if !r.Pass {
			wrong = append(wrong, r)
		}
	}
	end := func() error {
		w := tabwriter.NewWriter(o.Out, 0, 0, 2, ' ', 0)
		_, _ = fmt.Fprintln(w, "SUITE\tTEST\tPASS\tFAIL\tSKIP")
		for _, r := range rows {
			_, _ = fmt.Fprintf(w, "%s\t%s\t%d\t%d\t%d\n", r.suite, r.test, r.passed, r.failed, r.skipped)
		}
		if err := w.Flush(); err != nil {
			return err
		}
		for _, r := range wrong {
			name := r.Test
			if r.Case != "" {
				name += " / " + r.Case
			}
			if _, err := fmt.Fprintf(o.Out, "\n%s: %s\n  %s\n", r.File, name, r.Error); err != nil {
				return err
			}
		}
		_, err := fmt.Fprintf(o.Out, "\n%d passed, %d failed, %d skipped\n", sum.passed, sum.failed, sum.skipped)
		return err
	}
	return verifyReport{add: add, end: end}
}
