package simulate

import (
	"errors"
	"strings"
	"testing"
)

const (
	goodStrategy = "strategy: {type: canary, steps: [{setWeight: 20}, {pause: {approval: true}}]}\n"
	goodHead     = "stable: {replicas: 4}\n" + goodStrategy
)

// TestMistakesAreSaidWithTheirLine gives a malformed scenario in each row, and what is said
// of it.
func TestMistakesAreSaidWithTheirLine(t *testing.T) {
	t.Parallel()
	for name, c := range map[string]struct {
		text string
		want string
	}{
		"nothing at all":                         {"", `s.yaml:1: wanted a scenario, found nothing; see docs/simulate.md`},
		"no YAML":                                {"stable: {replicas: 4\n", `s.yaml:1: wanted YAML, found: `},
		"two documents":                          {goodHead + "---\n" + goodHead, `wanted one document, found more; put each`},
		"a list in the place of fields":          {"- a\n", `s.yaml:1: wanted fields (strategy, `},
		"a field that is not known":              {goodHead + "timelime: []\n", `s.yaml:3: wanted one of strategy, release, revision,`},
		"a field twice":                          {goodHead + "until: 1m\nuntil: 2m\n", `s.yaml:4: until: wanted the field once, found it again; remove one of them`},
		"no strategy":                            {"replicas: 3\n", `s.yaml:1: strategy: wanted a strategy, found none; write one`},
		"a strategy that would not be published": {"stable: {replicas: 4}\nstrategy:\n  type: canary\n  steps:\n    - setWeight: 20\n    - setWeight: 20\n", `s.yaml:6: strategy.steps[1].setWeight: wanted a change of the weight, found 20, which it is already; see docs/strategies.md`},
		"a step with two things":                 {"stable: {replicas: 4}\nstrategy:\n  type: canary\n  steps:\n    - {setWeight: 20, job: {object: x}}\n", `s.yaml:5: strategy.steps[0]: wanted exactly one of setWeight,`},
		"no number of pods":                      {goodStrategy, `replicas: wanted the number of pods, found none; write replicas`},
		"a negative number of pods":              {goodStrategy + "replicas: -1\n", `s.yaml:2: replicas: wanted a whole number from 0 to 1000, found "-1"; write one such as 0`},
		"a stable set without a size":            {goodStrategy + "stable: {}\n", `s.yaml:2: stable.replicas: wanted the number of pods that serve, found none; write it`},
		"a history of a first install":           {goodStrategy + "replicas: 3\nhistory: [v0]\n", `s.yaml:3: history: wanted a stable revision beside it, found none`},
		"a router with rolling":                  {"stable: {replicas: 4}\nrouter: HTTPRoute\nstrategy: {type: rolling}\n", `s.yaml:2: router: wanted none with rolling, found one; leave it out`},
		"a StatefulSet with a canary":            {goodHead + "workload: StatefulSet\n", `s.yaml:3: workload: wanted Deployment with canary, found "StatefulSet"`},
		"shares of a Deployment in place":        {"stable: {replicas: 4}\nstrategy: {type: rolling, steps: [{setWeight: 20}]}\n", `s.yaml:2: strategy.steps[0].setWeight: wanted 100 with rolling of a Deployment, found 20; only a StatefulSet`},
		"no time that is one":                    {goodHead + "until: soon\n", `s.yaml:3: until: wanted a time of at least 1s and at most 24h, found "soon"; write one such as 30s or 5m`},
		"an entry without a time":                {goodHead + "timeline:\n- verdict: Fail\n", `s.yaml:4: timeline[0]: wanted either at or when, found neither; write the one that is meant`},
		"an entry with both":                     {goodHead + "timeline:\n- {at: 1s, when: step 1, verdict: Fail}\n", `wanted either at or when, found both`},
		"an entry without an event":              {goodHead + "timeline:\n- at: 1s\n", `s.yaml:4: timeline[0]: wanted an event, found none; write one such as verdict: Fail`},
		"an entry with two events":               {goodHead + "timeline:\n- {at: 1s, verdict: Fail, manager: down}\n", `wanted one event in an entry, found another; give it an entry of its own`},
		"entries out of order":                   {goodHead + "timeline:\n- {at: 5s, verdict: Fail}\n- {at: 1s, verdict: Pass}\n", `s.yaml:5: timeline[1].at: wanted at least 5s, since entries happen in order, found 1s; move it up`},
		"after without when":                     {goodHead + "timeline:\n- {at: 5s, after: 1s, verdict: Fail}\n", `timeline[0].after: wanted a condition that it comes after, found none`},
		"a condition that is none":               {goodHead + "timeline:\n- {when: weight over 5, verdict: Fail}\n", `timeline[0].when: wanted a condition such as "phase Promoting",`},
		"a verdict that is none":                 {goodHead + "timeline:\n- {at: 1s, verdict: Bad}\n", `timeline[0].verdict: wanted one of Pass, Fail, Inconclusive, Unknown, or {is: Fail, message: WHY}, found "Bad"; choose one of them`},
		"pods that nothing befalls":              {goodHead + "timeline:\n- {at: 1s, pods: {set: new}}\n", `timeline[0].pods: wanted what befalls the pods, found nothing`},
		"the stable set of a first install":      {goodStrategy + "replicas: 3\ntimeline:\n- {at: 1s, pods: {set: stable, fail: 1}}\n", `timeline[0].pods.set: wanted a set that is there, found stable in a first install`},
		"a command without an action":            {goodHead + "timeline:\n- {at: 1s, command: {actor: bob}}\n", `timeline[0].command.action: wanted an action, found none; write action: approve or another`},
		"a hook that the strategy has not":       {goodHead + "timeline:\n- {at: 1s, hook: {name: x, answer: fails}}\n", `timeline[0].hook.name: wanted the name of one of the strategy's hooks, found "x"`},
		"a policy that denies without a word":    {goodHead + "timeline:\n- {at: 1s, policy: {for: 1m}}\n", `timeline[0].policy.denies: wanted why the policy denies, found nothing`},
		"a manager that dies in two ways":        {goodHead + "timeline:\n- {at: 1s, manager: {crashAfter: 1, crashBefore: Retire}}\n", `timeline[0].manager: wanted crashAfter or crashBefore, found 2 of them`},
		"writes that fail without a name":        {goodHead + "timeline:\n- {at: 1s, writes: {}}\n", `timeline[0].writes: wanted the writes that fail, found none`},
		"a write that is none":                   {goodHead + "timeline:\n- {at: 1s, writes: {fail: [Measure]}}\n", `timeline[0].writes.fail[0]: wanted one of Status, ApplyShared,`},
		"a load without autoscalers":             {goodHead + "timeline:\n- {at: 1s, load: 9}\n", `timeline[0].load: wanted a load at the top that says that there are autoscalers, found none`},
		"a release that goes in place":           {goodHead + "timeline:\n- {at: 1s, release: {strategy: {type: rolling}}}\n", `timeline[0].release.strategy.type: wanted a strategy that keeps revisions as the one before does`},
		"a fact that is none":                    {goodHead + "timeline:\n- {at: 1s, unread: [pods]}\n", `timeline[0].unread[0]: wanted one of new, stable, baseline, route, shared, job, found "pods"`},
		"a route without a weight":               {goodHead + "timeline:\n- {at: 1s, route: {}}\n", `timeline[0].route: wanted a weight, found none`},
		"an outcome that is none":                {goodHead + "expect: {outcome: Done}\n", `s.yaml:3: expect.outcome: wanted one of Pending, Progressing,`},
		"a gateway that does something else":     {goodHead + "timeline:\n- {at: 1s, gateway: down}\n", `timeline[0].gateway: wanted one of accepts, refuses, or {after: 20s}, found "down"; choose one of them`},
		"a policy that denies, without words":    {goodHead + "timeline:\n- {at: 1s, policy: denies}\n", `timeline[0].policy: wanted one of allows, unanswered, or {denies: WHY}, found "denies"`},
		"a share of the pods":                    {goodHead + "timeline:\n- {at: 1s, pods: {fail: 50%}}\n", `timeline[0].pods.fail: wanted a number of pods from 1 to 1000, or all, found "50%"`},
		"pods in one word":                       {goodHead + "timeline:\n- {at: 1s, pods: crash}\n", `timeline[0].pods: wanted fields (set, fail, lose,`},
		"a reason that nothing gives":            {goodHead + "timeline:\n- {when: reason TG-SUPERSEDED, manager: down}\n", `s.yaml:4: timeline[0].when: wanted a reason code that a Rollout gives, found "TG-SUPERSEDED"; write TG-ABORT-SUPERSEDED, or another one of docs/reasons.md`},
		"the code of a policy for a reason":      {goodHead + "timeline:\n- {when: reason TG-POLICY-FREEZE, manager: down}\n", `found "TG-POLICY-FREEZE"; write TG-HOLD-POLICY, or another`},
		"a reason like no other":                 {goodHead + "expect: {never: [reason TG-X]}\n", `found "TG-X"; write one of docs/reasons.md`},
		"a reason that can never come":           {goodHead + "expect: {never: [reason TG-HOLD-POD]}\n", `expect.never[0]: wanted a reason code that a Rollout gives, found "TG-HOLD-POD"; write TG-HOLD-PODS, or another one of docs/reasons.md`},
		"an expected reason that nothing gives":  {goodHead + "expect: {reasons: [TG-BEGUN, TG-DONE]}\n", `expect.reasons[1]: wanted a reason code that a Rollout gives, found "TG-DONE"`},
		"a refusal that nothing gives":           {goodHead + "expect: {refused: [TG-COMMAND-NO]}\n", `expect.refused[0]: wanted a reason code that a Rollout gives, found "TG-COMMAND-NO"`},
		"a weight above all of the requests":     {goodHead + "expect: {never: [weight above 200]}\n", `expect.never[0]: wanted a condition such as`},
		"an alias":                               {"stable: {replicas: &n 4}\nreplicas: *n\n" + goodStrategy, `s.yaml:2: wanted values that are written out, found "n", which stands for others; write those in its place`},
		"a merge":                                {"stable: {<<: {replicas: 4}}\n" + goodStrategy, `s.yaml:1: wanted values that are written out, found "<<"`},
		"a flag that is none":                    {goodHead + "timeline:\n- {at: 1s, pods: {stuck: yes please}}\n", `timeline[0].pods.stuck: wanted true or false, found "yes please"; write one of the two`},
	} {
		t.Run(name, func(t *testing.T) {
			t.Parallel()
			said := mistakes(t, "s.yaml", c.text)
			if !strings.Contains(said, c.want) {
				t.Errorf("wanted %q, found:\n%s", c.want, said)
			}
			for line := range strings.SplitSeq(said, "\n") {
				if !strings.HasPrefix(line, "s.yaml:") || !strings.Contains(line, "wanted ") || !strings.Contains(line, ", found") || !strings.Contains(line, "; ") {
					t.Errorf("not in three parts, or without its line: %q", line)
				}
			}
		})
	}
}

func mistakes(t *testing.T, file, text string) string {
	t.Helper()
	_, err := Parse(file, []byte(text), nil)
	wrong, ok := errors.AsType[*MalformedError](err)
	if !ok {
		t.Fatalf("wanted mistakes, found %v", err)
	}
	return strings.Join(wrong.Lines, "\n")
}

func TestMistakesInAnArchiveHaveTheLinesOfTheArchive(t *testing.T) {
	t.Parallel()
	for name, c := range map[string]struct{ text, want string }{
		"in the scenario":        {"Prose.\n\n-- scenario.yaml --\n" + goodHead + "x: 1\n", "s.txtar:6: wanted one of strategy,"},
		"in a strategy apart":    {"Prose.\n\n-- scenario.yaml --\nreplicas: 3\n-- strategy.yaml --\ntype: canary\nsteps:\n- setWeight: 200\n", "s.txtar:8: strategy.steps[0].setWeight: wanted 0 to 100, found 200"},
		"no prose":               {"-- scenario.yaml --\n" + goodHead, "wanted some sentences at the top that say what happens, found none"},
		"no scenario":            {"Prose.\n-- want --\n", "wanted a file scenario.yaml in the archive, found none"},
		"a file that is not one": {"Prose.\n-- scenario.yaml --\n" + goodHead + "-- notes --\n", "notes: wanted the files scenario.yaml, strategy.yaml and want, found another; remove it"},
		"two strategies":         {"Prose.\n-- strategy.yaml --\ntype: rolling\n-- scenario.yaml --\n" + goodHead, "strategy: wanted one strategy, found another beside it; remove one of them"},
	} {
		t.Run(name, func(t *testing.T) {
			t.Parallel()
			if said := mistakes(t, "s.txtar", c.text); !strings.Contains(said, c.want) {
				t.Errorf("wanted %q, found:\n%s", c.want, said)
			}
		})
	}
}
