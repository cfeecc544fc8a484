// Package lean knows which fields the API server drops though they were given.
package lean

import (
	"k8s.io/apimachinery/pkg/runtime"
	"k8s.io/apimachinery/pkg/runtime/schema"
	"k8s.io/client-go/kubernetes/scheme"
)

// Of is an object of a built-in kind without the zeros that the API server drops, such as
// the empty value of a variable or hostNetwork: false. Whether it drops one depends on the
// field: automountServiceAccountToken: false is kept, since leaving it out means something
// else. Other kinds, and what does not decode, are left as they are. The object itself is not
// changed; the result may share parts with it.
func Of(object map[string]any) map[string]any {
	apiVersion, _ := object["apiVersion"].(string)
	kind, _ := object["kind"].(string)
	into, err := scheme.Scheme.New(schema.FromAPIVersionAndKind(apiVersion, kind))
	if err != nil {
		return object
	}
	if err := runtime.DefaultUnstructuredConverter.FromUnstructured(object, into); err != nil {
		return object
	}
	kept, err := runtime.DefaultUnstructuredConverter.ToUnstructured(into)
	if err != nil {
		return object
	}
	out, ok := pruned(object, kept).(map[string]any)
	if !ok {
		return object
	}
	return out
}

// pruned is a value without the zeros that are not in what was kept of it.
func pruned(value, kept any) any {
	switch v := value.(type) {
	case map[string]any:
		k, _ := kept.(map[string]any)
		out := make(map[string]any, len(v))
		for name, field := range v {
			other, there := k[name]
			if there || !zero(field) {
				out[name] = pruned(field, other)
			}
		}
		return out
	case []any:
		k, _ := kept.([]any)
		out := make([]any, len(v))
		for i, element := range v {
			var other any
			if i < len(k) {
				other = k[i]
			}
			out[i] = pruned(element, other)
		}
		return out
	}
	return value
}

func zero(v any) bool {
	switch v := v.(type) {
	case string:
		return v == ""
	case bool:
		return !v
	case int:
		return v == 0
	case int32:
		return v == 0
	case int64:
		return v == 0
	case float64:
		return v == 0
	}
	return false
}
