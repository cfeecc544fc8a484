package command

import (
	"bytes"
	"context"
	"encoding/json"
	"fmt"
	"reflect"

	apierrors "k8s.io/apimachinery/pkg/api/errors"
	"k8s.io/apimachinery/pkg/runtime"
	"sigs.k8s.io/controller-runtime/pkg/client"

	"tidegate.io/tidegate/schemas/impact"
	"tidegate.io/tidegate/schemas/render"
	"tidegate.io/tidegate/schemas/v1alpha1"
)

// records are what is known of what Releases render to as they are, so that they need not
// be rendered to be compared. What is not on record is rendered.
type records struct {
	// rollouts are by namespace and name, "shop/cart-3".
	rollouts map[string]*v1alpha1.Rollout
	// revisions are the digests of templates, by the names of TemplateRevisions.
	revisions map[string]string
	render    func(ctx context.Context, s impact.Source, values []byte, c render.Context) (*render.Result, error)
	// alike says, by the digest of a template, whether this program renders the very objects
	// that are on record: another version of it may not, and then all that it renders differs.
	alike map[string]bool
}

// add puts on a subject what is on record of it.
func (r *records) add(ctx context.Context, s impact.Subject) impact.Subject {
	release := s.Release
	rollout := r.rollouts[release.Namespace+"/"+release.Status.Rollout]
	if rollout == nil || s.Before.Files == nil || !r.about(rollout, s) {
		return s
	}
	alike, known := r.alike[s.Before.Digest]
	if !known {
		// One is enough: what differs between versions differs everywhere.
		result, err := r.render(ctx, s.Before, raw(release.Spec.Values), render.Context{Name: release.Name, Namespace: release.Namespace, Template: release.Spec.Template.Name})
		alike = err == nil && result.Digest == rollout.Spec.Digest
		r.alike[s.Before.Digest] = alike
	}
	if alike {
		s.Standing = &impact.Standing{Revision: rollout.Spec.Revision, Digest: rollout.Spec.Digest}
	}
	return s
}

// about says whether a Rollout has the digest of what the Release renders to with the
// revision that it is on: its values are the same, and either the revision is, or the
// Release was rendered with it since and serves what that Rollout brought.
func (r *records) about(rollout *v1alpha1.Rollout, s impact.Subject) bool {
	release := s.Release
	if rollout.Spec.Release != release.Name || !sameJSON(raw(rollout.Spec.Values), raw(release.Spec.Values)) {
		return false
	}
	if r.revisions[rollout.Spec.TemplateRevision] == s.Before.Digest {
		return true
	}
	status := release.Status
	return r.revisions[status.TemplateRevision] == s.Before.Digest && status.Phase == v1alpha1.ReleaseServing &&
		status.ObservedGeneration == release.Generation && status.Revision == rollout.Spec.Revision && rollout.Status.Phase == v1alpha1.RolloutSucceeded
}

func raw(values *runtime.RawExtension) []byte {
	if values == nil {
		return nil
	}
	return values.Raw
}

// sameJSON says whether two values mean the same; none means no entries.
func sameJSON(a, b []byte) bool {
	if bytes.Equal(a, b) {
		return true
	}
	decode := func(text []byte) (v any, ok bool) {
		if len(text) == 0 {
			return map[string]any{}, true
		}
		d := json.NewDecoder(bytes.NewReader(text))
		d.UseNumber()
		err := d.Decode(&v)
		return v, err == nil
	}
	x, okX := decode(a)
	y, okY := decode(b)
	return okX && okY && reflect.DeepEqual(x, y)
}

// listRollouts lists the newest Rollout of each Release, without what is not needed. Who may
// not list them has none on record.
func listRollouts(ctx context.Context, api client.Client, releases []v1alpha1.Release) (map[string]*v1alpha1.Rollout, error) {
	newest := make(map[string]bool, len(releases))
	for i := range releases {
		newest[releases[i].Namespace+"/"+releases[i].Status.Rollout] = true
	}
	out := map[string]*v1alpha1.Rollout{}
	for next := ""; ; {
		var page v1alpha1.RolloutList
		switch err := api.List(ctx, &page, client.Limit(pageSize), client.Continue(next)); {
		case apierrors.IsForbidden(err):
			return nil, nil
		case err != nil:
			return nil, fmt.Errorf("listing the Rollouts: %w", err)
		}
		for i := range page.Items {
			r := &page.Items[i]
			if key := r.Namespace + "/" + r.Name; newest[key] {
				kept := &v1alpha1.Rollout{}
				kept.Spec.Release, kept.Spec.Values, kept.Spec.TemplateRevision = r.Spec.Release, r.Spec.Values, r.Spec.TemplateRevision
				kept.Spec.Revision, kept.Spec.Digest, kept.Status.Phase = r.Spec.Revision, r.Spec.Digest, r.Status.Phase
				out[key] = kept
			}
		}
		if next = page.Continue; next == "" {
			return out, nil
		}
	}
}
