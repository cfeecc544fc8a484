package controller

import (
	"context"
	"errors"
	"fmt"
	"strings"
	"testing"
	"time"

	apierrors "k8s.io/apimachinery/pkg/api/errors"
	"k8s.io/apimachinery/pkg/api/meta"
	metav1 "k8s.io/apimachinery/pkg/apis/meta/v1"
	"k8s.io/apimachinery/pkg/types"
	"k8s.io/client-go/tools/events"
	"sigs.k8s.io/controller-runtime/pkg/client"
	"sigs.k8s.io/controller-runtime/pkg/client/interceptor"

	"tidegate.io/tidegate/schemas/render"
	"tidegate.io/tidegate/schemas/v1alpha1"
	"tidegate.io/tidegate/schemas/worker"
)

// templateWorld has one template, web, whose source is a word; the word "broken" does not
// compile, "later" cannot be compiled for now, and "bomb" takes too long.
type templateWorld struct {
	*testing.T
	client   client.WithWatch
	loop     *templates
	events   *events.FakeRecorder
	compiled int
}

func newTemplateWorld(t *testing.T, c client.WithWatch) *templateWorld {
	t.Helper()
	w := &templateWorld{T: t, client: c, events: events.NewFakeRecorder(100)}
	loop, err := newTemplates(c, TemplateOptions{Live: liveReader{c}, Recorder: w.events, Compile: w.compile})
	if err != nil {
		t.Fatal(err)
	}
	w.loop = loop
	return w
}

// liveReader is another reader than the client, as the API server is to the cache.
type liveReader struct{ client.Reader }

func (w *templateWorld) compile(_ context.Context, files map[string]string) ([]byte, error) {
	w.compiled++
	switch files["web.cue"] {
	case "broken":
		return nil, &render.SourceError{Lines: []string{"web.cue:3:1: wanted }, found end of file"}}
	case "later":
		return nil, errors.New("the worker ended")
	case "bomb":
		return nil, &worker.BombError{Owner: "template source x", Cause: worker.CauseDeadline, Limit: "3s"}
	}
	return []byte(`{"type":"object"}`), nil
}

func webTemplate(word string) *v1alpha1.ReleaseTemplate {
	return &v1alpha1.ReleaseTemplate{
		ObjectMeta: metav1.ObjectMeta{Name: "web", Generation: 1, UID: "web"},
		Spec:       v1alpha1.ReleaseTemplateSpec{Files: map[string]string{"web.cue": word}},
	}
}

// reconcile runs the loop once.
func (w *templateWorld) reconcile() error {
	_, err := w.loop.Reconcile(w.Context(), named("web"))
	return err
}

// settle runs the loop and fails the test on an error.
func (w *templateWorld) settle() {
	w.Helper()
	if err := w.reconcile(); err != nil {
		w.Fatal(err)
	}
}

func (w *templateWorld) template() *v1alpha1.ReleaseTemplate {
	w.Helper()
	var t v1alpha1.ReleaseTemplate
	if err := w.client.Get(w.Context(), types.NamespacedName{Name: "web"}, &t); err != nil {
		w.Fatal(err)
	}
	return &t
}

func (w *templateWorld) edit(word string) {
	w.Helper()
	t := w.template()
	t.Generation++
	t.Spec.Files = map[string]string{"web.cue": word}
	if err := w.client.Update(w.Context(), t); err != nil {
		w.Fatal(err)
	}
}

// revisions returns "name word" of each, sorted by name.
func (w *templateWorld) revisions() string {
	w.Helper()
	var list v1alpha1.TemplateRevisionList
	if err := w.client.List(w.Context(), &list); err != nil {
		w.Fatal(err)
	}
	out := make([]string, 0, len(list.Items))
	for _, r := range list.Items {
		out = append(out, brief(r.Name)+" "+r.Spec.Files["web.cue"])
	}
	return strings.Join(out, ", ")
}

func (w *templateWorld) want(revisions, latest, standing string) {
	w.Helper()
	if got := w.revisions(); got != revisions {
		w.Errorf("revisions: %s; wanted: %s", got, revisions)
	}
	t := w.template()
	if brief(t.Status.LatestRevision) != latest {
		w.Errorf("latest revision %q, wanted %q", t.Status.LatestRevision, latest)
	}
	if t.Status.ObservedGeneration != t.Generation {
		w.Errorf("observedGeneration %d, wanted %d", t.Status.ObservedGeneration, t.Generation)
	}
	checkStanding(w.T, t.Status.Conditions, standing)
}

func TestEveryGoodStateOfATemplateBecomesARevision(t *testing.T) {
	t.Parallel()
	w := newTemplateWorld(t, catalogWorld(t, webTemplate("one")))
	w.settle()
	w.want("web-1 one", "web-1", v1alpha1.ConditionReady)

	var revision v1alpha1.TemplateRevision
	if err := w.client.Get(t.Context(), types.NamespacedName{Name: full("web-1")}, &revision); err != nil {
		t.Fatal(err)
	}
	if revision.Spec.Template != "web" || revision.Spec.Number != 1 || revision.Spec.Engine != render.Engine() ||
		revision.Spec.Digest != render.Digest(revision.Spec.Files) || string(revision.Spec.Schema.Raw) != `{"type":"object"}` ||
		revision.Labels[v1alpha1.LabelTemplate] != "web" {
		t.Errorf("%+v", revision)
	}
	if len(revision.OwnerReferences) > 0 {
		t.Error("the revision would go with its template, and with it what serves")
	}

	w.edit("two")
	w.settle()
	w.want("web-1 one, web-2 two", "web-2", v1alpha1.ConditionReady)

	w.edit("one") // back to an earlier state is a new revision: numbers only rise
	w.settle()
	w.want("web-1 one, web-2 two, web-3 one", "web-3", v1alpha1.ConditionReady)
}

func TestI5ATemplateAtRestCostsNoWriteAndNoCompiler(t *testing.T) {
	t.Parallel()
	w := newTemplateWorld(t, catalogWorld(t, webTemplate("one")))
	w.settle()
	before, compiled := w.template().ResourceVersion, w.compiled
	w.settle()
	if w.template().ResourceVersion != before || w.compiled != compiled || len(w.events.Events) != 1 {
		t.Errorf("a second look wrote or compiled: %d compilations, %d events", w.compiled, len(w.events.Events))
	}

	w.edit("broken")
	w.settle()
	before, compiled = w.template().ResourceVersion, w.compiled
	w.settle()
	if w.template().ResourceVersion != before || w.compiled != compiled || len(w.events.Events) != 2 {
		t.Errorf("a second look at a broken template wrote or compiled: %d compilations, %d events", w.compiled, len(w.events.Events))
	}
}

func TestI8ABrokenTemplateLeavesTheLastGoodRevision(t *testing.T) {
	t.Parallel()
	w := newTemplateWorld(t, catalogWorld(t, webTemplate("one")))
	w.settle()
	w.edit("broken")
	w.settle()
	w.want("web-1 one", "web-1", v1alpha1.ConditionStalled)
	stalled := meta.FindStatusCondition(w.template().Status.Conditions, v1alpha1.ConditionStalled)
	for _, part := range []string{"web.cue:3:1", full("web-1") + " stays in force"} {
		if !strings.Contains(stalled.Message, part) {
			t.Errorf("message %q lacks %q", stalled.Message, part)
		}
	}
	w.edit("two")
	w.settle()
	w.want("web-1 one, web-2 two", "web-2", v1alpha1.ConditionReady)
}

func TestATemplateThatNeverWasGoodHasNoRevision(t *testing.T) {
	t.Parallel()
	w := newTemplateWorld(t, catalogWorld(t, webTemplate("broken")))
	w.settle()
	w.want("", "", v1alpha1.ConditionStalled)
}

func TestACompilerThatFailsByItselfIsTriedAgain(t *testing.T) {
	t.Parallel()
	w := newTemplateWorld(t, catalogWorld(t, webTemplate("later")))
	if err := w.reconcile(); err == nil {
		t.Error("the failure was taken for an answer")
	}
	if err := w.reconcile(); err == nil || w.compiled != 2 {
		t.Errorf("the failure was remembered: %v after %d compilations", err, w.compiled)
	}
}

func TestATemplateThatTakesTooLongWaitsAndIsTriedAgain(t *testing.T) {
	t.Parallel()
	w := newTemplateWorld(t, catalogWorld(t, webTemplate("one")))
	w.settle()
	w.edit("bomb")
	next, err := w.loop.Reconcile(t.Context(), named("web"))
	if err != nil || next.RequeueAfter != waitingDelay {
		t.Errorf("wanted another look after %s, found %s, %v", waitingDelay, next.RequeueAfter, err)
	}
	w.want("web-1 one", "web-1", v1alpha1.ConditionReconciling)
	waits := meta.FindStatusCondition(w.template().Status.Conditions, v1alpha1.ConditionReconciling)
	for _, part := range []string{full("web-1") + " stays in force", "template source x: wanted it to be rendered within 3s, found that more time was needed; do: "} {
		if waits.Reason != "RenderBudget" || !strings.Contains(waits.Message, part) {
			t.Errorf("wanted %q, found %s: %s", part, waits.Reason, waits.Message)
		}
	}
	before := w.template().ResourceVersion
	w.settle()
	if w.compiled != 3 || w.template().ResourceVersion != before {
		t.Errorf("wanted it to be asked for again, and nothing to be written: %d compilations", w.compiled)
	}
	w.edit("two")
	w.settle()
	w.want("web-1 one, web-2 two", "web-2", v1alpha1.ConditionReady)
}

func TestI8ASyncGoesOnWhenTheNextSourceIsBroken(t *testing.T) {
	t.Parallel()
	for word, most := range map[string]time.Duration{"broken": time.Hour, "bomb": waitingDelay} {
		t.Run(word, func(t *testing.T) {
			t.Parallel()
			template := stagedWeb("one")
			template.Spec.Sync.Waves[0].Soak = metav1.Duration{Duration: time.Hour}
			w := newTemplateWorld(t, catalogWorld(t, template, serves("a", ""), serves("b", "")))
			w.settle()
			w.serve()
			w.settle()
			w.edit("two")
			w.settle()
			w.serve()
			w.edit(word)
			next, err := w.loop.Reconcile(t.Context(), named("web"))
			if s := w.template().Status.Sync; s.Phase != v1alpha1.SyncSoaking || brief(s.Target) != "web-2" {
				t.Fatalf("the sync stands at %+v", s)
			}
			if err != nil || next.RequeueAfter <= 0 || next.RequeueAfter > most {
				t.Errorf("wanted another look when the wave has soaked, found %s, %v", next.RequeueAfter, err)
			}
		})
	}
}

func TestANumberIsNeverUsedForTwoSources(t *testing.T) {
	t.Parallel()
	w := newTemplateWorld(t, catalogWorld(t, webTemplate("one")))
	w.settle()
	w.edit("two")
	w.settle()
	for _, name := range []string{"web-1", "web-2"} {
		if err := w.client.Delete(t.Context(), &v1alpha1.TemplateRevision{ObjectMeta: metav1.ObjectMeta{Name: full(name)}}); err != nil {
			t.Fatal(err)
		}
	}
	w.settle()
	w.want("web-2 two", "web-2", v1alpha1.ConditionReady) // the very same
	if err := w.client.Delete(t.Context(), snapshot(2, "two")); err != nil {
		t.Fatal(err)
	}
	w.edit("one")
	w.settle()
	w.want("web-3 one", "web-3", v1alpha1.ConditionReady)
}

// Of sources whose digests begin alike, which one author can find among his own, the second
// does not get the name that the first had.
func TestANameIsNeverUsedForTwoSourcesWhoseDigestsBeginAlike(t *testing.T) {
	t.Parallel()
	w := newTemplateWorld(t, catalogWorld(t, webTemplate("one")))
	w.settle()
	template := w.template()
	if template.Status.LatestDigest != render.Digest(template.Spec.Files) {
		t.Fatalf("the status has the digest %q", template.Status.LatestDigest)
	}
	template.Status.LatestDigest = template.Status.LatestDigest[:len(template.Status.LatestDigest)-1] + "x"
	if err := w.client.Status().Update(t.Context(), template); err != nil {
		t.Fatal(err)
	}
	if err := w.client.Delete(t.Context(), snapshot(1, "one")); err != nil {
		t.Fatal(err)
	}
	w.settle()
	w.want("web-2 one", "web-2", v1alpha1.ConditionReady)
}

func TestRevisionsOfOtherTemplatesDoNotCount(t *testing.T) {
	t.Parallel()
	other := &v1alpha1.TemplateRevision{
		ObjectMeta: metav1.ObjectMeta{Name: "worker-7", Labels: map[string]string{v1alpha1.LabelTemplate: "web"}},
		Spec:       v1alpha1.TemplateRevisionSpec{Template: "worker", Number: 7, Digest: render.Digest(map[string]string{"web.cue": "one"})},
	}
	w := newTemplateWorld(t, catalogWorld(t, webTemplate("one"), other))
	w.settle()
	if t := w.template(); brief(t.Status.LatestRevision) != "web-1" {
		w.Errorf("latest %q", t.Status.LatestRevision)
	}
}

func TestI6AnotherManagerThatWasQuickerIsJoined(t *testing.T) {
	t.Parallel()
	for name, tc := range map[string]struct {
		// word is the source that the other publishes, before our first write or before our second.
		word   string
		before int
		want   string
	}{
		"with the same source, before the number is reserved":               {"two", 1, "web-1 one, web-2 two"},
		"with the same source, once the number is reserved":                 {"two", 2, "web-1 one, web-2 two"},
		"with another source, to which the number goes that we had in mind": {"three", 1, "web-1 one, web-2 three, web-3 two"},
		"with another source, once the number is reserved":                  {"three", 2, "web-1 one, web-2 two, web-3 three, web-4 two"},
	} {
		t.Run(name, func(t *testing.T) {
			t.Parallel()
			base := catalogWorld(t, webTemplate("one"))
			w := newTemplateWorld(t, base)
			w.settle()
			w.edit("two")
			writes := 0
			quicker := func() {
				if writes++; writes == tc.before {
					other := newTemplateWorld(t, base)
					template := other.template()
					template.Spec.Files = map[string]string{"web.cue": tc.word}
					if _, err := other.loop.publish(t.Context(), template); err != nil {
						t.Fatal(err)
					}
				}
			}
			w.loop.client = interceptor.NewClient(base, interceptor.Funcs{
				Create: func(ctx context.Context, c client.WithWatch, obj client.Object, opts ...client.CreateOption) error {
					quicker()
					return c.Create(ctx, obj, opts...)
				},
				SubResourceUpdate: func(ctx context.Context, c client.Client, sub string, obj client.Object, opts ...client.SubResourceUpdateOption) error {
					quicker()
					return c.SubResource(sub).Update(ctx, obj, opts...)
				},
			})
			// Who was overtaken looks again.
			for range 3 {
				if err := w.reconcile(); client.IgnoreNotFound(err) != nil && !apierrors.IsConflict(err) {
					t.Fatal(err)
				}
			}
			if got := w.revisions(); got != tc.want {
				t.Errorf("revisions: %s; wanted: %s", got, tc.want)
			}
			checkStanding(t, w.template().Status.Conditions, v1alpha1.ConditionReady)
		})
	}
}

func TestI6ADeathBetweenAnyTwoWritesEndsInTheSameState(t *testing.T) {
	t.Parallel()
	for n := 1; n <= 4; n++ {
		t.Run(fmt.Sprintf("write %d fails", n), func(t *testing.T) {
			t.Parallel()
			base := catalogWorld(t, webTemplate("one"))
			w := newTemplateWorld(t, base)
			writes := 0
			fail := func() error {
				if writes++; writes == n {
					return apierrors.NewServiceUnavailable("away")
				}
				return nil
			}
			w.loop.client = interceptor.NewClient(base, interceptor.Funcs{
				Create: func(ctx context.Context, c client.WithWatch, obj client.Object, opts ...client.CreateOption) error {
					if err := fail(); err != nil {
						return err
					}
					return c.Create(ctx, obj, opts...)
				},
				SubResourceUpdate: func(ctx context.Context, c client.Client, sub string, obj client.Object, opts ...client.SubResourceUpdateOption) error {
					if err := fail(); err != nil {
						return err
					}
					return c.SubResource(sub).Update(ctx, obj, opts...)
				},
			})
			if err := w.reconcile(); err == nil {
				t.Errorf("write %d did not happen", n)
			}
			w.settle()
			w.want("web-1 one", "web-1", v1alpha1.ConditionReady)
		})
	}
}

func TestReleasesOfATemplateAreCounted(t *testing.T) {
	t.Parallel()
	release := func(name, template string) client.Object {
		return &v1alpha1.Release{
			ObjectMeta: metav1.ObjectMeta{Namespace: "shop", Name: name},
			Spec:       v1alpha1.ReleaseSpec{Template: v1alpha1.TemplateReference{Name: template}},
		}
	}
	w := newTemplateWorld(t, catalogWorld(t, webTemplate("one"), release("a", "web"), release("b", "web"), release("c", "worker")))
	w.settle()
	if n := w.template().Status.Releases; n != 2 {
		t.Errorf("%d Releases, wanted 2", n)
	}
}

func TestATemplateThatGoesLeavesItsRevisions(t *testing.T) {
	t.Parallel()
	w := newTemplateWorld(t, catalogWorld(t, webTemplate("one")))
	w.settle()
	if err := w.client.Delete(t.Context(), w.template()); err != nil {
		t.Fatal(err)
	}
	w.settle()
	if got := w.revisions(); got != "web-1 one" {
		t.Errorf("revisions: %q", got)
	}
}
