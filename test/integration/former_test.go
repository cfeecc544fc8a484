package integration

import (
	"slices"
	"testing"

	apierrors "k8s.io/apimachinery/pkg/api/errors"
	metav1 "k8s.io/apimachinery/pkg/apis/meta/v1"
	"sigs.k8s.io/controller-runtime/pkg/client"

	"tidegate.io/tidegate/rollout/plan"
	"tidegate.io/tidegate/schemas/v1alpha1"
)

// orphanIsTakenOver leaves behind what a Release made, in the midst of a canary, and makes it
// again with a third image: it goes over from what served, step by step, and not at once.
func orphanIsTakenOver(t *testing.T, w *world) {
	w.start()
	w.apply("v1", 2)
	w.awaitPhase(v1alpha1.ReleaseServing)
	w.measurer.judge(func(revision string, _ int32) v1alpha1.Verdict {
		if revision == w.revision("v2") {
			return v1alpha1.VerdictInconclusive
		}
		return v1alpha1.VerdictPass
	})
	w.apply("v2", 2)
	w.await("v2 gets its first traffic", func() bool { return w.weight("v2") == 5 })
	w.collectorKnowsRollouts()
	former := w.remove(metav1.DeletePropagationOrphan)

	third := w.watchWeights("v3")
	w.apply("v3", 2)
	w.awaitPhase(v1alpha1.ReleaseServing, "v3")
	w.wantServing("v3", 2)
	if got, want := third(), []int32{5, 25, 50, 100}; !slices.Equal(got, want) {
		t.Errorf("the weights of the third were %v, want %v", got, want)
	}
	second := w.rollout(2)
	if second.Status.Phase != v1alpha1.RolloutAborted || second.Status.AbortCause.Code != plan.ReasonAbortSuperseded {
		t.Errorf("the second Rollout is %s for %+v", second.Status.Phase, second.Status.AbortCause)
	}
	if r := w.rollout(3); r.Spec.Stable == nil || r.Spec.Stable.Rollout != w.rollout(1).Name {
		t.Errorf("the third Rollout is over %+v, want the first", r.Spec.Stable)
	}
	w.awaitGone(w.name("v1"))
	w.awaitGone(w.name("v2"))
	if w.release().UID == former.UID {
		t.Error("it is the Release that was deleted")
	}
	// What was taken over is its own, and goes with it.
	deletionTakes(t, w)
}

// replacedBeginsAnew deletes a Release and makes it again at once: it begins when what the
// former one made is gone, of which nothing is taken over.
func replacedBeginsAnew(t *testing.T, w *world) {
	w.start()
	w.apply("v1", 2)
	w.awaitPhase(v1alpha1.ReleaseServing)
	former := w.remove(metav1.DeletePropagationBackground)
	w.apply("v2", 2)
	w.awaitPhase(v1alpha1.ReleaseServing, "v2")
	w.wantServing("v2", 2)
	w.awaitGone(w.name("v1"))
	for _, r := range w.rollouts() {
		if metav1.IsControlledBy(&r, former) || r.Annotations[v1alpha1.AnnotationAdopted] != "" || r.Spec.Stable != nil {
			t.Errorf("wanted the history to begin anew, found %s of %+v over %+v", r.Name, r.OwnerReferences, r.Spec.Stable)
		}
	}
}

// collectorKnowsRollouts waits until the garbage collector deletes a Rollout without an owner. It learns of new kinds
// twice a minute, and an owner that is orphaned before that takes along what it does not know yet.
func (w *world) collectorKnowsRollouts() {
	w.t.Helper()
	stray := w.rollout(1)
	nobody := metav1.OwnerReference{APIVersion: v1alpha1.GroupVersion.String(), Kind: "Release", Name: "nobody", UID: "nobody"}
	// It is in a namespace that no manager here looks at.
	stray.ObjectMeta = metav1.ObjectMeta{Name: w.namespace, Namespace: metav1.NamespaceDefault, OwnerReferences: []metav1.OwnerReference{nobody}}
	w.create(stray)
	w.await("the garbage collector knows of Rollouts", func() bool {
		return apierrors.IsNotFound(w.client.Get(w.t.Context(), client.ObjectKeyFromObject(stray), &v1alpha1.Rollout{}))
	})
}

// remove deletes the Release and waits until it is gone.
func (w *world) remove(policy metav1.DeletionPropagation) *v1alpha1.Release {
	w.t.Helper()
	release := w.release()
	if err := w.client.Delete(w.t.Context(), release.DeepCopy(), client.PropagationPolicy(policy)); err != nil {
		w.t.Fatal(err)
	}
	w.await("the Release is gone", func() bool {
		return apierrors.IsNotFound(w.client.Get(w.t.Context(), client.ObjectKeyFromObject(release), &v1alpha1.Release{}))
	})
	return release
}
