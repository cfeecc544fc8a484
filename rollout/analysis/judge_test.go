package analysis

import (
	"math"
	"math/rand/v2"
	"strings"
	"testing"
	"time"

	"k8s.io/apimachinery/pkg/api/resource"

	"tidegate.io/tidegate/schemas/v1alpha1"
)

func quantity(s string) *resource.Quantity {
	q := resource.MustParse(s)
	return &q
}

func val(v float64) Sample                { return Sample{Value: v} }
func none(c v1alpha1.UnknownCause) Sample { return Sample{Cause: c} }
func arm(value, samples float64) Arm      { return Arm{Value: val(value), Samples: val(samples)} }
func stable(value, samples float64) *Arm  { a := arm(value, samples); return &a }
func atMost(limit string) v1alpha1.Metric {
	return errorRatio(&v1alpha1.ThresholdJudge{Max: quantity(limit)}, nil)
}

func timesStable(m, least string) v1alpha1.Metric {
	j := &v1alpha1.RatioJudge{Max: *quantity(m)}
	if least != "" {
		j.MinDifference = quantity(least)
	}
	return errorRatio(nil, j)
}

func errorRatio(th *v1alpha1.ThresholdJudge, ra *v1alpha1.RatioJudge) v1alpha1.Metric {
	return v1alpha1.Metric{Name: "error-ratio", Unit: "%", MinSamples: 100, Threshold: th, Ratio: ra}
}

func TestJudge(t *testing.T) {
	t.Parallel()
	const (
		pass, fail           = v1alpha1.VerdictPass, v1alpha1.VerdictFail
		unknown, thin        = v1alpha1.VerdictUnknown, v1alpha1.VerdictInconclusive
		noData, notANumber   = v1alpha1.CauseNoData, v1alpha1.CauseNotANumber
		infinite, down, many = v1alpha1.CauseInfinite, v1alpha1.CauseSourceDown, v1alpha1.CauseManySeries
	)
	nan, inf := math.NaN(), math.Inf(1)
	for name, c := range map[string]struct {
		m       Measurement
		verdict v1alpha1.Verdict
		cause   v1alpha1.UnknownCause
		message string
	}{
		"a value above the threshold fails, with its numbers": {
			Measurement{atMost("0.01"), arm(0.05, 412), stable(0, 4000)},
			fail, "",
			"error-ratio 5.0 % > 1.0 % (threshold, 412 requests); stable 0.0 %",
		},
		"a value at the threshold passes": {
			Measurement{atMost("10m"), arm(0.01, 412), nil}, pass, "", "error-ratio 1.0 % <= 1.0 % (threshold, 412 requests)",
		},
		"a value a hair above the threshold is shown with more digits": {
			Measurement{atMost("0.01"), arm(0.010002, 412), nil}, fail, "", "error-ratio 1.0002 % > 1.0000 % (threshold, 412 requests)",
		},
		"a value below a minimum fails": {
			Measurement{errorRatio(&v1alpha1.ThresholdJudge{Min: quantity("0.5")}, nil), arm(0.4, 412), nil},
			fail, "",
			"error-ratio 40.0 % < 50.0 % (threshold, 412 requests)",
		},
		"a value at a minimum passes": {
			Measurement{errorRatio(&v1alpha1.ThresholdJudge{Min: quantity("0.5")}, nil), arm(0.5, 412), nil}, pass, "", ">= 50.0 %",
		},
		"a value between minimum and maximum passes": {
			Measurement{errorRatio(&v1alpha1.ThresholdJudge{Min: quantity("0.1"), Max: quantity("0.5")}, nil), arm(0.2, 412), nil}, pass, "", "",
		},
		"a threshold without bounds is unknown": {
			Measurement{errorRatio(&v1alpha1.ThresholdJudge{}, nil), arm(0, 412), nil}, unknown, noData, "set max or min",
		},
		"a metric without judges is unknown": {
			Measurement{errorRatio(nil, nil), arm(0, 412), nil}, unknown, noData, "set threshold or ratio",
		},
		"too few requests are inconclusive, however bad the value": {
			Measurement{atMost("0.01"), arm(1, 37), nil}, thin, "", "error-ratio (threshold): 37 of 100 requests to the canary",
		},
		"a fraction of a request short is short": {
			Measurement{atMost("0.01"), arm(0, 99.7), nil}, thin, "", "99 of 100 requests",
		},
		"exactly enough requests are enough": {Measurement{atMost("0.01"), arm(0, 100), nil}, pass, "", ""},
		"no requests and a NaN value are inconclusive, since it was counted": {
			Measurement{atMost("0.01"), Arm{none(notANumber), val(0)}, nil}, thin, "", "0 of 100",
		},
		"an unset minimum of requests is 100": {
			Measurement{v1alpha1.Metric{Name: "x", Threshold: &v1alpha1.ThresholdJudge{Max: quantity("1")}}, arm(0, 99), nil}, thin, "", "99 of 100",
		},
		"requests that are not known are unknown, before all else": {
			Measurement{atMost("0.01"), Arm{val(1), none(noData)}, nil}, unknown, noData, "the number of requests to the canary",
		},
		"a value that is not known is unknown": {Measurement{atMost("0.01"), Arm{none(many), val(400)}, nil}, unknown, many, "more than one series"},
		"a source that is down is unknown, in its own words": {
			Measurement{atMost("0.01"), Arm{Sample{Cause: down, Detail: "connection refused"}, Sample{Cause: down, Detail: "connection refused"}}, nil},
			unknown, down, "does not answer: connection refused",
		},
		"a NaN that claims to be a value is unknown":          {Measurement{atMost("0.01"), arm(nan, 400), nil}, unknown, notANumber, "NaN"},
		"an infinite value is unknown":                        {Measurement{atMost("0.01"), arm(inf, 400), nil}, unknown, infinite, ""},
		"minus infinity is unknown, though below the maximum": {Measurement{atMost("0.01"), arm(-inf, 400), nil}, unknown, infinite, ""},
		"a NaN of requests is unknown":                        {Measurement{atMost("0.01"), arm(0, nan), nil}, unknown, notANumber, ""},
		"infinite requests are unknown":                       {Measurement{atMost("0.01"), arm(0, inf), nil}, unknown, infinite, ""},
		"a value beside a cause is not looked at": {
			Measurement{atMost("0.01"), Arm{Sample{Value: 0, Cause: noData}, val(400)}, nil}, unknown, noData, "found nothing",
		},

		"twice the stable value fails at a ratio of 1.5": {
			Measurement{timesStable("1.5", ""), arm(0.02, 400), stable(0.01, 4000)},
			fail, "",
			"error-ratio 2.0 % > 1.5 % (ratio: 1.5 times the stable revision's 1.0 %, 400 requests)",
		},
		"the ratio itself passes": {Measurement{timesStable("2", ""), arm(0.02, 400), stable(0.01, 4000)}, pass, "", ""},
		"a canary better than the stable revision passes": {
			Measurement{timesStable("1", ""), arm(0.01, 400), stable(0.02, 4000)}, pass, "", "",
		},
		"a small difference to a stable value of 0 passes": {
			Measurement{timesStable("1.5", "0.005"), arm(0.004, 400), stable(0, 4000)},
			pass, "",
			"error-ratio 0.4 % <= 0.5 % (ratio: 0.5 % more than the stable revision's 0.0 %, 400 requests)",
		},
		"a large difference to a stable value of 0 fails": {
			Measurement{timesStable("1.5", "0.005"), arm(0.05, 400), stable(0, 4000)}, fail, "", "> 0.5 %",
		},
		"any difference to a stable value of 0 fails without a least difference": {
			Measurement{timesStable("1.5", ""), arm(0.001, 400), stable(0, 4000)}, fail, "", "",
		},
		"too few requests to the stable revision are inconclusive": {
			Measurement{timesStable("1.5", ""), arm(0.01, 400), stable(0.01, 12)}, thin, "", "12 of 100 requests to the stable revision",
		},
		"too few requests to the canary come first": {
			Measurement{timesStable("1.5", ""), arm(0.01, 3), stable(0.01, 12)}, thin, "", "3 of 100 requests to the canary",
		},
		"a stable value that is not known is unknown": {
			Measurement{timesStable("1.5", ""), arm(0, 400), &Arm{none(noData), val(4000)}}, unknown, noData, "the stable revision's value",
		},
		"stable requests that are not known are unknown": {
			Measurement{timesStable("1.5", ""), arm(0, 400), &Arm{val(0), none(down)}}, unknown, down, "to the stable revision",
		},
		"a NaN of the stable revision is unknown": {
			Measurement{timesStable("1.5", ""), arm(0, 400), stable(nan, 4000)}, unknown, notANumber, "",
		},
		"a bound that overflows is unknown": {
			Measurement{timesStable("10", ""), arm(0, 400), stable(math.MaxFloat64, 4000)}, unknown, infinite, "",
		},
		"nothing to compare with is unknown when the ratio is the only judge": {
			Measurement{timesStable("1.5", ""), arm(0, 400), nil}, unknown, noData, "add a threshold",
		},
	} {
		t.Run(name, func(t *testing.T) {
			t.Parallel()
			found := Judge(c.m)
			if len(found) != 1 {
				t.Fatalf("%d findings", len(found))
			}
			f := found[0]
			if f.Verdict != c.verdict || f.Cause != c.cause || !strings.Contains(f.Message, c.message) {
				t.Errorf("got %s %s %q, want %s %s %q", f.Verdict, f.Cause, f.Message, c.verdict, c.cause, c.message)
			}
		})
	}
}

func TestJudgeGivesAFindingForEachJudge(t *testing.T) {
	t.Parallel()
	m := Measurement{Metric: atMost("0.01"), Canary: arm(0.02, 400), Stable: stable(0.019, 4000)}
	m.Metric.Ratio = &v1alpha1.RatioJudge{Max: *quantity("1.5")}
	found := Judge(m)
	if len(found) != 2 || found[0].Judge != "threshold" || found[0].Verdict != v1alpha1.VerdictFail ||
		found[1].Judge != "ratio" || found[1].Verdict != v1alpha1.VerdictPass {
		t.Errorf("got %+v", found)
	}
	f := found[1]
	if f.Canary != "0.02" || f.Stable != "0.019" || f.CanarySamples != "400" || f.StableSamples != "4000" || f.Limit != "0.0285" {
		t.Errorf("numbers: %+v", f)
	}
	m.Stable = nil
	if found = Judge(m); len(found) != 1 || found[0].Judge != "threshold" {
		t.Errorf("without a stable revision: %+v", found)
	}
}

func TestUnitsAreShownAndNotStored(t *testing.T) {
	t.Parallel()
	for unit, want := range map[string]string{"ms": "p99 250.0 ms > 200.0 ms", "s": "p99 0.25 s > 0.20 s", "": "p99 0.25 > 0.20", "%": "p99 25.0 % > 20.0 %"} {
		m := Measurement{
			Metric: v1alpha1.Metric{Name: "p99", Unit: unit, MinSamples: 1, Threshold: &v1alpha1.ThresholdJudge{Max: quantity("0.2")}},
			Canary: arm(0.25, 5),
		}
		f := Judge(m)[0]
		if !strings.HasPrefix(f.Message, want) || f.Canary != "0.25" || f.Limit != "0.2" {
			t.Errorf("unit %q: %q, canary %s, limit %s", unit, f.Message, f.Canary, f.Limit)
		}
	}
}

func TestRound(t *testing.T) {
	t.Parallel()
	bad := Measurement{Metric: atMost("0.01"), Canary: arm(0.05, 412)}
	good := Measurement{Metric: atMost("0.01"), Canary: arm(0, 412)}
	few := Measurement{Metric: atMost("0.01"), Canary: arm(0, 37)}
	named := func(m Measurement, name string) Measurement {
		m.Metric.Name = name
		return m
	}
	lost := Measurement{Metric: atMost("0.01"), Canary: Arm{none(v1alpha1.CauseSourceDown), none(v1alpha1.CauseSourceDown)}}
	for name, c := range map[string]struct {
		measured []Measurement
		verdict  v1alpha1.Verdict
		message  string
	}{
		"nothing measured is unknown":                        {nil, v1alpha1.VerdictUnknown, "nothing was measured"},
		"all pass, it passes":                                {[]Measurement{good, good}, v1alpha1.VerdictPass, "error-ratio 0.0 % <= 1.0 %"},
		"one fails, it fails":                                {[]Measurement{good, bad}, v1alpha1.VerdictFail, "error-ratio 5.0 % > 1.0 % (threshold, 412 requests)"},
		"one fails and one is unknown, it fails":             {[]Measurement{lost, bad}, v1alpha1.VerdictFail, "error-ratio 5.0 %"},
		"one is unknown and one inconclusive, it is unknown": {[]Measurement{few, lost}, v1alpha1.VerdictUnknown, "does not answer"},
		"one is inconclusive, it is":                         {[]Measurement{good, few, good}, v1alpha1.VerdictInconclusive, "37 of 100 requests"},
		"many say the first three": {
			[]Measurement{bad, named(bad, "a"), named(bad, "b"), named(bad, "c"), named(bad, "d")}, v1alpha1.VerdictFail, "and 2 more",
		},
	} {
		t.Run(name, func(t *testing.T) {
			t.Parallel()
			at := time.Date(2026, 3, 1, 12, 0, 0, 123456789, time.UTC)
			r := Round(c.measured, Occasion{Step: 2, Digest: "sha256:feed", TakenAt: at})
			if r.Verdict != c.verdict || !strings.Contains(r.Message, c.message) {
				t.Errorf("got %s %q", r.Verdict, r.Message)
			}
			if r.Step != 2 || r.Digest != "sha256:feed" || !r.TakenAt.Time.Equal(at.Truncate(time.Microsecond)) || len(r.Findings) != len(c.measured) {
				t.Errorf("got %+v", r)
			}
		})
	}
}

func TestRoundSaysTheNumbersOfAMetricOnce(t *testing.T) {
	t.Parallel()
	bad := Measurement{Metric: atMost("0.01"), Canary: arm(0.05, 412), Stable: stable(0.001, 4000)}
	bad.Metric.Ratio = &v1alpha1.RatioJudge{Max: *quantity("1.5")}
	r := Round([]Measurement{bad}, Occasion{Step: 1, Digest: "sha256:feed"})
	if len(r.Findings) != 2 || r.Verdict != v1alpha1.VerdictFail || r.Message != r.Findings[0].Message {
		t.Errorf("got %q of %+v", r.Message, r.Findings)
	}
}

func TestFloatIsTheLiteralsNumber(t *testing.T) {
	t.Parallel()
	for s, want := range map[string]float64{
		"0.01": 0.01, "10m": 0.01, "1": 1, "1.5": 1.5, "250m": 0.25, "0.3": 0.3, "1k": 1000, "2Ki": 2048, "-0.1": -0.1, "0": 0, "100u": 0.0001,
	} {
		if got := Float(resource.MustParse(s)); got != want {
			t.Errorf("%s is %v, want %v", s, got, want)
		}
	}
}

// anySample is a value, a strange value, or a cause, in equal parts.
func anySample(r *rand.Rand, scale float64) Sample {
	switch r.IntN(8) {
	case 0:
		causes := []v1alpha1.UnknownCause{
			v1alpha1.CauseNoData, v1alpha1.CauseNotANumber, v1alpha1.CauseInfinite,
			v1alpha1.CauseManySeries, v1alpha1.CauseQueryError, v1alpha1.CauseSourceDown, "Another",
		}
		return Sample{Value: r.Float64() * scale, Cause: causes[r.IntN(len(causes))]}
	case 1:
		return val([]float64{math.NaN(), math.Inf(1), math.Inf(-1), 0, math.Copysign(0, -1), -1, math.MaxFloat64}[r.IntN(7)])
	}
	return val(r.Float64() * scale)
}

func anyMeasurement(r *rand.Rand) Measurement {
	m := Measurement{Metric: v1alpha1.Metric{Name: "m", MinSamples: int64(r.IntN(200))}}
	q := func(most float64) *resource.Quantity {
		v := resource.NewMilliQuantity(int64(r.Float64()*most*1000), resource.DecimalSI)
		return v
	}
	if r.IntN(2) == 0 {
		m.Metric.Threshold = &v1alpha1.ThresholdJudge{}
		if r.IntN(4) > 0 {
			m.Metric.Threshold.Max = q(1)
		}
		if r.IntN(4) == 0 {
			m.Metric.Threshold.Min = q(1)
		}
	}
	if r.IntN(2) == 0 {
		m.Metric.Ratio = &v1alpha1.RatioJudge{Max: *q(3)}
		if r.IntN(2) == 0 {
			m.Metric.Ratio.MinDifference = q(0.1)
		}
	}
	m.Canary = Arm{anySample(r, 1), anySample(r, 300)}
	if r.IntN(3) > 0 {
		m.Stable = &Arm{anySample(r, 1), anySample(r, 300)}
	}
	return m
}

func isEvidence(a Arm, least int64) bool {
	if least <= 0 {
		least = 100
	}
	ok := func(s Sample) bool { return s.Cause == "" && !math.IsNaN(s.Value) && !math.IsInf(s.Value, 0) }
	return ok(a.Value) && ok(a.Samples) && a.Samples.Value >= float64(least)
}

// TestOnlyEvidencePasses holds all verdicts to the word of the design: nothing but
// enough, finite, known numbers gives Pass, or Fail.
func TestOnlyEvidencePasses(t *testing.T) {
	t.Parallel()
	verdicts := map[v1alpha1.Verdict]int{}
	for seed := range uint64(300_000) {
		m := anyMeasurement(rand.New(rand.NewPCG(seed, 1)))
		for _, f := range Judge(m) {
			verdicts[f.Verdict]++
			evidence := isEvidence(m.Canary, m.Metric.MinSamples) &&
				(f.Judge != "ratio" || m.Stable != nil && isEvidence(*m.Stable, m.Metric.MinSamples))
			decided := f.Verdict == v1alpha1.VerdictPass || f.Verdict == v1alpha1.VerdictFail
			if decided && (!evidence || f.Judge == "none") {
				t.Fatalf("seed %d: %s without evidence: %+v", seed, f.Verdict, m)
			}
			if (f.Verdict == v1alpha1.VerdictUnknown) != (f.Cause != "") {
				t.Fatalf("seed %d: %s with cause %q", seed, f.Verdict, f.Cause)
			}
			if f.Message == "" || strings.Contains(f.Canary+f.Stable+f.Limit, "N") {
				t.Fatalf("seed %d: %+v", seed, f)
			}
			if f.Verdict == v1alpha1.VerdictPass && m.Metric.Threshold != nil && f.Judge == "threshold" &&
				m.Metric.Threshold.Max != nil && m.Canary.Value.Value > m.Metric.Threshold.Max.AsApproximateFloat64()+1e-9 {
				t.Fatalf("seed %d: passes above its maximum: %+v", seed, m)
			}
		}
	}
	for _, v := range []v1alpha1.Verdict{v1alpha1.VerdictPass, v1alpha1.VerdictFail, v1alpha1.VerdictInconclusive, v1alpha1.VerdictUnknown} {
		if verdicts[v] < 1000 {
			t.Errorf("only %d times %s: the generator is too narrow", verdicts[v], v)
		}
	}
}

// TestAWorseCanaryNeverFaresBetter raises the canary's value, all else equal.
func TestAWorseCanaryNeverFaresBetter(t *testing.T) {
	t.Parallel()
	worse := 0
	for seed := range uint64(200_000) {
		r := rand.New(rand.NewPCG(seed, 2))
		m := anyMeasurement(r)
		if m.Metric.Threshold != nil {
			m.Metric.Threshold.Min = nil // for a minimum, greater is better
		}
		if m.Canary.Value.finite().Cause != "" {
			continue
		}
		before := Round([]Measurement{m}, Occasion{}).Verdict
		m.Canary.Value.Value += r.Float64()
		after := Round([]Measurement{m}, Occasion{}).Verdict
		if Worse(before, after) {
			t.Fatalf("seed %d: %s, and worse it is %s: %+v", seed, before, after, m)
		}
		if Worse(after, before) {
			worse++
		}
	}
	if worse < 1000 {
		t.Errorf("only %d verdicts changed: the generator is too narrow", worse)
	}
}
