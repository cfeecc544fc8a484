package attempt

import (
	"fmt"
	"maps"
	"reflect"
	"regexp"
	"slices"
	"strconv"
	"strings"
)

// Vars are the values of ${name}.
type Vars map[string]string

var (
	variableName = regexp.MustCompile(`^[A-Za-z][A-Za-z0-9]*$`)
	// reference is ${name} or ${repeat:N:text}; the text has no closing brace.
	reference = regexp.MustCompile(`\$\{([A-Za-z][A-Za-z0-9]*)(?::(\d+):([^}]*))?\}`)
)

// known are the variables that a runner sets before anything of an attempt is done.
var known = []string{"namespace", "id", "open", "system", "identity", "webhook", "now", "shortly", "soon", "i"}

// ofRelease are those that a Release sets besides.
var ofRelease = []string{"release", "set", "revision", "rollout", "pod", "replicaset", "uid", "digest"}

// maxRepeat bounds what one ${repeat:N:text} makes, in bytes.
const maxRepeat = 64 << 20

// Expand returns the text with its variables replaced. $${ stands for ${ itself.
func (v Vars) Expand(text string) (string, error) {
	if !strings.Contains(text, "${") {
		return text, nil
	}
	const escaped = "\x00dollar\x00"
	text = strings.ReplaceAll(text, "$${", escaped)
	var problem error
	out := reference.ReplaceAllStringFunc(text, func(ref string) string {
		m := reference.FindStringSubmatch(ref)
		if m[1] == "repeat" && m[2] != "" {
			n, err := strconv.Atoi(m[2])
			if err != nil || n*max(len(m[3]), 1) > maxRepeat {
				problem = fmt.Errorf("%s: wanted at most %d bytes", ref, maxRepeat)
				return ""
			}
			return strings.Repeat(m[3], n)
		}
		value, ok := v[m[1]]
		if !ok || m[2] != "" {
			problem = fmt.Errorf("%s: wanted one of the variables %s", ref, strings.Join(slices.Sorted(maps.Keys(v)), ", "))
		}
		return value
	})
	return strings.ReplaceAll(out, escaped, "${"), problem
}

// Expanded returns a deep copy of a part of an attempt with the variables replaced in every
// text of it, keys of maps too. ${i}, of fills, is left as it is.
func Expanded[T any](of T, v Vars) (T, error) {
	v = maps.Clone(v)
	v["i"] = "${i}"
	return deep(of, v)
}

func deep[T any](of T, v Vars) (T, error) {
	out, err := expanded(reflect.ValueOf(&of).Elem(), v)
	if err != nil {
		var zero T
		return zero, err
	}
	var zero T
	if !out.IsValid() || out.Kind() == reflect.Interface && out.IsNil() {
		return zero, nil
	}
	value, ok := reflect.TypeAssert[T](out)
	if !ok {
		return zero, fmt.Errorf("copying a %T: found a %s", zero, out.Type())
	}
	return value, nil
}

func expanded(of reflect.Value, v Vars) (reflect.Value, error) {
	switch of.Kind() {
	case reflect.String:
		text, err := v.Expand(of.String())
		out := reflect.New(of.Type()).Elem()
		out.SetString(text)
		return out, err
	case reflect.Pointer, reflect.Interface:
		if of.IsNil() {
			return of, nil
		}
		inner, err := expanded(of.Elem(), v)
		if err != nil || of.Kind() == reflect.Interface {
			return inner, err
		}
		out := reflect.New(of.Type().Elem())
		out.Elem().Set(inner)
		return out, nil
	case reflect.Slice:
		if of.IsNil() {
			return of, nil
		}
		out := reflect.MakeSlice(of.Type(), of.Len(), of.Len())
		for i := range of.Len() {
			inner, err := expanded(of.Index(i), v)
			if err != nil {
				return out, err
			}
			set(out.Index(i), inner)
		}
		return out, nil
	case reflect.Map:
		return expandedMap(of, v)
	case reflect.Struct:
		out := reflect.New(of.Type()).Elem()
		for i := range of.NumField() {
			inner, err := expanded(of.Field(i), v)
			if err != nil {
				return out, err
			}
			set(out.Field(i), inner)
		}
		return out, nil
	default:
		return of, nil
	}
}

func expandedMap(of reflect.Value, v Vars) (reflect.Value, error) {
	if of.IsNil() {
		return of, nil
	}
	out := reflect.MakeMapWithSize(of.Type(), of.Len())
	for _, k := range of.MapKeys() {
		key, err := expanded(k, v)
		if err != nil {
			return out, err
		}
		value, err := expanded(of.MapIndex(k), v)
		if err != nil {
			return out, err
		}
		if !value.IsValid() {
			value = reflect.Zero(of.Type().Elem())
		}
		out.SetMapIndex(key, value)
	}
	return out, nil
}

// set leaves the zero value where there is nothing, such as a nil in an any.
func set(to, value reflect.Value) {
	if value.IsValid() {
		to.Set(value)
	}
}

// undefined lists the variables of a file that nobody sets.
func (a *Attempt) undefined(raw []byte) []string {
	have := slices.Clone(known)
	if a.Release != nil {
		have = append(have, ofRelease...)
	}
	for _, s := range a.Setup {
		if s.Capture != nil {
			have = append(have, s.Capture.Var)
		}
		if s.Request != nil {
			have = slices.AppendSeq(have, maps.Keys(s.Request.Capture))
		}
	}
	for _, r := range a.All() {
		have = slices.AppendSeq(have, maps.Keys(r.Capture))
	}
	var out []string
	for i, line := range strings.Split(string(raw), "\n") {
		line = strings.ReplaceAll(line, "$${", "")
		for _, m := range reference.FindAllStringSubmatch(line, -1) {
			if m[1] == "repeat" && m[2] != "" || slices.Contains(have, m[1]) {
				continue
			}
			out = append(out, fmt.Sprintf("line %d: nobody sets the variable %s; known here: %s", i+1, m[1], strings.Join(have, ", ")))
		}
	}
	return out
}

// ExpandedCopy returns a deep copy of what a fill puts in, with ${i} replaced and nothing
// else: the other variables were replaced before.
func ExpandedCopy(value any, i string) (any, error) {
	return deep(value, Vars{"i": i})
}
