package cuepolicy

import (
	"bytes"
	"encoding/json"
	"fmt"
	"slices"
	"strconv"

	"cuelang.org/go/cue"
)

// maxTries bounds how many fields are left out, one after the other, to find the one that
// must not be there.
const maxTries = 64

// without reads an object without the fields at some paths.
func (i *instance) without(raw []byte, paths [][]string) (cue.Value, error) {
	decoder := json.NewDecoder(bytes.NewReader(raw))
	decoder.UseNumber()
	var whole any
	if err := decoder.Decode(&whole); err != nil {
		return cue.Value{}, fmt.Errorf("reading JSON: %w", err)
	}
	for _, path := range paths {
		leaveOut(whole, path)
	}
	left, err := json.Marshal(whole)
	if err != nil {
		return cue.Value{}, fmt.Errorf("writing JSON: %w", err)
	}
	return i.read(left)
}

// leaveOut takes a field out of a document. An item of a list stays: without it, all after
// it would have other places.
func leaveOut(document any, path []string) {
	for n, key := range path {
		switch d := document.(type) {
		case map[string]any:
			if name, err := strconv.Unquote(key); err == nil {
				key = name
			}
			if n == len(path)-1 {
				delete(d, key)
				return
			}
			document = d[key]
		case []any:
			at, err := strconv.Atoi(key)
			if err != nil || at < 0 || at >= len(d) {
				return
			}
			document = d[at]
		default:
			return
		}
	}
}

// culprit finds the field below a path without which the schema has nothing against what is
// there, and what the schema says of it. A field that a condition forbids is known by that
// alone.
func (i *instance) culprit(schema cue.Value, raw []byte, path []string, found cue.Value) (deeper []string, of cue.Value) {
	tries := 0
	var search func(at []string, found cue.Value) []string
	search = func(at []string, found cue.Value) []string {
		if found.Kind() != cue.StructKind {
			return nil
		}
		fields, err := found.Fields()
		if err != nil {
			return nil
		}
		for fields.Next() {
			if tries++; tries > maxTries {
				return nil
			}
			here := slices.Concat(at, []string{fields.Selector().String()})
			rest, err := i.without(raw, [][]string{here})
			if err != nil {
				return nil
			}
			decided, ok := descend(schema.Unify(rest), path)
			if !ok || decided.Err() != nil {
				continue
			}
			// Without a field that a condition looks at there is no conflict either; so the one
			// has to be forbidden where all the others are as they are.
			if of, ok = descend(decided, here[len(path):]); ok && isForbidden(of) {
				return here
			}
			if below := search(here, fields.Value()); below != nil {
				return below
			}
		}
		return nil
	}
	if whole := search(path, found); whole != nil {
		return whole[len(path):], of
	}
	return nil, cue.Value{}
}
