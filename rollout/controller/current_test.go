package controller

import (
	"errors"
	"testing"

	metav1 "k8s.io/apimachinery/pkg/apis/meta/v1"
	"sigs.k8s.io/controller-runtime/pkg/client"

	"tidegate.io/tidegate/rollout/observe"
	"tidegate.io/tidegate/rollout/plan"
	"tidegate.io/tidegate/schemas/v1alpha1"
)

func TestActionsAreAboutTheRolloutAsItIs(t *testing.T) {
	t.Parallel()
	raise, measure := []plan.Action{{Kind: plan.ActionSetWeight}}, []plan.Action{{Kind: plan.ActionMeasure}}
	for name, c := range map[string]struct {
		phase v1alpha1.RolloutPhase
		// moved says that another manager has written it since, gone that it was deleted.
		moved, gone, recorded bool
		actions               []plan.Action
		overtaken             bool
	}{
		"one that nobody has written since goes on":                      {phase: v1alpha1.RolloutProgressing, actions: raise},
		"one that another manager has moved on does not":                 {phase: v1alpha1.RolloutProgressing, moved: true, actions: raise, overtaken: true},
		"nor does one that is gone":                                      {phase: v1alpha1.RolloutProgressing, gone: true, actions: raise, overtaken: true},
		"what was just recorded was recorded on the newest version":      {phase: v1alpha1.RolloutProgressing, moved: true, recorded: true, actions: raise},
		"a verdict is recorded on a version by itself":                   {phase: v1alpha1.RolloutProgressing, moved: true, actions: measure},
		"one that has ended has ended; whether it is replaced was asked": {phase: v1alpha1.RolloutSucceeded, moved: true, actions: raise},
	} {
		t.Run(name, func(t *testing.T) {
			t.Parallel()
			rollout := &v1alpha1.Rollout{
				ObjectMeta: metav1.ObjectMeta{Name: "cart-2", Namespace: "shop"}, Status: v1alpha1.RolloutStatus{Phase: c.phase},
			}
			cluster := newCluster(t, rollout)
			cached := &v1alpha1.Rollout{}
			if err := cluster.Get(t.Context(), client.ObjectKeyFromObject(rollout), cached); err != nil {
				t.Fatal(err)
			}
			now := cached.DeepCopy()
			var err error
			switch {
			case c.gone:
				err = cluster.Delete(t.Context(), now)
			case c.moved:
				now.Labels = map[string]string{"by": "another"}
				err = cluster.Update(t.Context(), now)
			}
			if err != nil {
				t.Fatal(err)
			}
			was := cached.DeepCopy()
			if c.recorded {
				was.ResourceVersion = "before"
			}
			loop := &rolloutLoop{live: observe.Reader{Live: cluster}}
			if err := loop.current(t.Context(), was, cached, c.actions); errors.Is(err, errOvertaken) != c.overtaken || err != nil && !c.overtaken {
				t.Errorf("got %v, want overtaken: %t", err, c.overtaken)
			}
		})
	}
}

func TestWhatHasEndedIsNotReportedAsUnderWay(t *testing.T) {
	t.Parallel()
	for name, c := range map[string]struct {
		told            v1alpha1.ReleasePhase
		cached, live    v1alpha1.RolloutPhase
		rollout         string
		overtaken, gone bool
	}{
		"a cache that is behind takes back no end":         {told: v1alpha1.ReleaseAborted, cached: v1alpha1.RolloutAborting, live: v1alpha1.RolloutAborted, rollout: "cart-2", overtaken: true},
		"nor that it serves":                               {told: v1alpha1.ReleaseServing, cached: v1alpha1.RolloutPromoting, live: v1alpha1.RolloutSucceeded, rollout: "cart-2", overtaken: true},
		"what is under way is reported as such":            {told: v1alpha1.ReleaseProgressing, cached: v1alpha1.RolloutAborting, live: v1alpha1.RolloutAborted, rollout: "cart-2"},
		"a newer one than the Release knows of begins":     {told: v1alpha1.ReleaseServing, cached: v1alpha1.RolloutProgressing, live: v1alpha1.RolloutProgressing, rollout: "cart-1"},
		"what the API server has as under way is reported": {told: v1alpha1.ReleaseServing, cached: v1alpha1.RolloutProgressing, live: v1alpha1.RolloutProgressing, rollout: "cart-2"},
	} {
		t.Run(name, func(t *testing.T) {
			t.Parallel()
			cluster := newCluster(t, &v1alpha1.Rollout{ObjectMeta: metav1.ObjectMeta{Name: "cart-2", Namespace: "shop"}, Status: v1alpha1.RolloutStatus{Phase: c.live}})
			var cached v1alpha1.Rollout
			if err := cluster.Get(t.Context(), client.ObjectKey{Namespace: "shop", Name: "cart-2"}, &cached); err != nil {
				t.Fatal(err)
			}
			if c.cached != c.live {
				cached.Status.Phase, cached.ResourceVersion = c.cached, "1"
			}
			release := &v1alpha1.Release{Status: v1alpha1.ReleaseStatus{Phase: c.told, Rollout: c.rollout}}
			err := (&releaseLoop{live: cluster}).older(t.Context(), release, []v1alpha1.Rollout{cached})
			if errors.Is(err, errOvertaken) != c.overtaken || err != nil && !c.overtaken {
				t.Errorf("got %v, want overtaken: %t", err, c.overtaken)
			}
		})
	}
}
