package auditing

import (
	"context"
	"encoding/json"
	"errors"
	"fmt"
	"strings"
	"time"

	"k8s.io/apimachinery/pkg/api/equality"
	"k8s.io/apimachinery/pkg/apis/meta/v1/unstructured"
	"k8s.io/apimachinery/pkg/runtime/schema"
	"k8s.io/apimachinery/pkg/types"
	"sigs.k8s.io/controller-runtime/pkg/client"

	"tidegate.io/tidegate/policies/audit"
	"tidegate.io/tidegate/policies/eval/gatekeeper"
	"tidegate.io/tidegate/schemas/v1alpha1"
)

// maxExample bounds a message in the status of a constraint, in bytes.
const maxExample = 256

// WriteConstraints writes into the status of each of Gatekeeper's constraints what a run has
// found by it, in Gatekeeper's form. Where nothing has changed nothing is written, not even
// the time.
func (a *Auditor) WriteConstraints(ctx context.Context, t *Totals) error {
	if a.Constraints == nil {
		return nil
	}
	var problems []error
	for _, key := range a.Constraints.Set().Keys() {
		standing := t.Constraints[key.String()]
		if standing == nil {
			standing = &Standing{}
		}
		if err := a.writeConstraint(ctx, key, standing); client.IgnoreNotFound(err) != nil {
			problems = append(problems, fmt.Errorf("writing what the audit found by %s: %w", key, err))
		}
	}
	return errors.Join(problems...)
}

func (a *Auditor) writeConstraint(ctx context.Context, key gatekeeper.Key, s *Standing) error {
	u := &unstructured.Unstructured{}
	u.SetGroupVersionKind(schema.GroupVersionKind{Group: gatekeeper.ConstraintGroup, Version: "v1beta1", Kind: key.Kind})
	if err := a.Client.Get(ctx, client.ObjectKey{Name: key.Name}, u); err != nil {
		return err //nolint:wrapcheck // the caller says what for
	}
	violations := make([]any, 0, len(s.First))
	for _, f := range s.First {
		violations = append(violations, example(f))
	}
	status := map[string]any{"totalViolations": int64(s.Total), "violations": violations}
	total, told, _ := unstructured.NestedInt64(u.Object, "status", "totalViolations")
	was, _, _ := unstructured.NestedSlice(u.Object, "status", "violations")
	if told && total == int64(s.Total) && equality.Semantic.DeepEqual(was, violations) {
		return nil
	}
	status["auditTimestamp"] = a.Clock.Now().UTC().Format(time.RFC3339)
	patch, err := json.Marshal(map[string]any{"status": status})
	if err != nil {
		return fmt.Errorf("writing it as JSON: %w", err)
	}
	return a.Client.Status().Patch(ctx, u, client.RawPatch(types.MergePatchType, patch), client.FieldOwner("tidegate")) //nolint:wrapcheck // the caller says what for
}

// example is a finding as the status of a constraint has it.
func example(f audit.Finding) map[string]any {
	group, version, ok := strings.Cut(f.Object.APIVersion, "/")
	if !ok {
		group, version = "", group
	}
	action := gatekeeper.ActionDryrun
	switch f.Enforcement {
	case v1alpha1.EnforcementDeny:
		action = gatekeeper.ActionDeny
	case v1alpha1.EnforcementWarn:
		action = gatekeeper.ActionWarn
	case v1alpha1.EnforcementDryrun:
	}
	message := f.Message
	if len(message) > maxExample {
		message = strings.ToValidUTF8(message[:maxExample], "")
	}
	out := map[string]any{"group": group, "version": version, "kind": f.Object.Kind, "name": f.Object.Name, "message": message, "enforcementAction": action}
	if f.Object.Namespace != "" {
		out["namespace"] = f.Object.Namespace
	}
	return out
}
