package manifest

import (
	"encoding/json"
	"fmt"
	"maps"
	"reflect"
	"slices"
	"strconv"
	"strings"

	"k8s.io/apimachinery/pkg/api/resource"
	metav1 "k8s.io/apimachinery/pkg/apis/meta/v1"
	"k8s.io/apimachinery/pkg/util/intstr"
)

// mistyped returns a line for each value in content that the Go type t cannot hold, the field
// first. A decoder stops at the first, and of a type that reads itself, such as a quantity,
// it knows neither the field nor the value.
func mistyped(t reflect.Type, content any, path string) []string {
	var lines []string
	hold(t, content, where{path: path}, &lines)
	return lines
}

// where a value is: the path of its field and, where that is a map, what leads on from there.
// Names in maps may be made of a sensitive value, so they are told with what was found.
type where struct {
	path, entry string
	inMap       bool
}

// to is where step leads, such as ".spec" or "[0]".
func (w where) to(step string) where {
	if w.inMap {
		w.entry += step
	} else {
		w.path += step
	}
	return w
}

func (w where) mistake(wanted string, found any) string {
	path := strings.TrimPrefix(w.path, ".")
	if w.inMap {
		return fmt.Sprintf("%s: wanted %s in each entry, found %s in %s", path, wanted, shown(found), strings.TrimPrefix(w.entry, "."))
	}
	return fmt.Sprintf("%s: wanted %s, found %s", path, wanted, shown(found))
}

// readers are types that read themselves from JSON, and what they want in words.
var readers = map[reflect.Type]string{
	reflect.TypeFor[resource.Quantity]():  `a quantity such as "250m" or "1Gi"`,
	reflect.TypeFor[metav1.Duration]():    `a duration such as "30s"`,
	reflect.TypeFor[metav1.Time]():        `a time such as "2026-01-31T12:00:00Z"`,
	reflect.TypeFor[metav1.MicroTime]():   `a time such as "2026-01-31T12:00:00.000000Z"`,
	reflect.TypeFor[intstr.IntOrString](): "an integer or a string",
}

// hold adds a line for each part of v that t cannot hold. Null is nothing to every type.
func hold(t reflect.Type, v any, at where, lines *[]string) {
	for t.Kind() == reflect.Pointer {
		t = t.Elem()
	}
	mistake := func(wanted string) { *lines = append(*lines, at.mistake(wanted, v)) }
	switch {
	case v == nil:
	case reflect.PointerTo(t).Implements(reflect.TypeFor[json.Unmarshaler]()):
		if wanted := holdReader(t, v); wanted != "" {
			mistake(wanted)
		}
	case t.Kind() == reflect.Struct:
		if m, ok := v.(map[string]any); ok {
			holdFields(t, m, at, lines)
		} else {
			mistake("an object")
		}
	case t.Kind() == reflect.Map:
		m, ok := v.(map[string]any)
		if !ok {
			mistake("an object")
		}
		at.inMap = true
		for _, key := range slices.Sorted(maps.Keys(m)) {
			hold(t.Elem(), m[key], at.to("."+key), lines)
		}
	case t.Kind() == reflect.Slice && t.Elem().Kind() != reflect.Uint8:
		list, ok := v.([]any)
		if !ok {
			mistake("a list")
		}
		for i, item := range list {
			hold(t.Elem(), item, at.to(fmt.Sprintf("[%d]", i)), lines)
		}
	default:
		if wanted := holdScalar(t, v); wanted != "" {
			mistake(wanted)
		}
	}
}

// holdReader says what t, which reads itself, wants where it cannot hold v; "" where it can.
func holdReader(t reflect.Type, v any) string {
	text, err := json.Marshal(v)
	if err == nil && json.Unmarshal(text, reflect.New(t).Interface()) == nil {
		return ""
	}
	if wanted, known := readers[t]; known {
		return wanted
	}
	return "what a " + t.Name() + " is written as"
}

// holdFields goes through the fields of the struct t by their names in JSON.
func holdFields(t reflect.Type, m map[string]any, at where, lines *[]string) {
	for f := range t.Fields() {
		name, _, _ := strings.Cut(f.Tag.Get("json"), ",")
		switch {
		case name == "-" || !f.IsExported():
		case name == "" && f.Anonymous:
			hold(f.Type, m, at, lines)
		default:
			if name == "" {
				name = f.Name
			}
			hold(f.Type, m[name], at.to("."+name), lines)
		}
	}
}

// holdScalar says what t wants where it cannot hold v; "" where it can.
func holdScalar(t reflect.Type, v any) string {
	switch v := v.(type) {
	case bool:
		if t.Kind() == reflect.Bool {
			return ""
		}
	case string:
		if t.Kind() == reflect.String || t.Kind() == reflect.Slice && json.Unmarshal([]byte(strconv.Quote(v)), new([]byte)) == nil {
			return ""
		}
	case int64:
		return holdInteger(t, v)
	case float64:
		if reflect.Zero(t).CanFloat() {
			return ""
		}
	}
	return noun(t)
}

func holdInteger(t reflect.Type, n int64) string {
	switch zero := reflect.Zero(t); {
	case zero.CanInt() && zero.OverflowInt(n):
		return fmt.Sprintf("an integer of %d bits", t.Bits())
	case zero.CanUint() && (n < 0 || zero.OverflowUint(uint64(n))):
		return fmt.Sprintf("an integer of at least 0 and of %d bits", t.Bits())
	case zero.CanInt(), zero.CanUint(), zero.CanFloat():
		return ""
	}
	return noun(t)
}

// noun is what the scalar type t holds; "" where that may be anything.
func noun(t reflect.Type) string {
	switch zero := reflect.Zero(t); {
	case zero.CanInt(), zero.CanUint():
		return "an integer"
	case zero.CanFloat():
		return "a number"
	case t.Kind() == reflect.Bool:
		return "true or false"
	case t.Kind() == reflect.String:
		return "a string"
	case t.Kind() == reflect.Slice:
		return "text in base64"
	}
	return ""
}

// maxShown is how many characters of a value a message repeats.
const maxShown = 80

// shown is a value that was rendered, for messages.
func shown(v any) string {
	switch v := v.(type) {
	case map[string]any:
		return "an object"
	case []any:
		return "a list"
	case string:
		if runes := []rune(v); len(runes) > maxShown {
			return strconv.Quote(string(runes[:maxShown])) + " and more"
		}
		return strconv.Quote(v)
	default:
		return fmt.Sprint(v)
	}
}
