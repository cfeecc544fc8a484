package command

import (
	"context"
	"errors"
	"fmt"
	"slices"
	"strings"
	"text/tabwriter"
	"time"

	"github.com/spf13/cobra"
	corev1 "k8s.io/api/core/v1"
	apierrors "k8s.io/apimachinery/pkg/api/errors"
	"sigs.k8s.io/controller-runtime/pkg/client"

	"tidegate.io/tidegate/cmd/internal/version"
	"tidegate.io/tidegate/cmd/tidegate/internal/findings"
	"tidegate.io/tidegate/policies/audit"
	"tidegate.io/tidegate/policies/eval"
	"tidegate.io/tidegate/schemas/render"
	"tidegate.io/tidegate/schemas/v1alpha1"
	"tidegate.io/tidegate/webhook"
	"tidegate.io/tidegate/webhook/auditing"
)

const auditCommand = "audit"

type auditFlags struct {
	*cli
	live, ungoverned bool
	manager, output  string
}

func (c *cli) audit() *cobra.Command {
	o := &auditFlags{cli: c}
	cmd := &cobra.Command{
		Use:   auditCommand,
		Short: "Show what exists and would be refused, or came around the gate",
		Long: `Show what policies have against objects that exist already, and which objects came around the
gate: static pods, pods of nobody, workloads that no Rollout stands behind or that are not as
rendered, objects older than the Gate.

The manager looks every few minutes and keeps the findings in reports; this reads them. With
--now it looks itself, with your rights, and writes nothing. Without --namespace it is about all
namespaces. docs/audit.md has every finding and every form of output.

Exit codes: 0 nothing would be refused; 1 something would be, or came around the gate; 2 it could
not run, or something could not be looked at and nothing else was found.`,
		Example: c.example(`
tidegate audit
tidegate audit -n shop --now
tidegate audit -o sarif > audit.sarif`),
		Args: none,
		RunE: func(cmd *cobra.Command, _ []string) error { return o.run(cmd.Context()) },
	}
	flags := cmd.Flags()
	flags.BoolVar(&o.live, "now", false, "Look now instead of reading the reports")
	flags.BoolVar(&o.ungoverned, "ungoverned", false, "With --now: ask policies about namespaces that no Gate governs too")
	flags.StringVar(&o.manager, "manager-namespace", "tidegate-system", "Namespace that Tidegate is installed in, which is never governed")
	flags.StringVarP(&o.output, "output", "o", "table", "Output format: "+strings.Join(findings.Formats(), ", "))
	cobra.CheckErr(cmd.RegisterFlagCompletionFunc("output", cobra.FixedCompletions(findings.Formats(), cobra.ShellCompDirectiveNoFileComp)))
	return cmd
}

func (o *auditFlags) run(ctx context.Context) error {
	if !slices.Contains(findings.Formats(), o.output) {
		return fmt.Errorf("wanted one of %s in --output, found %q", strings.Join(findings.Formats(), ", "), o.output)
	}
	if o.ungoverned && !o.live {
		return errors.New("wanted --ungoverned with --now, found it alone; the reports are about what the manager was told to look at")
	}
	api, _, err := o.connect()
	if err != nil {
		return err
	}
	namespace := ""
	if o.flags.Namespace != nil {
		namespace = *o.flags.Namespace
	}
	if err := o.exists(ctx, api, namespace); err != nil {
		return err
	}
	var found []audit.Finding
	if o.live {
		found, err = o.look(ctx, api, namespace)
	} else {
		found, err = o.read(ctx, api, namespace)
	}
	if err != nil {
		return err
	}
	if err := o.write(found); err != nil {
		return err
	}
	switch {
	case hasResult(found, audit.Fail):
		return &exitError{code: ExitRenderFindings}
	case hasResult(found, audit.Errored):
		return &exitError{code: ExitRenderFailed}
	}
	return nil
}

func hasResult(list []audit.Finding, r audit.Result) bool {
	return slices.ContainsFunc(list, func(f audit.Finding) bool { return f.Result == r })
}

// exists wants a namespace that was named to be there: nothing is found in one that is
// misspelt. Who may not read it is not told that.
func (o *auditFlags) exists(ctx context.Context, api client.Client, namespace string) error {
	if namespace == "" {
		return nil
	}
	err := api.Get(ctx, client.ObjectKey{Name: namespace}, &corev1.Namespace{})
	switch {
	case apierrors.IsNotFound(err):
		return fmt.Errorf("wanted namespace %q, found none of that name; do: kubectl get namespaces", namespace)
	case err != nil:
		o.say("Note: whether there is a namespace %s is not known: %v", namespace, err)
	}
	return nil
}

// read takes the findings from the reports.
func (o *auditFlags) read(ctx context.Context, api client.Client, namespace string) ([]audit.Finding, error) {
	format, ok, err := auditing.Format(api.RESTMapper())
	if err != nil {
		return nil, err
	}
	if !ok {
		return nil, errors.New("wanted reports of openreports.io/v1alpha1 or wgpolicyk8s.io/v1alpha2, found that the cluster serves neither; do: tidegate audit --now, or install the CustomResourceDefinitions of OpenReports")
	}
	has, err := auditing.HasRun(ctx, api, format)
	switch {
	case err != nil && namespace == "":
		return nil, err
	case err != nil:
		o.say("Note: whether the audit has run is not known: %v", err)
	case !has:
		return nil, fmt.Errorf("wanted the report %s, which every audit ends with, found none: the manager has not looked yet, or does not (audit.enabled of the chart); do: tidegate audit --now", audit.Summary().Name(1))
	}
	var found []audit.Finding
	err = auditing.Read(ctx, api, format, namespace, func(list []audit.Finding) { found = append(found, list...) })
	return audit.Sorted(found), err
}

// look audits with the rights of the caller.
func (o *auditFlags) look(ctx context.Context, api client.Client, namespace string) ([]audit.Finding, error) {
	var policies v1alpha1.DeployPolicyList
	if err := api.List(ctx, &policies); err != nil {
		return nil, fmt.Errorf("listing the DeployPolicies: %w", err)
	}
	// One that does not compile objects to all that it matches, as it does at admission.
	store := eval.NewStore()
	for i := range policies.Items {
		if err := store.Put(eval.FromDeployPolicy(&policies.Items[i])); err != nil {
			o.say("Note: DeployPolicy %s does not compile: %v", policies.Items[i].Name, err)
		}
	}
	auditor := &auditing.Auditor{
		Client: api, Policies: store.Set, Renderer: webhook.TemplateRenderer{Compiled: new(render.Cache)}, ManagerNamespace: o.manager, Clock: timeOf(o.Now),
	}
	var sink auditing.Collected
	if _, err := auditor.Run(ctx, auditing.Scope{Namespace: namespace, Outside: o.ungoverned}, &sink); err != nil {
		return nil, err
	}
	return sink.Findings(), nil
}

// timeOf is a clock that only tells the time.
type timeOf func() time.Time

// Now implements clock.PassiveClock.
func (t timeOf) Now() time.Time { return t() }

// Since implements clock.PassiveClock.
func (t timeOf) Since(then time.Time) time.Duration { return t().Sub(then) }

func (o *auditFlags) write(found []audit.Finding) error {
	if o.output == "table" {
		return o.table(found)
	}
	return findings.Write(o.Out, findings.Report{Version: version.Get().Version, Command: "tidegate audit", Objects: auditObjects(found)}, o.output)
}

// auditObjects has the findings as the forms of output want them: by object. Where a form
// wants a file there is the place in the cluster, as namespace/kind/name.
func auditObjects(found []audit.Finding) []findings.Object {
	var out []findings.Object
	var last audit.Object
	for i, f := range found {
		o := f.Object
		place := strings.TrimPrefix(o.Namespace+"/"+strings.ToLower(o.Kind)+"/"+o.Name, "/")
		if i == 0 || o != last {
			out = append(out, findings.Object{Kind: o.Kind, Namespace: o.Namespace, Name: o.Name, File: place, Judged: true})
			last = o
		}
		object := &out[len(out)-1]
		object.Findings = append(object.Findings, findings.Finding{
			Severity: severityOf(f), Code: f.Code, Policy: f.Policy, Message: f.Message, Fix: f.Fix, File: place,
		})
	}
	return out
}

func severityOf(f audit.Finding) findings.Severity {
	switch {
	case f.Enforcement == v1alpha1.EnforcementDryrun:
		return findings.Note
	case f.Result == audit.Warn:
		return findings.Warning
	}
	return findings.Error
}

// table shows a line for each object, and below what each is about.
func (o *auditFlags) table(found []audit.Finding) error {
	t := tabwriter.NewWriter(o.Out, 0, 0, 2, ' ', 0)
	if len(found) > 0 {
		_, _ = fmt.Fprintln(t, "RESULT\tCODE\tPOLICY\tOBJECT")
	}
	counts := map[audit.Result]int{}
	for _, f := range found {
		counts[f.Result]++
		_, _ = fmt.Fprintf(t, "%s\t%s\t%s\t%s\n", f.Result, f.Code, dash(f.Policy), titleOf(f.Object))
	}
	if err := t.Flush(); err != nil {
		return fmt.Errorf("writing the table: %w", err)
	}
	for _, f := range found {
		text := f.Message
		if f.Fix != "" {
			text += "; do: " + f.Fix
		}
		if _, err := fmt.Fprintf(o.Out, "\n%s: %s: %s\n  %s\n", titleOf(f.Object), f.Result, f.Code, strings.ReplaceAll(text, "\n", "\n  ")); err != nil {
			return fmt.Errorf("writing the findings: %w", err)
		}
	}
	lead := ""
	if len(found) > 0 {
		lead = "\n"
	}
	_, err := fmt.Fprintf(o.Out, "%s%d findings: %d fail, %d warn, %d could not be judged\n", lead, len(found), counts[audit.Fail], counts[audit.Warn], counts[audit.Errored])
	return err
}

func titleOf(o audit.Object) string {
	return findings.Object{Kind: o.Kind, Namespace: o.Namespace, Name: o.Name}.Title()
}

func dash(s string) string {
	if s == "" {
		return "-"
	}
	return s
}
