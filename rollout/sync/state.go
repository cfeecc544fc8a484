package sync

import (
	"fmt"
	"time"

	"tidegate.io/tidegate/schemas/v1alpha1"
)

// state is how far a Release is on its way to the target.
type state int

const (
	// foreign is: the Release pins a revision or follows a channel.
	foreign state = iota
	// queued is: it has not been given the target.
	queued
	// installing is: it has not been given the target, and its first Rollout, to an earlier
	// revision, has not ended. Nobody waits for it.
	installing
	// moving is: it has been given the target, and is under way.
	moving
	// settled is: it was brought to the target, or the target changes nothing in it.
	settled
	// failed is: its Rollout to the target was aborted.
	failed
	// paused is: it waits for a person of its team.
	paused
	// broken is: it does not render with the target, or was in trouble before.
	broken
	// late is: it is under way for longer than its wave has patience.
	late
	// staying is: it keeps what it has until its team changes it.
	staying
)

// sight is what a Release looks like from the sync.
type sight struct {
	state state
	// wave is counted from 1; 0 for one that is not free.
	wave    int
	message string
}

// on says whether the Release has been given the revision, or has it and nothing is
// assigned to it.
func (r *Release) on(revision string) bool {
	if r.Assigned != nil {
		return r.Assigned.Name == revision
	}
	return r.Has == revision
}

// was is the revision that the Release has, or is to have.
func (r *Release) was() string {
	if r.Assigned != nil {
		return r.Assigned.Name
	}
	return r.Has
}

// look finds out how far a Release is on its way to the target. AtOnce says that it is
// turned back, which does not wait for anybody.
func look(r *Release, target string, atOnce bool) (state, string) {
	switch {
	case !r.Free:
		return foreign, ""
	case r.on(target):
		return r.underWay(target)
	case atOnce:
		return queued, ""
	case r.Rollout == nil && r.Has == "" && r.Phase != v1alpha1.ReleaseInvalid:
		return installing, "its first Rollout has not begun"
	case r.Rollout == nil || r.Rollout.Phase.Terminal():
		return queued, ""
	case r.Rollout.Paused:
		return paused, fmt.Sprintf("Rollout %s is paused, and is left alone until somebody resumes it", r.Rollout.Name)
	case r.Rollout.First:
		return installing, fmt.Sprintf("Rollout %s, its first, has not ended", r.Rollout.Name)
	}
	return queued, ""
}

// underWay is for a Release that has been given the target.
func (r *Release) underWay(target string) (state, string) {
	switch {
	case r.Restored && r.Tried == target && r.Observed == r.Generation:
		return broken, "a person has brought back another revision, and it stays there until its team applies it"
	case r.Stable == target && r.Tried == target:
		// What comes now is its team's own business.
		return settled, ""
	case r.Rollout != nil && r.Rollout.TemplateRevision == target:
		return r.Rollout.state(r.Message)
	case r.Tried != target || r.Observed != r.Generation:
		return moving, "takes up the revision"
	}
	return r.taken(target)
}

// taken is for a Release that has tried the target, whose newest Rollout is of another one.
func (r *Release) taken(target string) (state, string) {
	switch {
	case r.Phase == v1alpha1.ReleaseInvalid:
		return broken, r.Message
	case r.Has != target:
		return moving, r.Message
	case r.Phase == v1alpha1.ReleaseServing:
		// It renders to what was judged and serves already.
		return settled, ""
	case r.Rollout == nil:
		return moving, "begins its Rollout"
	case r.Rollout.Phase == v1alpha1.RolloutAborted && !r.Rollout.Blameless:
		return broken, fmt.Sprintf("Rollout %s was aborted, and the target does not change what it was about", r.Rollout.Name)
	}
	s, message := r.Rollout.state(r.Message)
	if s == settled {
		// The Release does not say so yet: it may be about to begin another Rollout.
		return moving, "begins its Rollout"
	}
	return s, message
}

// state is how far a Rollout to the target is.
func (o *Rollout) state(message string) (state, string) {
	switch o.Phase {
	case v1alpha1.RolloutSucceeded:
		return settled, ""
	case v1alpha1.RolloutAborting, v1alpha1.RolloutAborted:
		if o.Blameless {
			return moving, fmt.Sprintf("another Rollout takes over from %s", o.Name)
		}
		return failed, message
	case v1alpha1.RolloutPending, v1alpha1.RolloutProgressing, v1alpha1.RolloutPromoting:
	}
	switch {
	case o.Paused:
		return paused, fmt.Sprintf("Rollout %s is paused", o.Name)
	case o.Waits:
		return paused, fmt.Sprintf("Rollout %s waits for an approval", o.Name)
	}
	return moving, fmt.Sprintf("Rollout %s is under way", o.Name)
}

// expires is when a Release that is under way becomes late; zero where nobody knows since
// when it is.
func (r *Release) expires(after time.Duration) time.Time {
	if r.Assigned == nil {
		return time.Time{}
	}
	return r.Assigned.At.Add(after)
}
