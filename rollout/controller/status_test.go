package controller

import (
	"errors"
	"testing"
	"time"

	kstatus "github.com/fluxcd/cli-utils/pkg/kstatus/status"
	"github.com/google/go-cmp/cmp"
	"k8s.io/apimachinery/pkg/api/meta"
	metav1 "k8s.io/apimachinery/pkg/apis/meta/v1"
	"k8s.io/apimachinery/pkg/apis/meta/v1/unstructured"
	"k8s.io/apimachinery/pkg/runtime"

	"tidegate.io/tidegate/rollout/plan"
	"tidegate.io/tidegate/schemas/render"
	"tidegate.io/tidegate/schemas/v1alpha1"
)

func says(reason, message string, weight int32) func(*v1alpha1.Rollout) {
	return func(r *v1alpha1.Rollout) {
		r.Status.Reason, r.Status.Message, r.Status.Weight = reason, message, weight
		all := int32(100)
		r.Spec.Strategy.Steps = []v1alpha1.Step{{}, {}, {}, {SetWeight: &all}}
	}
}

func step(n int32) func(*v1alpha1.Rollout) {
	return func(r *v1alpha1.Rollout) {
		r.Status.Step = n
		r.Spec.Stable = &v1alpha1.StableReference{Rollout: "cart-1", Revision: "rev-one", Replicas: 3}
	}
}

func TestReleaseStatus(t *testing.T) {
	t.Parallel()
	type seen struct {
		Phase                                   v1alpha1.ReleasePhase
		Message, Step, Rollout, Revision        string
		Stable, StableRollout                   string
		Weight                                  int32
		Ready, Reconciling, Stalled, ReadyCause string
	}
	first := attempt(1, "one", v1alpha1.RolloutSucceeded, says(plan.ReasonSucceeded, "rev-one has it all", 100))
	for name, c := range map[string]struct {
		report report
		want   seen
	}{
		"a Release without a template waits": {
			report{cause: &v1alpha1.Cause{Code: ReasonTemplateMissing, Message: "no template"}},
			seen{
				Phase: v1alpha1.ReleasePending, Message: "no template", Revision: "rev-before",
				Ready: "False", Reconciling: "True", ReadyCause: "TemplateMissing",
			},
		},
		"a Release that serves is ready": {
			report{revision: "rev-one", templateRevision: "web-1", rollouts: []v1alpha1.Rollout{first}},
			seen{
				Phase: v1alpha1.ReleaseServing, Message: "rev-one has it all", Rollout: "cart-1", Revision: "rev-one",
				Stable: "rev-one", StableRollout: "cart-1", Weight: 100, Ready: "True", ReadyCause: "Succeeded",
			},
		},
		"a canary shows its step and weight and what an abort returns to": {
			report{revision: "rev-two", rollouts: []v1alpha1.Rollout{
				first, attempt(2, "two", v1alpha1.RolloutProgressing, says(plan.ReasonHoldTime, "holding", 25), step(2)),
			}},
			seen{
				Phase: v1alpha1.ReleaseProgressing, Message: "holding", Step: "2/4", Rollout: "cart-2", Revision: "rev-two",
				Stable: "rev-one", StableRollout: "cart-1", Weight: 25, Ready: "False", Reconciling: "True", ReadyCause: "HoldTime",
			},
		},
		"a canary that waits for an approval is paused": {
			report{revision: "rev-two", rollouts: []v1alpha1.Rollout{
				first, attempt(2, "two", v1alpha1.RolloutProgressing, says(plan.ReasonHoldApproval, "approve it", 25), step(2)),
			}},
			seen{
				Phase: v1alpha1.ReleasePaused, Message: "approve it", Step: "2/4", Rollout: "cart-2", Revision: "rev-two",
				Stable: "rev-one", StableRollout: "cart-1", Weight: 25, Ready: "False", Reconciling: "True", ReadyCause: "HoldApproval",
			},
		},
		"a rejected revision is stalled, so that no tool takes it for live": {
			report{revision: "rev-two", rollouts: []v1alpha1.Rollout{
				first, attempt(2, "two", v1alpha1.RolloutAborted, says(plan.ReasonAnalysisFail, "5 % errors", 0), step(1)),
			}},
			seen{
				Phase: v1alpha1.ReleaseAborted, Message: "5 % errors", Step: "1/4", Rollout: "cart-2", Revision: "rev-two",
				Stable: "rev-one", StableRollout: "cart-1", Ready: "False", Stalled: "True", ReadyCause: "AnalysisFail",
			},
		},
		"a revision that was brought back is stalled too, and says who did it and how to leave it": {
			report{revision: "rev-two", restored: true, rollouts: []v1alpha1.Rollout{
				first, attempt(2, "two", v1alpha1.RolloutSucceeded), attempt(3, "one", v1alpha1.RolloutSucceeded, says(plan.ReasonSucceeded, "rev-one has it all", 100),
					func(r *v1alpha1.Rollout) {
						r.Spec.Restores = &v1alpha1.Restoration{Rollout: "cart-1", Command: "undo-x", Actor: "alice"}
					}),
			}},
			seen{
				Phase: v1alpha1.ReleaseAborted, Message: "revision rev-one of Rollout cart-1 serves, which alice brought back (RolloutCommand undo-x); the spec asks for revision rev-two, which is not rolled out. " +
					"Apply the Release with a change to roll it out: kubectl edit release cart -n shop",
				Rollout: "cart-3", Revision: "rev-two", Stable: "rev-one", StableRollout: "cart-3", Ready: "False", Stalled: "True", ReadyCause: "ReleaseRestored",
			},
		},
		"values that do not fit leave what serves alone": {
			report{
				cause: &v1alpha1.Cause{Code: render.ReasonValuesInvalid, Message: "bad port"}, stalled: true,
				rollouts: []v1alpha1.Rollout{first},
			},
			seen{
				Phase: v1alpha1.ReleaseInvalid, Message: "bad port (revision rev-one serves on)", Rollout: "cart-1", Revision: "rev-before",
				Stable: "rev-one", StableRollout: "cart-1", Ready: "False", Stalled: "True", ReadyCause: "ValuesInvalid",
			},
		},
		"a drifted engine changes nothing about what serves": {
			report{
				cause:    &v1alpha1.Cause{Code: ReasonEngineDrift, Message: "other output"},
				revision: "rev-one", rollouts: []v1alpha1.Rollout{first},
			},
			seen{
				Phase: v1alpha1.ReleaseServing, Message: "TG-ENGINE-DRIFT: other output", Rollout: "cart-1", Revision: "rev-one",
				Stable: "rev-one", StableRollout: "cart-1", Weight: 100, Ready: "True", ReadyCause: "Succeeded",
			},
		},
		"what the cluster refuses is told": {
			report{revision: "rev-two", rollouts: []v1alpha1.Rollout{
				first, attempt(2, "two", v1alpha1.RolloutProgressing, says(plan.ReasonHoldPods, "0 of 1", 0), step(0), func(r *v1alpha1.Rollout) {
					conditions{&r.Status.Conditions, 1, time.Unix(0, 0)}.applied(errors.New("quota"))
				}),
			}},
			seen{
				Phase: v1alpha1.ReleaseProgressing, Message: "TG-APPLY-FAILED: quota", Rollout: "cart-2", Revision: "rev-two",
				Stable: "rev-one", StableRollout: "cart-1", Ready: "False", Reconciling: "True", ReadyCause: "HoldPods",
			},
		},
	} {
		t.Run(name, func(t *testing.T) {
			t.Parallel()
			release := &v1alpha1.Release{ObjectMeta: metav1.ObjectMeta{Name: "cart", Namespace: "shop", Generation: 5}}
			release.Status.Revision = "rev-before"
			// What an earlier phase left must not stay.
			conditions{&release.Status.Conditions, 4, time.Unix(0, 0)}.stalled("Before", "before")
			conditions{&release.Status.Conditions, 4, time.Unix(0, 0)}.reconciling("Before", "before")

			got := releaseStatus(release, c.report, time.Unix(100, 0))
			condition := func(kind string) string {
				if found := meta.FindStatusCondition(got.Conditions, kind); found != nil {
					if found.ObservedGeneration != 5 {
						t.Errorf("%s is of generation %d", kind, found.ObservedGeneration)
					}
					return string(found.Status)
				}
				return ""
			}
			ready := meta.FindStatusCondition(got.Conditions, v1alpha1.ConditionReady)
			if diff := cmp.Diff(c.want, seen{
				got.Phase, got.Message, got.Step, got.Rollout, got.Revision, got.StableRevision, got.StableRollout, got.Weight,
				condition(v1alpha1.ConditionReady), condition(v1alpha1.ConditionReconciling), condition(v1alpha1.ConditionStalled), ready.Reason,
			}); diff != "" {
				t.Errorf("(-want +got):\n%s", diff)
			}
			if got.ObservedGeneration != 5 {
				t.Errorf("observed generation is %d", got.ObservedGeneration)
			}

			// What Flux, Helm and Argo CD make of it, by the library that they use.
			want := kstatus.CurrentStatus
			switch {
			case c.want.Reconciling == "True":
				want = kstatus.InProgressStatus
			case c.want.Stalled == "True":
				want = kstatus.FailedStatus
			}
			release.Status = got
			object, err := runtime.DefaultUnstructuredConverter.ToUnstructured(release)
			if err != nil {
				t.Fatal(err)
			}
			seen, err := kstatus.Compute(&unstructured.Unstructured{Object: object})
			if err != nil {
				t.Fatal(err)
			}
			if seen.Status != want {
				t.Errorf("kstatus takes it for %s, wanted %s: %s", seen.Status, want, seen.Message)
			}
		})
	}
}
