package plan

import (
	"cmp"
	"fmt"
	"maps"
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
	// lifted is what its autoscaler leaves it at least, where that is not what was rendered.
	lifted int32
	// sick is true while lost pods do not come back.
	sick bool
}

// world is a small cluster: it does what actions say, late, and forgets nothing.
type world struct {
	now    time.Time
	spec   v1alpha1.RolloutSpec
	status v1alpha1.RolloutStatus

	old, new, fresh modelSet
	route           struct {
		exists, settled, upToDate bool
		Exposure
	}
	// jobs by name; answers of hooks, that are under way until the next tick.
	jobs    map[string]modelJob
	answers map[Call]Answer
	// badJobs and badHooks are what jobs and hooks come to; lostCalls is when no answer comes.
	badJobs, badHooks, lostCalls bool
	shared                       Knowledge
	newer, older                 string
	returns                      bool
	commands                     []Command
	named                        int
	// load is how many pods autoscalers ask for where all of the traffic is; 0 without them.
	// They ask for less only after some minutes; see shrink.
	load int32
	// way is about a change between a workload in place and sets.
	way way
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

// modelJob is a Job of the world: it ends at the next tick.
type modelJob struct{ finished, succeeded bool }

func newWorld(spec v1alpha1.RolloutSpec) *world {
	w := &world{
		now: t0, spec: spec, verdict: v1alpha1.VerdictPass, shared: Absent, attended: true,
		jobs: map[string]modelJob{}, answers: map[Call]Answer{}, way: wayOf(spec),
	}
	if s := spec.Stable; s != nil {
		serving := modelSet{exists: true, upToDate: true, desired: s.Replicas, available: s.Replicas}
		if lent := w.way.lent && w.outOfPlace(); !lent {
			w.route.exists, w.route.settled = true, true
		}
		if s.Revision == spec.Revision {
			w.new, w.route.Weight = serving, 100
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
	c.jobs, c.answers = maps.Clone(w.jobs), maps.Clone(w.answers)
	return &c
}

// ratio says whether the world has no route but a plain Service.
func (w *world) ratio() bool {
	return w.spec.Router == v1alpha1.RouterService && w.spec.Strategy.Type == v1alpha1.StrategyCanary
}

func (w *world) split() bool { return w.ratio() && w.route.Weight > 0 && w.route.Weight < 100 }

// share is the percentage of the requests that the new revision gets.
func (w *world) share() int32 {
	if !w.split() {
		return w.route.Weight
	}
	return 100 * w.new.available / max(1, w.new.available+w.old.available)
}

// rest is the percentage that the old one gets.
func (w *world) rest() int32 { return 100 - w.share() - w.route.Baseline }

// shrink lets autoscalers ask for no more than the requests of their sets need. They do so only after some minutes.
func (w *world) shrink() {
	if w.load == 0 {
		return
	}
	for _, s := range []struct {
		set          *modelSet
		share, least int32
	}{{&w.old, w.rest(), w.stableLeast()}, {&w.new, w.share(), w.spec.Replicas}} {
		s.set.desired = min(s.set.desired, max(s.least, s.set.lifted, w.load*s.share/100))
		s.set.available = min(s.set.available, s.set.desired)
	}
}

// stableLeast is how many pods the old set's autoscaler leaves it at least, as rendered.
func (w *world) stableLeast() int32 {
	if w.spec.Stable == nil {
		return 0
	}
	return w.spec.Stable.Replicas
}

func (s modelSet) seen(blind bool) Set {
	switch {
	case blind:
		return Set{}
	case !s.exists:
		return Set{Knowledge: Absent}
	}
	return Set{Knowledge: Present, UpToDate: s.upToDate, Desired: s.desired, Available: s.available, Lifted: s.lifted}
}

func (w *world) observe() Observation {
	o := Observation{
		Spec: w.spec, Status: *w.status.DeepCopy(), Older: w.older, Newer: w.newer, Returns: w.returns, Shared: w.shared,
		Stable: w.old.seen(w.blindOld), Canary: w.new.seen(w.blindNew), Commands: slices.Clone(w.commands),
		Promotion: w.promotion(),
	}
	o.Stable.Autoscaled, o.Canary.Autoscaled = w.load > 0, w.load > 0
	o.Stable.Load, o.Canary.Load = int64(w.load*w.rest()*10), int64(w.load*w.share()*10)
	if w.inPlace() {
		o.Stable = o.Canary
	}
	switch {
	case w.blindRoute:
	case !w.route.exists:
		o.Traffic.Knowledge = Absent
	default:
		o.Traffic = Traffic{Knowledge: Present, Exposure: w.route.Exposure, Settled: w.route.settled, UpToDate: w.route.upToDate}
		if w.split() {
			o.Traffic.Split, o.Traffic.Exposure = true, Exposure{}
		}
	}
	w.way.seen(&o)
	o.Baseline = w.fresh.seen(w.blindNew)
	o.Job = JobState{Knowledge: Absent, Name: JobName(w.spec, w.status)}
	if j, ok := w.jobs[o.Job.Name]; ok {
		o.Job.Knowledge, o.Job.Finished, o.Job.Succeeded, o.Job.Message = Present, j.finished, j.succeeded, "as the world has it"
	}
	for _, a := range w.answers {
		o.Answers = append(o.Answers, a)
	}
	slices.SortFunc(o.Answers, func(a, b Answer) int {
		return cmp.Or(cmp.Compare(a.Hook, b.Hook), cmp.Compare(a.Event, b.Event), cmp.Compare(a.Step, b.Step), cmp.Compare(a.Falls, b.Falls), cmp.Compare(a.Try, b.Try))
	})
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
	w.most = max(w.most, w.route.Weight)
}

func (w *world) act(a Action) {
	set := &w.new
	switch {
	case a.Role == RoleStable && !w.inPlace():
		set = &w.old
	case a.Role == RoleBaseline:
		set = &w.fresh
	}
	w.way.act(a)
	switch a.Kind {
	case ActionApplyShared:
		w.shared = Present
	case ActionEnsureSet:
		set.exists, set.upToDate, set.desired = true, true, a.Replicas
		set.available = min(set.available, set.desired)
		set.lifted = a.Least
	case ActionSetWeight:
		w.route.exists, w.route.settled, w.route.upToDate, w.route.Exposure = true, false, true, a.Exposure
	case ActionRunJob:
		if _, there := w.jobs[a.Job]; !there {
			w.jobs[a.Job] = modelJob{}
		}
	case ActionStopJob:
		delete(w.jobs, a.Job)
	case ActionCallHook:
		w.answers[a.Call] = Answer{Call: a.Call}
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
	w.way.tick()
	w.retireRoute()
	if w.load > 0 {
		if w.old.exists {
			w.old.desired = max(w.old.desired, w.old.lifted, w.load*w.rest()/100)
		}
		if w.new.exists {
			w.new.desired = max(w.new.desired, w.new.lifted, w.load*w.share()/100)
		}
	}
	for _, s := range []*modelSet{&w.old, &w.new, &w.fresh} {
		if s.exists && !s.sick {
			s.available = s.desired
		}
	}
	for name := range w.jobs {
		w.jobs[name] = modelJob{finished: true, succeeded: !w.badJobs}
	}
	for c, a := range w.answers {
		if w.lostCalls {
			delete(w.answers, c) // the manager that called has died
		} else if !a.Done {
			w.answers[c] = Answer{Call: c, Done: true, Passed: !w.badHooks, Message: "as the world has it"}
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
	w.old.sick, w.new.sick, w.fresh.sick = false, false, false
	w.badJobs, w.badHooks, w.lostCalls = false, false, false
	w.blindOld, w.blindNew, w.blindRoute, w.gatewayDown = false, false, false, false
	w.frozen, w.blindPolicy = false, false
	w.attended, w.older, w.way.stuck = true, "", false
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
	b := append(broken(o, w.now, d), w.way.broken(o, d)...)
	if s := i2AsksBeforeRising(factsOf(o, w.now, d)); s != "" {
		b = append(b, s)
	}
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
	case w.spec.Stable == nil && w.route.Exposure == (Exposure{}): // the same to everybody
	case w.route.exists:
		r = fmt.Sprintf("route %d settled %t", w.route.Weight, w.route.settled)
		if more := w.route.Exposure; more != (Exposure{Weight: more.Weight}) {
			r += fmt.Sprintf(" and %+v", more)
		}
	}
	if w.way.wide {
		r += " open to every pod"
	}
	if w.fresh.exists {
		r += ", baseline " + set(w.fresh)
	}
	for name, j := range w.jobs {
		if !j.finished {
			r += ", job " + name
		}
	}
	return fmt.Sprintf("%s: old %s, new %s, %s, %d commands", w.status.Phase, set(w.old), set(w.new), r, len(w.commands))
}

// wellEnded says whether the outcome is one of those that a Rollout may end in.
func (w *world) wellEnded() bool {
	whole := fmt.Sprintf("%d/%[1]d up to date true", w.spec.Replicas)
	var was string
	if w.spec.Stable != nil {
		was = fmt.Sprintf("%d/%[1]d up to date true", w.spec.Stable.Replicas)
	}
	got := w.outcome()
	switch {
	case w.load > 0 && w.newer == "" && (w.old.lifted > 0 || w.new.lifted > 0):
		return false // nothing is kept from an autoscaler for ever; a newer Rollout gives it back
	case w.load > 0: // the sizes are the autoscaler's, but never less than asked for
		return w.status.Phase == v1alpha1.RolloutSucceeded && !w.old.exists && w.new.upToDate && w.new.available >= w.spec.Replicas && w.route.Weight == 100 ||
			w.status.Phase == v1alpha1.RolloutAborted && !w.new.exists && w.old.upToDate && w.old.available >= w.spec.Stable.Replicas && w.route.Weight == 0
	case w.status.Phase == v1alpha1.RolloutSucceeded && w.way.lent && !w.outOfPlace():
		return got == "Succeeded: old gone, new "+whole+", no route, 0 commands"
	case w.status.Phase == v1alpha1.RolloutSucceeded:
		return got == "Succeeded: old gone, new "+whole+", route 100 settled true, 0 commands"
	case w.spec.Stable == nil:
		return got == "Aborted: old gone, new gone, no route, 0 commands"
	case w.inPlace():
		return got == "Aborted: old gone, new "+was+", route 100 settled true, 0 commands"
	}
	if w.way.lent && w.outOfPlace() {
		return got == "Aborted: old "+was+", new gone, no route, 0 commands"
	}
	return got == "Aborted: old "+was+", new gone, route 0 settled true, 0 commands"
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
				t.Errorf("ended as %s: %s", w.outcome(), w.status.Message)
			}
			// The pause of 30 s, a window of 20 s at 50 and at 100 %, 30 s to drain, and looks.
			took := w.now.Sub(t0)
			if name == "over another revision" && (took < 100*time.Second || took > 3*time.Minute) {
				t.Errorf("took %s", took)
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
		if w.status.Step == at50Approval && len(w.commands) == 0 && len(w.status.Approvals) == 0 {
			w.command(Command{Action: v1alpha1.CommandApprove, Step: at50Approval})
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
			if a.Kind == ActionSetWeight && a.Exposure.Weight == 100 && w.new.available < 20 {
				t.Fatalf("all of the traffic is given to %d pods; its load needs 20", w.new.available)
			}
		}
		w.execute(d, len(d.Actions))
		if w.status.Reason == ReasonHoldApproval && len(w.commands) == 0 {
			w.command(Command{Action: v1alpha1.CommandApprove, Step: w.status.Step, Actor: "alice"})
		}
		if w.route.Weight >= 50 && w.old.exists { // its autoscaler sees that its traffic has left
			w.old.desired = max(10, w.old.lifted)
			w.old.available = min(w.old.available, w.old.desired)
		}
		w.tick(max(time.Second, d.RequeueAfter))
		if w.status.Phase == v1alpha1.RolloutSucceeded {
			return
		}
	}
	t.Errorf("ended as %s", w.outcome())
}
