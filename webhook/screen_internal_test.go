package webhook

import (
	"fmt"
	"strings"
	"testing"
	"unicode/utf8"
)

func TestAnAnswerIsAtMostOneScreen(t *testing.T) {
	many := func(n int, line string) string {
		return "TG-X: wanted this, found:" + strings.Repeat("\n  - "+line, n) + "\ndo: tidegate that"
	}
	for name, tc := range map[string]struct{ message, has string }{
		"a short one":             {"TG-X: wanted a, found b; do: c", "TG-X: wanted a, found b; do: c"},
		"three hundred mistakes":  {many(300, "values.a: wanted b, found c"), "  ... and 282 more lines; to see all: tidegate check -f FILE\n"},
		"long mistakes":           {many(12, strings.Repeat("x", 500)), "more lines"},
		"a name without an end":   {`TG-X: wanted a template, found "` + strings.Repeat("n", 60_000) + `"; do: kubectl get releasetemplates`, "(59"},
		"a name of another sort":  {`TG-X: found "` + strings.Repeat("é", 30_000) + `"; do: this`, `"; do: this`},
		"one line and an end":     {strings.Repeat("x", 2000) + "\n", "(14"},
		"many and long":           {many(500, strings.Repeat("é", 8000)), "more lines"},
		"empty lines":             {strings.Repeat("\n", 3000) + "do: this", "do: this"},
		"twenty lines of nothing": {many(18, ""), strings.TrimSuffix(many(18, ""), "\n")},
	} {
		got := screen(tc.message)
		if lines := strings.Count(got, "\n") + 1; lines > headLines+tailLines+1 || len(got) > screenHead+screenTail+2*longLine {
			t.Errorf("%s: %d lines, %d bytes", name, lines, len(got))
		}
		if !strings.Contains(got, tc.has) || !utf8.ValidString(got) {
			t.Errorf("%s: wanted %q in\n%s", name, tc.has, got)
		}
		for _, word := range []string{"do: tidegate that", "do: kubectl get releasetemplates"} {
			if strings.HasSuffix(tc.message, word) && !strings.HasSuffix(got, word) {
				t.Errorf("%s: it does not say what to do:\n%s", name, got)
			}
		}
		if again := screen(got); again != got && len(again) > len(got) {
			t.Errorf("%s: it grows: %s", name, fmt.Sprint(len(got), len(again)))
		}
	}
}
