// Package syntax says where a text stops being YAML or JSON, and what stands there. The
// parser itself names no line, or that of something else, for many mistakes.
package syntax

import (
	"bytes"
	"encoding/json"
	"errors"
	"fmt"
	"io"
	"regexp"
	"strings"
	"unicode/utf8"

	"go.yaml.in/yaml/v3"
)

// Error is the first mistake in a text.
type Error struct {
	// Line and Column count from 1. The column is in characters; in YAML it is that of the
	// first character of the line.
	Line, Column int
	// Wanted is YAML or JSON. Found never repeats what stands in the text, which may be
	// secret.
	Wanted, Found string
	// Do is what helps; empty where nothing can be said.
	Do string
}

// Position is line:column.
func (e *Error) Position() string { return fmt.Sprintf("%d:%d", e.Line, e.Column) }

// Message is the mistake without its place.
func (e *Error) Message() string { return "wanted " + e.Wanted + ", found " + e.Found }

func (e *Error) Error() string {
	text := e.Position() + ": " + e.Message()
	if e.Do != "" {
		text += "; " + e.Do
	}
	return text
}

// Check returns an error that begins with file:line:column where data is neither YAML nor
// JSON.
func Check(file string, data []byte) error {
	e := Find(data)
	if e == nil {
		return nil
	}
	return fmt.Errorf("%s:%w", file, e)
}

// Find returns the first mistake in data; nil where there is none.
func Find(data []byte) *Error {
	if e := unprintable(data); e != nil {
		return e
	}
	message := parse(data)
	if message == "" {
		return nil
	}
	if e := inJSON(data); e != nil {
		return e
	}
	text := line(data, func(part []byte) bool { return parse(part) == "" })
	e := &Error{Line: text.number, Column: text.indent + 1, Wanted: "YAML", Found: strings.TrimPrefix(message, "found ")}
	if strings.HasPrefix(strings.TrimLeft(text.text, " "), "\t") {
		e.Column, e.Found, e.Do = 1, "a tab in the indentation", "indent with spaces"
		return e
	}
	for _, w := range words {
		if strings.Contains(message, w.parser) {
			e.Found, e.Do = w.found, w.do
			break
		}
	}
	return e
}

// words are what people are told instead of the parser's words, first match first.
var words = []struct{ parser, found, do string }{
	{"unknown anchor", "an alias, which begins with *, of something that is not there", "put it in quotes if it is text"},
	{"mapping values are not allowed", `a second ": " in a line, or a name at a depth that fits nothing above it`, "put the value in quotes if it is text, or look at the indentation"},
	{"could not find expected ':'", "a name without a colon", `write name: value, or put what continues a text in quotes`},
	{"did not find expected key", "a line that does not go on what stands above it", "look at the indentation, and for quotes and brackets that are not closed"},
	{"did not find expected '-' indicator", "something else than an entry of the list above it", "begin each entry with - at the same depth"},
	{"block sequence entries are not allowed", "an entry of a list, which begins with -, where none can be", "begin the list on a line of its own"},
	{"found unexpected end of stream", "the end of the text inside quotes", "close the quotes"},
	{"did not find expected ',' or ']'", "a list in brackets that does not end, or lacks a comma", "close it with ], and put commas between its entries"},
	{"did not find expected ',' or '}'", "a mapping in braces that does not end, or lacks a comma", "close it with }, and put commas between its entries"},
	{"cannot start any token", "a value that begins with @, `, % or a tab", "put it in quotes if it is text"},
	{"did not find expected alphabetic or numeric", "a value that begins with & or *", "put it in quotes if it is text"},
	{"found unknown escape character", `a \ in double quotes that begins nothing that YAML knows`, `write \\, or use single quotes`},
	{"invalid Unicode character escape code", `a \ in double quotes with the number of no character`, "write the character itself, or encode bytes, such as in base64"},
	{"did not find expected node content", "something else than a value", "look at the commas and brackets"},
}

// unprintable finds the first character that cannot be in a text.
func unprintable(data []byte) *Error {
	number, column := 1, 1
	for rest := data; len(rest) > 0; {
		r, size := utf8.DecodeRune(rest)
		switch {
		case r == '\n':
			number, column = number+1, 0
		case r == utf8.RuneError && size == 1, r < ' ' && r != '\t' && r != '\r', r == 0x7f:
			return &Error{Line: number, Column: column, Wanted: "YAML", Found: "bytes that are no text", Do: "give a file of text in UTF-8"}
		}
		rest, column = rest[size:], column+1
	}
	return nil
}

var place = regexp.MustCompile(`^(?:line|offset) [0-9]+: `)

// parse returns what the parser says of data; nothing where it can read it.
func parse(data []byte) (message string) {
	// The parser has panicked before on text that nobody writes.
	defer func() {
		if p := recover(); p != nil {
			message = "text that cannot be read"
		}
	}()
	dec := yaml.NewDecoder(bytes.NewReader(data))
	for {
		var doc yaml.Node
		err := dec.Decode(&doc)
		if errors.Is(err, io.EOF) {
			return ""
		}
		if err != nil {
			return place.ReplaceAllString(strings.TrimPrefix(err.Error(), "yaml: "), "")
		}
	}
}

// inJSON finds the mistake in a text that is meant to be JSON; nil where it is not.
func inJSON(data []byte) *Error {
	begin := bytes.TrimLeft(data, " \t\r\n")
	// A quoted name after a brace is JSON; without quotes it is YAML's own way of braces.
	if !jsonBegins.Match(begin) {
		return nil
	}
	err := json.NewDecoder(bytes.NewReader(data)).Decode(new(json.RawMessage))
	e := &Error{Wanted: "JSON"}
	offset := len(bytes.TrimRight(data, " \t\r\n"))
	if wrong, ok := errors.AsType[*json.SyntaxError](err); ok {
		e.Found, offset = wrong.Error(), int(wrong.Offset)-1
	} else if err == nil {
		return nil
	}
	if e.Found == "" || strings.Contains(e.Found, "unexpected end") {
		e.Found, e.Do, offset = "the end of the text inside braces, brackets or quotes", "close them", len(bytes.TrimRight(data, " \t\r\n"))
	}
	e.Line, e.Column = At(data, offset)
	return e
}

var jsonBegins = regexp.MustCompile(`^(\{\s*["}]|\[\s*[\[{"])`)

// At is the line and column of the byte at offset.
func At(data []byte, offset int) (line, column int) {
	before := data[:min(max(offset, 0), len(data))]
	return bytes.Count(before, []byte("\n")) + 1, utf8.RuneCount(before[bytes.LastIndexByte(before, '\n')+1:]) + 1
}

type textLine struct {
	number, indent int
	text           string
}

// Bounds of the search.
const (
	// lookAhead is how many lines after one that seems to be wrong are looked at: a text in
	// quotes that goes over some lines is wrong in each of them and right in the end.
	lookAhead = 64
	// maxRounds is how often it may then go on from there.
	maxRounds = 8
	// maxSearched is how long a text may be that is read again and again. In a longer one the
	// place is that of its first line, since the parser's own is often wrong.
	maxSearched = 4 << 20
)

// line is the one after the longest beginning of data that reads. Where the wrong line
// stands in something that goes over many lines it is the first of these.
func line(data []byte, reads func([]byte) bool) textLine {
	lines := strings.SplitAfter(string(data), "\n")
	ends := make([]int, len(lines)+1)
	for i, l := range lines {
		ends[i+1] = ends[i] + len(l)
	}
	good := 0
	if len(data) <= maxSearched {
		good = longest(len(lines), func(n int) bool { return reads(data[:ends[n]]) })
	}
	// Nothing is wrong with lines that say nothing.
	for good < len(lines)-1 && blank(lines[good]) {
		good++
	}
	text := strings.TrimRight(lines[good], "\r\n")
	return textLine{number: good + 1, indent: len(text) - len(strings.TrimLeft(text, " ")), text: text}
}

// longest is the greatest number of lines, less than all of them, that reads, or one near it.
func longest(all int, reads func(n int) bool) int {
	good := 0
	for next, rounds := 0, 0; next >= 0 && rounds < maxRounds; rounds++ {
		good = next
		for bad := all; good+1 < bad; {
			if middle := (good + bad) / 2; reads(middle) {
				good = middle
			} else {
				bad = middle
			}
		}
		next = -1
		for n := good + 2; n < min(good+lookAhead, all) && next < 0; n++ {
			if reads(n) {
				next = n
			}
		}
	}
	return good
}

func blank(line string) bool {
	line = strings.TrimSpace(line)
	return line == "" || line[0] == '#'
}
