package controller

import (
	"slices"
	"testing"

	"k8s.io/apimachinery/pkg/api/meta"
	"k8s.io/apimachinery/pkg/runtime"
	"k8s.io/apimachinery/pkg/runtime/schema"
	"sigs.k8s.io/controller-runtime/pkg/client/apiutil"
	gatewayv1 "sigs.k8s.io/gateway-api/apis/v1"

	"tidegate.io/tidegate/rollout/manifest"
	"tidegate.io/tidegate/schemas/v1alpha1"
)

func TestInstalledRoutes(t *testing.T) {
	t.Parallel()
	scheme := runtime.NewScheme()
	if err := gatewayv1.Install(scheme); err != nil {
		t.Fatal(err)
	}
	kindOf := func(obj runtime.Object) (schema.GroupVersionKind, error) { return apiutil.GVKForObject(obj, scheme) }
	http, grpc := manifest.Kind(v1alpha1.RouterHTTPRoute), manifest.Kind(v1alpha1.RouterGRPCRoute)
	istio := manifest.Kind(v1alpha1.RouterVirtualService)
	for name, c := range map[string]struct{ has, want []schema.GroupVersionKind }{
		"of a cluster without any none is watched":       {nil, nil},
		"of a cluster with the Gateway API its routes":   {[]schema.GroupVersionKind{http, grpc}, []schema.GroupVersionKind{http, grpc}},
		"of an older Gateway API what it has":            {[]schema.GroupVersionKind{http}, []schema.GroupVersionKind{http}},
		"of a cluster with Istio alone a VirtualService": {[]schema.GroupVersionKind{istio}, []schema.GroupVersionKind{istio}},
		"of an Istio with other versions alone none": {
			[]schema.GroupVersionKind{{Group: istio.Group, Version: "v1alpha3", Kind: istio.Kind}}, nil,
		},
	} {
		t.Run(name, func(t *testing.T) {
			t.Parallel()
			mapper := meta.NewDefaultRESTMapper(nil)
			for _, gvk := range c.has {
				mapper.Add(gvk, meta.RESTScopeNamespace)
			}
			kinds, err := installedRoutes(mapper, kindOf)
			if err != nil {
				t.Fatal(err)
			}
			var got []schema.GroupVersionKind
			for _, kind := range kinds {
				gvk, err := kindOf(kind)
				if err != nil {
					t.Fatal(err)
				}
				got = append(got, gvk)
			}
			if !slices.Equal(got, c.want) {
				t.Errorf("got %v, want %v", got, c.want)
			}
		})
	}
}
