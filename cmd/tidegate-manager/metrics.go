package main

import (
	"fmt"

	"github.com/prometheus/client_golang/prometheus"

	"tidegate.io/tidegate/policies/eval"
	"tidegate.io/tidegate/schemas/v1alpha1"
)

// Outcomes of questions about a promotion.
const (
	promotionAllowed = "allowed"
	promotionHeld    = "held"
	promotionErrored = "errored"
)

// promotionMetrics count what policies about promotion answer. A question is asked again
// while it holds, so what counts is that it goes up.
type promotionMetrics struct {
	asked    *prometheus.CounterVec
	findings *prometheus.CounterVec
	// overBudget is by policy: there are as many as a platform team writes, and who has to
	// mend one must know which.
	overBudget *prometheus.CounterVec
}

func newPromotionMetrics() *promotionMetrics {
	m := &promotionMetrics{
		asked: prometheus.NewCounterVec(prometheus.CounterOpts{
			Name: "tidegate_promotion_questions_total",
			Help: "Questions to the policies about promotion, by outcome.",
		}, []string{"outcome"}),
		findings: prometheus.NewCounterVec(prometheus.CounterOpts{
			Name: "tidegate_promotion_findings_total",
			Help: "Violations of policies about promotion that hold nothing, by the policy's enforcement; each counts once until it changes.",
		}, []string{"enforcement"}),
		overBudget: prometheus.NewCounterVec(prometheus.CounterOpts{
			Name: "tidegate_promotion_policy_over_budget_total",
			Help: "Questions about a promotion in which a DeployPolicy took more time or memory than one may, by policy.",
		}, []string{"policy"}),
	}
	for _, outcome := range []string{promotionAllowed, promotionHeld, promotionErrored} {
		m.asked.WithLabelValues(outcome)
	}
	for _, e := range []v1alpha1.Enforcement{v1alpha1.EnforcementWarn, v1alpha1.EnforcementDryrun} {
		m.findings.WithLabelValues(string(e))
	}
	return m
}

// register adds the metrics to a registry.
func (m *promotionMetrics) register(r prometheus.Registerer) error {
	for _, c := range []prometheus.Collector{m.asked, m.findings, m.overBudget} {
		if err := r.Register(c); err != nil {
			return fmt.Errorf("registering the metrics of promotions: %w", err)
		}
	}
	return nil
}

func (m *promotionMetrics) count(hold *eval.Hold, err error) {
	outcome := promotionAllowed
	switch {
	case err != nil:
		outcome = promotionErrored
	case hold != nil:
		outcome = promotionHeld
	}
	m.asked.WithLabelValues(outcome).Inc()
}

// spent counts policies that took more than one may.
func (m *promotionMetrics) spent(policies []string) {
	for _, name := range policies {
		m.overBudget.WithLabelValues(name).Inc()
	}
}

func (m *promotionMetrics) quiet(warnings, dryrun int) {
	m.findings.WithLabelValues(string(v1alpha1.EnforcementWarn)).Add(float64(warnings))
	m.findings.WithLabelValues(string(v1alpha1.EnforcementDryrun)).Add(float64(dryrun))
}
