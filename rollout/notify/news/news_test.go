package news

import (
	"go/ast"
	"go/parser"
	"go/token"
	"slices"
	"strconv"
	"strings"
	"testing"
	"time"

	metav1 "k8s.io/apimachinery/pkg/apis/meta/v1"

	"tidegate.io/tidegate/rollout/plan"
	"tidegate.io/tidegate/schemas/v1alpha1"
)

var noon = time.Date(2026, 11, 23, 12, 0, 0, 0, time.UTC)

// status is one with a history of its own entry.
func status(phase v1alpha1.RolloutPhase, step int32, reason string) v1alpha1.RolloutStatus {
	return v1alpha1.RolloutStatus{
		Phase: phase, Step: step, ApprovedWeight: 20, Reason: reason, Message: "because of " + reason,
		History: []v1alpha1.HistoryEntry{{At: metav1.NewMicroTime(noon), Phase: phase, Step: step}},
	}
}

func rollout(s v1alpha1.RolloutStatus) *v1alpha1.Rollout {
	return &v1alpha1.Rollout{
		ObjectMeta: metav1.ObjectMeta{Namespace: "shop", Name: "cart-7", UID: "u-7"},
		Spec: v1alpha1.RolloutSpec{
			Release: "cart", Number: 7, Revision: "0123456789", Digest: "sha256:ab", TemplateRevision: "web-3-aa",
			Strategy: v1alpha1.Strategy{Steps: make([]v1alpha1.Step, 3)},
		},
		Status: s,
	}
}

const (
	pending     = v1alpha1.RolloutPending
	progressing = v1alpha1.RolloutProgressing
	promoting   = v1alpha1.RolloutPromoting
	succeeded   = v1alpha1.RolloutSucceeded
	aborting    = v1alpha1.RolloutAborting
	aborted     = v1alpha1.RolloutAborted
)

func TestWhatAChangeTells(t *testing.T) {
	aborts := func(phase v1alpha1.RolloutPhase, code string) v1alpha1.RolloutStatus {
		s := status(phase, 1, code)
		s.AbortCause = &v1alpha1.Cause{Code: code, Message: "because of " + code}
		return s
	}
	for name, c := range map[string]struct {
		before, after v1alpha1.RolloutStatus
		kind          Kind
		severity      Severity
	}{
		"a Rollout that waits for an older one says nothing": {status("", 0, ""), status(pending, 0, plan.ReasonPendingOlder), "", ""},
		"it begins": {status(pending, 0, plan.ReasonPendingOlder), status(progressing, 0, plan.ReasonBegun), Begun, Info},
		"an exposure that is approved but not there yet says nothing": {status(progressing, 0, plan.ReasonHoldPods), status(progressing, 1, plan.ReasonStepApproved), "", ""},
		"the route carries the step":                                  {status(progressing, 1, plan.ReasonStepApproved), status(progressing, 1, plan.ReasonStepBegun), Step, Info},
		"a step that exposes nothing":                                 {status(progressing, 1, plan.ReasonStepBegun), status(progressing, 2, plan.ReasonStepReached), Step, Debug},
		"pods that start are the controller at work":                  {status(progressing, 1, plan.ReasonStepBegun), status(progressing, 1, plan.ReasonHoldPods), Held, Debug},
		"it waits for an approval":                                    {status(progressing, 1, plan.ReasonHoldTime), status(progressing, 1, plan.ReasonHoldApproval), Waiting, Warning},
		"somebody paused it":                                          {status(progressing, 1, plan.ReasonHoldTime), status(progressing, 1, plan.ReasonHoldPaused), Waiting, Warning},
		"a promotion is paused":                                       {status(promoting, 3, plan.ReasonDraining), status(promoting, 3, plan.ReasonHoldPaused), Waiting, Warning},
		"the source has no data":                                      {status(progressing, 1, plan.ReasonHoldAnalysis), status(progressing, 1, plan.ReasonHoldNoData), Held, Warning},
		"a freeze holds it":                                           {status(progressing, 1, plan.ReasonStepBegun), status(progressing, 1, plan.ReasonHoldPolicy), Held, Warning},
		"a hold that this package does not know is one":               {status(progressing, 1, plan.ReasonStepBegun), status(progressing, 1, "TG-HOLD-MOON"), Held, Warning},
		"a reason that this package does not know says nothing":       {status(progressing, 1, plan.ReasonStepBegun), status(progressing, 1, "TG-MOON"), "", ""},
		"the same again says nothing":                                 {status(progressing, 1, plan.ReasonHoldNoData), status(progressing, 1, plan.ReasonHoldNoData), "", ""},
		"the revision cannot be rendered any more":                    {status(progressing, 1, plan.ReasonHoldTime), status(progressing, 1, "TG-ENGINE-DRIFT"), Held, Warning},
		"pods were lost":                                              {status(progressing, 2, plan.ReasonStepBegun), status(progressing, 1, plan.ReasonFallbackPods), FellBack, Warning},
		"it promotes":                                                 {status(progressing, 3, plan.ReasonHoldTime), status(promoting, 3, plan.ReasonPromoting), Promoting, Info},
		"draining says nothing more":                                  {status(promoting, 3, plan.ReasonPromoting), status(promoting, 3, plan.ReasonDraining), "", ""},
		"it succeeds":                                                 {status(promoting, 3, plan.ReasonRetiring), status(succeeded, 3, plan.ReasonSucceeded), Succeeded, Info},
		"what serves was changed":                                     {status(succeeded, 3, plan.ReasonSucceeded), status(succeeded, 3, plan.ReasonRepairing), Repairing, Warning},
		"what was changed is right again":                             {status(succeeded, 3, plan.ReasonRepairing), status(succeeded, 3, plan.ReasonSucceeded), "", ""},
		"the analysis fails":                                          {status(progressing, 1, plan.ReasonStepBegun), aborts(aborting, plan.ReasonAnalysisFail), Aborting, Error},
		"the stable revision has everything again":                    {aborts(aborting, plan.ReasonAnalysisFail), aborts(aborted, plan.ReasonAnalysisFail), Aborted, Error},
		"a person aborts it":                                          {status(progressing, 1, plan.ReasonStepBegun), aborts(aborting, plan.ReasonAbortCommand), Aborting, Warning},
		"a newer one takes over":                                      {status(progressing, 1, plan.ReasonStepBegun), aborts(aborting, plan.ReasonAbortSuperseded), Aborting, Info},
		"an end says more than the reason beside it":                  {status(progressing, 1, plan.ReasonHoldPaused), aborts(aborted, plan.ReasonHoldPaused), Aborted, Error},
	} {
		t.Run(name, func(t *testing.T) {
			e := Of(&c.before, rollout(c.after), nil, noon)
			if e == nil {
				if c.kind != "" {
					t.Fatalf("wanted %s, got nothing", c.kind)
				}
				return
			}
			if e.Kind != c.kind || e.Severity != c.severity {
				t.Errorf("wanted %s %s, got %s %s", c.kind, c.severity, e.Kind, e.Severity)
			}
			if e.Code != c.after.Reason || e.Why != c.after.Message || e.Title() == "" || !strings.Contains(e.Body(), e.Code) {
				t.Errorf("it does not explain itself: %+v", e)
			}
			if e.Severity.Reaches(Warning) && !strings.Contains(e.Body(), "Do: tidegate ") {
				t.Errorf("it asks for attention and not for anything to be done: %s", e.Body())
			}
		})
	}
}

// silent are the reasons that tell nothing by themselves, for the phase beside them or
// something that follows says it.
var silent = []string{
	plan.ReasonPendingOlder, plan.ReasonStepApproved, plan.ReasonDraining, plan.ReasonRetiring, plan.ReasonSucceeded,
	plan.ReasonAnalysisFail, plan.ReasonAbortCommand, plan.ReasonAbortSuperseded, plan.ReasonAbortRoute, plan.ReasonAbortDeadline, plan.ReasonAbortOutdated,
	plan.ReasonJobFailed, plan.ReasonHookFailed, plan.ReasonCommandLate, plan.ReasonCommandUnfit, plan.ReasonCommandReason,
}

// Whoever gives the planner a reason says here what people are told of it.
func TestEveryReasonOfThePlannerIsToldOrMeantToBeSilent(t *testing.T) {
	f, err := parser.ParseFile(token.NewFileSet(), "../../plan/reasons.go", nil, 0)
	if err != nil {
		t.Fatal(err)
	}
	found := 0
	ast.Inspect(f, func(n ast.Node) bool {
		literal, ok := n.(*ast.BasicLit)
		if !ok || literal.Kind != token.STRING {
			return true
		}
		code, err := strconv.Unquote(literal.Value)
		if err != nil || !strings.HasPrefix(code, "TG-") {
			return true
		}
		found++
		_, told := reasons[code]
		quiet := slices.Contains(silent, code)
		if told == quiet {
			t.Errorf("%s: wanted it in reasons of decide.go, or in silent of this test, found told=%t, silent=%t", code, told, quiet)
		}
		return true
	})
	if found < 20 {
		t.Errorf("only %d codes were found: this test looks for the wrong thing", found)
	}
}

func TestOneThingHasOneIDAndTwoHaveTwo(t *testing.T) {
	id := func(before, after v1alpha1.RolloutStatus) string { return Of(&before, rollout(after), nil, noon).ID }
	begun, analysis := status(progressing, 1, plan.ReasonStepBegun), status(progressing, 1, plan.ReasonHoldAnalysis)
	noData := status(progressing, 1, plan.ReasonHoldNoData)
	if id(begun, noData) != id(analysis, noData) {
		t.Error("a hold that comes and goes within a step is told again")
	}
	if id(begun, noData) == id(begun, status(progressing, 1, plan.ReasonHoldPolicy)) {
		t.Error("another hold of the step is not told")
	}
	later := noData
	later.History = append(slices.Clone(later.History), v1alpha1.HistoryEntry{At: metav1.NewMicroTime(noon.Add(time.Minute)), Step: 2})
	if id(begun, noData) == id(begun, later) {
		t.Error("the hold of the next step is not told")
	}
	other := rollout(noData)
	other.UID = "u-8"
	if e := Of(&begun, other, nil, noon); e.ID == id(begun, noData) {
		t.Error("another Rollout's is not told")
	}
	if Of(&begun, rollout(noData), nil, noon.Add(time.Hour)).ID != id(begun, noData) {
		t.Error("the time of telling is in the ID")
	}
	first, second := OfStep(rollout(begun), nil, 1, "look", "", noon), OfStep(rollout(begun), nil, 2, "look", "", noon)
	if first.ID == second.ID || first.ID != OfStep(rollout(begun), nil, 1, "look", "", noon.Add(time.Hour)).ID {
		t.Error("a step has not one ID of its own")
	}
}

func TestAnEventSaysWhatWhyAndWhatToDo(t *testing.T) {
	before := status(progressing, 1, plan.ReasonStepBegun)
	labels := map[string]string{"team": "shop"}
	e := Of(&before, rollout(status(progressing, 1, plan.ReasonHoldApproval)), labels, noon)
	labels["team"] = "changed later"
	if want := "shop/cart waits for a person at step 1/3"; e.Title() != want {
		t.Errorf("title: wanted %q, got %q", want, e.Title())
	}
	want := "Why: because of TG-HOLD-APPROVAL (TG-HOLD-APPROVAL)\nDo: tidegate approve cart -n shop --step 1, or tidegate abort cart -n shop"
	if e.Body() != want {
		t.Errorf("body: wanted %q, got %q", want, e.Body())
	}
	if e.Labels["team"] != "shop" {
		t.Error("the event shares the labels with the caller")
	}
	s := OfStep(rollout(before), nil, 2, "half of it is there", "oncall", noon)
	if s.Title() != "shop/cart says at step 2/3" || s.Body() != "half of it is there" || s.Sink != "oncall" || s.Kind != Notify {
		t.Errorf("a step: %q %q %q", s.Title(), s.Body(), s.Sink)
	}
	for _, k := range Kinds() {
		e := Event{Kind: k, Namespace: "shop", Release: "cart"}
		if strings.HasSuffix(e.Title(), string(k)) {
			t.Errorf("%s has no words", k)
		}
	}
}

func TestSeveritiesAreInOrder(t *testing.T) {
	for i, s := range Severities() {
		for j, least := range Severities() {
			if s.Reaches(least) != (i >= j) {
				t.Errorf("%s reaches %s: %t", s, least, s.Reaches(least))
			}
		}
	}
}
