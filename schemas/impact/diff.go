package impact

import (
	"encoding/json"
	"fmt"
	"maps"
	"reflect"
	"slices"
	"strings"

	"k8s.io/apimachinery/pkg/apis/meta/v1/unstructured"

	"tidegate.io/tidegate/schemas/render"
	"tidegate.io/tidegate/schemas/secret"
)

// ObjectChange is what differs in one object.
type ObjectChange struct {
	// Object is the kind and the name, with <revision> for the revision in it.
	Object string `json:"object"`
	// Change is added, removed or changed.
	Change string        `json:"change"`
	Fields []FieldChange `json:"fields,omitempty"`
}

// FieldChange is what differs at one path. An empty text is: nothing was, or is, there.
type FieldChange struct {
	Path string `json:"path"`
	Was  string `json:"was,omitempty"`
	Now  string `json:"now,omitempty"`
}

// Hidden stands for what must not be shown.
const Hidden = secret.Hidden

const (
	// revisionMark stands for the revision, which differs wherever pods do.
	revisionMark = "<revision>"
	// maxShown is how many characters of a value are shown.
	maxShown = 200
)

// Diff compares what two revisions of a template make of one Release, the strategy
// included. Texts that contain one of hidden, however it is written, are not shown.
func Diff(before, after *render.Result, hidden []string) []ObjectChange {
	d := differ{secret.New(hidden)}
	was, is := contents(before), contents(after)
	var out []ObjectChange
	for _, name := range slices.Sorted(maps.Keys(union(was, is))) {
		a, hasA := was[name]
		b, hasB := is[name]
		shown := d.mask.Text(name)
		switch {
		case !hasA:
			out = append(out, ObjectChange{Object: shown, Change: "added"})
		case !hasB:
			out = append(out, ObjectChange{Object: shown, Change: "removed"})
		default:
			if fields := d.compare("", a, b, nil); len(fields) > 0 {
				out = append(out, ObjectChange{Object: shown, Change: "changed", Fields: fields})
			}
		}
	}
	return out
}

func union(a, b map[string]any) map[string]any {
	all := maps.Clone(a)
	maps.Copy(all, b)
	return all
}

// contents are the objects by kind and name, with the revision replaced by its mark.
func contents(r *render.Result) map[string]any {
	out := map[string]any{}
	for _, o := range Objects(r) {
		out[title(o, r.Revision)] = marked(o.Object, r.Revision)
	}
	var strategy any
	if b, err := json.Marshal(r.Strategy); err == nil && json.Unmarshal(b, &strategy) == nil {
		out["rollout"] = strategy
	}
	return out
}

func title(o *unstructured.Unstructured, revision string) string {
	return o.GetKind() + " " + strings.ReplaceAll(o.GetName(), revision, revisionMark)
}

func marked(v any, revision string) any {
	switch v := v.(type) {
	case string:
		return strings.ReplaceAll(v, revision, revisionMark)
	case []any:
		out := make([]any, len(v))
		for i := range v {
			out[i] = marked(v[i], revision)
		}
		return out
	case map[string]any:
		out := make(map[string]any, len(v))
		for k, x := range v {
			out[strings.ReplaceAll(k, revision, revisionMark)] = marked(x, revision)
		}
		return out
	}
	return v
}

type differ struct{ mask secret.Mask }

func (d differ) compare(path string, was, is any, out []FieldChange) []FieldChange {
	if reflect.DeepEqual(was, is) {
		return out
	}
	a, mapA := was.(map[string]any)
	b, mapB := is.(map[string]any)
	if mapA && mapB {
		for _, k := range slices.Sorted(maps.Keys(union(a, b))) {
			out = d.entry(join(path, d.mask.Text(k)), a, b, k, out)
		}
		return out
	}
	x, listA := was.([]any)
	y, listB := is.([]any)
	if listA && listB {
		return d.lists(path, x, y, out)
	}
	return append(out, FieldChange{path, d.text(was), d.text(is)})
}

func (d differ) entry(path string, a, b map[string]any, k string, out []FieldChange) []FieldChange {
	was, hasA := a[k]
	is, hasB := b[k]
	switch {
	case !hasA:
		return append(out, FieldChange{path, "", d.text(is)})
	case !hasB:
		return append(out, FieldChange{path, d.text(was), ""})
	}
	return d.compare(path, was, is, out)
}

// lists compares entries by their name where they have one, as containers do, and by their
// place otherwise.
func (d differ) lists(path string, was, is []any, out []FieldChange) []FieldChange {
	a, okA := byName(was)
	b, okB := byName(is)
	if okA && okB {
		known := len(out)
		for _, name := range slices.Sorted(maps.Keys(union(a, b))) {
			out = d.entry(path+"["+d.mask.Text(name)+"]", a, b, name, out)
		}
		if len(out) == known {
			// Only their order differs.
			out = append(out, FieldChange{path, d.text(names(was)), d.text(names(is))})
		}
		return out
	}
	for i := range max(len(was), len(is)) {
		at := fmt.Sprintf("%s[%d]", path, i)
		switch {
		case i >= len(was):
			out = append(out, FieldChange{at, "", d.text(is[i])})
		case i >= len(is):
			out = append(out, FieldChange{at, d.text(was[i]), ""})
		default:
			out = d.compare(at, was[i], is[i], out)
		}
	}
	return out
}

func byName(list []any) (map[string]any, bool) {
	out := map[string]any{}
	for _, x := range list {
		m, _ := x.(map[string]any)
		name, ok := m["name"].(string)
		if _, twice := out[name]; !ok || twice {
			return nil, false
		}
		out[name] = x
	}
	return out, len(list) > 0
}

func names(list []any) []any {
	var out []any
	for _, x := range list {
		if m, ok := x.(map[string]any); ok {
			out = append(out, m["name"])
		}
	}
	return out
}

func join(path, key string) string {
	if strings.ContainsAny(key, "./") {
		return path + `["` + key + `"]`
	}
	if path == "" {
		return key
	}
	return path + "." + key
}

// text is v in a message.
func (d differ) text(v any) string {
	b, err := json.Marshal(d.redacted(v))
	if err != nil {
		return "?"
	}
	s := string(b)
	if r := []rune(s); len(r) > maxShown {
		s = string(r[:maxShown]) + fmt.Sprintf("... and %d more characters", len(r)-maxShown)
	}
	return s
}

func (d differ) redacted(v any) any {
	switch v := v.(type) {
	case map[string]any:
		out := make(map[string]any, len(v))
		for k, x := range v {
			if d.mask.In(k) {
				k = Hidden
			}
			out[k] = d.redacted(x)
		}
		return out
	case []any:
		out := make([]any, len(v))
		for i, x := range v {
			out[i] = d.redacted(x)
		}
		return out
	case string:
		if d.mask.In(v) {
			return Hidden
		}
	case nil, bool:
	default:
		if d.mask.In(fmt.Sprint(v)) {
			return Hidden
		}
	}
	return v
}
