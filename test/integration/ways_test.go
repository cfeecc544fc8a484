package integration

import (
	"fmt"
	"slices"
	"strings"
	"testing"
	"time"

	appsv1 "k8s.io/api/apps/v1"
	corev1 "k8s.io/api/core/v1"
	discoveryv1 "k8s.io/api/discovery/v1"
	apierrors "k8s.io/apimachinery/pkg/api/errors"
	metav1 "k8s.io/apimachinery/pkg/apis/meta/v1"
	"sigs.k8s.io/controller-runtime/pkg/client"
	gatewayv1 "sigs.k8s.io/gateway-api/apis/v1"

	"tidegate.io/tidegate/rollout/plan"
	"tidegate.io/tidegate/schemas/v1alpha1"
	"tidegate.io/tidegate/test/cluster/traffic/load"
)

// The templates of TestWaysOfServing: one workload in place and sets, behind the one Service of the
// Release's name.
const (
	waysHead = templateHead + `
_served: _pod & {containers: [{ports: [{name: "http", containerPort: 8080}]}]}
_ports: [{name: "http", port: 80, targetPort: "http"}]
`
	placeTemplate = waysHead + `
rollout: {
	type: "rolling", progressDeadline: "30s"
	steps: [{pause: approval: true}, {setWeight: 100}, {analyze: {}}]
	analysis: _analysis
}
objects: {
	config: _config
	worker: {
		apiVersion: "apps/v1", kind: "Deployment", metadata: name: context.name
		spec: {
			replicas: values.replicas
			selector: matchLabels: _all
			template: {metadata: labels: _all, spec: _served}
		}
	}
	service: {apiVersion: "v1", kind: "Service", metadata: name: context.name, spec: {selector: _all, ports: _ports}}
	pdb: {apiVersion: "policy/v1", kind: "PodDisruptionBudget", metadata: name: context.name, spec: {maxUnavailable: 1, selector: matchLabels: _all}}
}
`
	plainTemplate = waysHead + `
rollout: {progressDeadline: "30s", drainDelay: "500ms", STRATEGY}
objects: {
	config: _config
	deployment: {
		apiVersion: "apps/v1", kind: "Deployment", metadata: name: _id
		spec: {
			replicas: values.replicas
			selector: matchLabels: _own
			template: {metadata: labels: _own, spec: _served}
		}
	}
	service: {apiVersion: "v1", kind: "Service", metadata: name: context.name, spec: {selector: _own, ports: _ports}}
	pdb: {apiVersion: "policy/v1", kind: "PodDisruptionBudget", metadata: name: _id, spec: {maxUnavailable: 1, selector: matchLabels: _own}}
}
`
	plainCanary    = `type: "canary", steps: [{setWeight: 25}, {pause: approval: true}, {setWeight: 100}]`
	plainBlueGreen = `type: "blueGreen", scaleDownDelay: "2s", steps: [{pause: approval: true}, {setWeight: 100}]`
)

// ways is a Release that changes between a workload in place and sets under load.
type ways struct {
	*staged
	recorder *load.Recorder
}

// TestWaysOfServing changes a Release between a workload in place and sets with real requests on the way, and
// loses none: forth and back, aborted, superseded, brought back, and with a manager that dies meanwhile.
func TestWaysOfServing(t *testing.T) {
	gate := newTraffic(t, newRoads(t))
	w := &ways{staged: newStaged(t, gate.world, placeTemplate)}
	w.strategy = plainCanary
	w.create(&gatewayv1.HTTPRoute{
		ObjectMeta: metav1.ObjectMeta{Name: "front", Namespace: w.namespace},
		Spec: gatewayv1.HTTPRouteSpec{
			CommonRouteSpec: gatewayv1.CommonRouteSpec{ParentRefs: []gatewayv1.ParentReference{{Name: "edge"}}},
			Hostnames:       []gatewayv1.Hostname{"shop.example"},
			Rules: []gatewayv1.HTTPRouteRule{{BackendRefs: []gatewayv1.HTTPBackendRef{{BackendRef: gatewayv1.BackendRef{
				BackendObjectReference: gatewayv1.BackendObjectReference{Name: gatewayv1.ObjectName(w.releaseName), Port: new(gatewayv1.PortNumber(80))},
			}}}}},
		},
	})
	w.start()
	w.apply("shop/cart:v1", 3)
	w.awaitPhase(v1alpha1.ReleaseServing)
	gate.serves("shop/cart:v1")
	var err error
	w.recorder, err = load.Run(t.Context(), load.Options{URL: gate.proxy.URL + "/", Host: "shop.example", RPS: 100})
	if err != nil {
		t.Fatal(err)
	}
	w.abortedOnTheWayToSets()
	w.toSets()
	w.abortedOnTheWayBack()
	w.inPlaceAgain()
	w.broughtBack()
	if all := w.recorder.Snapshot(); all.Lost+all.AppErrors > 0 {
		t.Errorf("wanted no lost request, found %s", all)
	} else {
		t.Log(all)
	}
}

// abortedOnTheWayToSets gives the sets a share, takes it back, and goes on in place.
func (w *ways) abortedOnTheWayToSets() {
	w.t.Helper()
	w.use(plainTemplate)
	w.apply("shop/cart:v2", 3)
	w.awaitReason(2, plan.ReasonHoldApproval)
	w.answers("shop/cart:v1", "shop/cart:v2")
	w.restart()
	w.command(2, v1alpha1.CommandAbort, 0)
	w.awaitPhase(v1alpha1.ReleaseAborted)
	w.gone("shop/cart:v2", w.setOf("shop/cart:v2"))
	w.selects("shop/cart:v1")
	w.quiet(time.Second)
	w.use(placeTemplate)
	w.apply("shop/cart:v3", 3)
	w.awaitReason(3, plan.ReasonHoldApproval)
	w.command(3, v1alpha1.CommandApprove, 1)
	w.awaitPhase(v1alpha1.ReleaseServing)
	w.selects("")
	w.answers("shop/cart:v3")
}

// toSets is superseded once, and then comes to its end.
func (w *ways) toSets() {
	w.t.Helper()
	w.strategy = plainBlueGreen
	w.use(plainTemplate)
	w.apply("shop/cart:v4", 3)
	w.awaitReason(4, plan.ReasonHoldApproval)
	w.apply("shop/cart:v5", 3)
	w.awaitReason(5, plan.ReasonHoldApproval)
	w.answers("shop/cart:v3")
	w.command(5, v1alpha1.CommandApprove, 1)
	w.awaitReason(5, plan.ReasonDraining)
	w.restart()
	w.awaitPhase(v1alpha1.ReleaseServing)
	w.gone("shop/cart:v3", w.releaseName)
	w.answers("shop/cart:v5")
	w.rests()
}

// abortedOnTheWayBack returns to the sets before the switch and after it.
func (w *ways) abortedOnTheWayBack() {
	w.t.Helper()
	w.use(placeTemplate)
	w.apply("shop/cart:v6", 3)
	w.awaitReason(6, plan.ReasonHoldApproval)
	w.answers("shop/cart:v5")
	w.command(6, v1alpha1.CommandAbort, 0)
	w.awaitPhase(v1alpha1.ReleaseAborted)
	w.gone("shop/cart:v6", w.releaseName)
	w.measurer.judge(func(string, int32) v1alpha1.Verdict { return v1alpha1.VerdictFail })
	w.apply("shop/cart:v7", 3)
	w.awaitReason(7, plan.ReasonHoldApproval)
	w.command(7, v1alpha1.CommandApprove, 1)
	w.await("the analysis fails after the switch", func() bool {
		r := w.rollout(7)
		return r.Status.Phase == v1alpha1.RolloutAborted && r.Status.AbortCause.Code == plan.ReasonAnalysisFail
	})
	w.measurer.judge(func(string, int32) v1alpha1.Verdict { return v1alpha1.VerdictPass })
	w.gone("shop/cart:v7", w.releaseName)
	w.answers("shop/cart:v5")
}

// inPlaceAgain comes to the workload in place, and rolls it as ever.
func (w *ways) inPlaceAgain() {
	w.t.Helper()
	w.apply("shop/cart:v8", 3)
	w.awaitReason(8, plan.ReasonHoldApproval)
	w.command(8, v1alpha1.CommandApprove, 1)
	w.awaitReason(8, plan.ReasonDraining)
	w.restart()
	w.awaitPhase(v1alpha1.ReleaseServing)
	w.gone("shop/cart:v5", w.setOf("shop/cart:v5"))
	w.selects("shop/cart:v8")
	w.rests()
	before := w.worker()
	w.apply("shop/cart:v9", 3)
	w.awaitReason(9, plan.ReasonHoldApproval)
	w.command(9, v1alpha1.CommandApprove, 1)
	w.awaitPhase(v1alpha1.ReleaseServing)
	w.selects("")
	if after := w.worker(); after.UID != before.UID {
		w.t.Error("the workload was made anew")
	}
}

// broughtBack undoes to a revision that was a set.
func (w *ways) broughtBack() {
	w.t.Helper()
	w.command(5, v1alpha1.CommandRollBack, 0)
	w.awaitReason(10, plan.ReasonHoldApproval)
	w.command(10, v1alpha1.CommandApprove, 1)
	w.awaitRestored("shop/cart:v5")
	w.gone("shop/cart:v9", w.releaseName)
	w.answers("shop/cart:v5")
	w.rests()
}

// restart lets the manager die, and another begin.
func (w *ways) restart() {
	w.kill()
	w.start()
}

// rests holds that nothing is written while nothing happens.
func (w *ways) rests() {
	w.t.Helper()
	w.quiet(time.Second)
	w.restart()
	if n := w.writesIn(3 * time.Second); n != 0 {
		w.t.Errorf("%d writes at rest, want none: %v", n, w.wire.lines())
	}
}

// answers waits until requests are answered by these images, and holds that no other does for a while.
func (w *ways) answers(images ...string) {
	w.t.Helper()
	var want []string
	for _, image := range images {
		want = append(want, w.revisionOf(image))
	}
	seen := func(s load.Summary) []string {
		var out []string
		for revision := range s.Revisions {
			out = append(out, revision)
		}
		slices.Sort(out)
		return out
	}
	slices.Sort(want)
	w.await(fmt.Sprintf("requests are answered by %v", images), func() bool {
		return slices.Equal(seen(w.recorder.Since(w.recorder.Now().Add(-500*time.Millisecond))), want)
	})
	from := w.recorder.Now()
	w.writesIn(2 * time.Second) // waits as long
	if got := seen(w.recorder.Since(from)); !slices.Equal(got, want) {
		w.t.Errorf("requests were answered by %v, want %v", got, want)
	}
}

// gone waits until a workload is gone, and holds that its pods went before.
func (w *ways) gone(image, workload string) {
	w.t.Helper()
	w.await(workload+" is gone", func() bool {
		var d appsv1.Deployment
		return apierrors.IsNotFound(w.client.Get(w.t.Context(), client.ObjectKey{Namespace: w.namespace, Name: workload}, &d))
	})
	if n := w.podsOf(image); n != 0 {
		w.t.Errorf("%d pods of %s are left of %s", n, image, workload)
	}
}

// selects checks that the Service selects an image alone, or every pod of the Release.
func (w *ways) selects(image string) {
	w.t.Helper()
	s := &corev1.Service{ObjectMeta: metav1.ObjectMeta{Name: w.releaseName, Namespace: w.namespace}}
	w.get(s)
	want := ""
	if image != "" {
		want = w.revisionOf(image)
	}
	if got := s.Spec.Selector[v1alpha1.LabelRevision]; got != want {
		w.t.Errorf("the Service selects %q, want %q", got, want)
	}
}

// TestWaysOfServingAtAnyWrite lets managers die at each of their writes, before it and after it, while a
// Release changes between a workload in place and sets.
func TestWaysOfServingAtAnyWrite(t *testing.T) {
	cluster := controlPlane(t)
	for name, c := range map[string]struct {
		from, to string
		// seen is the percentage of the endpoints that were pods of a set; workload is what is left.
		seen     []int32
		workload func(*staged) string
		selects  string
	}{
		"from a workload in place to sets": {
			placeTemplate, plainTemplate, []int32{0, 100}, func(w *staged) string { return w.setOf("v2") }, "v2",
		},
		"from sets to a workload in place": {
			plainTemplate, placeTemplate, []int32{100, 0}, func(w *staged) string { return w.releaseName }, "v2",
		},
	} {
		t.Run(name, func(t *testing.T) {
			t.Parallel()
			w := &ways{staged: newStaged(t, newWorld(t, cluster.RESTConfig()), strings.Replace(c.from, `{pause: approval: true}, `, "", 1))}
			w.strategy = `type: "blueGreen", scaleDownDelay: "500ms", steps: [{setWeight: 100}]`
			w.start()
			w.apply("v1", 3)
			w.awaitPhase(v1alpha1.ReleaseServing)
			w.quiet(time.Second)
			w.kill()
			seen := w.watchEndpoints()
			w.use(strings.Replace(c.to, `{pause: approval: true}, `, "", 1))
			w.apply("v2", 3)
			deaths := w.diesAtEachWrite(w.releaseName + "-2")
			w.start()
			w.awaitPhase(v1alpha1.ReleaseServing)
			w.quiet(time.Second)
			if got := seen(); !slices.Equal(got, c.seen) {
				t.Errorf("of the endpoints %v %% were of a set, want %v", got, c.seen)
			}
			var left appsv1.DeploymentList
			if err := w.client.List(t.Context(), &left, client.InNamespace(w.namespace)); err != nil {
				t.Fatal(err)
			}
			if len(left.Items) != 1 || left.Items[0].Name != c.workload(w.staged) || left.Items[0].Status.AvailableReplicas != 3 {
				t.Errorf("there are %d workloads, the first is %s with %d pods", len(left.Items), left.Items[0].Name, left.Items[0].Status.AvailableReplicas)
			}
			w.selects(c.selects)
			t.Logf("the manager died %d times", deaths)
			if deaths < 20 {
				t.Errorf("the manager died %d times, too few to tell anything", deaths)
			}
		})
	}
}

// diesAtEachWrite runs managers of which each gets one write through, or none, until a Rollout has succeeded,
// and returns how many there were.
func (w *ways) diesAtEachWrite(rollout string) int {
	w.t.Helper()
	for n := range 200 {
		dead := w.startDoomed(1, n%2 == 1)
		timer := time.NewTimer(5 * time.Second)
		select {
		case <-dead:
		case <-timer.C:
		}
		timer.Stop()
		w.kill()
		r := &v1alpha1.Rollout{}
		err := w.client.Get(w.t.Context(), client.ObjectKey{Namespace: w.namespace, Name: rollout}, r)
		if err == nil && r.Status.Phase == v1alpha1.RolloutSucceeded {
			return n
		}
	}
	w.t.Fatal("200 managers were not enough")
	return 0
}

// watchEndpoints follows the endpoints of the Release's Service, and returns the percentages of the ready ones that were
// pods of a set; -1 is none at all.
func (w *ways) watchEndpoints() func() []int32 {
	w.t.Helper()
	mine := func(obj client.Object) (*discoveryv1.EndpointSlice, bool) {
		s, ok := obj.(*discoveryv1.EndpointSlice)
		return s, ok && s.Labels[discoveryv1.LabelServiceName] == w.releaseName
	}
	return follow(w.staged, &discoveryv1.EndpointSliceList{}, func(obj client.Object) (int32, bool) {
		s, ok := mine(obj)
		if !ok {
			return 0, false
		}
		var ready, ofSet int32
		for _, e := range s.Endpoints {
			if e.Conditions.Ready != nil && !*e.Conditions.Ready {
				continue
			}
			ready++
			// A pod of a set is named <release>-<revision>-<hash>-<random>, of a workload in place without the revision.
			if strings.Count(e.TargetRef.Name, "-") == 3 {
				ofSet++
			}
		}
		if ready == 0 {
			return -1, true
		}
		return 100 * ofSet / ready, true
	}, func() client.Object {
		var list discoveryv1.EndpointSliceList
		if err := w.client.List(w.t.Context(), &list, client.InNamespace(w.namespace), client.MatchingLabels{discoveryv1.LabelServiceName: w.releaseName}); err != nil || len(list.Items) != 1 {
			w.t.Fatalf("%d slices: %v", len(list.Items), err)
		}
		return &list.Items[0]
	})
}
