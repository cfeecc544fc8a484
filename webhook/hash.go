package webhook

import (
	"context"
	"errors"
	"fmt"
	"slices"
	"strings"

	"k8s.io/apimachinery/pkg/apis/meta/v1/unstructured"
	"k8s.io/apimachinery/pkg/types"
	"sigs.k8s.io/controller-runtime/pkg/client"
	"sigs.k8s.io/controller-runtime/pkg/webhook/admission"

	"tidegate.io/tidegate/schemas/render"
	"tidegate.io/tidegate/schemas/v1alpha1"
	"tidegate.io/tidegate/webhook/govern"
	"tidegate.io/tidegate/webhook/rendered"
)

// ofPods are the resources that pods come from and that templates render: each is of one
// revision, which its pods name.
var ofPods = []string{"apps/daemonsets", "apps/deployments", "apps/statefulsets", "batch/cronjobs"}

// besidePods are others that templates render, by which requests find the pods and pods
// their configuration.
var besidePods = []string{
	"/configmaps", "/services", "autoscaling/horizontalpodautoscalers", "policy/poddisruptionbudgets",
	"gateway.networking.k8s.io/grpcroutes", "gateway.networking.k8s.io/httproutes", "networking.istio.io/virtualservices",
}

// errNoRollout is: no Rollout is known that the object could be of.
var errNoRollout = errors.New("no Rollout is known that pins what it is made from")

// refuses says whether the answer is anything but consent.
func (a answer) refuses() bool { return a.err != nil || a.denial != "" }

// compared says whether a request is one that is compared with what was rendered.
func (h *gate) compared(r admission.Request) bool {
	resource := r.Resource.Group + "/" + r.Resource.Resource
	return r.UserInfo.Username == h.Identity && r.SubResource == "" && (slices.Contains(ofPods, resource) || slices.Contains(besidePods, resource) || resource == ofSteps) &&
		(string(r.Operation) == govern.Create || string(r.Operation) == govern.Update)
}

// asRendered compares an object that Tidegate writes with what its Rollout renders: the
// webhook is asked after all that mutates, so what somebody put in between is there to be
// seen, and so is what somebody writes who has Tidegate's identity. A write that leaves
// what runs as it is, such as one of the number of replicas, was compared before.
func (h *gate) asRendered(ctx context.Context, r admission.Request, governing []*v1alpha1.Gate) answer {
	if !h.compared(r) || sameSpec(r) {
		return answer{}
	}
	object, refusal := decode[map[string]any]("an object", r.Object.Raw)
	if refusal != nil {
		return *refusal
	}
	release := label(*object, v1alpha1.LabelRelease, "metadata")
	owner, err := h.releaseOf(ctx, r)
	switch {
	case err != nil:
		return fail(err)
	case owner != "" && owner != release && release != "" && !h.known(ctx, r.Namespace, release):
		// It may have been made a moment ago, or be gone: it is asked again.
		return fail(fmt.Errorf("comparing %s %q with what was rendered: Release %q is not known yet", r.Resource.Resource, r.Name, release))
	case owner != "" && owner != release:
		// Without the label nothing would be compared.
		return h.mutated(r, owner, governing[0], []string{fmt.Sprintf("metadata.labels[%s]: rendered %q, found %q", v1alpha1.LabelRelease, owner, release)})
	case owner == "" || unchanged(r, *object):
		return answer{}
	}
	a, err := h.held(ctx, r, release, *object, governing)
	if err != nil {
		return fail(fmt.Errorf("comparing %s %q with what was rendered: %w", r.Resource.Resource, r.Name, err))
	}
	return a
}

// held compares an object with what the Release's templates render and, where it is none of that,
// with what the steps of its Rollouts make of it. A Job is as its step has it anyway.
func (h *gate) held(ctx context.Context, r admission.Request, release string, object map[string]any, governing []*v1alpha1.Gate) (answer, error) {
	wants, err := h.wanted(ctx, r, release, object)
	var a answer
	if err == nil {
		if a = h.beyondMutators(r, release, wants, object, governing); !a.refuses() {
			return a, nil
		}
	}
	if r.Resource.Group+"/"+r.Resource.Resource == ofSteps {
		return a, err
	}
	forms, failure := h.formsOfSteps(ctx, r, release)
	if failure != nil || len(forms) == 0 {
		return a, errors.Join(err, failure)
	}
	return h.beyondMutators(r, release, slices.Concat(wants, forms), object, governing), nil
}

// beyondMutators asks each Gate by itself: what one declares, another over the same namespace
// need not allow. The object has to be as one of those that are wanted, of which the first is
// the likeliest.
func (h *gate) beyondMutators(r admission.Request, release string, wants []map[string]any, object map[string]any, governing []*v1alpha1.Gate) answer {
	for _, g := range governing {
		var lines []string
		path := ""
		for i, want := range wants {
			differences := rendered.Compare(want, object, g.Spec.Mutators)
			if len(differences) == 0 {
				lines = nil
				break
			}
			if i == 0 {
				path = differences[0].Path
				for _, d := range differences {
					lines = append(lines, d.Path+": "+d.Text)
				}
			}
		}
		if len(lines) > 0 {
			a := h.mutated(r, release, g, lines)
			a.facts["path"] = path
			return a
		}
	}
	if stray := strayBackends(wants, object); stray != "" {
		return h.mutated(r, release, governing[0], []string{fmt.Sprintf("%s: no revision of the Release leads to %q", rendered.Rules(object), stray)})
	}
	return answer{}
}

// strayBackends is what a route leads to though no revision of the Release does; empty for
// nothing. The weights are the rollout's, which reads them back.
func strayBackends(wants []map[string]any, object map[string]any) string {
	var known []string
	for _, want := range wants {
		known = append(known, rendered.Backends(want)...)
	}
	for _, name := range rendered.Backends(object) {
		if !slices.Contains(known, name) {
			return name
		}
	}
	return ""
}

// mutated refuses what is not as it was rendered.
func (h *gate) mutated(r admission.Request, release string, g *v1alpha1.Gate, lines []string) answer {
	a := deny(ReasonMutated, "%s %q of Release %q: wanted what its template rendered, found it changed on its way, as by a mutating webhook:%s\n"+
		"do: kubectl get mutatingwebhookconfigurations,mutatingadmissionpolicies, and exclude namespace %q there; or, if it is meant, have the platform team list it in spec.mutators of Gate %q",
		r.Resource.Resource, r.Name, release, itemized(lines), r.Namespace, g.Name)
	a.facts = map[string]string{"gate": g.Name, "release": release}
	return a
}

// known says whether there is such a Release, as far as this replica has seen.
func (h *gate) known(ctx context.Context, namespace, release string) bool {
	var o v1alpha1.Release
	return h.Reader.Get(ctx, types.NamespacedName{Namespace: namespace, Name: release}, &o, client.UnsafeDisableDeepCopy) == nil
}

// releaseOf is the Release that a workload is of, or empty where there is none. What its
// label says counts where there is such a Release; where there is none, or no label, it is
// the Release that its name is made of, or that the label named before.
func (h *gate) releaseOf(ctx context.Context, r admission.Request) (string, error) {
	var list v1alpha1.ReleaseList
	if err := h.Reader.List(ctx, &list, client.InNamespace(r.Namespace), client.UnsafeDisableDeepCopy); err != nil {
		return "", fmt.Errorf("listing Releases of namespace %q: %w", r.Namespace, err)
	}
	has := func(name string) bool {
		return name != "" && slices.ContainsFunc(list.Items, func(o v1alpha1.Release) bool { return o.Name == name })
	}
	for _, raw := range [][]byte{r.Object.Raw, r.OldObject.Raw} {
		object, refusal := decode[map[string]any]("an object", raw)
		if refusal != nil {
			continue
		}
		if name := label(*object, v1alpha1.LabelRelease, "metadata"); has(name) {
			return name, nil
		}
	}
	// The longest, since one Release's name may begin with another's.
	longest := ""
	for i := range list.Items {
		name := list.Items[i].Name
		if (r.Name == name || strings.HasPrefix(r.Name, name+"-")) && len(name) > len(longest) {
			longest = name
		}
	}
	return longest, nil
}

// unchanged says whether a write leaves what runs as it is.
func unchanged(r admission.Request, object map[string]any) bool {
	old, refusal := decode[map[string]any]("the object as it was", r.OldObject.Raw)
	return refusal == nil && len(rendered.Compare(*old, object, nil)) == 0 && len(rendered.Compare(object, *old, nil)) == 0
}

// wanted renders what the object may be. A workload names the revision that it is of; others
// are those of one of the Release's revisions, the newest first.
func (h *gate) wanted(ctx context.Context, r admission.Request, release string, object map[string]any) ([]map[string]any, error) {
	if r.Resource.Group+"/"+r.Resource.Resource == ofSteps {
		return h.wantedJob(ctx, r, release, object)
	}
	var rollouts v1alpha1.RolloutList
	if err := h.Reader.List(ctx, &rollouts, client.InNamespace(r.Namespace), client.UnsafeDisableDeepCopy); err != nil {
		return nil, fmt.Errorf("listing Rollouts: %w", err)
	}
	workload := slices.Contains(ofPods, r.Resource.Group+"/"+r.Resource.Resource)
	revision := revisionOf(object)
	// The newest first: of Rollouts of one revision it is the one that writes.
	list := slices.SortedFunc(slices.Values(rollouts.Items), func(a, b v1alpha1.Rollout) int { return int(b.Spec.Number - a.Spec.Number) })
	var out []map[string]any
	unknown := errNoRollout
	for i := range list {
		if list[i].Spec.Release != release || (workload && list[i].Spec.Revision != revision) {
			continue
		}
		result, err := h.pinned(ctx, &list[i])
		if err != nil {
			unknown = err
			if workload {
				break
			}
			continue // it may be of another
		}
		if o := rendering(result, r); o != nil {
			out = append(out, o)
		}
		if workload && len(out) > 0 {
			break
		}
	}
	if len(out) == 0 {
		return nil, unknown
	}
	return out, nil
}

// revisionOf is the revision that a workload's pods name.
func revisionOf(object map[string]any) string {
	if revision := label(object, v1alpha1.LabelRevision, "spec", "template", "metadata"); revision != "" {
		return revision
	}
	return label(object, v1alpha1.LabelRevision, "spec", "jobTemplate", "spec", "template", "metadata")
}

// rendering is the object of a rendering that a request is about, or nil.
func rendering(result *render.Result, r admission.Request) map[string]any {
	for _, list := range [][]*unstructured.Unstructured{result.Set, {result.Route}, result.Shared} {
		for _, o := range list {
			if o != nil && o.GetName() == r.Name && o.GetKind() == r.Kind.Kind && o.GroupVersionKind().Group == r.Kind.Group {
				return o.Object
			}
		}
	}
	return nil
}

// maxPinned is how many renderings are remembered. One takes some ten kilobytes.
const maxPinned = 256

// pinnedKey names a rendering: its digest is of all that was rendered.
type pinnedKey struct{ namespace, release, digest string }

// pinned renders what a Rollout pins. Nobody may change it.
func (h *gate) pinned(ctx context.Context, rollout *v1alpha1.Rollout) (*render.Result, error) {
	key := pinnedKey{rollout.Namespace, rollout.Spec.Release, rollout.Spec.Digest}
	if known, ok := h.renderings.Get(key); ok {
		return known, nil
	}
	var revision v1alpha1.TemplateRevision
	if err := h.Reader.Get(ctx, types.NamespacedName{Name: rollout.Spec.TemplateRevision}, &revision, client.UnsafeDisableDeepCopy); err != nil {
		return nil, fmt.Errorf("reading TemplateRevision %s: %w", rollout.Spec.TemplateRevision, err)
	}
	result, err := h.Renderer.Render(ctx, Source{Digest: revision.Spec.Digest, Files: revision.Spec.Files}, rawValues(rollout.Spec.Values),
		render.Context{Name: rollout.Spec.Release, Namespace: rollout.Namespace, Template: revision.Spec.Template})
	if err != nil {
		return nil, fmt.Errorf("rendering Rollout %s: %w", rollout.Name, err)
	}
	if result.Digest != rollout.Spec.Digest {
		return nil, fmt.Errorf("rendering Rollout %s: wanted %s, which was judged, found %s", rollout.Name, rollout.Spec.Digest, result.Digest)
	}
	h.renderings.Add(key, result)
	return result, nil
}

// label reads a label of the metadata at a path of an object.
func label(object map[string]any, key string, path ...string) string {
	for _, p := range path {
		object, _ = object[p].(map[string]any)
	}
	labels, _ := object["labels"].(map[string]any)
	value, _ := labels[key].(string)
	return value
}
