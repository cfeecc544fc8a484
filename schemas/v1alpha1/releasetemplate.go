package v1alpha1

import (
	metav1 "k8s.io/apimachinery/pkg/apis/meta/v1"
	"k8s.io/apimachinery/pkg/runtime"
)

// ReleaseTemplate is the managed release flow of one kind of service: CUE source that
// says which values a team may set, which objects they become and how a change of them
// is rolled out.
//
// +kubebuilder:object:root=true
// +kubebuilder:subresource:status
// +kubebuilder:resource:scope=Cluster,shortName=rt,categories=tidegate
// +kubebuilder:printcolumn:name="Revision",type=string,JSONPath=`.status.latestRevision`
// +kubebuilder:printcolumn:name="Sync",type=string,JSONPath=`.spec.sync.type`
// +kubebuilder:printcolumn:name="Releases",type=integer,JSONPath=`.status.releases`
// +kubebuilder:printcolumn:name="Ready",type=string,JSONPath=`.status.conditions[?(@.type=="Ready")].status`
// +kubebuilder:printcolumn:name="Message",type=string,JSONPath=`.status.conditions[?(@.type=="Ready")].message`
// +kubebuilder:printcolumn:name="Age",type=date,JSONPath=`.metadata.creationTimestamp`
type ReleaseTemplate struct {
	metav1.TypeMeta   `json:",inline"`
	metav1.ObjectMeta `json:"metadata,omitempty"`

	Spec ReleaseTemplateSpec `json:"spec"`
	// +default={"observedGeneration":-1}
	Status ReleaseTemplateStatus `json:"status,omitempty"`
}

// ReleaseTemplateSpec is what a platform team writes.
//
// +kubebuilder:validation:XValidation:rule="self.files.all(f, f.endsWith('.cue'))",message="every file name must end in .cue",fieldPath=".files"
type ReleaseTemplateSpec struct {
	// Files maps a file name, such as web.cue, to CUE source. All files are of one
	// package. 256 KiB in all at most.
	// +kubebuilder:validation:MinProperties=1
	// +kubebuilder:validation:MaxProperties=32
	Files map[string]string `json:"files"`

	// Sync says when Releases of this template take up a new revision of it.
	// +kubebuilder:default={type: Immediate}
	// +optional
	Sync TemplateSync `json:"sync,omitempty"`
}

// SyncType says when Releases take up a new template revision.
//
// +kubebuilder:validation:Enum=Immediate;Manual
type SyncType string

const (
	// SyncImmediate rolls every Release of the template at once; the default.
	SyncImmediate SyncType = "Immediate"
	// SyncManual leaves each Release on its revision until its spec.template.revision is
	// changed or removed and its values are applied anew.
	SyncManual SyncType = "Manual"
)

// TemplateSync says when Releases take up a new template revision.
type TemplateSync struct {
	// +kubebuilder:default=Immediate
	Type SyncType `json:"type,omitempty"`
}

// ReleaseTemplateStatus is written by Tidegate.
type ReleaseTemplateStatus struct {
	// ObservedGeneration is the generation that the rest of the status speaks of.
	ObservedGeneration int64 `json:"observedGeneration,omitempty"`
	// LatestRevision is the name of the newest TemplateRevision.
	LatestRevision string `json:"latestRevision,omitempty"`
	// Releases is the number of Releases that name this template.
	Releases int32 `json:"releases,omitempty"`
	// +listType=map
	// +listMapKey=type
	Conditions []metav1.Condition `json:"conditions,omitempty"`
}

// ReleaseTemplateList is a list of ReleaseTemplates.
//
// +kubebuilder:object:root=true
type ReleaseTemplateList struct {
	metav1.TypeMeta `json:",inline"`
	metav1.ListMeta `json:"metadata,omitempty"`
	Items           []ReleaseTemplate `json:"items"`
}

// TemplateRevision is one immutable snapshot of a ReleaseTemplate that compiled and
// whose tests passed. Its name is the template's name and a number that is never used
// twice, such as web-3.
//
// +kubebuilder:object:root=true
// +kubebuilder:subresource:status
// +kubebuilder:resource:scope=Cluster,shortName=trev,categories=tidegate
// +kubebuilder:printcolumn:name="Template",type=string,JSONPath=`.spec.template`
// +kubebuilder:printcolumn:name="Number",type=integer,JSONPath=`.spec.number`
// +kubebuilder:printcolumn:name="Digest",type=string,JSONPath=`.spec.digest`,priority=1
// +kubebuilder:printcolumn:name="Engine",type=string,JSONPath=`.spec.engine`,priority=1
// +kubebuilder:printcolumn:name="Age",type=date,JSONPath=`.metadata.creationTimestamp`
type TemplateRevision struct {
	metav1.TypeMeta   `json:",inline"`
	metav1.ObjectMeta `json:"metadata,omitempty"`

	// +kubebuilder:validation:XValidation:rule="self == oldSelf",message="a TemplateRevision never changes; publish a new revision by editing its ReleaseTemplate"
	Spec TemplateRevisionSpec `json:"spec"`
	// +default={"observedGeneration":-1}
	Status TemplateRevisionStatus `json:"status,omitempty"`
}

// TemplateRevisionSpec is the snapshot.
type TemplateRevisionSpec struct {
	// Template is the name of the ReleaseTemplate.
	Template string `json:"template"`
	// Number counts the revisions of one template from 1.
	// +kubebuilder:validation:Minimum=1
	Number int64 `json:"number"`
	// Digest is "sha256:" and the hex digest of the canonical JSON of Files.
	Digest string `json:"digest"`
	// Engine is the version of the CUE engine that the revision was compiled and tested
	// with, such as v0.17.1.
	Engine string `json:"engine"`
	// Files is the template's source, as in the ReleaseTemplate.
	// +kubebuilder:validation:MinProperties=1
	// +kubebuilder:validation:MaxProperties=32
	Files map[string]string `json:"files"`
	// Schema is the JSON Schema of the values.
	// +kubebuilder:pruning:PreserveUnknownFields
	// +optional
	Schema *runtime.RawExtension `json:"schema,omitempty"`
}

// TemplateRevisionStatus is written by Tidegate.
type TemplateRevisionStatus struct {
	ObservedGeneration int64 `json:"observedGeneration,omitempty"`
	// +listType=map
	// +listMapKey=type
	Conditions []metav1.Condition `json:"conditions,omitempty"`
}

// TemplateRevisionList is a list of TemplateRevisions.
//
// +kubebuilder:object:root=true
type TemplateRevisionList struct {
	metav1.TypeMeta `json:",inline"`
	metav1.ListMeta `json:"metadata,omitempty"`
	Items           []TemplateRevision `json:"items"`
}
