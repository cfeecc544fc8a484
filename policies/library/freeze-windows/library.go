// Package freezewindows is a shipped policy: exposure does not rise in times that the
// platform team closes. README.md describes its parameters.
package freezewindows

import (
	_ "embed"

	"tidegate.io/tidegate/policies/eval"
	"tidegate.io/tidegate/schemas/v1alpha1"
)

//go:embed freeze_windows.rego
var source string

// Name is the usual name of the DeployPolicy.
const Name = "freeze-windows"

// ReasonFreezeWindow is the code of the policy's denials.
const ReasonFreezeWindow = "TG-FREEZE-WINDOW"

// Source returns the policy with its parameters, a JSON object.
func Source(parameters []byte) eval.Source {
	return eval.Source{
		Name:       Name,
		Rego:       source,
		Parameters: parameters,
		At:         []v1alpha1.PolicyMoment{v1alpha1.AtPromotion},
	}
}
