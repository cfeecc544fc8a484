// Package maxdeployments is a shipped policy about promotion. README.md describes what it asks for
// and its parameters.
package maxdeployments

import (
	_ "embed"

	"tidegate.io/tidegate/policies/eval"
	"tidegate.io/tidegate/schemas/v1alpha1"
)

//go:embed max_deployments.rego
var source string

// Name is the usual name of the DeployPolicy.
const Name = "max-deployments"

// ReasonMaxDeployments is the code of the policy's denials.
const ReasonMaxDeployments = "TG-MAX-DEPLOYMENTS"

// Source returns the policy with its parameters, a JSON object.
func Source(parameters []byte) eval.Source {
	return eval.Source{
		Name:       Name,
		Rego:       source,
		Parameters: parameters,
		At:         []v1alpha1.PolicyMoment{v1alpha1.AtPromotion},
	}
}
