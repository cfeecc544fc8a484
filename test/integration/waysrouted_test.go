package integration

import (
	"strings"
	"testing"
	"time"

	appsv1 "k8s.io/api/apps/v1"
	apierrors "k8s.io/apimachinery/pkg/api/errors"
	"sigs.k8s.io/controller-runtime/pkg/client"
	gatewayv1 "sigs.k8s.io/gateway-api/apis/v1"

	"tidegate.io/tidegate/rollout/plan"
	"tidegate.io/tidegate/schemas/v1alpha1"
	"tidegate.io/tidegate/test/cluster/traffic/load"
)

const (
	routeTo = `
objects: route: {
	apiVersion: "gateway.networking.k8s.io/v1", kind: "HTTPRoute", metadata: name: context.name
	spec: {parentRefs: [{name: "edge"}], hostnames: ["shop.example"], rules: [{backendRefs: [{name: BACKEND, port: 80}]}]}
}
`
	// routedStrategy gives the sets a share, and waits.
	routedStrategy = `type: "canary", steps: [{setWeight: 25}, {pause: approval: true}, {setWeight: 100}]`
)

// placeRouted and setsRouted are templates of a workload in place and of sets, each behind a route.
var (
	placeRouted = placeTemplate + strings.Replace(routeTo, "BACKEND", "context.name", 1)
	setsRouted  = strings.Replace(plainTemplate, `kind: "Service", metadata: name: context.name`, `kind: "Service", metadata: name: _id`, 1) +
		strings.Replace(routeTo, "BACKEND", "_id", 1)
)

// TestWaysOfServingBehindARoute changes a Release between a workload in place and sets behind an HTTPRoute that
// either has, with real requests by the gateway, and loses none.
func TestWaysOfServingBehindARoute(t *testing.T) {
	gate := newTraffic(t, newRoads(t))
	w := &ways{staged: newStaged(t, gate.world, placeRouted)}
	w.strategy = routedStrategy
	w.start()
	w.apply("shop/cart:v1", 3)
	w.awaitPhase(v1alpha1.ReleaseServing)
	var err error
	w.recorder, err = load.Run(t.Context(), load.Options{URL: gate.proxy.URL + "/", Host: "shop.example", RPS: 100})
	if err != nil {
		t.Fatal(err)
	}
	w.answers("shop/cart:v1")
	from := w.recorder.Now()

	w.use(setsRouted)
	w.apply("shop/cart:v2", 3)
	w.awaitReason(2, plan.ReasonHoldApproval)
	w.answers("shop/cart:v1", "shop/cart:v2")
	w.restart()
	w.command(2, v1alpha1.CommandAbort, 0)
	w.awaitPhase(v1alpha1.ReleaseAborted)
	w.gone("shop/cart:v2", w.setOf("shop/cart:v2"))
	w.answers("shop/cart:v1")

	w.apply("shop/cart:v3", 3)
	w.awaitReason(3, plan.ReasonHoldApproval)
	w.command(3, v1alpha1.CommandApprove, 2)
	w.awaitReason(3, plan.ReasonDraining)
	w.restart()
	w.awaitPhase(v1alpha1.ReleaseServing)
	w.gone("shop/cart:v1", w.releaseName)
	w.answers("shop/cart:v3")
	w.rests()

	w.use(placeRouted)
	w.apply("shop/cart:v4", 3)
	w.awaitReason(4, plan.ReasonHoldApproval)
	w.answers("shop/cart:v3")
	w.command(4, v1alpha1.CommandAbort, 0)
	w.awaitPhase(v1alpha1.ReleaseAborted)
	w.gone("shop/cart:v4", w.releaseName)

	w.apply("shop/cart:v5", 3)
	w.awaitReason(5, plan.ReasonHoldApproval)
	w.command(5, v1alpha1.CommandApprove, 1)
	w.awaitPhase(v1alpha1.ReleaseServing)
	w.gone("shop/cart:v3", w.setOf("shop/cart:v3"))
	w.answers("shop/cart:v5")
	w.rests()
	w.apply("shop/cart:v6", 3)
	w.awaitReason(6, plan.ReasonHoldApproval)
	w.command(6, v1alpha1.CommandApprove, 1)
	w.awaitPhase(v1alpha1.ReleaseServing)
	w.selects("")
	w.answers("shop/cart:v6")

	w.command(3, v1alpha1.CommandRollBack, 0)
	w.awaitReason(7, plan.ReasonHoldApproval)
	w.command(7, v1alpha1.CommandApprove, 2)
	w.awaitRestored("shop/cart:v3")
	w.answers("shop/cart:v3")
	if all := w.recorder.Since(from); all.Lost+all.AppErrors > 0 {
		t.Errorf("wanted no lost request, found %s", all)
	} else {
		t.Log(all)
	}
}

// TestWaysOfServingBehindARouteAtAnyWrite lets managers die at each of their writes while a Release changes between
// a workload in place that has no route and sets that have one.
func TestWaysOfServingBehindARouteAtAnyWrite(t *testing.T) {
	cluster := controlPlane(t)
	for name, c := range map[string]struct {
		from, to string
		workload func(*staged) string
		// routed says whether there is a route in the end.
		routed bool
	}{
		"a route comes into being": {placeTemplate, setsRouted, func(w *staged) string { return w.setOf("v2") }, true},
		"a route goes last":        {setsRouted, placeTemplate, func(w *staged) string { return w.releaseName }, false},
		"a route stays":            {setsRouted, placeRouted, func(w *staged) string { return w.releaseName }, true},
	} {
		t.Run(name, func(t *testing.T) {
			t.Parallel()
			unattended := strings.NewReplacer(`{pause: approval: true}, `, "")
			w := &ways{staged: newStaged(t, newWorld(t, cluster.RESTConfig()), unattended.Replace(c.from))}
			w.strategy = `type: "blueGreen", scaleDownDelay: "500ms", steps: [{setWeight: 100}]`
			w.start()
			w.apply("v1", 3)
			w.awaitPhase(v1alpha1.ReleaseServing)
			w.quiet(time.Second)
			w.kill()
			w.use(unattended.Replace(c.to))
			w.apply("v2", 3)
			deaths := w.diesAtEachWrite(w.releaseName + "-2")
			w.start()
			w.awaitPhase(v1alpha1.ReleaseServing)
			w.quiet(time.Second)
			var left appsv1.DeploymentList
			if err := w.client.List(t.Context(), &left, client.InNamespace(w.namespace)); err != nil {
				t.Fatal(err)
			}
			if len(left.Items) != 1 || left.Items[0].Name != c.workload(w.staged) || left.Items[0].Status.AvailableReplicas != 3 {
				t.Errorf("there are %d workloads, the first is %s with %d pods", len(left.Items), left.Items[0].Name, left.Items[0].Status.AvailableReplicas)
			}
			if c.routed {
				if to := w.route().Spec.Rules[0].BackendRefs; len(to) != 1 || string(to[0].Name) != c.workload(w.staged) {
					t.Errorf("the route leads to %+v, want %s", to, c.workload(w.staged))
				}
			} else {
				w.await("the route is gone", func() bool {
					return apierrors.IsNotFound(w.client.Get(t.Context(), client.ObjectKey{Namespace: w.namespace, Name: w.releaseName}, &gatewayv1.HTTPRoute{}))
				})
				w.rests()
			}
			t.Logf("the manager died %d times", deaths)
			if deaths < 20 {
				t.Errorf("the manager died %d times, too few to tell anything", deaths)
			}
		})
	}
}
