package plan

import (
	"fmt"
	"slices"
	"time"

	"tidegate.io/tidegate/schemas/v1alpha1"
)

// JobName is the name of the Job that an Observation is to tell about: of one that was
// begun and has not ended, else of the step that the Rollout is in. Empty where there is none.
func JobName(spec v1alpha1.RolloutSpec, st v1alpha1.RolloutStatus) string {
	for _, c := range st.Checks {
		if c.Job != "" && c.Outcome == v1alpha1.CheckPending {
			return c.Job
		}
	}
	steps := Walked(spec)
	if k := st.Step; k > 0 && int(k) <= len(steps) && steps[k-1].Job != nil {
		return jobName(spec, st)
	}
	return ""
}

// jobName is different for each time that a step of a Rollout is walked.
func jobName(spec v1alpha1.RolloutSpec, st v1alpha1.RolloutStatus) string {
	return fmt.Sprintf("%s-%d-s%d-%d", spec.Release, spec.Number, st.Step, st.Falls+1)
}

// hear takes what became of jobs and hooks into the status.
func (t *turn) hear() {
	for i := range t.st.Checks {
		c := &t.st.Checks[i]
		switch {
		case c.Outcome != v1alpha1.CheckPending:
		case c.Job != "":
			t.hearJob(c)
		default:
			t.hearHook(c)
		}
	}
}

func (t *turn) hearJob(c *v1alpha1.Check) {
	j := t.o.Job
	if j.Name != c.Job {
		return
	}
	switch {
	case j.Knowledge == Present && j.Finished && j.Succeeded:
		c.Outcome, c.Message = v1alpha1.CheckPassed, "succeeded"
	case j.Knowledge == Present && j.Finished:
		c.Outcome, c.Message = v1alpha1.CheckFailed, clip(j.Message)
	case j.Knowledge == Absent && !t.jobWanted(c):
		c.Outcome, c.Message = v1alpha1.CheckFailed, "stopped: the Rollout has left the step"
	default:
		return
	}
	c.At = *t.stamp()
}

// jobWanted says whether the Rollout still waits for a job.
func (t *turn) jobWanted(c *v1alpha1.Check) bool {
	s := t.step()
	return t.st.Phase == v1alpha1.RolloutProgressing && s != nil && s.Job != nil &&
		c.Job == jobName(t.o.Spec, t.st) && !t.skipped(t.st.Step)
}

func (t *turn) hearHook(c *v1alpha1.Check) {
	a := t.answer(*c)
	if a == nil || !a.Done {
		return
	}
	c.Message = clip(a.Message)
	h := t.hook(c.Hook)
	switch {
	case a.Passed:
		c.Outcome, c.At = v1alpha1.CheckPassed, *t.stamp()
	case h == nil, (h.OnFailure != v1alpha1.HookHolds || c.Event == v1alpha1.HookRollback) && (a.Final || c.Tries > retries(h)):
		// A hook that is told of a rollback holds nothing up, so it is not called for ever either.
		c.Outcome, c.At = v1alpha1.CheckFailed, *t.stamp()
	}
}

// answer is what is known of the last try of a check.
func (t *turn) answer(c v1alpha1.Check) *Answer {
	call := t.callOf(c)
	for i := range t.o.Answers {
		if t.o.Answers[i].Call == call {
			return &t.o.Answers[i]
		}
	}
	return nil
}

func (t *turn) callOf(c v1alpha1.Check) Call {
	return Call{Hook: c.Hook, Event: c.Event, Step: c.Step, Falls: t.st.Falls, Try: c.Tries}
}

func (t *turn) hook(name string) *v1alpha1.Hook {
	for i := range t.o.Spec.Strategy.Hooks {
		if h := &t.o.Spec.Strategy.Hooks[i]; h.Name == name {
			return h
		}
	}
	return nil
}

func retries(h *v1alpha1.Hook) int32 {
	if h.Retries == nil {
		return defaultRetries
	}
	return *h.Retries
}

// hooksOn returns the names of the hooks that are called at an event.
func (t *turn) hooksOn(event v1alpha1.HookEvent) []string {
	var out []string
	for _, h := range t.o.Spec.Strategy.Hooks {
		if slices.Contains(h.On, event) {
			out = append(out, h.Name)
		}
	}
	return out
}

// check returns the record of a hook; nil where it was not called.
func (t *turn) check(hook string, event v1alpha1.HookEvent, step int32) *v1alpha1.Check {
	for i := range t.st.Checks {
		c := &t.st.Checks[i]
		if c.Job == "" && c.Step == step && c.Hook == hook && c.Event == event {
			return c
		}
	}
	return nil
}

// jobCheck returns the record of the job of the step that the Rollout is in.
func (t *turn) jobCheck() *v1alpha1.Check {
	name := jobName(t.o.Spec, t.st)
	for i := range t.st.Checks {
		if c := &t.st.Checks[i]; c.Job == name {
			return c
		}
	}
	return nil
}

// tryAgain is the time between two tries of a hook.
func (t *turn) tryAgain(name string) time.Duration {
	if h := t.hook(name); h != nil {
		return orDefault(h.Interval.Duration, defaultInterval)
	}
	return defaultInterval
}

// lets says whether a hook lets pass.
func (t *turn) lets(hook string, event v1alpha1.HookEvent, step int32) bool {
	c := t.check(hook, event, step)
	if c == nil {
		return false
	}
	h := t.hook(hook)
	return c.Outcome == v1alpha1.CheckPassed || c.Outcome == v1alpha1.CheckFailed && h != nil && h.OnFailure == v1alpha1.HookIgnored
}

// eventPassed says whether every hook that is called at an event lets pass.
func (t *turn) eventPassed(event v1alpha1.HookEvent, step int32) bool {
	return !slices.ContainsFunc(t.hooksOn(event), func(name string) bool { return !t.lets(name, event, step) })
}

// heldByEvent calls the hooks of an event, one after the other.
func (t *turn) heldByEvent(event v1alpha1.HookEvent, step int32) ruling {
	for _, name := range t.hooksOn(event) {
		if r := t.heldByCall(name, event, step); !r.silent {
			return r
		}
	}
	return silence
}

// heldByCall begins a call, repeats it, and says what it waits for.
func (t *turn) heldByCall(name string, event v1alpha1.HookEvent, step int32) ruling {
	if t.lets(name, event, step) {
		return silence
	}
	c := t.check(name, event, step)
	if c != nil && c.Outcome == v1alpha1.CheckFailed {
		return t.abort(ReasonHookFailed, "the hook %s refused%s: %s", name, eventText(event), c.Message)
	}
	if c == nil {
		c = t.begin(v1alpha1.Check{Step: step, Hook: name, Event: event})
	} else if a := t.answer(*c); a != nil && a.Done && t.passed(&c.At, t.tryAgain(name)) {
		c.Tries, c.At = c.Tries+1, *t.stamp()
	}
	// It may have been called already by a manager whose record of it was not seen.
	if t.hearHook(c); c.Outcome != v1alpha1.CheckPending {
		return moved(ReasonHoldHook, "%s: the hook %s has answered%s%s", t.where(), name, eventText(event), said(c.Message))
	}
	a := t.answer(*c)
	switch {
	case a == nil:
		t.work = append(t.work, Action{Kind: ActionCallHook, Call: t.callOf(*c)})
		fallthrough
	case !a.Done:
		return hold(ReasonHoldHook, "%s, holding: the hook %s is being called%s (try %d)%s", t.where(), name, eventText(event), c.Tries, said(c.Message))
	}
	return hold(ReasonHoldHook, "%s, holding: the hook %s did not let pass%s (try %d), calling again at %s%s",
		t.where(), name, eventText(event), c.Tries, clock(c.At.Add(t.tryAgain(name))), said(c.Message))
}

func eventText(event v1alpha1.HookEvent) string {
	if event == "" {
		return ""
	}
	return " on " + string(event)
}

func said(message string) string {
	if message == "" {
		return ""
	}
	return ": " + message
}

// heldByJob runs the job of a step and waits for it.
func heldByJob(t *turn) ruling {
	s := t.step()
	if s == nil || s.Job == nil || t.skipped(t.st.Step) {
		return silence
	}
	name := jobName(t.o.Spec, t.st)
	c := t.jobCheck()
	switch {
	case c == nil && t.jobPending():
		t.wake(t.now.Add(look))
		return hold(ReasonHoldJob, "%s, holding: a job of before is being stopped, then %s begins", t.where(), name)
	case c == nil:
		c = t.begin(v1alpha1.Check{Step: t.st.Step, Job: name})
		if t.hearJob(c); c.Outcome != v1alpha1.CheckPending {
			return moved(ReasonHoldJob, "%s: the job %s has ended: %s", t.where(), name, c.Message)
		}
	case c.Outcome == v1alpha1.CheckPassed:
		return silence
	case c.Outcome == v1alpha1.CheckFailed:
		return t.abort(ReasonJobFailed, "the job %s of step %d/%d failed: %s; see its pods with: kubectl logs job/%s",
			c.Job, t.st.Step, t.last(), c.Message, c.Job)
	}
	if j := t.o.Job; j.Name != name || j.Knowledge != Present {
		if j.Name == name && j.Knowledge == Unknown {
			t.wake(t.now.Add(look))
			return hold(ReasonHoldUnknown, "%s, holding: the job %s could not be read; trying again every %s", t.where(), name, look)
		}
		t.work = append(t.work, Action{Kind: ActionRunJob, Step: t.st.Step, Job: name})
	}
	return hold(ReasonHoldJob, "%s, holding: the job %s is running; see it with: kubectl get job %s", t.where(), name, name)
}

// heldByHook calls the hook that the step names.
func heldByHook(t *turn) ruling {
	s := t.step()
	if s == nil || s.Hook == nil || t.skipped(t.st.Step) {
		return silence
	}
	return t.heldByCall(s.Hook.Name, "", t.st.Step)
}

// heldByHooks calls the hooks of the events: before the first step, at each weight, and
// before the old revision is given up. Who skips a step passes over those of the step.
func heldByHooks(t *turn) ruling {
	k := t.st.Step
	if k == 0 {
		return t.heldByGate(v1alpha1.HookBegin, 0)
	}
	if t.steps[k-1].SetWeight != nil && !t.skipped(k) {
		if r := t.heldByEvent(v1alpha1.HookStepEvent, k); !r.silent {
			return r
		}
	}
	if k == t.last() {
		return t.heldByGate(v1alpha1.HookPromote, k)
	}
	return silence
}

// heldByGate calls the hooks of the beginning or the promotion. These are about the Rollout as a whole,
// like policies about promotion, so that no command passes over them. As with policies, a
// person's return to a revision that is known to be good is not asked about: it must not wait for
// a server that is down.
func (t *turn) heldByGate(event v1alpha1.HookEvent, step int32) ruling {
	if t.undoes() {
		return silence
	}
	return t.heldByEvent(event, step)
}

// undoes says whether a person brings back a revision that is known to be good.
func (t *turn) undoes() bool { return t.o.Spec.Known && t.o.Spec.Restores != nil }

// soloBegins calls the hooks of the beginning where there are no steps.
func soloBegins(t *turn) ruling {
	if t.kind != kindFirst || t.st.ApprovedAt != nil {
		return silence // the revision serves already
	}
	if r := heldByPause(t); !r.silent {
		return r
	}
	return t.heldByGate(v1alpha1.HookBegin, 0)
}

// tellsOfRollback calls the hooks about an abort. It waits for nobody.
func tellsOfRollback(t *turn) ruling {
	if t.kind == kindInPlace || t.st.ApprovedAt == nil {
		return silence
	}
	for _, name := range t.hooksOn(v1alpha1.HookRollback) {
		if c := t.check(name, v1alpha1.HookRollback, t.st.Step); c == nil || c.Outcome == v1alpha1.CheckPending {
			t.heldByCall(name, v1alpha1.HookRollback, t.st.Step)
		}
	}
	return silence
}

// stopJob is the StopJob action: for a job that nobody waits for any more.
func (t *turn) stopJob() (Action, bool) {
	for i := range t.st.Checks {
		c := &t.st.Checks[i]
		if c.Job != "" && c.Outcome == v1alpha1.CheckPending && !t.jobWanted(c) {
			return Action{Kind: ActionStopJob, Job: c.Job}, t.o.Job.Name == c.Job && t.o.Job.Knowledge != Absent
		}
	}
	return Action{}, false
}

// jobStops lets an abort end only when its job is gone.
func jobStops(t *turn) ruling {
	a, running := t.stopJob()
	if !running {
		return silence
	}
	t.wake(t.now.Add(look))
	return t.aborting("the job %s is being stopped", a.Job)
}

// jobPending says whether a job was begun and is not known to have ended.
func (t *turn) jobPending() bool {
	return slices.ContainsFunc(t.st.Checks, func(c v1alpha1.Check) bool { return c.Job != "" && c.Outcome == v1alpha1.CheckPending })
}

// maxChecks is how many checks are kept, beside those that are looked at yet.
const maxChecks = 100

// begin records a check that is about to begin. Of those of earlier steps the oldest are dropped, as nothing
// looks at them.
func (t *turn) begin(c v1alpha1.Check) *v1alpha1.Check {
	for len(t.st.Checks) >= maxChecks {
		i := slices.IndexFunc(t.st.Checks, func(c v1alpha1.Check) bool {
			return c.Step != t.st.Step && c.Event != v1alpha1.HookBegin && (c.Job == "" || c.Outcome != v1alpha1.CheckPending)
		})
		if i < 0 {
			break
		}
		t.st.Checks = slices.Delete(t.st.Checks, i, i+1)
	}
	c.Outcome, c.Tries, c.At = v1alpha1.CheckPending, 1, *t.stamp()
	t.st.Checks = append(t.st.Checks, c)
	return &t.st.Checks[len(t.st.Checks)-1]
}

// forget drops the checks of a step and those after it, so that they are made anew.
func (t *turn) forget(step int32) {
	t.st.Checks = slices.DeleteFunc(t.st.Checks, func(c v1alpha1.Check) bool {
		return c.Step >= step && c.Event != v1alpha1.HookBegin && (c.Job == "" || c.Outcome != v1alpha1.CheckPending)
	})
}

// clip shortens a message to what a status keeps.
func clip(message string) string {
	const limit = 1024
	if len(message) <= limit {
		return message
	}
	return message[:limit-3] + "..."
}
