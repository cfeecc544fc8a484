package term

import (
	"bytes"
	"strings"
	"testing"
)

func env(pairs ...string) func(string) string {
	return func(name string) string {
		for i := 0; i < len(pairs); i += 2 {
			if pairs[i] == name {
				return pairs[i+1]
			}
		}
		return ""
	}
}

func TestDetect(t *testing.T) {
	for name, c := range map[string]struct {
		mode     ColorMode
		terminal bool
		env      func(string) string
		want     Style
	}{
		"a UTF-8 terminal gets both":              {ColorAuto, true, env("LANG", "en_GB.UTF-8"), Style{Color: true, Unicode: true}},
		"a pipe gets neither":                     {ColorAuto, false, env("LANG", "en_GB.UTF-8"), Style{}},
		"NO_COLOR leaves the symbols":             {ColorAuto, true, env("LANG", "C.utf8", "NO_COLOR", "1"), Style{Unicode: true}},
		"an empty NO_COLOR is none":               {ColorAuto, true, env("NO_COLOR", ""), Style{Color: true}},
		"a dumb terminal has no colour":           {ColorAuto, true, env("TERM", "dumb"), Style{}},
		"LC_ALL wins over LANG":                   {ColorAuto, true, env("LANG", "C.UTF-8", "LC_ALL", "C"), Style{Color: true}},
		"always beats a pipe and NO_COLOR":        {ColorAlways, false, env("NO_COLOR", "1", "LANG", "C.UTF-8"), Style{Color: true}},
		"never beats a terminal, symbols are not": {ColorNever, true, env("LANG", "C.UTF-8"), Style{Unicode: true}},
	} {
		t.Run(name, func(t *testing.T) {
			if got := Detect(c.mode, c.terminal, c.env); got != c.want {
				t.Errorf("got %+v, want %+v", got, c.want)
			}
		})
	}
}

func TestColorModeRefusesOtherWords(t *testing.T) {
	m := ColorAuto
	err := m.Set("yes")
	if err == nil || err.Error() != `wanted auto, always or never, found "yes"` {
		t.Errorf("got %v", err)
	}
	if m != ColorAuto {
		t.Errorf("a wrong value changed the mode to %q", m)
	}
}

func TestShorten(t *testing.T) {
	for name, c := range map[string]struct {
		style Style
		text  string
		width int
		want  string
	}{
		"what fits stays":               {Style{}, "held: 12", 8, "held: 12"},
		"ASCII needs three dots":        {Style{}, "held: too little", 9, "held:..."},
		"Unicode needs one":             {Style{Unicode: true}, "held: too little", 9, "held: to…"},
		"characters count, bytes don't": {Style{Unicode: true}, "ääää", 4, "ääää"},
		"no room, no cut":               {Style{}, "held", 0, "held"},
	} {
		t.Run(name, func(t *testing.T) {
			if got := c.style.Shorten(c.text, c.width); got != c.want {
				t.Errorf("got %q, want %q", got, c.want)
			}
		})
	}
}

func TestScreenDrawsOverTheLastBlock(t *testing.T) {
	var out bytes.Buffer
	s := Screen{Out: &out, Size: func() (int, int) { return 10, 4 }}
	if err := s.Draw([]string{"one", "two"}); err != nil {
		t.Fatal(err)
	}
	if got, want := out.String(), "\rone\x1b[K\n\rtwo\x1b[K\n\x1b[J"; got != want {
		t.Errorf("first: got %q, want %q", got, want)
	}
	out.Reset()
	if err := s.Draw([]string{"three", "a line that is wider"}); err != nil {
		t.Fatal(err)
	}
	if got, want := out.String(), "\x1b[2A\rthree\x1b[K\n\ra line tha\x1b[K\n\x1b[J"; got != want {
		t.Errorf("second: got %q, want %q", got, want)
	}
	out.Reset()
	if err := s.Draw([]string{"1", "2", "3", "4", "5"}); err != nil {
		t.Fatal(err)
	}
	if got := out.String(); strings.Count(got, "\n") != 3 || !strings.Contains(got, "(3 more li") {
		t.Errorf("a block taller than the window: got %q", got)
	}
}

func TestCutKeepsEscapeSequencesWhole(t *testing.T) {
	got := cut(Style{Color: true}.Paint(Bad, "failed"), 4)
	if want := "\x1b[31mfail\x1b[0m\x1b[0m"; got != want {
		t.Errorf("got %q, want %q", got, want)
	}
}

func TestWhatATerminalWouldObeyIsTakenOut(t *testing.T) {
	t.Parallel()
	const hostile = "calm\x1b[2J\r\n  down\u202e\x00 é"
	if got, want := Line(hostile), "calm [2J down é"; got != want {
		t.Errorf("Line is %q, want %q", got, want)
	}
	if got, want := Plain(hostile), "calm [2J \n  down   é"; got != want {
		t.Errorf("Plain is %q, want %q", got, want)
	}
}
