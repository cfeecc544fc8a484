package plan

import (
	"fmt"
	"slices"
	"strings"

	metav1 "k8s.io/apimachinery/pkg/apis/meta/v1"

	"tidegate.io/tidegate/schemas/v1alpha1"
)

func i3AbortIsObeyed(f facts) string {
	was, is := f.o.Status, f.d.Status
	needsReason := slices.Contains(f.o.Spec.Strategy.RequireReason, v1alpha1.CommandAbort)
	for _, c := range f.o.Commands {
		if c.Action == v1alpha1.CommandAbort && was.Phase != v1alpha1.RolloutSucceeded && !was.Retiring && (c.Reason != "" || !needsReason) &&
			is.Phase != v1alpha1.RolloutAborting && is.Phase != v1alpha1.RolloutAborted {
			return "I3: abort not obeyed in phase " + string(was.Phase)
		}
	}
	if (was.Phase == v1alpha1.RolloutAborting || was.Phase == v1alpha1.RolloutAborted) &&
		is.Phase != v1alpha1.RolloutAborting && is.Phase != v1alpha1.RolloutAborted {
		return "I3: an abort was taken back"
	}
	if v := was.Analysis; v != nil && v.Verdict == v1alpha1.VerdictFail && samePods(f.o.Spec, v.Digest) && f.over == "another" && !was.Retiring &&
		(is.Phase == v1alpha1.RolloutProgressing || is.Phase == v1alpha1.RolloutPromoting) && was.Phase != v1alpha1.RolloutPending {
		return "I3: a failed analysis did not abort"
	}
	return ""
}

func i3AbortOnlyReturns(f facts) string {
	is := f.d.Status
	if is.Phase != v1alpha1.RolloutAborting && is.Phase != v1alpha1.RolloutAborted {
		return ""
	}
	if is.AbortCause == nil {
		return "I9: aborted without a cause"
	}
	for _, a := range f.d.Actions {
		switch {
		case a.Kind == ActionMeasure, a.Kind == ActionRunJob, a.Kind == ActionEnsureSet && a.Role != RoleStable:
			return "I3: an abort works for the canary: " + string(a.Kind)
		case a.Kind == ActionCallHook && a.Call.Event != v1alpha1.HookRollback:
			return "I3: an abort calls hooks that are about something else"
		case a.Kind == ActionSetWeight && a.Exposure != (Exposure{}) && f.over != "itself" &&
			(!f.dynamic || a.Exposure != (Exposure{Weight: min(f.weight, a.Exposure.Weight)})):
			return "I3: an abort gives the canary traffic"
		}
	}
	slow := f.dynamic && alive(f.o.Canary) > 0 && f.o.Stable.Knowledge != Unknown && !f.overdueStable() && 100*alive(f.o.Stable) < f.stableWhole*100 &&
		f.carried == Exposure{Weight: f.weight}
	if is.Phase == v1alpha1.RolloutAborting && f.over != "itself" && !f.stableDead && !slow &&
		(!f.known || f.carried != (Exposure{})) && (len(f.d.Actions) == 0 || f.d.Actions[0].Kind != ActionSetWeight) {
		return "I3: an abort does not set the weight to 0 first"
	}
	if f.inCharge && f.over == "another" && f.o.Stable.Knowledge == Present && (f.o.Stable.Desired < f.stableWhole || f.o.Stable.Desired != f.stableWhole && !f.o.Stable.Autoscaled) && !has(f.d, ActionEnsureSet, RoleStable) {
		return "I3: an abort does not make the stable set whole"
	}
	if is.Phase == v1alpha1.RolloutAborted && f.o.Status.Phase == v1alpha1.RolloutAborting && f.over == "another" &&
		(f.carried != (Exposure{}) || f.o.Traffic.Knowledge != Present && !f.lentOut() || f.o.Traffic.Knowledge == Present && !f.o.Traffic.Settled && !f.neverTold() || f.o.Canary.Knowledge != Absent || f.o.Baseline.Knowledge == Present) {
		return "I3: an abort ended before the traffic was back and the canary gone"
	}
	return ""
}

func has(d Decision, k ActionKind, r Role) bool {
	for _, a := range d.Actions {
		if a.Kind == k && a.Role == r {
			return true
		}
	}
	return false
}

func i4NoneAboveApproved(f facts) string {
	for _, a := range f.d.Actions {
		if a.Kind == ActionSetWeight && shows(a.Exposure, f.is) && (!f.dynamic || shows(a.Exposure, f.carried)) {
			return fmt.Sprintf("I4: %+v set, %+v approved", a.Exposure, f.is)
		}
	}
	returning := f.d.Status.Phase == v1alpha1.RolloutAborting || f.d.Status.Phase == v1alpha1.RolloutAborted
	over := f.inCharge && f.known && shows(f.carried, f.is) && (!returning || !f.stableDead)
	switch {
	case !over:
	case f.o.Traffic.Lent && f.d.Status.Phase == v1alpha1.RolloutSucceeded && !f.o.Spec.Strategy.Type.InSets(): // the route is deleted
	case f.dynamic && alive(f.o.Canary) > 0 && alive(f.o.Stable) < f.stableWhole: // as the stable set can take it
	case f.split && f.is.Weight > 0 && f.is.Weight < 100:
		if f.o.Canary.Desired > podsToShow(f.o.Spec, f.whole, f.is) && !has(f.d, ActionEnsureSet, RoleCanary) {
			return fmt.Sprintf("I4: weight %d stays behind the Service, %d approved", f.weight, f.is.Weight)
		}
	case len(f.d.Actions) == 0 || f.d.Actions[0].Kind != ActionSetWeight:
		return fmt.Sprintf("I4: %+v stays, %+v approved", f.carried, f.is)
	}
	return ""
}

// i3NothingIsLeft is about the baseline set, which nobody looks after once the Rollout has ended.
func i3NothingIsLeft(f facts) string {
	was, is := f.o.Status.Phase, f.d.Status.Phase
	ends := is == v1alpha1.RolloutSucceeded && was == v1alpha1.RolloutPromoting || is == v1alpha1.RolloutAborted && was == v1alpha1.RolloutAborting
	if ends && f.over == "another" && f.o.Baseline.Knowledge != Absent &&
		slices.ContainsFunc(walkedSteps(f.o.Spec), func(s v1alpha1.Step) bool { return s.SetBaseline != nil }) {
		return "I3: ended while a baseline set is there, or may be"
	}
	return ""
}

// i4WorkIsOwed is about jobs and hooks: they run in the step that asks for them, once, and not while
// the Rollout is held back by people.
func i4WorkIsOwed(f facts) string {
	st := f.d.Status
	for _, a := range f.d.Actions {
		switch a.Kind {
		case ActionRunJob:
			steps := walkedSteps(f.o.Spec)
			if st.Phase != v1alpha1.RolloutProgressing || st.Paused || st.Step == 0 || steps[st.Step-1].Job == nil || passedOver(st, st.Step) || a.Step != st.Step {
				return "I2: a job is run where no step asks for it"
			}
			if f.o.Job.Knowledge == Present && f.o.Job.Name == a.Job {
				return "I5: a job is run again"
			}
		case ActionCallHook:
			if st.Paused || a.Call.Try < 1 || a.Call.Hook == "" {
				return "I2: a hook is called while paused"
			}
			for _, answer := range f.o.Answers {
				if answer.Call == a.Call {
					return "I5: a hook is called again"
				}
			}
		case ActionStopJob:
			if f.o.Job.Knowledge == Absent || f.o.Job.Name != a.Job {
				return "I5: a job is stopped that is not there"
			}
		case ActionApplyShared, ActionEnsureSet, ActionSetWeight, ActionMeasure, ActionRetire, ActionAnswer:
		}
	}
	return ""
}

// i5SameFactsSameDecision is the heart of I5 and half of I6: who decides again on the
// same facts decides the same, answers aside.
func i5SameFactsSameDecision(f facts) string {
	o := f.o
	o.Status, o.Commands = f.d.Status, nil
	again := Next(o, f.now)
	if !sameStatus(&again.Status, &f.d.Status) {
		return fmt.Sprintf("I5: the same facts give another status: %s %d %q, then %s %d %q", f.d.Status.Phase, f.d.Status.Step, f.d.Status.Message,
			again.Status.Phase, again.Status.Step, again.Status.Message)
	}
	var first []Action
	for _, a := range f.d.Actions {
		if a.Kind != ActionAnswer {
			first = append(first, a)
		}
	}
	if !slices.Equal(again.Actions, first) {
		return fmt.Sprintf("I5: the same facts give other actions: %v, then %v", first, again.Actions)
	}
	return ""
}

// sameStatus compares all that Next may change. It is not reflect.DeepEqual because that
// takes more time than everything else in the enumeration.
func sameStatus(a, b *v1alpha1.RolloutStatus) bool {
	moment := func(x, y *metav1.MicroTime) bool { return (x == nil) == (y == nil) && (x == nil || x.Equal(y)) }
	person := func(x, y *v1alpha1.Approval) bool { return (x == nil) == (y == nil) && (x == nil || *x == *y) }
	cause := func(x, y *v1alpha1.Cause) bool { return (x == nil) == (y == nil) && (x == nil || *x == *y) }
	return a.Phase == b.Phase && a.Reason == b.Reason && a.Message == b.Message && a.Step == b.Step && a.Weight == b.Weight &&
		a.ApprovedWeight == b.ApprovedWeight && a.Paused == b.Paused && a.StableLoad == b.StableLoad && a.Retiring == b.Retiring &&
		a.Falls == b.Falls && moment(a.ExposedAt, b.ExposedAt) && moment(a.RouteUnsettledSince, b.RouteUnsettledSince) &&
		slices.Equal(a.Skips, b.Skips) && slices.Equal(a.Checks, b.Checks) && person(a.Promoted, b.Promoted) &&
		person(a.Retried, b.Retried) && person(a.Restored, b.Restored) && moment(a.ApprovedAt, b.ApprovedAt) && moment(a.StepStartedAt, b.StepStartedAt) && moment(a.WaitingSince, b.WaitingSince) &&
		moment(a.StableShortSince, b.StableShortSince) && moment(a.DrainStartedAt, b.DrainStartedAt) &&
		cause(a.AbortCause, b.AbortCause) && slices.Equal(a.Approvals, b.Approvals) && slices.Equal(a.History, b.History)
}

func i9Explained(f facts) string {
	st := f.d.Status
	if !strings.HasPrefix(st.Reason, "TG-") || st.Message == "" {
		return fmt.Sprintf("I9: no reason or message in phase %s: %q %q", st.Phase, st.Reason, st.Message)
	}
	if (st.Phase != f.o.Status.Phase || st.Step != f.o.Status.Step) && len(st.History) == 0 {
		return "I9: a change of phase or step is not in the history"
	}
	return ""
}

// i9Bounded is about the bounds that the API server holds a status to: one that is refused is never
// written again.
func i9Bounded(f facts) string {
	st := f.d.Status
	switch {
	case len(st.History) > maxHistory:
		return "I9: the history is not bounded"
	case len(st.Checks) > 200 || len(st.Approvals) > 50 || len(st.Skips) > 50:
		return fmt.Sprintf("I9: %d checks, %d approvals, %d skips", len(st.Checks), len(st.Approvals), len(st.Skips))
	case st.Falls > f.o.Status.Falls+3: // for the baseline, for the pods, for the age of the approval
		return fmt.Sprintf("I9: fell back %d times at once", st.Falls-f.o.Status.Falls)
	}
	return ""
}

func commandsAnsweredOnce(f facts) string {
	n := map[string]int{}
	for _, a := range f.d.Actions {
		if a.Kind == ActionAnswer {
			n[a.Command]++
			if a.Message == "" || a.Outcome == v1alpha1.OutcomeRefused && !strings.HasPrefix(a.Message, "TG-COMMAND-") {
				return "I9: a command is answered without a reason"
			}
		}
	}
	for _, c := range f.o.Commands {
		if n[c.Name] != 1 {
			return fmt.Sprintf("I9: command %s has %d answers", c.Name, n[c.Name])
		}
		delete(n, c.Name)
	}
	if len(n) > 0 {
		return "I9: an answer to nobody"
	}
	return ""
}

func quietOutOfCharge(f facts) string {
	if f.inCharge {
		return ""
	}
	for _, a := range f.d.Actions {
		told := a.Kind == ActionStopJob || a.Kind == ActionCallHook && a.Call.Event == v1alpha1.HookRollback
		if a.Kind != ActionAnswer && !told {
			return "I7: a Rollout that is not in charge writes: " + string(a.Kind)
		}
	}
	return ""
}
