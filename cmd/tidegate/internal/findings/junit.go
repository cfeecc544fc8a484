package findings

import (
	"cmp"
	"encoding/xml"
	"fmt"
	"io"
	"strings"
)

// The elements that build servers agree upon. There is one suite a file, and one case an
// object, with at most one failure: many servers read no second one.
type (
	junitSuites struct {
		XMLName  xml.Name     `xml:"testsuites"`
		Name     string       `xml:"name,attr"`
		Tests    int          `xml:"tests,attr"`
		Failures int          `xml:"failures,attr"`
		Errors   int          `xml:"errors,attr"`
		Skipped  int          `xml:"skipped,attr"`
		Time     string       `xml:"time,attr"`
		Suites   []junitSuite `xml:"testsuite"`
	}
	junitSuite struct {
		Name     string      `xml:"name,attr"`
		Tests    int         `xml:"tests,attr"`
		Failures int         `xml:"failures,attr"`
		Errors   int         `xml:"errors,attr"`
		Skipped  int         `xml:"skipped,attr"`
		Time     string      `xml:"time,attr"`
		Cases    []junitCase `xml:"testcase"`
	}
	junitCase struct {
		Name      string        `xml:"name,attr"`
		ClassName string        `xml:"classname,attr"`
		File      string        `xml:"file,attr"`
		Line      int           `xml:"line,attr,omitempty"`
		Time      string        `xml:"time,attr"`
		Skipped   *junitMessage `xml:"skipped,omitempty"`
		Failure   *junitMessage `xml:"failure,omitempty"`
		// Out has the warnings, which fail nothing.
		Out string `xml:"system-out,omitempty"`
	}
	junitMessage struct {
		Message string `xml:"message,attr"`
		Type    string `xml:"type,attr,omitempty"`
		Text    string `xml:",chardata"`
	}
)

// noTime stands in place of times, so that the same check is the same text.
const noTime = "0"

func junit(w io.Writer, r Report) error {
	all := junitSuites{Name: cmp.Or(r.Command, "tidegate check"), Time: noTime}
	for _, o := range r.Objects {
		if n := len(all.Suites); n == 0 || all.Suites[n-1].Name != o.File {
			all.Suites = append(all.Suites, junitSuite{Name: o.File, Time: noTime})
		}
		s := &all.Suites[len(all.Suites)-1]
		c := junitCaseOf(o)
		s.Cases = append(s.Cases, c)
		s.Tests, all.Tests = s.Tests+1, all.Tests+1
		if c.Failure != nil {
			s.Failures, all.Failures = s.Failures+1, all.Failures+1
		}
		if c.Skipped != nil {
			s.Skipped, all.Skipped = s.Skipped+1, all.Skipped+1
		}
	}
	if _, err := io.WriteString(w, xml.Header); err != nil {
		return err
	}
	e := xml.NewEncoder(w)
	e.Indent("", "  ")
	if err := e.Encode(all); err != nil {
		return err
	}
	_, err := io.WriteString(w, "\n")
	return err
}

func junitCaseOf(o Object) junitCase {
	c := junitCase{Name: o.Title(), ClassName: o.File, File: o.File, Line: o.Line, Time: noTime}
	var failed, rest []string
	var first Finding
	for _, f := range o.Findings {
		line := fmt.Sprintf("%s: %s: %s: %s", f.place(), f.Severity, f.Code, f.Text())
		if f.Severity != Error {
			rest = append(rest, line)
			continue
		}
		if len(failed) == 0 {
			first = f
		}
		failed = append(failed, line)
	}
	if len(failed) > 0 {
		message := first.Code + ": " + first.Message
		if len(failed) > 1 {
			message += fmt.Sprintf(" (and %d more)", len(failed)-1)
		}
		c.Failure = &junitMessage{Message: message, Type: first.Code, Text: strings.Join(failed, "\n")}
	} else if !o.Judged {
		c.Skipped = &junitMessage{Message: "nothing is asked about this kind"}
	}
	c.Out = strings.Join(rest, "\n")
	return c
}
