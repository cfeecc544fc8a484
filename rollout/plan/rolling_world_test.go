package plan

import (
	"fmt"
	"maps"
	"math/rand/v2"
	"slices"
	"testing"
	"time"

	metav1 "k8s.io/apimachinery/pkg/apis/meta/v1"

	"tidegate.io/tidegate/schemas/v1alpha1"
)

// brokenRolling returns the invariants that a decision about a workload in place breaks:
// those that speak of no route, and the others in terms of pods.
func brokenRolling(o Observation, now time.Time, d Decision) []string {
	f := factsOf(o, now, d)
	f.whole = o.Spec.Replicas
	if o.Spec.Stable != nil {
		f.stableWhole = o.Spec.Stable.Replicas
	}
	for _, s := range []Set{o.Canary, o.Stable} {
		switch {
		case s.SelfSized:
			f.whole, f.stableWhole = max(o.Canary.Desired, o.Stable.Desired), max(o.Canary.Desired, o.Stable.Desired)
		case s.Knowledge == Present && s.Autoscaled:
			f.whole, f.stableWhole = max(s.Desired, f.whole), max(s.Desired, f.stableWhole)
		}
	}
	var all []string
	for _, check := range []func(facts) string{
		i2OneAtATime, i3AbortIsObeyed, i5SameFactsSameDecision, i9Explained, commandsAnsweredOnce, quietOutOfCharge,
		rollingTellsNoMoreThanApproved, rollingApprovesOnGates, rollingReturns, rollingRetiresWhatNobodyNeeds,
	} {
		if s := check(f); s != "" {
			all = append(all, s)
		}
	}
	return all
}

// heldBack is how many pods must stay as they are at a weight, by its definition.
func heldBack(f facts, weight int32) int32 { return heldBackOf(f.whole, f, weight) }

func heldBackOf(size int32, f facts, weight int32) int32 {
	if size == 0 || f.o.Canary.SelfSized {
		return 0
	}
	return size - podsFor(size, weight)
}

// toldSize is the size that the workload in place was told: a former one while it has not heard of the newest.
func (f facts) toldSize() int32 {
	for _, r := range f.o.Spec.Resized {
		if f.o.Canary.Knowledge == Present && r.Replicas == f.o.Canary.Desired {
			return r.Replicas
		}
	}
	return f.whole
}

func rollingTellsNoMoreThanApproved(f facts) string {
	st, c := f.d.Status, f.o.Canary
	told := false
	for _, a := range f.d.Actions {
		switch {
		case a.Kind == ActionSetWeight:
			return "I4: a route is written where there is none"
		case a.Kind != ActionEnsureSet:
			continue
		case a.Role == RoleStable && (a.Replicas < f.o.Spec.Stable.Replicas && !c.SelfSized || a.Held != 0):
			return "I3: the old revision does not get all of its pods"
		}
		told = true
		if a.Role == RoleStable {
			continue
		}
		alone := f.over == "itself" || st.Phase == v1alpha1.RolloutSucceeded || st.Retiring
		raises := c.Knowledge != Present || c.Held > heldBackOf(f.toldSize(), f, st.ApprovedWeight)
		switch {
		case st.ApprovedWeight == 0:
			return "I4: told though nothing is approved"
		case a.Replicas != f.whole && !c.SelfSized || a.Held != heldBack(f, st.ApprovedWeight):
			return fmt.Sprintf("I4: told %d pods less %d at %d %% of %d", a.Replicas, a.Held, st.ApprovedWeight, f.whole)
		case c.Knowledge == Unknown || raises && f.o.Shared == Unknown && !alone:
			return "I2: told on unknown facts"
		case raises && !alone && (st.Paused || !f.o.Promotion.Allowed || st.ApprovedAt == nil || f.now.Sub(st.ApprovedAt.Time) > time.Minute):
			return "I2: raised while paused, not allowed, or on a stale approval"
		}
	}
	if f.inCharge && !told && c.Knowledge == Present && f.over == "another" && f.o.Stable.Knowledge != Unknown &&
		(st.ApprovedWeight == 0 || c.Held < heldBackOf(f.toldSize(), f, st.ApprovedWeight)) {
		return fmt.Sprintf("I4: %d pods are held back, %d %% are approved, and nothing is written", c.Held, st.ApprovedWeight)
	}
	return ""
}

func rollingApprovesOnGates(f facts) string {
	was, is, o := f.o.Status, f.d.Status, f.o
	began := was.Phase != v1alpha1.RolloutPromoting && is.Phase == v1alpha1.RolloutPromoting
	if is.ApprovedWeight <= was.ApprovedWeight && !began || f.over == "itself" {
		return ""
	}
	switch {
	case is.Paused, o.Older != "", o.Newer != "", o.Canary.Knowledge == Unknown, o.Shared == Unknown:
		return "I2: approved while paused, superseded, queued or blind"
	case is.ApprovedWeight > was.ApprovedWeight && !o.Promotion.Allowed:
		return "I2: approved though no policy is known to allow it"
	case f.over == "nothing" || was.Step == 0 || is.Step <= was.Step && !began:
		return ""
	}
	through := is.Step - 1
	if began {
		through = lastOf(o.Spec)
	}
	switch {
	case was.ApprovedWeight == 0: // no pod was to be new
	case o.Canary.Knowledge != Present, !o.Canary.UpToDate, o.Canary.Held != heldBack(f, was.ApprovedWeight),
		f.whole > 0 && o.Canary.Available < podsFor(f.whole, was.ApprovedWeight):
		return "I1: approved without the pods of the step before"
	}
	for step := was.Step; step <= through; step++ {
		if w := waitsFor(f, step); w != "" {
			return fmt.Sprintf("I2: approved though step %d waits for %s", step, w)
		}
	}
	if asksForPass(f, through) {
		if p := passMissing(f); p != "" {
			return "I2: approved without " + p
		}
	}
	return ""
}

func rollingReturns(f facts) string {
	is := f.d.Status
	if is.Phase != v1alpha1.RolloutAborting && is.Phase != v1alpha1.RolloutAborted {
		return ""
	}
	if is.AbortCause == nil {
		return "I9: aborted without a cause"
	}
	if has(f.d, ActionEnsureSet, RoleCanary) || has(f.d, ActionMeasure, "") {
		return "I3: an abort works for the new revision"
	}
	s := f.o.Stable
	asked := s.Knowledge == Present && s.UpToDate && s.Held == 0 && (s.SelfSized || s.Desired == f.stableWhole || s.Autoscaled && s.Desired >= f.stableWhole)
	if f.inCharge && f.over != "nothing" && s.Knowledge != Unknown && !asked && !has(f.d, ActionEnsureSet, RoleStable) {
		return "I3: an abort does not put the old revision back"
	}
	if is.Phase == v1alpha1.RolloutAborted && f.o.Status.Phase == v1alpha1.RolloutAborting && f.over == "another" {
		short := is.StableShortSince == nil || f.now.Sub(is.StableShortSince.Time) < f.o.Spec.Strategy.ProgressDeadline.Duration
		if !asked || short && s.Available < f.stableWhole || f.o.Canary.Knowledge != Absent || f.o.Canary.Leftovers {
			// The clock may have been reset by this very decision; what was seen counts.
			was := f.o.Status.StableShortSince
			if !asked || f.o.Canary.Leftovers || was == nil || f.now.Sub(was.Time) < f.o.Spec.Strategy.ProgressDeadline.Duration {
				return "I3: an abort ended before the old revision was whole and the new one gone"
			}
		}
	}
	return ""
}

func rollingRetiresWhatNobodyNeeds(f facts) string {
	for _, a := range f.d.Actions {
		if a.Kind != ActionRetire {
			continue
		}
		switch {
		case f.over == "itself":
			return "I1: what serves is deleted"
		case a.Role == RoleStable && (!f.d.Status.Retiring || f.o.Canary.Knowledge != Present):
			return "I3: the old revision's objects are deleted while there is a way back, or nothing else"
		case a.Role == RoleCanary && (f.d.Status.Phase != v1alpha1.RolloutAborting || f.over == "another" && f.o.Canary.Knowledge != Absent):
			return "I1: the new revision's objects are deleted while its pods need them"
		}
	}
	if f.d.Status.Retiring && !f.o.Status.Retiring && (f.o.Canary.Knowledge != Present || !f.o.Canary.UpToDate || f.o.Canary.Available < f.whole || f.d.Status.Paused) {
		return "I1: no way back, and the new revision is not whole"
	}
	return ""
}

// rollingStands are the phases of a workload in place.
func rollingStands() []stand {
	over, first, inPlace := rollingSpec, rollingFirstSpec, rollingInPlaceSpec
	cron := func() v1alpha1.RolloutSpec {
		s := rollingSpec()
		s.Strategy.Steps = []v1alpha1.Step{weigh(100), analyze()}
		return s
	}
	caused := func(st *v1alpha1.RolloutStatus) {
		st.AbortCause = &v1alpha1.Cause{Code: ReasonAnalysisFail, Message: "it failed"}
	}
	approved := func(st *v1alpha1.RolloutStatus) {
		st.Approvals = []v1alpha1.Approval{{Step: quarter, Actor: "bob", Command: "b"}}
	}
	return []stand{
		{"pending", v1alpha1.RolloutPending, 0, 0, over, nil},
		{"step 0", v1alpha1.RolloutProgressing, 0, 0, over, nil},
		{"step 1", v1alpha1.RolloutProgressing, quarter, 25, over, nil},
		{"step 1 approved", v1alpha1.RolloutProgressing, quarter, 25, over, approved},
		{"step 2", v1alpha1.RolloutProgressing, half, 50, over, nil},
		{"step 3", v1alpha1.RolloutProgressing, whole, 100, over, nil},
		{"one step", v1alpha1.RolloutProgressing, 2, 100, cron, nil},
		{"promoting", v1alpha1.RolloutPromoting, whole, 100, over, nil},
		{"retiring", v1alpha1.RolloutPromoting, whole, 100, over, func(st *v1alpha1.RolloutStatus) { st.Retiring = true }},
		{"succeeded", v1alpha1.RolloutSucceeded, whole, 100, over, nil},
		{"aborting", v1alpha1.RolloutAborting, half, 0, over, caused},
		{"aborted", v1alpha1.RolloutAborted, half, 0, over, caused},
		{"first pending", v1alpha1.RolloutPending, 0, 0, first, nil},
		{"first progressing", v1alpha1.RolloutProgressing, 0, 0, first, nil},
		{"first approved", v1alpha1.RolloutProgressing, 0, 100, first, nil},
		{"first succeeded", v1alpha1.RolloutSucceeded, 0, 100, first, nil},
		{"first aborting", v1alpha1.RolloutAborting, 0, 0, first, caused},
		{"first aborted", v1alpha1.RolloutAborted, 0, 0, first, caused},
		{"in place progressing", v1alpha1.RolloutProgressing, 0, 100, inPlace, nil},
		{"in place succeeded", v1alpha1.RolloutSucceeded, 0, 100, inPlace, nil},
		{"in place aborting", v1alpha1.RolloutAborting, 0, 100, inPlace, caused},
		{"in place aborted", v1alpha1.RolloutAborted, 0, 100, inPlace, caused},
	}
}

// workloads are what the workload can be seen as: first its canary, then its stable side.
var workloads = func() [][2]Set {
	drifted, job, scaled := sharing(8, 6, 2), sharing(0, 0, 0), sharing(9, 0, 9)
	drifted.UpToDate, job.SelfSized, scaled.Autoscaled = false, true, true
	bare := Set{Knowledge: Absent}
	out := [][2]Set{
		{{}, {}},
		{bare, bare},
		{other, other},
		{drifted, other},
		{bare, drifted},
		{job, {Knowledge: Absent, SelfSized: true, Leftovers: true}},
		{{Knowledge: Absent, SelfSized: true}, job},
		{scaled, {Knowledge: Absent, Autoscaled: true}},
		{{Knowledge: Absent, Autoscaled: true}, scaled},
	}
	for _, s := range []Set{
		sharing(8, 8, 0), sharing(8, 6, 0), sharing(8, 6, 1), sharing(8, 6, 2), sharing(8, 4, 2), sharing(8, 4, 4), sharing(8, 3, 5),
		sharing(8, 0, 0), sharing(8, 0, 5), sharing(8, 0, 8), sharing(4, 0, 4), sharing(4, 6, 0), sharing(20, 0, 8),
	} {
		out = append(out, [2]Set{s, bare}, [2]Set{s, other})
	}
	for _, s := range []Set{sharing(8, 0, 0), sharing(8, 0, 5), sharing(8, 0, 8), sharing(4, 0, 4), sharing(8, 4, 4)} {
		out = append(out, [2]Set{bare, s}, [2]Set{other, s})
	}
	return out
}()

// rollingAxes are the dimensions of the space of observations of a workload in place.
func (s stand) rollingAxes() []axis {
	over := s.spec()
	all := []axis{
		{"workload", len(workloads), func(o *Observation, i int) {
			o.Canary, o.Stable = workloads[i][0], workloads[i][1]
			switch {
			case over.Stable == nil:
				o.Stable = Set{Knowledge: Absent}
			case over.Stable.Revision == over.Revision:
				o.Stable = o.Canary
			}
		}},
		{"command", len(commands), func(o *Observation, i int) { o.Commands = commands[i] }},
		{"others", len(others), func(o *Observation, i int) { o.Older, o.Newer = others[i][0], others[i][1] }},
		{"ages", len(ages), func(o *Observation, i int) { s.age(o, i) }},
		{"shared", 3, func(o *Observation, i int) { o.Shared = Knowledge(i) }},
		{"promotion", 2, func(o *Observation, i int) {
			o.Promotion = []Promotion{allowed, {Knowledge: Present, Code: "TG-X", Message: "not now"}}[i]
		}},
		{"paused", 2, func(o *Observation, i int) {
			o.Status.Paused = i == 1 && !s.phase.Terminal() && s.phase != v1alpha1.RolloutAborting
		}},
	}
	if s.phase == v1alpha1.RolloutPending || s.phase.Terminal() {
		all = append(all, axis{"stable moved", 2, func(o *Observation, i int) { o.StableMoved = i == 1 }})
	}
	if over.Stable != nil && (s.phase == v1alpha1.RolloutProgressing || s.phase == v1alpha1.RolloutPromoting) && s.step > 0 {
		step := s.step
		verdicts := []*v1alpha1.AnalysisRound{
			nil, roundOf(v1alpha1.VerdictPass, step, time.Second), roundOf(v1alpha1.VerdictPass, step, 31*time.Second),
			roundOf(v1alpha1.VerdictPass, step-1, time.Second), ofAnother(roundOf(v1alpha1.VerdictPass, step, time.Second)),
			roundOf(v1alpha1.VerdictFail, step, time.Second), roundOf(v1alpha1.VerdictUnknown, step, time.Second),
		}
		all = append(all, axis{"verdict", len(verdicts), func(o *Observation, i int) { o.Status.Analysis = verdicts[i] }})
	}
	return all
}

// TestEveryObservationOfAWorkloadInPlace enumerates what can be seen of one, and holds each
// decision to the invariants.
func TestEveryObservationOfAWorkloadInPlace(t *testing.T) {
	total := 0
	for _, s := range rollingStands() {
		total += enumerateWith(t, s, s.rollingAxes(), brokenRolling)
	}
	t.Logf("%d states", total)
	if !testing.Short() && total < 500_000 {
		t.Errorf("only %d states: an axis is lost", total)
	}
}

// rollingWorld is a cluster with one workload.
type rollingWorld struct {
	now    time.Time
	spec   v1alpha1.RolloutSpec
	status v1alpha1.RolloutStatus
	// selfSized workloads have as many pods as there are nodes; autoscaled ones as many as
	// the load asks for, where that is more.
	selfSized, autoscaled bool
	nodes, load           int32

	workload struct {
		exists, upToDate bool
		revision         string
		replicas, held   int32
	}
	// pods by revision: how many are there, and how many of them are available.
	pods, available map[string]int32
	sick            map[string]bool
	configs         map[string]bool
	shared          Knowledge
	blind           bool
	promotion       Promotion
	verdict         v1alpha1.Verdict
	newer, older    string
	commands        []Command
	named, rounds   int
	attended        bool
}

func newRollingWorld(spec v1alpha1.RolloutSpec) *rollingWorld {
	w := &rollingWorld{
		now: t0, spec: spec, verdict: v1alpha1.VerdictPass, shared: Absent, attended: true, promotion: allowed, nodes: 3,
		pods: map[string]int32{}, available: map[string]int32{}, sick: map[string]bool{}, configs: map[string]bool{},
	}
	if s := spec.Stable; s != nil {
		w.ensure(s.Revision, s.Replicas, 0)
		w.catchUp()
	}
	return w
}

func (w *rollingWorld) clone() *rollingWorld {
	c := *w
	c.rounds = 0
	c.status = *w.status.DeepCopy()
	c.commands = slices.Clone(w.commands)
	c.pods, c.available, c.sick, c.configs = maps.Clone(w.pods), maps.Clone(w.available), maps.Clone(w.sick), maps.Clone(w.configs)
	return &c
}

// resize gives the Rollout another size, as a Release does that changes in nothing else, and says whether it did.
func (w *rollingWorld) resize(replicas int32) bool {
	if !Resizable(w.spec, w.status, replicas) {
		return false
	}
	w.spec = Resized(w.spec, Size{
		Generation: w.spec.ReleaseGeneration + 1, Digest: fmt.Sprintf("sha256:of-%d", replicas), Replicas: replicas,
		StableStays: w.autoscaled, At: metav1.NewTime(w.now),
	})
	return true
}

func (w *rollingWorld) ensure(revision string, replicas, held int32) {
	w.workload.exists, w.workload.upToDate, w.workload.revision = true, true, revision
	w.workload.replicas, w.workload.held = replicas, held
	w.configs[revision] = true
}

// size is how many pods the workload asks for.
func (w *rollingWorld) size() int32 {
	switch {
	case !w.workload.exists:
		return 0
	case w.selfSized:
		return w.nodes
	case w.autoscaled:
		return max(w.workload.replicas, w.load)
	}
	return w.workload.replicas
}

// catchUp lets the workload's controller replace what it is told to; a pod that does not
// become available is waited for before the next is replaced, unless it is to go itself.
func (w *rollingWorld) catchUp() {
	if w.autoscaled {
		w.workload.replicas = w.size()
	}
	is, size := w.workload.revision, w.size()
	for r := range w.pods {
		if r != is && (w.sick[r] || !w.workload.exists) {
			w.pods[r], w.available[r] = 0, 0 // broken pods are replaced first
		}
	}
	older := int32(0)
	for r, n := range w.pods {
		if r != is {
			older += n
		}
	}
	keep := min(older, w.workload.held, size)
	if w.sick[is] {
		w.pods[is] = min(size-keep, max(w.pods[is], w.available[is]+1))
		keep = min(older, size-w.pods[is])
	} else {
		w.pods[is] = size - keep
		w.available[is] = w.pods[is]
	}
	for r := range w.pods {
		if r == is {
			continue
		}
		w.pods[r] = min(w.pods[r], keep)
		keep -= w.pods[r]
		w.available[r] = w.pods[r]
	}
	w.available[is] = min(w.available[is], w.pods[is])
}

func (w *rollingWorld) seen(revision string) Set {
	s := Set{Knowledge: Absent, Leftovers: w.configs[revision], SelfSized: w.selfSized, Autoscaled: w.autoscaled}
	if w.blind {
		return Set{SelfSized: w.selfSized, Autoscaled: w.autoscaled}
	}
	if !w.workload.exists || w.workload.revision != revision {
		return s
	}
	var total, available int32
	for r, n := range w.pods {
		total += n
		available += w.available[r]
	}
	updated := w.pods[revision]
	s.Knowledge, s.UpToDate, s.Desired, s.Held = Present, w.workload.upToDate && w.configs[revision], w.size(), w.workload.held
	s.Available = max(0, min(available-(total-updated), updated, s.Desired))
	return s
}

func (w *rollingWorld) observe() Observation {
	o := Observation{
		Spec: w.spec, Status: *w.status.DeepCopy(), Older: w.older, Newer: w.newer, Shared: w.shared,
		Stable: Set{Knowledge: Absent}, Canary: w.seen(w.spec.Revision), Commands: slices.Clone(w.commands), Promotion: w.promotion,
	}
	if w.spec.Stable != nil {
		o.Stable = w.seen(w.spec.Stable.Revision)
	}
	return o
}

func (w *rollingWorld) execute(t *testing.T, d Decision, cut int) {
	t.Helper()
	if cut == lost {
		return
	}
	w.status = *d.Status.DeepCopy()
	for _, a := range d.Actions[:min(cut, len(d.Actions))] {
		w.act(t, a)
	}
}

func (w *rollingWorld) act(t *testing.T, a Action) {
	t.Helper()
	revision := w.spec.Revision
	if a.Role == RoleStable {
		revision = w.spec.Stable.Revision
	}
	switch a.Kind {
	case ActionApplyShared:
		w.shared = Present
	case ActionEnsureSet:
		w.ensure(revision, a.Replicas, a.Held)
	case ActionRetire:
		if w.spec.Stable != nil && (w.workload.exists && w.workload.revision == revision || w.pods[revision] > 0 && w.workload.held > 0) {
			t.Errorf("I1: what the pods of %s need is deleted", revision)
		}
		if w.spec.Stable == nil {
			w.workload.exists = false
		}
		w.configs[revision] = false
	case ActionAnswer:
		w.commands = slices.DeleteFunc(w.commands, func(c Command) bool { return c.Name == a.Command })
	case ActionMeasure:
		w.status.Analysis = &v1alpha1.AnalysisRound{
			Verdict: w.verdict, Step: w.status.Step, Digest: w.spec.Digest, Message: "as the world has it", TakenAt: metav1.NewMicroTime(w.now),
		}
	case ActionSetWeight:
		t.Error("a route is written where there is none")
	case ActionRunJob, ActionStopJob, ActionCallHook: // no world with these here
	}
}

func (w *rollingWorld) tick(d time.Duration) {
	w.now = w.now.Add(d)
	w.catchUp()
}

func (w *rollingWorld) command(c Command) {
	w.named++
	c.Name = fmt.Sprintf("c%d", w.named)
	w.commands = append(w.commands, c)
}

func (w *rollingWorld) calm() {
	clear(w.sick)
	w.blind, w.attended, w.older, w.promotion = false, true, "", allowed
	if w.verdict != v1alpha1.VerdictFail {
		w.verdict = v1alpha1.VerdictPass
	}
	if w.shared == Unknown {
		w.shared = Absent
	}
}

func (w *rollingWorld) decide(t *testing.T, story string) (Decision, bool) {
	t.Helper()
	o := w.observe()
	d := Next(o, w.now)
	b := brokenRolling(o, w.now, d)
	for _, s := range b {
		t.Errorf("%s: %s\n  seen at %s: %s\n  now %s %d: %v %s", story, s, w.now.Sub(t0), describe(o), d.Status.Phase, d.Status.ApprovedWeight, d.Actions, d.Status.Message)
	}
	return d, len(b) == 0
}

func (w *rollingWorld) settle(t *testing.T, story string) {
	t.Helper()
	for quiet := 0; quiet < 2; {
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
		before := w.status.DeepCopy()
		d, ok := w.decide(t, story)
		if !ok {
			return
		}
		quiet++
		if len(d.Actions) > 0 || d.RequeueAfter > 0 || !sameStatus(&d.Status, before) {
			quiet = 0
		}
		w.execute(t, d, len(d.Actions))
		w.tick(max(time.Millisecond, d.RequeueAfter))
	}
}

func (w *rollingWorld) outcome() string {
	out := string(w.status.Phase) + ":"
	revisions := []string{oldRevision, newRevision}
	if !w.workload.exists {
		out += " no workload"
	} else {
		out += fmt.Sprintf(" workload of %s, up to date %t, %d asked, %d held", w.workload.revision, w.workload.upToDate, w.size(), w.workload.held)
	}
	for _, r := range revisions {
		out += fmt.Sprintf("; %s: %d/%d pods, config %t", r, w.available[r], w.pods[r], w.configs[r])
	}
	return out + fmt.Sprintf("; %d commands", len(w.commands))
}

func (w *rollingWorld) wellEnded() bool {
	size := func(replicas int32) int32 {
		switch {
		case w.selfSized:
			return w.nodes
		case w.autoscaled:
			return max(replicas, w.load)
		}
		return replicas
	}
	serves := func(revision string, n int32) string {
		out := fmt.Sprintf("%s: workload of %s, up to date true, %d asked, 0 held", w.status.Phase, revision, n)
		for _, r := range []string{oldRevision, newRevision} {
			if r == revision {
				out += fmt.Sprintf("; %s: %d/%d pods, config true", r, n, n)
			} else {
				out += fmt.Sprintf("; %s: 0/0 pods, config false", r)
			}
		}
		return out + "; 0 commands"
	}
	got := w.outcome()
	switch {
	case w.status.Phase == v1alpha1.RolloutSucceeded:
		return got == serves(newRevision, size(w.spec.Replicas)) || w.autoscaled && w.workload.revision == newRevision
	case w.status.Phase != v1alpha1.RolloutAborted:
		return false
	case w.spec.Stable == nil:
		return got == "Aborted: no workload; "+oldRevision+": 0/0 pods, config false; "+newRevision+": 0/0 pods, config false; 0 commands"
	}
	return got == serves(w.spec.Stable.Revision, size(w.spec.Stable.Replicas)) || w.autoscaled && w.workload.revision == w.spec.Stable.Revision
}

var rollingWorlds = map[string]func() *rollingWorld{
	"over another revision": func() *rollingWorld { return newRollingWorld(rollingSpec()) },
	"over another, eight pods to three": func() *rollingWorld {
		s := rollingSpec()
		s.Replicas = 3
		return newRollingWorld(s)
	},
	"over another, no pods wanted": func() *rollingWorld {
		s := rollingSpec()
		s.Replicas, s.Stable.Replicas = 0, 0
		return newRollingWorld(s)
	},
	"a DaemonSet": func() *rollingWorld {
		s := rollingSpec()
		s.Workload = "DaemonSet"
		s.Replicas, s.Stable.Replicas, s.Strategy.Steps = 0, 0, []v1alpha1.Step{weigh(100), analyze(), pauseForApproval()}
		w := newRollingWorld(s)
		w.selfSized = true
		w.catchUp()
		return w
	},
	"a CronJob": func() *rollingWorld {
		s := rollingSpec()
		s.Workload = "CronJob"
		s.Replicas, s.Stable.Replicas, s.Strategy.Steps = 0, 0, []v1alpha1.Step{weigh(100)}
		w := newRollingWorld(s)
		w.selfSized, w.nodes = true, 0
		return w
	},
	"autoscaled": func() *rollingWorld {
		s := rollingSpec()
		s.Replicas, s.Stable.Replicas, s.Strategy.Steps = 2, 2, []v1alpha1.Step{weigh(100), analyze()}
		w := newRollingWorld(s)
		w.autoscaled, w.load = true, 5
		w.catchUp()
		return w
	},
	"over nothing": func() *rollingWorld { return newRollingWorld(rollingFirstSpec()) },
	"in place":     func() *rollingWorld { return newRollingWorld(rollingInPlaceSpec()) },
}

func TestAGoodRevisionIsRolledOut(t *testing.T) {
	t.Parallel()
	for name, world := range rollingWorlds {
		t.Run(name, func(t *testing.T) {
			t.Parallel()
			w := world()
			w.settle(t, name)
			if w.status.Phase != v1alpha1.RolloutSucceeded || !w.wellEnded() {
				t.Errorf("ended as %s", w.outcome())
			}
		})
	}
}

func TestABadRevisionIsRolledBack(t *testing.T) {
	t.Parallel()
	for name, c := range map[string]struct {
		change func(*rollingWorld)
		reason string
	}{
		"its analysis fails":     {func(w *rollingWorld) { w.verdict = v1alpha1.VerdictFail }, ReasonAnalysisFail},
		"its pods never come up": {func(w *rollingWorld) { w.sick[newRevision] = true }, ReasonAbortDeadline},
	} {
		t.Run(name, func(t *testing.T) {
			t.Parallel()
			w := newRollingWorld(rollingSpec())
			c.change(w)
			w.settle(t, name)
			if w.status.Reason != c.reason || !w.wellEnded() {
				t.Errorf("ended as %s, %s", w.outcome(), w.status.Reason)
			}
		})
	}
}

// disturb lets one thing happen that a cluster or a person does.
func (w *rollingWorld) disturb(r *rand.Rand) {
	revision := newRevision
	if r.IntN(3) == 0 {
		revision = oldRevision
	}
	switch r.IntN(20) {
	case 0, 1:
		w.available[revision], w.sick[revision] = w.available[revision]/2, r.IntN(2) == 0
	case 2:
		w.available[revision], w.sick[revision] = 0, r.IntN(2) == 0
	case 3, 4:
		w.sick[revision] = false
	case 5:
		w.blind = !w.blind
	case 6:
		w.workload.upToDate = false
	case 7:
		w.workload.replicas = r.Int32N(10)
	case 8:
		w.workload.held = r.Int32N(9)
		if w.selfSized || w.autoscaled {
			w.workload.held = 0
		}
	case 9:
		w.workload.exists = false
	case 10:
		w.configs[revision] = false
	case 11:
		w.verdict = v1alpha1.VerdictInconclusive
	case 12:
		w.verdict = v1alpha1.VerdictPass
	case 13:
		w.command(Command{Action: v1alpha1.CommandPause})
	case 14, 15:
		w.command(Command{Action: v1alpha1.CommandResume})
		w.command(Command{Action: v1alpha1.CommandApprove, Step: w.status.Step, Actor: "bob"})
	case 16:
		w.shared = Knowledge(r.IntN(3))
	case 17:
		w.promotion = []Promotion{allowed, {}, {Knowledge: Present, Message: "not now"}}[r.IntN(3)]
	case 18:
		w.load = r.Int32N(9)
	case 19:
		switch r.IntN(8) {
		case 0:
			w.verdict = v1alpha1.VerdictFail
		case 1:
			w.newer = "cart-3"
		case 2:
			w.command(Command{Action: v1alpha1.CommandAbort, Actor: "carol"})
		default:
			w.tick(time.Duration(r.IntN(400)) * time.Second)
		}
	}
}

// fork tries what must come out well from here: an abort, and every way of being cut short.
func (w *rollingWorld) fork(t *testing.T, story string, d Decision) {
	t.Helper()
	late := w.status.Retiring || w.status.Phase == v1alpha1.RolloutSucceeded
	a := w.clone()
	a.calm()
	a.command(Command{Action: v1alpha1.CommandAbort, Actor: "carol"})
	a.settle(t, story+"; abort")
	ended := a.status.Phase == v1alpha1.RolloutAborted
	// Where nothing is left to be done but to delete, a newer Rollout takes over at once.
	taken := w.newer != "" && (w.status.Phase.Terminal() || w.status.Retiring)
	if !taken && (!a.wellEnded() || ended == late) {
		t.Errorf("%s; abort: I3: from %s %d ended as %s", story, w.status.Phase, w.status.Step, a.outcome())
	}
	var want string
	var timely bool
	for cut := len(d.Actions); cut >= lost; cut-- {
		c := w.clone()
		c.execute(t, d, cut)
		c.calm()
		c.settle(t, fmt.Sprintf("%s; %d of %d actions", story, cut, len(d.Actions)))
		switch {
		case cut == len(d.Actions):
			want, timely = c.outcome(), overdueIn(c.status)
		case cut == lost && !taken && !c.wellEnded():
			t.Errorf("%s; status lost: I6: ended as %s", story, c.outcome())
		case cut != lost && c.outcome() != want && (timely || overdueIn(c.status) || w.verdict == v1alpha1.VerdictFail) && c.wellEnded():
			// A cut may cost the moments that were left to the deadline, or lose a bad round
			// while the good one before it still counts.
		case cut != lost && c.outcome() != want:
			t.Errorf("%s; %d of %d actions: I6: ended as %s %v, and uncut as %s; actions %v", story, cut, len(d.Actions), c.outcome(), c.status.AbortCause, want, d.Actions)
		}
	}
}

// TestRandomWalksOfAWorkloadInPlace lets things happen at random to workloads of every
// kind, and from many a state tries an abort and every way of being cut short.
func TestRandomWalksOfAWorkloadInPlace(t *testing.T) {
	t.Parallel()
	walks := uint64(200)
	if testing.Short() {
		walks = 20
	}
	for name, world := range rollingWorlds {
		t.Run(name, func(t *testing.T) {
			t.Parallel()
			decisions, ends := 0, map[v1alpha1.RolloutPhase]int{}
			for seed := range walks {
				r, sizes := rand.New(rand.NewPCG(seed, 11)), rand.New(rand.NewPCG(seed, 13))
				w := world()
				story := fmt.Sprintf("seed %d", seed)
				for i := range 100 {
					switch sizes.IntN(24) {
					case 0:
						w.resize(2 * w.spec.Replicas)
					case 1:
						w.resize(w.spec.Replicas / 2)
					}
					d, ok := w.decide(t, story)
					if !ok {
						return
					}
					decisions++
					if i%6 == 0 {
						w.fork(t, fmt.Sprintf("%s step %d", story, i), d)
					}
					cut := len(d.Actions)
					if r.IntN(8) == 0 {
						cut = r.IntN(len(d.Actions)+2) - 1
					}
					w.execute(t, d, cut)
					if w.status.Phase.Terminal() && (w.newer != "" || r.IntN(10) == 0) {
						break
					}
					if r.IntN(3) == 0 {
						w.disturb(r)
					}
					w.tick(min(max(time.Second, d.RequeueAfter), 40*time.Second))
				}
				ends[w.status.Phase]++
				w.calm()
				w.settle(t, story+"; calm")
				if t.Failed() {
					return
				}
			}
			t.Logf("%d decisions; walks ended %v", decisions, ends)
		})
	}
}
