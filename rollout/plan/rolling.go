package plan

import (
	"fmt"
	"time"

	"tidegate.io/tidegate/schemas/v1alpha1"
)

// With the strategy rolling there is one workload and no route: the pods that are of the
// new revision are the exposure. So the order is the other way round: first the gates let
// a share pass, then the workload is told, then the pods are read back. Until they are
// there the step has not begun. Weights are shares of pods, and weight above 0 means that
// the workload's template is the new revision's.
//
// Pods that were replaced do not come back by telling the workload less, so lost pods hold
// the Rollout and, at its deadline, abort it; there is no lower step to fall back to.

// rollingGuards walk the steps of a workload that is changed in place.
var rollingGuards = []guard{
	superseded,
	failedAnalysis,
	overdue,
	approvalStale,
	blind,
	behindOlder,
	rolledOut, // the workload is as allowed, and its pods are there
	stepBegins,
	heldByPause,
	heldByHooks,
	heldByTime,
	heldByJob,
	heldByHook,
	heldByAnalysis,
	heldByApproval,
	heldByPromotion,
	advances,
}

// rollingSoloGuards make a first install, or change the size of what runs.
var rollingSoloGuards = []guard{
	superseded,
	overdue,
	blind,
	behindOlder,
	soloBegins,
	soloApproved,
	rolledOut,
	soloWhole,
	heldByPause,
	soloSucceeds,
}

// rollingPromotingGuards clear up what only the old revision needed. Nothing drains.
var rollingPromotingGuards = []guard{
	retires,
	rollingSupersededLate,
	failedAnalysis,
	overdue,
	approvalStale,
	blind,
	rolledOut,
	heldByPause,
	retirementDecided,
}

// rollingAbortingGuards put the old revision back and clear up what only the new one
// needed.
var rollingAbortingGuards = []guard{
	tellsOfRollback,
	jobStops,
	rolledBack,
	returnedInPlace,
	swept,
}

// rollingSize is the size of a workload that is asked to have replicas pods: its own where
// it sizes itself, and at least what its autoscaler asks for now.
func (t *turn) rollingSize(replicas int32, s Set) int32 {
	live := t.o.Canary
	if live.Knowledge != Present {
		live = t.o.Stable
	}
	switch {
	case live.Knowledge != Present && s.SelfSized:
		return 0
	case s.SelfSized:
		return live.Desired
	case live.Knowledge == Present && s.Autoscaled:
		return max(replicas, live.Desired)
	}
	return max(0, replicas)
}

// share is how many pods are of the new revision at a weight.
func (t *turn) share(weight int32) int32 { return t.shareOf(t.whole, weight) }

// shareOf is share in a workload of size pods.
func (t *turn) shareOf(size, weight int32) int32 {
	switch {
	case weight <= 0 || size == 0:
		return 0
	case t.o.Canary.SelfSized:
		return size
	}
	return need(size, weight)
}

// held is how many pods the workload is to leave as they are at a weight.
func (t *turn) held(weight int32) int32 { return t.heldOf(t.whole, weight) }

// heldOf is held in a workload of size pods.
func (t *turn) heldOf(size, weight int32) int32 {
	if t.o.Canary.SelfSized {
		return 0
	}
	return size - t.shareOf(size, weight)
}

// readWorkload makes the exposure out of what the workload is told, where there is no route.
func (t *turn) readWorkload() {
	s := t.o.Canary
	switch s.Knowledge {
	case Unknown:
		t.o.Traffic = Traffic{}
	case Absent:
		t.o.Traffic = Traffic{Knowledge: Present, Settled: true, UpToDate: true}
	case Present:
		t.o.Traffic = Traffic{Knowledge: Present, Settled: true, UpToDate: s.UpToDate, Exposure: Exposure{Weight: t.told(s)}}
	}
}

// told is the weight that the workload, which is of the new revision, is told to have: the
// approved one where that comes to the same, else that of the highest step that it
// reaches, and 0 where it does not reach the first.
func (t *turn) told(s Set) int32 {
	size := t.toldSize()
	if w := t.st.ApprovedWeight; w > 0 && t.heldOf(size, w) == s.Held {
		return w
	}
	k := t.last()
	for k > 0 && t.heldOf(size, t.weightOf(k)) < s.Held {
		k--
	}
	return t.weightOf(k)
}

// asAllowed says whether the workload is known to be told exactly what is approved.
func (t *turn) asAllowed() bool {
	s := t.o.Canary
	return s.Knowledge == Present && s.UpToDate && s.sized(t.whole) && s.Held == t.held(t.st.ApprovedWeight)
}

// adds says whether telling the workload what is approved means more pods of the new
// revision.
func (t *turn) adds() bool {
	s := t.o.Canary
	return s.Knowledge != Present || s.Held > t.heldOf(t.toldSize(), t.st.ApprovedWeight)
}

func (t *turn) whereRolling() string {
	if t.kind != kindCanary {
		return "revision " + t.o.Spec.Revision
	}
	return fmt.Sprintf("step %d/%d: %d %% of the pods of revision %s",
		t.st.Step, t.last(), t.st.ApprovedWeight, t.o.Spec.Revision)
}

func (t *turn) rolledMessage() string {
	if t.o.Canary.SelfSized && t.whole == 0 {
		return fmt.Sprintf("revision %s is in force", t.o.Spec.Revision)
	}
	if t.o.Canary.Autoscaled && t.st.Phase == v1alpha1.RolloutSucceeded {
		return fmt.Sprintf("revision %s runs in all pods; its autoscaler sizes it, from %d pods up", t.o.Spec.Revision, max(0, t.o.Spec.Replicas))
	}
	return fmt.Sprintf("revision %s runs in all %d pods", t.o.Spec.Revision, t.whole)
}

func rolledOut(t *turn) ruling {
	if t.st.ApprovedWeight == 0 {
		if t.o.Canary.Knowledge == Absent {
			return silence
		}
		t.wake(t.now.Add(look))
		return hold(ReasonHoldPods, "%s, waiting: the workload is being put back to revision %s first", t.where(), t.stableName())
	}
	if !t.asAllowed() {
		t.wake(t.now.Add(look))
		if t.adds() {
			if t.st.ApprovedAt != nil {
				t.wake(t.st.ApprovedAt.Add(approvalLife + time.Microsecond))
			}
			if r := t.raiseBlocked(); !r.silent {
				return r
			}
		}
		return hold(ReasonHoldPods, "%s, on the way: the workload is not as it is to be yet", t.where())
	}
	if have := t.share(t.st.ApprovedWeight); t.o.Canary.Available < have {
		return hold(ReasonHoldPods, "%s, holding: %s pods are available; %s", t.where(), t.pods(), t.podsRemedy())
	}
	return silence
}

// rollingSupersededLate does not wait for pods that may never come.
func rollingSupersededLate(t *turn) ruling {
	if t.o.Newer == "" || !t.st.Paused && t.asAllowed() && t.o.Canary.Available >= t.whole {
		return silence
	}
	return superseded(t)
}

func rolledBack(t *turn) ruling {
	if t.kind != kindCanary || t.returned() {
		return silence
	}
	t.wake(t.now.Add(look))
	if t.o.Stable.Knowledge == Unknown {
		return t.aborting("the workload cannot be read; putting it back to revision %s", t.stableName())
	}
	return t.aborting("the workload goes back to revision %s: %d of %d pods are available",
		t.stableName(), t.o.Stable.available(), t.stableWhole)
}

// returned says whether the old revision is in force and has its pods, or has had the
// progress deadline to get them: an abort must end, and a newer Rollout may be the cure.
func (t *turn) returned() bool {
	return t.stableAsked() && (t.o.Stable.Available >= t.stableWhole || t.stableGivenUp())
}

func swept(t *turn) ruling {
	s := t.o.Canary
	switch {
	case s.Knowledge == Absent && !s.Leftovers:
		return t.aborted()
	case s.Knowledge == Unknown:
		t.wake(t.now.Add(look))
		return t.aborting("what is left of revision %s cannot be read", t.o.Spec.Revision)
	}
	t.wake(t.now.Add(look))
	return t.aborting("what is left of revision %s is being deleted", t.o.Spec.Revision)
}

func succeededRollingRepairs(t *turn) ruling {
	s := t.o.Canary
	if s.Knowledge == Unknown || t.o.Shared == Unknown {
		t.wake(t.now.Add(look))
		return hold(t.st.Reason, "%s", t.st.Message)
	}
	if t.asAllowed() && t.o.Shared == Present {
		return silence
	}
	return hold(ReasonRepairing, "putting right what was changed outside of Tidegate: revision %s has %d of %d pods available",
		t.o.Spec.Revision, s.available(), t.whole)
}

func abortedRollingRepairs(t *turn) ruling {
	if t.kind == kindFirst {
		return silence
	}
	if t.o.Stable.Knowledge == Unknown || t.o.Shared == Unknown {
		t.wake(t.now.Add(look))
		return hold(t.st.Reason, "%s", t.st.Message)
	}
	if t.stableAsked() && t.o.Shared == Present {
		return silence
	}
	return t.aborting("putting right what was changed outside of Tidegate: the stable revision %s has %d of %d pods available",
		t.stableName(), t.o.Stable.available(), t.stableWhole)
}

// roll is the EnsureSet action for the new revision: the workload with the approved share.
func (t *turn) roll() (Action, bool) {
	switch t.st.Phase {
	case v1alpha1.RolloutPending, v1alpha1.RolloutAborting, v1alpha1.RolloutAborted:
		return Action{}, false
	case v1alpha1.RolloutProgressing, v1alpha1.RolloutPromoting, v1alpha1.RolloutSucceeded:
	}
	if !t.inCharge() || t.st.ApprovedWeight == 0 || t.o.Canary.Knowledge == Unknown || t.asAllowed() ||
		t.adds() && !t.raiseBlocked().silent {
		return Action{}, false
	}
	return Action{Kind: ActionEnsureSet, Role: RoleCanary, Replicas: t.whole, Held: t.held(t.st.ApprovedWeight)}, true
}

// rollBack is the EnsureSet action for the old revision: after an abort, and while nothing
// of the new one is approved.
func (t *turn) rollBack() (Action, bool) {
	owed := false
	switch t.st.Phase {
	case v1alpha1.RolloutProgressing, v1alpha1.RolloutPromoting:
		owed = t.kind == kindCanary && t.st.ApprovedWeight == 0
	case v1alpha1.RolloutAborting, v1alpha1.RolloutAborted:
		owed = t.kind != kindFirst
	case v1alpha1.RolloutPending, v1alpha1.RolloutSucceeded:
	}
	return Action{Kind: ActionEnsureSet, Role: RoleStable, Replicas: t.stableWhole},
		t.inCharge() && owed && t.o.Stable.Knowledge != Unknown && !t.stableAsked()
}

// sweep is the Retire action: of what only the old revision needed once there is no way
// back to it, and of what only the new one needed once the old one is back.
func (t *turn) sweep() (Action, bool) {
	switch t.st.Phase {
	case v1alpha1.RolloutPromoting:
		return Action{Kind: ActionRetire, Role: RoleStable},
			t.st.Retiring && t.o.Stable.Leftovers && t.o.Canary.Knowledge == Present
	case v1alpha1.RolloutAborting:
		s := t.o.Canary
		left := s.Leftovers && s.Knowledge == Absent && t.kind == kindCanary && t.returned() ||
			t.kind == kindFirst && (s.Knowledge == Present || s.Leftovers)
		return Action{Kind: ActionRetire, Role: RoleCanary}, left
	case v1alpha1.RolloutPending, v1alpha1.RolloutProgressing, v1alpha1.RolloutSucceeded, v1alpha1.RolloutAborted:
	}
	return Action{}, false
}
