package integration

import (
	"slices"
	"testing"

	"k8s.io/apimachinery/pkg/types"
	"sigs.k8s.io/controller-runtime/pkg/client"

	"tidegate.io/tidegate/rollout/plan"
	"tidegate.io/tidegate/schemas/v1alpha1"
)

// sizeUnderWay scales a Release that is half way, with a manager that dies meanwhile: the Rollout
// stays in its step, the route is not touched, and what is promoted has the last size.
func sizeUnderWay(t *testing.T, w *world) {
	w.start()
	w.apply("v1", 4)
	w.awaitPhase(v1alpha1.ReleaseServing)
	seen := w.watchWeights("v2")
	half := func(_ string, step int32) v1alpha1.Verdict {
		if step >= 6 { // at 50 %
			return v1alpha1.VerdictInconclusive
		}
		return v1alpha1.VerdictPass
	}
	w.measurer.judge(half)
	w.apply("v2", 4)
	w.await("v2 gets half of the traffic", func() bool { return w.weight("v2") == 50 })
	w.await("half of the traffic is judged", func() bool {
		s := w.rollout(2).Status
		return s.Step == 6 && s.Reason == plan.ReasonHoldInconclusive
	})
	was, route := w.rollout(2), w.route().ResourceVersion
	// While it is judged the pods of the next weight, which is all of it, come up already.
	for i, size := range []int32{8, 2, 6} {
		if i == 1 {
			w.kill()
		}
		w.apply("v2", size)
		if i == 1 {
			w.start()
		}
		w.await("both sets have the size", func() bool {
			return w.deployment("v1").Status.AvailableReplicas == size && w.deployment("v2").Status.AvailableReplicas == size &&
				w.release().Status.ObservedGeneration == w.release().Generation
		})
		w.await("it is judged in that size", func() bool {
			a := w.rollout(2).Status.Analysis
			return a != nil && a.Digest == w.rollout(2).Spec.Digest
		})
		is := w.rollout(2)
		if is.Spec.Replicas != size || len(is.Spec.Resized) != i+1 || is.Status.Step != 6 ||
			!is.Status.ExposedAt.Equal(was.Status.ExposedAt) || !is.Status.ApprovedAt.Equal(was.Status.ApprovedAt) {
			t.Errorf("of %d pods: the Rollout is in step %d, exposed at %s and approved at %s, %d sizes; was exposed at %s and approved at %s",
				size, is.Status.Step, is.Status.ExposedAt, is.Status.ApprovedAt, len(is.Spec.Resized), was.Status.ExposedAt, was.Status.ApprovedAt)
		}
		if now := w.route(); w.weight("v2") != 50 || now.ResourceVersion != route && now.Generation != now.Status.Parents[0].Conditions[0].ObservedGeneration {
			t.Errorf("of %d pods: the route carries %d %%", size, w.weight("v2"))
		}
	}
	patch := client.RawPatch(types.MergePatchType, []byte(`{"spec":{"replicas":9}}`))
	if err := w.client.Patch(t.Context(), w.rollout(2), patch); err == nil {
		t.Error("anybody may change the size of a Rollout without a record of it")
	}
	w.measurer.judge(func(string, int32) v1alpha1.Verdict { return v1alpha1.VerdictPass })
	w.awaitPhase(v1alpha1.ReleaseServing, "v2")
	w.wantServing("v2", 6)
	w.awaitGone(w.name("v1"))
	if got, want := seen(), []int32{5, 25, 50, 100}; !slices.Equal(got, want) {
		t.Errorf("the weights on the route were %v, want %v", got, want)
	}
	if n := len(w.rollouts()); n != 2 {
		t.Errorf("there are %d Rollouts, want 2", n)
	}
}
