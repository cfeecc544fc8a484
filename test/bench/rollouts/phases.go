package main

import (
	"context"
	"errors"
	"fmt"
	"io"
	"os"
	"path/filepath"
	"strconv"
	"strings"
	"time"

	"k8s.io/apimachinery/pkg/runtime/schema"
	"k8s.io/client-go/dynamic"
	"k8s.io/client-go/rest"
)

// Targets.
const (
	mostReaction    = time.Second
	mostBurst       = 3 * time.Second
	burstOfTarget   = 50
	mostWrites      = 14
	mostEvents      = 6
	mostMemory      = 110 // MiB, with usualFleet Releases
	mostRestart     = 3 * time.Second
	mostCycleGrowth = 5               // percent of the live heap
	quietFor        = 6 * time.Second // longer than words are put off
	// longestUnsettled is how long a manager may take until it has looked at everything.
	longestUnsettled = 15 * time.Minute
	// slowestCanary is how long each of many canaries at once may take more.
	slowestCanary = 5 * time.Second
)

// settle waits until the manager has asked for nothing but its lease for a while.
func (w *world) settle(ctx context.Context) error {
	last, err := w.audit.mark()
	if err != nil {
		return err
	}
	since := time.Now()
	return await(ctx, "the manager to be quiet", longestUnsettled, func() (bool, error) {
		if time.Since(since) < quietFor {
			return false, nil
		}
		calls, err := w.audit.since(last)
		if err != nil {
			return false, err
		}
		busy := total(count(calls), sortRead, sortWrite, sortEvent, sortReview) > 0
		if last, err = w.audit.mark(); err != nil {
			return false, err
		}
		since = time.Now()
		return !busy, nil
	})
}

// measured has the manager run with the limits that are measured, and waits until it is quiet.
func (w *world) measured(ctx context.Context) error {
	if w.manager == nil || w.manager.limits != w.options.limits {
		if _, err := w.restart(ctx, w.options.limits); err != nil {
			return err
		}
	}
	return w.settle(ctx)
}

// idle measures the start of a manager beside so many Releases, and then what it asks for while
// nothing happens.
func (w *world) idle(ctx context.Context, b *block) error {
	// What is put off is written when its time has come, by whichever manager there is then.
	if err := w.settle(ctx); err != nil {
		return err
	}
	made, err := w.manager.used()
	if err != nil {
		return err
	}
	b.add("memory of the manager that made them", mib(made.Resident), "MiB")
	begin, err := w.audit.mark()
	if err != nil {
		return err
	}
	m, err := w.restart(ctx, w.options.limits)
	if err != nil {
		return err
	}
	b.add("start: ready after", time.Since(m.began).Seconds(), "s")
	if err := w.settle(ctx); err != nil {
		return err
	}
	calls, err := w.audit.since(begin)
	if err != nil {
		return err
	}
	start := count(calls)
	b.add("start: reads", float64(total(start, sortRead)), "requests")
	b.target("start: writes and Events", float64(total(start, sortWrite, sortEvent)), "requests", 0)
	before, err := m.used()
	if err != nil {
		return err
	}
	b.add("start: processor time", before.Processor.Seconds(), "s")
	quiet, err := w.audit.mark()
	if err != nil {
		return err
	}
	if err := pause(ctx, w.options.idle); err != nil {
		return err
	}
	if calls, err = w.audit.since(quiet); err != nil {
		return err
	}
	after, err := m.used()
	if err != nil {
		return err
	}
	b.Requests = count(calls)
	seconds := w.options.idle.Seconds()
	b.target("at rest: requests a second", float64(total(b.Requests, sortRead, sortWrite, sortEvent, sortReview))/seconds, "1/s", 0)
	b.add("at rest: watches begun again", float64(total(b.Requests, sortWatch))/seconds, "1/s")
	b.add("at rest: about the lease", float64(total(b.Requests, sortLease))/seconds, "1/s")
	b.add("at rest: processor", 100*(after.Processor-before.Processor).Seconds()/seconds, "% of a core")
	if b.Releases == usualFleet {
		b.target("memory, steady", mib(after.Resident), "MiB", mostMemory)
	} else {
		b.add("memory, steady", mib(after.Resident), "MiB")
	}
	b.add("memory, peak, since it began", mib(after.Peak), "MiB")
	b.add("memory, steady, without the program's own pages", mib(after.Own), "MiB")
	b.add("memory of the workers besides, without the program's own pages", mib(after.Workers), "MiB")
	live, err := m.live(ctx)
	if err != nil {
		return err
	}
	b.add("live heap", mib(live), "MiB")
	return w.keepProfile(ctx, "heap", fmt.Sprintf("heap-%d.pb.gz", b.Releases))
}

// cost counts what one canary asks for, one at a time.
func (w *world) cost(ctx context.Context, b *block) error {
	if err := w.measured(ctx); err != nil {
		return err
	}
	begin, err := w.audit.mark()
	if err != nil {
		return err
	}
	var took []time.Duration
	for i := range w.options.canaries {
		c, err := w.fleet.change(ctx, releaseName(i%b.Releases))
		if err != nil {
			return err
		}
		seen, err := w.fleet.finish(ctx, []change{c}, longestUnsettled)
		if err != nil {
			return err
		}
		took = append(took, seen[0].ended.Sub(c.sent))
	}
	// What comes after the end counts too.
	if err := w.settle(ctx); err != nil {
		return err
	}
	calls, err := w.audit.since(begin)
	if err != nil {
		return err
	}
	b.Requests = count(calls)
	each := func(sorts ...sort) float64 { return float64(total(b.Requests, sorts...)) / float64(w.options.canaries) }
	b.durations("one canary alone: done after", took, 0)
	b.target("writes of a canary", each(sortWrite), "requests", mostWrites)
	b.target("Events of a canary", each(sortEvent), "requests", mostEvents)
	b.add("reads of a canary", each(sortRead), "requests")
	b.add("canaries that the list below is of", float64(w.options.canaries), "")
	return nil
}

// react measures how soon a change is acted on.
func (w *world) react(ctx context.Context, b *block) error {
	if err := w.measured(ctx); err != nil {
		return err
	}
	begin, err := w.audit.mark()
	if err != nil {
		return err
	}
	changes := make([]change, w.options.changes)
	for i := range changes {
		// Spread over all of them; where there are fewer Releases than changes, some change
		// again, when they are done.
		release := releaseName(i * max(b.Releases/w.options.changes, 1) % b.Releases)
		if changes[i], err = w.fleet.change(ctx, release); err != nil {
			return err
		}
		if i >= b.Releases {
			return errors.New("wanted at most as many changes as there are Releases; give smaller -changes or larger -sizes")
		}
		if err := pause(ctx, w.options.pace); err != nil {
			return err
		}
	}
	seen, err := w.fleet.finish(ctx, changes, longestUnsettled)
	if err != nil {
		return err
	}
	calls, err := w.audit.since(begin)
	if err != nil {
		return err
	}
	b.add("changes", float64(len(changes)), "")
	b.add("time between two changes", w.options.pace.Seconds(), "s")
	return reactions(b, "", changes, seen, calls, mostReaction, 0)
}

// reactions adds what was seen of some changes.
func reactions(b *block, prefix string, changes []change, seen []seen, calls []call, reaction, done time.Duration) error {
	var accepted, first, set, promoted, ended []time.Duration
	for i, c := range changes {
		acted, ok := firstAbout(calls, c.release, c.sent, "rollouts")
		made, okSet := firstAbout(calls, c.release, c.sent, "deployments")
		if !ok || !okSet {
			return fmt.Errorf("wanted a Rollout and a Deployment made for the change of Release %s, found none in the audit log", c.release)
		}
		accepted = append(accepted, c.accepted.Sub(c.sent))
		first = append(first, acted.Sub(c.sent))
		set = append(set, made.Sub(c.sent))
		promoted = append(promoted, seen[i].promoted.Sub(c.sent))
		ended = append(ended, seen[i].ended.Sub(c.sent))
	}
	b.durations(prefix+"the change itself is admitted after", accepted, 0)
	b.durations(prefix+"the Rollout is made after", first, reaction)
	b.durations(prefix+"the new set is made after", set, 0)
	b.durations(prefix+"all requests go to it after", promoted, 0)
	b.durations(prefix+"done after", ended, done)
	return nil
}

// burst measures many canaries at once.
func (w *world) burst(ctx context.Context, b *block) error {
	if err := w.bare.prepare(ctx, w.options.burst[len(w.options.burst)-1]); err != nil {
		return err
	}
	for i, n := range w.options.burst {
		if err := w.measured(ctx); err != nil {
			return err
		}
		begin, err := w.audit.mark()
		if err != nil {
			return err
		}
		before, err := w.manager.used()
		if err != nil {
			return err
		}
		stop := w.profileProcessor(ctx, fmt.Sprintf("processor-burst-%d.pb.gz", n))
		changes, err := w.fleet.changeAll(ctx, 0, n)
		if err != nil {
			return errors.Join(err, stop())
		}
		seen, err := w.fleet.finish(ctx, changes, longestUnsettled+time.Duration(n)*slowestCanary)
		if err := errors.Join(err, stop()); err != nil {
			return err
		}
		after, err := w.manager.used()
		if err != nil {
			return err
		}
		calls, err := w.audit.since(begin)
		if err != nil {
			return err
		}
		var most time.Duration
		if n == burstOfTarget {
			most = mostBurst
		}
		prefix := fmt.Sprintf("%d at once: ", n)
		if err := reactions(b, prefix, changes, seen, calls, 0, most); err != nil {
			return err
		}
		all := count(calls)
		b.add(prefix+"requests of the manager", float64(total(all, sortRead, sortWrite, sortEvent, sortReview)), "requests")
		b.add(prefix+"processor time", (after.Processor - before.Processor).Seconds(), "s")
		b.add(prefix+"memory, peak", mib(after.Peak), "MiB")
		if err := w.settle(ctx); err != nil {
			return err
		}
		least, err := w.bare.canaries(ctx, n)
		if err != nil {
			return err
		}
		b.durations(prefix+"the same objects written by a client that decides nothing, done after", least, 0)
		if i == len(w.options.burst)-1 {
			b.Requests = all
		}
	}
	return nil
}

// cycles makes many rollouts in turn and compares what memory the manager holds.
func (w *world) cycles(ctx context.Context, b *block) error {
	if _, err := w.restart(ctx, w.options.bringUp()); err != nil {
		return err
	}
	if err := w.settle(ctx); err != nil {
		return err
	}
	atOnce := min(cycled, b.Releases, w.options.cycles)
	began := time.Now()
	var early int64
	note := func(what string) (int64, error) {
		if err := pause(ctx, w.options.rest); err != nil {
			return 0, err
		}
		u, err := w.manager.used()
		if err != nil {
			return 0, err
		}
		live, err := w.manager.live(ctx)
		if err != nil {
			return 0, err
		}
		b.add(what+": memory", mib(u.Resident), "MiB")
		b.add(what+": live heap", mib(live), "MiB")
		return live, w.keepProfile(ctx, "heap", "heap-"+strings.ReplaceAll(what, " ", "-")+".pb.gz")
	}
	done := 0
	for done < w.options.cycles {
		n := min(atOnce, w.options.cycles-done)
		changes, err := w.fleet.changeAll(ctx, 0, n)
		if err != nil {
			return err
		}
		if _, err := w.fleet.finish(ctx, changes, longestUnsettled); err != nil {
			return err
		}
		// Once all of them have the history that is kept of a Release.
		if done < w.options.cycles/4 && done+n >= w.options.cycles/4 {
			if early, err = note("after a quarter of the rollouts"); err != nil {
				return err
			}
		}
		done += n
	}
	if err := w.settle(ctx); err != nil {
		return err
	}
	late, err := note("after all of them")
	if err != nil {
		return err
	}
	b.add("rollouts", float64(done), "")
	b.add("over so many Releases", float64(atOnce), "")
	b.add("time for all", time.Since(began).Seconds(), "s")
	growth := 100 * float64(late-early) / float64(early)
	if w.options.rest < eventsForgotten {
		b.add("growth of the live heap from a quarter to the end, Events that client-go remembers included", growth, "%")
	} else {
		b.target("growth of the live heap from a quarter to the end", growth, "%", mostCycleGrowth)
	}
	return nil
}

// eventsForgotten is how long client-go remembers an Event at most: it looks every 6 minutes for
// those of more than 6 minutes.
const eventsForgotten = 12 * time.Minute

// cycled is how many Releases the rollouts of cycles are of, all of which roll at once.
const cycled = 20

// pause waits, or ends with ctx.
func pause(ctx context.Context, d time.Duration) error {
	timer := time.NewTimer(d)
	defer timer.Stop()
	select {
	case <-ctx.Done():
		return fmt.Errorf("waiting: %w", ctx.Err())
	case <-timer.C:
		return nil
	}
}

// keepProfile writes a profile where one is wanted.
func (w *world) keepProfile(ctx context.Context, what, name string) error {
	if w.options.keep == "" {
		return nil
	}
	if err := os.MkdirAll(w.options.keep, 0o755); err != nil {
		return fmt.Errorf("making a folder for profiles: %w", err)
	}
	return w.manager.profile(ctx, what, filepath.Join(w.options.keep, name))
}

// profiled is how much of a burst the profile of the processor covers.
const profiled = 5 * time.Second

// profileProcessor begins profiles of the processor, of the manager and of the API server, where they
// are wanted, and returns what waits for their end.
func (w *world) profileProcessor(ctx context.Context, name string) func() error {
	done := make(chan error, 2)
	go func() {
		done <- w.keepProfile(ctx, fmt.Sprintf("profile?seconds=%d", int(profiled.Seconds())), name)
	}()
	go func() { done <- w.keepServerProfile(ctx, "apiserver-"+name) }()
	return func() error { return errors.Join(<-done, <-done) }
}

// keepServerProfile writes a profile of the API server's processor where one is wanted.
func (w *world) keepServerProfile(ctx context.Context, name string) error {
	if w.options.keep == "" {
		return nil
	}
	config := dynamic.ConfigFor(w.stage.Cluster.RESTConfig())
	config.GroupVersion = &schema.GroupVersion{}
	server, err := rest.UnversionedRESTClientFor(config)
	if err != nil {
		return fmt.Errorf("profiling the API server: %w", err)
	}
	taken, err := server.Get().AbsPath("/debug/pprof/profile").Param("seconds", strconv.Itoa(int(profiled.Seconds()))).Do(ctx).Raw()
	if err != nil {
		return fmt.Errorf("profiling the API server: %w", err)
	}
	if err := os.WriteFile(filepath.Join(w.options.keep, name), taken, 0o600); err != nil {
		return fmt.Errorf("writing a profile: %w", err)
	}
	return nil
}

// keepLogs copies the logs of the manager and of its requests.
func (w *world) keepLogs() error {
	if err := os.MkdirAll(w.options.keep, 0o755); err != nil {
		return fmt.Errorf("making a folder for logs: %w", err)
	}
	var errs []error
	for _, path := range []string{w.stage.ManagerLog(), w.audit.path()} {
		errs = append(errs, copyFile(path, filepath.Join(w.options.keep, filepath.Base(path))))
	}
	return errors.Join(errs...)
}

func copyFile(from, to string) error {
	in, err := os.Open(from)
	if err != nil {
		return fmt.Errorf("keeping a log: %w", err)
	}
	defer in.Close() //nolint:errcheck // only read from
	out, err := os.Create(to)
	if err != nil {
		return fmt.Errorf("keeping a log: %w", err)
	}
	_, err = io.Copy(out, in)
	return errors.Join(err, out.Close())
}
