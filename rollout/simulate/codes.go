package simulate

import (
	"slices"
	"strings"

	"go.yaml.in/yaml/v3"

	"tidegate.io/tidegate/rollout/plan"
)

// codes are the reason codes that a Rollout gives. One that is misspelled would never be met, so that
// what is never to happen would always hold.
var codes = []string{
	plan.ReasonPendingOlder, plan.ReasonBegun, plan.ReasonStepApproved, plan.ReasonStepReached, plan.ReasonStepBegun, plan.ReasonPromoting,
	plan.ReasonDraining, plan.ReasonRetiring, plan.ReasonSucceeded, plan.ReasonRepairing, plan.ReasonFallbackPods, plan.ReasonFallbackStale,
	plan.ReasonHoldUnknown, plan.ReasonHoldPods, plan.ReasonHoldStable, plan.ReasonHoldRoute, plan.ReasonHoldPaused, plan.ReasonHoldTime,
	plan.ReasonHoldAnalysis, plan.ReasonHoldNoData, plan.ReasonHoldInconclusive, plan.ReasonHoldGrace, plan.ReasonHoldJob, plan.ReasonHoldHook,
	plan.ReasonHoldBaseline, plan.ReasonHoldApproval, plan.ReasonHoldPolicy,
	plan.ReasonAnalysisFail, plan.ReasonJobFailed, plan.ReasonHookFailed, plan.ReasonAbortCommand, plan.ReasonAbortSuperseded, plan.ReasonAbortRoute,
	plan.ReasonAbortDeadline, plan.ReasonAbortOutdated,
	plan.ReasonCommandLate, plan.ReasonCommandReason, plan.ReasonCommandUnfit,
}

// saidCode is a code that the scenario waits for or expects.
type saidCode struct {
	node       *yaml.Node
	path, code string
}

// codeList reads a list of codes.
func (p *parser) codeList(into *[]string) func(*yaml.Node, string) {
	return func(n *yaml.Node, path string) {
		p.items(n, path, func(n *yaml.Node, path string) {
			var one string
			p.text(&one)(n, path)
			*into = append(*into, one)
			if one != "" {
				p.codes = append(p.codes, saidCode{node: n, path: path, code: one})
			}
		})
	}
}

// checkCodes refuses codes that no Rollout gives.
func (p *parser) checkCodes() {
	for _, said := range p.codes {
		if !slices.Contains(codes, said.code) {
			p.failf(said.node, said.path, "wanted a reason code that a Rollout gives, found %q; write %s", said.code, nearest(said.code))
		}
	}
}

// nearest names the code that may have been meant: the one with the most words of it.
func nearest(code string) string {
	best, most := "", 0
	for _, known := range codes {
		n := 0
		for word := range strings.SplitSeq(strings.ToUpper(code), "-") {
			if len(word) > 2 && strings.Contains(known, "-"+word) {
				n++
			}
		}
		if n > most {
			best, most = known, n
		}
	}
	if best == "" {
		return "one of docs/reasons.md"
	}
	return best + ", or another one of docs/reasons.md"
}
