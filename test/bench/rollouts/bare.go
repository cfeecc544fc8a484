package main

import (
	"context"
	"encoding/json"
	"fmt"
	"sync"
	"time"

	appsv1 "k8s.io/api/apps/v1"
	corev1 "k8s.io/api/core/v1"
	"k8s.io/apimachinery/pkg/api/resource"
	metav1 "k8s.io/apimachinery/pkg/apis/meta/v1"
	"k8s.io/apimachinery/pkg/types"
	"sigs.k8s.io/controller-runtime/pkg/cache"
	"sigs.k8s.io/controller-runtime/pkg/client"
	gatewayv1 "sigs.k8s.io/gateway-api/apis/v1"
)

// bareNamespace has what is written without Tidegate.
const bareNamespace = "bare"

// bare is the limit that this machine sets: what a canary of the bench comes to in the cluster,
// written by a client that decides nothing, records nothing and needs no second look. It makes the
// Service and the Deployment of the new set, waits for its pods, has the route lead half of the
// requests there and then all, waits each time until that is accepted, and deletes the old set.
type bare struct {
	client   client.Client
	cache    client.Reader
	replicas int32
	// made are the versions that were made of each, from 0.
	made sync.Map
}

func newBare(ctx context.Context, c client.Client, informers cache.Cache, replicas int) (*bare, error) {
	if _, err := informers.GetInformer(ctx, &appsv1.Deployment{}); err != nil {
		return nil, fmt.Errorf("watching Deployments: %w", err)
	}
	return &bare{client: c, cache: informers, replicas: int32(replicas)}, nil
}

// prepare makes what n canaries begin with, once.
func (b *bare) prepare(ctx context.Context, n int) error {
	ns := &corev1.Namespace{ObjectMeta: metav1.ObjectMeta{Name: bareNamespace}}
	if err := b.client.Create(ctx, ns); err != nil {
		return fmt.Errorf("making namespace %s: %w", bareNamespace, err)
	}
	return inParallel(n, n, func(i int) error {
		if err := b.makeSet(ctx, releaseName(i), 0); err != nil {
			return err
		}
		route := &gatewayv1.HTTPRoute{ObjectMeta: metav1.ObjectMeta{Namespace: bareNamespace, Name: releaseName(i)}}
		route.Spec.ParentRefs = []gatewayv1.ParentReference{{Name: "local"}}
		route.Spec.Rules = b.rules(releaseName(i), 0, 0)
		if err := b.client.Create(ctx, route); err != nil {
			return fmt.Errorf("creating route %s: %w", route.Name, err)
		}
		return b.awaitRoute(ctx, releaseName(i), 1)
	})
}

// canaries moves n of them at once to the next version, and returns how long each took.
func (b *bare) canaries(ctx context.Context, n int) ([]time.Duration, error) {
	took := make([]time.Duration, n)
	began := time.Now()
	err := inParallel(n, n, func(i int) error {
		err := b.canary(ctx, releaseName(i))
		took[i] = time.Since(began)
		return err
	})
	return took, err
}

func (b *bare) canary(ctx context.Context, name string) error {
	before, _ := b.made.LoadOrStore(name, 0)
	version, _ := before.(int)
	if err := b.makeSet(ctx, name, version+1); err != nil {
		return err
	}
	for _, weight := range []int32{50, 100} {
		if err := b.lead(ctx, name, version, weight); err != nil {
			return err
		}
	}
	b.made.Store(name, version+1)
	old := metav1.ObjectMeta{Namespace: bareNamespace, Name: setName(name, version)}
	for _, o := range []client.Object{&appsv1.Deployment{ObjectMeta: old}, &corev1.Service{ObjectMeta: old}} {
		if err := b.client.Delete(ctx, o, client.PropagationPolicy(metav1.DeletePropagationBackground)); err != nil {
			return fmt.Errorf("deleting %T %s: %w", o, old.Name, err)
		}
	}
	return nil
}

func setName(name string, version int) string { return fmt.Sprintf("%s-v%d", name, version) }

func (b *bare) makeSet(ctx context.Context, name string, version int) error {
	meta := metav1.ObjectMeta{Namespace: bareNamespace, Name: setName(name, version)}
	labels := map[string]string{"app": meta.Name}
	service := &corev1.Service{ObjectMeta: meta, Spec: corev1.ServiceSpec{
		ClusterIP: corev1.ClusterIPNone, Selector: labels, Ports: []corev1.ServicePort{{Port: 80}},
	}}
	deployment := &appsv1.Deployment{ObjectMeta: meta, Spec: appsv1.DeploymentSpec{
		Replicas: &b.replicas, Selector: &metav1.LabelSelector{MatchLabels: labels},
		Template: corev1.PodTemplateSpec{ObjectMeta: metav1.ObjectMeta{Labels: labels}, Spec: corev1.PodSpec{
			Containers: []corev1.Container{{Name: "app", Image: "app:v0"}},
		}},
	}}
	spec := &deployment.Spec.Template.Spec
	spec.TerminationGracePeriodSeconds = new(int64)
	spec.Containers[0].Resources.Requests = corev1.ResourceList{
		corev1.ResourceCPU: resource.MustParse("1m"), corev1.ResourceMemory: resource.MustParse("1Mi"),
	}
	for _, o := range []client.Object{service, deployment} {
		if err := b.client.Create(ctx, o); err != nil {
			return fmt.Errorf("creating %T %s: %w", o, meta.Name, err)
		}
	}
	return await(ctx, "the pods of "+meta.Name, time.Minute, func() (bool, error) {
		var d appsv1.Deployment
		err := b.cache.Get(ctx, client.ObjectKeyFromObject(deployment), &d)
		return err == nil && d.Status.AvailableReplicas >= b.replicas, client.IgnoreNotFound(err)
	})
}

// lead has the route of name lead so many percent of the requests to the version after one.
func (b *bare) lead(ctx context.Context, name string, version int, weight int32) error {
	route := &gatewayv1.HTTPRoute{ObjectMeta: metav1.ObjectMeta{Namespace: bareNamespace, Name: name}}
	if err := b.cache.Get(ctx, client.ObjectKeyFromObject(route), route); err != nil {
		return fmt.Errorf("reading route %s: %w", name, err)
	}
	route.Spec.Rules = b.rules(name, version, weight)
	patch, err := json.Marshal(map[string]any{"spec": map[string]any{"rules": route.Spec.Rules}})
	if err != nil {
		return fmt.Errorf("encoding route %s: %w", name, err)
	}
	if err := b.client.Patch(ctx, route, client.RawPatch(types.MergePatchType, patch)); err != nil {
		return fmt.Errorf("writing route %s: %w", name, err)
	}
	return b.awaitRoute(ctx, name, route.Generation)
}

func (b *bare) awaitRoute(ctx context.Context, name string, generation int64) error {
	return await(ctx, "route "+name+" to be accepted", time.Minute, func() (bool, error) {
		var route gatewayv1.HTTPRoute
		err := b.cache.Get(ctx, types.NamespacedName{Namespace: bareNamespace, Name: name}, &route)
		return err == nil && route.Generation >= generation && accepted(&route), client.IgnoreNotFound(err)
	})
}

func (b *bare) rules(name string, version int, weight int32) []gatewayv1.HTTPRouteRule {
	to := func(version int, weight int32) gatewayv1.HTTPBackendRef {
		port := gatewayv1.PortNumber(80)
		return gatewayv1.HTTPBackendRef{BackendRef: gatewayv1.BackendRef{
			BackendObjectReference: gatewayv1.BackendObjectReference{Name: gatewayv1.ObjectName(setName(name, version)), Port: &port},
			Weight:                 &weight,
		}}
	}
	return []gatewayv1.HTTPRouteRule{{BackendRefs: []gatewayv1.HTTPBackendRef{to(version, 100-weight), to(version+1, weight)}}}
}
