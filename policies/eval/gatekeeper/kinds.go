package gatekeeper

import "k8s.io/apimachinery/pkg/runtime/schema"

// Kinds are those that constraints list, in no order; anyKind says that a constraint matches by
// a wildcard, or has no kinds.
func (s *Set) Kinds() (kinds []schema.GroupKind, anyKind bool) {
	for gk := range s.exact {
		kinds = append(kinds, gk)
	}
	return kinds, len(s.other) > 0
}
