// Command attack plays attempts to go around the managed flow, and legitimate actions that
// must not be hindered, against a fresh local control plane with the chart and the manager.
// docs/attack.md describes the files that it reads and the table that it prints.
package main

import (
	"context"
	"errors"
	"flag"
	"fmt"
	"io"
	"os"
	"os/exec"
	"os/signal"
	"path/filepath"
	"regexp"
	"slices"
	"strings"
	"syscall"
	"time"

	"tidegate.io/tidegate/test/attack/internal/attempt"
	"tidegate.io/tidegate/test/attack/internal/play"
	"tidegate.io/tidegate/test/attack/internal/report"
	"tidegate.io/tidegate/test/attack/internal/world"
)

func main() {
	ctx, stop := signal.NotifyContext(context.Background(), os.Interrupt, syscall.SIGTERM)
	code := run(ctx, os.Args[1:], os.Stdout, os.Stderr)
	stop()
	os.Exit(code)
}

// limit bounds a run: much longer means that something hangs.
const limit = 30 * time.Minute

// downTimeout bounds stopping everything.
const downTimeout = time.Minute

// options are the flags.
type options struct {
	dirs     []string
	output   string
	only     *regexp.Regexp
	parallel int
	seed     uint64
	patience float64
	list     bool
	keep     bool
}

// run plays what the arguments say and returns the exit code.
func run(ctx context.Context, args []string, stdout, stderr io.Writer) int {
	o, err := parse(args, stderr)
	if errors.Is(err, flag.ErrHelp) {
		return report.AllAsExpected
	}
	if err == nil {
		ctx, cancel := context.WithTimeout(ctx, limit)
		defer cancel()
		var outcomes []play.Outcome
		if outcomes, err = perform(ctx, o, stdout, stderr); err == nil {
			if o.list {
				return report.AllAsExpected
			}
			return report.Code(outcomes)
		}
	}
	_, _ = fmt.Fprintln(stderr, "attack:", err)
	return report.CouldNotRun
}

func parse(args []string, stderr io.Writer) (options, error) {
	o := options{}
	only := ""
	flags := flag.NewFlagSet("attack", flag.ContinueOnError)
	flags.SetOutput(stderr)
	flags.Func("dir", "read attempts from this directory and those below; may be repeated (default: the project's own)", func(dir string) error {
		o.dirs = append(o.dirs, dir)
		return nil
	})
	flags.StringVar(&o.output, "o", "table", "table or json")
	flags.StringVar(&only, "run", "", "play only what has a file or name that matches this regular expression")
	flags.IntVar(&o.parallel, "parallel", 8, "how many attempts are played side by side")
	flags.Uint64Var(&o.seed, "seed", 0, "play in another order: the same seed, the same order; 0 is the order of the files")
	flags.Float64Var(&o.patience, "patience", 1, "multiply every time limit, for a machine that has much else to do")
	flags.BoolVar(&o.list, "list", false, "read the files, print their names and play nothing")
	flags.BoolVar(&o.keep, "keep", false, "leave everything running afterwards, until an interrupt")
	if err := flags.Parse(args); err != nil {
		return o, err
	}
	if flags.NArg() > 0 {
		return o, fmt.Errorf("wanted flags alone, found %q; directories are given by --dir", flags.Arg(0))
	}
	if o.output != "table" && o.output != "json" {
		return o, fmt.Errorf("-o: wanted table or json, found %q", o.output)
	}
	if o.parallel < 1 {
		return o, fmt.Errorf("--parallel: wanted at least 1, found %d", o.parallel)
	}
	if o.patience < 1 || o.patience > 20 {
		return o, fmt.Errorf("--patience: wanted 1 to 20, found %v", o.patience)
	}
	var err error
	if o.only, err = regexp.Compile(only); err != nil {
		return o, fmt.Errorf("--run: %w", err)
	}
	return o, nil
}

// own are the project's attempts, within the checkout.
var own = []string{"test/attack/attempts", "test/attack/legitimate"}

func perform(ctx context.Context, o options, stdout, stderr io.Writer) ([]play.Outcome, error) {
	root, err := moduleRoot(ctx)
	if err != nil {
		return nil, err
	}
	dirs := o.dirs
	if len(dirs) == 0 {
		for _, d := range own {
			dirs = append(dirs, filepath.Join(root, filepath.FromSlash(d)))
		}
	}
	attempts, err := attempt.Read(dirs...)
	if err != nil {
		return nil, err
	}
	attempts = slices.DeleteFunc(attempts, func(a *attempt.Attempt) bool {
		return !o.only.MatchString(a.File) && !o.only.MatchString(a.Name)
	})
	if len(attempts) == 0 {
		return nil, errors.New("wanted something to play, found nothing that --run matches")
	}
	if o.list {
		for _, a := range attempts {
			if _, err := fmt.Fprintf(stdout, "%s\t%s\t%s\n", a.Kind, a.File, a.Name); err != nil {
				return nil, err
			}
		}
		return nil, nil
	}
	outcomes, err := playAll(ctx, o, root, attempts, stderr)
	if err != nil {
		return nil, err
	}
	if o.output == "json" {
		return outcomes, report.JSON(stdout, outcomes)
	}
	return outcomes, report.Table(stdout, outcomes)
}

// every is after how many files it is said how far the run is.
const every = 25

func playAll(ctx context.Context, o options, root string, attempts []*attempt.Attempt, progress io.Writer) (outcomes []play.Outcome, err error) {
	w, err := world.Up(ctx, world.Options{Root: root, Progress: progress})
	if err != nil {
		return nil, err
	}
	defer func() {
		if o.keep && ctx.Err() == nil {
			_, _ = fmt.Fprintf(progress, "left running: export KUBECONFIG=%s\nthe manager's log: %s\nan interrupt ends it\n", w.Kubeconfig(), w.ManagerLog())
			<-ctx.Done()
		}
		down, cancel := context.WithTimeout(context.WithoutCancel(ctx), downTimeout)
		defer cancel()
		err = errors.Join(err, w.Down(down))
	}()
	if err := w.MakeNamespaces(ctx, attempts); err != nil {
		return nil, err
	}
	began, n := time.Now(), 0
	outcomes, err = play.Play(ctx, w, attempts, play.Options{
		Parallel: o.parallel, Seed: o.seed, Patience: o.patience,
		Done: func(out play.Outcome) {
			if n++; !out.Pass() {
				_, _ = fmt.Fprintf(progress, "  not as expected: %s\n", out.Attempt.File)
			}
			if n%every == 0 {
				_, _ = fmt.Fprintf(progress, "  %3d of %d played\n", n, len(attempts))
			}
		},
		Down: func() {
			_, _ = fmt.Fprintf(progress, "  the manager went down on its own, so what was found after that says little; the end of its log:\n%s\n", lastLines(w.ManagerLog()))
		},
	})
	_, _ = fmt.Fprintf(progress, "  %-82s %5.1f s\n", fmt.Sprintf("playing %d files", n), time.Since(began).Seconds())
	return outcomes, err
}

// lastLines is the end of a log.
func lastLines(path string) string {
	const most = 2000
	raw, err := os.ReadFile(path)
	if err != nil {
		return err.Error()
	}
	return string(raw[max(0, len(raw)-most):])
}

func moduleRoot(ctx context.Context) (string, error) {
	out, err := exec.CommandContext(ctx, "go", "list", "-m", "-f", "{{.Dir}}").Output()
	if err != nil {
		return "", fmt.Errorf("finding the root of the checkout: %w; run it from there, with make attack", err)
	}
	return strings.TrimSpace(string(out)), nil
}
