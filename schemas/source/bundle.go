package source

import (
	"encoding/json"
	"fmt"
	"maps"
	"slices"
	"strings"

	"sigs.k8s.io/yaml"

	"tidegate.io/tidegate/schemas/v1alpha1"
)

// Bundle returns the manifest of a ReleaseTemplate called name that carries files. The
// same files give the same bytes.
func Bundle(name string, files map[string]string) ([]byte, error) {
	if len(name) > MaxName || !templateName.MatchString(name) {
		return nil, fmt.Errorf("wanted a name of at most %d lower case letters, digits and dashes, found %q; give one with --name", MaxName, name)
	}
	var b strings.Builder
	fmt.Fprintf(&b, "apiVersion: %s\nkind: ReleaseTemplate\nmetadata:\n  name: %s\nspec:\n  files:\n", v1alpha1.GroupVersion, scalar(name))
	for _, file := range slices.Sorted(maps.Keys(files)) {
		fmt.Fprintf(&b, "    %s: %s\n", scalar(file), block(files[file], "      "))
	}
	return []byte(b.String()), nil
}

// scalar is text as YAML on one line.
func scalar(text string) string {
	b, err := yaml.Marshal(text)
	if line := strings.TrimSuffix(string(b), "\n"); err == nil && !strings.Contains(line, "\n") {
		return line
	}
	return quote(text)
}

// block is text as a block scalar, which people can read and git can compare: the YAML
// library quotes every text with a tab in it. What a block scalar cannot hold is quoted.
func block(text, indent string) string {
	var b strings.Builder
	// The number says how far the lines are indented, since the first may begin with space.
	b.WriteString("|2")
	body, newlines := strings.TrimRight(text, "\n"), len(text)-len(strings.TrimRight(text, "\n"))
	switch newlines {
	case 0:
		b.WriteString("-")
	case 1:
	default:
		b.WriteString("+")
	}
	for line := range strings.SplitSeq(body, "\n") {
		b.WriteString("\n")
		if line != "" {
			b.WriteString(indent + line)
		}
	}
	for range max(newlines-1, 0) {
		b.WriteString("\n")
	}
	out := b.String()
	var back map[string]string
	if err := yaml.UnmarshalStrict([]byte("    a: "+out+"\n"), &back); err != nil || back["a"] != text {
		return quote(text)
	}
	return out
}

// quote is text as JSON, which is YAML.
func quote(text string) string {
	b, err := json.Marshal(text)
	if err != nil {
		panic("source: strings have a JSON form: " + err.Error())
	}
	return string(b)
}
