package simulate

import (
	"fmt"
	"maps"
	"slices"
	"time"

	"tidegate.io/tidegate/rollout/plan"
	"tidegate.io/tidegate/schemas/v1alpha1"
)

// route is the object with the weights; a plain Service is one too.
type route struct {
	exists, edited bool
	// wide is true while a plain Service selects every pod of the Release, as that of a workload in place does.
	wide bool
	// weights are percentages by the key of a set: those that are written, and those that
	// the gateway serves by, which are the last that it has accepted.
	weights, live map[string]int32
	// header and mirror are numbers of steps of the Rollout with the number by.
	header, mirror int32
	by             int64
	// settles is when the gateway accepts what was written last; accepted is true once it has.
	settles  time.Time
	accepted bool
}

// rollout is one Rollout and what the model keeps beside it.
type rollout struct {
	spec   v1alpha1.RolloutSpec
	status v1alpha1.RolloutStatus
	// commands are those without an answer, calls those of hooks.
	commands []plan.Command
	calls    []call
	// look is when its decision wanted to be asked again; zero for never.
	look time.Time
	// shown is how it stood and did what it did when it was printed last.
	shown, did string
	// passed are the reasons that its last decision went through.
	passed []string
	// followed are commands, and the end as outdated, that brought about another Rollout.
	followed []string
}

func (r *rollout) name() string { return fmt.Sprintf("%s-%d", r.spec.Release, r.spec.Number) }

// call is one try of a hook.
type call struct {
	plan.Answer
	at time.Time
}

// runningJob is a Job.
type runningJob struct {
	name string
	// ends is zero where it hangs.
	ends time.Time
	good bool
}

func (j runningJob) finished(now time.Time) bool { return !j.ends.IsZero() && !now.Before(j.ends) }

// world is the model of a cluster, of the people around it, and of the manager.
type world struct {
	sc  *Scenario
	now time.Time

	sets         map[string]*set
	workload     workload
	route        route
	sharedEdited bool
	sharedThere  bool
	rollouts     []*rollout

	// How the cluster behaves at the moment.
	start, accept  time.Duration
	refuses        bool
	load           int32
	verdict        v1alpha1.Verdict
	verdictMessage string
	policy         policyEvent
	policyUntil    time.Time
	hooks          []HookAnswer
	job            JobOutcome
	jobs           []runningJob
	unread         map[string]bool
	// refused are the writes that the API server does not take.
	refused map[string]bool

	// The manager: whether it is away and until when, how many writes it does before it
	// dies (-1 for any number), before which action it dies, and by how much its clock is off.
	down       bool
	back       time.Time
	writesLeft int32
	diesBefore plan.ActionKind
	skew       time.Duration
	// again is when the decision that has failed just now is taken anew.
	again time.Time

	// next is the entry of the timeline that comes next; whenSince is since when its
	// condition has been true.
	next      int
	whenSince time.Time
	given     int

	records  []Record
	events   []EventRecord
	highest  int32
	atRisk   time.Duration
	riskWhy  string
	asked    int
	refusals []string
	broken   []string
	failures []string
}

func newWorld(sc *Scenario) *world {
	d := sc.Defaults
	w := &world{
		sc: sc, now: Epoch, sets: map[string]*set{}, start: d.Start, accept: d.Accept, load: sc.Load, verdict: d.Verdict,
		policy: policyEvent{allowed: true}, hooks: []HookAnswer{d.Hook}, job: d.Job, unread: map[string]bool{}, writesLeft: -1,
	}
	w.workload = workload{kind: sc.Workload, stuck: map[string]bool{}, configs: map[string]bool{}}
	for _, revision := range slices.Backward(sc.History) {
		w.ended(revision, sc.Stable.Replicas)
	}
	if s := sc.Stable; s != nil {
		w.ended(s.Revision, s.Replicas)
		w.serve(*s)
	}
	return w
}

// ended adds a Rollout that has succeeded before the scenario begins.
func (w *world) ended(revision string, replicas int32) {
	r := w.begin(revision, replicas, w.sc.before())
	r.status = v1alpha1.RolloutStatus{
		Phase: v1alpha1.RolloutSucceeded, Reason: plan.ReasonSucceeded, Message: "as it was when the scenario began", Weight: full, ApprovedWeight: full,
		Step: int32(len(plan.Walked(r.spec))), //nolint:gosec // at most 51
	}
}

// serve makes a cluster in which a revision serves.
func (w *world) serve(s Served) {
	w.sharedThere = true
	if w.rolling() {
		l := &w.workload
		l.exists, l.revision, l.replicas = true, s.Revision, s.Replicas
		l.configs[s.Revision] = true
		for range s.Replicas {
			l.pods = append(l.pods, pod{revision: s.Revision})
		}
		return
	}
	of := w.set(s.Revision)
	of.exists, of.asked = true, s.Replicas
	of.resize(max(s.Replicas, w.load), w)
	for i := range of.pods {
		of.pods[i].ready = time.Time{}
	}
	w.route = route{exists: true, accepted: true, weights: map[string]int32{s.Revision: full}, live: map[string]int32{s.Revision: full}}
	w.route.wide = s.Strategy == v1alpha1.StrategyRolling
}

func (w *world) rolling() bool { return !w.sc.Strategy.Type.InSets() && !w.sc.changes() }

func (w *world) since() time.Duration { return w.now.Sub(Epoch) }

// set returns the set of a key, which is made where there is none.
func (w *world) set(key string) *set {
	if w.sets[key] == nil {
		w.sets[key] = &set{}
	}
	return w.sets[key]
}

// baselineOf is the key of a Rollout's baseline set.
func baselineOf(spec v1alpha1.RolloutSpec) string { return "baseline of " + spec.Release }

// revisionOf is the key of a set, seen from the Rollout that is moving.
func (w *world) revisionOf(s which) string {
	spec := w.current().spec
	switch {
	case s == whichBaseline:
		return baselineOf(spec)
	case s == whichStable && spec.Stable != nil:
		return spec.Stable.Revision
	}
	return spec.Revision
}

// available is how many pods of a set are available.
func (w *world) available(key string) int32 {
	if w.rolling() {
		return w.workload.count(func(p pod) bool { return p.revision == key && p.available(w.now) })
	}
	if s := w.sets[key]; s != nil {
		return s.available(w.now)
	}
	return 0
}

// split says whether a plain Service selects the pods of both revisions.
func (w *world) split() bool {
	if w.sc.Router != v1alpha1.RouterService {
		return false
	}
	mixed := w.route.wide
	for _, weight := range w.route.weights {
		mixed = mixed || weight > 0 && weight < full
	}
	return mixed
}

// carried is the percentage of requests that a set really gets.
func (w *world) carried(key string) int32 {
	if !w.rolling() && !w.split() {
		return w.route.live[key]
	}
	var all int32
	if w.rolling() {
		all = w.workload.count(func(p pod) bool { return p.available(w.now) })
	} else {
		for _, k := range w.keys() {
			all += w.available(k)
		}
	}
	if all == 0 {
		return 0
	}
	return (w.available(key)*full + all/2) / all
}

// share is the percentage of requests that the autoscaler of a set sees.
func (w *world) share(key string) int32 {
	if w.split() {
		return w.carried(key)
	}
	return w.route.live[key]
}

// keys are those of all sets, in order.
func (w *world) keys() []string {
	out := make([]string, 0, len(w.sets))
	for k := range w.sets {
		out = append(out, k)
	}
	slices.Sort(out)
	return out
}

// newest is the newest Rollout.
func (w *world) newest() *rollout { return w.rollouts[len(w.rollouts)-1] }

// current is the Rollout that is moving: the oldest that has not ended, else the newest.
func (w *world) current() *rollout {
	for _, r := range w.rollouts {
		if !r.status.Phase.Terminal() {
			return r
		}
	}
	return w.newest()
}

// lastGood is the newest Rollout that has succeeded, nil where there is none.
func (w *world) lastGood() *rollout {
	for _, r := range slices.Backward(w.rollouts) {
		if r.status.Phase == v1alpha1.RolloutSucceeded {
			return r
		}
	}
	return nil
}

// begin makes a Rollout, as the controller does where a Release asks for it.
func (w *world) begin(revision string, replicas int32, strategy v1alpha1.Strategy) *rollout {
	r := &rollout{spec: v1alpha1.RolloutSpec{
		Release: w.sc.Release, Number: int64(len(w.rollouts) + 1), Revision: revision, Digest: "sha256:" + revision,
		Replicas: replicas, Strategy: strategy, Router: w.sc.Router, Workload: string(w.sc.Workload),
	}}
	if good := w.lastGood(); good != nil {
		r.spec.Stable = &v1alpha1.StableReference{Rollout: good.name(), Revision: good.spec.Revision, Replicas: good.spec.Replicas}
		r.spec.Known = w.known(r.spec.Digest, strategy)
		plan.Follow(&r.spec, good.spec)
	}
	w.rollouts = append(w.rollouts, r)
	return r
}

// known says whether a revision was in service lately, and may come back without steps.
func (w *world) known(digest string, strategy v1alpha1.Strategy) bool {
	var served []plan.Served
	for _, r := range w.rollouts {
		if r.status.Phase == v1alpha1.RolloutSucceeded {
			served = append(served, plan.Served{Digest: r.spec.Digest, Known: r.spec.Known, Restored: r.spec.Restores != nil})
		}
	}
	return plan.KnownGood(digest, strategy.RollbackWindow, served)
}

// give gives a command to a Rollout.
func (w *world) give(e commandEvent) {
	r := w.current()
	if e.rollout != "" {
		at := slices.IndexFunc(w.rollouts, func(r *rollout) bool { return r.name() == e.rollout })
		if at < 0 {
			w.fail("timeline: wanted the name of a Rollout that is there for %q, found %q; the newest is %s at %s", e.text(), e.rollout, w.newest().name(), short(w.since()))
			return
		}
		r = w.rollouts[at]
	}
	if e.step == 0 && (e.action == v1alpha1.CommandApprove || e.action == v1alpha1.CommandSkipStep) {
		e.step = r.status.Step
	}
	w.given++
	r.commands = append(r.commands, plan.Command{
		Name: fmt.Sprintf("c%d", w.given), Action: e.action, Step: e.step, Actor: e.actor, Reason: e.reason,
	})
}

// follow makes the Rollouts that commands have asked for, and one in the place of one that
// was made over what no longer serves.
func (w *world) follow() {
	for _, r := range slices.Clone(w.rollouts) {
		cause := r.status.AbortCause
		if cause != nil && cause.Code == plan.ReasonAbortOutdated && r == w.newest() && r.status.Phase == v1alpha1.RolloutAborted {
			w.begin(r.spec.Revision, r.spec.Replicas, r.spec.Strategy)
		}
		for _, a := range []*v1alpha1.Approval{r.status.Retried, r.status.Restored} {
			if a != nil && !slices.Contains(r.followed, a.Command) {
				r.followed = append(r.followed, a.Command)
				next := w.begin(r.spec.Revision, r.spec.Replicas, r.spec.Strategy)
				if a == r.status.Restored {
					next.spec.Restores = &v1alpha1.Restoration{Rollout: r.name(), Command: a.Command, Actor: a.Actor}
				}
			}
		}
	}
}

// turnRoute writes the weight of a Rollout's revision and of its baseline. Where these are
// as they were it is a change only if something else was touched.
func (w *world) turnRoute(spec v1alpha1.RolloutSpec, weight, baseline int32, touched bool) {
	weights := map[string]int32{}
	if s := spec.Stable; s != nil && s.Revision != spec.Revision {
		weights[s.Revision] = full - weight - baseline
	}
	weights[spec.Revision] = weight
	if baseline > 0 {
		weights[baselineOf(spec)] = baseline
	}
	if w.route.exists && maps.Equal(w.route.weights, weights) && !touched {
		return
	}
	w.route.exists, w.route.weights = true, weights
	w.route.accepted, w.route.settles = false, w.now.Add(w.accept)
	if w.sc.Router == v1alpha1.RouterService {
		w.route.settles = w.now
	}
}

// jobNamed is a job that is begun now.
func (w *world) jobNamed(name string) runningJob {
	j := runningJob{name: name, good: w.job.Outcome == JobSucceeds}
	if w.job.Outcome != JobHangs {
		j.ends = w.now.Add(w.job.Takes)
	}
	return j
}

// stop lets the manager die; what it only had in memory is lost.
func (w *world) stop(back time.Duration) {
	w.down, w.writesLeft, w.diesBefore = true, -1, ""
	if back > 0 {
		w.back = w.now.Add(back)
	}
	for _, r := range w.rollouts {
		r.calls, r.look = nil, time.Time{}
	}
}

// note says that something has happened.
func (w *world) note(text string) {
	w.events = append(w.events, EventRecord{Seconds: w.since().Seconds(), Text: text})
}

func (w *world) fail(format string, args ...any) {
	w.failures = append(w.failures, fmt.Sprintf(format, args...))
}
