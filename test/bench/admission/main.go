// Command admission measures what answering an admission review costs, over HTTPS, in one
// run, so that the ratios hold whatever the machine does meanwhile: Tidegate's own handlers
// beside a webhook on the same server that does nothing, and beside an evaluator that keeps
// nothing between two requests. Every server is a process of its own.
package main

import (
	"context"
	"encoding/json"
	"errors"
	"flag"
	"fmt"
	"io"
	"os"
	"runtime"
	"time"
)

const (
	serveCommand = "serve"
	// serveEnv marks a server, for tests, whose binary has another main.
	serveEnv = "TIDEGATE_BENCH_SERVE"
	// memoryLimit and collect are what the collector of garbage is told in every server. With
	// collect at 200 judging takes a sixth less processor time and up to a third more memory.
	memoryLimit = "512MiB"
	collect     = "100"
)

// options are what a run is told.
type options struct {
	quick bool
	// json is true where the output is for programs.
	json    bool
	library string
	only    string
	pace    pace
	soak    time.Duration
	// policies and connections are the axes of the table.
	policies, connections []int
}

// most is the largest number of policies.
func (o options) most() int { return o.policies[len(o.policies)-1] }

func parse(args []string) (options, error) {
	o := options{
		library: os.Getenv(libraryEnv), pace: pace{turn: 150 * time.Millisecond, rounds: 5, most: 4 * time.Second}, soak: time.Minute,
		policies: []int{10, 50, 200}, connections: []int{1, 8, 64},
	}
	set := flag.NewFlagSet("admission", flag.ContinueOnError)
	set.BoolVar(&o.quick, "quick", false, "take a minute, and few turns, so that times say little")
	set.StringVar(&o.only, "only", "", "measure one block: limits, policies, library, soak")
	format := set.String("o", "table", "table or json")
	if err := set.Parse(args); err != nil {
		return o, fmt.Errorf("reading flags: %w", err)
	}
	switch *format {
	case "json":
		o.json = true
	case "table":
	default:
		return o, fmt.Errorf("wanted -o table or json, found %q", *format)
	}
	if o.quick {
		o.pace, o.soak = pace{turn: 50 * time.Millisecond, rounds: 3, most: time.Second}, 10*time.Second
	}
	return o, nil
}

func main() {
	ctx := context.Background()
	if len(os.Args) == 3 && os.Args[1] == serveCommand && os.Getenv(serveEnv) != "" {
		exit(serve(ctx, os.Args[2], os.Stdin, os.Stdout))
	}
	o, err := parse(os.Args[1:])
	if errors.Is(err, flag.ErrHelp) {
		return
	}
	if err != nil {
		exit(err)
	}
	ctx, cancel := context.WithTimeout(ctx, longest)
	defer cancel()
	exit(run(ctx, o, os.Stdout))
}

// longest is how long a run may take.
const longest = 6 * time.Minute

func exit(err error) {
	if err != nil {
		fmt.Fprintf(os.Stderr, "admission: %v\n", err)
		os.Exit(1)
	}
	os.Exit(0)
}

// result is all that a run found.
type result struct {
	About string  `json:"about"`
	Rows  []row   `json:"rows"`
	Soak  *soaked `json:"soak,omitempty"`
	// Go, Cores and Load say on what it ran; the load is that of the machine before and after.
	Go    string    `json:"go"`
	Cores int       `json:"cores"`
	Load  [2]string `json:"load"`
}

func run(ctx context.Context, o options, out io.Writer) error {
	b := &bench{options: o}
	defer b.stop()
	r := &result{About: b.describe(), Go: runtime.Version(), Cores: runtime.NumCPU()}
	r.Load[0] = load()
	t := &table{out: out, quiet: o.json}
	if err := t.begin(r.About); err != nil {
		return err
	}
	if err := b.measure(ctx, r, t); err != nil {
		return err
	}
	r.Load[1] = load()
	if o.json {
		e := json.NewEncoder(out)
		e.SetIndent("", "  ")
		if err := e.Encode(r); err != nil {
			return fmt.Errorf("writing: %w", err)
		}
		return nil
	}
	return t.end(r)
}

func (b *bench) wants(block string) bool { return b.options.only == "" || b.options.only == block }

// measure goes through all blocks.
func (b *bench) measure(ctx context.Context, r *result, t *table) error {
	take := func(cells []cell) error {
		for _, c := range cells {
			rows, err := c.measure(ctx, b.options.pace)
			if err != nil {
				return err
			}
			r.Rows = append(r.Rows, rows...)
			if err := t.rows(rows); err != nil {
				return err
			}
		}
		return nil
	}
	for _, block := range []struct {
		name string
		run  func(context.Context, func([]cell) error) error
	}{{"limits", b.allLimits}, {"policies", b.allMatches}, {"library", b.allLibrary}} {
		if !b.wants(block.name) {
			continue
		}
		if err := block.run(ctx, take); err != nil {
			return err
		}
	}
	if !b.wants("soak") {
		return nil
	}
	var err error
	r.Soak, err = b.soak(ctx, b.options.soak)
	return err
}

func (b *bench) allLimits(ctx context.Context, take func([]cell) error) (err error) {
	if b.nothing, err = b.start(ctx, part{Role: roleNothing}); err != nil {
		return err
	}
	defer b.stop()
	for _, n := range b.options.policies {
		cells, err := b.limits(ctx, n)
		if err := errors.Join(err, take(cells)); err != nil {
			return err
		}
	}
	return nil
}

func (b *bench) allMatches(ctx context.Context, take func([]cell) error) error {
	defer b.stop()
	for _, n := range b.options.policies {
		cells, servers, err := b.matches(ctx, n)
		if err := errors.Join(err, take(cells)); err != nil {
			return err
		}
		b.leave(servers...)
	}
	return nil
}

func (b *bench) allLibrary(ctx context.Context, take func([]cell) error) error {
	if b.options.library == "" {
		return nil
	}
	defer b.stop()
	for _, l := range []struct {
		group, title string
		processor    float64
	}{{"*", "Gatekeeper's library", mostProcessorAll}, {podSecurity, "its Pod-security part", mostProcessorPods}} {
		cells, servers, err := b.library(ctx, l.group, l.title, l.processor)
		if err := errors.Join(err, take(cells)); err != nil {
			return err
		}
		b.leave(servers...)
	}
	return nil
}
