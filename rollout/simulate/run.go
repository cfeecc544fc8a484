package simulate

import (
	"fmt"
	"reflect"
	"slices"
	"time"

	metav1 "k8s.io/apimachinery/pkg/apis/meta/v1"

	"tidegate.io/tidegate/rollout/plan"
	"tidegate.io/tidegate/schemas/v1alpha1"
)

// Bounds of a run; a scenario that meets one of them has found a mistake.
const (
	// maxAtOnce bounds the decisions at one moment.
	maxAtOnce = 60
	// maxDecisions bounds those of a whole scenario.
	maxDecisions = 100_000
)

// Result is what came out.
type Result struct {
	// Records are all decisions, in order.
	Records []Record
	Summary Summary
	// Failures are what was expected and did not come; empty where all of it did.
	Failures []string
}

// Summary is the end of a scenario.
type Summary struct {
	// Rollout is the name of the newest one, Outcome its phase.
	Rollout string                `json:"rollout"`
	Outcome v1alpha1.RolloutPhase `json:"outcome"`
	Reason  string                `json:"reason"`
	// Settled is false where something was still going on when the scenario ended.
	Settled bool `json:"settled"`
	// Serving is the revision that gets all requests; empty where none does.
	Serving string `json:"serving"`
	// Seconds is how long it took until the last decision that did or changed something.
	Seconds float64 `json:"seconds"`
	// HighestWeight is the highest weight of the revision that the scenario is about.
	HighestWeight int32 `json:"highestWeight"`
	// SecondsAtRisk is for how long requests went to a set with too few pods.
	SecondsAtRisk float64 `json:"secondsAtRisk"`
	// AtRisk says when that was first, and why.
	AtRisk    string `json:"atRisk,omitempty"`
	Decisions int    `json:"decisions"`
}

// Run plays a scenario.
func Run(sc *Scenario) Result {
	w := newWorld(sc)
	w.begin(sc.Revision, sc.Replicas, sc.Strategy)
	settled := w.play()
	res := Result{Records: w.records, Summary: w.summary(settled)}
	w.check(res.Summary)
	res.Failures = w.failures
	return res
}

// play lets time pass until nothing is left to happen. It returns whether that is so.
func (w *world) play() bool {
	end := Epoch.Add(w.sc.Until)
	for {
		w.happen()
		w.catchUp()
		w.watch()
		if !w.down && !w.decide() {
			return false
		}
		w.watch()
		if w.mayHappen() {
			continue
		}
		next := w.wakes()
		if next.IsZero() {
			return true
		}
		if next.After(end) {
			w.pass(end)
			return false
		}
		w.pass(next)
	}
}

// pass lets time go by, in which nothing changes.
func (w *world) pass(to time.Time) {
	if why := w.endangered(); why != "" {
		w.atRisk += to.Sub(w.now)
		if w.riskWhy == "" {
			w.riskWhy = why
		}
	}
	w.now = to
}

// due says whether the next entry of the timeline is to happen now, and when to look again
// where that is known.
func (w *world) due() (now bool, at time.Time) {
	if w.next >= len(w.sc.Timeline) {
		return false, time.Time{}
	}
	e := w.sc.Timeline[w.next]
	if e.When == nil {
		at = Epoch.Add(e.At)
		return !w.now.Before(at), at
	}
	if w.whenSince.IsZero() && e.When.holds(w) {
		w.whenSince = w.now
	}
	if w.whenSince.IsZero() {
		return false, time.Time{}
	}
	at = w.whenSince.Add(e.After)
	return !w.now.Before(at), at
}

func (w *world) mayHappen() bool {
	now, _ := w.due()
	return now
}

// happen lets happen what is due.
func (w *world) happen() {
	for w.mayHappen() {
		e := w.sc.Timeline[w.next]
		w.next++
		w.whenSince = time.Time{}
		e.Event.happen(w)
		w.note(e.Event.text())
		if e.When != nil {
			return // what comes next is about what follows from this
		}
	}
}

// catchUp lets the cluster do what is due now.
func (w *world) catchUp() {
	if w.down && !w.back.IsZero() && !w.now.Before(w.back) {
		w.down, w.back = false, time.Time{}
		w.note("manager: is back")
	}
	if !w.policyUntil.IsZero() && !w.now.Before(w.policyUntil) {
		w.policy, w.policyUntil = policyEvent{allowed: true}, time.Time{}
		w.note(w.policy.text())
	}
	if w.route.exists && !w.route.accepted && !w.refuses && !w.now.Before(w.route.settles) {
		w.route.accepted, w.route.live = true, w.route.weights
	}
	for _, key := range w.keys() {
		w.sets[key].autoscale(w, w.share(key))
	}
	for w.rolling() && w.workload.work(w) {
	}
}

// wakes is when something happens next: zero for never.
func (w *world) wakes() time.Time {
	var next time.Time
	at := func(t time.Time) {
		if t.After(w.now) && (next.IsZero() || t.Before(next)) {
			next = t
		}
	}
	if _, t := w.due(); !t.IsZero() {
		at(t)
	}
	at(w.policyUntil)
	if w.down {
		at(w.back)
	}
	if w.route.exists && !w.route.accepted && !w.refuses {
		at(w.route.settles)
	}
	w.clusterWakes(at)
	for _, j := range w.jobs {
		at(j.ends)
	}
	for _, r := range w.rollouts {
		at(r.look)
		for _, c := range r.calls {
			at(c.at)
		}
	}
	return next
}

// clusterWakes tells of when pods and autoscalers do something next.
func (w *world) clusterWakes(at func(time.Time)) {
	for _, p := range w.pods() {
		if !p.stuck && !p.failed {
			at(p.ready)
		}
	}
	for _, key := range w.keys() {
		if w.sets[key].autoscale(w, w.share(key)) {
			at(w.now.Add(scaleEvery))
		}
	}
}

// pods are all pods.
func (w *world) pods() []pod {
	out := slices.Clone(w.workload.pods)
	for _, key := range w.keys() {
		out = append(out, w.sets[key].pods...)
	}
	return out
}

// decide asks for decisions and does them until all Rollouts are quiet. It returns false
// where there is no end to it.
func (w *world) decide() bool {
	for range maxAtOnce {
		busy := false
		for _, r := range slices.Clone(w.rollouts) {
			if w.down {
				return true
			}
			if r.status.Phase.Terminal() && r != w.newest() && len(r.commands) == 0 {
				continue
			}
			busy = w.turn(r) || busy
		}
		n := len(w.rollouts)
		w.follow()
		if !busy && n == len(w.rollouts) {
			return true
		}
		w.watch()
		if w.mayHappen() || w.asked > maxDecisions {
			break // what people do comes between
		}
	}
	if w.mayHappen() {
		return true
	}
	w.fail("wanted the decisions at one moment to come to an end, found more than %d of them at %s (%s); this is a mistake of Tidegate: report it with the scenario", maxAtOnce, short(w.since()), w.stands())
	return false
}

// turn asks for one decision and does it. It returns whether it did or changed anything.
func (w *world) turn(r *rollout) bool {
	w.asked++
	before := r.status.Analysis
	o := w.observe(r)
	d := plan.Next(o, w.managerNow())
	w.record(r, o, d)
	alive := w.execute(r, d)
	w.measured(before, r.status.Analysis, r.status.ExposedAt)
	if !alive {
		return false
	}
	r.look = time.Time{}
	if d.RequeueAfter > 0 {
		r.look = w.now.Add(d.RequeueAfter)
	}
	if w.again.After(w.now) {
		r.look, w.again = w.again, time.Time{}
	}
	w.catchUp()
	// A write that changes nothing tells nobody, so that it is not decided again at once.
	return !reflect.DeepEqual(o, w.observe(r))
}

// measured adds to the last record what its round of analysis came to. One like the round
// before, at the same exposure, is no news.
func (w *world) measured(before, after *v1alpha1.AnalysisRound, exposed *metav1.MicroTime) {
	rec := &w.records[len(w.records)-1]
	for i := range rec.Actions {
		if a := &rec.Actions[i]; a.Kind == plan.ActionMeasure && after != nil && after != before {
			a.Verdict, a.Message = after.Verdict, after.Message
			rec.Shown = rec.Shown || before == nil || before.Verdict != after.Verdict || before.Step != after.Step ||
				exposed != nil && before.TakenAt.Before(exposed)
		}
	}
}

// watch notes what is looked at all the time.
func (w *world) watch() {
	w.highest = max(w.highest, w.carried(w.sc.Revision))
	w.judge(w.sc.Expect.Never, true, "never")
	w.judge(w.sc.Expect.Always, false, "always")
}

// endangered says which requests go to a set with too few pods, in the present state of the
// world: fewer than three quarters of its share of the pods, as Tidegate itself counts.
func (w *world) endangered() string {
	if w.rolling() {
		return w.endangeredInPlace()
	}
	if len(w.route.live) == 0 && w.inService() {
		return "there was no route at " + short(w.since())
	}
	if w.split() {
		return w.endangeredBehindService()
	}
	for _, key := range w.keys() {
		// Until the gateway has accepted a change its proxies may serve by either.
		weight := max(w.route.weights[key], w.route.live[key])
		if up := w.available(key); weight > 0 && up < enough(w.sizeOf(key), weight) {
			return fmt.Sprintf("%s had %d %% of the requests and %d available pods at %s", key, weight, up, short(w.since()))
		}
	}
	r := w.current()
	if w.route.by == r.spec.Number && w.route.header+w.route.mirror > 0 && w.available(r.spec.Revision) == 0 {
		return fmt.Sprintf("%s had the requests of a header or mirror route and no available pod at %s", r.spec.Revision, short(w.since()))
	}
	return ""
}

// endangeredInPlace counts the pods of a workload that is changed in place. A size that is new brings no
// other requests.
func (w *world) endangeredInPlace() string {
	l := w.workload
	size := l.replicas
	r := w.current()
	if under := r.status.Phase == v1alpha1.RolloutProgressing || r.status.Phase == v1alpha1.RolloutPromoting; under && r.spec.Stable != nil {
		size = min(size, r.size(), r.sizeBefore())
	}
	if up := l.count(func(p pod) bool { return p.available(w.now) }); l.exists && w.inService() && up < enough(size, full) {
		return fmt.Sprintf("%d of %d pods were available at %s", up, l.replicas, short(w.since()))
	}
	return ""
}

// endangeredBehindService counts the pods of all sets: a plain Service leads to those that are available,
// whoever they belong to, and to no other.
func (w *world) endangeredBehindService() string {
	good := w.lastGood()
	if good == nil {
		return ""
	}
	var up int32
	for _, key := range w.keys() {
		up += w.available(key)
	}
	if size := w.sizeOf(good.spec.Revision); up < enough(size, full) {
		return fmt.Sprintf("%d pods were available behind the Service, where the requests need %d, at %s", up, size, short(w.since()))
	}
	return ""
}

// inService says whether anything has served yet.
func (w *world) inService() bool { return w.lastGood() != nil }

// sizeOf is how many pods all of the traffic needs in a set: as many as what serves has,
// else as many as are on their way.
func (w *world) sizeOf(key string) int32 {
	var n int32
	for _, r := range w.rollouts {
		switch {
		case baselineOf(r.spec) == key:
			n = r.size()
		case r.resizes(key):
			n = min(n, r.sizeBefore())
		case r.spec.Revision != key:
		case n == 0 || r.status.Phase == v1alpha1.RolloutSucceeded:
			n = r.size()
		}
	}
	return max(n, w.load)
}

// enough is how many available pods keep a weight.
func enough(whole, weight int32) int32 {
	n := (whole*weight + full - 1) / full
	if n == 0 {
		return 0
	}
	return max(1, n-n/4)
}
