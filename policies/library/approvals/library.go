// Package approvals is a shipped policy about promotion. README.md describes what it asks for
// and its parameters.
package approvals

import (
	_ "embed"

	"tidegate.io/tidegate/policies/eval"
	"tidegate.io/tidegate/schemas/v1alpha1"
)

//go:embed approvals.rego
var source string

// Name is the usual name of the DeployPolicy.
const Name = "approvals"

// ReasonApprovalMissing is the code of the policy's denials.
const ReasonApprovalMissing = "TG-APPROVAL-MISSING"

// Source returns the policy with its parameters, a JSON object.
func Source(parameters []byte) eval.Source {
	return eval.Source{
		Name:       Name,
		Rego:       source,
		Parameters: parameters,
		At:         []v1alpha1.PolicyMoment{v1alpha1.AtPromotion},
	}
}
