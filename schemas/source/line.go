package source

import (
	"bufio"
	"bytes"
	"errors"
	"fmt"
	"io"
	"regexp"
	"strconv"
	"strings"

	utilyaml "k8s.io/apimachinery/pkg/util/yaml"
)

// inLine is how the YAML library says where a mistake is; it says so in its text alone.
var inLine = regexp.MustCompile(`\bline ([0-9]+): ([^\n]+)`)

// misread is the error of a document that cannot be read, which begins in the given line of
// the file called name; the first is 1. It begins with name:line, as a compiler's does. Where
// the library names no line that is where the document begins.
func misread(name string, first int, wanted string, err error) error {
	line, found := first, err.Error()
	for _, said := range []string{"error converting YAML to JSON: ", "error unmarshaling JSON: ", "while decoding JSON: "} {
		found = strings.TrimPrefix(found, said)
	}
	if m := inLine.FindStringSubmatch(found); m != nil {
		if n, err := strconv.Atoi(m[1]); err == nil && n > 0 {
			line, found = first+n-1, m[2]
		}
	}
	return fmt.Errorf("%s:%d: wanted %s, found: %s", name, line, wanted, found)
}

// document is one of several in a file.
type document struct {
	text []byte
	// line is the one that it begins in; the first is 1.
	line int
}

// documents are the parts of file, which lines of --- divide. An error comes with those
// before it.
func documents(file []byte) ([]document, error) {
	file = bytes.ReplaceAll(file, []byte("\r\n"), []byte("\n"))
	var out []document
	read, at := utilyaml.NewYAMLReader(bufio.NewReader(bytes.NewReader(file))), 0
	for {
		text, err := read.Read()
		if errors.Is(err, io.EOF) {
			return out, nil
		}
		if err != nil {
			return out, err
		}
		if i := bytes.Index(file[at:], text); i >= 0 {
			at += i
		}
		out = append(out, document{text: text, line: 1 + bytes.Count(file[:at], []byte("\n"))})
	}
}
