package plan

import (
	"fmt"
	"slices"
	"strings"
	"testing"
	"time"

	"tidegate.io/tidegate/schemas/v1alpha1"
)

func TestCommandsAreAnswered(t *testing.T) {
	t.Parallel()
	approve := func(step int32) Command {
		return Command{Name: "c", Action: v1alpha1.CommandApprove, Step: step, Actor: "alice"}
	}
	act := func(a v1alpha1.CommandAction) Command {
		return Command{Name: "c", Action: a, Actor: "alice", Reason: "it leaks"}
	}
	skip := func(step int32) Command {
		return Command{Name: "c", Action: v1alpha1.CommandSkipStep, Step: step, Actor: "alice"}
	}
	in2 := inStep(at50Approval, time.Minute)
	const applied, refused = v1alpha1.OutcomeApplied, v1alpha1.OutcomeRefused
	for name, c := range map[string]struct {
		o       Observation
		command Command
		outcome v1alpha1.CommandOutcome
		says    string
		check   func(v1alpha1.RolloutStatus) bool
	}{
		"an approval of the step is kept": {in2, approve(at50Approval), applied, "step 5 is approved", func(st v1alpha1.RolloutStatus) bool {
			return slices.Equal(st.Approvals, []v1alpha1.Approval{{Step: at50Approval, Actor: "alice", Command: "c"}})
		}},
		"an approval that comes again is the same approval": {
			in2.with(func(o *Observation) {
				o.Status.Step = to100
				o.Status.Approvals = []v1alpha1.Approval{{Step: at50Approval, Actor: "alice", Command: "c"}}
			}), approve(at50Approval), applied, "step 5 is approved", func(st v1alpha1.RolloutStatus) bool { return len(st.Approvals) == 1 },
		},
		"an approval whose answer was lost until the Rollout has ended was in time": {
			ended(v1alpha1.RolloutSucceeded).with(func(o *Observation) {
				o.Status.Approvals = []v1alpha1.Approval{{Step: at50Approval, Actor: "alice", Command: "c"}}
			}), approve(at50Approval), applied, "step 5 is approved", nil,
		},
		"a second approval of one person counts once": {
			in2.with(func(o *Observation) {
				o.Status.Approvals = []v1alpha1.Approval{{Step: at50Approval, Actor: "alice", Command: "b"}}
			}),
			approve(at50Approval), applied, "by alice already", func(st v1alpha1.RolloutStatus) bool { return len(st.Approvals) == 1 },
		},
		"an approval of a second person counts too, as policies may ask": {
			in2.with(func(o *Observation) {
				o.Status.Approvals = []v1alpha1.Approval{{Step: at50Approval, Actor: "bob", Command: "b"}}
			}),
			approve(at50Approval), applied, "step 5 is approved", func(st v1alpha1.RolloutStatus) bool {
				return slices.Equal(st.Approvals, []v1alpha1.Approval{{Step: at50Approval, Actor: "bob", Command: "b"}, {Step: at50Approval, Actor: "alice", Command: "c"}})
			},
		},
		"approvals of a crowd are bounded": {
			in2.with(func(o *Observation) {
				for i := range maxApprovals {
					o.Status.Approvals = append(o.Status.Approvals, v1alpha1.Approval{Step: at50Approval, Actor: fmt.Sprint("p", i), Command: fmt.Sprint("b", i)})
				}
			}),
			approve(at50Approval), applied, "by p0 already", func(st v1alpha1.RolloutStatus) bool { return len(st.Approvals) == maxApprovals },
		},
		"an approval of another step is refused":              {in2, approve(to100), refused, "TG-COMMAND-UNFIT: step 6 was approved and the Rollout is in step 5", nil},
		"an approval of a step that asks for none is refused": {inStep(at25, 0), approve(at25), refused, "step 2 asks for no approval", nil},
		"an approval before the first step is refused":        {inStep(0, 0), approve(1), refused, "no step has begun", nil},
		"an approval where there are no steps is refused":     {inStep(0, 0).with(func(o *Observation) { o.Spec.Stable = nil }), approve(1), refused, "no steps", nil},
		"an approval after the last step is refused":          {promoting(0), approve(at100), refused, "TG-COMMAND-LATE", nil},
		"a pause pauses":                 {in2, act(v1alpha1.CommandPause), applied, "paused", func(st v1alpha1.RolloutStatus) bool { return st.Paused }},
		"a resume resumes":               {in2.with(func(o *Observation) { o.Status.Paused = true }), act(v1alpha1.CommandResume), applied, "resumed", func(st v1alpha1.RolloutStatus) bool { return !st.Paused }},
		"a pause of an abort is refused": {aborting(25), act(v1alpha1.CommandPause), refused, "cannot be stopped", nil},
		"an abort aborts, and says who and why": {in2, act(v1alpha1.CommandAbort), applied, "goes back to revision 0123456789", func(st v1alpha1.RolloutStatus) bool {
			return st.Phase == v1alpha1.RolloutAborting && st.AbortCause.Message == "aborted by alice (RolloutCommand c): it leaks"
		}},
		"an abort of a paused promotion aborts":  {promoting(0).with(func(o *Observation) { o.Status.Paused = true }), act(v1alpha1.CommandAbort), applied, "goes back", func(st v1alpha1.RolloutStatus) bool { return st.Phase == v1alpha1.RolloutAborting }},
		"an abort of an abort is obeyed already": {aborting(25), act(v1alpha1.CommandAbort), applied, "the analysis failed", func(st v1alpha1.RolloutStatus) bool { return st.AbortCause.Code == ReasonAnalysisFail }},
		"an abort before the beginning changes nothing": {
			inStep(0, 0).with(func(o *Observation) { o.Status.Phase, o.Older = v1alpha1.RolloutPending, "cart-1" }),
			act(v1alpha1.CommandAbort), applied, "nothing was changed", func(st v1alpha1.RolloutStatus) bool { return st.Phase == v1alpha1.RolloutAborted },
		},
		"an abort after the old set's deletion was decided comes too late": {
			promoting(time.Hour).with(func(o *Observation) { o.Status.Retiring = true }), act(v1alpha1.CommandAbort), refused, "TG-COMMAND-LATE: the old revision 0123456789 is being deleted", nil,
		},
		"an abort of what has succeeded comes too late": {ended(v1alpha1.RolloutSucceeded), act(v1alpha1.CommandAbort), refused, "use roll-back", nil},
		"an abort of what is aborted is obeyed already": {ended(v1alpha1.RolloutAborted), act(v1alpha1.CommandAbort), applied, "the analysis failed", nil},
		"a resume of what is aborted comes too late":    {ended(v1alpha1.RolloutAborted), act(v1alpha1.CommandResume), refused, "TG-COMMAND-LATE", nil},
		"a skip of a pause is kept": {inStep(at25, 0), skip(at25), applied, "step 2 is skipped", func(st v1alpha1.RolloutStatus) bool {
			return slices.Equal(st.Skips, []v1alpha1.Approval{{Step: at25, Actor: "alice", Command: "c"}}) && st.Step == to50
		}},
		"a skip of an analysis goes on without one": {inStep(at50, 0), skip(at50), applied, "step 4 is skipped", func(st v1alpha1.RolloutStatus) bool {
			return st.Step == at50Approval
		}},
		"a skip that comes again is the same skip": {
			inStep(at50, 0).with(func(o *Observation) {
				o.Status.Skips = []v1alpha1.Approval{{Step: at25, Actor: "alice", Command: "c"}}
			}),
			skip(at25), applied, "step 2 is skipped", func(st v1alpha1.RolloutStatus) bool { return len(st.Skips) == 1 },
		},
		"a skip of another step is refused":   {inStep(at25, 0), skip(at50), refused, "step 4 was to be skipped and the Rollout is in step 2", nil},
		"a skip of a weight is refused":       {inStep(to25, 0).with(func(o *Observation) { o.Traffic.Settled = false }), skip(to25), refused, "waits for nothing that can be skipped", nil},
		"a skip where there are no steps":     {inStep(0, 0).with(func(o *Observation) { o.Spec.Stable = nil }), skip(1), refused, "has no steps", nil},
		"a skip while the old set drains":     {promoting(0), skip(at100), refused, "in phase Promoting", nil},
		"a skip of a job, where it is waited": {stepOf(worked(), 5, 0), skip(5), applied, "step 5 is skipped", nil},
		"a promotion passes over all that is left and ends a pause": {
			inStep(at25, 0).with(func(o *Observation) { o.Status.Paused, o.Canary = true, setOf(8, 8) }),
			act(v1alpha1.CommandPromote), applied, "passed over", func(st v1alpha1.RolloutStatus) bool {
				return st.Step == at100 && st.ApprovedWeight == 100 && !st.Paused
			},
		},
		"a promotion during a freeze waits for its end": {
			inStep(at25, 0).with(func(o *Observation) {
				o.Canary, o.Promotion = setOf(8, 8), Promotion{Knowledge: Present, Message: "frozen"}
			}),
			act(v1alpha1.CommandPromote), applied, "passed over", func(st v1alpha1.RolloutStatus) bool {
				return st.Step == at25 && st.Promoted != nil && st.Reason == ReasonHoldPolicy
			},
		},
		"a promotion of what has no steps is refused":     {inStep(0, 0).with(func(o *Observation) { o.Spec.Stable = nil }), act(v1alpha1.CommandPromote), refused, "has no steps", nil},
		"a promotion of what is being aborted is refused": {aborting(25), act(v1alpha1.CommandPromote), refused, "TG-COMMAND-LATE", nil},
		"a promotion that is under way is obeyed already": {promoting(0), act(v1alpha1.CommandPromote), applied, "all steps are passed already", nil},
		"a retry of what was aborted is obeyed":           {ended(v1alpha1.RolloutAborted), act(v1alpha1.CommandRetry), applied, "another Rollout is made", func(st v1alpha1.RolloutStatus) bool { return st.Retried != nil }},
		"a retry of what still walks is refused":          {in2, act(v1alpha1.CommandRetry), refused, "only one that was aborted is tried again", nil},
		"a retry of what is being aborted is refused":     {aborting(25), act(v1alpha1.CommandRetry), refused, "only one that was aborted is tried again", nil},
		"a retry of what has succeeded is refused":        {ended(v1alpha1.RolloutSucceeded), act(v1alpha1.CommandRetry), refused, "only one that was aborted is tried again", nil},
		"a retry of what a newer one has replaced":        {ended(v1alpha1.RolloutAborted).with(func(o *Observation) { o.Newer = "cart-9" }), act(v1alpha1.CommandRetry), refused, "cart-9 is newer", nil},
		"a second retry makes no third Rollout":           {ended(v1alpha1.RolloutAborted).with(func(o *Observation) { o.Status.Retried = &v1alpha1.Approval{Actor: "bob", Command: "b"} }), act(v1alpha1.CommandRetry), applied, "as bob decided", func(st v1alpha1.RolloutStatus) bool { return st.Retried.Command == "b" }},
		"a roll-back to what served before is obeyed":     {ended(v1alpha1.RolloutSucceeded).with(func(o *Observation) { o.Newer = "cart-9" }), act(v1alpha1.CommandRollBack), applied, "brings back revision ab12cd34ef", func(st v1alpha1.RolloutStatus) bool { return st.Restored != nil }},
		"a roll-back to what serves is refused":           {ended(v1alpha1.RolloutSucceeded), act(v1alpha1.CommandRollBack), refused, "name an older Rollout", nil},
		"a roll-back to what was aborted is refused":      {ended(v1alpha1.RolloutAborted).with(func(o *Observation) { o.Newer = "cart-9" }), act(v1alpha1.CommandRollBack), refused, "one that has succeeded", nil},
		"a command without the reason that is asked for": {in2.with(func(o *Observation) {
			o.Spec.Strategy.RequireReason = []v1alpha1.CommandAction{v1alpha1.CommandApprove}
		}), approve(at50Approval), refused, "TG-COMMAND-REASON", nil},
		"a command with a reason of nothing but spaces": {in2.with(func(o *Observation) {
			o.Spec.Strategy.RequireReason = []v1alpha1.CommandAction{v1alpha1.CommandApprove}
		}), because(approve(at50Approval), " \t"), refused, "TG-COMMAND-REASON", nil},
		"what nobody knows is refused": {in2, act("dance"), refused, `"dance" is not known`, nil},
	} {
		t.Run(name, func(t *testing.T) {
			t.Parallel()
			o := c.o.with(func(o *Observation) { o.Commands = []Command{c.command} })
			d := Next(o, t0)
			i := slices.IndexFunc(d.Actions, func(a Action) bool { return a.Kind == ActionAnswer })
			if i < 0 || d.Actions[i].Outcome != c.outcome || !strings.Contains(d.Actions[i].Message, c.says) {
				t.Fatalf("got %v, want %s %q", d.Actions, c.outcome, c.says)
			}
			if c.check != nil && !c.check(d.Status) {
				t.Errorf("status %+v", d.Status)
			}
			for _, b := range broken(o, t0, d) {
				t.Error(b)
			}
			again := Next(o.with(func(o *Observation) { o.Status = d.Status }), t0)
			if c.outcome == applied && !slices.Contains(again.Actions, d.Actions[i]) {
				t.Errorf("its answer was lost, and now it is answered %v, want %v", again.Actions, d.Actions[i])
			}
		})
	}
}

func TestCommandsAreTakenInOrder(t *testing.T) {
	t.Parallel()
	o := inStep(at50Approval, time.Minute).with(func(o *Observation) {
		o.Commands = []Command{
			{Name: "c1", Action: v1alpha1.CommandPause},
			{Name: "c2", Action: v1alpha1.CommandApprove, Step: at50Approval},
			{Name: "c3", Action: v1alpha1.CommandAbort},
			{Name: "c4", Action: v1alpha1.CommandResume},
		}
	})
	d := Next(o, t0)
	var got []string
	for _, a := range d.Actions {
		if a.Kind == ActionAnswer {
			got = append(got, a.Command+" "+string(a.Outcome))
		}
	}
	if want := []string{"c1 Applied", "c2 Applied", "c3 Applied", "c4 Refused"}; !slices.Equal(got, want) {
		t.Errorf("got %v, want %v", got, want)
	}
	if d.Actions[0].Kind != ActionSetWeight || d.Actions[0].Exposure.Weight != 0 {
		t.Errorf("the traffic does not go first: %v", d.Actions)
	}
}

func because(c Command, reason string) Command {
	c.Reason = reason
	return c
}
