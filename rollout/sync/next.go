package sync

import (
	"fmt"
	"slices"
	"strconv"
	"strings"
	"time"

	metav1 "k8s.io/apimachinery/pkg/apis/meta/v1"

	"tidegate.io/tidegate/schemas/follow"
	"tidegate.io/tidegate/schemas/v1alpha1"
)

const (
	// maxMoves bounds the moves of one decision: there are at most 21 waves, and an end.
	maxMoves = 24
	// maxAssign is how many assignments one decision makes at most, so that a manager that
	// takes over thousands of Releases gets to its other work in between.
	maxAssign = 100
	// again is when to go on with what one decision could not do.
	again = time.Millisecond
	// askAgain is when to ask the policies again, if they do not say when.
	askAgain = 30 * time.Second
	// defaultConcurrent is for a sync that does not say.
	defaultConcurrent = 20
)

// Next decides how the sync of a template goes on, given what was seen at now. It has no
// effect and keeps nothing; the same arguments give the same decision.
func Next(o Observation, now time.Time) Decision {
	t := &turn{o: o, now: now, numbers: map[string]int64{}}
	for _, r := range o.Revisions {
		t.numbers[r.Name] = r.Number
	}
	if o.Status != nil {
		t.st = *o.Status.DeepCopy()
	}
	t.aim()
	if o.Status == nil {
		t.recall()
	}
	if t.st.Target == "" {
		t.refuseAll("the template has no revision yet; publish one first")
		return Decision{Answers: t.answers}
	}
	t.look()
	t.obey()
	var r ruling
	for range maxMoves {
		if r = t.ask(); !r.moved {
			break
		}
	}
	t.assign(r)
	t.report()
	return t.decide()
}

// turn is one decision in the making.
type turn struct {
	o       Observation
	now     time.Time
	st      v1alpha1.TemplateSyncStatus
	numbers map[string]int64
	// waves are in order, the rest last.
	waves []v1alpha1.SyncWave
	order []ranked
	// sights are of the Releases, by their index.
	sights []sight
	// tallies, and forgiven, are of the waves, by their index.
	tallies  []tally
	forgiven []int32
	// done is true where every wave had been passed before this decision.
	done bool
	// unsound is why the waves or the target make no sense; empty where they do.
	unsound string
	// held is true where the policies do not let Releases be moved.
	held bool
	// want is the wave that the policies have to be asked about.
	want    string
	assigns []Assignment
	answers []Answer
	// due is the earliest moment at which something changes by time alone.
	due time.Time
}

// tally counts the Releases of a wave.
type tally struct {
	releases, queued, installing, moving, settled, failed, excused int
}

func (n *tally) add(s state) {
	n.releases++
	switch s {
	case queued:
		n.queued++
	case installing:
		n.installing++
	case moving:
		n.moving++
	case settled:
		n.settled++
	case failed:
		n.failed++
	case paused, broken, late:
		n.excused++
	case foreign, staying:
	}
}

// aim chooses the target. The newest revision is it, unless a rollback turned away from
// that one.
func (t *turn) aim() {
	latest := t.o.Latest
	if latest == "" || t.number(latest) <= max(t.number(t.st.Target), t.number(t.st.RolledBackFrom)) {
		return // also where what was read is older than what was decided
	}
	from := t.st.From
	if from == "" || t.passed() || t.st.RolledBackFrom != "" {
		from = t.st.Target
	}
	t.retarget(latest, from)
}

// retarget begins a sync to another revision. A pause stands.
func (t *turn) retarget(target, from string) {
	t.st.Target, t.st.From, t.st.RolledBackFrom = target, from, ""
	if t.st.Phase != v1alpha1.SyncPaused {
		t.st.Phase = v1alpha1.SyncSyncing
	}
	t.restart()
	t.st.Waves = nil
}

// recall makes good for a status that is not there. Before the first decision there is
// nothing to recall. Afterwards it was lost, as by a restore: what people decided is read off
// their commands, and what the sync came from off the Releases. Which waves were passed is not
// known; they are passed again, by Releases that have the target already.
func (t *turn) recall() {
	latest := t.st.Target
	if latest == "" {
		return
	}
	var back Taken
	for _, c := range t.o.Taken {
		switch c.Action {
		case v1alpha1.TemplatePause:
			t.st.Phase = v1alpha1.SyncPaused
		case v1alpha1.TemplateResume:
			t.st.Phase = v1alpha1.SyncSyncing
		case v1alpha1.TemplateRollback:
			t.st.Phase, back = v1alpha1.SyncSyncing, c
		}
	}
	if back.RolledBackFrom != "" && t.number(latest) <= t.number(back.RolledBackFrom) {
		t.st.Target, t.st.RolledBackFrom = t.named(back.Revision), latest
		return
	}
	for i := range t.o.Releases {
		r := &t.o.Releases[i]
		n := t.number(r.was())
		if _, exists := t.numbers[r.was()]; exists && r.Free && n < t.number(latest) && n > t.number(t.st.From) {
			t.st.From = r.was()
		}
	}
}

// named is the name of the revision of a number; without its digest where it is not there.
func (t *turn) named(number int64) string {
	for _, r := range t.o.Revisions {
		if r.Number == number {
			return r.Name
		}
	}
	return fmt.Sprintf("%s-%d", t.o.Template, number)
}

// restart goes back to before the first wave.
func (t *turn) restart() {
	t.st.Wave, t.st.WaveStartedAt, t.st.SettledAt = 0, nil, nil
}

// passed says whether every wave has been passed.
func (t *turn) passed() bool { return follow.Passed(&t.st) }

// atOnce says whether a rollback is under way, which takes no waves.
func (t *turn) atOnce() bool { return t.st.RolledBackFrom != "" }

// manual says whether Releases are left to take the target by themselves.
func (t *turn) manual() bool { return t.o.Spec.Type == v1alpha1.SyncManual }

// staged says whether there are waves, each of which has to prove the target.
func (t *turn) staged() bool { return t.o.Spec.Type == v1alpha1.SyncStaged && !t.atOnce() }

// look finds out where each Release is.
func (t *turn) look() {
	t.waves, t.unsound = wavesOf(t.o.Spec, t.atOnce()), ""
	t.order, t.done = rank(t.o.Releases, t.st.Target), t.passed()
	t.locate()
	place, err := divide(t.waves, t.o.Releases, t.order)
	if err != nil {
		t.unsound = fmt.Sprintf("%v; correct it: kubectl edit releasetemplate %s", err, t.o.Template)
		place = make([]int, len(t.o.Releases))
	}
	if _, ok := t.numbers[t.st.Target]; !ok {
		t.unsound = fmt.Sprintf("revision %s, the target, is not there; restore it, or return to one that is: tidegate template rollback %s --to N",
			t.st.Target, t.o.Template)
	}
	t.sights = make([]sight, len(t.o.Releases))
	t.tallies = make([]tally, len(t.waves))
	for i := range t.o.Releases {
		t.see(i, place[i])
	}
}

// see looks at one Release.
func (t *turn) see(i, wave int) {
	r := &t.o.Releases[i]
	s := sight{wave: wave}
	s.state, s.message = look(r, t.st.Target, t.atOnce())
	if s.state == queued && t.manual() && (!t.atOnce() || t.number(r.was()) < t.number(t.st.Target)) {
		s.state, s.message = staying, "stays on its revision until its team applies it"
	}
	if s.state == installing && t.st.From == "" && r.was() == "" {
		s.state = moving // what it follows is the target
	}
	if s.state == moving && wave > 0 {
		t.hurry(r, &s)
	}
	t.sights[i] = s
	if wave > 0 {
		t.tallies[wave-1].add(s.state)
	}
}

// hurry looks how long a Release has been under way.
func (t *turn) hurry(r *Release, s *sight) {
	at := r.expires(patience(&t.waves[s.wave-1]))
	if at.IsZero() {
		return
	}
	t.wake(at)
	if !t.now.Before(at) {
		s.state, s.message = late, "under way since "+r.Assigned.At.UTC().Format(time.RFC3339)+": "+s.message
	}
}

// locate finds the current wave again after the waves were edited: by its name. Where it is
// gone the sync begins anew; the Releases that have the target keep it.
func (t *turn) locate() {
	t.forgiven = make([]int32, len(t.waves))
	same := len(t.st.Waves) == len(t.waves)
	for i := range t.waves {
		for _, was := range t.st.Waves {
			if was.Name == t.waves[i].Name {
				t.forgiven[i] = was.Forgiven
			}
		}
		same = same && t.st.Waves[i].Name == t.waves[i].Name
	}
	leftManual := t.st.Reason == ReasonManual && !t.manual()
	switch {
	case leftManual:
		if t.st.Phase != v1alpha1.SyncPaused {
			t.st.Phase = v1alpha1.SyncSyncing
		}
		t.restart()
	case t.st.Wave == 0 || same:
	case t.done:
		t.st.Wave = t.last()
	default:
		name := ""
		if n := int(t.st.Wave); n <= len(t.st.Waves) {
			name = t.st.Waves[n-1].Name
		}
		i := slices.IndexFunc(t.waves, func(w v1alpha1.SyncWave) bool { return w.Name == name && name != Rest })
		if i < 0 {
			t.restart()
			return
		}
		t.st.Wave = count(i + 1)
	}
}

// last is the number of waves.
func (t *turn) last() int32 { return count(len(t.waves)) }

// number is that of a revision, also of one that is not there (any more); 0 for none.
func (t *turn) number(revision string) int64 {
	if n, ok := t.numbers[revision]; ok {
		return n
	}
	if of, n, ok := v1alpha1.ParseRevisionName(revision); ok && of == t.o.Template {
		return n
	}
	n, err := strconv.ParseInt(strings.TrimPrefix(revision, t.o.Template+"-"), 10, 64)
	if err != nil {
		return 0
	}
	return n
}

// count is a number of Releases as the API has it.
func count(n int) int32 { return int32(min(n, 1<<30)) } //nolint:gosec // it is bounded

// decide puts together what the turn has come to.
func (t *turn) decide() Decision {
	d := Decision{Status: &t.st, Assign: t.assigns, Answers: t.answers, Ask: t.want}
	if !t.due.IsZero() {
		d.RequeueAfter = max(t.due.Sub(t.now), again)
	}
	return d
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
