package prom

import (
	"context"
	"errors"
	"fmt"
	"sync"
	"time"

	"golang.org/x/sync/errgroup"

	"tidegate.io/tidegate/rollout/analysis"
	"tidegate.io/tidegate/rollout/manifest"
	"tidegate.io/tidegate/schemas/v1alpha1"
)

// maxParallel bounds the queries of one round that are under way at once.
const maxParallel = 8

// Measurer takes rounds of analysis. It is safe for concurrent use.
type Measurer struct {
	sources *Sources
}

// NewMeasurer returns a Measurer that asks sources.
func NewMeasurer(sources *Sources) *Measurer {
	return &Measurer{sources: sources}
}

// Measure takes one round for the step that ro is in: every metric of its analysis, both
// revisions at the evaluation time now. A source that is missing, misconfigured, down or
// wrong makes a round with verdict Unknown; an error says that no round could be taken
// (the API server or the caller failed) and that nothing is to be concluded from it.
func (m *Measurer) Measure(ctx context.Context, ro *v1alpha1.Rollout, now time.Time) (v1alpha1.AnalysisRound, error) {
	plan := ro.Spec.Strategy.Analysis
	if plan == nil {
		return v1alpha1.AnalysisRound{}, fmt.Errorf("measuring Rollout %s/%s: its strategy has no analysis", ro.Namespace, ro.Name)
	}
	ask, err := m.asker(ctx, plan.Source, now)
	if err != nil {
		return v1alpha1.AnalysisRound{}, fmt.Errorf("measuring Rollout %s/%s: %w", ro.Namespace, ro.Name, err)
	}
	measured := measureAll(ctx, ro, ask)
	if err := ctx.Err(); err != nil {
		// What failed because this process stops says nothing about the source.
		return v1alpha1.AnalysisRound{}, fmt.Errorf("measuring Rollout %s/%s: %w", ro.Namespace, ro.Name, err)
	}
	return analysis.Round(measured, analysis.Occasion{Step: ro.Status.Step, Digest: ro.Spec.Digest, TakenAt: now}), nil
}

// asker returns the function that answers expressions, which for a source that a person
// must mend answers each with SourceDown.
func (m *Measurer) asker(ctx context.Context, source string, now time.Time) (func(context.Context, string) analysis.Sample, error) {
	c, err := m.sources.Client(ctx, source)
	var unusable *SourceError
	switch {
	case errors.As(err, &unusable):
		sample := unknown(v1alpha1.CauseSourceDown, unusable.Error())
		return func(context.Context, string) analysis.Sample { return sample }, nil
	case err != nil:
		return nil, err
	}
	down := &outage{}
	return func(ctx context.Context, expr string) analysis.Sample {
		if sample, ok := down.seen(); ok {
			return sample
		}
		sample := c.Query(ctx, expr, now)
		if sample.Cause == v1alpha1.CauseSourceDown {
			down.note(sample)
		}
		return sample
	}, nil
}

// outage remembers the first SourceDown of a round, so that a source that hangs costs one
// timeout and not one for each query.
type outage struct {
	mu     sync.Mutex
	sample *analysis.Sample
}

func (o *outage) note(s analysis.Sample) {
	o.mu.Lock()
	defer o.mu.Unlock()
	if o.sample == nil {
		o.sample = &s
	}
}

func (o *outage) seen() (analysis.Sample, bool) {
	o.mu.Lock()
	defer o.mu.Unlock()
	if o.sample == nil {
		return analysis.Sample{}, false
	}
	return *o.sample, true
}

// rival is the revision, as labels name it, that the new one is compared with: the baseline
// set's fresh pods while they get as much of the traffic, else the stable set's.
func rival(ro *v1alpha1.Rollout) string {
	if manifest.Expected(ro.Spec, &ro.Status).Baseline > 0 {
		return manifest.BaselineRevision(ro.Spec.Stable.Revision)
	}
	return ro.Spec.Stable.Revision
}

// measureAll asks for both numbers of every metric and arm.
func measureAll(ctx context.Context, ro *v1alpha1.Rollout, ask func(context.Context, string) analysis.Sample) []analysis.Measurement {
	plan := ro.Spec.Strategy.Analysis
	out := make([]analysis.Measurement, len(plan.Metrics))
	var g errgroup.Group
	g.SetLimit(maxParallel)
	answer := func(into *analysis.Sample, expr string, s subject) {
		g.Go(func() error {
			full, err := expand(expr, s)
			if err != nil {
				*into = unknown(v1alpha1.CauseQueryError, err.Error())
				return nil
			}
			*into = ask(ctx, full)
			return nil
		})
	}
	for i, metric := range plan.Metrics {
		out[i].Metric = metric
		s := subject{namespace: ro.Namespace, release: ro.Spec.Release, revision: ro.Spec.Revision, window: plan.Window.Duration}
		answer(&out[i].Canary.Value, metric.Query, s)
		answer(&out[i].Canary.Samples, metric.Samples, s)
		if ro.Spec.Stable == nil {
			continue
		}
		out[i].Stable = &analysis.Arm{}
		s.revision = rival(ro)
		answer(&out[i].Stable.Value, metric.Query, s)
		answer(&out[i].Stable.Samples, metric.Samples, s)
	}
	_ = g.Wait() // no function returns an error
	return out
}
