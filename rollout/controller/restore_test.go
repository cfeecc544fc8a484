package controller

import (
	"context"
	"errors"
	"slices"
	"strings"
	"testing"
	"time"

	"github.com/google/go-cmp/cmp"
	"k8s.io/apimachinery/pkg/api/meta"
	metav1 "k8s.io/apimachinery/pkg/apis/meta/v1"
	"k8s.io/apimachinery/pkg/runtime"
	"k8s.io/apimachinery/pkg/types"
	"k8s.io/client-go/tools/events"
	testclock "k8s.io/utils/clock/testing"
	"sigs.k8s.io/controller-runtime/pkg/client"
	"sigs.k8s.io/controller-runtime/pkg/client/interceptor"
	"sigs.k8s.io/controller-runtime/pkg/reconcile"

	"tidegate.io/tidegate/rollout/observe"
	"tidegate.io/tidegate/rollout/plan"
	"tidegate.io/tidegate/schemas/render"
	"tidegate.io/tidegate/schemas/v1alpha1"
)

func decided(command string) *v1alpha1.Approval {
	return &v1alpha1.Approval{Actor: "alice", Command: command}
}

func broughtBack(command string) func(*v1alpha1.Rollout) {
	return func(r *v1alpha1.Rollout) { r.Status.Restored = decided(command) }
}

func retried(command string) func(*v1alpha1.Rollout) {
	return func(r *v1alpha1.Rollout) { r.Status.Retried = decided(command) }
}

func restores(rollout, command string) func(*v1alpha1.Rollout) {
	return func(r *v1alpha1.Rollout) {
		r.Spec.Restores = &v1alpha1.Restoration{Rollout: rollout, Command: command, Actor: "alice"}
	}
}

func at(generation int64) func(*v1alpha1.Rollout) {
	return func(r *v1alpha1.Rollout) { r.Spec.ReleaseGeneration = generation }
}

func abortedFor(code string) func(*v1alpha1.Rollout) {
	return func(r *v1alpha1.Rollout) { r.Status.AbortCause = &v1alpha1.Cause{Code: code} }
}

func TestClaimed(t *testing.T) {
	t.Parallel()
	const (
		ok      = v1alpha1.RolloutSucceeded
		aborted = v1alpha1.RolloutAborted
	)
	for name, c := range map[string]struct {
		rollouts   []v1alpha1.Rollout
		generation int64
		// want is "source restores command", or empty.
		want string
	}{
		"nothing is asked for where nobody decided": {
			[]v1alpha1.Rollout{attempt(1, "one", ok), attempt(2, "two", aborted)}, 2, "",
		},
		"an older revision is brought back": {
			[]v1alpha1.Rollout{attempt(1, "one", ok, broughtBack("undo")), attempt(2, "two", ok)}, 2, "cart-1 cart-1 undo",
		},
		"also while another Rollout is under way": {
			[]v1alpha1.Rollout{attempt(1, "one", ok, broughtBack("undo")), attempt(2, "two", v1alpha1.RolloutProgressing)}, 2, "cart-1 cart-1 undo",
		},
		"once for each command": {
			[]v1alpha1.Rollout{attempt(1, "one", ok, broughtBack("undo")), attempt(2, "two", ok), attempt(3, "one", ok, restores("cart-1", "undo"))}, 2, "",
		},
		"and again for another command": {
			[]v1alpha1.Rollout{attempt(1, "one", ok, broughtBack("anew")), attempt(2, "two", ok), attempt(3, "one", ok, restores("cart-1", "undo"))}, 2, "cart-1 cart-1 anew",
		},
		"what was aborted is tried again": {
			[]v1alpha1.Rollout{attempt(1, "one", ok), attempt(2, "two", aborted, retried("retry"))}, 2, "cart-2  retry",
		},
		"once": {
			[]v1alpha1.Rollout{attempt(1, "one", ok), attempt(2, "two", aborted, retried("retry")), attempt(3, "two", aborted, at(2))}, 2, "",
		},
		"not where the Release was applied since, which is another try": {
			[]v1alpha1.Rollout{attempt(1, "one", ok), attempt(2, "two", aborted, retried("retry"))}, 3, "",
		},
		"a restoration that was aborted is tried again as one": {
			[]v1alpha1.Rollout{attempt(1, "one", ok, broughtBack("undo")), attempt(2, "two", ok), attempt(3, "one", aborted, restores("cart-1", "undo"), retried("retry"))}, 3, "cart-3 cart-1 retry",
		},
		"a restoration that never began is tried again by itself": {
			[]v1alpha1.Rollout{
				attempt(1, "one", ok, broughtBack("undo")), attempt(2, "two", ok),
				attempt(3, "one", aborted, restores("cart-1", "undo"), abortedFor(plan.ReasonAbortOutdated)),
			}, 3, "cart-3 cart-1 ",
		},
	} {
		t.Run(name, func(t *testing.T) {
			t.Parallel()
			got := ""
			if claim := claimed(c.rollouts, c.generation); claim != nil {
				got = claim.source.Name + " "
				if claim.restores != nil {
					got += claim.restores.Rollout
				}
				got += " " + claim.command
			}
			if got != c.want {
				t.Errorf("got %q, want %q", got, c.want)
			}
		})
	}
}

func TestWhatWasBroughtBackStays(t *testing.T) {
	t.Parallel()
	history := []v1alpha1.Rollout{
		attempt(1, "one", v1alpha1.RolloutSucceeded), attempt(2, "two", v1alpha1.RolloutSucceeded),
		attempt(3, "one", v1alpha1.RolloutSucceeded, restores("cart-1", "undo"), at(2)),
	}
	for name, c := range map[string]struct {
		wish   wish
		change func(*v1alpha1.Rollout)
		create string
	}{
		"the undone spec is not rolled out again":        {wish: asked(2, "two", full("web-1"))},
		"nor what another template revision makes of it": {wish: asked(2, "three", full("web-2"))},
		"nor after the restoration was aborted": {
			wish: asked(2, "two", full("web-1")), change: func(r *v1alpha1.Rollout) { r.Status.Phase = v1alpha1.RolloutAborted },
		},
		"the Release that is applied anew is": {wish: asked(3, "two", full("web-1")), create: "cart-4"},
		"what is brought back for a former Release of the name does not count": {
			wish: asked(2, "two", full("web-1")), create: "cart-4",
			change: func(r *v1alpha1.Rollout) { r.Annotations = map[string]string{v1alpha1.AnnotationAdopted: "x"} },
		},
	} {
		t.Run(name, func(t *testing.T) {
			t.Parallel()
			rollouts := slices.Clone(history)
			if c.change != nil {
				c.change(&rollouts[2])
			}
			next, err := nextRollout(c.wish, rollouts, 4)
			if err != nil {
				t.Fatal(err)
			}
			got := ""
			if next != nil {
				got = next.Name
			}
			if got != c.create {
				t.Errorf("creates %q, want %q", got, c.create)
			}
		})
	}
}

func TestKnown(t *testing.T) {
	t.Parallel()
	// served makes a history of what came into service: a word each, ! for what a person brought
	// back, ~ for what was returned to without steps, x for what was aborted.
	served := func(words string) (out []v1alpha1.Rollout) {
		for n, word := range strings.Fields(words) {
			r := attempt(int64(n)+1, strings.Trim(word, "!~x"), v1alpha1.RolloutSucceeded)
			if strings.HasPrefix(word, "!") {
				restores("cart-1", "undo")(&r)
			}
			r.Spec.Known = strings.HasPrefix(word, "~")
			if strings.HasPrefix(word, "x") {
				r.Status.Phase = v1alpha1.RolloutAborted
			}
			out = append(out, r)
		}
		return out
	}
	for name, c := range map[string]struct {
		history, word string
		window        int32
		want          bool
	}{
		"without a window nothing is known":                       {"a b", "a", 0, false},
		"the revision before is":                                  {"a b", "a", 1, true},
		"one that is further away than the window is not":         {"a b c", "a", 1, false},
		"a wider window reaches it":                               {"a b c", "a", 2, true},
		"what serves needs no return":                             {"a b", "b", 2, false},
		"what never served is not known":                          {"a b", "c", 5, false},
		"what was aborted never served":                           {"a xb c", "b", 5, false},
		"a revision counts once, however often it served":         {"a b c b c", "a", 2, true},
		"what was returned from is not good":                      {"a b ~a", "b", 2, false},
		"nor is what a person brought another one back for":       {"a b !a", "b", 2, false},
		"what served before that is":                              {"a b c ~b", "a", 2, true},
		"what was returned from is good once it walked its steps": {"a b ~a b c", "b", 2, true},
		"trying it once more is no return from what served":       {"a b ~a b", "a", 2, true},
	} {
		t.Run(name, func(t *testing.T) {
			t.Parallel()
			result := &render.Result{Revision: "rev-" + c.word, Digest: "sha256:" + c.word}
			if c.window > 0 {
				result.Strategy.RollbackWindow = &v1alpha1.RollbackWindow{Revisions: c.window}
			}
			if got := known(result, served(c.history)); got != c.want {
				t.Errorf("known: %t, want %t", got, c.want)
			}
		})
	}
}

// engine renders what the values name: {"image":"one"} to revision rev-one.
type engine struct {
	// drift is added to every digest.
	drift string
}

func (e *engine) Render(_ context.Context, _ *v1alpha1.TemplateRevision, values *runtime.RawExtension, _ render.Context) (*render.Result, error) {
	word := strings.Trim(strings.TrimPrefix(strings.ReplaceAll(string(values.Raw), " ", ""), `{"image":"`), `"}`)
	return &render.Result{Revision: "rev-" + word, Digest: "sha256:" + word + e.drift, Replicas: 3}, nil
}

// keeper is a Release, cart, at generation 2, with the words that its Rollouts were about.
type keeper struct {
	*testing.T
	client.WithWatch
	loop   *releaseLoop
	engine *engine
	events *events.FakeRecorder
	key    client.ObjectKey
}

func newKeeper(t *testing.T, rollouts []v1alpha1.Rollout, more ...client.Object) *keeper {
	t.Helper()
	release := serves("cart", "web-1")
	release.Generation, release.Spec.Values = 2, &runtime.RawExtension{Raw: []byte(`{"image":"two"}`)}
	release.Status.Assigned = &v1alpha1.AssignedRevision{Name: full("web-1"), Generation: 1}
	objects := append([]client.Object{release, snapshot(1, "one"), webTemplate("one")}, more...)
	for i := range rollouts {
		ofRelease(release.UID)(&rollouts[i])
		objects = append(objects, &rollouts[i])
	}
	k := &keeper{T: t, engine: &engine{}, events: events.NewFakeRecorder(20), key: client.ObjectKeyFromObject(release)}
	k.WithWatch = newCluster(t, objects...)
	k.loop = &releaseLoop{
		client: k, live: k, renderer: k.engine, recorder: k.events, clock: testclock.NewFakePassiveClock(time.Unix(100, 0)),
	}
	return k
}

func (k *keeper) reconcile() {
	k.Helper()
	if _, err := k.loop.Reconcile(k.Context(), reconcile.Request{NamespacedName: k.key}); err != nil {
		k.Fatal(err)
	}
}

func (k *keeper) names() (out []string) {
	k.Helper()
	all, err := observe.Rollouts(k.Context(), k, k.key.Namespace, k.key.Name)
	if err != nil {
		k.Fatal(err)
	}
	for i := range all {
		out = append(out, all[i].Name+" "+all[i].Spec.Revision)
	}
	return out
}

func (k *keeper) rollout(name string) *v1alpha1.Rollout {
	k.Helper()
	var r v1alpha1.Rollout
	if err := k.Get(k.Context(), client.ObjectKey{Namespace: k.key.Namespace, Name: name}, &r); err != nil {
		k.Fatal(err)
	}
	return &r
}

func (k *keeper) release() *v1alpha1.Release {
	k.Helper()
	var r v1alpha1.Release
	if err := k.Get(k.Context(), k.key, &r); err != nil {
		k.Fatal(err)
	}
	return &r
}

func (k *keeper) ends(name string, phase v1alpha1.RolloutPhase) {
	k.Helper()
	r := k.rollout(name)
	r.Status.Phase, r.Status.Reason, r.Status.Message = phase, plan.ReasonSucceeded, "it is in service"
	if err := k.Status().Update(k.Context(), r); err != nil {
		k.Fatal(err)
	}
}

func TestAnUndoPinsWhatServedThenAndStays(t *testing.T) {
	t.Parallel()
	percent := int32(7)
	k := newKeeper(t, []v1alpha1.Rollout{
		attempt(1, "one", v1alpha1.RolloutSucceeded, broughtBack("undo"), func(r *v1alpha1.Rollout) {
			r.Spec.Strategy.Steps, r.Spec.Replicas = []v1alpha1.Step{{SetWeight: &percent}}, 9
		}),
		attempt(2, "two", v1alpha1.RolloutSucceeded),
	})
	for range 3 {
		k.reconcile()
	}
	if diff := cmp.Diff([]string{"cart-1 rev-one", "cart-2 rev-two", "cart-3 rev-one"}, k.names()); diff != "" {
		t.Fatalf("the Rollouts (-want +got):\n%s", diff)
	}
	s, from := k.rollout("cart-3").Spec, k.rollout("cart-1").Spec
	want := v1alpha1.Restoration{Rollout: "cart-1", Command: "undo", Actor: "alice"}
	if s.Restores == nil || *s.Restores != want || s.ReleaseGeneration != 2 || s.Stable == nil || s.Stable.Rollout != "cart-2" {
		t.Errorf("it is for %+v at generation %d over %+v", s.Restores, s.ReleaseGeneration, s.Stable)
	}
	if s.Digest != from.Digest || string(s.Values.Raw) != string(from.Values.Raw) || s.TemplateRevision != from.TemplateRevision || s.Replicas != 9 || !cmp.Equal(s.Strategy, from.Strategy) {
		t.Errorf("it pins %+v, not what %+v pins", s, from)
	}
	k.ends("cart-3", v1alpha1.RolloutSucceeded)
	for range 3 {
		k.reconcile()
	}
	after := k.release()
	stalled := meta.FindStatusCondition(after.Status.Conditions, v1alpha1.ConditionStalled)
	if len(k.names()) != 3 || after.Status.Phase != v1alpha1.ReleaseAborted || stalled == nil || stalled.Reason != "ReleaseRestored" {
		t.Errorf("it does not stay: %v, %s, %+v", k.names(), after.Status.Phase, stalled)
	}
	after.Generation++
	if err := k.Update(t.Context(), after); err != nil {
		t.Fatal(err)
	}
	k.reconcile()
	if got := k.names(); len(got) != 4 || got[3] != "cart-4 rev-two" || k.rollout("cart-4").Spec.Restores != nil {
		t.Errorf("applied anew, there are %v", got)
	}
}

func TestARetryIsMadeOnceHoweverOftenItsManagerDies(t *testing.T) {
	t.Parallel()
	k := newKeeper(t, []v1alpha1.Rollout{
		attempt(1, "one", v1alpha1.RolloutSucceeded),
		attempt(2, "two", v1alpha1.RolloutAborted, retried("retry"), abortedFor(plan.ReasonAnalysisFail)),
	})
	dead := errors.New("the connection is lost")
	// The answer to the creation is lost, and the cache of the next manager is old.
	before := k.names()
	k.loop.client = interceptor.NewClient(k.WithWatch, interceptor.Funcs{
		Create: func(ctx context.Context, c client.WithWatch, obj client.Object, opts ...client.CreateOption) error {
			if err := c.Create(ctx, obj, opts...); err != nil {
				return err
			}
			return dead
		},
	})
	if _, err := k.loop.Reconcile(t.Context(), reconcile.Request{NamespacedName: k.key}); !errors.Is(err, dead) {
		t.Fatalf("got %v", err)
	}
	k.loop.client = interceptor.NewClient(k.WithWatch, interceptor.Funcs{
		List: func(ctx context.Context, c client.WithWatch, list client.ObjectList, opts ...client.ListOption) error {
			err := c.List(ctx, list, opts...)
			if rollouts, ok := list.(*v1alpha1.RolloutList); ok {
				rollouts.Items = rollouts.Items[:len(before)]
			}
			return err
		},
	})
	for range 3 {
		k.reconcile()
	}
	if diff := cmp.Diff([]string{"cart-1 rev-one", "cart-2 rev-two", "cart-3 rev-two"}, k.names()); diff != "" {
		t.Errorf("the Rollouts (-want +got):\n%s", diff)
	}
	if r := k.rollout("cart-3"); r.Spec.Restores != nil || r.Spec.ReleaseGeneration != 2 {
		t.Errorf("it is %+v", r.Spec)
	}
}

// What cannot be made again is refused, on the command; nothing happens then, and nothing on a
// later day.
func TestADecisionThatCannotBeCarriedOutIsTakenBack(t *testing.T) {
	t.Parallel()
	for name, c := range map[string]struct {
		rollouts []v1alpha1.Rollout
		gone     bool
		drift    string
		want     string
	}{
		"a revision whose template revision is gone": {
			rollouts: []v1alpha1.Rollout{attempt(1, "one", v1alpha1.RolloutSucceeded, broughtBack("c"), func(r *v1alpha1.Rollout) { r.Spec.TemplateRevision = full("web-9") }), attempt(2, "two", v1alpha1.RolloutSucceeded)},
			want:     "TG-NOT-RENDERED: nothing is changed, since Rollout cart-1 cannot be made again",
		},
		"a revision that the engine renders to something else": {
			rollouts: []v1alpha1.Rollout{attempt(1, "one", v1alpha1.RolloutSucceeded, broughtBack("c")), attempt(2, "two", v1alpha1.RolloutSucceeded)},
			drift:    "-other", want: "TG-ENGINE-DRIFT: nothing is changed",
		},
		"a retry of what the engine renders to something else": {
			rollouts: []v1alpha1.Rollout{attempt(1, "one", v1alpha1.RolloutSucceeded), attempt(2, "two", v1alpha1.RolloutAborted, retried("c"))},
			drift:    "-other", want: "TG-ENGINE-DRIFT: nothing is changed, since Rollout cart-2",
		},
		"a revision that served in another way": {
			rollouts: []v1alpha1.Rollout{attempt(1, "one", v1alpha1.RolloutSucceeded, broughtBack("c")), attempt(2, "two", v1alpha1.RolloutSucceeded, func(r *v1alpha1.Rollout) { r.Spec.Router = v1alpha1.RouterService })},
			want:     "TG-ROUTER-CHANGE: nothing is changed",
		},
	} {
		t.Run(name, func(t *testing.T) {
			t.Parallel()
			command := &v1alpha1.RolloutCommand{ObjectMeta: metav1.ObjectMeta{Namespace: "shop", Name: "c"}, Spec: v1alpha1.RolloutCommandSpec{Rollout: "cart-1"}}
			command.Status.Outcome = v1alpha1.OutcomeApplied
			k := newKeeper(t, c.rollouts, command)
			k.engine.drift = c.drift
			for range 3 {
				k.reconcile()
			}
			if got := k.names(); len(got) != 2 {
				t.Errorf("there are %v", got)
			}
			if err := k.Get(t.Context(), client.ObjectKeyFromObject(command), command); err != nil {
				t.Fatal(err)
			}
			if command.Status.Outcome != v1alpha1.OutcomeRefused || !strings.Contains(command.Status.Message, c.want) {
				t.Errorf("the command says %s: %s", command.Status.Outcome, command.Status.Message)
			}
			for _, name := range []string{"cart-1", "cart-2"} {
				if s := k.rollout(name).Status; s.Restored != nil || s.Retried != nil {
					t.Errorf("%s remembers it: %+v %+v", name, s.Restored, s.Retried)
				}
			}
			// On a later day the engine may render it again.
			k.engine.drift = ""
			k.reconcile()
			if got := k.names(); len(got) != 2 {
				t.Errorf("on a later day there are %v", got)
			}
		})
	}
}

// A Rollout of another Release of the name may not answer for one of this.
func TestARolloutThatIsGoneTakesItsCommandsAlong(t *testing.T) {
	t.Parallel()
	noon := time.Date(2026, 5, 4, 12, 0, 0, 0, time.UTC)
	about := func(name, rollout string, outcome v1alpha1.CommandOutcome) client.Object {
		return &v1alpha1.RolloutCommand{
			ObjectMeta: metav1.ObjectMeta{Namespace: "shop", Name: name, UID: types.UID(name)},
			Spec:       v1alpha1.RolloutCommandSpec{Rollout: rollout, Action: v1alpha1.CommandPause},
			Status:     v1alpha1.RolloutCommandStatus{Outcome: outcome},
		}
	}
	there := attempt(2, "two", v1alpha1.RolloutSucceeded)
	late := func(name string, before time.Duration) client.Object {
		o := about(name, "cart-1", v1alpha1.OutcomeRefused)
		o.SetCreationTimestamp(metav1.NewTime(noon.Add(-before)))
		o.(*v1alpha1.RolloutCommand).Status.Message = "TG-COMMAND-LATE: wanted Rollout cart-1, found that it is gone"
		return o
	}
	c := newCluster(t, &there, about("old", "cart-1", v1alpha1.OutcomeApplied), about("asked", "cart-1", ""),
		late("told", time.Minute), late("told-long-ago", keptCommand), about("kept", "cart-2", v1alpha1.OutcomeApplied))
	loop := &rolloutLoop{client: c, reader: observe.Reader{Live: c}, clock: testclock.NewFakePassiveClock(noon)}
	for _, name := range []string{"cart-1", "cart-2"} {
		_, again, err := loop.over(t.Context(), client.ObjectKey{Namespace: "shop", Name: name})
		if err != nil {
			t.Fatal(err)
		}
		if looks := again == keptCommand; looks != (name == "cart-1") {
			t.Errorf("what is left of %s is looked at again in %s", name, again)
		}
	}
	// The cache of one that is behind has not seen a Rollout yet.
	behind := &rolloutLoop{client: newCluster(t, about("kept", "cart-2", v1alpha1.OutcomeApplied)), reader: observe.Reader{Live: c}, clock: loop.clock}
	if _, err := behind.forget(t.Context(), client.ObjectKey{Namespace: "shop", Name: "cart-2"}); err != nil {
		t.Fatal(err)
	}
	var left v1alpha1.RolloutCommandList
	if err := c.List(t.Context(), &left); err != nil {
		t.Fatal(err)
	}
	var names []string
	for i := range left.Items {
		names = append(names, left.Items[i].Name)
	}
	if diff := cmp.Diff([]string{"asked", "kept", "told"}, names); diff != "" {
		t.Errorf("the commands (-want +got):\n%s", diff)
	}
	for i := range left.Items {
		s := left.Items[i].Status
		refused := s.Outcome == v1alpha1.OutcomeRefused && strings.HasPrefix(s.Message, "TG-COMMAND-LATE: wanted Rollout cart-1, found that it is gone")
		if refused != (left.Items[i].Name != "kept") {
			t.Errorf("%s is answered with %s: %q", left.Items[i].Name, s.Outcome, s.Message)
		}
	}
	var still v1alpha1.RolloutCommandList
	if err := behind.client.List(t.Context(), &still); err != nil || len(still.Items) != 1 {
		t.Errorf("the one that is behind has deleted it: %d left, %v", len(still.Items), err)
	}
	if got := loop.ofCommand(t.Context(), about("old", "cart-1", v1alpha1.OutcomeApplied)); len(got) != 1 {
		t.Errorf("a command about one that is gone is not looked at: %v", got)
	}
	if got := loop.ofCommand(t.Context(), about("kept", "cart-2", v1alpha1.OutcomeApplied)); len(got) != 0 {
		t.Errorf("an answered command is looked at again: %v", got)
	}
}
