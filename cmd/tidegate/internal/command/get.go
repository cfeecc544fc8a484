package command

import (
	"context"
	"errors"
	"fmt"
	"slices"
	"strings"

	"github.com/spf13/cobra"
	"k8s.io/apimachinery/pkg/api/meta"
	"k8s.io/apimachinery/pkg/runtime"
	"k8s.io/cli-runtime/pkg/genericclioptions"
	"k8s.io/cli-runtime/pkg/printers"
	"sigs.k8s.io/controller-runtime/pkg/client"
	"sigs.k8s.io/controller-runtime/pkg/client/apiutil"

	"tidegate.io/tidegate/cmd/tidegate/internal/gather"
	"tidegate.io/tidegate/cmd/tidegate/internal/table"
)

const outputWide = "wide"

type getOptions struct {
	*cli
	kind  table.Kind
	names []string
	// all is true for all namespaces.
	all    bool
	format *genericclioptions.PrintFlags
	output string
}

func (c *cli) get() *cobra.Command {
	o := &getOptions{cli: c, format: genericclioptions.NewPrintFlags("")}
	cmd := &cobra.Command{
		Use:   "get [releases|rollouts|templates|commands|templaterevisions|templatecommands] [NAME...]",
		Short: "List releases, rollouts, templates, commands, or the revisions and commands of templates",
		Long: `List releases, rollouts, templates, commands (about rollouts), templaterevisions or
templatecommands.

A * behind a Release's phase says that the phase is of an older spec than the newest.`,
		Example: c.example(`
tidegate get
tidegate get releases -A
tidegate get rollouts -n shop -o wide
tidegate get releases cart -o yaml`),
		ValidArgsFunction: c.completeGet,
		RunE: func(cmd *cobra.Command, args []string) error {
			if err := o.take(args); err != nil {
				return err
			}
			return o.run(cmd.Context())
		},
	}
	o.format.AddFlags(cmd)
	output := cmd.Flags().Lookup("output")
	output.Usage = fmt.Sprintf("Output format: %s, or %s", outputWide, strings.Join(o.format.AllowedFormats(), ", "))
	cmd.Flags().BoolVarP(&o.all, "all-namespaces", "A", false, "List objects of all namespaces")
	return cmd
}

func (o *getOptions) take(args []string) error {
	o.kind, o.names = table.Kinds()[0], nil
	if len(args) > 0 {
		kind, ok := table.Find(args[0])
		if !ok {
			return fmt.Errorf("wanted releases, rollouts, templates, commands, templaterevisions or templatecommands, found %q\nFor one Release: %s get releases %s", args[0], o.Name, args[0])
		}
		o.kind, o.names = kind, args[1:]
	}
	if o.all && len(o.names) > 0 {
		return errors.New("names are of one namespace; leave --all-namespaces or the names away")
	}
	if f := o.format.OutputFormat; f != nil {
		o.output = *f
	}
	return nil
}

func (o *getOptions) run(ctx context.Context) error {
	api, namespace, err := o.connect()
	if err != nil {
		return err
	}
	list := o.kind.NewList()
	var options []client.ListOption
	if o.kind.Namespaced && !o.all {
		options = append(options, client.InNamespace(namespace))
	}
	if err := api.List(ctx, list, options...); err != nil {
		return fmt.Errorf("listing %s: %w", o.kind.Names[0], err)
	}
	objects, err := o.objects(list)
	if err != nil {
		return err
	}
	var missing error
	if len(o.names) > 0 {
		objects, missing = o.choose(objects, namespace)
	}
	if err := o.print(list, objects, namespace); err != nil {
		return err
	}
	return missing
}

// objects returns the items of the list in order, each saying what it is.
func (o *getOptions) objects(list client.ObjectList) ([]client.Object, error) {
	items, err := meta.ExtractList(list)
	if err != nil {
		return nil, fmt.Errorf("reading the list of %s: %w", o.kind.Names[0], err)
	}
	objects := make([]client.Object, 0, len(items))
	for _, item := range items {
		object := item.(client.Object)
		gvk, err := apiutil.GVKForObject(object, o.scheme)
		if err != nil {
			return nil, fmt.Errorf("reading the list of %s: %w", o.kind.Names[0], err)
		}
		object.GetObjectKind().SetGroupVersionKind(gvk)
		objects = append(objects, object)
	}
	o.kind.Sort(objects)
	return objects, nil
}

// choose returns the objects that were named, and an error about the names that there
// are not.
func (o *getOptions) choose(objects []client.Object, namespace string) (chosen []client.Object, missing error) {
	var all []string
	for _, object := range objects {
		all = append(all, object.GetName())
		if slices.Contains(o.names, object.GetName()) {
			chosen = append(chosen, object)
		}
	}
	var lines []string
	for _, name := range o.names {
		if slices.Contains(all, name) {
			continue
		}
		line := fmt.Sprintf("there is no %q among the %s", name, o.kind.Names[0])
		if o.kind.Namespaced {
			line += fmt.Sprintf(" of namespace %q", namespace)
		}
		if near := gather.Near(name, all); len(near) > 0 {
			line += "; did you mean " + strings.Join(near, ", ") + "?"
		}
		lines = append(lines, line)
	}
	if len(lines) > 0 {
		missing = errors.New(strings.Join(lines, "\n"))
	}
	return chosen, missing
}

func (o *getOptions) print(list client.ObjectList, objects []client.Object, namespace string) error {
	if o.output != "" && o.output != outputWide {
		return o.printObjects(list, objects)
	}
	if len(objects) == 0 {
		if len(o.names) == 0 {
			where := ""
			if o.kind.Namespaced && !o.all {
				where = fmt.Sprintf(" in namespace %q", namespace)
			}
			o.say("There are no %s%s.", o.kind.Names[0], where)
		}
		return nil
	}
	wide := o.output == outputWide
	t := o.kind.Table(objects, table.Options{Style: o.style(), Now: o.Now(), Wide: wide})
	printer := printers.NewTablePrinter(printers.PrintOptions{Wide: wide, WithNamespace: o.all && o.kind.Namespaced})
	w := printers.GetNewTabWriter(o.Out)
	if err := printer.PrintObj(t, w); err != nil {
		return fmt.Errorf("printing the table: %w", err)
	}
	return w.Flush()
}

// printObjects prints one object that was named as itself, names one by one, and
// everything else as a list, as kubectl does.
func (o *getOptions) printObjects(list client.ObjectList, objects []client.Object) error {
	printer, err := o.format.ToPrinter()
	if err != nil {
		return fmt.Errorf("output format: %w", err)
	}
	if len(o.names) == 1 || o.output == "name" {
		for _, object := range objects {
			if err := printer.PrintObj(object, o.Out); err != nil {
				return fmt.Errorf("printing %s: %w", object.GetName(), err)
			}
		}
		return nil
	}
	items := make([]runtime.Object, 0, len(objects))
	for _, object := range objects {
		items = append(items, object)
	}
	if err := meta.SetList(list, items); err != nil {
		return fmt.Errorf("making the list: %w", err)
	}
	gvk, err := apiutil.GVKForObject(list, o.scheme)
	if err != nil {
		return fmt.Errorf("making the list: %w", err)
	}
	list.GetObjectKind().SetGroupVersionKind(gvk)
	return printer.PrintObj(list, o.Out)
}

func (c *cli) completeGet(_ *cobra.Command, args []string, _ string) ([]cobra.Completion, cobra.ShellCompDirective) {
	if len(args) > 0 {
		return nil, cobra.ShellCompDirectiveNoFileComp
	}
	var names []string
	for _, k := range table.Kinds() {
		names = append(names, k.Names[0])
	}
	return names, cobra.ShellCompDirectiveNoFileComp
}
