package v1alpha1

import (
	metav1 "k8s.io/apimachinery/pkg/apis/meta/v1"
	"k8s.io/apimachinery/pkg/runtime"
	"k8s.io/apimachinery/pkg/types"
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
// +kubebuilder:printcolumn:name="Target",type=string,JSONPath=`.status.sync.target`
// +kubebuilder:printcolumn:name="Phase",type=string,JSONPath=`.status.sync.phase`
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

	// Channels name revisions that a Release may follow instead of the sync, by
	// spec.template.channel, such as stable and candidate. A channel moves only when it is
	// changed here.
	// +kubebuilder:validation:MaxItems=16
	// +listType=map
	// +listMapKey=name
	// +optional
	Channels []TemplateChannel `json:"channels,omitempty"`

	// AllowBreakingAfter declares that the successor of the revision with this number may
	// break values that were good before. It counts for that one revision, so it need not be
	// taken back. Without it a breaking change of #Variables is refused.
	// +kubebuilder:validation:Minimum=1
	// +optional
	AllowBreakingAfter int64 `json:"allowBreakingAfter,omitempty"`

	// RevisionHistoryLimit is how many revisions are kept beside those that a Release, a
	// Rollout, a channel or the sync refers to. Default 10.
	// +kubebuilder:default=10
	// +kubebuilder:validation:Minimum=0
	// +kubebuilder:validation:Maximum=100
	// +optional
	RevisionHistoryLimit *int32 `json:"revisionHistoryLimit,omitempty"`
}

// TemplateChannel is a name for one revision of a template.
type TemplateChannel struct {
	// +kubebuilder:validation:Pattern=`^[a-z]([-a-z0-9]*[a-z0-9])?$`
	// +kubebuilder:validation:MaxLength=40
	Name string `json:"name"`
	// Revision is the number of the TemplateRevision.
	// +kubebuilder:validation:Minimum=1
	Revision int64 `json:"revision"`
}

// SyncType says when Releases take up a new template revision.
//
// +kubebuilder:validation:Enum=Immediate;Staged;Manual
type SyncType string

const (
	// SyncImmediate rolls every Release of the template at once, MaxConcurrent at a time;
	// the default.
	SyncImmediate SyncType = "Immediate"
	// SyncStaged rolls the Releases wave by wave, and halts by itself when rollouts of a
	// wave fail.
	SyncStaged SyncType = "Staged"
	// SyncManual leaves each Release on its revision until somebody applies it anew.
	SyncManual SyncType = "Manual"
)

// TemplateSync says when Releases take up a new template revision. Releases that pin a
// revision or follow a channel are left out.
//
// +kubebuilder:validation:XValidation:rule="self.type == 'Staged' ? has(self.waves) && size(self.waves) > 0 : !has(self.waves) || size(self.waves) == 0",message="waves belong to type Staged, which needs at least one"
type TemplateSync struct {
	// +kubebuilder:default=Immediate
	Type SyncType `json:"type,omitempty"`
	// MaxConcurrent is how many Releases of the template may be under way to another
	// revision at the same time. Default 20.
	// +kubebuilder:default=20
	// +kubebuilder:validation:Minimum=1
	// +kubebuilder:validation:Maximum=1000
	// +optional
	MaxConcurrent int32 `json:"maxConcurrent,omitempty"`
	// Waves are taken in order; type Staged only. Releases that no wave selects make up a
	// last wave called rest.
	// +kubebuilder:validation:MaxItems=20
	// +listType=map
	// +listMapKey=name
	// +optional
	Waves []SyncWave `json:"waves,omitempty"`
}

// SyncWave selects Releases and says what must hold of them before the next wave. A
// Release belongs to the first wave that selects it.
//
// +kubebuilder:validation:XValidation:rule="has(self.selector) || has(self.namespaces) || has(self.percent)",message="a wave selects by selector, namespaces or percent"
// +kubebuilder:validation:XValidation:rule="self.name != 'rest'",message="rest is the name of the wave that takes what no other one selects",fieldPath=".name"
type SyncWave struct {
	// +kubebuilder:validation:Pattern=`^[a-z]([-a-z0-9]*[a-z0-9])?$`
	// +kubebuilder:validation:MaxLength=40
	Name string `json:"name"`
	// Selector selects Releases by their labels.
	// +optional
	Selector *metav1.LabelSelector `json:"selector,omitempty"`
	// Namespaces selects Releases by their namespace; a * stands for any characters.
	// +kubebuilder:validation:MaxItems=100
	// +kubebuilder:validation:items:MinLength=1
	// +listType=set
	// +optional
	Namespaces []string `json:"namespaces,omitempty"`
	// Percent selects this share of all Releases of the template, rounded up, those of
	// earlier waves counted in, in an order that is arbitrary and always the same. With
	// selector or namespaces, of those that these select.
	// +kubebuilder:validation:Minimum=1
	// +kubebuilder:validation:Maximum=100
	// +optional
	Percent int32 `json:"percent,omitempty"`
	// Soak is how long the wave is watched after its last Release has settled. Default 0s.
	// +optional
	Soak metav1.Duration `json:"soak,omitempty"`
	// MaxFailed is how many Releases of the wave may fail before the sync halts. Default 0.
	// +kubebuilder:validation:Minimum=0
	// +optional
	MaxFailed int32 `json:"maxFailed,omitempty"`
	// Patience is how long a Release may be under way before the wave goes on without it.
	// One that its team paused, or that does not render, is not waited for. Default 2h.
	// +kubebuilder:default="2h"
	// +optional
	Patience metav1.Duration `json:"patience,omitempty"`
}

// ReleaseTemplateStatus is written by Tidegate.
type ReleaseTemplateStatus struct {
	// ObservedGeneration is the generation that the rest of the status speaks of.
	ObservedGeneration int64 `json:"observedGeneration,omitempty"`
	// LatestRevision is the name of the newest TemplateRevision.
	LatestRevision string `json:"latestRevision,omitempty"`
	// LatestDigest is the digest of the source that the name LatestRevision is meant for, of
	// which the name has only the first digits: the name is not given to another source.
	LatestDigest string `json:"latestDigest,omitempty"`
	// Releases is the number of Releases that name this template.
	Releases int32 `json:"releases,omitempty"`
	// Sync is where the Releases are on their way to the target revision.
	// +optional
	Sync *TemplateSyncStatus `json:"sync,omitempty"`
	// +listType=map
	// +listMapKey=type
	Conditions []metav1.Condition `json:"conditions,omitempty"`
}

// SyncPhase is one word for where a sync stands.
//
// +kubebuilder:validation:Enum=Syncing;Soaking;Paused;Halted;Synced
type SyncPhase string

const (
	// SyncSyncing is while Releases of the current wave are under way.
	SyncSyncing SyncPhase = "Syncing"
	// SyncSoaking is while a wave that has settled is watched.
	SyncSoaking SyncPhase = "Soaking"
	// SyncPaused is while a TemplateCommand pause holds the sync.
	SyncPaused SyncPhase = "Paused"
	// SyncHalted is when Releases of a wave failed; a resume, a rollback or another
	// revision moves it on.
	SyncHalted SyncPhase = "Halted"
	// SyncSynced is when every wave has been passed.
	SyncSynced SyncPhase = "Synced"
)

// TemplateSyncStatus is where a sync stands. What it holds cannot be read off the Releases;
// the counts are there for people.
type TemplateSyncStatus struct {
	// Target is the name of the TemplateRevision that Releases are brought to.
	Target string `json:"target"`
	// From is the name of the last target that every wave has passed, and what new Releases
	// get until the sync reaches them. Empty for the first revision and after a rollback.
	From string `json:"from,omitempty"`
	// RolledBackFrom is the name of the revision that a rollback turned away from; the
	// sync does not return to it. Empty otherwise.
	RolledBackFrom string    `json:"rolledBackFrom,omitempty"`
	Phase          SyncPhase `json:"phase"`
	// Reason is the stable code (TG-...) of why the sync stands where it stands.
	Reason string `json:"reason,omitempty"`
	// Message says in a sentence what it waits for.
	Message string `json:"message,omitempty"`
	// Wave is the current wave, counted from 1; 0 before the first has begun.
	Wave int32 `json:"wave"`
	// WaveStartedAt is when the current wave began.
	// +optional
	WaveStartedAt *metav1.MicroTime `json:"waveStartedAt,omitempty"`
	// SettledAt is when the last Release of the current wave was seen to have settled; the
	// soak counts from it.
	// +optional
	SettledAt *metav1.MicroTime `json:"settledAt,omitempty"`
	// LastCommand is the UID of the TemplateCommand that was taken into account last; its
	// answer may not be written yet.
	LastCommand types.UID `json:"lastCommand,omitempty"`
	// Waves has one entry for each wave, the rest included.
	// +kubebuilder:validation:MaxItems=21
	// +listType=map
	// +listMapKey=name
	Waves []WaveStatus `json:"waves,omitempty"`
	// Waiting names Releases that are not on the target yet and why, the most important
	// first.
	// +kubebuilder:validation:MaxItems=50
	// +listType=atomic
	Waiting []WaitingRelease `json:"waiting,omitempty"`
	// Drifted is how many Releases the engine of this version would render differently from
	// what was judged. Nothing is applied; their status says more.
	Drifted int32 `json:"drifted,omitempty"`
}

// WaveDone is the phase of a wave that has been passed.
const WaveDone = "Done"

// WaveStatus counts the Releases of one wave by where they are.
type WaveStatus struct {
	Name string `json:"name"`
	// Phase is Waiting, Syncing, Soaking, Halted or Done.
	// +kubebuilder:validation:Enum=Waiting;Syncing;Soaking;Halted;Done
	Phase    string `json:"phase"`
	Releases int32  `json:"releases"`
	// Settled are on the target and serve, those that the target does not change included.
	Settled int32 `json:"settled,omitempty"`
	// Moving have a rollout to the target under way.
	Moving int32 `json:"moving,omitempty"`
	// Failed had their rollout to the target aborted.
	Failed int32 `json:"failed,omitempty"`
	// Excused are not waited for: paused by their team, not rendering, or past the
	// patience.
	Excused int32 `json:"excused,omitempty"`
	// Forgiven is how many Releases that did not settle a resume has accepted.
	Forgiven int32 `json:"forgiven,omitempty"`
}

// WaitingRelease is a Release that is not on the target.
type WaitingRelease struct {
	Namespace string `json:"namespace"`
	Name      string `json:"name"`
	Wave      string `json:"wave,omitempty"`
	// Revision is the name of the TemplateRevision that it is on; empty for none.
	Revision string `json:"revision,omitempty"`
	// State is Queued, Moving, Failed, Paused, Broken, Late or Held.
	// +kubebuilder:validation:Enum=Queued;Moving;Failed;Paused;Broken;Late;Held
	State   string `json:"state"`
	Message string `json:"message,omitempty"`
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
// whose tests passed. Its name is the template's name, a number that is never used
// twice, and the first ten hex digits of the digest of its source, such as web-3-5f0c1b2a9d.
//
// +kubebuilder:object:root=true
// +kubebuilder:subresource:status
// +kubebuilder:resource:scope=Cluster,shortName=trev,categories=tidegate
// +kubebuilder:printcolumn:name="Template",type=string,JSONPath=`.spec.template`
// +kubebuilder:printcolumn:name="Number",type=integer,JSONPath=`.spec.number`
// +kubebuilder:printcolumn:name="Digest",type=string,JSONPath=`.spec.digest`,priority=1
// +kubebuilder:printcolumn:name="Engine",type=string,JSONPath=`.spec.engine`,priority=1
// +kubebuilder:printcolumn:name="Age",type=date,JSONPath=`.metadata.creationTimestamp`
// +kubebuilder:validation:XValidation:rule="self.metadata.name.startsWith(self.spec.template + '-') && self.metadata.name.endsWith('-' + self.spec.digest.substring(7, 17)) && int(self.metadata.name.substring(size(self.spec.template) + 1, size(self.metadata.name) - 11)) == self.spec.number",message="the name of a TemplateRevision is its template, its number and the first ten hex digits of its digest"
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
	// +kubebuilder:validation:MaxLength=253
	Template string `json:"template"`
	// Number counts the revisions of one template from 1.
	// +kubebuilder:validation:Minimum=1
	Number int64 `json:"number"`
	// Digest is "sha256:" and the hex digest of the canonical JSON of Files.
	// +kubebuilder:validation:MaxLength=71
	// +kubebuilder:validation:Pattern=`^sha256:[0-9a-f]{64}$`
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
