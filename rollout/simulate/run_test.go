package simulate

import (
	"bytes"
	"encoding/json"
	"os"
	"slices"
	"strings"
	"testing"
)

func play(t *testing.T, text string) Result {
	t.Helper()
	sc, err := Parse("s.yaml", []byte(text), nil)
	if err != nil {
		t.Fatal(err)
	}
	return Run(sc)
}

// TestWhatIsExpectedAndDoesNotComeIsSaid gives what does not come true in each row, and
// what is said of it.
func TestWhatIsExpectedAndDoesNotComeIsSaid(t *testing.T) {
	t.Parallel()
	for name, c := range map[string]struct{ text, want string }{
		"another outcome":               {"expect: {outcome: Succeeded}\n", "expect.outcome: wanted Succeeded, found Progressing (app-2 Progressing, step 2, weight 20 %, TG-HOLD-APPROVAL)"},
		"another revision serves":       {"expect: {serving: v2}\n", `expect.serving: wanted all requests to go to v2, found ""`},
		"another weight":                {"expect: {highestWeight: 60}\n", "expect.highestWeight: wanted 60 %, found 20 %"},
		"it takes longer":               {"expect: {within: 2s}\n", "expect.within: wanted everything to be done within 2s, found that it took 6s"},
		"requests are at risk":          {"timeline:\n- {when: weight 20, pods: {fail: all}}\n", "expect.atRisk: wanted requests at risk for at most 0s, found 1s: v2 had 20 % of the requests and 0 available pods at 6s"},
		"a reason that does not come":   {"expect: {reasons: [TG-HOLD-APPROVAL, TG-BEGUN]}\n", "expect.reasons: wanted TG-BEGUN after those before it, found [TG-BEGUN TG-HOLD-PODS"},
		"a refusal that does not come":  {"expect: {refused: [TG-COMMAND-LATE]}\n", "expect.refused: wanted TG-COMMAND-LATE after those before it, found []"},
		"what is never to be":           {"expect: {never: [weight above 10]}\n", `expect.never: wanted "weight above 10" never, found it so at 6s (app-2 Progressing`},
		"what is always to be":          {"expect: {always: [weight below 10]}\n", `expect.always: wanted "weight below 10" always, found it not so at 6s`},
		"an entry that never happens":   {"timeline:\n- {when: phase Aborted, verdict: Fail}\n", `timeline: wanted "analysis: Fail" of line 4 to happen (when phase Aborted), found the end at 6s before it`},
		"an end that comes before rest": {"until: 3s\nexpect: {outcome: Aborted}\n", "expect.outcome: wanted Aborted and nothing left to do, found something still going on at 3s"},
	} {
		t.Run(name, func(t *testing.T) {
			t.Parallel()
			found := play(t, goodHead+c.text).Failures
			if !slices.ContainsFunc(found, func(f string) bool { return strings.Contains(f, c.want) }) {
				t.Errorf("wanted %q, found %q", c.want, found)
			}
		})
	}
	if found := play(t, goodHead+"expect: {outcome: Progressing, highestWeight: 20, within: 6s, always: [stable pods 4], never: [phase Aborting]}\n").Failures; len(found) > 0 {
		t.Errorf("wanted nothing to be wrong, found %q", found)
	}
}

// TestTheSameScenarioGivesTheSameBytes plays every scenario again and again.
func TestTheSameScenarioGivesTheSameBytes(t *testing.T) {
	t.Parallel()
	for _, file := range scenarios(t) {
		data, err := os.ReadFile(file)
		if err != nil {
			t.Fatal(err)
		}
		outputs := map[string]bool{}
		for range 5 {
			sc, err := Parse(file, data, nil)
			if err != nil {
				t.Fatal(err)
			}
			var out bytes.Buffer
			res := Run(sc)
			if err := res.JSON(&out, true); err != nil {
				t.Fatal(err)
			}
			if err := res.Text(&out, true); err != nil {
				t.Fatal(err)
			}
			outputs[out.String()] = true
		}
		if len(outputs) != 1 {
			t.Errorf("%s: %d different outputs", file, len(outputs))
		}
	}
}

// TestOneDecisionALine reads the JSON back: its fields are a promise.
func TestOneDecisionALine(t *testing.T) {
	t.Parallel()
	var out bytes.Buffer
	if err := play(t, goodHead).JSON(&out, false); err != nil {
		t.Fatal(err)
	}
	lines := strings.Split(strings.TrimSpace(out.String()), "\n")
	const second = `{"kind":"decision","seconds":5,"time":"2026-01-01T00:00:05Z","rollout":"app-2","phase":"Progressing","step":1,"steps":3,"stepText":"weight 20 %",` +
		`"weight":0,"approvedWeight":20,"canaryReplicas":1,"canaryAvailable":1,"stableReplicas":4,"stableAvailable":4,` +
		`"actions":[{"kind":"SetWeight","weight":20}],` +
		`"moves":[{"reason":"TG-STEP-APPROVED","message":"step 1/3: 20 % to revision v2: every gate before it let pass"}],"reason":"TG-HOLD-ROUTE","message":"step 1/3: 20 % to revision v2, on the way: the route carries 0 %","requeueAfter":5}`
	const last = `{"kind":"summary","rollout":"app-2","outcome":"Progressing","reason":"TG-HOLD-APPROVAL","settled":true,"serving":"","seconds":6,"highestWeight":20,"secondsAtRisk":0,"decisions":`
	if len(lines) != 4 || lines[1] != second || !strings.HasPrefix(lines[3], last) {
		t.Errorf("found:\n%s", out.String())
	}
	for _, line := range lines {
		if !json.Valid([]byte(line)) {
			t.Errorf("no JSON: %s", line)
		}
	}
}

// TestWhatDoesNothingIsShownOnDemand counts the lines with and without all.
func TestWhatDoesNothingIsShownOnDemand(t *testing.T) {
	t.Parallel()
	res := play(t, goodHead)
	lines := func(all bool) int {
		var out bytes.Buffer
		if err := res.JSON(&out, all); err != nil {
			t.Fatal(err)
		}
		return strings.Count(out.String(), "\n")
	}
	if shown, all := lines(false), lines(true); shown >= all || all != res.Summary.Decisions+1 {
		t.Errorf("%d of %d lines are shown, for %d decisions", shown, all, res.Summary.Decisions)
	}
}

// TestTheOutputThatAnArchiveExpects is compared, and can be written there.
func TestTheOutputThatAnArchiveExpects(t *testing.T) {
	t.Parallel()
	data := WithWant([]byte("Prose.\n\n-- scenario.yaml --\n"+goodHead), "a\nb\n")
	sc, err := Parse("s.txtar", data, nil)
	if err != nil {
		t.Fatal(err)
	}
	for output, want := range map[string]string{
		"a\nb\n":    "",
		"a\nc\n":    `want: line 2: wanted "b", found "c"; if that is right, write it there with: tidegate simulate rollout --update s.txtar`,
		"a\n":       `want: line 2: wanted "b", found ""`,
		"a\nb\nc\n": `want: line 3: wanted "", found "c"`,
	} {
		if found := sc.Compare(output); !strings.HasPrefix(found, want) || want == "" && found != "" {
			t.Errorf("%q: wanted %q, found %q", output, want, found)
		}
	}
}
