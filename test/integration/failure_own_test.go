package integration

import (
	"context"
	"fmt"
	"testing"

	appsv1 "k8s.io/api/apps/v1"
	corev1 "k8s.io/api/core/v1"
	metav1 "k8s.io/apimachinery/pkg/apis/meta/v1"
	"k8s.io/apimachinery/pkg/runtime"
	"sigs.k8s.io/controller-runtime/pkg/client"

	"tidegate.io/tidegate/schemas/v1alpha1"
)

// Namespaces that no Gate governs, in which there is a Release all the same: one that is
// deleted whole, and one whose Release is.
const (
	lentWhole = "lent-whole"
	lentOne   = "lent-one"
)

// lend has Releases in namespaces that no Gate governs, each with a Rollout that cannot end,
// since no node has so much, and a command about it.
func (w *failures) lend() {
	w.Helper()
	for _, namespace := range []string{lentWhole, lentOne} {
		w.must(w.alice.Create(w.Context(), &corev1.Namespace{ObjectMeta: metav1.ObjectMeta{Name: namespace}}))
		release := w.release("")
		release.Namespace = namespace
		release.Spec.Values = &runtime.RawExtension{Raw: []byte(`{"image": "shop/mailer:1", "resources": {"cpu": "999", "memory": "9000000Gi"}}`)}
		w.must(w.alice.Create(w.Context(), release))
		w.eventually("its Deployment is there", func(ctx context.Context) error {
			return w.root.Get(ctx, client.ObjectKey{Namespace: namespace, Name: mailer}, &appsv1.Deployment{})
		})
		command := &v1alpha1.RolloutCommand{
			ObjectMeta: metav1.ObjectMeta{Namespace: namespace, Name: "stop"},
			Spec:       v1alpha1.RolloutCommandSpec{Rollout: mailer + "-1", Action: v1alpha1.CommandPause},
		}
		w.must(w.alice.Create(w.Context(), command))
		w.eventually("its Rollout is paused", func(ctx context.Context) error {
			if err := w.root.Get(ctx, client.ObjectKeyFromObject(command), command); err != nil {
				return err
			}
			if command.Status.Outcome != v1alpha1.OutcomeApplied {
				return fmt.Errorf("the outcome is %q: %s", command.Status.Outcome, command.Status.Message)
			}
			return nil
		})
	}
}

// ownOutside deletes Tidegate's own objects where no Gate governs.
func (w *failures) ownOutside(t *testing.T) {
	w.unasked(t, func() {
		one := w.release("")
		one.Namespace = lentOne
		// The API server waits for the garbage collector, which takes its finalizer off.
		w.must(w.alice.Delete(t.Context(), one, client.PropagationPolicy(metav1.DeletePropagationForeground)))
		w.gone("the Release is gone", one)
		w.gone("its Rollout is gone", &v1alpha1.Rollout{ObjectMeta: metav1.ObjectMeta{Namespace: lentOne, Name: mailer + "-1"}})
		w.gone("its Deployment is gone", deployment(lentOne, mailer, nil))

		whole := &corev1.Namespace{ObjectMeta: metav1.ObjectMeta{Name: lentWhole}}
		w.must(w.alice.Delete(t.Context(), whole))
		w.gone("the namespace is gone", whole)
	})
	// What stays to be asked about stays closed: a record, by a person, and an order to orphan.
	command := &v1alpha1.RolloutCommand{ObjectMeta: metav1.ObjectMeta{Namespace: lentOne, Name: "stop"}}
	if err := w.alice.Delete(t.Context(), command); !closedError(err) {
		t.Errorf("a command, by a cluster-admin: wanted a refusal that says why, found: %v", err)
	}
	if err := w.alice.Delete(t.Context(), w.release(""), client.PropagationPolicy(metav1.DeletePropagationOrphan)); !closedError(err) {
		t.Errorf("a Release without what was made for it: wanted a refusal that says why, found: %v", err)
	}
	w.kept(t)
}
