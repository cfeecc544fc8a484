package library

import (
	"embed"
	"fmt"
	"path"
	"slices"
	"strings"

	"sigs.k8s.io/yaml"

	"tidegate.io/tidegate/policies/eval"
	"tidegate.io/tidegate/schemas/v1alpha1"
)

//go:embed */deploypolicy.yaml
var manifests embed.FS

// manifest is the DeployPolicy of a folder, ready to apply.
const manifest = "deploypolicy.yaml"

// AnnotationTitle says in a line what a shipped policy is about.
const AnnotationTitle = "tidegate.io/title"

// Names are the shipped policies that people apply, sorted.
func Names() []string {
	entries, err := manifests.ReadDir(".")
	if err != nil {
		panic(fmt.Sprintf("reading the shipped policies: %v", err)) // they are in the binary
	}
	out := make([]string, 0, len(entries))
	for _, e := range entries {
		out = append(out, e.Name())
	}
	return out
}

// Manifest is the DeployPolicy of a name, in YAML as it is shipped.
func Manifest(name string) ([]byte, error) {
	names := Names()
	if !slices.Contains(names, name) {
		return nil, fmt.Errorf("wanted a shipped policy, found %q; do: name one of %s", name, strings.Join(names, ", "))
	}
	raw, err := manifests.ReadFile(path.Join(name, manifest))
	if err != nil {
		return nil, fmt.Errorf("reading the shipped policy %s: %w", name, err)
	}
	return raw, nil
}

// Get is the DeployPolicy of a name.
func Get(name string) (*v1alpha1.DeployPolicy, error) {
	raw, err := Manifest(name)
	if err != nil {
		return nil, err
	}
	var p v1alpha1.DeployPolicy
	if err := yaml.UnmarshalStrict(raw, &p); err != nil {
		return nil, fmt.Errorf("reading the shipped policy %s: %w", name, err)
	}
	return &p, nil
}

// Source is the policy of a name with these parameters, a JSON object, instead of those that
// it is shipped with.
func Source(name string, parameters []byte) (eval.Source, error) {
	p, err := Get(name)
	if err != nil {
		return eval.Source{}, err
	}
	s := eval.FromDeployPolicy(p)
	s.Parameters = parameters
	return s, nil
}
