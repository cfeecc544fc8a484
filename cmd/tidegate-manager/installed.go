package main

import (
	"maps"

	"k8s.io/apimachinery/pkg/api/meta"
	"k8s.io/client-go/rest"
	"sigs.k8s.io/controller-runtime/pkg/cache"
	"sigs.k8s.io/controller-runtime/pkg/client"
	"sigs.k8s.io/controller-runtime/pkg/client/apiutil"
)

// newCache makes the cache without what is said of kinds that the cluster does not serve, such as
// those of Istio where there is none: the cache would refuse to begin.
func newCache(config *rest.Config, opts cache.Options) (cache.Cache, error) {
	opts.ByObject = maps.Clone(opts.ByObject)
	maps.DeleteFunc(opts.ByObject, func(o client.Object, _ cache.ByObject) bool {
		_, err := apiutil.IsObjectNamespaced(o, opts.Scheme, opts.Mapper)
		return meta.IsNoMatchError(err)
	})
	return cache.New(config, opts) //nolint:wrapcheck // as the manager has it
}
