package gatekeeper

import (
	"errors"
	"fmt"
	"slices"
	"strings"

	metav1 "k8s.io/apimachinery/pkg/apis/meta/v1"
	"k8s.io/apimachinery/pkg/apis/meta/v1/validation"
	"k8s.io/apimachinery/pkg/labels"
	"k8s.io/apimachinery/pkg/runtime/schema"
	"k8s.io/apimachinery/pkg/util/validation/field"
)

// Sources of an object under review.
const (
	// SourceOriginal is an object that somebody writes.
	SourceOriginal = "Original"
	// SourceGenerated is one that an ExpansionTemplate makes of another.
	SourceGenerated = "Generated"
	sourceAll       = "All"
)

// Texts of Gatekeeper: they become messages of violations, which equal its own.
const (
	textAutoreject = "unable to match constraints"
	textMatching   = "error matching the requested object"
	textMatch      = "failed to run Match criteria"
	textRequest    = "invalid request object"
)

// match says what a constraint is about. All parts must match.
type match struct {
	Source             string                `json:"source"`
	Kinds              []kinds               `json:"kinds"`
	Scope              string                `json:"scope"`
	Namespaces         []wildcard            `json:"namespaces"`
	ExcludedNamespaces []wildcard            `json:"excludedNamespaces"`
	LabelSelector      *metav1.LabelSelector `json:"labelSelector"`
	NamespaceSelector  *metav1.LabelSelector `json:"namespaceSelector"`
	Name               wildcard              `json:"name"`

	labels, namespaceLabels labels.Selector
}

type kinds struct {
	APIGroups []string `json:"apiGroups"`
	Kinds     []string `json:"kinds"`
}

func readMatch(from any) (*match, error) {
	m := &match{}
	if err := convert(from, m); err != nil {
		return nil, fmt.Errorf("%w: %w", ErrSchema, err)
	}
	for _, s := range []struct {
		name string
		from *metav1.LabelSelector
		into *labels.Selector
	}{{"labelSelector", m.LabelSelector, &m.labels}, {"namespaceSelector", m.NamespaceSelector, &m.namespaceLabels}} {
		if s.from == nil {
			continue
		}
		if problems := validation.ValidateLabelSelector(s.from, validation.LabelSelectorValidationOptions{}, field.NewPath(s.name)); len(problems) > 0 {
			return nil, problems.ToAggregate()
		}
		var err error
		if *s.into, err = metav1.LabelSelectorAsSelector(s.from); err != nil {
			return nil, fmt.Errorf("%s: %w", s.name, err)
		}
	}
	return m, nil
}

// anyOf says whether a list of groups or kinds has one; an empty list has all.
func anyOf(list []string, one string) bool {
	return len(list) == 0 || slices.Contains(list, "*") || slices.Contains(list, one)
}

func (m *match) kind(gk schema.GroupKind) bool {
	return len(m.Kinds) == 0 || slices.ContainsFunc(m.Kinds, func(k kinds) bool {
		return anyOf(k.Kinds, gk.Kind) && anyOf(k.APIGroups, gk.Group)
	})
}

// reviewed is an object as matching sees it.
type reviewed struct {
	group, version, kind          string
	name, generateName, namespace string
	labels                        labels.Set
}

// isNamespace follows Gatekeeper: a Namespace is in itself.
func (o *reviewed) isNamespace() bool { return o.group == "" && o.kind == "Namespace" }

// namespaceFacts is what is known of the namespace that a request is about.
type namespaceFacts struct {
	name   string
	labels labels.Set
}

// subject returns the name that lists of namespaces are compared to; none where the object
// is in no namespace.
func (o *reviewed) subject(ns *namespaceFacts) (string, bool) {
	switch {
	case o.isNamespace():
		return o.name, true
	case ns != nil:
		return ns.name, true
	default:
		return o.namespace, o.namespace != ""
	}
}

// matches asks all parts in the order of Gatekeeper, so that an error of a later one is
// not reported where an earlier one says no.
func (m *match) matches(o *reviewed, ns *namespaceFacts, source string) (bool, error) {
	if !m.kind(schema.GroupKind{Group: o.group, Kind: o.kind}) || !m.scope(o, ns) || !m.inNamespaces(o, ns) {
		return false, nil
	}
	if m.labels != nil && !m.labels.Matches(o.labels) {
		return false, nil
	}
	if ok, err := m.selects(o, ns); !ok || err != nil {
		return false, err
	}
	if m.Name != "" && !m.Name.matches(o.name) && !m.Name.matchesGenerated(o.generateName) {
		return false, nil
	}
	return m.fromSource(source, o.name)
}

func (m *match) scope(o *reviewed, ns *namespaceFacts) bool {
	namespaced := o.namespace != "" || ns != nil
	switch m.Scope {
	case "Cluster":
		return o.isNamespace() || !namespaced
	case "Namespaced":
		return !o.isNamespace() && namespaced
	default:
		return true
	}
}

func (m *match) inNamespaces(o *reviewed, ns *namespaceFacts) bool {
	name, ok := o.subject(ns)
	if !ok {
		return true
	}
	is := func(w wildcard) bool { return w.matches(name) }
	return (len(m.Namespaces) == 0 || slices.ContainsFunc(m.Namespaces, is)) && !slices.ContainsFunc(m.ExcludedNamespaces, is)
}

func (m *match) selects(o *reviewed, ns *namespaceFacts) (bool, error) {
	switch {
	case m.namespaceLabels == nil:
		return true, nil
	case o.isNamespace():
		return m.namespaceLabels.Matches(o.labels), nil
	case ns != nil:
		return m.namespaceLabels.Matches(ns.labels), nil
	case o.namespace == "":
		return true, nil
	default:
		return false, errors.New("namespace selector for namespace-scoped object but missing Namespace")
	}
}

func (m *match) fromSource(source, name string) (bool, error) {
	switch m.Source {
	case "", sourceAll:
		return true, nil
	case SourceOriginal, SourceGenerated:
	default:
		return false, fmt.Errorf("invalid source field %q", m.Source)
	}
	switch source {
	case "":
		return false, fmt.Errorf("source field not specified for resource %s", name)
	case SourceOriginal, SourceGenerated:
		return m.Source == source, nil
	default:
		return false, fmt.Errorf("invalid source field %q", source)
	}
}

// wildcard is a name that may begin or end with *.
type wildcard string

func (w wildcard) matches(name string) bool {
	p := string(w)
	switch front, back := strings.HasPrefix(p, "*"), strings.HasSuffix(p, "*"); {
	case front && back:
		return strings.Contains(name, strings.TrimSuffix(strings.TrimPrefix(p, "*"), "*"))
	case front:
		return strings.HasSuffix(name, strings.TrimPrefix(p, "*"))
	case back:
		return strings.HasPrefix(name, strings.TrimSuffix(p, "*"))
	default:
		return name == p
	}
}

// matchesGenerated compares the beginning of a name that is not known yet.
func (w wildcard) matchesGenerated(name string) bool {
	return strings.HasSuffix(string(w), "*") && w.matches(name)
}
