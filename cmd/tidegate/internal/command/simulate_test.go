package command

import (
	"os"
	"path/filepath"
	"strings"
	"testing"

	"sigs.k8s.io/controller-runtime/pkg/client/interceptor"
)

const aScenario = "stable: {replicas: 4}\nstrategy: {type: canary, steps: [{setWeight: 50}]}\n"

// TestAnUpdateSaysWhatItDid plays scenarios with --update: what is said, and what the file has afterwards.
func TestAnUpdateSaysWhatItDid(t *testing.T) {
	const prose = "Half of the requests.\n\n-- scenario.yaml --\n"
	for name, c := range map[string]struct {
		file, text string
		code       int
		said       string
		written    bool
	}{
		"YAML has no place for it":                   {"s.yaml", aScenario, ExitRenderFailed, "s.yaml: wanted a txtar archive for --update, found what has no place for the output; nothing is written: put", false},
		"an archive gets it":                         {"s.txtar", prose + aScenario, ExitOK, "s.txtar: the output is written to its want\n", true},
		"an archive of another name too":             {"S.scenario", prose + aScenario, ExitOK, "S.scenario: the output is written to its want\n", true},
		"what was expected is replaced":              {"s.txtar", prose + aScenario + "-- want --\nnonsense\n", ExitOK, "s.txtar: the output is written to its want\n", true},
		"and what failed is told beside it":          {"s.txtar", prose + aScenario + "expect: {outcome: Aborted}\n", ExitRenderFindings, "expect.outcome: wanted Aborted, found Succeeded", true},
		"a scenario with a mistake is left as it is": {"s.txtar", prose + aScenario + "x: 1\n", ExitRenderFailed, "s.txtar:6: wanted one of strategy,", false},
	} {
		t.Run(name, func(t *testing.T) {
			path := filepath.Join(t.TempDir(), c.file)
			if err := os.WriteFile(path, []byte(c.text), 0o600); err != nil {
				t.Fatal(err)
			}
			w := newWorld(t, interceptor.Funcs{})
			w.wantCode(w.run(t.Context(), "simulate", "rollout", "--update", path), c.code)
			wantPart(t, "err", w.err.String(), c.said)
			after, err := os.ReadFile(path)
			if err != nil {
				t.Fatal(err)
			}
			if written := strings.Contains(string(after), "\n= app-2 Succeeded"); written != c.written {
				t.Errorf("written: %t, wanted %t:\n%s", written, c.written, after)
			}
			if !c.written {
				return
			}
			again := newWorld(t, interceptor.Funcs{})
			again.wantCode(again.run(t.Context(), "simulate", "rollout", "--update", path), c.code)
			wantPart(t, "err", again.err.String(), path+": the output is as it was expected; nothing is written\n")
		})
	}
}
