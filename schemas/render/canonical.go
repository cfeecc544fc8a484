package render

import (
	"bytes"
	"crypto/sha256"
	"encoding/hex"
	"encoding/json"
	"fmt"
	"maps"
	"slices"
	"strconv"
)

// canonical returns the canonical JSON of v, which is made of maps, slices and scalars:
// keys sorted, no space, nothing escaped that need not be.
func canonical(v any) ([]byte, error) { return appendCanonical(make([]byte, 0, 4<<10), v) }

// appendCanonical writes what encoding/json would with SetEscapeHTML(false), byte for
// byte. It walks what decoded JSON is made of itself, since that package sorts and writes
// maps by reflection, at several times the cost, and leaves everything else to it.
func appendCanonical(b []byte, v any) ([]byte, error) {
	switch v := v.(type) {
	case nil:
		return append(b, "null"...), nil
	case bool:
		return strconv.AppendBool(b, v), nil
	case int64:
		return strconv.AppendInt(b, v, 10), nil
	case string:
		if printable(v) {
			return append(append(append(b, '"'), v...), '"'), nil
		}
	case map[string]any:
		if v != nil {
			return appendObject(b, v)
		}
	case map[string]string:
		if v != nil {
			return appendObject(b, v)
		}
	case []any:
		if v != nil {
			return appendArray(b, v)
		}
	case []map[string]any:
		if v != nil {
			return appendArray(b, v)
		}
	}
	var out bytes.Buffer
	enc := json.NewEncoder(&out)
	enc.SetEscapeHTML(false)
	if err := enc.Encode(v); err != nil {
		return nil, fmt.Errorf("writing canonical JSON: %w", err)
	}
	return append(b, bytes.TrimSuffix(out.Bytes(), []byte("\n"))...), nil
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
	b = append(b, '{')
	for i, key := range slices.Sorted(maps.Keys(m)) {
		if i > 0 {
			b = append(b, ',')
		}
		if b, err = appendCanonical(b, key); err != nil {
			return nil, err
		}
		if b, err = appendCanonical(append(b, ':'), m[key]); err != nil {
			return nil, err
		}
	}
	return append(b, '}'), nil
}

func appendArray[T any](b []byte, list []T) (_ []byte, err error) {
	b = append(b, '[')
	for i, item := range list {
		if i > 0 {
			b = append(b, ',')
		}
		if b, err = appendCanonical(b, item); err != nil {
			return nil, err
		}
	}
	return append(b, ']'), nil
}

func hexDigest(v any) (string, error) {
	b, err := canonical(v)
	if err != nil {
		return "", err
	}
	sum := sha256.Sum256(b)
	return hex.EncodeToString(sum[:]), nil
}

func digest(v any) (string, error) {
	sum, err := hexDigest(v)
	return "sha256:" + sum, err
}
