package manifest

import (
	"encoding/json"
	"reflect"
	"strings"

	metav1 "k8s.io/apimachinery/pkg/apis/meta/v1"
	"k8s.io/apimachinery/pkg/apis/meta/v1/unstructured"

	"tidegate.io/tidegate/schemas/lean"
	"tidegate.io/tidegate/schemas/v1alpha1"
)

// ownsAll says whether Tidegate's field manager still owns every field of want on live.
// The numbers of pods of a workload are left out: they are compared by value.
func ownsAll(live, want *unstructured.Unstructured) bool {
	owned := ownedFields(live)
	if owned == nil {
		return false
	}
	fields := withoutNumbers(want)
	// What the API server drops nobody owns. Most objects have no such field.
	return ownsFields(owned, fields) || ownsFields(owned, lean.Of(fields))
}

func ownsFields(owned, want map[string]any) bool {
	for key, value := range want {
		switch key {
		case "apiVersion", "kind", "status":
			continue
		case "metadata":
			metadata, ok := value.(map[string]any)
			if !ok || !ownsMetadata(owned["f:metadata"], metadata) {
				return false
			}
		default:
			child, found := owned["f:"+key]
			if !found && hollow(value) {
				continue
			}
			if !found || !owns(child, value) {
				return false
			}
		}
	}
	return true
}

// ownsMetadata looks at the parts of metadata that field management tracks.
func ownsMetadata(node any, metadata map[string]any) bool {
	owned, ok := node.(map[string]any)
	if !ok {
		return false
	}
	for _, key := range []string{"labels", "annotations", "ownerReferences"} {
		value, wanted := metadata[key]
		if !wanted || hollow(value) {
			continue
		}
		if child, found := owned["f:"+key]; !found || !owns(child, value) {
			return false
		}
	}
	return true
}

// ownedFields returns the field set that the last server-side apply of Tidegate left, or
// nil when there is none. Its keys are those of FieldsV1: "f:<field>", "k:<keys as JSON>"
// for an element of a keyed list, "v:<value as JSON>" for an element of a set.
func ownedFields(live *unstructured.Unstructured) map[string]any {
	for _, entry := range live.GetManagedFields() {
		if entry.Manager != v1alpha1.FieldManager || entry.Operation != metav1.ManagedFieldsOperationApply ||
			entry.Subresource != "" || entry.FieldsV1 == nil {
			continue
		}
		var fields map[string]any
		if err := json.Unmarshal(entry.FieldsV1.GetRawBytes(), &fields); err != nil {
			return nil
		}
		return fields
	}
	return nil
}

// owns says whether node, a part of a field set, covers value. A node without children is
// a leaf or an atomic list or map, owned whole.
func owns(node, value any) bool {
	children, ok := node.(map[string]any)
	if !ok {
		return false
	}
	if len(children) == 0 {
		return true
	}
	switch v := value.(type) {
	case map[string]any:
		for key, field := range v {
			child, found := children["f:"+key]
			if !found && hollow(field) {
				continue
			}
			if !found || !owns(child, field) {
				return false
			}
		}
		return true
	case []any:
		for _, element := range v {
			if !ownsElement(children, element) {
				return false
			}
		}
		return true
	default:
		return true
	}
}

// hollow says whether a value holds nothing: the API server drops such fields of its own
// kinds, such as an empty list of environment variables, and then nobody owns them.
func hollow(value any) bool {
	switch v := value.(type) {
	case nil:
		return true
	case map[string]any:
		return len(v) == 0
	case []any:
		return len(v) == 0
	}
	return false
}

// ownsElement finds the owned element of a keyed list or a set that is element.
func ownsElement(children map[string]any, element any) bool {
	fields, isMap := element.(map[string]any)
	for key, child := range children {
		if raw, ok := strings.CutPrefix(key, "k:"); ok && isMap {
			if sameKeys(raw, fields) && owns(child, element) {
				return true
			}
		}
		if raw, ok := strings.CutPrefix(key, "v:"); ok && !isMap {
			if sameJSON(raw, element) {
				return true
			}
		}
	}
	return false
}

// sameKeys says whether fields agrees with the keys of a list element. A key that is
// absent from fields was filled in by a default.
func sameKeys(raw string, fields map[string]any) bool {
	var keys map[string]any
	if err := json.Unmarshal([]byte(raw), &keys); err != nil {
		return false
	}
	for key, want := range keys {
		got, found := fields[key]
		if found && !equalJSON(want, got) {
			return false
		}
	}
	return true
}

func sameJSON(raw string, value any) bool {
	var want any
	if err := json.Unmarshal([]byte(raw), &want); err != nil {
		return false
	}
	return equalJSON(want, value)
}

// equalJSON compares two values by what they are in JSON, so that 80 decoded as a float
// equals 80 held as an integer.
func equalJSON(a, b any) bool {
	return reflect.DeepEqual(normal(a), normal(b))
}

func normal(value any) any {
	data, err := json.Marshal(value)
	if err != nil {
		return nil
	}
	var out any
	if err := json.Unmarshal(data, &out); err != nil {
		return nil
	}
	return out
}
