package ask

import (
	"bytes"
	"encoding/json"
	"errors"
	"fmt"
	"strings"

	"sigs.k8s.io/yaml"

	"tidegate.io/tidegate/cmd/tidegate/internal/syntax"
)

// Set sets one of values as PATH=VALUE says: names with dots between, and a value that
// means what it means in YAML.
func Set(values map[string]any, assignment string) error {
	path, text, ok := strings.Cut(assignment, "=")
	if !ok || path == "" {
		return errors.New("wanted PATH=VALUE, such as resources.cpu=250m")
	}
	value, err := parse(text)
	if err != nil {
		return err
	}
	names := strings.Split(path, ".")
	for _, name := range names[:len(names)-1] {
		next, ok := values[name].(map[string]any)
		if !ok {
			if _, set := values[name]; set {
				return fmt.Errorf("wanted an object at %s, found a value", name)
			}
			next = map[string]any{}
			values[name] = next
		}
		values = next
	}
	values[names[len(names)-1]] = value
	return nil
}

func parse(text string) (any, error) {
	data, err := yaml.YAMLToJSON([]byte(text))
	if wrong := syntax.Find([]byte(text)); wrong != nil {
		return nil, fmt.Errorf("wanted a value as in YAML, found %s; put it in quotes if it is text", wrong.Found)
	}
	if err != nil {
		return nil, fmt.Errorf("wanted a value as in YAML: %w", err)
	}
	var v any
	d := json.NewDecoder(bytes.NewReader(data))
	d.UseNumber()
	if err := d.Decode(&v); err != nil {
		return nil, fmt.Errorf("wanted a value as in YAML: %w", err)
	}
	return v, nil
}
