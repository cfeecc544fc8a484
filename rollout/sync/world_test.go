package sync

import (
	"fmt"
	"math/rand/v2"
	"slices"
	"time"

	metav1 "k8s.io/apimachinery/pkg/apis/meta/v1"
	"k8s.io/apimachinery/pkg/types"

	"tidegate.io/tidegate/schemas/follow"
	"tidegate.io/tidegate/schemas/v1alpha1"
)

// service is what is true of a Release, beside what is recorded of it.
type service struct {
	Release
	// rollouts counts its Rollouts; content is what it was last judged as.
	rollouts int
	content  string
	// paused is what its team wants.
	paused bool
	// pin is the number of a revision, or 0.
	pin int64
}

// world is a template, its Releases, and a release loop that follows. Writes of the sync
// can be cut off between any two.
type world struct {
	random   *rand.Rand
	now      time.Time
	spec     v1alpha1.TemplateSync
	status   *v1alpha1.TemplateSyncStatus
	numbers  int64
	services []*service
	commands []Command
	taken    []Taken
	issued   int
	// lost is the status that was lost last, until it was made good for.
	lost   *v1alpha1.TemplateSyncStatus
	frozen bool
	// bad are revisions that fail in each Release, unfit those that none renders with, and
	// same those that render to what the one before does.
	bad, unfit, same map[string]bool
	// faults are breaches of an invariant.
	faults []string
	trace  []string
}

func newWorld(random *rand.Rand) *world {
	w := &world{random: random, now: start, numbers: 1, bad: map[string]bool{}, unfit: map[string]bool{}, same: map[string]bool{}}
	kinds := []v1alpha1.SyncType{v1alpha1.SyncImmediate, v1alpha1.SyncStaged, v1alpha1.SyncStaged, v1alpha1.SyncStaged, v1alpha1.SyncManual}
	w.spec = v1alpha1.TemplateSync{Type: kinds[random.IntN(len(kinds))], MaxConcurrent: random.Int32N(3) + 1}
	if w.spec.Type == v1alpha1.SyncStaged {
		w.spec.Waves = []v1alpha1.SyncWave{team("a", soak(time.Duration(random.IntN(2))*time.Minute)), share("b", 50)}
	}
	for i := range random.IntN(6) + 1 {
		w.add(i)
	}
	return w
}

func (w *world) name() string { return fmt.Sprintf("web-%d", w.numbers) }

func (w *world) note(format string, args ...any) {
	w.trace = append(w.trace, fmt.Sprintf(format, args...))
}

func (w *world) add(i int) {
	s := &service{Release: fresh(fmt.Sprintf("%c/x%d", 'a'+i%3, i))}
	w.services = append(w.services, s)
	w.note("add %s", s.Name)
}

// happen lets one thing happen that people, or time, bring about.
func (w *world) happen() {
	s := w.services[w.random.IntN(len(w.services))]
	switch w.random.IntN(15) {
	case 0:
		w.numbers++
		w.bad[w.name()], w.unfit[w.name()], w.same[w.name()] = w.random.IntN(4) == 0, w.random.IntN(6) == 0, w.random.IntN(3) == 0
		w.note("publish %s: bad %t, unfit %t, same %t", w.name(), w.bad[w.name()], w.unfit[w.name()], w.same[w.name()])
	case 1:
		s.Generation++
		w.note("edit %s", s.Name)
	case 2:
		s.paused = !s.paused
		w.note("%s paused: %t", s.Name, s.paused)
	case 3:
		s.pin, s.Generation = []int64{0, w.random.Int64N(w.numbers) + 1}[w.random.IntN(2)], s.Generation+1
		s.Free = s.pin == 0
		w.note("pin %s to %d", s.Name, s.pin)
	case 4:
		if len(w.services) < 8 {
			w.add(len(w.services) + w.issued*10)
		}
	case 5:
		w.frozen = !w.frozen
		w.note("frozen: %t", w.frozen)
	case 6:
		w.order(v1alpha1.TemplatePause, 0)
	case 7:
		w.order(v1alpha1.TemplateResume, 0)
	case 8:
		w.order(v1alpha1.TemplateRollback, w.random.Int64N(w.numbers)+1)
	case 9:
		w.lose()
	default:
		w.now = w.now.Add(time.Duration(w.random.IntN(90)) * time.Second)
	}
}

// lose takes the status away, as a restore does.
func (w *world) lose() {
	if w.status != nil {
		w.lost, w.status = w.status, nil
		w.note("the status is lost")
	}
}

// checkRecall holds what was made of a lost status to what has to hold: what people decided
// stands, unless they decided something since, or a newer revision was published.
func (w *world) checkRecall(o Observation, d Decision) {
	lost := w.lost
	w.lost = nil
	inHand := len(o.Commands) == 0 || len(o.Commands) == 1 && o.Commands[0].UID == lost.LastCommand
	if !inHand {
		return
	}
	if lost.RolledBackFrom == o.Latest && (d.Status.Target != lost.Target || d.Status.RolledBackFrom != lost.RolledBackFrom) {
		w.fault("a rollback from %s to %s was forgotten: the target is %s", lost.RolledBackFrom, lost.Target, d.Status.Target)
	}
	if len(o.Commands) == 0 && lost.Target == o.Latest && d.Status.Target != lost.Target {
		w.fault("the target was %s and is %s, by a rollback that is over", lost.Target, d.Status.Target)
	}
	manual := w.spec.Type == v1alpha1.SyncManual && d.Status.RolledBackFrom == "" // nothing to pause
	if (lost.Phase == v1alpha1.SyncPaused) != (d.Status.Phase == v1alpha1.SyncPaused) && !manual {
		w.fault("it was %s and is %s", lost.Phase, d.Status.Phase)
	}
}

func (w *world) order(action v1alpha1.TemplateAction, revision int64) {
	w.issued++
	w.commands = append(w.commands, Command{
		UID: types.UID(fmt.Sprint(w.issued)), Name: fmt.Sprintf("c%d", w.issued), Action: action, Revision: revision,
	})
	w.note("command %s %d", action, revision)
}

// revisions are all that were published.
func (w *world) revisions() []Revision {
	var out []Revision
	for n := range w.numbers {
		out = append(out, Revision{fmt.Sprintf("web-%d", n+1), n + 1})
	}
	return out
}

// release lets the release loop look at one Release, and its Rollout move on.
func (w *world) release(s *service) {
	if w.status == nil && s.Assigned == nil {
		return
	}
	chosen := w.choose(s)
	s.Observed = s.Generation
	switch {
	case w.unfit[chosen]:
		s.Tried, s.Phase = chosen, v1alpha1.ReleaseInvalid
		if s.Rollout != nil {
			w.roll(s) // what was begun goes on
		}
	case s.Has != chosen || s.Tried != chosen || s.content != w.content(s, chosen) || s.Rollout == nil:
		s.Has, s.Tried = chosen, chosen
		if c := w.content(s, chosen); c != s.content {
			s.content = c
			s.rollouts++
			s.Rollout = &Rollout{
				Name: fmt.Sprintf("%s-%d", s.Name, s.rollouts), TemplateRevision: chosen,
				Phase: v1alpha1.RolloutProgressing, First: s.Stable == "",
			}
		}
	default:
		w.roll(s)
	}
	w.reflect(s)
}

// roll moves the newest Rollout on.
func (w *world) roll(s *service) {
	o := s.Rollout
	if s.Rollout.Paused = s.paused && !o.Phase.Terminal(); s.Rollout.Paused || o.Phase.Terminal() {
		return
	}
	o.Phase = v1alpha1.RolloutSucceeded
	if w.bad[o.TemplateRevision] {
		o.Phase = v1alpha1.RolloutAborted
		return
	}
	s.Stable = o.TemplateRevision
}

// reflect makes the Release say what its Rollout says.
func (w *world) reflect(s *service) {
	if w.unfit[s.Tried] || s.Rollout == nil {
		return
	}
	s.Phase = map[v1alpha1.RolloutPhase]v1alpha1.ReleasePhase{
		v1alpha1.RolloutProgressing: v1alpha1.ReleaseProgressing, v1alpha1.RolloutSucceeded: v1alpha1.ReleaseServing,
		v1alpha1.RolloutAborted: v1alpha1.ReleaseAborted,
	}[s.Rollout.Phase]
}

// content is what a Release renders to.
func (w *world) content(s *service, revision string) string {
	var n int64
	fmt.Sscanf(revision, "web-%d", &n)
	for w.same[fmt.Sprintf("web-%d", n)] {
		n--
	}
	return fmt.Sprintf("%d of generation %d", n, s.Generation)
}

// choose is what everybody asks.
func (w *world) choose(s *service) string {
	var revisions []v1alpha1.TemplateRevision
	for _, r := range w.revisions() {
		revisions = append(revisions, v1alpha1.TemplateRevision{
			ObjectMeta: metav1.ObjectMeta{Name: r.Name}, Spec: v1alpha1.TemplateRevisionSpec{Template: "web", Number: r.Number},
		})
	}
	release := &v1alpha1.Release{ObjectMeta: metav1.ObjectMeta{Generation: s.Generation}}
	release.Spec.Template = v1alpha1.TemplateReference{Name: "web", Revision: s.pin}
	release.Status = v1alpha1.ReleaseStatus{Assigned: s.Assigned, TemplateRevision: s.Has, ObservedGeneration: s.Observed}
	template := &v1alpha1.ReleaseTemplate{}
	template.Spec.Sync = w.spec
	template.Status.Sync = w.status
	choice, err := follow.Choose(release, template, revisions)
	if err != nil {
		w.fault("%v", err)
		return s.Has
	}
	return choice.Revision.Name
}

func (w *world) fault(format string, args ...any) {
	w.faults = append(w.faults, fmt.Sprintf(format, args...))
}

// observe is what the template loop sees.
func (w *world) observe() Observation {
	o := Observation{
		Template: "web", Spec: w.spec, Status: w.status, Latest: w.name(), Revisions: w.revisions(),
		Commands: slices.Clone(w.commands), Taken: slices.Clone(w.taken), Permissions: map[string]Permission{},
	}
	for _, s := range w.services {
		r := s.Release
		if s.Rollout != nil {
			seen := *s.Rollout
			r.Rollout = &seen
		}
		if r.Phase == v1alpha1.ReleaseServing { // the shell does not look further
			r.Rollout, r.Stable = nil, ""
		}
		o.Releases = append(o.Releases, r)
	}
	for _, wave := range []string{"a", "b", Rest} {
		o.Permissions[wave] = Permission{Allowed: !w.frozen, Code: "TG-FREEZE", Message: "frozen"}
	}
	return o
}

// sync takes one decision and carries it out, up to the given number of writes. It returns
// whether all was written, and whether there was anything to write.
func (w *world) sync(writes int) (whole, wrote bool) {
	o := w.observe()
	d := Next(o, w.now)
	before := w.status
	if before == nil && w.lost != nil {
		w.checkRecall(o, d)
	}
	spend := func() bool { writes--; return writes >= 0 }
	if !equal(before, d.Status) {
		wrote = true
		if !spend() {
			return false, true
		}
		w.status = d.Status
		w.note("%s wave %d of %s: %s", d.Status.Phase, d.Status.Wave, d.Status.Target, d.Status.Message)
	}
	w.checkAssignments(o, d)
	for _, a := range d.Assign {
		wrote = true
		if !spend() {
			return false, true
		}
		i := slices.IndexFunc(w.services, func(s *service) bool { return s.Name == a.Name && s.Namespace == a.Namespace })
		w.services[i].Assigned = a.Assigned
		w.note("give %s %+v", a.Name, a.Assigned)
	}
	for _, a := range d.Answers {
		wrote = true
		if !spend() {
			return false, true
		}
		i := slices.IndexFunc(w.commands, func(c Command) bool { return c.Name == a.Command })
		if a.Outcome == v1alpha1.OutcomeApplied {
			w.taken = append(w.taken, Taken{Action: w.commands[i].Action, Revision: w.commands[i].Revision, RolledBackFrom: a.RolledBackFrom})
		}
		w.commands = slices.Delete(w.commands, i, i+1)
		w.note("answer %s: %s %s", a.Command, a.Outcome, a.Message)
	}
	return true, wrote
}

// checkAssignments holds what is to be given to what has to hold.
func (w *world) checkAssignments(o Observation, d Decision) {
	place, _ := divide(wavesOf(w.spec, d.Status.RolledBackFrom != ""), o.Releases, rank(o.Releases, d.Status.Target))
	under := 0
	for i := range o.Releases {
		r := &o.Releases[i]
		if s, _ := look(r, d.Status.Target, false); s == moving && w.now.Before(r.expires(defaultPatience)) {
			under++
		}
	}
	for _, a := range d.Assign {
		i := slices.IndexFunc(o.Releases, func(r Release) bool { return r.Name == a.Name && r.Namespace == a.Namespace })
		r := &o.Releases[i]
		switch {
		case !r.Free && a.Assigned != nil:
			w.fault("%s pins a revision and is given %s", a.Name, a.Assigned.Name)
			continue
		case !r.Free || a.Assigned.Name != d.Status.Target || r.was() == "" || r.was() == d.Status.Target:
			continue
		case w.spec.Type == v1alpha1.SyncManual && d.Status.RolledBackFrom == "":
			if r.Assigned != nil && r.Generation == r.Assigned.Generation || r.Assigned == nil && r.Generation == r.Observed {
				w.fault("%s is given the target though its team changed nothing", a.Name)
			}
			continue
		}
		if w.spec.Type == v1alpha1.SyncManual && (freed(r) || r.Assigned != nil && r.Assigned.Generation != r.Generation) {
			continue // its team took it
		}
		if freed(r) && !held(d.Status) && (w.spec.Type != v1alpha1.SyncStaged || d.Status.Phase == v1alpha1.SyncSynced || d.Status.RolledBackFrom != "") {
			continue // it follows by itself
		}
		under++
		if held(d.Status) {
			w.fault("%s is given the target while the sync is %s", a.Name, d.Status.Phase)
		}
		if place[i] > int(d.Status.Wave) {
			w.fault("%s of wave %d is given the target in wave %d", a.Name, place[i], d.Status.Wave)
		}
		if w.frozen && d.Status.RolledBackFrom == "" {
			w.fault("%s is given the target against the policies", a.Name)
		}
		if r.Rollout != nil && r.Rollout.Paused && d.Status.RolledBackFrom == "" {
			w.fault("%s is given the target though it is paused", a.Name)
		}
		if under > int(w.spec.MaxConcurrent) && !strayed(r, d.Status) {
			w.fault("%s is given the target when %d of %d are under way", a.Name, under-1, w.spec.MaxConcurrent)
		}
	}
}

// freed says that its team has just let go of a pin.
func freed(r *Release) bool { return r.Assigned == nil && r.Observed != r.Generation }

func held(status *v1alpha1.TemplateSyncStatus) bool {
	return status.Phase == v1alpha1.SyncPaused || status.Phase == v1alpha1.SyncHalted
}

// strayed says whether the Release is under way to another revision anyway.
func strayed(r *Release, status *v1alpha1.TemplateSyncStatus) bool {
	if r.Assigned == nil || r.Assigned.Name == status.From {
		return false
	}
	s, _ := r.underWay(r.Assigned.Name)
	return s == moving
}
