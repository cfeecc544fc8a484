package plan

import (
	"fmt"
	"slices"
	"time"

	metav1 "k8s.io/apimachinery/pkg/apis/meta/v1"

	"tidegate.io/tidegate/schemas/v1alpha1"
)

const (
	// look is when to read again what could not be read or has not settled.
	look = 5 * time.Second
	// approvalLife is how long an approved exposure may take to reach the route.
	approvalLife = 60 * time.Second
	// freshSlack is added to two intervals to get the greatest age of a round that counts.
	freshSlack = 10 * time.Second
	// maxMoves bounds the moves of one decision, beside two for each step; each guard moves strictly
	// on, so that the bound is there for the reader.
	maxMoves = 16
	// maxHistory is how many entries of the history are kept, the first rise among them.
	maxHistory = 50

	defaultInterval = 10 * time.Second
	defaultWindow   = 60 * time.Second
	defaultDeadline = 10 * time.Minute
	// defaultRetries is how many times more a hook is tried.
	defaultRetries = 3
)

// Next decides what a Rollout does next, given what was seen at now. It has no effect
// and keeps nothing; the same arguments give the same decision.
func Next(o Observation, now time.Time) Decision {
	t := newTurn(o, now)
	t.reach()
	t.obey()
	for range maxMoves + 2*len(t.steps) {
		t.due, t.work = time.Time{}, nil // what a moved status waits for is all that counts
		t.hear()
		t.sizes()
		t.readBack()
		t.grown()
		t.clocks()
		r := t.ask(t.guards())
		r.message += t.besides(r)
		t.record(r)
		if !r.moved {
			break
		}
	}
	return t.decide()
}

// kind is what a Rollout is over.
type kind int

const (
	// kindCanary is: over another revision, step by step.
	kindCanary kind = iota
	// kindFirst is: over nothing. The set gets all of the traffic when it is whole.
	kindFirst
	// kindInPlace is: over its own revision. One set serves all of the traffic all along.
	kindInPlace
)

// turn is one decision in the making.
type turn struct {
	o    Observation
	st   v1alpha1.RolloutStatus
	now  time.Time
	kind kind
	// steps are what is walked, from 1; levels what holds after each, from 0.
	steps  []v1alpha1.Step
	levels []Level
	// rolling is true where both revisions share one workload, changed in place.
	rolling bool
	// blueGreen is true where the set is whole before it gets any traffic, and then gets all.
	blueGreen bool
	// outOfPlace is true where the stable set is the workload that was changed in place before, so that the
	// Service may yet select every pod of the Release; see change.go.
	outOfPlace bool
	// ratio is true where a weight is a share of the pods behind a plain Service.
	ratio bool
	// route is the traffic as it was observed; see readBack.
	route Traffic
	// whole and stableWhole are the wanted sizes of the two sets, at least 1 where they get
	// traffic. floor is whole without what the load asks for at the moment.
	whole, stableWhole, floor int32
	// due is the earliest moment at which something changes by time alone.
	due     time.Time
	answers []Action
	// work are jobs and calls to begin.
	work []Action
	// noted are the phase and step that the history knows of.
	noted struct {
		phase v1alpha1.RolloutPhase
		step  int32
	}
}

func newTurn(o Observation, now time.Time) *turn {
	t := &turn{o: o, st: *o.Status.DeepCopy(), now: now, route: o.Traffic}
	t.noted.phase, t.noted.step = t.st.Phase, t.st.Step
	if t.st.Phase == "" {
		t.st.Phase = v1alpha1.RolloutPending
	}
	t.steps = Walked(o.Spec)
	t.levels = Levels(t.steps)
	t.st.Step = min(max(t.st.Step, 0), t.last())
	t.rolling = !o.Spec.InSets()
	t.outOfPlace = o.Spec.Changes() && o.Spec.Strategy.Type.InSets()
	// A workload that takes the place of sets comes up whole beside them.
	t.blueGreen = o.Spec.Strategy.Type == v1alpha1.StrategyBlueGreen || o.Spec.Changes() && !t.outOfPlace
	t.ratio = o.Spec.Strategy.Type == v1alpha1.StrategyCanary && o.Spec.Router == v1alpha1.RouterService
	switch s := o.Spec.Stable; {
	case s == nil:
		t.kind, t.levels = kindFirst, allOrNothing(t.levels)
	case s.Revision == o.Spec.Revision:
		t.kind = kindInPlace
	}
	t.sizes()
	return t
}

// readBack makes the weight out of what was seen. What counts as the approved one may change as the
// status moves on, so that it is asked for anew.
func (t *turn) readBack() {
	t.o.Traffic = t.route
	switch {
	case t.rolling:
		t.readWorkload()
	case t.ratio:
		t.readRatio()
	case t.route.Split:
		t.o.Traffic.UpToDate = false // the Service is to select one revision
	}
	switch t.o.Traffic.Knowledge {
	case Present:
		t.st.Weight = t.o.Traffic.Weight
	case Absent:
		if !t.routeGoes() {
			t.st.Weight = 0
		}
	case Unknown: // what was read last stays
	}
}

// ruling is what a guard has to say.
type ruling struct {
	// silent is: nothing; the next guard is asked.
	silent bool
	// moved is: the status was moved on, ask again. Otherwise the Rollout stays.
	moved         bool
	code, message string
}

var silence = ruling{silent: true}

func hold(code, format string, args ...any) ruling {
	return ruling{code: code, message: fmt.Sprintf(format, args...)}
}

func moved(code, format string, args ...any) ruling {
	return ruling{moved: true, code: code, message: fmt.Sprintf(format, args...)}
}

// guard looks at one thing.
type guard func(*turn) ruling

// guards returns the guards of the phase, in the order in which they are asked.
func (t *turn) guards() []guard {
	switch t.st.Phase {
	case v1alpha1.RolloutProgressing:
		switch {
		case t.kind == kindCanary && t.rolling:
			return rollingGuards
		case t.walks():
			return progressingGuards
		case t.rolling:
			return rollingSoloGuards
		}
		return soloGuards
	case v1alpha1.RolloutPromoting:
		if t.rolling {
			return rollingPromotingGuards
		}
		return promotingGuards
	case v1alpha1.RolloutAborting:
		if t.rolling {
			return rollingAbortingGuards
		}
		return abortingGuards
	case v1alpha1.RolloutSucceeded:
		return succeededGuards
	case v1alpha1.RolloutAborted:
		return abortedGuards
	case v1alpha1.RolloutPending:
	}
	return pendingGuards
}

// walks says whether the Rollout walks steps between sets.
func (t *turn) walks() bool {
	return t.kind == kindCanary || t.kind == kindFirst && !t.rolling && t.o.Spec.Strategy.WalkFirstInstall
}

func (t *turn) ask(guards []guard) ruling {
	for _, g := range guards {
		if r := g(t); !r.silent {
			return r
		}
	}
	return silence
}

// record takes the ruling into the status and notes changes of phase or step.
func (t *turn) record(r ruling) {
	if r.silent {
		return
	}
	t.st.Reason, t.st.Message = r.code, r.message
	if t.st.Phase == t.noted.phase && t.st.Step == t.noted.step {
		return
	}
	t.noted.phase, t.noted.step = t.st.Phase, t.st.Step
	t.st.History = append(t.st.History, v1alpha1.HistoryEntry{
		At: *t.stamp(), Phase: t.st.Phase, Step: t.st.Step, Weight: t.st.ApprovedWeight,
		Reason: r.code, Message: r.message,
	})
	for len(t.st.History) > maxHistory {
		oldest := 0
		if t.st.History[0].Weight > 0 {
			oldest = 1 // the first rise stays: see Raised
		}
		t.st.History = slices.Delete(t.st.History, oldest, oldest+1)
	}
}

// stamp is now, as precise as the API keeps it.
func (t *turn) stamp() *metav1.MicroTime {
	s := metav1.NewMicroTime(t.now.UTC().Truncate(time.Microsecond))
	return &s
}

// wake asks for another decision at the moment given, if it is yet to come.
func (t *turn) wake(at time.Time) {
	if at.After(t.now) && (t.due.IsZero() || at.Before(t.due)) {
		t.due = at
	}
}

// passed says whether d has gone by since the moment given, and asks for another
// decision when it will have. It has not where there is no such moment.
func (t *turn) passed(since *metav1.MicroTime, d time.Duration) bool {
	if since == nil {
		return false
	}
	t.wake(since.Add(d))
	return !t.now.Before(since.Add(d))
}

// last is the number of steps.
func (t *turn) last() int32 {
	var n int32
	for range t.steps {
		n++
	}
	return n
}

// weightOf is the weight that holds after a step counted from 1; before the first it is 0.
func (t *turn) weightOf(step int32) int32 {
	return t.level(step).Weight
}

// deadline is how long a set may take to have its pods.
func (t *turn) deadline() time.Duration {
	return orDefault(t.o.Spec.Strategy.ProgressDeadline.Duration, defaultDeadline)
}

func orDefault(d, otherwise time.Duration) time.Duration {
	if d <= 0 {
		return otherwise
	}
	return d
}

// where says which exposure is approved for what.
func (t *turn) where() string {
	if t.rolling {
		return t.whereRolling()
	}
	if !t.walks() {
		return fmt.Sprintf("%d %% to revision %s", t.st.ApprovedWeight, t.o.Spec.Revision)
	}
	return fmt.Sprintf("step %d/%d: %d %% to revision %s",
		t.st.Step, t.last(), t.st.ApprovedWeight, t.o.Spec.Revision)
}
