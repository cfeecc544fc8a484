package plan

import (
	"fmt"
	"slices"

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
	switch c.Action {
	case v1alpha1.CommandApprove:
		return t.approveStep(c)
	case v1alpha1.CommandPause:
		t.st.Paused = true
		return obeyed("paused: exposure does not rise and nothing is retired until a RolloutCommand resume")
	case v1alpha1.CommandResume:
		t.st.Paused = false
		return obeyed("resumed")
	case v1alpha1.CommandAbort:
		return t.abortNow(c)
	}
	return refuse(ReasonCommandUnfit, "the action %q is not known; use approve, pause, resume or abort", c.Action)
}

// tooLate says why a command can no longer matter, or nothing.
func (t *turn) tooLate(c Command) (code, why string) {
	abort := c.Action == v1alpha1.CommandAbort
	switch phase := t.st.Phase; {
	case phase == v1alpha1.RolloutSucceeded:
		return ReasonCommandLate, "the Rollout has succeeded; to return to an older revision apply the Release with its values"
	case phase == v1alpha1.RolloutAborted && !abort:
		return ReasonCommandLate, "the Rollout has been aborted; apply a corrected Release to try again"
	case phase == v1alpha1.RolloutAborting && !abort:
		return ReasonCommandLate, "the Rollout is being aborted, which cannot be stopped"
	case t.st.Retiring:
		return ReasonCommandLate, fmt.Sprintf(
			"the old revision %s is being deleted, there is no way back; to return to it apply the Release with its values", t.stableName())
	}
	return "", ""
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
	case t.kind != kindCanary:
		return refuse(ReasonCommandUnfit, "the Rollout has no steps, so that nothing waits for an approval")
	case t.st.Phase == v1alpha1.RolloutPromoting:
		return refuse(ReasonCommandLate, "all steps are passed, so that nothing waits for an approval")
	case t.st.Phase == v1alpha1.RolloutPending || k == 0:
		return refuse(ReasonCommandUnfit, "step %d was approved and no step has begun yet; approve a step while the Rollout is in it", c.Step)
	case c.Step != k:
		return refuse(ReasonCommandUnfit, "step %d was approved and the Rollout is in step %d; approve a step while the Rollout is in it", c.Step, k)
	case !t.steps[k-1].Approval:
		return refuse(ReasonCommandUnfit, "step %d asks for no approval", k)
	}
	// A policy may want more people than one, or another than the first: each counts once.
	if a := t.approval(k); a != nil && (t.approvedBy(k, c.Actor) || len(t.st.Approvals) >= maxApprovals) {
		return obeyed("step %d was approved by %s already", k, a.Actor)
	}
	t.st.Approvals = append(t.st.Approvals, v1alpha1.Approval{Step: k, Actor: c.Actor, Command: c.Name})
	return obeyed("step %d is approved", k)
}

func (t *turn) abortNow(c Command) (v1alpha1.CommandOutcome, string) {
	switch t.st.Phase {
	case v1alpha1.RolloutAborting, v1alpha1.RolloutAborted:
		return obeyed("aborted: %s", t.cause().Message)
	case v1alpha1.RolloutPending:
		t.record(t.end(ReasonAbortCommand, "%s", sentence(c)))
		return obeyed("aborted before it began: nothing was changed")
	case v1alpha1.RolloutProgressing, v1alpha1.RolloutPromoting, v1alpha1.RolloutSucceeded:
	}
	t.record(t.abort(ReasonAbortCommand, "%s", sentence(c)))
	if t.kind == kindFirst {
		return obeyed("aborting: the revision is taken out of service and deleted")
	}
	if t.rolling {
		return obeyed("aborting: the workload goes back to revision %s", t.stableName())
	}
	return obeyed("aborting: all of the traffic goes back to revision %s", t.stableName())
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
