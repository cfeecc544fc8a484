package simulate

import (
	"os"
	"regexp"
	"strings"
	"testing"
)

// TestTheExampleInTheDocumentationIsTrue plays the first example of docs/simulate.md and
// looks for each line that it shows, up to where it is cut short.
func TestTheExampleInTheDocumentationIsTrue(t *testing.T) {
	t.Parallel()
	doc, err := os.ReadFile("../../docs/simulate.md")
	if err != nil {
		t.Fatal(err)
	}
	parts := strings.Split(string(doc), "```")
	if len(parts) < 5 || !strings.HasPrefix(parts[1], "yaml\n") {
		t.Fatal("wanted an example and its output at the top of docs/simulate.md")
	}
	res := play(t, strings.TrimPrefix(parts[1], "yaml\n"))
	var out strings.Builder
	if err := res.Text(&out, false); err != nil || len(res.Failures) > 0 {
		t.Fatal(err, res.Failures)
	}
	for line := range strings.SplitSeq(strings.TrimSpace(parts[3]), "\n") {
		if shown := strings.TrimSuffix(line, "..."); !strings.HasPrefix(line, "$ ") && !strings.Contains(out.String(), shown) {
			t.Errorf("the documentation shows %q; the output is\n%s", line, out.String())
		}
	}
}

// TestTheMistakeInTheDocumentationIsTold parses what the page's mistake is about.
func TestTheMistakeInTheDocumentationIsTold(t *testing.T) {
	t.Parallel()
	doc, err := os.ReadFile("../../docs/simulate.md")
	if err != nil {
		t.Fatal(err)
	}
	told := regexp.MustCompile(`(?m)^bad\.yaml:\d+: .*$`).FindString(string(doc))
	if told == "" {
		t.Fatal("wanted a mistake of bad.yaml in docs/simulate.md, found none")
	}
	_, err = Parse("bad.yaml", []byte("stable: {replicas: 10}\nstrategy:\n  type: canary\n  steps:\n    - setWeight: 20\n    - setWeight: 20\n"), nil)
	if err == nil || !strings.Contains(err.Error(), told) {
		t.Errorf("the documentation shows %q; it is %v", told, err)
	}
}

// TestEveryFieldIsDocumented finds the fields that the parser knows in its source, and looks
// for them in docs/simulate.md.
func TestEveryFieldIsDocumented(t *testing.T) {
	t.Parallel()
	doc, err := os.ReadFile("../../docs/simulate.md")
	if err != nil {
		t.Fatal(err)
	}
	known := 0
	for _, file := range []string{"parse.go", "timeline.go"} {
		source, err := os.ReadFile(file)
		if err != nil {
			t.Fatal(err)
		}
		for _, m := range regexp.MustCompile(`field\{"(\w+)"`).FindAllStringSubmatch(string(source), -1) {
			known++
			if !regexp.MustCompile(`\b` + m[1] + `\b`).Match(doc) {
				t.Errorf("the field %s of %s is not in docs/simulate.md", m[1], file)
			}
		}
	}
	if known < 60 {
		t.Errorf("only %d fields were found", known)
	}
}
