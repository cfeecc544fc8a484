package v1alpha1

import (
	metav1 "k8s.io/apimachinery/pkg/apis/meta/v1"
	"k8s.io/apimachinery/pkg/runtime"
)

// DeployPolicy is a set of rules, in Rego or in CUE, that objects, Releases or rises of
// exposure in governed namespaces must satisfy. It takes effect as a whole: when it
// compiles, its parameters fit their schema and its own tests pass. Otherwise the last
// version of which that was true stays in force.
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

// RegoVersion says how Rego is read.
//
// +kubebuilder:validation:Enum=v1;v0
type RegoVersion string

const (
	// RegoV1 is today's Rego: contains, if, and no imports of rego.v1 or future.keywords.
	RegoV1 RegoVersion = "v1"
	// RegoV0 is the Rego of before OPA 1.0: violation[{"msg": msg}] { ... }.
	RegoV0 RegoVersion = "v0"
)

// DeployPolicySpec is what a platform team writes.
//
// +kubebuilder:validation:XValidation:rule="has(self.rego) != has(self.cue)",message="wanted exactly one of rego and cue"
// +kubebuilder:validation:XValidation:rule="!has(self.cue) || !(has(self.libs) || (has(self.tests) && has(self.tests.rego)))",message="libs and tests.rego go with rego, not with cue"
type DeployPolicySpec struct {
	// Rego is one Rego module. Its package may have the partial-set rules deny, warn
	// and violation; an element is a string, or an object with msg, code, fix and details,
	// and at promotion with until (RFC 3339) or retryAfter (such as 30m), which say when to
	// ask again.
	// +kubebuilder:validation:MinLength=1
	// +kubebuilder:validation:MaxLength=131072
	// +optional
	Rego string `json:"rego,omitempty"`
	// RegoVersion is that of rego, libs and tests.rego.
	// +kubebuilder:default=v1
	// +optional
	RegoVersion RegoVersion `json:"regoVersion,omitempty"`
	// Libs are Rego modules that rego imports; the package of each begins with lib.
	// +kubebuilder:validation:MaxItems=32
	// +kubebuilder:validation:items:MaxLength=131072
	// +listType=atomic
	// +optional
	Libs []string `json:"libs,omitempty"`
	// Cue is CUE that says what a matching object looks like: the object is unified with
	// the field object, and each conflict is a violation. The field warn is the same, for
	// warnings. Both may refer to the field input, which has parameters, request and
	// whatever else the moment knows.
	// +kubebuilder:validation:MinLength=1
	// +kubebuilder:validation:MaxLength=131072
	// +optional
	Cue string `json:"cue,omitempty"`
	// Enforcement says what a violation leads to, wherever enforcementIn says nothing else.
	// +kubebuilder:default=deny
	Enforcement Enforcement `json:"enforcement,omitempty"`
	// EnforcementIn says it for some namespaces; the first that matches counts.
	// +kubebuilder:validation:MaxItems=64
	// +listType=atomic
	// +optional
	EnforcementIn []NamespaceEnforcement `json:"enforcementIn,omitempty"`
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
	// ParametersSchema is an OpenAPI v3 schema, as a CustomResourceDefinition has it.
	// Parameters must fit it, and get its defaults.
	// +kubebuilder:pruning:PreserveUnknownFields
	// +kubebuilder:validation:Type=object
	// +optional
	ParametersSchema *runtime.RawExtension `json:"parametersSchema,omitempty"`
	// Tests must pass before the policy takes effect.
	// +optional
	Tests *PolicyTests `json:"tests,omitempty"`
}

// NamespaceEnforcement is the enforcement in some namespaces.
type NamespaceEnforcement struct {
	// Namespaces lists names; a trailing or leading * is a wildcard.
	// +kubebuilder:validation:MinItems=1
	// +kubebuilder:validation:MaxItems=256
	// +kubebuilder:validation:items:MinLength=1
	// +kubebuilder:validation:items:Pattern=`^\*?[a-z0-9-]*\*?$`
	// +listType=set
	Namespaces []string `json:"namespaces"`
	// Enforcement says what a violation leads to there.
	Enforcement Enforcement `json:"enforcement"`
}

// PolicyTests are the tests that a policy brings along.
type PolicyTests struct {
	// Rego are modules with rules whose names begin with test_; they refer to the policy by
	// its package.
	// +kubebuilder:validation:MaxItems=32
	// +kubebuilder:validation:items:MaxLength=131072
	// +listType=atomic
	// +optional
	Rego []string `json:"rego,omitempty"`
	// Cases are inputs and what the policy has to say about them.
	// +kubebuilder:validation:MaxItems=256
	// +listType=map
	// +listMapKey=name
	// +optional
	Cases []PolicyCase `json:"cases,omitempty"`
}

// PolicyOutcome is what a policy says about an input, whatever its enforcement.
//
// +kubebuilder:validation:Enum=allowed;denied;warned
type PolicyOutcome string

const (
	// OutcomeAllowed is: no violation and no warning.
	OutcomeAllowed PolicyOutcome = "allowed"
	// OutcomeDenied is: at least one violation.
	OutcomeDenied PolicyOutcome = "denied"
	// OutcomeWarned is: no violation, and at least one warning.
	OutcomeWarned PolicyOutcome = "warned"
)

// PolicyCase is one input and what the policy has to say about it.
//
// +kubebuilder:validation:XValidation:rule="has(self.object) != has(self.input)",message="wanted exactly one of object and input"
type PolicyCase struct {
	// Name says what the case shows.
	// +kubebuilder:validation:MinLength=1
	// +kubebuilder:validation:MaxLength=253
	Name string `json:"name"`
	// Object is what is judged, as if it were created at the first moment of the policy.
	// +kubebuilder:pruning:PreserveUnknownFields
	// +kubebuilder:validation:Type=object
	// +optional
	Object *runtime.RawExtension `json:"object,omitempty"`
	// Input is the whole input instead, parameters aside.
	// +kubebuilder:pruning:PreserveUnknownFields
	// +kubebuilder:validation:Type=object
	// +optional
	Input *runtime.RawExtension `json:"input,omitempty"`
	// Parameters take the place of spec.parameters.
	// +kubebuilder:pruning:PreserveUnknownFields
	// +kubebuilder:validation:Type=object
	// +optional
	Parameters *runtime.RawExtension `json:"parameters,omitempty"`
	// Want is the outcome.
	Want PolicyOutcome `json:"want"`
	// Message is a part of the message of at least one violation or warning.
	// +kubebuilder:validation:MaxLength=1024
	// +optional
	Message string `json:"message,omitempty"`
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
	// +kubebuilder:validation:items:MinLength=1
	// +kubebuilder:validation:items:Pattern=`^\*?[a-z0-9-]*\*?$`
	// +listType=set
	// +optional
	Namespaces []string `json:"namespaces,omitempty"`
	// ExcludedNamespaces lists names that do not match, written like namespaces.
	// +kubebuilder:validation:items:MinLength=1
	// +kubebuilder:validation:items:Pattern=`^\*?[a-z0-9-]*\*?$`
	// +listType=set
	// +optional
	ExcludedNamespaces []string `json:"excludedNamespaces,omitempty"`
	// NamespaceSelector chooses namespaces by their labels. What has no namespace does not
	// match; a namespace whose labels are not known does.
	// +optional
	NamespaceSelector *metav1.LabelSelector `json:"namespaceSelector,omitempty"`
	// LabelSelector chooses objects by their labels, as they are or as they were, so that
	// removing a label leaves no policy behind. At promotion the labels are the Release's.
	// +optional
	LabelSelector *metav1.LabelSelector `json:"labelSelector,omitempty"`
	// Names lists names of objects; a trailing or leading * is a wildcard. Of an object with
	// generateName it is matched against what the name can become. At promotion the name is
	// the Release's.
	// +kubebuilder:validation:items:MinLength=1
	// +kubebuilder:validation:items:Pattern=`^\*?[^*?/%\s]*\*?$`
	// +listType=set
	// +optional
	Names []string `json:"names,omitempty"`
	// Templates lists ReleaseTemplates; a trailing or leading * is a wildcard. An object
	// that belongs to no Release does not match.
	// +kubebuilder:validation:items:MinLength=1
	// +kubebuilder:validation:items:Pattern=`^\*?[a-z0-9.-]*\*?$`
	// +listType=set
	// +optional
	Templates []string `json:"templates,omitempty"`
	// Operations lists CREATE, UPDATE, DELETE, CONNECT; empty is all. Promotion is no
	// operation on an object, so nothing is narrowed there.
	// +kubebuilder:validation:items:Enum=CREATE;UPDATE;DELETE;CONNECT;"*"
	// +listType=set
	// +optional
	Operations []string `json:"operations,omitempty"`
}

// KindMatch is one API group with some of its kinds.
type KindMatch struct {
	// Group is the API group, without a version; "" is the core group, "*" all.
	// +kubebuilder:validation:Pattern=`^(\*|[a-z0-9.-]*)$`
	Group string `json:"group"`
	// Kinds lists kinds; "*" is all.
	// +kubebuilder:validation:MinItems=1
	// +kubebuilder:validation:items:Pattern=`^(\*|[A-Za-z][A-Za-z0-9-]*)$`
	// +listType=set
	Kinds []string `json:"kinds"`
}

// DeployPolicyStatus is written by Tidegate.
type DeployPolicyStatus struct {
	ObservedGeneration int64 `json:"observedGeneration,omitempty"`
	// +listType=map
	// +listMapKey=type
	Conditions []metav1.Condition `json:"conditions,omitempty"`
	// Serving says which version is in force on each replica of the manager.
	// +listType=map
	// +listMapKey=replica
	// +optional
	Serving []PolicyServing `json:"serving,omitempty"`
}

// PolicyServing is the version of a policy that one replica judges by.
type PolicyServing struct {
	// Replica is the name of the manager's pod.
	Replica string `json:"replica"`
	// Generation is the one in force; 0 where none ever took effect there, and then
	// whatever the policy matches is refused.
	Generation int64 `json:"generation"`
	// Digest is the SHA-256 of the source in force, such as sha256:0a1b...; empty where there
	// is none.
	// +optional
	Digest string `json:"digest,omitempty"`
	// Seen is the newest generation that the replica looked at. Where it is above
	// generation, that one did not take effect.
	Seen int64 `json:"seen"`
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
	// Queries are asked before exposure of any Release rises, and told to the policies about
	// promotion as input.measurements["SOURCE/QUERY"].
	// +listType=map
	// +listMapKey=name
	// +kubebuilder:validation:MaxItems=10
	// +optional
	Queries []MetricQuery `json:"queries,omitempty"`
}

// MetricQuery is a query with a name.
type MetricQuery struct {
	// +kubebuilder:validation:Pattern=`^[a-z0-9]([-a-z0-9]*[a-z0-9])?$`
	Name string `json:"name"`
	// Query is PromQL for one number. $namespace and $release are those of the Release.
	// +kubebuilder:validation:MinLength=1
	// +kubebuilder:validation:MaxLength=4096
	Query string `json:"query"`
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
