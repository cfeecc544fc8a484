package govern

import (
	"fmt"
	"slices"
	"strings"

	metav1 "k8s.io/apimachinery/pkg/apis/meta/v1"
	"k8s.io/apimachinery/pkg/labels"

	"tidegate.io/tidegate/schemas/v1alpha1"
)

// Namespace is what governing depends on.
type Namespace struct {
	Name string
	// Created is when it was made, in RFC 3339, which tells a namespace from one of the same
	// name that was there before.
	Created string
	Labels  map[string]string
}

// Excluded says whether a namespace is never governed: the cluster's own ones, whose
// names begin with kube-, and Tidegate's, so that it can always be started again.
func Excluded(namespace, managerNamespace string) bool {
	return strings.HasPrefix(namespace, "kube-") || namespace == managerNamespace
}

// Governs says whether a Gate governs a namespace. A namespace that the selector chose
// once stays governed when its labels change, for as long as the Gate has a selector:
// the Gate's status remembers it. An error means that it cannot be said.
func Governs(g *v1alpha1.Gate, ns Namespace, managerNamespace string) (bool, error) {
	if Excluded(ns.Name, managerNamespace) {
		return false, nil
	}
	scope := g.Spec.Namespaces
	if slices.Contains(scope.Names, ns.Name) {
		return true, nil
	}
	if slices.ContainsFunc(scope.Patterns, func(p string) bool { return MatchPattern(p, ns.Name) }) {
		return true, nil
	}
	return Selected(g, ns)
}

// Selected says whether a Gate's selector chooses a namespace, or chose it once.
func Selected(g *v1alpha1.Gate, ns Namespace) (bool, error) {
	if g.Spec.Namespaces.Selector == nil {
		return false, nil
	}
	if Remembered(g, ns.Name) {
		return true, nil
	}
	s, err := metav1.LabelSelectorAsSelector(g.Spec.Namespaces.Selector)
	if err != nil {
		return false, fmt.Errorf("reading the namespace selector of Gate %q: %w", g.Name, err)
	}
	return s.Matches(labels.Set(ns.Labels)), nil
}

// Remembered says whether a Gate's selector chose a namespace of this name once, and the
// Gate was not told to forget it.
func Remembered(g *v1alpha1.Gate, namespace string) bool {
	scope := g.Spec.Namespaces
	return scope.Selector != nil && slices.Contains(g.Status.Selected, namespace) && !slices.Contains(scope.Forget, namespace)
}

// Governing returns the Gates that govern a namespace, in the order given. An error means
// that it cannot be said of at least one.
func Governing(gates []v1alpha1.Gate, ns Namespace, managerNamespace string) ([]*v1alpha1.Gate, error) {
	var out []*v1alpha1.Gate
	for i := range gates {
		ok, err := Governs(&gates[i], ns, managerNamespace)
		if err != nil {
			return nil, err
		}
		if ok {
			out = append(out, &gates[i])
		}
	}
	return out, nil
}

// MatchPattern matches a name against a pattern in which * stands for any characters.
func MatchPattern(pattern, name string) bool {
	parts := strings.Split(pattern, "*")
	if len(parts) == 1 {
		return pattern == name
	}
	first, last, middle := parts[0], parts[len(parts)-1], parts[1:len(parts)-1]
	if len(name) < len(first)+len(last) || !strings.HasPrefix(name, first) || !strings.HasSuffix(name, last) {
		return false
	}
	rest := name[len(first) : len(name)-len(last)]
	for _, m := range middle {
		i := strings.Index(rest, m)
		if i < 0 {
			return false
		}
		rest = rest[i+len(m):]
	}
	return true
}
