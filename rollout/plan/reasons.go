package plan

// Reason codes of phases and moves. Each is the reason of a status or of an entry in
// its history.
const (
	// ReasonPendingOlder is: an older Rollout of the Release has not ended.
	ReasonPendingOlder = "TG-PENDING-OLDER"
	// ReasonBegun is: the Rollout has begun.
	ReasonBegun = "TG-BEGUN"
	// ReasonStepApproved is: every gate before a step let pass, its exposure is approved.
	ReasonStepApproved = "TG-STEP-APPROVED"
	// ReasonStepReached is: a step that exposes nothing more was come to.
	ReasonStepReached = "TG-STEP-REACHED"
	// ReasonStepBegun is: the route carries the weight of the step; its gates count from now.
	ReasonStepBegun = "TG-STEP-BEGUN"
	// ReasonPromoting is: every step is passed; the new revision has all of the traffic.
	ReasonPromoting = "TG-PROMOTING"
	// ReasonDraining is: a set without traffic is kept until its requests have ended.
	ReasonDraining = "TG-DRAINING"
	// ReasonRetiring is: a set is being deleted.
	ReasonRetiring = "TG-RETIRING"
	// ReasonSucceeded is: the revision is the stable one.
	ReasonSucceeded = "TG-SUCCEEDED"
	// ReasonRepairing is: the Rollout has ended and something it keeps is being put right.
	ReasonRepairing = "TG-REPAIRING"
	// ReasonFallbackPods is: exposure was lowered since pods of the new revision were lost.
	ReasonFallbackPods = "TG-FALLBACK-PODS"
	// ReasonFallbackStale is: an approved exposure did not reach the route in time, or was
	// taken off it, so the gates before it must pass again.
	ReasonFallbackStale = "TG-FALLBACK-STALE"
)

// Reason codes of holds: nothing is wrong with the Rollout itself, and it does not go on.
const (
	// ReasonHoldUnknown is: something could not be read.
	ReasonHoldUnknown = "TG-HOLD-UNKNOWN"
	// ReasonHoldPods is: the new set has too few available pods.
	ReasonHoldPods = "TG-HOLD-PODS"
	// ReasonHoldStable is: the stable set is not whole.
	ReasonHoldStable = "TG-HOLD-STABLE"
	// ReasonHoldRoute is: the route does not carry the approved weight yet, or the gateway
	// has not accepted it.
	ReasonHoldRoute = "TG-HOLD-ROUTE"
	// ReasonHoldPaused is: somebody paused the Rollout.
	ReasonHoldPaused = "TG-HOLD-PAUSED"
	// ReasonHoldTime is: the step has not lasted for its hold.
	ReasonHoldTime = "TG-HOLD-TIME"
	// ReasonHoldAnalysis is: there is no fresh round of analysis of this step yet.
	ReasonHoldAnalysis = "TG-HOLD-ANALYSIS"
	// ReasonHoldNoData is: the last round of analysis is Unknown.
	ReasonHoldNoData = "TG-HOLD-NODATA"
	// ReasonHoldInconclusive is: the last round of analysis has too little evidence.
	ReasonHoldInconclusive = "TG-HOLD-INCONCLUSIVE"
	// ReasonHoldGrace is: a change of the route is given time to reach every proxy.
	ReasonHoldGrace = "TG-HOLD-GRACE"
	// ReasonHoldJob is: the job of a step is running.
	ReasonHoldJob = "TG-HOLD-JOB"
	// ReasonHoldHook is: a hook is being called, or does not let pass yet.
	ReasonHoldHook = "TG-HOLD-HOOK"
	// ReasonHoldBaseline is: the baseline set has too few available pods.
	ReasonHoldBaseline = "TG-HOLD-BASELINE"
	// ReasonHoldApproval is: the step waits for a person's approval.
	ReasonHoldApproval = "TG-HOLD-APPROVAL"
	// ReasonHoldPolicy is: a policy about promotion does not let exposure rise now, or could
	// not be asked.
	ReasonHoldPolicy = "TG-HOLD-POLICY"
)

// Reason codes of aborts.
const (
	// ReasonAnalysisFail is: the analysis found the new revision bad.
	ReasonAnalysisFail = "TG-ANALYSIS-FAIL"
	// ReasonJobFailed is: the job of a step failed.
	ReasonJobFailed = "TG-JOB-FAILED"
	// ReasonHookFailed is: a hook refused, or could not be reached.
	ReasonHookFailed = "TG-HOOK-FAILED"
	// ReasonAbortCommand is: a person aborted the Rollout.
	ReasonAbortCommand = "TG-ABORT-COMMAND"
	// ReasonAbortSuperseded is: a newer Rollout of the Release takes over.
	ReasonAbortSuperseded = "TG-ABORT-SUPERSEDED"
	// ReasonAbortRoute is: no gateway accepted the route in time.
	ReasonAbortRoute = "TG-ABORT-ROUTE"
	// ReasonAbortDeadline is: the new set did not get enough available pods in time.
	ReasonAbortDeadline = "TG-ABORT-DEADLINE"
	// ReasonAbortOutdated is: what the Rollout pinned as stable no longer serves.
	ReasonAbortOutdated = "TG-ABORT-OUTDATED"
)

// Reason codes of refused commands.
const (
	// ReasonCommandLate is: the command came after the point where it could matter.
	ReasonCommandLate = "TG-COMMAND-LATE"
	// ReasonCommandReason is: the template asks for a reason and the command has none.
	ReasonCommandReason = "TG-COMMAND-REASON"
	// ReasonCommandUnfit is: the command does not fit what the Rollout waits for.
	ReasonCommandUnfit = "TG-COMMAND-UNFIT"
)
