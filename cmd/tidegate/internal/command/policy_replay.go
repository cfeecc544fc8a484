package command

import (
	"context"
	"encoding/json"
	"errors"
	"fmt"
	"io/fs"
	"os"
	"path/filepath"
	"slices"
	"strings"
	"text/tabwriter"

	"github.com/go-logr/logr"
	"github.com/spf13/cobra"
	ctrl "sigs.k8s.io/controller-runtime"

	"tidegate.io/tidegate/cmd/tidegate/internal/check"
	"tidegate.io/tidegate/policies/eval"
	engine "tidegate.io/tidegate/policies/eval/gatekeeper"
	"tidegate.io/tidegate/schemas/render"
	"tidegate.io/tidegate/webhook"
	"tidegate.io/tidegate/webhook/record"
)

// maxRecords bounds how many records one run judges.
const maxRecords = 10_000

type replayFlags struct {
	*cli
	policies []string
	output   string
}

func (c *cli) policyReplay() *cobra.Command {
	o := &replayFlags{cli: c}
	cmd := &cobra.Command{
		Use:   "replay FILE|DIR...",
		Short: "Judge recorded refusals once more, without a cluster",
		Long: `Judge refusals that the manager recorded (webhook.record in the chart) once more, without a
cluster, by the code that refused them: the recorded review, in the world and by the policies
that the record has. docs/record.md says what is recorded. A DIR is read with all below it.

With --policies they are judged by the DeployPolicies, ConstraintTemplates and constraints of
other files in place of the recorded ones, to see what would have happened.

With -o json there is one object a record, one a line.

Exit codes: 0 all verdicts are the same; 1 some differ; 2 it could not run.`,
		Example: c.example(`
tidegate policy replay records/
tidegate policy replay denied.record.json --policies policies/
tidegate policy replay records/ -o json`),
		Args: func(cmd *cobra.Command, args []string) error {
			if len(args) == 0 {
				return fmt.Errorf("wanted at least one file or folder, found none\nUsage: %s", cmd.UseLine())
			}
			return nil
		},
		RunE: func(cmd *cobra.Command, args []string) error { return o.run(cmd.Context(), args) },
	}
	flags := cmd.Flags()
	flags.StringSliceVar(&o.policies, "policies", nil, "File or folder of other policies to judge by")
	flags.StringVarP(&o.output, "output", "o", "table", "Form of the output: table or json")
	cobra.CheckErr(cmd.RegisterFlagCompletionFunc("output", cobra.FixedCompletions([]string{"table", "json"}, cobra.ShellCompDirectiveNoFileComp)))
	return cmd
}

// replayed is what `policy replay -o json` prints of a record.
type replayed struct {
	File string `json:"file"`
	Path string `json:"path,omitempty"`
	// Same is true where the verdict is that of the record.
	Same     bool            `json:"same"`
	Recorded *record.Verdict `json:"recorded,omitempty"`
	Now      *record.Verdict `json:"now,omitempty"`
	Diff     []string        `json:"diff,omitempty"`
	// Secrets is true where the review was judged otherwise before its secrets were taken out.
	Secrets bool   `json:"redactedVerdictDiffers,omitempty"`
	Error   string `json:"error,omitempty"`
}

func (o *replayFlags) run(ctx context.Context, paths []string) error {
	if !slices.Contains([]string{"table", "json"}, o.output) {
		return exit(ExitRenderFailed, "wanted table or json in --output, found %q", o.output)
	}
	// The handlers log what they cannot judge; here the report says it.
	ctrl.SetLogger(logr.Discard())
	options := record.Options{Renderer: webhook.TemplateRenderer{Compiled: &render.Cache{}}}
	if err := o.others(&options); err != nil {
		return exit(ExitRenderFailed, "%w", err)
	}
	files, err := recordFiles(paths)
	if err != nil {
		return exit(ExitRenderFailed, "%w", err)
	}
	report := o.table()
	if o.output == "json" {
		report = o.lines()
	}
	differ, failed := false, false
	for _, file := range files {
		if err := ctx.Err(); err != nil {
			return exit(ExitRenderFailed, "%w", err)
		}
		r := replay(ctx, file, options)
		differ = differ || r.Error == "" && !r.Same
		failed = failed || r.Error != ""
		report.add(r)
	}
	switch err := report.end(); {
	case err != nil:
		return exit(ExitRenderFailed, "writing the results: %w", err)
	case failed:
		return &exitError{code: ExitRenderFailed}
	case differ:
		return &exitError{code: ExitRenderFindings}
	}
	return nil
}

// others reads the policies that are to be judged by.
func (o *replayFlags) others(options *record.Options) error {
	if len(o.policies) == 0 {
		return nil
	}
	files, err := check.Read(o.policies, strings.NewReader(""))
	if err != nil {
		return err
	}
	list, err := check.Policies(files)
	if err != nil {
		return err
	}
	policies, constraints := eval.NewStore(), engine.NewStore()
	for i := range list {
		if err := policies.Put(eval.FromDeployPolicy(&list[i])); err != nil {
			return err
		}
	}
	read := 0
	// Templates first: a constraint is read by its template.
	for _, m := range files.Manifests {
		if engine.IsTemplate(m.Object) {
			if _, err := constraints.PutTemplate(m.Object); err != nil {
				return fmt.Errorf("%s: %w", m.File, err)
			}
			read++
		}
	}
	for _, m := range files.Manifests {
		if engine.IsConstraint(m.Object) {
			if err := constraints.PutConstraint(m.Object); err != nil {
				return fmt.Errorf("%s: %w", m.File, err)
			}
			read++
		}
	}
	if len(list)+read == 0 {
		return fmt.Errorf("wanted DeployPolicies, or ConstraintTemplates and constraints, in %s, found none", strings.Join(o.policies, ", "))
	}
	options.Policies = policies
	if read > 0 {
		options.Constraints = constraints
	}
	return nil
}

// recordFiles are the records in files and folders, sorted within a folder, which is by age.
func recordFiles(paths []string) ([]string, error) {
	var out []string
	for _, path := range paths {
		info, err := os.Stat(path)
		if err != nil {
			return nil, fmt.Errorf("reading records: %w", err)
		}
		if !info.IsDir() {
			out = append(out, path)
			continue
		}
		before := len(out)
		err = filepath.WalkDir(path, func(path string, d fs.DirEntry, err error) error {
			if err == nil && d.Type().IsRegular() && strings.HasSuffix(path, record.Suffix) {
				out = append(out, path)
			}
			if len(out) > maxRecords {
				return fmt.Errorf("wanted at most %d records, found more; name the folders or files that are meant", maxRecords)
			}
			return err
		})
		if err != nil {
			return nil, fmt.Errorf("reading records: %w", err)
		}
		if len(out) == before {
			return nil, fmt.Errorf("wanted records (*%s) in %s, found none", record.Suffix, path)
		}
	}
	return out, nil
}

func replay(ctx context.Context, file string, options record.Options) replayed {
	out := replayed{File: filepath.ToSlash(file)}
	f, err := os.Open(file) //nolint:gosec // The user names what to read.
	if err != nil {
		out.Error = err.Error()
		return out
	}
	defer func() { _ = f.Close() }() // Nothing was written.
	r, err := record.Decode(f)
	if err != nil {
		out.Error = err.Error()
		return out
	}
	want := r.Want()
	out.Path, out.Recorded, out.Secrets = r.Path, &want, r.RedactedVerdictDiffers
	now, err := r.Replay(ctx, options)
	if err != nil {
		out.Error = err.Error()
		return out
	}
	out.Now, out.Diff = &now, want.Diff(now)
	out.Same = len(out.Diff) == 0
	return out
}

// replayReport is one form of output.
type replayReport struct {
	add func(replayed)
	end func() error
}

// lines writes each result as soon as there is one.
func (o *replayFlags) lines() replayReport {
	var failed error
	encoder := json.NewEncoder(o.Out)
	encoder.SetEscapeHTML(false)
	return replayReport{
		add: func(r replayed) { failed = errors.Join(failed, encoder.Encode(r)) },
		end: func() error { return failed },
	}
}

// table writes one line for each record, what differs below them, and a sum.
func (o *replayFlags) table() replayReport {
	var all []replayed
	same, differ, failed := 0, 0, 0
	add := func(r replayed) {
		all = append(all, r)
		switch {
		case r.Error != "":
			failed++
		case r.Same:
			same++
		default:
			differ++
		}
	}
	end := func() error {
		w := tabwriter.NewWriter(o.Out, 0, 0, 2, ' ', 0)
		_, _ = fmt.Fprintln(w, "RECORD\tWEBHOOK\tRECORDED\tNOW\tVERDICT")
		for _, r := range all {
			_, _ = fmt.Fprintln(w, strings.Join(r.row(), "\t"))
		}
		if err := w.Flush(); err != nil {
			return err
		}
		for _, r := range all {
			_, _ = fmt.Fprint(o.Out, r.below())
		}
		_, err := fmt.Fprintf(o.Out, "\n%d the same, %d differ, %d could not be judged\n", same, differ, failed)
		return err
	}
	return replayReport{add: add, end: end}
}

func (r replayed) row() []string {
	row := []string{r.File, r.Path, "", "", "could not be judged"}
	if r.Recorded != nil {
		row[2] = r.Recorded.Outcome()
	}
	if r.Now != nil {
		row[3], row[4] = r.Now.Outcome(), "differs"
	}
	if r.Same {
		row[4] = "same"
	}
	return row
}

// below is what the table does not show of a record.
func (r replayed) below() string {
	var b strings.Builder
	if r.Error != "" {
		fmt.Fprintf(&b, "\n%s: %s\n", r.File, r.Error)
	}
	if len(r.Diff) > 0 {
		fmt.Fprintf(&b, "\n%s:\n  %s\n", r.File, strings.Join(r.Diff, "\n  "))
	}
	if r.Secrets {
		fmt.Fprintf(&b, "\n%s: its verdict rested on a secret, which the record does not have; it is compared with that of the review without the secret\n", r.File)
	}
	return b.String()
}
