package attempt

import (
	"bytes"
	"errors"
	"fmt"
	"io"
	"slices"
	"strings"
	"time"

	"go.yaml.in/yaml/v3"
)

// Duration is written as 10s or 1m30s.
type Duration time.Duration

// UnmarshalYAML reads it.
func (d *Duration) UnmarshalYAML(n *yaml.Node) error {
	parsed, err := time.ParseDuration(n.Value)
	if err != nil || parsed <= 0 {
		return fmt.Errorf("line %d: wanted a duration such as 10s, found %q", n.Line, n.Value)
	}
	*d = Duration(parsed)
	return nil
}

// Results is one result, or a list of which one must come true.
type Results []Result

// UnmarshalYAML reads a word or a list of words.
func (r *Results) UnmarshalYAML(n *yaml.Node) error {
	var words Texts
	if err := words.UnmarshalYAML(n); err != nil {
		return err
	}
	for _, w := range words {
		if w == "denied by policy" { // in full
			w = string(Denied)
		}
		if !slices.Contains([]Result{Denied, Rejected, Allowed, Admitted}, Result(w)) {
			return fmt.Errorf("line %d: wanted denied, rejected, allowed or admitted, found %q", n.Line, w)
		}
		*r = append(*r, Result(w))
	}
	return nil
}

// UnmarshalYAML reads an expectation; a word or a list of words is its result.
func (e *Expect) UnmarshalYAML(n *yaml.Node) error {
	if n.Kind != yaml.MappingNode {
		return e.Result.UnmarshalYAML(n)
	}
	type plain Expect // The keys were looked at before; see unknownKeys.
	return n.Decode((*plain)(e))
}

// Texts is one text or a list.
type Texts []string

// UnmarshalYAML reads a text or a list of texts.
func (t *Texts) UnmarshalYAML(n *yaml.Node) error {
	if n.Kind == yaml.ScalarNode {
		*t = Texts{n.Value}
		return nil
	}
	return n.Decode((*[]string)(t))
}

// Numbers is one number or a list.
type Numbers []int

// UnmarshalYAML reads a number or a list of numbers.
func (v *Numbers) UnmarshalYAML(n *yaml.Node) error {
	if n.Kind == yaml.ScalarNode {
		var one int
		if err := n.Decode(&one); err != nil {
			return err
		}
		*v = Numbers{one}
		return nil
	}
	return n.Decode((*[]int)(v))
}

// Objects are one object, a list of objects, or a text of YAML documents.
type Objects []map[string]any

// UnmarshalYAML reads any of the three forms.
func (o *Objects) UnmarshalYAML(n *yaml.Node) error {
	switch n.Kind {
	case yaml.MappingNode:
		var one map[string]any
		if err := n.Decode(&one); err != nil {
			return err
		}
		*o = Objects{one}
	case yaml.ScalarNode:
		docs, err := documents(n.Value)
		if err != nil {
			return fmt.Errorf("line %d: %w", n.Line, err)
		}
		*o = docs
	default:
		if err := n.Decode((*[]map[string]any)(o)); err != nil {
			return err
		}
	}
	for _, one := range *o {
		if one["apiVersion"] == nil || one["kind"] == nil || one["metadata"] == nil {
			return fmt.Errorf("line %d: wanted objects with apiVersion, kind and metadata", n.Line)
		}
	}
	return nil
}

func documents(text string) ([]map[string]any, error) {
	var out []map[string]any
	d := yaml.NewDecoder(bytes.NewReader([]byte(strings.TrimSpace(text))))
	for {
		var one map[string]any
		err := d.Decode(&one)
		if errors.Is(err, io.EOF) {
			return out, nil
		}
		if err != nil {
			return nil, err
		}
		if one != nil {
			out = append(out, one)
		}
	}
}
