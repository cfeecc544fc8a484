package integration

import (
	"bytes"
	"fmt"
	"math/rand/v2"
	"slices"
	"strings"
	"testing"
	"time"

	corev1 "k8s.io/api/core/v1"
	eventsv1 "k8s.io/api/events/v1"
	apierrors "k8s.io/apimachinery/pkg/api/errors"
	"k8s.io/apimachinery/pkg/api/meta"
	metav1 "k8s.io/apimachinery/pkg/apis/meta/v1"
	"sigs.k8s.io/controller-runtime/pkg/client"

	"tidegate.io/tidegate/rollout/plan"
	"tidegate.io/tidegate/schemas/v1alpha1"
)

// undoTemplate waits for an approval at 20 %. STRATEGY is more of its rollout field, SHARED more
// of its objects.
const undoTemplate = templateHead + `
rollout: {
	type: "canary", progressDeadline: "30s", drainDelay: "300ms"
	steps: [{setWeight: 20}, {pause: approval: true}, {setWeight: 100}]
	STRATEGY
}
objects: {
	config: {
		apiVersion: "v1", kind: "ConfigMap", metadata: name: _id
		data: image: values.image
		binaryData: blob: [if values.image == "v1" {"djH/AA=="}, "djL/AA=="][0]
	}
	deployment: {
		apiVersion: "apps/v1", kind: "Deployment", metadata: name: _id
		spec: {
			replicas: values.replicas
			selector: matchLabels: _own
			template: {metadata: labels: _own, spec: _pod}
		}
	}
	service: {apiVersion: "v1", kind: "Service", metadata: name: _id, spec: {selector: _own, ports: [{port: 80}]}}
	route: {
		apiVersion: "gateway.networking.k8s.io/v1", kind: "HTTPRoute", metadata: name: context.name
		spec: {parentRefs: [{name: "edge"}], rules: [{backendRefs: [{name: _id, port: 80}]}]}
	}
}
`

// sharedObject is an object of no set.
const sharedObject = `
objects: extra: {apiVersion: "v1", kind: "ConfigMap", metadata: name: "\(context.name)-extra", data: a: "b"}
`

// inWindow returns without steps.
const inWindow = `rollbackWindow: revisions: 2`

// TestUndo returns, tries again and cleans up on a real control plane.
func TestUndo(t *testing.T) {
	cluster := controlPlane(t)
	for name, c := range map[string]struct {
		strategy string
		run      func(*testing.T, *staged)
	}{
		"an undo brings back what served then, and stays":                     {"", undoBringsBack},
		"an undo takes the traffic from what is under way":                    {inWindow, undoSupersedes},
		"an undo is made once, however often its manager dies":                {inWindow, undoIsMadeOnce},
		"a retry walks the steps again, once":                                 {"", retryWalksAgain},
		"an old spec that is applied within the window returns without steps": {inWindow, knownSkipsSteps},
		"what is not rendered any more is deleted":                            {"", sharedIsDeleted},
		"canary becomes blueGreen, and canary again":                          {"", strategyChanges},
		"the history has its limit":                                           {`historyLimit: 2`, historyIsLimited},
	} {
		t.Run(name, func(t *testing.T) {
			t.Parallel()
			w := newStaged(t, newWorld(t, cluster.RESTConfig()), undoTemplate)
			w.strategy = c.strategy
			w.start()
			w.apply("v1", 2)
			w.awaitPhase(v1alpha1.ReleaseServing)
			c.run(t, w)
		})
	}
}

// promote brings an image into service by the nth Rollout.
func (s *staged) promote(image string, n int) {
	s.t.Helper()
	s.apply(image, 2)
	s.awaitReason(n, plan.ReasonHoldApproval)
	s.command(n, v1alpha1.CommandApprove, 2)
	s.awaitSucceeded(n)
}

func (s *staged) awaitSucceeded(n int) {
	s.t.Helper()
	s.await(fmt.Sprintf("Rollout %d has succeeded", n), func() bool {
		r := &v1alpha1.Rollout{ObjectMeta: metav1.ObjectMeta{Name: fmt.Sprintf("%s-%d", s.releaseName, n), Namespace: s.namespace}}
		return s.client.Get(s.t.Context(), client.ObjectKeyFromObject(r), r) == nil && r.Status.Phase == v1alpha1.RolloutSucceeded
	})
}

// awaitRestored waits until the Release says that the image was brought back.
func (s *staged) awaitRestored(image string) {
	s.t.Helper()
	s.await(image+" is brought back", func() bool {
		r := s.release()
		stalled := meta.FindStatusCondition(r.Status.Conditions, v1alpha1.ConditionStalled)
		return stalled != nil && stalled.Reason == "ReleaseRestored" && r.Status.StableRevision == s.revisionOf(image)
	})
}

func undoBringsBack(t *testing.T, w *staged) {
	w.promote("v2", 2)
	w.awaitGone(w.setOf("v1"))
	w.command(1, v1alpha1.CommandRollBack, 0)
	// Nothing lets it return without steps.
	w.awaitReason(3, plan.ReasonHoldApproval)
	w.command(3, v1alpha1.CommandApprove, 2)
	w.awaitRestored("v1")
	w.wantWhole("v1")
	r := w.rollout(3)
	if r.Spec.Restores == nil || r.Spec.Restores.Rollout != w.rollout(1).Name || r.Spec.Known || r.Spec.Digest != w.rollout(1).Spec.Digest {
		t.Errorf("it is for %+v, known: %t", r.Spec.Restores, r.Spec.Known)
	}
	config := &corev1.ConfigMap{ObjectMeta: metav1.ObjectMeta{Name: w.setOf("v1"), Namespace: w.namespace}}
	w.get(config)
	if config.Data["image"] != "v1" || !bytes.Equal(config.BinaryData["blob"], []byte{'v', '1', 0xff, 0}) {
		t.Errorf("the ConfigMap is %v %v", config.Data, config.BinaryData)
	}
	w.awaitGone(w.setOf("v2"))
	// It stays there, and costs nothing.
	w.quiet(2 * time.Second)
	w.kill()
	w.start()
	if n := w.writesIn(3 * time.Second); n != 0 || len(w.rollouts()) != 3 {
		t.Errorf("%d writes at rest and %d Rollouts, want none and 3: %v", n, len(w.rollouts()), w.wire.lines())
	}
	// Until the Release is applied.
	w.promote("v3", 4)
	w.awaitPhase(v1alpha1.ReleaseServing)
	if s := w.rollout(4).Spec; s.Stable == nil || s.Stable.Revision != w.revisionOf("v1") || s.Restores != nil {
		t.Errorf("the next is over %+v", s.Stable)
	}
}

func undoSupersedes(t *testing.T, w *staged) {
	w.promote("v2", 2)
	w.awaitGone(w.setOf("v1"))
	w.apply("v3", 2)
	w.awaitReason(3, plan.ReasonHoldApproval)
	third, first := w.watchRoute("v3"), w.watchRoute("v1")
	w.command(1, v1alpha1.CommandRollBack, 0)
	w.awaitRestored("v1")
	w.wantWhole("v1")
	if got := first(); !slices.Equal(got, []int32{100}) {
		t.Errorf("the weights of v1 were %v, want no steps", got)
	}
	if got := third(); len(got) > 0 && got[len(got)-1] != 0 {
		t.Errorf("the weights of v3 were %v", got)
	}
	if s := w.rollout(3).Status; s.Phase != v1alpha1.RolloutAborted || s.AbortCause.Code != plan.ReasonAbortSuperseded {
		t.Errorf("v3 is %s for %+v", s.Phase, s.AbortCause)
	}
	w.awaitGone(w.setOf("v2"))
	w.awaitGone(w.setOf("v3"))
}

func undoIsMadeOnce(t *testing.T, w *staged) {
	w.promote("v2", 2)
	w.awaitGone(w.setOf("v1"))
	w.kill()
	const seed = 11
	random := rand.New(rand.NewPCG(seed, seed))
	w.command(1, v1alpha1.CommandRollBack, 0)
	kills := 0
	for range 30 {
		// The connection dies at one of the next writes: before or after it reaches the server.
		dead := w.startDoomed(random.Int64N(3)+1, random.IntN(2) == 0)
		select {
		case <-dead:
			kills++
		case <-time.After(5 * time.Second):
		}
		w.kill()
		if w.release().Status.StableRevision == w.revisionOf("v1") {
			break
		}
	}
	w.start()
	w.awaitRestored("v1")
	w.wantWhole("v1")
	w.quiet(2 * time.Second)
	t.Logf("the manager was killed %d times (seed %d)", kills, seed)
	if n := len(w.rollouts()); n != 3 || kills < 3 {
		t.Errorf("there are %d Rollouts after %d kills, want 3", n, kills)
	}
}

func retryWalksAgain(t *testing.T, w *staged) {
	w.apply("v2", 2)
	w.awaitReason(2, plan.ReasonHoldApproval)
	w.command(2, v1alpha1.CommandAbort, 0)
	w.awaitPhase(v1alpha1.ReleaseAborted)
	w.awaitGone(w.setOf("v2"))
	w.command(2, v1alpha1.CommandRetry, 0)
	w.command(2, v1alpha1.CommandRetry, 0) // two people, or one who is impatient
	w.awaitReason(3, plan.ReasonHoldApproval)
	w.command(3, v1alpha1.CommandApprove, 2)
	w.awaitPhase(v1alpha1.ReleaseServing)
	w.wantWhole("v2")
	w.quiet(2 * time.Second)
	if n := len(w.rollouts()); n != 3 {
		t.Errorf("there are %d Rollouts, want 3", n)
	}
	var commands v1alpha1.RolloutCommandList
	if err := w.client.List(t.Context(), &commands, client.InNamespace(w.namespace)); err != nil {
		t.Fatal(err)
	}
	for _, c := range commands.Items {
		if c.Status.Outcome == "" || c.Spec.Action == v1alpha1.CommandAbort && c.Status.Outcome != v1alpha1.OutcomeApplied {
			t.Errorf("%s has the outcome %q: %s", c.Spec.Action, c.Status.Outcome, c.Status.Message)
		}
	}
}

func knownSkipsSteps(t *testing.T, w *staged) {
	w.promote("v2", 2)
	w.awaitGone(w.setOf("v1"))
	back := w.watchRoute("v1")
	w.apply("v1", 2)
	w.awaitSucceeded(3)
	w.awaitPhase(v1alpha1.ReleaseServing)
	w.wantWhole("v1")
	if got := back(); !slices.Equal(got, []int32{100}) || !w.rollout(3).Spec.Known {
		t.Errorf("the weights of v1 were %v, want no steps; known: %t", got, w.rollout(3).Spec.Known)
	}
	// What was returned from walks its steps.
	w.promote("v2", 4)
	if w.rollout(4).Spec.Known {
		t.Error("what was returned from is known to be good")
	}
}

func sharedIsDeleted(t *testing.T, w *staged) {
	extra := client.ObjectKey{Namespace: w.namespace, Name: w.releaseName + "-extra"}
	there := func() bool {
		err := w.client.Get(t.Context(), extra, &corev1.ConfigMap{})
		if client.IgnoreNotFound(err) != nil {
			t.Fatal(err)
		}
		return !apierrors.IsNotFound(err)
	}
	w.use(undoTemplate + sharedObject)
	w.promote("v2", 2)
	w.await("the shared object is made", there)
	w.use(undoTemplate)
	w.promote("v3", 3)
	w.await("the shared object is deleted", func() bool { return !there() })
	w.await("people are told", func() bool {
		var list eventsv1.EventList
		if err := w.client.List(t.Context(), &list, client.InNamespace(w.namespace)); err != nil {
			return false
		}
		return slices.ContainsFunc(list.Items, func(e eventsv1.Event) bool {
			return e.Reason == "ReleaseCleared" && strings.Contains(e.Note, "ConfigMap "+extra.Name)
		})
	})
	// An abort deletes what only the aborted revision brought.
	w.use(undoTemplate + sharedObject)
	w.apply("v4", 2)
	w.awaitReason(4, plan.ReasonHoldApproval)
	if !there() {
		t.Error("the aborted revision has not brought it")
	}
	w.command(4, v1alpha1.CommandAbort, 0)
	w.awaitPhase(v1alpha1.ReleaseAborted)
	w.await("the shared object is deleted again", func() bool { return !there() })
	// What somebody else made of the same name is not touched.
	w.create(&corev1.ConfigMap{ObjectMeta: metav1.ObjectMeta{Namespace: extra.Namespace, Name: extra.Name}})
	w.use(undoTemplate)
	w.promote("v5", 5)
	w.quiet(2 * time.Second)
	if !there() {
		t.Error("what somebody else made is deleted")
	}
	w.wantWhole("v5")
	w.kill()
	w.start()
	if n := w.writesIn(3 * time.Second); n != 0 {
		t.Errorf("%d writes at rest, want none: %v", n, w.wire.lines())
	}
}

func strategyChanges(t *testing.T, w *staged) {
	blueGreen := strings.Replace(undoTemplate, `type: "canary"`, `type: "blueGreen", scaleDownDelay: "300ms"`, 1)
	w.use(strings.Replace(blueGreen, `{setWeight: 20}`, `{pause: duration: "100ms"}`, 1))
	w.apply("v2", 2)
	w.awaitReason(2, plan.ReasonHoldApproval)
	w.command(2, v1alpha1.CommandApprove, 2)
	w.awaitSucceeded(2)
	w.wantWhole("v2")
	w.awaitGone(w.setOf("v1"))
	w.use(undoTemplate)
	w.promote("v3", 3)
	w.wantWhole("v3")
	w.awaitGone(w.setOf("v2"))
}

func historyIsLimited(t *testing.T, w *staged) {
	w.promote("v2", 2)
	w.promote("v3", 3)
	w.promote("v4", 4)
	w.await("the first Rollouts are gone", func() bool { return len(w.rollouts()) == 2 })
	w.await("what was decided about them is gone", func() bool {
		var commands v1alpha1.RolloutCommandList
		if err := w.client.List(t.Context(), &commands, client.InNamespace(w.namespace)); err != nil {
			t.Fatal(err)
		}
		return !slices.ContainsFunc(commands.Items, func(c v1alpha1.RolloutCommand) bool {
			return c.Spec.Rollout == w.releaseName+"-2"
		})
	})
	// An undo to what is there still works.
	w.command(3, v1alpha1.CommandRollBack, 0)
	w.awaitReason(5, plan.ReasonHoldApproval)
	w.command(5, v1alpha1.CommandPromote, 0)
	w.awaitRestored("v3")
	w.wantWhole("v3")
}

// wantWhole checks that an image has all of the traffic and its two pods.
func (s *staged) wantWhole(image string) {
	s.t.Helper()
	if weight, d := s.weightOf(image), s.deploymentOf(image); weight != 100 || d.Status.AvailableReplicas != 2 {
		s.t.Errorf("%s has %d %% and %d pods", image, weight, d.Status.AvailableReplicas)
	}
}
