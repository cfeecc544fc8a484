package v1alpha1

import (
	"fmt"
	"strings"
	"time"

	"k8s.io/apimachinery/pkg/api/resource"
	metav1 "k8s.io/apimachinery/pkg/apis/meta/v1"
)

// Strategy says how one revision replaces another. A template's `rollout` field has
// this shape; a Rollout carries it as compiled, with the defaults filled in.
type Strategy struct {
	// Type is the kind of strategy.
	Type StrategyType `json:"type"`
	// Steps are walked in order. A weight of 100 comes after the last step where none of
	// them sets it. blueGreen and rolling may leave them out.
	// +kubebuilder:validation:MaxItems=50
	// +listType=atomic
	// +optional
	Steps []Step `json:"steps"`
	// Preview, of blueGreen alone, is what the new set is like before the switch.
	// +optional
	Preview *Preview `json:"preview,omitempty"`
	// Analysis is what the new revision is judged by at the steps that ask for it.
	// +optional
	Analysis *Analysis `json:"analysis,omitempty"`
	// Hooks are HTTP calls at the events that they name, and at the steps that name them.
	// +kubebuilder:validation:MaxItems=10
	// +listType=map
	// +listMapKey=name
	// +optional
	Hooks []Hook `json:"hooks,omitempty"`
	// RouteGrace is how long a change of the route is given to reach every proxy, after the
	// gateway has accepted it, before anything follows from it. Default 0s.
	// +optional
	RouteGrace metav1.Duration `json:"routeGrace,omitempty"`
	// DynamicStableScale, of canary behind a route alone, takes pods from the stable set as its traffic
	// leaves it. It saves pods and costs the instant return: an abort then waits for pods.
	// +optional
	DynamicStableScale bool `json:"dynamicStableScale,omitempty"`
	// WalkFirstInstall walks the steps at the first install of a Release too, where any weight is all
	// of the traffic. Default false: what nobody uses yet needs no steps.
	// +optional
	WalkFirstInstall bool `json:"walkFirstInstall,omitempty"`
	// RollbackWindow is to which revisions a return skips the steps. Without it a return is a
	// rollout like any other.
	// +optional
	RollbackWindow *RollbackWindow `json:"rollbackWindow,omitempty"`
	// HistoryLimit is how many ended Rollouts of a Release are kept beside what serves.
	// Default 10.
	// +kubebuilder:validation:Minimum=0
	// +kubebuilder:validation:Maximum=100
	// +optional
	HistoryLimit *int32 `json:"historyLimit,omitempty"`
	// RequireReason lists the actions of people that need a reason.
	// +kubebuilder:validation:MaxItems=8
	// +listType=set
	// +optional
	RequireReason []CommandAction `json:"requireReason,omitempty"`
	// DrainDelay is how long a set that no longer gets traffic is kept whole before it
	// is retired, so that requests under way end and a return is instant. Default 30s.
	// rolling keeps no old set and has none.
	// +kubebuilder:default="30s"
	DrainDelay metav1.Duration `json:"drainDelay,omitempty"`
	// ScaleDownDelay, of blueGreen alone, is how long the old set stays whole after the
	// switch and its checks, so that an abort returns to it at once. It takes the place of
	// DrainDelay for the old set. Default 10m. With rolling it is there where the old revision is a
	// set, and is how long that one would have been kept.
	// +optional
	ScaleDownDelay *metav1.Duration `json:"scaleDownDelay,omitempty"`
	// ProgressDeadline is how long the new set may take to have enough available pods
	// before the Rollout is aborted. Default 10m.
	// +kubebuilder:default="10m"
	ProgressDeadline metav1.Duration `json:"progressDeadline,omitempty"`
}

// Warm is how long the old set is kept whole once the new one has all of the traffic.
func (s Strategy) Warm() time.Duration {
	if s.Type != StrategyCanary && s.ScaleDownDelay != nil {
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

// Preview is what the new set of a blueGreen Rollout is like before the switch.
type Preview struct {
	// Replicas is the number of its pods until the switch is near: it is made whole before
	// the traffic comes. Without it the set is whole from the beginning.
	// +kubebuilder:validation:Minimum=1
	// +optional
	Replicas *int32 `json:"replicas,omitempty"`
}

// RollbackWindow bounds to which revisions a return skips the steps.
type RollbackWindow struct {
	// Revisions is how many of the revisions that were in service last, the present one
	// aside, count as known to be good.
	// +kubebuilder:validation:Minimum=1
	// +kubebuilder:validation:Maximum=100
	Revisions int32 `json:"revisions"`
}

// Step sets one thing or waits for one thing.
//
// +kubebuilder:validation:XValidation:rule="[has(self.setWeight), has(self.pause), has(self.analyze), has(self.setScale), has(self.setHeaderRoute), has(self.setMirrorRoute), has(self.setBaseline), has(self.job), has(self.hook), has(self.notify)].filter(x, x).size() == 1",message="a step has exactly one of setWeight, pause, analyze, setScale, setHeaderRoute, setMirrorRoute, setBaseline, job, hook and notify"
type Step struct {
	// SetWeight is the percentage of requests that the new revision gets from here on; with
	// rolling the percentage of pods that are of the new revision.
	// +kubebuilder:validation:Minimum=0
	// +kubebuilder:validation:Maximum=100
	// +optional
	SetWeight *int32 `json:"setWeight,omitempty"`
	// Pause waits for a time or for a person.
	// +optional
	Pause *Pause `json:"pause,omitempty"`
	// Analyze judges the new revision by the strategy's analysis.
	// +optional
	Analyze *Analyze `json:"analyze,omitempty"`
	// SetScale sets the size of the new set apart from its weight, from here on.
	// +optional
	SetScale *Scale `json:"setScale,omitempty"`
	// SetHeaderRoute sends the requests that it describes to the new revision, whatever the weight, from
	// here on.
	// +optional
	SetHeaderRoute *HeaderRoute `json:"setHeaderRoute,omitempty"`
	// SetMirrorRoute sends a copy of requests to the new revision, whose answers nobody sees, from here
	// on.
	// +optional
	SetMirrorRoute *MirrorRoute `json:"setMirrorRoute,omitempty"`
	// SetBaseline, if true, runs fresh pods of the stable revision from here on, as many as
	// the new set has and with the same weight, which the new revision is then compared
	// with; if false, takes them away.
	// +optional
	SetBaseline *bool `json:"setBaseline,omitempty"`
	// Job runs a Job; its success lets pass and its failure aborts.
	// +optional
	Job *JobStep `json:"job,omitempty"`
	// Hook calls a hook of the strategy.
	// +optional
	Hook *HookStep `json:"hook,omitempty"`
	// Notify tells people.
	// +optional
	Notify *NotifyStep `json:"notify,omitempty"`
}

// Text says in a few words what a step sets or waits for.
func (s Step) Text() string {
	switch {
	case s.Pause != nil && s.Pause.Duration != nil:
		return "pause " + shortDuration(s.Pause.Duration.Duration)
	case s.Pause != nil:
		return "pause until approved"
	case s.Analyze != nil && s.Analyze.Background:
		return "analyze from here on"
	case s.Analyze != nil:
		return "analyze"
	case s.Job != nil:
		return "job " + s.Job.Object
	case s.Hook != nil:
		return "hook " + s.Hook.Name
	case s.Notify != nil:
		return "notify"
	}
	return s.sets()
}

// sets is Text for what a step sets.
func (s Step) sets() string {
	switch {
	case s.SetWeight != nil:
		return fmt.Sprintf("weight %d %%", *s.SetWeight)
	case s.SetScale != nil:
		return s.SetScale.text()
	case s.SetHeaderRoute != nil && len(s.SetHeaderRoute.Matches) == 0:
		return "no header route"
	case s.SetHeaderRoute != nil:
		return fmt.Sprintf("header route, %d matches", len(s.SetHeaderRoute.Matches))
	case s.SetMirrorRoute != nil:
		return fmt.Sprintf("mirror %d %%", s.SetMirrorRoute.Percent)
	case s.SetBaseline != nil && *s.SetBaseline:
		return "baseline set"
	case s.SetBaseline != nil:
		return "no baseline set"
	}
	return "nothing"
}

func (s Scale) text() string {
	switch {
	case s.Replicas != nil:
		return fmt.Sprintf("scale %d pods", *s.Replicas)
	case s.Percent != nil:
		return fmt.Sprintf("scale %d %%", *s.Percent)
	}
	return "scale as the weight"
}

// shortDuration leaves out the parts of a duration that are zero: 2m, not 2m0s.
func shortDuration(d time.Duration) string {
	text := d.String()
	if strings.HasSuffix(text, "m0s") {
		text = strings.TrimSuffix(text, "0s")
	}
	if strings.HasSuffix(text, "h0m") {
		text = strings.TrimSuffix(text, "0m")
	}
	return text
}

// Pause waits for a time or for a person.
//
// +kubebuilder:validation:XValidation:rule="has(self.duration) != (has(self.approval) && self.approval)",message="a pause has either a duration or approval: true"
type Pause struct {
	// Duration is how long, counted from when what the step before set was seen to be so.
	// +optional
	Duration *metav1.Duration `json:"duration,omitempty"`
	// Approval, if true, waits for an approve command for this step.
	// +optional
	Approval bool `json:"approval,omitempty"`
}

// Analyze judges the new revision, from this step on until exposure changes, or with
// Background until the Rollout has ended. A Fail aborts at any time, and exposure rises only
// on a fresh Pass whose whole window lies in the present exposure.
type Analyze struct {
	// Background, if true, goes on at once: only a rise of exposure waits for a Pass.
	// +optional
	Background bool `json:"background,omitempty"`
}

// Scale is a size of the new set. It never has fewer pods than its weight needs.
//
// +kubebuilder:validation:XValidation:rule="[has(self.replicas), has(self.percent), has(self.matchWeight) && self.matchWeight].filter(x, x).size() == 1",message="a scale has exactly one of replicas, percent and matchWeight: true"
type Scale struct {
	// Replicas is a number of pods.
	// +kubebuilder:validation:Minimum=1
	// +optional
	Replicas *int32 `json:"replicas,omitempty"`
	// Percent is a share of the whole size, rounded up.
	// +kubebuilder:validation:Minimum=1
	// +kubebuilder:validation:Maximum=100
	// +optional
	Percent *int32 `json:"percent,omitempty"`
	// MatchWeight, if true, goes back to what the weight needs, which is the default.
	// +optional
	MatchWeight bool `json:"matchWeight,omitempty"`
}

// HeaderRoute describes requests.
type HeaderRoute struct {
	// Matches are alternatives; a request is meant where one of them fits. Without any
	// the route of an earlier step is taken away.
	// +kubebuilder:validation:MaxItems=8
	// +listType=atomic
	// +optional
	Matches []RequestMatch `json:"matches,omitempty"`
}

// RequestMatch fits a request all of whose conditions hold.
//
// +kubebuilder:validation:XValidation:rule="has(self.headers) && size(self.headers) > 0 || has(self.cookies) && size(self.cookies) > 0",message="a match needs headers, cookies or both"
type RequestMatch struct {
	// +kubebuilder:validation:MaxItems=8
	// +listType=atomic
	// +optional
	Headers []ValueMatch `json:"headers,omitempty"`
	// +kubebuilder:validation:MaxItems=4
	// +listType=atomic
	// +optional
	Cookies []ValueMatch `json:"cookies,omitempty"`
}

// ValueMatch fits a header or a cookie by its value.
//
// +kubebuilder:validation:XValidation:rule="[has(self.exact), has(self.prefix), has(self.regex)].filter(x, x).size() == 1",message="a value match has exactly one of exact, prefix and regex"
type ValueMatch struct {
	// Name of the header, in which case does not count, or of the cookie, in which it does.
	// +kubebuilder:validation:Pattern=`^[A-Za-z0-9!#$%&'*+.^_|~-]+$`
	// +kubebuilder:validation:MaxLength=128
	Name string `json:"name"`
	// +kubebuilder:validation:MaxLength=1024
	// +optional
	Exact *string `json:"exact,omitempty"`
	// +kubebuilder:validation:MinLength=1
	// +kubebuilder:validation:MaxLength=1024
	// +optional
	Prefix *string `json:"prefix,omitempty"`
	// Regex is an RE2 expression that fits the whole value.
	// +kubebuilder:validation:MinLength=1
	// +kubebuilder:validation:MaxLength=1024
	// +optional
	Regex *string `json:"regex,omitempty"`
}

// MirrorRoute is a share of requests.
type MirrorRoute struct {
	// Percent of the requests that are copied; 0 takes the route of an earlier step away.
	// +kubebuilder:validation:Minimum=0
	// +kubebuilder:validation:Maximum=100
	Percent int32 `json:"percent"`
}

// JobStep runs a Job.
type JobStep struct {
	// Object is the name of the object in the template's `objects` that is the Job. It is made
	// anew for each attempt, and never with the set.
	// +kubebuilder:validation:MinLength=1
	// +kubebuilder:validation:MaxLength=63
	Object string `json:"object"`
}

// HookStep calls a hook.
type HookStep struct {
	// Name of one of the strategy's hooks.
	// +kubebuilder:validation:MinLength=1
	Name string `json:"name"`
}

// NotifyStep tells people.
type NotifyStep struct {
	// Message is what they are told.
	// +kubebuilder:validation:MinLength=1
	// +kubebuilder:validation:MaxLength=1024
	Message string `json:"message"`
	// Sink is the name of one of the platform's sinks; without it the platform's routes choose.
	// +kubebuilder:validation:MaxLength=63
	// +optional
	Sink string `json:"sink,omitempty"`
}

// HookEvent is when a hook is called by itself.
//
// +kubebuilder:validation:Enum=begin;step;promote;rollback
type HookEvent string

const (
	// HookBegin is before anything is exposed.
	HookBegin HookEvent = "begin"
	// HookStepEvent is at each weight, once the route carries it; the next rise waits.
	HookStepEvent HookEvent = "step"
	// HookPromote is before the old revision is given up.
	HookPromote HookEvent = "promote"
	// HookRollback is when an abort has begun. It holds nothing up.
	HookRollback HookEvent = "rollback"
)

// HookFailure is what follows from a hook that refuses, or cannot be reached after all tries.
//
// +kubebuilder:validation:Enum=abort;hold;ignore
type HookFailure string

const (
	// HookAborts aborts the Rollout; the default.
	HookAborts HookFailure = "abort"
	// HookHolds holds the Rollout, and calls again at every interval.
	HookHolds HookFailure = "hold"
	// HookIgnored goes on.
	HookIgnored HookFailure = "ignore"
)

// Hook is a signed HTTP call. An answer of 2xx lets pass.
type Hook struct {
	// +kubebuilder:validation:Pattern=`^[a-z]([-a-z0-9]*[a-z0-9])?$`
	// +kubebuilder:validation:MaxLength=40
	Name string `json:"name"`
	// URL is called with POST; https, or http where the platform allows it.
	// +kubebuilder:validation:Pattern=`^https?://.+`
	// +kubebuilder:validation:MaxLength=2048
	URL string `json:"url"`
	// On are the events at which the hook is called; without any it is called by steps alone.
	// +kubebuilder:validation:MaxItems=4
	// +listType=set
	// +optional
	On []HookEvent `json:"on,omitempty"`
	// Timeout of one try. Default 10s.
	// +kubebuilder:default="10s"
	Timeout metav1.Duration `json:"timeout,omitempty"`
	// Retries is how many times more it is tried where nothing, or 408, 425, 429 or 5xx was answered.
	// Default 3.
	// +kubebuilder:default=3
	// +kubebuilder:validation:Minimum=0
	// +kubebuilder:validation:Maximum=20
	// +optional
	Retries *int32 `json:"retries,omitempty"`
	// Interval is the time between tries. Default 10s.
	// +kubebuilder:default="10s"
	Interval metav1.Duration `json:"interval,omitempty"`
	// SecretRef is the key of the signature (HMAC-SHA256), in the manager's namespace.
	// Without it calls are not signed.
	// +optional
	SecretRef *KeyReference `json:"secretRef,omitempty"`
	// CASecretRef is the bundle of certificates (PEM) that the server is held to, in the manager's
	// namespace. Without it the system's.
	// +optional
	CASecretRef *KeyReference `json:"caSecretRef,omitempty"`
	// OnFailure is what follows where it does not let pass. Default abort.
	// +kubebuilder:default=abort
	// +optional
	OnFailure HookFailure `json:"onFailure,omitempty"`
}

// KeyReference names one key of a Secret.
type KeyReference struct {
	// +kubebuilder:validation:MinLength=1
	// +kubebuilder:validation:MaxLength=253
	Name string `json:"name"`
	// +kubebuilder:validation:MinLength=1
	// +kubebuilder:validation:MaxLength=253
	Key string `json:"key"`
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
