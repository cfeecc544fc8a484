package controller

import (
	"fmt"
	"slices"
	"strings"
	"testing"

	"github.com/google/go-cmp/cmp"
	corev1 "k8s.io/api/core/v1"
	apierrors "k8s.io/apimachinery/pkg/api/errors"
	metav1 "k8s.io/apimachinery/pkg/apis/meta/v1"
	"k8s.io/apimachinery/pkg/apis/meta/v1/unstructured"
	"k8s.io/apimachinery/pkg/types"
	"sigs.k8s.io/controller-runtime/pkg/client"

	"tidegate.io/tidegate/rollout/manifest"
	"tidegate.io/tidegate/schemas/render"
	"tidegate.io/tidegate/schemas/v1alpha1"
)

// makes lists what a Rollout renders to, "Kind name" each.
func makes(objects ...string) func(*v1alpha1.Rollout) {
	return func(r *v1alpha1.Rollout) {
		r.Spec.Objects = []v1alpha1.RenderedObject{}
		for _, o := range objects {
			kind, name, _ := strings.Cut(o, " ")
			version := "v1"
			if kind == "Autoscaler" {
				version = "autoscaling/v2"
			}
			r.Spec.Objects = append(r.Spec.Objects, v1alpha1.RenderedObject{APIVersion: version, Kind: kind, Name: name})
		}
	}
}

func isClear(r *v1alpha1.Rollout) {
	r.Status.Conditions = []metav1.Condition{{Type: conditionCleared, Status: metav1.ConditionTrue}}
}

func TestPrunable(t *testing.T) {
	t.Parallel()
	many := func(n int64, phase v1alpha1.RolloutPhase) []v1alpha1.Rollout {
		out := []v1alpha1.Rollout{attempt(1, "one", v1alpha1.RolloutSucceeded)}
		for i := int64(2); i <= n; i++ {
			out = append(out, attempt(i, fmt.Sprint(i), phase))
		}
		return out
	}
	of := func(revision string) func(*v1alpha1.Rollout) {
		return func(r *v1alpha1.Rollout) { r.Spec.TemplateRevision = revision }
	}
	names := func(rollouts []v1alpha1.Rollout) (out []string) {
		for i := range rollouts {
			out = append(out, rollouts[i].Name)
		}
		return out
	}
	// limited is a history whose newest asks for so many to be kept.
	limited := func(n int32, rollouts ...v1alpha1.Rollout) []v1alpha1.Rollout {
		rollouts[len(rollouts)-1].Spec.Strategy.HistoryLimit = &n
		return rollouts
	}
	const ok = v1alpha1.RolloutSucceeded
	for name, c := range map[string]struct {
		rollouts []v1alpha1.Rollout
		want     []string
	}{
		"fewer are kept where the template says so": {
			limited(2, many(5, ok)...), []string{"cart-1", "cart-2", "cart-3"},
		},
		"more are kept where the template says so": {limited(20, many(20, ok)...), nil},
		"with a limit of 0 what serves is kept":    {limited(0, many(3, ok)...), []string{"cart-1", "cart-2"}},
		"with a limit of 0 the newest is kept too, by which it is known what was rejected": {
			limited(0, many(3, v1alpha1.RolloutAborted)...), []string{"cart-2"},
		},
		"what the rollback window returns to is kept": {
			limited(0, append(many(3, ok), attempt(4, "4", ok, func(r *v1alpha1.Rollout) {
				r.Spec.Strategy.RollbackWindow = &v1alpha1.RollbackWindow{Revisions: 2}
			}))...), []string{"cart-1"},
		},
		"what a command brings back is kept until that is made": {
			limited(0, append([]v1alpha1.Rollout{attempt(1, "one", ok, broughtBack("c"))}, many(4, ok)[1:]...)...), []string{"cart-2", "cart-3"},
		},
		"the proof that it was made is kept as long as the command could take effect again": {
			limited(0, attempt(1, "one", ok, broughtBack("c"), of("box-1-0123456789")), attempt(2, "two", ok), attempt(3, "one", ok, restores("cart-1", "c")), attempt(4, "four", ok), attempt(5, "five", ok)),
			[]string{"cart-2", "cart-4"},
		},
		"and no longer": {
			limited(0, attempt(1, "one", ok, broughtBack("c")), attempt(2, "two", ok), attempt(3, "one", ok, restores("cart-0", "b")), attempt(4, "four", ok)),
			[]string{"cart-2", "cart-3"},
		},
		"what made an object that is yet to be deleted is kept": {
			limited(0, attempt(1, "one", ok, makes("ConfigMap cart")), attempt(2, "two", ok, makes("ConfigMap cart-rev-two")), attempt(3, "three", ok, makes("ConfigMap other"))),
			[]string{"cart-2"},
		},
		"ten ended ones are kept": {many(10, v1alpha1.RolloutAborted), nil},
		"what serves is kept, however old": {
			many(13, v1alpha1.RolloutAborted), []string{"cart-2", "cart-3"},
		},
		"what has been replaced goes": {many(12, v1alpha1.RolloutSucceeded), []string{"cart-1", "cart-2"}},
		"what the newest returns to is kept": {
			append(many(12, v1alpha1.RolloutSucceeded), attempt(13, "new", v1alpha1.RolloutProgressing, func(r *v1alpha1.Rollout) {
				r.Spec.Stable = &v1alpha1.StableReference{Rollout: "cart-2"}
			})), []string{"cart-1"},
		},
		"the last of a template that the Release had is kept, for what that fixed for life": {
			append([]v1alpha1.Rollout{
				attempt(1, "box", v1alpha1.RolloutSucceeded, of("box-1-0123456789")), attempt(2, "box", v1alpha1.RolloutSucceeded, of("box-2-0123456789")),
			}, many(15, v1alpha1.RolloutSucceeded)[2:]...), []string{"cart-1", "cart-3", "cart-4", "cart-5"},
		},
	} {
		t.Run(name, func(t *testing.T) {
			t.Parallel()
			if diff := cmp.Diff(c.want, names(prunable(c.rollouts))); diff != "" {
				t.Errorf("(-want +got):\n%s", diff)
			}
		})
	}
}

func TestLeftovers(t *testing.T) {
	t.Parallel()
	const (
		ok      = v1alpha1.RolloutSucceeded
		aborted = v1alpha1.RolloutAborted
	)
	older := func(r *v1alpha1.Rollout) { r.Spec.Objects[0].APIVersion = "autoscaling/v1" }
	for name, c := range map[string]struct {
		rollouts []v1alpha1.Rollout
		want     []string
	}{
		"what is rendered still stays": {
			[]v1alpha1.Rollout{attempt(1, "one", ok, makes("Policy cart")), attempt(2, "two", ok, makes("Policy cart"))}, nil,
		},
		"a shared object that is not rendered any more is left": {
			[]v1alpha1.Rollout{attempt(1, "one", ok, makes("Policy cart", "Budget cart")), attempt(2, "two", ok, makes("Policy cart"))},
			[]string{"Budget cart of cart-1"},
		},
		"the objects of a set are retired as such": {
			[]v1alpha1.Rollout{attempt(1, "one", ok, makes("Config cart-rev-one", "Policy cart")), attempt(2, "two", ok, makes("Config cart-rev-two", "Policy cart"))}, nil,
		},
		"what only an aborted Rollout brought is left": {
			[]v1alpha1.Rollout{attempt(1, "one", ok, makes("Policy cart")), attempt(2, "two", aborted, makes("Policy cart", "Budget cart"))},
			[]string{"Budget cart of cart-2"},
		},
		"what a Rollout under way brings is not": {
			[]v1alpha1.Rollout{attempt(1, "one", ok, makes("Policy cart")), attempt(2, "two", v1alpha1.RolloutProgressing, makes("Budget cart"))}, nil,
		},
		"an object in another version of its API is the same": {
			[]v1alpha1.Rollout{attempt(1, "one", ok, makes("Autoscaler cart"), older), attempt(2, "two", ok, makes("Autoscaler cart"))}, nil,
		},
		"what was deleted is not looked for again": {
			[]v1alpha1.Rollout{attempt(1, "one", ok, makes("Budget cart")), attempt(2, "two", ok, makes("Policy cart"), isClear), attempt(3, "three", ok, makes("Policy cart"))}, nil,
		},
		"what came after that is": {
			[]v1alpha1.Rollout{attempt(1, "one", ok, makes("Budget cart")), attempt(2, "two", ok, makes("Policy cart"), isClear), attempt(3, "three", ok, makes("Other cart"))},
			[]string{"Policy cart of cart-2"},
		},
		"where the clearing was not ended it goes on with the next Rollout": {
			[]v1alpha1.Rollout{attempt(1, "one", ok, makes("Budget cart")), attempt(2, "two", ok, makes("Policy cart")), attempt(3, "three", ok, makes("Policy cart"))},
			[]string{"Budget cart of cart-1"},
		},
		"after an abort it is what served before that counts": {
			[]v1alpha1.Rollout{attempt(1, "one", ok, makes("Budget cart")), attempt(2, "two", aborted, makes("Policy cart"), isClear), attempt(3, "three", ok, makes("Policy cart"))},
			[]string{"Budget cart of cart-1"},
		},
		"nothing is known where what serves does not say what it is": {
			[]v1alpha1.Rollout{attempt(1, "one", ok, makes("Budget cart")), attempt(2, "two", ok)}, nil,
		},
		"nothing is deleted where nothing serves": {[]v1alpha1.Rollout{attempt(1, "one", aborted, makes("Budget cart"))}, nil},
	} {
		t.Run(name, func(t *testing.T) {
			t.Parallel()
			var got []string
			for _, l := range leftovers(c.rollouts) {
				got = append(got, l.Kind+" "+l.Name+" of "+l.rollout)
			}
			if diff := cmp.Diff(c.want, got); diff != "" {
				t.Errorf("(-want +got):\n%s", diff)
			}
		})
	}
}

func TestARolloutListsAllThatItRendersTo(t *testing.T) {
	t.Parallel()
	object := func(apiVersion, kind, name string) *unstructured.Unstructured {
		return &unstructured.Unstructured{Object: map[string]any{"apiVersion": apiVersion, "kind": kind, "metadata": map[string]any{"name": name}}}
	}
	result := &render.Result{
		Set:    []*unstructured.Unstructured{object("v1", "Service", "cart-x"), object("apps/v1", "Deployment", "cart-x")},
		Route:  object("gateway.networking.k8s.io/v1", "HTTPRoute", "cart"),
		Shared: []*unstructured.Unstructured{object("v1", "ServiceAccount", "cart")},
	}
	var got []string
	for _, o := range objectsOf(result) {
		got = append(got, o.APIVersion+" "+o.Kind+" "+o.Name)
	}
	want := []string{"apps/v1 Deployment cart-x", "gateway.networking.k8s.io/v1 HTTPRoute cart", "v1 Service cart-x", "v1 ServiceAccount cart"}
	if diff := cmp.Diff(want, got); diff != "" {
		t.Errorf("(-want +got):\n%s", diff)
	}
	for n := range maxObjects {
		result.Shared = append(result.Shared, object("v1", "ConfigMap", fmt.Sprint(n)))
	}
	if got := objectsOf(result); got != nil {
		t.Errorf("more than the API takes are listed: %d", len(got))
	}
}

func TestWhatIsNotRenderedAnyMoreIsDeletedOnce(t *testing.T) {
	t.Parallel()
	config := func(name string, owned bool) *corev1.ConfigMap {
		c := &corev1.ConfigMap{ObjectMeta: metav1.ObjectMeta{Namespace: "shop", Name: name, UID: types.UID(name)}}
		if owned {
			c.OwnerReferences = []metav1.OwnerReference{manifest.Owner(serves("cart", "web-1"))}
		}
		return c
	}
	k := newKeeper(t, []v1alpha1.Rollout{
		attempt(1, "one", v1alpha1.RolloutSucceeded, makes("ConfigMap stays", "ConfigMap goes", "ConfigMap foreign", "ConfigMap gone", "Unheard of")),
		attempt(2, "two", v1alpha1.RolloutSucceeded, makes("ConfigMap stays")),
	}, config("stays", true), config("goes", true), config("foreign", false))
	k.reconcile()
	for name, want := range map[string]bool{"stays": true, "goes": false, "foreign": true} {
		err := k.Get(t.Context(), client.ObjectKey{Namespace: "shop", Name: name}, &corev1.ConfigMap{})
		if client.IgnoreNotFound(err) != nil || apierrors.IsNotFound(err) == want {
			t.Errorf("ConfigMap %s is there: %t (%v), want %t", name, !apierrors.IsNotFound(err), err, want)
		}
	}
	if r := k.rollout("cart-2"); !isCleared(r) || len(leftovers([]v1alpha1.Rollout{*k.rollout("cart-1"), *r})) != 0 {
		t.Errorf("it is not recorded: %+v", r.Status.Conditions)
	}
	told := 0
	for len(k.events.Events) > 0 {
		if e := <-k.events.Events; strings.Contains(e, "ReleaseCleared") && strings.Contains(e, "ConfigMap goes, which Rollout cart-1 has made, is deleted") {
			told++
		}
	}
	if told != 1 {
		t.Errorf("people are told %d times, want once", told)
	}
	// I5: at rest nothing is asked of the API server.
	before := k.rollout("cart-2").ResourceVersion
	k.loop.live = nil
	k.reconcile()
	if after := k.rollout("cart-2").ResourceVersion; after != before {
		t.Errorf("written again: %s -> %s", before, after)
	}
}

func TestWhatOldRolloutsMadeIsRendered(t *testing.T) {
	t.Parallel()
	rollouts := []v1alpha1.Rollout{
		attempt(1, "one", v1alpha1.RolloutSucceeded), attempt(2, "two", v1alpha1.RolloutSucceeded), attempt(3, "three", v1alpha1.RolloutSucceeded, makes("ConfigMap stays")),
	}
	if got := unlisted(rollouts); !slices.Equal(got, []int{0, 1}) {
		t.Errorf("rendered are %v", got)
	}
	isClear(&rollouts[1])
	rollouts = append(rollouts, attempt(4, "four", v1alpha1.RolloutAborted))
	if got := unlisted(rollouts); !slices.Equal(got, []int{3}) {
		t.Errorf("after a clearing rendered are %v", got)
	}
	if got := unlisted(rollouts[:2]); got != nil {
		t.Errorf("while what serves says nothing rendered are %v", got)
	}
}
