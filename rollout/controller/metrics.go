package controller

import (
	"cmp"
	"context"
	"strconv"
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
	metricHolds = prometheus.NewDesc("tidegate_rollout_holding_rollouts",
		"Rollouts that have not ended, by the code of what they stand at or wait for.", []string{"reason"}, nil)
	metricWeights = prometheus.NewDesc("tidegate_rollout_weight_rollouts",
		"Rollouts that have not ended, by the percentage of requests that the new revision gets: 0, or the least of 10, 25, 50, 99 and 100 that it does not exceed.", []string{"weight"}, nil)
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
		plan.ActionRunJob, plan.ActionStopJob, plan.ActionCallHook,
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

// The four figures of software delivery (Forsgren, Humble, Kim: Accelerate, 2018, chapter 2):
// how often changes come into service, how long one takes to get there, how many of them
// fail, and how long service then takes to be restored.
var (
	metricChanges = prometheus.NewCounterVec(prometheus.CounterOpts{
		Name: "tidegate_dora_changes_total",
		Help: "Changes of what serves, by result: good came into service; failed was taken back after requests had reached it; stopped was taken back before.",
	}, []string{"result"})
	metricLeadTime = prometheus.NewHistogram(prometheus.HistogramOpts{
		Name:    "tidegate_dora_lead_time_seconds",
		Help:    "Time from a change to its being in service: from the Release's annotation tidegate.io/committed-at where it is set, else from when the Release was applied.",
		Buckets: []float64{60, 300, 900, 1800, 3600, 14400, 43200, 86400, 259200, 604800},
	})
	metricRestore = prometheus.NewHistogram(prometheus.HistogramOpts{
		Name:    "tidegate_dora_restore_seconds",
		Help:    "Time from the decision that a change has failed to the former revision having all of the traffic again.",
		Buckets: []float64{1, 5, 10, 30, 60, 120, 300, 900, 3600, 14400},
	})
	metricSteps = prometheus.NewHistogramVec(prometheus.HistogramOpts{
		Name:    "tidegate_rollout_step_seconds",
		Help:    "Time that Rollouts spent in a step, by the kind of the step.",
		Buckets: []float64{1, 5, 10, 30, 60, 120, 300, 900, 3600, 14400, 86400},
	}, []string{"kind"})
)

func init() {
	metrics.Registry.MustRegister(metricChanges, metricLeadTime, metricRestore, metricSteps)
	for _, result := range []string{changeGood, changeFailed, changeStopped} {
		metricChanges.WithLabelValues(result)
	}
	for _, kind := range stepKinds {
		metricSteps.WithLabelValues(kind)
	}
}

func (f figures) count() {
	if f.result == "" {
		return
	}
	metricChanges.WithLabelValues(f.result).Inc()
	if f.result == changeGood {
		metricLeadTime.Observe(f.leadTime.Seconds())
	}
	if f.restore > 0 {
		metricRestore.Observe(f.restore.Seconds())
	}
}

// countSteps observes how long the steps took that a Rollout left with a change of status.
func countSteps(r *v1alpha1.Rollout, before *v1alpha1.RolloutStatus) {
	steps := plan.Walked(r.Spec)
	known := len(before.History)
	if known == 0 || len(r.Status.History) < known {
		return
	}
	moves := r.Status.History[known-1:]
	for i := 1; i < len(moves); i++ {
		was := moves[i-1]
		if was.Phase == v1alpha1.RolloutProgressing && was.Step > 0 && int(was.Step) <= len(steps) {
			metricSteps.WithLabelValues(kindOf(steps[was.Step-1])).Observe(moves[i].At.Sub(was.At.Time).Seconds())
		}
	}
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
func (c *phaseCollector) Describe(ch chan<- *prometheus.Desc) {
	ch <- metricPhase
	ch <- metricHolds
	ch <- metricWeights
}

// Collect implements prometheus.Collector.
func (c *phaseCollector) Collect(ch chan<- prometheus.Metric) {
	reader := c.reader.Load()
	if reader == nil {
		return
	}
	ctx, cancel := context.WithTimeout(context.Background(), scrapeTimeout)
	defer cancel()
	var list v1alpha1.RolloutList
	if err := (*reader).List(ctx, &list, client.UnsafeDisableDeepCopy); err != nil {
		return
	}
	phases := map[string]int{}
	for _, phase := range []v1alpha1.RolloutPhase{
		v1alpha1.RolloutPending, v1alpha1.RolloutProgressing, v1alpha1.RolloutPromoting,
		v1alpha1.RolloutSucceeded, v1alpha1.RolloutAborting, v1alpha1.RolloutAborted,
	} {
		phases[string(phase)] = 0
	}
	holds, weights := map[string]int{}, map[string]int{"0": 0}
	for _, bound := range weightBounds {
		weights[strconv.Itoa(int(bound))] = 0
	}
	for i := range list.Items {
		st := &list.Items[i].Status
		phases[string(cmp.Or(st.Phase, v1alpha1.RolloutPending))]++
		if !st.Phase.Terminal() && st.Reason != "" {
			holds[st.Reason]++
			weights[weightLabel(st.Weight)]++
		}
	}
	gauges(ch, metricPhase, phases)
	gauges(ch, metricHolds, holds)
	gauges(ch, metricWeights, weights)
}

// weightBounds are the classes of weights above 0.
var weightBounds = []int32{10, 25, 50, 99, 100}

func weightLabel(weight int32) string {
	if weight <= 0 {
		return "0"
	}
	for _, bound := range weightBounds {
		if weight <= bound {
			return strconv.Itoa(int(bound))
		}
	}
	return "100"
}

func gauges(ch chan<- prometheus.Metric, what *prometheus.Desc, counts map[string]int) {
	for label, n := range counts {
		ch <- prometheus.MustNewConstMetric(what, prometheus.GaugeValue, float64(n), label)
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
