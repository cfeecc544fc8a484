package plan

import (
	"slices"
	"testing"
	"time"

	"tidegate.io/tidegate/schemas/v1alpha1"
)

// lifted is a set whose autoscaler leaves it so many pods at least, and 8 as rendered.
func lifted(s Set, least int32) Set {
	s.Autoscaled, s.Least, s.Most, s.Lifted = true, 8, 40, least
	return s
}

func TestTheStableSetKeepsThePodsThatItsAutoscalerHasAskedFor(t *testing.T) {
	t.Parallel()
	told := func(replicas, least int32) []Action {
		return []Action{{Kind: ActionEnsureSet, Role: RoleStable, Replicas: replicas, Least: least}}
	}
	pods := func(replicas, least int32) []Action {
		return []Action{{Kind: ActionEnsureSet, Role: RoleCanary, Replicas: replicas, Least: least}}
	}
	canary := func(least int32) []Action { return pods(20, least) }
	back := func(ended time.Duration, change func(*Observation)) Observation {
		return ended25(ended).with(func(o *Observation) {
			o.Stable = lifted(setOf(20, 20), 20)
			if change != nil {
				change(o)
			}
		})
	}
	alone := func(began time.Duration, s Set) Observation {
		return Observation{
			Spec: inPlaceSpec(), Shared: Present, Promotion: allowed, Baseline: Set{Knowledge: Absent}, Traffic: routeAt(100), Stable: s, Canary: s,
			Status: v1alpha1.RolloutStatus{Phase: v1alpha1.RolloutSucceeded, Reason: ReasonSucceeded, ApprovedWeight: 100, Weight: 100, ApprovedAt: at(-began)},
		}
	}
	switched := func(change func(*Observation)) Observation {
		return promoting(time.Second).with(func(o *Observation) {
			o.Stable, o.Status.StableLoad = lifted(setOf(20, 20), 20), 20
			change(o)
			if o.Status.Retiring {
				o.Stable, o.Status.StableLoad = Set{Knowledge: Absent}, 0
			}
		})
	}
	over := func(ago time.Duration) Observation {
		return ended(v1alpha1.RolloutSucceeded).with(func(o *Observation) {
			o.Canary = lifted(setOf(20, 20), 20)
			o.Status.History = []v1alpha1.HistoryEntry{{At: *at(-ago), Phase: v1alpha1.RolloutSucceeded}}
		})
	}
	deleting := func(o *Observation) { o.Status.Retiring = true }
	plain := func(change func(*Observation)) Observation {
		return inStep(at25, 10*time.Second).with(func(o *Observation) {
			o.Spec.Router = v1alpha1.RouterService
			change(o)
		})
	}
	place := func(o Observation, change func(*Observation)) Observation {
		return o.with(func(o *Observation) {
			o.Spec, o.Canary = intoPlaceSpec(), lifted(setOf(20, 20), 20)
			if change != nil {
				change(o)
			}
		})
	}
	pausing := func(change func(*Observation)) Observation {
		o := inStep(at25, 10*time.Second)
		o.Canary = setOf(2, 2)
		return o.with(change)
	}
	for name, c := range map[string]struct {
		o    Observation
		want []Action // for either set
		load int32    // what is remembered
		due  time.Duration
	}{
		"as many as are rendered need nothing":   {o: pausing(func(o *Observation) { o.Stable = lifted(setOf(8, 8), 0) }), load: 8},
		"more are kept":                          {o: pausing(func(o *Observation) { o.Stable = lifted(setOf(20, 20), 0) }), want: told(20, 20), load: 20},
		"they are kept already":                  {o: pausing(func(o *Observation) { o.Stable, o.Status.StableLoad = lifted(setOf(20, 20), 20), 20 }), load: 20},
		"it has grown since":                     {o: pausing(func(o *Observation) { o.Stable, o.Status.StableLoad = lifted(setOf(24, 20), 20), 20 }), want: told(24, 24), load: 24},
		"it has shrunk while nobody looked":      {o: pausing(func(o *Observation) { o.Stable, o.Status.StableLoad = lifted(setOf(9, 9), 0), 20 }), want: told(20, 20), load: 20},
		"it is gone":                             {o: pausing(func(o *Observation) { o.Stable, o.Status.StableLoad = lifted(Set{Knowledge: Absent}, 0), 20 }), want: told(20, 20), load: 20},
		"it cannot be read":                      {o: pausing(func(o *Observation) { o.Stable, o.Status.StableLoad = Set{}, 20 }), load: 20},
		"no more than its autoscaler allows":     {o: pausing(func(o *Observation) { o.Stable = lifted(setOf(60, 60), 0) }), want: told(60, 40), load: 60},
		"what a Rollout before it kept":          {o: pausing(func(o *Observation) { o.Stable = lifted(setOf(12, 12), 20) }), want: told(20, 20), load: 20},
		"the old set is to give up pods":         {o: pausing(func(o *Observation) { o.Stable, o.Spec.Strategy.DynamicStableScale = lifted(setOf(20, 20), 0), true }), load: 20},
		"the old set is a workload in place":     {o: pausing(func(o *Observation) { o.Stable, o.Spec = lifted(setOf(20, 20), 0), outOfPlaceSpec(canarySpec)() }), load: 20},
		"nothing sizes the old set":              {o: pausing(func(o *Observation) { o.Stable = setOf(8, 8) })},
		"the new one has pods enough":            {o: pausing(func(o *Observation) { o.Stable, o.Canary = setOf(8, 8), lifted(setOf(8, 8), 0) })},
		"it has them while it waits":             {o: pausing(func(o *Observation) { o.Stable, o.Canary = setOf(8, 8), lifted(setOf(20, 20), 20) })},
		"it keeps those that its requests need":  {o: switched(func(o *Observation) { o.Canary = lifted(setOf(20, 20), 0) }), want: canary(20), load: 20},
		"it has lost some already":               {o: switched(func(o *Observation) { o.Canary = lifted(setOf(9, 9), 0) }), want: canary(20), load: 20},
		"no more than its own autoscaler allows": {o: switched(func(o *Observation) { o.Canary = lifted(setOf(15, 15), 0); o.Canary.Most = 15 }), want: pods(15, 15), load: 20},
		"nothing sizes the new set":              {o: switched(func(o *Observation) { o.Canary = setOf(8, 8) }), load: 20},
		"while the old set is deleted":           {o: switched(func(o *Observation) { o.Canary, o.Status.Retiring = lifted(setOf(20, 20), 20), true })},
		"until that is done":                     {o: switched(func(o *Observation) { o.Canary = lifted(setOf(20, 20), 20) }).with(deleting)},
		"one that came late is left":             {o: switched(func(o *Observation) { o.Canary = lifted(setOf(20, 20), 0) }).with(deleting)},
		"what waits for proxies is not needed": {o: pausing(func(o *Observation) {
			o.Stable, o.Canary, o.Traffic.Settled = lifted(setOf(20, 20), 20), lifted(setOf(20, 20), 0), false
		}), load: 20},
		"where no weight can be read":            {o: plain(func(o *Observation) { o.Canary, o.Traffic = lifted(setOf(20, 20), 20), Traffic{} })},
		"where pods are the weight":              {o: plain(func(o *Observation) { o.Canary, o.Traffic.Split = lifted(setOf(2, 2), 20), true }), want: pods(2, 0)},
		"a workload in place, on its way":        {o: place(promoting(time.Second), nil)},
		"a workload in place, in the end":        {o: place(promoting(time.Second), deleting), want: canary(0)},
		"a workload in place that serves":        {o: place(over(time.Minute), nil), want: canary(0)},
		"it serves alone since a moment ago":     {o: over(time.Minute), due: 4 * time.Minute},
		"it serves alone since a while":          {o: over(holdOver), want: canary(0)},
		"while the old set is warm":              {o: promoting(time.Second).with(func(o *Observation) { o.Stable, o.Status.StableLoad = lifted(setOf(9, 9), 20), 20 }), want: told(20, 20), load: 20},
		"in an abort":                            {o: aborting(0).with(func(o *Observation) { o.Stable, o.Status.StableLoad = lifted(setOf(9, 9), 0), 20 }), want: told(20, 20), load: 20},
		"an abort keeps what it began with":      {o: aborting(0).with(func(o *Observation) { o.Stable, o.Status.StableLoad = lifted(setOf(30, 30), 20), 20 }), load: 20},
		"an abort has just ended":                {o: back(time.Minute, nil), due: 4 * time.Minute},
		"an abort has ended, and it is edited":   {o: back(time.Minute, func(o *Observation) { o.Stable.UpToDate = false }), want: told(20, 20), due: look},
		"an abort has ended a while ago":         {o: back(holdOver, nil), want: told(20, 0)},
		"so it is where the new one had none":    {o: back(time.Minute, func(o *Observation) { o.Status.ApprovedAt = nil }), due: 4 * time.Minute},
		"another Rollout looks after it":         {o: back(holdOver, func(o *Observation) { o.Newer = "cart-3" })},
		"what serves again has its requests":     {o: alone(time.Minute, lifted(setOf(20, 20), 20)), due: 4 * time.Minute},
		"what serves again has had them a while": {o: alone(holdOver, lifted(setOf(20, 20), 20)), want: canary(0)},
		"what serves has only what was rendered": {o: alone(time.Minute, lifted(setOf(20, 20), 0))},
	} {
		t.Run(name, func(t *testing.T) {
			t.Parallel()
			d := Next(c.o, t0)
			var got []Action
			for _, a := range d.Actions {
				if a.Kind == ActionEnsureSet {
					got = append(got, a)
				}
			}
			if !slices.Equal(got, c.want) || d.Status.StableLoad != c.load {
				t.Errorf("got %v, want %v; remembers %d: %s", got, c.want, d.Status.StableLoad, d.Status.Message)
			}
			if c.due > 0 && d.RequeueAfter != c.due {
				t.Errorf("looks again after %s, want %s", d.RequeueAfter, c.due)
			}
			for _, b := range broken(c.o, t0, d) {
				t.Error(b)
			}
		})
	}
}

// ended25 is a Rollout that was aborted at 25 %, and has ended so long ago.
func ended25(ago time.Duration) Observation {
	return ended(v1alpha1.RolloutAborted).with(func(o *Observation) {
		o.Status.ApprovedAt = at(-ago - time.Hour)
		o.Status.History = []v1alpha1.HistoryEntry{{At: *at(-ago), Phase: v1alpha1.RolloutAborted}}
	})
}

// The autoscalers of this world ask for no more than their requests need, and learn after minutes that these are back.
func TestAnAbortFindsTheOldSetAsLargeAsItWas(t *testing.T) {
	t.Parallel()
	for name, c := range map[string]struct {
		spec v1alpha1.RolloutSpec
		when func(*world) bool
	}{
		"at the first weight":                   {canarySpec(), func(w *world) bool { return w.route.Weight == 25 }},
		"at half of the requests":               {canarySpec(), func(w *world) bool { return w.status.Reason == ReasonHoldApproval }},
		"at all of the requests":                {canarySpec(), func(w *world) bool { return w.route.Weight == 100 }},
		"when the old set drains":               {canarySpec(), func(w *world) bool { return w.status.Reason == ReasonDraining }},
		"after a switch, while it is warm":      {blueGreenSpec(), func(w *world) bool { return w.status.Reason == ReasonDraining }},
		"when a newer one brings it back":       {canarySpec(), func(w *world) bool { w.returns = w.status.Step == at50; return w.returns }},
		"when no gateway accepts the new route": {canarySpec(), func(w *world) bool { w.gatewayDown = w.route.Weight == 100; return w.gatewayDown }},
	} {
		t.Run(name, func(t *testing.T) {
			t.Parallel()
			w := newWorld(c.spec)
			w.load = 20
			w.tick(0)
			var aborted, ended, below time.Time
			share := int32(100)
			for ended.IsZero() || w.now.Sub(ended) < time.Hour {
				o := w.observe()
				d := Next(o, w.now)
				if !w.sound(t, name, o, d) {
					return
				}
				w.execute(d, len(d.Actions))
				w.attend()
				if aborted.IsZero() && c.when(w) {
					aborted = w.now
					if w.gatewayDown = false; w.returns {
						w.newer = "cart-3"
					} else {
						w.command(Command{Action: v1alpha1.CommandAbort, Actor: "carol"})
					}
				}
				if w.rest() < 100 {
					below, share = w.now, w.rest()
				} else if w.now.Sub(below) > 4*time.Minute {
					share = 100
				}
				w.old.desired = max(8, w.old.lifted, w.load*share/100)
				w.old.available = min(w.old.available, w.old.desired)
				if w.old.available < 20 && (ended.IsZero() || w.now.Sub(ended) < holdOver) {
					t.Fatalf("at %s %s the old set has %d pods", w.now.Sub(t0), describe(o), w.old.available)
				}
				w.tick(max(time.Second, d.RequeueAfter))
				if ended.IsZero() && w.status.Phase.Terminal() {
					ended = w.now
				}
			}
			if w.status.Phase != v1alpha1.RolloutAborted || aborted.IsZero() || w.old.lifted != 0 != w.returns {
				t.Errorf("ended as %s, aborted at %s, lifted to %d", w.outcome(), aborted, w.old.lifted)
			}
		})
	}
}
