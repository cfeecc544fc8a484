package main

import (
	"testing"

	corev1 "k8s.io/api/core/v1"
	"k8s.io/apimachinery/pkg/api/meta"
	"k8s.io/apimachinery/pkg/runtime/schema"
	"k8s.io/client-go/rest"
)

func TestTheCacheBeginsWithoutKindsThatAreNotInstalled(t *testing.T) {
	t.Parallel()
	s, err := scheme()
	if err != nil {
		t.Fatal(err)
	}
	// Of what is cached the cluster has all that is Kubernetes' own, and no routes.
	mapper := meta.NewDefaultRESTMapper(nil)
	for gvk := range s.AllKnownTypes() {
		if gvk.Group == "" || gvk.Group == "apps" || gvk.Group == "batch" || gvk.Group == "policy" {
			mapper.Add(gvk, meta.RESTScopeNamespace)
		}
	}
	if _, err := mapper.RESTMapping(schema.GroupKind{Kind: "Secret"}, corev1.SchemeGroupVersion.Version); err != nil {
		t.Fatal(err)
	}
	opts := cacheOptions(parse(t))
	before := len(opts.ByObject)
	opts.Scheme, opts.Mapper = s, mapper
	if _, err := newCache(&rest.Config{Host: "https://localhost:1"}, opts); err != nil {
		t.Errorf("wanted a cache of what there is: %v", err)
	}
	if len(opts.ByObject) != before {
		t.Error("the options that were given have changed")
	}
}
