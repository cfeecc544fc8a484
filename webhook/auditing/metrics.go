package auditing

import (
	"fmt"
	"time"

	"github.com/prometheus/client_golang/prometheus"

	"tidegate.io/tidegate/policies/audit"
)

// Metrics are the numbers of the last run. Labels are bounded: by the policies that a platform
// team writes, and by the audit's own codes.
type Metrics struct {
	violations *prometheus.GaugeVec
	bypasses   *prometheus.GaugeVec
	objects    prometheus.Gauge
	unread     prometheus.Gauge
	finished   prometheus.Gauge
	took       prometheus.Gauge
	runs       *prometheus.CounterVec
}

// NewMetrics returns metrics that are 0.
func NewMetrics() *Metrics {
	m := &Metrics{
		violations: prometheus.NewGaugeVec(prometheus.GaugeOpts{
			Name: "tidegate_audit_violations", Help: "What policies have against objects that exist, by policy, enforcement and result.",
		}, []string{"policy", "enforcement", "result"}),
		bypasses: prometheus.NewGaugeVec(prometheus.GaugeOpts{
			Name: "tidegate_audit_bypasses", Help: "What the audit itself found, by reason code and result.",
		}, []string{"code", "result"}),
		objects: prometheus.NewGauge(prometheus.GaugeOpts{
			Name: "tidegate_audit_objects", Help: "Objects that the last audit looked at.",
		}),
		unread: prometheus.NewGauge(prometheus.GaugeOpts{
			Name: "tidegate_audit_unread", Help: "Kinds in namespaces that the last audit could not list.",
		}),
		finished: prometheus.NewGauge(prometheus.GaugeOpts{
			Name: "tidegate_audit_last_run_timestamp_seconds", Help: "When the last audit ended that went through; 0 for never.",
		}),
		took: prometheus.NewGauge(prometheus.GaugeOpts{
			Name: "tidegate_audit_last_run_duration_seconds", Help: "How long that audit took.",
		}),
		runs: prometheus.NewCounterVec(prometheus.CounterOpts{
			Name: "tidegate_audit_runs_total", Help: "Audits that were begun, by how they ended.",
		}, []string{"outcome"}),
	}
	for _, outcome := range []string{outcomeDone, outcomeFailed} {
		m.runs.WithLabelValues(outcome)
	}
	m.known()
	return m
}

// How an audit ended.
const (
	outcomeDone   = "done"
	outcomeFailed = "failed"
)

// known sets what there always is to 0.
func (m *Metrics) known() {
	for _, code := range []string{audit.ReasonUnmanaged, audit.ReasonOlder, audit.ReasonDrift, audit.ReasonStaticPod, audit.ReasonPodOwner} {
		m.bypasses.WithLabelValues(code, string(audit.Fail)).Set(0)
	}
	m.bypasses.WithLabelValues(audit.ReasonIncomplete, string(audit.Errored)).Set(0)
}

// Register adds the metrics to a registry.
func (m *Metrics) Register(r prometheus.Registerer) error {
	for _, c := range []prometheus.Collector{m.violations, m.bypasses, m.objects, m.unread, m.finished, m.took, m.runs} {
		if err := r.Register(c); err != nil {
			return fmt.Errorf("registering the metrics of the audit: %w", err)
		}
	}
	return nil
}

// record shows the numbers of a run that went through.
func (m *Metrics) record(t *Totals, ended time.Time, took time.Duration) {
	m.violations.Reset()
	m.bypasses.Reset()
	m.known()
	for c, n := range t.Counts {
		if c.Policy == "" {
			m.bypasses.WithLabelValues(c.Code, string(c.Result)).Set(float64(n))
			continue
		}
		m.violations.WithLabelValues(c.Policy, string(c.Enforcement), string(c.Result)).Set(float64(n))
	}
	m.objects.Set(float64(t.Objects))
	m.unread.Set(float64(t.Unread))
	m.finished.Set(float64(ended.UnixMilli()) / 1000)
	m.took.Set(took.Seconds())
}
