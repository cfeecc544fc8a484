package controller

import (
	"strings"

	"tidegate.io/tidegate/schemas/render"
)

// Reason codes of the release and the rollout loop. Those of decisions about a Rollout are
// package plan's, those of values and templates package render's.
const (
	// ReasonTemplateMissing is: the template, or the revision of it that is pinned, is not
	// there.
	ReasonTemplateMissing = "TG-TEMPLATE-MISSING"
	// ReasonTemplateBroken is package render's: the template fails for a reason of its own.
	ReasonTemplateBroken = render.ReasonTemplateBroken
	// ReasonEngineDrift is: the same inputs render to something else than when they were
	// judged.
	ReasonEngineDrift = "TG-ENGINE-DRIFT"
	// ReasonNotRendered is: the pinned inputs of a Rollout cannot be rendered at all.
	ReasonNotRendered = "TG-NOT-RENDERED"
	// ReasonRolloutQueued is: a new revision waits for the promotion that is under way.
	ReasonRolloutQueued = "TG-ROLLOUT-QUEUED"
	// ReasonRolloutResized is: a Rollout that is under way was given another size.
	ReasonRolloutResized = "TG-ROLLOUT-RESIZED"
	// ReasonReleaseFormer is: what a former Release of the same name left is not gone yet.
	ReasonReleaseFormer = "TG-RELEASE-FORMER"
	// ReasonStrategyChange is: a Release cannot go from sets to a shared workload, or back.
	ReasonStrategyChange = "TG-STRATEGY-CHANGE"
	// ReasonRouterChange is: a Release cannot go from one router to another.
	ReasonRouterChange = "TG-ROUTER-CHANGE"
	// ReasonReleaseRestored is: a person has brought back another revision than the one that the
	// spec asks for, and nobody has applied the Release since.
	ReasonReleaseRestored = "TG-RELEASE-RESTORED"
	// ReasonCleared is: an object that what serves does not have is deleted.
	ReasonCleared = "TG-RELEASE-CLEARED"
	// ReasonApplyFailed is: the cluster refuses what a decision asks for.
	ReasonApplyFailed = "TG-APPLY-FAILED"
	// ReasonReleasePending is: the first Rollout has not begun.
	ReasonReleasePending = "TG-RELEASE-PENDING"
)

// conditionReason makes the CamelCase word that conditions and events need of a code:
// TG-ANALYSIS-FAIL becomes AnalysisFail.
func conditionReason(code string) string {
	var out strings.Builder
	for word := range strings.SplitSeq(strings.TrimPrefix(code, "TG-"), "-") {
		if word == "" {
			continue
		}
		out.WriteString(word[:1])
		out.WriteString(strings.ToLower(word[1:]))
	}
	if out.Len() == 0 {
		return "Unknown"
	}
	return out.String()
}
