package gatekeeper

import (
	"fmt"
	"slices"

	"k8s.io/apimachinery/pkg/apis/meta/v1/unstructured"
)

// Processes that a Config may leave namespaces out of; others of Gatekeeper's are not here.
const (
	ProcessWebhook = "webhook"
	ProcessAudit   = "audit"
	ProcessSync    = "sync"
	processAll     = "*"
)

// Exclusion leaves namespaces out of some processes.
type Exclusion struct {
	ExcludedNamespaces []wildcard `json:"excludedNamespaces"`
	Processes          []string   `json:"processes"`
}

// Exclusions reads spec.match of a Config.
func Exclusions(config *unstructured.Unstructured) ([]Exclusion, error) {
	found, ok, err := unstructured.NestedFieldNoCopy(config.Object, "spec", "match")
	if err != nil || !ok {
		return nil, err
	}
	var out []Exclusion
	if err := convert(found, &out); err != nil {
		return nil, fmt.Errorf("spec.match: wanted a list of {excludedNamespaces, processes}: %w", err)
	}
	return out, nil
}

// Exclude replaces the namespaces that are left out.
func (s *Store) Exclude(list []Exclusion) { s.excluded.Store(&list) }

// Excluded says whether a process leaves a namespace out; the name of a Namespace stands for
// itself. What is in no namespace never is.
func (s *Store) Excluded(process, namespace string) bool {
	list := s.excluded.Load()
	return list != nil && namespace != "" && slices.ContainsFunc(*list, func(e Exclusion) bool {
		return (slices.Contains(e.Processes, process) || slices.Contains(e.Processes, processAll)) &&
			slices.ContainsFunc(e.ExcludedNamespaces, func(w wildcard) bool { return w.matches(namespace) })
	})
}

// State is what has become of a constraint.
type State struct {
	// InForce is true where a version of it is, be it an earlier one.
	InForce bool
	// Problem is why the newest is not, or nil.
	Problem error
}

// State returns that of a constraint; ok is false for one that was never put.
func (s *Store) State(key Key) (state State, ok bool) {
	s.mu.Lock()
	defer s.mu.Unlock()
	e := s.templates[key.Kind]
	if e == nil || e.constraints[key.Name] == nil {
		return State{}, false
	}
	c := e.constraints[key.Name]
	return State{InForce: c.good != nil, Problem: c.problem}, true
}

// TemplateInForce says whether a version of the template of a kind is in force, be it an
// earlier one.
func (s *Store) TemplateInForce(kind string) bool {
	s.mu.Lock()
	defer s.mu.Unlock()
	e := s.templates[kind]
	return e != nil && e.good != nil
}
