package ask

import (
	"bufio"
	"encoding/json"
	"errors"
	"fmt"
	"io"
	"strings"
)

// ErrEnded is: the input ended before all questions were answered.
var ErrEnded = errors.New("the input ended before all questions were answered")

// Bounds of a dialogue: whoever exceeds them is no person, and would never end.
const (
	// maxLine is how long an answer may be, in bytes.
	maxLine = 64 << 10
	// maxLines is how many there may be.
	maxLines = 10_000
	// maxWrong is how many wrong ones there may be before a right one.
	maxWrong = 100
)

func (a *Asker) say(format string, args ...any) { _, _ = fmt.Fprintf(a.Out, format, args...) }

func (a *Asker) line() (string, error) {
	if err := a.bounded(); err != nil {
		return "", err
	}
	return Line(a.In)
}

func (a *Asker) answer(s schema) (string, error) {
	if s["x-sensitive"] == true && a.Secret != nil {
		if err := a.bounded(); err != nil {
			return "", err
		}
		return a.Secret()
	}
	return a.line()
}

// bounded counts an answer that is asked for.
func (a *Asker) bounded() error {
	if a.lines++; a.lines > maxLines {
		return fmt.Errorf("wanted at most %d answers, found more", maxLines)
	}
	if a.wrong >= maxWrong {
		return fmt.Errorf("wanted a right answer, found %d wrong ones", a.wrong)
	}
	return nil
}

// Line reads an answer.
func Line(in *bufio.Reader) (string, error) {
	var text []byte
	for {
		part, err := in.ReadSlice('\n')
		text = append(text, part...)
		switch {
		case len(text) > maxLine:
			return "", fmt.Errorf("reading the answer: wanted at most %d bytes, found more", maxLine)
		case errors.Is(err, bufio.ErrBufferFull):
			continue
		case errors.Is(err, io.EOF) && len(text) == 0:
			return "", ErrEnded
		case err != nil && !errors.Is(err, io.EOF):
			return "", fmt.Errorf("reading the answer: %w", err)
		}
		return strings.TrimRight(string(text), "\r\n"), nil
	}
}

// yes asks a question that is answered by yes or no, no being the default.
func (a *Asker) yes(question string) (bool, error) {
	for {
		a.say("  %s [y/N]: ", question)
		text, err := a.line()
		if err != nil {
			return false, err
		}
		switch strings.ToLower(strings.TrimSpace(text)) {
		case "", "n", "no":
			return false, nil
		case "y", "yes":
			return true, nil
		}
		a.wrong++
		a.say("  wanted y or n, found %q\n", text)
	}
}

// introduce shows what a variable is.
func (a *Asker) introduce(s schema, name, path string) {
	head := strings.TrimPrefix(strings.TrimPrefix(path, "values"), ".")
	if title, _ := s["title"].(string); title != "" {
		head = title + " (" + head + ")"
	}
	doc, _ := s["description"].(string)
	if doc = strings.Join(strings.Fields(doc), " "); doc != "" {
		head += ": " + doc
	}
	if head == "" {
		head = name
	}
	a.say("\n%s\n", head)
	if s["x-immutable"] == true {
		a.say("  It cannot be changed later.\n")
	}
	if s["x-sensitive"] == true {
		a.say("  Careful: whoever can read the Release can read this. A reference to a Secret is safer.\n")
	}
}

func short(v any) string {
	if s, ok := v.(string); ok {
		return s
	}
	b, err := json.Marshal(v)
	if err != nil {
		return fmt.Sprint(v)
	}
	return string(b)
}
