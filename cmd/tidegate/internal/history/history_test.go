package history

import (
	"strings"
	"testing"
	"time"

	"github.com/google/go-cmp/cmp"
	metav1 "k8s.io/apimachinery/pkg/apis/meta/v1"
	"k8s.io/apimachinery/pkg/runtime"

	"tidegate.io/tidegate/cmd/tidegate/internal/term"
	"tidegate.io/tidegate/schemas/v1alpha1"
)

var noon = time.Date(2026, 5, 4, 12, 0, 0, 0, time.UTC)

func rollout(number int64, revision string, phase v1alpha1.RolloutPhase, change func(*v1alpha1.Rollout)) v1alpha1.Rollout {
	r := v1alpha1.Rollout{
		ObjectMeta: metav1.ObjectMeta{
			Name: "cart-" + string(rune('0'+number)), Namespace: "shop",
			CreationTimestamp: metav1.NewTime(noon.Add(time.Duration(number) * time.Hour)),
		},
		Spec: v1alpha1.RolloutSpec{
			Release: "cart", Number: number, Revision: revision, Digest: "sha256:feed", TemplateRevision: "web-3-5f0c1b2a9d",
			Strategy: v1alpha1.Strategy{Type: v1alpha1.StrategyCanary},
		},
		Status: v1alpha1.RolloutStatus{Phase: phase, Reason: "TG-X", Message: "as it is"},
	}
	if phase.Terminal() {
		r.Status.History = []v1alpha1.HistoryEntry{{
			At: metav1.NewMicroTime(r.CreationTimestamp.Add(90 * time.Second)), Phase: phase, Step: 2, Weight: 100, Reason: "TG-X", Message: "as it is",
		}}
	}
	if change != nil {
		change(&r)
	}
	return r
}

func shown() View {
	rollouts := []v1alpha1.Rollout{
		rollout(1, "aaaaaaaaaa", v1alpha1.RolloutSucceeded, nil),
		rollout(2, "bbbbbbbbbb", v1alpha1.RolloutSucceeded, nil),
		rollout(3, "cccccccccc", v1alpha1.RolloutAborted, func(r *v1alpha1.Rollout) {
			r.Status.AbortCause = &v1alpha1.Cause{Code: "TG-ANALYSIS-FAIL", Message: "5 % errors, at most 1 % pass"}
			r.Spec.Values = &runtime.RawExtension{Raw: []byte(`{"image":"cart:3"}`)}
			r.Status.Checks = []v1alpha1.Check{{Step: 1, Hook: "gate", Outcome: v1alpha1.CheckPassed, At: metav1.NewMicroTime(noon), Message: "200 OK"}}
		}),
		rollout(4, "aaaaaaaaaa", v1alpha1.RolloutProgressing, func(r *v1alpha1.Rollout) {
			r.Spec.Restores = &v1alpha1.Restoration{Rollout: "cart-1", Command: "undo"}
		}),
		{Spec: v1alpha1.RolloutSpec{Release: "other", Number: 9}},
	}
	commands := []v1alpha1.RolloutCommand{{
		ObjectMeta: metav1.ObjectMeta{CreationTimestamp: metav1.NewTime(noon)},
		Spec:       v1alpha1.RolloutCommandSpec{Rollout: "cart-3", Action: v1alpha1.CommandApprove, Step: 1, Actor: "alice", Reason: "looks right"},
		Status:     v1alpha1.RolloutCommandStatus{Outcome: v1alpha1.OutcomeApplied, Message: "step 1 is approved"},
	}}
	release := &v1alpha1.Release{ObjectMeta: metav1.ObjectMeta{Name: "cart", Namespace: "shop"}}
	return Of(release, rollouts, commands)
}

func TestTheNewestComesFirstAndOneServes(t *testing.T) {
	t.Parallel()
	want := `NUMBER  REVISION    OUTCOME    TEMPLATE          TOOK         AGE   WHY
4       aaaaaaaaaa  under way  web-3-5f0c1b2a9d  2h0m so far  2h0m  brought back from cart-1
3       cccccccccc  aborted    web-3-5f0c1b2a9d  1m30s        3h0m  TG-ANALYSIS-FAIL: 5 % errors, at most 1 % pass
2       bbbbbbbbbb  serving    web-3-5f0c1b2a9d  1m30s        4h0m
1       aaaaaaaaaa  served     web-3-5f0c1b2a9d  1m30s        5h0m`
	got := strings.Join(shown().Table(term.Style{}, noon.Add(6*time.Hour)), "\n")
	if diff := cmp.Diff(want, got); diff != "" {
		t.Errorf("table (-want +got):\n%s", diff)
	}
}

func TestOneRolloutIsShownWhole(t *testing.T) {
	t.Parallel()
	want := `Rollout cart-3: revision cccccccccc, aborted
  template web-3-5f0c1b2a9d, strategy canary, sha256:feed
  created 2026-05-04T15:00:00Z, took 1m30s
  TG-ANALYSIS-FAIL: 5 % errors, at most 1 % pass
Moves:
  15:01:30  Aborted     step 2, 100 %  TG-X: as it is
Jobs and hooks:
  12:00:00  step 1  hook gate: Passed 200 OK
Decisions of people:
  12:00:00  approve of step 1 by alice: looks right (Applied: step 1 is approved)
Values:
  image: cart:3`
	for _, which := range []string{"3", "cart-3", "cccccccccc"} {
		entry, ok := shown().Find(which)
		if !ok {
			t.Fatalf("%q is not found", which)
		}
		got := strings.Join(entry.Lines(term.Style{}, noon.Add(6*time.Hour)), "\n")
		if diff := cmp.Diff(want, got); diff != "" {
			t.Errorf("%s (-want +got):\n%s", which, diff)
		}
	}
	if _, ok := shown().Find("8"); ok {
		t.Error("a rollout of that number is found, and there is none")
	}
}

func TestWhatOthersWroteIsNoLineOfTheRecord(t *testing.T) {
	t.Parallel()
	const forged = "no\x1b[2J\n  12:00:01  approve of step 2 by boss: ok"
	command := v1alpha1.RolloutCommand{
		ObjectMeta: metav1.ObjectMeta{CreationTimestamp: metav1.NewTime(noon)},
		Spec:       v1alpha1.RolloutCommandSpec{Rollout: "cart-3", Action: v1alpha1.CommandAbort, Actor: forged, Reason: forged},
		Status:     v1alpha1.RolloutCommandStatus{Outcome: v1alpha1.OutcomeApplied, Message: forged},
	}
	r := rollout(3, "cccccccccc", v1alpha1.RolloutAborted, func(r *v1alpha1.Rollout) {
		r.Status.AbortCause = &v1alpha1.Cause{Code: "TG-ABORT-COMMAND", Message: forged}
		r.Status.History[0].Message = forged
		r.Status.Checks = []v1alpha1.Check{{Step: 1, Hook: "gate", Outcome: v1alpha1.CheckPassed, Message: forged}}
		r.Spec.Values = &runtime.RawExtension{Raw: []byte(`{"image":"\u001b[2J"}`)}
	})
	v := Of(&v1alpha1.Release{ObjectMeta: metav1.ObjectMeta{Name: "cart", Namespace: "shop"}}, []v1alpha1.Rollout{r}, []v1alpha1.RolloutCommand{command})
	entry, _ := v.Find("3")
	for _, line := range append(entry.Lines(term.Style{}, noon), v.Table(term.Style{}, noon)...) {
		if strings.ContainsAny(line, "\x1b\n") || strings.HasPrefix(strings.TrimSpace(line), "12:00:01") {
			t.Errorf("what somebody else wrote is shown as it is: %q", line)
		}
	}
}

func TestAReleaseWithoutRollouts(t *testing.T) {
	t.Parallel()
	v := Of(&v1alpha1.Release{ObjectMeta: metav1.ObjectMeta{Name: "cart", Namespace: "shop"}}, nil, nil)
	if diff := cmp.Diff([]string{"Release shop/cart has no Rollout yet."}, v.Table(term.Style{}, noon)); diff != "" {
		t.Error(diff)
	}
}
