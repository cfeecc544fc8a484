// Command templates measures what rendering costs, in one run, so that the ratios hold
// whatever the machine does meanwhile: against the bare engine, through the pool of
// workers, for the preview of a fleet, and as a process beside others that render the same
// service.
package main

import (
	"bytes"
	"context"
	"fmt"
	"io"
	"os"
	"path/filepath"
	"runtime"
	"time"

	"sigs.k8s.io/yaml"

	"tidegate.io/tidegate/schemas/render"
	"tidegate.io/tidegate/schemas/templates"
	"tidegate.io/tidegate/schemas/worker"
	"tidegate.io/tidegate/test/cluster/binaries"
)

const (
	workerCommand = "render-worker"
	// rounds is how many turns each thing has, and row how often it is done in a turn.
	rounds = 50
	row    = 10
	// loneRounds is the number of turns of what is done once in a turn.
	loneRounds = 300
	// processRounds is the same for processes.
	processRounds = 15
	workers       = 2

	// The targets: so many times what the bare engine takes, and so much more in the pool
	// than in the process.
	mostOfBare = 1.5
	mostOfPool = 300 * time.Microsecond
)

const about = `Rendering one service: a Deployment, a Service, an HTTPRoute, a PodDisruptionBudget, canary steps.

bare engine   the values read from JSON, one unification of the built template with them and the facts,
              Validate(Concrete, Final), MarshalJSON of objects and rollout; nothing of it is looked at.
              Cold is parsing and building the source besides.
render        all that a Release goes through: bounds, evaluation, checks of the objects, digests, labels.
the kit       the template that Tidegate ships, which says the same with tidegate.io/kit.

What is in one block takes turns of ten in a row. RATIO, of processor time where it is known, and DIFFERENCE,
of time, are medians over the turns, each within one turn. One after a pause is done once in a turn: what
worked before has taken the caches, and a worker has to be woken. PROCESSOR has the work of all threads, collecting garbage too.

`

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
	// files are those of the template without the kit, shipped those of the one with it.
	files, shipped map[string]string
	values         []byte
	table          *table
}

func run(ctx context.Context, out io.Writer) error {
	b, err := load()
	if err != nil {
		return err
	}
	if _, err := io.WriteString(out, about); err != nil {
		return fmt.Errorf("writing: %w", err)
	}
	before := load1()
	b.table = &table{out: out}
	for _, block := range []func(context.Context) error{b.warm, b.cold, b.previews} {
		if err := block(ctx); err != nil {
			return err
		}
	}
	held, err := used()
	if err != nil {
		return err
	}
	if err := b.processes(ctx); err != nil {
		return err
	}
	_, err = fmt.Fprintf(out, "\nMemory until the previews were done: at most %d MB in this process, %d MB in a worker.\n%s, %d cores; load %s before and %s after: with others at work, times say little and ratios more.\n%s\n",
		held.own, held.child, runtime.Version(), runtime.NumCPU(), before, load1(), timoni(ctx))
	return err
}

// load1 is the load of the machine over the last minute, where it tells.
func load1() string {
	raw, err := os.ReadFile("/proc/loadavg")
	if err != nil {
		return "unknown"
	}
	one, _, _ := bytes.Cut(raw, []byte(" "))
	return string(one)
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
	if b.shipped, err = templates.Files("web"); err != nil {
		return nil, err
	}
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

var facts = render.Context{Name: "cart", Namespace: "shop", Template: "web"}

// withoutTests are the files of the shipped template that the bare engine evaluates.
func (b *bench) withoutTests() map[string]string {
	return map[string]string{"web.cue": b.shipped["web.cue"]}
}

func (b *bench) warm(ctx context.Context) error {
	plain, err := newBare(b.files)
	if err != nil {
		return err
	}
	kitted, err := newBare(b.withoutTests())
	if err != nil {
		return err
	}
	template, err := render.Compile(b.files)
	if err != nil {
		return err
	}
	shipped, err := render.Compile(b.shipped)
	if err != nil {
		return err
	}
	pool, err := newPool()
	if err != nil {
		return err
	}
	defer pool.Close()
	source := worker.Source{Digest: render.Digest(b.files), Files: b.files}
	engine := &measured{name: "bare engine, warm", work: func() error { return plain.render(b.values) }}
	ours := &measured{name: "render, warm", against: engine, ratio: mostOfBare, work: func() error {
		_, err := template.Render(b.values, facts)
		return err
	}}
	pooled := &measured{name: "render in the pool, warm", elsewhere: true, against: ours, more: mostOfPool, work: func() error {
		_, err := pool.Render(ctx, source, b.values, facts)
		return err
	}}
	withKit := &measured{name: "bare engine with the kit, warm", against: engine, work: func() error { return kitted.render(b.values) }}
	oursWithKit := &measured{name: "render with the kit, warm", against: withKit, ratio: mostOfBare, work: func() error {
		_, err := shipped.Render(b.values, facts)
		return err
	}}
	if err := b.table.measure(rounds, row, engine, ours, pooled, withKit, oursWithKit); err != nil {
		return err
	}
	alone := &measured{name: "one after a pause", work: ours.work}
	return b.table.measure(loneRounds, 1, alone,
		&measured{name: "one after a pause in the pool", elsewhere: true, against: alone, work: pooled.work},
		&measured{name: "bare engine with the kit, between", work: withKit.work})
}

func (b *bench) cold(context.Context) error {
	bareCold := func(files map[string]string) func() error {
		return func() error {
			cold, err := newBare(files)
			if err != nil {
				return err
			}
			return cold.render(b.values)
		}
	}
	oursCold := func(files map[string]string) func() error {
		return func() error {
			cold, err := render.Compile(files)
			if err != nil {
				return err
			}
			_, err = cold.Render(b.values, facts)
			return err
		}
	}
	engine := &measured{name: "bare engine, cold", work: bareCold(b.files)}
	ours := &measured{name: "compile and render, cold", against: engine, ratio: mostOfBare, work: oursCold(b.files)}
	withKit := &measured{name: "bare engine with the kit, cold", work: bareCold(b.withoutTests())}
	oursWithKit := &measured{name: "compile and render with the kit, cold", against: withKit, ratio: mostOfBare, work: oursCold(b.shipped)}
	if err := b.table.measure(rounds, row, engine, ours); err != nil {
		return err
	}
	return b.table.measure(rounds, row, withKit, oursWithKit)
}

func newPool() (*worker.Pool, error) {
	self, err := os.Executable()
	if err != nil {
		return nil, fmt.Errorf("finding this program: %w", err)
	}
	return worker.New(worker.Options{Command: []string{self, workerCommand}, Workers: workers})
}
