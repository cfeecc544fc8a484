package eval

import (
	"context"
	"errors"
	"fmt"
	"slices"
	"strings"
	"sync"
	"sync/atomic"
	"time"

	"github.com/open-policy-agent/opa/v1/ast"
	"k8s.io/apimachinery/pkg/labels"

	"tidegate.io/tidegate/policies/eval/budget"
	"tidegate.io/tidegate/policies/eval/sandbox"
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
	// NamespaceLabels are those of the namespace. Where they are nil, input.namespace says
	// them, and where there is none they are not known: then every selector matches.
	NamespaceLabels labels.Set
	// Template says which template's Release the object belongs to, empty for none. Where it
	// is nil, the input says it.
	Template func() (name string, known bool)
	// Input is what policies see. Where it is costly and perhaps not needed, Load makes it
	// instead: it is called at most once, and only when a policy's kinds, namespaces and
	// operations match. What it cannot load counts as a policy that cannot be evaluated.
	Input Input
	Load  func() (Input, error)
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
	// OverBudget names the policies that took more time or memory than one may. What that
	// leads to is in the other lists.
	OverBudget []string
}

// Add appends another verdict.
func (v *Verdict) Add(o Verdict) {
	v.Denials = append(v.Denials, o.Denials...)
	v.Warnings = append(v.Warnings, o.Warnings...)
	v.Dryrun = append(v.Dryrun, o.Dryrun...)
	v.OverBudget = append(v.OverBudget, o.OverBudget...)
}

type groupKind struct{ group, kind string }

// index holds policies by the kind that they match, so that the ones that cannot match
// cost nothing. Each list has every policy that could match, in the order of names.
type index struct {
	exact map[groupKind][]*Policy
	// other match by a wildcard, or have no kinds; they are in every list of exact too.
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
			if s.moments[m] == nil {
				s.moments[m] = newIndex(m, sorted)
			}
		}
	}
	return s
}

// newIndex is that of the policies, sorted by name, which are asked at a moment.
func newIndex(m v1alpha1.PolicyMoment, sorted []*Policy) *index {
	ix := &index{exact: map[groupKind][]*Policy{}}
	for _, p := range sorted {
		for _, gk := range p.exact() {
			ix.exact[gk] = nil
		}
	}
	for _, p := range sorted {
		if !slices.Contains(p.source.At, m) {
			continue
		}
		kinds := p.exact()
		if len(kinds) == 0 {
			ix.other = append(ix.other, p)
			for gk := range ix.exact {
				ix.exact[gk] = append(ix.exact[gk], p)
			}
			continue
		}
		for _, gk := range kinds {
			ix.exact[gk] = append(ix.exact[gk], p)
		}
	}
	return ix
}

// exact are the kinds that a policy is about, each once, or none where it has a wildcard
// or no kinds.
func (p *Policy) exact() []groupKind {
	var out []groupKind
	for _, k := range p.source.Match.Kinds {
		if k.Group == "*" || slices.Contains(k.Kinds, "*") {
			return nil
		}
		for _, kind := range k.Kinds {
			if gk := (groupKind{k.Group, kind}); !slices.Contains(out, gk) {
				out = append(out, gk)
			}
		}
	}
	return out
}

// Len is the number of policies.
func (s *Set) Len() int { return s.size }

// Asks says whether any policy is asked at the moment.
func (s *Set) Asks(m v1alpha1.PolicyMoment) bool { return s.moments[m] != nil }

// candidates are the policies that could match the question, as far as can be told
// without its input.
func (s *Set) candidates(q *Question) []*Policy {
	ix := s.moments[q.Moment]
	if ix == nil {
		return nil
	}
	list, ok := ix.exact[groupKind{q.Group, q.Kind}]
	if !ok {
		list = ix.other
	}
	var out []*Policy
	for _, p := range list {
		if p.match.outer(q) {
			if out == nil {
				out = make([]*Policy, 0, len(list))
			}
			out = append(out, p)
		}
	}
	return out
}

// Judge asks every policy that matches, each within its share of the time that ctx leaves.
// One that takes more counts as a violation of it, with code TG-POLICY-BUDGET, and so does
// one that cannot be evaluated for whatever other reason, with code TG-POLICY-ERROR.
// Those that can refuse are asked first, so that no other takes their time.
func (s *Set) Judge(ctx context.Context, q Question) Verdict {
	return s.judge(ctx, &q, nil)
}

// JudgeAll asks about several objects of one request, each within its share of the time. A
// policy that is over its budget for one of them is so for all that follow: its object may
// be one of hundreds.
func (s *Set) JudgeAll(ctx context.Context, questions ...Question) Verdict {
	var v Verdict
	over := map[*Policy]error{}
	for i := range questions {
		share, cancel := budget.Share(ctx, len(questions)-i-1, perQuestion)
		v.Add(s.judge(share, &questions[i], over))
		cancel()
	}
	slices.Sort(v.OverBudget)
	v.OverBudget = slices.Compact(v.OverBudget)
	return v
}

// perQuestion is the time that is kept for each object that waits, as long as there is
// enough.
const perQuestion = 20 * time.Millisecond

// judge is Judge. Over, if given, has the policies that are not asked any more, and why;
// those that go over their budget are added.
func (s *Set) judge(ctx context.Context, q *Question, over map[*Policy]error) Verdict {
	policies := s.candidates(q)
	if len(policies) == 0 {
		return Verdict{}
	}
	in, err := q.Input, error(nil)
	if in.object == nil && q.Load != nil {
		in, err = q.Load()
	}
	if err == nil {
		f := &facts{document: in.object}
		policies = slices.DeleteFunc(policies, func(p *Policy) bool { return !p.match.simple() && !p.match.inner(q, f) })
	}
	slices.SortStableFunc(policies, func(a, b *Policy) int { return order(a.enforcement(q.Namespace)) - order(b.enforcement(q.Namespace)) })

	outcomes := make([]budget.Outcome[Findings], len(policies))
	if err == nil {
		var known shared
		bare := sync.OnceValue(func() ast.Object { return in.with("parameters", ast.ObjectTerm()) })
		outcomes = judgeAll(ctx, q.Namespace, in, policies, over, func(policies []*Policy) []budget.Outcome[Findings] {
			return budget.Each(ctx, len(policies), 0, func(i int) *budget.Account { return policies[i].account },
				func(i int, step *budget.Step) (Findings, error) {
					p := policies[i]
					if err := over[p]; err != nil {
						return Findings{}, err
					}
					if p.broken == nil && isEmpty(p.parameters) {
						return p.evalSharing(step, bare(), &known)
					}
					return p.evalSharing(step, in.with("parameters", p.parameters), &known)
				})
		})
	}
	var v Verdict
	for i, p := range policies {
		found := outcomes[i].Value
		if failure := errors.Join(err, outcomes[i].Err); failure != nil {
			violation := p.failed(failure)
			if violation.Code == ReasonPolicyBudget {
				v.OverBudget = append(v.OverBudget, p.source.Name)
				if over != nil && over[p] == nil {
					over[p] = failure
				}
			}
			found = Findings{Denials: []Violation{violation}}
		}
		v.enforce(p.enforcement(q.Namespace), found)
	}
	return v
}

// enforce adds what a policy found to where it leads.
func (v *Verdict) enforce(e v1alpha1.Enforcement, found Findings) {
	switch e {
	case v1alpha1.EnforcementDryrun:
		v.Dryrun = append(append(v.Dryrun, found.Denials...), found.Warnings...)
	case v1alpha1.EnforcementWarn:
		v.Warnings = append(append(v.Warnings, found.Denials...), found.Warnings...)
	case v1alpha1.EnforcementDeny:
		fallthrough
	default:
		v.Denials = append(v.Denials, found.Denials...)
		v.Warnings = append(v.Warnings, found.Warnings...)
	}
}

func isEmpty(t *ast.Term) bool {
	object, ok := t.Value.(ast.Object)
	return ok && object.Len() == 0
}

// failed is the violation of a policy that could not be evaluated.
func (p *Policy) failed(err error) Violation {
	v := Violation{
		Policy:  p.source.Name,
		Code:    ReasonPolicyError,
		Message: fmt.Sprintf("wanted a verdict of policy %q, found: %v", p.source.Name, err),
		Fix:     fmt.Sprintf("try again; if it persists, ask the platform team to look at: kubectl describe deploypolicy %s", p.source.Name),
	}
	ended, _ := errors.AsType[*budget.Error](err)
	if (ended != nil && ended.Cause != budget.CauseCaller) || errors.Is(err, sandbox.ErrTooLarge) {
		v.Code = ReasonPolicyBudget
		v.Message = fmt.Sprintf("wanted a verdict of policy %q within its budget, found: %v", p.source.Name, err)
		v.Fix = fmt.Sprintf("make the object smaller if it is unusually large; else ask the platform team to look at: kubectl get deploypolicy %s -o yaml", p.source.Name)
	}
	v.Message = short(v.Message)
	return v
}

// enforcement is what a violation leads to in a namespace.
func (p *Policy) enforcement(namespace string) v1alpha1.Enforcement {
	for _, in := range p.source.EnforcementIn {
		if anyWildcard(in.Namespaces, namespace) {
			return in.Enforcement
		}
	}
	return p.source.Enforcement
}

// order is when a policy is asked, among others.
func order(e v1alpha1.Enforcement) int {
	return slices.Index([]v1alpha1.Enforcement{v1alpha1.EnforcementWarn, v1alpha1.EnforcementDryrun}, e)
}

// Store holds the Set in force. Readers never wait for writers, and a policy whose new
// version is broken keeps its last good version.
type Store struct {
	mu       sync.Mutex
	policies map[string]*Policy
	set      atomic.Pointer[Set]
	compiler Compiler
}

// NewStore returns a store without policies.
func NewStore() *Store { return Compiler{}.NewStore() }

// NewStore returns a store without policies, whose policies c compiles.
func (c Compiler) NewStore() *Store {
	s := &Store{policies: map[string]*Policy{}, compiler: c}
	s.set.Store(NewSet())
	return s
}

// Set is the collection now in force.
func (s *Store) Set() *Set { return s.set.Load() }

// Check finds out whether a policy could be put into force; see Compile.
func (s *Store) Check(ctx context.Context, source Source) error {
	_, err := s.compiler.Compile(ctx, source)
	return err
}

// Put compiles a policy, runs its tests, and puts it into force. When that fails the error
// is returned and the last good version stays in force; where there is none, a stand-in
// that answers with the error does, so that the policy's absence is not taken for
// consent.
func (s *Store) Put(source Source) error { return s.put(source, true) }

// PutNew is Put for a policy that has only its name in common with the one before it: no
// version of that one stays.
func (s *Store) PutNew(source Source) error { return s.put(source, false) }

func (s *Store) put(source Source, keep bool) error {
	p, err := s.compiler.Compile(context.Background(), source)
	s.mu.Lock()
	defer s.mu.Unlock()
	if err != nil {
		if last := s.policies[source.Name]; keep && last != nil && last.broken == nil {
			return err
		}
		p = broken(source, err)
	}
	s.policies[source.Name] = p
	s.publish()
	return err
}

// Digest is that of the version of a policy that is in force; empty where there is none.
func (s *Store) Digest(name string) string {
	s.mu.Lock()
	defer s.mu.Unlock()
	if p := s.policies[name]; p != nil {
		return p.digest
	}
	return ""
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
