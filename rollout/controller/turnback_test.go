package controller

import (
	"context"
	"errors"
	"testing"

	corev1 "k8s.io/api/core/v1"
	apierrors "k8s.io/apimachinery/pkg/api/errors"
	metav1 "k8s.io/apimachinery/pkg/apis/meta/v1"
	"k8s.io/apimachinery/pkg/apis/meta/v1/unstructured"
	"sigs.k8s.io/controller-runtime/pkg/client"
	"sigs.k8s.io/controller-runtime/pkg/client/interceptor"

	"tidegate.io/tidegate/rollout/apply"
	"tidegate.io/tidegate/rollout/observe"
	"tidegate.io/tidegate/schemas/v1alpha1"
)

// TestWhatWasAllowedIsTurnedBackFirst decides while another manager is held up at a write that rests on the carrier
// of the exposure as it was read.
func TestWhatWasAllowedIsTurnedBackFirst(t *testing.T) {
	t.Parallel()
	approved := func(phase v1alpha1.RolloutPhase, step, weight int32) v1alpha1.RolloutStatus {
		return v1alpha1.RolloutStatus{Phase: phase, Step: step, ApprovedWeight: weight, ApprovedAt: new(metav1.NowMicro())}
	}
	untried := v1alpha1.RolloutStatus{Phase: v1alpha1.RolloutProgressing}
	for name, c := range map[string]struct {
		was, is v1alpha1.RolloutStatus
		// meanwhile says that the carrier was written since it was read, refused what the API server answers.
		meanwhile bool
		refused   error
		// gone says that the carrier was deleted meanwhile, foreign that it never was the Release's.
		gone, foreign bool
		turned        bool
		conflict      bool
	}{
		"an abort turns back what was allowed": {
			was: approved(v1alpha1.RolloutProgressing, 1, 20), is: approved(v1alpha1.RolloutAborting, 1, 0), turned: true,
		},
		"so does one of a promotion": {
			was: approved(v1alpha1.RolloutPromoting, 5, 100), is: approved(v1alpha1.RolloutAborting, 5, 0), turned: true,
		},
		"so does a fall to a step before": {
			was: approved(v1alpha1.RolloutProgressing, 3, 50), is: approved(v1alpha1.RolloutProgressing, 1, 20), turned: true,
		},
		"and one that leaves the weight as it is": {
			was: approved(v1alpha1.RolloutProgressing, 2, 20), is: approved(v1alpha1.RolloutProgressing, 1, 20), turned: true,
		},
		"a rise turns nothing back": {
			was: approved(v1alpha1.RolloutProgressing, 1, 20), is: approved(v1alpha1.RolloutProgressing, 3, 50),
		},
		"nor does an abort of what was never allowed any": {
			was: untried, is: v1alpha1.RolloutStatus{Phase: v1alpha1.RolloutAborted},
		},
		"nor one that is under way": {
			was: approved(v1alpha1.RolloutAborting, 1, 0), is: approved(v1alpha1.RolloutAborted, 1, 0),
		},
		"a fall after which something else was written is decided anew": {
			was: approved(v1alpha1.RolloutProgressing, 3, 50), is: approved(v1alpha1.RolloutProgressing, 1, 20), meanwhile: true, conflict: true,
		},
		"an abort is not: it turns back what is there by now": {
			was: approved(v1alpha1.RolloutProgressing, 1, 20), is: approved(v1alpha1.RolloutAborting, 1, 0), meanwhile: true, turned: true,
		},
		"an abort waits for no object that is gone": {
			was: approved(v1alpha1.RolloutProgressing, 1, 20), is: approved(v1alpha1.RolloutAborting, 1, 0), gone: true,
		},
		"nothing is written to what is somebody else's": {
			was: approved(v1alpha1.RolloutProgressing, 1, 20), is: approved(v1alpha1.RolloutAborting, 1, 0), foreign: true,
		},
		"who may not turn back aborts all the same": {
			was: approved(v1alpha1.RolloutProgressing, 1, 20), is: approved(v1alpha1.RolloutAborting, 1, 0),
			refused: apierrors.NewInternalError(errors.New("a webhook is down")),
		},
	} {
		t.Run(name, func(t *testing.T) {
			t.Parallel()
			labels := map[string]string{v1alpha1.LabelRelease: "cart"}
			if c.foreign {
				labels = nil
			}
			cluster := newCluster(t,
				&corev1.Service{ObjectMeta: metav1.ObjectMeta{Name: "cart", Namespace: "shop", UID: "a", Labels: labels}},
				&corev1.ConfigMap{ObjectMeta: metav1.ObjectMeta{Name: "cart", Namespace: "shop", UID: "b", Labels: labels}})
			read := func(kind string) *unstructured.Unstructured {
				out := &unstructured.Unstructured{}
				out.SetAPIVersion("v1")
				out.SetKind(kind)
				if err := cluster.Get(t.Context(), client.ObjectKey{Namespace: "shop", Name: "cart"}, out); err != nil {
					t.Fatal(err)
				}
				return out
			}
			// Any two objects do: one for the route, one for the workload.
			route, workload := read("Service"), read("ConfigMap")
			if c.meanwhile {
				now := read("Service")
				now.SetAnnotations(map[string]string{"by": "another"})
				if err := cluster.Update(t.Context(), now); err != nil {
					t.Fatal(err)
				}
			}
			if c.gone {
				for _, it := range []*unstructured.Unstructured{read("Service"), read("ConfigMap")} {
					if err := cluster.Delete(t.Context(), it); err != nil {
						t.Fatal(err)
					}
				}
			}
			writer := interceptor.NewClient(cluster, interceptor.Funcs{
				Patch: func(ctx context.Context, to client.WithWatch, obj client.Object, patch client.Patch, opts ...client.PatchOption) error {
					if c.refused != nil {
						return c.refused
					}
					return to.Patch(ctx, obj, patch, opts...)
				},
			})
			loop := &rolloutLoop{applier: apply.Applier{Writer: writer, Live: cluster}, live: observe.Reader{Live: cluster}}
			world := &observe.World{Route: route, Workload: workload}
			rollout := &v1alpha1.Rollout{ObjectMeta: metav1.ObjectMeta{Name: "cart-2", Namespace: "shop", ResourceVersion: "7"}, Spec: v1alpha1.RolloutSpec{Release: "cart"}, Status: c.was}
			if err := loop.turnBack(t.Context(), rollout, c.is, world); apierrors.IsConflict(err) != c.conflict || err != nil && !c.conflict {
				t.Fatalf("got %v, want a conflict: %t", err, c.conflict)
			}
			if c.gone {
				return
			}
			for was, is := range map[*unstructured.Unstructured]*unstructured.Unstructured{route: world.Route, workload: world.Workload} {
				live := read(was.GetKind())
				if turned := live.GetAnnotations()[apply.AnnotationTurnedBack] == "cart-2 7"; turned != c.turned {
					t.Errorf("%s is turned back: %t, want %t", was.GetKind(), turned, c.turned)
				}
				if c.turned && (live.GetResourceVersion() == was.GetResourceVersion() || is.GetResourceVersion() != live.GetResourceVersion()) {
					t.Errorf("%s was of version %s and is %s; what follows rests on %s", was.GetKind(), was.GetResourceVersion(), live.GetResourceVersion(), is.GetResourceVersion())
				}
			}
		})
	}
}
