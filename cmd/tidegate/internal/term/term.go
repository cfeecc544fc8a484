// Package term decides how the command line looks: colour, the symbols that the
// terminal can show, and drawing the same lines again in place.
package term

import (
	"fmt"
	"io"
	"os"
	"strings"
	"unicode"
	"unicode/utf8"

	"golang.org/x/term"
)

// ColorMode is the value of --color.
type ColorMode string

const (
	// ColorAuto colours what goes to a terminal, unless NO_COLOR is set or TERM is dumb.
	ColorAuto ColorMode = "auto"
	// ColorAlways colours everything.
	ColorAlways ColorMode = "always"
	// ColorNever colours nothing.
	ColorNever ColorMode = "never"
)

// ColorModes lists the values of --color.
func ColorModes() []string {
	return []string{string(ColorAuto), string(ColorAlways), string(ColorNever)}
}

// String returns the mode's name; with Set and Type it makes the mode a flag.
func (m *ColorMode) String() string { return string(*m) }

// Type names the flag's value in help texts.
func (m *ColorMode) Type() string { return strings.Join(ColorModes(), "|") }

// Set takes the flag's value.
func (m *ColorMode) Set(s string) error {
	switch ColorMode(s) {
	case ColorAuto, ColorAlways, ColorNever:
		*m = ColorMode(s)
		return nil
	}
	return fmt.Errorf("wanted auto, always or never, found %q", s)
}

// Color is one of the few colours that carry a meaning.
type Color string

const (
	// Good is for what is as it should be.
	Good Color = "32"
	// Bad is for what failed.
	Bad Color = "31"
	// Busy is for what is under way or waits.
	Busy Color = "33"
	// Faint is for what is there for completeness.
	Faint Color = "2"
	// Strong is for names.
	Strong Color = "1"
)

// Style draws symbols and colours. Its zero value is plain ASCII without colour, which
// is what files and pipes get.
type Style struct {
	// Color is true where escape sequences may be written.
	Color bool
	// Unicode is true where box drawing and check marks may be written.
	Unicode bool
}

// Detect returns the style for an output. A terminal gets symbols where the locale
// (LC_ALL, LC_CTYPE, LANG, the first that is set) is a UTF-8 one.
func Detect(mode ColorMode, terminal bool, getenv func(string) string) Style {
	s := Style{Unicode: terminal && utf8Locale(getenv)}
	switch mode {
	case ColorAlways:
		s.Color = true
	case ColorNever:
	default:
		s.Color = terminal && getenv("NO_COLOR") == "" && getenv("TERM") != "dumb"
	}
	return s
}

func utf8Locale(getenv func(string) string) bool {
	for _, name := range []string{"LC_ALL", "LC_CTYPE", "LANG"} {
		if v := getenv(name); v != "" {
			v = strings.ToLower(v)
			return strings.Contains(v, "utf-8") || strings.Contains(v, "utf8")
		}
	}
	return false
}

// Paint returns s in color c, or s itself where there is no colour.
func (s Style) Paint(c Color, text string) string {
	if !s.Color || text == "" {
		return text
	}
	return "\x1b[" + string(c) + "m" + text + "\x1b[0m"
}

// Symbol returns the first where Unicode may be written, else the second.
func (s Style) Symbol(unicode, ascii string) string {
	if s.Unicode {
		return unicode
	}
	return ascii
}

// Shorten cuts text to at most width characters, the last of them an ellipsis.
func (s Style) Shorten(text string, width int) string {
	dots := s.Symbol("…", "...")
	if width < utf8.RuneCountInString(dots) || utf8.RuneCountInString(text) <= width {
		return text
	}
	runes := []rune(text)
	return strings.TrimRight(string(runes[:width-utf8.RuneCountInString(dots)]), " ") + dots
}

// Line is what somebody else wrote, such as the reason of a decision, on one line and without
// what a terminal would obey: it can neither move the cursor nor look like lines of ours.
func Line(text string) string {
	return strings.Join(strings.Fields(Plain(text)), " ")
}

// Plain is text without what a terminal would obey, its lines left as they are.
func Plain(text string) string {
	return strings.Map(func(r rune) rune {
		if r == '\n' || r == '\t' || unicode.IsPrint(r) {
			return r
		}
		return ' '
	}, text)
}

// IsTerminal says whether w is a terminal.
func IsTerminal(w any) bool {
	f, ok := w.(*os.File)
	return ok && term.IsTerminal(int(f.Fd()))
}

// Secret reads a line from the terminal in without showing it. The end of the line, which
// is not shown either, goes to out.
func Secret(in *os.File, out io.Writer) (string, error) {
	text, err := term.ReadPassword(int(in.Fd()))
	if err != nil {
		return "", fmt.Errorf("reading from the terminal: %w", err)
	}
	_, _ = fmt.Fprintln(out)
	return string(text), nil
}

// Remember returns what puts the terminal in back as it is now: one that shows nothing
// while a secret is typed must not stay so. It does nothing where in is no terminal.
func Remember(in any) (restore func()) {
	f, ok := in.(*os.File)
	if !ok {
		return func() {}
	}
	state, err := term.GetState(int(f.Fd()))
	if err != nil {
		return func() {}
	}
	return func() { _ = term.Restore(int(f.Fd()), state) }
}

// Size returns the columns and rows of the terminal w, or 0, 0 where it has none.
func Size(w any) (columns, rows int) {
	f, ok := w.(*os.File)
	if !ok {
		return 0, 0
	}
	columns, rows, err := term.GetSize(int(f.Fd()))
	if err != nil {
		return 0, 0
	}
	return columns, rows
}

// Screen draws blocks of lines over one another.
type Screen struct {
	// Out is the terminal.
	Out io.Writer
	// Size returns the terminal's columns and rows; 0 is unknown.
	Size  func() (columns, rows int)
	drawn int
}

// Draw replaces the block drawn before. Lines wider than the terminal are cut and rows
// that do not fit are left out, since a line that wraps or scrolls cannot be drawn over.
func (s *Screen) Draw(lines []string) error {
	columns, rows := s.Size()
	if rows > 1 && len(lines) > rows-1 {
		lines = append(append([]string{}, lines[:rows-2]...), fmt.Sprintf("(%d more lines; make the window taller)", len(lines)-rows+2))
	}
	var b strings.Builder
	if s.drawn > 0 {
		fmt.Fprintf(&b, "\x1b[%dA", s.drawn)
	}
	for _, line := range lines {
		b.WriteString("\r" + cut(line, columns) + "\x1b[K\n")
	}
	b.WriteString("\x1b[J")
	s.drawn = len(lines)
	if _, err := io.WriteString(s.Out, b.String()); err != nil {
		return fmt.Errorf("drawing: %w", err)
	}
	return nil
}

// cut shortens a line to columns visible characters; escape sequences take none.
func cut(line string, columns int) string {
	if columns <= 0 {
		return line
	}
	var b strings.Builder
	visible, escape, colored := 0, false, false
	for _, r := range line {
		switch {
		case escape:
			escape = r != 'm'
		case r == '\x1b':
			escape, colored = true, true
		case visible == columns:
			continue
		default:
			visible++
		}
		b.WriteRune(r)
	}
	if colored {
		b.WriteString("\x1b[0m")
	}
	return b.String()
}
