package simulate

import (
	"flag"
	"os"
	"path/filepath"
	"strings"
	"testing"

	"github.com/google/go-cmp/cmp"
)

var update = flag.Bool("update", false, "rewrite the expected output of the scenarios")

// scenarios are the files that say what the planner does.
func scenarios(t *testing.T) []string {
	t.Helper()
	files, err := filepath.Glob("../plan/testdata/*.txtar")
	if err != nil || len(files) < 40 {
		t.Fatalf("wanted at least 40 scenarios, found %d (%v)", len(files), err)
	}
	return files
}

// TestEveryScenarioComesOutAsItSays plays each scenario, holds it to what it expects, and
// its output to what was read and found right.
func TestEveryScenarioComesOutAsItSays(t *testing.T) {
	t.Parallel()
	for _, file := range scenarios(t) {
		t.Run(strings.TrimSuffix(filepath.Base(file), ".txtar"), func(t *testing.T) {
			t.Parallel()
			data, err := os.ReadFile(file)
			if err != nil {
				t.Fatal(err)
			}
			sc, err := Parse(filepath.Base(file), data, nil)
			if err != nil {
				t.Fatal(err)
			}
			res := Run(sc)
			for _, f := range res.Failures {
				t.Error(f)
			}
			if sc.Expect.Line == 0 {
				t.Error("the scenario expects nothing")
			}
			var out strings.Builder
			if err := res.Text(&out, false); err != nil {
				t.Fatal(err)
			}
			if diff := cmp.Diff(sc.Want, out.String()); diff != "" && *update {
				if err := os.WriteFile(file, WithWant(data, out.String()), 0o600); err != nil {
					t.Fatal(err)
				}
			} else if diff != "" {
				t.Errorf("-want +got; go test -update rewrites it:\n%s", diff)
			}
		})
	}
}
