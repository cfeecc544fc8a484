package controller

import (
	"fmt"

	"k8s.io/apimachinery/pkg/api/meta"
	"k8s.io/apimachinery/pkg/apis/meta/v1/unstructured"
	"k8s.io/apimachinery/pkg/runtime"
	"k8s.io/apimachinery/pkg/runtime/schema"
	"sigs.k8s.io/controller-runtime/pkg/client"
	gatewayv1 "sigs.k8s.io/gateway-api/apis/v1"

	"tidegate.io/tidegate/rollout/manifest"
	"tidegate.io/tidegate/schemas/v1alpha1"
)

// routeKinds are the kinds of objects with weights. A plain Service is watched anyhow.
func routeKinds() []client.Object {
	virtual := &unstructured.Unstructured{}
	virtual.SetGroupVersionKind(manifest.Kind(v1alpha1.RouterVirtualService))
	return []client.Object{&gatewayv1.HTTPRoute{}, &gatewayv1.GRPCRoute{}, virtual}
}

// installedRoutes returns those of routeKinds that the cluster has at this moment. Of the others
// nothing could be watched; a Rollout that needs one is told when its route is written.
func installedRoutes(mapper meta.RESTMapper, kindOf func(runtime.Object) (schema.GroupVersionKind, error)) ([]client.Object, error) {
	var out []client.Object
	for _, kind := range routeKinds() {
		gvk, err := kindOf(kind)
		if err != nil {
			return nil, fmt.Errorf("finding the kind of %T: %w", kind, err)
		}
		switch _, err := mapper.RESTMapping(gvk.GroupKind(), gvk.Version); {
		case meta.IsNoMatchError(err):
			continue
		case err != nil:
			return nil, fmt.Errorf("asking whether the cluster has %s: %w", gvk.Kind, err)
		}
		out = append(out, kind)
	}
	return out, nil
}
