package plan

import (
	"slices"
	"strings"
	"testing"
	"time"

	"tidegate.io/tidegate/schemas/v1alpha1"
)

// The least size of each set is 8 here. Their sizes do not tell what the load is: a set keeps its
// pods for minutes after its requests have gone.
func TestTheNewSetIsSizedByWhatTheAutoscalersMeasure(t *testing.T) {
	t.Parallel()
	// At 50 %, where all of the traffic waits for nothing but the analysis, the whole set is asked for.
	half := func(stable, canary int64, change func(*Observation)) Observation {
		return inStep(at50Approval, time.Second).with(func(o *Observation) {
			o.Status.Approvals = []v1alpha1.Approval{{Step: at50Approval, Actor: "alice"}}
			o.Stable, o.Canary = loaded(scaled(10, 10), stable, 40), loaded(scaled(10, 10), canary, 40)
			o.Canary.Lifted = 10
			if change != nil {
				change(o)
			}
		})
	}
	for name, c := range map[string]struct {
		o    Observation
		want int32 // pods of the new set; 0 where it is left as it is
	}{
		"the load is what it was":                           {half(5000, 5000, nil), 0},
		"it has doubled, and each set stands its half":      {half(10_000, 10_000, nil), 20},
		"a part of a pod is a pod":                          {half(6100, 6100, nil), 13},
		"one set says more than its share of the other":     {half(6000, 30_000, nil), 12},
		"the old set says more than both can be":            {half(10_000, 4000, nil), 14},
		"the route is on its way":                           {half(10_000, 10_000, func(o *Observation) { o.Traffic.Settled = false }), 0},
		"the new set has measured nothing yet":              {half(10_000, 0, nil), 0},
		"the old set measures nothing":                      {half(0, 10_000, nil), 0},
		"its autoscaler allows no more than 15":             {half(10_000, 10_000, func(o *Observation) { o.Canary.Most = 15 }), 15},
		"the old set has grown to more than that allows":    {half(0, 0, func(o *Observation) { o.Stable.Desired, o.Canary.Most = 30, 15 }), 15},
		"it allows fewer than the least, which is no bound": {half(10_000, 10_000, func(o *Observation) { o.Canary.Most, o.Canary.Desired = 4, 7 }), 8},
		"a set that nothing scales is as large as wanted":   {half(10_000, 10_000, func(o *Observation) { o.Canary = setOf(8, 8) }), 0},
		"shares of pods are no shares of a load":            {half(10_000, 10_000, func(o *Observation) { o.Spec.Router = v1alpha1.RouterService }), 0},
		"before the first weight it is the old set's alone": {
			inStep(0, 0).with(func(o *Observation) {
				o.Stable, o.Canary = loaded(scaled(8, 8), 24_000, 40), Set{Knowledge: Absent, Autoscaled: true, Most: 40}
			}), 6, // a quarter of 24
		},
	} {
		t.Run(name, func(t *testing.T) {
			t.Parallel()
			d := Next(c.o, t0)
			var got int32
			for _, a := range d.Actions {
				if a.Kind == ActionEnsureSet && a.Role == RoleCanary {
					got = a.Replicas
				}
			}
			if got != c.want {
				t.Errorf("asks for %d pods, want %d: %v", got, c.want, d.Actions)
			}
			for _, b := range broken(c.o, t0, d) {
				t.Error(b)
			}
		})
	}
}

// All of the traffic waits for the pods that stand it.
func TestTheLastRiseWaitsForWhatIsMeasured(t *testing.T) {
	t.Parallel()
	o := inStep(at50Approval, time.Minute).with(func(o *Observation) {
		o.Stable, o.Canary = loaded(scaled(10, 10), 10_000, 40), loaded(scaled(20, 10), 10_000, 40)
		o.Status.Analysis = roundOf(v1alpha1.VerdictPass, at50Approval, time.Second)
		o.Status.Approvals = []v1alpha1.Approval{{Step: at50Approval, Actor: "alice"}}
	})
	if d := Next(o, t0); d.Status.Reason != ReasonHoldPods || !strings.Contains(d.Status.Message, "10 of 20 pods are available") {
		t.Errorf("got %s: %s", d.Status.Reason, d.Status.Message)
	}
	o.Canary.Available = 20
	if d := Next(o, t0); d.Status.ApprovedWeight != 100 || !slices.Contains(d.Actions, Action{Kind: ActionSetWeight, Exposure: Exposure{Weight: 100}}) {
		t.Errorf("got %d %%, %v: %s", d.Status.ApprovedWeight, d.Actions, d.Status.Message)
	}
}

// A number of pods that an autoscaler changes is told when the Rollout ends, and not after that: each
// change would be a write.
func TestASuccessTellsHowManyPodsThereAre(t *testing.T) {
	t.Parallel()
	for name, c := range map[string]struct {
		set         Set
		told, stays string
	}{
		"as many as were wanted":        {setOf(8, 8), "with 8 pods", "with 8 pods"},
		"as many as the autoscaler has": {scaled(20, 20), "with 20 pods", "its autoscaler sizes it, from 8 pods up"},
	} {
		t.Run(name, func(t *testing.T) {
			t.Parallel()
			o := promoting(2 * time.Hour).with(func(o *Observation) {
				o.Canary, o.Stable, o.Status.Retiring = c.set, Set{Knowledge: Absent}, true
			})
			d := Next(o, t0)
			last := d.Status.History[len(d.Status.History)-1]
			if d.Status.Phase != v1alpha1.RolloutSucceeded || !strings.HasSuffix(last.Message, c.told) || !strings.HasSuffix(d.Status.Message, c.stays) {
				t.Errorf("%s: told %q, and stays %q", d.Status.Phase, last.Message, d.Status.Message)
			}
			o.Status = d.Status
			o.Canary.Desired, o.Canary.Available = o.Canary.Desired+3, o.Canary.Available+3
			if later := Next(o, t0); c.set.Autoscaled && later.Status.Message != d.Status.Message {
				t.Errorf("another size is told of: %q", later.Status.Message)
			}
		})
	}
}
