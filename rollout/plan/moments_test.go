package plan

import (
	"testing"
	"time"

	metav1 "k8s.io/apimachinery/pkg/apis/meta/v1"

	"tidegate.io/tidegate/schemas/v1alpha1"
)

// TestAClockThatIsSetBackHoldsNobodyUp decides on statuses that were written three hours later than now.
func TestAClockThatIsSetBackHoldsNobodyUp(t *testing.T) {
	t.Parallel()
	const later = -3 * time.Hour
	calling := canarySpec()
	calling.Strategy.Steps = []v1alpha1.Step{call("ask"), weigh(100)}
	calling.Strategy.Hooks = []v1alpha1.Hook{{Name: "ask"}}
	called := stepOf(calling, 1, time.Minute).with(func(o *Observation) {
		o.Status.Checks = []v1alpha1.Check{{Step: 1, Hook: "ask", Outcome: v1alpha1.CheckPending, Tries: 1, At: *at(3 * time.Hour)}}
		o.Answers = []Answer{{Call: Call{Step: 1, Hook: "ask", Try: 1}, Done: true}}
	})
	for name, c := range map[string]struct {
		o Observation
		// within is when to look again at the latest; what is waited for takes no longer than that.
		within time.Duration
		// moment is what is to be now in the status; nil where it is to stay as it was.
		moment func(v1alpha1.RolloutStatus) *metav1.MicroTime
	}{
		"the window of an analysis begins now": {
			inStep(at50, later), 20 * time.Second, func(s v1alpha1.RolloutStatus) *metav1.MicroTime { return s.ExposedAt },
		},
		"so does a pause": {
			inStep(at25, later), 30 * time.Second, func(s v1alpha1.RolloutStatus) *metav1.MicroTime { return s.StepStartedAt },
		},
		"so does a drain": {
			promoting(later), 30 * time.Second, func(s v1alpha1.RolloutStatus) *metav1.MicroTime { return s.DrainStartedAt },
		},
		"so does the drain of an abort": {
			aborting(0).with(func(o *Observation) { o.Status.DrainStartedAt = at(3 * time.Hour) }), 30 * time.Second,
			func(s v1alpha1.RolloutStatus) *metav1.MicroTime { return s.DrainStartedAt },
		},
		"so does the wait for pods": {
			inStep(to25, time.Minute).with(func(o *Observation) { o.Canary, o.Status.WaitingSince = setOf(2, 0), at(3*time.Hour) }), 5 * time.Minute,
			func(s v1alpha1.RolloutStatus) *metav1.MicroTime { return s.WaitingSince },
		},
		"an approval grows old from now": {
			inStep(to50, later).with(func(o *Observation) { o.Traffic, o.Status.Paused = routeAt(25), true }), approvalLife + time.Second,
			func(s v1alpha1.RolloutStatus) *metav1.MicroTime { return s.ApprovedAt },
		},
		"a hook is called again a while from now": {
			called, defaultInterval,
			func(s v1alpha1.RolloutStatus) *metav1.MicroTime { return &s.Checks[0].At },
		},
		"a clock that is behind by seconds is as good as any": {
			inStep(at50, -9*time.Second), 29 * time.Second, nil,
		},
	} {
		t.Run(name, func(t *testing.T) {
			t.Parallel()
			d := Next(c.o, t0)
			if d.RequeueAfter <= 0 || d.RequeueAfter > c.within {
				t.Errorf("looks again after %s, want %s at most: %s", d.RequeueAfter, c.within, d.Status.Message)
			}
			if c.moment == nil {
				if !d.Status.ExposedAt.Equal(c.o.Status.ExposedAt) {
					t.Errorf("exposed at %s, want %s as it was", d.Status.ExposedAt, c.o.Status.ExposedAt)
				}
			} else if is := c.moment(d.Status); is == nil || !is.Time.Equal(t0) {
				t.Errorf("it began at %s, want %s: %s", is, t0, d.Status.Message)
			}
		})
	}
}
