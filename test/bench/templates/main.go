// Command templates measures what rendering costs, in one run, so that the ratios hold
// whatever the machine does meanwhile: against the bare engine, through the pool of
// workers, for the preview of a fleet, and as a process beside others that render the same
// service.
package main

import (
	"context"
	"errors"
	"fmt"
	"io"
	"os"
	"path/filepath"
	"slices"
	"sync"
	"sync/atomic"
	"syscall"
	"text/tabwriter"
	"time"

	"sigs.k8s.io/yaml"

	"tidegate.io/tidegate/schemas/render"
	"tidegate.io/tidegate/schemas/templates"
	"tidegate.io/tidegate/schemas/worker"
	"tidegate.io/tidegate/test/cluster/binaries"
)

const (
	workerCommand = "render-worker"
	// rounds is how often each thing is measured; the things take turns.
	rounds = 300
	// processRounds is the same for processes.
	processRounds = 15
	workers       = 2
)

func main() {
	if len(os.Args) == 2 && os.Args[1] == workerCommand {
		os.Exit(worker.Main())
	}
	if err := run(context.Background(), os.Stdout); err != nil {
		fmt.Fprintf(os.Stderr, "templates: %v\n", err)
		os.Exit(1)
	}
}

// bench is the service that is rendered, and where the results go.
type bench struct {
	folder string
	files  map[string]string
	values []byte
	table  *tabwriter.Writer
}

func run(ctx context.Context, out io.Writer) error {
	b, err := load()
	if err != nil {
		return err
	}
	b.table = tabwriter.NewWriter(out, 0, 0, 2, ' ', 0)
	b.row("WHAT", "MEDIAN", "P99", "AGAINST")
	if err := b.engine(ctx); err != nil {
		return err
	}
	for _, n := range []int{1000, 5000} {
		if err := b.preview(ctx, n); err != nil {
			return err
		}
	}
	if err := b.processes(ctx); err != nil {
		return err
	}
	return b.table.Flush()
}

func load() (*bench, error) {
	root, err := binaries.Root()
	if err != nil {
		return nil, err
	}
	b := &bench{folder: filepath.Join(root, "test", "bench", "templates")}
	source, err := os.ReadFile(filepath.Join(b.folder, "template", "web.cue"))
	if err != nil {
		return nil, fmt.Errorf("reading the template: %w", err)
	}
	b.files = map[string]string{"web.cue": string(source)}
	text, err := os.ReadFile(filepath.Join(b.folder, "values.yaml"))
	if err != nil {
		return nil, fmt.Errorf("reading the values: %w", err)
	}
	b.values, err = yaml.YAMLToJSON(text)
	if err != nil {
		return nil, fmt.Errorf("reading the values: %w", err)
	}
	return b, nil
}

func (b *bench) row(cells ...string) {
	for i, c := range cells {
		if i > 0 {
			_, _ = fmt.Fprint(b.table, "\t")
		}
		_, _ = fmt.Fprint(b.table, c)
	}
	_, _ = fmt.Fprintln(b.table)
}

// measured is one thing that is measured, against another of the same run.
type measured struct {
	name    string
	work    func() error
	against string
	took    []time.Duration
}

func (m *measured) median() time.Duration { return m.at(50) }

func (m *measured) at(percent int) time.Duration {
	slices.Sort(m.took)
	return m.took[min(len(m.took)*percent/100, len(m.took)-1)]
}

// measure lets all take turns, so that what slows the machine slows all of them.
func (b *bench) measure(times int, all ...*measured) error {
	for round := range times + times/10 + 1 {
		for _, m := range all {
			start := time.Now()
			if err := m.work(); err != nil {
				return fmt.Errorf("%s: %w", m.name, err)
			}
			if round > times/10 { // the first rounds warm up
				m.took = append(m.took, time.Since(start))
			}
		}
	}
	for _, m := range all {
		against := ""
		for _, other := range all {
			if other.name == m.against {
				against = fmt.Sprintf("%.2fx %s (%+.2f ms)", float64(m.median())/float64(other.median()), other.name, float64(m.median()-other.median())/1e6)
			}
		}
		b.row(m.name, m.median().Round(10*time.Microsecond).String(), m.at(99).Round(10*time.Microsecond).String(), against)
	}
	return nil
}

var facts = render.Context{Name: "cart", Namespace: "shop", Template: "web"}

func (b *bench) engine(ctx context.Context) error {
	warm, err := newBare(b.files)
	if err != nil {
		return err
	}
	template, err := render.Compile(b.files)
	if err != nil {
		return err
	}
	pool, err := newPool()
	if err != nil {
		return err
	}
	defer pool.Close()
	shipped, err := templates.Files("web")
	if err != nil {
		return err
	}
	ours, err := render.Compile(shipped)
	if err != nil {
		return err
	}
	source := worker.Source{Digest: render.Digest(b.files), Files: b.files}
	return b.measure(rounds,
		&measured{name: "bare engine, warm", work: func() error { return warm.render(b.values) }},
		&measured{name: "render, warm", against: "bare engine, warm", work: func() error {
			_, err := template.Render(b.values, facts)
			return err
		}},
		&measured{name: "render in the pool, warm", against: "render, warm", work: func() error {
			_, err := pool.Render(ctx, source, b.values, facts)
			return err
		}},
		&measured{name: "bare engine, cold", work: func() error {
			cold, err := newBare(b.files)
			if err != nil {
				return err
			}
			return cold.render(b.values)
		}},
		&measured{name: "compile and render, cold", against: "bare engine, cold", work: func() error {
			cold, err := render.Compile(b.files)
			if err != nil {
				return err
			}
			_, err = cold.Render(b.values, facts)
			return err
		}},
		&measured{name: "render the shipped web, warm", work: func() error {
			_, err := ours.Render(b.values, facts)
			return err
		}},
	)
}

func newPool() (*worker.Pool, error) {
	self, err := os.Executable()
	if err != nil {
		return nil, fmt.Errorf("finding this program: %w", err)
	}
	return worker.New(worker.Options{Command: []string{self, workerCommand}, Workers: workers})
}

// preview renders a fleet with a new template, as before it is published.
func (b *bench) preview(ctx context.Context, releases int) error {
	pool, err := newPool()
	if err != nil {
		return err
	}
	source := worker.Source{Digest: render.Digest(b.files), Files: b.files}
	var next atomic.Int64
	var all sync.WaitGroup
	failures := make(chan error, 2*workers)
	start := time.Now()
	for range 2 * workers {
		all.Go(func() {
			for i := next.Add(1); i <= int64(releases); i = next.Add(1) {
				values := fmt.Appendf(nil, `{"image": "shop/s%d:1.%d", "replicas": %d, "env": {"SHARD": "%d"}}`, i, i%7, i%9+1, i)
				c := render.Context{Name: fmt.Sprintf("s%d", i), Namespace: fmt.Sprintf("team%d", i%40), Template: "web"}
				if _, err := pool.Render(ctx, source, values, c); err != nil {
					failures <- err
					return
				}
			}
		})
	}
	all.Wait()
	took := time.Since(start)
	pool.Close()
	close(failures)
	if err := <-failures; err != nil {
		return err
	}
	var self, children syscall.Rusage
	if err := errors.Join(syscall.Getrusage(syscall.RUSAGE_SELF, &self), syscall.Getrusage(syscall.RUSAGE_CHILDREN, &children)); err != nil {
		return fmt.Errorf("asking for the memory: %w", err)
	}
	b.row(fmt.Sprintf("preview of %d releases, %d workers", releases, workers), took.Round(10*time.Millisecond).String(), "",
		fmt.Sprintf("%.2f ms each; at most %d MB in this process, %d MB in a worker", took.Seconds()*1000/float64(releases), self.Maxrss>>10, children.Maxrss>>10))
	return nil
}
