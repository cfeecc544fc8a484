// Package templatepins is a shipped policy: which Releases may pin a template revision, and
// which channels they may follow. README.md describes its parameters.
package templatepins

import (
	_ "embed"

	"tidegate.io/tidegate/policies/eval"
	"tidegate.io/tidegate/schemas/v1alpha1"
)

//go:embed template_pins.rego
var source string

// Name is the usual name of the DeployPolicy.
const Name = "template-pins"

// ReasonTemplatePin is the code of the policy's denials.
const ReasonTemplatePin = "TG-TEMPLATE-PIN"

// Source returns the policy with its parameters, a JSON object.
func Source(parameters []byte) eval.Source {
	return eval.Source{
		Name:       Name,
		Rego:       source,
		Parameters: parameters,
		At:         []v1alpha1.PolicyMoment{v1alpha1.AtRelease},
	}
}
