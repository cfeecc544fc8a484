package command

import (
	"context"
	"errors"
	"fmt"

	"github.com/spf13/cobra"
	"k8s.io/apimachinery/pkg/apis/meta/v1/unstructured"
	"sigs.k8s.io/yaml"

	"tidegate.io/tidegate/cmd/tidegate/internal/suite"
	"tidegate.io/tidegate/policies/eval"
	"tidegate.io/tidegate/policies/eval/gatekeeper"
	"tidegate.io/tidegate/schemas/v1alpha1"
)

func (c *cli) policyImport() *cobra.Command {
	return &cobra.Command{
		Use:   "import FILE...",
		Short: "Turn ConstraintTemplates and Constraints into DeployPolicies",
		Long: `Turn Gatekeeper's ConstraintTemplates and Constraints into DeployPolicies, which are written
to the output. Every constraint becomes one, with the same verdicts and messages; its
template must be in one of the files too. What a DeployPolicy cannot do is named and left
out: templates in CEL, and those that read other objects of the cluster.

Exit codes: 0 all were turned; 1 some were not; 2 it could not run.`,
		Example: c.example(`
tidegate policy import template.yaml constraints.yaml > policies.yaml`),
		Args: func(cmd *cobra.Command, args []string) error {
			if len(args) == 0 {
				return fmt.Errorf("wanted at least one file, found none\nUsage: %s", cmd.UseLine())
			}
			return nil
		},
		RunE: func(cmd *cobra.Command, args []string) error { return c.importPolicies(cmd.Context(), args) },
	}
}

func (c *cli) importPolicies(ctx context.Context, files []string) error {
	templates := map[string]*gatekeeper.Template{}
	var constraints []*unstructured.Unstructured
	failed := 0
	wrong := func(err error) {
		failed++
		c.say("Error: %v", err)
	}
	for _, file := range files {
		objects, err := suite.Objects(file)
		if err != nil {
			return exit(ExitRenderFailed, "%w", err)
		}
		for _, u := range objects {
			switch {
			case gatekeeper.IsTemplate(u):
				t, err := gatekeeper.Compiler{PreferRego: true}.Compile(ctx, u)
				if err != nil {
					wrong(err)
					continue
				}
				templates[t.Kind()] = t
			case gatekeeper.IsConstraint(u):
				constraints = append(constraints, u)
			default:
				c.say("Note: %s: left out %s %s, which is no template and no constraint.", file, u.GetKind(), u.GetName())
			}
		}
	}
	if len(constraints) == 0 {
		return exit(ExitRenderFailed, "%w", errors.New("wanted at least one constraint in the files, found none; a template alone judges nothing"))
	}
	for _, u := range constraints {
		if err := c.importConstraint(templates[u.GetKind()], u); err != nil {
			wrong(err)
		}
	}
	if failed > 0 {
		return &exitError{code: ExitRenderFindings}
	}
	return nil
}

// importConstraint writes one DeployPolicy, once it is known to compile.
func (c *cli) importConstraint(t *gatekeeper.Template, u *unstructured.Unstructured) error {
	if t == nil {
		return fmt.Errorf("importing %s/%s: wanted its ConstraintTemplate in one of the files, found none that compiles", u.GetKind(), u.GetName())
	}
	p, notes, err := t.Import(u)
	if err != nil {
		return err
	}
	if _, err := eval.Compile(eval.FromDeployPolicy(p)); err != nil {
		return fmt.Errorf("importing %s/%s: %w", u.GetKind(), u.GetName(), err)
	}
	for _, n := range notes {
		c.say("Note: %s/%s: %s.", u.GetKind(), u.GetName(), n)
	}
	return c.writeManifest(p)
}

func (c *cli) writeManifest(p *v1alpha1.DeployPolicy) error {
	raw, err := yaml.Marshal(map[string]any{
		"apiVersion": p.APIVersion, "kind": p.Kind,
		"metadata": map[string]any{"name": p.Name, "annotations": p.Annotations},
		"spec":     p.Spec,
	})
	if err != nil {
		return fmt.Errorf("writing DeployPolicy %s: %w", p.Name, err)
	}
	if _, err := fmt.Fprintf(c.Out, "---\n%s", raw); err != nil {
		return fmt.Errorf("writing DeployPolicy %s: %w", p.Name, err)
	}
	return nil
}
