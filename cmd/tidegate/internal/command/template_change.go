package command

import (
	"bytes"
	"context"
	"encoding/json"
	"errors"
	"fmt"
	"io"
	"iter"
	"path/filepath"
	"runtime"
	"runtime/debug"
	"slices"
	"strings"
	"text/tabwriter"

	"github.com/spf13/cobra"
	corev1 "k8s.io/api/core/v1"
	apierrors "k8s.io/apimachinery/pkg/api/errors"
	"sigs.k8s.io/controller-runtime/pkg/client"

	"tidegate.io/tidegate/cmd/tidegate/internal/fleet"
	"tidegate.io/tidegate/cmd/tidegate/internal/gather"
	"tidegate.io/tidegate/policies/eval"
	followed "tidegate.io/tidegate/schemas/follow"
	"tidegate.io/tidegate/schemas/impact"
	"tidegate.io/tidegate/schemas/render"
	"tidegate.io/tidegate/schemas/source"
	"tidegate.io/tidegate/schemas/v1alpha1"
)

func (c *cli) templateChange() []*cobra.Command { return []*cobra.Command{c.templateDiff()} }

type diffOptions struct {
	*cli
	template    string
	releases    string
	policies    string
	showObjects bool
	output      string
}

func (c *cli) templateDiff() *cobra.Command {
	o := &diffOptions{cli: c}
	cmd := &cobra.Command{
		Use:   "diff [OLD_DIR] NEW_DIR",
		Short: "Say what a change of a template means for those who use it",
		Long: `Say what a change of a template means for those who use it.

With two directories: each change of #Variables is safe, default-changed, breaking or
unknown. With --releases, a file or folder of exported Releases, each of them is rendered
with both as well; with --policies, a file or folder of DeployPolicies, what changes is
judged. Policies see the labels of Namespaces that are exported beside the Releases. With
their Rollouts and the TemplateRevisions beside them too it takes half the time.

With one directory: the same against the cluster, its newest revision of the template,
its Releases, each as it is, and its policies. Nothing is written.

Releases that pin a revision or follow a channel stay where they are and are only counted.
Policies see no user, since nobody applies those Releases.

Exit codes: 0 good; 1 a change is breaking or unknown, a Release would break, or a policy
would refuse it; 2 it could not run, such as with a template that does not compile.`,
		Example: c.example(`
tidegate template diff templates/web@main templates/web
tidegate template diff old new --releases exported/ --policies policies/ --show-objects
tidegate template diff templates/web
tidegate template diff templates/web --template web-service -o json`),
		Args: func(cmd *cobra.Command, args []string) error {
			if len(args) < 1 || len(args) > 2 {
				return fmt.Errorf("wanted one or two directories, found %d arguments\nUsage: %s", len(args), cmd.UseLine())
			}
			return nil
		},
		ValidArgsFunction: cobra.FixedCompletions(nil, cobra.ShellCompDirectiveFilterDirs),
		RunE:              func(cmd *cobra.Command, args []string) error { return o.run(cmd.Context(), args) },
	}
	flags := cmd.Flags()
	flags.StringVar(&o.template, "template", "", "Name of the template; the directory's otherwise")
	flags.StringVar(&o.releases, "releases", "", "File or folder of exported Releases; - for standard input")
	flags.StringVar(&o.policies, "policies", "", "File or folder of DeployPolicies")
	flags.BoolVar(&o.showObjects, "show-objects", false, "Show what changes in the objects of each Release")
	flags.StringVarP(&o.output, "output", "o", "", "Output format: table or json")
	cobra.CheckErr(cmd.RegisterFlagCompletionFunc("output", cobra.FixedCompletions([]string{"table", "json"}, cobra.ShellCompDirectiveNoFileComp)))
	return cmd
}

func (o *diffOptions) validate(args []string) error {
	switch {
	case !slices.Contains([]string{"", "table", "json"}, o.output):
		return fmt.Errorf("wanted table or json in --output, found %q", o.output)
	case len(args) == 1 && o.releases != "":
		return errors.New("--releases goes with two directories: with one, the cluster's Releases are looked at")
	case len(args) == 2 && o.releases == "" && (o.policies != "" || o.showObjects):
		return errors.New("--policies and --show-objects are about Releases: give some in --releases")
	}
	return nil
}

func (o *diffOptions) run(ctx context.Context, args []string) error {
	if err := o.validate(args); err != nil {
		return err
	}
	candidate, after, err := o.read(ctx, args[len(args)-1])
	if err != nil {
		return err
	}
	if len(args) == 1 {
		return o.live(ctx, candidate, after)
	}
	old, before, err := o.read(ctx, args[0])
	if err != nil {
		return err
	}
	comparison, err := until(ctx, func() (*render.Comparison, error) { return render.Compare(before, after) })
	if err != nil {
		return fmt.Errorf("comparing the templates: %w", err)
	}
	r := &report{diffOptions: o, comparison: comparison}
	if o.releases == "" {
		return r.write(ctx, nil, nil, 0)
	}
	return o.exported(ctx, r, candidate, impact.Source{Digest: before.Digest(), Files: old.Files})
}

// read compiles the template in dir. What is wrong with it is said here, each line with the
// directory, since there are two; the error then only has the exit code.
func (o *diffOptions) read(ctx context.Context, dir string) (*source.Template, *render.Template, error) {
	s, t, err := compiled(ctx, dir)
	if broken, ok := errors.AsType[*render.SourceError](err); ok {
		lines := make([]string, 0, len(broken.Lines))
		for _, l := range broken.Lines {
			lines = append(lines, filepath.Join(dir, render.OneLine(l)))
		}
		// There is nothing to compare, so that this is no finding about a change.
		_ = o.findings(lines)
		return nil, nil, &exitError{code: ExitRenderFailed}
	}
	return s, t, err
}

// exported looks at the Releases of files.
func (o *diffOptions) exported(ctx context.Context, r *report, candidate *source.Template, before impact.Source) error {
	all, err := fleet.Read(o.releases, o.In)
	if err != nil {
		return err
	}
	name, err := o.templateOf(all.Releases, candidate.Name)
	if err != nil {
		return err
	}
	var set *eval.Set
	if o.policies != "" {
		more, err := fleet.Read(o.policies, o.In)
		if err != nil {
			return err
		}
		if err := somePolicies(more, o.policies); err != nil {
			return err
		}
		if set, err = policySet(ctx, o.compiler(), more.Policies); err != nil {
			return err
		}
	}
	free, held := users(all.Releases, name)
	labels := func(_ context.Context, namespace string) (map[string]string, error) {
		return all.Labels[namespace], nil
	}
	options := r.options(candidate, set, labels)
	known := &records{rollouts: all.Rollouts, revisions: all.Revisions, render: options.Render, alike: map[string]bool{}}
	subjects := func(yield func(impact.Subject, error) bool) {
		for i := range free {
			if !yield(known.add(ctx, impact.Subject{Release: &free[i], Before: before}), nil) {
				return
			}
		}
	}
	return r.write(ctx, options, subjects, held)
}

// templateOf is the name of the template whose Releases are meant.
func (o *diffOptions) templateOf(all []v1alpha1.Release, directory string) (string, error) {
	if o.template != "" {
		return o.template, nil
	}
	var names []string
	for i := range all {
		if n := all[i].Spec.Template.Name; !slices.Contains(names, n) {
			names = append(names, n)
		}
	}
	slices.Sort(names)
	switch {
	case slices.Contains(names, directory), len(names) == 0:
		return directory, nil
	case len(names) == 1:
		return names[0], nil
	}
	return "", fmt.Errorf("wanted Releases of template %q, found those of %s; say which are meant with --template", directory, strings.Join(names, ", "))
}

// users are the Releases of a template that a new revision reaches, and how many it does
// not.
func users(all []v1alpha1.Release, template string) (free []v1alpha1.Release, held int) {
	for i := range all {
		switch {
		case all[i].Spec.Template.Name != template:
		case followed.Free(&all[i]):
			free = append(free, all[i])
		default:
			held++
		}
	}
	return free, held
}

// somePolicies refuses files without policies: all that is judged by them would pass.
func somePolicies(f *fleet.Fleet, path string) error {
	if len(f.Policies) == 0 {
		return fmt.Errorf("wanted DeployPolicies in %s, found none", path)
	}
	return nil
}

func policySet(ctx context.Context, compiler eval.Compiler, policies []v1alpha1.DeployPolicy) (*eval.Set, error) {
	var out []*eval.Policy
	for i := range policies {
		p, err := compiler.Compile(ctx, eval.FromDeployPolicy(&policies[i]))
		if err != nil {
			return nil, fmt.Errorf("compiling DeployPolicy %s: %w", policies[i].Name, err)
		}
		out = append(out, p)
	}
	return eval.NewSet(out...), nil
}

// withNewest compares with the last of the revisions; where there is none, nothing changes.
func (o *diffOptions) withNewest(ctx context.Context, revisions []v1alpha1.TemplateRevision, after *render.Template) (*render.Comparison, error) {
	if len(revisions) == 0 {
		return &render.Comparison{Verdict: render.Safe, Changes: []render.Change{}}, nil
	}
	newest := &revisions[len(revisions)-1]
	comparison, err := until(ctx, func() (*render.Comparison, error) {
		before, err := render.Compile(newest.Spec.Files)
		if err != nil {
			return nil, fmt.Errorf("compiling TemplateRevision %s: %w", newest.Name, err)
		}
		return render.Compare(before, after)
	})
	if err != nil {
		return nil, fmt.Errorf("comparing the template with %s: %w", newest.Name, err)
	}
	o.say("compared with %s, the newest revision", newest.Name)
	return comparison, nil
}

// live compares with the newest revision in the cluster and looks at its Releases.
func (o *diffOptions) live(ctx context.Context, candidate *source.Template, after *render.Template) error {
	api, _, err := o.connect()
	if err != nil {
		return err
	}
	name := orElse(o.template, candidate.Name)
	reader := gather.Reader{Client: api}
	template, err := reader.Template(ctx, name)
	if missing := (*gather.NotFoundError)(nil); errors.As(err, &missing) {
		return fmt.Errorf("%w; say which template is meant with --template", err)
	}
	if err != nil {
		return err
	}
	revisions, err := reader.Revisions(ctx, name)
	if err != nil {
		return err
	}
	comparison, err := o.withNewest(ctx, revisions, after)
	if err != nil {
		return err
	}
	policies, err := o.livePolicies(ctx, api)
	if err != nil {
		return err
	}
	set, err := policySet(ctx, o.compiler(), policies)
	if err != nil {
		return err
	}
	r := &report{diffOptions: o, comparison: comparison}
	releases, held, err := listReleases(ctx, api, name)
	if err != nil {
		return err
	}
	rollouts, err := listRollouts(ctx, api, releases)
	if err != nil {
		return err
	}
	digests := make(map[string]string, len(revisions))
	for i := range revisions {
		digests[revisions[i].Name] = revisions[i].Spec.Digest
	}
	options := r.options(candidate, set, labelsOf(api))
	known := &records{rollouts: rollouts, revisions: digests, render: options.Render, alike: map[string]bool{}}
	subjects := func(yield func(impact.Subject, error) bool) {
		for i := range releases {
			s := impact.Subject{Release: &releases[i]}
			if choice, err := followed.Choose(s.Release, template, revisions); err == nil {
				spec := choice.Revision.Spec
				s.Before = impact.Source{Name: choice.Revision.Name, Digest: spec.Digest, Files: spec.Files}
			}
			if !yield(known.add(ctx, s), nil) {
				return
			}
		}
	}
	return r.write(ctx, options, subjects, held)
}

// livePolicies are those of files, where these are given, or the cluster's.
func (o *diffOptions) livePolicies(ctx context.Context, api client.Client) ([]v1alpha1.DeployPolicy, error) {
	if o.policies != "" {
		f, err := fleet.Read(o.policies, o.In)
		if err != nil {
			return nil, err
		}
		return f.Policies, somePolicies(f, o.policies)
	}
	var list v1alpha1.DeployPolicyList
	if err := api.List(ctx, &list); err != nil {
		return nil, fmt.Errorf("listing the DeployPolicies: %w; give them in --policies where you may not read them", err)
	}
	return list.Items, nil
}

// gcPercent lets the heap grow to five times what lives while Releases are rendered.
const gcPercent = 400

// pageSize is how many Releases are asked for at once.
const pageSize = 500

// listReleases lists the Releases that a new revision of a template reaches, by namespace
// and name, and counts those that it does not.
func listReleases(ctx context.Context, api client.Client, template string) (free []v1alpha1.Release, held int, err error) {
	for next := ""; ; {
		var page v1alpha1.ReleaseList
		if err := api.List(ctx, &page, client.Limit(pageSize), client.Continue(next)); err != nil {
			return nil, 0, fmt.Errorf("listing the Releases: %w", err)
		}
		more, stay := users(page.Items, template)
		free, held = append(free, more...), held+stay
		if next = page.Continue; next == "" {
			break
		}
	}
	slices.SortFunc(free, func(a, b v1alpha1.Release) int {
		return strings.Compare(a.Namespace+"/"+a.Name, b.Namespace+"/"+b.Name)
	})
	return free, held, nil
}

// labelsOf reads the labels of namespaces. One that may not be read, or is not there, has
// none: policies then grant it no exception.
func labelsOf(api client.Client) labels {
	return func(ctx context.Context, namespace string) (map[string]string, error) {
		var n corev1.Namespace
		err := api.Get(ctx, client.ObjectKey{Name: namespace}, &n)
		if apierrors.IsNotFound(err) || apierrors.IsForbidden(err) {
			return nil, nil
		}
		if err != nil {
			return nil, fmt.Errorf("reading namespace %s: %w", namespace, err)
		}
		return n.Labels, nil
	}
}

type labels func(ctx context.Context, namespace string) (map[string]string, error)

// report writes what was found.
type report struct {
	*diffOptions
	comparison *render.Comparison
	// listed is how many outcomes were written.
	listed int
}

// options say how Releases are rendered: in this process, with both templates compiled once.
func (r *report) options(candidate *source.Template, set *eval.Set, labels labels) *impact.Options {
	var cache render.Cache
	get := func(s impact.Source) (*render.Template, error) {
		if t, known, err := cache.Find(s.Digest); known {
			return t, err
		}
		return cache.Get(s.Files)
	}
	o := &impact.Options{
		After:       impact.Source{Digest: render.Digest(candidate.Files), Files: candidate.Files},
		Objects:     r.showObjects,
		Concurrency: runtime.GOMAXPROCS(0),
		Render: func(ctx context.Context, s impact.Source, values []byte, c render.Context) (*render.Result, error) {
			if err := ctx.Err(); err != nil {
				return nil, err
			}
			t, err := until(ctx, func() (*render.Template, error) { return get(s) })
			if err != nil {
				return nil, err
			}
			return until(ctx, func() (*render.Result, error) { return t.Render(values, c) })
		},
		Secrets: func(s impact.Source, values []byte) ([]string, error) {
			if s.Files == nil {
				return nil, nil
			}
			t, err := get(s)
			if err != nil {
				return nil, nil //nolint:nilerr // What does not compile shows nothing.
			}
			return t.Secrets(values)
		},
	}
	if set != nil && set.Len() > 0 {
		o.Judge = func(ctx context.Context, release *v1alpha1.Release, _ impact.Source, result *render.Result) (denials, warnings []string, err error) {
			known, err := labels(ctx, release.Namespace)
			if err != nil {
				return nil, nil, err
			}
			asked := eval.Request{Namespace: release.Namespace, Operation: "UPDATE"}
			questions, err := impact.Questions(asked, release.Namespace, impact.About(release, &v1alpha1.TemplateRevision{}, known), result)
			if err != nil {
				return nil, nil, err
			}
			denials, warnings = impact.Ask(ctx, set, questions)
			return denials, warnings, nil
		}
	}
	return o
}

// write writes changes and outcomes, each as it comes, and returns the error for the exit
// code. Without options there are no Releases to look at.
func (r *report) write(ctx context.Context, options *impact.Options, subjects iter.Seq2[impact.Subject, error], held int) error {
	found := r.comparison.Verdict == render.Breaking || r.comparison.Verdict == render.Unknown
	if options == nil {
		if err := r.changes(r.Out, true); err != nil {
			return err
		}
		return foundError(found)
	}
	if err := r.changes(r.Out, false); err != nil {
		return err
	}
	// Rendering makes much that dies at once; less collecting is worth some memory.
	defer debug.SetGCPercent(debug.SetGCPercent(gcPercent))
	s, err := impact.Run(ctx, *options, subjects, r.outcome)
	if err == nil && ctx.Err() != nil {
		err = fmt.Errorf("interrupted after %d Releases", s.Looked)
	}
	if err != nil {
		return err
	}
	if err := r.summary(s, held); err != nil {
		return err
	}
	return foundError(found || s.Broken > 0 || s.Denied > 0)
}

func foundError(found bool) error {
	if found {
		return &exitError{code: ExitRenderFindings}
	}
	return nil
}

// changes writes the comparison; whole says that nothing comes after it.
func (r *report) changes(w io.Writer, whole bool) error {
	if r.output == "json" {
		data, err := plainJSON(r.comparison, "  ")
		if err != nil {
			return err
		}
		if !whole {
			// The object is left open for the impact.
			data = append(data[:len(data)-len("\n}")], `,
  "impact": {
    "releases": [`...)
			_, err = w.Write(data)
			return err
		}
		_, err = fmt.Fprintf(w, "%s\n", data)
		return err
	}
	if len(r.comparison.Changes) > 0 {
		t := tabwriter.NewWriter(w, 0, 0, 3, ' ', 0) //nolint:mnd // Space between columns, as in other tables.
		_, _ = fmt.Fprintln(t, "VERDICT\tVARIABLE\tCHANGE\tWHY")
		for _, c := range r.comparison.Changes {
			_, _ = fmt.Fprintf(t, "%s\t%s\t%s\t%s\n", c.Verdict, c.Path, c.Change, c.Why)
		}
		if err := t.Flush(); err != nil {
			return fmt.Errorf("writing the table: %w", err)
		}
	}
	_, err := fmt.Fprintf(w, "#Variables: %s, %d changes\n", r.comparison.Verdict, len(r.comparison.Changes))
	return err
}

// outcome writes what becomes of one Release, unless it stays as it is.
func (r *report) outcome(o impact.Outcome) error {
	if o.Effect == impact.Unchanged {
		return nil
	}
	r.listed++
	if r.output == "json" {
		data, err := plainJSON(o, "")
		if err != nil {
			return err
		}
		comma := ","
		if r.listed == 1 {
			comma = ""
		}
		_, err = fmt.Fprintf(r.Out, "%s\n      %s", comma, data)
		return err
	}
	var b strings.Builder
	if r.listed == 1 {
		b.WriteString("\n")
	}
	fmt.Fprintf(&b, "%-10s %s/%s", o.Effect, o.Namespace, o.Name)
	if o.From != "" {
		fmt.Fprintf(&b, " (now %s)", o.From)
	}
	b.WriteString("\n")
	for _, group := range []struct {
		name  string
		lines []string
	}{{o.Code, o.Mistakes}, {"denied", o.Denials}, {"warning", o.Warnings}} {
		for _, l := range group.lines {
			fmt.Fprintf(&b, "    %s: %s\n", group.name, l)
		}
	}
	for _, object := range o.Objects {
		fmt.Fprintf(&b, "    %s %s\n", object.Change, object.Object)
		for _, f := range object.Fields {
			fmt.Fprintf(&b, "        %s: %s -> %s\n", f.Path, orElse(f.Was, "(none)"), orElse(f.Now, "(none)"))
		}
	}
	_, err := io.WriteString(r.Out, b.String())
	return err
}

// summary writes the counts.
func (r *report) summary(s impact.Summary, held int) error {
	if r.output == "json" {
		data, err := plainJSON(struct {
			impact.Summary
			// Held pin a revision or follow a channel.
			Held int `json:"held"`
		}{s, held}, "")
		if err != nil {
			return err
		}
		end := "\n    ]"
		if r.listed == 0 {
			end = "]"
		}
		_, err = fmt.Fprintf(r.Out, "%s,\n    \"summary\": %s\n  }\n}\n", end, data)
		return err
	}
	_, err := fmt.Fprintf(r.Out, "\n%d Releases: %d unchanged, %d change in place, %d roll, %d would break, %d are broken as it is, %d would be mended; policies would refuse %d; %d pin a revision or follow a channel and stay\n",
		s.Looked, s.Unchanged, s.InPlace, s.Rolls, s.Broken, s.WasBroken, s.Mended, s.Denied, held)
	return err
}

// plainJSON is v with < and > as they are, since bounds and marks have many.
func plainJSON(v any, indent string) ([]byte, error) {
	var b bytes.Buffer
	e := json.NewEncoder(&b)
	e.SetEscapeHTML(false)
	e.SetIndent("", indent)
	if err := e.Encode(v); err != nil {
		return nil, fmt.Errorf("writing JSON: %w", err)
	}
	return bytes.TrimSuffix(b.Bytes(), []byte("\n")), nil
}
