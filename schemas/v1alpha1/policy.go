package v1alpha1

import (
	metav1 "k8s.io/apimachinery/pkg/apis/meta/v1"
	"k8s.io/apimachinery/pkg/runtime"
)

// DeployPolicy is a set of Rego rules that objects or Releases in governed namespaces
// must satisfy.
//
// +kubebuilder:object:root=true
// +kubebuilder:subresource:status
// +kubebuilder:resource:scope=Cluster,shortName=dp,categories=tidegate
// +kubebuilder:printcolumn:name="Enforcement",type=string,JSONPath=`.spec.enforcement`
// +kubebuilder:printcolumn:name="At",type=string,JSONPath=`.spec.at`
// +kubebuilder:printcolumn:name="Ready",type=string,JSONPath=`.status.conditions[?(@.type=="Ready")].status`
// +kubebuilder:printcolumn:name="Message",type=string,JSONPath=`.status.conditions[?(@.type=="Ready")].message`
// +kubebuilder:printcolumn:name="Age",type=date,JSONPath=`.metadata.creationTimestamp`
type DeployPolicy struct {
	metav1.TypeMeta   `json:",inline"`
	metav1.ObjectMeta `json:"metadata,omitempty"`

	Spec DeployPolicySpec `json:"spec"`
	// +default={"observedGeneration":-1}
	Status DeployPolicyStatus `json:"status,omitempty"`
}

// Enforcement says what a violation leads to.
//
// +kubebuilder:validation:Enum=deny;warn;dryrun
type Enforcement string

const (
	// EnforcementDeny refuses the request.
	EnforcementDeny Enforcement = "deny"
	// EnforcementWarn admits the request and warns whoever made it.
	EnforcementWarn Enforcement = "warn"
	// EnforcementDryrun admits the request and only counts and logs the violation.
	EnforcementDryrun Enforcement = "dryrun"
)

// PolicyMoment says when a policy is asked.
//
// +kubebuilder:validation:Enum=admission;release;promotion
type PolicyMoment string

const (
	// AtAdmission asks about each raw object that is written in a governed namespace.
	AtAdmission PolicyMoment = "admission"
	// AtRelease asks about the objects that a Release renders, when it is applied.
	AtRelease PolicyMoment = "release"
	// AtPromotion asks before every rise of the exposure of a Rollout, and before every
	// Release that a template's sync brings to another revision. A violation holds, it
	// aborts nothing; what lowers exposure is never asked about.
	AtPromotion PolicyMoment = "promotion"
)

// DeployPolicySpec is what a platform team writes.
type DeployPolicySpec struct {
	// Rego is one Rego v1 module. Its package may have the partial-set rules deny, warn
	// and violation; an element is a string, or an object with msg, code, fix and details,
	// and at promotion with until (RFC 3339) or retryAfter (such as 30m), which say when to
	// ask again.
	// +kubebuilder:validation:MinLength=1
	// +kubebuilder:validation:MaxLength=131072
	Rego string `json:"rego"`
	// +kubebuilder:default=deny
	Enforcement Enforcement `json:"enforcement,omitempty"`
	// At lists the moments at which the policy is asked. It is not called "on", which YAML 1.1
	// reads as true.
	// +kubebuilder:default={admission}
	// +kubebuilder:validation:MinItems=1
	// +listType=set
	At []PolicyMoment `json:"at,omitempty"`
	// Match narrows what the policy is asked about; empty matches everything governed.
	// +optional
	Match PolicyMatch `json:"match,omitempty"`
	// Parameters are given to the rules as input.parameters.
	// +kubebuilder:pruning:PreserveUnknownFields
	// +kubebuilder:validation:Type=object
	// +optional
	Parameters *runtime.RawExtension `json:"parameters,omitempty"`
}

// PolicyMatch narrows what a policy is asked about. All parts given must match.
type PolicyMatch struct {
	// Kinds lists groups and kinds; "*" matches all. At promotion the kind is Rollout, or
	// ReleaseTemplate where a sync asks, both of group tidegate.io.
	// +listType=atomic
	// +optional
	Kinds []KindMatch `json:"kinds,omitempty"`
	// Namespaces lists names; a trailing or leading * is a wildcard. A sync has none, so a
	// policy with namespaces holds Rollouts there and no sync.
	// +listType=set
	// +optional
	Namespaces []string `json:"namespaces,omitempty"`
	// Operations lists CREATE, UPDATE, DELETE, CONNECT; empty is all. Promotion is no
	// operation on an object, so nothing is narrowed there.
	// +listType=set
	// +optional
	Operations []string `json:"operations,omitempty"`
}

// KindMatch is one API group with some of its kinds.
type KindMatch struct {
	// Group is the API group; "" is the core group, "*" all.
	Group string `json:"group"`
	// Kinds lists kinds; "*" is all.
	// +kubebuilder:validation:MinItems=1
	// +listType=set
	Kinds []string `json:"kinds"`
}

// DeployPolicyStatus is written by Tidegate.
type DeployPolicyStatus struct {
	ObservedGeneration int64 `json:"observedGeneration,omitempty"`
	// +listType=map
	// +listMapKey=type
	Conditions []metav1.Condition `json:"conditions,omitempty"`
}

// DeployPolicyList is a list of DeployPolicies.
//
// +kubebuilder:object:root=true
type DeployPolicyList struct {
	metav1.TypeMeta `json:",inline"`
	metav1.ListMeta `json:"metadata,omitempty"`
	Items           []DeployPolicy `json:"items"`
}

// MetricSource is a Prometheus that templates may name. Service teams cannot supply an
// address.
//
// +kubebuilder:object:root=true
// +kubebuilder:subresource:status
// +kubebuilder:resource:scope=Cluster,shortName=msrc,categories=tidegate
// +kubebuilder:printcolumn:name="Address",type=string,JSONPath=`.spec.prometheus.address`
// +kubebuilder:printcolumn:name="Ready",type=string,JSONPath=`.status.conditions[?(@.type=="Ready")].status`
// +kubebuilder:printcolumn:name="Message",type=string,JSONPath=`.status.conditions[?(@.type=="Ready")].message`
// +kubebuilder:printcolumn:name="Age",type=date,JSONPath=`.metadata.creationTimestamp`
type MetricSource struct {
	metav1.TypeMeta   `json:",inline"`
	metav1.ObjectMeta `json:"metadata,omitempty"`

	Spec MetricSourceSpec `json:"spec"`
	// +default={"observedGeneration":-1}
	Status MetricSourceStatus `json:"status,omitempty"`
}

// MetricSourceSpec is what a platform team writes.
type MetricSourceSpec struct {
	Prometheus PrometheusSource `json:"prometheus"`
}

// PrometheusSource is a server that speaks the Prometheus HTTP API.
type PrometheusSource struct {
	// Address is the base URL.
	// +kubebuilder:validation:Pattern=`^https?://[^\s]+$`
	Address string `json:"address"`
	// Timeout of one query. Default 5s.
	// +kubebuilder:default="5s"
	// +optional
	Timeout metav1.Duration `json:"timeout,omitempty"`
	// CABundle is PEM of the authorities that the server's certificate is checked with;
	// empty means the system's.
	// +optional
	CABundle []byte `json:"caBundle,omitempty"`
	// SecretName names a Secret in the manager's namespace with either a key token
	// (bearer) or the keys username and password.
	// +optional
	SecretName string `json:"secretName,omitempty"`
}

// MetricSourceStatus is written by Tidegate.
type MetricSourceStatus struct {
	ObservedGeneration int64 `json:"observedGeneration,omitempty"`
	// +listType=map
	// +listMapKey=type
	Conditions []metav1.Condition `json:"conditions,omitempty"`
}

// MetricSourceList is a list of MetricSources.
//
// +kubebuilder:object:root=true
type MetricSourceList struct {
	metav1.TypeMeta `json:",inline"`
	metav1.ListMeta `json:"metadata,omitempty"`
	Items           []MetricSource `json:"items"`
}
