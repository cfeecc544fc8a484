package plan

import (
	"fmt"
	"os"
	"reflect"
	"runtime"
	"runtime/debug"
	"sync"
	"sync/atomic"
	"testing"
	"time"

	"tidegate.io/tidegate/schemas/v1alpha1"
)

// axis is one dimension of the space of observations.
type axis struct {
	name string
	size int
	set  func(o *Observation, i int)
}

var (
	canaryHealth = []Set{
		{},
		{Knowledge: Absent},
		setOf(8, 0), setOf(8, 1), setOf(4, 3), setOf(4, 4), setOf(8, 6), setOf(8, 8), loaded(scaled(9, 9), 5000, 12),
		{Knowledge: Present, Desired: 8, Available: 8},
	}
	stableHealth = []Set{{}, {Knowledge: Absent}, setOf(8, 0), setOf(6, 5), setOf(8, 8), loaded(scaled(9, 8), 6000, 40)}
	traffic      = []Traffic{
		{},
		{Knowledge: Absent},
		routeAt(0), routeAt(25), routeAt(50), routeAt(100),
		unsettled(0), unsettled(50), unsettled(100),
		{Knowledge: Present, Exposure: Exposure{Weight: 50}, Settled: true},
	}
	rounds = []*v1alpha1.AnalysisRound{
		nil, roundOf(v1alpha1.VerdictPass, at50, time.Second), roundOf(v1alpha1.VerdictPass, at100, time.Second),
		roundOf(v1alpha1.VerdictPass, at50, 31*time.Second), ofAnother(roundOf(v1alpha1.VerdictPass, at50, time.Second)),
		roundOf(v1alpha1.VerdictFail, at50, time.Second), roundOf(v1alpha1.VerdictInconclusive, at50, time.Second),
		roundOf(v1alpha1.VerdictUnknown, at50, time.Second),
	}
	commands = [][]Command{
		nil,
		{{Name: "c", Action: v1alpha1.CommandApprove, Step: at50Approval, Actor: "alice"}},
		{{Name: "c", Action: v1alpha1.CommandApprove, Step: at100, Actor: "alice"}},
		{{Name: "c", Action: v1alpha1.CommandPause}},
		{{Name: "c", Action: v1alpha1.CommandResume}},
		{{Name: "c", Action: v1alpha1.CommandAbort, Actor: "alice", Reason: "no"}},
	}
	others = [][2]string{{}, {"older", ""}, {"", "newer"}}
	// clocks are: since when the step, the approval, the drain, the wait for pods.
	ages = []struct{ step, approved, drain, wait time.Duration }{
		{-1, time.Second, -1, -1},
		{10 * time.Second, 11 * time.Second, 10 * time.Second, time.Minute},
		{time.Minute, 2 * time.Minute, time.Minute, time.Minute},
		{time.Hour, time.Hour, time.Hour, 6 * time.Minute},
	}
)

func unsettled(w int32) Traffic {
	tr := routeAt(w)
	tr.Settled = false
	return tr
}

func ofAnother(r *v1alpha1.AnalysisRound) *v1alpha1.AnalysisRound {
	r.Digest = "sha256:other"
	return r
}

// stand is a phase with a step and what its status must hold.
type stand struct {
	name   string
	phase  v1alpha1.RolloutPhase
	step   int32
	weight int32
	spec   func() v1alpha1.RolloutSpec
	change func(*v1alpha1.RolloutStatus)
}

func stands() []stand {
	canary, first, inPlace, blueGreen := canarySpec, firstSpec, inPlaceSpec, blueGreenSpec
	caused := func(st *v1alpha1.RolloutStatus) {
		st.AbortCause = &v1alpha1.Cause{Code: ReasonAnalysisFail, Message: "it failed"}
	}
	return []stand{
		{"pending", v1alpha1.RolloutPending, 0, 0, canary, nil},
		{"step 0", v1alpha1.RolloutProgressing, 0, 0, canary, nil},
		{"step 1", v1alpha1.RolloutProgressing, at25, 25, canary, nil},
		{"step 2", v1alpha1.RolloutProgressing, at50, 50, canary, nil},
		{"step 2 approved", v1alpha1.RolloutProgressing, at50Approval, 50, canary, func(st *v1alpha1.RolloutStatus) {
			st.Approvals = []v1alpha1.Approval{{Step: at50Approval, Actor: "bob", Command: "b"}}
		}},
		{"step 3", v1alpha1.RolloutProgressing, at100, 100, canary, nil},
		{"promoting", v1alpha1.RolloutPromoting, at100, 100, canary, nil},
		{"retiring", v1alpha1.RolloutPromoting, at100, 100, canary, func(st *v1alpha1.RolloutStatus) { st.Retiring = true }},
		{"succeeded", v1alpha1.RolloutSucceeded, at100, 100, canary, nil},
		{"aborting", v1alpha1.RolloutAborting, at50, 0, canary, caused},
		{"aborted", v1alpha1.RolloutAborted, at50, 0, canary, caused},
		{"blueGreen comes up", v1alpha1.RolloutProgressing, 0, 0, blueGreen, nil},
		{"blueGreen is looked at", v1alpha1.RolloutProgressing, looking, 0, blueGreen, nil},
		{"blueGreen is approved", v1alpha1.RolloutProgressing, lookingApproval, 0, blueGreen, func(st *v1alpha1.RolloutStatus) {
			st.Approvals = []v1alpha1.Approval{{Step: lookingApproval, Actor: "bob", Command: "b"}}
		}},
		{"blueGreen is switched", v1alpha1.RolloutProgressing, switched, 100, blueGreen, nil},
		{"blueGreen is warm", v1alpha1.RolloutPromoting, switched, 100, blueGreen, nil},
		{"first pending", v1alpha1.RolloutPending, 0, 0, first, nil},
		{"first waiting", v1alpha1.RolloutProgressing, 0, 0, first, nil},
		{"first approved", v1alpha1.RolloutProgressing, 0, 100, first, nil},
		{"first succeeded", v1alpha1.RolloutSucceeded, 0, 100, first, nil},
		{"first aborting", v1alpha1.RolloutAborting, 0, 0, first, caused},
		{"first aborted", v1alpha1.RolloutAborted, 0, 0, first, caused},
		{"in place pending", v1alpha1.RolloutPending, 0, 0, inPlace, nil},
		{"in place progressing", v1alpha1.RolloutProgressing, 0, 100, inPlace, nil},
		{"in place succeeded", v1alpha1.RolloutSucceeded, 0, 100, inPlace, nil},
		{"in place aborting", v1alpha1.RolloutAborting, 0, 100, inPlace, caused},
		{"in place aborted", v1alpha1.RolloutAborted, 0, 100, inPlace, caused},
	}
}

func (s stand) observation() Observation {
	o := Observation{
		Spec: s.spec(), Shared: Present, Promotion: allowed,
		Baseline: Set{Knowledge: Absent}, Job: JobState{Knowledge: Absent},
	}
	o.Status = v1alpha1.RolloutStatus{
		Phase: s.phase, Step: s.step, ApprovedWeight: s.weight, Reason: "TG-WAS", Message: "was",
	}
	if s.change != nil {
		s.change(&o.Status)
	}
	return o
}

// axes are the dimensions that mean something where the stand is.
func (s stand) axes() []axis {
	all := []axis{
		{"canary", len(canaryHealth), func(o *Observation, i int) { o.Canary = canaryHealth[i] }},
		{"traffic", len(traffic), func(o *Observation, i int) { o.Traffic = traffic[i] }},
		{"command", len(commands), func(o *Observation, i int) { o.Commands = commands[i] }},
		{"others", len(others), func(o *Observation, i int) { o.Older, o.Newer = others[i][0], others[i][1] }},
		{"ages", len(ages), func(o *Observation, i int) { s.age(o, i) }},
		{"stable moved", 2, func(o *Observation, i int) { o.StableMoved = i == 1 && s.phase != v1alpha1.RolloutProgressing }},
	}
	open := s.phase == v1alpha1.RolloutProgressing || s.phase == v1alpha1.RolloutPromoting
	if s.phase == v1alpha1.RolloutProgressing {
		all = all[:len(all)-1]
	}
	if s.phase == v1alpha1.RolloutProgressing && s.spec().Stable != nil && s.step < at50 || s.name == "first waiting" {
		all = append(all, axis{"promotion", 2, func(o *Observation, i int) { o.Promotion = []Promotion{allowed, {}}[i] }})
	}
	if open || s.phase == v1alpha1.RolloutPending {
		all = append(all, axis{"paused", 2, func(o *Observation, i int) { o.Status.Paused = i == 1 }})
	} else {
		all = append(all, axis{"shared", 3, func(o *Observation, i int) { o.Shared = Knowledge(i) }})
	}
	switch o := s.observation(); {
	case o.Spec.Stable == nil:
		all = append(all, axis{"stable", 1, func(o *Observation, _ int) { o.Stable = Set{Knowledge: Absent} }})
	case o.Spec.Stable.Revision == o.Spec.Revision:
		all = append(all, axis{"stable", 2, func(o *Observation, i int) {
			o.Stable = o.Canary
			o.Stable.UpToDate = i == 1
		}})
	default:
		all = append(all, axis{"stable", len(stableHealth), func(o *Observation, i int) { o.Stable = stableHealth[i] }})
		if open {
			verdicts := rounds
			if s.step < at50 { // no analysis is asked for
				verdicts = []*v1alpha1.AnalysisRound{nil, rounds[1], rounds[5]}
			}
			all = append(all, axis{"verdict", len(verdicts), func(o *Observation, i int) { o.Status.Analysis = verdicts[i] }})
		}
	}
	return all
}

func (s stand) age(o *Observation, i int) {
	a := ages[i]
	if s.phase == v1alpha1.RolloutPending {
		return
	}
	o.Status.ApprovedAt = at(-a.approved)
	if s.phase == v1alpha1.RolloutProgressing && s.step > 0 && a.step >= 0 {
		o.Status.StepStartedAt, o.Status.ExposedAt = at(-a.step), at(-a.step)
	}
	if (s.phase == v1alpha1.RolloutPromoting || s.phase == v1alpha1.RolloutAborting) && a.drain >= 0 {
		o.Status.DrainStartedAt = at(-a.drain)
	}
	if (s.phase == v1alpha1.RolloutProgressing || s.phase == v1alpha1.RolloutPromoting) && a.wait >= 0 {
		o.Status.WaitingSince, o.Status.StableShortSince = at(-a.wait), at(-a.wait)
	}
}

// TestMain collects garbage less often: there are millions of decisions, and few are kept.
func TestMain(m *testing.M) {
	debug.SetGCPercent(800)
	os.Exit(m.Run())
}

// TestEveryObservation enumerates the space of observations and holds each decision to
// the invariants.
func TestEveryObservation(t *testing.T) {
	var total atomic.Int64
	for _, s := range stands() {
		total.Add(int64(enumerate(t, s)))
	}
	t.Logf("%d states", total.Load())
	if !testing.Short() && total.Load() < 1_000_000 {
		t.Errorf("only %d states: an axis is lost", total.Load())
	}
}

func enumerate(t *testing.T, s stand) int {
	t.Helper()
	return enumerateWith(t, s, s.axes(), broken)
}

func enumerateWith(t *testing.T, s stand, axes []axis, broken func(Observation, time.Time, Decision) []string) int {
	t.Helper()
	n := 1
	for _, a := range axes {
		n *= a.size
	}
	stride := 1
	if testing.Short() {
		stride = 37 // prime, so that every value of every axis is met
	}
	var wg sync.WaitGroup
	var failures atomic.Int64
	workers := runtime.GOMAXPROCS(0)
	for w := range workers {
		wg.Go(func() {
			plain, where := s.observation(), s.name // a decision writes to nothing that it is given
			defer func() {
				if !reflect.DeepEqual(plain, s.observation()) {
					t.Errorf("%s: what all observations share was written to", where)
				}
			}()
			for i := w * stride; i < n && failures.Load() < 5; i += workers * stride {
				o := plain
				for k, rest := 0, i; k < len(axes); k++ {
					axes[k].set(&o, rest%axes[k].size)
					rest /= axes[k].size
				}
				before := o.Status
				d := Next(o, t0)
				for _, b := range broken(o, t0, d) {
					failures.Add(1)
					t.Errorf("%s #%d: %s\n  seen: %s\n  now %s %d/%d %%: %v %s: %s", where, i, b, describe(o), d.Status.Phase, d.Status.Step,
						d.Status.ApprovedWeight, d.Actions, d.Status.Reason, d.Status.Message)
				}
				if before.Phase != o.Status.Phase || before.Step != o.Status.Step {
					t.Errorf("%s: the observation was written to", where)
				}
			}
		})
	}
	wg.Wait()
	return n / stride
}

func describe(o Observation) string {
	st := o.Status
	return fmt.Sprintf("%s step %d approved %d at %v started %v drain %v wait %v paused %t; canary %+v stable %+v traffic %+v shared %d older %q newer %q moved %t commands %v analysis %+v",
		st.Phase, st.Step, st.ApprovedWeight, st.ApprovedAt, st.StepStartedAt, st.DrainStartedAt, st.WaitingSince, st.Paused,
		o.Canary, o.Stable, o.Traffic, o.Shared, o.Older, o.Newer, o.StableMoved, o.Commands, st.Analysis)
}
