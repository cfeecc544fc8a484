package plan

import (
	"tidegate.io/tidegate/schemas/v1alpha1"
)

// decide derives the actions: what the status asks for, less what was seen to be so.
//
// The order matters. Traffic leaves before anything else is touched; pods are asked for
// before the traffic that was approved for them; a set is deleted last of the writes;
// then people get their answers, and only then is time spent on measuring.
func (t *turn) decide() Decision {
	var actions []Action
	add := func(a Action, ok bool) {
		if ok {
			actions = append(actions, a)
		}
	}
	if t.rolling {
		add(t.shared())
		add(t.rollBack())
		add(t.roll())
		add(t.sweep())
		return t.decision(actions)
	}
	weight, move := t.weight()
	carried, known := t.carried()
	raises := known && weight.Weight > carried
	add(weight, move && !raises)
	add(t.shared())
	add(t.stable())
	add(t.canary())
	add(weight, move && raises)
	add(t.retire())
	return t.decision(actions)
}

// decision adds what follows the writes.
func (t *turn) decision(actions []Action) Decision {
	if len(actions) > 0 {
		t.wake(t.now.Add(look))
	}
	actions = append(actions, t.answers...)
	if t.measureDue() {
		actions = append(actions, Action{Kind: ActionMeasure})
		t.wake(t.now.Add(t.interval()))
	}
	d := Decision{Status: t.st, Actions: actions}
	if !t.due.IsZero() {
		d.RequeueAfter = t.due.Sub(t.now)
	}
	return d
}

// weight is the SetWeight action, and whether it is to be done.
func (t *turn) weight() (Action, bool) {
	if !t.inCharge() {
		return Action{}, false
	}
	set := func(w int32) (Action, bool) { return Action{Kind: ActionSetWeight, Weight: w}, true }
	carried, known := t.carried()
	present := t.o.Traffic.Knowledge == Present
	switch t.st.Phase {
	case v1alpha1.RolloutAborting, v1alpha1.RolloutAborted:
		return t.returnWeight()
	case v1alpha1.RolloutPending, v1alpha1.RolloutProgressing, v1alpha1.RolloutPromoting, v1alpha1.RolloutSucceeded:
	}
	want := t.st.ApprovedWeight
	switch {
	case !known:
		return Action{}, false
	case carried > want: // I4: at once, whatever else holds
		return set(want)
	case carried < want && t.raiseBlocked().silent:
		return set(want)
	case present && t.o.Traffic.UpToDate:
		return Action{}, false
	case present:
		return set(carried)
	}
	// There is no route. Where a stable set is, it is put back for it.
	return Action{Kind: ActionSetWeight}, t.kind == kindCanary
}

// returnWeight is the weight of an abort. It is the one that is also set blindly.
func (t *turn) returnWeight() (Action, bool) {
	rest := Action{Kind: ActionSetWeight, Weight: t.restWeight()}
	tr := t.o.Traffic
	right := tr.Knowledge == Present && tr.CanaryWeight == rest.Weight
	switch {
	case t.st.Phase == v1alpha1.RolloutAborted && tr.Knowledge == Unknown:
		return Action{}, false // it was there; nothing is known to have changed
	case t.kind == kindFirst:
		return rest, !right && tr.Knowledge != Absent
	case right && tr.UpToDate:
		return Action{}, false
	case t.stableDead() && !right && tr.Knowledge != Absent:
		return Action{}, false
	}
	return rest, true
}

// shared is the ApplyShared action. After an abort there is nothing to apply where
// there was nothing before.
func (t *turn) shared() (Action, bool) {
	back := t.st.Phase == v1alpha1.RolloutAborting || t.st.Phase == v1alpha1.RolloutAborted
	return Action{Kind: ActionApplyShared},
		t.inCharge() && t.o.Shared == Absent && (!back || t.kind != kindFirst)
}

// stable is the EnsureSet action for the stable set.
func (t *turn) stable() (Action, bool) {
	owed := false
	switch t.st.Phase {
	case v1alpha1.RolloutProgressing, v1alpha1.RolloutPromoting:
		owed = t.kind == kindCanary && !t.st.Retiring
	case v1alpha1.RolloutAborting, v1alpha1.RolloutAborted:
		owed = t.kind != kindFirst
	case v1alpha1.RolloutPending, v1alpha1.RolloutSucceeded:
	}
	want := t.stableWhole
	if s := t.o.Stable; s.Knowledge == Present && s.Autoscaled {
		want = max(want, s.Desired)
	}
	return Action{Kind: ActionEnsureSet, Role: RoleStable, Replicas: want},
		t.inCharge() && owed && t.o.Stable.Knowledge != Unknown && !t.stableAsked()
}

// canary is the EnsureSet action for the canary set.
func (t *turn) canary() (Action, bool) {
	switch t.st.Phase {
	case v1alpha1.RolloutPending, v1alpha1.RolloutAborting, v1alpha1.RolloutAborted:
		return Action{}, false
	case v1alpha1.RolloutProgressing, v1alpha1.RolloutPromoting, v1alpha1.RolloutSucceeded:
	}
	s, want := t.o.Canary, t.canaryWant()
	right := s.Knowledge == Unknown || s.Knowledge == Present && s.UpToDate && s.sized(want)
	if s.Knowledge == Present && s.Autoscaled {
		want = max(want, s.Desired) // never below what the load asks for
	}
	return Action{Kind: ActionEnsureSet, Role: RoleCanary, Replicas: want}, t.inCharge() && !right
}

// retire is the Retire action. A set is deleted only while its traffic is seen to be
// gone, in this very observation.
func (t *turn) retire() (Action, bool) {
	switch {
	case t.st.Phase == v1alpha1.RolloutPromoting && t.st.Retiring:
		return Action{Kind: ActionRetire, Role: RoleStable},
			t.kind == kindCanary && t.o.Stable.Knowledge != Absent && t.carries(100) && t.o.Canary.available() > 0
	case t.st.Phase == v1alpha1.RolloutAborting && t.kind != kindInPlace:
		drained := t.st.ApprovedAt == nil || t.passed(t.st.DrainStartedAt, t.o.Spec.Strategy.DrainDelay.Duration)
		return Action{Kind: ActionRetire, Role: RoleCanary},
			t.offRoute() && drained && t.o.Canary.Knowledge != Absent
	}
	return Action{}, false
}
