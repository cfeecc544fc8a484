package auditing

import (
	"context"
	"errors"
	"time"

	"github.com/go-logr/logr"
	"k8s.io/utils/clock"

	"tidegate.io/tidegate/policies/audit"
	"tidegate.io/tidegate/schemas/v1alpha1"
)

const (
	// maxRest is the longest rest after one page.
	maxRest = 10 * time.Second
	// readySoon is when it is asked again whether the policies are loaded.
	readySoon = time.Second
)

// Loop audits again and again, on the leader.
type Loop struct {
	// Auditor looks. Its Rest is set by the loop. Required.
	Auditor *Auditor
	// Interval is the time from the end of a run to the beginning of the next. Required.
	Interval time.Duration
	// Scope is what is looked at.
	Scope Scope
	// Ready is nil once the policies are loaded. Required: an audit by none would take every
	// report back.
	Ready func() error
	// Metrics show the last run. Required.
	Metrics *Metrics
	// Clock is time itself. Required.
	Clock clock.Clock
	Log   logr.Logger

	// told is the format that was logged last, so that each is logged once.
	told *string
}

// NeedLeaderElection says that one replica audits.
func (l *Loop) NeedLeaderElection() bool { return true }

// Start implements manager.Runnable.
func (l *Loop) Start(ctx context.Context) error {
	// Judging takes half of one processor at most: the leader answers requests too.
	l.Auditor.Rest = func(ctx context.Context, worked time.Duration) error { return l.sleep(ctx, min(worked, maxRest)) }
	for l.Ready() != nil {
		if !l.slept(ctx, readySoon) {
			return nil
		}
	}
	for {
		l.once(ctx)
		if !l.slept(ctx, l.Interval) {
			return nil
		}
	}
}

// slept is false where ctx ended first.
func (l *Loop) slept(ctx context.Context, d time.Duration) bool { return l.sleep(ctx, d) == nil }

func (l *Loop) sleep(ctx context.Context, d time.Duration) error {
	if d <= 0 {
		return ctx.Err()
	}
	timer := l.Clock.NewTimer(d)
	defer timer.Stop()
	select {
	case <-timer.C():
		return nil
	case <-ctx.Done():
		return ctx.Err()
	}
}

// once audits, and says how it went.
func (l *Loop) once(ctx context.Context) {
	began := l.Clock.Now()
	sink, err := l.sink()
	if err != nil {
		l.Metrics.runs.WithLabelValues(outcomeFailed).Inc()
		l.Log.Error(err, "Audit could not begin")
		return
	}
	totals, err := l.Auditor.Run(ctx, l.Scope, sink)
	if errors.Is(err, context.Canceled) && ctx.Err() != nil {
		return // the manager stops
	}
	if totals == nil {
		l.Log.Error(err, "Audit met errors", "code", audit.ReasonIncomplete)
		l.Metrics.runs.WithLabelValues(outcomeFailed).Inc()
		return
	}
	if _, none := sink.(nowhere); !none || totals.Unread == 0 { // without reports nothing is known of what was not read
		err = errors.Join(err, l.Auditor.WriteConstraints(ctx, totals))
	}
	outcome := outcomeDone
	if err != nil {
		l.Log.Error(err, "Audit met errors", "code", audit.ReasonIncomplete)
		outcome = outcomeFailed
	}
	l.Metrics.runs.WithLabelValues(outcome).Inc()
	l.Metrics.record(totals, l.Clock.Now(), l.Clock.Since(began))
	counts := totals.ByResult()
	l.Log.V(1).Info("Audited", "objects", totals.Objects, "fail", counts[audit.Fail], "warn", counts[audit.Warn], "error", counts[audit.Errored], "unread", totals.Unread)
}

// sink is where findings go: into reports of the format that the cluster serves, or, where it
// serves none, nowhere but into the metrics.
func (l *Loop) sink() (Sink, error) {
	api, ok, err := Format(l.Auditor.Client.RESTMapper())
	if err != nil {
		return nil, err
	}
	name := ""
	if ok {
		name = api.Group + "/" + api.Version
	}
	if l.told == nil || *l.told != name {
		l.told = &name
		if ok {
			l.Log.Info("Audit writes reports", "format", name)
		} else {
			l.Log.Info("Audit writes no reports, since the cluster serves no format of them; the metrics have the counts, and `tidegate audit --now` the findings")
		}
	}
	if !ok {
		return nowhere{}, nil
	}
	return &Reports{Client: l.Auditor.Client, API: api}, nil
}

// nowhere is the Sink of a cluster without reports.
type nowhere struct{}

func (nowhere) Begin(context.Context, string, []*v1alpha1.Gate) error         { return nil }
func (nowhere) Put(context.Context, audit.Part, int, []audit.Finding) error   { return nil }
func (nowhere) Done(context.Context, audit.Part, int) error                   { return nil }
func (nowhere) Kept(context.Context, audit.Part, func([]audit.Finding)) error { return nil }
func (nowhere) End(context.Context, string, bool) error                       { return nil }
func (nowhere) Finish(context.Context, *Totals) error                         { return nil }
