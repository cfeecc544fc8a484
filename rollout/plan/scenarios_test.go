package plan

import (
	"slices"
	"testing"
	"time"

	"tidegate.io/tidegate/schemas/v1alpha1"
)

// play is a world in which a scenario is played; every decision in it is held to the invariants.
type play struct {
	*world
	t *testing.T
	// seen are all actions that were done.
	seen []Action
}

func played(t *testing.T, spec v1alpha1.RolloutSpec) *play {
	t.Helper()
	p := &play{world: newWorld(spec), t: t}
	p.attended = false
	p.tick(0)
	return p
}

// once decides and does it; then time passes.
func (p *play) once(d time.Duration) Decision {
	p.t.Helper()
	o := p.observe()
	decision := Next(o, p.now)
	if !p.sound(p.t, "played", o, decision) {
		p.t.FailNow()
	}
	p.seen = append(p.seen, decision.Actions...)
	p.execute(decision, len(decision.Actions))
	p.tick(d)
	return decision
}

// until plays second by second until something is so, for at most an hour.
func (p *play) until(what string, so func() bool) *play {
	p.t.Helper()
	for range 3600 {
		if so() {
			return p
		}
		p.once(time.Second)
	}
	p.t.Fatalf("wanted: %s; found after an hour: %s %s: %s", what, p.outcome(), p.status.Reason, p.status.Message)
	return p
}

func (p *play) held(reason string) *play {
	p.t.Helper()
	return p.until("held by "+reason, func() bool { return p.status.Reason == reason })
}

func (p *play) phase(phase v1alpha1.RolloutPhase) *play {
	p.t.Helper()
	return p.until(string(phase), func() bool { return p.status.Phase == phase })
}

// asks has a person command something about the present step.
func (p *play) asks(action v1alpha1.CommandAction) *play {
	p.command(Command{Action: action, Step: p.status.Step, Actor: "alice"})
	return p
}

// want fails with a sentence unless something is so.
func (p *play) want(so bool, what string) *play {
	p.t.Helper()
	if !so {
		p.t.Fatalf("wanted: %s; found: %s, step %d, %s: %s", what, p.outcome(), p.status.Step, p.status.Reason, p.status.Message)
	}
	return p
}

// did counts the actions of a kind.
func (p *play) did(kind ActionKind) int {
	n := 0
	for _, a := range p.seen {
		if a.Kind == kind {
			n++
		}
	}
	return n
}

// ended is how it ends: well, in the phase given.
func (p *play) ended(phase v1alpha1.RolloutPhase) {
	p.t.Helper()
	p.phase(phase).once(time.Second)
	p.once(time.Second)
	p.want(p.wellEnded(), "a good end")
}

func overAnother(change func(*v1alpha1.RolloutSpec)) v1alpha1.RolloutSpec {
	return changed(canarySpec, change)()
}

// The rows are what other controllers are tested for, and where they failed; Argo Rollouts where a
// number stands alone.
func TestScenarios(t *testing.T) {
	t.Parallel()
	const (
		succeeded, aborted, progressing = v1alpha1.RolloutSucceeded, v1alpha1.RolloutAborted, v1alpha1.RolloutProgressing
		abort, approve, promote         = v1alpha1.CommandAbort, v1alpha1.CommandApprove, v1alpha1.CommandPromote
	)
	dynamic := func(s *v1alpha1.RolloutSpec) { s.Strategy.DynamicStableScale = true }
	for name, c := range map[string]struct {
		spec v1alpha1.RolloutSpec
		play func(p *play)
	}{
		"an abort in a pause sends the traffic back, then deletes the new set, and changes nothing more": {canarySpec(), func(p *play) {
			p.held(ReasonHoldTime).want(p.route.Weight == 25, "a weight of 25").asks(abort)
			p.until("no weight", func() bool { return p.route.Weight == 0 }).want(p.new.exists, "the new set kept while it drains")
			p.ended(aborted)
			quiet := p.once(time.Hour)
			p.want(len(quiet.Actions) == 0 && quiet.RequeueAfter == 0, "quiet")
		}},
		"a pause lasts as long as it says though the manager restarts at every moment of it": {canarySpec(), func(p *play) {
			p.held(ReasonHoldTime)
			began := *p.status.StepStartedAt
			for p.status.Step == at25 {
				p.status = *p.status.DeepCopy() // all that a manager that starts knows
				p.want(p.status.StepStartedAt.Equal(&began), "a pause that began when it began")
				p.once(700 * time.Millisecond)
			}
			took := p.status.ApprovedAt.Sub(began.Time)
			p.want(took >= 30*time.Second && took < 32*time.Second, "a pause of 30 s")
		}},
		"a pause that began by the clock of another manager, which is ahead by seconds, is not begun again": {canarySpec(), func(p *play) {
			p.held(ReasonHoldTime)
			began := *p.status.StepStartedAt
			p.now = p.now.Add(1 - clockSlack) // its own is behind
			p.once(0)
			p.want(p.status.Step == at25 && p.status.StepStartedAt.Equal(&began), "the same pause")
		}},
		"a set that is scaled by hand in a pause is put back, in the same pause": {canarySpec(), func(p *play) {
			p.held(ReasonHoldTime)
			began := *p.status.StepStartedAt
			p.new.desired, p.old.desired = 7, 4
			p.old.available = 4
			p.once(time.Second)
			p.once(time.Second)
			p.want(p.new.desired == 2 && p.old.desired == 8 && p.route.Weight == 25, "sizes and weight as before")
			p.want(p.status.Step == at25 && p.status.StepStartedAt.Equal(&began), "the same pause")
		}},
		"the new set grows with the load in a pause, and the step stays": {canarySpec(), func(p *play) {
			p.load = 8
			p.held(ReasonHoldTime)
			p.load = 40
			p.tick(time.Second)
			p.once(time.Second)
			p.once(time.Second)
			p.want(p.status.Step == at25 && p.new.desired >= 10, "a quarter of 40 pods in the same step")
		}},
		"V3 over V2: the weight of V2 is 0 before anything of it goes, and only then is V2 over": {canarySpec(), func(p *play) {
			p.held(ReasonHoldTime)
			p.newer = "cart-3"
			first := p.once(time.Second)
			p.want(first.Actions[0] == Action{Kind: ActionSetWeight}, "the weight first")
			for !p.status.Phase.Terminal() {
				p.want(p.new.exists || p.route.Weight == 0 && p.route.settled, "pods as long as there is traffic")
				p.once(time.Second)
			}
			p.want(p.status.AbortCause.Code == ReasonAbortSuperseded, "the cause")
		}},
		"V3 over V2: V3 touches nothing until V2 is over": {canarySpec(), func(p *play) {
			p.older = "cart-1"
			for range 100 {
				p.want(len(p.once(time.Second).Actions) == 0, "no action")
			}
			p.older = ""
			p.held(ReasonHoldTime).want(p.route.Weight == 25, "its own walk from the beginning")
		}},
		"V3 over V2: a V2 whose pods are all dead does not keep V3 waiting (#4319)": {canarySpec(), func(p *play) {
			p.held(ReasonHoldTime)
			p.new.available, p.new.sick, p.newer = 0, true, "cart-3"
			began := p.now
			p.phase(aborted).want(p.now.Sub(began) < 2*time.Minute, "an end within the drain delay")
		}},
		"V3 over V2: the stable set that has shrunk gets no more than it has pods for (#3372)": {overAnother(dynamic), func(p *play) {
			p.attended = true
			p.until("all of the traffic", func() bool { p.attend(); return p.route.Weight == 100 && p.old.desired == 1 })
			p.newer, p.old.sick = "cart-3", true
			p.once(time.Second)
			p.once(time.Second)
			p.want(p.route.Weight >= 80 && p.old.desired == 8, "the traffic stays while the pods are asked for")
			p.old.sick = false
			p.phase(aborted).want(p.wellEnded(), "a good end")
		}},
		"back to the stable revision in the middle: no step is walked": {inPlaceSpec(), func(p *play) {
			p.phase(succeeded).want(p.did(ActionMeasure) == 0 && p.now.Sub(t0) < 30*time.Second, "neither pause nor analysis")
		}},
		"a revision that is known to be good comes back without steps": {overAnother(func(s *v1alpha1.RolloutSpec) { s.Known = true }), func(p *play) {
			p.phase(v1alpha1.RolloutPromoting).want(p.did(ActionMeasure) == 0 && p.now.Sub(t0) < 30*time.Second, "neither pause nor analysis")
			p.ended(succeeded)
		}},
		"a preview has the pods that were asked for, and the set is whole before the switch": {worlds["over another, blueGreen, looked at in two pods"](), func(p *play) {
			p.held(ReasonHoldApproval).want(p.new.desired == 2 && p.route.Weight == 0, "2 pods and no traffic")
			p.asks(approve)
			p.until("the switch", func() bool {
				p.want(p.route.Weight == 0 || p.new.available == 8, "all 8 pods before the switch")
				return p.route.Weight == 100
			})
			p.ended(succeeded)
		}},
		"a blueGreen switch comes by itself after a time and not before": {stepped(blueGreenSpec, pauseFor(10*time.Second), weigh(100))(), func(p *play) {
			p.held(ReasonHoldTime)
			began := p.status.StepStartedAt.Time
			p.until("the switch", func() bool { return p.route.Weight == 100 }).want(p.now.Sub(began) >= 10*time.Second, "10 s")
		}},
		"a blueGreen switch waits for the last pod, and the old set goes after its delay": {stepped(blueGreenSpec, weigh(100))(), func(p *play) {
			p.once(0)
			p.new.available, p.new.sick = 7, true
			for range 60 {
				p.once(time.Second)
			}
			p.want(p.route.Weight == 0, "no switch to 7 of 8 pods")
			p.new.sick = false
			p.phase(v1alpha1.RolloutPromoting)
			switched := p.now
			p.until("the old set gone", func() bool { return !p.old.exists }).want(p.now.Sub(switched) >= 2*time.Minute-2*time.Second, "2 minutes of both")
			p.ended(succeeded)
		}},
		"an abort inside the scale-down delay returns at once": {blueGreenSpec(), func(p *play) {
			p.held(ReasonHoldApproval).asks(approve)
			p.held(ReasonDraining).asks(abort).once(time.Second)
			p.want(p.route.Weight == 0, "all of the traffic back with the first decision")
			p.ended(aborted)
		}},
		"weights of 100, 0 and 100: the stable set is whole all along, on the way down and in an abort": {worlds["over another, all, nothing and all"](), func(p *play) {
			for p.status.Phase != v1alpha1.RolloutPromoting {
				p.want(p.old.available == 8, "8 stable pods")
				p.once(time.Second)
			}
			p.asks(abort)
			for !p.status.Phase.Terminal() {
				p.want(p.old.available == 8, "8 stable pods")
				p.once(time.Second)
			}
			p.ended(aborted)
		}},
		"pods that do not come abort at the deadline, the stable set untouched": {canarySpec(), func(p *play) {
			p.new.sick = true
			p.phase(aborted).want(p.status.AbortCause.Code == ReasonAbortDeadline && p.most == 0, "no weight ever")
			p.want(!slices.ContainsFunc(p.seen, func(a Action) bool { return a.Kind == ActionEnsureSet && a.Role == RoleStable }), "no write to the stable set")
		}},
		"a paused Rollout has no deadline, and is aborted all the same (Kruise: kruise-tools #84)": {canarySpec(), func(p *play) {
			p.held(ReasonHoldTime).asks(v1alpha1.CommandPause)
			p.new.available, p.new.sick = 1, true
			for range 1000 {
				p.once(time.Second)
			}
			p.want(p.status.Phase == progressing, "no end by itself").asks(abort)
			p.ended(aborted)
		}},
		"a first install that crashes makes way for the next, with no step walked (Flagger #1578)": {firstSpec(), func(p *play) {
			p.new.sick = true
			p.held(ReasonHoldPods)
			p.newer = "cart-2"
			p.phase(aborted).want(!p.new.exists && p.most == 0, "nothing left")
		}},
		"a first install that no gateway accepts makes way for its cure (Flagger #1578)": {firstSpec(), func(p *play) {
			p.gatewayDown = true
			p.until("a route", func() bool { return p.route.Weight == 100 })
			p.newer = "cart-2"
			began := p.now
			p.phase(aborted).want(!p.new.exists && p.route.Weight == 0, "nothing left")
			p.want(p.now.Sub(began) < 2*time.Minute, "an end within the drain delay")
		}},
		"a first install has no side effects of steps, but the beginning is asked about": {changed(worked, func(s *v1alpha1.RolloutSpec) { s.Stable = nil })(), func(p *play) {
			p.ended(succeeded)
			p.want(p.did(ActionRunJob)+p.did(ActionMeasure) == 0 && p.did(ActionCallHook) == 1, "no job, no analysis, one hook")
		}},
		"promote in the middle of an analysis ends the analysis": {canarySpec(), func(p *play) {
			p.held(ReasonHoldAnalysis).asks(promote)
			before := p.did(ActionMeasure)
			p.ended(succeeded)
			p.want(p.did(ActionMeasure) == before, "no further round")
		}},
		"promote waits for the pods of all of the traffic": {canarySpec(), func(p *play) {
			p.held(ReasonHoldTime).asks(promote)
			p.new.sick = true
			for range 30 {
				p.once(time.Second)
			}
			p.want(p.route.Weight == 25 && p.new.desired == 8 && p.status.Reason == ReasonHoldPods, "25 % until 8 pods are there")
			p.new.sick = false
			p.until("all", func() bool { return p.route.Weight == 100 })
		}},
		"promote is about the set that was seen: when its pods are lost the steps are walked again": {canarySpec(), func(p *play) {
			p.held(ReasonHoldTime).asks(promote)
			p.until("all", func() bool { return p.route.Weight == 100 && p.status.StepStartedAt != nil })
			p.new.available, p.new.sick = 0, true
			p.until("nothing", func() bool { return p.route.Weight == 0 })
			p.new.sick = false
			p.held(ReasonHoldTime).want(p.route.Weight == 25 && p.status.Promoted == nil, "the first step again")
		}},
		"an abort after the promotion is refused, and nothing turns in circles (#2982)": {canarySpec(), func(p *play) {
			p.attended = true
			p.settle(p.t, "promoted")
			p.asks(abort)
			first, second := p.once(time.Second), p.once(time.Second)
			p.want(len(first.Actions) == 1 && first.Actions[0].Outcome == v1alpha1.OutcomeRefused, "one answer")
			p.want(len(second.Actions) == 0 && second.RequeueAfter == 0, "quiet")
		}},
		"an abort with a stable set that has shrunk brings its pods first, and ends (#2235, #4898)": {overAnother(dynamic), func(p *play) {
			p.until("all of the traffic", func() bool { p.attend(); return p.route.Weight == 100 && p.old.desired == 1 })
			p.old.sick = true
			p.asks(abort)
			for range 20 {
				p.once(time.Second)
				p.want((100-p.route.Weight)*8 <= 100*p.old.available, "no more traffic than pods")
			}
			p.old.available = 4
			p.once(time.Second)
			p.want(p.route.Weight == 50, "half of it for half of the pods")
			p.old.sick = false
			p.ended(aborted)
		}},
		"an abort with a stable set that never comes up ends at the deadline (#4898)": {overAnother(dynamic), func(p *play) {
			p.until("all of the traffic", func() bool { p.attend(); return p.route.Weight == 100 && p.old.desired == 1 })
			p.old.sick = true
			p.asks(abort)
			p.phase(aborted).want(p.route.Weight == 0 && p.now.Sub(t0) < 20*time.Minute, "an end")
		}},
		"an aborted set does not come back under its autoscaler (#4973)": {canarySpec(), func(p *play) {
			p.load = 20
			p.held(ReasonHoldTime).asks(abort)
			p.phase(aborted)
			p.new = modelSet{exists: true, upToDate: true, desired: 3, available: 3} // somebody scales what is gone
			p.once(time.Second)
			p.once(time.Second)
			p.want(!p.new.exists && p.route.Weight == 0, "gone again")
		}},
		"the analysis begins when there has been traffic for a whole window (#3258, #4864)": {canarySpec(), func(p *play) {
			p.until("a round", func() bool { return p.did(ActionMeasure) > 0 })
			p.want(p.status.Analysis.TakenAt.Sub(p.status.ExposedAt.Time) >= 20*time.Second && p.route.Weight == 50, "20 s at 50 %")
		}},
		"a pass about another digest lets nothing pass (Flagger: promotion of what nobody has judged)": {canarySpec(), func(p *play) {
			p.held(ReasonHoldAnalysis)
			for range 60 {
				p.status.Analysis = ofAnother(roundOf(v1alpha1.VerdictPass, at50, t0.Sub(p.now)))
				p.seen = append(p.seen, Next(p.observe(), p.now).Actions...)
				p.tick(time.Second)
				p.want(Next(p.observe(), p.now).Status.Step == at50, "the same step")
			}
			p.want(p.did(ActionMeasure) > 0, "its own round taken")
		}},
		"a source that is down for ten minutes aborts nothing": {canarySpec(), func(p *play) {
			p.held(ReasonHoldAnalysis)
			p.verdict = v1alpha1.VerdictUnknown
			for range 600 {
				p.once(time.Second)
			}
			p.want(p.status.Phase == progressing && p.route.Weight == 50 && p.status.Reason == ReasonHoldNoData, "held")
		}},
		"every change of the route has its grace before anything follows (#587, #4347)": {worlds["over another, slow proxies"](), func(p *play) {
			last, changed := p.route.Exposure, p.now
			for p.status.Phase != succeeded {
				p.attend()
				p.once(time.Second)
				if shows(p.route.Exposure, last) {
					p.want(p.now.Sub(changed) >= 7*time.Second || changed.Equal(t0), "7 s since the last rise")
					changed = p.now
				}
				last = p.route.Exposure
			}
		}},
		"routes for testers and mirrors are gone at the end and after an abort": {everything(), func(p *play) {
			p.until("a mirror", func() bool { p.attend(); return p.route.Mirror > 0 }).want(p.route.Header > 0 && p.new.available > 0, "pods behind them")
			p.asks(abort)
			p.ended(aborted)
		}},
		"a baseline set is gone before the Rollout has ended": {everything(), func(p *play) {
			p.until("a baseline", func() bool { p.attend(); return p.route.Baseline > 0 }).want(p.fresh.available > 0, "pods behind it")
			p.asks(promote)
			p.phase(succeeded).want(!p.fresh.exists && p.route.Exposure == Exposure{Weight: 100}, "no baseline")
		}},
		"behind a plain Service pods that come up slowly are waited for, and nothing falls back": {worlds["over another, a plain Service"](), func(p *play) {
			p.held(ReasonHoldTime)
			p.new.sick = true // what is to come does not yet
			p.until("50 % approved", func() bool { return p.status.ApprovedWeight == 50 })
			for range 60 {
				p.once(time.Second)
			}
			p.want(p.new.desired == 8 && p.status.Falls == 0 && p.status.Step == to50, "8 pods asked for all the time")
			p.new.sick = false
			p.held(ReasonHoldApproval).want(p.share() == 50, "half of the pods")
		}},
		"a hook that refuses to hear of an abort is called a few times and not for ever": {worlds["over another, hooks that hold"](), func(p *play) {
			p.until("25 %", func() bool { return p.route.Weight == 25 })
			p.badHooks = true
			before := p.did(ActionCallHook)
			p.asks(abort).phase(aborted)
			for range 300 {
				p.once(time.Second)
			}
			p.want(p.did(ActionCallHook)-before <= 3 && p.once(time.Second).RequeueAfter == 0, "two tries, then quiet")
		}},
		"ten hooks at each of fifty weights fit into the status that the API server takes": {overAnother(func(s *v1alpha1.RolloutSpec) {
			s.Strategy.Steps = nil
			for w := range int32(50) {
				s.Strategy.Steps = append(s.Strategy.Steps, weigh(2*w+2))
			}
			for i := range 10 {
				s.Strategy.Hooks = append(s.Strategy.Hooks, v1alpha1.Hook{Name: string(rune('a' + i)), On: []v1alpha1.HookEvent{v1alpha1.HookStepEvent}})
			}
		}), func(p *play) {
			p.ended(succeeded)
			p.want(p.did(ActionCallHook) == 500, "500 calls")
		}},
		"a job that runs is stopped by an abort, which does not end before it is gone": {worked(), func(p *play) {
			p.until("a job", func() bool { return len(p.jobs) > 0 })
			for name := range p.jobs {
				p.jobs[name] = modelJob{}
			}
			p.asks(abort).once(0)
			p.want(len(p.jobs) == 0, "no job")
			p.ended(aborted)
		}},
		"a job is not run twice for one step, and anew when the step is walked again": {stepped(canarySpec, weigh(25), job(), weigh(50))(), func(p *play) {
			p.until("50", func() bool { return p.route.Weight == 50 && p.status.ExposedAt != nil }).want(p.did(ActionRunJob) == 1, "one job")
			p.new.available, p.new.sick = 0, true
			p.until("nothing", func() bool { return p.route.Weight == 0 })
			p.new.sick = false
			p.until("50", func() bool { return p.route.Weight == 50 }).want(p.did(ActionRunJob) == 2, "another one")
		}},
	} {
		t.Run(name, func(t *testing.T) {
			t.Parallel()
			c.play(played(t, c.spec))
		})
	}
}
