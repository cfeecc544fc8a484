package plan

import (
	"time"

	metav1 "k8s.io/apimachinery/pkg/apis/meta/v1"

	"tidegate.io/tidegate/schemas/v1alpha1"
)

const (
	newRevision = "ab12cd34ef"
	oldRevision = "0123456789"
	digest      = "sha256:feed"
)

// t0 is when everything in the tests is.
var t0 = time.Date(2026, 3, 1, 12, 0, 0, 0, time.UTC)

func at(d time.Duration) *metav1.MicroTime {
	m := metav1.NewMicroTime(t0.Add(d))
	return &m
}

// The steps.

func weigh(n int32) v1alpha1.Step { return v1alpha1.Step{SetWeight: &n} }

func pauseFor(d time.Duration) v1alpha1.Step {
	return v1alpha1.Step{Pause: &v1alpha1.Pause{Duration: &metav1.Duration{Duration: d}}}
}

func pauseForApproval() v1alpha1.Step {
	return v1alpha1.Step{Pause: &v1alpha1.Pause{Approval: true}}
}

func analyze() v1alpha1.Step { return v1alpha1.Step{Analyze: &v1alpha1.Analyze{}} }

func analyzeFromHere() v1alpha1.Step {
	return v1alpha1.Step{Analyze: &v1alpha1.Analyze{Background: true}}
}

func scaleTo(percent int32) v1alpha1.Step {
	return v1alpha1.Step{SetScale: &v1alpha1.Scale{Percent: &percent}}
}

func headers() v1alpha1.Step {
	yes := "yes"
	return v1alpha1.Step{SetHeaderRoute: &v1alpha1.HeaderRoute{
		Matches: []v1alpha1.RequestMatch{{Headers: []v1alpha1.ValueMatch{{Name: "x-tester", Exact: &yes}}}},
	}}
}

func noHeaders() v1alpha1.Step { return v1alpha1.Step{SetHeaderRoute: &v1alpha1.HeaderRoute{}} }

func mirror(percent int32) v1alpha1.Step {
	return v1alpha1.Step{SetMirrorRoute: &v1alpha1.MirrorRoute{Percent: percent}}
}

func baseline(on bool) v1alpha1.Step { return v1alpha1.Step{SetBaseline: &on} }

func job() v1alpha1.Step { return v1alpha1.Step{Job: &v1alpha1.JobStep{Object: "migrate"}} }

func call(name string) v1alpha1.Step { return v1alpha1.Step{Hook: &v1alpha1.HookStep{Name: name}} }

func tell() v1alpha1.Step {
	return v1alpha1.Step{Notify: &v1alpha1.NotifyStep{Message: "half way"}}
}

// Where canarySpec waits: in the pause at 25 %, in the analysis and then for the approval at
// 50 %, in the analysis at 100 %.
const (
	at25, at50, at50Approval, at100 = 2, 4, 5, 7
	to25, to50, to100               = 1, 3, 6
)

// canarySpec is a Rollout over another revision: 25 % and a pause, 50 % with an analysis and an
// approval, 100 % with an analysis; 8 pods either side.
func canarySpec() v1alpha1.RolloutSpec {
	return v1alpha1.RolloutSpec{
		Release: "cart", Number: 2, Revision: newRevision, Digest: digest, Replicas: 8,
		Stable: &v1alpha1.StableReference{Rollout: "cart-1", Revision: oldRevision, Replicas: 8},
		Strategy: v1alpha1.Strategy{
			Type: v1alpha1.StrategyCanary,
			Steps: []v1alpha1.Step{
				weigh(25), pauseFor(30 * time.Second),
				weigh(50), analyze(), pauseForApproval(),
				weigh(100), analyze(),
			},
			Analysis: &v1alpha1.Analysis{
				Source:   "main",
				Interval: metav1.Duration{Duration: 10 * time.Second},
				Window:   metav1.Duration{Duration: 20 * time.Second},
			},
			DrainDelay:       metav1.Duration{Duration: 30 * time.Second},
			ProgressDeadline: metav1.Duration{Duration: 5 * time.Minute},
		},
	}
}

// blueGreenSpec is a preview with an approval, then one switch that is judged, also while
// the old set is kept warm.
func blueGreenSpec() v1alpha1.RolloutSpec {
	s := canarySpec()
	s.Strategy.Type = v1alpha1.StrategyBlueGreen
	s.Strategy.Steps = []v1alpha1.Step{pauseFor(30 * time.Second), pauseForApproval(), weigh(100), analyze()}
	s.Strategy.ScaleDownDelay = &metav1.Duration{Duration: 2 * time.Minute}
	return s
}

// scaled is a set whose autoscaler asks for more pods than the rollout.
func scaled(desired, available int32) Set {
	s := setOf(desired, available)
	s.Autoscaled = true
	return s
}

// loaded is a set whose autoscaler measures a load, in thousandths of a pod, and allows so many pods.
func loaded(s Set, load int64, most int32) Set {
	s.Load, s.Most = load, most
	return s
}

func firstSpec() v1alpha1.RolloutSpec {
	s := canarySpec()
	s.Stable = nil
	return s
}

func inPlaceSpec() v1alpha1.RolloutSpec {
	s := canarySpec()
	s.Stable.Revision = s.Revision
	s.Stable.Replicas = 4
	return s
}

// allowed is the answer of policies that let everything pass.
var allowed = Promotion{Knowledge: Present, Allowed: true}

func setOf(desired, available int32) Set {
	return Set{Knowledge: Present, UpToDate: true, Desired: desired, Available: available}
}

func routeAt(weight int32) Traffic {
	return Traffic{Knowledge: Present, Exposure: Exposure{Weight: weight}, Settled: true, UpToDate: true}
}

// inStep is a canary Rollout in the step given since ago, all well.
func inStep(step int32, ago time.Duration) Observation {
	return stepOf(canarySpec(), step, ago)
}

// stepOf is a Rollout over another revision in the step given since ago, all well: the route
// carries what the steps up to it have set, and the pods of the next rise are there.
func stepOf(spec v1alpha1.RolloutSpec, step int32, ago time.Duration) Observation {
	o := Observation{
		Spec: spec, Stable: setOf(8, 8), Shared: Present, Promotion: allowed,
		Baseline: Set{Knowledge: Absent}, Job: JobState{Knowledge: Absent},
		Status: v1alpha1.RolloutStatus{
			Phase: v1alpha1.RolloutProgressing, Step: step, Reason: ReasonBegun, Message: "begun",
		},
	}
	now := exposureAfter(spec, step)
	o.Traffic = Traffic{Knowledge: Present, Exposure: now, Settled: true, UpToDate: true}
	next := now.Weight
	for k := step; k <= lastOf(spec) && next == now.Weight; k++ {
		next = max(next, exposureAfter(spec, k).Weight)
	}
	n := podsFor(spec.Replicas, next)
	o.Canary = setOf(n, n)
	if now.Baseline > 0 {
		o.Baseline = setOf(podsFor(spec.Replicas, now.Baseline), podsFor(spec.Replicas, now.Baseline))
	}
	o.Status.ApprovedWeight, o.Status.Weight = now.Weight, now.Weight
	if step > 0 {
		o.Status.ApprovedAt, o.Status.ExposedAt, o.Status.StepStartedAt = at(-ago-time.Second), at(-ago), at(-ago)
	}
	return o
}

func promoting(drained time.Duration) Observation {
	o := inStep(at100, time.Hour)
	o.Status.Phase = v1alpha1.RolloutPromoting
	o.Status.DrainStartedAt = at(-drained)
	return o
}

func aborting(weight int32) Observation {
	o := inStep(at50, time.Minute)
	o.Status.Phase = v1alpha1.RolloutAborting
	o.Status.ApprovedWeight = 0
	o.Status.StepStartedAt, o.Status.ExposedAt = nil, nil
	o.Status.AbortCause = &v1alpha1.Cause{Code: ReasonAnalysisFail, Message: "the analysis failed"}
	o.Traffic = routeAt(weight)
	return o
}

func ended(phase v1alpha1.RolloutPhase) Observation {
	o := promoting(time.Hour)
	o.Status = v1alpha1.RolloutStatus{
		Phase: phase, Step: at100, ApprovedWeight: 100, Weight: 100, ApprovedAt: at(-time.Hour), Reason: "TG-X", Message: "x",
	}
	o.Stable = Set{Knowledge: Absent}
	if phase == v1alpha1.RolloutAborted {
		o.Status.ApprovedWeight, o.Status.Weight = 0, 0
		o.Status.AbortCause = &v1alpha1.Cause{Code: ReasonAnalysisFail, Message: "the analysis failed"}
		o.Stable, o.Canary, o.Traffic = setOf(8, 8), Set{Knowledge: Absent}, routeAt(0)
	}
	return o
}

// round is a round of analysis of a step, taken ago.
func roundOf(v v1alpha1.Verdict, step int32, ago time.Duration) *v1alpha1.AnalysisRound {
	return &v1alpha1.AnalysisRound{
		Verdict: v, Step: step, Digest: digest, TakenAt: *at(-ago), Message: "37 of 100 requests",
	}
}

// with changes an observation and returns it.
func (o Observation) with(change func(*Observation)) Observation {
	o.Status = *o.Status.DeepCopy()
	change(&o)
	return o
}
