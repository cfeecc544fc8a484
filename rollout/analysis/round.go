package analysis

import (
	"fmt"
	"strings"
	"time"

	metav1 "k8s.io/apimachinery/pkg/apis/meta/v1"

	"tidegate.io/tidegate/schemas/v1alpha1"
)

// Occasion is what a round of analysis is about.
type Occasion struct {
	// Step of the Rollout, counted from 1.
	Step int32
	// Digest is what was judged: the Rollout's.
	Digest string
	// TakenAt is the evaluation time of the queries.
	TakenAt time.Time
}

// Round judges all measurements. Its verdict is the worst of the findings: Fail, then
// Unknown, then Inconclusive, then Pass. No measurements are Unknown.
func Round(measurements []Measurement, about Occasion) v1alpha1.AnalysisRound {
	r := v1alpha1.AnalysisRound{
		Verdict: v1alpha1.VerdictUnknown,
		TakenAt: metav1.NewMicroTime(about.TakenAt.UTC().Truncate(time.Microsecond)),
		Step:    about.Step,
		Digest:  about.Digest,
		Message: "nothing was measured; give the strategy's analysis a metric",
	}
	for _, m := range measurements {
		r.Findings = append(r.Findings, Judge(m)...)
	}
	if len(r.Findings) == 0 {
		return r
	}
	r.Verdict = v1alpha1.VerdictPass
	for _, f := range r.Findings {
		if Worse(f.Verdict, r.Verdict) {
			r.Verdict = f.Verdict
		}
	}
	r.Message = sentence(r.Verdict, r.Findings)
	return r
}

// Worse says whether verdict a weighs more than b.
func Worse(a, b v1alpha1.Verdict) bool {
	return weight(a) > weight(b)
}

// weight orders verdicts. What is not a verdict weighs as Unknown.
func weight(v v1alpha1.Verdict) int {
	switch v {
	case v1alpha1.VerdictPass:
		return 0
	case v1alpha1.VerdictInconclusive:
		return 1
	case v1alpha1.VerdictFail:
		return 3
	case v1alpha1.VerdictUnknown:
	}
	return 2
}

// maxSaid is how many findings a round's sentence has.
const maxSaid = 3

// sentence joins the findings that made the verdict, one for each metric: a second judge
// of the same numbers adds a line to the findings and nothing to the sentence.
func sentence(v v1alpha1.Verdict, findings []v1alpha1.Finding) string {
	var said []string
	more, metric := 0, ""
	for _, f := range findings {
		if f.Verdict != v || f.Metric == metric {
			continue
		}
		metric = f.Metric
		switch {
		case len(said) < maxSaid:
			said = append(said, f.Message)
		default:
			more++
		}
	}
	s := strings.Join(said, "; ")
	if more > 0 {
		s += fmt.Sprintf("; and %d more", more)
	}
	return s
}
