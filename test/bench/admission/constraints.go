package main

import (
	"errors"
	"fmt"
	"os"
	"path/filepath"
	"slices"

	"k8s.io/apimachinery/pkg/apis/meta/v1/unstructured"
	"k8s.io/utils/clock"
	"sigs.k8s.io/yaml"

	"tidegate.io/tidegate/policies/eval/gatekeeper"
	webhookgatekeeper "tidegate.io/tidegate/webhook/gatekeeper"
)

// libraryEnv names a folder with the library of Gatekeeper, in which each policy is a folder
// with template.yaml and samples.
const libraryEnv = "TIDEGATE_GATEKEEPER_LIBRARY"

// podSecurity is the folder of the Pod-security ones.
const podSecurity = "pod-security-policy"

// pair is a template and the first constraint among its samples.
type pair struct{ template, constraint *unstructured.Unstructured }

// libraryPairs reads a library; group is one of its folders, or * for all.
func libraryPairs(dir, group string) ([]pair, error) {
	templates, err := filepath.Glob(filepath.Join(dir, group, "*", "template.yaml"))
	if err != nil || len(templates) == 0 {
		return nil, fmt.Errorf("wanted %s/%s/*/template.yaml, found none; do: set %s to the folder library of Gatekeeper's library (%w)", dir, group, libraryEnv, err)
	}
	slices.Sort(templates)
	out := make([]pair, 0, len(templates))
	for _, path := range templates {
		samples, err := filepath.Glob(filepath.Join(filepath.Dir(path), "samples", "*", "constraint.yaml"))
		if err != nil || len(samples) == 0 {
			return nil, fmt.Errorf("wanted a constraint beside %s, found none: %w", path, err)
		}
		template, err1 := readObject(path)
		constraint, err2 := readObject(samples[0])
		if err := errors.Join(err1, err2); err != nil {
			return nil, err
		}
		out = append(out, pair{template, constraint})
	}
	return out, nil
}

func readObject(path string) (*unstructured.Unstructured, error) {
	raw, err := os.ReadFile(path)
	if err != nil {
		return nil, fmt.Errorf("reading a library: %w", err)
	}
	text, err := yaml.YAMLToJSON(raw)
	if err != nil {
		return nil, fmt.Errorf("reading %s: %w", path, err)
	}
	u := &unstructured.Unstructured{}
	if err := u.UnmarshalJSON(text); err != nil {
		return nil, fmt.Errorf("reading %s: %w", path, err)
	}
	return u, nil
}

// constraints serves the webhook for constraints.
func (s *served) constraints(p part) error {
	pairs, err := libraryPairs(p.Library, p.Group)
	if err != nil {
		return err
	}
	// Both sides in Rego, so that the same rules are compared.
	store := gatekeeper.Compiler{PreferRego: true}.NewStore()
	for _, p := range pairs {
		if _, err := store.PutTemplate(p.template); err != nil {
			return err
		}
		if err := store.PutConstraint(p.constraint); err != nil {
			return err
		}
	}
	h, err := webhookgatekeeper.New(webhookgatekeeper.Options{Store: store, Reader: newCached(), Clock: clock.RealClock{}})
	if err != nil {
		return err
	}
	s.Register(gatekeeper.WebhookPath, h.HTTP())
	s.judges = len(pairs)
	s.reload = func(version int) error {
		_, err := store.PutTemplate(pairs[version%len(pairs)].template)
		return err
	}
	return nil
}
