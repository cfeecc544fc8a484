package command

import (
	"context"
	"errors"
	"fmt"

	"github.com/spf13/cobra"
	apierrors "k8s.io/apimachinery/pkg/api/errors"
	"k8s.io/apimachinery/pkg/apis/meta/v1/unstructured"
	"sigs.k8s.io/controller-runtime/pkg/client"

	"tidegate.io/tidegate/schemas/render"
	"tidegate.io/tidegate/schemas/source"
)

// dryRunOwner owns the fields of a dry run, of which nothing stays.
const dryRunOwner = "tidegate-template-vet"

type vetFlags struct {
	*cli
	crds       []string
	server     bool
	errorsOnly bool
	strict     bool
	output     string
	// unreachable is why the cluster gave no answer; nil otherwise.
	unreachable error
}

func (c *cli) templateVet() *cobra.Command {
	o := &vetFlags{cli: c}
	cmd := &cobra.Command{
		Use:   "vet DIR",
		Short: "Find mistakes that the language lets pass",
		Long: `Find mistakes in a template that the language lets pass, and objects that Kubernetes would
refuse, without a cluster. Errors are what publishing refuses too; warnings come with a
template that works. Advice is printed and is no finding, unless --strict says so.
docs/templates.md has every code with an example and the cure.

Objects of kinds that are defined by CRDs are held against these where --crd names their
files, or where they lie in DIR/crds. With --server the objects are also applied to the
cluster as a dry run, in the namespace of -n, which no Gate should govern.
` + exitCodesOfLinters,
		Example: c.example(`
tidegate template vet templates/web
tidegate template vet templates/web --crd crds/
tidegate template vet templates/web --server -n sandbox`),
		Args:              one(directoryArgument),
		ValidArgsFunction: directories,
		RunE:              func(cmd *cobra.Command, args []string) error { return o.run(cmd.Context(), args[0]) },
	}
	flags := cmd.Flags()
	flags.StringArrayVar(&o.crds, "crd", nil, "File or directory of CustomResourceDefinitions; may be repeated")
	flags.BoolVar(&o.server, "server", false, "Apply the objects to the cluster as a dry run")
	flags.BoolVar(&o.errorsOnly, "errors-only", false, "Leave warnings and advice out")
	flags.BoolVar(&o.strict, "strict", false, "Take advice for findings too")
	outputFlag(cmd, &o.output)
	return cmd
}

func (o *vetFlags) run(ctx context.Context, dir string) error {
	if err := checkOutput(o.output); err != nil {
		return err
	}
	s, err := source.Read(dir)
	if err != nil {
		return err
	}
	options, err := vetOptions(s, o.crds)
	if err != nil {
		return err
	}
	if o.server {
		if err := o.addServer(ctx, s, &options); err != nil {
			return err
		}
	}
	all, err := o.vet(ctx, s, options)
	if err != nil {
		return err
	}
	if o.unreachable != nil {
		return o.unreachable
	}
	found := []render.Finding{}
	var lines []string
	for _, f := range all {
		switch {
		case o.errorsOnly && f.Severity != render.SeverityError:
			continue
		case f.Severity == render.SeverityAdvice && !o.strict:
			o.say("%s", f.String())
		default:
			lines = append(lines, f.String())
		}
		found = append(found, f)
	}
	if o.output != "" {
		if err := writeDocument(o.cli, map[string]any{"findings": found}, o.output); err != nil {
			return err
		}
	}
	return o.findings(lines)
}

// vet runs Vet, for as long as it may take.
func (o *vetFlags) vet(ctx context.Context, s *source.Template, options render.VetOptions) ([]render.Finding, error) {
	work := func() ([]render.Finding, error) { return render.Vet(s.Files, options), nil }
	if o.server {
		return unless(ctx, work) // How long a server takes is not the template's fault.
	}
	return until(ctx, work)
}

// vetOptions are what Vet is told about a directory.
func vetOptions(s *source.Template, crds []string) (render.VetOptions, error) {
	options := render.VetOptions{Examples: s.Examples}
	definitions := s.CRDs
	for _, name := range crds {
		more, err := source.CRDs(name)
		if err != nil {
			return options, err
		}
		definitions = append(definitions, more...)
	}
	if len(definitions) == 0 {
		return options, nil
	}
	schemas, err := source.NewSchemas(definitions)
	if err != nil {
		return options, err
	}
	options.Checks = append(options.Checks, render.ObjectCheck{Code: render.CodeCRD, Check: schemas.Check})
	return options, nil
}

// addServer has every object applied to the cluster as a dry run. A cluster that does not
// answer is an error of its own, not one of the template.
func (o *vetFlags) addServer(ctx context.Context, s *source.Template, options *render.VetOptions) error {
	api, namespace, err := o.connect()
	if err != nil {
		return err
	}
	if err := api.List(ctx, &unstructured.UnstructuredList{Object: map[string]any{"apiVersion": "v1", "kind": "ServiceList"}}, client.InNamespace(namespace), client.Limit(1)); err != nil && !apierrors.IsForbidden(err) {
		return fmt.Errorf("asking the cluster: %w", err)
	}
	options.Context = render.Context{Name: "tidegate-vet", Namespace: namespace, Template: s.Name}
	options.Checks = append(options.Checks, render.ObjectCheck{Code: render.CodeServer, Check: func(object *unstructured.Unstructured) []string {
		copied := object.DeepCopy()
		copied.SetNamespace(namespace)
		err := api.Apply(ctx, client.ApplyConfigurationFromUnstructured(copied), client.DryRunAll, client.FieldOwner(dryRunOwner), client.ForceOwnership)
		if err == nil {
			return nil
		}
		if status := apierrors.APIStatus(nil); !errors.As(err, &status) {
			o.unreachable = fmt.Errorf("asking the cluster: %w", err)
			return nil
		}
		return []string{fmt.Sprintf("wanted the API server to take the %s, found that it refuses it in namespace %s: %v", object.GetKind(), namespace, explain(err))}
	}})
	return nil
}
