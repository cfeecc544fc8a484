package webhook

import (
	"context"
	"fmt"
	"slices"
	"strings"

	apierrors "k8s.io/apimachinery/pkg/api/errors"
	"k8s.io/apimachinery/pkg/types"
	"sigs.k8s.io/controller-runtime/pkg/client"
	"sigs.k8s.io/controller-runtime/pkg/webhook/admission"

	"tidegate.io/tidegate/schemas/v1alpha1"
	"tidegate.io/tidegate/webhook/govern"
)

// templateVerbs are the custom RBAC verbs, on releasetemplates.tidegate.io, of each action.
var templateVerbs = map[v1alpha1.TemplateAction]string{
	v1alpha1.TemplatePause:    "sync",
	v1alpha1.TemplateResume:   "sync",
	v1alpha1.TemplateRollback: "rollback",
}

// templateCommand judges a TemplateCommand, which is a record as a RolloutCommand is.
func (h *own) templateCommand(ctx context.Context, r admission.Request) answer {
	if string(r.Operation) != govern.Create {
		return h.readonly(r)
	}
	c, refusal := decode[v1alpha1.TemplateCommand]("a TemplateCommand", r.Object.Raw)
	if refusal != nil {
		return *refusal
	}
	verb, known := templateVerbs[c.Spec.Action]
	return firstRefusal(map[string]string{"template": c.Spec.Template, "action": string(c.Spec.Action)},
		func() answer { return actor(r, c.Spec.Actor) },
		func() answer { return owned(r, ReasonCommandInvalid, c.OwnerReferences) },
		func() answer {
			if !known {
				return deny(ReasonCommandInvalid, "spec.action: wanted pause, resume or rollback, found %q; do: kubectl explain templatecommand.spec.action", c.Spec.Action)
			}
			return h.permitted(ctx, r, verb, releaseTemplates, c.Spec.Template)
		},
		func() answer { return h.fitsTemplate(ctx, c) },
	)
}

// fitsTemplate says whether the template has what the command is about, as far as is known
// now: the loop that acts on it looks again, and says so in the command's outcome.
func (h *own) fitsTemplate(ctx context.Context, c *v1alpha1.TemplateCommand) answer {
	var template v1alpha1.ReleaseTemplate
	switch err := h.Reader.Get(ctx, types.NamespacedName{Name: c.Spec.Template}, &template); {
	case apierrors.IsNotFound(err):
		return h.noTemplate(ctx, c.Spec.Template)
	case err != nil:
		return fail(fmt.Errorf("reading template %q: %w", c.Spec.Template, err))
	}
	if label, ok := c.Labels[v1alpha1.LabelTemplate]; ok && label != c.Spec.Template {
		return deny(ReasonCommandInvalid, "metadata.labels[%s]: wanted %q, as spec.template, found %q; do: leave the label out", v1alpha1.LabelTemplate, c.Spec.Template, label)
	}
	sync := template.Status.Sync
	if sync == nil {
		return deny(ReasonCommandInvalid, "wanted a template with a published revision, found that %q has none, so there is nothing to %s; do: kubectl describe releasetemplate %s",
			template.Name, c.Spec.Action, template.Name)
	}
	if problem := unfit(c.Spec.Action, sync); problem != "" {
		return deny(ReasonCommandInvalid, "wanted a sync to %s, found that %s; do: tidegate template status %s", c.Spec.Action, problem, template.Name)
	}
	if c.Spec.Action == v1alpha1.TemplateRollback {
		return h.fitsRollback(ctx, c, sync)
	}
	return answer{}
}

// unfit says why there is nothing to pause or resume, or is empty. A sync that has ended may
// be paused, for the next revision; one that is under way may wait for a resume, which the
// loop knows.
func unfit(action v1alpha1.TemplateAction, sync *v1alpha1.TemplateSyncStatus) string {
	switch {
	case action == v1alpha1.TemplatePause && sync.Phase == v1alpha1.SyncPaused:
		return "it is paused already"
	case action == v1alpha1.TemplateResume && (sync.Phase == v1alpha1.SyncSynced || sync.Phase == v1alpha1.SyncSoaking):
		return fmt.Sprintf("it is neither paused nor halted, but %s", sync.Phase)
	}
	return ""
}

// fitsRollback says whether there is such a revision to return to.
func (h *own) fitsRollback(ctx context.Context, c *v1alpha1.TemplateCommand, sync *v1alpha1.TemplateSyncStatus) answer {
	var list v1alpha1.TemplateRevisionList
	if err := h.Reader.List(ctx, &list, client.UnsafeDisableDeepCopy); err != nil {
		return fail(fmt.Errorf("listing revisions of template %q: %w", c.Spec.Template, err))
	}
	var numbers []int64
	name := ""
	for i := range list.Items {
		r := &list.Items[i]
		if r.Spec.Template != c.Spec.Template || r.DeletionTimestamp != nil {
			continue
		}
		numbers = append(numbers, r.Spec.Number)
		if r.Spec.Number == c.Spec.Revision {
			name = r.Name
		}
	}
	slices.Sort(numbers)
	switch name {
	case "":
		return deny(ReasonCommandInvalid, "spec.revision: wanted a revision of template %q, one of %s, found %d; do: tidegate get templaterevisions",
			c.Spec.Template, listed(numbers), c.Spec.Revision)
	case sync.Target:
		return deny(ReasonCommandInvalid, "spec.revision: wanted a revision other than the one that Releases are brought to, found %d, which is it; do: tidegate template status %s",
			c.Spec.Revision, c.Spec.Template)
	}
	return answer{}
}

// listed names the newest revisions there are.
func listed(numbers []int64) string {
	words := []string{}
	if len(numbers) > maxListed {
		words, numbers = append(words, "..."), numbers[len(numbers)-maxListed:]
	}
	for _, n := range numbers {
		words = append(words, fmt.Sprint(n))
	}
	return strings.Join(words, ", ")
}

func (h *own) noTemplate(ctx context.Context, name string) answer {
	names, err := h.templateNames(ctx)
	if err != nil {
		return fail(err)
	}
	a := deny(ReasonCommandInvalid, "spec.template: wanted the name of a ReleaseTemplate, found %q, which does not exist; %s", name, thereAre(names))
	if near := nearest(name, names); near != "" {
		a.denial += fmt.Sprintf("; did you mean %q?", near)
	}
	a.denial += "; do: tidegate get templates"
	return a
}

func (h *own) templateNames(ctx context.Context) ([]string, error) {
	var all v1alpha1.ReleaseTemplateList
	if err := h.Reader.List(ctx, &all, client.UnsafeDisableDeepCopy); err != nil {
		return nil, fmt.Errorf("listing templates: %w", err)
	}
	names := make([]string, 0, len(all.Items))
	for i := range all.Items {
		names = append(names, all.Items[i].Name)
	}
	slices.Sort(names)
	return names, nil
}
