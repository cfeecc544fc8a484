package attempt

import (
	"fmt"
	"reflect"
	"regexp"
	"slices"
	"strconv"
	"strings"

	"github.com/agnivade/levenshtein"
	"go.yaml.in/yaml/v3"
)

// unknownKeys lists, by line, the keys below a node that a type of the format does not have,
// each with the nearest one that it has. What is free of form, such as a body, has any.
func unknownKeys(n *yaml.Node, t reflect.Type) []string {
	if n.Kind == yaml.AliasNode {
		n = n.Alias
	}
	if n.Kind == yaml.DocumentNode && len(n.Content) == 1 {
		n = n.Content[0]
	}
	for t.Kind() == reflect.Pointer {
		t = t.Elem()
	}
	var out []string
	switch {
	case t.Kind() == reflect.Slice && n.Kind == yaml.SequenceNode:
		for _, e := range n.Content {
			out = append(out, unknownKeys(e, t.Elem())...)
		}
	case t.Kind() == reflect.Struct && n.Kind == yaml.MappingNode:
		fields := keysOf(t)
		for i := 0; i+1 < len(n.Content); i += 2 {
			key := n.Content[i]
			at := slices.IndexFunc(fields, func(f keyed) bool { return f.key == key.Value })
			if at < 0 {
				if key.Value != "<<" { // YAML's own, which puts another mapping in here
					out = append(out, fmt.Sprintf("line %d: wanted one of the keys %s, found %q%s", key.Line, strings.Join(names(fields), ", "), key.Value, nearest(key.Value, fields)))
				}
				continue
			}
			out = append(out, unknownKeys(n.Content[i+1], fields[at].of)...)
		}
	}
	return out
}

// keyed is a key of the format and what is behind it.
type keyed struct {
	key string
	of  reflect.Type
}

func keysOf(t reflect.Type) []keyed {
	var out []keyed
	for f := range t.Fields() {
		if key, _, _ := strings.Cut(f.Tag.Get("yaml"), ","); key != "" && key != "-" {
			out = append(out, keyed{key, f.Type})
		}
	}
	return out
}

func names(fields []keyed) []string {
	out := make([]string, 0, len(fields))
	for _, f := range fields {
		out = append(out, f.key)
	}
	slices.Sort(out)
	return out
}

// nearest is the key that was probably meant, as a question, or empty.
func nearest(found string, fields []keyed) string {
	best, distance := "", len(found)/2+1
	for _, name := range names(fields) {
		if d := levenshtein.ComputeDistance(strings.ToLower(found), strings.ToLower(name)); d < distance {
			best, distance = name, d
		}
	}
	if best == "" {
		return ""
	}
	return fmt.Sprintf("; was %q meant?", best)
}

// part is the beginning of a mistake that says where it is: "setup 2", "expect".
var part = regexp.MustCompile(`^([a-zA-Z]+)(?: (\d+))?: `)

// lineAt is the line of what a mistake is about, as far as its words lead, or 0.
func lineAt(n *yaml.Node, problem string) int {
	if n.Kind == yaml.DocumentNode && len(n.Content) == 1 {
		n = n.Content[0]
	}
	line := 0
	for {
		m := part.FindStringSubmatch(problem)
		if m == nil || n.Kind != yaml.MappingNode {
			return line
		}
		key, value := entry(n, m[1])
		if key == nil && m[1] == "request" {
			key, value = entry(n, "requests")
		}
		if key == nil {
			return line
		}
		n, line = value, key.Line
		if number, err := strconv.Atoi(m[2]); err == nil && value.Kind == yaml.SequenceNode && number >= 1 && number <= len(value.Content) {
			n = value.Content[number-1]
			line = n.Line
		}
		problem = problem[len(m[0]):]
	}
}

func entry(n *yaml.Node, name string) (key, value *yaml.Node) {
	for i := 0; i+1 < len(n.Content); i += 2 {
		if n.Content[i].Value == name {
			return n.Content[i], n.Content[i+1]
		}
	}
	return nil, nil
}
