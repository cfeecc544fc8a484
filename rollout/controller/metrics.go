package controller

import (
	"context"
	"sync/atomic"
	"time"

	"github.com/prometheus/client_golang/prometheus"
	"sigs.k8s.io/controller-runtime/pkg/client"
	"sigs.k8s.io/controller-runtime/pkg/manager"
	"sigs.k8s.io/controller-runtime/pkg/metrics"

	"tidegate.io/tidegate/rollout/plan"
	"tidegate.io/tidegate/rollout/sync"
	"tidegate.io/tidegate/schemas/v1alpha1"
)

var (
	metricEnded = prometheus.NewCounterVec(prometheus.CounterOpts{
		Name: "tidegate_rollout_ended_total",
		Help: "Rollouts that ended, by outcome and reason code.",
	}, []string{"outcome", "reason"})
	metricDuration = prometheus.NewHistogramVec(prometheus.HistogramOpts{
		Name:    "tidegate_rollout_duration_seconds",
		Help:    "Time from the creation of a Rollout to its end, by outcome.",
		Buckets: []float64{10, 30, 60, 120, 300, 600, 1800, 3600, 14400, 86400},
	}, []string{"outcome"})
	metricActions = prometheus.NewCounterVec(prometheus.CounterOpts{
		Name: "tidegate_rollout_actions_total",
		Help: "Actions executed, by kind and result (ok, error).",
	}, []string{"kind", "result"})
	metricVerdicts = prometheus.NewCounterVec(prometheus.CounterOpts{
		Name: "tidegate_rollout_analysis_verdicts_total",
		Help: "Rounds of analysis taken, by verdict.",
	}, []string{"verdict"})
	metricAssignments = prometheus.NewCounterVec(prometheus.CounterOpts{
		Name: "tidegate_sync_assignments_total",
		Help: "Template revisions that a sync gave to Releases or took back, by kind (move, first, renew, release) and result (ok, error).",
	}, []string{"kind", "result"})
	metricTemplateCommands = prometheus.NewCounterVec(prometheus.CounterOpts{
		Name: "tidegate_sync_commands_total",
		Help: "TemplateCommands answered, by action and outcome.",
	}, []string{"action", "outcome"})
	metricSyncPhase = prometheus.NewDesc("tidegate_sync_phase_templates",
		"Templates there are, by the phase of their sync.", []string{"phase"}, nil)
	metricSyncDrifted = prometheus.NewDesc("tidegate_sync_drifted_releases",
		"Releases that the engine would render differently from what was judged.", nil, nil)
	metricPhase = prometheus.NewDesc("tidegate_rollout_phase_rollouts",
		"Rollouts there are, by phase.", []string{"phase"}, nil)
)

func init() {
	metrics.Registry.MustRegister(metricEnded, metricDuration, metricActions, metricVerdicts, phases, metricAssignments, metricTemplateCommands, syncs)
	for _, kind := range assignmentKinds {
		metricAssignments.WithLabelValues(kind, "ok")
		metricAssignments.WithLabelValues(kind, "error")
	}
	for _, action := range []v1alpha1.TemplateAction{v1alpha1.TemplatePause, v1alpha1.TemplateResume, v1alpha1.TemplateRollback} {
		metricTemplateCommands.WithLabelValues(string(action), string(v1alpha1.OutcomeApplied))
		metricTemplateCommands.WithLabelValues(string(action), string(v1alpha1.OutcomeRefused))
	}
	for _, outcome := range []v1alpha1.RolloutPhase{v1alpha1.RolloutSucceeded, v1alpha1.RolloutAborted} {
		metricDuration.WithLabelValues(string(outcome))
	}
	for _, kind := range []plan.ActionKind{
		plan.ActionApplyShared, plan.ActionEnsureSet, plan.ActionSetWeight, plan.ActionMeasure, plan.ActionRetire, plan.ActionAnswer,
	} {
		metricActions.WithLabelValues(string(kind), "ok")
		metricActions.WithLabelValues(string(kind), "error")
	}
	for _, verdict := range []v1alpha1.Verdict{
		v1alpha1.VerdictPass, v1alpha1.VerdictFail, v1alpha1.VerdictInconclusive, v1alpha1.VerdictUnknown,
	} {
		metricVerdicts.WithLabelValues(string(verdict))
	}
}

func countAction(kind plan.ActionKind, err error) {
	result := "ok"
	if err != nil {
		result = "error"
	}
	metricActions.WithLabelValues(string(kind), result).Inc()
}

func countVerdict(verdict v1alpha1.Verdict) {
	metricVerdicts.WithLabelValues(string(verdict)).Inc()
}

func countEnded(rollout *v1alpha1.Rollout, now time.Time) {
	outcome := string(rollout.Status.Phase)
	reason := rollout.Status.Reason
	if cause := rollout.Status.AbortCause; cause != nil {
		reason = cause.Code
	}
	metricEnded.WithLabelValues(outcome, reason).Inc()
	metricDuration.WithLabelValues(outcome).Observe(now.Sub(rollout.CreationTimestamp.Time).Seconds())
}

// phases counts Rollouts when it is asked, from the manager's cache.
var phases = &phaseCollector{}

// scrapeTimeout bounds a read of the cache, which does not wait once it has synced.
const scrapeTimeout = time.Second

type phaseCollector struct {
	reader atomic.Pointer[client.Client]
}

func registerPhases(mgr manager.Manager) {
	reader := mgr.GetClient()
	phases.reader.Store(&reader)
}

// Describe implements prometheus.Collector.
func (c *phaseCollector) Describe(ch chan<- *prometheus.Desc) { ch <- metricPhase }

// Collect implements prometheus.Collector.
func (c *phaseCollector) Collect(ch chan<- prometheus.Metric) {
	reader := c.reader.Load()
	if reader == nil {
		return
	}
	ctx, cancel := context.WithTimeout(context.Background(), scrapeTimeout)
	defer cancel()
	var list v1alpha1.RolloutList
	if err := (*reader).List(ctx, &list); err != nil {
		return
	}
	counts := map[v1alpha1.RolloutPhase]int{
		v1alpha1.RolloutPending: 0, v1alpha1.RolloutProgressing: 0, v1alpha1.RolloutPromoting: 0,
		v1alpha1.RolloutSucceeded: 0, v1alpha1.RolloutAborting: 0, v1alpha1.RolloutAborted: 0,
	}
	for i := range list.Items {
		phase := list.Items[i].Status.Phase
		if phase == "" {
			phase = v1alpha1.RolloutPending
		}
		counts[phase]++
	}
	for phase, n := range counts {
		ch <- prometheus.MustNewConstMetric(metricPhase, prometheus.GaugeValue, float64(n), string(phase))
	}
}

// Kinds of assignments: to another revision, to one that had none, of the same revision to
// a newer generation, and of nothing.
var assignmentKinds = []string{"move", "first", "renew", "release"}

func countAssignment(a sync.Assignment, err error) {
	kind := "move"
	switch {
	case a.Assigned == nil:
		kind = "release"
	case a.Was == "":
		kind = "first"
	case a.Was == a.Assigned.Name:
		kind = "renew"
	}
	result := "ok"
	if err != nil {
		result = "error"
	}
	metricAssignments.WithLabelValues(kind, result).Inc()
}

func countTemplateCommand(action v1alpha1.TemplateAction, outcome v1alpha1.CommandOutcome) {
	metricTemplateCommands.WithLabelValues(string(action), string(outcome)).Inc()
}

// syncs counts templates when it is asked, from the manager's cache.
var syncs = &syncCollector{}

type syncCollector struct {
	reader atomic.Pointer[client.Client]
}

func registerSyncs(mgr manager.Manager) {
	reader := mgr.GetClient()
	syncs.reader.Store(&reader)
}

// Describe implements prometheus.Collector.
func (c *syncCollector) Describe(ch chan<- *prometheus.Desc) {
	ch <- metricSyncPhase
	ch <- metricSyncDrifted
}

// Collect implements prometheus.Collector.
func (c *syncCollector) Collect(ch chan<- prometheus.Metric) {
	reader := c.reader.Load()
	if reader == nil {
		return
	}
	ctx, cancel := context.WithTimeout(context.Background(), scrapeTimeout)
	defer cancel()
	var list v1alpha1.ReleaseTemplateList
	if err := (*reader).List(ctx, &list, client.UnsafeDisableDeepCopy); err != nil {
		return
	}
	counts := map[v1alpha1.SyncPhase]int{
		v1alpha1.SyncSyncing: 0, v1alpha1.SyncSoaking: 0, v1alpha1.SyncPaused: 0, v1alpha1.SyncHalted: 0, v1alpha1.SyncSynced: 0,
	}
	var drifted int32
	for i := range list.Items {
		if s := list.Items[i].Status.Sync; s != nil {
			counts[s.Phase]++
			drifted += s.Drifted
		}
	}
	for phase, n := range counts {
		ch <- prometheus.MustNewConstMetric(metricSyncPhase, prometheus.GaugeValue, float64(n), string(phase))
	}
	ch <- prometheus.MustNewConstMetric(metricSyncDrifted, prometheus.GaugeValue, float64(drifted))
}
