package eval

import (
	"slices"
	"strings"

	metav1 "k8s.io/apimachinery/pkg/apis/meta/v1"
	"k8s.io/apimachinery/pkg/runtime"

	"tidegate.io/tidegate/schemas/v1alpha1"
)

// Source is the policy as written, with its defaults.
func (p *Policy) Source() Source { return p.source }

// Policies are those of the set, each once, in the order of names.
func (s *Set) Policies() []*Policy {
	seen := map[*Policy]bool{}
	for _, ix := range s.moments {
		for _, p := range ix.other {
			seen[p] = true
		}
		for _, list := range ix.exact {
			for _, p := range list {
				seen[p] = true
			}
		}
	}
	out := make([]*Policy, 0, len(seen))
	for p := range seen {
		out = append(out, p)
	}
	slices.SortFunc(out, func(a, b *Policy) int { return strings.Compare(a.source.Name, b.source.Name) })
	return out
}

// Holding returns another store that compiles as s does, in which the set is in force: to
// ask once more what was asked before.
func (s *Store) Holding(set *Set) *Store {
	out := s.compiler.NewStore()
	for _, p := range set.Policies() {
		out.policies[p.source.Name] = p
	}
	out.set.Store(set)
	return out
}

// DeployPolicy is the object that FromDeployPolicy makes the source of.
func (s Source) DeployPolicy() *v1alpha1.DeployPolicy {
	p := &v1alpha1.DeployPolicy{
		TypeMeta:   metav1.TypeMeta{APIVersion: v1alpha1.GroupVersion.String(), Kind: "DeployPolicy"},
		ObjectMeta: metav1.ObjectMeta{Name: s.Name},
		Spec: v1alpha1.DeployPolicySpec{
			Rego: s.Rego, RegoVersion: s.RegoVersion, Libs: s.Libs, Cue: s.CUE,
			Enforcement: s.Enforcement, EnforcementIn: s.EnforcementIn, At: s.At, Match: s.Match,
		},
	}
	if len(s.Parameters) > 0 {
		p.Spec.Parameters = &runtime.RawExtension{Raw: s.Parameters}
	}
	if len(s.ParametersSchema) > 0 {
		p.Spec.ParametersSchema = &runtime.RawExtension{Raw: s.ParametersSchema}
	}
	if len(s.Tests.Rego)+len(s.Tests.Cases) > 0 {
		p.Spec.Tests = &s.Tests
	}
	return p
}
