package v1alpha1

import (
	metav1 "k8s.io/apimachinery/pkg/apis/meta/v1"
	"k8s.io/apimachinery/pkg/runtime"
)

// Release is one service of one team: a template and the values that the template
// leaves to the team. It is applied with kubectl, Helm, Argo CD, Flux or from CI.
//
// +kubebuilder:object:root=true
// +kubebuilder:subresource:status
// +kubebuilder:resource:shortName=rel,categories=tidegate
// +kubebuilder:printcolumn:name="Template",type=string,JSONPath=`.spec.template.name`
// +kubebuilder:printcolumn:name="Revision",type=string,JSONPath=`.status.revision`
// +kubebuilder:printcolumn:name="Phase",type=string,JSONPath=`.status.phase`
// +kubebuilder:printcolumn:name="Step",type=string,JSONPath=`.status.step`
// +kubebuilder:printcolumn:name="Weight",type=integer,JSONPath=`.status.weight`
// +kubebuilder:printcolumn:name="Message",type=string,JSONPath=`.status.message`
// +kubebuilder:printcolumn:name="Age",type=date,JSONPath=`.metadata.creationTimestamp`
// +kubebuilder:validation:XValidation:rule="self.metadata.name.size() <= 40 && self.metadata.name.matches('^[a-z]([-a-z0-9]*[a-z0-9])?$')",message="the name of a Release must be a DNS label of at most 40 characters that begins with a letter, since the names of its Services are made from it"
type Release struct {
	metav1.TypeMeta   `json:",inline"`
	metav1.ObjectMeta `json:"metadata,omitempty"`

	Spec ReleaseSpec `json:"spec"`
	// +default={"observedGeneration":-1}
	Status ReleaseStatus `json:"status,omitempty"`
}

// ReleaseSpec is what a service team writes.
type ReleaseSpec struct {
	// Template names the ReleaseTemplate and, if wanted, pins one revision of it.
	Template TemplateReference `json:"template"`
	// Values are the template's variables. Unknown names are refused.
	// +kubebuilder:pruning:PreserveUnknownFields
	// +kubebuilder:validation:Type=object
	// +optional
	Values *runtime.RawExtension `json:"values,omitempty"`
}

// TemplateReference names a template and, optionally, one revision or one channel of it.
// Without either the Release follows the template as the template's sync says.
//
// +kubebuilder:validation:XValidation:rule="!has(self.channel) || !has(self.revision) && !has(self.digest)",message="a Release either follows a channel or pins a revision"
type TemplateReference struct {
	// Name of the ReleaseTemplate.
	// +kubebuilder:validation:MinLength=1
	Name string `json:"name"`
	// Revision pins the number of a TemplateRevision.
	// +kubebuilder:validation:Minimum=1
	// +optional
	Revision int64 `json:"revision,omitempty"`
	// Digest pins the digest of a TemplateRevision. Together with Revision both must hold.
	// +kubebuilder:validation:Pattern=`^sha256:[0-9a-f]{64}$`
	// +optional
	Digest string `json:"digest,omitempty"`
	// Channel follows a channel of the template, such as stable.
	// +kubebuilder:validation:Pattern=`^[a-z]([-a-z0-9]*[a-z0-9])?$`
	// +kubebuilder:validation:MaxLength=40
	// +optional
	Channel string `json:"channel,omitempty"`
}

// AssignedRevision is the TemplateRevision that a template's sync gave to a Release.
type AssignedRevision struct {
	// Name of the TemplateRevision.
	Name string `json:"name"`
	// Generation of the Release that the assignment is for. It follows the generation of
	// the Release, except under type Manual, where a greater one takes the sync's target.
	Generation int64 `json:"generation"`
	// At is when it was assigned.
	At metav1.MicroTime `json:"at"`
}

// ReleasePhase is one word for where a Release stands.
//
// +kubebuilder:validation:Enum=Pending;Progressing;Paused;Serving;Aborting;Aborted;Invalid
type ReleasePhase string

const (
	// ReleasePending is before the first Rollout has begun.
	ReleasePending ReleasePhase = "Pending"
	// ReleaseProgressing is while a Rollout moves the new revision into service.
	ReleaseProgressing ReleasePhase = "Progressing"
	// ReleasePaused is while a Rollout waits for a person.
	ReleasePaused ReleasePhase = "Paused"
	// ReleaseServing is when the spec's revision has all of the traffic.
	ReleaseServing ReleasePhase = "Serving"
	// ReleaseAborting is while traffic goes back to the stable revision.
	ReleaseAborting ReleasePhase = "Aborting"
	// ReleaseAborted is when the spec's revision was rejected; the stable revision serves.
	ReleaseAborted ReleasePhase = "Aborted"
	// ReleaseInvalid is when the spec cannot be rendered; what was serving still serves.
	ReleaseInvalid ReleasePhase = "Invalid"
)

// ReleaseStatus is written by Tidegate.
type ReleaseStatus struct {
	ObservedGeneration int64 `json:"observedGeneration,omitempty"`
	// Phase is one word for people; tools should read the conditions.
	Phase ReleasePhase `json:"phase,omitempty"`
	// Message says in a sentence why the phase is what it is.
	Message string `json:"message,omitempty"`
	// Assigned is the TemplateRevision that the template's sync gave to the Release, which
	// it follows unless it pins one or follows a channel. Written by the template loop.
	// +optional
	Assigned *AssignedRevision `json:"assigned,omitempty"`
	// TemplateRevision is the name of the TemplateRevision that the spec was rendered
	// with.
	TemplateRevision string `json:"templateRevision,omitempty"`
	// Tried is the name of the TemplateRevision that the spec was last tried with. It
	// differs from TemplateRevision where the spec does not render with it.
	Tried string `json:"tried,omitempty"`
	// Revision is the revision that the spec asks for.
	Revision string `json:"revision,omitempty"`
	// StableRevision is the revision that served before the current Rollout and that an
	// abort returns to; equal to Revision once a Rollout has succeeded.
	StableRevision string `json:"stableRevision,omitempty"`
	// StableRollout is the name of the Rollout that brought StableRevision into service.
	StableRollout string `json:"stableRollout,omitempty"`
	// Rollout is the name of the newest Rollout.
	Rollout string `json:"rollout,omitempty"`
	// Step is "2/4": the step that the Rollout is in and their number.
	Step string `json:"step,omitempty"`
	// Weight is the percentage of requests that Revision gets, as read back from the
	// route.
	// +optional
	Weight int32 `json:"weight"`
	// BreakGlass lists the latest exemptions under which objects of the Release were
	// touched past the managed flow, the newest first.
	// +kubebuilder:validation:MaxItems=10
	// +listType=atomic
	// +optional
	BreakGlass []ReleaseBreakGlass `json:"breakGlass,omitempty"`
	// +listType=map
	// +listMapKey=type
	Conditions []metav1.Condition `json:"conditions,omitempty"`
}

// ReleaseBreakGlass is one exemption, as its uses concern a Release.
type ReleaseBreakGlass struct {
	// Name is that of the BreakGlass in the same namespace.
	Name string `json:"name"`
	// Actor, Reason and Phase are the BreakGlass's.
	Actor  string          `json:"actor"`
	Reason string          `json:"reason"`
	Phase  BreakGlassPhase `json:"phase,omitempty"`
	// Uses counts those of its latest uses that concern this Release, and Last is the last.
	Uses int32         `json:"uses"`
	Last BreakGlassUse `json:"last"`
}

// ReleaseList is a list of Releases.
//
// +kubebuilder:object:root=true
type ReleaseList struct {
	metav1.TypeMeta `json:",inline"`
	metav1.ListMeta `json:"metadata,omitempty"`
	Items           []Release `json:"items"`
}
