package plan

import (
	"fmt"
	"slices"
	"strings"
	"sync"
	"testing"
	"time"

	metav1 "k8s.io/apimachinery/pkg/apis/meta/v1"

	"tidegate.io/tidegate/schemas/v1alpha1"
)

// The graph of all that can happen: its states are those of the model cluster and of the Rollout in it,
// its edges are a decision that is executed whole, one that is cut short, something that happens, and
// time. It is searched from the beginning of a Rollout, with so many faults on the way, in every order.
// Every edge is held to the invariants, and from every state the calm world must reach a good end.

// event is something that happens to a world.
type event struct {
	name   string
	happen func(*world)
}

func people(c Command) event {
	return event{string(c.Action), func(w *world) {
		c.Step = w.status.Step
		w.command(c)
	}}
}

var events = []event{
	{"half of the new pods are lost", func(w *world) { w.new.available, w.new.sick = w.new.available/2, true }},
	{"all new pods are lost", func(w *world) { w.new.available, w.new.sick = 0, true }},
	{"all new pods restart", func(w *world) { w.new.available = 0 }},
	{"all old pods are lost", func(w *world) { w.old.available, w.old.sick = 0, true }},
	{"an old pod is lost", func(w *world) { w.old.available, w.old.sick = max(0, w.old.available-1), true }},
	{"the baseline is lost", func(w *world) { w.fresh.available, w.fresh.sick = 0, true }},
	{"the new set is hidden", func(w *world) { w.blindNew = true }},
	{"the old set is hidden", func(w *world) { w.blindOld = true }},
	{"the route is hidden", func(w *world) { w.blindRoute = true }},
	{"the gateway is down", func(w *world) { w.gatewayDown, w.route.settled = true, false }},
	{"the route is edited to nothing", func(w *world) { w.route.Exposure = Exposure{} }},
	{"the route is edited to all", func(w *world) { w.route.Exposure = Exposure{Weight: 100} }},
	{"the route is deleted", func(w *world) { w.route.exists, w.route.settled, w.route.Exposure = false, false, Exposure{} }},
	{"the rules of the route are edited", func(w *world) { w.route.upToDate = false }},
	{"the new set is edited", func(w *world) { w.new.upToDate = false }},
	{"the new set is scaled to nothing", func(w *world) { w.new.desired, w.new.available = 0, 0 }},
	{"the new set is scaled up", func(w *world) { w.new.desired = max(w.new.desired, 9) }},
	{"the new set is deleted", func(w *world) { w.new = modelSet{} }},
	{"the old set is deleted", func(w *world) { w.old = modelSet{} }},
	{"the shared objects are gone", func(w *world) { w.shared = Absent }},
	{"the shared objects are hidden", func(w *world) { w.shared = Unknown }},
	{"evidence is thin", func(w *world) { w.verdict = v1alpha1.VerdictInconclusive }},
	{"the source is down", func(w *world) { w.verdict = v1alpha1.VerdictUnknown }},
	{"evidence is bad", func(w *world) { w.verdict = v1alpha1.VerdictFail }},
	{"a freeze begins", func(w *world) { w.frozen = true }},
	{"policies are hidden", func(w *world) { w.blindPolicy = true }},
	{"jobs fail", func(w *world) { w.badJobs = true }},
	{"hooks refuse", func(w *world) { w.badHooks = true }},
	{"calls are lost", func(w *world) { w.lostCalls = true }},
	{"jobs are deleted", func(w *world) { clear(w.jobs) }},
	{"a newer Rollout is made", func(w *world) { w.newer = "cart-3" }},
	{"the size is doubled", func(w *world) { w.resize(2 * w.spec.Replicas) }},
	{"the size is halved", func(w *world) { w.resize(w.spec.Replicas / 2) }},
	{"ten minutes pass", func(w *world) { w.tick(10 * time.Minute) }},
	people(Command{Action: v1alpha1.CommandPause}),
	people(Command{Action: v1alpha1.CommandAbort, Actor: "carol"}),
	people(Command{Action: v1alpha1.CommandPromote, Actor: "bob"}),
	people(Command{Action: v1alpha1.CommandSkipStep, Actor: "bob"}),
	people(Command{Action: v1alpha1.CommandApprove, Actor: "bob"}),
}

// key names a state. What is older than any delay that is waited for is the same as what is older yet;
// messages and histories are about how it was come to.
func (w *world) key() string {
	age := func(m *metav1.MicroTime, limit time.Duration) int {
		if m == nil {
			return -1
		}
		return int(max(-time.Second, min(limit, w.now.Sub(m.Time))).Round(time.Second) / time.Second)
	}
	st := &w.status
	var b strings.Builder
	fmt.Fprint(&b, st.Phase, st.Step, st.Weight, st.ApprovedWeight, st.Paused, st.Retiring, st.StableLoad, st.Promoted != nil, st.AbortCause != nil,
		age(st.ApprovedAt, 62*time.Second), age(st.ExposedAt, time.Minute), age(st.StepStartedAt, time.Minute), age(st.WaitingSince, 5*time.Minute),
		age(st.StableShortSince, 5*time.Minute), age(st.RouteUnsettledSince, 5*time.Minute), age(st.DrainStartedAt, 2*time.Minute))
	for _, a := range slices.Concat(st.Approvals, st.Skips) {
		fmt.Fprint(&b, " ", a.Step)
	}
	for _, c := range st.Checks {
		fmt.Fprint(&b, " ", c.Step, c.Hook, c.Event, c.Job != "", c.Outcome, min(c.Tries, 4), age(&c.At, 10*time.Second))
	}
	if a := st.Analysis; a != nil {
		fmt.Fprint(&b, " ", a.Verdict, a.Step, age(&a.TakenAt, 31*time.Second))
	}
	for _, c := range w.commands {
		fmt.Fprint(&b, " ", c.Action, c.Step)
	}
	if len(w.spec.Resized) > 0 {
		fmt.Fprint(&b, " sized ", st.Size, w.spec.Replicas, w.spec.Resized[0].Replicas)
	}
	o := w.observe()
	fmt.Fprint(&b, w.old, w.new, w.fresh, w.way, w.route, w.shared, w.newer != "", w.verdict, o.Job.Knowledge, o.Job.Finished, o.Job.Succeeded,
		w.blindOld, w.blindNew, w.blindRoute, w.gatewayDown, w.frozen, w.blindPolicy, w.badJobs, w.badHooks, w.lostCalls)
	for _, a := range o.Answers {
		if slices.ContainsFunc(st.Checks, func(c v1alpha1.Check) bool {
			return c.Hook == a.Hook && c.Event == a.Event && c.Step == a.Step && c.Tries == a.Try && st.Falls == a.Falls
		}) {
			fmt.Fprint(&b, " ", a.Hook, a.Event, a.Done, a.Passed)
		}
	}
	return b.String()
}

// graph is the search.
type graph struct {
	t      *testing.T
	states map[string]bool
	// ends are the calm states that are known to come to a good end.
	ends  map[string]bool
	edges int
}

// place is a state of the search: a world, and how many faults may yet come.
type place struct {
	w      *world
	faults int
	story  string
}

// step executes a decision up to cut, and lets the world go on.
func (g *graph) step(p place, d Decision, cut int) place {
	next := p.w.clone()
	next.execute(d, cut)
	next.tick(min(max(time.Second, d.RequeueAfter), 30*time.Second))
	g.edges++
	return place{next, p.faults, p.story}
}

// attend lets people do what the Rollout waits for.
func (w *world) attend() {
	if w.status.Reason == ReasonHoldApproval && len(w.commands) == 0 {
		w.command(Command{Action: v1alpha1.CommandApprove, Step: w.status.Step, Actor: "alice"})
	}
}

// search walks the whole graph from a world, with so many faults on the way.
func (g *graph) search(w *world, faults int) {
	queue := []place{{w, faults, ""}}
	for len(queue) > 0 && !g.t.Failed() {
		p := queue[len(queue)-1]
		queue = queue[:len(queue)-1]
		key := fmt.Sprint(p.faults, p.w.key())
		if g.states[key] {
			continue
		}
		g.states[key] = true
		g.endsWell(p)
		p.w.attend()
		o := p.w.observe()
		d := Next(o, p.w.now)
		if !p.w.sound(g.t, p.story, o, d) {
			return
		}
		if !p.w.status.Phase.Terminal() || len(d.Actions) > 0 {
			queue = append(queue, g.step(p, d, len(d.Actions)))
		}
		if p.faults == 0 {
			continue
		}
		for cut := lost; cut < len(d.Actions); cut++ {
			next := g.step(p, d, cut)
			next.faults, next.story = p.faults-1, fmt.Sprintf("%s; %s: %d of %d actions", p.story, p.w.now.Sub(t0), cut, len(d.Actions))
			queue = append(queue, next)
		}
		for _, e := range events {
			next := place{p.w.clone(), p.faults - 1, fmt.Sprintf("%s; %s: %s", p.story, p.w.now.Sub(t0), e.name)}
			e.happen(next.w)
			g.edges++
			queue = append(queue, next)
		}
	}
}

// endsWell holds that the world comes to a good end once it is calm.
func (g *graph) endsWell(p place) {
	w := p.w.clone()
	w.calm()
	var path []string
	for quiet := 0; len(path) < 2000; {
		key := w.key()
		if g.ends[key] {
			break
		}
		path = append(path, key)
		if w.status.Paused && len(w.commands) == 0 {
			w.command(Command{Action: v1alpha1.CommandResume})
		}
		w.attend()
		o := w.observe()
		d := Next(o, w.now)
		if !w.sound(g.t, p.story+"; calm", o, d) {
			return
		}
		quiet++
		if !w.status.Phase.Terminal() || len(d.Actions) > 0 || d.RequeueAfter > 0 || !sameStatus(&d.Status, &o.Status) {
			quiet = 0
		}
		if quiet == 2 { // twice: the world may still be catching up
			if charged := w.newer == ""; charged && !w.wellEnded() {
				g.t.Errorf("%s; calm: I3/I6: ended as %s", p.story, w.outcome())
			}
			break
		}
		g.edges++
		w.execute(d, len(d.Actions))
		w.tick(max(time.Millisecond, d.RequeueAfter))
	}
	if len(path) == 2000 {
		g.t.Errorf("%s; calm: I5: no end: %s", p.story, describe(w.observe()))
	}
	for _, k := range path {
		g.ends[k] = true
	}
}

// twice are the worlds that the long run searches with two faults anywhere.
var twice = []string{
	"over another, known", "over another, three pods to none", "over another, none to three", "over another, blueGreen, no preview, no drain",
}

// TestEveryObservationOnEveryPath searches the graph of every world with one fault anywhere: some 180,000
// states with 200,000 edges.
func TestEveryObservationOnEveryPath(t *testing.T) {
	t.Parallel()
	var total struct {
		sync.Mutex
		states, edges int
	}
	t.Run("worlds", func(t *testing.T) {
		for name, spec := range worlds {
			t.Run(name, func(t *testing.T) {
				t.Parallel()
				w := newWorld(spec())
				w.load = loads[name]
				w.tick(0)
				g := &graph{t: t, states: map[string]bool{}, ends: map[string]bool{}}
				faults := 1
				if !testing.Short() && slices.Contains(twice, name) {
					faults = 2
				}
				g.search(w, faults)
				t.Logf("%d states, %d of them calm, %d edges", len(g.states)+len(g.ends), len(g.ends), g.edges)
				total.Lock()
				defer total.Unlock()
				total.states, total.edges = total.states+len(g.states)+len(g.ends), total.edges+g.edges
			})
		}
	})
	t.Logf("%d states, %d edges", total.states, total.edges)
}
