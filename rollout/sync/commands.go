package sync

import (
	"fmt"
	"slices"
	"strconv"
	"strings"

	"tidegate.io/tidegate/schemas/v1alpha1"
)

// obey takes the oldest command of a person that does something, with exactly one answer.
// The status records that it was taken, so that one whose answer was lost is not taken
// again. Nothing else is taken before that answer is written: the status remembers one.
func (t *turn) obey() {
	for _, c := range t.o.Commands {
		if c.UID == t.st.LastCommand {
			t.answer(c, v1alpha1.OutcomeApplied, "taken into account")
			t.others()
			return
		}
	}
	for _, c := range t.o.Commands {
		outcome, message := t.command(c)
		t.answer(c, outcome, message)
		if outcome == v1alpha1.OutcomeApplied {
			t.st.LastCommand = c.UID
			break
		}
	}
	t.others()
}

// others has another decision made where commands are left for it.
func (t *turn) others() {
	if len(t.answers) < len(t.o.Commands) {
		t.wake(t.now.Add(again))
	}
}

func (t *turn) answer(c Command, outcome v1alpha1.CommandOutcome, message string) {
	a := Answer{Command: c.Name, Outcome: outcome, Message: message}
	if outcome == v1alpha1.OutcomeApplied && c.Action == v1alpha1.TemplateRollback {
		a.RolledBackFrom = t.st.RolledBackFrom
	}
	t.answers = append(t.answers, a)
}

func (t *turn) refuseAll(why string) {
	for _, c := range t.o.Commands {
		t.answer(c, v1alpha1.OutcomeRefused, ReasonCommandUnfit+": "+why)
	}
}

func (t *turn) command(c Command) (v1alpha1.CommandOutcome, string) {
	switch c.Action {
	case v1alpha1.TemplatePause:
		return t.pause()
	case v1alpha1.TemplateResume:
		return t.resume()
	case v1alpha1.TemplateRollback:
		return t.rollback(c)
	}
	return refuse("the action %q is not known; use pause, resume or rollback", c.Action)
}

func (t *turn) pause() (v1alpha1.CommandOutcome, string) {
	if t.manual() && !t.atOnce() {
		return refuse("the sync is of type Manual, so that there is nothing to pause")
	}
	t.st.Phase = v1alpha1.SyncPaused
	return obeyed("paused: no further Release gets %s or a newer revision until a TemplateCommand resume; what is under way ends by itself", t.st.Target)
}

func (t *turn) resume() (v1alpha1.CommandOutcome, string) {
	switch {
	case t.st.Phase == v1alpha1.SyncPaused:
		t.st.Phase = v1alpha1.SyncSyncing
		return obeyed("resumed")
	case t.st.Phase == v1alpha1.SyncHalted:
		t.st.Phase = v1alpha1.SyncSyncing
		accepted := 0
		for w := range t.st.Wave {
			t.forgiven[w] = max(t.forgiven[w], count(t.tallies[w].failed))
			accepted += t.tallies[w].failed
		}
		return obeyed("resumed: %d failed are accepted", accepted)
	case t.unproven():
		n := t.current()
		t.forgiven[t.st.Wave-1] = max(1, count(n.releases-n.settled))
		return obeyed("goes on to the next wave, though none of wave %s has settled", t.waves[t.st.Wave-1].Name)
	}
	return refuse("the sync to %s is neither paused nor halted; see where it stands with: tidegate template status %s", t.st.Target, t.o.Template)
}

// rollback makes an earlier revision the target, for all at once. A return to the newest
// revision is a sync like any other, wave by wave.
func (t *turn) rollback(c Command) (v1alpha1.CommandOutcome, string) {
	i := slices.IndexFunc(t.o.Revisions, func(r Revision) bool { return r.Number == c.Revision })
	if i < 0 {
		return refuse("there is no revision %d; there is %s", c.Revision, t.existing())
	}
	target := t.o.Revisions[i].Name
	if target == t.st.Target {
		return refuse("%s is the target already", target)
	}
	from := t.st.Target
	t.st.Phase = v1alpha1.SyncSyncing
	if target == t.o.Latest {
		t.retarget(target, from)
		t.look()
		return obeyed("%s is the target again, as the sync says", target)
	}
	t.retarget(target, "")
	t.st.RolledBackFrom = t.o.Latest
	t.look()
	return obeyed("%s is the target for all Releases at once; %s is not taken up again", target, t.o.Latest)
}

// existing names the revisions there are.
func (t *turn) existing() string {
	numbers := make([]int64, 0, len(t.o.Revisions))
	for _, r := range t.o.Revisions {
		numbers = append(numbers, r.Number)
	}
	slices.Sort(numbers)
	words := make([]string, 0, len(numbers))
	for _, n := range numbers {
		words = append(words, strconv.FormatInt(n, 10))
	}
	return strings.Join(words, ", ")
}

func obeyed(format string, args ...any) (v1alpha1.CommandOutcome, string) {
	return v1alpha1.OutcomeApplied, fmt.Sprintf(format, args...)
}

func refuse(format string, args ...any) (v1alpha1.CommandOutcome, string) {
	return v1alpha1.OutcomeRefused, ReasonCommandUnfit + ": " + fmt.Sprintf(format, args...)
}
