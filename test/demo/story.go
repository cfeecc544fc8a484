package main

import (
	"bytes"
	"context"
	"fmt"
	"io"
	"os/exec"
	"strings"
	"sync"
	"time"
)

// story prints what happens: headings, the commands before they run, their output after, and
// whether each outcome was the one that the story tells of.
type story struct {
	mu       sync.Mutex
	out      io.Writer
	start    time.Time
	color    bool
	outcomes []outcome
}

// outcome is one thing that had to come true.
type outcome struct {
	what string
	ok   bool
	why  string
}

const (
	bold  = "\x1b[1m"
	dim   = "\x1b[2m"
	green = "\x1b[32m"
	red   = "\x1b[31m"
	plain = "\x1b[0m"
)

func (s *story) paint(code, text string) string {
	if !s.color {
		return text
	}
	return code + text + plain
}

func (s *story) printf(format string, args ...any) {
	s.mu.Lock()
	defer s.mu.Unlock()
	_, _ = fmt.Fprintf(s.out, format, args...) // A terminal that is gone is no reason to stop.
}

// act prints a heading.
func (s *story) act(title string) {
	s.printf("\n%s  %s\n\n", s.paint(bold, "== "+title), s.paint(dim, fmt.Sprintf("(%.0f s)", time.Since(s.start).Seconds())))
}

// say prints a remark.
func (s *story) say(format string, args ...any) {
	s.printf("%s\n", s.paint(dim, "# "+fmt.Sprintf(format, args...)))
}

// live prints one line of progress.
func (s *story) live(format string, args ...any) {
	s.printf("  | %s\n", fmt.Sprintf(format, args...))
}

// command is a command line and who types it.
type command struct {
	who   string
	shown []string
	path  string
	args  []string
	env   []string
	stdin string
}

// run prints the command, runs it, prints its output and returns it.
func (s *story) run(ctx context.Context, c command) (string, error) {
	s.printf("%s %s\n", s.paint(green, c.who+"$"), s.paint(bold, quoteAll(c.shown)))
	if c.stdin != "" {
		s.printf("%s", s.paint(dim, indent(c.stdin, "    ")))
	}
	cmd := exec.CommandContext(ctx, c.path, c.args...)
	cmd.Env = c.env
	cmd.Stdin = strings.NewReader(c.stdin)
	var out bytes.Buffer
	cmd.Stdout, cmd.Stderr = &out, &out
	err := cmd.Run()
	s.printf("%s", indent(out.String(), "  "))
	return out.String(), err
}

// expect records that something had to be true.
func (s *story) expect(ok bool, what, whyNot string) {
	s.outcomes = append(s.outcomes, outcome{what: what, ok: ok, why: whyNot})
	if ok {
		s.printf("  %s %s\n", s.paint(green, "✔"), what)
		return
	}
	s.printf("  %s %s: %s\n", s.paint(red, "✘"), what, whyNot)
}

// failed counts the outcomes that did not come true.
func (s *story) failed() int {
	n := 0
	for _, o := range s.outcomes {
		if !o.ok {
			n++
		}
	}
	return n
}

func quoteAll(words []string) string {
	quoted := make([]string, len(words))
	for i, w := range words {
		quoted[i] = w
		if w == "" || strings.ContainsAny(w, " '\"{}[]*$&|;<>()\n") {
			quoted[i] = "'" + strings.ReplaceAll(w, "'", `'\''`) + "'"
		}
	}
	return strings.Join(quoted, " ")
}

func indent(text, with string) string {
	text = strings.TrimRight(text, "\n")
	if text == "" {
		return ""
	}
	return with + strings.ReplaceAll(text, "\n", "\n"+with) + "\n"
}
