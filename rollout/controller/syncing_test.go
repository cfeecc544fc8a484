package controller

import (
	"context"
	"errors"
	"fmt"
	"slices"
	"strconv"
	"strings"
	"testing"
	"time"

	apierrors "k8s.io/apimachinery/pkg/api/errors"
	"k8s.io/apimachinery/pkg/api/meta"
	metav1 "k8s.io/apimachinery/pkg/apis/meta/v1"
	"k8s.io/apimachinery/pkg/types"
	"sigs.k8s.io/controller-runtime/pkg/client"
	"sigs.k8s.io/controller-runtime/pkg/client/interceptor"

	"tidegate.io/tidegate/rollout/sync"
	"tidegate.io/tidegate/schemas/render"
	"tidegate.io/tidegate/schemas/v1alpha1"
)

// serves is a Release of template web that serves the revision.
func serves(name, revision string, change ...func(*v1alpha1.Release)) *v1alpha1.Release {
	revision = full(revision)
	r := &v1alpha1.Release{
		ObjectMeta: metav1.ObjectMeta{Namespace: "shop", Name: name, Generation: 1, UID: types.UID(name), Labels: map[string]string{"app": name}},
		Spec:       v1alpha1.ReleaseSpec{Template: v1alpha1.TemplateReference{Name: "web"}},
		Status: v1alpha1.ReleaseStatus{
			ObservedGeneration: 1, Phase: v1alpha1.ReleaseServing, TemplateRevision: revision, Tried: revision,
		},
	}
	for _, c := range change {
		c(r)
	}
	return r
}

// snapshot is a revision of template web.
func snapshot(n int64, word string) *v1alpha1.TemplateRevision {
	files := map[string]string{"web.cue": word}
	return &v1alpha1.TemplateRevision{
		ObjectMeta: metav1.ObjectMeta{Name: v1alpha1.RevisionName("web", n, render.Digest(files)), UID: types.UID(word)},
		Spec: v1alpha1.TemplateRevisionSpec{
			Template: "web", Number: n, Digest: render.Digest(files), Engine: render.Engine(), Files: files,
		},
	}
}

// words are the sources that tests publish, in their order.
var words = []string{"one", "two", "three", "four", "five", "six", "seven", "eight", "nine"}

// full is the name of a revision such as web-2, whose source is the second word; any other
// name is left as it is.
func full(name string) string {
	n, err := strconv.ParseInt(strings.TrimPrefix(name, "web-"), 10, 64)
	if err != nil {
		return name
	}
	return snapshot(n, words[n-1]).Name
}

// brief is the name of a revision without its digest, such as web-2.
func brief(name string) string {
	template, n, ok := v1alpha1.ParseRevisionName(name)
	if !ok {
		return name
	}
	return fmt.Sprintf("%s-%d", template, n)
}

// assigned returns "name revision/generation" of each Release, in order.
func (w *templateWorld) assigned() string {
	w.Helper()
	var list v1alpha1.ReleaseList
	if err := w.client.List(w.Context(), &list); err != nil {
		w.Fatal(err)
	}
	var out []string
	for _, r := range list.Items {
		has := "nothing"
		if a := r.Status.Assigned; a != nil {
			has = fmt.Sprintf("%s/%d", brief(a.Name), a.Generation)
		}
		out = append(out, r.Name+" "+has)
	}
	return strings.Join(out, ", ")
}

// serve lets every Release take up what is assigned to it.
func (w *templateWorld) serve() {
	w.Helper()
	var list v1alpha1.ReleaseList
	if err := w.client.List(w.Context(), &list); err != nil {
		w.Fatal(err)
	}
	for i := range list.Items {
		r := &list.Items[i]
		if r.Status.Assigned == nil {
			continue
		}
		r.Status.TemplateRevision, r.Status.Tried = r.Status.Assigned.Name, r.Status.Assigned.Name
		r.Status.ObservedGeneration, r.Status.Phase = r.Generation, v1alpha1.ReleaseServing
		if err := w.client.Status().Update(w.Context(), r); err != nil {
			w.Fatal(err)
		}
	}
}

// create makes an object.
func (w *templateWorld) create(o client.Object) {
	w.Helper()
	if err := w.client.Create(w.Context(), o); err != nil {
		w.Fatal(err)
	}
}

func stagedWeb(word string) *v1alpha1.ReleaseTemplate {
	t := webTemplate(word)
	t.Spec.Sync = v1alpha1.TemplateSync{Type: v1alpha1.SyncStaged, Waves: []v1alpha1.SyncWave{
		{Name: "pilot", Selector: &metav1.LabelSelector{MatchLabels: map[string]string{"app": "a"}}},
	}}
	return t
}

func TestAnImmediateSyncAssignsInTheSameLookAsItPublishes(t *testing.T) {
	t.Parallel()
	w := newTemplateWorld(t, catalogWorld(t, webTemplate("one"), serves("a", ""), serves("b", "")))
	w.settle()
	if got, want := w.assigned(), "a web-1/1, b web-1/1"; got != want {
		t.Fatalf("assigned: %s; want %s", got, want)
	}
	w.serve()
	w.edit("two")
	w.settle()
	if got, want := w.assigned(), "a web-2/1, b web-2/1"; got != want {
		t.Errorf("assigned: %s; want %s", got, want)
	}
	if s := w.template().Status.Sync; brief(s.Target) != "web-2" || s.Phase != v1alpha1.SyncSyncing || len(s.Waiting) != 2 {
		t.Errorf("the sync stands at %+v", s)
	}
	w.serve()
	w.settle()
	if s := w.template().Status.Sync; s.Phase != v1alpha1.SyncSynced || len(s.Waiting) != 0 || s.Waves[0].Settled != 2 {
		t.Errorf("the sync stands at %+v", s)
	}
	before := w.template().ResourceVersion
	w.settle()
	if w.template().ResourceVersion != before {
		t.Error("I5: a look at a sync at rest wrote")
	}
}

func TestAStagedSyncGoesWaveByWave(t *testing.T) {
	t.Parallel()
	pin := func(r *v1alpha1.Release) { r.Spec.Template.Revision = 1 }
	w := newTemplateWorld(t, catalogWorld(t, stagedWeb("one"), serves("a", ""), serves("b", ""), serves("c", "", pin)))
	w.settle()
	w.serve()
	w.settle()
	w.edit("two")
	w.settle()
	if got, want := w.assigned(), "a web-2/1, b web-1/1, c nothing"; got != want {
		t.Fatalf("assigned: %s; want %s", got, want)
	}
	w.serve()
	w.settle()
	if got, want := w.assigned(), "a web-2/1, b web-2/1, c nothing"; got != want {
		t.Errorf("assigned: %s; want %s", got, want)
	}
}

func TestAFailedRolloutHaltsAndAPersonDecides(t *testing.T) {
	t.Parallel()
	w := newTemplateWorld(t, catalogWorld(t, stagedWeb("one"), serves("a", ""), serves("b", "")))
	w.settle()
	w.serve()
	w.settle()
	w.edit("two")
	w.settle()
	w.fail("a", "web-2")
	w.settle()
	if s := w.template().Status.Sync; s.Phase != v1alpha1.SyncHalted || !strings.Contains(s.Message, "shop/a") || s.Waiting[0].State != "Failed" {
		t.Fatalf("the sync stands at %+v", s)
	}
	w.create(&v1alpha1.TemplateCommand{
		ObjectMeta: metav1.ObjectMeta{Name: "back", UID: "back"},
		Spec:       v1alpha1.TemplateCommandSpec{Template: "web", Action: v1alpha1.TemplateRollback, Revision: 1},
	})
	w.settle()
	if got, want := w.assigned(), "a web-1/1, b web-1/1"; got != want {
		t.Errorf("assigned: %s; want %s", got, want)
	}
	var command v1alpha1.TemplateCommand
	if err := w.client.Get(t.Context(), client.ObjectKey{Name: "back"}, &command); err != nil {
		t.Fatal(err)
	}
	if command.Status.Outcome != v1alpha1.OutcomeApplied || !strings.Contains(command.Status.Message, full("web-2")+" is not taken up again") {
		t.Errorf("the command says %+v", command.Status)
	}
	w.serve()
	for range 3 {
		w.settle()
	}
	if s := w.template().Status.Sync; brief(s.Target) != "web-1" || brief(s.RolledBackFrom) != "web-2" || s.Phase != v1alpha1.SyncSynced {
		t.Errorf("the sync stands at %+v", s)
	}
	w.edit("three")
	w.settle()
	if s := w.template().Status.Sync; brief(s.Target) != "web-3" || brief(s.From) != "web-1" || s.Wave != 1 {
		t.Errorf("the sync stands at %+v", s)
	}
}

func TestAReleaseThatCannotBeWrittenKeepsNoCommandWaiting(t *testing.T) {
	t.Parallel()
	base := catalogWorld(t, webTemplate("one"), serves("a", ""), serves("b", ""))
	w := newTemplateWorld(t, base)
	w.settle()
	w.serve()
	w.settle()
	w.edit("two")
	w.settle()
	refused := errors.New("shop/a is refused")
	w.loop.client = interceptor.NewClient(base, interceptor.Funcs{
		SubResourcePatch: func(ctx context.Context, c client.Client, sub string, obj client.Object, patch client.Patch, opts ...client.SubResourcePatchOption) error {
			if obj.GetName() == "a" {
				return refused
			}
			return c.SubResource(sub).Patch(ctx, obj, patch, opts...)
		},
	})
	for i, action := range []v1alpha1.TemplateAction{v1alpha1.TemplateRollback, v1alpha1.TemplatePause} {
		command := &v1alpha1.TemplateCommand{
			ObjectMeta: metav1.ObjectMeta{Name: string(action), UID: types.UID(action)},
			Spec:       v1alpha1.TemplateCommandSpec{Template: "web", Action: action, Revision: 1},
		}
		w.create(command)
		err := w.reconcile()
		if i == 0 && !errors.Is(err, refused) {
			t.Errorf("got %v, want the refusal", err)
		}
		if err := w.client.Get(t.Context(), client.ObjectKeyFromObject(command), command); err != nil {
			t.Fatal(err)
		}
		if command.Status.Outcome != v1alpha1.OutcomeApplied {
			t.Errorf("the command %s says %+v", action, command.Status)
		}
	}
	if got, want := w.assigned(), "a web-2/1, b web-1/1"; got != want {
		t.Errorf("assigned: %s; want %s", got, want)
	}
	if s := w.template().Status.Sync; s.Phase != v1alpha1.SyncPaused {
		t.Errorf("the sync stands at %+v", s)
	}
}

// fail gives a Release a Rollout to the revision that was aborted.
func (w *templateWorld) fail(name, revision string) {
	revision = full(revision)
	w.Helper()
	rollout := &v1alpha1.Rollout{
		ObjectMeta: metav1.ObjectMeta{Namespace: "shop", Name: name + "-2"},
		Spec:       v1alpha1.RolloutSpec{Release: name, Number: 2, TemplateRevision: revision, Stable: &v1alpha1.StableReference{Rollout: name + "-1"}},
		Status:     v1alpha1.RolloutStatus{Phase: v1alpha1.RolloutAborted, AbortCause: &v1alpha1.Cause{Code: "TG-ANALYSIS-FAIL"}},
	}
	status := rollout.Status
	w.create(rollout)
	rollout.Status = status
	if err := w.client.Status().Update(w.Context(), rollout); err != nil {
		w.Fatal(err)
	}
	var r v1alpha1.Release
	if err := w.client.Get(w.Context(), client.ObjectKey{Namespace: "shop", Name: name}, &r); err != nil {
		w.Fatal(err)
	}
	r.Status.Phase, r.Status.Rollout, r.Status.TemplateRevision, r.Status.Tried = v1alpha1.ReleaseAborted, rollout.Name, revision, revision
	if err := w.client.Status().Update(w.Context(), &r); err != nil {
		w.Fatal(err)
	}
}

func TestThePoliciesAreAskedForTheWave(t *testing.T) {
	t.Parallel()
	w := newTemplateWorld(t, catalogWorld(t, stagedWeb("one"), serves("a", ""), serves("b", "")))
	w.settle()
	w.serve()
	w.settle()
	w.edit("two")
	var asked []string
	answer := func() (bool, error) { return false, nil }
	w.loop.opts.Permit = func(_ context.Context, template, revision, wave string, _ time.Time) (bool, string, string, time.Time, error) {
		asked = append(asked, template+" "+revision+" "+wave)
		ok, err := answer()
		return ok, "TG-FREEZE", "it is Friday", time.Time{}, err
	}
	w.settle()
	if s := w.template().Status.Sync; w.assigned() != "a web-1/1, b web-1/1" || s.Reason != sync.ReasonHeld || !strings.Contains(s.Message, "it is Friday") || s.Waiting[0].State != "Held" {
		t.Errorf("assigned: %s; the sync stands at %+v", w.assigned(), s)
	}
	answer = func() (bool, error) { return true, errors.New("no policy was read yet") }
	w.settle()
	if s := w.template().Status.Sync; w.assigned() != "a web-1/1, b web-1/1" || !strings.Contains(s.Message, "no policy was read yet") {
		t.Errorf("after an error, assigned: %s; the sync stands at %+v", w.assigned(), s)
	}
	answer = func() (bool, error) { return true, nil }
	w.settle()
	if w.assigned() != "a web-2/1, b web-1/1" {
		t.Errorf("assigned: %s", w.assigned())
	}
	if asked = slices.Compact(asked); len(asked) != 1 || asked[0] != "web "+full("web-2")+" pilot" {
		t.Errorf("asked: %q", asked)
	}
}

func TestI6ADeathBetweenAnyTwoWritesOfASyncEndsInTheSameState(t *testing.T) {
	t.Parallel()
	for n := 1; n <= 6; n++ { // a revision and its status, the template's, two assignments, an answer
		t.Run(fmt.Sprintf("write %d fails", n), func(t *testing.T) {
			t.Parallel()
			base := catalogWorld(t, webTemplate("one"), serves("a", ""), serves("b", ""))
			w := newTemplateWorld(t, base)
			w.settle()
			w.serve()
			w.settle()
			w.edit("two")
			w.create(&v1alpha1.TemplateCommand{
				ObjectMeta: metav1.ObjectMeta{Name: "stop", UID: "stop"},
				Spec:       v1alpha1.TemplateCommandSpec{Template: "web", Action: v1alpha1.TemplateResume},
			})
			writes := 0
			fail := func() error {
				if writes++; writes == n {
					return apierrors.NewServiceUnavailable("away")
				}
				return nil
			}
			w.loop.client = interceptor.NewClient(base, interceptor.Funcs{
				Create: func(ctx context.Context, c client.WithWatch, obj client.Object, opts ...client.CreateOption) error {
					return errors.Join(fail(), c.Create(ctx, obj, opts...)) // written, and the answer lost
				},
				SubResourceUpdate: func(ctx context.Context, c client.Client, sub string, obj client.Object, opts ...client.SubResourceUpdateOption) error {
					if err := fail(); err != nil {
						return err
					}
					return c.SubResource(sub).Update(ctx, obj, opts...)
				},
				SubResourcePatch: func(ctx context.Context, c client.Client, sub string, obj client.Object, patch client.Patch, opts ...client.SubResourcePatchOption) error {
					if err := fail(); err != nil {
						return err
					}
					return c.SubResource(sub).Patch(ctx, obj, patch, opts...)
				},
			})
			if err := w.reconcile(); err == nil {
				t.Errorf("write %d did not happen: there are %d", n, writes)
			}
			w.settle()
			if got, want := w.assigned(), "a web-2/1, b web-2/1"; got != want {
				t.Errorf("assigned: %s; want %s", got, want)
			}
			w.want("web-1 one, web-2 two", "web-2", v1alpha1.ConditionReady)
			var command v1alpha1.TemplateCommand
			if err := base.Get(t.Context(), client.ObjectKey{Name: "stop"}, &command); err != nil || command.Status.Outcome != v1alpha1.OutcomeRefused {
				t.Errorf("the command says %+v, %v", command.Status, err)
			}
		})
	}
}

// forget takes the status of the template away, as a restore does.
func forget(t *testing.T, c client.Client) {
	t.Helper()
	var template v1alpha1.ReleaseTemplate
	if err := c.Get(t.Context(), client.ObjectKey{Name: "web"}, &template); err != nil {
		t.Fatal(err)
	}
	template.Status = v1alpha1.ReleaseTemplateStatus{ObservedGeneration: -1}
	if err := c.Status().Update(t.Context(), &template); err != nil {
		t.Fatal(err)
	}
}

// after calls then when so many writes have been made.
func after(base client.WithWatch, writes int, then func()) client.WithWatch {
	done := func(err error) error {
		if writes--; err == nil && writes == 0 {
			then()
		}
		return err
	}
	return interceptor.NewClient(base, interceptor.Funcs{
		Create: func(ctx context.Context, c client.WithWatch, obj client.Object, opts ...client.CreateOption) error {
			return done(c.Create(ctx, obj, opts...))
		},
		SubResourceUpdate: func(ctx context.Context, c client.Client, sub string, obj client.Object, opts ...client.SubResourceUpdateOption) error {
			return done(c.SubResource(sub).Update(ctx, obj, opts...))
		},
		SubResourcePatch: func(ctx context.Context, c client.Client, sub string, obj client.Object, patch client.Patch, opts ...client.SubResourcePatchOption) error {
			return done(c.SubResource(sub).Patch(ctx, obj, patch, opts...))
		},
	})
}

// rest runs the loop and lets the Releases follow, until that changes nothing any more.
func (w *templateWorld) rest() {
	w.Helper()
	for range 8 {
		if err := w.reconcile(); err != nil && !apierrors.IsConflict(err) {
			w.Fatal(err)
		}
		w.serve()
	}
}

// TestARollbackSurvivesTheLossOfTheStatus takes the status of the template away after each
// write of a rollback, and when it has ended: nothing of it is forgotten, and the revision
// that it turned away from is not taken up again by itself.
func TestARollbackSurvivesTheLossOfTheStatus(t *testing.T) {
	t.Parallel()
	const writes = 4 // the template's status, two assignments, the answer
	for _, staged := range []bool{false, true} {
		for n := range writes + 2 {
			t.Run(fmt.Sprintf("staged %t, after write %d of the rollback", staged, n), func(t *testing.T) {
				t.Parallel()
				template := webTemplate("one")
				if staged {
					template = stagedWeb("one")
				}
				base := catalogWorld(t, template, serves("a", ""), serves("b", ""))
				w := newTemplateWorld(t, base)
				w.rest()
				w.edit("two")
				w.rest()
				if got, want := w.assigned(), "a web-2/1, b web-2/1"; got != want {
					t.Fatalf("assigned: %s; want %s", got, want)
				}
				w.create(&v1alpha1.TemplateCommand{
					ObjectMeta: metav1.ObjectMeta{Name: "back", UID: "back"},
					Spec:       v1alpha1.TemplateCommandSpec{Template: "web", Action: v1alpha1.TemplateRollback, Revision: 1},
				})
				lost := false
				lose := func() { forget(t, base); lost = true }
				switch n {
				case 0:
					lose()
				case writes + 1:
					w.rest()
					lose()
				default:
					w.loop.client = after(base, n, lose)
				}
				w.rest()
				if !lost {
					t.Errorf("there is no write %d", n)
				}
				if got, want := w.assigned(), "a web-1/1, b web-1/1"; got != want {
					t.Errorf("assigned: %s; want %s", got, want)
				}
				if s := w.template().Status.Sync; brief(s.Target) != "web-1" || brief(s.RolledBackFrom) != "web-2" || s.Phase != v1alpha1.SyncSynced {
					t.Errorf("the sync stands at %+v", s)
				}
				var command v1alpha1.TemplateCommand
				if err := base.Get(t.Context(), client.ObjectKey{Name: "back"}, &command); err != nil || command.Status.Outcome != v1alpha1.OutcomeApplied || brief(command.Status.RolledBackFrom) != "web-2" {
					t.Errorf("the command says %+v, %v", command.Status, err)
				}
				w.edit("three")
				w.rest()
				forget(t, base)
				w.rest()
				if got, want := w.assigned(), "a web-3/1, b web-3/1"; got != want {
					t.Errorf("after another revision, assigned: %s; want %s", got, want)
				}
			})
		}
	}
}

func TestWhatATemplateThatWasMadeAnewRemembers(t *testing.T) {
	t.Parallel()
	for name, c := range map[string]struct {
		word   string
		want   string
		stands v1alpha1.SyncPhase
	}{
		"the source that was turned away from is not taken up again":        {"two", "a web-1/1, b web-1/1", v1alpha1.SyncSynced},
		"another source is taken up, though the former template was paused": {"three", "a web-3/1, b web-3/1", v1alpha1.SyncSynced},
	} {
		t.Run(name, func(t *testing.T) {
			t.Parallel()
			w := newTemplateWorld(t, catalogWorld(t, webTemplate("one"), serves("a", ""), serves("b", "")))
			w.rest()
			w.edit("two")
			w.rest()
			for i, action := range []v1alpha1.TemplateAction{v1alpha1.TemplateRollback, v1alpha1.TemplatePause} {
				spec := v1alpha1.TemplateCommandSpec{Template: "web", Action: action}
				if action == v1alpha1.TemplateRollback {
					spec.Revision = 1
				}
				w.create(&v1alpha1.TemplateCommand{ObjectMeta: metav1.ObjectMeta{
					Name: string(action), UID: types.UID(action), CreationTimestamp: metav1.NewTime(time.Unix(1000+int64(i), 0)),
				}, Spec: spec})
				w.rest()
			}
			if s := w.template().Status.Sync; s.Phase != v1alpha1.SyncPaused || brief(s.Target) != "web-1" {
				t.Fatalf("the sync stands at %+v", s)
			}
			if err := w.client.Delete(t.Context(), w.template()); err != nil {
				t.Fatal(err)
			}
			w.rest()
			anew := webTemplate(c.word)
			anew.CreationTimestamp = metav1.NewTime(time.Unix(2000, 0))
			w.create(anew)
			w.rest()
			if got := w.assigned(); got != c.want {
				t.Errorf("assigned: %s; want %s", got, c.want)
			}
			if s := w.template().Status.Sync; s.Phase != c.stands {
				t.Errorf("the sync stands at %+v", s)
			}
		})
	}
}

func TestAPauseAndWhatASyncComesFromSurviveTheLossOfTheStatus(t *testing.T) {
	t.Parallel()
	w := newTemplateWorld(t, catalogWorld(t, stagedWeb("one"), serves("a", ""), serves("b", "")))
	w.rest()
	w.create(&v1alpha1.TemplateCommand{
		ObjectMeta: metav1.ObjectMeta{Name: "stop", UID: "stop"},
		Spec:       v1alpha1.TemplateCommandSpec{Template: "web", Action: v1alpha1.TemplatePause},
	})
	w.rest()
	w.edit("two")
	forget(t, w.client)
	w.rest()
	if s := w.template().Status.Sync; s.Phase != v1alpha1.SyncPaused || brief(s.Target) != "web-2" || brief(s.From) != "web-1" || w.assigned() != "a web-1/1, b web-1/1" {
		t.Errorf("the sync stands at %+v; assigned: %s", s, w.assigned())
	}
}

// give assigns a revision as another manager would.
func (w *templateWorld) give(name, revision string) {
	w.Helper()
	var r v1alpha1.Release
	if err := w.client.Get(w.Context(), client.ObjectKey{Namespace: "shop", Name: name}, &r); err != nil {
		w.Fatal(err)
	}
	r.Status.Assigned.Name = full(revision)
	if err := w.client.Status().Update(w.Context(), &r); err != nil {
		w.Fatal(err)
	}
}

func TestWhatWasOvertakenIsNotCarriedOut(t *testing.T) {
	t.Parallel()
	base := catalogWorld(t, webTemplate("one"), serves("a", ""))
	w := newTemplateWorld(t, base)
	w.settle()
	w.serve()
	w.settle()
	w.edit("two")
	w.settle()
	stale := w.template()
	// Somebody else has turned the template back since it was read.
	fresh := w.template()
	fresh.Status.Sync.Target, fresh.Status.Sync.RolledBackFrom = full("web-1"), full("web-2")
	if err := base.Status().Update(t.Context(), fresh); err != nil {
		t.Fatal(err)
	}
	w.give("a", "web-1")
	w.loop.client = interceptor.NewClient(base, interceptor.Funcs{
		Get: func(ctx context.Context, c client.WithWatch, key client.ObjectKey, obj client.Object, opts ...client.GetOption) error {
			if template, ok := obj.(*v1alpha1.ReleaseTemplate); ok {
				stale.DeepCopyInto(template)
				return nil
			}
			return c.Get(ctx, key, obj, opts...)
		},
	})
	w.loop.opts.Live = liveReader{base}
	w.settle()
	if w.assigned() != "a web-1/1" {
		t.Errorf("an old status was carried out: %s", w.assigned())
	}
	w.give("a", "web-2")
	w.loop.client = base
	if err := w.loop.current(t.Context(), stale); !errors.Is(err, errOvertaken) {
		t.Errorf("an old status would be carried out: %v", err)
	}
	if err := w.loop.current(t.Context(), fresh); err != nil {
		t.Error(err)
	}
	// A Release that has changed since it was read is not written.
	var r v1alpha1.Release
	if err := base.Get(t.Context(), client.ObjectKey{Namespace: "shop", Name: "a"}, &r); err != nil {
		t.Fatal(err)
	}
	old := *r.DeepCopy()
	r.Status.Message = "changed"
	if err := base.Status().Update(t.Context(), &r); err != nil {
		t.Fatal(err)
	}
	err := w.loop.assign(t.Context(), []v1alpha1.Release{old}, []sync.Assignment{{
		Namespace: "shop", Name: "a", Assigned: &v1alpha1.AssignedRevision{Name: full("web-9"), Generation: 1},
	}})
	if !apierrors.IsConflict(err) {
		t.Errorf("got %v", err)
	}
	if w.assigned() != "a web-2/1" {
		t.Errorf("assigned: %s", w.assigned())
	}
}

func TestACacheThatIsBehindDoesNotTurnTheSyncBack(t *testing.T) {
	t.Parallel()
	base := catalogWorld(t, webTemplate("one"), serves("a", ""))
	w := newTemplateWorld(t, base)
	w.settle()
	w.edit("two")
	w.settle()
	w.edit("one")
	w.settle()
	want := "web-3"
	// The cache has seen nothing since the first revision.
	w.loop.client = interceptor.NewClient(base, interceptor.Funcs{
		List: func(ctx context.Context, c client.WithWatch, list client.ObjectList, opts ...client.ListOption) error {
			err := c.List(ctx, list, opts...)
			if revisions, ok := list.(*v1alpha1.TemplateRevisionList); ok {
				revisions.Items = revisions.Items[:1]
			}
			return err
		},
	})
	w.loop.opts.Live = liveReader{base}
	w.settle()
	if got := w.template().Status; brief(got.Sync.Target) != want || brief(got.LatestRevision) != want {
		t.Errorf("the target is %s and the latest %s, want %s", got.Sync.Target, got.LatestRevision, want)
	}
}

func TestDriftIsShownOnTheTemplateAndTheRevision(t *testing.T) {
	t.Parallel()
	drift := func(r *v1alpha1.Release) {
		meta.SetStatusCondition(&r.Status.Conditions, metav1.Condition{Type: conditionDrift, Status: metav1.ConditionTrue, Reason: "EngineDrift"})
	}
	old := snapshot(1, "one")
	old.Spec.Engine = "v0.0.1"
	w := newTemplateWorld(t, catalogWorld(t, webTemplate("one"), old, serves("a", "web-1", drift), serves("b", "web-1")))
	w.settle()
	w.settle()
	template := w.template()
	if c := meta.FindStatusCondition(template.Status.Conditions, conditionDrift); c == nil || template.Status.Sync.Drifted != 1 || !strings.Contains(c.Message, "render 1 Releases differently") {
		t.Errorf("the template says %+v", template.Status)
	}
	checkStanding(t, template.Status.Conditions, v1alpha1.ConditionReady)
	var revision v1alpha1.TemplateRevision
	if err := w.client.Get(t.Context(), client.ObjectKey{Name: full("web-1")}, &revision); err != nil {
		t.Fatal(err)
	}
	if c := meta.FindStatusCondition(revision.Status.Conditions, v1alpha1.ConditionReady); c == nil || !strings.Contains(c.Message, "engine v0.0.1") || !strings.Contains(c.Message, render.Engine()) {
		t.Errorf("the revision says %+v", revision.Status.Conditions)
	}

	var r v1alpha1.Release
	if err := w.client.Get(t.Context(), client.ObjectKey{Namespace: "shop", Name: "a"}, &r); err != nil {
		t.Fatal(err)
	}
	r.Status.Conditions = nil
	if err := w.client.Status().Update(t.Context(), &r); err != nil {
		t.Fatal(err)
	}
	w.settle()
	if template = w.template(); meta.FindStatusCondition(template.Status.Conditions, conditionDrift) != nil || template.Status.Sync.Drifted != 0 {
		t.Errorf("after it has gone the template says %+v", template.Status)
	}
}

func TestWhichRevisionsAreKept(t *testing.T) {
	t.Parallel()
	zero, two := int32(0), int32(2)
	for name, c := range map[string]struct {
		limit   *int32
		objects []client.Object
		change  func(*v1alpha1.ReleaseTemplate)
		// want are the numbers that are left.
		want string
	}{
		"the newest, and as many as are to be kept": {limit: &two, want: "7 8 9"},
		"the newest alone":                          {limit: &zero, want: "9"},
		"all while there are few":                   {want: "1 2 3 4 5 6 7 8 9"},
		"what a Release pins, by number and by digest": {
			limit: &zero, want: "2 4 9",
			objects: []client.Object{
				serves("a", "", func(r *v1alpha1.Release) { r.Spec.Template.Revision = 2 }),
				serves("b", "", func(r *v1alpha1.Release) { r.Spec.Template.Digest = snapshot(4, "four").Spec.Digest }),
			},
		},
		"what a Release has, and what is assigned to it": {
			limit: &zero, want: "3 5 9",
			objects: []client.Object{serves("a", "web-3", func(r *v1alpha1.Release) {
				r.Spec.Template.Channel = "none"
			}), serves("b", "web-9", func(r *v1alpha1.Release) {
				r.Status.Assigned = &v1alpha1.AssignedRevision{Name: full("web-5"), Generation: 1}
			})},
			change: func(t *v1alpha1.ReleaseTemplate) {
				t.Status.Sync = &v1alpha1.TemplateSyncStatus{Target: full("web-9"), Phase: v1alpha1.SyncPaused}
			},
		},
		"what a Rollout pins": {
			limit: &zero, want: "6 9",
			objects: []client.Object{&v1alpha1.Rollout{
				ObjectMeta: metav1.ObjectMeta{Namespace: "shop", Name: "x-1"}, Spec: v1alpha1.RolloutSpec{TemplateRevision: full("web-6")},
			}},
		},
		"what a channel names": {
			limit: &zero, want: "1 9",
			change: func(t *v1alpha1.ReleaseTemplate) {
				t.Spec.Channels = []v1alpha1.TemplateChannel{{Name: "old", Revision: 1}}
			},
		},
		"what the sync comes from, and turned away from": {
			limit: &zero, want: "7 8 9",
			change: func(t *v1alpha1.ReleaseTemplate) {
				t.Status.Sync = &v1alpha1.TemplateSyncStatus{Target: full("web-7"), RolledBackFrom: full("web-9"), From: full("web-8"), Phase: v1alpha1.SyncSynced}
			},
		},
	} {
		t.Run(name, func(t *testing.T) {
			t.Parallel()
			template := webTemplate("nine")
			template.Spec.RevisionHistoryLimit = c.limit
			if c.change != nil {
				c.change(template)
			}
			objects := append([]client.Object{template}, c.objects...)
			for i, word := range words {
				objects = append(objects, snapshot(int64(i)+1, word))
			}
			w := newTemplateWorld(t, catalogWorld(t, objects...))
			w.settle()
			w.settle()
			if got := w.numbers(); got != c.want {
				t.Errorf("left: %s; want %s", got, c.want)
			}
		})
	}
}

// numbers returns the numbers of the revisions there are.
func (w *templateWorld) numbers() string {
	w.Helper()
	var list v1alpha1.TemplateRevisionList
	if err := w.client.List(w.Context(), &list); err != nil {
		w.Fatal(err)
	}
	var out []string
	for _, r := range list.Items {
		out = append(out, fmt.Sprint(r.Spec.Number))
	}
	return strings.Join(out, " ")
}

func TestRetentionBelievesTheAPIServerAndNotTheCache(t *testing.T) {
	t.Parallel()
	zero := int32(0)
	template := webTemplate("three")
	template.Spec.RevisionHistoryLimit = &zero
	base := catalogWorld(t, template, snapshot(1, "one"), snapshot(2, "two"), snapshot(3, "three"),
		serves("a", "web-1", func(r *v1alpha1.Release) { r.Spec.Template.Revision = 1 }))
	w := newTemplateWorld(t, base)
	w.loop.client = interceptor.NewClient(base, interceptor.Funcs{
		List: func(ctx context.Context, c client.WithWatch, list client.ObjectList, opts ...client.ListOption) error {
			if _, ok := list.(*v1alpha1.ReleaseList); ok {
				return nil // nothing of it has reached the cache
			}
			return c.List(ctx, list, opts...)
		},
	})
	w.settle()
	if got, want := w.numbers(), "1 3"; got != want {
		t.Errorf("left: %s; want %s", got, want)
	}
}

func TestATemplateMadeAnewTakesNoNumberThatTheCacheHasNotSeen(t *testing.T) {
	t.Parallel()
	base := catalogWorld(t, webTemplate("two"), snapshot(1, "one"))
	w := newTemplateWorld(t, base)
	w.loop.client = interceptor.NewClient(base, interceptor.Funcs{
		List: func(ctx context.Context, c client.WithWatch, list client.ObjectList, opts ...client.ListOption) error {
			if _, ok := list.(*v1alpha1.TemplateRevisionList); ok {
				return nil // nothing of it has reached the cache
			}
			return c.List(ctx, list, opts...)
		},
	})
	w.settle()
	if got := w.revisions(); got != "web-1 one, web-2 two" {
		t.Errorf("there are %s", got)
	}
}

func TestANameNeverChangesItsMeaning(t *testing.T) {
	t.Parallel()
	w := newTemplateWorld(t, catalogWorld(t, webTemplate("one"), snapshot(1, "one"), snapshot(2, "two"), snapshot(3, "three"), serves("a", "web-2")))
	if err := w.client.Delete(t.Context(), w.template()); err != nil {
		t.Fatal(err)
	}
	w.settle()
	if got, want := w.numbers(), "2 3"; got != want {
		t.Errorf("of a template that is gone these are left: %s; want %s", got, want)
	}
	w.create(webTemplate("four"))
	w.settle()
	if got := w.template().Status.LatestRevision; brief(got) != "web-4" {
		t.Errorf("the first revision of the template that was made anew is %s", got)
	}
}

func TestACommandAboutAFormerTemplateIsNotObeyed(t *testing.T) {
	t.Parallel()
	template := webTemplate("one")
	template.CreationTimestamp = metav1.NewTime(time.Unix(2000, 0))
	w := newTemplateWorld(t, catalogWorld(t, template, serves("a", "")))
	w.create(&v1alpha1.TemplateCommand{
		ObjectMeta: metav1.ObjectMeta{Name: "old", UID: "old", CreationTimestamp: metav1.NewTime(time.Unix(1000, 0))},
		Spec:       v1alpha1.TemplateCommandSpec{Template: "web", Action: v1alpha1.TemplatePause},
	})
	w.settle()
	if s := w.template().Status.Sync; s.Phase == v1alpha1.SyncPaused {
		t.Error("it was obeyed")
	}
}

func TestNewsOfReleases(t *testing.T) {
	t.Parallel()
	for name, c := range map[string]struct {
		change func(*v1alpha1.Release)
		want   bool
	}{
		"a weight is no news":       {func(r *v1alpha1.Release) { r.Status.Weight, r.Status.Step = 50, "2/4" }, false},
		"a phase is":                {func(r *v1alpha1.Release) { r.Status.Phase = v1alpha1.ReleasePaused }, true},
		"a label is":                {func(r *v1alpha1.Release) { r.Labels = map[string]string{"app": "b"} }, true},
		"what it was tried with is": {func(r *v1alpha1.Release) { r.Status.Tried = full("web-2") }, true},
		"a changed spec is":         {func(r *v1alpha1.Release) { r.Generation++ }, true},
		"that the engine has drifted is": {func(r *v1alpha1.Release) {
			r.Status.Conditions = []metav1.Condition{{Type: conditionDrift, Status: metav1.ConditionTrue}}
		}, true},
	} {
		t.Run(name, func(t *testing.T) {
			t.Parallel()
			if got := news(serves("a", "web-1"), serves("a", "web-1", c.change)); got != c.want {
				t.Errorf("got %t", got)
			}
		})
	}
}
