package controller

import (
	"context"
	"fmt"

	"k8s.io/apimachinery/pkg/types"
	"sigs.k8s.io/controller-runtime/pkg/client"
	"sigs.k8s.io/controller-runtime/pkg/manager"
	"sigs.k8s.io/controller-runtime/pkg/reconcile"

	"tidegate.io/tidegate/schemas/v1alpha1"
)

const (
	// fieldRevisionTemplate indexes TemplateRevisions by spec.template. Not the label:
	// labels describe, and somebody may take them away.
	fieldRevisionTemplate = "catalog.spec.template"
	// fieldReleaseTemplate indexes Releases by spec.template.name.
	fieldReleaseTemplate = "catalog.spec.template.name"
	// fieldRolloutRevision indexes Rollouts by spec.templateRevision.
	fieldRolloutRevision = "catalog.spec.templateRevision"
	// fieldCommandTemplate is the template of a TemplateCommand. The API server selects by
	// it too.
	fieldCommandTemplate = "spec.template"
)

// catalogIndex is a field that the loops find objects by.
type catalogIndex struct {
	object client.Object
	field  string
	values client.IndexerFunc
}

// followIndexes are what the release loop needs.
func followIndexes() []catalogIndex {
	return []catalogIndex{
		{&v1alpha1.TemplateRevision{}, fieldRevisionTemplate, byTemplate},
		{&v1alpha1.Release{}, fieldReleaseTemplate, byTemplate},
	}
}

// templateIndexes are what the template loop needs beside those.
func templateIndexes() []catalogIndex {
	return []catalogIndex{
		{&v1alpha1.TemplateCommand{}, fieldCommandTemplate, byTemplate},
		{&v1alpha1.Rollout{}, fieldRolloutRevision, func(o client.Object) []string {
			if rollout, ok := o.(*v1alpha1.Rollout); ok {
				return []string{rollout.Spec.TemplateRevision}
			}
			return nil
		}},
	}
}

func addIndexes(ctx context.Context, mgr manager.Manager, indexes []catalogIndex) error {
	for _, index := range indexes {
		if err := mgr.GetFieldIndexer().IndexField(ctx, index.object, index.field, index.values); err != nil {
			return fmt.Errorf("indexing %s: %w", index.field, err)
		}
	}
	return nil
}

func byTemplate(o client.Object) []string {
	if requests := templateOf(context.Background(), o); len(requests) > 0 {
		return []string{requests[0].Name}
	}
	return nil
}

// templateOf returns the template that an object is about.
func templateOf(_ context.Context, o client.Object) []reconcile.Request {
	var name string
	switch o := o.(type) {
	case *v1alpha1.TemplateRevision:
		name = o.Spec.Template
	case *v1alpha1.Release:
		name = o.Spec.Template.Name
	case *v1alpha1.TemplateCommand:
		name = o.Spec.Template
	case *v1alpha1.Rollout:
		name = templateNamed(o.Spec.TemplateRevision)
	}
	if name == "" {
		return nil
	}
	return []reconcile.Request{{NamespacedName: types.NamespacedName{Name: name}}}
}

// cached selects by an index of the cache, and takes what is there without a copy: it may
// not be changed.
func cached(field, value string) []client.ListOption {
	return []client.ListOption{client.MatchingFields{field: value}, client.UnsafeDisableDeepCopy}
}

// releasesOf lists the Releases of a template from the cache. They may not be changed.
func releasesOf(ctx context.Context, reader client.Reader, template string) ([]v1alpha1.Release, error) {
	var list v1alpha1.ReleaseList
	if err := reader.List(ctx, &list, cached(fieldReleaseTemplate, template)...); err != nil {
		return nil, fmt.Errorf("listing the Releases of ReleaseTemplate %s: %w", template, err)
	}
	return list.Items, nil
}
