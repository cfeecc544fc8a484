package sync

import (
	"fmt"
	"strings"
	"time"

	"tidegate.io/tidegate/schemas/v1alpha1"
)

// ruling is what a guard has to say.
type ruling struct {
	// silent is: nothing; the next guard is asked.
	silent bool
	// moved is: the status was moved on, ask again.
	moved bool
	// open is: Releases of the waves that have begun may be given the target.
	open bool
}

var (
	silence = ruling{silent: true}
	onward  = ruling{moved: true}
	closed  = ruling{}
	open    = ruling{open: true}
)

// guards are asked in this order; the first that is not silent decides.
var guards = []func(*turn) ruling{
	(*turn).whileManual,
	(*turn).whilePaused,
	(*turn).whileUnsound,
	(*turn).whileSynced,
	(*turn).whileFailed,
	(*turn).beforeFirst,
	(*turn).whileMoving,
	(*turn).whileUnproven,
	(*turn).whileSoaking,
	(*turn).passWave,
}

func (t *turn) ask() ruling {
	for _, g := range guards {
		if r := g(t); !r.silent {
			return r
		}
	}
	return closed
}

// say records where the sync stands, and why.
func (t *turn) say(phase v1alpha1.SyncPhase, reason, format string, args ...any) {
	t.st.Phase, t.st.Reason, t.st.Message = phase, reason, fmt.Sprintf(format, args...)
}

// whileManual: nobody is given anything.
func (t *turn) whileManual() ruling {
	if !t.manual() || t.atOnce() {
		return silence
	}
	t.st.Wave, t.st.WaveStartedAt, t.st.SettledAt = t.last(), nil, nil
	all := t.all()
	t.say(v1alpha1.SyncSynced, ReasonManual, "%d of %d Releases have %s; the others take it when their teams apply them",
		all.settled, all.releases, t.st.Target)
	return closed
}

// whilePaused: a person holds the sync.
func (t *turn) whilePaused() ruling {
	if t.st.Phase != v1alpha1.SyncPaused {
		return silence
	}
	t.say(v1alpha1.SyncPaused, ReasonPaused, "paused: no further Release gets %s; %s. Go on with: tidegate template sync resume %s",
		t.st.Target, t.all().words(), t.o.Template)
	return closed
}

// whileUnsound: it is not known what to do.
func (t *turn) whileUnsound() ruling {
	if t.unsound == "" {
		return silence
	}
	phase := t.st.Phase
	if phase == "" {
		phase = v1alpha1.SyncSyncing
	}
	t.say(phase, ReasonInvalid, "nothing is assigned: %s", t.unsound)
	return closed
}

// whileSynced: what is left are those that nobody waited for, and those that come new.
func (t *turn) whileSynced() ruling {
	if t.st.Phase != v1alpha1.SyncSynced {
		return silence
	}
	t.st.Wave = t.last()
	reason := ReasonSynced
	back := ""
	if t.atOnce() {
		reason = ReasonRollback
		back = fmt.Sprintf(" (turned back from %s, which is not taken up again; publish another revision to go on)", t.st.RolledBackFrom)
	}
	t.say(v1alpha1.SyncSynced, reason, "%s is in force: %s%s", t.st.Target, t.all().words(), back)
	return open
}

// whileFailed: a wave has more failures than it may have, or had when the sync was halted.
func (t *turn) whileFailed() ruling {
	if !t.staged() && t.st.Phase != v1alpha1.SyncHalted {
		return silence
	}
	for w := range t.st.Wave {
		if !t.staged() || t.tallies[w].failed <= int(t.waves[w].MaxFailed+t.forgiven[w]) {
			continue
		}
		t.say(v1alpha1.SyncHalted, ReasonHalted,
			"%s: %d failed with %s and %d may (%s). Nobody else gets it. Accept the failures with: tidegate template sync resume %s; or return with: tidegate template rollback %s --to N",
			t.name(w), t.tallies[w].failed, t.st.Target, t.waves[w].MaxFailed+t.forgiven[w], t.failures(w), t.o.Template, t.o.Template)
		return closed
	}
	if t.st.Phase != v1alpha1.SyncHalted {
		return silence
	}
	t.say(v1alpha1.SyncHalted, ReasonHalted,
		"the sync to %s was halted, and has no more failures by now than it may have; %s. Go on with: tidegate template sync resume %s",
		t.st.Target, t.all().words(), t.o.Template)
	return closed
}

// beforeFirst begins the first wave.
func (t *turn) beforeFirst() ruling {
	if t.st.Wave > 0 {
		return silence
	}
	t.begin(1)
	return onward
}

func (t *turn) begin(wave int32) {
	t.st.Phase, t.st.Wave, t.st.WaveStartedAt, t.st.SettledAt = v1alpha1.SyncSyncing, wave, t.stamp(), nil
}

// whileMoving: Releases of the wave are yet to settle.
func (t *turn) whileMoving() ruling {
	n := t.current()
	if t.st.SettledAt != nil || n.queued+n.moving == 0 {
		return silence
	}
	reason := ReasonMoving
	if t.atOnce() {
		reason = ReasonRollback
	}
	t.say(v1alpha1.SyncSyncing, reason, "%s: %s", t.name(t.st.Wave-1), n.words())
	return open
}

// whileUnproven: nobody is left to wait for, and not one has shown that the target is good.
func (t *turn) whileUnproven() ruling {
	if !t.unproven() {
		return silence
	}
	t.say(v1alpha1.SyncSyncing, ReasonUnproven,
		"%s: none has settled on %s (%s), so that nothing is known of it; the next wave waits for one. Go on without with: tidegate template sync resume %s",
		t.name(t.st.Wave-1), t.st.Target, t.current().words(), t.o.Template)
	return open
}

func (t *turn) unproven() bool {
	if !t.staged() || t.st.Wave == 0 || t.st.Wave >= t.last() || t.st.SettledAt != nil {
		return false
	}
	n := t.current()
	return n.releases > 0 && n.settled == 0 && n.queued+n.moving == 0 && t.forgiven[t.st.Wave-1] == 0
}

// whileSoaking: the wave is watched. What is under way by now does not make it longer.
func (t *turn) whileSoaking() ruling {
	if t.current().releases == 0 {
		return silence
	}
	if t.st.SettledAt == nil {
		t.st.SettledAt = t.stamp()
	}
	end := t.st.SettledAt.Add(t.waves[t.st.Wave-1].Soak.Duration)
	if !t.now.Before(end) {
		return silence
	}
	t.wake(end)
	t.say(v1alpha1.SyncSoaking, ReasonSoaking, "%s: %s; it is watched until %s",
		t.name(t.st.Wave-1), t.current().words(), end.UTC().Format(time.RFC3339))
	return open
}

// passWave goes on to the next wave, or ends the sync.
func (t *turn) passWave() ruling {
	if t.st.Wave < t.last() {
		t.begin(t.st.Wave + 1)
		return onward
	}
	if t.st.SettledAt == nil {
		t.st.SettledAt = t.stamp()
	}
	t.st.Phase = v1alpha1.SyncSynced
	return onward
}

// current is the tally of the current wave.
func (t *turn) current() tally { return t.tallies[t.st.Wave-1] }

// all adds up the tallies.
func (t *turn) all() tally {
	var sum tally
	for _, n := range t.tallies {
		sum.releases += n.releases
		sum.queued += n.queued
		sum.installing += n.installing
		sum.moving += n.moving
		sum.settled += n.settled
		sum.failed += n.failed
		sum.excused += n.excused
	}
	return sum
}

// words says a tally.
func (n tally) words() string {
	if n.releases == 0 {
		return "there are no Releases"
	}
	parts := []string{fmt.Sprintf("%d of %d settled", n.settled, n.releases)}
	for _, p := range []struct {
		n    int
		what string
	}{{n.moving, "under way"}, {n.queued, "queued"}, {n.installing, "new"}, {n.failed, "failed"}, {n.excused, "not waited for"}} {
		if p.n > 0 {
			parts = append(parts, fmt.Sprintf("%d %s", p.n, p.what))
		}
	}
	return strings.Join(parts, ", ")
}

// name says which wave it is, counted from 0.
func (t *turn) name(w int32) string {
	if len(t.waves) == 1 {
		return "all Releases"
	}
	return fmt.Sprintf("wave %s (%d of %d)", t.waves[w].Name, w+1, len(t.waves))
}

// maxFailuresNamed bounds how many Releases a message names.
const maxFailuresNamed = 5

// failures names the Releases of a wave that failed.
func (t *turn) failures(w int32) string {
	var names []string
	for _, place := range t.order {
		s := t.sights[place.index]
		if s.state != failed || s.wave != int(w)+1 {
			continue
		}
		if len(names) == maxFailuresNamed {
			names = append(names, "...")
			break
		}
		r := &t.o.Releases[place.index]
		names = append(names, r.Namespace+"/"+r.Name)
	}
	return strings.Join(names, ", ")
}
