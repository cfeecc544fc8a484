// Command rollouts measures what the rollout engine costs on a local Kubernetes of real programs
// with kwok's pods: what idle Releases ask of the API server, how soon a change is acted on, how
// long many canaries at once take, what one writes, and what the manager takes of the machine,
// after a restart and over many rollouts too. The manager is the real binary in a process of its
// own; requests are counted from the API server's audit log.
package main

import (
	"context"
	"encoding/json"
	"errors"
	"flag"
	"fmt"
	"io"
	"os"
	"os/signal"
	"syscall"
)

func main() {
	o, err := parse(os.Args[1:])
	if errors.Is(err, flag.ErrHelp) {
		return
	}
	if err == nil {
		ctx, stop := signal.NotifyContext(context.Background(), os.Interrupt, syscall.SIGTERM)
		err = run(ctx, o, os.Stdout, os.Stderr)
		stop()
	}
	if err != nil {
		fmt.Fprintf(os.Stderr, "rollouts: %v\n", err)
		os.Exit(1)
	}
}

// run measures and writes what was found. Progress goes to log. What was measured before an error
// is written too.
func run(ctx context.Context, o options, out, log io.Writer) error {
	w, err := open(ctx, o, log)
	if err != nil {
		return err
	}
	r := &result{Replicas: o.replicas, Limits: o.limits.String()}
	failed := w.measure(ctx, r)
	r.describe()
	if o.json {
		e := json.NewEncoder(out)
		e.SetIndent("", "  ")
		failed = errors.Join(failed, e.Encode(r))
	} else {
		failed = errors.Join(failed, r.write(out))
	}
	return errors.Join(failed, w.close(context.WithoutCancel(ctx)))
}

// measure goes through the sizes, and through all other phases at one of them.
func (w *world) measure(ctx context.Context, r *result) error {
	for _, n := range w.options.sizes {
		w.say("Making Releases: %d", n)
		if err := w.grow(ctx, n); err != nil {
			return err
		}
		phases := []struct {
			name string
			run  func(context.Context, *block) error
		}{{phaseIdle, w.idle}, {phaseCost, w.cost}, {phaseReact, w.react}, {phaseBurst, w.burst}, {phaseRestart, w.restarts}, {phaseCycles, w.cycles}}
		for _, p := range phases {
			if !w.options.wants(p.name) || p.name != phaseIdle && n != w.options.at {
				continue
			}
			w.say("Measuring: %s with %d Releases", p.name, n)
			b := &block{Phase: p.name, Releases: n}
			b.Load[0] = load()
			err := p.run(ctx, b)
			b.Load[1] = load()
			r.Blocks = append(r.Blocks, b)
			if err != nil {
				return fmt.Errorf("measuring %s with %d Releases: %w", p.name, n, err)
			}
		}
	}
	return nil
}
