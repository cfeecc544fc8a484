package command

import (
	"context"
	"encoding/json"
	"errors"
	"strings"
	"testing"
	"testing/synctest"
	"time"

	"github.com/spf13/cobra"
	apierrors "k8s.io/apimachinery/pkg/api/errors"
	"k8s.io/apimachinery/pkg/api/meta"
	metav1 "k8s.io/apimachinery/pkg/apis/meta/v1"
	"k8s.io/apimachinery/pkg/runtime/schema"
	"sigs.k8s.io/controller-runtime/pkg/client"
	"sigs.k8s.io/controller-runtime/pkg/client/interceptor"

	"tidegate.io/tidegate/schemas/v1alpha1"
)

func newTemplate(name string, phase v1alpha1.SyncPhase) *v1alpha1.ReleaseTemplate {
	t := &v1alpha1.ReleaseTemplate{}
	t.Name, t.Generation = name, 2
	t.CreationTimestamp = metav1.NewTime(noon.Add(-3 * time.Hour))
	t.Spec.Sync.Type = v1alpha1.SyncStaged
	t.Status = v1alpha1.ReleaseTemplateStatus{
		ObservedGeneration: 2, LatestRevision: name + "-2", Releases: 12,
		Sync: &v1alpha1.TemplateSyncStatus{
			Target: name + "-2", From: name + "-1", Phase: phase, Wave: 1, Message: "wave 1 of 2 (first): 1 of 4 has settled.",
			Waves:   []v1alpha1.WaveStatus{{Name: "first", Phase: "Syncing", Releases: 4, Settled: 1, Moving: 3}, {Name: "rest", Phase: "Waiting", Releases: 8}},
			Waiting: []v1alpha1.WaitingRelease{{Namespace: "shop", Name: "cart", Wave: "first", Revision: name + "-1", State: "Paused", Message: "its team paused it."}},
		},
	}
	return t
}

func newRevision(template string, number int64) *v1alpha1.TemplateRevision {
	r := &v1alpha1.TemplateRevision{}
	r.Name = template + "-" + string(rune('0'+number))
	r.CreationTimestamp = metav1.NewTime(noon.Add(-time.Hour))
	r.Spec = v1alpha1.TemplateRevisionSpec{Template: template, Number: number, Digest: "sha256:ab", Engine: "v0.17.1", Files: map[string]string{"a.cue": "package a"}}
	return r
}

func newTemplateCommand() *v1alpha1.TemplateCommand {
	c := &v1alpha1.TemplateCommand{}
	c.Name, c.CreationTimestamp = "web-rollback-x1", metav1.NewTime(noon.Add(-time.Minute))
	c.Spec = v1alpha1.TemplateCommandSpec{Template: "web", Action: v1alpha1.TemplateRollback, Revision: 1, Actor: "alice", Reason: "memory"}
	c.Status = v1alpha1.TemplateCommandStatus{Outcome: v1alpha1.OutcomeApplied, Message: "web-1 is the target."}
	return c
}

func catalog(phase v1alpha1.SyncPhase) []client.Object {
	return []client.Object{
		newTemplate("web", phase), newTemplate("worker", v1alpha1.SyncSynced),
		newRevision("web", 1), newRevision("web", 2), newRevision("worker", 2), newTemplateCommand(),
	}
}

func TestGetListsWhatIsAboutTemplates(t *testing.T) {
	for name, c := range map[string]struct {
		args []string
		want string
	}{
		"templates": {[]string{"get", "templates"}, `
NAME     REVISION   SYNC     TARGET     PHASE     RELEASES   READY     MESSAGE   AGE
web      web-2      Staged   web-2      Syncing   12         Unknown             3h
worker   worker-2   Staged   worker-2   Synced    12         Unknown             3h
`},
		"revisions": {[]string{"get", "trev"}, `
NAME       TEMPLATE   NUMBER   AGE
web-1      web        1        60m
web-2      web        2        60m
worker-2   worker     2        60m
`},
		"revisions in full": {[]string{"get", "templaterevisions", "web-1", "-o", "wide"}, `
NAME    TEMPLATE   NUMBER   ENGINE    DIGEST      AGE
web-1   web        1        v0.17.1   sha256:ab   60m
`},
		"commands": {[]string{"get", "tcmd", "-o", "wide"}, `
NAME              TEMPLATE   ACTION          ACTOR   OUTCOME   MESSAGE                REASON   AGE
web-rollback-x1   web        rollback to 1   alice   Applied   web-1 is the target.   memory   60s
`},
	} {
		t.Run(name, func(t *testing.T) {
			w := newWorld(t, interceptor.Funcs{}, catalog(v1alpha1.SyncSyncing)...)
			w.wantCode(w.run(t.Context(), c.args...), ExitOK)
			wantText(t, "out", w.out.String(), strings.TrimPrefix(c.want, "\n"))
		})
	}
}

func TestTemplateStatusShowsTheTree(t *testing.T) {
	w := newWorld(t, interceptor.Funcs{}, catalog(v1alpha1.SyncSyncing)...)
	w.wantCode(w.run(t.Context(), "template", "status", "web"), ExitOK)
	wantText(t, "out", w.out.String(), strings.TrimPrefix(`
web  Syncing  target web-2  from web-1  sync Staged  12 releases
|- wave 1 of 2 (first): 1 of 4 has settled.
|- revisions
|  |- web-2  target  published 60m ago  engine v0.17.1
|  `+"`"+`- web-1  from  published 60m ago  engine v0.17.1
|- waves
|  |- > 1  first  Syncing  1 of 4 settled, 3 moving
|  `+"`"+`- . 2  rest   Waiting  0 of 8 settled
|- not on web-2
|  `+"`"+`- shop/cart  Paused  on web-1, wave first
|     `+"`"+`- its team paused it.
`+"`"+`- last commands
   `+"`"+`- rollback to 1 by alice  60s ago  Applied: web-1 is the target.
      `+"`"+`- reason: memory
`, "\n"))
	w.wantCode(w.run(t.Context(), "template", "status", "web", "-o", "json"), ExitOK)
	var document struct {
		Kind, Outcome string
		Sync          struct{ Target string }
	}
	if err := json.Unmarshal(w.out.Bytes(), &document); err != nil || document.Kind != "TemplateStatus" || document.Outcome != "Underway" || document.Sync.Target != "web-2" {
		t.Errorf("%v: %s", err, w.out.String())
	}
	w.wantCode(w.run(t.Context(), "template", "status", "web", "-o", "yaml"), ExitOK)
	wantPart(t, "yaml", w.out.String(), "kind: TemplateStatus\n", "target: web-2\n")
}

func TestTemplateStatusExitCodes(t *testing.T) {
	broken := newTemplate("web", v1alpha1.SyncSynced)
	broken.Status.Conditions = []metav1.Condition{{Type: v1alpha1.ConditionStalled, Status: metav1.ConditionTrue, Message: "web.cue:1:1: expected a package"}}
	for name, c := range map[string]struct {
		template *v1alpha1.ReleaseTemplate
		code     int
		err      string
	}{
		"synced is good":          {newTemplate("web", v1alpha1.SyncSynced), ExitOK, ""},
		"under way is no failure": {newTemplate("web", v1alpha1.SyncSyncing), ExitOK, ""},
		"paused is none either":   {newTemplate("web", v1alpha1.SyncPaused), ExitOK, ""},
		"halted is one, and says what to do": {
			newTemplate("web", v1alpha1.SyncHalted), ExitRefused,
			"Error: the sync of template web to web-2 has halted: wave 1 of 2 (first): 1 of 4 has settled.\nTo go on: tidegate template sync resume web --reason ...; to go back: tidegate template rollback web --to N --reason ...\n",
		},
		"a broken source is one": {broken, ExitRefused, "Error: the newest source of template web is not published: web.cue:1:1: expected a package\n"},
	} {
		t.Run(name, func(t *testing.T) {
			w := newWorld(t, interceptor.Funcs{}, c.template)
			w.wantCode(w.run(t.Context(), "template", "status", "web"), c.code)
			wantText(t, "err", w.err.String(), c.err)
			wantPart(t, "out", w.out.String(), "web", string(c.template.Status.Sync.Phase))
		})
	}
}

// scenesOf lets the n-th read of a template see what the n-th scene makes of it; the last
// stays.
func scenesOf(scenes ...func(*v1alpha1.ReleaseTemplate) error) interceptor.Funcs {
	n := 0
	return interceptor.Funcs{Get: func(ctx context.Context, c client.WithWatch, key client.ObjectKey, obj client.Object, opts ...client.GetOption) error {
		if err := c.Get(ctx, key, obj, opts...); err != nil {
			return err
		}
		if r, ok := obj.(*v1alpha1.ReleaseTemplate); ok {
			n++
			return scenes[min(n, len(scenes))-1](r)
		}
		return nil
	}}
}

func syncPhase(p v1alpha1.SyncPhase, message string) func(*v1alpha1.ReleaseTemplate) error {
	return func(t *v1alpha1.ReleaseTemplate) error {
		t.Status.Sync = &v1alpha1.TemplateSyncStatus{Target: "web-2", Phase: p, Message: message}
		return nil
	}
}

func TestTemplateStatusWatchEndsWithTheSync(t *testing.T) {
	lost := func(*v1alpha1.ReleaseTemplate) error { return errors.New("connection refused") }
	for name, c := range map[string]struct {
		scenes []func(*v1alpha1.ReleaseTemplate) error
		args   []string
		code   int
		out    string
		err    string
	}{
		"a sync is told line by line": {
			[]func(*v1alpha1.ReleaseTemplate) error{syncPhase(v1alpha1.SyncSyncing, "wave 1"), syncPhase(v1alpha1.SyncSyncing, "wave 1"), lost, syncPhase(v1alpha1.SyncSynced, "done")},
			nil, ExitOK,
			"12:00:00  template web: Syncing, target web-2: wave 1\n12:00:00  template web: Synced, target web-2: done\n",
			"Trying again: reading ReleaseTemplate web: connection refused\n",
		},
		"a halt ends it": {
			[]func(*v1alpha1.ReleaseTemplate) error{syncPhase(v1alpha1.SyncSyncing, "wave 1"), syncPhase(v1alpha1.SyncHalted, "cart failed")},
			nil, ExitRefused,
			"12:00:00  template web: Syncing, target web-2: wave 1\n12:00:00  template web: Halted, target web-2: cart failed\n",
			"Error: the sync of template web to web-2 has halted: cart failed\n",
		},
		"the time runs out": {
			[]func(*v1alpha1.ReleaseTemplate) error{syncPhase(v1alpha1.SyncPaused, "alice paused it")},
			[]string{"--timeout", "90s"},
			ExitTimeout,
			"12:00:00  template web: Paused, target web-2: alice paused it\n",
			"Error: the sync of template web is still Paused after 1m30s: alice paused it\n",
		},
		"before anything is published too": {
			[]func(*v1alpha1.ReleaseTemplate) error{func(t *v1alpha1.ReleaseTemplate) error {
				t.Status = v1alpha1.ReleaseTemplateStatus{ObservedGeneration: -1}
				return nil
			}},
			[]string{"--timeout", "90s"},
			ExitTimeout,
			"12:00:00  template web: not published yet: the template has not been looked at yet; is the manager running?\n",
			"Error: template web is not published after 1m30s; is the manager running?\n",
		},
	} {
		t.Run(name, func(t *testing.T) {
			w := newWorld(t, scenesOf(c.scenes...), newTemplate("web", ""))
			synctest.Test(t, func(t *testing.T) {
				ctx, cancel := context.WithTimeout(t.Context(), time.Hour)
				defer cancel()
				w.wantCode(w.run(ctx, append([]string{"template", "status", "web", "--watch"}, c.args...)...), c.code)
			})
			wantText(t, "out", w.out.String(), c.out)
			wantPart(t, "err", w.err.String(), c.err)
		})
	}
}

func TestTemplateStatusWithoutRightsToTheRest(t *testing.T) {
	w := newWorld(t, interceptor.Funcs{List: func(context.Context, client.WithWatch, client.ObjectList, ...client.ListOption) error {
		return apierrors.NewForbidden(schema.GroupResource{Resource: "x"}, "", errors.New("no"))
	}}, catalog(v1alpha1.SyncSyncing)...)
	w.wantCode(w.run(t.Context(), "template", "status", "web"), ExitOK)
	wantPart(t, "out", w.out.String(), "web  Syncing",
		"note: the revisions cannot be shown: you may not list TemplateRevisions",
		"note: the commands cannot be shown: you may not list TemplateCommands")
}

// answerTemplate plays the manager: a command gets an outcome when it is looked at for the
// n-th time.
func answerTemplate(n int, outcome v1alpha1.CommandOutcome, message string) interceptor.Funcs {
	return interceptor.Funcs{Get: func(ctx context.Context, c client.WithWatch, key client.ObjectKey, obj client.Object, opts ...client.GetOption) error {
		if err := c.Get(ctx, key, obj, opts...); err != nil {
			return err
		}
		if r, ok := obj.(*v1alpha1.TemplateCommand); ok {
			if n--; n <= 0 {
				r.Status.Outcome, r.Status.Message = outcome, message
			}
		}
		return nil
	}}
}

func TestDecisionsAboutASyncBecomeCommands(t *testing.T) {
	for name, c := range map[string]struct {
		args []string
		want v1alpha1.TemplateCommandSpec
		out  string
	}{
		"pause":    {[]string{"sync", "pause", "web", "--reason", "memory"}, v1alpha1.TemplateCommandSpec{Template: "web", Action: "pause", Reason: "memory"}, "pause of the sync of web: Applied: noted.\n"},
		"resume":   {[]string{"sync", "resume", "web"}, v1alpha1.TemplateCommandSpec{Template: "web", Action: "resume"}, "resume of the sync of web: Applied: noted.\n"},
		"rollback": {[]string{"rollback", "web", "--to", "1", "--reason", "memory"}, v1alpha1.TemplateCommandSpec{Template: "web", Action: "rollback", Revision: 1, Reason: "memory"}, "rollback of web to 1: Applied: noted.\n"},
	} {
		t.Run(name, func(t *testing.T) {
			w := newWorld(t, answerTemplate(3, v1alpha1.OutcomeApplied, "noted."), newTemplate("web", v1alpha1.SyncHalted), newRevision("web", 1), newRevision("web", 2))
			synctest.Test(t, func(t *testing.T) {
				w.wantCode(w.run(t.Context(), append([]string{"template"}, c.args...)...), ExitOK)
			})
			var all v1alpha1.TemplateCommandList
			if err := w.client.List(t.Context(), &all, client.MatchingLabels{v1alpha1.LabelTemplate: "web"}); err != nil {
				t.Fatal(err)
			}
			if len(all.Items) != 1 || all.Items[0].Spec != c.want {
				t.Errorf("got %+v, want one of %+v", all.Items, c.want)
			}
			wantText(t, "out", w.out.String(), c.out)
			wantPart(t, "err", w.err.String(), "Created TemplateCommand web-"+string(c.want.Action)+"-")
		})
	}
}

func TestWhatBecomesOfADecisionAboutASync(t *testing.T) {
	denied := interceptor.Funcs{Create: func(context.Context, client.WithWatch, client.Object, ...client.CreateOption) error {
		return apierrors.NewForbidden(schema.GroupResource{Group: "tidegate.io", Resource: "templatecommands"}, "", errors.New("TG-COMMAND-FORBIDDEN: bob may not"))
	}}
	pause := []string{"sync", "pause", "web"}
	for name, c := range map[string]struct {
		funcs interceptor.Funcs
		args  []string
		code  int
		out   string
		err   string
	}{
		"refused by the manager":           {answerTemplate(1, v1alpha1.OutcomeRefused, "it has ended."), pause, ExitRefused, "pause of the sync of web: Refused: it has ended.\n", "Error: pause of the sync of web was refused: it has ended.\n"},
		"refused by the webhook, verbatim": {denied, pause, ExitRefused, "", "TG-COMMAND-FORBIDDEN: bob may not"},
		"no answer":                        {interceptor.Funcs{}, pause, ExitTimeout, "", "Error: no answer to pause of the sync of web after 10s; the command stands: look at it with: kubectl get templatecommand web-pause-"},
		"not waited for":                   {interceptor.Funcs{}, append(pause, "--wait", "0s"), ExitOK, "", "Created TemplateCommand"},
		"printed as YAML":                  {answerTemplate(1, v1alpha1.OutcomeApplied, ""), append(pause, "-o", "yaml"), ExitOK, "kind: TemplateCommand\n", ""},
		"a revision that is not there":     {interceptor.Funcs{}, []string{"rollback", "web", "--to", "7", "--reason", "x"}, ExitRefused, "", "Error: wanted a revision of template web in --to, one of 1, 2 (the target), found 7\n"},
		"a template that is not there":     {interceptor.Funcs{}, []string{"sync", "pause", "wbe"}, ExitError, "", "Error: there is no ReleaseTemplate \"wbe\"; did you mean web?\n"},
		"a template like no other":         {interceptor.Funcs{}, []string{"status", "zzzzzz"}, ExitError, "", "Error: there is no ReleaseTemplate \"zzzzzz\"; list what there is with: tidegate get templates\n"},
		"a template without a revision":    {interceptor.Funcs{}, []string{"sync", "pause", "bare"}, ExitRefused, "", "template bare has no published revision yet, so there is nothing to pause"},
		"a rollback without a reason":      {interceptor.Funcs{}, []string{"rollback", "web", "--to", "1"}, ExitError, "", "wanted --reason, found none"},
		"a rollback with a blank reason":   {interceptor.Funcs{}, []string{"rollback", "web", "--to", "1", "--reason", " "}, ExitError, "", "wanted a reason in --reason, found none"},
		"a rollback to nowhere":            {interceptor.Funcs{}, []string{"rollback", "web", "--reason", "x"}, ExitError, "", "wanted --to, found none"},
		"a rollback to 0":                  {interceptor.Funcs{}, []string{"rollback", "web", "--to", "0", "--reason", "x"}, ExitError, "", "wanted the number of a revision from 1 up in --to, found 0"},
		"a negative wait":                  {interceptor.Funcs{}, append(pause, "--wait", "-1s"), ExitError, "", "wanted a positive time in --wait, found -1s"},
		"no name":                          {interceptor.Funcs{}, []string{"sync", "pause"}, ExitError, "", "wanted one NAME, found 0 arguments\nUsage: tidegate template sync pause NAME"},
		"a typo":                           {interceptor.Funcs{}, []string{"status", "web", "--wach"}, ExitError, "", "found --wach; did you mean --watch?"},
		"an unknown format":                {interceptor.Funcs{}, []string{"status", "web", "-o", "wide"}, ExitError, "", `wanted json or yaml in --output, found "wide"`},
		"sync of nothing":                  {interceptor.Funcs{}, []string{"sync", "puase"}, ExitError, "", `puase`},
	} {
		t.Run(name, func(t *testing.T) {
			bare := newTemplate("bare", "")
			bare.Status = v1alpha1.ReleaseTemplateStatus{}
			w := newWorld(t, c.funcs, newTemplate("web", v1alpha1.SyncSyncing), newRevision("web", 1), newRevision("web", 2), bare)
			synctest.Test(t, func(t *testing.T) {
				w.wantCode(w.run(t.Context(), append([]string{"template"}, c.args...)...), c.code)
			})
			wantPart(t, "out", w.out.String(), c.out)
			wantPart(t, "err", w.err.String(), c.err)
		})
	}
}

func TestAClusterWithoutTidegateIsSaid(t *testing.T) {
	w := newWorld(t, interceptor.Funcs{Get: func(context.Context, client.WithWatch, client.ObjectKey, client.Object, ...client.GetOption) error {
		return &meta.NoKindMatchError{GroupKind: schema.GroupKind{Group: "tidegate.io", Kind: "ReleaseTemplate"}}
	}})
	w.wantCode(w.run(t.Context(), "template", "status", "web"), ExitError)
	wantPart(t, "err", w.err.String(), "The cluster does not know Tidegate's kinds.")
}

func TestOnlyWhatChecksFilesIsALinter(t *testing.T) {
	root := &cobra.Command{Use: "tidegate"}
	template, sync := &cobra.Command{Use: "template"}, &cobra.Command{Use: "sync"}
	pause, vet, status, top, render := &cobra.Command{Use: "pause"}, &cobra.Command{Use: "vet"}, &cobra.Command{Use: "status"}, &cobra.Command{Use: "status"}, &cobra.Command{Use: "render"}
	root.AddCommand(template, top, render)
	template.AddCommand(sync, vet, status)
	sync.AddCommand(pause)
	for c, want := range map[*cobra.Command]bool{root: false, template: true, vet: true, render: true, sync: false, pause: false, status: false, top: false} {
		if got := linter(c); got != want {
			t.Errorf("%s: got %v, want %v", c.CommandPath(), got, want)
		}
	}
}

func TestNamesOfTemplatesAreCompleted(t *testing.T) {
	w := newWorld(t, interceptor.Funcs{}, catalog(v1alpha1.SyncSyncing)...)
	for _, words := range [][]string{{"template", "status"}, {"template", "rollback"}, {"template", "sync", "pause"}} {
		w.wantCode(w.run(t.Context(), append(append([]string{cobra.ShellCompRequestCmd}, words...), "")...), ExitOK)
		wantPart(t, strings.Join(words, " "), w.out.String(), "web\nworker\n:4")
	}
}
