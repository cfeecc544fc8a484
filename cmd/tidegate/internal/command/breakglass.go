package command

import (
	"cmp"
	"context"
	"errors"
	"fmt"
	"slices"
	"strings"
	"text/tabwriter"
	"time"

	"github.com/spf13/cobra"
	apierrors "k8s.io/apimachinery/pkg/api/errors"
	metav1 "k8s.io/apimachinery/pkg/apis/meta/v1"
	"k8s.io/apimachinery/pkg/util/wait"
	"sigs.k8s.io/controller-runtime/pkg/client"

	"tidegate.io/tidegate/cmd/tidegate/internal/act"
	"tidegate.io/tidegate/schemas/v1alpha1"
)

// breakGlassInterval is the time between two looks at a BreakGlass that is waited for.
const breakGlassInterval = 200 * time.Millisecond

func (c *cli) breakGlass() *cobra.Command {
	cmd := group(&cobra.Command{
		Use:   "breakglass",
		Short: "Exempt yourself from the managed flow for a time: named objects, on record",
		Long: `A BreakGlass exempts you, and nobody else, from the managed flow for named objects and a
time. The Gate says who may, for how long, and whether a second person has to approve it.
Every use is recorded before it is let through.`,
	})
	cmd.AddCommand(c.breakGlassCreate(), c.breakGlassDecide(v1alpha1.BreakGlassApprove), c.breakGlassDecide(v1alpha1.BreakGlassRevoke), c.breakGlassList())
	return cmd
}

type breakGlassOptions struct {
	*cli
	name    string
	reason  string
	objects []string
	lasting time.Duration
	wait    time.Duration
	all     bool
}

func (c *cli) breakGlassCreate() *cobra.Command {
	o := &breakGlassOptions{cli: c}
	cmd := &cobra.Command{
		Use:   "create [NAME]",
		Short: "Make a BreakGlass for named objects",
		Long: `Make a BreakGlass for named objects of the namespace, and wait until it is in force or
somebody else has to approve it.

Exit codes: 0 in force, or it waits for approval; 2 refused; 3 nobody looked at it within
--wait; 1 it could not be created.`,
		Example: c.example(`
tidegate breakglass create --object deployments/cart-0a1b2c3d4e --reason "INC-4711: out of memory" --for 30m
tidegate breakglass create --object pods/cart-0a1b2c3d4e-x7k2p --reason "INC-4711: take a heap dump"
tidegate breakglass create --object httproutes.gateway.networking.k8s.io/cart --reason "INC-4711: drain a zone"`),
		Args: func(cmd *cobra.Command, args []string) error {
			if len(args) > 1 {
				return fmt.Errorf("wanted at most one NAME, found %d arguments\nUsage: %s", len(args), cmd.UseLine())
			}
			return nil
		},
		RunE: func(cmd *cobra.Command, args []string) error {
			o.name = strings.Join(args, "")
			return o.create(cmd.Context())
		},
	}
	cmd.Flags().StringArrayVar(&o.objects, "object", nil, "An object, as RESOURCE[.GROUP]/NAME; may be given again")
	cmd.Flags().StringVar(&o.reason, "reason", "", "Why, for whoever reads the trail later")
	cmd.Flags().DurationVar(&o.lasting, "for", 30*time.Minute, "How long it lasts")
	cmd.Flags().DurationVar(&o.wait, "wait", 10*time.Second, "How long to wait until it is in force; 0 does not")
	cobra.CheckErr(cmd.MarkFlagRequired("object"))
	cobra.CheckErr(cmd.MarkFlagRequired("reason"))
	return cmd
}

func (o *breakGlassOptions) create(ctx context.Context) error {
	if o.lasting <= 0 || o.wait < 0 {
		return errors.New("wanted positive times in --for and --wait")
	}
	spec := v1alpha1.BreakGlassSpec{Reason: o.reason, ExpiresAt: metav1.NewTime(o.Now().Add(o.lasting).UTC().Truncate(time.Second))}
	for _, text := range o.objects {
		object, err := objectNamed(text)
		if err != nil {
			return err
		}
		spec.Objects = append(spec.Objects, object)
	}
	api, namespace, err := o.connect()
	if err != nil {
		return err
	}
	b := &v1alpha1.BreakGlass{ObjectMeta: metav1.ObjectMeta{Namespace: namespace, Name: o.name}, Spec: spec}
	if o.name == "" {
		b.GenerateName = "breakglass-"
	}
	if err := created(api.Create(ctx, b), "a BreakGlass"); err != nil {
		return err
	}
	o.say("Created BreakGlass %s/%s for %s.", namespace, b.Name, b.Spec.Actor)
	if o.wait == 0 {
		return nil
	}
	return o.await(ctx, api, b, func(b *v1alpha1.BreakGlass) bool { return b.Status.Phase != "" })
}

// created words the answer to the creation of what.
func created(err error, what string) error {
	switch {
	case apierrors.IsForbidden(err), apierrors.IsInvalid(err):
		return refusal(&act.RefusedError{Err: err})
	case err != nil:
		return fmt.Errorf("creating %s: %w", what, err)
	}
	return nil
}

// await waits until something is so, and says what the BreakGlass says then.
func (o *breakGlassOptions) await(ctx context.Context, api client.Reader, b *v1alpha1.BreakGlass, is func(*v1alpha1.BreakGlass) bool) error {
	err := wait.PollUntilContextTimeout(ctx, breakGlassInterval, o.wait, true, func(context.Context) (bool, error) {
		var latest v1alpha1.BreakGlass
		if err := api.Get(ctx, client.ObjectKeyFromObject(b), &latest); err != nil {
			return false, err //nolint:wrapcheck // wrapped below
		}
		*b = latest
		return is(b), nil
	})
	switch {
	case err != nil && errors.Is(err, context.DeadlineExceeded) && ctx.Err() == nil:
		return exit(ExitTimeout, "no answer about BreakGlass %s after %s; look at it with: tidegate breakglass list -n %s", b.Name, o.wait, b.Namespace)
	case err != nil:
		return fmt.Errorf("waiting for BreakGlass %s: %w", b.Name, err)
	case b.Status.Phase == v1alpha1.BreakGlassRefused:
		return exit(ExitRefused, "BreakGlass %s was refused: %s", b.Name, b.Status.Message)
	}
	_, err = fmt.Fprintf(o.Out, "%s: %s: %s\n", b.Name, b.Status.Phase, b.Status.Message)
	return err
}

func (c *cli) breakGlassDecide(action v1alpha1.BreakGlassAction) *cobra.Command {
	o := &breakGlassOptions{cli: c}
	short, long, example := "Approve somebody else's BreakGlass", "Approve somebody else's BreakGlass, as the second person. Read first what it asks for.", `
tidegate breakglass approve breakglass-x7k2p -n shop --reason "seen, INC-4711"`
	if action == v1alpha1.BreakGlassRevoke {
		short, long, example = "End a BreakGlass at once", "End a BreakGlass at once. Whoever has it may, and whoever has the verb revoke on it.", `
tidegate breakglass revoke breakglass-x7k2p -n shop --reason "done"`
	}
	cmd := &cobra.Command{
		Use:   string(action) + " NAME",
		Short: short,
		Long: long + `

It creates a BreakGlassCommand about this very BreakGlass, stamped with your name.

Exit codes: 0 done; 2 refused; 3 no answer within --wait; 1 it could not be created.`,
		Example: c.example(example),
		Args:    one("NAME"),
		RunE: func(cmd *cobra.Command, args []string) error {
			o.name = args[0]
			return o.decide(cmd.Context(), action)
		},
	}
	cmd.Flags().StringVar(&o.reason, "reason", "", "Why, for whoever reads the trail later")
	cmd.Flags().DurationVar(&o.wait, "wait", 10*time.Second, "How long to wait for the answer; 0 does not")
	return cmd
}

func (o *breakGlassOptions) decide(ctx context.Context, action v1alpha1.BreakGlassAction) error {
	if o.wait < 0 {
		return fmt.Errorf("wanted a positive time in --wait, found %s", o.wait)
	}
	api, namespace, err := o.connect()
	if err != nil {
		return err
	}
	var b v1alpha1.BreakGlass
	if err := api.Get(ctx, client.ObjectKey{Namespace: namespace, Name: o.name}, &b); err != nil {
		return fmt.Errorf("reading BreakGlass %s: %w", o.name, err)
	}
	if action == v1alpha1.BreakGlassApprove {
		o.say("%s wants to touch %s until %s: %s", b.Spec.Actor, objectsOf(&b), b.Spec.ExpiresAt.UTC().Format(time.RFC3339), b.Spec.Reason)
	}
	command := &v1alpha1.BreakGlassCommand{
		ObjectMeta: metav1.ObjectMeta{
			Namespace: namespace, GenerateName: b.Name + "-" + string(action) + "-",
			OwnerReferences: []metav1.OwnerReference{{
				APIVersion: v1alpha1.GroupVersion.String(), Kind: "BreakGlass", Name: b.Name, UID: b.UID,
			}},
		},
		Spec: v1alpha1.BreakGlassCommandSpec{BreakGlass: b.Name, UID: b.UID, Action: action, Reason: o.reason},
	}
	if err := created(api.Create(ctx, command), "a BreakGlassCommand"); err != nil {
		return err
	}
	o.say("Created BreakGlassCommand %s/%s.", namespace, command.Name)
	if o.wait == 0 {
		return nil
	}
	return o.await(ctx, api, &b, func(b *v1alpha1.BreakGlass) bool {
		if action == v1alpha1.BreakGlassApprove {
			return b.Status.ApprovedBy != "" || b.Status.Phase.Over()
		}
		return b.Status.Phase.Over()
	})
}

func (c *cli) breakGlassList() *cobra.Command {
	o := &breakGlassOptions{cli: c}
	cmd := &cobra.Command{
		Use:   "list",
		Short: "List BreakGlasses, the newest first, with what they were used for",
		Example: c.example(`
tidegate breakglass list -n shop
tidegate breakglass list -A`),
		Args: none,
		RunE: func(cmd *cobra.Command, _ []string) error { return o.list(cmd.Context()) },
	}
	cmd.Flags().BoolVarP(&o.all, "all-namespaces", "A", false, "List those of all namespaces")
	return cmd
}

func (o *breakGlassOptions) list(ctx context.Context) error {
	api, namespace, err := o.connect()
	if err != nil {
		return err
	}
	if o.all {
		namespace = ""
	}
	var list v1alpha1.BreakGlassList
	if err := api.List(ctx, &list, client.InNamespace(namespace)); err != nil {
		return fmt.Errorf("listing BreakGlasses: %w", err)
	}
	if len(list.Items) == 0 {
		o.say("There is no BreakGlass.")
		return nil
	}
	slices.SortFunc(list.Items, func(a, b v1alpha1.BreakGlass) int {
		return cmp.Or(b.CreationTimestamp.Compare(a.CreationTimestamp.Time), cmp.Compare(a.Name, b.Name))
	})
	w := tabwriter.NewWriter(o.Out, 0, 0, 3, ' ', 0)
	_, _ = fmt.Fprintln(w, "NAMESPACE\tNAME\tPHASE\tACTOR\tAPPROVED BY\tEXPIRES\tUSES\tOBJECTS\tREASON")
	for i := range list.Items {
		b := &list.Items[i]
		phase := b.Status.Phase
		// The manager writes the phase; that it is over is so whether it does or not.
		if !phase.Over() && !o.Now().Before(b.Spec.ExpiresAt.Time) {
			phase = v1alpha1.BreakGlassEnded
		}
		_, _ = fmt.Fprintf(w, "%s\t%s\t%s\t%s\t%s\t%s\t%d\t%s\t%s\n", b.Namespace, b.Name, cmp.Or(string(phase), "-"), b.Spec.Actor,
			cmp.Or(b.Status.ApprovedBy, "-"), b.Spec.ExpiresAt.UTC().Format(time.RFC3339), b.Status.UseCount, objectsOf(b), strings.ReplaceAll(b.Spec.Reason, "\n", " "))
	}
	return w.Flush()
}

func objectsOf(b *v1alpha1.BreakGlass) string {
	words := make([]string, 0, len(b.Spec.Objects))
	for _, o := range b.Spec.Objects {
		words = append(words, o.Resource+"/"+o.Name)
	}
	return strings.Join(words, ", ")
}

// groupsOf are the API groups of resources that need not be told with them.
var groupsOf = map[string]string{
	"deployments": "apps", "statefulsets": "apps", "daemonsets": "apps", "jobs": "batch", "cronjobs": "batch",
	"pods": "", "services": "", "configmaps": "", "serviceaccounts": "",
	"horizontalpodautoscalers": "autoscaling", "poddisruptionbudgets": "policy", "networkpolicies": "networking.k8s.io",
	"ingresses": "networking.k8s.io", "httproutes": "gateway.networking.k8s.io",
}

// objectNamed reads RESOURCE[.GROUP]/NAME.
func objectNamed(text string) (v1alpha1.ObjectName, error) {
	kind, name, ok := strings.Cut(text, "/")
	if !ok || kind == "" || name == "" || strings.Contains(name, "/") {
		return v1alpha1.ObjectName{}, fmt.Errorf("wanted RESOURCE[.GROUP]/NAME in --object, such as deployments/cart-0a1b2c3d4e, found %q", text)
	}
	resource, group, given := strings.Cut(strings.ToLower(kind), ".")
	if given {
		return v1alpha1.ObjectName{Group: group, Resource: resource, Name: name}, nil
	}
	for _, plural := range []string{resource, resource + "s", resource + "es", strings.TrimSuffix(resource, "y") + "ies"} {
		if group, ok := groupsOf[plural]; ok {
			return v1alpha1.ObjectName{Group: group, Resource: plural, Name: name}, nil
		}
	}
	return v1alpha1.ObjectName{}, fmt.Errorf("wanted a resource with its group in --object, as RESOURCE.GROUP/NAME, found %q, whose group is not known", text)
}
