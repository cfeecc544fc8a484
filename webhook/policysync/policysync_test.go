package policysync

import (
	"context"
	"errors"
	"strings"
	"testing"
	"time"

	"k8s.io/apimachinery/pkg/api/meta"
	metav1 "k8s.io/apimachinery/pkg/apis/meta/v1"
	"k8s.io/apimachinery/pkg/runtime"
	"k8s.io/apimachinery/pkg/types"
	"sigs.k8s.io/controller-runtime/pkg/client"
	"sigs.k8s.io/controller-runtime/pkg/client/fake"
	"sigs.k8s.io/controller-runtime/pkg/reconcile"

	"tidegate.io/tidegate/policies/eval"
	"tidegate.io/tidegate/policies/eval/cuepolicy"
	"tidegate.io/tidegate/schemas/v1alpha1"
)

const (
	good   = "package p\n\ndeny contains \"no\" if input.x\n"
	broken = "package p\n\ndeny contains \"no\" if nonsense(\n"
)

func policy(name, rego string, generation int64) *v1alpha1.DeployPolicy {
	return &v1alpha1.DeployPolicy{
		ObjectMeta: metav1.ObjectMeta{Name: name, UID: types.UID("u-" + name), Generation: generation},
		Spec:       v1alpha1.DeployPolicySpec{Rego: rego},
	}
}

func world(t *testing.T, objects ...client.Object) client.WithWatch {
	t.Helper()
	scheme := runtime.NewScheme()
	if err := v1alpha1.AddToScheme(scheme); err != nil {
		t.Fatal(err)
	}
	return fake.NewClientBuilder().WithScheme(scheme).WithObjects(objects...).WithStatusSubresource(&v1alpha1.DeployPolicy{}).Build()
}

func request(name string) reconcile.Request {
	return reconcile.Request{NamespacedName: types.NamespacedName{Name: name}}
}

func TestAReplicaIsReadyOnceEveryPolicyIsInForce(t *testing.T) {
	t.Parallel()
	store := eval.NewStore()
	l := newLoader(world(t, policy("a", good, 1), policy("b", broken, 1)), store)
	if l.Ready(nil) == nil {
		t.Error("ready before anything was loaded")
	}
	if err := l.all(t.Context()); err != nil {
		t.Fatal(err)
	}
	if err := l.Ready(nil); err != nil {
		t.Errorf("not ready: %v", err)
	}
	// The broken one is in force too: it refuses what it matches.
	if n := store.Set().Len(); n != 2 {
		t.Errorf("%d policies in force, wanted 2", n)
	}
}

func TestTheStoreFollowsThePolicies(t *testing.T) {
	t.Parallel()
	store := eval.NewStore()
	c := world(t, policy("a", good, 1))
	l := newLoader(c, store)
	follow := func() *eval.Set {
		t.Helper()
		if _, err := l.Reconcile(t.Context(), request("a")); err != nil {
			t.Fatal(err)
		}
		return store.Set()
	}
	first := follow()
	if first.Len() != 1 {
		t.Fatal("the policy is not in force")
	}
	if follow() != first {
		t.Error("an unchanged policy was compiled again")
	}

	var current v1alpha1.DeployPolicy
	if err := c.Get(t.Context(), types.NamespacedName{Name: "a"}, &current); err != nil {
		t.Fatal(err)
	}
	current.Generation = 2
	current.Spec.Rego = strings.Replace(good, "no", "never", 1)
	if err := c.Update(t.Context(), &current); err != nil {
		t.Fatal(err)
	}
	second := follow()
	if second == first || second.Len() != 1 {
		t.Error("a changed policy did not come into force")
	}

	current.Generation, current.Spec.Rego = 3, broken
	if err := c.Update(t.Context(), &current); err != nil {
		t.Fatal(err)
	}
	if follow() != second {
		t.Error("a policy that broke replaced its last good version")
	}

	if err := c.Delete(t.Context(), &current); err != nil {
		t.Fatal(err)
	}
	if n := follow().Len(); n != 0 {
		t.Errorf("%d policies in force after the deletion", n)
	}
}

func TestThePolicySaysWhetherItCompiles(t *testing.T) {
	t.Parallel()
	c := world(t, policy("a", broken, 1))
	s := &status{client: c, loader: newLoader(c, eval.NewStore())}
	look := func() v1alpha1.DeployPolicy {
		t.Helper()
		if _, err := s.Reconcile(t.Context(), request("a")); err != nil {
			t.Fatal(err)
		}
		var p v1alpha1.DeployPolicy
		if err := c.Get(t.Context(), types.NamespacedName{Name: "a"}, &p); err != nil {
			t.Fatal(err)
		}
		return p
	}
	p := look()
	stalled := meta.FindStatusCondition(p.Status.Conditions, v1alpha1.ConditionStalled)
	if stalled == nil || stalled.Status != metav1.ConditionTrue || !strings.Contains(stalled.Message, "eof") || p.Status.ObservedGeneration != 1 {
		t.Fatalf("%+v", p.Status)
	}
	if !meta.IsStatusConditionFalse(p.Status.Conditions, v1alpha1.ConditionReady) {
		t.Errorf("a broken policy is Ready")
	}
	if again := look(); again.ResourceVersion != p.ResourceVersion {
		t.Error("an unchanged status was written")
	}
	p.Generation, p.Spec.Rego = 2, good
	if err := c.Update(t.Context(), &p); err != nil {
		t.Fatal(err)
	}
	p = look()
	if !meta.IsStatusConditionTrue(p.Status.Conditions, v1alpha1.ConditionReady) || meta.FindStatusCondition(p.Status.Conditions, v1alpha1.ConditionStalled) != nil {
		t.Errorf("%+v", p.Status)
	}
	if _, err := s.Reconcile(t.Context(), request("gone")); err != nil {
		t.Errorf("a policy that is gone: %v", err)
	}
}

func TestEachReplicaSaysWhatItServes(t *testing.T) {
	t.Parallel()
	c := world(t, policy("a", good, 1))
	replicas := []*serving{}
	for _, name := range []string{"pod-b", "pod-a"} {
		replicas = append(replicas, &serving{client: c, loader: newLoader(c, eval.NewStore()), replica: name})
	}
	look := func() v1alpha1.DeployPolicy {
		t.Helper()
		for _, s := range replicas {
			if _, err := s.Reconcile(t.Context(), request("a")); err != nil {
				t.Fatal(err)
			}
		}
		var p v1alpha1.DeployPolicy
		if err := c.Get(t.Context(), types.NamespacedName{Name: "a"}, &p); err != nil {
			t.Fatal(err)
		}
		return p
	}
	p := look()
	if s := p.Status.Serving; len(s) != 2 || s[0].Replica != "pod-a" || s[1].Replica != "pod-b" || s[0].Generation != 1 || s[0].Seen != 1 ||
		!strings.HasPrefix(s[0].Digest, "sha256:") || s[0].Digest != s[1].Digest {
		t.Fatalf("%+v", s)
	}
	if again := look(); again.ResourceVersion != p.ResourceVersion {
		t.Error("an unchanged status was written")
	}
	first := p.Status.Serving[0].Digest

	// A broken update is seen, and the version before serves on.
	p.Generation, p.Spec.Rego = 2, broken
	if err := c.Update(t.Context(), &p); err != nil {
		t.Fatal(err)
	}
	p = look()
	for _, s := range p.Status.Serving {
		if s.Generation != 1 || s.Seen != 2 || s.Digest != first {
			t.Errorf("%+v", s)
		}
	}

	// A replica that starts now has no version before.
	replicas = append(replicas, &serving{client: c, loader: newLoader(c, eval.NewStore()), replica: "pod-c"})
	p = look()
	if s := p.Status.Serving[2]; s.Replica != "pod-c" || s.Generation != 0 || s.Seen != 2 || s.Digest != "" {
		t.Errorf("%+v", s)
	}

	p.Generation, p.Spec.Rego = 3, strings.Replace(good, "no", "never", 1)
	if err := c.Update(t.Context(), &p); err != nil {
		t.Fatal(err)
	}
	p = look()
	for _, s := range p.Status.Serving {
		if s.Generation != 3 || s.Seen != 3 || s.Digest == first {
			t.Errorf("%+v", s)
		}
	}

	// The leader takes out who is gone, and nobody while it cannot tell.
	var there []string
	leader := &status{client: c, loader: newLoader(c, eval.NewStore()), replicas: func(context.Context) ([]string, error) { return there, nil }}
	for _, tc := range []struct {
		there []string
		want  int
	}{{nil, 3}, {[]string{"pod-a", "pod-c", "pod-d"}, 2}} {
		there = tc.there
		result, err := leader.Reconcile(t.Context(), request("a"))
		if err != nil || result.RequeueAfter != recount {
			t.Errorf("%+v, %v", result, err)
		}
		if err := c.Get(t.Context(), types.NamespacedName{Name: "a"}, &p); err != nil {
			t.Fatal(err)
		}
		if len(p.Status.Serving) != tc.want {
			t.Errorf("wanted %d replicas, got %+v", tc.want, p.Status.Serving)
		}
	}
}

func TestAPolicyMadeAnewHasNoFormerVersion(t *testing.T) {
	t.Parallel()
	store := eval.NewStore()
	l := newLoader(world(t), store)
	first := policy("a", good, 1)
	if o := l.outcome(first); o.err != nil || o.served != 1 {
		t.Fatalf("%+v", o)
	}
	second := policy("a", broken, 1)
	second.UID = "another"
	if o := l.outcome(second); o.err == nil || o.served != 0 || o.digest != "" {
		t.Errorf("%+v", o)
	}
	if n := store.Set().Len(); n != 1 {
		t.Errorf("%d policies in force: what never took effect refuses what it matches", n)
	}
}

// busy compiles nothing the first time, since nobody had time for it.
type busy struct{ tries int }

func (b *busy) Compile(context.Context, string, string) ([]string, error) {
	if b.tries++; b.tries == 1 {
		return nil, errors.New("too many requests wait")
	}
	return nil, nil
}

func (b *busy) Judge(_ context.Context, q cuepolicy.Question) []cuepolicy.Outcome {
	return make([]cuepolicy.Outcome, len(q.Policies))
}

func TestAPolicyThatCouldNotBeLookedAtIsTriedAgain(t *testing.T) {
	t.Parallel()
	p := policy("a", "", 1)
	p.Spec.Cue = "object: kind?: string"
	store := eval.Compiler{CUE: &busy{}}.NewStore()
	l := newLoader(world(t, p), store)
	for _, want := range []time.Duration{tryAgain, 0, 0} {
		got, err := l.Reconcile(t.Context(), request("a"))
		if err != nil || got.RequeueAfter != want {
			t.Errorf("wanted another try after %s, found %s and %v", want, got.RequeueAfter, err)
		}
	}
	if store.Digest("a") == "" {
		t.Error("it is not in force")
	}
}
