package simulate

import (
	"fmt"
	"strings"
	"time"

	"tidegate.io/tidegate/rollout/plan"
	"tidegate.io/tidegate/schemas/v1alpha1"
)

// Record is one decision. Its JSON is stable: fields are only ever added.
type Record struct {
	// Kind is "decision".
	Kind string `json:"kind"`
	// Seconds since the beginning, and Time by a clock that begins at Epoch.
	Seconds float64   `json:"seconds"`
	Time    time.Time `json:"time"`
	Rollout string    `json:"rollout"`
	// Events are what has happened since the decision before.
	Events []EventRecord         `json:"events,omitempty"`
	Phase  v1alpha1.RolloutPhase `json:"phase"`
	// Step is counted from 1 and 0 before the first; StepText says what it sets or waits for.
	Step     int32  `json:"step"`
	Steps    int32  `json:"steps"`
	StepText string `json:"stepText,omitempty"`
	// Weight is what was read off the route, ApprovedWeight what may be there.
	Weight         int32 `json:"weight"`
	ApprovedWeight int32 `json:"approvedWeight"`
	// BaselineWeight is the percentage of the baseline set.
	BaselineWeight int32 `json:"baselineWeight,omitempty"`
	// HeaderStep and MirrorStep are the steps whose header and mirror route are in force.
	HeaderStep int32 `json:"headerStep,omitempty"`
	MirrorStep int32 `json:"mirrorStep,omitempty"`
	// Replicas are what a set asks for, Available what of it can serve, as they were seen;
	// with rolling they are the pods of the revision.
	CanaryReplicas    int32 `json:"canaryReplicas"`
	CanaryAvailable   int32 `json:"canaryAvailable"`
	StableReplicas    int32 `json:"stableReplicas"`
	StableAvailable   int32 `json:"stableAvailable"`
	BaselineReplicas  int32 `json:"baselineReplicas,omitempty"`
	BaselineAvailable int32 `json:"baselineAvailable,omitempty"`
	// Actions are what is done, in order.
	Actions []ActionRecord `json:"actions"`
	// Moves are the changes of phase or step on the way to the reason, in order.
	Moves   []Move `json:"moves,omitempty"`
	Reason  string `json:"reason"`
	Message string `json:"message"`
	// RequeueAfter is in how many seconds it is decided again at the latest; 0 is never.
	RequeueAfter float64 `json:"requeueAfter"`

	// Shown is true where the decision did or changed something.
	Shown bool `json:"-"`
	// passed are the reasons that the decision went through, the last that of its hold.
	passed []string
}

// Move is a change of phase or step.
type Move struct {
	Reason  string `json:"reason"`
	Message string `json:"message"`
}

// EventRecord is something that has happened.
type EventRecord struct {
	// Seconds since the beginning.
	Seconds float64 `json:"seconds"`
	Text    string  `json:"text"`
}

// ActionRecord is one action, with the fields that it has.
type ActionRecord struct {
	Kind     plan.ActionKind         `json:"kind"`
	Role     plan.Role               `json:"role,omitempty"`
	Replicas *int32                  `json:"replicas,omitempty"`
	Held     int32                   `json:"held,omitempty"`
	Least    int32                   `json:"least,omitempty"`
	Weight   *int32                  `json:"weight,omitempty"`
	Baseline int32                   `json:"baselineWeight,omitempty"`
	Header   int32                   `json:"headerStep,omitempty"`
	Mirror   int32                   `json:"mirrorStep,omitempty"`
	Step     int32                   `json:"step,omitempty"`
	Job      string                  `json:"job,omitempty"`
	Hook     string                  `json:"hook,omitempty"`
	Event    v1alpha1.HookEvent      `json:"event,omitempty"`
	Try      int32                   `json:"try,omitempty"`
	Command  string                  `json:"command,omitempty"`
	Outcome  v1alpha1.CommandOutcome `json:"outcome,omitempty"`
	// Failed is true where the API server has refused it. What comes after it was not tried.
	Failed bool `json:"failed,omitempty"`
	// Verdict is what a round of analysis came to.
	Verdict v1alpha1.Verdict `json:"verdict,omitempty"`
	Message string           `json:"message,omitempty"`

	// inPlace is true where the revisions share a workload.
	inPlace bool
}

func recordOf(a plan.Action, inPlace bool) ActionRecord {
	out := ActionRecord{
		Kind: a.Kind, Role: a.Role, Held: a.Held, Least: a.Least, Baseline: a.Exposure.Baseline, Header: a.Exposure.Header, Mirror: a.Exposure.Mirror,
		Step: a.Step, Job: a.Job, Hook: a.Call.Hook, Event: a.Call.Event, Try: a.Call.Try,
		Command: a.Command, Outcome: a.Outcome, Message: a.Message, inPlace: inPlace,
	}
	if a.Kind == plan.ActionEnsureSet {
		out.Replicas = &a.Replicas
	}
	if a.Kind == plan.ActionSetWeight {
		out.Weight = &a.Exposure.Weight
	}
	return out
}

// text says in a few words what is done.
func (a ActionRecord) text() string {
	switch a.Kind {
	case plan.ActionApplyShared:
		return "apply the shared objects"
	case plan.ActionEnsureSet:
		return a.setText()
	case plan.ActionSetWeight:
		return "route: " + a.routeText()
	case plan.ActionRunJob:
		return "run job " + a.Job
	case plan.ActionStopJob:
		return "stop job " + a.Job
	case plan.ActionCallHook:
		on := ""
		if a.Event != "" {
			on = " on " + string(a.Event)
		}
		return fmt.Sprintf("call hook %s%s, try %d", a.Hook, on, a.Try)
	case plan.ActionMeasure:
		if a.Verdict == "" {
			return "measure" // the manager has died before
		}
		return fmt.Sprintf("measure: %s: %s", a.Verdict, a.Message)
	case plan.ActionRetire:
		if a.inPlace {
			return fmt.Sprintf("delete what only the %s revision needed", setName(a.Role))
		}
		return fmt.Sprintf("delete the %s set", setName(a.Role))
	case plan.ActionAnswer:
		return fmt.Sprintf("answer %s: %s: %s", a.Command, a.Outcome, a.Message)
	}
	return string(a.Kind)
}

func (a ActionRecord) setText() string {
	set, more := setName(a.Role)+" set: ", ""
	switch {
	case a.inPlace:
		set = "workload: the " + setName(a.Role) + " revision, "
		if a.Held > 0 {
			more = fmt.Sprintf(", %d of them left as they are", a.Held)
		}
	case a.Least > 0:
		more = fmt.Sprintf(", of which its autoscaler keeps %d", a.Least)
	}
	return set + podsText(*a.Replicas) + more
}

func (a ActionRecord) routeText() string {
	parts := []string{fmt.Sprintf("%d %% to the new revision", *a.Weight)}
	if a.Baseline > 0 {
		parts = append(parts, fmt.Sprintf("%d %% to the baseline", a.Baseline))
	}
	if a.Header > 0 {
		parts = append(parts, fmt.Sprintf("the header route of step %d", a.Header))
	}
	if a.Mirror > 0 {
		parts = append(parts, fmt.Sprintf("the mirror route of step %d", a.Mirror))
	}
	return strings.Join(parts, ", ")
}

// setName is what people call the sets.
func setName(r plan.Role) string {
	if r == plan.RoleCanary {
		return string(whichNew)
	}
	return string(r)
}

// countPods counts the pods of each revision of a workload in place.
func (w *world) countPods(rec *Record, spec v1alpha1.RolloutSpec) {
	count := func(revision string) (all, available int32) {
		return w.workload.count(func(p pod) bool { return p.revision == revision }), w.available(revision)
	}
	rec.CanaryReplicas, rec.CanaryAvailable = count(spec.Revision)
	rec.StableReplicas, rec.StableAvailable = 0, 0
	if s := spec.Stable; s != nil {
		rec.StableReplicas, rec.StableAvailable = count(s.Revision)
	}
}

// record notes a decision.
func (w *world) record(r *rollout, o plan.Observation, d plan.Decision) {
	st := d.Status
	steps := plan.Walked(r.spec)
	rec := Record{
		Kind: "decision", Seconds: w.since().Seconds(), Time: w.now, Rollout: r.name(), Events: w.events,
		Phase: st.Phase, Step: st.Step, Steps: int32(len(steps)), //nolint:gosec // at most 51
		Weight: st.Weight, ApprovedWeight: st.ApprovedWeight,
		BaselineWeight: o.Traffic.Baseline, HeaderStep: o.Traffic.Header, MirrorStep: o.Traffic.Mirror,
		CanaryReplicas: o.Canary.Desired, CanaryAvailable: o.Canary.Available, StableReplicas: o.Stable.Desired, StableAvailable: o.Stable.Available,
		BaselineReplicas: o.Baseline.Desired, BaselineAvailable: o.Baseline.Available,
		Actions: []ActionRecord{}, Reason: st.Reason, Message: st.Message, RequeueAfter: d.RequeueAfter.Seconds(),
	}
	if st.Step > 0 && int(st.Step) <= len(steps) {
		rec.StepText = steps[st.Step-1].Text()
	}
	var done []string
	for _, a := range d.Actions {
		rec.Actions = append(rec.Actions, recordOf(a, w.rolling()))
		if a.Kind != plan.ActionMeasure {
			done = append(done, fmt.Sprint(a))
		}
	}
	does := strings.Join(done, " ")
	if w.rolling() {
		w.countPods(&rec, r.spec)
	}
	for _, h := range st.History[min(len(o.Status.History), len(st.History)):] {
		rec.passed = append(rec.passed, h.Reason)
		if h.Reason != st.Reason || !strings.HasPrefix(st.Message, h.Message) {
			rec.Moves = append(rec.Moves, Move{Reason: h.Reason, Message: h.Message})
		}
	}
	rec.passed = append(rec.passed, st.Reason)
	r.passed = rec.passed
	// What is tried again without having changed anything is no news.
	shown := fmt.Sprint(st.Phase, st.Step, st.ApprovedWeight, st.Reason, st.Paused)
	rec.Shown = shown != r.shown || does != "" && does != r.did || len(w.events) > 0
	if shown != r.shown || does != "" {
		r.shown, r.did = shown, does
	}
	w.events = nil
	w.records = append(w.records, rec)
}
