package auditing

import (
	"context"
	"fmt"
	"slices"
	"strings"
	"time"

	corev1 "k8s.io/api/core/v1"
	metav1 "k8s.io/apimachinery/pkg/apis/meta/v1"
	"k8s.io/apimachinery/pkg/apis/meta/v1/unstructured"
	"k8s.io/apimachinery/pkg/runtime/schema"
	"k8s.io/apimachinery/pkg/types"
	"sigs.k8s.io/controller-runtime/pkg/client"

	"tidegate.io/tidegate/policies/audit"
	"tidegate.io/tidegate/policies/eval"
	"tidegate.io/tidegate/rollout/manifest"
	"tidegate.io/tidegate/schemas/exempt"
	"tidegate.io/tidegate/schemas/impact"
	"tidegate.io/tidegate/schemas/render"
	"tidegate.io/tidegate/schemas/v1alpha1"
	"tidegate.io/tidegate/webhook"
)

// world is what is known of the namespace that is looked at. It ends with it.
type world struct {
	*Auditor
	// space is nil for what is in no namespace.
	space *corev1.Namespace
	facts *eval.Namespace
	gates []*v1alpha1.Gate
	// oldest is the Gate that was there first.
	oldest   *v1alpha1.Gate
	writers  bool
	mutators []v1alpha1.Mutator

	// managed is read when the first governed object is looked at.
	managed *managed
	// links are the workloads that were seen, by UID.
	links map[types.UID]link
	// unread are kinds that could not be listed.
	unread map[schema.GroupKind]bool
	// incomplete are the findings about what could not be looked at.
	incomplete []audit.Finding
}

// link is one workload in a chain of owners.
type link struct {
	name   string
	origin audit.Origin
}

func newWorld(a *Auditor, space *corev1.Namespace, gates []*v1alpha1.Gate) *world {
	w := &world{Auditor: a, space: space, gates: gates, links: map[types.UID]link{}, unread: map[schema.GroupKind]bool{}}
	if space != nil {
		w.facts = &eval.Namespace{Name: space.Name, Labels: space.Labels}
	}
	for _, g := range gates {
		if w.oldest == nil || g.CreationTimestamp.Before(&w.oldest.CreationTimestamp) {
			w.oldest = g
		}
		w.writers = w.writers || len(g.Spec.Writers) > 0
		w.mutators = append(w.mutators, g.Spec.Mutators...)
	}
	return w
}

func (w *world) name() string {
	if w.space == nil {
		return ""
	}
	return w.space.Name
}

// missed remembers that something could not be looked at.
func (w *world) missed(where audit.Object, what string, err error) {
	w.incomplete = append(w.incomplete, audit.Finding{
		Object: where, Code: audit.ReasonIncomplete, Result: audit.Errored,
		Message: fmt.Sprintf("wanted to look at %s, found: %v; nothing new is known about it", what, err),
		Fix:     "if it is forbidden, give the one who audits the right to list it, for the manager by audit.extraRules of the chart; else it is tried again by itself",
	})
}

// managed is what Tidegate has in a namespace. Err says that it could not be read: then
// nothing is said about who stands behind an object.
type managed struct {
	err      error
	releases map[string]*v1alpha1.Release
	// rollouts are those of a Release, the newest first: of those of one revision it is the
	// one that writes.
	rollouts map[string][]*v1alpha1.Rollout
	// glasses are the exemptions under which something was written.
	glasses []*v1alpha1.BreakGlass
	// rendered are the objects of Rollouts, as far as they were needed.
	rendered  map[string]*pinned
	revisions map[string]*v1alpha1.TemplateRevision
}

// pinned is what a Rollout renders, by kind and name; nil where only the name is needed.
type pinned struct {
	objects map[objectKey]map[string]any
	err     error
}

type objectKey struct {
	kind schema.GroupKind
	name string
}

// own reads what Tidegate has in the namespace, once.
func (w *world) own(ctx context.Context) *managed {
	if w.managed != nil {
		return w.managed
	}
	m := &managed{
		releases: map[string]*v1alpha1.Release{}, rollouts: map[string][]*v1alpha1.Rollout{},
		rendered: map[string]*pinned{}, revisions: map[string]*v1alpha1.TemplateRevision{},
	}
	w.managed = m
	var releases v1alpha1.ReleaseList
	var rollouts v1alpha1.RolloutList
	var glasses v1alpha1.BreakGlassList
	for _, l := range []struct {
		what string
		list client.ObjectList
	}{{"Releases", &releases}, {"Rollouts", &rollouts}, {"BreakGlasses", &glasses}} {
		if err := w.Client.List(ctx, l.list, client.InNamespace(w.name())); err != nil {
			m.err = fmt.Errorf("listing the %s: %w", l.what, err)
			w.missed(audit.Object{APIVersion: "v1", Kind: "Namespace", Name: w.name()}, "what is managed here", m.err)
			return m
		}
	}
	for i := range releases.Items {
		m.releases[releases.Items[i].Name] = &releases.Items[i]
	}
	for i := range rollouts.Items {
		r := &rollouts.Items[i]
		m.rollouts[r.Spec.Release] = append(m.rollouts[r.Spec.Release], r)
	}
	for _, list := range m.rollouts {
		slices.SortFunc(list, func(a, b *v1alpha1.Rollout) int { return int(b.Spec.Number - a.Spec.Number) })
	}
	for i := range glasses.Items {
		if glasses.Items[i].Status.UseCount > 0 {
			m.glasses = append(m.glasses, &glasses.Items[i])
		}
	}
	return m
}

// excuse names the exemption that lets an object be as it is; empty for none. What was done
// under one that has ended is no better than anything else that came around the gate, but
// where the Gates let it stand until the next Rollout.
func (m *managed) excuse(o v1alpha1.ObjectName, b behind, now time.Time) string {
	if m == nil {
		return ""
	}
	var newest time.Time
	if b.rollout != nil {
		newest = m.rollouts[b.rollout.Spec.Release][0].CreationTimestamp.Time
	}
	for _, glass := range m.glasses {
		if slices.Contains(exempt.Written(glass), o) && exempt.Stands(glass, newest, now) {
			return glass.Name
		}
	}
	return ""
}

// behind is the Rollout that stands behind an object, with the object as it renders it.
type behind struct {
	backing audit.Backing
	release *v1alpha1.Release
	rollout *v1alpha1.Rollout
	want    map[string]any
	// err is why the backing is not known.
	err error
}

// behind finds the Rollout behind an object. The label says where to look, and proves
// nothing: what counts is whether the Rollout renders such an object.
func (w *world) behind(ctx context.Context, u *unstructured.Unstructured) behind {
	m := w.own(ctx)
	if m.err != nil {
		return behind{}
	}
	name := u.GetLabels()[v1alpha1.LabelRelease]
	b := behind{backing: audit.BackingNone, release: m.releases[name]}
	if name == "" || b.release == nil {
		return b
	}
	key := objectKey{u.GroupVersionKind().GroupKind(), u.GetName()}
	// A baseline set is of the revision whose fresh pods it has.
	revision := strings.TrimSuffix(revisionOf(u), manifest.BaselineSuffix)
	for _, r := range m.rollouts[name] {
		if revision != "" && r.Spec.Revision != revision {
			continue
		}
		if w.Renderer == nil {
			return behind{backing: audit.BackingRollout, release: b.release, rollout: r}
		}
		p := w.pinned(ctx, m, r)
		if p.err != nil {
			b.err = p.err
			continue
		}
		if want, ok := p.objects[key]; ok {
			return behind{backing: audit.BackingRollout, release: b.release, rollout: r, want: want}
		}
	}
	if b.err != nil {
		b.backing = audit.BackingUnknown
	}
	return b
}

// revisionOf is the revision that an object says it serves.
func revisionOf(u *unstructured.Unstructured) string {
	for _, path := range [][]string{{"spec", "template"}, {"spec", "jobTemplate", "spec", "template"}, nil} {
		labels, _, err := unstructured.NestedStringMap(u.Object, append(slices.Clone(path), "metadata", "labels")...)
		if revision := labels[v1alpha1.LabelRevision]; err == nil && revision != "" {
			return revision
		}
	}
	return ""
}

// pinned renders what a Rollout pins, once.
func (w *world) pinned(ctx context.Context, m *managed, r *v1alpha1.Rollout) *pinned {
	if p, known := m.rendered[r.Name]; known {
		return p
	}
	p := &pinned{objects: map[objectKey]map[string]any{}}
	m.rendered[r.Name] = p
	result, err := w.render(ctx, m, r)
	if err != nil {
		p.err = fmt.Errorf("rendering Rollout %s: %w", r.Name, err)
		return p
	}
	objects := impact.Objects(result)
	if m.baselined(r) {
		objects = slices.Concat(objects, manifest.Baseline(result).Set)
	}
	for _, o := range objects {
		key := objectKey{o.GroupVersionKind().GroupKind(), o.GetName()}
		p.objects[key] = nil
		if slices.Contains(hashed, key.kind) {
			p.objects[key] = o.Object
		}
	}
	return p
}

// baselined says whether a later Rollout has a baseline of what a Rollout brought.
func (m *managed) baselined(of *v1alpha1.Rollout) bool {
	return slices.ContainsFunc(m.rollouts[of.Spec.Release], func(r *v1alpha1.Rollout) bool {
		return manifest.WantsBaseline(r.Spec) && r.Spec.Stable.Rollout == of.Name
	})
}

func (w *world) render(ctx context.Context, m *managed, r *v1alpha1.Rollout) (*render.Result, error) {
	revision, err := w.revision(ctx, m, r)
	if err != nil {
		return nil, err
	}
	var values []byte
	if r.Spec.Values != nil {
		values = r.Spec.Values.Raw
	}
	result, err := w.Renderer.Render(ctx, webhook.Source{Digest: revision.Spec.Digest, Files: revision.Spec.Files}, values,
		render.Context{Name: r.Spec.Release, Namespace: r.Namespace, Template: revision.Spec.Template})
	if err != nil {
		return nil, err
	}
	if result.Digest != r.Spec.Digest {
		return nil, fmt.Errorf("wanted %s, which was judged, found %s", r.Spec.Digest, result.Digest)
	}
	return result, nil
}

func (w *world) revision(ctx context.Context, m *managed, r *v1alpha1.Rollout) (*v1alpha1.TemplateRevision, error) {
	if revision := m.revisions[r.Spec.TemplateRevision]; revision != nil {
		return revision, nil
	}
	revision := &v1alpha1.TemplateRevision{}
	if err := w.Client.Get(ctx, client.ObjectKey{Name: r.Spec.TemplateRevision}, revision); err != nil {
		return nil, fmt.Errorf("reading TemplateRevision %s: %w", r.Spec.TemplateRevision, err)
	}
	m.revisions[r.Spec.TemplateRevision] = revision
	return revision, nil
}

// origin finds where a pod, or what makes pods, comes from, by the one owner that controls it.
func (w *world) origin(ctx context.Context, u *unstructured.Unstructured) (audit.Origin, string) {
	owner := metav1.GetControllerOf(u)
	if owner == nil {
		return audit.OriginNone, ""
	}
	called := owner.Kind + " " + owner.Name
	if l, ok := w.links[owner.UID]; ok {
		switch l.origin {
		case audit.OriginUnknown, audit.OriginManaged:
			return l.origin, called
		case audit.OriginNone, audit.OriginGone, audit.OriginForeign, audit.OriginUnmanaged:
		}
		return audit.OriginUnmanaged, called
	}
	gv, err := schema.ParseGroupVersion(owner.APIVersion)
	gk := schema.GroupKind{Group: gv.Group, Kind: owner.Kind}
	if err != nil || !slices.Contains(makers, gk) {
		return audit.OriginForeign, called
	}
	if w.unread[gk] {
		return audit.OriginUnknown, called
	}
	// It may have come after its kind was listed.
	var there metav1.PartialObjectMetadata
	there.SetGroupVersionKind(gv.WithKind(owner.Kind))
	err = w.Client.Get(ctx, client.ObjectKey{Namespace: w.name(), Name: owner.Name}, &there)
	if client.IgnoreNotFound(err) != nil || (err == nil && there.UID == owner.UID) {
		return audit.OriginUnknown, called
	}
	return audit.OriginGone, called
}

// static says whether a kubelet runs a pod by a file: it shows such pods by a mirror, whose
// owner is its Node.
func static(u *unstructured.Unstructured) bool {
	owner := metav1.GetControllerOf(u)
	return u.GetAnnotations()[corev1.MirrorPodAnnotationKey] != "" || (owner != nil && owner.APIVersion == "v1" && owner.Kind == "Node")
}

const (
	// lingers is how long after its end a pod may still be shown.
	lingers = 5 * time.Minute
	// soon is how long what is deleted may still run before it counts as what runs: whoever
	// deletes a pod says how much time it gets, and may say years.
	soon = time.Hour
)

// over says whether a pod, or a job, runs nothing any more, or is about to end.
func over(u *unstructured.Unstructured, now time.Time) bool {
	phase, _, _ := unstructured.NestedString(u.Object, "status", "phase")
	finished, _, _ := unstructured.NestedString(u.Object, "status", "completionTime")
	switch u.GroupVersionKind().GroupKind() {
	case podKind:
		if phase == string(corev1.PodSucceeded) || phase == string(corev1.PodFailed) {
			return true
		}
	case schema.GroupKind{Group: "batch", Kind: "Job"}:
		if finished != "" {
			return true
		}
	}
	// The time of a deletion is when its grace ends.
	ends := u.GetDeletionTimestamp()
	return ends != nil && now.After(ends.Add(-soon)) && now.Before(ends.Add(lingers))
}

// objectName is an object as exemptions name it.
func objectName(k *kind, u *unstructured.Unstructured) v1alpha1.ObjectName {
	return v1alpha1.ObjectName{Group: k.gvk.Group, Resource: strings.ToLower(k.resource), Name: u.GetName()}
}
