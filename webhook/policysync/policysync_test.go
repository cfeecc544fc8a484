package policysync

import (
	"strings"
	"testing"

	"k8s.io/apimachinery/pkg/api/meta"
	metav1 "k8s.io/apimachinery/pkg/apis/meta/v1"
	"k8s.io/apimachinery/pkg/runtime"
	"k8s.io/apimachinery/pkg/types"
	"sigs.k8s.io/controller-runtime/pkg/client"
	"sigs.k8s.io/controller-runtime/pkg/client/fake"
	"sigs.k8s.io/controller-runtime/pkg/reconcile"

	"tidegate.io/tidegate/policies/eval"
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
	s := &status{client: c}
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
