package command

import (
	"context"

	"github.com/spf13/cobra"

	"tidegate.io/tidegate/cmd/tidegate/internal/offline"
	"tidegate.io/tidegate/schemas/render"
)

// Exit codes of render: linters' ones, since it is used as one.
const (
	// ExitRenderFindings is: the values or the template are wrong.
	ExitRenderFindings = 1
	// ExitRenderFailed is: it could not run.
	ExitRenderFailed = 2
)

type renderOptions struct {
	*cli
	source offline.Options
	output string
}

func (c *cli) render() *cobra.Command {
	o := &renderOptions{cli: c}
	cmd := &cobra.Command{
		Use:   "render -f TEMPLATE --values FILE --name NAME",
		Short: "Render a release from files, without a cluster",
		Long: `Render a release from files, without a cluster: the objects on standard output, each
mistake on a line of its own on standard error. A mistake in the values begins with
values.<path>, one in the template with file:line:column.

TEMPLATE is a directory of CUE files, or a manifest of a ReleaseTemplate or
TemplateRevision. With a manifest of a Release in -f, give the template in --template.
A file may be - for standard input.

Exit codes: 0 good; 1 mistakes were found; 2 it could not run.`,
		Example: c.example(`
tidegate render -f templates/web --values values.yaml --name cart -n shop
tidegate render -f release.yaml --template templates/web -o json
kubectl get templaterevision web-1 -o yaml | tidegate render -f - --values values.yaml --name cart`),
		Args: none,
		RunE: func(cmd *cobra.Command, _ []string) error {
			if o.flags.Namespace != nil {
				o.source.Namespace = *o.flags.Namespace
			}
			return o.run(cmd.Context())
		},
	}
	flags := cmd.Flags()
	flags.StringVarP(&o.source.File, "filename", "f", "", "The template, or a Release")
	flags.StringVar(&o.source.Template, "template", "", "The template, where --filename is a Release")
	flags.StringVar(&o.source.Values, "values", "", "File of the values; none are set without it")
	flags.StringVar(&o.source.Name, "name", "", "Name of the release")
	flags.StringVar(&o.source.TemplateName, "template-name", "", "Name of the template; the directory's or manifest's otherwise")
	outputFlag(cmd, &o.output)
	cobra.CheckErr(cmd.MarkFlagRequired("filename"))
	return cmd
}

func (o *renderOptions) run(ctx context.Context) error {
	if err := checkOutput(o.output); err != nil {
		return err
	}
	in, err := offline.Load(o.source, o.In)
	if err != nil {
		return err
	}
	result, err := until(ctx, func() (*render.Result, error) { return offline.Render(in) })
	if findings := offline.Findings(err); findings != nil {
		for _, line := range findings {
			o.say("%s", line)
		}
		return &exitError{code: ExitRenderFindings}
	}
	if err != nil {
		return err
	}
	o.say("%s", offline.Summary(result))
	return offline.Write(o.Out, result, o.output)
}
