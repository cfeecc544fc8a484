package command

import (
	"context"
	"encoding/json"
	"errors"
	"fmt"
	"maps"
	"path/filepath"
	"slices"
	"strings"
	"text/tabwriter"
	"time"

	"github.com/spf13/cobra"
	"sigs.k8s.io/yaml"

	"tidegate.io/tidegate/cmd/tidegate/internal/gather"
	"tidegate.io/tidegate/cmd/tidegate/internal/offline"
	"tidegate.io/tidegate/schemas/render"
	"tidegate.io/tidegate/schemas/source"
)

const exitCodesOfLinters = `
Exit codes: 0 good; 1 mistakes were found; 2 it could not run.`

// templateAuthoring are the commands for those who write templates. All work without a
// cluster, on the directory that the template is written in.
func (c *cli) templateAuthoring() []*cobra.Command {
	return []*cobra.Command{
		c.templateInit(), c.templateFmt(), c.templateVet(), c.templateTest(), c.templateRender(),
		c.templateSchema(), c.templateBundle(), c.templateExplain(),
	}
}

const directoryArgument = "directory of a template"

// directories offers directories for the first argument.
func directories(_ *cobra.Command, args []string, _ string) ([]cobra.Completion, cobra.ShellCompDirective) {
	if len(args) > 0 {
		return nil, cobra.ShellCompDirectiveNoFileComp
	}
	return nil, cobra.ShellCompDirectiveFilterDirs
}

// findings says what was found wrong, a line each, and returns the error for the exit
// code; nil where there is nothing.
func (c *cli) findings(lines []string) error {
	for _, line := range lines {
		c.say("%s", line)
	}
	if len(lines) == 0 {
		return nil
	}
	return &exitError{code: ExitRenderFindings}
}

// wrongSource is err as findings, where it is about what files say.
func (c *cli) wrongSource(err error) error {
	if lines := offline.Findings(err); lines != nil {
		return c.findings(lines)
	}
	return err
}

// workLimit is how long a command may take over one template; a good one takes seconds.
const workLimit = 2 * time.Minute

// until returns what work returns unless ctx ends first, or workLimit is over.
func until[T any](ctx context.Context, work func() (T, error)) (T, error) {
	bounded, cancel := context.WithTimeoutCause(ctx, workLimit, errEndless)
	defer cancel()
	return unless(bounded, work)
}

var errEndless = fmt.Errorf("TG-RENDER-BUDGET: wanted the template to be done within %v, found it still at work; look for loops in loops, lists without list.MaxItems, and choices between structs that are joined by &", workLimit)

// unless returns what work returns unless ctx ends first: CUE itself cannot be interrupted,
// so the work is left behind for the end of the process. Where ctx is over already, none begins.
func unless[T any](ctx context.Context, work func() (T, error)) (T, error) {
	type answer struct {
		value T
		err   error
	}
	over := func() (T, error) {
		var none T
		if cause := context.Cause(ctx); errors.Is(cause, errEndless) {
			return none, cause
		}
		return none, errors.New("interrupted")
	}
	if ctx.Err() != nil {
		return over()
	}
	done := make(chan answer, 1)
	go func() {
		value, err := work()
		done <- answer{value, err}
	}()
	select {
	case a := <-done:
		return a.value, a.err
	case <-ctx.Done():
		return over()
	}
}

// compiled reads and compiles the template in dir.
func compiled(ctx context.Context, dir string) (*source.Template, *render.Template, error) {
	s, err := source.Read(dir)
	if err != nil {
		return nil, nil, err
	}
	t, err := until(ctx, func() (*render.Template, error) { return render.Compile(s.Files) })
	return s, t, err
}

func (c *cli) templateInit() *cobra.Command {
	return &cobra.Command{
		Use:   "init NAME [DIR]",
		Short: "Start a template",
		Long: `Start a template: write a small web service that passes vet and its own tests into DIR,
or into a directory called NAME. Nothing is written where a file is there already.
` + exitCodesOfLinters,
		Example: c.example(`
tidegate template init web
tidegate template init web templates/web`),
		Args: func(cmd *cobra.Command, args []string) error {
			if len(args) < 1 || len(args) > 2 {
				return fmt.Errorf("wanted a name and perhaps a directory, found %d arguments\nUsage: %s", len(args), cmd.UseLine())
			}
			return nil
		},
		RunE: func(_ *cobra.Command, args []string) error {
			files, err := source.Start(args[0])
			if err != nil {
				return err
			}
			dir := args[len(args)-1]
			if err := source.WriteNew(dir, files); err != nil {
				return err
			}
			for _, name := range slices.Sorted(maps.Keys(files)) {
				if !strings.HasPrefix(name, "cue.mod/pkg/") {
					c.print("%s\n", filepath.Join(dir, filepath.FromSlash(name)))
				}
			}
			c.say("Next: %s template test %s", c.Name, dir)
			return nil
		},
	}
}

// print writes data.
func (c *cli) print(format string, args ...any) {
	_, _ = fmt.Fprintf(c.Out, format, args...)
}

func (c *cli) templateFmt() *cobra.Command {
	check := false
	cmd := &cobra.Command{
		Use:   "fmt DIR",
		Short: "Format a template's CUE files",
		Long: `Format a template's CUE files in place, and list those that changed. With --check nothing
is written; files that are not formatted are mistakes.
` + exitCodesOfLinters,
		Args:              one(directoryArgument),
		ValidArgsFunction: directories,
		RunE: func(_ *cobra.Command, args []string) error {
			return c.format(args[0], check)
		},
	}
	cmd.Flags().BoolVar(&check, "check", false, "Only say which files are not formatted")
	return cmd
}

func (c *cli) format(dir string, check bool) error {
	s, err := source.Read(dir)
	if err != nil {
		return err
	}
	changed := map[string][]byte{}
	var wrong []string
	for _, name := range slices.Sorted(maps.Keys(s.Files)) {
		text, err := render.Format(name, s.Files[name])
		if lines := offline.Findings(err); lines != nil {
			wrong = append(wrong, lines...)
			continue
		}
		if err != nil {
			return fmt.Errorf("formatting %s: %w", name, err)
		}
		if text != s.Files[name] {
			changed[name] = []byte(text)
		}
	}
	for _, name := range slices.Sorted(maps.Keys(changed)) {
		if check {
			wrong = append(wrong, fmt.Sprintf("%s: wanted it formatted, found that it is not; run: %s template fmt %s", name, c.Name, dir))
		} else {
			c.print("%s\n", filepath.Join(dir, name))
		}
	}
	if !check {
		if err := source.Write(dir, changed, nil); err != nil {
			return err
		}
	}
	return c.findings(wrong)
}

func (c *cli) templateRender() *cobra.Command {
	o := &renderOptions{cli: c}
	cmd := &cobra.Command{
		Use:   "render DIR --values FILE --name NAME",
		Short: "Render a template with values",
		Long: `Render a template with values: the objects on standard output, each mistake on a line of
its own on standard error. A mistake in the values begins with values.<path>, one in the
template with file:line:column. The command render does the same, and takes manifests too.
` + exitCodesOfLinters,
		Example:           c.example(`tidegate template render templates/web --values values.yaml --name cart -n shop`),
		Args:              one(directoryArgument),
		ValidArgsFunction: directories,
		RunE: func(cmd *cobra.Command, args []string) error {
			o.source.File = args[0]
			if o.flags.Namespace != nil {
				o.source.Namespace = *o.flags.Namespace
			}
			return o.run(cmd.Context())
		},
	}
	flags := cmd.Flags()
	flags.StringVar(&o.source.Values, "values", "", "File of the values; none are set without it")
	flags.StringVar(&o.source.Name, "name", "", "Name of the release")
	flags.StringVar(&o.source.TemplateName, "template-name", "", "Name of the template; the directory's otherwise")
	outputFlag(cmd, &o.output)
	return cmd
}

func (c *cli) templateSchema() *cobra.Command {
	return &cobra.Command{
		Use:   "schema DIR",
		Short: "Print the JSON Schema of a template's values",
		Long: `Print the JSON Schema (2020-12) of a template's values, for editors and forms.
` + exitCodesOfLinters,
		Args:              one(directoryArgument),
		ValidArgsFunction: directories,
		RunE: func(cmd *cobra.Command, args []string) error {
			_, t, err := compiled(cmd.Context(), args[0])
			if err != nil {
				return c.wrongSource(err)
			}
			schema, err := until(cmd.Context(), t.Schema)
			if err != nil {
				return c.wrongSource(err)
			}
			return writeDocument(c, json.RawMessage(schema), "json")
		},
	}
}

func (c *cli) templateBundle() *cobra.Command {
	name, output := "", ""
	cmd := &cobra.Command{
		Use:   "bundle DIR",
		Short: "Pack a template into a ReleaseTemplate manifest",
		Long: `Pack a template into the manifest of a ReleaseTemplate, for kubectl apply. A template that
does not compile, whose tests fail, or with errors that vet finds is not packed: publishing
would refuse it. When to sync is for you to add to the manifest, in spec.sync.
` + exitCodesOfLinters,
		Example:           c.example(`tidegate template bundle templates/web | kubectl apply -f -`),
		Args:              one(directoryArgument),
		ValidArgsFunction: directories,
		RunE: func(cmd *cobra.Command, args []string) error {
			return c.bundle(cmd.Context(), args[0], name, output)
		},
	}
	cmd.Flags().StringVar(&name, "name", "", "Name of the ReleaseTemplate; the directory's otherwise")
	outputFlag(cmd, &output)
	return cmd
}

func (c *cli) bundle(ctx context.Context, dir, name, output string) error {
	if err := checkOutput(output); err != nil {
		return err
	}
	s, err := source.Read(dir)
	if err != nil {
		return err
	}
	if name == "" {
		name = s.Name
	}
	options, err := vetOptions(s, nil)
	if err != nil {
		return err
	}
	found, err := until(ctx, func() ([]render.Finding, error) { return render.Vet(s.Files, options), nil })
	if err != nil {
		return err
	}
	var lines []string
	for _, f := range found {
		if f.Severity == render.SeverityError {
			lines = append(lines, f.String())
		}
	}
	if err := c.findings(lines); err != nil {
		return err
	}
	data, err := source.Bundle(name, s.Files)
	if err != nil {
		return err
	}
	if output == "json" {
		return c.asJSON(data)
	}
	c.print("%s", data)
	return nil
}

func (c *cli) templateExplain() *cobra.Command {
	output := ""
	cmd := &cobra.Command{
		Use:   "explain DIR [VARIABLE]",
		Short: "Say what a template's variables are",
		Long: `Say what a template's variables are: all in a table, or one in full by its path.
` + exitCodesOfLinters,
		Example: c.example(`
tidegate template explain templates/web
tidegate template explain templates/web resources.cpu`),
		Args: func(cmd *cobra.Command, args []string) error {
			if len(args) < 1 || len(args) > 2 {
				return fmt.Errorf("wanted a %s and perhaps a variable, found %d arguments\nUsage: %s", directoryArgument, len(args), cmd.UseLine())
			}
			return nil
		},
		ValidArgsFunction: directories,
		RunE: func(cmd *cobra.Command, args []string) error {
			if err := checkOutput(output); err != nil {
				return err
			}
			_, t, err := compiled(cmd.Context(), args[0])
			if err != nil {
				return c.wrongSource(err)
			}
			all, err := until(cmd.Context(), t.Variables)
			if err != nil {
				return c.wrongSource(err)
			}
			if len(args) > 1 {
				return c.explainOne(all, args[1], output)
			}
			if output != "" {
				return writeDocument(c, all, output)
			}
			return c.explainAll(all)
		},
	}
	outputFlag(cmd, &output)
	return cmd
}

// marks are what is special about a variable.
func marks(v render.Variable) string {
	var out []string
	for _, m := range []struct {
		is   bool
		name string
	}{{v.Required, "required"}, {v.Immutable, "immutable"}, {v.Sensitive, "sensitive"}} {
		if m.is {
			out = append(out, m.name)
		}
	}
	return strings.Join(out, ", ")
}

func (c *cli) explainAll(all []render.Variable) error {
	w := tabwriter.NewWriter(c.Out, 0, 0, 3, ' ', 0) //nolint:mnd // Space between columns, as in other tables.
	_, _ = fmt.Fprintln(w, "VARIABLE\tDEFAULT\tMARKS\tWANTED\tWHAT IT IS FOR")
	for _, v := range all {
		doc, _, _ := strings.Cut(v.Doc, ". ")
		doc, _, _ = strings.Cut(doc, "\n\n")
		_, _ = fmt.Fprintf(w, "%s\t%s\t%s\t%s\t%s\n", v.Path, v.Default, marks(v), v.Type, strings.TrimSuffix(strings.Join(strings.Fields(doc), " "), "."))
	}
	if err := w.Flush(); err != nil {
		return fmt.Errorf("writing the table: %w", err)
	}
	return nil
}

func (c *cli) explainOne(all []render.Variable, path, output string) error {
	if path != "values" && !strings.HasPrefix(path, "values.") {
		path = "values." + path
	}
	i := slices.IndexFunc(all, func(v render.Variable) bool { return v.Path == path })
	if i < 0 {
		names := make([]string, len(all))
		for i, v := range all {
			names[i] = v.Path
		}
		return fmt.Errorf("wanted a variable of the template (%s), found %s%s", strings.Join(names, ", "), path, meant(gather.Near(path, names)))
	}
	v := all[i]
	if output != "" {
		return writeDocument(c, v, output)
	}
	c.print("%s\n", v.Path)
	if v.Doc != "" {
		c.print("\n  %s\n", strings.ReplaceAll(v.Doc, "\n", "\n  "))
	}
	c.print("\n")
	for _, line := range []struct{ name, text string }{
		{"wanted", v.Type}, {"default", v.Default}, {"marks", marks(v)}, {"example", v.Example}, {"declared", v.Position},
	} {
		if line.text != "" {
			c.print("  %-9s %s\n", line.name+":", line.text)
		}
	}
	for _, other := range all {
		if rest, below := strings.CutPrefix(other.Path, path); below && strings.ContainsAny(rest[:min(1, len(rest))], ".[") {
			c.print("  %-9s %s, %s\n", "has:", other.Path, other.Type)
		}
	}
	return nil
}

// asJSON writes a YAML document as JSON.
func (c *cli) asJSON(document []byte) error {
	var v any
	if err := yaml.Unmarshal(document, &v); err != nil {
		return fmt.Errorf("reading the manifest: %w", err)
	}
	return writeDocument(c, v, "json")
}
