package eval

import (
	"cmp"
	"context"
	"fmt"
	"slices"
	"strings"
	"sync"
	"sync/atomic"

	"tidegate.io/tidegate/schemas/v1alpha1"
)

// Question is one object that the policies of a Set are asked about.
type Question struct {
	Moment    v1alpha1.PolicyMoment
	Group     string
	Kind      string
	Namespace string
	// Operation is CREATE, UPDATE, DELETE or CONNECT; empty at promotion, which is none of
	// them and which no list of operations leaves out.
	Operation string
	Input     Input
}

// Verdict is what the policies of a Set say about a question, each list in the order of
// policy names.
type Verdict struct {
	// Denials refuse the request.
	Denials []Violation
	// Warnings are shown to whoever made it.
	Warnings []Violation
	// Dryrun are only counted and logged.
	Dryrun []Violation
}

// Add appends another verdict.
func (v *Verdict) Add(o Verdict) {
	v.Denials = append(v.Denials, o.Denials...)
	v.Warnings = append(v.Warnings, o.Warnings...)
	v.Dryrun = append(v.Dryrun, o.Dryrun...)
}

type groupKind struct{ group, kind string }

// index holds policies by the kind that they match, so that the ones that cannot match
// cost nothing.
type index struct {
	exact map[groupKind][]*Policy
	// other match by a wildcard, or have no kinds.
	other []*Policy
}

// Set is a collection of policies. It never changes and may be used by many at once.
type Set struct {
	moments map[v1alpha1.PolicyMoment]*index
	size    int
}

// NewSet returns the set of the policies.
func NewSet(policies ...*Policy) *Set {
	sorted := slices.SortedFunc(slices.Values(policies), func(a, b *Policy) int {
		return strings.Compare(a.source.Name, b.source.Name)
	})
	s := &Set{moments: map[v1alpha1.PolicyMoment]*index{}, size: len(policies)}
	for _, p := range sorted {
		for _, m := range p.source.At {
			ix := s.moments[m]
			if ix == nil {
				ix = &index{exact: map[groupKind][]*Policy{}}
				s.moments[m] = ix
			}
			ix.add(p)
		}
	}
	return s
}

func (ix *index) add(p *Policy) {
	kinds := p.source.Match.Kinds
	if len(kinds) == 0 {
		ix.other = append(ix.other, p)
		return
	}
	seen := map[groupKind]bool{}
	for _, k := range kinds {
		if k.Group == "*" || slices.Contains(k.Kinds, "*") {
			ix.other = append(ix.other, p)
			return
		}
		for _, kind := range k.Kinds {
			seen[groupKind{k.Group, kind}] = true
		}
	}
	for gk := range seen {
		ix.exact[gk] = append(ix.exact[gk], p)
	}
}

// Len is the number of policies.
func (s *Set) Len() int { return s.size }

// Asks says whether any policy is asked at the moment.
func (s *Set) Asks(m v1alpha1.PolicyMoment) bool { return s.moments[m] != nil }

// Judge asks every policy that matches. A policy that cannot be evaluated, because ctx has
// ended or for whatever reason, counts as a violation of it, with code TG-POLICY-ERROR.
// Those that can refuse are asked first, so that no other takes their time.
func (s *Set) Judge(ctx context.Context, q Question) Verdict {
	var v Verdict
	for _, p := range s.matching(q) {
		findings, err := p.Eval(ctx, q.Input)
		if err != nil {
			findings = Findings{Denials: []Violation{{
				Policy:  p.source.Name,
				Code:    ReasonPolicyError,
				Message: fmt.Sprintf("wanted a verdict of policy %q, found: %v", p.source.Name, err),
				Fix:     fmt.Sprintf("try again; if it persists, ask the platform team to look at: kubectl describe deploypolicy %s", p.source.Name),
			}}}
		}
		switch p.source.Enforcement {
		case v1alpha1.EnforcementDryrun:
			v.Dryrun = append(append(v.Dryrun, findings.Denials...), findings.Warnings...)
		case v1alpha1.EnforcementWarn:
			v.Warnings = append(append(v.Warnings, findings.Denials...), findings.Warnings...)
		case v1alpha1.EnforcementDeny:
			fallthrough
		default:
			v.Denials = append(v.Denials, findings.Denials...)
			v.Warnings = append(v.Warnings, findings.Warnings...)
		}
	}
	return v
}

func (s *Set) matching(q Question) []*Policy {
	ix := s.moments[q.Moment]
	if ix == nil {
		return nil
	}
	exact := ix.exact[groupKind{q.Group, q.Kind}]
	out := make([]*Policy, 0, len(exact)+len(ix.other))
	for _, p := range exact {
		if p.matches(q) {
			out = append(out, p)
		}
	}
	for _, p := range ix.other {
		if p.matches(q) {
			out = append(out, p)
		}
	}
	slices.SortFunc(out, func(a, b *Policy) int {
		return cmp.Or(cmp.Compare(a.order(), b.order()), strings.Compare(a.source.Name, b.source.Name))
	})
	return out
}

// order is when a policy is asked, among others.
func (p *Policy) order() int {
	return slices.Index([]v1alpha1.Enforcement{v1alpha1.EnforcementWarn, v1alpha1.EnforcementDryrun}, p.source.Enforcement)
}

func (p *Policy) matches(q Question) bool {
	m := p.source.Match
	return (len(m.Kinds) == 0 || slices.ContainsFunc(m.Kinds, func(k v1alpha1.KindMatch) bool {
		return (k.Group == "*" || k.Group == q.Group) &&
			(slices.Contains(k.Kinds, "*") || slices.Contains(k.Kinds, q.Kind))
	})) &&
		(len(m.Namespaces) == 0 || slices.ContainsFunc(m.Namespaces, func(w string) bool {
			return wildcard(w, q.Namespace)
		})) &&
		(len(m.Operations) == 0 || q.Operation == "" || slices.Contains(m.Operations, "*") || slices.Contains(m.Operations, q.Operation))
}

// wildcard matches a name against a pattern that may begin or end with *.
func wildcard(pattern, name string) bool {
	rest, suffix := strings.CutPrefix(pattern, "*")
	middle, prefix := strings.CutSuffix(rest, "*")
	switch {
	case suffix && prefix:
		return strings.Contains(name, middle)
	case suffix:
		return strings.HasSuffix(name, rest)
	case prefix:
		return strings.HasPrefix(name, middle)
	default:
		return pattern == name
	}
}

// Store holds the Set in force. Readers never wait for writers, and a policy whose new
// version does not compile keeps its last good version.
type Store struct {
	mu       sync.Mutex
	policies map[string]*Policy
	set      atomic.Pointer[Set]
}

// NewStore returns a store without policies.
func NewStore() *Store {
	s := &Store{policies: map[string]*Policy{}}
	s.set.Store(NewSet())
	return s
}

// Set is the collection now in force.
func (s *Store) Set() *Set { return s.set.Load() }

// Put compiles a policy and puts it into force. When it does not compile the error is
// returned and the last good version stays in force; where there is none, a stand-in
// that answers with the error does, so that the policy's absence is not taken for
// consent.
func (s *Store) Put(source Source) error {
	p, err := Compile(source)
	s.mu.Lock()
	defer s.mu.Unlock()
	if err != nil {
		if last := s.policies[source.Name]; last != nil && last.broken == nil {
			return err
		}
		p = broken(source, err)
	}
	s.policies[source.Name] = p
	s.publish()
	return err
}

// Delete takes a policy out of force.
func (s *Store) Delete(name string) {
	s.mu.Lock()
	defer s.mu.Unlock()
	if _, ok := s.policies[name]; !ok {
		return
	}
	delete(s.policies, name)
	s.publish()
}

func (s *Store) publish() {
	list := make([]*Policy, 0, len(s.policies))
	for _, p := range s.policies {
		list = append(list, p)
	}
	s.set.Store(NewSet(list...))
}
