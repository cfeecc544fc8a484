package news

import (
	"fmt"
	"maps"
	"strings"
	"time"

	"tidegate.io/tidegate/rollout/plan"
	"tidegate.io/tidegate/schemas/v1alpha1"
)

// meaning is what a reason tells.
type meaning struct {
	kind     Kind
	severity Severity
}

// reasons says what a change to a reason tells within a phase. A code that is missing here
// is a hold of the severity Warning where it is one by its name, and nothing otherwise.
var reasons = map[string]meaning{
	plan.ReasonBegun:       {Begun, Info},
	plan.ReasonStepBegun:   {Step, Info},
	plan.ReasonStepReached: {Step, Debug},
	plan.ReasonPromoting:   {Promoting, Info},
	plan.ReasonRepairing:   {Repairing, Warning},

	plan.ReasonFallbackPods:  {FellBack, Warning},
	plan.ReasonFallbackStale: {FellBack, Warning},

	plan.ReasonHoldApproval: {Waiting, Warning},
	plan.ReasonHoldPaused:   {Waiting, Warning},

	// These want somebody's eyes.
	plan.ReasonHoldUnknown:      {Held, Warning},
	plan.ReasonHoldStable:       {Held, Warning},
	plan.ReasonHoldNoData:       {Held, Warning},
	plan.ReasonHoldInconclusive: {Held, Warning},
	plan.ReasonHoldPolicy:       {Held, Warning},
	"TG-ENGINE-DRIFT":           {Held, Warning},
	"TG-NOT-RENDERED":           {Held, Warning},

	// Every Rollout goes through these, and has a deadline for those that may not end.
	plan.ReasonHoldPods:     {Held, Debug},
	plan.ReasonHoldRoute:    {Held, Debug},
	plan.ReasonHoldTime:     {Held, Debug},
	plan.ReasonHoldAnalysis: {Held, Debug},
	plan.ReasonHoldGrace:    {Held, Debug},
	plan.ReasonHoldJob:      {Held, Debug},
	plan.ReasonHoldHook:     {Held, Debug},
	plan.ReasonHoldBaseline: {Held, Debug},
}

// Of returns what a change of a Rollout's status tells, and nil where that is nothing.
// labels are those of its Release.
func Of(before *v1alpha1.RolloutStatus, rollout *v1alpha1.Rollout, labels map[string]string, now time.Time) *Event {
	m := changed(before, &rollout.Status)
	if m.kind == "" {
		return nil
	}
	e := about(rollout, labels, now)
	e.Kind, e.Severity = m.kind, m.severity
	e.Code, e.Why = rollout.Status.Reason, rollout.Status.Message
	e.Remedy = remedy(e)
	e.ID = identity("transition", e.UID, entry(&rollout.Status), string(e.Kind), distinct(e))
	return e
}

// OfStep returns the event of a step that has something to say, and asks for the sink
// named, or for none. step counts from 1.
func OfStep(rollout *v1alpha1.Rollout, labels map[string]string, step int32, text, sink string, now time.Time) *Event {
	e := about(rollout, labels, now)
	e.Kind, e.Severity, e.Step = Notify, Info, step
	e.Text, e.Sink = text, sink
	e.ID = identity("step", e.UID, fmt.Sprint(step), text, sink)
	return e
}

// OfTest returns a test message to a sink. namespace is the manager's.
func OfTest(namespace, sink string, now time.Time) *Event {
	return &Event{
		ID: identity("test", sink, now.UTC().Format(time.RFC3339Nano)), Kind: Test, Severity: Info, At: now,
		Namespace: namespace, Release: "notifications", Rollout: "none", Revision: "none", Template: "none",
		Text: fmt.Sprintf("Somebody checks whether the sink %s takes messages. It does; nothing is to be done.", sink),
	}
}

// changed is an ordered list of guards: an end or a turn of the whole Rollout says more
// than the reason beside it.
func changed(before, after *v1alpha1.RolloutStatus) meaning {
	turned := before.Phase != after.Phase
	switch {
	case turned && after.Phase == v1alpha1.RolloutSucceeded:
		return meaning{Succeeded, Info}
	case turned && after.Phase == v1alpha1.RolloutAborted:
		return meaning{Aborted, gravity(after)}
	case turned && after.Phase == v1alpha1.RolloutAborting:
		return meaning{Aborting, gravity(after)}
	case turned && after.Phase == v1alpha1.RolloutPromoting:
		return meaning{Promoting, Info}
	case before.Reason == after.Reason && before.Step == after.Step:
		return meaning{}
	}
	if m, ok := reasons[after.Reason]; ok {
		return m
	}
	if strings.HasPrefix(strings.TrimPrefix(after.Reason, "TG-"), "HOLD-") {
		return meaning{Held, Warning}
	}
	return meaning{}
}

// gravity is how bad the cause of an abort is.
func gravity(status *v1alpha1.RolloutStatus) Severity {
	if status.AbortCause == nil {
		return Error
	}
	switch status.AbortCause.Code {
	case plan.ReasonAbortSuperseded, plan.ReasonAbortOutdated:
		return Info
	case plan.ReasonAbortCommand:
		return Warning
	}
	return Error
}

// entry names the entry of the history that a status is in.
func entry(status *v1alpha1.RolloutStatus) string {
	if len(status.History) == 0 {
		return ""
	}
	last := status.History[len(status.History)-1]
	return last.At.UTC().Format(time.RFC3339Nano)
}

// distinct is what tells events of one kind and one entry of the history apart.
func distinct(e *Event) string {
	if e.Kind == Held || e.Kind == Waiting {
		return e.Code
	}
	return ""
}

// about fills in what every event says of its Rollout.
func about(rollout *v1alpha1.Rollout, labels map[string]string, now time.Time) *Event {
	spec, status := &rollout.Spec, &rollout.Status
	var steps int32
	for range spec.Strategy.Steps {
		steps++
	}
	return &Event{
		At: now.UTC(), Namespace: rollout.Namespace, Release: spec.Release, Labels: maps.Clone(labels),
		Rollout: rollout.Name, UID: string(rollout.UID), Number: spec.Number,
		Revision: spec.Revision, Digest: spec.Digest, Template: spec.TemplateRevision,
		Phase: string(status.Phase), Step: status.Step, Steps: steps, Weight: status.ApprovedWeight,
	}
}

// remedy is what to do, with the very command.
func remedy(e *Event) string {
	on := fmt.Sprintf("%s -n %s", e.Release, e.Namespace)
	look := "tidegate status " + on
	switch {
	case e.Code == plan.ReasonHoldApproval:
		return fmt.Sprintf("tidegate approve %s --step %d, or tidegate abort %s", on, e.Step, on)
	case e.Code == plan.ReasonHoldPaused:
		return fmt.Sprintf("tidegate resume %s, or tidegate abort %s", on, on)
	case e.Kind == Held, e.Kind == FellBack, e.Kind == Repairing:
		return look + "; docs/reasons.md#" + strings.ToLower(e.Code) + " says what to look at"
	case (e.Kind == Aborting || e.Kind == Aborted) && e.Severity.Reaches(Warning):
		return look + ", then apply a corrected Release to try again"
	}
	return ""
}
