package cuepolicy

import (
	"encoding/json"
	"fmt"
	"slices"
	"strconv"
	"strings"

	"cuelang.org/go/cue"
	cueerrors "cuelang.org/go/cue/errors"
)

// maxShown is how long a constraint or a value is in a message, in bytes.
const maxShown = 200

// explainer words the conflicts of one object with one schema.
type explainer struct {
	instance       *instance
	schema, object cue.Value
	// raw is the object as JSON.
	raw []byte
	// decided is the schema with its conditions decided by the object: unified with what is
	// left of it without the fields that conflict. It does not exist where there is no such
	// schema.
	decided cue.Value
}

// decide prepares for explaining the mistakes.
func (x *explainer) decide(mistakes []cueerrors.Error) {
	paths := make([][]string, 0, len(mistakes))
	for _, e := range mistakes {
		paths = append(paths, x.path(e))
	}
	rest, err := x.instance.without(x.raw, paths)
	if err != nil {
		return
	}
	if v := x.schema.Unify(rest); v.Err() == nil {
		x.decided = v
	}
}

// path is where a mistake is. It begins where the engine was asked: with the field of the
// policy.
func (x *explainer) path(e cueerrors.Error) []string {
	path, prefix := e.Path(), x.schema.Path().Selectors()
	if len(path) < len(prefix) {
		return path
	}
	for i, s := range prefix {
		if path[i] != s.String() {
			return path
		}
	}
	return path[len(prefix):]
}

// wanted is what the schema has at a path. Where the schema has it under a condition, only
// the decided one knows it.
func (x *explainer) wanted(path []string) (v cue.Value, ok bool) {
	if x.decided.Exists() {
		if v, ok = descend(x.decided, path); ok && !isForbidden(v) {
			return v, true
		}
	}
	return descend(x.schema, path)
}

// explain words one error of the engine: it looks up what the schema and the object have at
// its path, since the engine's own text mixes both with places in files.
func (x *explainer) explain(e cueerrors.Error) Finding {
	path := x.path(e)
	wanted, ok := x.wanted(path)
	found, there := descend(x.object, path)
	if there {
		// Of a field that must not be there, the engine names only what is around it.
		if deeper, of := x.forbidden(path, found); len(deeper) > 0 {
			path = slices.Concat(path, deeper)
			wanted, ok = of, true
			found, _ = descend(x.object, path)
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

// forbidden finds the field below a path that its schema says must not be there, and what
// the schema says of it.
func (x *explainer) forbidden(path []string, found cue.Value) (deeper []string, of cue.Value) {
	if schema, ok := descend(x.schema, path); ok {
		if deeper, ok := forbidden(schema, found); ok {
			of, _ := descend(schema, deeper)
			return deeper, of
		}
	}
	return x.instance.culprit(x.schema, x.raw, path, found)
}

// forbidden finds the first field of an object that its schema says must not be there.
func forbidden(schema, object cue.Value) (path []string, ok bool) {
	if isForbidden(schema) {
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

// isForbidden says whether nothing fits a schema. One whose conditions are open is not yet
// anything, which is no mistake.
func isForbidden(schema cue.Value) bool {
	return schema.IncompleteKind() == cue.BottomKind && schema.Validate() != nil
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
	if isForbidden(v) {
		return "no such field"
	}
	text := strings.TrimSpace(fmt.Sprint(v))
	if strings.HasPrefix(text, "_|_") {
		return "what the policy says" // its conditions are open
	}
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
