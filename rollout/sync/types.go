package sync

import (
	"time"

	"k8s.io/apimachinery/pkg/types"

	"tidegate.io/tidegate/schemas/v1alpha1"
)

// Rollout is what was seen of a Release's newest Rollout.
type Rollout struct {
	Name string
	// TemplateRevision is the name of the revision that it pins.
	TemplateRevision string
	Phase            v1alpha1.RolloutPhase
	// First is true where it has nothing to return to.
	First bool
	// Paused is true while a person's pause stands.
	Paused bool
	// Waits is true while it waits for a person's approval.
	Waits bool
	// Blameless is true where it was aborted for reasons that are not its own: another
	// one took over, or what it was over had changed before it began.
	Blameless bool
}

// Release is what was seen of one Release of the template.
type Release struct {
	Namespace, Name string
	Labels          map[string]string
	Generation      int64
	// Free is false where the Release pins a revision or follows a channel.
	Free bool
	// Assigned is what the sync last gave it.
	Assigned *v1alpha1.AssignedRevision
	// Has is the revision that it was last rendered with, Tried the one that this was last
	// tried with, and Observed the generation that both are about.
	Has, Tried string
	Observed   int64
	Phase      v1alpha1.ReleasePhase
	// Message is why the phase is what it is.
	Message string
	// Drifted is true where the engine would render something else than was judged.
	Drifted bool
	// Restored is true where a person has brought back another revision, and nobody has applied
	// the Release since: what it is rendered with is not what serves.
	Restored bool
	// Rollout is the newest; nil where there is none, and where it is not needed: Phase is
	// Serving, which says that it has succeeded.
	Rollout *Rollout
	// Stable is the template revision of the Rollout that brought into service what serves;
	// empty where Rollout is.
	Stable string
}

// Revision is a revision of the template that exists.
type Revision struct {
	Name   string
	Number int64
}

// Command is an unanswered TemplateCommand about this template.
type Command struct {
	UID    types.UID
	Name   string
	Action v1alpha1.TemplateAction
	// Revision is the number of the revision to return to.
	Revision int64
	Actor    string
	Reason   string
}

// Taken is a TemplateCommand that was obeyed.
type Taken struct {
	Action v1alpha1.TemplateAction
	// Revision is the number of the revision that a rollback returned to.
	Revision int64
	// RolledBackFrom is the name of the revision that a rollback turned away from; empty where
	// it returned to the newest.
	RolledBackFrom string
}

// Permission is what the policies say about giving the target to the Releases of a wave
// now.
type Permission struct {
	Allowed bool
	// Code and Message say why not.
	Code, Message string
	// Until is when to ask again; zero where nobody knows.
	Until time.Time
}

// Observation is everything that a decision rests on: plain facts, read at one moment.
type Observation struct {
	// Template is the name of the ReleaseTemplate.
	Template string
	Spec     v1alpha1.TemplateSync
	// Status is what the last decision left; nil before the first, and where it was lost.
	Status *v1alpha1.TemplateSyncStatus
	// Taken are the commands that were obeyed, in that order. They are needed where Status is
	// nil.
	Taken []Taken
	// Revisions are those that exist, and Latest is the name of the newest that was
	// published; empty where none was.
	Revisions []Revision
	Latest    string
	// Releases are all that name the template, in any order.
	Releases []Release
	// Commands are oldest first.
	Commands []Command
	// Permissions has what the policies answered for a wave, by its name. A wave that is
	// not there was not asked about, and is held.
	Permissions map[string]Permission
}

// Assignment gives a Release a revision.
type Assignment struct {
	Namespace, Name string
	// Assigned is what the Release's status is to say; nil for nothing, since it pins a
	// revision or follows a channel.
	Assigned *v1alpha1.AssignedRevision
	// Was is the name of the revision that it had or was to have; empty for none.
	Was string
}

// Answer is what became of a command.
type Answer struct {
	Command string
	Outcome v1alpha1.CommandOutcome
	Message string
	// RolledBackFrom is the name of the revision that a rollback turned away from; empty for
	// other commands, and where that is over already.
	RolledBackFrom string
}

// Decision is what is to be recorded, assigned and waited for.
type Decision struct {
	// Status is to be written before the first assignment. Nil where there is no revision.
	Status *v1alpha1.TemplateSyncStatus
	// Assign is absolute, and safe to repeat.
	Assign  []Assignment
	Answers []Answer
	// Ask is the name of a wave whose Permission is missing. Where it is not empty, find
	// that out and decide again; the rest of the decision is good for a world in which
	// nobody can tell.
	Ask string
	// RequeueAfter is when to decide again though nothing was seen to change; 0 is never.
	RequeueAfter time.Duration
}
