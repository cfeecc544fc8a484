package controller

import (
	"context"
	"errors"
	"fmt"
	"slices"
	"strings"
	"testing"

	corev1 "k8s.io/api/core/v1"
	apierrors "k8s.io/apimachinery/pkg/api/errors"
	metav1 "k8s.io/apimachinery/pkg/apis/meta/v1"
	"sigs.k8s.io/controller-runtime/pkg/client"
	"sigs.k8s.io/controller-runtime/pkg/client/interceptor"
	"sigs.k8s.io/controller-runtime/pkg/reconcile"

	"tidegate.io/tidegate/rollout/manifest"
	"tidegate.io/tidegate/rollout/plan"
	"tidegate.io/tidegate/schemas/v1alpha1"
)

var errDied = errors.New("the manager died")

// dying is a client that dies at its n-th write, counted from 0: before it, or after it reached
// the API server. From then on nothing goes through.
func dying(c client.WithWatch, n int, after bool) (client.WithWatch, *int) {
	writes := 0
	write := func(do func() error) error {
		writes++
		switch {
		case writes-1 < n:
			return do()
		case writes-1 == n && after:
			if err := do(); err != nil {
				return err
			}
		}
		return errDied
	}
	return interceptor.NewClient(c, interceptor.Funcs{
		Create: func(ctx context.Context, c client.WithWatch, o client.Object, opts ...client.CreateOption) error {
			return write(func() error { return c.Create(ctx, o, opts...) })
		},
		Update: func(ctx context.Context, c client.WithWatch, o client.Object, opts ...client.UpdateOption) error {
			return write(func() error { return c.Update(ctx, o, opts...) })
		},
		Delete: func(ctx context.Context, c client.WithWatch, o client.Object, opts ...client.DeleteOption) error {
			return write(func() error { return c.Delete(ctx, o, opts...) })
		},
		SubResourceUpdate: func(ctx context.Context, c client.Client, sub string, o client.Object, opts ...client.SubResourceUpdateOption) error {
			return write(func() error { return c.SubResource(sub).Update(ctx, o, opts...) })
		},
	}), &writes
}

// TestEveryWriteMayBeTheLast stops the manager before and after each write by which it carries
// a decision out, takes it back or clears up, and lets another go on. The end is the same.
func TestEveryWriteMayBeTheLast(t *testing.T) {
	t.Parallel()
	const (
		ok      = v1alpha1.RolloutSucceeded
		aborted = v1alpha1.RolloutAborted
	)
	gone := func(r *v1alpha1.Rollout) { r.Spec.TemplateRevision = full("web-9") }
	for name, c := range map[string]struct {
		rollouts func() []v1alpha1.Rollout
		// want is what there is in the end.
		want string
	}{
		"a roll-back": {
			func() []v1alpha1.Rollout {
				return []v1alpha1.Rollout{attempt(1, "one", ok, broughtBack("c")), attempt(2, "two", ok)}
			}, "cart-1 rev-one, cart-2 rev-two, cart-3 rev-one; command Applied; left true",
		},
		"a retry": {
			func() []v1alpha1.Rollout {
				return []v1alpha1.Rollout{attempt(1, "one", ok), attempt(2, "two", aborted, retried("c"), abortedFor(plan.ReasonAnalysisFail))}
			}, "cart-1 rev-one, cart-2 rev-two, cart-3 rev-two; command Applied; left true",
		},
		"a roll-back that cannot be": {
			func() []v1alpha1.Rollout {
				return []v1alpha1.Rollout{attempt(1, "one", ok, broughtBack("c"), gone), attempt(2, "two", ok)}
			}, "cart-1 rev-one, cart-2 rev-two; command Refused; left true",
		},
		"clearing up": {
			func() []v1alpha1.Rollout {
				return []v1alpha1.Rollout{attempt(1, "one", ok, makes("ConfigMap left")), attempt(2, "two", ok, makes("ConfigMap stays"))}
			}, "cart-1 rev-one, cart-2 rev-two; command Applied; left false",
		},
	} {
		t.Run(name, func(t *testing.T) {
			t.Parallel()
			for n := range 20 {
				for _, after := range []bool{false, true} {
					writes, got := killedAt(t, c.rollouts(), n, after)
					if got != c.want {
						t.Errorf("killed at write %d (after it: %t): %s, want %s", n, after, got, c.want)
					}
					if writes <= n {
						if n < 2 {
							t.Errorf("only %d writes are there to be killed at", n)
						}
						return
					}
				}
			}
			t.Error("it writes without end")
		})
	}
}

func killedAt(t *testing.T, rollouts []v1alpha1.Rollout, n int, after bool) (writes int, end string) {
	t.Helper()
	command := &v1alpha1.RolloutCommand{ObjectMeta: metav1.ObjectMeta{Namespace: "shop", Name: "c"}}
	command.Status.Outcome = v1alpha1.OutcomeApplied
	left := &corev1.ConfigMap{ObjectMeta: metav1.ObjectMeta{
		Namespace: "shop", Name: "left", UID: "left", OwnerReferences: []metav1.OwnerReference{manifest.Owner(serves("cart", "web-1"))},
	}}
	k := newKeeper(t, rollouts, command, left)
	mortal, count := dying(k.WithWatch, n, after)
	k.loop.client, k.loop.live = mortal, mortal
	for range 4 {
		if _, err := k.loop.Reconcile(t.Context(), reconcile.Request{NamespacedName: k.key}); err != nil && !errors.Is(err, errDied) {
			t.Fatal(err)
		}
	}
	writes = *count
	k.loop.client, k.loop.live = k, k
	for range 4 {
		k.reconcile()
	}
	if err := k.Get(t.Context(), client.ObjectKeyFromObject(command), command); err != nil {
		t.Fatal(err)
	}
	err := k.Get(t.Context(), client.ObjectKeyFromObject(left), left)
	names := k.names()
	slices.Sort(names)
	return writes, fmt.Sprintf("%s; command %s; left %t", strings.Join(names, ", "), command.Status.Outcome, !apierrors.IsNotFound(err))
}
