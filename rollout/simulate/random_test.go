package simulate

import (
	"fmt"
	"math/rand/v2"
	"slices"
	"strings"
	"testing"
)

// randomSteps are steps of a canary that the check of strategies lets pass.
func randomSteps(r *rand.Rand) string {
	var out []string
	weight := 0
	for weight < 100 && len(out) < 12 {
		switch r.IntN(9) {
		case 0:
			out = append(out, "{pause: {approval: true}}")
		case 1:
			out = append(out, fmt.Sprintf("{pause: {duration: %ds}}", r.IntN(90)))
		case 2:
			out = append(out, "{analyze: {}}")
		case 3:
			out = append(out, "{analyze: {background: true}}")
		case 4:
			out = append(out, "{job: {object: smoke}}")
		case 5:
			out = append(out, "{hook: {name: ask}}")
		default:
			weight = min(100, weight+1+r.IntN(60))
			out = append(out, fmt.Sprintf("{setWeight: %d}", weight))
		}
	}
	return strings.Join(out, ", ")
}

// harmless are events that put no request at risk, harmful ones that take pods, after which
// some are for a moment.
var (
	harmless = []string{
		"verdict: Inconclusive", "verdict: Unknown", "verdict: Pass", "command: pause", "command: resume", "command: approve", "command: skip-step",
		"gateway: refuses", "gateway: accepts", "gateway: {after: 30s}", "policy: {denies: not now}", "policy: unanswered", "policy: allows",
		"hook: {answer: fails}", "hook: {answer: silent}", "hook: {answer: passes}", "job: {outcome: hangs}", "job: {outcome: succeeds}",
		"manager: down", "manager: up", "manager: {crashAfter: 0}", "manager: {crashAfter: 1}", "manager: {crashAfter: 2}", "manager: {crashBefore: SetWeight}",
		"manager: {crashBefore: EnsureSet}", "writes: {fail: [SetWeight]}", "writes: {fail: [Status]}", "writes: {fail: [EnsureSet, Retire]}", "unread: [new]", "unread: [stable]", "unread: [route]", "unread: [shared, job]", "unread: []",
		"pods: {start: 40s}", "pods: {stuck: true}", "pods: {edited: true}", "shared: edited", "route: edited", "clock: 20s", "clock: -20s",
		"release: {revision: v3}", "command: {action: abort, reason: x}", "command: retry", "verdict: Fail", "job: {outcome: fails}", "hook: {answer: refuses}",
	}
	harmful = []string{
		"pods: {fail: 1}", "pods: {fail: all}", "pods: {lose: 2}", "pods: {lose: all}", "pods: {scale: 1}", "pods: {deleted: true}",
		"pods: {set: stable, fail: 2}", "pods: {set: stable, lose: all}", "pods: {set: stable, scale: 1}", "pods: {set: stable, deleted: true}",
		"route: {weight: 100}", "route: {weight: 0}", "route: deleted",
	}
	calm = []string{
		"manager: up", "writes: succeed", "unread: []", "pods: {recover: true}", "pods: {set: stable, recover: true}", "gateway: accepts", "policy: allows",
		"hook: {answer: passes}", "job: {outcome: succeeds}", "verdict: Pass", "command: resume", "command: promote",
	}
)

// randomScenario is one in which anything happens, and then nothing that is in the way.
func randomScenario(r *rand.Rand) (text string, safe bool) {
	var b strings.Builder
	fmt.Fprintf(&b, "stable: {replicas: %d}\nreplicas: %d\nstrategy:\n", 1+r.IntN(10), 1+r.IntN(10))
	if r.IntN(4) == 0 {
		b.WriteString("  type: blueGreen\n  scaleDownDelay: 1m\n  steps: [{pause: {duration: 20s}}, {setWeight: 100}, {analyze: {}}]\n")
	} else {
		fmt.Fprintf(&b, "  type: canary\n  steps: [%s]\n", randomSteps(r))
	}
	// What nothing calls or measures is refused.
	if strings.Contains(b.String(), "{hook:") {
		b.WriteString("  hooks: [{name: ask, url: 'https://x.example.com', onFailure: hold}]\n")
	}
	if !strings.Contains(b.String(), "{analyze:") {
		b.WriteString("timeline:\n")
	} else {
		b.WriteString("  analysis: {source: main, window: 20s, metrics: [{name: e, query: e, samples: n, threshold: {max: 1}}]}\ntimeline:\n")
	}
	safe = true
	at := 0
	for range 1 + r.IntN(12) {
		at += r.IntN(60)
		event := harmless[r.IntN(len(harmless))]
		if r.IntN(5) == 0 {
			event = harmful[r.IntN(len(harmful))]
			safe = false
		}
		fmt.Fprintf(&b, "- {at: %ds, %s}\n", at, event)
	}
	for i, event := range calm {
		fmt.Fprintf(&b, "- {at: %ds, %s}\n", at+30+i, event)
	}
	fmt.Fprintf(&b, "- {at: %ds, command: promote}\n", at+30*60) // of a Rollout that began meanwhile
	return b.String(), safe
}

// TestWhateverHappensItEndsWell plays random scenarios: each comes to an end, without a
// moment whose decisions have none, with what is to serve serving, and without putting a
// request at risk where no pod was taken.
func TestWhateverHappensItEndsWell(t *testing.T) {
	t.Parallel()
	seeds := uint64(1500)
	if testing.Short() {
		seeds = 200
	}
	ends := map[string]int{}
	for seed := range seeds {
		text, safe := randomScenario(rand.New(rand.NewPCG(seed, 1)))
		res := play(t, text)
		s := res.Summary
		ends[string(s.Outcome)]++
		wrong := slices.DeleteFunc(res.Failures, func(f string) bool { return !safe && strings.HasPrefix(f, "expect.atRisk") })
		if len(wrong) > 0 || !s.Outcome.Terminal() || !s.Settled || s.Serving == "" {
			t.Errorf("seed %d: %s, settled %t, %q serves, %q\n%s", seed, s.Outcome, s.Settled, s.Serving, wrong, text)
			if ends["failed"]++; ends["failed"] > 3 {
				break
			}
		}
	}
	t.Logf("%v", ends)
	if ends["Succeeded"] == 0 || ends["Aborted"] == 0 {
		t.Errorf("wanted both ends, found %v", ends)
	}
}
