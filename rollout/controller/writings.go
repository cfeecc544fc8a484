package controller

import (
	"slices"
	"sync"
	"time"

	"k8s.io/apimachinery/pkg/api/equality"
	"sigs.k8s.io/controller-runtime/pkg/client"

	"tidegate.io/tidegate/rollout/plan"
	"tidegate.io/tidegate/schemas/v1alpha1"
)

const (
	// wordsEvery is how often a status is written in which nothing but words changes, such as
	// the number of pods that are waited for.
	wordsEvery = 5 * time.Second
	// viewEvery is how often one is written in which nothing changes but what is waited for, or
	// what was read back: nothing that a decision rests on.
	viewEvery = time.Second
)

// passing are the codes of holds that come and go by themselves on the way of every Rollout.
// All others are written, and told, at once.
var passing = []string{
	plan.ReasonHoldPods, plan.ReasonHoldRoute, plan.ReasonHoldGrace, plan.ReasonHoldTime, plan.ReasonHoldAnalysis,
	plan.ReasonHoldBaseline, plan.ReasonHoldJob, plan.ReasonHoldHook, plan.ReasonPendingOlder, plan.ReasonDraining, plan.ReasonRetiring,
}

// writings remembers when statuses were written last. It is no more than a delay: forgotten
// with the process, words are written once more.
type writings struct {
	mu   sync.Mutex
	last map[client.ObjectKey]time.Time
}

// wrote notes that a status was written.
func (w *writings) wrote(key client.ObjectKey, now time.Time) {
	w.mu.Lock()
	defer w.mu.Unlock()
	if w.last == nil {
		w.last = map[client.ObjectKey]time.Time{}
	}
	w.last[key] = now
}

// forget is for a Rollout of which nothing is decided any more.
func (w *writings) forget(key client.ObjectKey) {
	w.mu.Lock()
	defer w.mu.Unlock()
	delete(w.last, key)
}

// wait is how long the write of a status can wait, 0 where it cannot.
func (w *writings) wait(key client.ObjectKey, was, is v1alpha1.RolloutStatus, now time.Time) time.Duration {
	w.mu.Lock()
	defer w.mu.Unlock()
	last, known := w.last[key]
	every := patience(was, is)
	if !known || every == 0 {
		return 0
	}
	return min(every, max(0, last.Add(every).Sub(now))) // never longer, wherever the clock is set
}

// patience is how long what differs between two statuses may be out of date.
func patience(was, is v1alpha1.RolloutStatus) time.Duration {
	switch {
	case equality.Semantic.DeepEqual(wordless(was), wordless(is)):
		return wordsEvery
	case is.Phase.Terminal() || was.Reason != is.Reason && !slices.Contains(passing, is.Reason):
		return 0
	case equality.Semantic.DeepEqual(memory(was), memory(unstamped(was, is))):
		return viewEvery
	}
	return 0
}

// unstamped is a status without the moments that it has begun to wait since, which was does not
// have: until they are written, what is waited for may come, as it mostly does, and if not a
// deadline ends that much later. That a wait has ended is written at once.
func unstamped(was, is v1alpha1.RolloutStatus) v1alpha1.RolloutStatus {
	out := *is.DeepCopy()
	if was.RouteUnsettledSince == nil {
		out.RouteUnsettledSince = nil
	}
	if was.WaitingSince == nil {
		out.WaitingSince = nil
	}
	if was.StableShortSince == nil {
		out.StableShortSince = nil
	}
	return out
}

// wordless is a status without what it says in sentences.
func wordless(s v1alpha1.RolloutStatus) v1alpha1.RolloutStatus {
	out := *s.DeepCopy()
	out.Message = ""
	for i := range out.Conditions {
		out.Conditions[i].Message = ""
	}
	return out
}

// memory is what of a status the next decision rests on.
func memory(s v1alpha1.RolloutStatus) v1alpha1.RolloutStatus {
	out := *s.DeepCopy()
	out.Reason, out.Message, out.Weight, out.Conditions = "", "", 0, nil
	return out
}

// newsworthy says whether a change of status is worth an event: the beginning and the end,
// each rise and fall of exposure, and what somebody has to do or know about.
func newsworthy(was, is *v1alpha1.RolloutStatus) bool {
	switch {
	case is.Phase != was.Phase:
		return is.Phase != v1alpha1.RolloutPromoting
	case is.ApprovedWeight != was.ApprovedWeight:
		return true
	case is.Reason == was.Reason:
		return false
	}
	quiet := []string{plan.ReasonBegun, plan.ReasonStepApproved, plan.ReasonStepBegun, plan.ReasonStepReached, plan.ReasonPromoting, plan.ReasonSucceeded}
	return !slices.Contains(passing, is.Reason) && !slices.Contains(quiet, is.Reason)
}
