package worker

import (
	"fmt"
	"time"

	"github.com/prometheus/client_golang/prometheus"
)

// Outcomes of requests, as the metrics name them.
const (
	outcomeOK         = "ok"
	outcomeValues     = "values"     // the values are wrong
	outcomeSource     = "source"     // the template is wrong
	outcomeBudget     = "budget"     // a worker was lost to it
	outcomeRemembered = "remembered" // as before, answered from memory
	outcomeBusy       = "busy"       // too many wait
	outcomeStarved    = "starved"    // the machine let the worker do too little to judge it
	outcomeCanceled   = "canceled"   // whoever asked has gone
	outcomeError      = "error"
)

var outcomes = []string{outcomeOK, outcomeValues, outcomeSource, outcomeBudget, outcomeRemembered, outcomeBusy, outcomeStarved, outcomeCanceled, outcomeError}

// Why a worker was replaced between two requests.
const (
	recycledRequests = "requests"
	recycledMemory   = "memory"
)

// Metrics count what the pool does. No name of an object is a label.
type Metrics struct {
	requests *prometheus.CounterVec
	duration *prometheus.HistogramVec
	workers  prometheus.Gauge
	waiting  prometheus.Gauge
	kills    *prometheus.CounterVec
	recycled *prometheus.CounterVec
}

// NewMetrics returns metrics that are 0 for every operation and outcome.
func NewMetrics() *Metrics {
	return newMetrics("tidegate_render_", "render workers", func(op Op) bool { return op == OpPing || ofTemplates(op) })
}

// NewPolicyMetrics are those of a pool for policies alone.
func NewPolicyMetrics() *Metrics {
	return newMetrics("tidegate_policy_cue_", "workers for policies in CUE", func(op Op) bool { return !ofTemplates(op) })
}

// newMetrics names the metrics with a prefix; does says which operations the workers do.
func newMetrics(prefix, workers string, does func(Op) bool) *Metrics {
	m := &Metrics{
		requests: prometheus.NewCounterVec(prometheus.CounterOpts{
			Name: prefix + "requests_total",
			Help: "Requests to the " + workers + ", by operation and outcome.",
		}, []string{"op", "outcome"}),
		duration: prometheus.NewHistogramVec(prometheus.HistogramOpts{
			Name:    prefix + "request_duration_seconds",
			Help:    "Time from a request to the " + workers + " to its answer, waiting for one included.",
			Buckets: []float64{0.0005, 0.001, 0.0025, 0.005, 0.01, 0.025, 0.05, 0.1, 0.25, 0.5, 1, 2.5, 5},
		}, []string{"op"}),
		workers: prometheus.NewGauge(prometheus.GaugeOpts{
			Name: prefix + "workers",
			Help: "How many of the " + workers + " run.",
		}),
		waiting: prometheus.NewGauge(prometheus.GaugeOpts{
			Name: prefix + "waiting_requests",
			Help: "Requests that wait for one of the " + workers + ".",
		}),
		kills: prometheus.NewCounterVec(prometheus.CounterOpts{
			Name: prefix + "worker_deaths_total",
			Help: "How many of the " + workers + " were lost during a request, by cause.",
		}, []string{"cause"}),
		recycled: prometheus.NewCounterVec(prometheus.CounterOpts{
			Name: prefix + "worker_recycled_total",
			Help: "How many of the " + workers + " were replaced between two requests, by reason.",
		}, []string{"why"}),
	}
	for _, op := range ops {
		if !does(op) {
			continue
		}
		for _, outcome := range outcomes {
			m.requests.WithLabelValues(string(op), outcome)
		}
		m.duration.WithLabelValues(string(op))
	}
	for _, cause := range []Cause{CauseDeadline, CauseMemory, CauseCrash, CauseStarved, CauseKilled} {
		m.kills.WithLabelValues(string(cause))
	}
	for _, why := range []string{recycledRequests, recycledMemory} {
		m.recycled.WithLabelValues(why)
	}
	return m
}

// Register adds the metrics to a registry.
func (m *Metrics) Register(r prometheus.Registerer) error {
	for _, c := range []prometheus.Collector{m.requests, m.duration, m.workers, m.waiting, m.kills, m.recycled} {
		if err := r.Register(c); err != nil {
			return fmt.Errorf("registering metrics of the render workers: %w", err)
		}
	}
	return nil
}

func (m *Metrics) answered(op Op, outcome string, took time.Duration) {
	m.requests.WithLabelValues(string(op), outcome).Inc()
	m.duration.WithLabelValues(string(op)).Observe(took.Seconds())
}

func (m *Metrics) started()                { m.workers.Inc() }
func (m *Metrics) stopped()                { m.workers.Dec() }
func (m *Metrics) queued(n int)            { m.waiting.Set(float64(n)) }
func (m *Metrics) died(cause Cause)        { m.kills.WithLabelValues(string(cause)).Inc() }
func (m *Metrics) replaced(because string) { m.recycled.WithLabelValues(because).Inc() }
