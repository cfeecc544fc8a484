// Package imageregistries is a shipped policy: every container image comes from a listed
// registry. README.md describes its parameters.
package imageregistries

import (
	_ "embed"

	"tidegate.io/tidegate/policies/eval"
	"tidegate.io/tidegate/schemas/v1alpha1"
)

//go:embed image_registries.rego
var source string

// Name is the usual name of the DeployPolicy.
const Name = "image-registries"

// ReasonImageRegistry is the code of the policy's denials.
const ReasonImageRegistry = "TG-IMAGE-REGISTRY"

// Source returns the policy with its parameters, a JSON object.
func Source(parameters []byte) eval.Source {
	return eval.Source{
		Name:       Name,
		Rego:       source,
		Parameters: parameters,
		At:         []v1alpha1.PolicyMoment{v1alpha1.AtAdmission, v1alpha1.AtRelease},
	}
}
