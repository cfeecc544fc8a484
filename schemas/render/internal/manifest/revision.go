package manifest

import (
	"cmp"
	"slices"
	"strings"
)

// Revise puts the revision in for the text that stood for it, everywhere in the objects.
// Both have the same form, so what Read found out holds still; only the order may differ.
func (r *Rendered) Revise(revision string) {
	old := r.release.Revision
	r.release.Revision = revision
	for _, o := range r.objects() {
		o.Name = strings.ReplaceAll(o.Name, old, revision)
		o.Content, _ = Replace(o.Content, old, revision).(map[string]any)
	}
	r.order()
}

// order sorts each list by apiVersion, kind and name.
func (r *Rendered) order() {
	for _, list := range [][]*Object{r.Set, r.Routes, r.Shared, r.Jobs} {
		slices.SortFunc(list, func(a, b *Object) int {
			return cmp.Or(cmp.Compare(a.APIVersion, b.APIVersion), cmp.Compare(a.Kind, b.Kind), cmp.Compare(a.Name, b.Name))
		})
	}
}

// Replace replaces a text in all strings and keys of v, decoded JSON, which it changes.
func Replace(v any, old, text string) any {
	switch v := v.(type) {
	case string:
		return strings.ReplaceAll(v, old, text)
	case []any:
		for i := range v {
			v[i] = Replace(v[i], old, text)
		}
	case map[string]any:
		var named []string
		for key, value := range v {
			switch value.(type) {
			case string, []any, map[string]any:
				v[key] = Replace(value, old, text)
			}
			if strings.Contains(key, old) {
				named = append(named, key)
			}
		}
		for _, key := range named {
			value := v[key]
			delete(v, key)
			v[strings.ReplaceAll(key, old, text)] = value
		}
	}
	return v
}
