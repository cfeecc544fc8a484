package v1alpha1

import (
	metav1 "k8s.io/apimachinery/pkg/apis/meta/v1"
	"k8s.io/apimachinery/pkg/types"
)

// BreakGlassApproval says whether a second person has to agree.
//
// +kubebuilder:validation:Enum=None;SecondPerson
type BreakGlassApproval string

const (
	// ApprovalNone lets an exemption begin when it is made.
	ApprovalNone BreakGlassApproval = "None"
	// ApprovalSecondPerson lets it begin when somebody other than its author approves it.
	ApprovalSecondPerson BreakGlassApproval = "SecondPerson"
)

// BreakGlassAfterwards says what becomes of what was changed under an exemption.
//
// +kubebuilder:validation:Enum=Reconcile;Keep
type BreakGlassAfterwards string

const (
	// AfterwardsReconcile puts back what the Release says.
	AfterwardsReconcile BreakGlassAfterwards = "Reconcile"
	// AfterwardsKeep leaves it as it is until the Release's next Rollout.
	AfterwardsKeep BreakGlassAfterwards = "Keep"
)

// BreakGlassRule is what a Gate says of exemptions. It is looked at when a BreakGlass is
// made and again whenever it is used, so that a change of it counts at once.
//
// +kubebuilder:validation:XValidation:rule="(has(self.users) && self.users.size() > 0) || (has(self.groups) && self.groups.size() > 0)",message="list the users or groups that may be exempted; leave breakGlass out where nobody may"
type BreakGlassRule struct {
	// MaxDuration is the longest that an exemption may last, from its creation to its expiry.
	// +kubebuilder:default="1h"
	// +kubebuilder:validation:XValidation:rule="duration(self) >= duration('1m') && duration(self) <= duration('24h')",message="wanted 1m to 24h"
	// +optional
	MaxDuration metav1.Duration `json:"maxDuration,omitempty"`
	// Approval says whether a second person has to agree.
	// +kubebuilder:default=SecondPerson
	// +optional
	Approval BreakGlassApproval `json:"approval,omitempty"`
	// Afterwards says what becomes of what was changed.
	// +kubebuilder:default=Reconcile
	// +optional
	Afterwards BreakGlassAfterwards `json:"afterwards,omitempty"`
	// Users lists the user names that may be exempted.
	// +listType=set
	// +kubebuilder:validation:MaxItems=200
	// +optional
	Users []string `json:"users,omitempty"`
	// Groups lists groups whose members may be exempted. Who uses an exemption must be in the
	// group at that moment.
	// +listType=set
	// +kubebuilder:validation:MaxItems=50
	// +optional
	Groups []string `json:"groups,omitempty"`
}

// BreakGlass is a timed exemption from the managed flow for named objects and one person.
// It never changes: it ends by itself, or by a BreakGlassCommand.
//
// +kubebuilder:object:root=true
// +kubebuilder:subresource:status
// +kubebuilder:resource:shortName=bg,categories=tidegate
// +kubebuilder:printcolumn:name="Phase",type=string,JSONPath=`.status.phase`
// +kubebuilder:printcolumn:name="Actor",type=string,JSONPath=`.spec.actor`
// +kubebuilder:printcolumn:name="Approved By",type=string,JSONPath=`.status.approvedBy`
// +kubebuilder:printcolumn:name="Expires",type=string,JSONPath=`.spec.expiresAt`
// +kubebuilder:printcolumn:name="Uses",type=integer,JSONPath=`.status.useCount`
// +kubebuilder:printcolumn:name="Reason",type=string,JSONPath=`.spec.reason`
// +kubebuilder:printcolumn:name="Age",type=date,JSONPath=`.metadata.creationTimestamp`
type BreakGlass struct {
	metav1.TypeMeta   `json:",inline"`
	metav1.ObjectMeta `json:"metadata,omitempty"`

	// +kubebuilder:validation:XValidation:rule="self == oldSelf",message="a BreakGlass never changes; create another one"
	Spec BreakGlassSpec `json:"spec"`
	// +default={"observedGeneration":-1}
	Status BreakGlassStatus `json:"status,omitempty"`
}

// BreakGlassSpec is what an on-call engineer writes.
type BreakGlassSpec struct {
	// Objects are the ones exempted; all in the BreakGlass's own namespace.
	// +kubebuilder:validation:MinItems=1
	// +kubebuilder:validation:MaxItems=20
	// +listType=atomic
	Objects []ObjectName `json:"objects"`
	// Reason is for whoever reads the trail later.
	// +kubebuilder:validation:MinLength=10
	// +kubebuilder:validation:MaxLength=1024
	Reason string `json:"reason"`
	// ExpiresAt ends the exemption.
	ExpiresAt metav1.Time `json:"expiresAt"`
	// Actor is the one person exempted, who created the BreakGlass. The API server stamps it;
	// a claimed one is overwritten.
	// +optional
	Actor string `json:"actor,omitempty"`
}

// ObjectName names one object in a namespace.
type ObjectName struct {
	// Group is the API group; "" is the core group.
	// +optional
	Group string `json:"group"`
	// Resource is the plural resource name. For pods it means connections (exec, attach,
	// port-forward) and ephemeral containers; pods are never written by hand.
	// +kubebuilder:validation:Pattern=`^[a-z0-9]([-a-z0-9]*[a-z0-9])?$`
	Resource string `json:"resource"`
	// +kubebuilder:validation:Pattern=`^[a-z0-9]([-a-z0-9.]*[a-z0-9])?$`
	// +kubebuilder:validation:MaxLength=253
	Name string `json:"name"`
}

// BreakGlassPhase is one word for the state of an exemption.
//
// +kubebuilder:validation:Enum=Pending;Live;Ended;Revoked;Refused
type BreakGlassPhase string

const (
	// BreakGlassPending waits for a second person.
	BreakGlassPending BreakGlassPhase = "Pending"
	// BreakGlassLive exempts.
	BreakGlassLive BreakGlassPhase = "Live"
	// BreakGlassEnded has expired.
	BreakGlassEnded BreakGlassPhase = "Ended"
	// BreakGlassRevoked was ended by a person.
	BreakGlassRevoked BreakGlassPhase = "Revoked"
	// BreakGlassRefused does not exempt, since a Gate does not (or no longer) allow it.
	BreakGlassRefused BreakGlassPhase = "Refused"
)

// Over says whether the exemption has ended for good.
func (p BreakGlassPhase) Over() bool { return p == BreakGlassEnded || p == BreakGlassRevoked }

// BreakGlassUse is one request that was let through.
type BreakGlassUse struct {
	Time metav1.Time `json:"time"`
	// Request is the UID of the request in the API server's audit log.
	Request types.UID `json:"request,omitempty"`
	// Operation is CREATE, UPDATE, DELETE or CONNECT.
	Operation   string     `json:"operation"`
	Object      ObjectName `json:"object"`
	SubResource string     `json:"subResource,omitempty"`
	User        string     `json:"user"`
	// Release is the one that manages the object, if any.
	Release string `json:"release,omitempty"`
}

// BreakGlassStatus is written by Tidegate.
type BreakGlassStatus struct {
	ObservedGeneration int64           `json:"observedGeneration,omitempty"`
	Phase              BreakGlassPhase `json:"phase,omitempty"`
	// Message says in a sentence why the phase is what it is.
	Message string `json:"message,omitempty"`
	// ApprovedBy is who approved it, and ApprovedAt when.
	// +optional
	ApprovedBy string `json:"approvedBy,omitempty"`
	// +optional
	ApprovedAt *metav1.Time `json:"approvedAt,omitempty"`
	// Afterwards is what the Gates say becomes of what was changed.
	// +optional
	Afterwards BreakGlassAfterwards `json:"afterwards,omitempty"`
	// EndedAt is when it ended: its expiry, or when it was revoked.
	// +optional
	EndedAt *metav1.Time `json:"endedAt,omitempty"`
	// UseCount counts the requests that were let through, or would have been had nothing else
	// refused them. Uses has the latest of them; each is recorded before it is let through.
	// +optional
	UseCount int64 `json:"useCount,omitempty"`
	// +kubebuilder:validation:MaxItems=50
	// +listType=atomic
	// +optional
	Uses []BreakGlassUse `json:"uses,omitempty"`
	// Announced is how many of the uses have been made events.
	// +optional
	Announced int64 `json:"announced,omitempty"`
	// +listType=map
	// +listMapKey=type
	Conditions []metav1.Condition `json:"conditions,omitempty"`
}

// BreakGlassList is a list of BreakGlasses.
//
// +kubebuilder:object:root=true
type BreakGlassList struct {
	metav1.TypeMeta `json:",inline"`
	metav1.ListMeta `json:"metadata,omitempty"`
	Items           []BreakGlass `json:"items"`
}

// BreakGlassAction is what a person decides about an exemption.
//
// +kubebuilder:validation:Enum=approve;revoke
type BreakGlassAction string

const (
	// BreakGlassApprove is the second person's consent.
	BreakGlassApprove BreakGlassAction = "approve"
	// BreakGlassRevoke ends the exemption at once.
	BreakGlassRevoke BreakGlassAction = "revoke"
)

// BreakGlassCommand is one person's decision about one BreakGlass. It never changes; all of
// them together are the audit trail.
//
// +kubebuilder:object:root=true
// +kubebuilder:resource:shortName=bgcmd,categories=tidegate
// +kubebuilder:printcolumn:name="BreakGlass",type=string,JSONPath=`.spec.breakGlass`
// +kubebuilder:printcolumn:name="Action",type=string,JSONPath=`.spec.action`
// +kubebuilder:printcolumn:name="Actor",type=string,JSONPath=`.spec.actor`
// +kubebuilder:printcolumn:name="Reason",type=string,JSONPath=`.spec.reason`
// +kubebuilder:printcolumn:name="Age",type=date,JSONPath=`.metadata.creationTimestamp`
type BreakGlassCommand struct {
	metav1.TypeMeta   `json:",inline"`
	metav1.ObjectMeta `json:"metadata,omitempty"`

	// +kubebuilder:validation:XValidation:rule="self == oldSelf",message="a BreakGlassCommand never changes; create another one"
	Spec BreakGlassCommandSpec `json:"spec"`
}

// BreakGlassCommandSpec is the decision.
type BreakGlassCommandSpec struct {
	// BreakGlass is the name of the BreakGlass in the same namespace.
	// +kubebuilder:validation:MinLength=1
	BreakGlass string `json:"breakGlass"`
	// UID is that of the BreakGlass, so that a decision about one is none about another one
	// that has its name later.
	UID    types.UID        `json:"uid"`
	Action BreakGlassAction `json:"action"`
	// Actor is the user name of who created the command. The API server stamps it; a claimed
	// one is overwritten.
	// +optional
	Actor string `json:"actor,omitempty"`
	// Reason is for whoever reads the trail later.
	// +kubebuilder:validation:MaxLength=1024
	// +optional
	Reason string `json:"reason,omitempty"`
}

// BreakGlassCommandList is a list of BreakGlassCommands.
//
// +kubebuilder:object:root=true
type BreakGlassCommandList struct {
	metav1.TypeMeta `json:",inline"`
	metav1.ListMeta `json:"metadata,omitempty"`
	Items           []BreakGlassCommand `json:"items"`
}
