package plan

import (
	"time"

	"tidegate.io/tidegate/schemas/v1alpha1"
)

// Knowledge says how far a fact can be relied on. The zero value is Unknown: a fact
// that was never read is not a fact.
type Knowledge int

const (
	// Unknown is: it could not be read, or what was read is not current.
	Unknown Knowledge = iota
	// Absent is: it was looked for and is not there.
	Absent
	// Present is: it was read, and the fields beside it hold.
	Present
)

// Role names one of the two sets of a Rollout.
type Role string

const (
	// RoleStable is the set that served when the Rollout began.
	RoleStable Role = "stable"
	// RoleCanary is the set that the Rollout brings into service.
	RoleCanary Role = "canary"
	// RoleBaseline is a set of fresh pods of the stable revision to compare with.
	RoleBaseline Role = "baseline"
)

// Set is what was seen of one set of objects.
//
// With the strategy rolling both sets share one workload. Each set is then Present while
// the workload's template is of its revision, and Absent otherwise, so that at most one of
// them is Present; the counts are those of its revision's pods.
type Set struct {
	Knowledge Knowledge
	// UpToDate is true when every object of the set is as it was rendered, replicas
	// aside.
	UpToDate bool
	// Desired is the number of pods that the workload now asks for.
	Desired int32
	// Available is the number of pods that have been ready for long enough, as of the
	// workload's newest generation.
	Available int32
	// Autoscaled is true when an autoscaler of the set's own may ask for more pods than the
	// rollout does. It is known from the render, also of a set that is Absent.
	Autoscaled bool
	// Load is how many pods, in thousandths, the requests that the set gets now would take by the
	// measure of its autoscaler, whose bounds and delays aside; 0 where nobody has measured it.
	Load int64
	// Least and Most are how many pods its autoscaler lets the set have, as rendered; 0 where nothing
	// bounds it. They are known from the render, as Autoscaled is.
	Least, Most int32
	// Lifted is how many pods its autoscaler leaves the set at least, where these are not Least; else 0.
	Lifted int32
	// SelfSized is true for a workload that has as many pods as it finds fit (a DaemonSet one
	// for each node, a CronJob none that are waited for): Desired is what it asks for by
	// itself. With rolling alone.
	SelfSized bool
	// Held is how many pods the workload is told to leave at the revision that they have:
	// the partition of a StatefulSet. With rolling alone.
	Held int32
	// Leftovers is true while objects that are the revision's own, such as its ConfigMaps,
	// are there. With rolling alone.
	Leftovers bool
	// Older is how many pods of other revisions the workload still has, where it is one that is
	// changed in place and is taken for a set while the Release changes to sets or back.
	Older int32
	// Wide is true while a Service of such a workload selects the pods of every revision.
	Wide bool
}

// Traffic is what was read back from the route.
type Traffic struct {
	Knowledge Knowledge
	// Exposure is what the route carries. Where Spec.Stable is nil, or is the same revision, its
	// weight is 0 or 100.
	Exposure
	// Split is true for a plain Service that selects the pods of both revisions: the weight then
	// follows from their numbers, and is not read.
	Split bool
	// Settled is true when the gateway has accepted the route's newest generation.
	Settled bool
	// UpToDate is true when the route, weights aside, is as it was rendered for the phase
	// that the Rollout is in: by this Rollout from Promoting on, by the stable one before
	// that and where it was aborted.
	UpToDate bool
	// Lent is true where the revision in place has no route of its own, while the Release changes to sets or
	// back: the route is there for this Rollout, and goes when that revision is what serves after it.
	Lent bool
}

// Promotion is what the policies about promotion say of the next rise of exposure; see
// Rise. The zero value is Unknown, on which nothing rises.
type Promotion struct {
	Knowledge Knowledge
	// Allowed counts only where Knowledge is Present.
	Allowed bool
	// Code and Message are those of the policy that does not allow it, or why nothing is
	// known.
	Code, Message string
	// Until is when it may be allowed again; zero if that is not known.
	Until time.Time
}

// JobState is what was seen of the Job of the step that a Rollout is in.
type JobState struct {
	// Knowledge is Absent where there is no Job of this Name.
	Knowledge Knowledge
	Name      string
	// Finished is true when it has ended, Succeeded when it has ended well.
	Finished, Succeeded bool
	// Message says why it failed.
	Message string
}

// Call names one try of one hook.
type Call struct {
	// Hook is its name, Event why it is called: empty where a step names it.
	Hook  string
	Event v1alpha1.HookEvent
	// Step is the one that the Rollout is in; Falls is Status.Falls; Try counts from 1.
	Step, Falls, Try int32
}

// Answer is what is known of a Call that was begun. Of a Call without an Answer nothing is
// known: it was never begun, or by a manager that has died.
type Answer struct {
	Call
	// Done is false while it is under way.
	Done bool
	// Passed is: the answer was 2xx. Final is: another try makes no sense.
	Passed, Final bool
	// Message says what was answered.
	Message string
}

// Command is an unanswered RolloutCommand about this Rollout, oldest first.
type Command struct {
	// Name of the RolloutCommand.
	Name   string
	Action v1alpha1.CommandAction
	// Step that is approved or skipped, counted from 1.
	Step   int32
	Actor  string
	Reason string
}

// Observation is everything that a decision rests on: plain facts, read at one moment.
type Observation struct {
	Spec v1alpha1.RolloutSpec
	// Status is what the last decision left.
	Status v1alpha1.RolloutStatus
	// Older is the name of an older Rollout of the same Release that has not ended, or
	// empty.
	Older string
	// Newer is the name of a newer Rollout of the same Release, or empty.
	Newer string
	// Returns is true when Newer is to bring back the revision of Spec.Stable: what it asks for is
	// the way back.
	Returns bool
	// StableMoved is true when Spec.Stable is no longer what serves: a Rollout other than
	// the one it names was the last to succeed. What was pinned is then out of date; the
	// Rollout must not begin, and one that was aborted has nothing left to watch over.
	StableMoved bool
	// Stable is the zero Set with Knowledge Absent where Spec.Stable is nil. Where
	// Spec.Stable.Revision is Spec.Revision, Stable and Canary are the same objects.
	Stable Set
	Canary Set
	// Baseline is Absent where no step asks for one.
	Baseline Set
	// Shared is Present when the objects outside of the sets are as they were rendered,
	// by the same Rollout as the route, and Absent when they are not.
	Shared Knowledge
	// Narrow is true while a Service that is shared selects the pods of one revision alone, as a change from
	// sets leaves it. With rolling alone.
	Narrow bool
	// Traffic is not looked at with rolling: there the workload itself says which revision
	// is exposed.
	Traffic  Traffic
	Commands []Command
	// Job is that of the step that the Rollout is in: of the name that JobName returns.
	Job JobState
	// Answers are what is known of the calls of hooks.
	Answers []Answer
	// Promotion is asked before exposure rises, never before it falls.
	Promotion Promotion
}

// ActionKind is what is to be done.
type ActionKind string

const (
	// ActionApplyShared applies the objects that belong to no set, the route aside.
	ActionApplyShared ActionKind = "ApplyShared"
	// ActionEnsureSet makes the set of Role be as rendered, with Replicas pods, of which its autoscaler
	// is to leave Least, if that is more than was rendered. With rolling that is to change the workload in
	// place, leaving Held pods at the revision that they have.
	ActionEnsureSet ActionKind = "EnsureSet"
	// ActionSetWeight makes the route carry Exposure.
	ActionSetWeight ActionKind = "SetWeight"
	// ActionRunJob makes the Job named Job out of the object that step Step names.
	ActionRunJob ActionKind = "RunJob"
	// ActionStopJob deletes the Job named Job.
	ActionStopJob ActionKind = "StopJob"
	// ActionCallHook begins Call, unless it is under way.
	ActionCallHook ActionKind = "CallHook"
	// ActionMeasure takes one round of analysis and records it in Status.Analysis.
	ActionMeasure ActionKind = "Measure"
	// ActionRetire deletes the objects of the set of Role. With rolling the workload, which is
	// the other revision's too, stays unless there is no other.
	ActionRetire ActionKind = "Retire"
	// ActionAnswer records Outcome and Message on the RolloutCommand named Command.
	ActionAnswer ActionKind = "Answer"
)

// Action is one absolute, idempotent write. Fields beside Kind are set as its comment
// says and zero otherwise.
type Action struct {
	Kind     ActionKind
	Role     Role
	Replicas int32
	Held     int32
	Least    int32
	Exposure Exposure
	Step     int32
	Job      string
	Call     Call
	Command  string
	Outcome  v1alpha1.CommandOutcome
	Message  string
}

// Decision is what is to be recorded, done and waited for.
type Decision struct {
	// Status is to be written before the first action. Its conditions are the shell's to
	// derive.
	Status v1alpha1.RolloutStatus
	// Actions are to be executed in order, stopping at the first that fails.
	Actions []Action
	// RequeueAfter is when to decide again though nothing was seen to change; 0 is never.
	RequeueAfter time.Duration
}
