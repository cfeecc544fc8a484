package webhook

import (
	"fmt"
	"slices"
	"time"

	"github.com/prometheus/client_golang/prometheus"

	"tidegate.io/tidegate/policies/eval"
	"tidegate.io/tidegate/webhook/govern"
)

// Decisions, as the metrics name them.
const (
	decisionAllowed = "allowed"
	decisionDenied  = "denied"
	decisionErrored = "errored"
)

// Metrics counts and times answers. Labels are bounded: a policy's own codes are counted
// as TG-POLICY-DENY, and no object's name is a label.
type Metrics struct {
	requests *prometheus.CounterVec
	duration *prometheus.HistogramVec
	dryrun   prometheus.Counter
	// overBudget is by policy: there are as many as a platform team writes, and who has to
	// mend one must know which.
	overBudget *prometheus.CounterVec
	// breakGlass is by operation.
	breakGlass *prometheus.CounterVec
}

// NewMetrics returns metrics that are 0 for every path and code.
func NewMetrics() *Metrics {
	m := &Metrics{
		requests: prometheus.NewCounterVec(prometheus.CounterOpts{
			Name: "tidegate_webhook_requests_total",
			Help: "Admission requests answered, by path, decision and reason code.",
		}, []string{"path", "decision", "code"}),
		duration: prometheus.NewHistogramVec(prometheus.HistogramOpts{
			Name:    "tidegate_webhook_request_duration_seconds",
			Help:    "Time from an admission request to its answer.",
			Buckets: []float64{0.0005, 0.001, 0.0025, 0.005, 0.01, 0.025, 0.05, 0.1, 0.25, 0.5, 1, 2.5, 5},
		}, []string{"path", "decision"}),
		dryrun: prometheus.NewCounter(prometheus.CounterOpts{
			Name: "tidegate_webhook_dryrun_violations_total",
			Help: "Violations of policies whose enforcement is dryrun.",
		}),
	}
	m.overBudget = prometheus.NewCounterVec(prometheus.CounterOpts{
		Name: "tidegate_policy_over_budget_total",
		Help: "Evaluations of a DeployPolicy that took more time or memory than one may, by policy.",
	}, []string{"policy"})
	m.breakGlass = prometheus.NewCounterVec(prometheus.CounterOpts{
		Name: "tidegate_breakglass_uses_total",
		Help: "Requests that a BreakGlass let past the managed flow, by operation.",
	}, []string{"operation"})
	for _, operation := range []string{govern.Create, govern.Update, govern.Delete, govern.Connect} {
		m.breakGlass.WithLabelValues(operation)
	}
	for _, path := range []string{PathGate, PathTidegate} {
		m.requests.WithLabelValues(path, decisionAllowed, "")
		m.requests.WithLabelValues(path, decisionErrored, ReasonError)
		for _, code := range codes {
			m.requests.WithLabelValues(path, decisionDenied, code)
		}
		for _, d := range []string{decisionAllowed, decisionDenied, decisionErrored} {
			m.duration.WithLabelValues(path, d)
		}
	}
	return m
}

// Register adds the metrics to a registry.
func (m *Metrics) Register(r prometheus.Registerer) error {
	for _, c := range []prometheus.Collector{m.requests, m.duration, m.dryrun, m.overBudget, m.breakGlass} {
		if err := r.Register(c); err != nil {
			return fmt.Errorf("registering metrics of the webhook: %w", err)
		}
	}
	return nil
}

func (m *Metrics) observe(path string, a answer, took time.Duration) {
	decision, code := decisionAllowed, ""
	switch {
	case a.err != nil:
		decision, code = decisionErrored, ReasonError
	case a.denial != "":
		decision, code = decisionDenied, a.code
		if !slices.Contains(codes, code) {
			code = eval.ReasonPolicyDeny
		}
	}
	m.requests.WithLabelValues(path, decision, code).Inc()
	m.duration.WithLabelValues(path, decision).Observe(took.Seconds())
}
