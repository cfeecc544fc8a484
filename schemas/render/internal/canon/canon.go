// Package canon writes JSON in the one form that digests are taken of: keys sorted, no
// space, nothing escaped that need not be.
package canon

import (
	"bytes"
	"encoding/json"
	"fmt"
	"slices"
	"strconv"
)

// size is room for what most objects need.
const size = 4 << 10

const null = "null"

// Written is canonical JSON, which stands in what is written as it is.
type Written []byte

// JSON returns the canonical JSON of v, which is made of maps, slices and scalars.
func JSON(v any) ([]byte, error) { return Append(make([]byte, 0, size), v) }

// Append writes what encoding/json would with SetEscapeHTML(false), byte for byte. It walks
// what decoded JSON is made of itself, since that package sorts and writes maps by
// reflection, at several times the cost, and leaves everything else to it.
func Append(b []byte, v any) ([]byte, error) {
	switch v := v.(type) {
	case nil:
		return append(b, null...), nil
	case bool:
		return strconv.AppendBool(b, v), nil
	case int64:
		return strconv.AppendInt(b, v, 10), nil
	case string:
		return appendString(b, v)
	case Written:
		return append(b, v...), nil
	case map[string]any:
		return appendObject(b, v)
	case map[string]string:
		return appendObject(b, v)
	case []any:
		return appendArray(b, v)
	case []map[string]any:
		return appendArray(b, v)
	case []Written:
		return appendArray(b, v)
	}
	return appendOther(b, v)
}

// appendOther leaves v to encoding/json.
func appendOther(b []byte, v any) ([]byte, error) {
	var out bytes.Buffer
	enc := json.NewEncoder(&out)
	enc.SetEscapeHTML(false)
	if err := enc.Encode(v); err != nil {
		return nil, fmt.Errorf("writing canonical JSON: %w", err)
	}
	return append(b, bytes.TrimSuffix(out.Bytes(), []byte("\n"))...), nil
}

func appendString(b []byte, s string) ([]byte, error) {
	if !printable(s) {
		return appendOther(b, s)
	}
	return append(append(append(b, '"'), s...), '"'), nil
}

// printable reports whether s stands in JSON as it is.
func printable(s string) bool {
	for i := range len(s) {
		if c := s[i]; c < ' ' || c > '~' || c == '"' || c == '\\' {
			return false
		}
	}
	return true
}

func appendObject[T any](b []byte, m map[string]T) (_ []byte, err error) {
	if m == nil {
		return append(b, null...), nil
	}
	var few [16]string // most have no more keys, and need no room elsewhere
	keys := few[:0]
	for key := range m {
		keys = append(keys, key)
	}
	slices.Sort(keys)
	b = append(b, '{')
	for i, key := range keys {
		if i > 0 {
			b = append(b, ',')
		}
		if b, err = appendString(b, key); err != nil {
			return nil, err
		}
		if b, err = Append(append(b, ':'), m[key]); err != nil {
			return nil, err
		}
	}
	return append(b, '}'), nil
}

func appendArray[T any](b []byte, list []T) (_ []byte, err error) {
	if list == nil {
		return append(b, null...), nil
	}
	b = append(b, '[')
	for i, item := range list {
		if i > 0 {
			b = append(b, ',')
		}
		if b, err = Append(b, item); err != nil {
			return nil, err
		}
	}
	return append(b, ']'), nil
}
