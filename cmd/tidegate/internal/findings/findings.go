// Package findings writes what a check found in the forms that people and build servers read:
// a table, JSON, JUnit, SARIF and the annotations of GitHub.
package findings

import (
	"encoding/json"
	"fmt"
	"io"
	"slices"
	"strconv"
	"strings"
	"text/tabwriter"
	"unicode"
)

// Severity is what a finding leads to.
type Severity string

const (
	// Error is: it would be refused.
	Error Severity = "error"
	// Warning is: it would pass with a warning.
	Warning Severity = "warning"
	// Note is: it would pass, and only be counted.
	Note Severity = "note"
)

// Object is one thing that was looked at.
type Object struct {
	// Kind is that of Kubernetes, or Template for a directory of CUE files.
	Kind      string `json:"kind"`
	Namespace string `json:"namespace,omitempty"`
	Name      string `json:"name,omitempty"`
	// File is as it was named, with slashes; "stdin" for standard input.
	File string `json:"file"`
	// Line counts from 1; 0 where the object is no part of a file, but a directory.
	Line int `json:"line,omitempty"`
	// Judged is false where nothing is asked about such objects.
	Judged   bool      `json:"judged"`
	Findings []Finding `json:"findings"`
}

// Finding is one thing that was found.
type Finding struct {
	Severity Severity `json:"severity"`
	// Code is stable.
	Code string `json:"code"`
	// Policy is the one that objects; empty where none does, but Tidegate itself.
	Policy string `json:"policy,omitempty"`
	// Message says what was wanted and what was found.
	Message string `json:"message"`
	// Fix says what to do; may be empty.
	Fix string `json:"fix,omitempty"`
	// Field is the path of what is wrong, where the message names one.
	Field string `json:"field,omitempty"`
	// File, Line and Column are where it stands, the object itself where the field is not
	// known. The last two count from 1.
	File   string `json:"file"`
	Line   int    `json:"line,omitempty"`
	Column int    `json:"column,omitempty"`
}

// Text is the message with what to do.
func (f Finding) Text() string {
	text := f.Message
	if f.Fix != "" {
		text += "; do: " + f.Fix
	}
	if f.Policy != "" {
		text += fmt.Sprintf(" (policy %s)", f.Policy)
	}
	return text
}

// Visible is a text for a terminal: what an object says is its author's, and must not move
// the cursor or colour what follows. Newlines stay.
func Visible(text string) string {
	if !strings.ContainsFunc(text, hidden) {
		return text
	}
	var b strings.Builder
	for _, r := range text {
		if hidden(r) {
			b.WriteString(strings.Trim(strconv.QuoteRuneToASCII(r), "'"))
			continue
		}
		b.WriteRune(r)
	}
	return b.String()
}

func hidden(r rune) bool { return r != '\n' && !unicode.IsPrint(r) }

// place is file:line:column, as far as it is known.
func (f Finding) place() string {
	out := f.File
	if f.Line > 0 {
		out += ":" + strconv.Itoa(f.Line)
		if f.Column > 0 {
			out += ":" + strconv.Itoa(f.Column)
		}
	}
	return out
}

// Title is how an object is called.
func (o Object) Title() string {
	name := o.Name
	if o.Namespace != "" {
		name = o.Namespace + "/" + name
	}
	return strings.TrimSpace(o.Kind + " " + name)
}

// Report is all that was looked at.
type Report struct {
	// Version is that of the program.
	Version string
	// Command is what looked, for the title of a form that has one; empty is tidegate check.
	Command string
	Objects []Object
}

// Summary counts.
type Summary struct {
	Objects  int `json:"objects"`
	Judged   int `json:"judged"`
	Errors   int `json:"errors"`
	Warnings int `json:"warnings"`
	Notes    int `json:"notes"`
}

// Summary counts what is in the report.
func (r Report) Summary() Summary {
	var s Summary
	for _, o := range r.Objects {
		s.Objects++
		if o.Judged {
			s.Judged++
		}
		for _, f := range o.Findings {
			switch f.Severity {
			case Warning:
				s.Warnings++
			case Note:
				s.Notes++
			case Error:
				fallthrough
			default:
				s.Errors++
			}
		}
	}
	return s
}

// Formats are the names of the forms.
func Formats() []string { return []string{"table", "json", "junit", "sarif", "github"} }

// Write writes the report in a form.
func Write(w io.Writer, r Report, format string) error {
	var err error
	switch format {
	case "table":
		err = table(w, r)
	case "json":
		err = asJSON(w, document(r))
	case "junit":
		err = junit(w, r)
	case "sarif":
		err = asJSON(w, sarif(r))
	case "github":
		err = github(w, r)
	default:
		return fmt.Errorf("wanted one of %s, found %q", strings.Join(Formats(), ", "), format)
	}
	if err != nil {
		return fmt.Errorf("writing the report: %w", err)
	}
	return nil
}

func asJSON(w io.Writer, v any) error {
	e := json.NewEncoder(w)
	e.SetIndent("", "  ")
	e.SetEscapeHTML(false)
	return e.Encode(v)
}

// document is the report as JSON.
func document(r Report) any {
	objects := slices.Clone(r.Objects)
	for i := range objects {
		if objects[i].Findings == nil {
			objects[i].Findings = []Finding{}
		}
	}
	if objects == nil {
		objects = []Object{}
	}
	return struct {
		Summary Summary  `json:"summary"`
		Objects []Object `json:"objects"`
	}{r.Summary(), objects}
}

func table(w io.Writer, r Report) error {
	t := tabwriter.NewWriter(w, 0, 0, 2, ' ', 0)
	_, _ = fmt.Fprintln(t, "VERDICT\tOBJECT\tWHERE")
	for _, o := range r.Objects {
		_, _ = fmt.Fprintf(t, "%s\t%s\t%s\n", verdict(o), Visible(strings.ReplaceAll(o.Title(), "\n", " ")), Finding{File: o.File, Line: o.Line}.place())
	}
	if err := t.Flush(); err != nil {
		return err
	}
	for _, o := range r.Objects {
		for _, f := range o.Findings {
			if _, err := fmt.Fprintf(w, "\n%s: %s: %s\n  %s\n", f.place(), f.Severity, Visible(f.Code), strings.ReplaceAll(Visible(f.Text()), "\n", "\n  ")); err != nil {
				return err
			}
		}
	}
	s := r.Summary()
	_, err := fmt.Fprintf(w, "\n%d objects, %d judged: %d errors, %d warnings, %d notes\n", s.Objects, s.Judged, s.Errors, s.Warnings, s.Notes)
	return err
}

func verdict(o Object) string {
	for _, s := range []struct {
		severity Severity
		word     string
	}{{Error, "denied"}, {Warning, "warned"}} {
		if slices.ContainsFunc(o.Findings, func(f Finding) bool { return f.Severity == s.severity }) {
			return s.word
		}
	}
	if !o.Judged {
		return "not judged"
	}
	return "passed"
}

// What GitHub's commands take for their own marks.
var (
	commandText     = strings.NewReplacer("%", "%25", "\r", "%0D", "\n", "%0A")
	commandProperty = strings.NewReplacer("%", "%25", "\r", "%0D", "\n", "%0A", ":", "%3A", ",", "%2C")
)

// github writes workflow commands, which GitHub shows beside the lines of a change.
func github(w io.Writer, r Report) error {
	words := map[Severity]string{Error: "error", Warning: "warning", Note: "notice"}
	for _, o := range r.Objects {
		for _, f := range o.Findings {
			properties := "file=" + commandProperty.Replace(f.File)
			if f.Line > 0 {
				properties += fmt.Sprintf(",line=%d", f.Line)
			}
			if f.Column > 0 {
				properties += fmt.Sprintf(",col=%d", f.Column)
			}
			properties += ",title=" + commandProperty.Replace(Visible(f.Code+" "+o.Title()))
			if _, err := fmt.Fprintf(w, "::%s %s::%s\n", words[f.Severity], properties, commandText.Replace(Visible(f.Text()))); err != nil {
				return err
			}
		}
	}
	return nil
}
