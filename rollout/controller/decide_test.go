package controller

import (
	"errors"
	"testing"

	metav1 "k8s.io/apimachinery/pkg/apis/meta/v1"
	"k8s.io/apimachinery/pkg/runtime"

	"tidegate.io/tidegate/rollout/plan"
	"tidegate.io/tidegate/schemas/render"
	"tidegate.io/tidegate/schemas/v1alpha1"
)

// attempt is a Rollout of Release cart whose digest and revision are made from word.
func attempt(number int64, word string, phase v1alpha1.RolloutPhase, change ...func(*v1alpha1.Rollout)) v1alpha1.Rollout {
	r := v1alpha1.Rollout{
		ObjectMeta: metav1.ObjectMeta{Name: rolloutName("cart", number), Namespace: "shop"},
		Spec: v1alpha1.RolloutSpec{
			Release: "cart", Number: number, ReleaseGeneration: number, TemplateRevision: full("web-1"),
			Values:   &runtime.RawExtension{Raw: []byte(`{"image":"` + word + `"}`)},
			Revision: "rev-" + word, Digest: "sha256:" + word, Replicas: 3,
		},
		Status: v1alpha1.RolloutStatus{Phase: phase},
	}
	for _, c := range change {
		c(&r)
	}
	return r
}

func asked(generation int64, word, templateRevision string) wish {
	return wish{
		release: &v1alpha1.Release{
			ObjectMeta: metav1.ObjectMeta{Name: "cart", Namespace: "shop", Generation: generation},
			Spec: v1alpha1.ReleaseSpec{
				Template: v1alpha1.TemplateReference{Name: "web"},
				Values:   &runtime.RawExtension{Raw: []byte(`{ "image" : "` + word + `" }`)},
			},
		},
		templateRevision: templateRevision,
		result:           &render.Result{Revision: "rev-" + word, Digest: "sha256:" + word, Replicas: 3},
	}
}

func TestNextRollout(t *testing.T) {
	t.Parallel()
	drifted := asked(1, "one", full("web-1"))
	drifted.result = &render.Result{Revision: "rev-drift", Digest: "sha256:drift"}
	cause := func(code string) func(*v1alpha1.Rollout) {
		return func(r *v1alpha1.Rollout) { r.Status.AbortCause = &v1alpha1.Cause{Code: code} }
	}
	// rerendered is one revision with something else around it, as a new template gives it.
	rerendered := func(w wish) wish {
		w.result.Digest += "-rerendered"
		return w
	}
	rejectedWith := func(causes ...func(*v1alpha1.Rollout)) []v1alpha1.Rollout {
		return []v1alpha1.Rollout{
			attempt(1, "one", v1alpha1.RolloutSucceeded), attempt(2, "two", v1alpha1.RolloutAborted, causes...),
		}
	}
	whole := func(r *v1alpha1.Rollout) { r.Status.Weight = 100 }
	for name, c := range map[string]struct {
		wish     wish
		rollouts []v1alpha1.Rollout
		// create is "name over stable", or empty.
		create string
		code   string
		again  bool
	}{
		"the first Rollout is over nothing": {
			wish: asked(1, "one", full("web-1")), create: "cart-1 over ",
		},
		"a spec that serves needs nothing": {
			wish: asked(1, "one", full("web-1")), rollouts: []v1alpha1.Rollout{attempt(1, "one", v1alpha1.RolloutSucceeded)},
		},
		"a change that renders to the same needs nothing": {
			wish: asked(7, "one", full("web-2")), rollouts: []v1alpha1.Rollout{attempt(1, "one", v1alpha1.RolloutSucceeded)},
		},
		"a new spec is rolled out over what serves": {
			wish: asked(2, "two", full("web-1")), rollouts: []v1alpha1.Rollout{attempt(1, "one", v1alpha1.RolloutSucceeded)},
			create: "cart-2 over cart-1",
		},
		"a new template revision is rolled out without a new generation": {
			wish: asked(1, "two", full("web-2")), rollouts: []v1alpha1.Rollout{attempt(1, "one", v1alpha1.RolloutSucceeded)},
			create: "cart-2 over cart-1",
		},
		"a newer spec does not wait for the older one, and is over the same": {
			wish: asked(3, "three", full("web-1")),
			rollouts: []v1alpha1.Rollout{
				attempt(1, "one", v1alpha1.RolloutSucceeded), attempt(2, "two", v1alpha1.RolloutProgressing),
			},
			create: "cart-3 over cart-1",
		},
		"what was rejected is not tried again by itself": {
			wish: asked(2, "two", full("web-1")),
			rollouts: []v1alpha1.Rollout{
				attempt(1, "one", v1alpha1.RolloutSucceeded), attempt(2, "two", v1alpha1.RolloutAborted, cause(plan.ReasonAnalysisFail)),
			},
		},
		"what was rejected is tried again when it is applied anew": {
			wish: asked(3, "two", full("web-1")),
			rollouts: []v1alpha1.Rollout{
				attempt(1, "one", v1alpha1.RolloutSucceeded), attempt(2, "two", v1alpha1.RolloutAborted, cause(plan.ReasonAnalysisFail)),
			},
			create: "cart-3 over cart-1",
		},
		"what never began, since its stable revision had changed, is tried again by itself": {
			wish: asked(2, "two", full("web-1")),
			rollouts: []v1alpha1.Rollout{
				attempt(1, "one", v1alpha1.RolloutSucceeded), attempt(2, "two", v1alpha1.RolloutAborted, cause(plan.ReasonAbortOutdated)),
			},
			create: "cart-3 over cart-1",
		},
		"a template that renders something else around a rejected revision does not expose it again": {
			wish: rerendered(asked(2, "two", full("web-2"))), rollouts: rejectedWith(cause(plan.ReasonAnalysisFail)),
		},
		"nor one that was rejected without a cause": {
			wish: rerendered(asked(2, "two", full("web-2"))), rollouts: rejectedWith(),
		},
		"a template that changes the rejected revision is rolled out": {
			wish: asked(2, "mended", full("web-2")), rollouts: rejectedWith(cause(plan.ReasonAnalysisFail)),
			create: "cart-3 over cart-1",
		},
		"a rejected revision with something else around it is tried again when it is applied anew": {
			wish: rerendered(asked(3, "two", full("web-2"))), rollouts: rejectedWith(cause(plan.ReasonAnalysisFail)),
			create: "cart-3 over cart-1",
		},
		"what never began is not rejected": {
			wish: rerendered(asked(2, "two", full("web-2"))), rollouts: rejectedWith(cause(plan.ReasonAbortOutdated)),
			create: "cart-3 over cart-1",
		},
		"what was superseded is not rejected": {
			wish: rerendered(asked(2, "two", full("web-2"))), rollouts: rejectedWith(cause(plan.ReasonAbortSuperseded)),
			create: "cart-3 over cart-1",
		},
		"values that were put back after an abort go over themselves": {
			wish: asked(3, "one", full("web-1")),
			rollouts: []v1alpha1.Rollout{
				attempt(1, "one", v1alpha1.RolloutSucceeded), attempt(2, "two", v1alpha1.RolloutAborted),
			},
			create: "cart-3 over cart-1",
		},
		"a promotion under way is waited for": {
			wish: asked(3, "three", full("web-1")),
			rollouts: []v1alpha1.Rollout{
				attempt(1, "one", v1alpha1.RolloutSucceeded), attempt(2, "two", v1alpha1.RolloutPromoting, whole),
			},
			code: ReasonRolloutQueued,
		},
		"a promotion whose route the gateway does not accept is superseded": {
			wish: asked(3, "three", full("web-1")),
			rollouts: []v1alpha1.Rollout{
				attempt(1, "one", v1alpha1.RolloutSucceeded),
				attempt(2, "two", v1alpha1.RolloutPromoting, whole, func(r *v1alpha1.Rollout) { r.Status.Reason = plan.ReasonHoldRoute }),
			},
			create: "cart-3 over cart-1",
		},
		"a promotion that somebody paused is superseded": {
			wish: asked(3, "three", full("web-1")),
			rollouts: []v1alpha1.Rollout{
				attempt(1, "one", v1alpha1.RolloutSucceeded),
				attempt(2, "two", v1alpha1.RolloutPromoting, whole, func(r *v1alpha1.Rollout) { r.Status.Paused = true }),
			},
			create: "cart-3 over cart-1",
		},
		"the same inputs that render to something else are reported and not rolled out": {
			wish: drifted, rollouts: []v1alpha1.Rollout{attempt(1, "one", v1alpha1.RolloutSucceeded)},
			code: ReasonEngineDrift,
		},
		"a spec that was read before the newest one is read again": {
			wish: asked(1, "one", full("web-1")),
			rollouts: []v1alpha1.Rollout{
				attempt(1, "one", v1alpha1.RolloutSucceeded), attempt(2, "two", v1alpha1.RolloutProgressing),
			},
			again: true,
		},
	} {
		t.Run(name, func(t *testing.T) {
			t.Parallel()
			got, err := nextRollout(c.wish, c.rollouts, nextNumber(c.wish.release, c.rollouts))
			create := ""
			if got != nil {
				create = got.Name + " over "
				if got.Spec.Stable != nil {
					create += got.Spec.Stable.Rollout
				}
				if got.Spec.Digest != c.wish.result.Digest || got.Spec.ReleaseGeneration != c.wish.release.Generation {
					t.Errorf("the Rollout does not pin the wish: %+v", got.Spec)
				}
			}
			if create != c.create {
				t.Errorf("creates %q, want %q", create, c.create)
			}
			cause, _ := causeOf(err)
			if code := ""; cause != nil || c.code != "" {
				if cause != nil {
					code = cause.Code
				}
				if code != c.code {
					t.Errorf("the code is %q, want %q", code, c.code)
				}
			}
			if again := errors.Is(err, errOvertaken); again != c.again {
				t.Errorf("reads again: %t, want %t (%v)", again, c.again, err)
			}
		})
	}
}

func TestNextNumberIsNeverUsedTwice(t *testing.T) {
	t.Parallel()
	release := &v1alpha1.Release{ObjectMeta: metav1.ObjectMeta{Name: "cart"}}
	if got := nextNumber(release, []v1alpha1.Rollout{attempt(4, "x", ""), attempt(9, "y", "")}); got != 10 {
		t.Errorf("after 4 and 9 comes %d", got)
	}
	release.Status.Rollout = "cart-12"
	if got := nextNumber(release, []v1alpha1.Rollout{attempt(4, "x", "")}); got != 13 {
		t.Errorf("after a deleted 12 comes %d", got)
	}
	release.Status.Rollout = "other-40"
	if got := nextNumber(release, nil); got != 1 {
		t.Errorf("the first is %d", got)
	}
}

func TestConditionReason(t *testing.T) {
	t.Parallel()
	for code, want := range map[string]string{
		"TG-ANALYSIS-FAIL": "AnalysisFail",
		"TG-SUCCEEDED":     "Succeeded",
		"":                 "Unknown",
	} {
		if got := conditionReason(code); got != want {
			t.Errorf("%q becomes %q, want %q", code, got, want)
		}
	}
}
