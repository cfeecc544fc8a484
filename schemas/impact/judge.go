package impact

import (
	"context"
	"encoding/json"
	"fmt"
	"maps"
	"slices"

	"k8s.io/apimachinery/pkg/apis/meta/v1/unstructured"

	"tidegate.io/tidegate/policies/eval"
	"tidegate.io/tidegate/schemas/render"
	"tidegate.io/tidegate/schemas/v1alpha1"
)

// Questions are what policies are asked about a Release that renders to result: one for
// each object. Asked says who asks and how; about has more keys of the input, such as
// release and template.
func Questions(asked eval.Request, namespace string, about map[string]any, result *render.Result) ([]eval.Question, error) {
	objects := Objects(result)
	out := make([]eval.Question, 0, len(objects))
	for _, o := range objects {
		raw, err := json.Marshal(o)
		if err != nil {
			return nil, fmt.Errorf("encoding rendered %s %q: %w", o.GetKind(), o.GetName(), err)
		}
		gvk := o.GroupVersionKind()
		request := asked
		request.Kind = eval.GroupKind{Group: gvk.Group, Version: gvk.Version, Kind: gvk.Kind}
		request.Resource, request.Name, request.Object, request.OldObject = eval.GroupResource{}, o.GetName(), raw, nil
		in, err := eval.RequestInput(v1alpha1.AtRelease, request)
		for _, key := range slices.Sorted(maps.Keys(about)) {
			if err == nil {
				in, err = in.With(key, about[key])
			}
		}
		if err != nil {
			return nil, fmt.Errorf("judging rendered %s %q: %w", o.GetKind(), o.GetName(), err)
		}
		out = append(out, eval.Question{
			Moment: v1alpha1.AtRelease, Group: gvk.Group, Kind: gvk.Kind, Namespace: namespace, Operation: request.Operation, Input: in,
		})
	}
	return out, nil
}

// About is what policies are told about a Release besides its objects: release, template and
// namespace, whose labels are given. Of a candidate, which has no name or number yet, the
// revision is empty.
func About(r *v1alpha1.Release, revision *v1alpha1.TemplateRevision, labels map[string]string) map[string]any {
	ref := r.Spec.Template
	template := eval.Template{
		Name: ref.Name, Revision: revision.Name, Number: revision.Spec.Number, Digest: revision.Spec.Digest, Channel: ref.Channel,
	}
	if ref.Revision != 0 || ref.Digest != "" {
		template.Pin = &eval.Pin{Revision: ref.Revision, Digest: ref.Digest}
	}
	return map[string]any{
		"release":   eval.Release{Name: r.Name, Namespace: r.Namespace, Template: ref.Name, Labels: r.Labels},
		"namespace": eval.Namespace{Name: r.Namespace, Labels: labels},
		"template":  template,
	}
}

// Ask asks the policies of a set about a result, and words what they say.
func Ask(ctx context.Context, set *eval.Set, questions []eval.Question) (denials, warnings []string) {
	var v eval.Verdict
	for _, q := range questions {
		v.Add(set.Judge(ctx, q))
	}
	return lines(v.Denials), lines(v.Warnings)
}

// Objects are all objects of a result.
func Objects(r *render.Result) []*unstructured.Unstructured {
	return r.Objects()
}

// lines are what policies said, one a line, each once.
func lines(violations []eval.Violation) []string {
	var out []string
	for _, v := range violations {
		if line := fmt.Sprintf("%s (policy %s)", v, v.Policy); !slices.Contains(out, line) {
			out = append(out, line)
		}
	}
	return out
}
