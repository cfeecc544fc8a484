package plan

import (
	"testing"
	"time"

	"tidegate.io/tidegate/schemas/v1alpha1"
)

// What steps other than weights add to the space of observations: routes for testers and mirrors, a
// baseline set, jobs and hooks, what people pass over, a plain Service, a stable set that shrinks, and
// sizes of nothing.

// dims are the dimensions that a stand is enumerated in beside those that all have.
type dims struct {
	stand
	traffic []Traffic
	more    []axis
}

func carrying(e Exposure) Traffic {
	return Traffic{Knowledge: Present, Exposure: e, Settled: true, UpToDate: true}
}

// shared is a plain Service in front of both sets.
var shared = Traffic{Knowledge: Present, Split: true, Settled: true, UpToDate: true}

func baselines() axis {
	sets := []Set{{}, {Knowledge: Absent}, setOf(1, 0), setOf(1, 1), setOf(2, 2), setOf(4, 4), {Knowledge: Present, Desired: 2, Available: 2}}
	return axis{"baseline", len(sets), func(o *Observation, i int) { o.Baseline = sets[i] }}
}

// jobsSeen are what can be known of the job of a step, with and without a record that it was begun.
func jobsSeen() axis {
	return axis{"job", 10, func(o *Observation, i int) {
		name := jobName(o.Spec, o.Status)
		o.Job = []JobState{
			{Name: name},
			{Name: name, Knowledge: Absent},
			{Name: name, Knowledge: Present},
			{Name: name, Knowledge: Present, Finished: true, Message: "exit code 1"},
			{Name: name, Knowledge: Present, Finished: true, Succeeded: true},
		}[i%5]
		if i >= 5 {
			o.Status.Checks = []v1alpha1.Check{{Step: o.Status.Step, Job: name, Outcome: v1alpha1.CheckPending, Tries: 1, At: *at(-time.Minute)}}
		}
	}}
}

// answersSeen are what can be known of a hook, in the first of its tries and in the last.
func answersSeen(event v1alpha1.HookEvent, hook string) axis {
	return axis{"answer", 11, func(o *Observation, i int) {
		if i == 0 {
			return
		}
		try := int32(1 + (i-1)/5)
		step := o.Status.Step
		c := v1alpha1.Check{Step: step, Hook: hook, Event: event, Outcome: v1alpha1.CheckPending, Tries: try, At: *at(-time.Minute)}
		o.Status.Checks = []v1alpha1.Check{c}
		a := Answer{Call: Call{Hook: hook, Event: event, Step: step, Try: try}, Message: "as the world has it"}
		switch (i - 1) % 5 {
		case 0:
			return // of a manager that has died
		case 1:
		case 2:
			a.Done, a.Passed = true, true
		case 3:
			a.Done = true
		case 4:
			a.Done, a.Final = true, true
		}
		o.Answers = []Answer{a}
	}}
}

func stepDims() []dims {
	caused := func(st *v1alpha1.RolloutStatus) {
		st.AbortCause = &v1alpha1.Cause{Code: ReasonAnalysisFail, Message: "it failed"}
	}
	open, promoting, aborting := v1alpha1.RolloutProgressing, v1alpha1.RolloutPromoting, v1alpha1.RolloutAborting
	all, asked := worlds["over another, a stable set that shrinks"], stepped(hooked(canarySpec, v1alpha1.HookAborts), weigh(25), call("ask"), weigh(50))
	holds := stepped(hooked(canarySpec, v1alpha1.HookHolds), weigh(25), call("ask"), weigh(50))
	split, three := worlds["over another, a plain Service"], worlds["over another, a plain Service, three over five"]
	walked := worlds["over nothing, walked in every kind of step"]
	every := []Traffic{
		{},
		{Knowledge: Absent},
		routeAt(0), routeAt(100), unsettled(0), carrying(Exposure{Header: 1}), carrying(Exposure{Header: 1, Mirror: 3}),
		carrying(Exposure{Header: 1, Weight: 10, Baseline: 10}), carrying(Exposure{Weight: 25, Baseline: 25}), carrying(Exposure{Header: 12, Weight: 25}),
	}
	weights := []Traffic{{}, {Knowledge: Absent}, routeAt(0), routeAt(25), routeAt(50), routeAt(100), unsettled(25), {Knowledge: Present, Exposure: Exposure{Weight: 25}, Settled: true}}
	services := []Traffic{{}, {Knowledge: Absent}, routeAt(0), routeAt(100), unsettled(100), shared, {Knowledge: Present, Split: true, UpToDate: true}, {Knowledge: Present, Split: true, Settled: true}}
	none := []axis{baselines()}
	return []dims{
		{stand{"testers", open, 2, 0, everything, nil}, every, none},
		{stand{"mirrored", open, 4, 0, everything, nil}, every, none},
		{stand{"scaled", open, 5, 0, everything, nil}, every, none},
		{stand{"baseline comes up", open, 7, 0, everything, nil}, every, none},
		{stand{"baseline compared", open, 11, 25, everything, nil}, every, none},
		{stand{"everything promoting", promoting, 18, 100, everything, nil}, every, none},
		{stand{"everything aborting", aborting, 11, 0, everything, caused}, every, none},
		{stand{"testers of nothing before", open, 2, 0, walked, nil}, every, nil},
		{stand{"a job before any weight", open, 1, 0, worked, nil}, weights, []axis{jobsSeen()}},
		{stand{"a job at a weight", open, 5, 25, worked, nil}, weights, []axis{jobsSeen()}},
		{stand{"a job aborting", aborting, 5, 0, worked, caused}, weights, []axis{jobsSeen()}},
		{stand{"a hook at the beginning", open, 0, 0, asked, nil}, weights, []axis{answersSeen(v1alpha1.HookBegin, "events")}},
		{stand{"a hook of a step", open, 2, 25, asked, nil}, weights, []axis{answersSeen("", "ask")}},
		{stand{"a hook of a step that holds", open, 2, 25, holds, nil}, weights, []axis{answersSeen("", "ask")}},
		{stand{"a hook at a weight", open, 1, 25, asked, nil}, weights, []axis{answersSeen(v1alpha1.HookStepEvent, "events")}},
		{stand{"a hook of an abort", aborting, 2, 0, holds, caused}, weights, []axis{answersSeen(v1alpha1.HookRollback, "events")}},
		{stand{"a hook of what is aborted", v1alpha1.RolloutAborted, 2, 0, holds, caused}, weights, []axis{answersSeen(v1alpha1.HookRollback, "events")}},
		{stand{"a Service of one", open, 0, 0, split, nil}, services, nil},
		{stand{"a Service of both", open, at25, 25, split, nil}, services, nil},
		{stand{"a Service of both, to be moved", open, to50, 50, split, nil}, services, nil},
		{stand{"a Service of both, three over five", open, at50, 50, three, nil}, services, nil},
		{stand{"a Service, all", open, to100, 100, split, nil}, services, nil},
		{stand{"a Service, aborting", aborting, at25, 0, split, caused}, services, nil},
		{stand{"a Service, promoting", promoting, at100, 100, split, nil}, services, nil},
		{stand{"a Service, succeeded", v1alpha1.RolloutSucceeded, at100, 100, split, nil}, services, nil},
		{stand{"a Service, aborted", v1alpha1.RolloutAborted, at25, 0, split, caused}, services, nil},
		{stand{"shrinking", open, at25, 25, all, nil}, weights, nil},
		{stand{"shrinking, all", open, at100, 100, all, nil}, weights, nil},
		{stand{"shrinking, promoting", promoting, at100, 100, all, nil}, weights, nil},
		{stand{"shrinking, aborting", aborting, at50, 0, all, caused}, weights, nil},
		{stand{"three to none", open, 1, 100, sized(canarySpec, 0, 3), nil}, weights, nil},
		{stand{"none to three", open, 0, 0, sized(canarySpec, 3, 0), nil}, weights, nil},
		{stand{"none to none", promoting, 1, 100, sized(canarySpec, 0, 0), nil}, weights, nil},
		{stand{"a step back", open, 2, 100, worlds["over another, all, nothing and all"], nil}, weights, nil},
	}
}

// asks are what people ask for in a step.
func asks(step int32) [][]Command {
	one := func(action v1alpha1.CommandAction) []Command {
		return []Command{{Name: "c", Action: action, Step: step, Actor: "alice", Reason: "no"}}
	}
	return [][]Command{
		nil, one(v1alpha1.CommandAbort), one(v1alpha1.CommandPause), one(v1alpha1.CommandSkipStep), one(v1alpha1.CommandPromote),
		one(v1alpha1.CommandApprove),
	}
}

func (s dims) axes() []axis {
	people := asks(s.step)
	verdicts := []*v1alpha1.AnalysisRound{nil, roundOf(v1alpha1.VerdictPass, s.step, time.Second), roundOf(v1alpha1.VerdictFail, s.step, time.Second)}
	sets := []Set{{}, {Knowledge: Absent}, setOf(8, 0), setOf(1, 1), setOf(2, 2), setOf(8, 5), setOf(8, 8), {Knowledge: Present, Desired: 8, Available: 8}}
	olds := []Set{{}, {Knowledge: Absent}, setOf(8, 0), setOf(3, 3), setOf(8, 8)}
	return append([]axis{
		{"canary", len(sets), func(o *Observation, i int) { o.Canary = sets[i] }},
		{"stable", len(olds), func(o *Observation, i int) {
			if o.Stable = olds[i]; o.Spec.Stable == nil {
				o.Stable = Set{Knowledge: Absent}
			}
		}},
		{"traffic", len(s.traffic), func(o *Observation, i int) { o.Traffic = s.traffic[i] }},
		{"ages", len(ages), func(o *Observation, i int) { s.age(o, i) }},
		{"promotion", 2, func(o *Observation, i int) { o.Promotion = []Promotion{allowed, {}}[i] }},
		{"verdict", len(verdicts), func(o *Observation, i int) { o.Status.Analysis = verdicts[i] }},
		{"command", len(people), func(o *Observation, i int) { o.Commands = people[i] }},
	}, s.more...)
}

// TestEveryObservationOfSteps enumerates what the steps add, and holds each decision to the invariants.
func TestEveryObservationOfSteps(t *testing.T) {
	total := 0
	for _, s := range stepDims() {
		total += enumerateWith(t, s.stand, s.axes(), broken)
	}
	t.Logf("%d states", total)
	if !testing.Short() && total < 2_000_000 {
		t.Errorf("only %d states: an axis is lost", total)
	}
}
