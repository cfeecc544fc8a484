package auditing

import (
	"context"
	"slices"
	"time"

	admissionv1 "k8s.io/api/admission/v1"
	corev1 "k8s.io/api/core/v1"
	metav1 "k8s.io/apimachinery/pkg/apis/meta/v1"
	"k8s.io/apimachinery/pkg/apis/meta/v1/unstructured"

	"tidegate.io/tidegate/policies/audit"
	"tidegate.io/tidegate/policies/eval/gatekeeper"
	"tidegate.io/tidegate/schemas/impact"
	"tidegate.io/tidegate/schemas/secret"
	"tidegate.io/tidegate/schemas/v1alpha1"
	"tidegate.io/tidegate/webhook/rendered"
)

// judging is how long all policies together may take about one object.
const judging = 30 * time.Second

// examine looks at one object; raw is the same in JSON.
func (r *run) examine(ctx context.Context, w *world, k *kind, u *unstructured.Unstructured, raw []byte) []audit.Finding {
	object := audit.Object{
		APIVersion: k.gvk.GroupVersion().String(), Kind: k.gvk.Kind, Namespace: u.GetNamespace(), Name: u.GetName(), UID: string(u.GetUID()),
	}
	s := audit.Subject{Object: object, Group: k.gvk.Group, Version: k.gvk.Version, Resource: k.resource, Raw: raw, Namespace: w.facts}
	out, copied := r.behindOf(ctx, w, k, u, &s)
	ctx, cancel := context.WithTimeout(ctx, judging)
	defer cancel()
	// What a controller copies from a workload is judged there, and its pods are judged too.
	if k.asked && !copied {
		out = append(out, audit.Judge(ctx, r.policies, s)...)
	}
	if k.constrained && r.rules != nil && r.rules.Asks(k.groupKind()) && !r.leftOut(u) {
		out = append(out, r.constrained(ctx, w, k, u, s)...)
	}
	return audit.Sorted(out)
}

// leftOut says whether Gatekeeper's Config leaves the object out of the audit.
func (r *run) leftOut(u *unstructured.Unstructured) bool {
	namespace := u.GetNamespace()
	if u.GroupVersionKind() == corev1.SchemeGroupVersion.WithKind("Namespace") {
		namespace = u.GetName()
	}
	return r.Constraints.Excluded(gatekeeper.ProcessAudit, namespace)
}

// behindOf looks at what stands behind an object, and tells s of it. Copied says that a
// controller copied it from a workload that is there.
func (r *run) behindOf(ctx context.Context, w *world, k *kind, u *unstructured.Unstructured, s *audit.Subject) (out []audit.Finding, copied bool) {
	if len(w.gates) == 0 || (!k.governed && u.GetLabels()[v1alpha1.LabelRelease] == "") {
		return nil, false
	}
	b := w.behind(ctx, u)
	r.describe(ctx, w, b, s)
	if b.err != nil {
		out = append(out, audit.Finding{
			Object: s.Object, Code: audit.ReasonIncomplete, Result: audit.Errored,
			Message: "wanted to compare it with what its Rollout renders, found: " + b.err.Error(),
			Fix:     "look at the template's revisions: kubectl get templaterevisions",
		})
	}
	if !k.governed {
		return out, false
	}
	f, origin := r.bypass(ctx, w, k, u, s.Object, b)
	if f != nil {
		f.Message = s.Mask.Text(f.Message)
		out = append(out, *f)
	}
	return out, slices.Contains(between, k.groupKind()) && metav1.GetControllerOf(u) != nil && (origin == audit.OriginManaged || origin == audit.OriginUnmanaged)
}

// describe tells policies, and messages, about the Release that an object belongs to.
func (r *run) describe(ctx context.Context, w *world, b behind, s *audit.Subject) {
	if b.release == nil {
		return
	}
	s.Template = b.release.Spec.Template.Name
	if b.rollout == nil {
		return
	}
	revision, err := w.revision(ctx, w.managed, b.rollout)
	if err != nil {
		return // it is gone; the Release is judged when it is applied
	}
	s.About = impact.About(b.release, revision, w.space.Labels)
	if revision.Spec.Schema != nil && b.rollout.Spec.Values != nil {
		s.Mask = secret.New(secret.Values(revision.Spec.Schema.Raw, b.rollout.Spec.Values.Raw))
	}
}

// bypass asks whether an object came around the gate, and remembers it as what others may
// come from.
func (r *run) bypass(ctx context.Context, w *world, k *kind, u *unstructured.Unstructured, object audit.Object, b behind) (*audit.Finding, audit.Origin) {
	label := u.GetLabels()[v1alpha1.LabelRelease]
	if (k.marked && label == "") || builtIn(object) {
		return nil, audit.OriginUnknown
	}
	f := audit.Facts{
		Object: object, Created: u.GetCreationTimestamp().Time, Gate: w.oldest.Name, GateFrom: w.oldest.CreationTimestamp.Time,
		Writers: w.writers, Over: over(u, r.Clock.Now()), Backing: b.backing, Release: label,
	}
	gk := k.groupKind()
	if gk == podKind {
		f.Static = static(u)
	}
	f.Derived = gk == podKind || (slices.Contains(between, gk) && (gk.Kind == "ReplicaSet" || metav1.GetControllerOf(u) != nil))
	f.Origin = map[audit.Backing]audit.Origin{audit.BackingNone: audit.OriginUnmanaged, audit.BackingRollout: audit.OriginManaged}[b.backing]
	if f.Derived {
		f.Origin, f.Owner = w.origin(ctx, u)
	}
	if slices.Contains(makers, gk) {
		w.links[u.GetUID()] = link{u.GetName(), f.Origin}
	}
	if b.want != nil {
		for _, d := range rendered.Compare(b.want, u.Object, w.mutators) {
			f.Differences = append(f.Differences, d.Path+": "+d.Text)
		}
	}
	f.BreakGlass = w.managed.excuse(objectName(k, u), b, r.Clock.Now())
	return audit.Bypass(f), f.Origin
}

// builtIn are objects that every cluster makes by itself.
func builtIn(o audit.Object) bool {
	return o.APIVersion == "v1" && (o.Kind == "ConfigMap" && o.Name == "kube-root-ca.crt" ||
		o.Kind == "Service" && o.Namespace == "default" && o.Name == "kubernetes")
}

// constrained asks Gatekeeper's constraints, as Gatekeeper's own audit does: about an object
// that nobody writes.
func (r *run) constrained(ctx context.Context, w *world, k *kind, u *unstructured.Unstructured, s audit.Subject) []audit.Finding {
	request := &admissionv1.AdmissionRequest{
		Kind: metav1.GroupVersionKind(k.gvk), Name: u.GetName(), Namespace: u.GetNamespace(),
		Resource: metav1.GroupVersionResource{Group: k.gvk.Group, Version: k.gvk.Version, Resource: k.resource},
	}
	request.Object.Raw = s.Raw
	review, err := gatekeeper.NewReview(request)
	if err != nil {
		return []audit.Finding{{Object: s.Object, Code: audit.ReasonIncomplete, Result: audit.Errored, Message: "wanted to ask constraints about it, found: " + err.Error()}}
	}
	review.Point, review.Source, review.Time, review.Namespace = gatekeeper.PointAudit, gatekeeper.SourceOriginal, r.Clock.Now(), w.space
	return audit.OfConstraints(s, r.rules.Judge(ctx, review))
}
