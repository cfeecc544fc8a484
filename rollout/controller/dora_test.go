package controller

import (
	"testing"
	"time"

	"github.com/google/go-cmp/cmp"
	metav1 "k8s.io/apimachinery/pkg/apis/meta/v1"

	"tidegate.io/tidegate/rollout/plan"
	"tidegate.io/tidegate/schemas/v1alpha1"
)

// ended is a Rollout that was created at noon over another revision, was exposed after a
// minute, and ended after ten; of an abort two minutes before.
func ended(phase v1alpha1.RolloutPhase, change func(*v1alpha1.Rollout)) *v1alpha1.Rollout {
	noon := time.Date(2026, 5, 4, 12, 0, 0, 0, time.UTC)
	move := func(after time.Duration, phase v1alpha1.RolloutPhase, weight int32) v1alpha1.HistoryEntry {
		return v1alpha1.HistoryEntry{At: metav1.NewMicroTime(noon.Add(after)), Phase: phase, Weight: weight}
	}
	r := &v1alpha1.Rollout{}
	r.CreationTimestamp = metav1.NewTime(noon)
	r.Spec = v1alpha1.RolloutSpec{Revision: "bbbbbbbbbb", Stable: &v1alpha1.StableReference{Revision: "aaaaaaaaaa"}}
	r.Status.Phase = phase
	r.Status.History = []v1alpha1.HistoryEntry{move(time.Minute, v1alpha1.RolloutProgressing, 10)}
	if phase == v1alpha1.RolloutAborted {
		r.Status.History = append(r.Status.History, move(8*time.Minute, v1alpha1.RolloutAborting, 0))
		r.Status.AbortCause = &v1alpha1.Cause{Code: plan.ReasonAnalysisFail}
	}
	r.Status.History = append(r.Status.History, move(10*time.Minute, phase, 0))
	if change != nil {
		change(r)
	}
	return r
}

func TestFigures(t *testing.T) {
	t.Parallel()
	const good, bad = v1alpha1.RolloutSucceeded, v1alpha1.RolloutAborted
	for name, c := range map[string]struct {
		rollout   *v1alpha1.Rollout
		committed string
		want      figures
	}{
		"a change that comes into service took from when it was applied": {
			ended(good, nil), "", figures{result: changeGood, leadTime: 10 * time.Minute},
		},
		"or from when it was committed, where the pipeline says so": {
			ended(good, nil), "2026-05-04T11:00:00Z", figures{result: changeGood, leadTime: 70 * time.Minute},
		},
		"a commit of tomorrow is not believed": {
			ended(good, nil), "2026-05-05T11:00:00Z", figures{result: changeGood, leadTime: 10 * time.Minute},
		},
		"nor is one of 1970, which no clock has said": {
			ended(good, nil), "1970-01-01T00:00:00Z", figures{result: changeGood, leadTime: 10 * time.Minute},
		},
		"nor one of the year 1": {
			ended(good, nil), "0001-01-01T00:00:00Z", figures{result: changeGood, leadTime: 10 * time.Minute},
		},
		"nor what is no time": {
			ended(good, nil), "yesterday", figures{result: changeGood, leadTime: 10 * time.Minute},
		},
		"a commit of half a year ago is": {
			ended(good, nil), "2025-11-04T12:00:00Z", figures{result: changeGood, leadTime: 181*24*time.Hour + 10*time.Minute},
		},
		"a change of the size alone is none": {
			ended(good, func(r *v1alpha1.Rollout) { r.Spec.Stable.Revision = r.Spec.Revision }), "", figures{},
		},
		"a first install is one": {
			ended(good, func(r *v1alpha1.Rollout) { r.Spec.Stable = nil }), "", figures{result: changeGood, leadTime: 10 * time.Minute},
		},
		"what was exposed and taken back has failed, and service was restored in two minutes": {
			ended(bad, nil), "", figures{result: changeFailed, restore: 2 * time.Minute},
		},
		"what nobody saw was stopped": {
			ended(bad, func(r *v1alpha1.Rollout) { r.Status.History = r.Status.History[1:] }), "", figures{result: changeStopped},
		},
		"what gave way to a newer one has not failed": {
			ended(bad, func(r *v1alpha1.Rollout) { r.Status.AbortCause.Code = plan.ReasonAbortSuperseded }), "", figures{},
		},
		"what a person takes back later has failed": {
			ended(good, func(r *v1alpha1.Rollout) { r.Spec.Restores = &v1alpha1.Restoration{} }), "", figures{result: changeFailed, restore: 10 * time.Minute},
		},
	} {
		t.Run(name, func(t *testing.T) {
			t.Parallel()
			got := figuresOf(c.rollout, committedAt(c.committed, c.rollout))
			if diff := cmp.Diff(c.want, got, cmp.AllowUnexported(figures{})); diff != "" {
				t.Errorf("figures (-want +got):\n%s", diff)
			}
		})
	}
}

func TestEachKindOfStepHasAName(t *testing.T) {
	t.Parallel()
	yes, n := true, int32(5)
	steps := []v1alpha1.Step{
		{SetWeight: &n},
		{Pause: &v1alpha1.Pause{Duration: &metav1.Duration{}}},
		{Pause: &v1alpha1.Pause{Approval: true}},
		{Analyze: &v1alpha1.Analyze{}},
		{SetScale: &v1alpha1.Scale{}},
		{SetHeaderRoute: &v1alpha1.HeaderRoute{}},
		{SetMirrorRoute: &v1alpha1.MirrorRoute{}},
		{SetBaseline: &yes},
		{Job: &v1alpha1.JobStep{}},
		{Hook: &v1alpha1.HookStep{}},
		{Notify: &v1alpha1.NotifyStep{}},
	}
	if len(steps) != len(stepKinds) {
		t.Fatalf("there are %d kinds, and %d names", len(steps), len(stepKinds))
	}
	for i, s := range steps {
		if got := kindOf(s); got != stepKinds[i] {
			t.Errorf("%s is called %s", stepKinds[i], got)
		}
	}
}
