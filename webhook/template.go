package webhook

import (
	"context"
	"errors"
	"fmt"
	"maps"
	"slices"
	"strings"

	apierrors "k8s.io/apimachinery/pkg/api/errors"
	"k8s.io/apimachinery/pkg/types"
	"sigs.k8s.io/controller-runtime/pkg/webhook/admission"

	"tidegate.io/tidegate/schemas/render"
	"tidegate.io/tidegate/schemas/v1alpha1"
	"tidegate.io/tidegate/webhook/govern"
)

const (
	// maxImpact is how many Releases are rendered with a template that changes.
	maxImpact = 200
	// maxNamed is how many of those that would break are named.
	maxNamed = 10
	// maxTemplateBytes bounds the source of a template.
	maxTemplateBytes = 256 << 10
)

// template judges a ReleaseTemplate: its source must compile and pass its own tests. What
// it would do to the Releases there are is told as warnings; it never disturbs them.
func (h *own) template(ctx context.Context, r admission.Request) answer {
	if string(r.Operation) == govern.Delete {
		return h.unusedTemplate(ctx, r)
	}
	t, refusal := decode[v1alpha1.ReleaseTemplate]("a ReleaseTemplate", r.Object.Raw)
	if refusal != nil {
		return *refusal
	}
	if string(r.Operation) == govern.Update {
		old, refusal := decode[v1alpha1.ReleaseTemplate]("the ReleaseTemplate as it was", r.OldObject.Raw)
		if refusal != nil {
			return *refusal
		}
		if maps.Equal(old.Spec.Files, t.Spec.Files) {
			return answer{}
		}
	}
	size := 0
	for _, f := range t.Spec.Files {
		size += len(f)
	}
	if size > maxTemplateBytes {
		return deny(render.ReasonTemplateBroken, "ReleaseTemplate %q: wanted at most %d bytes in spec.files, found %d; do: split the template", t.Name, maxTemplateBytes, size)
	}
	if err := h.Renderer.Check(ctx, t.Spec.Files); err != nil {
		if source, ok := errors.AsType[*render.SourceError](err); ok {
			return deny(render.ReasonTemplateBroken, "ReleaseTemplate %q: wanted source that compiles and passes its own tests, found:%s", t.Name, itemized(source.Lines))
		}
		return fail(fmt.Errorf("checking template %q: %w", t.Name, err))
	}
	warnings, err := h.impact(ctx, t)
	if err != nil {
		return fail(err)
	}
	return answer{warnings: warnings}
}

// followers are the Releases that take up a new revision of a template.
func (h *own) followers(ctx context.Context, template string) ([]v1alpha1.Release, error) {
	var list v1alpha1.ReleaseList
	if err := h.Reader.List(ctx, &list); err != nil {
		return nil, fmt.Errorf("listing releases: %w", err)
	}
	out := slices.DeleteFunc(list.Items, func(r v1alpha1.Release) bool {
		return r.Spec.Template.Name != template
	})
	slices.SortFunc(out, func(a, b v1alpha1.Release) int {
		return strings.Compare(a.Namespace+"/"+a.Name, b.Namespace+"/"+b.Name)
	})
	return out, nil
}

// impact renders the Releases of a template anew and says what would come of it.
func (h *own) impact(ctx context.Context, t *v1alpha1.ReleaseTemplate) ([]string, error) {
	all, err := h.followers(ctx, t.Name)
	if err != nil {
		return nil, err
	}
	var unchanged, inPlace, roll, looked int
	var broken []string
	all = slices.DeleteFunc(all, func(r v1alpha1.Release) bool { return r.Spec.Template.Revision != 0 })
	for i := range all {
		r := &all[i]
		// The answer must be given in time; how many were not looked at is said.
		if looked == maxImpact || ctx.Err() != nil {
			break
		}
		looked++
		newest, err := h.newestRollout(ctx, r)
		if err != nil {
			return nil, err
		}
		result, err := h.Renderer.Render(ctx, Source{Files: t.Spec.Files}, rawValues(r.Spec.Values), renderContext(r))
		switch {
		case err != nil && ctx.Err() != nil:
			looked--
		case err != nil:
			first, _, _ := strings.Cut(err.Error(), "\n")
			broken = append(broken, fmt.Sprintf("would break: %s/%s: %s", r.Namespace, r.Name, first))
		case stands(r, newest, result):
			unchanged++
		case newest != nil && result.Revision == newest.Spec.Revision:
			inPlace++
		default:
			roll++
		}
	}
	if len(all) == 0 {
		return nil, nil
	}
	summary := fmt.Sprintf("of %d releases of template %s: %d unchanged, %d change in place, %d roll, %d would break and keep what they have",
		len(all), t.Name, unchanged, inPlace, roll, len(broken))
	if left := len(all) - looked; left > 0 {
		summary += fmt.Sprintf("; %d were not looked at", left)
	}
	return append([]string{summary}, firstOf(broken)...), nil
}

// firstOf names the first releases that would break, and how many more would.
func firstOf(broken []string) []string {
	if len(broken) <= maxNamed {
		return broken
	}
	return append(slices.Clone(broken[:maxNamed]), fmt.Sprintf("and %d more would break", len(broken)-maxNamed))
}

// newestRollout returns what a Release asked for last, nil when it has no Rollout.
func (h *own) newestRollout(ctx context.Context, r *v1alpha1.Release) (*v1alpha1.Rollout, error) {
	if r.Status.Rollout == "" {
		return nil, nil //nolint:nilnil // none is an answer
	}
	var newest v1alpha1.Rollout
	switch err := h.Reader.Get(ctx, types.NamespacedName{Namespace: r.Namespace, Name: r.Status.Rollout}, &newest); {
	case apierrors.IsNotFound(err):
		return nil, nil //nolint:nilnil // none is an answer
	case err != nil:
		return nil, fmt.Errorf("reading Rollout %s/%s: %w", r.Namespace, r.Status.Rollout, err)
	}
	return &newest, nil
}

// stands says whether the newest Rollout of a Release stays the newest with what its spec
// renders to now. A revision that was rejected is not tried again by itself, whatever is
// rendered around it.
func stands(r *v1alpha1.Release, newest *v1alpha1.Rollout, result *render.Result) bool {
	switch {
	case newest == nil:
		return false
	case newest.Spec.Digest == result.Digest:
		return true
	}
	return newest.Status.Phase == v1alpha1.RolloutAborted && newest.Spec.ReleaseGeneration == r.Generation &&
		newest.Spec.Revision == result.Revision
}

func (h *own) unusedTemplate(ctx context.Context, r admission.Request) answer {
	if h.tidegates(r) {
		return answer{}
	}
	// A collection is deleted without a name; the old object has it.
	old, refusal := decode[v1alpha1.ReleaseTemplate]("the ReleaseTemplate as it was", r.OldObject.Raw)
	if refusal != nil {
		return *refusal
	}
	users, err := h.followers(ctx, old.Name)
	if err != nil {
		return fail(err)
	}
	if len(users) > 0 {
		return deny(ReasonTemplateInUse, "ReleaseTemplate %q: wanted no Release that names it, found %d, the first is %s/%s; do: give them another template or delete them: kubectl get releases -A",
			old.Name, len(users), users[0].Namespace, users[0].Name)
	}
	return answer{}
}
