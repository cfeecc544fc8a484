package controller

import (
	"context"
	"encoding/json"
	"errors"
	"fmt"
	"slices"
	"strings"
	"testing"

	metav1 "k8s.io/apimachinery/pkg/apis/meta/v1"
	"k8s.io/apimachinery/pkg/apis/meta/v1/unstructured"
	"k8s.io/apimachinery/pkg/runtime"
	"sigs.k8s.io/controller-runtime/pkg/client"
	"sigs.k8s.io/controller-runtime/pkg/client/interceptor"
	"sigs.k8s.io/controller-runtime/pkg/reconcile"

	"tidegate.io/tidegate/rollout/observe"
	"tidegate.io/tidegate/rollout/plan"
	"tidegate.io/tidegate/schemas/render"
	"tidegate.io/tidegate/schemas/v1alpha1"
)

// sizer renders a Deployment of so many pods: {"image":"two","replicas":8}. Counts is what is beside
// the pods, and most the bound of an autoscaler.
type sizer struct{}

type sizerValues struct {
	Image          string
	Replicas, Most int32
	Counts         string
	Rolling        bool
}

func (sizer) Render(_ context.Context, _ *v1alpha1.TemplateRevision, values *runtime.RawExtension, _ render.Context) (*render.Result, error) {
	var v sizerValues
	if err := json.Unmarshal(values.Raw, &v); err != nil {
		return nil, err
	}
	if v.Image == "broken" {
		return nil, &render.SourceError{Lines: []string{"it is broken"}}
	}
	object := func(kind string, spec map[string]any) *unstructured.Unstructured {
		return &unstructured.Unstructured{Object: map[string]any{"apiVersion": "apps/v1", "kind": kind, "metadata": map[string]any{"name": "cart-" + v.Image}, "spec": spec}}
	}
	out := &render.Result{
		Revision: "rev-" + v.Image, Digest: "sha256:" + string(values.Raw), Replicas: v.Replicas,
		Strategy: v1alpha1.Strategy{Type: v1alpha1.StrategyCanary},
		Set:      []*unstructured.Unstructured{object("Deployment", map[string]any{"replicas": int64(v.Replicas)})},
		Shared:   []*unstructured.Unstructured{object("ConfigMap", map[string]any{"counts": v.Counts})},
	}
	if v.Rolling {
		out.Strategy.Type = v1alpha1.StrategyRolling
		out.Set[0].SetName("cart")
	}
	if v.Most > 0 {
		out.Set = append(out.Set, object("HorizontalPodAutoscaler", map[string]any{"minReplicas": int64(v.Replicas), "maxReplicas": int64(v.Most)}))
	}
	return out, nil
}

func valued(text string) *runtime.RawExtension { return &runtime.RawExtension{Raw: []byte(text)} }

// trial is a Rollout of what values render to, and what stood before.
func trial(t *testing.T, number int64, values string, phase v1alpha1.RolloutPhase, change ...func(*v1alpha1.Rollout)) v1alpha1.Rollout {
	t.Helper()
	result, err := sizer{}.Render(t.Context(), nil, valued(values), render.Context{})
	if err != nil {
		t.Fatal(err)
	}
	r := attempt(number, "x", phase)
	r.Spec.Values, r.Spec.Revision, r.Spec.Digest, r.Spec.Replicas, r.Spec.Strategy = valued(values), result.Revision, result.Digest, result.Replicas, result.Strategy
	r.Status.Step, r.Status.ApprovedWeight = 3, 40
	r.Spec.Workload = result.Set[0].GetKind()
	for _, c := range change {
		c(&r)
	}
	return r
}

func over(number int64, image string, replicas int32) func(*v1alpha1.Rollout) {
	return func(r *v1alpha1.Rollout) {
		r.Spec.Stable = &v1alpha1.StableReference{Rollout: rolloutName("cart", number), Revision: "rev-" + image, Replicas: replicas}
	}
}

const (
	oneOf4 = `{"image":"one","replicas":4}`
	twoOf4 = `{"image":"two","replicas":4}`
	twoOf8 = `{"image":"two","replicas":8}`
)

// asks is a keeper whose Release asks for values, at generation 3.
func asks(t *testing.T, values string, rollouts []v1alpha1.Rollout) *keeper {
	t.Helper()
	k := newKeeper(t, rollouts)
	k.loop.renderer = sizer{}
	k.apply(values, 3)
	return k
}

func (k *keeper) apply(values string, generation int64) {
	k.Helper()
	release := k.release()
	release.Spec.Values, release.Generation = valued(values), generation
	if err := k.Update(k.Context(), release); err != nil {
		k.Fatal(err)
	}
}

// sizes says of each Rollout how many pods over how many it is about, and what it was about.
func (k *keeper) sizes() string {
	k.Helper()
	all, err := observe.Rollouts(k.Context(), k, k.key.Namespace, k.key.Name)
	if err != nil {
		k.Fatal(err)
	}
	var out []string
	for i := range all {
		s := &all[i].Spec
		text := fmt.Sprintf("%s %s %d", all[i].Name, strings.TrimPrefix(s.Revision, "rev-"), s.Replicas)
		if s.Stable != nil {
			text += fmt.Sprintf("/%d", s.Stable.Replicas)
		}
		for _, f := range s.Resized {
			text += fmt.Sprintf(" (%d/%d at %d)", f.Replicas, f.StableReplicas, f.ReleaseGeneration)
		}
		if status := all[i].Status; len(s.Resized) > 0 && (status.Step != 3 || status.ApprovedWeight != 40) {
			text += " begun anew"
		}
		out = append(out, text)
	}
	return strings.Join(out, ", ")
}

func TestASizeAloneBeginsNoOtherRollout(t *testing.T) {
	t.Parallel()
	const (
		ok      = v1alpha1.RolloutSucceeded
		walks   = v1alpha1.RolloutProgressing
		aborted = v1alpha1.RolloutAborted
	)
	moves := func(change ...func(*v1alpha1.Rollout)) []v1alpha1.Rollout {
		return []v1alpha1.Rollout{trial(t, 1, oneOf4, ok), trial(t, 2, twoOf4, walks, append(change, over(1, "one", 4))...)}
	}
	inPhase := func(p v1alpha1.RolloutPhase) func(*v1alpha1.Rollout) {
		return func(r *v1alpha1.Rollout) { r.Status.Phase = p }
	}
	const goesOn = "cart-1 one 4, cart-2 two 8/8 (4/4 at 2)"
	for name, c := range map[string]struct {
		rollouts []v1alpha1.Rollout
		values   string
		want     string
	}{
		"a Rollout that walks its steps takes the size": {moves(), twoOf8, goesOn},
		"less too": {moves(), `{"image":"two","replicas":1}`, "cart-1 one 4, cart-2 two 1/1 (4/4 at 2)"},
		"and so does one that is paused": {
			moves(func(r *v1alpha1.Rollout) { r.Status.Paused = true }), twoOf8, goesOn,
		},
		"one that keeps the old set warm": {moves(inPhase(v1alpha1.RolloutPromoting)), twoOf8, goesOn},
		"one that is on its way back":     {moves(inPhase(v1alpha1.RolloutAborting)), twoOf8, goesOn},
		"what was rejected is not tried again for it": {
			moves(inPhase(aborted), abortedFor(plan.ReasonAnalysisFail)), twoOf8, goesOn,
		},
		"a workload that is held at a share of its pods grows by another Rollout": {
			[]v1alpha1.Rollout{
				trial(t, 1, `{"image":"one","replicas":4,"rolling":true}`, ok),
				trial(t, 2, `{"image":"two","replicas":4,"rolling":true}`, walks, over(1, "one", 4)),
			},
			`{"image":"two","replicas":8,"rolling":true}`, "cart-1 one 4, cart-2 two 4/4, cart-3 two 8/4",
		},
		"and shrinks in its step": {
			[]v1alpha1.Rollout{
				trial(t, 1, `{"image":"one","replicas":4,"rolling":true}`, ok),
				trial(t, 2, `{"image":"two","replicas":4,"rolling":true}`, walks, over(1, "one", 4)),
			},
			`{"image":"two","replicas":2,"rolling":true}`, "cart-1 one 4, cart-2 two 2/2 (4/4 at 2)",
		},
		"sets that are to become a workload in place": {
			[]v1alpha1.Rollout{
				trial(t, 1, oneOf4, ok),
				trial(t, 2, `{"image":"two","replicas":4,"rolling":true}`, walks, over(1, "one", 4), func(r *v1alpha1.Rollout) {
					r.Spec.Stable.Strategy = v1alpha1.StrategyCanary
				}),
			},
			`{"image":"two","replicas":8,"rolling":true}`, "cart-1 one 4, cart-2 two 8/8 (4/4 at 2)",
		},
		"a first install": {
			[]v1alpha1.Rollout{trial(t, 1, twoOf4, walks, at(2))}, twoOf8, "cart-1 two 8 (4/0 at 2)",
		},
		"a size that is on its way itself": {
			[]v1alpha1.Rollout{trial(t, 1, `{"image":"two","replicas":2}`, ok), trial(t, 2, twoOf4, walks, over(1, "two", 2))},
			twoOf8, "cart-1 two 2, cart-2 two 8/2 (4/2 at 2)",
		},
		"the bounds of an autoscaler, where the old set keeps its own": {
			[]v1alpha1.Rollout{
				trial(t, 1, `{"image":"one","replicas":4,"most":9}`, ok),
				trial(t, 2, `{"image":"two","replicas":4,"most":9}`, walks, over(1, "one", 4)),
			},
			`{"image":"two","replicas":6,"most":30}`, "cart-1 one 4, cart-2 two 6/4 (4/4 at 2)",
		},
		"a new set that is scaled by itself says nothing of the old one": {
			[]v1alpha1.Rollout{trial(t, 1, oneOf4, ok), trial(t, 2, `{"image":"two","replicas":4,"most":9}`, walks, over(1, "one", 4))},
			`{"image":"two","replicas":6,"most":9}`, "cart-1 one 4, cart-2 two 6/4 (4/4 at 2)",
		},
		"an old set that is scaled by itself keeps its size": {
			[]v1alpha1.Rollout{trial(t, 1, `{"image":"one","replicas":4,"most":9}`, ok), trial(t, 2, twoOf4, walks, over(1, "one", 4))},
			twoOf8, "cart-1 one 4, cart-2 two 8/4 (4/4 at 2)",
		},

		"another image is another Rollout": {moves(), `{"image":"three","replicas":8}`, "cart-1 one 4, cart-2 two 4/4, cart-3 three 8/4"},
		"so is something else around the pods": {
			moves(), `{"image":"two","replicas":8,"counts":"8"}`, "cart-1 one 4, cart-2 two 4/4, cart-3 two 8/4",
		},
		"an autoscaler that was not there": {
			moves(), `{"image":"two","replicas":8,"most":9}`, "cart-1 one 4, cart-2 two 4/4, cart-3 two 8/4",
		},
		"no pods at all":              {moves(), `{"image":"two","replicas":0}`, "cart-1 one 4, cart-2 two 4/4, cart-3 two 0/4"},
		"what has not begun":          {moves(inPhase(v1alpha1.RolloutPending)), twoOf8, "cart-1 one 4, cart-2 two 4/4, cart-3 two 8/4"},
		"what serves":                 {[]v1alpha1.Rollout{trial(t, 1, oneOf4, ok), trial(t, 2, twoOf4, ok)}, twoOf8, "cart-1 one 4, cart-2 two 4, cart-3 two 8/4"},
		"what another has taken from": {moves(inPhase(aborted), abortedFor(plan.ReasonAbortSuperseded)), twoOf8, "cart-1 one 4, cart-2 two 4/4, cart-3 two 8/4"},
		"what a former Release left": {
			moves(func(r *v1alpha1.Rollout) { r.Annotations = map[string]string{v1alpha1.AnnotationAdopted: "x"} }),
			twoOf8, "cart-1 one 4, cart-2 two 4/4, cart-3 two 8/4",
		},
		"another revision of the template": {
			moves(func(r *v1alpha1.Rollout) { r.Spec.TemplateRevision = full("web-9") }), twoOf8, "cart-1 one 4, cart-2 two 4/4, cart-3 two 8/4",
		},
		"what does not render any more as it was judged": {
			moves(func(r *v1alpha1.Rollout) { r.Spec.Digest = "sha256:other" }), twoOf8, "cart-1 one 4, cart-2 two 4/4, cart-3 two 8/4",
		},
		"what a person has brought back": {
			moves(restores("cart-1", "c")), twoOf8, "cart-1 one 4, cart-2 two 4/4, cart-3 two 8/4",
		},
		"an old generation asks for nothing": {moves(at(7)), twoOf8, "cart-1 one 4, cart-2 two 4/4"},
	} {
		t.Run(name, func(t *testing.T) {
			t.Parallel()
			k := asks(t, c.values, slices.Clone(c.rollouts))
			for range 3 {
				k.reconcile()
			}
			if got := k.sizes(); got != c.want {
				t.Errorf("there are %s, want %s", got, c.want)
			}
			if told := strings.Join(drain(k.events.Events), "\n"); strings.Contains(told, "RolloutResized") != strings.Contains(c.want, "(") {
				t.Errorf("people are told %q", told)
			}
		})
	}
}

// drain is what was told so far.
func drain(from <-chan string) (out []string) {
	for {
		select {
		case e := <-from:
			out = append(out, e)
		default:
			return out
		}
	}
}

// What serves keeps the size that it was given under way, when the next Rollout is made over it.
func TestTheSizeOfWhatServesOutlivesTheRollout(t *testing.T) {
	t.Parallel()
	k := asks(t, twoOf8, []v1alpha1.Rollout{
		trial(t, 1, oneOf4, v1alpha1.RolloutSucceeded), trial(t, 2, twoOf4, v1alpha1.RolloutProgressing, over(1, "one", 4)),
	})
	k.reconcile()
	k.apply(`{"image":"three","replicas":8}`, 4)
	k.reconcile()
	if got, want := k.sizes(), "cart-1 one 4, cart-2 two 8/8 (4/4 at 2), cart-3 three 8/8"; got != want {
		t.Errorf("there are %s, want %s", got, want)
	}
	if g := k.rollout("cart-2").Spec.ReleaseGeneration; g != 3 {
		t.Errorf("it is for generation %d, want 3", g)
	}
}

// TestAManagerMayDieAtTheWriteOfASize stops the manager before and after each of its writes.
func TestAManagerMayDieAtTheWriteOfASize(t *testing.T) {
	t.Parallel()
	for n := range 20 {
		for _, after := range []bool{false, true} {
			k := asks(t, twoOf8, []v1alpha1.Rollout{
				trial(t, 1, oneOf4, v1alpha1.RolloutSucceeded), trial(t, 2, twoOf4, v1alpha1.RolloutProgressing, over(1, "one", 4)),
			})
			mortal, writes := dying(k.WithWatch, n, after)
			k.loop.client, k.loop.live = mortal, mortal
			for range 4 {
				if _, err := k.loop.Reconcile(t.Context(), reconcile.Request{NamespacedName: k.key}); err != nil && !errors.Is(err, errDied) {
					t.Fatal(err)
				}
			}
			k.loop.client, k.loop.live = k, k
			for range 4 {
				k.reconcile()
			}
			if got, want := k.sizes(), "cart-1 one 4, cart-2 two 8/8 (4/4 at 2)"; got != want {
				t.Errorf("killed at write %d (after it: %t): there are %s, want %s", n, after, got, want)
			}
			if r := k.release(); r.Status.Rollout != "cart-2" || r.Status.ObservedGeneration != 3 {
				t.Errorf("killed at write %d (after it: %t): the Release says %+v", n, after, r.Status)
			}
			if *writes <= n {
				if n < 2 {
					t.Errorf("only %d writes are there to be killed at", n)
				}
				return
			}
		}
	}
	t.Error("it writes without end")
}

// TestOfTwoManagersOneWritesASize lets another manager, or the Rollout itself, be faster between the
// reading and the writing of a size.
func TestOfTwoManagersOneWritesASize(t *testing.T) {
	t.Parallel()
	for name, c := range map[string]struct {
		meanwhile func(k *keeper)
		want      string
	}{
		"the same size": {
			func(k *keeper) { k.reconcile() }, "cart-1 one 4, cart-2 two 8/8 (4/4 at 2)",
		},
		"a newer size": {
			func(k *keeper) { k.apply(`{"image":"two","replicas":6}`, 4); k.reconcile() }, "cart-1 one 4, cart-2 two 6/6 (4/4 at 2)",
		},
		"another image": {
			func(k *keeper) { k.apply(`{"image":"three","replicas":6}`, 4); k.reconcile() }, "cart-1 one 4, cart-2 two 8/8 (4/4 at 2), cart-3 three 6/4",
		},
		"the end of the Rollout": {
			func(k *keeper) { k.ends("cart-2", v1alpha1.RolloutSucceeded) }, "cart-1 one 4, cart-2 two 4/4, cart-3 two 8/4",
		},
	} {
		t.Run(name, func(t *testing.T) {
			t.Parallel()
			k := asks(t, twoOf8, []v1alpha1.Rollout{
				trial(t, 1, oneOf4, v1alpha1.RolloutSucceeded), trial(t, 2, twoOf4, v1alpha1.RolloutProgressing, over(1, "one", 4)),
			})
			slow := *k.loop
			once := true
			slow.client = interceptor.NewClient(k.WithWatch, interceptor.Funcs{
				Update: func(ctx context.Context, w client.WithWatch, o client.Object, opts ...client.UpdateOption) error {
					if once {
						once = false
						c.meanwhile(k)
					}
					return w.Update(ctx, o, opts...)
				},
			})
			for range 3 {
				if _, err := slow.Reconcile(t.Context(), reconcile.Request{NamespacedName: k.key}); err != nil {
					t.Fatal(err)
				}
			}
			if got := k.sizes(); got != c.want {
				t.Errorf("there are %s, want %s", got, c.want)
			}
		})
	}
}

// A manager that does not know yet of a size takes no pods away for the one before.
func TestPodsAreNotTakenAwayForAnOldSize(t *testing.T) {
	t.Parallel()
	live := trial(t, 2, twoOf8, v1alpha1.RolloutProgressing, func(r *v1alpha1.Rollout) { r.Generation, r.UID = 2, "cart-2" })
	loop := &rolloutLoop{live: observe.Reader{Live: newCluster(t, &live)}}
	ensure := func(role plan.Role, n int32) []plan.Action {
		return []plan.Action{{Kind: plan.ActionSetWeight}, {Kind: plan.ActionEnsureSet, Role: role, Replicas: n}}
	}
	seen := plan.Observation{Stable: plan.Set{Desired: 8}, Canary: plan.Set{Desired: 4}, Baseline: plan.Set{Desired: 2}}
	for name, c := range map[string]struct {
		generation int64
		actions    []plan.Action
		want       bool
	}{
		"less of the old set":                  {1, ensure(plan.RoleStable, 7), true},
		"less of the new set":                  {1, ensure(plan.RoleCanary, 3), true},
		"less of the baseline":                 {1, ensure(plan.RoleBaseline, 1), true},
		"as much of the old set":               {1, ensure(plan.RoleStable, 8), false},
		"more of the new set":                  {1, ensure(plan.RoleCanary, 5), false},
		"nothing but weights":                  {1, ensure("", 0)[:1], false},
		"less, for the size that it has":       {2, ensure(plan.RoleStable, 4), false},
		"less of a Rollout that is there anew": {2, ensure(plan.RoleStable, 4), true},
	} {
		t.Run(name, func(t *testing.T) {
			t.Parallel()
			rollout := live.DeepCopy()
			rollout.ObjectMeta = metav1.ObjectMeta{Namespace: live.Namespace, Name: live.Name, UID: live.UID, Generation: c.generation}
			if strings.Contains(name, "anew") {
				rollout.UID = "another"
			}
			got, err := loop.outgrown(t.Context(), rollout, seen, c.actions)
			if err != nil || got != c.want {
				t.Errorf("it is read again: %t, want %t (%v)", got, c.want, err)
			}
		})
	}
}

// What a Rollout renders to is remembered for the size that it has.
func TestARenderIsOfTheSizeThatIsPinned(t *testing.T) {
	t.Parallel()
	rollout := trial(t, 2, twoOf4, v1alpha1.RolloutProgressing, func(r *v1alpha1.Rollout) { r.UID = "cart-2" })
	known, err := newRenders(sizer{}, newCluster(t, snapshot(1, "one")))
	if err != nil {
		t.Fatal(err)
	}
	for _, values := range []string{twoOf4, twoOf8, twoOf4} {
		rollout.Spec.Values, rollout.Spec.Digest = valued(values), "sha256:"+values
		result, err := known.pinned(t.Context(), &rollout)
		if err != nil {
			t.Fatal(err)
		}
		if result.Digest != rollout.Spec.Digest {
			t.Errorf("%s renders to %s", values, result.Digest)
		}
	}
}
