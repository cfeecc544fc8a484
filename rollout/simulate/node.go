package simulate

import (
	"fmt"
	"slices"
	"strconv"
	"strings"
	"time"

	"go.yaml.in/yaml/v3"
)

// reader reads YAML strictly and remembers each mistake with its line.
type reader struct {
	file string
	// before is how many lines of the file come before the document.
	before   int
	problems []string
}

// failf notes a mistake: what was wanted, what was found and what to do.
func (r *reader) failf(n *yaml.Node, path, format string, args ...any) {
	line := r.before + 1
	if n != nil {
		line = r.before + n.Line
	}
	if path != "" {
		path += ": "
	}
	r.problems = append(r.problems, fmt.Sprintf("%s:%d: %s%s", r.file, line, path, fmt.Sprintf(format, args...)))
}

// what says what a node is, for messages.
func what(n *yaml.Node) string {
	switch n.Kind {
	case yaml.MappingNode:
		return "fields"
	case yaml.SequenceNode:
		return "a list"
	case yaml.AliasNode:
		return "an alias"
	default:
	}
	if n.Tag == "!!null" {
		return "nothing"
	}
	return strconv.Quote(n.Value)
}

// field is one field that a mapping may have.
type field struct {
	name string
	read func(n *yaml.Node, path string)
}

// fields reads a mapping that has no other fields than those given, each at most once, in
// the order given here. It returns which are there.
func (r *reader) fields(n *yaml.Node, path string, known ...field) map[string]*yaml.Node {
	seen := map[string]*yaml.Node{}
	names := make([]string, len(known))
	for i, f := range known {
		names[i] = f.name
	}
	list := strings.Join(names, ", ")
	if n.Kind != yaml.MappingNode {
		r.failf(n, path, "wanted fields (%s), found %s; see docs/simulate.md", list, what(n))
		return seen
	}
	for i := 0; i+1 < len(n.Content); i += 2 {
		key, value := n.Content[i], n.Content[i+1]
		at := slices.Index(names, key.Value)
		switch {
		case at < 0:
			r.failf(key, path, "wanted one of %s, found the field %q; remove it or correct its name", list, key.Value)
		case seen[key.Value] != nil:
			r.failf(key, join(path, key.Value), "wanted the field once, found it again; remove one of them")
		default:
			seen[key.Value] = value
		}
	}
	for _, f := range known {
		if value := seen[f.name]; value != nil {
			f.read(value, join(path, f.name))
		}
	}
	return seen
}

func join(path, name string) string {
	if path == "" {
		return name
	}
	return path + "." + name
}

// items reads a list.
func (r *reader) items(n *yaml.Node, path string, read func(n *yaml.Node, path string)) {
	if n.Kind != yaml.SequenceNode {
		r.failf(n, path, "wanted a list, found %s; begin each item with a dash", what(n))
		return
	}
	for i, item := range n.Content {
		read(item, fmt.Sprintf("%s[%d]", path, i))
	}
}

// scalar returns the text of a single value.
func (r *reader) scalar(n *yaml.Node, path, wanted string) (string, bool) {
	if n.Kind != yaml.ScalarNode || n.Tag == "!!null" || n.Value == "" {
		r.failf(n, path, "wanted %s, found %s; write it as one value", wanted, what(n))
		return "", false
	}
	return n.Value, true
}

// oneOf reads one of a few words.
func oneOf[T ~string](r *reader, into *T, words ...T) func(*yaml.Node, string) {
	return func(n *yaml.Node, path string) {
		list := make([]string, len(words))
		for i, w := range words {
			list[i] = string(w)
		}
		wanted := "one of " + strings.Join(list, ", ")
		text, ok := r.scalar(n, path, wanted)
		switch {
		case !ok:
		case !slices.Contains(words, T(text)):
			r.failf(n, path, "wanted %s, found %q; choose one of them", wanted, text)
		default:
			*into = T(text)
		}
	}
}

// orFields reads one of a few words where the value may have fields too, of the given form.
func orFields[T ~string](r *reader, into *T, form string, words ...T) func(*yaml.Node, string) {
	return func(n *yaml.Node, path string) {
		list := make([]string, len(words))
		for i, w := range words {
			list[i] = string(w)
		}
		if n.Kind != yaml.ScalarNode || !slices.Contains(words, T(n.Value)) {
			r.failf(n, path, "wanted one of %s, or %s, found %s; choose one of them", strings.Join(list, ", "), form, what(n))
			return
		}
		*into = T(n.Value)
	}
}

// text reads a value that may be any text.
func (r *reader) text(into *string) func(*yaml.Node, string) {
	return func(n *yaml.Node, path string) {
		if text, ok := r.scalar(n, path, "a text"); ok {
			*into = text
		}
	}
}

// texts reads a list of texts.
func (r *reader) texts(into *[]string) func(*yaml.Node, string) {
	return func(n *yaml.Node, path string) {
		r.items(n, path, func(n *yaml.Node, path string) {
			var one string
			r.text(&one)(n, path)
			*into = append(*into, one)
		})
	}
}

// flag reads true or false.
func (r *reader) flag(into *bool) func(*yaml.Node, string) {
	return func(n *yaml.Node, path string) {
		if n.Kind != yaml.ScalarNode || n.Tag != "!!bool" {
			r.failf(n, path, "wanted true or false, found %s; write one of the two", what(n))
			return
		}
		*into = n.Value == "true"
	}
}

// number reads a whole number within bounds.
func (r *reader) number(into *int32, least, most int32) func(*yaml.Node, string) {
	return func(n *yaml.Node, path string) {
		i, err := strconv.ParseInt(n.Value, 10, 32)
		if n.Kind != yaml.ScalarNode || err != nil || i < int64(least) || i > int64(most) {
			r.failf(n, path, "wanted a whole number from %d to %d, found %s; write one such as %d", least, most, what(n), least)
			return
		}
		*into = int32(i)
	}
}

// duration reads a time such as 30s, not below least.
func (r *reader) duration(into *time.Duration, least time.Duration) func(*yaml.Node, string) {
	return func(n *yaml.Node, path string) {
		d, err := time.ParseDuration(n.Value)
		if n.Kind != yaml.ScalarNode || err != nil || d < least || d > longest {
			r.failf(n, path, "wanted a time of at least %s and at most %s, found %s; write one such as 30s or 5m", short(least), short(longest), what(n))
			return
		}
		*into = d
	}
}

// longest bounds every time in a scenario.
const longest = 24 * time.Hour

// short leaves out the parts of a time that are zero: 2m, not 2m0s.
func short(d time.Duration) string {
	text := d.String()
	if strings.HasSuffix(text, "m0s") {
		text = strings.TrimSuffix(text, "0s")
	}
	if strings.HasSuffix(text, "h0m") {
		text = strings.TrimSuffix(text, "0m")
	}
	return text
}
