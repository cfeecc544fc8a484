package command

import (
	"context"
	"errors"
	"fmt"
	"slices"
	"strings"

	"github.com/spf13/cobra"
	corev1 "k8s.io/api/core/v1"
	"sigs.k8s.io/controller-runtime/pkg/client"

	"tidegate.io/tidegate/cmd/internal/version"
	"tidegate.io/tidegate/cmd/tidegate/internal/check"
	"tidegate.io/tidegate/cmd/tidegate/internal/findings"
	"tidegate.io/tidegate/schemas/v1alpha1"
)

type checkFlags struct {
	*cli
	files, policies, templates, library []string
	live                                bool
	output                              string
	// checker is filled by the flags.
	checker check.Checker
}

// allPolicies is how --library names all shipped policies.
const allPolicies = "all"

func (c *cli) check() *cobra.Command {
	o := &checkFlags{cli: c}
	cmd := &cobra.Command{
		Use:   "check -f PATH",
		Short: "Judge files as the gate would, before they are applied",
		Long: `Judge files as the gate would when they are applied: Releases by what they become, templates
by what publishing refuses, and everything else by the policies that are asked on admission.
A PATH is a file of manifests, a folder with all below it, or - for standard input.

The policies are those of --policies, --library and --live. Without any of these they are the
DeployPolicies among the files; where there are none, all that Tidegate ships. Templates are
those of --templates, of --live and among the files. docs/check.md has every form of output.

Exit codes: 0 it would pass; 1 something would be refused; 2 it could not run.`,
		Example: c.example(`
tidegate check -f deploy/ --templates templates/ --policies policies/
tidegate check -f release.yaml --live
kustomize build . | tidegate check -f - --library probes,resources -o github`),
		Args: none,
		RunE: func(cmd *cobra.Command, _ []string) error { return o.run(cmd.Context()) },
	}
	flags := cmd.Flags()
	flags.StringArrayVarP(&o.files, "filename", "f", nil, "File or folder to check, or -; may be repeated")
	flags.StringArrayVar(&o.policies, "policies", nil, "File or folder of DeployPolicies; may be repeated")
	flags.StringSliceVar(&o.library, "library", nil, "Shipped policies by name, or all")
	flags.StringArrayVar(&o.templates, "templates", nil, "Folder or manifest of templates; may be repeated")
	flags.BoolVar(&o.live, "live", false, "Take policies, templates and labels of namespaces from the cluster")
	flags.StringVarP(&o.output, "output", "o", "table", "Output format: "+strings.Join(findings.Formats(), ", "))
	cobra.CheckErr(cmd.RegisterFlagCompletionFunc("output", cobra.FixedCompletions(findings.Formats(), cobra.ShellCompDirectiveNoFileComp)))
	cobra.CheckErr(cmd.MarkFlagRequired("filename"))
	return cmd
}

func (o *checkFlags) run(ctx context.Context) error {
	if !slices.Contains(findings.Formats(), o.output) {
		return fmt.Errorf("wanted one of %s in --output, found %q", strings.Join(findings.Formats(), ", "), o.output)
	}
	if err := o.oneStdin(); err != nil {
		return err
	}
	files, err := check.Read(o.files, o.In)
	if err != nil {
		return err
	}
	if err := o.prepare(ctx, files); err != nil {
		return err
	}
	objects, err := until(ctx, func() ([]findings.Object, error) { return o.checker.Judge(ctx, files) })
	if err != nil {
		return err
	}
	for _, name := range files.Passed {
		o.say("Note: %s holds no manifest and was passed over.", name)
	}
	r := findings.Report{Version: version.Get().Version, Objects: objects}
	if err := findings.Write(o.Out, r, o.output); err != nil {
		return err
	}
	if r.Summary().Errors > 0 {
		return &exitError{code: ExitRenderFindings}
	}
	return nil
}

func (o *checkFlags) oneStdin() error {
	readers := 0
	for _, p := range slices.Concat(o.files, o.policies, o.templates) {
		if p == "-" {
			readers++
		}
	}
	if readers > 1 {
		return errors.New("standard input can be read once; give only one file as -")
	}
	return nil
}

// prepare gathers what the files are judged by.
func (o *checkFlags) prepare(ctx context.Context, files check.Files) error {
	c := &o.checker
	c.Templates, c.Namespaces, c.Namespace = check.NewTemplates(), map[string]map[string]string{}, "default"
	if o.flags.Namespace != nil && *o.flags.Namespace != "" {
		c.Namespace = *o.flags.Namespace
	}
	c.Compiler = o.compiler()
	policies, err := o.given(ctx, files)
	if err != nil {
		return err
	}
	if o.live {
		more, err := o.fromCluster(ctx)
		if err != nil {
			return err
		}
		policies = append(policies, more...)
	}
	if err := c.Templates.AddFiles(files); err != nil {
		return err
	}
	if len(o.templates) > 0 {
		found, err := check.Read(o.templates, o.In)
		if err != nil {
			return err
		}
		if err := c.Templates.AddFiles(found); err != nil {
			return err
		}
	}
	c.Policies, err = policySet(ctx, o.compiler(), policies)
	return err
}

// given are the policies of the flags or, without any, those that come with the files.
func (o *checkFlags) given(ctx context.Context, files check.Files) ([]v1alpha1.DeployPolicy, error) {
	var out []v1alpha1.DeployPolicy
	if len(o.policies) > 0 {
		found, err := check.Read(o.policies, o.In)
		if err != nil {
			return nil, err
		}
		if out, err = check.Policies(found); err != nil {
			return nil, err
		}
		if len(out) == 0 {
			return nil, fmt.Errorf("wanted DeployPolicies in %s, found none", strings.Join(o.policies, ", "))
		}
	}
	names := o.library
	if len(o.policies) == 0 && len(o.library) == 0 && !o.live {
		// One that does not compile is a finding, and nothing can be judged by it.
		if out = check.Sound(ctx, o.compiler(), files); len(out) > 0 {
			o.say("Note: judged by the %d DeployPolicies among the files; name others with --policies, --library or --live.", len(out))
			return out, nil
		}
		o.say("Note: judged by all policies that Tidegate ships; name others with --policies, --library or --live.")
		names = []string{allPolicies}
	}
	more, err := shipped(names)
	if err != nil {
		return nil, err
	}
	out = append(out, more...)
	seen := map[string]bool{}
	for i := range out {
		if seen[out[i].Name] {
			return nil, fmt.Errorf("wanted each DeployPolicy once, found %q twice", out[i].Name)
		}
		seen[out[i].Name] = true
	}
	return out, nil
}

// fromCluster takes from the cluster what the webhook would know, and returns its policies,
// unless flags name others.
func (o *checkFlags) fromCluster(ctx context.Context) ([]v1alpha1.DeployPolicy, error) {
	api, namespace, err := o.connect()
	if err != nil {
		return nil, err
	}
	var policies v1alpha1.DeployPolicyList
	var templates v1alpha1.ReleaseTemplateList
	var revisions v1alpha1.TemplateRevisionList
	var namespaces corev1.NamespaceList
	for _, l := range []struct {
		what string
		list client.ObjectList
	}{{"DeployPolicies", &policies}, {"ReleaseTemplates", &templates}, {"TemplateRevisions", &revisions}, {"namespaces", &namespaces}} {
		if err := api.List(ctx, l.list); err != nil {
			return nil, fmt.Errorf("listing the %s: %w", l.what, err)
		}
	}
	o.checker.Namespace = namespace
	for i := range namespaces.Items {
		labels := namespaces.Items[i].Labels
		if labels == nil {
			labels = map[string]string{}
		}
		o.checker.Namespaces[namespaces.Items[i].Name] = labels
	}
	o.checker.Templates.AddLive(templates.Items, revisions.Items)
	o.checker.Status = func(namespace, name string) (*v1alpha1.Release, error) {
		var r v1alpha1.Release
		if err := api.Get(ctx, client.ObjectKey{Namespace: namespace, Name: name}, &r); err != nil {
			return nil, client.IgnoreNotFound(err)
		}
		return &r, nil
	}
	if len(o.policies) > 0 || len(o.library) > 0 {
		return nil, nil
	}
	return policies.Items, nil
}
