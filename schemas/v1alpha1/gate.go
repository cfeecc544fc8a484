package v1alpha1

import metav1 "k8s.io/apimachinery/pkg/apis/meta/v1"

// Gate says what is governed: which namespaces, which kinds, who may write there and
// what is allowed besides. Governance is keyed by this cluster-scoped object, never by
// something that its subject can change.
//
// +kubebuilder:object:root=true
// +kubebuilder:subresource:status
// +kubebuilder:resource:scope=Cluster,categories=tidegate
// +kubebuilder:printcolumn:name="Namespaces",type=string,JSONPath=`.status.namespaces`
// +kubebuilder:printcolumn:name="Ready",type=string,JSONPath=`.status.conditions[?(@.type=="Ready")].status`
// +kubebuilder:printcolumn:name="Message",type=string,JSONPath=`.status.conditions[?(@.type=="Ready")].message`
// +kubebuilder:printcolumn:name="Age",type=date,JSONPath=`.metadata.creationTimestamp`
// +kubebuilder:validation:XValidation:rule="self.metadata.name.size() <= 40",message="the name of a Gate may have at most 40 characters, since the names of admission objects are made from it"
type Gate struct {
	metav1.TypeMeta   `json:",inline"`
	metav1.ObjectMeta `json:"metadata,omitempty"`

	Spec GateSpec `json:"spec"`
	// +default={"observedGeneration":-1}
	Status GateStatus `json:"status,omitempty"`
}

// GateSpec is what a platform team writes.
type GateSpec struct {
	// Namespaces says which namespaces are governed.
	Namespaces NamespaceScope `json:"namespaces"`
	// Kinds lists what is governed besides the default (see DefaultGovernedKinds).
	// +listType=atomic
	// +optional
	Kinds []GovernedKind `json:"kinds,omitempty"`
	// Writers are the exact user names, besides Tidegate's own and those of the built-in
	// controllers, that may write governed kinds: a node agent, a scheduler of one's own.
	// +listType=set
	// +optional
	Writers []string `json:"writers,omitempty"`
	// Allow says what else is let through.
	// +optional
	Allow Allowances `json:"allow,omitempty"`
	// Mutators lists what mutating webhooks of others may change in the workloads that
	// Tidegate writes. Everything else must be as rendered.
	// +listType=atomic
	// +kubebuilder:validation:MaxItems=50
	// +optional
	Mutators []Mutator `json:"mutators,omitempty"`
	// BreakGlass says who may be exempted from the managed flow for a time. Absent: nobody.
	// +optional
	BreakGlass *BreakGlassRule `json:"breakGlass,omitempty"`
}

// Mutator is what may differ from what was rendered.
type Mutator struct {
	// Kind of the workload, such as Deployment; * is any.
	// +kubebuilder:validation:MinLength=1
	Kind string `json:"kind"`
	// Paths such as spec.template.metadata.annotations or
	// spec.template.spec.containers[*].env; what is below a path is free too. [*] stands for
	// any place in a list.
	// +listType=set
	// +kubebuilder:validation:MinItems=1
	// +kubebuilder:validation:items:Pattern=`^spec(\.[A-Za-z0-9_/-]+|\[([0-9]+|\*)\])+$`
	Paths []string `json:"paths"`
}

// NamespaceScope selects namespaces; a namespace is governed when any part selects it.
// Tidegate's own namespace and kube-* namespaces are never governed.
//
// +kubebuilder:validation:XValidation:rule="(has(self.names) && self.names.size() > 0) || (has(self.patterns) && self.patterns.size() > 0) || has(self.selector)",message="select namespaces by names, patterns or selector; an empty Gate would govern nothing"
type NamespaceScope struct {
	// Names lists namespaces.
	// +listType=set
	// +kubebuilder:validation:MaxItems=500
	// +kubebuilder:validation:items:Pattern=`^[a-z0-9]([-a-z0-9]*[a-z0-9])?$`
	// +optional
	Names []string `json:"names,omitempty"`
	// Patterns lists names in which * stands for any characters, such as team-*.
	// +listType=set
	// +kubebuilder:validation:MaxItems=50
	// +kubebuilder:validation:items:Pattern=`^[-a-z0-9*]*[a-z0-9][-a-z0-9*]*$`
	// +optional
	Patterns []string `json:"patterns,omitempty"`
	// Selector selects by the labels of the Namespace. A namespace that was selected once
	// stays governed, and is listed in the status, when its labels change, and when it is
	// deleted and one of the same name is made.
	// +optional
	Selector *metav1.LabelSelector `json:"selector,omitempty"`
	// Forget lists namespaces that the selector chose once and that are to be governed only
	// while it chooses them.
	// +listType=set
	// +kubebuilder:validation:MaxItems=500
	// +optional
	Forget []string `json:"forget,omitempty"`
}

// GovernedKind is one API group with some of its resources.
type GovernedKind struct {
	// Group is the API group; "" is the core group.
	Group string `json:"group"`
	// Resources lists plural resource names.
	// +kubebuilder:validation:MinItems=1
	// +listType=set
	Resources []string `json:"resources"`
}

// Allowances says what people and other controllers may do to governed objects.
type Allowances struct {
	// Eviction lets pods be evicted, as kubectl drain does. Default true.
	// +kubebuilder:default=true
	// +optional
	Eviction *bool `json:"eviction,omitempty"`
	// Exec lists user names that may exec, attach and port-forward into pods.
	// +listType=set
	// +optional
	Exec []string `json:"exec,omitempty"`
	// Debug lists user names that may add ephemeral containers.
	// +listType=set
	// +optional
	Debug []string `json:"debug,omitempty"`
	// Autoscalers lists user names that may write the scale subresource. The size that they
	// set stays where the template renders an autoscaler for the workload; elsewhere it is
	// set back to the one that the Release says.
	// +listType=set
	// +optional
	Autoscalers []string `json:"autoscalers,omitempty"`
	// Gateways lists the user names of gateway and ingress controllers. Where it lists any,
	// they alone write the status of routes and Ingresses, from which Tidegate reads whether
	// a route was accepted; where it is empty, whoever has the right by RBAC does.
	// +listType=set
	// +optional
	Gateways []string `json:"gateways,omitempty"`
}

// GateStatus is written by Tidegate.
type GateStatus struct {
	ObservedGeneration int64 `json:"observedGeneration,omitempty"`
	// Namespaces lists the existing namespaces that are governed by this Gate.
	// +listType=set
	// +optional
	Namespaces []string `json:"namespaces,omitempty"`
	// Selected lists the namespaces that the selector chose, now or once. They stay governed
	// when their labels change and when they are made anew, until the Gate no longer has a
	// selector or forgets them.
	// +listType=set
	// +optional
	Selected []string `json:"selected,omitempty"`
	// +listType=map
	// +listMapKey=type
	Conditions []metav1.Condition `json:"conditions,omitempty"`
}

// GateList is a list of Gates.
//
// +kubebuilder:object:root=true
type GateList struct {
	metav1.TypeMeta `json:",inline"`
	metav1.ListMeta `json:"metadata,omitempty"`
	Items           []Gate `json:"items"`
}
