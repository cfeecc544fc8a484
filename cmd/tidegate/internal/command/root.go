// Package command is the command line's surface: flags become options, options become
// calls, errors become exit codes.
package command

import (
	"context"
	"errors"
	"fmt"
	"io"
	"io/fs"
	"net/url"
	"path/filepath"
	"slices"
	"strings"
	"time"

	"github.com/spf13/cobra"
	"github.com/spf13/pflag"
	"k8s.io/apimachinery/pkg/api/meta"
	"k8s.io/apimachinery/pkg/runtime"
	"k8s.io/cli-runtime/pkg/genericclioptions"
	"k8s.io/client-go/discovery"
	clientgoscheme "k8s.io/client-go/kubernetes/scheme"
	"k8s.io/client-go/rest"
	"sigs.k8s.io/controller-runtime/pkg/client"

	"tidegate.io/tidegate/cmd/tidegate/internal/gather"
	"tidegate.io/tidegate/cmd/tidegate/internal/term"
	"tidegate.io/tidegate/policies/eval"
	"tidegate.io/tidegate/policies/eval/cuepolicy"
	"tidegate.io/tidegate/schemas/v1alpha1"
)

// Exit codes. Linters, which are render and those commands of template that check files,
// have their own meaning for 1 and 2; see docs/cli.md.
const (
	// ExitOK is: it was done, or what was asked about is well.
	ExitOK = 0
	// ExitError is: wrong usage, or it could not be done.
	ExitError = 1
	// ExitRefused is: the Release failed, its values are invalid, or Tidegate refused.
	ExitRefused = 2
	// ExitTimeout is: it did not end in the time given.
	ExitTimeout = 3
	// ExitInterrupted is: somebody pressed Ctrl-C.
	ExitInterrupted = 130
)

// Env is the world that a command runs in.
type Env struct {
	// Name is how the program was called: "tidegate" or "kubectl tidegate".
	Name string
	In   io.Reader
	Out  io.Writer
	Err  io.Writer
	// Terminal is true where Out is one.
	Terminal bool
	// Size returns the columns and rows of the terminal.
	Size   func() (columns, rows int)
	Getenv func(string) string
	Now    func() time.Time
	// Client connects to the cluster that the flags name.
	Client func(genericclioptions.RESTClientGetter, *runtime.Scheme) (client.Client, error)
	// Discovery does the same for the cluster's versions.
	Discovery func(genericclioptions.RESTClientGetter) (Discovery, error)
	// Bounded runs this very command in a process of its own that may hold only so much
	// memory, and returns its exit code; nil where this is that process, or there is none.
	Bounded func(context.Context) (int, error)
	// CUE judges by policies in CUE where they can be ended; nil is in this process, where
	// they can only be left behind.
	CUE cuepolicy.Runner
}

// compiler compiles policies.
func (e Env) compiler() eval.Compiler { return eval.Compiler{CUE: e.CUE} }

// Discovery is what `version` asks a cluster.
type Discovery interface {
	discovery.ServerVersionInterface
	discovery.ServerGroupsInterface
}

// ProgramName returns the name that usage texts show for a binary.
func ProgramName(argument string) string {
	base := strings.TrimSuffix(filepath.Base(argument), ".exe")
	if plugin, ok := strings.CutPrefix(base, "kubectl-"); ok {
		return "kubectl " + strings.ReplaceAll(plugin, "_", "-")
	}
	return "tidegate"
}

// exitError is an error with an exit code of its own. A nil err prints nothing.
type exitError struct {
	code int
	err  error
}

func (e *exitError) Error() string {
	if e.err == nil {
		return fmt.Sprintf("exit code %d", e.code)
	}
	return e.err.Error()
}

func (e *exitError) Unwrap() error { return e.err }

func exit(code int, format string, args ...any) error {
	return &exitError{code: code, err: fmt.Errorf(format, args...)}
}

// cli is the state that all commands share.
type cli struct {
	Env
	flags  *genericclioptions.ConfigFlags
	color  term.ColorMode
	scheme *runtime.Scheme
}

// Run runs the command line and returns the exit code.
func Run(ctx context.Context, env Env, args []string) int {
	c := &cli{Env: env, flags: genericclioptions.NewConfigFlags(true), color: term.ColorAuto, scheme: runtime.NewScheme()}
	for _, add := range []func(*runtime.Scheme) error{clientgoscheme.AddToScheme, v1alpha1.AddToScheme} {
		if err := add(c.scheme); err != nil {
			c.say("Error: %v", err)
			return ExitError
		}
	}
	root := c.root()
	root.SetArgs(goFlags(args))
	command, err := root.ExecuteContextC(ctx)
	if err == nil {
		return ExitOK
	}
	code := ExitError
	if linter(command) || simulates(command) {
		code = ExitRenderFailed
	}
	var own *exitError
	switch {
	case errors.As(err, &own):
		code = own.code
	case errors.Is(err, errEndless):
		code = ExitRefused
	}
	if ctx.Err() != nil {
		return ExitInterrupted
	}
	if own == nil || own.err != nil {
		c.say("Error: %s", explain(err))
	}
	return code
}

// explain adds what to do to errors that come from afar.
func explain(err error) string {
	text := err.Error()
	if file, ok := errors.AsType[*fs.PathError](err); ok {
		// The name of the system call says nothing, and the path may be there already.
		plain := file.Path + ": " + file.Err.Error()
		text = strings.Replace(text, file.Error(), plain, 1)
		text = strings.Replace(text, file.Path+": "+plain, plain, 1)
	}
	if meta.IsNoMatchError(err) {
		return text + "\nThe cluster does not know Tidegate's kinds. Is it the right one (--context), and is Tidegate installed there?"
	}
	if lost, ok := errors.AsType[*url.Error](err); ok {
		if strings.HasPrefix(lost.URL, noCluster) {
			return text + "\nNo cluster is named, and none is on this machine: set KUBECONFIG, or give --kubeconfig."
		}
		return text + "\nThe cluster does not answer. Is it the right one (--context, --kubeconfig), and is it up?"
	}
	return text
}

// noCluster is where clients look that no kubeconfig names a cluster to.
const noCluster = "http://localhost:8080/"

const longHelp = `Tidegate makes one release flow the only way into production.

This program shows where Releases stand, takes people's decisions about rollouts, and
renders Releases without a cluster.

Exit codes: 0 ok; 1 wrong usage or an error; 2 the Release failed, its values are
invalid, or Tidegate refused; 3 it did not end in time; 130 interrupted.
` + "`render`, `check`, `audit`, `simulate`, and `template` where it checks files, have their own: 0 good, 1 mistakes found,\n2 could not run."

func (c *cli) root() *cobra.Command {
	root := group(&cobra.Command{
		Use:               "tidegate",
		Annotations:       map[string]string{cobra.CommandDisplayNameAnnotation: c.Name},
		Short:             "Show and steer releases that go through Tidegate",
		Long:              longHelp,
		SilenceUsage:      true,
		SilenceErrors:     true,
		DisableAutoGenTag: true,
		PersistentPreRunE: func(cmd *cobra.Command, _ []string) error {
			if err := missingFlags(cmd); err != nil {
				return err
			}
			return c.bounded(cmd)
		},
	})
	root.SetIn(c.In)
	root.SetOut(c.Out)
	root.SetErr(c.Err)
	root.SetFlagErrorFunc(wrongFlag)
	flags := root.PersistentFlags()
	c.flags.AddFlags(flags)
	hideRareFlags(flags)
	flags.Var(&c.color, "color", "When to colour the output")
	cobra.CheckErr(root.RegisterFlagCompletionFunc("color", cobra.FixedCompletions(term.ColorModes(), cobra.ShellCompDirectiveNoFileComp)))
	root.AddCommand(c.get(), c.status(), c.approve(), c.abort(), c.pause(), c.resume(), c.skip(), c.promote(), c.retry(), c.undo(), c.history(), c.render(), c.template(), c.release(), c.policy(), c.breakGlass(), c.check(), c.audit(), c.doctor(), c.gate(), c.notifications(), c.simulate(), c.version())
	return root
}

// bounded has a command that evaluates templates run in a process of its own, and returns
// its exit code as an error, even where that is 0; nil where it is to run in this one.
func (c *cli) bounded(cmd *cobra.Command) error {
	if c.Bounded == nil || !evaluates(cmd) {
		return nil
	}
	code, err := c.Bounded(cmd.Context())
	if err != nil {
		return &exitError{code: ExitRefused, err: err}
	}
	return &exitError{code: code}
}

// evaluates says whether a command computes what a template says.
func evaluates(cmd *cobra.Command) bool {
	if simulates(cmd) {
		return cmd.Flags().Changed("template")
	}
	return cmd.Name() == "create" || cmd.Name() == "replay" || linter(cmd) && !underPolicy(cmd) && !cmd.HasSubCommands()
}

// hideRareFlags keeps help texts short. Hidden flags work as they do in kubectl.
func hideRareFlags(flags *pflag.FlagSet) {
	shown := []string{"as", "as-group", "context", "kubeconfig", "namespace", "request-timeout"}
	flags.VisitAll(func(f *pflag.Flag) {
		f.Hidden = !slices.Contains(shown, f.Name)
	})
}

// example indents examples and puts the program's name into them.
func (c *cli) example(text string) string {
	return "  " + strings.ReplaceAll(strings.ReplaceAll(strings.TrimSpace(text), "\n", "\n  "), "tidegate ", c.Name+" ")
}

// one checks that there is one argument.
func one(what string) cobra.PositionalArgs {
	return func(cmd *cobra.Command, args []string) error {
		if len(args) != 1 {
			return fmt.Errorf("wanted one %s, found %d arguments\nUsage: %s", what, len(args), cmd.UseLine())
		}
		return nil
	}
}

// none checks that there are no arguments.
func none(cmd *cobra.Command, args []string) error {
	if len(args) > 0 {
		return fmt.Errorf("wanted no arguments, found %q\nUsage: %s", args, cmd.UseLine())
	}
	return nil
}

// say writes a line for people. One that cannot be written is lost, since there is
// nowhere to say so.
func (c *cli) say(format string, args ...any) {
	_, _ = fmt.Fprintln(c.Err, term.Plain(fmt.Sprintf(format, args...)))
}

func (c *cli) style() term.Style { return term.Detect(c.color, c.Terminal, c.Getenv) }

// namespace is the one that the flags or the kubeconfig name.
func (c *cli) namespace() (string, error) {
	namespace, _, err := c.flags.ToRawKubeConfigLoader().Namespace()
	if err != nil {
		return "", fmt.Errorf("reading the kubeconfig: %w", err)
	}
	return namespace, nil
}

// connect returns a client and the namespace to use it in.
func (c *cli) connect() (client.Client, string, error) {
	namespace, err := c.namespace()
	if err != nil {
		return nil, "", err
	}
	api, err := c.Client(c.flags, c.scheme)
	if err != nil {
		return nil, "", fmt.Errorf("connecting to the cluster: %w", err)
	}
	return api, namespace, nil
}

// Connect makes a client of the flags. Warnings of the API server go to warnings.
func Connect(getter genericclioptions.RESTClientGetter, scheme *runtime.Scheme, warnings io.Writer) (client.Client, error) {
	config, err := getter.ToRESTConfig()
	if err != nil {
		return nil, err
	}
	config = rest.CopyConfig(config)
	config.WarningHandler = rest.NewWarningWriter(warnings, rest.WarningWriterOptions{Deduplicate: true})
	return client.New(config, client.Options{Scheme: scheme})
}

// completionTime is how long a shell may wait for names.
const completionTime = 3 * time.Second

// completeRelease offers the names of Releases for the first argument.
func (c *cli) completeRelease(cmd *cobra.Command, args []string, _ string) ([]cobra.Completion, cobra.ShellCompDirective) {
	return c.completeFirst(cmd, args, gather.Reader.ReleaseNames)
}

// completeFirst offers names from the cluster for the first argument.
func (c *cli) completeFirst(cmd *cobra.Command, args []string, list func(gather.Reader, context.Context) ([]string, error)) ([]cobra.Completion, cobra.ShellCompDirective) {
	if len(args) > 0 {
		return nil, cobra.ShellCompDirectiveNoFileComp
	}
	api, namespace, err := c.connect()
	if err != nil {
		return nil, cobra.ShellCompDirectiveError
	}
	ctx, cancel := context.WithTimeout(cmd.Context(), completionTime)
	defer cancel()
	names, err := list(gather.Reader{Client: api, Namespace: namespace}, ctx)
	if err != nil {
		return nil, cobra.ShellCompDirectiveError
	}
	return names, cobra.ShellCompDirectiveNoFileComp
}
