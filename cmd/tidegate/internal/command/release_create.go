package command

import (
	"bufio"
	"bytes"
	"context"
	"encoding/json"
	"errors"
	"fmt"
	"os"
	"strings"

	"github.com/spf13/cobra"
	"sigs.k8s.io/yaml"

	"tidegate.io/tidegate/cmd/tidegate/internal/ask"
	"tidegate.io/tidegate/cmd/tidegate/internal/gather"
	"tidegate.io/tidegate/cmd/tidegate/internal/offline"
	"tidegate.io/tidegate/cmd/tidegate/internal/term"
	"tidegate.io/tidegate/schemas/render"
	"tidegate.io/tidegate/schemas/v1alpha1"
)

type releaseCreateOptions struct {
	*cli
	// template is a directory or manifest; name one of the cluster.
	template, templateName string
	name                   string
	answers                string
	set                    []string
	output                 string
	all, interactive       bool
}

func (c *cli) releaseCreate() *cobra.Command {
	o := &releaseCreateOptions{cli: c}
	cmd := &cobra.Command{
		Use:   "create [TEMPLATE] [--template DIR] --name NAME",
		Short: "Write a Release by answering the template's questions",
		Long: `Write a Release by answering the template's questions, which are those of its schema: what
must be set first, then the rest in the template's groups. An empty answer takes the
default; what is marked as advanced is asked with --all only. Each answer is judged as the
gate would judge it. What is left at its default is not written.

TEMPLATE is the name of a ReleaseTemplate in the cluster; --template takes a directory of
CUE files or a manifest instead. Where standard input is no terminal nothing is asked: the
answers are those of --filename and --set, and what is missing is an error.`,
		Example: c.example(`
tidegate release create web --name cart -n shop > cart.yaml
tidegate release create --template templates/web --name cart -f answers.yaml --set replicas=3 -o cart.yaml`),
		RunE: func(cmd *cobra.Command, args []string) error {
			if len(args) > 1 || len(args) == 1 == (o.template != "") {
				return fmt.Errorf("wanted the name of a template or --template, found %d names\nUsage: %s", len(args), cmd.UseLine())
			}
			if len(args) == 1 {
				o.templateName = args[0]
			}
			return o.run(cmd.Context())
		},
	}
	flags := cmd.Flags()
	flags.StringVar(&o.template, "template", "", "Directory of CUE files, or manifest of a template")
	flags.StringVar(&o.name, "name", "", "Name of the release")
	flags.StringVarP(&o.answers, "filename", "f", "", "File of values that are not asked for")
	flags.StringArrayVar(&o.set, "set", nil, "A value that is not asked for, as PATH=VALUE, such as resources.cpu=250m")
	flags.StringVarP(&o.output, "output-file", "o", "", "File to write; standard output otherwise")
	flags.BoolVar(&o.all, "all", false, "Ask for what is marked as advanced too")
	flags.BoolVar(&o.interactive, "interactive", false, "Ask even where standard input is no terminal")
	return cmd
}

func (o *releaseCreateOptions) run(ctx context.Context) error {
	source, err := o.source(ctx)
	if err != nil {
		return err
	}
	template, err := until(ctx, func() (*render.Template, error) { return render.Compile(source.Files) })
	if err != nil {
		return o.refuse(err)
	}
	in := offline.Input{Files: source.Files, Values: []byte("{}")}
	if o.answers != "" {
		if err := in.ReadValues(o.answers, o.In); err != nil {
			return err
		}
	}
	reader := bufio.NewReader(o.In)
	in.Context, err = interruptible(ctx, o.In, func() (render.Context, error) { return o.place(reader, source.Name) })
	if err != nil {
		return err
	}
	values, err := o.given(template, in)
	if err != nil {
		return o.refuse(err)
	}
	if o.asks() {
		given := values
		dialogue, stop := context.WithCancelCause(ctx)
		defer stop(nil)
		judge := func(values map[string]any) []render.Problem {
			found, err := until(dialogue, func() ([]render.Problem, error) { return problems(template, in.Context, values), nil })
			if errors.Is(err, errEndless) {
				stop(err)
			}
			return found
		}
		values, err = interruptible(dialogue, o.In, func() (map[string]any, error) { return o.ask(dialogue, reader, template, judge, given) })
		if err != nil {
			return err
		}
	}
	if in.Values, err = json.Marshal(values); err != nil {
		return fmt.Errorf("writing the values: %w", err)
	}
	result, err := until(ctx, func() (*render.Result, error) { return offline.Render(in) })
	if err != nil {
		return o.refuse(err)
	}
	o.say("%s", offline.Summary(result))
	return o.write(source.Name, in)
}

// asks says whether there is somebody to ask.
func (o *releaseCreateOptions) asks() bool { return o.interactive || term.IsTerminal(o.In) }

// refuse prints the mistakes that err reports; an error of another kind is returned.
func (o *releaseCreateOptions) refuse(err error) error {
	lines := offline.Findings(err)
	if lines == nil {
		return err
	}
	for _, line := range lines {
		o.say("%s", line)
	}
	return &exitError{code: ExitError}
}

// source is the template's, of a directory, a manifest or the cluster.
func (o *releaseCreateOptions) source(ctx context.Context) (offline.Source, error) {
	if o.template != "" {
		if o.template == "-" && o.asks() {
			return offline.Source{}, errors.New("standard input has the answers; give the template in a file")
		}
		return offline.Template(o.template, o.In)
	}
	api, _, err := o.connect()
	if err != nil {
		return offline.Source{}, err
	}
	reader := gather.Reader{Client: api}
	if _, err := reader.Template(ctx, o.templateName); err != nil {
		return offline.Source{}, err
	}
	revisions, err := reader.Revisions(ctx, o.templateName)
	if err != nil {
		return offline.Source{}, err
	}
	if len(revisions) == 0 {
		return offline.Source{}, fmt.Errorf("wanted a revision of ReleaseTemplate %s, found none; see: kubectl describe releasetemplate %s", o.templateName, o.templateName)
	}
	return offline.Source{Name: o.templateName, Files: revisions[len(revisions)-1].Spec.Files}, nil
}

// interruptible returns what dialogue does, or an error when somebody interrupts it: a
// terminal that is waited for cannot be told to stop.
func interruptible[T any](ctx context.Context, in any, dialogue func() (T, error)) (T, error) {
	restore := term.Remember(in)
	type outcome struct {
		value T
		err   error
	}
	done := make(chan outcome, 1)
	go func() {
		value, err := dialogue()
		done <- outcome{value, err}
	}()
	select {
	case out := <-done:
		return out.value, out.err
	case <-ctx.Done():
		restore()
		var none T
		if cause := context.Cause(ctx); errors.Is(cause, errEndless) {
			return none, cause
		}
		return none, errors.New("interrupted; nothing was written")
	}
}

// maxNames is how often the name of the release is asked for.
const maxNames = 10

// place finds out the name and namespace of the Release of a template.
func (o *releaseCreateOptions) place(in *bufio.Reader, template string) (render.Context, error) {
	c := render.Context{Name: o.name, Template: template}
	namespace, err := o.namespace()
	if err != nil {
		return c, err
	}
	c.Namespace = orElse(namespace, "default")
	if o.name != "" || !o.asks() {
		if o.name == "" {
			return c, errors.New("wanted the name of the Release in --name, found none")
		}
		return c, wrongPlace(c.Check())
	}
	for range maxNames {
		o.prompt("Name of the release: ")
		text, err := ask.Line(in)
		if err != nil {
			return c, fmt.Errorf("asking for the name: %w", err)
		}
		c.Name = strings.TrimSpace(text)
		if err = c.Check(); err == nil {
			return c, nil
		}
		o.say("  %v", err)
	}
	return c, fmt.Errorf("wanted the name of the Release, found %d wrong ones", maxNames)
}

func wrongPlace(err error) error {
	if err != nil {
		return fmt.Errorf("naming the release: %w", err)
	}
	return nil
}

func (o *releaseCreateOptions) prompt(text string) { _, _ = fmt.Fprint(o.Err, text) }

// given are the values of --filename and --set. The error is a ValuesError where the file
// cannot be read as values.
func (o *releaseCreateOptions) given(template *render.Template, in offline.Input) (map[string]any, error) {
	if err := in.Readable(template); err != nil {
		return nil, err
	}
	values := map[string]any{}
	d := json.NewDecoder(bytes.NewReader(in.Values))
	d.UseNumber()
	if err := d.Decode(&values); err != nil {
		return nil, fmt.Errorf("wanted a mapping of names to values in %s: %w", o.answers, err)
	}
	if values == nil {
		values = map[string]any{}
	}
	for _, s := range o.set {
		if err := ask.Set(values, s); err != nil {
			return nil, fmt.Errorf("--set %s: %w", s, err)
		}
	}
	return values, nil
}

// judge says what is wrong with values.
type judge func(values map[string]any) []render.Problem

// ask asks for what is not given.
func (o *releaseCreateOptions) ask(ctx context.Context, in *bufio.Reader, template *render.Template, judge judge, given map[string]any) (map[string]any, error) {
	text, err := until(ctx, template.Schema)
	if err != nil {
		return nil, fmt.Errorf("reading the template's variables: %w", err)
	}
	var schema map[string]any
	d := json.NewDecoder(bytes.NewReader(text))
	d.UseNumber()
	if err := d.Decode(&schema); err != nil {
		return nil, fmt.Errorf("reading the template's schema: %w", err)
	}
	check := func(values map[string]any, path string) []string {
		var lines []string
		for _, p := range judge(values) {
			if under(p.Path, path) {
				lines = append(lines, p.String())
			}
		}
		return lines
	}
	asker := &ask.Asker{In: in, Out: o.Err, Check: check, Entry: render.EntryPath, Item: render.ItemPath, All: o.all}
	if f, ok := o.In.(*os.File); ok && term.IsTerminal(f) {
		asker.Secret = func() (string, error) { return term.Secret(f, o.Err) }
	}
	values, err := asker.Values(schema, render.ValuesPath, given)
	if err != nil {
		return nil, fmt.Errorf("asking for the values: %w", err)
	}
	return o.mend(asker, judge, values)
}

// maxMends is how many variables are asked for again: a template can ask for one only
// because of the answer to another.
const maxMends = 50

// mend asks again for variables that turn out to be wrong or missing once all answers are
// known.
func (o *releaseCreateOptions) mend(asker *ask.Asker, judge judge, values map[string]any) (map[string]any, error) {
	for range maxMends {
		found := judge(values)
		if len(found) == 0 {
			return values, nil
		}
		names, ok := plainNames(found[0].Path)
		if !ok {
			return values, nil
		}
		o.say("%s", found[0].String())
		if err := asker.Again(found[0].Path, names, values); err != nil {
			return nil, fmt.Errorf("asking for the values: %w", err)
		}
	}
	return values, nil
}

// plainNames are the names that a path leads through; false where it leads through a list.
func plainNames(path string) ([]string, bool) {
	rest, ok := strings.CutPrefix(path, render.ValuesPath+".")
	if !ok || strings.ContainsAny(rest, `["`) {
		return nil, false
	}
	return strings.Split(rest, "."), true
}

func problems(template *render.Template, facts render.Context, values map[string]any) []render.Problem {
	text, err := json.Marshal(values)
	if err != nil {
		return nil
	}
	_, err = template.Render(text, facts)
	wrong, ok := errors.AsType[*render.ValuesError](err)
	if !ok {
		return nil
	}
	return wrong.Problems
}

// under says whether path is the one above or leads below it.
func under(path, above string) bool {
	rest, ok := strings.CutPrefix(path, above)
	return ok && (rest == "" || rest[0] == '.' || rest[0] == '[')
}

// releaseManifest is a Release without the fields that are not a person's to write.
type releaseManifest struct {
	APIVersion string `json:"apiVersion"`
	Kind       string `json:"kind"`
	Metadata   struct {
		Name      string `json:"name"`
		Namespace string `json:"namespace"`
	} `json:"metadata"`
	Spec struct {
		Template struct {
			Name string `json:"name"`
		} `json:"template"`
		Values json.RawMessage `json:"values,omitempty"`
	} `json:"spec"`
}

func (o *releaseCreateOptions) write(template string, in offline.Input) error {
	m := releaseManifest{APIVersion: v1alpha1.GroupVersion.String(), Kind: "Release"}
	m.Metadata.Name, m.Metadata.Namespace = in.Context.Name, in.Context.Namespace
	m.Spec.Template.Name, m.Spec.Values = template, in.Values
	data, err := yaml.Marshal(m)
	if err != nil {
		return fmt.Errorf("writing the release: %w", err)
	}
	if o.output == "" {
		if _, err := o.Out.Write(data); err != nil {
			return fmt.Errorf("writing the release: %w", err)
		}
		return nil
	}
	if err := os.WriteFile(o.output, data, 0o600); err != nil {
		return fmt.Errorf("writing the release: %w", err)
	}
	o.say("Wrote %s. Next: kubectl apply -f %s", o.output, o.output)
	return nil
}
