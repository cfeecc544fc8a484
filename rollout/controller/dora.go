package controller

import (
	"time"

	"tidegate.io/tidegate/rollout/plan"
	"tidegate.io/tidegate/schemas/v1alpha1"
)

// Results of changes.
const (
	changeGood    = "good"
	changeFailed  = "failed"
	changeStopped = "stopped"
)

// stepKinds are the kinds of steps.
var stepKinds = []string{"setWeight", "pause", "approval", "analyze", "setScale", "setHeaderRoute", "setMirrorRoute", "setBaseline", "job", "hook", "notify"}

// figures are what a Rollout that has ended adds to the four.
type figures struct {
	// result is empty where the Rollout was no change of what serves, or gave way to another.
	result string
	// leadTime and restore are zero where there is none.
	leadTime, restore time.Duration
}

// figuresOf takes the figures of a Rollout that has ended. committed is when its change was
// made.
func figuresOf(r *v1alpha1.Rollout, committed time.Time) figures {
	st := &r.Status
	ended := endedAt(st)
	if stable := r.Spec.Stable; stable != nil && stable.Revision == r.Spec.Revision {
		return figures{}
	}
	switch {
	case st.Phase == v1alpha1.RolloutSucceeded && r.Spec.Restores != nil:
		// What was taken back has failed; bringing back what was there is no change of its own.
		return figures{result: changeFailed, restore: ended.Sub(r.CreationTimestamp.Time)}
	case st.Phase == v1alpha1.RolloutSucceeded:
		return figures{result: changeGood, leadTime: max(0, ended.Sub(committed))}
	case st.Phase != v1alpha1.RolloutAborted, !rejected(r), r.Spec.Restores != nil:
		return figures{}
	case plan.Raised(r).IsZero():
		return figures{result: changeStopped}
	}
	out := figures{result: changeFailed}
	for _, move := range st.History {
		if move.Phase == v1alpha1.RolloutAborting {
			out.restore = ended.Sub(move.At.Time)
			break
		}
	}
	return out
}

// endedAt is when the status came to its phase.
func endedAt(st *v1alpha1.RolloutStatus) time.Time {
	if n := len(st.History); n > 0 {
		return st.History[n-1].At.Time
	}
	return time.Time{}
}

// oldestCommit is how long before its Rollout a change is believed to have been made. A time before that
// is that of no clock, such as 1970, and one of them would be in every average for weeks.
const oldestCommit = 365 * 24 * time.Hour

// committedAt is when a change was made: what its pipeline says, else when the Rollout was.
// What lies in the future, or more than a year back, is not believed.
func committedAt(annotation string, r *v1alpha1.Rollout) time.Time {
	at, err := time.Parse(time.RFC3339, annotation)
	if made := r.CreationTimestamp.Time; err != nil || at.After(made) || at.Before(made.Add(-oldestCommit)) {
		return r.CreationTimestamp.Time
	}
	return at
}

func kindOf(s v1alpha1.Step) string {
	for i, is := range []bool{
		s.SetWeight != nil, s.Pause != nil && !s.Pause.Approval, s.Pause != nil, s.Analyze != nil, s.SetScale != nil,
		s.SetHeaderRoute != nil, s.SetMirrorRoute != nil, s.SetBaseline != nil, s.Job != nil, s.Hook != nil, s.Notify != nil,
	} {
		if is {
			return stepKinds[i]
		}
	}
	return "none"
}
