package main

import (
	"context"
	"encoding/json"
	"fmt"
	"io"
	"sync"

	apierrors "k8s.io/apimachinery/pkg/api/errors"
	metav1 "k8s.io/apimachinery/pkg/apis/meta/v1"
	"k8s.io/apimachinery/pkg/types"
	toolscache "k8s.io/client-go/tools/cache"
	"sigs.k8s.io/controller-runtime/pkg/cache"
	"sigs.k8s.io/controller-runtime/pkg/client"
	gatewayv1 "sigs.k8s.io/gateway-api/apis/v1"
)

// gateway stands in for one: it says of every generation of a route that it is accepted, as soon
// as it sees it, and carries no requests. The one that the local cluster has works out all routes
// anew with each change of one, which with thousands of them is most of the machine.
type gateway struct {
	client client.Client
	log    io.Writer
	work   chan *gatewayv1.HTTPRoute
	wg     sync.WaitGroup
}

// accepters is how many routes are answered for at once.
const accepters = 8

// waitingRoutes is how many may wait.
const waitingRoutes = 100_000

func startGateway(ctx context.Context, c client.Client, informers cache.Cache, log io.Writer) (*gateway, error) {
	g := &gateway{client: c, log: log, work: make(chan *gatewayv1.HTTPRoute, waitingRoutes)}
	informer, err := informers.GetInformer(ctx, &gatewayv1.HTTPRoute{})
	if err != nil {
		return nil, fmt.Errorf("watching routes: %w", err)
	}
	see := func(o any) {
		if route, ok := o.(*gatewayv1.HTTPRoute); ok && !accepted(route) {
			g.work <- route
		}
	}
	if _, err := informer.AddEventHandler(toolscache.ResourceEventHandlerFuncs{AddFunc: see, UpdateFunc: func(_, o any) { see(o) }}); err != nil {
		return nil, fmt.Errorf("watching routes: %w", err)
	}
	for range accepters {
		g.wg.Go(func() {
			for {
				select {
				case <-ctx.Done():
					return
				case route := <-g.work:
					if err := g.accept(ctx, route); err != nil && ctx.Err() == nil {
						_, _ = fmt.Fprintf(g.log, "accepting route %s: %v\n", route.Name, err)
					}
				}
			}
		})
	}
	return g, nil
}

// accepted says whether the route's newest generation was answered for.
func accepted(route *gatewayv1.HTTPRoute) bool {
	for _, p := range route.Status.Parents {
		for _, c := range p.Conditions {
			if c.ObservedGeneration == route.Generation {
				return true
			}
		}
	}
	return false
}

// accept answers for every parent of the route. A newer generation is answered for when it is seen.
func (g *gateway) accept(ctx context.Context, route *gatewayv1.HTTPRoute) error {
	var status gatewayv1.HTTPRouteStatus
	for _, parent := range route.Spec.ParentRefs {
		answer := gatewayv1.RouteParentStatus{ParentRef: parent, ControllerName: "tidegate.test/bench"}
		for _, kind := range []gatewayv1.RouteConditionType{gatewayv1.RouteConditionAccepted, gatewayv1.RouteConditionResolvedRefs} {
			answer.Conditions = append(answer.Conditions, metav1.Condition{
				Type: string(kind), Status: metav1.ConditionTrue, Reason: string(kind), ObservedGeneration: route.Generation, LastTransitionTime: metav1.Now(),
			})
		}
		status.Parents = append(status.Parents, answer)
	}
	patch, err := json.Marshal(map[string]any{"status": status})
	if err != nil {
		return fmt.Errorf("encoding the status: %w", err)
	}
	key := &gatewayv1.HTTPRoute{ObjectMeta: metav1.ObjectMeta{Namespace: route.Namespace, Name: route.Name}}
	err = g.client.Status().Patch(ctx, key, client.RawPatch(types.MergePatchType, patch))
	if err != nil && !apierrors.IsNotFound(err) {
		return fmt.Errorf("writing the status: %w", err)
	}
	return nil
}
