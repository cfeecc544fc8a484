package plan

import (
	"fmt"
	"math/rand/v2"
	"testing"
	"time"

	"tidegate.io/tidegate/schemas/v1alpha1"
)

// disturb lets one thing happen that a cluster or a person does.
func (w *world) disturb(r *rand.Rand) string {
	set, blind := &w.new, &w.blindNew
	if r.IntN(3) == 0 && !w.inPlace() {
		set, blind = &w.old, &w.blindOld
	}
	switch r.IntN(32) {
	case 30, 31:
		w.shrink()
		return "autoscalers ask for less"
	case 24:
		w.badJobs, w.badHooks, w.lostCalls = r.IntN(6) == 0, r.IntN(6) == 0, r.IntN(3) == 0
		return "jobs and hooks change their minds"
	case 25:
		w.fresh.available, w.fresh.sick = 0, r.IntN(2) == 0
		return "the baseline loses its pods"
	case 26:
		if !w.inPlace() && w.spec.Stable != nil && !w.ratio() {
			w.route.Header, w.route.Mirror, w.route.Baseline = r.Int32N(3), r.Int32N(3), 5*r.Int32N(3)
		}
		return "the route is edited in all of its parts"
	case 27:
		clear(w.jobs)
		return "jobs are deleted"
	case 28:
		w.command(Command{Action: v1alpha1.CommandSkipStep, Step: w.status.Step, Actor: "bob"})
		return "somebody skips a step"
	case 29:
		if r.IntN(4) == 0 {
			w.command(Command{Action: v1alpha1.CommandPromote, Actor: "bob"})
		}
		return "somebody promotes"
	case 22:
		w.frozen = !w.frozen
		return "a freeze begins or ends"
	case 23:
		w.blindPolicy = !w.blindPolicy
		return "the policies are hidden or shown"
	case 0, 1:
		set.available, set.sick = set.available/2, r.IntN(2) == 0
		return "pods are lost"
	case 2:
		set.available, set.sick = 0, r.IntN(2) == 0
		return "all pods are lost"
	case 3, 4:
		set.sick = false
		return "pods come back"
	case 5:
		*blind = !*blind
		return "a set is hidden or shown"
	case 6:
		w.blindRoute = !w.blindRoute
		return "the route is hidden or shown"
	case 7:
		w.gatewayDown = !w.gatewayDown
		return "the gateway goes or comes"
	case 8:
		w.route.Weight = []int32{0, 10, 25, 50, 100}[r.IntN(5)]
		w.route.Baseline = min(w.route.Baseline, 100-w.route.Weight)
		if w.inPlace() || w.spec.Stable == nil {
			w.route.Weight = w.route.Weight / 100 * 100
		}
		return "the route is edited"
	case 9:
		w.route.exists, w.route.settled, w.route.Exposure = false, false, Exposure{}
		return "the route is deleted"
	case 10:
		w.route.upToDate = false
		return "the route's rules are edited"
	case 11:
		if set.exists {
			set.upToDate = false
		}
		return "a set is edited"
	case 12:
		if set.exists {
			set.desired = r.Int32N(10)
			set.available = min(set.available, set.desired)
		}
		return "a set is scaled"
	case 13:
		*set = modelSet{}
		return "a set is deleted"
	case 14:
		w.verdict = v1alpha1.VerdictInconclusive
		return "evidence is thin"
	case 15:
		w.verdict = v1alpha1.VerdictUnknown
		return "the source is down"
	case 16:
		w.verdict = v1alpha1.VerdictPass
		return "evidence is good"
	case 17:
		w.command(Command{Action: v1alpha1.CommandPause})
		return "somebody pauses"
	case 18, 19:
		w.command(Command{Action: v1alpha1.CommandResume})
		w.command(Command{Action: v1alpha1.CommandApprove, Step: w.status.Step, Actor: "bob"})
		return "somebody approves"
	case 20:
		w.shared, w.load = Knowledge(r.IntN(3)), min(w.load, 1)*(1+r.Int32N(30))
		return "shared objects change"
	}
	switch r.IntN(12) {
	case 0:
		w.verdict = v1alpha1.VerdictFail
		return "evidence is bad"
	case 1:
		w.newer, w.returns = "cart-3", w.spec.Stable != nil && !w.inPlace() && r.IntN(2) == 0
		return fmt.Sprintf("a newer Rollout is made, that returns: %t", w.returns)
	case 2:
		w.command(Command{Action: v1alpha1.CommandAbort, Actor: "carol"})
		return "somebody aborts"
	}
	w.tick(time.Duration(r.IntN(400)) * time.Second)
	return "time passes"
}

// fork tries what must come out well from here.
func (w *world) fork(t *testing.T, story string, d Decision) {
	t.Helper()
	// I3: an abort from here ends with the stable set whole, and at weight 100.
	late := w.status.Retiring || w.status.Phase == v1alpha1.RolloutSucceeded
	a := w.clone()
	a.calm()
	a.command(Command{Action: v1alpha1.CommandAbort, Actor: "carol"})
	a.settle(t, story+"; abort")
	ended := a.status.Phase == v1alpha1.RolloutAborted
	if charged := a.newer == "" || !w.status.Phase.Terminal(); charged && (!a.wellEnded() || ended == late) {
		t.Errorf("%s; abort: I3: from %s %d ended as %s", story, w.status.Phase, w.status.Step, a.outcome())
	}
	// I6: whatever was cut short, it ends the same.
	var want string
	var timely bool
	for cut := len(d.Actions); cut >= 0; cut-- {
		c := w.clone()
		c.execute(d, cut)
		c.calm()
		c.settle(t, fmt.Sprintf("%s; %d of %d actions", story, cut, len(d.Actions)))
		switch {
		case cut == len(d.Actions):
			want, timely = c.outcome(), overdueIn(c.status)
		case c.outcome() != want && (timely || overdueIn(c.status) || w.verdict == v1alpha1.VerdictFail) && c.wellEnded():
			// A cut may cost the moments that were left to the deadline, spare a wait, or lose a bad
			// round while the good one before it still counts.
		case c.outcome() != want:
			t.Errorf("%s; %d of %d actions: I6: ended as %s %v, and uncut as %s; actions %v", story, cut, len(d.Actions), c.outcome(), c.status.AbortCause, want, d.Actions)
		}
	}
	c := w.clone()
	c.calm()
	c.settle(t, story+"; status lost")
	if charged := c.newer == "" || !w.status.Phase.Terminal(); charged && !c.wellEnded() {
		t.Errorf("%s; status lost: I6: ended as %s", story, c.outcome())
	}
}

// overdueIn says whether a deadline has decided.
func overdueIn(st v1alpha1.RolloutStatus) bool {
	return st.AbortCause != nil && st.AbortCause.Code == ReasonAbortDeadline
}

// TestRandomWalks lets things happen at random, in worlds of every kind, and from many
// a state tries an abort and every way of being cut short.
func TestRandomWalks(t *testing.T) {
	t.Parallel()
	walks := uint64(300)
	if testing.Short() {
		walks = 40
	}
	for name, spec := range worlds {
		t.Run(name, func(t *testing.T) {
			t.Parallel()
			forks, decisions, ends := 0, 0, map[v1alpha1.RolloutPhase]int{}
			for seed := range walks {
				r := rand.New(rand.NewPCG(seed, 7))
				w := newWorld(spec())
				w.load = loads[name]
				story := fmt.Sprintf("seed %d", seed)
				for i := range 120 {
					o := w.observe()
					d := Next(o, w.now)
					decisions++
					if !w.sound(t, story, o, d) {
						return
					}
					if i%6 == 0 {
						w.fork(t, fmt.Sprintf("%s step %d", story, i), d)
						forks++
					}
					cut := len(d.Actions)
					if r.IntN(8) == 0 {
						cut = r.IntN(len(d.Actions)+2) - 1
					}
					w.execute(d, cut)
					if w.status.Phase.Terminal() && (w.newer != "" || r.IntN(10) == 0) {
						break
					}
					if r.IntN(3) == 0 {
						w.disturb(r)
					}
					w.tick(min(max(time.Second, d.RequeueAfter), 40*time.Second))
				}
				ends[w.status.Phase]++
				w.calm()
				w.settle(t, story+"; calm")
				if t.Failed() {
					return
				}
			}
			t.Logf("%d decisions, %d forks; walks ended %v", decisions, forks, ends)
		})
	}
}
