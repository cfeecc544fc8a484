package render

import (
	"reflect"

	"tidegate.io/tidegate/schemas/render/internal/manifest"
)

// SameButSizes says whether two results are one and the same thing in different sizes: the pods,
// what is around them and the way they come into service are equal, and nothing but numbers of
// replicas and the bounds of autoscalers may differ.
func SameButSizes(a, b *Result) bool {
	if a.Revision != b.Revision || a.Router != b.Router || !reflect.DeepEqual(a.Strategy, b.Strategy) {
		return false
	}
	as, bs := a.Objects(), b.Objects()
	if len(as) != len(bs) {
		return false
	}
	for i := range as {
		kind := as[i].GetKind()
		if !reflect.DeepEqual(manifest.WithoutSizes(kind, as[i].Object), manifest.WithoutSizes(kind, bs[i].Object)) {
			return false
		}
	}
	return true
}
