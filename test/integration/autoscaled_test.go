package integration

import (
	"strings"
	"testing"
	"time"

	autoscalingv1 "k8s.io/api/autoscaling/v1"
	autoscalingv2 "k8s.io/api/autoscaling/v2"
	metav1 "k8s.io/apimachinery/pkg/apis/meta/v1"
	"sigs.k8s.io/controller-runtime/pkg/client"

	"tidegate.io/tidegate/rollout/plan"
	"tidegate.io/tidegate/schemas/v1alpha1"
)

// approvedTemplate is an autoscaled canary that waits for people before its first request, and at half of them.
var approvedTemplate = strings.Replace(autoscaledTemplate, "steps: [{setWeight: 50}, {setWeight: 100}]",
	"steps: [{pause: approval: true}, {setWeight: 50}, {pause: approval: true}, {setWeight: 100}]", 1)

// scaler is the autoscaler of a set.
func (s *staged) scaler(image string) *autoscalingv2.HorizontalPodAutoscaler {
	s.t.Helper()
	h := &autoscalingv2.HorizontalPodAutoscaler{ObjectMeta: metav1.ObjectMeta{Name: s.setOf(image), Namespace: s.namespace}}
	s.get(h)
	return h
}

// scaleTo does what an autoscaler does.
func (s *staged) scaleTo(image string, pods int32) {
	s.t.Helper()
	scale := &autoscalingv1.Scale{Spec: autoscalingv1.ScaleSpec{Replicas: pods}}
	if err := s.client.SubResource("scale").Update(s.t.Context(), s.deploymentOf(image), client.WithSubResourceBody(scale)); err != nil {
		s.t.Fatal(err)
	}
	s.await("the pods are there", func() bool { return s.deploymentOf(image).Status.AvailableReplicas == pods })
}

// TestSetsKeepThePodsThatTheirRequestsNeed has an autoscaler of 5 pods, 2 of which are rendered, take some away while
// a Rollout is under way. It is told once to leave them, and once more when that is over.
func TestSetsKeepThePodsThatTheirRequestsNeed(t *testing.T) {
	w := newStaged(t, newWorld(t, controlPlane(t).RESTConfig()), approvedTemplate)
	w.start()
	w.apply("v1", 2)
	w.awaitPhase(v1alpha1.ReleaseServing)
	w.scaleTo("v1", 5)
	before := w.scaler("v1").Generation

	w.apply("v2", 2)
	w.awaitReason(2, plan.ReasonHoldApproval)
	w.await("the autoscaler is told", func() bool { return *w.scaler("v1").Spec.MinReplicas == 5 })
	if h := w.scaler("v1"); h.Generation != before+1 {
		t.Errorf("the autoscaler leaves it %d pods after %d writes, want 5 after one", *h.Spec.MinReplicas, h.Generation-before)
	}
	scale := &autoscalingv1.Scale{Spec: autoscalingv1.ScaleSpec{Replicas: 2}}
	if err := w.client.SubResource("scale").Update(t.Context(), w.deploymentOf("v1"), client.WithSubResourceBody(scale)); err != nil {
		t.Fatal(err)
	}
	w.await("the old set is whole again", func() bool { return w.deploymentOf("v1").Status.AvailableReplicas == 5 })
	w.command(2, v1alpha1.CommandAbort, 0)
	w.awaitPhase(v1alpha1.ReleaseAborted)
	w.quiet(time.Second)
	if h := w.scaler("v1"); *h.Spec.MinReplicas != 5 || h.Generation != before+1 {
		t.Errorf("after an abort the autoscaler leaves it %d pods after %d writes, want 5 after one", *h.Spec.MinReplicas, h.Generation-before)
	}

	w.apply("v3", 2)
	w.awaitReason(3, plan.ReasonHoldApproval)
	w.command(3, v1alpha1.CommandApprove, 1)
	w.await("half of the requests are the new set's", func() bool { return w.weightOf("v3") == 50 })
	w.awaitReason(3, plan.ReasonHoldApproval)
	if got := *w.scaler("v3").Spec.MinReplicas; got != 3 {
		t.Errorf("the autoscaler of the new set leaves it %d pods, want the 3 that half of the requests need", got)
	}
	w.command(3, v1alpha1.CommandAbort, 0)
	w.awaitPhase(v1alpha1.ReleaseAborted)
	w.awaitGone(w.setOf("v3"))
	// What it measures is of a moment ago.
	w.quiet(2 * time.Second)
	w.kill()
	w.start()
	if n := w.writesIn(3 * time.Second); n != 0 {
		t.Errorf("%d writes while the pods are kept, want none: %v", n, w.wire.lines())
	}
	if h := w.scaler("v1"); *h.Spec.MinReplicas != 5 || h.Generation != before+1 || *w.deploymentOf("v1").Spec.Replicas != 5 {
		t.Errorf("the autoscaler leaves it %d pods of %d after %d writes, want 5 of 5 after one",
			*h.Spec.MinReplicas, *w.deploymentOf("v1").Spec.Replicas, h.Generation-before)
	}

	// What serves is applied again: nobody returns any more, and the pods stay for a while.
	w.apply("v1", 2)
	w.awaitPhase(v1alpha1.ReleaseServing)
	w.quiet(time.Second)
	if got := *w.scaler("v1").Spec.MinReplicas; got != 5 {
		t.Errorf("the autoscaler leaves what serves again %d pods, want 5", got)
	}

	// The old set goes with its autoscaler, and the new one keeps its pods for a while.
	w.apply("v4", 2)
	w.await("v4 waits for somebody", func() bool { return w.newest().Status.Reason == plan.ReasonHoldApproval })
	w.command(int(w.newest().Spec.Number), v1alpha1.CommandPromote, 0)
	w.awaitSucceeded(int(w.newest().Spec.Number))
	w.awaitGone(w.setOf("v1"))
	if got := *w.scaler("v4").Spec.MinReplicas; got != 5 || *w.deploymentOf("v4").Spec.Replicas != 5 {
		t.Errorf("the autoscaler of what serves leaves it %d pods of %d, want 5 of 5", got, *w.deploymentOf("v4").Spec.Replicas)
	}
}
