package cuepolicy

import (
	"encoding/json"
	"fmt"
	"strconv"
	"strings"

	"cuelang.org/go/cue"
	cueerrors "cuelang.org/go/cue/errors"
)

// maxShown is how long a constraint or a value is in a message, in bytes.
const maxShown = 200

// explain words one error of the engine: it looks up what the schema and the object have at
// its path, since the engine's own text mixes both with places in files.
func explain(schema, object cue.Value, e cueerrors.Error) Finding {
	// The path begins where the engine was asked: with the field of the policy.
	path := e.Path()
	if prefix := schema.Path().Selectors(); len(path) >= len(prefix) {
		same := true
		for i, s := range prefix {
			same = same && path[i] == s.String()
		}
		if same {
			path = path[len(prefix):]
		}
	}
	wanted, ok := descend(schema, path)
	found, there := descend(object, path)
	if ok && there {
		// Of a field that must not be there, the engine names only what is around it.
		if deeper, found2 := forbidden(wanted, found); found2 {
			path = append(append([]string{}, path...), deeper...)
			wanted, _ = descend(schema, path)
			found, _ = descend(object, path)
		}
	}
	f := Finding{Path: pathText(path), Wanted: "what the policy says", Found: "nothing"}
	if there {
		f.Found = value(found)
	}
	switch {
	case ok:
		f.Wanted = constraint(wanted)
		f.Message, f.Fix, f.Code = attribute(wanted, "msg"), attribute(wanted, "fix"), attribute(wanted, "code")
	case there:
		f.Wanted = "no such field"
	}
	// Where the constraint is no more than the shape of what is there, the engine knows more.
	if f.Wanted == "" || f.Wanted == f.Found {
		format, args := e.Msg()
		f.Wanted = shortened(fmt.Sprintf(format, args...))
	}
	return f
}

// forbidden finds the first field of an object that its schema says must not be there.
func forbidden(schema, object cue.Value) (path []string, ok bool) {
	if schema.IncompleteKind() == cue.BottomKind && schema.Err() != nil {
		return nil, true
	}
	if object.Kind() != cue.StructKind {
		return nil, false
	}
	fields, err := object.Fields()
	if err != nil {
		return nil, false
	}
	for fields.Next() {
		key := fields.Selector().String()
		next, there := step(schema, key)
		if !there {
			continue
		}
		if rest, ok := forbidden(next, fields.Value()); ok {
			return append([]string{key}, rest...), true
		}
	}
	return nil, false
}

// descend follows a path. Where a schema has no such field itself, it may have an optional
// one, or a pattern for all.
func descend(v cue.Value, path []string) (cue.Value, bool) {
	for _, key := range path {
		next, ok := step(v, key)
		if !ok {
			return cue.Value{}, false
		}
		v = next
	}
	return v, true
}

func step(v cue.Value, key string) (cue.Value, bool) {
	var selectors []cue.Selector
	if n, err := strconv.Atoi(key); err == nil && n >= 0 && v.IncompleteKind()&cue.ListKind != 0 {
		selectors = []cue.Selector{cue.Index(n), cue.AnyIndex}
	} else {
		name := key
		if text, err := strconv.Unquote(key); err == nil {
			name = text
		}
		selectors = []cue.Selector{cue.Str(name), cue.Str(name).Optional(), cue.Str(name).Required(), cue.AnyString}
	}
	for _, s := range selectors {
		if next := v.LookupPath(cue.MakePath(s)); next.Exists() {
			return next, true
		}
	}
	return cue.Value{}, false
}

// pathText is a path as people write it.
func pathText(path []string) string {
	var b strings.Builder
	for _, key := range path {
		name := key
		if text, err := strconv.Unquote(key); err == nil {
			name = text
		}
		switch _, err := strconv.Atoi(key); {
		case err == nil:
			b.WriteString("[" + key + "]")
		case strings.ContainsAny(name, `./[]" `):
			b.WriteString("[" + strconv.Quote(name) + "]")
		default:
			if b.Len() > 0 {
				b.WriteByte('.')
			}
			b.WriteString(name)
		}
	}
	return b.String()
}

// constraint is a schema in one line, with what it refers to filled in.
func constraint(v cue.Value) string {
	if v.IncompleteKind() == cue.BottomKind {
		return "no such field"
	}
	text := strings.TrimSpace(fmt.Sprint(v))
	if strings.HasPrefix(text, "{") {
		return "an object that fits the policy"
	}
	return shortened(strings.Join(strings.Fields(text), " "))
}

// value is what is found, as JSON.
func value(v cue.Value) string {
	raw, err := v.MarshalJSON()
	if err != nil {
		return "what cannot be shown"
	}
	var whole any
	if json.Unmarshal(raw, &whole) == nil {
		switch whole.(type) {
		case map[string]any:
			return "an object"
		case []any:
			if len(raw) > maxShown {
				return "a list"
			}
		}
	}
	return shortened(string(raw))
}

func shortened(text string) string {
	if len(text) <= maxShown {
		return text
	}
	return strings.ToValidUTF8(text[:maxShown], "") + "..."
}

// attribute is the text of an attribute of a field, such as @msg("text").
func attribute(v cue.Value, name string) string {
	a := v.Attribute(name)
	if a.Err() != nil {
		return ""
	}
	text, err := a.String(0)
	if err != nil {
		return ""
	}
	return text
}
