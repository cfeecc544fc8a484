// Package v1alpha1 holds the API types of group tidegate.io: what a platform team
// writes (ReleaseTemplate, DeployPolicy, MetricSource, Gate), what a service team
// writes (Release), what Tidegate records (TemplateRevision, Rollout) and what people
// decide later (RolloutCommand, TemplateCommand, BreakGlass,
// BreakGlassCommand).
//
// Conditions follow kstatus: Ready, Reconciling and Stalled, the last two never
// together. Every status carries observedGeneration, which the API server defaults to
// -1, because an object without status would read as current.
//
// +kubebuilder:object:generate=true
// +groupName=tidegate.io
package v1alpha1

import (
	metav1 "k8s.io/apimachinery/pkg/apis/meta/v1"
	"k8s.io/apimachinery/pkg/runtime"
	"k8s.io/apimachinery/pkg/runtime/schema"
)

// GroupVersion is the group and version of every type in this package.
var GroupVersion = schema.GroupVersion{Group: "tidegate.io", Version: "v1alpha1"}

// SchemeBuilder collects the functions that add this package's types to a scheme.
var SchemeBuilder = runtime.NewSchemeBuilder(addKnownTypes)

// AddToScheme adds the types of this package to a scheme.
var AddToScheme = SchemeBuilder.AddToScheme

func addKnownTypes(s *runtime.Scheme) error {
	s.AddKnownTypes(GroupVersion,
		&ReleaseTemplate{}, &ReleaseTemplateList{},
		&TemplateRevision{}, &TemplateRevisionList{},
		&Release{}, &ReleaseList{},
		&Rollout{}, &RolloutList{},
		&RolloutCommand{}, &RolloutCommandList{},
		&TemplateCommand{}, &TemplateCommandList{},
		&DeployPolicy{}, &DeployPolicyList{},
		&BreakGlass{}, &BreakGlassList{},
		&BreakGlassCommand{}, &BreakGlassCommandList{},
		&Gate{}, &GateList{},
		&MetricSource{}, &MetricSourceList{},
	)
	metav1.AddToGroupVersion(s, GroupVersion)
	return nil
}
