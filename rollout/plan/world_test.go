package plan

import (
	"fmt"
	"math/rand/v2"
	"slices"
	"testing"
	"time"

	metav1 "k8s.io/apimachinery/pkg/apis/meta/v1"

	"tidegate.io/tidegate/schemas/v1alpha1"
)

// modelSet is a set of pods in the world.
type modelSet struct {
	exists             bool
	upToDate           bool
	desired, available int32
	// sick is true while lost pods do not come back.
	sick bool
}

// world is a small cluster: it does what actions say, late, and forgets nothing.
type world struct {
	now    time.Time
	spec   v1alpha1.RolloutSpec
	status v1alpha1.RolloutStatus

	old, new modelSet
	route    struct {
		exists, settled, upToDate bool
		weight                    int32
	}
	shared       Knowledge
	newer, older string
	commands     []Command
	named        int
	// load is how many pods autoscalers ask for where all of the traffic is; 0 without them.
	// They ask for less only after some minutes, which is never here.
	load int32
	// rounds counts the decisions made in settle.
	rounds int
	// verdict is what a measurement comes to.
	verdict v1alpha1.Verdict
	// blind hides facts; gatewayDown keeps the route from settling.
	blindOld, blindNew, blindRoute, gatewayDown bool
	// frozen is true while a policy lets nothing rise; blindPolicy while it cannot be asked.
	frozen, blindPolicy bool
	// attended is true while somebody approves and resumes whatever waits for it.
	attended bool
	// most is the highest weight that the canary ever had.
	most int32
}

func newWorld(spec v1alpha1.RolloutSpec) *world {
	w := &world{now: t0, spec: spec, verdict: v1alpha1.VerdictPass, shared: Absent, attended: true}
	if s := spec.Stable; s != nil {
		serving := modelSet{exists: true, upToDate: true, desired: max(1, s.Replicas), available: max(1, s.Replicas)}
		w.route.exists, w.route.settled = true, true
		if s.Revision == spec.Revision {
			w.new, w.route.weight = serving, 100
		} else {
			w.old = serving
		}
	}
	return w
}

func (w *world) inPlace() bool {
	return w.spec.Stable != nil && w.spec.Stable.Revision == w.spec.Revision
}

func (w *world) clone() *world {
	c := *w
	c.rounds = 0
	c.status = *w.status.DeepCopy()
	c.commands = slices.Clone(w.commands)
	return &c
}

func (s modelSet) seen(blind bool) Set {
	switch {
	case blind:
		return Set{}
	case !s.exists:
		return Set{Knowledge: Absent}
	}
	return Set{Knowledge: Present, UpToDate: s.upToDate, Desired: s.desired, Available: s.available}
}

func (w *world) observe() Observation {
	o := Observation{
		Spec: w.spec, Status: *w.status.DeepCopy(), Older: w.older, Newer: w.newer, Shared: w.shared,
		Stable: w.old.seen(w.blindOld), Canary: w.new.seen(w.blindNew), Commands: slices.Clone(w.commands),
		Promotion: w.promotion(),
	}
	o.Stable.Autoscaled, o.Canary.Autoscaled = w.load > 0, w.load > 0
	if w.inPlace() {
		o.Stable = o.Canary
	}
	switch {
	case w.blindRoute:
	case !w.route.exists:
		o.Traffic.Knowledge = Absent
	default:
		o.Traffic = Traffic{Knowledge: Present, CanaryWeight: w.route.weight, Settled: w.route.settled, UpToDate: w.route.upToDate}
	}
	return o
}

func (w *world) promotion() Promotion {
	switch {
	case w.blindPolicy:
		return Promotion{}
	case w.frozen:
		return Promotion{Knowledge: Present, Code: "TG-POLICY-FREEZE", Message: "the shop is frozen"}
	}
	return allowed
}

// lost is the cut of execute at which not even the status was written.
const lost = -1

// execute does what was decided, up to cut actions.
func (w *world) execute(d Decision, cut int) {
	if cut == lost {
		return
	}
	w.status = *d.Status.DeepCopy()
	for _, a := range d.Actions[:min(cut, len(d.Actions))] {
		w.act(a)
	}
	w.most = max(w.most, w.route.weight)
}

func (w *world) act(a Action) {
	set := &w.new
	if a.Role == RoleStable && !w.inPlace() {
		set = &w.old
	}
	switch a.Kind {
	case ActionApplyShared:
		w.shared = Present
	case ActionEnsureSet:
		set.exists, set.upToDate, set.desired = true, true, a.Replicas
		set.available = min(set.available, set.desired)
	case ActionSetWeight:
		w.route.exists, w.route.settled, w.route.upToDate, w.route.weight = true, false, true, a.Weight
	case ActionRetire:
		*set = modelSet{sick: set.sick}
	case ActionAnswer:
		w.commands = slices.DeleteFunc(w.commands, func(c Command) bool { return c.Name == a.Command })
	case ActionMeasure:
		w.status.Analysis = &v1alpha1.AnalysisRound{
			Verdict: w.verdict, Step: w.status.Step, Digest: w.spec.Digest, Message: "as the world has it",
			TakenAt: metav1.NewMicroTime(w.now),
		}
	}
}

// tick lets time pass and the cluster catch up.
func (w *world) tick(d time.Duration) {
	w.now = w.now.Add(d)
	if w.load > 0 {
		if w.old.exists {
			w.old.desired = max(w.old.desired, w.load*(100-w.route.weight)/100)
		}
		if w.new.exists {
			w.new.desired = max(w.new.desired, w.load*w.route.weight/100)
		}
	}
	for _, s := range []*modelSet{&w.old, &w.new} {
		if s.exists && !s.sick {
			s.available = s.desired
		}
	}
	w.route.settled = w.route.exists && !w.gatewayDown
}

func (w *world) command(c Command) {
	w.named++
	c.Name = fmt.Sprintf("c%d", w.named)
	w.commands = append(w.commands, c)
}

// calm heals what is broken; what is decided stays decided.
func (w *world) calm() {
	w.old.sick, w.new.sick = false, false
	w.blindOld, w.blindNew, w.blindRoute, w.gatewayDown = false, false, false, false
	w.frozen, w.blindPolicy = false, false
	w.attended, w.older = true, ""
	if w.verdict != v1alpha1.VerdictFail { // a bad revision stays bad
		w.verdict = v1alpha1.VerdictPass
	}
	if w.shared == Unknown {
		w.shared = Absent
	}
}

// settle decides and executes until nothing is left to do, and fails the test if an
// invariant breaks on the way or there is no end to it.
func (w *world) settle(t *testing.T, story string) {
	t.Helper()
	for quiet := 0; quiet < 2; { // twice: the world may still be catching up
		if w.rounds++; w.rounds > 2000 {
			t.Errorf("%s: I3/I5: no end: %s", story, describe(w.observe()))
			return
		}
		if w.attended && w.status.Reason == ReasonHoldApproval && len(w.commands) == 0 {
			w.command(Command{Action: v1alpha1.CommandApprove, Step: w.status.Step, Actor: "alice"})
		}
		if w.attended && w.status.Paused && len(w.commands) == 0 {
			w.command(Command{Action: v1alpha1.CommandResume})
		}
		o := w.observe()
		d := Next(o, w.now)
		if !w.sound(t, story, o, d) {
			return
		}
		quiet++
		if len(d.Actions) > 0 || d.RequeueAfter > 0 || !sameStatus(&d.Status, &o.Status) {
			quiet = 0
		}
		w.execute(d, len(d.Actions))
		w.tick(max(time.Millisecond, d.RequeueAfter))
	}
}

func (w *world) sound(t *testing.T, story string, o Observation, d Decision) bool {
	t.Helper()
	b := broken(o, w.now, d)
	for _, s := range b {
		t.Errorf("%s: %s\n  seen at %s: %s\n  now %s %d: %v %s", story, s, w.now.Sub(t0), describe(o), d.Status.Phase, d.Status.ApprovedWeight, d.Actions, d.Status.Message)
	}
	return len(b) == 0
}

// outcome is the state of the world as far as anybody outside can tell.
func (w *world) outcome() string {
	set := func(s modelSet) string {
		if !s.exists {
			return "gone"
		}
		return fmt.Sprintf("%d/%d up to date %t", s.available, s.desired, s.upToDate)
	}
	r := "no route"
	switch {
	case w.spec.Stable == nil && w.route.weight == 0: // the same to everybody
	case w.route.exists:
		r = fmt.Sprintf("route %d settled %t", w.route.weight, w.route.settled)
	}
	return fmt.Sprintf("%s: old %s, new %s, %s, %d commands", w.status.Phase, set(w.old), set(w.new), r, len(w.commands))
}

// wellEnded says whether the outcome is one of those that a Rollout may end in.
func (w *world) wellEnded() bool {
	whole := fmt.Sprintf("%d/%[1]d up to date true", max(1, w.spec.Replicas))
	var was string
	if w.spec.Stable != nil {
		was = fmt.Sprintf("%d/%[1]d up to date true", max(1, w.spec.Stable.Replicas))
	}
	got := w.outcome()
	switch {
	case w.load > 0: // the sizes are the autoscaler's, but never less than asked for
		return w.status.Phase == v1alpha1.RolloutSucceeded && !w.old.exists && w.new.upToDate && w.new.available >= w.spec.Replicas && w.route.weight == 100 ||
			w.status.Phase == v1alpha1.RolloutAborted && !w.new.exists && w.old.upToDate && w.old.available >= w.spec.Stable.Replicas && w.route.weight == 0
	case w.status.Phase == v1alpha1.RolloutSucceeded:
		return got == "Succeeded: old gone, new "+whole+", route 100 settled true, 0 commands"
	case w.spec.Stable == nil:
		return got == "Aborted: old gone, new gone, no route, 0 commands"
	case w.inPlace():
		return got == "Aborted: old gone, new "+was+", route 100 settled true, 0 commands"
	}
	return got == "Aborted: old "+was+", new gone, route 0 settled true, 0 commands"
}

// loads are the worlds with autoscalers.
var loads = map[string]int32{"over another, autoscaled": 20}

var worlds = map[string]func() v1alpha1.RolloutSpec{
	"over another, autoscaled": canarySpec,
	"over another, blueGreen":  blueGreenSpec,
	"over another, blueGreen, no preview, no drain": func() v1alpha1.RolloutSpec {
		s := blueGreenSpec()
		s.Strategy.Steps = s.Strategy.Steps[1:]
		s.Strategy.DrainDelay.Duration, s.Strategy.ScaleDownDelay.Duration = 0, 0
		return s
	},
	"over another revision": canarySpec,
	"over another, one pod": func() v1alpha1.RolloutSpec {
		s := canarySpec()
		s.Replicas, s.Stable.Replicas = 1, 1
		return s
	},
	"over another, three pods to five, no drain": func() v1alpha1.RolloutSpec {
		s := canarySpec()
		s.Replicas, s.Stable.Replicas, s.Strategy.DrainDelay.Duration = 5, 3, 0
		return s
	},
	"over another, no pods wanted": func() v1alpha1.RolloutSpec {
		s := canarySpec()
		s.Replicas, s.Stable.Replicas = 0, 0
		return s
	},
	"over nothing": firstSpec,
	"in place":     inPlaceSpec,
}

func TestAGoodRevisionIsPromoted(t *testing.T) {
	t.Parallel()
	for name, spec := range worlds {
		t.Run(name, func(t *testing.T) {
			t.Parallel()
			w := newWorld(spec())
			w.load = loads[name]
			w.tick(0)
			w.settle(t, name)
			if w.status.Phase != v1alpha1.RolloutSucceeded || !w.wellEnded() {
				t.Errorf("ended as %s", w.outcome())
			}
			took := w.now.Sub(t0)
			if w.spec.Stable != nil && !w.inPlace() && w.spec.Strategy.Type == v1alpha1.StrategyCanary && (took < 100*time.Second || took > 3*time.Minute) {
				// 30 s hold, 20 s window at 50 and at 100 %, 30 s drain, and looks.
				if w.spec.Strategy.DrainDelay.Duration > 0 {
					t.Errorf("took %s", took)
				}
			}
		})
	}
}

func TestABadRevisionIsAbortedAtItsApprovedWeight(t *testing.T) {
	t.Parallel()
	for name, c := range map[string]struct {
		change func(*world)
		most   int32
		reason string
	}{
		"its analysis fails":     {func(w *world) { w.verdict = v1alpha1.VerdictFail }, 50, ReasonAnalysisFail},
		"its pods never come up": {func(w *world) { w.new.sick = true }, 0, ReasonAbortDeadline},
		"a newer one is there":   {func(w *world) { w.newer, w.attended = "cart-3", false }, 0, ReasonAbortSuperseded},
	} {
		t.Run(name, func(t *testing.T) {
			t.Parallel()
			w := newWorld(canarySpec())
			if c.reason == ReasonAbortSuperseded {
				w.status.Phase = v1alpha1.RolloutProgressing
			}
			c.change(w)
			w.settle(t, name)
			if w.status.Reason != c.reason || w.most != c.most || !w.wellEnded() {
				t.Errorf("ended as %s, %s, highest weight %d", w.outcome(), w.status.Reason, w.most)
			}
		})
	}
}

func TestASourceThatIsDownHoldsAndNeverAborts(t *testing.T) {
	t.Parallel()
	w := newWorld(canarySpec())
	w.verdict = v1alpha1.VerdictUnknown
	for range 500 {
		o := w.observe()
		d := Next(o, w.now)
		if !w.sound(t, "source down", o, d) {
			return
		}
		w.execute(d, len(d.Actions))
		if w.status.Step == 2 && len(w.commands) == 0 && len(w.status.Approvals) == 0 {
			w.command(Command{Action: v1alpha1.CommandApprove, Step: 2})
		}
		w.tick(max(time.Second, d.RequeueAfter))
	}
	if w.status.Phase != v1alpha1.RolloutProgressing || w.most != 50 || w.status.Reason != ReasonHoldNoData {
		t.Fatalf("after %s: %s, highest weight %d, %s", w.now.Sub(t0), w.outcome(), w.most, w.status.Message)
	}
	w.calm()
	w.settle(t, "source back")
	if w.status.Phase != v1alpha1.RolloutSucceeded || !w.wellEnded() {
		t.Errorf("ended as %s", w.outcome())
	}
}

// disturb lets one thing happen that a cluster or a person does.
func (w *world) disturb(r *rand.Rand) string {
	set, blind := &w.new, &w.blindNew
	if r.IntN(3) == 0 && !w.inPlace() {
		set, blind = &w.old, &w.blindOld
	}
	switch r.IntN(24) {
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
		w.route.weight = []int32{0, 10, 25, 50, 100}[r.IntN(5)]
		if w.inPlace() || w.spec.Stable == nil {
			w.route.weight = w.route.weight / 100 * 100
		}
		return "the route is edited"
	case 9:
		w.route.exists, w.route.settled, w.route.weight = false, false, 0
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
		w.newer = "cart-3"
		return "a newer Rollout is made"
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
		case c.outcome() != want && (timely || overdueIn(c.status)) && c.wellEnded():
			// A cut may cost the moments that were left to the deadline, or spare a wait.
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

func TestTheNewSetStandsTheLoadBeforeItGetsAllOfIt(t *testing.T) {
	t.Parallel()
	w := newWorld(canarySpec())
	w.load = 20
	w.tick(0)
	for range 300 {
		o := w.observe()
		d := Next(o, w.now)
		if !w.sound(t, "under load", o, d) {
			return
		}
		for _, a := range d.Actions {
			if a.Kind == ActionSetWeight && a.Weight == 100 && w.new.available < 20 {
				t.Fatalf("all of the traffic is given to %d pods; its load needs 20", w.new.available)
			}
		}
		w.execute(d, len(d.Actions))
		if w.status.Reason == ReasonHoldApproval && len(w.commands) == 0 {
			w.command(Command{Action: v1alpha1.CommandApprove, Step: w.status.Step, Actor: "alice"})
		}
		if w.route.weight >= 50 && w.old.exists { // its autoscaler sees that its traffic has left
			w.old.desired, w.old.available = 10, 10
		}
		w.tick(max(time.Second, d.RequeueAfter))
		if w.status.Phase == v1alpha1.RolloutSucceeded {
			return
		}
	}
	t.Errorf("ended as %s", w.outcome())
}
