package syntax

import (
	"bufio"
	"bytes"
	"encoding/json"
	"errors"
	"fmt"
	"io"
	"iter"
	"reflect"
)

// Document is one document of a file.
type Document struct {
	// Line is the one that it begins at.
	Line int
	Text []byte
}

// Wrong is the first mistake in the document, at its place in the file; nil where there is
// none.
func (d Document) Wrong() *Error {
	e := Find(d.Text)
	if e != nil {
		e.Line += d.Line - 1
	}
	return e
}

// Blank says whether a document has nothing but comments.
func (d Document) Blank() bool {
	for l := range bytes.Lines(d.Text) {
		if !blank(string(l)) {
			return false
		}
	}
	return true
}

// Documents are what lines of --- separate, as kubectl reads them.
func Documents(in io.Reader) iter.Seq2[Document, error] {
	reader := bufio.NewReader(in)
	return func(yield func(Document, error) bool) {
		d := Document{Line: 1}
		for number := 1; ; number++ {
			text, err := reader.ReadBytes('\n')
			if err != nil && !errors.Is(err, io.EOF) {
				yield(d, err)
				return
			}
			if rest, ok := bytes.CutPrefix(text, []byte("---")); ok && blank(string(rest)) {
				if !yield(d, nil) {
					return
				}
				d = Document{Line: number + 1}
			} else {
				d.Text = append(d.Text, text...)
			}
			if err != nil {
				yield(d, nil)
				return
			}
		}
	}
}

// Mismatch words an error of decoding JSON: which field, what was wanted, what was found.
func Mismatch(err error) error {
	wrong, ok := errors.AsType[*json.UnmarshalTypeError](err)
	if !ok {
		return err
	}
	field := wrong.Field
	if field == "" {
		field = "the document"
	}
	return fmt.Errorf("%s: wanted %s, found %s", field, kind(wrong.Type), found(wrong.Value))
}

func kind(t reflect.Type) string {
	switch t.Kind() { //nolint:exhaustive // The rest are numbers, or never decoded into.
	case reflect.String:
		return "text"
	case reflect.Bool:
		return "true or false"
	case reflect.Slice, reflect.Array:
		return "a list"
	case reflect.Map, reflect.Struct, reflect.Pointer, reflect.Interface:
		return "a mapping"
	}
	return "a number"
}

// found puts the names that JSON has into those of YAML.
func found(value string) string {
	switch value {
	case "object":
		return "a mapping"
	case "array":
		return "a list"
	case "string":
		return "text"
	case "bool":
		return "true or false"
	}
	return "a " + value
}
