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
}

func newTotals() *Totals { return &Totals{Counts: map[Count]int{}} }

func (t *Totals) add(findings []audit.Finding) {
	for _, f := range findings {
		c := Count{Policy: f.Policy, Enforcement: f.Enforcement, Result: f.Result}
		if f.Policy == "" {
			c.Code = f.Code
		}
		t.Counts[c]++
	}
}

func (t *Totals) merge(o *Totals) {
	t.Objects += o.Objects
	t.Unread += o.Unread
	for c, n := range o.Counts {
		t.Counts[c] += n
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
