package plan

import (
	"fmt"
	"math/rand/v2"
	"slices"
	"strings"
	"sync/atomic"
	"testing"
	"time"

	"tidegate.io/tidegate/schemas/v1alpha1"
)

// opinion is a second implementation of the walk over the steps, written from the documentation alone and
// as simply as it can be: it says in which phase and step a Rollout that is Progressing is after a
// decision. It knows of no guards, moves, actions or messages. Where a deadline is about to decide it
// has none, and says so.
type opinion struct {
	o   Observation
	now time.Time
	st  v1alpha1.RolloutStatus
}

// secondOpinion is the phase and step after a decision; known is false where it has no opinion.
func secondOpinion(o Observation, now time.Time) (phase v1alpha1.RolloutPhase, step int32, known bool) {
	p := opinion{o, now, *o.Status.DeepCopy()}
	late := 0
	for _, since := range []interface{ IsZero() bool }{o.Status.WaitingSince, o.Status.RouteUnsettledSince} {
		if !since.IsZero() {
			late++
		}
	}
	if !o.Spec.InSets() || !walksSteps(o.Spec) || o.Status.Phase != v1alpha1.RolloutProgressing || late > 0 {
		return "", 0, false
	}
	for _, c := range o.Commands {
		p.obey(c)
	}
	p.hear()
	if a := p.st.Analysis; o.Newer != "" || a != nil && a.Verdict == v1alpha1.VerdictFail && samePods(o.Spec, a.Digest) {
		p.st.Phase = v1alpha1.RolloutAborting
	}
	if p.st.Phase == v1alpha1.RolloutProgressing {
		p.fall()
		p.walk()
	}
	return p.st.Phase, p.st.Step, true
}

func (p *opinion) facts() facts {
	o := p.o
	o.Status = p.st
	return factsOf(o, p.now, Decision{Status: p.st})
}

// obey does what a person asks for, if it fits.
func (p *opinion) obey(c Command) {
	st := &p.st
	if st.Phase != v1alpha1.RolloutProgressing {
		return
	}
	var s v1alpha1.Step
	if st.Step > 0 {
		s = walkedSteps(p.o.Spec)[st.Step-1]
	}
	here := c.Step == st.Step && st.Step > 0
	decided := v1alpha1.Approval{Step: st.Step, Actor: c.Actor, Command: c.Name}
	switch c.Action {
	case v1alpha1.CommandAbort:
		st.Phase = v1alpha1.RolloutAborting
	case v1alpha1.CommandPause:
		st.Paused = true
	case v1alpha1.CommandResume:
		st.Paused = false
	case v1alpha1.CommandApprove:
		if here && s.Pause != nil && s.Pause.Approval {
			st.Approvals = append(st.Approvals, decided)
		}
	case v1alpha1.CommandSkipStep:
		hooks := slices.ContainsFunc(p.o.Spec.Strategy.Hooks, func(h v1alpha1.Hook) bool { return slices.Contains(h.On, v1alpha1.HookStepEvent) })
		if here && (s.Pause != nil || s.Analyze != nil || s.Job != nil || s.Hook != nil || s.SetWeight != nil && hooks) {
			st.Skips = append(st.Skips, decided)
		}
	case v1alpha1.CommandPromote:
		if st.Promoted == nil {
			st.Promoted, st.Paused = &decided, false
		}
	case v1alpha1.CommandRetry, v1alpha1.CommandRollBack:
	}
}

// hear takes down what jobs and hooks have come to.
func (p *opinion) hear() {
	for i := range p.st.Checks {
		c := &p.st.Checks[i]
		if c.Outcome != v1alpha1.CheckPending {
			continue
		}
		if c.Job != "" && c.Job == p.o.Job.Name && p.o.Job.Knowledge == Present && p.o.Job.Finished {
			c.Outcome = map[bool]v1alpha1.CheckOutcome{true: v1alpha1.CheckPassed, false: v1alpha1.CheckFailed}[p.o.Job.Succeeded]
		}
		for _, a := range p.o.Answers {
			if !a.Done || a.Call != (Call{Hook: c.Hook, Event: c.Event, Step: c.Step, Falls: p.o.Status.Falls, Try: c.Tries}) {
				continue
			}
			if a.Passed {
				c.Outcome = v1alpha1.CheckPassed
			}
			for _, h := range p.o.Spec.Strategy.Hooks {
				if h.Name == c.Hook && !a.Passed && h.OnFailure != v1alpha1.HookHolds && (a.Final || c.Tries > *h.Retries) {
					c.Outcome = v1alpha1.CheckFailed
				}
			}
		}
	}
}

// backTo goes back to where the highest exposure that fits was set first.
func (p *opinion) backTo(fits func(e Exposure) bool) {
	spec, step := p.o.Spec, p.st.Step
	for step > 0 && !fits(exposureAfter(spec, step)) {
		step--
	}
	for step > 0 && exposureAfter(spec, step-1) == exposureAfter(spec, step) {
		step--
	}
	st := &p.st
	again := func(a v1alpha1.Approval) bool { return a.Step >= step }
	st.Approvals, st.Skips, st.Promoted = slices.DeleteFunc(st.Approvals, again), slices.DeleteFunc(st.Skips, again), nil
	st.Checks = slices.DeleteFunc(st.Checks, func(c v1alpha1.Check) bool { return c.Step >= step && c.Event != v1alpha1.HookBegin })
	st.Step, st.StepStartedAt, st.ExposedAt, st.ApprovedWeight = step, nil, nil, exposureAfter(spec, step).Weight
	now := at(p.now.Sub(t0))
	st.ApprovedAt = now
	st.Falls++
}

// withoutBaseline goes back to before there was a baseline set where that has lost its pods.
func (p *opinion) withoutBaseline(f facts) facts {
	carried := min(f.carried.Baseline, f.was.Baseline)
	most := podsFor(f.whole, carried)
	if carried == 0 || f.o.Baseline.Knowledge == Unknown || alive(f.o.Baseline) >= max(1, most-most/4) {
		return f
	}
	p.backTo(func(e Exposure) bool { return e.Baseline == 0 })
	return p.facts()
}

// fall goes back where pods are lost, or where what was approved has not come about in a minute.
func (p *opinion) fall() {
	f := p.facts()
	if f.over == "another" && f.known && !f.split && f.o.Canary.Knowledge != Unknown && !f.stableDead {
		f = p.withoutBaseline(f)
		have := alive(f.o.Canary)
		need := podsToShow(f.o.Spec, f.floor, Exposure{Weight: min(f.weight, f.was.Weight)})
		if f.carried.seen() && f.was.seen() && f.floor > 0 {
			need = max(need, 1)
		}
		if need > 0 && have < max(1, need-need/4) {
			p.backTo(func(e Exposure) bool {
				return podsToShow(f.o.Spec, f.floor, Exposure{Weight: e.Weight}) <= have && (have > 0 || !e.seen())
			})
			p.withoutBaseline(p.facts()) // the lower step may have one
		}
	}
	f = p.facts()
	asked := f.split && (p.st.ExposedAt != nil || f.o.Canary.Desired >= podsToShow(f.o.Spec, f.whole, f.was))
	stale := p.st.ApprovedAt == nil || p.now.Sub(p.st.ApprovedAt.Time) > time.Minute
	if f.known && shows(f.was, f.carried) && stale && !asked && !f.stableDead {
		carried := f.carried
		p.backTo(func(e Exposure) bool { return !shows(e, carried) })
	}
}

// steady says whether everything is known, and the route is as approved.
func (p *opinion) steady(f facts) bool {
	o := f.o
	fresh := f.over == "another" && wantsBaseline(o.Spec, f.whole, p.st.Step) > 0
	switch {
	case o.Older != "", o.Canary.Knowledge == Unknown, o.Stable.Knowledge == Unknown && f.over == "another", fresh && o.Baseline.Knowledge == Unknown,
		!f.known, o.Shared == Unknown:
		return false
	case f.over == "nothing" && o.Traffic.Knowledge == Absent && f.was == (Exposure{}):
		return true
	case f.split && f.was.Weight == f.carried.Weight && (f.was.Weight == 0 || f.was.Weight == 100):
		return false // by the numbers of pods only
	}
	return o.Traffic.Settled && o.Traffic.UpToDate && f.carried == f.was &&
		(!f.split || o.Canary.UpToDate && alive(o.Canary) >= podsToShow(o.Spec, f.whole, f.was))
}

// wantsBaseline is the pods of the baseline set after a step.
func wantsBaseline(spec v1alpha1.RolloutSpec, whole, step int32) int32 {
	on := false
	for _, s := range walkedSteps(spec)[:step] {
		if s.SetBaseline != nil {
			on = *s.SetBaseline
		}
	}
	w := exposureAfter(spec, step).Weight
	if !on || w > 50 || spec.Stable == nil {
		return 0
	}
	return max(min(1, whole), podsFor(whole, w))
}

// walk goes from step to step as long as nothing is waited for.
func (p *opinion) walk() {
	last := lastOf(p.o.Spec)
	for p.st.Phase == v1alpha1.RolloutProgressing {
		f := p.facts()
		if !p.steady(f) {
			return
		}
		now := at(p.now.Sub(t0))
		if p.st.Step > 0 && p.st.ExposedAt == nil {
			p.st.ExposedAt = now
		}
		if p.st.Step > 0 && p.st.StepStartedAt == nil {
			p.st.StepStartedAt = now
		}
		f = p.facts()
		next := min(p.st.Step+1, last)
		if p.st.Promoted != nil {
			next = last
		}
		if p.st.Paused || p.waits(f) || p.st.Phase != v1alpha1.RolloutProgressing || p.lacks(f, next) {
			return
		}
		if p.st.Step == last {
			p.st.Phase = v1alpha1.RolloutPromoting
			return
		}
		if shows(exposureAfter(p.o.Spec, next), f.was) && !p.o.Promotion.Allowed {
			return
		}
		if exposureAfter(p.o.Spec, next) != f.was {
			p.st.ExposedAt, p.st.ApprovedAt = nil, now
		}
		p.st.Step, p.st.StepStartedAt, p.st.ApprovedWeight = next, nil, exposureAfter(p.o.Spec, next).Weight
	}
}

// waits says whether the step waits for something; what has failed ends the walk.
func (p *opinion) waits(f facts) bool {
	w := waitsFor(f, p.st.Step)
	if strings.HasPrefix(w, "the job") || strings.HasPrefix(w, "the hook") {
		for _, c := range p.st.Checks {
			name := strings.TrimPrefix(w, "the hook ")
			same := c.Job != "" && w == "the job" && c.Outcome == v1alpha1.CheckFailed && strings.HasSuffix(c.Job, fmt.Sprintf("-s%d-%d", p.st.Step, p.st.Falls+1)) ||
				c.Job == "" && (name == c.Hook && c.Event == "" || name == c.Hook+" on "+string(c.Event)) && c.Step == p.st.Step
			if same && c.Outcome == v1alpha1.CheckFailed {
				p.st.Phase = v1alpha1.RolloutAborting
			}
		}
	}
	return w != ""
}

// lacks says whether evidence or pods are missing for the next step.
func (p *opinion) lacks(f facts, next int32) bool {
	o, here, step := p.o, p.st.Step, exposureAfter(p.o.Spec, next)
	rises := here == lastOf(o.Spec) || shows(step, f.was)
	owed := max(f.stableOwed(), min(1, f.stableWhole)) // one stays, from which the others come back
	want := sizeAfter(o.Spec, f.whole, next)
	fresh := wantsBaseline(o.Spec, f.whole, next)
	sets := here > 0 && walkedSteps(o.Spec)[here-1].SetBaseline != nil
	if sets {
		fresh = max(fresh, wantsBaseline(o.Spec, f.whole, here))
	}
	full := func(s Set, n int32) bool { return s.Knowledge == Present && s.UpToDate && s.Available >= n }
	switch {
	case rises && here > 0 && asksForPass(f, here) && passMissing(f) != "":
	case (rises || here == 0) && !f.split && (want > 0 || step.seen()) && !full(o.Canary, want):
	case (rises || sets) && f.over == "another" && fresh > 0 && !full(o.Baseline, fresh):
	case f.over == "another" && rises && !full(o.Stable, owed) &&
		(o.Stable.Knowledge == Unknown || !f.overdueStable() && !o.Spec.Known && p.st.Promoted == nil):
	case f.over == "another" && step.Weight < f.was.Weight && !full(o.Stable, f.stableOwed()):
	default:
		return false
	}
	return true
}

// TestRandomWalksOfTheSecondOpinion compares both on what random walks meet, and on observations whose parts are drawn
// at random, of which most could not happen.
func TestRandomWalksOfTheSecondOpinion(t *testing.T) {
	t.Parallel()
	walks := uint64(400)
	if testing.Short() {
		walks = 40
	}
	var compared, moved atomic.Int64
	t.Run("worlds", func(t *testing.T) {
		for name, spec := range worlds {
			t.Run(name, func(t *testing.T) {
				t.Parallel()
				for seed := range walks {
					r := rand.New(rand.NewPCG(seed, 17))
					w := newWorld(spec())
					w.load = loads[name]
					for range 150 {
						o := w.observe()
						drawn := o
						drawn.Status = *o.Status.DeepCopy()
						drawAnew(r, &drawn)
						for _, o := range []Observation{o, drawn} {
							d := Next(o, w.now)
							phase, step, known := secondOpinion(o, w.now)
							if !known {
								continue
							}
							compared.Add(1)
							got := d.Status.Phase
							if got == v1alpha1.RolloutSucceeded {
								got = v1alpha1.RolloutPromoting // it may be over at once
							}
							if got == v1alpha1.RolloutAborted {
								got = v1alpha1.RolloutAborting
							}
							if got != phase || d.Status.Step != step {
								t.Errorf("seed %d at %s: one says %s step %d, the other %s step %d\n  seen: %s\n  checks %v promotion %+v baseline %+v job %+v\n  now: %s", seed, w.now.Sub(t0),
									d.Status.Phase, d.Status.Step, phase, step, describe(o), o.Status.Checks, o.Promotion, o.Baseline, o.Job, d.Status.Message)
								return
							}
							if d.Status.Step != o.Status.Step || d.Status.Phase != o.Status.Phase {
								moved.Add(1)
							}
						}
						d := Next(o, w.now)
						w.execute(d, len(d.Actions))
						if r.IntN(4) == 0 {
							w.disturb(r)
							w.attend()
						}
						w.tick(min(max(time.Second, d.RequeueAfter), 40*time.Second))
					}
				}
			})
		}
	})
	t.Logf("%d compared, %d of them moved the Rollout", compared.Load(), moved.Load())
}

// drawAnew replaces some parts of an observation by others.
func drawAnew(r *rand.Rand, o *Observation) {
	for range 1 + r.IntN(3) {
		switch r.IntN(12) {
		case 0:
			o.Canary = canaryHealth[r.IntN(len(canaryHealth))]
		case 1:
			if o.Spec.Stable != nil {
				o.Stable = stableHealth[r.IntN(len(stableHealth))]
			}
		case 2:
			// A plain Service leads to one of two sets, or to both by their pods.
			drawn := traffic[r.IntN(len(traffic))]
			if !o.Traffic.Split && o.Spec.Stable != nil && (o.Spec.Router.Routes() || drawn.Weight%100 == 0) {
				o.Traffic = drawn
			}
		case 3:
			o.Status.Analysis = rounds[r.IntN(len(rounds))]
		case 4:
			o.Commands = commands[r.IntN(len(commands))]
		case 5:
			o.Shared = Knowledge(r.IntN(3))
		case 6:
			o.Promotion = []Promotion{allowed, {}}[r.IntN(2)]
		case 7:
			o.Status.Step = r.Int32N(lastOf(o.Spec) + 1)
			o.Status.ApprovedWeight = exposureAfter(o.Spec, o.Status.Step).Weight
			o.Traffic.Exposure = exposureAfter(o.Spec, o.Status.Step)
			if o.Spec.Router == v1alpha1.RouterService {
				o.Traffic.Exposure = Exposure{}
			}
		case 8:
			o.Status.Paused = !o.Status.Paused
		case 9:
			o.Baseline = stableHealth[r.IntN(len(stableHealth))]
		case 10:
			o.Commands = []Command{{Name: "x", Action: v1alpha1.CommandSkipStep, Step: o.Status.Step}, {Name: "y", Action: v1alpha1.CommandApprove, Step: o.Status.Step}}
		case 11:
			o.Commands = []Command{{Name: "x", Action: v1alpha1.CommandPromote}}
		}
	}
}
