// Package audit says what policies have against objects that exist already, and which of
// them came around the gate; and it makes the reports that this is written down in. It is
// pure: who lists the objects, and who writes the reports, is package webhook/audit.
package audit

import (
	"cmp"
	"slices"

	"tidegate.io/tidegate/schemas/v1alpha1"
)

// Codes of what the audit itself finds. What policies find has the codes of the policies.
const (
	// ReasonUnmanaged is: a governed object that no Rollout stands behind.
	ReasonUnmanaged = "TG-AUDIT-UNMANAGED"
	// ReasonOlder is the same of an object that is older than every Gate over it.
	ReasonOlder = "TG-AUDIT-OLDER"
	// ReasonDrift is: a workload of a Release is not as its Rollout renders it.
	ReasonDrift = "TG-AUDIT-DRIFT"
	// ReasonStaticPod is: a pod that a kubelet runs by a file on its node.
	ReasonStaticPod = "TG-AUDIT-STATIC-POD"
	// ReasonPodOwner is: a pod, or what makes pods, that comes from no managed workload.
	ReasonPodOwner = "TG-AUDIT-POD-OWNER"
	// ReasonIncomplete is: something could not be looked at, so nothing is known about it.
	ReasonIncomplete = "TG-AUDIT-INCOMPLETE"
)

// Result is what a finding amounts to, in the words of the report formats.
type Result string

const (
	// Fail is: it would be refused, or it went around the gate.
	Fail Result = "fail"
	// Warn is: it would pass with a warning, or be counted only.
	Warn Result = "warn"
	// Errored is: it could not be judged.
	Errored Result = "error"
)

// Results are all of them, the worst first.
func Results() []Result { return []Result{Fail, Errored, Warn} }

// Object is what a finding is about.
type Object struct {
	APIVersion string `json:"apiVersion"`
	Kind       string `json:"kind"`
	Namespace  string `json:"namespace,omitempty"`
	Name       string `json:"name"`
	UID        string `json:"uid,omitempty"`
}

// Finding is one thing that was found about one object.
type Finding struct {
	Object Object `json:"object"`
	// Policy is the DeployPolicy, or the constraint as Kind/name; empty where it is the audit
	// itself that objects.
	Policy string `json:"policy,omitempty"`
	Code   string `json:"code"`
	// Message says what was wanted and what was found.
	Message string `json:"message"`
	// Fix says what to do; may be empty.
	Fix    string `json:"fix,omitempty"`
	Result Result `json:"result"`
	// Enforcement is what the same would lead to at admission; empty where no policy objects.
	Enforcement v1alpha1.Enforcement `json:"enforcement,omitempty"`
}

// Compare orders findings: by object, then by who objects to what.
func Compare(a, b Finding) int {
	return cmp.Or(
		cmp.Compare(a.Object.Namespace, b.Object.Namespace),
		cmp.Compare(a.Object.APIVersion, b.Object.APIVersion),
		cmp.Compare(a.Object.Kind, b.Object.Kind),
		cmp.Compare(a.Object.Name, b.Object.Name),
		cmp.Compare(a.Policy, b.Policy),
		cmp.Compare(a.Code, b.Code),
		cmp.Compare(a.Message, b.Message),
		cmp.Compare(a.Fix, b.Fix),
		cmp.Compare(a.Result, b.Result),
		cmp.Compare(a.Enforcement, b.Enforcement),
	)
}

// Sorted is the list in order, each finding once. A policy that is asked at two moments says
// the same thing twice.
func Sorted(list []Finding) []Finding {
	slices.SortFunc(list, Compare)
	return slices.Compact(list)
}
