package command

import (
	"fmt"
	"os"
	"path/filepath"
	"regexp"
	"strings"
	"testing"

	"sigs.k8s.io/controller-runtime/pkg/client/interceptor"
	"sigs.k8s.io/yaml"

	"tidegate.io/tidegate/schemas/v1alpha1"
)

const checkout = "../../../.."

// strategyPages are the pages that show strategies in CUE, each with the example that its pieces fit into.
var strategyPages = map[string]string{
	"canary": "canary", "strategies": "canary", "checks": "canary", "traffic": "canary", "rollback": "canary",
	"bluegreen": "bluegreen", "rolling": "rolling",
}

func page(t *testing.T, name string) string {
	t.Helper()
	text, err := os.ReadFile(filepath.Join(checkout, "docs", name+".md"))
	if err != nil {
		t.Fatal(err)
	}
	return string(text)
}

var fence = regexp.MustCompile("(?ms)^```([a-z]+)\\n(.*?)^```$")

// blocks are the fenced pieces of a page in a language.
func blocks(text, language string) []string {
	var out []string
	for _, m := range fence.FindAllStringSubmatch(text, -1) {
		if m[1] == language {
			out = append(out, m[2])
		}
	}
	return out
}

// withStrategy writes an example's template with a piece of a page in the place of what that is about: the
// whole rollout, its steps, or a field of it.
func withStrategy(t *testing.T, example, piece string) (dir string) {
	t.Helper()
	dir = t.TempDir()
	from := filepath.Join(checkout, "docs", "examples", example)
	source, err := os.ReadFile(filepath.Join(from, example+".cue"))
	if err != nil {
		t.Fatal(err)
	}
	rest, own, found := strings.Cut(string(source), "\nrollout: ")
	if !found {
		t.Fatalf("wanted the rollout at the end of the example %s", example)
	}
	// What the piece leaves out is the example's: its analysis, and its steps beside a mere field.
	var parts []string
	_, analysis, analyses := strings.Cut(own, "\n\tanalysis: ")
	if steps := strings.HasPrefix(piece, "steps: "); steps {
		piece = fmt.Sprintf("rollout: {type: %q}\nrollout: %s", "canary", piece)
	} else if !strings.Contains(piece, "type:") {
		parts, analyses = append(parts, "rollout: "+own), false
	}
	if analyses && strings.Contains(piece, "analyze") && !strings.Contains(piece, "analysis:") {
		parts = append(parts, "rollout: {\n\tanalysis: "+analysis)
	}
	if !strings.Contains(piece, "job:") && len(parts) == 0 || !strings.Contains(strings.Join(parts, "")+piece, "job:") {
		rest = smoke.ReplaceAllString(rest, "")
	}
	parts = append(parts, piece)
	for name, text := range map[string]string{example + ".cue": rest + "\n", "page.cue": "package " + example + "\n\nimport \"tidegate.io/kit\"\n\n_kit: kit\n" + strings.Join(parts, "\n")} {
		if err := os.WriteFile(filepath.Join(dir, name), []byte(text), 0o600); err != nil {
			t.Fatal(err)
		}
	}
	return dir
}

// smoke is the Job of the example, which a step has to run where it is there.
var smoke = regexp.MustCompile(`(?s)\n\t// Run by the step of its name.*?\n\t\}\n`)

// TestEveryPieceOfTheStrategyPagesWorks does with each piece of CUE what a newcomer does: it puts it into
// the example, checks that, and plays it to its end.
func TestEveryPieceOfTheStrategyPagesWorks(t *testing.T) {
	pieces := 0
	for name, example := range strategyPages {
		for i, piece := range blocks(page(t, name), "cue") {
			pieces++
			t.Run(fmt.Sprintf("%s.md, piece %d", name, i+1), func(t *testing.T) {
				dir := withStrategy(t, example, piece)
				values, err := filepath.Abs(filepath.Join(checkout, "docs", "examples", example, "examples", "least.yaml"))
				if err != nil {
					t.Fatal(err)
				}
				scenario := "stable: {replicas: 10}\nuntil: 2h\nexpect: {outcome: Succeeded, atRisk: 0s}\n"
				if n := strings.Count(piece, "approval: true"); n > 0 || !strings.Contains(piece, "steps:") && example == "canary" {
					scenario += "timeline: [{when: reason TG-HOLD-APPROVAL, command: approve}]\n"
				}
				if example == "rolling" {
					scenario += "workload: StatefulSet\n"
				}
				if example == "bluegreen" {
					scenario += "router: Service\n"
				}
				w := newWorld(t, interceptor.Funcs{})
				w.wantCode(w.run(t.Context(), "template", "vet", dir), ExitOK)
				w.wantCode(w.run(t.Context(), "simulate", "rollout", file(t, "page.yaml", scenario), "--template", dir, "--values", values), ExitOK)
				wantPart(t, "the end", w.out.String(), "Succeeded after")
			})
		}
	}
	if pieces < 10 {
		t.Errorf("only %d pieces were found", pieces)
	}
}

var command = regexp.MustCompile(`(?m)^ {4}(tidegate [^|#\n]*)`)

// TestEveryCommandOfTheStrategyPagesIsOne runs what needs no cluster, and sees that the rest is
// a command with such flags.
func TestEveryCommandOfTheStrategyPagesIsOne(t *testing.T) {
	texts := map[string]string{}
	for name := range strategyPages {
		texts[name] = page(t, name)
	}
	texts["notifications"] = page(t, "notifications")
	t.Chdir(checkout)
	offline := regexp.MustCompile(`^tidegate template (vet|test|render|bundle) `)
	ran, looked := 0, 0
	for name, text := range texts {
		for _, m := range command.FindAllStringSubmatch(text, -1) {
			line := strings.TrimSpace(m[1])
			args := strings.Fields(regexp.MustCompile(`"[^"]*"`).ReplaceAllString(line, "words"))[1:]
			if offline.MatchString(line) {
				ran++
			} else {
				args = append(args, "--help")
				looked++
			}
			t.Run(name+".md: "+line, func(t *testing.T) {
				w := newWorld(t, interceptor.Funcs{})
				w.wantCode(w.run(t.Context(), args...), ExitOK)
				if args[len(args)-1] == "--help" {
					wantPart(t, "the help", w.out.String(), "Usage:\n  tidegate "+args[0]+" ")
				}
			})
		}
	}
	if ran < 12 || looked < 12 {
		t.Errorf("only %d commands were run and %d looked at", ran, looked)
	}
}

var heredoc = regexp.MustCompile(`(?ms)^ {4}kubectl create -f - <<EOF\n(.*?)^ {4}EOF$`)

// TestEveryCommandObjectOfThePagesIsOne reads what pages pipe into kubectl.
func TestEveryCommandObjectOfThePagesIsOne(t *testing.T) {
	found := 0
	for name := range strategyPages {
		for _, m := range heredoc.FindAllStringSubmatch(page(t, name), -1) {
			found++
			var c v1alpha1.RolloutCommand
			if err := yaml.UnmarshalStrict([]byte(regexp.MustCompile(`(?m)^ {4}`).ReplaceAllString(m[1], "")), &c); err != nil {
				t.Errorf("docs/%s.md: %v in\n%s", name, err, m[1])
			}
			if c.Kind != "RolloutCommand" || c.Spec.Rollout == "" || c.Spec.Action == "" || c.Namespace == "" {
				t.Errorf("docs/%s.md: wanted a RolloutCommand with all that it needs, found\n%s", name, m[1])
			}
		}
	}
	if found == 0 {
		t.Error("none was found")
	}
}
