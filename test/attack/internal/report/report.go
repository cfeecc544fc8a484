// Package report tells what came of attempts: a table for people, JSON for programs, and
// the code to exit with.
package report

import (
	"encoding/json"
	"fmt"
	"io"
	"strings"
	"text/tabwriter"
	"time"

	"tidegate.io/tidegate/test/attack/internal/attempt"
	"tidegate.io/tidegate/test/attack/internal/play"
)

// Exit codes.
const (
	// AllAsExpected is when every attempt was played and ended as expected.
	AllAsExpected = 0
	// NotAsExpected is when one ended otherwise.
	NotAsExpected = 1
	// CouldNotRun is when none ended otherwise, but one could not be carried out, or the
	// whole run could not.
	CouldNotRun = 2
)

// Code is the exit code of outcomes. None at all is no success.
func Code(outcomes []play.Outcome) int {
	code := AllAsExpected
	if len(outcomes) == 0 {
		return CouldNotRun
	}
	for _, o := range outcomes {
		switch {
		case o.Err == nil && len(o.Problems) > 0:
			return NotAsExpected
		case o.Err != nil:
			code = CouldNotRun
		}
	}
	return code
}

// verdict is one word on an outcome.
func verdict(o play.Outcome) string {
	switch {
	case o.Err != nil:
		return "ERROR"
	case len(o.Problems) > 0:
		return "FAIL"
	}
	return "pass"
}

// widths of the columns that can be long.
const (
	wideName     = 58
	wideIdentity = 26
	wideRequest  = 40
	wideExpected = 36
	wideFound    = 46
)

// Table writes a line for each outcome, the reasons of those that did not pass, and the sums.
func Table(w io.Writer, outcomes []play.Outcome) error {
	t := tabwriter.NewWriter(w, 0, 0, 2, ' ', 0)
	for _, kind := range []attempt.Kind{attempt.Hostile, attempt.Legitimate} {
		if _, err := fmt.Fprintf(t, "%s\tIDENTITY\tREQUEST\tEXPECTED\tFOUND\t\n", title(kind)); err != nil {
			return err
		}
		for _, o := range outcomes {
			if o.Attempt.Kind != kind {
				continue
			}
			if _, err := fmt.Fprintf(t, "%s\t%s\t%s\t%s\t%s\t%s\n", clip(o.Attempt.Name, wideName), clip(o.Identity, wideIdentity),
				clip(o.Request, wideRequest), clip(o.Expected, wideExpected), clip(o.Found, wideFound), verdict(o)); err != nil {
				return err
			}
		}
		if _, err := fmt.Fprintln(t); err != nil {
			return err
		}
		// Each table has columns of its own.
		if err := t.Flush(); err != nil {
			return err
		}
	}
	var b strings.Builder
	for _, o := range outcomes {
		if !o.Pass() {
			fmt.Fprintf(&b, "%s  %s (%s)\n    %s\n", verdict(o), o.Attempt.Name, o.Attempt.File, o.Attempt.About)
			for _, p := range reasons(o) {
				fmt.Fprintf(&b, "    %s\n", strings.ReplaceAll(p, "\n", "\n    "))
			}
			b.WriteString("\n")
		}
	}
	for _, kind := range []attempt.Kind{attempt.Hostile, attempt.Legitimate} {
		s := sum(outcomes, kind)
		fmt.Fprintf(&b, "%s: %d of %d as expected", plural(kind), s.Passed, s.Played)
		if s.Failed+s.Errors > 0 {
			fmt.Fprintf(&b, ", %d failed, %d could not be carried out", s.Failed, s.Errors)
		}
		b.WriteString("\n")
	}
	_, err := io.WriteString(w, b.String())
	return err
}

func title(k attempt.Kind) string {
	if k == attempt.Legitimate {
		return "LEGITIMATE ACTION"
	}
	return "ATTEMPT"
}

func plural(k attempt.Kind) string {
	if k == attempt.Legitimate {
		return "legitimate actions"
	}
	return "attempts"
}

func reasons(o play.Outcome) []string {
	if o.Err != nil {
		return append([]string{o.Err.Error()}, o.Problems...)
	}
	return o.Problems
}

func clip(s string, most int) string {
	s = strings.Join(strings.Fields(s), " ")
	if r := []rune(s); len(r) > most {
		return string(r[:most-3]) + "..."
	}
	return s
}

// Sum counts the outcomes of a kind.
type Sum struct {
	Played int `json:"played"`
	Passed int `json:"passed"`
	Failed int `json:"failed"`
	Errors int `json:"errors"`
}

func sum(outcomes []play.Outcome, kind attempt.Kind) Sum {
	var s Sum
	for _, o := range outcomes {
		if o.Attempt.Kind != kind {
			continue
		}
		s.Played++
		switch {
		case o.Err != nil:
			s.Errors++
		case len(o.Problems) > 0:
			s.Failed++
		default:
			s.Passed++
		}
	}
	return s
}

// row is an outcome in JSON.
type row struct {
	File     string   `json:"file"`
	Name     string   `json:"name"`
	About    string   `json:"about"`
	Kind     string   `json:"kind"`
	Identity string   `json:"identity"`
	Request  string   `json:"request"`
	Expected string   `json:"expected"`
	Found    string   `json:"found"`
	Pass     bool     `json:"pass"`
	Problems []string `json:"problems,omitempty"`
	Error    string   `json:"error,omitempty"`
	// Seconds is how long it took, setup included.
	Seconds float64 `json:"seconds"`
}

// JSON writes one object: results, in the order of the files, attempts and legitimate.
func JSON(w io.Writer, outcomes []play.Outcome) error {
	rows := make([]row, 0, len(outcomes))
	for _, o := range outcomes {
		r := row{
			File: o.Attempt.File, Name: o.Attempt.Name, About: o.Attempt.About, Kind: string(o.Attempt.Kind),
			Identity: o.Identity, Request: o.Request, Expected: o.Expected, Found: o.Found,
			Pass: o.Pass(), Problems: o.Problems, Seconds: o.Took.Round(time.Millisecond).Seconds(),
		}
		if o.Err != nil {
			r.Error = o.Err.Error()
		}
		rows = append(rows, r)
	}
	e := json.NewEncoder(w)
	e.SetEscapeHTML(false)
	e.SetIndent("", "  ")
	return e.Encode(map[string]any{
		"results": rows, "attempts": sum(outcomes, attempt.Hostile), "legitimate": sum(outcomes, attempt.Legitimate),
	})
}
