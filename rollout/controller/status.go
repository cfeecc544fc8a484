package controller

import (
	"cmp"
	"fmt"
	"time"

	"k8s.io/apimachinery/pkg/api/meta"
	metav1 "k8s.io/apimachinery/pkg/apis/meta/v1"

	"tidegate.io/tidegate/rollout/manifest"
	"tidegate.io/tidegate/rollout/plan"
	"tidegate.io/tidegate/schemas/v1alpha1"
)

// conditionApplied is False while the cluster refuses what a decision asks for, and absent
// otherwise.
const conditionApplied = "Applied"

// conditionDrift is True on a Release while this version's engine would render it
// differently from what was judged, and on a template while that is so for any of its
// Releases; absent otherwise.
const conditionDrift = "EngineDrift"

// conditions sets Ready, Reconciling and Stalled as kstatus reads them: Reconciling and
// Stalled are there only while True, and never together.
type conditions struct {
	list       *[]metav1.Condition
	generation int64
	now        time.Time
}

func (c conditions) set(kind string, status metav1.ConditionStatus, reason, message string) {
	meta.SetStatusCondition(c.list, metav1.Condition{
		Type:               kind,
		Status:             status,
		ObservedGeneration: c.generation,
		LastTransitionTime: metav1.NewTime(c.now),
		Reason:             reason,
		Message:            message,
	})
}

func (c conditions) ready(reason, message string) {
	c.set(v1alpha1.ConditionReady, metav1.ConditionTrue, reason, message)
	meta.RemoveStatusCondition(c.list, v1alpha1.ConditionReconciling)
	meta.RemoveStatusCondition(c.list, v1alpha1.ConditionStalled)
}

func (c conditions) reconciling(reason, message string) {
	c.set(v1alpha1.ConditionReady, metav1.ConditionFalse, reason, message)
	c.set(v1alpha1.ConditionReconciling, metav1.ConditionTrue, reason, message)
	meta.RemoveStatusCondition(c.list, v1alpha1.ConditionStalled)
}

func (c conditions) stalled(reason, message string) {
	c.set(v1alpha1.ConditionReady, metav1.ConditionFalse, reason, message)
	c.set(v1alpha1.ConditionStalled, metav1.ConditionTrue, reason, message)
	meta.RemoveStatusCondition(c.list, v1alpha1.ConditionReconciling)
}

// drifted records that the engine would render something else than was judged; any other
// cause removes the record.
func (c conditions) drifted(cause *v1alpha1.Cause) {
	if cause == nil || cause.Code != ReasonEngineDrift {
		meta.RemoveStatusCondition(c.list, conditionDrift)
		return
	}
	c.set(conditionDrift, metav1.ConditionTrue, conditionReason(cause.Code), cause.Code+": "+cause.Message)
}

// applied records whether the last actions went through; nil removes the record.
func (c conditions) applied(err error) {
	if err == nil {
		meta.RemoveStatusCondition(c.list, conditionApplied)
		return
	}
	c.set(conditionApplied, metav1.ConditionFalse, conditionReason(ReasonApplyFailed), ReasonApplyFailed+": "+err.Error())
}

// rolloutConditions derives the conditions of a Rollout from the rest of its status.
func rolloutConditions(rollout *v1alpha1.Rollout, status *v1alpha1.RolloutStatus, now time.Time) {
	c := conditions{&status.Conditions, rollout.Generation, now}
	reason := conditionReason(status.Reason)
	switch status.Phase {
	case v1alpha1.RolloutSucceeded:
		c.ready(reason, status.Message)
	case v1alpha1.RolloutAborted:
		c.stalled(reason, status.Message)
	case v1alpha1.RolloutPending, v1alpha1.RolloutProgressing, v1alpha1.RolloutPromoting, v1alpha1.RolloutAborting:
		c.reconciling(reason, status.Message)
	default:
		c.reconciling(reason, status.Message)
	}
}

// report is what the release loop found out about a Release.
type report struct {
	// revision and templateRevision are what the spec renders to; empty when it cannot be
	// rendered.
	revision, templateRevision string
	// tried is the template revision that it was tried with; empty when there is none.
	tried string
	// rollouts are all there are, by number.
	rollouts []v1alpha1.Rollout
	// cause is why the spec is not being rolled out, nil when it is; stalled says that
	// somebody has to act on it.
	cause   *v1alpha1.Cause
	stalled bool
	// restored says that the newest Rollout has brought back another revision than the one that
	// the spec asks for.
	restored bool
	// breakGlasses are the exemptions under which the Release was touched.
	breakGlasses []v1alpha1.ReleaseBreakGlass
}

// releaseStatus derives the status of a Release. Nothing in it is invented here: what the
// newest Rollout says is what the Release says, unless the spec did not get that far.
func releaseStatus(release *v1alpha1.Release, r report, now time.Time) v1alpha1.ReleaseStatus {
	out := *release.Status.DeepCopy()
	out.ObservedGeneration = release.Generation
	if r.revision != "" {
		out.Revision, out.TemplateRevision = r.revision, r.templateRevision
	}
	out.Tried = cmp.Or(r.tried, out.Tried)
	out.BreakGlass = r.breakGlasses
	if stable := newestSucceeded(r.rollouts); stable != nil {
		out.StableRevision, out.StableRollout = stable.Spec.Revision, stable.Name
	}
	newest := reportProgress(&out, r.rollouts)
	c := conditions{&out.Conditions, release.Generation, now}
	c.drifted(r.cause)
	switch {
	case r.cause != nil && r.stalled:
		out.Phase, out.Message = v1alpha1.ReleaseInvalid, r.cause.Message+serving(newest)
		c.stalled(conditionReason(r.cause.Code), r.cause.Code+": "+out.Message)
	case r.cause != nil && r.cause.Code == ReasonEngineDrift && newest != nil:
		// What was judged runs on; only the person who applies the Release next has to know.
		reportRollout(&out, c, newest)
		out.Message = r.cause.Code + ": " + r.cause.Message
	case r.cause != nil:
		out.Phase, out.Message = v1alpha1.ReleasePending, r.cause.Message+serving(newest)
		if newest != nil {
			out.Phase = v1alpha1.ReleaseProgressing
		}
		c.reconciling(conditionReason(r.cause.Code), r.cause.Code+": "+out.Message)
	case newest == nil:
		out.Phase, out.Message = v1alpha1.ReleasePending, "the first Rollout has not begun"
		c.reconciling(conditionReason(ReasonReleasePending), out.Message)
	case r.restored:
		reportRestored(release, &out, c, newest)
	default:
		reportRollout(&out, c, newest)
	}
	return out
}

// reportProgress says how far the newest Rollout is, and returns it; nil where there is none.
func reportProgress(out *v1alpha1.ReleaseStatus, rollouts []v1alpha1.Rollout) *v1alpha1.Rollout {
	out.Step, out.Weight = "", 0
	if len(rollouts) == 0 {
		return nil
	}
	newest := &rollouts[len(rollouts)-1]
	out.Rollout = newest.Name
	if out.Revision == newest.Spec.Revision {
		out.Weight = newest.Status.Weight
	}
	if newest.Status.Step > 0 && !manifest.InPlace(newest.Spec) {
		out.Step = fmt.Sprintf("%d/%d", newest.Status.Step, len(plan.Walked(newest.Spec)))
	}
	return newest
}

// reportRestored says that what serves is not what the spec asks for, and that this is meant.
// It is Stalled, so that no tool takes the revision of the spec for the one that lives.
func reportRestored(release *v1alpha1.Release, out *v1alpha1.ReleaseStatus, c conditions, newest *v1alpha1.Rollout) {
	back := newest.Spec.Restores
	out.Phase = v1alpha1.ReleaseAborted
	out.Message = fmt.Sprintf("revision %s of Rollout %s serves, which %s brought back (RolloutCommand %s); the spec asks for revision %s, which is not rolled out. "+
		"Apply the Release with a change to roll it out: kubectl edit release %s -n %s",
		newest.Spec.Revision, back.Rollout, cmp.Or(back.Actor, "somebody"), back.Command, out.Revision, release.Name, release.Namespace)
	c.stalled(conditionReason(ReasonReleaseRestored), ReasonReleaseRestored+": "+out.Message)
}

// serving tells people what a broken spec leaves alone.
func serving(newest *v1alpha1.Rollout) string {
	switch {
	case newest == nil:
		return ""
	case newest.Status.Phase == v1alpha1.RolloutSucceeded:
		return fmt.Sprintf(" (revision %s serves on)", newest.Spec.Revision)
	case newest.Spec.Stable != nil && newest.Status.Phase == v1alpha1.RolloutAborted:
		return fmt.Sprintf(" (revision %s serves on)", newest.Spec.Stable.Revision)
	case newest.Status.Phase == v1alpha1.RolloutAborted:
		return ""
	}
	return fmt.Sprintf(" (Rollout %s goes on)", newest.Name)
}

// reportRollout makes the Release say what its newest Rollout says.
func reportRollout(out *v1alpha1.ReleaseStatus, c conditions, newest *v1alpha1.Rollout) {
	s := &newest.Status
	out.Message = s.Message
	if applied := meta.FindStatusCondition(s.Conditions, conditionApplied); applied != nil {
		out.Message = applied.Message
	}
	reason := conditionReason(s.Reason)
	switch s.Phase {
	case v1alpha1.RolloutSucceeded:
		out.Phase = v1alpha1.ReleaseServing
		c.ready(reason, out.Message)
	case v1alpha1.RolloutAborted:
		out.Phase = v1alpha1.ReleaseAborted
		c.stalled(reason, out.Message)
	case v1alpha1.RolloutAborting:
		out.Phase = v1alpha1.ReleaseAborting
		c.reconciling(reason, out.Message)
	case v1alpha1.RolloutProgressing, v1alpha1.RolloutPromoting:
		out.Phase = v1alpha1.ReleaseProgressing
		if waitsForPerson(newest) {
			out.Phase = v1alpha1.ReleasePaused
		}
		c.reconciling(reason, out.Message)
	case v1alpha1.RolloutPending:
		fallthrough
	default:
		out.Phase = v1alpha1.ReleasePending
		if newest.Spec.Number > 1 {
			out.Phase = v1alpha1.ReleaseProgressing
		}
		if out.Message == "" {
			out.Message = fmt.Sprintf("Rollout %s has not begun", newest.Name)
		}
		if s.Reason == "" {
			reason = conditionReason(ReasonReleasePending)
		}
		c.reconciling(reason, out.Message)
	}
}

// waitsForPerson says whether nothing but a person's command moves the Rollout on.
func waitsForPerson(rollout *v1alpha1.Rollout) bool {
	return rollout.Status.Paused || rollout.Status.Reason == plan.ReasonHoldApproval
}
