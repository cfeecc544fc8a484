// Package manifest says what Tidegate wants on the cluster for one Rollout: the objects
// of its two sets and the route between them, each with the owner, the digest and the
// weights that they carry. It also compares what is wanted with what is there. Package
// apply writes what this package makes and package observe compares with it, so the two
// cannot disagree. It is pure.
package manifest

import (
	"crypto/sha256"
	"encoding/hex"
	"encoding/json"
	"fmt"

	metav1 "k8s.io/apimachinery/pkg/apis/meta/v1"
	"k8s.io/apimachinery/pkg/apis/meta/v1/unstructured"

	"tidegate.io/tidegate/schemas/render"
	"tidegate.io/tidegate/schemas/v1alpha1"
)

// AnnotationAppliedDigest carries the digest of the manifest that an object was last
// applied from, replicas and weights aside, so that an object that is as it was rendered
// needs no write.
const AnnotationAppliedDigest = "tidegate.io/applied-digest"

// Sides are the two revisions of a Rollout as rendered from their pinned inputs.
type Sides struct {
	// Stable is nil where the Rollout has no stable revision, and where that could not be
	// rendered as it was judged.
	Stable *render.Result
	// Canary is nil where the Rollout's own revision could not be rendered as it was
	// judged.
	Canary *render.Result
	// Lent is true where a revision in place has no route of its own and has that of the sets, led to its
	// Service, for as long as a Rollout goes from the one to the other; see Apart.
	Lent bool
}

// Complete says whether every side that spec names was rendered.
func (s Sides) Complete(spec v1alpha1.RolloutSpec) bool {
	return s.Canary != nil && (s.Stable != nil || spec.Stable == nil)
}

// Rolling says whether the revisions share one workload, which is changed in place, rather
// than each being a set of its own that gets a share of the traffic.
func Rolling(spec v1alpha1.RolloutSpec) bool {
	return !spec.InSets()
}

// InPlace says whether both revisions are the same set, so that only its size, the route
// or the shared objects change.
func InPlace(spec v1alpha1.RolloutSpec) bool {
	return spec.Stable != nil && spec.Stable.Revision == spec.Revision
}

// Shared returns the objects outside of the sets that are wanted in phase: those of the
// Rollout's own revision, and after an abort those of the stable revision again.
func Shared(s Sides, phase v1alpha1.RolloutPhase) []*unstructured.Unstructured {
	if s.Stable != nil && (phase == v1alpha1.RolloutAborting || phase == v1alpha1.RolloutAborted) {
		return s.Stable.Shared
	}
	if s.Canary == nil {
		return nil
	}
	return s.Canary.Shared
}

// Wanted returns obj as Tidegate applies it for release: with the owner reference, by
// which the deletion of the Release takes it along, and the digest. obj is not changed.
func Wanted(obj *unstructured.Unstructured, release *v1alpha1.Release) (*unstructured.Unstructured, error) {
	out := obj.DeepCopy()
	out.SetOwnerReferences([]metav1.OwnerReference{Owner(release)})
	digest, err := Digest(out)
	if err != nil {
		return nil, err
	}
	annotations := out.GetAnnotations()
	if annotations == nil {
		annotations = map[string]string{}
	}
	annotations[AnnotationAppliedDigest] = digest
	out.SetAnnotations(annotations)
	return out, nil
}

// Owner returns the owner reference of everything that is made for release.
func Owner(release *v1alpha1.Release) metav1.OwnerReference {
	yes := true
	return metav1.OwnerReference{
		APIVersion:         v1alpha1.GroupVersion.String(),
		Kind:               "Release",
		Name:               release.Name,
		UID:                release.UID,
		Controller:         &yes,
		BlockOwnerDeletion: &yes,
	}
}

// Digest returns "sha256:" and the hex digest of the canonical JSON of obj, without the
// numbers of pods of a workload, which change from step to step.
func Digest(obj *unstructured.Unstructured) (string, error) {
	// encoding/json sorts the keys of maps, so these bytes are canonical.
	data, err := json.Marshal(withoutNumbers(obj))
	if err != nil {
		return "", fmt.Errorf("encoding %s %s: %w", obj.GetKind(), obj.GetName(), err)
	}
	sum := sha256.Sum256(data)
	return "sha256:" + hex.EncodeToString(sum[:]), nil
}

// UpToDate says whether live is as want, replicas and weights aside: it carries want's
// digest, Tidegate still owns every field that it applied, and it is not being deleted.
// Whoever changes or removes an applied field takes its ownership away, so this sees
// every foreign change of them, and none of what the API server fills in.
func UpToDate(live, want *unstructured.Unstructured) bool {
	if live.GetDeletionTimestamp() != nil {
		return false
	}
	digest := want.GetAnnotations()[AnnotationAppliedDigest]
	return digest != "" && live.GetAnnotations()[AnnotationAppliedDigest] == digest && ownsAll(live, want)
}
