package controller

import (
	"testing"
	"time"

	"sigs.k8s.io/controller-runtime/pkg/client"

	"tidegate.io/tidegate/rollout/observe"
	"tidegate.io/tidegate/rollout/plan"
	"tidegate.io/tidegate/schemas/v1alpha1"
)

func TestADecisionWaitsForALagOnlySoLong(t *testing.T) {
	t.Parallel()
	key := client.ObjectKey{Namespace: "shop", Name: "cart-2"}
	start := time.Unix(1000, 0)
	lagging := &observe.World{Lagging: true}
	var l lags
	for _, c := range []struct {
		after time.Duration
		world *observe.World
		want  bool
	}{
		{0, lagging, true},
		{lagLimit - time.Millisecond, lagging, true},
		{lagLimit, lagging, false},
		{lagLimit + time.Second, lagging, false},
		// Once it has caught up, the next lag is another one.
		{lagLimit + 2*time.Second, &observe.World{}, false},
		{lagLimit + 3*time.Second, lagging, true},
		// An abort must not wait.
		{lagLimit + 3*time.Second, &observe.World{Lagging: true, Observation: plan.Observation{
			Commands: []plan.Command{{Name: "stop"}},
		}}, false},
		{lagLimit + 3*time.Second, &observe.World{Lagging: true, Observation: plan.Observation{Newer: "cart-3"}}, false},
	} {
		if got := l.wait(key, c.world, start.Add(c.after)); got != c.want {
			t.Errorf("after %s: waits %t, want %t", c.after, got, c.want)
		}
	}
}

func TestLagsForgetRolloutsThatAreGone(t *testing.T) {
	t.Parallel()
	rollout := attempt(2, "two", v1alpha1.RolloutProgressing, ofRelease("uid-1"))
	key := client.ObjectKeyFromObject(&rollout)
	for name, cached := range map[string][]client.Object{
		"a Rollout that is gone":                           nil,
		"a Rollout that is gone and still is in the cache": {&rollout},
	} {
		t.Run(name, func(t *testing.T) {
			t.Parallel()
			loop := &rolloutLoop{hooks: noHooks{}, client: newCluster(t, cached...), reader: observe.Reader{Live: newCluster(t)}}
			if !loop.lags.wait(key, &observe.World{Lagging: true}, time.Unix(1000, 0)) {
				t.Fatal("a lag is not waited for")
			}
			if _, err := loop.step(t.Context(), key); err != nil {
				t.Fatal(err)
			}
			if len(loop.lags.since) != 0 {
				t.Errorf("remembered: %v", loop.lags.since)
			}
		})
	}
}
