package check

import (
	"regexp"
	"strconv"
	"strings"

	"go.yaml.in/yaml/v3"

	"tidegate.io/tidegate/schemas/render"
)

// segment is one step of a path: a name, or a number in a list.
type segment struct {
	name  string
	index int
	list  bool
}

// parts are the pieces of a path, such as spec, containers, [0], ["a/b"].
var parts = regexp.MustCompile(`\[(\d+)\]|\["([^"]*)"\]|([^.\[\]]+)`)

func segments(path string) []segment {
	var out []segment
	for _, m := range parts.FindAllStringSubmatch(path, -1) {
		switch {
		case m[1] != "":
			i, err := strconv.Atoi(m[1])
			if err != nil {
				return out
			}
			out = append(out, segment{index: i, list: true})
		case m[3] != "":
			out = append(out, segment{name: m[3]})
		default:
			out = append(out, segment{name: m[2]})
		}
	}
	return out
}

// target is what an alias stands for.
func target(n *yaml.Node) *yaml.Node {
	for n != nil && n.Kind == yaml.AliasNode {
		n = n.Alias
	}
	return n
}

// step is the value one segment below n, or nil.
func step(n *yaml.Node, s segment) *yaml.Node {
	value, _ := enter(n, s)
	return value
}

// enter is step, and the key that the value stands behind.
func enter(n *yaml.Node, s segment) (value, key *yaml.Node) {
	n = target(n)
	switch {
	case n == nil:
	case s.list && n.Kind == yaml.SequenceNode && s.index < len(n.Content):
		return target(n.Content[s.index]), n.Content[s.index]
	case !s.list && n.Kind == yaml.MappingNode:
		for i := 0; i+1 < len(n.Content); i += 2 {
			if n.Content[i].Value == s.name {
				return target(n.Content[i+1]), n.Content[i]
			}
		}
	}
	return nil, nil
}

// podSpecs are where the spec of a pod can stand in an object.
var podSpecs = []string{"", "spec", "spec.template.spec", "spec.jobTemplate.spec.template.spec", "template.spec"}

// locate is the line and column of what a path leads to, or of the nearest thing around it
// that is there. It is false where nothing of the path is there.
func (m Manifest) locate(path string) (line, column int, ok bool) {
	wanted := segments(path)
	best := 0
	for _, prefix := range podSpecs {
		n := m.node
		for _, s := range segments(prefix) {
			n = step(n, s)
		}
		for depth, s := range wanted {
			value, key := enter(n, s)
			if value == nil {
				break
			}
			if n = value; depth+1 > best {
				best, line, column = depth+1, key.Line+m.offset, key.Column
			}
		}
	}
	return line, column, best > 0
}

// line is where the object begins.
func (m Manifest) line() int { return m.node.Line + m.offset }

var (
	// named is a path of which a message says what was wanted there.
	named = regexp.MustCompile(`((?:[A-Za-z][\w-]*)(?:\.[A-Za-z0-9_-]+|\[\d+\]|\["[^"]*"\])*): wanted`)
	// long is a path of several steps.
	long = regexp.MustCompile(`(?:^|[\s(,;:])((?:[A-Za-z][\w-]*)(?:\.[A-Za-z0-9_-]+|\[\d+\]|\["[^"]*"\])+)`)
)

// field is the path that a message is about, of those that lead somewhere in the object;
// empty where there is none.
func (m Manifest) field(message string) string {
	for _, pattern := range []*regexp.Regexp{named, long} {
		for _, found := range pattern.FindAllStringSubmatch(message, -1) {
			if _, _, ok := m.locate(found[1]); ok {
				return found[1]
			}
		}
	}
	return ""
}

// telling is how long a value must be that a message is taken to quote.
const telling = 3

// value is the path of the value of a Release that a message quotes; empty where there is
// none.
func (m Manifest) value(message string) string {
	n := step(step(m.node, segment{name: "spec"}), segment{name: "values"})
	best, length := "", telling-1
	var walk func(n *yaml.Node, path string, depth int)
	walk = func(n *yaml.Node, path string, depth int) {
		if n = target(n); n == nil || depth > render.MaxNesting {
			return
		}
		switch n.Kind { //nolint:exhaustive // The others hold nothing.
		case yaml.ScalarNode:
			if len(n.Value) > length && strings.Contains(message, strconv.Quote(n.Value)) {
				best, length = path, len(n.Value)
			}
		case yaml.MappingNode:
			for i := 0; i+1 < len(n.Content); i += 2 {
				walk(n.Content[i+1], render.EntryPath(path, n.Content[i].Value), depth+1)
			}
		case yaml.SequenceNode:
			for i := range n.Content {
				walk(n.Content[i], render.ItemPath(path, i), depth+1)
			}
		}
	}
	walk(n, "spec.values", 0)
	return best
}

// mentioned is the path that a message names, wherever it leads; empty where there is none.
func mentioned(message string) string {
	if found := named.FindStringSubmatch(message); found != nil && strings.ContainsAny(found[1], ".[") {
		return found[1]
	}
	return ""
}
