package plan

import (
	"time"

	"tidegate.io/tidegate/schemas/v1alpha1"
)

// heldByAnalysis lets pass only a fresh Pass that is about this digest and this step,
// and all of whose window lies in the step.
func heldByAnalysis(t *turn) ruling {
	// An analysis holds in its own step, and where exposure is to rise.
	s := t.step()
	if !t.judged() || !t.rises() && (s.Analyze == nil || s.Analyze.Background || t.skipped(t.st.Step)) {
		return silence
	}
	if t.o.Spec.Strategy.Analysis == nil {
		return hold(ReasonHoldAnalysis, "%s, holding: the step asks for an analysis and the strategy has none; add one to the template and apply the Release again", t.where())
	}
	if !t.passed(t.st.ExposedAt, t.window()) {
		return hold(ReasonHoldAnalysis, "%s, holding: the analysis begins at %s, when the exposure has lasted for a window of %s",
			t.where(), clock(t.st.ExposedAt.Add(t.window())), t.window())
	}
	a := t.round()
	if a == nil {
		return hold(ReasonHoldAnalysis, "%s, holding: the analysis of this step has not been taken yet", t.where())
	}
	switch a.Verdict {
	case v1alpha1.VerdictPass:
		if age := t.now.Sub(a.TakenAt.Time).Abs(); age > t.freshFor() {
			return hold(ReasonHoldAnalysis, "%s, holding: the last Pass is of %s and counts for %s only",
				t.where(), clock(a.TakenAt.Time), t.freshFor())
		}
		return silence
	case v1alpha1.VerdictInconclusive:
		return hold(ReasonHoldInconclusive, "%s, holding: analysis Inconclusive: %s; measured again every %s", t.where(), a.Message, t.interval())
	case v1alpha1.VerdictUnknown, v1alpha1.VerdictFail: // Fail has aborted before
	}
	return hold(ReasonHoldNoData, "%s, holding: analysis %s: %s; measured again every %s", t.where(), a.Verdict, a.Message, t.interval())
}

// round is the last round of analysis if it is evidence about this step, else nil.
func (t *turn) round() *v1alpha1.AnalysisRound {
	a, started := t.st.Analysis, t.st.ExposedAt
	if a == nil || started == nil || a.Step < t.level(t.st.Step).Start || !t.o.Spec.Judged(a.Digest) ||
		a.TakenAt.Time.Before(started.Add(t.window())) {
		return nil
	}
	return a
}

// measureDue says whether a round of analysis is to be taken now, and asks for another
// decision when the next one will be.
func (t *turn) measureDue() bool {
	// An old set that is kept warm is kept for a return, so what gets its traffic is judged on.
	warm := t.blueGreen && t.st.Phase == v1alpha1.RolloutPromoting && !t.st.Retiring
	if t.st.Phase != v1alpha1.RolloutProgressing && !warm || !t.rolling && !t.walks() || t.rolling && t.kind != kindCanary ||
		!t.judged() || t.o.Spec.Strategy.Analysis == nil ||
		!t.carries(t.allowed()) || !t.passed(t.st.ExposedAt, t.window()) {
		return false
	}
	a := t.round()
	if a == nil {
		return true
	}
	if a.TakenAt.Sub(t.now) > t.interval() {
		return true // a clock went back; do not wait for it to catch up
	}
	return t.passed(&a.TakenAt, t.interval())
}

func (t *turn) interval() time.Duration {
	return orDefault(t.o.Spec.Strategy.Analysis.Interval.Duration, defaultInterval)
}

func (t *turn) window() time.Duration {
	return orDefault(t.o.Spec.Strategy.Analysis.Window.Duration, defaultWindow)
}

// freshFor is for how long a Pass counts.
func (t *turn) freshFor() time.Duration {
	return 2*t.interval() + freshSlack
}
