// Package managedflow is the policy at the heart of the gate: only the managed flow
// writes what is governed. README.md describes its input.
package managedflow

import (
	_ "embed"
	"fmt"

	"tidegate.io/tidegate/policies/eval"
)

//go:embed managed_flow.rego
var source string

// Name is what the policy is called in verdicts.
const Name = "managed-flow"

// ReasonBypass is the code of the policy's denials.
const ReasonBypass = "TG-GATE-BYPASS"

// Scope says when an object of a kind is governed.
type Scope string

const (
	// ScopeAlways is: every object of the kind.
	ScopeAlways Scope = "always"
	// ScopeLabelled is: objects that carry the label tidegate.io/release, before or after.
	ScopeLabelled Scope = "labelled"
)

// Gate is what the policy is told about a Gate.
type Gate struct {
	Name string `json:"name"`
	// Writers are exact user names, Tidegate's own among them.
	Writers []string `json:"writers"`
	Allow   Allow    `json:"allow"`
}

// Allow is what the Gate lets through besides.
type Allow struct {
	// Autoscalers are exact user names that may write the scale subresource.
	Autoscalers []string `json:"autoscalers"`
}

// Facts is what the policy is told besides the request.
type Facts struct {
	Gate Gate
	// Controllers are the exact user names of the built-in controllers whose work the
	// operation on the resource is.
	Controllers []string
	Scope       Scope
	// Release is the name of the Release that manages the object, or empty. It is used in
	// messages only.
	Release string
}

// Compile returns the policy.
func Compile() (*eval.Policy, error) {
	return eval.Compile(eval.Source{Name: Name, Rego: source})
}

// Extend adds the facts to an input that has the request already.
func (f Facts) Extend(in eval.Input) (eval.Input, error) {
	values := []struct {
		key   string
		value any
	}{
		{"gate", f.Gate},
		{"controllers", append([]string{}, f.Controllers...)},
		{"scope", string(f.Scope)},
		{"owner", map[string]any{"release": f.Release}},
	}
	for _, v := range values {
		var err error
		if in, err = in.With(v.key, v.value); err != nil {
			return eval.Input{}, fmt.Errorf("telling policy %s the facts: %w", Name, err)
		}
	}
	return in, nil
}
