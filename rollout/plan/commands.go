package plan

import (
	"fmt"
	"slices"
	"strings"

	"tidegate.io/tidegate/schemas/v1alpha1"
)

// obey takes the commands of people, oldest first, each with exactly one answer. An
// answer can be lost and its command come again, so that what a command has brought
// about counts as obeyed.
func (t *turn) obey() {
	for _, c := range t.o.Commands {
		outcome, message := t.command(c)
		t.answers = append(t.answers, Action{Kind: ActionAnswer, Command: c.Name, Outcome: outcome, Message: message})
	}
}

func (t *turn) command(c Command) (v1alpha1.CommandOutcome, string) {
	if code, why := t.tooLate(c); code != "" {
		return refuse(code, "%s", why)
	}
	if strings.TrimSpace(c.Reason) == "" && slices.Contains(t.o.Spec.Strategy.RequireReason, c.Action) {
		return refuse(ReasonCommandReason, "the template asks for a reason for %s, and none was given; create the command again with spec.reason", c.Action)
	}
	switch c.Action {
	case v1alpha1.CommandApprove:
		return t.approveStep(c)
	case v1alpha1.CommandPause:
		t.st.Paused = true
		if t.rolling {
			return obeyed("paused: no other step begins and nothing is retired until a RolloutCommand resume; pods that are being replaced go on, and an abort turns them back")
		}
		return obeyed("paused: exposure does not rise and nothing is retired until a RolloutCommand resume")
	case v1alpha1.CommandResume:
		t.st.Paused = false
		return obeyed("resumed")
	case v1alpha1.CommandAbort:
		return t.abortNow(c)
	case v1alpha1.CommandSkipStep:
		return t.skipStep(c)
	case v1alpha1.CommandPromote:
		return t.promoteNow(c)
	case v1alpha1.CommandRetry:
		return t.retry(c)
	case v1alpha1.CommandRollBack:
		return t.rollBackTo(c)
	}
	return refuse(ReasonCommandUnfit, "the action %q is not known; use approve, pause, resume, abort, skip-step, promote, retry or roll-back", c.Action)
}

// tooLate says why a command can no longer matter, or nothing.
func (t *turn) tooLate(c Command) (code, why string) {
	abort := c.Action == v1alpha1.CommandAbort
	if c.Action == v1alpha1.CommandRetry || c.Action == v1alpha1.CommandRollBack {
		return "", "" // they are about what has ended
	}
	if t.onRecord(c) {
		return "", "" // it was in time
	}
	switch phase := t.st.Phase; {
	case phase == v1alpha1.RolloutSucceeded:
		return ReasonCommandLate, "the Rollout has succeeded; to return to an older revision use roll-back on the Rollout that brought it"
	case phase == v1alpha1.RolloutAborted && !abort:
		return ReasonCommandLate, "the Rollout has been aborted; use retry, or apply a corrected Release to try again"
	case phase == v1alpha1.RolloutAborting && !abort:
		return ReasonCommandLate, "the Rollout is being aborted, which cannot be stopped"
	case t.st.Retiring:
		return ReasonCommandLate, fmt.Sprintf(
			"the old revision %s is being deleted, there is no way back; to return to it apply the Release with its values", t.stableName())
	}
	return "", ""
}

// onRecord says whether a command was obeyed before, and its answer was lost.
func (t *turn) onRecord(c Command) bool {
	same := func(a v1alpha1.Approval) bool { return a.Command == c.Name }
	return slices.ContainsFunc(t.st.Approvals, same) || slices.ContainsFunc(t.st.Skips, same) ||
		t.st.Promoted != nil && same(*t.st.Promoted)
}

// maxApprovals bounds how many approvals are kept beside the first of each step.
const maxApprovals = 25

// approvedBy says whether a person has approved a step.
func (t *turn) approvedBy(step int32, actor string) bool {
	return slices.ContainsFunc(t.st.Approvals, func(a v1alpha1.Approval) bool { return a.Step == step && a.Actor == actor })
}

func (t *turn) approveStep(c Command) (v1alpha1.CommandOutcome, string) {
	for _, a := range t.st.Approvals {
		if a.Command == c.Name {
			return obeyed("step %d is approved", a.Step)
		}
	}
	k := t.st.Step
	switch {
	case t.kind != kindCanary && !t.walks():
		return refuse(ReasonCommandUnfit, "the Rollout has no steps, so that nothing waits for an approval")
	case t.st.Phase == v1alpha1.RolloutPromoting:
		return refuse(ReasonCommandLate, "all steps are passed, so that nothing waits for an approval")
	case t.st.Phase == v1alpha1.RolloutPending || k == 0:
		return refuse(ReasonCommandUnfit, "step %d was approved and no step has begun yet; approve a step while the Rollout is in it", c.Step)
	case c.Step != k:
		return refuse(ReasonCommandUnfit, "step %d was approved and the Rollout is in step %d; approve a step while the Rollout is in it", c.Step, k)
	case t.steps[k-1].Pause == nil || !t.steps[k-1].Pause.Approval:
		return refuse(ReasonCommandUnfit, "step %d asks for no approval", k)
	}
	// A policy may want more people than one, or another than the first: each counts once.
	if a := t.approval(k); a != nil && (t.approvedBy(k, c.Actor) || len(t.st.Approvals) >= maxApprovals) {
		return obeyed("step %d was approved by %s already", k, a.Actor)
	}
	t.st.Approvals = append(t.st.Approvals, v1alpha1.Approval{Step: k, Actor: c.Actor, Command: c.Name})
	return obeyed("step %d is approved", k)
}

// skipStep passes over what a step waits for. What a step sets is not skipped: its effect
// would be missing from then on.
func (t *turn) skipStep(c Command) (v1alpha1.CommandOutcome, string) {
	for _, s := range t.st.Skips {
		if s.Command == c.Name {
			return obeyed("step %d is skipped", s.Step)
		}
	}
	k, s := t.st.Step, t.step()
	switch {
	case t.kind != kindCanary && !t.walks():
		return refuse(ReasonCommandUnfit, "the Rollout has no steps, so that there is none to skip")
	case t.st.Phase != v1alpha1.RolloutProgressing:
		return refuse(ReasonCommandUnfit, "the Rollout is in phase %s and in no step; skip a step while the Rollout is in it", t.st.Phase)
	case c.Step != k:
		return refuse(ReasonCommandUnfit, "step %d was to be skipped and the Rollout is in step %d; skip a step while the Rollout is in it", c.Step, k)
	case s == nil || s.Pause == nil && s.Analyze == nil && s.Job == nil && s.Hook == nil &&
		(s.SetWeight == nil || len(t.hooksOn(v1alpha1.HookStepEvent)) == 0):
		return refuse(ReasonCommandUnfit, "step %d waits for nothing that can be skipped; a pause, an analysis, a job and a hook of the step can be, hooks on begin and promote cannot", k)
	case t.skipped(k):
		return obeyed("step %d is skipped already", k)
	}
	t.st.Skips = append(t.st.Skips, v1alpha1.Approval{Step: k, Actor: c.Actor, Command: c.Name})
	return obeyed("step %d is skipped", k)
}

// promoteNow passes over all steps that are left. Pods, the route, the hooks of the beginning and
// the promotion, and the policies about promotion are waited for all the same.
func (t *turn) promoteNow(c Command) (v1alpha1.CommandOutcome, string) {
	switch {
	case t.st.Promoted != nil && t.st.Promoted.Command == c.Name:
		return obeyed("promoting: the steps that are left are passed over")
	case t.st.Phase == v1alpha1.RolloutPromoting:
		return obeyed("all steps are passed already")
	case t.kind != kindCanary && !t.walks():
		return refuse(ReasonCommandUnfit, "the Rollout has no steps, so that there is none to pass over")
	case t.st.Promoted != nil:
		// A policy may want more people than one, or another than the first: each counts once.
		if k := t.st.Step; c.Actor != t.st.Promoted.Actor && !t.approvedBy(k, c.Actor) && len(t.st.Approvals) < maxApprovals {
			t.st.Approvals = append(t.st.Approvals, v1alpha1.Approval{Step: k, Actor: c.Actor, Command: c.Name})
		}
		return obeyed("promoting already, as %s decided", t.st.Promoted.Actor)
	}
	t.st.Promoted = &v1alpha1.Approval{Step: t.st.Step, Actor: c.Actor, Command: c.Name}
	t.st.Paused = false
	return obeyed("promoting: the steps that are left are passed over")
}

// retry asks for another Rollout like this one.
func (t *turn) retry(c Command) (v1alpha1.CommandOutcome, string) {
	switch {
	case t.st.Retried != nil && t.st.Retried.Command == c.Name:
		return obeyed("another Rollout is made")
	case t.o.Newer != "":
		return refuse(ReasonCommandLate, "Rollout %s is newer; retry that one", t.o.Newer)
	case t.st.Phase != v1alpha1.RolloutAborted:
		return refuse(ReasonCommandUnfit, "the Rollout is in phase %s; only one that was aborted is tried again", t.st.Phase)
	case t.st.Retried != nil:
		return obeyed("another Rollout is made already, as %s decided", t.st.Retried.Actor)
	}
	t.st.Retried = &v1alpha1.Approval{Actor: c.Actor, Command: c.Name}
	return obeyed("another Rollout is made")
}

// rollBackTo asks for the revision of this Rollout to be brought back.
func (t *turn) rollBackTo(c Command) (v1alpha1.CommandOutcome, string) {
	switch {
	case t.st.Restored != nil && t.st.Restored.Command == c.Name:
		return obeyed("a Rollout that brings back revision %s is made", t.o.Spec.Revision)
	case t.st.Phase != v1alpha1.RolloutSucceeded:
		return refuse(ReasonCommandUnfit, "the Rollout is in phase %s; only the revision of one that has succeeded is brought back", t.st.Phase)
	case t.o.Newer == "":
		return refuse(ReasonCommandUnfit, "revision %s is what the newest Rollout has brought into service; name an older Rollout", t.o.Spec.Revision)
	}
	t.st.Restored = &v1alpha1.Approval{Actor: c.Actor, Command: c.Name}
	return obeyed("a Rollout that brings back revision %s is made", t.o.Spec.Revision)
}

func (t *turn) abortNow(c Command) (v1alpha1.CommandOutcome, string) {
	switch t.st.Phase {
	case v1alpha1.RolloutAborting, v1alpha1.RolloutAborted:
		if by := t.cause(); by.Code != ReasonAbortCommand || by.Message != sentence(c) {
			return obeyed("aborted: %s", by.Message)
		}
	case v1alpha1.RolloutPending:
		t.record(t.end(ReasonAbortCommand, "%s", sentence(c)))
	case v1alpha1.RolloutProgressing, v1alpha1.RolloutPromoting, v1alpha1.RolloutSucceeded:
		t.record(t.abort(ReasonAbortCommand, "%s", sentence(c)))
	}
	return obeyed("%s", t.wayBack())
}

// wayBack is what a command that aborts is answered, however often: what it begins.
func (t *turn) wayBack() string {
	begun := func(e v1alpha1.HistoryEntry) bool {
		return e.Phase != v1alpha1.RolloutPending && e.Phase != v1alpha1.RolloutAborted
	}
	switch {
	case !slices.ContainsFunc(t.st.History, begun):
		return "aborted before it began: nothing was changed"
	case t.kind == kindFirst:
		return "aborting: the revision is taken out of service and deleted"
	case t.rolling:
		return "aborting: the workload goes back to revision " + t.stableName()
	}
	return "aborting: all of the traffic goes back to revision " + t.stableName()
}

// sentence is who aborted and why.
func sentence(c Command) string {
	who := c.Actor
	if who == "" {
		who = "somebody"
	}
	if c.Reason == "" {
		return fmt.Sprintf("aborted by %s (RolloutCommand %s)", who, c.Name)
	}
	return fmt.Sprintf("aborted by %s (RolloutCommand %s): %s", who, c.Name, c.Reason)
}

func obeyed(format string, args ...any) (v1alpha1.CommandOutcome, string) {
	return v1alpha1.OutcomeApplied, fmt.Sprintf(format, args...)
}

func refuse(code, format string, args ...any) (v1alpha1.CommandOutcome, string) {
	return v1alpha1.OutcomeRefused, code + ": " + fmt.Sprintf(format, args...)
}
