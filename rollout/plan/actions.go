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
	move = move && !t.cutsOff(weight.Exposure)
	carried, known := t.carriedExposure()
	raises := known && weight.Exposure.above(carried)
	add(weight, move && !raises)
	add(t.shared())
	add(t.stable())
	add(t.canary())
	add(t.baseline())
	add(weight, move && raises)
	add(t.dropBaseline())
	add(t.retire())
	return t.decision(actions)
}

// decision adds what follows the writes.
func (t *turn) decision(actions []Action) Decision {
	if len(actions) > 0 {
		t.wake(t.now.Add(look))
	}
	if stop, ok := t.stopJob(); ok {
		actions = append(actions, stop)
	}
	actions = append(actions, t.work...)
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
	want, lift, s := max(t.stableWant(), t.owed()), t.stableLift(), t.o.Stable
	right := s.Knowledge == Present && s.UpToDate && s.sized(want) && s.Held == 0 && s.Lifted == lift
	if s.Knowledge == Present && s.Autoscaled {
		want = max(want, s.Desired)
	}
	return Action{Kind: ActionEnsureSet, Role: RoleStable, Replicas: want, Least: lift},
		t.inCharge() && owed && s.Knowledge != Unknown && !right && !t.narrows()
}

// canary is the EnsureSet action for the canary set.
func (t *turn) canary() (Action, bool) {
	switch t.st.Phase {
	case v1alpha1.RolloutPending, v1alpha1.RolloutAborting, v1alpha1.RolloutAborted:
		return Action{}, false
	case v1alpha1.RolloutProgressing, v1alpha1.RolloutPromoting, v1alpha1.RolloutSucceeded:
	}
	s, want := t.o.Canary, t.canaryWant()
	right := t.canaryRight(want)
	if s.Knowledge == Present && s.Autoscaled && !t.overshared(want) {
		want = max(want, s.Desired) // never below what the load asks for
	}
	if want > s.Desired && !t.mayGrow() {
		return Action{}, false
	}
	return Action{Kind: ActionEnsureSet, Role: RoleCanary, Replicas: want, Least: t.canaryLift()}, t.inCharge() && !right
}

// canaryRight says whether the canary set is as it is to be, as far as is known.
func (t *turn) canaryRight(want int32) bool {
	switch s := t.o.Canary; s.Knowledge {
	case Unknown:
		return true
	case Absent:
		return want == 0 && t.whole > 0 // it is made when its first pods are wanted
	case Present:
		return s.UpToDate && s.sized(want) && !t.overshared(want) && s.Lifted == t.canaryLift()
	}
	return false
}

// overshared says whether the new set has more pods behind a plain Service than their share that is approved
// (I4). Each pod there gets as much as any other, so that its autoscaler does not ask for them again.
func (t *turn) overshared(want int32) bool {
	return t.split() && t.st.Phase == v1alpha1.RolloutProgressing && t.o.Canary.Desired > want && t.o.Traffic.Weight > t.st.ApprovedWeight
}

// baseline is the EnsureSet action for the baseline set.
func (t *turn) baseline() (Action, bool) {
	if t.st.Phase != v1alpha1.RolloutProgressing || !t.walks() || !t.inCharge() {
		return Action{}, false
	}
	s, want := t.o.Baseline, t.baselineSize(t.level(t.asked()))
	if e, known := t.carriedExposure(); known && e.Baseline > 0 && s.Knowledge == Present {
		want = max(want, need(t.whole, e.Baseline))
	}
	if !t.calm() {
		want = max(want, min(s.Desired, t.whole))
	}
	right := s.Knowledge == Unknown || s.Knowledge == Present && s.UpToDate && s.sized(want)
	return Action{Kind: ActionEnsureSet, Role: RoleBaseline, Replicas: want}, want > 0 && !right
}

// dropBaseline is the Retire action for the baseline set.
func (t *turn) dropBaseline() (Action, bool) {
	e, known := t.carriedExposure()
	wanted := t.st.Phase == v1alpha1.RolloutProgressing && t.walks() &&
		(t.baselineSize(t.level(t.asked())) > 0 || t.baselineSize(t.level(t.st.Step)) > 0)
	return Action{Kind: ActionRetire, Role: RoleBaseline},
		t.inCharge() && !t.rolling && t.o.Baseline.Knowledge == Present && known && e.Baseline == 0 && !wanted && t.calm()
}

// retire is the Retire action. A set is deleted only while its traffic is seen to be
// gone, in this very observation.
func (t *turn) retire() (Action, bool) {
	switch {
	case t.st.Phase == v1alpha1.RolloutPromoting && t.st.Retiring:
		return Action{Kind: ActionRetire, Role: RoleStable},
			t.kind == kindCanary && t.o.Stable.Knowledge != Absent && t.carriesWeight(full) && t.o.Canary.available() >= min(1, t.whole)
	case t.st.Phase == v1alpha1.RolloutAborting && t.kind != kindInPlace:
		drained := t.st.ApprovedAt == nil || t.passed(t.st.DrainStartedAt, t.abortDrain())
		return Action{Kind: ActionRetire, Role: RoleCanary},
			t.offRoute() && drained && t.o.Canary.Knowledge != Absent
	case t.st.Phase == v1alpha1.RolloutSucceeded:
		return Action{Kind: ActionRetire, Role: RoleStable}, t.strayStable()
	case t.st.Phase == v1alpha1.RolloutAborted:
		return Action{Kind: ActionRetire, Role: RoleCanary}, t.strayCanary()
	}
	return Action{}, false
}

// strayStable and strayCanary say whether a set has come back after the Rollout has ended without it: a
// manager that was thought dead has done what it had decided long before.
func (t *turn) strayStable() bool {
	return t.inCharge() && t.kind == kindCanary && t.o.Stable.Knowledge == Present && (t.carriesWeight(full) || t.routeGoes() && t.route.Knowledge == Absent) &&
		t.o.Canary.available() >= min(1, t.whole)
}

func (t *turn) strayCanary() bool {
	return t.inCharge() && t.kind != kindInPlace && t.o.Canary.Knowledge == Present && t.offRoute()
}
