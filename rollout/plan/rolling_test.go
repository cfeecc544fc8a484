package plan

import (
	"slices"
	"strings"
	"testing"
	"time"

	metav1 "k8s.io/apimachinery/pkg/apis/meta/v1"

	"tidegate.io/tidegate/schemas/v1alpha1"
)

// rollingSpec is a StatefulSet of 8 pods over another revision: 25 % with an approval, 50 %
// with a hold, all with an analysis.
func rollingSpec() v1alpha1.RolloutSpec {
	s := canarySpec()
	s.Strategy.Type = v1alpha1.StrategyRolling
	s.Workload = "StatefulSet"
	s.Strategy.Steps = []v1alpha1.Step{
		weigh(25), pauseForApproval(),
		weigh(50), pauseFor(30 * time.Second),
		weigh(100), analyze(),
	}
	s.Strategy.DrainDelay.Duration = 0
	return s
}

func rollingFirstSpec() v1alpha1.RolloutSpec {
	s := rollingSpec()
	s.Stable = nil
	return s
}

func rollingInPlaceSpec() v1alpha1.RolloutSpec {
	s := rollingSpec()
	s.Stable.Revision = s.Revision
	s.Stable.Replicas = 4
	return s
}

// Where rollingSpec waits: for the approval at 25 %, in the pause at 50 %, in the analysis at the end.
const quarter, half, whole = 2, 4, 6

// sharing is a revision whose workload is told to leave held of desired pods as they are.
func sharing(desired, held, available int32) Set {
	return Set{Knowledge: Present, UpToDate: true, Desired: desired, Held: held, Available: available, Leftovers: true}
}

// other is a revision of which the workload is not, whose own objects are there.
var other = Set{Knowledge: Absent, Leftovers: true}

// rollingIn is a rolling Rollout in a step since ago, all well.
func rollingIn(step int32, ago time.Duration) Observation {
	o := Observation{
		Spec: rollingSpec(), Stable: other, Canary: other, Shared: Present, Promotion: allowed,
		Status: v1alpha1.RolloutStatus{
			Phase: v1alpha1.RolloutProgressing, Step: step, Reason: ReasonBegun, Message: "begun",
		},
	}
	if step == 0 {
		o.Stable, o.Canary = sharing(8, 0, 8), Set{Knowledge: Absent}
		return o
	}
	w := exposureAfter(o.Spec, step).Weight
	o.Status.ApprovedWeight, o.Status.Weight = w, w
	o.Status.ApprovedAt, o.Status.ExposedAt, o.Status.StepStartedAt = at(-ago-time.Second), at(-ago), at(-ago)
	o.Canary = sharing(8, 8-8*w/100, 8*w/100)
	return o
}

func TestRolling(t *testing.T) {
	t.Parallel()
	tell := func(replicas, held int32) Action {
		return Action{Kind: ActionEnsureSet, Role: RoleCanary, Replicas: replicas, Held: held}
	}
	back := func(replicas int32) Action {
		return Action{Kind: ActionEnsureSet, Role: RoleStable, Replicas: replicas}
	}
	retire := func(r Role) Action { return Action{Kind: ActionRetire, Role: r} }
	first := Observation{
		Spec: rollingFirstSpec(), Stable: Set{Knowledge: Absent}, Canary: Set{Knowledge: Absent}, Shared: Present, Promotion: allowed,
	}
	aborts := rollingIn(half, time.Minute).with(func(o *Observation) {
		o.Status.Phase, o.Status.ApprovedWeight, o.Status.StepStartedAt, o.Status.ExposedAt = v1alpha1.RolloutAborting, 0, nil, nil
		o.Status.AbortCause = &v1alpha1.Cause{Code: ReasonAnalysisFail, Message: "it failed"}
	})
	const second = time.Second
	for name, c := range map[string]struct {
		o       Observation
		phase   v1alpha1.RolloutPhase
		step    int32
		reason  string
		says    string
		actions []Action
		after   time.Duration
	}{
		"the first share is approved and told at once": {
			o:     rollingIn(0, 0),
			phase: v1alpha1.RolloutProgressing, step: 1, reason: ReasonHoldPods, says: "step 1/6: 25 % of the pods", actions: []Action{tell(8, 6)}, after: look,
		},
		"a step has not begun before its pods are available": {
			o: rollingIn(quarter, 0).with(func(o *Observation) {
				o.Canary, o.Status.StepStartedAt, o.Status.ExposedAt = sharing(8, 6, 1), nil, nil
			}),
			phase: v1alpha1.RolloutProgressing, step: quarter, reason: ReasonHoldPods, says: "1 of 2 pods are available", after: 300 * second,
		},
		"a step whose pods are there waits for its approval": {
			o:     rollingIn(quarter, time.Minute),
			phase: v1alpha1.RolloutProgressing, step: quarter, reason: ReasonHoldApproval, says: "RolloutCommand approve for step 2",
		},
		"an approved step tells the workload the next share": {
			o: rollingIn(quarter, time.Minute).with(func(o *Observation) {
				o.Status.Approvals = []v1alpha1.Approval{{Step: quarter, Command: "c"}}
			}),
			phase: v1alpha1.RolloutProgressing, step: 3, reason: ReasonHoldPods, actions: []Action{tell(8, 4)}, after: look,
		},
		"a policy that does not allow it holds before the next share": {
			o: rollingIn(half, time.Hour).with(func(o *Observation) {
				o.Promotion = Promotion{Knowledge: Present, Code: "TG-POLICY-FREEZE", Message: "frozen", Until: t0.Add(time.Hour)}
			}),
			phase: v1alpha1.RolloutProgressing, step: half, reason: ReasonHoldPolicy, says: "TG-POLICY-FREEZE: frozen; until 2026-03-01T13:00:00Z", after: policyLook,
		},
		"pods that do not come abort at the deadline, and the old template is put back": {
			o: rollingIn(half, time.Hour).with(func(o *Observation) {
				o.Canary = sharing(8, 4, 1)
				o.Status.WaitingSince = at(-5 * time.Minute)
			}),
			phase: v1alpha1.RolloutAborting, step: half, reason: ReasonAbortDeadline, says: "goes back to revision", actions: []Action{back(8)}, after: look,
		},
		"pods that are lost hold and are not taken for others": {
			o: rollingIn(half, time.Hour).with(func(o *Observation) {
				o.Canary = sharing(8, 4, 0)
			}),
			phase: v1alpha1.RolloutProgressing, step: half, reason: ReasonHoldPods, says: "0 of 4 pods", after: 300 * second,
		},
		"a share that was enlarged by hand is told again": {
			o:     rollingIn(quarter, time.Minute).with(func(o *Observation) { o.Canary = sharing(8, 0, 8) }),
			phase: v1alpha1.RolloutProgressing, step: quarter, reason: ReasonHoldPods, actions: []Action{tell(8, 6)}, after: look,
		},
		"an approval that never reached the workload is too old": {
			o: rollingIn(quarter, 0).with(func(o *Observation) {
				o.Canary, o.Stable = Set{Knowledge: Absent}, sharing(8, 0, 8)
				o.Status.ApprovedAt, o.Status.StepStartedAt, o.Status.ExposedAt = at(-2*time.Minute), nil, nil
				o.Status.Paused = true
			}),
			phase: v1alpha1.RolloutProgressing, step: 0, reason: ReasonHoldPaused,
		},
		"when every share has passed only the leftovers of the old revision go": {
			o: rollingIn(whole, time.Minute).with(func(o *Observation) {
				o.Status.Analysis = roundOf(v1alpha1.VerdictPass, whole, second)
			}),
			phase: v1alpha1.RolloutPromoting, step: whole, reason: ReasonRetiring, actions: []Action{retire(RoleStable)}, after: look,
		},
		"with nothing left over it succeeds at once": {
			o: rollingIn(whole, time.Minute).with(func(o *Observation) {
				o.Status.Analysis = roundOf(v1alpha1.VerdictPass, whole, second)
				o.Stable = Set{Knowledge: Absent}
			}),
			phase: v1alpha1.RolloutSucceeded, step: whole, reason: ReasonSucceeded, says: "runs in all 8 pods",
		},
		"a bad analysis at the end puts the old template back": {
			o: rollingIn(whole, time.Minute).with(func(o *Observation) {
				o.Status.Analysis = roundOf(v1alpha1.VerdictFail, whole, second)
			}),
			phase: v1alpha1.RolloutAborting, step: whole, reason: ReasonAnalysisFail, actions: []Action{back(8)}, after: look,
		},
		"an abort waits until the old revision has its pods": {
			o:     aborts.with(func(o *Observation) { o.Canary, o.Stable = other, sharing(8, 0, 5) }),
			phase: v1alpha1.RolloutAborting, step: half, reason: ReasonAnalysisFail, says: "5 of 8 pods are available", after: look,
		},
		"then what only the new revision needed goes": {
			o:     aborts.with(func(o *Observation) { o.Canary, o.Stable = other, sharing(8, 0, 8) }),
			phase: v1alpha1.RolloutAborting, step: half, reason: ReasonAnalysisFail, actions: []Action{retire(RoleCanary)}, after: look,
		},
		"an abort ends when that is gone": {
			o:     aborts.with(func(o *Observation) { o.Canary, o.Stable = Set{Knowledge: Absent}, sharing(8, 0, 8) }),
			phase: v1alpha1.RolloutAborted, step: half, reason: ReasonAnalysisFail, says: "runs again, in 8 of 8 pods",
		},
		"an abort ends though the old revision has no pods either": {
			o: aborts.with(func(o *Observation) {
				o.Canary, o.Stable = Set{Knowledge: Absent}, sharing(8, 0, 0)
				o.Status.StableShortSince = at(-time.Hour)
			}),
			phase: v1alpha1.RolloutAborted, step: half, reason: ReasonAnalysisFail, says: "in 0 of 8 pods",
		},
		"a first install is told all of its pods": {
			o:     first,
			phase: v1alpha1.RolloutProgressing, reason: ReasonHoldPods, actions: []Action{tell(8, 0)}, after: look,
		},
		"a first install asks the policies": {
			o:     first.with(func(o *Observation) { o.Promotion = Promotion{} }),
			phase: v1alpha1.RolloutProgressing, reason: ReasonHoldPolicy, says: "could not be asked", after: look,
		},
		"a first install that asks for no pods is there at once": {
			o: first.with(func(o *Observation) {
				o.Spec.Replicas, o.Canary = 0, sharing(0, 0, 0)
				o.Status.Phase, o.Status.ApprovedWeight, o.Status.ApprovedAt = v1alpha1.RolloutProgressing, 100, at(0)
			}),
			phase: v1alpha1.RolloutSucceeded, reason: ReasonSucceeded,
		},
		"a CronJob is in force as soon as it is written": {
			o: first.with(func(o *Observation) {
				o.Spec.Replicas, o.Canary = 0, Set{Knowledge: Present, UpToDate: true, SelfSized: true}
				o.Status.Phase, o.Status.ApprovedWeight, o.Status.ApprovedAt = v1alpha1.RolloutProgressing, 100, at(0)
			}),
			phase: v1alpha1.RolloutSucceeded, reason: ReasonSucceeded, says: "is in force",
		},
		"an autoscaled workload keeps what its load asks for": {
			o: rollingIn(0, 0).with(func(o *Observation) {
				o.Spec.Strategy.Steps = []v1alpha1.Step{weigh(100)}
				o.Spec.Replicas, o.Stable.Desired, o.Stable.Available = 2, 7, 7
				o.Stable.Autoscaled, o.Canary.Autoscaled = true, true
			}),
			phase: v1alpha1.RolloutProgressing, step: 1, reason: ReasonHoldPods, actions: []Action{tell(7, 0)}, after: look,
		},
		"a workload that cannot be read is not written": {
			o:     rollingIn(half, time.Hour).with(func(o *Observation) { o.Canary, o.Stable = Set{}, Set{} }),
			phase: v1alpha1.RolloutProgressing, step: half, reason: ReasonHoldUnknown, says: "the new set", after: look,
		},
		"a newer Rollout turns back what has not ended": {
			o:     rollingIn(half, time.Hour).with(func(o *Observation) { o.Newer = "cart-3" }),
			phase: v1alpha1.RolloutAborting, step: half, reason: ReasonAbortSuperseded, actions: []Action{back(8)}, after: look,
		},
	} {
		t.Run(name, func(t *testing.T) {
			t.Parallel()
			d := Next(c.o, t0)
			if d.Status.Phase != c.phase || d.Status.Step != c.step || d.Status.Reason != c.reason || !strings.Contains(d.Status.Message, c.says) {
				t.Errorf("got %s step %d %s: %s", d.Status.Phase, d.Status.Step, d.Status.Reason, d.Status.Message)
			}
			if !slices.Equal(d.Actions, c.actions) || d.RequeueAfter != c.after {
				t.Errorf("got %v after %s, want %v after %s", d.Actions, d.RequeueAfter, c.actions, c.after)
			}
			for _, b := range brokenRolling(c.o, t0, d) {
				t.Error(b)
			}
		})
	}
}

func TestRiseSaysWhatThePoliciesAreAskedAbout(t *testing.T) {
	t.Parallel()
	blueGreen := Observation{Spec: blueGreenSpec(), Stable: setOf(8, 8), Canary: Set{Knowledge: Absent}, Traffic: routeAt(0)}
	for name, c := range map[string]struct {
		o            Observation
		step, weight int32
		rises        bool
	}{
		"the first step of a canary":            {inStep(0, 0), 1, 25, true},
		"the next step":                         {inStep(at50, 0), to100, 100, true},
		"what is approved and not yet carried":  {inStep(at50, 0).with(func(o *Observation) { o.Traffic = routeAt(25) }), at50, 50, true},
		"nothing at the last step":              {inStep(at100, 0), 0, 0, false},
		"nothing while an old set drains":       {promoting(0), 0, 0, false},
		"nothing on the way back":               {aborting(50), 0, 0, false},
		"the switch, not the preview before it": {blueGreen, 3, 100, true},
		"a share of pods":                       {rollingIn(quarter, 0), 3, 50, true},
		"a share that the workload is not told": {rollingIn(quarter, 0).with(func(o *Observation) { o.Canary = Set{Knowledge: Absent} }), quarter, 25, true},
		"a first install":                       {Observation{Spec: firstSpec()}, 0, 100, true},
		"nothing where a revision serves":       {Observation{Spec: inPlaceSpec(), Traffic: routeAt(100)}, 0, 0, false},
	} {
		if step, weight, rises := mayRise(c.o); step != c.step || weight != c.weight || rises != c.rises {
			t.Errorf("%s: got step %d, %d %%, %t", name, step, weight, rises)
		}
	}
}

func TestNobodyIsAskedAboutWhatHoldsAnyway(t *testing.T) {
	t.Parallel()
	passed := inStep(at25, time.Hour)
	shared := rollingIn(half, time.Hour).with(func(o *Observation) { o.Status.Analysis = roundOf(v1alpha1.VerdictPass, half, 0) })
	for name, c := range map[string]struct {
		o     Observation
		rises bool
	}{
		"a canary that nothing else holds":       {passed, true},
		"one that has not begun":                 {inStep(0, 0).with(func(o *Observation) { o.Status.Phase = v1alpha1.RolloutPending }), true},
		"one whose hold is not over":             {inStep(at25, 0), false},
		"one that is paused":                     {passed.with(func(o *Observation) { o.Status.Paused = true }), false},
		"one that waits for its pods":            {passed.with(func(o *Observation) { o.Canary = setOf(4, 2) }), false},
		"one behind an older Rollout":            {inStep(0, 0).with(func(o *Observation) { o.Older = "cart-1" }), false},
		"one that another has taken over":        {passed.with(func(o *Observation) { o.Newer = "cart-3" }), false},
		"what is approved and not yet carried":   {inStep(at50, 0).with(func(o *Observation) { o.Traffic = routeAt(25) }), true},
		"a share of pods":                        {shared, true},
		"a first install that waits for pods":    {Observation{Spec: firstSpec()}, false},
		"a blueGreen set that is not whole":      {Observation{Spec: blueGreenSpec(), Stable: setOf(8, 8), Canary: Set{Knowledge: Absent}, Traffic: routeAt(0)}, false},
		"whatever cannot be read to be in order": {passed.with(func(o *Observation) { o.Shared = Unknown }), false},
	} {
		if _, _, rises := Rise(c.o, t0); rises != c.rises {
			t.Errorf("%s: wanted asked %t, found %t: %s", name, c.rises, rises, Next(c.o, t0).Status.Message)
		}
	}
}

func TestTheFirstRiseIsRemembered(t *testing.T) {
	t.Parallel()
	entry := func(minute int, weight int32) v1alpha1.HistoryEntry {
		return v1alpha1.HistoryEntry{At: metav1.NewMicroTime(t0.Add(time.Duration(minute) * time.Minute)), Weight: weight}
	}
	waits := []v1alpha1.HistoryEntry{entry(0, 0), entry(1, 0)}
	risen := append(slices.Clone(waits), entry(2, 25), entry(3, 0), entry(4, 25))
	for name, c := range map[string]struct {
		spec    v1alpha1.RolloutSpec
		history []v1alpha1.HistoryEntry
		want    time.Time
	}{
		"one that is new":                         {spec: canarySpec()},
		"one that has begun and waits":            {spec: canarySpec(), history: waits},
		"one that has risen, fallen and risen":    {spec: canarySpec(), history: risen, want: t0.Add(2 * time.Minute)},
		"a first install takes nothing":           {spec: firstSpec(), history: risen},
		"a revision that serves already, neither": {spec: inPlaceSpec(), history: risen},
	} {
		if got := Raised(&v1alpha1.Rollout{Spec: c.spec, Status: v1alpha1.RolloutStatus{History: c.history}}); !got.Equal(c.want) {
			t.Errorf("%s: wanted %v, found %v", name, c.want, got)
		}
	}
}

// TestTheFirstRiseOutlastsTheRest is about a set whose pods come and go.
func TestTheFirstRiseOutlastsTheRest(t *testing.T) {
	t.Parallel()
	o := inStep(at25, time.Hour)
	for i := range maxHistory + 20 {
		o.Status.History = append(o.Status.History, v1alpha1.HistoryEntry{At: metav1.NewMicroTime(t0.Add(time.Duration(i) * time.Second)), Weight: int32(min(i/3, 1) * 25)})
	}
	for range 3 {
		d := Next(o, t0)
		if n := len(d.Status.History); n != maxHistory {
			t.Fatalf("wanted %d entries, found %d", maxHistory, n)
		}
		if at := Raised(&v1alpha1.Rollout{Spec: o.Spec, Status: d.Status}); !at.Equal(t0.Add(3 * time.Second)) {
			t.Errorf("wanted the first rise kept, found %v", at)
		}
		o.Status.History = slices.Concat(d.Status.History, d.Status.History[maxHistory-1:])
	}
}
