package plan

import (
	"fmt"

	metav1 "k8s.io/apimachinery/pkg/apis/meta/v1"

	"tidegate.io/tidegate/schemas/v1alpha1"
)

// What is waited for has an end, and each hold says when that is.

// waitingSince is since when pods are missing that are asked for: of the new set, else of the fresh ones
// that it is compared with.
func (t *turn) waitingSince(open bool) *metav1.MicroTime {
	was := t.st.WaitingSince
	since := t.shortSince(was, open && t.canaryAsked(), t.o.Canary, t.canaryWant())
	if want := t.baselineWant(); since == nil && want > 0 {
		since = t.shortSince(was, open, t.o.Baseline, want)
	}
	return since
}

// baselineWant is how many pods the baseline set is to have now, for what is approved and for what comes next.
func (t *turn) baselineWant() int32 {
	if t.st.Phase != v1alpha1.RolloutProgressing || !t.walks() || t.rolling {
		return 0
	}
	return t.baselineSize(t.level(t.asked()))
}

// overdue ends the wait for pods.
func overdue(t *turn) ruling {
	if t.st.WaitingSince == nil || t.o.Canary.Knowledge == Unknown || !t.passed(t.st.WaitingSince, t.deadline()) {
		return silence
	}
	want := t.baselineWant()
	switch {
	case want == 0 || t.o.Canary.short(t.canaryWant()):
		return t.abort(ReasonAbortDeadline, "revision %s had %s pods available %s after it began to wait for them",
			t.o.Spec.Revision, t.pods(), t.deadline())
	case t.o.Baseline.Knowledge == Unknown:
		return silence
	}
	return t.abort(ReasonAbortDeadline, "the baseline set had %d of %d pods available %s after the Rollout began to wait for them",
		t.o.Baseline.available(), want, t.deadline())
}

// orAborts says when a wait for pods ends in an abort.
func (t *turn) orAborts() string { return t.orAbortsAt(t.st.WaitingSince) }

// orRefused says when a wait for the gateway ends in an abort.
func (t *turn) orRefused() string { return t.orAbortsAt(t.st.RouteUnsettledSince) }

func (t *turn) orAbortsAt(since *metav1.MicroTime) string {
	if since == nil {
		return ""
	}
	return fmt.Sprintf("; the Rollout aborts at %s otherwise", clock(since.Add(t.deadline())))
}

// besides says that pods are missing of what is exposed or looked at already, where something else is
// waited for: the Rollout does not wait for that longer than for them.
func (t *turn) besides(r ruling) string {
	switch {
	case r.silent || r.moved || t.rolling || t.st.Phase != v1alpha1.RolloutProgressing || t.st.WaitingSince == nil:
		return ""
	case r.code == ReasonHoldPods || r.code == ReasonHoldBaseline || !t.o.Canary.short(t.size(t.whole, t.level(t.st.Step))):
		return ""
	}
	if s := t.o.Canary; s.Knowledge == Present && !s.UpToDate {
		return "; the objects of the new set are not as they were rendered" + t.orAborts()
	}
	return fmt.Sprintf("; %s pods are available%s", t.pods(), t.orAborts())
}

// stableUntil is when the pods of the stable set are given up.
func (t *turn) stableUntil() string {
	if t.st.StableShortSince == nil {
		return "after " + t.deadline().String()
	}
	return "at " + clock(t.st.StableShortSince.Add(t.deadline()))
}
