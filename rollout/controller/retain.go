package controller

import (
	"cmp"
	"context"
	"fmt"
	"slices"

	"sigs.k8s.io/controller-runtime/pkg/client"
	"sigs.k8s.io/controller-runtime/pkg/log"

	"tidegate.io/tidegate/schemas/follow"
	"tidegate.io/tidegate/schemas/v1alpha1"
)

const (
	// defaultRevisionLimit is how many unused revisions of a template are kept.
	defaultRevisionLimit = 10
	// pageSize is how many objects are read from the API server at a time.
	pageSize = 500
)

// orphaned looks after the revisions of a template that is gone: what is used stays, and the
// newest, so that a template that is made anew does not use its number again.
func (r *templates) orphaned(ctx context.Context, template string) error {
	revisions, err := revisionsOf(ctx, r.client, template, cached(fieldRevisionTemplate, template)...)
	if err != nil || len(revisions) < 2 {
		return err
	}
	releases, err := releasesOf(ctx, r.client, template)
	if err != nil {
		return err
	}
	return r.retain(ctx, template, nil, revisions, releases)
}

// retain deletes revisions that nothing uses, beyond those that are kept. Template is nil
// where it is gone.
func (r *templates) retain(ctx context.Context, name string, template *v1alpha1.ReleaseTemplate, revisions []v1alpha1.TemplateRevision, releases []v1alpha1.Release) error {
	limit := 0
	if template != nil {
		limit = defaultRevisionLimit
		if n := template.Spec.RevisionHistoryLimit; n != nil {
			limit = int(*n)
		}
	}
	if len(revisions) <= limit+1 {
		return nil
	}
	used := usedBy(template, revisions, releases)
	unused, err := surplus(revisions, limit, func(revision string) (bool, error) {
		if used[revision] {
			return true, nil
		}
		var rollouts v1alpha1.RolloutList
		err := r.client.List(ctx, &rollouts, append(cached(fieldRolloutRevision, revision), client.Limit(1))...)
		if err != nil {
			return false, fmt.Errorf("listing the Rollouts of TemplateRevision %s: %w", revision, err)
		}
		return len(rollouts.Items) > 0, nil
	})
	if err != nil || len(unused) == 0 {
		return err
	}
	// The cache may be behind. What is deleted is gone, so ask the API server.
	taken, err := r.taken(ctx, name, template, revisions)
	if err != nil {
		return err
	}
	for _, revision := range unused {
		if taken[revision.Name] {
			continue
		}
		err := r.client.Delete(ctx, revision, client.Preconditions{UID: &revision.UID})
		if client.IgnoreNotFound(err) != nil {
			return fmt.Errorf("deleting TemplateRevision %s: %w", revision.Name, err)
		}
		log.FromContext(ctx).Info("Deleted a template revision that nothing uses", "revision", revision.Name)
	}
	return nil
}

// surplus returns the revisions to delete: all but the newest, those that are in use, and so
// many of the others, the newest first.
func surplus(revisions []v1alpha1.TemplateRevision, limit int, inUse func(name string) (bool, error)) ([]*v1alpha1.TemplateRevision, error) {
	order := make([]*v1alpha1.TemplateRevision, 0, len(revisions))
	for i := range revisions {
		order = append(order, &revisions[i])
	}
	slices.SortFunc(order, func(a, b *v1alpha1.TemplateRevision) int { return cmp.Compare(b.Spec.Number, a.Spec.Number) })
	var out []*v1alpha1.TemplateRevision
	for _, revision := range order[min(1, len(order)):] {
		used, err := inUse(revision.Name)
		switch {
		case err != nil:
			return nil, err
		case used || revision.DeletionTimestamp != nil:
		case limit > 0:
			limit--
		default:
			out = append(out, revision)
		}
	}
	return out, nil
}

// pointed says whether a channel of the template is the revision of a number.
func pointed(template *v1alpha1.ReleaseTemplate, number int64) bool {
	return slices.ContainsFunc(template.Spec.Channels, func(c v1alpha1.TemplateChannel) bool { return c.Revision == number })
}

// usedBy returns the revisions that the template and its Releases refer to.
func usedBy(template *v1alpha1.ReleaseTemplate, revisions []v1alpha1.TemplateRevision, releases []v1alpha1.Release) map[string]bool {
	used := map[string]bool{}
	if template != nil {
		if s := template.Status.Sync; s != nil {
			used[s.Target], used[s.From], used[s.RolledBackFrom] = true, true, true
		}
		for i := range revisions {
			used[revisions[i].Name] = used[revisions[i].Name] || pointed(template, revisions[i].Spec.Number)
		}
	}
	for i := range releases {
		release := &releases[i]
		used[release.Status.TemplateRevision], used[release.Status.Tried] = true, true
		if release.Status.Assigned != nil {
			used[release.Status.Assigned.Name] = true
		}
		if follow.Free(release) {
			continue
		}
		if choice, err := follow.Choose(release, template, revisions); err == nil {
			used[choice.Revision.Name] = true
		}
	}
	return used
}

// taken asks the API server which revisions are in use.
func (r *templates) taken(ctx context.Context, name string, template *v1alpha1.ReleaseTemplate, revisions []v1alpha1.TemplateRevision) (map[string]bool, error) {
	if template != nil {
		live := &v1alpha1.ReleaseTemplate{}
		if err := r.opts.Live.Get(ctx, client.ObjectKey{Name: name}, live); err != nil {
			return nil, fmt.Errorf("reading ReleaseTemplate %s: %w", name, err)
		}
		template = live
	}
	var releases []v1alpha1.Release
	var page v1alpha1.ReleaseList
	err := r.pages(ctx, &page, func() {
		for i := range page.Items {
			if page.Items[i].Spec.Template.Name == name {
				releases = append(releases, page.Items[i])
			}
		}
	})
	if err != nil {
		return nil, err
	}
	used := usedBy(template, revisions, releases)
	var rollouts v1alpha1.RolloutList
	err = r.pages(ctx, &rollouts, func() {
		for i := range rollouts.Items {
			used[rollouts.Items[i].Spec.TemplateRevision] = true
		}
	})
	return used, err
}

// pages reads all objects of a kind from the API server, some at a time.
func (r *templates) pages(ctx context.Context, list client.ObjectList, each func()) error {
	next := ""
	for {
		if err := r.opts.Live.List(ctx, list, client.Limit(pageSize), client.Continue(next)); err != nil {
			return fmt.Errorf("listing %T: %w", list, err)
		}
		each()
		if next = list.GetContinue(); next == "" {
			return nil
		}
	}
}
