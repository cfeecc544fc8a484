package webhook

import (
	"bytes"
	"context"
	"encoding/json"
	"errors"
	"fmt"
	"strings"

	"github.com/agnivade/levenshtein"
	corev1 "k8s.io/api/core/v1"
	"k8s.io/apimachinery/pkg/api/equality"
	apierrors "k8s.io/apimachinery/pkg/api/errors"
	metav1 "k8s.io/apimachinery/pkg/apis/meta/v1"
	"k8s.io/apimachinery/pkg/runtime"
	"k8s.io/apimachinery/pkg/types"
	"sigs.k8s.io/controller-runtime/pkg/client"
	"sigs.k8s.io/controller-runtime/pkg/webhook/admission"

	"tidegate.io/tidegate/policies/eval"
	"tidegate.io/tidegate/schemas/follow"
	"tidegate.io/tidegate/schemas/impact"
	"tidegate.io/tidegate/schemas/render"
	"tidegate.io/tidegate/schemas/secret"
	"tidegate.io/tidegate/schemas/v1alpha1"
	"tidegate.io/tidegate/schemas/worker"
	"tidegate.io/tidegate/webhook/govern"
)

// release judges a Release by what it becomes: its values by the template, the rendered
// objects by the policies. Whoever applies it reads the verdict.
func (h *own) release(ctx context.Context, r admission.Request) answer {
	if string(r.Operation) == govern.Delete {
		return deletion(r)
	}
	release, refusal := decode[v1alpha1.Release]("a Release", r.Object.Raw)
	if refusal != nil {
		return *refusal
	}
	old, refusal := formerRelease(r)
	if refusal != nil {
		return *refusal
	}
	if a := metadata(r, release, old); a.refuses() {
		return a
	}
	// What was once admitted stays so: a finalizer or a label must be writable though the
	// template has changed since.
	if old != nil && sameReleaseSpec(old.Spec, release.Spec) {
		return answer{}
	}
	revision, refusal := h.revision(ctx, release, old)
	if refusal != nil {
		return *refusal
	}
	source := Source{Digest: revision.Spec.Digest, Files: revision.Spec.Files}
	result, err := h.Renderer.Render(ctx, source, rawValues(release.Spec.Values), renderContext(release))
	if err != nil {
		return h.unrendered(r, release, revision.Name, err)
	}
	if old != nil {
		if a := h.immutable(ctx, release, old, revision.Name, source); a.err != nil || a.denial != "" {
			return a
		}
	}
	questions, err := h.questions(ctx, r, release, revision, result)
	if err != nil {
		return fail(err)
	}
	// Whoever applies a Release knows its values; whoever reads the logs of CI should not.
	a := h.policies(ctx, secret.New(sensitive(revision, release)), questions...)
	if w := h.metricSource(ctx, result); w != "" {
		a.warnings = append(a.warnings, w)
	}
	if a.facts == nil {
		a.facts = map[string]string{}
	}
	a.facts["release"] = release.Namespace + "/" + release.Name
	a.facts["revision"] = result.Revision
	a.facts["templateRevision"] = revision.Name
	return a
}

// metadata refuses a Release that is said to be somebody else's change, or that would leave
// behind what it made.
func metadata(r admission.Request, release, old *v1alpha1.Release) answer {
	if a := author(r, release, old); a.refuses() {
		return a
	}
	return orphanFinalizer(r, release, old)
}

// immutable refuses another value for a variable that the template fixes for life: that of
// the Release, which a detour by another template does not end.
func (h *own) immutable(ctx context.Context, release, old *v1alpha1.Release, revision string, source Source) answer {
	was := old.Spec.Values
	if old.Spec.Template.Name != release.Spec.Template.Name {
		last, err := h.lastOf(ctx, old, release.Spec.Template.Name)
		switch {
		case err != nil:
			return fail(err)
		case last == nil:
			return answer{} // it never was of this template
		}
		was = last.Spec.Values
	}
	err := h.Renderer.Immutable(ctx, source, rawValues(was), rawValues(release.Spec.Values))
	if err == nil {
		return answer{}
	}
	var values *render.ValuesError
	if !errors.As(err, &values) {
		return fail(fmt.Errorf("comparing the values of Release %s/%s: %w", release.Namespace, release.Name, err))
	}
	return deny(ReasonValuesImmutable, "Release %q in namespace %q: wanted no change of what template %s fixes when a Release is made, found:%s\ndo: put the values back, or make another Release with the new ones and delete this one",
		release.Name, release.Namespace, revision, itemized(problems(values)))
}

// lastOf is the newest Rollout by which the Release was brought to a revision of the template,
// nil where there is none. Those that a former Release of its name left behind do not count:
// what is deleted and made anew begins anew.
func (h *own) lastOf(ctx context.Context, r *v1alpha1.Release, template string) (*v1alpha1.Rollout, error) {
	var list v1alpha1.RolloutList
	if err := h.Reader.List(ctx, &list, client.InNamespace(r.Namespace), client.UnsafeDisableDeepCopy); err != nil {
		return nil, fmt.Errorf("listing the Rollouts of Release %s/%s: %w", r.Namespace, r.Name, err)
	}
	var last *v1alpha1.Rollout
	for i := range list.Items {
		rollout := &list.Items[i]
		owner := metav1.GetControllerOf(rollout)
		if owner == nil || owner.UID != r.UID || !ofTemplate(rollout.Spec.TemplateRevision, template) {
			continue
		}
		if last == nil || rollout.Spec.Number > last.Spec.Number {
			last = rollout
		}
	}
	return last, nil
}

// ofTemplate says whether a name is one of a revision of the template.
func ofTemplate(revision, template string) bool {
	of, _, ok := v1alpha1.ParseRevisionName(revision)
	return ok && of == template
}

// sensitive are the values of a Release that its template keeps out of messages.
func sensitive(revision *v1alpha1.TemplateRevision, release *v1alpha1.Release) []string {
	if revision.Spec.Schema == nil {
		return nil
	}
	return secret.Values(revision.Spec.Schema.Raw, rawValues(release.Spec.Values))
}

func problems(e *render.ValuesError) []string {
	out := make([]string, 0, len(e.Problems))
	for _, p := range e.Problems {
		out = append(out, p.String())
	}
	return out
}

// unrendered words why a Release has no objects.
func (h *own) unrendered(r admission.Request, release *v1alpha1.Release, revision string, err error) answer {
	var values *render.ValuesError
	var source *render.SourceError
	switch {
	case errors.As(err, &values):
		return deny(render.ReasonValuesInvalid, "Release %q%s does not fit template %s:%s", release.Name, inNamespace(r), revision, itemized(problems(values)))
	case errors.As(err, &source):
		return deny(render.ReasonTemplateBroken, "Release %q%s: wanted template %s to render it, found a mistake in the template:%s\ndo: tell the platform team, who own it: kubectl describe releasetemplate %s",
			release.Name, inNamespace(r), revision, itemized(source.Lines), release.Spec.Template.Name)
	}
	if bomb, ok := errors.AsType[*worker.BombError](err); ok {
		return deny(bomb.Reason(), "%s", bomb.Error())
	}
	return fail(fmt.Errorf("rendering Release %s/%s with %s: %w", release.Namespace, release.Name, revision, err))
}

// questions are one for each rendered object.
func (h *own) questions(ctx context.Context, r admission.Request, release *v1alpha1.Release, revision *v1alpha1.TemplateRevision, result *render.Result) ([]eval.Question, error) {
	about, err := h.about(ctx, release, revision)
	if err != nil {
		return nil, err
	}
	return impact.Questions(policyRequest(r), release.Namespace, about, result)
}

// about is what policies are told besides the rendered objects.
func (h *own) about(ctx context.Context, release *v1alpha1.Release, revision *v1alpha1.TemplateRevision) (map[string]any, error) {
	// A namespace that the cache does not have yet has no labels, and so no exceptions.
	var namespace corev1.Namespace
	if err := h.Reader.Get(ctx, types.NamespacedName{Name: release.Namespace}, &namespace); err != nil && !apierrors.IsNotFound(err) {
		return nil, fmt.Errorf("reading namespace %q: %w", release.Namespace, err)
	}
	return impact.About(release, revision, namespace.Labels), nil
}

// metricSource warns when the analysis has nobody to ask: the rollout would wait.
func (h *own) metricSource(ctx context.Context, result *render.Result) string {
	if result.Strategy.Analysis == nil {
		return ""
	}
	var source v1alpha1.MetricSource
	name := result.Strategy.Analysis.Source
	if err := h.Reader.Get(ctx, types.NamespacedName{Name: name}, &source); apierrors.IsNotFound(err) {
		return fmt.Sprintf("the template's analysis asks MetricSource %q, which does not exist: the rollout will wait for it; do: kubectl get metricsources", name)
	}
	return ""
}

// revision finds what a Release is rendered with, as the controller will: by the same
// function, from the Release as it will be once it is admitted.
func (h *own) revision(ctx context.Context, release, old *v1alpha1.Release) (*v1alpha1.TemplateRevision, *answer) {
	name := release.Spec.Template.Name
	refuse := func(a answer) (*v1alpha1.TemplateRevision, *answer) { return nil, &a }
	template := &v1alpha1.ReleaseTemplate{}
	switch err := h.Reader.Get(ctx, types.NamespacedName{Name: name}, template); {
	case apierrors.IsNotFound(err):
		// Revisions outlive their template for those that have them, and for nobody else: a
		// Release that is new to it does not get one even by a pin.
		if old == nil || old.Spec.Template.Name != name {
			return refuse(h.noRevision(ctx, &follow.NotFoundError{Wanted: follow.WantedTemplate, Reference: release.Spec.Template, TemplateGone: true}))
		}
		template = nil
	case err != nil:
		return refuse(fail(fmt.Errorf("reading template %q: %w", name, err)))
	}
	var list v1alpha1.TemplateRevisionList
	if err := h.Reader.List(ctx, &list, client.UnsafeDisableDeepCopy); err != nil {
		return refuse(fail(fmt.Errorf("listing revisions of template %q: %w", name, err)))
	}
	choice, err := follow.Choose(asStored(release, old), template, list.Items)
	var missing *follow.NotFoundError
	switch {
	case errors.As(err, &missing):
		return refuse(h.noRevision(ctx, missing))
	case err != nil:
		return refuse(fail(fmt.Errorf("choosing a revision of template %q: %w", name, err)))
	}
	return choice.Revision, nil
}

// asStored is the Release as the API server will have it. Whoever writes the spec does not
// write the status.
func asStored(release, old *v1alpha1.Release) *v1alpha1.Release {
	stored := release.DeepCopy()
	stored.Generation, stored.Status = 1, v1alpha1.ReleaseStatus{}
	if old != nil {
		stored.Generation, stored.Status = old.Generation+1, *old.Status.DeepCopy()
	}
	return stored
}

// noRevision words what there is in place of what was asked for.
func (h *own) noRevision(ctx context.Context, missing *follow.NotFoundError) answer {
	a := deny(ReasonTemplateNotFound, "%s", missing.Error())
	var there []string
	var wanted string
	switch {
	case missing.Wanted == follow.WantedChannel:
		there, wanted = missing.Channels, missing.Reference.Channel
	case missing.Wanted == follow.WantedTemplate && missing.TemplateGone:
		names, err := h.templateNames(ctx)
		if err != nil {
			return fail(err)
		}
		there, wanted = names, missing.Reference.Name
		a.denial += "; " + thereAre(there)
	default:
		return a
	}
	if near := nearest(wanted, there); near != "" {
		a.denial += fmt.Sprintf("; did you mean %q?", near)
	}
	return a
}

// maxListed bounds how many names a message lists.
const maxListed = 20

func thereAre(names []string) string {
	switch {
	case len(names) == 0:
		return "there are none"
	case len(names) > maxListed:
		return fmt.Sprintf("there are %s and %d more", strings.Join(names[:maxListed], ", "), len(names)-maxListed)
	}
	return "there are " + strings.Join(names, ", ")
}

// nearest is the name that was probably meant: one that a third of the letters, or two,
// would make of it. Empty where there is none.
func nearest(name string, names []string) string {
	best, least := "", max(2, len(name)/3)+1
	for _, n := range names {
		if d := levenshtein.ComputeDistance(name, n); d > 0 && d < least && d < min(len(name), len(n)) {
			best, least = n, d
		}
	}
	return best
}

func renderContext(r *v1alpha1.Release) render.Context {
	return render.Context{Name: r.Name, Namespace: r.Namespace, Template: r.Spec.Template.Name}
}

func rawValues(v *runtime.RawExtension) []byte {
	if v == nil {
		return nil
	}
	return v.Raw
}

// sameReleaseSpec compares what was meant, not how it was written: the order of keys is
// no difference.
func sameReleaseSpec(a, b v1alpha1.ReleaseSpec) bool {
	if a.Template != b.Template {
		return false
	}
	x, y := rawValues(a.Values), rawValues(b.Values)
	if bytes.Equal(x, y) {
		return true
	}
	xv, errX := numbers(x)
	yv, errY := numbers(y)
	return errX == nil && errY == nil && equality.Semantic.DeepEqual(xv, yv)
}

// numbers decodes JSON and keeps numbers as they are written, so that none is rounded.
func numbers(raw []byte) (any, error) {
	if len(raw) == 0 {
		return nil, nil
	}
	d := json.NewDecoder(bytes.NewReader(raw))
	d.UseNumber()
	var v any
	err := d.Decode(&v)
	return v, err
}
