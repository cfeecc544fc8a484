package synctree

import (
	"encoding/json"
	"flag"
	"os"
	"path/filepath"
	"strings"
	"testing"
	"time"

	metav1 "k8s.io/apimachinery/pkg/apis/meta/v1"

	"tidegate.io/tidegate/cmd/tidegate/internal/term"
	"tidegate.io/tidegate/cmd/tidegate/internal/tree"
	"tidegate.io/tidegate/schemas/v1alpha1"
)

var update = flag.Bool("update", false, "rewrite the golden files")

var noon = time.Date(2026, 5, 4, 12, 0, 0, 0, time.UTC)

func template(change func(*v1alpha1.ReleaseTemplate)) *v1alpha1.ReleaseTemplate {
	t := &v1alpha1.ReleaseTemplate{}
	t.Name, t.Generation = "web", 5
	t.Spec.Sync = v1alpha1.TemplateSync{Type: v1alpha1.SyncStaged, Waves: []v1alpha1.SyncWave{
		{Name: "canaries", Soak: metav1.Duration{Duration: 10 * time.Minute}}, {Name: "most", Soak: metav1.Duration{Duration: time.Hour}},
	}}
	t.Spec.Channels = []v1alpha1.TemplateChannel{{Name: "candidate", Revision: 5}, {Name: "stable", Revision: 4}, {Name: "lts", Revision: 1}}
	t.Status = v1alpha1.ReleaseTemplateStatus{
		ObservedGeneration: 5, LatestRevision: "web-5", Releases: 143,
		Sync: &v1alpha1.TemplateSyncStatus{
			Target: "web-5", From: "web-4", Phase: v1alpha1.SyncSyncing, Wave: 2, Message: "wave 2 of 3 (most): 12 of 40 have settled.",
			Waves: []v1alpha1.WaveStatus{
				{Name: "canaries", Phase: "Done", Releases: 3, Settled: 3},
				{Name: "most", Phase: "Syncing", Releases: 40, Settled: 12, Moving: 8, Failed: 1, Excused: 2},
				{Name: "rest", Phase: "Waiting", Releases: 100},
			},
			Waiting: []v1alpha1.WaitingRelease{
				{Namespace: "shop", Name: "cart", Wave: "most", Revision: "web-4", State: "Failed", Message: "rollout cart-7 was aborted: error-ratio 5.2 %, at most 1 % is allowed."},
				{Namespace: "bank", Name: "ledger", Wave: "most", Revision: "web-3", State: "Paused", Message: "its team paused it."},
				{Namespace: "shop", Name: "new", State: "Queued"},
			},
		},
	}
	if change != nil {
		change(t)
	}
	return t
}

func revision(number int64, age time.Duration) v1alpha1.TemplateRevision {
	r := v1alpha1.TemplateRevision{}
	r.Name, r.CreationTimestamp = "web-"+string(rune('0'+number)), metav1.NewTime(noon.Add(-age))
	r.Spec = v1alpha1.TemplateRevisionSpec{Template: "web", Number: number, Digest: "sha256:ab", Engine: "v0.17.1"}
	return r
}

func revisions() []v1alpha1.TemplateRevision {
	other := revision(5, time.Hour)
	other.Name, other.Spec.Template = "worker-5", "worker"
	return []v1alpha1.TemplateRevision{revision(3, 60*24*time.Hour), revision(4, 20*24*time.Hour), revision(5, 2*time.Hour), other}
}

func command(name string, action v1alpha1.TemplateAction, age time.Duration, outcome v1alpha1.CommandOutcome) v1alpha1.TemplateCommand {
	c := v1alpha1.TemplateCommand{}
	c.Name, c.CreationTimestamp = name, metav1.NewTime(noon.Add(-age))
	c.Spec = v1alpha1.TemplateCommandSpec{Template: "web", Action: action, Actor: "alice"}
	c.Status.Outcome = outcome
	return c
}

func commands() []v1alpha1.TemplateCommand {
	rollback := command("web-rollback-1", v1alpha1.TemplateRollback, 3*time.Hour, v1alpha1.OutcomeRefused)
	rollback.Spec.Revision, rollback.Spec.Reason, rollback.Status.Message = 4, "memory doubled", "web-4 is the target already."
	other := command("worker-pause-1", v1alpha1.TemplatePause, time.Minute, "")
	other.Spec.Template = "worker"
	return []v1alpha1.TemplateCommand{
		rollback, other,
		command("web-pause-1", v1alpha1.TemplatePause, 40*time.Minute, v1alpha1.OutcomeApplied),
		command("web-resume-1", v1alpha1.TemplateResume, 5*time.Second, ""),
	}
}

func scenes() map[string]View {
	soaking := Build(template(func(t *v1alpha1.ReleaseTemplate) {
		at := metav1.NewMicroTime(noon.Add(-4 * time.Minute))
		s := t.Status.Sync
		s.Phase, s.Wave, s.SettledAt, s.Message, s.Waiting = v1alpha1.SyncSoaking, 1, &at, "wave 1 of 3 (canaries) soaks until 12:06.", nil
		s.Waves[0].Phase, s.Waves[1] = "Soaking", v1alpha1.WaveStatus{Name: "most", Phase: "Waiting", Releases: 40}
	}), revisions(), nil)
	halted := Build(template(func(t *v1alpha1.ReleaseTemplate) {
		s := t.Status.Sync
		s.Phase, s.Reason, s.Message, s.Drifted = v1alpha1.SyncHalted, "TG-SYNC-EXAMPLE", "1 of wave most failed, at most 0 may.", 1
		s.Waves[1].Phase, s.Waves[1].Forgiven = "Halted", 1
	}), revisions(), commands())
	synced := Build(template(func(t *v1alpha1.ReleaseTemplate) {
		t.Spec.Sync, t.Spec.Channels = v1alpha1.TemplateSync{}, nil
		t.Status.Releases = 1
		t.Status.Sync = &v1alpha1.TemplateSyncStatus{Target: "web-4", RolledBackFrom: "web-5", Phase: v1alpha1.SyncSynced, Waves: []v1alpha1.WaveStatus{{Name: "rest", Phase: "Done", Releases: 1, Settled: 1}}}
	}), revisions(), nil)
	broken := Build(template(func(t *v1alpha1.ReleaseTemplate) {
		t.Status.Conditions = []metav1.Condition{{Type: v1alpha1.ConditionStalled, Status: metav1.ConditionTrue, Message: "web.cue:3:1: expected a package"}}
		t.Generation = 6
	}), nil, nil)
	broken.Notes = []string{"the revisions cannot be shown: you may not list TemplateRevisions"}
	unpublished := Build(template(func(t *v1alpha1.ReleaseTemplate) {
		t.Status = v1alpha1.ReleaseTemplateStatus{ObservedGeneration: -1}
	}), nil, nil)
	return map[string]View{
		"syncing": Build(template(nil), revisions(), commands()), "soaking": soaking, "halted": halted, "synced": synced, "broken": broken, "unpublished": unpublished,
	}
}

func TestViewsAreDrawnAsInTheGoldenFiles(t *testing.T) {
	for name, view := range scenes() {
		t.Run(name, func(t *testing.T) {
			draw := func(s term.Style, columns int) string {
				return strings.Join(Draw(view, tree.Options{Style: s, Now: noon, Columns: columns}), "\n") + "\n"
			}
			golden(t, name+".ascii.txt", draw(term.Style{}, 0))
			golden(t, name+".unicode.txt", draw(term.Style{Unicode: true, Color: true}, 60))
			var facts []string
			for _, f := range Facts(view) {
				facts = append(facts, f.Text)
			}
			golden(t, name+".facts.txt", strings.Join(facts, "\n")+"\n")
		})
	}
}

func TestTheJSONFormMatchesTheGoldenFile(t *testing.T) {
	data, err := json.MarshalIndent(scenes()["syncing"], "", "  ")
	if err != nil {
		t.Fatal(err)
	}
	golden(t, "syncing.json", string(data)+"\n")
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
		phase    v1alpha1.SyncPhase
		observed int64
		want     Outcome
	}{
		"synced is synced":                             {v1alpha1.SyncSynced, 5, Synced},
		"synced with an older spec is not the end":     {v1alpha1.SyncSynced, 4, Underway},
		"halted is halted":                             {v1alpha1.SyncHalted, 5, Halted},
		"an older spec's halt is not this one's":       {v1alpha1.SyncHalted, 4, Underway},
		"paused waits":                                 {v1alpha1.SyncPaused, 5, Underway},
		"soaking waits":                                {v1alpha1.SyncSoaking, 5, Underway},
		"a status that was never written says nothing": {v1alpha1.SyncSynced, -1, Underway},
	} {
		t.Run(name, func(t *testing.T) {
			got := Build(template(func(t *v1alpha1.ReleaseTemplate) {
				t.Status.Sync.Phase, t.Status.ObservedGeneration = c.phase, c.observed
			}), nil, nil).Outcome
			if got != c.want {
				t.Errorf("got %s, want %s", got, c.want)
			}
		})
	}
}

func TestABrokenSourceHalts(t *testing.T) {
	broken := template(func(t *v1alpha1.ReleaseTemplate) {
		t.Status.Sync.Phase = v1alpha1.SyncSynced
		t.Status.Conditions = []metav1.Condition{{Type: v1alpha1.ConditionStalled, Status: metav1.ConditionTrue, Message: "no"}}
	})
	if got := Build(broken, nil, nil).Outcome; got != Halted {
		t.Errorf("got %s", got)
	}
}

func TestOnlyTheLastCommandsAreShownNewestFirst(t *testing.T) {
	var many []v1alpha1.TemplateCommand
	for i := range 9 {
		many = append(many, command("c"+string(rune('0'+i)), v1alpha1.TemplatePause, time.Duration(9-i)*time.Minute, ""))
	}
	var got []string
	for _, c := range Build(template(nil), nil, many).Commands {
		got = append(got, c.Name)
	}
	if strings.Join(got, " ") != "c8 c7 c6 c5 c4" {
		t.Errorf("got %v", got)
	}
}

func TestFactsAreToldApart(t *testing.T) {
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
