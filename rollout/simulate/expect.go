package simulate

import (
	"time"
)

// summary is the end of the scenario.
func (w *world) summary(settled bool) Summary {
	r := w.newest()
	s := Summary{
		Rollout: r.name(), Outcome: r.status.Phase, Reason: r.status.Reason, Settled: settled, Serving: w.serving(),
		HighestWeight: w.highest, SecondsAtRisk: w.atRisk.Seconds(), AtRisk: w.riskWhy, Decisions: w.asked,
	}
	for _, rec := range w.records {
		if rec.Shown {
			s.Seconds = rec.Seconds
		}
	}
	return s
}

// serving is the revision that gets all requests.
func (w *world) serving() string {
	if w.rolling() {
		l := w.workload
		if l.exists && l.count(func(p pod) bool { return p.revision != l.revision }) == 0 {
			return l.revision
		}
		return ""
	}
	for _, key := range w.keys() {
		if w.route.live[key] == full {
			return key
		}
	}
	return ""
}

// check holds what came out to what was expected.
func (w *world) check(s Summary) {
	if w.next < len(w.sc.Timeline) {
		e := w.sc.Timeline[w.next]
		why := "at " + short(e.At)
		if e.When != nil {
			why = "when " + e.When.Text
		}
		w.fail("timeline: wanted %q of line %d to happen (%s), found the end at %s before it (%s)", e.Event.text(), e.Line, why, short(w.since()), w.stands())
	}
	e := w.sc.Expect
	if e.Outcome != "" && e.Outcome != s.Outcome {
		w.fail("expect.outcome: wanted %s, found %s (%s)", e.Outcome, s.Outcome, w.stands())
	}
	if e.Serving != "" && e.Serving != s.Serving {
		w.fail("expect.serving: wanted all requests to go to %s, found %q (%s)", e.Serving, s.Serving, w.stands())
	}
	if e.Highest != nil && *e.Highest != s.HighestWeight {
		w.fail("expect.highestWeight: wanted %d %%, found %d %%", *e.Highest, s.HighestWeight)
	}
	if took := time.Duration(s.Seconds * float64(time.Second)); e.Within > 0 && took > e.Within {
		w.fail("expect.within: wanted everything to be done within %s, found that it took %s", short(e.Within), short(took))
	}
	if w.atRisk > e.AtRisk {
		w.fail("expect.atRisk: wanted requests at risk for at most %s, found %s: %s", short(e.AtRisk), short(w.atRisk), w.riskWhy)
	}
	w.checkOrder("reasons", e.Reasons, w.reasons())
	w.checkOrder("refused", e.Refused, w.refusals)
	if !s.Settled && e.Outcome.Terminal() {
		w.fail("expect.outcome: wanted %s and nothing left to do, found something still going on at %s (%s)", e.Outcome, short(w.since()), w.stands())
	}
}

// checkOrder looks for words in their order, with others between them.
func (w *world) checkOrder(name string, wanted, found []string) {
	at := 0
	for _, word := range found {
		if at < len(wanted) && wanted[at] == word {
			at++
		}
	}
	if at < len(wanted) {
		w.fail("expect.%s: wanted %s after those before it, found %v", name, wanted[at], found)
	}
}

// reasons are those of all decisions, the same ones in a row once, and those of refused
// commands not.
func (w *world) reasons() []string {
	var out []string
	for _, rec := range w.records {
		for _, code := range rec.passed {
			if len(out) == 0 || out[len(out)-1] != code {
				out = append(out, code)
			}
		}
	}
	return out
}
