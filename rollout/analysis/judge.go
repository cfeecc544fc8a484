package analysis

import (
	"fmt"
	"math"
	"strconv"

	"k8s.io/apimachinery/pkg/api/resource"

	"tidegate.io/tidegate/schemas/v1alpha1"
)

const (
	judgeThreshold = "threshold"
	judgeRatio     = "ratio"
	// defaultMinSamples is the API's default, for metrics that did not pass through it.
	defaultMinSamples = 100
)

// Judge returns what each judge of the metric makes of the measurement: one finding of
// the threshold judge, one of the ratio judge, in this order. Where there is no stable
// revision the ratio judge is left out, unless it is the only one: then it is Unknown.
// There is always at least one finding.
func Judge(m Measurement) []v1alpha1.Finding {
	m = m.finite()
	var found []v1alpha1.Finding
	if m.Metric.Threshold != nil {
		found = append(found, m.threshold())
	}
	if m.Metric.Ratio != nil && (m.Stable != nil || len(found) == 0) {
		found = append(found, m.ratio())
	}
	if len(found) == 0 {
		found = append(found, m.unknown(m.finding("none"), v1alpha1.CauseNoData, "the metric has no judge; set threshold or ratio"))
	}
	return found
}

// finite returns the measurement with a cause wherever a number is not one.
func (m Measurement) finite() Measurement {
	m.Canary = m.Canary.finite()
	if m.Stable != nil {
		s := m.Stable.finite()
		m.Stable = &s
	}
	return m
}

func (a Arm) finite() Arm {
	return Arm{Value: a.Value.finite(), Samples: a.Samples.finite()}
}

func (s Sample) finite() Sample {
	switch {
	case s.Cause != "":
		s.Value = 0 // never looked at
	case math.IsNaN(s.Value):
		return Sample{Cause: v1alpha1.CauseNotANumber}
	case math.IsInf(s.Value, 0):
		return Sample{Cause: v1alpha1.CauseInfinite}
	}
	return s
}

// finding is an empty finding of the judge, with the numbers that there are.
func (m Measurement) finding(judge string) v1alpha1.Finding {
	f := v1alpha1.Finding{
		Metric: m.Metric.Name, Judge: judge,
		Canary: m.Canary.Value.decimal(), CanarySamples: m.Canary.Samples.decimal(),
	}
	if m.Stable != nil {
		f.Stable, f.StableSamples = m.Stable.Value.decimal(), m.Stable.Samples.decimal()
	}
	return f
}

func (m Measurement) unknown(f v1alpha1.Finding, cause v1alpha1.UnknownCause, why string) v1alpha1.Finding {
	f.Verdict, f.Cause = v1alpha1.VerdictUnknown, cause
	f.Message = fmt.Sprintf("%s unknown (%s): %s", m.Metric.Name, f.Judge, why)
	return f
}

// minSamples is how many observations an arm must have.
func (m Measurement) minSamples() float64 {
	if m.Metric.MinSamples <= 0 {
		return defaultMinSamples
	}
	return float64(m.Metric.MinSamples)
}

// evidence says what keeps an arm's value from being looked at: the observations that
// it rests on are not known, or too few. It is nil if nothing does.
func (m Measurement) evidence(f v1alpha1.Finding, of string, a Arm) *v1alpha1.Finding {
	if c := a.Samples.Cause; c != "" {
		f = m.unknown(f, c, "the number of requests "+of+": "+a.Samples.why())
		return &f
	}
	if a.Samples.Value >= m.minSamples() {
		return nil
	}
	f.Verdict = v1alpha1.VerdictInconclusive
	f.Message = fmt.Sprintf("%s (%s): %s of %s requests %s", m.Metric.Name, f.Judge,
		count(a.Samples.Value), count(m.minSamples()), of)
	return &f
}

func (m Measurement) threshold() v1alpha1.Finding {
	f := m.finding(judgeThreshold)
	if e := m.evidence(f, "to the canary", m.Canary); e != nil {
		return *e
	}
	if c := m.Canary.Value.Cause; c != "" {
		return m.unknown(f, c, m.Canary.Value.why())
	}
	j := m.Metric.Threshold
	if j.Max == nil && j.Min == nil {
		return m.unknown(f, v1alpha1.CauseNoData, "the threshold has no bound; set max or min")
	}
	v := m.Canary.Value.Value
	f.Verdict = v1alpha1.VerdictPass
	var sign string
	var bound float64
	switch {
	case j.Max != nil && v > Float(*j.Max):
		f.Verdict, sign, bound = v1alpha1.VerdictFail, ">", Float(*j.Max)
	case j.Min != nil && v < Float(*j.Min):
		f.Verdict, sign, bound = v1alpha1.VerdictFail, "<", Float(*j.Min)
	case j.Max != nil:
		sign, bound = "<=", Float(*j.Max)
	default:
		sign, bound = ">=", Float(*j.Min)
	}
	f.Limit = decimal(bound)
	f.Message = m.compare(sign, bound, "threshold")
	if m.Stable != nil && m.Stable.Value.Cause == "" {
		f.Message += "; stable " + m.show(m.Stable.Value.Value)
	}
	return f
}

func (m Measurement) ratio() v1alpha1.Finding {
	f := m.finding(judgeRatio)
	if m.Stable == nil {
		return m.unknown(f, v1alpha1.CauseNoData, "there is no stable revision to compare with; add a threshold")
	}
	if e := m.evidence(f, "to the canary", m.Canary); e != nil {
		return *e
	}
	if e := m.evidence(f, "to the stable revision", *m.Stable); e != nil {
		return *e
	}
	if c := m.Canary.Value.Cause; c != "" {
		return m.unknown(f, c, "the canary's value: "+m.Canary.Value.why())
	}
	if c := m.Stable.Value.Cause; c != "" {
		return m.unknown(f, c, "the stable revision's value: "+m.Stable.Value.why())
	}
	s, most := m.Stable.Value.Value, Float(m.Metric.Ratio.Max)
	least := 0.0
	if d := m.Metric.Ratio.MinDifference; d != nil {
		least = Float(*d)
	}
	// canary <= stable*max or canary-stable <= minDifference, as one bound.
	bound := math.Max(s*most, s+least)
	if math.IsNaN(bound) || math.IsInf(bound, 0) {
		return m.unknown(f, v1alpha1.CauseInfinite, "the bound made from the stable revision's value is not a number")
	}
	f.Limit = decimal(bound)
	how := fmt.Sprintf("ratio: %s times the stable revision's %s", decimal(most), m.show(s))
	if s+least > s*most {
		how = fmt.Sprintf("ratio: %s more than the stable revision's %s", m.show(least), m.show(s))
	}
	if m.Canary.Value.Value > bound {
		f.Verdict = v1alpha1.VerdictFail
		f.Message = m.compare(">", bound, how)
		return f
	}
	f.Verdict = v1alpha1.VerdictPass
	f.Message = m.compare("<=", bound, how)
	return f
}

// compare is "error-ratio 5.0 % > 1.0 % (threshold, 412 requests)".
func (m Measurement) compare(sign string, bound float64, how string) string {
	v, b := m.showBoth(m.Canary.Value.Value, bound)
	return fmt.Sprintf("%s %s %s %s (%s, %s requests)", m.Metric.Name, v, sign, b, how, count(m.Canary.Samples.Value))
}

// maxDetail is how much of a source's own words is shown.
const maxDetail = 200

// why says why there is no value.
func (s Sample) why() string {
	var why string
	switch s.Cause {
	case v1alpha1.CauseNoData:
		why = "the query found nothing"
	case v1alpha1.CauseNotANumber:
		why = "the query gave NaN, as a division of nothing by nothing does"
	case v1alpha1.CauseInfinite:
		why = "the query gave an infinite number"
	case v1alpha1.CauseManySeries:
		why = "the query gave more than one series; add a sum or an aggregation to it"
	case v1alpha1.CauseQueryError:
		why = "the source refused the query"
	case v1alpha1.CauseSourceDown:
		why = "the source does not answer"
	default:
		why = string(s.Cause)
	}
	if s.Detail == "" {
		return why
	}
	detail := []rune(s.Detail)
	if len(detail) > maxDetail {
		return why + ": " + string(detail[:maxDetail]) + " ..."
	}
	return why + ": " + s.Detail
}

// decimal is the sample's value as a decimal number, empty when there is none.
func (s Sample) decimal() string {
	if s.Cause != "" {
		return ""
	}
	return decimal(s.Value)
}

// decimal shows a number with at most six significant digits.
func decimal(v float64) string {
	rounded, err := strconv.ParseFloat(strconv.FormatFloat(v, 'e', 5, 64), 64)
	if err != nil {
		rounded = v
	}
	return strconv.FormatFloat(rounded, 'f', -1, 64)
}

// count shows a number of observations. It rounds down, so that 99.7 is not shown as
// 100 of 100: rates that are extrapolated are not whole.
func count(v float64) string {
	return strconv.FormatFloat(math.Floor(v), 'f', 0, 64)
}

// unit is what is shown behind a number and what the number is multiplied by for it.
func (m Measurement) unit() (factor float64, suffix string) {
	switch m.Metric.Unit {
	case "%":
		return 100, " %"
	case "ms":
		return 1000, " ms"
	case "":
		return 1, ""
	}
	return 1, " " + m.Metric.Unit
}

// show is a value in the metric's unit.
func (m Measurement) show(v float64) string {
	factor, suffix := m.unit()
	return strconv.FormatFloat(v*factor, 'f', 1, 64) + suffix
}

// maxDigits is how many digits showBoth gives behind the point at most.
const maxDigits = 6

// showBoth shows two values with as many digits as tell them apart, if any do.
func (m Measurement) showBoth(a, b float64) (shownA, shownB string) {
	factor, suffix := m.unit()
	for digits := 1; ; digits++ {
		shownA = strconv.FormatFloat(a*factor, 'f', digits, 64)
		shownB = strconv.FormatFloat(b*factor, 'f', digits, 64)
		if shownA != shownB || a == b || digits == maxDigits {
			return shownA + suffix, shownB + suffix
		}
	}
}

// Float is the floating-point number nearest to a quantity: 10m is 0.01 exactly as the
// literal 0.01 is.
func Float(q resource.Quantity) float64 {
	q = q.DeepCopy() // AsDec changes the representation
	v, err := strconv.ParseFloat(q.AsDec().String(), 64)
	if err != nil {
		return q.AsApproximateFloat64()
	}
	return v
}
