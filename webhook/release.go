package webhook

import (
	"bytes"
	"context"
	"encoding/json"
	"errors"
	"fmt"
	"slices"
	"strings"

	"k8s.io/apimachinery/pkg/api/equality"
	apierrors "k8s.io/apimachinery/pkg/api/errors"
	"k8s.io/apimachinery/pkg/runtime"
	"k8s.io/apimachinery/pkg/types"
	"sigs.k8s.io/controller-runtime/pkg/client"
	"sigs.k8s.io/controller-runtime/pkg/webhook/admission"

	"tidegate.io/tidegate/policies/eval"
	"tidegate.io/tidegate/schemas/render"
	"tidegate.io/tidegate/schemas/v1alpha1"
	"tidegate.io/tidegate/webhook/govern"
)

// release judges a Release by what it becomes: its values by the template, the rendered
// objects by the policies. Whoever applies it reads the verdict.
func (h *own) release(ctx context.Context, r admission.Request) answer {
	if string(r.Operation) == govern.Delete {
		return answer{}
	}
	release, refusal := decode[v1alpha1.Release]("a Release", r.Object.Raw)
	if refusal != nil {
		return *refusal
	}
	if string(r.Operation) == govern.Update {
		old, refusal := decode[v1alpha1.Release]("the Release as it was", r.OldObject.Raw)
		if refusal != nil {
			return *refusal
		}
		// What was once admitted stays so: a finalizer or a label must be writable though
		// the template has changed since.
		if sameReleaseSpec(old.Spec, release.Spec) {
			return answer{}
		}
	}
	revision, refusal := h.revision(ctx, release.Spec.Template)
	if refusal != nil {
		return *refusal
	}
	result, err := h.Renderer.Render(ctx, Source{Digest: revision.Spec.Digest, Files: revision.Spec.Files}, rawValues(release.Spec.Values), renderContext(release))
	if err != nil {
		return h.unrendered(r, release, revision.Name, err)
	}
	questions, err := h.questions(r, release, result)
	if err != nil {
		return fail(err)
	}
	a := h.policies(ctx, questions...)
	if w := h.metricSource(ctx, result); w != "" {
		a.warnings = append(a.warnings, w)
	}
	if a.facts == nil {
		a.facts = map[string]string{}
	}
	a.facts["release"] = release.Namespace + "/" + release.Name
	a.facts["revision"] = result.Revision
	return a
}

// unrendered words why a Release has no objects.
func (h *own) unrendered(r admission.Request, release *v1alpha1.Release, revision string, err error) answer {
	var values *render.ValuesError
	var source *render.SourceError
	switch {
	case errors.As(err, &values):
		problems := make([]string, 0, len(values.Problems))
		for _, p := range values.Problems {
			problems = append(problems, p.String())
		}
		return deny(render.ReasonValuesInvalid, "Release %q%s does not fit template %s:%s", release.Name, inNamespace(r), revision, itemized(problems))
	case errors.As(err, &source):
		return deny(render.ReasonTemplateBroken, "Release %q%s: wanted template %s to render it, found a mistake in the template:%s\ndo: tell the platform team, who own it: kubectl describe releasetemplate %s",
			release.Name, inNamespace(r), revision, itemized(source.Lines), release.Spec.Template.Name)
	}
	return fail(fmt.Errorf("rendering Release %s/%s with %s: %w", release.Namespace, release.Name, revision, err))
}

// questions are one for each rendered object.
func (h *own) questions(r admission.Request, release *v1alpha1.Release, result *render.Result) ([]eval.Question, error) {
	objects := slices.Concat(result.Set, result.Shared)
	if result.Route != nil {
		objects = append(objects, result.Route)
	}
	out := make([]eval.Question, 0, len(objects))
	for _, o := range objects {
		raw, err := json.Marshal(o)
		if err != nil {
			return nil, fmt.Errorf("encoding rendered %s %q: %w", o.GetKind(), o.GetName(), err)
		}
		gvk := o.GroupVersionKind()
		request := policyRequest(r)
		request.Kind = eval.GroupKind{Group: gvk.Group, Version: gvk.Version, Kind: gvk.Kind}
		request.Resource, request.Name, request.Object, request.OldObject = eval.GroupResource{}, o.GetName(), raw, nil
		in, err := eval.RequestInput(v1alpha1.AtRelease, request)
		if err == nil {
			in, err = in.With("release", map[string]any{"name": release.Name, "namespace": release.Namespace, "template": release.Spec.Template.Name})
		}
		if err != nil {
			return nil, fmt.Errorf("judging rendered %s %q: %w", o.GetKind(), o.GetName(), err)
		}
		out = append(out, eval.Question{
			Moment: v1alpha1.AtRelease, Group: gvk.Group, Kind: gvk.Kind, Namespace: release.Namespace, Operation: request.Operation, Input: in,
		})
	}
	return out, nil
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

// revision finds what a Release is rendered with: the revision that it pins, or the
// newest.
func (h *own) revision(ctx context.Context, ref v1alpha1.TemplateReference) (*v1alpha1.TemplateRevision, *answer) {
	var list v1alpha1.TemplateRevisionList
	if err := h.Reader.List(ctx, &list, client.MatchingLabels{v1alpha1.LabelTemplate: ref.Name}); err != nil {
		a := fail(fmt.Errorf("listing revisions of template %q: %w", ref.Name, err))
		return nil, &a
	}
	var found *v1alpha1.TemplateRevision
	for i := range list.Items {
		r := &list.Items[i]
		if r.Spec.Template != ref.Name || (ref.Revision != 0 && r.Spec.Number != ref.Revision) {
			continue
		}
		if found == nil || r.Spec.Number > found.Spec.Number {
			found = r
		}
	}
	if found != nil {
		return found, nil
	}
	a := h.noRevision(ctx, ref, list.Items)
	return nil, &a
}

func (h *own) noRevision(ctx context.Context, ref v1alpha1.TemplateReference, revisions []v1alpha1.TemplateRevision) answer {
	if len(revisions) > 0 {
		numbers := make([]string, 0, len(revisions))
		for _, r := range revisions {
			numbers = append(numbers, fmt.Sprint(r.Spec.Number))
		}
		return deny(ReasonTemplateNotFound, "spec.template.revision: wanted a revision of template %q, one of %s, found %d; do: leave spec.template.revision out for the newest",
			ref.Name, strings.Join(numbers, ", "), ref.Revision)
	}
	var template v1alpha1.ReleaseTemplate
	switch err := h.Reader.Get(ctx, types.NamespacedName{Name: ref.Name}, &template); {
	case err == nil:
		return deny(ReasonTemplateNotFound, "spec.template.name: wanted a template with a published revision, found %q, which has none yet; "+
			"do: try again in a moment; if it persists: kubectl describe releasetemplate %s", ref.Name, ref.Name)
	case !apierrors.IsNotFound(err):
		return fail(fmt.Errorf("reading template %q: %w", ref.Name, err))
	}
	var all v1alpha1.ReleaseTemplateList
	if err := h.Reader.List(ctx, &all); err != nil {
		return fail(fmt.Errorf("listing templates: %w", err))
	}
	names := make([]string, 0, len(all.Items))
	for i := range all.Items {
		names = append(names, all.Items[i].Name)
	}
	slices.Sort(names)
	known := "there are none"
	if len(names) > 0 {
		known = "one of " + strings.Join(names, ", ")
	}
	return deny(ReasonTemplateNotFound, "spec.template.name: wanted the name of a ReleaseTemplate (%s), found %q; do: kubectl get releasetemplates", known, ref.Name)
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
