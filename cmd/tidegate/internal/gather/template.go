package gather

import (
	"context"
	"fmt"
	"slices"

	apierrors "k8s.io/apimachinery/pkg/api/errors"
	"sigs.k8s.io/controller-runtime/pkg/client"

	"tidegate.io/tidegate/cmd/tidegate/internal/synctree"
	"tidegate.io/tidegate/schemas/v1alpha1"
)

// Template reads a ReleaseTemplate. The error is a NotFoundError where there is none.
func (r Reader) Template(ctx context.Context, name string) (*v1alpha1.ReleaseTemplate, error) {
	template := &v1alpha1.ReleaseTemplate{}
	err := r.Client.Get(ctx, client.ObjectKey{Name: name}, template)
	if apierrors.IsNotFound(err) {
		notFound := &NotFoundError{Name: name}
		// Who may not list them is told without names.
		if names, err := r.TemplateNames(ctx); err == nil {
			notFound.Near = Near(name, names)
		}
		return nil, notFound
	}
	if err != nil {
		return nil, fmt.Errorf("reading ReleaseTemplate %s: %w", name, err)
	}
	return template, nil
}

// TemplateNames lists the names of the ReleaseTemplates, for completion.
func (r Reader) TemplateNames(ctx context.Context) ([]string, error) {
	var list v1alpha1.ReleaseTemplateList
	if err := r.Client.List(ctx, &list); err != nil {
		return nil, fmt.Errorf("listing the ReleaseTemplates: %w", err)
	}
	names := make([]string, 0, len(list.Items))
	for i := range list.Items {
		names = append(names, list.Items[i].Name)
	}
	slices.Sort(names)
	return names, nil
}

// Revisions lists the TemplateRevisions of a template, by number.
func (r Reader) Revisions(ctx context.Context, template string) ([]v1alpha1.TemplateRevision, error) {
	var list v1alpha1.TemplateRevisionList
	if err := r.Client.List(ctx, &list); err != nil {
		return nil, fmt.Errorf("listing the TemplateRevisions of %s: %w", template, err)
	}
	out := slices.DeleteFunc(list.Items, func(o v1alpha1.TemplateRevision) bool { return o.Spec.Template != template })
	slices.SortFunc(out, func(a, b v1alpha1.TemplateRevision) int { return int(a.Spec.Number - b.Spec.Number) })
	return out, nil
}

// TemplateView reads all that is shown of a template. What the user may not read is left
// out and noted, except for the template itself.
func (r Reader) TemplateView(ctx context.Context, name string) (synctree.View, error) {
	template, err := r.Template(ctx, name)
	if err != nil {
		return synctree.View{}, err
	}
	var notes []string
	revisions, err := r.Revisions(ctx, name)
	if apierrors.IsForbidden(err) {
		notes = append(notes, "the revisions cannot be shown: you may not list TemplateRevisions")
	} else if err != nil {
		return synctree.View{}, err
	}
	var commands v1alpha1.TemplateCommandList
	err = r.Client.List(ctx, &commands)
	if apierrors.IsForbidden(err) {
		notes = append(notes, "the commands cannot be shown: you may not list TemplateCommands")
	} else if err != nil {
		return synctree.View{}, fmt.Errorf("listing the TemplateCommands of %s: %w", name, err)
	}
	view := synctree.Build(template, revisions, commands.Items)
	view.Notes = notes
	return view, nil
}
