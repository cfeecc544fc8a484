package plan

import (
	"fmt"
	"slices"
	"time"

	"tidegate.io/tidegate/schemas/v1alpha1"
)

// policyLook is when to ask a policy that holds again, at the latest.
const policyLook = 30 * time.Second

// Rise says to which step and weight the decision about o at now raises exposure if the
// policies about promotion let it. That is what they are to be asked about: without an answer
// in o.Promotion nothing rises. What holds for another reason asks nobody, so that an answer
// is used at once or not needed.
func Rise(o Observation, now time.Time) (step, weight int32, rises bool) {
	if step, weight, rises = mayRise(o); !rises || !hinges(o, now) {
		return 0, 0, false
	}
	return step, weight, true
}

// hinges says whether what is done depends on what the policies say.
func hinges(o Observation, now time.Time) bool {
	o.Promotion = Promotion{Knowledge: Present, Allowed: true}
	yes := Next(o, now)
	o.Promotion = Promotion{}
	no := Next(o, now)
	return yes.Status.ApprovedWeight != no.Status.ApprovedWeight || !slices.Equal(yes.Actions, no.Actions)
}

// Raised is when a Rollout was first allowed to take exposure from what served, or zero: it
// may wait yet, have ended before, or be the first of its Release or of the revision that
// serves, which take none.
func Raised(r *v1alpha1.Rollout) time.Time {
	if stable := r.Spec.Stable; stable == nil || stable.Revision == r.Spec.Revision {
		return time.Time{}
	}
	for _, e := range r.Status.History {
		if e.Weight > 0 {
			return e.At.Time
		}
	}
	return time.Time{}
}

// mayRise is Rise as far as policies alone would hold.
func mayRise(o Observation) (step, weight int32, rises bool) {
	t := newTurn(o, time.Time{})
	t.readBack()
	switch t.st.Phase {
	case v1alpha1.RolloutAborting, v1alpha1.RolloutAborted, v1alpha1.RolloutSucceeded:
		return 0, 0, false
	case v1alpha1.RolloutPending, v1alpha1.RolloutProgressing, v1alpha1.RolloutPromoting:
	}
	if t.serving() {
		return 0, 0, false
	}
	carried, _ := t.carriedExposure()
	switch {
	case t.allowed().above(carried):
		return t.st.Step, t.st.ApprovedWeight, true
	case t.kind == kindFirst && !t.walks():
		return 0, full, t.st.ApprovedWeight < full
	case t.st.Step == t.last():
		return 0, 0, false
	}
	// One decision may pass more than one step that raises nothing.
	now := t.level(t.st.Step).Exposure
	for step = t.next(); step < t.last() && !t.level(step).above(now); {
		step++
	}
	return step, t.weightOf(step), t.level(step).above(now)
}

// heldByPromotion asks the policies before the next step gives the revision more.
func heldByPromotion(t *turn) ruling {
	if t.st.Step == t.last() || !t.rises() {
		return silence
	}
	return t.notPromoted()
}

// notPromoted is what the policies about promotion hold by. Only a rise asks them: falling
// back, aborting and what serves already are no promotion.
func (t *turn) notPromoted() ruling {
	p := t.o.Promotion
	if p.Knowledge == Present && p.Allowed {
		return silence
	}
	if p.Knowledge != Present {
		t.wake(t.now.Add(look))
		why := ""
		if p.Message != "" {
			why = ": " + p.Message
		}
		return hold(ReasonHoldPolicy, "%s, holding: the policies about promotion could not be asked%s; trying again every %s", t.where(), why, look)
	}
	said := p.Message
	if p.Code != "" {
		said = p.Code + ": " + said
	}
	// Until is a hint: the policy may be changed or taken away before.
	t.wake(t.now.Add(policyLook))
	if p.Until.After(t.now) {
		t.wake(p.Until)
		said += fmt.Sprintf("; until %s", p.Until.UTC().Format(time.RFC3339))
	}
	return hold(ReasonHoldPolicy, "%s, holding: %s", t.where(), said)
}
