package v1alpha1

import (
	"time"

	"k8s.io/apimachinery/pkg/api/resource"
	metav1 "k8s.io/apimachinery/pkg/apis/meta/v1"
)

// Strategy says how one revision replaces another. A template's `rollout` field has
// this shape; a Rollout carries it as compiled, with the steps and defaults filled in.
type Strategy struct {
	// Type is the kind of strategy.
	Type StrategyType `json:"type"`
	// Preview, of blueGreen alone, is what must hold before the switch, while the new set is
	// whole and gets no traffic. A Rollout carries it as a first step of weight 0.
	// +optional
	Preview *Preview `json:"preview,omitempty"`
	// Steps are walked in order. Weights rise strictly and the last is 100. canary needs
	// them; blueGreen has one of 100, the switch; rolling has others than 100 for a
	// StatefulSet alone. blueGreen and rolling may leave them out.
	// +kubebuilder:validation:MinItems=1
	// +kubebuilder:validation:MaxItems=50
	// +listType=atomic
	Steps []Step `json:"steps"`
	// Analysis is what the new revision is judged by at the steps that ask for it.
	// +optional
	Analysis *Analysis `json:"analysis,omitempty"`
	// DrainDelay is how long a set that no longer gets traffic is kept whole before it
	// is retired, so that requests under way end and a return is instant. Default 30s.
	// rolling keeps no old set and has none.
	// +kubebuilder:default="30s"
	DrainDelay metav1.Duration `json:"drainDelay,omitempty"`
	// ScaleDownDelay, of blueGreen alone, is how long the old set stays whole after the
	// switch and its checks, so that an abort returns to it at once. It takes the place of
	// DrainDelay for the old set. Default 10m.
	// +optional
	ScaleDownDelay *metav1.Duration `json:"scaleDownDelay,omitempty"`
	// ProgressDeadline is how long the new set may take to have enough available pods
	// before the Rollout is aborted. Default 10m.
	// +kubebuilder:default="10m"
	ProgressDeadline metav1.Duration `json:"progressDeadline,omitempty"`
}

// Warm is how long the old set is kept whole once the new one has all of the traffic.
func (s Strategy) Warm() time.Duration {
	if s.Type == StrategyBlueGreen && s.ScaleDownDelay != nil {
		return s.ScaleDownDelay.Duration
	}
	return s.DrainDelay.Duration
}

// StrategyType is a kind of strategy.
//
// +kubebuilder:validation:Enum=canary;blueGreen;rolling
type StrategyType string

const (
	// StrategyCanary moves traffic to the new set weight by weight.
	StrategyCanary StrategyType = "canary"
	// StrategyBlueGreen makes the new set whole, lets it be looked at, and moves all of the
	// traffic at once.
	StrategyBlueGreen StrategyType = "blueGreen"
	// StrategyRolling replaces the pods of one workload in place.
	StrategyRolling StrategyType = "rolling"
)

// InSets says whether each revision is a set of objects of its own, between which traffic
// is moved; otherwise one workload is changed in place.
func (t StrategyType) InSets() bool { return t != StrategyRolling }

// Preview is what must hold before a blueGreen switch. Both may be asked for.
type Preview struct {
	// Hold is the least time for which the new set stays whole without traffic. Default 0s.
	// +optional
	Hold metav1.Duration `json:"hold,omitempty"`
	// Approval, if true, asks for an approve command before the switch.
	// +optional
	Approval bool `json:"approval,omitempty"`
}

// Step is one level of exposure and what must hold before the next one.
type Step struct {
	// Weight is the percentage of requests that the new revision gets in this step; with
	// rolling the percentage of pods that are of the new revision. 0 is the preview of a
	// blueGreen Rollout.
	// +kubebuilder:validation:Minimum=0
	// +kubebuilder:validation:Maximum=100
	Weight int32 `json:"weight"`
	// Hold is the least time to stay in this step, counted from when the route was seen
	// to carry the weight, or with rolling from when the pods were seen to be available.
	// Default 0s.
	// +optional
	Hold metav1.Duration `json:"hold,omitempty"`
	// Analysis, if true, asks for a fresh Pass of the strategy's analysis in this step
	// before the next.
	// +optional
	Analysis bool `json:"analysis,omitempty"`
	// Approval, if true, asks for an approve command in this step before the next.
	// +optional
	Approval bool `json:"approval,omitempty"`
}

// Analysis is the set of metrics that a canary is judged by. The worst verdict of the
// metrics is the verdict of the round.
type Analysis struct {
	// Source is the name of the MetricSource.
	Source string `json:"source"`
	// Interval is the time between two rounds. Default 10s.
	// +kubebuilder:default="10s"
	Interval metav1.Duration `json:"interval,omitempty"`
	// Window is how far back each query looks: it is what $window stands for. A round is
	// taken only when the step has lasted for a whole window, so that no evidence comes
	// from a lower exposure. Default 60s.
	// +kubebuilder:default="60s"
	Window metav1.Duration `json:"window,omitempty"`
	// +kubebuilder:validation:MinItems=1
	// +kubebuilder:validation:MaxItems=20
	// +listType=map
	// +listMapKey=name
	Metrics []Metric `json:"metrics"`
}

// Metric is one quantity and the judges that read it. In the queries $namespace,
// $release, $revision and $window stand for the judged revision's; both revisions are
// queried at the same evaluation time.
//
// +kubebuilder:validation:XValidation:rule="has(self.threshold) || has(self.ratio)",message="a metric needs a judge: set threshold, ratio or both"
type Metric struct {
	// +kubebuilder:validation:Pattern=`^[a-z]([-a-z0-9]*[a-z0-9])?$`
	// +kubebuilder:validation:MaxLength=40
	Name string `json:"name"`
	// Unit is shown behind the numbers: "%", "ms", "s". The value is multiplied by 100
	// for "%" and by 1000 for "ms" where it is shown; queries give ratios and seconds.
	// +kubebuilder:validation:Enum="";"%";ms;s
	// +optional
	Unit string `json:"unit,omitempty"`
	// Query is the PromQL expression of the value; it must give one sample.
	// +kubebuilder:validation:MinLength=1
	// +kubebuilder:validation:MaxLength=4096
	Query string `json:"query"`
	// Samples is the PromQL expression of the number of observations, such as requests,
	// that the value rests on.
	// +kubebuilder:validation:MinLength=1
	// +kubebuilder:validation:MaxLength=4096
	Samples string `json:"samples"`
	// MinSamples is how many observations each judged revision must have in the window;
	// with fewer the verdict is Inconclusive. Default 100.
	// +kubebuilder:default=100
	// +kubebuilder:validation:Minimum=1
	MinSamples int64 `json:"minSamples,omitempty"`
	// Threshold judges the canary's value alone.
	// +optional
	Threshold *ThresholdJudge `json:"threshold,omitempty"`
	// Ratio judges the canary's value against the stable revision's.
	// +optional
	Ratio *RatioJudge `json:"ratio,omitempty"`
}

// ThresholdJudge passes values within fixed bounds.
//
// +kubebuilder:validation:XValidation:rule="has(self.max) || has(self.min)",message="set max, min or both"
type ThresholdJudge struct {
	// Max is the greatest value that passes.
	// +optional
	Max *resource.Quantity `json:"max,omitempty"`
	// Min is the least value that passes.
	// +optional
	Min *resource.Quantity `json:"min,omitempty"`
}

// RatioJudge passes a canary that is not much worse (greater) than the stable
// revision: canary <= stable * max, or canary - stable <= minDifference.
type RatioJudge struct {
	// Max is the greatest canary/stable ratio that passes; at least 1.
	Max resource.Quantity `json:"max"`
	// MinDifference is an absolute difference below which the ratio is not looked at, so
	// that two tiny numbers are not told apart. Default 0.
	// +optional
	MinDifference *resource.Quantity `json:"minDifference,omitempty"`
}

// Verdict is the outcome of an analysis. Only Pass raises exposure.
//
// +kubebuilder:validation:Enum=Pass;Fail;Inconclusive;Unknown
type Verdict string

const (
	// VerdictPass is: enough evidence, all within bounds.
	VerdictPass Verdict = "Pass"
	// VerdictFail is: enough evidence, and a bound is broken.
	VerdictFail Verdict = "Fail"
	// VerdictInconclusive is: the source answers, and there is too little evidence yet.
	VerdictInconclusive Verdict = "Inconclusive"
	// VerdictUnknown is: no usable answer; the cause says why.
	VerdictUnknown Verdict = "Unknown"
)

// UnknownCause says why a verdict is Unknown.
//
// +kubebuilder:validation:Enum="";NoData;NotANumber;Infinite;ManySeries;QueryError;SourceDown
type UnknownCause string

const (
	// CauseNoData is an empty result.
	CauseNoData UnknownCause = "NoData"
	// CauseNotANumber is a NaN, as 0/0 gives.
	CauseNotANumber UnknownCause = "NotANumber"
	// CauseInfinite is +Inf or -Inf.
	CauseInfinite UnknownCause = "Infinite"
	// CauseManySeries is a result of more than one series.
	CauseManySeries UnknownCause = "ManySeries"
	// CauseQueryError is a query that the source refuses or cannot evaluate.
	CauseQueryError UnknownCause = "QueryError"
	// CauseSourceDown is a source that cannot be reached or does not answer in time.
	CauseSourceDown UnknownCause = "SourceDown"
)
