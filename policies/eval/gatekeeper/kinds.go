package gatekeeper

import (
	"cmp"
	"slices"

	"k8s.io/apimachinery/pkg/runtime/schema"
)

// Keys are the constraints, in order.
func (s *Set) Keys() []Key {
	out := make([]Key, 0, len(s.all))
	for _, c := range s.all {
		out = append(out, c.key)
	}
	slices.SortFunc(out, func(a, b Key) int { return cmp.Or(cmp.Compare(a.Kind, b.Kind), cmp.Compare(a.Name, b.Name)) })
	return out
}

// Kinds are those that constraints list, in no order; anyKind says that a constraint matches by
// a wildcard, or has no kinds.
func (s *Set) Kinds() (kinds []schema.GroupKind, anyKind bool) {
	for gk := range s.exact {
		kinds = append(kinds, gk)
	}
	return kinds, len(s.other) > 0
}
