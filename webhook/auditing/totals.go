package auditing

import (
	"tidegate.io/tidegate/policies/audit"
	"tidegate.io/tidegate/schemas/v1alpha1"
)

// Count is what findings are counted by. There are as many as there are policies.
type Count struct {
	// Policy is empty for what the audit itself finds.
	Policy      string
	Enforcement v1alpha1.Enforcement
	// Code is one of the audit's own, and empty for those of policies, which anybody can make.
	Code   string
	Result audit.Result
}

// Totals are the numbers of a run.
type Totals struct {
	// Objects were looked at.
	Objects int
	// Unread are the parts that could not be.
	Unread int
	Counts map[Count]int
	// Constraints are what Gatekeeper's have, by Kind/name.
	Constraints map[string]*Standing
}

// Standing is what a constraint has against what exists.
type Standing struct {
	Total int
	// First are the first of them, at most maxExamples.
	First []audit.Finding
}

// maxExamples is how many violations the status of a constraint lists, as Gatekeeper's does.
const maxExamples = 20

func (s *Standing) add(total int, findings ...audit.Finding) {
	s.Total += total
	s.First = append(s.First, findings[:min(len(findings), maxExamples-len(s.First))]...)
}

func newTotals() *Totals {
	return &Totals{Counts: map[Count]int{}, Constraints: map[string]*Standing{}}
}

func (t *Totals) constraint(name string) *Standing {
	s := t.Constraints[name]
	if s == nil {
		s = &Standing{}
		t.Constraints[name] = s
	}
	return s
}

func (t *Totals) add(findings []audit.Finding) {
	for _, f := range findings {
		c := Count{Policy: f.Policy, Enforcement: f.Enforcement, Result: f.Result}
		if f.Policy == "" {
			c.Code = f.Code
		}
		t.Counts[c]++
		if f.OfConstraint() {
			t.constraint(f.Policy).add(1, f)
		}
	}
}

func (t *Totals) merge(o *Totals) {
	t.Objects += o.Objects
	t.Unread += o.Unread
	for c, n := range o.Counts {
		t.Counts[c] += n
	}
	for name, s := range o.Constraints {
		t.constraint(name).add(s.Total, s.First...)
	}
}

// ByResult counts findings by what they amount to.
func (t *Totals) ByResult() map[audit.Result]int64 {
	out := map[audit.Result]int64{}
	for c, n := range t.Counts {
		out[c.Result] += int64(n)
	}
	return out
}
