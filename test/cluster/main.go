// Command cluster runs a local Kubernetes without Docker, in the background:
//
//	go run ./test/cluster up
//	go run ./test/cluster kubectl -- get pods -A
//	go run ./test/cluster status
//	go run ./test/cluster down
//
// Exit codes: 0 done; 1 it failed; 2 it was called wrongly; 3 the cluster does not run; 4 the
// cluster runs, but not all of its components do. kubectl's own code is passed on. (go run prints
// the code of what it runs, and ends with 1 itself: build the command where the code matters.)
package main

import (
	"bytes"
	"context"
	"encoding/json"
	"errors"
	"flag"
	"fmt"
	"io"
	"os"
	"os/exec"
	"os/signal"
	"slices"
	"strings"
	"syscall"
	"text/tabwriter"
	"time"

	"tidegate.io/tidegate/test/cluster/binaries"
	"tidegate.io/tidegate/test/cluster/home"
	"tidegate.io/tidegate/test/cluster/local"
	"tidegate.io/tidegate/test/cluster/proc"
)

const (
	exitOK = iota
	exitFailed
	exitUsage
	exitNotRunning
	exitDegraded
)

const usage = `Runs a local Kubernetes without Docker, in the background.

  go run ./test/cluster up [flags]             start a cluster and wait until it is ready
  go run ./test/cluster status [--all|--json]  what runs, and where
  go run ./test/cluster kubectl -- ARGS...     kubectl against it
  go run ./test/cluster down                   stop it and remove its data
  go run ./test/cluster build [NAME...]        build the programs beforehand: all, or some of
                                               %s

Every command but build takes --name NAME (default "default"). "up -h" lists the flags of up.
`

// app is one call of the command.
type app struct {
	stdin       io.Reader
	out, errOut io.Writer
}

// exit is an error that has a code of its own.
type exit struct {
	code int
	err  error
}

func (e exit) Error() string { return e.err.Error() }
func (e exit) Unwrap() error { return e.err }

func main() {
	a := app{stdin: os.Stdin, out: os.Stdout, errOut: os.Stderr}
	os.Exit(a.run(context.Background(), os.Args[1:]))
}

// run runs one command and returns the exit code.
func (a app) run(ctx context.Context, args []string) int {
	commands := map[string]func(context.Context, []string) error{
		"up": a.up, "down": a.down, "status": a.status, "kubectl": a.kubectl, "build": a.build, "keep": a.keep,
	}
	if len(args) == 0 {
		a.usage()
		return exitUsage
	}
	command, ok := commands[args[0]]
	switch {
	case slices.Contains([]string{"help", "-h", "--help"}, args[0]):
		a.usage()
		return exitOK
	case !ok:
		a.complain(fmt.Errorf("no command %q: want one of up, status, kubectl, down, build", args[0]))
		return exitUsage
	}
	err := command(ctx, args[1:])
	var e exit
	switch {
	case err == nil || errors.Is(err, flag.ErrHelp):
		return exitOK
	case errors.As(err, &e):
		if e.err != nil {
			a.complain(e.err)
		}
		return e.code
	default:
		a.complain(err)
		return exitFailed
	}
}

func (a app) complain(err error) { _, _ = fmt.Fprintln(a.errOut, "error:", err) }

func (a app) say(format string, args ...any) { _, _ = fmt.Fprintf(a.out, format+"\n", args...) }

func (a app) usage() { _, _ = fmt.Fprintf(a.errOut, usage, strings.Join(binaries.Names(), ", ")) }

// flags parses the flags that all commands share, and those that define adds.
func (a app) flags(command string, args []string, define func(*flag.FlagSet)) (name string, rest []string, err error) {
	fs := flag.NewFlagSet(command, flag.ContinueOnError)
	fs.SetOutput(a.errOut)
	fs.StringVar(&name, "name", "default", "which cluster")
	if define != nil {
		define(fs)
	}
	if err := fs.Parse(args); err != nil {
		if errors.Is(err, flag.ErrHelp) {
			return "", nil, err
		}
		return "", nil, exit{exitUsage, nil} // the flag package has said what was wrong
	}
	return name, fs.Args(), nil
}

func noArgs(command string, rest []string) error {
	if len(rest) == 0 {
		return nil
	}
	return exit{exitUsage, fmt.Errorf("%s takes flags only, found %q: another cluster is chosen with --name", command, rest)}
}

// clusterFlags are what up is told and passes on to the keeper.
func clusterFlags(fs *flag.FlagSet, o *local.Options) {
	fs.IntVar(&o.Nodes, "nodes", 2, "number of kwok nodes")
	fs.BoolVar(&o.Prometheus, "prometheus", true, "start Prometheus")
	fs.DurationVar(&o.ScrapeInterval, "scrape-interval", time.Second, "how often Prometheus scrapes")
	fs.BoolVar(&o.Gateway, "gateway", false, "install the Gateway API and start the test gateway")
	fs.BoolVar(&o.ManualReadiness, "manual-readiness", false,
		"pods are ready when their annotation "+local.ReadyAnnotation+` is "true", instead of at once`)
}

// up starts a keeper, a process of its own that owns the cluster, and waits until it is ready.
func (a app) up(ctx context.Context, args []string) error {
	var o local.Options
	name, rest, err := a.flags("up", args, func(fs *flag.FlagSet) { clusterFlags(fs, &o) })
	if err == nil {
		err = noArgs("up", rest)
	}
	if err != nil {
		return err
	}
	if s, err := home.Read(name); err == nil {
		a.say("Cluster %q runs already, with the flags it was started with.", name)
		return a.describe(s)
	}
	ctx, stop := signal.NotifyContext(ctx, os.Interrupt, syscall.SIGTERM)
	defer stop()
	// In the foreground, where its progress is seen and Ctrl-C ends it.
	if _, err := binaries.Build(ctx, a.errOut, programs(o)...); err != nil {
		return err
	}
	log, err := home.KeeperLog(name)
	if err != nil {
		return err
	}
	if err := os.Remove(log); err != nil && !errors.Is(err, os.ErrNotExist) {
		return fmt.Errorf("removing the log of an earlier cluster: %w", err)
	}
	self, err := os.Executable()
	if err != nil {
		return fmt.Errorf("finding this program: %w", err)
	}
	start := time.Now()
	keeper, err := proc.Detach(proc.Spec{Path: self, Args: append([]string{"keep"}, args...), LogPath: log})
	if err != nil {
		return err
	}
	s, err := awaitKeeper(ctx, name, keeper)
	if err != nil {
		clean, cancel := context.WithTimeout(context.WithoutCancel(ctx), time.Minute)
		defer cancel()
		said, _ := os.ReadFile(log)
		return errors.Join(fmt.Errorf("starting cluster %q: %w\n%s", name, err, bytes.TrimSpace(said)), keeper.Terminate(clean))
	}
	a.say("Cluster %q is ready after %s.", name, time.Since(start).Round(100*time.Millisecond))
	return a.describe(s)
}

// programs returns what a cluster needs built.
func programs(o local.Options) []string {
	names := []string{local.Etcd, local.APIServer, local.ControllerManager, local.Scheduler, local.Kwok, "kubectl"}
	if o.Prometheus {
		names = append(names, local.Prometheus)
	}
	if o.Gateway {
		names = append(names, local.Gateway)
	}
	return names
}

func awaitKeeper(ctx context.Context, name string, keeper proc.Identity) (*home.State, error) {
	tick := time.NewTicker(100 * time.Millisecond)
	defer tick.Stop()
	for {
		s, err := home.Read(name)
		switch {
		case err == nil && s.Ready:
			return s, nil
		case err != nil && !errors.Is(err, home.ErrNotRunning):
			return nil, err
		case !keeper.Alive():
			return nil, errors.New("it gave up")
		}
		select {
		case <-ctx.Done():
			return nil, context.Cause(ctx)
		case <-tick.C:
		}
	}
}

// keep owns a cluster until it is told to end. It is what up starts, not a command for people.
func (a app) keep(ctx context.Context, args []string) error {
	o := local.Options{Background: true, Log: a.errOut}
	name, rest, err := a.flags("keep", args, func(fs *flag.FlagSet) { clusterFlags(fs, &o) })
	if err == nil {
		err = noArgs("keep", rest)
	}
	if err != nil {
		return err
	}
	o.Name = name
	ctx, stop := signal.NotifyContext(ctx, os.Interrupt, syscall.SIGTERM)
	defer stop()
	c, err := local.Start(ctx, o)
	if err != nil {
		return err
	}
	<-ctx.Done()
	clean, cancel := context.WithTimeout(context.WithoutCancel(ctx), time.Minute)
	defer cancel()
	return c.Stop(clean)
}

func (a app) down(ctx context.Context, args []string) error {
	name, rest, err := a.flags("down", args, nil)
	if err == nil {
		err = noArgs("down", rest)
	}
	if err != nil {
		return err
	}
	s, err := home.Read(name)
	switch {
	case errors.Is(err, home.ErrNotRunning):
		a.say("Cluster %q does not run%s.", name, others(name))
	case err != nil:
		return err
	case !s.Background:
		return fmt.Errorf("cluster %q belongs to process %d, a test perhaps, and ends with it: end that process", name, s.Owner.PID)
	default:
		if err := stopKeeper(ctx, s.Owner); err != nil {
			return fmt.Errorf("stopping cluster %q: %w", name, err)
		}
		a.say("Cluster %q is stopped and its data removed.", name)
	}
	log, err := home.KeeperLog(name)
	if err != nil {
		return err
	}
	if err := os.Remove(log); err != nil && !errors.Is(err, os.ErrNotExist) {
		return fmt.Errorf("removing a log: %w", err)
	}
	return home.Sweep(ctx)
}

// stopKeeper lets the keeper stop its cluster; if it does not, the kernel does when it is killed.
func stopKeeper(ctx context.Context, keeper proc.Identity) error {
	polite, cancel := context.WithTimeout(ctx, 30*time.Second)
	defer cancel()
	if keeper.Terminate(polite) == nil {
		return nil
	}
	return keeper.Kill(ctx)
}

func (a app) status(_ context.Context, args []string) error {
	var all, asJSON bool
	name, rest, err := a.flags("status", args, func(fs *flag.FlagSet) {
		fs.BoolVar(&all, "all", false, "the names of all clusters that run, those of tests too")
		fs.BoolVar(&asJSON, "json", false, "for programs")
	})
	if err == nil {
		err = noArgs("status", rest)
	}
	if err != nil {
		return err
	}
	if all {
		names, err := home.Running()
		for _, n := range names {
			a.say("%s", n)
		}
		return err
	}
	s, err := running(name)
	if err != nil {
		return err
	}
	if asJSON {
		enc := json.NewEncoder(a.out)
		enc.SetIndent("", "  ")
		if err := enc.Encode(s); err != nil {
			return fmt.Errorf("writing the state: %w", err)
		}
	} else if err := a.describe(s); err != nil {
		return err
	}
	if down := dead(s); len(down) > 0 {
		return exit{exitDegraded, fmt.Errorf("not running: %s: read their logs, then start afresh with `go run ./test/cluster down --name %s` and up",
			strings.Join(down, ", "), name)}
	}
	if !s.Ready {
		return exit{exitDegraded, fmt.Errorf("cluster %q is still starting", name)}
	}
	return nil
}

// running returns the state of a cluster that must run.
func running(name string) (*home.State, error) {
	s, err := home.Read(name)
	if errors.Is(err, home.ErrNotRunning) {
		return nil, exit{exitNotRunning, fmt.Errorf("cluster %q does not run%s: start it with `go run ./test/cluster up%s`",
			name, others(name), nameFlag(name))}
	}
	return s, err
}

func nameFlag(name string) string {
	if name == "default" {
		return ""
	}
	return " --name " + name
}

// others names the clusters that do run, for one who mistyped.
func others(name string) string {
	names, err := home.Running()
	names = slices.DeleteFunc(names, func(n string) bool { return n == name })
	if err != nil || len(names) == 0 {
		return ""
	}
	return " (running: " + strings.Join(names, ", ") + ")"
}

func dead(s *home.State) []string {
	var names []string
	for _, k := range s.Components {
		if !k.Process.Alive() {
			names = append(names, k.Name)
		}
	}
	return names
}

// describe says what runs and how to reach it.
func (a app) describe(s *home.State) error {
	tw := tabwriter.NewWriter(a.out, 0, 0, 2, ' ', 0)
	_, _ = fmt.Fprintln(tw, "\nCOMPONENT\tVERSION\tSTATE\tPID\tADDRESS\tLOG")
	for _, k := range s.Components {
		version, err := binaries.Version(k.Name)
		if err != nil {
			return err
		}
		state, address := "running", "-"
		if !k.Process.Alive() {
			state = "stopped"
		}
		if k.Port != 0 {
			address = fmt.Sprintf("127.0.0.1:%d", k.Port)
		}
		_, _ = fmt.Fprintf(tw, "%s\t%s\t%s\t%d\t%s\t%s\n", k.Name, version, state, k.Process.PID, address, k.Log)
	}
	_, _ = fmt.Fprintf(tw, "\nAPI server\t%s\nkubeconfig\t%s\n", s.APIServerURL, s.Kubeconfig)
	for _, at := range []struct{ what, url string }{{"Prometheus", s.PrometheusURL}, {"gateway", s.GatewayURL}} {
		if at.url != "" {
			_, _ = fmt.Fprintf(tw, "%s\t%s\n", at.what, at.url)
		}
	}
	_, _ = fmt.Fprintf(tw, "pods\t%s\nservices\t%s\n", s.PodCIDR, s.ServiceCIDR)
	if s.Background {
		flags := nameFlag(s.Name)
		_, _ = fmt.Fprintf(tw, "\nuse it\tgo run ./test/cluster kubectl%s -- get pods -A\nstop it\tgo run ./test/cluster down%s\n", flags, flags)
	}
	if err := tw.Flush(); err != nil {
		return fmt.Errorf("writing the status: %w", err)
	}
	return nil
}

func (a app) kubectl(ctx context.Context, args []string) error {
	name, rest, err := a.flags("kubectl", args, nil)
	if err != nil {
		return err
	}
	if len(rest) == 0 {
		return exit{exitUsage, errors.New("kubectl needs arguments after --, such as: go run ./test/cluster kubectl -- get pods -A")}
	}
	s, err := running(name)
	if err != nil {
		return err
	}
	cmd, err := local.KubectlCommand(ctx, *s, a.errOut, rest...)
	if err != nil {
		return err
	}
	cmd.Stdin, cmd.Stdout, cmd.Stderr = a.stdin, a.out, a.errOut
	// The terminal's Ctrl-C reaches kubectl too, and how it ends is its own business.
	interrupts := make(chan os.Signal, 1)
	signal.Notify(interrupts, os.Interrupt)
	defer signal.Stop(interrupts)
	err = cmd.Run()
	var code *exec.ExitError
	if errors.As(err, &code) && code.ExitCode() > 0 {
		return exit{code.ExitCode(), nil} // kubectl has said why
	}
	return err
}

func (a app) build(ctx context.Context, args []string) error {
	ctx, stop := signal.NotifyContext(ctx, os.Interrupt, syscall.SIGTERM)
	defer stop()
	if len(args) == 0 {
		args = binaries.Names()
	}
	paths, err := binaries.Build(ctx, a.errOut, args...)
	if err != nil {
		return err
	}
	for _, name := range args {
		a.say("%s", paths[name])
	}
	return nil
}
