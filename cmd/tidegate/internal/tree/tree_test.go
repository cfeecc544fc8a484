package tree

import (
	"encoding/json"
	"flag"
	"os"
	"path/filepath"
	"reflect"
	"strings"
	"testing"
	"time"

	appsv1 "k8s.io/api/apps/v1"
	metav1 "k8s.io/apimachinery/pkg/apis/meta/v1"

	"tidegate.io/tidegate/cmd/tidegate/internal/term"
	"tidegate.io/tidegate/schemas/v1alpha1"
)

var update = flag.Bool("update", false, "rewrite the golden files")

var noon = time.Date(2026, 5, 4, 12, 0, 0, 0, time.UTC)

const (
	newRevision = "3f2a91c04d"
	oldRevision = "9c0e55d1aa"
)

func ago(d time.Duration) *metav1.MicroTime {
	t := metav1.NewMicroTime(noon.Add(-d))
	return &t
}

func release(change func(*v1alpha1.Release)) *v1alpha1.Release {
	r := &v1alpha1.Release{}
	r.Namespace, r.Name, r.Generation = "shop", "cart", 3
	r.Spec.Template.Name = "web"
	r.Status = v1alpha1.ReleaseStatus{
		ObservedGeneration: 3,
		Phase:              v1alpha1.ReleaseProgressing,
		Message:            "step 2 of 4: 25 % of requests go to revision 3f2a91c04d.",
		TemplateRevision:   "web-1",
		Revision:           newRevision,
		StableRevision:     oldRevision,
		Rollout:            "cart-3",
	}
	if change != nil {
		change(r)
	}
	return r
}

func rollout(change func(*v1alpha1.Rollout)) *v1alpha1.Rollout {
	o := &v1alpha1.Rollout{}
	o.Namespace, o.Name = "shop", "cart-3"
	o.Spec = v1alpha1.RolloutSpec{
		Release: "cart", Number: 3, Revision: newRevision, Replicas: 4,
		Stable: &v1alpha1.StableReference{Rollout: "cart-2", Revision: oldRevision, Replicas: 4},
		Strategy: v1alpha1.Strategy{
			Type: v1alpha1.StrategyCanary,
			Steps: []v1alpha1.Step{
				{SetWeight: new(int32(5))},
				{Pause: &v1alpha1.Pause{Duration: &metav1.Duration{Duration: 10 * time.Second}}},
				{Analyze: &v1alpha1.Analyze{}},
				{SetWeight: new(int32(25))},
				{Pause: &v1alpha1.Pause{Duration: &metav1.Duration{Duration: 90 * time.Second}}},
				{Analyze: &v1alpha1.Analyze{}},
				{SetWeight: new(int32(50))},
				{Pause: &v1alpha1.Pause{Approval: true}},
				{SetWeight: new(int32(100))},
			},
			Analysis: &v1alpha1.Analysis{Metrics: []v1alpha1.Metric{
				{Name: "error-ratio", Unit: "%"}, {Name: "p99", Unit: "ms"},
			}},
		},
	}
	o.Status = v1alpha1.RolloutStatus{
		Phase: v1alpha1.RolloutProgressing, Reason: "TG-HOLD-ANALYSIS",
		Message: "the step holds until the analysis passes.",
		Step:    6, Weight: 25, ApprovedWeight: 25, StepStartedAt: ago(30 * time.Second),
		Analysis: &v1alpha1.AnalysisRound{
			Verdict: v1alpha1.VerdictInconclusive, TakenAt: *ago(4 * time.Second), Step: 6,
			Message: "p99 has too few samples.",
			Findings: []v1alpha1.Finding{
				{Metric: "error-ratio", Judge: "threshold", Verdict: v1alpha1.VerdictPass, Canary: "0.00123", Stable: "0.001", CanarySamples: "1240.4", StableSamples: "3711", Limit: "0.01"},
				{Metric: "p99", Judge: "ratio", Verdict: v1alpha1.VerdictInconclusive, Canary: "0.0812", CanarySamples: "41", Message: "41 samples of the canary, at least 100 are wanted."},
			},
		},
	}
	if change != nil {
		change(o)
	}
	return o
}

func deployment(revision string, desired, available int32) appsv1.Deployment {
	d := appsv1.Deployment{}
	d.Name = "cart-" + revision
	d.Labels = map[string]string{v1alpha1.LabelRelease: "cart", v1alpha1.LabelRevision: revision}
	d.Spec.Replicas = &desired
	d.Status.AvailableReplicas = available
	return d
}

func scenes() map[string]View {
	both := []appsv1.Deployment{deployment(newRevision, 1, 1), deployment(oldRevision, 4, 4)}
	unreadable := Build(release(nil), nil, nil)
	unreadable.Notes = []string{"the Deployments of shop cannot be read: forbidden"}
	return map[string]View{
		"progressing": Build(release(nil), rollout(nil), both),
		"resized": Build(release(nil), rollout(func(o *v1alpha1.Rollout) {
			o.Spec.Replicas, o.Spec.Stable.Replicas = 8, 8
			o.Spec.Resized = []v1alpha1.FormerSize{{Replicas: 4, StableReplicas: 4, Until: metav1.NewTime(noon.Add(-time.Minute))}}
		}), both),
		"serving": Build(
			release(func(r *v1alpha1.Release) {
				r.Status.Phase, r.Status.StableRevision = v1alpha1.ReleaseServing, newRevision
				r.Status.Message = "revision 3f2a91c04d has all of the traffic."
			}),
			rollout(func(o *v1alpha1.Rollout) {
				o.Status = v1alpha1.RolloutStatus{Phase: v1alpha1.RolloutSucceeded, Step: 9, Weight: 100, ApprovedWeight: 100, Reason: "TG-SUCCEEDED"}
			}),
			[]appsv1.Deployment{deployment(newRevision, 4, 4)}),
		"aborted": Build(
			release(func(r *v1alpha1.Release) {
				r.Status.Phase = v1alpha1.ReleaseAborted
				r.Status.Message = "error-ratio was 5.2 %, at most 1 % is allowed; revision 9c0e55d1aa serves. Fix the version and apply the Release again."
			}),
			rollout(func(o *v1alpha1.Rollout) {
				o.Status.Phase, o.Status.Weight, o.Status.ApprovedWeight, o.Status.Reason = v1alpha1.RolloutAborted, 0, 0, "TG-ANALYSIS-FAIL"
				o.Status.AbortCause = &v1alpha1.Cause{Code: "TG-ANALYSIS-FAIL", Message: "error-ratio was 5.2 %, at most 1 % is allowed"}
				o.Status.Analysis.Verdict = v1alpha1.VerdictFail
				o.Status.Analysis.Findings = []v1alpha1.Finding{{Metric: "error-ratio", Judge: "threshold", Verdict: v1alpha1.VerdictFail, Canary: "0.052", CanarySamples: "500", Limit: "0.01", Message: "wanted at most 1 %, found 5.2 %."}}
			}),
			[]appsv1.Deployment{deployment(oldRevision, 4, 4)}),
		"first": Build(
			release(func(r *v1alpha1.Release) { r.Status.StableRevision = "" }),
			rollout(func(o *v1alpha1.Rollout) {
				o.Spec.Stable = nil
				o.Status = v1alpha1.RolloutStatus{Phase: v1alpha1.RolloutProgressing, Message: "waiting for 4 available pods."}
			}),
			[]appsv1.Deployment{deployment(newRevision, 4, 1)}),
		"in-place": Build(release(nil),
			rollout(func(o *v1alpha1.Rollout) {
				o.Spec.Stable.Revision = newRevision
				o.Status.Weight, o.Status.ApprovedWeight, o.Status.Step, o.Status.Analysis = 100, 100, 0, nil
			}),
			[]appsv1.Deployment{deployment(newRevision, 6, 4)}),
		"source-down": Build(release(nil), rollout(func(o *v1alpha1.Rollout) {
			o.Status.Paused = true
			o.Status.Analysis.Verdict = v1alpha1.VerdictUnknown
			o.Status.Analysis.Findings = []v1alpha1.Finding{{Metric: "p99", Judge: "threshold", Verdict: v1alpha1.VerdictUnknown, Cause: v1alpha1.CauseSourceDown, Message: "the source does not answer."}}
		}), both),
		"not-looked-at": Build(release(func(r *v1alpha1.Release) {
			r.Generation, r.Status = 1, v1alpha1.ReleaseStatus{ObservedGeneration: -1}
		}), nil, nil),
		"unreadable-sets": unreadable,
	}
}

func TestDrawingMatchesTheGoldenFiles(t *testing.T) {
	for name, view := range scenes() {
		for kind, o := range map[string]Options{
			"ascii":   {Now: noon},
			"unicode": {Now: noon, Style: term.Style{Unicode: true}, Columns: 72},
			"color":   {Now: noon, Style: term.Style{Unicode: true, Color: true}},
		} {
			t.Run(name+"/"+kind, func(t *testing.T) {
				golden(t, name+"."+kind+".txt", strings.Join(Draw(view, o), "\n")+"\n")
			})
		}
		t.Run(name+"/facts", func(t *testing.T) {
			var b strings.Builder
			for _, f := range Facts(view) {
				b.WriteString(f.Key + " | " + f.Text + "\n")
			}
			golden(t, name+".facts.txt", b.String())
		})
	}
}

func TestTheJSONFormMatchesTheGoldenFile(t *testing.T) {
	data, err := json.MarshalIndent(scenes()["progressing"], "", "  ")
	if err != nil {
		t.Fatal(err)
	}
	golden(t, "progressing.json", string(data)+"\n")
}

func golden(t *testing.T, name, got string) {
	t.Helper()
	path := filepath.Join("testdata", name)
	if *update {
		if err := os.WriteFile(path, []byte(got), 0o600); err != nil {
			t.Fatal(err)
		}
		return
	}
	want, err := os.ReadFile(path)
	if err != nil {
		t.Fatal(err)
	}
	if got != string(want) {
		t.Errorf("%s: got\n%s\nwant\n%s\nIf this is what it should be, run the test with -update.", path, got, want)
	}
}

func TestOutcomeSpeaksOfTheNewestSpecOnly(t *testing.T) {
	for name, c := range map[string]struct {
		phase    v1alpha1.ReleasePhase
		observed int64
		want     Outcome
	}{
		"serving is serving":                           {v1alpha1.ReleaseServing, 3, Serving},
		"serving an older spec is not the end":         {v1alpha1.ReleaseServing, 2, Underway},
		"aborted has failed":                           {v1alpha1.ReleaseAborted, 3, Failed},
		"an older spec's abort is not this one's":      {v1alpha1.ReleaseAborted, 2, Underway},
		"invalid has failed":                           {v1alpha1.ReleaseInvalid, 3, Failed},
		"aborting is not yet the end":                  {v1alpha1.ReleaseAborting, 3, Underway},
		"paused waits":                                 {v1alpha1.ReleasePaused, 3, Underway},
		"no phase at all is nothing to rely on":        {"", 3, Underway},
		"a status that was never written says nothing": {"", -1, Underway},
	} {
		t.Run(name, func(t *testing.T) {
			r := release(func(r *v1alpha1.Release) { r.Status.Phase, r.Status.ObservedGeneration = c.phase, c.observed })
			if got := Build(r, nil, nil).Outcome; got != c.want {
				t.Errorf("got %s, want %s", got, c.want)
			}
		})
	}
}

func TestChangedTellsOnlyWhatIsNew(t *testing.T) {
	before := []Fact{{"weight", "5 %"}, {"step", "1"}, {"set a", "1 of 1"}}
	after := []Fact{{"weight", "25 %"}, {"step", "1"}, {"set b", "0 of 1"}}
	want := []Fact{{"weight", "25 %"}, {"set b", "0 of 1"}}
	if got := Changed(before, after); !reflect.DeepEqual(got, want) {
		t.Errorf("got %v, want %v", got, want)
	}
	if got := Changed(after, after); len(got) != 0 {
		t.Errorf("nothing changed, got %v", got)
	}
}

func TestFactsDoNotAge(t *testing.T) {
	for name, view := range scenes() {
		seen := map[string]bool{}
		for _, f := range Facts(view) {
			if seen[f.Key] {
				t.Errorf("%s: two facts with key %q", name, f.Key)
			}
			seen[f.Key] = true
		}
	}
}

func TestNumber(t *testing.T) {
	for name, c := range map[string]struct{ value, unit, want string }{
		"a ratio becomes percent":         {"0.0523", "%", "5.23 %"},
		"seconds become milliseconds":     {"0.08126", "ms", "81.3 ms"},
		"large numbers lose the fraction": {"12345.67", "", "12346"},
		"small ones keep three digits":    {"0.0012345", "", "0.00123"},
		"zero is zero":                    {"0", "%", "0 %"},
		"a negative nothing is nothing":   {"-0.00000001", "s", "0 s"},
		"trailing zeros go":               {"0.5", "s", "0.5 s"},
		"not a number is shown as it is":  {"NaN", "%", "NaN"},
		"words are shown as they are":     {"none", "ms", "none"},
		"an exponent is written out":      {"1e-3", "ms", "1 ms"},
		"ten percent is not one":          {"0.1", "%", "10 %"},
		"one thousand keeps its zeros":    {"1", "ms", "1000 ms"},
		"seconds stay seconds":            {"2.5", "s", "2.5 s"},
		"no unit, no blank":               {"3", "", "3"},
	} {
		t.Run(name, func(t *testing.T) {
			if got := number(c.value, c.unit); got != c.want {
				t.Errorf("got %q, want %q", got, c.want)
			}
		})
	}
}

func TestSpan(t *testing.T) {
	for d, want := range map[time.Duration]string{
		-time.Second:                "0s",
		1400 * time.Millisecond:     "1s",
		90 * time.Second:            "1m30s",
		2 * time.Minute:             "2m",
		3*time.Hour + 4*time.Minute: "3h4m",
		50 * time.Hour:              "2d",
	} {
		if got := span(d); got != want {
			t.Errorf("%v: got %s, want %s", d, got, want)
		}
	}
}
