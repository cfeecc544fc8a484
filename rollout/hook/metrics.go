package hook

import (
	"fmt"
	"time"

	"github.com/prometheus/client_golang/prometheus"
)

// Outcomes of calls.
const (
	outcomePassed  = "passed"
	outcomeRefused = "refused"
	outcomeFailed  = "failed"
)

// Metrics count calls.
type Metrics struct {
	calls *prometheus.CounterVec
	took  prometheus.Histogram
	open  *prometheus.GaugeVec
}

// NewMetrics returns metrics that are 0.
func NewMetrics() *Metrics {
	m := &Metrics{
		calls: prometheus.NewCounterVec(prometheus.CounterOpts{
			Name: "tidegate_hook_calls_total",
			Help: "Calls of hooks, each try by itself, by outcome (passed, refused, failed); one that failed may be tried again.",
		}, []string{"outcome"}),
		took: prometheus.NewHistogram(prometheus.HistogramOpts{
			Name:    "tidegate_hook_call_seconds",
			Help:    "How long calls of hooks took.",
			Buckets: []float64{0.01, 0.05, 0.1, 0.5, 1, 5, 10, 30, 60},
		}),
		open: prometheus.NewGaugeVec(prometheus.GaugeOpts{
			Name: "tidegate_hook_calls",
			Help: "Calls of hooks that are under way, and that wait for their turn, by state (busy, waiting).",
		}, []string{"state"}),
	}
	for _, outcome := range []string{outcomePassed, outcomeRefused, outcomeFailed} {
		m.calls.WithLabelValues(outcome)
	}
	m.count(0, 0)
	return m
}

// Register adds the metrics to a registry.
func (m *Metrics) Register(r prometheus.Registerer) error {
	for _, c := range []prometheus.Collector{m.calls, m.took, m.open} {
		if err := r.Register(c); err != nil {
			return fmt.Errorf("registering the metrics of hooks: %w", err)
		}
	}
	return nil
}

func (m *Metrics) answered(o outcome, took time.Duration) {
	label := outcomeFailed
	switch {
	case o.passed:
		label = outcomePassed
	case o.final:
		label = outcomeRefused
	}
	m.calls.WithLabelValues(label).Inc()
	m.took.Observe(took.Seconds())
}

func (m *Metrics) count(busy, waiting int) {
	m.open.WithLabelValues("busy").Set(float64(busy))
	m.open.WithLabelValues("waiting").Set(float64(waiting))
}
