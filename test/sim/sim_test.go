// Package sim plays the planner's scenarios through the built command line, as somebody who has
// only that and docs/simulate.md would, and holds it to what the library says.
package sim

import (
	"bytes"
	"context"
	"encoding/json"
	"errors"
	"fmt"
	"os"
	"os/exec"
	"path/filepath"
	"strings"
	"testing"
	"time"

	"tidegate.io/tidegate/rollout/simulate"
)

const scenarios = "../../rollout/plan/testdata"

// program is the built command line.
type program string

// built is built once for all tests.
var built program

func TestMain(m *testing.M) {
	os.Exit(within(m))
}

func within(m *testing.M) int {
	dir, err := os.MkdirTemp("", "sim")
	if err != nil {
		panic(err)
	}
	defer func() { _ = os.RemoveAll(dir) }()
	built = program(filepath.Join(dir, "tidegate"))
	ctx, cancel := context.WithTimeout(context.Background(), 10*time.Minute)
	defer cancel()
	cmd := exec.CommandContext(ctx, "go", "build", "-o", string(built), "tidegate.io/tidegate/cmd/tidegate")
	if out, err := cmd.CombinedOutput(); err != nil {
		fmt.Fprintf(os.Stderr, "building the command line: %v\n%s", err, out)
		return 1
	}
	return m.Run()
}

// run returns what was written and the exit code.
func (p program) run(t *testing.T, args ...string) (out, said string, code int) {
	t.Helper()
	cmd := exec.CommandContext(t.Context(), string(p), append([]string{"simulate", "rollout"}, args...)...)
	var stdout, stderr bytes.Buffer
	cmd.Stdout, cmd.Stderr = &stdout, &stderr
	err := cmd.Run()
	if exit, ok := errors.AsType[*exec.ExitError](err); ok {
		return stdout.String(), stderr.String(), exit.ExitCode()
	}
	if err != nil {
		t.Fatal(err)
	}
	return stdout.String(), stderr.String(), 0
}

// TestTheScenariosThroughTheProgram plays all of them: the exit code is 0, the text is what the
// archives say, and the JSON what the library gives.
func TestTheScenariosThroughTheProgram(t *testing.T) {
	p := built
	files, err := filepath.Glob(scenarios + "/*.txtar")
	if err != nil || len(files) < 40 {
		t.Fatalf("wanted at least 40 scenarios, found %d (%v)", len(files), err)
	}
	var good, lines strings.Builder
	for _, file := range files {
		sc := parse(t, file)
		if !sc.HasWant || sc.Expect.Line == 0 {
			t.Errorf("%s expects nothing", file)
		}
		var one bytes.Buffer
		if err := simulate.Run(sc).JSON(&one, true); err != nil {
			t.Fatal(err)
		}
		judge(t, file, one.String())
		lines.Write(one.Bytes())
		good.WriteString("ok    " + file + "\n")
	}
	if out, said, code := p.run(t, files...); code != 0 || said != "" || out != good.String() {
		t.Errorf("exit code %d, said %q, wrote:\n%s", code, said, out)
	}
	if out, said, code := p.run(t, append([]string{"-o", "json", "--all"}, files...)...); code != 0 || said != "" || out != lines.String() {
		t.Errorf("exit code %d, said %q; the program's JSON is not the library's", code, said)
	}
	if out, said, code := p.run(t, files[0]); code != 0 || said != "" || out != parse(t, files[0]).Want {
		t.Errorf("exit code %d, said %q, wrote:\n%s", code, said, out)
	}
}

func parse(t *testing.T, file string) *simulate.Scenario {
	t.Helper()
	data, err := os.ReadFile(file)
	if err != nil {
		t.Fatal(err)
	}
	sc, err := simulate.Parse(file, data, nil)
	if err != nil {
		t.Fatal(err)
	}
	return sc
}

// judge holds the decisions of a scenario to what holds in all of them, by their JSON alone.
func judge(t *testing.T, file, lines string) {
	t.Helper()
	last := map[string]simulate.Record{}
	for line := range strings.SplitSeq(strings.TrimSpace(lines), "\n") {
		var d simulate.Record
		if err := json.Unmarshal([]byte(line), &d); err != nil {
			t.Fatalf("%v: %s", err, line)
		}
		if d.Kind != "decision" {
			continue
		}
		was, seen := last[d.Rollout]
		last[d.Rollout] = d
		switch {
		case d.Reason == "" || d.Message == "":
			t.Errorf("%s: I9: a decision without a reason: %s", file, line)
		case seen && was.Phase == "Aborting" && d.Phase != "Aborting" && d.Phase != "Aborted":
			t.Errorf("%s: I3: an abort was given up: %s", file, line)
		}
		for _, a := range d.Actions {
			if a.Kind == "SetWeight" && *a.Weight > d.ApprovedWeight && d.Phase != "Aborting" {
				t.Errorf("%s: I4: the route is given more than is approved: %s", file, line)
			}
		}
	}
}

// TestTheExitCodes are what a pipeline goes by.
func TestTheExitCodes(t *testing.T) {
	p := built
	dir := t.TempDir()
	const good = "stable: {replicas: 4}\nstrategy: {type: canary, steps: [{setWeight: 20}]}\n"
	for name, c := range map[string]struct {
		text string
		code int
		said string
	}{
		"as-expected.yaml":     {good + "expect: {outcome: Succeeded}\n", 0, ""},
		"not-as-expected.yaml": {good + "expect: {outcome: Aborted}\n", 1, "not-as-expected.yaml: expect.outcome: wanted Aborted, found Succeeded"},
		"another-output.txtar": {"Prose.\n\n-- scenario.yaml --\n" + good + "-- want --\nnothing\n", 1, "another-output.txtar: want: line 1: wanted "},
		"malformed.yaml":       {good + "timeline: yes\n", 2, `malformed.yaml:3: timeline: wanted a list, found "yes"; begin each item with a dash`},
	} {
		file := filepath.Join(dir, name)
		if err := os.WriteFile(file, []byte(c.text), 0o600); err != nil {
			t.Fatal(err)
		}
		if _, said, code := p.run(t, file); code != c.code || !strings.Contains(said, c.said) || c.said == "" && said != "" {
			t.Errorf("%s: exit code %d, said %q", name, code, said)
		}
	}
	if _, said, code := p.run(t, filepath.Join(dir, "none.yaml")); code != 2 || !strings.Contains(said, "none.yaml: no such file") {
		t.Errorf("a file that is not there: exit code %d, said %q", code, said)
	}
	if _, said, code := p.run(t, "--frob"); code != 2 || !strings.Contains(said, "wanted a flag of tidegate simulate rollout, found --frob") {
		t.Errorf("a flag that is none: exit code %d, said %q", code, said)
	}
	out, said, code := p.run(t, filepath.Join(dir, "as-expected.yaml"), filepath.Join(dir, "not-as-expected.yaml"))
	if code != 1 || !strings.HasPrefix(out, "ok    ") || !strings.Contains(out, "\nFAIL  ") || said == "" {
		t.Errorf("several: exit code %d, said %q, wrote %q", code, said, out)
	}
	other := filepath.Join(dir, "another-output.txtar")
	if _, _, code := p.run(t, "--update", other); code != 0 {
		t.Errorf("--update: exit code %d", code)
	}
	if _, said, code := p.run(t, other); code != 0 {
		t.Errorf("after --update: exit code %d, said %q", code, said)
	}
}

// TestATemplatesStrategyIsPlayed renders a shipped template and plays what it says.
func TestATemplatesStrategyIsPlayed(t *testing.T) {
	p := built
	dir := t.TempDir()
	for name, text := range map[string]string{
		"s.yaml":      "stable: {replicas: 4}\nexpect: {outcome: Succeeded, serving: v2}\n",
		"values.yaml": "image: registry.example.com/cart@sha256:0123456789abcdef0123456789abcdef0123456789abcdef0123456789abcdef\n",
	} {
		if err := os.WriteFile(filepath.Join(dir, name), []byte(text), 0o600); err != nil {
			t.Fatal(err)
		}
	}
	out, said, code := p.run(t, filepath.Join(dir, "s.yaml"), "--template", "../../schemas/templates/web", "--values", filepath.Join(dir, "values.yaml"))
	if code != 0 || !strings.Contains(out, "Succeeded") {
		t.Errorf("exit code %d, said %q, wrote %q", code, said, out)
	}
}
