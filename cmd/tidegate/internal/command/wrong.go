package command

import (
	"errors"
	"fmt"
	"strings"

	"github.com/spf13/cobra"
	"github.com/spf13/pflag"

	"tidegate.io/tidegate/cmd/tidegate/internal/gather"
)

// group makes cmd one that only holds others: without arguments it shows what these are.
func group(cmd *cobra.Command) *cobra.Command {
	cmd.Args = unknownCommand
	cmd.RunE = func(cmd *cobra.Command, _ []string) error { return cmd.Help() }
	return cmd
}

// unknownCommand says which commands there are where an argument names none.
func unknownCommand(cmd *cobra.Command, args []string) error {
	if len(args) == 0 {
		return nil
	}
	var names, all []string
	for _, c := range cmd.Commands() {
		if c.IsAvailableCommand() {
			names = append(names, c.Name())
			all = append(append(all, c.Name()), c.Aliases...)
		}
	}
	return fmt.Errorf("wanted one of the commands %s, found %q%s\n%s", strings.Join(names, ", "), args[0], meant(gather.Near(args[0], all)), seeHelp(cmd))
}

// wrongFlag words what is wrong with flags.
func wrongFlag(cmd *cobra.Command, err error) error {
	if wrong, ok := errors.AsType[*pflag.InvalidValueError](err); ok {
		if wanted := kinds[wrong.GetFlag().Value.Type()]; wanted != "" {
			return fmt.Errorf("wanted %s in --%s, found %q\n%s", wanted, wrong.GetFlag().Name, wrong.GetValue(), seeHelp(cmd))
		}
	}
	if bare, ok := errors.AsType[*pflag.ValueRequiredError](err); ok {
		flag := bare.GetFlag()
		return fmt.Errorf("wanted a value behind --%s, found none; it is: %s\n%s", flag.Name, flag.Usage, seeHelp(cmd))
	}
	unknown, ok := errors.AsType[*pflag.NotExistError](err)
	if !ok {
		return fmt.Errorf("%w\n%s", err, seeHelp(cmd))
	}
	var names []string
	cmd.Flags().VisitAll(func(f *pflag.Flag) { names = append(names, f.Name) })
	found, name := "--"+unknown.GetSpecifiedName(), unknown.GetSpecifiedName()
	if short := unknown.GetSpecifiedShortnames(); short != "" {
		// Long flags with one dash are taken for many short ones.
		found, name = "-"+short, short
	}
	var near []string
	if len(name) > 1 {
		near = gather.Near(name, names)
	}
	for i := range near {
		near[i] = "--" + near[i]
	}
	return fmt.Errorf("wanted a flag of %s, found %s%s\n%s", cmd.CommandPath(), found, meant(near), seeHelp(cmd))
}

// kinds are what flags of each type take.
var kinds = map[string]string{
	"int": "a whole number", "int32": "a whole number", "int64": "a whole number",
	"bool": "true or false", "duration": "a time, such as 90s or 5m,",
}

// missingFlags says which flags are needed and not given.
func missingFlags(cmd *cobra.Command) error {
	var names []string
	cmd.Flags().VisitAll(func(f *pflag.Flag) {
		if len(f.Annotations[cobra.BashCompOneRequiredFlag]) > 0 && !f.Changed {
			names = append(names, "--"+f.Name)
		}
	})
	if len(names) == 0 {
		return nil
	}
	return fmt.Errorf("wanted %s, found none\n%s", strings.Join(names, " and "), seeHelp(cmd))
}

// maxMeant is how many names are offered for one that is not there.
const maxMeant = 3

// meant asks whether one of the names was meant.
func meant(names []string) string {
	if len(names) == 0 {
		return ""
	}
	return "; did you mean " + strings.Join(names[:min(len(names), maxMeant)], " or ") + "?"
}

func seeHelp(cmd *cobra.Command) string { return fmt.Sprintf("See '%s --help'", cmd.CommandPath()) }
