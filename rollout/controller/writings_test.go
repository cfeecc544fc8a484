package controller

import (
	"testing"
	"time"

	metav1 "k8s.io/apimachinery/pkg/apis/meta/v1"
	"sigs.k8s.io/controller-runtime/pkg/client"

	"tidegate.io/tidegate/rollout/plan"
	"tidegate.io/tidegate/schemas/v1alpha1"
)

func holding() v1alpha1.RolloutStatus {
	return v1alpha1.RolloutStatus{
		Phase: v1alpha1.RolloutProgressing, Step: 1, ApprovedWeight: 10, Weight: 10,
		Reason: plan.ReasonHoldPods, Message: "1 of 3 pods are available",
		Conditions: []metav1.Condition{{Type: v1alpha1.ConditionReady, Message: "1 of 3 pods are available"}},
	}
}

func TestWhatCanWaitToBeWritten(t *testing.T) {
	t.Parallel()
	for name, c := range map[string]struct {
		change    func(*v1alpha1.RolloutStatus)
		want      time.Duration
		newsworth bool
	}{
		"words wait": {
			func(s *v1alpha1.RolloutStatus) {
				s.Message, s.Conditions[0].Message = "2 of 3 pods are available", "2 of 3 pods are available"
			},
			wordsEvery, false,
		},
		"another passing hold waits a moment": {
			func(s *v1alpha1.RolloutStatus) { s.Reason = plan.ReasonHoldRoute }, viewEvery, false,
		},
		"so does a weight that was read back": {
			func(s *v1alpha1.RolloutStatus) { s.Weight = 5 }, viewEvery, false,
		},
		"a hold that somebody has to end is written and told at once": {
			func(s *v1alpha1.RolloutStatus) { s.Reason = plan.ReasonHoldApproval }, 0, true,
		},
		"a rise is": {
			func(s *v1alpha1.RolloutStatus) { s.ApprovedWeight, s.Step, s.Reason = 50, 2, plan.ReasonStepApproved }, 0, true,
		},
		"a step without a rise is written, and no event": {
			func(s *v1alpha1.RolloutStatus) { s.Step, s.Reason = 2, plan.ReasonStepReached }, 0, false,
		},
		"what a decision rests on is written at once": {
			func(s *v1alpha1.RolloutStatus) { s.StepStartedAt = new(metav1.NewMicroTime(time.Unix(1, 0))) }, 0, false,
		},
		"since when it waits for the gateway waits a moment, for mostly that is over then": {
			func(s *v1alpha1.RolloutStatus) {
				s.Reason, s.RouteUnsettledSince = plan.ReasonHoldRoute, new(metav1.NewMicroTime(time.Unix(1, 0)))
			}, viewEvery, false,
		},
		"so does since when it waits for pods of either set": {
			func(s *v1alpha1.RolloutStatus) {
				s.WaitingSince, s.StableShortSince = new(metav1.NewMicroTime(time.Unix(1, 0))), new(metav1.NewMicroTime(time.Unix(2, 0)))
			}, viewEvery, false,
		},
		"a fall is told": {
			func(s *v1alpha1.RolloutStatus) { s.ApprovedWeight, s.Reason = 0, plan.ReasonFallbackPods }, 0, true,
		},
		"an abort is": {
			func(s *v1alpha1.RolloutStatus) {
				s.Phase, s.Reason = v1alpha1.RolloutAborting, plan.ReasonAnalysisFail
			}, 0, true,
		},
		"the end is": {
			func(s *v1alpha1.RolloutStatus) { s.Phase, s.Reason = v1alpha1.RolloutSucceeded, plan.ReasonSucceeded }, 0, true,
		},
		"that the last step is passed is not, since the end follows": {
			func(s *v1alpha1.RolloutStatus) { s.Phase, s.Reason = v1alpha1.RolloutPromoting, plan.ReasonPromoting }, 0, false,
		},
	} {
		t.Run(name, func(t *testing.T) {
			t.Parallel()
			was, is := holding(), holding()
			c.change(&is)
			if got := patience(was, is); got != c.want {
				t.Errorf("can wait %s, want %s", got, c.want)
			}
			if got := newsworthy(&was, &is); got != c.newsworth {
				t.Errorf("newsworthy is %t, want %t", got, c.newsworth)
			}
		})
	}
}

func TestTheEndOfAWaitIsWrittenAtOnce(t *testing.T) {
	t.Parallel()
	since := metav1.NewMicroTime(time.Unix(1, 0))
	for name, field := range map[string]func(*v1alpha1.RolloutStatus) **metav1.MicroTime{
		"for the gateway":            func(s *v1alpha1.RolloutStatus) **metav1.MicroTime { return &s.RouteUnsettledSince },
		"for pods":                   func(s *v1alpha1.RolloutStatus) **metav1.MicroTime { return &s.WaitingSince },
		"for pods of the stable set": func(s *v1alpha1.RolloutStatus) **metav1.MicroTime { return &s.StableShortSince },
	} {
		t.Run(name, func(t *testing.T) {
			t.Parallel()
			was, is := holding(), holding()
			*field(&was) = &since
			if got := patience(was, is); got != 0 {
				t.Errorf("can wait %s: the next wait would seem to have begun with the last", got)
			}
			*field(&is), is.Weight = &since, 5
			if got := patience(was, is); got != viewEvery {
				t.Errorf("while it goes on, what was read back can wait %s, want %s", got, viewEvery)
			}
		})
	}
}

func TestWordsAreWrittenWhenTheirTimeHasCome(t *testing.T) {
	t.Parallel()
	var w writings
	key, now := client.ObjectKey{Name: "cart-1"}, time.Unix(100, 0)
	was, is := holding(), holding()
	is.Message = "2 of 3 pods are available"
	if got := w.wait(key, was, is, now); got != 0 {
		t.Errorf("the first waits %s: of a manager that has just begun nothing is known", got)
	}
	w.wrote(key, now)
	if got := w.wait(key, was, is, now.Add(2*time.Second)); got != 3*time.Second {
		t.Errorf("two seconds after a write it waits %s, want 3s", got)
	}
	if got := w.wait(key, was, is, now.Add(wordsEvery)); got != 0 {
		t.Errorf("after %s it waits %s more", wordsEvery, got)
	}
	w.forget(key)
	if got := w.wait(key, was, is, now.Add(time.Second)); got != 0 {
		t.Errorf("forgotten, it waits %s", got)
	}
}
