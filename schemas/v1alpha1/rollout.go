package v1alpha1

import (
	"slices"

	metav1 "k8s.io/apimachinery/pkg/apis/meta/v1"
	"k8s.io/apimachinery/pkg/runtime"
)

// Rollout is one attempt to bring one revision of one Release into service. It pins
// everything that was judged. Tidegate writes it; people act on it by RolloutCommands.
//
// A revision is the name of what runs: the first 10 hex digits of the digest of the
// canonical JSON of everything rendered that pods depend on. Its objects are named
// <release>-<revision>.
//
// +kubebuilder:object:root=true
// +kubebuilder:subresource:status
// +kubebuilder:resource:shortName=ro,categories=tidegate
// +kubebuilder:selectablefield:JSONPath=`.spec.release`
// +kubebuilder:printcolumn:name="Release",type=string,JSONPath=`.spec.release`
// +kubebuilder:printcolumn:name="Revision",type=string,JSONPath=`.spec.revision`
// +kubebuilder:printcolumn:name="Phase",type=string,JSONPath=`.status.phase`
// +kubebuilder:printcolumn:name="Step",type=integer,JSONPath=`.status.step`
// +kubebuilder:printcolumn:name="Weight",type=integer,JSONPath=`.status.weight`
// +kubebuilder:printcolumn:name="Verdict",type=string,JSONPath=`.status.analysis.verdict`
// +kubebuilder:printcolumn:name="Message",type=string,JSONPath=`.status.message`
// +kubebuilder:printcolumn:name="Age",type=date,JSONPath=`.metadata.creationTimestamp`
type Rollout struct {
	metav1.TypeMeta   `json:",inline"`
	metav1.ObjectMeta `json:"metadata,omitempty"`

	// What differs after a change of size alone is what numbers of pods are in; see RolloutSpec.Resized.
	//
	// +kubebuilder:validation:XValidation:rule="self == oldSelf || self.release == oldSelf.release && self.number == oldSelf.number && self.templateRevision == oldSelf.templateRevision && self.revision == oldSelf.revision && self.strategy == oldSelf.strategy && has(self.workload) == has(oldSelf.workload) && has(self.router) == has(oldSelf.router) && has(self.known) == has(oldSelf.known) && has(self.restores) == has(oldSelf.restores) && has(self.objects) == has(oldSelf.objects) && has(self.stable) == has(oldSelf.stable) && (!has(self.workload) || self.workload == oldSelf.workload) && (!has(self.router) || self.router == oldSelf.router) && (!has(self.known) || self.known == oldSelf.known) && (!has(self.restores) || self.restores == oldSelf.restores) && (!has(self.objects) || self.objects == oldSelf.objects) && (!has(self.stable) || self.stable.rollout == oldSelf.stable.rollout && self.stable.revision == oldSelf.stable.revision && has(self.stable.strategy) == has(oldSelf.stable.strategy) && (!has(self.stable.strategy) || self.stable.strategy == oldSelf.stable.strategy)) && has(self.resized) && self.releaseGeneration > oldSelf.releaseGeneration && self.resized[size(self.resized) - 1].digest == oldSelf.digest && self.resized[size(self.resized) - 1].replicas == oldSelf.replicas && self.resized[size(self.resized) - 1].releaseGeneration == oldSelf.releaseGeneration && (!has(oldSelf.resized) || self.resized[0] == oldSelf.resized[0])",message="a Rollout never changes but in its size, with what it was before in spec.resized: it is what was judged; apply the Release again for another one"
	Spec RolloutSpec `json:"spec"`
	// +default={"observedGeneration":-1}
	Status RolloutStatus `json:"status,omitempty"`
}

// AdmittedAt is the generation of its Release that the Rollout is for; 0 where it was made for
// a former Release of the name, whose generations say nothing about those of another one.
func (r *Rollout) AdmittedAt() int64 {
	if r.Annotations[AnnotationAdopted] != "" {
		return 0
	}
	return r.Spec.ReleaseGeneration
}

// RolloutSpec pins what is rolled out.
type RolloutSpec struct {
	// Release is the name of the Release in the same namespace.
	Release string `json:"release"`
	// Number counts the Rollouts of one Release from 1.
	// +kubebuilder:validation:Minimum=1
	Number int64 `json:"number"`
	// ReleaseGeneration is the generation of the Release that was admitted.
	ReleaseGeneration int64 `json:"releaseGeneration"`
	// TemplateRevision is the name of the TemplateRevision that rendered.
	TemplateRevision string `json:"templateRevision"`
	// Values are the Release's values.
	// +kubebuilder:pruning:PreserveUnknownFields
	// +kubebuilder:validation:Type=object
	// +optional
	Values *runtime.RawExtension `json:"values,omitempty"`
	// Revision names the set of objects that serves; see Rollout.
	// +kubebuilder:validation:Pattern=`^[0-9a-f]{10}$`
	Revision string `json:"revision"`
	// Digest is "sha256:" and the hex digest of the canonical JSON of all that was
	// rendered. Every verdict and approval is about this digest.
	Digest string `json:"digest"`
	// Replicas is the wanted size of the whole set.
	// +kubebuilder:validation:Minimum=0
	Replicas int32 `json:"replicas"`
	// Strategy is how the revision comes into service.
	Strategy Strategy `json:"strategy"`
	// Workload is the kind of the object that the pods come from, such as Deployment.
	// +optional
	Workload string `json:"workload,omitempty"`
	// Router is how requests are spread over the revisions. Absent with rolling.
	// +optional
	Router Router `json:"router,omitempty"`
	// Known says that the revision was in service before and is returned to, so that no steps
	// are walked; see Strategy.RollbackWindow.
	// +optional
	Known bool `json:"known,omitempty"`
	// Restores is whose revision a person has brought back; absent where the Rollout is for the
	// Release's spec.
	// +optional
	Restores *Restoration `json:"restores,omitempty"`
	// Objects are what the Rollout renders to. What earlier Rollouts of the Release have made and
	// is not among them is deleted when the Rollout has succeeded.
	// +kubebuilder:validation:MaxItems=200
	// +listType=atomic
	// +optional
	Objects []RenderedObject `json:"objects,omitempty"`
	// Stable is what an abort returns to; absent for the first Rollout of a Release.
	// +optional
	Stable *StableReference `json:"stable,omitempty"`
	// Resized is what the Rollout was about before its Release asked for another number of pods, or
	// other bounds of its autoscaler, and for nothing else: the oldest first, then the last 19.
	// releaseGeneration, values, digest, replicas and stable.replicas are those of the newest size.
	// +kubebuilder:validation:MaxItems=20
	// +listType=atomic
	// +optional
	Resized []FormerSize `json:"resized,omitempty"`
}

// Judged says whether a verdict about a digest is one about this Rollout: its own digest, or that
// of a size that it had, since the pods are the same.
func (s *RolloutSpec) Judged(digest string) bool {
	return s.Digest == digest || slices.ContainsFunc(s.Resized, func(f FormerSize) bool { return f.Digest == digest })
}

// FormerSize is what a Rollout was about before its size was changed. Its pods were the same.
type FormerSize struct {
	// ReleaseGeneration is the generation of the Release that asked for this size.
	ReleaseGeneration int64 `json:"releaseGeneration"`
	// Digest of all that was rendered with it.
	Digest string `json:"digest"`
	// Replicas is the size of the whole set.
	Replicas int32 `json:"replicas"`
	// StableReplicas is the size of the set that an abort returned to; 0 where there was none.
	// +optional
	StableReplicas int32 `json:"stableReplicas,omitempty"`
	// Until is when the size was changed.
	Until metav1.Time `json:"until"`
}

// Router is how requests are spread over revisions.
//
// +kubebuilder:validation:Enum="";HTTPRoute;GRPCRoute;VirtualService;Service
type Router string

const (
	// RouterHTTPRoute is weights in an HTTPRoute of the Gateway API.
	RouterHTTPRoute Router = "HTTPRoute"
	// RouterGRPCRoute is weights in a GRPCRoute of the Gateway API.
	RouterGRPCRoute Router = "GRPCRoute"
	// RouterVirtualService is weights in a VirtualService of Istio.
	RouterVirtualService Router = "VirtualService"
	// RouterService is a plain Service: its selector names the stable revision at a weight of 0, the
	// new one at 100, and neither in between, where a revision's weight is its share of the pods.
	RouterService Router = "Service"
)

// Routes says whether the router is an object with weights.
func (r Router) Routes() bool {
	return r == "" || r == RouterHTTPRoute || r == RouterGRPCRoute || r == RouterVirtualService
}

// Restoration names whose revision was brought back, and by whom.
type Restoration struct {
	// Rollout is the name of the Rollout whose inputs are pinned anew.
	Rollout string `json:"rollout"`
	// Command is the name of the RolloutCommand.
	Command string `json:"command"`
	// Actor is the user name of who asked for it.
	// +optional
	Actor string `json:"actor,omitempty"`
}

// RenderedObject names an object in the namespace of its Release.
type RenderedObject struct {
	APIVersion string `json:"apiVersion"`
	Kind       string `json:"kind"`
	Name       string `json:"name"`
}

// StableReference names what served when a Rollout began.
type StableReference struct {
	// Rollout is the name of the Rollout that brought it into service.
	Rollout string `json:"rollout"`
	// Revision of the set.
	Revision string `json:"revision"`
	// Replicas is the wanted size of the set.
	Replicas int32 `json:"replicas"`
	// Strategy is how it came into service, where the Rollout goes from a workload in place to sets or
	// back; absent otherwise.
	// +optional
	Strategy StrategyType `json:"strategy,omitempty"`
}

// Changes says whether the Rollout goes from a workload that is changed in place to sets, or back.
func (s *RolloutSpec) Changes() bool {
	return s.Stable != nil && s.Stable.Strategy != "" && s.Stable.Strategy.InSets() != s.Strategy.Type.InSets()
}

// InSets says whether the two revisions are sets of objects of their own, between which traffic is
// moved. While a Rollout goes from the one way of serving to the other, the workload that bears the Release's
// name is one of the two sets.
func (s *RolloutSpec) InSets() bool { return s.Strategy.Type.InSets() || s.Changes() }

// RolloutPhase is where a Rollout stands.
//
// +kubebuilder:validation:Enum=Pending;Progressing;Promoting;Succeeded;Aborting;Aborted
type RolloutPhase string

const (
	// RolloutPending waits for an older Rollout of the Release to end.
	RolloutPending RolloutPhase = "Pending"
	// RolloutProgressing walks the steps.
	RolloutProgressing RolloutPhase = "Progressing"
	// RolloutPromoting has all of the traffic on the new set; the old set drains.
	RolloutPromoting RolloutPhase = "Promoting"
	// RolloutSucceeded is the end: the revision is the stable one.
	RolloutSucceeded RolloutPhase = "Succeeded"
	// RolloutAborting moves all traffic back and lets the new set drain.
	RolloutAborting RolloutPhase = "Aborting"
	// RolloutAborted is the end: the stable revision serves, the new set is gone.
	RolloutAborted RolloutPhase = "Aborted"
)

// Terminal says whether the phase is an end.
func (p RolloutPhase) Terminal() bool {
	return p == RolloutSucceeded || p == RolloutAborted
}

// RolloutStatus is written by Tidegate. It holds only what cannot be read off the
// cluster again.
type RolloutStatus struct {
	ObservedGeneration int64        `json:"observedGeneration,omitempty"`
	Phase              RolloutPhase `json:"phase,omitempty"`
	// Reason is the stable code (TG-...) of why the Rollout stands where it stands.
	Reason string `json:"reason,omitempty"`
	// Message says the same in a sentence, with the numbers.
	Message string `json:"message,omitempty"`
	// Step is the index of the current step, counted from 1; 0 before the first.
	// +optional
	Step int32 `json:"step"`
	// Weight is the percentage last read back from the route.
	// +optional
	Weight int32 `json:"weight"`
	// ApprovedWeight is the exposure that the gates have allowed; the route never
	// carries more.
	// +optional
	ApprovedWeight int32 `json:"approvedWeight"`
	// ApprovedAt is when the gates allowed ApprovedWeight.
	// +optional
	ApprovedAt *metav1.MicroTime `json:"approvedAt,omitempty"`
	// ExposedAt is when the route was first seen to carry what is approved; evidence counts
	// from it.
	// +optional
	ExposedAt *metav1.MicroTime `json:"exposedAt,omitempty"`
	// StepStartedAt is when the step began: the route was first seen to carry what it, or a step
	// before it, has set.
	// +optional
	StepStartedAt *metav1.MicroTime `json:"stepStartedAt,omitempty"`
	// WaitingSince is when the Rollout began to wait for available pods; the progress
	// deadline counts from it.
	// +optional
	WaitingSince *metav1.MicroTime `json:"waitingSince,omitempty"`
	// RouteUnsettledSince is since when the gateway has not accepted the route that carries
	// the approved weight; the progress deadline counts from it too.
	// +optional
	RouteUnsettledSince *metav1.MicroTime `json:"routeUnsettledSince,omitempty"`
	// StableShortSince is when the stable set was first seen with fewer available pods
	// than it should have. Exposure does not rise meanwhile, for at most the progress
	// deadline: a stable set that stays broken must not keep its own cure out.
	// +optional
	StableShortSince *metav1.MicroTime `json:"stableShortSince,omitempty"`
	// StableLoad is the most pods that the autoscaler of the stable set has asked for since
	// the Rollout began: what the new set must stand when it gets all of the traffic, and what the
	// autoscaler is told to leave the stable set as its traffic goes. 0 without an autoscaler.
	// +optional
	StableLoad int32 `json:"stableLoad,omitempty"`
	// Size is the size of the whole set for which the pods have been there last. While the sets grow
	// to another one, lost pods are counted against this one. 0 where the size never changed.
	// +optional
	Size int32 `json:"size,omitempty"`
	// DrainStartedAt is when the set that is to go was first seen without traffic.
	// +optional
	DrainStartedAt *metav1.MicroTime `json:"drainStartedAt,omitempty"`
	// Retiring is true once it was decided to delete the old set. There is no way back
	// from here: an abort comes too late.
	// +optional
	Retiring bool `json:"retiring,omitempty"`
	// Approvals are the approve commands that count, one for each step and person.
	// +kubebuilder:validation:MaxItems=50
	// +listType=atomic
	// +optional
	Approvals []Approval `json:"approvals,omitempty"`
	// Skips are the skip-step commands that count, one for each step.
	// +kubebuilder:validation:MaxItems=50
	// +listType=atomic
	// +optional
	Skips []Approval `json:"skips,omitempty"`
	// Promoted is the promote command that let the Rollout pass over the steps that were left.
	// +optional
	Promoted *Approval `json:"promoted,omitempty"`
	// Retried is the retry command that asks for another Rollout like this one, which was
	// aborted.
	// +optional
	Retried *Approval `json:"retried,omitempty"`
	// Restored is the last roll-back command that asks for this Rollout's revision to be brought
	// back.
	// +optional
	Restored *Approval `json:"restored,omitempty"`
	// Checks are the jobs and hooks that were begun, one for each step or event.
	// +kubebuilder:validation:MaxItems=200
	// +listType=atomic
	// +optional
	Checks []Check `json:"checks,omitempty"`
	// Falls counts how often the Rollout went back to a lower step. What a step has run is run anew
	// after it.
	// +optional
	Falls int32 `json:"falls,omitempty"`
	// Paused is true while a pause command stands.
	// +optional
	Paused bool `json:"paused,omitempty"`
	// AbortCause is the code and sentence of why the Rollout was aborted.
	// +optional
	AbortCause *Cause `json:"abortCause,omitempty"`
	// Analysis is the last round of measurement.
	// +optional
	Analysis *AnalysisRound `json:"analysis,omitempty"`
	// History has one entry for each change of phase or step, oldest first; the last 50, and
	// always the first with a weight.
	// +listType=atomic
	// +optional
	History []HistoryEntry `json:"history,omitempty"`
	// +listType=map
	// +listMapKey=type
	Conditions []metav1.Condition `json:"conditions,omitempty"`
}

// CheckOutcome is what became of a job or a hook.
//
// +kubebuilder:validation:Enum=Pending;Passed;Failed
type CheckOutcome string

const (
	// CheckPending is: it was begun, or will be tried again.
	CheckPending CheckOutcome = "Pending"
	// CheckPassed is: it lets pass.
	CheckPassed CheckOutcome = "Passed"
	// CheckFailed is: it does not let pass.
	CheckFailed CheckOutcome = "Failed"
)

// Check is one job, or one hook at one event.
type Check struct {
	// Step in which it was begun, counted from 1; 0 before the first.
	// +optional
	Step int32 `json:"step"`
	// Hook is the name of the hook; empty for a job.
	// +optional
	Hook string `json:"hook,omitempty"`
	// Event is why the hook is called; empty where a step names it.
	// +optional
	Event HookEvent `json:"event,omitempty"`
	// Job is the name of the Job; empty for a hook.
	// +optional
	Job     string       `json:"job,omitempty"`
	Outcome CheckOutcome `json:"outcome"`
	// Tries is how often it was tried.
	// +optional
	Tries int32 `json:"tries,omitempty"`
	// At is when it was tried last, or has ended.
	At metav1.MicroTime `json:"at"`
	// Message says what was answered.
	// +kubebuilder:validation:MaxLength=1024
	// +optional
	Message string `json:"message,omitempty"`
}

// Approval records a decision of a person that counts.
type Approval struct {
	// Step that was approved or skipped, counted from 1; 0 where it is about no step.
	// +optional
	Step int32 `json:"step"`
	// Actor is the user name of who decided.
	Actor string `json:"actor,omitempty"`
	// Command is the name of the RolloutCommand.
	Command string `json:"command"`
}

// Cause is a stable code and its sentence.
type Cause struct {
	// Code is TG-...; docs/reasons.md explains it.
	Code string `json:"code"`
	// Message is the sentence, with the numbers.
	Message string `json:"message"`
}

// HistoryEntry records a change of phase or step.
type HistoryEntry struct {
	At      metav1.MicroTime `json:"at"`
	Phase   RolloutPhase     `json:"phase"`
	Step    int32            `json:"step"`
	Weight  int32            `json:"weight"`
	Reason  string           `json:"reason,omitempty"`
	Message string           `json:"message,omitempty"`
}

// AnalysisRound is one round of measurement and its verdict.
type AnalysisRound struct {
	Verdict Verdict `json:"verdict"`
	// TakenAt is the evaluation time of the queries.
	TakenAt metav1.MicroTime `json:"takenAt"`
	// Step is the step in which it was taken, counted from 1.
	// +optional
	Step int32 `json:"step"`
	// Digest is what was judged.
	Digest string `json:"digest"`
	// Message says the verdict in a sentence, with the numbers.
	Message string `json:"message,omitempty"`
	// +listType=atomic
	Findings []Finding `json:"findings,omitempty"`
}

// Finding is what one judge made of one metric. Numbers are decimal strings, in the
// unit of the query; empty when there is none.
type Finding struct {
	Metric  string       `json:"metric"`
	Judge   string       `json:"judge"`
	Verdict Verdict      `json:"verdict"`
	Cause   UnknownCause `json:"cause,omitempty"`
	// Canary and Stable are the values measured.
	Canary string `json:"canary,omitempty"`
	Stable string `json:"stable,omitempty"`
	// CanarySamples and StableSamples are the observations they rest on.
	CanarySamples string `json:"canarySamples,omitempty"`
	StableSamples string `json:"stableSamples,omitempty"`
	// Limit is the bound that the judge held the canary's value to.
	Limit   string `json:"limit,omitempty"`
	Message string `json:"message,omitempty"`
}

// RolloutList is a list of Rollouts.
//
// +kubebuilder:object:root=true
type RolloutList struct {
	metav1.TypeMeta `json:",inline"`
	metav1.ListMeta `json:"metadata,omitempty"`
	Items           []Rollout `json:"items"`
}

// RolloutCommand is one person's decision about one Rollout. It never changes; all of
// them together are the audit trail.
//
// +kubebuilder:object:root=true
// +kubebuilder:subresource:status
// +kubebuilder:resource:shortName=rcmd,categories=tidegate
// +kubebuilder:selectablefield:JSONPath=`.spec.rollout`
// +kubebuilder:printcolumn:name="Rollout",type=string,JSONPath=`.spec.rollout`
// +kubebuilder:printcolumn:name="Action",type=string,JSONPath=`.spec.action`
// +kubebuilder:printcolumn:name="Actor",type=string,JSONPath=`.spec.actor`
// +kubebuilder:printcolumn:name="Outcome",type=string,JSONPath=`.status.outcome`
// +kubebuilder:printcolumn:name="Message",type=string,JSONPath=`.status.message`
// +kubebuilder:printcolumn:name="Age",type=date,JSONPath=`.metadata.creationTimestamp`
type RolloutCommand struct {
	metav1.TypeMeta   `json:",inline"`
	metav1.ObjectMeta `json:"metadata,omitempty"`

	// +kubebuilder:validation:XValidation:rule="self == oldSelf",message="a RolloutCommand never changes; create another one"
	Spec RolloutCommandSpec `json:"spec"`
	// +default={"observedGeneration":-1}
	Status RolloutCommandStatus `json:"status,omitempty"`
}

// CommandAction is what a person decides.
//
// +kubebuilder:validation:Enum=approve;pause;resume;abort;skip-step;promote;retry;roll-back
type CommandAction string

const (
	// CommandApprove lets the step named pass its approval gate.
	CommandApprove CommandAction = "approve"
	// CommandPause holds the Rollout where it is.
	CommandPause CommandAction = "pause"
	// CommandResume ends a pause.
	CommandResume CommandAction = "resume"
	// CommandAbort returns all traffic to the stable revision.
	CommandAbort CommandAction = "abort"
	// CommandSkipStep passes over what the step named waits for.
	CommandSkipStep CommandAction = "skip-step"
	// CommandPromote passes over all steps that are left.
	CommandPromote CommandAction = "promote"
	// CommandRetry makes another Rollout like this one, which was aborted.
	CommandRetry CommandAction = "retry"
	// CommandRollBack brings back the revision of this Rollout, which has succeeded before.
	CommandRollBack CommandAction = "roll-back"
)

// RolloutCommandSpec is the decision.
//
// +kubebuilder:validation:XValidation:rule="!(self.action in ['approve', 'skip-step']) || has(self.step)",message="approve and skip-step need the step that is meant, counted from 1"
type RolloutCommandSpec struct {
	// Rollout is the name of the Rollout in the same namespace.
	// +kubebuilder:validation:MinLength=1
	Rollout string        `json:"rollout"`
	Action  CommandAction `json:"action"`
	// Step is the step that is approved or skipped, counted from 1.
	// +kubebuilder:validation:Minimum=1
	// +optional
	Step int32 `json:"step,omitempty"`
	// Actor is the user name of who created the command. The API server stamps it; a
	// claimed one is overwritten.
	// +optional
	Actor string `json:"actor,omitempty"`
	// Groups are those that the actor was in. The API server stamps them as well.
	// +listType=atomic
	// +optional
	Groups []string `json:"groups,omitempty"`
	// Reason is for whoever reads the trail later.
	// +kubebuilder:validation:MaxLength=1024
	// +optional
	Reason string `json:"reason,omitempty"`
}

// CommandOutcome says what became of a command.
//
// +kubebuilder:validation:Enum=Applied;Refused
type CommandOutcome string

const (
	// OutcomeApplied is: the Rollout took the command into account.
	OutcomeApplied CommandOutcome = "Applied"
	// OutcomeRefused is: it came too late or does not fit; the message says why.
	OutcomeRefused CommandOutcome = "Refused"
)

// RolloutCommandStatus is written by Tidegate.
type RolloutCommandStatus struct {
	ObservedGeneration int64          `json:"observedGeneration,omitempty"`
	Outcome            CommandOutcome `json:"outcome,omitempty"`
	Message            string         `json:"message,omitempty"`
	// +listType=map
	// +listMapKey=type
	Conditions []metav1.Condition `json:"conditions,omitempty"`
}

// RolloutCommandList is a list of RolloutCommands.
//
// +kubebuilder:object:root=true
type RolloutCommandList struct {
	metav1.TypeMeta `json:",inline"`
	metav1.ListMeta `json:"metadata,omitempty"`
	Items           []RolloutCommand `json:"items"`
}
