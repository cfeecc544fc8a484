package audit

import (
	"context"
	"encoding/json"
	"fmt"
	"maps"
	"slices"
	"strings"

	"tidegate.io/tidegate/policies/eval"
	"tidegate.io/tidegate/policies/eval/gatekeeper"
	"tidegate.io/tidegate/schemas/secret"
	"tidegate.io/tidegate/schemas/v1alpha1"
)

// Subject is an object that policies are asked about.
type Subject struct {
	Object Object
	// Group, Version and Resource say what the object is.
	Group, Version, Resource string
	// Raw is the object in JSON.
	Raw json.RawMessage
	// Namespace is where it is; nil for what is in none.
	Namespace *eval.Namespace
	// About is what policies are told about the Release that the object belongs to, as where
	// a Release is judged: see package impact. Nil where it belongs to none.
	About map[string]any
	// Template is the template of that Release; empty for none.
	Template string
	// Mask hides the sensitive values of that Release.
	Mask secret.Mask
}

// Judge asks the policies about an object as though somebody made it now, who is nobody: at
// admission, and, where it belongs to a Release, at release too.
func Judge(ctx context.Context, set *eval.Set, s Subject) []Finding {
	request := eval.Request{
		Kind:      eval.GroupKind{Group: s.Group, Version: s.Version, Kind: s.Object.Kind},
		Resource:  eval.GroupResource{Group: s.Group, Version: s.Version, Resource: s.Resource},
		Name:      s.Object.Name,
		Namespace: s.Object.Namespace,
		Operation: "CREATE",
		Object:    s.Raw,
	}
	template := func() (string, bool) { return s.Template, true }
	v := set.Judge(ctx, eval.AdmissionQuestion(request, s.Namespace, template, nil))
	if s.About != nil && set.Asks(v1alpha1.AtRelease) {
		v.Add(set.Judge(ctx, atRelease(request, s)))
	}
	return Sorted(s.findings(v))
}

// atRelease is the question that is asked where a Release is judged.
func atRelease(request eval.Request, s Subject) eval.Question {
	request.Resource = eval.GroupResource{}
	return eval.Question{
		Moment: v1alpha1.AtRelease, Group: s.Group, Kind: s.Object.Kind, Namespace: s.Object.Namespace, Operation: request.Operation,
		Load: func() (eval.Input, error) {
			in, err := eval.RequestInput(v1alpha1.AtRelease, request)
			for _, key := range slices.Sorted(maps.Keys(s.About)) {
				if err == nil {
					in, err = in.With(key, s.About[key])
				}
			}
			return in, err
		},
	}
}

func (s Subject) findings(v eval.Verdict) []Finding {
	var out []Finding
	for _, part := range []struct {
		enforcement v1alpha1.Enforcement
		result      Result
		list        []eval.Violation
	}{
		{v1alpha1.EnforcementDeny, Fail, v.Denials},
		{v1alpha1.EnforcementWarn, Warn, v.Warnings},
		{v1alpha1.EnforcementDryrun, Warn, v.Dryrun},
	} {
		for _, found := range part.list {
			f := Finding{
				Object: s.Object, Policy: found.Policy, Code: found.Code, Enforcement: part.enforcement, Result: part.result,
				Message: s.Mask.Text(found.Message), Fix: s.Mask.Text(found.Fix),
			}
			if found.Code == eval.ReasonPolicyError || found.Code == eval.ReasonPolicyBudget {
				f.Result = Errored
			}
			out = append(out, f)
		}
	}
	return out
}

// Codes of what constraints find; the webhook has the same.
const (
	reasonConstraint      = "TG-GATEKEEPER-DENY"
	reasonConstraintError = "TG-GATEKEEPER-ERROR"
)

// OfConstraint says whether it is a finding of one of Gatekeeper's constraints.
func (f Finding) OfConstraint() bool {
	return (f.Code == reasonConstraint || f.Code == reasonConstraintError) && strings.Contains(f.Policy, "/") // no DeployPolicy has such a name
}

// maxMessage is how long the message of a constraint may be, in bytes, as that of a
// DeployPolicy. The API server would refuse a report with one of a megabyte.
const maxMessage = 8 << 10

func short(message string) string {
	if len(message) <= maxMessage {
		return message
	}
	return strings.ToValidUTF8(message[:maxMessage], "") + "..."
}

// OfConstraints are the findings of Gatekeeper's constraints.
func OfConstraints(s Subject, violations []gatekeeper.Violation) []Finding {
	var out []Finding
	for _, v := range violations {
		f := Finding{
			Object: s.Object, Policy: v.Constraint.String(), Code: reasonConstraint, Message: short(s.Mask.Text(v.Message)), Result: Warn,
			Fix: fmt.Sprintf("change the object; what is wanted says: kubectl get %s.%s %s -o yaml", strings.ToLower(v.Constraint.Kind), gatekeeper.ConstraintGroup, v.Constraint.Name),
		}
		switch {
		case v.Is(gatekeeper.ActionDeny):
			f.Result, f.Enforcement = Fail, v1alpha1.EnforcementDeny
		case v.Is(gatekeeper.ActionWarn):
			f.Enforcement = v1alpha1.EnforcementWarn
		default:
			f.Enforcement = v1alpha1.EnforcementDryrun
		}
		if v.Failed {
			f.Code, f.Result = reasonConstraintError, Errored
		}
		out = append(out, f)
	}
	return Sorted(out)
}
