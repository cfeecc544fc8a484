package v1alpha1

import (
	metav1 "k8s.io/apimachinery/pkg/apis/meta/v1"
)

// TemplateCommand is one person's decision about the sync of one ReleaseTemplate. It never
// changes; all of them together are the audit trail.
//
// +kubebuilder:object:root=true
// +kubebuilder:subresource:status
// +kubebuilder:resource:scope=Cluster,shortName=tcmd,categories=tidegate
// +kubebuilder:selectablefield:JSONPath=`.spec.template`
// +kubebuilder:printcolumn:name="Template",type=string,JSONPath=`.spec.template`
// +kubebuilder:printcolumn:name="Action",type=string,JSONPath=`.spec.action`
// +kubebuilder:printcolumn:name="Revision",type=integer,JSONPath=`.spec.revision`
// +kubebuilder:printcolumn:name="Actor",type=string,JSONPath=`.spec.actor`
// +kubebuilder:printcolumn:name="Outcome",type=string,JSONPath=`.status.outcome`
// +kubebuilder:printcolumn:name="Message",type=string,JSONPath=`.status.message`
// +kubebuilder:printcolumn:name="Age",type=date,JSONPath=`.metadata.creationTimestamp`
type TemplateCommand struct {
	metav1.TypeMeta   `json:",inline"`
	metav1.ObjectMeta `json:"metadata,omitempty"`

	// +kubebuilder:validation:XValidation:rule="self == oldSelf",message="a TemplateCommand never changes; create another one"
	Spec TemplateCommandSpec `json:"spec"`
	// +default={"observedGeneration":-1}
	Status TemplateCommandStatus `json:"status,omitempty"`
}

// TemplateAction is what a person decides about a sync.
//
// +kubebuilder:validation:Enum=pause;resume;rollback
type TemplateAction string

const (
	// TemplatePause gives no further Release the target.
	TemplatePause TemplateAction = "pause"
	// TemplateResume ends a pause, and accepts the failures that halted a wave.
	TemplateResume TemplateAction = "resume"
	// TemplateRollback makes an earlier revision the target, for all Releases at once.
	TemplateRollback TemplateAction = "rollback"
)

// TemplateCommandSpec is the decision.
//
// +kubebuilder:validation:XValidation:rule="(self.action == 'rollback') == has(self.revision)",message="a rollback names the revision to return to, and nothing else does"
type TemplateCommandSpec struct {
	// Template is the name of the ReleaseTemplate.
	// +kubebuilder:validation:MinLength=1
	Template string         `json:"template"`
	Action   TemplateAction `json:"action"`
	// Revision is the number of the TemplateRevision to return to; rollback only.
	// +kubebuilder:validation:Minimum=1
	// +optional
	Revision int64 `json:"revision,omitempty"`
	// Actor is the user name of who created the command. The API server stamps it; a
	// claimed one is overwritten.
	// +optional
	Actor string `json:"actor,omitempty"`
	// Reason is for whoever reads the trail later.
	// +kubebuilder:validation:MaxLength=1024
	// +optional
	Reason string `json:"reason,omitempty"`
}

// TemplateCommandStatus is written by Tidegate.
type TemplateCommandStatus struct {
	ObservedGeneration int64          `json:"observedGeneration,omitempty"`
	Outcome            CommandOutcome `json:"outcome,omitempty"`
	Message            string         `json:"message,omitempty"`
	// At is when the command was found to have been obeyed; unset where it was refused. Commands
	// are obeyed one by one, so it puts them in order.
	// +optional
	At *metav1.MicroTime `json:"at,omitempty"`
	// RolledBackFrom is the name of the revision that a rollback turned away from. Were the
	// status of the template lost, it says for which revision the rollback still holds.
	RolledBackFrom string `json:"rolledBackFrom,omitempty"`
	// +listType=map
	// +listMapKey=type
	Conditions []metav1.Condition `json:"conditions,omitempty"`
}

// TemplateCommandList is a list of TemplateCommands.
//
// +kubebuilder:object:root=true
type TemplateCommandList struct {
	metav1.TypeMeta `json:",inline"`
	metav1.ListMeta `json:"metadata,omitempty"`
	Items           []TemplateCommand `json:"items"`
}
