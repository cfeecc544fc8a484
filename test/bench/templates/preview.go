package main

import (
	"context"
	"errors"
	"fmt"
	"runtime"
	"runtime/debug"
	"strings"
	"syscall"
	"time"

	kruntime "k8s.io/apimachinery/pkg/runtime"

	"tidegate.io/tidegate/schemas/impact"
	"tidegate.io/tidegate/schemas/render"
	"tidegate.io/tidegate/schemas/v1alpha1"
	"tidegate.io/tidegate/schemas/worker"
)

const (
	// withinPreview is how long a preview of so many Releases may take.
	withinPreview   = 10 * time.Second
	previewReleases = 5000
	// teams is how many namespaces the Releases are in.
	teams = 40
	// gcPercent is that of the command line while it previews.
	gcPercent = 400
)

// previews looks at a fleet with a changed template, as the command line does, which
// renders in its own process and knows only the Releases, and as the publish webhook does,
// which asks its workers and knows what each Release rendered to.
func (b *bench) previews(ctx context.Context) error {
	was := impact.Source{Name: "web-1", Digest: render.Digest(b.shipped), Files: b.shipped}
	changed := map[string]string{}
	for name, source := range b.shipped {
		changed[name] = strings.Replace(source, `*"/metrics"`, `*"/measures"`, 1)
	}
	is := impact.Source{Digest: render.Digest(changed), Files: changed}
	if is.Digest == was.Digest {
		return errors.New("changing the template: wanted a default of /metrics, found none")
	}
	var rows [][]string
	for _, n := range []int{1000, previewReleases} {
		for _, look := range []func(context.Context, int, impact.Source, impact.Source) ([]string, error){offline, published} {
			row, err := look(ctx, n, was, is)
			if err != nil {
				return err
			}
			rows = append(rows, row)
		}
	}
	return b.table.block(rows...)
}

// offline renders each Release twice.
func offline(ctx context.Context, n int, was, is impact.Source) ([]string, error) {
	defer debug.SetGCPercent(debug.SetGCPercent(gcPercent))
	compiled := map[string]*render.Template{}
	for _, s := range []impact.Source{was, is} {
		t, err := render.Compile(s.Files)
		if err != nil {
			return nil, err
		}
		compiled[s.Digest] = t
	}
	p := preview{
		name: fmt.Sprintf("preview of %d, CLI, as it was and is", n), releases: n, was: was,
		options: impact.Options{
			After: is, Concurrency: runtime.GOMAXPROCS(0),
			Render: func(_ context.Context, s impact.Source, values []byte, c render.Context) (*render.Result, error) {
				return compiled[s.Digest].Render(values, c)
			},
		},
	}
	return p.measure(ctx, func() {})
}

// published renders each Release once.
func published(ctx context.Context, n int, was, is impact.Source) ([]string, error) {
	pool, err := newPool()
	if err != nil {
		return nil, err
	}
	defer pool.Close()
	p := preview{
		name: fmt.Sprintf("preview of %d, webhook, %d workers", n, workers), releases: n, was: was,
		standing: &impact.Standing{Revision: "0123456789", Digest: "sha256:0"},
		options: impact.Options{
			After: is, Concurrency: 2 * workers,
			Render: func(ctx context.Context, s impact.Source, values []byte, c render.Context) (*render.Result, error) {
				return pool.Render(ctx, worker.Source{Digest: s.Digest, Files: s.Files}, values, c)
			},
		},
	}
	return p.measure(ctx, pool.Close)
}

// preview is one look at a fleet.
type preview struct {
	name     string
	releases int
	was      impact.Source
	standing *impact.Standing
	options  impact.Options
}

func (p preview) subjects(yield func(impact.Subject, error) bool) {
	for i := range p.releases {
		r := &v1alpha1.Release{}
		r.Name, r.Namespace, r.Spec.Template.Name = fmt.Sprintf("s%d", i), fmt.Sprintf("team%d", i%teams), facts.Template
		r.Spec.Values = &kruntime.RawExtension{Raw: fmt.Appendf(nil,
			`{"image": "registry.example.com/shop/s%d:1.%d", "replicas": %d, "env": {"SHARD": "%d"}}`, i, i%7, i%9+1, i)}
		if !yield(impact.Subject{Release: r, Before: p.was, Standing: p.standing}, nil) {
			return
		}
	}
}

// measure returns the cells of p. End ends what rendered, so that its processor time is
// known.
func (p preview) measure(ctx context.Context, end func()) ([]string, error) {
	before, err := used()
	if err != nil {
		return nil, err
	}
	start := time.Now()
	found, err := impact.Run(ctx, p.options, p.subjects, nil)
	took := time.Since(start)
	end()
	switch {
	case err != nil:
		return nil, fmt.Errorf("%s: %w", p.name, err)
	case found.Rolls != p.releases:
		return nil, fmt.Errorf("%s: wanted %d Releases that roll, found %+v", p.name, p.releases, found)
	}
	after, err := used()
	if err != nil {
		return nil, err
	}
	target, met := "", ""
	if p.releases == previewReleases {
		target, met = withinPreview.String(), yes(took <= withinPreview)
	}
	processor := after.processor - before.processor
	return []string{p.name, fmt.Sprintf("%.2fs", took.Seconds()), "", "", fmt.Sprintf("%.2fs", processor.Seconds()), "", "", "", target, met}, nil
}

// usage is what this process and those that it started and that have ended took.
type usage struct {
	processor time.Duration
	// own and child are the most that this process, and any other, ever held, in MB.
	own, child int64
}

func used() (usage, error) {
	var self, children syscall.Rusage
	if err := errors.Join(syscall.Getrusage(syscall.RUSAGE_SELF, &self), syscall.Getrusage(syscall.RUSAGE_CHILDREN, &children)); err != nil {
		return usage{}, fmt.Errorf("asking for processor time and memory: %w", err)
	}
	u := usage{own: self.Maxrss >> 10, child: children.Maxrss >> 10}
	for _, t := range []syscall.Timeval{self.Utime, self.Stime, children.Utime, children.Stime} {
		u.processor += time.Duration(t.Nano())
	}
	return u, nil
}
