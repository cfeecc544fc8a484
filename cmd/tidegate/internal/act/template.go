package act

import (
	"context"
	"fmt"
	"slices"
	"strings"

	apierrors "k8s.io/apimachinery/pkg/api/errors"
	metav1 "k8s.io/apimachinery/pkg/apis/meta/v1"
	"sigs.k8s.io/controller-runtime/pkg/client"

	"tidegate.io/tidegate/cmd/tidegate/internal/gather"
	"tidegate.io/tidegate/schemas/v1alpha1"
)

// TemplateDecision is what a person decided about the sync of a template.
type TemplateDecision struct {
	Template string
	Action   v1alpha1.TemplateAction
	// Revision to return to; rollback only.
	Revision int64
	Reason   string
}

// CreateTemplate makes the TemplateCommand. The API server stamps who decided; the webhook
// decides whether they may, and whether the sync can still do what is asked.
func CreateTemplate(ctx context.Context, c client.Client, d TemplateDecision) (*v1alpha1.TemplateCommand, error) {
	reader := gather.Reader{Client: c}
	template, err := reader.Template(ctx, d.Template)
	if err != nil {
		return nil, err
	}
	revisions, err := reader.Revisions(ctx, d.Template)
	// Who may roll back but not list revisions is told by the webhook.
	if err != nil && !apierrors.IsForbidden(err) {
		return nil, err
	}
	if err == nil {
		if err := fits(template, revisions, d); err != nil {
			return nil, err
		}
	}
	command := &v1alpha1.TemplateCommand{
		ObjectMeta: metav1.ObjectMeta{
			GenerateName: d.Template + "-" + string(d.Action) + "-",
			Labels:       map[string]string{v1alpha1.LabelTemplate: d.Template},
		},
		Spec: v1alpha1.TemplateCommandSpec{Template: d.Template, Action: d.Action, Revision: d.Revision, Reason: d.Reason},
	}
	switch err := c.Create(ctx, command); {
	case apierrors.IsForbidden(err), apierrors.IsInvalid(err):
		return nil, &RefusedError{Err: err}
	case err != nil:
		return nil, fmt.Errorf("creating a TemplateCommand: %w", err)
	}
	return command, nil
}

// fits refuses only what can never fit: a revision that is not there.
func fits(template *v1alpha1.ReleaseTemplate, revisions []v1alpha1.TemplateRevision, d TemplateDecision) error {
	if len(revisions) == 0 {
		return misfit("template %s has no published revision yet, so there is nothing to %s; look at it with: tidegate template status %s", d.Template, d.Action, d.Template)
	}
	if d.Action != v1alpha1.TemplateRollback || slices.ContainsFunc(revisions, func(r v1alpha1.TemplateRevision) bool { return r.Spec.Number == d.Revision }) {
		return nil
	}
	target := ""
	if template.Status.Sync != nil {
		target = template.Status.Sync.Target
	}
	var there []string
	for i := range revisions {
		text := fmt.Sprint(revisions[i].Spec.Number)
		if revisions[i].Name == target {
			text += " (the target)"
		}
		there = append(there, text)
	}
	return misfit("wanted a revision of template %s in --to, one of %s, found %d", d.Template, strings.Join(there, ", "), d.Revision)
}
