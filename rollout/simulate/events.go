package simulate

import (
	"fmt"
	"strings"
	"time"

	"tidegate.io/tidegate/rollout/plan"
	"tidegate.io/tidegate/schemas/v1alpha1"
)

// Event is one thing that happens in a cluster, or that a person does.
type Event interface {
	// happen changes the world.
	happen(w *world)
	// text says it in a few words.
	text() string
}

// verdictEvent is what every analysis comes to from now on.
type verdictEvent struct {
	is      v1alpha1.Verdict
	message string
}

func (e verdictEvent) text() string    { return "analysis: " + string(e.is) }
func (e verdictEvent) happen(w *world) { w.verdict, w.verdictMessage = e.is, e.message }

// which is a set of pods.
type which string

const (
	whichNew      which = "new"
	whichStable   which = "stable"
	whichBaseline which = "baseline"
)

// podsEvent is what befalls the pods of a set.
type podsEvent struct {
	set which
	// Fail pods become unavailable and stay so; lose ones go and are made anew; all is every one.
	fail, lose int32
	// stuck is true where pods that are made from now on do not become available; recover
	// ends that, and heals those that failed.
	stuck, recovers bool
	// start is how long pods take from now on; 0 for no change. Scale is a size that somebody
	// sets by hand, -1 for none.
	start time.Duration
	scale int32
	// edited is true where somebody changes the set's objects, deleted where they are deleted.
	edited, deleted bool
}

// everyPod stands for "all".
const everyPod = int32(1) << 30

func (e podsEvent) text() string {
	var said []string
	say := func(ok bool, format string, args ...any) {
		if ok {
			said = append(said, fmt.Sprintf(format, args...))
		}
	}
	say(e.fail > 0, "%s failing", countText(e.fail))
	say(e.lose > 0, "%s lost", countText(e.lose))
	say(e.stuck, "none comes up any more")
	say(e.recovers, "recover")
	say(e.start > 0, "start in %s from now on", short(e.start))
	say(e.scale >= 0, "scaled to %d by hand", e.scale)
	say(e.edited, "edited by hand")
	say(e.deleted, "deleted by hand")
	return fmt.Sprintf("%s pods: %s", e.set, strings.Join(said, ", "))
}

// podsText is 1 pod, and 2 pods.
func podsText(n int32) string {
	if n == 1 {
		return "1 pod"
	}
	return fmt.Sprintf("%d pods", n)
}

func countText(n int32) string {
	if n == everyPod {
		return "all"
	}
	return fmt.Sprint(n)
}

func (e podsEvent) happen(w *world) {
	revision := w.revisionOf(e.set)
	if w.rolling() {
		w.workload.befall(e, revision, w)
		return
	}
	w.set(revision).befall(e, w)
}

// commandEvent is a decision of a person. Step 0 is the step that the Rollout is in.
type commandEvent struct {
	action        v1alpha1.CommandAction
	step          int32
	actor, reason string
	// rollout is whose it is; empty for the one that is moving, else the newest.
	rollout string
}

func (e commandEvent) text() string {
	return fmt.Sprintf("command: %s by %s", e.action, e.actor)
}

func (e commandEvent) happen(w *world) { w.give(e) }

// releaseEvent is a newer Release.
type releaseEvent struct {
	revision string
	replicas int32
	// strategy is nil where it stays as it was.
	strategy *v1alpha1.Strategy
}

func (e releaseEvent) text() string {
	return fmt.Sprintf("release: revision %s with %s is applied", e.revision, podsText(e.replicas))
}

func (e releaseEvent) happen(w *world) {
	if e.strategy == nil && w.resize(e.revision, e.replicas) {
		return
	}
	s := w.newest().spec.Strategy
	if w.sc.changes() {
		s = w.sc.Strategy
	}
	if e.strategy != nil {
		s = *e.strategy
	}
	w.begin(e.revision, e.replicas, s)
}

// gatewayEvent is how the gateway behaves from now on.
type gatewayEvent struct {
	refuses bool
	after   time.Duration
}

func (e gatewayEvent) text() string {
	if e.refuses {
		return "gateway: refuses every route"
	}
	return "gateway: accepts after " + short(e.after)
}

func (e gatewayEvent) happen(w *world) {
	w.refuses, w.accept = e.refuses, e.after
	if !w.route.accepted && !e.refuses {
		w.route.settles = w.now.Add(e.after)
	}
}

// routeEvent is what somebody does to the route by hand.
type routeEvent struct {
	weight          int32
	edited, deleted bool
}

func (e routeEvent) text() string {
	switch {
	case e.deleted:
		return "route: deleted by hand"
	case e.edited:
		return "route: its rules are edited by hand"
	}
	return fmt.Sprintf("route: set to %d %% by hand", e.weight)
}

func (e routeEvent) happen(w *world) {
	switch {
	case e.deleted:
		w.route = route{}
	case e.edited:
		w.route.edited = true
	default:
		w.turnRoute(w.current().spec, e.weight, 0, false)
	}
}

// sharedEvent is that somebody edits what belongs to no set.
type sharedEvent struct{}

func (sharedEvent) text() string    { return "shared objects: edited by hand" }
func (sharedEvent) happen(w *world) { w.sharedEdited = true }

// policyEvent is what the policies about promotion say from now on.
type policyEvent struct {
	allowed, unanswered bool
	code, message       string
	// lasts is when it is over; 0 for not by itself.
	lasts time.Duration
}

func (e policyEvent) text() string {
	switch {
	case e.allowed:
		return "policy: allows"
	case e.unanswered:
		return "policy: cannot be asked"
	}
	return "policy: denies: " + e.message
}

func (e policyEvent) happen(w *world) {
	w.policy, w.policyUntil = e, time.Time{}
	if e.lasts > 0 {
		w.policyUntil = w.now.Add(e.lasts)
	}
}

// hookEvent is how a hook answers from now on.
type hookEvent struct{ HookAnswer }

func (e hookEvent) text() string {
	name := e.Name
	if name == "" {
		name = "every hook"
	}
	return fmt.Sprintf("hook: %s %s", name, e.Answer)
}

func (e hookEvent) happen(w *world) { w.hooks = append(w.hooks, e.HookAnswer) }

// jobEvent is how jobs end that are begun from now on, or hang already.
type jobEvent struct{ JobOutcome }

func (e jobEvent) text() string { return "job: " + string(e.Outcome) }

func (e jobEvent) happen(w *world) {
	w.job = e.JobOutcome
	for i := range w.jobs {
		if j := &w.jobs[i]; !j.finished(w.now) {
			*j = w.jobNamed(j.name)
		}
	}
}

// managerEvent is that the manager goes, comes, or is about to die.
type managerEvent struct {
	down, up bool
	// crashAfter is how many writes it still does; -1 where it does not die.
	crashAfter int32
	// crashBefore is the kind of action that it does not live to do.
	crashBefore plan.ActionKind
}

func (e managerEvent) text() string {
	switch {
	case e.down:
		return "manager: is away"
	case e.up:
		return "manager: is back"
	case e.crashBefore != "":
		return "manager: will die before " + string(e.crashBefore)
	}
	return fmt.Sprintf("manager: will die after %d more writes", e.crashAfter)
}

func (e managerEvent) happen(w *world) {
	switch {
	case e.down:
		w.stop(0)
	case e.up:
		w.down, w.back = false, time.Time{}
	default:
		w.writesLeft, w.diesBefore = e.crashAfter, e.crashBefore
	}
}

// unreadEvent is which facts cannot be read from now on.
type unreadEvent struct{ facts []string }

func (e unreadEvent) text() string {
	if len(e.facts) == 0 {
		return "everything can be read again"
	}
	return "cannot be read: " + strings.Join(e.facts, ", ")
}

func (e unreadEvent) happen(w *world) {
	w.unread = setOf(e.facts)
}

func setOf(words []string) map[string]bool {
	out := make(map[string]bool, len(words))
	for _, w := range words {
		out[w] = true
	}
	return out
}

// writesEvent is which writes the API server refuses from now on.
type writesEvent struct{ fail []string }

func (e writesEvent) text() string {
	if len(e.fail) == 0 {
		return "writes: all succeed again"
	}
	return "writes: the API server refuses " + strings.Join(e.fail, ", ")
}

func (e writesEvent) happen(w *world) {
	w.refused = setOf(e.fail)
}

// loadEvent is how many pods the load asks for from now on.
type loadEvent struct{ pods int32 }

func (e loadEvent) text() string    { return fmt.Sprintf("load: asks for %d pods", e.pods) }
func (e loadEvent) happen(w *world) { w.load = e.pods }

// clockEvent is that the manager's clock jumps.
type clockEvent struct{ by time.Duration }

func (e clockEvent) text() string    { return "clock: jumps by " + short(e.by) }
func (e clockEvent) happen(w *world) { w.skew += e.by }
