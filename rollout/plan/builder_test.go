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

// canarySpec is a Rollout over another revision: 25 % with a hold, 50 % with analysis
// and approval, 100 % with analysis; 8 pods either side.
func canarySpec() v1alpha1.RolloutSpec {
	return v1alpha1.RolloutSpec{
		Release: "cart", Number: 2, Revision: newRevision, Digest: digest, Replicas: 8,
		Stable: &v1alpha1.StableReference{Rollout: "cart-1", Revision: oldRevision, Replicas: 8},
		Strategy: v1alpha1.Strategy{
			Type: v1alpha1.StrategyCanary,
			Steps: []v1alpha1.Step{
				{Weight: 25, Hold: metav1.Duration{Duration: 30 * time.Second}},
				{Weight: 50, Analysis: true, Approval: true},
				{Weight: 100, Analysis: true},
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
	s.Strategy.Steps = []v1alpha1.Step{
		{Hold: metav1.Duration{Duration: 30 * time.Second}, Approval: true},
		{Weight: 100, Analysis: true},
	}
	s.Strategy.ScaleDownDelay = &metav1.Duration{Duration: 2 * time.Minute}
	return s
}

// scaled is a set whose autoscaler asks for more pods than the rollout.
func scaled(desired, available int32) Set {
	s := setOf(desired, available)
	s.Autoscaled = true
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
	return Traffic{Knowledge: Present, CanaryWeight: weight, Settled: true, UpToDate: true}
}

// inStep is a canary Rollout in the step given since ago, all well.
func inStep(step int32, ago time.Duration) Observation {
	o := Observation{
		Spec: canarySpec(), Stable: setOf(8, 8), Canary: setOf(2, 2), Shared: Present, Traffic: routeAt(0), Promotion: allowed,
		Status: v1alpha1.RolloutStatus{
			Phase: v1alpha1.RolloutProgressing, Step: step, Reason: ReasonBegun, Message: "begun",
		},
	}
	if step > 0 {
		w := o.Spec.Strategy.Steps[step-1].Weight
		next := o.Spec.Strategy.Steps[min(int(step), 2)].Weight
		o.Status.ApprovedWeight, o.Status.Weight = w, w
		o.Status.ApprovedAt, o.Status.StepStartedAt = at(-ago-time.Second), at(-ago)
		o.Canary = setOf(8*next/100, 8*next/100)
		o.Traffic = routeAt(w)
	}
	return o
}

func promoting(drained time.Duration) Observation {
	o := inStep(3, time.Hour)
	o.Status.Phase = v1alpha1.RolloutPromoting
	o.Status.DrainStartedAt = at(-drained)
	return o
}

func aborting(weight int32) Observation {
	o := inStep(2, time.Minute)
	o.Status.Phase = v1alpha1.RolloutAborting
	o.Status.ApprovedWeight = 0
	o.Status.StepStartedAt = nil
	o.Status.AbortCause = &v1alpha1.Cause{Code: ReasonAnalysisFail, Message: "the analysis failed"}
	o.Traffic = routeAt(weight)
	return o
}

func ended(phase v1alpha1.RolloutPhase) Observation {
	o := promoting(time.Hour)
	o.Status = v1alpha1.RolloutStatus{
		Phase: phase, Step: 3, ApprovedWeight: 100, Weight: 100, ApprovedAt: at(-time.Hour), Reason: "TG-X", Message: "x",
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
