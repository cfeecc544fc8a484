package integration

import (
	"context"
	"fmt"
	"maps"
	"testing"
	"time"

	corev1 "k8s.io/api/core/v1"
	discoveryv1 "k8s.io/api/discovery/v1"
	metav1 "k8s.io/apimachinery/pkg/apis/meta/v1"
	"k8s.io/apimachinery/pkg/apis/meta/v1/unstructured"
	"k8s.io/apimachinery/pkg/runtime"
	"sigs.k8s.io/controller-runtime/pkg/client"

	"tidegate.io/tidegate/rollout/plan"
	"tidegate.io/tidegate/schemas/render"
	"tidegate.io/tidegate/schemas/v1alpha1"
)

// TestPlainService rolls out behind a Service without any weights, on real EndpointSlices: whom
// these list is who gets requests, each pod as many.
func TestPlainService(t *testing.T) {
	w := &plainWorld{world: newWorld(t, controlPlane(t).RESTConfig())}
	w.renders = w
	w.start()
	w.apply("v1", 4)
	w.awaitPhase(v1alpha1.ReleaseServing)
	old, fresh := w.revision("v1"), w.revision("v2")
	w.awaitListed(map[string]int{old: 4})

	w.apply("v2", 4)
	w.awaitApproval(2)
	// One of five pods is what comes nearest to 20 %.
	w.awaitListed(map[string]int{old: 4, fresh: 1})

	// Somebody points the Service at the new revision alone.
	service := w.service()
	service.Spec.Selector[v1alpha1.LabelRevision] = fresh
	if err := w.client.Update(t.Context(), service); err != nil {
		t.Fatal(err)
	}
	edited := time.Now()
	w.await("the selector is put right", func() bool { return w.service().Spec.Selector[v1alpha1.LabelRevision] != fresh })
	t.Logf("the selector was put right after %s", time.Since(edited).Round(time.Millisecond))
	w.awaitListed(map[string]int{old: 4, fresh: 1})

	w.command(2, v1alpha1.CommandAbort, 0)
	w.awaitPhase(v1alpha1.ReleaseAborted)
	w.awaitListed(map[string]int{old: 4})
	w.awaitGone(w.name("v2"))

	w.apply("v3", 4)
	w.awaitApproval(3)
	w.command(3, v1alpha1.CommandApprove, 2)
	w.awaitPhase(v1alpha1.ReleaseServing, "v3")
	w.awaitListed(map[string]int{w.revision("v3"): 4})
	w.awaitGone(w.name("v1"))
	w.quiet(2 * time.Second)
	w.kill()
	w.start()
	if n := w.writesIn(3 * time.Second); n != 0 {
		t.Errorf("%d writes at rest, want none: %v", n, w.wire.lines())
	}
}

// plainWorld renders to a plain Service.
type plainWorld struct{ *world }

// Render implements controller.Renderer.
func (w *plainWorld) Render(ctx context.Context, revision *v1alpha1.TemplateRevision, values *runtime.RawExtension, in render.Context) (*render.Result, error) {
	out, err := w.renderer.Render(ctx, revision, values, in)
	if err != nil {
		return nil, err
	}
	out.Router = v1alpha1.RouterService
	out.Strategy = v1alpha1.Strategy{
		Type:             v1alpha1.StrategyCanary,
		DrainDelay:       metav1.Duration{Duration: 300 * time.Millisecond},
		ProgressDeadline: metav1.Duration{Duration: time.Minute},
		Steps:            []v1alpha1.Step{{SetWeight: new(int32(20))}, {Pause: &v1alpha1.Pause{Approval: true}}},
	}
	labels := map[string]any{}
	for key, value := range out.Route.GetLabels() {
		labels[key] = value
	}
	out.Route = &unstructured.Unstructured{Object: map[string]any{
		"apiVersion": "v1", "kind": "Service",
		"metadata": map[string]any{"name": in.Name, "namespace": in.Namespace, "labels": labels},
		"spec": map[string]any{
			"ports":    []any{map[string]any{"port": int64(80), "targetPort": "http", "name": "http"}},
			"selector": map[string]any{v1alpha1.LabelRelease: in.Name, v1alpha1.LabelRevision: out.Revision},
		},
	}}
	return out, nil
}

func (w *plainWorld) service() *corev1.Service {
	w.t.Helper()
	s := &corev1.Service{ObjectMeta: metav1.ObjectMeta{Name: w.releaseName, Namespace: w.namespace}}
	w.get(s)
	return s
}

func (w *plainWorld) awaitApproval(rollout int) {
	w.t.Helper()
	w.await(fmt.Sprintf("Rollout %d waits for an approval", rollout), func() bool {
		return len(w.rollouts()) >= rollout && w.rollout(rollout).Status.Reason == plan.ReasonHoldApproval
	})
}

// awaitListed waits until the EndpointSlices of the Service list so many ready pods of each
// revision.
func (w *plainWorld) awaitListed(want map[string]int) {
	w.t.Helper()
	w.await(fmt.Sprintf("the endpoints are %v", want), func() bool {
		var list discoveryv1.EndpointSliceList
		if err := w.client.List(w.t.Context(), &list, client.InNamespace(w.namespace), client.MatchingLabels{discoveryv1.LabelServiceName: w.releaseName}); err != nil {
			w.t.Fatal(err)
		}
		var pods corev1.PodList
		if err := w.client.List(w.t.Context(), &pods, client.InNamespace(w.namespace)); err != nil {
			w.t.Fatal(err)
		}
		revisions := map[string]string{}
		for i := range pods.Items {
			revisions[pods.Items[i].Name] = pods.Items[i].Labels[v1alpha1.LabelRevision]
		}
		got := map[string]int{}
		for i := range list.Items {
			for _, e := range list.Items[i].Endpoints {
				if e.Conditions.Ready == nil || *e.Conditions.Ready {
					got[revisions[e.TargetRef.Name]]++
				}
			}
		}
		return maps.Equal(got, want)
	})
}
