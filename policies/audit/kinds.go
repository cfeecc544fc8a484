package audit

import (
	"slices"
	"strings"

	"k8s.io/apimachinery/pkg/runtime/schema"

	"tidegate.io/tidegate/schemas/v1alpha1"
)

// Kinds are those that the DeployPolicies name and that objects can be of, sorted. A policy
// without kinds, or with a wildcard, is asked about what is listed for other reasons: any says
// that there is one.
func Kinds(policies []v1alpha1.DeployPolicy) (kinds []schema.GroupKind, anyKind bool) {
	for i := range policies {
		at, match := policies[i].Spec.At, policies[i].Spec.Match
		if len(at) > 0 && !slices.Contains(at, v1alpha1.AtAdmission) && !slices.Contains(at, v1alpha1.AtRelease) {
			continue
		}
		anyKind = anyKind || len(match.Kinds) == 0
		for _, k := range match.Kinds {
			for _, kind := range k.Kinds {
				if k.Group == "*" || kind == "*" {
					anyKind = true
					continue
				}
				if k.Group != v1alpha1.GroupVersion.Group {
					kinds = append(kinds, schema.GroupKind{Group: k.Group, Kind: kind})
				}
			}
		}
	}
	return Unique(kinds), anyKind
}

// Unique are the kinds, each once, sorted by group and kind.
func Unique(kinds []schema.GroupKind) []schema.GroupKind {
	slices.SortFunc(kinds, func(a, b schema.GroupKind) int {
		if c := strings.Compare(a.Group, b.Group); c != 0 {
			return c
		}
		return strings.Compare(a.Kind, b.Kind)
	})
	return slices.Compact(kinds)
}
